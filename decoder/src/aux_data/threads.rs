//! Which thread made a record, as far as the recording tells.

use core::ops::{Range, RangeInclusive};

use crate::perf::{QueueKey, SideBand, Task};

/// Threads whose process is remembered, each in the place that its low bits give. On a CPU the
/// next record nearly always is of the same thread.
const PROCESSES: usize = 16;

/// What was last learnt from the side band. It holds as long as that does not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads {
    processes: [Option<Process>; PROCESSES],
    running: Option<(Range<u64>, Option<Task>)>,
}

/// Whose a thread is.
#[derive(Clone, Debug)]
struct Process {
    tid: u32,
    /// For which times that is known; `None`: for records without one.
    times: Option<RangeInclusive<u64>>,
    pid: Option<u32>,
}

impl Process {
    #[inline(always)]
    fn answers(&self, tid: u32, time_ns: Option<u64>) -> bool {
        self.tid == tid
            && match (&self.times, time_ns) {
                (Some(times), Some(time)) => times.contains(&time),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Threads {
    /// Process and thread of a record of a queue: from its context packet, else who ran there at
    /// its time, else whose ring it is. The process is the thread's at that time.
    #[inline(always)]
    pub(crate) fn of(
        &mut self,
        key: QueueKey,
        context: Option<u32>,
        time_ns: Option<u64>,
        sideband: &SideBand,
    ) -> (Option<u32>, Option<u32>) {
        if let Some(tid) = context {
            (self.process_of(tid, time_ns, sideband), Some(tid))
        } else if let (Some(cpu), Some(time)) = (key.cpu, time_ns)
            && let Some(task) = self.running(cpu, time, sideband)
        {
            (Some(task.pid), Some(task.tid))
        } else {
            (key.tid.and_then(|tid| self.process_of(tid, time_ns, sideband)), key.tid)
        }
    }

    #[inline(always)]
    fn process_of(&mut self, tid: u32, time_ns: Option<u64>, sideband: &SideBand) -> Option<u32> {
        match &mut self.processes[tid as usize % PROCESSES] {
            Some(process) if process.answers(tid, time_ns) => process.pid,
            slot => {
                let (times, pid) = match time_ns.map(|time| sideband.process_at(tid, time)) {
                    Some((times, pid)) => (Some(times), pid),
                    None => (None, sideband.process_ever(tid)),
                };
                *slot = Some(Process { tid, times, pid });
                pid
            }
        }
    }

    #[inline(always)]
    fn running(&mut self, cpu: u32, time: u64, sideband: &SideBand) -> Option<Task> {
        match &self.running {
            Some((span, task)) if span.contains(&time) => *task,
            _ => {
                let (span, task) = sideband.running(cpu, time);
                self.running = Some((span, task));
                task
            }
        }
    }
}
