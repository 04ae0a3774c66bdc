//! Where each block is kept: from its number to its place in a list.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Bits of a block's number: an address has 56, of which 21 are its offset in a block.
const NUMBER_BITS: u32 = 35;
/// Bits of a place.
const PLACE_BITS: u32 = u64::BITS - NUMBER_BITS;
/// What stands where nothing is. Its place is never used.
const FREE: u64 = u64::MAX;
/// Entries that are compared together.
const BUCKET: usize = 4;

/// Entries in half a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Bucket([u64; BUCKET]);

/// A bucket without entries.
const EMPTY: Bucket = Bucket([FREE; BUCKET]);

/// A hash table of buckets, at most half full, whose entries hold a number above a place. What a
/// bucket has no room for is in the next one that has. The hash is seeded at random: addresses
/// cannot be made up to collide.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// A power of two. Free entries are the last of their bucket.
    buckets: Box<[Bucket]>,
    len: usize,
    seed: u64,
    factor: u64, // odd
}

impl Index {
    /// Places are below this.
    pub(crate) const PLACES: usize = (1 << PLACE_BITS) - 1;

    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let (seed, factor) = (random.hash_one(0), random.hash_one(1) | 1);
        Self { buckets: Box::new([EMPTY]), len: 0, seed, factor }
    }

    /// The place in an entry.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "29 bits")]
    pub(crate) const fn place(entry: u64) -> usize {
        (entry & Self::PLACES as u64) as usize
    }

    /// The entries, which sort by their numbers.
    pub(crate) fn entries(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().flat_map(|bucket| bucket.0).filter(|entry| *entry != FREE)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Bytes of the table that one more entry needs, if it needs another. The present table is
    /// given up once that one is filled.
    pub(crate) fn growth(&self) -> usize {
        self.growth_by(1)
    }

    /// The same for several more entries.
    pub(crate) fn growth_by(&self, more: usize) -> usize {
        let full = (self.len + more) * 2 > self.buckets.len() * BUCKET;
        if full { self.buckets_for(more) * size_of::<Bucket>() } else { 0 }
    }

    /// How many buckets several more entries need.
    fn buckets_for(&self, more: usize) -> usize {
        ((self.len + more) * 2).div_ceil(BUCKET).next_power_of_two()
    }

    /// The bucket where a number belongs.
    #[inline]
    fn start(&self, number: u64) -> usize {
        let wide = u128::from(number ^ self.seed) * u128::from(self.factor);
        // Every bit of the number is in some bit of either half.
        #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
        let mixed = (wide as u64) ^ (wide >> 64) as u64;
        let start = (mixed >> 16) as usize;
        start & (self.buckets.len() - 1)
    }

    /// Reads where [`Index::find`] begins, so that it is in the cache.
    #[inline]
    pub(crate) fn peek(&self, number: u64) -> u64 {
        self.buckets[self.start(number)].0[0]
    }

    /// The place of a number.
    #[inline]
    pub(crate) fn find(&self, number: u64) -> Option<usize> {
        let mut at = self.start(number);
        loop {
            let bucket = &self.buckets[at].0;
            // Without a branch for each: which of them it is cannot be predicted.
            let matching = |found, entry: &u64| {
                if *entry >> PLACE_BITS == number { *entry } else { found }
            };
            let found = bucket.iter().rev().fold(FREE, matching);
            if found != FREE {
                return Some(Self::place(found));
            }
            if bucket[BUCKET - 1] == FREE {
                return None;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Adds a number that is not there, and where it is kept.
    pub(crate) fn insert(&mut self, number: u64, place: usize) {
        debug_assert!(number >> NUMBER_BITS == 0 && place < Self::PLACES);
        debug_assert_eq!(self.find(number), None);
        self.make_room(1);
        self.put(number << PLACE_BITS | place as u64);
        self.len += 1;
    }

    /// Makes room for several more entries.
    pub(crate) fn make_room(&mut self, more: usize) {
        if self.growth_by(more) > 0 {
            let larger = vec![EMPTY; self.buckets_for(more)].into();
            let buckets = core::mem::replace(&mut self.buckets, larger);
            let entries = buckets.iter().flat_map(|bucket| bucket.0).filter(|entry| *entry != FREE);
            entries.for_each(|entry| self.put(entry));
        }
    }

    fn put(&mut self, entry: u64) {
        let mut at = self.start(entry >> PLACE_BITS);
        loop {
            if let Some(free) = self.buckets[at].0.iter_mut().find(|entry| **entry == FREE) {
                *free = entry;
                return;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.buckets.fill(EMPTY);
        self.len = 0;
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn validate(&self) {
        assert!(self.buckets.len().is_power_of_two());
        assert_eq!(self.entries().count(), self.len);
        assert!(self.len * 2 <= self.buckets.len() * BUCKET);
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
            map in prop::collection::hash_map(0..3000_u64, 0..Index::PLACES, 0..1000),
        ) {
            let mut index = Index::new();
            // The greatest number looks most like a free entry.
            let number = |small: u64| ((1 << NUMBER_BITS) - 1) - small;
            for room in [0, map.len()] {
                let bytes = index.heap_bytes().max(index.growth_by(room));
                index.make_room(room);
                prop_assert_eq!((index.heap_bytes(), index.growth_by(room)), (bytes, 0));
                map.iter().for_each(|(small, place)| index.insert(number(*small), *place));
                index.validate();
                for small in 0..3000 {
                    prop_assert_eq!(index.find(number(small)), map.get(&small).copied());
                }
                let known: HashMap<_, _> =
                    index.entries().map(|entry| (number(entry >> PLACE_BITS), Index::place(entry))).collect();
                prop_assert_eq!(&known, &map);
                index.clear();
                index.validate();
            }
        }
    }
}
