//! From an input to its accesses: opens it, walks its records, decodes its AUX queues.
//!
//! A mapped input is walked once: sample records are read on the way, by a crew if there are
//! several threads; pieces of AUX data are only placed, and then the queues are decoded. In a
//! stream the crew decodes AUX data too, as it comes. Where the order of the records matters,
//! and with one thread, all is decoded where it stands.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::crew::{Base, Crew};
use crate::cursor::Cursor;
use crate::input::{Incoming, Mapping, Packing, Stream, check_file, data_files};
use crate::perf::attr::{Attr, MIN_LEN};
use crate::perf::header::{self, FileHeader, Header, STREAM_HEADER_LEN, Section};
use crate::perf::record::Record;
use crate::perf::{Auxtrace, CpuSet, Event, Features, QueueKey};
use crate::piece::{Piece, Timed};
use crate::queue::{Account, Queue};
use crate::queues::{Collected, MAX_PIECES, decode_queues};
use crate::raw::{Raw, decode_raw};
use crate::session::{Placement, Session};
use crate::walk::{Visitor, Walk};
use crate::{
    Access, ByteOrder, Detail, Error, EventIndex, Ledger, Origin, Position, Problem, Shard, Sink,
    Source, TimeBase, TraceOffset, cost, ibs,
};

/// How to decode.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that decode AUX data and sample records. If there are several, one more walks
    /// over the input's records.
    pub threads: NonZeroUsize,
    /// Whether records must come in the order of their positions. Then one thread decodes.
    pub ordered: bool,
    /// The same for files and folders alone: streams are decoded as they come.
    pub ordered_files: bool,
    /// Whether a stream is decoded as it comes. If not, several threads start once a buffer is
    /// full, which saves them some work.
    pub prompt: bool,
    /// How finely the work is cut. It changes no result.
    pub grain: Grain,
    /// Bytes that may be saved of a file that comes through a pipe or out of a compressed one.
    pub max_spool: u64,
}

/// The default of [`Options::max_spool`], 4 GiB.
pub const MAX_SPOOL: u64 = 4 << 30;

impl Options {
    /// As many threads, and no order.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            ordered: false,
            ordered_files: false,
            prompt: false,
            grain: Grain::default(),
            max_spool: MAX_SPOOL,
        }
    }
}

/// How finely work is cut. The defaults are good; others are for tests with little data.
#[derive(Clone, Copy, Debug)]
pub struct Grain {
    /// The AUX data of one queue is not cut into parts shorter than this.
    pub part: usize,
    /// A stream is read in buffers of this length.
    pub buffer: usize,
}

impl Default for Grain {
    fn default() -> Self {
        Self { part: 8 << 20, buffer: 256 << 10 }
    }
}

/// Most threads for a stream: more would wait for the one that reads it.
const MOST_FOR_STREAM: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");
/// The length that is asked for a pipe: what any process may ask for, unless the system's
/// administrator has set another limit.
const PIPE_LEN: usize = 1 << 20;

/// The form of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A `perf.data` file.
    File,
    /// A `perf.data` folder.
    Folder,
    /// What `perf record -o -` writes, from a pipe or saved.
    Stream,
}

/// What a recording said besides its accesses.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its form.
    pub kind: InputKind,
    /// How many numbers of [`Position::file`] it used.
    pub files: u32,
    /// Bytes and losses. The records' fields are for the sink to fill.
    pub ledger: Ledger,
    /// Sources that records came from.
    pub sources: Vec<Source>,
    /// Which times the records had.
    pub time_base: TimeBase,
    /// Its events, in the order of [`EventIndex`].
    pub events: Vec<Event>,
    /// Indexes of its Arm SPE events.
    pub arm_spe_events: Vec<EventIndex>,
    /// What it says of its machine.
    pub features: Features,
    /// What could not be read; the first ones.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problem_count: u64,
    /// There were more threads or context switches than are remembered.
    pub sideband_full: bool,
    /// Of a stream: context switches that came behind the data that they tell of.
    pub late_switches: u64,
    /// The name of a task that runs virtual machines.
    pub hypervisor: Option<String>,
    /// `perf inject` has put samples in the place of AUX data of Arm SPE.
    pub synthesized: bool,
    /// There was AUX data of Intel PT, with PEBS records or without.
    pub intel_pt: bool,
    /// A tracer whose AUX data was passed over.
    pub foreign_tracer: Option<String>,
    /// CPUs that were recorded, as CPU_MAP says.
    pub cpu_map: Option<CpuSet>,
    /// CPUs that have a unit of Arm SPE, where AUXTRACE_INFO lists them.
    pub spe_cpus: Option<CpuSet>,
    /// What each event's sample records come from.
    pub event_sources: Vec<Source>,
    /// What was decoded if it was bytes without a container.
    pub raw: Option<Raw>,
    /// What is to be doubted of the physical addresses of IBS samples.
    pub ibs: ibs::Tally,
    /// Why it does not hold all that happened while it was made, as far as it tells.
    pub incomplete: Vec<Incomplete>,
    /// There was a sample record, with an address or without, or a byte of AUX data.
    pub has_samples: bool,
    /// It was captured by this process, see [`live`](crate::live).
    pub captured: bool,
    /// CPUs that came while this process captured, and could not be recorded.
    pub unfollowed_cpus: usize,
    /// The CPU whose unit somebody else had for as long as this process waited to capture.
    pub in_use: Option<u32>,
}

