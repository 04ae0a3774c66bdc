//! Every record against what perf says of it, every SPE packet against perf's dump.

use std::collections::BTreeMap;

use decoder::spe::{Kind, Packets};
use serde_json::Value;
use tests::inputs::{MADE, RECORDED, VIRTUAL, bytes, input, testdata, written};
use tests::plain::{self, Plain};

use crate::program::{Table, check_ledger, folioscope, number, of_ledger, report, scratch, write};

/// The fields that are compared, as text; absent ones are left out.
type Row = BTreeMap<&'static str, String>;

fn row<'a>(values: impl IntoIterator<Item = (&'static str, Option<String>)> + 'a) -> Row {
    values.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

/// A field of a JSON record, as text.
fn text(record: &Value, field: &str) -> Option<String> {
    match record.get(field).unwrap_or_else(|| panic!("no field {field} in {record}")) {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Names of Neoverse's data sources (DDI 0487 leaves them to the processor; the technical reference manuals have them).
fn neoverse(source: u64) -> String {
    let name = match source {
        0x0 => "l1",
        0x8 => "l2",
        0x9 => "peer-core",
        0xa => "cluster",
        0xb => "slc",
        0xc => "peer-cluster",
        0xd => "remote-cache",
        0xe => "dram",
        other => return format!("unknown({other:#x})"),
    };
    name.to_owned()
}

/// The operation without its finer name.
fn op(record: &Value) -> Option<String> {
    text(record, "op").map(|op| op.split('/').next().unwrap_or_default().to_owned())
}

/// The module that placed the records keeps an account of each: tests/vm/spe.
#[test]
fn each_record_of_the_virtual_unit_is_as_its_module_placed_it() {
    for name in VIRTUAL {
        let table = Table::beside(name, "account.tsv.zst");
        let mut want: Vec<Row> = Vec::new();
        let (mut others, mut counted) = (0, 0);
        for record in table.rows() {
            let text = |column: &str| record.get(column).map(|value| (*value).to_owned());
            counted += u64::from(record.contains_key("paddr"));
            if matches!(record["kind"], "branch" | "other") {
                others += 1;
                continue;
            }
            want.push(row([
                ("op", text("kind")),
                ("pid", text("pid")),
                ("tid", text("tid")),
                ("cpu", text("cpu")),
                ("ip", text("ip")),
                ("vaddr", text("vaddr")),
                ("paddr", text("paddr")),
                ("latency", text("latency")),
                ("source", text("source")),
            ]));
        }
        let rows = folioscope(["records", "--format", "json"]).arg(input(name)).json_lines();
        let fields = ["pid", "tid", "cpu", "ip", "vaddr", "paddr", "latency", "source"];
        let mut got: Vec<Row> = rows
            .iter()
            .map(|record| {
                let fields = fields.map(|field| (field, text(record, field)));
                row(fields.into_iter().chain([("op", op(record))]))
            })
            .collect();
        // The account is by ring, and the recording by time.
        want.sort();
        got.sort();
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got, want, "{name}");
        }
        let report = report(&input(name), &[]);
        for (field, wanted) in
            [("not_memory", others), ("records", others + want.len() as u64), ("counted", counted)]
        {
            assert_eq!(of_ledger(&report, field), wanted, "{name}: {field}");
        }
    }
}

