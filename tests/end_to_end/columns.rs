//! What `records` tells of each access beside its address: its queue, how it was translated and
//! what that cost, where the data came from, and what says so.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::container::Parts;
use tests::inputs::{bytes, input};
use tests::made::{FIRST_ID, IBS_OP, Made, PMU, load, sample_event, spe_event};
use tracegen::bytes::Endian;
use tracegen::ibs::{Op, data3};
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::sample::data_src;
use tracegen::perf::{Attr, Event, Sample};
use tracegen::rng::Rng;
use tracegen::spe::{self, Layout, address, event, operation, source};

use crate::program::{Start, folioscope, scratch, write};

const FORMATS: [&str; 3] = ["text", "csv", "json"];

fn records(recording: &[u8]) -> Vec<Value> {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    folioscope(["records", "--format", "json"]).arg(&path).json_lines()
}

/// A file of Arm SPE data that a processor of this MIDR wrote.
fn spe_of(midr: u64) -> Made {
    let events = vec![spe_event()];
    let mut features = Features::new(Endian::Little);
    features
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::ARCH, "aarch64")
        .text(bit::CPUID, &format!("{midr:#018x}"))
        .pmus(&[(1, "software"), (PMU, "arm_spe_0")])
        .events(&events);
    let mut made = Made::with(Endian::Little, false, events, features);
    made.info().clock();
    made
}

/// A memory operation of this payload with these events, and this data source if there is one.
fn operation_of(payload: u8, events: u64, source: Option<u16>) -> spe::Record {
    spe::Record {
        pc: Some(address::code(0x40_1000, 0)),
        operation: Some((operation::MEMORY, payload)),
        events: Some(event::RETIRED | events),
        total: Some(40),
        va: Some(address::data(0x7f00_0000_1000, 0)),
        pa: Some(address::physical(0x1234_5000, false, 0)),
        source,
        timestamp: Some(1000),
        ..spe::Record::default()
    }
}

/// What `records` says of operations that a processor of this MIDR sampled.
fn listed(midr: u64, operations: &[spe::Record]) -> Vec<Value> {
    let mut data = Vec::new();
    let mut rng = Rng::new(1);
    for operation in operations {
        operation.write(Layout::Hi, &mut rng, &mut data);
    }
    let mut made = spe_of(midr);
    made.piece(0, 0, &data).round();
    let listed = records(&made.finish());
    assert_eq!(listed.len(), operations.len());
    listed
}

/// The names in the column of flags.
fn flags(record: &Value) -> Vec<&str> {
    record["flags"].as_str().map(|names| names.split(',').collect()).unwrap_or_default()
}

const N1: u64 = 0x410f_d0c0;
const HIP12: u64 = 0x480f_d060;
const AMPERE_ONE_A: u64 = 0xc00f_ac40;
const N3: u64 = 0x410f_d8e0;

#[test]
fn latencies_and_the_translation_of_arm_spe() {
    let of = |events, issue, translation| spe::Record {
        issue,
        translation,
        ..operation_of(operation::GENERAL, events, None)
    };
    let (access, walk) = (event::TLB_ACCESS, event::TLB_WALK);
    let cases = [
        (of(0, None, None), Value::Null, Value::Null, Value::Null),
        (of(access, Some(4), Some(0)), json!("hit"), json!(4), json!(0)),
        (of(access | walk, Some(0), Some(0xffff)), json!("walk"), json!(0), json!(0xffff)),
        (of(walk, None, Some(7)), json!("walk"), Value::Null, json!(7)),
    ];
    let listed = listed(N1, &cases.each_ref().map(|case| case.0.clone()));
    for (record, (_, tlb, issue, translation)) in listed.iter().zip(&cases) {
        assert_eq!(&record["tlb"], tlb, "{record}");
        assert_eq!(&record["issue_latency"], issue, "{record}");
        assert_eq!(&record["translation_latency"], translation, "{record}");
        assert_eq!((&record["page_size"], &record["guest"]), (&Value::Null, &json!(false)));
        assert_eq!(flags(record).contains(&"tlb-walk"), *tlb == "walk", "{record}");
        assert_eq!(flags(record).contains(&"tlb-access"), !tlb.is_null(), "{record}");
        assert_eq!(record["latency"], 40);
    }
}

