//! Reading the input, on a thread of its own.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use decoder::live::{self as capture, Progress, Target};
use decoder::{Input, Options, Recording, Sink, is_packed};
use heatmap::Filters;
use heatmap::live::{InputState, Live};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::state::State;

/// How often a file is looked at that may have grown.
const POLL: Duration = Duration::from_millis(100);

/// A file that is read on when it has grown.
struct Following {
    file: File,
    ending: CancellationToken,
}

impl Read for Following {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let len = self.file.read(bytes)?;
            if len > 0 || bytes.is_empty() || self.ending.is_cancelled() {
                return Ok(len);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// An input that can be read.
pub(super) struct Source {
    input: Opened,
    follow: bool,
    /// Its records come as they are made.
    pub(super) is_live: bool,
}

enum Opened {
    File(File),
    /// A folder, which is a finished recording.
    Folder(Input),
    /// A FIFO, which is opened once somebody writes to it: whoever asks is answered before.
    Fifo(PathBuf),
    /// This host's own rings.
    Capture(Box<capture::Options>),
}

impl Source {
    /// Opens a file, a folder, a FIFO, or standard input (`-`).
    pub(super) fn open(path: &Path, follow: bool) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            let input = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned()?;
            return Self::of_file(File::from(input), follow)
                .context("standard input: cannot be read");
        }
        let cannot_open = || format!("{}: cannot open", path.display());
        let kind = std::fs::metadata(path).with_context(cannot_open)?.file_type();
        if kind.is_fifo() {
            return Ok(Self { input: Opened::Fifo(path.to_owned()), follow: false, is_live: true });
        }
        if kind.is_dir() {
            let input = Input::open(path).with_context(|| path.display().to_string())?;
            return Ok(Self { input: Opened::Folder(input), follow: false, is_live: false });
        }
        File::open(path)
            .map_err(anyhow::Error::from)
            .and_then(|file| Self::of_file(file, follow))
            .with_context(cannot_open)
    }

    /// What this host does, as `options` say. If `filters` keep one process, it alone is observed.
    ///
    /// # Errors
    /// If the kernel does not let it be captured. A unit that is in use is no error where it is to
    /// be waited for.
    pub(super) fn capture(
        mut options: capture::Options,
        filters: &Filters,
    ) -> Result<Self, capture::Error> {
        if let Some(pid) = filters.one_process() {
            options.target = Target::Pid(pid);
        }
        match capture::try_open(&options) {
            Err(capture::Error::Refused(refusal)) if options.give_way && refusal.is_busy() => {}
            tried => tried?,
        }
        Ok(Self { input: Opened::Capture(Box::new(options)), follow: false, is_live: true })
    }

    fn of_file(file: File, follow: bool) -> anyhow::Result<Self> {
        let is_file = file.metadata()?.is_file();
        if follow && is_file {
            check_followed(&file)?;
        }
        Ok(Self { input: Opened::File(file), follow, is_live: follow || !is_file })
    }

    /// Whether what is not read in time is kept by whoever wrote it: the kernel's rings drop it.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.input, Opened::Capture(_))
    }

    /// Reads it to its end and counts what it holds. A FIFO has no end: when one writer has gone
    /// the next is waited for.
    pub(super) fn read(self, live: Live, state: &State) {
        let Self { input, follow, is_live } = self;
        let (config, ending) = (&state.config, &state.ending);
        match input {
            Opened::Capture(options) => capture(&options, live, state),
            Opened::File(file) => read(file, follow, is_live, live, config, ending),
            Opened::Folder(input) => {
                let mut live = live;
                let decoded = live.decode(input, &options(config));
                ended(decoded, live);
            }
            Opened::Fifo(path) => loop {
                match File::open(&path) {
                    Ok(file) => read(file, false, true, live.clone(), config, ending),
                    Err(error) => return live.set_state(InputState::Failed(error.to_string())),
                }
                if config.exit_on_eof || ending.is_cancelled() {
                    return;
                }
                live.next_recording();
            },
        }
    }
}

/// Reads a file to its end and counts what it holds.
fn read(
    file: File,
    follow: bool,
    is_live: bool,
    mut live: Live,
    config: &Config,
    ending: &CancellationToken,
) {
    let options = options(config);
    let decoded = if follow {
        live.decode_stream(&mut Following { file, ending: ending.clone() }, &options)
    } else if !is_live && starts_like_a_stream(&file) {
        live.decode_stream(&mut &file, &options)
    } else {
        Input::from_file(file).and_then(|input| live.decode(input, &options))
    };
    ended(decoded, live);
}

/// Counts what this host does, until that ends or nothing more is wanted.
fn capture(options: &capture::Options, live: Live, state: &State) {
    let mut progress = |progress: &Progress| state.capture.store(Some(Arc::new(*progress)));
    // Nobody else stops it: when the daemon ends, `live` has enough.
    let stop = AtomicBool::new(false);
    match live.capture(options, &stop, &mut progress) {
        Ok(recording) => ended(Ok(recording), live),
        Err(error) => live.set_state(InputState::Failed(error.to_string())),
    }
}

/// A stream is counted as it comes. A recording's queues stand one after the other, but epochs go
/// across them.
fn options(config: &Config) -> Options {
    let Config { threads, max_spool, .. } = *config;
    Options { prompt: true, ordered_files: true, max_spool, ..Options::new(threads) }
}

/// Shows how it ended.
fn ended(decoded: Result<Recording, decoder::Error>, mut live: Live) {
    match decoded {
        Ok(recording) => {
            live.recording_so_far(&recording);
            live.set_state(InputState::Ended);
        }
        Err(error) => {
            let with_causes = format!("{:#}", anyhow::Error::from(error));
            live.set_state(InputState::Failed(with_causes));
        }
    }
}

/// Refuses to follow a perf.data file, whose header tells of its end. One that is too short to tell
/// may still become a stream.
fn check_followed(file: &File) -> anyhow::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut magic = [0; 8];
    let is_perf =
        file.read_exact_at(&mut magic, 0).is_ok() && matches!(&magic, b"PERFILE2" | b"2ELIFREP");
    let has_size = file.metadata()?.len() >= 16;
    anyhow::ensure!(
        !is_perf || !has_size || starts_like_a_stream(file),
        "it is a perf.data file, expected a stream, which `folioscope record -o -` or `perf record \
         -o -` writes: leave out --follow"
    );
    anyhow::ensure!(
        !is_packed(&magic),
        "it is compressed, expected a stream as `folioscope record -o -` or `perf record -o -` \
         writes it: leave out --follow"
    );
    Ok(())
}

/// Whether a regular file holds what `perf record -o -` wrote. It is read from its start again.
fn starts_like_a_stream(file: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let mut head = [0; 16];
    // The size of its header: a stream's is no more than this.
    file.read_exact_at(&mut head, 0).is_ok()
        && (head[8..] == 16u64.to_le_bytes() || head[8..] == 16u64.to_be_bytes())
}
