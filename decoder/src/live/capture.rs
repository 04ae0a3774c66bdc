//! The loop: wait, empty the rings of all CPUs, tell how it goes; to the end.

use core::sync::atomic::{AtomicBool, Ordering};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::budget::{Budget, Cost};
use super::lane::Passed;
use super::outlet::Outlet;
use super::rig::{LEAST_PAGES, Rig};
use super::{Error, Options, Progress, Target};
use crate::{Recording, Shard};

/// Rings are looked at this often although none is full enough to wake us.
const PASS_EVERY: Duration = Duration::from_millis(100);
/// CPUs may have come or gone, and the budget may be missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Passes at the end, if rings still fill.
const LAST_PASSES: usize = 4;

/// Captures into a sink until `stop` is set, the time is over, or what is observed has ended.
///
/// `progress` is told after every pass over all rings, when the sink has all that they held.
///
/// # Errors
/// What the kernel or the options do not allow. Losses are no error.
pub fn capture<S: Shard>(
    options: &Options,
    stop: &AtomicBool,
    progress: impl FnMut(&Progress),
    sink: &mut S,
) -> Result<(Recording, Progress), Error> {
    super::decode(sink, |decoding| record(options, stop, progress, decoding))
}

/// Opens what a capture would open, on one CPU and with the least rings, and closes it again.
///
/// # Errors
/// What the kernel or the options do not allow.
pub fn try_open(options: &Options) -> Result<(), Error> {
    let least = LEAST_PAGES * rustix::param::page_size();
    let options = Options { ring_len: least, aux_len: least, ..options.clone() };
    Rig::open_on(&options, 1).map(drop)
}

/// As [`capture`], into any outlet.
///
/// # Errors
/// See [`capture`]; and what the outlet says.
pub fn record(
    options: &Options,
    stop: &AtomicBool,
    progress: impl FnMut(&Progress),
    outlet: &mut impl Outlet,
) -> Result<Progress, Error> {
    let rig = Rig::open(options)?;
    let about = rig.about()?;
    outlet.begin(&about).map_err(Error::output)?;
    let child = match &options.target {
        Target::Command(words) => Some(Running(start(words, options.command_to_stderr)?)),
        _ => {
            rig.enable()?;
            None
        }
    };
    let budget = options.max_overhead.map(Budget::new);
    let state = Progress { cpus: rig.lanes.len(), period: rig.period(), ..Progress::default() };
    let start = Instant::now();
    let own = own_time();
    let mut capture = Capture {
        rig,
        outlet,
        progress,
        budget,
        start,
        own,
        looked: (start, own, Passed::default()),
        flushed: start,
        state,
    };
    let mut child = child;
    capture.run(options, stop, child.as_mut())?;
    if let Some(child) = child {
        capture.state.exit_code = child.finish();
    }
    Ok(capture.state)
}

/// A command that is observed. It is not left behind.
struct Running(Child);

impl Running {
    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for it, once it was told to end if it has not. Its exit code; `None` if a signal ended
    /// it.
    fn finish(mut self) -> Option<i32> {
        if !self.has_ended() {
            terminate(&self.0);
        }
        self.0.wait().ok()?.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            terminate(&self.0);
        }
    }
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It has not been waited for: the number is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Starts a command from this thread, whose events it inherits and which start with it.
fn start(words: &[OsString], to_stderr: bool) -> Result<Child, Error> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::unusable("no command was given"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    if to_stderr && let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() {
        command.stdout(stderr);
    }
    command.spawn().map_err(|source| Error::Command { program: program.clone(), source })
}

/// CPU time of this process.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
}

struct Capture<'o, O, P> {
    rig: Rig,
    outlet: &'o mut O,
    progress: P,
    budget: Option<Budget>,
    start: Instant,
    /// CPU time that this process had spent before.
    own: Duration,
    /// When CPUs and budget were last looked at, and what had been spent and captured by then.
    looked: (Instant, Duration, Passed),
    /// When units were last told to publish what they hold.
    flushed: Instant,
    state: Progress,
}

