//! One AUX queue: the chunks of a ring, put in their places, decoded, and given out as
//! accesses.

use super::data_source::Encoding;
use super::decoder::Decoder;
use super::gather::{Filling, with_room};
use super::layout::{Layouts, Run, Take};
use super::record::Record;
use super::resume::ResumeState;
use crate::aux_data::byte_account::{ByteAccount, Timed};
use crate::aux_data::chunk::{AuxFormat, Chunk, ChunkHandler, ChunkReader};
use crate::aux_data::threads::Threads;
use crate::perf::{QueueKey, SideBand};
use crate::{Detail, Origin, PhysAddr, Position, Sink, Source, Touch, TraceOffset, cost};

impl Chunk {
    /// When a record was made, if its ticks can be converted.
    #[inline(always)]
    fn time_of(&self, record: &Record) -> Option<u64> {
        Some(self.clock?.nanoseconds(record.timestamp()?))
    }

    /// How its CPU encodes data sources.
    fn encoding(&self) -> Encoding {
        match self.unit {
            AuxFormat::ArmSpe(encoding) => encoding,
            AuxFormat::IntelPt(_) => Encoding::Unknown,
        }
    }
}

/// Decodes the chunks of one queue, in their order.
#[derive(Clone, Debug)]
pub struct Queue {
    key: QueueKey,
    course: ChunkReader,
    decoder: Decoder,
    /// What the side band said in this chunk.
    threads: Threads,
    timed: Timed,
}

/// Takes physical addresses and nothing else.
struct Places<'a, 'b, S: ?Sized> {
    batch: &'a mut Filling<'b>,
    sink: &'a mut S,
}

impl<S: Sink + ?Sized> Take for Places<'_, '_, S> {
    #[inline(always)]
    fn record(&mut self, record: &Record, _: usize) {
        self.batch.totals.records += 1;
        if !record.is_memory() {
            self.batch.totals.not_memory += 1;
        } else if let Some(payload) = record.data_pa() {
            self.batch.place(PhysAddr::new_truncate(payload), self.sink);
        }
    }

    #[inline(always)]
    fn run(&mut self, layouts: &mut Layouts, bytes: &[u8], _: usize) -> Run {
        layouts.places(bytes, self.batch, self.sink)
    }
}

/// Takes what counting needs.
struct Touches<'a, 'b, S: ?Sized> {
    batch: &'a mut Filling<'b>,
    chunk: &'a Chunk,
    key: QueueKey,
    /// Where the bytes stand.
    at: Position,
    threads: &'a mut Threads,
    sideband: &'a SideBand,
    sink: &'a mut S,
}

impl<S: Sink + ?Sized> Take for Touches<'_, '_, S> {
    #[inline(always)]
    fn record(&mut self, record: &Record, end: usize) {
        let totals = &mut self.batch.totals;
        let time_ns = self.chunk.time_of(record);
        totals.records += 1;
        totals.not_retired += u64::from(record.not_retired());
        totals.time(time_ns);
        if !record.is_memory() {
            totals.not_memory += 1;
            return;
        }
        let (pid, tid) = self.threads.of(self.key, record.context(), time_ns, self.sideband);
        totals.tid_unknown += u64::from(tid.is_none());
        let Some(payload) = record.data_pa() else { return };
        let touch = Touch {
            direction: record.direction(),
            latency_cycles: record.total_latency().map_or(0, u32::from),
            pid,
            vaddr: record.data_va().map(super::data_address),
            time_ns,
            offset: last_byte(self.at, end).offset,
        };
        self.batch.touch(PhysAddr::new_truncate(payload), touch, self.sink);
    }
}

/// Where a record's last byte stands that ends before the byte `end` of what stands at `at`.
#[inline(always)]
fn last_byte(at: Position, end: usize) -> Position {
    Position { offset: TraceOffset((at.offset.0 + end as u64).saturating_sub(1)), ..at }
}

/// What becomes of a queue's bytes.
struct Decoding<'a, S: ?Sized> {
    key: QueueKey,
    decoder: &'a mut Decoder,
    threads: &'a mut Threads,
    timed: &'a mut Timed,
    sideband: &'a SideBand,
    sink: &'a mut S,
}

