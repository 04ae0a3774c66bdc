//! From accesses to counters: filters, decides what is a visit, counts, and keeps the account of
//! records.

use std::collections::BTreeMap;
use std::sync::Arc;

use decoder::perf::QueueKey;
use decoder::{Access, Batch, Detail, EventIndex, Ledger, Origin, PhysAddr, Shard, Sink, Source};
use hashbrown::HashMap;

use crate::folio::{Block, Folio, Times};
use crate::in_turn::{BatchRoom, HeldPart, HeldSample, InTurn, count_held, decide};
use crate::latency::Latencies;
use crate::left_out::LeftOutBlocks;
use crate::marked_batch::MarkedBatch;
use crate::query::{Fate, Filters};
use crate::recent::Recent;
use crate::store::Store;
use crate::stripes::{Sorted, Stripes};
use crate::visits::{QueueId, Trail, Trails, Visit};

/// CPUs of which coverage is told. More come only from damage.
const MAX_CPUS: usize = 1 << 16;

/// What one CPU delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Its records, memory operations or not.
    pub records: u64,
    /// Their times.
    pub times: Times,
}

/// Samples that are counted together.
const HELD: usize = 512;

/// Bytes from which on a shard puts its blocks together with those of others.
const LARGE: usize = 8 << 20;

/// The account of records: which are counted, and what became of the others.
#[derive(Debug)]
pub(crate) struct Account {
    filters: Arc<Filters>,
    event_wanted: Vec<bool>,
    ledgers: [Ledger; Source::ALL.len()],
    coverage: HashMap<u32, Coverage>,
    times: Times,
    /// Times of records within each range that the query asks for.
    within: Vec<Times>,
    latencies: Latencies,
}

/// An access that has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Where.
    pub(crate) paddr: PhysAddr,
    /// What the query makes of it.
    pub(crate) fate: Fate,
}

/// How long a recording is, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// From the first to the last record with a time.
    pub whole: u64,
    /// The same within the ranges of times that the query asks for, if it asks for any; of several
    /// the sum.
    pub judged: u64,
}

/// Counts the accesses of one run, and keeps of each block what `B` says.
#[derive(Debug)]
pub struct Counter<B: Block = Folio> {
    account: Account,
    store: Store<B>,
    /// What is not in the store yet.
    recent: Recent,
    /// Where shards count what has grown large.
    together: Arc<Stripes<B>>,
    sorted: Sorted,
    placing: Placing,
    /// Bytes from which on a shard is large.
    large: usize,
    lengths: Vec<Length>,
    /// Blocks from which the query left something out.
    left_out: LeftOutBlocks,
    /// The latest accesses of the queues that this one takes.
    trails: Trails,
    /// What its shards know together.
    in_turn: Arc<InTurn>,
    /// The part of a stream of records that it takes, and the samples in it.
    part: Option<HeldPart>,
    /// Samples that are not counted yet. Those of a part are held there.
    held: Vec<HeldSample>,
    room: BatchRoom,
    /// Room for saying which accesses of a batch are no visits.
    repeats: Vec<bool>,
}

/// Where a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placing {
    /// In its own store, always.
    Apart,
    /// In its own store, as long as that is small.
    ApartYet,
    /// Together with others.
    Together,
}

impl Account {
    /// An empty account of what `filters` keep.
    pub(crate) fn new(filters: Arc<Filters>) -> Self {
        Self {
            event_wanted: Vec::new(),
            ledgers: [Ledger::default(); Source::ALL.len()],
            coverage: HashMap::new(),
            times: Times::default(),
            within: vec![Times::default(); filters.times.len()],
            filters,
            latencies: Latencies::default(),
        }
    }

    /// An empty account with the same filters, of the same recording.
    fn split(&self) -> Self {
        let event_wanted = self.event_wanted.clone();
        Self { event_wanted, ..Self::new(Arc::clone(&self.filters)) }
    }

