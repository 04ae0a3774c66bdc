//! All events of a capture, open on each CPU: opened, mapped, enabled, and followed as CPUs come
//! and go.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use perf_event_open_sys::bindings::{
    PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_FORMAT_TOTAL_TIME_RUNNING,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::event;
use super::event::{Role, Setup};
use super::host::{Host, asleep};
use super::open;
use super::refusal::{Attempt, Refusal, Scope};
use crate::live::control::budget;
use crate::live::control::budget::AUX_RECORD_LEN;
use crate::live::control::command::{Running, Starter};
use crate::live::control::turns::{Place, Times};
use crate::live::error::Error;
use crate::live::options::{Options, Target};
use crate::live::output::synthesized::{EventAbout, SpeMetadata};
use crate::live::ring::aux_restart::AuxRestart;
use crate::live::ring::cpu_rings::CpuRings;
use crate::live::ring::mapped::MappedRing;

/// Rings are not made smaller than this many pages where there is too little locked memory.
pub(in crate::live) const LEAST_PAGES: usize = 4;
/// How often events are opened again since threads have started meanwhile.
const MOST_TRIES: usize = 4;
/// A ring of AUX data wakes us when this part of it is filled.
const AUX_WATERMARK_PART: usize = 8;
/// About the length of a sample record.
const SAMPLE_LEN: f64 = 72.0;
/// `attr.read_format`: an event tells for how much of its time it had its unit.
const TIMES: u64 = (PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING) as u64;
/// A ring of records wakes us when this part of it is filled.
const WATERMARK_PART: usize = 4;

/// The events of one CPU, and their rings.
#[derive(Debug)]
pub(in crate::live) struct OpenCpu {
    pub(in crate::live) cpu: u32,
    pub(in crate::live) rings: CpuRings<MappedRing>,
    /// Each with the number of its setup.
    pub(super) events: Vec<(usize, OwnedFd)>,
    /// What its unit is to be told.
    pub(in crate::live) unit: AuxRestart,
    /// The event that tells when there is something to take: the first one whose task is not gone.
    /// Behind the last one there is nothing left to observe.
    pub(super) speaker: usize,
}

impl OpenCpu {
    /// Whether all that the events were to observe is gone.
    pub(in crate::live) fn hung_up(&self) -> bool {
        self.speaker >= self.events.len()
    }

    /// Whether its unit writes AUX data and gave none when it was told to publish it.
    pub(in crate::live) fn is_quiet(&self) -> bool {
        self.rings.aux.is_some() && self.unit.is_silent()
    }

    /// Stops its events; what their units have written is in the rings then.
    pub(super) fn disable(&self) {
        for (_, event) in &self.events {
            // One that cannot be stopped has stopped already: its CPU is gone.
            let _ = open::disable(event.as_fd());
        }
    }

    /// What the speaker was to observe is gone: the next one speaks for all, whose records are in
    /// the same ring.
    pub(in crate::live) fn next_speaker(&mut self) {
        self.speaker += 1;
    }
}

/// All that is open.
#[derive(Debug)]
pub(in crate::live) struct OpenEvents {
    pub(super) host: Host,
    pub(super) target: Target,
    pub(super) starter: Option<Starter>,
    pub(super) scope: Scope,
    pub(super) setups: Vec<Setup>,
    pub(super) tids: Vec<i32>,
    pub(super) ring_len: usize,
    pub(super) aux_len: usize,
    pub(super) spe_metadata: SpeMetadata,
    pub(super) max_overhead: Option<f64>,
    pub(super) next_idx: u32,
    pub(in crate::live) open_cpus: Vec<OpenCpu>,
    /// CPUs that could not be followed when they came.
    pub(in crate::live) unfollowed: Vec<u32>,
    /// Events are off for a while; those of CPUs that come meanwhile stay off too.
    pub(in crate::live) resting: bool,
    /// How long the machine has slept: CPUs that sleep lose the events that are not of a task.
    pub(super) slept: Duration,
    /// For how long events had been enabled when that was last looked at, if they have not rested
    /// since.
    pub(super) enabled: BTreeMap<Place, Duration>,
}

