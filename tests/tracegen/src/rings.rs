//! The kernel's side of the rings of some CPUs: a model. Whoever tests a reader of rings maps the files that it writes.
//!
//! ```text
//! a file without a name, which both map or write:   control page | records ... | AUX data
//! a step   what a CPU does: trace, be interrupted, fault, write records of tasks
//! a move   the least part of one that others can see: bytes, a head
//! ```
//!
//! The rules are those of `kernel/events/ring_buffer.c` and `drivers/perf/arm_spe_pmu.c`: an AUX
//! record is written before its `aux_head` is stored; a record that finds no room is counted, and
//! told of before the next one that does; a unit without room is off, and whoever tells it to go
//! on while there is none is not told that it stays off.

use core::mem::take;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::bytes::Endian;
use crate::perf::record::{Record, Trailer, aux_flag};
use crate::rng::Rng;

/// Where the words of the control page stand: `struct perf_event_mmap_page` of
/// `include/uapi/linux/perf_event.h`.
const DATA_HEAD: u64 = 1024;
const DATA_TAIL: u64 = 1032;
const AUX_HEAD: u64 = 1056;
const AUX_TAIL: u64 = 1064;
const AUX_OFFSET: u64 = 1072;

/// Ids of the unit's events; each CPU adds its number. Those of the events that tell of tasks are [`TASK_ID`].
pub const SPE_ID: u64 = 100;
/// See [`SPE_ID`].
pub const TASK_ID: u64 = 200;
/// IDENTIFIER, TID, TIME, CPU: the fields of a trailer.
pub const TRAILER: u64 = 1 << 16 | 1 << 1 | 1 << 2 | 1 << 7;
/// Bytes of a record of the unit's.
const RECORD: usize = 64;
/// A unit's buffer starts at multiples of this.
const ALIGN: u64 = RECORD as u64;
/// A unit's buffer ends at multiples of this: the kernel's is a page.
const GRANULE: u64 = 256;

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

/// What a CPU does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Its unit writes so many bytes: whole records, if it is one that does.
    Trace {
        /// How many.
        bytes: usize,
    },
    /// The unit is stopped and goes on: what it wrote is published.
    Interrupt {
        /// Whether its AUX record has the flag.
        collision: bool,
    },
    /// A fault stops the unit in a record, after so many bytes of it.
    Fault {
        /// How many.
        after: usize,
    },
    /// Tasks are told of.
    Tasks(usize),
}

/// What becomes visible at once.
#[derive(Debug)]
enum Move {
    /// The unit writes to this place of its ring.
    AuxBytes(u64, Vec<u8>),
    AuxHead(u64),
    /// A record is written if there is room. What it says is true if it was.
    Record(Vec<u8>, Sign),
    DataHead(u64),
    /// The unit looks for room.
    Begin,
}

/// What a record says.
#[derive(Clone, Copy, Debug)]
enum Sign {
    Task,
    Aux { flags: u64, end: u64, size: u64 },
}

/// How a unit and its CPU write.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whole records alone, as Arm SPE does. Else, buffers may end anywhere in one.
    pub whole: bool,
    /// `aux_head` may be seen before the record that tells of the bytes: nothing in the kernel
    /// keeps a CPU from storing it first.
    pub early: bool,
}

/// What the kernel knows that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Physical addresses of whole records, and the places where they end.
    pub loads: Vec<(u64, u64)>,
    /// Addresses of unfinished ones.
    pub cut_loads: Vec<u64>,
    /// Bytes that the unit wrote.
    pub aux_bytes: u64,
    /// Zeros between records, and in those that are cut.
    pub padding: u64,
    /// Bytes of unfinished records.
    pub cut_off: u64,
    /// Where bytes end that AUX records tell of which found room.
    pub aux_ends: Vec<u64>,
    /// AUX records with this flag that found room; so the next two.
    pub truncated: u64,
    /// See `truncated`.
    pub partial: u64,
    /// See `truncated`.
    pub collision: u64,
    /// Records that found no room, and were told of.
    pub lost: u64,
    /// Records of tasks that found room.
    pub tasks: u64,
    /// Places where a record was cut, and the AUX record that tells of them found no room.
    pub untold_cuts: Vec<u64>,
    /// The unit was told to go on when there was no room: nothing says so.
    pub silent: u64,
    /// A record of any kind found no room.
    pub had_losses: bool,
}

