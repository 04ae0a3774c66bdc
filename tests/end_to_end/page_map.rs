//! Recordings with virtual addresses only, and a page map that was saved beside them.
//!
//! The map is made first, so that each access's frame is known by construction.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::container::Parts;
use tests::made::{FIRST_ID, Made, sample_event};
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::{Event, Record, Sample};
use tracegen::spe::{Packet, address, operation};

use crate::program::{Start, check_ledger, counts, folioscope, number, of_ledger, scratch, write};

const FIELDS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::ADDR;
const FIRST_PAGE: u64 = 0x7f00_0040_0000;
const KERNEL: u64 = 0xffff_8000_0000_1000;
/// Pages of each process, of which the last is in no map.
const PAGES: u64 = 40;
const SAMPLES: u64 = 3000;
/// Processes that the map knows, and one that it does not.
const PIDS: [u32; 3] = [4242, 77, 5000];

/// Where the map puts a page of a process: the first half in a run, the others apart.
fn frame(pid: u32, page: u64) -> Option<u64> {
    let known = pid != PIDS[2] && page < PAGES - 1;
    let place = if page < PAGES / 2 { page } else { 0x1000 + page * 37 };
    known.then_some(u64::from(pid) * 0x1_0000 + place)
}

/// The map as text, its lines in no order.
fn map() -> String {
    let mut text = "# saved for a test\n".to_owned();
    for pid in [PIDS[0], PIDS[1]] {
        for page in (PAGES / 2..PAGES).rev() {
            if let Some(frame) = frame(pid, page) {
                let vaddr = FIRST_PAGE + (page << 12);
                writeln!(text, "{pid} {vaddr:#x} {frame:#x}").expect("text grows");
            }
        }
        let first = frame(pid, 0).expect("the map has it");
        writeln!(text, "{pid} {FIRST_PAGE:x} {first:x} {}", PAGES / 2).expect("text grows");
    }
    text
}

/// Process and page of the sample with this number; some are the kernel's or of no process.
fn place(number: u64) -> (u32, u64) {
    let pid = match number % 4 {
        0 | 1 => PIDS[0],
        2 => PIDS[1],
        _ => PIDS[2],
    };
    (pid, number / 4 % PAGES)
}

fn sample(number: u64, pid: u32, addr: u64, phys_addr: u64) -> Sample {
    let (ip, time) = (0x40_1000, 1000 + number);
    Sample { id: FIRST_ID, ip, pid, tid: pid, time, addr, phys_addr, ..Sample::default() }
}

fn recording_of(event: Event, samples: &[Sample]) -> Vec<u8> {
    let sample_type = event.attr.sample_type;
    let mut made = Made::samples(vec![event]);
    samples.iter().for_each(|sample| {
        made.sample(sample, sample_type);
    });
    made.round();
    made.finish()
}

/// Samples of three processes, then one of the kernel and one of an idle thread.
fn recording() -> Vec<u8> {
    let mut samples: Vec<_> = (0..SAMPLES)
        .map(|number| {
            let (pid, page) = place(number);
            sample(number, pid, FIRST_PAGE + (page << 12) + number % 4096, 0)
        })
        .collect();
    samples.push(sample(SAMPLES, PIDS[0], KERNEL, 0));
    samples.push(sample(SAMPLES + 1, 0, FIRST_PAGE, 0));
    recording_of(sample_event("loads", 0, FIELDS), &samples)
}

/// How often each frame was accessed.
fn truth() -> BTreeMap<u64, u64> {
    let mut pages = BTreeMap::new();
    let frames = (0..SAMPLES).map(place).filter_map(|(pid, page)| frame(pid, page));
    frames.for_each(|frame| *pages.entry(frame).or_default() += 1);
    pages
}

/// A folder with a map and a recording.
struct Files {
    folder: tempfile::TempDir,
    map: PathBuf,
    recording: PathBuf,
}

impl Files {
    fn new(map: &str, recording: &[u8]) -> Self {
        let folder = scratch();
        let map = write(folder.path(), "page-map", map.as_bytes());
        let recording = write(folder.path(), "perf.data", recording);
        Self { folder, map, recording }
    }

