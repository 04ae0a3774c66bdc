//! What a reader should find.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Write};

/// Multiplication as a hash: frame numbers are the keys, and no enemy chooses them.
#[derive(Clone, Copy, Debug, Default)]
pub struct PfnHasher(u64);

impl Hasher for PfnHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// Accesses per page frame number.
pub type Counts = HashMap<u64, u64, BuildHasherDefault<PfnHasher>>;

/// What an operation does to memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Op {
    /// Reads.
    Load,
    /// Writes.
    Store,
    /// Reads and writes at once (operation class 1, extended, AT set).
    Atomic,
    /// A data address without an operation packet.
    Access,
    /// Not a memory operation.
    #[default]
    NotMemory,
}

impl Op {
    /// The name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Atomic => "atomic",
            Self::Access => "access",
            Self::NotMemory => "none",
        }
    }
}

/// One record as it was meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// CPU.
    pub cpu: u32,
    /// Process that ran.
    pub pid: u32,
    /// Thread that ran.
    pub tid: u32,
    /// Timer ticks; none in timeless recordings and for sample records.
    pub ticks: Option<u64>,
    /// perf time in ns; none in timeless recordings.
    pub ns: Option<u64>,
    /// What it did.
    pub op: Op,
    /// Virtual address of the instruction, canonical.
    pub ip: u64,
    /// Virtual address of the data, canonical and without tag.
    pub vaddr: Option<u64>,
    /// Physical address of the data.
    pub paddr: Option<u64>,
    /// Total latency in cycles.
    pub latency: u16,
    /// Data source packet's value; of sample records none.
    pub source: Option<u16>,
    /// Event bit 1: architecturally retired.
    pub retired: bool,
    /// A guest ran: the physical address is none of the guest's.
    pub guest: bool,
}

/// The account of a recording.
///
/// `records` = `counted` + `not_memory` + `no_physical_address` + `guest_address`. Without damage `aux_bytes` = `record_bytes` +
/// `padding_bytes`. Of a damaged recording only some numbers are certain, see [`Ledger::gaps`] and [`Ledger::exact`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Finished records.
    pub records: u64,
    /// Memory operations with a physical address.
    pub counted: u64,
    /// Neither loads, stores nor accesses without an operation packet.
    pub not_memory: u64,
    /// Memory operations without a physical address.
    pub no_physical_address: u64,
    /// Memory operations of guests.
    pub guest_address: u64,
    /// Counted loads.
    pub loads: u64,
    /// Counted stores.
    pub stores: u64,
    /// Counted atomics.
    pub atomics: u64,
    /// Counted accesses without an operation packet.
    pub accesses: u64,
    /// Records whose events say that they were not retired. They count.
    pub not_retired: u64,
    /// The counted of them.
    pub not_retired_counted: u64,
    /// Bytes of AUX data present.
    pub aux_bytes: u64,
    /// Bytes of packets other than padding, of finished records.
    pub record_bytes: u64,
    /// Padding packets. Those inside unfinished records are in `unfinished_bytes`.
    pub padding_bytes: u64,
    /// Bytes of records of which a part is missing.
    pub unfinished_bytes: u64,
    /// Where bytes are missing between records: a reader that resynchronises with care may lose one record at each.
    pub gaps: u64,
    /// Bits that were inverted.
    pub flipped_bits: u64,
    /// AUXTRACE records.
    pub pieces: u64,
    /// AUX records with TRUNCATED.
    pub truncated: u64,
    /// AUX records with PARTIAL.
    pub partial: u64,
    /// AUX records with COLLISION.
    pub collision: u64,
    /// Sum of LOST.
    pub lost_records: u64,
    /// Sum of LOST_SAMPLES.
    pub lost_samples: u64,
    /// The output was cut.
    pub cut: bool,
}

impl Ledger {
    /// Whether every number is certain.
    pub const fn exact(&self) -> bool {
        self.gaps == 0 && self.flipped_bits == 0 && !self.cut
    }

    /// What `counted` can be: at most one record lost at each gap; nothing is known below where bits were inverted or
    /// the output was cut, and nothing above where bits were inverted.
    pub const fn counted_bounds(&self) -> (u64, Option<u64>) {
        let known = self.flipped_bits == 0;
        let low = if known && !self.cut { self.counted.saturating_sub(self.gaps) } else { 0 };
        (low, if known { Some(self.counted) } else { None })
    }
}

/// Everything that is known of a recording.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The account.
    pub ledger: Ledger,
    /// Accesses per page.
    pub counts: Counts,
    /// `counts` stays empty.
    pub without_pages: bool,
    /// First and last time in ns, of timed recordings.
    pub times: Option<(u64, u64)>,
}

