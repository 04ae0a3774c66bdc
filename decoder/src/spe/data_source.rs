//! The data source packet, whose meaning every processor defines for itself (DDI 0487,
//! D18.2.4). The tables are those of Linux' `tools/perf/util/arm-spe.c`.

use crate::DataSource;

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
}
