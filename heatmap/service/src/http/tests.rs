use axum::body::{Body, to_bytes};
use decoder::Options;
use futures_util::StreamExt;
use heatmap::Filters;
use heatmap::live::{InputState, Live};
use serde_json::Value;

use super::*;
use crate::{Flags, Given, HostDefaults};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const HOST: HostDefaults = HostDefaults { available_memory: 1 << 30, advised_period: |_| None };
const SOMEBODY: Peer = Peer::Network { certified: false };

/// A daemon without listeners, and who counts for it.
fn daemon(flags: &Flags) -> (Arc<State>, Live) {
    let config = Given::new(flags, None).and_then(|given| given.config(&HOST, false));
    let config = config.expect("the settings are right");
    let live = Live::new(config.live, Filters::default());
    let state = State::new(config, "input".to_owned(), live.latest()).expect("no certificates");
    (Arc::new(state), live)
}

/// Settings as the command line gives them.
fn flags(arguments: &[&str]) -> Flags {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }
    let line = <Line as clap::Parser>::try_parse_from([&["serve"], arguments].concat());
    line.expect("the settings are right").flags
}

fn never_cools() -> Flags {
    flags(&["--cooling-interval", "0s", "--ttl", "0s"])
}

/// A daemon that has read a small trace, and its truth.
fn fed(flags: &Flags) -> (Arc<State>, tracegen::Truth) {
    let (state, mut live) = daemon(flags);
    let config = tracegen::Config { records: 20_000, folios: 50, ..tracegen::Config::default() };
    let (bytes, truth) = tracegen::to_bytes(&config).expect("the configuration is right");
    let options = Options::new(core::num::NonZeroUsize::MIN);
    let recording = decoder::decode_bytes(&[&bytes], 0, &options, &mut live).expect("it decodes");
    decoder::Sink::recording_so_far(&mut live, &recording);
    live.set_state(InputState::Ended);
    (state, truth)
}

fn app_at(state: &Arc<State>, address: &str) -> App {
    let shown = address;
    let address = address.parse().expect("an address");
    Arc::new(Http {
        state: Arc::clone(state),
        token: TOKEN.to_owned(),
        events: AtomicUsize::new(0),
        hosts: Hosts::new(&address, shown, &state.config.http_hosts),
        overview: Mutex::default(),
        cookie: "folioscope_token_80".to_owned(),
        is_tls: false,
    })
}

fn app(state: &Arc<State>) -> Router {
    router(app_at(state, "tcp:127.0.0.1:80"))
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

async fn send(app: &Router, peer: Peer, request: Request) -> Response {
    let mut request = request;
    request.extensions_mut().insert(ConnectInfo(peer));
    app.clone().oneshot(request).await.expect("a router always answers")
}

async fn ask_as(app: &Router, peer: Peer, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    if headers.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", "localhost:80");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = send(app, peer, request.body(Body::empty()).expect("a request")).await;
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let body = String::from_utf8_lossy(&body).into_owned();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

async fn ask(app: &Router, path: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    ask_as(app, SOMEBODY, path, &[("authorization", &bearer)]).await
}

#[tokio::test]
async fn it_is_ready_from_the_first_epoch_to_its_end() {
    let (state, _) = daemon(&Flags::default());
    let router = app(&state);
    assert_eq!(ask_as(&router, SOMEBODY, "/livez", &[]).await.status, 200);
    let answer = ask_as(&router, SOMEBODY, "/readyz", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "no epoch has closed yet\n"));
    let answer = ask(&router, "/api/v1/GetDistribution").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &"NOT_READY".into()));
    assert_eq!(ask(&router, "/api/v1/overview").await.status, 503);
    assert_eq!(ask(&router, "/api/v1/GetStatus").await.status, 200);

    let (state, _) = fed(&Flags::default());
    let router = app(&state);
    assert_eq!(ask_as(&router, SOMEBODY, "/readyz", &[]).await.status, 200);
    let verbose = ask_as(&router, SOMEBODY, "/readyz?verbose", &[]).await;
    assert!(verbose.body.contains("Ended"), "{}", verbose.body);
    state.ending.cancel();
    let answer = ask_as(&router, SOMEBODY, "/readyz", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "the daemon is ending\n"));
    assert_eq!(ask_as(&router, SOMEBODY, "/livez", &[]).await.status, 200);
}

