//! What a kernel with `spe_feed` (DAMON RFC v1) holds after it was written to, to the bit: the
//! planner counts on it, tests stand it in for the kernel, and explanations come from it.
//!
//! ```text
//! write(2): bytes -> one value or nothing -> entry of pfn & ~511, slot pfn & 511 -> + 1
//! a scheme: a folio's first PFN -> its entry -> peak/10 -> percent of hot chunks -> split or not
//! ```
//!
//! Time is the kernel's clock as a [`Duration`] since any moment before the first write.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use decoder::PAGES_PER_FOLIO;
use heatmap::{ChunkOrder, HotFraction, HotThreshold, hot_fraction};

/// Entries that the kernel holds at most.
pub const MAX_ENTRIES: usize = 1024;
/// An entry that was not written to for longer goes at the next prune.
pub const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a write(2) that are looked at.
const LOOKED_AT: usize = 31;
/// Entries that `spe_stats` lists.
const LISTED: usize = 10;

/// The table behind `spe_feed`.
#[derive(Clone, Debug, Default)]
pub struct SpeFeed {
    /// By the PFN of the first page.
    entries: BTreeMap<u64, Entry>,
}

/// What the kernel holds of one aligned range of 512 pages.
#[derive(Clone, Debug)]
pub struct Entry {
    counts: Box<[u32; PAGES_PER_FOLIO]>,
    total: u64,
    last_write: Duration,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It counts in an entry that was there.
    Counted,
    /// It counts in an entry that was made for it.
    Inserted,
    /// It was no value, or 0: nothing happened.
    Ignored,
    /// There was no room for another entry: nothing happened.
    Dropped,
}

/// What a scheme does with a folio that is mapped as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// There is no entry: it is split.
    Unknown,
    /// The share of its chunks that are hot.
    Known(HotFraction),
}

impl Reading {
    /// Whether the folio is split at this threshold.
    pub fn is_split(&self, threshold: HotThreshold) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(hot) => hot.is_below(threshold),
        }
    }
}

impl Entry {
    /// The counters, page by page.
    pub fn counts(&self) -> &[u32; PAGES_PER_FOLIO] {
        &self.counts
    }

    /// When it was last written to.
    pub fn last_write(&self) -> Duration {
        self.last_write
    }

    fn new(now: Duration) -> Self {
        Self { counts: Box::new([0; PAGES_PER_FOLIO]), total: 0, last_write: now }
    }

    fn add(&mut self, slot: usize, now: Duration) {
        self.counts[slot] = self.counts[slot].wrapping_add(1);
        self.total += 1;
        self.last_write = now;
    }
}

impl SpeFeed {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// One write(2). The kernel returns the number of bytes whatever became of them, so that a
    /// writer does not learn what is returned here.
    pub fn write(&mut self, bytes: &[u8], now: Duration) -> Fed {
        value(bytes).map_or(Fed::Ignored, |pfn| self.feed(pfn, now))
    }

    /// Takes a page frame in. Nothing is checked but that it is not 0: rubbish takes an entry too.
    pub fn feed(&mut self, pfn: u64, now: Duration) -> Fed {
        const SLOTS: u64 = PAGES_PER_FOLIO as u64 - 1;
        if pfn == 0 {
            return Fed::Ignored;
        }
        let (key, slot) = (pfn & !SLOTS, (pfn & SLOTS) as usize);
        if let Some(entry) = self.entries.get_mut(&key) {
            // However old it is: until it is pruned a write revives it, with all its counts.
            entry.add(slot, now);
            return Fed::Counted;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.prune(now);
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Fed::Dropped;
        }
        self.entries.entry(key).or_insert_with(|| Entry::new(now)).add(slot, now);
        Fed::Inserted
    }

    /// Lets entries go that were not written to for too long, as happens when a scheme is applied
    /// and when there is no room for a new one. Returns how many went.
    pub fn prune(&mut self, now: Duration) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| now.saturating_sub(entry.last_write) <= IDLE);
        before - self.entries.len()
    }

    /// Lets the oldest entries go, that many, but none that was written to within `least`.
    pub fn forget_oldest(&mut self, count: usize, now: Duration, least: Duration) {
        let mut ages: Vec<_> =
            self.entries.iter().map(|(pfn, entry)| (entry.last_write, *pfn)).collect();
        ages.sort_unstable();
        for (last_write, pfn) in ages.into_iter().take(count) {
            if now.saturating_sub(last_write) > least {
                self.entries.remove(&pfn);
            }
        }
    }

    /// The first page frames of all entries, ascending.
    pub fn folios(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.keys().copied()
    }

    /// What a scheme reads for the folio whose first page is `pfn`, at its target order. A folio
    /// that is not aligned to 512 pages is not found.
    pub fn reading(&self, pfn: u64, order: ChunkOrder) -> Reading {
        let entry = self.entries.get(&pfn);
        let hot = entry.and_then(|entry| hot_fraction(&entry.counts, order));
        hot.map_or(Reading::Unknown, Reading::Known)
    }

    /// The entry of a PFN that is a multiple of 512.
    pub fn entry(&self, pfn: u64) -> Option<&Entry> {
        self.entries.get(&pfn)
    }

    /// Entries, and the sum of the accesses of those that are there.
    pub fn totals(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.values().map(|entry| entry.total).sum())
    }

    /// What reading `spe_stats` gives.
    pub fn stats(&self) -> String {
        let (entries, accesses) = self.totals();
        let mut text = format!("nr_entries={entries} total_accesses={accesses}\n");
        for (pfn, entry) in self.entries.iter().take(LISTED) {
            let touched = entry.counts.iter().filter(|count| **count > 0).count();
            let total = entry.total;
            // Writing to a string does not fail.
            let _ = writeln!(text, "  pfn={pfn:#x} pid=0 total={total} hot_pages={touched}/512");
        }
        text
    }
}

