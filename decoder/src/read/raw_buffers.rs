//! From bytes of a sampling unit, without any container, to their accesses.

use std::io::Read;

use super::session::Session;
use super::so_far::recording;
use crate::aux_data::any_queue::AnyQueue;
use crate::aux_data::chunk::{AuxFormat, Chunk, Continuity};
use crate::input::Stream;
use crate::perf::QueueKey;
use crate::raw::Raw;
use crate::spe::{Encoding, Midr, encoding};
use crate::{
    ByteOrder, Error, InputKind, Ledger, Origin, Position, Recording, Sink, Source, TimeBase,
    TraceOffset, pebs,
};

/// Bytes that are read at once: more than the longest record.
const BUFFER: usize = 256 << 10;
/// What recordings of perf's begin with. No buffer does, in any format.
const PERF_MAGIC: [&[u8]; 3] = [b"PERFILE2", b"2ELIFREP", b"PERFFILE"];

/// Decodes bytes without a container, in bounded memory. The ledger's sum of AUX bytes is then
/// one of these bytes.
///
/// # Errors
/// If reading fails, or it is a recording of perf's.
pub fn decode_raw(
    mut reader: impl Read,
    raw: Raw,
    file: u32,
    sink: &mut impl Sink,
) -> Result<Recording, Error> {
    let mut stream = Stream::new(&mut reader, BUFFER);
    stream.fill_to(8)?;
    if stream.window().0.get(..8).is_some_and(|head| PERF_MAGIC.contains(&head)) {
        return Err(raw.not_raw());
    }
    match raw {
        Raw::Pebs(format, core) => decode_pebs(stream, (format, core), file, sink),
        Raw::ArmSpe(midr) => decode_spe(stream, midr, file, sink),
    }
}

fn decode_pebs(
    mut stream: Stream<'_>,
    (format, core): (pebs::Format, Option<pebs::Core>),
    file: u32,
    sink: &mut impl Sink,
) -> Result<Recording, Error> {
    let mut decoder = pebs::Decoder::new(format);
    loop {
        let (window, offset) = stream.window();
        let at = Position { file, offset: TraceOffset(offset) };
        let taken = give(&mut decoder, window, core, at, sink);
        stream.consume(taken);
        if sink.has_enough() || !stream.fill()? {
            break;
        }
    }
    let (rest, offset) = stream.window();
    decoder.finish(rest);
    sink.recording_ended();
    let aux_bytes = offset + rest.len() as u64;
    let mut session = Session::new(ByteOrder::Little);
    session.ledger = Ledger { aux_bytes, ..decoder.account() };
    let time_base = if decoder.has_ticks() { TimeBase::Ticks } else { TimeBase::None };
    Ok(Recording { time_base, ..of_buffer(&mut session, Raw::Pebs(format, core), Source::Pebs) })
}

/// Gives out the records in some bytes, which stand at `at`, and returns how many it took.
fn give(
    decoder: &mut pebs::Decoder,
    bytes: &[u8],
    core: Option<pebs::Core>,
    at: Position,
    sink: &mut impl Sink,
) -> usize {
    let mut records = decoder.records(bytes);
    for (record, end) in records.by_ref() {
        let offset = TraceOffset((at.offset.0 + end as u64).saturating_sub(1));
        let origin = Origin {
            source: Source::Pebs,
            event: None,
            cpu: None,
            time_ns: None,
            not_retired: false,
            position: Position { offset, ..at },
        };
        match record.access(origin, core) {
            Some(access) => sink.access(&access),
            None => sink.other(&origin),
        }
    }
    records.taken()
}

/// One queue of one chunk, whose clock nobody knows.
fn decode_spe(
    mut stream: Stream<'_>,
    midr: Option<Midr>,
    file: u32,
    sink: &mut impl Sink,
) -> Result<Recording, Error> {
    let mut session = Session::new(ByteOrder::Little);
    let format = AuxFormat::ArmSpe(midr.map_or(Encoding::Unknown, encoding));
    let mut queue = AnyQueue::new(QueueKey { idx: 0, cpu: None, tid: None }, &format);
    queue.begin(Chunk {
        offset: 0,
        data_len: u64::MAX,
        continuity: Continuity::Continued,
        repeated: 0,
        breaks: Vec::new(),
        clock: None,
        reference: None,
        event: None,
        format,
    });
    loop {
        let (window, offset) = stream.window();
        let at = Position { file, offset: TraceOffset(offset) };
        queue.bytes(window, at, &session.sideband, sink);
        let len = window.len();
        stream.consume(len);
        if sink.has_enough() || !stream.fill()? {
            break;
        }
    }
    session.settle(queue.finish());
    sink.recording_ended();
    Ok(of_buffer(&mut session, Raw::ArmSpe(midr), Source::ArmSpe))
}

/// What there is to say of a buffer: it has no events, and nobody says what machine it is of.
fn of_buffer(session: &mut Session, raw: Raw, source: Source) -> Recording {
    let has_records = session.ledger.record_bytes > 0;
    Recording {
        sources: has_records.then_some(source).into_iter().collect(),
        raw: Some(raw),
        ..recording(session, &[], InputKind::Stream, 1)
    }
}
