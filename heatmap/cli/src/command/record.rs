//! `folioscope record`: captures from the kernel's rings, without perf.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Args;
use client::messages::Messages;
use decoder::live::{
    self, CommandEnd, EventChoice, FileWriter, Progress, Side, SpeMetadata, StreamWriter, Target,
};
use heatmap::ChunkOrder;
use heatmap::Counter;
use heatmap::Folio;
use heatmap::PageSize;
use heatmap::query::{Duration, Filters, Percent, RingSize, Setting, Size};
use report::Format;
use report::layout::percent;

use super::input::{Counted, available_memory};
use super::options::JudgeOptions;
use super::outcome::Outcome;
use super::output::{Usage, style};
use super::report::{listed, print};
use crate::doctor::{Host, advised_period};

/// What is written at a time.
const BUFFER_LEN: usize = 1 << 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folioscope record --duration 10s             # all CPUs, best unit, a report
  folioscope record -o perf.data --pid 4711    # until Ctrl-C; for perf too
  folioscope record -o - --duration 1m | \\
      folioscope serve --http tcp:127.0.0.1:8080 -
  folioscope record --event faults -- make -j8 # pages that it touches
  folioscope record --event mem:0x7f0012345678/8:rw --pid 4711

With --yield others go first. A unit that somebody else has is tried once a
second until it is free. Where all CPUs are captured and the kernel shares the
unit among several (IBS, PEBS), it is left to the others for 10 s as soon as it
worked for us in less than 95 % of a second, then tried again. Arm SPE is never
shared: whoever wants it while we have it is refused, which we cannot see.

Recording physical addresses needs root, CAP_PERFMON, or a low
kernel.perf_event_paranoid.")]
pub(super) struct Record {
    /// Write a perf.data file, or with `-` a stream as `perf record -o -` does, in the place of a
    /// report. Only what is counted here is looked up in page maps: samples without a physical
    /// address are written as they come
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What is sampled: spe, ibs, pebs, faults, mem:ADDR/LEN:rw (several with commas), or a
    /// software event of the kernel's [default: the best unit of this host]
    #[arg(long, value_name = "EVENT")]
    event: Option<EventChoice>,
    /// Events between two samples, as the unit counts them; Arm SPE takes 256 to 4294967040, and
    /// recommends a least one [default: what `folioscope doctor` advises, for 50 MiB a second of
    /// all CPUs; 1 for faults and mem:]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    period: Option<u64>,
    /// Observe this process, its threads and what it starts
    #[arg(long, value_name = "PID", conflicts_with_all = ["all_cpus", "words"])]
    pid: Option<u32>,
    /// Observe all that runs; the default
    #[arg(short, long, conflicts_with = "words")]
    all_cpus: bool,
    /// Stop after so long, waiting included, for example 10s; a command is told to end then
    /// (SIGTERM), and one that does not within 2 s goes on unrecorded [default: at Ctrl-C, or when
    /// what is observed ends]
    #[arg(long, value_name = "DURATION")]
    duration: Option<Duration>,
    /// Take at most this part of the recorded CPUs' time on average, for example 1%: of all that
    /// are online, also where one process is observed. Periods get longer where it would be more,
    /// and events rest where that does not help
    #[arg(long, value_name = "PERCENT")]
    max_overhead: Option<Percent>,
    /// Give way to others: wait for a unit that is in use, and leave one that is shared to them for
    /// a while, again and again
    #[arg(long = "yield")]
    give_way: bool,
    /// Have the unit leave out accesses of fewer than N cycles
    #[arg(long, value_name = "N")]
    min_latency: Option<u32>,
    /// Have the unit sample loads and atomics alone
    #[arg(long, conflicts_with = "stores")]
    loads: bool,
    /// Have the unit sample stores and atomics alone
    #[arg(long)]
    stores: bool,
    /// Memory of each CPU's AUX ring, which Arm SPE writes into: a power of two [default: 4MiB]
    #[arg(long, value_name = "SIZE")]
    aux_size: Option<RingSize>,
    /// How a recording tells what is known of Arm SPE's CPUs: 1 is read by every perf, and perf since 6.13 calls it old; 2 is
    /// read by perf since 6.13. Where the CPUs differ it is always 2
    #[arg(long, value_name = "VERSION", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=2))]
    spe_metadata: u8,
    /// Set something else of the unit's, by its name under
    /// /sys/bus/event_source/devices/UNIT/format, for example event_filter=0x20, jitter=0
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
    /// Exit with status 3 if anything was lost or nothing was captured; with --output, as far as
    /// that shows without decoding
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    report: ReportOptions,
    /// Observe this command
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<OsString>,
}

