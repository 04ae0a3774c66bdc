//! Which thread ran where, whose it was, and which event a counter counted: what COMM, FORK, EXIT,
//! MMAP2, ITRACE_START, switch and AUX_OUTPUT_HW_ID records say, for records that do not say it
//! themselves.

use core::ops::{Bound, Range, RangeInclusive};
use std::collections::{BTreeMap, HashMap};

use super::QueueKey;
use super::owners::{Owners, Sign};
use super::task::Task;
use crate::{EventIndex, cost};

/// Context switches that are remembered, over all CPUs; about 48 bytes each.
const MAX_SWITCHES: usize = 1 << 21;
/// CPUs whose switches are remembered.
const MAX_CPUS: usize = 1 << 14;

/// Changes of what counters count that are remembered, over all rings.
const MAX_COUNTERS: usize = 1 << 16;

/// Of each CPU so many switches are kept although its data has passed them: a time that is damaged
/// passes more than it should.
const KEPT: usize = 256;

/// Whose AUX ring it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuxOwner {
    /// A CPU's.
    Cpu(u32),
    /// A thread's, wherever it runs.
    Thread(u32),
}

impl AuxOwner {
    /// The ring of a queue, if it is known.
    pub fn of(key: QueueKey) -> Option<Self> {
        key.cpu.map(Self::Cpu).or(key.tid.map(Self::Thread))
    }
}

/// What is known of threads and CPUs so far. Its memory is bounded: beyond the limits threads that
/// have ended are forgotten or new ones not learned, and each CPU's oldest switches are forgotten.
#[derive(Clone, Debug, Default)]
pub struct SideBand {
    owners: Owners,
    /// For each CPU, from which time on which task ran.
    switches: HashMap<u32, BTreeMap<u64, Option<Task>>>,
    switch_count: usize,
    /// For each counter of a ring's CPU, from which time on it counted which event.
    counters: HashMap<(AuxOwner, u8), BTreeMap<u64, EventIndex>>,
    counter_count: usize,
    full: bool,
    /// The records are those of a stream, which has no end: what its data has passed is forgotten.
    streams: bool,
    /// Of a stream: up to which time each CPU's data has been read.
    passed: HashMap<u32, u64>,
    late_switches: u64,
    /// Nothing is remembered here; what is learned is told to others, who take it from here.
    pub(crate) told: Option<Vec<Learned>>,
}

/// One thing that was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// See [`SideBand::thread`].
    Thread(Task, u64, Sign),
    /// See [`SideBand::switch`].
    Switch(u32, u64, Option<Task>),
    /// See [`SideBand::counter`].
    Counter(AuxOwner, u8, u64, EventIndex),
}

impl SideBand {
    /// Knows nothing yet of a stream: of what lies in memory as a whole nothing is forgotten while
    /// there is room, since its data may be in any order.
    pub fn of_stream() -> Self {
        Self { streams: true, ..Self::default() }
    }

