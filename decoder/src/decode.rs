//! From an input to its accesses: opens it, walks its records, decodes its AUX queues.
//!
//! A mapped input is walked once: sample records are taken on the way, pieces of AUX data are
//! only placed, then the queues are decoded, by several threads if there are several queues.
//! Where the order of the records matters, and in a stream, AUX data is decoded where it
//! stands.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cursor::Cursor;
use crate::input::{Mapping, Stream, data_files};
use crate::perf::attr::{Attr, MIN_LEN};
use crate::perf::header::{self, FileHeader, Header, STREAM_HEADER_LEN, Section};
use crate::perf::record::Record;
use crate::perf::{Auxtrace, Event, Features, QueueKey, SideBand};
use crate::session::{Placement, Session};
use crate::spe::{ByteAccount, Piece, Queue, Timed};
use crate::walk::{Visitor, Walk};
use crate::{
    Access, ByteOrder, Error, EventIndex, Ledger, Origin, Position, Problem, Shard, Sink, Source,
    TimeBase, TraceOffset,
};

/// How to decode.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that decode AUX data.
    pub threads: NonZeroUsize,
    /// Whether records must come in the order of their positions. Then one thread decodes.
    pub ordered: bool,
}

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
    /// The name of a task that runs virtual machines.
    pub hypervisor: Option<String>,
    /// Arm SPE events have sample records: `perf inject` has replaced their AUX data.
    pub synthesized: bool,
    /// A tracer whose AUX data was passed over.
    pub foreign_tracer: Option<String>,
    /// What each event's sample records come from.
    pub event_sources: Vec<Source>,
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

    /// Takes an open file: a regular one is mapped, anything else is read as a stream.
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
            Form::Pipe(file) => decode_stream(file, first_file, sink),
            Form::File(file) => match Mapping::new(&file)? {
                Some(mapping) => {
                    let decoded = decode_bytes(&[mapping.bytes()], first_file, options, sink);
                    mapping.check()?;
                    decoded
                }
                None => decode_stream(file, first_file, sink),
            },
            Form::Folder(paths) => {
                let mut mappings = Vec::new();
                for path in &paths {
                    let io = |source| Error::Io { action: "cannot open a data file", source };
                    let no_room = || std::io::Error::other("there is no room to map all of them");
                    let file = File::open(path).map_err(io)?;
                    mappings.push(Mapping::new(&file)?.ok_or_else(|| io(no_room()))?);
                }
                let files: Vec<_> = mappings.iter().map(Mapping::bytes).collect();
                let decoded = decode_bytes(&files, first_file, options, sink);
                mappings.iter().try_for_each(Mapping::check)?;
                decoded.map(|recording| Recording { kind: InputKind::Folder, ..recording })
            }
        }
    }
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
            tables(header, data, &mut session);
        }
        session
    };
    let parts: Vec<_> =
        core::iter::once((records, start)).chain(rest.iter().map(|bytes| (*bytes, 0))).collect();
    let mut session = new_session();
    if options.ordered {
        // Who ran where may stand behind the data that needs it: learn that first.
        let mut nothing = Discard;
        let mut learn = Immediate::new(&mut session, &mut nothing);
        learn.skip_aux = true;
        walk_parts(&parts, first_file, order, &mut learn);
        let sideband = core::mem::take(&mut session.sideband);
        session = new_session();
        session.sideband = sideband;
        let mut decode = Immediate::new(&mut session, sink);
        walk_parts(&parts, first_file, order, &mut decode);
        decode.finish();
    } else {
        let mut collect = Collect::new(&mut session, sink);
        walk_parts(&parts, first_file, order, &mut collect);
        let queues = core::mem::take(&mut collect.queues);
        decode_queues(queues, &mut session, options.threads, sink);
    }
    sink.recording_ended();
    let files = u32::try_from(files.len()).unwrap_or(u32::MAX);
    Ok(recording(session, kind, files))
}

