//! What reports say, against what `records` lists of the same input with the same filters.

use serde_json::{Value, json};
use tests::emulation::thinned;
use tests::inputs::{all, input};
use tests::made::Made;
use tests::recompute::{Row, check, check_coverage};
use tracegen::spe::{Packet, Width, address, counter, event, operation};

use crate::program::{folioscope, of_ledger, report, scratch, write};

/// Filters, none first.
const FILTERS: [&[&str]; 7] = [
    &[],
    &["--min-latency", "1"],
    &["--min-latency", "350"],
    &["--loads"],
    &["--cpu", "1-2"],
    &["--source", "l1"],
    &["--stores", "--pfn", "0-0xfffffff"],
];

#[test]
fn all_that_a_report_says_can_be_computed_from_the_records() {
    for name in thinned("inputs", all(), 5) {
        let path = input(name);
        for (order, filters) in FILTERS.iter().enumerate() {
            let what = format!("{name} {filters:?}");
            let records = ["records", "--format", "json", "-q"];
            let listed = folioscope(records).args(*filters).arg(&path).json_lines();
            let rows: Vec<Row> = listed.iter().map(Row::of_json).collect();
            let order = order.to_string();
            let options = [&["-q", "--top", "0", "--order", &order], *filters].concat();
            let report = report(&path, &options);
            check(&report, &rows, &what);
            // Other records are not listed.
            if filters.is_empty() && of_ledger(&report, "not_memory") == 0 {
                let seen: Vec<_> = rows.iter().map(|row| (row.cpu, row.time_ns)).collect();
                check_coverage(&report, &seen, &what);
            }
        }
    }
}

/// Loads that took so many cycles, one after another.
fn loads(latencies: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut data = Vec::new();
    for (number, latency) in (0..).zip(latencies) {
        let paddr = 0x8_2000_0000 + ((number % 512) << 12);
        for packet in [
            Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
            Packet::Counter { index: counter::TOTAL, value: latency },
            Packet::Events { bits: event::RETIRED | event::L1D_ACCESS, width: Width::One },
            Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
            Packet::Address {
                index: address::DATA_PHYSICAL,
                payload: address::physical(paddr, false, 0),
            },
            Packet::Timestamp(1_000_000 + number),
        ] {
            packet.write(&mut data);
        }
    }
    let mut made = Made::spe();
    made.aux(0, 0, data.len() as u64, 0).piece(0, 0, &data);
    made.finish()
}

#[test]
fn no_latency_is_told_that_no_record_has() {
    let folder = scratch();
    let path = write(folder.path(), "latency.data", &loads((300..400).chain(300..400)));
    let latency = |options: &[&str]| report(&path, options)["latency"].clone();
    assert_eq!(
        latency(&[]),
        json!({"count": 200, "min": 300, "p50": 349, "p90": 389, "p99": 398, "max": 399})
    );
    assert_eq!(
        latency(&["--min-latency", "350"]),
        json!({"count": 100, "min": 350, "p50": 374, "p90": 394, "p99": 399, "max": 399})
    );
    let text = folioscope(["report", "--min-latency", "350"]).arg(&path).text();
    let line = "Latency  min 350, p50 374, p90 394, p99 399, max 399 cycles (100 accesses)";
    assert!(text.lines().any(|told| told == line), "{text}");
    assert_eq!(latency(&["--min-latency", "400"]), Value::Null);

    // Beyond what is told apart cycle by cycle, and none at all.
    let path = write(folder.path(), "long.data", &loads([0, 0, 5003, 0, 60_001]));
    let latency = report(&path, &[])["latency"].clone();
    let [count, min, max] = ["count", "min", "max"].map(|field| latency[field].as_u64());
    assert_eq!((count, min, max), (Some(2), Some(5003), Some(60_001)), "{latency}");
    let path = write(folder.path(), "none.data", &loads([0, 0, 0]));
    assert_eq!(report(&path, &[])["latency"], Value::Null);
    let listed = folioscope(["records", "--format", "json"]).arg(&path).json_lines();
    assert!(listed.iter().all(|row| row["latency"].is_null()), "0 is none: {listed:?}");
}

#[test]
fn tables_have_all_blocks_unless_fewer_are_asked_for() {
    let folder = scratch();
    let path = input("spe-file");
    let folios = report(&path, &[])["folios"].as_u64().expect("a count");
    assert!(folios > 10, "more than text and JSON list");
    let csv = |more: &[&str]| {
        let text = folioscope(["report", "--format", "csv"]).args(more).arg(&path).text();
        text.lines().count() as u64 - 1
    };
    assert_eq!(csv(&[]), folios);
    assert_eq!(csv(&["--top", "0"]), folios);
    assert_eq!(csv(&["--top", "7"]), 7);
    let listed = |more: &[&str]| report(&path, more)["top"].as_array().map(Vec::len);
    assert_eq!(listed(&[]), Some(10));
    let parquet = |more: &[&str]| {
        let out = folder.path().join("out.parquet");
        let start = folioscope(["report", "--format", "parquet", "-o"]).arg(&out);
        start.args(more).arg(&path).run().succeeded();
        tests::inputs::bytes(&out)
    };
    let whole = parquet(&[]);
    assert!(whole == parquet(&["--top", "0"]), "all of them");
    assert!(whole != parquet(&["--top", "10"]), "fewer");
}

#[test]
fn strict_asks_that_something_is_counted() {
    let folder = scratch();
    let path = write(folder.path(), "some.data", &loads(300..310));
    let png = folder.path().join("out.png");
    let png = png.to_str().expect("text");
    let commands: [&[&str]; 5] =
        [&["report"], &["pages"], &["records"], &["decisions"], &["heatmap", "-o", png]];
    for command in commands {
        for (filter, strict, status) in [("0", true, 0), ("65000", false, 0), ("65000", true, 3)] {
            let start = folioscope(command).args(["--min-latency", filter]).arg(&path);
            let run = if strict { start.arg("--strict") } else { start }.run();
            assert_eq!(run.code(), status, "{}: {}", run.command, run.stderr);
            // Whoever asks is told why.
            let told = run.stderr.contains("the filters left out all of them");
            assert_eq!(told, filter != "0", "{}: {}", run.command, run.stderr);
        }
    }
}
