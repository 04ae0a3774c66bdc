//! Compressed inputs and files on pipes: read as what they hold, within limits, with nothing left behind.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::container::Parts;
use tests::emulation::thinned;
use tests::inputs::{bytes, input};
use tests::made::load;

use crate::program::{Start, check_ledger, counts, folioscope, in_shell, scratch, write};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("there is memory for it");
    encoder.include_checksum(true).expect("as the program zstd does");
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// In several members or frames, one behind the other.
fn in_many(pack: fn(&[u8]) -> Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(4000).flat_map(pack).collect()
}

/// What a command prints, without the name of what it read.
fn printed(start: Start) -> String {
    let text = start.text();
    match serde_json::from_str::<Value>(&text) {
        Ok(mut report) if report.get("input").is_some() => {
            report["input"]["path"] = Value::Null;
            report.to_string()
        }
        _ => text,
    }
}

const COMMANDS: [&[&str]; 4] =
    [&["report", "--format", "json"], &["pages"], &["records"], &["decisions", "--counts"]];

/// File and stream, both byte orders, compressed by perf and not.
const NAMES: [&str; 5] =
    ["spe-file-zstd83", "spe-file-be-timeless", "file-kernel", "pipe-one", "pipe-multi-z"];

#[test]
fn compressed_inputs_give_what_they_hold() {
    let folder = scratch();
    for name in thinned("inputs", NAMES, 2) {
        let plain = bytes(input(name));
        let packed = [
            ("gz", gzip(&plain)),
            ("zst", zstd(&plain)),
            ("gz-many", in_many(gzip, &plain)),
            ("zst-many", in_many(zstd, &plain)),
        ];
        for command in COMMANDS {
            let want = printed(folioscope(command).arg(input(name)));
            for (how, packed) in &packed {
                // By what is in it, not by its name.
                let path = write(folder.path(), "perf.data", packed);
                assert!(
                    printed(folioscope(command).arg(&path)) == want,
                    "{command:?} {name} {how}"
                );
            }
            let piped = printed(folioscope(command).arg("-").input(&packed[2].1));
            assert!(piped == want, "{command:?} {name} through a pipe");
        }
    }
}

#[test]
fn a_file_on_a_pipe_is_read() {
    for name in thinned("files", &NAMES[..3], 2) {
        for command in COMMANDS {
            let want = printed(folioscope(command).arg(input(name)));
            let piped = printed(folioscope(command).arg("-").input(&bytes(input(name))));
            assert!(piped == want, "{command:?} {name}");
        }
    }
    let folder = scratch();
    let picture = |name: &str| folder.path().join(name);
    let draw = |name: &str| folioscope(["heatmap", "-o"]).arg(picture(name));
    draw("a.svg").arg(input("file-kernel")).run().succeeded();
    draw("b.svg").arg("-").input(&bytes(input("file-kernel"))).run().succeeded();
    let drawn = |name: &str| {
        let text = String::from_utf8(bytes(picture(name))).expect("SVG is text");
        text.replace(input("file-kernel").to_str().expect("text"), "-")
    };
    assert!(drawn("a.svg") == drawn("b.svg"));
}

#[test]
fn several_inputs_of_which_some_are_compressed() {
    let folder = scratch();
    let file = bytes(input("spe-file-zstd83"));
    let stream = bytes(input("spe-stream"));
    let want: u64 = [&file, &stream, &stream]
        .map(|bytes| counts(&folioscope(["pages", "-"]).input(bytes).text()).values().sum::<u64>())
        .iter()
        .sum();
    let a = write(folder.path(), "a.data", &file);
    let b = write(folder.path(), "b.data", &gzip(&stream));
    let start = folioscope(["pages"]).args([a.as_path(), Path::new("-"), &b]).input(&zstd(&stream));
    assert_eq!(counts(&start.text()).values().sum::<u64>(), want);

    for command in COMMANDS {
        let run = folioscope(command).args(["-", "-"]).input(&stream).run();
        assert_eq!(run.code(), 2, "{}", run.stderr);
        assert!(run.stderr.contains("- stands twice"), "{}", run.stderr);
    }
}

