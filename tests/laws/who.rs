//! Who made an access: processes known by construction, whose thread numbers are used again, told
//! by records in any of the ways that the kernel has, and read in every form.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use decoder::{
    Access, Batch, Detail, Grain, Options, Origin, Recording, Shard, Sink, decode_bytes,
    decode_stream,
};
use tracegen::bytes::Endian;
use tracegen::perf::record::Trailer;
use tracegen::perf::{Auxtrace, Record, TimeConv};
use tracegen::spe::{Packet, Width, address, event, operation};

use super::Choices;
use crate::container::Parts;
use crate::made::{FIRST_ID, Made, spe_event};

const CPUS: u32 = 2;
/// Numbers that threads have: few, so that each is used often.
const TIDS: [u32; 4] = [100, 101, 102, 103];
const PIDS: [u32; 3] = [10, 20, 30];
/// Threads that there are before the recording begins.
const FIRST: [Task; 2] = [Task { pid: 10, tid: 100 }, Task { pid: 20, tid: 101 }];
/// Steps of a story at most.
const MOST_STEPS: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    pid: u32,
    tid: u32,
}

/// What a reader must have read to know who made an access: any of these records.
type Tellers = Vec<usize>;

/// An access as it was.
#[derive(Debug)]
struct Truth {
    task: Task,
    /// Its record names the thread.
    context: bool,
    /// The life of its thread, or the switch that it came in by.
    life: usize,
    switch: Option<usize>,
}

/// A thread from its birth to its end, and the records that tell of it.
#[derive(Debug, Default)]
struct Life {
    /// By a record of its beginning.
    born: Option<usize>,
    seen: Tellers,
}

/// What stands in a recording, in the order in which it came to be.
enum Item {
    Record(Vec<u8>),
    /// SPE data of accesses at these times.
    Data(Vec<u8>, Vec<u64>),
}

/// A recording on its way.
#[derive(Default)]
struct Story {
    /// By time, which no two accesses share.
    truth: BTreeMap<u64, Truth>,
    lives: Vec<Life>,
    alive: BTreeMap<u32, (Task, usize)>,
    running: [Option<(Task, usize, usize)>; CPUS as usize],
    /// What each CPU has not yet handed over: its records, and its SPE data.
    records: [Vec<(usize, Vec<u8>)>; CPUS as usize],
    data: [(Vec<u8>, Vec<u64>); CPUS as usize],
    /// What was handed over: by which CPU, what, and for a record its number.
    written: Vec<(usize, Option<usize>, Item)>,
    next_record: usize,
    time: u64,
}

/// Tells a story as the input says, and reads it in every form and with 1 to 3 threads. In a file
/// and a folder every access has the thread and process that it had by construction, if any record
/// tells of it; in a stream if such a record stands before the data. Threads change nothing.
pub fn who(data: &[u8]) {
    let mut choices = Choices::from_start(data);
    let endian = if choices.flag() { Endian::Big } else { Endian::Little };
    let mut story = Story { time: 1000, ..Story::default() };
    for task in FIRST {
        story.lives.push(Life::default());
        story.alive.insert(task.tid, (task, story.lives.len() - 1));
    }
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        story.step(&mut choices, endian);
    }
    story.hand_over(&[0, 1], false);
    let grain = Grain { part: 1 + choices.below(300), buffer: 1 + choices.below(2048) };
    story.read(endian, grain);
}

