//! A report against the records that it sums up, with and without filters.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use decoder::{
    Access, DataSource, InputKind, Ledger, Options, Origin, Recording, Shard, Sink, Source,
    decode_bytes, decode_stream,
};
use heatmap::{Counter, Filters, NumberList, PfnRange, Summary, TimeRange, Verdict};
use report::{self, Format, Style};
use serde_json::Value;
use tracegen::bytes::Endian;
use tracegen::perf::Sample;
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::sample::data_src;
use tracegen::spe::{Packet, Width, address, counter, event, operation};

use super::Choices;
use super::probe::{ENOUGH, wanted};
use crate::made::{FIRST_ID, Made, sample_event, spe_event};
use crate::recompute::{Row, check, check_coverage, chunks, visits};

/// The fields of the samples that are made here.
const FIELDS: u64 = st::IDENTIFIER
    | st::IP
    | st::TID
    | st::TIME
    | st::CPU
    | st::ADDR
    | st::PHYS_ADDR
    | st::WEIGHT
    | st::DATA_SRC;
/// Records that are made at most.
const MOST_RECORDS: usize = 400;
/// Records of any bytes that are looked at one by one.
const MOST_LISTED: usize = 1 << 17;
/// CPUs of the made records.
const CPUS: u32 = 3;

/// Reads any bytes, and a recording that they choose. Everything that a report says of either can
/// be computed from the records, whatever the filters and the number of threads.
pub fn summary(data: &[u8]) {
    let mut choices = Choices::from_end(data);
    let keep = Keep::of(&mut choices);
    let order = choices.byte();
    summed_up(data, &keep, order);
    let stream = choices.flag();
    summed_up(&made(data, stream), &keep, order);
}

/// Panics unless all that a report says of a recording can be computed from its records. Says how
/// many of them were counted; none if it is no recording.
pub fn summed_up(recording: &[u8], keep: &Keep, order: u8) -> Option<usize> {
    let mut list = List::default();
    let options = Options { ordered: true, ..Options::new(NonZeroUsize::MIN) };
    let told = decode_bytes(&[recording], 0, &options, &mut list).ok()?;
    if list.seen.len() > MOST_LISTED {
        return None;
    }
    let rows: Vec<Row> = list.accesses.iter().map(|(_, row)| row.clone()).collect();
    list.evidence = evidence(&rows, keep);
    let kept: Vec<Row> =
        list.accesses.iter().map(|(_, row)| row).filter(|row| keep.keeps(row)).cloned().collect();
    let is_stream = told.kind == InputKind::Stream;
    for threads in 1..=3 {
        let mut options = Options::new(NonZeroUsize::new(threads).expect("1 to 3"));
        // So that queues are cut, too.
        options.grain.part = if threads == 3 { 64 } else { options.grain.part };
        let mut counter = Counter::new(keep.filters(), ENOUGH);
        let told = decode_bytes(&[recording], 0, &options, &mut counter).expect("as before");
        list.compare(told, &counter, &kept, order);
        list.check_evidence(keep, &counter, order);
    }
    if is_stream {
        let mut counter = Counter::new(keep.filters(), ENOUGH);
        let told = decode_stream(recording, 0, &options, &mut counter).expect("as before");
        list.compare(told, &counter, &kept, order);
        list.check_evidence(keep, &counter, order);
    }
    Some(kept.iter().filter(|row| row.paddr.is_some()).count())
}

/// What the records say of a block.
#[derive(Default)]
struct Evidence {
    accesses: BTreeMap<u16, u64>,
    visits: BTreeMap<u16, u64>,
    times: Vec<u64>,
    /// Something was dropped that a shorter recording would have.
    left_out: bool,
}

