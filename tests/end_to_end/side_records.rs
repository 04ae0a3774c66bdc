//! Losses, and records beside the samples: unknown, damaged, of several events.

use serde_json::Value;
use tests::container::{Parts, record, walk};
use tests::made::{FIRST_ID, Made, load, sample_event};
use tracegen::bytes::Endian;
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::sample::data_src;
use tracegen::perf::tool::event_scale;
use tracegen::perf::{Record, Sample};

use crate::program::{check_ledger, folioscope, of_ledger, scratch, write};

/// The report on bytes, and what `--strict` exits with.
fn report(recording: &[u8]) -> (Value, i32) {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    let strict = folioscope(["report", "--strict"]).arg(&path).run().code();
    (report, strict)
}

fn lost(report: &Value) -> [u64; 3] {
    ["lost_records", "lost_samples", "lost"].map(|field| of_ledger(report, field))
}

#[test]
fn losses_are_told_once() {
    let cases: [(&[Record<'_>], [u64; 3], i32); 6] = [
        (&[], [0, 0, 0], 0),
        (&[Record::Lost { id: 100, lost: 5 }, Record::Lost { id: 100, lost: 2 }], [7, 0, 7], 3),
        (&[Record::LostSamples { lost: 3, bpf: false }], [0, 3, 3], 3),
        // Left out on purpose, by a filter.
        (&[Record::LostSamples { lost: 3, bpf: true }], [0, 0, 0], 0),
        // Two records tell the same losses.
        (
            &[Record::Lost { id: 100, lost: 5 }, Record::LostSamples { lost: 5, bpf: false }],
            [5, 5, 5],
            3,
        ),
        (
            &[Record::Lost { id: 100, lost: u64::MAX }, Record::Lost { id: 100, lost: 9 }],
            [u64::MAX, 0, u64::MAX],
            3,
        ),
    ];
    for (records, want, status) in cases {
        let mut made = Made::spe();
        for lost in records {
            made.record(*lost, 0, 50);
        }
        made.piece(0, 0, &load(7, 1000)).round();
        let (report, strict) = report(&made.finish());
        assert_eq!(lost(&report), want, "{records:?}");
        assert_eq!((report["accesses"].clone(), strict), (1.into(), status), "{records:?}");
    }
}

#[test]
fn throttling_is_told() {
    let mut made = Made::spe();
    for time in [50, 60] {
        made.record(Record::Throttle { time, id: FIRST_ID }, 0, time);
    }
    made.piece(0, 0, &load(7, 1000)).round();
    let (report, strict) = report(&made.finish());
    let told = (of_ledger(&report, "throttled"), report["accesses"].clone(), strict);
    assert_eq!(told, (2, 1.into(), 0), "how much is missing is not known");
}

#[test]
fn how_evenly_an_event_was_recorded_is_told() {
    const FIELDS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::PHYS_ADDR;
    const ID: u64 = 6 * FIRST_ID;
    let uneven = "counts are samples, and not comparable over time.";
    let stretched = |period: &str| {
        format!(
            "minor-faults: period 1, stretched up to {period} while it was recorded (--max-overhead)"
        )
    };
    let even = "minor-faults: every event was recorded.".to_owned();
    /// Ids with their scales, the note, and what `--strict` exits with.
    type Case<'a> = (&'a str, &'a [(u64, f64)], String, i32);
    let cases: [Case<'_>; 10] = [
        ("nothing", &[], even.clone(), 0),
        ("as it was asked for", &[(ID, 1.0)], even.clone(), 0),
        ("of a unit, as perf writes it", &[(ID, 2.3e-10)], even.clone(), 0),
        ("of another event", &[(ID + 1, 9.0)], even.clone(), 0),
        (
            "longer, then shorter",
            &[(ID, 37.0), (ID, 5.0)],
            format!("{}: {uneven}", stretched("37")),
            0,
        ),
        (
            "rested once",
            &[(ID, 0.0), (ID, 0.0), (ID, 1.0)],
            format!("minor-faults: period 1, and once nothing was recorded for a while: {uneven}"),
            0,
        ),
        (
            "both",
            &[(ID, 2.0), (ID, 0.0), (ID, 3.0), (ID, 0.0)],
            format!("{}, and 2 times nothing was recorded for a while: {uneven}", stretched("3")),
            0,
        ),
        (
            "beyond all periods",
            &[(ID, f64::MAX)],
            format!("{}: {uneven}", stretched(&u64::MAX.to_string())),
            0,
        ),
        ("no number", &[(ID, f64::NAN), (ID, f64::INFINITY)], even.clone(), 3),
        ("negative", &[(ID, -37.0)], even, 3),
    ];
    for (name, scales, want, status) in cases {
        for endian in [Endian::Little, Endian::Big] {
            let events = vec![sample_event("minor-faults", 5, FIELDS)];
            let mut made = Made::of(endian, false, events, "6.12.0");
            let sample = Sample { id: ID, phys_addr: 0x5000, ..Sample::default() };
            for (id, scale) in scales {
                let mut out = Vec::new();
                event_scale(&mut out, endian, *id, *scale);
                made.sample(&sample, FIELDS).raw(&out);
            }
            made.sample(&sample, FIELDS).round();
            let file = made.finish();
            for recording in [Parts::of(&file).stream(), file] {
                let (report, strict) = report(&recording);
                let notes = report["notes"].as_array().expect("a list");
                let notes = notes.iter().filter_map(Value::as_str);
                let ours: Vec<_> = notes.filter(|note| note.starts_with("minor-faults")).collect();
                let accesses = report["accesses"].as_u64();
                let samples = 1 + scales.len() as u64;
                assert_eq!(ours, [want.as_str()], "{name}");
                assert_eq!((strict, accesses), (status, Some(samples)), "{name}");
                let refused = report["unreadable"].as_array().map_or(0, Vec::len);
                assert_eq!(refused > 0, status == 3, "{name}: {report}");
            }
        }
    }
    // A record that ends before its scale does.
    let mut made = Made::samples(vec![sample_event("minor-faults", 5, FIELDS)]);
    let mut cut = Vec::new();
    record(&mut cut, Endian::Little, 78, &[&1u64.to_le_bytes(), &ID.to_le_bytes(), &[0; 4]]);
    made.raw(&cut).sample(&Sample { id: ID, phys_addr: 0x5000, ..Sample::default() }, FIELDS);
    let (report, strict) = report(&made.finish());
    assert_eq!((report["accesses"].as_u64(), strict), (Some(1), 3));
}

#[test]
fn arm_spe_that_was_recorded_unevenly_is_told() {
    let mut scale = Vec::new();
    event_scale(&mut scale, Endian::Little, FIRST_ID, 2.5);
    let mut made = Made::spe();
    made.piece(0, 0, &load(7, 1000)).raw(&scale).round();
    let (report, _) = report(&made.finish());
    let notes = report["notes"].as_array().expect("a list");
    let said = |words: &str| {
        notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains(words)))
    };
    assert!(said("Sampled every 1024 operations with jitter"), "{notes:?}");
    assert!(
        said("arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/: period 1024, stretched up to 2560 "),
        "{notes:?}"
    );
    assert!(
        report["top"][0]["verdict"].is_string(),
        "each sample still is one of any access: {report}"
    );
}

