//! The counter store: a block for every 2 MiB of physical memory that was accessed, as many as
//! the memory budget holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use decoder::{Access, FolioPfn, PhysAddr, Source};
use hashbrown::HashMap;

use crate::folio::Folio;

/// How much of the budget one eviction frees, as a part of it.
const EVICTED_PART: usize = 8;

/// Blocks by number, within a memory budget that several stores may share.
///
/// When the budget is used up, blocks with less than the median of accesses go, least recently
/// used first, then those at the median, then the others. What they had counted is not lost: see
/// [`Store::evicted`].
#[derive(Debug)]
pub struct Store {
    folios: HashMap<u64, Entry>,
    budget: Budget,
    /// Grows with every access: orders blocks by their last use.
    clock: u64,
    used: usize,
    evicted: [u64; Source::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct Entry {
    folio: Folio,
    last_use: u64,
}

/// Bytes that stores may use together.
#[derive(Clone, Debug)]
struct Budget {
    limit: usize,
    used: Arc<AtomicUsize>,
}

/// What one entry takes beside its counters' heap: itself, its key, and the table's control
/// byte and free room (tables are filled up to 7/8 and double, so half of the room is free on
/// average).
const ENTRY_BYTES: usize = (size_of::<Entry>() + size_of::<u64>() + 1) * 3 / 2;

/// A store that goes without being merged leaves its part of the budget.
impl Drop for Store {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl Store {
    /// An empty store that uses at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let used = Arc::new(AtomicUsize::new(0));
        Self::with(Budget { limit, used })
    }

    fn with(budget: Budget) -> Self {
        Self { folios: HashMap::new(), budget, clock: 0, used: 0, evicted: [0; Source::ALL.len()] }
    }

    /// An empty store that shares this one's budget.
    pub fn split(&self) -> Self {
        Self::with(self.budget.clone())
    }

    /// Counts an access.
    #[inline]
    pub fn access(&mut self, paddr: PhysAddr, access: &Access) {
        let pfn = paddr.pfn();
        self.update(pfn.folio(), |folio| folio.access(pfn.index_in_folio(), access));
    }

    fn update(&mut self, pfn: FolioPfn, change: impl FnOnce(&mut Folio)) {
        self.clock += 1;
        let mut grown = 0;
        let entry = self.folios.entry(pfn.number()).or_insert_with(|| {
            grown = ENTRY_BYTES;
            Entry::default()
        });
        let before = entry.folio.counters.heap_bytes();
        entry.last_use = self.clock;
        change(&mut entry.folio);
        grown += entry.folio.counters.heap_bytes().saturating_sub(before);
        if grown > 0 {
            self.used += grown;
            let used = self.budget.used.fetch_add(grown, Ordering::Relaxed) + grown;
            if used > self.budget.limit {
                self.evict(pfn.number());
            }
        }
    }

    /// Adds another store of the same budget.
    pub fn merge(&mut self, mut other: Self) {
        for (sum, other) in self.evicted.iter_mut().zip(other.evicted) {
            *sum += other;
        }
        for (number, entry) in core::mem::take(&mut other.folios) {
            let freed = ENTRY_BYTES + entry.folio.counters.heap_bytes();
            other.used -= freed;
            self.budget.used.fetch_sub(freed, Ordering::Relaxed);
            self.update(FolioPfn::from_number(number), |folio| folio.merge(&entry.folio));
        }
    }

    /// Frees a part of the budget. The block `keep` stays.
    fn evict(&mut self, keep: u64) {
        let median = {
            let mut heats: Vec<u64> =
                self.folios.values().map(|entry| entry.folio.directions.total()).collect();
            let middle = heats.len() / 2;
            *heats.select_nth_unstable(middle).1
        };
        let mut order: Vec<_> = self
            .folios
            .iter()
            .filter(|(number, _)| **number != keep)
            .map(|(number, entry)| {
                (entry.folio.directions.total().cmp(&median), entry.last_use, *number)
            })
            .collect();
        order.sort_unstable();
        let mut freed = 0;
        let over = self.budget.used.load(Ordering::Relaxed).saturating_sub(self.budget.limit);
        let wanted = over + self.budget.limit / EVICTED_PART;
        for (_, _, number) in order {
            if freed >= wanted {
                break;
            }
            if let Some(entry) = self.folios.remove(&number) {
                freed += ENTRY_BYTES + entry.folio.counters.heap_bytes();
                for (sum, count) in self.evicted.iter_mut().zip(entry.folio.by_source) {
                    *sum += u64::from(count);
                }
            }
        }
        self.used -= freed;
        self.budget.used.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Accesses that were counted in blocks that had to go, by source in the order of
    /// [`Source::ALL`].
    pub fn evicted(&self) -> [u64; Source::ALL.len()] {
        self.evicted
    }

    /// The blocks, by number, in no order.
    pub fn folios(&self) -> impl Iterator<Item = (FolioPfn, &Folio)> {
        self.folios.iter().map(|(number, entry)| (FolioPfn::from_number(*number), &entry.folio))
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.folios.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.folios.is_empty()
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn validate(&self) {
        let mut used = 0;
        for (_, folio) in self.folios() {
            folio.counters.validate();
            used += ENTRY_BYTES + folio.counters.heap_bytes();
            let sum: u64 = folio.counters.touched().map(|(_, count)| u64::from(count)).sum();
            assert!(sum <= folio.directions.total(), "less only where a counter is saturated");
        }
        assert_eq!(used, self.used, "the memory that is accounted for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decoder::{AccessFlags, Direction, Operation, Origin, Position};

    fn access(paddr: u64) -> Access {
        Access {
            origin: Origin {
                source: Source::Sample,
                event: None,
                cpu: None,
                time_ns: None,
                not_retired: false,
                position: Position::default(),
            },
            operation: Operation::plain(Direction::Load),
            paddr: Some(PhysAddr::new_truncate(paddr)),
            vaddr: None,
            ip: None,
            pid: None,
            tid: None,
            latency_cycles: None,
            data_source: None,
            page_size: None,
            flags: AccessFlags::empty(),
        }
    }

    fn count(store: &mut Store, paddr: u64, times: u64) {
        for _ in 0..times {
            store.access(PhysAddr::new_truncate(paddr), &access(paddr));
        }
    }

    #[test]
    fn splitting_the_work_changes_nothing() {
        let mut whole = Store::new(usize::MAX);
        let mut parts = [Store::new(usize::MAX), whole.split()];
        for number in 0..1000u64 {
            let paddr = (number * 7919 % 613) << 18;
            count(&mut whole, paddr, 1);
            count(&mut parts[usize::from(number % 3 == 0)], paddr, 1);
        }
        let [mut merged, other] = parts;
        merged.merge(other);
        merged.validate();
        whole.validate();
        assert_eq!(merged.len(), whole.len());
        for (pfn, folio) in whole.folios() {
            let same = merged.folios().find(|(other, _)| *other == pfn).unwrap().1;
            assert_eq!(same.counters.to_array(), folio.counters.to_array());
            assert_eq!(same.directions, folio.directions);
        }
    }

    #[test]
    fn a_part_that_is_dropped_leaves_no_trace() {
        let mut whole = Store::new(usize::MAX);
        let mut part = whole.split();
        count(&mut whole, 0, 1);
        count(&mut part, 1 << 21, 3);
        drop(part);
        whole.validate();
        assert_eq!(whole.len(), 1);
        assert_eq!(whole.budget.used.load(Ordering::Relaxed), whole.used);
    }

    #[test]
    fn the_budget_holds_and_what_goes_is_told() {
        let limit = 100 * ENTRY_BYTES;
        let mut store = Store::new(limit);
        // One hot block, then many that are touched once.
        count(&mut store, 0, 1000);
        for number in 1..10_000u64 {
            count(&mut store, number << 21, 1);
            assert!(store.used <= limit + ENTRY_BYTES);
        }
        store.validate();
        let kept: u64 = store.folios().map(|(_, folio)| folio.directions.total()).sum();
        assert_eq!(kept + store.evicted()[Source::Sample as usize], 1000 + 9_999);
        assert!(store.folios().any(|(pfn, _)| pfn.get() == 0), "the hot block stays");
        assert!(store.folios().any(|(pfn, _)| pfn.number() == 9_999), "so does the latest");
    }

    #[test]
    fn a_budget_too_small_for_anything_still_ends() {
        let mut store = Store::new(1);
        for number in 0..100u64 {
            count(&mut store, number << 21, 2);
        }
        store.validate();
        assert_eq!(store.len(), 1);
        assert_eq!(store.evicted().iter().sum::<u64>(), 198);
    }
}
