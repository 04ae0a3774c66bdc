//! How blocks spread over percents, in ten rows of ten percent.

use decoder::PAGES_PER_FOLIO;

/// The share of a block's 512 pages that were touched, in percent, rounded down, in 0..=100.
///
/// # Panics
/// In debug builds if `touched_pages` is above 512.
pub fn touched_percent(touched_pages: u32) -> u32 {
    debug_assert!(touched_pages <= 512, "{touched_pages} of {PAGES_PER_FOLIO} pages");
    touched_pages * 100 / 512
}

/// Blocks counted by percent: `[0, 10)`, `[10, 20)`, ... `[90, 100]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenPercentBuckets([u64; 10]);

impl TenPercentBuckets {
    /// Counts one block at `percent`, a whole percent in 0..=100.
    ///
    /// # Panics
    /// In debug builds if `percent` is above 100.
    pub fn add(&mut self, percent: u32) {
        debug_assert!(percent <= 100, "{percent} %");
        // The last row is closed: 100 % stands with 90 to 99 %.
        let last = self.0.len() - 1;
        self.0[(percent as usize / 10).min(last)] += 1;
    }

    /// The ten rows in ascending order: the percent they begin with, the percent they end
    /// before (the last one: with), and their blocks.
    pub fn rows(&self) -> impl Iterator<Item = (u32, u32, u64)> + '_ {
        (0..).step_by(10).zip(&self.0).map(|(from, folios)| (from, from + 10, *folios))
    }

    /// All blocks counted.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_percent_falls_into_its_row() {
        let mut buckets = TenPercentBuckets::default();
        for percent in 0..=100 {
            let before = buckets.clone();
            buckets.add(percent);
            let grown: Vec<_> = before.rows().zip(buckets.rows()).filter(|(a, b)| a != b).collect();
            let [((from, to, old), (_, _, new))] = grown[..] else { panic!("{grown:?}") };
            assert_eq!(new, old + 1);
            assert!(from <= percent, "{percent} in {from}..{to}");
            assert!(percent < to || (percent, to) == (100, 100), "{percent} in {from}..{to}");
        }
        assert_eq!(buckets.total(), 101);
    }

    #[test]
    fn there_are_ten_rows_and_the_last_one_is_closed() {
        let mut buckets = TenPercentBuckets::default();
        for percent in [0, 9, 10, 55, 89, 90, 99, 100] {
            buckets.add(percent);
        }
        let want = [
            (0, 10, 2),
            (10, 20, 1),
            (20, 30, 0),
            (30, 40, 0),
            (40, 50, 0),
            (50, 60, 1),
            (60, 70, 0),
            (70, 80, 0),
            (80, 90, 1),
            (90, 100, 3),
        ];
        assert_eq!(buckets.rows().collect::<Vec<_>>(), want);
    }

    #[test]
    fn touched_pages_in_percent_are_rounded_down() {
        let cases =
            [(0, 0), (1, 0), (5, 0), (6, 1), (51, 9), (52, 10), (461, 90), (511, 99), (512, 100)];
        for (pages, percent) in cases {
            assert_eq!(touched_percent(pages), percent, "{pages} pages");
        }
        for pages in 0..=512 {
            let (pages, percent) = (u64::from(pages), u64::from(touched_percent(pages)));
            assert!(percent * 512 <= pages * 100 && pages * 100 < (percent + 1) * 512);
        }
    }
}