/// A CPU as the kernel sees it.
#[derive(Debug)]
pub struct Cpu {
    number: u32,
    memory: File,
    /// Lengths of the rings, and where that of AUX data lies.
    page: u64,
    record_len: u64,
    aux_len: u64,
    manner: Manner,
    steps: VecDeque<Step>,
    moves: VecDeque<Move>,
    data_head: u64,
    aux_head: u64,
    /// Where the unit writes, and where its buffer ends; it is off without one.
    place: u64,
    limit: Option<u64>,
    /// The rest of the record that was begun.
    begun: Vec<u8>,
    /// Records that found no room and were not told of yet.
    lost: u64,
    /// Where the bytes end that the last AUX record told of which found room.
    told_to: u64,
    /// Records that were begun.
    last: u64,
    /// What it wrote so far.
    pub told: Told,
}

impl Cpu {
    /// A CPU that will do these steps. Its rings, of records and of AUX data, have these lengths in bytes, which are
    /// powers of two of the machine's pages, and lie in an empty file; places of records count from `start`.
    ///
    /// # Panics
    /// If there is no room in the file.
    pub fn new(
        number: u32,
        memory: File,
        (page, record_len, aux_len): (usize, usize, usize),
        start: u64,
        manner: Manner,
        steps: Vec<Step>,
    ) -> Self {
        let mut cpu = Self {
            number,
            memory,
            page: page as u64,
            record_len: record_len as u64,
            aux_len: aux_len as u64,
            manner,
            steps: steps.into(),
            moves: [Move::Begin].into(),
            data_head: start,
            aux_head: 0,
            place: 0,
            limit: None,
            begun: Vec::new(),
            lost: 0,
            told_to: 0,
            last: 0,
            told: Told::default(),
        };
        cpu.memory.set_len(cpu.aux_at() + cpu.aux_len).expect("there is room");
        cpu.store(DATA_HEAD, start);
        cpu.store(DATA_TAIL, start);
        cpu.make_all();
        cpu
    }

    /// The memory of its rings: the control page, the records behind it, and AUX data.
    pub fn memory(&self) -> &File {
        &self.memory
    }

    /// Where AUX data lies: the power of two behind twice the control page and the records. Whoever maps it says so
    /// in the control page, as the kernel demands.
    fn aux_at(&self) -> u64 {
        (2 * (self.page + self.record_len)).next_power_of_two()
    }

    fn store(&self, word: u64, value: u64) {
        self.memory.write_all_at(&value.to_ne_bytes(), word).expect("it is memory");
    }

    fn load(&self, word: u64) -> u64 {
        let mut value = [0; 8];
        self.memory.read_exact_at(&mut value, word).expect("it is memory");
        u64::from_ne_bytes(value)
    }

    /// Up to where records were given back.
    pub fn data_tail(&self) -> u64 {
        self.load(DATA_TAIL)
    }

    /// Up to where AUX data was given back.
    pub fn aux_tail(&self) -> u64 {
        self.load(AUX_TAIL)
    }

    /// Stores a head that cannot be.
    pub fn store_heads(&self, records: u64, aux: u64) {
        self.store(DATA_HEAD, records);
        self.store(AUX_HEAD, aux);
    }

    /// Writes into a ring that lies at `at`, around its end.
    fn write(&self, at: u64, len: u64, place: u64, bytes: &[u8]) {
        let start = place % len;
        let front = usize::try_from(len - start).map_or(bytes.len(), |room| room.min(bytes.len()));
        self.memory.write_all_at(&bytes[..front], at + start).expect("it is memory");
        self.memory.write_all_at(&bytes[front..], at).expect("it is memory");
    }

    /// Whether the unit has a buffer to write to.
    pub fn is_on(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether it has not done all that it will do.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty() || !self.moves.is_empty()
    }

    /// Makes the next move.
    fn go_on(&mut self) {
        if self.moves.is_empty()
            && let Some(step) = self.steps.pop_front()
        {
            self.begin(step);
        }
        if let Some(next) = self.moves.pop_front() {
            self.make(next);
        }
    }

    /// Makes all moves of the step that was begun: what is asked of a CPU by an ioctl is done when
    /// that returns.
    fn make_all(&mut self) {
        while let Some(next) = self.moves.pop_front() {
            self.make(next);
        }
    }

    /// `PERF_EVENT_IOC_ENABLE`.
    pub fn enable(&mut self) {
        self.make_all();
        if !self.is_on() {
            self.moves.push_back(Move::Begin);
            self.make_all();
        }
    }

    /// `PERF_EVENT_IOC_DISABLE`.
    pub fn disable(&mut self) {
        self.make_all();
        if self.is_on() {
            self.publish(0);
            self.limit = None;
            self.make_all();
        }
    }

    /// Nothing more will come: what was not done of the steps is left out.
    pub fn finish(&mut self) {
        self.disable();
        self.steps.clear();
        if !self.begun.is_empty() && self.told_to != self.place {
            self.told.untold_cuts.push(self.place);
        }
        self.cut();
    }

