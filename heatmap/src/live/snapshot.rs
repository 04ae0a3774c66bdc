//! What is known at the end of an epoch. It never changes: readers may keep it as long as they
//! like, and ingest goes on meanwhile.

use std::collections::BTreeMap;
use std::time::SystemTime;

use decoder::{FolioPfn, Ledger, PAGES_PER_FOLIO, Recording, TimeBase};

use super::heat::{Heat, Warm};
use crate::backing::Backing;
use crate::facts::{Facts, guests, nothing_counted};
use crate::filter::{ChunkOrder, HotFraction, HotThreshold, hot_fraction};
use crate::folio::{Directions, Times};
use crate::incomplete::Reason;
use crate::ingest::Coverage;
use crate::page_size::PageSize;
use crate::query::Filters;
use crate::summary::least_span;
use crate::verdict::{Judge, Span, Verdict};

/// How an input is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InputState {
    /// Nothing has been read yet.
    #[default]
    Waiting,
    /// It is read.
    Running,
    /// Nothing has come for two epochs and more.
    Stalled,
    /// It has ended.
    Ended,
    /// It could not be read on, for this reason.
    Failed(String),
}

/// What the input has said of itself, and what follows.
#[derive(Clone, Debug)]
pub struct Known {
    /// The recording so far.
    pub recording: Recording,
    /// What follows for readers.
    pub facts: Facts,
    /// The kernel's base page.
    pub page_size: PageSize,
    /// Nothing tells that size: it is the usual one.
    page_size_assumed: bool,
}

/// The heat of all blocks at the end of an epoch, with its account.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows with every snapshot.
    pub sequence: u64,
    /// Number of the last epoch that has closed; none yet if `None`.
    pub epoch: Option<u64>,
    /// Its end in ns of the trace's clock.
    pub end_ns: Option<u64>,
    /// The newest time of any record.
    pub newest_ns: Option<u64>,
    /// Length of an epoch in ns.
    pub epoch_ns: u64,
    /// Time after which a block without accesses is forgotten, in ns; 0: never.
    pub ttl_ns: u64,
    /// Time after which counters are halved, in ns; 0: never.
    pub cooling_ns: u64,
    /// When it was made.
    pub made: Option<SystemTime>,
    /// The account, of all that was read and not only of what the epochs hold.
    pub ledger: Ledger,
    /// What each CPU delivered.
    pub coverage: BTreeMap<u32, Coverage>,
    /// What the input has said of itself.
    pub known: Option<Known>,
    /// How the input is doing.
    pub state: InputState,
    /// The epochs go on by wall time.
    pub wall_driven: bool,
    /// Bytes that counters take, those of this snapshot included.
    pub memory: usize,
    /// Bytes that they may take.
    pub memory_limit: usize,
    /// Blocks that had no accesses for the time to live.
    pub forgotten: u64,
    /// Cooling intervals that have ended.
    pub coolings: u64,
    pub(super) heat: Heat,
    /// The cooling interval that it ends in.
    pub(super) interval: u64,
    /// Blocks accessed before this time are forgotten.
    pub(super) forgotten_before: u64,
    pub(super) least_span_ns: Option<u64>,
    pub(super) assume_complete: bool,
    pub(super) filters: std::sync::Arc<Filters>,
}

/// One block in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct LiveFolio<'a> {
    snapshot: &'a Snapshot,
    warm: &'a Warm,
}

/// What filter and verdict say of a block.
#[derive(Clone, Debug)]
pub struct LiveFraction {
    /// The filter's answer.
    pub hot: HotFraction,
    /// The sum of the present counters.
    pub accesses: u64,
    /// The verdict; none where blocks are not judged (base pages of other sizes).
    pub verdict: Option<Verdict>,
    /// Pages with accesses.
    pub touched_pages: u32,
}

