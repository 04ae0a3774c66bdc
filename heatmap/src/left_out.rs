//! The blocks from which a query left out accesses: their hot pages may be missing.

use hashbrown::HashMap;

use crate::budget::Share;

/// Words of 64 blocks that are kept together.
const WORDS: usize = 64;
/// Blocks of these words, 8 GiB of memory.
const BLOCKS: u64 = 64 * WORDS as u64;
/// Bytes of them, with their place in the table.
const BYTES: usize = size_of::<[u64; WORDS]>() + 64;

/// Bytes that a set may take where the budget is used up by blocks: enough for 800 GiB of memory.
const RESERVED: usize = 64 << 10;

/// A set of blocks, by number, within the memory budget.
#[derive(Clone, Debug)]
pub(crate) struct LeftOutBlocks {
    words: HashMap<u64, Box<[u64; WORDS]>>,
    share: Share,
    /// The budget had no room for one more: any block may be missing, so that all count as in it.
    is_full: bool,
}

impl LeftOutBlocks {
    /// An empty set that takes its memory of this share of a budget.
    pub(crate) fn new(share: Share) -> Self {
        Self { words: HashMap::new(), share, is_full: false }
    }

    /// An empty set of the same budget.
    pub(crate) fn split(&self) -> Self {
        Self::new(self.share.split())
    }

    fn words(&mut self, key: u64) -> Option<&mut [u64; WORDS]> {
        if !self.words.contains_key(&key) {
            if self.is_full {
                return None;
            }
            if !self.share.try_take(BYTES) {
                // Blocks leave nothing of a budget that is used up. A little is always there.
                if self.share.used() >= RESERVED {
                    self.is_full = true;
                    return None;
                }
                self.share.take(BYTES);
            }
        }
        Some(self.words.entry(key).or_insert_with(|| Box::new([0; WORDS])))
    }

    /// Adds a block.
    pub(crate) fn insert(&mut self, number: u64) {
        let at = usize::try_from(number % BLOCKS).unwrap_or(0);
        if let Some(words) = self.words(number / BLOCKS) {
            words[at / 64] |= 1 << (at % 64);
        }
    }

    /// Whether a block is in it, or may be.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = usize::try_from(number % BLOCKS).unwrap_or(0);
        let words = self.words.get(&(number / BLOCKS));
        self.is_full || words.is_some_and(|words| words[at / 64] >> (at % 64) & 1 == 1)
    }

    /// Bytes that it takes.
    pub(crate) fn used(&self) -> usize {
        self.share.used()
    }

    /// Whether there was no room for all of them.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether no block is in it.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_full && self.words.is_empty()
    }

    /// Adds all blocks of another set.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.is_full |= other.is_full;
        for (key, others) in &other.words {
            if let Some(words) = self.words(*key) {
                words.iter_mut().zip(others.iter()).for_each(|(word, other)| *word |= other);
            }
        }
    }

    /// The blocks that are known to be in it, in ascending order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut keys: Vec<_> = self.words.keys().copied().collect();
        keys.sort_unstable();
        let mut numbers = Vec::new();
        for key in keys {
            for (at, word) in (0_u64..).zip(self.words[&key].iter()) {
                let set = (0..64).filter(|bit| word >> bit & 1 == 1);
                numbers.extend(set.map(|bit| key * BLOCKS + at * 64 + bit));
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: [u64; 6] = [0, 63, 64, 4095, 4096, (1 << 31) - 1];

    #[test]
    fn what_was_put_in_is_in_it() {
        let mut set = LeftOutBlocks::new(Share::new(1 << 20));
        assert!(set.is_empty());
        MARKED.iter().rev().for_each(|number| set.insert(*number));
        let mut sum = set.split();
        sum.insert(7);
        sum.merge(&set);
        assert_eq!(set.numbers(), MARKED);
        assert!(MARKED.iter().all(|number| sum.contains(*number)) && sum.contains(7));
        assert!(!set.contains(7) && !set.contains(1) && !set.contains(1 << 30) && !set.is_full());
    }

    #[test]
    fn without_room_every_block_counts_as_in_it() {
        let mut set = LeftOutBlocks::new(Share::new(1));
        let mut number = 0;
        while !set.is_full() {
            assert!(!set.contains(1), "{number}");
            set.insert(number * BLOCKS);
            number += 1;
        }
        assert!(set.contains(1) && number > 100, "{number}");
        assert!(set.share.used() <= RESERVED + BYTES);
        let mut other = LeftOutBlocks::new(Share::new(1 << 20));
        other.merge(&set);
        assert!(other.contains(1));
    }
}
