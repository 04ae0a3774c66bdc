//! Counting a stream that goes on: epochs, cooling, forgetting, and what readers see of it.
//!
//! ```text
//! access -> clock: its epoch -> counters of that epoch (at most two are open)
//! an epoch closes: its counters -> heat (halved up to there) -> snapshot -> readers
//! ```
//!
//! Whoever counts owns the open epochs; readers have snapshots, which do not change. Neither
//! waits for the other. Several threads that decode a stream count in turn, in its order, since
//! which epoch an access belongs to depends on those before it.

mod clock;
mod ends;
mod hands;
mod heat;
mod part;
mod snapshot;
#[cfg(test)]
mod tests;

use core::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use decoder::{
    Access, Batch, Detail, EventIndex, FOLIO_SHIFT, InputKind, Origin, Recording, Shard, Sink,
};

use crate::counted::Counted;
use crate::facts::Facts;
use crate::folio::{Block, Folio};
use crate::ingest::{Account, Located};
use crate::judging::MaxColdShare;
use crate::left_out::LeftOutBlocks;
use crate::page_size::PageSize;
use crate::query::{Fate, Filters};
use crate::store::Store;
use crate::summary::least_span;
use crate::visits::{QueueId, Trails, Visit};
use clock::Clock;
use heat::{Accessed, Heat, Moment};
use part::{Held, Part};
pub use snapshot::{InputState, Known, LiveFolio, LiveFraction, LiveJudge, Snapshot};

/// The part of the budget that open epochs may use.
const OPEN_PART: usize = 4;
/// How much of the heat one eviction frees, as a part of it.
const EVICTED_PART: usize = 8;
/// Epochs without input after which wall time drives the clock.
const SILENT_EPOCHS: u32 = 2;

/// How to count.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Length of an epoch in ns, at least 1.
    pub epoch_ns: u64,
    /// Time after which all counters are halved, in ns; 0: never.
    pub cooling_ns: u64,
    /// Time without accesses after which a block is forgotten, in ns; 0: never.
    pub ttl_ns: u64,
    /// Bytes that counters may use, what readers see included.
    pub memory: usize,
    /// Time that the accesses of a sparse block must span.
    pub min_span_ns: Option<u64>,
    /// Nothing is taken to be missing.
    pub assume_complete: bool,
    /// The greatest cold share of a block that is proposed.
    pub max_cold_share: MaxColdShare,
    /// The kernel's base page, if it was given.
    pub page_size: Option<PageSize>,
    /// The trace's time against wall time at which accesses are taken in; `None`: as they come.
    pub speed: Option<f64>,
    /// The input comes as it is recorded, so that silence means that time passes.
    pub live: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epoch_ns: 1_000_000_000,
            cooling_ns: 10_000_000_000,
            ttl_ns: 30_000_000_000,
            memory: usize::MAX,
            min_span_ns: None,
            assume_complete: false,
            max_cold_share: MaxColdShare::default(),
            page_size: None,
            speed: None,
            live: false,
        }
    }
}

/// Where the latest snapshot is found, without waiting for anybody.
pub type Latest = Arc<ArcSwap<Snapshot>>;

/// Counts a stream. Clones count into the same.
#[derive(Clone, Debug)]
pub struct Live {
    shared: Arc<Shared>,
    latest: Latest,
    /// Of one of several threads that decode a stream: what it has to count and cannot yet.
    part: Option<Part>,
}

struct Shared {
    counting: Mutex<Counting>,
    /// Is called with the number of each new snapshot.
    published: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
    /// A part of the stream has ended.
    part_ended: Condvar,
}

