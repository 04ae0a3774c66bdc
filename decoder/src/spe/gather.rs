//! Gathers accesses into batches, no more of each than the sink asked for.

use core::cell::RefCell;

use crate::perf::QueueKey;
use crate::{Batch, Direction, PhysAddr, Sink, Source, Touch, TraceOffset};

/// Accesses in a batch of addresses alone. While they are counted nothing is decoded, and the
/// other way round: that each has the first cache to itself for long pays more than that the
/// addresses stay in it. With 256, 512 and 1024 of them, decoding 256 MiB took 13.3, 14.5 and 15.9
/// ms, decoding and counting 33, 30 and 28 ms (benchmark `ratios`).
pub(super) const BATCH: usize = 512;
/// Accesses in a batch that says more of each. They are larger.
const TOUCHES: usize = 128;

/// Room for one batch.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    addresses: Box<[PhysAddr; BATCH]>,
    touches: Vec<Touch>, // TOUCHES of them, or none until one is put in
}

impl Default for Gathered {
    fn default() -> Self {
        Self { addresses: Box::new([PhysAddr::new_truncate(0); BATCH]), touches: Vec::new() }
    }
}

thread_local! {
    /// Each thread has room for one batch: it decodes one chunk at a time, of however many queues.
    static ROOM: RefCell<Gathered> = RefCell::default();
}

/// Lends this thread's room.
pub(super) fn with_room<T>(fill: impl FnOnce(&mut Gathered) -> T) -> T {
    ROOM.with(|room| match room.try_borrow_mut() {
        Ok(mut room) => fill(&mut room),
        // A sink decodes something itself.
        Err(_) => fill(&mut Gathered::default()),
    })
}

/// A batch that is being filled.
pub(super) struct Filling<'a> {
    pub(super) totals: Totals,
    room: &'a mut Gathered,
    /// Its accesses have touches.
    touched: bool,
}

/// The numbers of a [`Batch`].
pub(super) struct Totals {
    queue: QueueKey,
    file: u32,
    pub(super) len: usize, // in 0..=BATCH
    pub(super) records: u64,
    pub(super) not_memory: u64,
    pub(super) not_retired: u64,
    pub(super) tid_unknown: u64,
    pub(super) times: Option<(u64, u64)>,
}

impl Gathered {
    /// An empty batch of records of one ring that stand in one file.
    pub(super) fn start(&mut self, queue: QueueKey, file: u32) -> Filling<'_> {
        Filling { totals: Totals::new(queue, file), room: self, touched: false }
    }
}

impl<'a> Filling<'a> {
    /// Its numbers, and the room for its addresses.
    #[inline(always)]
    pub(super) fn parts(&mut self) -> (&mut Totals, &mut [PhysAddr; BATCH]) {
        (&mut self.totals, &mut self.room.addresses)
    }

    /// Adds an access of which only the address is wanted.
    #[inline(always)]
    pub(super) fn place<S: Sink + ?Sized>(&mut self, address: PhysAddr, sink: &mut S) {
        self.room.addresses[self.totals.len % BATCH] = address;
        self.totals.len += 1;
        if self.totals.len == BATCH {
            self.totals.give_to(&self.room.addresses, &[], sink);
        }
    }

    /// Adds an access.
    #[inline(always)]
    pub(super) fn touch<S: Sink + ?Sized>(
        &mut self,
        address: PhysAddr,
        touch: Touch,
        sink: &mut S,
    ) {
        if self.room.touches.len() != TOUCHES {
            self.room.make_room();
        }
        self.touched = true;
        self.room.addresses[self.totals.len % TOUCHES] = address;
        self.room.touches[self.totals.len % TOUCHES] = touch;
        self.totals.len += 1;
        if self.totals.len == TOUCHES {
            self.totals.give_to(&self.room.addresses, &self.room.touches, sink);
        }
    }

    /// Gives out what there is.
    pub(super) fn end<S: Sink + ?Sized>(mut self, sink: &mut S) {
        let touches = if self.touched { &self.room.touches[..] } else { &[] };
        self.totals.give_to(&self.room.addresses, touches, sink);
    }
}

impl Totals {
    fn new(queue: QueueKey, file: u32) -> Self {
        Self {
            queue,
            file,
            len: 0,
            records: 0,
            not_memory: 0,
            not_retired: 0,
            tid_unknown: 0,
            times: None,
        }
    }

    /// Adds a record's time.
    #[inline(always)]
    pub(super) fn time(&mut self, time: Option<u64>) {
        if let Some(time) = time {
            self.times = Some(
                self.times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))),
            );
        }
    }

    /// Gives out what there is, with the first so many of the addresses, and is empty again.
    #[inline(never)]
    pub(super) fn give_to<S: Sink + ?Sized>(
        &mut self,
        addresses: &[PhysAddr; BATCH],
        touches: &[Touch],
        sink: &mut S,
    ) {
        if self.records == 0 {
            return;
        }
        sink.batch(&Batch {
            source: Source::ArmSpe,
            cpu: self.queue.cpu,
            aux_queue: Some(self.queue),
            file: self.file,
            records: self.records,
            not_memory: self.not_memory,
            // What is left.
            no_physical_address: self.records - self.not_memory - self.len as u64,
            not_retired: self.not_retired,
            tid_unknown: self.tid_unknown,
            times: self.times,
            addresses: &addresses[..self.len],
            touches: touches.get(..self.len).unwrap_or_default(),
        });
        *self = Self::new(self.queue, self.file);
    }
}

impl Gathered {
    #[cold]
    fn make_room(&mut self) {
        let nothing = Touch {
            direction: Direction::Unknown,
            latency_cycles: 0,
            pid: None,
            vaddr: None,
            time_ns: None,
            offset: TraceOffset(0),
        };
        self.touches.resize(TOUCHES, nothing);
    }
}
