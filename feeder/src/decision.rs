//! What is known of one folio: what everything here turns into words for a kernel.

use core::fmt;

use heatmap::{Backing, ChunkOrder, HotThreshold, MaxColdShare, Verdict, proposable};

/// For what decisions are asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Chunk order.
    pub order: ChunkOrder,
    /// Percent of hot chunks from which on a folio is hot.
    pub threshold: HotThreshold,
    /// The greatest cold share of a sparse folio that may be acted on.
    pub max_cold_share: MaxColdShare,
}

impl Asked {
    /// What is asked by default, at an order.
    pub fn at(order: ChunkOrder) -> Self {
        let (threshold, max_cold_share) = (HotThreshold::default(), MaxColdShare::default());
        Self { order, threshold, max_cold_share }
    }
}

/// What is known of one folio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its first page frame, a multiple of 512.
    pub folio_pfn: u64,
    /// What its accesses prove, and may be acted on.
    pub verdict: Verdict,
    /// Its accesses.
    pub accesses: u64,
    /// Its hot chunks at the plan's order, ascending.
    pub hot_chunks: Vec<usize>,
    /// The process of its last access that tells one.
    pub pid: Option<u32>,
    /// The start of the 2 MiB of virtual memory of its last access that tells one: where that
    /// process had it then. It may lie elsewhere now.
    pub vaddr: Option<u64>,
    /// Where its verdict comes from.
    pub standing: Standing,
}

/// Where the verdict of a decision comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is what was told.
    #[default]
    AsTold,
    /// It is what was told, of one look: nobody knows whether it is steady.
    Unverified,
    /// "Sparse" was told, and is not to be acted on.
    Refused(Refusal),
}

/// Why a sparse folio is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It was judged for another order, or for a greater hot threshold: for what is asked it may be
    /// hot.
    OtherTerms,
    /// Something was left out of it: hot pages may be missing.
    LeftOut,
    /// It is no huge page that can be split.
    Backing,
    /// Too much of what was seen lies outside of its hot chunks.
    ColdShare,
    /// It was not sparse at its last two ends of cooling intervals.
    NotSteady,
}

impl Refusal {
    /// All of them, in the order in which they are tested.
    pub const ALL: [Self; 5] =
        [Self::OtherTerms, Self::LeftOut, Self::Backing, Self::ColdShare, Self::NotSteady];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherTerms => "other_terms",
            Self::LeftOut => "left_out",
            Self::Backing => "backing",
            Self::ColdShare => "cold_share",
            Self::NotSteady => "not_steady",
        }
    }

    /// It as it is said to people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::OtherTerms => "judged for another order, or for a greater hot threshold",
            Self::LeftOut => "accesses were left out of it",
            Self::Backing => "no huge page that can be split",
            Self::ColdShare => "too much was seen outside of its hot chunks (--max-cold-share)",
            Self::NotSteady => "not sparse for long enough",
        }
    }
}

/// What a decision says of the evidence for its verdict. Older ones say less.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// How the kernel maps it.
    pub backing: Backing,
    /// Visits outside of the hot chunks, and all visits.
    pub cold: Option<(u64, u64)>,
    /// Whether it was sparse before, too.
    pub steady: Option<bool>,
    /// Whether something was left out of it.
    pub left_out: bool,
    /// Whether it was judged for other terms than those asked for.
    pub other_terms: bool,
}

impl Evidence {
    /// The verdict that may be acted on, where this one was told. "Sparse" is what folios are split
    /// and paged out by, so it is taken at its word only for what is [proposable] and not known to
    /// be unsteady; another folio is one of which nothing is proven.
    pub fn admit(&self, told: Verdict, most: MaxColdShare) -> (Verdict, Standing) {
        if told != Verdict::Sparse {
            return (told, Standing::AsTold);
        }
        let refused = |verdict, refusal| (verdict, Standing::Refused(refusal));
        let cold = self.cold.unwrap_or((0, 0));
        if self.other_terms {
            refused(Verdict::Undersampled, Refusal::OtherTerms)
        } else if self.left_out {
            refused(Verdict::Filtered, Refusal::LeftOut)
        } else if !proposable(told, self.backing, (0, 0), most) {
            refused(Verdict::Filtered, Refusal::Backing)
        } else if !proposable(told, self.backing, cold, most) {
            refused(Verdict::Undersampled, Refusal::ColdShare)
        } else {
            match self.steady {
                Some(true) => (told, Standing::AsTold),
                Some(false) => refused(Verdict::Undersampled, Refusal::NotSteady),
                None => (told, Standing::Unverified),
            }
        }
    }
}

