//! The answer of a run: from counters and facts to report and decisions.

use core::cmp::Reverse;

use decoder::{FolioPfn, Ledger, Pfn, Recording};

use crate::backing::Backing;
use crate::decision::Decision;
use crate::distribution::{TenPercentBuckets, touched_percent};
use crate::facts::{Facts, guests};
use crate::filter::{ChunkOrder, HotThreshold};
use crate::folio::{Block, Folio};
use crate::incomplete::Reason;
use crate::ingest::{Counter, Length};
use crate::judging::{BlockEvidence, Conditions, Finding, MaxColdShare};
use crate::nothing_counted::nothing_counted;
use crate::page_size::PageSize;
use crate::report::{
    CpuCoverage, Evidence, InputInfo, InputKind, LatencySummary, Report, RunLedger, TimeBase,
    TopFolio, VerdictCounts,
};
use crate::verdict::{Judge, SIGNIFICANCE, Verdict};

/// The longest span that a sparse block is asked for by default: 1 s.
const MIN_SPAN_NS: u64 = 1_000_000_000;
/// The part of a recording that is asked for if it is short.
const MIN_SPAN_PART: u64 = 10;

/// How an answer is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Chunk order.
    pub order: ChunkOrder,
    /// Percent of hot chunks from which a block is hot.
    pub threshold: HotThreshold,
    /// Blocks that are listed; all if `None`.
    pub top: Option<usize>,
    /// Time that the accesses of a sparse block must span.
    pub min_span_ns: Option<u64>,
    /// Nothing is taken to be missing, whatever recording and query left out.
    pub assume_complete: bool,
    /// The greatest cold share of a block that is proposed.
    pub max_cold_share: MaxColdShare,
    /// The kernel's base page, if it was given.
    pub page_size: Option<PageSize>,
}

/// The unit that wrote the AUX data of a recording, if it has any. A processor has one.
fn aux_source(recording: &Recording) -> decoder::Source {
    match (recording.raw, recording.intel_pt) {
        (Some(decoder::Raw::Pebs(..)), _) => decoder::Source::Pebs,
        (_, true) => decoder::Source::IntelPt,
        (_, false) => decoder::Source::ArmSpe,
    }
}

/// What a ledger says of AUX data.
fn of_aux_data(ledger: &Ledger) -> Ledger {
    Ledger {
        aux_bytes: ledger.aux_bytes,
        record_bytes: ledger.record_bytes,
        padding_bytes: ledger.padding_bytes,
        skipped_bytes: ledger.skipped_bytes,
        cut_off_bytes: ledger.cut_off_bytes,
        overlap_bytes: ledger.overlap_bytes,
        aux_missing_bytes: ledger.aux_missing_bytes,
        aux_truncated: ledger.aux_truncated,
        aux_collision: ledger.aux_collision,
        aux_partial: ledger.aux_partial,
        ..Ledger::default()
    }
}

/// Whether anything is known to be missing.
pub fn lossy(ledger: &Ledger, problems: u64, incomplete: &[Reason]) -> bool {
    ledger.losses().next().is_some() || problems > 0 || !incomplete.is_empty()
}

/// The span that is asked of sparse blocks: what was given, else by the length of what was seen.
pub(crate) fn least_span(given_ns: Option<u64>, seen_ns: u64) -> u64 {
    given_ns.unwrap_or(MIN_SPAN_NS.min(seen_ns / MIN_SPAN_PART))
}

/// A run that has ended.
pub struct Summary<'a, B: Block = Folio> {
    counter: &'a Counter<B>,
    recordings: &'a [Recording],
    wanted: Wanted,
    path: String,
    facts: Facts,
    page_size: (PageSize, bool),
    ledger: Ledger,
    judge: Judge,
    conditions: Conditions,
}

/// A block and what is to be said of it.
struct Judged<'a> {
    pfn: FolioPfn,
    folio: &'a Folio,
    found: Finding,
}

