//! Accesses of virtual machines that ran on the machine that was recorded: which of their physical
//! addresses count, and what is told of the others.

use serde_json::Value;
use tests::container::Parts;
use tests::made::{FIRST_ID, IBS_OP, Made};
use tracegen::bytes::Endian;
use tracegen::ibs::{Op, data3};
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::tool::id_index_of_machines;
use tracegen::perf::{Attr, Event, Sample};

use crate::program::{check_ledger, counts, folioscope, of_ledger, scratch, write};

const RAW_ALONE: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::RAW;
const ALL: u64 = RAW_ALONE | st::ADDR | st::PHYS_ADDR | st::DATA_PAGE_SIZE;
/// Modes of the processor (`PERF_RECORD_MISC_CPUMODE_MASK`).
const KERNEL: u16 = 1;
const USER: u16 = 2;
const GUEST_KERNEL: u16 = 4;
const GUEST_USER: u16 = 5;

const FRAME: u64 = 0x1234;
const PHYSICAL: u64 = FRAME << 12 | 0x18;
const VIRTUAL: u64 = 0x7f00_0000_0018;

fn event(kind: u32, name: &str, sample_type: u64, precise: u64) -> Event {
    let flags = precise << 15;
    let attr = Attr { kind, size: 128, sample_period: 1000, sample_type, flags, ..Attr::default() };
    Event { attr, ids: vec![FIRST_ID], name: name.to_owned() }
}

/// A load whose registers have these bits, and this physical address.
fn op(valid: u64, physical: u64) -> Op {
    let data3 = data3::LOAD | data3::LINEAR | valid;
    Op { data3, linear: VIRTUAL, physical, ..Op::default() }
}

fn sample(misc: u16, op: &Op, phys_addr: u64) -> Sample {
    let (pid, tid, cpu, time) = (7, 8, 2, 5000);
    Sample {
        misc,
        id: FIRST_ID,
        ip: 0x40_1000,
        pid,
        tid,
        cpu,
        time,
        addr: VIRTUAL,
        phys_addr,
        data_page_size: 4096,
        raw: op.raw(),
        ..Sample::default()
    }
}

fn ibs(samples: &[Sample], sample_type: u64) -> Vec<u8> {
    let mut made = Made::amd(vec![event(IBS_OP, "ibs_op//", sample_type, 0)]);
    samples.iter().for_each(|sample| {
        made.sample(sample, sample_type);
    });
    made.finish()
}

/// A recording on a machine of Intel's, of loads and stores by PEBS.
fn pebs(samples: &[Sample]) -> Vec<u8> {
    const FIELDS: u64 = ALL & !st::RAW;
    let mut event = event(4, "mem_inst_retired.any:P", FIELDS, 2);
    event.attr.config = 0x83d0;
    let mut features = Features::new(Endian::Little);
    features
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::ARCH, "x86_64")
        .text(bit::CPUID, "GenuineIntel,6,143,8")
        .pmus(&[(1, "software"), (4, "cpu")])
        .events(core::slice::from_ref(&event));
    let mut made = Made::with(Endian::Little, false, vec![event], features);
    samples.iter().for_each(|sample| {
        made.sample(sample, FIELDS);
    });
    made.finish()
}

fn report(recording: &[u8], more: &[&str]) -> Value {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).args(more).arg(&path).json();
    check_ledger(&report);
    report
}

fn records(recording: &[u8]) -> Vec<Value> {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    folioscope(["records", "--format", "json"]).arg(&path).json_lines()
}

fn is_guest(record: &Value) -> bool {
    record["flags"].as_str().expect("flags").split(',').any(|flag| flag == "guest")
}

/// Without the registers (`perf record` without -R) nobody knows whose address PHYS_ADDR is.
#[test]
fn without_registers_no_physical_address_of_a_guest_counts() {
    let without = ALL & !st::RAW;
    let guest = sample(GUEST_USER, &op(data3::PHYSICAL, PHYSICAL), PHYSICAL);
    let host = sample(USER, &op(data3::PHYSICAL, PHYSICAL), PHYSICAL);
    let found = report(&ibs(&[guest.clone(), host], without), &[]);
    let ledger = ["records", "counted", "guest_accesses", "guest_address"];
    assert_eq!(ledger.map(|field| of_ledger(&found, field)), [2, 1, 1, 1]);
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &ibs(&[guest], without));
    let said = folioscope(["report"]).arg(&path).run().stderr;
    assert!(said.contains("for none the recording shows") && said.contains(" -R "), "{said}");
}