    fn begin(&mut self, step: Step) {
        match step {
            Step::Trace { bytes } => self.trace(bytes),
            Step::Interrupt { collision } if self.is_on() => {
                self.publish(if collision { aux_flag::COLLISION } else { 0 });
                self.moves.push_back(Move::Begin);
            }
            Step::Fault { after } if self.room() >= RECORD => self.fault(after),
            Step::Tasks(count) => {
                for _ in 0..count {
                    let comm = Record::Comm { pid: 7, tid: 8, comm: "worker", exec: false };
                    self.record(comm, Sign::Task);
                }
            }
            Step::Interrupt { .. } | Step::Fault { .. } => {}
        }
    }

    /// Bytes up to the end of the unit's buffer; 0 if it is off.
    fn room(&self) -> usize {
        let room = self.limit.map_or(0, |limit| limit - self.place);
        usize::try_from(room).expect("a ring is shorter")
    }

    fn next_load(&mut self) -> [u8; RECORD] {
        self.last += 1;
        load(self.last_paddr(), 5000 + self.last)
    }

    /// The address of the record that was begun last.
    fn last_paddr(&self) -> u64 {
        u64::from(self.number) << 40 | self.last << 12 | 8
    }

    fn unit_writes(&mut self, bytes: Vec<u8>) {
        let place = self.place;
        self.place += bytes.len() as u64;
        self.moves.push_back(Move::AuxBytes(place, bytes));
    }

    fn zeros(&mut self, len: usize) {
        self.told.padding += len as u64;
        self.unit_writes(vec![0; len]);
    }

    /// The unit writes until it wrote that much, or its buffer is full.
    fn trace(&mut self, bytes: usize) {
        if !self.is_on() {
            return;
        }
        let wanted = if self.manner.whole { bytes.next_multiple_of(RECORD) } else { bytes };
        let room = self.room();
        let fits = if self.manner.whole { room / RECORD * RECORD } else { room };
        let mut written = Vec::new();
        let len = wanted.min(fits);
        while written.len() < len {
            if self.begun.is_empty() {
                self.begun = self.next_load().to_vec();
            }
            let part = self.begun.len().min(len - written.len());
            written.extend(self.begun.drain(..part));
            if self.begun.is_empty() {
                self.told.loads.push((self.last_paddr(), self.place + written.len() as u64));
            }
        }
        self.unit_writes(written);
        if wanted >= fits && self.manner.whole {
            // It is full: the rest of it is padded, and it goes on in the next one.
            let rest = self.room();
            self.zeros(rest);
            self.publish(0);
            self.moves.push_back(Move::Begin);
            if wanted > fits {
                self.steps.push_front(Step::Trace { bytes: wanted - fits });
            }
        } else if wanted >= fits {
            let partial = if self.begun.is_empty() { 0 } else { aux_flag::PARTIAL };
            self.cut();
            self.publish(aux_flag::TRUNCATED | partial);
            self.limit = None;
        }
    }

    /// A fault: the record that was begun stays as it is.
    fn fault(&mut self, after: usize) {
        if self.begun.is_empty() {
            self.begun = self.next_load().to_vec();
        }
        let left = self.begun.len();
        let part: Vec<_> = self.begun.drain(..after.min(left - 1)).collect();
        self.unit_writes(part);
        self.cut();
        self.publish(aux_flag::TRUNCATED | aux_flag::PARTIAL);
        self.limit = None;
    }

    /// What was begun of a record stays unfinished.
    fn cut(&mut self) {
        if !self.begun.is_empty() {
            let len = (RECORD - self.begun.len()) as u64;
            // It has seven bytes of padding behind 48.
            let packets = len.min(48) + len.saturating_sub(55);
            self.told.cut_loads.push(self.last_paddr());
            self.told.cut_off += packets;
            self.told.padding += len - packets;
            self.begun.clear();
        }
    }

    /// `perf_aux_output_end`: all that the unit wrote.
    fn publish(&mut self, flags: u64) {
        let (offset, size) = (self.aux_head, self.place - self.aux_head);
        if self.manner.early {
            self.head();
        }
        if size > 0 || flags > 0 {
            let sign = Sign::Aux { flags, end: self.place, size };
            self.record(Record::Aux { offset, size, flags }, sign);
        }
        if !self.manner.early {
            self.head();
        }
    }

    fn head(&mut self) {
        self.aux_head = self.place;
        self.moves.push_back(Move::AuxHead(self.place));
    }