/// How many decisions have which standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sparse folios that may be acted on.
    pub admitted: u64,
    /// Of these those of one look.
    pub unverified: u64,
    /// Sparse folios that are not acted on, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
}

impl Tally {
    /// Those of these decisions.
    pub fn of(decisions: &[Decision]) -> Self {
        let mut tally = Self::default();
        for decision in decisions {
            match decision.standing {
                Standing::Refused(refusal) => tally.refused[refusal as usize] += 1,
                standing => {
                    let sparse = u64::from(decision.verdict == Verdict::Sparse);
                    tally.admitted += sparse;
                    tally.unverified += u64::from(standing == Standing::Unverified) * sparse;
                }
            }
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { admitted, unverified, refused } = self;
        write!(f, "{admitted} sparse folios may be acted on")?;
        if *unverified > 0 {
            write!(f, ", {unverified} of them after one look")?;
        }
        for (refusal, number) in Refusal::ALL.into_iter().zip(refused) {
            if *number > 0 {
                write!(f, "; {number} are refused: {}", refusal.reason())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Evidence = Evidence {
        backing: Backing::Thp,
        cold: Some((20, 100)),
        steady: Some(true),
        left_out: false,
        other_terms: false,
    };

    #[test]
    fn only_what_is_proposable_and_steady_stays_sparse() {
        use Verdict::{Filtered, Sparse, Undersampled};
        let refused = Standing::Refused;
        let cases = [
            (GOOD, Sparse, Standing::AsTold),
            (Evidence { backing: Backing::Unknown, ..GOOD }, Sparse, Standing::AsTold),
            (Evidence { steady: None, ..GOOD }, Sparse, Standing::Unverified),
            (Evidence { cold: None, steady: None, ..GOOD }, Sparse, Standing::Unverified),
            (Evidence { steady: Some(false), ..GOOD }, Undersampled, refused(Refusal::NotSteady)),
            (
                Evidence { cold: Some((201, 1000)), ..GOOD },
                Undersampled,
                refused(Refusal::ColdShare),
            ),
            (Evidence { backing: Backing::Smaller, ..GOOD }, Filtered, refused(Refusal::Backing)),
            (Evidence { backing: Backing::Hugetlb, ..GOOD }, Filtered, refused(Refusal::Backing)),
            (Evidence { left_out: true, ..GOOD }, Filtered, refused(Refusal::LeftOut)),
            (Evidence { other_terms: true, ..GOOD }, Undersampled, refused(Refusal::OtherTerms)),
        ];
        for (evidence, verdict, standing) in cases {
            let admitted = evidence.admit(Sparse, MaxColdShare::default());
            assert_eq!(admitted, (verdict, standing), "{evidence:?}");
            for told in Verdict::ALL.into_iter().filter(|told| *told != Sparse) {
                let admitted = evidence.admit(told, MaxColdShare::default());
                assert_eq!(admitted, (told, Standing::AsTold), "{evidence:?}");
            }
        }
    }

    #[test]
    fn refusals_are_told_with_their_reasons() {
        let decision = |verdict, standing| Decision {
            folio_pfn: 0,
            verdict,
            accesses: 1,
            hot_chunks: Vec::new(),
            pid: None,
            vaddr: None,
            standing,
        };
        let decisions = [
            decision(Verdict::Sparse, Standing::AsTold),
            decision(Verdict::Sparse, Standing::Unverified),
            decision(Verdict::Hot, Standing::AsTold),
            decision(Verdict::Filtered, Standing::Refused(Refusal::Backing)),
            decision(Verdict::Undersampled, Standing::Refused(Refusal::NotSteady)),
        ];
        let tally = Tally::of(&decisions);
        assert_eq!(tally, Tally { admitted: 2, unverified: 1, refused: [0, 0, 1, 0, 1] });
        assert_eq!(
            tally.to_string(),
            "2 sparse folios may be acted on, 1 of them after one look; 1 are refused: no huge page \
             that can be split; 1 are refused: not sparse for long enough"
        );
        let names = Refusal::ALL.map(Refusal::name);
        assert_eq!(names, ["other_terms", "left_out", "backing", "cold_share", "not_steady"]);
    }
}