#[test]
fn the_recording_that_lost_samples() {
    let path = tests::inputs::input("file-lost");
    let report = crate::program::report(&path, &[]);
    assert_eq!(lost(&report), [1758; 3]);
    assert_eq!(folioscope(["report", "--strict"]).arg(&path).run().code(), 3);
    let text = folioscope(["report"]).arg(&path).text();
    assert!(text.contains("1758") || text.contains("1,758"), "{text}");
}

#[test]
fn records_that_nobody_knows_are_passed_over() {
    for endian in [Endian::Little, Endian::Big] {
        let mut unknown = Vec::new();
        for kind in [0, 20, 63, 84, 100, 1000, u32::MAX] {
            record(&mut unknown, endian, kind, &[&[0xab; 24]]);
            record(&mut unknown, endian, kind, &[]);
        }
        let events = vec![tests::made::spe_event()];
        let mut made = Made::of(endian, false, events, "6.12.0");
        made.info().clock().raw(&unknown).piece(0, 0, &load(7, 1000)).raw(&unknown);
        let (report, strict) = report(&made.finish());
        assert_eq!((report["accesses"].clone(), strict), (1.into(), 0), "{endian:?}");
        assert_eq!(report["unreadable"], serde_json::json!([]));
    }
}

#[test]
fn records_that_are_not_aligned() {
    // perf does not pad every record to 8 (names of old perfs, HEADER_TRACING_DATA of 12 bytes).
    for odd in 1..8 {
        let mut unaligned = Vec::new();
        record(&mut unaligned, Endian::Little, 90, &[&vec![0xff; odd]]);
        let mut made = Made::spe();
        made.raw(&unaligned).piece(0, 0, &load(7, 1000)).raw(&unaligned).piece(
            0,
            48,
            &load(8, 2000),
        );
        let (report, strict) = report(&made.finish());
        assert_eq!((report["accesses"].clone(), strict), (2.into(), 0), "{odd}");
    }
}

