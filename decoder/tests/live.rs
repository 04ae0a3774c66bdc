//! Rings in memory, filled as the kernel fills them: nothing is lost that they held, every byte is
//! accounted for, and what comes out is what the same bytes give as a stream and as a file.

use std::collections::VecDeque;
use std::io::{self, Cursor};
use std::num::NonZeroUsize;

use decoder::live::{
    About, CpuRings, EventAbout, FileWriter, MemoryRing, Passed, RecordingWriter, Ring,
    SpeCpuAbout, StreamWriter, TimeConversion, decode,
};
use decoder::perf::Auxtrace;
use decoder::{Access, Ledger, Options, Origin, Shard, Sink, TraceOffset};
use proptest::prelude::*;
use tracegen::bytes::Endian;
use tracegen::perf::record::{Record, Trailer, aux_flag};

/// The unit's `attr.type`, and the ids of its event and of the one that tells of tasks.
const PMU: u32 = 11;
const SPE_ID: u64 = 100;
const TASK_ID: u64 = 200;
/// IDENTIFIER, TID, TIME, CPU: the fields of a trailer.
const TRAILER: u64 = 1 << 16 | 1 << 1 | 1 << 2 | 1 << 7;
/// Bytes of a record.
const RECORD: usize = 64;

/// A load as a Neoverse N1 writes it, of this physical address: by hand, from the manual.
fn load(paddr: u64, ticks: u64) -> [u8; RECORD] {
    let mut record = [
        0xb0, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x64, 0x92, 0x10, 0, 0, 0x49, 0x00, 0x52, 0x16,
        0x00, 0x99, 0x04, 0x00, 0x98, 0x14, 0x00, 0xb2, 0x28, 0x6b, 0x09, 0x03, 0x37, 0x0e, 0xff,
        0x00, 0x9a, 0x01, 0x00, 0xb3, 0x00, 0x70, 0x56, 0x34, 0x12, 0, 0, 0x80, 0x43, 0x00, 0, 0,
        0, 0, 0, 0, 0, 0x71, 0xe8, 0x03, 0, 0, 0, 0, 0, 0,
    ];
    // The physical address behind its header 0xb3, with the bit that says it is not secure.
    record[38..45].copy_from_slice(&paddr.to_le_bytes()[..7]);
    record[56..64].copy_from_slice(&ticks.to_le_bytes());
    record
}

/// Bytes of packets among the first ones of a record: it has seven of padding behind 48.
fn without_padding(len: u64) -> u64 {
    len.min(48) + len.saturating_sub(55)
}

