//! Intel PT: packets of a program's path, and PEBS records in traces made by hand.

use decoder::intel_pt::{Kind, Packet, Packets};
use serde_json::{Value, json};
use tests::container::Parts;
use tests::emulation::thinned;
use tests::made::Made;
use tracegen::bytes::Endian;
use tracegen::intel_pt::{Packet as Written, Pebs, block, sync, write as write_packets};
use tracegen::perf::attr::{flag, sample_type as st};
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::record::Trailer;
use tracegen::perf::record::aux_flag::{OVERWRITE, PARTIAL, TRUNCATED};
use tracegen::perf::{Attr, AuxtraceInfo, Event, Record, TimeConv};

use crate::program::{check_ledger, folioscope, of_ledger, scratch, write};

/// Type of the unit `intel_pt`.
const PMU: u32 = 8;
const SAMPLE_TYPE: u64 = st::IDENTIFIER | st::TID | st::TIME | st::ADDR | st::CPU;
/// Ids of the events.
const TRACE: u64 = 100;
const LOADS: u64 = 200;
const STORES: u64 = 300;
/// Flags of an event whose samples go into the trace.
const PEBS: u64 = flag::AUX_OUTPUT | (2 * flag::PRECISE_1);
/// CPUID of Alder Lake N.
const GRACEMONT: &str = "GenuineIntel,6,190,0";
/// CPUID of Sierra Forest.
const CRESTMONT: &str = "GenuineIntel,6,175,3";

fn event(name: &str, id: u64, kind: u32, config: u64, flags: u64) -> Event {
    let flags = flags | flag::SAMPLE_ID_ALL;
    let attr = Attr {
        kind,
        size: 128,
        config,
        sample_period: 1000,
        sample_type: SAMPLE_TYPE,
        flags,
        ..Attr::default()
    };
    Event { attr, ids: vec![id], name: name.to_owned() }
}

fn trace_event() -> Event {
    event("intel_pt/branch=0/", TRACE, PMU, 0x300e400, 0)
}

fn loads_event() -> Event {
    event("mem-loads/aux-output/pp", LOADS, 4, 0x5d0, PEBS)
}

fn stores_event() -> Event {
    event("mem-stores/aux-output/pp", STORES, 4, 0x6d0, PEBS)
}

/// A recording of these events on a processor.
fn made(events: Vec<Event>, cpuid: &str) -> Made {
    let mut features = Features::new(Endian::Little);
    features
        .text(bit::OSRELEASE, "6.18.0")
        .text(bit::ARCH, "x86_64")
        .text(bit::CPUID, cpuid)
        .pmus(&[(1, "software"), (4, "cpu"), (PMU, "intel_pt")])
        .events(&events);
    let mut made = Made::with(Endian::Little, false, events, features);
    made.clock();
    let mut out = Vec::new();
    AuxtraceInfo::IntelPt { pmu: PMU }.write(&mut out, Endian::Little);
    made.raw(&out);
    made
}

/// A recording of loads alone.
fn loads() -> Made {
    made(vec![trace_event(), loads_event()], GRACEMONT)
}

/// Says that an event has a counter on a CPU from a time on.
fn has_counter(made: &mut Made, id: u64, number: u64, cpu: u32, time: u64) {
    let trailer = Trailer { pid: 7, tid: 7, time, id, cpu };
    made.record_of(Record::AuxOutputHwId { number }, &trailer);
}

/// A load of an address, which is also its time.
fn load(address: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let ticks = Some(address);
    Pebs { ticks, address: Some(address), ..Pebs::default() }.write(&mut out);
    out
}