    /// The filters.
    pub(crate) fn filters(&self) -> &Filters {
        &self.filters
    }

    /// What must be known of each access, where `wanted` is needed to count it.
    pub(crate) fn detail(&self, wanted: Detail) -> Detail {
        // Filters look at all of an access.
        if self.filters.is_empty() { wanted } else { Detail::Accesses }
    }

    /// The name of one of the recording's events.
    pub(crate) fn event_name(&mut self, event: EventIndex, name: &str) {
        let index = usize::from(event.0);
        self.event_wanted.resize(self.event_wanted.len().max(index + 1), false);
        self.event_wanted[index] = self.filters.wants_event(name);
    }

    /// Takes in what one CPU delivered.
    fn cover(&mut self, cpu: Option<u32>, coverage: &Coverage) {
        if let Some(cpu) = cpu
            && (self.coverage.len() < MAX_CPUS || self.coverage.contains_key(&cpu))
        {
            self.coverage.entry(cpu).or_default().merge(coverage);
        }
    }

    /// Takes in a record, memory operation or not.
    fn record(&mut self, origin: &Origin) {
        let times = Times::from_iter(origin.time_ns);
        self.times.merge(&times);
        if let Some(range) = self.filters.range_of(origin.time_ns) {
            self.within[range].merge(&times);
        }
        self.cover(origin.cpu, &Coverage { records: 1, times });
        let ledger = &mut self.ledgers[origin.source as usize];
        ledger.records += 1;
        ledger.not_retired += u64::from(origin.not_retired);
    }

    /// Takes in the records of a batch; its accesses are to be counted.
    pub(crate) fn batch(&mut self, batch: &Batch<'_>) {
        let times = Times::from_iter(batch.times.into_iter().flat_map(<[u64; 2]>::from));
        self.times.merge(&times);
        self.cover(batch.cpu, &Coverage { records: batch.records, times });
        let ledger = &mut self.ledgers[batch.source as usize];
        ledger.records += batch.records;
        ledger.not_memory += batch.not_memory;
        ledger.no_physical_address += batch.no_physical_address;
        ledger.not_retired += batch.not_retired;
        ledger.tid_unknown += batch.tid_unknown;
        ledger.counted += batch.addresses.len() as u64;
        batch.touches.iter().for_each(|touch| self.latencies.add(touch.latency_cycles));
    }

    /// Takes in an access. The answer is its place, if it has one, and whether it is to be counted.
    pub(crate) fn access(&mut self, access: &Access) -> Option<Located> {
        self.record(&access.origin);
        let ledger = &mut self.ledgers[access.origin.source as usize];
        ledger.tid_unknown += u64::from(access.tid.is_none());
        // In the order in which a record ends in the first that fits.
        ledger.frame(access);
        let paddr = access.paddr?;
        let fate = self.filters.fate(access, &self.event_wanted);
        if fate == Fate::Kept {
            ledger.counted += 1;
            self.latencies.add(access.latency_cycles.unwrap_or(0));
        } else {
            ledger.filtered += 1;
        }
        Some(Located { paddr, fate })
    }

    /// Takes in a record that is no access.
    pub(crate) fn other(&mut self, origin: &Origin) {
        self.record(origin);
        self.ledgers[origin.source as usize].not_memory += 1;
    }

    /// What each CPU delivered.
    pub(crate) fn coverage(&self) -> BTreeMap<u32, Coverage> {
        self.coverage.iter().map(|(cpu, coverage)| (*cpu, *coverage)).collect()
    }

    /// The times of the recording's records so far.
    pub(crate) fn times(&self) -> Times {
        self.times
    }

    /// How long the recording is, up to an end if one is given.
    pub(crate) fn length(&self, end: Option<u64>) -> Option<Length> {
        let span = |times: &Times| end.map_or(*times, |end| times.before(end)).span();
        let whole = span(&self.times)?;
        let within = || self.within.iter().filter_map(span).sum();
        Some(Length { whole, judged: if self.within.is_empty() { whole } else { within() } })
    }

