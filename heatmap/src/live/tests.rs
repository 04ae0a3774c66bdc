//! Counting in epochs against a model that knows nothing of the code: plain maps and loops.

use std::collections::BTreeMap;

use decoder::InputKind;
use decoder::{
    Access, AccessFlags, Batch, Direction, Operation, Options, Origin, Pfn, PhysAddr, Position,
    Sink, Source, TraceOffset,
};
use proptest::prelude::*;

use super::*;
use crate::counters::Counters;
use crate::ingest::Counter;
use crate::verdict::Verdict;

const EPOCH: u64 = 100;
const COOLING: u64 = 300;
const TTL: u64 = 700;

fn settings() -> Settings {
    Settings { epoch_ns: EPOCH, cooling_ns: COOLING, ttl_ns: TTL, ..Settings::default() }
}

fn access(page: u64, time_ns: Option<u64>) -> Access {
    Access {
        origin: Origin {
            source: Source::ArmSpe,
            event: None,
            cpu: Some(1),
            time_ns,
            not_retired: false,
            position: Position { file: 0, offset: TraceOffset(0) },
        },
        operation: Operation::plain(Direction::Load),
        paddr: Some(PhysAddr::new_truncate(page << 12)),
        vaddr: None,
        ip: None,
        pid: None,
        tid: None,
        latency_cycles: None,
        data_source: None,
        issue_latency_cycles: None,
        translation_latency_cycles: None,
        tlb: None,
        page_size: None,
        aux_queue: None,
        flags: AccessFlags::empty(),
    }
}

fn recording() -> Recording {
    let config = tracegen::Config { records: 1, cpus: 1, ..tracegen::Config::default() };
    let (bytes, _) = tracegen::to_bytes(&config).expect("the configuration is right");
    let mut counter = Counter::<Counters>::new(Filters::default(), usize::MAX);
    let options = Options::new(core::num::NonZeroUsize::MIN);
    decoder::decode_bytes(&[&bytes], 0, &options, &mut counter).expect("tracegen wrote it")
}

/// The counters of a snapshot, by page.
fn pages(snapshot: &Snapshot) -> BTreeMap<u64, u32> {
    let mut pages = BTreeMap::new();
    for folio in snapshot.folios(Pfn::new_truncate(0).folio()) {
        for (page, count) in folio.counts().into_iter().enumerate().filter(|(_, count)| *count > 0)
        {
            pages.insert(folio.pfn().page(page).get(), count);
        }
    }
    pages
}

/// What section by section should be known: pages by their counts, and blocks by their last access.
#[derive(Default)]
struct Model {
    open: Option<u64>,
    waiting: BTreeMap<u64, Vec<(u64, u64)>>,
    counts: BTreeMap<u64, u32>,
    last: BTreeMap<u64, u64>,
    interval: u64,
    late: u64,
}

/// A record of a stream.
#[derive(Clone, Copy, Debug)]
enum Record {
    Access { page: u64 },
    WithoutAddress,
    Branch,
}

impl Model {
    /// Takes a record in; says which epoch has closed last because of it.
    fn record(&mut self, record: Record, time: u64) -> Option<u64> {
        let epoch = time / EPOCH;
        let open = *self.open.get_or_insert(epoch);
        let own = epoch.max(open);
        let mut closed = None;
        if own >= open + 2 {
            for epoch in open..own - 1 {
                self.close(epoch);
                closed = Some(epoch);
            }
            self.open = Some(own - 1);
        }
        if let Record::Access { page } = record {
            self.late += u64::from(epoch < open);
            self.waiting.entry(own).or_default().push((page, time));
        }
        closed
    }

    fn close(&mut self, epoch: u64) {
        self.cool(epoch * EPOCH / COOLING);
        for (page, time) in self.waiting.remove(&epoch).unwrap_or_default() {
            // What was forgotten before this is not remembered.
            let block = page >> 9;
            let end = (epoch + 1) * EPOCH;
            if self.last.get(&block).is_some_and(|last| last + TTL < end) {
                self.counts.retain(|page, _| page >> 9 != block);
                self.last.remove(&block);
            }
            *self.counts.entry(page).or_default() += 1;
            let last = self.last.entry(block).or_default();
            *last = time.max(*last);
        }
        self.cool((epoch + 1) * EPOCH / COOLING);
    }

    fn cool(&mut self, interval: u64) {
        while self.interval < interval {
            self.interval += 1;
            self.counts.values_mut().for_each(|count| *count /= 2);
        }
    }

