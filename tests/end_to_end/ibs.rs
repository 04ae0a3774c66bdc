//! Samples of AMD's IBS with registers in RAW: what they tell, and what the kernel told before
//! them.

use serde_json::Value;
use tests::container::Parts;
use tests::made::{FIRST_ID, IBS_FETCH, IBS_OP, Made};
use tracegen::ibs::{Op, data3};
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::sample::data_src;
use tracegen::perf::{Attr, Event, Sample};

use crate::program::{check_ledger, counts, folioscope, of_ledger, scratch, write};

/// What `perf record -R -e ibs_op// -a` asks for.
const RAW_ALONE: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::RAW;
const ADDRESSES: u64 = st::ADDR | st::PHYS_ADDR;
const BOTH_VALID: u64 = data3::LINEAR | data3::PHYSICAL;

fn event(kind: u32, name: &str, sample_type: u64) -> Event {
    let attr = Attr { kind, size: 128, sample_period: 1000, sample_type, ..Attr::default() };
    Event { attr, ids: vec![FIRST_ID], name: name.to_owned() }
}

/// A recording of these samples of `ibs_op`.
fn recording(samples: &[Sample], sample_type: u64) -> Vec<u8> {
    let mut made = Made::amd(vec![event(IBS_OP, "ibs_op//", sample_type)]);
    samples.iter().for_each(|sample| {
        made.sample(sample, sample_type);
    });
    made.finish()
}

fn sample(op: &Op) -> Sample {
    let (pid, tid, cpu, time) = (7, 8, 2, 5000);
    Sample { id: FIRST_ID, ip: 0x40_1000, pid, tid, cpu, time, raw: op.raw(), ..Sample::default() }
}

/// A load of a page from memory, 200 cycles after its miss.
fn load(pfn: u64) -> Op {
    Op {
        data2: 3,
        data3: data3::LOAD
            | data3::MISS
            | data3::L2_MISS
            | data3::TLB_MISSES
            | BOTH_VALID
            | data3::miss_latency(200),
        linear: 0x7f00_0000_0018,
        physical: pfn << 12 | 0x18,
        ..Op::default()
    }
}

fn report(recording: &[u8]) -> Value {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    report
}

fn records(recording: &[u8]) -> Vec<Value> {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    folioscope(["records", "--format", "json"]).arg(&path).json_lines()
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

#[test]
fn registers_alone_are_enough() {
    let store = Op { data3: data3::STORE | BOTH_VALID, ..load(0x1235) };
    let ops = [load(0x1234), store, Op::default(), load(0x1234)];
    let file = recording(&ops.each_ref().map(sample), RAW_ALONE);
    let stream = Parts::of(&file).stream();
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &file);
    let want = [(0x1234, 2), (0x1235, 1)].into();
    for threads in ["1", "3"] {
        let pages = ["pages", "--threads", threads];
        assert_eq!(counts(&folioscope(pages).arg(&path).text()), want, "{threads}");
        let streamed = folioscope(pages).arg("-").input(&stream).text();
        assert_eq!(counts(&streamed), want, "{threads}");
    }
    let report = report(&file);
    assert_eq!(report["input"]["sources"], serde_json::json!(["ibs_op"]));
    for (field, count) in [("records", 4), ("counted", 3), ("not_memory", 1)] {
        assert_eq!(of_ledger(&report, field), count, "{field}");
    }
    let block = &report["top"][0];
    assert_eq!((&block["loads"], &block["stores"]), (&2.into(), &1.into()));
    assert!(!notes(&report).contains("IBS"), "{}", notes(&report));
    let records = records(&file);
    assert_eq!(
        records[0],
        serde_json::json!({
            "time_ns": 5000, "cpu": 2, "pid": 7, "tid": 8, "event": "ibs_op//", "op": "load",
            "ip": "0x401000", "vaddr": "0x7f0000000018", "paddr": "0x1234018", "latency": 200,
            "source": "dram", "flags": "l1-miss,l2-miss,tlb-walk,tlb-access",
            "queue": "samples/cpu2", "tlb": "walk", "page_size": null, "issue_latency": null,
            "translation_latency": 0, "guest": false,
        })
    );
    let store = &records[1];
    assert_eq!((&store["op"], &store["source"]), (&"store".into(), &"l1".into()));
    assert_eq!(store["latency"], Value::Null);
}