/// The value of a write(2), as `kstrtoul(…, 0, …)` reads it: one trailing newline goes, the rest is
/// a number as a whole, hexadecimal behind `0x`, octal behind `0`, else decimal.
fn value(bytes: &[u8]) -> Option<u64> {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT)];
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let digits = bytes.strip_prefix(b"+").unwrap_or(bytes);
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, rest)
        }
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    // Only digits: what else Rust takes for a number, the kernel does not.
    if !digits.first()?.is_ascii_hexdigit() {
        return None;
    }
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn order(order: u8) -> ChunkOrder {
        ChunkOrder::try_new(order).expect("0 to 9")
    }

    #[test]
    fn a_write_is_one_value_or_nothing() {
        // Those of the values with 0x20000 and of octal ones were seen on a kernel.
        let cases: [(&[u8], Option<u64>); 22] = [
            (b"0x20000\n", Some(0x20000)),
            (b"0x20000", Some(0x20000)),
            (b"0X2aF\n", Some(0x2af)),
            (b"131072\n", Some(0x20000)),
            (b"+131072\n", Some(0x20000)),
            (b"+0x20\n", Some(0x20)),
            // A leading 0 means octal.
            (b"010000000", Some(0x20_0000)),
            (b"0", Some(0)),
            (b"08", None),
            // Two values in one write are none.
            (b"0x20000\n0x20200\n", None),
            (b"0x20000 \n", None),
            (b" 0x20000", None),
            (b"0x20000\r\n", None),
            (b"-1", None),
            (b"++1", None),
            (b"0x", None),
            (b"0x+1", None),
            (b"", None),
            (b"\n", None),
            (b"12z", None),
            // 2^64 is too large.
            (b"0xffffffffffffffff", Some(u64::MAX)),
            (b"0x10000000000000000", None),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(value(bytes), wanted, "{:?}", String::from_utf8_lossy(bytes));
        }
        // 33 characters are cut at 31, and count as another page.
        let long = b"0x0000000000000000000000000020000";
        assert_eq!((long.len(), value(long)), (33, Some(0x200)));
    }

    #[test]
    fn a_full_table_drops_what_is_new_until_something_is_idle_for_longer_than_30_s() {
        let mut kernel = SpeFeed::new();
        for number in 1..=MAX_ENTRIES as u64 {
            assert_eq!(kernel.feed(number << 9, SECOND), Fed::Inserted);
        }
        let late = SECOND + IDLE;
        assert_eq!(kernel.feed(5 << 9 | 7, late), Fed::Counted);
        assert_eq!(kernel.feed(2000 << 9, late), Fed::Dropped, "30 s are not more than 30 s");
        assert_eq!(kernel.totals(), (1024, 1025));
        // The one that was written to lives, all others go at once.
        assert_eq!(kernel.feed(2000 << 9, late + SECOND), Fed::Inserted);
        assert_eq!(kernel.totals(), (2, 3));
    }

    #[test]
    fn an_old_entry_is_read_and_revived_until_it_is_pruned() {
        let mut kernel = SpeFeed::new();
        kernel.feed(0x200, SECOND);
        let old = SECOND + 10 * IDLE;
        assert_ne!(kernel.reading(0x200, order(2)), Reading::Unknown);
        kernel.feed(0x201, old);
        assert_eq!(kernel.totals(), (1, 2), "with the count that it had");
        assert_eq!(kernel.prune(old + IDLE), 0);
        assert_eq!(kernel.prune(old + IDLE + SECOND), 1);
        assert!(kernel.reading(0x200, order(2)).is_split(HotThreshold::default()));
    }

    #[test]
    fn folios_are_found_by_their_first_page_alone() {
        let mut kernel = SpeFeed::new();
        for page in 0..512 {
            kernel.feed(0x400 + page, SECOND);
        }
        let threshold = HotThreshold::default();
        assert!(!kernel.reading(0x400, order(4)).is_split(threshold));
        assert!(kernel.reading(0x410, order(4)).is_split(threshold), "not aligned");
        assert!(kernel.reading(0x600, order(4)).is_split(threshold), "no entry");
        assert_eq!(kernel.feed(0, SECOND), Fed::Ignored);
    }

    #[test]
    fn stats_name_ten_entries() {
        let mut kernel = SpeFeed::new();
        for number in 1..=12 {
            kernel.feed(number << 9, SECOND);
        }
        kernel.feed(0x200, SECOND);
        kernel.feed(0x2ff, SECOND);
        let stats = kernel.stats();
        let lines: Vec<_> = stats.lines().collect();
        assert_eq!(
            lines[..2],
            ["nr_entries=12 total_accesses=14", "  pfn=0x200 pid=0 total=3 hot_pages=2/512"]
        );
        assert_eq!(lines.len(), 1 + LISTED);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_plain_map(writes in prop::collection::vec((1..4_u64, 0..512_u64), 1..400)) {
            let mut kernel = SpeFeed::new();
            let mut plain = BTreeMap::<(u64, u64), u32>::new();
            for (folio, page) in writes {
                kernel.write(format!("{:#x}\n", folio << 9 | page).as_bytes(), SECOND);
                *plain.entry((folio, page)).or_default() += 1;
            }
            for folio in 1..4_u64 {
                let known = kernel.entry(folio << 9).map(Entry::counts);
                for (page, slot) in (0..512_u64).zip(0..) {
                    let known = known.map_or(0, |counts: &[u32; PAGES_PER_FOLIO]| counts[slot]);
                    prop_assert_eq!(known, plain.get(&(folio, page)).copied().unwrap_or(0));
                }
            }
        }
    }
}
