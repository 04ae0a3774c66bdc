//! The 512 counters of one block. Most blocks that are sampled are touched on a few pages:
//! representation follows density, behind one type.

use decoder::PAGES_PER_FOLIO;

/// Words of 64 bits in a set of pages.
const WORDS: usize = PAGES_PER_FOLIO / 64;
/// Touched pages that are kept without memory of their own: a little over a tenth of all.
const MAX_FEW: usize = 55;
/// Pages of more than 255 accesses from which on words are as good as bytes.
const MAX_CARRIES: usize = 64;
/// Bits of a carry's count.
const CARRY_BITS: u32 = u32::BITS - PAGES_PER_FOLIO.trailing_zeros();
/// The greatest count of a carry.
const MAX_CARRY: u32 = (1 << CARRY_BITS) - 1;
/// Accesses that a carry stands for. A byte that has carried is never 0, so that 0 means an
/// untouched page.
const CARRIED: u32 = u8::MAX as u32;

/// Accesses to each page of a block. A counter is exact up to 2^32 - 1 and stays there.
#[derive(Clone, Debug, Default)]
pub struct Counters(Form);

#[derive(Clone, Debug)]
enum Form {
    Few(Few),
    Bytes(Box<Bytes>),
    Words(Box<[u32; PAGES_PER_FOLIO]>),
}

/// At most 55 touched pages with at most 255 accesses each. Numbers are bytes here, so that all
/// of it and the name of its form take two cache lines and no more.
#[derive(Clone, Debug)]
#[repr(C)]
struct Few {
    /// The counts of the touched pages in their order, then zeros.
    counts: [u8; MAX_FEW],
    /// For each word of `pages`, how many pages the words before it have.
    ranks: [u8; WORDS],
    /// The touched pages, in words of 64.
    pages: [[u8; 8]; WORDS],
}

/// Counts in bytes, and what they do not hold.
#[derive(Clone, Debug)]
struct Bytes {
    low: [u8; PAGES_PER_FOLIO],
    /// In the order of their pages; each a page above how often its byte has carried.
    carries: Vec<u32>,
}

impl Default for Form {
    fn default() -> Self {
        Self::Few(Few { counts: [0; MAX_FEW], ranks: [0; WORDS], pages: [[0; 8]; WORDS] })
    }
}

impl Few {
    /// Whether a page is touched, and how many touched pages come before it.
    #[inline]
    fn rank(&self, page: usize) -> (bool, usize) {
        let (word, bit) = (page / 64 % WORDS, page % 64);
        let pages = u64::from_le_bytes(self.pages[word]);
        let before = (pages & ((1 << bit) - 1)).count_ones() as usize;
        (pages >> bit & 1 == 1, usize::from(self.ranks[word]) + before)
    }

    /// Adds an access; false if there is no room for it.
    #[inline]
    fn hit(&mut self, page: usize) -> bool {
        let (touched, rank) = self.rank(page);
        if !touched {
            return self.insert(page, rank, 1);
        }
        let sum = self.counts[rank].checked_add(1);
        self.counts[rank] = sum.unwrap_or(u8::MAX);
        sum.is_some()
    }

    /// Adds a page that had no accesses, the one after `rank` others.
    fn insert(&mut self, page: usize, rank: usize, count: u8) -> bool {
        let room = self.counts[MAX_FEW - 1] == 0;
        if room {
            self.counts.copy_within(rank..MAX_FEW - 1, rank + 1);
            self.counts[rank] = count;
            self.pages[page / 64][page % 64 / 8] |= 1 << (page % 8);
            self.ranks[page / 64 + 1..].iter_mut().for_each(|rank| *rank += 1);
        }
        room
    }

    fn get(&self, page: usize) -> u32 {
        let (touched, rank) = self.rank(page);
        if touched { u32::from(self.counts[rank]) } else { 0 }
    }

    /// Sets a count of at least 1; false if there is no room for it.
    fn set(&mut self, page: usize, count: u32) -> bool {
        let Ok(count) = u8::try_from(count) else { return false };
        let (touched, rank) = self.rank(page);
        if !touched {
            return self.insert(page, rank, count);
        }
        self.counts[rank] = count;
        true
    }
}

