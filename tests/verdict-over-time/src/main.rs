//! The program: options in, a table out.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use verdict_over_time::watcher::Rule;
use verdict_over_time::{Pattern, Plan, Setup, measure};

/// Measures how often `folioscope serve` ever proposes blocks of which the truth is known
///
/// Prints a table of all cells. `one look` counts blocks whose verdict was sparse in at least one epoch, `proposed`
/// those that a policy would have acted on; of power cells those proposed within 30 s.
#[derive(Debug, Parser)]
#[command(name = "verdict-over-time", max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 all bounds are kept; 1 one is missed, or it failed; 2 wrong usage."
)]
struct Cli {
    /// The program `folioscope` that is measured
    #[arg(long, value_name = "PATH")]
    program: String,
    /// What counts as a proposal. `sparse` measures a program that knows no other rule
    #[arg(long, value_enum, default_value = "steady")]
    rule: Rule,
    /// Blocks of a cell
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    blocks: u32,
    /// Seconds of the trace
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: u64,
    /// Blocks begin at random times of the first N seconds: with 10 at every age of a cooling interval
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1000))]
    beginning: u64,
    /// Visits to a block in a second
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "3,10,30", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rates: Vec<u32>,
    /// Chunk orders
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0,2,4", value_parser = clap::value_parser!(u32).range(0..=8))]
    orders: Vec<u32>,
    /// Thresholds in percent
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "10,30,50", value_parser = clap::value_parser!(u32).range(1..=100))]
    thresholds: Vec<u32>,
    /// What a visit is
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_enum,
        default_value = "single,pair,run,burst"
    )]
    patterns: Vec<Pattern>,
    /// Measure evenly hot chunks of which one page is hot too
    #[arg(long)]
    one_page: bool,
    /// Leave out the power cells
    #[arg(long)]
    no_power: bool,
    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn run(cli: Cli) -> anyhow::Result<bool> {
    let plan = Plan {
        blocks: usize::try_from(cli.blocks)?,
        epochs: cli.epochs,
        beginning: cli.beginning,
        seed: cli.seed,
        rates: cli.rates,
        orders: cli.orders,
        thresholds: cli.thresholds,
        patterns: cli.patterns,
        power_cells: if cli.no_power { Vec::new() } else { Plan::POWER_CELLS.to_vec() },
        one_page: cli.one_page,
    };
    ensure!(!plan.groups().is_empty(), "there is nothing to measure");
    let setup = Setup { program: vec![cli.program], rule: cli.rule, progress: true };
    let start = Instant::now();
    let table = measure(&plan, &setup)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{table}");
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let millions = table.accesses as f64 / 1e6;
    eprintln!(
        "{millions:.0} million accesses in {seconds:.0} s, {:.2} million a second",
        millions / seconds
    );
    Ok(table.missed().next().is_none())
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("verdict-over-time: {error:#}");
            ExitCode::FAILURE
        }
    }
}
