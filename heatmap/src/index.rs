//! Where each block is kept: from its number to its place in a list.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Bits of a block's number: an address has 56, of which 21 are its offset in a block.
const NUMBER_BITS: u32 = 35;
/// Bits of a place.
const PLACE_BITS: u32 = u64::BITS - NUMBER_BITS;
/// What stands where nothing is. Its place is never used.
const FREE: u64 = u64::MAX;
/// Log2 of the fewest entries.
const MIN_BITS: u32 = 4;

/// A hash table with linear probing, at most half full, of words that hold a number above a
/// place. Its hash is seeded at random: addresses cannot be made up to collide.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    entries: Box<[u64]>, // 2^bits
    bits: u32,
    len: usize,
    seed: u64,
    factor: u64, // odd
}

impl Index {
    /// Places are below this.
    pub(crate) const PLACES: usize = (1 << PLACE_BITS) - 1;

    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let entries = vec![FREE; 1 << MIN_BITS].into();
        let (seed, factor) = (random.hash_one(0), random.hash_one(1) | 1);
        Self { entries, bits: MIN_BITS, len: 0, seed, factor }
    }

    /// The place in an entry.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "29 bits")]
    pub(crate) const fn place(entry: u64) -> usize {
        (entry & Self::PLACES as u64) as usize
    }

    /// The entries, which sort by their numbers.
    pub(crate) fn entries(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().copied().filter(|entry| *entry != FREE)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.entries)
    }

    /// Bytes of the table that one more entry needs, if it needs another. The present table is
    /// given up once that one is filled.
    pub(crate) fn growth(&self) -> usize {
        if (self.len + 1) * 2 > self.entries.len() { 2 * self.heap_bytes() } else { 0 }
    }

    /// Where the search for a number begins.
    #[inline]
    fn start(&self, number: u64) -> usize {
        let wide = u128::from(number ^ self.seed) * u128::from(self.factor);
        // Both halves depend on every bit of the number; the upper bits of their sum are used.
        #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
        let mixed = (wide as u64) ^ (wide >> 64) as u64;
        #[expect(clippy::cast_possible_truncation, reason = "fewer bits than a table has entries")]
        let start = (mixed >> (u64::BITS - self.bits)) as usize;
        start
    }

    /// The place of a number.
    #[inline]
    pub(crate) fn find(&self, number: u64) -> Option<usize> {
        let mask = self.entries.len() - 1;
        let mut at = self.start(number);
        loop {
            let entry = self.entries[at & mask];
            if entry == FREE {
                return None;
            }
            if entry >> PLACE_BITS == number {
                return Some(Self::place(entry));
            }
            at += 1;
        }
    }

    /// The entry of a number, or the free one where it belongs.
    fn position(&self, number: u64) -> usize {
        let mask = self.entries.len() - 1;
        let mut at = self.start(number) & mask;
        while self.entries[at] != FREE && self.entries[at] >> PLACE_BITS != number {
            at = (at + 1) & mask;
        }
        at
    }

    /// Says where a number is kept, for the first time or anew.
    pub(crate) fn set(&mut self, number: u64, place: usize) {
        debug_assert!(number >> NUMBER_BITS == 0 && place < Self::PLACES);
        let mut at = self.position(number);
        if self.entries[at] == FREE {
            if self.growth() > 0 {
                self.grow();
                at = self.position(number);
            }
            self.len += 1;
        }
        self.entries[at] = number << PLACE_BITS | place as u64;
    }

    fn grow(&mut self) {
        let larger = vec![FREE; 2 * self.entries.len()].into();
        let entries = core::mem::replace(&mut self.entries, larger);
        self.bits += 1;
        for entry in entries.into_iter().filter(|entry| *entry != FREE) {
            let at = self.position(entry >> PLACE_BITS);
            self.entries[at] = entry;
        }
    }

    /// Forgets a number.
    pub(crate) fn remove(&mut self, number: u64) {
        let mask = self.entries.len() - 1;
        let mut free = self.position(number);
        if self.entries[free] == FREE {
            return;
        }
        self.len -= 1;
        // What follows without a gap moves up where that is not before its start.
        let mut at = free;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry == FREE {
                break;
            }
            let start = self.start(entry >> PLACE_BITS) & mask;
            if at.wrapping_sub(start) & mask >= at.wrapping_sub(free) & mask {
                self.entries[free] = entry;
                free = at;
            }
        }
        self.entries[free] = FREE;
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn validate(&self) {
        let entries = self.entries.iter().filter(|entry| **entry != FREE);
        assert_eq!(entries.count(), self.len);
        assert!(self.entries.len() == 1 << self.bits && self.len * 2 <= self.entries.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_finds_what_a_map_finds(
            steps in prop::collection::vec((0..40u64, 0..1000usize, prop::bool::weighted(0.3)), 0..300),
        ) {
            let (mut index, mut map) = (Index::new(), HashMap::new());
            // The greatest number looks most like a free entry.
            let number = |small: u64| ((1 << NUMBER_BITS) - 1) - small;
            for (small, place, removed) in steps {
                if removed {
                    index.remove(number(small));
                    map.remove(&small);
                } else {
                    index.set(number(small), place);
                    map.insert(small, place);
                }
                index.validate();
            }
            for small in 0..40 {
                prop_assert_eq!(index.find(number(small)), map.get(&small).copied());
            }
        }
    }
}
