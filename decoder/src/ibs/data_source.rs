//! Where an op's data came from: misses first, then the source that the core was told
//! (IbsOpData3 and IbsOpData2).

use super::op::{Caps, Data3, Op};
use crate::DataSource;

/// DataSrc of what is no memory: memory-mapped I/O, configuration space, APIC.
const IO: u8 = 7;

/// The source of an op that is a load or a store. The kernel makes its DATA_SRC of the same
/// registers, and the names are those that this would give it, with two exceptions: a code that
/// the kernel does not know stays visible, and of what is uncacheable misses are not asked even
/// where the code is that of I/O.
pub fn data_source(op: &Op) -> Option<DataSource> {
    let has = |bits| op.data3.contains(bits);
    if has(Data3::UNCACHEABLE) {
        // Stores have no code.
        let told = has(Data3::LOAD) && !op.is_erratum_1293();
        let io = told && op.data2.source(op.caps) == IO;
        return Some(if io { DataSource::Io } else { DataSource::Uncached });
    }
    if !has(Data3::DC_MISS) {
        return Some(DataSource::L1);
    }
    if !has(Data3::L2_MISS) && !op.is_erratum_1293() {
        return Some(DataSource::L2);
    }
    let told = code_behind_l2(op).and_then(|code| {
        let remote = op.data2.remote(op.caps);
        if op.caps.contains(Caps::ZEN4) { zen4(code, remote) } else { before_zen4(code, remote) }
    });
    told.or_else(|| has(Data3::NO_MISS_BUFFER).then_some(DataSource::Lfb))
}

/// Whether the data came from a cache that had modified it: HITM, as the kernel tells it
/// (`perf_ibs_get_mem_snoop`).
pub(super) fn is_modified(op: &Op) -> bool {
    let caches: &[u8] = if op.caps.contains(Caps::ZEN4) { &[1, 2, 5] } else { &[2] };
    op.tells_cache_state()
        && op.data2.modified()
        && code_behind_l2(op).is_some_and(|code| caches.contains(&code))
}

/// DataSrc of an op that missed the second level. Only loads have it.
fn code_behind_l2(op: &Op) -> Option<u8> {
    let missed = op.data3.contains(Data3::LOAD | Data3::DC_MISS | Data3::L2_MISS)
        && !op.data3.contains(Data3::UNCACHEABLE);
    (missed && !op.is_erratum_1293()).then(|| op.data2.source(op.caps))
}

/// DataSrc of five bits.
const fn zen4(code: u8, remote: bool) -> Option<DataSource> {
    Some(match code {
        0 => return None,
        1 => DataSource::L3,
        2 => DataSource::PeerCore,
        3 => dram(remote),
        5 => DataSource::RemoteCache,
        6 => DataSource::Pmem,
        IO => DataSource::Io,
        8 => DataSource::Cxl,
        // 12 is the memory of a peer agent, which has no name here.
        _ => DataSource::Unknown(code as u16),
    })
}

/// DataSrc of three bits.
const fn before_zen4(code: u8, remote: bool) -> Option<DataSource> {
    Some(match code {
        0 => return None,
        2 => DataSource::PeerCore,
        3 => dram(remote),
        4 => DataSource::RemoteCache,
        IO => DataSource::Io,
        _ => DataSource::Unknown(code as u16),
    })
}

