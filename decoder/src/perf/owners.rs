//! Which process a thread number belonged to, by time. Numbers are used again: what was true of one
//! thread says nothing of the next one that has its number.
//!
//! ```text
//! FORK        from this time on the number is a thread of this process; before, it was none of it
//! any other   at this time the number is a thread of this process, which it was before already
//! exec        the same, also just behind an EXIT of the number
//! EXIT        the thread dies: it stays this process's for another 100 ms, then the number is nobody's
//! ```
//!
//! The answer for a time is what the last record at or before it says. If there is none, what the
//! first one behind it says of the time before itself. So an answer depends on one record alone:
//! who has read it gives the same answer, whatever else he has read since.

use core::ops::RangeInclusive;
use std::collections::{BTreeMap, VecDeque};

use super::task::Task;

/// Records that are remembered: one for each thread that Linux can have at a time
/// (PID_MAX_LIMIT); about 35 bytes each.
const MAX_RECORDS: usize = 1 << 22;
/// Threads that have ended and are remembered in a stream, whose data may come later than the
/// records of its threads.
const MAX_ENDED: usize = 1 << 18;
/// Records of one number that are looked at for an access of which no time is known.
const MAX_LOOKED_AT: usize = 16;
/// How long a thread may be sampled after its EXIT, in ns: the kernel writes that record while the thread still runs, and it
/// has been seen to run for 6 ms more on an emulated machine. Far less than it takes until a number is given out again, which
/// FORK would tell.
const DYING_NS: u64 = 100_000_000;

/// What a record says of a thread. The order is that of records of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// It ends.
    Ended,
    /// It is there, and was there before.
    Seen,
    /// It runs a program from its start. If another thread than the first of a process does so, it
    /// takes over the number of the first, whose EXIT stands just before (`de_thread` in
    /// `fs/exec.c`).
    Execed,
    /// It begins.
    Born,
}

/// Thread number, time, sign.
type Key = (u32, u64, Sign);

/// What is known of thread numbers. Its memory is bounded: beyond the limit the thread that ended
/// first is forgotten, or, if none has, new ones are not learned.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    /// The process that each record names. One that names the process of the record before it
    /// says nothing new unless a thread begins or ends there: it is not kept.
    records: BTreeMap<Key, u32>,
    /// Ends of threads, in the order in which they were learned.
    ended: VecDeque<(u32, u64)>,
    full: bool,
}

impl Owners {
    /// Learns what a record of a time says; time 0 stands for an unknown one, or one before all
    /// others. Of two processes that are named at one time in the same way the greater counts, at
    /// time 0 the last one. Apart from that records may come in any order, unless a FORK is lost
    /// or a thread is seen long after its end: then the answer may depend on the order.
    pub(super) fn learn(&mut self, Task { pid, tid }: Task, time: u64, sign: Sign) {
        if tid == 0 {
            return;
        }
        let key = (tid, time, sign);
        if let Some(known) = self.records.get_mut(&key) {
            *known = if time == 0 { pid } else { pid.max(*known) };
            return;
        }
        let before = self.records.range((tid, 0, Sign::Ended)..key).next_back();
        if before.is_some_and(|(before, known)| *known == pid && says_nothing_new(before, &key)) {
            return;
        }
        let behind = self.records.range(key..=(tid, u64::MAX, Sign::Born)).next();
        let behind =
            behind.filter(|(behind, known)| **known == pid && says_nothing_new(&key, behind));
        if let Some(known_anew) = behind.map(|(key, _)| *key) {
            self.records.remove(&known_anew);
        }
        if self.records.len() >= MAX_RECORDS {
            self.full = true;
            if !self.forget_first_ended() {
                return;
            }
        }
        self.records.insert(key, pid);
        if sign == Sign::Ended {
            self.ended.push_back((tid, time));
        }
    }

    /// Forgets the threads that ended so long ago that no data of theirs is to come. Only for
    /// streams, which may go on for ever.
    pub(super) fn forget_ended(&mut self) {
        while self.ended.len() > MAX_ENDED {
            self.forget_first_ended();
        }
    }

    /// Forgets the thread of which it was learned first that it ended, and all that had its number
    /// before. False if there is none.
    fn forget_first_ended(&mut self) -> bool {
        let Some((tid, time)) = self.ended.pop_front() else { return false };
        let last = (tid, time, Sign::Ended);
        while let Some((key, _)) = self.records.range((tid, 0, Sign::Ended)..=last).next() {
            let key = *key;
            self.records.remove(&key);
        }
        true
    }

