//! What a block was like at the last ends of cooling intervals, for verdicts that hold.
//!
//! One look at a block is wrong once in a thousand times. Who looks every second sees such a block
//! sooner or later, and acts on it. So a proposal asks for more: that the block was sparse at its
//! last two ends of cooling intervals, just before its counters were halved, and that it is now.

use crate::filter::{ChunkOrder, hot_fraction};
use crate::folio::Folio;
use crate::verdict::Judge;

/// Orders that can be asked for.
const ORDERS: usize = 10;

/// The evidence at one end: it answers for any order and threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    visits: u64,
    /// Hot chunks of the visits, by order.
    hot_chunks: [u16; ORDERS], // in 0..=512
}

/// The last two ends, the latest first; none that was before the block was known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends([Option<End>; 2]);

impl End {
    /// The evidence that a block holds.
    fn of(folio: &Folio) -> Self {
        let counts = folio.visits();
        let hot_chunks = |order| hot_fraction(&counts, order).map_or(0, |hot| hot.hot_chunks);
        let mut orders = ChunkOrder::all();
        Self {
            visits: counts.iter().map(|count| u64::from(*count)).sum(),
            hot_chunks: [(); ORDERS].map(|()| {
                let hot_chunks = orders.next().map_or(0, hot_chunks);
                u16::try_from(hot_chunks).unwrap_or(u16::MAX)
            }),
        }
    }

    /// Whether it proves that the block is sparse.
    fn is_sparse(&self, judge: &Judge) -> bool {
        let hot_chunks = self.hot_chunks[usize::from(judge.order().get())];
        judge.proves(self.visits, hot_chunks.into())
    }
}

impl Ends {
    /// So many intervals have ended since `folio` was like this: at each end it was halved, and
    /// nothing came between.
    pub(crate) fn pass(&mut self, folio: &Folio, halvings: u32) {
        // Only the last two are of interest.
        for number in halvings.saturating_sub(2)..halvings {
            let mut folio = folio.clone();
            folio.halve(number);
            self.0 = [Some(End::of(&folio)), self.0[0]];
        }
    }

    /// Whether the block was sparse at both.
    pub(crate) fn are_sparse(&self, judge: &Judge) -> bool {
        self.0.iter().all(|end| end.is_some_and(|end| end.is_sparse(judge)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::HotThreshold;
    use crate::folio::Block;
    use crate::marked_batch::MarkedBatch;
    use decoder::{Batch, PhysAddr, Source};

    fn folio(pages: &[(u64, u32)]) -> Folio {
        let mut folio = Folio::default();
        for (page, visits) in pages {
            let address = [PhysAddr::new_truncate(page << 12)];
            folio.add(&MarkedBatch::from(Batch::of_addresses(Source::Pebs, &address)), 0, *visits);
        }
        folio
    }

    fn judge(order: u8, threshold: u8) -> Judge {
        let order = ChunkOrder::try_new(order).unwrap();
        Judge::new(order, HotThreshold::try_new(threshold).unwrap())
    }

    #[test]
    fn two_ends_must_say_so_at_the_order_and_threshold_that_is_asked() {
        let sparse = folio(&[(3, 100), (200, 100)]);
        let mut ends = Ends::default();
        ends.pass(&sparse, 0);
        assert!(!ends.are_sparse(&judge(0, 30)), "no interval has ended");
        ends.pass(&sparse, 1);
        assert!(!ends.are_sparse(&judge(0, 30)), "one has");
        ends.pass(&sparse, 1);
        assert!(ends.are_sparse(&judge(0, 30)) && ends.are_sparse(&judge(4, 50)));
        assert!(!ends.are_sparse(&judge(9, 30)), "never split");
        // 2 of 8 chunks are 25 %.
        assert!(ends.are_sparse(&judge(6, 30)) && !ends.are_sparse(&judge(6, 20)));
    }

    #[test]
    fn ends_that_it_slept_through_are_computed() {
        let judge = judge(0, 30);
        let visits = |ends: &Ends| ends.0.map(|end| end.map(|end| end.visits));
        let warm = folio(&[(3, 100), (200, 100)]);
        let mut ends = Ends::default();
        ends.pass(&warm, 2);
        assert_eq!(visits(&ends), [Some(100), Some(200)]);
        ends.pass(&warm, 5);
        assert_eq!(visits(&ends), [Some(12), Some(24)]);
        assert!(ends.are_sparse(&judge));
        ends.pass(&warm, u32::MAX);
        assert_eq!(visits(&ends), [Some(0), Some(0)]);
        assert!(!ends.are_sparse(&judge));
    }
}
