//! From what is known to the messages of the interface.

use std::time::SystemTime;

use proto::v1;

use super::State;
use super::answers::Asked;
use crate::backing::Backing;
use crate::incomplete::Reason;
use crate::live::{InputState, LiveFolio, LiveFraction, Snapshot};
use crate::verdict::Verdict;

/// A length of time.
pub(super) fn duration(ns: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// A point in time.
pub(super) fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    prost_types::Timestamp::from(time)
}

pub(super) fn verdict(verdict: Option<Verdict>) -> v1::Verdict {
    match verdict {
        None => v1::Verdict::Unspecified,
        Some(Verdict::Hot) => v1::Verdict::Hot,
        Some(Verdict::Sparse) => v1::Verdict::Sparse,
        Some(Verdict::Undersampled) => v1::Verdict::Undersampled,
        Some(Verdict::Filtered) => v1::Verdict::Filtered,
        Some(Verdict::Unsplittable) => v1::Verdict::Unsplittable,
    }
}

/// A verdict that is asked for.
pub(super) fn wanted_verdict(verdict: v1::Verdict) -> Option<Verdict> {
    match verdict {
        v1::Verdict::Unspecified => None,
        v1::Verdict::Hot => Some(Verdict::Hot),
        v1::Verdict::Sparse => Some(Verdict::Sparse),
        v1::Verdict::Undersampled => Some(Verdict::Undersampled),
        v1::Verdict::Filtered => Some(Verdict::Filtered),
        v1::Verdict::Unsplittable => Some(Verdict::Unsplittable),
    }
}

fn backing(backing: Backing) -> v1::Backing {
    match backing {
        Backing::Thp => v1::Backing::Thp,
        Backing::Hugetlb => v1::Backing::Hugetlb,
        Backing::Smaller => v1::Backing::Smaller,
        Backing::Unknown => v1::Backing::Unknown,
    }
}

pub(super) fn hot_fraction(
    asked: &Asked,
    folio: LiveFolio<'_>,
    fraction: &LiveFraction,
) -> v1::HotFraction {
    let (snapshot, found) = (&asked.snapshot, &fraction.found);
    v1::HotFraction {
        folio_pfn: folio.pfn().get(),
        hot_percent: fraction.found.hot.percent(),
        hot_chunks: fraction.found.hot.hot_chunks,
        chunks: fraction.found.hot.chunks,
        accesses: fraction.accesses,
        verdict: verdict(fraction.found.verdict).into(),
        age: folio.age_ns().map(duration),
        window: (snapshot.ttl_ns > 0).then(|| duration(snapshot.ttl_ns)),
        order: asked.order.get().into(),
        hot_threshold: asked.threshold.get().into(),
        epoch: snapshot.epoch.unwrap_or(0),
        snapshot_time: snapshot.made.map(timestamp),
        visits: found.visits,
        cold_visits: found.cold_visits,
        cold_share: found.cold_share(),
        proposable: found.is_proposable(snapshot.max_cold_share()),
        steady: Some(fraction.steady),
        left_out: found.left_out,
    }
}

pub(super) fn folio(
    folio: LiveFolio<'_>,
    fraction: &LiveFraction,
    message: v1::HotFraction,
) -> v1::Folio {
    let directions = folio.directions();
    let (pid, vaddr) = folio.last_seen();
    v1::Folio {
        fraction: Some(message),
        loads: directions.loads(),
        stores: directions.stores(),
        atomics: directions.atomics(),
        unknown_op: directions.unknown(),
        touched_pages: fraction.touched_pages,
        peak: fraction.found.hot.peak,
        mapping_order_max: folio.mapping_order_max().map(u32::from),
        backing: backing(folio.backing()).into(),
        first_ns: folio.times().first(),
        last_ns: folio.times().last(),
        pid,
        vaddr,
    }
}

pub(super) fn decision(
    asked: &Asked,
    folio: LiveFolio<'_>,
    fraction: &LiveFraction,
    counts: bool,
) -> v1::Decision {
    let (snapshot, found) = (&asked.snapshot, &fraction.found);
    let (pid, vaddr) = folio.last_seen();
    let pages = || {
        let counts = folio.counts();
        let touched = (0..).zip(counts).filter(|(_, count)| *count > 0);
        touched.map(|(page, count)| v1::PageCount { page, count }).collect()
    };
    v1::Decision {
        folio_pfn: folio.pfn().get(),
        order: asked.order.get().into(),
        hot_threshold: asked.threshold.get().into(),
        hot_percent: fraction.found.hot.percent(),
        hot_chunks: fraction.found.hot.hot_chunks,
        chunks: fraction.found.hot.chunks,
        accesses: fraction.accesses,
        verdict: verdict(fraction.found.verdict).into(),
        backing: backing(folio.backing()).into(),
        unverified: folio.backing() == Backing::Unknown,
        hot_bitmap: fraction.found.hot.bitmap.to_hex(asked.order),
        pid,
        vaddr,
        counts: if counts { pages() } else { Vec::new() },
        visits: found.visits,
        cold_visits: found.cold_visits,
        cold_share: found.cold_share(),
        proposable: found.is_proposable(snapshot.max_cold_share()),
        steady: Some(fraction.steady),
        left_out: found.left_out,
    }
}

