//! What the kernel's table holds, as far as it is known: what we wrote, followed by the kernel's
//! rules, and held against its totals.
//!
//! ```text
//! write -> model, remembered until the next receipt
//! totals -> which course of events explains them -> model
//!           all arrived | old entries were pruned | nothing arrived | none: somebody else wrote
//! ```
//!
//! An entry that was not written to for [`IDLE`] goes at the kernel's next prune, of which nobody
//! tells: only the totals do. Prunes take the oldest entries first, so that the number of those
//! that are missing says which.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::kernel::{IDLE, SpeFeed};
use crate::receipt::Stats;

/// From this age on an entry may go any moment: the kernel's clock and ours differ.
const OLD: Duration = Duration::from_secs(28);

/// Entries that are not ours, and what they have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    /// Those whose page frames are known.
    pub known: BTreeSet<u64>,
    /// How many there are, known ones included.
    pub entries: usize,
    /// The kernel's sum of accesses without those of our model. Below zero where writes of ours
    /// were lost.
    accesses: i128,
}

impl Strangers {
    /// Whether there are some of which nobody knows where they are.
    pub fn are_hidden(&self) -> bool {
        self.entries > self.known.len()
    }
}

/// What a look at the kernel's totals says of the writes since the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// They arrived. That many entries had been pruned before.
    Confirmed {
        /// Entries of ours that are gone.
        pruned: usize,
    },
    /// Not one of them counts.
    Lost,
    /// The folio had an entry that was not ours.
    Stranger(u64),
    /// The totals are not what they should be: somebody else writes, or some writes were lost.
    Unconfirmed {
        /// Entries and accesses that there should be.
        expected: (u64, u64),
    },
}

/// The table as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// What there is if all arrived.
    model: SpeFeed,
    /// What there was at the last receipt.
    proven: SpeFeed,
    /// What was written since.
    since: Vec<(Duration, u64)>,
    strangers: Strangers,
}

impl Held {
    /// A table that already has entries: strangers, whose counters nobody can read.
    pub fn found(stats: &Stats) -> Self {
        let strangers = Strangers {
            known: stats.named.clone(),
            entries: usize::try_from(stats.entries).unwrap_or(usize::MAX),
            accesses: i128::from(stats.accesses),
        };
        Self { strangers, ..Self::default() }
    }

    /// What the kernel holds of what we wrote, if all arrived.
    pub fn model(&self) -> &SpeFeed {
        &self.model
    }

    /// What the kernel held of it at the last receipt.
    pub fn proven(&self) -> &SpeFeed {
        &self.proven
    }

    /// Entries that are not ours.
    pub fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Writes that no receipt has proven yet.
    pub fn unproven(&self) -> usize {
        self.since.len()
    }