#[derive(Debug)]
struct Counting {
    settings: Settings,
    account: Account,
    filters: Arc<Filters>,
    clock: Clock,
    /// The latest accesses of the input's queues.
    trails: Trails,
    /// Room for saying which accesses of a batch are no visits.
    repeats: Vec<bool>,
    /// Epochs that are open and have accesses, in no order.
    open: Vec<Open>,
    /// What open epochs are split from: it holds their budget.
    budget: Store,
    heat: Heat,
    /// Bytes of the heat that only the snapshot before keeps.
    replaced: usize,
    /// The last cooling interval in which something was left out of more blocks than the budget could
    /// remember.
    too_many_left_out: Option<u64>,
    /// Accesses that the budget had no room for.
    evicted: u64,
    late: u64,
    closed: Option<u64>,
    known: Option<Known>,
    /// The account of recordings that have ended before this one.
    before: decoder::Ledger,
    /// What these said of themselves: there may be heat of theirs.
    facts_before: Facts,
    state: InputState,
    /// Since the last snapshot an epoch has closed, or the recording has said something new.
    changed: bool,
    sequence: u64,
    wall_driven: bool,
    /// The part of the stream that is counted now, where several threads decode it.
    turn: u64,
    /// One of these threads is gone: whoever waits for its parts waits in vain.
    abandoned: bool,
    /// When something came last.
    last_input: Option<Instant>,
    /// When the first access was taken in, and its time.
    start: Option<(Instant, u64)>,
    stop: bool,
}

/// An epoch that is open.
#[derive(Debug)]
struct Open {
    epoch: u64,
    store: Store,
    left_out: LeftOutBlocks,
}

impl Live {
    /// Counts what `filters` keep.
    pub fn new(settings: Settings, filters: Filters) -> Self {
        let filters = Arc::new(filters);
        let counting = Counting {
            account: Account::new(Arc::clone(&filters)),
            filters,
            clock: Clock::new(settings.epoch_ns),
            trails: Trails::default(),
            repeats: Vec::new(),
            open: Vec::new(),
            too_many_left_out: None,
            budget: Store::new(settings.memory / OPEN_PART),
            heat: Heat::default(),
            replaced: 0,
            evicted: 0,
            late: 0,
            closed: None,
            known: None,
            before: decoder::Ledger::default(),
            facts_before: Facts::default(),
            state: InputState::Waiting,
            changed: false,
            sequence: 0,
            wall_driven: false,
            turn: 0,
            abandoned: false,
            last_input: None,
            start: None,
            stop: false,
            settings,
        };
        let latest = Arc::new(ArcSwap::from_pointee(counting.snapshot()));
        let shared = Shared {
            counting: Mutex::new(counting),
            published: OnceLock::new(),
            part_ended: Condvar::new(),
        };
        Self { shared: Arc::new(shared), latest, part: None }
    }

    /// Where readers find the latest snapshot.
    pub fn latest(&self) -> Latest {
        Arc::clone(&self.latest)
    }

    /// Has somebody told the sequence number of each new snapshot from now on. Ignored if there is
    /// somebody already.
    pub fn when_published(&self, tell: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.shared.published.set(Box::new(tell));
    }