/// What there is before the end is read, and that there is an end before its time is told.
#[test]
fn compressed_inputs_that_end_too_soon_or_are_damaged() {
    let folder = scratch();
    for name in ["pipe-one", "spe-file-zstd83"] {
        let plain = bytes(input(name));
        let all = folioscope(["report", "--format", "json"]).arg(input(name)).json();
        let all = all["accesses"].as_u64().expect("a number");
        for (format, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
            let packed = in_many(pack, &plain);
            let mut damaged = packed.clone();
            let middle = damaged.len() * 2 / 3;
            damaged[middle..middle + 20].fill(0xff);
            // All of it and the start of more: nothing is missing but what nobody knows.
            let more = [&packed[..], &pack(b"more")[..6]].concat();
            let short = packed[..packed.len() * 3 / 4].to_vec();
            for (bytes, least) in [(short, 0), (damaged, 0), (more, all)] {
                let path = write(folder.path(), "cut.data", &bytes);
                let report = folioscope(["report", "--format", "json"]).arg(&path).json();
                check_ledger(&report);
                let told = report["unreadable"].to_string();
                assert!(told.contains(&format!("{format} data that")), "{name} {format}: {told}");
                let counted = report["accesses"].as_u64().expect("a number");
                assert!((least..=all).contains(&counted), "{name} {format}: {counted}");
                let run = folioscope(["pages", "--strict"]).arg(&path).run();
                assert_eq!(run.code(), 3, "{name} {format}: {}", run.stderr);
            }
        }
    }
    // Many blocks of one member or frame: most of what was there is counted.
    let mut made = tests::made::Made::spe();
    for number in 0..20_000_u64 {
        let ticks = number.wrapping_mul(0x9e37_79b9) >> 4;
        made.piece(0, 48 * number, &load(number, ticks));
    }
    let stream = Parts::of(&made.finish()).stream();
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        let packed = pack(&stream);
        let half = &packed[..packed.len() / 2];
        let report = folioscope(["report", "--format", "json", "-"]).input(half).json();
        let counted = report["accesses"].as_u64().expect("a number");
        assert!((8_000..12_000).contains(&counted), "{counted}");
    }
}

#[test]
fn what_holds_no_recording_or_is_not_read() {
    let folder = scratch();
    let stream = bytes(input("pipe-one"));
    let cases: [(Vec<u8>, &[&str]); 10] = [
        (gzip(b""), &["0 bytes"]),
        (zstd(b"PERFILE2\x10\0"), &["10 bytes", "16"]),
        (gzip(b"this is a text and no recording\n"), &["PERFILE2"]),
        (gzip(&stream)[..20].to_vec(), &["gzip data that ends before its end"]),
        (zstd(&stream)[..12].to_vec(), &["zstd data that ends before its end"]),
        (gzip(&gzip(&stream)), &["compressed with gzip", "gzip -dc"]),
        (b"\xfd7zXZ\0\0\x04\xe6\xd6".to_vec(), &["compressed with xz", "xz -dc FILE"]),
        (b"BZh91AY&SY\0\0".to_vec(), &["bzip2 -dc FILE | folioscope report -"]),
        (b"\x04\x22\x4d\x18\x64\x40".to_vec(), &["lz4 -dc FILE"]),
        (b"PK\x03\x04\x14\0\0\0".to_vec(), &["unzip -p FILE"]),
    ];
    for (bytes, words) in cases {
        let path = write(folder.path(), "packed", &bytes);
        for command in COMMANDS {
            let by_name = folioscope(command).arg(&path);
            by_name.run().failed(&[&["packed: "], words].concat());
            folioscope(command).arg("-").input(&bytes).run().failed(&[&["-: "], words].concat());
        }
    }
}

