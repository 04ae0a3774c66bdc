//! What is missing from a recording: AUX data that was announced, what rings had overwritten, the end of a file that
//! was not finished; and that nothing is called missing that is there.

use std::slice;

use serde_json::{Value, json};
use tests::container::Parts;
use tests::made::{FIRST_ID, Made, load, sample_event, spe_event, trailer};
use tracegen::bytes::Endian;
use tracegen::perf::attr::{flag, sample_type as st};
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::record::Trailer;
use tracegen::perf::record::aux_flag::{OVERWRITE, TRUNCATED};
use tracegen::perf::{Event, Record, Sample};

use crate::program::{check_ledger, folioscope, of_ledger, scratch, write};
use crate::service::Daemon;

const SAMPLE: u64 =
    st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::ADDR | st::PHYS_ADDR;

/// Bytes of AUX data that no decoder of ours reads.
const TRACE: [u8; 0x1000] = [0x5a; 0x1000];

/// 64 loads, 3,072 bytes.
fn loads() -> Vec<u8> {
    (1..=64).flat_map(|pfn| load(pfn, 1000 * pfn)).collect()
}

/// AUXTRACE_INFO of a tracer, by its number, with words of zeros behind it.
fn info(tracer: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let body = [&tracer.to_le_bytes()[..], &[0; 4], &[0; 80]].concat();
    tests::container::record(&mut out, Endian::Little, 70, &[&body]);
    out
}

/// A file with AUX data of this tracer.
fn of_tracer(tracer: u32) -> Made {
    let mut made = Made::of(Endian::Little, false, vec![spe_event()], "6.12.0");
    made.raw(&info(tracer));
    made.clock();
    made
}

/// The report's ledger, which must be the same for a file, a stream, and any number of threads, and the answer of
/// `--strict`.
fn ledger(recording: &[u8]) -> (Value, i32) {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json", "--threads", "1"]).arg(&path).json();
    check_ledger(&report);
    let same = |other: Value, what: &str| assert_eq!(other["ledger"], report["ledger"], "{what}");
    same(folioscope(["report", "--format", "json", "--threads", "4"]).arg(&path).json(), "threads");
    let stream = Parts::of(recording).stream();
    for threads in ["1", "4"] {
        let read = folioscope(["report", "--format", "json", "--threads", threads, "-"]);
        same(read.input(&stream).json(), "stream");
    }
    let codes = ["report", "pages", "records", "decisions"]
        .map(|command| folioscope([command, "--strict"]).arg(&path).run().code());
    assert_eq!(codes, [codes[0]; 4], "report, pages, records, decisions");
    (report["ledger"].clone(), codes[0])
}

fn missing(recording: &[u8]) -> (u64, i32) {
    let (ledger, code) = ledger(recording);
    assert_eq!(ledger["recording_incomplete"], json!([]));
    (ledger["aux_missing_bytes"].as_u64().expect("a number"), code)
}

#[test]
fn announced_aux_data_that_is_not_there_is_missing_whatever_the_tracer() {
    const ETM: u32 = 3;
    const INTEL_PT: u32 = 1;
    const ARM_SPE: u32 = 4;
    for tracer in [ARM_SPE, INTEL_PT, ETM] {
        let data = if tracer == ARM_SPE { loads() } else { TRACE[..3072].to_vec() };
        let made = |present: &[usize]| {
            let mut made = of_tracer(tracer);
            // Those of CPU 1 come before what they announce, those of CPU 0 behind.
            for at in 0..3 {
                made.aux(1, at * 1024, 1024, 0);
            }
            for (at, piece) in data.chunks(1024).enumerate() {
                for cpu in 0..2 {
                    if cpu == 0 || present.contains(&at) {
                        made.piece(cpu, at as u64 * 1024, piece);
                    }
                }
            }
            for at in 0..3 {
                made.aux(0, at * 1024, 1024, 0);
            }
            made.finish()
        };
        let code_of_none = missing(&made(&[0, 1, 2])).1;
        assert_eq!(missing(&made(&[0, 1, 2])).0, 0, "{tracer}: nothing");
        // Where nothing is counted `--strict` says so.
        if tracer == ARM_SPE {
            assert_eq!(code_of_none, 0, "{tracer}");
        }
        for (present, bytes) in
            [(&[0, 2][..], 1024), (&[0, 1], 1024), (&[1, 2], 1024), (&[0], 2048), (&[], 3072)]
        {
            assert_eq!(missing(&made(present)), (bytes, 3), "{tracer}: {present:?}");
        }
        // No data at all.
        let mut made = of_tracer(tracer);
        made.aux(0, 0, 1024, 0).aux(1, 0, 512, 0);
        assert_eq!(missing(&made.finish()), (1536, 3), "{tracer}");
    }
}

