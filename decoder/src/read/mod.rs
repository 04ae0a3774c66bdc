//! From bytes to accesses: walks over the records, decodes the AUX queues.
//!
//! A mapped input is walked once: sample records are read on the way, by workers if there are
//! several threads; chunks of AUX data are only placed, and then the queues are decoded. In a
//! stream the workers decode AUX data too, as it comes. Where the order of the records matters,
//! and in a stream that one thread reads, all is decoded where it stands.

pub(crate) mod aux_records;
pub(crate) mod channel;
pub(crate) mod collect;
pub(crate) mod dispatch;
pub(crate) mod each;
pub(crate) mod file_tables;
pub(crate) mod hand_over;
pub(crate) mod in_order;
pub(crate) mod open;
pub(crate) mod parallel;
pub(crate) mod placement;
pub(crate) mod problems;
pub(crate) mod queue_state;
pub(crate) mod raw_buffers;
pub(crate) mod record_stream;
pub(crate) mod recording_facts;
pub(crate) mod sample;
pub(crate) mod session;
pub(crate) mod so_far;
pub(crate) mod tasks;
pub(crate) mod workers;

use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::input::Stream;
use crate::perf::header;
use crate::perf::header::{Header, STREAM_HEADER_LEN};
use crate::{
    Access, ByteOrder, Detail, Error, InputKind, Options, Origin, Position, Recording, Shard, Sink,
    TraceOffset,
};
use collect::Collect;
use dispatch::Dispatch;
use file_tables::tables;
use in_order::Immediate;
use parallel::decode_queues;
use placement::{Target, behind};
use record_stream::{RecordStream, Visitor};
use session::Session;
use so_far::recording;
use workers::{Base, Workers};

/// Most threads for a stream: more would wait for the one that reads it.
const MOST_FOR_STREAM: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");
/// Decodes a recording that lies in memory: one file, or the files of a folder with `data`
/// first.
///
/// # Errors
/// If there is no record stream in it.
pub fn decode_bytes<S: Shard>(
    files: &[&[u8]],
    first_file: u32,
    options: &Options,
    sink: &mut S,
) -> Result<Recording, Error> {
    let (data, rest) = files.split_first().ok_or(Error::TooShort { found: 0 })?;
    let (order, header) = header::parse(data)?;
    let (kind, records, start) = match &header {
        Header::Stream => (InputKind::Stream, &data[STREAM_HEADER_LEN..], STREAM_HEADER_LEN as u64),
        Header::File(header) => (InputKind::File, header.records(data)?, header.data.offset),
    };
    let new_session = || {
        let mut session = Session::new(order);
        if let Header::File(header) = &header {
            session.unfinished = header.data.size == 0;
            tables(header, data, &mut session);
        }
        session
    };
    let parts: Vec<_> =
        core::iter::once((records, start)).chain(rest.iter().map(|bytes| (*bytes, 0))).collect();
    let mut session = new_session();
    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    if options.ordered || options.ordered_files && kind != InputKind::Stream {
        // Who ran where may stand behind the data that needs it: learn that first.
        let mut nothing = Discard;
        let mut learn = Immediate::new(&mut session, &mut nothing, kind, 1);
        learn.skip_aux = true;
        walk_parts(&parts, first_file, order, &mut learn);
        let sideband = core::mem::take(&mut session.sideband);
        session = new_session();
        session.sideband = sideband;
        let mut decode = Immediate::new(&mut session, sink, kind, count);
        let end = walk_parts(&parts, first_file, order, &mut decode);
        decode.finish(end);
    } else {
        let queues = std::thread::scope(|scope| {
            let several = options.threads > NonZeroUsize::MIN;
            let mut crew = several.then(|| Workers::new(scope, options.threads, order));
            let mut collect = Collect {
                session: &mut session,
                sink: &mut *sink,
                crew: crew.as_mut(),
                queues: Vec::new(),
                chunks: 0,
                target: Target::Skipped,
            };
            let end = walk_parts(&parts, first_file, order, &mut collect);
            let mut queues = collect.queues;
            for (index, _, chunk) in session.rests() {
                if let Some(queue) = queues.get_mut(index) {
                    queue.begin(&chunk, behind(end, index));
                }
            }
            if let Some(crew) = crew {
                crew.finish(&mut session, sink);
            }
            queues
        });
        decode_queues(queues, &mut session, options, sink);
    }
    session.end();
    sink.recording_ended();
    Ok(recording(&mut session, &[], kind, count))
}

