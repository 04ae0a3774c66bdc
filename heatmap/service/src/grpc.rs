//! The gRPC listeners: `folioscope.v1.HeatmapService`, health and reflection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use proto::v1::{self, heatmap_service_server as server};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::answers;
use super::listen::{HTTP2, Incoming, Peer};
use super::place::Place;
use super::refusal::Refusal;
use super::state::State;
use super::watch::{self, Watch};

/// Bytes that a question may have.
const MAX_QUESTION: usize = 4 << 20;
/// Questions of one connection at a time.
const MAX_STREAMS: u32 = 128;
/// How often a connection is asked whether its other end is there, and how long that may answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Age at which a connection is given up, so that clients find new certificates; up to a part more,
/// so that not all listeners of many machines do so at once; then how long its answers may take.
const MAX_AGE: Duration = Duration::from_secs(3600);
const MAX_AGE_MORE: u32 = 8;
const MAX_AGE_GRACE: Duration = Duration::from_secs(60);
/// The longest that one question may take.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Listens for gRPC.
///
/// # Errors
/// If that is not possible at one of the places.
pub(super) async fn listen(
    places: Vec<Place>,
    state: &Arc<State>,
    tasks: &TaskTracker,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_not_serving::<server::HeatmapServiceServer<Service>>().await;
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    tasks.spawn(report_health(health, Arc::clone(state)));
    for place in places {
        let incoming = Incoming::listen(place, HTTP2, state, tasks).await?;
        tracing::info!(address = incoming.address(), "listening for gRPC");
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let service = server::HeatmapServiceServer::new(Service { state: Arc::clone(state) })
            .max_decoding_message_size(MAX_QUESTION);
        let router = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .max_concurrent_streams(MAX_STREAMS)
            .max_connection_age(MAX_AGE + jitter())
            .max_connection_age_grace(MAX_AGE_GRACE)
            .add_service(service)
            .add_service(health_service.clone())
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        let ending = state.ending.clone();
        tasks.spawn(async move {
            let served =
                router.serve_with_incoming_shutdown(connections(incoming), ending.cancelled());
            if let Err(error) = served.await {
                tracing::error!(%error, "a gRPC listener ended");
            }
        });
    }
    Ok(())
}

/// A random part of what connections may become older.
fn jitter() -> Duration {
    use core::hash::BuildHasher;
    // Seeded by the system.
    let random = std::hash::RandomState::new().hash_one(());
    let most = MAX_AGE / MAX_AGE_MORE;
    Duration::from_millis(random % u64::try_from(most.as_millis()).unwrap_or(1))
}

fn connections(
    incoming: Incoming,
) -> impl Stream<Item = Result<super::listen::Connection, std::io::Error>> {
    stream::unfold(incoming, |mut incoming| async {
        let connection = incoming.next().await?;
        Some((Ok(connection), incoming))
    })
}

/// Serving once there are answers, and not any more once the daemon ends.
async fn report_health(health: tonic_health::server::HealthReporter, state: Arc<State>) {
    let mut published = state.published.subscribe();
    loop {
        if state.snapshot().is_ready() {
            health.set_serving::<server::HeatmapServiceServer<Service>>().await;
            health.set_service_status("", tonic_health::ServingStatus::Serving).await;
            break;
        }
        tokio::select! {
            () = state.ending.cancelled() => break,
            changed = published.changed() => if changed.is_err() { break },
        }
    }
    state.ending.cancelled().await;
    health.set_not_serving::<server::HeatmapServiceServer<Service>>().await;
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
}

/// Answers questions.
#[derive(Clone, Debug)]
struct Service {
    state: Arc<State>,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(refusal.reason, "folioscope", std::collections::HashMap::new());
        if let Some(field) = refusal.field {
            details.add_bad_request_violation(field, refusal.message.clone());
        }
        if refusal.code == tonic::Code::Unavailable {
            details.set_retry_info(Some(Duration::from_secs(1)));
        }
        Self::with_error_details(refusal.code, refusal.message, details)
    }
}

/// Who asks.
fn peer<T>(request: &Request<T>) -> Peer {
    request.extensions().get().copied().unwrap_or(Peer::Network { certified: false })
}