fn attr(type_: u32, config: u64, sample_type: u64) -> Vec<u8> {
    let mut attr = vec![0; 128];
    for (at, value) in [(0, type_), (4, 128)] {
        attr[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let sample_id_all = 1 << 18;
    for (at, value) in [(8, config), (16, 1024), (24, sample_type), (40, sample_id_all)] {
        attr[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    attr
}

fn about(cpus: u32) -> About {
    let event = |attr, id: u64, name: &str| EventAbout {
        attr,
        ids: (id..id + u64::from(cpus)).collect(),
        name: name.to_owned(),
        cpus: None,
    };
    let spe = |cpu| SpeCpuAbout { cpu, midr: 0x410f_d0c0, pmu_type: PMU, min_interval: 1024 };
    About {
        events: vec![
            event(attr(PMU, 3, TRAILER | 1 | 1 << 15 | 1 << 19), SPE_ID, "arm_spe_0/pa_enable=1/"),
            event(attr(1, 9, TRAILER | 1), TASK_ID, "dummy:u"),
        ],
        features: Vec::new(),
        time: Some(TimeConversion { shift: 0, mult: 1, zero: 0, short: None }),
        spe: (0..cpus).map(spe).collect(),
        tasks: Vec::new(),
    }
}

/// What the kernel does in one step on one CPU.
#[derive(Clone, Debug)]
enum Step {
    /// Its unit writes records until it is interrupted, with these flags.
    Trace { records: usize, collision: bool },
    /// The same, but a fault cuts the last record after so many words.
    Fault { records: usize, words: usize },
    /// It writes records of tasks.
    Tasks(usize),
}

/// A CPU as the kernel sees it.
struct Cpu {
    number: u32,
    /// The ring was full: its unit is off until it is told to go on.
    off: bool,
    /// Records that found no room and were not told of yet.
    lost: u64,
    next: u64,
    told: Told,
}

/// What the kernel knows that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    addresses: Vec<u64>,
    aux_bytes: u64,
    cut_off: u64,
    truncated: u64,
    partial: u64,
    collision: u64,
    lost: u64,
    tasks: u64,
    /// An AUX record with a flag found no room.
    flag_lost: bool,
}

impl Cpu {
    fn trailer(&self, id: u64) -> Trailer {
        let cpu = self.number;
        Trailer { pid: 7, tid: 8, time: 1000, id: id + u64::from(cpu), cpu }
    }

    /// Writes a record, and before it one of those that found no room. `perf_output_begin` asks
    /// for room for both.
    fn record(&mut self, lane: &mut CpuRings<MemoryRing>, record: Record<'_>) -> bool {
        let mut bytes = Vec::new();
        if self.lost > 0 {
            let lost = Record::Lost { id: SPE_ID, lost: self.lost };
            lost.write(&mut bytes, Endian::Little, TRAILER, &self.trailer(SPE_ID));
        }
        record.write(&mut bytes, Endian::Little, TRAILER, &self.trailer(SPE_ID));
        if lane.records.ring_mut().write(&bytes) {
            self.told.lost += std::mem::take(&mut self.lost);
            return true;
        }
        self.lost += 1;
        false
    }

    fn aux(&mut self, lane: &mut CpuRings<MemoryRing>, bytes: &[u8], mut flags: u64) {
        let ring = lane.aux.as_mut().expect("it has one").ring_mut();
        let offset = ring.head();
        // What does not fit was never written; whole records alone were.
        let room = ring.room() / RECORD * RECORD;
        let fits = if bytes.len() > room { room } else { bytes.len() };
        let truncated = fits < bytes.len();
        // The head is seen only after the record, so it is written first here too; the bytes are
        // not looked at before.
        flags |= if truncated { aux_flag::TRUNCATED } else { 0 };
        if truncated {
            flags &= !aux_flag::PARTIAL;
        }
        let size = fits as u64;
        let written =
            size == 0 && flags == 0 || self.record(lane, Record::Aux { offset, size, flags });
        let told = &mut self.told;
        if written {
            told.truncated += u64::from(flags & aux_flag::TRUNCATED > 0);
            told.partial += u64::from(flags & aux_flag::PARTIAL > 0);
            told.collision += u64::from(flags & aux_flag::COLLISION > 0);
        } else {
            told.flag_lost |= flags & !aux_flag::COLLISION > 0;
        }
        self.off = flags & aux_flag::TRUNCATED > 0;
        let ring = lane.aux.as_mut().expect("it has one").ring_mut();
        assert!(ring.write(&bytes[..fits]));
        told.aux_bytes += size;
        told.cut_off += without_padding(size % RECORD as u64);
        let whole = bytes[..fits].chunks_exact(RECORD);
        told.addresses.extend(whole.map(|record| {
            let mut paddr = [0; 8];
            paddr[..7].copy_from_slice(&record[38..45]);
            u64::from_le_bytes(paddr)
        }));
    }

    fn step(&mut self, lane: &mut CpuRings<MemoryRing>, step: &Step) {
        let mut records = |count: usize| -> Vec<u8> {
            let numbers = self.next..self.next + count as u64;
            self.next = numbers.end;
            let cpu = u64::from(self.number);
            numbers.flat_map(|number| load(cpu << 40 | number << 12 | 8, 5000 + number)).collect()
        };
        match step {
            Step::Trace { .. } | Step::Fault { .. } if self.off => {}
            Step::Trace { records: count, collision } => {
                let flags = if *collision { aux_flag::COLLISION } else { 0 };
                let bytes = records(*count);
                self.aux(lane, &bytes, flags);
            }
            Step::Fault { records: count, words } => {
                let mut bytes = records(count + 1);
                bytes.truncate(count * RECORD + words * 8);
                self.aux(lane, &bytes, aux_flag::PARTIAL);
            }
            Step::Tasks(count) => {
                for _ in 0..*count {
                    let comm = Record::Comm { pid: 7, tid: 8, comm: "worker", exec: false };
                    self.told.tasks += u64::from(self.record(lane, comm));
                }
            }
        }
    }
}

/// Hands everything to three outlets, and looks at where it lies.
struct Tee<'o, A> {
    decoding: &'o mut A,
    stream: StreamWriter<Vec<u8>>,
    file: FileWriter<Cursor<Vec<u8>>>,
    comms: u64,
}

impl<A: RecordingWriter> RecordingWriter for Tee<'_, A> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.stream.begin(about)?;
        self.file.begin(about)?;
        self.decoding.begin(about)
    }

    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()> {
        self.stream.more_ids(event)?;
        self.file.more_ids(event)?;
        self.decoding.more_ids(event)
    }

    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()> {
        self.stream.scale(id, factor)?;
        self.file.scale(id, factor)?;
        self.decoding.scale(id, factor)
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        let mut rest = records;
        while !rest.is_empty() {
            let size = usize::from(u16::from_le_bytes([rest[6], rest[7]]));
            self.comms += u64::from(rest[0] == 3);
            rest = &rest[size..];
        }
        self.stream.records(records)?;
        self.file.records(records)?;
        self.decoding.records(records)
    }

    fn aux(&mut self, piece: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        self.stream.aux(piece, bytes)?;
        self.file.aux(piece, bytes)?;
        self.decoding.aux(piece, bytes)
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.stream.pass_ended()?;
        self.file.pass_ended()?;
        self.decoding.pass_ended()
    }
}