impl<'a, B: Block> Summary<'a, B> {
    /// Brings together what was counted and what the recordings say of themselves.
    pub fn new(
        path: String,
        recordings: &'a [Recording],
        counter: &'a Counter<B>,
        wanted: Wanted,
    ) -> Self {
        let mut facts = Facts::of(recordings, counter.filters());
        let mut ledger = Ledger::default();
        recordings.iter().for_each(|recording| ledger += recording.ledger);
        counter.ledgers().for_each(|(_, part)| ledger += part);
        ledger.saturated_counters =
            counter.store().folios().map(|(_, block)| block.saturated() as u64).sum();
        facts.account(&ledger);
        let page_size = PageSize::of(wanted.page_size, recordings);
        let judge = Judge::new(wanted.order, wanted.threshold);
        let shortest = counter.lengths().iter().map(|length| length.judged).min();
        let conditions = Conditions {
            left_out: facts.leaves_out(),
            assume_complete: wanted.assume_complete,
            judged: page_size.0.is_4k(),
            least_span_ns: shortest.map(|shortest| least_span(wanted.min_span_ns, shortest)),
        };
        Self { counter, recordings, wanted, path, facts, page_size, ledger, judge, conditions }
    }

    /// The account of the run.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The kernel's base page.
    pub fn page_size(&self) -> PageSize {
        self.page_size.0
    }

    /// Whether anything is known to be missing from the answer, or nothing was counted: what
    /// `--strict` asks.
    pub fn is_lossy(&self) -> bool {
        lossy(&self.ledger, self.problem_count(), &self.facts.incomplete)
            || self.ledger.counted == 0
    }

    /// How many sections could not be read.
    pub fn problem_count(&self) -> u64 {
        self.recordings.iter().map(|recording| recording.problem_count).sum()
    }

    /// Unit of the recordings' times: the least that any of them with records has.
    pub fn time_base(&self) -> decoder::TimeBase {
        let with_records = self.recordings.iter().filter(|recording| !recording.sources.is_empty());
        with_records.map(|recording| recording.time_base).min().unwrap_or_default()
    }

    /// Why no block is judged, if none is for a reason that nobody asked for.
    pub fn not_judged(&self) -> Option<String> {
        let why = self.facts.not_judged(self.wanted.assume_complete);
        why.filter(|_| self.facts.surprises())
    }

    /// Why nothing was counted.
    pub fn reason(&self) -> Option<String> {
        (self.ledger.counted == 0)
            .then(|| nothing_counted(self.recordings, &self.ledger, self.counter.filters()))
    }

    /// The counted pages in ascending order.
    pub fn pages(&self) -> impl Iterator<Item = (Pfn, u32)> + '_ {
        self.counter.store().in_order().flat_map(|(pfn, block)| {
            block.touched().map(move |(page, count)| (pfn.page(page), count))
        })
    }
}

impl<'a> Summary<'a> {
    /// So many blocks by accesses, highest first, then by PFN.
    fn hottest(&self, limit: usize) -> Vec<(FolioPfn, &'a Folio)> {
        let key = |(pfn, folio): &(FolioPfn, &Folio)| (Reverse(folio.directions().total()), *pfn);
        let mut hottest = Vec::new();
        for block in self.counter.store().folios() {
            hottest.push(block);
            // Not all of them are kept where a few are wanted.
            if hottest.len() >= limit.saturating_mul(2).max(1 << 10) {
                hottest.select_nth_unstable_by_key(limit, key);
                hottest.truncate(limit);
            }
        }
        hottest.sort_unstable_by_key(key);
        hottest.truncate(limit);
        hottest
    }

