//! What is counted of a stream: open epochs, the heat of all that have closed, and what both come to.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use decoder::{Access, FOLIO_SHIFT, InputKind};

use super::clock::Clock;
use super::heat::{Accessed, Heat, Moment};
use super::settings::Settings;
use super::snapshot::{InputState, Known, Snapshot};
use crate::facts::Facts;
use crate::folio::Folio;
use crate::ingest::{Account, Located};
use crate::left_out::LeftOutBlocks;
use crate::marked_batch::MarkedBatch;
use crate::query::{Fate, Filters};
use crate::store::Store;
use crate::summary::least_span;
use crate::visits::{QueueId, Trails, Visit};

/// The part of the budget that open epochs may use.
pub(super) const OPEN_PART: usize = 4;
/// How much of the heat one eviction frees, as a part of it.
const EVICTED_PART: usize = 8;
/// Epochs without input after which wall time drives the clock.
const SILENT_EPOCHS: u32 = 2;

/// The state of counting.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) settings: Settings,
    pub(super) account: Account,
    pub(super) filters: Arc<Filters>,
    pub(super) clock: Clock,
    /// The latest accesses of the input's queues.
    pub(super) trails: Trails,
    /// Room for saying which accesses of a batch are no visits.
    pub(super) repeats: Vec<bool>,
    /// Epochs that are open and have accesses, in no order.
    pub(super) open: Vec<Open>,
    /// What open epochs are split from: it holds their budget.
    pub(super) budget: Store,
    pub(super) heat: Heat,
    /// Bytes of the heat that only the snapshot before keeps.
    pub(super) replaced: usize,
    /// The last cooling interval in which something was left out of more blocks than the budget could
    /// remember.
    pub(super) too_many_left_out: Option<u64>,
    /// Accesses that the budget had no room for.
    pub(super) evicted: u64,
    pub(super) late: u64,
    pub(super) closed: Option<u64>,
    pub(super) known: Option<Known>,
    /// The account of recordings that have ended before this one.
    pub(super) before: decoder::Ledger,
    /// What these said of themselves: there may be heat of theirs.
    pub(super) facts_before: Facts,
    pub(super) state: InputState,
    /// Since the last snapshot an epoch has closed, or the recording has said something new.
    pub(super) changed: bool,
    pub(super) sequence: u64,
    pub(super) wall_driven: bool,
    /// The part of the stream that is counted now, where several threads decode it.
    pub(super) turn: u64,
    /// One of these threads is gone: whoever waits for its parts waits in vain.
    pub(super) abandoned: bool,
    /// When something came last.
    pub(super) last_input: Option<Instant>,
    /// When the first record was taken in, and its time.
    pub(super) start: Option<(Instant, u64)>,
    pub(super) stop: bool,
}

/// An epoch that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) epoch: u64,
    pub(super) store: Store,
    pub(super) left_out: LeftOutBlocks,
}

impl Counting {
    pub(super) fn heat_limit(&self) -> usize {
        self.settings.memory - self.settings.memory / OPEN_PART
    }

    /// What belongs to an epoch.
    pub(super) fn open(&mut self, epoch: u64) -> &mut Open {
        let place = self.open.iter().position(|open| open.epoch == epoch);
        let place = place.unwrap_or_else(|| {
            let (store, left_out) = (self.budget.split(), LeftOutBlocks::new(self.budget.share()));
            self.open.push(Open { epoch, store, left_out });
            self.open.len() - 1
        });
        &mut self.open[place]
    }

    /// Something comes.
    pub(super) fn goes_on(&mut self) {
        self.last_input = Some(Instant::now());
        self.state = InputState::Running;
        self.wall_driven = false;
    }

    /// Takes in an access that has a place: decides whether it is a visit, and counts it if the
    /// query keeps it. Time passes either way.
    pub(super) fn take(&mut self, located: Located, access: &Access) {
        let Located { paddr, fate } = located;
        let time_ns = access.origin.time_ns;
        let visit = self.trails.of(QueueId::of(access)).visit(paddr, time_ns);
        if fate == Fate::Kept {
            let repeats = &[visit == Visit::No];
            Store::<Folio>::of_one(paddr, access, |batch| {
                self.count(&MarkedBatch { batch: *batch, repeats });
            });
            return;
        }
        let epoch = self.pass(time_ns);
        if fate == Fate::LeftOut {
            self.open(epoch).left_out.insert(paddr.get() >> FOLIO_SHIFT);
        }
    }