fn walk_parts<'a>(
    parts: &[(&'a [u8], u64)],
    first_file: u32,
    order: ByteOrder,
    visitor: &mut impl Visitor<'a>,
) {
    for (file, (bytes, start)) in (first_file..).zip(parts) {
        let mut walk = Walk::new(order, file);
        let taken = walk.advance(bytes, *start, visitor);
        walk.finish(bytes.len() - taken, start + bytes.len() as u64, visitor);
    }
}

/// Decodes a stream as it comes, in bounded memory.
///
/// # Errors
/// If it starts with no stream's header, or reading fails.
pub fn decode_stream<S: Sink>(
    reader: impl Read,
    file: u32,
    sink: &mut S,
) -> Result<Recording, Error> {
    let mut stream = Stream::new(reader);
    stream.fill_to(STREAM_HEADER_LEN)?;
    let (head, _) = stream.window();
    let (order, header) = header::parse(head).map_err(|error| match file_on_pipe(head) {
        Some(size) => Error::FileOnPipe { size },
        None => error,
    })?;
    if let Header::File(_) = header {
        return Err(Error::FileOnPipe { size: file_on_pipe(head).unwrap_or(0) });
    }
    stream.consume(STREAM_HEADER_LEN);
    let mut session = Session::new(order);
    let mut visitor = Immediate::new(&mut session, sink);
    let mut walk = Walk::new(order, file);
    loop {
        let (window, offset) = stream.window();
        let taken = walk.advance(window, offset, &mut visitor);
        stream.consume(taken);
        if visitor.sink.has_enough() || !stream.fill()? {
            break;
        }
    }
    let (left, offset) = stream.window();
    walk.finish(left.len(), offset + left.len() as u64, &mut visitor);
    visitor.finish();
    sink.recording_ended();
    Ok(recording(session, InputKind::Stream, 1))
}

/// The header size of a recording that starts as a file's does.
fn file_on_pipe(head: &[u8]) -> Option<u64> {
    let order = match head.get(..8)? {
        b"PERFILE2" => ByteOrder::Little,
        b"2ELIFREP" => ByteOrder::Big,
        _ => return None,
    };
    Cursor::new(&head[8..], order).u64().filter(|size| *size != STREAM_HEADER_LEN as u64)
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
        feature_sections(header, file, session);
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
    for (number, entry) in table.chunks_exact(stride).enumerate() {
        let at = header.attrs.offset + (number * stride) as u64;
        let (attr, ids) = entry.split_at(stride - 16);
        let mut ids = Cursor::new(ids, order);
        let section = (|| Some(Section { offset: ids.u64()?, size: ids.u64()? }))();
        match (Attr::parse(attr, order), section) {
            (Some((attr, _)), Some(section)) => {
                let (ids, whole) = section.of(file);
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

/// Reads the feature sections that stand behind the records.
fn feature_sections(header: &FileHeader, file: &[u8], session: &mut Session) {
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
            return;
        };
        let mut words = Cursor::new(bytes, order);
        let Some(section) = (|| Some(Section { offset: words.u64()?, size: words.u64()? }))()
        else {
            return;
        };
        match section.of(file) {
            (bytes, true) => session.feature(bit, bytes, section.offset),
            _ => session.problems.add(
                format!("feature section {bit} beyond the end of the file"),
                section.offset,
                "it is ignored",
            ),
        }
    }
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
}

impl<'s, S: Sink> Immediate<'s, S> {
    fn new(session: &'s mut Session, sink: &'s mut S) -> Self {
        Self { session, sink, queues: Vec::new(), target: Target::Skipped, skip_aux: false }
    }

    fn finish(self) {
        for queue in self.queues {
            self.session.settle(queue.finish());
        }
    }
}

impl<'a, S: Sink> Visitor<'a> for Immediate<'_, S> {
    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.session.record(record, position, self.sink);
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, piece)) => {
                if index == self.queues.len() {
                    self.queues.push(Queue::new(key));
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
                self.queues[index].bytes(bytes, position, &self.session.sideband, self.sink);
            }
            target => self.session.pass_over(target, bytes.len()),
        }
    }

    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str) {
        self.session.problems.add(what, at.0, consequence);
    }
}

/// A queue and where its pieces lie.
struct Collected<'a> {
    queue: Queue,
    pieces: Vec<(Piece, &'a [u8], Position)>,
    len: usize,
}

/// Takes sample records, and remembers where AUX data lies.
struct Collect<'s, 'a, S> {
    session: &'s mut Session,
    sink: &'s mut S,
    queues: Vec<Collected<'a>>,
    target: Target,
}

impl<'s, S: Sink> Collect<'s, '_, S> {
    fn new(session: &'s mut Session, sink: &'s mut S) -> Self {
        Self { session, sink, queues: Vec::new(), target: Target::Skipped }
    }
}

impl<'a, S: Sink> Visitor<'a> for Collect<'_, 'a, S> {
    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.session.record(record, position, self.sink);
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, piece)) => {
                if index == self.queues.len() {
                    let queue = Queue::new(key);
                    self.queues.push(Collected { queue, pieces: Vec::new(), len: 0 });
                }
                let pieces = &mut self.queues[index].pieces;
                // A piece without bytes that changes nothing need not be kept.
                pieces.pop_if(|(piece, bytes, _)| bytes.is_empty() && piece.changes_nothing());
                pieces.push((piece, &[], position));
                Target::Queue(index)
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                let queue = &mut self.queues[index];
                queue.len += bytes.len();
                if let Some((_, place, at)) = queue.pieces.last_mut() {
                    (*place, *at) = (bytes, position);
                }
            }
            target => self.session.pass_over(target, bytes.len()),
        }
    }

    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str) {
        self.session.problems.add(what, at.0, consequence);
    }
}

