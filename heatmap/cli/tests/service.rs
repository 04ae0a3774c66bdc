//! The daemon's gRPC interface under load and under attack: watchers that do not read, questions that cannot wait,
//! clients without the right certificate.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{self, Address};
use proto::v1;
use proto::v1::heatmap_service_client::HeatmapServiceClient;
use proto::v1::watch_decisions_response::Kind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tracegen::{Config, Form};

const LONGEST: Duration = Duration::from_secs(300);

struct Daemon {
    child: Child,
    folder: TempDir,
    /// Addresses in the order in which it says them.
    lines: Vec<String>,
}

impl Daemon {
    /// Starts a daemon on standard input, and waits until it listens at so many addresses.
    fn start(arguments: &[&str], listeners: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = format!("unix:{}", folder.path().join("socket").display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_folioscope"))
            .args(["serve", "-", "--grpc", &socket])
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
        let listening =
            said.by_ref().map_while(Result::ok).filter(|line| line.contains("listening"));
        let lines = listening.take(listeners).collect();
        std::thread::spawn(move || said.for_each(drop));
        Self { child, folder, lines }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().expect("it is a pipe").write_all(bytes).expect("it reads");
    }

    /// A client without the programs' own impatience: the machine may be busy.
    async fn client(&self) -> HeatmapServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket().display()));
        let channel = endpoint.expect("a URL").connect().await;
        client::heatmap(channel.expect("it listens"))
    }

    fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let pages: u64 =
            text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stream(records: u64) -> Vec<u8> {
    let config = Config { records, form: Form::Stream, ..Config::default() };
    tracegen::to_bytes(&config).expect("the configuration is right").0
}

