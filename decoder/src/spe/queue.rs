//! What records of a queue are given out as: addresses alone, what counting takes, or accesses.

use super::data_source::Encoding;
use super::decoder::Decoder;
use super::gather::{Filling, with_room};
use super::layout::{Layouts, Run, Take};
use super::record::Record;
use super::resume::ResumeState;
use crate::aux_data::byte_account::FedBytes;
use crate::aux_data::chunk::{AuxFormat, Chunk};
use crate::aux_data::queue::{AuxDecoder, ChunkData, GiveTo, Given};
use crate::aux_data::threads::Threads;
use crate::perf::{QueueKey, SideBand};
use crate::{Detail, Origin, PhysAddr, Position, Sink, Source, Touch, TraceOffset};

impl Chunk {
    /// When a record was made, if its ticks can be converted.
    #[inline(always)]
    fn time_of(&self, record: &Record) -> Option<u64> {
        Some(self.clock?.nanoseconds(record.timestamp()?))
    }

    /// How its CPU encodes data sources.
    fn encoding(&self) -> Encoding {
        match self.format {
            AuxFormat::ArmSpe(encoding) => encoding,
            AuxFormat::IntelPt(_) => Encoding::Unknown,
        }
    }
}

/// Decodes the chunks of one queue, in their order.
pub type Queue = crate::aux_data::queue::Queue<Decoder>;

/// Takes physical addresses and nothing else.
struct Addresses<'a, 'b, S: ?Sized> {
    batch: &'a mut Filling<'b>,
    sink: &'a mut S,
}

impl<S: Sink + ?Sized> Take for Addresses<'_, '_, S> {
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
struct BatchGatherer<'a, 'b, S: ?Sized> {
    batch: &'a mut Filling<'b>,
    chunk: &'a Chunk,
    key: QueueKey,
    /// Where the bytes stand.
    at: Position,
    threads: &'a mut Threads,
    sideband: &'a SideBand,
    sink: &'a mut S,
}

impl<S: Sink + ?Sized> Take for BatchGatherer<'_, '_, S> {
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

impl AuxDecoder for Decoder {
    fn begin(&mut self, chunk: &Chunk) -> (u64, usize) {
        // With timestamps, records that came before are known by their time; without, bytes by
        // their place, and what follows them goes on where the queue had ended.
        if chunk.repeated > 0 && !self.is_timed() {
            (chunk.repeated, 0)
        } else {
            (0, self.join(chunk.continuity))
        }
    }

    fn decode<S: Sink + ?Sized>(&mut self, data: &ChunkData<'_>, into: GiveTo<'_, S>) -> Given {
        let &ChunkData { chunk, bytes, place, at } = data;
        let GiveTo { key, threads, sideband, sink } = into;
        match sink.detail() {
            Detail::Addresses => with_room(|room| {
                let mut batch = room.start(key, at.file);
                self.take(bytes, place, &mut Addresses { batch: &mut batch, sink });
                batch.end(sink);
            }),
            Detail::Counts => with_room(|room| {
                let mut batch = room.start(key, at.file);
                let mut taker =
                    BatchGatherer { batch: &mut batch, chunk, key, at, threads, sideband, sink };
                self.take(bytes, place, &mut taker);
                batch.end(sink);
            }),
            Detail::Accesses => self.feed(bytes, place, &mut |record, end| {
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
        Given { records: self.bytes().record > 0, ticked: self.take_ticked() }
    }

    fn gap_at(&mut self, place: u64) {
        Self::gap_at(self, place);
    }

    fn finish(&mut self) {
        Self::finish(self);
    }

    fn fed_mut(&mut self) -> &mut FedBytes {
        Self::fed_mut(self)
    }

    fn fed(&self) -> FedBytes {
        FedBytes { account: self.bytes(), total: self.total() }
    }

    fn newest(&self) -> Option<u64> {
        Self::newest(self)
    }
}

impl Queue {
    /// What is left of the bytes so far, if that is all: see [`ResumeState`].
    pub(crate) fn resume_state(&self) -> Option<ResumeState> {
        self.reader.passes_nothing_over().then(|| self.decoder.resume_state()).flatten()
    }

    /// A queue that goes on there with a chunk.
    pub(crate) fn resumed(key: QueueKey, state: ResumeState) -> Self {
        Self::with_decoder(key, Decoder::resumed(state))
    }
}
