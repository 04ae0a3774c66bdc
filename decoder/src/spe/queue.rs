//! One AUX queue: the pieces of a ring, put in their places, decoded, and given out as
//! accesses.

use super::split::Between;
use super::{ByteAccount, Decoder, Encoding, Join};
use crate::perf::{Clock, QueueKey, SideBand};
use crate::{EventIndex, Origin, Position, Sink, Source, TraceOffset};

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
    /// The last thread whose process was asked for in this piece, and the answer.
    process: Option<(u32, Option<u32>)>,
    timed: Timed,
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
            process: None,
            timed: Timed::default(),
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
        self.process = None;
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

    fn decode<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        place: u64,
        at: Position,
        sideband: &SideBand,
        sink: &mut S,
    ) {
        let Self { key, decoder, piece, process, timed, .. } = self;
        let Some(piece) = piece else { return };
        decoder.feed(bytes, place, &mut |record, end| {
            let ticks = record.timestamp();
            let time_ns = match (piece.clock, ticks) {
                (Some(clock), Some(ticks)) => Some(clock.nanoseconds(ticks)),
                _ => None,
            };
            timed.records = true;
            timed.ticks |= ticks.is_some();
            timed.ns |= time_ns.is_some();
            let origin = Origin {
                source: Source::ArmSpe,
                event: piece.event,
                cpu: key.cpu,
                time_ns,
                not_retired: record.not_retired(),
                position: Position {
                    offset: TraceOffset((at.offset.0 + end as u64).saturating_sub(1)),
                    ..at
                },
            };
            let mut process_of = |tid: u32| match *process {
                Some((known, pid)) if known == tid => pid,
                _ => {
                    let pid = sideband.process_of(tid);
                    *process = Some((tid, pid));
                    pid
                }
            };
            // The thread: from the record itself, else who ran there, else whose ring it is.
            let thread = if let Some(tid) = record.context() {
                (process_of(tid), Some(tid))
            } else if let (Some(cpu), Some(time)) = (key.cpu, time_ns)
                && let Some(task) = sideband.running(cpu, time)
            {
                (Some(task.pid), Some(task.tid))
            } else {
                (key.tid.and_then(&mut process_of), key.tid)
            };
            match record.access(origin, thread, piece.encoding) {
                Some(access) => sink.access(&access),
                None => sink.other(&origin),
            }
        });
    }

    /// The queue has ended. Returns its account, the number of bytes that were fed, counted
    /// apart from it, and which times its records had.
    pub fn finish(mut self) -> (ByteAccount, u64, Timed) {
        self.decoder.finish();
        (self.decoder.bytes(), self.decoder.total(), self.timed)
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