#[test]
fn an_address_that_the_kernel_hid_is_told() {
    let hidden = Op { physical: 0, ..load(1) };
    for sample_type in [RAW_ALONE, RAW_ALONE | ADDRESSES] {
        let all = recording(&[sample(&hidden), sample(&hidden)], sample_type);
        let report = report(&all);
        assert_eq!(of_ledger(&report, "no_physical_address"), 2);
        let reason = report["reason"].as_str().expect("nothing was counted");
        assert!(reason.contains("the kernel hid those of 2 IBS samples"), "{reason}");
        assert!(reason.contains("as root"), "{reason}");
    }
    // Beside one that counts.
    let some = recording(&[sample(&hidden), sample(&load(5))], RAW_ALONE);
    assert!(notes(&report(&some)).contains("hid the physical addresses of 1 IBS samples"));
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &some);
    for command in ["pages", "records", "decisions"] {
        let run = folioscope([command]).arg(&path).run().succeeded();
        assert_eq!(run.stderr.lines().count(), 1, "{command}: {}", run.stderr);
        assert!(run.stderr.contains("The kernel hid"), "{command}: {}", run.stderr);
    }
    // A register that is not valid hides nothing.
    let without = Op { data3: data3::LOAD | data3::LINEAR, ..load(5) };
    let report = report(&recording(&[sample(&without)], RAW_ALONE));
    assert_eq!(of_ledger(&report, "no_physical_address"), 1);
    assert!(!report["reason"].to_string().contains("hid"));
}

#[test]
fn what_the_kernel_says_of_the_address_counts_and_a_difference_is_told() {
    let given = |phys_addr| Sample { phys_addr, addr: 0x7000, ..sample(&load(0x1234)) };
    let samples = [given(0x5_5018), given(0x123_4018), given(0)];
    let file = recording(&samples, RAW_ALONE | ADDRESSES);
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &file);
    let run = folioscope(["pages"]).arg(&path).run().succeeded();
    assert_eq!(counts(&run.text()), [(0x55, 1), (0x1234, 2)].into());
    assert!(run.stderr.contains("1 IBS samples have another physical address"), "{}", run.stderr);
    let report = report(&file);
    assert_eq!(of_ledger(&report, "counted"), 3);
    assert!(notes(&report).contains("1 IBS samples have another physical address"));
    assert_eq!(records(&file)[0]["vaddr"], "0x7000");
}

/// What may be the mark of encrypted memory is told, whoever gives the address.
#[test]
fn addresses_beyond_all_memory_are_told() {
    let beyond = "IBS samples have physical addresses of 128 TiB or more";
    for bit in [47, 51] {
        let marked = Op { physical: 1 << bit | 0x5018, ..load(1) };
        let by_registers = recording(&[sample(&marked), sample(&load(5))], RAW_ALONE);
        let given = Sample { phys_addr: marked.physical, raw: vec![], ..sample(&marked) };
        let by_the_kernel = recording(&[given, sample(&load(5))], RAW_ALONE | ADDRESSES);
        for file in [by_registers, by_the_kernel] {
            let report = report(&file);
            assert_eq!(of_ledger(&report, "counted"), 2, "they count all the same");
            assert!(notes(&report).contains(&format!("1 {beyond}")), "{}", notes(&report));
        }
    }
    let last = Op { physical: (1 << 47) - 8, ..load(1) };
    assert!(!notes(&report(&recording(&[sample(&last)], RAW_ALONE))).contains(beyond));
}

