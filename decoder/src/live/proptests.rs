//! Rings that are emptied while the kernel fills them: every byte is accounted for, nothing is
//! copied but a record that a ring's end cuts, no record is lost that a ring held, and a stream and
//! a file hold what is decoded in place.
//!
//! The rings are mapped as the kernel's are, from a file that the model in [`tracegen::rings`]
//! writes. Wherever we load or store a head or a tail, or hand something over, it may go on.

use core::cell::{Cell, RefCell};
use core::ops::Range;
use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tracegen::rings::{Cpu, Kernel, Manner, SPE_ID, Step, TASK_ID, TRAILER, Told};
use tracegen::rng::Rng;

use super::output::RecordingWriter;
use super::output::synthesized::{About, EventAbout, SpeCpuAbout, SpeMetadata};
use super::output::writer::{FileWriter, StreamWriter};
use super::ring::aux_restart::AuxRestart;
use super::ring::cpu_rings::{CpuRings, Passed};
use super::ring::mapped::MappedRing;
use super::ring::{NATIVE, Ring};
use super::{TimeConversion, decode};
use crate::perf::Auxtrace;
use crate::perf::record;
use crate::perf::record::{Next, kind};
use crate::{Access, Ledger, Options, Origin, Shard, Sink, TraceOffset, decode_bytes};

/// The unit's `attr.type`.
const PMU: u32 = 11;
/// Bytes of packets and of padding in a whole record.
const PACKETS: u64 = 57;
const PADDING: u64 = 7;

fn attr(type_: u32, config: u64, sample_type: u64) -> Vec<u8> {
    let mut attr = vec![0; 128];
    for (at, value) in [(0, type_), (4, 128)] {
        attr[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let sample_id_all = 1 << 18;
    for (at, value) in [(8, config), (16, 1024), (24, sample_type), (40, sample_id_all)] {
        attr[at..at + 8].copy_from_slice(&u64::to_ne_bytes(value));
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
    let spe = |cpu| SpeCpuAbout {
        cpu,
        midr: 0x410f_d0c0,
        pmu_type: PMU,
        min_interval: 1024,
        event_filter: 0,
    };
    About {
        events: vec![
            event(attr(PMU, 3, TRAILER | 1 | 1 << 15 | 1 << 19), SPE_ID, "arm_spe_0/pa_enable=1/"),
            event(attr(1, 9, TRAILER | 1), TASK_ID, "dummy:u"),
        ],
        features: Vec::new(),
        time: Some(TimeConversion { shift: 0, mult: 1, zero: 0, short: None }),
        spe: (0..cpus).map(spe).collect(),
        spe_metadata: SpeMetadata::Version1,
        tasks: Vec::new(),
    }
}

type Shared = Rc<RefCell<Kernel>>;

/// A ring beside which the kernel goes on.
struct Beside {
    ring: MappedRing,
    kernel: Shared,
}

impl Beside {
    fn meanwhile(&self) {
        self.kernel.borrow_mut().meanwhile();
    }
}

impl Ring for Beside {
    fn head(&self) -> u64 {
        self.meanwhile();
        let head = self.ring.head();
        self.meanwhile();
        head
    }

    fn tail(&self) -> u64 {
        self.meanwhile();
        self.ring.tail()
    }

    fn held(&self, places: Range<u64>) -> [&[u8]; 2] {
        self.meanwhile();
        self.ring.held(places)
    }

    fn give_back(&mut self, to: u64) {
        self.meanwhile();
        self.ring.give_back(to);
        self.meanwhile();
    }
}

/// Where the bytes of a CPU's rings lie.
struct Memory {
    records: Range<usize>,
    aux: Range<usize>,
}

/// Where these bytes start in a ring that lies there, if they do.
fn place_in(ring: &Range<usize>, bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.as_ptr_range();
    let (start, end) = (bytes.start.addr(), bytes.end.addr());
    (ring.start <= start && end <= ring.end).then(|| (start - ring.start) as u64)
}

/// Has a recording decoded in place, and written as a stream and as a file.
struct Tee<'o, O> {
    decoding: &'o mut O,
    stream: StreamWriter<Vec<u8>>,
    file: FileWriter<Cursor<Vec<u8>>>,
}

impl<O: RecordingWriter> RecordingWriter for Tee<'_, O> {
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
        self.stream.records(records)?;
        self.file.records(records)?;
        self.decoding.records(records)
    }

    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        self.stream.aux(chunk, bytes)?;
        self.file.aux(chunk, bytes)?;
        self.decoding.aux(chunk, bytes)
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.stream.pass_ended()?;
        self.file.pass_ended()?;
        self.decoding.pass_ended()
    }
}