impl Bytes {
    /// Adds an access unless that carries.
    #[inline]
    fn hit(&mut self, page: usize) -> bool {
        let sum = self.low[page].checked_add(1);
        self.low[page] = sum.unwrap_or(u8::MAX);
        sum.is_some()
    }

    /// Where a page's carry is, or belongs.
    fn carry(&self, page: usize) -> Result<usize, usize> {
        self.carries.binary_search_by_key(&page, |carry| (carry >> CARRY_BITS) as usize)
    }

    fn get(&self, page: usize) -> u32 {
        let carried = self.carry(page).map_or(0, |at| self.carries[at] & MAX_CARRY);
        u32::from(self.low[page]) + carried * CARRIED
    }

    /// Sets a count of at least 1; false if there is no room for it.
    fn set(&mut self, page: usize, count: u32) -> bool {
        let (carried, low) = ((count - 1) / CARRIED, (count - 1) % CARRIED + 1);
        match self.carry(page) {
            _ if carried > MAX_CARRY => return false,
            Ok(at) => self.carries[at] = self.carries[at] & !MAX_CARRY | carried,
            Err(_) if carried == 0 => {}
            Err(_) if self.carries.len() == MAX_CARRIES => return false,
            #[expect(clippy::cast_possible_truncation, reason = "pages are below 512")]
            Err(at) => self.carries.insert(at, (page as u32) << CARRY_BITS | carried),
        }
        self.low[page] = u8::try_from(low).expect("1 to 255");
        true
    }

    /// Adds the bytes of another. The answer is where that carries.
    fn add(&mut self, other: &[u8; PAGES_PER_FOLIO]) -> [bool; PAGES_PER_FOLIO] {
        let mut carried = [false; PAGES_PER_FOLIO];
        for ((low, other), carried) in self.low.iter_mut().zip(other).zip(&mut carried) {
            let (sum, over) = low.overflowing_add(*other);
            // A carry is 255, not 256.
            (*low, *carried) = (sum.wrapping_add(u8::from(over)), over);
        }
        carried
    }
}

impl Counters {
    /// More bytes than one change of a block's counters allocates: what one form holds goes over
    /// into two others at most.
    pub(crate) const MAX_GROWTH: usize = 4 << 10;

    /// Adds an access to a page in 0..512 where that takes no memory; otherwise nothing happens,
    /// and the answer is false.
    #[inline]
    pub(crate) fn hit(&mut self, page: usize) -> bool {
        match &mut self.0 {
            Form::Few(few) => few.hit(page),
            Form::Bytes(bytes) => bytes.hit(page),
            Form::Words(words) => {
                words[page] = words[page].saturating_add(1);
                true
            }
        }
    }

    /// Reads where [`Counters::hit`] writes, so that it is in the cache.
    #[inline]
    pub(crate) fn peek(&self, page: usize) -> u8 {
        match &self.0 {
            Form::Few(few) => few.ranks[0] ^ few.pages[page / 64][0],
            Form::Bytes(bytes) => bytes.low[page],
            Form::Words(words) => u8::from(words[page] == 0),
        }
    }

    /// The accesses to a page in 0..512.
    fn get(&self, page: usize) -> u32 {
        match &self.0 {
            Form::Few(few) => few.get(page),
            Form::Bytes(bytes) => bytes.get(page),
            Form::Words(words) => words[page],
        }
    }

    /// Adds `count` accesses to a page in 0..512.
    ///
    /// # Panics
    /// If there is no such page.
    pub fn add(&mut self, page: usize, count: u32) {
        let sum = self.get(page).saturating_add(count);
        if sum == 0 {
            return;
        }
        while !self.set(page, sum) {
            self.widen();
        }
    }

    /// Sets a count of at least 1; false if this form has no room for it.
    fn set(&mut self, page: usize, count: u32) -> bool {
        match &mut self.0 {
            Form::Few(few) => few.set(page, count),
            Form::Bytes(bytes) => bytes.set(page, count),
            Form::Words(words) => {
                words[page] = count;
                true
            }
        }
    }