#[test]
fn data_src_and_weight_come_before_registers() {
    let sample_type = RAW_ALONE | st::WEIGHT | st::DATA_SRC;
    let l2 = data_src::LEVEL_L2 | data_src::SNOOP_NA | data_src::LOCK_NA | data_src::TLB_NA;
    let not_available = data_src::OP_NA | data_src::LEVEL_NA;
    let with = |data_src| Sample { weight: 33, data_src, ..sample(&load(9)) };
    let samples = [with(data_src::OP_STORE | l2), with(not_available)];
    let records = records(&recording(&samples, sample_type));
    let told = |record: &Value| {
        ["op", "source", "latency", "paddr"].map(|field| record[field].to_string())
    };
    assert_eq!(told(&records[0]), ["\"store\"", "\"l2\"", "33", "\"0x9018\""]);
    assert_eq!(told(&records[1]), ["\"load\"", "\"dram\"", "33", "\"0x9018\""]);
    // Without a weight, or with none in it, the latency is that of the registers, whoever tells the rest.
    let zero = Sample { weight: 0, ..with(data_src::OP_LOAD | l2) };
    for (sample, fields) in [(with(data_src::OP_LOAD | l2), 0), (zero, st::WEIGHT)] {
        let records = self::records(&recording(&[sample], RAW_ALONE | st::DATA_SRC | fields));
        assert_eq!(told(&records[0]), ["\"load\"", "\"l2\"", "200", "\"0x9018\""]);
    }
    let hit = Op { data3: data3::LOAD | BOTH_VALID, ..load(9) };
    let none = Sample { weight: 0, ..sample(&hit) };
    let records = self::records(&recording(&[none], RAW_ALONE | st::WEIGHT));
    assert_eq!(records[0]["latency"], Value::Null, "a hit waits for nothing");
}

#[test]
fn flags_are_those_of_data_src_and_of_the_registers() {
    const MISALIGNED: u64 = 1 << 8;
    const REMOTE_NODE: u64 = 1 << 4;
    let op = Op { data2: 3 | REMOTE_NODE, data3: load(9).data3 | MISALIGNED, ..load(9) };
    let l2 = data_src::LEVEL_L2 | data_src::SNOOP_NA | data_src::LOCK_NA | data_src::TLB_NA;
    let not_available = data_src::OP_NA | data_src::LEVEL_NA;
    let flags = |data_src, sample_type| {
        let sample = Sample { data_src, ..sample(&op) };
        records(&recording(&[sample], RAW_ALONE | sample_type))[0]["flags"].clone()
    };
    let alone = "l1-miss,l2-miss,tlb-walk,remote,misaligned,tlb-access";
    assert_eq!(flags(0, 0), alone);
    assert_eq!(flags(not_available, st::DATA_SRC), alone);
    // Whoever says where the data came from says whether that is remote.
    let near = "l1-miss,l2-miss,tlb-walk,misaligned,tlb-access";
    assert_eq!(flags(data_src::OP_LOAD | l2, st::DATA_SRC), near);
    let far = data_src::OP_LOAD | l2 | 1 << 37;
    assert_eq!(flags(far, st::DATA_SRC), alone);
    assert_eq!(flags(far | 1 << 43, st::DATA_SRC), near, "another core of the node");
}

/// Kernels before 6.6 told levels alone.
#[test]
fn levels_alone_are_told_as_newer_kernels_tell_them() {
    // A miss whose registers do not say more, so that DATA_SRC says all.
    let op = Op { data3: data3::LOAD | data3::MISS | BOTH_VALID, ..load(9) };
    let told = |kind: u32, level: u64| {
        let sample_type = RAW_ALONE | ADDRESSES | st::DATA_SRC;
        let mut made = Made::amd(vec![event(kind, "loads", sample_type)]);
        let data_src = data_src::OP_LOAD | level << 5;
        made.sample(&Sample { data_src, addr: 0x7000, ..sample(&op) }, sample_type);
        let record = records(&made.finish()).remove(0);
        let remote = record["flags"].to_string().contains("remote");
        (record["source"].as_str().expect("it is told").to_owned(), remote)
    };
    let ibs = |level| told(IBS_OP, level);
    assert_eq!(ibs(0x2 | 0x400), ("peer-core".to_owned(), false));
    assert_eq!(ibs(0x2 | 0x40 | 0x400), ("peer-core".to_owned(), false));
    assert_eq!(ibs(0x2 | 0x800), ("remote-cache".to_owned(), true));
    assert_eq!(ibs(0x2 | 0x100), ("remote-dram".to_owned(), true));
    // Other units mean another node by the same level.
    let other = told(77, 0x2 | 0x400);
    assert_eq!(other, ("remote-cache".to_owned(), true));
}