#[tokio::test]
async fn the_token_opens_what_is_told_of_single_blocks() {
    let (state, _) = fed(&Flags::default());
    let router = app(&state);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask_as(&router, SOMEBODY, path, &[]).await.status, 200, "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let cookie = format!("other=1; folioscope_token_80={TOKEN}");
    let others = format!("folioscope_token_81={TOKEN}");
    for path in ["/", "/page.js", "/api/v1/GetStatus", "/api/v1/overview"] {
        for (name, value, status) in [
            ("accept", "*/*", 403),
            ("authorization", "Bearer 0123456789abcdef0123456789abcdee", 403),
            ("authorization", "Bearer ", 403),
            ("authorization", TOKEN, 403),
            ("authorization", &bearer, 200),
            ("cookie", &others, 403),
            ("cookie", "folioscope_token_80=", 403),
            ("cookie", &cookie, 200),
        ] {
            let answer = ask_as(&router, SOMEBODY, path, &[(name, value)]).await;
            assert_eq!(answer.status, status, "{path} {name}: {value}");
            assert_eq!(answer.header("set-cookie"), "", "only who has it in the URL");
        }
        for (peer, status) in [
            (Peer::Network { certified: true }, 200),
            (Peer::Process { uid: 0, gid: 1 }, 200),
            (Peer::Process { uid: 60_123, gid: 60_123 }, 403),
        ] {
            assert_eq!(ask_as(&router, peer, path, &[]).await.status, status, "{path} {peer:?}");
        }
    }
    assert_eq!(ask_as(&router, SOMEBODY, "/?token=0", &[]).await.status, 403);
    let answer = ask_as(&router, SOMEBODY, &format!("/?token={TOKEN}"), &[]).await;
    assert_eq!(answer.status, 200);
    let wanted = format!("folioscope_token_80={TOKEN}; HttpOnly; SameSite=Strict; Path=/");
    assert_eq!(answer.header("set-cookie"), wanted);

    let (state, _) = fed(&flags(&["--allow-unprivileged"]));
    assert_eq!(ask_as(&app(&state), SOMEBODY, "/api/v1/ListFolios", &[]).await.status, 200);
}

