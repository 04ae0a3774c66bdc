//! One AUX queue: the pieces of a ring, put in their places, decoded, and given out as
//! accesses.

use super::gather::{Filling, Gathered};
use super::layout::{Layouts, Run, Take};
use super::split::Between;
use super::threads::Threads;
use super::{ByteAccount, Decoder, Encoding, Join, Record};
use crate::perf::{Clock, QueueKey, SideBand};
use crate::{Detail, EventIndex, Origin, PhysAddr, Position, Sink, Source, Touch, TraceOffset};

/// What is known of a queue's next bytes before they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Place of the first byte in the queue's running count.
    pub offset: u64,
    /// Bytes of data in it; zeros behind them are perf's filling.
    pub data_len: u64,
    /// How it follows the piece before.
    pub join: Join,
    /// First bytes that the piece before had too, by their place in the running count.
    pub repeated: u64,
    /// Places at which data was lost, in ascending order.
    pub breaks: Vec<u64>,
    /// Conversion of its timestamps.
    pub clock: Option<Clock>,
    /// The event it belongs to.
    pub event: Option<EventIndex>,
    /// How its CPU encodes data sources.
    pub encoding: Encoding,
}

impl Piece {
    /// Whether the piece only goes on where the one before it ended.
    pub fn changes_nothing(&self) -> bool {
        self.join == Join::Continued && self.repeated == 0 && self.breaks.is_empty()
    }

    /// When a record was made, if its ticks can be converted.
    #[inline(always)]
    fn time_of(&self, record: &Record) -> Option<u64> {
        Some(self.clock?.nanoseconds(record.timestamp()?))
    }
}

/// Decodes the pieces of one queue, in their order.
#[derive(Clone, Debug)]
pub struct Queue {
    key: QueueKey,
    decoder: Decoder,
    piece: Option<Piece>,
    /// Place of the next byte in the running count.
    next: u64,
    /// Bytes of the piece that are passed over as repeated.
    repeated: u64,
    /// Bytes of the piece that belong to a packet that is finished already.
    finished: usize,
    /// What the side band said in this piece.
    threads: Threads,
    timed: Timed,
    gathered: Gathered,
}

/// Which times a queue's records had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// There were records.
    pub records: bool,
    /// Some had a timestamp.
    pub ticks: bool,
    /// Some had one that could be converted.
    pub ns: bool,
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
    piece: &'a Piece,
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
        let time_ns = self.piece.time_of(record);
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

impl Queue {
    /// A queue before its first piece.
    pub fn new(key: QueueKey) -> Self {
        Self {
            key,
            decoder: Decoder::default(),
            piece: None,
            next: 0,
            repeated: 0,
            finished: 0,
            threads: Threads::default(),
            timed: Timed::default(),
            gathered: Gathered::default(),
        }
    }

    /// Starts a piece.
    pub fn begin(&mut self, piece: Piece) {
        // With timestamps, records that came before are known by their time; without, bytes by
        // their place, and what follows them goes on where the queue had ended.
        let by_place = piece.repeated > 0 && !self.decoder.is_timed();
        self.repeated = if by_place { piece.repeated } else { 0 };
        self.finished = if by_place { 0 } else { self.decoder.join(piece.join) };
        self.next = piece.offset;
        self.threads = Threads::default();
        self.piece = Some(piece);
        self.pass_breaks();
    }

    /// Cuts off a record that started before a loss at or before the next byte.
    fn pass_breaks(&mut self) {
        let Some(piece) = &mut self.piece else { return };
        let passed = piece.breaks.partition_point(|place| *place <= self.next);
        if passed > 0 {
            self.decoder.gap_at(piece.breaks[passed - 1]);
            piece.breaks.drain(..passed);
        }
    }

