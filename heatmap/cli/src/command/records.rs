//! `folioscope records`.

use core::fmt::Write as _;

use anyhow::Context;
use clap::Args;
use client::messages::Messages;
use decoder::{
    Access, AccessFlags, EventIndex, Ledger, Origin, QueueName, Recording, Shard, Sink, Tlb,
};
use heatmap::Filters;
use heatmap::incomplete;
use heatmap::lossy;
use heatmap::nothing_counted;
use report::{RecordRow, RecordWriter};

use super::input::require_times;
use super::options::{FilterOptions, InputOptions, OutputOptions, RawOptions};
use super::outcome::Outcome;
use super::output::Output;

#[derive(Debug, Args)]
#[command(after_help = "Columns, absent values `-` (text), empty (CSV), null (JSON, Parquet):
  time_ns, cpu, pid, tid, event, op, ip, vaddr, paddr
  latency              cycles of the whole access
  source               where the data came from; of stores Arm SPE does not say
  flags                what else the record says. source-inferred: no table of sources is known
                       for the processor, so its cache events were asked. region-N: number of
                       the memory region. guest, looked-up, lookup-...: see the README
  queue                ring or CPU that the record stood in: spe2/cpu7, pt0/tid4711, samples/cpu3;
                       records of one queue are in its order. Of the second input 2:spe2/cpu7
  tlb                  which TLB had the translation: l1, l2, hit (one of them), walk (none)
  page_size            bytes of the page that it was translated by: as the hardware used it (IBS),
                       else as the kernel found it
  issue_latency        cycles until it was issued (Arm SPE)
  translation_latency  cycles of its translation (Arm SPE: waiting for the MMU; IBS: TLB refill)
  guest                true if it was made in a virtual machine")]
pub(super) struct Records {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    raw: RawOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

impl Records {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check(self.input.files())?;
        let filters = self.filters.filters();
        let times_wanted = !filters.times.is_empty();
        let lister = Lister::new(filters, &self.output);
        let (lister, recordings) =
            self.input.decode(self.raw.raw(), true, lister, heatmap::decode)?;
        require_times(&recordings, times_wanted, "--time")
            .with_context(|| self.input.inputs[0].display().to_string())?;
        let (left_out, listed) = (lister.left_out, lister.listed);
        let filters = lister.filters.clone();
        let mut ledger = lister.finish()?;
        recordings.iter().for_each(|recording| ledger += recording.ledger);
        ledger.check()?;
        let problems = recordings.iter().map(|recording| recording.problem_count).sum();
        if listed == 0 {
            let path = self.input.inputs[0].display();
            let reason = nothing_listed(&recordings, &ledger, &filters, left_out);
            messages.warn(&format!("{path}: {reason}"));
        } else {
            self.input.warn_of_injected(&recordings, messages);
            self.input.warn_of_losses(&recordings, &ledger, messages);
        }
        let incomplete = incomplete::reasons(&recordings);
        Ok(self.input.outcome(lossy(&ledger, problems, &incomplete) || listed == 0))
    }
}

/// Why no record is listed.
fn nothing_listed(
    recordings: &[Recording],
    ledger: &Ledger,
    filters: &Filters,
    left_out: u64,
) -> String {
    if left_out > 0 {
        let filtered = Ledger { filtered: left_out, ..*ledger };
        let filtered = Ledger { guest_address: 0, no_physical_address: 0, ..filtered };
        let filtered = Ledger { lookup_failed: 0, ..filtered };
        return nothing_counted(recordings, &filtered, filters);
    }
    nothing_counted(recordings, ledger, filters)
}

/// Writes each access as it comes. The output is opened for the first one: an input that cannot
/// be read costs no earlier result.
struct Lister<'a> {
    filters: Filters,
    output: &'a OutputOptions,
    event_names: Vec<String>,
    event_wanted: Vec<bool>,
    writer: Option<RecordWriter<Output>>,
    error: Option<anyhow::Error>,
    ledger: Ledger,
    listed: u64,
    left_out: u64,
    op: String,
    source: String,
    flags: String,
    /// Number of the input, counted from 1.
    input: u32,
    /// The queue of the last record, and its name.
    queue: Option<QueueName>,
    queue_name: String,
}

