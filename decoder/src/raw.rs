//! From a raw PEBS buffer, without any container, to its accesses.

use std::io::Read;

use crate::decode::recording;
use crate::input::Stream;
use crate::pebs::{Core, Decoder, Format};
use crate::session::Session;
use crate::{
    ByteOrder, Error, InputKind, Ledger, Origin, Position, Recording, Sink, Source, TimeBase,
    TraceOffset,
};

/// Bytes that are read at once: more than the longest record.
const BUFFER: usize = 256 << 10;
/// What recordings of perf's begin with. No buffer does, in any format.
const PERF_MAGIC: [&[u8]; 3] = [b"PERFILE2", b"2ELIFREP", b"PERFFILE"];

/// Decodes the bytes between base and index of a PEBS buffer, in bounded memory. The ledger's
/// sum of AUX bytes is then one of the buffer's bytes. Where data came from is told by the table of
/// `core`, if the caller knows which core wrote it.
///
/// # Errors
/// If reading fails, or it is a recording of perf's.
pub fn decode_raw_pebs(
    reader: impl Read,
    format: Format,
    core: Option<Core>,
    file: u32,
    sink: &mut impl Sink,
) -> Result<Recording, Error> {
    let mut stream = Stream::new(reader, BUFFER);
    stream.fill_to(8)?;
    if stream.window().0.get(..8).is_some_and(|head| PERF_MAGIC.contains(&head)) {
        return Err(Error::NotRaw);
    }
    let mut decoder = Decoder::new(format);
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
    Ok(of_buffer(&decoder, format, Ledger { aux_bytes, ..decoder.account() }))
}

/// Gives out the records in some bytes, which stand at `at`, and returns how many it took.
fn give(
    decoder: &mut Decoder,
    bytes: &[u8],
    core: Option<Core>,
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

/// What there is to say of a buffer: it has no events, and nobody says what machine it is of.
fn of_buffer(decoder: &Decoder, format: Format, ledger: Ledger) -> Recording {
    let mut session = Session::new(ByteOrder::Little);
    session.ledger = ledger;
    let has_records = ledger.record_bytes > 0;
    Recording {
        sources: has_records.then_some(Source::Pebs).into_iter().collect(),
        time_base: if decoder.has_ticks() { TimeBase::Ticks } else { TimeBase::None },
        raw_pebs: Some(format),
        ..recording(&mut session, &[], InputKind::Stream, 1)
    }
}