impl OpenEvents {
    /// Finds out what is to be opened.
    pub(in crate::live) fn new(options: &Options) -> Result<Self, Error> {
        let mut setups = event::setups(options)?;
        // A file's table of attributes has entries of one size.
        let size = setups.iter().map(|setup| setup.attr.size).max().unwrap_or(0);
        for setup in &mut setups {
            setup.attr.size = size;
            setup.attr.set_watermark(1);
            let task = options.target != Target::AllCpus;
            setup.attr.set_inherit(u64::from(task));
            let command = matches!(options.target, Target::Command(_));
            setup.attr.set_enable_on_exec(u64::from(command && setup.role != Role::SideBand));
            if !task {
                setup.attr.read_format = TIMES;
            }
            if task && setup.role == Role::SideBand {
                // Threads that start before all is open are not among those that are looked up.
                setup.attr.set_disabled(0);
            }
        }
        let scope = if options.target == Target::AllCpus { Scope::AllCpus } else { Scope::Process };
        let command = matches!(options.target, Target::Command(_));
        let mut open_events = Self {
            starter: command.then(Starter::new).transpose()?,
            host: options.host.clone(),
            target: options.target.clone(),
            scope,
            setups,
            tids: Vec::new(),
            ring_len: options.ring_len,
            aux_len: options.aux_len,
            spe_metadata: options.spe_metadata,
            max_overhead: options.max_overhead,
            next_idx: 0,
            open_cpus: Vec::new(),
            unfollowed: Vec::new(),
            resting: false,
            slept: asleep(),
            enabled: BTreeMap::new(),
        };
        open_events.mark();
        Ok(open_events)
    }

    /// Sets how much of a ring is filled when it wakes us.
    fn mark(&mut self) {
        let (records, aux) = marks(self.ring_len, self.aux_len, self.max_overhead);
        for setup in &mut self.setups {
            setup.attr.__bindgen_anon_2.wakeup_watermark = records;
            if setup.role == Role::Tracer {
                setup.attr.aux_watermark = aux;
            }
        }
    }

    /// Halves all rings, if that is possible.
    fn shrink(&mut self) -> bool {
        let least = LEAST_PAGES * rustix::param::page_size();
        let smaller = |len: usize| (len / 2).max(least).min(len);
        let (ring_len, aux_len) = (smaller(self.ring_len), smaller(self.aux_len));
        let shrinks = (ring_len, aux_len) != (self.ring_len, self.aux_len);
        (self.ring_len, self.aux_len) = (ring_len, aux_len);
        self.mark();
        shrinks
    }

    /// Opens everything that was asked for; nothing counts yet. After an error nothing is open.
    pub(in crate::live) fn open(&mut self) -> Result<(), Error> {
        self.open_on(usize::MAX)
    }

    /// As [`OpenEvents::open`], on so many CPUs that have the unit.
    ///
    /// All CPUs have rings of one size, as large as may be locked in memory up to what was asked
    /// for. Threads that start while events are opened may have some of them: it is done again
    /// then.
    pub(in crate::live) fn open_on(&mut self, cpus: usize) -> Result<(), Error> {
        let mut tries = MOST_TRIES;
        loop {
            self.open_cpus.clear();
            self.tids = self.threads();
            match self.open_once(cpus) {
                Err(Error::Refused(refusal)) if refusal.is_memory() && self.shrink() => {}
                Err(Error::Refused(refusal)) if refusal.errno == libc::EMFILE && raise_files() => {}
                Ok(()) if self.has_new_threads() && tries > 0 => tries -= 1,
                done => {
                    if done.is_err() {
                        self.open_cpus.clear();
                    }
                    return done;
                }
            }
        }
    }