    /// Whether anything was not remembered.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The process that a number belonged to at a time, and for which times that answer holds.
    pub(super) fn at(&self, tid: u32, time: u64) -> (RangeInclusive<u64>, Option<u32>) {
        let last = self.records.range((tid, 0, Sign::Ended)..=(tid, time, Sign::Born)).next_back();
        let next = time.checked_add(1).and_then(|later| {
            self.records.range((tid, later, Sign::Ended)..=(tid, u64::MAX, Sign::Born)).next()
        });
        let until = next.map_or(u64::MAX, |((_, time, _), _)| time - 1);
        match (last, next) {
            (Some(((_, from, Sign::Ended), pid)), _) => match from.saturating_add(DYING_NS) {
                dead if time < dead => (*from..=until.min(dead - 1), Some(*pid)),
                dead => (dead..=until, None),
            },
            (Some(((_, from, _), pid)), _) => (*from..=until, Some(*pid)),
            (None, Some(((.., sign), pid))) => (0..=until, (*sign != Sign::Born).then_some(*pid)),
            (None, None) => (0..=until, None),
        }
    }

    /// The process that a number belonged to at a time that is not known: there is an answer only
    /// if it was the same one all the time.
    pub(super) fn ever(&self, tid: u32) -> Option<u32> {
        let mut records = self.records.range((tid, 0, Sign::Ended)..=(tid, u64::MAX, Sign::Born));
        let (_, first) = records.next()?;
        let mut others = records.by_ref().take(MAX_LOOKED_AT).map(|(_, pid)| pid);
        let same = others.all(|pid| pid == first);
        (same && records.next().is_none()).then_some(*first)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.records.len()
    }
}

