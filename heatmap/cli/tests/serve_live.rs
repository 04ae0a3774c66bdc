//! `serve --live`: what programs touch, captured from the kernel's own rings, must be found by gRPC in the frames where
//! their page maps say that it lies.
//!
//! Where the kernel lets no events be opened, a test says so and passes.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{self, Address};
use proto::v1;
use proto::v1::heatmap_service_client::HeatmapServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;

const LONGEST: Duration = Duration::from_secs(300);
const PAGE: usize = 4096;
/// Pages that the child touches, once each.
const PAGES: usize = 700;
/// Stores to each of the watched words.
const STORES: [u64; 3] = [1000, 300, 7];
/// How often the child maps a page again, and how much it maps: no allocator keeps that.
const ROUNDS: usize = 6;
const MAPPED: usize = 64 << 20;
/// Where in it the page is, beyond what an allocator writes at its start.
const WITHIN: usize = 32 << 20;
/// Set for the child that touches pages.
const TOUCH: &str = "FOLIOSCOPE_TEST_TOUCH";

/// Says that a test did not run.
fn did_not_run(what: &str, why: &str) {
    // Not by a macro, whose output the test harness keeps to itself where a test passes.
    let _ = writeln!(std::io::stderr(), "DID NOT RUN: {what}: {}", why.trim());
}

/// The frame that this process's page map has for an address; `None` if it hides it.
fn frame(vaddr: usize) -> Option<u64> {
    const PRESENT: u64 = 1 << 63;
    let pagemap = File::open("/proc/self/pagemap").expect("a process may open its own page map");
    let mut entry = [0; 8];
    pagemap.read_exact_at(&mut entry, (vaddr / PAGE * 8) as u64).ok()?;
    let entry = u64::from_ne_bytes(entry);
    let frame = entry & ((1 << 55) - 1);
    (entry & PRESENT != 0 && frame != 0).then_some(frame)
}

