//! Errors of whole inputs. Damage inside the data is never one of them: it is counted.

use core::fmt;
use std::path::PathBuf;

/// A position in an input, in bytes from the start of the file or stream that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceOffset(pub u64);

impl fmt::Display for TraceOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.0)
    }
}

/// Where a record stands among all inputs of a run: the order of everything that is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which file, in the order they are read: inputs as given, `data`, `data.0`, `data.1`, ...
    pub file: u32,
    /// Offset of the record's last byte; inside compressed data, of the last byte of the
    /// compressed record (the records in it keep their order).
    pub offset: TraceOffset,
}

/// Why an input gives no record stream at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open or read.
    #[error("{action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The input ends before a header could be read.
    #[error(
        "{found} bytes at byte 0, expected a perf.data header of at least 16: \
         the recording was not written, or is not one; record again with `perf record`"
    )]
    TooShort {
        /// Bytes there are.
        found: u64,
    },
    /// The first eight bytes are no magic of perf's.
    #[error(
        "byte 0 reads {}, expected \"PERFILE2\": this is not a perf.data file or stream; \
         give what `perf record` wrote",
        Magic(.found)
    )]
    NotPerf {
        /// The bytes there are.
        found: [u8; 8],
    },
    /// The first version of the format, last written in 2009.
    #[error(
        "byte 0 reads \"PERFFILE\", expected \"PERFILE2\": version 1 of the format is from \
         before Arm SPE and is not read; record again with a perf of today"
    )]
    OldFormat,
    /// A header field that makes the record stream impossible to find.
    #[error("{field} at {offset} is {found}, expected {expected}: the file's header is damaged")]
    BadHeader {
        /// Name of the field.
        field: &'static str,
        /// Where it stands.
        offset: TraceOffset,
        /// What was expected.
        expected: &'static str,
        /// What it says.
        found: u64,
    },
    /// A `perf.data` file where a stream was expected, as one that is followed.
    #[error(
        "byte 8 says a header of {size} bytes, expected 16: this is a perf.data file, whose end is \
         needed to read its start, and only a stream can be read as it comes; give the finished file"
    )]
    NotAStream {
        /// Header size that the input claims.
        size: u64,
    },
    /// An input that is compressed in a way, or at a place, in which it is not read.
    #[error(
        "it is compressed with {format}, which is not read here: decompress it first, \
         `{program} FILE | folioscope report -`"
    )]
    Packed {
        /// Name of the format.
        format: &'static str,
        /// The command that decompresses it.
        program: &'static str,
    },
    /// A compressed file of a folder.
    #[error(
        "its file {name:?} is compressed, and files of a folder are read as they are: decompress \
         it first, `{program} {name} > {plain}`"
    )]
    PackedInFolder {
        /// The file's name in the folder.
        name: String,
        /// The command that decompresses it.
        program: &'static str,
        /// The name that it should have decompressed.
        plain: String,
    },
    /// Compressed data that is damaged before a header could be read.
    #[error("{what}, after {given} bytes of a recording's header: compress it again")]
    Unpacking {
        /// What was found.
        what: String,
        /// Decompressed bytes before it.
        given: u64,
    },
    /// The temporary file that a `perf.data` file from a pipe is saved in.
    #[error(
        "a perf.data file from a pipe, or a compressed one, is first saved in {}, which failed: \
         set TMPDIR to a folder with room",
        .folder.display()
    )]
    Spool {
        /// The folder of temporary files.
        folder: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file from a pipe that is longer than may be saved.
    #[error(
        "a perf.data file from a pipe, or a compressed one, of over {most} bytes, which is all \
         that may be saved for it: raise --max-spool, or give the decompressed file by its name"
    )]
    TooLargeToSpool {
        /// Bytes that may be saved.
        most: u64,
    },
    /// A recording, or a folder, where a raw buffer was expected.
    #[error(
        "this is a recording of perf's, expected the bytes of {expected}: leave out {option}, or \
         give the bytes without a container"
    )]
    NotRaw {
        /// What was expected.
        expected: &'static str,
        /// The option that asked for it.
        option: &'static str,
    },
    /// A folder without a `data` file.
    #[error(
        "no file \"data\" in it, expected a perf.data folder as `perf record --threads` writes it: \
         give a folder that holds one"
    )]
    NoDataInFolder,
    /// A mapped file became shorter while it was read.
    #[error(
        "the file had {before} bytes and shrank to {after} while it was being read: \
         wait until its writer is done, or pipe it in"
    )]
    Shrank {
        /// Length when it was opened.
        before: u64,
        /// Length afterwards.
        after: u64,
    },
}

struct Magic<'a>(&'a [u8; 8]);

impl fmt::Display for Magic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Something in an input that could not be read, while the rest was. Part of every answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at {offset}: {consequence}")]
pub struct Problem {
    /// What was found.
    pub what: String,
    /// Where.
    pub offset: TraceOffset,
    /// What that means for the result.
    pub consequence: &'static str,
}
