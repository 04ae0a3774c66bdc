//! From decisions to an ordered list of writes. Pure: it reads and writes nothing.
//!
//! ```text
//! decisions -> class, order -> hot chunks that the entry shall have -> room? -> writes
//! ```
//!
//! A scheme splits a folio whose entry reads below the threshold, and also a folio without an entry.
//! So what must not be split needs an entry, and of entries there are at most
//! [`MAX_ENTRIES`](crate::kernel::MAX_ENTRIES). What finds no place is said, with the reason.

use std::collections::BTreeSet;

use heatmap::{ChunkOrder, HotThreshold, Verdict};

use crate::decision::{Decision, Refusal, Standing};
use crate::entry::Wanted;
use crate::kernel::SpeFeed;

/// What a plan is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    /// Everything that is not proven to be sparse stays whole: it gets an entry that reads as
    /// kept. What is sparse gets none, which is a split already.
    #[default]
    Protect,
    /// Every folio gets an entry with the hot chunks that were observed, as in the RFC. The kernel
    /// then splits some that are only undersampled.
    Faithful,
}

/// For what a plan holds.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The schemes' target order.
    pub order: ChunkOrder,
    /// The schemes' hot threshold.
    pub threshold: HotThreshold,
    /// What it is for.
    pub aim: Aim,
}

/// What is to be done about one folio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its first page frame.
    pub folio_pfn: u64,
    /// The hot chunks that its entry will have.
    pub wanted: Wanted,
    /// The page frames to write, in this order, each as often as it stands here. None if the entry
    /// reads so already.
    pub writes: Vec<u64>,
}

impl Unplaced {
    /// It as it is said to people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Sparse => "sparse: without an entry the kernel splits it",
            Self::NoRoom => "no room: the kernel holds 1024 entries, and others come first",
            Self::TooHot => "a chunk was hot for too long: its entry has to lapse first",
            Self::Unknown => "it had an entry before, whose counters nobody can read",
            Self::Misaligned => "its page frame is no multiple of 512",
            Self::PageZero => "the kernel ignores page frame 0",
            Self::NoData => "it has no accesses",
        }
    }
}

/// Why a folio is not in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// It is to be split, and is without an entry.
    Sparse,
    /// The kernel holds [`MAX_ENTRIES`](crate::kernel::MAX_ENTRIES) entries, and others come first.
    NoRoom,
    /// A chunk was hot for so long that others cannot outshine it: its entry has to lapse first.
    TooHot,
    /// There was an entry before us, whose counters nobody can read.
    Unknown,
    /// Its number is no multiple of 512: the kernel would not find it.
    Misaligned,
    /// It needs page frame 0 alone, which the kernel ignores.
    PageZero,
    /// It was not accessed: there is nothing to say of it.
    NoData,
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is fed, in this order.
    pub steps: Vec<Step>,
    /// What is not, in the same order.
    pub unplaced: Vec<(u64, Unplaced)>,
    /// Folios that were called sparse, and are not taken for it: why.
    pub refused: Vec<(u64, Refusal)>,
    /// Folios that are only undersampled or filtered, and that the kernel will split.
    pub split_unproven: usize,
}

/// The order in which folios get their entries: those that lose most without one first.
fn class(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Hot | Verdict::Unsplittable => 0,
        Verdict::Undersampled => 1,
        Verdict::Filtered => 2,
        Verdict::Sparse => 3,
    }
}

impl Terms {
    /// The order of plans where nothing says another one.
    pub const DEFAULT_ORDER: u8 = 2;

    /// The hot chunks of the entry that a folio shall have.
    fn wanted(&self, decision: &Decision) -> Option<Wanted> {
        let mut chunks = decision.hot_chunks.clone();
        if self.aim == Aim::Protect && !chunks.is_empty() {
            // As many as it takes to be kept; the observed ones first.
            let least = (self.threshold.min_hot_chunks(self.order) as usize).max(1);
            let observed: BTreeSet<_> = chunks.iter().copied().collect();
            let others = (0..self.order.chunks() as usize).filter(|one| !observed.contains(one));
            chunks.extend(others.take(least.saturating_sub(observed.len())));
        }
        Wanted::new(self.order, chunks)
    }