impl Story {
    fn step(&mut self, choices: &mut Choices<'_>, endian: Endian) {
        self.time += 1 + u64::from(choices.byte() % 4);
        let cpu = choices.below(CPUS as usize);
        let which = choices.below(16);
        let alive: Vec<u32> = self.alive.keys().copied().collect();
        let one = |choices: &mut Choices<'_>, of: &[u32]| of.get(choices.below(of.len())).copied();
        match which {
            0 | 1 => {
                let free: Vec<_> = TIDS.into_iter().filter(|tid| !alive.contains(tid)).collect();
                if let Some(tid) = one(choices, &free) {
                    let pid = PIDS[choices.below(PIDS.len())];
                    self.begin(cpu, endian, Task { pid, tid });
                }
            }
            2 => {
                let idle: Vec<_> = alive.iter().copied().filter(|tid| !self.runs(*tid)).collect();
                if let Some(tid) = one(choices, &idle) {
                    self.end(cpu, endian, tid);
                }
            }
            3 => {
                if let Some(tid) = one(choices, &alive) {
                    let Task { pid, tid } = self.alive[&tid].0;
                    let life = self.alive[&tid].1;
                    let record = if choices.flag() {
                        Record::Comm { pid, tid, comm: "story", exec: choices.flag() }
                    } else {
                        let (addr, len, name) = (0x1000, 0x1000, "//anon");
                        Record::Mmap2 { pid, tid, addr, len, pgoff: 0, prot: 3, name }
                    };
                    // Written by somebody else, of whom nothing is asked.
                    let number = self.record(cpu, endian, record, Task { pid: 1, tid: 1 });
                    self.lives[life].seen.push(number);
                }
            }
            4..=6 => {
                let idle: Vec<_> = alive.iter().copied().filter(|tid| !self.runs(*tid)).collect();
                if let Some(tid) = one(choices, &idle) {
                    self.switch(choices.below(4), cpu, endian, tid);
                }
            }
            7 => self.hand_over(&[cpu], choices.flag()),
            8 => {
                let order = if choices.flag() { [0, 1] } else { [1, 0] };
                self.hand_over(&order, choices.flag());
            }
            9..=11 => {
                if let Some((task, life, switch)) = self.running[cpu] {
                    let context = choices.flag();
                    self.access(cpu, Truth { task, context, life, switch: Some(switch) });
                }
            }
            _ => {
                if let Some(tid) = one(choices, &alive) {
                    let (task, life) = self.alive[&tid];
                    self.access(cpu, Truth { task, context: true, life, switch: None });
                }
            }
        }
    }

    fn runs(&self, tid: u32) -> bool {
        self.running.iter().flatten().any(|(task, ..)| task.tid == tid)
    }

    fn begin(&mut self, cpu: usize, endian: Endian, task: Task) {
        let Task { pid, tid } = task;
        let record = Record::Fork { pid, ppid: 1, tid, ptid: 1, time: self.time };
        let number = self.record(cpu, endian, record, Task { pid: 1, tid: 1 });
        self.lives.push(Life { born: Some(number), seen: Vec::new() });
        self.alive.insert(tid, (task, self.lives.len() - 1));
    }

    fn end(&mut self, cpu: usize, endian: Endian, tid: u32) {
        let Some((task, life)) = self.alive.remove(&tid) else { return };
        let Task { pid, tid } = task;
        let record = Record::Exit { pid, ppid: 1, tid, ptid: 1, time: self.time };
        let number = self.record(cpu, endian, record, task);
        self.lives[life].seen.push(number);
    }

    /// A CPU goes on to a thread, and one of the records that the kernel has for it says so.
    fn switch(&mut self, way: usize, cpu: usize, endian: Endian, tid: u32) {
        let Some((task, life)) = self.alive.get(&tid).copied() else { return };
        let idle = Task { pid: 0, tid: 0 };
        let (before, life_before) =
            self.running[cpu].map_or((idle, None), |(task, life, _)| (task, Some(life)));
        let number = match way {
            0 => {
                let Task { pid, tid } = task;
                self.record(cpu, endian, Record::SwitchCpuWide { out: true, pid, tid }, before)
            }
            1 => {
                let Task { pid, tid } = before;
                self.record(cpu, endian, Record::SwitchCpuWide { out: false, pid, tid }, task)
            }
            2 => {
                let Task { pid, tid } = task;
                self.record(cpu, endian, Record::ItraceStart { pid, tid }, task)
            }
            _ => self.record(cpu, endian, Record::Switch { out: false }, task),
        };
        self.lives[life].seen.push(number);
        if let Some(life) = life_before.filter(|_| way < 2) {
            self.lives[life].seen.push(number);
        }
        self.running[cpu] = Some((task, life, number));
    }

