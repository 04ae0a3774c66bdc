//! What a report says, computed once more from the listed records, plainly and one by one.

use std::collections::{BTreeMap, BTreeSet};

use decoder::{Access, Direction};
use serde_json::{Value, json};

/// A memory operation as `records` lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// When, in ns of the trace's clock.
    pub time_ns: Option<u64>,
    /// CPU.
    pub cpu: Option<u32>,
    /// Process.
    pub pid: Option<u32>,
    /// Thread.
    pub tid: Option<u32>,
    /// `load`, `store`, `atomic` or `access`, without what may follow.
    pub op: String,
    /// Virtual address of the data.
    pub vaddr: Option<u64>,
    /// Physical address of the data.
    pub paddr: Option<u64>,
    /// Cycles.
    pub latency: Option<u32>,
    /// Where the data came from.
    pub source: Option<String>,
    /// The queue that it stood in.
    pub queue: String,
}

impl Row {
    /// A row of `records --format json`.
    pub fn of_json(row: &Value) -> Self {
        let number = |field: &str| row[field].as_u64();
        let small = |field: &str| number(field).map(|it| u32::try_from(it).expect("32 bits"));
        let address = |field: &str| {
            row[field].as_str().map(|text| {
                let digits = text.strip_prefix("0x").expect("addresses begin with 0x");
                u64::from_str_radix(digits, 16).expect("an address")
            })
        };
        let op = row["op"].as_str().expect("an operation");
        Self {
            time_ns: number("time_ns"),
            cpu: small("cpu"),
            pid: small("pid"),
            tid: small("tid"),
            op: op.split('/').next().unwrap_or_default().to_owned(),
            vaddr: address("vaddr"),
            paddr: address("paddr"),
            latency: small("latency"),
            source: row["source"].as_str().map(str::to_owned),
            queue: row["queue"].as_str().expect("a queue").to_owned(),
        }
    }

    /// The same of an access.
    pub fn of_access(access: &Access) -> Self {
        let op = match access.operation.direction {
            Direction::Load => "load",
            Direction::Store => "store",
            Direction::Atomic => "atomic",
            Direction::Unknown => "access",
        };
        Self {
            time_ns: access.origin.time_ns,
            cpu: access.origin.cpu,
            pid: access.pid,
            tid: access.tid,
            op: op.to_owned(),
            vaddr: access.vaddr.map(|vaddr| vaddr.get()),
            paddr: access.paddr.map(|paddr| paddr.get()),
            latency: access.latency_cycles,
            source: access.data_source.map(|source| source.to_string()),
            queue: access.queue().to_string(),
        }
    }
}

/// Which of a recording's memory operations, in their order, are visits: those with a physical
/// address of which none of the 16 before in their queue lies on the same page or beside it, in the
/// same 10 ms, or in the same 1,024 of the queue where there is no time.
pub fn visits(rows: &[Row]) -> Vec<bool> {
    /// Page and slot; of a slot whether it is one of time.
    type Seen = (u64, (bool, u64));
    let mut queues: BTreeMap<&str, Vec<Seen>> = BTreeMap::new();
    let visit = |row: &Row, before: &mut Vec<Seen>| {
        let Some(page) = row.paddr.map(|paddr| paddr >> 12) else { return false };
        let number = before.len() as u64;
        let slot = row.time_ns.map_or((false, number / 1024), |time| (true, time / 10_000_000));
        let near = |it: &&Seen| it.0.abs_diff(page) <= 1 && it.1 == slot;
        let is_one = !before.iter().rev().take(16).any(|it| near(&it));
        before.push((page, slot));
        is_one
    };
    rows.iter().map(|row| visit(row, queues.entry(&row.queue).or_default())).collect()
}

/// The sums of a block's chunks, and from how much on one is hot.
pub fn chunks(pages: &BTreeMap<u16, u64>, order: u8) -> (Vec<u64>, u64) {
    let mut sums = vec![0; 512 >> order];
    pages.iter().for_each(|(page, count)| sums[usize::from(*page >> order)] += count);
    let peak = sums.iter().copied().max().unwrap_or(0);
    (sums, (peak / 10).max(1))
}

/// A record as far as coverage tells of it: its CPU and its time.
pub type Seen = (Option<u32>, Option<u64>);

/// Panics unless a report says of these kept rows what they say. It must list all blocks, and
/// nothing may have been given up for lack of memory.
pub fn check(report: &Value, kept: &[Row], what: &str) {
    assert_eq!(report["ledger"]["over_budget"], 0, "{what}: memory suffices");
    let counted: Vec<&Row> = kept.iter().filter(|row| row.paddr.is_some()).collect();
    let mut blocks: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
    for row in &counted {
        blocks.entry(row.paddr.expect("only those") >> 21).or_default().push(row);
    }
    let pages: BTreeSet<u64> =
        counted.iter().filter_map(|row| row.paddr).map(|it| it >> 12).collect();
    assert_eq!(report["accesses"], counted.len(), "{what}: accesses");
    assert_eq!(report["ledger"]["counted"], counted.len(), "{what}: counted");
    assert_eq!(report["pages"], pages.len(), "{what}: pages");
    assert_eq!(report["folios"], blocks.len(), "{what}: blocks");
    assert_eq!(report["reason"].is_null(), !counted.is_empty(), "{what}: a reason if nothing");

    let order = report["order"].as_u64().expect("an order");
    let mut want: Vec<Value> =
        blocks.iter().map(|(number, rows)| block(*number, rows, order)).collect();
    want.sort_by_key(|block| std::cmp::Reverse(block["accesses"].as_u64()));
    let listed = report["top"].as_array().expect("a list");
    assert_eq!(listed.len(), want.len(), "{what}: all blocks are listed");
    for (listed, want) in listed.iter().zip(&want) {
        for (field, want) in want.as_object().expect("an object") {
            assert_eq!(listed[field], *want, "{what}: {field} of {listed}");
        }
    }
    for (name, percent) in [
        ("touched_distribution", percent_of(&want, "touched_pages", 512)),
        ("hot_distribution", percent_of(&want, "hot_chunks", 512 >> order)),
    ] {
        let mut rows = [0_u64; 10];
        percent.iter().for_each(|percent| rows[(percent / 10).min(9)] += 1);
        let rows: Vec<Value> = (0..10)
            .zip(rows)
            .map(|(row, folios)| json!({"from": row * 10, "to": row * 10 + 10, "folios": folios}))
            .collect();
        assert_eq!(report[name], json!(rows), "{what}: {name}");
    }
    for (verdict, count) in report["verdicts"].as_object().expect("an object") {
        let of_list = listed.iter().filter(|block| block["verdict"] == **verdict).count();
        assert_eq!(*count, of_list, "{what}: blocks that are {verdict}");
    }
    latency(&report["latency"], &counted, what);
}