#[test]
fn each_record_of_the_made_traces_has_perf_s_values() {
    for name in MADE {
        let table = Table::of(name);
        let mut want: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
        let (mut others, mut unretired) = (0, 0);
        for record in table.rows() {
            let hex = |column: &str| record.get(column).map(|value| (*value).to_owned());
            unretired += u64::from(number(record["events"]) & 2 == 0);
            let op = match record.get("op").copied() {
                Some(op @ ("load" | "store" | "atomic")) => op,
                None if record.contains_key("vaddr") => "access",
                _ => {
                    others += 1;
                    continue;
                }
            };
            want.entry(number(record["cpu"])).or_default().push(row([
                ("op", Some(op.to_owned())),
                ("ip", hex("ip")),
                ("vaddr", hex("vaddr")),
                ("paddr", hex("paddr")),
                ("latency", hex("weight")),
                ("time_ns", hex("time_ns")),
                // perf says nothing of where data of stores came from, nor do we.
                (
                    "source",
                    record
                        .get("source_raw")
                        .filter(|_| op != "store")
                        .map(|source| neoverse(number(source))),
                ),
                // Where the record itself tells the thread.
                ("tid", hex("context")),
            ]));
        }
        let mut got: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
        for record in folioscope(["records", "--format", "json"]).arg(input(name)).json_lines() {
            let cpu = record["cpu"].as_u64().expect("an AUX queue of a CPU");
            let of_cpu = got.entry(cpu).or_default();
            let has_context = want
                .get(&cpu)
                .and_then(|rows| rows.get(of_cpu.len()))
                .is_some_and(|row| row.contains_key("tid"));
            of_cpu.push(row([
                ("op", op(&record)),
                ("ip", text(&record, "ip")),
                ("vaddr", text(&record, "vaddr")),
                ("paddr", text(&record, "paddr")),
                ("latency", text(&record, "latency")),
                ("time_ns", text(&record, "time_ns")),
                ("source", text(&record, "source")),
                ("tid", text(&record, "tid").filter(|_| has_context)),
            ]));
        }
        assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{name}");
        for (cpu, want) in &want {
            for (at, (got, want)) in got[cpu].iter().zip(want).enumerate() {
                assert_eq!(got, want, "{name}, CPU {cpu}, memory operation {at}");
            }
            assert_eq!(got[cpu].len(), want.len(), "{name}, CPU {cpu}");
        }
        let report = report(&input(name), &[]);
        check_ledger(&report);
        assert_eq!(of_ledger(&report, "not_memory"), others, "{name}");
        assert_eq!(of_ledger(&report, "not_retired"), unretired, "{name}");
        assert_eq!(of_ledger(&report, "records"), table.rows().count() as u64, "{name}");
    }
}

/// The cells of a line, quotes taken off.
fn csv_cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().expect("there is one").push(other),
        }
    }
    cells
}

#[test]
fn text_and_csv_list_what_json_lists() {
    for name in ["spe-stream-zstd83", "file-multi"] {
        let json = folioscope(["records", "--format", "json"]).arg(input(name)).json_lines();
        let listed = folioscope(["records"]).arg(input(name)).text();
        let table = Table::parse(&listed);
        let header = listed.lines().next().expect("a header line");
        assert_eq!(
            header.trim_start_matches('#').trim_start().split('\t').collect::<Vec<_>>(),
            "time_ns cpu pid tid event op ip vaddr paddr latency source flags queue tlb page_size \
             issue_latency translation_latency guest"
                .split(' ')
                .collect::<Vec<_>>()
        );
        let csv = folioscope(["records", "--format", "csv"]).arg(input(name)).text();
        let mut csv = csv.lines();
        let columns: Vec<_> = csv.next().expect("a header line").split(',').collect();
        assert_eq!(table.rows().count(), json.len(), "{name}");
        assert_eq!(csv.clone().count(), json.len(), "{name}");
        for ((cells, line), json) in table.rows().zip(csv).zip(&json) {
            for field in columns.iter().filter(|field| **field != "flags") {
                assert_eq!(
                    cells.get(field).map(|cell| (*cell).to_owned()),
                    text(json, field),
                    "{name}"
                );
            }
            for (cell, field) in csv_cells(line).iter().zip(&columns) {
                assert_eq!(*cell, text(json, field).unwrap_or_default(), "{name}: {field}");
            }
            assert_eq!(csv_cells(line).len(), columns.len(), "{name}: {line}");
        }
    }
}

/// What DATA_SRC says (`union perf_mem_data_src`): operation, and the level where the recordings have one.
fn of_data_src(value: u64) -> (&'static str, Option<String>) {
    let op = match value & 0x1f {
        op if op & 2 != 0 => "load",
        op if op & 4 != 0 => "store",
        _ => "access",
    };
    let (level, number) = (value >> 5 & 0x3fff, value >> 33 & 0xf);
    // Not available in both notations: all that these recordings say.
    assert_eq!((level, number), (1, 0xf), "no recording has another level");
    (op, None)
}

/// What perf's answers do not tell: two events of `file-bp` were set on stores alone.
fn watches_stores(event: &str) -> bool {
    ["mem:0x200000200000", "mem:0x200000654320"].contains(&event)
}

