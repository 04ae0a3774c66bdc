//! What PEBS records of Intel's E cores say of an access: the auxiliary information of a memory
//! block, in the encoding of the core (`arch/x86/events/intel/ds.c`, `tools/perf/util/intel-pt.c`).

use crate::perf::{Attr, processor};
use crate::{AccessFlags, DataSource, Direction};

/// The core, as far as it matters. Tremont, the first with PEBS in Intel PT, has no such data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Core {
    /// Alder Lake N.
    Gracemont,
    /// Sierra Forest and Grand Ridge.
    Crestmont,
    /// Any other, or not known.
    #[default]
    Other,
}

impl Core {
    /// The core of a processor that the recording calls `vendor,family,model,stepping`.
    pub fn of(cpuid: &str) -> Self {
        match processor(cpuid) {
            Some(("GenuineIntel", 6, 190)) => Self::Gracemont,
            Some(("GenuineIntel", 6, 175 | 182)) => Self::Crestmont,
            _ => Self::Other,
        }
    }

    /// What an access's auxiliary information says: where the data came from, and flags.
    pub fn decode(self, auxiliary: u64) -> (Option<DataSource>, AccessFlags) {
        let (locked, tlb_miss) = match self {
            Self::Gracemont => (1 << 4, 1 << 5),
            Self::Crestmont => (1 << 5, 1 << 6),
            Self::Other => return (None, AccessFlags::empty()),
        };
        let (source, mut flags) = self.source(auxiliary & 0xf);
        flags.set(AccessFlags::LOCKED, auxiliary & locked != 0);
        flags.set(AccessFlags::TLB_WALK, auxiliary & tlb_miss != 0);
        (source, flags)
    }

    /// The table of codes, a line each. All 16 have a meaning.
    fn source(self, code: u64) -> (Option<DataSource>, AccessFlags) {
        use AccessFlags as F;
        use DataSource as D;
        let plain = F::empty();
        let gracemont = self == Self::Gracemont;
        let (source, flags) = match code {
            // It missed the last cache; from where it came is not known.
            0x0 => return (None, F::LLC_MISS),
            0x1 => (D::L1, plain),
            0x2 => (D::Lfb, plain),
            0x3 => (D::L2, plain),
            0x4 | 0x5 => (D::L3, plain),
            // Another core had modified the line: codes 6 and 7, or 8.
            0x6 | 0x7 => (D::L3, if gracemont { F::HITM } else { plain }),
            0x8 => (D::L3, if gracemont { plain } else { F::HITM }),
            0x9 => (D::RemoteCache, F::REMOTE | F::HITM),
            0xa => (D::Dram, plain),
            0xb => (D::RemoteDram, F::REMOTE),
            0xc if gracemont => (D::Dram, plain),
            0xd if gracemont => (D::RemoteDram, F::REMOTE),
            0xc => (D::RemoteDram, F::REMOTE),
            0xd => (D::RemoteDram, F::REMOTE | F::HITM),
            0xe => (D::Io, plain),
            _ => (D::Uncached, plain),
        };
        (Some(source), flags)
    }
}

/// What an event samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Loads or stores, if only one of them.
    pub direction: Option<Direction>,
    /// Its records say where the data came from.
    pub has_source: bool,
}

