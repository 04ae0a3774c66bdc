//! The 512 counters of one block. Most blocks that are sampled are touched on a few pages:
//! representation follows density, behind one type.
//!
//! Whatever the form, an access to a page that has been touched before adds 1 to a byte. Which
//! byte that is depends on the form, but no branch does: which form the next access meets cannot
//! be predicted.

use core::hint::select_unpredictable;

use decoder::PAGES_PER_FOLIO;

/// Words of 64 bits in a set of pages.
const WORDS: usize = PAGES_PER_FOLIO / 64;
/// Touched pages that are kept without memory of their own: about a tenth of all, and as many as
/// two cache lines hold with the rest.
const MAX_FEW: usize = 48;
/// Pages of more than 255 accesses from which on their upper halves are kept for all pages.
const MAX_CARRIES: usize = 64;
/// Accesses that a carry stands for.
const CARRIED: u32 = 1 << u8::BITS;
/// Bits of a carry's count.
const CARRY_BITS: u32 = u32::BITS - PAGES_PER_FOLIO.trailing_zeros();
/// The greatest count of a carry.
const MAX_CARRY: u32 = (1 << CARRY_BITS) - 1;

/// Accesses to each page of a block. A counter is exact up to 2^32 - 1 and stays there.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Counters {
    /// The touched pages, in words of 64.
    pages: [u64; WORDS],
    /// While there are few of them: for each word, how many pages the words before it have.
    ranks: [u8; WORDS],
    /// And their counts in their order, then zeros.
    few: [u8; MAX_FEW],
    /// The counts of all pages, once those have no room for them.
    dense: Option<Box<Dense>>,
}

/// Counts of all pages.
#[derive(Clone, Debug)]
#[repr(C)]
struct Dense {
    /// Their lowest bytes.
    low: [u8; PAGES_PER_FOLIO],
    carries: Carries,
}

/// What the lowest bytes do not hold.
#[derive(Clone, Debug)]
enum Carries {
    /// In the order of their pages; each a page above how often its byte has carried.
    Some(Vec<u32>),
    /// For all pages how often.
    All(Box<[u32; PAGES_PER_FOLIO]>),
}

impl Default for Counters {
    fn default() -> Self {
        Self { pages: [0; WORDS], ranks: [0; WORDS], few: [0; MAX_FEW], dense: None }
    }
}

impl Carries {
    /// Where a page's carry is in a list, or belongs.
    fn search(list: &[u32], page: usize) -> Result<usize, usize> {
        list.binary_search_by_key(&page, |carry| (carry >> CARRY_BITS) as usize)
    }

    fn get(&self, page: usize) -> u32 {
        match self {
            Self::Some(list) => Self::search(list, page).map_or(0, |at| list[at] & MAX_CARRY),
            Self::All(all) => all[page],
        }
    }

    fn set(&mut self, page: usize, count: u32) {
        match self {
            Self::All(all) => all[page] = count,
            Self::Some(list) => match Self::search(list, page) {
                Err(_) if count == 0 => {}
                Ok(at) if count <= MAX_CARRY => list[at] = list[at] & !MAX_CARRY | count,
                #[expect(clippy::cast_possible_truncation, reason = "pages are below 512")]
                Err(at) if count <= MAX_CARRY && list.len() < MAX_CARRIES => {
                    list.insert(at, (page as u32) << CARRY_BITS | count);
                }
                _ => {
                    let mut all = Box::new([0; PAGES_PER_FOLIO]);
                    self.each().for_each(|(page, count)| all[page] = count);
                    all[page] = count;
                    *self = Self::All(all);
                }
            },
        }
    }

    /// All that are not 0, with their pages.
    fn each(&self) -> impl Iterator<Item = (usize, u32)> {
        let (list, all): (&[u32], &[u32]) = match self {
            Self::Some(list) => (list, &[]),
            Self::All(all) => (&[], &**all),
        };
        let list = list.iter().map(|carry| ((carry >> CARRY_BITS) as usize, carry & MAX_CARRY));
        let all = all.iter().copied().enumerate().filter(|(_, count)| *count > 0);
        list.chain(all)
    }
}

impl Dense {
    fn get(&self, page: usize) -> u32 {
        self.carries.get(page) * CARRIED + u32::from(self.low[page])
    }

    fn set(&mut self, page: usize, count: u32) {
        self.low[page] = count.to_le_bytes()[0];
        self.carries.set(page, count / CARRIED);
    }

    /// Adds the bytes of another. The answer is where that carries.
    fn add(&mut self, other: &[u8; PAGES_PER_FOLIO]) -> [bool; PAGES_PER_FOLIO] {
        let mut carried = [false; PAGES_PER_FOLIO];
        for ((low, other), carried) in self.low.iter_mut().zip(other).zip(&mut carried) {
            (*low, *carried) = low.overflowing_add(*other);
        }
        carried
    }
}

impl Counters {
    /// More bytes than one change of a block's counters allocates: what one form holds goes over
    /// into two others at most.
    pub(crate) const MAX_GROWTH: usize = 4 << 10;