    /// Goes on to the next form, which holds what this one does.
    fn widen(&mut self) {
        self.0 = match &self.0 {
            Form::Few(_) => {
                let mut bytes = Box::new(Bytes { low: [0; PAGES_PER_FOLIO], carries: Vec::new() });
                for (page, count) in self.touched() {
                    bytes.low[page] = u8::try_from(count).expect("no more is held");
                }
                Form::Bytes(bytes)
            }
            Form::Bytes(_) | Form::Words(_) => Form::Words(Box::new(self.to_array())),
        };
    }

    /// All counters.
    pub fn to_array(&self) -> [u32; PAGES_PER_FOLIO] {
        let mut counts = [0; PAGES_PER_FOLIO];
        match &self.0 {
            Form::Few(_) => self.touched().for_each(|(page, count)| counts[page] = count),
            Form::Bytes(bytes) => {
                for (count, low) in counts.iter_mut().zip(&bytes.low) {
                    *count = u32::from(*low);
                }
                for carry in &bytes.carries {
                    counts[(carry >> CARRY_BITS) as usize] += (carry & MAX_CARRY) * CARRIED;
                }
            }
            Form::Words(words) => counts = **words,
        }
        counts
    }

    /// The set of the touched pages, in words of 64.
    fn pages(&self) -> [u64; WORDS] {
        fn set<T: Copy + PartialEq + Default>(counts: &[T; PAGES_PER_FOLIO]) -> [u64; WORDS] {
            let mut pages = [0; WORDS];
            for (word, counts) in pages.iter_mut().zip(counts.as_chunks::<64>().0) {
                for (bit, count) in counts.iter().enumerate() {
                    *word |= u64::from(*count != T::default()) << bit;
                }
            }
            pages
        }
        match &self.0 {
            Form::Few(few) => few.pages.map(u64::from_le_bytes),
            Form::Bytes(bytes) => set(&bytes.low),
            Form::Words(words) => set(words),
        }
    }

    /// How many pages are touched.
    pub fn touched_pages(&self) -> u32 {
        self.pages().iter().map(|word| word.count_ones()).sum()
    }

    /// The touched pages, in ascending order, with their counts.
    pub fn touched(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let pages = self.pages().into_iter().enumerate().flat_map(|(word, mut pages)| {
            core::iter::from_fn(move || {
                let bit = (pages != 0).then(|| pages.trailing_zeros() as usize)?;
                pages &= pages - 1;
                Some(word * 64 + bit)
            })
        });
        pages.enumerate().map(|(rank, page)| match &self.0 {
            Form::Few(few) => (page, u32::from(few.counts[rank])),
            Form::Bytes(bytes) => (page, bytes.get(page)),
            Form::Words(words) => (page, words[page]),
        })
    }

    /// The sum of all counters.
    pub fn total(&self) -> u64 {
        match &self.0 {
            Form::Few(few) => few.counts.iter().map(|count| u64::from(*count)).sum(),
            Form::Bytes(bytes) => {
                let low: u64 = bytes.low.iter().map(|low| u64::from(*low)).sum();
                let carries = bytes.carries.iter().map(|carry| u64::from(carry & MAX_CARRY));
                low + carries.sum::<u64>() * u64::from(CARRIED)
            }
            Form::Words(words) => words.iter().map(|count| u64::from(*count)).sum(),
        }
    }

    /// How many counters have reached their greatest value.
    pub fn saturated(&self) -> usize {
        match &self.0 {
            Form::Few(_) | Form::Bytes(_) => 0,
            Form::Words(words) => words.iter().filter(|count| **count == u32::MAX).count(),
        }
    }

