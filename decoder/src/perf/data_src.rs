//! DATA_SRC: what a sampled memory operation did and where its data came from
//! (`union perf_mem_data_src`). The fields are sets of bits, but for level number, remote and
//! hops.

use crate::{AccessFlags, DataSource, Direction, Operation};

/// The value of a sample's DATA_SRC field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSrc(pub u64);

/// Bits of the set of levels.
mod level {
    pub(super) const HIT: u64 = 0x2;
    pub(super) const MISS: u64 = 0x4;
    pub(super) const L1: u64 = 0x8;
    pub(super) const L2: u64 = 0x20;
    pub(super) const L3: u64 = 0x40;
    /// One hop away, and two.
    pub(super) const REMOTE_RAM: u64 = 0x100 | 0x200;
    pub(super) const REMOTE_CACHE_1: u64 = 0x400;
    pub(super) const REMOTE_CACHE_2: u64 = 0x800;
}

/// Level numbers that are spoken of. 0 is none.
mod number {
    pub(super) const ANY_CACHE: u64 = 11;
    pub(super) const NOT_AVAILABLE: u64 = 15;
}

/// `PERF_MEM_HOPS_0`: no hop to another node.
const HOPS_0: u64 = 1;

impl DataSrc {
    const fn bits(self, shift: u32, width: u32) -> u64 {
        self.0 >> shift & ((1 << width) - 1)
    }

    const fn levels(self) -> u64 {
        self.bits(5, 14)
    }

    const fn number(self) -> u64 {
        self.bits(33, 4)
    }

    /// The value of an IBS op with what newer kernels write beside the levels. Before 6.6 levels
    /// were mostly all (`arch/x86/events/amd/ibs.c`): of those, `REM_CCE1` is a cache of another
    /// core complex of the same node.
    pub const fn of_ibs(self) -> Self {
        let has_number = !matches!(self.number(), 0 | number::NOT_AVAILABLE);
        if has_number || self.is_remote() || !self.hit(level::REMOTE_CACHE_1) {
            return self;
        }
        Self(self.0 & !(0xf << 33 | 0x7 << 43) | number::ANY_CACHE << 33 | HOPS_0 << 43)
    }

    /// What the access did; `access` where the field does not say.
    pub const fn operation(self) -> Operation {
        const LOAD: u64 = 2;
        const STORE: u64 = 4;
        const PREFETCH: u64 = 8;
        const EXEC: u64 = 16;
        let op = self.bits(0, 5);
        let (direction, detail) = if op & LOAD != 0 {
            (Direction::Load, "")
        } else if op & STORE != 0 {
            (Direction::Store, "")
        } else if op & PREFETCH != 0 {
            (Direction::Unknown, "prefetch")
        } else if op & EXEC != 0 {
            (Direction::Unknown, "exec")
        } else {
            (Direction::Unknown, "")
        };
        Operation { direction, detail }
    }

    /// Where the data came from. The level number of newer kernels comes first, then the set of
    /// levels of older ones; a level that was missed says nothing.
    pub const fn source(self) -> Option<DataSource> {
        const PEER: u64 = 2;
        if self.levels() & (level::HIT | level::MISS) == level::MISS {
            return None;
        }
        let peer = self.bits(38, 2) == PEER;
        let remote = self.is_remote();
        let remote_cache = if self.is_within_node() {
            DataSource::PeerCore
        } else if self.hit(level::REMOTE_RAM) {
            // Intel's code 0b: the number is that of the cache that was missed.
            DataSource::RemoteDram
        } else {
            DataSource::RemoteCache
        };
        Some(match (self.number(), remote) {
            // L1, and the L0 of cores that have one.
            (1 | 7, _) => DataSource::L1,
            // L2 and the buffer of its misses.
            (2, false) if peer => DataSource::PeerCore,
            (2, false) => DataSource::L2,
            (5, _) => DataSource::Lfb,
            (3, false) => DataSource::L3,
            // L4 and the memory-side cache.
            (4 | 6, false) => DataSource::Slc,
            (number::ANY_CACHE, false) => DataSource::PeerCore,
            (2 | 3 | 4 | 6 | number::ANY_CACHE, true) => remote_cache,
            (number::NOT_AVAILABLE, true) if peer => remote_cache,
            (8, _) => DataSource::Uncached,
            (9, _) => DataSource::Cxl,
            (10, _) => DataSource::Io,
            (12, _) => DataSource::Lfb,
            (13, false) => DataSource::Dram,
            (13, true) => DataSource::RemoteDram,
            (14, _) => DataSource::Pmem,
            _ => return self.source_by_level(),
        })
    }

    const fn is_remote(self) -> bool {
        self.bits(37, 1) == 1
    }