/// How long whoever asks waits, a little less, so that our answer comes first.
fn time_left<T>(request: &Request<T>) -> Duration {
    let header = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let wanted = header.and_then(|text| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u64 = number.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(number.checked_mul(3600)?),
            "M" => Duration::from_secs(number.checked_mul(60)?),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    });
    wanted.map_or(MAX_TIME, |wanted| (wanted / 10 * 9).min(MAX_TIME))
}

impl Service {
    /// Answers a question about single folios that takes little time.
    fn quick<Q, A>(
        &self,
        method: &'static str,
        request: &Request<Q>,
        answer: impl FnOnce(&State, &Q) -> Result<A, Refusal>,
    ) -> Result<Response<A>, Status> {
        let started = Instant::now();
        let answer =
            self.check(peer(request)).and_then(|()| answer(&self.state, request.get_ref()));
        self.told(method, started, answer.map_err(Status::from))
    }

    /// Answers a question that may take long, where nobody else waits for it.
    async fn slow<Q: Send + 'static, A: Send + 'static>(
        &self,
        method: &'static str,
        request: Request<Q>,
        answer: impl FnOnce(&State, &Q) -> Result<A, Refusal> + Send + 'static,
    ) -> Result<Response<A>, Status> {
        let started = Instant::now();
        let (left, state) = (time_left(&request), Arc::clone(&self.state));
        let question = request.into_inner();
        let work = tokio::task::spawn_blocking(move || answer(&state, &question));
        let answer = match tokio::time::timeout(left, work).await {
            Err(_) => Err(Status::deadline_exceeded("the answer took too long")),
            Ok(Err(_)) => Err(Refusal::failed().into()),
            Ok(Ok(answer)) => answer.map_err(Status::from),
        };
        self.told(method, started, answer)
    }

    /// Takes note of an answer.
    fn told<A>(
        &self,
        method: &'static str,
        started: Instant,
        answer: Result<A, Status>,
    ) -> Result<Response<A>, Status> {
        let code = answer.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        self.state.metrics.answered(method, code, started.elapsed());
        answer.map(Response::new)
    }

    fn check(&self, peer: Peer) -> Result<(), Refusal> {
        if self.state.ending.is_cancelled() {
            return Err(Refusal::ending());
        }
        if peer.may_see_all(&self.state.config) { Ok(()) } else { Err(Refusal::not_allowed()) }
    }
}

#[tonic::async_trait]
impl server::HeatmapService for Service {
    async fn get_hot_fraction(
        &self,
        request: Request<v1::GetHotFractionRequest>,
    ) -> Result<Response<v1::GetHotFractionResponse>, Status> {
        self.quick("GetHotFraction", &request, answers::get_hot_fraction)
    }

    async fn batch_get_hot_fractions(
        &self,
        request: Request<v1::BatchGetHotFractionsRequest>,
    ) -> Result<Response<v1::BatchGetHotFractionsResponse>, Status> {
        self.check(peer(&request))?;
        self.slow("BatchGetHotFractions", request, answers::batch_get_hot_fractions).await
    }

    async fn get_folio(
        &self,
        request: Request<v1::GetFolioRequest>,
    ) -> Result<Response<v1::GetFolioResponse>, Status> {
        self.quick("GetFolio", &request, answers::get_folio)
    }

    async fn list_folios(
        &self,
        request: Request<v1::ListFoliosRequest>,
    ) -> Result<Response<v1::ListFoliosResponse>, Status> {
        self.check(peer(&request))?;
        self.slow("ListFolios", request, answers::list_folios).await
    }

    async fn get_distribution(
        &self,
        request: Request<v1::GetDistributionRequest>,
    ) -> Result<Response<v1::GetDistributionResponse>, Status> {
        self.slow("GetDistribution", request, answers::get_distribution).await
    }

    type WatchDecisionsStream = Watch;

    async fn watch_decisions(
        &self,
        request: Request<v1::WatchDecisionsRequest>,
    ) -> Result<Response<Watch>, Status> {
        self.quick("WatchDecisions", &request, |_, question| watch::watch(&self.state, question))
    }

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let may_see_all = peer(&request).may_see_all(&self.state.config);
        let started = Instant::now();
        self.told("GetStatus", started, Ok(answers::get_status(&self.state, may_see_all)))
    }
}