    /// Whether a page is touched, and, while there are few, how many touched pages come before it.
    #[inline]
    fn rank(&self, page: usize) -> (bool, usize) {
        let (word, bit) = (page / 64 % WORDS, page % 64);
        let pages = self.pages[word];
        let before = (pages & ((1 << bit) - 1)).count_ones() as usize;
        (pages >> bit & 1 == 1, usize::from(self.ranks[word]) + before)
    }

    /// Adds accesses, at least one, to a page in 0..512 where that takes no memory; otherwise
    /// nothing happens, and the answer is false.
    #[inline]
    pub(crate) fn hit(&mut self, page: usize, times: u8) -> bool {
        let (touched, rank) = self.rank(page);
        if !touched {
            return self.touch(page, rank, times);
        }
        let is_dense = self.dense.is_some();
        let dense = self.dense.as_mut().map_or(&mut [][..], |dense| &mut dense.low[..]);
        let counts = select_unpredictable(is_dense, dense, &mut self.few[..]);
        let at = select_unpredictable(is_dense, page, rank);
        let Some(count) = counts.get_mut(at) else { return false };
        let sum = count.checked_add(times);
        *count = sum.unwrap_or(*count);
        sum.is_some()
    }

    /// Reads where [`Counters::hit`] writes, so that it is in the cache.
    #[inline]
    pub(crate) fn peek(&self, page: usize) -> u8 {
        let is_dense = self.dense.is_some();
        let dense = self.dense.as_ref().map_or(&[][..], |dense| &dense.low[..]);
        let counts = select_unpredictable(is_dense, dense, &self.few[..]);
        let at = select_unpredictable(is_dense, page, 0);
        counts.get(at).map_or(0, |count| count ^ self.pages[page / 64 % WORDS].to_le_bytes()[0])
    }

    /// Adds a page that had no accesses, the one after `rank` others; false if there is no room
    /// for it.
    fn touch(&mut self, page: usize, rank: usize, count: u8) -> bool {
        if let Some(dense) = &mut self.dense {
            dense.low[page] = count;
        } else if self.few[MAX_FEW - 1] == 0 {
            self.few.copy_within(rank..MAX_FEW - 1, rank + 1);
            self.few[rank] = count;
            self.ranks[page / 64 + 1..].iter_mut().for_each(|rank| *rank += 1);
        } else {
            return false;
        }
        self.pages[page / 64] |= 1 << (page % 64);
        true
    }

    /// The accesses to a page in 0..512.
    pub(crate) fn get(&self, page: usize) -> u32 {
        let (touched, rank) = self.rank(page);
        match &self.dense {
            _ if !touched => 0,
            Some(dense) => dense.get(page),
            None => u32::from(self.few[rank]),
        }
    }

    /// Adds `count` accesses to a page in 0..512.
    ///
    /// # Panics
    /// If there is no such page.
    pub fn add(&mut self, page: usize, count: u32) {
        let sum = self.get(page).saturating_add(count);
        if sum > 0 && !self.set_few(page, sum) {
            let Self { pages, few, dense, .. } = self;
            let dense = dense.get_or_insert_with(|| Dense::of(*pages, few));
            dense.set(page, sum);
            pages[page / 64] |= 1 << (page % 64);
        }
    }

    /// Sets a count of at least 1 while there are few; false if there is no room for it.
    fn set_few(&mut self, page: usize, count: u32) -> bool {
        let Some(count) = u8::try_from(count).ok().filter(|_| self.dense.is_none()) else {
            return false;
        };
        let (touched, rank) = self.rank(page);
        if !touched {
            return self.touch(page, rank, count);
        }
        self.few[rank] = count;
        true
    }

    /// Takes one access from a page in 0..512 that has some. Whether it has.
    pub(crate) fn take_one(&mut self, page: usize) -> bool {
        let count = self.get(page);
        if count == 1 {
            // What is left has another form, perhaps; this is done a few times in a run.
            let mut rest = Self::default();
            self.touched()
                .filter(|(it, _)| *it != page)
                .for_each(|(page, count)| rest.add(page, count));
            *self = rest;
        } else if count > 1
            && !self.set_few(page, count - 1)
            && let Some(dense) = &mut self.dense
        {
            dense.set(page, count - 1);
        }
        count > 0
    }

    /// All counters.
    pub fn to_array(&self) -> [u32; PAGES_PER_FOLIO] {
        let mut counts = [0; PAGES_PER_FOLIO];
        match &self.dense {
            None => self.touched().for_each(|(page, count)| counts[page] = count),
            Some(dense) => {
                for (count, low) in counts.iter_mut().zip(&dense.low) {
                    *count = u32::from(*low);
                }
                dense.carries.each().for_each(|(page, carried)| counts[page] += carried * CARRIED);
            }
        }
        counts
    }

    /// How many pages are touched.
    pub fn touched_pages(&self) -> u32 {
        self.touched_pages_with(None)
    }