/// The tables of `tools/perf/util/arm-spe.c`: what is remote, and what was modified.
#[test]
fn a_source_that_is_far_or_modified_says_so() {
    let codes = 0..20u16;
    let tables: [(u64, &[u16], &[u16]); 4] = [
        (N1, &[0xd], &[]),
        (AMPERE_ONE_A, &[5], &[]),
        (HIP12, &[6, 7, 9], &[1, 3, 5, 7, 17]),
        (N3, &[], &[]),
    ];
    for (midr, remote, modified) in tables {
        let operations: Vec<_> =
            codes.clone().map(|code| operation_of(operation::GENERAL, 0, Some(code))).collect();
        for (code, record) in codes.clone().zip(listed(midr, &operations)) {
            let flags = flags(&record);
            assert_eq!(flags.contains(&"remote"), remote.contains(&code), "{midr:#x} {record}");
            assert_eq!(flags.contains(&"hitm"), modified.contains(&code), "{midr:#x} {record}");
        }
    }
    // Events say so too, of any source.
    let events = event::REMOTE | 1 << 21;
    let record =
        listed(N1, &[operation_of(operation::GENERAL, events, Some(source::L2))]).remove(0);
    assert_eq!(flags(&record), ["remote", "hitm"]);
}

/// The manual promises the packet for what reads. Whether cores write it for stores is not known.
#[test]
fn a_store_has_no_source_whatever_its_packet_says() {
    let payloads = [
        (operation::GENERAL, true),
        (operation::GENERAL | operation::STORE, false),
        (operation::SIMD | operation::STORE, false),
        (operation::EXCLUSIVE | operation::STORE, false),
        (operation::SET, false),
        (operation::ATOMIC, true),
        (operation::ATOMIC | operation::STORE, true),
    ];
    for (midr, code, name) in [(N1, source::L1D, "l1"), (HIP12, 7, "remote-cache")] {
        let operations = payloads.map(|(payload, _)| operation_of(payload, 0, Some(code)));
        for (record, (payload, has)) in listed(midr, &operations).iter().zip(payloads) {
            let want = if has { json!(name) } else { Value::Null };
            assert_eq!(record["source"], want, "{payload:#x} {record}");
            assert_eq!(flags(record).contains(&"hitm"), has && code == 7, "{record}");
        }
        // Nor is there one without a packet.
        let operations =
            payloads.map(|(payload, _)| operation_of(payload, event::L1D_ACCESS, None));
        assert!(listed(midr, &operations).iter().all(|record| record["source"].is_null()));
    }
}

#[test]
fn without_a_table_events_tell_the_level_and_the_record_says_that() {
    let (load, store) = (operation::GENERAL, operation::GENERAL | operation::STORE);
    let (l1, miss) = (event::L1D_ACCESS, event::L1D_ACCESS | event::L1D_REFILL);
    let (llc, far) = (event::LLC_ACCESS, event::LLC_ACCESS | event::LLC_MISS);
    let cases = [
        (operation_of(load, l1, None), json!("l1"), true),
        (operation_of(load, l1, Some(0x9)), json!("l1"), true),
        (operation_of(load, miss | 1 << 22, None), json!("lfb"), true),
        (operation_of(load, miss | 1 << 19, None), json!("l2"), true),
        (operation_of(load, miss | llc, None), json!("l3"), true),
        (operation_of(load, miss | far, Some(0x9)), json!("unknown(0x09)"), false),
        (operation_of(load, miss | far, None), Value::Null, false),
        (operation_of(store, l1, None), json!("l1"), true),
        (operation_of(store, miss | llc, None), json!("l3"), true),
        (operation_of(store, miss | far, None), Value::Null, false),
    ];
    let operations: Vec<_> = cases.iter().map(|(record, ..)| record.clone()).collect();
    for midr in [N3, 0x410f_d830, 0xc00f_ac30, 0x480f_d020] {
        for (record, (_, source, inferred)) in listed(midr, &operations).iter().zip(&cases) {
            assert_eq!(&record["source"], source, "{midr:#x} {record}");
            assert_eq!(flags(record).contains(&"source-inferred"), *inferred, "{record}");
        }
    }
}