/// The records and the report of a recording. Form, order and number of threads change neither.
fn read(recording: &[u8]) -> (Vec<Value>, Value) {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    let listed = folioscope(["records", "--format", "json"]).arg(&path).json_lines();
    let stream = Parts::of(recording).stream();
    for threads in ["1", "2", "3"] {
        let run = ["report", "--format", "json", "--threads", threads];
        let streamed = folioscope(run).arg("-").input(&stream).json();
        assert_eq!(streamed["ledger"], report["ledger"], "{threads} threads, as a stream");
        let again = folioscope(run).arg(&path).json();
        assert_eq!(again["ledger"], report["ledger"], "{threads} threads");
    }
    let run = ["records", "--format", "json", "-"];
    let mut streamed = folioscope(run).input(&stream).json_lines();
    for record in streamed.iter_mut().chain(&mut listed.clone()) {
        record.as_object_mut().expect("an object").remove("offset");
    }
    assert_eq!(streamed, listed, "as a stream");
    (listed, report)
}

/// The listed virtual addresses.
fn addresses(records: &[Value]) -> Vec<u64> {
    let address =
        |record: &Value| crate::program::number(record["vaddr"].as_str().expect("all have one"));
    records.iter().map(address).collect()
}

fn ledger<const N: usize>(report: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| of_ledger(report, field))
}

const BYTES: [&str; 3] = ["skipped_bytes", "cut_off_bytes", "foreign_aux_bytes"];

/// Packets of a program's path, by hand from the manual (Software Developer's Manual, volume 3, "Intel
/// Processor Trace", section on packet definitions).
const PATH: [(Kind, &[u8]); 18] = [
    // Six branches; one; 47 of them, behind a header of two bytes.
    (Kind::TntShort, &[0xfe]),
    (Kind::TntShort, &[0x06]),
    (Kind::TntLong, &[0x02, 0xa3, 0x55, 0xaa, 0x55, 0xaa, 0x55, 0x80]),
    // Bits 7:5 say how many bytes of the address follow: 2, 4, 6, 6 with sign, 8, none.
    (Kind::Tip, &[0x2d, 0x34, 0x12]),
    (Kind::Tip, &[0x4d, 0x78, 0x56, 0x34, 0x12]),
    (Kind::Tip, &[0x6d, 1, 2, 3, 4, 5, 6]),
    (Kind::Tip, &[0x0d]),
    (Kind::TipPge, &[0x71, 0, 0x10, 0x40, 0, 0x55, 0x55]),
    (Kind::TipPgd, &[0x01]),
    (Kind::TipPgd, &[0x21, 0xfe, 0xca]),
    (Kind::Fup, &[0xdd, 1, 2, 3, 4, 5, 6, 7, 8]),
    // Execution mode; transactions.
    (Kind::Mode, &[0x99, 0x01]),
    (Kind::Mode, &[0x99, 0x20]),
    (Kind::Mtc, &[0x59, 0x77]),
    (Kind::Tsc, &[0x19, 1, 2, 3, 4, 5, 6, 7]),
    (Kind::Tma, &[0x02, 0x73, 0x34, 0x12, 0x00, 0xff, 0x00]),
    (Kind::Cbr, &[0x02, 0x03, 0x18, 0x00]),
    (Kind::Pip, &[0x02, 0x43, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba]),
];

/// A trace of a path, a PSB every hundred packets, and its packets: kind and length.
fn path(seed: u64) -> (Vec<u8>, Vec<(Kind, usize)>) {
    let mut rng = tracegen::rng::Rng::new(seed);
    let (mut trace, mut packets) = (Vec::new(), Vec::new());
    let mut add = |kind, bytes: &[u8]| {
        trace.extend_from_slice(bytes);
        packets.push((kind, bytes.len()));
    };
    for number in 0..5000 {
        if number % 100 == 0 {
            add(Kind::Psb, &[0x02, 0x82].repeat(8));
            add(Kind::PsbEnd, &[0x02, 0x23]);
        }
        match rng.index(PATH.len() + 2) {
            choice if choice < PATH.len() => add(PATH[choice].0, PATH[choice].1),
            _ => add(Kind::Pad, &[0]),
        }
    }
    while !trace.len().is_multiple_of(8) {
        trace.push(0);
        packets.push((Kind::Pad, 1));
    }
    (trace, packets)
}

