//! Capturing from real rings of the kernel's: physical addresses against the page map, refusals,
//! ends, and perf as a reader of what was written.
//!
//! Where the kernel lets no events be opened, a test says so and passes.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use decoder::live::{
    About, CpuRings, EventAbout, FileWriter, MemoryRing, RecordingWriter, SpeCpuAbout, TaskAbout,
};
use tests::emulation::emulated;
use tracegen::Config;

use super::program::{
    Nobody, Run, check_ledger, command_words, folioscope, in_shell, number, of_ledger, report,
    scratch,
};

const PAGE: usize = 4096;
/// Set for the child that touches pages.
const TOUCH: &str = "FOLIOSCOPE_TEST_TOUCH";
/// Pages that it touches.
const PAGES: usize = 700;

/// Says that a test did not run.
fn did_not_run(what: &str, why: &str) {
    // Not by a macro, whose output the test harness keeps to itself where a test passes.
    let _ = writeln!(std::io::stderr(), "DID NOT RUN: {what}: {}", why.trim());
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
fn every_access_to_watched_addresses_is_one_record() {
    let what = "record: breakpoints against the page map";
    if !can_record(what) {
        return;
    }
    let _ours = all_breakpoints();
    // Pages of their own, and how often each is written to.
    let stores = [1000, 300, 7];
    let watched: Vec<_> = stores.iter().map(|_| Box::new(Watched(AtomicU64::new(0)))).collect();
    let vaddrs: Vec<_> = watched.iter().map(|word| std::ptr::from_ref(&word.0).addr()).collect();
    let events: Vec<_> = vaddrs.iter().map(|vaddr| format!("mem:{vaddr:#x}/8:w")).collect();
    let folder = scratch();
    let path = folder.path().join("watched.data");
    let pid = std::process::id().to_string();
    let recorder = match Recorder::start(&path, &["--event", &events.join(","), "--pid", &pid]) {
        Ok(recorder) => recorder,
        Err(why) => return did_not_run(what, &why),
    };
    for (word, times) in watched.iter().zip(stores) {
        for number in 0..times {
            word.0.store(number, Ordering::Relaxed);
        }
    }
    let pagemap = own_pagemap();
    let paddrs: Option<Vec<_>> = vaddrs.iter().map(|vaddr| physical(&pagemap, *vaddr)).collect();
    let Some(paddrs) = paddrs else {
        return did_not_run(what, "the page map hides physical addresses");
    };
    recorder.interrupt();
    let rows = rows(&path);
    assert_eq!(rows.len() as u64, stores.iter().sum::<u64>());
    let place = vaddrs.iter().map(|vaddr| Some(*vaddr as u64)).zip(paddrs.iter().map(|p| Some(*p)));
    for ((vaddr, paddr), times) in place.zip(stores) {
        let found = rows.iter().filter(|(_, v, p)| (*v, *p) == (vaddr, paddr)).count();
        assert_eq!(found as u64, times, "{vaddr:x?} {paddr:x?}");
    }
    let mut pages: Vec<_> = paddrs.iter().map(|paddr| paddr >> 12).zip(stores).collect();
    pages.sort_unstable();
    let lines: Vec<_> = pages.iter().map(|(pfn, times)| format!("{pfn:#x} {times}\n")).collect();
    assert_eq!(folioscope(["pages"]).arg(&path).text(), lines.concat());
}

/// This process has few breakpoints: one test at a time uses them.
static BREAKPOINTS: Mutex<()> = Mutex::new(());

fn all_breakpoints() -> MutexGuard<'static, ()> {
    BREAKPOINTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A breakpoint on a word of ours.
fn watch(word: &Watched) -> String {
    format!("mem:{:#x}/8:w", std::ptr::from_ref(&word.0).addr())
}

/// Takes all hardware breakpoints of this process, with a word for each and one that has none.
struct AllTaken {
    words: Vec<Box<Watched>>,
    holders: Vec<Recorder>,
    folder: tempfile::TempDir,
}

impl AllTaken {
    /// `None`, said visibly, where that cannot be done.
    fn new(what: &str) -> Option<Self> {
        /// More than any processor has.
        const MOST: usize = 17;
        let (mut words, mut holders, folder) = (Vec::new(), Vec::new(), scratch());
        let pid = std::process::id().to_string();
        while holders.len() < MOST {
            words.push(Box::new(Watched(AtomicU64::new(0))));
            let event = watch(words.last().expect("one was added"));
            let path = folder.path().join(format!("{}.data", holders.len()));
            match Recorder::start(&path, &["--event", &event, "--pid", &pid]) {
                Ok(holder) => holders.push(holder),
                Err(why) if why.contains("breakpoints") && !holders.is_empty() => {
                    assert_eq!(why.lines().count(), 1, "{why}");
                    assert!(why.contains("wait for one with --yield"), "{why}");
                    return Some(Self { words, holders, folder });
                }
                Err(why) => {
                    did_not_run(what, &why);
                    break;
                }
            }
        }
        holders.into_iter().for_each(|holder| _ = holder.interrupt());
        None
    }

    /// Starts one that waits for a breakpoint on the last word, and returns once it says so.
    fn wait_for_one(&self, more: &[&str]) -> Waiter {
        let event = watch(self.words.last().expect("there is one more than slots"));
        let words = command_words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["record", "--yield", "--event", &event, "--pid"]);
        command.arg(std::process::id().to_string()).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut said = String::new();
        stderr.read_line(&mut said).expect("it says text");
        assert!(said.contains("in use by somebody else: waiting for it"), "{said}");
        Waiter { child, stderr, begin: Instant::now() }
    }

    fn end(self) {
        self.holders.into_iter().for_each(|holder| _ = holder.interrupt());
    }
}

