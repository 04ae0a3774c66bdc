//! Accesses to pages that were accessed lately, summed up before they are counted.
//!
//! Finding a block and its counter takes tens of instructions, and most accesses go to pages that
//! have just been accessed. So a hash table of one word for each of the latest pages stands in
//! front of the store:
//!
//! ```text
//! for word in the words that the page may have, in their order:
//!     if it is this page's:    add 1 to its count; done
//!     if it is nobody's:       it is this page's, with a count of 1; done
//! when half of all words are somebody's:
//!     count in the store what all of them hold, and start again
//! ```
//!
//! This changes no count, only when it reaches the store: once [`Recent::flush`] has been called
//! everything has. Where most pages are not met often until then it costs more than it saves; then
//! it stands aside for a while.

use decoder::{Batch, FOLIO_SHIFT, PAGE_SHIFT, PAGES_PER_FOLIO, PhysAddr, Source};

use crate::folio::Block;
use crate::store::Store;

/// Words of the table, 1 MiB of them: as many as the second cache of today's servers holds.
const WORDS: usize = 1 << 17;
/// Pages from which on the table is full.
const MAX_PAGES: usize = WORDS / 2;
/// Bits of a count.
const COUNT_BITS: u32 = 20;
/// The greatest count.
const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;
/// It pays if a page is met so often until the table is full: what it costs to count a word in the
/// store is about what a few accesses cost there.
const PAYS: usize = 4;
/// Accesses for which it stands aside where it does not pay.
const ASIDE: usize = 1 << 22;

/// What stands in front of one store.
#[derive(Debug)]
pub(crate) struct Recent {
    /// A page above its count; 0 where there is none. Empty until there is an access.
    words: Box<[u64]>,
    /// Words that have a page.
    pages: usize, // below MAX_PAGES between batches
    /// Of all that is in it.
    source: Source,
    /// Accesses since it was empty.
    accesses: usize,
    /// Accesses for which it still stands aside.
    aside: usize,
}

/// The hash of a page's block, and the first word that the page may have. Pages of one block have
/// neighbours, so that a dense block's share cache lines.
#[inline]
fn first_word(paddr: PhysAddr) -> (usize, usize) {
    const { assert!(WORDS.is_power_of_two() && WORDS >= PAGES_PER_FOLIO) };
    let hash = (paddr.get() >> FOLIO_SHIFT).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    let hash = usize::try_from(hash).unwrap_or(0);
    (hash, (hash + paddr.pfn().index_in_folio()) % WORDS)
}

/// The word after another that a page may have. All pages of a block go the same way.
#[inline]
fn next_word(hash: usize, word: usize) -> usize {
    (word + (hash >> WORDS.trailing_zeros() | 1)) % WORDS
}

impl Recent {
    /// Without anything in it.
    pub(crate) fn new() -> Self {
        Self { words: Box::default(), pages: 0, source: Source::ArmSpe, accesses: 0, aside: 0 }
    }

    /// Counts the accesses of a batch, of which nothing but the address is wanted.
    pub(crate) fn batch<B: Block>(&mut self, batch: &Batch<'_>, store: &mut Store<B>) {
        if self.aside > 0 {
            self.aside = self.aside.saturating_sub(batch.addresses.len());
            store.batch(&(*batch).into());
            return;
        }
        if self.source != batch.source {
            self.flush(store);
            self.source = batch.source;
        }
        if self.words.is_empty() && !self.make_room(store) {
            self.aside = usize::MAX;
            store.batch(&(*batch).into());
            return;
        }
        for addresses in batch.addresses.chunks(MAX_PAGES) {
            self.accesses += addresses.len();
            self.count(addresses, store);
            if self.pages >= MAX_PAGES {
                self.aside = if self.accesses < PAYS * self.pages { ASIDE } else { 0 };
                self.flush(store);
            }
        }
    }