/// perf writes "walker" beside every hit and every miss of Arm SPE's samples when it puts them into a file.
#[test]
fn of_injected_samples_only_misses_are_walks() {
    let fields = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::ADDR | st::DATA_SRC;
    let (hit, miss, walker) = (2 << 26, 4 << 26, 32 << 26);
    let mut made = Made::samples(vec![sample_event("memory", 0, fields)]);
    let cases = [
        (walker | hit, json!("hit")),
        (walker | miss, json!("walk")),
        (data_src::TLB_NA, Value::Null),
        (walker, Value::Null),
        (data_src::TLB_L1_HIT, json!("l1")),
    ];
    for (tlb, _) in &cases {
        let data_src = data_src::OP_LOAD | data_src::LEVEL_L1 | tlb;
        let sample = Sample { id: FIRST_ID, addr: 0x7000, cpu: 1, data_src, ..Sample::default() };
        made.sample(&sample, fields);
    }
    let records = records(&made.finish());
    assert_eq!(records.len(), cases.len());
    for (record, (_, tlb)) in records.iter().zip(&cases) {
        assert_eq!(&record["tlb"], tlb, "{record}");
        assert_eq!(flags(record).contains(&"tlb-walk"), *tlb == "walk", "{record}");
        assert_eq!(record["queue"], "samples/cpu1");
    }
}

const WITH_REGISTERS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::RAW;

/// What `records` says of an op, of which the kernel says this size of the page and this DATA_SRC.
fn ibs(op: &Op, page_size: u64, data_src: u64) -> Value {
    let sample_type = WITH_REGISTERS | st::DATA_PAGE_SIZE | st::DATA_SRC;
    let attr =
        Attr { kind: IBS_OP, size: 128, sample_period: 1000, sample_type, ..Attr::default() };
    let event = Event { attr, ids: vec![FIRST_ID], name: "ibs_op//".to_owned() };
    let mut made = Made::amd(vec![event]);
    let sample = Sample {
        id: FIRST_ID,
        cpu: 2,
        raw: op.raw(),
        data_page_size: page_size,
        data_src,
        ..Sample::default()
    };
    made.sample(&sample, sample_type);
    records(&made.finish()).remove(0)
}