impl Truth {
    /// Adds a record.
    pub fn add(&mut self, record: &Sampled) {
        let ledger = &mut self.ledger;
        ledger.records += 1;
        ledger.not_retired += u64::from(!record.retired);
        if let Some(ns) = record.ns {
            let (first, last) = self.times.unwrap_or((ns, ns));
            self.times = Some((first.min(ns), last.max(ns)));
        }
        let counts = record.op != Op::NotMemory && !record.guest;
        let Some(paddr) = record.paddr.filter(|_| counts) else {
            match record.op {
                Op::NotMemory => ledger.not_memory += 1,
                _ if record.guest => ledger.guest_address += 1,
                _ => ledger.no_physical_address += 1,
            }
            return;
        };
        ledger.counted += 1;
        ledger.not_retired_counted += u64::from(!record.retired);
        match record.op {
            Op::Load => ledger.loads += 1,
            Op::Store => ledger.stores += 1,
            Op::Atomic => ledger.atomics += 1,
            Op::Access | Op::NotMemory => ledger.accesses += 1,
        }
        if self.without_pages {
            return;
        }
        match self.counts.entry(paddr >> 12) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(count) => _ = count.insert(1),
        }
    }

    /// Pages and counts, by frame number.
    pub fn sorted(&self) -> Vec<(u64, u64)> {
        let mut counts: Vec<(u64, u64)> =
            self.counts.iter().map(|(pfn, count)| (*pfn, *count)).collect();
        counts.sort_unstable();
        counts
    }

    /// How many folios were touched.
    pub fn folios(&self) -> u64 {
        let mut folios: Vec<u64> = self.counts.keys().map(|pfn| pfn >> 9).collect();
        folios.sort_unstable();
        folios.dedup();
        folios.len() as u64
    }

    /// Writes `0xPFN COUNT`, a line per page.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn write_counts(&self, out: &mut impl Write) -> io::Result<()> {
        for (pfn, count) in self.sorted() {
            writeln!(out, "{pfn:#x} {count}")?;
        }
        Ok(())
    }

    /// Writes the ledger as one JSON object.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn write_ledger(&self, out: &mut impl Write) -> io::Result<()> {
        let l = &self.ledger;
        let (low, high) = l.counted_bounds();
        let number =
            |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        writeln!(out, "{{")?;
        for (name, value) in [
            ("records", l.records),
            ("counted", l.counted),
            ("not_memory", l.not_memory),
            ("no_physical_address", l.no_physical_address),
            ("guest_address", l.guest_address),
            ("loads", l.loads),
            ("stores", l.stores),
            ("atomics", l.atomics),
            ("accesses", l.accesses),
            ("not_retired", l.not_retired),
            ("not_retired_counted", l.not_retired_counted),
            ("folios", self.folios()),
            ("pages", self.counts.len() as u64),
            ("aux_bytes", l.aux_bytes),
            ("record_bytes", l.record_bytes),
            ("padding_bytes", l.padding_bytes),
            ("unfinished_bytes", l.unfinished_bytes),
            ("gaps", l.gaps),
            ("flipped_bits", l.flipped_bits),
            ("pieces", l.pieces),
            ("truncated", l.truncated),
            ("partial", l.partial),
            ("collision", l.collision),
            ("lost_records", l.lost_records),
            ("lost_samples", l.lost_samples),
        ] {
            writeln!(out, "  \"{name}\": {value},")?;
        }
        writeln!(out, "  \"first_ns\": {},", number(self.times.map(|(first, _)| first)))?;
        writeln!(out, "  \"last_ns\": {},", number(self.times.map(|(_, last)| last)))?;
        writeln!(out, "  \"cut\": {},", l.cut)?;
        writeln!(out, "  \"exact\": {},", l.exact())?;
        writeln!(out, "  \"counted_min\": {low},")?;
        writeln!(out, "  \"counted_max\": {}", number(high))?;
        writeln!(out, "}}")
    }
}

/// The first line of a table of records.
pub const RECORDS_HEADER: &str =
    "ticks\tns\tcpu\tpid\ttid\top\tip\tvaddr\tpaddr\tlatency\tsource\tretired";

impl Sampled {
    /// Writes a line of a table of records; `-` is absent.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn write_row(&self, out: &mut dyn Write) -> io::Result<()> {
        let decimal =
            |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let hex = |value: Option<u64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:#x}"))
        };
        writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{}\t{:#x}\t{}\t{}\t{}\t{}\t{}",
            decimal(self.ticks),
            decimal(self.ns),
            self.cpu,
            self.pid,
            self.tid,
            self.op.name(),
            self.ip,
            hex(self.vaddr),
            hex(self.paddr),
            self.latency,
            hex(self.source.map(u64::from)),
            u8::from(self.retired),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(paddr: Option<u64>) -> Sampled {
        Sampled {
            cpu: 1,
            pid: 2,
            tid: 3,
            ticks: Some(4),
            ns: Some(5),
            op: Op::Load,
            ip: 0x40_0000,
            vaddr: Some(0x7f00_0000_0000),
            paddr,
            latency: 6,
            source: Some(0xe),
            retired: true,
            guest: false,
        }
    }

    #[test]
    fn counting() {
        let mut truth = Truth::default();
        truth.add(&load(Some(0x820_db80_0123)));
        truth.add(&load(Some(0x820_db80_0fff)));
        truth.add(&load(None));
        truth.add(&Sampled { op: Op::NotMemory, retired: false, ..load(None) });
        truth.add(&Sampled { op: Op::Atomic, ..load(Some(0)) });
        let l = &truth.ledger;
        assert_eq!((l.records, l.counted, l.no_physical_address, l.not_memory), (5, 3, 1, 1));
        assert_eq!((l.loads, l.atomics, l.not_retired, l.not_retired_counted), (2, 1, 1, 0));
        let mut text = Vec::new();
        truth.write_counts(&mut text).unwrap();
        assert_eq!(text, b"0x0 1\n0x820db800 2\n");
        assert_eq!(truth.folios(), 2);
    }

    #[test]
    fn a_row() {
        let mut text = Vec::new();
        load(None).write_row(&mut text).unwrap();
        assert_eq!(text, b"4\t5\t1\t2\t3\tload\t0x400000\t0x7f0000000000\t-\t6\t0xe\t1\n");
    }
}