    fn judge(&self, pfn: FolioPfn, folio: &'a Folio) -> Option<Judged<'a>> {
        let left_out = self.counter.left_out().contains(pfn.number());
        let found = self.judge.find(&BlockEvidence::of(folio, left_out), &self.conditions)?;
        Some(Judged { pfn, folio, found })
    }

    /// The decisions, hottest first.
    pub fn decisions(&self, counts: bool) -> impl Iterator<Item = Decision> + '_ {
        let limit = self.wanted.top.unwrap_or(usize::MAX);
        let hottest = self.hottest(limit).into_iter();
        let judged = hottest.filter_map(|(pfn, folio)| self.judge(pfn, folio));
        judged.filter_map(move |Judged { pfn, folio, found }| {
            let Finding { hot, backing, .. } = found;
            Some(Decision {
                folio_pfn: pfn,
                order: u32::from(self.wanted.order.get()),
                hot_threshold: u32::from(self.wanted.threshold.get()),
                hot_percent: hot.percent(),
                hot_chunks: hot.hot_chunks,
                chunks: hot.chunks,
                accesses: folio.directions().total(),
                verdict: found.verdict?,
                backing,
                unverified: backing == Backing::Unknown,
                hot_bitmap: hot.bitmap.to_hex(self.wanted.order),
                pid: folio.last_seen.pid(),
                vaddr: folio.last_seen.vaddr(),
                evidence: self.evidence(&found),
                counts: counts.then(|| {
                    // Pages are below 512.
                    #[expect(clippy::cast_possible_truncation, reason = "see above")]
                    let pairs = folio.touched().map(|(page, count)| (page as u16, count));
                    pairs.collect()
                }),
            })
        })
    }

    /// What a verdict rests on.
    fn evidence(&self, found: &Finding) -> Evidence {
        Evidence {
            visits: found.visits,
            cold_visits: found.cold_visits,
            cold_share: found.cold_share(),
            proposable: found.is_proposable(self.wanted.max_cold_share),
            steady: None,
            left_out: found.left_out,
        }
    }

