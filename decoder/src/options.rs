//! How to decode.

use std::num::NonZeroUsize;

/// How to decode.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that decode AUX data and sample records. If there are several, one more walks
    /// over the input's records.
    pub threads: NonZeroUsize,
    /// Whether records must come in the order of their positions. Then one thread decodes.
    pub ordered: bool,
    /// The same for files and folders alone: streams are decoded as they come.
    pub ordered_files: bool,
    /// Whether a stream is decoded as it comes. If not, several threads start once a buffer is
    /// full, which saves them some work.
    pub prompt: bool,
    /// How finely the work is cut. It changes no result.
    pub grain: Grain,
    /// Bytes that may be saved of a file that comes through a pipe or out of a compressed one.
    pub max_spool: u64,
}

/// The default of [`Options::max_spool`], 4 GiB.
pub const MAX_SPOOL: u64 = 4 << 30;

impl Options {
    /// As many threads, and no order.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            ordered: false,
            ordered_files: false,
            prompt: false,
            grain: Grain::default(),
            max_spool: MAX_SPOOL,
        }
    }
}

/// How finely work is cut. The defaults are good; others are for tests with little data.
#[derive(Clone, Copy, Debug)]
pub struct Grain {
    /// The AUX data of one queue is not cut into parts shorter than this.
    pub part: usize,
    /// A stream is read in buffers of this length.
    pub buffer: usize,
}

impl Default for Grain {
    fn default() -> Self {
        Self { part: 8 << 20, buffer: 256 << 10 }
    }
}