/// Why a recording does not hold all that happened while it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// The recorder did not finish the file: the size of its records in the header is still 0.
    Unfinished,
    /// The input ends before its last record does, or before the data that a record announced.
    CutShort,
    /// The rings of events were overwritten ([`WRITE_BACKWARD`](crate::perf::AttrFlags)): only
    /// the end of the time was kept.
    Overwritten,
    /// Rings of AUX data were overwritten: only what was in them when they were copied was kept.
    Snapshots,
}

/// An input that has been opened.
#[derive(Debug)]
pub struct Input {
    form: Form,
}

#[derive(Debug)]
enum Form {
    File(File),
    Folder(Vec<PathBuf>),
    Pipe(File),
}

impl Input {
    /// Opens a file, a folder or a FIFO.
    ///
    /// # Errors
    /// What the system says, or that a folder holds no data.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "cannot open", source };
        if std::fs::metadata(path).map_err(io)?.is_dir() {
            return Ok(Self { form: Form::Folder(data_files(path)?) });
        }
        Self::from_file(File::open(path).map_err(io)?)
    }

    /// Takes an open file: a regular one is mapped, anything else is read as it comes.
    ///
    /// # Errors
    /// What the system says.
    pub fn from_file(file: File) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "cannot open", source };
        let regular = file.metadata().map_err(io)?.is_file();
        Ok(Self { form: if regular { Form::File(file) } else { Form::Pipe(file) } })
    }

    /// Decodes everything into `sink`. Positions are numbered from `first_file` on.
    ///
    /// # Errors
    /// If there is no record stream in it, or reading fails. Damage inside is no error.
    pub fn decode<S: Shard>(
        self,
        first_file: u32,
        options: &Options,
        sink: &mut S,
    ) -> Result<Recording, Error> {
        match self.form {
            Form::Pipe(file) => {
                // A pipe that holds more takes fewer changes between its writer and us. One that
                // stays as it is, or is none, does as well.
                let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_LEN);
                decode_incoming(file, first_file, options, sink)
            }
            Form::File(file) => match Mapping::new(&file)? {
                Some(mapping) => {
                    let bytes = mapping.bytes();
                    let decoded = match Packing::of(bytes) {
                        Some(_) => decode_incoming(bytes, first_file, options, sink),
                        None => decode_bytes(&[bytes], first_file, options, sink),
                    };
                    mapping.check()?;
                    decoded
                }
                None => decode_incoming(file, first_file, options, sink),
            },
            Form::Folder(paths) => {
                let mut mappings = Vec::new();
                for path in &paths {
                    let io = |source| Error::Io { action: "cannot open a data file", source };
                    let no_room = || std::io::Error::other("there is no room to map all of them");
                    let file = File::open(path).map_err(io)?;
                    let mapping = Mapping::new(&file)?.ok_or_else(|| io(no_room()))?;
                    check_file(path, mapping.bytes())?;
                    mappings.push(mapping);
                }
                let files: Vec<_> = mappings.iter().map(Mapping::bytes).collect();
                let decoded = decode_bytes(&files, first_file, options, sink);
                mappings.iter().try_for_each(Mapping::check)?;
                decoded.map(|recording| Recording { kind: InputKind::Folder, ..recording })
            }
        }
    }
}

