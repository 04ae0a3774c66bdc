//! Puts records of a scenario on CPUs, delivers them in pieces, and keeps account of what arrives.

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::access::{memory, not_memory, short_memory};
use crate::bytes::{Endian, align, index, low8};
use crate::config::{Config, Form, Source};
use crate::damage::Damage;
use crate::header::{PMU, events};
use crate::perf::record::{Record as Kernel, Trailer, aux_flag};
use crate::perf::sample::data_src;
use crate::perf::tool::{self, kind};
use crate::perf::{Auxtrace, AuxtraceInfo, Event, Sample, TimeConv};
use crate::rng::Rng;
use crate::scenario::{Plan, Touch};
use crate::spe::{self, Encoded, Layout, address, source};
use crate::truth::{Op, Sampled, Truth};

/// Threads whose numbers are used again, one for each CPU, count from here.
const FIRST_REUSED: u32 = 9000;
/// Timer ticks of a second.
const TICKS_PER_SECOND: u64 = 25_000_000;
/// Threads that run: process and thread.
const TASKS: [(u32, u32); 4] = [(4242, 4242), (4242, 4243), (777, 777), (777, 778)];

/// Where a recording goes.
pub(crate) trait Sink {
    fn tool(&mut self, records: &[u8]) -> io::Result<()>;
    fn ring(&mut self, cpu: u32, records: &[u8]);
    fn drain(&mut self, cpu: u32) -> io::Result<()>;
    fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()>;
}

/// A record's place in the AUX data of its CPU.
struct Placed {
    start: u64,
    // Behind the last packet that is not padding.
    finish: u64,
    packets: u64,
    padding: u64,
    sampled: Sampled,
}

struct Cpu {
    number: u32,
    ticks: u64,
    task: usize,
    // Threads that have had the number that is used again.
    lives: u32,
    // Ring records not yet drained.
    ring: Vec<u8>,
    // AUX bytes not yet copied; the first has position `position`.
    pending: Vec<u8>,
    position: u64,
    placed: VecDeque<Placed>,
    // Bytes of `position` that the hardware never wrote: offsets do not count them.
    missing: u64,
}

/// A damage that waits for its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hurt {
    Drop,
    Shorten,
    Truncated,
    Partial,
    Collision,
    Lost,
    LostSamples,
}

/// When which damage is due, in bytes generated.
fn schedule(damage: &Damage, bytes: u64) -> VecDeque<(u64, Hurt)> {
    let kinds = [
        (Hurt::Drop, damage.drop),
        (Hurt::Shorten, damage.shorten),
        (Hurt::Truncated, damage.truncated),
        (Hurt::Partial, damage.partial),
        (Hurt::Collision, damage.collision),
        (Hurt::Lost, damage.lost),
        (Hurt::LostSamples, damage.lost_samples),
    ];
    let mut due = Vec::new();
    for (shift, (hurt, count)) in (0u64..).zip(kinds) {
        for i in 0..count {
            let part = u128::from(bytes) * u128::from(8 * i + shift) / u128::from(8 * count);
            due.push((u64::try_from(part).expect("a part of a u64"), hurt));
        }
    }
    due.sort_by_key(|(at, _)| *at);
    due.into()
}

pub(crate) struct Generator<'c, 'r> {
    config: &'c Config,
    rows: Option<&'r mut dyn Write>,
    rng: Rng,
    plan: Plan,
    // Records left: with physical address, not memory, without physical address.
    left: [u64; 3],
    cpus: Vec<Cpu>,
    pub(crate) events: Vec<Event>,
    conv: TimeConv,
    // Most ticks between two records of a CPU.
    step: u64,
    piece: usize,
    due: VecDeque<(u64, Hurt)>,
    generated: u64,
    flips_left: u64,
    flip_step: u64,
    next_flip: u64,
    pub(crate) truth: Truth,
}

