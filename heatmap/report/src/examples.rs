//! Models that the writers are tested with. Made up, but the first one's block is the one
//! that a kernel developer published.

use decoder::{FolioPfn, Ledger, PAGES_PER_FOLIO, Pfn};
use heatmap::{
    Backing, CpuCoverage, Decision, Evidence, InputInfo, InputKind, LatencySummary, Report,
    TimeBase, TopFolio, Verdict, VerdictCounts,
};

use super::RecordRow;

fn folio(pfn: u64) -> FolioPfn {
    Pfn::new_truncate(pfn).folio()
}

/// A block with these counts, everything else to match at order 0.
fn block(pfn: u64, counts: [u32; PAGES_PER_FOLIO], verdict: Verdict, backing: Backing) -> TopFolio {
    let accesses: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let peak = counts.iter().copied().max().unwrap();
    let pages_from =
        |least: u32| -> u32 { counts.iter().map(|&count| u32::from(count >= least)).sum() };
    let hot = pages_from((peak / 10).max(1));
    TopFolio {
        folio_pfn: folio(pfn),
        accesses,
        loads: accesses,
        stores: 0,
        atomics: 0,
        unknown_op: 0,
        touched_pages: pages_from(1),
        peak: peak.into(),
        hot_chunks: hot,
        chunks: 512,
        hot_percent: hot * 100 / 512,
        verdict: Some(verdict),
        mapping_order_max: None,
        backing,
        first_ns: None,
        last_ns: None,
        evidence: Evidence {
            visits: accesses,
            cold_visits: 0,
            cold_share: Some(0),
            proposable: verdict == Verdict::Sparse && backing != Backing::Smaller,
            steady: None,
            left_out: verdict == Verdict::Filtered,
        },
        counts: Some(Box::new(counts)),
    }
}

fn counts(touched: &[(usize, u32)]) -> [u32; PAGES_PER_FOLIO] {
    let mut counts = [0; PAGES_PER_FOLIO];
    touched.iter().for_each(|&(page, count)| counts[page] = count);
    counts
}