#[test]
fn offsets_of_pieces_announce_what_no_record_does() {
    let data = loads();
    let mut made = Made::spe();
    made.piece(0, 0, &data[..480]).piece(0, 960, &data[960..]);
    assert_eq!(missing(&made.finish()), (480, 3));
    // Switched to a new file, perf goes on with its count.
    let mut made = Made::spe();
    made.aux(0, 960, 2112, 0).piece(0, 960, &data[960..]);
    assert_eq!(missing(&made.finish()).0, 0);
}

#[test]
fn claims_that_no_ring_can_keep_are_damage_and_not_missing_bytes() {
    let data = loads();
    let mut made = Made::spe();
    // A place far behind all others, between two that follow each other.
    made.piece(0, 0, &data[..960]).piece(0, (1 << 52) - 1, &[0; 8]).piece(0, 960, &data[960..]);
    assert_eq!(missing(&made.finish()), (0, 3), "a place");
    let mut made = Made::spe();
    made.aux(0, 0, 3072, 0).piece(0, 0, &data).aux(0, 3072, 1 << 40, 0);
    assert_eq!(missing(&made.finish()), (0, 3), "a size");
}

#[test]
fn what_is_there_is_not_missing() {
    let data = loads();
    // perf fills each piece up to a multiple of 8, and counts without that.
    let mut made = Made::spe();
    let filled = [&data[..100], &[0; 4]].concat();
    made.aux(0, 0, 100, 0).piece(0, 0, &filled).aux(0, 100, 2972, 0).piece(0, 100, &data[100..]);
    assert_eq!(missing(&made.finish()).0, 0, "filling");
    // Data was lost behind what is announced: a loss of another name.
    let mut made = Made::spe();
    made.aux(0, 0, 3072, 0).aux(0, 3072, 0, TRUNCATED).piece(0, 0, &data);
    assert_eq!(missing(&made.finish()), (0, 3), "truncated");
    // Several threads on one CPU, several events in one ring.
    let mut made = Made::spe();
    for (at, tid) in [(0, 7), (1024, 8), (2048, 7)] {
        let of = Trailer { tid, id: FIRST_ID + at / 1024, ..trailer(0, 1000) };
        made.record_of(Record::Aux { offset: at, size: 1024, flags: 0 }, &of);
    }
    made.piece(0, 0, &data);
    assert_eq!(missing(&made.finish()), (0, 0), "a CPU's ring");
    // Threads with rings of their own, which move between CPUs.
    let mut made = Made::spe();
    for (cpu, tid, at, size) in [(0, 7, 0, 96), (0, 8, 0, 480), (1, 7, 96, 384)] {
        let of = Trailer { tid, ..trailer(cpu, 1000) };
        made.record_of(Record::Aux { offset: at, size, flags: 0 }, &of);
    }
    let none = u32::MAX;
    made.piece_of((none, 7), 0, &data[..480]).piece_of((none, 8), 0, &data[..480]);
    assert_eq!(missing(&made.finish()), (0, 0), "rings of threads");
}

