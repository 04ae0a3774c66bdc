//! What to capture, and how.

use std::ffi::OsString;
use std::time::Duration;

use super::output::synthesized::SpeMetadata;
use super::setup::event_choice::{EventChoice, Side};
use super::setup::host::Host;
use crate::page_map::{Frames, LookUp};

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
    /// How a recording tells what is known of Arm SPE.
    pub spe_metadata: SpeMetadata,
    /// The host whose kernel is asked.
    pub host: Host,
}

impl Options {
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
            spe_metadata: SpeMetadata::default(),
            host: Host::default(),
        }
    }
}