/// simpleperf's TRACING_DATA holds its data itself, and its own records may be longer than 64 KiB, told by bits that are
/// `misc` in perf's (AOSP, `simpleperf/record.h`, `simpleperf_record_header`; `record.cpp`, `TracingDataRecord`).
#[test]
fn records_as_simpleperf_writes_them() {
    const KERNEL_SYMBOL: u32 = 32769;
    for endian in [Endian::Little, Endian::Big] {
        let event = tests::made::spe_event();
        let mut tracing = Vec::new();
        let data = [&b"\x17\x08\x44tracing0.5\0"[..], &[0xff; 2030]].concat();
        let mut size = Vec::new();
        endian.u32(&mut size, u32::try_from(data.len()).expect("it is short"));
        let padding = vec![0; (4 + data.len()).next_multiple_of(8) - 4 - data.len()];
        record(&mut tracing, endian, 66, &[&size, &data, &padding]);
        let mut symbols = Vec::new();
        let len = 8 + 70_004_u32;
        endian.u32(&mut symbols, KERNEL_SYMBOL);
        endian.u16(&mut symbols, u16::try_from(len >> 16).expect("the upper bits"));
        endian.u16(&mut symbols, u16::try_from(len & 0xffff).expect("the lower bits"));
        symbols.resize(len as usize, 0xff);

        let mut made = Made::of(endian, false, vec![event], "6.12.0");
        made.raw(&tracing).info().clock().piece(0, 0, &load(7, 1000));
        made.raw(&symbols).piece(0, 48, &load(8, 2000)).raw(&tracing);
        let (report, strict) = report(&made.finish());
        assert_eq!(report["unreadable"], serde_json::json!([]), "{endian:?}");
        assert_eq!((report["accesses"].clone(), strict), (2.into(), 0), "{endian:?}");
    }
}

#[test]
fn what_stands_behind_the_last_record() {
    let mut made = Made::spe();
    made.piece(0, 0, &load(7, 1000)).round();
    let file = made.finish();
    let stream = Parts::of(&file).stream();
    let text = b"[ perf record: Woken up 1 times to write data ]\n[ perf record: Captured and wrote 0.01 MB - ]\n";
    // It is told; what came before it counts.
    for recording in [&file, &stream] {
        for garbage in [&text[..], &[0; 64], &[0xff; 64], &[9, 0, 0, 0, 0, 0, 200], &[1]] {
            let (report, strict) = report(&[&recording[..], garbage].concat());
            assert_eq!((report["accesses"].clone(), strict), (1.into(), 3), "{garbage:?}");
            assert_ne!(report["unreadable"], serde_json::json!([]), "{garbage:?}");
        }
    }
    // Two files that were joined are no recording of both.
    let (report, strict) = report(&file.repeat(2));
    assert_eq!((report["accesses"].clone(), strict), (1.into(), 3));
    let told = report["unreadable"][0].as_str().expect("it is told");
    let want = format!("{} bytes behind the last section of the file", file.len());
    assert!(told.starts_with(&want), "{told}");
}