/// A recorder that waits.
struct Waiter {
    child: Child,
    stderr: BufReader<ChildStderr>,
    begin: Instant,
}

impl Waiter {
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    }

    /// What it printed, and what it said after that it waits; and how long it ran since then.
    fn end(mut self) -> (String, String, Duration) {
        let (mut printed, mut said) = (String::new(), String::new());
        let mut stdout = self.child.stdout.take().expect("it is piped");
        stdout.read_to_string(&mut printed).expect("it prints text");
        self.stderr.read_to_string(&mut said).expect("it says text");
        assert!(self.child.wait().expect("it ends").success(), "{said}");
        (printed, said, self.begin.elapsed())
    }
}

#[test]
fn one_that_gives_way_waits_for_its_turn() {
    let what = "record: --yield waits for a breakpoint";
    if !can_record(what) {
        return;
    }
    let _ours = all_breakpoints();
    const STORES: u64 = 500;
    let Some(mut taken) = AllTaken::new(what) else { return };
    let path = taken.folder.path().join("waited.data");
    let waiter = taken.wait_for_one(&["-o", path.to_str().expect("the path is text")]);
    let part = taken.folder.path().join("waited.data.part");
    let began = || std::fs::metadata(&part).map_or(0, |found| found.len()) >= 104;
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!began(), "all slots are still taken");
    taken.holders.pop().expect("there is one").interrupt();
    let begin = Instant::now();
    while !began() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not get the slot");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Its header is written before its events count.
    std::thread::sleep(Duration::from_millis(500));
    let word = taken.words.last().expect("there is one more than slots");
    for number in 0..STORES {
        word.0.store(number, Ordering::Relaxed);
    }
    waiter.interrupt();
    let (_, said, _) = waiter.end();
    assert_eq!(said, "", "it said that it waits once, and lost nothing");
    let vaddr = std::ptr::from_ref(&word.0).addr() as u64;
    let rows = rows(&path);
    assert_eq!(rows.len() as u64, STORES);
    assert!(rows.iter().all(|(_, recorded, _)| *recorded == Some(vaddr)));
    taken.end();
}

