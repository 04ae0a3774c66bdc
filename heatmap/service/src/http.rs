//! The HTTP listeners: health, metrics, the JSON twins of the interface, events, and the page.
//!
//! | path | for | to whom |
//! | --- | --- | --- |
//! | `/livez`, `/readyz` | health checks | all who reach the listener |
//! | `/metrics` | Prometheus | all who reach the listener |
//! | `/` | people | token, or rights |
//! | `/api/v1/METHOD` | programs | token, or rights |
//! | `/api/v1/overview` | the page: all blocks, a few numbers of each | token, or rights |
//! | `/api/v1/events` | the page: an event for each snapshot | token, or rights |

mod hosts;
#[cfg(test)]
mod tests;
mod token;

use core::convert::Infallible;
use core::pin::pin;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Path as UrlPath, Query, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use client::Address;
use futures_util::{Stream, stream};
use heatmap::live::Snapshot;
use heatmap::{ChunkOrder, HotThreshold};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use prost::Message;
use serde_json::json;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

use self::hosts::Hosts;
use super::listen::{Connection, Incoming, Peer};
use super::overview::{self, MapPart};
use super::place::Place;
use super::refusal::Refusal;
use super::state::State;
use super::{answers, json, metrics, request_counts};

/// How long an answer may take.
const MAX_TIME: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long a connection may be idle. Longer than
/// Prometheus waits between two questions.
const MAX_HEAD_TIME: Duration = Duration::from_secs(20);
/// How long a connection may live: one whose client reads nothing is in the way of others.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How long connections have to end.
const DRAIN: Duration = Duration::from_secs(2);
/// How often a stream of events shows that it is alive.
const ALIVE: Duration = Duration::from_secs(15);
/// Streams of events at a time.
const MAX_EVENTS: usize = 64;
/// The page's parts, by path.
const ASSETS: [(&str, &str, &[u8]); 4] = [
    ("/icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
    ("/", "text/html; charset=utf-8", include_bytes!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_bytes!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_bytes!("page/page.js")),
];

/// What the handlers share.
struct Http {
    state: Arc<State>,
    token: String,
    events: AtomicUsize,
    hosts: Hosts,
    /// The latest overview that was asked for, for the next who asks for the same.
    overview: Mutex<Option<(View, Arc<str>)>>,
    /// Name of the cookie that keeps the token once the page was opened with it. Browsers do not
    /// tell ports apart, and daemons on several ports must not take each other's.
    cookie: String,
    /// Browsers send the cookie over TLS only.
    is_tls: bool,
}

type App = Arc<Http>;

/// What an overview is of: a snapshot by its number, order, threshold, and a part of memory.
type View = (u64, ChunkOrder, HotThreshold, MapPart);

/// Listens for HTTP.
///
/// # Errors
/// If that is not possible at one of the places, or the token cannot be kept.
pub(super) async fn listen(
    places: Vec<Place>,
    state: &Arc<State>,
    tasks: &TaskTracker,
) -> anyhow::Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let token = token::read_or_make(state.config.http_token_file.as_deref())?;
    for place in places {
        let address = place.address()?;
        let incoming = Incoming::listen(place, b"http/1.1", state, tasks).await?;
        let shown = incoming.address().to_owned();
        tracing::info!(address = %shown, "listening for HTTP");
        let is_tls = state.tls.is_some() && matches!(address, Address::Tcp(..));
        let mut cookie = "folioscope_token".to_owned();
        if let Some(place) = shown.strip_prefix("tcp:") {
            let scheme = if is_tls { "https" } else { "http" };
            let port = place.rsplit(':').next().unwrap_or_default();
            cookie = format!("{cookie}_{port}");
            // Whether it can be read or not: there may be no room for it.
            let _ = writeln!(std::io::stderr(), "the page: {scheme}://{place}/?token={token}");
        }
        let app = Http {
            state: Arc::clone(state),
            token: token.clone(),
            events: AtomicUsize::new(0),
            overview: Mutex::default(),
            hosts: Hosts::new(&address, &shown, &state.config.http_hosts),
            cookie,
            is_tls,
        };
        tasks.spawn(serve(incoming, Arc::new(app), tasks.clone()));
    }
    Ok(())
}