    /// The blocks that are listed, hottest first; with their counters if they are to be drawn.
    fn listed(&self, drawn: bool) -> impl Iterator<Item = TopFolio> + '_ {
        let hottest = self.hottest(self.wanted.top.unwrap_or(usize::MAX)).into_iter();
        hottest.filter_map(move |(pfn, folio)| {
            let judged = self.judge(pfn, folio)?;
            let evidence = self.evidence(&judged.found);
            Some(judged.listed(evidence, drawn))
        })
    }

    /// The report; with the counters of the blocks that are listed if it is to be drawn.
    pub fn report(&self, drawn: bool) -> Report {
        Report { top: self.listed(drawn).collect(), ..self.head() }
    }

    /// The rows of [`Summary::report`], one by one: there may be as many as blocks.
    pub fn rows(&self) -> impl Iterator<Item = TopFolio> + '_ {
        self.listed(false)
    }

    /// The report without its rows.
    pub fn head(&self) -> Report {
        let mut touched = TenPercentBuckets::default();
        let mut hot = TenPercentBuckets::default();
        let mut verdicts = VerdictCounts::default();
        let (mut pages, mut proposable, mut left_out) = (0, 0, 0);
        for (pfn, folio) in self.counter.store().folios() {
            let Some(judged) = self.judge(pfn, folio) else { continue };
            let touched_pages = folio.touched_pages();
            let found = &judged.found;
            proposable += u64::from(found.is_proposable(self.wanted.max_cold_share));
            left_out += u64::from(found.left_out);
            pages += u64::from(touched_pages);
            touched.add(touched_percent(touched_pages));
            hot.add(found.hot.percent());
            if let Some(verdict) = found.verdict {
                *match verdict {
                    Verdict::Hot => &mut verdicts.hot,
                    Verdict::Sparse => &mut verdicts.sparse,
                    Verdict::Undersampled => &mut verdicts.undersampled,
                    Verdict::Filtered => &mut verdicts.filtered,
                    Verdict::Unsplittable => &mut verdicts.unsplittable,
                } += 1;
            }
        }
        let row = |buckets: &TenPercentBuckets| {
            let mut rows = buckets.rows().map(|(_, _, folios)| folios);
            [(); 10].map(|()| rows.next().unwrap_or(0))
        };
        Report {
            input: self.input(),
            order: u32::from(self.wanted.order.get()),
            hot_threshold: u32::from(self.wanted.threshold.get()),
            accesses: self.ledger.counted,
            pages,
            folios: self.counter.store().len() as u64,
            reason: self.reason(),
            notes: self.notes(&verdicts, left_out),
            ledger: RunLedger {
                sums: self.ledger,
                recording_incomplete: self
                    .facts
                    .incomplete
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            },
            records_by_source: self.by_source(),
            unreadable: self.unreadable(),
            touched_distribution: row(&touched),
            hot_distribution: row(&hot),
            verdicts,
            max_cold_share: u32::from(self.wanted.max_cold_share.get()),
            proposable,
            coverage: self.coverage(),
            latency: self.latency(),
            top: Vec::new(),
        }
    }

    fn input(&self) -> InputInfo {
        let sources = decoder::Source::ALL.into_iter().filter(|source| {
            self.recordings.iter().any(|recording| recording.sources.contains(source))
        });
        let first = self.recordings.first();
        InputInfo {
            path: self.path.clone(),
            kind: match first.map(|recording| recording.kind) {
                Some(decoder::InputKind::Stream) => InputKind::Stream,
                Some(decoder::InputKind::Folder) => InputKind::Folder,
                _ => InputKind::File,
            },
            arch: self
                .recordings
                .iter()
                .find_map(|recording| recording.features.arch().map(str::to_owned)),
            sources: sources.map(|source| source.as_str().to_owned()).collect(),
            time_base: match self.time_base() {
                decoder::TimeBase::Ns => TimeBase::Ns,
                decoder::TimeBase::Ticks => TimeBase::Ticks,
                decoder::TimeBase::None => TimeBase::None,
            },
            duration_ns: self
                .counter
                .lengths()
                .iter()
                .map(|Length { whole, .. }| *whole)
                .reduce(u64::saturating_add),
        }
    }

    /// `left_out`: blocks from which something was left out.
    fn notes(&self, verdicts: &VerdictCounts, left_out: u64) -> Vec<String> {
        let mut notes = self.facts.sentences(self.wanted.assume_complete, self.page_size);
        if self.judge.min_hot_chunks() <= 1 {
            let (order, threshold) = (self.wanted.order, self.wanted.threshold);
            notes.push(format!(
                "At order {order} one hot chunk alone is {} %: a threshold of {threshold} % is \
                 never missed, so no block is ever split.",
                100 / order.chunks()
            ));
        }
        if !self.conditions.left_out && !self.conditions.assume_complete && self.conditions.judged {
            let names: Vec<_> = self.counter.filters().names().collect();
            notes.extend(by_query(&names, left_out, self.counter.left_out().is_full()));
        }
        if let Some(wrong) = expected_wrong(verdicts) {
            notes.push(wrong);
        }
        notes.extend(guests(&self.ledger));
        if self.ledger.looked_up > 0 {
            notes.push(
                "Physical addresses were looked up, not sampled: memory that has moved in between \
                 is counted where it was when its page map was read."
                    .to_owned(),
            );
        }
        if self.ledger.over_budget > 0 {
            notes.push(
                "The memory budget was used up: the result depends on --max-memory.".to_owned(),
            );
        }
        notes
    }

    fn unreadable(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for recording in self.recordings {
            lines.extend(recording.problems.iter().map(ToString::to_string));
            let more = recording.problem_count - recording.problems.len() as u64;
            if more > 0 {
                lines.push(format!("and {more} more"));
            }
        }
        lines
    }

    /// The ledger of each source. Bytes and flags of AUX data are those of the unit that wrote it;
    /// what no source says, such as losses, is in the whole alone.
    fn by_source(&self) -> Vec<(String, Ledger)> {
        let mut ledgers: Vec<_> = self.counter.ledgers().collect();
        for recording in self.recordings {
            let unit = aux_source(recording);
            for (_, ledger) in ledgers.iter_mut().filter(|(source, _)| *source == unit) {
                *ledger += of_aux_data(&recording.ledger);
            }
        }
        let present =
            |source| self.recordings.iter().any(|recording| recording.sources.contains(&source));
        ledgers
            .retain(|(source, ledger)| ledger.records + ledger.aux_bytes > 0 || present(*source));
        ledgers.into_iter().map(|(source, ledger)| (source.as_str().to_owned(), ledger)).collect()
    }

    fn coverage(&self) -> Vec<CpuCoverage> {
        let row = |(cpu, coverage): (u32, crate::ingest::Coverage)| CpuCoverage {
            cpu,
            records: coverage.records,
            first_ns: coverage.times.first(),
            last_ns: coverage.times.last(),
        };
        self.counter.coverage().into_iter().map(row).collect()
    }

    fn latency(&self) -> Option<LatencySummary> {
        let latencies = self.counter.latencies();
        let percentile = |percent| latencies.percentile(percent).map(u64::from);
        Some(LatencySummary {
            count: latencies.count(),
            min: latencies.min()?.into(),
            p50: percentile(50)?,
            p90: percentile(90)?,
            p99: percentile(99)?,
            max: latencies.max()?.into(),
        })
    }
}

