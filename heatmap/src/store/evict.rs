//! What goes when the memory budget is used up.

use super::{Entry, GONE, Store};
use crate::folio::Block;
use crate::index::Index;
use crate::slab::Slab;

/// How much of a store one eviction frees, as a part of it.
const EVICTED_PART: usize = 8;

impl<B: Block> Store<B> {
    /// Frees a part of the budget, and room for so many bytes. The block `keep` stays.
    #[cold]
    pub(super) fn evict(&mut self, room: usize, keep: u64) {
        let wanted = self.share.over(room) + self.share.used() / EVICTED_PART;
        let mut words: Vec<u64> = Vec::with_capacity(self.entries.len());
        words.extend(self.entries.iter().map(|entry| entry.block.total()));
        let middle = words.len() / 2;
        let median = *words.select_nth_unstable(middle).1;
        words.clear();
        // By heat against the median, then by last use; the place is for finding it.
        words.extend(self.entries.iter().enumerate().map(|(place, entry)| {
            let class = entry.block.total().cmp(&median) as i8 + 1;
            u64::from(class.unsigned_abs()) << 62 | u64::from(entry.last_use) << 29 | place as u64
        }));
        words.sort_unstable();
        let mut freed = 0;
        for word in words {
            let entry = self.entries.at_mut(Index::place(word));
            if entry.number == keep {
                continue;
            }
            if freed >= wanted {
                break;
            }
            let heap = entry.heap_bytes();
            for (sum, count) in self.evicted.iter_mut().zip(entry.by_source()) {
                *sum += count;
            }
            (entry.number, entry.block, entry.others) = (GONE, B::default(), None);
            self.share.give_back(heap);
            freed += heap + Self::PIECE_BYTES / Slab::<Entry<B>>::PIECE;
        }
        self.close_gaps();
    }

    /// Moves blocks from the end to where others have gone.
    fn close_gaps(&mut self) {
        let pieces = self.entries.pieces();
        let mut place = 0;
        while place < self.entries.len() {
            if self.entries.at(place).number != GONE {
                place += 1;
                continue;
            }
            let last = self.entries.pop().expect("place is in it");
            if last.number != GONE {
                *self.entries.at_mut(place) = last;
            }
        }
        self.share.give_back((pieces - self.entries.pieces()) * Self::PIECE_BYTES);
        self.index.clear();
        let numbers = self.entries.iter().map(|entry| entry.number);
        numbers.enumerate().for_each(|(place, number)| self.index.insert(number, place));
    }
}