impl<S: Sink + ?Sized> ChunkHandler for Decoding<'_, S> {
    fn overlap(&mut self, len: u64) {
        self.decoder.overlap(len);
    }

    fn fill(&mut self, len: usize) {
        self.decoder.fill(len);
    }

    fn unfill(&mut self, len: usize) {
        self.decoder.unfill(len);
    }

    fn gap_at(&mut self, place: u64) {
        self.decoder.gap_at(place);
    }

    fn data(&mut self, chunk: &Chunk, bytes: &[u8], place: u64, at: Position) {
        cost::bytes(bytes.len());
        let Self { key, decoder, threads, timed, sideband, sink } = self;
        let (key, sink) = (*key, &mut **sink);
        match sink.detail() {
            Detail::Addresses => with_room(|room| {
                let mut batch = room.start(key, at.file);
                decoder.take(bytes, place, &mut Places { batch: &mut batch, sink });
                batch.end(sink);
            }),
            Detail::Counts => with_room(|room| {
                let mut batch = room.start(key, at.file);
                let mut taker =
                    Touches { batch: &mut batch, chunk, key, at, threads, sideband, sink };
                decoder.take(bytes, place, &mut taker);
                batch.end(sink);
            }),
            Detail::Accesses => decoder.feed(bytes, place, &mut |record, end| {
                let time_ns = chunk.time_of(record);
                let origin = Origin {
                    source: Source::ArmSpe,
                    event: chunk.event,
                    cpu: key.cpu,
                    time_ns,
                    not_retired: record.not_retired(),
                    position: last_byte(at, end),
                };
                let thread = threads.of(key, record.context(), time_ns, sideband);
                match record.access(origin, thread, chunk.encoding()) {
                    Some(mut access) => {
                        access.aux_queue = Some(key);
                        sink.access(&access);
                    }
                    None => sink.other(&origin),
                }
            }),
        }
        timed.records |= decoder.bytes().record > 0;
        if decoder.take_ticked() {
            timed.ticks = true;
            timed.ns |= chunk.clock.is_some();
        }
    }
}

impl Queue {
    /// A queue before its first chunk.
    pub fn new(key: QueueKey) -> Self {
        Self {
            key,
            course: ChunkReader::default(),
            decoder: Decoder::default(),
            threads: Threads::default(),
            timed: Timed::default(),
        }
    }

    /// Starts a chunk.
    pub fn begin(&mut self, chunk: Chunk) {
        cost::steps(1);
        // With timestamps, records that came before are known by their time; without, bytes by
        // their place, and what follows them goes on where the queue had ended.
        let by_place = chunk.repeated > 0 && !self.decoder.is_timed();
        let repeated = if by_place { chunk.repeated } else { 0 };
        let finished = if by_place { 0 } else { self.decoder.join(chunk.join) };
        self.threads = Threads::default();
        self.course.begin(chunk, repeated, finished);
        self.pass_break();
    }

    /// Cuts off a record that started before a loss at or before the next byte.
    fn pass_break(&mut self) {
        if let Some(place) = self.course.passed_break() {
            self.decoder.gap_at(place);
        }
    }

    /// Decodes the next bytes of the chunk, which stand at `at` in the input.
    pub fn bytes<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        at: Position,
        sideband: &SideBand,
        sink: &mut S,
    ) {
        let Self { key, course, decoder, threads, timed } = self;
        let mut decoding = Decoding { key: *key, decoder, threads, timed, sideband, sink };
        course.bytes(bytes, at, &mut decoding);
    }

    /// The queue has ended. Returns its account, the number of bytes that were fed, counted
    /// apart from it, and which times its records had.
    pub fn finish(mut self) -> (ByteAccount, u64, Timed) {
        self.decoder.finish();
        (self.decoder.bytes(), self.decoder.total(), self.timed)
    }

    /// The same before its end: what is unfinished is in none of it.
    pub fn so_far(&self) -> (ByteAccount, u64, Timed) {
        let bytes = self.decoder.bytes();
        (bytes, bytes.sum(), self.timed)
    }

    /// The queue's CPU, and the time of its last record: what follows was made later.
    pub(crate) fn passed(&self) -> Option<(u32, u64)> {
        let clock = self.course.chunk()?.clock?;
        Some((self.key.cpu?, clock.nanoseconds(self.decoder.newest()?)))
    }

    /// What is left of the bytes so far, if that is all: see [`ResumeState`].
    pub(crate) fn resume_state(&self) -> Option<ResumeState> {
        self.course.passes_nothing_over().then(|| self.decoder.resume_state()).flatten()
    }

    /// A queue that goes on there with a chunk.
    pub(crate) fn resumed(key: QueueKey, state: ResumeState) -> Self {
        Self { decoder: Decoder::resumed(state), ..Self::new(key) }
    }
}
