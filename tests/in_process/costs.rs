//! Inputs that were made to take long, and ordinary ones: all take the steps that their size
//! allows. They are written from the numbers in the kernel's and perf's headers.

use tests::container::Parts;
use tests::emulation::thinned;
use tests::inputs::{all, bytes, input};
use tests::laws::{ORDINARY, ORDINARY_COMPRESSED, check_cost};
use tracegen::bytes::Endian;

const SAMPLE: u32 = 9;
const AUX: u32 = 11;
const AUX_OUTPUT_HW_ID: u32 = 21;
const ATTR: u32 = 64;
const AUXTRACE_INFO: u32 = 70;
const AUXTRACE: u32 = 71;
const CPU_MAP: u32 = 74;
const EVENT_UPDATE: u32 = 78;
const FEATURE: u32 = 80;
const COMPRESSED: u32 = 81;
const EVENT_DESC: u64 = 12;
const PMU_MAPPINGS: u64 = 16;
/// Fields of samples: IDENTIFIER, ADDR; and with TID, TIME, CPU for trailers.
const IDENTIFIED: u64 = 1 << 16 | 1 << 3;
const TRAILED: u64 = IDENTIFIED | 1 << 1 | 1 << 2 | 1 << 7;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const AUX_OUTPUT: u64 = 1 << 31;
const SPE: u32 = 11;

/// A stream that is written record by record.
struct Stream(Vec<u8>);

impl Stream {
    fn new() -> Self {
        Self([&b"PERFILE2"[..], &16_u64.to_le_bytes()].concat())
    }

    fn record(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        self.0.extend(kind.to_le_bytes());
        self.0.extend([0, 0]);
        let size = u16::try_from(8 + body.len()).expect("a record is shorter than 64 KiB");
        self.0.extend(size.to_le_bytes());
        self.0.extend(body);
        self
    }

    fn words(&mut self, kind: u32, words: &[u64]) -> &mut Self {
        self.record(kind, &le(words))
    }

    /// HEADER_ATTR.
    fn event(&mut self, type_: u32, sample_type: u64, flags: u64, ids: &[u64]) -> &mut Self {
        self.record(ATTR, &[attr(type_, sample_type, flags), le(ids)].concat())
    }

    /// AUXTRACE_INFO of Arm SPE, version 1, or of Intel PT.
    fn tracer(&mut self, number: u64) -> &mut Self {
        self.words(AUXTRACE_INFO, &[number, u64::from(SPE)])
    }

    /// AUXTRACE of a CPU with its data.
    fn piece(&mut self, cpu: u32, offset: u64, data: &[u8]) -> &mut Self {
        let cpu_and_tid = u64::from(u32::MAX) << 32 | u64::from(cpu);
        self.words(AUXTRACE, &[data.len() as u64, offset, 0, cpu_and_tid, u64::from(cpu)]);
        self.0.extend(data);
        self
    }

    /// A sample record of an event that has IDENTIFIED fields.
    fn sample(&mut self, id: u64) -> &mut Self {
        self.words(SAMPLE, &[id, 0x7f00_1234_5000])
    }
}

fn le(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An attribute of 64 bytes.
fn attr(type_: u32, sample_type: u64, flags: u64) -> Vec<u8> {
    let head = u64::from(type_) | 64 << 32;
    le(&[head, 0, 1, sample_type, 0, flags, 0, 0])
}

/// An EVENT_DESC of one event with these ids.
fn description(name: &str, ids: impl Iterator<Item = u64>) -> Vec<u8> {
    let ids: Vec<_> = ids.collect();
    let count = u32::try_from(ids.len()).expect("few");
    let mut out = [1_u32, 64].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    out.extend(attr(1, IDENTIFIED, 0));
    out.extend(count.to_le_bytes());
    out.extend(64_u32.to_le_bytes());
    out.extend(name.bytes().chain(std::iter::repeat(0)).take(64));
    out.extend(le(&ids));
    out
}

fn feature(number: u64, section: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes()[..], section].concat()
}

/// PMU_MAPPINGS with one unit.
fn unit(name: &str) -> Vec<u8> {
    let mut out = [1_u32, 9, 16].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    out.extend(name.bytes().chain(std::iter::repeat(0)).take(16));
    out
}

/// The law holds for a stream. It says how much of what is allowed was taken.
#[track_caller]
fn allowed(what: &str, stream: &Stream) {
    println!("{what}: {} bytes, {} steps for 64 bytes", stream.0.len(), check_cost(&stream.0));
}