#[test]
fn who_waits_in_vain_ends_with_a_reason() {
    let what = "record: --yield in vain";
    if !can_record(what) {
        return;
    }
    let _ours = all_breakpoints();
    let Some(taken) = AllTaken::new(what) else { return };
    let reason = "nothing was captured: the unit on CPU 0 was in use all the time";
    // Ctrl-C: a report, and a file.
    let waiter = taken.wait_for_one(&["--format", "json"]);
    waiter.interrupt();
    let (printed, said, _) = waiter.end();
    let empty: serde_json::Value = serde_json::from_str(&printed).expect("a report");
    check_ledger(&empty);
    assert_eq!((empty["accesses"].as_u64(), empty["reason"].is_string()), (Some(0), true));
    assert!(said.contains(reason), "{said}");
    let told = empty["reason"].to_string();
    assert!(told.contains(reason) && !told.contains("period"), "{told}");
    let path = taken.folder.path().join("empty.data");
    let file = ["-o", path.to_str().expect("the path is text")];
    let waiter = taken.wait_for_one(&file);
    waiter.interrupt();
    let (_, said, took) = waiter.end();
    assert!(said.contains(reason) && took < Duration::from_secs(5), "{took:?}: {said}");
    let report = report(&path, &[]);
    check_ledger(&report);
    assert_eq!(report["accesses"], 0);
    // The time is over.
    let waiter = taken.wait_for_one(&[&file[..], &["--duration", "2500ms"]].concat());
    let (_, said, took) = waiter.end();
    assert!(said.contains(reason), "{said}");
    assert!((2000..10_000).contains(&took.as_millis()), "{took:?}");
    taken.end();
}

/// The shares in the line on the budget, in percent: achieved, fixed, budget.
fn overhead(said: &str) -> [f64; 3] {
    let line = said.lines().find_map(|line| line.split_once("overhead: ")).expect("a line on it").1;
    let mut words = line.split_whitespace().zip(line.split_whitespace().skip(1));
    let share = |(word, unit): (&str, &str)| {
        let word = word.trim_start_matches('(');
        unit.starts_with('%').then(|| word.parse::<f64>().expect("a number"))
    };
    std::array::from_fn(|_| words.by_ref().find_map(share).expect("three shares"))
}

#[test]
fn a_budget_changes_what_is_taken_and_is_told() {
    let what = "record: --max-overhead";
    if !can_record(what) {
        return;
    }
    let folder = scratch();
    let path = folder.path().join("budget.data");
    let name = path.to_str().expect("the path is text");
    let run = within_budget("6s", &["-o", name]);
    let [achieved, fixed, budget] = overhead(&run.stderr);
    assert_eq!(budget, 1.0);
    // Without a budget it would be over 10 %. A recorder that gets no CPU for a while is late with its answer.
    assert!(achieved <= 3.0 * budget || fixed >= 0.9 * budget, "{}", run.stderr);
    assert!(run.stderr.contains("period 1 stretched to "), "{}", run.stderr);
    assert!(rows(&path).len() > 100, "it has samples");
    is_uneven(&report(&path, &[]));
    // What tells perf so is a scale that it has no use for.
    let what = "record: perf as a reader of a budget's recording";
    if let Some(output) = perf(what, &["script", "-i", name, "-F", "phys_addr"]) {
        let mut ours: Vec<_> = rows(&path).into_iter().filter_map(|(_, _, paddr)| paddr).collect();
        ours.sort_unstable();
        assert_eq!(perf_addresses(&output), ours);
        let dump = perf(what, &["report", "-D", "-i", name]).expect("it ran before");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let text = String::from_utf8_lossy(&dump.stdout);
        assert!(text.contains("PERF_RECORD_EVENT_UPDATE") && text.contains("scale"));
    }
    let quiet = ["record", "-q", "--event", "faults", "--max-overhead", "1%", "-o", "/dev/null"];
    assert_eq!(folioscope(quiet).args(["--", "true"]).run().succeeded().stderr, "");
}

/// Records a task that touches pages all the time, and keeps the period that it started with.
fn within_budget(duration: &str, more: &[&str]) -> Run {
    let test = std::env::current_exe().expect("a test knows its own file");
    folioscope(["record", "--event", "faults", "--max-overhead", "1%", "--duration", duration])
        .args(more)
        .arg("--")
        .arg(test)
        .args(["record::touches_pages_for_ever", "--exact", "--nocapture"])
        .env(TOUCH, "1")
        .run()
        .succeeded()
}

/// What a report says of how its faults were recorded.
fn note_on_faults(report: &serde_json::Value) -> &str {
    check_ledger(report);
    let notes = report["notes"].as_array().expect("a list");
    let mut notes = notes.iter().filter_map(|note| note.as_str());
    notes.find(|note| note.starts_with("minor-faults: ")).expect("a note on them")
}

