//! The one judge of blocks. Report, decisions, pictures and daemon bring what they know of a block
//! and of the recording, and get what is to be said of it.
//!
//! ```text
//! of a block:      accesses and visits by page, times, mapping, whether something was left out
//! of all blocks:   Conditions: what the recording left out, base page, least span
//! asked:           order and threshold
//!                    -> Finding: hot fraction, visits, cold share, verdict
//! ```
//!
//! What a policy may act on is a [proposable] block; the feeder asks the same function.

use core::fmt;
use core::str::FromStr;

use decoder::PAGES_PER_FOLIO;

use crate::backing::Backing;
use crate::filter::{HotFraction, cold_visits, hot_fraction};
use crate::folio::{Folio, Times};
use crate::verdict::{Judge, Span, Verdict};

/// What is true of all blocks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The recording left out something of any block.
    pub left_out: bool,
    /// Nothing is taken to be missing, whatever recording and query left out.
    pub assume_complete: bool,
    /// Blocks are huge pages of the kernel: its base page is 4 KiB.
    pub judged: bool,
    /// The span that is asked of sparse blocks, in ns.
    pub least_span_ns: Option<u64>,
}

/// What is known of one block.
#[derive(Clone, Debug)]
pub struct BlockEvidence {
    /// Accesses to each page.
    pub accesses: [u32; PAGES_PER_FOLIO],
    /// Visits to each page, where they differ from accesses.
    pub visits: Option<Box<[u32; PAGES_PER_FOLIO]>>,
    /// When it was accessed.
    pub times: Times,
    /// How it is mapped.
    pub backing: Backing,
    /// The query left out something of it.
    pub left_out: bool,
}

/// What is to be said of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The filter's answer, on accesses.
    pub hot: HotFraction,
    /// The sum of its visits, cooled ones included.
    pub visits: u64,
    /// Visits outside of the hot chunks, and hot chunks with one visit, which might as well not
    /// have had it; hot chunks by visits.
    pub cold_visits: u64,
    /// The verdict; none where blocks are not judged.
    pub verdict: Option<Verdict>,
    /// How it is mapped.
    pub backing: Backing,
    /// Recording or query left out something of it.
    pub left_out: bool,
}

impl Conditions {
    fn span(&self, times: &Times) -> Span {
        match (times.span(), self.least_span_ns) {
            (Some(span), Some(least)) if span < least => Span::Short,
            (Some(_), Some(_)) => Span::Long,
            _ => Span::NotAsked,
        }
    }
}

impl BlockEvidence {
    /// What a block's counters say.
    pub fn of(folio: &Folio, left_out: bool) -> Self {
        Self::cooled(folio, 0, left_out)
    }

    /// What they say once they have been halved so many times.
    pub(crate) fn cooled(folio: &Folio, halvings: u32, left_out: bool) -> Self {
        let cooled = |counts: [u32; PAGES_PER_FOLIO]| match halvings {
            0 => counts,
            _ => counts.map(|count| count.checked_shr(halvings).unwrap_or(0)),
        };
        Self {
            accesses: cooled(folio.accesses()),
            visits: folio.has_surplus().then(|| Box::new(cooled(folio.visits()))),
            times: folio.times,
            backing: folio.mapping.backing(),
            left_out,
        }
    }
}

impl Judge {
    /// What is to be said of a block; nothing if it has no accesses.
    pub fn find(&self, case: &BlockEvidence, conditions: &Conditions) -> Option<Finding> {
        let hot = hot_fraction(&case.accesses, self.order())?;
        let counts = case.visits.as_deref().unwrap_or(&case.accesses);
        let by_visits = match &case.visits {
            None => Some(hot),
            Some(visits) => hot_fraction(visits, self.order()),
        };
        let visits = counts.iter().map(|count| u64::from(*count)).sum();
        let chunks = by_visits.map_or(0, |hot| hot.hot_chunks);
        let left_out = !conditions.assume_complete && (conditions.left_out || case.left_out);
        let verdict = || self.verdict(&hot, visits, chunks, conditions.span(&case.times), left_out);
        Some(Finding {
            visits,
            cold_visits: by_visits.map_or(0, |hot| cold_visits(counts, self.order(), &hot)),
            verdict: conditions.judged.then(verdict),
            backing: case.backing,
            left_out,
            hot,
        })
    }
}

