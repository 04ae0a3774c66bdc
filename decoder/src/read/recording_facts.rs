//! What is known of a recording's events, as far as reading their records takes it.
//!
//! Whoever reads records holds the facts as they were when the records came. So they are shared, and
//! a new event or name makes new facts, which share with the old ones what has not changed.

use std::sync::Arc;

use crate::perf::attr::Attr;
use crate::{Direction, EventIndex, Sink, Source, cost, ibs};

/// Events that are kept together: all of them are copied when one changes.
const TOGETHER: usize = 32;

/// What is known of the events, as of the last time that it was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Each but the last is full.
    events: Vec<Arc<Vec<EventFacts>>>,
    /// The processor whose registers are in the samples of IBS.
    pub(crate) ibs_model: ibs::Model,
}

/// What is known of an event and its sample records.
#[derive(Clone, Debug)]
pub(crate) struct EventFacts {
    /// A name for it.
    pub(crate) name: Arc<str>,
    /// What its sample records look like.
    pub(crate) attr: Attr,
    /// Which unit makes them.
    pub(crate) source: Source,
    /// They tell of memory.
    pub(crate) has_addresses: bool,
    /// They have room for an address, which is 0 in all of them.
    pub(crate) no_address: bool,
    /// They tell of instructions that were fetched.
    pub(crate) fetches: bool,
    /// What all of them did, as far as the event tells.
    pub(crate) direction: Direction,
}

impl Facts {
    /// What is known of an event.
    #[inline]
    pub(crate) fn get(&self, event: EventIndex) -> Option<&EventFacts> {
        let index = usize::from(event.0);
        self.events.get(index / TOGETHER)?.get(index % TOGETHER)
    }

    /// Learns what is to be known of an event: one that is known, or the one behind the last.
    pub(crate) fn set(&mut self, event: EventIndex, facts: EventFacts) {
        let index = usize::from(event.0);
        if index / TOGETHER == self.events.len() {
            self.events.push(Arc::new(Vec::with_capacity(TOGETHER)));
        }
        let Some(together) = self.events.get_mut(index / TOGETHER) else { return };
        cost::steps(if Arc::strong_count(together) > 1 { TOGETHER } else { 1 });
        let together = Arc::make_mut(together);
        match together.get_mut(index % TOGETHER) {
            Some(known) => *known = facts,
            None => together.push(facts),
        }
    }

    /// Tells the names that are not those of these earlier facts.
    pub(crate) fn tell_names<S: Sink + ?Sized>(&self, earlier: &Self, sink: &mut S) {
        for (number, together) in self.events.iter().enumerate() {
            let earlier = earlier.events.get(number);
            if earlier.is_some_and(|earlier| Arc::ptr_eq(earlier, together)) {
                continue;
            }
            cost::steps(TOGETHER);
            for (place, event) in together.iter().enumerate() {
                let known = earlier.and_then(|earlier| earlier.get(place));
                if known.is_none_or(|known| !Arc::ptr_eq(&known.name, &event.name)) {
                    let index = u16::try_from(number * TOGETHER + place).unwrap_or(u16::MAX);
                    sink.event_name(EventIndex(index), &event.name);
                }
            }
        }
    }
}