    fn open_once(&mut self, cpus: usize) -> Result<(), Error> {
        if let (Target::Pid(pid), true) = (&self.target, self.tids.is_empty()) {
            return Err(Error::unusable(format!(
                "there is no process {pid}: give the --pid of one that runs"
            )));
        }
        let online = self.host.online().ok_or_else(|| {
            Error::unusable(
                "cannot read which CPUs are online (/sys/devices/system/cpu/online): mount /sys, \
                 or allow more open files (`ulimit -n`)",
            )
        })?;
        for cpu in online {
            self.add(cpu)?;
            if self.sampled_cpus() >= cpus {
                break;
            }
        }
        if self.sampled_cpus() == 0 {
            return Err(Error::unusable(
                "no CPU that is online has the unit: choose another --event",
            ));
        }
        Ok(())
    }

    /// How many CPUs have the unit.
    pub(in crate::live) fn sampled_cpus(&self) -> usize {
        let samples = |open_cpu: &&OpenCpu| {
            let mut roles = open_cpu.events.iter().map(|(number, _)| self.setups[*number].role);
            roles.any(|role| matches!(role, Role::Tracer | Role::Sampler))
        };
        self.open_cpus.iter().filter(samples).count()
    }

    /// Whether threads are there that were not when events were opened.
    fn has_new_threads(&self) -> bool {
        self.threads().iter().any(|tid| !self.tids.contains(tid))
    }

    /// Whether the process that is to be observed is gone.
    pub(in crate::live) fn is_pointless(&self) -> bool {
        self.threads().is_empty()
    }

    /// The threads whose events are opened, as the kernel numbers them: -1 stands for all.
    pub(super) fn threads(&self) -> Vec<i32> {
        match &self.target {
            Target::AllCpus => vec![-1],
            // What is started from there inherits the events.
            Target::Command(_) => self.starter.iter().map(|starter| starter.tid).collect(),
            Target::Pid(pid) => {
                let threads = self.host.threads(*pid).into_iter();
                threads.filter_map(|tid| i32::try_from(tid).ok()).collect()
            }
        }
    }

    /// Starts what is observed, if that is a command.
    pub(in crate::live) fn start(&self, to_stderr: bool) -> Result<Option<Running>, Error> {
        match (&self.starter, &self.target) {
            (Some(starter), Target::Command(words)) => starter.start(words, to_stderr).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn refusal(&self, step: Attempt, event: &str, cpu: u32, error: &io::Error) -> Error {
        Error::Refused(Refusal::new(step, event, self.scope, cpu, error, &self.host))
    }

    /// Opens the events of one CPU: those whose unit it has, and the one that tells of tasks.
    pub(super) fn add(&mut self, cpu: u32) -> Result<(), Error> {
        let has = |setup: &Setup| setup.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu));
        let here: Vec<_> = (0..).zip(&self.setups).filter(|(_, setup)| has(setup)).collect();
        // A CPU without the unit still tells of tasks: one that starts there may move to a CPU that has it.
        if here.is_empty() {
            return Ok(());
        }
        let mut events: Vec<(usize, OwnedFd)> = Vec::new();
        // The event that has the rings: the first one that tells something.
        let mut owner: Option<(usize, MappedRing)> = None;
        for tid in &self.tids {
            let mut leader: Option<usize> = None;
            for (number, setup) in &here {
                let group = leader.take().and_then(|leader| events.get(leader));
                let group = group.map(|(_, leader)| leader.as_fd());
                let event = match open::open(setup, *tid, cpu, group) {
                    Ok(event) => event,
                    // A thread may end before its turn.
                    Err(error) if self.tids.len() > 1 && is(&error, libc::ESRCH) => continue,
                    Err(error) => {
                        return Err(self.refusal(Attempt::Open, &setup.name, cpu, &error));
                    }
                };
                if setup.role == Role::Leader {
                    leader = Some(events.len());
                } else if let Some((first, _)) = &owner {
                    open::write_into(event.as_fd(), events[*first].1.as_fd()).map_err(|error| {
                        self.refusal(Attempt::Control, &setup.name, cpu, &error)
                    })?;
                } else {
                    let records =
                        MappedRing::records(event.as_fd(), self.ring_len).map_err(|error| {
                            self.refusal(Attempt::MapRecords, &setup.name, cpu, &error)
                        })?;
                    owner = Some((events.len(), records));
                }
                events.push((*number, event));
            }
        }
        let Some((first, records)) = owner else {
            return Err(Error::unusable("all threads of the process are gone"));
        };
        let (number, event) = &events[first];
        let setup = &self.setups[*number];
        let aux = match setup.role {
            Role::Tracer => Some(
                records
                    .aux(event.as_fd(), self.aux_len)
                    .map_err(|error| self.refusal(Attempt::MapAux, &setup.name, cpu, &error))?,
            ),
            _ => None,
        };
        let rings = CpuRings::new(self.next_idx, Some(cpu), records, aux);
        self.next_idx += 1;
        self.open_cpus.push(OpenCpu {
            cpu,
            rings,
            events,
            unit: AuxRestart::default(),
            speaker: first,
        });
        Ok(())
    }