impl Finding {
    /// Cold visits in percent of all, rounded down; none without visits.
    pub fn cold_share(&self) -> Option<u32> {
        cold_share(self.cold_visits, self.visits)
    }

    /// Whether a policy may act on it, if it goes on being so.
    pub fn is_proposable(&self, most: MaxColdShare) -> bool {
        self.verdict.is_some_and(|verdict| {
            proposable(verdict, self.backing, (self.cold_visits, self.visits), most)
        })
    }
}

/// Cold visits in percent of all, rounded down; none without visits.
pub fn cold_share(cold_visits: u64, visits: u64) -> Option<u32> {
    let percent = (u128::from(cold_visits) * 100).checked_div(visits.into())?;
    u32::try_from(percent).ok()
}

/// Whether a policy may act on a block: it is sparse, it may be a huge page that can be split, and
/// little of what was seen lies outside of its hot chunks. `(cold, all)` are visits.
pub fn proposable(
    verdict: Verdict,
    backing: Backing,
    (cold, all): (u64, u64),
    most: MaxColdShare,
) -> bool {
    let splittable = matches!(backing, Backing::Thp | Backing::Unknown);
    let few = u128::from(cold) * 100 <= u128::from(most.0) * u128::from(all);
    verdict == Verdict::Sparse && splittable && few
}

/// The greatest cold share, in percent, of a block that is proposed. 20 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxColdShare(u8); // in 0..=100

/// A cold share outside 0..=100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cold share is a whole percent from 0 to 100")]
pub struct InvalidColdShare;

impl MaxColdShare {
    /// The percent.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for MaxColdShare {
    fn default() -> Self {
        Self(20)
    }
}

impl TryFrom<u32> for MaxColdShare {
    type Error = InvalidColdShare;

    fn try_from(percent: u32) -> Result<Self, InvalidColdShare> {
        let percent = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
        percent.map(Self).ok_or(InvalidColdShare)
    }
}

impl FromStr for MaxColdShare {
    type Err = InvalidColdShare;

    fn from_str(text: &str) -> Result<Self, InvalidColdShare> {
        text.parse::<u32>().map_err(|_| InvalidColdShare)?.try_into()
    }
}