    fn record(&mut self, cpu: usize, endian: Endian, record: Record<'_>, by: Task) -> usize {
        let sample_type = spe_event().attr.sample_type;
        let trailer = Trailer {
            pid: by.pid,
            tid: by.tid,
            time: self.time,
            id: FIRST_ID + cpu as u64,
            cpu: u32::try_from(cpu).expect("one of two"),
        };
        let mut out = Vec::new();
        record.write(&mut out, endian, sample_type, &trailer);
        self.records[cpu].push((self.next_record, out));
        self.next_record += 1;
        self.next_record - 1
    }

    fn access(&mut self, cpu: usize, truth: Truth) {
        self.time += 1;
        let (data, times) = &mut self.data[cpu];
        let mut packets = vec![
            Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
            Packet::Events { bits: event::RETIRED, width: Width::One },
            Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
            Packet::Address { index: address::DATA_VIRTUAL, payload: address::data(0x7000, 0) },
            Packet::Address {
                index: address::DATA_PHYSICAL,
                payload: address::physical(0x5000, false, 0),
            },
        ];
        if truth.context {
            packets.push(Packet::Context { index: 0, value: truth.task.tid });
        }
        packets.push(Packet::Timestamp(self.time));
        packets.iter().for_each(|packet| packet.write(data));
        times.push(self.time);
        self.truth.insert(self.time, truth);
        // Nothing else happens at the time of an access.
        self.time += 1;
    }

    /// CPUs hand over what they have: first records, as perf does it, or first data.
    fn hand_over(&mut self, cpus: &[usize], data_first: bool) {
        for cpu in cpus.iter().copied() {
            let records = core::mem::take(&mut self.records[cpu]).into_iter();
            let records = records.map(|(number, bytes)| (cpu, Some(number), Item::Record(bytes)));
            let (bytes, times) = core::mem::take(&mut self.data[cpu]);
            let data = (!bytes.is_empty()).then_some((cpu, None, Item::Data(bytes, times)));
            if data_first {
                self.written.extend(data);
                self.written.extend(records);
            } else {
                self.written.extend(records);
                self.written.extend(data);
            }
        }
    }

    /// What was written, as bytes: of one CPU or of all.
    fn bytes(&self, endian: Endian, of: Option<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut offsets = [0; CPUS as usize];
        for (cpu, _, item) in self.written.iter().filter(|(cpu, ..)| of.is_none_or(|of| of == *cpu))
        {
            match item {
                Item::Record(bytes) => out.extend_from_slice(bytes),
                Item::Data(bytes, _) => {
                    let (size, offset) = (bytes.len() as u64, offsets[*cpu]);
                    let cpu_number = u32::try_from(*cpu).expect("one of two");
                    let (idx, tid, cpu_of) = (cpu_number, u32::MAX, cpu_number);
                    Auxtrace { size, offset, reference: 1, idx, tid, cpu: cpu_of }
                        .write(&mut out, endian);
                    out.extend_from_slice(bytes);
                    offsets[*cpu] += size;
                }
            }
        }
        out
    }

    /// Which accesses a reader of the stream knows the maker of, in any case.
    fn told_in_stream(&self) -> BTreeMap<u64, bool> {
        let mut read = vec![false; self.next_record];
        let mut told = BTreeMap::new();
        for (_, number, item) in &self.written {
            if let Some(number) = number {
                read[*number] = true;
            }
            if let Item::Data(_, times) = item {
                for time in times {
                    told.insert(*time, self.told(&self.truth[time], |number| read[number]));
                }
            }
        }
        told
    }

    fn told(&self, truth: &Truth, read: impl Fn(usize) -> bool) -> bool {
        match (truth.context, truth.switch) {
            (false, switch) => switch.is_some_and(read),
            (true, _) => {
                let life = &self.lives[truth.life];
                match life.born {
                    Some(born) => read(born),
                    None => life.seen.iter().any(|number| read(*number)),
                }
            }
        }
    }

