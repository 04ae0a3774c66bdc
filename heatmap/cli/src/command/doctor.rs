//! `folioscope doctor`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use client::messages::Messages;
use decoder::live::{self, Scope, Target};
use heatmap::Size;

use super::outcome::Outcome;
use super::output;
use crate::doctor::{Diagnosis, Event, Host, write_text};

/// Where this host's files are.
const PROCFS: &str = "/proc";
const SYSFS: &str = "/sys";

#[derive(Debug, Args)]
#[command(after_help = "Opens an event on one CPU and closes it again, to see whether that works.
Nothing is recorded, and nothing is changed.

Exit status: 0; 1 if this process can record nothing here that has physical
addresses, neither samples of accesses nor anything else.")]
pub(super) struct Doctor {
    /// Format of the output; JSON is one object
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// What a recording may grow in a second, for the period that is advised
    #[arg(long, value_name = "SIZE", default_value = "50MiB")]
    budget: Size,
    /// Where procfs is mounted
    #[arg(long, value_name = "DIR", default_value = PROCFS, hide = true)]
    procfs: PathBuf,
    /// Where sysfs is mounted
    #[arg(long, value_name = "DIR", default_value = SYSFS, hide = true)]
    sysfs: PathBuf,
    /// Where debugfs is mounted
    #[arg(long, value_name = "DIR", default_value = "/sys/kernel/debug", hide = true)]
    debugfs: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object
    Json,
}

impl Doctor {
    pub(super) fn run(self, messages: &Messages) -> anyhow::Result<Outcome> {
        let Self { format, budget, procfs, sysfs, debugfs } = self;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let here = procfs == Path::new(PROCFS) && sysfs == Path::new(SYSFS);
        let probe = if here { opened } else { not_tried };
        let host = Host { procfs, sysfs, debugfs, path };
        let diagnosis = Diagnosis::of(&host, budget.bytes, &probe);
        let mut out = io::stdout().lock();
        match format {
            Format::Json => out.write_all(diagnosis.to_json().as_bytes()),
            Format::Text => {
                let style = output::style(true, messages.color);
                write_text(&diagnosis, &mut io::BufWriter::new(&mut out), style)
            }
        }
        .and_then(|()| out.flush())
        .context("standard output: cannot write")?;
        ensure!(
            diagnosis.can_work(),
            "this process can record nothing here that has physical addresses: see the remedy of \
             physical_addresses"
        );
        Ok(Outcome::Done)
    }
}

/// Opens an event on this host.
fn opened(event: Event, scope: Scope) -> Option<Result<(), live::Error>> {
    let target = match scope {
        Scope::AllCpus => Target::AllCpus,
        Scope::Process => Target::Pid(std::process::id()),
    };
    let options = live::Options { event: event.choice(), target, ..live::Options::default() };
    Some(live::try_open(&options))
}

/// Events of a host that is described by files cannot be opened.
fn not_tried(_: Event, _: Scope) -> Option<Result<(), live::Error>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_refuses_what_every_host_has() {
        for scope in [Scope::AllCpus, Scope::Process] {
            match opened(Event::Faults, scope) {
                Some(Ok(()) | Err(live::Error::Refused(_))) => {}
                other => panic!("{scope:?}: {other:?}"),
            }
        }
    }
}
