//! A scheme of DAMON that acts on chosen folios, by sysfs.
//!
//! ```text
//! decisions -> place: address -> ranges: merged, chosen -> filters -> scheme: kdamond 0 -> commit
//!                                tried out with the action `stat` first
//! ```
//!
//! DAMON has one tree of settings for everybody, and nothing in it says whose they are. So nothing
//! is written unless it is empty; what is ours is recognised by its thread's process number. The
//! scheme looks only at the chosen ranges and has filters for them: without ranges there is none.
//!
//! Dropping a [`Damos`] leaves its scheme running: whoever supervises it acts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

use crate::decision::Decision;

mod place;
mod ranges;
mod scheme;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

pub use ranges::Range;
pub use scheme::Stats;
pub use settings::{Intervals, Operations, Settings};
pub use tree::{Files, Sysfs};

use place::Pagemap;
use ranges::{FOLIO, PAGE};
use scheme::{Dialect, KDAMOND};
use settings::STAT;
use tree::{DAMON_STAT, KDAMONDS, NR_KDAMONDS, number, put, text};

/// By what a supervisor recognises a kdamond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub kdamond: u32,
    /// The process number of its thread.
    pub pid: u32,
}

/// Why nothing is done to a folio whose verdict asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// Its page frame has no address.
    NoPlace,
    /// It is not known where its process has it.
    NoVirtualAddress,
    /// It was seen in another process.
    OtherProcess,
    /// It is not where it was seen any more.
    Moved,
    /// It would need a range more than there are filters for.
    BeyondFilters,
}

/// What is done from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Where, in ascending order. None: no scheme is running.
    pub ranges: Vec<Range>,
    /// The folios in them, by the PFN of the first page.
    pub folios: Vec<u64>,
    /// Those that are not.
    pub unplaced: Vec<(u64, Unplaced)>,
}

/// Is told of a kdamond that runs.
type Watch<'a> = &'a mut dyn FnMut(&Mark) -> anyhow::Result<()>;

/// Our scheme while it is running.
#[derive(Clone, Debug)]
struct Running {
    mark: Mark,
    dialect: Dialect,
    ranges: Vec<Range>,
}

/// The sink.
#[derive(Debug)]
pub struct Damos<F: Files = Sysfs> {
    files: F,
    settings: Settings,
    /// Ours, as far as we know.
    running: Option<Running>,
    /// This kernel was seen to act where it is told to.
    is_proven: bool,
}

impl Damos {
    /// Checks the settings, and that DAMON is there and nobody uses it. Writes nothing.
    ///
    /// # Errors
    /// What is in the way.
    pub fn open(settings: Settings) -> anyhow::Result<Self> {
        let files = Sysfs::new(&settings.sysfs);
        Self::with(files, settings)
    }
}

impl<F: Files> Damos<F> {
    /// As [`Damos::open`], by other files than those of sysfs.
    ///
    /// # Errors
    /// What is in the way.
    pub fn with(files: F, settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        is_free(&files)?;
        if let Operations::Vaddr { pid } = settings.operations {
            Pagemap::open(&settings.procfs, pid)?;
        }
        Ok(Self { files, settings, running: None, is_proven: false })
    }

    /// Has the kernel act on the folios of these decisions, and on no others from now on.
    ///
    /// Before the first scheme one with the action `stat` is tried, whose statistics have to show
    /// that the filters work on this kernel. It takes some aggregation intervals.
    ///
    /// # Errors
    /// What failed; then our scheme is off, unless that failed too and is said.
    pub fn propose(&mut self, decisions: &[Decision]) -> anyhow::Result<Applied> {
        self.propose_watched(decisions, |_| Ok(()))
    }

    /// As [`Damos::propose`], and tells by what to recognise each kdamond as soon as it runs, also
    /// the one of the trial: it acts only an aggregation interval later, so that there is time to
    /// start a supervisor. Of two that are told of, the first is off.
    ///
    /// # Errors
    /// As [`Damos::propose`]; also that of `watch`.
    pub fn propose_watched(
        &mut self,
        decisions: &[Decision],
        mut watch: impl FnMut(&Mark) -> anyhow::Result<()>,
    ) -> anyhow::Result<Applied> {
        self.check_running()?;
        let chosen = self.settings.choose(decisions);
        let applied = if self.running.is_some() { self.or_undo(chosen)? } else { chosen? };
        match &self.running {
            _ if applied.ranges.is_empty() => self.turn_off()?,
            None => self.start(&applied.ranges, &mut watch)?,
            Some(running) if running.ranges == applied.ranges => {}
            Some(running) => {
                let running = Running { ranges: applied.ranges.clone(), ..running.clone() };
                let (looked_at, dialect) = (&running.ranges, running.dialect);
                let changed = scheme::write_ranges(&mut self.files, dialect, looked_at, looked_at)
                    .and_then(|()| put(&mut self.files, &scheme::ours("state"), "commit"));
                self.or_undo(changed)?;
                self.running = Some(running);
            }
        }
        Ok(applied)
    }

