//! Puts records of a scenario into a container and keeps account.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use crate::bytes::{Endian, align, index, low8, low16};
use crate::config::{Config, Form, Source};
use crate::damage::Damage;
use crate::perf::attr::{flag, sample_type as st};
use crate::perf::feature::{Features, bit};
use crate::perf::record::{Record as Kernel, Trailer, aux_flag};
use crate::perf::sample::data_src;
use crate::perf::tool::{self, kind};
use crate::perf::{
    Attr, Auxtrace, AuxtraceInfo, Event, Ring, Sample, Settings, TimeConv, Writer, compress,
};
use crate::rng::Rng;
use crate::scenario::{Plan, Touch};
use crate::spe::{self, Encoded, Layout, address, event, operation, source};
use crate::truth::{Op, Sampled, Truth};

/// PMU type of the tracing event: whatever the kernel gave out at boot.
const PMU: u32 = 11;
/// The software PMU and its event that counts nothing but carries side-band records.
const SOFTWARE: (u32, u64) = (1, 9);
/// Timer ticks of a second.
const TICKS_PER_SECOND: u64 = 25_000_000;
/// How long a recording lasts, if that leaves at least a few ticks between records.
const SECONDS: u64 = 10;
/// Threads that run: process and thread.
const TASKS: [(u32, u32); 4] = [(4242, 4242), (4242, 4243), (777, 777), (777, 778)];

/// Where a recording goes.
trait Sink {
    fn tool(&mut self, records: &[u8]) -> io::Result<()>;
    fn ring(&mut self, cpu: u32, records: &[u8]);
    fn drain(&mut self, cpu: u32) -> io::Result<()>;
    fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()>;
}

impl<W: Write> Sink for Writer<W> {
    fn tool(&mut self, records: &[u8]) -> io::Result<()> {
        Self::tool(self, records)
    }

    fn ring(&mut self, _: u32, records: &[u8]) {
        Self::ring(self, records);
    }

    fn drain(&mut self, _: u32) -> io::Result<()> {
        Self::drain(self)
    }

    fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        Self::auxtrace(self, record, payload)
    }
}

/// A folder whose rings go to `data.N`, one of each CPU.
struct Folder<W> {
    data: Writer<W>,
    parts: Vec<(Ring, W)>,
}

impl<W: Write> Sink for Folder<W> {
    fn tool(&mut self, records: &[u8]) -> io::Result<()> {
        self.data.tool(records)
    }

    fn ring(&mut self, cpu: u32, records: &[u8]) {
        self.parts[cpu as usize].0.push(records);
    }

    fn drain(&mut self, cpu: u32) -> io::Result<()> {
        let (ring, out) = &mut self.parts[cpu as usize];
        ring.drain(out).map(drop)
    }

    fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        self.data.auxtrace(record, payload)
    }
}

/// AUX data alone.
struct AuxOnly(Vec<u8>);

