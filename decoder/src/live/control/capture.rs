//! The loop: wait, empty the rings of all CPUs, tell how it goes; to the end.

use core::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::budget::{Budget, Cost};
use super::command::Running;
use super::rate_updates::Told;
use super::turns::Turns;
use super::waiting;
use crate::live::error::Error;
use crate::live::options::Options;
use crate::live::output::RecordingWriter;
use crate::live::progress::Progress;
use crate::live::ring::cpu_rings::Passed;
use crate::live::setup::open_events::{LEAST_PAGES, OpenEvents};
use crate::{Recording, Shard};

/// Rings are looked at this often although none is full enough to wake us.
const PASS_EVERY: Duration = Duration::from_millis(100);
/// CPUs may have come or gone, and others may want the unit.
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
    let (mut recording, progress) =
        crate::live::decode(sink, |decoding| record(options, stop, progress, decoding))?;
    recording.unfollowed_cpus = progress.unfollowed_cpus;
    Ok((recording, progress))
}

/// Opens what a capture would open, on one CPU and with the least rings, and closes it again.
///
/// # Errors
/// What the kernel or the options do not allow.
pub fn try_open(options: &Options) -> Result<(), Error> {
    let least = LEAST_PAGES * rustix::param::page_size();
    let options = Options { ring_len: least, aux_len: least, ..options.clone() };
    OpenEvents::new(&options)?.open_on(1)
}

/// As [`capture`], into any writer: a file, a stream, or the decoder.
///
/// # Errors
/// See [`capture`]; and what the writer says.
pub fn record(
    options: &Options,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Progress),
    writer: &mut impl RecordingWriter,
) -> Result<Progress, Error> {
    let mut open_events = OpenEvents::new(options)?;
    let waited = waiting::open(&mut open_events, options, stop, &mut progress)?;
    open_events.watch_tasks()?;
    let about = open_events.about()?;
    writer.begin(&about).map_err(Error::output)?;
    let mut told = Told::default();
    told.begin(&open_events, &about.events);
    let state = Progress {
        cpus: open_events.sampled_cpus(),
        period: open_events.period(),
        waited: waited.time,
        waiting_for: waited.in_vain,
        ..Progress::default()
    };
    if waited.in_vain.is_some() {
        return Ok(state);
    }
    let (start, own) = (Instant::now(), own_time());
    let mut child = open_events.start(options.command_to_stderr)?;
    if child.is_none() {
        open_events.enable()?;
    }
    let begin = Moment { when: start, own, total: Passed::default() };
    let mut capture = Capture {
        open_events,
        writer,
        progress,
        budget: options.max_overhead.map(Budget::new),
        told,
        turns: Turns::new(options.give_way),
        begin,
        looked: begin,
        accounted: begin,
        flushed: start,
        state,
    };
    let most = options.duration.map(|most| most.saturating_sub(waited.time));
    capture.run(most, options.flush_every, stop, child.as_mut())?;
    if let Some(child) = child {
        capture.state.command = Some(child.finish());
    }
    Ok(capture.state)
}

/// CPU time of this process.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
}

/// A moment, and what had been spent and captured by then.
#[derive(Clone, Copy, Debug)]
struct Moment {
    when: Instant,
    /// CPU time of this process.
    own: Duration,
    total: Passed,
}

impl Moment {
    /// What capturing cost from then to `now`.
    fn cost(&self, now: &Self, cpus: usize) -> Cost {
        Cost {
            elapsed: now.when.saturating_duration_since(self.when),
            cpus,
            own: now.own.saturating_sub(self.own),
            samples: now.total.samples - self.total.samples,
            side_records: now.total.side_records - self.total.side_records,
            aux_bytes: now.total.aux_bytes - self.total.aux_bytes,
        }
    }
}

struct Capture<'o, O, P> {
    open_events: OpenEvents,
    writer: &'o mut O,
    progress: P,
    budget: Option<Budget>,
    /// What the writer was told of the rates.
    told: Told,
    turns: Turns,
    begin: Moment,
    /// When CPUs were last looked at, and whose turn it is.
    looked: Moment,
    /// When the budget was last looked at.
    accounted: Moment,
    /// When units were last told to publish what they hold.
    flushed: Instant,
    state: Progress,
}

