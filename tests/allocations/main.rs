//! No record is allocated on the way to its counter: once a recording's layouts, threads and
//! pages have been met, decoding and counting more of it allocates nothing, on any thread.
//!
//! A binary of its own with a single test, since its allocator counts for the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use decoder::{Access, Batch, Detail, EventIndex, Options, Origin, Shard, Sink};
use heatmap::{Counter, Filters};
use tracegen::{Config, Form, Layout as SpeLayout, Truth};

const CPUS: usize = 2;
/// How often the same trace comes before allocations are counted. Counters grow where a page
/// passes 255 accesses: no page that has `n` in each pass does so in pass 34, 35 or 36, whatever
/// `n` is. Three, since workers are up to two passes behind the reader that starts counting.
const PASSES: u64 = 35;

/// Counts allocations of the whole process, or of one thread, while that is switched on.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static EVERYWHERE: AtomicBool = AtomicBool::new(false);
thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

fn allocation() {
    if EVERYWHERE.load(Ordering::Relaxed) || HERE.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every method passes its arguments on to the system's allocator and returns what that
// returns, so it keeps what the caller promised and what the system's allocator promises. What is
// added neither allocates (an atomic, and a thread local without a destructor) nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocation();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocation();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        allocation();
        // SAFETY: the caller's promises are the same; `pointer` came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same; `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A recording that goes on and on: the same records again and again, their AUX data each time
/// behind that of the time before.
struct Repeated {
    bytes: Vec<u8>,
    /// Where the last pass starts.
    last: usize,
    truth: Truth,
}

/// A field of a record.
fn field(record: &[u8], at: usize, len: usize) -> usize {
    let bytes = record[at..at + len].iter().rev();
    bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

impl Repeated {
    fn new() -> Self {
        const FINISHED_INIT: usize = 82;
        let config = Config {
            records: 20_000,
            folios: 200,
            layouts: vec![SpeLayout::N1, SpeLayout::Hw, SpeLayout::Mix],
            cpus: u32::try_from(CPUS).expect("a small number"),
            form: Form::Stream,
            piece_size: 32 << 10,
            ..Config::default()
        };
        let (bytes, truth) = tracegen::to_bytes(&config).expect("the configuration is right");
        let mut start = 16;
        while field(&bytes, start, 4) != FINISHED_INIT {
            start += field(&bytes, start + 6, 2);
        }
        start += field(&bytes, start + 6, 2);
        let mut repeated = Self { bytes: bytes[..start].to_vec(), last: 0, truth };
        let mut moved_by = [0; CPUS];
        for _ in 0..=PASSES {
            repeated.last = repeated.bytes.len();
            repeated.pass(&bytes[start..], &mut moved_by);
        }
        repeated
    }

    /// Adds the records with the places of AUX data moved on, and moves on by what they hold.
    fn pass(&mut self, mut records: &[u8], moved_by: &mut [usize; CPUS]) {
        const AUX: usize = 11;
        const AUXTRACE: usize = 71;
        let before = *moved_by;
        while !records.is_empty() {
            let (kind, size) = (field(records, 0, 4), field(records, 6, 2));
            // The place, the CPU (of AUX in the trailer), and the bytes behind the record.
            let (place, cpu, payload) = match kind {
                AUX => (8, field(records, size - 16, 4), 0),
                AUXTRACE => (16, field(records, 40, 4), field(records, 8, 8)),
                _ => (0, 0, 0),
            };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&records[..size + payload]);
            if place > 0 {
                let moved = (field(records, place, 8) + before[cpu]) as u64;
                self.bytes[start + place..][..8].copy_from_slice(&moved.to_le_bytes());
            }
            moved_by[cpu] += payload;
            records = &records[size + payload..];
        }
    }

    fn counted(&self) -> u64 {
        self.truth.ledger.counted * (PASSES + 1)
    }
}

/// Reads a recording, and has all allocations counted from the start of the last pass to its end.
struct Reader<'a> {
    recording: &'a Repeated,
    at: usize,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Repeated { bytes, last, .. } = self.recording;
        EVERYWHERE.store((*last..bytes.len()).contains(&self.at), Ordering::Relaxed);
        let until = if self.at < *last { *last } else { bytes.len() };
        let len = (&bytes[self.at..until]).read(buffer)?;
        self.at += len;
        Ok(len)
    }
}