/// Waits until there are answers.
async fn ready(client: &mut HeatmapServiceClient<Channel>) {
    let start = Instant::now();
    while client.get_distribution(v1::GetDistributionRequest::default()).await.is_err() {
        assert!(start.elapsed() < LONGEST, "there is never an answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_has_the_state_and_then_what_changes() {
    let mut daemon =
        Daemon::start(&["--epoch", "100ms", "--cooling-interval", "0s", "--ttl", "0s"], 1);
    let bytes = stream(100_000);
    daemon.write(&bytes[..bytes.len() / 2]);
    let mut client = daemon.client().await;
    ready(&mut client).await;
    let mut watch = client
        .watch_decisions(v1::WatchDecisionsRequest::default())
        .await
        .expect("it may")
        .into_inner();
    let mut state = std::collections::BTreeMap::new();
    let mut kinds = Vec::new();
    let mut sequence = 0;
    daemon.write(&bytes[bytes.len() / 2..]);
    drop(daemon.child.stdin.take());
    // Until nothing changes any more.
    let start = Instant::now();
    while start.elapsed() < LONGEST {
        let message = watch.message().await.expect("it goes on").expect("it goes on");
        sequence += 1;
        assert_eq!(message.sequence, sequence);
        assert!(message.expires_at.is_some());
        kinds.push(message.kind());
        for decision in message.decisions {
            state.insert(decision.folio_pfn, decision);
        }
        for pfn in message.removed_folio_pfns {
            assert!(state.remove(&pfn).is_some(), "what is removed was there");
        }
        if message.stale && message.kind == Kind::Heartbeat as i32 {
            break;
        }
    }
    assert_eq!(kinds.first(), Some(&Kind::Snapshot));
    assert!(kinds.contains(&Kind::Changes), "{kinds:?}");
    // What was put together from changes is what a new watcher is told at once.
    let mut watch = client
        .watch_decisions(v1::WatchDecisionsRequest::default())
        .await
        .expect("it may")
        .into_inner();
    let mut whole = std::collections::BTreeMap::new();
    loop {
        let message = watch.message().await.expect("it goes on").expect("it goes on");
        whole.extend(message.decisions.into_iter().map(|decision| (decision.folio_pfn, decision)));
        if !message.more {
            break;
        }
    }
    assert!(whole.len() > 1000);
    assert_eq!(state, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_never_read_take_little_and_are_sent_away() {
    // So many have come, also on a busy machine, before the first is sent away.
    const WATCHERS: usize = 100;
    let arguments = ["--epoch", "100ms", "--cooling-interval", "1s", "--max-watchers", "100"];
    let mut daemon = Daemon::start(&arguments, 1);
    daemon.write(&stream(200_000));
    let mut client = daemon.client().await;
    ready(&mut client).await;
    let before = daemon.resident_bytes();
    let mut watches = Vec::new();
    for _ in 0..WATCHERS / 100 {
        let mut client = daemon.client().await;
        for _ in 0..100 {
            let request = v1::WatchDecisionsRequest {
                include_counts: true,
                ..v1::WatchDecisionsRequest::default()
            };
            watches
                .push(client.watch_decisions(request).await.expect("there is room").into_inner());
        }
    }
    let refused = client.watch_decisions(v1::WatchDecisionsRequest::default()).await;
    assert_eq!(refused.map(drop).map_err(|status| status.code()), Err(Code::ResourceExhausted));
    // Others are answered meanwhile.
    for _ in 0..20 {
        daemon.write(&stream(20_000)[16..]);
        let question = v1::GetDistributionRequest::default();
        client.get_distribution(question).await.expect("it answers");
    }
    let grown = daemon.resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "{} MiB more", grown >> 20);
    // They are let go of in time.
    let start = Instant::now();
    loop {
        let status =
            client.get_status(v1::GetStatusRequest {}).await.expect("it answers").into_inner();
        if status.watchers == 0 {
            break;
        }
        assert!(start.elapsed() < LONGEST, "{} watchers are left", status.watchers);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What the others on its connection did not read is in the way of what it is told.
    let mut last = watches.pop().expect("there are some");
    drop(watches);
    let end = async {
        loop {
            match last.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(status) => break Some(status.code()),
            }
        }
    };
    let end = tokio::time::timeout(LONGEST, end).await.expect("it ends");
    assert_eq!(end, Some(Code::ResourceExhausted));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_cannot_wait_do_no_harm() {
    let mut daemon = Daemon::start(&["--ttl", "0s", "--cooling-interval", "0s"], 1);
    daemon.write(&stream(100_000));
    drop(daemon.child.stdin.take());
    let mut client = daemon.client().await;
    ready(&mut client).await;
    let mut answers = Vec::new();
    for number in 0..10_000_u64 {
        let mut client = client.clone();
        let folio = Some(v1::get_hot_fraction_request::Folio::Pfn(number << 9));
        let mut request = tonic::Request::new(v1::GetHotFractionRequest {
            folio,
            ..v1::GetHotFractionRequest::default()
        });
        request.set_timeout(Duration::from_millis(1));
        answers.push(tokio::spawn(async move { client.get_hot_fraction(request).await }));
    }
    for answer in answers {
        let code = answer
            .await
            .expect("it does not panic")
            .map_or_else(|status| status.code(), |_| Code::Ok);
        // The client's library tells its own timeout as cancelled. A connection that gives up on
        // too many at once is closed, and what else is on it has no answer.
        let known = [
            Code::Ok,
            Code::NotFound,
            Code::DeadlineExceeded,
            Code::Cancelled,
            Code::ResourceExhausted,
            Code::Unavailable,
            Code::Unknown,
        ];
        assert!(known.contains(&code), "{code:?}");
    }
    // Others are answered as before.
    let mut client = daemon.client().await;
    let question = v1::GetDistributionRequest::default();
    assert!(
        client.get_distribution(question).await.expect("it answers").into_inner().folios > 1000
    );
}

/// Authorities and certificates that they signed.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { authority: CertifiedIssuer::self_signed(parameters, key).expect("a certificate") }
    }

    /// A certificate and its key.
    fn signed(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, &self.authority).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_do_not_keep_others_out() {
    /// Places for connections, and how many want one.
    const PLACES: usize = 16;
    const SILENT: usize = 2000;
    let mut daemon =
        Daemon::start(&["--grpc", "tcp:127.0.0.1:0", "--max-connections", &PLACES.to_string()], 2);
    daemon.write(&stream(10_000));
    let said = daemon.lines.iter().find_map(|line| line.split_once("tcp:")).expect("a port");
    let place: std::net::SocketAddr = said.1.trim_matches('"').parse().expect("an address");
    let before = daemon.resident_bytes();
    let silent: Vec<_> = (0..SILENT)
        .map(|_| {
            tokio::spawn(async move {
                let connecting = tokio::net::TcpStream::connect(place);
                // The kernel lets some wait; who gets no answer gives up.
                let connected = tokio::time::timeout(Duration::from_secs(3), connecting).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
                connected.is_ok_and(|connected| connected.is_ok())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).expect("it runs");
    assert!(open.count() < 2 * PLACES + 50);
    let grown = daemon.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    // Those at the other listener notice nothing of it.
    let mut client = daemon.client().await;
    ready(&mut client).await;
    let mut connected = 0;
    for connection in silent {
        connected += usize::from(connection.await.expect("it has not panicked"));
    }
    assert!(connected > PLACES, "only {connected} came through");
    // And where they are, there is room again, although they would have stayed.
    let held: Vec<_> = (0..PLACES).map(|_| std::net::TcpStream::connect(place)).collect();
    let address: Address = format!("tcp:{place}").parse().expect("an address");
    let start = Instant::now();
    let mut client = loop {
        match client::connect(&address).await {
            Ok(channel) => break client::heatmap(channel),
            Err(error) => assert!(start.elapsed() < LONGEST, "{error}"),
        }
    };
    while client.get_status(v1::GetStatusRequest::default()).await.is_err() {
        assert!(start.elapsed() < LONGEST, "it is never let in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let mut daemon = Daemon::start(&["--http", "tcp:127.0.0.1:0"], 2);
    daemon.write(&stream(10_000));
    let mut client = daemon.client().await;
    ready(&mut client).await;
    let before = daemon.resident_bytes();
    let batch = |len: u64| v1::BatchGetHotFractionsRequest {
        pfns: (0..len).map(|number| (1 << 36) + number).collect(),
        ..v1::BatchGetHotFractionsRequest::default()
    };
    let answer = client.batch_get_hot_fractions(batch(10_000)).await.expect("as many as may be");
    assert_eq!(answer.get_ref().results.len(), 10_000);
    let refused = client.batch_get_hot_fractions(batch(10_001)).await.expect_err("one too many");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("pfns: "), "{}", refused.message());
    // Some 60 MB.
    for _ in 0..10 {
        let refused = client.batch_get_hot_fractions(batch(1_000_000)).await.expect_err("too long");
        assert_eq!(refused.code(), Code::OutOfRange, "{}", refused.message());
    }
    // A head that never ends.
    let said = daemon.lines.iter().find_map(|line| line.split_once("tcp:")).expect("a port");
    let place: std::net::SocketAddr = said.1.trim_matches('"').parse().expect("an address");
    let mut web = std::net::TcpStream::connect(place).expect("it listens");
    web.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n").expect("it reads");
    let line = [&b"X-Long: "[..], &[b'x'; 4096], &b"\r\n"[..]].concat();
    let mut written = 0;
    while written < 64 << 20 && web.write_all(&line).is_ok() {
        written += line.len();
    }
    assert!(written < 16 << 20, "{written} bytes were read");
    let grown = daemon.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(client.get_status(v1::GetStatusRequest::default()).await.is_ok());
}

fn kept(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("room");
    path.to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_clients_with_a_certificate_of_ours_are_let_in() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = ours.signed();
    let authority = ours.authority.pem();
    let arguments = [
        "--grpc",
        "tcp:127.0.0.1:0",
        "--tls-cert",
        &kept(folder.path(), "cert", &cert),
        "--tls-key",
        &kept(folder.path(), "key", &key),
        "--client-ca",
        &kept(folder.path(), "ca", &authority),
    ];
    let mut daemon = Daemon::start(&arguments, 2);
    daemon.write(&stream(50_000));
    drop(daemon.child.stdin.take());
    let port = daemon.lines[1]
        .rsplit(':')
        .next()
        .and_then(|port| port.trim_matches('"').parse::<u16>().ok());
    let url = format!("https://localhost:{}", port.expect("a port"));
    let connect = async |identity: Option<(String, String)>| {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&authority))
            .domain_name("localhost");
        if let Some((cert, key)) = identity {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        let endpoint =
            Endpoint::from_shared(url.clone()).expect("a URL").tls_config(tls).expect("settings");
        let channel = endpoint.connect().await.map_err(drop)?;
        let mut client = client::heatmap(channel);
        client.list_folios(v1::ListFoliosRequest::default()).await.map_err(drop)
    };
    let mut local = daemon.client().await;
    ready(&mut local).await;
    assert!(connect(Some(ours.signed())).await.is_ok(), "ours is let in");
    assert!(connect(Some(others.signed())).await.is_err(), "somebody else's is not");
    assert!(connect(None).await.is_err(), "none is not");
    // And the daemon is as well as before.
    ready(&mut local).await;
}
