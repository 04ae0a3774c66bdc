//! The events packet: what happened to the sampled operation (DDI 0487, D18.2.6).

use crate::AccessFlags;

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
            (Self::TLB_WALK, AccessFlags::TLB_WALK),
            (Self::REMOTE_ACCESS, AccessFlags::REMOTE),
            (Self::MISALIGNED, AccessFlags::MISALIGNED),
            (Self::HITM, AccessFlags::HITM),
            (Self::TRANSACTIONAL, AccessFlags::TRANSACTION),
            (Self::PARTIAL_PREDICATE, AccessFlags::PARTIAL_PREDICATE),
            (Self::EMPTY_PREDICATE, AccessFlags::EMPTY_PREDICATE),
        ] {
            flags.set(flag, self.contains(event));
        }
        // Bit 18 implies bit 17 in hardware; "empty" says it all.
        if flags.contains(AccessFlags::EMPTY_PREDICATE) {
            flags.remove(AccessFlags::PARTIAL_PREDICATE);
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_bit_is_where_the_table_has_it() {
        let table: [(u32, Events); 20] = [
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
        ];
        for (bit, event) in table {
            assert_eq!(event.bits(), 1 << bit);
        }
    }

    #[test]
    fn an_operation_that_did_not_retire_says_so() {
        assert_eq!(Events::empty().flags(), AccessFlags::NOT_RETIRED);
        assert_eq!((Events::RETIRED | Events::TLB_WALK).flags(), AccessFlags::TLB_WALK);
        let empty = Events::RETIRED | Events::PARTIAL_PREDICATE | Events::EMPTY_PREDICATE;
        assert_eq!(empty.flags(), AccessFlags::EMPTY_PREDICATE);
    }
}
