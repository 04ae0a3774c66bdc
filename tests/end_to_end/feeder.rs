//! The feeder, into a mounted file that obeys the kernel's rules as their table has them, written a
//! second time; and the whole way, from a trace to that file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use feeder::decision::Decision;
use feeder::device::Debugfs;
use feeder::plan::{Aim, Terms};
use feeder::sink::spe_feed::{Feeding, Manner};
use heatmap::{ChunkOrder, HotThreshold, Verdict};
use serde_json::Value;
use spefeed::{Mounted, Refusal};
use tempfile::TempDir;
use tests::inputs::input;

use crate::program::{feeder, folioscope, number, words_of};
use crate::service::{Daemon, get, wait};

/// Longer than anything here takes.
const LONGEST: Duration = Duration::from_secs(300);

/// A kernel, mounted; or nothing, where that cannot be, with the reason said.
fn mounted(test: &str) -> Option<(TempDir, Mounted)> {
    if let Err(why) = spefeed::available() {
        eprintln!("NOT RUN: {test}: {why}");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("debug");
    std::fs::create_dir(&dir).expect("room");
    let mounted = Mounted::new(&dir).expect("it can be mounted");
    Some((folder, mounted))
}

/// The arguments that make a mounted kernel that of the host. There are no schemes.
fn host(folder: &TempDir) -> Vec<String> {
    let place = |name: &str| folder.path().join(name).display().to_string();
    vec!["--debugfs".into(), place("debug"), "--sysfs".into(), place("sys")]
}

/// The sentences of the kernel's source: chunks with at least a tenth of the greatest sum.
fn hot(counts: &[u64; 512], order: u8) -> Vec<bool> {
    let sums: Vec<u64> = counts.chunks(1 << order).map(|pages| pages.iter().sum()).collect();
    let peak = sums.iter().copied().max().unwrap_or(0);
    sums.iter().map(|sum| *sum >= (peak / 10).max(1)).collect()
}

fn chunks(hot: &[bool]) -> Vec<usize> {
    (0..hot.len()).filter(|chunk| hot[*chunk]).collect()
}

/// What the kernel would make of a folio, at any order.
fn read_by_kernel(mounted: &Mounted, pfn: u64, order: u8) -> Option<Vec<bool>> {
    let counts = mounted.kernel().counts(pfn)?;
    Some(hot(&counts.map(u64::from), order))
}

/// Numbers without end, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

const VERDICTS: [Verdict; 5] = [
    Verdict::Hot,
    Verdict::Sparse,
    Verdict::Undersampled,
    Verdict::Filtered,
    Verdict::Unsplittable,
];

/// Feeds decisions by the library, in one pass, and compares what the kernel then reads.
fn feed_and_compare(decisions: &[Decision], order: u8, aim: Aim) {
    let Some((_folder, mounted)) = mounted("feed_and_compare") else { return };
    let terms = Terms {
        order: ChunkOrder::try_new(order).expect("0 to 9"),
        threshold: HotThreshold::default(),
        aim,
    };
    let device = Debugfs::open(mounted.dir()).expect("it is there");
    let manner = Manner { once: true, ..Manner::default() };
    let mut feeding = Feeding::begin(device, terms, manner, Duration::ZERO).expect("it is empty");
    feeding.propose(decisions.to_vec());
    let mut now = Duration::ZERO;
    while feeding.tend(now).expect("it takes writes").is_some() {
        now += Duration::from_millis(1);
    }

    // Who is to be fed, by the sentences: classes, then accesses, then page frames; 1024 at most.
    let class = |verdict| match verdict {
        Verdict::Hot | Verdict::Unsplittable => 0,
        Verdict::Undersampled => 1,
        Verdict::Filtered => 2,
        Verdict::Sparse => 3,
    };
    let mut fed: Vec<&Decision> = decisions
        .iter()
        .filter(|one| aim == Aim::Faithful || one.verdict != Verdict::Sparse)
        .collect();
    fed.sort_by_key(|one| (class(one.verdict), std::cmp::Reverse(one.accesses), one.folio_pfn));
    fed.truncate(1024);
    let mut order_fed: Vec<u64> = mounted.kernel().log.iter().map(|pfn| pfn & !511).collect();
    order_fed.dedup();
    let wanted: Vec<u64> = fed.iter().map(|one| one.folio_pfn).collect();
    assert_eq!(order_fed, wanted, "the right ones, in the right order");

    let mut least_writes = 0;
    for decision in &fed {
        let read = read_by_kernel(&mounted, decision.folio_pfn, order).expect("it was fed");
        let read = chunks(&read);
        match aim {
            Aim::Faithful => assert_eq!(read, decision.hot_chunks, "{:#x}", decision.folio_pfn),
            Aim::Protect => {
                assert!(decision.hot_chunks.iter().all(|chunk| read.contains(chunk)));
                // As many as it takes to be kept, and no more.
                let kept = (512 >> order) * 30_usize;
                let least = kept.div_ceil(100).max(1);
                assert_eq!(read.len(), least.max(decision.hot_chunks.len()));
                assert!(read.len() * 100 / (512 >> order) >= 30);
            }
        }
        if order >= 2 {
            assert_eq!(
                mounted.kernel().bitmap(decision.folio_pfn, order).map(|hot| chunks(&hot)),
                Some(read.clone())
            );
        }
        least_writes += read.len() as u64;
    }
    assert_eq!(mounted.kernel().writes, least_writes, "one for each hot chunk, and no other");
    assert_eq!(mounted.kernel().totals().0, fed.len());
    assert_eq!(feeding.figures().proven, least_writes);
}

#[test]
fn two_hundred_heat_maps_are_read_as_they_were_meant() {
    let mut numbers = Numbers(7);
    for map in 0..200_u64 {
        let order = [0, 2, 4, 8][(map % 4) as usize];
        let aim = if map / 4 % 2 == 0 { Aim::Protect } else { Aim::Faithful };
        let mut decisions = Vec::new();
        for folio in 1..=numbers.below(20) + 1 {
            let mut counts = [0_u64; 512];
            for _ in 0..=numbers.below(100) {
                let page = usize::try_from(numbers.below(512)).expect("below 512");
                counts[page] += numbers.below(200) + 1;
            }
            decisions.push(Decision {
                standing: feeder::decision::Standing::AsTold,
                folio_pfn: (folio * 7 + map) << 9,
                verdict: VERDICTS[usize::try_from(numbers.below(5)).expect("below 5")],
                accesses: counts.iter().sum(),
                hot_chunks: chunks(&hot(&counts, order)),
                pid: None,
                vaddr: None,
            });
        }
        feed_and_compare(&decisions, order, aim);
    }
}

/// A line of `folioscope decisions`. Not by the feeder's own reader: it refuses order 0, which no
/// scheme has.
fn decision_of(line: &str) -> Decision {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let text = |field: &str| line[field].as_str().expect("text").to_owned();
    // The last digit is of the chunks 0 to 3.
    let digits = text("hot_bitmap");
    let digits = digits.chars().rev().map(|digit| digit.to_digit(16).expect("hexadecimal"));
    let of_digit = |(place, digit): (usize, u32)| {
        (0..4).filter(move |bit| digit >> bit & 1 == 1).map(move |bit| 4 * place + bit)
    };
    Decision {
        folio_pfn: number(&text("folio_pfn")),
        verdict: heatmap::Verdict::from_name(&text("verdict")).expect("a verdict"),
        accesses: line["accesses"].as_u64().expect("a number"),
        hot_chunks: digits.enumerate().flat_map(of_digit).collect(),
        standing: feeder::decision::Standing::AsTold,
        pid: None,
        vaddr: None,
    }
}

#[test]
fn the_published_heat_map_fills_the_table_with_the_right_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let config = tracegen::Config { records: 300_000, ..tracegen::Config::default() };
    std::fs::write(&path, tracegen::to_bytes(&config).expect("it is right").0).expect("room");
    for order in [0, 2, 4, 8] {
        let text = folioscope(["decisions", "--order", &order.to_string()]).arg(&path).text();
        let decisions: Vec<Decision> = text.lines().map(decision_of).collect();
        assert!(decisions.len() > 1024, "or the table does not fill");
        feed_and_compare(&decisions, order, Aim::Faithful);
        feed_and_compare(&decisions, order, Aim::Protect);
    }
}