impl<O: RecordingWriter, P: FnMut(&Progress)> Capture<'_, O, P> {
    fn run(
        &mut self,
        most: Option<Duration>,
        flush_every: Duration,
        stop: &AtomicBool,
        mut child: Option<&mut Running>,
    ) -> Result<(), Error> {
        loop {
            let over = most.is_some_and(|most| self.begin.when.elapsed() >= most);
            let ended = child.as_mut().is_some_and(|child| child.has_ended());
            let gone = self.open_events.is_left();
            if stop.load(Ordering::Relaxed) || over || ended || gone || self.writer.has_enough() {
                break;
            }
            let left = most.map(|most| most.saturating_sub(self.begin.when.elapsed()));
            self.wait(left.unwrap_or(PASS_EVERY).min(PASS_EVERY));
            self.pass(false)?;
            self.keep_budget();
            self.look()?;
            self.told
                .tell(&self.open_events, self.state.stretched, self.writer)
                .map_err(Error::output)?;
            if self.flushed.elapsed() >= flush_every {
                self.flush();
            }
        }
        self.open_events.disable();
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
            .open_events
            .descriptors()
            .map(|(number, event)| (number, PollFd::from_borrowed_fd(event, PollFlags::IN)))
            .unzip();
        if self.open_events.resting {
            // Tasks that end wake whoever waits for their events, and nothing else happens.
            waiting.clear();
        }
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
            self.open_events.open_cpus[number].next_speaker();
        }
    }

    /// Empties all rings. Whether there was anything in them.
    fn pass(&mut self, last: bool) -> Result<bool, Error> {
        let mut all = Passed::default();
        let mut resumed = Vec::new();
        for (number, open_cpu) in self.open_events.open_cpus.iter_mut().enumerate() {
            let passed = open_cpu.rings.drain(last, self.writer).map_err(Error::output)?;
            if open_cpu.unit.goes_on(&passed) && !last {
                resumed.push(number);
            }
            all.add(&passed);
        }
        for number in resumed {
            self.open_events.resume(&self.open_events.open_cpus[number]);
        }
        self.writer.pass_ended().map_err(Error::output)?;
        let state = &mut self.state;
        state.total.add(&all);
        state.passes += 1;
        state.cpus = self.open_events.sampled_cpus();
        let now = Moment { when: Instant::now(), own: own_time(), total: state.total };
        let cost = self.begin.cost(&now, state.cpus);
        (state.elapsed, state.own) = (cost.elapsed, cost.own);
        state.average_overhead = cost.share();
        state.quiet_cpus =
            self.open_events.open_cpus.iter().filter(|open_cpu| open_cpu.is_quiet()).count();
        state.unfollowed_cpus = self.open_events.unfollowed.len();
        state.shared = self.turns.shared();
        state.gave_way = self.turns.gave_way(state.elapsed);
        (self.progress)(state);
        Ok(all.record_bytes + all.aux_bytes + all.unreadable > 0)
    }

    /// Has the units of CPUs that were quiet publish what they hold.
    fn flush(&mut self) {
        let publishes =
            self.open_events.open_cpus.iter_mut().map(|open_cpu| open_cpu.unit.publishes());
        let publishes: Vec<_> = publishes.collect();
        for (open_cpu, _) in
            self.open_events.open_cpus.iter().zip(publishes).filter(|(_, publishes)| *publishes)
        {
            self.open_events.flush(open_cpu);
        }
        self.flushed = Instant::now();
    }

    /// This moment.
    fn now(&self) -> Moment {
        Moment { when: Instant::now(), own: own_time(), total: self.state.total }
    }

    /// Adapts to the budget.
    fn keep_budget(&mut self) {
        let now = self.now();
        let Some(budget) = &mut self.budget else { return };
        let cost = self.accounted.cost(&now, self.open_events.sampled_cpus());
        if !budget.is_due(&cost) {
            return;
        }
        self.accounted = now;
        if budget.rests() {
            self.state.rested += cost.elapsed;
        }
        // Of what others have now, periods are no matter.
        if self.turns.is_away() {
            return;
        }
        if let Some(pace) = budget.adapt(&cost) {
            if pace.factor != self.state.stretched {
                self.open_events.stretch(pace.factor);
                self.state.stretched = pace.factor;
            }
            self.open_events.rest(pace.rests);
        }
        self.state.fixed_overhead = budget.fixed();
    }

    /// Follows CPUs, and whose turn it is, once a second.
    fn look(&mut self) -> Result<(), Error> {
        if self.looked.when.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        let times = self.open_events.times();
        for mut open_cpu in self.open_events.leave(&times) {
            let passed = open_cpu.rings.drain(true, self.writer).map_err(Error::output)?;
            self.state.total.add(&passed);
        }
        // Not before: of what they held there may be one only.
        let told = self.open_events.join();
        for event in &told {
            self.writer.more_ids(event).map_err(Error::output)?;
        }
        self.told.begin(&self.open_events, &told);
        if !told.is_empty() && self.state.stretched > 1.0 {
            self.open_events.stretch(self.state.stretched);
        }
        let times = self.open_events.of_shared_units(&times);
        let theirs = self.turns.look(self.begin.when.elapsed(), &times);
        let rests = self.budget.as_ref().is_some_and(Budget::rests);
        self.open_events.rest(theirs || rests);
        let now = self.now();
        self.state.overhead = self.looked.cost(&now, self.open_events.sampled_cpus()).share();
        self.looked = now;
        Ok(())
    }
}