/// Serves connections until the daemon ends.
async fn serve(mut incoming: Incoming, app: App, tasks: TaskTracker) {
    let ending = app.state.ending.clone();
    let router = router(app);
    loop {
        let connection = tokio::select! {
            () = ending.cancelled() => break,
            connection = incoming.next() => connection,
        };
        let Some(connection) = connection else { break };
        let (router, ending) = (router.clone(), ending.clone());
        tasks.spawn(async move {
            let ends = async {
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = tokio::time::sleep(MAX_AGE) => {}
                }
            };
            if let Err(error) = converse(connection, router, ends).await {
                tracing::debug!(%error, "an HTTP connection broke");
            }
        });
    }
}

/// Serves one connection, until `ends` asks it to end.
async fn converse(
    connection: Connection,
    router: Router,
    ends: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let peer = connection.peer;
    let service = hyper::service::service_fn(move |mut request| {
        hyper::Request::extensions_mut(&mut request).insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut conversation = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(MAX_HEAD_TIME)
            .serve_connection(TokioIo::new(connection), service)
    );
    tokio::select! {
        result = conversation.as_mut() => return result,
        () = ends => conversation.as_mut().graceful_shutdown(),
    }
    // One that hangs is cut off.
    tokio::time::timeout(DRAIN, conversation).await.unwrap_or(Ok(()))
}

fn router(app: App) -> Router {
    let guarded = Router::new()
        .route("/api/v1/events", get(events))
        .route("/api/v1/overview", get(glance))
        .route("/api/v1/{method}", get(method))
        .fallback(asset)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), admit));
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measured))
        .merge(guarded)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, MAX_TIME))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), manners))
        .with_state(app)
}

