//! Recordings of a generator that knows what it wrote, in many configurations, whole and damaged.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tests::emulation::thinned;
use tracegen::bytes::Endian;
use tracegen::perf::Compression;
use tracegen::{Config, Damage, Form, Kind, Layout, Source, Truth};

use crate::program::{Run, check_ledger, counts, folioscope, number, of_ledger, scratch, write};

/// A small recording, to be varied.
fn small() -> Config {
    Config {
        records: 3000,
        folios: 40,
        scenario: Kind::Dense,
        piece_size: 8192,
        ..Config::default()
    }
}

/// A recording on disk, or for a stream in memory.
struct Recording {
    truth: Truth,
    place: std::path::PathBuf,
    through_a_pipe: Option<Vec<u8>>,
}

impl Recording {
    fn of(config: &Config, folder: &Path, name: &str) -> Self {
        let place = folder.join(name);
        let (truth, through_a_pipe) = match config.form {
            Form::Folder => {
                (tracegen::write_folder(config, &place, None).expect("a folder is written"), None)
            }
            Form::File => {
                let (bytes, truth) = tracegen::to_bytes(config).expect("a right configuration");
                write(folder, name, &bytes);
                (truth, None)
            }
            Form::Stream => {
                let (bytes, truth) = tracegen::to_bytes(config).expect("a right configuration");
                write(folder, name, &bytes);
                (truth, Some(bytes))
            }
        };
        Self { truth, place, through_a_pipe }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        match &self.through_a_pipe {
            None => folioscope(arguments).arg(&self.place).run(),
            Some(bytes) => folioscope(arguments).arg("-").input(bytes).run(),
        }
    }

    fn report(&self) -> Value {
        let report = self.run(&["report", "--format", "json", "--top", "0"]).succeeded().json();
        check_ledger(&report);
        report
    }

    fn pages(&self) -> Vec<(u64, u64)> {
        counts(&self.run(&["pages"]).succeeded().text()).into_iter().collect()
    }
}

/// Fields of the ledger that are certain even where data is damaged.
fn check_flags(report: &Value, truth: &Truth, what: &str) {
    let ledger = &truth.ledger;
    for (field, want) in [
        ("aux_bytes", ledger.aux_bytes),
        ("aux_truncated", ledger.truncated),
        ("aux_partial", ledger.partial),
        ("aux_collision", ledger.collision),
        ("lost_records", ledger.lost_records),
        ("lost_samples", ledger.lost_samples),
    ] {
        assert_eq!(of_ledger(report, field), want, "{what}: {field}");
    }
}

/// Everything that is known of a recording without damage.
fn check_whole(recording: &Recording, what: &str) {
    let (truth, report) = (&recording.truth, recording.report());
    let ledger = &truth.ledger;
    assert!(ledger.exact(), "{what}");
    // A sample does not say whether its operation retired.
    let samples = report["input"]["sources"] == serde_json::json!(["ibs_op"]);
    let not_retired = if samples { 0 } else { ledger.not_retired };
    for (field, want) in [
        ("records", ledger.records),
        ("counted", ledger.counted),
        ("not_memory", ledger.not_memory),
        ("no_physical_address", ledger.no_physical_address),
        ("guest_address", ledger.guest_address),
        ("not_retired", not_retired),
        ("record_bytes", ledger.record_bytes),
        ("padding_bytes", ledger.padding_bytes),
        ("skipped_bytes", 0),
        ("cut_off_bytes", ledger.unfinished_bytes),
        ("foreign_aux_bytes", 0),
        ("overlap_bytes", 0),
        ("filtered", 0),
        ("over_budget", 0),
    ] {
        assert_eq!(of_ledger(&report, field), want, "{what}: {field}");
    }
    check_flags(&report, truth, what);
    let sum = |field: &str| {
        let top = report["top"].as_array().expect("a list");
        top.iter().map(|folio| folio[field].as_u64().expect("a count")).sum::<u64>()
    };
    assert_eq!(
        ["loads", "stores", "atomics", "unknown_op"].map(sum),
        [ledger.loads, ledger.stores, ledger.atomics, ledger.accesses],
        "{what}"
    );
    assert_eq!(report["folios"], truth.folios(), "{what}");
    assert_eq!(report["pages"], truth.counts.len(), "{what}");
    let duration = truth.times.map(|(first, last)| last - first);
    assert_eq!(report["input"]["duration_ns"].as_u64(), duration, "{what}");
    assert_eq!(recording.pages(), truth.sorted(), "{what}");
    let nothing = if ledger.counted == 0 { 3 } else { 0 };
    assert_eq!(recording.run(&["pages", "--strict"]).code(), nothing, "{what}");
}