    /// The recording has ended: the next one has a clock of its own.
    fn recording_ended(&mut self) {
        self.times = Times::default();
        self.within.fill(Times::default());
    }

    /// The records' part of the ledger, by source.
    pub(crate) fn ledgers(&self) -> [Ledger; Source::ALL.len()] {
        self.ledgers
    }

    fn merge(&mut self, other: &Self) {
        for (ledger, other) in self.ledgers.iter_mut().zip(other.ledgers) {
            *ledger += other;
        }
        for (cpu, coverage) in &other.coverage {
            self.coverage.entry(*cpu).or_default().merge(coverage);
        }
        self.times.merge(&other.times);
        for (times, others) in self.within.iter_mut().zip(&other.within) {
            times.merge(others);
        }
        self.latencies.merge(&other.latencies);
    }
}

impl<B: Block> Counter<B> {
    /// Counts what `filters` keep, in at most `memory` bytes for counters.
    pub fn new(filters: Filters, memory: usize) -> Self {
        let store = Store::new(memory);
        Self {
            account: Account::new(Arc::new(filters)),
            recent: Recent::new(),
            together: Arc::new(Stripes::new(&store)),
            sorted: Sorted::new(),
            placing: Placing::Apart,
            large: LARGE,
            lengths: Vec::new(),
            left_out: LeftOutBlocks::new(store.share()),
            trails: Trails::default(),
            in_turn: Arc::default(),
            part: None,
            held: Vec::new(),
            room: BatchRoom::default(),
            repeats: Vec::new(),
            store,
        }
    }

    /// The filters.
    pub fn filters(&self) -> &Filters {
        self.account.filters()
    }

    /// An empty counter that shares this one's budget.
    fn shard(&self, placing: Placing) -> Self {
        Self {
            account: self.account.split(),
            store: self.store.split(),
            recent: Recent::new(),
            together: Arc::clone(&self.together),
            sorted: Sorted::new(),
            placing,
            large: self.large,
            lengths: Vec::new(),
            left_out: self.left_out.split(),
            trails: Trails::default(),
            in_turn: Arc::clone(&self.in_turn),
            part: None,
            held: Vec::new(),
            room: BatchRoom::default(),
            repeats: Vec::new(),
        }
    }

    /// Whether somebody asks which accesses are visits.
    const JUDGED: bool = B::DETAIL as u8 > Detail::Addresses as u8;

    /// Counts in blocks. `repeats` says which accesses are no visits.
    fn count(&mut self, batch: MarkedBatch<'_>) {
        if self.placing == Placing::Together {
            self.together.batch(&batch, &mut self.sorted);
            return;
        }
        if Self::JUDGED {
            self.store.batch(&batch);
        } else {
            self.recent.batch(&batch, &mut self.store);
        }
        if self.placing == Placing::ApartYet && self.store.used() > self.large {
            self.placing = Placing::Together;
            self.recent.end(&mut self.store);
            let empty = self.store.split();
            self.together.put(core::mem::replace(&mut self.store, empty));
        }
    }

    /// Takes in an access that has a place: decides whether it is a visit, and counts it if the
    /// query keeps it.
    fn take(&mut self, located: Located, access: &Access) {
        let Located { paddr, fate } = located;
        if fate == Fate::LeftOut {
            self.left_out.insert(paddr.get() >> decoder::FOLIO_SHIFT);
        }
        let is_counted = fate == Fate::Kept;
        if !Self::JUDGED {
            if is_counted {
                self.count(Batch::of_addresses(access.origin.source, &[paddr]).into());
            }
            return;
        }
        let queue = QueueId::of(access);
        if let QueueId::Samples(_) = queue {
            let sample = HeldSample::new(access, paddr, is_counted);
            match &mut self.part {
                Some(part) => part.hold(sample),
                None => self.hold(sample),
            }
            return;
        }
        let trail = self.trails.of(queue);
        let visit = trail.visit(paddr, access.origin.time_ns);
        if visit == Visit::Open && is_counted {
            trail.counted_as_visit(paddr);
        }
        if is_counted {
            Store::<B>::of_one(paddr, access, |batch| {
                self.count(MarkedBatch { batch: *batch, repeats: &[visit == Visit::No] });
            });
        }
    }

