//! Recordings of a part of a machine: of some CPUs, of one kind of cores, of what a unit's filter
//! let through, or of what `perf inject` made of another recording. None is judged, and each says
//! why; what is whole is judged.

use std::path::Path;

use serde_json::Value;
use tests::made::{IBS_OP, Made, PMU, load};
use tracegen::bytes::Endian;
use tracegen::perf::attr::{flag, sample_type as st};
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::record::aux_flag;
use tracegen::perf::sample::data_src;
use tracegen::perf::tool::{self, AuxtraceInfo, CpuMap};
use tracegen::perf::{Attr, Event, Sample};
use tracegen::spe::{MIDR_NEOVERSE_N1, Packet, Width, address, event, operation};

use crate::program::{check_ledger, counts, folioscope, of_ledger, scratch, write};

/// The pages that are accessed: two of one block, often enough for a verdict.
const PAGES: [u64; 2] = [0x1_2340, 0x1_2347];
const ACCESSES: u64 = 300;
/// Times in ticks of 40 ns, a millisecond apart.
const TICKS: u64 = 25_000;

/// What is said of a recording: its report, and what decisions say on standard error.
struct Said {
    report: Value,
    sparse: u64,
    filtered: u64,
    notes: String,
    warned: String,
}

fn said(recording: &[u8], options: &[&str]) -> Said {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).args(options).arg(&path).json();
    check_ledger(&report);
    let decisions = folioscope(["decisions"]).args(options).arg(&path).run().succeeded();
    let verdict = |name: &str| report["verdicts"][name].as_u64().expect("a count");
    Said {
        sparse: verdict("sparse"),
        filtered: verdict("filtered"),
        notes: report["notes"].to_string(),
        warned: decisions.stderr.clone(),
        report,
    }
}

/// Nothing is judged, for this reason, unless it is asked for all the same.
fn not_judged(recording: &[u8], why: &str, name: &str) {
    let told = said(recording, &[]);
    assert_eq!((told.sparse, told.filtered), (0, 1), "{name}: {}", told.report);
    for where_ in [&told.notes, &told.warned] {
        assert!(where_.contains(why), "{name}: {where_}");
    }
    let assumed = said(recording, &["--assume-complete"]);
    assert_eq!((assumed.sparse, assumed.filtered), (1, 0), "{name}: {}", assumed.report);
}

fn judged(recording: &[u8], name: &str) {
    let told = said(recording, &[]);
    assert_eq!((told.sparse, told.filtered), (1, 0), "{name}: {}", told.notes);
    assert_eq!(told.warned, "", "{name}");
}

/// The event of a unit of Arm SPE.
fn spe(unit: &str, kind: u32, ids: core::ops::Range<u64>) -> Event {
    let attr = Attr {
        kind,
        size: 144,
        config: 1 | 1 << 1 | 1 << 16,
        sample_period: 1024,
        sample_type: st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU,
        flags: flag::SAMPLE_ID_ALL,
        ..Attr::default()
    };
    Event { attr, ids: ids.collect(), name: format!("{unit}/ts_enable=1,pa_enable=1,jitter=1/") }
}

/// An Arm machine.
struct Arm {
    cpus: u32,
    command: &'static str,
    pmus: Vec<(u32, &'static str)>,
    event: Event,
    stream: bool,
    /// Records behind the features.
    records: Vec<u8>,
}

impl Arm {
    /// One with so many CPUs, all of them recorded.
    fn new(cpus: u32) -> Self {
        Self {
            cpus,
            command: "/usr/bin/perf record -a -e arm_spe_0// -- sleep 10",
            pmus: vec![(1, "software"), (PMU, "arm_spe_0")],
            event: spe("arm_spe_0", PMU, 100..100 + u64::from(cpus)),
            stream: false,
            records: Vec::new(),
        }
    }