/// Looks at where that lies which is handed over, while the kernel goes on.
struct Watch<'o, O> {
    inner: &'o mut O,
    kernel: Shared,
    memory: Vec<Memory>,
    /// The CPU whose rings are emptied.
    emptied: Rc<Cell<usize>>,
    /// Places of the next record and of the next byte of AUX data, of each CPU.
    next: Vec<(u64, u64)>,
    /// How many AUX records of each CPU came, if they are to come before what they tell of.
    announced: Option<Vec<usize>>,
    /// Runs of records that were copied.
    copied: u64,
    /// Records of tasks that came.
    tasks: u64,
}

impl<O> Watch<'_, O> {
    /// Counts AUX records that tell of bytes, and records of tasks.
    fn count(&mut self, cpu: usize, records: &[u8]) {
        let mut rest = records;
        while let Next::Record(record) = record::next(rest, NATIVE) {
            self.tasks += u64::from(record.kind == kind::COMM);
            if let Some(announced) = &mut self.announced {
                let size = record.body.get(8..16);
                let tells = record.kind == kind::AUX && size != Some(&[0; 8]);
                announced[cpu] += usize::from(tells);
            }
            rest = &rest[record.size()..];
        }
    }
}

impl<O: RecordingWriter> RecordingWriter for Watch<'_, O> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.inner.begin(about)
    }

    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()> {
        self.inner.more_ids(event)
    }

    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()> {
        self.inner.scale(id, factor)
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        let cpu = self.emptied.get();
        let (ring, next) = (&self.memory[cpu].records, &mut self.next[cpu].0);
        let start = *next % ring.len() as u64;
        match place_in(ring, records) {
            Some(at) => assert_eq!(at, start, "in their order, none twice"),
            None => {
                self.copied += 1;
                let size = u64::from(u16::from_ne_bytes([records[6], records[7]]));
                assert_eq!(size, records.len() as u64, "no more than one record is copied");
                assert!(start + size > ring.len() as u64, "and one that the ring's end cuts");
            }
        }
        let held_from = self.kernel.borrow().cpus[cpu].data_tail();
        assert!(next.wrapping_sub(held_from) < ring.len() as u64, "it is not given back yet");
        *next = next.wrapping_add(records.len() as u64);
        self.count(cpu, records);
        self.kernel.borrow_mut().meanwhile();
        self.inner.records(records)
    }

    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        let cpu = self.emptied.get();
        assert_eq!(chunk.queue.cpu, u32::try_from(cpu).ok());
        let (ring, next) = (&self.memory[cpu].aux, &mut self.next[cpu].1);
        assert_eq!(chunk.offset, *next, "in its order, none twice");
        for bytes in bytes.into_iter().filter(|bytes| !bytes.is_empty()) {
            assert_eq!(place_in(ring, bytes), Some(*next % ring.len() as u64), "in place");
            *next += bytes.len() as u64;
        }
        assert_eq!(chunk.size, (*next - chunk.offset).next_multiple_of(8));
        let tail = self.kernel.borrow().cpus[cpu].aux_tail();
        assert_eq!(tail, chunk.offset, "it is not given back yet");
        if let Some(announced) = &self.announced {
            let ends = &self.kernel.borrow().cpus[cpu].told.aux_ends;
            let of_these = ends.iter().take_while(|end| **end <= self.next[cpu].1).count();
            assert!(announced[cpu] >= of_these, "what is told of bytes comes before them");
        }
        self.kernel.borrow_mut().meanwhile();
        self.inner.aux(chunk, bytes)
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.inner.pass_ended()
    }

    fn unreadable(&mut self, bytes: u64) {
        panic!("{bytes} bytes hold no record, but the model writes whole ones");
    }

    fn overrun(&mut self) {
        panic!("the model stores no head that cannot be");
    }
}