    /// Holds a sample until there are enough to be counted together.
    fn hold(&mut self, sample: HeldSample) {
        self.held.push(sample);
        if self.held.len() >= HELD {
            self.count_held();
        }
    }

    /// Counts the samples that are held.
    fn count_held(&mut self) {
        let (mut held, mut room) =
            (core::mem::take(&mut self.held), core::mem::take(&mut self.room));
        decide(&mut held, &mut self.trails, &mut room);
        count_held(&held, &mut room, &mut |batch| self.count(batch));
        held.clear();
        (self.held, self.room) = (held, room);
    }

    /// The blocks from which the query left something out.
    pub(crate) fn left_out(&self) -> &LeftOutBlocks {
        &self.left_out
    }

    /// The counters. All accesses, and those of shards, are in it once [`Sink::recording_ended`].
    pub fn store(&self) -> &Store<B> {
        &self.store
    }

    /// What each CPU delivered.
    pub fn coverage(&self) -> BTreeMap<u32, Coverage> {
        self.account.coverage()
    }

    /// Lengths of the recordings that ended. Each has a clock of its own.
    pub fn lengths(&self) -> &[Length] {
        &self.lengths
    }

    /// Latencies in cycles of the counted accesses that have one, also of those whose block had
    /// to go.
    pub fn latencies(&self) -> &Latencies {
        &self.account.latencies
    }

    /// The records' part of the ledger, by source. What was evicted counts as over budget.
    pub fn ledgers(&self) -> impl Iterator<Item = (Source, Ledger)> {
        let evicted = self.store.evicted();
        Source::ALL.into_iter().zip(self.account.ledgers()).map(move |(source, mut ledger)| {
            let over = evicted[source as usize];
            ledger.counted -= over;
            ledger.over_budget += over;
            (source, ledger)
        })
    }
}

impl Coverage {
    fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.times.merge(&other.times);
    }
}

impl<B: Block> Sink for Counter<B> {
    fn detail(&self) -> Detail {
        self.account.detail(B::DETAIL)
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        self.account.batch(batch);
        let mut repeats = core::mem::take(&mut self.repeats);
        if Self::JUDGED {
            self.trails.mark(batch, &mut repeats);
        }
        self.count(MarkedBatch { batch: *batch, repeats: &repeats });
        self.repeats = repeats;
    }

    fn event_name(&mut self, event: EventIndex, name: &str) {
        self.account.event_name(event, name);
    }

    fn access(&mut self, access: &Access) {
        if let Some(located) = self.account.access(access) {
            self.take(located, access);
        }
    }

    fn other(&mut self, origin: &Origin) {
        self.account.other(origin);
    }

    fn recording_ended(&mut self) {
        self.count_held();
        self.recent.end(&mut self.store);
        self.together.empty_into(&mut self.store);
        self.lengths.extend(self.account.length(None));
        self.account.recording_ended();
        self.trails = Trails::default();
        self.in_turn = Arc::default();
    }
}

impl<B: Block + Send> Shard for Counter<B> {
    fn split(&self) -> Self {
        self.shard(Placing::Apart)
    }

    fn join_in(&self) -> Self {
        self.shard(Placing::ApartYet)
    }

    fn part_begins(&mut self, number: u64) {
        if Self::JUDGED {
            let held = core::mem::take(&mut self.held);
            self.part = Some(HeldPart::new(number, held, &self.in_turn));
        }
    }

    fn part_ended(&mut self) {
        if let Some(part) = self.part.take() {
            let mut room = core::mem::take(&mut self.room);
            self.held = part.end(&mut room, |batch| self.count(batch));
            self.room = room;
        }
    }