impl Sampled {
    /// By the event's number: event 0xd0 counts loads or stores, two of its masks with latency, and
    /// 0xd1 loads.
    pub fn of(attr: &Attr) -> Self {
        let (direction, has_source) = match attr.config & 0xffff {
            0x05d0 => (Some(Direction::Load), true),
            0x06d0 => (Some(Direction::Store), true),
            0x11d0 | 0x21d0 | 0x41d0 | 0x81d0 => (Some(Direction::Load), false),
            0x12d0 | 0x42d0 | 0x82d0 => (Some(Direction::Store), false),
            config if config & 0xff == 0xd1 => (Some(Direction::Load), false),
            _ => (None, false),
        };
        Self { direction, has_source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_by_model() {
        assert_eq!(Core::of("GenuineIntel,6,190,0"), Core::Gracemont);
        assert_eq!(Core::of("GenuineIntel,6,175,3"), Core::Crestmont);
        assert_eq!(Core::of("GenuineIntel,6,182,0"), Core::Crestmont);
        for other in ["GenuineIntel,6,134,1", "AuthenticAMD,6,190,0", "GenuineIntel,6", "", "190"] {
            assert_eq!(Core::of(other), Core::Other, "{other}");
        }
    }

    #[test]
    fn every_code_of_both_cores() {
        use AccessFlags as F;
        use DataSource as D;
        let none = F::empty();
        let table = [
            ((None, F::LLC_MISS), (None, F::LLC_MISS)),
            ((Some(D::L1), none), (Some(D::L1), none)),
            ((Some(D::Lfb), none), (Some(D::Lfb), none)),
            ((Some(D::L2), none), (Some(D::L2), none)),
            ((Some(D::L3), none), (Some(D::L3), none)),
            ((Some(D::L3), none), (Some(D::L3), none)),
            ((Some(D::L3), F::HITM), (Some(D::L3), none)),
            ((Some(D::L3), F::HITM), (Some(D::L3), none)),
            ((Some(D::L3), none), (Some(D::L3), F::HITM)),
            (
                (Some(D::RemoteCache), F::REMOTE | F::HITM),
                (Some(D::RemoteCache), F::REMOTE | F::HITM),
            ),
            ((Some(D::Dram), none), (Some(D::Dram), none)),
            ((Some(D::RemoteDram), F::REMOTE), (Some(D::RemoteDram), F::REMOTE)),
            ((Some(D::Dram), none), (Some(D::RemoteDram), F::REMOTE)),
            ((Some(D::RemoteDram), F::REMOTE), (Some(D::RemoteDram), F::REMOTE | F::HITM)),
            ((Some(D::Io), none), (Some(D::Io), none)),
            ((Some(D::Uncached), none), (Some(D::Uncached), none)),
        ];
        for (code, (gracemont, crestmont)) in (0..).zip(table) {
            assert_eq!(Core::Gracemont.decode(code), gracemont, "{code:#x}");
            assert_eq!(Core::Crestmont.decode(code), crestmont, "{code:#x}");
            // The code's fifth bit is not used yet.
            assert_eq!(Core::Crestmont.decode(code | 0x10), crestmont, "{code:#x}");
            assert_eq!(Core::Other.decode(code), (None, none), "{code:#x}");
        }
    }

    #[test]
    fn the_bits_beside_the_code() {
        let l1 = Some(DataSource::L1);
        let (locked, walk) = (AccessFlags::LOCKED, AccessFlags::TLB_WALK);
        assert_eq!(Core::Gracemont.decode(0x11), (l1, locked));
        assert_eq!(Core::Gracemont.decode(0x21), (l1, walk));
        assert_eq!(Core::Gracemont.decode(0xffff_ffc1), (l1, AccessFlags::empty()));
        assert_eq!(Core::Crestmont.decode(0x21), (l1, locked));
        assert_eq!(Core::Crestmont.decode(0x41), (l1, walk));
        assert_eq!(Core::Crestmont.decode(0x61), (l1, locked | walk));
    }

    #[test]
    fn what_events_sample() {
        let of = |config| {
            let Sampled { direction, has_source } =
                Sampled::of(&Attr { config, ..Attr::default() });
            (direction, has_source)
        };
        assert_eq!(of(0x05d0), (Some(Direction::Load), true));
        assert_eq!(of(0x06d0), (Some(Direction::Store), true));
        assert_eq!(of(0x81d0), (Some(Direction::Load), false));
        assert_eq!(of(0x82d0), (Some(Direction::Store), false));
        assert_eq!(of(0x02d1), (Some(Direction::Load), false));
        assert_eq!(of(0x83d0), (None, false), "both");
        assert_eq!(of(0xc0), (None, false), "instructions");
    }
}