/// What 50 times is measured by.
#[test]
fn ordinary_recordings_take_a_few_steps_for_64_bytes() {
    for name in thinned("recordings", all(), 5) {
        let path = input(name);
        if path.is_dir() {
            continue;
        }
        let file = bytes(path);
        let steps = check_cost(&file);
        println!("{name}: {} bytes, {steps} steps for 64 bytes", file.len());
        // Compressed records take the steps of what they hold.
        let ordinary = if name.ends_with("-z") { ORDINARY_COMPRESSED } else { ORDINARY };
        let most = 2 * ordinary;
        assert!(steps <= most, "{name}: {steps}");
        let size = &file[8..16];
        if size != 16_u64.to_le_bytes() && size != 16_u64.to_be_bytes() {
            check_cost(&Parts::of(&file).stream());
        }
    }
}

#[test]
fn names_that_change_are_not_looked_up_among_all() {
    let mut stream = Stream::new();
    for id in 0..1000 {
        stream.event(1, IDENTIFIED, 0, &[id]);
    }
    // Ids that no event has.
    stream.record(FEATURE, &feature(EVENT_DESC, &description("x", 1_000_000..1_007_000)));
    for number in 0..3000_u64 {
        let name = if number % 2 == 0 { *b"one\0\0\0\0\0" } else { *b"other\0\0\0" };
        stream.words(EVENT_UPDATE, &[2, 500, u64::from_le_bytes(name)]).sample(7);
    }
    allowed("EVENT_UPDATE and SAMPLE in turn", &stream);
}

#[test]
fn events_that_come_late_are_not_looked_at_with_all_others() {
    let mut stream = Stream::new();
    stream.record(FEATURE, &feature(EVENT_DESC, &description("x", 1_000_000..1_007_000)));
    for id in 0..1100 {
        stream.event(1, IDENTIFIED, 0, &[id]).sample(id);
    }
    allowed("attributes and samples in turn", &stream);
}

#[test]
fn features_that_are_said_again_and_again() {
    let mut stream = Stream::new();
    for id in 0..1000 {
        stream.event(1, IDENTIFIED, 0, &[id]);
    }
    for number in 0..3000 {
        let name = if number % 2 == 0 { "ibs_op" } else { "arm_spe_0" };
        stream.record(FEATURE, &feature(PMU_MAPPINGS, &unit(name))).sample(7);
        stream.record(FEATURE, &feature(EVENT_DESC, &description(name, 0..2))).sample(7);
        stream.tracer(4).sample(7);
    }
    allowed("features in turn", &stream);
}

#[test]
fn a_pace_that_changes_all_the_time() {
    let mut stream = Stream::new();
    for id in 0..1000 {
        stream.event(1, IDENTIFIED, 0, &[id]);
    }
    for number in 0..20_000_u64 {
        stream.words(EVENT_UPDATE, &[1, 5, (number % 2).wrapping_mul(1.0_f64.to_bits())]);
    }
    allowed("scales in turn", &stream);
}

#[test]
fn a_pace_that_changes_while_many_rings_are_remembered() {
    let mut stream = Stream::new();
    stream.event(SPE, TRAILED, SAMPLE_ID_ALL, &[1]).tracer(4);
    // Not the numbers of compressed records, which may take more.
    for tid in 100..16_100 {
        stream.words(AUX, &[0, 1, 0, tid << 32 | tid, tid, 0, 1]);
    }
    for number in 0..20_000_u64 {
        stream.words(EVENT_UPDATE, &[1, 1, (number % 2).wrapping_mul(1.0_f64.to_bits())]);
    }
    allowed("scales and rings", &stream);
}

#[test]
fn lists_of_all_cpus() {
    /// A range of CPUs, the greatest that can be written: kind, any, first, last.
    const ALL: u64 = 2 | 0xffff << 48;
    let mut stream = Stream::new();
    stream.event(1, IDENTIFIED, 0, &[1]);
    for _ in 0..10_000 {
        // The CPUs of the machine, and those of an event.
        stream.words(CPU_MAP, &[ALL]).words(EVENT_UPDATE, &[3, 1, ALL]);
    }
    allowed("all CPUs in turn", &stream);
}

#[test]
fn ids_that_sections_of_a_file_share() {
    // A header, 300 attributes whose ids are all of the file, and no records.
    let (attrs, filling) = (300_usize, 40_000_usize);
    let size = (104 + attrs * 80 + filling) as u64;
    let mut file = b"PERFILE2".to_vec();
    file.extend(le(&[104, 80, 104, attrs as u64 * 80, size, 1, 0, 0, 0, 0, 0, 0]));
    for number in 0..attrs as u64 {
        file.extend(attr(1, IDENTIFIED, 0));
        file.extend(le(&[number * 8, size - number * 8]));
    }
    file.extend((0..filling).map(|byte| (byte * 7).to_le_bytes()[0]));
    println!("shared ids: {} steps for 64 bytes", check_cost(&file));
}