    /// Adds another block's counters.
    pub fn merge(&mut self, mut other: Self) {
        let width = |counters: &Self| match counters.0 {
            Form::Few(_) => 0,
            Form::Bytes(_) => 1,
            Form::Words(_) => 2,
        };
        if width(self) < width(&other) {
            core::mem::swap(self, &mut other);
        }
        match (&mut self.0, &other.0) {
            (Form::Words(words), _) => {
                for (count, other) in words.iter_mut().zip(other.to_array()) {
                    *count = count.saturating_add(other);
                }
            }
            (Form::Bytes(bytes), Form::Bytes(other)) => {
                let carried = bytes.add(&other.low);
                for (page, _) in carried.iter().enumerate().filter(|(_, carried)| **carried) {
                    self.add(page, CARRIED);
                }
                for carry in &other.carries {
                    self.add((carry >> CARRY_BITS) as usize, (carry & MAX_CARRY) * CARRIED);
                }
            }
            _ => other.touched().for_each(|(page, count)| self.add(page, count)),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Few(_) => 0,
            Form::Bytes(bytes) => size_of::<Bytes>() + bytes.carries.capacity() * size_of::<u32>(),
            Form::Words(_) => size_of::<[u32; PAGES_PER_FOLIO]>(),
        }
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn validate(&self) {
        match &self.0 {
            Form::Few(few) => {
                let mut touched = 0;
                for (word, pages) in few.pages.iter().enumerate() {
                    assert_eq!(usize::from(few.ranks[word]), touched);
                    touched += u64::from_le_bytes(*pages).count_ones() as usize;
                }
                let (counts, rest) = few.counts.split_at(touched);
                assert!(counts.iter().all(|count| *count > 0), "no touched page has none");
                assert!(rest.iter().all(|count| *count == 0), "no other page has any");
            }
            Form::Bytes(bytes) => {
                let pages = bytes.carries.iter().map(|carry| (carry >> CARRY_BITS) as usize);
                assert!(bytes.carries.len() <= MAX_CARRIES);
                assert!(pages.clone().is_sorted_by(|a, b| a < b), "ascending, each page once");
                assert!(pages.clone().all(|page| bytes.low[page] > 0));
                assert!(bytes.carries.iter().all(|carry| carry & MAX_CARRY > 0));
            }
            Form::Words(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Additions that reach every form: on all pages or on a few.
    fn additions() -> impl Strategy<Value = Vec<(usize, u32)>> {
        let count = prop_oneof![
            8 => 0..3_u32,
            4 => 200..300_u32,
            1 => Just(u32::MAX / 2),
            1 => Just(CARRIED * MAX_CARRY),
        ];
        (1..=PAGES_PER_FOLIO)
            .prop_flat_map(move |pages| prop::collection::vec((0..pages, count.clone()), 0..1500))
    }

    fn counted(additions: &[(usize, u32)]) -> (Counters, [u32; PAGES_PER_FOLIO]) {
        let (mut counters, mut naive) = (Counters::default(), [0_u32; PAGES_PER_FOLIO]);
        for (page, count) in additions {
            if *count != 1 || !counters.hit(*page) {
                counters.add(*page, *count);
            }
            counters.validate();
            naive[*page] = naive[*page].saturating_add(*count);
        }
        (counters, naive)
    }

    fn check(counters: &Counters, naive: &[u32; PAGES_PER_FOLIO]) {
        counters.validate();
        assert_eq!(&counters.to_array(), naive);
        let touched = naive.iter().copied().enumerate().filter(|(_, count)| *count > 0);
        assert!(counters.touched().eq(touched));
        assert_eq!(counters.total(), naive.iter().map(|count| u64::from(*count)).sum::<u64>());
        assert_eq!(counters.saturated(), naive.iter().filter(|count| **count == u32::MAX).count());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_form_counts_like_an_array(first in additions(), second in additions()) {
            let ((mut counters, mut naive), (other, others)) = (counted(&first), counted(&second));
            check(&counters, &naive);
            check(&other, &others);
            counters.merge(other);
            for (count, other) in naive.iter_mut().zip(others) {
                *count = count.saturating_add(other);
            }
            check(&counters, &naive);
        }
    }

    #[test]
    fn a_sparse_block_takes_two_cache_lines() {
        assert_eq!(size_of::<Counters>(), 128);
    }

    #[test]
    fn no_change_allocates_more_than_it_says() {
        let bytes = size_of::<Bytes>() + MAX_CARRIES * size_of::<u32>() * 3 / 2;
        assert!(bytes + size_of::<[u32; PAGES_PER_FOLIO]>() <= Counters::MAX_GROWTH);
    }

    #[test]
    fn a_counter_stops_at_its_greatest_value() {
        let mut counters = Counters::default();
        counters.add(5, u32::MAX);
        counters.add(5, 1);
        assert_eq!((counters.to_array()[5], counters.saturated()), (u32::MAX, 1));
    }
}