#[test]
fn pages_and_refills_of_ibs() {
    const VALID: u64 = data3::LOAD | data3::LINEAR | data3::PHYSICAL;
    const L1_MISS: u64 = 1 << 2;
    const SIZES: u32 = 0x9_0bff;
    let op = |caps, data3| Op { caps, data3, linear: 0x7000, physical: 0x5000, ..Op::default() };
    let zen4 = Op::default().caps;
    let (small, large, huge) = (json!(4096), json!(2 << 20), json!(1 << 30));
    // Cycles of the refill; what the kernel says of the page.
    let refill = 77_u64 << 48;
    let cases = [
        (op(zen4, VALID | refill), 0, "l1", small.clone(), Value::Null),
        (op(zen4, VALID | 1 << 4), 0, "l1", large.clone(), Value::Null),
        (op(zen4, VALID | L1_MISS | 1 << 19 | refill), 0, "l2", huge.clone(), json!(77)),
        (op(zen4, VALID | data3::TLB_MISSES | refill), 0, "walk", Value::Null, json!(77)),
        (op(zen4, VALID | data3::TLB_MISSES | refill), 4096, "walk", small.clone(), json!(77)),
        // What the hardware used comes before what the kernel found.
        (op(zen4, VALID | 1 << 4), 4096, "l1", large.clone(), Value::Null),
        (op(SIZES, VALID | data3::TLB_MISSES | 1 << 4 | refill), 0, "walk", large, json!(77)),
        (op(SIZES, VALID | 1 << 5 | refill), 0, "l1", huge, Value::Null),
    ];
    for (op, page_size, tlb, size, refill) in &cases {
        // Kernels before 6.1 tell nothing, newer ones the same.
        let told = data_src::OP_LOAD | data_src::LEVEL_L1;
        for data_src in [data_src::OP_NA | data_src::LEVEL_NA, told] {
            let record = ibs(op, *page_size, data_src);
            assert_eq!(record["tlb"], *tlb, "{record}");
            assert_eq!(&record["page_size"], size, "{record}");
            assert_eq!(&record["translation_latency"], refill, "{record}");
            assert_eq!(record["issue_latency"], Value::Null);
            assert_eq!(flags(&record).contains(&"tlb-walk"), *tlb == "walk", "{record}");
        }
    }
    // Where sizes are told, TLBs are believed only with a physical address, whatever the kernel says.
    let hidden = op(SIZES, data3::LOAD | data3::LINEAR | data3::TLB_MISSES | refill);
    let missed = data_src::OP_LOAD | data_src::LEVEL_L1 | (4 | 16) << 26;
    let record = ibs(&hidden, 4096, missed);
    assert_eq!((&record["tlb"], &record["page_size"]), (&Value::Null, &json!(4096)), "{record}");
    assert_eq!((&record["translation_latency"], flags(&record)), (&Value::Null, vec![]));
    let before = Op { caps: zen4, ..hidden };
    assert_eq!(ibs(&before, 0, missed)["tlb"], "walk");
}

#[test]
fn streaming_stores_and_sockets_of_ibs() {
    const TOLD: u32 = 0x1_0bff;
    const BEHIND_L2: u64 = data3::MISS | data3::L2_MISS;
    let streaming = Op { caps: TOLD, data2: 1 << 8, data3: data3::STORE, ..Op::default() };
    let store = data_src::OP_STORE | data_src::LEVEL_L1;
    assert_eq!(flags(&ibs(&streaming, 0, store)), ["streaming-store"]);
    assert_eq!(flags(&ibs(&Op { caps: 0xbff, ..streaming }, 0, store)), [""; 0]);
    let data3 = data3::LOAD | BEHIND_L2;
    let far = Op { caps: TOLD, data2: 3 | 1 << 4 | 1 << 9, data3, ..Op::default() };
    let silent = data_src::OP_NA | data_src::LEVEL_NA;
    let record = ibs(&far, 0, silent);
    assert_eq!(record["source"], "remote-dram");
    assert_eq!(flags(&record), ["l1-miss", "l2-miss", "remote", "remote-socket"]);
    // The kernel says whether it is remote; of the socket only the registers do.
    let ram = data_src::OP_LOAD | (2 | 0x100) << 5 | 13 << 33 | 1 << 37 | 2 << 43;
    assert!(flags(&ibs(&far, 0, ram)).contains(&"remote-socket"));
    let near = flags(&ibs(&far, 0, data_src::OP_LOAD | data_src::LEVEL_RAM)).join(",");
    assert!(!near.contains("remote"), "{near}");
}

/// Records by queue, in their order; each is its line without the queue.
fn by_queue(start: Start) -> BTreeMap<String, Vec<String>> {
    let mut queues: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mut record in start.json_lines() {
        let fields = record.as_object_mut().expect("an object");
        let queue = fields.remove("queue").expect("every record stands in a queue");
        // Those that only side-band records tell may differ.
        for field in ["pid", "tid"] {
            fields.remove(field);
        }
        let queue = queue.as_str().expect("it has a name").to_owned();
        queues.entry(queue).or_default().push(record.to_string());
    }
    queues
}

