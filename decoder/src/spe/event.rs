//! The events packet: what happened to the sampled operation (DDI 0487, D18.2.6).

use crate::{AccessFlags, DataSource, Direction, Tlb};

bitflags::bitflags! {
    /// Bits of the events packet. Bits without a name here are kept.
    ///
    /// For stores the cache events may read as zero although they happened, and events that
    /// a processor does not implement always do: never compute a rate without that caveat.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Events: u64 {
        /// Completed with a synchronous exception.
        const EXCEPTION = 1 << 0;
        /// Architecturally retired; clear for speculative operations.
        const RETIRED = 1 << 1;
        /// Level 1 data cache access.
        const L1D_ACCESS = 1 << 2;
        /// Level 1 data cache refill or miss.
        const L1D_REFILL = 1 << 3;
        /// TLB access.
        const TLB_ACCESS = 1 << 4;
        /// TLB refill that walked the page tables.
        const TLB_WALK = 1 << 5;
        /// Branch not taken, or a condition that was false.
        const NOT_TAKEN = 1 << 6;
        /// Mispredicted branch.
        const MISPREDICTED = 1 << 7;
        /// Last-level cache access.
        const LLC_ACCESS = 1 << 8;
        /// Last-level cache miss.
        const LLC_MISS = 1 << 9;
        /// Access to another socket.
        const REMOTE_ACCESS = 1 << 10;
        /// Extra latency due to alignment.
        const MISALIGNED = 1 << 11;
        /// In a transaction.
        const TRANSACTIONAL = 1 << 16;
        /// Some element of the predicate was inactive.
        const PARTIAL_PREDICATE = 1 << 17;
        /// All elements of the predicate were inactive.
        const EMPTY_PREDICATE = 1 << 18;
        /// Level 2 data cache access.
        const L2D_ACCESS = 1 << 19;
        /// Level 2 data cache miss.
        const L2D_MISS = 1 << 20;
        /// Hit modified data in another cache.
        const HITM = 1 << 21;
        /// Hit a line that was being fetched.
        const LINE_FILL_BUFFER = 1 << 22;
        /// Data snooped from a cache outside the core's own hierarchy.
        const SNOOPED = 1 << 23;
        /// Executed in streaming SVE mode. Of processors without FEAT_SPE_SME this bit and the next
        /// may mean anything.
        const STREAMING_SVE = 1 << 24;
        /// Executed by a unit that several cores share (SMCU).
        const SMCU = 1 << 25;
        const _ = !0;
    }
}

impl Events {
    /// What an access tells of its events.
    pub fn flags(self) -> AccessFlags {
        let mut flags = AccessFlags::empty();
        flags.set(AccessFlags::NOT_RETIRED, !self.contains(Self::RETIRED));
        for (event, flag) in [
            (Self::EXCEPTION, AccessFlags::EXCEPTION),
            (Self::L1D_REFILL, AccessFlags::L1_MISS),
            (Self::L2D_MISS, AccessFlags::L2_MISS),
            (Self::LLC_MISS, AccessFlags::LLC_MISS),
            (Self::REMOTE_ACCESS, AccessFlags::REMOTE),
            (Self::MISALIGNED, AccessFlags::MISALIGNED),
            (Self::HITM, AccessFlags::HITM),
            (Self::TRANSACTIONAL, AccessFlags::TRANSACTION),
            (Self::PARTIAL_PREDICATE, AccessFlags::PARTIAL_PREDICATE),
            (Self::EMPTY_PREDICATE, AccessFlags::EMPTY_PREDICATE),
        ] {
            flags.set(flag, self.contains(event));
        }
        flags |= self.tlb().map_or(AccessFlags::empty(), Tlb::flags);
        // Bit 18 implies bit 17 in hardware; "empty" says it all.
        if flags.contains(AccessFlags::EMPTY_PREDICATE) {
            flags.remove(AccessFlags::PARTIAL_PREDICATE);
        }
        flags
    }

    /// How the access was translated.
    pub const fn tlb(self) -> Option<Tlb> {
        if self.contains(Self::TLB_WALK) {
            Some(Tlb::Walk)
        } else if self.contains(Self::TLB_ACCESS) {
            Some(Tlb::Hit)
        } else {
            None
        }
    }