    fn recording(&self) -> Vec<u8> {
        let mut features = Features::new(Endian::Little);
        let events = [self.event.clone()];
        features
            .text(bit::OSRELEASE, "6.12.0")
            .text(bit::ARCH, "aarch64")
            .text(bit::CPUID, &format!("{MIDR_NEOVERSE_N1:#018x}"))
            .command(&self.command.split(' ').collect::<Vec<_>>())
            .pmus(&self.pmus)
            .events(&events);
        if self.cpus > 0 {
            features.cpus(self.cpus);
        }
        let mut made = Made::with(Endian::Little, self.stream, events.to_vec(), features);
        made.raw(&self.records).clock();
        if self.records.is_empty() || self.records[0] != 70 {
            made.info();
        }
        let data: Vec<u8> = (0..ACCESSES)
            .flat_map(|number| load(PAGES[usize::from(number % 2 == 1)], 1000 + number * TICKS))
            .collect();
        made.aux(1, 0, data.len() as u64, 0).piece(1, 0, &data).round();
        made.finish()
    }
}

/// Records that a tool wrote.
fn records(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn some_cpus_of_a_machine_are_not_judged() {
    let one = "only CPU 1 of 80 was recorded";
    let rows = [
        ("perf record -C 1 -e arm_spe_0// -o x -- sleep 10", one),
        ("perf record -e arm_spe_0// --cpu=1", one),
        ("perf record -C 0-78 -e arm_spe_0//", "only CPUs 0-78 of 80 were recorded"),
        ("perf mem record -a -- -C 1 sleep 10", one),
    ];
    for (command, why) in rows {
        for stream in [false, true] {
            let arm = Arm { command, stream, ..Arm::new(80) };
            not_judged(&arm.recording(), why, command);
        }
    }
    let command = rows[0].0;
    let unknown = Arm { command, ..Arm::new(0) };
    not_judged(&unknown.recording(), "only CPU 1 was recorded", "how many there are is not told");
    for (command, cpus) in [
        ("perf record -a -e arm_spe_0// -- make -C 1", 80),
        ("perf record -p 4242 -C 1 -e arm_spe_0//", 80),
        ("perf record -e arm_spe_0// -- taskset -c 1 true", 80),
        ("perf record -C 0-79 -e arm_spe_0//", 80),
        ("perf record -C 0 -e arm_spe_0//", 1),
    ] {
        judged(&Arm { command, ..Arm::new(cpus) }.recording(), command);
    }
}

/// Where the command is not told, as `perf inject` leaves it, or not that of perf's.
#[test]
fn records_tell_of_the_cpus_too() {
    const COMMAND: &str = "program";
    let some = spe("arm_spe_0", PMU, 101..103);
    let place = |event: &Event, thread: u64| {
        records(|out| {
            let rows: Vec<_> = event.ids.iter().map(|id| (*id, id - 100, thread)).collect();
            tool::id_index_of(out, Endian::Little, &rows);
        })
    };
    let map = |map: CpuMap<'_>| records(|out| tool::cpu_map(out, Endian::Little, map));
    let unit = |cpus: &[u16]| {
        records(|out| tool::event_cpus(out, Endian::Little, 101, CpuMap::List(cpus)))
    };
    let blocks = |cpus| {
        let info = AuxtraceInfo::V2 { pmu: PMU, cpus, midr: MIDR_NEOVERSE_N1 };
        records(|out| info.write(out, Endian::Little))
    };
    let two = "only CPUs 1-2 of 8 were recorded";
    let rows = [
        ("ID_INDEX", place(&some, u64::MAX), Some(two)),
        ("ID_INDEX of a process", place(&some, 4242), None),
        ("ID_INDEX of all", place(&spe("", PMU, 100..108), u64::MAX), None),
        ("CPU_MAP, a list", map(CpuMap::List(&[1, 2])), Some(two)),
        ("CPU_MAP, a mask", map(CpuMap::Mask(&[0b110])), Some(two)),
        ("CPU_MAP, a range", map(CpuMap::Range(1, 2)), Some(two)),
        ("CPU_MAP of all", map(CpuMap::Range(0, 7)), None),
        ("CPU_MAP of any", map(CpuMap::List(&[u16::MAX])), None),
        ("the unit's CPUs", unit(&[1, 2]), Some(two)),
        ("all have the unit", unit(&[0, 1, 2, 3, 4, 5, 6, 7]), None),
        ("AUXTRACE_INFO", blocks(3), Some("only CPUs 0-2 of 8 were recorded")),
        ("AUXTRACE_INFO of all", blocks(8), None),
    ];
    for (name, records, why) in rows {
        let event = match name {
            "ID_INDEX of all" => spe("arm_spe_0", PMU, 100..108),
            _ => some.clone(),
        };
        let arm = Arm { command: COMMAND, event, records, ..Arm::new(8) };
        match why {
            Some(why) => not_judged(&arm.recording(), why, name),
            None => judged(&arm.recording(), name),
        }
    }
}

#[test]
fn a_unit_of_arm_spe_that_was_not_recorded() {
    let pmus = vec![(PMU, "arm_spe_0"), (PMU + 1, "arm_spe_1")];
    let arm = Arm { pmus, ..Arm::new(8) };
    not_judged(&arm.recording(), "one kind of cores was not recorded: arm_spe_1", "one of two");
}

#[test]
fn settings_of_arm_spe_that_are_not_known_may_filter() {
    for (name, change) in [
        ("config 0x80000000000", (|attr| attr.config |= 1 << 43) as fn(&mut Attr)),
        ("config 0x8", |attr| attr.config |= 1 << 3),
        ("config2 0x1000", |attr| attr.config2 = 1 << 12),
    ] {
        let mut arm = Arm::new(8);
        change(&mut arm.event.attr);
        not_judged(&arm.recording(), &format!("may leave out accesses ({name})"), name);
    }
    // pct_enable says which timer timestamps are of.
    let mut arm = Arm::new(8);
    arm.event.attr.config |= 1 << 2;
    judged(&arm.recording(), "pct_enable");
}

const FIELDS: u64 = st::IDENTIFIER
    | st::IP
    | st::TID
    | st::TIME
    | st::ADDR
    | st::CPU
    | st::DATA_SRC
    | st::PHYS_ADDR;

/// The name of an event, the type of its unit, its config and config1.
type Asked<'a> = (&'a str, u32, u64, u64);

/// Samples of events of an x86 machine with 8 CPUs.
fn samples(
    cpuid: &str,
    pmus: &[(u32, &str)],
    cores: &[(&str, &str)],
    asked: &[Asked<'_>],
) -> Vec<u8> {
    let events: Vec<_> = (100..)
        .zip(asked)
        .map(|(id, (name, kind, config, config1))| {
            let precise = if name.starts_with("ibs") { 0 } else { flag::PRECISE_1 };
            let attr = Attr {
                kind: *kind,
                size: 128,
                config: *config,
                config1: *config1,
                sample_period: 10_007,
                sample_type: FIELDS,
                flags: flag::SAMPLE_ID_ALL | precise,
                ..Attr::default()
            };
            Event { attr, ids: vec![id], name: (*name).to_owned() }
        })
        .collect();
    let mut features = Features::new(Endian::Little);
    features
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::ARCH, "x86_64")
        .text(bit::CPUID, cpuid)
        .cpus(8)
        .pmus(pmus)
        .events(&events);
    if !cores.is_empty() {
        features.hybrid_topology(cores);
    }
    let ids: Vec<_> = events.iter().map(|event| event.ids[0]).collect();
    let mut made = Made::with(Endian::Little, false, events, features);
    for number in 0..ACCESSES {
        let page = PAGES[usize::from(number % 2 == 1)];
        let sample = Sample {
            id: ids[usize::try_from(number).expect("small") % ids.len()],
            ip: 0x40_1000,
            pid: 7,
            tid: 7,
            cpu: 1,
            time: number * 1_000_000,
            addr: 0x7f00_0000_0000 + (page << 12),
            phys_addr: page << 12,
            data_src: data_src::OP_LOAD | data_src::LEVEL_L1,
            ..Sample::default()
        };
        made.sample(&sample, FIELDS);
    }
    made.finish()
}

const ALDER_LAKE: &str = "GenuineIntel,6,151,2";
const CORES: [(&str, &str); 2] = [("cpu_core", "0-3"), ("cpu_atom", "4-7")];
const HYBRID: [(u32, &str); 3] = [(4, "cpu_core"), (10, "cpu_atom"), (1, "software")];
const P_LOADS: Asked<'_> = ("cpu_core/mem_inst_retired.all_loads/P", 4, 0x81d0, 0);
const P_STORES: Asked<'_> = ("cpu_core/mem_inst_retired.all_stores/P", 4, 0x82d0, 0);
const E_LOADS: Asked<'_> = ("cpu_atom/mem_uops_retired.all_loads/P", 10, 0x81d0, 0);
const E_STORES: Asked<'_> = ("cpu_atom/mem_uops_retired.all_stores/P", 10, 0x82d0, 0);

#[test]
fn one_kind_of_cores_is_not_judged() {
    let p_cores = [P_LOADS, P_STORES];
    let e_cores = [E_LOADS, E_STORES];
    let both = [p_cores, e_cores].concat();
    let made =
        |cores: &[(&str, &str)], asked: &[Asked<'_>]| samples(ALDER_LAKE, &HYBRID, cores, asked);
    let missing = "one kind of cores was not recorded";
    not_judged(&made(&CORES, &p_cores), &format!("{missing}: cpu_atom, CPUs 4-7"), "P-cores");
    not_judged(&made(&CORES, &e_cores), &format!("{missing}: cpu_core, CPUs 0-3"), "E-cores");
    not_judged(&made(&[], &p_cores), &format!("{missing}: cpu_atom"), "by the units alone");
    judged(&made(&CORES, &both), "both");
    judged(&made(&[], &both), "both, by the units alone");
    // Stores of one kind are no stores of the other.
    let half = [P_LOADS, P_STORES, E_LOADS];
    not_judged(&made(&CORES, &half), "only some loads or stores are sampled (cpu_atom", "half");
    let slow = [P_LOADS, P_STORES, ("cpu_atom/mem-loads,ldlat=30/P", 10, 0x05d0, 30), E_STORES];
    not_judged(&made(&CORES, &slow), "only some loads or stores are sampled (cpu_atom", "slow");
    // A processor with one kind of cores.
    let plain = |asked: &[Asked<'_>]| {
        samples("GenuineIntel,6,106,6", &[(4, "cpu"), (1, "software")], &[], asked)
    };
    let loads = ("mem_inst_retired.all_loads:P", 4, 0x81d0, 0);
    judged(&plain(&[loads, ("mem_inst_retired.all_stores:P", 4, 0x82d0, 0)]), "one kind of cores");
    let some = ("mem_inst_retired.all_stores,cmask=2/P", 4, 0x0200_82d0, 0);
    not_judged(&plain(&[loads, some]), "only some loads or stores", "a counter's condition");
}

#[test]
fn a_filter_of_ibs_is_named() {
    let pmus = [(4, "cpu"), (IBS_OP, "ibs_op")];
    let made = |config, config1| {
        let asked = [("ibs_op//", IBS_OP, config, config1)];
        samples("AuthenticAMD,26,80,0", &pmus, &[], &asked)
    };
    judged(&made(0, 0), "no filter");
    judged(&made(1 << 19, 0), "cnt_ctl");
    not_judged(&made(0, 1 << 12), "only streaming stores were recorded", "strmst");
    not_judged(&made(1 << 16, 0), "only misses of the last-level cache", "l3missonly");
    not_judged(&made(0, 128), "only loads of some latency were recorded", "ldlat");
    not_judged(&made(0, 1 << 13), "may leave out accesses (config1 0x2000)", "of a later kernel");
}

/// Names of the events that `perf inject --itrace` makes of a load that misses the caches, and the
/// branch that is no memory operation (`tools/perf/util/arm-spe.c`).
const MADE: [&str; 5] = ["l1d-miss", "l1d-access", "tlb-access", "memory", "branch"];

/// What `perf inject --itrace` makes of 30 loads: several samples of each, events without a period,
/// whose ids are those of the SPE event and a thousand millions. With `--strip` the event is gone.
fn injected(made: &[&str], strip: bool) -> Vec<u8> {
    let mut events = vec![spe("arm_spe_0", PMU, 100..108)];
    if strip {
        events.clear();
    }
    let first = events.len();
    for (id, name) in (1_000_000_100..).zip(made) {
        let attr = Attr {
            kind: 0,
            size: 144,
            sample_type: FIELDS,
            flags: flag::SAMPLE_ID_ALL,
            ..Attr::default()
        };
        events.push(Event { attr, ids: vec![id], name: (*name).to_owned() });
    }
    let mut features = Features::new(Endian::Little);
    features
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::ARCH, "aarch64")
        .command(&["/usr/bin/perf", "inject", "--itrace", "-i", "perf.data"])
        .cpus(8)
        .pmus(&[(1, "software"), (PMU, "arm_spe_0")])
        .events(&events);
    let samples: Vec<_> = events[first..].iter().map(|event| event.ids[0]).collect();
    let mut recording = Made::with(Endian::Little, false, events, features);
    for number in 0..30 {
        let page = PAGES[usize::from(number % 2 == 1)];
        for (name, id) in made.iter().zip(&samples) {
            let memory = *name != "branch";
            let sample = Sample {
                id: *id,
                ip: 0x40_1000,
                pid: 7,
                tid: 7,
                cpu: 1,
                time: number * 1_000_000,
                addr: if memory { 0x7f00_0000_0000 + (page << 12) } else { 0x40_2000 },
                phys_addr: if memory { page << 12 } else { 0 },
                data_src: if memory { data_src::OP_LOAD | data_src::LEVEL_L1 } else { 0 },
                ..Sample::default()
            };
            recording.sample(&sample, FIELDS);
        }
    }
    recording.finish()
}

fn total(path: &Path, options: &[&str]) -> (u64, String) {
    let run = folioscope(["pages"]).args(options).arg(path).run().succeeded();
    (counts(&run.text()).values().sum(), run.stderr)
}

#[test]
fn every_command_warns_of_samples_that_perf_inject_made() {
    let folder = scratch();
    let several = "one hardware record stands in several of them";
    let event_memory = "`--event memory` counts each memory operation once";
    for strip in [false, true] {
        let path = write(folder.path(), "injected.data", &injected(&MADE, strip));
        assert_eq!(total(&path, &[]).0, 4 * 30, "what is counted without a word");
        assert_eq!(total(&path, &["--event", "memory"]).0, 30, "the way that is named is right");
        let picture = folder.path().join("heat.svg");
        let picture = picture.to_str().expect("the path is text");
        for command in
            [&["report"][..], &["pages"], &["records"], &["decisions"], &["heatmap", "-o", picture]]
        {
            let run = folioscope(command).arg(&path).run().succeeded();
            for words in ["perf inject", several, event_memory] {
                assert!(run.stderr.contains(words), "{command:?}: {}", run.stderr);
            }
        }
        let bytes = std::fs::read(&path).expect("it was written");
        let said = said(&bytes, &[]);
        assert_eq!((said.sparse, said.filtered), (0, 1), "{}", said.report);
        for text in [&said.notes, &said.warned] {
            assert!(text.contains("perf inject") && !text.contains("faults"), "{text}");
        }
        assert!(said.warned.contains("no block is judged"), "{}", said.warned);
    }
    // One event, so that nothing stands twice, but something may be missing.
    let path = write(folder.path(), "instructions.data", &injected(&["instructions"], false));
    let (sum, warned) = total(&path, &[]);
    assert_eq!(sum, 30);
    assert!(warned.contains("all of them called instructions"), "{warned}");
    assert!(!warned.contains(several) && !warned.contains("--event"), "{warned}");
    // A recording with its trace.
    let path = write(folder.path(), "spe.data", &Arm::new(8).recording());
    assert_eq!(total(&path, &[]), (ACCESSES, String::new()));
}

#[test]
fn what_to_add_to_the_command_is_told_for_this_machine() {
    let reason = |cpuid: &str, pmus: &[(u32, &str)], cores: &[(&str, &str)], asked: Asked<'_>| {
        let with = samples(cpuid, pmus, cores, &[asked]);
        // The same event without ADDR, PHYS_ADDR and DATA_SRC: no `-d --phys-data`.
        let plain = without_addresses(&with);
        let folder = scratch();
        let path = write(folder.path(), "perf.data", &plain);
        let report = folioscope(["report", "--format", "json"]).arg(&path).json();
        report["reason"].as_str().expect("nothing was counted").to_owned()
    };
    let asked = ("mem_load_retired.l3_miss:P", 4, 0x20d1, 0);
    let plain = reason("GenuineIntel,6,106,6", &[(4, "cpu")], &[], asked);
    assert!(
        plain.contains("samples of mem_load_retired.l3_miss:P have no data address"),
        "{plain}"
    );
    assert!(plain.contains("add -d --phys-data"), "{plain}");
    assert!(plain.contains(heatmap::RECORD_INTEL), "{plain}");
    let hybrid = reason(ALDER_LAKE, &HYBRID, &CORES, P_LOADS);
    assert!(hybrid.contains(heatmap::RECORD_HYBRID), "{hybrid}");
    let amd =
        reason("AuthenticAMD,25,17,1", &[(IBS_OP, "ibs_op")], &[], ("ibs_op//", IBS_OP, 0, 0));
    assert!(amd.contains(heatmap::RECORD_AMD), "{amd}");
    for (said, others) in [
        (&plain, [heatmap::RECORD_SPE, heatmap::RECORD_AMD, "cpu_atom"]),
        (&hybrid, [heatmap::RECORD_SPE, heatmap::RECORD_AMD, heatmap::RECORD_INTEL]),
        (&amd, [heatmap::RECORD_SPE, heatmap::RECORD_INTEL, "cpu_atom"]),
    ] {
        assert!(others.iter().all(|other| !said.contains(other)), "{said}");
    }
}

