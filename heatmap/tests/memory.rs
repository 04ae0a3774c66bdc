//! The memory that counting takes, measured at the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use decoder::{Batch, Direction, PhysAddr, Source, Touch, TraceOffset};
use heatmap::{Block, Counters, Folio, Store};

/// The system's allocator; counts what it gives out, for each thread.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        NOW.set(NOW.get().wrapping_add(layout.size()));
        PEAK.set(PEAK.get().max(NOW.get()));
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.set(NOW.get().wrapping_sub(layout.size()));
        // SAFETY: see above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Numbers that look random (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}

/// Accesses to these pages, in lists that a batch borrows.
struct Accesses(Vec<PhysAddr>, Vec<Touch>);

impl Accesses {
    fn to(pages: impl Iterator<Item = u64>) -> Self {
        let touch = Touch {
            direction: Direction::Load,
            latency_cycles: 9,
            pid: None,
            vaddr: None,
            time_ns: Some(7),
            offset: TraceOffset(0),
        };
        let pages: Vec<_> = pages.map(|page| PhysAddr::new_truncate(page << 12)).collect();
        let touches = vec![touch; pages.len()];
        Self(pages, touches)
    }

    fn count<B: Block>(&self, store: &mut Store<B>, source: Source) {
        let batch = Batch {
            source,
            cpu: None,
            aux_queue: None,
            file: 0,
            records: self.0.len() as u64,
            not_memory: 0,
            no_physical_address: 0,
            not_retired: 0,
            tid_unknown: 0,
            times: None,
            addresses: &self.0,
            touches: &self.1,
        };
        store.batch(&batch.into());
    }
}

/// Counts `batches` of 128 pages each that `page` makes up, and says how much heap that took at
/// most, without what the test itself takes.
fn peak<B: Block>(limit: usize, batches: usize, page: impl Fn(&mut Random) -> u64) -> usize {
    const OWN: usize = 64 << 10;
    let before = NOW.get();
    PEAK.set(before);
    let mut random = Random(limit as u64 | 1);
    let whole: Store<B> = Store::new(limit);
    let mut parts = [whole.split(), whole.split()];
    for number in 0..batches {
        // A second source now and then.
        let source = if number % 64 == 1 { Source::Pebs } else { Source::ArmSpe };
        let part = &mut parts[usize::from(number % 3 == 0)];
        Accesses::to((0..128).map(|_| page(&mut random))).count(part, source);
    }
    parts.iter().for_each(Store::validate);
    let [mut merged, other] = parts;
    merged.merge(other);
    merged.validate();
    let counted: u64 = merged.folios().map(|(_, block)| block.total()).sum();
    assert_eq!(counted + merged.evicted().iter().sum::<u64>(), batches as u64 * 128);
    drop((merged, whole));
    (PEAK.get() - before).saturating_sub(OWN)
}

fn check<B: Block>(limit: usize, batches: usize) {
    type Page = fn(&mut Random) -> u64;
    let workloads: [(&str, Page); 4] = [
        ("few pages of many blocks", |random| random.below(1 << 17) << 9 | random.below(20)),
        ("all pages of many blocks", |random| random.below(1 << 24)),
        ("hot pages", |random| random.below(1 << 10) << 9 | random.below(100)),
        ("ever new blocks", |random| random.below(1 << 44)),
    ];
    for (name, page) in workloads {
        let peak = peak::<B>(limit, batches, page);
        assert!(peak <= limit / 100 * 105, "{name}: {peak} bytes of {limit}");
    }
}

#[test]
fn the_budget_holds_at_the_allocator() {
    for (limit, batches) in [(1 << 20, 1000), (8 << 20, 2000)] {
        check::<Counters>(limit, batches);
        check::<Folio>(limit, batches);
    }
}

#[test]
fn what_is_known_is_counted_without_allocating() {
    fn calls<B: Block>() -> usize {
        let pages = (0..50).flat_map(|block| (0..block * 7).map(move |page| block << 9 | page));
        let accesses = Accesses::to(pages);
        let mut store: Store<B> = Store::new(usize::MAX);
        accesses.count(&mut store, Source::ArmSpe);
        let before = CALLS.get();
        (0..100).for_each(|_| accesses.count(&mut store, Source::ArmSpe));
        CALLS.get() - before
    }
    assert_eq!((calls::<Counters>(), calls::<Folio>()), (0, 0));
}

#[test]
fn stores_of_other_blocks_are_put_together_without_copying_them() {
    const BLOCKS: u64 = 10_000;
    let whole: Store = Store::new(usize::MAX);
    let mut parts: Vec<Store> = (0..8).map(|_| whole.split()).collect();
    for (number, part) in (0..).zip(&mut parts) {
        let blocks = BLOCKS * number..BLOCKS * (number + 1);
        Accesses::to(blocks.map(|block| block << 9)).count(part, Source::ArmSpe);
    }
    let before = CALLS.get();
    let merged = parts.into_iter().reduce(|mut all, part| {
        all.merge(part);
        all
    });
    let calls = CALLS.get() - before;
    assert_eq!(merged.map(|all| all.len() as u64), Some(8 * BLOCKS));
    // The index and the list of pieces, which double: not the pieces, of which there are 1,250.
    assert!(calls < 30, "{calls} allocations");
}