impl Snapshot {
    /// A block that has accesses.
    pub fn folio(&self, pfn: FolioPfn) -> Option<LiveFolio<'_>> {
        self.shown(self.heat.get(pfn.number())?)
    }

    /// The blocks that have accesses, from this one on, in ascending order.
    pub fn folios(&self, first: FolioPfn) -> impl Iterator<Item = LiveFolio<'_>> {
        self.heat.from(first.number()).filter_map(|warm| self.shown(warm))
    }

    /// A block, unless it is forgotten.
    fn shown<'a>(&'a self, warm: &'a Warm) -> Option<LiveFolio<'a>> {
        let forgotten = warm.folio.times.last().is_some_and(|last| last < self.forgotten_before);
        (!forgotten).then_some(LiveFolio { snapshot: self, warm })
    }

    /// The facts of the input, those that its records tell included.
    fn facts(&self) -> Facts {
        let mut facts = self.known.as_ref().map(|known| known.facts.clone()).unwrap_or_default();
        facts.account(&self.ledger);
        facts
    }

    /// A judge at this order and threshold.
    pub fn judge(&self, order: ChunkOrder, threshold: HotThreshold) -> LiveJudge {
        LiveJudge {
            judge: Judge::new(order, threshold),
            order,
            filtered: !self.assume_complete && self.facts().leaves_out(),
            judged: self.known.as_ref().is_none_or(|known| known.page_size.is_4k()),
        }
    }

    /// What readers should know.
    pub fn notes(&self) -> Vec<String> {
        let Some(known) = &self.known else { return Vec::new() };
        let page_size = (known.page_size, known.page_size_assumed);
        let mut notes = self.facts().sentences(self.assume_complete, page_size);
        notes.extend(guests(&self.ledger));
        notes
    }

    /// Why nothing was counted, if nothing was.
    pub fn reason(&self) -> Option<String> {
        let known = self.known.as_ref()?;
        (self.ledger.counted == 0).then(|| {
            nothing_counted(core::slice::from_ref(&known.recording), &self.ledger, &self.filters)
        })
    }

    /// Why the recording is not complete, as far as the input has told.
    pub fn incomplete(&self) -> &[Reason] {
        self.known.as_ref().map_or(&[], |known| &known.facts.incomplete)
    }

    /// Whether answers say something: an epoch has closed.
    pub fn is_ready(&self) -> bool {
        self.epoch.is_some()
    }

    /// Unit of the input's times.
    pub fn time_base(&self) -> TimeBase {
        self.known.as_ref().map_or(TimeBase::default(), |known| known.recording.time_base)
    }
}

/// Gives verdicts on the blocks of one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct LiveJudge {
    judge: Judge,
    order: ChunkOrder,
    /// Hot pages may be missing.
    filtered: bool,
    /// Blocks are PMD blocks here.
    judged: bool,
}

impl LiveFolio<'_> {
    /// Its first page.
    pub fn pfn(&self) -> FolioPfn {
        self.warm.pfn()
    }

    /// Accesses to each page, halved as often as intervals have passed.
    pub fn counts(&self) -> [u32; PAGES_PER_FOLIO] {
        self.warm.counts(self.snapshot.interval)
    }

    /// Accesses by direction, halved likewise.
    pub fn directions(&self) -> Directions {
        self.warm.folio.directions.halved(self.warm.halvings(self.snapshot.interval))
    }

    /// When it was accessed, since it is known.
    pub fn times(&self) -> Times {
        self.warm.folio.times
    }

    /// Time of the trace's clock since its last access, at the end of the epoch.
    pub fn age_ns(&self) -> Option<u64> {
        Some(self.snapshot.end_ns?.saturating_sub(self.times().last()?))
    }

    /// What the addresses say of its mapping.
    pub fn backing(&self) -> Backing {
        self.warm.folio.mapping.backing()
    }

    /// The greatest mapping order that the addresses allow.
    pub fn mapping_order_max(&self) -> Option<u8> {
        self.warm.folio.mapping.order_max()
    }

    /// Process and start of the 2 MiB of virtual memory of the last access that has them.
    pub fn last_seen(&self) -> (Option<u32>, Option<u64>) {
        (self.warm.folio.last_seen.pid(), self.warm.folio.last_seen.vaddr())
    }

    /// Its hot fraction and verdict; `None` if its counters have all been halved to 0.
    pub fn fraction(&self, judge: &LiveJudge) -> Option<LiveFraction> {
        let counts = self.counts();
        let hot = hot_fraction(&counts, judge.order)?;
        let accesses = counts.iter().map(|count| u64::from(*count)).sum();
        let touched = counts.iter().map(|count| u32::from(*count > 0)).sum();
        let filtered = judge.filtered || self.snapshot.filters.cuts(self.pfn());
        let verdict =
            judge.judged.then(|| judge.judge.verdict(&hot, accesses, self.span(), filtered));
        Some(LiveFraction { hot, accesses, verdict, touched_pages: touched })
    }

    fn span(&self) -> Span {
        match (self.times().span(), self.snapshot.least_span_ns) {
            (Some(span), Some(least)) if span < least => Span::Short,
            (Some(_), Some(_)) => Span::Long,
            _ => Span::NotAsked,
        }
    }
}

impl Known {
    /// What follows from what the input has said so far.
    pub(super) fn of(recording: &Recording, facts: Facts, given: Option<PageSize>) -> Self {
        let (page_size, page_size_assumed) = PageSize::of(given, core::slice::from_ref(recording));
        Self { recording: recording.clone(), facts, page_size, page_size_assumed }
    }
}

/// The least span that is asked of sparse blocks: what was given, or a part of what was seen.
pub(super) fn span_wanted(given: Option<u64>, seen: Times) -> Option<u64> {
    seen.span().map(|seen| least_span(given, seen))
}
