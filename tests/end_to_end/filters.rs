//! Every filter against a naive one over the listed records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tests::emulation::thinned;
use tests::inputs::input;

use crate::program::{check_ledger, counts, folioscope, number, of_ledger, report};

/// A rule over a record.
type Rule<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

fn records(path: &Path, filters: &[&str]) -> Vec<Value> {
    folioscope(["records", "--format", "json"]).args(filters).arg(path).json_lines()
}

fn of(record: &Value, field: &str) -> Option<u64> {
    record[field].as_u64()
}

fn pfn(record: &Value) -> Option<u64> {
    record["paddr"].as_str().map(|paddr| number(paddr) >> 12)
}

fn is(record: &Value, field: &str, values: &[&str]) -> bool {
    record[field].as_str().is_some_and(|value| values.contains(&value))
}

fn op(record: &Value) -> &str {
    record["op"].as_str().expect("an operation").split('/').next().expect("a first part")
}

/// Panics unless these options keep just what the rule keeps, in `records`, `pages`, `report` and its ledger.
fn check(path: &Path, filters: &[&str], keep: &dyn Fn(&Value) -> bool) -> usize {
    let all = records(path, &[]);
    let want: Vec<Value> = all.iter().filter(|record| keep(record)).cloned().collect();
    let got = records(path, filters);
    assert!(got == want, "{filters:?}: {} records, wanted {}", got.len(), want.len());
    let mut pages = BTreeMap::<u64, u64>::new();
    want.iter().filter_map(pfn).for_each(|pfn| *pages.entry(pfn).or_default() += 1);
    let counted = folioscope(["pages", "-q"]).args(filters).arg(path).text();
    assert_eq!(counts(&counted), pages, "{filters:?}");
    let (whole, kept) = (report(path, &[]), report(path, filters));
    check_ledger(&kept);
    let with_address = all.iter().filter_map(pfn).count() as u64;
    let counted = pages.values().sum::<u64>();
    assert_eq!(of_ledger(&kept, "counted"), counted, "{filters:?}");
    assert_eq!(of_ledger(&kept, "filtered"), with_address - counted, "{filters:?}");
    for field in ["records", "not_memory", "no_physical_address"] {
        assert_eq!(of_ledger(&kept, field), of_ledger(&whole, field), "{filters:?}: {field}");
    }
    want.len()
}

#[test]
fn each_filter_of_spe_records() {
    let path = input("spe-stream-zstd83");
    let all = records(&path, &[]);
    let tids: Vec<u64> = {
        let mut tids: Vec<u64> = all.iter().filter_map(|record| of(record, "tid")).collect();
        tids.sort_unstable();
        tids.dedup();
        tids
    };
    let pfns: Vec<u64> = all.iter().filter_map(pfn).collect();
    let (low, high) = (pfns[3].min(pfns[400]), pfns[3].max(pfns[400]));
    let two_tids = format!("{},{}-{}", tids[0], tids[1], tids[1]);
    let hex_range = format!("{low:#x}-{high:#x}");
    let decimal = format!("{low}-{low}");
    let block = low & !511;
    let whole_block = format!("{block:#x}-{:#x}", block + 511);
    let tid = tids[0].to_string();
    let event = all[0]["event"].as_str().expect("an event has a name");
    let cases: Vec<(Vec<&str>, Rule<'_>)> = vec![
        (vec!["--loads"], Box::new(|r| ["load", "atomic"].contains(&op(r)))),
        (vec!["--stores"], Box::new(|r| ["store", "atomic"].contains(&op(r)))),
        (vec!["--loads", "--stores"], Box::new(|r| op(r) != "access")),
        (vec!["--min-latency", "0"], Box::new(|r| of(r, "latency").is_some())),
        (vec!["--min-latency", "100"], Box::new(|r| of(r, "latency") >= Some(100))),
        (vec!["--min-latency", "70000"], Box::new(|_| false)),
        (vec!["--cpu", "0"], Box::new(|r| of(r, "cpu") == Some(0))),
        (
            vec!["--cpu", "1,4-7"],
            Box::new(|r| of(r, "cpu").is_some_and(|c| c == 1 || (4..8).contains(&c))),
        ),
        (
            vec!["--cpu", "0", "--cpu", "1"],
            Box::new(|r| of(r, "cpu") <= Some(1) && of(r, "cpu").is_some()),
        ),
        (vec!["--cpu", "99"], Box::new(|_| false)),
        (vec!["--tid", &tid], Box::new(|r| of(r, "tid") == Some(tids[0]))),
        (
            vec!["--tid", &two_tids],
            Box::new(|r| of(r, "tid").is_some_and(|t| tids[..2].contains(&t))),
        ),
        (vec!["--source", "l1"], Box::new(|r| is(r, "source", &["l1"]))),
        (
            vec!["--source", "l2", "--source", "dram"],
            Box::new(|r| is(r, "source", &["l2", "dram"])),
        ),
        (vec!["--source", "unknown(0x77)"], Box::new(|_| false)),
        (vec!["--event", event], Box::new(|_| true)),
        (vec!["--event", "cycles"], Box::new(|_| false)),
        (
            vec!["--pfn", &hex_range],
            Box::new(|r| pfn(r).is_some_and(|p| (low..=high).contains(&p))),
        ),
        (vec!["--pfn", &decimal], Box::new(|r| pfn(r) == Some(low))),
        (
            vec!["--pfn", &decimal, "--pfn", &whole_block],
            Box::new(|r| pfn(r).is_some_and(|p| p & !511 == block)),
        ),
        (
            vec!["--loads", "--cpu", "0", "--min-latency", "50", "--source", "l1"],
            Box::new(|r| {
                ["load", "atomic"].contains(&op(r))
                    && of(r, "cpu") == Some(0)
                    && of(r, "latency") >= Some(50)
                    && is(r, "source", &["l1"])
            }),
        ),
    ];
    let cases = thinned("filters", cases, 3);
    let mut some = 0;
    for (filters, keep) in &cases {
        let kept = check(&path, filters, keep);
        some += usize::from(0 < kept && kept < all.len());
    }
    assert!(some * 2 > cases.len(), "most of these filters keep a part: {some} of {}", cases.len());
}

