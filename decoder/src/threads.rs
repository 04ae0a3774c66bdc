//! Which thread made a record, as far as the recording tells.

use core::ops::Range;

use crate::perf::{QueueKey, SideBand, Task};

/// Threads whose process is remembered, each in the place that its low bits give. On a CPU the
/// next record nearly always is of the same thread.
const PROCESSES: usize = 16;

/// What was last learnt from the side band. It holds as long as that does not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads {
    processes: [Option<(u32, Option<u32>)>; PROCESSES],
    running: Option<(Range<u64>, Option<Task>)>,
}

impl Threads {
    /// Process and thread of a record of a queue: from its context packet, else who ran there at
    /// its time, else whose ring it is.
    #[inline(always)]
    pub(crate) fn of(
        &mut self,
        key: QueueKey,
        context: Option<u32>,
        time_ns: Option<u64>,
        sideband: &SideBand,
    ) -> (Option<u32>, Option<u32>) {
        if let Some(tid) = context {
            (self.process_of(tid, sideband), Some(tid))
        } else if let (Some(cpu), Some(time)) = (key.cpu, time_ns)
            && let Some(task) = self.running(cpu, time, sideband)
        {
            (Some(task.pid), Some(task.tid))
        } else {
            (key.tid.and_then(|tid| self.process_of(tid, sideband)), key.tid)
        }
    }

    #[inline(always)]
    fn process_of(&mut self, tid: u32, sideband: &SideBand) -> Option<u32> {
        match &mut self.processes[tid as usize % PROCESSES] {
            Some((known, pid)) if *known == tid => *pid,
            slot => {
                let pid = sideband.process_of(tid);
                *slot = Some((tid, pid));
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
