//! What a run answers: the model of a report. Pure data; crate `report` writes it in each format.

use decoder::{FolioPfn, Ledger, PAGES_PER_FOLIO};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::backing::Backing;
use crate::verdict::Verdict;

/// Everything `report` says about one run over one or more inputs.
///
/// As JSON it is the object of the contract without `schema`, which its writer adds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was read.
    pub input: InputInfo,
    /// Chunk order: a chunk is 2^order pages of 4 KiB; in 0..=9.
    pub order: u32,
    /// Percent of hot chunks from which a block is hot; in 0..=100.
    pub hot_threshold: u32,
    /// MarkedBatch accesses.
    pub accesses: u64,
    /// Pages of 4 KiB with at least one counted access.
    pub pages: u64,
    /// Blocks of 2 MiB with at least one counted access.
    pub folios: u64,
    /// Why nothing was counted, and what to record instead.
    pub reason: Option<String>,
    /// Sampling period and caveats that apply to this recording; one sentence each.
    pub notes: Vec<String>,
    /// The account of all bytes and records.
    pub ledger: RunLedger,
    /// The ledger of each source, by the name in [`InputInfo::sources`]. In the output only
    /// if there is more than one.
    #[serde(serialize_with = "ledgers", skip_serializing_if = "one_or_none")]
    pub records_by_source: Vec<(String, Ledger)>,
    /// Sections of the input that could not be read, each with what was wrong.
    pub unreadable: Vec<String>,
    /// Blocks by the percent of their 512 pages that were touched, rounded down, in tens;
    /// the last row holds 90 to 100.
    #[serde(serialize_with = "distribution")]
    pub touched_distribution: [u64; 10],
    /// Blocks by their percent of hot chunks, in the same rows.
    #[serde(serialize_with = "distribution")]
    pub hot_distribution: [u64; 10],
    /// Blocks by verdict.
    pub verdicts: VerdictCounts,
    /// The greatest cold share, in percent, of a block that is proposed.
    pub max_cold_share: u32,
    /// Blocks that a policy may act on: [`Evidence::proposable`].
    pub proposable: u64,
    /// What each CPU delivered, by CPU number; CPUs known to have delivered nothing may
    /// stand in it with 0 records.
    pub coverage: Vec<CpuCoverage>,
    /// Latencies of the accesses that were counted and carry one, also of those whose block had
    /// to go.
    pub latency: Option<LatencySummary>,
    /// The hottest blocks: by accesses, highest first, then by PFN.
    pub top: Vec<TopFolio>,
}

/// The account of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLedger {
    /// Its sums.
    pub sums: Ledger,
    /// Why the recordings do not hold all that happened while they were made, a clause each.
    pub recording_incomplete: Vec<String>,
}

impl From<Ledger> for RunLedger {
    fn from(sums: Ledger) -> Self {
        Self { sums, recording_incomplete: Vec::new() }
    }
}

impl core::ops::Deref for RunLedger {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.sums
    }
}

impl core::ops::DerefMut for RunLedger {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.sums
    }
}

impl Serialize for RunLedger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.sums.fields() {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("recording_incomplete", &self.recording_incomplete)?;
        map.end()
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputInfo {
    /// Path as it was given, `-` for standard input; several joined by `, `.
    pub path: String,
    /// What the path turned out to be.
    pub kind: InputKind,
    /// Architecture of the recording machine as `uname -m` says it.
    pub arch: Option<String>,
    /// Of `arm_spe`, `pebs`, `ibs_op`, `intel_pt`, `sample`: those that are present.
    pub sources: Vec<String>,
    /// Unit of the trace's times.
    pub time_base: TimeBase,
    /// From the first to the last record with a time, in ns.
    pub duration_ns: Option<u64>,
}

/// A closed set of names, with the same name in every format.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// The name in every format.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

names! {
    /// What an input path turned out to be.
    InputKind {
        /// A `perf.data` file.
        File = "file",
        /// A `perf.data` folder.
        Folder = "folder",
        /// What `perf record -o -` writes, from a pipe or saved.
        Stream = "stream",
    }
}

names! {
    /// Unit of the trace's times.
    TimeBase {
        /// Nanoseconds of the clock that perf prints.
        Ns = "ns",
        /// Hardware ticks without a usable conversion.
        Ticks = "ticks",
        /// No times at all.
        None = "none",
    }
}

/// Blocks by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerdictCounts {
    /// Blocks that are [`Verdict::Hot`].
    pub hot: u64,
    /// Blocks that are [`Verdict::Sparse`].
    pub sparse: u64,
    /// Blocks that are [`Verdict::Undersampled`].
    pub undersampled: u64,
    /// Blocks that are [`Verdict::Filtered`].
    pub filtered: u64,
    /// Blocks that are [`Verdict::Unsplittable`].
    pub unsplittable: u64,
}

