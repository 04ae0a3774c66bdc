//! The data source packet, whose meaning every processor defines for itself (DDI 0487,
//! D18.2.4). The tables are those of Linux' `tools/perf/util/arm-spe.c`.

use super::Events;
use crate::{AccessFlags, DataSource, Direction};

/// A processor's MIDR_EL1 reduced to implementer and part: variant and revision do not change
/// the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Midr(u64);

impl Midr {
    /// Takes the register as the kernel gives it.
    pub const fn new(midr_el1: u64) -> Self {
        Self(midr_el1)
    }

    const fn model(self) -> (u8, u16) {
        ((self.0 >> 24 & 0xff) as u8, (self.0 >> 4 & 0xfff) as u16)
    }
}

/// How a processor encodes its data sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Arm's own cores and some licensees'.
    Common,
    /// Ampere's own cores.
    AmpereOne,
    /// HiSilicon's own cores.
    HiSilicon,
    /// No table is known.
    Unknown,
}

/// The encoding of a processor; the processors that perf lists, and Azure Cobalt 100, which is
/// a Neoverse N2.
pub const fn encoding(midr: Midr) -> Encoding {
    match midr.model() {
        // Neoverse N1, V1, N2, V2, V3.
        (0x41, 0xd0c | 0xd40 | 0xd49 | 0xd4f | 0xd84)
        // Cortex-X1, X1C, X3, X4, X925.
        | (0x41, 0xd44 | 0xd4c | 0xd4e | 0xd82 | 0xd85)
        // Cortex-A78C, A715, A720, A725, A720AE.
        | (0x41, 0xd4b | 0xd4d | 0xd81 | 0xd87 | 0xd89)
        // NVIDIA Olympus; Azure Cobalt 100.
        | (0x4e, 0x010) | (0x6d, 0xd49) => Encoding::Common,
        // AmpereOne-A. (AmpereOne, part 0xac3, is in no published list.)
        (0xc0, 0xac4) => Encoding::AmpereOne,
        // HIP12.
        (0x48, 0xd06) => Encoding::HiSilicon,
        _ => Encoding::Unknown,
    }
}

impl Encoding {
    /// The source that the whole packet value stands for; no bits are masked.
    pub const fn decode(self, value: u16) -> DataSource {
        use DataSource as D;
        match (self, value) {
            (Self::Common, 0x0) => D::L1,
            (Self::Common, 0x8) => D::L2,
            (Self::Common, 0x9) => D::PeerCore,
            (Self::Common, 0xa) => D::Cluster,
            (Self::Common, 0xb) => D::Slc,
            (Self::Common, 0xc) => D::PeerCluster,
            (Self::Common, 0xd) => D::RemoteCache,
            (Self::Common, 0xe) => D::Dram,

            (Self::AmpereOne, 0x0) => D::PeerCore,
            (Self::AmpereOne, 0x3) => D::Slc,
            (Self::AmpereOne, 0x5) => D::RemoteCache,
            (Self::AmpereOne, 0x7) => D::Dram,
            (Self::AmpereOne, 0x8) => D::L1,
            (Self::AmpereOne, 0x9) => D::L2,

            (Self::HiSilicon, 0 | 1) => D::PeerCore,
            (Self::HiSilicon, 2 | 3) => D::L3,
            (Self::HiSilicon, 4 | 5) => D::PeerCluster,
            (Self::HiSilicon, 6 | 7) => D::RemoteCache,
            (Self::HiSilicon, 8) => D::Dram,
            (Self::HiSilicon, 9) => D::RemoteDram,
            (Self::HiSilicon, 13) => D::Io,
            (Self::HiSilicon, 16 | 17) => D::L2,
            (Self::HiSilicon, 18) => D::L1,

            (_, value) => D::Unknown(value),
        }
    }

    /// What a value says beside the source: that it is far, and that another core had modified it.
    const fn flags(self, value: u16) -> AccessFlags {
        match (self, value) {
            (Self::Common, 0xd) | (Self::AmpereOne, 0x5) => AccessFlags::REMOTE,
            (Self::HiSilicon, 1 | 3 | 5 | 17) => AccessFlags::HITM,
            (Self::HiSilicon, 6 | 9) => AccessFlags::REMOTE,
            (Self::HiSilicon, 7) => AccessFlags::REMOTE.union(AccessFlags::HITM),
            _ => AccessFlags::empty(),
        }
    }