fn ledger(ledger: &decoder::Ledger, incomplete: &[Reason]) -> v1::Ledger {
    v1::Ledger {
        aux_bytes: ledger.aux_bytes,
        record_bytes: ledger.record_bytes,
        padding_bytes: ledger.padding_bytes,
        skipped_bytes: ledger.skipped_bytes,
        cut_off_bytes: ledger.cut_off_bytes,
        foreign_aux_bytes: ledger.foreign_aux_bytes,
        overlap_bytes: ledger.overlap_bytes,
        aux_missing_bytes: ledger.aux_missing_bytes,
        records: ledger.records,
        counted: ledger.counted,
        guest_address: ledger.guest_address,
        guest_accesses: ledger.guest_accesses,
        not_address_events: ledger.not_address_events,
        no_physical_address: ledger.no_physical_address,
        lookup_failed: ledger.lookup_failed,
        not_memory: ledger.not_memory,
        filtered: ledger.filtered,
        over_budget: ledger.over_budget,
        looked_up: ledger.looked_up,
        lookup_gone: ledger.lookup_gone,
        lookup_not_present: ledger.lookup_not_present,
        lookup_hidden: ledger.lookup_hidden,
        throttled: ledger.throttled,
        late: ledger.late,
        tid_unknown: ledger.tid_unknown,
        not_retired: ledger.not_retired,
        aux_truncated: ledger.aux_truncated,
        aux_collision: ledger.aux_collision,
        aux_partial: ledger.aux_partial,
        lost: ledger.lost,
        lost_records: ledger.lost_records,
        lost_samples: ledger.lost_samples,
        saturated_counters: ledger.saturated_counters,
        recording_incomplete: incomplete.iter().map(ToString::to_string).collect(),
    }
}

fn input(state: &State, snapshot: &Snapshot) -> v1::InputStatus {
    use v1::input_status::State as Doing;
    let recording = snapshot.known.as_ref().map(|known| &known.recording);
    let (doing, failure) = match &snapshot.state {
        InputState::Waiting => (Doing::Waiting, ""),
        InputState::Running => (Doing::Running, ""),
        InputState::Stalled => (Doing::Stalled, ""),
        InputState::Ended => (Doing::Ended, ""),
        InputState::Failed(reason) => (Doing::Failed, reason.as_str()),
    };
    let sources = recording.map_or(&[][..], |recording| &recording.sources);
    v1::InputStatus {
        path: state.input.clone(),
        kind: match recording.map(|recording| recording.kind) {
            Some(decoder::InputKind::File) => "file",
            Some(decoder::InputKind::Folder) => "folder",
            Some(decoder::InputKind::Stream) | None => "stream",
        }
        .to_owned(),
        arch: recording
            .and_then(|recording| recording.features.arch())
            .unwrap_or_default()
            .to_owned(),
        sources: sources.iter().map(|source| source.as_str().to_owned()).collect(),
        state: doing.into(),
        failure: failure.to_owned(),
    }
}

pub(super) fn status(
    state: &State,
    snapshot: &Snapshot,
    capture: Option<v1::CaptureStatus>,
) -> v1::GetStatusResponse {
    let period = |ns: u64| (ns > 0).then(|| duration(ns));
    let coverage = snapshot.coverage.iter().map(|(cpu, coverage)| v1::CpuCoverage {
        cpu: *cpu,
        records: coverage.records,
        first_ns: coverage.times.first(),
        last_ns: coverage.times.last(),
    });
    v1::GetStatusResponse {
        ledger: Some(ledger(&snapshot.ledger, snapshot.incomplete())),
        inputs: vec![input(state, snapshot)],
        clock: Some(v1::ClockStatus {
            time_base: match snapshot.time_base() {
                decoder::TimeBase::Ns => "ns",
                decoder::TimeBase::Ticks => "ticks",
                decoder::TimeBase::None => "none",
            }
            .to_owned(),
            epoch_length: Some(duration(snapshot.epoch_ns)),
            epoch: snapshot.epoch,
            end_ns: snapshot.end_ns,
            newest_ns: snapshot.newest_ns,
            wall_driven: snapshot.wall_driven,
            cooling_interval: period(snapshot.cooling_ns),
            ttl: period(snapshot.ttl_ns),
        }),
        stalled: snapshot.state == InputState::Stalled,
        memory: Some(v1::MemoryStatus {
            used_bytes: snapshot.memory as u64,
            limit_bytes: snapshot.memory_limit as u64,
        }),
        uptime: Some(duration(
            u64::try_from(state.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        )),
        version: Some(version()),
        coverage: coverage.collect(),
        notes: snapshot.notes(),
        reason: snapshot.reason().unwrap_or_default(),
        watchers: 0,
        forgotten_folios: snapshot.forgotten,
        coolings: snapshot.coolings,
        hot_threshold: state.config.hot_threshold.get().into(),
        snapshot_time: snapshot.made.filter(|_| snapshot.is_ready()).map(timestamp),
        capture,
    }
}

/// How capturing goes, if the daemon does it.
pub(super) fn capture(state: &State) -> Option<v1::CaptureStatus> {
    let options = state.config.capture.as_ref()?;
    let progress = state.capture.load_full().unwrap_or_default();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Some(v1::CaptureStatus {
        event: options.event.to_string(),
        period: progress.period_now(),
        overhead: progress.overhead,
        max_overhead: options.max_overhead,
        cpus: count(progress.cpus),
        quiet_cpus: count(progress.quiet_cpus),
        unfollowed_cpus: count(progress.unfollowed_cpus),
        samples: progress.total.samples,
        aux_bytes: progress.total.aux_bytes,
        shared: progress.shared,
        gave_way: Some(duration(u64::try_from(progress.gave_way.as_nanos()).unwrap_or(u64::MAX))),
        waiting_for_cpu: progress.waiting_for,
        average_overhead: progress.average_overhead,
    })
}

/// Which program this is.
pub(super) fn version() -> v1::VersionStatus {
    v1::VersionStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("FOLIOSCOPE_COMMIT").unwrap_or_default().to_owned(),
        rustc: option_env!("FOLIOSCOPE_RUSTC").unwrap_or_default().to_owned(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    }
}