#[derive(Debug, Default)]
struct List {
    accesses: Vec<Access>,
    others: u64,
}

impl Sink for List {
    fn access(&mut self, access: &Access) {
        self.accesses.push(*access);
    }

    fn other(&mut self, _: &Origin) {
        self.others += 1;
    }
}

impl Shard for List {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.accesses.extend(other.accesses);
        self.others += other.others;
    }
}

/// What a capture came to.
struct Captured {
    list: List,
    ledger: Ledger,
    passed: Passed,
    told: Vec<Told>,
    comms: u64,
    stream: Vec<u8>,
    file: Vec<u8>,
}

/// Runs steps on CPUs, emptying all rings where a step says so, and at the end.
fn run(cpus: u32, record_len: usize, aux_len: usize, steps: &[Option<(u32, Step)>]) -> Captured {
    let mut lanes: Vec<_> = (0..cpus)
        .map(|cpu| {
            // Counts that wrap around 2^64 are the usual case after all.
            let records = MemoryRing::new(record_len, 0u64.wrapping_sub(u64::from(cpu) * 120));
            CpuRings::new(cpu, Some(cpu), records, Some(MemoryRing::new(aux_len, 0)))
        })
        .collect();
    let mut kernel: VecDeque<_> = (0..cpus)
        .map(|number| Cpu { number, off: false, lost: 0, next: 1, told: Told::default() })
        .collect();
    let mut list = List::default();
    let mut passed = Passed::default();
    let (recording, (comms, stream, file)) = decode(&mut list, |decoding| {
        let stream = StreamWriter::new(Vec::new());
        let file = FileWriter::new(Cursor::new(Vec::new()));
        let mut tee = Tee { decoding, stream, file, comms: 0 };
        tee.begin(&about(cpus))?;
        let mut pass = |lanes: &mut Vec<CpuRings<MemoryRing>>,
                        kernel: &mut VecDeque<Cpu>,
                        tee: &mut Tee<'_, _>,
                        last: bool|
         -> io::Result<()> {
            for (lane, cpu) in lanes.iter_mut().zip(kernel) {
                let one = lane.drain(last, tee)?;
                // What the loop does with the unit.
                cpu.off &= one.truncated + one.lost == 0;
                passed.add(&one);
            }
            tee.pass_ended()
        };
        for step in steps {
            match step {
                Some((cpu, step)) => {
                    let number = usize::try_from(cpu % cpus).expect("small");
                    kernel[number].step(&mut lanes[number], step);
                }
                None => pass(&mut lanes, &mut kernel, &mut tee, false)?,
            }
        }
        pass(&mut lanes, &mut kernel, &mut tee, true)?;
        for lane in &lanes {
            let aux = lane.aux.as_ref().expect("it has one").ring();
            assert_eq!(
                (aux.tail(), lane.records.ring().tail()),
                (aux.head(), lane.records.ring().head())
            );
        }
        io::Result::Ok((tee.comms, tee.stream.finish()?, tee.file.finish()?.into_inner()))
    })
    .expect("memory takes everything");
    let told = kernel.into_iter().map(|cpu| cpu.told).collect();
    Captured { list, ledger: recording.ledger, passed, told, comms, stream, file }
}

/// The accesses in a recording, without their places in it.
fn decoded(bytes: &[u8], threads: usize) -> (Vec<Access>, Ledger) {
    let mut list = List::default();
    let options = Options::new(NonZeroUsize::new(threads).expect("some"));
    let options = Options { ordered: threads == 1, ..options };
    let recording = decoder::decode_bytes(&[bytes], 0, &options, &mut list).expect("a recording");
    assert_eq!(recording.problem_count, 0, "{:?}", recording.problems);
    (list.accesses, recording.ledger)
}

fn without_places(accesses: &[Access]) -> Vec<Access> {
    let mut accesses = accesses.to_vec();
    accesses.iter_mut().for_each(|access| access.origin.position.offset = TraceOffset(0));
    accesses
}