    /// Where the data of an access came from, by its packet and its events.
    ///
    /// A store takes no data: the manual promises the packet for what reads, and perf leaves it out
    /// of account for stores. Whether any core writes it there is not known; where the codes are
    /// known, value 0 would be read as the first cache. Where they are not, events tell of the
    /// caches, and that is told apart; a value that they cannot replace stays visible.
    pub fn of_access(
        self,
        value: Option<u16>,
        events: Option<Events>,
        direction: Direction,
    ) -> (Option<DataSource>, AccessFlags) {
        if self == Self::Unknown {
            let inferred = events.and_then(|events| events.source(direction));
            return match inferred {
                Some(source) => (Some(source), AccessFlags::SOURCE_INFERRED),
                None => (value.map(DataSource::Unknown), AccessFlags::empty()),
            };
        }
        match value.filter(|_| direction != Direction::Store) {
            Some(value) => (Some(self.decode(value)), self.flags(value)),
            None => (None, AccessFlags::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variant_and_revision_do_not_matter() {
        for midr in [0x410f_d0c0, 0x413f_d0c1, 0x0000_0000_410f_d0cf] {
            assert_eq!(encoding(Midr::new(midr)), Encoding::Common);
        }
        assert_eq!(encoding(Midr::new(0xc00f_ac40)), Encoding::AmpereOne);
        assert_eq!(encoding(Midr::new(0x480f_d060)), Encoding::HiSilicon);
        assert_eq!(encoding(Midr::new(0x410f_d030)), Encoding::Unknown, "Cortex-A53");
    }

    #[test]
    fn a_value_outside_the_table_stays_visible() {
        assert_eq!(Encoding::Common.decode(0xe), DataSource::Dram);
        assert_eq!(Encoding::Common.decode(0x10e), DataSource::Unknown(0x10e));
        assert_eq!(Encoding::Unknown.decode(0), DataSource::Unknown(0));
        assert_eq!(Encoding::AmpereOne.decode(8), DataSource::L1);
        assert_eq!(Encoding::HiSilicon.decode(18), DataSource::L1);
    }

    /// Codes, their names and flags.
    type Rows = &'static [(u16, &'static str, &'static str)];

    /// Every code of each table (`tools/perf/util/arm-spe.c`): its name and flags, in the manual's
    /// words, not the decoder's.
    const TABLES: [(Encoding, Rows); 3] = [
        (
            Encoding::Common,
            &[
                (0x0, "l1", ""),
                (0x8, "l2", ""),
                (0x9, "peer-core", ""),
                (0xa, "cluster", ""),
                (0xb, "slc", ""),
                (0xc, "peer-cluster", ""),
                (0xd, "remote-cache", "remote"),
                (0xe, "dram", ""),
            ],
        ),
        (
            Encoding::AmpereOne,
            &[
                (0x0, "peer-core", ""),
                (0x3, "slc", ""),
                (0x5, "remote-cache", "remote"),
                (0x7, "dram", ""),
                (0x8, "l1", ""),
                (0x9, "l2", ""),
            ],
        ),
        (
            Encoding::HiSilicon,
            &[
                (0, "peer-core", ""),
                (1, "peer-core", "hitm"),
                (2, "l3", ""),
                (3, "l3", "hitm"),
                (4, "peer-cluster", ""),
                (5, "peer-cluster", "hitm"),
                (6, "remote-cache", "remote"),
                (7, "remote-cache", "remote,hitm"),
                (8, "dram", ""),
                (9, "remote-dram", "remote"),
                (13, "io", ""),
                (16, "l2", ""),
                (17, "l2", "hitm"),
                (18, "l1", ""),
            ],
        ),
    ];

    fn names(flags: AccessFlags) -> String {
        flags.names().collect::<Vec<_>>().join(",")
    }

    #[test]
    fn every_code_says_where_and_how_far() {
        for (encoding, rows) in TABLES {
            for code in 0..=0x1ff_u16 {
                let row = rows.iter().find(|row| row.0 == code);
                let want = row.map_or((format!("unknown({code:#04x})"), ""), |(_, name, flags)| {
                    ((*name).to_owned(), *flags)
                });
                for direction in [Direction::Load, Direction::Atomic, Direction::Unknown] {
                    let (source, flags) = encoding.of_access(Some(code), None, direction);
                    let got = (source.expect("it is told").to_string(), names(flags));
                    assert_eq!((got.0, got.1.as_str()), want, "{encoding:?} {code}");
                }
                // A store takes no data, whatever its packet says.
                let store = encoding.of_access(Some(code), None, Direction::Store);
                assert_eq!(store, (None, AccessFlags::empty()), "{encoding:?} {code}");
            }
            assert_eq!(encoding.of_access(None, None, Direction::Load).0, None);
        }
    }

    #[test]
    fn without_a_table_events_tell_the_level_and_that_is_said() {
        let inferred = AccessFlags::SOURCE_INFERRED;
        let hit = Some(Events::from_bits_retain(1 << 2 | 1 << 1));
        let missed = Some(Events::from_bits_retain(0b11 << 2));
        let of = |value, events, direction| Encoding::Unknown.of_access(value, events, direction);
        let nothing = AccessFlags::empty();
        assert_eq!(of(None, hit, Direction::Load), (Some(DataSource::L1), inferred));
        assert_eq!(of(Some(9), hit, Direction::Store), (Some(DataSource::L1), inferred));
        assert_eq!(of(Some(9), missed, Direction::Load), (Some(DataSource::Unknown(9)), nothing));
        assert_eq!(of(None, missed, Direction::Load), (None, nothing));
        assert_eq!(of(None, None, Direction::Load), (None, nothing));
        // Where there is a table, events say nothing of the level: no packet is no source.
        assert_eq!(Encoding::Common.of_access(None, hit, Direction::Load), (None, nothing));
        assert_eq!(Encoding::Common.of_access(Some(0xe), hit, Direction::Load).1, nothing);
    }

    #[test]
    fn processors_without_a_table() {
        // Neoverse N3, V3AE, C1-Ultra, C1-Premium, C1-Pro, C1-Nano; AmpereOne; HIP09.
        let arm = [0xd8e, 0xd83, 0xd8c, 0xd90, 0xd8b, 0xd8a].map(|part| (0x41, part));
        for (implementer, part) in arm.into_iter().chain([(0xc0, 0xac3), (0x48, 0xd02)]) {
            let midr = Midr::new(implementer << 24 | 0xf << 16 | part << 4);
            assert_eq!(encoding(midr), Encoding::Unknown, "{part:#x}");
        }
    }
}
