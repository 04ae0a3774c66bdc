//! What an input said besides its accesses.

use crate::perf::{CpuSet, Event, Features};
use crate::raw::Raw;
use crate::{EventIndex, Ledger, Problem, Source, ibs};

/// The form of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A `perf.data` file.
    File,
    /// A `perf.data` folder.
    Folder,
    /// What `perf record -o -` writes, from a pipe or saved.
    Stream,
}

/// What a recording said besides its accesses.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its form.
    pub kind: InputKind,
    /// How many numbers of [`Position::file`](crate::Position::file) it used.
    pub files: u32,
    /// Bytes and losses. The records' fields are for the sink to fill.
    pub ledger: Ledger,
    /// Sources that records came from.
    pub sources: Vec<Source>,
    /// Which times the records had.
    pub time_base: TimeBase,
    /// Its events, in the order of [`EventIndex`].
    pub events: Vec<Event>,
    /// Indexes of its Arm SPE events.
    pub arm_spe_events: Vec<EventIndex>,
    /// What it says of its machine.
    pub features: Features,
    /// What could not be read; the first ones.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problem_count: u64,
    /// There were more threads or context switches than are remembered.
    pub sideband_full: bool,
    /// Of a stream: context switches that came behind the data that they tell of.
    pub late_switches: u64,
    /// The name of a task that runs virtual machines.
    pub hypervisor: Option<String>,
    /// `perf inject` has put samples in the place of AUX data of Arm SPE.
    pub synthesized: bool,
    /// There was AUX data of Intel PT, with PEBS records or without.
    pub intel_pt: bool,
    /// A tracer whose AUX data was passed over.
    pub foreign_tracer: Option<String>,
    /// CPUs that were recorded, as CPU_MAP says.
    pub cpu_map: Option<CpuSet>,
    /// CPUs that have a unit of Arm SPE, where AUXTRACE_INFO lists them.
    pub spe_cpus: Option<CpuSet>,
    /// What each event's sample records come from.
    pub event_sources: Vec<Source>,
    /// What was decoded if it was bytes without a container.
    pub raw: Option<Raw>,
    /// What is to be doubted of the physical addresses of IBS samples.
    pub ibs: ibs::Tally,
    /// Why it does not hold all that happened while it was made, as far as it tells.
    pub incomplete: Vec<Incomplete>,
    /// There was a sample record, with an address or without, or a byte of AUX data.
    pub has_samples: bool,
    /// It was captured by this process, see [`live`](crate::live).
    pub captured: bool,
    /// CPUs that came while this process captured, and could not be recorded.
    pub unfollowed_cpus: usize,
    /// The CPU whose unit somebody else had for as long as this process waited to capture.
    pub in_use: Option<u32>,
}

/// Why a recording does not hold all that happened while it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// The recorder did not finish the file: the size of its records in the header is still 0.
    Unfinished,
    /// The input ends before its last record does, or before the data that a record announced.
    CutShort,
    /// The rings of events were overwritten ([`WRITE_BACKWARD`](crate::perf::AttrFlags)): only
    /// the end of the time was kept.
    Overwritten,
    /// Rings of AUX data were overwritten: only what was in them when they were copied was kept.
    Snapshots,
}

/// Which kinds of times the records of a recording had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeBase {
    /// None at all.
    #[default]
    None,
    /// Ticks of a clock whose relation to perf's is not recorded.
    Ticks,
    /// Nanoseconds of perf's clock.
    Ns,
}
