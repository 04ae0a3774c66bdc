//! Gathers accesses into batches, no more of each than the sink asked for.

use crate::{Batch, Direction, PhysAddr, Sink, Source, Touch, TraceOffset};

/// Accesses in a batch: enough to hide the latency of memory, few enough to stay in the first
/// cache beside what is decoded and counted.
pub(super) const BATCH: usize = 128;

/// Room for one batch.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    addresses: Box<[PhysAddr; BATCH]>,
    touches: Vec<Touch>, // BATCH of them, or none until one is put in
}

impl Default for Gathered {
    fn default() -> Self {
        Self { addresses: Box::new([PhysAddr::new_truncate(0); BATCH]), touches: Vec::new() }
    }
}

/// A batch that is being filled. Its numbers are those of [`Batch`].
pub(super) struct Filling<'a> {
    room: &'a mut Gathered,
    cpu: Option<u32>,
    file: u32,
    len: usize, // in 0..BATCH
    detailed: bool,
    pub(super) records: u64,
    pub(super) not_memory: u64,
    pub(super) not_retired: u64,
    pub(super) tid_unknown: u64,
    pub(super) times: Option<(u64, u64)>,
}

impl Gathered {
    /// An empty batch of records of one CPU that stand in one file.
    pub(super) fn start(&mut self, cpu: Option<u32>, file: u32) -> Filling<'_> {
        Filling {
            room: self,
            cpu,
            file,
            len: 0,
            detailed: false,
            records: 0,
            not_memory: 0,
            not_retired: 0,
            tid_unknown: 0,
            times: None,
        }
    }
}

impl Filling<'_> {
    /// Adds a record of which only the physical address is wanted, if it is an access and has
    /// one. No branch depends on what it is.
    #[inline(always)]
    pub(super) fn place<S: Sink + ?Sized>(
        &mut self,
        is_memory: bool,
        has_place: bool,
        payload: u64,
        sink: &mut S,
    ) {
        self.records += 1;
        self.not_memory += u64::from(!is_memory);
        self.room.addresses[self.len % BATCH] = PhysAddr::new_truncate(payload);
        self.len += usize::from(has_place);
        if self.len == BATCH {
            self.give_to(sink);
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
        if self.room.touches.len() != BATCH {
            self.room.make_room();
        }
        self.room.touches[self.len % BATCH] = touch;
        self.detailed = true;
        self.room.addresses[self.len % BATCH] = address;
        self.len += 1;
        if self.len == BATCH {
            self.give_to(sink);
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

    /// Gives out what there is, and is empty again.
    #[inline(never)]
    pub(super) fn give_to<S: Sink + ?Sized>(&mut self, sink: &mut S) {
        if self.records == 0 {
            return;
        }
        sink.batch(&Batch {
            source: Source::ArmSpe,
            cpu: self.cpu,
            file: self.file,
            records: self.records,
            not_memory: self.not_memory,
            // What is left.
            no_physical_address: self.records - self.not_memory - self.len as u64,
            not_retired: self.not_retired,
            tid_unknown: self.tid_unknown,
            times: self.times,
            addresses: &self.room.addresses[..self.len],
            touches: if self.detailed { &self.room.touches[..self.len] } else { &[] },
        });
        self.len = 0;
        self.records = 0;
        self.not_memory = 0;
        self.not_retired = 0;
        self.tid_unknown = 0;
        self.times = None;
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
        self.touches.resize(BATCH, nothing);
    }
}