    /// Learns what another one has learned.
    pub fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Thread(task, time, sign) => self.thread(task, time, sign),
            Learned::Switch(cpu, time, task) => self.switch(cpu, time, task),
            Learned::Counter(ring, number, time, event) => self.counter(ring, number, time, event),
        }
    }

    /// Learns what a record of a time says of a thread and its process; time 0 stands for one that
    /// is not known, or was before all others.
    pub fn thread(&mut self, task: Task, time: u64, sign: Sign) {
        if let Some(told) = &mut self.told {
            told.push(Learned::Thread(task, time, sign));
            return;
        }
        self.owners.learn(task, time, sign);
        if self.streams && sign == Sign::Ended {
            self.owners.forget_ended();
        }
    }

    /// Learns that a CPU runs `task` from `time` on; `None` is one that no record names.
    pub fn switch(&mut self, cpu: u32, time: u64, task: Option<Task>) {
        if let Some(told) = &mut self.told {
            told.push(Learned::Switch(cpu, time, task));
            return;
        }
        let passed = self.passed.get(&cpu).is_some_and(|passed| *passed >= time);
        self.late_switches += u64::from(passed);
        let full = self.switch_count >= MAX_SWITCHES;
        if (full || self.switches.len() >= MAX_CPUS) && !self.switches.contains_key(&cpu) {
            self.full = true;
            return;
        }
        let switches = self.switches.entry(cpu).or_default();
        if switches.insert(time, task).is_none() {
            self.switch_count += 1;
            if full {
                switches.pop_first();
                self.switch_count -= 1;
                self.full = true;
            }
        }
    }

    /// Learns that a counter, of whatever CPU the ring is of then, counts `event` from `time` on.
    pub fn counter(&mut self, ring: AuxOwner, number: u8, time: u64, event: EventIndex) {
        if let Some(told) = &mut self.told {
            told.push(Learned::Counter(ring, number, time, event));
        } else if self.event_of(ring, number, Some(time)) == Some(event) {
            // It did already: the kernel says so whenever it sets the counter up.
        } else if self.counter_count < MAX_COUNTERS {
            let events = self.counters.entry((ring, number)).or_default();
            self.counter_count += usize::from(events.insert(time, event).is_none());
        } else {
            self.full = true;
        }
    }

    /// The event that a counter counted at a time; without a time, the last one.
    pub fn event_of(&self, ring: AuxOwner, number: u8, time: Option<u64>) -> Option<EventIndex> {
        let events = self.counters.get(&(ring, number))?;
        events.range(..=time.unwrap_or(u64::MAX)).next_back().map(|(_, event)| *event)
    }

    /// Forgets on a CPU of a stream what is needed only for records before this time. They have all
    /// been read.
    pub fn forget_before(&mut self, cpu: u32, time: u64) {
        if !self.streams {
            return;
        }
        if self.passed.len() < MAX_CPUS || self.passed.contains_key(&cpu) {
            let passed = self.passed.entry(cpu).or_default();
            *passed = time.max(*passed);
        }
        let Some(switches) = self.switches.get_mut(&cpu) else { return };
        while switches.len() > KEPT && switches.keys().nth(1).is_some_and(|next| *next <= time) {
            switches.pop_first();
            self.switch_count -= 1;
        }
    }

    /// Takes over what another one, which learned the same for other data, noticed: that it could
    /// not remember something, and switches that came late for it.
    pub fn noticed(&mut self, other: &Self) {
        self.full |= other.is_full();
        self.late_switches += other.late_switches;
    }

    /// Switches that came behind data of the time after them: it was read as if it were of the task
    /// before.
    pub fn late_switches(&self) -> u64 {
        self.late_switches
    }

    /// Whether anything was not remembered.
    pub fn is_full(&self) -> bool {
        self.full || self.owners.is_full()
    }

    /// The process that a thread belonged to at a time, and for which times that answer holds.
    /// Thread 0 is every CPU's idle task.
    pub fn process_at(&self, tid: u32, time: u64) -> (RangeInclusive<u64>, Option<u32>) {
        if tid == 0 { (0..=u64::MAX, Some(0)) } else { self.owners.at(tid, time) }
    }

    /// The process of a thread at a time that is not known: `None` also if the number was used
    /// again, by a thread of another process.
    pub fn process_ever(&self, tid: u32) -> Option<u32> {
        if tid == 0 { Some(0) } else { self.owners.ever(tid) }
    }

    /// The task that a CPU ran at a time, and from when to when that answer holds.
    pub fn running(&self, cpu: u32, time: u64) -> (Range<u64>, Option<Task>) {
        cost::steps(1);
        let Some(switches) = self.switches.get(&cpu) else { return (0..u64::MAX, None) };
        let last = switches.range(..=time).next_back();
        let next = switches.range((Bound::Excluded(time), Bound::Unbounded)).next();
        let span = last.map_or(0, |(from, _)| *from)..next.map_or(u64::MAX, |(until, _)| *until);
        (span, last.and_then(|(_, task)| *task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Task = Task { pid: 10, tid: 11 };
    const B: Task = Task { pid: 20, tid: 21 };

    #[test]
    fn the_task_at_a_time_is_the_last_that_was_switched_to() {
        let mut sideband = SideBand::default();
        sideband.switch(0, 200, Some(B));
        sideband.switch(0, 100, Some(A));
        sideband.switch(1, 0, Some(B));
        assert_eq!(sideband.running(0, 99), (0..100, None));
        assert_eq!(sideband.running(0, 100), (100..200, Some(A)));
        assert_eq!(sideband.running(0, 199), (100..200, Some(A)));
        assert_eq!(sideband.running(0, 299), (200..u64::MAX, Some(B)));
        assert_eq!(sideband.running(2, 100), (0..u64::MAX, None));
        sideband.switch(0, 300, None);
        assert_eq!(sideband.running(0, 300).1, None, "the CPU went on to a task of no name");
    }

    #[test]
    fn what_a_stream_has_passed_is_forgotten_except_for_the_last() {
        let mut sideband = SideBand::of_stream();
        let kept = KEPT as u64;
        (0..kept + 100).for_each(|time| sideband.switch(3, time, Some(A)));
        sideband.switch(4, 7, Some(B));
        sideband.forget_before(3, 50);
        assert_eq!(sideband.running(3, 49), (0..50, None), "those before are gone");
        assert_eq!(sideband.running(3, 50), (50..51, Some(A)), "what ran then is needed");
        sideband.forget_before(3, u64::MAX);
        assert_eq!(
            (sideband.running(3, 100), sideband.switch_count),
            ((100..101, Some(A)), KEPT + 1)
        );
        assert_eq!(sideband.running(4, 7).1, Some(B));

        let mut file = SideBand::default();
        (0..kept + 100).for_each(|time| file.switch(3, time, Some(A)));
        file.forget_before(3, u64::MAX);
        assert_eq!(file.running(3, 7), (7..8, Some(A)), "data of a file may be in any order");
    }

    #[test]
    fn a_switch_that_data_has_passed_came_late() {
        let mut sideband = SideBand::of_stream();
        sideband.switch(0, 100, Some(A));
        sideband.forget_before(0, 200);
        sideband.forget_before(0, 150);
        sideband.switch(0, 201, Some(B));
        sideband.switch(1, 150, Some(B));
        assert_eq!(sideband.late_switches(), 0);
        sideband.switch(0, 200, Some(A));
        assert_eq!(sideband.late_switches(), 1);
        let mut all = SideBand::default();
        all.noticed(&sideband);
        all.forget_before(0, 300);
        all.switch(0, 250, Some(A));
        assert_eq!(all.late_switches(), 1, "in a file all is learned first");
    }

    #[test]
    fn a_counter_counts_what_it_was_last_set_to() {
        let (first, second) = (EventIndex(3), EventIndex(5));
        let mut sideband = SideBand::default();
        sideband.counter(AuxOwner::Cpu(0), 2, 100, first);
        sideband.counter(AuxOwner::Cpu(0), 2, 150, first);
        sideband.counter(AuxOwner::Cpu(0), 2, 200, second);
        sideband.counter(AuxOwner::Thread(0), 2, 0, second);
        let at = |ring, number, time| sideband.event_of(ring, number, time);
        assert_eq!(at(AuxOwner::Cpu(0), 2, Some(99)), None);
        assert_eq!(at(AuxOwner::Cpu(0), 2, Some(100)), Some(first));
        assert_eq!(at(AuxOwner::Cpu(0), 2, Some(199)), Some(first));
        assert_eq!(at(AuxOwner::Cpu(0), 2, Some(200)), Some(second));
        assert_eq!(at(AuxOwner::Cpu(0), 2, None), Some(second));
        assert_eq!(at(AuxOwner::Cpu(0), 3, None), None);
        assert_eq!(at(AuxOwner::Cpu(1), 2, None), None);
        assert_eq!(at(AuxOwner::Thread(0), 2, Some(1)), Some(second));
        assert_eq!(sideband.counter_count, 3, "what is said again is not remembered again");
    }

    #[test]
    fn what_is_remembered_of_counters_is_bounded() {
        let mut sideband = SideBand::default();
        for time in 0..=MAX_COUNTERS as u64 {
            assert!(!sideband.is_full());
            sideband.counter(AuxOwner::Cpu(0), 0, time, EventIndex((time % 2) as u16));
        }
        assert!(sideband.is_full());
        assert_eq!(sideband.counter_count, MAX_COUNTERS);
    }

    #[test]
    fn a_thread_number_that_is_used_again_belongs_to_a_process_by_time() {
        let mut sideband = SideBand::default();
        sideband.thread(A, 0, Sign::Seen);
        assert_eq!((sideband.process_ever(11), sideband.process_at(11, 5).1), (Some(10), Some(10)));
        sideband.thread(Task { pid: 99, tid: 11 }, 100, Sign::Born);
        assert_eq!(sideband.process_at(11, 99), (0..=99, Some(10)));
        assert_eq!(sideband.process_at(11, 100), (100..=u64::MAX, Some(99)));
        assert_eq!(sideband.process_ever(11), None, "whose it was depends on when");
        assert_eq!(sideband.process_at(12, 100).1, None);
        assert_eq!((sideband.process_at(0, 7).1, sideband.process_ever(0)), (Some(0), Some(0)));
    }
}
