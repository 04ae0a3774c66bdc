//! How the daemon is doing, as the interface tells it.

use heatmap::live::{InputState, Snapshot};
use proto::v1;

use super::convert::{duration, ledger, timestamp};
use super::state::State;

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
