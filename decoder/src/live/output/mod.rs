//! Where what is captured goes: a recording as a stream, handed over as it comes.

pub(in crate::live) mod decoding;
pub(in crate::live) mod synthesized;
pub(in crate::live) mod writer;

use std::io;

use crate::perf::Auxtrace;
use synthesized::{About, EventAbout};

/// Takes a recording: what stands around its records, then records and AUX data as they come.
///
/// What it is given together is a stream as `perf record -o -` writes one, so that decoding and
/// writing see the same bytes in the same order.
pub trait RecordingWriter {
    /// The recording begins.
    ///
    /// # Errors
    /// What the system says when writing. So with all others.
    fn begin(&mut self, about: &About) -> io::Result<()>;

    /// More ids of an event that was told of before: a CPU has come.
    ///
    /// # Errors
    /// See [`RecordingWriter::begin`].
    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()>;

    /// The period of an event, told by one of its ids, is longer by this factor than it was told to
    /// be, from now on; 0: nothing is recorded for a while.
    ///
    /// # Errors
    /// See [`RecordingWriter::begin`].
    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()>;

    /// Whole records, as the kernel wrote them.
    ///
    /// # Errors
    /// See [`RecordingWriter::begin`].
    fn records(&mut self, records: &[u8]) -> io::Result<()>;

    /// A chunk of AUX data, whose bytes lie in one part or two. `chunk.size` is the length of both, rounded up to a multiple
    /// of 8: what is missing is zeros.
    ///
    /// # Errors
    /// See [`RecordingWriter::begin`].
    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()>;

    /// All rings were looked at once more.
    ///
    /// # Errors
    /// See [`RecordingWriter::begin`].
    fn pass_ended(&mut self) -> io::Result<()>;

    /// Bytes of a ring that hold no record were given back unread.
    fn unreadable(&mut self, _bytes: u64) {}

    /// A ring's head was where none can be: what it claimed was given back unread.
    fn overrun(&mut self) {}

    /// Whether nothing more is wanted.
    fn has_enough(&self) -> bool {
        false
    }
}

/// Zeros behind AUX data whose length is no multiple of 8.
pub(super) fn filling(chunk: &Auxtrace, bytes: [&[u8]; 2]) -> &'static [u8] {
    const ZEROS: [u8; 8] = [0; 8];
    let len = (bytes[0].len() + bytes[1].len()) as u64;
    let missing = usize::try_from(chunk.size.saturating_sub(len)).unwrap_or(0);
    &ZEROS[..missing.min(ZEROS.len())]
}
