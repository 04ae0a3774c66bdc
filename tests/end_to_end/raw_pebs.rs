//! Raw PEBS buffers: every format as a file and through a pipe; what is damaged; what they cannot
//! tell.

use serde_json::{Value, json};
use tests::inputs::input;
use tracegen::pebs::Record;

use crate::program::{folioscope, scratch, write};

/// The record with this number; its latency word is of the cache alone where that has a place.
fn made(number: u64, latency: u64) -> Record {
    Record {
        ip: 0x40_1000 + number,
        address: 0x7f00_0000_0000 + (number << 12),
        source: 0x1051,
        latency,
        tsc: 1000 + number,
    }
}

type Write = fn(&Record) -> Vec<u8>;

/// Each format: how it is written, its latency word, and whether it has an address and the
/// instruction's.
const FORMATS: [(&str, Write, u64, bool, bool); 10] = [
    ("0", |record| record.fixed(0), 90, false, false),
    ("1", |record| record.fixed(1), 90, true, false),
    ("2", |record| record.fixed(2), 90, true, true),
    ("3", |record| record.fixed(3), 90, true, true),
    ("4", |record| record.adaptive(0, &[]), 90, true, true),
    // Registers and 32 branches.
    ("4", |record| record.adaptive(0x1f00_000a, &[6; 18 + 96]), 90 << 32 | 400, true, true),
    ("5", |record| record.adaptive(4, &[7; 32]), 90 << 32 | 400, true, true),
    // Two counters and metrics.
    ("6", |record| record.adaptive(0x30, &[0b11, 3, 1, 2, 8, 9]), 90 << 32 | 400, true, true),
    ("arch", Record::fragment, 90 << 32 | 400, true, true),
    ("arch", Record::fragments, 90 << 32 | 400, true, true),
];

fn row(number: u64, has_ip: bool) -> Value {
    let ip = has_ip.then(|| format!("{:#x}", 0x40_1000 + number));
    json!({
        "time_ns": null, "cpu": null, "pid": null, "tid": null, "event": null, "op": "access",
        "ip": ip, "vaddr": format!("{:#x}", 0x7f00_0000_0000_u64 + (number << 12)),
        "paddr": null, "latency": 90, "source": "unknown(0x1051)", "flags": null,
        "queue": "samples", "tlb": null, "page_size": null, "issue_latency": null,
        "translation_latency": null, "guest": false,
    })
}

#[test]
fn records_of_every_format() {
    let folder = scratch();
    for (format, write_one, latency, has_address, has_ip) in FORMATS {
        let buffer: Vec<u8> =
            (0..100).flat_map(|number| write_one(&made(number, latency))).collect();
        let path = write(folder.path(), "pebs.bin", &buffer);
        let start = || folioscope(["records", "--format", "json", "--raw-pebs", format]);
        let listed = start().arg(&path).json_lines();
        let want: Vec<_> = (0..100).map(|number| row(number, has_ip)).collect();
        if has_address {
            assert_eq!(listed, want, "format {format}");
        } else {
            assert_eq!(listed, [] as [Value; 0], "format {format}");
        }
        assert_eq!(start().arg("-").input(&buffer).json_lines(), listed, "format {format}");
    }
}

/// The tables themselves are tested where they stand; here that each form of the option finds its own.
#[test]
fn the_processor_s_table_says_where_data_came_from() {
    // Code 8 with bits 4, 5 and 6.
    let record = Record { source: 0x78, ..made(1, 90 << 32) };
    let cases = [
        (vec![], "unknown(0x78)", None, ""),
        (vec!["--cpu-model", "6,85"], "pmem", Some("walk"), "tlb-walk,locked,tlb-access"),
        (vec!["--cpu-model", "6,78"], "slc", Some("walk"), "tlb-walk,locked,tlb-access"),
        (
            vec!["--cpu-model", "6,58"],
            "remote-cache",
            Some("walk"),
            "tlb-walk,remote,locked,tlb-access",
        ),
        (vec!["--cpu-model", "6,190"], "l3", Some("walk"), "tlb-walk,locked,tlb-access"),
        (vec!["--cpu-model", "6,151/atom"], "l3", Some("walk"), "tlb-walk,locked,tlb-access"),
        (
            vec!["--cpu-model", "GenuineIntel,6,175,3"],
            "l3",
            Some("walk"),
            "tlb-walk,locked,hitm,tlb-access",
        ),
        // There the code has eight bits, which this is none of.
        (vec!["--cpu-model", "6,189/core"], "unknown(0x78)", Some("hit"), "tlb-access"),
    ];
    for (more, source, tlb, flags) in cases {
        for (format, bytes) in [("5", record.adaptive(0, &[])), ("15", record.fragment())] {
            let start = folioscope(["records", "--format", "json", "--raw-pebs", format, "-"]);
            let listed = start.args(&more).input(&bytes).json_lines();
            let flags = Some(flags).filter(|flags| !flags.is_empty());
            let got = (&listed[0]["source"], &listed[0]["tlb"], &listed[0]["flags"]);
            assert_eq!(got, (&json!(source), &json!(tlb), &json!(flags)), "{more:?}");
            assert_eq!(listed[0]["latency"], 90);
        }
    }
    for (model, words) in [
        ("6,151", "6,151/core or 6,151/atom"),
        ("6,85/atom", "leave /atom out"),
        ("6,1", "no table of data sources is known"),
        ("zen4", "FAMILY,MODEL in decimal"),
    ] {
        let run = folioscope(["records", "--raw-pebs", "4", "--cpu-model", model, "-"]).run();
        assert_eq!(run.code(), 2, "{model}");
        assert!(run.stderr.contains(words), "{model}: {}", run.stderr);
    }
    let run = folioscope(["records", "--cpu-model", "6,85", "-"]).run();
    assert_eq!((run.code(), run.stderr.contains("--raw-pebs")), (2, true), "{}", run.stderr);
}

