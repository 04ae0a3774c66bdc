//! Feeds `spe_feed` and keeps fed what it has fed, with proof of receipt.
//!
//! ```text
//! decisions -> plan -> writes -> receipt -> leases: renewed before they lapse
//!               ^------- whatever was not proven is planned again ------|
//! ```
//!
//! Everything is done at a time that is given, so that tests need not wait. Nothing here knows
//! whether the kernel is one: see [`Device`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{Sink, lines};
use crate::decision::Decision;
use crate::entry::Wanted;
use crate::held::{Held, Receipt};
use crate::kernel::{IDLE, MAX_ENTRIES};
use crate::plan::{Plan, Terms};
use crate::receipt::Stats;

/// An entry is written to again at this age. It may go at 30 s.
pub const RENEW: Duration = Duration::from_secs(10);
/// Time in which all leases have to be renewed, where writes are limited.
const ROUND: Duration = Duration::from_secs(18);
/// After renewals alone the totals are read no oftener: the kernel holds a lock meanwhile.
const RARELY: Duration = Duration::from_secs(5);
/// Writes between two looks at what else is to be done.
const BATCH: usize = 4096;
/// Receipts in a row that prove nothing, after which nothing new is proposed.
const FAILURES: u32 = 3;

/// What takes writes in: a kernel, or what stands for one.
pub trait Device {
    /// Writes a page frame, by one write(2) of `0x%x\n`.
    ///
    /// # Errors
    /// What the kernel says.
    fn write(&mut self, pfn: u64) -> io::Result<()>;

    /// Reads `spe_stats`.
    ///
    /// # Errors
    /// What the kernel says.
    fn stats(&mut self) -> io::Result<String>;
}

/// What was done since the start, and how things are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Writes of plans.
    pub proposals: u64,
    /// Writes that keep entries alive.
    pub renewals: u64,
    /// Writes that a receipt has proven.
    pub proven: u64,
    /// Writes that did not count.
    pub lost: u64,
    /// Writes of which no receipt says what became of them.
    pub unconfirmed: u64,
    /// Receipts that were as they should be.
    pub receipts: u64,
    /// Receipts that were not.
    pub mismatches: u64,
    /// Leases that lapsed: the kernel pruned an entry that was to live.
    pub lapses: u64,
    /// Entries of ours that are to live.
    pub leases: u64,
    /// Entries of ours, those that are let lapse included.
    pub entries: u64,
    /// Entries of others.
    pub strangers: u64,
    /// Folios that should be fed and are not.
    pub unplaced: u64,
    /// Folios that are not proven to be sparse, and that the kernel will split.
    pub split_unproven: u64,
    /// Time until the first lease may lapse.
    pub margin: Option<Duration>,
    /// Nothing new is proposed, since receipts fail.
    pub failing: bool,
    /// Folios that our scheme acts on.
    pub acted_on: u64,
    /// Bytes that our scheme was applied to, each time it was.
    pub applied_bytes: u64,
}

/// How writes are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Writes a second at most; 0: as many as go.
    pub writes_per_second: u32,
    /// One pass: nothing is renewed and nothing is written twice.
    pub once: bool,
    /// Of each folio of each plan it is told why it is fed or not.
    pub explain: bool,
}

/// The sink.
#[derive(Debug)]
pub struct Feeding<D> {
    device: D,
    terms: Terms,
    manner: Manner,
    held: Held,
    decisions: Vec<Decision>,
    /// Decisions, or what the kernel holds, are not those of the plan.
    is_due: bool,
    plan: Plan,
    leases: BTreeMap<u64, Wanted>,
    /// Folios that get their pattern once more: whether the last one arrived is not known.
    again: BTreeSet<u64>,
    queue: VecDeque<u64>,
    last_look: Duration,
    /// When the next write may be made.
    next_write: Duration,
    failures: u32,
    /// Decisions may not be true any more: nothing new comes of them, leases live on.
    is_held: bool,
    figures: Figures,
    events: Vec<String>,
}

impl<D: Device> Feeding<D> {
    /// Begins with what the kernel already holds.
    ///
    /// # Errors
    /// If the totals cannot be read, or are none.
    pub fn begin(
        mut device: D,
        terms: Terms,
        manner: Manner,
        now: Duration,
    ) -> anyhow::Result<Self> {
        let stats = look(&mut device)?;
        let mut events = Vec::new();
        if stats.entries > 0 {
            events.push(format!(
                "the kernel holds {} entries that are not ours: their counters cannot be read, and \
                 they are left alone",
                stats.entries
            ));
        }
        Ok(Self {
            device,
            terms,
            manner,
            held: Held::found(&stats),
            decisions: Vec::new(),
            is_due: false,
            plan: Plan::default(),
            leases: BTreeMap::new(),
            again: BTreeSet::new(),
            queue: VecDeque::new(),
            last_look: now,
            next_write: now,
            failures: 0,
            is_held: false,
            figures: Figures::default(),
            events,
        })
    }