impl<'c, 'r> Generator<'c, 'r> {
    pub(crate) fn new(config: &'c Config, rows: Option<&'r mut dyn Write>) -> io::Result<Self> {
        config.check()?;
        let mut rng = Rng::new(config.seed);
        let share = |percent: u64| {
            let wide = u128::from(config.records) * u128::from(percent) / 100;
            u64::try_from(wide).expect("a part of a u64")
        };
        let (other, bare) = (share(config.not_memory), share(config.no_physical_address));
        let counted = config.records - other - bare;
        let plan = Plan::new(config.scenario, config.folios, counted, &mut rng);
        let cpus = (0..config.cpus)
            .map(|number| Cpu {
                number,
                ticks: TICKS_PER_SECOND + u64::from(number),
                task: number as usize % TASKS.len(),
                lives: 0,
                ring: Vec::new(),
                pending: Vec::new(),
                position: 0,
                placed: VecDeque::new(),
                missing: 0,
            })
            .collect();
        let per_cpu = (config.records / u64::from(config.cpus)).max(1);
        let step = (2 * config.seconds.saturating_mul(TICKS_PER_SECOND) / per_cpu).clamp(4, 20_000);
        let mut generator = Self {
            config,
            rows,
            rng,
            plan,
            left: [counted, other, bare],
            cpus,
            events: events(config),
            conv: TimeConv::default(),
            step,
            piece: config.piece_size,
            due: VecDeque::new(),
            generated: 0,
            flips_left: config.damage.flip,
            flip_step: 0,
            next_flip: 0,
            truth: Truth { without_pages: config.without_pages, ..Truth::default() },
        };
        let expected = config.records * mean_record_bytes(config);
        // Every CPU delivers a few times, however small the recording.
        let fair = expected / (u64::from(config.cpus) * 3) / 8 * 8;
        generator.piece = generator.piece.min(usize::try_from(fair).unwrap_or(usize::MAX).max(64));
        generator.due = schedule(&config.damage, expected);
        generator.flip_step = (2 * expected / config.damage.flip.max(1)).max(1);
        generator.next_flip = generator.rng.below(generator.flip_step);
        Ok(generator)
    }

    fn records_left(&self) -> u64 {
        self.left.iter().sum()
    }

    fn ns(&self, ticks: u64) -> Option<u64> {
        (!self.config.timeless).then(|| self.conv.ns(ticks))
    }

    /// Process and thread that a CPU runs.
    fn task(&self, cpu: usize) -> (u32, u32) {
        let Cpu { number, task, lives, .. } = self.cpus[cpu];
        if !self.config.reused_threads || task + 1 < TASKS.len() {
            return TASKS[task];
        }
        // One thread after the other, of two processes in turn, has the last task's place.
        let process = TASKS[if lives % 2 == 0 { 2 } else { 0 }].0;
        (process, FIRST_REUSED + number)
    }

    fn trailer(&self, cpu: usize, event: usize) -> Trailer {
        let (pid, tid) = self.task(cpu);
        let cpu = &self.cpus[cpu];
        let time = self.conv.ns(cpu.ticks);
        Trailer { pid, tid, time, id: self.events[event].ids[cpu.number as usize], cpu: cpu.number }
    }

    /// Puts a ring record of event `event` into the ring of a CPU.
    fn side_band(&mut self, cpu: usize, event: usize, record: Kernel<'_>) {
        let trailer = self.trailer(cpu, event);
        let sample_type = self.events[event].attr.sample_type;
        record.write(&mut self.cpus[cpu].ring, self.config.endian, sample_type, &trailer);
    }

