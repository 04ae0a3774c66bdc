//! The feeder against a bare loop of write(2) on the same file: `cargo bench -p feeder`. Prints how
//! many times as many writes a second the feeder makes, plan, model and receipts included.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use feeder::decision::Decision;
use feeder::device::Debugfs;
use feeder::plan::{Aim, Terms};
use feeder::sink::spe_feed::{Feeding, Manner};
use heatmap::{ChunkOrder, HotThreshold, Verdict};
use spefeed::{Kernel, Mounted};

/// Folios, as many as the kernel's table has room for, and hot chunks of each.
const FOLIOS: u64 = 1024;
const CHUNKS: usize = 40;
/// Runs of each, in turn.
const RUNS: usize = 7;

fn decisions() -> Vec<Decision> {
    let decision = |number: u64| Decision {
        standing: feeder::decision::Standing::AsTold,
        folio_pfn: number << 9,
        verdict: Verdict::Hot,
        accesses: 1_000_000 - number,
        hot_chunks: (0..CHUNKS).map(|chunk| chunk * 3).collect(),
        pid: None,
        vaddr: None,
    };
    (1..=FOLIOS).map(decision).collect()
}

fn fresh(mounted: &Mounted) {
    *mounted.kernel() = Kernel::new();
    mounted.kernel().is_logged = false;
}

/// A loop that does nothing but to write these page frames.
fn bare(mounted: &Mounted, pfns: &[u64]) -> anyhow::Result<Duration> {
    fresh(mounted);
    let mut file = OpenOptions::new().write(true).open(mounted.feed())?;
    let lines: Vec<String> = pfns.iter().map(|pfn| format!("{pfn:#x}\n")).collect();
    let start = Instant::now();
    for line in &lines {
        file.write_all(line.as_bytes())?;
    }
    Ok(start.elapsed())
}

/// One pass of the feeder, from decisions to a proven table.
fn fed(mounted: &Mounted, decisions: &[Decision]) -> anyhow::Result<(Duration, u64)> {
    fresh(mounted);
    let terms = Terms {
        order: ChunkOrder::try_new(2)?,
        threshold: HotThreshold::default(),
        aim: Aim::Faithful,
    };
    let start = Instant::now();
    let manner = Manner { once: true, ..Manner::default() };
    let device = Debugfs::open(mounted.dir())?;
    let mut feeding = Feeding::begin(device, terms, manner, Duration::ZERO)?;
    feeding.propose(decisions.to_vec());
    while feeding.tend(start.elapsed())?.is_some() {}
    Ok((start.elapsed(), feeding.figures().proven))
}

fn main() -> anyhow::Result<()> {
    if let Err(why) = spefeed::available() {
        println!("NOT RUN: {why}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("debug");
    std::fs::create_dir(&dir)?;
    let mounted = Mounted::new(&dir)?;
    let decisions = decisions();
    let pfns: Vec<u64> = decisions
        .iter()
        .flat_map(|one| one.hot_chunks.iter().map(|chunk| one.folio_pfn + 4 * *chunk as u64 + 1))
        .collect();
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let bare = bare(&mounted, &pfns)?;
        let (fed, proven) = fed(&mounted, &decisions)?;
        anyhow::ensure!(proven == pfns.len() as u64, "{proven} of {} are proven", pfns.len());
        ratios.push(bare.as_secs_f64() / fed.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "the feeder, {} writes: part of the rate of a bare write(2) loop on the same file  {:.2}     \
         ({:.2}..{:.2})     >= 0.9",
        pfns.len(),
        ratios[RUNS / 2],
        ratios[0],
        ratios[RUNS - 1]
    );
    Ok(())
}