impl Input {
    /// Decodes bytes without a container into `sink`, see [`decode_raw`]. Their positions have the
    /// number `file`.
    ///
    /// # Errors
    /// If it is a folder, a recording of perf's, or reading fails.
    pub fn decode_raw(self, raw: Raw, file: u32, sink: &mut impl Sink) -> Result<Recording, Error> {
        let mut decode = |reader: File| {
            let mut incoming = Incoming::new(reader)?;
            let mut recording = decode_raw(&mut incoming, raw, file, sink)?;
            incoming.tell(&mut recording);
            Ok(recording)
        };
        match self.form {
            Form::Folder(_) => Err(raw.not_raw()),
            Form::Pipe(buffer) => decode(buffer),
            Form::File(buffer) => Ok(Recording { kind: InputKind::File, ..decode(buffer)? }),
        }
    }
}

/// Whether an input that begins with these bytes is compressed, whether it can be read or not.
/// Eight bytes are enough.
pub fn is_packed(head: &[u8]) -> bool {
    Packing::of(head).is_some()
}

/// Decodes what comes, compressed or not: a stream as it comes, a file once all of it has come
/// and is saved.
fn decode_incoming<S: Shard>(
    reader: impl Read,
    first_file: u32,
    options: &Options,
    sink: &mut S,
) -> Result<Recording, Error> {
    let mut incoming = Incoming::new(reader)?;
    let is_file = matches!(header_size(incoming.head()), Some(size) if size != STREAM_SIZE);
    let mut recording = if is_file {
        let saved = incoming.spool(options.max_spool)?;
        let no_room = || std::io::Error::other("there is no room to map it");
        let mapping = Mapping::new(&saved)?
            .ok_or_else(|| Error::Io { action: "cannot read what was saved", source: no_room() })?;
        let decoded = decode_bytes(&[mapping.bytes()], first_file, options, sink);
        mapping.check()?;
        decoded?
    } else {
        decode_stream(&mut incoming, first_file, options, sink)?
    };
    incoming.tell(&mut recording);
    Ok(recording)
}

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
            let mut crew = several.then(|| Crew::new(scope, options.threads, order));
            let mut collect = Collect {
                session: &mut session,
                sink: &mut *sink,
                crew: crew.as_mut(),
                queues: Vec::new(),
                pieces: 0,
                target: Target::Skipped,
            };
            let end = walk_parts(&parts, first_file, order, &mut collect);
            let mut queues = collect.queues;
            for (index, _, piece) in session.rests() {
                if let Some(queue) = queues.get_mut(index) {
                    queue.begin(&piece, behind(end, index));
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
        let mut walk = Walk::new(order, file);
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
    reader: impl Read,
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
    let walk = Walk::new(order, file);
    if options.ordered || options.threads == NonZeroUsize::MIN || sink.has_enough() {
        read_alone(&mut stream, walk, &mut session, sink)?;
    } else {
        std::thread::scope(|scope| {
            let crew = Crew::new(scope, options.threads.min(MOST_FOR_STREAM), order);
            read_with(crew, &mut stream, walk, &mut session, sink, options)
        })?;
    }
    session.end();
    sink.recording_ended();
    Ok(recording(&mut session, &[], InputKind::Stream, 1))
}

/// Decodes what comes where it is.
fn read_alone<S: Sink>(
    stream: &mut Stream<impl Read>,
    mut walk: Walk,
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

/// Walks over each buffer that has been filled, has a crew decode it and goes on in another one.
fn read_with<'scope, S: Shard + 'scope>(
    crew: Crew<'scope, '_, 'static, S>,
    stream: &mut Stream<impl Read>,
    mut walk: Walk,
    session: &mut Session,
    sink: &mut S,
    options: &Options,
) -> Result<(), Error> {
    // Who ran where is told to the crew if any of it will ask.
    session.sideband.told = Some(Vec::new());
    let asks = sink.detail() > Detail::Places;
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
        // Without a crew there is nothing to go on for: its end is told by `finish`.
        let Some(fresh) = visitor.crew.buffer(options.grain.buffer) else { break };
        visitor.crew.give_back(stream.exchange(fresh));
    }
    let (left, offset) = stream.window();
    let end = walk.position(offset + left.len() as u64);
    walk.finish(left.len(), end.offset.0, &mut visitor);
    for (index, key, piece) in visitor.session.rests() {
        let facts = visitor.session.facts();
        visitor.crew.rest(index, key, piece, behind(end, index), facts);
    }
    visitor.crew.finish(visitor.session, visitor.sink);
    Ok(())
}

/// Takes a stream from whoever has its bytes, piece by piece.
pub(crate) struct Pieces<'s, S> {
    walk: Walk,
    visitor: Immediate<'s, S>,
    /// Where the next byte stands.
    offset: u64,
}

