//! From places in memory to the filters that make a scheme act there and nowhere else. Pure.
//!
//! ```text
//! places of folios -> merged ranges -> at most so many, the largest first -> filters
//! ```
//!
//! Addresses and sizes are in bytes.

use std::collections::BTreeMap;

use anyhow::ensure;

/// Bytes of a base page.
pub const PAGE: u64 = 4096;
/// Bytes of a folio.
pub const FOLIO: u64 = 512 * PAGE;

/// Some memory, from its first byte to the one behind its last; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last.
    pub end: u64,
}

/// A filter by address of a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What matches it.
    pub range: Range,
    /// Whether the scheme acts on what matches. Where kernels do not know this, it is never true.
    pub allow: bool,
}

/// Ranges, chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// In ascending order; no two touch each other.
    pub ranges: Vec<Range>,
    /// The folios in them, by the PFN of the first page.
    pub folios: Vec<u64>,
    /// Those that would have needed more ranges.
    pub beyond: Vec<u64>,
}

impl Range {
    /// Its bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Never: it stands beside [`Range::len`].
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether all of another range is in it.
    pub fn contains(self, other: Range) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// Merges folios that lie side by side and chooses at most `most` ranges: those with most bytes, of
/// equal ones those with the lowest address. `places` tells the folio by its first byte.
pub fn choose(places: &BTreeMap<u64, u64>, most: usize) -> Chosen {
    let mut merged: Vec<(Range, Vec<u64>)> = Vec::new();
    for (start, folio) in places {
        let end = start.saturating_add(FOLIO);
        match merged.last_mut() {
            Some((range, folios)) if *start <= range.end => {
                range.end = end;
                folios.push(*folio);
            }
            _ => merged.push((Range { start: *start, end }, vec![*folio])),
        }
    }
    merged.sort_by_key(|(range, _)| (u64::MAX - range.len(), range.start));
    let beyond = merged.split_off(most.min(merged.len()));
    merged.sort_by_key(|(range, _)| *range);
    Chosen {
        ranges: merged.iter().map(|(range, _)| *range).collect(),
        folios: merged.into_iter().flat_map(|(_, folios)| folios).collect(),
        beyond: beyond.into_iter().flat_map(|(_, folios)| folios).collect(),
    }
}

/// The filters that let a scheme act in these ranges only: at most one more than there are ranges.
///
/// A kernel that knows `allow` is told what to allow, then to reject everything: what matches no
/// filter is acted on by some of them. One that does not is told to reject the gaps, since it acts
/// on what no filter rejects.
pub fn filters(ranges: &[Range], knows_allow: bool) -> Vec<Filter> {
    let everything = Range { start: 0, end: u64::MAX };
    if knows_allow {
        let allowed = ranges.iter().map(|range| Filter { range: *range, allow: true });
        return allowed.chain([Filter { range: everything, allow: false }]).collect();
    }
    let starts = [0].into_iter().chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain([u64::MAX]);
    let gaps = starts.zip(ends).map(|(start, end)| Range { start, end });
    gaps.filter(|gap| !gap.is_empty()).map(|range| Filter { range, allow: false }).collect()
}

/// Where a trial of filters looks: in the ranges, and in the memory before, between and behind them.
///
/// No two touch each other, or DAMON would merge them. It would split them again by filters, but
/// act on one part in each interval only, and count the bytes of all.
pub fn trial(ranges: &[Range]) -> Vec<Range> {
    let mut looked_at = Vec::new();
    let mut free = ranges.first().map_or(0, |first| first.start.saturating_sub(FOLIO));
    for range in ranges {
        looked_at.push(Range { start: free, end: range.start.saturating_sub(PAGE) });
        looked_at.push(*range);
        free = range.end.saturating_add(PAGE);
    }
    looked_at.push(Range { start: free, end: free.saturating_add(FOLIO) / PAGE * PAGE });
    looked_at.retain(|range| !range.is_empty());
    looked_at
}

/// Checks what kernels accept in silence and stumble over later.
///
/// # Errors
/// A range is empty, is not made of whole pages, or does not lie behind the one before it.
pub fn check(ranges: &[Range]) -> anyhow::Result<()> {
    let mut free = 0;
    for range in ranges {
        let Range { start, end } = *range;
        ensure!(start < end, "range {start:#x} to {end:#x} is empty");
        ensure!(
            start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE),
            "range {start:#x} to {end:#x} is not made of whole pages"
        );
        ensure!(free <= start, "range {start:#x} to {end:#x} lies before {free:#x}");
        free = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether a kernel's scheme acts on the page at an address, by the rules of its version.
    fn is_acted_on(page: u64, filters: &[Filter], knows_allow: bool) -> bool {
        let matches =
            |filter: &&Filter| filter.range.contains(Range { start: page, end: page + PAGE });
        let first = filters.iter().find(matches);
        // Without `allow` any filter that matches rejects; what none matches is acted on.
        first.is_none_or(|filter| knows_allow && filter.allow)
    }

    fn places(numbers: &[u64]) -> BTreeMap<u64, u64> {
        numbers.iter().map(|number| (number * FOLIO, number << 9)).collect()
    }

    #[test]
    fn neighbours_are_one_range_and_the_largest_come_first() {
        let chosen = choose(&places(&[9, 1, 5, 6, 3, 11, 12, 13]), 2);
        let range = |first, behind| Range { start: first * FOLIO, end: behind * FOLIO };
        assert_eq!(chosen.ranges, [range(5, 7), range(11, 14)]);
        assert_eq!(chosen.folios, [5 << 9, 6 << 9, 11 << 9, 12 << 9, 13 << 9]);
        assert_eq!(chosen.beyond, [1 << 9, 3 << 9, 9 << 9], "of equal ones the lowest first");
        assert_eq!(choose(&places(&[9, 1, 5]), 2).ranges, [range(1, 2), range(5, 6)]);
        assert_eq!(choose(&places(&[]), 2), Chosen::default());
    }

    #[test]
    fn what_a_kernel_would_stumble_over_is_refused() {
        let range = |start, end| Range { start, end };
        assert!(check(&[range(0, 4096), range(4096, 8192)]).is_ok());
        for wrong in [
            &[range(8192, 4096)][..],
            &[range(4096, 4096)],
            &[range(1, 4096)],
            &[range(0, 4097)],
            &[range(0, 8192), range(4096, 12288)],
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_scheme_acts_in_the_ranges_and_nowhere_else(
            numbers in prop::collection::btree_set(0..40_u64, 0..30),
            most in 1..20_usize,
            knows_allow in any::<bool>(),
        ) {
            let numbers: Vec<_> = numbers.into_iter().collect();
            let chosen = choose(&places(&numbers), most);
            prop_assert_eq!(chosen.folios.len() + chosen.beyond.len(), numbers.len());
            prop_assert!(check(&chosen.ranges).is_ok());
            let filters = filters(&chosen.ranges, knows_allow);
            prop_assert!(filters.len() <= most + 1);
            let trial = trial(&chosen.ranges);
            prop_assert!(check(&trial).is_ok());
            prop_assert!(trial.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(chosen.ranges.iter().all(|range| trial.contains(range)));
            let others = trial.iter().filter(|range| !chosen.ranges.contains(range)).count();
            let is_at_start = chosen.ranges.first().is_none_or(|first| first.start == 0);
            prop_assert_eq!(others, chosen.ranges.len() + usize::from(!is_at_start || chosen.ranges.is_empty()));
            prop_assert!(filters.iter().all(|filter| !filter.range.is_empty()));
            for page in (0..41 * FOLIO).step_by(1 << 19) {
                let is_wanted = chosen.folios.contains(&(page / FOLIO * 512));
                prop_assert_eq!(is_acted_on(page, &filters, knows_allow), is_wanted, "{:#x}", page);
            }
        }
    }
}