#[test]
fn the_processor_decides_which_registers_are_believed() {
    const NO_BUFFER: u64 = 1 << 16;
    const BEFORE_ZEN4: u32 = 0x3ff;
    let told = |cpuid: Option<&str>, op: &Op| {
        let mut made = Made::amd_of(cpuid, vec![event(IBS_OP, "ibs_op//", RAW_ALONE)]);
        made.sample(&sample(op), RAW_ALONE);
        let record = records(&made.finish()).remove(0);
        let hitm = record["flags"].to_string().contains("hitm");
        (record["source"].as_str().expect("it is told").to_owned(), hitm)
    };
    let zen4 = load(9);
    let older = Op { caps: BEFORE_ZEN4, ..load(9) };
    let no_buffer = Op { data3: older.data3 | NO_BUFFER, ..older.clone() };
    let (near, near_older) = (Op { data2: 2, ..zen4 }, Op { data2: 2, ..older });
    // The processor; a miss without a buffer of its own; whether a line of another core is modified.
    let cases = [
        (None, "lfb", false),
        (Some("AuthenticAMD"), "lfb", false),
        (Some("AuthenticAMD,25,1,1"), "lfb", false),
        (Some("AuthenticAMD,25,33,0"), "dram", false),
        (Some("AuthenticAMD,23,49,0"), "dram", true),
    ];
    for (cpuid, source, modified) in cases {
        assert_eq!(told(cpuid, &no_buffer), (source.to_owned(), false), "{cpuid:?}");
        assert_eq!(told(cpuid, &near_older), ("peer-core".to_owned(), modified), "{cpuid:?}");
    }
    let owned = Op { data2: 2 | 1 << 5, ..near.clone() };
    for cpuid in [None, Some("AuthenticAMD,25,17,1")] {
        assert_eq!(told(cpuid, &near), ("peer-core".to_owned(), true), "{cpuid:?}");
        assert_eq!(told(cpuid, &owned), ("peer-core".to_owned(), false), "{cpuid:?}");
    }
}

#[test]
fn raw_data_that_holds_no_op_is_told() {
    let not_valid = Op { control: 1 << 17, ..load(3) };
    let short = Sample { raw: load(3).raw()[..52].to_vec(), ..sample(&load(3)) };
    for bad in [sample(&not_valid), short] {
        let file = recording(&[bad, sample(&load(4))], RAW_ALONE);
        let report = report(&file);
        assert_eq!((of_ledger(&report, "counted"), of_ledger(&report, "not_memory")), (1, 1));
        assert!(report["unreadable"].to_string().contains("holds no IBS op"), "{report}");
        let folder = scratch();
        let path = write(folder.path(), "perf.data", &file);
        assert_eq!(folioscope(["pages", "--strict"]).arg(&path).run().code(), 3);
    }
    // What the kernel writes where there is no raw data: nothing is wrong with that.
    let empty = Sample { raw: vec![], phys_addr: 0x6000, ..sample(&load(4)) };
    let report = report(&recording(&[empty], RAW_ALONE | ADDRESSES));
    assert_eq!((of_ledger(&report, "counted"), &report["unreadable"]), (1, &Value::Array(vec![])));
}

#[test]
fn the_fetching_of_instructions_is_no_access() {
    let sample_type = RAW_ALONE | ADDRESSES;
    let mut made = Made::amd(vec![event(IBS_FETCH, "ibs_fetch//", sample_type)]);
    let fetch = Sample { addr: 0x40_1000, phys_addr: 0x5000, ..sample(&load(4)) };
    made.sample(&fetch, sample_type);
    let report = report(&made.finish());
    assert_eq!((of_ledger(&report, "records"), of_ledger(&report, "not_memory")), (1, 1));
    // Their raw data is of another kind, and no reason to look at them.
    let mut made = Made::amd(vec![event(IBS_FETCH, "ibs_fetch//", RAW_ALONE)]);
    made.sample(&sample(&load(4)), RAW_ALONE);
    assert_eq!(of_ledger(&self::report(&made.finish()), "records"), 0);
}