/// Whether a record of a number says nothing that the record before it, of the same process, has
/// not said.
fn says_nothing_new((_, before, sign): &Key, (_, time, now): &Key) -> bool {
    match (sign, now) {
        (Sign::Ended, Sign::Seen) => time - before < DYING_NS,
        (Sign::Ended, _) => false,
        (_, now) => matches!(now, Sign::Seen | Sign::Execed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Part of the time that a thread takes to die, so that tests have times within and behind it.
    const UNIT: u64 = DYING_NS / 20;

    /// What the records of one number say of a time, read one after the other.
    fn naive(records: &[(u64, Sign, u32)], time: u64) -> Option<u32> {
        let mut sorted = records.to_vec();
        sorted.sort_unstable();
        let (first, sign, pid) = *sorted.first()?;
        if time < first {
            return (sign != Sign::Born).then_some(pid);
        }
        let mut owner = None;
        for (at, sign, pid) in sorted.iter().take_while(|(at, ..)| *at <= time) {
            let dead = *sign == Sign::Ended && time - at >= DYING_NS;
            owner = (!dead).then_some(*pid);
        }
        owner
    }

    fn owners(records: &[(u64, Sign, u32)]) -> Owners {
        let mut owners = Owners::default();
        for (time, sign, pid) in records {
            owners.learn(Task { pid: *pid, tid: 7 }, *time, *sign);
        }
        owners
    }

    /// The lives of the threads that had one number, one after the other, as records tell them:
    /// each begins, is seen some times, and ends, or one of these is not told.
    fn lives() -> impl Strategy<Value = Vec<(u64, Sign, u32)>> {
        let life = (1_u32..4, any::<bool>(), any::<bool>(), prop::collection::vec(1_u64..50, 0..4));
        prop::collection::vec(life, 1..6).prop_map(|lives| {
            let (mut records, mut time) = (Vec::new(), 10);
            for (number, (pid, mut born, ended, seen)) in lives.into_iter().enumerate() {
                // Only the first thread may have been there before, and only a number that is
                // given back is given out again.
                born |= number > 0;
                if born {
                    records.push((time, Sign::Born, pid));
                }
                for step in seen {
                    time += step;
                    records.push((time, Sign::Seen, pid));
                }
                time += 5;
                if ended {
                    records.push((time, Sign::Ended, pid));
                    time += 5;
                }
            }
            records.into_iter().map(|(time, sign, pid)| (time * UNIT, sign, pid)).collect()
        })
    }

    proptest! {
        #[test]
        fn every_time_has_the_owner_that_the_records_tell_in_any_order(
            records in lives(),
            order in any::<prop::sample::Index>(),
            reversed in any::<bool>(),
        ) {
            let mut learned = records.clone();
            if !learned.is_empty() {
                let middle = order.index(learned.len());
                learned.rotate_left(middle);
            }
            if reversed {
                learned.reverse();
            }
            let owners = owners(&learned);
            for time in (0..400).map(|units| units * UNIT) {
                let (span, pid) = owners.at(7, time);
                prop_assert_eq!(pid, naive(&records, time), "at {}", time);
                prop_assert!(span.contains(&time));
                for other in [*span.start(), *span.end()] {
                    prop_assert_eq!(owners.at(7, other), (span.clone(), pid));
                }
            }
        }
    }

    #[test]
    fn a_number_that_is_used_again_has_an_owner_by_time() {
        use Sign::{Born, Ended, Seen};
        let (dead, again) = (200 + DYING_NS, 300 + DYING_NS);
        let owners = owners(&[(100, Born, 1), (150, Seen, 1), (200, Ended, 1), (again, Born, 2)]);
        let at = |time| owners.at(7, time);
        assert_eq!(at(99), (0..=99, None), "what begins was not there before");
        assert_eq!(at(100), (100..=199, Some(1)));
        assert_eq!(at(199), (100..=199, Some(1)));
        assert_eq!(at(200), (200..=dead - 1, Some(1)), "it dies, and may be sampled yet");
        assert_eq!(at(dead), (dead..=again - 1, None));
        assert_eq!(at(again), (again..=u64::MAX, Some(2)));
        assert_eq!(at(u64::MAX).1, Some(2));
        assert_eq!(owners.at(8, 150), (0..=u64::MAX, None), "another number");
        assert_eq!(owners.ever(7), None, "two processes had it");
    }

    #[test]
    fn who_is_seen_first_or_ends_was_there_before() {
        use Sign::{Ended, Seen};
        for sign in [Seen, Ended] {
            let owners = owners(&[(100, sign, 1)]);
            assert_eq!(owners.at(7, 50), (0..=99, Some(1)), "{sign:?}");
            assert_eq!(owners.ever(7), Some(1));
        }
    }

    #[test]
    fn a_number_lives_on_behind_an_end_that_was_not_its_last() {
        use Sign::{Born, Ended, Execed, Seen};
        // The first thread ends, and another one takes over its number and runs a program.
        let exec = owners(&[(5, Born, 1), (10, Ended, 1), (20, Execed, 1), (30, Seen, 1)]);
        assert_eq!(exec.at(7, 15).1, Some(1));
        assert_eq!(exec.at(7, 20), (20..=u64::MAX, Some(1)));
        // The number was given out again, and that record is lost.
        let late = 10 + DYING_NS;
        let again = owners(&[(10, Ended, 1), (late, Seen, 1)]);
        assert_eq!(again.at(7, late), (late..=u64::MAX, Some(1)));
        for records in
            [[(10, Ended, 1), (late - 1, Seen, 1)], [(late - 1, Seen, 1), (10, Ended, 1)]]
        {
            let dying = owners(&records);
            assert_eq!(dying.at(7, late - 1), (10..=late - 1, Some(1)), "seen while it dies");
            assert_eq!(dying.at(7, late), (late..=u64::MAX, None));
            assert_eq!(dying.len(), 1);
        }
    }

    #[test]
    fn what_says_nothing_new_is_not_kept() {
        let mut owners = Owners::default();
        let task = Task { pid: 1, tid: 7 };
        owners.learn(task, 10, Sign::Born);
        (11..1000).for_each(|time| owners.learn(task, time, Sign::Seen));
        assert_eq!(owners.len(), 1);
        let mut backwards = Owners::default();
        (11..1000).rev().for_each(|time| backwards.learn(task, time, Sign::Seen));
        assert_eq!(backwards.len(), 1);
        backwards.learn(Task { pid: 1, tid: 0 }, 5, Sign::Seen);
        assert_eq!(backwards.len(), 1, "thread 0 is every CPU's idle task");
    }

    #[test]
    fn in_a_stream_the_threads_that_ended_first_are_forgotten() {
        let mut owners = Owners::default();
        let more: u32 = 100;
        for time in 0..MAX_ENDED as u64 + u64::from(more) {
            let tid = u32::try_from(time).expect("few") + 1;
            let task = Task { pid: 5, tid };
            owners.learn(task, 10 * time + 1, Sign::Born);
            owners.learn(task, 10 * time + 2, Sign::Ended);
            owners.forget_ended();
        }
        assert_eq!(owners.len(), 2 * MAX_ENDED);
        assert!(!owners.is_full());
        assert_eq!(owners.at(1, 1).1, None);
        assert_eq!(owners.at(more + 1, 10 * u64::from(more) + 1).1, Some(5));
    }
}