impl Sink for AuxOnly {
    fn tool(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn ring(&mut self, _: u32, _: &[u8]) {}

    fn drain(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn auxtrace(&mut self, _: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(payload);
        Ok(())
    }
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

struct Generator<'c, 'r> {
    config: &'c Config,
    rows: Option<&'r mut dyn Write>,
    rng: Rng,
    plan: Plan,
    // Records left: with physical address, not memory, without physical address.
    left: [u64; 3],
    cpus: Vec<Cpu>,
    events: Vec<Event>,
    conv: TimeConv,
    // Most ticks between two records of a CPU.
    step: u64,
    piece: usize,
    due: VecDeque<(u64, Hurt)>,
    generated: u64,
    flips_left: u64,
    flip_step: u64,
    next_flip: u64,
    truth: Truth,
}

impl<'c, 'r> Generator<'c, 'r> {
    fn new(config: &'c Config, rows: Option<&'r mut dyn Write>) -> io::Result<Self> {
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
                ring: Vec::new(),
                pending: Vec::new(),
                position: 0,
                placed: VecDeque::new(),
                missing: 0,
            })
            .collect();
        let per_cpu = (config.records / u64::from(config.cpus)).max(1);
        let step = (2 * SECONDS * TICKS_PER_SECOND / per_cpu).clamp(4, 20_000);
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
            truth: Truth::default(),
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

    fn trailer(&self, cpu: usize, event: usize) -> Trailer {
        let cpu = &self.cpus[cpu];
        let (pid, tid) = TASKS[cpu.task];
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
            let (pid, tid) = TASKS[self.cpus[cpu].task];
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

    fn run(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
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
        let (pid, tid) = TASKS[self.cpus[cpu].task];
        let mut rank = self.rng.below(self.records_left());
        let mut class = 0;
        while rank >= self.left[class] {
            rank -= self.left[class];
            class += 1;
        }
        self.left[class] -= 1;
        let rng = &mut self.rng;
        let kernel = rng.percent(15);
        let (ip, level) = if kernel {
            (0xffff_8000_1000_0000 + rng.below(1 << 20) * 4, 2)
        } else {
            (0x40_0000 + rng.below(1 << 16) * 4, 0)
        };
        let timed = !self.config.timeless;
        let mut record = spe::Record {
            pc: Some(address::code(ip, level)),
            context: layout.has_context().then_some((u8::from(layout != Layout::N1), tid)),
            timestamp: timed.then_some(ticks),
            ..spe::Record::default()
        };
        let mut sampled = Sampled {
            cpu: self.cpus[cpu].number,
            pid,
            tid,
            ticks: (timed && self.config.source == Source::Spe).then_some(ticks),
            ns: None,
            op: Op::NotMemory,
            ip,
            vaddr: None,
            paddr: None,
            latency: 0,
            source: None,
            retired: true,
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
        sampled.ns = self.ns(ticks);
        (sampled, record)
    }

    /// Another task gets the CPU.
    fn switch(&mut self, cpu: usize) {
        let old = self.cpus[cpu].task;
        let new = (old + 1) % TASKS.len();
        let (pid, tid) = TASKS[new];
        self.side_band(cpu, 1, Kernel::SwitchCpuWide { out: true, pid, tid });
        self.cpus[cpu].task = new;
        let (pid, tid) = TASKS[old];
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
            misc: if sampled.ip >> 63 == 1 { 0x4001 } else { 0x4002 },
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
        let mut len = target;
        if whole || !self.config.cut_anywhere || from.pending.len() <= target {
            let before = from.pending.len();
            align(&mut from.pending, 8);
            len = from.pending.len();
            if hurt != Some(Hurt::Drop) {
                self.truth.ledger.padding_bytes += (len - before) as u64;
            }
        }
        let keep = self.keep(cpu, len, hurt);
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

/// A branch or an operation without memory.
fn not_memory(rng: &mut Rng, record: &mut spe::Record, ip: u64, level: u8, layout: Layout) {
    let total = rng.between(4, 900);
    record.total = Some(low16(total));
    record.issue = Some(low16(rng.between(1, total)));
    let mut events = event::RETIRED;
    if rng.percent(60) {
        let conditional = rng.percent(60);
        let payload = if conditional {
            operation::CONDITIONAL
        } else {
            rng.choose(&[0, operation::INDIRECT])
        };
        record.operation = Some((operation::BRANCH, payload));
        if conditional && rng.percent(40) {
            events |= event::NOT_TAKEN;
        } else {
            record.target = Some(address::code(ip + 64, level));
        }
        if rng.percent(3) {
            events |= event::MISPREDICTED;
        }
        if layout == Layout::Mix && rng.percent(30) {
            record.previous_target = Some(address::code(ip - 256, level));
        }
    } else {
        record.operation = Some((operation::OTHER, u8::from(rng.percent(10))));
    }
    record.events = Some(events);
}

/// A load, store or atomic; without `touch` one without a physical address, with `stray` as its virtual one.
fn memory(
    rng: &mut Rng,
    record: &mut spe::Record,
    sampled: &mut Sampled,
    touch: Option<Touch>,
    stray: u64,
    kernel: bool,
    layout: Layout,
) {
    let (op, payload) = operation(rng, layout);
    sampled.op = op;
    record.operation = Some((operation::MEMORY, payload));
    if let Some(touch) = touch {
        // The kernel reaches the page by its own map of all memory, or by the user's address.
        let linear = kernel && rng.percent(70);
        let va = if linear { 0xffff_0000_0000_0000 + touch.physical } else { touch.user };
        let tag = match rng.below(100) {
            0 if !linear => 0x5a,
            0..50 if linear => 0xff,
            _ => 0,
        };
        record.va = Some(address::data(va, tag));
        record.pa = Some(match rng.below(20) {
            0 => address::physical(touch.physical, rng.percent(50), low8(rng.below(16))),
            _ => address::physical(touch.physical, false, 0),
        });
        sampled.vaddr = Some(va);
        sampled.paddr = Some(touch.physical);
        if layout == Layout::Mix && rng.percent(2) {
            record.operation = None;
            sampled.op = Op::Access;
        }
    } else if rng.percent(80) {
        record.va = Some(address::data(stray, 0));
        sampled.vaddr = Some(stray);
    }
    let (from, low, high, extra) = match rng.below(100) {
        0..60 => (source::L1D, 5, 20, 0),
        60..75 => (source::L2, 12, 40, event::L1D_REFILL),
        75 => (source::PEER_CORE, 30, 90, event::L1D_REFILL),
        76..80 => (source::LOCAL_CLUSTER, 30, 90, event::L1D_REFILL),
        80..88 => (source::SYSTEM_CACHE, 60, 180, event::L1D_REFILL | event::LLC_ACCESS),
        88..90 => (source::PEER_CLUSTER, 60, 220, event::L1D_REFILL | event::LLC_ACCESS),
        90 => (
            source::REMOTE,
            250,
            900,
            event::L1D_REFILL | event::LLC_ACCESS | event::LLC_MISS | event::REMOTE,
        ),
        _ => (source::DRAM, 150, 700, event::L1D_REFILL | event::LLC_ACCESS | event::LLC_MISS),
    };
    let issue = rng.between(1, 30);
    let walk = rng.percent(2);
    record.issue = Some(low16(issue));
    record.total = Some(low16(issue + rng.between(low, high)));
    record.translation = Some(low16(if walk { rng.between(20, 90) } else { rng.between(0, 4) }));
    let mut events = event::L1D_ACCESS | event::TLB_ACCESS | extra;
    events |= if walk { event::TLB_WALK } else { 0 };
    if rng.percent(99) {
        events |= event::RETIRED;
    } else {
        sampled.retired = false;
    }
    record.events = Some(events);
    // Stores and atomics that return nothing have no source.
    if payload & operation::STORE == 0 && layout.has_source() {
        record.source = Some(from);
    }
}

/// What an operation is, and the payload that says so.
fn operation(rng: &mut Rng, layout: Layout) -> (Op, u8) {
    let store = rng.percent(37);
    let bit = u8::from(store);
    if rng.percent(5) {
        return (Op::Atomic, operation::ATOMIC | bit);
    }
    let op = if store { Op::Store } else { Op::Load };
    let subclass = match rng.below(100) {
        0..85 => operation::GENERAL,
        85..95 => operation::SIMD,
        95 | 96 => operation::ACQUIRE_RELEASE,
        97 => operation::EXCLUSIVE,
        _ if layout != Layout::Mix => operation::UNSPECIFIED,
        _ => rng.choose(&[
            operation::TAG,
            operation::SVE_PREDICATED,
            operation::SVE_GATHER,
            operation::COPY,
            operation::UNSPECIFIED,
        ]),
    };
    if layout == Layout::Mix && store && rng.percent(1) {
        return (op, operation::SET);
    }
    (op, subclass | bit)
}

/// The tracing event and the one that carries side-band records.
fn events(config: &Config) -> Vec<Event> {
    let time = if config.timeless { 0 } else { st::TIME };
    let common = st::IDENTIFIER | st::IP | st::TID | st::CPU | st::DATA_SRC | st::PHYS_ADDR | time;
    let ids = |base: u64| (0..u64::from(config.cpus)).map(|cpu| base + cpu).collect();
    let (kind, size) = (PMU, config.attr_size);
    let (first, name) = match config.source {
        Source::Spe => (
            Attr {
                kind,
                size,
                // ts_enable, pa_enable, jitter.
                config: u64::from(!config.timeless) | 1 << 1 | 1 << 16,
                sample_period: 1024,
                sample_type: common,
                flags: flag::INHERIT | flag::SAMPLE_ID_ALL,
                ..Attr::default()
            },
            match config.timeless {
                false => "arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/",
                true => "arm_spe_0/pa_enable=1,jitter=1/",
            },
        ),
        Source::Samples => (
            Attr {
                kind,
                size,
                sample_period: 100_003,
                sample_type: common
                    | st::ADDR
                    | st::PERIOD
                    | st::WEIGHT_STRUCT
                    | st::DATA_PAGE_SIZE,
                flags: flag::INHERIT | flag::SAMPLE_ID_ALL,
                ..Attr::default()
            },
            "ibs_op//",
        ),
    };
    let side_band = Attr {
        kind: SOFTWARE.0,
        size,
        config: SOFTWARE.1,
        sample_period: 1,
        sample_type: first.sample_type,
        flags: flag::INHERIT
            | flag::MMAP
            | flag::COMM
            | flag::TASK
            | flag::SAMPLE_ID_ALL
            | flag::MMAP2
            | flag::CONTEXT_SWITCH,
        ..Attr::default()
    };
    vec![
        Event { attr: first, ids: ids(10_000), name: name.to_owned() },
        Event { attr: side_band, ids: ids(20_000), name: "dummy:u".to_owned() },
    ]
}

/// The feature sections that are known at the start.
fn features(config: &Config, events: &[Event]) -> Features {
    let mut features = Features::new(config.endian);
    features
        .text(bit::HOSTNAME, "spehost")
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::VERSION, "6.12.0")
        .cpus(config.cpus)
        .words(bit::TOTAL_MEM, &[256 << 20])
        .events(events);
    match config.source {
        Source::Spe => features
            .text(bit::ARCH, "aarch64")
            .text(bit::CPUDESC, "Neoverse-N1")
            .text(bit::CPUID, &format!("{:#018x}", spe::MIDR_NEOVERSE_N1))
            .command(&["/usr/bin/perf", "record", "-a", "-e", &events[0].name])
            .pmus(&[
                (1, "software"),
                (2, "tracepoint"),
                (5, "breakpoint"),
                (8, "armv8_pmuv3_0"),
                (PMU, "arm_spe_0"),
            ]),
        Source::Samples => features
            .text(bit::ARCH, "x86_64")
            .text(bit::CPUDESC, "AMD EPYC 9654 96-Core Processor")
            .text(bit::CPUID, "AuthenticAMD,25,17,1")
            .command(&["/usr/bin/perf", "record", "-a", "-d", "--phys-data", "-e", &events[0].name])
            .pmus(&[
                (1, "software"),
                (2, "tracepoint"),
                (4, "cpu"),
                (5, "breakpoint"),
                (10, "ibs_fetch"),
                (PMU, "ibs_op"),
            ]),
    };
    if config.compression.is_some() {
        features.compressed(compress::LEVEL, compress::LONGEST);
    }
    if config.form == Form::Folder {
        features.words(bit::DIR_FORMAT, &[1]);
    }
    features
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
            let mut sampled = Sampled {
                cpu: 0,
                pid: 0,
                tid: 0,
                ticks: None,
                ns: None,
                op: Op::NotMemory,
                ip: 0,
                vaddr: None,
                paddr: None,
                latency: 0,
                source: None,
                retired: true,
            };
            memory(&mut rng, &mut record, &mut sampled, touch, 0, false, layout);
        }
        out.clear();
        record.write(layout, &mut rng, &mut out);
        record_bytes += out.len() as u64;
    }
    (record_bytes / TRIALS).max(1)
}

/// Passes on the first bytes and swallows the rest.
struct Limited<W> {
    out: W,
    left: Option<u64>,
    cut: bool,
}

impl<W> Limited<W> {
    const fn new(out: W, limit: Option<u64>) -> Self {
        Self { out, left: limit, cut: false }
    }
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = &mut self.left else { return self.out.write(bytes) };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        self.cut |= most < bytes.len();
        self.out.write_all(&bytes[..most])?;
        *left -= most as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn settings(config: &Config, events: &[Event]) -> Settings {
    Settings {
        endian: config.endian,
        stream: config.form == Form::Stream,
        compression: config.compression,
        events: events.to_vec(),
    }
}

/// Finishes a recording with the features that are known at its end; gives the header.
fn finish<W: Write>(
    writer: Writer<W>,
    config: &Config,
    mut features: Features,
    truth: &Truth,
) -> io::Result<(W, Option<Vec<u8>>)> {
    if config.damage.killed {
        return Ok((writer.abandon()?, None));
    }
    if let Some((first, last)) = truth.times {
        features.words(bit::SAMPLE_TIME, &[first, last]);
    }
    let finished = writer.finish(features, config.form == Form::File)?;
    Ok((finished.out, finished.header))
}

/// Writes a recording in the file form to `out`, which stands at its start, and gives the truth. `rows` takes a line
/// per record, see [`Sampled::write_row`].
///
/// # Errors
///
/// Those of the outputs, and of a wrong configuration.
pub fn write_file(
    config: &Config,
    out: &mut (impl Write + Seek),
    rows: Option<&mut dyn Write>,
) -> io::Result<Truth> {
    let config = &Config { form: Form::File, ..config.clone() };
    let mut generator = Generator::new(config, rows)?;
    let features = features(config, &generator.events);
    let limited = Limited::new(&mut *out, config.damage.cut);
    let mut writer =
        Writer::new(limited, settings(config, &generator.events), &features, config.seed)?;
    generator.run(&mut writer)?;
    let mut truth = generator.truth;
    let (limited, header) = finish(writer, config, features, &truth)?;
    truth.ledger.cut = limited.cut;
    if let Some(header) = header {
        out.seek(SeekFrom::Start(0))?;
        Limited::new(&mut *out, config.damage.cut).write_all(&header)?;
        out.flush()?;
    }
    Ok(truth)
}

/// Writes a recording in the stream form; memory does not grow with its length but for the truth. See
/// [`write_file`].
///
/// # Errors
///
/// Those of the outputs, and of a wrong configuration.
pub fn write_stream(
    config: &Config,
    out: &mut impl Write,
    rows: Option<&mut dyn Write>,
) -> io::Result<Truth> {
    let config = &Config { form: Form::Stream, ..config.clone() };
    let mut generator = Generator::new(config, rows)?;
    let features = features(config, &generator.events);
    let limited = Limited::new(out, config.damage.cut);
    let mut writer =
        Writer::new(limited, settings(config, &generator.events), &features, config.seed)?;
    generator.run(&mut writer)?;
    let mut truth = generator.truth;
    let (limited, _) = finish(writer, config, features, &truth)?;
    truth.ledger.cut = limited.cut;
    Ok(truth)
}

/// Writes a recording in the folder form: SPE data stays in `data`, samples go to `data.N`. A limit on the output
/// holds for `data`. See [`write_file`].
///
/// # Errors
///
/// Those of the outputs, and of a wrong configuration.
pub fn write_folder(
    config: &Config,
    folder: &Path,
    rows: Option<&mut dyn Write>,
) -> io::Result<Truth> {
    let config = &Config { form: Form::Folder, ..config.clone() };
    fs::create_dir_all(folder)?;
    let create = |name: &str| -> io::Result<_> {
        Ok(Limited::new(
            BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?),
            config.damage.cut,
        ))
    };
    let mut generator = Generator::new(config, rows)?;
    let features = features(config, &generator.events);
    let data =
        Writer::new(create("data")?, settings(config, &generator.events), &features, config.seed)?;
    let mut cut = false;
    let data = match config.source {
        Source::Spe => {
            let mut data = data;
            generator.run(&mut data)?;
            data
        }
        Source::Samples => {
            let mut parts = Vec::new();
            for cpu in 0..config.cpus {
                let ring =
                    Ring::new(config.compression, config.endian, config.seed + u64::from(cpu))?;
                parts.push((ring, create(&format!("data.{cpu}"))?));
            }
            let mut sink = Folder { data, parts };
            generator.run(&mut sink)?;
            for (_, out) in &mut sink.parts {
                out.flush()?;
                cut |= out.cut;
            }
            sink.data
        }
    };
    let mut truth = generator.truth;
    let (limited, header) = finish(data, config, features, &truth)?;
    truth.ledger.cut = cut || limited.cut;
    if let Some(header) = header {
        let mut out = limited.out;
        out.seek(SeekFrom::Start(0))?;
        Limited::new(&mut out, config.damage.cut).write_all(&header)?;
        out.flush()?;
    }
    Ok(truth)
}

/// A recording in the file or stream form, in memory.
///
/// # Errors
///
/// Those of a wrong configuration; the folder form is one.
pub fn to_bytes(config: &Config) -> io::Result<(Vec<u8>, Truth)> {
    match config.form {
        Form::File => {
            let mut out = Cursor::new(Vec::new());
            let truth = write_file(config, &mut out, None)?;
            Ok((out.into_inner(), truth))
        }
        Form::Stream => {
            let mut out = Vec::new();
            let truth = write_stream(config, &mut out, None)?;
            Ok((out, truth))
        }
        Form::Folder => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a folder is not one run of bytes"))
        }
    }
}

/// SPE data of one CPU without a container.
///
/// # Errors
///
/// Those of a wrong configuration.
pub fn aux_bytes(config: &Config) -> io::Result<(Vec<u8>, Truth)> {
    let config = &Config { cpus: 1, source: Source::Spe, ..config.clone() };
    let mut generator = Generator::new(config, None)?;
    let mut sink = AuxOnly(Vec::new());
    generator.run(&mut sink)?;
    Ok((sink.0, generator.truth))
}