impl Collected<'_> {
    fn decode(mut self, sideband: &SideBand, sink: &mut impl Sink) -> (ByteAccount, u64, Timed) {
        for (piece, bytes, at) in self.pieces {
            self.queue.begin(piece);
            self.queue.bytes(bytes, at, sideband, sink);
        }
        self.queue.finish()
    }
}

/// Decodes queues on as many threads as there are use for. What each finds adds up, whoever
/// finds it.
fn decode_queues<S: Shard>(
    mut queues: Vec<Collected<'_>>,
    session: &mut Session,
    threads: NonZeroUsize,
    sink: &mut S,
) {
    // The longest first: the threads end together.
    queues.sort_by_key(|queue| core::cmp::Reverse(queue.len));
    let threads = threads.get().min(queues.len());
    let sideband = core::mem::take(&mut session.sideband);
    if threads <= 1 {
        for queue in queues {
            session.settle(queue.decode(&sideband, sink));
        }
        session.sideband = sideband;
        return;
    }
    let queues: Vec<_> =
        queues.into_iter().map(|queue| std::sync::Mutex::new(Some(queue))).collect();
    let next = AtomicUsize::new(0);
    let work = |mut shard: S| {
        let mut accounts = Vec::new();
        while let Some(queue) = queues.get(next.fetch_add(1, Ordering::Relaxed)) {
            let queue = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            accounts.extend(queue.map(|queue| queue.decode(&sideband, &mut shard)));
        }
        (shard, accounts)
    };
    let done = std::thread::scope(|scope| {
        // A thread that the system refuses is one less; this one works too.
        let spawn = |shard| std::thread::Builder::new().spawn_scoped(scope, || work(shard)).ok();
        let workers: Vec<_> = (1..threads).map_while(|_| spawn(sink.split())).collect();
        let mut done = vec![work(sink.split())];
        done.extend(
            workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }),
        );
        done
    });
    for (shard, accounts) in done {
        sink.merge(shard);
        accounts.into_iter().for_each(|account| session.settle(account));
    }
    session.sideband = sideband;
}

impl Session {
    /// The queue that AUX data belongs to, and its place there; or where it goes instead.
    fn target<S: Sink>(
        &mut self,
        aux: Option<&Auxtrace>,
        position: Position,
        sink: &mut S,
    ) -> Result<(usize, QueueKey, Piece), Target> {
        let aux = aux.ok_or(Target::Skipped)?;
        match self.place(aux, position, sink) {
            Placement::Queue(index, piece) => Ok((index, aux.queue, piece)),
            Placement::Foreign => Err(Target::Foreign),
            Placement::TooMany => Err(Target::Skipped),
        }
    }

    /// Takes a finished queue's account.
    fn settle(&mut self, (bytes, total, timed): (ByteAccount, u64, Timed)) {
        self.ledger.aux_bytes += total;
        self.ledger.record_bytes += bytes.record;
        self.ledger.padding_bytes += bytes.padding;
        self.ledger.skipped_bytes += bytes.skipped;
        self.ledger.cut_off_bytes += bytes.cut_off;
        self.ledger.overlap_bytes += bytes.overlap;
        let base = match timed {
            Timed { ns: true, .. } => Some(TimeBase::Ns),
            Timed { ticks: true, .. } => Some(TimeBase::Ticks),
            Timed { records: true, .. } => Some(TimeBase::None),
            _ => None,
        };
        self.aux_time_base = self.aux_time_base.max(base);
    }

    /// Counts AUX bytes that no queue takes.
    fn pass_over(&mut self, target: Target, len: usize) {
        match target {
            Target::Foreign => self.ledger.foreign_aux_bytes += len as u64,
            Target::Queue(_) | Target::Skipped => {
                self.ledger.aux_bytes += len as u64;
                self.ledger.skipped_bytes += len as u64;
            }
        }
    }
}

fn recording(mut session: Session, kind: InputKind, files: u32) -> Recording {
    session.ledger.lost = session.ledger.lost_records.max(session.ledger.lost_samples);
    session.events.take_names(&session.features);
    let names = session.event_names();
    let events: Vec<_> = session
        .events
        .list()
        .iter()
        .zip(names)
        .map(|(event, name)| Event { name: Some(name), ..event.clone() })
        .collect();
    let indexes = || (0..=u16::MAX).take(events.len()).map(EventIndex);
    session.sources.sort_unstable();
    let arm_spe_events = session.arm_spe_events().collect();
    let synthesized = session.synthesized();
    let time_base = session.time_base();
    Recording {
        kind,
        files,
        ledger: session.ledger,
        sources: session.sources,
        time_base,
        sideband_full: session.sideband.is_full(),
        arm_spe_events,
        event_sources: indexes()
            .map(|index| session.events.source(index, &session.features))
            .collect(),
        events,
        features: session.features,
        problem_count: session.problems.count,
        problems: session.problems.list,
        hypervisor: session.hypervisor,
        synthesized,
        foreign_tracer: session.foreign_tracer,
    }
}