#[test]
fn layouts_forms_and_containers() {
    let mixes = [
        vec![Layout::N1],
        vec![Layout::Hw],
        vec![Layout::Model],
        vec![Layout::Hi],
        vec![Layout::Mix],
        vec![Layout::Short],
        vec![Layout::N1, Layout::Hw, Layout::Model, Layout::Hi, Layout::Mix],
    ];
    let cut = |config: Config| Config { cut_anywhere: true, piece_size: 1000, ..config };
    let mut cases: Vec<(String, Config)> = Vec::new();
    for (seed, layouts) in (1..).zip(mixes) {
        let name = format!("{layouts:?}");
        let config = Config { seed, layouts, ..small() };
        cases.push((format!("{name} cut anywhere"), cut(config.clone())));
        cases.push((name, config));
    }
    for cpus in [1, 2, 17, 128] {
        cases.push((format!("{cpus} CPUs"), cut(Config { cpus, seed: 20, ..small() })));
    }
    for form in [Form::File, Form::Folder, Form::Stream] {
        for source in [Source::Spe, Source::Samples] {
            for compression in [None, Some(Compression::Zstd81), Some(Compression::Zstd83)] {
                let config = Config { form, source, compression, seed: 30, ..small() };
                cases.push((format!("{form:?} {source:?} {compression:?}"), config));
            }
        }
        for endian in [Endian::Little, Endian::Big] {
            for timeless in [false, true] {
                let layouts = vec![Layout::Hw, Layout::Mix];
                let config = Config { form, endian, timeless, layouts, seed: 40, ..small() };
                cases.push((format!("{form:?} {endian:?} timeless: {timeless}"), cut(config)));
            }
        }
    }
    let big = Config { endian: Endian::Big, source: Source::Samples, ..small() };
    cases.push(("big-endian samples".to_owned(), big));
    for attr_size in [64, 72, 80, 96, 104, 112, 120, 128, 136, 144, 160] {
        cases.push((format!("attr of {attr_size}"), Config { attr_size, ..small() }));
    }
    for info_version in [1, 2] {
        cases.push((format!("info {info_version}"), Config { info_version, ..small() }));
    }
    for scenario in [Kind::T5, Kind::Uniform, Kind::Sparse, Kind::EveryPage] {
        cases.push((format!("{scenario:?}"), Config { scenario, ..small() }));
    }
    let all = Config { not_memory: 0, no_physical_address: 0, ..small() };
    cases.push(("nothing but counted".to_owned(), all));
    let none = Config { not_memory: 60, no_physical_address: 40, ..small() };
    cases.push(("nothing counted".to_owned(), none));
    cases.push(("no record".to_owned(), Config { records: 0, ..small() }));

    let folder = scratch();
    for (at, (what, config)) in thinned("configurations", cases.iter().enumerate(), 7) {
        check_whole(&Recording::of(config, folder.path(), &format!("{at}")), what);
    }
}

/// A recorder that was killed leaves no size in the header and no features; all that it wrote is there.
#[test]
fn a_recorder_that_was_killed() {
    let folder = scratch();
    for (at, source) in [Source::Spe, Source::Samples].into_iter().enumerate() {
        let damage = Damage { killed: true, ..Damage::default() };
        let config = Config { damage, source, ..small() };
        let recording = Recording::of(&config, folder.path(), &format!("{at}"));
        let report = recording.report();
        assert_eq!(of_ledger(&report, "counted"), recording.truth.ledger.counted, "{source:?}");
        assert_eq!(recording.pages(), recording.truth.sorted(), "{source:?}");
    }
}

