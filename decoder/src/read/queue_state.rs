//! What is known of one AUX queue, and what AUX records announced of it.

use std::collections::BTreeSet;

use crate::EventIndex;
use crate::aux_data::chunk::{AuxFormat, Continuity};
use crate::perf::{Clock, QueueKey};

/// Queues that are decoded: one for each CPU or thread. More come only from damage.
pub(super) const MAX_QUEUES: usize = 1 << 14;
/// perf fills each chunk of AUX data up to a multiple of this with zeros.
pub(super) const CHUNK_ALIGN: u8 = 8;

/// What the walk over the queues needs to know of one.
#[derive(Debug)]
pub(super) struct QueueState {
    pub(super) key: QueueKey,
    /// Place of the byte after the last one that came.
    pub(super) end: u64,
    /// Places that have come without a gap between them: what lies in them has come before.
    pub(super) covered: core::ops::Range<u64>,
    /// Zeros that the last chunk ended in, at most 7.
    pub(super) tail_zeros: u8,
    /// Bytes behind the end that AUX records announced, at most 7: perf's filling.
    pub(super) filling: u8,
    pub(super) started: bool,
    pub(super) clock: Option<Clock>,
    pub(super) event: Option<EventIndex>,
    pub(super) format: AuxFormat,
}

/// What AUX records said of the data of one CPU or thread.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// Place of the byte after the last one that was announced.
    pub(super) end: u64,
    pub(super) breaks: BTreeSet<u64>,
    pub(super) overwrites: bool,
}

impl QueueState {
    /// Takes perf's filling at the end of the last chunk back: it was counted as such, and the
    /// queue goes on where the announced data ended. If it goes on behind that, what was announced
    /// is not all that came: so many zeros are data after all.
    pub(super) fn take_filling(&mut self, goes_on: u64) -> u8 {
        let filling = core::mem::take(&mut self.filling);
        if filling > self.tail_zeros {
            return 0;
        }
        let announced = self.end.wrapping_sub(u64::from(filling));
        let kept = u8::try_from(goes_on.wrapping_sub(announced)).unwrap_or(0);
        let kept = if kept <= filling { kept } else { 0 };
        let end = announced.wrapping_add(u64::from(kept));
        if self.covered.end == self.end {
            self.covered.end = end;
        }
        self.end = end;
        self.tail_zeros -= filling - kept;
        kept
    }

    /// How a chunk at `offset` follows, and how many of its bytes came before.
    pub(super) fn follow_on(&self, offset: u64, overwrites: bool) -> (Continuity, u64) {
        if !self.started {
            let continuity = if overwrites {
                Continuity::Snapshot { repeated_before: 0 }
            } else if offset == 0 {
                Continuity::Continued
            } else {
                Continuity::Gap
            };
            return (continuity, 0);
        }
        let repeated = if self.covered.contains(&offset) { self.covered.end - offset } else { 0 };
        if offset == self.end {
            return (Continuity::Continued, repeated);
        }
        let before = self.end.wrapping_sub(offset);
        if let Ok(before) = u8::try_from(before)
            && before < CHUNK_ALIGN
            && before <= self.tail_zeros
        {
            return (Continuity::Trimmed(before), 0);
        }
        if overwrites || offset < self.end || repeated > 0 {
            return (Continuity::Snapshot { repeated_before: offset + repeated }, repeated);
        }
        (Continuity::Gap, 0)
    }
}