    /// Has the kernel tell what tasks do from now on, before those that there are are looked up.
    /// Not before all is open: on a large machine the rings would be full by then.
    pub(in crate::live) fn watch_tasks(&self) -> Result<(), Error> {
        self.open_cpus
            .iter()
            .try_for_each(|open_cpu| self.enable_on(open_cpu, |role| role == Role::SideBand))
    }

    /// Lets all events count. A command's do so by themselves once it runs.
    pub(in crate::live) fn enable(&self) -> Result<(), Error> {
        self.open_cpus.iter().try_for_each(|open_cpu| self.enable_on(open_cpu, |_| true))
    }

    pub(super) fn enable_on(
        &self,
        open_cpu: &OpenCpu,
        wanted: impl Fn(Role) -> bool,
    ) -> Result<(), Error> {
        for (number, event) in &open_cpu.events {
            let setup = &self.setups[*number];
            if wanted(setup.role) {
                open::enable(event.as_fd()).map_err(|error| {
                    self.refusal(Attempt::Control, &setup.name, open_cpu.cpu, &error)
                })?;
            }
        }
        Ok(())
    }

    /// Has the units rest, or work again. What tasks do is told meanwhile.
    pub(in crate::live) fn rest(&mut self, rests: bool) {
        if rests == self.resting {
            return;
        }
        self.resting = rests;
        self.enabled.clear();
        for (number, event) in self.open_cpus.iter().flat_map(|open_cpu| &open_cpu.events) {
            if self.setups[*number].role != Role::SideBand {
                let event = event.as_fd();
                // One that does not obey is gone with its CPU.
                let _ = if rests { open::disable(event) } else { open::enable(event) };
            }
        }
    }

    /// Of the times of events, those of events whose unit the kernel shares. It never shares Arm SPE's
    /// (`PERF_PMU_CAP_EXCLUSIVE`): an event whose ring is full just does not run.
    pub(in crate::live) fn of_shared_units(&self, times: &[(Place, Times)]) -> Vec<(Place, Times)> {
        let shared = |(place, _): &&(Place, Times)| self.setups[place.1].role != Role::Tracer;
        times.iter().filter(shared).copied().collect()
    }

    /// For how much of their time events had their units. Only told where all CPUs are captured:
    /// those of tasks do not run for other reasons too.
    pub(in crate::live) fn times(&self) -> Vec<(Place, Times)> {
        let open_cpus = self.open_cpus.iter().filter(|_| self.scope == Scope::AllCpus);
        let events = open_cpus
            .flat_map(|open_cpu| open_cpu.events.iter().map(move |event| (open_cpu.cpu, event)));
        let units = events.filter(|(_, (number, _))| self.setups[*number].role != Role::SideBand);
        units
            .filter_map(|(cpu, (number, event))| Some(((cpu, *number), times(event.as_fd())?)))
            .collect()
    }