/// Two blocks, with numbers as large as they come.
pub(crate) fn small() -> Report {
    let mut published = block(
        0x820d_b800,
        counts(&[(7, 20_000), (300, 19_784), (511, 10)]),
        Verdict::Sparse,
        Backing::Thp,
    );
    published.hot_chunks = 3;
    published.accesses = u64::MAX;
    published.loads = u64::MAX - 10;
    (published.stores, published.atomics, published.unknown_op) = (5, 3, 2);
    published.mapping_order_max = Some(9);
    published.first_ns = Some(1_000_000_000);
    published.last_ns = Some(2_500_000_000);
    (published.evidence.visits, published.evidence.cold_visits) = (18_000_000_000_000_000_000, 1);
    let mut cold = block(
        0,
        counts(&[(0, 1), (1, 2), (2, 1), (40, 3)]),
        Verdict::Undersampled,
        Backing::Unknown,
    );
    (cold.evidence.visits, cold.evidence.cold_visits) = (5, 4);
    cold.evidence.cold_share = Some(80);
    Report {
        input: InputInfo {
            path: "perf.data".to_owned(),
            kind: InputKind::File,
            arch: Some("aarch64".to_owned()),
            sources: vec!["arm_spe".to_owned()],
            time_base: TimeBase::Ns,
            duration_ns: Some(1_500_000_000),
        },
        order: 0,
        hot_threshold: 30,
        accesses: u64::MAX,
        pages: 7,
        folios: 2,
        reason: None,
        notes: vec!["Sampled every 1,024 operations.".to_owned()],
        ledger: Ledger {
            aux_bytes: 640,
            record_bytes: 600,
            padding_bytes: 40,
            records: 11,
            counted: 10,
            not_memory: 1,
            ..Ledger::default()
        }
        .into(),
        records_by_source: vec![],
        unreadable: vec![],
        touched_distribution: [2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        hot_distribution: [1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        verdicts: VerdictCounts { sparse: 1, undersampled: 1, ..VerdictCounts::default() },
        max_cold_share: 20,
        proposable: 1,
        coverage: vec![
            CpuCoverage {
                cpu: 0,
                records: 11,
                first_ns: Some(1_000_000_000),
                last_ns: Some(2_500_000_000),
            },
            CpuCoverage { cpu: 3, records: 0, first_ns: None, last_ns: None },
        ],
        latency: Some(LatencySummary { count: 10, min: 4, p50: 12, p90: 80, p99: 300, max: 900 }),
        top: vec![published, cold],
    }
}

/// A recording like the published one: 2,005 blocks, the hottest with three hot pages.
pub(super) fn published() -> Report {
    let mut dense = [0; PAGES_PER_FOLIO];
    let mut seed = 1_u32;
    for count in &mut dense {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *count = 20 + (seed >> 16) % 30;
    }
    let mut noise = counts(&[(137, 5_000)]);
    for (page, count) in noise.iter_mut().enumerate() {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if page != 137 && (seed >> 16).is_multiple_of(3) {
            *count = 1 + (seed >> 20) % 3;
        }
    }
    // 1.3 % more from page to page.
    let mut slope = [0; PAGES_PER_FOLIO];
    let mut growing = 1024;
    for count in &mut slope[64..] {
        growing += growing / 75;
        *count = growing / 1024;
    }
    let small = small();
    Report {
        input: InputInfo { duration_ns: Some(11_500_120_000), ..small.input },
        accesses: 1_204_113,
        pages: 31_416,
        folios: 2005,
        notes: vec![
            "Sampled every 1,024 operations with jitter; a count is a number of samples, not of \
             accesses."
                .to_owned(),
            "The page size is not in the recording: 4 KiB assumed.".to_owned(),
        ],
        ledger: Ledger {
            aux_bytes: 256_000_000,
            record_bytes: 255_934_464,
            padding_bytes: 65_536,
            records: 4_000_000,
            counted: 1_204_113,
            no_physical_address: 3_120,
            not_memory: 2_792_767,
            not_retired: 211,
            ..Ledger::default()
        }
        .into(),
        touched_distribution: [1945, 31, 12, 6, 4, 2, 1, 1, 1, 2],
        hot_distribution: [1930, 40, 14, 8, 5, 2, 1, 1, 2, 2],
        verdicts: VerdictCounts {
            hot: 13,
            sparse: 1_204,
            undersampled: 788,
            ..VerdictCounts::default()
        },
        max_cold_share: 20,
        proposable: 1,
        coverage: (0..4)
            .map(|cpu| CpuCoverage {
                cpu,
                records: 1_000_000 - u64::from(cpu) * 700,
                first_ns: Some(81_234_567_890_123 + u64::from(cpu) * 40_000),
                last_ns: Some(81_246_067_890_123 + u64::from(cpu) * 40_000),
            })
            .collect(),
        latency: Some(LatencySummary {
            count: 1_204_113,
            min: 4,
            p50: 18,
            p90: 142,
            p99: 611,
            max: 4_095,
        }),
        top: vec![
            block(
                0x820d_b800,
                counts(&[(12, 20_113), (13, 13_681), (402, 6_000)]),
                Verdict::Sparse,
                Backing::Thp,
            ),
            block(0x820f_0200, slope, Verdict::Hot, Backing::Thp),
            block(0x8210_0000, dense, Verdict::Hot, Backing::Hugetlb),
            block(0x8123_4400, noise, Verdict::Sparse, Backing::Unknown),
            block(0x3_0000, counts(&[(1, 1), (77, 2)]), Verdict::Undersampled, Backing::Smaller),
        ],
        ..small
    }
}

/// Records without physical addresses.
pub(super) fn nothing_counted() -> Report {
    Report {
        accesses: 0,
        pages: 0,
        folios: 0,
        reason: Some(
            "1,204,113 records, none with a physical address: record with pa_enable=1 as root"
                .to_owned(),
        ),
        notes: vec![],
        ledger: Ledger {
            aux_bytes: 77_063_232,
            record_bytes: 77_063_232,
            records: 1_204_113,
            no_physical_address: 1_204_113,
            ..Ledger::default()
        }
        .into(),
        touched_distribution: [0; 10],
        hot_distribution: [0; 10],
        verdicts: VerdictCounts::default(),
        max_cold_share: 20,
        proposable: 0,
        latency: None,
        top: vec![],
        ..small()
    }
}

/// A damaged recording of many CPUs.
pub(super) fn lossy() -> Report {
    let whole = published();
    Report {
        input: InputInfo {
            path: "/var/lib/jenkins/workspace/memory-tiering-nightly/arm64/runs/2026-11-21T04:00Z/node-17/perf.data".to_owned(),
            kind: InputKind::Folder,
            arch: Some("aarch64".to_owned()),
            sources: vec!["arm_spe".to_owned(), "sample".to_owned()],
            time_base: TimeBase::Ns,
            duration_ns: Some(3_600_250_000_000),
        },
        order: 2,
        ledger: Ledger {
            skipped_bytes: 70_000,
            cut_off_bytes: 130,
            aux_bytes: whole.ledger.aux_bytes + 70_130,
            aux_missing_bytes: 8_192,
            aux_truncated: 17,
            aux_collision: 3,
            aux_partial: 1,
            lost: 12_345,
            lost_records: 12_345,
            lost_samples: 12_001,
            over_budget: 1_000,
            records: whole.ledger.records + 1_000,
            saturated_counters: 1,
            foreign_aux_bytes: 4_096,
            overlap_bytes: 64,
            late: 2,
            tid_unknown: 9,
            ..*whole.ledger
        }
        .into(),
        records_by_source: vec![
            ("arm_spe".to_owned(), *whole.ledger),
            ("sample".to_owned(), Ledger { records: 1_000, over_budget: 1_000, ..Ledger::default() }),
        ],
        unreadable: vec![
            "HEADER_CPU_TOPOLOGY at offset 0x1f00: 96 bytes expected, 12 found".to_owned(),
        ],
        coverage: (0..256)
            .map(|cpu| {
                let silent = cpu % 50 == 7 || (100..104).contains(&cpu);
                CpuCoverage {
                    cpu,
                    records: if silent { 0 } else { 15_000 + u64::from(cpu * 37 % 1000) },
                    first_ns: (!silent).then_some(1_000_000_000 + u64::from(cpu) * 1_000_000),
                    last_ns: (!silent).then_some(3_601_000_000_000 - u64::from(cpu) * 1_000_000),
                }
            })
            .collect(),
        ..whole
    }
}

/// Everything as large as it goes.
pub(super) fn adversarial() -> Report {
    let long = "unbreakable".repeat(30)
        + " \u{1b}[31m \u{202e}\u{4e2d}\u{6587}\n"
        + &"words and ".repeat(40);
    let max = u64::MAX;
    let mut ledger = Ledger::default();
    for field in [
        &mut ledger.skipped_bytes,
        &mut ledger.aux_truncated,
        &mut ledger.lost,
        &mut ledger.lost_records,
        &mut ledger.lost_samples,
        &mut ledger.not_retired,
        &mut ledger.tid_unknown,
        &mut ledger.late,
        &mut ledger.foreign_aux_bytes,
        &mut ledger.overlap_bytes,
        &mut ledger.saturated_counters,
        &mut ledger.aux_bytes,
        &mut ledger.records,
        &mut ledger.over_budget,
    ] {
        *field = max;
    }
    let mut top = block(max, [u32::MAX; PAGES_PER_FOLIO], Verdict::Unsplittable, Backing::Smaller);
    top.accesses = max;
    Report {
        input: InputInfo {
            path: long.clone(),
            kind: InputKind::Stream,
            arch: Some(long.clone()),
            sources: vec!["intel_pt".to_owned(); 40],
            time_base: TimeBase::Ticks,
            duration_ns: Some(max),
        },
        order: 9,
        hot_threshold: 100,
        accesses: max,
        pages: max,
        folios: max,
        reason: Some(long.clone()),
        notes: vec![long.clone(), String::new()],
        ledger: ledger.into(),
        records_by_source: vec![(long.clone(), ledger), (String::new(), ledger)],
        unreadable: vec![long],
        touched_distribution: [max; 10],
        hot_distribution: [max; 10],
        verdicts: VerdictCounts {
            hot: max,
            sparse: max,
            undersampled: max,
            filtered: max,
            unsplittable: max,
        },
        max_cold_share: 20,
        proposable: 1,
        coverage: (0..1000)
            .map(|cpu| CpuCoverage {
                cpu: u32::MAX - 5000 + cpu * 3,
                records: if cpu % 2 == 0 { max } else { 0 },
                first_ns: Some(max - u64::from(cpu)),
                last_ns: Some(max),
            })
            .collect(),
        latency: Some(LatencySummary { count: max, min: max, p50: max, p90: max, p99: max, max }),
        top: vec![top],
    }
}

/// All models.
pub(super) fn all() -> Vec<(&'static str, Report)> {
    let mut few_cpus = adversarial();
    few_cpus.coverage.truncate(8);
    vec![
        ("small", small()),
        ("published", published()),
        ("nothing counted", nothing_counted()),
        ("lossy", lossy()),
        ("adversarial", adversarial()),
        ("adversarial, few CPUs", few_cpus),
    ]
}

/// A usual record, one with nothing, one with everything odd.
pub(super) fn records() -> [RecordRow<'static>; 3] {
    [
        RecordRow {
            time_ns: Some(1_000_000_001),
            cpu: Some(3),
            pid: Some(41),
            tid: Some(42),
            event: Some("arm_spe_0/ts_enable=1,pa_enable=1/"),
            op: "load/simd",
            ip: Some(0xffff_8000_8001_2340),
            vaddr: Some(0xffff_9abc_de00),
            paddr: Some(0x8_20db_8abc),
            latency: Some(37),
            source: Some("l1"),
            flags: "l1-hit,tlb-access",
            queue: "spe1/cpu3",
            tlb: Some("l2"),
            page_size: Some(2 << 20),
            issue_latency: Some(4),
            translation_latency: Some(18),
            guest: true,
        },
        RecordRow {
            time_ns: None,
            cpu: None,
            pid: None,
            tid: None,
            event: None,
            op: "access",
            ip: None,
            vaddr: None,
            paddr: None,
            latency: None,
            source: None,
            flags: "",
            queue: "samples",
            tlb: None,
            page_size: None,
            issue_latency: None,
            translation_latency: None,
            guest: false,
        },
        RecordRow {
            time_ns: Some(u64::MAX),
            cpu: Some(u32::MAX),
            pid: Some(0),
            tid: Some(0),
            event: Some("\"odd\"\t\u{9b}name\n"),
            op: "store",
            ip: Some(0),
            vaddr: Some(0),
            paddr: Some(0x00ff_ffff_ffff_ffff),
            latency: Some(0),
            source: Some("unknown(0x2f)"),
            flags: "partial",
            queue: "pt0/cpu4294967295/tid0",
            tlb: Some("walk"),
            page_size: Some(u64::MAX),
            issue_latency: Some(0),
            translation_latency: Some(u32::MAX),
            guest: false,
        },
    ]
}

/// A block to split, and one that no threshold splits.
pub(super) fn decisions() -> Vec<Decision> {
    vec![
        Decision {
            folio_pfn: folio(0x820d_b800),
            order: 6,
            hot_threshold: 30,
            hot_percent: 12,
            hot_chunks: 1,
            chunks: 8,
            accesses: 39_794,
            verdict: Verdict::Sparse,
            backing: Backing::Unknown,
            unverified: true,
            hot_bitmap: "04".to_owned(),
            pid: Some(41),
            vaddr: Some(0xffff_9aa0_0000),
            evidence: Evidence {
                visits: 30_000,
                cold_visits: 1,
                cold_share: Some(0),
                proposable: true,
                steady: Some(false),
                left_out: false,
            },
            counts: Some(vec![(128, 39_793), (191, 1)]),
        },
        Decision {
            folio_pfn: folio(0),
            order: 9,
            hot_threshold: 30,
            hot_percent: 100,
            hot_chunks: 1,
            chunks: 1,
            accesses: 1,
            verdict: Verdict::Unsplittable,
            backing: Backing::Thp,
            unverified: false,
            hot_bitmap: "1".to_owned(),
            pid: None,
            vaddr: None,
            evidence: Evidence {
                visits: 0,
                cold_visits: 0,
                cold_share: None,
                proposable: false,
                steady: None,
                left_out: true,
            },
            counts: Some(vec![]),
        },
    ]
}
