//! Reading the input, on a thread of its own.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use decoder::{Input, Options, decode_stream};
use tokio_util::sync::CancellationToken;

use crate::live::{InputState, Live};
use crate::service::Config;

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

/// An input that is open.
pub(super) struct Source {
    file: File,
    follow: bool,
    /// Its records come as they are made.
    pub(super) is_live: bool,
}

impl Source {
    /// Opens a file, a FIFO, or standard input (`-`).
    pub(super) fn open(path: &Path, follow: bool) -> anyhow::Result<Self> {
        let file = if path.as_os_str() == "-" {
            let input = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned()?;
            File::from(input)
        } else {
            File::open(path).with_context(|| format!("{}: cannot open", path.display()))?
        };
        let kind = file.metadata().with_context(|| format!("{}: cannot open", path.display()))?;
        if kind.is_dir() {
            anyhow::bail!(
                "{}: is a folder, expected a file, a FIFO or `-`: a folder is a finished recording, \
                 which `folioscope report` reads",
                path.display()
            );
        }
        Ok(Self { file, follow, is_live: follow || !kind.is_file() })
    }

    /// Reads it to its end and counts what it holds.
    pub(super) fn read(self, mut live: Live, config: &Config, ending: CancellationToken) {
        let options = Options::new(config.threads);
        let Self { file, follow, is_live } = self;
        let decoded = if follow {
            decode_stream(Following { file, ending: ending.clone() }, 0, &options, &mut live)
        } else if is_live || starts_like_a_stream(&file) {
            decode_stream(file, 0, &options, &mut live)
        } else {
            Input::from_file(file).and_then(|input| {
                let options = Options { ordered: config.threads.get() == 1, ..options };
                input.decode(0, &options, &mut live)
            })
        };
        match decoded {
            Ok(recording) => {
                use decoder::Sink;
                live.recording_so_far(&recording);
                live.set_state(InputState::Ended);
            }
            Err(error) => live.set_state(InputState::Failed(error.to_string())),
        }
    }
}

/// Whether a regular file holds what `perf record -o -` wrote. It is read from its start again.
fn starts_like_a_stream(file: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let mut head = [0; 16];
    // The size of its header: a stream's is no more than this.
    file.read_exact_at(&mut head, 0).is_ok()
        && (head[8..] == 16u64.to_le_bytes() || head[8..] == 16u64.to_be_bytes())
}