    /// Shows what is known now.
    fn publish(&self, counting: &mut Counting) {
        counting.sequence += 1;
        counting.changed = false;
        self.latest.store(Arc::new(counting.snapshot()));
        if let Some(tell) = self.shared.published.get() {
            tell(counting.sequence);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counting> {
        // A thread that panics while it counts ends the program.
        self.shared.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how the input is doing, and shows it.
    pub fn set_state(&self, state: InputState) {
        let mut counting = self.lock();
        counting.state = state;
        self.publish(&mut counting);
    }

    /// Another recording follows, of the same clock: what it says is added to what was said.
    pub fn next_recording(&self) {
        let mut counting = self.lock();
        // Also where the one before ended in an error.
        counting.turn = 0;
        counting.trails = Trails::default();
        if let Some(known) = counting.known.take() {
            counting.before += known.recording.ledger;
            counting.facts_before = known.facts;
        }
    }

    /// Has the input read no further.
    pub fn stop(&self) {
        self.lock().stop = true;
    }

    /// Lets time pass where nothing comes; to be called about once an epoch.
    pub fn tick(&self) {
        let mut counting = self.lock();
        if counting.tick() {
            self.publish(&mut counting);
        }
    }

    /// Whether all that stands before has been counted, so that what comes can be; if not, it is
    /// to be held. Counts what was held first.
    fn is_its_turn(&mut self) -> bool {
        let Some(part) = &self.part else { return true };
        if self.lock().turn != part.number {
            if !part.is_full() {
                return false;
            }
            self.wait_for_turn();
        }
        self.count_held();
        true
    }

    fn wait_for_turn(&self) {
        let Some(part) = &self.part else { return };
        let waiting = |counting: &mut Counting| counting.turn != part.number && !counting.abandoned;
        let waited = self.shared.part_ended.wait_while(self.lock(), waiting);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn count_held(&mut self) {
        let Some(mut part) = self.part.take() else { return };
        part.drain(|held| match held {
            Held::Batch(batch) => self.count_batch(&batch),
            Held::Access(access) => self.count_access(&access),
            Held::Other(origin) => self.lock().account.other(&origin),
            Held::EventName(event, name) => self.lock().account.event_name(event, &name),
        });
        self.part = Some(part);
    }

    fn count_batch(&self, batch: &Batch<'_>) {
        self.pace(batch.touches.last().and_then(|touch| touch.time_ns));
        let mut counting = self.lock();
        counting.account.batch(batch);
        let mut repeats = core::mem::take(&mut counting.repeats);
        counting.trails.mark(batch, &mut repeats);
        counting.count(&Counted { batch: *batch, repeats: &repeats });
        counting.repeats = repeats;
    }

    fn count_access(&self, access: &Access) {
        self.pace(access.origin.time_ns);
        let mut counting = self.lock();
        if let Some(located) = counting.account.access(access) {
            counting.take(located, access);
        }
    }

    /// Takes accesses in no faster than the trace's time passes at the wanted speed.
    fn pace(&self, time_ns: Option<u64>) {
        let wait = self.lock().wait(time_ns);
        if let Some(wait) = wait {
            // Not all at once, so that a stop is heard.
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.lock().stop {
                let left = until.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(Duration::from_millis(50)));
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("counting", &self.counting).finish_non_exhaustive()
    }
}

impl Counting {
    fn heat_limit(&self) -> usize {
        self.settings.memory - self.settings.memory / OPEN_PART
    }

    /// What belongs to an epoch.
    fn open(&mut self, epoch: u64) -> &mut Open {
        let place = self.open.iter().position(|open| open.epoch == epoch);
        let place = place.unwrap_or_else(|| {
            let (store, left_out) = (self.budget.split(), LeftOutBlocks::new(self.budget.share()));
            self.open.push(Open { epoch, store, left_out });
            self.open.len() - 1
        });
        &mut self.open[place]
    }

    /// Something comes.
    fn goes_on(&mut self) {
        self.last_input = Some(Instant::now());
        self.state = InputState::Running;
        self.wall_driven = false;
    }

    /// Takes in an access that has a place: decides whether it is a visit, and counts it if the
    /// query keeps it. Time passes either way.
    fn take(&mut self, located: Located, access: &Access) {
        let Located { paddr, fate } = located;
        let time_ns = access.origin.time_ns;
        let visit = self.trails.of(QueueId::of(access)).visit(paddr, time_ns);
        if fate == Fate::Kept {
            let repeats = &[visit == Visit::No];
            Store::<Folio>::of_one(paddr, access, |batch| {
                self.count(&Counted { batch: *batch, repeats });
            });
            return;
        }
        self.goes_on();
        let before = self.clock.open();
        let epoch = match time_ns {
            Some(time) => self.clock.place(time).epoch,
            None => before.unwrap_or(0),
        };
        if self.clock.open() != before && before.is_some() {
            self.close();
        }
        if fate == Fate::LeftOut {
            self.open(epoch).left_out.insert(paddr.get() >> FOLIO_SHIFT);
        }
    }

    /// Counts the accesses of a batch, each in its epoch.
    fn count(&mut self, batch: &Counted<'_>) {
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

    fn count_run(&mut self, batch: &Counted<'_>, run: core::ops::Range<usize>, epoch: Option<u64>) {
        let Some(epoch) = epoch.filter(|_| !run.is_empty()) else { return };
        let part = batch.part(run.start, run.len());
        self.open(epoch).store.batch(&part);
    }

    /// Puts the counters of all epochs that have closed into the heat.
    fn close(&mut self) {
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

    fn add(&mut self, open: Open) {
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
    fn moment(&self, epoch: u64) -> Moment {
        Moment {
            cools: self.settings.cooling_ns > 0,
            interval: self.interval(epoch.saturating_mul(self.settings.epoch_ns)),
            forgotten_before: self.forgotten_before(epoch),
        }
    }

    /// The cooling interval of a time.
    fn interval(&self, time_ns: u64) -> u64 {
        time_ns.checked_div(self.settings.cooling_ns).unwrap_or(0)
    }

    /// The time before which blocks had their last access that are forgotten at an epoch's end.
    fn forgotten_before(&self, epoch: u64) -> u64 {
        match self.settings.ttl_ns {
            0 => 0,
            ttl => self.clock.end(epoch).saturating_sub(ttl),
        }
    }

    /// Whether some block may miss something that no mark tells of. Counters have 32 bits: once they
    /// have been halved so often nothing is left of what was counted by then.
    fn forgets_marks(&self, interval: u64) -> bool {
        let since = |then: u64| interval.saturating_sub(then);
        self.too_many_left_out.is_some_and(|then| since(then) < u64::from(u32::BITS))
    }

    /// The input has ended: all epochs close.
    fn end(&mut self) {
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
    fn close_untimed(&mut self) {
        self.replaced = 0;
        for epoch in core::mem::take(&mut self.open) {
            self.add(epoch);
        }
        self.closed = Some(0);
        self.changed = true;
    }

    /// Lets time pass. Whether there is something new to show.
    fn tick(&mut self) -> bool {
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
    fn wait(&mut self, time_ns: Option<u64>) -> Option<Duration> {
        let speed = self.settings.speed.filter(|speed| *speed > 0.0)?;
        let time_ns = time_ns?;
        let (start, first) = *self.start.get_or_insert((Instant::now(), time_ns));
        #[expect(clippy::cast_precision_loss, reason = "for waiting it is good enough")]
        let due = time_ns.saturating_sub(first) as f64 / 1e9 / speed;
        let due = Duration::try_from_secs_f64(due).ok()?;
        due.checked_sub(start.elapsed()).filter(|wait| !wait.is_zero())
    }

    fn snapshot(&self) -> Snapshot {
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

impl Sink for Live {
    fn detail(&self) -> Detail {
        self.lock().account.detail(Folio::DETAIL)
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        if self.is_its_turn() {
            self.count_batch(batch);
        } else if let Some(part) = &mut self.part {
            part.hold_batch(batch);
        }
    }

    fn event_name(&mut self, event: EventIndex, name: &str) {
        if self.is_its_turn() {
            self.lock().account.event_name(event, name);
        } else if let Some(part) = &mut self.part {
            part.hold(Held::EventName(event, name.to_owned()));
        }
    }

    fn access(&mut self, access: &Access) {
        if self.is_its_turn() {
            self.count_access(access);
        } else if let Some(part) = &mut self.part {
            part.hold(Held::Access(*access));
        }
    }

    fn other(&mut self, origin: &Origin) {
        if self.is_its_turn() {
            self.lock().account.other(origin);
        } else if let Some(part) = &mut self.part {
            part.hold(Held::Other(*origin));
        }
    }

    fn wants_recording(&self) -> bool {
        let counting = self.lock();
        counting.changed || counting.known.is_none()
    }

    fn recording_changed(&mut self) {
        self.lock().changed = true;
    }

    fn recording_so_far(&mut self, recording: &Recording) {
        let mut counting = self.lock();
        let settings = counting.settings;
        let mut facts = counting.facts_before.clone();
        facts.join(recording, &counting.filters);
        let known = Known::of(recording, facts, settings.page_size);
        counting.known = Some(known);
        self.publish(&mut counting);
    }

    fn recording_ended(&mut self) {
        let mut counting = self.lock();
        counting.turn = 0;
        counting.trails = Trails::default();
        counting.end();
    }

    fn has_enough(&self) -> bool {
        self.lock().stop
    }
}

impl Shard for Live {
    fn split(&self) -> Self {
        self.clone()
    }

    fn join_in(&self) -> Self {
        let (shared, latest) = (Arc::clone(&self.shared), self.latest());
        Self { shared, latest, part: Some(Part::default()) }
    }

    fn merge(&mut self, _: Self) {}

    fn part_begins(&mut self, number: u64) {
        if let Some(part) = &mut self.part {
            part.number = number;
        }
    }

    fn part_ended(&mut self) {
        self.wait_for_turn();
        self.count_held();
        self.lock().turn += 1;
        self.shared.part_ended.notify_all();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.part.is_some() && std::thread::panicking() {
            self.lock().abandoned = true;
            self.shared.part_ended.notify_all();
        }
    }
}
