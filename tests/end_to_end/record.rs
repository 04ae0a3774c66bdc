//! Capturing from real rings of the kernel's: physical addresses against the page map, refusals,
//! ends, and perf as a reader of what was written.
//!
//! Where the kernel lets no events be opened, a test says so and passes.

use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use decoder::live::{
    About, EventAbout, FileWriter, Lane, MemoryRing, Outlet, SpeCpuAbout, TaskAbout,
};
use tracegen::Config;

use super::program::{
    Run, check_ledger, command_words, emulated, folioscope, number, of_ledger, report, scratch,
};

const PAGE: usize = 4096;
/// Set for the child that touches pages.
const TOUCH: &str = "FOLIOSCOPE_TEST_TOUCH";
/// Pages that it touches.
const PAGES: usize = 700;

/// Says that a test did not run.
fn did_not_run(what: &str, why: &str) {
    eprintln!("DID NOT RUN: {what}: {}", why.trim());
}

/// Whether the kernel lets faults of a process be recorded; if not, says so for `what`.
fn can_record(what: &str) -> bool {
    if emulated() {
        did_not_run(what, "an emulator has no perf events");
        return false;
    }
    let run = folioscope(["record", "--event", "faults", "-o", "/dev/null", "--", "true"]).run();
    if run.code() != 0 {
        did_not_run(what, &run.stderr);
    }
    run.code() == 0
}

/// The physical address that a page map has for an address; `None` if it hides it.
fn physical(pagemap: &File, vaddr: usize) -> Option<u64> {
    const PRESENT: u64 = 1 << 63;
    let mut entry = [0; 8];
    pagemap.read_exact_at(&mut entry, (vaddr / PAGE * 8) as u64).ok()?;
    let entry = u64::from_ne_bytes(entry);
    let frame = entry & ((1 << 55) - 1);
    (entry & PRESENT != 0 && frame != 0).then_some((frame << 12) | (vaddr % PAGE) as u64)
}

fn own_pagemap() -> File {
    File::open("/proc/self/pagemap").expect("a process may open its own page map")
}

/// Rows of `records`: op, virtual and physical address.
fn rows(path: &Path) -> Vec<(String, Option<u64>, Option<u64>)> {
    let text = folioscope(["records"]).arg(path).text();
    let address = |field: &str| (field != "-").then(|| number(field));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    fields.map(|row| (row[5].to_owned(), address(row[7]), address(row[8]))).collect()
}

/// A recorder in the background.
struct Recorder {
    child: Child,
    part: PathBuf,
}

