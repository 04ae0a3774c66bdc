//! Counting a stream that goes on: epochs, cooling, forgetting, and what readers see of it.
//!
//! ```text
//! access -> clock: its epoch -> counters of that epoch (at most two are open)
//! an epoch closes: its counters -> heat (halved up to there), and a snapshot is wanted
//! the decoder tells what the recording says so far: heat, ledger -> snapshot -> readers
//! ```
//!
//! Whoever counts owns the open epochs; readers have snapshots, which do not change. Neither
//! waits for the other. Several threads that decode a stream count in turn, in its order, since
//! which epoch an access belongs to depends on those before it.

mod clock;
mod counting;
mod ends;
mod hands;
mod heat;
mod part;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;

use core::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use decoder::{Access, Batch, Detail, EventIndex, Origin, Recording, Shard, Sink};

use crate::facts::Facts;
use crate::folio::{Block, Folio};
use crate::ingest::Account;
use crate::marked_batch::MarkedBatch;
use crate::query::Filters;
use crate::store::Store;
use crate::visits::Trails;
use clock::Clock;
use counting::{Counting, OPEN_PART};
use heat::Heat;
use part::{Held, WaitingPart};
pub use settings::Settings;
pub use snapshot::{InputState, Known, LiveFolio, LiveFraction, LiveJudge, Snapshot};

/// Where the latest snapshot is found, without waiting for anybody.
pub type Latest = Arc<ArcSwap<Snapshot>>;

/// Counts a stream. Clones count into the same.
#[derive(Clone, Debug)]
pub struct Live {
    shared: Arc<Shared>,
    latest: Latest,
    /// Of one of several threads that decode a stream: what it has to count and cannot yet.
    part: Option<WaitingPart>,
}

struct Shared {
    counting: Mutex<Counting>,
    /// Is called with the number of each new snapshot.
    published: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
    /// A part of the stream has ended.
    part_ended: Condvar,
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
            Held::Other(origin) => self.count_other(&origin),
            Held::EventName(event, name) => self.lock().account.event_name(event, &name),
        });
        self.part = Some(part);
    }

    fn count_batch(&self, batch: &Batch<'_>) {
        let last = batch.touches.last().and_then(|touch| touch.time_ns);
        // Records that are no accesses may go on behind the last one, for as long as there is no other.
        let newest = batch
            .times
            .map(|(_, newest)| newest)
            .filter(|newest| last.is_none_or(|last| *newest > last));
        // A damaged time of a branch must not keep accesses waiting.
        self.pace(last.or(newest));
        let mut counting = self.lock();
        counting.account.batch(batch);
        let mut repeats = core::mem::take(&mut counting.repeats);
        counting.trails.mark(batch, &mut repeats);
        counting.count(&MarkedBatch { batch: *batch, repeats: &repeats });
        counting.repeats = repeats;
        if newest.is_some() {
            counting.pass(newest);
        }
    }

    fn count_access(&self, access: &Access) {
        self.pace(access.origin.time_ns);
        let mut counting = self.lock();
        match counting.account.access(access) {
            Some(located) => counting.take(located, access),
            None => _ = counting.pass(access.origin.time_ns),
        }
    }

    fn count_other(&self, origin: &Origin) {
        self.pace(origin.time_ns);
        let mut counting = self.lock();
        counting.account.other(origin);
        counting.pass(origin.time_ns);
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
            self.count_other(origin);
        } else if let Some(part) = &mut self.part {
            part.hold(Held::Other(*origin));
        }
    }

    /// When an epoch has closed: a snapshot has the ledger of its moment.
    fn wants_recording(&self) -> bool {
        let counting = self.lock();
        counting.changed || counting.known.is_none()
    }

    fn recording_changed(&mut self) {
        self.lock().changed = true;
    }

    /// Publishes a snapshot. It is the decoder that knows what goes into it besides the counters.
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
        Self { shared, latest, part: Some(WaitingPart::default()) }
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