/// The evidence of each block, by its number.
fn evidence(rows: &[Row], keep: &Keep) -> BTreeMap<u64, Evidence> {
    let mut blocks = BTreeMap::<u64, Evidence>::new();
    for (row, visit) in rows.iter().zip(visits(rows)) {
        let Some(paddr) = row.paddr else { continue };
        let block = blocks.entry(paddr >> 21).or_default();
        let page = u16::try_from(paddr >> 12 & 511).expect("below 512");
        if keep.keeps(row) {
            *block.accesses.entry(page).or_default() += 1;
            *block.visits.entry(page).or_default() += u64::from(visit);
            block.times.extend(row.time_ns);
        } else {
            block.left_out |= row.time_ns.is_none() || keep.is_in_time(row.time_ns);
        }
    }
    blocks
}

/// All records of a run.
#[derive(Default)]
struct List {
    accesses: Vec<(Origin, Row)>,
    seen: Vec<Origin>,
    evidence: BTreeMap<u64, Evidence>,
}

impl List {
    fn compare(&self, told: Recording, counter: &Counter, kept: &[Row], order: u8) {
        let what = format!("{:?}", counter.filters());
        let recordings = [told];
        let summary =
            Summary::new("input".to_owned(), &recordings, counter, wanted(order, 30, true));
        let model = summary.report(false);
        let mut json = Vec::new();
        report::write(Format::Json, &model, &mut json, Style::default()).expect("memory takes it");
        let report: Value = serde_json::from_slice(&json).expect("it is JSON");
        check(&report, kept, &what);
        let seen: Vec<_> = self.seen.iter().map(|origin| (origin.cpu, origin.time_ns)).collect();
        check_coverage(&report, &seen, &what);
        self.check_sources(&model.records_by_source, &model.ledger);
        let decisions: BTreeMap<u64, _> =
            summary.decisions(true).map(|one| (one.folio_pfn.get() >> 9, one)).collect();
        for (number, decision) in &decisions {
            let rows: Vec<_> = kept
                .iter()
                .filter(|row| row.paddr.is_some_and(|paddr| paddr >> 21 == *number))
                .collect();
            let mut counts = BTreeMap::<u16, u32>::new();
            for paddr in rows.iter().filter_map(|row| row.paddr) {
                let page = u16::try_from(paddr >> 12 & 511).expect("below 512");
                *counts.entry(page).or_default() += 1;
            }
            assert_eq!(decision.counts, Some(counts.into_iter().collect()), "{what}: counts");
            // The last access of a user process; of those that tell no process, if none does.
            let of_user = |row: &&&Row| row.vaddr.is_some_and(|vaddr| vaddr >> 63 == 0);
            let last = rows.iter().rfind(|row| of_user(row) && row.pid.is_some());
            let last = last.or_else(|| rows.iter().rfind(of_user));
            let seen = last.map(|row| (row.pid, row.vaddr.map(|vaddr| vaddr >> 21 << 21)));
            assert_eq!((decision.pid, decision.vaddr), seen.unwrap_or_default(), "{what}: who");
        }
    }