/// Walks over all parts. Returns the position behind the last one.
fn walk_parts<'a>(
    parts: &[(&'a [u8], u64)],
    first_file: u32,
    order: ByteOrder,
    visitor: &mut impl Visitor<'a>,
) -> Position {
    let mut end = Position { file: first_file, ..Position::default() };
    for (file, (bytes, start)) in (first_file..).zip(parts) {
        visitor.part(bytes, Position { file, offset: TraceOffset(*start) });
        let mut walk = RecordStream::new(order, file);
        let taken = walk.advance(bytes, *start, visitor);
        end = Position { file, offset: TraceOffset(start + bytes.len() as u64) };
        walk.finish(bytes.len() - taken, end.offset.0, visitor);
    }
    end
}

/// Decodes a stream as it comes, in bounded memory.
///
/// # Errors
/// If it starts with no stream's header, or reading fails.
pub fn decode_stream<S: Shard>(
    mut reader: impl Read,
    file: u32,
    options: &Options,
    sink: &mut S,
) -> Result<Recording, Error> {
    decode_read(&mut reader, file, options, sink)
}

/// [`decode_stream`], compiled once for all readers.
fn decode_read<S: Shard>(
    reader: &mut dyn Read,
    file: u32,
    options: &Options,
    sink: &mut S,
) -> Result<Recording, Error> {
    let mut stream = Stream::new(reader, options.grain.buffer);
    stream.fill_to(STREAM_HEADER_LEN)?;
    let (head, _) = stream.window();
    let (order, _) = match header_size(head) {
        Some(size) if size != STREAM_SIZE => return Err(Error::NotAStream { size }),
        _ => header::parse(head)?,
    };
    stream.consume(STREAM_HEADER_LEN);
    let mut session = Session::of_stream(order);
    let walk = RecordStream::new(order, file);
    if options.ordered || options.threads == NonZeroUsize::MIN || sink.has_enough() {
        read_alone(&mut stream, walk, &mut session, sink)?;
    } else {
        std::thread::scope(|scope| {
            let crew = Workers::new(scope, options.threads.min(MOST_FOR_STREAM), order);
            read_with(crew, &mut stream, walk, &mut session, sink, options)
        })?;
    }
    session.end();
    sink.recording_ended();
    Ok(recording(&mut session, &[], InputKind::Stream, 1))
}

/// Decodes what comes where it is.
fn read_alone<S: Sink>(
    stream: &mut Stream<'_>,
    mut walk: RecordStream,
    session: &mut Session,
    sink: &mut S,
) -> Result<(), Error> {
    let mut visitor = Immediate::new(session, sink, InputKind::Stream, 1);
    loop {
        let (window, offset) = stream.window();
        let taken = walk.advance(window, offset, &mut visitor);
        stream.consume(taken);
        if visitor.sink.has_enough() || !stream.fill()? {
            break;
        }
    }
    let (left, offset) = stream.window();
    let end = walk.position(offset + left.len() as u64);
    walk.finish(left.len(), end.offset.0, &mut visitor);
    visitor.finish(end);
    Ok(())
}

/// Walks over each buffer that has been filled, has workers decode it and goes on in another one.
fn read_with<'scope, S: Shard + 'scope>(
    crew: Workers<'scope, '_, 'static, S>,
    stream: &mut Stream<'_>,
    mut walk: RecordStream,
    session: &mut Session,
    sink: &mut S,
    options: &Options,
) -> Result<(), Error> {
    // Who ran where is told to the workers if any of it will ask.
    session.sideband.told = Some(Vec::new());
    let asks = sink.detail() > Detail::Addresses;
    let mut visitor = Dispatch { session, sink, crew, asks, target: Target::Skipped };
    loop {
        let more = if options.prompt { stream.fill()? } else { stream.fill_up()? };
        let (buffer, start) = stream.buffer();
        let start = walk.position(start);
        visitor.crew.refer_to(Base::Read(Arc::clone(buffer)), start, visitor.sink);
        let (window, offset) = stream.window();
        let taken = walk.advance(window, offset, &mut visitor);
        stream.consume(taken);
        visitor.crew.send(visitor.sink);
        if visitor.sink.wants_recording() {
            let so_far = recording(visitor.session, &[], InputKind::Stream, 1);
            visitor.sink.recording_so_far(&so_far);
        }
        if !more {
            break;
        }
        // Without workers there is nothing to go on for: its end is told by `finish`.
        let Some(fresh) = visitor.crew.buffer(options.grain.buffer) else { break };
        visitor.crew.give_back(stream.exchange(fresh));
    }
    let (left, offset) = stream.window();
    let end = walk.position(offset + left.len() as u64);
    walk.finish(left.len(), end.offset.0, &mut visitor);
    for (index, key, chunk) in visitor.session.rests() {
        let facts = visitor.session.facts();
        visitor.crew.rest(index, key, chunk, behind(end, index), facts);
    }
    visitor.crew.finish(visitor.session, visitor.sink);
    Ok(())
}

/// A stream whose bytes are pushed by whoever has them.
pub(crate) struct PushedStream<'s, S> {
    walk: RecordStream,
    visitor: Immediate<'s, S>,
    /// Where the next byte stands.
    offset: u64,
}

