//! `folioscope records`.

use core::fmt::Write as _;

use anyhow::Context;
use clap::Args;
use decoder::{Access, Ledger, Origin, Recording, Shard, Sink};

use super::Outcome;
use super::input::require_times;
use super::messages::Messages;
use super::options::{FilterOptions, InputOptions, OutputOptions};
use super::output::Output;
use crate::facts::nothing_counted;
use crate::query::Filters;
use crate::report::{RecordRow, RecordWriter};

#[derive(Debug, Args)]
pub(super) struct Records {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

impl Records {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check()?;
        let filters = self.filters.filters();
        let times_wanted = !filters.times.is_empty();
        let writer =
            self.output.named(RecordWriter::new(self.output.format, self.output.open()?))?;
        let mut lister = Lister::new(filters, writer);
        // Whoever stops reading stops the listing; the rest of the input need not be decoded
        // for that, but a listing is short beside its decoding.
        let recordings = self.input.decode(true, &mut lister)?;
        let (mut ledger, listed) = self.output.named(lister.finish())?;
        recordings.iter().for_each(|recording| ledger += recording.ledger);
        ledger.check()?;
        require_times(&recordings, times_wanted, "--time")
            .with_context(|| self.input.inputs[0].display().to_string())?;
        if listed == 0 {
            messages.warn(&self.reason(&recordings, &ledger));
        }
        let problems = recordings.iter().map(|recording| recording.problem_count).sum();
        Ok(self.input.outcome(&ledger, problems))
    }

    fn reason(&self, recordings: &[Recording], ledger: &Ledger) -> String {
        format!("{}: {}", self.input.inputs[0].display(), nothing_counted(recordings, ledger))
    }
}

/// Writes each access as it comes.
struct Lister {
    filters: Filters,
    event_names: Vec<String>,
    event_wanted: Vec<bool>,
    writer: Option<RecordWriter<Output>>,
    error: Option<std::io::Error>,
    ledger: Ledger,
    listed: u64,
    op: String,
    source: String,
    flags: String,
}

impl Lister {
    fn new(filters: Filters, writer: RecordWriter<Output>) -> Self {
        Self {
            filters,
            event_names: Vec::new(),
            event_wanted: Vec::new(),
            writer: Some(writer),
            error: None,
            ledger: Ledger::default(),
            listed: 0,
            op: String::new(),
            source: String::new(),
            flags: String::new(),
        }
    }

    fn finish(self) -> std::io::Result<(Ledger, u64)> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.writer.map_or(Ok(()), RecordWriter::finish)?;
        Ok((self.ledger, self.listed))
    }

    fn list(&mut self, access: &Access) -> std::io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        self.op.clear();
        self.source.clear();
        self.flags.clear();
        // Writing to a string does not fail.
        let _ = write!(self.op, "{}", access.operation);
        if let Some(source) = access.data_source {
            let _ = write!(self.source, "{source}");
        }
        for name in access.flags.names() {
            if !self.flags.is_empty() {
                self.flags.push(',');
            }
            self.flags.push_str(name);
        }
        let event =
            access.origin.event.and_then(|event| self.event_names.get(usize::from(event.0)));
        self.listed += 1;
        writer.write(&RecordRow {
            time_ns: access.origin.time_ns,
            cpu: access.origin.cpu,
            pid: access.pid,
            tid: access.tid,
            event: event.map(String::as_str),
            op: &self.op,
            ip: access.ip.map(|ip| ip.get()),
            vaddr: access.vaddr.map(|vaddr| vaddr.get()),
            paddr: access.paddr.map(|paddr| paddr.get()),
            latency: access.latency_cycles,
            source: access.data_source.map(|_| self.source.as_str()),
            flags: &self.flags,
        })
    }
}

impl Sink for Lister {
    fn event_names(&mut self, names: &[String]) {
        self.event_names = names.to_vec();
        self.event_wanted = names.iter().map(|name| self.filters.wants_event(name)).collect();
    }

    fn access(&mut self, access: &Access) {
        self.ledger.records += 1;
        self.ledger.tid_unknown += u64::from(access.tid.is_none());
        let kept = self.filters.is_empty() || self.filters.keep(access, &self.event_wanted);
        match (access.paddr, kept) {
            (None, _) => self.ledger.no_physical_address += 1,
            (Some(_), false) => self.ledger.filtered += 1,
            (Some(_), true) => self.ledger.counted += 1,
        }
        if kept && let Err(error) = self.list(access) {
            self.error = Some(error);
            self.writer = None;
        }
    }

    fn other(&mut self, _: &Origin) {
        self.ledger.records += 1;
        self.ledger.not_memory += 1;
    }
}

/// Records are listed in their order, by one thread.
impl Shard for Lister {
    fn split(&self) -> Self {
        unreachable!("an ordered decoding does not split its sink")
    }

    fn merge(&mut self, _: Self) {
        unreachable!("an ordered decoding does not split its sink")
    }
}
