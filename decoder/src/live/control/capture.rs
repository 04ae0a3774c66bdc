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

/// As [`capture`], into any outlet.
///
/// # Errors
/// See [`capture`]; and what the outlet says.
pub fn record(
    options: &Options,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Progress),
    outlet: &mut impl RecordingWriter,
) -> Result<Progress, Error> {
    let mut rig = OpenEvents::new(options)?;
    let waited = waiting::open(&mut rig, options, stop, &mut progress)?;
    rig.watch_tasks()?;
    let about = rig.about()?;
    outlet.begin(&about).map_err(Error::output)?;
    let mut told = Told::default();
    told.begin(&rig, &about.events);
    let state = Progress {
        cpus: rig.lanes.len(),
        period: rig.period(),
        waited: waited.time,
        waiting_for: waited.in_vain,
        ..Progress::default()
    };
    if waited.in_vain.is_some() {
        return Ok(state);
    }
    let (start, own) = (Instant::now(), own_time());
    let mut child = rig.start(options.command_to_stderr)?;
    if child.is_none() {
        rig.enable()?;
    }
    let begin = Moment { when: start, own, total: Passed::default() };
    let mut capture = Capture {
        rig,
        outlet,
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
    rig: OpenEvents,
    outlet: &'o mut O,
    progress: P,
    budget: Option<Budget>,
    /// What the outlet was told of the pace.
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
            let gone = self.rig.is_left();
            if stop.load(Ordering::Relaxed) || over || ended || gone || self.outlet.has_enough() {
                break;
            }
            let left = most.map(|most| most.saturating_sub(self.begin.when.elapsed()));
            self.wait(left.unwrap_or(PASS_EVERY).min(PASS_EVERY));
            self.pass(false)?;
            self.keep_budget();
            self.look()?;
            self.told.tell(&self.rig, self.state.stretched, self.outlet).map_err(Error::output)?;
            if self.flushed.elapsed() >= flush_every {
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
        if self.rig.resting {
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
            self.rig.lanes[number].next_speaker();
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
        state.cpus = self.rig.lanes.len();
        let now = Moment { when: Instant::now(), own: own_time(), total: state.total };
        let cost = self.begin.cost(&now, state.cpus);
        (state.elapsed, state.own) = (cost.elapsed, cost.own);
        state.average_overhead = cost.share();
        state.quiet_cpus = self.rig.lanes.iter().filter(|lane| lane.is_quiet()).count();
        state.unfollowed_cpus = self.rig.unfollowed.len();
        state.shared = self.turns.shared();
        state.gave_way = self.turns.gave_way(state.elapsed);
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

    /// This moment.
    fn now(&self) -> Moment {
        Moment { when: Instant::now(), own: own_time(), total: self.state.total }
    }

    /// Adapts to the budget.
    fn keep_budget(&mut self) {
        let now = self.now();
        let Some(budget) = &mut self.budget else { return };
        let cost = self.accounted.cost(&now, self.rig.lanes.len());
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
                self.rig.stretch(pace.factor);
                self.state.stretched = pace.factor;
            }
            self.rig.rest(pace.rests);
        }
        self.state.fixed_overhead = budget.fixed();
    }

    /// Follows CPUs, and whose turn it is, once a second.
    fn look(&mut self) -> Result<(), Error> {
        if self.looked.when.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        let times = self.rig.times();
        for mut open in self.rig.leave(&times) {
            let passed = open.lane.drain(true, self.outlet).map_err(Error::output)?;
            self.state.total.add(&passed);
        }
        // Not before: of what they held there may be one only.
        let told = self.rig.join();
        for event in &told {
            self.outlet.more_ids(event).map_err(Error::output)?;
        }
        self.told.begin(&self.rig, &told);
        if !told.is_empty() && self.state.stretched > 1.0 {
            self.rig.stretch(self.state.stretched);
        }
        let theirs = self.turns.look(self.begin.when.elapsed(), &times);
        let rests = self.budget.as_ref().is_some_and(Budget::rests);
        self.rig.rest(theirs || rests);
        let now = self.now();
        self.state.overhead = self.looked.cost(&now, self.rig.lanes.len()).share();
        self.looked = now;
        Ok(())
    }
}