    /// What is shown at the end of an epoch.
    fn shown(&self, epoch: u64) -> BTreeMap<u64, u32> {
        let end = (epoch + 1) * EPOCH;
        let kept = |page: &u64| self.last.get(&(page >> 9)).is_some_and(|last| last + TTL >= end);
        self.counts
            .iter()
            .filter(|(page, count)| **count > 0 && kept(page))
            .map(|(page, count)| (*page, *count))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 3))]

    #[test]
    fn epochs_are_those_of_a_plain_model(
        steps in prop::collection::vec((0..60_u64, 0..40_u64, 0..6_u64, 0..20_u64, 0..4_u8), 1..400),
        batch in 1..50_usize,
    ) {
        let recording = recording();
        let live = Live::new(settings(), Filters::default());
        let latest = live.latest();
        let mut sink = live.clone();
        let mut model = Model::default();
        let mut now = 10_000;
        let mut records = Vec::new();
        for (ahead, behind, block, page, kind) in steps {
            now += ahead;
            let record = match kind {
                0 => Record::Branch,
                1 => Record::WithoutAddress,
                _ => Record::Access { page: block * 512 * 3 + page },
            };
            // Buffers of other CPUs come late.
            records.push((record, now - behind * 8));
        }
        for (number, (record, time)) in records.iter().enumerate() {
            let like = access(0, Some(*time));
            match record {
                Record::Access { page } => sink.access(&access(*page, Some(*time))),
                Record::WithoutAddress => sink.access(&Access { paddr: None, ..like }),
                Record::Branch => sink.other(&like.origin),
            }
            let closed = model.record(*record, *time);
            if number % batch == 0 && sink.wants_recording() {
                sink.recording_so_far(&recording);
            }
            if let Some(epoch) = closed {
                sink.recording_so_far(&recording);
                let snapshot = latest.load_full();
                prop_assert_eq!(snapshot.epoch, Some(epoch));
                prop_assert_eq!(pages(&snapshot), model.shown(epoch));
                prop_assert_eq!(snapshot.ledger.late, model.late);
                snapshot.heat.validate();
            }
        }
        // At the end everything closes.
        let open = model.open.expect("there was a record");
        let last = model.waiting.keys().max().copied();
        for epoch in open..last.map_or(open, |last| last + 1) {
            model.close(epoch);
        }
        sink.recording_ended();
        sink.recording_so_far(&recording);
        let snapshot = latest.load_full();
        // Where no access waits, nothing is left to close.
        prop_assert!(last.is_none_or(|last| snapshot.epoch == Some(last)));
        if let Some(epoch) = snapshot.epoch {
            prop_assert_eq!(pages(&snapshot), model.shown(epoch));
        }
    }
}

/// The unit samples branches too: while no access comes, epochs close by their times.
#[test]
fn records_that_are_no_accesses_close_epochs() {
    let recording = recording();
    for in_batches in [false, true] {
        let live = Live::new(settings(), Filters::default());
        let mut sink = live.clone();
        let branch = |sink: &mut Live, time| {
            let Origin { source, cpu, .. } = access(0, None).origin;
            if in_batches {
                let (records, times) = (3, Some((time - 2, time)));
                let none = Batch::of_addresses(source, &[]);
                sink.batch(&Batch { cpu, records, not_memory: records, times, ..none });
            } else {
                sink.other(&access(0, Some(time)).origin);
            }
        };
        branch(&mut sink, 9_950);
        sink.access(&access(5, Some(10_010)));
        branch(&mut sink, 10_190);
        sink.recording_so_far(&recording);
        assert_eq!(pages(&live.latest().load()), BTreeMap::new(), "its epoch is open");
        branch(&mut sink, 10_200);
        assert!(sink.wants_recording(), "an epoch has closed");
        sink.recording_so_far(&recording);
        assert_eq!(pages(&live.latest().load()), BTreeMap::from([(5, 1)]));
        assert_eq!(live.latest().load().epoch, Some(100));
    }
}

/// Pages by their counts, at the end of each epoch of which a snapshot was seen.
type Seen = BTreeMap<Option<u64>, BTreeMap<u64, u32>>;