    fn queue_goes_on(&mut self, queue: QueueKey) {
        if Self::JUDGED {
            self.trails.put(queue, self.in_turn.take(queue));
        }
    }

    fn queue_pauses(&mut self, queue: QueueKey) {
        if let Some(trail) = self.trails.take(queue) {
            self.in_turn.put(queue, trail);
        }
    }

    fn queue_is_ahead(&mut self, queue: QueueKey) {
        if Self::JUDGED {
            self.trails.put(queue, Trail::ahead());
        }
    }

    fn merge_ahead(&mut self, mut ahead: Self, queue: QueueKey) -> bool {
        if let Some(part) = ahead.trails.take(queue) {
            if !part.is_usable() {
                return false;
            }
            let mut trail = self.in_turn.take(queue);
            if trail.is_beyond() {
                return false;
            }
            for paddr in trail.follow(part) {
                ahead.store.take_back_visit(paddr);
            }
            self.in_turn.put(queue, trail);
        }
        self.merge(ahead);
        true
    }

    fn merge(&mut self, mut other: Self) {
        self.count_held();
        other.count_held();
        // Stores may change places, and with them what they have taken of the budget.
        self.recent.end(&mut self.store);
        other.recent.end(&mut other.store);
        self.store.merge(other.store);
        self.account.merge(&other.account);
        self.left_out.merge(&other.left_out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use decoder::{AccessFlags, Direction, Operation, Position, Touch, TraceOffset, VirtAddr};
    use proptest::prelude::*;

    const ENOUGH: usize = usize::MAX;

    /// Accesses of which many are to the same pages, some with all that a record can tell.
    fn accesses() -> impl Strategy<Value = Vec<Access>> {
        let place = prop_oneof![
            4 => (0..4_u64, 0..512_u64),
            1 => (0..1_u64 << 35, 0..512_u64),
            1 => (Just((1_u64 << 35) - 1), 500..512_u64),
        ];
        let direction = prop::sample::select(vec![
            Direction::Load,
            Direction::Store,
            Direction::Atomic,
            Direction::Unknown,
        ]);
        let vaddr = prop::option::of(prop_oneof![0..1_u64 << 23, u64::MAX - (1 << 22)..=u64::MAX]);
        let access = (
            (place, direction, vaddr),
            (prop::option::of(0..3_u32), prop::option::of(0..9_u64), 0..5000_u32),
        );
        prop::collection::vec(access, 0..2000).prop_map(|list| {
            let accesses = (0_u64..).zip(list);
            let access = accesses.map(|(offset, (what, (pid, time_ns, latency)))| {
                let ((block, page), direction, vaddr) = what;
                let paddr = block << 21 | page << 12 | (offset & 0xfff);
                Access {
                    origin: Origin {
                        source: Source::ArmSpe,
                        event: None,
                        cpu: Some(3),
                        time_ns,
                        not_retired: false,
                        position: Position { file: 1, offset: TraceOffset(offset) },
                    },
                    operation: Operation::plain(direction),
                    paddr: Some(PhysAddr::new_truncate(paddr)),
                    vaddr: vaddr.map(VirtAddr::new),
                    ip: None,
                    pid,
                    tid: pid,
                    latency_cycles: Some(latency),
                    data_source: None,
                    issue_latency_cycles: None,
                    translation_latency_cycles: None,
                    tlb: None,
                    page_size: None,
                    aux_queue: None,
                    flags: AccessFlags::empty(),
                }
            });
            access.collect()
        })
    }

    fn give<B: Block>(counter: &mut Counter<B>, accesses: &[Access]) {
        let touch = |access: &Access| Touch {
            direction: access.operation.direction,
            latency_cycles: access.latency_cycles.unwrap_or(0),
            pid: access.pid,
            vaddr: access.vaddr,
            time_ns: access.origin.time_ns,
            offset: access.origin.position.offset,
        };
        let times = Times::from_iter(accesses.iter().filter_map(|access| access.origin.time_ns));
        let addresses: Vec<_> = accesses.iter().filter_map(|access| access.paddr).collect();
        let touches: Vec<_> = accesses.iter().map(touch).collect();
        counter.batch(&Batch {
            source: Source::ArmSpe,
            cpu: Some(3),
            aux_queue: None,
            file: 1,
            records: accesses.len() as u64,
            not_memory: 0,
            no_physical_address: 0,
            not_retired: 0,
            tid_unknown: accesses.iter().filter(|access| access.tid.is_none()).count() as u64,
            times: times.first().zip(times.last()),
            addresses: &addresses,
            touches: if B::DETAIL == Detail::Addresses { &[] } else { &touches },
        });
    }

    /// What was counted, in an order.
    fn pages<B: Block>(counter: &Counter<B>) -> Vec<(u64, u32)> {
        counter.store().validate();
        let blocks = counter.store().in_order();
        let pages = blocks.flat_map(|(pfn, block)| {
            block.touched().map(move |(page, count)| (pfn.page(page).get(), count))
        });
        pages.collect()
    }

    /// All that is known of each block beside its pages, and of the whole.
    fn known(counter: &Counter) -> impl PartialEq + core::fmt::Debug {
        let blocks = counter.store().in_order().map(|(pfn, folio)| {
            let Folio { times, mapping, last_seen, .. } = folio.clone();
            (pfn, folio.directions(), times, mapping, last_seen)
        });
        let ledgers: Vec<_> = counter.ledgers().collect();
        (blocks.collect::<Vec<_>>(), ledgers, counter.coverage(), counter.latencies().clone())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

        #[test]
        fn batches_count_like_single_accesses(
            accesses in accesses(),
            cuts in prop::collection::vec((1..300_usize, any::<prop::sample::Index>()), 1..40),
            large in prop_oneof![Just(0), Just(1 << 15), Just(LARGE)],
        ) {
            let mut naive = BTreeMap::<u64, u32>::new();
            for access in &accesses {
                *naive.entry(access.paddr.expect("all have one").pfn().get()).or_default() += 1;
            }
            let naive: Vec<_> = naive.into_iter().collect();

            let mut single: Counter = Counter::new(Filters::default(), ENOUGH);
            accesses.iter().for_each(|access| single.access(access));
            single.recording_ended();
            prop_assert_eq!(&pages(&single), &naive);

            // Shards that stay apart and shards that put together what is large.
            single.large = large;
            let mut batched: Vec<Counter> = vec![single.split(), single.join_in(), single.join_in()];
            let mut whole: Counter<Counters> = Counter::new(Filters::default(), ENOUGH);
            whole.large = large;
            let mut places = vec![whole.join_in(), whole.split(), whole.join_in()];
            let mut rest = &accesses[..];
            for (len, shard) in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let batch;
                (batch, rest) = rest.split_at(rest.len().min(*len));
                give(shard.get_mut(&mut batched), batch);
                give(shard.get_mut(&mut places), batch);
            }
            places.into_iter().for_each(|shard| whole.merge(shard));
            whole.recording_ended();
            prop_assert_eq!(&pages(&whole), &naive);
            let mut whole = batched[0].split();
            batched.into_iter().for_each(|shard| whole.merge(shard));
            whole.recording_ended();
            prop_assert_eq!(&pages(&whole), &naive);
            prop_assert_eq!(known(&whole), known(&single));
        }
    }

    #[test]
    fn filters_ask_for_whole_accesses() {
        let counter = |filters| Counter::<Folio>::new(filters, ENOUGH).detail();
        assert_eq!(counter(Filters::default()), Detail::Counts);
        assert_eq!(counter(Filters { loads: true, ..Filters::default() }), Detail::Accesses);
        let places = Counter::<Counters>::new(Filters::default(), ENOUGH);
        assert_eq!(places.detail(), Detail::Addresses);
    }
}