    /// What our scheme has done since it was turned on; nothing if it is off.
    ///
    /// # Errors
    /// The kernel does not tell, or the scheme is not ours any more.
    pub fn stats(&mut self) -> anyhow::Result<Stats> {
        self.check_running()?;
        if self.running.is_none() {
            return Ok(Stats::default());
        }
        scheme::stats(&mut self.files)
    }

    /// Turns our scheme off, if it is on, and leaves DAMON as it was found: with nothing.
    ///
    /// # Errors
    /// What failed.
    pub fn turn_off(&mut self) -> anyhow::Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        if is_ours(&self.files, running.mark)? || has_ended(&self.files, running)? {
            scheme::remove(&mut self.files).context("cannot turn DAMON off")?;
        }
        self.running = None;
        Ok(())
    }

    /// By what a supervisor recognises our kdamond; none if it is off. It changes when a scheme is
    /// made after there was none.
    pub fn mark(&self) -> Option<Mark> {
        self.running.as_ref().map(|running| running.mark)
    }

    /// Checks that what we take for ours is.
    fn check_running(&mut self) -> anyhow::Result<()> {
        let Some(running) = self.running.clone() else { return Ok(()) };
        if is_ours(&self.files, running.mark)? {
            return Ok(());
        }
        let has_ended = has_ended(&self.files, &running)?;
        self.running = None;
        if has_ended {
            scheme::remove(&mut self.files)?;
            bail!("our kdamond has ended by itself, as it does when its process ends");
        }
        bail!("somebody else has turned our kdamond off or replaced it");
    }

    /// Makes a scheme for some ranges and turns it on.
    fn start(&mut self, wanted: &[Range], watch: Watch) -> anyhow::Result<()> {
        is_free(&self.files)?;
        ranges::check(wanted)?;
        let most = self.settings.max_filters;
        ensure!(wanted.len() < most, "{} ranges need more than {most} filters", wanted.len());
        // If this fails there is nothing of ours yet.
        put(&mut self.files, NR_KDAMONDS, "1")?;
        let started = self.start_ours(wanted, watch);
        let running = self.or_undo(started)?;
        self.running = Some(running);
        Ok(())
    }

    fn start_ours(&mut self, wanted: &[Range], watch: Watch) -> anyhow::Result<Running> {
        let files = &mut self.files;
        let (action, dialect) = scheme::write(files, &self.settings)?;
        if !self.is_proven {
            put(files, &scheme::scheme("action"), STAT)?;
            prove(files, &self.settings, dialect, wanted, watch)
                .context("a trial with the action stat did not show that filters work here")?;
            self.is_proven = true;
            put(files, &scheme::scheme("action"), &action)?;
        }
        scheme::write_ranges(files, dialect, wanted, wanted)?;
        let mark = turn_on(files, watch)?;
        Ok(Running { mark, dialect, ranges: wanted.to_vec() })
    }

    /// After a failure, leaves nothing of ours behind.
    fn or_undo<T>(&mut self, done: anyhow::Result<T>) -> anyhow::Result<T> {
        done.map_err(|error| {
            self.running = None;
            match scheme::remove(&mut self.files) {
                Ok(()) => error,
                Err(also) => {
                    anyhow!("{error:#}; and what was written could not be undone: {also:#}")
                }
            }
        })
    }
}

/// Turns what is written down on.
fn turn_on(files: &mut impl Files, watch: Watch) -> anyhow::Result<Mark> {
    put(files, &scheme::ours("state"), "on")
        .context("the kernel does not turn DAMON on; if it is busy, somebody else uses DAMON")?;
    let pid = scheme::pid(files, KDAMOND)?.context("the kdamond has ended at once")?;
    let mark = Mark { kdamond: KDAMOND, pid };
    watch(&mark)?;
    Ok(mark)
}

/// Has a scheme count what it would act on, in more memory than it may act on; turns it off again.
fn prove(
    files: &mut impl Files,
    settings: &Settings,
    dialect: Dialect,
    wanted: &[Range],
    watch: Watch,
) -> anyhow::Result<()> {
    scheme::write_ranges(files, dialect, &ranges::trial(wanted), wanted)?;
    let begin = Instant::now();
    turn_on(files, watch)?;
    let interval = settings.intervals.aggregation;
    let mut waited = Duration::ZERO;
    let tried = loop {
        files.pause(interval);
        waited += interval;
        let tried = scheme::stats(files)?.sz_tried;
        if tried > 0 {
            break tried;
        }
        ensure!(waited < settings.proof, "it found nothing to act on within {waited:?}");
    };
    // It acts once each interval; one more may have begun.
    let times = begin.elapsed().max(waited).div_duration_f64(interval).ceil() + 1.0;
    let bytes: u64 = wanted.iter().map(|range| range.len()).sum();
    ensure!(
        tried as f64 <= bytes as f64 * times,
        "it tried {tried} bytes at most {times} times, where only {bytes} bytes are wanted"
    );
    // What lies between is never a multiple of what is wanted: two pages of it are left out.
    ensure!(
        tried.is_multiple_of(bytes),
        "it tried {tried} bytes, no multiple of the {bytes} bytes that are wanted"
    );
    // Kernels since 6.2 also tell where, but not always when they are asked.
    for tried in scheme::tried_regions(files)?.unwrap_or_default() {
        ensure!(
            wanted.iter().any(|range| range.contains(tried)),
            "it tried {:#x} to {:#x}, which is not wanted",
            tried.start,
            tried.end
        );
    }
    put(files, &scheme::ours("state"), "off")
}