    /// Lets the time of a record pass that is counted in no block, such as a branch. Gives the epoch it belongs to.
    pub(super) fn pass(&mut self, time_ns: Option<u64>) -> u64 {
        self.goes_on();
        let before = self.clock.open();
        let epoch = match time_ns {
            Some(time) => self.clock.place(time).epoch,
            None => before.unwrap_or(0),
        };
        if self.clock.open() != before && before.is_some() {
            self.close();
        }
        epoch
    }

    /// Counts the accesses of a batch, each in its epoch.
    pub(super) fn count(&mut self, batch: &MarkedBatch<'_>) {
        self.goes_on();
        let mut start = 0;
        let mut run = None;
        for (at, touch) in batch.touches.iter().enumerate() {
            let epoch = match touch.time_ns {
                Some(time) => {
                    let before = self.clock.open();
                    let placed = self.clock.place(time);
                    self.late += u64::from(placed.late);
                    if self.clock.open() != before && before.is_some() {
                        // What came before belongs to epochs that close now.
                        self.count_run(batch, start..at, run.take());
                        start = at;
                        self.close();
                    }
                    placed.epoch
                }
                None => self.clock.open().unwrap_or(0),
            };
            if run != Some(epoch) {
                self.count_run(batch, start..at, run);
                (start, run) = (at, Some(epoch));
            }
        }
        self.count_run(batch, start..batch.touches.len(), run);
    }

    pub(super) fn count_run(
        &mut self,
        batch: &MarkedBatch<'_>,
        run: core::ops::Range<usize>,
        epoch: Option<u64>,
    ) {
        let Some(epoch) = epoch.filter(|_| !run.is_empty()) else { return };
        let part = batch.part(run.start, run.len());
        self.open(epoch).store.batch(&part);
    }

    /// Puts the counters of all epochs that have closed into the heat. What is published follows
    /// as soon as the decoder has told what the recording says, see `Live::recording_so_far`.
    pub(super) fn close(&mut self) {
        let Some(open) = self.clock.open() else { return };
        let mut closed: Vec<_> = self.open.extract_if(.., |it| it.epoch < open).collect();
        closed.sort_unstable_by_key(|it| it.epoch);
        self.replaced = 0;
        for epoch in closed {
            self.add(epoch);
        }
        if let Some(last) = open.checked_sub(1) {
            self.closed = Some(last);
            self.heat.sweep(self.moment(last));
        }
        self.changed = true;
    }

    pub(super) fn add(&mut self, open: Open) {
        let Open { epoch, store, left_out } = open;
        self.evicted += store.evicted().iter().sum::<u64>();
        let moment = self.moment(epoch);
        if left_out.is_full() {
            self.too_many_left_out = Some(moment.interval);
        }
        self.replaced += self.heat.add(accessed(store, &left_out), moment);
        let used = self.heat.bytes() + self.replaced;
        if used > self.heat_limit() {
            let wanted = used - self.heat_limit() + self.heat.bytes() / EVICTED_PART;
            self.evicted += self.heat.evict(wanted);
        }
    }

    /// When the blocks of an epoch are put in.
    pub(super) fn moment(&self, epoch: u64) -> Moment {
        Moment {
            cools: self.settings.cooling_ns > 0,
            interval: self.interval(epoch.saturating_mul(self.settings.epoch_ns)),
            forgotten_before: self.forgotten_before(epoch),
        }
    }

    /// The cooling interval of a time.
    pub(super) fn interval(&self, time_ns: u64) -> u64 {
        time_ns.checked_div(self.settings.cooling_ns).unwrap_or(0)
    }

    /// The time before which blocks had their last access that are forgotten at an epoch's end.
    pub(super) fn forgotten_before(&self, epoch: u64) -> u64 {
        match self.settings.ttl_ns {
            0 => 0,
            ttl => self.clock.end(epoch).saturating_sub(ttl),
        }
    }

    /// Whether some block may miss something that no mark tells of. Counters have 32 bits: once they
    /// have been halved so often nothing is left of what was counted by then.
    pub(super) fn forgets_marks(&self, interval: u64) -> bool {
        let since = |then: u64| interval.saturating_sub(then);
        self.too_many_left_out.is_some_and(|then| since(then) < u64::from(u32::BITS))
    }

    /// The input has ended: all epochs close.
    pub(super) fn end(&mut self) {
        if let Some(last) = self.open.iter().map(|it| it.epoch).max() {
            if self.clock.open().is_some() {
                self.clock.advance(last.saturating_add(1));
                self.close();
            } else {
                self.close_untimed();
            }
        }
        self.changed = true;
    }

    /// Without times all accesses are of one epoch, which is shown as far as it has come.
    pub(super) fn close_untimed(&mut self) {
        self.replaced = 0;
        for epoch in core::mem::take(&mut self.open) {
            self.add(epoch);
        }
        self.closed = Some(0);
        self.changed = true;
    }