    /// The records at the start that perf makes up: clock, tracer, tasks that exist. Their trailers are zero.
    fn start(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        let endian = self.config.endian;
        let mut out = Vec::new();
        if self.config.form == Form::Stream {
            self.events.iter().for_each(|event| tool::event_name(&mut out, endian, event));
        }
        tool::id_index(&mut out, endian, &self.events);
        if self.config.source == Source::Spe {
            self.conv.write(&mut out, endian);
            let info = match self.config.info_version {
                1 => AuxtraceInfo::V1 { pmu: PMU },
                _ => AuxtraceInfo::V2 {
                    pmu: PMU,
                    cpus: self.config.cpus,
                    midr: spe::MIDR_NEOVERSE_N1,
                },
            };
            info.write(&mut out, endian);
        }
        let sample_type = self.events[1].attr.sample_type;
        let zero = Trailer::default();
        // The last task is forked while recording.
        for (pid, tid) in &TASKS[..TASKS.len() - 1] {
            let comm = if *pid == 777 { "kvstore" } else { "spetest" };
            let record = Kernel::Comm { pid: *pid, tid: *tid, comm, exec: false };
            record.write(&mut out, endian, sample_type, &zero);
        }
        for pid in [4242, 777] {
            let (addr, len, prot) = (0x40_0000, 0x40_0000, 5);
            let text = Kernel::Mmap2 {
                pid,
                tid: pid,
                addr,
                len,
                pgoff: 0,
                prot,
                name: "/usr/bin/spetest",
            };
            text.write(&mut out, endian, sample_type, &zero);
            let (addr, len) = (0x7f00_0000_0000, 1 << 40);
            let heap =
                Kernel::Mmap2 { pid, tid: pid, addr, len, pgoff: 0, prot: 3, name: "//anon" };
            heap.write(&mut out, endian, sample_type, &zero);
        }
        tool::mark(&mut out, endian, kind::FINISHED_INIT);
        sink.tool(&out)?;
        for cpu in 0..self.cpus.len() {
            let (pid, tid) = self.task(cpu);
            if self.config.source == Source::Spe {
                self.side_band(cpu, 0, Kernel::ItraceStart { pid, tid });
            }
            if cpu == 0 {
                let (pid, tid) = TASKS[TASKS.len() - 1];
                let time = if self.config.timeless { 0 } else { self.conv.ns(self.cpus[0].ticks) };
                self.side_band(0, 1, Kernel::Fork { pid, ppid: pid, tid, ptid: pid, time });
                self.side_band(0, 1, Kernel::Comm { pid, tid, comm: "kvstore", exec: false });
            }
        }
        Ok(())
    }