/// Checks that DAMON is there and that nobody uses it.
fn is_free(files: &impl Files) -> anyhow::Result<()> {
    ensure!(
        files.exists(NR_KDAMONDS),
        "{NR_KDAMONDS} is not there: this kernel has no DAMON in sysfs (CONFIG_DAMON_SYSFS), or \
         sysfs is not mounted"
    );
    let kdamonds = number(files, NR_KDAMONDS)?;
    ensure!(
        kdamonds == 0,
        "somebody else uses DAMON ({kdamonds} kdamonds in {NR_KDAMONDS}): nothing was written"
    );
    if files.exists(DAMON_STAT) {
        let runs = text(files, DAMON_STAT)?;
        ensure!(
            !runs.starts_with(['Y', 'y', '1']),
            "the kernel's own DAMON_STAT runs, beside which nothing else can: write N to \
             {DAMON_STAT} if nobody needs it"
        );
    }
    Ok(())
}

/// Whether a kdamond runs and is the marked one.
fn is_ours(files: &impl Files, mark: Mark) -> anyhow::Result<bool> {
    if !files.exists(&format!("{KDAMONDS}/{}/pid", mark.kdamond)) {
        return Ok(false);
    }
    Ok(number(files, NR_KDAMONDS)? == 1
        && mark.kdamond == KDAMOND
        && scheme::pid(files, mark.kdamond)? == Some(mark.pid))
}

/// Whether our kdamond has ended by itself: what we have written for it still stands there.
fn has_ended(files: &impl Files, running: &Running) -> anyhow::Result<bool> {
    let first = scheme::context("targets/0/regions/0/start");
    if !files.exists(&first) || number(files, NR_KDAMONDS)? != 1 {
        return Ok(false);
    }
    let is_same = running.ranges.first().map(|range| range.start) == Some(number(files, &first)?);
    Ok(is_same && scheme::pid(files, KDAMOND)?.is_none() && !scheme::is_on(files)?)
}

/// Turns a kdamond off if it is the marked one, and tells whether it was. Another is not touched.
///
/// # Errors
/// What failed.
pub fn turn_off_if_ours(sysfs: impl Into<PathBuf>, mark: &Mark) -> anyhow::Result<bool> {
    turn_off_marked(&mut Sysfs::new(sysfs), *mark)
}

fn turn_off_marked(files: &mut impl Files, mark: Mark) -> anyhow::Result<bool> {
    let is_ours = is_ours(files, mark)?;
    if is_ours {
        scheme::remove(files)?;
    }
    Ok(is_ours)
}

/// The address of a folio's first byte.
fn place(
    decision: &Decision,
    pagemap: Option<&(u32, Pagemap)>,
) -> anyhow::Result<Result<u64, Unplaced>> {
    let folio_pfn = decision.folio_pfn;
    let Some((pid, pagemap)) = pagemap else {
        let start = folio_pfn.checked_mul(PAGE).filter(|start| start.is_multiple_of(FOLIO));
        let start = start.filter(|start| start.checked_add(2 * FOLIO).is_some());
        return Ok(start.ok_or(Unplaced::NoPlace));
    };
    if decision.pid.is_some_and(|seen| seen != *pid) {
        return Ok(Err(Unplaced::OtherProcess));
    }
    let Some(vaddr) = decision.vaddr.filter(|_| decision.pid.is_some()) else {
        return Ok(Err(Unplaced::NoVirtualAddress));
    };
    let is_there = pagemap.has(vaddr, folio_pfn)?;
    Ok(if is_there { Ok(vaddr) } else { Err(Unplaced::Moved) })
}

impl Settings {
    /// Where something is to be done.
    fn choose(&self, decisions: &[Decision]) -> anyhow::Result<Applied> {
        let pagemap = match self.operations {
            Operations::Paddr => None,
            Operations::Vaddr { pid } => Some((pid, Pagemap::open(&self.procfs, pid)?)),
        };
        let mut places = BTreeMap::new();
        let mut unplaced = Vec::new();
        let mut seen = BTreeSet::new();
        for decision in decisions {
            if !self.concerns(decision.verdict) || !seen.insert(decision.folio_pfn) {
                continue;
            }
            match place(decision, pagemap.as_ref())? {
                Ok(start) => {
                    places.insert(start, decision.folio_pfn);
                }
                Err(why) => unplaced.push((decision.folio_pfn, why)),
            }
        }
        // One more filter than ranges.
        let chosen = ranges::choose(&places, self.max_filters - 1);
        unplaced.extend(chosen.beyond.into_iter().map(|folio| (folio, Unplaced::BeyondFilters)));
        Ok(Applied { ranges: chosen.ranges, folios: chosen.folios, unplaced })
    }
}