#[test]
fn a_physical_address_of_a_guest_counts_if_the_hardware_gave_it() {
    let valid = data3::PHYSICAL;
    // The registers, PHYS_ADDR, and whether the host's and the guest's access counts.
    let rows = [
        ("both say the same", op(valid, PHYSICAL), PHYSICAL, true, true),
        ("the hardware alone", op(valid, PHYSICAL), 0, true, true),
        ("looked up: not valid", op(0, 0), PHYSICAL, true, false),
        ("looked up: not valid, whatever it holds", op(0, PHYSICAL), PHYSICAL, true, false),
        ("looked up: hidden", op(valid, 0), PHYSICAL, true, false),
        ("they differ", op(valid, PHYSICAL + 0x5000), PHYSICAL, true, false),
        ("nobody", op(0, 0), 0, false, false),
    ];
    for (name, op, phys_addr, of_host, of_guest) in rows {
        for (mode, guest) in
            [(USER, false), (KERNEL, false), (GUEST_USER, true), (GUEST_KERNEL, true)]
        {
            let counted = if guest { of_guest } else { of_host };
            // Bit 14 says that the ip is exact.
            for misc in [mode, mode | 1 << 14] {
                let name = format!("{name}, mode {misc:#x}");
                let file = ibs(&[sample(misc, &op, phys_addr)], ALL);
                let found = report(&file, &[]);
                let ledger = ["records", "counted", "guest_accesses", "guest_address"];
                let ledger = ledger.map(|field| of_ledger(&found, field));
                let (guests, dropped) = (u64::from(guest), u64::from(guest && !counted));
                assert_eq!(ledger, [1, u64::from(counted), guests, dropped], "{name}");
                let missing = u64::from(!guest && !counted);
                assert_eq!(of_ledger(&found, "no_physical_address"), missing, "{name}");
                let listed = &records(&file)[0];
                assert_eq!(
                    (is_guest(listed), listed["paddr"].is_string()),
                    (guest, counted),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn with_registers_alone_and_in_every_form_the_same() {
    let known = op(data3::PHYSICAL, PHYSICAL);
    let samples = [GUEST_USER, USER, GUEST_KERNEL].map(|misc| sample(misc, &known, 0));
    let unknown = sample(GUEST_USER, &op(0, 0), 0);
    let file = ibs(&[&samples[..], &[unknown]].concat(), RAW_ALONE);
    let stream = Parts::of(&file).stream();
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &file);
    for threads in ["1", "3"] {
        let pages = ["pages", "--threads", threads];
        assert_eq!(counts(&folioscope(pages).arg(&path).text()), [(FRAME, 3)].into());
        assert_eq!(counts(&folioscope(pages).arg("-").input(&stream).text()), [(FRAME, 3)].into());
    }
    let report = report(&file, &[]);
    assert_eq!(of_ledger(&report, "guest_accesses"), 3);
    assert_eq!(of_ledger(&report, "guest_address"), 1);
    let notes = report["notes"].to_string();
    assert!(notes.contains("2 accesses of virtual machines are counted"), "{notes}");
    assert!(notes.contains("1 access of virtual machines is left out (guest_address)"), "{notes}");
    assert_ne!(report["top"][0]["verdict"], "filtered", "few are missing");
}

#[test]
fn a_guest_s_virtual_address_says_nothing_of_the_host() {
    // It lies as the frame does, which would be a sign of a huge page.
    let physical = VIRTUAL & 0x1f_ffff | 0x4000_0000;
    let recording = |misc| {
        let samples: Vec<_> = (0..40_u64)
            .map(|page| {
                let op = op(data3::PHYSICAL, physical + (page << 12));
                let op = Op { linear: VIRTUAL + (page << 12), ..op };
                Sample { addr: VIRTUAL + (page << 12), ..sample(misc, &op, 0) }
            })
            .collect();
        report(&ibs(&samples, ALL), &[])
    };
    let backing = |report: &Value| report["top"][0]["backing"].clone();
    assert_eq!(backing(&recording(USER)), "thp");
    assert_eq!(backing(&recording(GUEST_USER)), "unknown");
}

#[test]
fn what_the_kernel_looked_up_for_pebs_samples_of_guests_is_left_out() {
    let none = Op::default();
    let host: Vec<_> = (0..100_u64)
        .map(|page| Sample { phys_addr: PHYSICAL + ((page % 3) << 12), ..sample(USER, &none, 1) })
        .collect();
    let guests = vec![sample(GUEST_USER, &none, PHYSICAL); 5];
    let all = report(&pebs(&[&host[..], &guests].concat()), &[]);
    let fields = ["counted", "guest_accesses", "guest_address"];
    assert_eq!(fields.map(|field| of_ledger(&all, field)), [100, 5, 5]);
    // Pages of guests may be as hot as any: nobody saw them.
    assert_eq!(all["top"][0]["verdict"], "filtered");
    let notes = all["notes"].to_string();
    assert!(notes.contains("5 accesses of virtual machines are left out"), "{notes}");
    assert!(notes.contains("most accesses of virtual machines have no known frame"), "{notes}");
    assert_ne!(report(&pebs(&host), &[])["top"][0]["verdict"], "filtered");
    let only = report(&pebs(&guests), &[]);
    let reason = only["reason"].as_str().expect("nothing was counted");
    assert!(reason.contains("all 5 memory operations of them of virtual machines"), "{reason}");
}

#[test]
fn no_page_map_is_asked_for_a_guest_s_page() {
    let none = Op::default();
    let file = pebs(&[sample(USER, &none, 0), sample(GUEST_USER, &none, 0)]);
    let folder = scratch();
    let map = format!("7 {:#x} {FRAME:#x}\n", VIRTUAL >> 12 << 12);
    let map = write(folder.path(), "map", map.as_bytes());
    let report = report(&file, &["--page-map", map.to_str().expect("text")]);
    let fields = ["counted", "looked_up", "lookup_failed", "guest_address"];
    assert_eq!(fields.map(|field| of_ledger(&report, field)), [1, 1, 0, 1]);
}

#[test]
fn samples_that_were_recorded_inside_of_a_guest_are_told_by_their_event() {
    // perf inject --guest-data: ids of a machine in ID_INDEX. Inside, even hardware tells frames
    // of the guest's.
    let known = op(data3::PHYSICAL, PHYSICAL);
    let mut event = event(IBS_OP, "ibs_op//", ALL, 0);
    event.ids.push(FIRST_ID + 1);
    let mut index = Vec::new();
    id_index_of_machines(&mut index, Endian::Little, &[(FIRST_ID, 0), (FIRST_ID + 1, 4242)]);
    let mut made = Made::amd(vec![event]);
    made.raw(&index).sample(&sample(USER, &known, PHYSICAL), ALL);
    for misc in [USER, GUEST_USER] {
        let sample = sample(misc, &known, PHYSICAL);
        made.sample(&Sample { id: FIRST_ID + 1, ..sample }, ALL);
    }
    let file = made.finish();
    let found = report(&file, &[]);
    let fields = ["records", "counted", "guest_accesses", "guest_address"];
    assert_eq!(fields.map(|field| of_ledger(&found, field)), [3, 1, 2, 2]);
    let guests: Vec<_> = records(&file).iter().map(is_guest).collect();
    assert_eq!(guests, [false, true, true]);
}

#[test]
fn a_report_says_in_words_what_became_of_guests() {
    let known = op(data3::PHYSICAL, PHYSICAL);
    let file = ibs(&[sample(GUEST_USER, &known, PHYSICAL), sample(USER, &known, PHYSICAL)], ALL);
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &file);
    let text = folioscope(["report"]).arg(&path).text();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("1 access of virtual machines is counted by the physical"), "{text}");
    assert!(text.contains("guest address 0"), "{text}");
    let without = ibs(&[sample(USER, &known, PHYSICAL)], ALL);
    let path = write(folder.path(), "perf.data", &without);
    let text = folioscope(["report"]).arg(&path).text();
    assert!(!text.contains("guest") && !text.contains("virtual machine"), "{text}");
}
