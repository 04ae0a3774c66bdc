//! Whose a frame is. Memory is given to others: what was counted before says nothing of them.
//!
//! An epoch tells of a block the last access that names a process and a virtual address; the
//! process and the 2 MiB that the address lies in are a hand. A hand that was not there lately is
//! another owner: another process, another mapping, or memory that the kernel moved there
//! (collapsed). What is counted stays counted; as evidence for a verdict it is forgotten. Memory that
//! several share passes between them, and stays theirs.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::folio::LastSeen;

/// Hands that are remembered. A block with as many has no single owner.
const REMEMBERED: usize = 4;
/// Cooling intervals for which a hand is remembered.
const INTERVALS: u64 = 2;

/// The hands that a block was in lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hands([Hand; REMEMBERED]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hand {
    /// Of process and place, or 0.
    hash: u64,
    /// The cooling interval in which it was there last.
    interval: u64,
}

impl Hands {
    /// The block was accessed by the one who was seen last. Whether it stays what it was.
    pub(crate) fn pass_to(&mut self, seen: LastSeen, interval: u64) -> bool {
        let (Some(pid), Some(vaddr)) = (seen.pid(), seen.vaddr()) else { return true };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((pid, vaddr)) | 1;
        let now = Hand { hash, interval };
        if let Some(known) = self.0.iter_mut().find(|hand| hand.hash == hash) {
            *known = now;
            return true;
        }
        let lately =
            |hand: &Hand| hand.hash != 0 && interval.saturating_sub(hand.interval) <= INTERVALS;
        let is_first = self.0.iter().all(|hand| hand.hash == 0);
        let is_shared = self.0.iter().all(lately);
        if is_shared {
            if let Some(oldest) = self.0.iter_mut().min_by_key(|hand| hand.interval) {
                *oldest = now;
            }
        } else if let Some(place) = self.0.iter_mut().find(|hand| !lately(hand)) {
            *place = now;
        }
        is_first || is_shared
    }
}