#[test]
fn damage_is_bounded_and_told() {
    let damages = [
        "flip:1",
        "flip:20",
        "flip:300",
        "drop:1",
        "drop:4",
        "shorten:1",
        "shorten:4",
        "truncated:3",
        "partial:1",
        "partial:4",
        "collision:2",
        "lost:3",
        "lost-samples:3",
        "cut:30000",
        "cut:100003",
        "cut:64000",
        "drop:2,shorten:2,truncated:1,partial:2,collision:1,lost:1,lost-samples:1",
        "drop:2,partial:2,flip:10,cut:120000",
    ];
    let mut cases = Vec::new();
    for (seed, damage) in (100..).zip(damages) {
        for (form, layouts) in [
            (Form::File, vec![Layout::N1]),
            (Form::Stream, vec![Layout::Hw, Layout::Hi, Layout::Model]),
            (Form::File, vec![Layout::Mix, Layout::Hw]),
        ] {
            let damage = damage.parse::<Damage>().expect("a damage text");
            cases.push(Config { seed, damage, form, layouts, piece_size: 4096, ..small() });
        }
    }
    let folder = scratch();
    for (at, config) in thinned("damages", cases.iter().enumerate(), 9) {
        let what = format!("{:?} {:?} {:?}", config.damage, config.form, config.layouts);
        let recording = Recording::of(config, folder.path(), &format!("{at}"));
        let report = recording.report();
        let truth = &recording.truth;
        let counted = of_ledger(&report, "counted");
        let (low, high) = truth.ledger.counted_bounds();
        assert!(low <= counted, "{what}: {counted} counted of at least {low}");
        assert!(high.is_none_or(|high| counted <= high), "{what}: {counted} of at most {high:?}");
        let pages = recording.pages();
        assert_eq!(pages.iter().map(|(_, count)| count).sum::<u64>(), counted, "{what}");
        if truth.ledger.flipped_bits == 0 {
            for (pfn, count) in &pages {
                let most = truth.counts.get(pfn).copied().unwrap_or(0);
                assert!(*count <= most, "{what}: {count} of {most} in {pfn:#x}");
            }
        }
        if !truth.ledger.cut {
            check_flags(&report, truth, &what);
        }
        if truth.ledger.exact() {
            assert_eq!(pages, truth.sorted(), "{what}");
        }
        // What the ledger says was lost decides the status that --strict asks for.
        let losses = [
            "skipped_bytes",
            "cut_off_bytes",
            "aux_missing_bytes",
            "aux_truncated",
            "aux_collision",
            "aux_partial",
            "lost",
            "over_budget",
            "saturated_counters",
        ];
        let lost = losses.iter().any(|field| of_ledger(&report, field) > 0)
            || report["unreadable"] != serde_json::json!([]);
        let certain = config.damage.shorten
            + config.damage.truncated
            + config.damage.partial
            + config.damage.collision
            + config.damage.lost
            + config.damage.lost_samples
            > 0;
        assert!(lost || !certain || truth.ledger.cut, "{what}: nothing is told");
        for command in ["report", "pages", "decisions", "records"] {
            let code = recording.run(&[command, "--strict"]).code();
            assert_eq!(code, if lost { 3 } else { 0 }, "{what}: {command} --strict");
            assert_eq!(recording.run(&[command]).code(), 0, "{what}: {command}");
        }
    }
}

#[test]
fn damaged_files_say_the_same_in_every_form() {
    let damages = ["flip:50", "drop:3,shorten:3", "partial:3,truncated:2"];
    let folder = scratch();
    for (at, damage) in damages.into_iter().enumerate() {
        let damage = damage.parse::<Damage>().expect("a damage text");
        let config =
            Config { damage, layouts: vec![Layout::Hw, Layout::N1], piece_size: 4096, ..small() };
        let (file, _) = tracegen::to_bytes(&config).expect("a right configuration");
        let stream = tests::container::Parts::of(&file).stream();
        let path = write(folder.path(), &format!("{at}"), &file);
        for command in ["pages", "report"] {
            let arguments = [command, "--format", "json"];
            let without_input = |text: String| -> Vec<String> {
                let differs = ["\"path\"", "\"kind\"", "\"tid_unknown\""];
                let lines =
                    text.lines().filter(|line| !differs.iter().any(|name| line.contains(name)));
                lines.map(str::to_owned).collect()
            };
            let of_file = folioscope(arguments).args(["--threads", "4"]).arg(&path).text();
            let one_thread = folioscope(arguments).args(["--threads", "1"]).arg(&path).text();
            assert_eq!(one_thread, of_file, "{damage:?}");
            let piped = folioscope(arguments).arg("-").input(&stream).text();
            assert_eq!(without_input(piped), without_input(of_file), "{damage:?}");
        }
    }
}