#[tokio::test]
async fn only_our_names_are_answered() {
    let (state, _) = daemon(&flags(&["--http-host", "Heat.Example"]));
    let usual = router(app_at(&state, "tcp:192.0.2.7:80"));
    let everywhere = router(app_at(&state, "tcp:0.0.0.0:80"));
    for (host, at_one, at_all) in [
        ("localhost", 200, 200),
        ("LocalHost:9", 200, 200),
        ("localhost.", 200, 200),
        ("127.0.0.1:80", 200, 200),
        ("[::1]:80", 200, 200),
        ("192.0.2.7:80", 200, 200),
        ("192.0.2.8:80", 421, 200),
        ("[2001:db8::1]:80", 421, 200),
        ("heat.example:80", 200, 200),
        ("heat.example.evil.example", 421, 421),
        ("evil.example", 421, 421),
        ("localhost.evil.example", 421, 421),
        ("", 421, 421),
    ] {
        for (router, status) in [(&usual, at_one), (&everywhere, at_all)] {
            let answer = ask_as(router, SOMEBODY, "/livez", &[("host", host)]).await;
            assert_eq!(answer.status, status, "{host}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
        let local = Peer::Process { uid: 60_123, gid: 60_123 };
        assert_eq!(ask_as(&usual, local, "/livez", &[("host", host)]).await.status, 200, "{host}");
    }
    let absolute = ask_as(&usual, SOMEBODY, "http://evil.example/livez", &[]).await;
    assert_eq!(absolute.status, 421, "the URL names another host than the header");
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let (state, _) = daemon(&Flags::default());
    let router = app(&state);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/", "/livez", "/api/v1/GetStatus"] {
            let request = Request::builder().method(method).uri(path).header("host", "localhost");
            let request = request.body(Body::empty()).expect("a request");
            let response = send(&router, SOMEBODY, request).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()["allow"], "GET, HEAD");
            assert!(response.headers().contains_key("content-security-policy"));
        }
    }
    let request = Request::head("/livez").header("host", "localhost").body(Body::empty());
    let response = send(&router, SOMEBODY, request.expect("a request")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_page_comes_whole_and_only_once() {
    let (state, _) = daemon(&Flags::default());
    let router = app(&state);
    for (path, kind, bytes) in ASSETS {
        let answer = ask(&router, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind));
        assert_eq!(answer.body.as_bytes(), bytes, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'self'; frame-ancestors 'none'"), "{policy}");
        let bearer = format!("Bearer {TOKEN}");
        let again = [("authorization", &bearer[..]), ("if-none-match", answer.header("etag"))];
        assert_eq!(ask_as(&router, SOMEBODY, path, &again).await.status, 304, "{path}");
        // Everything that it needs comes from here.
        for other in ["http://", "https://", "//cdn"] {
            let text = answer.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(other), "{path} asks another host");
        }
    }
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", &bearer[..]), ("accept-encoding", "gzip")];
    let answer = ask_as(&router, SOMEBODY, "/page.js", &headers).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(ask(&router, "/nothing").await.status, 404);
}