    /// New decisions, all of them: they take the place of the ones before.
    pub fn propose(&mut self, decisions: Vec<Decision>) {
        self.decisions = decisions;
        self.is_due = true;
        self.is_held = false;
    }

    /// Decisions may not be true any more: nothing new comes of them. Leases are kept alive.
    pub fn hold(&mut self) {
        self.is_held = true;
        self.is_due = false;
    }

    /// Does what is due, at most for one batch of writes, and tells when it wants to be called
    /// again. `None`: nothing is left to do.
    ///
    /// # Errors
    /// If the kernel refuses to be written to or to be read.
    pub fn tend(&mut self, now: Duration) -> anyhow::Result<Option<Duration>> {
        if self.is_look_due(now) {
            self.look(now)?;
        }
        if self.is_plan_due(now) {
            self.plan(now)?;
        }
        if self.queue.is_empty() && !self.manner.once {
            self.renew(now)?;
        }
        self.write(now)?;
        self.count(now);
        Ok(self.next(now))
    }

    /// The plan that is being carried out, or was.
    pub fn current_plan(&self) -> &Plan {
        &self.plan
    }

    /// What was done, and how things are.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What is known of the kernel's table.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// What the reader of a log should know, since it was asked last.
    pub fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    /// What stands for the kernel.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    fn is_failing(&self) -> bool {
        self.failures >= FAILURES
    }

    fn is_look_due(&self, now: Duration) -> bool {
        let waited = now.saturating_sub(self.last_look) >= RARELY;
        let unproven = self.held.unproven() > 0 && self.queue.is_empty();
        unproven && (self.is_due || self.manner.once) || waited && self.is_watching()
    }

    /// Whether the totals are to be read from time to time.
    fn is_watching(&self) -> bool {
        self.held.unproven() > 0 || !self.manner.once && self.held.strangers().entries > 0
    }

    /// A new plan waits for the last one's receipt. Where receipts fail it waits until one does
    /// not; if there is no lease whose renewal would show that, one write is tried.
    fn is_plan_due(&self, now: Duration) -> bool {
        let may = !self.is_failing() || self.is_trial_due(now);
        let is_due = self.is_due && !self.is_held;
        is_due && self.queue.is_empty() && self.held.unproven() == 0 && may
    }

    fn is_trial_due(&self, now: Duration) -> bool {
        self.leases_held() == 0 && now.saturating_sub(self.last_look) >= RENEW
    }

    /// Leases whose entries are there.
    fn leases_held(&self) -> usize {
        let model = self.held.model();
        self.leases.keys().filter(|folio| model.entry(**folio).is_some()).count()
    }

    /// Compares with the kernel's totals.
    fn look(&mut self, now: Duration) -> anyhow::Result<()> {
        let stats = look(&mut self.device)?;
        self.last_look = now;
        let writes = self.held.unproven() as u64;
        let touched: BTreeSet<u64> = self.held.unproven_folios().collect();
        let before: BTreeSet<u64> = self.held.proven().folios().collect();
        let strangers = self.held.strangers().entries;
        match self.held.compare(&stats, now) {
            Receipt::Confirmed { .. } => {
                self.figures.proven += writes;
                self.figures.receipts += 1;
                self.is_due |= self.is_failing();
                self.failures = 0;
                self.again.retain(|folio| !touched.contains(folio));
            }
            Receipt::Lost => {
                self.figures.lost += writes;
                self.failed(format!("{writes} writes were taken and do not count"));
            }
            Receipt::Stranger(folio) => {
                self.figures.unconfirmed += writes;
                self.is_due = true;
                self.events.push(format!(
                    "folio {folio:#x} had an entry that is not ours: it is left alone"
                ));
            }
            Receipt::Unconfirmed { expected } => {
                self.figures.unconfirmed += writes;
                self.again.extend(touched);
                self.failed(format!(
                    "the kernel has {} entries and {} accesses instead of {} and {}: somebody else \
                     writes, or writes were lost; {writes} writes are unconfirmed",
                    stats.entries, stats.accesses, expected.0, expected.1
                ));
            }
        }
        // There is room, or what was left alone need not be any more.
        self.is_due |= self.held.strangers().entries < strangers;
        // Whatever is not there any more and was to live has lapsed.
        let lapsed: Vec<u64> = self
            .leases
            .keys()
            .copied()
            .filter(|folio| before.contains(folio) && self.held.model().entry(*folio).is_none())
            .collect();
        for folio in lapsed {
            self.leases.remove(&folio);
            self.figures.lapses += 1;
            self.is_due |= !self.manner.once;
        }
        Ok(())
    }

    fn failed(&mut self, what: String) {
        self.figures.mismatches += 1;
        self.failures += 1;
        // One pass writes nothing twice.
        self.is_due |= !self.manner.once;
        self.events.push(what);
        if self.failures == FAILURES {
            self.events.push(format!(
                "{FAILURES} receipts in a row prove nothing: nothing new is proposed until one does"
            ));
        }
    }

    /// Makes a plan of the decisions, and puts its writes into the queue.
    fn plan(&mut self, now: Duration) -> anyhow::Result<()> {
        let mut plan = self.made(now);
        let old = |plan: &Plan, held: &Held| -> Vec<u64> {
            let folios = plan.steps.iter().map(|step| step.folio_pfn);
            folios.filter(|folio| held.is_old(*folio, now)).collect()
        };
        if !old(&plan, &self.held).is_empty() {
            self.look(now)?;
            plan = self.made(now);
            let old = old(&plan, &self.held);
            if !old.is_empty() {
                // One write revives an entry with all its counts, if it is still there.
                self.revive(&plan, &old, now)?;
                plan = self.made(now);
            }
        }
        self.is_due = false;
        self.leases = plan.steps.iter().map(|step| (step.folio_pfn, step.wanted.clone())).collect();
        let hidden = self.held.strangers().are_hidden();
        for step in &mut plan.steps {
            if step.writes.is_empty() && self.again.contains(&step.folio_pfn) && !self.manner.once {
                let slots = step.wanted.writes(&[0; 512]).unwrap_or_default();
                step.writes = slots.iter().map(|slot| step.folio_pfn + *slot as u64).collect();
            }
        }
        for step in plan.steps.iter().filter(|step| !step.writes.is_empty()) {
            self.queue.extend(&step.writes);
            if hidden && self.held.model().entry(step.folio_pfn).is_none() {
                // Alone, so that its receipt tells whether it had an entry before.
                self.is_due = true;
                break;
            }
        }
        if self.manner.explain {
            self.events.extend(lines::reasons(&plan));
        }
        self.plan = plan;
        if self.is_failing() {
            self.queue.truncate(1);
            self.is_due = true;
        }
        Ok(())
    }

    fn made(&self, now: Duration) -> Plan {
        let held = self.held.model();
        let strangers = self.held.strangers();
        // What lapsed makes room: the kernel prunes where there is none.
        let lapsed = held.folios().filter(|folio| {
            let age = held.entry(*folio).map(|entry| now.saturating_sub(entry.last_write()));
            !self.leases.contains_key(folio) && age.is_some_and(|age| age > IDLE)
        });
        let most = match self.manner.writes_per_second {
            0 => MAX_ENTRIES,
            rate => usize::try_from(u64::from(rate) * ROUND.as_secs())
                .unwrap_or(MAX_ENTRIES)
                .min(MAX_ENTRIES),
        };
        let taken = (held.totals().0 + strangers.entries).saturating_sub(lapsed.count());
        let room = most.saturating_sub(taken);
        self.terms.plan(&self.decisions, held, &strangers.known, room)
    }

    fn revive(&mut self, plan: &Plan, old: &[u64], now: Duration) -> anyhow::Result<()> {
        for step in plan.steps.iter().filter(|step| old.contains(&step.folio_pfn)) {
            let Some(entry) = self.held.model().entry(step.folio_pfn) else { continue };
            let pfn = step.folio_pfn + step.wanted.renewal(entry.counts()) as u64;
            self.put(&[pfn], now)?;
            self.figures.renewals += 1;
        }
        self.look(now)
    }

    /// Puts what is to live and will lapse into the queue, the oldest first.
    fn renew(&mut self, now: Duration) -> anyhow::Result<()> {
        let late = self.leases.keys().any(|folio| self.held.is_old(*folio, now));
        if late {
            // Too late to be sure: the totals say what is still there.
            self.look(now)?;
        }
        let mut due = Vec::new();
        for (folio, wanted) in &self.leases {
            let Some(entry) = self.held.model().entry(*folio) else { continue };
            if now.saturating_sub(entry.last_write()) >= RENEW {
                let pfn = folio + wanted.renewal(entry.counts()) as u64;
                due.push((entry.last_write(), pfn));
            }
        }
        due.sort_unstable();
        self.figures.renewals += due.len() as u64;
        if late {
            let pfns: Vec<u64> = due.iter().map(|(_, pfn)| *pfn).collect();
            self.put(&pfns, now)?;
            return self.look(now);
        }
        self.queue.extend(due.into_iter().map(|(_, pfn)| pfn));
        Ok(())
    }

    /// Writes a batch of the queue.
    fn write(&mut self, now: Duration) -> anyhow::Result<()> {
        let most = match self.manner.writes_per_second {
            0 => BATCH,
            rate => {
                if now < self.next_write {
                    return Ok(());
                }
                // A tenth of a second at a time.
                let many = usize::try_from(rate / 10).unwrap_or(BATCH).clamp(1, BATCH);
                let many = many.min(self.queue.len());
                let time = Duration::from_secs(1) * u32::try_from(many).unwrap_or(1) / rate;
                self.next_write = now + time;
                many
            }
        };
        let batch: Vec<u64> = self.queue.drain(..most.min(self.queue.len())).collect();
        self.put(&batch, now)
    }

    fn put(&mut self, pfns: &[u64], now: Duration) -> anyhow::Result<()> {
        for (at, pfn) in pfns.iter().enumerate() {
            if let Err(error) = self.device.write(*pfn) {
                self.held.wrote(&pfns[..at], now);
                bail!(refusal("spe_feed", &error));
            }
        }
        self.held.wrote(pfns, now);
        Ok(())
    }

    fn count(&mut self, now: Duration) {
        let model = self.held.model();
        let margin = self.leases.keys().filter_map(|folio| {
            let entry = model.entry(*folio)?;
            Some(IDLE.saturating_sub(now.saturating_sub(entry.last_write())))
        });
        let unplaced = self.plan.unplaced.iter();
        let unplaced = unplaced.filter(|(_, why)| *why != crate::plan::Unplaced::Sparse).count();
        let figures = &mut self.figures;
        figures.margin = margin.min();
        figures.leases = self.leases.len() as u64;
        figures.entries = model.totals().0 as u64;
        figures.strangers = self.held.strangers().entries as u64;
        figures.unplaced = unplaced as u64;
        figures.split_unproven = self.plan.split_unproven as u64;
        figures.failing = self.failures >= FAILURES;
        let all = figures.proven + figures.lost + figures.unconfirmed + self.held.unproven() as u64;
        figures.proposals = all.saturating_sub(figures.renewals);
    }

    /// When something is due.
    fn next(&self, now: Duration) -> Option<Duration> {
        if !self.queue.is_empty() {
            return Some(self.next_write.max(now));
        }
        if self.held.unproven() > 0 && self.manner.once {
            return Some(now);
        }
        let look = self.is_watching().then_some(self.last_look + RARELY);
        let plan = (self.is_due && !self.is_held).then(|| match self.is_failing() {
            false => now,
            true if self.leases_held() == 0 => self.last_look + RENEW,
            true => now + RARELY,
        });
        let renewal = (!self.manner.once).then(|| {
            let margin = self.figures.margin?;
            Some(now + margin.saturating_sub(IDLE - RENEW))
        });
        [look, plan, renewal.flatten()].into_iter().flatten().min()
    }
}