/// What only a report takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Report, without --output")]
struct ReportOptions {
    /// Format of the report
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with = "output")]
    format: Format,
    /// Chunk order, 0 to 9: a chunk is 2^N pages
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "output")]
    order: ChunkOrder,
    /// Blocks that are listed, hottest first; 0: all [default: 10; with --format csv: all]
    #[arg(long, value_name = "N", conflicts_with = "output")]
    top: Option<usize>,
    /// Budget of the counters, for example 512MiB [default: half of the memory this process may
    /// use]
    #[arg(long, value_name = "SIZE", conflicts_with = "output")]
    max_memory: Option<Size>,
    #[command(flatten)]
    judge: JudgeOptions,
}

impl Record {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        let options = self.options();
        if self.output.is_none() {
            self.report.format.available()?;
            if self.report.format == Format::Parquet {
                let why = "a report as Parquet needs a file: record with -o FILE, then \
                           `folioscope report FILE --format parquet -o OUT`";
                return Err(Usage::new(why).into());
            }
        }
        options.period_caveats().iter().for_each(|caveat| messages.warn(caveat));
        let stop = stop_on_signals()?;
        match &self.output {
            None => self.to_report(&options, &stop, messages),
            Some(path) if path.as_os_str() == "-" => {
                let out = BufWriter::with_capacity(BUFFER_LEN, io::stdout());
                self.to_stream(&options, &stop, out, messages).context("standard output")
            }
            // Whatever is there and no file, such as a FIFO, takes a stream and is not replaced.
            Some(path) if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
                let file = File::options().write(true).open(path).context("cannot write");
                let out = file.map(|file| BufWriter::with_capacity(BUFFER_LEN, file));
                out.and_then(|out| self.to_stream(&options, &stop, out, messages))
                    .with_context(|| path.display().to_string())
            }
            Some(path) => self
                .to_file(&options, &stop, path, messages)
                .with_context(|| path.display().to_string()),
        }
    }

    /// What is captured.
    pub(super) fn options(&self) -> live::Options {
        let target = match (self.pid, self.words.is_empty()) {
            (Some(pid), _) => Target::Pid(pid),
            (None, false) => Target::Command(self.words.clone()),
            (None, true) => Target::AllCpus,
        };
        let side = match (self.loads, self.stores) {
            (true, _) => Side::Loads,
            (_, true) => Side::Stores,
            _ => Side::Both,
        };
        let event = self.event.clone().unwrap_or_default();
        let defaults = live::Options::default();
        let to_file = self.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
        live::Options {
            period: self.period.or_else(|| advised_period(&Host::here(), &event)),
            event,
            target,
            min_latency: self.min_latency,
            side,
            aux_len: self.aux_size.map_or(defaults.aux_len, |size| size.bytes),
            settings: self.settings.iter().map(|set| (set.name.clone(), set.value)).collect(),
            duration: self.duration.map(|most| std::time::Duration::from_nanos(most.ns)),
            max_overhead: self.max_overhead.map(|share| share.0),
            give_way: self.give_way,
            spe_metadata: match self.spe_metadata {
                2 => SpeMetadata::Version2,
                _ => SpeMetadata::Version1,
            },
            command_to_stderr: !to_file,
            ..defaults
        }
    }

    /// Counts what comes, and prints a report of it.
    fn to_report(
        &self,
        options: &live::Options,
        stop: &AtomicBool,
        messages: &Messages,
    ) -> anyhow::Result<Outcome> {
        let report = &self.report;
        let memory = report.max_memory.map_or(available_memory() / 2, |size| size.bytes);
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let counter = Counter::<Folio>::new(Filters::default(), memory);
        let (counter, mut recording, progress) =
            counter.capture(options, stop, &mut news(messages))?;
        recording.in_use = progress.waiting_for;
        let counted = Counted::new("live".to_owned(), counter, recording);
        let mut wanted = report.judge.wanted(report.order, listed(report.top, report.format));
        wanted.page_size = wanted.page_size.or_else(PageSize::of_this_host);
        let summary = counted.summary(wanted, messages)?;
        print(&summary, report.format, io::stdout(), style(true, messages.color))
            .context("standard output: cannot write")?;
        Ok(self.outcome(&progress, summary.is_lossy(), messages))
    }

    /// Writes a stream.
    fn to_stream(
        &self,
        options: &live::Options,
        stop: &AtomicBool,
        out: impl Write,
        messages: &Messages,
    ) -> anyhow::Result<Outcome> {
        let mut writer = StreamWriter::new(out);
        let progress = live::record(options, stop, news(messages), &mut writer)?;
        writer.finish().context("cannot write")?;
        Ok(self.written(&progress, messages))
    }

    /// Writes a file beside the one that was named, which it becomes once it is complete. What
    /// there is of it when that fails stays there: it can be read.
    fn to_file(
        &self,
        options: &live::Options,
        stop: &AtomicBool,
        path: &Path,
        messages: &Messages,
    ) -> anyhow::Result<Outcome> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PartFile::new(PathBuf::from(part)).context("cannot write")?;
        let file = part.file.try_clone().context("cannot write")?;
        let mut writer = FileWriter::new(BufWriter::with_capacity(BUFFER_LEN, file));
        let progress = match live::record(options, stop, news(messages), &mut writer) {
            Err(live::Error::Output(error)) => {
                // What is in the buffer still would fail once more, or come late.
                drop(writer);
                return Err(part.keep("cannot write", &error));
            }
            done => done?,
        };
        if let Err(error) = writer.finish() {
            return Err(part.keep("cannot write", &error));
        }
        part.rename(path)?;
        Ok(self.written(&progress, messages))
    }

    /// What there is to say of a recording that was not decoded.
    fn written(&self, progress: &Progress, messages: &Messages) -> Outcome {
        // A report says it as its reason.
        if let Some(cpu) = progress.waiting_for {
            messages.warn(&format!(
                "nothing was captured: the unit on CPU {cpu} was in use all the time, {:.1} s",
                progress.waited.as_secs_f64()
            ));
        }
        let total = &progress.total;
        let nothing = total.samples + total.aux_bytes == 0;
        self.outcome(progress, total.is_lossy() || nothing, messages)
    }

    fn outcome(&self, progress: &Progress, lossy: bool, messages: &Messages) -> Outcome {
        let total = &progress.total;
        let outcome = if self.strict && lossy { Outcome::Lossy } else { Outcome::Done };
        if progress.waiting_for.is_some() {
            return outcome;
        }
        messages.info(&cost(progress));
        if let Some(line) = sharing(progress) {
            messages.warn(&line);
        }
        if let Some(budget) = self.max_overhead {
            messages.warn(&achieved(progress, budget.0));
        }
        if total.lost > 0 || total.truncated > 0 {
            messages.warn(&format!(
                "rings were full: {} records lost, AUX data cut {} times: give a longer --period, \
                 or --max-overhead",
                total.lost, total.truncated
            ));
        }
        let dropped = total.collisions + total.partial + total.lost_samples;
        if dropped > 0 {
            messages.warn(&format!(
                "samples were dropped: {} by the kernel, and AUX data says so {} times: give a \
                 longer --period, or --max-overhead",
                total.lost_samples,
                total.collisions + total.partial
            ));
        }
        if total.unreadable + total.overruns > 0 {
            messages.warn(&format!(
                "{} bytes of rings held no record, and {} heads of rings could not be: what stood \
                 there is missing, see `dmesg`",
                total.unreadable, total.overruns
            ));
        }
        if total.throttled > 0 {
            messages.warn(&format!(
                "the kernel stopped sampling {} times until the next tick, since samples came too \
                 often: give a longer --period",
                total.throttled
            ));
        }
        if progress.unfollowed_cpus > 0 {
            messages.warn(&format!(
                "{} CPUs came online and could not be recorded",
                progress.unfollowed_cpus
            ));
        }
        if let Some(line) = progress.command.and_then(command_end) {
            messages.warn(&line);
        }
        outcome
    }
}

