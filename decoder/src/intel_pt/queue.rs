//! One AUX queue: the pieces of a ring, put in their places, decoded, and given out as accesses.

use std::sync::Arc;

use super::data_source::{Core, Sampled};
use super::{Decoder, Record};
use crate::perf::{QueueKey, Ring, SideBand};
use crate::piece::{ByteAccount, Course, Piece, Steps, Timed, Unit};
use crate::threads::Threads;
use crate::{EventIndex, Origin, Position, Sink, Source, TraceOffset};

/// What PEBS records of a queue belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pebs {
    /// The core that writes them.
    pub core: Core,
    /// The events whose samples they are.
    pub events: Arc<[(EventIndex, Sampled)]>,
}

impl Pebs {
    /// The only event, if there is one alone: then all records are its own, whatever counter they
    /// name.
    pub fn only_event(&self) -> Option<EventIndex> {
        match &self.events[..] {
            [(event, _)] => Some(*event),
            _ => None,
        }
    }

    fn sampled(&self, event: Option<EventIndex>) -> Sampled {
        let known = self.events.iter().find(|(known, _)| Some(*known) == event);
        known.map(|(_, sampled)| *sampled).unwrap_or_default()
    }
}

/// Decodes the pieces of one queue, in their order.
#[derive(Clone, Debug)]
pub struct Queue {
    key: QueueKey,
    course: Course,
    decoder: Decoder,
    /// What the side band said in this piece.
    threads: Threads,
    timed: Timed,
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

impl<S: Sink + ?Sized> Steps for Decoding<'_, S> {
    fn overlap(&mut self, len: u64) {
        self.decoder.overlap(len);
    }

    fn fill(&mut self, len: usize) {
        self.decoder.fill(len);
    }

    fn gap_at(&mut self, place: u64) {
        self.decoder.gap_at(place);
    }

    fn data(&mut self, piece: &Piece, bytes: &[u8], place: u64, at: Position) {
        let Self { key, decoder, threads, timed, sideband, sink } = self;
        decoder.feed(bytes, place, &mut |record, end| {
            let offset = TraceOffset((at.offset.0 + end as u64).saturating_sub(1));
            let position = Position { offset, ..at };
            give(record, piece, (*key, position), (threads, sideband), *sink);
        });
        let (given, ticked) = decoder.take_given();
        timed.records |= given > 0;
        timed.ticks |= ticked;
        timed.ns |= ticked && piece.clock.is_some();
    }
}

/// Gives out a record: once for each counter that asked for it, since each is a sample of its own
/// event. If there is one event alone, or no counter is named, it is one sample.
fn give<S: Sink + ?Sized>(
    record: &Record,
    piece: &Piece,
    (key, position): (QueueKey, Position),
    (threads, sideband): (&mut Threads, &SideBand),
    sink: &mut S,
) {
    let time_ns = piece.clock.zip(record.ticks).map(|(clock, ticks)| clock.nanoseconds(ticks));
    let thread = threads.of(key, None, time_ns, sideband);
    let pebs = if let Unit::IntelPt(pebs) = &piece.unit { Some(pebs) } else { None };
    let core = pebs.map_or(Core::Other, |pebs| pebs.core);
    let mut sample = |event: Option<EventIndex>| {
        let origin = Origin {
            source: Source::IntelPt,
            event,
            cpu: key.cpu,
            time_ns,
            not_retired: false,
            position,
        };
        let sampled = pebs.map(|pebs| pebs.sampled(event)).unwrap_or_default();
        match record.access(origin, thread, core, sampled) {
            Some(access) => sink.access(&access),
            None => sink.other(&origin),
        }
    };
    let counters = record.counters.unwrap_or(0);
    if piece.event.is_some() || counters == 0 {
        return sample(piece.event);
    }
    for counter in (0..64u8).filter(|counter| counters >> counter & 1 == 1) {
        sample(Ring::of(key).and_then(|ring| sideband.event_of(ring, counter, time_ns)));
    }
}

impl Queue {
    /// A queue before its first piece.
    pub fn new(key: QueueKey) -> Self {
        Self {
            key,
            course: Course::default(),
            decoder: Decoder::default(),
            threads: Threads::default(),
            timed: Timed::default(),
        }
    }

    /// Starts a piece.
    pub fn begin(&mut self, piece: Piece) {
        // With timestamps, records that came before are known by their time; without, bytes by
        // their place, and what follows them goes on where the queue had ended.
        let by_place = piece.repeated > 0 && self.decoder.newest().is_none();
        if !by_place {
            self.decoder.join(piece.join);
        }
        let repeated = if by_place { piece.repeated } else { 0 };
        self.threads = Threads::default();
        self.course.begin(piece, repeated, 0);
        if let Some(place) = self.course.passed_break() {
            self.decoder.gap_at(place);
        }
    }

    /// Decodes the next bytes of the piece, which stand at `at` in the input.
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
        let clock = self.course.piece()?.clock?;
        Some((self.key.cpu?, clock.nanoseconds(self.decoder.newest()?)))
    }
}