#[test]
fn one_pass_of_the_program_writes_what_its_dry_run_prints() {
    let Some((folder, mounted)) = mounted("one_pass") else { return };
    let decisions = folder.path().join("decisions");
    let text = folioscope(["decisions", "--order", "4"]).arg(input("spe-file")).text();
    std::fs::write(&decisions, text).expect("room");
    let file = decisions.to_str().expect("text");
    let arguments = ["--decisions", file, "--order", "4", "--plan", "faithful"];
    let printed = feeder(arguments).args(host(&folder)).run().succeeded().text();
    let printed: Vec<u64> = printed.lines().map(number).collect();
    assert!(printed.len() > 100);
    assert_eq!(mounted.kernel().writes, 0, "a dry run writes nothing");
    let run = feeder(arguments).args(host(&folder)).args(["--sink", "spe-feed", "--once"]).run();
    let told = run.succeeded().stderr.clone();
    assert_eq!(mounted.kernel().log, printed);
    assert!(!told.contains("hot chunks by"), "{told}");

    // Why, of each folio: the numbers of writes that it tells add up to those that are made.
    *mounted.kernel() = spefeed::Kernel::new();
    let run = feeder(arguments).args(host(&folder)).args(["--sink", "spe-feed", "--once"]);
    let run = run.arg("--explain").run();
    let told = &run.succeeded().stderr;
    let counts = told.lines().filter_map(|line| {
        line.split_once(" hot chunks by ")?.1.strip_suffix(" writes")?.parse::<usize>().ok()
    });
    assert_eq!(counts.sum::<usize>(), printed.len());
}

