//! Reading the inputs of a command.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use client::messages::Messages;
use decoder::page_map::{LookUp, SavedFrames};
use decoder::{Error, Input, Options, Raw, Recording, Shard, TimeBase};
use heatmap::facts::{doubts, injected};
use heatmap::{Block, Countable, Counter, Filters, Summary, Wanted, incomplete};

use super::options::InputOptions;
use super::outcome::Outcome;
use super::output::Usage;

/// Decodes one input into a sink, with the number of its first file.
type Decode<S> =
    fn(Input, Option<Raw>, u32, &Options, &mut LookUp<S, SavedFrames>) -> Result<Recording, Error>;

impl InputOptions {
    /// The inputs as they are shown.
    pub(super) fn path(&self) -> String {
        let paths: Vec<_> = self.inputs.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }

    /// All files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.inputs.iter().chain(&self.page_map).map(PathBuf::as_path)
    }

    /// Decodes all inputs into a sink, in their order, and gives the sink back. `decode` does that
    /// for one input, given the number of its first file.
    pub(super) fn decode<S: Shard>(
        &self,
        raw: Option<Raw>,
        ordered: bool,
        sink: S,
        decode: Decode<S>,
    ) -> anyhow::Result<(S, Vec<Recording>)> {
        let threads = self
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let max_spool = self.max_spool.bytes;
        let options = Options { ordered, max_spool, ..Options::new(threads) };
        let stdin = self.inputs.iter().filter(|path| is_stdin(path)).count();
        if stdin > 1 {
            return Err(Usage::new(
                "- stands twice among the inputs, and standard input can be read once",
            )
            .into());
        }
        let mut sink = match &self.page_map {
            Some(page_map) => {
                let frames =
                    saved_frames(page_map).with_context(|| page_map.display().to_string())?;
                LookUp::new(sink, frames)
            }
            None => LookUp::nothing(sink),
        };
        let mut recordings = Vec::new();
        let mut first_file = 0;
        for path in &self.inputs {
            let recording = open(path, raw)
                .and_then(|input| Ok(decode(input, raw, first_file, &options, &mut sink)?))
                .with_context(|| path.display().to_string())?;
            first_file += recording.files;
            recordings.push(recording);
        }
        Ok((sink.into_inner(), recordings))
    }

    /// Decodes and counts all inputs, and keeps of each block what `B` says.
    pub(super) fn count<B: Countable>(
        &self,
        raw: Option<Raw>,
        filters: Filters,
    ) -> anyhow::Result<Counted<B>> {
        let times_wanted = !filters.times.is_empty();
        let counter = Counter::new(filters, self.memory()?);
        let (counter, recordings) = self.decode(raw, false, counter, B::decode)?;
        let path = self.path();
        require_times(&recordings, times_wanted, "--time").with_context(|| path.clone())?;
        Ok(Counted { path, counter, recordings })
    }

    /// Bytes that the counters may use.
    fn memory(&self) -> anyhow::Result<usize> {
        let given = self.max_memory.map(|size| usize::try_from(size.bytes).unwrap_or(usize::MAX));
        Ok(given.unwrap_or_else(|| usize::try_from(available_memory() / 2).unwrap_or(usize::MAX)))
    }

    /// Says what is missing from a list, or in doubt: it has no room for that.
    pub(super) fn warn_of_losses(
        &self,
        recordings: &[Recording],
        ledger: &decoder::Ledger,
        messages: &Messages,
    ) {
        let problems: u64 = recordings.iter().map(|recording| recording.problem_count).sum();
        let incomplete = incomplete::reasons(recordings);
        let mut losses: Vec<_> =
            ledger.losses().map(|(name, value)| format!("{name} {value}")).collect();
        if problems > 0 {
            losses.push(format!("{problems} places that could not be read"));
        }
        let mut missing = Vec::new();
        if !losses.is_empty() {
            missing.push(format!("something was lost: {}", losses.join(", ")));
        }
        missing.extend(incomplete.iter().map(|reason| format!("not complete: {reason}")));
        if !missing.is_empty() {
            // There is no report on what has no physical addresses.
            let pebs = |recording: &Recording| matches!(recording.raw, Some(Raw::Pebs(..)));
            let see = if recordings.iter().any(pebs) { "" } else { "; see `folioscope report`" };
            messages.warn(&format!("{}: {}{see}", self.path(), missing.join("; ")));
        }
        for doubt in recordings.iter().flat_map(doubts) {
            messages.warn(&format!("{}: {doubt}", self.path()));
        }
    }

    /// Says what everybody should know of these recordings who counts them.
    pub(super) fn warn_of_injected(&self, recordings: &[Recording], messages: &Messages) {
        warn_of_injected(&self.path(), recordings, messages);
    }

    /// The outcome of a run, by `--strict`. `lossy`: something is known to be missing, or nothing
    /// was found.
    pub(super) fn outcome(&self, lossy: bool) -> Outcome {
        if self.strict && lossy { Outcome::Lossy } else { Outcome::Done }
    }
}