fn list() -> Start {
    folioscope(["records", "--format", "json"])
}

#[test]
fn queues_have_the_same_names_and_records_in_every_form() {
    let folder = scratch();
    let mut several = 0;
    for name in ["spe-file-zstd83", "spe-file-be-timeless", "file-multi", "file-sys", "file-z"] {
        let file = bytes(input(name));
        let want = by_queue(list().arg(input(name)));
        several += usize::from(want.len() > 1);
        for (queue, records) in &want {
            // Samples that name no CPU stand in one queue.
            let (unit, cpu) = queue.split_once("/cpu").unwrap_or((queue, "null"));
            assert!(unit == "samples" || unit.starts_with("spe"), "{name}: {queue}");
            let cpu = format!("\"cpu\":{cpu},");
            assert!(records.iter().all(|record| record.contains(&cpu)), "{name}: {queue}");
        }
        write(folder.path(), "data", &file);
        assert_eq!(by_queue(list().arg(folder.path())), want, "{name} as a folder");
        let stream = Parts::of(&file).stream();
        assert_eq!(by_queue(list().arg("-").input(&stream)), want, "{name} as a stream");
        for threads in ["1", "4"] {
            let got = by_queue(list().args(["--threads", threads]).arg(input(name)));
            assert_eq!(got, want, "{name} with {threads} threads");
        }
    }
    assert!(several > 2, "inputs of one CPU show nothing");
}

#[test]
fn rings_of_one_cpu_and_of_threads_are_told_apart() {
    let mut made = Made::spe();
    let none = u32::MAX;
    for (ring, frame) in [((3, none), 1), ((4, none), 2), ((none, 77), 3), ((3, 88), 4)] {
        made.piece_of(ring, 0, &load(frame, 1000));
    }
    made.piece_of((3, none), 48, &load(5, 1001));
    let recording = made.finish();
    let queues = |records: &[Value]| -> Vec<String> {
        records.iter().map(|record| record["queue"].as_str().expect("a name").to_owned()).collect()
    };
    let want = ["spe3/cpu3", "spe4/cpu4", "spe77/tid77", "spe3/cpu3/tid88", "spe3/cpu3"];
    assert_eq!(queues(&records(&recording)), want);
    // Queues of another input do not go on where those of the first ended.
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &recording);
    let both = list().arg(&path).arg(&path).json_lines();
    let second = want.map(|queue| format!("2:{queue}"));
    assert_eq!(queues(&both)[..5], want);
    assert_eq!(queues(&both)[5..], second);
}

#[test]
fn new_columns_stand_at_the_end_in_every_format() {
    let mut made = Made::spe();
    let record = spe::Record {
        issue: Some(4),
        translation: Some(18),
        ..operation_of(operation::GENERAL, event::TLB_ACCESS, Some(source::L2))
    };
    let mut data = Vec::new();
    record.write(Layout::N1, &mut Rng::new(1), &mut data);
    made.piece(3, 0, &data);
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &made.finish());
    for format in FORMATS {
        let text = folioscope(["records", "--format", format]).arg(&path).text();
        let lines: Vec<_> = text.lines().collect();
        let ends = match format {
            "text" => vec![
                "\tflags\tqueue\ttlb\tpage_size\tissue_latency\ttranslation_latency\tguest",
                "\ttlb-access\tspe3/cpu3\thit\t-\t4\t18\tfalse",
            ],
            "csv" => vec![
                ",flags,queue,tlb,page_size,issue_latency,translation_latency,guest",
                ",tlb-access,spe3/cpu3,hit,,4,18,false",
            ],
            _ => vec![
                "\"queue\":\"spe3/cpu3\",\"tlb\":\"hit\",\"page_size\":null,\"issue_latency\":4,\
                 \"translation_latency\":18,\"guest\":false}",
            ],
        };
        assert_eq!(lines.len(), ends.len(), "{text}");
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{line} does not end in {end}");
        }
    }
}