/// What holds for every request: it only reads, it is addressed to us, and its answer says what a
/// browser may do with it.
async fn manners(Shared(app): Shared<App>, request: Request, next: Next) -> Response {
    let mut response = if request.method() != Method::GET && request.method() != Method::HEAD {
        let allow = [(header::ALLOW, "GET, HEAD")];
        (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET and HEAD\n").into_response()
    } else if !is_for_us(&app, &request) {
        let text = "this name is not one of the daemon's: --http-host adds it\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a request is addressed to one of our names. A page of somebody else's can make a browser
/// ask us by a name of its own.
fn is_for_us(app: &Http, request: &Request) -> bool {
    if let Some(ConnectInfo(Peer::Process { .. })) = request.extensions().get() {
        return true;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // Where the URL names a host, that one counts.
    let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
    host.is_some_and(|host| app.hosts.has(host))
}

/// Whether a request has the token, and whether it has it in its URL.
fn has_token(app: &Http, request: &Request) -> (bool, bool) {
    let pairs = pairs(request.uri().query().unwrap_or_default());
    let in_url = pairs.iter().find(|(name, _)| name == "token").map(|(_, value)| value.as_str());
    let text =
        |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookie = text(header::COOKIE).and_then(|cookies| {
        let mut cookies = cookies.split(';').map(str::trim);
        cookies.find_map(|cookie| cookie.strip_prefix(&app.cookie)?.strip_prefix('='))
    });
    let is_token = |given: &str| token::is_same(given, &app.token);
    let any = [in_url, bearer, cookie].into_iter().flatten().any(is_token);
    (any, in_url.is_some_and(is_token))
}

/// Lets in who has the token or the rights.
async fn admit(Shared(app): Shared<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0);
    let (has_token, in_url) = has_token(&app, &request);
    if !has_token && !peer.is_some_and(|peer| peer.may_see_all(&app.state.config)) {
        let message = "open the address that the daemon printed at its start: it has the token";
        return problem(&Refusal::not_allowed_because(message));
    }
    let mut response = next.run(request).await;
    let secure = if app.is_tls { "; Secure" } else { "" };
    let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/{secure}", app.cookie, app.token);
    if let Some(cookie) = HeaderValue::from_str(&cookie).ok().filter(|_| in_url) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The parameters of a URL.
fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

async fn readyz(
    Shared(app): Shared<App>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let snapshot = app.state.snapshot();
    let mut reasons = Vec::new();
    if app.state.ending.is_cancelled() {
        reasons.push("the daemon is ending".to_owned());
    }
    if !snapshot.is_ready() {
        reasons.push("no epoch has closed yet".to_owned());
    }
    let (status, mut text) = if reasons.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    };
    if parameters.iter().any(|(name, _)| name == "verbose") {
        text += &format!("input {:?}, epoch {:?}\n", snapshot.state, snapshot.epoch);
    }
    (status, text).into_response()
}

async fn measured(Shared(app): Shared<App>) -> Response {
    let state = Arc::clone(&app.state);
    match tokio::task::spawn_blocking(move || metrics::text(&state)).await {
        Ok(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The status of a refusal.
fn status(code: tonic::Code) -> StatusCode {
    match code {
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => StatusCode::BAD_REQUEST,
        tonic::Code::NotFound => StatusCode::NOT_FOUND,
        tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
        tonic::Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        tonic::Code::FailedPrecondition | tonic::Code::Aborted => StatusCode::CONFLICT,
        tonic::Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        tonic::Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal as JSON.
fn problem(refusal: &Refusal) -> Response {
    let status = status(refusal.code);
    let body = json!({
        "title": refusal.message,
        "status": status.as_u16(),
        "code": request_counts::name(refusal.code),
        "reason": refusal.reason,
        "field": refusal.field,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string() + "\n").into_response()
}

/// A method of the interface, answered in JSON.
async fn method(
    Shared(app): Shared<App>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Response {
    let parameters = pairs(request.uri().query().unwrap_or_default());
    let Some(method) = request_counts::METHODS
        .into_iter()
        .find(|known| *known == name && name != "WatchDecisions")
    else {
        return (StatusCode::NOT_FOUND, "no such method\n").into_response();
    };
    let state = Arc::clone(&app.state);
    let started = Instant::now();
    let work = tokio::task::spawn_blocking(move || answer(&state, method, &parameters));
    let answer = work.await.unwrap_or_else(|_| Err(Refusal::failed()));
    let code = answer.as_ref().err().map_or(tonic::Code::Ok, |refusal| refusal.code);
    app.state.metrics.answered(method, code, started.elapsed());
    match answer {
        Ok(value) => {
            ([(header::CONTENT_TYPE, "application/json")], value.to_string() + "\n").into_response()
        }
        Err(refusal) => problem(&refusal),
    }
}

fn answer(
    state: &State,
    method: &str,
    parameters: &[(String, String)],
) -> Result<serde_json::Value, Refusal> {
    fn ask<Q: Message + Default, A: Message>(
        method: &str,
        parameters: &[(String, String)],
        answer: impl FnOnce(&Q) -> Result<A, Refusal>,
    ) -> Result<serde_json::Value, Refusal> {
        let question = json::question(&format!("{method}Request"), parameters)
            .map_err(|(field, why)| Refusal::wrong_parameter(&field, &why))?;
        Ok(json::of(&format!("{method}Response"), &answer(&question)?))
    }
    match method {
        "GetHotFraction" => ask(method, parameters, |q| answers::get_hot_fraction(state, q)),
        "BatchGetHotFractions" => {
            ask(method, parameters, |q| answers::batch_get_hot_fractions(state, q))
        }
        "GetFolio" => ask(method, parameters, |q| answers::get_folio(state, q)),
        "ListFolios" => ask(method, parameters, |q| answers::list_folios(state, q)),
        "GetDistribution" => ask(method, parameters, |q| answers::get_distribution(state, q)),
        _ => ask(method, parameters, |_: &proto::v1::GetStatusRequest| {
            Ok(answers::get_status(state, true))
        }),
    }
}

/// All blocks at a glance.
async fn glance(Shared(app): Shared<App>, request: Request) -> Response {
    let parameters = pairs(request.uri().query().unwrap_or_default());
    let work = tokio::task::spawn_blocking(move || glanced(&app, parameters));
    match work.await.unwrap_or_else(|_| Err(Refusal::failed())) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
        }
        Err(refusal) => problem(&refusal),
    }
}

fn glanced(app: &Http, parameters: Vec<(String, String)>) -> Result<Arc<str>, Refusal> {
    let (ours, fields): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| name == "cells");
    let mut part = MapPart::default();
    for (_, text) in ours {
        let cells = text.parse().ok().filter(|cells| (1..=overview::MOST_CELLS).contains(cells));
        let expected = format!("expected 1 to {}", overview::MOST_CELLS);
        part.cells = cells.ok_or_else(|| Refusal::wrong("cells", expected))?;
    }
    let known = ["order", "hot_threshold", "first_pfn", "last_pfn", "token"];
    if let Some((name, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(Refusal::wrong_parameter(name, "an overview has no such field"));
    }
    let asked: proto::v1::ListFoliosRequest = json::question("ListFoliosRequest", &fields)
        .map_err(|(field, why)| Refusal::wrong_parameter(&field, &why))?;
    part.first = answers::folio_of_pfn("first_pfn", asked.first_pfn.unwrap_or(0))?;
    part.last = asked.last_pfn.unwrap_or(u64::MAX);
    let order = asked.order.unwrap_or_else(|| app.state.config.order.get().into());
    let asked = app.state.asked(Some(order), asked.hot_threshold)?;
    let view = (asked.snapshot.sequence, asked.order, asked.threshold, part);
    // Who asks for the same meanwhile waits for it, and does not make it again.
    let mut known = app.overview.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = known.as_ref().filter(|(known, _)| *known == view) {
        return Ok(Arc::clone(text));
    }
    let text = serde_json::to_string(&overview::overview(&asked, part));
    let text: Arc<str> = text.map_err(|_| Refusal::failed())?.into();
    *known = Some((view, Arc::clone(&text)));
    Ok(text)
}

/// A place among the streams of events.
struct Listening(App);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.events.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An event for each snapshot. Who reads slowly gets the newest.
async fn events(Shared(app): Shared<App>) -> Response {
    if app.events.fetch_add(1, Ordering::Relaxed) >= MAX_EVENTS {
        app.events.fetch_sub(1, Ordering::Relaxed);
        return problem(&Refusal::too_many(format!(
            "there are {MAX_EVENTS} streams of events already"
        )));
    }
    let listening = Listening(Arc::clone(&app));
    Sse::new(told(listening)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

fn told(listening: Listening) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut published = listening.0.state.published.subscribe();
    // The first event comes at once.
    published.mark_changed();
    stream::unfold((listening, published), |(listening, mut published)| async move {
        let state = Arc::clone(&listening.0.state);
        tokio::select! {
            () = state.ending.cancelled() => return None,
            changed = published.changed() => changed.ok()?,
        }
        let snapshot = state.snapshot();
        let event = Event::default().event("snapshot").id(snapshot.sequence.to_string());
        let event = event.data(summary(&snapshot).to_string());
        Some((Ok(event), (listening, published)))
    })
}

/// What an event tells of a snapshot: how the input is doing, and the account.
fn summary(snapshot: &Snapshot) -> serde_json::Value {
    let mut ledger: serde_json::Map<_, _> =
        snapshot.ledger.fields().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let incomplete: Vec<_> = snapshot.incomplete().iter().map(ToString::to_string).collect();
    ledger.insert("recording_incomplete".to_owned(), json!(incomplete));
    json!({
        "sequence": snapshot.sequence,
        "epoch": snapshot.epoch,
        "state": metrics::state_name(&snapshot.state),
        "ready": snapshot.is_ready(),
        "ledger": ledger,
    })
}

/// A part of the page.
async fn asset(headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path();
    let Some((_, kind, bytes)) = ASSETS.into_iter().find(|(known, ..)| *known == path) else {
        return (StatusCode::NOT_FOUND, "no such page\n").into_response();
    };
    let tag = tag(bytes);
    if headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(&tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let cached = "private, no-cache".to_owned();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, cached),
    ];
    (headers, bytes).into_response()
}

/// A number that changes with what it is of.
fn tag(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