impl<D: Device> Sink for Feeding<D> {
    fn propose(&mut self, decisions: Vec<Decision>, _: Duration) -> anyhow::Result<()> {
        Self::propose(self, decisions);
        Ok(())
    }

    fn hold(&mut self) -> anyhow::Result<()> {
        Self::hold(self);
        Ok(())
    }

    fn tend(&mut self, now: Duration) -> anyhow::Result<Option<Duration>> {
        Self::tend(self, now)
    }

    fn end(&mut self) -> anyhow::Result<String> {
        let leases = self.leases_held();
        Ok(format!(
            "{leases} entries are renewed no more: the kernel drops them from {} s on, and a split \
             scheme then splits their folios",
            IDLE.as_secs()
        ))
    }

    fn events(&mut self) -> Vec<String> {
        Self::events(self)
    }

    fn figures(&self) -> Figures {
        self.figures.clone()
    }
}

fn look(device: &mut impl Device) -> anyhow::Result<Stats> {
    let text = device.stats().map_err(|error| anyhow::anyhow!(refusal("spe_stats", &error)))?;
    Stats::parse(&text).context("spe_stats")
}

/// What a refusal means.
fn refusal(file: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": root is needed, and a kernel without lockdown (/sys/kernel/security/lockdown)"
        }
        io::ErrorKind::ReadOnlyFilesystem => ": debugfs is mounted read-only",
        _ => "",
    };
    format!("{file}: {error}{hint}")
}

#[cfg(test)]
mod tests;
