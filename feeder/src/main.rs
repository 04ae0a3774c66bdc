//! `folioscope-feeder`: see `lib.rs`.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use feeder::kernel::SpeFeed;
use feeder::plan::{Aim, LeftOut, Plan, Terms};
use heatmap::{ChunkOrder, HotThreshold};

/// What a kernel with `spe_feed` (DAMON RFC v1) is to be told about folios.
///
/// Reads decisions and prints the writes that make the kernel keep or split each folio: a page frame
/// a line, each for one write(2). It writes nothing into the kernel yet.
#[derive(Debug, Parser)]
#[command(version, name = "folioscope-feeder", max_term_width = 100)]
#[command(after_help = "Examples:
  folioscope decisions perf.data | folioscope-feeder --decisions - --explain

Exit status: 0 done; 1 failed; 2 wrong usage; 3 with --strict if a folio found no place.")]
struct Cli {
    /// Decisions, as `folioscope decisions` prints them; `-` is standard input
    #[arg(long, value_name = "FILE")]
    decisions: PathBuf,
    /// Target order of the kernel's schemes, 2 to 8; that of the decisions, unless they have counts
    #[arg(long, value_name = "N", default_value = "2")]
    order: ChunkOrder,
    /// Hot threshold of the kernel's schemes in percent
    #[arg(long, value_name = "PCT", default_value_t)]
    hot_threshold: HotThreshold,
    /// What is fed
    #[arg(long, value_name = "PLAN", default_value = "protect")]
    plan: Planned,
    /// Say of each folio why it is fed or not, in lines that begin with `#`
    #[arg(long)]
    explain: bool,
    /// Exit with status 3 if a folio that should be fed found no place
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Planned {
    /// Everything that is not proven to be sparse stays whole
    Protect,
    /// Every folio gets the hot chunks that were observed, as in the RFC
    Faithful,
}

/// Why a folio is not fed, as it is said.
fn reason(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Sparse => "sparse: without an entry the kernel splits it",
        LeftOut::NoRoom => "the kernel holds 1024 entries, and others come first",
        LeftOut::TooHot => "a chunk was hot for too long: its entry has to lapse first",
        LeftOut::Unknown => "there was an entry before, whose counters nobody can read",
        LeftOut::Misaligned => "its page frame is no multiple of 512",
        LeftOut::PageZero => "the kernel ignores page frame 0",
        LeftOut::NoData => "it has no accesses",
    }
}

fn read(path: &Path, order: ChunkOrder) -> anyhow::Result<Vec<feeder::decision::Decision>> {
    let lines: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).context("cannot open")?))
    };
    feeder::decisions::read(lines, order)
}

fn print(plan: &Plan, explain: bool, mut out: impl Write) -> std::io::Result<()> {
    for step in &plan.steps {
        if explain {
            let chunks = step.wanted.chunks().len();
            writeln!(out, "# folio {:#x}: {chunks} hot chunks", step.folio_pfn)?;
        }
        for pfn in &step.writes {
            writeln!(out, "{pfn:#x}")?;
        }
    }
    for (pfn, why) in plan.left_out.iter().filter(|_| explain) {
        writeln!(out, "# folio {pfn:#x} is not fed: {}", reason(*why))?;
    }
    out.flush()
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let shown = cli.decisions.display();
    let decisions = read(&cli.decisions, cli.order).with_context(|| shown.to_string())?;
    let aim = match cli.plan {
        Planned::Protect => Aim::Protect,
        Planned::Faithful => Aim::Faithful,
    };
    let terms = Terms { order: cli.order, threshold: cli.hot_threshold, aim };
    let plan = terms.plan(&decisions, &SpeFeed::new(), &std::collections::BTreeSet::new(), 1024);
    match print(&plan, cli.explain, BufWriter::new(std::io::stdout().lock())) {
        // Whoever reads has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        printed => printed.context("cannot write the plan")?,
    }
    let homeless = plan.left_out.iter().filter(|(_, why)| *why != LeftOut::Sparse).count();
    let mut said = std::io::stderr();
    // Where there is no room for it, there is nobody to tell.
    if homeless > 0 {
        let _ = writeln!(
            said,
            "folioscope-feeder: {homeless} of {} folios found no place; --explain says why",
            decisions.len()
        );
    }
    if plan.split_unproven > 0 {
        let _ = writeln!(
            said,
            "folioscope-feeder: {} folios that are not proven to be sparse will be split",
            plan.split_unproven
        );
    }
    Ok(if cli.strict && homeless > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "folioscope-feeder: {error:#}");
        ExitCode::from(1)
    })
}
