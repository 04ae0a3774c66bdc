//! Blocks of a cell: which of their pages are hot, and when they begin.

use tracegen::rng::Rng;

use crate::cells::{Cell, Heat, PAGES, Pattern};

/// One block of 2 MiB.
#[derive(Clone, Debug)]
pub struct Block {
    /// Index of its cell.
    pub cell: usize,
    /// Its first visit comes after that time of the trace, in ns.
    pub begins_ns: u64,
    /// Its hot pages, ascending.
    pub pages: Box<[u16]>,
}

impl Block {
    /// A block of a cell that begins then. `number` tells those of a cell apart: even ones have their hot chunks side
    /// by side, odd ones anywhere.
    pub fn new(cell: usize, made: &Cell, number: usize, begins_ns: u64, rng: &mut Rng) -> Self {
        // A run needs adjacent pages that are hot.
        let side_by_side = number.is_multiple_of(2) || made.pattern == Pattern::Run;
        let choose = if side_by_side { neighbours } else { anywhere };
        let pages = match made.heat {
            Heat::Even { order, chunks } => {
                let hot = choose(order, chunks, rng).into_iter();
                hot.flat_map(|chunk| chunk << order..(chunk + 1) << order).collect()
            }
            Heat::OnePage { order, chunks } => {
                let hot = choose(order, chunks, rng).into_iter();
                hot.map(|chunk| (chunk << order) + below(1 << order, rng)).collect()
            }
            Heat::Few { pages } => anywhere(0, pages, rng),
        };
        Self { cell, begins_ns, pages: pages.into() }
    }
}

fn below(limit: u32, rng: &mut Rng) -> u16 {
    u16::try_from(rng.below(limit.into())).expect("numbers of pages are below 512")
}

/// Chunks from a random one on.
fn neighbours(order: u32, chunks: u32, rng: &mut Rng) -> Vec<u16> {
    let first = below((PAGES >> order) - chunks + 1, rng);
    (first..).take(chunks as usize).collect()
}

/// Random chunks, ascending.
fn anywhere(order: u32, chunks: u32, rng: &mut Rng) -> Vec<u16> {
    let mut all: Vec<u16> = (0..).take((PAGES >> order) as usize).collect();
    rng.shuffle(&mut all);
    all.truncate(chunks as usize);
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_pages_are_those_of_the_truth() {
        let rng = &mut Rng::new(7);
        let rows = [
            (Heat::Even { order: 0, chunks: 154 }, 154, 154),
            (Heat::Even { order: 4, chunks: 4 }, 64, 4),
            (Heat::OnePage { order: 4, chunks: 10 }, 10, 10),
            (Heat::Few { pages: 3 }, 3, 3),
        ];
        for (heat, pages, chunks) in rows {
            let order = match heat {
                Heat::Even { order, .. } | Heat::OnePage { order, .. } => order,
                Heat::Few { .. } => 0,
            };
            for number in 0..20 {
                let cell = Cell { heat, rate: 3, pattern: Pattern::Single };
                let block = Block::new(0, &cell, number, 0, rng);
                assert!(block.pages.is_sorted_by(|a, b| a < b), "{block:?}");
                assert!(block.pages.iter().all(|page| u32::from(*page) < PAGES));
                assert_eq!(block.pages.len(), pages);
                let mut hot: Vec<_> = block.pages.iter().map(|page| page >> order).collect();
                hot.dedup();
                assert_eq!(hot.len(), chunks);
                if number % 2 == 0 && heat != (Heat::Few { pages: 3 }) {
                    assert!(hot.windows(2).all(|pair| pair[1] - pair[0] == 1), "{hot:?}");
                }
            }
        }
    }
}