#[derive(Debug, Default)]
struct List(Vec<Access>);

impl Sink for List {
    fn access(&mut self, access: &Access) {
        self.0.push(*access);
    }

    fn other(&mut self, origin: &Origin) {
        panic!("{origin:?}: all records are loads");
    }
}

impl Shard for List {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// What CPUs do, and how they take turns with us.
#[derive(Clone, Debug)]
struct Plan {
    cpus: Vec<Vec<Step>>,
    manner: Manner,
    /// Pages of the rings.
    pages: (usize, usize),
    /// Place of the first record.
    start: u64,
    seed: u64,
    /// Most moves at a time while we are at work, and between two passes.
    most: u64,
    between: u64,
    /// Every so many passes, quiet units are told to publish.
    flush_every: u64,
}

/// What a capture came to.
struct Captured {
    accesses: Vec<Access>,
    ledger: Ledger,
    passed: Passed,
    told: Vec<Told>,
    /// Whether units were off after all rings had been emptied twice.
    left_off: Vec<bool>,
    manner: Manner,
    /// Records that were copied: those that a ring's end cuts.
    copied: u64,
    /// Records of tasks that came.
    tasks: u64,
    stream: Vec<u8>,
    file: Vec<u8>,
}

/// The loop of a capture, with a kernel that goes on beside it.
struct Loop {
    kernel: Shared,
    cpu_rings: Vec<CpuRings<Beside>>,
    units: Vec<AuxRestart>,
    emptied: Rc<Cell<usize>>,
    total: Passed,
}

impl Loop {
    /// A pass over all rings, as `capture.rs` makes one. Whether there was anything in them.
    fn pass(&mut self, last: bool, writer: &mut impl RecordingWriter) -> io::Result<bool> {
        let mut all = Passed::default();
        let mut resumed = Vec::new();
        for (number, (rings, unit)) in self.cpu_rings.iter_mut().zip(&mut self.units).enumerate() {
            self.emptied.set(number);
            let passed = rings.drain(last, writer)?;
            if unit.goes_on(&passed) && !last {
                resumed.push(number);
            }
            all.add(&passed);
        }
        for number in resumed {
            self.kernel.borrow_mut().cpus[number].enable();
        }
        writer.pass_ended()?;
        self.total.add(&all);
        Ok(all.record_bytes + all.aux_bytes > 0)
    }

    fn flush(&mut self) {
        for (unit, cpu) in self.units.iter_mut().zip(&mut self.kernel.borrow_mut().cpus) {
            if unit.publishes() {
                cpu.disable();
                cpu.enable();
            }
        }
    }

