//! From accesses to counters: filters, counts, and keeps the account of records.

use std::collections::BTreeMap;
use std::sync::Arc;

use decoder::{Access, Batch, Detail, EventIndex, Ledger, Origin, PhysAddr, Shard, Sink, Source};
use hashbrown::HashMap;

use crate::folio::{Block, Folio, Times};
use crate::latency::Latencies;
use crate::query::Filters;
use crate::recent::Recent;
use crate::store::Store;
use crate::stripes::{Sorted, Stripes};

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
    latencies: Latencies,
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
    counts: Counts,
    /// Bytes from which on a shard is large.
    large: usize,
    spans: Vec<u64>,
}

/// Where a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
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
            filters,
            event_wanted: Vec::new(),
            ledgers: [Ledger::default(); Source::ALL.len()],
            coverage: HashMap::new(),
            times: Times::default(),
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

    /// Takes in an access. The answer is where it is to be counted, if it is.
    pub(crate) fn access(&mut self, access: &Access) -> Option<PhysAddr> {
        self.record(&access.origin);
        let ledger = &mut self.ledgers[access.origin.source as usize];
        ledger.tid_unknown += u64::from(access.tid.is_none());
        // In the order in which a record ends in the first that fits.
        ledger.frame(access);
        let paddr = access.paddr?;
        if !self.filters.keep(access, &self.event_wanted) {
            ledger.filtered += 1;
            return None;
        }
        ledger.counted += 1;
        self.latencies.add(access.latency_cycles.unwrap_or(0));
        Some(paddr)
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
        self.latencies.merge(&other.latencies);
    }
}

impl<B: Block> Counter<B> {
    /// Counts what `filters` keep, in at most `memory` bytes for counters.
    pub fn new(filters: Filters, memory: usize) -> Self {
        let store = Store::new(memory);
        let together = Arc::new(Stripes::new(&store));
        Self::with(Account::new(Arc::new(filters)), store, together, Counts::Apart)
    }

    fn with(account: Account, store: Store<B>, together: Arc<Stripes<B>>, counts: Counts) -> Self {
        Self {
            account,
            store,
            recent: Recent::new(),
            together,
            sorted: Sorted::new(),
            counts,
            large: LARGE,
            spans: Vec::new(),
        }
    }

    /// The filters.
    pub fn filters(&self) -> &Filters {
        self.account.filters()
    }

    /// An empty counter that shares this one's budget.
    fn shard(&self, counts: Counts) -> Self {
        let (account, store) = (self.account.split(), self.store.split());
        Self { large: self.large, ..Self::with(account, store, Arc::clone(&self.together), counts) }
    }

    /// Counts in blocks.
    fn count(&mut self, batch: &Batch<'_>) {
        if self.counts == Counts::Together {
            self.together.batch(batch, &mut self.sorted);
            return;
        }
        if B::DETAIL == Detail::Places {
            self.recent.batch(batch, &mut self.store);
        } else {
            self.store.batch(batch);
        }
        if self.counts == Counts::ApartYet && self.store.used() > self.large {
            self.counts = Counts::Together;
            self.recent.end(&mut self.store);
            let empty = self.store.split();
            self.together.put(core::mem::replace(&mut self.store, empty));
        }
    }

    /// The counters. All accesses, and those of shards, are in it once [`Sink::recording_ended`].
    pub fn store(&self) -> &Store<B> {
        &self.store
    }

    /// What each CPU delivered.
    pub fn coverage(&self) -> BTreeMap<u32, Coverage> {
        self.account.coverage()
    }

    /// Lengths in ns of the recordings that ended, from the first to the last record with a
    /// time. Each has a clock of its own.
    pub fn spans(&self) -> &[u64] {
        &self.spans
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
        self.count(batch);
    }

    fn event_name(&mut self, event: EventIndex, name: &str) {
        self.account.event_name(event, name);
    }

    fn access(&mut self, access: &Access) {
        if let Some(paddr) = self.account.access(access) {
            Store::<B>::of_one(paddr, access, |batch| self.count(batch));
        }
    }

    fn other(&mut self, origin: &Origin) {
        self.account.other(origin);
    }

    fn recording_ended(&mut self) {
        self.recent.end(&mut self.store);
        self.together.empty_into(&mut self.store);
        self.spans.extend(core::mem::take(&mut self.account.times).span());
    }
}

impl<B: Block + Send> Shard for Counter<B> {
    fn split(&self) -> Self {
        self.shard(Counts::Apart)
    }

    fn join_in(&self) -> Self {
        self.shard(Counts::ApartYet)
    }

    fn merge(&mut self, mut other: Self) {
        // Stores may change places, and with them what they have taken of the budget.
        self.recent.end(&mut self.store);
        other.recent.end(&mut other.store);
        self.store.merge(other.store);
        self.account.merge(&other.account);
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
            file: 1,
            records: accesses.len() as u64,
            not_memory: 0,
            no_physical_address: 0,
            not_retired: 0,
            tid_unknown: accesses.iter().filter(|access| access.tid.is_none()).count() as u64,
            times: times.first().zip(times.last()),
            addresses: &addresses,
            touches: if B::DETAIL == Detail::Places { &[] } else { &touches },
        });
    }

    /// What was counted, in an order.
    fn pages<B: Block>(counter: &Counter<B>) -> Vec<(u64, u32)> {
        counter.store().validate();
        let blocks = counter.store().in_order();
        let pages = blocks.flat_map(|(pfn, block)| {
            block.counters().touched().map(move |(page, count)| (pfn.page(page).get(), count))
        });
        pages.collect()
    }

    /// All that is known of each block beside its pages, and of the whole.
    fn known(counter: &Counter) -> impl PartialEq + core::fmt::Debug {
        let blocks = counter.store().in_order().map(|(pfn, folio)| {
            let Folio { directions, times, mapping, last_seen, .. } = folio.clone();
            (pfn, directions, times, mapping, last_seen)
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
        assert_eq!(counter(Filters::default()), Detail::Touches);
        assert_eq!(counter(Filters { loads: true, ..Filters::default() }), Detail::Accesses);
        let places = Counter::<Counters>::new(Filters::default(), ENOUGH);
        assert_eq!(places.detail(), Detail::Places);
    }
}
