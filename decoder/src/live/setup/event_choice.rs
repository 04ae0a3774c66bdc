//! What can be sampled, by its name.

use core::fmt;
use core::str::FromStr;

use super::host::number;

/// Software events by their numbers.
pub(in crate::live) const SOFTWARE: [(&str, u64); 10] = [
    ("cpu-clock", 0),
    ("task-clock", 1),
    ("page-faults", 2),
    ("context-switches", 3),
    ("cpu-migrations", 4),
    ("minor-faults", 5),
    ("major-faults", 6),
    ("alignment-faults", 7),
    ("emulation-faults", 8),
    ("bpf-output", 10),
];

/// Those among them whose samples are page faults.
const FAULTS: [&str; 3] = ["page-faults", "minor-faults", "major-faults"];

/// What is sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventChoice {
    /// The best unit of the host: Arm SPE, AMD IBS or Intel PEBS.
    #[default]
    Best,
    /// Arm's Statistical Profiling Extension.
    ArmSpe,
    /// AMD's instruction-based sampling of ops.
    IbsOp,
    /// Intel's precise loads and stores.
    Pebs,
    /// Every minor fault: the first touch of pages.
    Faults,
    /// Every access to some addresses: as many as the processor has registers for (x86 has 4).
    Breakpoints(Vec<Breakpoint>),
    /// A software event of the kernel's.
    Software(&'static str),
}

impl EventChoice {
    /// Whether each sample is a page fault.
    pub(in crate::live) fn is_faults(&self) -> bool {
        match self {
            Self::Faults => true,
            Self::Software(name) => FAULTS.contains(name),
            _ => false,
        }
    }
}

/// An address that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// First byte.
    pub address: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub len: u64,
    /// Reads are told.
    pub read: bool,
    /// Writes are told.
    pub write: bool,
}

/// A name that is none of an event's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no event that can be recorded: expected spe, ibs, pebs, faults, \
     mem:ADDR[/LEN][:r|w|rw][,mem:...] with LEN 1, 2, 4 or 8, or one of {names}",
    names = SOFTWARE.map(|(name, _)| name).join(", ")
)]
pub struct UnknownEvent(String);

impl FromStr for EventChoice {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let software = SOFTWARE.iter().find(|(name, _)| *name == text);
        Ok(match text {
            "best" => Self::Best,
            "spe" => Self::ArmSpe,
            "ibs" => Self::IbsOp,
            "pebs" => Self::Pebs,
            "faults" => Self::Faults,
            _ => match (Breakpoint::parse_list(text), software) {
                (Some(breakpoints), _) => Self::Breakpoints(breakpoints),
                (None, Some((name, _))) => Self::Software(name),
                (None, None) => return Err(UnknownEvent(text.to_owned())),
            },
        })
    }
}

impl fmt::Display for EventChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Best => "best",
            Self::ArmSpe => "spe",
            Self::IbsOp => "ibs",
            Self::Pebs => "pebs",
            Self::Faults => "faults",
            Self::Breakpoints(breakpoints) => {
                for (number, breakpoint) in breakpoints.iter().enumerate() {
                    let comma = if number > 0 { "," } else { "" };
                    write!(f, "{comma}{breakpoint}")?;
                }
                return Ok(());
            }
            Self::Software(name) => name,
        })
    }
}

impl Breakpoint {
    /// Reads one or several with commas between them.
    fn parse_list(text: &str) -> Option<Vec<Self>> {
        text.split(',').map(Self::parse).collect()
    }

    /// Reads `mem:ADDR[/LEN][:r|w|rw]`, as perf does: 4 bytes, reads and writes if it does not say.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("mem:")?;
        let (place, mode) = text.split_once(':').unwrap_or((text, "rw"));
        let (address, len) = place.split_once('/').unwrap_or((place, "4"));
        let (address, len) = (number(address)?, number(len)?);
        let (read, write) = match mode {
            "r" => (true, false),
            "w" => (false, true),
            "rw" | "wr" => (true, true),
            _ => return None,
        };
        matches!(len, 1 | 2 | 4 | 8).then_some(Self { address, len, read, write })
    }
}

impl fmt::Display for Breakpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match (self.read, self.write) {
            (true, false) => "r",
            (false, true) => "w",
            _ => "rw",
        };
        write!(f, "mem:{:#x}/{}:{mode}", self.address, self.len)
    }
}

/// Which accesses the unit is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// All of them.
    #[default]
    Both,
    /// Loads and atomics.
    Loads,
    /// Stores and atomics.
    Stores,
}