    /// Lets time pass. Whether there is something new to show.
    pub(super) fn tick(&mut self) -> bool {
        if matches!(self.state, InputState::Ended | InputState::Failed(_)) {
            return false;
        }
        let epoch = Duration::from_nanos(self.settings.epoch_ns);
        if self.clock.open().is_none() && !self.open.is_empty() {
            self.close_untimed();
        }
        let silent = self.last_input.is_some_and(|last| last.elapsed() > epoch * SILENT_EPOCHS);
        // A recording that was saved before it is read is not one that goes on.
        let file = |known: &Known| known.recording.kind != InputKind::Stream;
        if silent && self.settings.live && !self.known.as_ref().is_some_and(file) {
            self.state = InputState::Stalled;
            if let Some(open) = self.clock.open() {
                self.wall_driven = true;
                self.clock.advance(open.saturating_add(1));
                self.close();
            }
            return true;
        }
        self.changed && self.known.is_some()
    }

    /// How long to wait before an access of this time is taken in.
    pub(super) fn wait(&mut self, time_ns: Option<u64>) -> Option<Duration> {
        let speed = self.settings.speed.filter(|speed| *speed > 0.0)?;
        let time_ns = time_ns?;
        let (start, first) = *self.start.get_or_insert((Instant::now(), time_ns));
        #[expect(clippy::cast_precision_loss, reason = "for waiting it is good enough")]
        let due = time_ns.saturating_sub(first) as f64 / 1e9 / speed;
        let due = Duration::try_from_secs_f64(due).ok()?;
        due.checked_sub(start.elapsed()).filter(|wait| !wait.is_zero())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut ledger = self.before;
        ledger += self.known.as_ref().map(|known| known.recording.ledger).unwrap_or_default();
        self.account.ledgers().into_iter().for_each(|part| ledger += part);
        ledger.counted -= self.evicted;
        ledger.over_budget += self.evicted;
        ledger.late += self.late;
        let end_ns = self.closed.filter(|_| self.clock.open().is_some());
        let end_ns = end_ns.map(|epoch| self.clock.end(epoch));
        let interval = end_ns.map_or(0, |end| self.interval(end));
        // How far beyond the epoch has been read by now is of no matter to its verdicts.
        let seen = self.account.length(end_ns);
        Snapshot {
            sequence: self.sequence,
            epoch: self.closed,
            end_ns,
            newest_ns: self.account.times().last(),
            epoch_ns: self.settings.epoch_ns,
            ttl_ns: self.settings.ttl_ns,
            cooling_ns: self.settings.cooling_ns,
            made: Some(SystemTime::now()),
            ledger,
            coverage: self.account.coverage(),
            known: self.known.clone(),
            state: self.state.clone(),
            wall_driven: self.wall_driven,
            memory: self.heat.bytes()
                + self.replaced
                + self.open.iter().map(|it| it.store.used() + it.left_out.used()).sum::<usize>(),
            memory_limit: self.settings.memory,
            forgotten: self.heat.forgotten,
            coolings: interval
                - self
                    .account
                    .times()
                    .first()
                    .map_or(interval, |first| self.interval(first))
                    .min(interval),
            heat: self.heat.clone(),
            interval,
            forgotten_before: match self.closed {
                Some(epoch) if end_ns.is_some() => self.forgotten_before(epoch),
                _ => 0,
            },
            least_span_ns: seen.map(|seen| least_span(self.settings.min_span_ns, seen.judged)),
            assume_complete: self.settings.assume_complete,
            filters: Arc::clone(&self.filters),
            forgets_marks: self.forgets_marks(interval),
            max_cold_share: self.settings.max_cold_share,
        }
    }
}

/// The blocks of an epoch, by number, in ascending order: those with accesses that count, and those
/// of which something was left out.
fn accessed(store: Store, left_out: &LeftOutBlocks) -> Vec<Accessed> {
    let mut blocks: Vec<_> = store
        .into_blocks()
        .into_iter()
        .map(|(number, folio)| {
            let loses = !left_out.is_empty() && left_out.contains(number);
            Accessed { number, folio: Some(folio), left_out: loses }
        })
        .collect();
    let counted = blocks.len();
    let others = left_out.numbers().into_iter().filter(|number| {
        blocks.binary_search_by_key(number, |block: &Accessed| block.number).is_err()
    });
    let others: Vec<_> =
        others.map(|number| Accessed { number, folio: None, left_out: true }).collect();
    blocks.extend(others);
    if blocks.len() > counted {
        blocks.sort_unstable_by_key(|block| block.number);
    }
    blocks
}
