//! What all listeners share.

use std::sync::Arc;
use std::time::Instant;

use heatmap::live::{Latest, Snapshot};
use tokio_util::sync::CancellationToken;

use super::asked::Asked;
use super::config::Config;
use super::decided::{Decided, DecidedByQuestion, Question};
use super::refusal::Refusal;
use super::request_counts::Metrics;
use super::tls::{self, Tls};

/// What all listeners share.
#[derive(Debug)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The input as it is shown.
    pub input: String,
    /// Where the latest snapshot is found.
    latest: Latest,
    /// When the daemon started.
    pub started: Instant,
    /// Cancelled when the daemon is to end: listeners stop, streams end.
    pub ending: CancellationToken,
    /// Announces every new snapshot by its sequence number.
    pub published: tokio::sync::watch::Sender<u64>,
    /// TLS of TCP listeners.
    pub(super) tls: Tls,
    /// Decisions that several watchers share.
    decisions: DecidedByQuestion,
    /// What is counted as it happens.
    pub(super) metrics: Metrics,
    /// The distribution of a snapshot, by its sequence number.
    pub(super) distribution: std::sync::Mutex<(u64, proto::v1::GetDistributionResponse)>,
    /// How capturing goes, if the input is what this host does.
    pub(super) capture: arc_swap::ArcSwapOption<decoder::live::Progress>,
    /// How many streams of decisions there are.
    pub watchers: core::sync::atomic::AtomicUsize,
}

impl State {
    /// A daemon with these settings, which shows what is found at `latest`.
    pub(super) fn new(config: Config, input: String, latest: Latest) -> anyhow::Result<Self> {
        Ok(Self {
            input,
            latest,
            started: Instant::now(),
            ending: CancellationToken::new(),
            published: tokio::sync::watch::Sender::new(0),
            decisions: DecidedByQuestion::default(),
            metrics: Metrics::new(),
            distribution: std::sync::Mutex::default(),
            capture: arc_swap::ArcSwapOption::empty(),
            watchers: core::sync::atomic::AtomicUsize::new(0),
            tls: tls::read(&config)?.map(|tls| Arc::new(arc_swap::ArcSwap::from_pointee(tls))),
            config,
        })
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.latest.load_full()
    }

    /// The latest snapshot, judged as it is asked for.
    ///
    /// # Errors
    /// If the question is wrong, or the snapshot cannot answer.
    pub(super) fn asked(
        &self,
        order: Option<u32>,
        threshold: Option<u32>,
    ) -> Result<Asked, Refusal> {
        Asked::new(self.snapshot(), order, threshold, self.config.hot_threshold)
    }

    /// The decisions of the latest snapshot.
    pub(super) fn decided(&self, question: &Question) -> Arc<Decided> {
        self.decisions.latest(&self.latest, question)
    }
}

/// Reads again what can be read again: certificates. What is wrong with them changes nothing.
pub(super) fn reload(state: &State) {
    let read = tls::read(&state.config);
    state.metrics.reloaded(read.is_ok());
    match (read, &state.tls) {
        (Ok(Some(fresh)), Some(tls)) => {
            tls.store(Arc::new(fresh));
            tracing::info!("certificates were read again; other settings need a restart");
        }
        (Ok(_), _) => tracing::info!("nothing is read again: settings need a restart"),
        (Err(error), _) => tracing::error!("certificates stay as they were: {error:#}"),
    }
}