    fn record(&mut self, record: Record<'_>, sign: Sign) {
        let mut bytes = Vec::new();
        record.write(&mut bytes, endian(), TRAILER, &self.trailer());
        self.moves.push_back(Move::Record(bytes, sign));
    }

    fn trailer(&self) -> Trailer {
        let cpu = self.number;
        Trailer { pid: 7, tid: 8, time: 1000, id: SPE_ID + u64::from(cpu), cpu }
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::AuxBytes(place, bytes) => {
                self.told.aux_bytes += bytes.len() as u64;
                assert_eq!(self.load(AUX_OFFSET), self.aux_at(), "AUX data is mapped elsewhere");
                self.write(self.aux_at(), self.aux_len, place, &bytes);
            }
            Move::AuxHead(head) => self.store(AUX_HEAD, head),
            Move::DataHead(head) => self.store(DATA_HEAD, head),
            Move::Record(bytes, sign) => self.write_record(bytes, sign),
            Move::Begin => self.look_for_room(),
        }
    }

    /// `perf_output_begin`: asks for room for a record, and for one of those that found none.
    fn write_record(&mut self, record: Vec<u8>, sign: Sign) {
        let mut bytes = Vec::new();
        if self.lost > 0 {
            let lost = Record::Lost { id: SPE_ID + u64::from(self.number), lost: self.lost };
            lost.write(&mut bytes, endian(), TRAILER, &self.trailer());
        }
        bytes.extend(record);
        let held = self.data_head.wrapping_sub(self.data_tail());
        let told = &mut self.told;
        if self.record_len - held < bytes.len() as u64 {
            self.lost += 1;
            told.had_losses = true;
            if let Sign::Aux { flags, end, .. } = sign
                && flags & !aux_flag::COLLISION > 0
            {
                told.untold_cuts.push(end);
            }
            return;
        }
        told.lost += take(&mut self.lost);
        match sign {
            Sign::Task => told.tasks += 1,
            Sign::Aux { flags, end, size } => {
                self.told_to = end;
                told.aux_ends.extend((size > 0).then_some(end));
                told.truncated += u64::from(flags & aux_flag::TRUNCATED > 0);
                told.partial += u64::from(flags & aux_flag::PARTIAL > 0);
                told.collision += u64::from(flags & aux_flag::COLLISION > 0);
            }
        }
        self.write(self.page, self.record_len, self.data_head, &bytes);
        self.data_head = self.data_head.wrapping_add(bytes.len() as u64);
        self.moves.push_front(Move::DataHead(self.data_head));
    }

    /// `perf_aux_output_begin` and `arm_spe_next_off`. A byte of the ring stays free.
    fn look_for_room(&mut self) {
        self.limit = None;
        let size = self.aux_len - 1 - (self.aux_head - self.aux_tail());
        if size == 0 {
            // No record says so.
            self.told.silent += 1;
            return;
        }
        let end = self.aux_head + size;
        if !self.manner.whole {
            self.limit = Some(end);
            return;
        }
        let misaligned = (self.aux_head.next_multiple_of(ALIGN) - self.aux_head).min(size);
        if misaligned > 0 {
            self.skip(misaligned);
        }
        let half = self.aux_len / 2;
        let mark = (self.aux_head / half + 1) * half;
        let limit = (end / GRANULE * GRANULE).min(mark);
        if limit > self.aux_head {
            self.limit = Some(limit);
        } else {
            self.skip(end - self.aux_head);
            self.publish(aux_flag::TRUNCATED);
        }
    }

    /// `arm_spe_pad_buf`: zeros that no AUX record speaks of.
    fn skip(&mut self, len: u64) {
        self.zeros(usize::try_from(len).expect("a ring is shorter"));
        self.head();
    }
}

/// This machine's: rings have no other.
fn endian() -> Endian {
    if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little }
}

/// All CPUs, each of which goes on when the dice say so.
#[derive(Debug)]
pub struct Kernel {
    /// The CPUs.
    pub cpus: Vec<Cpu>,
    /// Says which CPU goes on.
    pub dice: Rng,
    /// Most moves at a time, while we look.
    pub most: u64,
}

impl Kernel {
    /// Some CPUs make some moves: this is called wherever we look at, or let go of, something.
    pub fn meanwhile(&mut self) {
        let moves = self.dice.below(self.most + 1);
        self.makes(moves);
    }

    /// CPUs that the dice choose make so many moves.
    pub fn makes(&mut self, moves: u64) {
        for _ in 0..moves {
            let number = self.dice.index(self.cpus.len());
            self.cpus[number].go_on();
        }
    }

    /// Whether any CPU has not done all that it will do.
    pub fn has_steps(&self) -> bool {
        self.cpus.iter().any(Cpu::has_steps)
    }
}