    /// The pages that are touched here or in others.
    fn pages_with(&self, others: Option<&Self>) -> [u64; WORDS] {
        core::array::from_fn(|at| self.pages[at] | others.map_or(0, |others| others.pages[at]))
    }

    /// How many pages are touched here or in others.
    pub(crate) fn touched_pages_with(&self, others: Option<&Self>) -> u32 {
        self.pages_with(others).iter().map(|word| word.count_ones()).sum()
    }

    /// The pages that are touched here or in others, in ascending order.
    pub(crate) fn touched_with(
        &self,
        others: Option<&Self>,
    ) -> impl Iterator<Item = usize> + use<> {
        pages_of(self.pages_with(others))
    }

    /// The touched pages, in ascending order, with their counts.
    pub fn touched(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        pages_of(self.pages).enumerate().map(|(rank, page)| match &self.dense {
            None => (page, u32::from(self.few[rank])),
            Some(dense) => (page, dense.get(page)),
        })
    }

    /// The sum of all counters.
    pub fn total(&self) -> u64 {
        let sum = |counts: &[u8]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        match &self.dense {
            None => sum(&self.few),
            Some(dense) => {
                let carried: u64 = dense.carries.each().map(|(_, count)| u64::from(count)).sum();
                sum(&dense.low) + carried * u64::from(CARRIED)
            }
        }
    }

    /// How many counters have reached their greatest value.
    pub fn saturated(&self) -> usize {
        let Some(dense) = &self.dense else { return 0 };
        dense.carries.each().filter(|(page, _)| dense.get(*page) == u32::MAX).count()
    }

    /// Adds another block's counters.
    pub fn merge(&mut self, mut other: Self) {
        if self.dense.is_none() {
            core::mem::swap(self, &mut other);
        }
        if let (Some(dense), Some(others)) = (&mut self.dense, &other.dense) {
            let carried = dense.add(&others.low);
            for (word, pages) in self.pages.iter_mut().zip(other.pages) {
                *word |= pages;
            }
            for (page, _) in carried.iter().enumerate().filter(|(_, carried)| **carried) {
                self.add(page, CARRIED);
            }
            others.carries.each().for_each(|(page, count)| self.add(page, count * CARRIED));
        } else {
            other.touched().for_each(|(page, count)| self.add(page, count));
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.dense.as_ref().map_or(0, |dense| {
            size_of::<Dense>()
                + match &dense.carries {
                    Carries::Some(list) => list.capacity() * size_of::<u32>(),
                    Carries::All(all) => size_of_val(&**all),
                }
        })
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn validate(&self) {
        let touched = self.touched().inspect(|(_, count)| assert!(*count > 0, "or not touched"));
        let touched = touched.count();
        let Some(dense) = &self.dense else {
            let mut before = 0;
            for (rank, pages) in self.ranks.iter().zip(&self.pages) {
                assert_eq!(usize::from(*rank), before);
                before += pages.count_ones() as usize;
            }
            assert!(self.few[touched..].iter().all(|count| *count == 0), "no other has any");
            return;
        };
        let others = (0..PAGES_PER_FOLIO).filter(|page| !self.rank(*page).0);
        assert!(others.map(|page| dense.get(page)).all(|count| count == 0), "no other has any");
        if let Carries::Some(list) = &dense.carries {
            assert!(list.len() <= MAX_CARRIES);
            let pages = list.iter().map(|carry| carry >> CARRY_BITS);
            assert!(pages.is_sorted_by(|a, b| a < b), "ascending, each page once");
        }
    }
}

impl Dense {
    /// The counts of a few pages.
    fn of(pages: [u64; WORDS], few: &[u8]) -> Box<Self> {
        let carries = Carries::Some(Vec::new());
        let mut dense = Box::new(Self { low: [0; PAGES_PER_FOLIO], carries });
        pages_of(pages).zip(few).for_each(|(page, count)| dense.low[page] = *count);
        dense
    }
}

/// The pages in a set, in ascending order.
fn pages_of(words: [u64; WORDS]) -> impl Iterator<Item = usize> {
    words.into_iter().enumerate().flat_map(|(word, mut pages)| {
        core::iter::from_fn(move || {
            let bit = (pages != 0).then(|| pages.trailing_zeros() as usize)?;
            pages &= pages - 1;
            Some(word * 64 + bit)
        })
    })
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
            let few = u8::try_from(*count).ok().filter(|count| *count > 0);
            if few.is_none_or(|count| !counters.hit(*page, count)) {
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
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

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
        let list = MAX_CARRIES * size_of::<u32>() * 3 / 2;
        let most = size_of::<Dense>() + list + size_of::<[u32; PAGES_PER_FOLIO]>();
        assert!(most <= Counters::MAX_GROWTH);
    }

    #[test]
    fn a_counter_stops_at_its_greatest_value() {
        let mut counters = Counters::default();
        counters.add(5, u32::MAX);
        counters.add(5, 1);
        assert_eq!((counters.to_array()[5], counters.saturated()), (u32::MAX, 1));
    }
}