#[test]
fn a_record_of_size_zero_ends_the_records_and_is_told() {
    let mut made = Made::spe();
    made.piece(0, 0, &load(7, 1000)).round();
    for size in 0..8_u8 {
        let mut damaged = Parts::of(&made_twice()).stream();
        let parts = Parts::of(&made_twice());
        let start = damaged.len() - parts.records.len();
        let rounds: Vec<_> = walk(Endian::Little, &parts.records)
            .into_iter()
            .filter(|(_, kind)| *kind == 68)
            .collect();
        damaged[start + rounds[0].0 + 6] = size;
        let (report, strict) = report(&damaged);
        assert_eq!((report["accesses"].clone(), strict), (1.into(), 3), "size {size}");
    }
}

/// Two pieces with a FINISHED_ROUND after each.
fn made_twice() -> Vec<u8> {
    let mut made = Made::spe();
    made.piece(0, 0, &load(7, 1000)).round().piece(0, 48, &load(8, 2000)).round();
    made.finish()
}

fn sample(id: u64, pfn: u64, data_src: u64) -> Sample {
    Sample {
        id,
        stream_id: id,
        ip: 0x40_1000,
        pid: 5,
        tid: 6,
        time: 1000 + pfn,
        addr: 0x7f00_0000_0000 | pfn << 12,
        phys_addr: pfn << 12,
        cpu: 3,
        data_src,
        ..Sample::default()
    }
}

#[test]
fn several_events_are_told_apart_by_identifier_and_by_id() {
    let common = st::IP | st::TID | st::TIME | st::ADDR | st::CPU | st::DATA_SRC | st::PHYS_ADDR;
    // With IDENTIFIER layouts may differ; with ID at its old place they may not.
    for (types, what) in [
        (
            [common | st::IDENTIFIER, common | st::IDENTIFIER | st::PERIOD | st::WEIGHT],
            "IDENTIFIER",
        ),
        ([common | st::ID, common | st::ID], "ID"),
    ] {
        let events = vec![sample_event("first", 0, types[0]), sample_event("second", 1, types[1])];
        let mut made = Made::samples(events);
        for (event, pfn) in [(0, 1), (1, 2), (1, 3), (0, 4), (1, 5)] {
            let id = FIRST_ID * (event as u64 + 1);
            made.sample(&sample(id, pfn, data_src::OP_LOAD), types[event]);
        }
        let folder = scratch();
        let path = write(folder.path(), "perf.data", &made.finish());
        let records = folioscope(["records", "--format", "json"]).arg(&path).json_lines();
        let seen: Vec<_> = records
            .iter()
            .map(|record| {
                (record["event"].as_str().expect("a name"), record["paddr"].as_str().expect("one"))
            })
            .collect();
        let want = [
            ("first", "0x1000"),
            ("second", "0x2000"),
            ("second", "0x3000"),
            ("first", "0x4000"),
            ("second", "0x5000"),
        ];
        assert_eq!(seen, want, "{what}");
        let only = folioscope(["pages", "--event", "second"]).arg(&path).text();
        assert_eq!(only, "0x2 1\n0x3 1\n0x5 1\n", "{what}");
    }
}

#[test]
fn a_sample_of_no_known_event_is_not_counted_silently() {
    let common = st::IDENTIFIER | st::IP | st::ADDR | st::PHYS_ADDR;
    let events =
        vec![sample_event("first", 0, common), sample_event("second", 1, common | st::CPU)];
    let mut made = Made::samples(events);
    made.sample(&sample(FIRST_ID, 1, 0), common).sample(&sample(77, 2, 0), common);
    let (report, strict) = report(&made.finish());
    assert_eq!((report["accesses"].clone(), strict), (1.into(), 3));
}