/// Says once what cannot wait until the end.
fn news(messages: &Messages) -> impl FnMut(&Progress) {
    let (mut waits, mut gave_way) = (false, false);
    move |progress| {
        if let (Some(cpu), false) = (progress.waiting_for, waits) {
            waits = true;
            messages.warn(&format!(
                "the unit on CPU {cpu} is in use by somebody else: waiting for it (--yield)"
            ));
        }
        if !gave_way && !progress.gave_way.is_zero() {
            gave_way = true;
            messages.warn("somebody else uses the unit too: leaving it to them (--yield)");
        }
    }
}

/// What became of a command, if that is not what was to be expected.
fn command_end(end: CommandEnd) -> Option<String> {
    Some(match end {
        CommandEnd::Exited(0) | CommandEnd::Told => return None,
        CommandEnd::Exited(code) => format!("the command ended with status {code}"),
        CommandEnd::Killed(signal) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("the command was killed by {name}"),
            None => format!("the command was killed by signal {signal}"),
        },
        CommandEnd::GoesOn(pid) => format!(
            "the command (process {pid}) was told to end and has not: it goes on and is not \
             recorded any more"
        ),
    })
}

/// How a unit was shared with others, if it was.
fn sharing(progress: &Progress) -> Option<String> {
    let share = percent(progress.shared?);
    let gave_way = progress.gave_way.as_secs_f64();
    Some(if progress.gave_way.is_zero() {
        format!(
            "the unit was shared: it worked for us {share} of the time, and accesses in the \
             rest are missing; --yield leaves it to others"
        )
    } else {
        format!(
            "the unit was shared: it was left to others for {gave_way:.1} s of {:.1} s, and worked \
             for us {share} of the time in between",
            progress.elapsed.as_secs_f64()
        )
    })
}