#[test]
fn each_sample_of_the_recordings_has_perf_s_values() {
    for name in RECORDED {
        let has = |record: &BTreeMap<&str, &str>, column: &str| {
            record.get(column).map(|value| (*value).to_owned())
        };
        // An address of 0 is the kernel's way of saying that it has none.
        let address = |record: &BTreeMap<&str, &str>, column| {
            has(record, column).filter(|value| value != "0x0")
        };
        let table = Table::of(name);
        let mut want: Vec<Row> = Vec::new();
        let mut by_cpu = false;
        // A tracepoint has no address of data: its samples are no records.
        let samples = table.rows().filter(|record| !record["event"].contains("page_fault_user"));
        for record in samples {
            let (op, source) = match of_data_src(number(record["data_src"])) {
                ("access", source) if watches_stores(record["event"]) => ("store", source),
                told => told,
            };
            by_cpu |= record.contains_key("cpu");
            want.push(row([
                ("event", has(&record, "event")),
                ("pid", has(&record, "pid")),
                ("tid", has(&record, "tid")),
                ("cpu", has(&record, "cpu")),
                ("time_ns", has(&record, "time_ns")),
                ("ip", has(&record, "ip")),
                ("vaddr", address(&record, "addr")),
                ("paddr", address(&record, "phys_addr")),
                ("op", Some(op.to_owned())),
                ("source", source),
                // Faults have waited for nothing: a weight of 0 is none.
                ("latency", has(&record, "weight").filter(|weight| weight != "0")),
            ]));
        }
        let records = folioscope(["records", "--format", "json"]).arg(input(name)).json_lines();
        let mut got: Vec<Row> = records
            .iter()
            .map(|record| {
                let fields = ["pid", "tid", "time_ns", "ip", "vaddr", "paddr", "source", "latency"];
                let event = text(record, "event").map(|name| perf_name(&name));
                let cpu = text(record, "cpu").filter(|_| by_cpu);
                let rest = fields.map(|field| (field, text(record, field)));
                row([("event", event), ("cpu", cpu), ("op", op(record))].into_iter().chain(rest))
            })
            .collect();
        want.sort();
        got.sort();
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got, want, "{name}");
        }
        assert_eq!(got.len(), want.len(), "{name}");
        assert!(records.iter().all(|record| record["flags"].is_null()), "{name}: faults have none");
        assert!(records.iter().all(|record| record.get("flags").is_some()), "{name}");
    }
}

/// `perf script` prints an event's name without an empty modifier.
fn perf_name(name: &str) -> String {
    name.trim_end_matches(':').to_owned()
}

#[test]
fn counts_of_recordings_without_addresses() {
    let folder = scratch();
    for Plain { name, bytes, lost_samples, damaged, .. } in plain::recordings() {
        let path = write(folder.path(), name, &bytes);
        let run = folioscope(["report", "--format", "json"]).arg(&path).run();
        let report = run.succeeded().json();
        check_ledger(&report);
        assert_eq!(of_ledger(&report, "lost_records"), 0, "{name}");
        assert_eq!(of_ledger(&report, "lost_samples"), lost_samples, "{name}");
        assert_eq!(of_ledger(&report, "aux_bytes"), 0, "{name}");
        assert_eq!(of_ledger(&report, "foreign_aux_bytes"), 0, "{name}");
        // Samples of events without addresses are no records of ours.
        assert_eq!(of_ledger(&report, "records"), 0, "{name}");
        assert_eq!(report["accesses"], 0, "{name}: none has a physical address");
        assert!(report["reason"].is_string(), "{name} says why nothing was counted");
        // The walk stopped at damage: that is said.
        let unreadable = report["unreadable"].as_array().expect("a list");
        assert_eq!(!unreadable.is_empty(), damaged, "{name}: {unreadable:?}");
        let strict = folioscope(["report", "--strict"]).arg(&path).run().code();
        assert_eq!(strict, 3, "{name}: nothing was counted, whatever was lost");
    }
}

/// The kind and number that perf's dump gives a packet.
fn kind_of(kind: &str, details: &str) -> (Kind, Option<u64>) {
    let mut words = details.split(' ');
    let first = words.next().unwrap_or_default();
    let decimal = || first.parse().ok();
    let hexadecimal = || first.strip_prefix("0x").and_then(|n| u64::from_str_radix(n, 16).ok());
    match kind {
        "PAD" => (Kind::Padding, None),
        "END" => (Kind::End, None),
        "TS" => (Kind::Timestamp, decimal()),
        "EV" => (Kind::Events, None),
        "DATA-SOURCE" => (Kind::DataSource, decimal()),
        "CONTEXT" => (Kind::Context, hexadecimal()),
        "LAT" => (Kind::Counter, decimal()),
        "PC" | "TGT" | "VA" | "PA" => (Kind::Address, hexadecimal()),
        "LD" | "ST" | "B" | "COND" | "SVE-OTHER" | "OTHER" | "INSN-OTHER" => {
            (Kind::Operation, None)
        }
        other => panic!("perf's dump calls a packet {other}"),
    }
}

/// Bits 55:0: what perf prints of an address apart from its attributes.
fn address_bits(payload: u64) -> u64 {
    payload & ((1 << 56) - 1)
}