impl Recorder {
    /// Starts it, and waits until its events are open.
    fn start(path: &Path, arguments: &[&str]) -> Result<Self, String> {
        let words = command_words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("record").args(arguments).arg("-o").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let child = command.spawn().expect("the program starts");
        let mut recorder = Self { child, part: part.into() };
        let begin = Instant::now();
        // Its header is written when all events are open, before they count.
        while std::fs::metadata(&recorder.part).map_or(0, |found| found.len()) < 104 {
            if recorder.child.try_wait().expect("it can be waited for").is_some() {
                let mut why = String::new();
                let stderr = recorder.child.stderr.as_mut().expect("it is piped");
                stderr.read_to_string(&mut why).expect("it says text");
                return Err(why);
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "it does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(500));
        Ok(recorder)
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(self) -> Output {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().expect("there is kill");
        assert!(sent.success());
        let output = self.child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!self.part.exists(), "the finished file has its name");
        output
    }
}

/// The child of another test: touches pages, and prints where each of them lies.
#[test]
fn touches_pages() {
    if std::env::var_os(TOUCH).is_none() {
        return;
    }
    let mut pages = vec![0u8; (PAGES + 1) * PAGE];
    let first = pages.as_ptr().addr().next_multiple_of(PAGE) - pages.as_ptr().addr();
    let pagemap = own_pagemap();
    for page in pages[first..].chunks_exact_mut(PAGE).take(PAGES) {
        page[24] = 1;
        let vaddr = page.as_ptr().addr();
        let paddr = physical(&pagemap, vaddr).unwrap_or(0);
        println!("page {vaddr:#x} {paddr:#x}");
    }
    std::hint::black_box(&pages);
}

/// Runs the child under a recorder, and gives what it printed.
fn record_child(path: &Path, more: &[&str]) -> Run {
    let test = std::env::current_exe().expect("a test knows its own file");
    let test = test.to_str().expect("the path is text");
    folioscope(["record", "--event", "faults", "-o"])
        .arg(path)
        .args(more)
        .args(["--", test, "record::touches_pages", "--exact", "--nocapture", "--test-threads=1"])
        .env(TOUCH, "1")
        .run()
}

#[test]
fn faults_of_a_command_lie_where_the_page_map_says() {
    let what = "record: faults against the page map";
    if !can_record(what) {
        return;
    }
    let folder = scratch();
    let path = folder.path().join("faults.data");
    let run = record_child(&path, &["--strict"]).succeeded();
    let text = run.text();
    let printed = text.lines().filter_map(|line| line.split_once("page "));
    let printed: Vec<(u64, u64)> = printed
        .filter_map(|(_, line)| line.split_once(' '))
        .map(|(vaddr, paddr)| (number(vaddr), number(paddr)))
        .collect();
    assert_eq!(printed.len(), PAGES, "{text}");
    if printed.iter().any(|(_, paddr)| *paddr == 0) {
        return did_not_run(what, "the page map hides physical addresses");
    }
    let rows = rows(&path);
    let mut found = 0;
    for (vaddr, paddr) in printed {
        // With huge pages one fault serves many.
        let row = rows.iter().filter_map(|(_, v, p)| Some(((*v)?, *p)));
        for (_, recorded) in row.filter(|(v, _)| v / PAGE as u64 == vaddr / PAGE as u64) {
            let recorded = recorded.unwrap_or_else(|| panic!("{vaddr:#x} has no frame"));
            assert_eq!(recorded / PAGE as u64, paddr / PAGE as u64, "{vaddr:#x}");
            found += 1;
        }
    }
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let always = huge.is_ok_and(|text| text.contains("[always]"));
    assert!(if always { found >= 1 } else { found >= PAGES }, "{found} of {PAGES}");
    let report = report(&path, &[]);
    check_ledger(&report);
    assert_eq!((of_ledger(&report, "lost"), report["input"]["kind"].as_str()), (0, Some("file")));
    assert_eq!(report["input"]["sources"], serde_json::json!(["sample"]));
}

/// A word of a page of its own.
#[repr(align(4096))]
struct Watched(AtomicU64);

#[test]
fn every_access_to_a_watched_address_is_one_record() {
    let what = "record: a breakpoint against the page map";
    if !can_record(what) {
        return;
    }
    const STORES: u64 = 1000;
    let watched = Box::new(Watched(AtomicU64::new(0)));
    let vaddr = std::ptr::from_ref(&watched.0).addr();
    let folder = scratch();
    let path = folder.path().join("watched.data");
    let event = format!("mem:{vaddr:#x}/8:w");
    let pid = std::process::id().to_string();
    let recorder = match Recorder::start(&path, &["--event", &event, "--pid", &pid]) {
        Ok(recorder) => recorder,
        Err(why) => return did_not_run(what, &why),
    };
    for number in 0..STORES {
        watched.0.store(number, Ordering::Relaxed);
    }
    let Some(paddr) = physical(&own_pagemap(), vaddr) else {
        return did_not_run(what, "the page map hides physical addresses");
    };
    recorder.interrupt();
    let rows = rows(&path);
    assert_eq!(rows.len() as u64, STORES);
    for (_, recorded_vaddr, recorded) in rows {
        assert_eq!((recorded_vaddr, recorded), (Some(vaddr as u64), Some(paddr)));
    }
    let pages = folioscope(["pages"]).arg(&path).text();
    assert_eq!(pages, format!("{:#x} {STORES}\n", paddr >> 12));
}

#[test]
fn a_stream_and_a_report_say_what_a_file_says() {
    if !can_record("record: stream and report") {
        return;
    }
    let stream = folioscope(["record", "--event", "faults", "-o", "-", "--", "echo", "hello"]);
    let stream = stream.run().succeeded();
    assert_eq!(&stream.stdout[..8], b"PERFILE2");
    assert!(stream.stderr.contains("hello"), "the command's own output stays out of the stream");
    let counted = folioscope(["report", "--format", "json", "-"]).input(&stream.stdout).json();
    check_ledger(&counted);
    assert_eq!(counted["input"]["kind"], "stream");
    assert!(counted["accesses"].as_u64() > Some(10), "{counted}");
    let live = folioscope(["record", "--event", "faults", "--format", "json", "--yield"]);
    let live = live.args(["--", "echo", "hello"]).run().succeeded();
    let report = live.json();
    check_ledger(&report);
    assert!(report["accesses"].as_u64() > Some(10), "{report}");
    assert!(live.stderr.contains("yield: ") && live.stderr.contains("hello"), "{}", live.stderr);
    // A program of the same size touches about as much.
    let accesses = |report: &serde_json::Value| report["accesses"].as_f64().unwrap_or(0.0);
    let ratio = accesses(&report) / accesses(&counted);
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
}

#[test]
fn ctrl_c_ends_with_a_complete_file_or_report() {
    let what = "record: Ctrl-C";
    if !can_record(what) {
        return;
    }
    let folder = scratch();
    let path = folder.path().join("all.data");
    let recorder = match Recorder::start(&path, &["--event", "faults", "--all-cpus"]) {
        Ok(recorder) => recorder,
        Err(why) => return did_not_run(what, &why),
    };
    assert!(Command::new("true").status().expect("there is true").success());
    recorder.interrupt();
    let bytes = std::fs::read(&path).expect("it was written");
    let data_len = u64::from_ne_bytes(bytes[48..56].try_into().expect("eight bytes"));
    assert!(data_len > 0, "the header says how long the records are");
    let report = report(&path, &[]);
    check_ledger(&report);
    assert!(report["accesses"].as_u64() > Some(0), "{report}");
    assert_eq!(report["top"][0]["unknown_op"], report["top"][0]["accesses"]);

    let mut script = Command::new("sh");
    // The shell makes itself the program, so that the signal reaches it.
    script.args(["-c", "exec \"$@\" 2>&1", "sh"]).args(command_words());
    script.args(["record", "--event", "faults", "--format", "json"]);
    let child = script.stdout(Stdio::piped()).spawn().expect("there is a shell");
    std::thread::sleep(Duration::from_millis(700));
    assert!(Command::new("true").status().expect("there is true").success());
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    check_ledger(&report);
}

#[test]
fn a_duration_ends_it_too() {
    if !can_record("record: --duration") {
        return;
    }
    let begin = Instant::now();
    let run =
        folioscope(["record", "--event", "faults", "--duration", "300ms", "--format", "json"]);
    let run = run.args(["--", "sleep", "100"]).run().succeeded();
    assert!(begin.elapsed() < Duration::from_secs(20));
    check_ledger(&run.json());
}

#[test]
fn without_rights_one_sentence_says_what_to_change() {
    let what = "record: refusals without rights";
    if !can_record(what) {
        return;
    }
    let folder = scratch();
    let place = folder.path();
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let words = command_words();
    let program = place.join("folioscope");
    std::fs::copy(&words[0], &program).expect("there is room for a copy");
    let nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        command.arg("--bounding-set=-all").arg(&program).args(arguments).output()
    };
    match nobody(&["--version"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return did_not_run(what, &String::from_utf8_lossy(&output.stderr)),
        Err(error) => return did_not_run(what, &format!("setpriv: {error}")),
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let paranoid: i64 = paranoid.expect("it can be read").trim().parse().expect("a number");
    if paranoid <= 1 {
        return did_not_run(what, &format!("kernel.perf_event_paranoid is {paranoid}"));
    }
    for arguments in [
        &["record", "--event", "faults", "--", "true"][..],
        &["record", "--event", "faults", "--duration", "1s"],
        &["record", "--event", "mem:0x1000/8:rw", "--duration", "1s"],
    ] {
        let output = nobody(arguments).expect("it started before");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let found = format!("kernel.perf_event_paranoid is {paranoid}");
        for word in [found.as_str(), "CAP_PERFMON", "`setcap cap_perfmon"] {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_cannot_be_recorded_is_refused() {
    if emulated() {
        return did_not_run("record: refusals", "an emulator has no perf events");
    }
    let folder = scratch();
    let path = folder.path().join("never.data");
    let path = path.to_str().expect("the path is text");
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (&["--event", "cycles"], 2, &["cycles", "spe, ibs, pebs, faults"]),
        (&["--max-overhead", "2"], 2, &["percentage"]),
        (&["--period", "0"], 2, &["0"]),
        (&["--loads", "--event", "faults", "-o", path, "--", "true"], 1, &["cannot filter"]),
        (&["--event", "faults", "--pid", "4194305", "-o", path], 1, &["no process 4194305"]),
        (&["--pid", "1", "--", "true"], 2, &["cannot be used with"]),
        (&["--event", "faults", "-o", path, "--format", "json"], 2, &["cannot be used with"]),
    ];
    for (arguments, code, words) in cases {
        let run = folioscope(["record"]).args(arguments).run();
        assert_eq!(run.code(), code, "{arguments:?}: {}", run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "{arguments:?}: no {word:?} in {}", run.stderr);
        }
    }
    if can_record("record: a command that is none") {
        let run = folioscope(["record", "--event", "faults", "-o", path, "--", "/no/such"]).run();
        run.failed(&["/no/such", "cannot start"]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is ours").count(), 0, "no leavings");
    }
}

/// perf with arguments; `None`, said visibly, where there is none.
fn perf(what: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new("perf").args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            did_not_run(what, &format!("perf: {error}"));
            None
        }
    }
}

/// Physical addresses as `perf script` prints them, in ascending order.
fn perf_addresses(output: &Output) -> Vec<u64> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let address = |word: &str| u64::from_str_radix(word, 16).expect("an address");
    let mut addresses: Vec<_> = text.split_whitespace().map(address).collect();
    addresses.retain(|address| *address != 0);
    addresses.sort_unstable();
    addresses
}

#[test]
fn perf_reads_what_was_recorded() {
    let what = "record: perf as a reader";
    if !can_record(what) {
        return;
    }
    let folder = scratch();
    let path = folder.path().join("perf.data");
    record_child(&path, &[]).succeeded();
    let name = path.to_str().expect("the path is text");
    let Some(output) = perf(what, &["script", "-i", name, "-F", "phys_addr"]) else { return };
    let mut ours: Vec<_> = rows(&path).into_iter().filter_map(|(_, _, paddr)| paddr).collect();
    ours.sort_unstable();
    assert!(ours.len() >= 100);
    assert_eq!(perf_addresses(&output), ours);
    let dump = perf(what, &["report", "-D", "-i", name]).expect("it ran before");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let text = String::from_utf8_lossy(&dump.stdout);
    assert_eq!(text.matches("PERF_RECORD_SAMPLE(").count(), rows(&path).len());
    assert!(text.contains("minor-faults"), "the event has its name");

    let stream = folioscope(["record", "--event", "faults", "-o", "-", "--", "true"]).run();
    let saved = folder.path().join("stream");
    std::fs::write(&saved, &stream.succeeded().stdout).expect("there is room");
    let script = "cat \"$0\" | perf script -i - -F phys_addr";
    let read = Command::new("sh").args(["-c", script]).arg(&saved).output().expect("a shell");
    let mut ours: Vec<_> = rows(&saved).into_iter().filter_map(|(_, _, paddr)| paddr).collect();
    ours.sort_unstable();
    assert_eq!(perf_addresses(&read), ours);
}

/// A file of Arm SPE data that came through rings in memory.
fn spe_file(bytes: &[u8]) -> Vec<u8> {
    const PMU: u32 = 11;
    let mut attr = vec![0; 128];
    let fields: u64 = 1 << 16 | 1 << 15 | 1 << 19 | 1 << 7 | 0b111;
    let words = [(0, u64::from(PMU) | 128 << 32), (8, 2), (16, 1024), (24, fields), (40, 1 << 18)];
    for (at, word) in words {
        attr[at..at + 8].copy_from_slice(&word.to_ne_bytes());
    }
    let name = "arm_spe_0/pa_enable=1/".to_owned();
    let about = About {
        events: vec![EventAbout { attr, ids: vec![1], name }],
        features: Vec::new(),
        time: Some(decoder::live::TimeConversion { shift: 0, mult: 1, zero: 0, short: None }),
        spe: vec![SpeCpuAbout { cpu: 0, midr: 0x410f_d0c0, pmu_type: PMU, min_interval: 1024 }],
        tasks: vec![TaskAbout { pid: 7, tid: 8, name: "worker".to_owned() }],
    };
    let mut writer = FileWriter::new(Cursor::new(Vec::new()));
    writer.begin(&about).expect("memory takes it");
    let aux = MemoryRing::new(1 << 16, 0);
    let mut lane = Lane::new(0, Some(0), MemoryRing::new(4096, 0), Some(aux));
    // Pieces that end inside records would be a test of perf.
    for piece in bytes.chunks(64 * 700) {
        assert!(lane.aux.as_mut().is_some_and(|aux| aux.ring_mut().write(piece)));
        lane.drain(false, &mut writer).expect("memory takes it");
        writer.pass_ended().expect("memory takes it");
    }
    lane.drain(true, &mut writer).expect("memory takes it");
    writer.finish().expect("memory takes it").into_inner()
}

#[test]
fn perf_reads_arm_spe_data_that_came_through_a_ring() {
    let config = Config { records: 5000, ..Config::default() };
    let (bytes, truth) = tracegen::aux_bytes(&config).expect("the configuration is right");
    let folder = scratch();
    let path = super::program::write(folder.path(), "spe.data", &spe_file(&bytes));
    let report = report(&path, &[]);
    check_ledger(&report);
    assert_eq!(of_ledger(&report, "counted"), truth.counts.values().sum::<u64>());
    assert_eq!(of_ledger(&report, "skipped_bytes") + of_ledger(&report, "cut_off_bytes"), 0);
    let what = "record: perf as a reader of Arm SPE data";
    let name = path.to_str().expect("the path is text");
    let arguments = ["script", "--itrace=i1i", "-i", name, "-F", "phys_addr"];
    let Some(output) = perf(what, &arguments) else { return };
    let mut ours: Vec<_> = rows(&path).into_iter().filter_map(|(_, _, paddr)| paddr).collect();
    ours.retain(|paddr| *paddr != 0);
    ours.sort_unstable();
    assert_eq!(perf_addresses(&output), ours);
}