fn percent_of(blocks: &[Value], field: &str, whole: u64) -> Vec<usize> {
    let number = |block: &Value| block[field].as_u64().expect("a count") * 100 / whole;
    blocks.iter().map(|block| usize::try_from(number(block)).expect("a percent")).collect()
}

/// What is said of one block.
fn block(number: u64, rows: &[&Row], order: u64) -> Value {
    let ops = |op: &str| rows.iter().filter(|row| row.op == op).count();
    let mut pages = BTreeMap::<u64, u64>::new();
    let mut chunks = BTreeMap::<u64, u64>::new();
    for paddr in rows.iter().filter_map(|row| row.paddr) {
        let page = paddr >> 12 & 511;
        *pages.entry(page).or_default() += 1;
        *chunks.entry(page >> order).or_default() += 1;
    }
    let peak = chunks.values().copied().max().expect("a block has an access");
    let hot = chunks.values().filter(|count| **count >= (peak / 10).max(1)).count() as u64;
    let of_user: Vec<(u64, u64)> = rows
        .iter()
        .filter_map(|row| row.vaddr.filter(|vaddr| vaddr >> 63 == 0).zip(row.paddr))
        .collect();
    let congruent =
        |order: u32| of_user.iter().all(|(a, b)| (a ^ b) >> 12 & ((1 << order) - 1) == 0);
    let order_max =
        (0..=9_u32).rev().find(|order| congruent(*order)).filter(|_| !of_user.is_empty());
    let places: BTreeSet<u64> = of_user.iter().map(|(_, paddr)| paddr >> 12).collect();
    let backing = match order_max {
        Some(order) if order < 9 => "smaller",
        Some(_) if places.len() > 1 => "thp",
        _ => "unknown",
    };
    let times = || rows.iter().filter_map(|row| row.time_ns);
    json!({
        "folio_pfn": format!("{:#x}", number << 9),
        "accesses": rows.len(),
        "loads": ops("load"),
        "stores": ops("store"),
        "atomics": ops("atomic"),
        "unknown_op": ops("access"),
        "touched_pages": pages.len(),
        "peak": peak,
        "hot_chunks": hot,
        "chunks": 512 >> order,
        "hot_percent": hot * 100 / (512 >> order),
        "mapping_order_max": order_max,
        "backing": backing,
        "first_ns": times().min(),
        "last_ns": times().max(),
    })
}

/// Panics unless a summary of latencies is that of these rows, as exactly as docs/fields.md says.
fn latency(told: &Value, counted: &[&Row], what: &str) {
    let mut sorted: Vec<u64> =
        counted.iter().filter_map(|row| row.latency).map(u64::from).collect();
    sorted.sort_unstable();
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        assert_eq!(*told, Value::Null, "{what}: no access has a latency");
        return;
    };
    let exactly = json!({"count": sorted.len(), "min": first, "max": last});
    for (field, want) in exactly.as_object().expect("an object") {
        assert_eq!(told[field], *want, "{what}: {field} of {told}");
    }
    for (field, percent) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        let want = sorted[(sorted.len() * percent).div_ceil(100) - 1];
        let got = told[field].as_u64().expect("a number");
        let near = got == want || want >= 2048 && got > want && (got - want) * 1000 < want;
        assert!(near && got <= *last, "{what}: {field} is {want}, told {told}");
    }
}

/// Panics unless a report's CPUs and its duration are those of these records, memory operations or
/// not, of one recording.
pub fn check_coverage(report: &Value, records: &[Seen], what: &str) {
    let mut cpus: BTreeMap<u32, Vec<Option<u64>>> = BTreeMap::new();
    for (cpu, time) in records {
        if let Some(cpu) = cpu {
            cpus.entry(*cpu).or_default().push(*time);
        }
    }
    let ends = |times: &[Option<u64>]| {
        let times = || times.iter().flatten().copied();
        times().min().zip(times().max())
    };
    let rows: Vec<Value> = cpus
        .iter()
        .map(|(cpu, times)| {
            let ends = ends(times);
            let (first, last) = (ends.map(|it| it.0), ends.map(|it| it.1));
            json!({"cpu": cpu, "records": times.len(), "first_ns": first, "last_ns": last})
        })
        .collect();
    assert_eq!(report["coverage"], json!(rows), "{what}: CPUs");
    assert_eq!(report["ledger"]["records"], records.len(), "{what}: records");
    let times: Vec<_> = records.iter().map(|(_, time)| *time).collect();
    let duration = ends(&times).map(|(first, last)| last - first);
    assert_eq!(report["input"]["duration_ns"], json!(duration), "{what}: duration");
}
