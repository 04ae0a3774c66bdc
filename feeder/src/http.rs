//! Health and metrics of the feeder, by HTTP. Nothing here tells of a block.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use client::Address;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::decision::{Refusal, Tally};
use crate::sink::Figures;

/// How the feeder is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What its sink has done.
    pub figures: Figures,
    /// Why nothing new is proposed; none if it is.
    pub holding: Option<String>,
    /// The number of the epoch of the decisions that came last.
    pub epoch: u64,
    /// When decisions were known to be true the last time.
    pub last_true: Option<SystemTime>,
    /// How often decisions were lost.
    pub losses: u64,
    /// What of the decisions may be acted on.
    pub tally: Tally,
    /// Schemes of others run that split what has no entry.
    pub foreign_split: bool,
}

/// A status that several threads share.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Status>>);

impl Shared {
    /// The status.
    pub fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it is not ready: it has no true decisions, or receipts fail.
    fn not_ready(&self) -> Option<String> {
        let status = self.lock();
        match &status.holding {
            Some(why) => Some(why.clone()),
            None if status.figures.failing => Some("receipts prove nothing".to_owned()),
            None if status.last_true.is_none() => Some("no decisions have come yet".to_owned()),
            None => None,
        }
    }
}

/// Listens at an address, which is opened before this returns.
///
/// # Errors
/// The address cannot be listened at, or other machines reach it.
pub async fn listen(address: &Address, shared: Shared) -> anyhow::Result<()> {
    ensure!(
        address.is_local(),
        "{address}: the feeder's metrics are for this machine alone: take unix:PATH or \
         tcp:127.0.0.1:PORT"
    );
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    let failed = || format!("{address}: cannot listen");
    match address {
        Address::Tcp(host, port) => {
            let listener = tokio::net::TcpListener::bind((host.as_str(), *port)).await;
            let listener = listener.with_context(failed)?;
            tracing::info!("listening at tcp:{}", listener.local_addr().with_context(failed)?);
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Address::Unix(path) => {
            // What one that was killed has left; where somebody answers it stays.
            if std::os::unix::net::UnixStream::connect(path).is_err() {
                use std::os::unix::fs::FileTypeExt;
                let is_socket =
                    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
                if is_socket {
                    std::fs::remove_file(path).with_context(failed)?;
                }
            }
            let listener = tokio::net::UnixListener::bind(path).with_context(failed)?;
            tracing::info!("listening at {address}");
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
    }
    Ok(())
}

async fn ready(State(shared): State<Shared>) -> Response {
    match shared.not_ready() {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match text(&shared) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// All metrics as OpenMetrics text.
///
/// # Errors
/// None that is known: writing to a string does not fail.
pub fn text(shared: &Shared) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("folioscope_feeder");
    registry.register_collector(Box::new(Collected(shared.clone())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Collected(Shared);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.lock().clone();
        let figures = &status.figures;
        let counter_of = |value: u64| ConstCounter::new(value);
        let mut counter = |name: &str, help: &str, label: &str, rows: &[(&str, u64)]| {
            let kind = counter_of(0).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (value, count) in rows {
                if label.is_empty() {
                    counter_of(*count).encode(metric)?;
                    return Ok(());
                }
                counter_of(*count).encode(metric.encode_family(&[(label, *value)])?)?;
            }
            Ok::<_, fmt::Error>(())
        };
        counter(
            "writes",
            "Writes into the kernel by what they are for",
            "kind",
            &[("proposal", figures.proposals), ("renewal", figures.renewals)],
        )?;
        counter(
            "written",
            "Writes into the kernel by what is known to have become of them",
            "fate",
            &[
                ("proven", figures.proven),
                ("lost", figures.lost),
                ("unconfirmed", figures.unconfirmed),
            ],
        )?;
        counter(
            "receipts",
            "Looks at the kernel's totals by what they said",
            "result",
            &[("confirmed", figures.receipts), ("mismatch", figures.mismatches)],
        )?;
        let one = |value| [("", value)];
        counter("lapses", "Leases that were not renewed in time", "", &one(figures.lapses))?;
        counter("losses", "How often decisions were lost", "", &one(status.losses))?;
        counter(
            "applied_bytes",
            "Bytes that our scheme was applied to, each time it was",
            "",
            &one(figures.applied_bytes),
        )?;
        let truth = |is: bool| f64::from(u8::from(is));
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
        let number = |value: u64| value as f64;
        let margin = figures.margin.map_or(f64::NAN, |margin| margin.as_secs_f64());
        let since = status.last_true.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        for (name, help, value) in [
            ("leases", "Entries that are kept alive", number(figures.leases)),
            ("entries", "Entries of ours in the kernel", number(figures.entries)),
            ("strangers", "Entries of others in the kernel", number(figures.strangers)),
            ("unplaced", "Folios that found no place", number(figures.unplaced)),
            (
                "split_unproven",
                "Folios that are not proven to be sparse, and that the kernel will split",
                number(figures.split_unproven),
            ),
            ("acted_on", "Folios that our scheme acts on", number(figures.acted_on)),
            ("lease_margin_seconds", "Time until the first lease may lapse", margin),
            ("receipts_failing", "Receipts prove nothing", truth(figures.failing)),
            ("holding", "Nothing new is proposed", truth(status.holding.is_some())),
            (
                "split_on_death",
                "A scheme of others splits the folios of all leases when this program is gone",
                truth(status.foreign_split && figures.leases > 0),
            ),
            ("sparse", "Sparse folios that may be acted on", number(status.tally.admitted)),
            (
                "sparse_unverified",
                "Sparse folios that may be acted on, after one look",
                number(status.tally.unverified),
            ),
            ("epoch", "Number of the epoch of the decisions", number(status.epoch)),
            (
                "decisions_timestamp_seconds",
                "When decisions were known to be true the last time",
                since.map_or(0.0, |since| since.as_secs_f64()),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let kind = ConstGauge::new(0.0).metric_type();
        let help = "Sparse folios that are not acted on, by why";
        let mut refused = encoder.encode_descriptor("sparse_refused", help, None, kind)?;
        for (refusal, count) in Refusal::ALL.into_iter().zip(status.tally.refused) {
            let reason = [("reason", refusal.name())];
            ConstGauge::new(number(count)).encode(refused.encode_family(&reason)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn metrics_have_their_names_and_values() {
        let shared = Shared::default();
        {
            let mut status = shared.lock();
            status.figures.margin = Some(Duration::from_millis(2500));
            (status.figures.leases, status.losses, status.foreign_split) = (7, 3, true);
            status.last_true = Some(UNIX_EPOCH + Duration::from_secs(60));
        }
        let text = text(&shared).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let values = [
            ("leases", "7.0"),
            ("losses_total", "3"),
            ("split_on_death", "1.0"),
            ("lease_margin_seconds", "2.5"),
            ("decisions_timestamp_seconds", "60.0"),
            ("written_total{fate=\"lost\"}", "0"),
        ];
        for (name, value) in values {
            let line = format!("\nfolioscope_feeder_{name} {value}\n");
            assert!(text.contains(&line), "no {line:?} in {text}");
        }
        // Nothing is told of single blocks. deploy/check takes the names from here.
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut series: Vec<_> =
            samples.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        series.sort_unstable();
        let mut types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        types.sort_unstable();
        insta::assert_snapshot!("metrics", [types, series].concat().join("\n"));
    }

    #[test]
    fn it_is_ready_once_it_has_decisions_that_are_true() {
        let shared = Shared::default();
        assert_eq!(shared.not_ready().as_deref(), Some("no decisions have come yet"));
        shared.lock().last_true = Some(SystemTime::now());
        assert_eq!(shared.not_ready(), None);
        shared.lock().figures.failing = true;
        assert_eq!(shared.not_ready().as_deref(), Some("receipts prove nothing"));
        shared.lock().holding = Some("the daemon has gone".to_owned());
        assert_eq!(shared.not_ready().as_deref(), Some("the daemon has gone"));
    }
}