    fn with_map(&self, command: &str, more: &[&str]) -> Start {
        folioscope([command, "--page-map"]).arg(&self.map).args(more)
    }
}

fn report(start: Start) -> Value {
    let report = start.json();
    check_ledger(&report);
    report
}

#[test]
fn pages_are_those_of_the_map() {
    let files = Files::new(&map(), &recording());
    let pages = counts(&files.with_map("pages", &[]).arg(&files.recording).text());
    assert_eq!(pages, truth());

    let report = report(files.with_map("report", &["--format", "json"]).arg(&files.recording));
    let found: u64 = truth().values().sum();
    let gone = SAMPLES / 4;
    let not_present = SAMPLES - found - gone;
    assert!(not_present > 0);
    for (field, want) in [
        ("records", SAMPLES + 2),
        ("counted", found),
        ("looked_up", found),
        ("lookup_failed", gone + not_present),
        ("lookup_gone", gone),
        ("lookup_not_present", not_present),
        ("lookup_hidden", 0),
        ("no_physical_address", 2),
    ] {
        assert_eq!(of_ledger(&report, field), want, "{field}");
    }
    let text = files.with_map("report", &[]).arg(&files.recording).text();
    for words in ["lookup failed", "physical addresses looked up, not sampled"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn without_a_map_nothing_is_looked_up() {
    let files = Files::new(&map(), &recording());
    let report = report(folioscope(["report", "--format", "json"]).arg(&files.recording));
    assert_eq!(of_ledger(&report, "no_physical_address"), SAMPLES + 2);
    assert_eq!(of_ledger(&report, "lookup_failed") + of_ledger(&report, "looked_up"), 0);
}

#[test]
fn file_stream_and_threads_agree() {
    let recording = recording();
    let files = Files::new(&map(), &recording);
    let stream = Parts::of(&recording).stream();
    for command in ["pages", "report", "records"] {
        // A report says what was read.
        let comparable = |start: Start| {
            let text = start.text();
            if command != "report" {
                return text;
            }
            let mut report: Value = serde_json::from_str(&text).expect("it is JSON");
            check_ledger(&report);
            report.as_object_mut().expect("an object").remove("input").expect("it is there");
            report.to_string()
        };
        let start = |threads: &str| {
            let format = if command == "report" { "json" } else { "text" };
            files.with_map(command, &["--format", format, "--threads", threads])
        };
        let want = comparable(start("1").arg(&files.recording));
        assert!(want.len() > 500, "{command}");
        for threads in ["1", "2", "4"] {
            let file = comparable(start(threads).arg(&files.recording));
            assert_eq!(file, want, "{command} of a file, {threads} threads");
            let piped = comparable(start(threads).arg("-").input(&stream));
            assert_eq!(piped, want, "{command} of a stream, {threads} threads");
        }
    }
}

#[test]
fn records_say_where_their_frames_came_from() {
    let files = Files::new(&map(), &recording());
    let lines = files.with_map("records", &["--format", "json"]).arg(&files.recording).json_lines();
    assert_eq!(lines.len() as u64, SAMPLES + 2);
    for (number, line) in (0..SAMPLES).zip(&lines) {
        let (pid, page) = place(number);
        let paddr = frame(pid, page).map(|frame| (frame << 12) + number % 4096);
        let flags = match paddr {
            Some(_) => "looked-up",
            None if pid == PIDS[2] => "lookup-gone",
            None => "lookup-not-present",
        };
        assert_eq!(line["paddr"].as_str().map(crate::program::number), paddr, "{line}");
        assert_eq!(line["flags"], flags, "{line}");
    }
    for line in lines.iter().rev().take(2) {
        assert_eq!((&line["paddr"], &line["flags"]), (&Value::Null, &Value::Null), "{line}");
    }
    for (format, cell) in [("text", '\t'), ("csv", ',')] {
        let text = files.with_map("records", &["--format", format]).arg(&files.recording).text();
        let flags: Vec<_> =
            text.lines().skip(1).filter_map(|line| line.rsplit(cell).nth(6)).collect();
        assert_eq!(flags[0], "looked-up", "{format}");
        assert!(flags.contains(&"lookup-gone") && flags.contains(&"lookup-not-present"));
    }
}

#[test]
fn frames_that_were_sampled_stay() {
    let fields = FIELDS | st::PHYS_ADDR;
    let samples = [
        sample(0, PIDS[0], FIRST_PAGE, 0x5_5000),
        sample(1, PIDS[0], FIRST_PAGE, 0),
        sample(2, PIDS[2], FIRST_PAGE, 0x6_6000),
    ];
    let files = Files::new(&map(), &recording_of(sample_event("loads", 0, fields), &samples));
    let lines = files.with_map("records", &["--format", "json"]).arg(&files.recording).json_lines();
    let paddrs: Vec<_> =
        lines.iter().map(|line| number(line["paddr"].as_str().expect("it has one"))).collect();
    assert_eq!(paddrs, [0x5_5000, frame(PIDS[0], 0).expect("it is known") << 12, 0x6_6000]);
    let flags: Vec<_> = lines.iter().map(|line| &line["flags"]).collect();
    assert_eq!(flags, [&Value::Null, &Value::from("looked-up"), &Value::Null]);
}

/// The packets of a load by thread 4242 with a virtual address only.
fn spe_load(vaddr: u64, ticks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in [
        Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
        Packet::Address { index: address::DATA_VIRTUAL, payload: address::data(vaddr, 0) },
        Packet::Context { index: 0, value: PIDS[0] },
        Packet::Timestamp(ticks),
    ] {
        packet.write(&mut out);
    }
    out
}

#[test]
fn spe_data_without_physical_addresses() {
    let mut made = Made::spe();
    made.record(Record::Comm { pid: PIDS[0], tid: PIDS[0], comm: "load", exec: true }, 0, 10);
    let mut want = BTreeMap::<u64, u64>::new();
    let mut data = Vec::new();
    for number in 0..600 {
        let page = number * 7 % PAGES;
        data.extend(spe_load(FIRST_PAGE + (page << 12), 1000 + number));
        frame(PIDS[0], page).into_iter().for_each(|frame| *want.entry(frame).or_default() += 1);
    }
    made.piece(0, 0, &data).round();
    let recording = made.finish();
    let files = Files::new(&map(), &recording);
    let stream = Parts::of(&recording).stream();
    for threads in ["1", "2"] {
        let pages = || files.with_map("pages", &["--threads", threads]);
        assert_eq!(counts(&pages().arg(&files.recording).text()), want, "{threads} threads");
        assert_eq!(counts(&pages().arg("-").input(&stream).text()), want, "{threads} threads");
    }
    let report = report(files.with_map("report", &["--format", "json"]).arg(&files.recording));
    assert_eq!(of_ledger(&report, "lookup_not_present"), 600 / PAGES);
    assert_eq!(of_ledger(&report, "counted") + 600 / PAGES, 600);
}

#[test]
fn a_map_that_knows_nobody_is_the_reason() {
    let files = Files::new("", &recording());
    let report = report(files.with_map("report", &["--format", "json"]).arg(&files.recording));
    assert_eq!(of_ledger(&report, "lookup_gone"), SAMPLES);
    let reason = report["reason"].as_str().expect("nothing was counted");
    assert!(reason.contains("3000 that were looked up none was found"), "{reason}");
}

#[test]
fn a_map_that_is_none_is_refused() {
    let files = Files::new("4242 1000 2\n4242 1000 3\n", &recording());
    let run = |map: &Path| folioscope(["pages", "--page-map"]).arg(map).arg(&files.recording).run();
    run(&files.map).failed(&["page-map", "line 2", "two frames"]);
    run(&files.recording).failed(&["perf.data", "line 1", "page map"]);
    run(&files.folder.path().join("absent")).failed(&["absent", "cannot open the page map"]);
    let overwrite = files.with_map("pages", &["-o"]).arg(&files.map).arg(&files.recording).run();
    assert_eq!(overwrite.code(), 2, "the map would be lost");
}
