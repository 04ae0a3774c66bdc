//! What every tracer's records come down to. Nothing right of this type knows which
//! hardware a record came from.

use core::fmt;

use crate::perf::QueueKey;
use crate::{PhysAddr, Position, VirtAddr};

/// Which unit made a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Arm Statistical Profiling Extension, in AUX data.
    ArmSpe,
    /// Intel's precise event-based sampling, as sample records.
    Pebs,
    /// AMD's instruction-based sampling of ops, as sample records.
    IbsOp,
    /// Intel Processor Trace.
    IntelPt,
    /// Sample records of any other event: faults, breakpoints, ...
    Sample,
}

impl Source {
    /// All sources, in the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::ArmSpe, Self::Pebs, Self::IbsOp, Self::IntelPt, Self::Sample];

    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArmSpe => "arm_spe",
            Self::Pebs => "pebs",
            Self::IbsOp => "ibs_op",
            Self::IntelPt => "intel_pt",
            Self::Sample => "sample",
        }
    }
}

/// Index of an event among those of a recording, see [`crate::Recording::events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIndex(pub u16);

/// What every record has, memory operation or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The unit that made the record.
    pub source: Source,
    /// The event it belongs to.
    pub event: Option<EventIndex>,
    /// CPU it was taken on.
    pub cpu: Option<u32>,
    /// When, on the trace's clock in nanoseconds.
    pub time_ns: Option<u64>,
    /// The record says that its operation did not retire: it was speculative.
    pub not_retired: bool,
    /// Where the record's last byte stands.
    pub position: Position,
}

/// Direction of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Reads memory.
    Load,
    /// Writes memory.
    Store,
    /// Reads and writes memory in one operation.
    Atomic,
    /// Touches memory in a way that the record does not tell.
    Unknown,
}

/// What an access did: its direction and, where the record has it, a finer name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Direction; decides which of the four totals the access adds to.
    pub direction: Direction,
    /// A finer name such as `simd` or `prefetch`, empty if there is none.
    pub detail: &'static str,
}

impl Operation {
    /// A direction without a finer name.
    pub const fn plain(direction: Direction) -> Self {
        Self { direction, detail: "" }
    }
}

/// `load`, `store`, `atomic` or `access`, and after a slash the finer name.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.direction {
            Direction::Load => "load",
            Direction::Store => "store",
            Direction::Atomic => "atomic",
            Direction::Unknown => "access",
        })?;
        if !self.detail.is_empty() {
            write!(f, "/{}", self.detail)?;
        }
        Ok(())
    }
}

macro_rules! data_sources {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Where the data of an access came from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DataSource {
            $($(#[$doc])* $variant,)*
            /// A code that the processor's table does not have.
            Unknown(u16),
        }

        impl DataSource {
            const NAMED: &'static [(&'static str, Self)] = &[$(($name, Self::$variant),)*];
        }
    };
}

// Names and values come from one list, so that printing and parsing cannot disagree.
data_sources! {
    /// First-level cache.
    L1 = "l1",
    /// Line fill buffer.
    Lfb = "lfb",
    /// Second-level cache.
    L2 = "l2",
    /// Third-level cache.
    L3 = "l3",
    /// Cache of another core of the same cluster.
    PeerCore = "peer-core",
    /// A cache of the same cluster.
    Cluster = "cluster",
    /// A cache of another cluster of the same chip.
    PeerCluster = "peer-cluster",
    /// System-level cache.
    Slc = "slc",
    /// A cache of another chip or socket.
    RemoteCache = "remote-cache",
    /// Memory of this chip, or memory of which no more is known.
    Dram = "dram",
    /// Memory of another chip or socket.
    RemoteDram = "remote-dram",
    /// Memory behind CXL.
    Cxl = "cxl",
    /// Persistent memory.
    Pmem = "pmem",
    /// A device.
    Io = "io",
    /// Uncached memory.
    Uncached = "uncached",
}

impl DataSource {
    /// The names of all known sources.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMED.iter().map(|(name, _)| *name)
    }
}

/// A known name, or `unknown(0xNN)`.
impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Unknown(code) = self {
            return write!(f, "unknown({code:#04x})");
        }
        let name = Self::NAMED.iter().find(|(_, source)| source == self).map(|(name, _)| *name);
        f.write_str(name.expect("every variant but Unknown is in the list"))
    }
}

/// A name that is no data source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no data source is called \"{0}\": it is one of {names} or unknown(0xNN)",
    names = DataSource::names().collect::<Vec<_>>().join(" ")
)]
pub struct UnknownDataSource(String);