    /// Whether "remote" means another core of the same node. 0 says nothing.
    const fn is_within_node(self) -> bool {
        self.bits(43, 3) == HOPS_0
    }

    /// Whether one of these levels had the data.
    const fn hit(self, levels: u64) -> bool {
        self.levels() & level::HIT != 0 && self.levels() & levels != 0
    }

    const fn source_by_level(self) -> Option<DataSource> {
        const LEVELS: [(u64, DataSource); 10] = [
            (level::L1, DataSource::L1),
            (0x10, DataSource::Lfb),
            (level::L2, DataSource::L2),
            (level::L3, DataSource::L3),
            (0x80, DataSource::Dram),
            (level::REMOTE_RAM, DataSource::RemoteDram),
            (level::REMOTE_CACHE_1 | level::REMOTE_CACHE_2, DataSource::RemoteCache),
            (0x1000, DataSource::Io),
            (0x2000, DataSource::Uncached),
            (0, DataSource::Unknown(0)),
        ];
        let mut row = 0;
        while LEVELS[row].0 != 0 {
            if self.hit(LEVELS[row].0) {
                return Some(LEVELS[row].1);
            }
            row += 1;
        }
        None
    }

    /// What else it says.
    pub fn flags(self) -> AccessFlags {
        let (levels, snoop, lock, tlb) =
            (self.levels(), self.bits(19, 5), self.bits(24, 2), self.bits(26, 7));
        let missed = levels & level::MISS != 0;
        let mut flags = AccessFlags::empty();
        flags.set(AccessFlags::L1_MISS, missed && levels & level::L1 != 0);
        flags.set(AccessFlags::L2_MISS, missed && levels & level::L2 != 0);
        flags.set(AccessFlags::LLC_MISS, missed && levels & level::L3 != 0);
        flags.set(AccessFlags::HITM, snoop & 0x10 != 0);
        flags.set(AccessFlags::LOCKED, lock & 0x2 != 0);
        flags.set(AccessFlags::TLB_WALK, tlb & (0x4 | 0x20) != 0);
        // Before there was a bit for it, only the levels said so.
        let far = level::REMOTE_RAM | level::REMOTE_CACHE_1 | level::REMOTE_CACHE_2;
        let remote = self.is_remote() || self.hit(far);
        flags.set(AccessFlags::REMOTE, remote && !self.is_within_node());
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_perf_writes() {
        let l1 = DataSrc(0x2_8810_0142);
        assert_eq!(l1.operation().to_string(), "load");
        assert_eq!(l1.source(), Some(DataSource::L1));
        assert_eq!(DataSrc(0x4_8810_0442).source(), Some(DataSource::L2));
        assert_eq!(DataSrc(0x1a_8810_1042).source(), Some(DataSource::Dram));
        let nothing_known = DataSrc(0x1e_0508_0021);
        assert_eq!(nothing_known.operation().to_string(), "access");
        assert_eq!((nothing_known.source(), nothing_known.flags()), (None, AccessFlags::empty()));
    }

    #[test]
    fn the_operation() {
        let name = |op| DataSrc(op).operation().to_string();
        assert_eq!(name(2 | 4), "load", "both");
        assert_eq!(name(4), "store");
        assert_eq!(name(8), "access/prefetch");
        assert_eq!(name(16), "access/exec");
        assert_eq!(name(0), "access");
    }

    #[test]
    fn every_level_number_with_and_without_remote() {
        use DataSource as D;
        let table: [(Option<D>, Option<D>); 16] = [
            (None, None),
            (Some(D::L1), Some(D::L1)),
            (Some(D::L2), Some(D::RemoteCache)),
            (Some(D::L3), Some(D::RemoteCache)),
            (Some(D::Slc), Some(D::RemoteCache)),
            (Some(D::Lfb), Some(D::Lfb)),
            (Some(D::Slc), Some(D::RemoteCache)),
            (Some(D::L1), Some(D::L1)),
            (Some(D::Uncached), Some(D::Uncached)),
            (Some(D::Cxl), Some(D::Cxl)),
            (Some(D::Io), Some(D::Io)),
            (Some(D::PeerCore), Some(D::RemoteCache)),
            (Some(D::Lfb), Some(D::Lfb)),
            (Some(D::Dram), Some(D::RemoteDram)),
            (Some(D::Pmem), Some(D::Pmem)),
            (None, None),
        ];
        for (number, (near, far)) in (0u64..).zip(table) {
            assert_eq!(DataSrc(number << 33).source(), near, "{number}");
            assert_eq!(DataSrc(number << 33 | 1 << 37).source(), far, "{number} remote");
        }
        assert_eq!(DataSrc(2 << 33 | 2 << 38).source(), Some(D::PeerCore), "snooped from a peer");
        assert_eq!(DataSrc(15 << 33 | 1 << 37 | 2 << 38).source(), Some(D::RemoteCache));
        assert_eq!(DataSrc(1 << 33 | (4 | 8) << 5).source(), None, "missed the level it names");
        assert_eq!(DataSrc(3 << 33 | 1 << 37 | 1 << 43).source(), Some(D::PeerCore));
    }

    #[test]
    fn codes_of_intel_s_table_that_speak_of_a_far_node() {
        use DataSource as D;
        // `pebs_data_source` in arch/x86/events/intel/ds.c: as it is, and before numbers. With TLB.
        let cases = [
            ("08", 0x26_6820_8042, 0x6820_8042, D::RemoteCache),
            ("09", 0x26_6880_8042, 0x6880_8042, D::RemoteCache),
            // Its number is that of the cache that was missed.
            ("0b", 0x26_6820_2042, 0x6820_2042, D::RemoteDram),
            ("0d", 0x3a_6850_2042, 0x6850_2042, D::RemoteDram),
        ];
        for (code, value, before, want) in cases {
            for value in [DataSrc(value), DataSrc(before)] {
                assert_eq!(value.source(), Some(want), "{code}: {value:x?}");
                assert!(value.flags().contains(AccessFlags::REMOTE), "{code}: {value:x?}");
            }
        }
        let missed = DataSrc(3 << 33 | 1 << 37 | 0x100 << 5);
        assert_eq!(missed.source(), Some(D::RemoteCache), "memory that was not hit");
    }

    #[test]
    fn remote_is_another_node_not_another_core() {
        let remote = 1 << 37;
        let cases = [
            ("nothing", 0, AccessFlags::empty()),
            ("hops without remote", 2 << 43, AccessFlags::empty()),
            ("no hops told", remote, AccessFlags::REMOTE),
            ("another core of the node", remote | 1 << 43, AccessFlags::empty()),
            ("another node of the socket", remote | 2 << 43, AccessFlags::REMOTE),
            ("another socket", remote | 3 << 43, AccessFlags::REMOTE),
            ("another board", remote | 4 << 43, AccessFlags::REMOTE),
            // Where levels alone are told.
            ("memory", (2 | 0x100) << 5, AccessFlags::REMOTE),
            ("memory further off", (2 | 0x200) << 5, AccessFlags::REMOTE),
            ("a cache", (2 | 0x400) << 5, AccessFlags::REMOTE),
            ("a cache further off", (2 | 0x800) << 5, AccessFlags::REMOTE),
            ("none of them", (2 | 0x30f8) << 5, AccessFlags::empty()),
            ("not hit", 0xf00 << 5, AccessFlags::empty()),
            ("a cache of the node", (2 | 0x440) << 5 | 11 << 33 | 1 << 43, AccessFlags::empty()),
            // As the kernel tells a near and a far cache of Zen 4.
            ("near", 0x2 | 11 << 33 | remote | 1 << 43, AccessFlags::empty()),
            ("far", 0x2 | 11 << 33 | remote | 2 << 43, AccessFlags::REMOTE),
        ];
        for (name, value, want) in cases {
            assert_eq!(DataSrc(value).flags(), want, "{name}");
        }
    }

    #[test]
    fn only_an_ibs_op_s_near_cache_without_a_number_is_completed() {
        let near = (2 | 0x400) << 5;
        let number = |number: u64| number << 33;
        let cases = [
            ("near", near, near | number(11) | 1 << 43),
            (
                "one that may be the third level",
                near | 0x40 << 5,
                near | 0x40 << 5 | number(11) | 1 << 43,
            ),
            ("a number that says nothing", near | number(15), near | number(11) | 1 << 43),
            ("a number", near | number(3), near | number(3)),
            ("remote", near | 1 << 37, near | 1 << 37),
            ("far", (2 | 0x800) << 5, (2 | 0x800) << 5),
            ("not hit", 0x400 << 5, 0x400 << 5),
            ("nothing known", 0x1e_0508_0021, 0x1e_0508_0021),
        ];
        for (name, value, want) in cases {
            // Whatever else it says.
            let others = 0x2 | 0x1f << 19 | 0x7f << 26;
            assert_eq!(DataSrc(value | others).of_ibs(), DataSrc(want | others), "{name}");
        }
    }

    #[test]
    fn the_levels_of_older_kernels() {
        use DataSource as D;
        let level = |level: u64| DataSrc(level << 5).source();
        assert_eq!(level(2 | 0x40), Some(D::L3));
        assert_eq!(level(2 | 0x200), Some(D::RemoteDram));
        assert_eq!(level(2 | 0x400), Some(D::RemoteCache));
        assert_eq!(level(4 | 0x40), None, "a miss");
        assert_eq!(DataSrc((4 | 0x40) << 5).flags(), AccessFlags::LLC_MISS);
    }
}
