//! The recordings and made traces that tests read.

use std::path::{Path, PathBuf};

/// The folder of inputs.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// The recordings, without what follows their names.
pub const RECORDED: [&str; 15] = [
    "dir-threads",
    "file-anon",
    "file-bp",
    "file-group",
    "file-kernel",
    "file-lost",
    "file-multi",
    "file-period",
    "file-shm",
    "file-sys",
    "file-wide",
    "file-z",
    "file-zero",
    "pipe-multi-z",
    "pipe-one",
];

/// The made traces.
pub const MADE: [&str; 12] = [
    "spe-file",
    "spe-file-be-timeless",
    "spe-file-timeless",
    "spe-file-zstd81",
    "spe-file-zstd81-timeless",
    "spe-file-zstd83",
    "spe-file-zstd83-timeless",
    "spe-stream",
    "spe-stream-timeless",
    "spe-stream-zstd81",
    "spe-stream-zstd83",
    "spe-stream-zstd83-timeless",
];

/// Recordings of a unit without hardware, whose module keeps an account of every record (tests/vm/spe).
pub const VIRTUAL: [&str; 7] = [
    "by-folioscope",
    "collisions",
    "compressed",
    "judged",
    "truncated",
    "two-processes",
    "unfinished",
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static str> {
    RECORDED.into_iter().chain(MADE).chain(VIRTUAL)
}

/// Where a recording or made trace is.
pub fn input(name: &str) -> PathBuf {
    let folder = match name {
        _ if name.starts_with("spe-") => "made",
        _ if VIRTUAL.contains(&name) => "virtual",
        _ => "recorded",
    };
    testdata().join(folder).join(format!("{name}.data"))
}

/// A file of the inputs.
pub fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The bytes of a trace that was written by hand, in hexadecimal with remarks.
pub fn written(name: &str) -> Vec<u8> {
    let path = testdata().join(format!("written/{name}.hex"));
    let text = String::from_utf8(bytes(&path)).expect("it is text");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let numbers = lines.flat_map(str::split_whitespace);
    numbers.map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect()
}
