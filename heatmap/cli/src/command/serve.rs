//! `folioscope serve`.

use std::path::PathBuf;

use clap::Args;
use client::messages::Messages;
use service::{Flags, Given, HostDefaults};

use super::input::available_memory;
use super::options::FilterOptions;
use super::outcome::Outcome;
use super::output::Usage;
use crate::doctor::{Host, advised_period};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ -a -o - | \\
      folioscope serve -
  folioscope serve --live --max-overhead 1% --http tcp:127.0.0.1:8080
  folioscope serve --replay 1 --http tcp:127.0.0.1:8080 perf.data

Every option can stand in the file (cooling-interval = \"10s\") and in the
environment (FOLIOSCOPE_COOLING_INTERVAL=10s) too. An option wins over the
environment, that over the file.")]
pub(super) struct Serve {
    /// A stream (`-` is standard input), a FIFO, a file that grows (--follow), or a recording
    /// [default: -]
    #[arg(value_name = "INPUT")]
    input: Option<PathBuf>,
    /// Read settings from a file, TOML
    #[arg(long, value_name = "FILE", env = "FOLIOSCOPE_CONFIG")]
    config: Option<PathBuf>,
    /// Check all settings, and do nothing else
    #[arg(long)]
    check_config: bool,
    /// Print all settings and where each comes from, and do nothing else
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Flags,
    #[command(flatten)]
    filters: FilterOptions,
}

fn host_defaults() -> HostDefaults {
    HostDefaults {
        available_memory: available_memory(),
        advised_period: |event| advised_period(&Host::here(), event),
    }
}

impl Serve {
    /// What is captured; none if nothing is, or not with these settings.
    #[cfg(test)]
    pub(super) fn options(&self) -> Option<decoder::live::Options> {
        let given = Given::new(&self.settings, self.config.as_deref()).ok()?;
        given.config(&host_defaults(), false).ok()?.capture
    }

    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        let refused = |error: anyhow::Error| anyhow::Error::from(Usage::from_error(&error));
        let given = Given::new(&self.settings, self.config.as_deref()).map_err(refused)?;
        let config = given.config(&host_defaults(), false).map_err(refused)?;
        if let (Some(input), Some(_)) = (&self.input, config.capture) {
            let input = input.display();
            return Err(refused(anyhow::anyhow!(
                "{input}: INPUT and --live exclude each other; an event is --live=EVENT"
            )));
        }
        if self.print_config {
            print!("{}", given.to_toml());
        } else if !self.check_config {
            messages.log();
            service::run(&given, &host_defaults(), self.input.as_deref(), self.filters.filters())?;
        }
        Ok(Outcome::Done)
    }
}