    /// The start alone, with what the kernel says there.
    pub(crate) fn begin(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.start(sink)?;
        for cpu in &mut self.cpus {
            sink.ring(cpu.number, &std::mem::take(&mut cpu.ring));
            sink.drain(cpu.number)?;
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.start(sink)?;
        loop {
            let mut idle = true;
            for cpu in 0..self.cpus.len() {
                let delivered = match self.config.source {
                    Source::Spe => self.deliver_aux(cpu, sink)?,
                    Source::Samples => self.deliver_samples(cpu, sink)?,
                };
                idle &= !delivered;
            }
            let mut round = Vec::new();
            tool::mark(&mut round, self.config.endian, kind::FINISHED_ROUND);
            sink.tool(&round)?;
            if idle {
                return Ok(());
            }
        }
    }

    /// One record: what it is, and the packets it would leave.
    fn next_record(&mut self, cpu: usize, layout: Layout) -> (Sampled, spe::Record) {
        let step = self.rng.between(1, self.step);
        self.cpus[cpu].ticks += step;
        if self.rng.below(2000) == 0 {
            self.switch(cpu);
        }
        let ticks = self.cpus[cpu].ticks;
        let (pid, tid) = self.task(cpu);
        let mut rank = self.rng.below(self.records_left());
        let mut class = 0;
        while rank >= self.left[class] {
            rank -= self.left[class];
            class += 1;
        }
        self.left[class] -= 1;
        let timed = !self.config.timeless;
        let mut sampled = Sampled {
            cpu: self.cpus[cpu].number,
            pid,
            tid,
            ticks: (timed && self.config.source == Source::Spe).then_some(ticks),
            ns: self.ns(ticks),
            retired: true,
            ..Sampled::default()
        };
        let rng = &mut self.rng;
        if layout == Layout::Short {
            let timestamp = timed.then_some(ticks);
            let mut record = spe::Record { timestamp, ..spe::Record::default() };
            if class == 1 {
                record.operation = Some((spe::operation::OTHER, 0));
            } else {
                let touch = if class == 0 { self.plan.next(rng) } else { None };
                short_memory(rng, &mut record, &mut sampled, touch);
            }
            return (sampled, record);
        }
        let kernel = rng.percent(15);
        let (ip, level) = if kernel {
            (0xffff_8000_1000_0000 + rng.below(1 << 20) * 4, 2)
        } else {
            (0x40_0000 + rng.below(1 << 16) * 4, 0)
        };
        sampled.ip = ip;
        // Without guests the same numbers are drawn as ever.
        sampled.guest = self.config.guests > 0 && rng.percent(self.config.guests);
        let mut record = spe::Record {
            pc: Some(address::code(ip, level)),
            context: layout.has_context().then_some((u8::from(layout != Layout::N1), tid)),
            timestamp: timed.then_some(ticks),
            ..spe::Record::default()
        };
        if class == 1 {
            not_memory(rng, &mut record, ip, level, layout);
        } else {
            let touch = if class == 0 { self.plan.next(rng) } else { None };
            let stray = self.plan.some_user_address(rng);
            memory(rng, &mut record, &mut sampled, touch, stray, kernel, layout);
        }
        sampled.latency = record.total.unwrap_or(0);
        sampled.source = record.source;
        (sampled, record)
    }

    /// Another task gets the CPU.
    fn switch(&mut self, cpu: usize) {
        let (old, old_task) = (self.cpus[cpu].task, self.task(cpu));
        let new = (old + 1) % TASKS.len();
        let last = TASKS.len() - 1;
        self.cpus[cpu].task = new;
        let (pid, tid) = self.task(cpu);
        self.cpus[cpu].task = old;
        let time = if self.config.timeless { 0 } else { self.conv.ns(self.cpus[cpu].ticks) };
        let reused = self.config.reused_threads;
        if reused && new == last {
            self.side_band(cpu, 1, Kernel::Fork { pid, ppid: pid, tid, ptid: pid, time });
        }
        self.side_band(cpu, 1, Kernel::SwitchCpuWide { out: true, pid, tid });
        let (pid, tid) = old_task;
        if reused && old == last {
            self.side_band(cpu, 1, Kernel::Exit { pid, ppid: pid, tid, ptid: pid, time });
            self.cpus[cpu].lives += 1;
        }
        self.cpus[cpu].task = new;
        self.side_band(cpu, 1, Kernel::SwitchCpuWide { out: false, pid, tid });
    }

    fn account(&mut self, sampled: &Sampled) -> io::Result<()> {
        self.truth.add(sampled);
        match &mut self.rows {
            Some(rows) => sampled.write_row(*rows),
            None => Ok(()),
        }
    }

    fn hurt(&mut self) -> Option<Hurt> {
        let &(at, hurt) = self.due.front()?;
        if at > self.generated {
            return None;
        }
        self.due.pop_front();
        Some(hurt)
    }

    /// LOST or LOST_SAMPLES, if that is the damage.
    fn lose(&mut self, cpu: usize, hurt: Option<Hurt>) {
        let lost = self.rng.between(1, 9);
        match hurt {
            Some(Hurt::Lost) => {
                let id = self.trailer(cpu, 1).id;
                self.side_band(cpu, 1, Kernel::Lost { id, lost });
                self.truth.ledger.lost_records += lost;
            }
            Some(Hurt::LostSamples) => {
                self.side_band(cpu, 1, Kernel::LostSamples { lost, bpf: false });
                self.truth.ledger.lost_samples += lost;
            }
            _ => (),
        }
    }

    /// Drains the ring of a CPU; false if there was nothing left to do.
    fn deliver_samples(&mut self, cpu: usize, sink: &mut dyn Sink) -> io::Result<bool> {
        if self.records_left() == 0 && self.cpus[cpu].ring.is_empty() {
            return Ok(false);
        }
        let hurt = self.hurt();
        self.lose(cpu, hurt);
        let (endian, event) = (self.config.endian, self.events[0].attr);
        while self.records_left() > 0 && self.cpus[cpu].ring.len() < self.piece {
            let (mut sampled, record) = self.next_record(cpu, Layout::N1);
            let sample = self.sample(cpu, &sampled, &record, event.sample_period);
            sampled.source = None;
            // DATA_SRC has no word for an atomic: the sample says only that memory was touched,
            // by its addresses, or nothing at all.
            if !matches!(sampled.op, Op::Load | Op::Store | Op::NotMemory) {
                let addressed = sampled.vaddr.is_some() || sampled.paddr.is_some();
                sampled.op = if addressed { Op::Access } else { Op::NotMemory };
            }
            let ring = &mut self.cpus[cpu].ring;
            let before = ring.len();
            sample.write(ring, endian, event.sample_type);
            self.generated += (ring.len() - before) as u64;
            self.account(&sampled)?;
        }
        let ring = std::mem::take(&mut self.cpus[cpu].ring);
        sink.ring(self.cpus[cpu].number, &ring);
        sink.drain(self.cpus[cpu].number)?;
        Ok(true)
    }

    fn sample(&self, cpu: usize, sampled: &Sampled, record: &spe::Record, period: u64) -> Sample {
        let trailer = self.trailer(cpu, 0);
        let op = match sampled.op {
            Op::Load => data_src::OP_LOAD,
            Op::Store => data_src::OP_STORE,
            _ => data_src::OP_NA,
        };
        let level = match record.source {
            Some(source::L1D) => data_src::LEVEL_L1 | data_src::SNOOP_NONE | data_src::TLB_L1_HIT,
            Some(source::L2) => data_src::LEVEL_L2 | data_src::SNOOP_NONE | data_src::TLB_L1_HIT,
            Some(source::DRAM) => data_src::LEVEL_RAM | data_src::SNOOP_NONE | data_src::TLB_L1_HIT,
            Some(_) => data_src::LEVEL_L3 | data_src::SNOOP_NONE | data_src::TLB_L1_HIT,
            None => data_src::LEVEL_NA | data_src::SNOOP_NA | data_src::TLB_NA,
        };
        Sample {
            misc: match (sampled.ip >> 63 == 1, sampled.guest) {
                (true, false) => 0x4001,
                (false, false) => 0x4002,
                (true, true) => 0x4004,
                (false, true) => 0x4005,
            },
            id: trailer.id,
            stream_id: trailer.id,
            ip: sampled.ip,
            pid: sampled.pid,
            tid: sampled.tid,
            time: trailer.time,
            addr: sampled.vaddr.unwrap_or(0),
            cpu: trailer.cpu,
            period,
            weight: u64::from(sampled.latency) | u64::from(sampled.latency) << 32,
            data_src: op | level | data_src::LOCK_NA,
            phys_addr: sampled.paddr.unwrap_or(0),
            data_page_size: if sampled.paddr.is_some() { 4096 } else { 0 },
            code_page_size: 4096,
            ..Sample::default()
        }
    }

    /// Appends a record to the AUX data of a CPU.
    fn place_record(&mut self, cpu: usize) {
        let layout = self.rng.choose(&self.config.layouts);
        let (sampled, record) = self.next_record(cpu, layout);
        let to = &mut self.cpus[cpu];
        let start = to.position + to.pending.len() as u64;
        let Encoded { packets, padding, tail } =
            record.write(layout, &mut self.rng, &mut to.pending);
        let end = start + packets + padding;
        to.placed.push_back(Placed { start, finish: end - tail, packets, padding, sampled });
        self.generated += packets + padding;
    }

    /// How many bytes the next piece should have.
    fn target(&mut self) -> usize {
        if !self.config.cut_anywhere {
            return self.piece;
        }
        let words = self.piece as u64 / 8;
        let most = match self.rng.below(10) {
            0 => 1,
            1 => 8,
            2 | 3 => 32,
            _ => words,
        };
        let most = most.min(words).max(1);
        index(if most == 8 { 64 } else { self.rng.between(1, most) * 8 })
    }

    /// Copies AUX data of a CPU; false if there was nothing left to do.
    fn deliver_aux(&mut self, cpu: usize, sink: &mut dyn Sink) -> io::Result<bool> {
        let target = self.target();
        while self.records_left() > 0 && self.cpus[cpu].pending.len() < target {
            self.place_record(cpu);
        }
        let number = self.cpus[cpu].number;
        if self.cpus[cpu].pending.is_empty() {
            let ring = std::mem::take(&mut self.cpus[cpu].ring);
            sink.ring(number, &ring);
            sink.drain(number)?;
            return Ok(false);
        }
        let hurt = self.hurt();
        self.lose(cpu, hurt);
        let from = &mut self.cpus[cpu];
        let whole =
            matches!(hurt, Some(Hurt::Drop | Hurt::Shorten | Hurt::Truncated | Hurt::Partial));
        let (mut len, mut aligned) = (target, 0);
        if whole || !self.config.cut_anywhere || from.pending.len() <= target {
            let before = from.pending.len();
            align(&mut from.pending, 8);
            len = from.pending.len();
            aligned = (len - before) as u64;
        }
        let keep = self.keep(cpu, len, hurt);
        if keep == len {
            self.truth.ledger.padding_bytes += aligned;
        }
        let offset = self.cpus[cpu].position - self.cpus[cpu].missing;
        let flags = self.flags(hurt, keep < len);
        let announced = if flags & aux_flag::PARTIAL != 0 { keep } else { len };
        self.side_band(cpu, 0, Kernel::Aux { offset, size: announced as u64, flags });
        let ring = std::mem::take(&mut self.cpus[cpu].ring);
        sink.ring(number, &ring);
        sink.drain(number)?;

        self.flip(cpu, keep);
        if keep > 0 {
            let reference = 0x1234;
            let record = Auxtrace {
                size: keep as u64,
                offset,
                reference,
                idx: number,
                tid: u32::MAX,
                cpu: number,
            };
            sink.auxtrace(&record, &self.cpus[cpu].pending[..keep])?;
            self.truth.ledger.pieces += 1;
            self.truth.ledger.aux_bytes += keep as u64;
        }
        self.settle(cpu, len, keep)?;
        let from = &mut self.cpus[cpu];
        from.missing += (len - announced) as u64;
        from.position += len as u64;
        from.pending.drain(..len);
        Ok(true)
    }

    /// How many bytes of a piece of `len` survive.
    fn keep(&mut self, cpu: usize, len: usize, hurt: Option<Hurt>) -> usize {
        let from = &self.cpus[cpu];
        match hurt {
            Some(Hurt::Drop) => 0,
            Some(Hurt::Shorten | Hurt::Partial) => {
                let first = from.placed.partition_point(|placed| placed.start < from.position);
                if first == from.placed.len() {
                    return len;
                }
                let at = match hurt {
                    Some(Hurt::Partial) => from.placed.len() - 1,
                    _ => first + self.rng.index(from.placed.len() - first),
                };
                let placed = &from.placed[at];
                // Multiples of 8 inside the record; a record has at least 8 bytes.
                let low = (placed.start - from.position) / 8 + 1;
                let high = (placed.finish - from.position - 1) / 8;
                if low > high { len } else { index(self.rng.between(low, high) * 8) }
            }
            _ => len,
        }
    }

    fn flags(&mut self, hurt: Option<Hurt>, cut: bool) -> u64 {
        let flags = match hurt {
            Some(Hurt::Truncated) => aux_flag::TRUNCATED,
            Some(Hurt::Partial) if cut => aux_flag::TRUNCATED | aux_flag::PARTIAL,
            Some(Hurt::Collision) => aux_flag::COLLISION,
            _ => 0,
        };
        let ledger = &mut self.truth.ledger;
        ledger.truncated += u64::from(flags & aux_flag::TRUNCATED != 0);
        ledger.partial += u64::from(flags & aux_flag::PARTIAL != 0);
        ledger.collision += u64::from(flags & aux_flag::COLLISION != 0);
        flags
    }

    fn flip(&mut self, cpu: usize, keep: usize) {
        let start = self.truth.ledger.aux_bytes;
        while self.flips_left > 0 && self.next_flip < start + keep as u64 {
            let bit = low8(1 << self.rng.below(8));
            let at = self.next_flip.saturating_sub(start);
            self.cpus[cpu].pending[index(at)] ^= bit;
            self.truth.ledger.flipped_bits += 1;
            self.flips_left -= 1;
            self.next_flip += self.rng.between(1, self.flip_step);
        }
    }

    /// Accounts for the records of a piece of `len` bytes of which `keep` were copied.
    fn settle(&mut self, cpu: usize, len: usize, keep: usize) -> io::Result<()> {
        let start = self.cpus[cpu].position;
        let (kept, end) = (start + keep as u64, start + len as u64);
        self.truth.ledger.gaps += u64::from(keep < len);
        loop {
            let placed = &mut self.cpus[cpu].placed;
            let Some(first) = placed.front() else { break };
            // A record that goes on in the next piece. A damaged piece is cut behind a whole record.
            if first.start + first.packets + first.padding > end {
                break;
            }
            let Some(Placed { start: begin, finish, packets, padding, sampled }) =
                placed.pop_front()
            else {
                break;
            };
            if finish <= kept {
                self.truth.ledger.record_bytes += packets;
                // A cut may fall into the zeros behind a record's end.
                self.truth.ledger.padding_bytes +=
                    padding - (begin + packets + padding).saturating_sub(kept);
                self.account(&sampled)?;
            } else {
                self.truth.ledger.unfinished_bytes += kept.saturating_sub(begin);
            }
        }
        Ok(())
    }
}

/// How many bytes a record takes on average: of AUX data, or of a sample.
pub fn mean_record_bytes(config: &Config) -> u64 {
    const TRIALS: u64 = 2000;
    let mut rng = Rng::new(1);
    let mut record_bytes = 0;
    let mut out = Vec::new();
    if config.source == Source::Samples {
        Sample::default().write(&mut out, Endian::Little, events(config)[0].attr.sample_type);
        return out.len() as u64;
    }
    for _ in 0..TRIALS {
        let layout = rng.choose(&config.layouts);
        let mut record = spe::Record {
            pc: Some(0),
            context: layout.has_context().then_some((0, 0)),
            timestamp: (!config.timeless).then_some(0),
            ..spe::Record::default()
        };
        if rng.percent(config.not_memory) {
            not_memory(&mut rng, &mut record, 4096, 0, layout);
        } else {
            let bare = rng.percent(config.no_physical_address);
            let touch = (!bare).then_some(Touch { physical: 0, user: 0 });
            let mut sampled = Sampled::default();
            memory(&mut rng, &mut record, &mut sampled, touch, 0, false, layout);
        }
        out.clear();
        record.write(layout, &mut rng, &mut out);
        record_bytes += out.len() as u64;
    }
    (record_bytes / TRIALS).max(1)
}