    fn read(&self, endian: Endian, grain: Grain) {
        let empty = || {
            let mut made = Made::of(endian, false, vec![spe_event()], "6.12.0");
            let mut clock = Vec::new();
            made.info();
            // A tick is a nanosecond.
            TimeConv { shift: 0, mult: 1, zero: 0, ..TimeConv::default() }
                .write(&mut clock, endian);
            made.raw(&clock);
            made
        };
        let mut made = empty();
        made.raw(&self.bytes(endian, None));
        let file = made.finish();
        let stream = Parts::of(&file).stream();
        let head = empty().finish();
        let parts: Vec<_> = (0..CPUS as usize).map(|cpu| self.bytes(endian, Some(cpu))).collect();
        let folder = [&head[..], &parts[0], &parts[1]];

        let in_stream = self.told_in_stream();
        let mut streamed = Vec::new();
        for (threads, ordered) in [(1, false), (2, false), (3, false), (1, true)] {
            let threads = NonZeroUsize::new(threads).expect("1 to 3");
            let options = Options { ordered, grain, ..Options::new(threads) };
            for detail in [Detail::Accesses, Detail::Counts] {
                let asked = |who: &mut Who, files: &[&[u8]]| decode_bytes(files, 0, &options, who);
                for files in [&[&file[..]][..], &[&stream[..]], &folder] {
                    let found = found(detail, |who| asked(who, files));
                    self.compare(&found, |truth, _| self.told(truth, |_| true));
                }
                let found = found(detail, |who| decode_stream(&stream[..], 0, &options, who));
                self.compare(&found, |_, time| in_stream[&time]);
                streamed.push((detail, found));
            }
        }
        for detail in [Detail::Accesses, Detail::Counts] {
            let mut same = streamed.iter().filter(|(of, _)| *of == detail).map(|(_, found)| found);
            let first = same.next();
            assert!(same.all(|found| Some(found) == first), "threads change nothing");
        }
    }

    /// Compares what was found with what was, where it was told.
    fn compare(&self, found: &Found, told: impl Fn(&Truth, u64) -> bool) {
        assert_eq!(found.keys().collect::<Vec<_>>(), self.truth.keys().collect::<Vec<_>>());
        for (time, truth) in &self.truth {
            let (pid, tid) = found[time];
            if told(truth, *time) {
                assert_eq!(pid, Some(truth.task.pid), "pid at {time}: {truth:?}");
                assert!(tid.is_none_or(|tid| tid == Some(truth.task.tid)), "at {time}: {truth:?}");
            } else if truth.context {
                assert!(tid.is_none_or(|tid| tid == Some(truth.task.tid)), "at {time}: {truth:?}");
            }
        }
    }
}

/// Process, and where it was asked for the thread, of each access by its time.
type Found = BTreeMap<u64, (Option<u32>, Option<Option<u32>>)>;

fn found(
    detail: Detail,
    decode: impl FnOnce(&mut Who) -> Result<Recording, decoder::Error>,
) -> Found {
    let mut who = Who { detail, found: BTreeMap::new() };
    let recording = decode(&mut who).expect("a recording");
    assert!(recording.problems.is_empty(), "{:?}", recording.problems);
    who.found
}

/// Remembers who made each access.
struct Who {
    detail: Detail,
    found: Found,
}

impl Sink for Who {
    fn detail(&self) -> Detail {
        self.detail
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        for touch in batch.touches {
            let time = touch.time_ns.expect("all have one");
            assert!(self.found.insert(time, (touch.pid, None)).is_none());
        }
    }

    fn access(&mut self, access: &Access) {
        let time = access.origin.time_ns.expect("all have one");
        assert!(self.found.insert(time, (access.pid, Some(access.tid))).is_none());
    }

    fn other(&mut self, origin: &Origin) {
        panic!("all are accesses: {origin:?}");
    }
}

impl Shard for Who {
    fn split(&self) -> Self {
        Self { detail: self.detail, found: BTreeMap::new() }
    }

    fn merge(&mut self, other: Self) {
        self.found.extend(other.found);
    }
}