    /// Visits, cold ones, the verdict, and what was left out.
    fn check_evidence(&self, keep: &Keep, counter: &Counter, order: u8) {
        let what = format!("{keep:?}");
        let order = order % 10;
        let judged = |complete| {
            let recordings = [];
            let wanted = wanted(order, 30, complete);
            let summary = Summary::new("input".to_owned(), &recordings, counter, wanted);
            summary.decisions(false).collect::<Vec<_>>()
        };
        let times = self.seen.iter().filter_map(|origin| origin.time_ns);
        let times: Vec<u64> = times.filter(|time| keep.is_in_time(Some(*time))).collect();
        let span = |times: &[u64]| Some(times.iter().max()? - times.iter().min()?);
        let least = span(&times).unwrap_or(0) / 10;
        for decision in judged(true) {
            let block = &self.evidence[&(decision.folio_pfn.get() >> 9)];
            let (sums, from) = chunks(&block.visits, order);
            let visits: u64 = sums.iter().sum();
            let hot = || sums.iter().filter(|sum| **sum >= from);
            let lonely = hot().filter(|sum| **sum == 1).count() as u64;
            let cold = visits - hot().sum::<u64>() + lonely;
            let found = decision.evidence;
            assert_eq!((found.visits, found.cold_visits), (visits, cold), "{what}");
            assert_eq!(found.cold_share.map(u64::from), (cold * 100).checked_div(visits), "{what}");
            let (accesses, threshold) = chunks(&block.accesses, order);
            let hot_chunks = accesses.iter().filter(|sum| **sum >= threshold).count();
            let m = (decision.hot_threshold as usize * accesses.len()).div_ceil(100);
            let k = u32::try_from(hot().count()).expect("at most 512");
            let p = heatmap::p_value(visits, k, u32::try_from(m).expect("at most 512"));
            let long = span(&block.times).is_none_or(|span| span >= least.min(1_000_000_000));
            let want = match () {
                () if m <= 1 => Verdict::Unsplittable,
                () if hot_chunks >= m => Verdict::Hot,
                () if k > 0 && p <= 0.001 && long => Verdict::Sparse,
                () => Verdict::Undersampled,
            };
            assert_eq!(decision.verdict, want, "{what}: {visits} visits, {k} of {m}, p {p}");
        }
        for decision in judged(false) {
            let block = &self.evidence[&(decision.folio_pfn.get() >> 9)];
            let found = decision.evidence.left_out;
            assert_eq!(found, block.left_out, "{what}: left out");
            assert_eq!(found, decision.verdict == Verdict::Filtered, "{what}: left out");
        }
    }

    /// The ledgers of the sources are what their records say, and add up to the whole one.
    fn check_sources(&self, told: &[(String, Ledger)], whole: &Ledger) {
        for source in Source::ALL {
            let of_source = |origin: &&Origin| origin.source == source;
            let records = self.seen.iter().filter(of_source).count() as u64;
            let accesses = self.accesses.iter().filter(|(origin, _)| of_source(&origin));
            let not_memory = records - accesses.count() as u64;
            let ledger = told.iter().find(|(name, _)| name == source.as_str());
            let ledger = ledger.map(|(_, ledger)| *ledger).unwrap_or_default();
            assert_eq!((ledger.records, ledger.not_memory), (records, not_memory), "{source:?}");
        }
        type Field = fn(&Ledger) -> u64;
        let sum = |field: Field| told.iter().map(|(_, part)| field(part)).sum::<u64>();
        let fields: [(Field, &str); 9] = [
            (|part| part.records, "records"),
            (|part| part.counted, "counted"),
            (|part| part.filtered, "filtered"),
            (|part| part.no_physical_address, "no_physical_address"),
            (|part| part.tid_unknown, "tid_unknown"),
            (|part| part.not_retired, "not_retired"),
            (|part| part.aux_bytes, "aux_bytes"),
            (|part| part.record_bytes, "record_bytes"),
            (|part| part.padding_bytes, "padding_bytes"),
        ];
        for (field, name) in fields {
            assert_eq!(sum(field), field(whole), "{name} of all sources");
        }
    }
}

impl Sink for List {
    fn access(&mut self, access: &Access) {
        self.accesses.push((access.origin, Row::of_access(access)));
        self.seen.push(access.origin);
    }

    fn other(&mut self, origin: &Origin) {
        self.seen.push(*origin);
    }
}

impl Shard for List {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.accesses.extend(other.accesses);
        self.seen.extend(other.seen);
    }
}

/// A query in plain words.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Loads and atomics.
    pub loads: bool,
    /// Stores and atomics.
    pub stores: bool,
    /// Cycles from which on.
    pub min_latency: Option<u32>,
    /// Processes, from and to.
    pub pids: Option<(u32, u32)>,
    /// Threads, from and to.
    pub tids: Option<(u32, u32)>,
    /// CPUs, from and to.
    pub cpus: Option<(u32, u32)>,
    /// The name of a data source.
    pub source: Option<DataSource>,
    /// Seconds, from and up to.
    pub seconds: Option<(u64, u64)>,
    /// Page frames, from and to.
    pub pfns: Option<(u64, u64)>,
}