/// A report says that most events were left out.
fn is_uneven(report: &serde_json::Value) {
    let note = note_on_faults(report);
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    if huge.is_ok_and(|text| text.contains("[always]")) {
        return did_not_run("record: what a budget left out", "huge pages leave few faults");
    }
    assert!(note.starts_with("minor-faults: period 1, stretched up to "), "{note}");
    assert!(note.ends_with(": counts are samples, and not comparable over time."), "{note}");
}

#[test]
fn a_report_and_a_stream_say_what_a_budget_left_out() {
    if !can_record("record: what a budget left out") {
        return;
    }
    is_uneven(&within_budget("2s", &["--format", "json"]).json());
    let stream = within_budget("2s", &["-o", "-"]);
    is_uneven(&folioscope(["report", "--format", "json", "-"]).input(&stream.stdout).json());
}

/// The child of another test: touches fresh pages until it is ended.
#[test]
fn touches_pages_for_ever() {
    while std::env::var_os(TOUCH).is_some() {
        // No allocator keeps so much for the next time.
        let pages = vec![1u8; 40 << 20];
        std::hint::black_box(&pages);
    }
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
    assert_eq!(note_on_faults(&counted), "minor-faults: every event was recorded.");
    assert!(counted["accesses"].as_u64() > Some(10), "{counted}");
    let live = folioscope(["record", "--event", "faults", "--format", "json", "--verbose"]);
    let live = live.args(["--", "echo", "hello"]).run().succeeded();
    let report = live.json();
    assert_eq!(note_on_faults(&report), "minor-faults: every event was recorded.");
    assert!(report["accesses"].as_u64() > Some(10), "{report}");
    assert!(
        live.stderr.contains(" samples and ") && live.stderr.contains("hello"),
        "{}",
        live.stderr
    );
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

/// A command that does not end when it is told to is not waited for, and one that crashed is no
/// good one.
#[test]
fn what_became_of_a_command_is_told() {
    if !can_record("the end of a command") {
        return;
    }
    let folder = scratch();
    let path = folder.path().join("perf.data");
    let to = path.to_str().expect("the path is text");
    let record = |more: &[&str], script: &str| {
        let start = folioscope(["record", "--event", "faults", "-o", to]).args(more);
        start.args(["--", "sh", "-c", script]).run().succeeded().stderr
    };
    assert!(record(&[], "exit 5").contains("the command ended with status 5"));
    assert!(record(&[], "kill -SEGV $$").contains("the command was killed by SIGSEGV"));
    let told = record(&["--duration", "200ms"], "exec sleep 60 >/dev/null 2>&1");
    assert!(!told.contains("the command"), "it ended when it was told to: {told}");
    let begin = Instant::now();
    // Without the recorder's outputs, which would stay open as long as it runs.
    let said = record(&["--duration", "200ms"], "trap '' TERM; exec sleep 60 >/dev/null 2>&1");
    assert!(begin.elapsed() < Duration::from_secs(30), "it is not waited for");
    let pid = said.split_once("the command (process ").expect(&said).1;
    let pid = pid.split_once(')').expect(&said).0;
    let killed = Command::new("kill").args(["-KILL", pid]).status().expect("there is kill");
    assert!(killed.success(), "it went on: {said}");
    assert!(of_ledger(&report(&path, &[]), "records") > 0, "the file is complete");
}

/// Physical addresses are not for everybody, and what a full disk took is not thrown away.
#[test]
fn a_file_is_its_owner_s_and_what_was_written_of_it_stays() {
    if !can_record("a full disk") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let folder = scratch();
    let path = folder.path().join("perf.data");
    record_child(&path, &[]).succeeded();
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let full = folder.path().join("full.data");
    let test = std::env::current_exe().expect("a test knows its own file");
    let script = format!("trap '' XFSZ; ulimit -f 32; {TOUCH}=1 exec \"$0\" \"$@\"");
    let start = in_shell(&script, ["record", "--event", "faults", "-o"]).arg(&full).arg("--");
    let run = start.arg(&test).args(["--exact", "record::touches_pages"]).run();
    let part = folder.path().join("full.data.part");
    let kept = format!("what there is of it is in {}", part.display());
    assert_eq!(run.code(), 1);
    assert!(run.stderr.contains("File too large") && run.stderr.contains(&kept), "{}", run.stderr);
    assert!(!full.exists());
    assert!(of_ledger(&report(&part, &[]), "records") > 50, "it can be read");
    // Its place is taken while it is recorded.
    let taken = folder.path().join("taken.data");
    let start = folioscope(["record", "--event", "faults", "-o"]).arg(&taken);
    let part = folder.path().join("taken.data.part");
    let kept = format!("what there is of it is in {}", part.display());
    let run = start.args(["--", "mkdir"]).arg(&taken).run();
    run.failed(&["cannot put the finished file there", &kept]);
    let report = report(&part, &["--strict"]);
    assert!(of_ledger(&report, "records") > 10, "it is complete");
}

#[test]
fn a_capture_in_which_nothing_counts_says_why() {
    if !can_record("record: nothing to count") {
        return;
    }
    // No access is ever misaligned on x86 and aarch64, and a clock has no address.
    for (event, why) in [
        ("alignment-faults", "nothing was sampled: record for longer, or with a shorter"),
        ("cpu-clock", "the event has none"),
    ] {
        let run =
            folioscope(["record", "--event", event, "--period", "100000", "--format", "json"])
                .args(["--", "sh", "-c", "for i in 1 2 3; do ls / > /dev/null; done"])
                .run()
                .succeeded();
        let report = run.json();
        check_ledger(&report);
        let reason = report["reason"].as_str().unwrap_or("");
        assert!(reason.contains(why), "{event}: {reason:?}");
        assert!(run.stderr.contains(why), "{event}: {}", run.stderr);
    }
    // There is no shorter period than 1.
    let run = folioscope(["record", "--event", "alignment-faults", "--", "true"]).run().succeeded();
    assert!(run.stderr.contains("record for longer, or choose another --event"), "{}", run.stderr);
}

#[test]
fn without_rights_one_sentence_says_what_to_change() {
    let what = "record: refusals without rights";
    if !can_record(what) {
        return;
    }
    let nobody = match Nobody::new() {
        Ok(nobody) => nobody,
        Err(why) => return did_not_run(what, &why),
    };
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    let paranoid: i64 = paranoid.expect("it can be read").trim().parse().expect("a number");
    if paranoid <= 1 {
        return did_not_run(what, &format!("kernel.perf_event_paranoid is {paranoid}"));
    }
    for arguments in [
        &["record", "--event", "faults", "--", "true"][..],
        &["record", "--event", "faults", "--duration", "1s"],
        &["record", "--event", "mem:0x1000/8:rw", "--duration", "1s"],
        // The daemon is refused before it listens anywhere.
        &["serve", "--live=faults", "--grpc", "unix:/nowhere/socket"],
    ] {
        let output = nobody.run(arguments);
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
    if can_record("record: too few files") {
        // Whoever started the tests may have left files open.
        let script = "exec 3>&- 4>&-; ulimit -n 4; exec \"$0\" \"$@\"";
        let run = in_shell(script, ["record", "--event", "faults", "--duration", "1s"]).run();
        run.failed(&["Too many open files", "may have 4 open files", "ulimit -n", "LimitNOFILE"]);
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
        events: vec![EventAbout { attr, ids: vec![1], name, cpus: None }],
        features: Vec::new(),
        time: Some(decoder::live::TimeConversion { shift: 0, mult: 1, zero: 0, short: None }),
        spe: vec![SpeCpuAbout {
            cpu: 0,
            midr: 0x410f_d0c0,
            pmu_type: PMU,
            min_interval: 1024,
            event_filter: 0,
        }],
        spe_metadata: decoder::live::SpeMetadata::Version1,
        tasks: vec![TaskAbout { pid: 7, tid: 8, name: "worker".to_owned() }],
    };
    let mut writer = FileWriter::new(Cursor::new(Vec::new()));
    writer.begin(&about).expect("memory takes it");
    let aux = MemoryRing::new(1 << 16, 0);
    let mut lane = CpuRings::new(0, Some(0), MemoryRing::new(4096, 0), Some(aux));
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