impl<'a> Lister<'a> {
    fn new(filters: Filters, output: &'a OutputOptions) -> Self {
        Self {
            filters,
            output,
            event_names: Vec::new(),
            event_wanted: Vec::new(),
            writer: None,
            error: None,
            ledger: Ledger::default(),
            listed: 0,
            left_out: 0,
            op: String::new(),
            source: String::new(),
            flags: String::new(),
            input: 1,
            queue: None,
            queue_name: String::new(),
        }
    }

    fn open(&self) -> anyhow::Result<RecordWriter<Output>> {
        self.output.named(RecordWriter::new(self.output.format, self.output.open()?))
    }

    fn finish(mut self) -> anyhow::Result<Ledger> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.open()?,
        };
        self.output.named(writer.finish())?;
        Ok(self.ledger)
    }

    /// Sets the name of a record's queue. Most stand in the same one as the record before. Queues
    /// of the second input and of those behind it have its number in front: their records do not
    /// go on where those of the first one ended.
    fn name_queue(&mut self, queue: QueueName) {
        if self.queue == Some(queue) {
            return;
        }
        self.queue = Some(queue);
        self.queue_name.clear();
        // Writing to a string does not fail.
        let _ = match self.input {
            1 => write!(self.queue_name, "{queue}"),
            input => write!(self.queue_name, "{input}:{queue}"),
        };
    }

    fn list(&mut self, access: &Access) -> anyhow::Result<()> {
        if self.error.is_some() {
            return Ok(());
        }
        if self.writer.is_none() {
            self.writer = Some(self.open()?);
        }
        self.name_queue(access.queue());
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
        let row = RecordRow {
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
            queue: &self.queue_name,
            tlb: access.tlb.map(Tlb::as_str),
            page_size: access.page_size,
            issue_latency: access.issue_latency_cycles,
            translation_latency: access.translation_latency_cycles,
            guest: access.flags.contains(AccessFlags::GUEST),
        };
        self.output.named(writer.write(&row))
    }
}

impl Sink for Lister<'_> {
    fn event_name(&mut self, event: EventIndex, name: &str) {
        let index = usize::from(event.0);
        self.event_names.resize(self.event_names.len().max(index + 1), String::new());
        name.clone_into(&mut self.event_names[index]);
        self.event_wanted.resize(self.event_names.len(), false);
        self.event_wanted[index] = self.filters.wants_event(name);
    }

    fn access(&mut self, access: &Access) {
        self.ledger.records += 1;
        self.ledger.tid_unknown += u64::from(access.tid.is_none());
        let kept = self.filters.is_empty() || self.filters.keep(access, &self.event_wanted);
        self.ledger.frame(access);
        match (access.paddr, kept) {
            (None, _) => {}
            (Some(_), false) => self.ledger.filtered += 1,
            (Some(_), true) => self.ledger.counted += 1,
        }
        self.left_out += u64::from(!kept);
        if kept && let Err(error) = self.list(access) {
            self.error = Some(error);
        }
    }

    fn other(&mut self, _: &Origin) {
        self.ledger.records += 1;
        self.ledger.not_memory += 1;
    }

    fn recording_ended(&mut self) {
        self.input = self.input.saturating_add(1);
        self.queue = None;
    }

    fn has_enough(&self) -> bool {
        self.error.is_some()
    }
}

/// Records are listed in their order, by one thread.
impl Shard for Lister<'_> {
    fn split(&self) -> Self {
        unreachable!("an ordered decoding does not split its sink")
    }

    fn merge(&mut self, _: Self) {
        unreachable!("an ordered decoding does not split its sink")
    }
}