#[test]
fn each_packet_of_a_path_is_where_it_was_written() {
    for seed in 1..=2 {
        let (trace, written) = path(seed);
        let packets = Packets::new(&trace).map(|packet| packet.expect("whole"));
        let read = packets.map(|packet: Packet| (packet.kind, usize::from(packet.len)));
        assert!(read.eq(written), "{seed}");
    }
}

#[test]
fn traces_of_a_path_have_no_accesses_and_say_so() {
    let mut made = made(vec![trace_event()], GRACEMONT);
    let traces = [path(1).0, path(2).0];
    for (cpu, trace) in (0..).zip(&traces) {
        made.aux(cpu, 0, trace.len() as u64, 0);
    }
    for (cpu, trace) in (0..).zip(&traces) {
        made.piece(cpu, 0, trace);
    }
    let whole = made.finish();
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &whole);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    assert_eq!(ledger(&report, BYTES), [0; 3]);
    assert_eq!(ledger(&report, ["records", "counted"]), [0; 2]);
    let bytes: usize = traces.iter().map(Vec::len).sum();
    assert_eq!(of_ledger(&report, "aux_bytes"), bytes as u64);
    let sum = of_ledger(&report, "record_bytes") + of_ledger(&report, "padding_bytes");
    assert_eq!(of_ledger(&report, "aux_bytes"), sum);
    let reason = report["reason"].as_str().expect("nothing was counted");
    assert!(reason.contains("Intel PT") && reason.contains("perf record"), "{reason}");
    assert_eq!(report["input"]["sources"], json!([]));
    let strict = folioscope(["report", "--strict"]).arg(&path).run().code();
    assert_eq!(strict, 3, "nothing is counted");
    // The same through a pipe.
    let stream = Parts::of(&whole).stream();
    for threads in ["1", "2", "3"] {
        let run = ["report", "--format", "json", "--threads", threads, "-"];
        let streamed = folioscope(run).input(&stream).json();
        assert_eq!(streamed["ledger"], report["ledger"], "{threads} threads");
        assert_eq!(streamed["reason"], report["reason"], "{threads} threads");
    }
}