/// A stream that gives its bytes in pieces of some length, and looks at the latest snapshot
/// before each of them.
struct Pieces<'a>(&'a [u8], usize, Latest, &'a mut Seen);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let snapshot = self.2.load();
        self.3.entry(snapshot.epoch).or_insert_with(|| pages(&snapshot));
        let len = self.1.min(bytes.len()).min(self.0.len());
        bytes[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

fn stream(timeless: bool) -> Vec<u8> {
    let config = tracegen::Config {
        records: 60_000,
        timeless,
        form: tracegen::Form::Stream,
        ..tracegen::Config::default()
    };
    tracegen::to_bytes(&config).expect("the configuration is right").0
}

fn counted(bytes: &[u8], piece: usize, threads: usize, settings: Settings) -> Arc<Snapshot> {
    watched(bytes, piece, threads, settings, Filters::default()).0
}

fn watched(
    bytes: &[u8],
    piece: usize,
    threads: usize,
    settings: Settings,
    filters: Filters,
) -> (Arc<Snapshot>, Seen) {
    let mut seen = Seen::new();
    let mut live = Live::new(settings, filters);
    let threads = core::num::NonZeroUsize::new(threads).expect("some");
    let options = Options { prompt: true, ..Options::new(threads) };
    let pieces = Pieces(bytes, piece, live.latest(), &mut seen);
    let recording =
        decoder::decode_stream(pieces, 0, &options, &mut live).expect("tracegen wrote it");
    live.recording_so_far(&recording);
    (live.latest().load_full(), seen)
}

#[test]
fn a_stream_without_cooling_is_counted_as_reports_count_it() {
    for timeless in [false, true] {
        let bytes = stream(timeless);
        let mut counter: Counter = Counter::new(Filters::default(), usize::MAX);
        let options = Options::new(core::num::NonZeroUsize::MIN);
        decoder::decode_bytes(&[&bytes], 0, &options, &mut counter).expect("tracegen wrote it");
        let whole = Settings { cooling_ns: 0, ttl_ns: 0, ..Settings::default() };
        for threads in [1, 2] {
            let snapshot = counted(&bytes, 1 << 16, threads, whole);
            let mut blocks = 0;
            for (pfn, folio) in counter.store().in_order() {
                let live = snapshot.folio(pfn).expect("it was accessed");
                assert_eq!(live.counts(), folio.accesses());
                assert_eq!(live.directions(), folio.directions());
                assert_eq!(live.times(), folio.times);
                assert_eq!(live.last_seen(), (folio.last_seen.pid(), folio.last_seen.vaddr()));
                blocks += 1;
            }
            assert_eq!(snapshot.folios(Pfn::new_truncate(0).folio()).count(), blocks);
            assert!(blocks > 1000, "or nothing is shown");
            snapshot.ledger.check().expect("the sums hold");
        }
    }
}

#[test]
fn replaying_gives_the_same_at_any_speed_on_any_number_of_threads() {
    // Short epochs, so that a trace of some seconds has many; one that are late.
    let slow = Settings {
        epoch_ns: 20_000_000,
        cooling_ns: 100_000_000,
        ttl_ns: 800_000_000,
        speed: Some(20.0),
        ..Settings::default()
    };
    let fast = Settings { speed: None, ..slow };
    let loads = || Filters { loads: true, ..Filters::default() };
    for (source, filters) in [
        (tracegen::Source::Spe, Filters::default as fn() -> Filters),
        (tracegen::Source::Spe, loads),
        (tracegen::Source::Samples, Filters::default),
    ] {
        let config = tracegen::Config {
            records: 25_000,
            source,
            form: tracegen::Form::Stream,
            ..tracegen::Config::default()
        };
        let bytes = tracegen::to_bytes(&config).expect("the configuration is right").0;
        let (first, mut known) = watched(&bytes, 4096, 1, fast, filters());
        assert!(first.coolings > 3 && first.forgotten > 0, "or cooling is not tested");
        assert!(first.ledger.late > 0, "or it is not tested that the order is kept");
        let mut compared = 0;
        for (piece, threads, settings) in [
            (997, 1, fast),
            (100_000, 1, fast),
            (4096, 1, slow),
            (4096, 2, fast),
            (997, 3, fast),
            (100_000, 5, fast),
            (4096, 3, slow),
        ] {
            let (last, seen) = watched(&bytes, piece, threads, settings, filters());
            assert_eq!((last.epoch, last.ledger), (first.epoch, first.ledger));
            assert_eq!(pages(&last), pages(&first));
            assert_eq!(last.coverage, first.coverage);
            for (epoch, pages) in seen {
                match known.get(&epoch) {
                    Some(known) => {
                        compared += 1;
                        assert_eq!(&pages, known, "epoch {epoch:?}, {threads} threads");
                    }
                    None => {
                        known.insert(epoch, pages);
                    }
                }
            }
        }
        assert!(compared > 50, "only {compared} states in the middle were seen twice");
    }
}

/// How far is read ahead differs from run to run, and between files and streams.
#[test]
fn the_span_that_is_asked_does_not_depend_on_what_is_read_ahead() {
    let least_span = |ahead: &[u64]| {
        let live = Live::new(settings(), Filters::default());
        let mut sink = live.clone();
        // The second access closes the first epoch.
        for time in [0, 250].iter().chain(ahead) {
            sink.access(&access(7, Some(*time)));
        }
        sink.recording_so_far(&recording());
        let snapshot = live.latest().load_full();
        assert_eq!(snapshot.epoch, Some(0));
        snapshot.least_span_ns
    };
    assert_eq!(least_span(&[]), Some(9), "a tenth of the time up to the epoch's end");
    assert_eq!(least_span(&[299, 110]), Some(9));
}

/// For what the recording leaves out, or one before it of which there is heat, or a filter.
#[test]
fn what_a_report_refuses_to_judge_is_not_judged() {
    let whole = recording();
    // Its ID_INDEX names one CPU.
    let mut part = recording();
    part.features.cpus_online = Some(80);
    let all = Filters::default;
    let pid = || Filters { pids: Some([7..=7].into_iter().collect()), ..all() };
    // Process 7 and, where it is told, process 8 load from the same block.
    let judged = |settings: Settings, filters: Filters, recordings: &[&Recording], pids: &[u32]| {
        let live = Live::new(settings, filters);
        let mut sink = live.clone();
        for (time, recording) in (1000..).step_by(500).zip(recordings) {
            live.next_recording();
            // The last one closes the epoch of the others.
            let times = pids.iter().map(|pid| (time, *pid)).chain([(time + 300, pids[0])]);
            for (time, pid) in times {
                sink.access(&Access { pid: Some(pid), ..access(5, Some(time)) });
            }
            sink.recording_so_far(recording);
        }
        let snapshot = live.latest().load_full();
        let judge = snapshot.judge("0".parse().expect("an order"), "30".parse().expect("percent"));
        let mut folios = snapshot.folios(Pfn::new_truncate(0).folio());
        let fraction = folios.next().and_then(|folio| folio.fraction(&judge)).expect("accessed");
        let refused = fraction.found.verdict == Some(Verdict::Filtered);
        assert_eq!(refused, fraction.found.left_out);
        (refused, snapshot.notes().iter().any(|note| note.contains("judged:")))
    };
    let refused = |settings, filters, recordings: &[&Recording]| {
        let (refused, told) = judged(settings, filters, recordings, &[7]);
        assert_eq!(refused, told);
        refused
    };
    let kept = Settings { cooling_ns: 0, ttl_ns: 0, ..settings() };
    assert!(!refused(kept, all(), &[&whole]));
    assert!(refused(kept, all(), &[&part]));
    assert!(refused(kept, all(), &[&part, &whole]), "heat of the first is there still");
    assert!(refused(kept, all(), &[&whole, &part]));
    assert!(!refused(kept, pid(), &[&whole]), "nobody else was there");
    assert_eq!(judged(kept, pid(), &[&whole], &[7, 8]), (true, true));
    assert_eq!(judged(kept, all(), &[&whole], &[7, 8]), (false, false));
    assert!(!refused(kept, Filters { loads: true, ..all() }, &[&whole]), "there are no others");
    let complete = Settings { assume_complete: true, ..kept };
    assert_eq!(judged(complete, pid(), &[&part], &[7, 8]), (false, false));
}

/// What the query dropped is of no matter once nothing is left of what was counted by then.
#[test]
fn marks_cool_with_their_block() {
    let loads = Filters { loads: true, ..Filters::default() };
    let live = Live::new(Settings { ttl_ns: 0, ..settings() }, loads);
    let mut sink = live.clone();
    let left_out = |live: &Live| {
        let snapshot = live.latest().load_full();
        let judge = snapshot.judge("0".parse().expect("an order"), "30".parse().expect("percent"));
        let folio = snapshot.folio(Pfn::new_truncate(0).folio())?;
        Some(folio.fraction(&judge)?.found.left_out)
    };
    let store = Operation::plain(Direction::Store);
    // Three loads and a store in the first interval, one load in each of the others.
    (0..3).for_each(|_| sink.access(&access(5, Some(10))));
    sink.access(&Access { operation: store, ..access(7, Some(10)) });
    let mut seen = Vec::new();
    for interval in 1..6 {
        sink.access(&access(9, Some(interval * COOLING + 10)));
        sink.access(&access(9, Some(interval * COOLING + 150)));
        sink.recording_so_far(&recording());
        seen.push(left_out(&live));
    }
    // 3, 1, then nothing.
    assert_eq!(seen, [Some(true), Some(false), Some(false), Some(false), Some(false)]);
}

/// A frame that changes hands within an epoch: its visits may be of either owner.
#[test]
fn visits_of_an_epoch_with_two_owners_are_evidence_for_neither() {
    let live = Live::new(
        Settings { cooling_ns: 100 * EPOCH, ttl_ns: 0, ..settings() },
        Filters::default(),
    );
    let mut sink = live.clone();
    let mut known = |pid, pages: &[u64], epoch: u64| {
        for page in pages {
            let vaddr = decoder::VirtAddr::new(u64::from(pid) << 21 | page << 12);
            let its = access(*page, Some(epoch * EPOCH + page));
            sink.access(&Access { pid: Some(pid), vaddr: Some(vaddr), ..its });
        }
        sink.recording_so_far(&recording());
    };
    let said = |live: &Live| {
        let snapshot = live.latest().load_full();
        let judge = snapshot.judge("0".parse().expect("an order"), "30".parse().expect("percent"));
        let fraction = snapshot.folio(Pfn::new_truncate(0).folio())?.fraction(&judge)?;
        Some((fraction.accesses, fraction.found.visits))
    };
    known(1, &[10, 20, 30], 0);
    known(1, &[40, 50], 1);
    known(2, &[60, 70], 1);
    // An epoch closes when the one after the next begins.
    known(2, &[80], 2);
    assert_eq!(said(&live), Some((3, 3)));
    known(2, &[90], 3);
    assert_eq!(said(&live), Some((7, 0)));
    known(2, &[95], 4);
    assert_eq!(said(&live), Some((8, 1)));
}

#[test]
fn nobody_waits_for_a_thread_that_is_gone() {
    let live = Live::new(settings(), Filters::default());
    let (mut first, mut second) = (live.join_in(), live.join_in());
    let waiting = std::thread::spawn(move || {
        second.part_begins(1);
        second.access(&access(7, Some(1)));
        second.part_ended();
    });
    let gone = std::thread::spawn(move || {
        first.part_begins(0);
        std::panic::resume_unwind(Box::new("gone"));
    });
    assert!(gone.join().is_err());
    waiting.join().expect("it ends");
}

#[test]
fn the_budget_holds_and_nothing_is_lost_from_sight() {
    let bytes = stream(false);
    let memory = 256 << 10;
    let settings =
        Settings { memory, cooling_ns: 0, ttl_ns: 0, epoch_ns: 10_000_000, ..Settings::default() };
    let snapshot = counted(&bytes, 1 << 16, 1, settings);
    snapshot.ledger.check().expect("the sums hold");
    assert!(snapshot.ledger.over_budget > 0, "or the budget is not tested");
    assert!(snapshot.memory <= memory + memory / 20, "{} of {memory}", snapshot.memory);
    let kept: u64 = pages(&snapshot).values().map(|count| u64::from(*count)).sum();
    assert_eq!(kept, snapshot.ledger.counted);
}

#[test]
fn silence_goes_on_by_wall_time_and_forgets() {
    let millisecond = 1_000_000;
    let settings = Settings {
        epoch_ns: 5 * millisecond,
        cooling_ns: 0,
        ttl_ns: 20 * millisecond,
        live: true,
        ..Settings::default()
    };
    let live = Live::new(settings, Filters::default());
    let latest = live.latest();
    live.clone().access(&access(7, Some(1_000_000_000)));
    live.clone().recording_so_far(&Recording { kind: InputKind::Stream, ..recording() });
    // As long as it takes: a slow machine only makes the silence longer.
    let mut known = false;
    for _ in 0..1000 {
        std::thread::sleep(Duration::from_millis(5));
        live.tick();
        let snapshot = latest.load_full();
        known |= pages(&snapshot).len() == 1;
        if snapshot.wall_driven && known && pages(&snapshot).is_empty() {
            assert_eq!(snapshot.state, InputState::Stalled);
            assert_eq!(snapshot.ledger.counted, 1, "forgetting is no loss");
            return;
        }
    }
    panic!("the block is never forgotten");
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let live = Live::new(Settings { cooling_ns: 0, ..settings() }, Filters::default());
    let recording = recording();
    let mut sink = live.clone();
    for time in [1000, 1300] {
        sink.access(&access(5, Some(time)));
    }
    sink.recording_so_far(&recording);
    let before = live.latest().load_full();
    let known = pages(&before);
    assert_eq!(known.get(&5), Some(&1));
    for time in [1400, 1600, 2000] {
        sink.access(&access(5, Some(time)));
        sink.access(&access(6, Some(time)));
        sink.recording_so_far(&recording);
    }
    assert_eq!(pages(&before), known);
    assert!(pages(&live.latest().load_full()).len() > 1);
}