#[test]
fn pieces_without_bytes_and_losses_that_never_come() {
    let mut stream = Stream::new();
    stream.event(SPE, TRAILED, SAMPLE_ID_ALL, &[1]).tracer(4);
    // Body, then the trailer: pid and tid, time, CPU, identifier.
    for number in 0..1024 {
        stream.words(AUX, &[1 << 40 | number, 1, 1, 5 << 32 | 5, number, 3, 1]);
    }
    for number in 0..4000_u64 {
        // On, and back again.
        stream.piece(3, number % 7 * 4096, &[]);
    }
    allowed("AUXTRACE without bytes", &stream);
}

#[test]
fn a_queue_of_many_losses() {
    let mut stream = Stream::new();
    stream.event(SPE, TRAILED, SAMPLE_ID_ALL, &[1]).tracer(4);
    for round in 0..8_u64 {
        for number in 0..1024 {
            stream.words(AUX, &[round * 1024 + number, 1, 1, 5 << 32 | 5, number, 3, 1]);
        }
        stream.piece(3, round * 1024, &[1; 1024]);
    }
    allowed("losses", &stream);
}

#[test]
fn queues_of_one_byte() {
    let mut stream = Stream::new();
    for id in 0..1000 {
        stream.event(100, TRAILED, SAMPLE_ID_ALL | AUX_OUTPUT, &[id]);
    }
    // Version 2 of the info of Arm SPE: a header, then a block for each CPU.
    let block = |cpu| [0x1010_1010_1010_1010, cpu, 4, 0x410f_d0c0 + cpu, u64::from(SPE), 1024, 7];
    let blocks: Vec<u64> = (0..1000).flat_map(block).collect();
    stream.words(AUXTRACE_INFO, &[&[4, 2, 5, u64::from(SPE), 1000, 0][..], &blocks].concat());
    for cpu in 0..17_000 {
        stream.piece(16_000_000 - cpu, 0, &[1]);
    }
    allowed("queues of SPE", &stream);
    stream.tracer(1);
    for cpu in 0..17_000 {
        stream.piece(cpu, 0, &[0]);
    }
    allowed("queues of PT", &stream);
}

#[test]
fn counters_of_many_events() {
    let mut stream = Stream::new();
    for id in 0..1000 {
        stream.event(1, TRAILED, SAMPLE_ID_ALL | AUX_OUTPUT, &[id]);
    }
    for number in 0..5000 {
        stream.words(AUX_OUTPUT_HW_ID, &[number % 64, 5 << 32 | 5, number, 3, number % 1000]);
    }
    allowed("AUX_OUTPUT_HW_ID", &stream);
}

#[test]
fn tasks_and_switches() {
    let mut stream = Stream::new();
    stream.event(1, TRAILED, SAMPLE_ID_ALL, &[1]);
    for number in 0..10_000_u64 {
        let task = number << 32 | number;
        // COMM, FORK, MMAP2's beginning, ITRACE_START, SWITCH, SWITCH_CPU_WIDE.
        stream.words(3, &[task, 0x6d6d_6f63, task, number, 3, 1]);
        stream.words(7, &[task, task, number, task, number, 3, 1]);
        stream.words(10, &[task, 0, task, number, 3, 1]);
        stream.words(12, &[task, task, number, 3, 1]);
        stream.words(14, &[task, 100_000 - number, number % 5000, 1]);
        stream.words(15, &[task, task, number / 2, 3, 1]);
    }
    allowed("tasks", &stream);
}

/// COMPRESSED records of at most this many bytes that become `records`.
fn compressed(records: &[u8], longest: usize) -> Stream {
    let mut stream = Stream::new();
    stream.event(1, IDENTIFIED, 0, &[1]);
    let frame = zstd::bulk::compress(records, 19).expect("memory takes all");
    for part in frame.chunks(longest) {
        stream.record(COMPRESSED, part);
    }
    stream
}

#[test]
fn compressed_records_that_grow_without_measure() {
    let least = [99, 0, 0, 0, 0, 0, 8, 0].repeat(4 << 20);
    allowed("short records", &compressed(&least, 60_000));
    let long = [&[99, 0, 0, 0, 0, 0, 0xf8, 0xff][..], &vec![0; 65_520]].concat().repeat(1500);
    allowed("long records", &compressed(&long, 60_000));
}

#[test]
fn a_record_that_is_compressed_byte_by_byte() {
    let noise: Vec<u8> =
        (0..65_520_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let long = [&[99, 0, 0, 0, 0, 0, 0xf8, 0xff][..], &noise].concat();
    allowed("byte by byte", &compressed(&long, 1));
}

#[test]
fn a_list_of_features_in_either_byte_order_is_no_attack() {
    // The law's own streams are of one byte order; a recording of the other is ordinary too.
    let made = tests::made::Made::of(Endian::Big, true, vec![tests::made::spe_event()], "6.12.0");
    assert!(check_cost(&made.finish()) <= 2 * ORDINARY);
}