impl<S: Sink> Pieces<'_, S> {
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
pub(crate) fn decode_pieces<S: Sink, T, E>(
    order: ByteOrder,
    sink: &mut S,
    feed: impl for<'s> FnOnce(Pieces<'s, S>) -> (Pieces<'s, S>, Result<T, E>),
) -> Result<(Recording, T), E> {
    let mut session = Session::of_stream(order);
    let visitor = Immediate::new(&mut session, &mut *sink, InputKind::Stream, 1);
    let pieces = Pieces { walk: Walk::new(order, 0), visitor, offset: STREAM_HEADER_LEN as u64 };
    let (Pieces { walk, mut visitor, offset }, done) = feed(pieces);
    let end = walk.position(offset);
    walk.finish(0, offset, &mut visitor);
    visitor.finish(end);
    session.end();
    sink.recording_ended();
    let recording = recording(&mut session, &[], InputKind::Stream, 1);
    Ok((Recording { captured: true, ..recording }, done?))
}

/// The size that a stream says its header has. Any other is one of a file.
const STREAM_SIZE: u64 = STREAM_HEADER_LEN as u64;

/// The size that a recording's header says it has. `None` if this is not the start of one.
fn header_size(head: &[u8]) -> Option<u64> {
    let order = match head.get(..8)? {
        b"PERFILE2" => ByteOrder::Little,
        b"2ELIFREP" => ByteOrder::Big,
        _ => return None,
    };
    Cursor::new(&head[8..], order).u64()
}

/// Where a file's header says where its records start.
const DATA_OFFSET: u64 = 40;

impl FileHeader {
    /// The record stream. A recorder that died left its size 0: then it reaches to the end.
    fn records<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], Error> {
        if self.data.offset > file.len() as u64 {
            return Err(Error::BadHeader {
                field: "record section",
                offset: TraceOffset(DATA_OFFSET),
                expected: "a place in the file",
                found: self.data.offset,
            });
        }
        let size = if self.data.size == 0 { u64::MAX } else { self.data.size };
        Ok(Section { size, ..self.data }.of(file).0)
    }
}

/// Reads what stands around the record stream of a file: attributes, ids, feature sections.
fn tables(header: &FileHeader, file: &[u8], session: &mut Session) {
    let (records, whole) = header.data.of(file);
    if header.data.size != 0 && !whole {
        session.cut_short = true;
        session.problems.add(
            format!(
                "record section of {} bytes of which the file has {}",
                header.data.size,
                records.len()
            ),
            header.data.offset,
            "the records that there are are read",
        );
    }
    attributes(header, file, session);
    if header.data.size > 0 {
        let end = feature_sections(header, file, session);
        let behind = end.and_then(|end| (file.len() as u64).checked_sub(end));
        if let Some(behind) = behind.filter(|behind| *behind > 0) {
            session.problems.add(
                format!("{behind} bytes behind the last section of the file"),
                end.unwrap_or_default(),
                "they are ignored; give files that were joined one by one",
            );
        }
    }
}