    /// Stops all events; what their units have written is in the rings then.
    pub(in crate::live) fn disable(&self) {
        self.open_cpus.iter().for_each(OpenCpu::disable);
    }

    /// Whether all tasks that were to be observed are gone.
    pub(in crate::live) fn is_left(&self) -> bool {
        self.scope == Scope::Process && self.open_cpus.iter().all(OpenCpu::hung_up)
    }

    /// The events that write AUX data, of one CPU.
    fn tracers<'l>(&'l self, open_cpu: &'l OpenCpu) -> impl Iterator<Item = BorrowedFd<'l>> {
        let is_tracer = |number: usize| self.setups[number].role == Role::Tracer;
        open_cpu.events.iter().filter(move |(of, _)| is_tracer(*of)).map(|(_, event)| event.as_fd())
    }

    /// Makes a unit go on after its ring of AUX data was full.
    ///
    /// The kernel disables the event then, and ENABLE turns it on again. Kernels before "perf/aux: Fix pending disable flow
    /// when the AUX ring buffer overruns" (1476b218327b, June 2025) forget to disable an event of a CPU, 6.11 to 6.15 on every
    /// CPU and 6.1 to 6.10 on CPU 0: it counts as active while its unit is stopped, and ENABLE alone does nothing. So events of
    /// CPUs are disabled first. Events of tasks revive at the next switch of tasks, and to disable them goes through all that
    /// inherited them.
    pub(in crate::live) fn resume(&self, open_cpu: &OpenCpu) {
        match self.scope {
            Scope::AllCpus => self.flush(open_cpu),
            Scope::Process if self.resting => {}
            Scope::Process => {
                for event in self.tracers(open_cpu) {
                    let _ = open::enable(event);
                }
            }
        }
    }

    /// Has a unit publish what it holds, although that is less than what would wake us.
    pub(in crate::live) fn flush(&self, open_cpu: &OpenCpu) {
        if self.resting {
            return;
        }
        for event in self.tracers(open_cpu) {
            let _ = open::disable(event);
            let _ = open::enable(event);
        }
    }

    /// One descriptor for each CPU: those that tell when there is something to take.
    pub(in crate::live) fn descriptors(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.open_cpus.iter().enumerate().filter_map(|(number, open_cpu)| {
            let (_, speaker) = open_cpu.events.get(open_cpu.speaker)?;
            Some((number, speaker.as_fd()))
        })
    }

    /// The period of the first event that has one that can be changed.
    pub(in crate::live) fn period(&self) -> u64 {
        let sampling =
            self.setups.iter().find(|setup| matches!(setup.role, Role::Tracer | Role::Sampler));
        sampling.map_or(1, |setup| setup.period)
    }

    /// The number of the setup of an event that was told of, if it samples.
    pub(in crate::live) fn sampling(&self, event: &EventAbout) -> Option<usize> {
        self.setups.iter().position(|setup| {
            matches!(setup.role, Role::Tracer | Role::Sampler)
                && open::attr_bytes(&setup.attr, setup.period) == event.attr
        })
    }

    /// By how much a period is longer than was asked for, if it is stretched by this factor.
    pub(in crate::live) fn scale(&self, setup: usize, factor: f64) -> f64 {
        let setup = &self.setups[setup];
        setup.stretched(factor) as f64 / setup.stretched(1.0) as f64
    }

    /// Multiplies the periods that were asked for.
    pub(in crate::live) fn stretch(&self, factor: f64) {
        for (number, event) in self.open_cpus.iter().flat_map(|open_cpu| &open_cpu.events) {
            let setup = &self.setups[*number];
            if matches!(setup.role, Role::Tracer | Role::Sampler) {
                // One that does not take it goes on as it is.
                let _ = open::set_period(event.as_fd(), setup.stretched(factor));
            }
        }
    }
}