#[test]
fn a_stream_that_ends_in_the_middle_says_so() {
    let data = loads();
    let mut made = Made::spe();
    made.aux(0, 0, 3072, 0).piece(0, 0, &data);
    let stream = Parts::of(&made.finish()).stream();
    let start = stream.len() - data.len();
    for (end, missing) in [(stream.len(), 0), (start + 960, 2112), (start, 3072), (start - 8, 3072)]
    {
        let read = folioscope(["report", "--format", "json", "-"]).input(&stream[..end]).json();
        assert_eq!(of_ledger(&read, "aux_missing_bytes"), missing, "{end}");
        let reasons = read["ledger"]["recording_incomplete"].as_array().expect("a list");
        assert_eq!(reasons.len(), usize::from(missing > 0), "{reasons:?}");
        assert!(
            reasons.iter().all(|reason| reason.as_str().unwrap().contains("ends in the middle"))
        );
        let code = folioscope(["pages", "--strict", "-"]).input(&stream[..end]).run().code();
        assert_eq!(code, if missing > 0 { 3 } else { 0 });
    }
}

/// A file of so many samples of an event with this flag.
fn faults(flags: u64, samples: u64, command: &[&str], lost: &[Record<'_>]) -> Vec<u8> {
    let mut event = sample_event("minor-faults", 5, SAMPLE);
    event.attr.flags |= flags;
    let made = Made::with(Endian::Little, false, vec![event.clone()], features(&event, command));
    finish(made, samples, lost)
}

fn features(event: &Event, command: &[&str]) -> Features {
    let mut features = Features::new(Endian::Little);
    features
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::ARCH, "x86_64")
        .pmus(&[(1, "software")])
        .events(std::slice::from_ref(event));
    if !command.is_empty() {
        features.command(command);
    }
    features
}

fn finish(mut made: Made, samples: u64, lost: &[Record<'_>]) -> Vec<u8> {
    for number in 1..=samples {
        let sample = Sample {
            id: 6 * FIRST_ID,
            ip: 0x40_1000,
            time: number,
            addr: 0x7f00_0000_0000,
            phys_addr: number << 12,
            ..Sample::default()
        };
        made.sample(&sample, SAMPLE);
    }
    for record in lost {
        made.record(*record, 0, 100);
    }
    made.finish()
}

/// The reasons for which a recording is not complete, by all who tell.
fn reasons(recording: &[u8]) -> Vec<String> {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    let list = report["ledger"]["recording_incomplete"].as_array().expect("a list");
    let list: Vec<_> =
        list.iter().map(|reason| reason.as_str().expect("a reason").to_owned()).collect();
    let notes = report["notes"].as_array().expect("a list");
    let text = folioscope(["report"]).arg(&path).text();
    let pages = folioscope(["pages"]).arg(&path).run();
    assert_eq!(list.is_empty(), text.contains("Nothing lost"), "{text}");
    for reason in &list {
        let note = format!("Not complete: {reason}.");
        assert!(notes.contains(&json!(note)), "{notes:?}");
        assert!(report["accesses"] == 0 || pages.stderr.contains(reason), "{}", pages.stderr);
    }
    for command in ["report", "pages", "records", "decisions"] {
        let code = folioscope([command, "--strict"]).arg(&path).run().code();
        assert_eq!(code, if list.is_empty() { 0 } else { 3 }, "{command}");
    }
    list
}

#[test]
fn rings_of_events_that_are_overwritten_hold_the_end_of_the_time() {
    assert_eq!(reasons(&faults(0, 3, &[], &[])), [""; 0]);
    let recording = faults(flag::WRITE_BACKWARD, 3, &[], &[]);
    let [reason] = &reasons(&recording)[..] else { panic!() };
    assert!(reason.contains("only the end of the time was kept of minor-faults"), "{reason}");
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &recording);
    let text = folioscope(["report"]).arg(&path).text();
    assert!(!text.contains("every event was recorded"), "{text}");
    let stream = Parts::of(&recording).stream();
    let read = folioscope(["report", "--format", "json", "-"]).input(&stream).json();
    assert_eq!(read["ledger"]["recording_incomplete"], json!([reason]), "a stream tells it too");

    let daemon = Daemon::start(&[path.to_str().unwrap()]);
    let status = daemon.until("ended");
    assert_eq!(status["ledger"]["recording_incomplete"], json!([reason]));
    let (_, metrics) = daemon.get("/metrics", "");
    for line in [
        "folioscope_recording_incomplete{reason=\"overwritten\"} 1",
        "folioscope_recording_incomplete{reason=\"unfinished\"} 0",
        "folioscope_aux_missing_bytes_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn a_daemon_tells_of_missing_aux_data() {
    let data = loads();
    let mut made = Made::spe();
    made.aux(0, 0, 3072, 0).piece(0, 0, &data[..960]).piece(0, 1440, &data[1440..2400]);
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &made.finish());
    let daemon = Daemon::start(&[path.to_str().unwrap()]);
    // 64-bit numbers are text in JSON.
    let count = daemon.until("ended")["ledger"]["aux_missing_bytes"].clone();
    assert_eq!(count.as_u64().or_else(|| count.as_str()?.parse().ok()), Some(480 + 672));
    assert!(daemon.get("/metrics", "").1.contains("folioscope_aux_missing_bytes_total 1152"));
}

