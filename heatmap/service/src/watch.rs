//! Streams of decisions: the state, then what changes of it.
//!
//! ```text
//! when a snapshot is published:
//!     decided = the decisions of it, made once for all who ask the same
//!     send what differs between the state that was sent last and this one
//! ```
//!
//! A watcher has the last state that it was sent and at most one message on its way. One that
//! reads slowly misses what lies between and gets the newest; one that does not read for
//! longer than its state is true is sent away. States are shared, so that what watchers keep is
//! bounded by how many states can be true at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use heatmap::ChunkOrder;
use prost_types::Timestamp;
use proto::v1;
use proto::v1::watch_decisions_response::Kind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::asked::order_and_threshold;
use super::convert;
use super::decided::{Decided, Question, difference};
use super::refusal::Refusal;
use super::state::State;

/// What a watcher reads.
pub(super) type Watch = ReceiverStream<Result<v1::WatchDecisionsResponse, Status>>;

/// Decisions in a message. Their counts make the largest ones.
const MAX_DECISIONS: usize = 1000;
/// Epochs for which a state is true.
const EPOCHS: u32 = 3;
/// The least time for which a state is true.
const LEAST: Duration = Duration::from_secs(3);
/// The order of decisions, where none is asked for.
const DEFAULT_ORDER: u32 = 2;

/// Starts a stream.
pub(super) fn watch(
    state: &Arc<State>,
    request: &v1::WatchDecisionsRequest,
) -> Result<Watch, Refusal> {
    let order = Some(request.order.unwrap_or(DEFAULT_ORDER));
    let (order, threshold) = order_and_threshold(
        order,
        ChunkOrder::default(),
        request.hot_threshold,
        state.config.hot_threshold,
    )?;
    let verdicts = convert::wanted_verdicts(&request.verdicts)?;
    let question = Question { order, threshold, verdicts, counts: request.include_counts };
    let place = Place::take(state)?;
    // One for a message on its way, one for how it ends.
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let Ok(last_word) = sender.clone().reserve_owned().await else { return };
        let mut watcher = Watcher { place, question, sender, sequence: 0 };
        if let Err(Some(refusal)) = watcher.run().await {
            last_word.send(Err(refusal.into()));
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// A place among the watchers.
struct Place(Arc<State>);

impl Place {
    fn take(state: &Arc<State>) -> Result<Self, Refusal> {
        let most = state.config.max_watchers;
        let one_more = |watchers: usize| (watchers < most).then_some(watchers + 1);
        state
            .watchers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_| Refusal::too_many(format!("there are {most} watchers already")))?;
        Ok(Self(Arc::clone(state)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Watcher {
    place: Place,
    question: Question,
    sender: mpsc::Sender<Result<v1::WatchDecisionsResponse, Status>>,
    sequence: u64,
}

/// Why a stream ends: for what reason, if it is not the reader who has gone.
type End = Option<Refusal>;

impl Watcher {
    /// Sends until somebody ends it.
    async fn run(&mut self) -> Result<(), End> {
        let state = Arc::clone(&self.place.0);
        let mut published = state.published.subscribe();
        let epoch = Duration::from_nanos(state.config.live.epoch_ns);
        let heartbeat = epoch.max(Duration::from_secs(1));
        let mut sent: Option<Arc<Decided>> = None;
        loop {
            if state.snapshot().is_ready() {
                let decided = self.decided().await?;
                match &sent {
                    None => {
                        let all = decided.decisions.clone();
                        self.send(Kind::Snapshot, &decided, all, Vec::new()).await?;
                    }
                    Some(before) => {
                        let (changed, removed) = difference(before, &decided);
                        let same = changed.is_empty() && removed.is_empty();
                        let kind = if same { Kind::Heartbeat } else { Kind::Changes };
                        self.send(kind, &decided, changed, removed).await?;
                    }
                }
                sent = Some(decided);
            }
            tokio::select! {
                () = state.ending.cancelled() => return Err(Some(Refusal::ending())),
                () = self.sender.closed() => return Err(None),
                changed = published.changed() => changed.map_err(|_| None)?,
                () = tokio::time::sleep(heartbeat) => {}
            }
        }
    }

    /// The decisions of the latest snapshot.
    async fn decided(&self) -> Result<Arc<Decided>, End> {
        let (state, question) = (Arc::clone(&self.place.0), self.question.clone());
        let work = tokio::task::spawn_blocking(move || state.decided(&question));
        work.await.map_err(|_| None)
    }

    /// Sends a state or a change, in as many messages as it takes.
    async fn send(
        &mut self,
        kind: Kind,
        decided: &Decided,
        mut decisions: Vec<v1::Decision>,
        removed: Vec<u64>,
    ) -> Result<(), End> {
        let state = Arc::clone(&self.place.0);
        let epoch = Duration::from_nanos(state.config.live.epoch_ns);
        let time = (epoch * EPOCHS).max(LEAST);
        decisions.sort_unstable_by_key(|decision| {
            (std::cmp::Reverse(decision.accesses), decision.folio_pfn)
        });
        let mut rest = decisions.into_iter().peekable();
        let mut removed = removed.into_iter().peekable();
        loop {
            self.sequence += 1;
            let message = v1::WatchDecisionsResponse {
                kind: kind.into(),
                sequence: self.sequence,
                epoch: decided.epoch,
                expires_at: Some(Timestamp::from(SystemTime::now() + time)),
                decisions: rest.by_ref().take(MAX_DECISIONS).collect(),
                removed_folio_pfns: removed.by_ref().take(MAX_DECISIONS).collect(),
                more: rest.peek().is_some() || removed.peek().is_some(),
                stale: decided.stale,
            };
            let more = message.more;
            tokio::select! {
                () = state.ending.cancelled() => return Err(Some(Refusal::ending())),
                sent = self.sender.send_timeout(Ok(message), time) => match sent {
                    Ok(()) => {}
                    Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(None),
                    Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                        let message = format!("nothing was read for {} s", time.as_secs());
                        return Err(Some(Refusal::too_many(message)));
                    }
                },
            }
            if !more {
                return Ok(());
            }
        }
    }
}
