//! One entry of the kernel's table: which pages to write so that it reads as wanted.
//!
//! A chunk is hot if its sum is at least a tenth of the greatest sum, rounded down, and at least 1.
//! Counters never fall. So with `peak` the greatest sum there will be and `cold` the greatest of the
//! chunks that are to be cold, an entry reads as wanted exactly if
//!
//! ```text
//! max(peak / 10, 1) >  cold               that is peak >= 10 * (cold + 1), unless cold is 0
//! max(peak / 10, 1) <= each hot chunk
//! ```
//!
//! Both get dearer with `peak`: the least one that is possible is the best. In a fresh entry it is
//! 1, and one write for each hot chunk suffices.

use decoder::PAGES_PER_FOLIO;
use heatmap::ChunkOrder;

/// Most writes to one entry in one plan. More are needed only where a chunk that was hot for long
/// has to be outshone; to let the entry lapse is then the better way.
pub const MAX_WRITES: u64 = 4096;

/// The hot chunks that an entry shall read as having, ascending and each once, at an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    order: ChunkOrder,
    chunks: Vec<usize>, // at least one, ascending, each below order.chunks()
}

impl Wanted {
    /// These chunks. `None` if there are none, or one is none of this order: no entry reads so.
    pub fn new(order: ChunkOrder, mut chunks: Vec<usize>) -> Option<Self> {
        chunks.sort_unstable();
        chunks.dedup();
        let last = *chunks.last()?;
        (last < order.chunks() as usize).then_some(Self { order, chunks })
    }

    /// The chunks.
    pub fn chunks(&self) -> &[usize] {
        &self.chunks
    }

    /// The fewest writes after which an entry with these counters reads as wanted: slots in the
    /// order of their chunks, as often as each is written. `None` if that takes too many.
    pub fn writes(&self, counts: &[u32; PAGES_PER_FOLIO]) -> Option<Vec<usize>> {
        let sums = self.sums(counts);
        let is_hot = |chunk: usize| self.chunks.binary_search(&chunk).is_ok();
        let cold = (0..sums.len()).filter(|chunk| !is_hot(*chunk)).map(|chunk| sums[chunk]).max();
        let outshines = match cold {
            None | Some(0) => 1,
            Some(cold) => (cold + 1).checked_mul(10)?,
        };
        // The hottest one becomes the peak: it lacks least.
        let hottest =
            *self.chunks.iter().max_by_key(|chunk| (sums[**chunk], usize::MAX - **chunk))?;
        let peak = sums[hottest].max(outshines);
        let threshold = (peak / 10).max(1);
        let missing = |chunk: usize| {
            let least = if chunk == hottest { peak } else { threshold };
            least.saturating_sub(sums[chunk])
        };
        let all: u64 = self.chunks.iter().map(|chunk| missing(*chunk).min(MAX_WRITES + 1)).sum();
        (all <= MAX_WRITES).then(|| {
            let times = |chunk: usize| usize::try_from(missing(chunk)).unwrap_or(usize::MAX);
            let slots = self.chunks.iter();
            slots.flat_map(|chunk| std::iter::repeat_n(self.slot(*chunk), times(*chunk))).collect()
        })
    }

    /// The slot to write so that an entry that reads as wanted lives on and still does: of its hot
    /// chunks the one with the fewest writes, so that they stay alike.
    pub fn renewal(&self, counts: &[u32; PAGES_PER_FOLIO]) -> usize {
        let sums = self.sums(counts);
        let least = self.chunks.iter().min_by_key(|chunk| (sums[**chunk], **chunk));
        least.map_or(1, |chunk| self.slot(*chunk))
    }

    /// The slot of a chunk that is written: its second page, since page 0 of the first folio cannot
    /// be fed; where a chunk is one page, that.
    fn slot(&self, chunk: usize) -> usize {
        let pages = self.order.pages_per_chunk();
        chunk * pages + usize::from(pages > 1)
    }