#[test]
fn buffers_add_up_and_are_listed_in_their_order() {
    let folder = scratch();
    let buffer = |number| made(number, 90).fixed(3);
    let (a, b) = (buffer(1), buffer(2));
    let paths = [("a", &a), ("b", &b)].map(|(name, bytes)| write(folder.path(), name, bytes));
    let start = folioscope(["records", "--format", "json", "--raw-pebs", "3"]).args(paths);
    let mut second = row(2, true);
    second["queue"] = json!("2:samples");
    assert_eq!(start.json_lines(), [row(1, true), second]);
}

#[test]
fn nothing_is_counted_without_a_physical_address() {
    let buffer = [1, 2, 3].map(|number| made(number, 90).fixed(1)).concat();
    let run = folioscope(["pages", "--raw-pebs", "1", "-"]).input(&buffer).run().succeeded();
    assert_eq!((run.text().as_str(), run.stderr.lines().count()), ("", 1), "{}", run.stderr);
    for words in ["3 records, none with a physical address", "raw PEBS buffer", "--phys-data"] {
        assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
    }
    for (command, status) in [("pages", 3), ("records", 0)] {
        let strict = folioscope([command, "--raw-pebs", "1", "--strict", "-"]).input(&buffer);
        assert_eq!(strict.run().code(), status, "nothing was counted, and nothing lost: {command}");
    }
}

#[test]
fn why_there_is_nothing() {
    let record = made(1, 90);
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("3", vec![], "0 records, nothing was sampled"),
        ("3", vec![0; 4096], "0 records, nothing was sampled"),
        ("0", record.fixed(0), "1 records, none with a data address"),
        ("4", record.fixed(3), "no record in 200 bytes: see whether format 4 is right"),
        ("arch", record.fixed(3)[..64].to_vec(), "no record in 64 bytes"),
    ];
    for (format, buffer, words) in cases {
        for command in ["pages", "records"] {
            let start = || folioscope([command, "--raw-pebs", format, "-"]).input(&buffer);
            let run = start().run().succeeded();
            assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
            assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
            assert_eq!(start().arg("--strict").run().code(), 3, "{words}");
        }
    }
}

#[test]
fn what_is_lost_is_told() {
    let record = made(1, 90);
    let adaptive = record.adaptive(0, &[]);
    let bad = [&adaptive[..], &[0xff; 24], &adaptive].concat();
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("4", bad, "skipped_bytes 88"),
        ("4", [&adaptive[..], &adaptive[..40]].concat(), "cut_off_bytes 40"),
        ("2", [record.fixed(2), record.fixed(1)].concat(), "cut_off_bytes 176"),
        (
            "arch",
            [record.fragment(), record.fragments()[..80].to_vec()].concat(),
            "cut_off_bytes 80",
        ),
    ];
    for (format, buffer, words) in cases {
        let start = |command: &str| {
            folioscope([command, "--raw-pebs", format, "--strict", "-"]).input(&buffer).run()
        };
        let run = start("records");
        assert_eq!((run.code(), run.text().lines().count()), (3, 2), "{words}");
        assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
        let run = start("pages");
        assert_eq!((run.code(), run.stderr.lines().count()), (3, 1), "{words}");
        assert!(run.stderr.contains("bytes could not be read"), "{}", run.stderr);
    }
}

#[test]
fn a_recording_is_no_buffer() {
    for name in ["file-shm", "pipe-one", "dir-threads", "spe-file-be-timeless"] {
        let start = folioscope(["records", "--raw-pebs", "3"]).arg(input(name));
        start.run().failed(&["recording of perf's", "leave out --raw-pebs"]);
    }
    let run = folioscope(["pages", "--raw-pebs", "7", "-"]).run();
    assert_eq!(run.code(), 2);
    assert!(run.stderr.contains("0 1 2 3 4 5 6 arch"), "{}", run.stderr);
}

#[test]
fn filters_and_times_of_a_buffer() {
    let buffer = [made(1, 90), made(2, 10)].map(|record| record.fixed(3)).concat();
    let start = |more: &[&str]| {
        folioscope(["records", "--format", "json", "--raw-pebs", "3", "-"])
            .args(more)
            .input(&buffer)
    };
    assert_eq!(start(&["--min-latency", "50"]).json_lines(), [row(1, true)]);
    assert_eq!(start(&["--pid", "1"]).json_lines(), [] as [Value; 0]);
    start(&["--time", "0,1"]).run().failed(&["--time needs times"]);
}