#[test]
fn each_filter_of_samples() {
    let path = input("file-sys");
    let all = records(&path, &[]);
    let pid = of(&all[all.len() / 2], "pid").expect("samples have pids");
    let pid_text = pid.to_string();
    let tid = of(&all[all.len() / 2], "tid").expect("samples have tids");
    let range = format!("{tid}-{}", tid + 1);
    let cases: Vec<(Vec<&str>, Rule<'_>)> = vec![
        (vec!["--pid", &pid_text], Box::new(|r| of(r, "pid") == Some(pid))),
        (
            vec!["--tid", &range],
            Box::new(|r| of(r, "tid") == Some(tid) || of(r, "tid") == Some(tid + 1)),
        ),
        (vec!["--event", "minor-faults"], Box::new(|r| is(r, "event", &["minor-faults"]))),
        // Faults do not say what they did, where the data was, or how long it took.
        (vec!["--loads"], Box::new(|_| false)),
        (vec!["--loads", "--stores"], Box::new(|_| false)),
        (vec!["--min-latency", "0"], Box::new(|_| false)),
        (vec!["--source", "l1"], Box::new(|_| false)),
        (
            vec!["--pid", &pid_text, "--tid", "1"],
            Box::new(|r| of(r, "pid") == Some(pid) && of(r, "tid") == Some(1)),
        ),
    ];
    for (filters, keep) in thinned("filters", &cases, 3) {
        check(&path, filters, keep);
    }
}

#[test]
fn events_by_name() {
    let path = input("file-multi");
    let names = ["minor-faults", "page-faults"];
    let mut sum = 0;
    for name in names {
        let kept = check(&path, &["--event", name], &|r| is(r, "event", &[name]));
        assert!(kept > 0, "{name}");
        sum += kept;
    }
    assert_eq!(sum, records(&path, &[]).len());
    check(&path, &["--event", names[0], "--event", names[1]], &|r| is(r, "event", &names));
    // A tracepoint has no address of data.
    let tracepoint = "exceptions:page_fault_user";
    assert_eq!(check(&path, &["--event", tracepoint], &|r| is(r, "event", &[tracepoint])), 0);
}

#[test]
fn times() {
    let path = input("spe-file");
    let all = records(&path, &[]);
    let mut times: Vec<u64> = all.iter().filter_map(|record| of(record, "time_ns")).collect();
    times.sort_unstable();
    let (low, high) = (times[times.len() / 4], times[times.len() / 2]);
    let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let within = |from: u64, to: u64| {
        move |record: &Value| of(record, "time_ns").is_some_and(|time| from <= time && time < to)
    };
    let both = format!("{},{}", seconds(low), seconds(high));
    let kept = check(&path, &["--time", &both], &within(low, high));
    assert!(kept > 100);
    check(&path, &["--time", &format!("{},", seconds(high))], &within(high, u64::MAX));
    check(&path, &["--time", &format!(",{}", seconds(low))], &within(0, low));
    check(&path, &["--time", ","], &within(0, u64::MAX));
    // Alternatives.
    let first = format!(",{}", seconds(low));
    let last = format!("{},", seconds(high));
    check(&path, &["--time", &first, "--time", &last], &|record| {
        within(0, low)(record) || within(high, u64::MAX)(record)
    });
}