impl fmt::Display for MaxColdShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{ChunkOrder, HotThreshold};

    const CONDITIONS: Conditions =
        Conditions { left_out: false, assume_complete: false, judged: true, least_span_ns: None };

    fn judge(order: u8) -> Judge {
        Judge::new(ChunkOrder::try_new(order).unwrap(), HotThreshold::default())
    }

    fn case(pages: &[(usize, u32)]) -> BlockEvidence {
        let mut accesses = [0; PAGES_PER_FOLIO];
        pages.iter().for_each(|(page, count)| accesses[*page] = *count);
        BlockEvidence {
            accesses,
            visits: None,
            times: Times::default(),
            backing: Backing::Unknown,
            left_out: false,
        }
    }

    #[test]
    fn the_cold_share_counts_what_may_be_chance() {
        // pages with visits, order -> visits, cold ones, percent
        type Row<'a> = (&'a [(usize, u32)], u8, u64, u64, u32);
        let rows: &[Row<'_>] = &[
            (&[(0, 10), (9, 10)], 0, 20, 0, 0),
            (&[(0, 30), (9, 2)], 0, 32, 2, 6),
            (&[(0, 8), (9, 1), (300, 1)], 0, 10, 2, 20),
            (&[(0, 1), (9, 1), (300, 1)], 0, 3, 3, 100),
            // In one chunk of four pages they are two visits.
            (&[(0, 8), (8, 1), (9, 1), (300, 1)], 2, 11, 1, 9),
            (&[(0, 29), (9, 1)], 0, 30, 1, 3),
        ];
        for (pages, order, visits, cold, percent) in rows {
            let found = judge(*order).find(&case(pages), &CONDITIONS).unwrap();
            assert_eq!((found.visits, found.cold_visits), (*visits, *cold), "{pages:?}");
            assert_eq!(found.cold_share(), Some(*percent), "{pages:?}");
        }
        assert_eq!(cold_share(0, 0), None);
        assert_eq!(cold_share(u64::MAX, u64::MAX), Some(100));
    }

    #[test]
    fn bursts_prove_nothing_and_are_counted_all_the_same() {
        let few = case(&[(1, 40), (2, 40), (3, 40)]);
        let found = judge(0).find(&few, &CONDITIONS).unwrap();
        assert_eq!((found.verdict, found.hot.hot_chunks), (Some(Verdict::Sparse), 3));
        let mut visits = Box::new([0; PAGES_PER_FOLIO]);
        (visits[1], visits[2]) = (2, 1);
        let found = judge(0)
            .find(&BlockEvidence { visits: Some(visits), ..few.clone() }, &CONDITIONS)
            .unwrap();
        assert_eq!(found.verdict, Some(Verdict::Undersampled));
        assert_eq!((found.hot.hot_chunks, found.visits, found.cold_visits), (3, 3, 1));
        // A query may keep none of the visits.
        let none = BlockEvidence { visits: Some(Box::new([0; PAGES_PER_FOLIO])), ..few };
        let found = judge(0).find(&none, &CONDITIONS).unwrap();
        assert_eq!((found.verdict, found.cold_share()), (Some(Verdict::Undersampled), None));
        assert!(judge(0).find(&case(&[]), &CONDITIONS).is_none());
    }

    #[test]
    fn what_was_left_out_and_what_is_no_huge_page() {
        let sparse = case(&[(1, 40), (2, 40), (3, 40)]);
        let of = |case: &BlockEvidence, conditions: Conditions| {
            let found = judge(0).find(case, &conditions).unwrap();
            (found.verdict, found.left_out)
        };
        let left_out = BlockEvidence { left_out: true, ..sparse.clone() };
        let everywhere = Conditions { left_out: true, ..CONDITIONS };
        let filtered = (Some(Verdict::Filtered), true);
        assert_eq!(of(&left_out, CONDITIONS), filtered);
        assert_eq!(of(&sparse, everywhere), filtered);
        let complete = Conditions { assume_complete: true, ..everywhere };
        assert_eq!(of(&left_out, complete), (Some(Verdict::Sparse), false));
        assert_eq!(of(&sparse, Conditions { judged: false, ..CONDITIONS }), (None, false));
        let times = Times::from_iter([5, 9]);
        let spans = [(4, Verdict::Sparse), (5, Verdict::Undersampled)];
        for (least, verdict) in spans {
            let conditions = Conditions { least_span_ns: Some(least), ..CONDITIONS };
            assert_eq!(of(&BlockEvidence { times, ..sparse.clone() }, conditions).0, Some(verdict));
        }
    }

    #[test]
    fn a_proposal_asks_for_a_sparse_huge_page_with_little_outside() {
        use Backing::{Hugetlb, Smaller, Thp, Unknown};
        let most = MaxColdShare::default();
        let of = |verdict, backing, cold| proposable(verdict, backing, (cold, 1000), most);
        assert!(of(Verdict::Sparse, Thp, 200) && of(Verdict::Sparse, Unknown, 200));
        // Nothing is rounded: 20.1 % is more than 20 %.
        assert!(!of(Verdict::Sparse, Thp, 201));
        assert!(!of(Verdict::Sparse, Smaller, 0) && !of(Verdict::Sparse, Hugetlb, 0));
        for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Sparse) {
            assert!(!of(verdict, Thp, 0), "{verdict}");
        }
        assert!("101".parse::<MaxColdShare>().is_err() && "20".parse() == Ok(most));
    }
}