#[test]
fn each_record_is_listed_as_it_was_written() {
    let mut made = made(vec![trace_event(), loads_event(), stores_event()], GRACEMONT);
    made.record(Record::ItraceStart { pid: 40, tid: 41 }, 0, 5000);
    made.record(Record::SwitchCpuWide { out: true, pid: 50, tid: 51 }, 0, 50_000);
    has_counter(&mut made, LOADS, 0, 0, 5000);
    has_counter(&mut made, STORES, 3, 0, 5000);
    // From 45000 ns on, tick 1000, the counters are changed over.
    has_counter(&mut made, STORES, 0, 0, 45_000);
    has_counter(&mut made, LOADS, 3, 0, 45_000);
    let mut trace = sync(100);
    let full = Pebs {
        ip: Some(0xffff_ffff_8123_4567),
        counters: Some(1),
        ticks: Some(500),
        address: Some(0xffff_8880_1234_5678),
        // L3, modified, locked.
        auxiliary: Some(0x16),
        // The access's latency in bits 47:32.
        latency: Some(0x40_0000_0187),
        rip: None,
    };
    full.write(&mut trace);
    write_packets(&mut trace, &[Written::Mtc(7), Written::Cyc(9), Written::Taken, Written::Pad]);
    let store = Pebs {
        counters: Some(1 << 3),
        ticks: Some(600),
        latency: Some(0x19_0000_0040),
        address: Some(0x7fff_0000_1000),
        auxiliary: Some(0x21),
        ..full
    };
    store.write(&mut trace);
    // Both counters at once, after they were changed; the task is another one since tick 1125.
    let both = Pebs {
        counters: Some(0b1001),
        ticks: Some(2000),
        auxiliary: Some(0x0),
        // Of the instruction alone.
        latency: Some(0x187),
        ..full
    };
    both.write(&mut trace);
    // No time of its own: that of the last TSC packet; no counter; the register for the instruction.
    write_packets(&mut trace, &[Written::Tsc(700)]);
    Pebs { rip: Some(0x40_1000), address: Some(0x1234), ..Pebs::default() }.write(&mut trace);
    // No address: a record, but no access. So is one whose event has none, though it was asked for.
    let nowhere = Pebs { counters: Some(1), ticks: Some(800), ..Pebs::default() };
    nowhere.write(&mut trace);
    Pebs { address: Some(0), auxiliary: Some(0), latency: Some(0), ..nowhere }.write(&mut trace);
    made.piece(0, 0, &trace);
    let recording = made.finish();
    let (records, report) = read(&recording);

    // 40 ns and 5000 of a tick.
    let row = |ticks: u64, (pid, tid): (u32, u32), event: &str, op: &str, vaddr: &str| {
        json!({
            "time_ns": 40 * ticks + 5000, "cpu": 0, "pid": pid, "tid": tid, "event": event, "op": op,
            "ip": "0xffffffff81234567", "vaddr": vaddr, "paddr": null,
        })
    };
    let (load, store) = ("mem-loads/aux-output/pp", "mem-stores/aux-output/pp");
    let (first, second) = ((40, 41), (50, 51));
    let kernel = "0xffff888012345678";
    let want = [
        (row(500, first, load, "load", kernel), json!(64), json!("l3"), "hitm,locked,tlb-access"),
        (
            row(600, first, store, "store", "0x7fff00001000"),
            json!(25),
            json!("l1"),
            "tlb-access,tlb-walk",
        ),
        (
            row(2000, second, store, "store", kernel),
            Value::Null,
            Value::Null,
            "llc-miss,tlb-access",
        ),
        (row(2000, second, load, "load", kernel), Value::Null, Value::Null, "llc-miss,tlb-access"),
        (
            json!({
                "time_ns": 33_000, "cpu": 0, "pid": 40, "tid": 41, "event": null, "op": "access",
                "ip": "0x401000", "vaddr": "0x1234", "paddr": null,
            }),
            Value::Null,
            Value::Null,
            "",
        ),
    ];
    assert_eq!(records.len(), want.len(), "{records:#?}");
    for (record, (fields, latency, source, flags)) in records.iter().zip(want) {
        for (name, value) in fields.as_object().expect("an object") {
            assert_eq!(&record[name], value, "{name} of {record}");
        }
        assert_eq!((&record["latency"], &record["source"]), (&latency, &source), "{record}");
        let mut named: Vec<_> = match &record["flags"] {
            Value::String(names) => {
                names.split([',', ' ', '|']).filter(|name| !name.is_empty()).collect()
            }
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        named.sort_unstable();
        assert_eq!(named.join(","), flags, "{record}");
    }
    assert_eq!(ledger(&report, BYTES), [0; 3]);
    let fields = ["records", "no_physical_address", "not_memory", "tid_unknown"];
    assert_eq!(ledger(&report, fields), [7, 5, 2, 0]);
    assert_eq!(report["input"]["sources"], json!(["intel_pt"]));
    assert_eq!(report["input"]["time_base"], "ns");
    let reason = report["reason"].as_str().expect("nothing was counted");
    assert!(reason.contains("virtual addresses only"), "{reason}");

    let folder = scratch();
    let path = write(folder.path(), "perf.data", &recording);
    let listed = |option: &str, value: &str| {
        let run = folioscope(["report", "--format", "json", option, value]).arg(&path).json();
        of_ledger(&run, "no_physical_address")
    };
    // What has no physical address is not filtered, by the order of the tests.
    assert_eq!(listed("--event", "mem-loads"), 5);
    let loads = folioscope(["records", "--format", "json", "--event", "mem-loads"]).arg(&path);
    assert_eq!(loads.json_lines().len(), 2, "by event");
}

#[test]
fn the_core_and_the_event_decide_what_the_source_means() {
    let source = |cpuid: &str, event: Event, auxiliary: u64| {
        let mut made = made(vec![trace_event(), event], cpuid);
        let mut trace = sync(1);
        let address = Some(0x1000);
        Pebs { address, auxiliary: Some(auxiliary), ..Pebs::default() }.write(&mut trace);
        made.piece(0, 0, &trace);
        let (records, _) = read(&made.finish());
        assert_eq!(records.len(), 1);
        (records[0]["op"].clone(), records[0]["source"].clone())
    };
    let loads = loads_event;
    assert_eq!(source(GRACEMONT, loads(), 0xc), (json!("load"), json!("dram")));
    assert_eq!(source(CRESTMONT, loads(), 0xc), (json!("load"), json!("remote-dram")));
    assert_eq!(source(CRESTMONT, stores_event(), 0x3), (json!("store"), json!("l2")));
    // Tremont; an unknown machine; an event whose records have no source.
    assert_eq!(source("GenuineIntel,6,134,1", loads(), 0xc), (json!("load"), Value::Null));
    assert_eq!(source("", loads(), 0xc), (json!("load"), Value::Null));
    let other = event("instructions/aux-output/pp", LOADS, 0, 1, PEBS);
    assert_eq!(source(GRACEMONT, other, 0xc), (json!("access"), Value::Null));
}

#[test]
fn one_event_alone_needs_no_counter() {
    for counters in [None, Some(0), Some(1), Some(0b1010)] {
        let mut made = loads();
        let mut trace = sync(1);
        Pebs { counters, address: Some(0x1000), ..Pebs::default() }.write(&mut trace);
        made.piece(0, 0, &trace);
        let (records, _) = read(&made.finish());
        let events: Vec<_> = records.iter().map(|record| record["event"].clone()).collect();
        assert_eq!(events, [json!("mem-loads/aux-output/pp")], "{counters:?}");
    }
}

#[test]
fn a_thread_s_ring_has_the_counters_of_its_thread() {
    let mut made = made(vec![trace_event(), loads_event(), stores_event()], GRACEMONT);
    made.record(Record::Comm { pid: 60, tid: 61, comm: "a", exec: false }, u32::MAX, 0);
    for (id, tid) in [(LOADS, 61), (STORES, 62)] {
        let trailer = Trailer { pid: 60, tid, time: 5000, id, cpu: u32::MAX };
        made.record_of(Record::AuxOutputHwId { number: 2 }, &trailer);
    }
    for tid in [61, 62] {
        let mut trace = sync(1);
        let address = Some(0x1000 * u64::from(tid));
        Pebs { counters: Some(1 << 2), ticks: Some(9), address, ..Pebs::default() }
            .write(&mut trace);
        made.piece_of((u32::MAX, tid), 0, &trace);
    }
    let (records, _) = read(&made.finish());
    let told: Vec<_> = records
        .iter()
        .map(|record| (record["cpu"].clone(), record["tid"].clone(), record["event"].clone()))
        .collect();
    let want = [(61, "mem-loads/aux-output/pp"), (62, "mem-stores/aux-output/pp")];
    assert_eq!(told, want.map(|(tid, event)| (Value::Null, json!(tid), json!(event))));
    assert_eq!(records[0]["pid"], 60);
}

#[test]
fn with_a_page_map_its_records_count_on_their_frames() {
    let mut made = loads();
    made.record(Record::Comm { pid: 60, tid: 61, comm: "a", exec: false }, u32::MAX, 0);
    // Three accesses to the first page, one to the second, and one that the map does not have.
    let places = [0x5000_0008, 0x5000_1010, 0x5000_0ff8, 0x5000_0000, 0x5000_2000];
    let trace = places.into_iter().fold(sync(1), |trace, place| [trace, load(place)].concat());
    made.piece_of((u32::MAX, 61), 0, &trace);
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &made.finish());
    let map = write(folder.path(), "map", b"60 0x50000000 0x77001 2\n");
    let asked = |command: &str| {
        folioscope([command, "--page-map"]).arg(&map).arg(&path).args(["--format", "json"])
    };
    let report = asked("report").json();
    check_ledger(&report);
    assert_eq!(ledger(&report, ["counted", "looked_up", "lookup_not_present"]), [4, 4, 1]);
    let pages = folioscope(["pages", "--page-map"]).arg(&map).arg(&path).text();
    assert_eq!(pages, "0x77001 3\n0x77002 1\n");
    let paddr = |record: &Value| record["paddr"].as_str().map(ToOwned::to_owned);
    let found: Vec<_> = asked("records").json_lines().iter().map(paddr).collect();
    let want = [Some("0x77001008"), Some("0x77002010"), Some("0x77001ff8"), Some("0x77001000")];
    assert_eq!(
        found,
        [&want[..], &[None]]
            .concat()
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_record_cut_between_two_pieces_is_joined() {
    let trace = [sync(1), load(2), load(3), load(4)].concat();
    for cut in thinned("cuts", (8..trace.len()).step_by(8), 7) {
        let mut made = loads();
        made.aux(0, 0, cut as u64, 0).piece(0, 0, &trace[..cut]);
        made.piece(1, 0, &[sync(8), load(9)].concat());
        made.piece(0, cut as u64, &trace[cut..]);
        let (records, report) = read(&made.finish());
        let mut found = addresses(&records);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4, 9], "cut at {cut}");
        assert_eq!(ledger(&report, BYTES), [0; 3], "cut at {cut}");
    }
    // perf fills a piece with zeros up to eight bytes, and the next one starts where the data ended.
    for short in 1..8 {
        let first = 64 - short;
        let mut padded = trace[..first].to_vec();
        padded.resize(64, 0);
        let mut made = loads();
        made.aux(0, 0, first as u64, 0).piece(0, 0, &padded);
        made.piece(0, first as u64, &trace[first..]);
        let (records, report) = read(&made.finish());
        assert_eq!(addresses(&records), [2, 3, 4], "{short} bytes short");
        assert_eq!(ledger(&report, BYTES), [0; 3], "{short} bytes short");
    }
}