fn check(captured: &Captured) {
    let Captured { list, ledger, passed, told, comms, stream, file } = captured;
    let sum = |field: fn(&Told) -> u64| told.iter().map(field).sum::<u64>();
    assert_eq!(ledger.aux_bytes, sum(|told| told.aux_bytes));
    let parts = ledger.record_bytes + ledger.padding_bytes + ledger.skipped_bytes;
    assert_eq!(parts + ledger.cut_off_bytes, ledger.aux_bytes);
    assert_eq!(
        (ledger.aux_truncated, ledger.aux_partial, ledger.aux_collision, ledger.lost_records),
        (
            sum(|told| told.truncated),
            sum(|told| told.partial),
            sum(|told| told.collision),
            sum(|told| told.lost)
        )
    );
    assert_eq!((passed.truncated, passed.lost), (ledger.aux_truncated, ledger.lost_records));
    assert_eq!((passed.collisions, passed.partial), (ledger.aux_collision, ledger.aux_partial));
    assert_eq!((passed.aux_bytes, passed.unreadable), (ledger.aux_bytes, 0));
    assert_eq!(*comms, sum(|told| told.tasks), "records that the ring held");
    for (cpu, told) in (0u32..).zip(told).filter(|(_, told)| !told.flag_lost) {
        let of_cpu = list.accesses.iter().filter(|access| access.origin.cpu == Some(cpu));
        let got: Vec<_> = of_cpu.filter_map(|access| Some(access.paddr?.get())).collect();
        assert_eq!(got, told.addresses, "CPU {cpu}");
    }
    if told.iter().all(|told| !told.flag_lost) {
        assert_eq!(ledger.cut_off_bytes, sum(|told| told.cut_off));
        assert_eq!(ledger.skipped_bytes, 0);
        let records = list.accesses.len() as u64;
        assert_eq!(ledger.record_bytes, records * without_padding(RECORD as u64));
    }

    let (of_stream, stream_ledger) = decoded(stream, 1);
    assert_eq!(list.accesses, of_stream, "a stream has the very same bytes");
    assert_eq!(*ledger, stream_ledger);
    let (of_file, file_ledger) = decoded(file, 1);
    assert_eq!(without_places(&list.accesses), without_places(&of_file));
    assert_eq!(*ledger, file_ledger);
    let (mut of_threads, threads_ledger) = decoded(file, 2);
    of_threads.sort_by_key(|access| access.origin.position);
    assert_eq!(without_places(&of_threads), without_places(&of_file));
    assert_eq!(*ledger, threads_ledger);
}

fn steps(cpus: u32) -> impl Strategy<Value = Vec<Option<(u32, Step)>>> {
    let step = prop_oneof![
        4 => (0usize..40, any::<bool>())
            .prop_map(|(records, collision)| Step::Trace { records, collision }),
        1 => (0usize..10, 1usize..8).prop_map(|(records, words)| Step::Fault { records, words }),
        2 => (0usize..30).prop_map(Step::Tasks),
    ];
    let step = prop_oneof![3 => (0..cpus, step).prop_map(Some), 1 => Just(None)];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn nothing_is_lost_that_the_rings_held(steps in steps(3), long in any::<bool>()) {
        // Short rings wrap, fill and lose at every turn; in long ones nothing is lost.
        let (record_len, aux_len) = if long { (1 << 16, 1 << 18) } else { (1 << 10, 1 << 11) };
        let captured = run(3, record_len, aux_len, &steps);
        check(&captured);
        if long {
            prop_assert_eq!(captured.ledger.aux_truncated + captured.ledger.lost_records, 0);
        }
    }
}

#[test]
fn a_full_ring_goes_on_after_it_was_emptied() {
    let trace = |records| Some((0, Step::Trace { records, collision: false }));
    // 32 records fit.
    let captured = run(1, 1 << 10, 1 << 11, &[trace(40), trace(5), None, trace(8), None]);
    check(&captured);
    assert_eq!(captured.ledger.aux_truncated, 1);
    assert_eq!(captured.told[0].addresses.len(), 32 + 8, "off between the two");
}

#[test]
fn what_a_fault_cut_is_cut_off() {
    let steps = [
        Some((0, Step::Fault { records: 3, words: 5 })),
        None,
        Some((0, Step::Trace { records: 4, collision: true })),
    ];
    let captured = run(1, 1 << 10, 1 << 11, &steps);
    check(&captured);
    let ledger = captured.ledger;
    assert_eq!((ledger.cut_off_bytes, ledger.aux_partial, ledger.aux_collision), (40, 1, 1));
    assert_eq!(captured.list.accesses.len(), 7);
}

#[test]
fn records_that_found_no_room_are_told_of() {
    let tasks = |count| Some((0, Step::Tasks(count)));
    let captured = run(1, 1 << 10, 1 << 11, &[tasks(50), None, tasks(1)]);
    check(&captured);
    assert!(captured.ledger.lost_records > 0);
    assert_eq!(captured.comms + captured.ledger.lost_records, 51);
}