#[test]
fn folders_with_compressed_files() {
    let folder = scratch();
    for part in ["data", "data.0", "data.1"] {
        write(folder.path(), part, &bytes(input("dir-threads").join(part)));
    }
    let whole = folioscope(["pages"]).arg(folder.path()).text();
    // One that would be missed, by its name; one that looks like a file of the folder.
    let part = bytes(folder.path().join("data.1"));
    write(folder.path(), "data.1.gz", &gzip(&part));
    assert_eq!(folioscope(["pages"]).arg(folder.path()).text(), whole, "both are there");
    std::fs::remove_file(folder.path().join("data.1")).expect("it is there");
    let refused = folioscope(["pages"]).arg(folder.path()).run();
    refused.failed(&["\"data.1.gz\" is compressed", "gzip -dc data.1.gz > data.1"]);
    std::fs::remove_file(folder.path().join("data.1.gz")).expect("it is there");
    write(folder.path(), "data.1", &zstd(&part));
    folioscope(["pages"])
        .arg(folder.path())
        .run()
        .failed(&["\"data.1\" is compressed", "zstd -dc"]);
}

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().display().to_string()).collect()
}

#[test]
fn what_is_saved_is_limited_and_leaves_nothing() {
    let folder = scratch();
    let temporary = folder.path().to_str().expect("text");
    let file = bytes(input("file-kernel"));
    let limits = [(file.len() as u64, true), (file.len() as u64 - 1, false)];
    for packed in [file.clone(), gzip(&file), zstd(&file)] {
        for (limit, enough) in limits {
            for command in COMMANDS {
                let start = folioscope(command).args(["--max-spool", &limit.to_string(), "-"]);
                let run = start.env("TMPDIR", temporary).input(&packed).run();
                if enough {
                    run.succeeded();
                } else {
                    run.failed(&["-: ", &format!("of over {limit} bytes"), "--max-spool"]);
                }
                assert_eq!(names(folder.path()), [] as [String; 0]);
            }
        }
    }
    let missing = folder.path().join("missing");
    let start = folioscope(["pages", "-"]).env("TMPDIR", missing.to_str().expect("text"));
    start.input(&file).run().failed(&["missing, which failed", "TMPDIR", "No such file"]);
    // A stream is never saved.
    let start = folioscope(["pages", "--max-spool", "0", "-"]).env("TMPDIR", "/nowhere");
    start.input(&gzip(&bytes(input("pipe-one")))).run().succeeded();
    let run = folioscope(["pages", "--max-spool", "much", "-"]).run();
    assert_eq!(run.code(), 2);
}

/// A folder of temporary files that is full, in a mount namespace of its own.
#[test]
fn a_disk_that_is_full() {
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("no mount namespaces here: not tried");
        return;
    }
    let folder = scratch();
    let temporary = folder.path().to_str().expect("text");
    let script = "D=$1; shift; exec unshare -rm sh -c 'D=$0; mount -t tmpfs -o size=16k none \"$D\" && \
                  TMPDIR=$D exec \"$@\"' \"$D\" \"$0\" \"$@\"";
    // The program's own words come first.
    let start = in_shell(&script.replace("D=$1; shift", "D=$FULL"), ["pages", "-"]);
    let run = start.env("FULL", temporary).input(&bytes(input("file-kernel"))).run();
    run.failed(&["-: ", temporary, "set TMPDIR", "No space left on device"]);
    assert_eq!(names(folder.path()), [] as [String; 0]);
}

/// What was made to expand without end is ended by a limit.
#[test]
fn what_expands_beyond_measure() {
    let zeros = vec![0; 8 << 20];
    let header = |size: u64| [&b"PERFILE2"[..], &size.to_le_bytes()].concat();
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        let file = pack(&[header(104), zeros.clone()].concat());
        let start = folioscope(["pages", "--max-spool", "1MiB", "-"]);
        start.input(&file).run().failed(&["of over 1048576 bytes", "--max-spool"]);
    }
    // Empty records, of which a stream may have any number.
    let run = |mebibytes: usize| {
        let records = [68, 0, 0, 0, 0, 0, 8, 0].repeat(mebibytes << 17);
        let stream = zstd(&[header(16), records].concat());
        let start = folioscope(["report", "--format", "json", "-"]);
        start.input(&stream).json()["unreadable"].clone()
    };
    let told = run(80);
    assert!(told.to_string().contains("more than 256-fold"), "{told}");
    assert_eq!(run(48), serde_json::json!([]));
}