/// Inputs that were counted.
pub(super) struct Counted<B: Block> {
    path: String,
    counter: Counter<B>,
    recordings: Vec<Recording>,
}

impl<B: Block> Counted<B> {
    /// What was counted of one recording, which is shown by this name.
    pub(super) fn new(path: String, counter: Counter<B>, recording: Recording) -> Self {
        Self { path, counter, recordings: vec![recording] }
    }

    /// The answer, once its account is known to be right.
    pub(super) fn summary(
        &self,
        wanted: Wanted,
        messages: &Messages,
    ) -> anyhow::Result<Summary<'_, B>> {
        require_times(&self.recordings, wanted.min_span_ns.is_some(), "--min-span")
            .with_context(|| self.path.clone())?;
        let summary = Summary::new(self.path.clone(), &self.recordings, &self.counter, wanted);
        summary.ledger().check()?;
        if summary.ledger().counted > 0 {
            warn_of_injected(&self.path, &self.recordings, messages);
        }
        if let Some(reason) = summary.reason() {
            messages.warn(&format!("{}: {reason}", self.path));
        }
        let ledger = summary.ledger();
        messages.info(&format!(
            "{}: {} records, {} counted in {} blocks",
            self.path,
            ledger.records,
            ledger.counted,
            self.counter.store().len()
        ));
        Ok(summary)
    }
}

impl<B: Block> Counted<B> {
    /// Says what is missing from a list of what was counted. Where nothing was, the reason says
    /// so already.
    pub(super) fn warn_of_losses(
        &self,
        input: &InputOptions,
        ledger: &decoder::Ledger,
        messages: &Messages,
    ) {
        if ledger.counted > 0 {
            input.warn_of_losses(&self.recordings, ledger, messages);
        }
    }
}

/// Says of which recordings the counts are too high.
fn warn_of_injected(path: &str, recordings: &[Recording], messages: &Messages) {
    for note in recordings.iter().filter_map(injected) {
        messages.warn(&format!("{path}: {note}"));
    }
}

/// Refuses an option that needs times if a recording has none that can be used.
pub(super) fn require_times(
    recordings: &[Recording],
    wanted: bool,
    option: &str,
) -> anyhow::Result<()> {
    if !wanted {
        return Ok(());
    }
    for recording in recordings.iter().filter(|recording| !recording.sources.is_empty()) {
        match recording.time_base {
            TimeBase::Ns => {}
            TimeBase::Ticks => bail!(
                "{option} needs times, and this recording does not say how its timestamps \
                 relate to time (no TIME_CONV record): leave it out"
            ),
            TimeBase::None => bail!(
                "{option} needs times, and this recording has none: record with ts_enable=1, or \
                 leave it out"
            ),
        }
    }
    Ok(())
}

fn saved_frames(path: &Path) -> anyhow::Result<SavedFrames> {
    let file = File::open(path).context("cannot open the page map")?;
    Ok(SavedFrames::read(BufReader::new(file))?)
}

/// Whether a path stands for standard input.
fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What to do if the bytes of a buffer are not there.
const NAME_BYTES: &str = "name the file that holds them";

fn open(path: &Path, raw: Option<Raw>) -> anyhow::Result<Input> {
    if is_stdin(path) {
        // A file that the shell opened for us can be mapped like any other.
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        return Ok(Input::from_file(File::from(input))?);
    }
    Input::open(path).map_err(|error| match error {
        decoder::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let (expected, remedy) = match raw {
                Some(Raw::Pebs(..)) => ("the bytes of a PEBS buffer", NAME_BYTES),
                Some(Raw::ArmSpe(_)) => ("the bytes of an SPE buffer", NAME_BYTES),
                None => (
                    "what `perf record` or `folioscope record` wrote",
                    "name it, or record with the command that `folioscope doctor` prints for this \
                     host",
                ),
            };
            anyhow::anyhow!(
                "cannot open: there is no such file or folder, expected {expected}: {remedy}"
            )
        }
        error => error.into(),
    })
}

/// Memory that this process may use: the machine's, or less where a control group says so.
pub(super) fn available_memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = meminfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        })
        .map_or(1 << 30, |kib| kib << 10);
    control_group_limits().fold(machine, u64::min)
}

/// Limits of this process's control group (version 2) and of those above it.
fn control_group_limits() -> impl Iterator<Item = u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("").to_owned();
    let root = PathBuf::from("/sys/fs/cgroup");
    let group = root.join(group);
    let folders: Vec<_> = group
        .ancestors()
        .take_while(|folder| folder.starts_with(&root))
        .map(Path::to_owned)
        .collect();
    folders.into_iter().filter_map(|folder| {
        std::fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()
    })
}