    /// Decodes the next bytes of the piece, which stand at `at` in the input.
    pub fn bytes<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        mut at: Position,
        sideband: &SideBand,
        sink: &mut S,
    ) {
        let mut rest = bytes;
        let repeated = self.take(&mut rest, &mut at, self.repeated);
        self.repeated -= repeated as u64;
        self.decoder.overlap(repeated as u64);
        let finished = self.take(&mut rest, &mut at, self.finished as u64);
        self.finished -= finished;
        self.decoder.fill(finished);
        self.pass_breaks();

        while let Some(piece) = self.piece.as_mut().filter(|_| !rest.is_empty()) {
            let taken = self.next.wrapping_sub(piece.offset);
            let data_left = piece.data_len.saturating_sub(taken);
            if data_left == 0 {
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                if zeros < rest.len() {
                    // What looked like filling is not: it is data after all.
                    piece.data_len = u64::MAX;
                }
                self.decoder.fill(zeros);
                self.take(&mut rest, &mut at, zeros as u64);
                self.pass_breaks();
                continue;
            }
            let next_break = piece.breaks.first().and_then(|place| place.checked_sub(self.next));
            let (data, from, place) = (rest, at, self.next);
            let len = self.take(&mut rest, &mut at, next_break.unwrap_or(u64::MAX).min(data_left));
            self.decode(&data[..len], place, from, sideband, sink);
            self.pass_breaks();
        }
    }

    /// Moves on by at most `len` bytes, and returns by how many.
    fn take(&mut self, rest: &mut &[u8], at: &mut Position, len: u64) -> usize {
        let len = rest.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        *rest = &rest[len..];
        at.offset.0 += len as u64;
        self.next = self.next.wrapping_add(len as u64);
        len
    }

    /// Decodes bytes of the piece, the first of which is at `place` of the queue.
    fn decode<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        place: u64,
        at: Position,
        sideband: &SideBand,
        sink: &mut S,
    ) {
        let Self { key, decoder, piece, threads, timed, gathered, .. } = self;
        let Some(piece) = piece else { return };
        match sink.detail() {
            Detail::Places => {
                let mut batch = gathered.start(key.cpu, at.file);
                decoder.take(bytes, place, &mut Places { batch: &mut batch, sink });
                batch.end(sink);
            }
            Detail::Touches => {
                let mut batch = gathered.start(key.cpu, at.file);
                let key = *key;
                let mut taker =
                    Touches { batch: &mut batch, piece, key, at, threads, sideband, sink };
                decoder.take(bytes, place, &mut taker);
                batch.end(sink);
            }
            Detail::Accesses => decoder.feed(bytes, place, &mut |record, end| {
                let time_ns = piece.time_of(record);
                let origin = Origin {
                    source: Source::ArmSpe,
                    event: piece.event,
                    cpu: key.cpu,
                    time_ns,
                    not_retired: record.not_retired(),
                    position: last_byte(at, end),
                };
                let thread = threads.of(*key, record.context(), time_ns, sideband);
                match record.access(origin, thread, piece.encoding) {
                    Some(access) => sink.access(&access),
                    None => sink.other(&origin),
                }
            }),
        }
        timed.records |= decoder.bytes().record > 0;
        if decoder.take_ticked() {
            timed.ticks = true;
            timed.ns |= piece.clock.is_some();
        }
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
        let total = bytes.record + bytes.padding + bytes.skipped + bytes.cut_off;
        (bytes, total, self.timed)
    }

    /// The queue's CPU, and the time of its last record: what follows was made later.
    pub(crate) fn passed(&self) -> Option<(u32, u64)> {
        let clock = self.piece.as_ref()?.clock?;
        Some((self.key.cpu?, clock.nanoseconds(self.decoder.newest()?)))
    }

    /// What is left of the bytes so far, if that is all: see [`Between`].
    pub(crate) fn between(&self) -> Option<Between> {
        (self.repeated == 0 && self.finished == 0).then(|| self.decoder.between()).flatten()
    }

    /// A queue that goes on behind the first `taken` bytes of a piece.
    pub(crate) fn resumed(key: QueueKey, piece: Piece, taken: u64, between: Between) -> Self {
        let next = piece.offset.wrapping_add(taken);
        let decoder = Decoder::resumed(between);
        let mut queue = Self { decoder, piece: Some(piece), next, ..Self::new(key) };
        queue.pass_breaks();
        queue
    }
}
