//! Capturing without perf: rings of the kernel's, emptied into a sink or a file.
//!
//! ```text
//! event -> open -> lane -> outlet        decoding: walk -> session -> sink, as with a stream
//!          mapped  ring                  writer: a perf.data file, or a stream
//! ```
//!
//! `capture.rs` is the loop over all lanes; `rig.rs` opens them and tells their units what
//! `unit.rs` decides. `kernel.rs` is the kernel's side of the rings as a model, for tests.
//!
//! What comes out of the rings is a recording as `perf record -o -` writes one, byte by byte, of
//! which nothing is copied on its way to the decoder but a record that a ring's end cuts. It is
//! read by the same code as a file; here is only what brings it.
//!
//! `unsafe` is in `mapped.rs` (memory shared with the kernel) and `open.rs` (the system call and
//! its ioctls), and nowhere else.

mod budget;
mod capture;
mod command;
mod decoding;
mod event;
mod host;
#[cfg(test)]
mod kernel;
mod lane;
mod mapped;
mod open;
mod outlet;
mod pace;
#[cfg(test)]
mod proptests;
mod refusal;
mod rig;
mod ring;
mod stream;
mod turns;
mod unit;
mod waiting;
mod writer;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use crate::page_map::{Frames, LookUp};

pub use capture::{capture, record, try_open};
pub use command::CommandEnd;
pub use decoding::{Decoding, decode};
pub use event::{Breakpoint, EventChoice, Side, UnknownEvent};
pub use host::Host;
pub use lane::{Lane, Passed};
pub use mapped::{MappedRing, TimeConversion};
pub use outlet::Outlet;
pub use refusal::{GRANT, Refusal, Scope, Step};
pub use ring::{AuxRing, Drained, MemoryRing, RecordRing, Ring};
pub use stream::{About, EventAbout, SpeCpuAbout, TaskAbout};
pub use writer::{FileWriter, StreamWriter};

/// What is observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// All that runs.
    #[default]
    AllCpus,
    /// A process, its threads and what it starts.
    Pid(u32),
    /// A command, which is started: a program and its arguments.
    Command(Vec<OsString>),
}

/// What to capture, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What is sampled.
    pub event: EventChoice,
    /// Events between two samples, in what the unit counts; `None`: as the unit does best.
    pub period: Option<u64>,
    /// What is observed.
    pub target: Target,
    /// Accesses that took fewer cycles are left out by the unit.
    pub min_latency: Option<u32>,
    /// Which accesses the unit samples.
    pub side: Side,
    /// Settings of the unit's by their names in its `format` folder, such as `event_filter` or
    /// `jitter` of Arm SPE: they win over what is set otherwise.
    pub settings: Vec<(String, u64)>,
    /// How long, waiting included; `None`: until it is stopped.
    pub duration: Option<Duration>,
    /// The part of all recorded CPUs' time that capturing may take, in (0, 1]: if it takes more,
    /// periods get longer, and events rest where that does not help.
    pub max_overhead: Option<f64>,
    /// Others who want the unit go first: one that is in use is waited for, and one that is shared
    /// is left to them for a while, again and again.
    ///
    /// Arm SPE is never shared: who wants it while we have it is refused, which we cannot see.
    pub give_way: bool,
    /// Units of CPUs that gave nothing for so long publish what they hold.
    pub flush_every: Duration,
    /// An observed command writes to standard error what it would write to standard output: that is
    /// for the result.
    pub command_to_stderr: bool,
    /// Bytes of a CPU's ring of records: a power of two of pages.
    pub ring_len: usize,
    /// Bytes of a CPU's ring of AUX data: a power of two of pages.
    pub aux_len: usize,
    /// The host whose kernel is asked.
    pub host: Host,
}

impl Options {
    /// What a period that is asked for will not come to, in a sentence for each reason: Arm SPE
    /// recommends a least one, and has a greatest one (`caps/min_interval`, PMSIRR_EL1.INTERVAL).
    pub fn period_caveats(&self) -> Vec<String> {
        event::period_caveats(self)
    }