impl<O: Outlet, P: FnMut(&Progress)> Capture<'_, O, P> {
    fn run(
        &mut self,
        options: &Options,
        stop: &AtomicBool,
        mut child: Option<&mut Running>,
    ) -> Result<(), Error> {
        loop {
            let over = options.duration.is_some_and(|most| self.start.elapsed() >= most);
            let ended = child.as_mut().is_some_and(|child| child.has_ended());
            let gone = self.rig.lanes.iter().all(|lane| lane.hung_up);
            if stop.load(Ordering::Relaxed) || over || ended || gone || self.outlet.has_enough() {
                break;
            }
            let left = options.duration.map(|most| most.saturating_sub(self.start.elapsed()));
            self.wait(left.unwrap_or(PASS_EVERY).min(PASS_EVERY));
            self.pass(false)?;
            self.look()?;
            if self.flushed.elapsed() >= options.flush_every {
                self.flush();
            }
        }
        self.rig.disable();
        for _ in 0..LAST_PASSES {
            if !self.pass(true)? {
                break;
            }
        }
        Ok(())
    }

    /// Waits until a ring is filled to its mark, or the time is over.
    fn wait(&mut self, most: Duration) {
        let (numbers, mut waiting): (Vec<_>, Vec<_>) = self
            .rig
            .descriptors()
            .map(|(number, event)| (number, PollFd::from_borrowed_fd(event, PollFlags::IN)))
            .unzip();
        let timeout = Timespec::try_from(most).ok();
        // A signal ends the waiting too: whoever sent it has set the flag.
        let _ = poll(&mut waiting, timeout.as_ref());
        let hung_up: Vec<_> = numbers
            .into_iter()
            .zip(waiting)
            .filter(|(_, event)| event.revents().intersects(PollFlags::HUP | PollFlags::ERR))
            .map(|(number, _)| number)
            .collect();
        for number in hung_up {
            self.rig.lanes[number].hung_up = true;
        }
    }

    /// Empties all rings. Whether there was anything in them.
    fn pass(&mut self, last: bool) -> Result<bool, Error> {
        let mut all = Passed::default();
        let mut resumed = Vec::new();
        for (number, open) in self.rig.lanes.iter_mut().enumerate() {
            let passed = open.lane.drain(last, self.outlet).map_err(Error::output)?;
            if open.unit.goes_on(&passed) && !last {
                resumed.push(number);
            }
            all.add(&passed);
        }
        for number in resumed {
            self.rig.resume(&self.rig.lanes[number]);
        }
        self.outlet.pass_ended().map_err(Error::output)?;
        let state = &mut self.state;
        state.total.add(&all);
        state.passes += 1;
        state.elapsed = self.start.elapsed();
        state.own = own_time().saturating_sub(self.own);
        state.cpus = self.rig.lanes.len();
        state.quiet_cpus = self.rig.lanes.iter().filter(|lane| lane.unit.is_quiet()).count();
        state.unfollowed_cpus = self.rig.unfollowed.len();
        (self.progress)(state);
        Ok(all.record_bytes + all.aux_bytes + all.unreadable > 0)
    }

    /// Has the units of CPUs that were quiet publish what they hold.
    fn flush(&mut self) {
        let publishes = self.rig.lanes.iter_mut().map(|lane| lane.unit.publishes());
        let publishes: Vec<_> = publishes.collect();
        for (lane, _) in self.rig.lanes.iter().zip(publishes).filter(|(_, publishes)| *publishes) {
            self.rig.flush(lane);
        }
        self.flushed = Instant::now();
    }

    /// Follows CPUs and the budget, once a second.
    fn look(&mut self) -> Result<(), Error> {
        let (when, own, before) = self.looked;
        let elapsed = when.elapsed();
        if elapsed < LOOK_EVERY {
            return Ok(());
        }
        let (gone, told) = self.rig.follow();
        for mut open in gone {
            let passed = open.lane.drain(true, self.outlet).map_err(Error::output)?;
            self.state.total.add(&passed);
        }
        for event in &told {
            self.outlet.more_ids(event).map_err(Error::output)?;
        }
        let total = self.state.total;
        let now = own_time();
        let cost = Cost {
            elapsed,
            cpus: self.rig.lanes.len(),
            own: now.saturating_sub(own),
            samples: total.samples - before.samples,
            aux_bytes: total.aux_bytes - before.aux_bytes,
        };
        self.state.overhead = cost.share();
        if let Some(factor) = self.budget.as_mut().and_then(|budget| budget.adapt(&cost)) {
            self.rig.stretch(factor);
            self.state.stretched = factor;
        }
        self.looked = (Instant::now(), now, total);
        Ok(())
    }
}
