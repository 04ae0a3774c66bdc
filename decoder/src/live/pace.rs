//! What a recording is told of its pace: by how much periods are stretched, and when events rest.

use std::io;

use super::outlet::Outlet;
use super::rig::Rig;
use super::stream::EventAbout;

/// What readers of a recording were told of its events. Those that they were told of together have
/// one pace, and go by the first of their ids.
#[derive(Debug, Default)]
pub(super) struct Told {
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    /// The number of its setup.
    setup: usize,
    id: u64,
    /// What was told last.
    scale: f64,
}

impl Told {
    /// Readers are told of these events, whose periods are as they were asked for.
    pub(super) fn begin(&mut self, rig: &Rig, events: &[EventAbout]) {
        for event in events {
            let Some(setup) = rig.sampling(event) else { continue };
            let new = event.first_ids().map(|id| Event { setup, id, scale: 1.0 });
            self.events.extend(new);
        }
    }

    /// Tells of the events whose pace is another one than was told, where periods are stretched by
    /// `factor`.
    pub(super) fn tell(
        &mut self,
        rig: &Rig,
        factor: f64,
        outlet: &mut impl Outlet,
    ) -> io::Result<()> {
        for event in &mut self.events {
            let scale = if rig.resting { 0.0 } else { rig.scale(event.setup, factor) };
            if scale != event.scale {
                outlet.scale(event.id, scale)?;
                event.scale = scale;
            }
        }
        Ok(())
    }
}