#[test]
fn after_a_loss_decoding_starts_at_the_next_psb() {
    let (before, after) =
        ([sync(1), load(2), load(3)].concat(), [load(4), sync(5), load(6)].concat());
    let kept = before.len() - 5;
    for (flags, field) in [(TRUNCATED, "aux_truncated"), (PARTIAL, "aux_partial")] {
        let mut made = loads();
        made.aux(0, 0, kept as u64, flags).piece(0, 0, &before[..kept]);
        made.piece(0, kept as u64, &after);
        let (records, report) = read(&made.finish());
        assert_eq!(addresses(&records), [2, 6], "{field}");
        let [skipped, cut_off, _] = ledger(&report, BYTES);
        let half = load(3).len() as u64 - 5;
        assert_eq!((skipped, cut_off), (load(4).len() as u64, half), "{field}");
        assert_eq!(of_ledger(&report, field), 1);
    }
    // The same where the places have a gap, and where the trace says that it has lost packets.
    let mut made = loads();
    made.piece(0, 0, &before[..kept]).piece(0, kept as u64 + 64, &after);
    assert_eq!(addresses(&read(&made.finish()).0), [2, 6]);
    let mut half = load(3);
    half.truncate(15);
    let mut overflow = Vec::new();
    write_packets(&mut overflow, &[Written::Overflow, Written::BlockEnd(false)]);
    let mut made = loads();
    made.piece(0, 0, &[sync(1), load(2), half, overflow, load(4)].concat());
    let (records, report) = read(&made.finish());
    assert_eq!(addresses(&records), [2, 4]);
    assert_eq!(ledger(&report, BYTES), [0, 15, 0]);
    // What is no packet.
    let mut made = loads();
    made.piece(0, 0, &[sync(1), load(2), vec![0x05], load(3), sync(4), load(5)].concat());
    let (records, report) = read(&made.finish());
    assert_eq!(addresses(&records), [2, 5]);
    assert_eq!(ledger(&report, BYTES), [1 + load(3).len() as u64, 0, 0]);
}