/// Reads the attribute table and the ids that its entries point to.
fn attributes(header: &FileHeader, file: &[u8], session: &mut Session) {
    /// An attribute of the least size, and the section of its ids.
    const LEAST: u64 = MIN_LEN + 16;
    let order = session.order();
    let at = header.attrs.offset;
    let (table, whole) = header.attrs.of(file);
    let stride = usize::try_from(header.attr_size).ok();
    let Some(stride) = stride.filter(|_| header.attr_size >= LEAST) else {
        let what = format!("attribute size of {}, expected {LEAST} at least", header.attr_size);
        session.problems.add(what, at, "the events are unknown");
        return;
    };
    if !whole || table.is_empty() || table.len() % stride != 0 {
        let size = header.attrs.size;
        let what = format!(
            "attribute table of {size} bytes, expected a multiple of {stride} that the file has"
        );
        session.problems.add(what, at, "the events in it that are whole are read");
    }
    // Sections that overlap, which no recorder writes, could say the same ids any number of times.
    let mut ids_left = file.len();
    for (number, entry) in table.chunks_exact(stride).enumerate() {
        let at = header.attrs.offset + (number * stride) as u64;
        let (attr, ids) = entry.split_at(stride - 16);
        let mut ids = Cursor::new(ids, order);
        let section = (|| Some(Section { offset: ids.u64()?, size: ids.u64()? }))();
        match (Attr::parse(attr, order), section) {
            (Some((attr, _)), Some(section)) => {
                let (ids, mut whole) = section.of(file);
                whole &= ids.len() <= ids_left;
                let ids = &ids[..ids.len().min(ids_left)];
                ids_left -= ids.len();
                if !whole {
                    session.problems.add("ids beyond the end of the file", at, "samples of this event may be missing");
                }
                session.attribute(attr, ids, at);
            }
            _ => session.problems.add(
                format!("attribute that says it is longer than its {stride} bytes, or shorter than {MIN_LEN}"),
                at,
                "its event is not read",
            ),
        }
    }
}

/// Reads the feature sections that stand behind the records. Returns where the last section of the
/// file ends, of all kinds; `None` if the table of feature sections is cut.
fn feature_sections(header: &FileHeader, file: &[u8], session: &mut Session) -> Option<u64> {
    let mut last = [header.attrs, header.data].map(|section| section.end()).into_iter().max()?;
    let order = session.order();
    let table = header.data.offset.checked_add(header.data.size);
    let bits = (0..256u64)
        .zip(header.features.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1)));
    let bits = bits.filter(|(_, set)| *set).map(|(bit, _)| bit);
    for (entry, bit) in bits.enumerate() {
        let offset = table.and_then(|table| table.checked_add(16 * entry as u64));
        let entry = offset.map(|offset| Section { offset, size: 16 }.of(file));
        let Some((bytes, true)) = entry else {
            session.problems.add(
                "feature table beyond the end of the file",
                table.unwrap_or(u64::MAX),
                "machine and event names are unknown",
            );
            return None;
        };
        let mut words = Cursor::new(bytes, order);
        let section = Section { offset: words.u64()?, size: words.u64()? };
        last = last.max(section.end()).max(offset?.saturating_add(16));
        match section.of(file) {
            (bytes, true) => session.feature(bit, bytes, section.offset),
            _ => session.problems.add(
                format!("feature section {bit} beyond the end of the file"),
                section.offset,
                "it is ignored",
            ),
        }
    }
    Some(last)
}

/// Takes nothing.
struct Discard;

impl Sink for Discard {
    fn access(&mut self, _: &Access) {}
    fn other(&mut self, _: &Origin) {}
}

/// Where the bytes of the AUX data that comes next go.
#[derive(Clone, Copy)]
enum Target {
    Queue(usize),
    Foreign,
    Skipped,
}

/// Decodes AUX data where it stands.
struct Immediate<'s, S> {
    session: &'s mut Session,
    sink: &'s mut S,
    queues: Vec<Queue>,
    target: Target,
    skip_aux: bool,
    kind: InputKind,
    files: u32,
}

impl<'s, S: Sink> Immediate<'s, S> {
    fn new(session: &'s mut Session, sink: &'s mut S, kind: InputKind, files: u32) -> Self {
        let (queues, target) = (Vec::new(), Target::Skipped);
        Self { session, sink, queues, target, skip_aux: false, kind, files }
    }

    /// Tells the sink what the input has said so far, if it wants to know.
    #[inline]
    fn tell(&mut self) {
        if self.sink.wants_recording() {
            let so_far = recording(self.session, &self.queues, self.kind, self.files);
            self.sink.recording_so_far(&so_far);
        }
    }

    /// The input has ended before the byte `end`.
    fn finish(mut self, end: Position) {
        for (index, _, piece) in self.session.rests() {
            if let Some(queue) = self.queues.get_mut(index) {
                queue.begin(piece);
                queue.bytes(&[], behind(end, index), &self.session.sideband, self.sink);
            }
        }
        for queue in self.queues {
            self.session.settle(queue.finish());
        }
    }
}

