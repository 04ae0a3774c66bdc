//! What bytes without a container are.

use crate::spe::Midr;
use crate::{Error, pebs};

/// What bytes without a container are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// The bytes between base and index of a PEBS buffer, in this format, and the core that wrote
    /// them, if the caller knows: its table tells where data came from.
    Pebs(pebs::Format, Option<pebs::Core>),
    /// The bytes of one buffer of Arm SPE, and the MIDR_EL1 of its CPU, which tells what its data
    /// sources mean.
    ArmSpe(Option<Midr>),
}

impl Raw {
    /// The refusal of what has a container.
    pub(crate) fn not_raw(self) -> Error {
        let (expected, option) = match self {
            Self::Pebs(..) => ("a raw PEBS buffer", "--raw-pebs"),
            Self::ArmSpe(_) => ("a raw SPE buffer", "--raw-spe"),
        };
        Error::NotRaw { expected, option }
    }
}
