//! What PEBS records of Intel's E cores say of an access: the auxiliary information of a memory
//! block, in the encoding of the core (`tools/perf/util/intel-pt.c`). The tables are those of
//! [`pebs`].

use crate::perf::{Attr, processor};
use crate::{Direction, pebs};

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

    /// What an access's auxiliary information says: the data source word of a PEBS record.
    pub fn decode(self, auxiliary: u64) -> pebs::Told {
        match self {
            Self::Gracemont => pebs::Core::Gracemont.decode(auxiliary),
            Self::Crestmont => pebs::Core::Crestmont.decode(auxiliary),
            Self::Other => pebs::Told::default(),
        }
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
    use crate::{AccessFlags, DataSource, Tlb};

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
            // No bit beside the code is set: a TLB had it.
            let of = |core: Core, word: u64| {
                let told = core.decode(word);
                assert_eq!(told.tlb, Some(Tlb::Hit), "{word:#x}");
                (told.source, told.flags - F::TLB_ACCESS)
            };
            assert_eq!(of(Core::Gracemont, code), gracemont, "{code:#x}");
            assert_eq!(of(Core::Crestmont, code), crestmont, "{code:#x}");
            // The code's fifth bit is not used yet.
            assert_eq!(of(Core::Crestmont, code | 0x10), crestmont, "{code:#x}");
            assert_eq!(Core::Other.decode(code), pebs::Told::default(), "{code:#x}");
        }
    }

    #[test]
    fn the_bits_beside_the_code() {
        let of = |core: Core, word: u64| {
            let told = core.decode(word);
            assert_eq!(told.source, Some(DataSource::L1), "{word:#x}");
            (told.tlb, told.flags.contains(AccessFlags::LOCKED))
        };
        let (hit, walk) = (Some(Tlb::Hit), Some(Tlb::Walk));
        assert_eq!(of(Core::Gracemont, 0x11), (hit, true));
        assert_eq!(of(Core::Gracemont, 0x21), (walk, false));
        assert_eq!(of(Core::Gracemont, 0xffff_ffc1), (hit, false));
        assert_eq!(of(Core::Crestmont, 0x21), (hit, true));
        assert_eq!(of(Core::Crestmont, 0x41), (walk, false));
        assert_eq!(of(Core::Crestmont, 0x61), (walk, true));
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
