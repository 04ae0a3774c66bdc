//! Everything that is measured, under the names that dashboards and alerts know. Labels have few
//! values, all of which are there from the start; nothing is told of single blocks.

use core::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use heatmap::incomplete::Reason;
use heatmap::live::InputState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::asked::Asked;
use super::state::State;
use super::{answers, status};

/// How an input can be doing.
const STATES: [&str; 5] = ["waiting", "running", "stalled", "ended", "failed"];

/// How an input is doing, as the interface names it.
pub(super) fn state_name(state: &InputState) -> &'static str {
    match state {
        InputState::Waiting => "waiting",
        InputState::Running => "running",
        InputState::Stalled => "stalled",
        InputState::Ended => "ended",
        InputState::Failed(_) => "failed",
    }
}

/// All metrics as OpenMetrics text.
pub(super) fn text(state: &Arc<State>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("folioscope");
    let metrics = &state.metrics;
    registry.register("requests", "Answers by method and code", metrics.answers.clone());
    registry.register_with_unit(
        "request_duration",
        "Time that answers took",
        Unit::Seconds,
        metrics.times.clone(),
    );
    registry.register_collector(Box::new(Snapshotted(Arc::downgrade(state))));
    let mut process = Registry::default();
    process.register_collector(Box::new(Process));
    let mut text = String::new();
    prometheus_client::encoding::text::encode_registry(&mut text, &registry)?;
    prometheus_client::encoding::text::encode_registry(&mut text, &process)?;
    prometheus_client::encoding::text::encode_eof(&mut text)?;
    Ok(text)
}

/// What the latest snapshot says.
#[derive(Debug)]
struct Snapshotted(Weak<State>);

