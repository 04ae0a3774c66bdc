//! A sink that remembers, and what must hold of every run.

use decoder::{
    Access, EventIndex, InputKind, Ledger, Origin, Position, Recording, Shard, Sink, Source,
};
use heatmap::{Block, ChunkOrder, Counter, Filters, HotThreshold, Summary, Wanted};
use report::{self, Format};

/// Records that are remembered one by one; beyond, they are only counted.
const MOST_RECORDS: usize = 1 << 15;
/// Memory that is never used up by what is fed here.
pub(super) const ENOUGH: usize = 1 << 30;

/// One record as it was given out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Given {
    Access(Access),
    Other(Origin),
}

impl Given {
    pub(super) const fn position(&self) -> Position {
        match self {
            Self::Access(access) => access.origin.position,
            Self::Other(origin) => origin.position,
        }
    }

    /// Without what side-band records say: there a file may know more than a stream.
    const fn without_side_band(self) -> Self {
        match self {
            Self::Access(access) if matches!(access.origin.source, Source::ArmSpe) => {
                Self::Access(Access { pid: None, tid: None, ..access })
            }
            given => given,
        }
    }
}

/// Remembers records and counts them.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) given: Vec<Given>,
    pub(super) seen: u64,
    pub(super) counter: Counter,
}

impl Probe {
    pub(super) fn new(memory: usize) -> Self {
        Self { given: Vec::new(), seen: 0, counter: Counter::new(Filters::default(), memory) }
    }

    fn push(&mut self, given: Given) {
        self.seen += 1;
        if self.given.len() < MOST_RECORDS {
            self.given.push(given.without_side_band());
        }
    }

    /// All records in the order of their positions; `None` if there were too many.
    pub(super) fn in_order(&self) -> Option<Vec<Given>> {
        let mut given = (self.seen == self.given.len() as u64).then(|| self.given.clone())?;
        given.sort_by_key(Given::position);
        Some(given)
    }

    /// The counted pages.
    pub(super) fn pages(&self) -> Vec<(u64, u32)> {
        let mut pages: Vec<_> = self
            .counter
            .store()
            .folios()
            .flat_map(|(pfn, folio)| {
                folio.touched().map(move |(page, count)| (pfn.page(page).get(), count))
            })
            .collect();
        pages.sort_unstable();
        pages
    }

    /// The account of a run, with what was evicted as if it had not been, and without what
    /// side-band records say.
    pub(super) fn ledger(&self, recording: &Recording) -> Ledger {
        let mut ledger = recording.ledger;
        self.counter.ledgers().for_each(|(_, part)| ledger += part);
        ledger.counted += ledger.over_budget;
        Ledger { over_budget: 0, tid_unknown: 0, ..ledger }
    }
}

impl Sink for Probe {
    fn event_name(&mut self, event: EventIndex, name: &str) {
        self.counter.event_name(event, name);
    }

    fn access(&mut self, access: &Access) {
        self.push(Given::Access(*access));
        self.counter.access(access);
    }

    fn other(&mut self, origin: &Origin) {
        self.push(Given::Other(*origin));
        self.counter.other(origin);
    }

    fn recording_ended(&mut self) {
        self.counter.recording_ended();
    }
}

impl Shard for Probe {
    fn part_begins(&mut self, number: u64) {
        self.counter.part_begins(number);
    }

    fn part_ended(&mut self) {
        self.counter.part_ended();
    }

    fn split(&self) -> Self {
        Self { given: Vec::new(), seen: 0, counter: self.counter.split() }
    }

    fn merge(&mut self, other: Self) {
        self.seen += other.seen;
        self.given.extend(other.given);
        self.counter.merge(other.counter);
    }
}

/// What holds of every run over `len` bytes: the sums of the account, the counters against it,
/// and that a report can be written.
pub(super) fn check(recording: Recording, probe: &Probe, len: usize, wanted: Wanted) {
    let mut ledger = recording.ledger;
    assert_eq!(ledger.check(), Ok(()), "bytes: {ledger:?}");
    assert!(ledger.aux_bytes + ledger.foreign_aux_bytes + ledger.overlap_bytes <= len as u64);
    assert_eq!(ledger.lost, ledger.lost_records.max(ledger.lost_samples));
    assert_eq!(recording.problem_count > 0, !recording.problems.is_empty());
    for (source, part) in probe.counter.ledgers() {
        assert_eq!(part.check(), Ok(()), "records of {source:?}: {part:?}");
        ledger += part;
    }
    assert_eq!(ledger.check(), Ok(()), "{ledger:?}");
    assert_eq!(ledger.records, probe.seen);
    let store = probe.counter.store();
    store.validate();
    let counted: u64 = store.folios().map(|(_, folio)| folio.directions().total()).sum();
    assert_eq!((ledger.counted, ledger.over_budget), (counted, store.evicted().iter().sum()));

    let recordings = [recording];
    let summary = Summary::new("input".to_owned(), &recordings, &probe.counter, wanted);
    let report = summary.report(true);
    assert_eq!(report.pages, summary.pages().count() as u64);
    assert!(summary.decisions(true).count() as u64 <= report.folios);
    for format in [Format::Text, Format::Json, Format::Csv] {
        let mut out = Vec::new();
        report::write(format, &report, &mut out, report::Style::default())
            .expect("memory takes all");
        assert!(String::from_utf8(out).is_ok(), "{format} is text");
    }
}

/// An answer with these choices of its order and threshold.
pub(super) fn wanted(order: u8, threshold: u8, assume_complete: bool) -> Wanted {
    Wanted {
        order: ChunkOrder::try_from(u32::from(order % 10)).expect("0 to 9"),
        threshold: HotThreshold::try_new(threshold % 100 + 1).expect("1 to 100"),
        top: None,
        min_span_ns: None,
        assume_complete,
        max_cold_share: heatmap::MaxColdShare::default(),
        page_size: None,
    }
}

/// What a recording says of itself, whichever way it was read.
pub(super) fn told(recording: &Recording) -> impl PartialEq + core::fmt::Debug + '_ {
    (
        &recording.sources,
        recording.time_base,
        &recording.events,
        &recording.arm_spe_events,
        &recording.event_sources,
        &recording.features,
        (&recording.problems, recording.problem_count),
        &recording.hypervisor,
        (recording.synthesized, recording.intel_pt, &recording.foreign_tracer, recording.ibs),
        recording.kind == InputKind::Stream,
    )
}
