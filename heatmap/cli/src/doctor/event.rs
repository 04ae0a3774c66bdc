//! What can be recorded on a host.

use decoder::live::EventChoice;
use serde::{Serialize, Serializer};

/// What can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Arm SPE.
    Spe,
    /// Intel's PEBS.
    Pebs,
    /// AMD's IBS.
    Ibs,
    /// Minor page faults, which every kernel has: no sample of accesses.
    Faults,
}

impl Event {
    /// Its name on the command line of `folioscope record`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spe => "spe",
            Self::Pebs => "pebs",
            Self::Ibs => "ibs",
            Self::Faults => "faults",
        }
    }

    /// The same for a capture.
    pub const fn choice(self) -> EventChoice {
        match self {
            Self::Spe => EventChoice::ArmSpe,
            Self::Pebs => EventChoice::Pebs,
            Self::Ibs => EventChoice::IbsOp,
            Self::Faults => EventChoice::Faults,
        }
    }

    /// Its unit's name, as in a report's `sources`.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Spe => "arm_spe",
            Self::Pebs => "pebs",
            Self::Ibs => "ibs_op",
            Self::Faults => "sample",
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