/// Lets this process have as many files open as it may. Whether that is more than before.
fn raise_files() -> bool {
    let limits = getrlimit(Resource::Nofile);
    let more = match (limits.current, limits.maximum) {
        (Some(current), Some(maximum)) => current < maximum,
        (current, None) => current.is_some(),
        (None, Some(_)) => false,
    };
    more && setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).is_ok()
}

/// Bytes of records, and of AUX data, at which rings wake us: a part of them, or less if that is
/// much of a budget.
fn marks(ring_len: usize, aux_len: usize, max_overhead: Option<f64>) -> (u32, u32) {
    let parts = (ring_len / WATERMARK_PART, aux_len / AUX_WATERMARK_PART);
    let (samples, records) = max_overhead.map_or((f64::MAX, f64::MAX), budget::waking);
    let bytes = |part: usize, count: f64, len: f64| {
        let page = rustix::param::page_size() as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let mark = (part as f64).min((count * len).max(page)) as u32;
        mark
    };
    (bytes(parts.0, samples, SAMPLE_LEN), bytes(parts.1, records, AUX_RECORD_LEN as f64))
}

/// For how much of its time an event had its unit; `None` if the kernel does not say.
fn times(event: BorrowedFd<'_>) -> Option<Times> {
    // The count, then the two times in nanoseconds, as `TIMES` asks.
    let mut words = [0; 24];
    if rustix::io::read(event, &mut words) != Ok(words.len()) {
        return None;
    }
    let word = |at: usize| words[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
    let (enabled, running) = (Duration::from_nanos(word(8)), Duration::from_nanos(word(16)));
    Some(Times { enabled, running })
}

impl Setup {
    /// A period that is longer by this factor, as the unit counts.
    fn stretched(&self, factor: f64) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        #[expect(clippy::cast_sign_loss, reason = "both are positive")]
        let period = (self.period as f64 * factor) as u64;
        // What was asked for may be no multiple, so that it comes first.
        period.max(self.period).max(1).min(self.most).next_multiple_of(self.step)
    }
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::ring::Ring;
    use std::io::Write as _;

    /// The greatest period is that of the event: what was asked for is within it.
    #[test]
    fn periods_stretch_up_to_what_the_event_takes() {
        const KERNEL: u64 = i64::MAX as u64;
        for (event, asked, factor, wanted) in [
            ("faults", 1, 2.5, 2),
            ("faults", 0xffff_ff00, 1.0, 0xffff_ff00),
            ("faults", 0xffff_ff01, 1.0, 0xffff_ff01),
            ("cpu-clock", 1 << 40, 2.0, 1 << 41),
            ("mem:0x1000/8:w", KERNEL, 1.0, KERNEL),
            ("mem:0x1000/8:w", KERNEL, 1e30, KERNEL),
        ] {
            let options = Options {
                event: event.parse().unwrap(),
                period: Some(asked),
                ..Options::default()
            };
            let setups = event::setups(&options).unwrap();
            assert_eq!(setups[0].stretched(factor), wanted, "{event} {asked} {factor}");
        }
        for (step, most) in [(256, 0xffff_ff00), (16, KERNEL / 16 * 16)] {
            let options = Options { event: "faults".parse().unwrap(), ..Options::default() };
            let setup = event::setups(&options).unwrap().remove(0);
            let setup = Setup { step, most, period: most - 1, ..setup };
            assert_eq!([1.0, 1e30].map(|factor| setup.stretched(factor)), [most; 2]);
            let short = Setup { period: 1, ..setup };
            assert_eq!([1.0, 1e30].map(|factor| short.stretched(factor)), [step, most]);
        }
    }

    /// CPUs of this machine are told of one by one, as if they came and went.
    #[test]
    fn cpus_are_followed_as_they_come_and_go() {
        let root = std::env::temp_dir().join(format!("folioscope-cpus-{}", std::process::id()));
        let folder = root.join("sys/devices/system/cpu");
        std::fs::create_dir_all(&folder).unwrap();
        let online = |cpus: &str| std::fs::write(folder.join("online"), cpus).unwrap();
        online("0");
        let event = "minor-faults".parse().unwrap();
        let options = Options { event, host: Host::at(&root), ..Options::default() };
        let mut open_events = OpenEvents::new(&options).unwrap();
        if let Err(error) = open_events.open() {
            std::fs::remove_dir_all(&root).unwrap();
            // Not by a macro, whose output is kept where a test passes.
            let _ = writeln!(io::stderr(), "DID NOT RUN: CPUs that come and go: {error}");
            return;
        }
        let cpus = |open_events: &OpenEvents| {
            open_events.open_cpus.iter().map(|open_cpu| open_cpu.cpu).collect::<Vec<_>>()
        };
        assert_eq!(
            (cpus(&open_events), open_events.about().unwrap().events[0].ids.len()),
            (vec![0], 1)
        );
        open_events.enable().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let times = open_events.times();
        assert_eq!((times.len(), times[0].0), (1, (0, 0)));
        assert!(times[0].1.enabled > Duration::from_millis(1), "{times:?}");
        assert_eq!(times[0].1.running, times[0].1.enabled, "a software event has no unit to share");
        open_events.rest(true);
        let (off, later) = (open_events.times(), open_events.times());
        assert_eq!(off, later, "an event that rests is not enabled");
        open_events.rest(false);
        assert!(open_events.times()[0].1.enabled > off[0].1.enabled);
        // As if it had slept in between: the CPU's events are opened anew.
        let ids = open_events.about().unwrap().events[0].ids.clone();
        assert_eq!(follow(&mut open_events), (vec![], vec![]));
        open_events.slept += Duration::from_secs(60);
        let (gone, told) = follow(&mut open_events);
        assert_eq!((&gone[..], cpus(&open_events)), (&[0][..], vec![0]));
        assert_ne!(told, ids, "they are others");
        assert_eq!(follow(&mut open_events), (vec![], vec![]), "once");
        // A list that cannot be read says nothing of CPUs.
        std::fs::remove_file(folder.join("online")).unwrap();
        assert_eq!(follow(&mut open_events), (vec![], vec![]));
        assert_eq!((cpus(&open_events), open_events.unfollowed.len()), (vec![0], 0));
        let second = Host::default().online().into_iter().flatten().find(|cpu| *cpu != 0);
        if let Some(second) = second {
            online(&format!("0,{second}"));
            let (gone, told) = follow(&mut open_events);
            assert_eq!((gone.len(), told.len()), (0, 1));
            assert_eq!((cpus(&open_events), open_events.unfollowed.len()), (vec![0, second], 0));
            online(&second.to_string());
            let gone = open_events.leave(&[]);
            assert_eq!(
                (gone[0].cpu, open_events.join().len(), cpus(&open_events)),
                (0, 0, vec![second])
            );
            let ring = gone[0].rings.records.ring();
            assert!(ring.head() >= ring.tail(), "it can still be emptied");
        }
        // One that is not there is told of as long as it is said to be, and the others go on.
        for unfollowed in [&[8000][..], &[8000], &[]] {
            online(if unfollowed.is_empty() { "0" } else { "0,8000" });
            follow(&mut open_events);
            assert_eq!((cpus(&open_events), &open_events.unfollowed[..]), (vec![0], unfollowed));
        }
        // As if it had been offline since the last look, and is back.
        for (_, event) in &open_events.open_cpus[0].events {
            open::disable(event.as_fd()).unwrap();
        }
        assert_eq!(follow(&mut open_events).0, [], "it was on for some time");
        assert_eq!(follow(&mut open_events).0, [0], "and then not");
        assert_eq!(follow(&mut open_events).0, [], "it is opened anew");
        // Off because it rests is something else.
        open_events.rest(true);
        assert_eq!([follow(&mut open_events).0, follow(&mut open_events).0].concat(), []);
        open_events.rest(false);
        assert_eq!([follow(&mut open_events).0, follow(&mut open_events).0].concat(), []);
        std::fs::remove_dir_all(&root).unwrap();
    }

    /// The CPUs that have left, and the ids of those that have joined.
    fn follow(open_events: &mut OpenEvents) -> (Vec<u32>, Vec<u64>) {
        let times = open_events.times();
        let gone = open_events.leave(&times).into_iter().map(|open_cpu| open_cpu.cpu).collect();
        (gone, open_events.join().into_iter().flat_map(|about| about.ids).collect())
    }

    /// Events of tasks stay where they are: they wait for their CPU. What a process has started by
    /// then is not on a CPU that comes, but itself.
    #[test]
    fn events_of_tasks_do_not_leave() {
        let root = std::env::temp_dir().join(format!("folioscope-tasks-{}", std::process::id()));
        let pid = std::process::id();
        let cpus = root.join("sys/devices/system/cpu");
        let task = root.join(format!("proc/{pid}/task/{pid}"));
        std::fs::create_dir_all(&cpus).unwrap();
        std::fs::create_dir_all(&task).unwrap();
        let online = |list: &str| std::fs::write(cpus.join("online"), list).unwrap();
        let children = |list: &str| std::fs::write(task.join("children"), list).unwrap();
        let options = Options {
            event: "minor-faults".parse().unwrap(),
            host: Host::at(&root),
            target: Target::Pid(pid),
            ..Options::default()
        };
        let mut open_events = OpenEvents::new(&options).unwrap();
        online("0");
        children("");
        open_events.join();
        // Whether a kernel lets them be opened at all, and on a second CPU.
        let opened = open_events.open_cpus.len();
        assert_eq!(open_events.unfollowed.len(), 1 - opened);
        let second = Host::default().online().is_some_and(|cpus| cpus.contains(&1));
        online("1");
        open_events.slept += Duration::from_secs(60);
        assert_eq!(open_events.leave(&[]).len(), 0);
        assert_eq!(open_events.open_cpus.len(), opened);
        children("8 9");
        open_events.join();
        assert!(open_events.unfollowed.contains(&1), "its children are missing there");
        assert_eq!(
            open_events.open_cpus.len(),
            opened * if second { 2 } else { 1 },
            "and it is not"
        );
        open_events.target = Target::Command(Vec::new());
        online("1,2");
        open_events.join();
        assert!(open_events.unfollowed.contains(&2), "it ran there without being recorded");
        std::fs::remove_dir_all(&root).unwrap();
    }

    /// What a CPU's events held is free before it is opened anew.
    #[test]
    fn what_there_is_one_of_is_given_back_first() {
        let watched = [0_u64; 3];
        let places: Vec<_> = watched.iter().map(|word| format!("mem:{:p}/8:w", word)).collect();
        let options = Options { event: places.join(",").parse().unwrap(), ..Options::default() };
        let mut open_events = OpenEvents::new(&options).unwrap();
        if let Err(error) = open_events.open() {
            let _ = writeln!(io::stderr(), "DID NOT RUN: a CPU's events opened anew: {error}");
            return;
        }
        let open_cpus = open_events.open_cpus.len();
        open_events.slept += Duration::from_secs(60);
        let times = open_events.times();
        assert_eq!(open_events.leave(&times).len(), open_cpus);
        assert!(!open_events.is_left(), "all CPUs are observed, whichever there are");
        open_events.join();
        assert_eq!(
            (open_events.open_cpus.len(), &open_events.unfollowed[..]),
            (open_cpus, &[][..])
        );
    }
}