    /// What to write so that the kernel, which holds `held`, does what the decisions ask for.
    /// There is room for that many more entries, at most [`MAX_ENTRIES`](crate::kernel::MAX_ENTRIES) in all. Entries of others
    /// are in `unknown`: they are left alone.
    pub fn plan(
        &self,
        decisions: &[Decision],
        held: &SpeFeed,
        unknown: &BTreeSet<u64>,
        mut room: usize,
    ) -> Plan {
        let mut order: Vec<&Decision> = decisions.iter().collect();
        order.sort_by_key(|one| (class(one.verdict), u64::MAX - one.accesses, one.folio_pfn));
        order.dedup_by_key(|one| one.folio_pfn);
        let mut plan = Plan::default();
        for decision in order {
            if let Standing::Refused(refusal) = decision.standing {
                plan.refused.push((decision.folio_pfn, refusal));
            }
            match self.step(decision, held, unknown, &mut room) {
                Ok(step) => {
                    let hot = u32::try_from(step.wanted.chunks().len()).unwrap_or(u32::MAX);
                    let is_kept = hot >= self.threshold.min_hot_chunks(self.order);
                    let is_proven = matches!(decision.verdict, Verdict::Hot | Verdict::Sparse);
                    plan.split_unproven += usize::from(!is_kept && !is_proven);
                    plan.steps.push(step);
                }
                Err(reason) => {
                    let is_proven = reason == Unplaced::Sparse;
                    plan.split_unproven +=
                        usize::from(!is_proven && class(decision.verdict) < class(Verdict::Sparse));
                    plan.unplaced.push((decision.folio_pfn, reason));
                }
            }
        }
        plan
    }