#[test]
fn snapshots_of_rings_announce_no_places_and_are_not_complete() {
    let data = loads();
    let mut made = Made::spe();
    made.aux(0, 0x8000, 0x8000, OVERWRITE).aux(0, 0x4000, 0x4000, OVERWRITE);
    made.piece(0, 0x4000, &data[..1440]).piece(0, 0x9000, &data[1440..]);
    let recording = made.finish();
    let [reason] = &reasons(&recording)[..] else { panic!() };
    assert!(reason.contains("only what was in them at a snapshot was kept"), "{reason}");
    let (ledger, _) = ledger(&recording);
    assert_eq!((&ledger["aux_missing_bytes"], &ledger["counted"]), (&json!(0), &json!(64)));
}

#[test]
fn tracers_that_say_that_they_hold_snapshots() {
    // INTEL_PT_SNAPSHOT_MODE and CS_ETM_SNAPSHOT.
    for (tracer, word) in [(1, 8), (3, 2)] {
        let mut info = info(tracer);
        info[16 + 8 * word] = 1;
        let mut made = Made::of(Endian::Little, false, vec![spe_event()], "6.12.0");
        made.raw(&info).piece(0, 0x4000, &[0; 64]).piece(0, 0x9000, &[0; 64]);
        let (ledger, code) = ledger(&made.finish());
        assert_eq!(ledger["aux_missing_bytes"], 0);
        assert_eq!(ledger["recording_incomplete"].as_array().map(Vec::len), Some(1));
        assert_eq!(code, 3);
    }
}

/// The same file as perf left it when it was killed: the size of its records in the header is 0, and there is nothing
/// behind them.
fn killed(file: &[u8]) -> Vec<u8> {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let mut file = file[..usize::try_from(word(40) + word(48)).expect("small")].to_vec();
    file[48..56].fill(0);
    file[72..104].fill(0);
    file
}

#[test]
fn a_file_that_was_not_finished_says_so_and_gets_no_advice_for_other_events() {
    let finished = faults(0, 3, &[], &[]);
    let [reason] = &reasons(&killed(&finished))[..] else { panic!() };
    assert!(reason.contains("not finished: its end may be missing"), "{reason}");
    // Killed while it wrote.
    let mut cut = killed(&finished);
    cut.truncate(cut.len() - 9);
    let folder = scratch();
    let path = write(folder.path(), "cut.data", &cut);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    assert_eq!(report["accesses"], 2);
    assert_eq!(report["ledger"]["recording_incomplete"], json!([reason]), "one reason is enough");

    let cycles = sample_event("cycles", 0, st::IDENTIFIER | st::IP | st::TID | st::TIME);
    let spe = spe_event();
    for event in [cycles, sample_event("minor-faults", 5, SAMPLE), spe] {
        // perf always writes who ran, if nothing else.
        let comm = Record::Comm { pid: 7, tid: 7, comm: "idle", exec: false };
        let made = Made::with(Endian::Little, false, vec![event.clone()], features(&event, &[]));
        let empty = finish(made, 0, &[comm]);
        for (recording, words) in
            [(killed(&empty), "not finished"), (empty, "nothing was sampled|no event was sampled")]
        {
            let path = write(folder.path(), "empty.data", &recording);
            for command in ["report", "pages", "records"] {
                let run = folioscope([command]).arg(&path).run().succeeded();
                assert!(words.split('|').any(|words| run.stderr.contains(words)), "{}", run.stderr);
                let told = run.stderr.clone() + &run.text();
                assert!(!told.contains("arm_spe_0/pa_enable"), "{command} {}: {told}", event.name);
                assert!(!told.contains("Nothing lost") || words != "not finished", "{told}");
            }
        }
    }
}

