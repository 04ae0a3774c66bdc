//! The daemon as its users meet it: started, asked, disturbed and ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tests::inputs::{bytes, input};

use crate::program::command_words;

/// Longer than any answer takes, also emulated.
const LONGEST: Duration = Duration::from_secs(300);

/// A daemon that listens for HTTP on a port of its own, and for gRPC on a socket in a folder.
pub struct Daemon {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    address: String,
    token: String,
    folder: TempDir,
}

fn command(arguments: &[&str]) -> Command {
    let words = command_words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        if start.elapsed() > LONGEST {
            let _ = child.kill();
            panic!("the program does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks by HTTP; the status and the body of the answer.
pub fn get(mut stream: impl Read + Write, host: &str, path: &str, headers: &str) -> (u16, String) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Asks over a Unix socket as soon as somebody listens there.
pub fn get_at(socket: &Path, path: &str) -> (u16, String) {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LONGEST)).expect("it is a socket");
                return get(stream, "localhost", path, "");
            }
            Err(error) => assert!(start.elapsed() < LONGEST, "{}: {error}", socket.display()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Daemon {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = format!("unix:{}", folder.path().join("socket").display());
        let listeners = ["--grpc", &socket, "--http", "tcp:127.0.0.1:0"];
        let mut child =
            command(&[&["serve"], arguments, &listeners].concat()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
        let page = lines
            .find_map(|line| Some(line.ok()?.strip_prefix("the page: http://")?.to_owned()))
            .expect("it says where its page is");
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let (address, token) = page.split_once("/?token=").expect("with a token");
        let stdin = child.stdin.take();
        Self { child, stdin, address: address.to_owned(), token: token.to_owned(), folder }
    }

    pub fn socket(&self) -> String {
        format!("unix:{}", self.folder.path().join("socket").display())
    }

    /// Asks by HTTP; the status and the body of the answer.
    pub fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(LONGEST)).expect("it is a socket");
        get(stream, &self.address, path, headers)
    }

    /// Asks a method with the token.
    pub fn ask(&self, method: &str, parameters: &str) -> Value {
        let path = format!("/api/v1/{method}?{parameters}");
        let (status, body) = self.get(&path, &format!("Authorization: Bearer {}\r\n", self.token));
        assert_eq!(status, 200, "{method}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Waits until the input is in a state.
    pub fn until(&self, state: &str) -> Value {
        let start = Instant::now();
        loop {
            let status = self.ask("GetStatus", "");
            if status["inputs"][0]["state"] == state {
                return status;
            }
            assert!(start.elapsed() < LONGEST, "the input is {}, not {state}", status["inputs"][0]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().expect("there is kill");
        assert!(status.success());
    }

    /// Ends it as a service manager does.
    fn end(mut self) {
        self.signal("-TERM");
        let status = wait(&mut self.child);
        assert_eq!(status.code(), Some(0));
        assert!(!self.folder.path().join("socket").exists(), "the socket is left behind");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a daemon that must refuse to; its exit status and what it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = command(&[&["serve"], arguments].concat()).spawn().expect("it starts");
    drop(child.stdin.take());
    let status = wait(&mut child);
    let mut said = String::new();
    child.stderr.take().expect("it is a pipe").read_to_string(&mut said).expect("text");
    (status.code(), said)
}

fn trace(folder: &Path, config: &tracegen::Config) -> std::path::PathBuf {
    let path = folder.join("trace");
    std::fs::write(&path, tracegen::to_bytes(config).expect("it is right").0).expect("room");
    path
}

#[test]
fn a_recording_is_answered_for_until_it_is_told_to_end() {
    let daemon = Daemon::start(&["--replay", "0", input("spe-file").to_str().expect("text")]);
    let status = daemon.until("ended");
    assert!(status["ledger"]["counted"].as_u64() > Some(0));
    let list = daemon.ask("ListFolios", "order_by=accesses&page_size=1");
    let hottest = &list["folios"][0]["fraction"];
    let pfn = hottest["folio_pfn"].as_str().expect("text");
    let one = daemon.ask("GetHotFraction", &format!("pfn={pfn}"));
    assert_eq!(&one["fraction"], hottest);
    assert_eq!(daemon.get("/livez", "").0, 200);
    assert_eq!(daemon.get("/readyz", "").0, 200);
    let (status, metrics) = daemon.get("/metrics", "");
    assert_eq!(status, 200);
    assert!(
        metrics.ends_with("# EOF\n")
            && metrics.contains("folioscope_records_total{kind=\"counted\"}")
    );
    // No label and no value tells of a block.
    assert!(!metrics.contains("0x"), "{metrics}");
    daemon.end();
}

/// A compressed recording, or one on a pipe, is counted as the same recording is by its name.
#[test]
fn recordings_that_are_compressed_or_come_through_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = |daemon: &Daemon| {
        let ledger = daemon.until("ended")["ledger"].clone();
        assert!(ledger["counted"].as_u64() > Some(0), "{ledger}");
        let list = daemon.ask("ListFolios", "order_by=accesses&page_size=1000");
        let mut folios = list["folios"].as_array().expect("a list").clone();
        // When it was asked is no part of the answer.
        for folio in &mut folios {
            folio["fraction"]["snapshot_time"] = Value::Null;
        }
        (ledger, folios)
    };
    for name in ["spe-file", "spe-stream"] {
        let plain = bytes(input(name));
        let packed = zstd::encode_all(&plain[..], 1).expect("memory takes all");
        let path = folder.path().join(name);
        std::fs::write(&path, &packed).expect("room");
        let arguments = ["--ttl", "0s", "--replay", "0"];
        let start = |input: &str| Daemon::start(&[&arguments[..], &[input]].concat());
        let by_name = start(input(name).to_str().expect("text"));
        let want = answers(&by_name);
        by_name.end();
        let compressed = start(path.to_str().expect("text"));
        assert!(answers(&compressed) == want, "{name} compressed");
        compressed.end();
        for bytes in [&plain, &packed] {
            let mut piped = start("-");
            piped.stdin.take().expect("it is a pipe").write_all(bytes).expect("it reads");
            assert!(answers(&piped) == want, "{name} through a pipe");
            piped.end();
        }
    }
    let mut daemon = Daemon::start(&["--max-spool", "1KiB", "-"]);
    let mut stdin = daemon.stdin.take().expect("it is a pipe");
    // It may be done with what is too much for it.
    let _ = stdin.write_all(&bytes(input("spe-file")));
    let status = daemon.until("failed").to_string();
    assert!(status.contains("over 1024 bytes") && status.contains("--max-spool"), "{status}");
    daemon.end();
}

#[test]
fn only_who_may_is_answered() {
    let daemon = Daemon::start(&["--replay", "0", input("spe-file").to_str().expect("text")]);
    daemon.until("ended");
    for path in ["/", "/page.js", "/api/v1/GetStatus", "/api/v1/ListFolios", "/api/v1/events"] {
        assert_eq!(daemon.get(path, "").0, 403, "{path}");
        assert_eq!(daemon.get(path, "Authorization: Bearer 0123456789abcdef\r\n").0, 403, "{path}");
    }
    let (status, page) = daemon.get(&format!("/?token={}", daemon.token), "");
    assert_eq!(status, 200);
    assert!(page.contains("<title>folioscope"), "{page}");
    let (status, problem) =
        daemon.get(&format!("/api/v1/GetHotFraction?pfn=1&order=10&token={}", daemon.token), "");
    let problem: Value = serde_json::from_str(&problem).expect("JSON");
    assert_eq!((status, &problem["field"]), (400, &Value::from("order")));
    let (status, problem) =
        daemon.get(&format!("/api/v1/GetFolio?pfn=1&token={}", daemon.token), "");
    let problem: Value = serde_json::from_str(&problem).expect("JSON");
    assert_eq!((status, &problem["reason"]), (404, &Value::from("NO_SAMPLES")));
    // Another name for this machine, as a page of somebody else's would have.
    let mut stream = TcpStream::connect(&daemon.address).expect("it listens");
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    let mut stream = TcpStream::connect(&daemon.address).expect("it listens");
    let request =
        format!("POST /livez HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", daemon.address);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    daemon.end();
}

#[test]
fn a_stream_that_stops_is_stalled_and_one_that_ends_has_ended() {
    let bytes = bytes(input("spe-stream"));
    let mut daemon =
        Daemon::start(&["-", "--epoch", "100ms", "--cooling-interval", "1s", "--ttl", "1h"]);
    let mut stdin = daemon.stdin.take().expect("it is a pipe");
    stdin.write_all(&bytes).expect("it reads");
    let status = daemon.until("stalled");
    assert_eq!(status["clock"]["wall_driven"], true);
    let counted = status["ledger"]["counted"].clone();
    assert!(counted.as_u64() > Some(0));
    drop(stdin);
    let status = daemon.until("ended");
    assert_eq!(status["ledger"]["counted"], counted);
    daemon.end();
}

#[test]
fn garbage_in_the_middle_is_counted_and_what_was_known_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = tracegen::Config {
        records: 50_000,
        form: tracegen::Form::Stream,
        ..tracegen::Config::default()
    };
    let bytes = std::fs::read(trace(folder.path(), &config)).expect("it is there");
    let mut daemon = Daemon::start(&["-", "--epoch", "1s"]);
    let mut stdin = daemon.stdin.take().expect("it is a pipe");
    stdin.write_all(&bytes[..bytes.len() / 2]).expect("it reads");
    stdin.write_all(&[0xa5; 100_000]).expect("it reads");
    // It may be done with a stream that makes no sense any more.
    let _ = stdin.write_all(&bytes[bytes.len() / 2..]);
    drop(stdin);
    let status = daemon.until("ended");
    let ledger = &status["ledger"];
    let number = |name: &str| ledger[name].as_u64().expect("a number");
    assert!(number("counted") > 10_000, "{ledger}");
    let kinds = [
        "counted",
        "guest_address",
        "no_physical_address",
        "lookup_failed",
        "not_memory",
        "filtered",
        "over_budget",
    ];
    assert_eq!(kinds.map(number).iter().sum::<u64>(), number("records"));
    let parts = ["record_bytes", "padding_bytes", "skipped_bytes", "cut_off_bytes"];
    assert_eq!(parts.map(number).iter().sum::<u64>(), number("aux_bytes"));
    assert!(number("skipped_bytes") + number("cut_off_bytes") > 0, "{ledger}");
    daemon.end();
}

#[test]
fn a_growing_file_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = bytes(input("spe-stream"));
    let path = folder.path().join("growing");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("room");
    let daemon = Daemon::start(&[
        "--follow",
        "--epoch",
        "50ms",
        "--ttl",
        "1h",
        path.to_str().expect("text"),
    ]);
    let before = daemon.until("stalled")["ledger"]["records"].as_u64().expect("a number");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("it is there");
    file.write_all(&bytes[bytes.len() / 2..]).expect("room");
    let start = Instant::now();
    loop {
        let records = daemon.ask("GetStatus", "")["ledger"]["records"].as_u64().expect("a number");
        if records > before {
            break;
        }
        assert!(start.elapsed() < LONGEST, "what is appended is not read");
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.end();
}

#[test]
fn a_fifo_is_waited_for_and_one_writer_follows_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fifo");
    let status = Command::new("mkfifo").arg(&path).status().expect("there is mkfifo");
    assert!(status.success());
    let daemon =
        Daemon::start(&["--ttl", "0s", "--cooling-interval", "0s", path.to_str().expect("text")]);
    // Nobody writes yet, and it answers.
    assert_eq!(daemon.until("waiting")["ledger"]["records"], 0);
    let bytes = bytes(input("spe-stream"));
    std::fs::write(&path, &bytes).expect("it reads");
    let once = daemon.until("ended");
    std::fs::write(&path, &bytes).expect("it reads");
    let start = Instant::now();
    let twice = |name: &str| once["ledger"][name].as_u64().map(|number| 2 * number);
    loop {
        let status = daemon.until("ended");
        if ["records", "counted", "aux_bytes"]
            .iter()
            .all(|name| status["ledger"][name].as_u64() == twice(name))
        {
            break;
        }
        assert!(start.elapsed() < LONGEST, "{}", status["ledger"]);
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.end();
}

#[test]
fn a_recording_is_seen_while_it_is_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = tracegen::Config { records: 200_000, ..tracegen::Config::default() };
    let path = trace(folder.path(), &config);
    // So slow that it has not ended before it was looked at.
    let daemon = Daemon::start(&[
        "--replay",
        "0.1",
        "--epoch",
        "50ms",
        "--cooling-interval",
        "0s",
        path.to_str().expect("text"),
    ]);
    let start = Instant::now();
    loop {
        let status = daemon.ask("GetStatus", "");
        assert_ne!(status["inputs"][0]["state"], "ended");
        if status["ledger"]["counted"].as_u64() > Some(0) && !status["clock"]["epoch"].is_null() {
            assert!(status["ledger"]["records"].as_u64() < Some(200_000));
            assert_eq!(status["inputs"][0]["kind"], "file");
            break;
        }
        assert!(start.elapsed() < LONGEST, "{status}");
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.end();
}

#[test]
fn replays_give_the_same_answers_at_the_same_time_of_the_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = tracegen::Config { records: 60_000, ..tracegen::Config::default() };
    let [file, stream, files] = ["file", "stream", "files"].map(|name| folder.path().join(name));
    let form = |form| tracegen::Config { form, ..config.clone() };
    let bytes = |config| tracegen::to_bytes(&config).expect("the configuration is right").0;
    std::fs::write(&file, bytes(form(tracegen::Form::File))).expect("room");
    std::fs::write(&stream, bytes(form(tracegen::Form::Stream))).expect("room");
    tracegen::write_folder(&config, &files, None).expect("room");
    // By epoch what was answered while it was the last one.
    let mut known = std::collections::BTreeMap::new();
    let mut compared = 0;
    let mut last: Option<(Value, Value)> = None;
    for (path, threads, speed) in [
        (&stream, "1", "5"),
        (&stream, "3", "10"),
        (&stream, "2", "0"),
        (&file, "1", "7"),
        (&file, "4", "0"),
        (&files, "1", "0"),
    ] {
        let daemon = Daemon::start(&[
            path.to_str().expect("text"),
            "--threads",
            threads,
            "--replay",
            speed,
            "--epoch",
            "200ms",
            "--cooling-interval",
            "1s",
            "--ttl",
            "3s",
        ]);
        let start = Instant::now();
        let mut before = Value::Null;
        while daemon.ask("GetStatus", "")["inputs"][0]["state"] != "ended" {
            let (status, body) = daemon.get(
                "/api/v1/GetDistribution?order=2",
                &format!("Authorization: Bearer {}\r\n", daemon.token),
            );
            // There is nothing to say at first.
            if status == 200 {
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                if answer["epoch"] != before {
                    before = answer["epoch"].clone();
                    match known.get(&before.to_string()) {
                        Some(known) => {
                            assert_eq!(
                                &answer, known,
                                "{path:?}, {threads} threads, {speed} times"
                            );
                            compared += 1;
                        }
                        None => drop(known.insert(before.to_string(), answer)),
                    }
                }
            }
            assert!(start.elapsed() < LONGEST, "it does not end");
        }
        let ledger = daemon.ask("GetStatus", "")["ledger"].clone();
        let mut folios = daemon.ask("ListFolios", "page_size=1000&order=2");
        for folio in folios["folios"].as_array_mut().expect("a list") {
            let made =
                folio["fraction"].as_object_mut().and_then(|all| all.remove("snapshot_time"));
            assert!(made.is_some(), "the one thing that depends on when it ran");
        }
        assert!(folios["folios"].as_array().is_some_and(|folios| folios.len() > 100), "{folios}");
        let (last_ledger, last_folios) = last.get_or_insert((ledger.clone(), folios.clone()));
        assert_eq!(&ledger, last_ledger, "{path:?}, {threads} threads, {speed} times");
        assert_eq!(
            folios["folios"], last_folios["folios"],
            "{path:?}, {threads} threads, {speed} times"
        );
        daemon.end();
    }
    // Many more, unless the machine is slow; the library's own test sees every epoch.
    assert!(compared > 0, "no answers on the way were of the same epoch");
}

#[test]
fn connections_that_hang_do_not_keep_it_from_ending() {
    let daemon = Daemon::start(&["--replay", "0", input("spe-file").to_str().expect("text")]);
    daemon.until("ended");
    // One that never asks, and one that has asked for events.
    let _silent = TcpStream::connect(&daemon.address).expect("it listens");
    let mut events = TcpStream::connect(&daemon.address).expect("it listens");
    let request = format!(
        "GET /api/v1/events?token={} HTTP/1.1\r\nHost: {}\r\n\r\n",
        daemon.token, daemon.address
    );
    events.write_all(request.as_bytes()).expect("it reads");
    let mut first = [0; 1];
    events.read_exact(&mut first).expect("it answers");
    let start = Instant::now();
    daemon.end();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn what_is_left_of_one_that_was_killed_is_not_in_the_way() {
    let file = input("spe-file");
    let mut first = Daemon::start(&["--replay", "0", file.to_str().expect("text")]);
    first.until("ended");
    let socket = first.socket();
    // Somebody listens there.
    let (code, said) = refused(&["-", "--grpc", &socket]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("somebody listens there already"), "{said}");
    first.signal("-KILL");
    wait(&mut first.child);
    assert!(first.folder.path().join("socket").exists());
    let mut second =
        command(&["serve", "--grpc", &socket, "--exit-on-eof", file.to_str().expect("text")])
            .spawn()
            .expect("it starts");
    assert_eq!(wait(&mut second).code(), Some(0));
}

#[test]
fn sockets_of_the_service_manager_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let [grpc, http] = ["grpc", "http"].map(|name| folder.path().join(name));
    let start = |names: &str| {
        let words = command_words();
        let mut command = Command::new("sh");
        // As sd_listen_fds(3) has it: from 3 on, and for this process alone.
        let taken = "exec env LISTEN_PID=$$ LISTEN_FDS=2 \"$@\" 3<&0 4<&1 0</dev/null 1>/dev/null";
        command.args(["-c", taken, "sh", &format!("LISTEN_FDNAMES={names}")]);
        command.args(&words).args(["serve", "--allow-unprivileged", "--replay", "0"]);
        command.arg(input("spe-file"));
        // The addresses that these take the place of could not be listened at.
        command.args(["--grpc", "unix:/no/folder/grpc", "--http", "unix:/no/folder/http"]);
        for path in [&grpc, &http] {
            let _ = std::fs::remove_file(path);
        }
        let open = |path| OwnedFd::from(UnixListener::bind(path).expect("a folder"));
        command.stdin(open(&grpc)).stdout(open(&http)).stderr(Stdio::piped());
        command.spawn().expect("there is a shell")
    };
    let mut child = start("grpc:http");
    assert_eq!(get_at(&http, "/livez").0, 200);
    let service = format!("unix:{}", grpc.display());
    let waited = Instant::now();
    // It has an answer once the recording was read.
    while !command(&["health", "--service", &service]).status().expect("it starts").success() {
        assert!(waited.elapsed() < LONGEST, "it is never well");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(wait(&mut child).code(), Some(0));
    assert!(grpc.exists() && http.exists(), "they are not the daemon's to remove");

    let child = start("grpc:web");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("\"web\", expected \"grpc\" or \"http\""), "{said}");
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = folder.path().join("notify");
    let socket = UnixDatagram::bind(&manager).expect("a folder");
    socket.set_read_timeout(Some(LONGEST)).expect("it is a socket");
    let grpc = format!("unix:{}", folder.path().join("socket").display());
    let mut child = command(&["serve", "-", "--epoch", "50ms", "--grpc", &grpc])
        .env("NOTIFY_SOCKET", &manager)
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // What it says, until it says something.
    let said = |wanted: &str| {
        let mut all = String::new();
        let mut message = [0; 4096];
        loop {
            let len = socket.recv(&mut message).unwrap_or_else(|error| panic!("{error}: {all}"));
            all.push_str(&String::from_utf8_lossy(&message[..len]));
            all.push('\n');
            if all.lines().any(|line| line.starts_with(wanted)) {
                return all;
            }
        }
    };
    let pid = child.id().to_string();
    let kill = |signal: &str| {
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    };
    // It is alive, but has nothing to answer yet.
    assert!(!said("WATCHDOG=1").contains("READY=1"));
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(&bytes(input("spe-stream"))).expect("it reads");
    said("READY=1");
    kill("-HUP");
    let reloading = said("READY=1");
    let now = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(now.is_some_and(|now| now.parse::<u64>().is_ok()), "{reloading}");
    assert!(reloading.contains("RELOADING=1"), "{reloading}");
    let status = said("STATUS=");
    assert!(status.contains(" records, "), "{status}");
    kill("-TERM");
    said("STOPPING=1");
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_log_without_room_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let http = folder.path().join("http");
    let grpc = format!("unix:{}", folder.path().join("grpc").display());
    let listen = format!("unix:{}", http.display());
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("there is one");
    for format in ["text", "json"] {
        let mut child = command(&["serve", "-", "-v", "--log-format", format])
            .args(["--grpc", &grpc, "--http", &listen, "--http", "tcp:127.0.0.1:0"])
            .args(["--allow-unprivileged", "--cooling-interval", "0s"])
            .stderr(full())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        let stream = bytes(input("spe-stream"));
        stdin.write_all(&stream).expect("it reads");
        // Garbage, which it would tell of.
        stdin.write_all(&[0xa5; 4096]).expect("it reads");
        drop(stdin);
        let start = Instant::now();
        let status = loop {
            let (code, body) = get_at(&http, "/api/v1/GetStatus");
            assert_eq!(code, 200, "{body}");
            let status: Value = serde_json::from_str(&body).expect("JSON");
            if ["ended", "failed"].iter().any(|state| status["inputs"][0]["state"] == *state) {
                break status;
            }
            assert!(start.elapsed() < LONGEST, "{status}");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(status["ledger"]["counted"].as_u64() > Some(0), "{status}");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        assert_eq!(wait(&mut child).code(), Some(0));
    }
    // What a command has to say is not worth a crash either.
    let mut refused =
        command(&["serve", "/no/such/file"]).stderr(full()).spawn().expect("it starts");
    assert_eq!(wait(&mut refused).code(), Some(1));
}

#[test]
fn a_stream_that_comes_too_fast_waits_and_is_all_counted() {
    // Ten seconds of trace, of which it takes five in a second: a tenth of what it is given.
    let config = tracegen::Config {
        records: 100_000,
        form: tracegen::Form::Stream,
        ..tracegen::Config::default()
    };
    let (stream, truth) = tracegen::to_bytes(&config).expect("the configuration is right");
    let mut daemon =
        Daemon::start(&["-", "--replay", "5", "--cooling-interval", "0s", "--ttl", "0s"]);
    let mut stdin = daemon.stdin.take().expect("it is a pipe");
    let start = Instant::now();
    let writer = std::thread::spawn(move || {
        stdin.write_all(&stream).expect("it reads");
        drop(stdin);
        start.elapsed()
    });
    // Meanwhile it answers.
    while !writer.is_finished() {
        let asked = Instant::now();
        let status = daemon.ask("GetStatus", "");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert_ne!(status["inputs"][0]["state"], "failed");
        std::thread::sleep(Duration::from_millis(100));
    }
    let written = writer.join().expect("it has not panicked");
    assert!(written > Duration::from_millis(1500), "the writer did not wait: {written:?}");
    let status = daemon.until("ended");
    let ledger = &status["ledger"];
    assert_eq!(ledger["records"].as_u64(), Some(100_000));
    assert_eq!(ledger["counted"].as_u64(), Some(truth.ledger.counted));
    assert_eq!(ledger["lost"].as_u64(), Some(0));
    daemon.end();
}

#[test]
fn who_may_ask_is_what_the_kernel_says_of_the_process() {
    let is_root = Command::new("id").arg("-u").output().expect("there is id").stdout == b"0\n";
    if !is_root {
        eprintln!("NOT RUN: only root can ask as somebody else");
        return;
    }
    let runs = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
        .args(command_words())
        .arg("--version")
        .output();
    if !runs.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN: nobody else may run the program where it lies, or there is no setpriv");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("it is ours");
    };
    open(folder.path(), 0o755);
    let socket = folder.path().join("socket");
    let service = format!("unix:{}", socket.display());
    let file = input("spe-file");
    let mut child = command(&["serve", "--replay", "0", "--group", "nogroup", "--grpc", &service])
        .arg(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // As user and group with these names.
    let ask = |user: &str, group: &str, arguments: &[&str]| {
        let words = command_words();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", group, "--clear-groups"]).args(&words);
        let output = command.args(arguments).args(["--service", &service]).output();
        let output = output.expect("there is setpriv");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let start = Instant::now();
    while !ask("root", "root", &["health"]).0 {
        assert!(start.elapsed() < LONGEST, "it is never well");
    }
    let top = ["top", "--once"];
    let shows_blocks = |said: &str| said.contains("thp") && !said.contains("no news");
    for (user, group) in [("root", "root"), ("nobody", "nogroup")] {
        let (_, said) = ask(user, group, &top);
        assert!(shows_blocks(&said), "{user}, {group}: {said}");
    }
    let (may, said) = ask("nobody", "daemon", &["health"]);
    assert!(!may && said.contains("ermission denied"), "nobody else reaches the socket: {said}");
    // Even if somebody has opened it to all.
    open(&socket, 0o666);
    let (may, said) = ask("nobody", "daemon", &["health"]);
    assert!(may, "health is for all: {said}");
    let (_, said) = ask("nobody", "daemon", &top);
    assert!(!shows_blocks(&said) && said.contains("are for root"), "blocks are not: {said}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn refusals_are_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = format!("tcp:{}", taken.local_addr().expect("it has one"));
    let text = folder.path().join("text");
    std::fs::write(&text, "not a socket").expect("room");
    let in_the_way = format!("unix:{}", text.display());
    let nowhere = format!("unix:{}/no/folder/socket", folder.path().display());
    let socket = format!("unix:{}/socket", folder.path().display());
    let packed = folder.path().join("packed");
    std::fs::write(&packed, b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0").expect("room");
    let packed = packed.to_str().expect("text");
    let config = folder.path().join("folioscope.toml");
    std::fs::write(&config, "epoch = \"1s\"\nepohc = \"2s\"\n").expect("room");
    let file = input("spe-file");
    let file = file.to_str().expect("text");
    let text = text.to_str().expect("text");
    let config = config.to_str().expect("text");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--grpc", &port, file], 1, "another program listens there"),
        (&["--grpc", &in_the_way, file], 1, "no socket"),
        (&["--grpc", &nowhere, file], 1, "is its folder there"),
        (&["--grpc", "here", file], 2, "an address is unix:PATH or tcp:HOST:PORT"),
        (&["--grpc", "tcp:0.0.0.0:0", file], 2, "--insecure-plain-tcp"),
        (&["--epoch", "0s", file], 2, "--epoch: must be longer than 0s"),
        (&["--config", config, file], 2, ":2: unknown field `epohc`"),
        (
            &["--tls-cert", text, "--tls-key", text, "--grpc", &socket, file],
            1,
            "has no certificate",
        ),
        (&["--grpc", &socket, "/no/such/file"], 1, "cannot open"),
        (&["--grpc", &socket, "--exit-on-eof", text], 1, "text"),
        (&["--grpc", &socket, "--follow", file], 1, "expected a stream"),
        (&["--grpc", &socket, "--follow", file], 1, "leave out --follow"),
        (&["--grpc", &socket, "--follow", packed], 1, "it is compressed, expected a stream"),
        (&["--max-spool", "much", file], 2, "--max-spool: "),
    ];
    for (arguments, code, wanted) in cases {
        let (found, said) = refused(arguments);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(found, Some(*code), "{arguments:?}: {said}");
        assert!(last.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn health_is_what_the_daemon_says() {
    let mut daemon = Daemon::start(&["-"]);
    let health = |socket: &str| {
        let output = command(&["health", "--service", socket]).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = health(&daemon.socket());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("NOT_SERVING"), "{said}");
    assert_eq!(daemon.get("/readyz", "").0, 503);
    let mut stdin = daemon.stdin.take().expect("it is a pipe");
    stdin.write_all(&bytes(input("spe-stream"))).expect("it reads");
    drop(stdin);
    daemon.until("ended");
    // It says so as soon as it knows.
    let start = Instant::now();
    while health(&daemon.socket()).0 != Some(0) {
        assert!(start.elapsed() < LONGEST, "it is never well");
    }
    let top =
        command(&["top", "--once", "--service", &daemon.socket()]).stdout(Stdio::piped()).output();
    let top = String::from_utf8(top.expect("it starts").stdout).expect("text");
    assert!(top.contains("ended") && top.contains("hottest blocks"), "{top}");
    let socket = daemon.socket();
    daemon.end();
    let (code, said) = health(&socket);
    assert_eq!(code, Some(1));
    assert!(said.contains("no daemon answers"), "{said}");
    assert_eq!(said.matches("(os error 2)").count(), 1, "{said}");
}