    /// Gives what is captured to a sink by way of looking up what has no physical address: of
    /// Arm SPE only if it is not asked for them. Of faults, what is remembered of page maps is no
    /// answer.
    pub fn look_up<S, F: Frames>(&self, sink: S, frames: F) -> LookUp<S, F> {
        let without = |(name, value): &(String, u64)| name == "pa_enable" && *value == 0;
        let look_up = match self.settings.iter().any(without) {
            true => LookUp::new(sink, frames),
            false => LookUp::of_samples(sink, frames),
        };
        if self.event.is_faults() { look_up.of_faults() } else { look_up }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event: EventChoice::default(),
            period: None,
            target: Target::default(),
            min_latency: None,
            side: Side::default(),
            settings: Vec::new(),
            duration: None,
            max_overhead: None,
            give_way: false,
            flush_every: Duration::from_secs(1),
            command_to_stderr: false,
            // With its control page, what the kernel lets everybody lock on each CPU.
            ring_len: 512 << 10,
            aux_len: 4 << 20,
            host: Host::default(),
        }
    }
}

/// How a capture goes, or went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Since it began.
    pub elapsed: Duration,
    /// Passes over all rings.
    pub passes: u64,
    /// What came out of them.
    pub total: Passed,
    /// CPU time that this process has spent since it began.
    pub own: Duration,
    /// The part of all recorded CPUs' time that capturing took in the last second: our own, and an
    /// estimate of what the kernel does for each sample.
    pub overhead: f64,
    /// The period of the first event as it was asked for.
    pub period: u64,
    /// As `overhead`, on average since it began.
    pub average_overhead: f64,
    /// The part of that which no period changes, as far as it is known: what this process does
    /// whatever it captures. Only learned where there is a budget.
    pub fixed_overhead: f64,
    /// How long events rested, since longer periods alone did not keep the budget.
    pub rested: Duration,
    /// By how much periods are stretched now to stay within the budget.
    pub stretched: f64,
    /// CPUs that are recorded.
    pub cpus: usize,
    /// Those among them of which AUX data has not come since they were last told to publish it.
    pub quiet_cpus: usize,
    /// CPUs that came and could not be recorded.
    pub unfollowed_cpus: usize,
    /// A CPU whose unit somebody else has: it is waited for, or was until the end. Nothing was
    /// captured then.
    pub waiting_for: Option<u32>,
    /// How long the unit was waited for.
    pub waited: Duration,
    /// If somebody else used the unit too: the part of the time that it worked for us, on the CPU
    /// where that was least. `None` also where it cannot be known: captures of a process.
    pub shared: Option<f64>,
    /// How long the unit was left to others.
    pub gave_way: Duration,
    /// What became of the observed command.
    pub command: Option<CommandEnd>,
}

impl Progress {
    /// The period of the first event as it is now.
    pub fn period_now(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        #[expect(clippy::cast_precision_loss, reason = "it is told, not counted with")]
        let now = (self.period as f64 * self.stretched) as u64;
        now
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            passes: 0,
            total: Passed::default(),
            own: Duration::ZERO,
            overhead: 0.0,
            average_overhead: 0.0,
            fixed_overhead: 0.0,
            rested: Duration::ZERO,
            period: 1,
            stretched: 1.0,
            cpus: 0,
            quiet_cpus: 0,
            unfollowed_cpus: 0,
            waiting_for: None,
            waited: Duration::ZERO,
            shared: None,
            gave_way: Duration::ZERO,
            command: None,
        }
    }
}

/// Why nothing can be captured, or no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// The host cannot do what was asked.
    #[error("{0}")]
    Unusable(String),
    /// The command could not be started.
    #[error("{}: cannot start it: {source}", program.display())]
    Command {
        /// Its first word.
        program: OsString,
        /// The system's answer.
        source: io::Error,
    },
    /// What was captured could not be written.
    #[error("cannot write")]
    Output(#[source] io::Error),
}

impl Error {
    fn unusable(why: impl Into<String>) -> Self {
        Self::Unusable(why.into())
    }

    fn output(source: io::Error) -> Self {
        Self::Output(source)
    }
}