    /// The folios of those writes, each as often as it was written.
    pub fn unproven_folios(&self) -> impl Iterator<Item = u64> + '_ {
        self.since.iter().map(|(_, pfn)| pfn & !511)
    }

    /// Whether an entry of ours may go, or may have gone, any moment.
    pub fn is_old(&self, folio_pfn: u64, now: Duration) -> bool {
        let entry = self.model.entry(folio_pfn);
        entry.is_some_and(|entry| now.saturating_sub(entry.last_write()) > OLD)
    }

    /// Takes note of what was written.
    pub fn wrote(&mut self, pfns: &[u64], now: Duration) {
        for pfn in pfns {
            self.model.feed(*pfn, now);
            self.since.push((now, *pfn));
        }
    }

    /// Compares with the kernel's totals, and mends what is known by them.
    pub fn compare(&mut self, stats: &Stats, now: Duration) -> Receipt {
        let is_seen = |model: &SpeFeed, strangers: &Strangers| {
            totals(model, strangers) == (i128::from(stats.entries), i128::from(stats.accesses))
        };
        let none = Strangers::default();
        let strangers = self.strangers.clone();
        let before = self.proven.totals().0;
        // All of the strangers go at once, if they go: they are older than we.
        for course in self.courses(stats, now) {
            for others in [&strangers, &none] {
                if is_seen(&course, others) {
                    let inserted = self.inserted(&course);
                    let pruned = (before + inserted).saturating_sub(course.totals().0);
                    self.strangers = others.clone();
                    self.settle(course);
                    return Receipt::Confirmed { pruned };
                }
            }
        }
        if !self.since.is_empty() && is_seen(&self.proven, &strangers) {
            let proven = self.proven.clone();
            self.settle(proven);
            return Receipt::Lost;
        }
        let (entries, accesses) = totals(&self.model, &strangers);
        // Some of the strangers went. Which, nobody tells: all stay known for strangers.
        let fewer = entries - i128::from(stats.entries);
        let less = accesses - i128::from(stats.accesses);
        let is_new = |pfn| self.proven.entry(pfn).is_none();
        if fewer > 0
            && less >= fewer
            && less <= strangers.accesses
            && usize::try_from(fewer).is_ok_and(|fewer| fewer < strangers.entries)
            && !self.unproven_folios().any(is_new)
        {
            self.strangers.entries -= usize::try_from(fewer).unwrap_or(0);
            self.strangers.accesses -= less;
            let model = self.model.clone();
            self.settle(model);
            return Receipt::Confirmed { pruned: 0 };
        }
        if let Some(folio_pfn) = self.only_new()
            && entries == i128::from(stats.entries) + 1
            && accesses == i128::from(stats.accesses)
        {
            self.strangers.accesses += i128::try_from(self.since.len()).unwrap_or(0);
            self.strangers.known.insert(folio_pfn);
            let proven = self.proven.clone();
            self.settle(proven);
            return Receipt::Stranger(folio_pfn);
        }
        // From here on the differences are what counts.
        let model = self.model.clone();
        let (ours, counted) = model.totals();
        let found = usize::try_from(stats.entries).unwrap_or(usize::MAX);
        self.strangers.entries = found.saturating_sub(ours);
        self.strangers.accesses = i128::from(stats.accesses) - i128::from(counted);
        self.settle(model);
        let unsigned = |value: i128| u64::try_from(value).unwrap_or(0);
        Receipt::Unconfirmed { expected: (unsigned(entries), unsigned(accesses)) }
    }

    /// What the kernel may hold, in the order in which it is believed.
    fn courses(&self, stats: &Stats, now: Duration) -> Vec<SpeFeed> {
        let mut courses = vec![self.model.clone()];
        // The oldest were pruned at last.
        let strangers = self.strangers.entries;
        for others in [strangers, 0] {
            let ours = usize::try_from(stats.entries).unwrap_or(usize::MAX).saturating_sub(others);
            let missing = self.model.totals().0.saturating_sub(ours);
            if missing > 0 {
                let mut course = self.model.clone();
                course.forget_oldest(missing, now, OLD);
                courses.push(course);
            }
        }
        // Or they were before one of them was written to again.
        let mut replayed = self.proven.clone();
        for (at, (time, pfn)) in self.since.iter().enumerate() {
            let entry = replayed.entry(pfn & !511);
            if entry.is_some_and(|entry| time.saturating_sub(entry.last_write()) > OLD) {
                let mut course = replayed.clone();
                course.prune(*time + (IDLE - OLD));
                self.since[at..].iter().for_each(|(time, pfn)| {
                    course.feed(*pfn, *time);
                });
                courses.push(course);
            }
            replayed.feed(*pfn, *time);
        }
        courses
    }

    /// The one folio that got an entry since the last receipt, if it is one.
    fn only_new(&self) -> Option<u64> {
        let folios: BTreeSet<_> = self.since.iter().map(|(_, pfn)| pfn & !511).collect();
        let mut new = folios.into_iter().filter(|pfn| self.proven.entry(*pfn).is_none());
        let first = new.next()?;
        new.next().is_none().then_some(first)
    }

    /// Entries of a course that were not there at the last receipt.
    fn inserted(&self, course: &SpeFeed) -> usize {
        course.folios().filter(|pfn| self.proven.entry(*pfn).is_none()).count()
    }

    fn settle(&mut self, course: SpeFeed) {
        self.since.clear();
        self.proven = course.clone();
        self.model = course;
    }
}

/// Entries and accesses that the kernel should tell of.
fn totals(model: &SpeFeed, strangers: &Strangers) -> (i128, i128) {
    let (entries, accesses) = model.totals();
    let whole = |count: usize| i128::try_from(count).unwrap_or(i128::MAX);
    (whole(entries) + whole(strangers.entries), i128::from(accesses) + strangers.accesses)
}
