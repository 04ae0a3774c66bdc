//! Has DAMON act on the folios of a file of decisions for a while: what the tests in virtual
//! machines run.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use feeder::decision::Asked;
use feeder::sink::damos::{Damos, Mark, Operations, Settings};
use feeder::supervisor::{self, Supervisor};
use heatmap::ChunkOrder;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Acts, tells what was done every second, and turns itself off
    Act(Act),
    /// Waits for whoever acts to die
    Supervise(Supervise),
}

#[derive(Debug, Args)]
struct Act {
    /// Decisions, as `folioscope decisions` prints them; several are proposed one after another
    #[arg(long, required = true)]
    decisions: Vec<PathBuf>,
    /// What is done
    #[arg(long)]
    action: Option<String>,
    /// To the addresses of this process
    #[arg(long)]
    pid: Option<u32>,
    /// For how many seconds, for each file of decisions
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value = "/sys")]
    sysfs: PathBuf,
    #[arg(long, default_value = "/proc")]
    procfs: PathBuf,
}

#[derive(Debug, Args)]
struct Supervise {
    #[arg(long)]
    sysfs: PathBuf,
    #[arg(long)]
    kdamond: u32,
    #[arg(long)]
    pid: u32,
}

fn act(args: &Act) -> anyhow::Result<()> {
    let mut damos = Damos::open(Settings {
        sysfs: args.sysfs.clone(),
        procfs: args.procfs.clone(),
        action: args.action.clone(),
        operations: args.pid.map_or(Operations::Paddr, |pid| Operations::Vaddr { pid }),
        ..Settings::default()
    })?;
    let mut supervisor = None;
    let acted = propose(args, &mut damos, &mut supervisor);
    damos.turn_off()?;
    if let Some(supervisor) = supervisor {
        supervisor.dismiss()?;
    }
    acted
}

fn propose(
    args: &Act,
    damos: &mut Damos,
    supervisor: &mut Option<Supervisor>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let program = std::env::current_exe().context("the path of this program")?;
    let asked = Asked::at(ChunkOrder::try_new(2)?);
    for path in &args.decisions {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let decisions = feeder::decisions::read(BufReader::new(file), asked)?;
        let applied = damos.propose_watched(&decisions, |mark| {
            if let Some(before) = supervisor.take() {
                before.dismiss()?;
            }
            *supervisor = Some(supervisor::start(&program, &args.sysfs, mark)?);
            writeln!(std::io::stdout(), "kdamond {} pid {}", mark.kdamond, mark.pid)?;
            Ok(())
        })?;
        let (ranges, folios) = (applied.ranges.len(), applied.folios.len());
        writeln!(out, "ranges {ranges} folios {folios} unplaced {}", applied.unplaced.len())?;
        let begin = Instant::now();
        while begin.elapsed().as_secs() < args.seconds {
            std::thread::sleep(Duration::from_secs(1));
            if let Some(supervisor) = supervisor {
                supervisor.beat()?;
            }
            let stats = damos.stats()?;
            writeln!(
                out,
                "nr_tried {} sz_tried {} nr_applied {} sz_applied {}",
                stats.nr_tried, stats.sz_tried, stats.nr_applied, stats.sz_applied
            )?;
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Act(args) => act(&args),
        Command::Supervise(Supervise { sysfs, kdamond, pid }) => {
            supervisor::run(&sysfs, Mark { kdamond, pid })
        }
    }
}
