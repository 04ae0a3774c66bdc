//! The table behind `spe_feed`, as simple as it can be.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Entries that the table holds at most.
pub const MAX_ENTRIES: usize = 1024;

/// One entry.
#[derive(Clone, Debug)]
struct Entry {
    counts: [u32; 512],
    written: Duration,
}

/// What the kernel says instead of taking a write in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EPERM.
    NotPermitted,
    /// EROFS.
    ReadOnly,
    /// EIO.
    Failed,
}

/// What is wrong with this kernel. Only those who come through the files meet it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes return their length and record nothing.
    pub swallow: bool,
    /// Writes fail.
    pub refuse: Option<Refusal>,
    /// Reading `spe_stats` fails with EIO.
    pub stats_unreadable: bool,
}

/// A kernel: its table, its clock, and what has happened to it.
///
/// Times are this kernel's clock, which starts at 0 and goes on by itself and by
/// [`Kernel::advance`].
#[derive(Debug)]
pub struct Kernel {
    entries: HashMap<u64, Entry>,
    started: Instant,
    advanced: Duration,
    /// What is wrong.
    pub faults: Faults,
    /// How many write(2) calls came, whatever became of them.
    pub writes: u64,
    /// The value of each write(2) that had one and was not refused, in this order, whatever became
    /// of it.
    pub log: Vec<u64>,
    /// Whether the log is kept.
    pub is_logged: bool,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            entries: HashMap::new(),
            started: Instant::now(),
            advanced: Duration::ZERO,
            faults: Faults::default(),
            writes: 0,
            log: Vec::new(),
            is_logged: true,
        }
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.started.elapsed() + self.advanced
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.advanced += time;
    }

    /// One write(2), without faults: that of another writer. Returns the number of bytes, whatever
    /// became of them.
    pub fn write(&mut self, bytes: &[u8], now: Duration) -> usize {
        self.writes += 1;
        if let Some(pfn) = self.value(bytes) {
            self.count(pfn, now);
        }
        bytes.len()
    }

    /// One write(2) through the file.
    ///
    /// # Errors
    /// If it is to be refused.
    pub fn write_with_faults(&mut self, bytes: &[u8], now: Duration) -> Result<usize, Refusal> {
        if let Some(refusal) = self.faults.refuse {
            self.writes += 1;
            return Err(refusal);
        }
        if self.faults.swallow {
            self.writes += 1;
            self.value(bytes);
            return Ok(bytes.len());
        }
        Ok(self.write(bytes, now))
    }

    /// The value of a write, which the log gets.
    fn value(&mut self, bytes: &[u8]) -> Option<u64> {
        let pfn = parse(bytes)?;
        if self.is_logged {
            self.log.push(pfn);
        }
        Some(pfn)
    }

    fn count(&mut self, pfn: u64, now: Duration) {
        if pfn == 0 {
            return;
        }
        let key = pfn / 512 * 512;
        if !self.entries.contains_key(&key) {
            if self.entries.len() == MAX_ENTRIES {
                self.prune(now);
            }
            if self.entries.len() == MAX_ENTRIES {
                return;
            }
            self.entries.insert(key, Entry { counts: [0; 512], written: now });
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            let slot = usize::try_from(pfn % 512).expect("below 512");
            entry.counts[slot] += 1;
            entry.written = now;
        }
    }

    /// Lets entries go that were idle for more than 30 s, as the application of a scheme does.
    pub fn prune(&mut self, now: Duration) {
        self.entries
            .retain(|_, entry| now.saturating_sub(entry.written) <= Duration::from_secs(30));
    }

    /// The counters of the entry that begins at a page frame.
    pub fn counts(&self, pfn: u64) -> Option<[u32; 512]> {
        self.entries.get(&pfn).map(|entry| entry.counts)
    }

    /// Which chunks of a folio, mapped as a whole, a scheme made with that target order takes for
    /// hot. Nothing if there is no entry that begins at its first page frame.
    pub fn bitmap(&self, pfn: u64, order: u8) -> Option<Vec<bool>> {
        let counts = self.counts(pfn)?;
        // A scheme cannot be made with another one.
        let order = if (2..=8).contains(&order) { order } else { 2 };
        let mut sums = Vec::new();
        for chunk in counts.chunks(1 << order) {
            sums.push(chunk.iter().map(|count| u64::from(*count)).sum::<u64>());
        }
        let peak = sums.iter().max()?;
        let least = (peak / 10).max(1);
        Some(sums.iter().map(|sum| *sum >= least).collect())
    }

    /// Whether a scheme made with that target order and hot threshold in percent splits a folio
    /// that is mapped as a whole.
    pub fn is_split(&self, pfn: u64, order: u8, threshold: u32) -> bool {
        let Some(bitmap) = self.bitmap(pfn, order) else {
            return true;
        };
        let hot = bitmap.iter().filter(|hot| **hot).count();
        let percent = hot * 100 / bitmap.len();
        percent < usize::try_from(threshold).expect("64 bits")
    }

    /// Entries, and the accesses of all of them.
    pub fn totals(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.values().map(Entry::total).sum())
    }

    /// What reading `spe_stats` gives.
    pub fn stats(&self) -> String {
        let (entries, accesses) = self.totals();
        let mut lines = vec![format!("nr_entries={entries} total_accesses={accesses}")];
        let mut pfns: Vec<_> = self.entries.keys().collect();
        pfns.sort();
        for pfn in pfns.into_iter().take(10) {
            let entry = &self.entries[pfn];
            let (total, touched) = (entry.total(), entry.touched());
            lines.push(format!("  pfn=0x{pfn:x} pid=0 total={total} hot_pages={touched}/512"));
        }
        lines.join("\n") + "\n"
    }
}