#[test]
fn group_members_count_once_each() {
    // READ of a group stands before DATA_SRC and PHYS_ADDR: a layout that is wrong moves both.
    const GROUP_ID_LOST: u64 = 1 << 3 | 1 << 2 | 1 << 4;
    let common = st::IDENTIFIER
        | st::IP
        | st::TID
        | st::TIME
        | st::ADDR
        | st::READ
        | st::DATA_SRC
        | st::PHYS_ADDR;
    let mut events = vec![sample_event("leader", 0, common), sample_event("member", 1, common)];
    events.iter_mut().for_each(|event| event.attr.read_format = GROUP_ID_LOST);
    let mut made = Made::samples(events);
    for (id, pfn) in [(FIRST_ID, 1), (2 * FIRST_ID, 2), (FIRST_ID, 3)] {
        let read = vec![2, 10, FIRST_ID, 0, 20, 2 * FIRST_ID, 0];
        let sample = Sample { read, ..sample(id, pfn, data_src::OP_STORE) };
        made.sample(&sample, common);
    }
    let (report, _) = report(&made.finish());
    assert_eq!(report["accesses"], 3);
    assert_eq!(report["pages"], 3);
    assert_eq!(report["top"][0]["stores"], 3);
}

#[test]
fn samples_with_everything_around_their_addresses() {
    let everything = st::IDENTIFIER
        | st::IP
        | st::TID
        | st::TIME
        | st::ADDR
        | st::ID
        | st::STREAM_ID
        | st::CPU
        | st::PERIOD
        | st::CALLCHAIN
        | st::RAW
        | st::REGS_USER
        | st::STACK_USER
        | st::DATA_SRC
        | st::TRANSACTION
        | st::REGS_INTR
        | st::PHYS_ADDR
        | st::CGROUP
        | st::DATA_PAGE_SIZE
        | st::CODE_PAGE_SIZE;
    for weight in [st::WEIGHT, st::WEIGHT_STRUCT] {
        for endian in [Endian::Little, Endian::Big] {
            let sample_type = everything | weight;
            let mut event = sample_event("wide", 0, sample_type);
            event.attr.sample_regs_user = 0b1011;
            event.attr.sample_regs_intr = 0b1;
            event.attr.sample_stack_user = 16;
            let mut made = Made::of(endian, false, vec![event], "6.12.0");
            let wide = Sample {
                period: 3,
                callchain: vec![0x1, 0x2, 0x3],
                raw: vec![1, 2, 3, 4, 5],
                regs_user: vec![1, 2, 3],
                regs_intr: vec![9],
                stack_user: vec![7; 16],
                weight: 1 << 48 | 2 << 32 | 77,
                transaction: 1,
                cgroup: 55,
                data_page_size: 4096,
                code_page_size: 4096,
                ..sample(FIRST_ID, 0x1234, data_src::OP_STORE | data_src::LEVEL_RAM)
            };
            made.sample(&wide, sample_type);
            let bare =
                Sample { regs_user: vec![], regs_intr: vec![], stack_user: vec![], ..wide.clone() };
            made.sample(&bare, sample_type);
            let folder = scratch();
            let path = write(folder.path(), "perf.data", &made.finish());
            let records = folioscope(["records", "--format", "json"]).arg(&path).json_lines();
            assert_eq!(records.len(), 2, "{endian:?}");
            for record in records {
                assert_eq!(record["paddr"], "0x1234000", "{endian:?}");
                assert_eq!(record["vaddr"], "0x7f0001234000");
                assert_eq!(record["op"], "store");
                assert_eq!(record["source"], "dram");
                assert_eq!([&record["pid"], &record["tid"], &record["cpu"]], [5, 6, 3]);
                assert_eq!(record["time_ns"], 1000 + 0x1234);
                if weight == st::WEIGHT_STRUCT {
                    assert_eq!(record["latency"], 77, "the first part of the three");
                }
            }
        }
    }
}