    fn sums(&self, counts: &[u32; PAGES_PER_FOLIO]) -> Vec<u64> {
        let chunks = counts.chunks_exact(self.order.pages_per_chunk());
        chunks.map(|pages| pages.iter().map(|count| u64::from(*count)).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(order: u8) -> ChunkOrder {
        ChunkOrder::try_new(order).expect("0 to 9")
    }

    /// The chunks of these sums that the kernel takes for hot: the sentences of its source.
    fn hot(sums: &[u64]) -> impl Iterator<Item = usize> {
        let peak = sums.iter().copied().max().unwrap_or(0);
        let threshold = std::cmp::max(peak / 10, 1);
        (0..sums.len()).filter(move |chunk| sums[*chunk] >= threshold)
    }

    fn read(counts: &[u32; PAGES_PER_FOLIO], order: ChunkOrder) -> Vec<usize> {
        let sum = |chunk: usize| -> u64 {
            let pages = 1 << order.get();
            (0..pages).map(|page| u64::from(counts[chunk * pages + page])).sum()
        };
        hot(&(0..512_usize >> order.get()).map(sum).collect::<Vec<_>>()).collect()
    }

    fn written(mut counts: [u32; PAGES_PER_FOLIO], slots: &[usize]) -> [u32; PAGES_PER_FOLIO] {
        slots.iter().for_each(|slot| counts[*slot] += 1);
        counts
    }

    /// The least number of writes to any of four chunks, by trying all, one more at a time.
    fn tried(sums: [u64; 4], wanted: &[usize]) -> u64 {
        for writes in 0.. {
            for first in 0..=writes {
                for second in 0..=writes - first {
                    for third in 0..=writes - first - second {
                        let added = [first, second, third, writes - first - second - third];
                        let sums = core::array::from_fn::<_, 4, _>(|at| sums[at] + added[at]);
                        if hot(&sums).eq(wanted.iter().copied()) {
                            return writes;
                        }
                    }
                }
            }
        }
        unreachable!("the numbers never end")
    }

    #[test]
    fn a_fresh_entry_takes_one_write_for_each_hot_chunk() {
        for number in 0..=9 {
            let order = order(number);
            let chunks: Vec<_> =
                (0..order.chunks() as usize).filter(|chunk| chunk % 3 == 0).collect();
            let wanted = Wanted::new(order, chunks.clone()).expect("there are some");
            let slots = wanted.writes(&[0; PAGES_PER_FOLIO]).expect("few");
            assert_eq!(slots.len(), chunks.len());
            assert_eq!(read(&written([0; PAGES_PER_FOLIO], &slots), order), chunks);
            assert!(number == 0 || !slots.contains(&0), "page 0 of folio 0 cannot be fed");
        }
    }

    #[test]
    fn renewing_changes_nothing_however_often() {
        let wanted = Wanted::new(order(4), vec![3, 9, 20, 31]).expect("there are some");
        let fresh = wanted.writes(&[0; PAGES_PER_FOLIO]).expect("few");
        let mut counts = written([0; PAGES_PER_FOLIO], &fresh);
        for _ in 0..10_000 {
            counts[wanted.renewal(&counts)] += 1;
            let sums: Vec<_> = wanted.chunks.iter().map(|chunk| counts[chunk * 16 + 1]).collect();
            assert!(sums.iter().max().unwrap() - sums.iter().min().unwrap() <= 1, "{sums:?}");
            assert_eq!(read(&counts, order(4)), wanted.chunks);
        }
    }

    /// Four chunks with up to two accesses each, and all that can be wanted of them.
    #[test]
    fn no_fewer_writes_would_do() {
        for held in 0..3_usize.pow(4) {
            let held = [1, 3, 9, 27].map(|place| held / place % 3);
            let mut counts = [0; PAGES_PER_FOLIO];
            for (chunk, count) in held.into_iter().enumerate() {
                counts[chunk * 128] = u32::try_from(count).expect("below 3");
            }
            for wanted in 1..1 << 4 {
                let chunks = (0..4).filter(|chunk| wanted >> chunk & 1 == 1).collect();
                let wanted = Wanted::new(order(7), chunks).expect("there are some");
                let slots = wanted.writes(&counts).expect("few").len() as u64;
                let least = tried(held.map(|count| count as u64), &wanted.chunks);
                assert_eq!(slots, least, "{held:?}, {:?}", wanted.chunks);
            }
        }
    }

    #[test]
    fn what_would_take_too_many_writes_is_not_tried() {
        let mut counts = [0; PAGES_PER_FOLIO];
        counts[0] = 1000;
        let wanted = Wanted::new(order(2), vec![5]).expect("there are some");
        assert_eq!(wanted.writes(&counts), None);
        counts[0] = u32::MAX;
        assert_eq!(wanted.writes(&counts), None);
        assert_eq!(Wanted::new(order(2), vec![]), None);
        assert_eq!(Wanted::new(order(2), vec![128]), None);
    }

    proptest! {
        #[test]
        fn an_entry_reads_as_wanted_whatever_it_held(
            number in 0..=9_u8,
            counts in prop::collection::vec((0..512_usize, 1..30_u32), 0..20),
            chunks in prop::collection::vec(0..512_usize, 1..40),
        ) {
            let order = order(number);
            let mut held = [0; PAGES_PER_FOLIO];
            counts.iter().for_each(|(slot, count)| held[*slot] = *count);
            let chunks = chunks.into_iter().map(|chunk| chunk >> number).collect();
            let wanted = Wanted::new(order, chunks).expect("there are some");
            // At high orders many pages add up, and outshining them can be too much.
            if let Some(slots) = wanted.writes(&held) {
                prop_assert_eq!(read(&written(held, &slots), order), wanted.chunks);
            } else {
                prop_assert!(held.iter().map(|count| u64::from(*count)).sum::<u64>() * 10 + 10 > MAX_WRITES);
            }
        }
    }
}