#[test]
fn what_cannot_be_fed_is_refused_and_nothing_is_written() {
    let Some((folder, mounted)) = mounted("what_cannot_be_fed") else { return };
    let line = "{\"folio_pfn\":\"0x400\",\"order\":4,\"accesses\":12,\"verdict\":\"hot\",\
                \"hot_bitmap\":\"8000000f\"}\n";
    let refused = |text: &str, more: &[&str], words: &[&str]| {
        let start =
            feeder(["--decisions", "-", "--sink", "spe-feed", "--once", "--color", "never"]);
        let mut options = BTreeMap::from([("--order".to_owned(), "4".to_owned())]);
        for pair in host(&folder).chunks(2) {
            options.insert(pair[0].clone(), pair[1].clone());
        }
        for pair in more.chunks(2) {
            options.insert(pair[0].to_owned(), pair[1].to_owned());
        }
        let options = options.into_iter().flat_map(|(name, value)| [name, value]);
        let start = start.args(options).input(text.as_bytes());
        start.run().failed(words);
        assert_eq!(mounted.kernel().writes, 0, "{words:?}");
    };
    refused(&line.replace("0x400", "0x410"), &[], &["line 1", "0x410", "no multiple of 512"]);
    refused(line, &["--order", "9"], &["order 9", "2 to 8"]);
    refused(line, &["--order", "2"], &["line 1", "order 4", "order 2"]);
    refused(&format!("{line}{}", &line[..50]), &[], &["line 2", "cut off"]);
    refused("", &["--debugfs", "/nowhere"], &["/nowhere", "debugfs"]);
    let empty = tempfile::tempdir().expect("a folder");
    refused(line, &["--debugfs", empty.path().to_str().expect("text")], &["mount -t debugfs"]);

    let smaps = |size: &str| {
        let dir = folder.path().join("proc/self");
        std::fs::create_dir_all(&dir).expect("room");
        std::fs::write(dir.join("smaps"), format!("KernelPageSize:  {size}\n")).expect("room");
    };
    let proc = folder.path().join("proc").display().to_string();
    smaps("16 kB");
    refused(line, &["--procfs", &proc], &["base pages of 16 kB"]);
    let security = folder.path().join("sys/kernel/security");
    std::fs::create_dir_all(&security).expect("room");
    std::fs::write(security.join("lockdown"), "none [integrity] confidentiality\n").expect("room");
    refused(line, &[], &["lockdown is on (integrity)", "even to root"]);
    std::fs::remove_file(security.join("lockdown")).expect("it is there");

    // Only when they are written to: a kernel that refuses then.
    for (refusal, words) in [
        (Refusal::NotPermitted, "root is needed"),
        (Refusal::ReadOnly, "mounted read-only"),
        (Refusal::Failed, "spe_feed"),
    ] {
        mounted.kernel().faults.refuse = Some(refusal);
        let start = feeder(["--decisions", "-", "--sink", "spe-feed", "--once", "--order", "4"]);
        start.args(host(&folder)).input(line.as_bytes()).run().failed(&[words]);
        assert_eq!(mounted.kernel().totals(), (0, 0));
    }
    mounted.kernel().faults.refuse = None;
    mounted.kernel().faults.swallow = true;
    let start = feeder(["--decisions", "-", "--sink", "spe-feed", "--once", "--order", "4"]);
    let run = start.args(host(&folder)).input(line.as_bytes()).run();
    assert_eq!(run.code(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("not proven to have arrived"), "{}", run.stderr);
}

#[test]
fn schemes_of_others_are_asked_after() {
    let Some((folder, mounted)) = mounted("schemes_of_others") else { return };
    let scheme = folder.path().join("sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0");
    std::fs::create_dir_all(&scheme).expect("room");
    let write = |name: &str, text: &str| std::fs::write(scheme.join(name), text).expect("room");
    write("action", "mthp_split\n");
    write("target_order", "4\n");
    write("hot_threshold", "30\n");
    write("../../../../state", "on\n");
    let line = "{\"folio_pfn\":\"0x400\",\"order\":4,\"accesses\":12,\"verdict\":\"hot\",\
                \"hot_bitmap\":\"8000000f\"}\n";
    let start = || feeder(["--decisions", "-", "--sink", "spe-feed", "--once"]).args(host(&folder));
    let run = start().input(line.as_bytes()).run();
    run.failed(&["0/contexts/0/schemes/0", "--accept-split-on-death"]);
    let accepting = || start().arg("--accept-split-on-death").input(line.as_bytes());
    let run = accepting().args(["--order", "2"]).run();
    assert_eq!(run.code(), 1);
    assert!(run.stderr.contains("target order 4, and the plan order 2"), "{}", run.stderr);
    let run = accepting().args(["--hot-threshold", "50"]).run();
    assert_eq!(run.code(), 1);
    assert_eq!(mounted.kernel().writes, 0);
    // The plan takes the order of the scheme.
    accepting().run().succeeded();
    let wanted: Vec<usize> = (0..10).filter(|chunk| *chunk < 9).chain([31]).collect();
    let read = mounted.kernel().bitmap(0x400, 4).map(|hot| chunks(&hot));
    assert_eq!(read, Some(wanted));
}

/// Bits of capability sets: capabilities(7).
const DAC_OVERRIDE: u64 = 1 << 1;
const SETPCAP: u64 = 1 << 8;

/// What the kernel says of a process: proc_pid_status(5).
fn of_process(pid: &str, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{field} is not in {text}")).trim().to_owned()
}

fn capabilities(pid: &str, set: &str) -> u64 {
    u64::from_str_radix(&of_process(pid, set), 16).expect("hexadecimal")
}

/// A feeder that runs.
struct Running {
    child: Child,
    metrics: String,
}

impl Running {
    /// Starts one, which listens for HTTP.
    fn start(arguments: &[String]) -> Self {
        let words = words_of("folioscope-feeder");
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--http", "tcp:127.0.0.1:0", "--color", "never"])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
        let mut said = Vec::new();
        let metrics = loop {
            let line = lines.next().unwrap_or_else(|| panic!("{said:?}")).expect("text");
            if let Some((_, address)) = line.split_once("listening at tcp:") {
                break address.trim().to_owned();
            }
            said.push(line);
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, metrics }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let stream = std::net::TcpStream::connect(&self.metrics).expect("it listens");
        stream.set_read_timeout(Some(LONGEST)).expect("it is a socket");
        get(stream, &self.metrics, path, "")
    }

    /// The value of a metric, with its labels.
    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let wanted = format!("folioscope_feeder_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&wanted));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(start.elapsed() < LONGEST, "{what} does not come: {}", self.get("/metrics").1);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whoever records: it goes on after the trace, though nothing is sampled any more.
struct Writer {
    ends: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    fn start(fifo: &Path, trace: Vec<u8>) -> Self {
        /// A record FINISHED_ROUND: type 68, 8 bytes.
        const ROUND: [u8; 8] = [68, 0, 0, 0, 0, 0, 8, 0];
        let (ends, ended) = mpsc::channel();
        let fifo = fifo.to_owned();
        let thread = std::thread::spawn(move || {
            let mut writer = std::fs::OpenOptions::new().write(true).open(fifo).expect("a fifo");
            writer.write_all(&trace).expect("somebody reads");
            let pause = Duration::from_millis(200);
            while ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                writer.write_all(&ROUND).expect("somebody reads");
            }
        });
        Self { ends, thread }
    }

    fn end(self) {
        drop(self.ends);
        self.thread.join().expect("it writes without trouble");
    }
}

/// What a daemon would have the kernel read, by its own lists.
fn wanted(daemon: &Daemon) -> BTreeMap<u64, Vec<usize>> {
    let list = daemon.ask("ListFolios", "order=4&page_size=1000");
    let folios = list["folios"].as_array().expect("a list");
    let pfn = |folio: &Value| number(folio["fraction"]["folio_pfn"].as_str().expect("text"));
    let chunks_of = |pfn: u64| {
        let folio = daemon.ask("GetFolio", &format!("pfn={pfn:#x}&order=4"));
        let digits = folio["hot_bitmap"].as_str().expect("text").to_owned();
        let bits = u32::from_str_radix(&digits, 16).expect("32 chunks");
        (0..32).filter(|chunk| bits >> chunk & 1 == 1).collect()
    };
    folios.iter().map(pfn).map(|pfn| (pfn, chunks_of(pfn))).collect()
}

fn agrees(mounted: &Mounted, wanted: &BTreeMap<u64, Vec<usize>>) -> bool {
    wanted.iter().all(|(pfn, chunks_wanted)| {
        mounted.kernel().bitmap(*pfn, 4).map(|hot| chunks(&hot)).as_ref() == Some(chunks_wanted)
    })
}

#[test]
fn the_whole_way_from_a_stream_to_the_kernel_and_whoever_dies() {
    /// In seconds. Decisions are true for three epochs: longer than a new plan takes.
    const EPOCH: u64 = 5;
    let Some((folder, mounted)) = mounted("the_whole_way") else { return };
    let config = tracegen::Config {
        records: 100_000,
        folios: 300,
        seconds: 10 * EPOCH,
        form: tracegen::Form::Stream,
        ..tracegen::Config::default()
    };
    let trace = tracegen::to_bytes(&config).expect("it is right").0;
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("there is mkfifo").success());
    let epoch = format!("{EPOCH}s");
    let times = ["--epoch", &epoch, "--ttl", "1h", "--cooling-interval", "1h"];
    let daemon = Daemon::start(&[&times[..], &[text(&fifo)]].concat());
    let writer = Writer::start(&fifo, trace);

    let mut arguments = host(&folder);
    let more = ["--sink", "spe-feed", "--order", "4", "--plan", "faithful", "--service"];
    arguments.extend(more.map(String::from));
    arguments.push(daemon.socket());
    let running = Running::start(&arguments);
    running.until("decisions", |running| running.metric("leases") > 0.5);
    // Until the daemon has taken in what there is.
    let mut last = wanted(&daemon);
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let before = std::mem::replace(&mut last, wanted(&daemon));
        if last.len() > 100 && last == before {
            break;
        }
    }
    running.until("a proven plan", |running| {
        running.metric("leases") > 100.0
            && running.metric("written_total{fate=\"proven\"}") >= running.metric("leases")
            && agrees(&mounted, &last)
    });

    // Nothing was lost at any hop.
    let status = daemon.ask("GetStatus", "");
    for field in ["lost", "skipped_bytes", "cut_off_bytes", "over_budget", "aux_truncated"] {
        assert_eq!(status["ledger"][field], 0, "{field}: {status}");
    }
    for name in
        ["written_total{fate=\"lost\"}", "written_total{fate=\"unconfirmed\"}", "lapses_total"]
    {
        assert!(running.metric(name).abs() < 0.5, "{name}");
    }
    assert_eq!(running.get("/livez").0, 200);
    assert!(!running.get("/metrics").1.contains("0x"), "metrics tell of no block");

    // Of what root may do it has kept the right to open the daemon's socket, for good.
    let pid = running.child.id();
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        let may_shrink = capabilities("self", "CapEff") & SETPCAP != 0;
        if set != "CapBnd" || may_shrink {
            let kept = capabilities(&pid.to_string(), set);
            assert_eq!(kept & !DAC_OVERRIDE, 0, "{set}: {kept:x}");
        }
    }
    assert_eq!(of_process(&pid.to_string(), "NoNewPrivs"), "1");

    // The writer dies, or samples nothing any more: decisions become old, and leases live on.
    writer.end();
    running.until("holding", |running| running.metric("holding") > 0.5);
    assert_eq!(running.get("/readyz").0, 503);
    assert!(running.metric("leases") > 100.0);
    let before = mounted.kernel().log.len();
    // The daemon may have told of what its last epochs held before it said that nothing comes.
    let known = [last, wanted(&daemon)];
    let last = known.iter().find(|known| agrees(&mounted, known)).expect("one or the other");

    // The daemon is killed: the same.
    let socket = daemon.socket();
    daemon.signal("-KILL");
    drop(daemon);
    let renewals = running.metric("writes_total{kind=\"renewal\"}");
    running
        .until("renewals", |running| running.metric("writes_total{kind=\"renewal\"}") > renewals);
    assert!(mounted.kernel().log.len() > before, "leases are renewed");
    assert!(agrees(&mounted, last));

    // The feeder is killed, and another one finds entries that it does not know: it leaves them.
    drop(running);
    let (entries, accesses) = mounted.kernel().totals();
    arguments.pop();
    arguments.push(socket);
    let another = Running::start(&arguments);
    another.until("strangers", |another| another.metric("strangers") > 0.5);
    assert_eq!(mounted.kernel().totals(), (entries, accesses));
    // What a scheme does then: they lapse, and nobody keeps them.
    let now = {
        let mut kernel = mounted.kernel();
        kernel.advance(Duration::from_secs(31));
        kernel.now()
    };
    mounted.kernel().prune(now);
    another.until("their end", |another| another.metric("strangers") < 0.5);
    let mut another = another;
    let pid = another.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(wait(&mut another.child).code(), Some(0));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}