#[test]
fn processors_and_samples_in_one_recording() {
    let sample_type =
        st::IDENTIFIER | st::IP | st::TID | st::TIME | st::ADDR | st::CPU | st::PHYS_ADDR;
    let mut faults = sample_event("minor-faults", 6, sample_type);
    faults.ids = vec![700];
    let mut made =
        Made::of(Endian::Little, false, vec![tests::made::spe_event(), faults], "6.12.0");
    made.info().clock().sample(&sample(700, 0x600, 0), sample_type).piece(0, 0, &load(0x601, 1000));
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &made.finish());
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    assert_eq!(report["input"]["sources"], serde_json::json!(["arm_spe", "sample"]));
    assert_eq!(report["accesses"], 2);
    let split = report["records_by_source"].as_object().expect("it splits the ledger");
    assert_eq!(split.len(), 2);
    assert_eq!((&split["arm_spe"]["counted"], &split["sample"]["counted"]), (&1.into(), &1.into()));
    assert_eq!(split["arm_spe"]["aux_bytes"], 48);
    assert_eq!(split["sample"]["aux_bytes"], 0);
    let only = folioscope(["pages", "--event", "arm_spe_0"]).arg(&path).text();
    assert_eq!(only, "0x601 1\n");
}

#[test]
fn a_breakpoint_on_one_kind_of_access_tells_which() {
    const BREAKPOINT: u32 = 5;
    let fields = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::ADDR | st::CPU | st::PHYS_ADDR;
    let written = |endian, bp_type, data_src| {
        let sample_type = fields | if data_src == 0 { 0 } else { st::DATA_SRC };
        let mut event = sample_event("mem:0x7f0000000018/8", 0, sample_type);
        event.attr.kind = BREAKPOINT;
        event.attr.bp_type = bp_type;
        let sample = Sample {
            id: FIRST_ID,
            ip: 0x40_1000,
            pid: 7,
            tid: 7,
            time: 5000,
            addr: 0x7f00_0000_0018,
            phys_addr: 0x7018,
            data_src,
            ..Sample::default()
        };
        let mut made = Made::of(endian, false, vec![event], "6.12.0");
        made.sample(&sample, sample_type);
        made.finish()
    };
    let rows = [
        (1, 0, Some("load"), "--loads"),
        (2, 0, Some("store"), "--stores"),
        (3, 0, Some("access"), ""),
        (4, 0, None, ""),
        (2, data_src::OP_NA | data_src::LEVEL_NA, Some("store"), "--stores"),
        (2, data_src::OP_LOAD, Some("load"), "--loads"),
        (3, data_src::OP_STORE, Some("store"), "--stores"),
    ];
    let folder = scratch();
    for endian in [Endian::Little, Endian::Big] {
        for (bp_type, data_src, op, kept_by) in rows {
            let name = format!("{endian:?} {bp_type} {data_src:#x}");
            let path = write(folder.path(), "perf.data", &written(endian, bp_type, data_src));
            let report = folioscope(["report", "--format", "json"]).arg(&path).json();
            check_ledger(&report);
            let want = if op.is_some() { (1, 1, 0) } else { (1, 0, 1) };
            let [records, counted, not_memory] =
                ["records", "counted", "not_memory"].map(|field| of_ledger(&report, field));
            assert_eq!((records, counted, not_memory), want, "{name}");
            let listed = folioscope(["records", "--format", "json"]).arg(&path).json_lines();
            let listed: Vec<_> = listed.iter().map(|record| record["op"].as_str()).collect();
            assert_eq!(listed, op.map(Some).as_slice(), "{name}");
            for filter in ["--loads", "--stores"] {
                let kept = folioscope(["pages", filter]).arg(&path).run().stdout;
                assert_eq!(!kept.is_empty(), filter == kept_by, "{name} {filter}");
            }
        }
    }
}