    /// The cache that had the data, as far as the events tell: of what reads memory the first that
    /// was hit, of a store the last that was touched, if it was hit. Misses tell only where the data
    /// was not. The order is perf's (`tools/perf/util/arm-spe.c`, what it does without a table).
    pub fn source(self, direction: Direction) -> Option<DataSource> {
        const L1: (Events, Events, DataSource) =
            (Events::L1D_ACCESS, Events::L1D_REFILL, DataSource::L1);
        const L2: (Events, Events, DataSource) =
            (Events::L2D_ACCESS, Events::L2D_MISS, DataSource::L2);
        const LAST: (Events, Events, DataSource) =
            (Events::LLC_ACCESS, Events::LLC_MISS, DataSource::L3);
        let hit = |(access, miss, source)| {
            (self.contains(access) && !self.contains(miss)).then_some(source)
        };
        match direction {
            Direction::Load | Direction::Atomic => {
                let filled = self.contains(Self::LINE_FILL_BUFFER).then_some(DataSource::Lfb);
                hit(L1).or(filled).or_else(|| hit(L2)).or_else(|| hit(LAST))
            }
            Direction::Store => {
                let touched = |(access, miss, _): &_| self.intersects(Self::union(*access, *miss));
                [LAST, L2, L1].into_iter().find(touched).and_then(hit)
            }
            Direction::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_bit_is_where_the_table_has_it() {
        let table: [(u32, Events); 22] = [
            (0, Events::EXCEPTION),
            (1, Events::RETIRED),
            (2, Events::L1D_ACCESS),
            (3, Events::L1D_REFILL),
            (4, Events::TLB_ACCESS),
            (5, Events::TLB_WALK),
            (6, Events::NOT_TAKEN),
            (7, Events::MISPREDICTED),
            (8, Events::LLC_ACCESS),
            (9, Events::LLC_MISS),
            (10, Events::REMOTE_ACCESS),
            (11, Events::MISALIGNED),
            (16, Events::TRANSACTIONAL),
            (17, Events::PARTIAL_PREDICATE),
            (18, Events::EMPTY_PREDICATE),
            (19, Events::L2D_ACCESS),
            (20, Events::L2D_MISS),
            (21, Events::HITM),
            (22, Events::LINE_FILL_BUFFER),
            (23, Events::SNOOPED),
            (24, Events::STREAMING_SVE),
            (25, Events::SMCU),
        ];
        for (bit, event) in table {
            assert_eq!(event.bits(), 1 << bit);
        }
    }

    #[test]
    fn an_operation_that_did_not_retire_says_so() {
        assert_eq!(Events::empty().flags(), AccessFlags::NOT_RETIRED);
        let empty = Events::RETIRED | Events::PARTIAL_PREDICATE | Events::EMPTY_PREDICATE;
        assert_eq!(empty.flags(), AccessFlags::EMPTY_PREDICATE);
    }

    #[test]
    fn a_walk_is_event_5_and_event_4_alone_is_a_hit() {
        // Bit numbers of the manual's table, not the names above.
        let cases: [(u64, Option<Tlb>, AccessFlags); 4] = [
            (0b10, None, AccessFlags::empty()),
            (0b10 | 1 << 4, Some(Tlb::Hit), AccessFlags::TLB_ACCESS),
            (0b10 | 1 << 5, Some(Tlb::Walk), AccessFlags::TLB_ACCESS | AccessFlags::TLB_WALK),
            (0b10 | 3 << 4, Some(Tlb::Walk), AccessFlags::TLB_ACCESS | AccessFlags::TLB_WALK),
        ];
        for (bits, tlb, flags) in cases {
            let events = Events::from_bits_retain(bits);
            assert_eq!((events.tlb(), events.flags()), (tlb, flags), "{bits:#b}");
        }
    }

    #[test]
    fn the_level_of_a_load_is_the_first_cache_that_was_hit() {
        use DataSource as D;
        let (l1, l1_miss, last, last_miss) = (1 << 2, 1 << 3, 1 << 8, 1 << 9);
        let (l2, l2_miss, filled) = (1 << 19, 1 << 20, 1 << 22);
        let cases: [(&str, u64, Option<D>); 10] = [
            ("nothing", 0, None),
            ("first level", l1, Some(D::L1)),
            ("whatever the others say", l1 | filled | l2 | last, Some(D::L1)),
            ("a line on its way", l1 | l1_miss | filled | l2, Some(D::Lfb)),
            ("second level", l1 | l1_miss | l2, Some(D::L2)),
            ("last level", l1 | l1_miss | l2 | l2_miss | last, Some(D::L3)),
            ("the second level is not told", l1 | l1_miss | last, Some(D::L3)),
            ("missed them all", l1 | l1_miss | l2 | l2_miss | last | last_miss, None),
            ("missed the first", l1 | l1_miss, None),
            ("a miss without an access", last_miss, None),
        ];
        for (name, bits, want) in cases {
            for direction in [Direction::Load, Direction::Atomic] {
                assert_eq!(Events::from_bits_retain(bits).source(direction), want, "{name}");
            }
            assert_eq!(Events::from_bits_retain(bits).source(Direction::Unknown), None, "{name}");
        }
    }

    #[test]
    fn the_level_of_a_store_is_the_last_cache_that_was_touched() {
        use DataSource as D;
        let cases: [(&str, u64, Option<D>); 7] = [
            ("nothing", 0, None),
            ("first level", 1 << 2, Some(D::L1)),
            ("missed it", 0b11 << 2, None),
            ("second level", 0b11 << 2 | 1 << 19, Some(D::L2)),
            ("missed that", 1 << 2 | 1 << 20, None),
            ("last level", 1 << 2 | 1 << 19 | 1 << 8, Some(D::L3)),
            ("missed that too", 1 << 2 | 1 << 19 | 0b11 << 8, None),
        ];
        for (name, bits, want) in cases {
            assert_eq!(Events::from_bits_retain(bits).source(Direction::Store), want, "{name}");
        }
    }
}