/// The RFC's case: one folio of 39,794 accesses on 3 of its 512 pages.
#[test]
fn the_folio_of_the_rfc() {
    let folder = scratch();
    let config = Config {
        records: 131_000,
        layouts: vec![Layout::Hw],
        not_memory: 0,
        no_physical_address: 0,
        ..Config::default()
    };
    let recording = Recording::of(&config, folder.path(), "t5");
    let report = recording.run(&["report", "--format", "json"]).succeeded().json();
    check_ledger(&report);
    let hottest = &report["top"][0];
    let want = serde_json::json!({
        "folio_pfn": "0x820db800", "accesses": 39_794, "touched_pages": 3, "chunks": 512,
        "hot_chunks": 3, "hot_percent": 0, "verdict": "sparse", "mapping_order_max": 9, "backing": "thp",
    });
    for (field, value) in want.as_object().expect("an object") {
        assert_eq!(&hottest[field], value, "{field}");
    }
    assert_eq!(report["folios"], 2005);
    let touched = &report["touched_distribution"];
    assert_eq!(
        touched[0]["folios"], 1945,
        "97 of 100 folios have under 10 % of their pages touched"
    );
    let in_folio = recording.pages().into_iter().filter(|(pfn, _)| pfn & !511 == 0x820d_b800);
    let in_folio: Vec<_> = in_folio.collect();
    assert_eq!(in_folio.len(), 3);
    assert_eq!(in_folio.iter().map(|(_, count)| count).sum::<u64>(), 39_794);
    let want = recording.truth.sorted();
    assert_eq!(recording.pages(), want);

    let decisions = recording.run(&["decisions", "--top", "1"]).succeeded().json_lines();
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0]["verdict"], "sparse");
    assert_eq!(decisions[0]["unverified"], false);
    assert_eq!(number(decisions[0]["folio_pfn"].as_str().expect("a string")), 0x820d_b800);
}

#[test]
fn a_budget_is_kept_and_told() {
    let folder = scratch();
    let config = Config { records: 20_000, folios: 600, scenario: Kind::Uniform, ..small() };
    let recording = Recording::of(&config, folder.path(), "many");
    let report = |memory: &str| {
        let run = recording.run(&["report", "--format", "json", "--max-memory", memory]);
        let report = run.succeeded().json();
        check_ledger(&report);
        report
    };
    let tight = report("64KiB");
    assert!(of_ledger(&tight, "over_budget") > 0);
    assert!(tight["folios"].as_u64() < Some(600));
    let says = |report: &Value| report["notes"].to_string().contains("--max-memory");
    assert!(says(&tight));
    let wide = report("64MiB");
    assert_eq!(of_ledger(&wide, "over_budget"), 0);
    assert!(!says(&wide));
    let strict = recording.run(&["pages", "--strict", "--max-memory", "64KiB"]).code();
    assert_eq!(strict, 3);
    let none = recording.run(&["report", "--format", "json", "--max-memory", "0"]);
    let none = none.succeeded().json();
    check_ledger(&none);
    let reason = none["reason"].as_str().unwrap_or_default();
    assert!(of_ledger(&none, "counted") > 0 || reason.contains("--max-memory"), "{reason}");
}

#[test]
fn threads_whose_numbers_are_used_again_have_the_process_of_their_time() {
    let folder = scratch();
    for layout in [Layout::N1, Layout::Model] {
        let layouts = vec![layout];
        let config = Config { reused_threads: true, layouts, records: 60_000, cpus: 1, ..small() };
        let (mut file, mut rows) = (std::io::Cursor::new(Vec::new()), Vec::new());
        tracegen::write_file(&config, &mut file, Some(&mut rows)).expect("a right configuration");
        let rows = String::from_utf8(rows).expect("text");
        let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split('\t').collect()).collect();
        let reused = rows.iter().filter(|row| row[4] == "9000").map(|row| row[3]);
        assert_eq!(reused.collect::<BTreeSet<_>>().len(), 2, "two processes had the number");
        let path = write(folder.path(), "perf.data", file.get_ref());
        for pid in ["4242", "777"] {
            let of_pid = |row: &&Vec<&str>| row[3] == pid && row[5] != "none" && row[8] != "-";
            let want = rows.iter().filter(of_pid).count() as u64;
            for threads in ["1", "3"] {
                let pages = folioscope(["pages", "--pid", pid, "--threads", threads]).arg(&path);
                let found: u64 = counts(&pages.text()).values().sum();
                assert_eq!(found, want, "{layout:?}: --pid {pid}, {threads} threads");
            }
        }
    }
}

#[test]
fn samples_of_guests_are_left_out() {
    let folder = scratch();
    for form in [Form::File, Form::Folder, Form::Stream] {
        let config = Config { guests: 30, source: Source::Samples, form, seed: 8, ..small() };
        let recording = Recording::of(&config, folder.path(), &format!("guests-{form:?}"));
        assert!(recording.truth.ledger.guest_address > 0);
        check_whole(&recording, &format!("{form:?}"));
    }
}
