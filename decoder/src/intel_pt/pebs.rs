//! What PEBS records of a queue belong to.

use std::sync::Arc;

use super::data_source::{Core, Sampled};
use crate::EventIndex;

/// What PEBS records of a queue belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pebs {
    /// The core that writes them.
    pub core: Core,
    /// The events whose samples they are, in their order.
    pub events: Arc<[(EventIndex, Sampled)]>,
}

impl Pebs {
    /// The only event, if there is one alone: then all records are its own, whatever counter they
    /// name.
    pub fn only_event(&self) -> Option<EventIndex> {
        match &self.events[..] {
            [(event, _)] => Some(*event),
            _ => None,
        }
    }

    /// What a sample of one of its events tells.
    pub(super) fn sampled(&self, event: Option<EventIndex>) -> Sampled {
        let place = |event| self.events.binary_search_by_key(&event, |(known, _)| *known).ok();
        let known = event.and_then(place).and_then(|place| self.events.get(place));
        known.map(|(_, sampled)| *sampled).unwrap_or_default()
    }
}