/// What became of a budget.
fn achieved(progress: &Progress, budget: f64) -> String {
    /// A shorter run has no time to make up for its beginning.
    const SETTLED: std::time::Duration = std::time::Duration::from_secs(5);
    // Budgets may be much less than 1 %, and are compared with what was achieved.
    let percent = |share: f64| format!("{:.3} %", 100.0 * share);
    let (average, fixed) = (progress.average_overhead, progress.fixed_overhead);
    let why = if average <= budget {
        ""
    } else if fixed >= 0.9 * budget {
        ", which what does not depend on samples takes alone: give a larger one"
    } else if progress.elapsed < SETTLED {
        ", in a run too short to make up for its beginning"
    } else {
        ", which was missed"
    };
    let mut line = format!(
        "overhead: {} of the CPUs' time on average ({} whatever is captured), budget {}{why}; \
         period {} stretched to {}",
        percent(average),
        percent(fixed),
        percent(budget),
        progress.period,
        progress.period_now()
    );
    if !progress.rested.is_zero() {
        let rested = progress.rested.as_secs_f64();
        line.push_str(&format!(", events off for {rested:.1} s"));
    }
    line
}

/// What a capture took in, and what it cost.
fn cost(progress: &Progress) -> String {
    let Progress { elapsed, total, own, cpus, period, stretched, .. } = progress;
    let all = elapsed.as_secs_f64() * (*cpus).max(1) as f64;
    format!(
        "{} samples and {} bytes of AUX data in {:.1} s on {cpus} CPUs, period {:.0}, {} of \
         their time spent here",
        total.samples,
        total.aux_bytes,
        elapsed.as_secs_f64(),
        *period as f64 * stretched,
        percent(own.as_secs_f64() / all.max(f64::MIN_POSITIVE))
    )
}

/// A file that is not complete: gone unless it is renamed or kept.
struct PartFile {
    file: File,
    path: PathBuf,
    stays: bool,
}

impl PartFile {
    /// Nobody else is to read it: it tells where everybody's memory lies.
    fn new(path: PathBuf) -> io::Result<Self> {
        // One that is there has somebody's rights.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path, stays: false })
    }

    fn rename(mut self, path: &Path) -> anyhow::Result<()> {
        match std::fs::rename(&self.path, path) {
            Ok(()) => self.stays = true,
            Err(error) => return Err(self.keep("cannot put the finished file there", &error)),
        }
        Ok(())
    }

    /// Leaves what there is of it, if there is something, and says so beside what failed.
    fn keep(mut self, what: &str, error: &io::Error) -> anyhow::Error {
        self.stays = self.file.metadata().is_ok_and(|file| file.len() > 0);
        let kept = match self.stays {
            true => format!("; what there is of it is in {}", self.path.display()),
            false => String::new(),
        };
        anyhow::anyhow!("{what}: {error}{kept}")
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.stays {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Set by Ctrl-C and by SIGTERM; the second one ends the process at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = 128 + signal;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot wait for signals")?;
    }
    Ok(stop)
}