/// What a query means for verdicts, if it leaves anything out. `blocks`: so many of those that
/// were counted.
pub(crate) fn by_query(names: &[&str], blocks: u64, full: bool) -> Option<String> {
    let names = names.join(", ");
    match blocks {
        _ if full => Some(format!(
            "{names} left out accesses of more blocks than the memory budget can remember: none is \
             judged; raise --max-memory."
        )),
        0 => None,
        1 => Some(format!(
            "1 block is not judged: {names} left out accesses of it. The others lost nothing."
        )),
        _ => Some(format!(
            "{blocks} blocks are not judged: {names} left out accesses of them. Blocks that lost \
             nothing are judged as always."
        )),
    }
}

/// How many sparse blocks may be called so by chance. Told where there are any.
fn expected_wrong(verdicts: &VerdictCounts) -> Option<String> {
    let VerdictCounts { hot, sparse, undersampled, .. } = *verdicts;
    #[expect(clippy::cast_precision_loss, reason = "it is told, not counted with")]
    let wrong = (hot + sparse + undersampled) as f64 * SIGNIFICANCE;
    let about = if wrong < 1.0 { "less than 1".to_owned() } else { format!("{wrong:.0}") };
    (sparse > 0).then(|| {
        format!(
            "One look: of {} blocks judged, {about} may be called sparse by chance alone. A daemon \
             looks again and again, and says which are steady.",
            hot + sparse + undersampled
        )
    })
}

impl Judged<'_> {
    /// Its entry in the list; with its counters if it is to be drawn.
    fn listed(&self, evidence: Evidence, drawn: bool) -> TopFolio {
        let Self { pfn, folio, found } = self;
        let directions = folio.directions();
        TopFolio {
            folio_pfn: *pfn,
            accesses: directions.total(),
            loads: directions.loads(),
            stores: directions.stores(),
            atomics: directions.atomics(),
            unknown_op: directions.unknown(),
            touched_pages: folio.touched_pages(),
            peak: found.hot.peak,
            hot_chunks: found.hot.hot_chunks,
            chunks: found.hot.chunks,
            hot_percent: found.hot.percent(),
            verdict: found.verdict,
            mapping_order_max: folio.mapping.order_max(),
            backing: found.backing,
            first_ns: folio.times.first(),
            last_ns: folio.times.last(),
            evidence,
            counts: drawn.then(|| Box::new(folio.accesses())),
        }
    }
}
