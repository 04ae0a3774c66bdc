//! The same records, account and problems with any number of threads: long queues that are cut
//! into parts, streams that are read in buffers of any size, samples that are read by others
//! than the one who walks over them.

use std::io::Read;
use std::num::NonZeroUsize;

use decoder::{
    Access, Grain, Ledger, Options, Origin, Problem, Recording, Shard, Sink, Source, TimeBase,
    decode_bytes, decode_stream,
};
use tests::container::Parts;
use tests::emulation::thinned;
use tests::inputs::{all, bytes, input};
use tests::made::{FIRST_ID, Made, load, sample_event, spe_event, trailer};
use tracegen::bytes::Endian;
use tracegen::perf::Compression;
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::{Record, Sample, Trailer};
use tracegen::{Config, Damage, Form, Kind, Layout};

/// Remembers everything.
#[derive(Debug, Default, PartialEq)]
struct All {
    accesses: Vec<Access>,
    others: Vec<Origin>,
}

impl Sink for All {
    fn access(&mut self, access: &Access) {
        self.accesses.push(*access);
    }

    fn other(&mut self, origin: &Origin) {
        self.others.push(*origin);
    }
}

impl Shard for All {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.accesses.extend(other.accesses);
        self.others.extend(other.others);
    }
}

impl All {
    fn records(&self) -> usize {
        self.accesses.len() + self.others.len()
    }

    /// In the order of their positions. Records of one position keep the order they came in.
    fn in_order(mut self) -> Self {
        self.accesses.sort_by_key(|access| access.origin.position);
        self.others.sort_by_key(|origin| origin.position);
        self
    }
}

/// What is compared of a run.
#[derive(Debug, PartialEq)]
struct Outcome {
    all: All,
    ledger: Ledger,
    problems: (Vec<Problem>, u64),
    sources: Vec<Source>,
    time_base: TimeBase,
    flags: (bool, bool, Option<String>),
}

impl Outcome {
    fn of(recording: Recording, all: All) -> Self {
        let Recording { sideband_full, synthesized, hypervisor, .. } = recording;
        Self {
            all: all.in_order(),
            ledger: recording.ledger,
            problems: (recording.problems, recording.problem_count),
            sources: recording.sources,
            time_base: recording.time_base,
            flags: (sideband_full, synthesized, hypervisor),
        }
    }

    /// Panics, and says what differs, if anything does.
    #[track_caller]
    fn is_like(&self, want: &Self, what: &str) {
        let pairs = self.all.accesses.iter().zip(&want.all.accesses);
        let other = pairs.enumerate().find(|(_, (got, want))| got != want);
        assert!(
            self == want,
            "{what}: {} and {} accesses, {} and {} other records, first difference {other:#?}\n{:#?}\n{:#?}",
            self.all.accesses.len(),
            want.all.accesses.len(),
            self.all.others.len(),
            want.all.others.len(),
            self.without_records(),
            want.without_records(),
        );
    }

    /// What can be printed.
    fn without_records(&self) -> impl std::fmt::Debug {
        (&self.ledger, &self.problems, &self.sources, &self.time_base, &self.flags)
    }
}

fn options(threads: usize, part: usize, buffer: usize) -> Options {
    let threads = NonZeroUsize::new(threads).expect("at least one");
    Options { grain: Grain { part, buffer }, ..Options::new(threads) }
}

fn of_file(file: &[u8], threads: usize, part: usize) -> Outcome {
    let mut all = All::default();
    let recording = decode_bytes(&[file], 0, &options(threads, part, 1 << 16), &mut all);
    Outcome::of(recording.expect("a recording"), all)
}

/// Gives at most so many bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(self.1);
        self.0.read(&mut buffer[..len])
    }
}

fn of_stream(stream: &[u8], threads: usize, buffer: usize, most: usize) -> Outcome {
    let mut all = All::default();
    let reader = Slow(stream, most);
    let recording = decode_stream(reader, 0, &options(threads, 1, buffer), &mut all);
    Outcome::of(recording.expect("a stream"), all)
}

/// The file is read alike by 1 to 4 threads, whatever the length of the parts.
fn check_parts(file: &[u8], parts: &[usize], what: &str) -> Outcome {
    let want = of_file(file, 1, 1);
    for part in parts {
        for threads in 2..=4 {
            let got = of_file(file, threads, *part);
            got.is_like(&want, &format!("{what}: {threads} threads, parts of {part}"));
        }
    }
    want
}

/// One queue, as the generator writes it.
fn one_queue() -> Config {
    Config {
        records: 2000,
        folios: 20,
        cpus: 1,
        scenario: Kind::Dense,
        piece_size: 8192,
        ..Config::default()
    }
}

