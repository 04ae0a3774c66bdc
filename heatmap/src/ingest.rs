//! From accesses to counters: filters, counts, and keeps the account of records.

use std::collections::BTreeMap;
use std::sync::Arc;

use decoder::{Access, Ledger, Origin, Shard, Sink, Source};
use hdrhistogram::Histogram;

use crate::folio::Times;
use crate::query::Filters;
use crate::store::Store;

/// CPUs of which coverage is told. More come only from damage.
const MAX_CPUS: usize = 1 << 16;
/// Latencies are distinguished to one part in a thousand, up to what 32 bits hold.
const LATENCY_DIGITS: u8 = 3;

/// What one CPU delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Its records, memory operations or not.
    pub records: u64,
    /// Their times.
    pub times: Times,
}

/// Counts the accesses of one run.
#[derive(Debug)]
pub struct Counter {
    filters: Arc<Filters>,
    event_wanted: Vec<bool>,
    store: Store,
    ledgers: [Ledger; Source::ALL.len()],
    coverage: BTreeMap<u32, Coverage>,
    times: Times,
    spans: Vec<u64>,
    latencies: Histogram<u64>,
}

impl Counter {
    /// Counts what `filters` keep, in at most `memory` bytes for counters.
    pub fn new(filters: Filters, memory: usize) -> Self {
        Self::with(Arc::new(filters), Vec::new(), Store::new(memory))
    }

    fn with(filters: Arc<Filters>, event_wanted: Vec<bool>, store: Store) -> Self {
        let latencies =
            Histogram::new_with_bounds(1, u64::from(u32::MAX), LATENCY_DIGITS).expect("1 < 2^32");
        Self {
            filters,
            event_wanted,
            store,
            ledgers: [Ledger::default(); Source::ALL.len()],
            coverage: BTreeMap::new(),
            times: Times::default(),
            spans: Vec::new(),
            latencies,
        }
    }

    /// The filters.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// The counters.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What each CPU delivered.
    pub fn coverage(&self) -> &BTreeMap<u32, Coverage> {
        &self.coverage
    }

    /// Lengths in ns of the recordings that ended, from the first to the last record with a
    /// time. Each has a clock of its own.
    pub fn spans(&self) -> &[u64] {
        &self.spans
    }

    /// Latencies in cycles of the counted accesses that have one.
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
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

    fn record(&mut self, origin: &Origin) {
        if let Some(cpu) = origin.cpu
            && (self.coverage.len() < MAX_CPUS || self.coverage.contains_key(&cpu))
        {
            let coverage = self.coverage.entry(cpu).or_default();
            coverage.records += 1;
            if let Some(time) = origin.time_ns {
                coverage.times.add(time);
            }
        }
        if let Some(time) = origin.time_ns {
            self.times.add(time);
        }
        let ledger = &mut self.ledgers[origin.source as usize];
        ledger.records += 1;
        ledger.not_retired += u64::from(origin.not_retired);
    }
}

impl Sink for Counter {
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
            self.latencies.saturating_record(u64::from(latency));
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

impl Shard for Counter {
    fn split(&self) -> Self {
        Self::with(Arc::clone(&self.filters), self.event_wanted.clone(), self.store.split())
    }

    fn merge(&mut self, other: Self) {
        self.store.merge(other.store);
        for (ledger, other) in self.ledgers.iter_mut().zip(other.ledgers) {
            *ledger += other;
        }
        for (cpu, other) in other.coverage {
            let coverage = self.coverage.entry(cpu).or_default();
            coverage.records += other.records;
            coverage.times.merge(&other.times);
        }
        self.times.merge(&other.times);
        self.latencies.add(&other.latencies).expect("both have the same bounds");
    }
}