impl<'a, S: Sink> Visitor<'a> for Immediate<'_, S> {
    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.session.record(record, position, self.sink);
        self.tell();
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, piece)) => {
                if index == self.queues.len() {
                    self.queues.push(Queue::new(key, &piece.unit));
                }
                self.queues[index].begin(piece);
                Target::Queue(index)
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        if self.skip_aux {
            return;
        }
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                let queue = &mut self.queues[index];
                queue.bytes(bytes, position, &self.session.sideband, self.sink);
                if let Some((cpu, time)) = queue.passed() {
                    self.session.sideband.forget_before(cpu, time);
                }
                self.tell();
            }
            target => self.session.pass_over(target, bytes.len()),
        }
    }

    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str) {
        self.session.problems.add(what, at.0, consequence);
    }

    fn cut_short(&mut self) {
        self.session.cut_short = true;
    }
}

/// A position of its own for the rest of each queue, behind all others.
fn behind(end: Position, queue: usize) -> Position {
    /// A rest is shorter.
    const LEN: u64 = 8;
    let offset = end.offset.0.saturating_add(LEN.saturating_mul(queue as u64 + 1));
    Position { offset: TraceOffset(offset), ..end }
}

/// Takes sample records, or has a crew read them, and remembers where AUX data lies.
struct Collect<'c, 's, 'scope, 'env, 'a, S> {
    session: &'s mut Session,
    sink: &'s mut S,
    crew: Option<&'c mut Crew<'scope, 'env, 'a, S>>,
    queues: Vec<Collected<'a>>,
    /// All that they have.
    pieces: usize,
    target: Target,
}

impl<'a: 'scope, 'scope, S: Shard + 'scope> Collect<'_, '_, 'scope, '_, 'a, S> {
    fn take(&mut self, record: &Record<'_>, position: Position, inflated: bool) {
        let Some(crew) = &mut self.crew else {
            return self.session.record(record, position, self.sink);
        };
        if let Some(sample) = self.session.record_but_sample(record, position, self.sink) {
            crew.sample(&sample, inflated, self.session.facts(), self.sink);
        }
    }
}

impl<'a: 'scope, 'scope, S: Shard + 'scope> Visitor<'a> for Collect<'_, '_, 'scope, '_, 'a, S> {
    fn part(&mut self, bytes: &'a [u8], start: Position) {
        if let Some(crew) = &mut self.crew {
            crew.refer_to(Base::Mapped(bytes), start, self.sink);
        }
    }

    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, false);
    }

    fn inflated(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, true);
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, piece)) => {
                if index == self.queues.len() {
                    self.queues.push(Collected::new(key, &piece));
                }
                if self.pieces < MAX_PIECES {
                    self.pieces += usize::from(self.queues[index].begin(&piece, position));
                    Target::Queue(index)
                } else {
                    let what = "more pieces of AUX data than are remembered";
                    self.session.problems.add(what, position.offset.0, "its data is skipped");
                    Target::Skipped
                }
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                self.queues[index].bytes(bytes, position);
            }
            target => self.session.pass_over(target, bytes.len()),
        }
    }

    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str) {
        self.session.problems.add(what, at.0, consequence);
    }

    fn cut_short(&mut self) {
        self.session.cut_short = true;
    }
}

/// Has a crew decode AUX data and samples of a stream.
struct Dispatch<'s, 'scope, 'env, S> {
    session: &'s mut Session,
    sink: &'s mut S,
    crew: Crew<'scope, 'env, 'static, S>,
    /// The crew asks who ran where.
    asks: bool,
    target: Target,
}

impl<'scope, S: Shard + 'scope> Dispatch<'_, 'scope, '_, S> {
    fn take(&mut self, record: &Record<'_>, position: Position, inflated: bool) {
        if let Some(sample) = self.session.record_but_sample(record, position, self.sink) {
            self.crew.sample(&sample, inflated, self.session.facts(), self.sink);
        }
        let told = self.session.sideband.told.iter_mut().flat_map(|told| told.drain(..));
        for learned in told.filter(|_| self.asks) {
            self.crew.learn(learned, self.sink);
        }
    }
}

impl<'a, 'scope, S: Shard + 'scope> Visitor<'a> for Dispatch<'_, 'scope, '_, S> {
    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, false);
    }

    fn inflated(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, true);
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, piece)) => {
                self.crew.begin(index, key, piece, self.session.facts());
                Target::Queue(index)
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                self.crew.bytes(index, bytes, position, self.session.facts(), self.sink);
            }
            target => self.session.pass_over(target, bytes.len()),
        }
    }

    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str) {
        self.session.problems.add(what, at.0, consequence);
    }

    fn cut_short(&mut self) {
        self.session.cut_short = true;
    }
}