    fn step(
        &self,
        decision: &Decision,
        held: &SpeFeed,
        unknown: &BTreeSet<u64>,
        room: &mut usize,
    ) -> Result<Step, Unplaced> {
        let folio_pfn = decision.folio_pfn;
        if self.aim == Aim::Protect && decision.verdict == Verdict::Sparse {
            return Err(Unplaced::Sparse);
        }
        if !folio_pfn.is_multiple_of(512) {
            return Err(Unplaced::Misaligned);
        }
        if unknown.contains(&folio_pfn) {
            return Err(Unplaced::Unknown);
        }
        let wanted = self.wanted(decision).ok_or(Unplaced::NoData)?;
        let entry = held.entry(folio_pfn);
        let slots = match entry {
            Some(entry) => wanted.writes(entry.counts()),
            None => wanted.writes(&[0; 512]),
        };
        let slots = slots.ok_or(Unplaced::TooHot)?;
        let writes: Vec<_> = slots.into_iter().map(|slot| folio_pfn + slot as u64).collect();
        // At order 0 it is a chunk of its own; at others another page of its chunk is written.
        if writes.contains(&0) {
            return Err(Unplaced::PageZero);
        }
        if entry.is_none() {
            *room = room.checked_sub(1).ok_or(Unplaced::NoRoom)?;
        }
        Ok(Step { folio_pfn, wanted, writes })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use heatmap::hot_fraction;
    use proptest::prelude::*;

    use super::*;
    use crate::decision::Standing;
    use crate::kernel::{Fed, MAX_ENTRIES, Reading};

    const NOW: Duration = Duration::from_secs(1);

    fn terms(order: u8, aim: Aim) -> Terms {
        let order = ChunkOrder::try_new(order).expect("0 to 9");
        Terms { order, threshold: HotThreshold::default(), aim }
    }

    fn room(kernel: &SpeFeed) -> usize {
        MAX_ENTRIES - kernel.totals().0
    }

    /// Has the kernel take a plan in, as one write(2) after another.
    fn carry_out(plan: &Plan, kernel: &mut SpeFeed) {
        for pfn in plan.steps.iter().flat_map(|step| &step.writes) {
            let fed = kernel.write(format!("{pfn:#x}\n").as_bytes(), NOW);
            assert!(matches!(fed, Fed::Counted | Fed::Inserted), "{pfn:#x}: {fed:?}");
        }
    }

    fn chunks_read(kernel: &SpeFeed, pfn: u64, order: ChunkOrder) -> Vec<usize> {
        match kernel.reading(pfn, order) {
            Reading::Known(hot) => hot.bitmap.iter().collect(),
            Reading::Unknown => Vec::new(),
        }
    }

    const VERDICTS: [Verdict; 5] = [
        Verdict::Hot,
        Verdict::Sparse,
        Verdict::Undersampled,
        Verdict::Filtered,
        Verdict::Unsplittable,
    ];

    /// Decisions of folios with some counters, each once.
    fn decisions(order: u8) -> impl Strategy<Value = Vec<Decision>> {
        let order = ChunkOrder::try_new(order).expect("0 to 9");
        let folio = (
            1..5000_u64,
            prop::collection::vec((0..512_usize, 1..200_u32), 1..60),
            prop::sample::select(VERDICTS.to_vec()),
        );
        prop::collection::vec(folio, 1..40).prop_map(move |folios| {
            let mut seen = BTreeSet::new();
            let new = |(number, counts, verdict): (u64, Vec<(usize, u32)>, Verdict)| {
                let mut counters = [0; 512];
                counts.iter().for_each(|(page, count)| counters[*page] = *count);
                let hot = hot_fraction(&counters, order).expect("it has accesses");
                seen.insert(number).then(|| Decision {
                    standing: Standing::AsTold,
                    folio_pfn: number << 9,
                    verdict,
                    accesses: counters.iter().map(|count| u64::from(*count)).sum(),
                    hot_chunks: hot.bitmap.iter().collect(),
                    pid: None,
                    vaddr: None,
                })
            };
            folios.into_iter().filter_map(new).collect()
        })
    }

    proptest! {
        #[test]
        fn the_kernel_reads_what_was_planned(
            (order, first, second) in prop::sample::select(vec![0_u8, 2, 4, 8])
                .prop_flat_map(|order| (Just(order), decisions(order), decisions(order))),
            faithful in any::<bool>(),
        ) {
            let terms = terms(order, if faithful { Aim::Faithful } else { Aim::Protect });
            let mut kernel = SpeFeed::new();
            // A second plan meets what the first one has left.
            for decisions in [first, second] {
                let fresh = kernel.totals().0 == 0;
                let plan = terms.plan(&decisions, &kernel, &BTreeSet::new(), room(&kernel));
                prop_assert_eq!(plan.steps.len() + plan.unplaced.len(), decisions.len());
                if fresh {
                    let writes: usize = plan.steps.iter().map(|step| step.writes.len()).sum();
                    let chunks: usize = plan.steps.iter().map(|step| step.wanted.chunks().len()).sum();
                    prop_assert_eq!(writes, chunks, "one for each hot chunk");
                }
                carry_out(&plan, &mut kernel);
                for step in &plan.steps {
                    let read = chunks_read(&kernel, step.folio_pfn, terms.order);
                    prop_assert_eq!(&read[..], step.wanted.chunks());
                }
                for decision in &decisions {
                    let unplaced = plan.unplaced.iter().find(|(pfn, _)| *pfn == decision.folio_pfn);
                    let is_split = kernel
                        .reading(decision.folio_pfn, terms.order)
                        .is_split(terms.threshold);
                    match (terms.aim, decision.verdict, unplaced) {
                        (Aim::Protect, Verdict::Sparse, unplaced) => {
                            prop_assert_eq!(unplaced.map(|(_, why)| *why), Some(Unplaced::Sparse));
                        }
                        (Aim::Protect, _, None) => prop_assert!(!is_split, "{:?}", decision),
                        (Aim::Faithful, _, None) => {
                            let read = chunks_read(&kernel, decision.folio_pfn, terms.order);
                            prop_assert_eq!(read, decision.hot_chunks.clone());
                        }
                        (_, _, Some((_, why))) => prop_assert_eq!(*why, Unplaced::TooHot),
                    }
                }
                let again = terms.plan(&decisions, &kernel, &BTreeSet::new(), room(&kernel));
                prop_assert!(again.steps.iter().all(|step| step.writes.is_empty()), "nothing is left");
            }
        }
    }

    #[test]
    fn of_too_many_the_right_1024_are_fed_in_the_right_order() {
        let mut all = Vec::new();
        for number in 1..=3000_u64 {
            let verdict = VERDICTS[(number % 5) as usize];
            all.push(Decision {
                standing: Standing::AsTold,
                folio_pfn: number << 9,
                verdict,
                accesses: number * 7919 % 997,
                hot_chunks: vec![(number % 128) as usize],
                pid: None,
                vaddr: None,
            });
        }
        let plan =
            terms(2, Aim::Protect).plan(&all, &SpeFeed::new(), &BTreeSet::new(), MAX_ENTRIES);
        // By the sentence: hot and unsplittable, then undersampled; by accesses, then by number.
        let mut wanted: Vec<_> = all
            .iter()
            .filter(|one| matches!(one.verdict, Verdict::Hot | Verdict::Unsplittable))
            .collect();
        assert!(wanted.len() > MAX_ENTRIES, "or there is room for all of them");
        wanted.sort_by_key(|one| (std::cmp::Reverse(one.accesses), one.folio_pfn));
        let wanted: Vec<_> = wanted.iter().take(MAX_ENTRIES).map(|one| one.folio_pfn).collect();
        let fed: Vec<_> = plan.steps.iter().map(|step| step.folio_pfn).collect();
        assert_eq!(fed, wanted);
        let no_room = plan.unplaced.iter().filter(|(_, why)| *why == Unplaced::NoRoom).count();
        assert_eq!(no_room, 3000 - 600 - MAX_ENTRIES);
        let mut kernel = SpeFeed::new();
        carry_out(&plan, &mut kernel);
        assert_eq!(kernel.totals().0, MAX_ENTRIES);
    }

    #[test]
    fn what_was_there_before_takes_room_and_is_left_alone() {
        let decision = |number: u64| Decision {
            standing: Standing::AsTold,
            folio_pfn: number << 9,
            verdict: Verdict::Hot,
            accesses: 5000 - number,
            hot_chunks: vec![0, 1],
            pid: None,
            vaddr: None,
        };
        let unknown: BTreeSet<u64> = (1..MAX_ENTRIES as u64).map(|number| number << 9).collect();
        let decisions = [decision(1), decision(2000), decision(2001)];
        let plan = terms(2, Aim::Faithful).plan(&decisions, &SpeFeed::new(), &unknown, 1);
        assert_eq!(plan.unplaced, [(0x200, Unplaced::Unknown), (2001 << 9, Unplaced::NoRoom)]);
        assert_eq!(plan.steps.len(), 1);
        assert_eq!(plan.steps[0].writes, [(2000 << 9) + 1, (2000 << 9) + 5]);
    }

    #[test]
    fn what_the_kernel_would_not_find_is_not_fed() {
        let decision = |folio_pfn, hot_chunks: &[usize]| Decision {
            standing: Standing::AsTold,
            folio_pfn,
            verdict: Verdict::Hot,
            accesses: 9,
            hot_chunks: hot_chunks.to_vec(),
            pid: None,
            vaddr: None,
        };
        let decisions = [decision(0x210, &[1]), decision(0, &[0]), decision(0x400, &[])];
        let plan = terms(0, Aim::Faithful).plan(
            &decisions,
            &SpeFeed::new(),
            &BTreeSet::new(),
            MAX_ENTRIES,
        );
        assert!(plan.steps.is_empty());
        let reasons: Vec<_> = plan.unplaced.iter().map(|(_, why)| *why).collect();
        assert_eq!(reasons, [Unplaced::PageZero, Unplaced::Misaligned, Unplaced::NoData]);
        // At other orders page 0 has a neighbour in its chunk.
        let plan = terms(2, Aim::Faithful).plan(
            &decisions[1..2],
            &SpeFeed::new(),
            &BTreeSet::new(),
            MAX_ENTRIES,
        );
        assert_eq!(plan.steps[0].writes, [1]);
    }
}