/// Writes metrics one by one.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        rows: &[(&str, u64)],
    ) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in rows {
            ConstCounter::new(*count).encode(metric.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[(&[(&str, &str)], f64)]) -> fmt::Result {
        let kind = ConstGauge::new(0.0_f64).metric_type();
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in labels {
            ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
impl Collector for Snapshotted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(state) = self.0.upgrade() else { return Ok(()) };
        let snapshot = state.snapshot();
        let ledger = &snapshot.ledger;
        let mut writer = Writer(encoder);
        let version = status::version();
        writer.gauges(
            "build_info",
            "Which program this is",
            &[(
                &[
                    ("version", &version.version),
                    ("target", &version.target),
                    ("revision", &version.commit),
                ],
                1.0,
            )],
        )?;
        writer.counters(
            "records",
            "Sampled operations by what became of them. What over_budget has was counted at first, \
             and is among counted; the others' sum is all that were read",
            "kind",
            &[
                // A counter must not go down when memory is taken back.
                ("counted", ledger.counted + ledger.over_budget),
                ("guest_address", ledger.guest_address),
                ("no_physical_address", ledger.no_physical_address),
                ("lookup_failed", ledger.lookup_failed),
                ("not_memory", ledger.not_memory),
                ("filtered", ledger.filtered),
                ("over_budget", ledger.over_budget),
            ],
        )?;
        writer.counters(
            "aux_bytes",
            "Bytes of AUX data by what they are; their sum is all that were read",
            "kind",
            &[
                ("record", ledger.record_bytes),
                ("padding", ledger.padding_bytes),
                ("skipped", ledger.skipped_bytes),
                ("cut_off", ledger.cut_off_bytes),
            ],
        )?;
        for (name, help, value) in [
            (
                "foreign_aux_bytes",
                "AUX data of tracers that are not decoded",
                ledger.foreign_aux_bytes,
            ),
            ("overlap_bytes", "AUX data that came twice", ledger.overlap_bytes),
            (
                "aux_missing_bytes",
                "AUX data that was announced and did not come",
                ledger.aux_missing_bytes,
            ),
            (
                "looked_up",
                "Memory operations whose physical address was looked up and found",
                ledger.looked_up,
            ),
            ("lookup_gone", "Lookups that failed: the process had ended", ledger.lookup_gone),
            (
                "lookup_not_present",
                "Lookups that failed: nothing was present at the virtual address",
                ledger.lookup_not_present,
            ),
            (
                "lookup_hidden",
                "Lookups that failed: the kernel hides frames without CAP_SYS_ADMIN",
                ledger.lookup_hidden,
            ),
            (
                "guest_accesses",
                "Memory operations of virtual machines, whatever became of them",
                ledger.guest_accesses,
            ),
            (
                "not_address_events",
                "Sample records of events that never have a data address",
                ledger.not_address_events,
            ),
            ("late", "Accesses counted in a later epoch than their own", ledger.late),
            ("tid_unknown", "Memory operations whose thread is not known", ledger.tid_unknown),
            ("not_retired", "Operations that did not retire", ledger.not_retired),
            ("aux_truncated", "AUX records with the flag TRUNCATED", ledger.aux_truncated),
            ("aux_collision", "AUX records with the flag COLLISION", ledger.aux_collision),
            ("aux_partial", "AUX records with the flag PARTIAL", ledger.aux_partial),
            ("lost_records", "Sum of LOST records", ledger.lost_records),
            ("lost_samples", "Sum of LOST_SAMPLES records", ledger.lost_samples),
            (
                "throttled",
                "Times that the kernel stopped sampling on a CPU until its next tick",
                ledger.throttled,
            ),
            (
                "saturated_counters",
                "Pages whose counter has reached its greatest value",
                ledger.saturated_counters,
            ),
            ("lost", "Records that the kernel lost, by the greater of its two counts", ledger.lost),
            (
                "forgotten_folios",
                "Blocks that had no accesses for the time to live",
                snapshot.forgotten,
            ),
            ("coolings", "Cooling intervals that have ended", snapshot.coolings),
        ] {
            writer.counter(name, help, value)?;
        }
        writer.gauge(
            "memory_bytes",
            "Memory that counters take, snapshots included",
            snapshot.memory as f64,
        )?;
        writer.gauge(
            "memory_limit_bytes",
            "Memory that counters may take",
            snapshot.memory_limit as f64,
        )?;
        writer.gauge(
            "watchers",
            "Streams of decisions",
            state.watchers.load(core::sync::atomic::Ordering::Relaxed) as f64,
        )?;
        writer.gauge("epoch_seconds", "Length of an epoch", snapshot.epoch_ns as f64 / 1e9)?;
        let lag = snapshot
            .newest_ns
            .zip(snapshot.end_ns)
            .map_or(0, |(newest, end)| newest.saturating_sub(end));
        writer.gauge(
            "epoch_lag_seconds",
            "Time of the trace's clock by which the newest record is ahead of the last epoch",
            lag as f64 / 1e9,
        )?;
        let is_ready = snapshot.is_ready() && !state.ending.is_cancelled();
        writer.gauge("ready", "Whether answers say something", f64::from(u8::from(is_ready)))?;
        let made = snapshot.made.filter(|_| snapshot.is_ready());
        writer.gauge(
            "snapshot_timestamp_seconds",
            "When the latest snapshot was made",
            seconds(made),
        )?;
        let (worked, when) = *state.metrics.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
        writer.gauge(
            "reload_success",
            "Whether certificates could be read the last time",
            f64::from(u8::from(worked)),
        )?;
        writer.gauge(
            "reload_timestamp_seconds",
            "When certificates were read the last time",
            seconds(Some(when)),
        )?;
        if let Some(capture) = status::capture(&state) {
            capturing(&mut writer, &capture)?;
        }
        let now = state_name(&snapshot.state);
        let labels = STATES.map(|name| [("state", name)]);
        let rows: Vec<(&[(&str, &str)], f64)> = labels
            .iter()
            .map(|labels| (&labels[..], f64::from(u8::from(labels[0].1 == now))))
            .collect();
        writer.gauges("input_state", "How the input is doing: 1 for what holds", &rows)?;
        let incomplete = snapshot.incomplete();
        let labels = Reason::NAMES.map(|name| [("reason", name)]);
        let rows: Vec<(&[(&str, &str)], f64)> = labels
            .iter()
            .map(|labels| {
                let holds = incomplete.iter().any(|reason| reason.name() == labels[0].1);
                (&labels[..], f64::from(u8::from(holds)))
            })
            .collect();
        writer.gauges(
            "recording_incomplete",
            "Why the input does not hold all that happened: 1 for what holds",
            &rows,
        )?;
        let distribution = state.distributed(&snapshot);
        let verdicts = distribution.verdicts.unwrap_or_default();
        let counts = [
            ("hot", verdicts.hot),
            ("sparse", verdicts.sparse),
            ("undersampled", verdicts.undersampled),
            ("filtered", verdicts.filtered),
            ("unsplittable", verdicts.unsplittable),
        ];
        let labels = counts.map(|(name, _)| [("verdict", name)]);
        let rows: Vec<(&[(&str, &str)], f64)> = labels
            .iter()
            .zip(counts)
            .map(|(labels, (_, count))| (&labels[..], count as f64))
            .collect();
        writer.gauges("folios", "Blocks with accesses, by verdict", &rows)?;
        for (name, help, value) in [
            ("visits", "Accesses that are evidence of their own, as present", distribution.visits),
            (
                "folios_proposable",
                "Blocks that are sparse, may be huge pages that can be split, and have a small \
                 cold share",
                distribution.proposable,
            ),
            (
                "folios_proposed",
                "Blocks that are proposable and steady: those that may be acted on",
                distribution.proposed,
            ),
            (
                "folios_left_out",
                "Blocks of which recording or query left out something",
                distribution.left_out,
            ),
        ] {
            writer.gauges(name, help, &[(&[], value as f64)])?;
        }
        Ok(())
    }
}

/// How capturing goes, where the daemon does it.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
fn capturing(writer: &mut Writer<'_>, capture: &proto::v1::CaptureStatus) -> fmt::Result {
    for (name, help, value) in [
        (
            "capture_overhead_ratio",
            "Part of the recorded CPUs' time that capturing took in the last second",
            capture.overhead,
        ),
        (
            "capture_average_overhead_ratio",
            "The same on average since capturing began",
            capture.average_overhead,
        ),
        (
            "capture_max_overhead_ratio",
            "Part that it may take; 1 without a limit",
            capture.max_overhead.unwrap_or(1.0),
        ),
        ("capture_period", "Events between two samples", capture.period as f64),
        ("capture_cpus", "CPUs that are recorded", capture.cpus.into()),
        (
            "capture_quiet_cpus",
            "CPUs of which no AUX data has come since they were told to publish it",
            capture.quiet_cpus.into(),
        ),
        (
            "capture_unfollowed_cpus",
            "CPUs that came online and could not be recorded",
            capture.unfollowed_cpus.into(),
        ),
        (
            "capture_unit_share_ratio",
            "Part of the time that the unit worked for us and not for somebody else",
            capture.shared.unwrap_or(1.0),
        ),
        (
            "capture_waiting",
            "Whether the unit is waited for, since somebody else has it",
            f64::from(u8::from(capture.waiting_for_cpu.is_some())),
        ),
    ] {
        writer.gauge(name, help, value)?;
    }
    writer.counter("capture_samples", "Sample records that came", capture.samples)?;
    writer.counter("capture_aux_bytes", "Bytes of AUX data that came", capture.aux_bytes)
}

impl State {
    /// The distribution of a snapshot at the daemon's order and threshold, made once for each.
    fn distributed(
        &self,
        snapshot: &Arc<heatmap::live::Snapshot>,
    ) -> proto::v1::GetDistributionResponse {
        let mut known = self.distribution.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != snapshot.sequence {
            let asked =
                Asked::of(Arc::clone(snapshot), self.config.order, self.config.hot_threshold);
            *known = (snapshot.sequence, answers::distribution(&asked));
        }
        known.1.clone()
    }
}

fn seconds(time: Option<SystemTime>) -> f64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// What the system says of this process.
#[derive(Debug)]
struct Process;

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in brackets may have blanks.
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<f64> =
            rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let cpu = ConstCounter::new((field(14) + field(15)) / ticks);
        cpu.encode(writer.0.encode_descriptor(
            "process_cpu_seconds",
            "Time that processors spent on it",
            None,
            cpu.metric_type(),
        )?)?;
        writer.gauge(
            "process_resident_memory_bytes",
            "Memory that it has",
            field(24) * rustix::param::page_size() as f64,
        )?;
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        writer.gauge("process_open_fds", "Descriptors that it has open", open as f64)?;
        let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot =
            boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        writer.gauge(
            "process_start_time_seconds",
            "When it started",
            boot.unwrap_or(0.0) + field(22) / ticks,
        )
    }
}
