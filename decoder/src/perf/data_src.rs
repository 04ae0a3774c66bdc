//! DATA_SRC: what a sampled memory operation did and where its data came from
//! (`union perf_mem_data_src`). The fields are sets of bits, but for level number, remote and
//! hops.

use crate::{AccessFlags, DataSource, Direction, Operation, Tlb};

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

/// Memory regions, which newer kernels tell of Intel's cores from Panther Cove on
/// (`arch/x86/events/intel/ds.c`): who answered an access that left the core's module. 0 is none.
mod region {
    /// The I/O agent of another caching agent.
    pub(super) const IO_AGENT: u64 = 4;
    /// Memory-mapped devices.
    pub(super) const MMIO: u64 = 7;
    /// Memory; regions are numbered from here on.
    pub(super) const MEMORY_0: u64 = 8;
    pub(super) const MEMORY_7: u64 = 15;
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
        // Devices and memory both have the number of memory, and an I/O agent that of the cache.
        match self.region() {
            region::IO_AGENT | region::MMIO => return Some(DataSource::Io),
            region::MEMORY_0..=region::MEMORY_7 if self.is_far() => {
                return Some(DataSource::RemoteDram);
            }
            region::MEMORY_0..=region::MEMORY_7 => return Some(DataSource::Dram),
            _ => {}
        }
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
            // perf's own samples of HiSilicon's cores.
            (3, false) if peer && self.hit(level::REMOTE_CACHE_1) => DataSource::PeerCluster,
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

    const fn region(self) -> u64 {
        self.bits(46, 5)
    }

    /// Whether another node had the data. The bit for it is as old as the level's number: without
    /// one only the set of levels says so.
    const fn is_far(self) -> bool {
        let far = level::REMOTE_RAM | level::REMOTE_CACHE_1 | level::REMOTE_CACHE_2;
        let by_levels = matches!(self.number(), 0 | number::NOT_AVAILABLE) && self.hit(far);
        (self.is_remote() || by_levels) && !self.is_within_node()
    }

    /// How it was translated. Only a miss is a walk: the bit of the walker alone says who would
    /// have walked, and perf writes it beside every hit of Arm SPE
    /// (`tools/perf/util/arm-spe.c`).
    pub const fn tlb(self) -> Option<Tlb> {
        const HIT: u64 = 0x2;
        const MISS: u64 = 0x4;
        const L1: u64 = 0x8;
        const L2: u64 = 0x10;
        let tlb = self.bits(26, 7);
        match tlb & (L1 | L2) {
            _ if tlb & MISS != 0 => Some(Tlb::Walk),
            _ if tlb & HIT == 0 => None,
            L1 => Some(Tlb::L1),
            L2 => Some(Tlb::L2),
            _ => Some(Tlb::Hit),
        }
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
        let (levels, snoop, lock) = (self.levels(), self.bits(19, 5), self.bits(24, 2));
        let missed = levels & level::MISS != 0;
        let mut flags = AccessFlags::empty();
        flags.set(AccessFlags::L1_MISS, missed && levels & level::L1 != 0);
        flags.set(AccessFlags::L2_MISS, missed && levels & level::L2 != 0);
        flags.set(AccessFlags::LLC_MISS, missed && levels & level::L3 != 0);
        flags.set(AccessFlags::HITM, snoop & 0x10 != 0);
        flags.set(AccessFlags::LOCKED, lock & 0x2 != 0);
        flags |= self.tlb().map_or(AccessFlags::empty(), Tlb::flags);
        flags.set(AccessFlags::REMOTE, self.is_far());
        if let region::MEMORY_0..=region::MEMORY_7 = self.region() {
            let [number, ..] = (self.region() - region::MEMORY_0).to_le_bytes();
            flags |= AccessFlags::of_memory_region(number);
        }
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

    #[test]
    fn a_walk_is_a_miss_and_nothing_else() {
        // PERF_MEM_TLB_*: 1 not available, 2 hit, 4 miss, 8 first, 16 second level, 32 walker, 64 OS.
        let cases = [
            ("nothing", 0, None),
            ("not available", 1, None),
            ("a hit", 2, Some(Tlb::Hit)),
            ("a hit in one of two, as x86 has it", 2 | 8 | 16, Some(Tlb::Hit)),
            ("the first level", 2 | 8, Some(Tlb::L1)),
            ("the second", 2 | 16, Some(Tlb::L2)),
            ("a miss", 4, Some(Tlb::Walk)),
            ("a miss of the second level", 4 | 16, Some(Tlb::Walk)),
            ("perf's samples of Arm SPE: event 4", 32 | 2, Some(Tlb::Hit)),
            ("event 5", 32 | 4, Some(Tlb::Walk)),
            ("the walker alone", 32, None),
            ("the OS alone", 64, None),
        ];
        for (name, bits, want) in cases {
            let data_src = DataSrc(2 | bits << 26);
            assert_eq!(data_src.tlb(), want, "{name}");
            let walks = want == Some(Tlb::Walk);
            let flags = data_src.flags();
            assert_eq!(flags.contains(AccessFlags::TLB_WALK), walks, "{name}");
            assert_eq!(flags.contains(AccessFlags::TLB_ACCESS), want.is_some(), "{name}");
        }
    }

    #[test]
    fn memory_regions_of_panther_cove_and_arctic_wolf() {
        use DataSource as D;
        // Level 3 and memory as numbers; memory near and far, another node's cache as levels.
        let (l3, ram, remote) = (3 << 33, 13 << 33, 1 << 37);
        let (near, far, far_cache) = ((2 | 0x80) << 5, (2 | 0x100) << 5, (2 | 0x400) << 5);
        let told = |value: u64, region: u64| {
            let data_src = DataSrc(value | region << 46);
            let flags: Vec<_> = data_src.flags().names().collect();
            (data_src.source(), flags.join(","))
        };
        for region in [0, 1, 2, 3, 5, 6] {
            assert_eq!(told(l3, region), (Some(D::L3), String::new()), "{region}");
            let other = told(l3 | remote | far_cache, region);
            assert_eq!(other, (Some(D::RemoteCache), "remote".to_owned()), "{region}");
        }
        assert_eq!(told(l3, 4), (Some(D::Io), String::new()), "an I/O agent");
        assert_eq!(told(ram, 7), (Some(D::Io), String::new()), "devices are no memory");
        assert_eq!(told(ram | near, 7).0, Some(D::Io));
        for number in 0..8 {
            let dram = told(ram | near, 8 + number);
            assert_eq!(dram, (Some(D::Dram), format!("region-{number}")));
            let dram = told(ram | far | remote, 8 + number);
            assert_eq!(dram, (Some(D::RemoteDram), format!("remote,region-{number}")));
        }
        // Those above are not numbered yet.
        assert_eq!(told(ram | near, 16), (Some(D::Dram), String::new()));
    }

    #[test]
    fn a_number_without_the_remote_bit_is_near_whatever_the_levels_say() {
        // As perf makes samples of HiSilicon's codes 4 and 6: REM_CCE1 without, REM_CCE2 with the bit.
        let peer = 2 << 38;
        let cluster = DataSrc((2 | 0x400) << 5 | 3 << 33 | peer);
        assert_eq!(cluster.source(), Some(DataSource::PeerCluster));
        assert_eq!(cluster.flags(), AccessFlags::empty());
        let socket = DataSrc((2 | 0x800) << 5 | 11 << 33 | 1 << 37 | peer);
        assert_eq!(socket.source(), Some(DataSource::RemoteCache));
        assert_eq!(socket.flags(), AccessFlags::REMOTE);
    }
}