#[tokio::test]
async fn methods_answer_in_json() {
    let (state, truth) = fed(&never_cools());
    let router = app(&state);
    let get = async |path: &str| {
        let answer = ask(&router, &format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.json()
    };
    let status = get("GetStatus").await;
    assert_eq!(status["ledger"]["counted"], truth.ledger.counted);
    assert_eq!(status["inputs"][0]["state"], "ended");
    assert_eq!(status["inputs"][0]["path"], "input");
    assert_eq!(status["clock"]["epoch_length"], "1.000000000");
    assert_eq!(status["clock"]["ttl"], Value::Null);
    let distribution = get("GetDistribution").await;
    assert_eq!(distribution["accesses"], truth.ledger.counted);
    assert_eq!(distribution["touched_distribution"].as_array().map(Vec::len), Some(10));
    let list = get("ListFolios?page_size=7&order_by=pfn").await;
    let folios = list["folios"].as_array().expect("a list");
    assert_eq!((folios.len(), &list["total_size"]), (7, &distribution["folios"]));
    let token = list["next_page_token"].as_str().expect("there are more");
    let next = get(&format!("ListFolios?page_size=7&order_by=pfn&page_token={token}")).await;
    let pfn = |folio: &Value| {
        let text = folio["fraction"]["folio_pfn"].as_str().expect("text").to_owned();
        u64::from_str_radix(text.strip_prefix("0x").expect("hexadecimal"), 16).expect("digits")
    };
    assert!(pfn(&next["folios"][0]) > pfn(&folios[6]));
    let fraction = &folios[0]["fraction"];
    let first = pfn(&folios[0]);
    // Any page of the folio, in decimal or hexadecimal, or its address.
    for question in [
        format!("pfn={first:#x}"),
        format!("pfn={}", first + 511),
        format!("physical_address={:#x}", first << 12),
    ] {
        let answer = get(&format!("GetHotFraction?{question}")).await;
        assert_eq!(&answer["fraction"], fraction, "{question}");
        let folio = get(&format!("GetFolio?{question}")).await;
        let counts = folio["counts"].as_array().expect("a list");
        assert_eq!(counts.len(), 512);
        let sum: u64 = counts.iter().filter_map(Value::as_u64).sum();
        assert_eq!(folio["folio"]["fraction"]["accesses"], sum);
    }
    let batch = get(&format!("BatchGetHotFractions?pfns={first},0x1&pfns={first}&order=2")).await;
    let results = batch["results"].as_array().expect("a list");
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["fraction"]["chunks"], 128);
    assert_eq!(results[1]["pfn"], "0x1");
    assert_eq!(results[1]["no_data"]["folio_pfn"], "0x0");
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let (state, _) = fed(&Flags::default());
    let router = app(&state);
    for (path, status, reason, field) in [
        ("GetHotFraction", 400, "INVALID_FIELD", Some("pfn")),
        ("GetHotFraction?pfn=12z", 400, "INVALID_FIELD", Some("pfn")),
        ("GetHotFraction?pfn=1&order=10", 400, "INVALID_FIELD", Some("order")),
        ("GetHotFraction?pfn=1&hot_threshold=101", 400, "INVALID_FIELD", Some("hot_threshold")),
        ("GetHotFraction?pfn=1&colour=red", 400, "INVALID_FIELD", None),
        ("GetHotFraction?pfn=1", 404, "NO_SAMPLES", None),
        ("GetFolio?physical_address=0x1000", 404, "NO_SAMPLES", None),
        ("ListFolios?order_by=colour", 400, "INVALID_FIELD", Some("order_by")),
        ("ListFolios?page_size=-1", 400, "INVALID_FIELD", Some("page_size")),
        ("ListFolios?verdicts=lukewarm", 400, "INVALID_FIELD", Some("verdicts")),
        ("overview?cells=0", 400, "INVALID_FIELD", Some("cells")),
        ("overview?cells=65537", 400, "INVALID_FIELD", Some("cells")),
        ("overview?order=x", 400, "INVALID_FIELD", Some("order")),
        ("overview?order_by=pfn", 400, "INVALID_FIELD", Some("order_by")),
    ] {
        let answer = ask(&router, &format!("/api/v1/{path}")).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["reason"]), (status, &reason.into()), "{path}");
        assert_eq!(problem["field"], field.map_or(Value::Null, Value::from), "{path}");
        assert_eq!(problem["status"], status);
    }
    for path in ["WatchDecisions", "getstatus", "GetStatus/x"] {
        assert_eq!(ask(&router, &format!("/api/v1/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_overview_has_all_blocks() {
    let (state, _) = fed(&never_cools());
    let router = app(&state);
    let distribution = ask(&router, "/api/v1/GetDistribution").await.json();
    let whole = ask(&router, "/api/v1/overview").await.json();
    let sum = |overview: &Value, column: &str| -> u64 {
        overview[column].as_array().expect("a column").iter().filter_map(Value::as_u64).sum()
    };
    assert_eq!(sum(&whole, "accesses"), distribution["accesses"]);
    assert_eq!(whole["folios"], distribution["folios"]);
    assert_eq!(whole["blocks_per_cell"], 1);
    let few = ask(&router, "/api/v1/overview?cells=5").await.json();
    assert!(few["folio_pfn"].as_array().is_some_and(|column| column.len() <= 5));
    assert_eq!(sum(&few, "blocks"), distribution["folios"]);
    assert_eq!(few["peak"], whole["peak"], "the hottest page is never lost");
    let pfns = whole["folio_pfn"].as_array().expect("a column");
    let one = pfns[3].as_str().expect("text");
    let part = format!("/api/v1/overview?first_pfn={one}&last_pfn={one}");
    assert_eq!(ask(&router, &part).await.json()["folio_pfn"], json!([one]));
    assert_eq!(ask(&router, "/api/v1/overview").await.json(), whole);
}

#[tokio::test]
async fn events_tell_of_the_newest_snapshot_until_the_end() {
    let (state, truth) = fed(&Flags::default());
    let router = app(&state);
    let request = || {
        let request = Request::get(format!("/api/v1/events?token={TOKEN}"));
        request.header("host", "localhost").header("accept-encoding", "gzip").body(Body::empty())
    };
    let response = send(&router, SOMEBODY, request().expect("a request")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(!response.headers().contains_key("content-encoding"));
    let mut events = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("\n\n") {
        let piece = events.next().await.expect("it goes on").expect("it goes on");
        text += core::str::from_utf8(&piece).expect("text");
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["state"], "ended");
    assert_eq!(data["sequence"], state.snapshot().sequence);
    assert_eq!(data["ledger"]["counted"], truth.ledger.counted);
    // There is no room for more than so many, and room again when one has gone.
    let mut others = Vec::new();
    for _ in 1..MAX_EVENTS {
        others.push(send(&router, SOMEBODY, request().expect("a request")).await);
    }
    let refused = send(&router, SOMEBODY, request().expect("a request")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(others.pop());
    let response = send(&router, SOMEBODY, request().expect("a request")).await;
    assert_eq!(response.status(), StatusCode::OK);
    state.ending.cancel();
    assert!(events.next().await.is_none(), "it ends with the daemon");
}

#[tokio::test]
async fn metrics_have_their_names_and_values() {
    let flags =
        ["--cooling-interval", "0s", "--ttl", "0s", "--live=faults", "--max-overhead", "1%"];
    let (state, truth) = fed(&self::flags(&flags));
    let progress = decoder::live::Progress {
        overhead: 0.004,
        period: 1000,
        stretched: 2.5,
        cpus: 2,
        ..decoder::live::Progress::default()
    };
    state.capture.store(Some(Arc::new(progress)));
    let router = app(&state);
    let answer = ask_as(&router, SOMEBODY, "/metrics", &[]).await;
    for told in ["overhead_ratio 0.004", "max_overhead_ratio 0.01", "period 2500", "cpus 2"] {
        let told = format!("\nfolioscope_capture_{told}");
        assert!(answer.body.contains(&told), "{told} is not in {}", answer.body);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), kind);
    assert!(answer.body.ends_with("# EOF\n"));
    let counted = format!("folioscope_records_total{{kind=\"counted\"}} {}", truth.ledger.counted);
    assert!(answer.body.contains(&counted), "{counted}");
    let samples = answer.body.lines().filter(|line| !line.starts_with('#'));
    let verdicts: f64 = samples
        .clone()
        .filter(|line| line.starts_with("folioscope_folios{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    let distribution = ask(&router, "/api/v1/GetDistribution").await.json();
    assert_eq!(Some(verdicts), distribution["folios"].as_f64());
    // Nothing is told of single blocks, processes or clients.
    let mut series: Vec<_> = samples.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    series.retain(|name| !name.contains("_bucket{"));
    series.sort_unstable();
    let mut types: Vec<_> = answer.body.lines().filter(|line| line.starts_with("# TYPE")).collect();
    types.sort_unstable();
    let all = [types, series].concat().join("\n");
    insta::with_settings!({filters => [
        ("target=\"[^\"]*\"", "target=\"TARGET\""),
        ("version=\"[^\"]*\"", "version=\"VERSION\""),
        ("revision=\"[^\"]*\"", "revision=\"REVISION\""),
    ]}, {
        insta::assert_snapshot!("metrics", all);
    });
}

#[test]
fn a_token_is_kept_where_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let first = token::read_or_make(Some(&path)).expect("it is made");
    assert!(first.len() == 32 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(token::read_or_make(Some(&path)).expect("it is read"), first);
    assert_ne!(token::read_or_make(None).expect("it is made"), first);
    for text in ["short", "0123456789abcdef; Path=/", ""] {
        std::fs::write(&path, text).expect("room");
        assert!(token::read_or_make(Some(&path)).is_err(), "{text:?}");
    }
}