#[test]
fn samples_without_a_physical_address_say_what_would_have_one() {
    const ADDRESSED: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::ADDR;
    // Of software events: the clock, page faults.
    let rows = [
        (0, st::PHYS_ADDR, "samples of one have no data address; record loads and stores with"),
        (0, 0, "samples of one have no data address; record loads and stores with"),
        (2, st::PHYS_ADDR, "although --phys-data asked for them"),
        (2, 0, "none with a physical address: record with --phys-data as root"),
    ];
    for (number, physical, why) in rows {
        let mut event = sample_event("one", number, ADDRESSED | physical);
        event.ids = vec![FIRST_ID];
        let mut made = Made::samples(vec![event]);
        made.sample(
            &Sample { id: FIRST_ID, time: 5000, ..Sample::default() },
            ADDRESSED | physical,
        );
        let (report, _) = report(&made.finish());
        let reason = report["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(why), "{number}: {reason}");
        assert_eq!(reason.contains("record with --phys-data"), (number, physical) == (2, 0));
    }
}

#[test]
fn events_that_never_have_an_address_are_no_memory_records() {
    const FIELDS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::ADDR | st::PHYS_ADDR;
    // Kind and number of an event, and whether its samples without an address are memory records.
    let rows = [
        ("cpu-clock", 1, 0, false),
        ("task-clock", 1, 1, false),
        ("page-faults", 1, 2, true),
        ("context-switches", 1, 3, false),
        ("cpu-migrations", 1, 4, false),
        ("minor-faults", 1, 5, true),
        ("dummy", 1, 9, false),
        ("bpf-output", 1, 10, false),
        ("cgroup-switches", 1, 11, false),
        ("sched:sched_switch", 2, 300, false),
        ("probe:vfs_read", 8, 301, false),
        ("mem:0x1000", 5, 0, true),
        // The processor's counters, which are not precise here.
        ("cycles", 0, 0, false),
        ("L1-dcache-loads", 3, 0, false),
        ("r1234", 4, 0x1234, false),
    ];
    for (name, kind, config, memory) in rows {
        let mut event = sample_event(name, config, FIELDS);
        event.attr.kind = kind;
        event.ids = vec![FIRST_ID];
        let mut features = Features::new(Endian::Little);
        features
            .text(bit::ARCH, "x86_64")
            .pmus(&[(1, "software"), (4, "cpu"), (8, "kprobe")])
            .events(core::slice::from_ref(&event));
        let mut made = Made::with(Endian::Little, false, vec![event], features);
        let sample = Sample { id: FIRST_ID, time: 5000, ..Sample::default() };
        made.sample(&sample, FIELDS).sample(&sample, FIELDS);
        // Nobody writes that; if one did, it would be an access.
        made.sample(&Sample { phys_addr: 0x5000, addr: 0x7000, ..sample }, FIELDS);
        let file = made.finish();
        for recording in [Parts::of(&file).stream(), file] {
            let (report, _) = report(&recording);
            let fields = ["records", "no_physical_address", "counted", "not_address_events"];
            let found = fields.map(|field| of_ledger(&report, field));
            let want = if memory { [3, 2, 1, 0] } else { [1, 0, 1, 2] };
            assert_eq!(found, want, "{name}");
        }
    }
}

#[test]
fn events_without_room_for_an_address_are_no_memory_records() {
    const FIELDS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME;
    let mut event = sample_event("page-faults", 2, FIELDS);
    event.ids = vec![FIRST_ID];
    let mut made = Made::samples(vec![event]);
    made.sample(&Sample { id: FIRST_ID, time: 5000, ..Sample::default() }, FIELDS);
    let (report, strict) = report(&made.finish());
    let found = ["records", "not_address_events"].map(|field| of_ledger(&report, field));
    assert_eq!((found, strict), ([0, 1], 3));
    let reason = report["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("samples of page-faults have no data address"), "{reason}");
}