/// What one CPU delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CpuCoverage {
    /// Number of the CPU.
    pub cpu: u32,
    /// Its records.
    pub records: u64,
    /// Earliest time among them, in ns of the trace clock.
    pub first_ns: Option<u64>,
    /// Latest time among them, in ns of the trace clock.
    pub last_ns: Option<u64>,
}

/// Latencies in cycles. The least and the greatest are exact, and so are the others below 2048;
/// from there on these may be too great by less than one part in a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LatencySummary {
    /// Accesses that carry a latency.
    pub count: u64,
    /// The least latency.
    pub min: u64,
    /// The median.
    pub p50: u64,
    /// Nine of ten are at most this: the latency of that rank in ascending order.
    pub p90: u64,
    /// Ninety-nine of a hundred are at most this.
    pub p99: u64,
    /// The greatest latency.
    pub max: u64,
}

/// What the verdict on a block rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Accesses that are evidence of their own: a burst within 10 ms counts once.
    pub visits: u64,
    /// Visits outside of the hot chunks, and hot chunks with one visit; hot chunks by visits.
    pub cold_visits: u64,
    /// Cold visits in percent of all, rounded down; none without visits.
    pub cold_share: Option<u32>,
    /// Whether it is sparse, may be a huge page that can be split, and has at most the wanted cold
    /// share.
    pub proposable: bool,
    /// Whether it was sparse at the last two ends of cooling intervals too. Only a daemon knows.
    pub steady: Option<bool>,
    /// Whether recording or query left out something of it.
    pub left_out: bool,
}

/// One block of the list of hottest ones. Counts are accesses unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopFolio {
    /// First page frame of the block.
    #[serde(serialize_with = "hex")]
    pub folio_pfn: FolioPfn,
    /// Accesses to the block: loads + stores + atomics + `unknown_op`.
    pub accesses: u64,
    /// Accesses that read.
    pub loads: u64,
    /// Accesses that wrote.
    pub stores: u64,
    /// Atomic accesses.
    pub atomics: u64,
    /// Accesses whose direction is not known.
    pub unknown_op: u64,
    /// Pages with at least one access; in 1..=512.
    pub touched_pages: u32,
    /// Accesses to the hottest chunk.
    pub peak: u64,
    /// Chunks with at least max(peak / 10, 1) accesses, rounded down.
    pub hot_chunks: u32,
    /// Chunks of the block: 512 >> order.
    pub chunks: u32,
    /// Hot chunks in percent of all chunks, rounded down.
    pub hot_percent: u32,
    /// What can be said of the block; nothing where a block is no unit of the kernel's.
    pub verdict: Option<Verdict>,
    /// The largest mapping order that the virtual addresses allow; in 0..=9.
    pub mapping_order_max: Option<u8>,
    /// What is known about the mapping behind it.
    pub backing: Backing,
    /// Earliest access, in ns of the trace clock.
    pub first_ns: Option<u64>,
    /// Latest access, in ns of the trace clock.
    pub last_ns: Option<u64>,
    /// What the verdict rests on.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// Accesses to each page, for the heat line; only text needs them.
    #[serde(skip)]
    pub counts: Option<Box<[u32; PAGES_PER_FOLIO]>>,
}

/// An address or PFN as `"0x..."`.
pub(crate) fn hex<S: Serializer>(value: &FolioPfn, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn one_or_none(sources: &[(String, Ledger)]) -> bool {
    sources.len() <= 1
}

fn ledgers<S: Serializer>(sources: &[(String, Ledger)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(sources.len()))?;
    for (source, ledger) in sources {
        map.serialize_entry(source, &LedgerFields(ledger))?;
    }
    map.end()
}

/// A ledger as the object of its fields.
struct LedgerFields<'a>(&'a Ledger);

impl Serialize for LedgerFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.fields())
    }
}

fn distribution<S: Serializer>(distribution: &[u64; 10], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row {
        from: usize,
        to: usize,
        folios: u64,
    }
    let mut rows = serializer.serialize_seq(Some(distribution.len()))?;
    for (row, &folios) in distribution.iter().enumerate() {
        rows.serialize_element(&Row { from: row * 10, to: row * 10 + 10, folios })?;
    }
    rows.end()
}
