//! What `spe_stats` says: the only proof that a write was taken in, since write(2) returns the
//! number of its bytes whatever became of them.

use std::collections::BTreeSet;

use anyhow::Context;

/// The kernel's totals, and the entries that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that there are.
    pub entries: u64,
    /// Writes that they have counted.
    pub accesses: u64,
    /// First page frames of the entries that are named: ten, in one draft of the kernel all.
    pub named: BTreeSet<u64>,
}

impl Stats {
    /// Reads `nr_entries=N total_accesses=M`, then lines that begin with `pfn=0x`.
    ///
    /// # Errors
    /// If the first line is another one.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let field = |name: &str| {
            let value = first.split_whitespace().find_map(|word| word.strip_prefix(name));
            value.and_then(|value| value.parse().ok())
        };
        let (entries, accesses) =
            field("nr_entries=").zip(field("total_accesses=")).with_context(|| {
                format!("begins with {first:?} instead of nr_entries=N total_accesses=M")
            })?;
        let named = lines.filter_map(|line| {
            let pfn = line.split_whitespace().next()?.strip_prefix("pfn=0x")?;
            u64::from_str_radix(pfn, 16).ok()
        });
        Ok(Self { entries, accesses, named: named.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::SpeFeed;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let mut kernel = SpeFeed::new();
        for number in 1..=12 {
            kernel.feed(number << 9, core::time::Duration::ZERO);
        }
        let stats = Stats::parse(&kernel.stats()).unwrap();
        assert_eq!((stats.entries, stats.accesses), (12, 12));
        assert_eq!(stats.named, (1..=10).map(|number| number << 9).collect());
        assert!(Stats::parse("").is_err());
        assert!(Stats::parse("nr_entries=1\n").is_err());
        assert!(Stats::parse("nr_entries=-1 total_accesses=1").is_err());
    }
}