impl Keep {
    /// The query that an input chooses: mostly of one filter, or none.
    fn of(choices: &mut Choices<'_>) -> Self {
        let mut keep = Self::default();
        for _ in 0..choices.below(3) {
            let from = u32::from(choices.byte() & 7);
            let range = (from, from + u32::from(choices.byte() & 3));
            match choices.below(9) {
                0 => keep.loads = true,
                1 => keep.stores = true,
                2 => keep.min_latency = Some(from * 100),
                3 => keep.pids = Some((4240 + range.0, 4240 + range.1)),
                4 => keep.tids = Some((4240 + range.0, 4240 + range.1)),
                5 => keep.cpus = Some(range),
                6 => {
                    keep.source = [DataSource::L1, DataSource::Dram].get(from as usize & 1).copied()
                }
                7 => keep.seconds = Some((0, from.into())),
                _ => keep.pfns = Some((u64::from(from) << 8, u64::from(range.1) << 8)),
            }
        }
        keep
    }

    /// Whether a time is in the range that is asked for.
    fn is_in_time(&self, time_ns: Option<u64>) -> bool {
        self.seconds.is_none_or(|(from, to)| {
            let second = 1_000_000_000;
            time_ns.is_some_and(|time| from * second <= time && time < to * second)
        })
    }

    /// Whether a record is kept.
    pub fn keeps(&self, row: &Row) -> bool {
        let within = |range: Option<(u32, u32)>, number: Option<u32>| {
            range.is_none_or(|(from, to)| number.is_some_and(|it| from <= it && it <= to))
        };
        let pfn = row.paddr.map(|paddr| paddr >> 12);
        let direction = !self.loads && !self.stores
            || self.loads && row.op == "load"
            || self.stores && row.op == "store"
            || row.op == "atomic";
        direction
            && self.min_latency.is_none_or(|least| row.latency.is_some_and(|it| it >= least))
            && within(self.pids, row.pid)
            && within(self.tids, row.tid)
            && within(self.cpus, row.cpu)
            && self.source.is_none_or(|source| row.source == Some(source.to_string()))
            && self.is_in_time(row.time_ns)
            && self.pfns.is_none_or(|(from, to)| pfn.is_some_and(|it| from <= it && it <= to))
    }

    /// The same for the program.
    fn filters(&self) -> Filters {
        let list = |range: Option<(u32, u32)>| {
            range.map(|(from, to)| format!("{from}-{to}").parse::<NumberList>().expect("a list"))
        };
        let time =
            |(from, to): (u64, u64)| format!("{from},{to}").parse::<TimeRange>().expect("a range");
        let pfn =
            |(from, to): (u64, u64)| format!("{from}-{to}").parse::<PfnRange>().expect("a range");
        Filters {
            loads: self.loads,
            stores: self.stores,
            min_latency_cycles: self.min_latency,
            pids: list(self.pids),
            tids: list(self.tids),
            cpus: list(self.cpus),
            sources: self.source.into_iter().collect(),
            events: Vec::new(),
            times: self.seconds.map(time).into_iter().collect(),
            pfns: self.pfns.map(pfn).into_iter().collect(),
        }
    }
}

/// A recording of Arm SPE data and of samples, in which every value is chosen by the input, from
/// few enough that blocks, threads and latencies come again.
fn made(data: &[u8], stream: bool) -> Vec<u8> {
    let mut choices = Choices::from_start(data);
    let samples = sample_event("page-faults", 2, FIELDS);
    let mut made = Made::of(Endian::Little, stream, vec![spe_event(), samples], "6.12.0");
    made.info();
    // Without a clock there are no times.
    if choices.byte() > 32 {
        made.clock();
    }
    let mut offsets = [0_u64; CPUS as usize];
    let mut count = 0;
    while !choices.is_empty() && count < MOST_RECORDS {
        count += 1;
        let cpu = u32::from(choices.byte()) % CPUS;
        if choices.byte() & 3 == 0 {
            made.sample(&sample(&mut choices, cpu), FIELDS);
            continue;
        }
        let mut piece = Vec::new();
        for _ in 0..=choices.below(6) {
            record(&mut choices, &mut piece);
        }
        let offset = &mut offsets[cpu as usize];
        made.aux(cpu, *offset, piece.len() as u64, 0);
        made.piece(cpu, *offset, &piece);
        *offset += piece.len() as u64;
    }
    made.finish()
}