/// A daemon that captures.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts it, and waits until its events count.
    async fn start(arguments: &[&str]) -> Result<(Self, HeatmapServiceClient<Channel>), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        let said = folder.path().join("said");
        let child = Command::new(env!("CARGO_BIN_EXE_folioscope"))
            .args(["serve", "--grpc", &format!("unix:{}", socket.display())])
            .args(["--cooling-interval", "0s", "--ttl", "0s"])
            .args(if arguments.contains(&"--epoch") { &[][..] } else { &["--epoch", "100ms"] })
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(File::create(&said).expect("a file"))
            .spawn()
            .expect("it starts");
        let mut daemon = Self { child, folder };
        let address = Address::Unix(socket);
        let start = Instant::now();
        loop {
            if daemon.child.try_wait().expect("it can be waited for").is_some() {
                return Err(std::fs::read_to_string(&said).unwrap_or_default());
            }
            if let Ok(channel) = client::connect(&address).await {
                let mut client = client::heatmap(channel);
                let status = client.get_status(v1::GetStatusRequest {}).await;
                let capture = status.ok().and_then(|status| status.into_inner().capture);
                if capture.is_some_and(|capture| capture.cpus > 0) {
                    return Ok((daemon, client));
                }
            }
            assert!(start.elapsed() < LONGEST, "it does not begin");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().expect("there is kill");
        assert!(sent.success());
        let status = self.child.wait().expect("it ends");
        let said = std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
        assert!(status.success(), "{said}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All counters by frame, once there are at least so many accesses and all that was read is in them.
async fn counters(client: &mut HeatmapServiceClient<Channel>, least: u64) -> BTreeMap<u64, u64> {
    let start = Instant::now();
    loop {
        let status = client.get_status(v1::GetStatusRequest {}).await.expect("it answers");
        let status = status.into_inner();
        let counted = status.ledger.as_ref().map_or(0, |ledger| ledger.counted);
        let request = v1::ListFoliosRequest { page_size: 1000, ..v1::ListFoliosRequest::default() };
        let folios = client.list_folios(request).await.map(|list| list.into_inner().folios);
        let mut counters = BTreeMap::new();
        for folio in folios.unwrap_or_default() {
            let pfn = folio.fraction.expect("it has one").folio_pfn;
            let folio = Some(v1::get_folio_request::Folio::Pfn(pfn));
            let request = v1::GetFolioRequest { folio, ..v1::GetFolioRequest::default() };
            let folio = client.get_folio(request).await.expect("it is listed").into_inner();
            let counts = (pfn..).zip(folio.counts).filter(|(_, count)| *count > 0);
            counters.extend(counts.map(|(pfn, count)| (pfn, u64::from(count))));
        }
        if counted >= least && counters.values().sum::<u64>() == counted {
            return counters;
        }
        assert!(start.elapsed() < LONGEST, "{counted} of {least}: {status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The child of another test: touches pages when it is told to, prints where each of them lies, and keeps them until it
/// is told to end.
#[test]
fn touches_pages() {
    if std::env::var_os(TOUCH).is_none() {
        return;
    }
    let mut pages = vec![0u8; (PAGES + 1) * PAGE];
    let first = pages.as_ptr().addr().next_multiple_of(PAGE) - pages.as_ptr().addr();
    let mut lines = std::io::stdin().lines();
    println!("ready");
    lines.next();
    for page in pages[first..].chunks_exact_mut(PAGE).take(PAGES) {
        page[24] = 1;
    }
    for page in pages[first..].chunks_exact(PAGE).take(PAGES) {
        println!("page {}", frame(page.as_ptr().addr()).unwrap_or(0));
    }
    println!("done");
    lines.next();
    std::hint::black_box(&pages);
}

/// A child, which has its memory and has not touched it.
fn child(test: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().expect("a test knows its own file"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(TOUCH, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready"));
    assert!(ready);
    (child, lines.map_while(Result::ok))
}

fn tell(child: &mut Child) {
    let stdin = child.stdin.as_mut().expect("it is a pipe");
    stdin.write_all(b"\n").expect("it reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn faults_are_counted_in_the_frames_of_the_page_map() {
    let what = "serve --live: faults against the page map";
    let (mut child, mut lines) = child("touches_pages");
    let pid = child.id().to_string();
    let (daemon, mut client) = match Daemon::start(&["--live=faults", "--pid", &pid]).await {
        Ok(started) => started,
        Err(why) => {
            tell(&mut child);
            tell(&mut child);
            child.wait().expect("it ends");
            return did_not_run(what, &why);
        }
    };
    tell(&mut child);
    let frames: Vec<u64> = lines
        .by_ref()
        .take_while(|line| line != "done")
        .filter_map(|line| line.split_once("page ")?.1.parse().ok())
        .collect();
    assert_eq!(frames.len(), PAGES);
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let always = huge.is_ok_and(|text| text.contains("[always]"));
    let least = if always { 1 } else { PAGES as u64 };
    let counters = counters(&mut client, least).await;
    tell(&mut child);
    assert!(child.wait().expect("it ends").success());
    drop(client);
    daemon.interrupt();
    if frames.contains(&0) {
        return did_not_run(what, "the page map hides frames");
    }
    let found = frames.iter().filter(|frame| counters.get(frame) == Some(&1)).count();
    // With huge pages one fault serves many.
    assert!(if always { found >= 1 } else { found == PAGES }, "{found} of {PAGES}");
}

/// The child of another test: touches one page again and again, each time in memory that was mapped anew at the same
/// address, and prints where it lies. Pages that it keeps have the frames that it has given back.
#[test]
fn touches_a_page_again() {
    if std::env::var_os(TOUCH).is_none() {
        return;
    }
    let touch = |memory: &mut [u8], at: usize| {
        memory[at] = 1;
        let vaddr = memory[at..].as_ptr().addr();
        println!("page {vaddr} {}", frame(vaddr).unwrap_or(0));
    };
    let mut lines = std::io::stdin().lines();
    println!("ready");
    let mut kept = vec![0u8; MAPPED];
    let mut page = Vec::new();
    for round in 0..ROUNDS {
        lines.next();
        drop(page);
        touch(&mut kept, (round + 1) * (4 << 20));
        page = vec![0u8; MAPPED];
        touch(&mut page, WITHIN);
        println!("done");
    }
    lines.next();
    std::hint::black_box((&kept, &page));
}

/// A fault says that its page has just been mapped: what was known of the page before is no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_page_that_is_mapped_again_is_counted_in_its_new_frame() {
    let what = "serve --live: faults of a page that is mapped again";
    let (mut child, mut lines) = child("touches_a_page_again");
    let pid = child.id().to_string();
    // The kernel tells of these faults before it has a frame, so that all are looked up.
    let started = Daemon::start(&["--live=page-faults", "--pid", &pid]).await;
    let (daemon, mut client) = match started {
        Ok(started) => started,
        Err(why) => {
            (0..=ROUNDS).for_each(|_| tell(&mut child));
            child.wait().expect("it ends");
            return did_not_run(what, &why);
        }
    };
    let (mut pages, mut counted) = (Vec::new(), BTreeMap::new());
    for _ in 0..ROUNDS {
        let before = counted.values().sum::<u64>();
        tell(&mut child);
        let round = lines.by_ref().take_while(|line| line != "done");
        let page = |line: String| {
            let (vaddr, frame) = line.split_once("page ")?.1.split_once(' ')?;
            Some((vaddr.parse().ok()?, frame.parse().ok()?))
        };
        pages.extend(round.filter_map(page));
        // Both pages stay where they are until they are counted.
        counted = counters(&mut client, before + 2).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let counted = counters(&mut client, 0).await;
    tell(&mut child);
    assert!(child.wait().expect("it ends").success());
    drop(client);
    daemon.interrupt();
    let pages: Vec<(u64, u64)> = pages;
    assert_eq!(pages.len(), 2 * ROUNDS);
    if pages.iter().any(|(_, frame)| *frame == 0) {
        return did_not_run(what, "the page map hides frames");
    }
    let again: Vec<_> = pages.iter().skip(1).step_by(2).collect();
    assert!(again.iter().all(|(vaddr, _)| *vaddr == again[0].0), "one address: {again:x?}");
    assert!(again.iter().any(|(_, frame)| *frame != again[0].1), "several frames: {again:x?}");
    let mut want = BTreeMap::<u64, u64>::new();
    pages.iter().for_each(|(_, frame)| *want.entry(*frame).or_default() += 1);
    for (frame, faults) in want {
        let found = counted.get(&frame).copied().unwrap_or(0);
        assert!(found >= faults, "{found} of {faults} in {frame:#x}: {pages:x?} {counted:x?}");
    }
}

/// The child of another test: touches fresh pages until it is ended.
#[test]
fn touches_pages_for_ever() {
    while std::env::var_os(TOUCH).is_some() {
        println!("ready");
        // No allocator keeps so much for the next time.
        let pages = vec![1u8; 40 << 20];
        std::hint::black_box(&pages);
    }
}

/// What a budget leaves out is told as soon as the period is, long before an epoch ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_period_and_the_notes_agree() {
    let what = "serve --live: what a budget left out";
    let (mut child, lines) = child("touches_pages_for_ever");
    let reads = std::thread::spawn(move || lines.count());
    let pid = child.id().to_string();
    let arguments = ["--live=faults", "--pid", &pid, "--max-overhead", "1%", "--epoch", "1h"];
    let (daemon, mut client) = match Daemon::start(&arguments).await {
        Ok(started) => started,
        Err(why) => {
            child.kill().and_then(|()| child.wait()).expect("it ends");
            return did_not_run(what, &why);
        }
    };
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let few = huge.is_ok_and(|text| text.contains("[always]"));
    let (start, mut stretched) = (Instant::now(), 0);
    while stretched < 50 && !few {
        let status = client.get_status(v1::GetStatusRequest {}).await.expect("it answers");
        let status = status.into_inner();
        let period = status.capture.expect("it captures").period;
        let said = |note: &String| {
            let longest = note.strip_prefix("minor-faults: period 1, stretched up to ")?;
            longest.split_once(' ')?.0.parse::<u64>().ok()
        };
        if period > 1 {
            stretched += 1;
            let longest = status.notes.iter().find_map(said);
            assert!(
                longest.is_some_and(|longest| longest >= period),
                "{period} {:?}",
                status.notes
            );
        }
        assert!(start.elapsed() < LONGEST, "{period} {:?}", status.notes);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().and_then(|()| child.wait()).expect("it ends");
    reads.join().expect("it ends with the child");
    drop(client);
    daemon.interrupt();
    if few {
        did_not_run(what, "huge pages leave few faults");
    }
}

/// A word of a page of its own.
#[repr(align(4096))]
struct Watched(AtomicU64);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_access_to_watched_addresses_is_counted_in_their_frames() {
    let what = "serve --live: breakpoints against the page map";
    let watched = STORES.map(|_| Box::new(Watched(AtomicU64::new(0))));
    let vaddrs = watched.each_ref().map(|word| std::ptr::from_ref(&word.0).addr());
    let event = vaddrs.map(|vaddr| format!("mem:{vaddr:#x}/8:w")).join(",");
    let (live, pid) = (format!("--live={event}"), std::process::id().to_string());
    let (daemon, mut client) = match Daemon::start(&[&live, "--pid", &pid]).await {
        Ok(started) => started,
        Err(why) => return did_not_run(what, &why),
    };
    for (word, times) in watched.iter().zip(STORES) {
        (0..times).for_each(|number| word.0.store(number, Ordering::Relaxed));
    }
    let all = STORES.iter().sum();
    let counters = counters(&mut client, all).await;
    let status = client.get_status(v1::GetStatusRequest {}).await.expect("it answers");
    let status = status.into_inner();
    drop(client);
    daemon.interrupt();
    let capture = status.capture.expect("it captures");
    assert_eq!((capture.event, capture.period, capture.samples), (event, 1, all));
    assert_eq!(status.inputs[0].path, "live");
    let frames = vaddrs.map(frame);
    if frames.contains(&None) {
        return did_not_run(what, "the page map hides frames");
    }
    let want: BTreeMap<_, _> = frames.into_iter().flatten().zip(STORES).collect();
    assert_eq!(counters, want);
}