#[test]
fn what_else_a_trace_holds_is_walked_over() {
    let mut trace = Vec::new();
    write_packets(&mut trace, &[Written::Pad; 3]);
    trace.extend(sync(7));
    write_packets(
        &mut trace,
        &[
            Written::Start(0xffff_ffff_8100_0000),
            Written::Taken,
            Written::BlockBegin(block::VECTORS, false),
            Written::Item(0, 1),
            Written::Item(31, u64::MAX),
            Written::Cyc(3),
            Written::BlockBegin(block::MEMORY, true),
            Written::ShortItem(0, 0x5000),
            Written::ShortItem(2, 33),
            Written::BlockEnd(true),
            Written::Fup(0x40_1000),
            Written::Stop,
        ],
    );
    // Of Tremont, whose latency has one part.
    let mut made = made(vec![trace_event(), loads_event()], "GenuineIntel,6,134,1");
    let time = TimeConv::default().ns(7);
    made.piece(0, 0, &trace);
    let (records, report) = read(&made.finish());
    assert_eq!(addresses(&records), [0x5000]);
    let record = &records[0];
    assert_eq!((&record["latency"], &record["time_ns"]), (&json!(33), &json!(time)));
    assert_eq!((&record["pid"], &record["tid"]), (&Value::Null, &Value::Null));
    assert_eq!(ledger(&report, BYTES), [3, 0, 0], "nothing before the first PSB is trusted");
    assert_eq!(of_ledger(&report, "tid_unknown"), 1);
}

