//! What is known when it is published: counters as of the end of an epoch, ledger and state as of
//! that moment. It never changes: readers may keep it as long as they
//! like, and ingest goes on meanwhile.

use std::collections::BTreeMap;
use std::time::SystemTime;

use decoder::{FolioPfn, Ledger, PAGES_PER_FOLIO, Recording, TimeBase};

use super::heat::{Heat, Warm};
use crate::backing::Backing;
use crate::facts::{Facts, guests};
use crate::filter::{ChunkOrder, HotThreshold};
use crate::folio::{Directions, Times};
use crate::incomplete::Reason;
use crate::ingest::Coverage;
use crate::judging::{BlockEvidence, Conditions, Finding, MaxColdShare};
use crate::nothing_counted::nothing_counted;
use crate::page_size::PageSize;
use crate::query::Filters;
use crate::summary::by_query;
use crate::verdict::{Judge, Verdict};

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
    /// Something was left out of more blocks than can be remembered: it may be any.
    pub(super) forgets_marks: bool,
    /// The greatest cold share of a block that is proposed.
    pub(super) max_cold_share: MaxColdShare,
}

/// One block in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct LiveFolio<'a> {
    snapshot: &'a Snapshot,
    warm: &'a Warm,
}

/// What is to be said of a block.
#[derive(Clone, Debug)]
pub struct LiveFraction {
    /// By the judge.
    pub found: Finding,
    /// The sum of the present counters.
    pub accesses: u64,
    /// Pages with accesses.
    pub touched_pages: u32,
    /// It was sparse at its last two ends of cooling intervals, and is now. Never so where nothing
    /// cools.
    pub steady: bool,
    /// A policy may act on it: it is proposable, and steady.
    pub proposed: bool,
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
        (!forgotten && warm.is_counted()).then_some(LiveFolio { snapshot: self, warm })
    }

    /// The facts of the input, those that its records tell included.
    fn facts(&self) -> Facts {
        let mut facts = self.known.as_ref().map(|known| known.facts.clone()).unwrap_or_default();
        facts.account(&self.ledger);
        facts
    }

    /// A judge at this order and threshold.
    pub fn judge(&self, order: ChunkOrder, threshold: HotThreshold) -> LiveJudge {
        let conditions = Conditions {
            left_out: self.facts().leaves_out(),
            assume_complete: self.assume_complete,
            judged: self.known.as_ref().is_none_or(|known| known.page_size.is_4k()),
            least_span_ns: self.least_span_ns,
        };
        LiveJudge { judge: Judge::new(order, threshold), conditions }
    }

    /// What readers should know.
    pub fn notes(&self) -> Vec<String> {
        let Some(known) = &self.known else { return Vec::new() };
        let page_size = (known.page_size, known.page_size_assumed);
        let mut notes = self.facts().sentences(self.assume_complete, page_size);
        notes.extend(guests(&self.ledger));
        if !self.facts().leaves_out() && !self.assume_complete && known.page_size.is_4k() {
            let names: Vec<_> = self.filters.names().collect();
            let blocks = self.heat.left_out(self.interval);
            notes.extend(by_query(&names, blocks, self.forgets_marks));
        }
        if self.cooling_ns == 0 || self.time_base() != TimeBase::Ns {
            notes.push(
                "Nothing cools (--cooling-interval 0s, or an input without times), so that no \
                 verdict is steady: nothing is proposed."
                    .to_owned(),
            );
        }
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

    /// The greatest cold share of a block that is proposed.
    pub fn max_cold_share(&self) -> MaxColdShare {
        self.max_cold_share
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
    conditions: Conditions,
}

impl LiveFolio<'_> {
    /// Its first page.
    pub fn pfn(&self) -> FolioPfn {
        self.warm.pfn()
    }

    fn halvings(&self) -> u32 {
        self.warm.halvings(self.snapshot.interval)
    }

    fn case(&self) -> BlockEvidence {
        let left_out = self.snapshot.forgets_marks || self.warm.is_left_out(self.snapshot.interval);
        BlockEvidence::cooled(&self.warm.folio, self.halvings(), left_out)
    }

    /// Accesses to each page, halved as often as intervals have passed.
    pub fn counts(&self) -> [u32; PAGES_PER_FOLIO] {
        let halvings = self.halvings();
        self.warm.folio.accesses().map(|count| count.checked_shr(halvings).unwrap_or(0))
    }

    /// Accesses by direction, halved likewise.
    pub fn directions(&self) -> Directions {
        self.warm.folio.directions().halved(self.halvings())
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

    /// What is to be said of it; `None` if its counters have all been halved to 0.
    pub fn fraction(&self, judge: &LiveJudge) -> Option<LiveFraction> {
        let case = self.case();
        let found = judge.judge.find(&case, &judge.conditions)?;
        let steady = found.verdict == Some(Verdict::Sparse) && {
            let mut ends = self.warm.ends;
            ends.pass(&self.warm.folio, self.halvings());
            ends.are_sparse(&judge.judge)
        };
        Some(LiveFraction {
            accesses: case.accesses.iter().map(|count| u64::from(*count)).sum(),
            touched_pages: case.accesses.iter().map(|count| u32::from(*count > 0)).sum(),
            steady,
            proposed: steady && found.is_proposable(self.snapshot.max_cold_share),
            found,
        })
    }
}

impl Known {
    /// What follows from what the input has said so far.
    pub(super) fn of(recording: &Recording, facts: Facts, given: Option<PageSize>) -> Self {
        let (page_size, page_size_assumed) = PageSize::of(given, core::slice::from_ref(recording));
        Self { recording: recording.clone(), facts, page_size, page_size_assumed }
    }
}