#[test]
fn one_long_queue() {
    let damages = [
        "",
        "flip:1",
        "flip:40",
        "flip:400",
        "drop:3",
        "shorten:5",
        "truncated:3,partial:3",
        "drop:2,shorten:2,truncated:1,partial:2,collision:1,flip:9",
        "cut:50000",
    ];
    let layouts = [
        vec![Layout::N1],
        vec![Layout::Mix, Layout::Hw],
        vec![Layout::Hi, Layout::Model],
        vec![Layout::N1, Layout::Hw, Layout::Model, Layout::Hi, Layout::Mix],
    ];
    for (seed, damage) in (1..).zip(damages) {
        for (number, layouts) in layouts.iter().enumerate() {
            let config = Config {
                seed,
                layouts: layouts.clone(),
                damage: damage.parse::<Damage>().unwrap_or_default(),
                cut_anywhere: number % 2 == 1,
                piece_size: [8192, 1000, 120, 1 << 20][number],
                timeless: number == 2,
                ..one_queue()
            };
            let (file, _) = tracegen::to_bytes(&config).expect("a right configuration");
            let what = format!("{damage:?} {layouts:?}");
            let got = check_parts(&file, &[1, 257, 9001], &what);
            assert!(!got.all.accesses.is_empty(), "{what}");
        }
    }
}

/// A queue from a place on in pieces of this length, as perf takes it out of the ring.
fn pieces(made: &mut Made, start: usize, queue: &[u8], len: usize) {
    for (number, piece) in queue.chunks(len).enumerate() {
        made.piece(0, (start + number * len) as u64, piece);
    }
}

/// Damage at every byte of a queue: also where it is cut.
#[test]
fn damage_at_any_place() {
    let healthy: Vec<u8> = (0..16).flat_map(|number| load(7 + number % 3, 1000 + number)).collect();
    // An emulator keeps half a megabyte for each thread that there ever was: few, then.
    for at in thinned("damage at any place", 0..healthy.len(), 41) {
        for byte in [0x00, 0x01, 0x71, 0xb3, 0xff] {
            let mut damaged = healthy.clone();
            damaged[at] = byte;
            let mut made = Made::spe();
            pieces(&mut made, 0, &damaged, 4 * 48);
            let file = made.finish();
            let want = of_file(&file, 1, 1);
            of_file(&file, 3, 100).is_like(&want, &format!("{byte:#x} at {at}"));
        }
        // A loss that is told, there and in the next piece.
        let mut made = Made::spe();
        let place = at as u64;
        made.aux(0, 0, place, 1).aux(0, place, healthy.len() as u64 - place, 0);
        pieces(&mut made, 0, &healthy, 4 * 48);
        check_parts(&made.finish(), &[100], &format!("a loss at {at}"));
    }
}

/// Packets of no known meaning, the payloads of which are whole records by themselves if they
/// are read out of step.
#[test]
fn records_inside_of_records() {
    let mut record = vec![0xb0, 0, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x49, 0x00, 0x42, 0x02];
    for _ in 0..200 {
        // Out of step: an operation and an end, twice; then events, the payload of which is the
        // header of the packet behind.
        record.extend([0xb7, 0x49, 0x00, 0x01, 0x49, 0x00, 0x01, 0x00, 0x42]);
    }
    record.push(0x01);
    let queue = record.repeat(40);
    for start in [0, 1, 5, 700] {
        let mut made = Made::spe();
        pieces(&mut made, start, &queue[start..], record.len());
        let what = format!("from byte {start}");
        let got = check_parts(&made.finish(), &[1, 333, 5000, 20_000], &what);
        // From inside of a record, those inside are all that can be seen.
        assert!(start > 0 || got.all.records() == 40, "{what}: {}", got.all.records());
    }
    // Such records among others, so that some guesses are right.
    let mut mixed = Vec::new();
    for number in 0..60 {
        mixed.extend(load(number % 5, 1000 + number));
        if number % 7 == 3 {
            mixed.extend_from_slice(&record);
        }
    }
    let mut made = Made::spe();
    pieces(&mut made, 0, &mixed, 480);
    let got = check_parts(&made.finish(), &[1, 64, 500, 3000], "mixed");
    assert_eq!(got.all.records(), 69);
}

#[test]
fn snapshots_are_not_cut() {
    let queue: Vec<u8> = (0..60).flat_map(|number| load(7, 1000 + number)).collect();
    let mut made = Made::spe();
    made.piece(0, 0, &queue[..1920]).piece(0, 960, &queue[960..]);
    let got = check_parts(&made.finish(), &[1, 200], "a repeat");
    assert_eq!((got.all.records(), got.ledger.overlap_bytes), (60, 960));
}

