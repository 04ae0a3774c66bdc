//! How an access was translated.

use core::fmt;

use crate::AccessFlags;

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
