//! Memory whose folios are known, and what has become of it: for tests in virtual machines.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use feeder::decision::Asked;
use heatmap::{ChunkOrder, Verdict};

/// Bytes of a base page and of a folio.
const PAGE: usize = 4096;
const FOLIO: usize = 512 * PAGE;
/// Bits of an entry of `pagemap`.
const PFN: u64 = (1 << 55) - 1;
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

#[derive(Debug, Parser)]
enum Command {
    /// Holds memory, prints its folios as decisions, then sleeps
    Hold {
        /// How many folios
        folios: usize,
        /// Those that are sparse, by their places; the others are hot
        #[arg(long, value_delimiter = ',')]
        sparse: Vec<usize>,
    },
    /// Says of each folio of a file of decisions how many of its pages are where
    Look {
        /// As `hold` has printed them
        decisions: PathBuf,
    },
}

/// The entries of 512 pages.
fn entries(pid: u32, vaddr: u64) -> anyhow::Result<Vec<u64>> {
    let mut bytes = vec![0; 512 * 8];
    let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
    pagemap.read_exact_at(&mut bytes, vaddr / PAGE as u64 * 8)?;
    let entry = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    Ok(bytes.chunks_exact(8).map(entry).collect())
}

fn hold(folios: usize, sparse: &[usize]) -> anyhow::Result<()> {
    let mut memory = vec![0_u8; (folios + 1) * FOLIO];
    // Pages that are alike would take no memory when they are swapped out.
    for (place, byte) in memory.iter_mut().enumerate() {
        *byte = place.wrapping_mul(0x9e37_79b9).to_le_bytes()[2];
    }
    let first = (memory.as_ptr() as usize).next_multiple_of(FOLIO);
    let mut out = std::io::stdout();
    for place in 0..folios {
        let vaddr = (first + place * FOLIO) as u64;
        let pid = std::process::id();
        let entries = entries(pid, vaddr)?;
        let pfn = entries[0] & PFN;
        let is_whole = (pfn..).zip(&entries).all(|(pfn, entry)| entry & PFN == pfn);
        anyhow::ensure!(
            is_whole && pfn.is_multiple_of(512) && entries[0] & PRESENT != 0,
            "the memory at {vaddr:#x} is no folio of 2 MiB"
        );
        let verdict = if sparse.contains(&place) { "sparse" } else { "hot" };
        let bitmap = "0".repeat(32);
        writeln!(
            out,
            "{{\"folio_pfn\":\"{pfn:#x}\",\"order\":2,\"accesses\":9,\"verdict\":\"{verdict}\",\
             \"hot_bitmap\":\"{bitmap}\",\"pid\":{pid},\"vaddr\":\"{vaddr:#x}\"}}"
        )?;
    }
    writeln!(out)?;
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
        std::hint::black_box(&memory);
    }
}

fn look(decisions: &PathBuf) -> anyhow::Result<()> {
    let file = BufReader::new(File::open(decisions)?);
    let mut out = std::io::stdout();
    for decision in feeder::decisions::read(file, Asked::at(ChunkOrder::try_new(2)?))? {
        let pid = decision.pid.context("no process")?;
        let vaddr = decision.vaddr.context("no address")?;
        let entries = entries(pid, vaddr)?;
        let count = |bit: u64| entries.iter().filter(|entry| *entry & bit != 0).count();
        let verdict = if decision.verdict == Verdict::Sparse { "sparse" } else { "hot" };
        writeln!(out, "{verdict} {vaddr:x} present {} swapped {}", count(PRESENT), count(SWAPPED))?;
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Hold { folios, sparse } => hold(folios, &sparse),
        Command::Look { decisions } => look(&decisions),
    }
}