#[test]
fn times_are_refused_without_a_clock() {
    let ticks = tests::inputs::testdata().join("written/two-threads.data");
    for command in ["report", "pages", "decisions", "records"] {
        for (path, words) in [
            (&input("spe-file-timeless"), ["spe-file-timeless", "--time", "ts_enable"]),
            (&ticks, ["two-threads", "--time", "TIME_CONV"]),
        ] {
            let mut run = folioscope([command, "--time", "0,1"]).arg(path).run();
            // A listing has begun by then: its header is out, and no record.
            assert!(run.text().lines().all(|line| line.starts_with('#')), "{command}");
            run.stdout.clear();
            run.failed(&words);
        }
    }
    let run = folioscope(["report", "--min-span", "1s"]).arg(input("spe-file-timeless")).run();
    run.failed(&["--min-span", "ts_enable"]);
}

/// Whether an access is one of those that a filter is about.
type Keeps = fn(&Value) -> bool;

/// Filters, and what each keeps, by a record's fields.
fn judged_filters() -> Vec<(Vec<&'static str>, Keeps)> {
    let filters: [(&[&'static str], Keeps); 9] = [
        (&["--loads"], |one| text(one, "op").starts_with("load") || text(one, "op") == "atomic"),
        (&["--stores"], |one| text(one, "op").starts_with("store") || text(one, "op") == "atomic"),
        (&["--loads", "--stores"], |one| text(one, "op") != "access"),
        (&["--min-latency", "350"], |one| one["latency"].as_u64().is_some_and(|it| it >= 350)),
        (&["--cpu", "0-1"], |one| one["cpu"].as_u64().is_some_and(|it| it <= 1)),
        (&["--pid", "1-4000"], |one| {
            one["pid"].as_u64().is_some_and(|it| (1..=4000).contains(&it))
        }),
        (&["--source", "l1"], |one| one["source"] == "l1"),
        (&["--event", "arm_spe_0"], |one| text(one, "event").starts_with("arm_spe_0/")),
        (&["--pfn", "0-0xfffffff"], |one| {
            one["paddr"].as_str().is_some_and(|paddr| number(paddr) >> 12 <= 0xfff_ffff)
        }),
    ];
    filters.into_iter().map(|(words, keeps)| (words.to_vec(), keeps)).collect()
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

/// The blocks from which filters drop an access, and those of which they keep one.
fn dropped_and_kept(records: &[Value], keeps: &[Keeps]) -> [BTreeSet<u64>; 2] {
    let [mut dropped, mut kept] = [BTreeSet::new(), BTreeSet::new()];
    for record in records {
        let Some(paddr) = record["paddr"].as_str().map(number) else { continue };
        let all = keeps.iter().all(|keeps| keeps(record));
        if all { &mut kept } else { &mut dropped }.insert(paddr >> 21 << 9);
    }
    [dropped, kept]
}

/// Verdict and `left_out` of each block.
fn judged(path: &Path, options: &[&str]) -> BTreeMap<u64, (String, bool)> {
    let rows = report(path, &[&["--top", "0"], options].concat());
    let rows = rows["top"].as_array().expect("a list").iter().map(|row| {
        let left_out = row["left_out"].as_bool().expect("a boolean");
        (number(text(row, "folio_pfn")), (text(row, "verdict").to_owned(), left_out))
    });
    rows.collect()
}

#[test]
fn a_block_that_lost_nothing_is_judged_whatever_the_query() {
    let filters = judged_filters();
    let alone = filters.iter().map(|one| vec![one]);
    let pairs = filters.iter().enumerate().flat_map(|(at, one)| {
        // Loads and stores are alternatives: the third is about both.
        let others = filters[at + 1..].iter().skip(2_usize.saturating_sub(at));
        others.map(move |other| vec![one, other])
    });
    let (mut lost, mut whole) = (0, 0);
    for path in [input("spe-file"), input("spe-file-zstd83")] {
        let records = records(&path, &[]);
        let unfiltered = judged(&path, &[]);
        for query in thinned("queries", alone.clone().chain(pairs.clone()), 9) {
            let words = query.iter().flat_map(|(words, _)| words.iter().copied());
            let words: Vec<_> = words.collect();
            let keeps: Vec<_> = query.iter().map(|(_, keeps)| *keeps).collect();
            let [dropped, kept] = dropped_and_kept(&records, &keeps);
            let found = judged(&path, &words);
            assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), kept, "{words:?}");
            for (pfn, (verdict, left_out)) in &found {
                assert_eq!(*left_out, dropped.contains(pfn), "{words:?} {pfn:#x}");
                if *left_out {
                    assert_eq!(verdict, "filtered", "{words:?} {pfn:#x}");
                    lost += 1;
                } else {
                    assert_eq!(*verdict, unfiltered[pfn].0, "{words:?} {pfn:#x}");
                    whole += 1;
                }
            }
            let complete = judged(&path, &[&words[..], &["--assume-complete"]].concat());
            assert!(
                complete.values().all(|(verdict, left_out)| verdict != "filtered" && !left_out)
            );
            let notes = report(&path, &words)["notes"].to_string();
            let told = found.values().any(|(_, left_out)| *left_out);
            assert_eq!(notes.contains("not judged"), told, "{words:?}: {notes}");
            assert!(!told || notes.contains(words[0]), "{words:?}: {notes}");
        }
    }
    assert!(lost > 100 && whole > 100, "{lost} {whole}");
}

/// A range of times is a shorter recording: what comes before and after leaves nothing out, and the
/// span that is asked is that of the range.
#[test]
fn a_range_of_times_is_a_shorter_recording() {
    let path = input("spe-file");
    let times: Vec<u64> =
        records(&path, &[]).iter().filter_map(|record| record["time_ns"].as_u64()).collect();
    let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    let middle = first + (last - first) / 2;
    let half = format!(",{}.{:09}", middle / 1_000_000_000, middle % 1_000_000_000);
    let short = report(&path, &["--time", &half]);
    assert_eq!(short["verdicts"]["filtered"], 0);
    assert!(!short["notes"].to_string().contains("not judged"));
    // The same accesses, as a recording that ended there.
    let sparse = |options: &[&str]| report(&path, options)["verdicts"]["sparse"].clone();
    let tenth = format!("{}ns", (middle - first) / 10);
    let asked = ["--time", &half, "--min-span", &tenth];
    assert_eq!(sparse(&["--time", &half]), sparse(&asked), "a tenth of the range");
}

#[test]
fn values_that_are_none_are_wrong_usage() {
    for bad in [
        &["--cpu", "x"][..],
        &["--cpu", "7-4"],
        &["--pid", "1,"],
        &["--source", "l9"],
        &["--time", "5"],
        &["--time", "2,1"],
        &["--pfn", "2-1"],
        &["--pfn", "0x"],
        &["--min-latency", "x"],
        &["--order", "10"],
        &["--hot-threshold", "101"],
        &["--format", "xml"],
        &["--threads", "0"],
        &["--max-memory", "1MB"],
        &["--page-size", "5KiB"],
        &["--min-span", "5"],
        &["--color", "maybe"],
        &["--nonsense"],
    ] {
        let run = folioscope(["report"]).args(bad).arg(input("pipe-one")).run();
        assert_eq!(run.code(), 2, "{bad:?}");
        assert_eq!(run.text(), "", "{bad:?}");
        assert!(run.stderr.contains(bad[0]), "{bad:?}: {}", run.stderr);
    }
    assert_eq!(folioscope(["nonsense"]).run().code(), 2);
    assert_eq!(folioscope::<&str>([]).run().code(), 2);
}

/// perf's name of an SPE event has its terms; the unit alone is enough.
#[test]
fn an_spe_event_by_its_unit() {
    let config = tracegen::Config { records: 500, folios: 5, ..tracegen::Config::default() };
    let folder = crate::program::scratch();
    for form in [tracegen::Form::File, tracegen::Form::Stream] {
        let config = tracegen::Config { form, ..config.clone() };
        let (bytes, _) = tracegen::to_bytes(&config).expect("a right configuration");
        let path = crate::program::write(folder.path(), "perf.data", &bytes);
        let all = records(&path, &[]);
        let name = "arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/";
        assert!(all.iter().all(|record| record["event"] == name), "{form:?}");
        check(&path, &["--event", "arm_spe_0"], &|_| true);
        check(&path, &["--event", name], &|_| true);
        check(&path, &["--event", "arm_spe_1"], &|_| false);
        check(&path, &["--event", "arm_spe"], &|_| false);
    }
}
