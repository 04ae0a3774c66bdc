//! The commands of the program `folioscope`: what each one reads, does and prints.

mod decisions;
mod doctor;
mod generate;
mod health;
mod heatmap;
mod input;
mod options;
mod outcome;
mod output;
mod pages;
mod record;
mod records;
mod report;
mod serve;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use client::messages::{MessageOptions, Messages};

use outcome::Outcome;

/// Heat of physical memory: which 4 KiB pages inside a 2 MiB block are really hot.
///
/// Decodes memory-access samples (Arm SPE, and sample records with physical addresses) from
/// perf.data files, folders and streams, counts them per 4 KiB page of every 2 MiB block of
/// physical memory, and tells which blocks are hot throughout and which only in a few pages.
#[derive(Debug, Parser)]
#[command(version, name = "folioscope", max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Examples:
  perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ -a -- sleep 10
  folioscope report perf.data
  perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ -a -o - \\
      -- sleep 10 | folioscope report -
  folioscope decisions --order 4 perf.data | \\
      jq 'select(.verdict == \"sparse\")'

Exit status: 0 done, also with damage found, which the ledger shows; 1 failed;
2 wrong usage; 3 with --strict if anything was lost, or nothing was counted.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    messages: MessageOptions,
}

#[cfg(test)]
impl Cli {
    /// What is captured; none if nothing is.
    pub(crate) fn captures(&self) -> Option<decoder::live::Options> {
        match &self.command {
            Command::Record(record) => Some(record.options()),
            Command::Serve(serve) => serve.options(),
            _ => None,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The main job: blocks by heat, hot-fraction distribution, and what was lost
    Report(report::Report),
    /// Every counted page: `0xPFN COUNT`, sorted by PFN
    Pages(pages::Pages),
    /// Every record that is a memory operation, in trace order
    Records(records::Records),
    /// One JSON object for each block: its verdict and which of its chunks are hot
    Decisions(decisions::Decisions),
    /// Capture memory accesses without perf: into a file, a stream, or a report
    Record(Box<record::Record>),
    /// A picture of the hottest blocks: PNG, SVG, or a page
    Heatmap(heatmap::Heatmap),
    /// Take a stream in, and answer questions about it: gRPC, HTTP, a web page, metrics
    Serve(Box<serve::Serve>),
    /// Live view of a running daemon
    Top(top::Top),
    /// Ask a daemon whether it is well; for health checks of containers
    Health(health::Health),
    /// What this host can do, what stands in the way, and the commands that fit
    Doctor(doctor::Doctor),
    /// Print a completion script
    Completions(generate::Completions),
    /// Write man pages into a folder
    Man(generate::Man),
}

/// Runs the program with its own arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let messages = Messages::new("folioscope", &cli.messages);
    let outcome = match cli.command {
        Command::Report(command) => command.run(&messages),
        Command::Pages(command) => command.run(&messages),
        Command::Records(command) => command.run(&messages),
        Command::Decisions(command) => command.run(&messages),
        Command::Record(command) => command.run(&messages),
        Command::Heatmap(command) => command.run(&messages),
        Command::Serve(command) => command.run(&messages),
        Command::Top(command) => command.run(&messages),
        Command::Health(command) => command.run(),
        Command::Doctor(command) => command.run(&messages),
        Command::Completions(command) => command.run(Cli::command()),
        Command::Man(command) => command.run(Cli::command()),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Lossy) => ExitCode::from(3),
        // Whoever reads has enough: that is no failure.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            messages.error(&error);
            let usage = error.is::<output::Usage>();
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
