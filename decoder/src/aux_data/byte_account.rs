//! What became of a queue's bytes, and which times its records had. The same for every tracer.

/// The account of one queue's bytes; the fields are those of [`crate::Ledger`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteAccount {
    /// Packets other than padding, of finished records or of none.
    pub record: u64,
    /// Padding packets.
    pub padding: u64,
    /// Dropped while resynchronising.
    pub skipped: u64,
    /// The unfinished record before a gap or at the end.
    pub cut_off: u64,
    /// Given twice; outside the sum.
    pub overlap: u64,
}

impl ByteAccount {
    /// All bytes but those that were given twice.
    pub const fn sum(&self) -> u64 {
        self.record + self.padding + self.skipped + self.cut_off
    }
}

/// Which times a queue's records had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// There were records.
    pub records: bool,
    /// Some had a timestamp.
    pub ticks: bool,
    /// Some had one that could be converted.
    pub ns: bool,
}
