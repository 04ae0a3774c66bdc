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
        let lately =
            |hand: &Hand| hand.hash != 0 && interval.saturating_sub(hand.interval) <= INTERVALS;
        let latest = self.0.iter().map(|hand| hand.interval).max().unwrap_or(0);
        if let Some(known) = self.0.iter_mut().find(|hand| hand.hash == hash) {
            // It may have been somebody else's since.
            let stays = lately(known) || known.interval == latest;
            *known = now;
            return stays;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use decoder::{Batch, Direction, PhysAddr, Source, Touch, TraceOffset, VirtAddr};

    use crate::folio::{Block, Folio};

    /// The last access of a process to the 2 MiB of virtual memory with this number.
    fn seen(pid: u32, number: u64) -> LastSeen {
        let touch = Touch {
            direction: Direction::Load,
            latency_cycles: 0,
            pid: Some(pid),
            vaddr: Some(VirtAddr::new(number << 21)),
            time_ns: None,
            offset: TraceOffset(1),
        };
        let mut folio = Folio::default();
        let address = [PhysAddr::new_truncate(0)];
        let batch = Batch { touches: &[touch], ..Batch::of_addresses(Source::Pebs, &address) };
        folio.add(&batch.into(), 0, 1);
        folio.last_seen
    }

    /// Whether a block stays what it was, access by access: process, place, interval.
    fn stays(accesses: &[(u32, u64, u64)]) -> Vec<bool> {
        let mut hands = Hands::default();
        let pass = |(pid, number, interval): &(u32, u64, u64)| {
            hands.pass_to(seen(*pid, *number), *interval)
        };
        accesses.iter().map(pass).collect()
    }

    #[test]
    fn another_process_or_another_place_is_another_owner() {
        assert_eq!(stays(&[(1, 5, 0), (1, 5, 9), (2, 5, 10)]), [true, true, false]);
        assert_eq!(stays(&[(1, 5, 0), (1, 6, 1), (1, 6, 2)]), [true, false, true]);
        assert!(Hands::default().pass_to(LastSeen::default(), 3), "nobody says whose it is");
    }

    #[test]
    fn who_comes_back_after_somebody_else_begins_anew() {
        let accesses = [(1, 5, 0), (2, 5, 5), (2, 5, 10), (1, 5, 11)];
        assert_eq!(stays(&accesses), [true, false, true, false]);
        // Also if it is still remembered.
        let accesses = [(1, 5, 0), (2, 5, 1), (2, 5, 5), (1, 5, 6), (1, 5, 7)];
        assert_eq!(stays(&accesses), [true, false, true, false, true]);
    }

    #[test]
    fn what_is_shared_stays_shared() {
        let mut accesses: Vec<_> = (0..4).map(|pid| (pid, 5, 0)).collect();
        accesses.extend((0..40).map(|at| (at % 9, 5, u64::from(at) / 8)));
        let stays = stays(&accesses);
        assert_eq!(stays[..4], [true, false, false, false], "each is new at first");
        assert!(stays[4..].iter().all(|stays| *stays), "{stays:?}");
    }
}