impl<S: Sink> PushedStream<'_, S> {
    /// Takes whole records, or any part of the AUX data that the last one announced.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let taken = self.walk.advance(bytes, self.offset, &mut self.visitor);
        debug_assert_eq!(taken, bytes.len(), "records come whole");
        self.offset += bytes.len() as u64;
    }

    pub(crate) fn problem(&mut self, what: String, consequence: &'static str) {
        self.visitor.problem(what, TraceOffset(self.offset), consequence);
    }

    pub(crate) fn has_enough(&self) -> bool {
        self.visitor.sink.has_enough()
    }
}

/// Decodes the stream that `feed` hands over behind its header, where its bytes are.
pub(crate) fn decode_pushed<S: Sink, T, E>(
    order: ByteOrder,
    sink: &mut S,
    feed: impl for<'s> FnOnce(PushedStream<'s, S>) -> (PushedStream<'s, S>, Result<T, E>),
) -> Result<(Recording, T), E> {
    let mut session = Session::of_stream(order);
    let visitor = Immediate::new(&mut session, &mut *sink, InputKind::Stream, 1);
    let stream = PushedStream {
        walk: RecordStream::new(order, 0),
        visitor,
        offset: STREAM_HEADER_LEN as u64,
    };
    let (PushedStream { walk, mut visitor, offset }, done) = feed(stream);
    let end = walk.position(offset);
    walk.finish(0, offset, &mut visitor);
    visitor.finish(end);
    session.end();
    sink.recording_ended();
    let recording = recording(&mut session, &[], InputKind::Stream, 1);
    Ok((Recording { captured: true, ..recording }, done?))
}

/// The size that a stream says its header has. Any other is one of a file.
pub(crate) const STREAM_SIZE: u64 = STREAM_HEADER_LEN as u64;

/// The size that a recording's header says it has. `None` if this is not the start of one.
pub(crate) fn header_size(head: &[u8]) -> Option<u64> {
    let order = match head.get(..8)? {
        b"PERFILE2" => ByteOrder::Little,
        b"2ELIFREP" => ByteOrder::Big,
        _ => return None,
    };
    Cursor::new(&head[8..], order).u64()
}

/// Takes nothing.
struct Discard;

impl Sink for Discard {
    fn access(&mut self, _: &Access) {}
    fn other(&mut self, _: &Origin) {}
}
