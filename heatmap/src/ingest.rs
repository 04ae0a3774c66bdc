//! From accesses to counters: filters, counts, and keeps the account of records.

use std::collections::BTreeMap;
use std::sync::Arc;

use decoder::{Access, Batch, Detail, Ledger, Origin, Shard, Sink, Source};
use hashbrown::HashMap;
use hdrhistogram::Histogram;

use crate::folio::{Block, Folio, Times};
use crate::query::Filters;
use crate::store::Store;

/// CPUs of which coverage is told. More come only from damage.
const MAX_CPUS: usize = 1 << 16;
/// Latencies are distinguished to one part in a thousand, up to what 32 bits hold.
const LATENCY_DIGITS: u8 = 3;
/// Latencies in cycles below this are most of all.
const SHORT: usize = 1 << 11;

/// What one CPU delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Its records, memory operations or not.
    pub records: u64,
    /// Their times.
    pub times: Times,
}

/// Counts the accesses of one run, and keeps of each block what `B` says.
#[derive(Clone, Debug)]
pub struct Counter<B: Block = Folio> {
    filters: Arc<Filters>,
    event_wanted: Vec<bool>,
    store: Store<B>,
    ledgers: [Ledger; Source::ALL.len()],
    coverage: HashMap<u32, Coverage>,
    times: Times,
    spans: Vec<u64>,
    latencies: Latencies,
}

/// Latencies in cycles; 0 stands for none.
#[derive(Clone, Debug)]
struct Latencies {
    /// How often each short one was seen since it was last added to the others.
    short: Box<[u32; SHORT]>,
    others: Histogram<u64>,
}

impl Latencies {
    fn new() -> Self {
        let others =
            Histogram::new_with_bounds(1, u64::from(u32::MAX), LATENCY_DIGITS).expect("1 < 2^32");
        Self { short: Box::new([0; SHORT]), others }
    }

    #[inline]
    fn add(&mut self, latency: u32) {
        match self.short.get_mut(latency as usize).map(|count| (*count, count)) {
            Some((known, count)) if known < u32::MAX => *count += 1,
            _ => self.others.saturating_record(latency.into()),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.others.add(other.histogram()).expect("both have the same bounds");
    }

    fn histogram(&self) -> Histogram<u64> {
        let mut all = self.others.clone();
        for (latency, count) in (0..).zip(self.short.iter()).skip(1) {
            all.saturating_record_n(latency, u64::from(*count));
        }
        all
    }
}

impl<B: Block> Counter<B> {
    /// Counts what `filters` keep, in at most `memory` bytes for counters.
    pub fn new(filters: Filters, memory: usize) -> Self {
        Self::with(Arc::new(filters), Vec::new(), Store::new(memory))
    }

    fn with(filters: Arc<Filters>, event_wanted: Vec<bool>, store: Store<B>) -> Self {
        Self {
            filters,
            event_wanted,
            store,
            ledgers: [Ledger::default(); Source::ALL.len()],
            coverage: HashMap::new(),
            times: Times::default(),
            spans: Vec::new(),
            latencies: Latencies::new(),
        }
    }

    /// The filters.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// The counters.
    pub fn store(&self) -> &Store<B> {
        &self.store
    }

    /// What each CPU delivered.
    pub fn coverage(&self) -> BTreeMap<u32, Coverage> {
        self.coverage.iter().map(|(cpu, coverage)| (*cpu, *coverage)).collect()
    }

    /// Lengths in ns of the recordings that ended, from the first to the last record with a
    /// time. Each has a clock of its own.
    pub fn spans(&self) -> &[u64] {
        &self.spans
    }

    /// Latencies in cycles of the counted accesses that have one.
    pub fn latencies(&self) -> Histogram<u64> {
        self.latencies.histogram()
    }

    /// The records' part of the ledger, by source. What was evicted counts as over budget.
    pub fn ledgers(&self) -> impl Iterator<Item = (Source, Ledger)> {
        let evicted = self.store.evicted();
        Source::ALL.into_iter().zip(self.ledgers).map(move |(source, mut ledger)| {
            let over = evicted[source as usize];
            ledger.counted -= over;
            ledger.over_budget += over;
            (source, ledger)
        })
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
}

impl Coverage {
    fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.times.merge(&other.times);
    }
}

impl<B: Block> Sink for Counter<B> {
    fn detail(&self) -> Detail {
        // Filters look at all of an access.
        if self.filters.is_empty() { B::DETAIL } else { Detail::Accesses }
    }

    fn batch(&mut self, batch: &Batch<'_>) {
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
        for touch in batch.touches.iter().filter(|touch| touch.latency_cycles > 0) {
            self.latencies.add(touch.latency_cycles);
        }
        self.store.batch(batch);
    }

    fn event_names(&mut self, names: &[String]) {
        self.event_wanted = names.iter().map(|name| self.filters.wants_event(name)).collect();
    }

    fn access(&mut self, access: &Access) {
        self.record(&access.origin);
        let ledger = &mut self.ledgers[access.origin.source as usize];
        ledger.tid_unknown += u64::from(access.tid.is_none());
        // In the order in which a record ends in the first that fits.
        let Some(paddr) = access.paddr else {
            ledger.no_physical_address += 1;
            return;
        };
        if !self.filters.keep(access, &self.event_wanted) {
            ledger.filtered += 1;
            return;
        }
        ledger.counted += 1;
        // Events without a latency have the weight 0.
        if let Some(latency) = access.latency_cycles.filter(|latency| *latency > 0) {
            self.latencies.add(latency);
        }
        self.store.access(paddr, access);
    }

    fn other(&mut self, origin: &Origin) {
        self.record(origin);
        self.ledgers[origin.source as usize].not_memory += 1;
    }

    fn recording_ended(&mut self) {
        self.spans.extend(core::mem::take(&mut self.times).span());
    }
}

impl<B: Block + Send> Shard for Counter<B> {
    fn split(&self) -> Self {
        Self::with(Arc::clone(&self.filters), self.event_wanted.clone(), self.store.split())
    }

    fn merge(&mut self, other: Self) {
        self.store.merge(other.store);
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
