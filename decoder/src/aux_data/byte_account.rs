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

/// The bytes that a decoder was given: what became of them, and, counted apart from that, how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FedBytes {
    /// What became of them. Those of an unfinished record are in none of its fields.
    pub account: ByteAccount,
    /// All of them but those that were given twice.
    pub total: u64,
}

impl FedBytes {
    /// Counts zeros that perf filled a chunk up with, or the bytes in whose place it did.
    pub fn fill(&mut self, len: usize) {
        self.total += len as u64;
        self.account.padding += len as u64;
    }

    /// Takes zeros back that were counted as filling: they come again, as data.
    pub fn unfill(&mut self, len: usize) {
        self.total -= len as u64;
        self.account.padding -= len as u64;
    }

    /// Counts bytes that were fed and turn out to have been given before.
    pub fn repeated(&mut self, len: u64) {
        self.total -= len;
        self.account.overlap += len;
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