#[test]
fn recordings_of_all_kinds() {
    for name in thinned("recordings, threads", all(), 3) {
        let path = input(name);
        if path.is_dir() {
            continue;
        }
        let file = bytes(path);
        check_parts(&file, &[1, 4096], name);
        let size = &file[8..16];
        let is_stream = size == 16_u64.to_le_bytes() || size == 16_u64.to_be_bytes();
        let stream = if is_stream { file } else { Parts::of(&file).stream() };
        check_stream(&stream, name);
    }
}

/// The stream is read alike by 1 to 4 threads, whatever the length of the buffers.
fn check_stream(stream: &[u8], what: &str) -> Outcome {
    let want = of_stream(stream, 1, 1 << 20, usize::MAX);
    let sizes = [(13, 7), (333, usize::MAX), (1 << 20, usize::MAX), (70_001, 65_536), (4099, 1000)];
    for (threads, (buffer, most)) in (1..=4).zip(sizes).chain((2..=6).zip(sizes)) {
        // Small buffers for small streams.
        let (buffer, most) =
            if stream.len() > 1 << 17 { (buffer + 8191, most | 4096) } else { (buffer, most) };
        let got = of_stream(stream, threads, buffer, most);
        let what = format!("{what}: {threads} threads, buffers of {buffer}, reads of {most}");
        got.is_like(&want, &what);
    }
    want
}

#[test]
fn streams() {
    let base = Config { form: Form::Stream, cpus: 5, ..one_queue() };
    let cases = [
        base.clone(),
        Config { piece_size: 120, cut_anywhere: true, ..base.clone() },
        Config { source: tracegen::Source::Samples, ..base.clone() },
        Config {
            source: tracegen::Source::Samples,
            compression: Some(Compression::Zstd81),
            records: 9000,
            ..base.clone()
        },
        Config {
            source: tracegen::Source::Samples,
            compression: Some(Compression::Zstd83),
            endian: Endian::Big,
            ..base.clone()
        },
        Config {
            damage: "drop:2,shorten:2,partial:2,flip:30,cut:90001".parse().expect("damage"),
            layouts: vec![Layout::Mix, Layout::Hw],
            ..base
        },
    ];
    for (number, config) in cases.into_iter().enumerate() {
        let (stream, _) = tracegen::to_bytes(&config).expect("a right configuration");
        let got = check_stream(&stream, &format!("case {number}"));
        assert!(got.all.accesses.len() > 100, "case {number}");
    }
}

/// Who ran where changes while the data comes: each record has what the stream had said by then.
#[test]
fn side_records_of_a_stream_keep_their_places() {
    let mut made = Made::of(Endian::Little, true, vec![spe_event()], "6.12.0");
    made.info().clock();
    for number in 0..400_u32 {
        let cpu = number % 3;
        let (pid, tid) = (100 + number, 4242);
        let record = Record::Comm { pid, tid, comm: "task", exec: false };
        // Who writes a record is who it tells of.
        made.record_of(record, &Trailer { pid, tid, ..trailer(cpu, 1000 + u64::from(number)) });
        let data = load(u64::from(number % 9), 1000);
        made.piece(cpu, u64::from(number / 3) * 48, &data);
    }
    let stream = made.finish();
    let got = check_stream(&stream, "side records");
    assert_eq!(got.all.accesses.len(), 400);
    for (number, access) in (100..).zip(&got.all.accesses) {
        assert_eq!(access.pid, Some(number), "as was said just before");
    }
}

/// Events and their names change between samples, and samples are damaged: the first problems
/// are told, in their order.
#[test]
fn samples_that_cannot_be_read_are_told_in_their_order() {
    let common = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::ADDR | st::CPU | st::PHYS_ADDR;
    let events = vec![
        sample_event("first", 0, common),
        sample_event("second", 1, common | st::WEIGHT | st::DATA_SRC),
    ];
    let mut made = Made::of(Endian::Little, true, events, "6.12.0");
    for number in 0..6000_u64 {
        // Every 50th has the fields of the other event, every 73rd no event at all.
        let event = number % 2;
        let id = if number % 73 == 5 { 77 } else { FIRST_ID * (event + 1) };
        let sample = Sample {
            id,
            ip: 1,
            pid: 5,
            tid: 6,
            time: number,
            addr: number << 12,
            phys_addr: number << 12,
            cpu: 3,
            ..Sample::default()
        };
        let longer = (event == 1) != (number % 50 == 7);
        let fields = if longer { common | st::WEIGHT | st::DATA_SRC } else { common };
        made.sample(&sample, fields);
    }
    let stream = made.finish();
    let got = check_stream(&stream, "samples");
    assert_eq!(got.problems.0.len(), 64);
    assert!(got.problems.1 > 150, "{}", got.problems.1);
    assert!(got.problems.0.is_sorted_by_key(|problem| problem.offset));
    let kinds: std::collections::HashSet<_> =
        got.problems.0.iter().map(|problem| &problem.what).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    check_parts(&stream, &[1], "samples");
}