#[test]
fn snapshots_of_a_ring_lose_nothing_new_and_repeat_nothing() {
    // Places of a ring that is overwritten are those in the ring: the second snapshot starts near the first
    // one's start, however much was written in between.
    let path = [sync(10), vec![0x06; 4096]].concat();
    let second = [sync(20), load(21), sync(30), load(31)].concat();
    let mut made = loads();
    made.aux(0, 0x1000, 0, OVERWRITE).piece(0, 0x1000, &path);
    made.aux(0, 0x1020, 0, OVERWRITE).piece(0, 0x1020, &second);
    // A third one has part of the second.
    let third = [sync(30), load(31), sync(40), load(41)].concat();
    made.aux(0, 0x1030, 0, OVERWRITE).piece(0, 0x1030, &third);
    let (records, report) = read(&made.finish());
    assert_eq!(addresses(&records), [21, 31, 41]);
    assert_eq!(ledger(&report, BYTES), [0; 3]);
    let again = (sync(30).len() + load(31).len()) as u64;
    // The PSB of what is new and the byte behind it stand before the time that tells so.
    assert_eq!(of_ledger(&report, "overlap_bytes"), 17 + again + 17);
}

#[test]
fn the_time_of_a_machine_that_has_long_been_up_is_whole() {
    // 2^56 ticks and some: a TSC packet leaves the upper byte out, the reference has it.
    let reference = (1 << 56) + 5000;
    let mut trace = sync(1000);
    Pebs { address: Some(0x1000), ..Pebs::default() }.write(&mut trace);
    let mut made = loads();
    made.piece_near(reference, (0, u32::MAX), 0, &trace);
    let (records, _) = read(&made.finish());
    assert_eq!(records[0]["time_ns"], json!(TimeConv::default().ns((1 << 56) + 1000)));
}