impl Entry {
    fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    fn touched(&self) -> usize {
        self.counts.iter().filter(|count| **count != 0).count()
    }
}

/// The value of a write, if it is one.
fn parse(bytes: &[u8]) -> Option<u64> {
    let mut text = str::from_utf8(&bytes[..bytes.len().min(31)]).ok()?;
    if text.ends_with('\n') {
        text = &text[..text.len() - 1];
    }
    if text.starts_with('+') {
        text = &text[1..];
    }
    let base = if text.starts_with("0x") || text.starts_with("0X") {
        text = &text[2..];
        16
    } else if text.starts_with('0') {
        8
    } else {
        10
    };
    if text.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for digit in text.chars() {
        let digit = u64::from(digit.to_digit(base)?);
        value = value.checked_mul(u64::from(base))?.checked_add(digit)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn fed(pfns: impl IntoIterator<Item = u64>) -> Kernel {
        let mut kernel = Kernel::new();
        for pfn in pfns {
            let line = format!("0x{pfn:x}\n");
            assert_eq!(kernel.write(line.as_bytes(), NOW), line.len());
        }
        kernel
    }

    /// The slots of an entry that were written to.
    fn slots(kernel: &Kernel, pfn: u64) -> Vec<(usize, u32)> {
        let counts = kernel.counts(pfn).unwrap();
        counts.into_iter().enumerate().filter(|(_, count)| *count != 0).collect()
    }

    #[test]
    fn rule_2_a_write_is_one_value() {
        for (text, value) in [
            ("0x20000\n", Some(0x20000)),
            ("0x20000", Some(0x20000)),
            ("0XaBc", Some(0xabc)),
            ("131072\n", Some(131_072)),
            ("+131072", Some(131_072)),
            ("+0x10", Some(16)),
            ("017", Some(15)),
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("0xffffffffffffffffffff", None),
            ("018", None),
            ("0x", None),
            ("0x+1", None),
            ("+", None),
            ("++1", None),
            ("-1", None),
            ("", None),
            ("\n", None),
            (" 1", None),
            ("1 ", None),
            ("1\r\n", None),
            ("1\n\n", None),
            ("abc", None),
            ("1g", None),
            ("é", None),
        ] {
            assert_eq!(parse(text.as_bytes()), value, "{text:?}");
        }
        // Whatever stands behind the first 31 bytes is not looked at.
        let mut long = b"0x20000000000000000000000000000".to_vec();
        long[2..31].fill(b'0');
        long[30] = b'7';
        long.extend_from_slice(b"\xffrubbish\n");
        assert_eq!(parse(&long), Some(7));
    }

    #[test]
    fn rules_3_and_4_the_length_is_returned_whatever_became_of_it() {
        let mut kernel = Kernel::new();
        let two = b"0x20000\n0x20200\n";
        assert_eq!(kernel.write(two, NOW), two.len());
        assert_eq!(kernel.totals(), (0, 0));
        let octal = b"010000000";
        assert_eq!(kernel.write(octal, NOW), octal.len());
        assert_eq!(slots(&kernel, 0x20_0000), [(0, 1)]);
        let long = b"0x0000000000000000000000000020000";
        assert_eq!(kernel.write(long, NOW), 33);
        assert_eq!(slots(&kernel, 0x200), [(0, 1)]);
        assert_eq!(kernel.log, [0x20_0000, 0x200]);
        assert_eq!(kernel.writes, 3);
    }

    #[test]
    fn rules_5_and_6_each_write_adds_one_to_a_slot() {
        let kernel = fed([0x2ff, 0x200, 0x2ff, 0, u64::MAX]);
        assert_eq!(slots(&kernel, 0x200), [(0, 1), (255, 2)]);
        assert_eq!(slots(&kernel, u64::MAX - 511), [(511, 1)]);
        assert_eq!(kernel.totals(), (2, 4));
        assert!(kernel.counts(0).is_none());
        assert_eq!(slots(&fed([1]), 0), [(1, 1)], "page frames of folio 0 count, but for 0 itself");
    }

    #[test]
    fn rule_7_first_come_stays() {
        let mut kernel = fed((1..=1024).map(|number| number * 512));
        let idle = NOW + 30 * SECOND;
        kernel.write(b"0x100000", idle);
        assert!(kernel.counts(0x10_0000).is_none(), "30 s are not more than 30 s");
        kernel.write(b"0x201", idle);
        assert_eq!(kernel.totals(), (1024, 1025), "those that are there count on");
        kernel.write(b"0x100000", idle + SECOND / 1000);
        assert_eq!(kernel.totals(), (2, 3));
    }

    #[test]
    fn rule_8_old_entries_live_until_they_are_pruned() {
        let mut kernel = fed([0x200, 0x400]);
        let late = NOW + 1000 * SECOND;
        assert!(kernel.bitmap(0x200, 2).is_some());
        kernel.write(b"0x205", late);
        assert_eq!(slots(&kernel, 0x200), [(0, 1), (5, 1)]);
        kernel.prune(late);
        assert_eq!(kernel.totals(), (1, 2));
        kernel.prune(late + 30 * SECOND);
        assert_eq!(kernel.totals(), (1, 2));
        kernel.prune(late + 31 * SECOND);
        assert_eq!(kernel.totals(), (0, 0));
    }

    #[test]
    fn rules_9_to_11_what_a_scheme_reads() {
        // Order 4 has 32 chunks: 10 of them are 31 %, 9 are 28 %.
        let mut kernel = fed((0..9).map(|chunk| 0x200 + 16 * chunk));
        assert!(kernel.is_split(0x200, 4, 30));
        assert!(!kernel.is_split(0x200, 4, 28));
        kernel.write(b"0x3ff", NOW);
        assert!(!kernel.is_split(0x200, 4, 30));
        let bitmap = kernel.bitmap(0x200, 4).unwrap();
        assert_eq!(bitmap.len(), 32);
        assert!(bitmap[8] && !bitmap[9] && bitmap[31]);
        // Below a tenth of the peak a chunk is cold.
        for _ in 0..19 {
            kernel.write(b"0x200", NOW);
        }
        assert_eq!(kernel.bitmap(0x200, 4).unwrap().iter().filter(|hot| **hot).count(), 1);
        // Another first page frame, another order.
        assert!(kernel.bitmap(0x210, 4).is_none() && kernel.is_split(0x210, 4, 0));
        for order in [0, 1, 9, 255] {
            assert_eq!(kernel.bitmap(0x200, order).unwrap().len(), 128);
        }
        assert_eq!(kernel.bitmap(0x200, 8).unwrap(), [true, false]);
    }

    #[test]
    fn rule_12_stats() {
        assert_eq!(Kernel::new().stats(), "nr_entries=0 total_accesses=0\n");
        let kernel = fed((1..=11).rev().map(|number| number * 512).chain([0x2ab, 0x2ab]));
        let stats = kernel.stats();
        assert!(stats.starts_with(
            "nr_entries=11 total_accesses=13\n  pfn=0x200 pid=0 total=3 hot_pages=2/512\n"
        ));
        assert!(stats.ends_with("  pfn=0x1400 pid=0 total=1 hot_pages=1/512\n"));
        assert_eq!(stats.lines().count(), 11);
    }

    #[test]
    fn rule_13_one_write_for_each_hot_chunk_makes_any_bitmap() {
        for order in 2..=8 {
            let chunks = 512_u64 >> order;
            let hot = |chunk: u64| chunk.is_multiple_of(3) || chunk == chunks - 1;
            let writes = (0..chunks).filter(|chunk| hot(*chunk));
            let kernel = fed(writes.map(|chunk| 0x4000 + (chunk << order) + 1));
            let wanted: Vec<_> = (0..chunks).map(hot).collect();
            assert_eq!(kernel.bitmap(0x4000, order).unwrap(), wanted);
        }
        // A chunk with more than ten times the count makes another one cold.
        let mut kernel = fed([0x200]);
        for written in 1..=20 {
            kernel.write(b"0x3ff", NOW);
            assert_eq!(kernel.bitmap(0x200, 2).unwrap()[0], written < 20);
        }
    }

    #[test]
    fn faults() {
        let mut kernel = Kernel::new();
        kernel.faults.swallow = true;
        assert_eq!(kernel.write_with_faults(b"0x200\n", NOW), Ok(6));
        assert_eq!((kernel.totals(), kernel.writes, &kernel.log[..]), ((0, 0), 1, &[0x200][..]));
        kernel.faults = Faults { refuse: Some(Refusal::ReadOnly), ..Faults::default() };
        assert_eq!(kernel.write_with_faults(b"0x200\n", NOW), Err(Refusal::ReadOnly));
        assert_eq!((kernel.totals(), kernel.writes, kernel.log.len()), ((0, 0), 2, 1));
        // Another writer gets through.
        kernel.is_logged = false;
        kernel.write(b"0x200\n", NOW);
        assert_eq!((kernel.totals(), kernel.writes, kernel.log.len()), ((1, 1), 3, 1));
    }

    #[test]
    fn time_passes_when_it_is_told_to() {
        let mut kernel = Kernel::new();
        let before = kernel.now();
        kernel.advance(100 * SECOND);
        assert!(kernel.now() >= before + 100 * SECOND);
    }
}