/// A physical address in one of a few blocks, and a virtual one that may be congruent to it.
fn places(choices: &mut Choices<'_>) -> (u64, u64) {
    let page = u64::from(choices.byte());
    let paddr = u64::from(choices.byte() & 3) << 21 | (page & 0x7f) << 14 | 0x18;
    let vaddr = match choices.byte() {
        0..128 => 0x7f00_0000_0000 | paddr,
        128..192 => 0x7f00_0000_0000 | paddr ^ 1 << (12 + (page & 7)),
        _ => 0x00ff_8000_0000_0000 | paddr,
    };
    (paddr, vaddr)
}

/// A latency: mostly a usual one.
fn latency(choices: &mut Choices<'_>) -> u16 {
    match choices.byte() {
        0 => 0,
        1..200 => 300 + u16::from(choices.byte() % 100),
        _ => choices.u16(),
    }
}

fn sample(choices: &mut Choices<'_>, cpu: u32) -> Sample {
    let (paddr, vaddr) = places(choices);
    let has = choices.byte();
    let kernel = vaddr >> 48 != 0;
    let sign = if kernel { 0xff << 56 } else { 0 };
    let op = [data_src::OP_LOAD, data_src::OP_STORE, data_src::OP_NA][choices.below(3)];
    let level = [data_src::LEVEL_L1, data_src::LEVEL_RAM, data_src::LEVEL_NA][choices.below(3)];
    Sample {
        id: 3 * FIRST_ID,
        ip: 0x40_1000,
        pid: 4240 + u32::from(has & 7),
        tid: 4240 + u32::from(has >> 3 & 7),
        time: u64::from(choices.u16()) * 100_000,
        cpu,
        addr: if has & 64 == 0 { vaddr | sign } else { 0 },
        phys_addr: if has & 128 == 0 { paddr } else { 0 },
        weight: u64::from(latency(choices)) << if has == 7 { 20 } else { 0 },
        data_src: op | level,
        ..Sample::default()
    }
}

fn record(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    let (paddr, vaddr) = places(choices);
    let has = choices.byte();
    let class = if has & 1 == 0 { operation::MEMORY } else { choices.byte() % 3 };
    let payload = [operation::GENERAL, operation::STORE, operation::ATOMIC][choices.below(3)];
    let mut packets = vec![
        Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
        Packet::Events { bits: event::RETIRED | event::L1D_ACCESS, width: Width::One },
        Packet::Operation { class, payload },
    ];
    if has & 2 == 0 {
        packets.push(Packet::Counter { index: counter::TOTAL, value: latency(choices) });
    }
    if has & 4 == 0 {
        packets.push(Packet::Address { index: address::DATA_VIRTUAL, payload: vaddr });
    }
    if has & 24 != 24 {
        let payload = address::physical(paddr, false, 0);
        packets.push(Packet::Address { index: address::DATA_PHYSICAL, payload });
    }
    if has & 32 == 0 {
        packets.push(Packet::Context { index: 0, value: 4240 + u32::from(choices.byte() & 7) });
    }
    if has & 64 == 0 {
        let value = [0x0, 0xe, 0x77][choices.below(3)];
        packets.push(Packet::DataSource { value, width: Width::One });
    }
    packets.iter().for_each(|packet| packet.write(out));
    if has & 128 == 0 {
        Packet::Timestamp(u64::from(choices.u16()) << 12).write(out);
    } else {
        Packet::End.write(out);
    }
}
