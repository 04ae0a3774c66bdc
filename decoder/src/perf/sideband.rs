//! Which thread ran where, and which event a counter counted: what COMM, FORK, MMAP2, ITRACE_START,
//! switch and AUX_OUTPUT_HW_ID records say, for records that do not say it themselves.

use core::ops::{Bound, Range};
use std::collections::{BTreeMap, HashMap};

use super::QueueKey;
use crate::{EventIndex, cost};

/// Threads that are remembered: as many as Linux can have (PID_MAX_LIMIT).
const MAX_THREADS: usize = 1 << 22;
/// Context switches that are remembered, over all CPUs; about 48 bytes each.
const MAX_SWITCHES: usize = 1 << 21;
/// CPUs whose switches are remembered.
const MAX_CPUS: usize = 1 << 14;

/// Changes of what counters count that are remembered, over all rings.
const MAX_COUNTERS: usize = 1 << 16;

/// Of each CPU so many switches are kept although its data has passed them: a time that is damaged
/// passes more than it should.
const KEPT: usize = 256;

/// A process and one of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
}

/// Whose AUX ring it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ring {
    /// A CPU's.
    Cpu(u32),
    /// A thread's, wherever it runs.
    Thread(u32),
}

impl Ring {
    /// The ring of a queue, if it is known.
    pub fn of(key: QueueKey) -> Option<Self> {
        key.cpu.map(Self::Cpu).or(key.tid.map(Self::Thread))
    }
}

/// What is known of threads and CPUs so far. Its memory is bounded: beyond the limits new
/// threads are not learned, and each CPU's oldest switches are forgotten.
#[derive(Clone, Debug, Default)]
pub struct SideBand {
    process_of: HashMap<u32, u32>,
    /// For each CPU, from which time on which task ran.
    switches: HashMap<u32, BTreeMap<u64, Option<Task>>>,
    switch_count: usize,
    /// For each counter of a ring's CPU, from which time on it counted which event.
    counters: HashMap<(Ring, u8), BTreeMap<u64, EventIndex>>,
    counter_count: usize,
    full: bool,
    /// Nothing is remembered here; what is learned is told to others, who take it from here.
    pub(crate) told: Option<Vec<Learned>>,
}

/// One thing that was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// See [`SideBand::thread`].
    Thread(Task),
    /// See [`SideBand::switch`].
    Switch(u32, u64, Option<Task>),
    /// See [`SideBand::counter`].
    Counter(Ring, u8, u64, EventIndex),
}

impl SideBand {
    /// Learns what another one has learned.
    pub fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Thread(task) => self.thread(task),
            Learned::Switch(cpu, time, task) => self.switch(cpu, time, task),
            Learned::Counter(ring, number, time, event) => self.counter(ring, number, time, event),
        }
    }

    /// Learns that a thread belongs to a process. The last word wins: numbers are used again.
    pub fn thread(&mut self, task: Task) {
        if let Some(told) = &mut self.told {
            told.push(Learned::Thread(task));
        } else if self.process_of.len() < MAX_THREADS || self.process_of.contains_key(&task.tid) {
            self.process_of.insert(task.tid, task.pid);
        } else {
            self.full = true;
        }
    }

    /// Learns that a CPU runs `task` from `time` on; `None` is one that no record names.
    pub fn switch(&mut self, cpu: u32, time: u64, task: Option<Task>) {
        if let Some(told) = &mut self.told {
            told.push(Learned::Switch(cpu, time, task));
            return;
        }
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
    pub fn counter(&mut self, ring: Ring, number: u8, time: u64, event: EventIndex) {
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
    pub fn event_of(&self, ring: Ring, number: u8, time: Option<u64>) -> Option<EventIndex> {
        let events = self.counters.get(&(ring, number))?;
        events.range(..=time.unwrap_or(u64::MAX)).next_back().map(|(_, event)| *event)
    }

    /// Forgets on a CPU what is needed only for records before this time. They have all been read.
    pub fn forget_before(&mut self, cpu: u32, time: u64) {
        let Some(switches) = self.switches.get_mut(&cpu) else { return };
        while switches.len() > KEPT && switches.keys().nth(1).is_some_and(|next| *next <= time) {
            switches.pop_first();
            self.switch_count -= 1;
        }
    }

    /// Takes note that another one, which learned the same, could not remember something.
    pub fn is_full_like(&mut self, other: &Self) {
        self.full |= other.full;
    }

    /// Whether anything was not remembered.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The process of a thread. Thread 0 is every CPU's idle task.
    pub fn process_of(&self, tid: u32) -> Option<u32> {
        if tid == 0 { Some(0) } else { self.process_of.get(&tid).copied() }
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
    fn what_has_been_passed_is_forgotten_except_for_the_last() {
        let mut sideband = SideBand::default();
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
    }

    #[test]
    fn a_counter_counts_what_it_was_last_set_to() {
        let (first, second) = (EventIndex(3), EventIndex(5));
        let mut sideband = SideBand::default();
        sideband.counter(Ring::Cpu(0), 2, 100, first);
        sideband.counter(Ring::Cpu(0), 2, 150, first);
        sideband.counter(Ring::Cpu(0), 2, 200, second);
        sideband.counter(Ring::Thread(0), 2, 0, second);
        let at = |ring, number, time| sideband.event_of(ring, number, time);
        assert_eq!(at(Ring::Cpu(0), 2, Some(99)), None);
        assert_eq!(at(Ring::Cpu(0), 2, Some(100)), Some(first));
        assert_eq!(at(Ring::Cpu(0), 2, Some(199)), Some(first));
        assert_eq!(at(Ring::Cpu(0), 2, Some(200)), Some(second));
        assert_eq!(at(Ring::Cpu(0), 2, None), Some(second));
        assert_eq!(at(Ring::Cpu(0), 3, None), None);
        assert_eq!(at(Ring::Cpu(1), 2, None), None);
        assert_eq!(at(Ring::Thread(0), 2, Some(1)), Some(second));
        assert_eq!(sideband.counter_count, 3, "what is said again is not remembered again");
    }

    #[test]
    fn what_is_remembered_of_counters_is_bounded() {
        let mut sideband = SideBand::default();
        for time in 0..=MAX_COUNTERS as u64 {
            assert!(!sideband.is_full());
            sideband.counter(Ring::Cpu(0), 0, time, EventIndex((time % 2) as u16));
        }
        assert!(sideband.is_full());
        assert_eq!(sideband.counter_count, MAX_COUNTERS);
    }

    #[test]
    fn a_thread_number_that_is_used_again_belongs_to_its_last_process() {
        let mut sideband = SideBand::default();
        sideband.thread(A);
        sideband.thread(Task { pid: 99, tid: 11 });
        assert_eq!(sideband.process_of(11), Some(99));
        assert_eq!(sideband.process_of(12), None);
        assert_eq!(sideband.process_of(0), Some(0));
    }
}