impl core::str::FromStr for DataSource {
    type Err = UnknownDataSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, source)) = Self::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*source);
        }
        text.strip_prefix("unknown(0x")
            .and_then(|rest| rest.strip_suffix(')'))
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .map(Self::Unknown)
            .ok_or_else(|| UnknownDataSource(text.to_owned()))
    }
}

bitflags::bitflags! {
    /// What else a record tells of its access. Hardware names more than these; what has no
    /// name here is not lost silently but simply not asked for.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AccessFlags: u32 {
        /// The operation did not retire, see [`Origin::not_retired`].
        const NOT_RETIRED = 1 << 0;
        /// It ended in a synchronous exception.
        const EXCEPTION = 1 << 1;
        /// It missed the first-level data cache.
        const L1_MISS = 1 << 2;
        /// It missed the second-level cache.
        const L2_MISS = 1 << 3;
        /// It missed the last-level cache.
        const LLC_MISS = 1 << 4;
        /// Its translation needed a walk of the page tables, see [`Tlb`].
        const TLB_WALK = 1 << 5;
        /// It went to another node or socket.
        const REMOTE = 1 << 6;
        /// Its address was misaligned.
        const MISALIGNED = 1 << 7;
        /// It was locked or exclusive.
        const LOCKED = 1 << 8;
        /// It hit a line that another core had modified.
        const HITM = 1 << 9;
        /// Some element of its vector was inactive.
        const PARTIAL_PREDICATE = 1 << 10;
        /// All elements of its vector were inactive.
        const EMPTY_PREDICATE = 1 << 11;
        /// It ran in a transaction.
        const TRANSACTION = 1 << 12;
        /// It has acquire or release order.
        const ACQUIRE_RELEASE = 1 << 13;
        /// It was made in a virtual machine: its virtual address is a guest's.
        const GUEST = 1 << 14;
        /// It looked into a TLB, see [`Tlb`].
        const TLB_ACCESS = 1 << 15;
        /// Where its data came from was concluded from what happened in the caches: for its
        /// processor no table of data sources is known.
        const SOURCE_INFERRED = 1 << 16;
        /// It was a streaming store: past the caches.
        const STREAMING_STORE = 1 << 17;
        /// It went to another socket, which is further than another node.
        const REMOTE_SOCKET = 1 << 18;
        /// Bits 21:19 are the number of its memory region, see [`AccessFlags::memory_region`].
        const MEMORY_REGION = 1 << 22;
        /// The number's bits.
        const MEMORY_REGION_NUMBER = 0b111 << 19;

        // Not of the record, but of who looked up its frame: `page_map/`.

        /// Its physical address was looked up after the sample, not sampled.
        const LOOKED_UP = 1 << 27;
        /// It was not found: the process has ended.
        const LOOKUP_GONE = 1 << 28;
        /// It was not found: nothing is present at the virtual address.
        const LOOKUP_NOT_PRESENT = 1 << 29;
        /// It was not found: the kernel hides it.
        const LOOKUP_HIDDEN = 1 << 30;
        /// It was not found: the page map could not be read.
        const LOOKUP_UNREADABLE = 1 << 31;
    }
}

/// Names of memory regions, by their numbers.
const REGIONS: [&str; 8] = [
    "region-0", "region-1", "region-2", "region-3", "region-4", "region-5", "region-6", "region-7",
];

impl AccessFlags {
    /// The region of memory that had its data, 0 to 7, as the processor numbers what it is built
    /// with: on Intel's cores from Panther Cove on the only thing that tells kinds of memory apart.
    pub const fn memory_region(self) -> Option<u8> {
        if !self.contains(Self::MEMORY_REGION) {
            return None;
        }
        Some((self.intersection(Self::MEMORY_REGION_NUMBER).bits() >> 19).to_le_bytes()[0])
    }

    /// The flags of an access to a memory region; of its number the low three bits count.
    pub const fn of_memory_region(number: u8) -> Self {
        let number = Self::from_bits_retain((number as u32 & 0b111) << 19);
        Self::MEMORY_REGION.union(number)
    }