/// Takes the addresses out of what the events of a file were asked for, and out of its samples.
fn without_addresses(file: &[u8]) -> Vec<u8> {
    let word = |at: usize| {
        usize::try_from(u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")))
            .expect("it fits")
    };
    let mut out = file.to_vec();
    let (stride, attrs, len) = (word(16), word(24), word(32));
    let gone = st::ADDR | st::DATA_SRC | st::PHYS_ADDR;
    for at in (attrs..attrs + len).step_by(stride) {
        let kept = word(at + 24) as u64 & !gone;
        out[at + 24..at + 32].copy_from_slice(&kept.to_le_bytes());
    }
    out
}

/// What was answered well from the beginning.
mod kept {
    use super::*;

    #[test]
    fn branches_alone_are_no_memory_operations() {
        let mut branch = Vec::new();
        for packet in [
            Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
            Packet::Events { bits: event::RETIRED, width: Width::One },
            Packet::Operation { class: operation::BRANCH, payload: 0 },
            Packet::Timestamp(1000),
        ] {
            packet.write(&mut branch);
        }
        let mut made = Made::spe();
        made.aux(1, 0, branch.len() as u64, 0).piece(1, 0, &branch).round();
        let said = said(&made.finish(), &[]);
        let reason = said.report["reason"].to_string();
        assert!(reason.contains("none of a memory operation"), "{reason}");
        assert!(reason.contains(heatmap::RECORD_SPE), "{reason}");
        assert_eq!(of_ledger(&said.report, "not_memory"), 1);
    }

    /// FEAT_LPA2 and what comes after it: the packet has 56 bits of the address.
    #[test]
    fn addresses_of_56_bits_are_counted_in_full() {
        let pfn = 0x00ab_cdef_0123_4000 >> 12;
        let data = load(pfn, 1000);
        let mut made = Made::spe();
        made.aux(1, 0, data.len() as u64, 0).piece(1, 0, &data).round();
        let folder = scratch();
        let path = write(folder.path(), "perf.data", &made.finish());
        assert_eq!(counts(&folioscope(["pages"]).arg(&path).text()), [(pfn, 1)].into());
    }

    /// Two snapshots of a ring that hold the same bytes count them once.
    #[test]
    fn what_two_snapshots_hold_is_counted_once() {
        let data: Vec<u8> =
            (0..64).flat_map(|number| load(PAGES[0] + number, 1000 + number)).collect();
        let mut made = Made::spe();
        let (all, half) = (data.len() as u64, data.len() as u64 / 2);
        made.aux(1, 0, all, aux_flag::OVERWRITE).piece(1, 0, &data);
        let next: Vec<u8> =
            (32..96).flat_map(|number| load(PAGES[0] + number, 1000 + number)).collect();
        made.aux(1, half, all, aux_flag::OVERWRITE).piece(1, half, &next).round();
        let said = said(&made.finish(), &[]);
        assert_eq!(of_ledger(&said.report, "counted"), 96, "{}", said.report["ledger"]);
    }

    #[test]
    fn loads_above_a_latency_on_both_kinds_of_cores_are_not_judged() {
        let asked = [
            ("cpu_core/mem-loads,ldlat=30/P", 4, 0x01cd, 30),
            ("cpu_core/mem-stores/P", 4, 0x02cd, 0),
            ("cpu_atom/mem-loads,ldlat=30/P", 10, 0x05d0, 30),
            ("cpu_atom/mem-stores/P", 10, 0x06d0, 0),
        ];
        let recording = samples(ALDER_LAKE, &HYBRID, &CORES, &asked);
        not_judged(&recording, "only some loads or stores are sampled", "perf mem record");
        let notes = said(&recording, &[]).notes;
        assert!(!notes.contains("one kind of cores"), "{notes}");
    }

    #[test]
    fn addresses_that_the_kernel_hid_are_told_with_the_command_for_amd() {
        let op = tracegen::ibs::Op {
            data3: tracegen::ibs::data3::LOAD
                | tracegen::ibs::data3::LINEAR
                | tracegen::ibs::data3::PHYSICAL,
            linear: 0x7f00_0000_0018,
            ..tracegen::ibs::Op::default()
        };
        let fields = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::RAW;
        let attr = Attr {
            kind: IBS_OP,
            size: 128,
            sample_period: 100_000,
            sample_type: fields,
            ..Attr::default()
        };
        let event = Event { attr, ids: vec![100], name: "ibs_op//".to_owned() };
        let mut made = Made::amd(vec![event]);
        made.sample(&Sample { id: 100, raw: op.raw(), ..Sample::default() }, fields);
        let reason = said(&made.finish(), &[]).report["reason"].to_string();
        assert!(reason.contains("the kernel hid those of 1 IBS samples"), "{reason}");
        assert!(reason.contains(heatmap::RECORD_AMD), "{reason}");
    }
}
