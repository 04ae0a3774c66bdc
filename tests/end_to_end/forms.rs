//! The same data as file, folder and stream; the same input on one thread and on several.

use serde_json::Value;
use tests::container::Parts;
use tests::emulation::thinned;
use tests::inputs::{all, bytes, input};

use crate::program::{Start, check_ledger, folioscope, scratch, write};

/// A report without what may differ between forms: what was read, and threads that side-band records tell.
fn comparable(start: Start) -> Value {
    let mut report = start.json();
    check_ledger(&report);
    let fields = report.as_object_mut().expect("a report is an object");
    fields.remove("input").expect("it says what was read");
    fields["ledger"].as_object_mut().expect("the ledger").remove("tid_unknown");
    report
}

fn report() -> Start {
    folioscope(["report", "--format", "json", "--top", "0", "--order", "2"])
}

/// What a report says it read.
fn kind(start: Start) -> Value {
    start.json()["input"]["kind"].clone()
}

#[test]
fn file_folder_and_stream_agree() {
    let folder = scratch();
    let files = all().filter(|name| name.contains("file"));
    for name in thinned("forms", files, 3) {
        let file = bytes(input(name));
        let want = comparable(report().arg(input(name)));
        assert!(want["accesses"].as_u64() > Some(0), "{name}");

        let stream = Parts::of(&file).stream();
        let saved = write(folder.path(), "stream.data", &stream);
        let as_folder = folder.path().join(format!("{name}.folder"));
        std::fs::create_dir(&as_folder).expect("a folder can be made");
        write(&as_folder, "data", &file);
        assert_eq!(comparable(report().arg("-").input(&stream)), want, "{name} as a stream");
        assert_eq!(comparable(report().arg(&saved)), want, "{name} as a saved stream");
        assert_eq!(comparable(report().arg(&as_folder)), want, "{name} as a folder");
        assert_eq!(kind(report().arg(&as_folder)), "folder");
        assert_eq!(kind(report().arg("-").input(&stream)), "stream");
    }
}

#[test]
fn a_saved_stream_is_what_came_through_the_pipe() {
    let streams = all().filter(|name| name.contains("pipe") || name.contains("stream"));
    for name in streams {
        let want = comparable(report().arg(input(name)));
        let piped = comparable(report().arg("-").input(&bytes(input(name))));
        assert_eq!(piped, want, "{name}");
        assert_eq!(want["reason"], Value::Null, "{name}");
    }
}

#[test]
fn a_fifo_is_a_stream() {
    let folder = scratch();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo starts");
    assert!(made.success());
    let stream = bytes(input("spe-stream"));
    // A program that is missing must be noticed here: a FIFO waits for its reader.
    crate::program::command_words();
    let got = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::fs::write(&fifo, &stream);
        });
        report().arg(&fifo).json()
    });
    assert_eq!(got["input"]["kind"], "stream");
    assert_eq!(got["accesses"], 812);
}

#[test]
fn the_parts_of_a_folder_are_one_recording() {
    // What the threads of the recorder wrote apart, one behind the other.
    let folder = input("dir-threads");
    let mut whole = Parts::of(&bytes(folder.join("data")));
    for part in ["data.0", "data.1"] {
        whole.records.extend_from_slice(&bytes(folder.join(part)));
    }
    let want = comparable(report().arg(&folder));
    assert_eq!(comparable(report().arg("-").input(&whole.stream())), want);
    let records = |start: Start| start.text();
    assert_eq!(
        records(folioscope(["records", "-"]).input(&whole.stream())),
        records(folioscope(["records"]).arg(&folder)),
        "data comes before data.0, data.0 before data.1"
    );
}

#[test]
fn records_of_the_three_forms_are_the_same() {
    let folder = scratch();
    for name in ["spe-file-zstd83", "spe-file-be-timeless", "file-z"] {
        let file = bytes(input(name));
        let stream = Parts::of(&file).stream();
        write(folder.path(), "data", &file);
        // Threads that only side-band records tell may differ.
        let without_threads = |text: String| -> Vec<String> {
            let cut = |line: &str| {
                let cells = line.split('\t').enumerate();
                let kept = cells.filter(|(i, _)| *i != 2 && *i != 3).map(|(_, cell)| cell);
                kept.collect::<Vec<_>>().join("\t")
            };
            text.lines().map(cut).collect()
        };
        let want = without_threads(folioscope(["records"]).arg(input(name)).text());
        assert!(want.len() > 500, "{name}");
        let piped = folioscope(["records", "-"]).input(&stream).text();
        assert!(without_threads(piped) == want, "{name} as a stream");
        let as_folder = folioscope(["records"]).arg(folder.path()).text();
        assert!(without_threads(as_folder) == want, "{name} as a folder");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for name in thinned("threads", all(), 8) {
        for command in ["report", "pages", "decisions"] {
            let run = |threads: &str| {
                folioscope([command, "--format", "json", "--threads", threads])
                    .arg(input(name))
                    .text()
            };
            let one = run("1");
            assert!(!one.is_empty());
            for threads in ["2", "4"] {
                assert!(run(threads) == one, "{command} {name} with {threads} threads");
            }
        }
    }
}