    /// The names of the flags that are set, in the order of their bits, and that of the memory
    /// region at the end.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(AccessFlags, &str); 24] = [
            (AccessFlags::NOT_RETIRED, "not-retired"),
            (AccessFlags::EXCEPTION, "exception"),
            (AccessFlags::L1_MISS, "l1-miss"),
            (AccessFlags::L2_MISS, "l2-miss"),
            (AccessFlags::LLC_MISS, "llc-miss"),
            (AccessFlags::TLB_WALK, "tlb-walk"),
            (AccessFlags::REMOTE, "remote"),
            (AccessFlags::MISALIGNED, "misaligned"),
            (AccessFlags::LOCKED, "locked"),
            (AccessFlags::HITM, "hitm"),
            (AccessFlags::PARTIAL_PREDICATE, "partial-predicate"),
            (AccessFlags::EMPTY_PREDICATE, "empty-predicate"),
            (AccessFlags::TRANSACTION, "transaction"),
            (AccessFlags::ACQUIRE_RELEASE, "acquire-release"),
            (AccessFlags::GUEST, "guest"),
            (AccessFlags::TLB_ACCESS, "tlb-access"),
            (AccessFlags::SOURCE_INFERRED, "source-inferred"),
            (AccessFlags::STREAMING_STORE, "streaming-store"),
            (AccessFlags::REMOTE_SOCKET, "remote-socket"),
            (AccessFlags::LOOKED_UP, "looked-up"),
            (AccessFlags::LOOKUP_GONE, "lookup-gone"),
            (AccessFlags::LOOKUP_NOT_PRESENT, "lookup-not-present"),
            (AccessFlags::LOOKUP_HIDDEN, "lookup-hidden"),
            (AccessFlags::LOOKUP_UNREADABLE, "lookup-unreadable"),
        ];
        let region = self.memory_region().and_then(|number| REGIONS.get(usize::from(number)));
        let flags = NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag));
        flags.map(|(_, name)| name).chain(region.copied())
    }
}

/// One sampled memory operation. Absent is `None`, never 0. Holds what the kernel's
/// `damon_access_report` holds (paddr, vaddr, size, cpu, tid, is_write) and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Where and when the record was made.
    pub origin: Origin,
    /// What it did.
    pub operation: Operation,
    /// Physical address of the data: sampled, unless the flags say that it was looked up.
    pub paddr: Option<PhysAddr>,
    /// Virtual address of the data.
    pub vaddr: Option<VirtAddr>,
    /// Address of the instruction.
    pub ip: Option<VirtAddr>,
    /// Process, in the PID namespace of the record's source.
    pub pid: Option<u32>,
    /// Thread.
    pub tid: Option<u32>,
    /// Cycles, as the unit counts them: SPE from dispatch to completion, PEBS and IBS what the
    /// kernel reports as the sample's weight. Never 0: that is what units say that measured none.
    pub latency_cycles: Option<u32>,
    /// Where the data came from.
    pub data_source: Option<DataSource>,
    /// Cycles until it was issued, counted from its dispatch (SPE).
    pub issue_latency_cycles: Option<u32>,
    /// Cycles of its translation: SPE those in which some part of it waited for the MMU, IBS those
    /// until the first-level TLB had its page.
    pub translation_latency_cycles: Option<u32>,
    /// Who had its translation.
    pub tlb: Option<Tlb>,
    /// Size in bytes of the page that it was translated by: as the hardware used it where that
    /// tells (IBS), else as the kernel found it in the page tables at the sample.
    pub page_size: Option<u64>,
    /// The ring of AUX data that its record stood in. `None`: it was a sample record, see
    /// [`Access::queue`].
    pub aux_queue: Option<QueueKey>,
    /// Everything else.
    pub flags: AccessFlags,
}

/// Which part of the translation hardware had the page of an access. Absent where the record does
/// not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tlb {
    /// A TLB; the record does not say which.
    Hit,
    /// The first-level TLB.
    L1,
    /// The second-level TLB.
    L2,
    /// None: the page tables were walked.
    Walk,
}

impl Tlb {
    /// Its name in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Walk => "walk",
        }
    }

    /// The flags of an access that was translated like this: every known translation looked into
    /// a TLB, and only one that no TLB had is a walk.
    pub const fn flags(self) -> AccessFlags {
        match self {
            Self::Hit | Self::L1 | Self::L2 => AccessFlags::TLB_ACCESS,
            Self::Walk => AccessFlags::TLB_ACCESS.union(AccessFlags::TLB_WALK),
        }
    }
}

impl fmt::Display for Tlb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_source_prints_what_it_parses() {
        for name in DataSource::names() {
            assert_eq!(
                name.parse::<DataSource>().map(|source| source.to_string()),
                Ok(name.into())
            );
        }
        assert_eq!("unknown(0x1f)".parse(), Ok(DataSource::Unknown(0x1f)));
        assert_eq!(DataSource::Unknown(0x1f).to_string(), "unknown(0x1f)");
        assert!("l9".parse::<DataSource>().is_err());
    }

    #[test]
    fn an_operation_has_its_finer_name_after_a_slash() {
        let simd = Operation { direction: Direction::Load, detail: "simd" };
        assert_eq!(simd.to_string(), "load/simd");
        assert_eq!(Operation::plain(Direction::Unknown).to_string(), "access");
    }
}