    fn run(&mut self, plan: &Plan, writer: &mut impl RecordingWriter) -> io::Result<Vec<bool>> {
        for pass in 1.. {
            let moves = {
                let kernel = &mut *self.kernel.borrow_mut();
                kernel.dice.below(plan.between + 1)
            };
            self.kernel.borrow_mut().makes(moves);
            self.pass(false, writer)?;
            if pass % plan.flush_every == 0 {
                self.flush();
            }
            if !self.kernel.borrow().has_steps() {
                break;
            }
        }
        // Nothing happens any more. A unit whose ring was full was told to go on.
        self.pass(false, writer)?;
        self.pass(false, writer)?;
        let off = |kernel: &Kernel| kernel.cpus.iter().map(|cpu| !cpu.is_on()).collect();
        let off_with_signs: Vec<bool> = off(&self.kernel.borrow());
        for _ in 0..2 {
            self.flush();
            self.pass(false, writer)?;
        }
        let off_at_last: Vec<bool> = off(&self.kernel.borrow());
        assert!(!off_at_last.contains(&true), "a quiet unit goes on: {off_at_last:?}");
        self.kernel.borrow_mut().cpus.iter_mut().for_each(Cpu::finish);
        while self.pass(true, writer)? {}
        for rings in &self.cpu_rings {
            let aux = rings.aux.as_ref().expect("it has one").ring();
            let records = rings.records.ring();
            assert_eq!((aux.tail(), records.tail()), (aux.head(), records.head()), "all is out");
        }
        Ok(off_with_signs)
    }
}

/// The rings of a CPU as we map them: of records, of AUX data.
fn map(cpu: &Cpu, (record_len, aux_len): (usize, usize)) -> (MappedRing, MappedRing) {
    let records = MappedRing::records(cpu.memory().as_fd(), record_len).expect("it is long");
    let aux = records.aux(cpu.memory().as_fd(), aux_len).expect("it is long enough");
    (records, aux)
}

fn run(plan: &Plan) -> Captured {
    let page = rustix::param::page_size();
    let lens = (plan.pages.0 * page, plan.pages.1 * page);
    // Where pages are longer, so are rings, and more is needed to fill them.
    let scaled = |step: &Step| match *step {
        Step::Trace { bytes } => Step::Trace { bytes: bytes * page / 4096 },
        Step::Tasks(count) => Step::Tasks(count * page / 4096),
        step => step,
    };
    let cpus: Vec<_> = (0u32..)
        .zip(&plan.cpus)
        .map(|(number, steps)| {
            let steps = steps.iter().map(scaled).collect();
            let memory = tempfile::tempfile().expect("there is a folder for such files");
            Cpu::new(number, memory, (page, lens.0, lens.1), plan.start, plan.manner, steps)
        })
        .collect();
    let maps: Vec<_> = cpus.iter().map(|cpu| map(cpu, lens)).collect();
    let memory =
        maps.iter().map(|(records, aux)| Memory { records: records.memory(), aux: aux.memory() });
    let memory: Vec<_> = memory.collect();
    let dice = Rng::new(plan.seed);
    let kernel = Rc::new(RefCell::new(Kernel { cpus, dice, most: plan.most }));
    let beside = |ring| Beside { ring, kernel: Rc::clone(&kernel) };
    let cpu_rings: Vec<_> = (0u32..)
        .zip(maps)
        .map(|(cpu, (records, aux))| {
            CpuRings::new(cpu, Some(cpu), beside(records), Some(beside(aux)))
        })
        .collect();
    let emptied = Rc::new(Cell::new(0));
    let units = vec![AuxRestart::default(); cpu_rings.len()];
    let mut all = Loop {
        kernel: Rc::clone(&kernel),
        cpu_rings,
        units,
        emptied: Rc::clone(&emptied),
        total: Passed::default(),
    };
    let mut list = List::default();
    let (recording, (left_off, copied, tasks, stream, file)) = decode(&mut list, |decoding| {
        let stream = StreamWriter::new(Vec::new());
        let file = FileWriter::new(Cursor::new(Vec::new()));
        let mut tee = Tee { decoding, stream, file };
        tee.begin(&about(u32::try_from(plan.cpus.len()).expect("few")))?;
        let next = vec![(plan.start, 0); plan.cpus.len()];
        let kernel = Rc::clone(&kernel);
        let announced = (!plan.manner.early).then(|| vec![0; plan.cpus.len()]);
        let inner = &mut tee;
        let mut watch =
            Watch { inner, kernel, memory, emptied, next, announced, copied: 0, tasks: 0 };
        let left_off = all.run(plan, &mut watch)?;
        let (copied, tasks) = (watch.copied, watch.tasks);
        let (stream, file) = (tee.stream.finish()?, tee.file.finish()?.into_inner());
        io::Result::Ok((left_off, copied, tasks, stream, file))
    })
    .expect("nothing is written");
    assert_eq!(recording.problem_count, 0, "{:?}", recording.problems);
    recording.ledger.check().expect("its sums are right");
    let told = kernel.borrow().cpus.iter().map(|cpu| cpu.told.clone()).collect();
    let (accesses, ledger, passed) = (list.0, recording.ledger, all.total);
    let manner = plan.manner;
    Captured { accesses, ledger, passed, told, left_off, manner, copied, tasks, stream, file }
}

/// The accesses in a recording, and its account.
fn decoded(bytes: &[u8], threads: usize) -> (Vec<Access>, Ledger) {
    let mut list = List::default();
    let options = Options::new(NonZeroUsize::new(threads).expect("some"));
    let options = Options { ordered: threads == 1, ..options };
    let recording = decode_bytes(&[bytes], 0, &options, &mut list).expect("a recording");
    assert_eq!(recording.problem_count, 0, "{:?}", recording.problems);
    (list.0, recording.ledger)
}

fn without_places(accesses: &[Access]) -> Vec<Access> {
    let mut accesses = accesses.to_vec();
    accesses.iter_mut().for_each(|access| access.origin.position.offset = TraceOffset(0));
    accesses
}

/// A stream and a file hold the same, and any number of threads finds it.
fn check_written(captured: &Captured) {
    let Captured { accesses, ledger, stream, file, .. } = captured;
    let (of_stream, stream_ledger) = decoded(stream, 1);
    assert_eq!(*accesses, of_stream, "a stream has the very same bytes");
    assert_eq!(*ledger, stream_ledger);
    let (of_file, file_ledger) = decoded(file, 1);
    assert_eq!(without_places(accesses), without_places(&of_file));
    assert_eq!(*ledger, file_ledger);
    let (mut of_threads, threads_ledger) = decoded(file, 2);
    of_threads.sort_by_key(|access| access.origin.position);
    assert_eq!(without_places(&of_threads), without_places(&of_file));
    assert_eq!(*ledger, threads_ledger);
}

fn check(captured: &Captured) {
    check_written(captured);
    let Captured { accesses, ledger, passed, told, left_off, manner, tasks, .. } = captured;
    let sum = |field: fn(&Told) -> u64| told.iter().map(field).sum::<u64>();
    assert_eq!(*tasks, sum(|told| told.tasks), "records of tasks that the rings held");

    assert_eq!(passed.aux_bytes, sum(|told| told.aux_bytes), "all bytes that were written");
    // A chunk of a recording is a multiple of eight bytes: zeros are added behind the last ones.
    let filling = sum(|told| told.aux_bytes.next_multiple_of(8) - told.aux_bytes);
    assert_eq!(ledger.aux_bytes, passed.aux_bytes + filling);
    assert_eq!((passed.unreadable, passed.overruns), (0, 0));
    let flags = (ledger.aux_truncated, ledger.aux_partial, ledger.aux_collision);
    let wanted = (sum(|told| told.truncated), sum(|told| told.partial), sum(|told| told.collision));
    assert_eq!(flags, wanted, "flags");
    assert_eq!(passed.truncated, ledger.aux_truncated);
    assert_eq!((ledger.lost_records, passed.lost), (sum(|told| told.lost), sum(|told| told.lost)));

    let mut all_told = true;
    for (number, told) in told.iter().enumerate() {
        let of_cpu =
            accesses.iter().filter(|access| access.origin.cpu == u32::try_from(number).ok());
        let got: Vec<_> = of_cpu.filter_map(|access| Some(access.paddr?.get())).collect();
        let wanted: Vec<_> = told.loads.iter().map(|(paddr, _)| *paddr).collect();
        if told.untold_cuts.is_empty() {
            assert_eq!(got, wanted, "CPU {number}: all of them, in their order");
        } else {
            all_told = false;
            near(&got, told, manner.whole);
        }
    }
    if all_told {
        let loads = sum(|told| told.loads.len() as u64);
        assert_eq!(ledger.record_bytes, PACKETS * loads);
        let cut_off = sum(|told| told.cut_off);
        assert_eq!(ledger.cut_off_bytes, cut_off, "unfinished records");
        assert_eq!(ledger.skipped_bytes, 0);
        let padding = sum(|told| told.padding) + filling + PADDING * loads;
        assert_eq!(ledger.padding_bytes + ledger.cut_off_bytes, padding + cut_off);
    }
    for (told, off) in told.iter().zip(left_off) {
        assert!(!off || told.had_losses, "a unit is off although its ring is empty");
    }
}

/// A cut that nothing told of may cost records behind it, and no others. Zeros behind it may
/// finish the record that was cut; where units write on at once, both halves may pass for one.
fn near(got: &[u64], told: &Told, whole: bool) {
    let mut wanted = told.loads.iter().peekable();
    let (mut missing, mut made_up) = (Vec::new(), 0);
    for paddr in got {
        if !wanted.clone().any(|(next, _)| next == paddr) {
            assert!(!whole || told.cut_loads.contains(paddr), "{paddr:#x} is made up");
            made_up += 1;
            continue;
        }
        missing.extend(core::iter::from_fn(|| wanted.next_if(|(next, _)| next != paddr)));
        wanted.next();
    }
    missing.extend(wanted);
    let cuts = &told.untold_cuts;
    assert!(made_up <= cuts.len(), "{made_up} are made up, or came twice");
    for (paddr, end) in missing {
        let behind = |cut: &u64| *cut < end && end - cut <= 1024;
        assert!(cuts.iter().any(behind), "{paddr:#x} is lost at {end}, cuts at {cuts:?}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..1500).prop_map(|bytes| Step::Trace { bytes }),
        4 => any::<bool>().prop_map(|collision| Step::Interrupt { collision }),
        1 => (0usize..64).prop_map(|after| Step::Fault { after }),
        3 => (0usize..40).prop_map(Step::Tasks),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let cpus = proptest::collection::vec(proptest::collection::vec(step(), 0..60), 1..4);
    let pages = prop_oneof![Just((1usize, 1usize)), Just((1, 2)), Just((8, 1)), Just((8, 8))];
    // Counts that wrap around 2^64 are the usual case after all.
    let start = prop_oneof![Just(0u64), (0u64..600).prop_map(|words| (8 * words).wrapping_neg())];
    let most = prop_oneof![Just(0u64), 1u64..5, Just(40), Just(200)];
    let turns = (any::<u64>(), most, 0u64..200, 1u64..6);
    let manner = any::<(bool, bool)>().prop_map(|(whole, early)| Manner { whole, early });
    (cpus, manner, pages, start, turns).prop_map(
        |(cpus, manner, pages, start, (seed, most, between, flush_every))| {
            // Somebody must go on, so that there is an end.
            let between = between.max(u64::from(most == 0));
            Plan { cpus, manner, pages, start, seed, most, between, flush_every }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(500)))]

    #[test]
    fn nothing_is_lost_that_the_rings_held(plan in plan()) {
        check(&run(&plan));
    }
}

/// By hand: three records, five words of a fourth, then four records in a collision.
#[test]
fn what_a_fault_cut_is_cut_off() {
    let trace = |records: usize| Step::Trace { bytes: 64 * records };
    let steps =
        vec![trace(3), Step::Fault { after: 40 }, trace(4), Step::Interrupt { collision: true }];
    let captured = run(&Plan {
        cpus: vec![steps],
        manner: Manner { whole: true, early: false },
        pages: (8, 8),
        start: 0,
        seed: 1,
        most: 0,
        between: 1,
        flush_every: 5,
    });
    check(&captured);
    let ledger = captured.ledger;
    assert_eq!((ledger.cut_off_bytes, ledger.aux_partial, ledger.aux_collision), (40, 1, 1));
    assert_eq!((captured.accesses.len(), ledger.aux_truncated, ledger.lost_records), (7, 1, 0));
}

/// Bytes came before the record that announces them, and ended in zeros of a record: what was lost
/// was the record.
#[test]
fn zeros_before_their_announcement_are_no_filling() {
    let trace = |bytes| Step::Trace { bytes };
    let interrupt = Step::Interrupt { collision: false };
    let first = vec![
        Step::Fault { after: 8 },
        trace(8),
        Step::Tasks(2),
        trace(1),
        Step::Tasks(3),
        trace(1),
        trace(1),
        Step::Tasks(2),
        trace(1),
        trace(1),
        trace(3),
        Step::Tasks(2),
        trace(1),
        trace(1),
        Step::Tasks(1),
        trace(6),
    ];
    let second = vec![
        Step::Interrupt { collision: true },
        trace(253),
        trace(347),
        interrupt,
        Step::Tasks(1),
        trace(35),
        trace(5),
        Step::Fault { after: 8 },
        trace(1),
        Step::Tasks(3),
        interrupt,
        interrupt,
        interrupt,
        interrupt,
        Step::Tasks(1),
        trace(968),
        trace(562),
        trace(6),
        interrupt,
    ];
    let mut third = vec![trace(1), trace(1), trace(1), interrupt, trace(1), trace(4)];
    third.extend([trace(1); 3]);
    check(&run(&Plan {
        cpus: vec![first, second, third],
        manner: Manner { whole: false, early: true },
        pages: (1, 1),
        start: 0,
        seed: 5_219_003_227_049_034_122,
        most: 0,
        between: 2,
        flush_every: 5,
    }));
}

/// The same plans every time.
#[test]
fn plans_come_to_all_that_can_happen() {
    let mut runner = TestRunner::deterministic();
    let mut reached = [0; 9];
    for _ in 0..400 {
        let plan = plan().new_tree(&mut runner).expect("nothing is rejected").current();
        let captured = run(&plan);
        check(&captured);
        let sum = |field: fn(&Told) -> u64| captured.told.iter().map(field).sum::<u64>();
        let aux_len = (plan.pages.1 * rustix::param::page_size()) as u64;
        let wrapped = captured.told.iter().filter(|told| told.aux_bytes > aux_len);
        for (reached, count) in reached.iter_mut().zip([
            sum(|told| told.truncated),
            sum(|told| told.partial),
            sum(|told| told.collision),
            sum(|told| told.lost),
            sum(|told| told.silent),
            sum(|told| told.untold_cuts.len() as u64),
            sum(|told| told.cut_loads.len() as u64),
            wrapped.count() as u64,
            captured.copied,
        ]) {
            *reached += count;
        }
    }
    assert!(reached.iter().all(|count| *count >= 5), "{reached:?}");
}

/// Two rings of one CPU, mapped, and what a pass over them came to.
fn drain(rings: &mut CpuRings<MappedRing>) -> (Passed, crate::Recording) {
    let (recording, passed) = decode(&mut List::default(), |decoding| {
        decoding.begin(&about(1))?;
        rings.drain(false, decoding)
    })
    .expect("nothing is written");
    (passed, recording)
}

#[test]
fn heads_that_cannot_be_are_given_up_and_counted() {
    let page = rustix::param::page_size();
    let memory = tempfile::tempfile().expect("there is a folder for such files");
    let manner = Manner { whole: true, early: false };
    let cpu = Cpu::new(0, memory, (page, page, 2 * page), 0, manner, Vec::new());
    let (records, aux) = map(&cpu, (page, 2 * page));
    let mut rings = CpuRings::new(0, Some(0), records, Some(aux));
    let page = page as u64;
    let cases = [
        ("nothing", 0, 0, 0),
        ("a byte too much", page + 1, 2 * page + 1, 2),
        ("behind the tail", page - 7, 2 * page - 7, 2),
        ("far away", 1 << 63, 1 << 40, 2),
        ("back again", 0, 0, 2),
        ("records alone", page + 8, 8, 1),
        ("AUX data alone", page + 8, 3 * page, 1),
    ];
    for (name, of_records, of_aux, overruns) in cases {
        cpu.store_heads(of_records, of_aux);
        let (passed, recording) = drain(&mut rings);
        assert_eq!(passed.overruns, overruns, "{name}");
        assert_eq!(recording.problem_count, overruns, "{name}: {:?}", recording.problems);
        assert_eq!(recording.ledger.aux_bytes, passed.aux_bytes, "{name}");
    }
}