#[test]
fn each_packet_of_written_traces_is_perf_s() {
    let folder = testdata().join("written");
    let mut traces = 0;
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let file_name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let Some(name) = file_name.strip_suffix(".packets.txt") else { continue };
        traces += 1;
        let dump = String::from_utf8(bytes(&path)).expect("a dump is text");
        let trace = written(name);
        let mut dumped = Vec::new();
        let (mut at, mut lines) = (0, Vec::new());
        for line in dump.lines().skip(1) {
            let cells: Vec<_> = line.split('\t').collect();
            let hex = cells[3];
            let raw = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16));
            let raw = raw.collect::<Result<Vec<u8>, _>>().expect("bytes");
            assert_eq!(number(cells[0]), dumped.len() as u64, "{name}: the dump has no holes");
            dumped.extend_from_slice(&raw);
            lines.push((cells[1], cells[2], raw));
        }
        // The recorder rounds up to 8 with zeros.
        assert_eq!(dumped[..trace.len()], trace, "{name}");
        assert!(dumped[trace.len()..].iter().all(|byte| *byte == 0), "{name}");

        let mut packets = Packets::new(&dumped);
        let mut lines = lines.iter().peekable();
        while let Some((kind, details, raw)) = lines.next() {
            let next = |packets: &mut Packets<'_>, at: usize| {
                let packet = packets.next().unwrap_or_else(|| panic!("{name}: ends at {at:#x}"));
                packet.unwrap_or_else(|error| panic!("{name} at {at:#x}: {error}"))
            };
            if *kind == "BAD" {
                // perf steps one byte; by the architecture the length is known. Both ways meet again.
                let mut end = at + raw.len();
                let mut ours = at;
                while ours < end || lines.peek().is_some_and(|(kind, ..)| *kind == "BAD") {
                    if ours < end {
                        ours += next(&mut packets, at).header.packet_len();
                    } else {
                        end += lines.next().expect("it was peeked at").2.len();
                    }
                    while end < ours {
                        let (_, _, raw) = lines.next().expect("the dump goes on");
                        end += raw.len();
                    }
                }
                assert_eq!(ours, end, "{name}");
                at = end;
                continue;
            }
            let (want, value) = kind_of(kind, details);
            if want == Kind::Padding {
                for _ in raw {
                    assert_eq!(
                        next(&mut packets, at).header.kind,
                        Kind::Padding,
                        "{name} at {at:#x}"
                    );
                    at += 1;
                }
                continue;
            }
            let packet = next(&mut packets, at);
            assert_eq!(packet.header.kind, want, "{name} at {at:#x}");
            assert_eq!(packet.header.packet_len(), raw.len(), "{name} at {at:#x}");
            let payload = &raw[usize::from(packet.header.header_len)..];
            let payload = payload.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            assert_eq!(packet.payload, payload, "{name} at {at:#x}");
            if let Some(value) = value {
                let got = match want {
                    Kind::Address => address_bits(packet.payload),
                    _ => packet.payload,
                };
                let value = if want == Kind::Address { address_bits(value) } else { value };
                assert_eq!(got, value, "{name} at {at:#x}: {kind} {details}");
            }
            at += raw.len();
        }
        assert!(packets.next().is_none(), "{name}");
        assert_eq!(at, dumped.len(), "{name}");
    }
    assert_eq!(traces, 9);
}

#[test]
fn written_traces_in_a_container() {
    // A record ends at its TS or END packet.
    let cases = [
        ("branch-timed", false),
        ("branch-timeless", false),
        ("branches", false),
        ("guest-cut", true),
        ("loads-stores-branches", false),
        ("model-cut", true),
        ("physical-cut", true),
        ("two-threads", false),
        // Unknown packets are passed over by the length that their headers tell.
        ("unknown-packets", false),
    ];
    let folder = testdata().join("written");
    for (name, damaged) in cases {
        let dump = String::from_utf8(bytes(folder.join(format!("{name}.packets.txt"))));
        let dump = dump.expect("a dump is text");
        let ends =
            dump.lines().filter(|line| matches!(line.split('\t').nth(1), Some("TS" | "END")));
        let ends = ends.count() as u64;
        let report = report(&folder.join(format!("{name}.data")), &[]);
        check_ledger(&report);
        let records = of_ledger(&report, "records");
        let lost = of_ledger(&report, "skipped_bytes") + of_ledger(&report, "cut_off_bytes");
        if damaged {
            assert!(records <= ends, "{name}: {records} records of {ends} ends");
            assert!(lost > 0, "{name}: what is unfinished is told");
        } else {
            assert_eq!((records, lost), (ends, 0), "{name}");
        }
    }
}
