//! What a recording is told of its pace: by how much periods are stretched, and when events rest.

use std::io;

use super::budget::Pace;
use crate::live::output::RecordingWriter;
use crate::live::output::synthesized::EventAbout;
use crate::live::setup::open_events::OpenEvents;

/// What readers of a recording were told of its events. Those that they were told of together have
/// one pace, and go by the first of their ids.
#[derive(Debug, Default)]
pub(in crate::live) struct Told {
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    /// The number of its setup.
    setup: usize,
    id: u64,
    told: Pace,
}

impl Pace {
    /// What was asked for.
    const ASKED: Self = Self { factor: 1.0, rests: false };

    /// Becomes another one, and gives the scales that tell of it: a factor that comes with a rest
    /// is told before it.
    fn update(&mut self, next: Self) -> impl Iterator<Item = f64> + use<> {
        let before = *self;
        // Of what is recorded now a factor that comes during a rest says nothing.
        let factor = if before.rests && next.rests { before.factor } else { next.factor };
        *self = Self { factor, ..next };
        let stretches = factor != before.factor || before.rests && !next.rests;
        let rests = next.rests && !before.rests;
        stretches.then_some(factor).into_iter().chain(rests.then_some(0.0))
    }
}

impl Told {
    /// Readers are told of these events, whose periods are as they were asked for.
    pub(in crate::live) fn begin(&mut self, open_events: &OpenEvents, events: &[EventAbout]) {
        for event in events {
            let Some(setup) = open_events.sampling(event) else { continue };
            let new = event.first_ids().map(|id| Event { setup, id, told: Pace::ASKED });
            self.events.extend(new);
        }
    }

    /// Tells of the events whose pace is another one than was told, where periods are stretched by
    /// `factor`.
    pub(in crate::live) fn tell(
        &mut self,
        open_events: &OpenEvents,
        factor: f64,
        writer: &mut impl RecordingWriter,
    ) -> io::Result<()> {
        for event in &mut self.events {
            let pace =
                Pace { factor: open_events.scale(event.setup, factor), rests: open_events.resting };
            for scale in event.told.update(pace) {
                writer.scale(event.id, scale)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let steps: &[(&str, f64, bool, &[f64])] = &[
            ("as it was asked for", 1.0, false, &[]),
            ("longer", 3.0, false, &[3.0]),
            ("the same", 3.0, false, &[]),
            ("longer, and a rest", 10.0, true, &[10.0, 0.0]),
            ("the rest goes on", 10.0, true, &[]),
            ("another factor meanwhile", 20.0, true, &[]),
            ("it goes on", 20.0, false, &[20.0]),
            ("a rest", 20.0, true, &[0.0]),
            ("it goes on as before", 20.0, false, &[20.0]),
            ("as it was asked for again", 1.0, false, &[1.0]),
        ];
        let mut told = Pace::ASKED;
        for (name, factor, rests, want) in steps {
            let scales: Vec<_> = told.update(Pace { factor: *factor, rests: *rests }).collect();
            assert_eq!(scales, *want, "{name}");
        }
    }
}