const fn dram(remote: bool) -> DataSource {
    if remote { DataSource::RemoteDram } else { DataSource::Dram }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccessFlags;
    use crate::ibs::op::Model;
    use crate::ibs::op::tests::op;
    use crate::perf::DataSrc;
    use DataSource as D;

    const LOAD: u64 = 1;
    const STORE: u64 = 2;
    const MISS: u64 = 1 << 7;
    const L2_MISS: u64 = 1 << 20;
    const BEHIND_L2: u64 = LOAD | MISS | L2_MISS;

    fn old(data2: u64, data3: u64) -> Op {
        Op { caps: Caps::from_bits_retain(0x3ff), ..op(data2, data3) }
    }

    #[test]
    fn misses_come_before_codes() {
        let cases = [
            ("no memory", MISS | L2_MISS, None),
            ("a hit, whatever the code", LOAD | L2_MISS, Some(D::L1)),
            ("a store that hit", STORE, Some(D::L1)),
            ("second level", LOAD | MISS, Some(D::L2)),
            ("a store that hit there", STORE | MISS, Some(D::L2)),
            ("a code", BEHIND_L2, Some(D::Dram)),
            ("a store has no code", STORE | MISS | L2_MISS, None),
            ("both have one", BEHIND_L2 | STORE, Some(D::Dram)),
            ("a line on its way, to a store", STORE | MISS | L2_MISS | 1 << 16, Some(D::Lfb)),
            ("uncacheable", BEHIND_L2 | 1 << 14, Some(D::Uncached)),
            ("uncacheable, misses say nothing", LOAD | 1 << 14, Some(D::Uncached)),
        ];
        for (name, data3, want) in cases {
            assert_eq!(op(3, data3).data_source(), want, "{name}");
        }
    }

    #[test]
    fn an_uncacheable_load_of_code_7_is_io() {
        const UNCACHEABLE: u64 = 1 << 14;
        let cases = [
            ("a load", 7, LOAD, Some(D::Io)),
            ("whatever its misses say", 7, BEHIND_L2, Some(D::Io)),
            ("both", 7, LOAD | STORE, Some(D::Io)),
            ("a store has no code", 7, STORE | MISS | L2_MISS, Some(D::Uncached)),
            ("another code", 3, BEHIND_L2, Some(D::Uncached)),
            ("none", 0, LOAD, Some(D::Uncached)),
            ("no memory", 7, 0, None),
        ];
        for (name, code, data3, want) in cases {
            assert_eq!(op(code, data3 | UNCACHEABLE).data_source(), want, "{name}");
            assert_eq!(old(code, data3 | UNCACHEABLE).data_source(), want, "{name}, three bits");
        }
        let fifteen = 7 | 1 << 6;
        assert_eq!(op(fifteen, LOAD | UNCACHEABLE).data_source(), Some(D::Uncached));
        assert_eq!(old(fifteen, LOAD | UNCACHEABLE).data_source(), Some(D::Io), "reserved bits");
    }

    #[test]
    fn a_node_that_is_remote_is_told_of_memory_of_every_kind() {
        let remote = AccessFlags::REMOTE;
        // Code, whether it is remote without and with the bit.
        let codes = [(1, false, false), (2, false, false), (3, false, true), (5, true, true)];
        for (code, near, far) in codes.into_iter().chain([(6, false, true), (7, false, false)]) {
            assert_eq!(op(code, BEHIND_L2).flags().contains(remote), near, "{code}");
            assert_eq!(op(code | 1 << 4, BEHIND_L2).flags().contains(remote), far, "{code}");
        }
        let cxl = 1 << 6;
        assert!(!op(cxl, BEHIND_L2).flags().contains(remote));
        assert!(op(cxl | 1 << 4, BEHIND_L2).flags().contains(remote));
    }

    #[test]
    fn codes_of_five_bits() {
        for code in 0..32_u64 {
            let data2 = code & 0b111 | code >> 3 << 6;
            let want = match code {
                0 => None,
                1 => Some(D::L3),
                2 => Some(D::PeerCore),
                3 => Some(D::Dram),
                5 => Some(D::RemoteCache),
                6 => Some(D::Pmem),
                7 => Some(D::Io),
                8 => Some(D::Cxl),
                _ => Some(D::Unknown(u16::try_from(code).unwrap())),
            };
            assert_eq!(op(data2, BEHIND_L2).data_source(), want, "{code}");
        }
        let far = op(3 | 1 << 4, BEHIND_L2);
        assert_eq!(far.data_source(), Some(D::RemoteDram));
        assert!(far.flags().contains(AccessFlags::REMOTE));
    }

    #[test]
    fn codes_of_three_bits() {
        let table = [
            None,
            Some(D::Unknown(1)),
            Some(D::PeerCore),
            Some(D::Dram),
            Some(D::RemoteCache),
            Some(D::Unknown(5)),
            Some(D::Unknown(6)),
            Some(D::Io),
        ];
        for (code, want) in (0..).zip(table) {
            assert_eq!(old(code, BEHIND_L2).data_source(), want, "{code}");
            assert_eq!(old(code | 0b11 << 6, BEHIND_L2).data_source(), want, "{code}, reserved");
        }
        assert_eq!(old(3 | 1 << 4, BEHIND_L2).data_source(), Some(D::RemoteDram));
    }

    #[test]
    fn erratum_1293_leaves_nothing_behind_the_data_cache() {
        let (prefetch, no_buffer) = (1 << 21, 1 << 16);
        // The model; whether it has the erratum without the capabilities of Zen 4, and with them.
        let models = [
            (Model::Unknown, true, false),
            (Model::Zen3Server, true, true),
            (Model::Zen3, false, false),
            (Model::Other, false, false),
        ];
        for (model, before_zen4, zen4) in models {
            for (has_it, of) in [(before_zen4, old as fn(u64, u64) -> Op), (zen4, op)] {
                let of = |data3| Op { model, ..of(3, data3) };
                for (data3, source, missed) in [
                    (BEHIND_L2, D::Dram, AccessFlags::L1_MISS | AccessFlags::L2_MISS),
                    (LOAD | MISS, D::L2, AccessFlags::L1_MISS),
                ] {
                    let want = |left| if has_it { left } else { Some(source) };
                    assert_eq!(of(data3).data_source(), Some(source), "{model:?}");
                    assert_eq!(of(data3 | prefetch).data_source(), want(None), "{model:?}");
                    let buffer = of(data3 | no_buffer).data_source();
                    assert_eq!(buffer, want(Some(D::Lfb)), "{model:?}");
                    let flags = if has_it { AccessFlags::L1_MISS } else { missed };
                    assert_eq!(of(data3 | prefetch).flags(), flags, "{model:?}");
                }
                assert_eq!(of(LOAD | prefetch).data_source(), Some(D::L1), "{model:?}");
            }
        }
        let io = Op { model: Model::Zen3Server, ..old(7, LOAD | 1 << 14 | prefetch) };
        assert_eq!(io.data_source(), Some(D::Uncached), "its code cannot be trusted either");
    }

    #[test]
    fn a_line_that_another_cache_had_modified() {
        let owned = 1 << 5;
        for code in 0..8 {
            let is = |op: Op, model| Op { model, ..op }.flags().contains(AccessFlags::HITM);
            let (of_zen4, of_older) = (matches!(code, 1 | 2 | 5), code == 2);
            // The model; what it is without the capabilities of Zen 4, and with them.
            let models = [
                (Model::Other, of_older, of_zen4),
                (Model::Zen3Server, false, false),
                (Model::Zen3, false, false),
                (Model::Unknown, false, of_zen4),
            ];
            for (model, older, zen4) in models {
                assert_eq!(is(old(code, BEHIND_L2), model), older, "{code} {model:?}");
                assert_eq!(is(op(code, BEHIND_L2), model), zen4, "{code} {model:?}");
                assert!(!is(op(code | owned, BEHIND_L2), model), "{code} {model:?}, owned");
                for (name, data3) in [
                    ("in the first level", LOAD | L2_MISS),
                    ("in the second", LOAD | MISS),
                    ("a store", STORE | MISS | L2_MISS),
                    ("no memory", MISS | L2_MISS),
                    ("uncacheable", BEHIND_L2 | 1 << 14),
                ] {
                    assert!(!is(op(code, data3), model), "{code} {model:?}, {name}");
                }
            }
        }
        let prefetch = Op { model: Model::Other, ..old(2, BEHIND_L2 | 1 << 21) };
        assert!(prefetch.flags().contains(AccessFlags::HITM));
    }

    /// What kernels write of the level (`perf_ibs_get_mem_lvl` in arch/x86/events/amd/ibs.c, up
    /// to 6.5 and from 6.6 on), for a load or a store that is local, or far.
    #[test]
    fn names_are_those_of_data_src() {
        const HIT: u64 = 0x2 << 5;
        const L3: u64 = 0x40 << 5;
        const NEAR: u64 = 0x400 << 5;
        const FAR: u64 = 0x800 << 5;
        const NOT_AVAILABLE: u64 = 0x1 << 5;
        const REM: u64 = 1 << 37;
        const HOPS_0: u64 = 1 << 43;
        const HOPS_1: u64 = 2 << 43;
        const NO_BUFFER: u64 = 1 << 16;
        const UNCACHEABLE: u64 = 1 << 14;
        const OWNED: u64 = 1 << 5;
        const NODE: u64 = OWNED | 1 << 4;
        const CXL: u64 = OWNED | 1 << 6;
        let ram = HIT | 0x80 << 5;
        let far_ram = HIT | 0x100 << 5;
        let (io, lfb) = (0x1000 << 5, HIT | 0x10 << 5);
        let number = |number: u64| number << 33;
        let (any, no) = (number(0xb), number(0xf));
        // IbsOpData2 and IbsOpData3; DATA_SRC of either kernel; the name.
        let of_all = [
            (0, LOAD, HIT | 0x8 << 5, number(1), Some(D::L1)),
            (0, STORE, HIT | 0x8 << 5, number(1), Some(D::L1)),
            (0, LOAD | MISS, HIT | 0x20 << 5, number(2), Some(D::L2)),
            (0, LOAD | UNCACHEABLE, HIT | 0x2000 << 5, number(8), Some(D::Uncached)),
            (0, STORE | MISS | L2_MISS, NOT_AVAILABLE, no, None),
            (0, STORE | MISS | L2_MISS | NO_BUFFER, lfb, number(0xc), Some(D::Lfb)),
            (0, BEHIND_L2, NOT_AVAILABLE, no, None),
            (OWNED | 3, BEHIND_L2, ram, number(0xd), Some(D::Dram)),
            (NODE | 3, BEHIND_L2, far_ram, number(0xd) | REM | HOPS_1, Some(D::RemoteDram)),
        ];
        let of_zen4 = [
            (OWNED | 1, BEHIND_L2, HIT | L3, number(3), Some(D::L3)),
            (OWNED | 2, BEHIND_L2, HIT | NEAR, any | REM | HOPS_0, Some(D::PeerCore)),
            (OWNED | 5, BEHIND_L2, HIT | FAR, any | REM | HOPS_1, Some(D::RemoteCache)),
        ];
        let before_zen4 = [
            (OWNED | 2, BEHIND_L2, HIT | L3 | NEAR, any | HOPS_0, Some(D::PeerCore)),
            (OWNED | 4, BEHIND_L2, HIT | FAR, any | REM | HOPS_1, Some(D::RemoteCache)),
        ];
        // Those that have had a number ever since; I/O is no hit there.
        let with_number = [
            (OWNED | 7, io | number(0xa), HIT | io | number(0xa), D::Io),
            (OWNED | 6, number(0xe), number(0xe), D::Pmem),
            (NODE | 6, number(0xe) | REM | HOPS_1, number(0xe) | REM | HOPS_1, D::Pmem),
            (CXL, number(9), number(9), D::Cxl),
            (NODE | CXL, number(9) | REM | HOPS_1, number(9) | REM | HOPS_1, D::Cxl),
        ];
        let same = |op: Op, value: u64, want: Option<D>| {
            let data_src = DataSrc(value).of_ibs();
            let of_interest = AccessFlags::REMOTE | AccessFlags::HITM;
            assert_eq!(op.data_source(), want, "{op:x?}");
            assert_eq!(data_src.source(), want, "{op:x?} {value:#x}");
            assert_eq!(
                op.flags() & of_interest,
                data_src.flags() & of_interest,
                "{op:x?} {value:#x}"
            );
        };
        let rows = |of: fn(u64, u64) -> Op, rows: &[(u64, u64, u64, u64, Option<D>)]| {
            for (data2, data3, level, more, want) in rows.iter().copied() {
                let op = Op { model: Model::Other, ..of(data2, data3) };
                same(op, level, want);
                // As `PERF_MEM_NA` left it for a while.
                same(op, level | no, want);
                same(op, level | more, want);
                let code = data2 & 7;
                if data3 == BEHIND_L2 && matches!(want, Some(D::L3 | D::PeerCore)) || code == 5 {
                    let modified = Op { model: Model::Other, ..of(data2 & !OWNED, data3) };
                    let hitm = 0x10 << 19;
                    same(modified, level | hitm, want);
                    same(modified, level | more | hitm, want);
                }
            }
        };
        rows(op, &of_all);
        rows(old, &of_all);
        rows(op, &of_zen4);
        rows(old, &before_zen4);
        for (data2, before, since, want) in with_number {
            for value in [before, since] {
                same(op(data2, BEHIND_L2), value, Some(want));
            }
        }
        same(old(OWNED | 7, BEHIND_L2), io | number(0xa), Some(D::Io));
        same(old(OWNED | 7, BEHIND_L2), HIT | io | number(0xa), Some(D::Io));
    }
}