impl Session {
    /// The queue that AUX data belongs to, and its place there; or where it goes instead.
    fn target<S: Sink>(
        &mut self,
        aux: Option<&Auxtrace>,
        position: Position,
        sink: &mut S,
    ) -> Result<(usize, QueueKey, Piece), Target> {
        let Some(aux) = aux else {
            self.announcements.begin(None);
            return Err(Target::Skipped);
        };
        match self.place(aux, position, sink) {
            Placement::Queue(index, piece) => Ok((index, aux.queue, piece)),
            Placement::Foreign => Err(Target::Foreign),
            Placement::TooMany => Err(Target::Skipped),
        }
    }

    /// Takes a finished queue's account.
    pub(crate) fn settle(&mut self, account: Account) {
        self.settled_records(&account);
        let bytes = account.total.wrapping_add(account.bytes.overlap);
        self.unsettled = self.unsettled.wrapping_sub(bytes);
        add_queue(&mut self.ledger, &mut self.aux_time_base, account);
    }

    /// Counts AUX bytes that no queue takes.
    fn pass_over(&mut self, target: Target, len: usize) {
        self.announcements.come(len);
        match target {
            Target::Foreign => self.ledger.foreign_aux_bytes += len as u64,
            Target::Queue(_) | Target::Skipped => {
                self.ledger.aux_bytes += len as u64;
                self.ledger.skipped_bytes += len as u64;
            }
        }
    }
}

/// Adds a queue's account to that of all, and its times to the best.
fn add_queue(ledger: &mut Ledger, best: &mut Option<TimeBase>, account: Account) {
    let Account { bytes, total, timed, .. } = account;
    ledger.aux_bytes += total;
    ledger.record_bytes += bytes.record;
    ledger.padding_bytes += bytes.padding;
    ledger.skipped_bytes += bytes.skipped;
    ledger.cut_off_bytes += bytes.cut_off;
    ledger.overlap_bytes += bytes.overlap;
    let base = match timed {
        Timed { ns: true, .. } => Some(TimeBase::Ns),
        Timed { ticks: true, .. } => Some(TimeBase::Ticks),
        Timed { records: true, .. } => Some(TimeBase::None),
        _ => None,
    };
    *best = (*best).max(base);
}

/// What the records have said so far. `queues` are those that are not settled.
pub(crate) fn recording(
    session: &mut Session,
    queues: &[Queue],
    kind: InputKind,
    files: u32,
) -> Recording {
    cost::steps(session.steps_to_tell() + queues.len());
    let (mut ledger, mut aux_time_base) = (session.ledger, session.aux_time_base);
    for queue in queues {
        add_queue(&mut ledger, &mut aux_time_base, queue.so_far());
    }
    ledger.aux_missing_bytes = session.aux_missing_bytes();
    ledger.not_address_events = session.not_address_events();
    ledger.sum_up_losses();
    let indexes = || (0..=u16::MAX).take(session.events.list().len()).map(EventIndex);
    let names = indexes().map(|index| session.event_name(index));
    let named = |(event, name): (&Event, _)| Event { name: Some(name), ..event.clone() };
    let events: Vec<_> = session.events.list().iter().zip(names).map(named).collect();
    let problems = session.problems();
    Recording {
        kind,
        files,
        sources: session.sources(),
        time_base: session.time_base(aux_time_base),
        sideband_full: session.sideband.is_full(),
        late_switches: session.sideband.late_switches(),
        arm_spe_events: session.arm_spe_events().collect(),
        event_sources: indexes()
            .map(|index| session.events.source(index, &session.features))
            .collect(),
        events,
        features: session.features.clone(),
        problem_count: problems.count,
        problems: problems.into_list(),
        hypervisor: session.hypervisor.clone(),
        synthesized: session.synthesized(),
        intel_pt: session.intel_pt_data,
        foreign_tracer: session.foreign_tracer.clone(),
        cpu_map: session.cpu_map.clone(),
        spe_cpus: session.spe_cpus(),
        raw: None,
        incomplete: session.incomplete(),
        has_samples: session.has_samples || ledger.aux_bytes + ledger.foreign_aux_bytes > 0,
        ledger,
        captured: false,
        unfollowed_cpus: 0,
        in_use: None,
        ibs: session.ibs(),
    }
}