    /// Counts so few accesses that some word stays nobody's.
    fn count<B: Block>(&mut self, addresses: &[PhysAddr], store: &mut Store<B>) {
        let Ok(words) = <&mut [u64; WORDS]>::try_from(&mut *self.words) else { return };
        for paddr in addresses {
            let page = paddr.pfn().get() << COUNT_BITS;
            let (hash, mut at) = first_word(*paddr);
            loop {
                let word = &mut words[at];
                // If the page is the same, only the count is left.
                let count = *word ^ page;
                if count < MAX_COUNT {
                    *word += 1;
                    break;
                }
                if *word == 0 {
                    *word = page | 1;
                    self.pages += 1;
                    break;
                }
                if count == MAX_COUNT {
                    add(core::mem::replace(word, page | 1), self.source, store);
                    break;
                }
                at = next_word(hash, at);
            }
        }
    }

    /// Takes the memory for it, if there is room in the store's budget.
    #[cold]
    fn make_room<B: Block>(&mut self, store: &mut Store<B>) -> bool {
        let room = store.try_take_aside(WORDS * size_of::<u64>());
        if room {
            self.words = vec![0; WORDS].into();
        }
        room
    }

    /// Counts in the store what is in it.
    pub(crate) fn flush<B: Block>(&mut self, store: &mut Store<B>) {
        for word in self.words.iter_mut().filter(|word| **word > 0) {
            add(core::mem::take(word), self.source, store);
        }
        (self.pages, self.accesses) = (0, 0);
    }

    /// Counts in the store what is in it, and gives back its memory.
    pub(crate) fn end<B: Block>(&mut self, store: &mut Store<B>) {
        self.flush(store);
        store.give_back_aside(self.words.len() * size_of::<u64>());
        self.words = Box::default();
    }
}

/// Counts in the store what a word held.
fn add<B: Block>(word: u64, source: Source, store: &mut Store<B>) {
    let paddr = PhysAddr::new_truncate(word >> COUNT_BITS << PAGE_SHIFT);
    // 20 bits.
    store.add(paddr, u32::try_from(word & MAX_COUNT).unwrap_or(u32::MAX), source);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    /// What is counted of accesses, by page, once all of it is in the store.
    fn counted(batches: &[(Source, Vec<PhysAddr>)], limit: usize) -> Vec<(u64, u32)> {
        let mut store = Store::<Counters>::new(limit);
        let mut recent = Recent::new();
        for (source, addresses) in batches {
            recent.batch(&Batch::of_addresses(*source, addresses), &mut store);
        }
        recent.end(&mut store);
        store.validate();
        let pages = store.in_order().flat_map(|(folio, counters)| {
            counters.touched().map(move |(page, count)| (folio.page(page).get(), count))
        });
        pages.collect()
    }

    fn page(number: u64) -> PhysAddr {
        PhysAddr::new_truncate(number << PAGE_SHIFT)
    }

    #[test]
    fn more_pages_than_it_holds_are_counted_all_the_same() {
        // Each once, so that it stands aside, then each twice, in an order of their own.
        let count = 3 * MAX_PAGES as u64 / 2;
        let once: Vec<_> = (0..count).map(|at| page(at * 7919 % count)).collect();
        let twice: Vec<_> = once.iter().rev().chain(&once).copied().collect();
        let wanted: Vec<_> = (0..count).map(|at| (at, 3)).collect();
        let batches = [(Source::ArmSpe, once), (Source::ArmSpe, twice)];
        for limit in [usize::MAX, 64 << 20, 24 << 20] {
            assert_eq!(counted(&batches, limit), wanted, "{limit}");
        }
    }

    #[test]
    fn a_count_that_a_word_cannot_hold_goes_on() {
        let times = 2 * usize::try_from(MAX_COUNT).expect("20 bits") + 3;
        // The first page and the last, whose words look most like nobody's.
        let pages = [page(0), page((1 << 44) - 1)];
        let accesses = pages.map(|page| vec![page; times]).concat();
        let wanted =
            pages.map(|page| (page.pfn().get(), u32::try_from(2 * MAX_COUNT + 3).unwrap()));
        assert_eq!(counted(&[(Source::ArmSpe, accesses)], usize::MAX), wanted);
    }

    #[test]
    fn sources_are_told_apart() {
        let mut store = Store::<Counters>::new(usize::MAX);
        let mut recent = Recent::new();
        for source in [Source::ArmSpe, Source::Pebs, Source::ArmSpe] {
            recent.batch(&Batch::of_addresses(source, &[page(7), page(7)]), &mut store);
        }
        recent.end(&mut store);
        assert_eq!(store.by_source(), [4, 2, 0, 0, 0]);
    }
}