#[test]
fn losses_of_files_that_one_recording_was_cut_into_are_told_once() {
    let folder = scratch();
    let command = ["/usr/bin/perf", "record", "--switch-output=40K", "-e", "minor-faults"];
    let lost = |lost| Record::Lost { id: 6 * FIRST_ID, lost };
    let all = Record::LostSamples { lost: 1000, bpf: false };
    // perf tells in the last file what was lost in all of them.
    let parts = [vec![lost(300)], vec![], vec![lost(500)], vec![lost(200), all]];
    let paths: Vec<_> = (0..)
        .zip(&parts)
        .map(|(at, lost)| {
            write(folder.path(), &format!("part{at}"), &faults(0, 3 + at, &command, lost))
        })
        .collect();
    let report = folioscope(["report", "--format", "json"]).args(&paths).json();
    let told = ["lost", "lost_records", "lost_samples"].map(|field| of_ledger(&report, field));
    assert_eq!(told, [1000; 3]);
    assert_eq!(report["ledger"]["recording_incomplete"], json!([]), "all of them are here");
    let notes = report["notes"].as_array().expect("a list");
    let about = |note: &&Value| note.as_str().unwrap().contains("minor-faults:");
    assert_eq!(notes.iter().filter(about).count(), 1, "{notes:?}");
    let mut once = notes.clone();
    once.sort_by_key(ToString::to_string);
    once.dedup();
    assert_eq!(once.len(), notes.len(), "{notes:?}");
}

#[test]
fn one_of_several_files_is_not_the_whole_recording() {
    let folder = scratch();
    let part =
        |name: &str, command: &[&str]| write(folder.path(), name, &faults(0, 3, command, &[]));
    let words = |files: &[std::path::PathBuf]| {
        let report = folioscope(["report", "--format", "json"]).args(files).json();
        let list = report["ledger"]["recording_incomplete"].as_array().expect("a list").clone();
        let code = folioscope(["pages", "--strict"]).args(files).run().code();
        assert_eq!(code, if list.is_empty() { 0 } else { 3 });
        list.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect::<Vec<_>>().join("; ")
    };
    let switched = ["perf", "record", "--switch-output", "-e", "minor-faults"];
    let (first, second) = (part("1", &switched), part("2", &switched));
    assert!(words(slice::from_ref(&first)).contains("only one is read"));
    assert_eq!(words(&[first.clone(), second]), "");
    // What the recorded program is told says nothing.
    let not_ours = ["perf", "record", "--", "perf", "record", "--switch-output"];
    assert_eq!(words(&[part("3", &not_ours)]), "");
    for option in [&["--switch-max-files=2"][..], &["--switch-max-files", "2"]] {
        let last = [&["perf", "record", "--switch-output=1s"][..], option].concat();
        let (one, two) = (part("4", &last), part("5", &last));
        assert!(words(slice::from_ref(&one)).contains("kept the last 2 files"));
        assert!(words(&[one, two, first.clone()]).contains("kept the last 2 files"));
    }
    let few = ["perf", "record", "--switch-output=1s", "--switch-max-files=3"];
    assert_eq!(words(&[part("6", &few), part("7", &few)]), "", "none had to go");
}