/// Counts, and has the allocations of its thread counted during the last pass over a CPU's data.
struct Watched {
    counter: Counter,
    /// Records of each CPU in one pass.
    each: [u64; CPUS],
    seen: [u64; CPUS],
    /// CPUs whose last pass was watched.
    watched: usize,
}

impl Watched {
    fn saw(&mut self, cpu: Option<u32>, records: u64) {
        let cpu = cpu.expect("the generator names it") as usize;
        let (before, from) = (self.seen[cpu], PASSES * self.each[cpu]);
        self.seen[cpu] += records;
        // Of a batch that reaches into the last pass, the rest of the pass is watched.
        if before < from && self.seen[cpu] >= from {
            HERE.set(true);
        }
        if self.seen[cpu] >= from + self.each[cpu] {
            HERE.set(false);
            self.watched += 1;
        }
    }
}

impl Sink for Watched {
    fn detail(&self) -> Detail {
        self.counter.detail()
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        self.counter.batch(batch);
        self.saw(batch.cpu, batch.records);
    }

    fn event_name(&mut self, event: EventIndex, name: &str) {
        self.counter.event_name(event, name);
    }

    fn access(&mut self, access: &Access) {
        self.counter.access(access);
        self.saw(access.origin.cpu, 1);
    }

    fn other(&mut self, origin: &Origin) {
        self.counter.other(origin);
        self.saw(origin.cpu, 1);
    }

    fn recording_ended(&mut self) {
        self.counter.recording_ended();
    }
}

impl Shard for Watched {
    fn split(&self) -> Self {
        Self { counter: self.counter.split(), ..*self }
    }

    fn merge(&mut self, other: Self) {
        self.counter.merge(other.counter);
        self.watched += other.watched;
    }
}

fn counted(counter: &Counter) -> u64 {
    counter.ledgers().map(|(_, ledger)| ledger.counted).sum()
}

#[test]
fn the_steady_state_allocates_nothing() {
    let recording = Repeated::new();
    let new_counter = || Counter::new(Filters::default(), usize::MAX);
    let mut found = Vec::new();

    let options = |threads| Options::new(NonZeroUsize::new(threads).unwrap());
    for threads in 1..=CPUS {
        let mut counter = new_counter();
        let reader = Reader { recording: &recording, at: 0 };
        decoder::decode_stream(reader, 0, &options(threads), &mut counter).unwrap();
        assert_eq!(counted(&counter), recording.counted());
        found.push(("stream", threads, ALLOCATIONS.swap(0, Ordering::Relaxed)));
    }

    let mut each = PerCpu::default();
    decoder::decode_stream(&recording.bytes[..], 0, &options(1), &mut each).unwrap();
    let each = each.0.map(|records| records / (PASSES + 1));
    for threads in 1..=CPUS {
        let mut sink = Watched { counter: new_counter(), each, seen: [0; CPUS], watched: 0 };
        decoder::decode_bytes(&[&recording.bytes], 0, &options(threads), &mut sink).unwrap();
        assert_eq!(counted(&sink.counter), recording.counted());
        assert_eq!(sink.watched, CPUS, "a CPU's data went to one sink, all of it");
        found.push(("file", threads, ALLOCATIONS.swap(0, Ordering::Relaxed)));
    }

    // All are told, not only the first that allocates.
    let wanted: Vec<_> = found.iter().map(|(entry, threads, _)| (*entry, *threads, 0)).collect();
    assert_eq!(found, wanted, "entry, threads, allocations");
}

/// Records by CPU.
#[derive(Default)]
struct PerCpu([u64; CPUS]);

impl Sink for PerCpu {
    fn access(&mut self, access: &Access) {
        self.other(&access.origin);
    }

    fn other(&mut self, origin: &Origin) {
        self.0[origin.cpu.expect("the generator names it") as usize] += 1;
    }
}

impl Shard for PerCpu {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, records)| *sum += records);
    }
}
