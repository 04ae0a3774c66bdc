//! The daemon: takes a stream in and answers questions about it. The only code that knows gRPC
//! and HTTP.
//!
//! ```text
//! source (a thread that reads) -> live (counts) -> snapshot -> grpc, http, watch, metrics
//! ```
//!
//! [`State`] is what all listeners share. `run.rs` is the daemon's life from start to end.

mod answers;
mod config;
mod convert;
mod grpc;
mod http;
mod json;
mod listen;
mod metrics;
mod overview;
mod place;
mod run;
mod source;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

pub use config::{Config, Flags, Given};
pub use run::run;

use crate::live::{Latest, Snapshot};

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
    tls: listen::Tls,
    /// Decisions that several watchers share.
    decisions: watch::Shared,
    /// What is counted as it happens.
    metrics: metrics::Metrics,
    /// The distribution of a snapshot, by its sequence number.
    distribution: std::sync::Mutex<(u64, proto::v1::GetDistributionResponse)>,
    /// How capturing goes, if the input is what this host does.
    capture: arc_swap::ArcSwapOption<decoder::live::Progress>,
    /// How many streams of decisions there are.
    pub watchers: core::sync::atomic::AtomicUsize,
}

impl State {
    /// A daemon with these settings, which shows what is found at `latest`.
    fn new(config: Config, input: String, latest: Latest) -> anyhow::Result<Self> {
        Ok(Self {
            input,
            latest,
            started: Instant::now(),
            ending: CancellationToken::new(),
            published: tokio::sync::watch::Sender::new(0),
            decisions: watch::Shared::default(),
            metrics: metrics::Metrics::new(),
            distribution: std::sync::Mutex::default(),
            capture: arc_swap::ArcSwapOption::empty(),
            watchers: core::sync::atomic::AtomicUsize::new(0),
            tls: listen::tls(&config)?.map(|tls| Arc::new(arc_swap::ArcSwap::from_pointee(tls))),
            config,
        })
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.latest.load_full()
    }
}

/// Reads again what can be read again: certificates. What is wrong with them changes nothing.
fn reload(state: &State) {
    let read = listen::tls(&state.config);
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
