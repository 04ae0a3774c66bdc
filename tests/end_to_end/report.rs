//! `report`: the shape of its JSON, its sums, its other formats, its notes.

use serde_json::{Value, json};
use tests::emulation::thinned;
use tests::inputs::{all, bytes, input};

use crate::program::{check_ledger, counts, folioscope, number, report, scratch};

/// Names of an object's fields.
fn fields(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// A time, or null where the recording has none.
fn check_time(value: &Value) {
    assert!(value.is_null() || value.is_u64(), "{value}");
}

/// Panics unless these fields are there; more may be.
fn check_fields(value: &Value, wanted: &[&str]) {
    for field in wanted {
        assert!(value.get(field).is_some(), "no field {field} in {:?}", fields(value));
    }
}

/// The contract's shape and sums.
fn check_shape(report: &Value) {
    check_fields(
        report,
        &[
            "schema",
            "input",
            "order",
            "hot_threshold",
            "accesses",
            "pages",
            "folios",
            "reason",
            "notes",
            "ledger",
            "touched_distribution",
            "hot_distribution",
            "verdicts",
            "coverage",
            "top",
        ],
    );
    assert_eq!(report["schema"], "folioscope.report/1");
    let input = &report["input"];
    check_fields(input, &["path", "kind", "arch", "sources", "time_base", "duration_ns"]);
    assert!(["file", "folder", "stream"].contains(&input["kind"].as_str().expect("a name")));
    assert!(["ns", "ticks", "none"].contains(&input["time_base"].as_str().expect("a name")));
    let known = ["arm_spe", "pebs", "ibs_op", "intel_pt", "sample"];
    assert!(list(&input["sources"]).iter().all(|s| known.contains(&s.as_str().expect("a name"))));
    check_time(&input["duration_ns"]);

    assert_eq!(fields(&report["ledger"]), {
        let mut names = vec![
            "aux_bytes",
            "record_bytes",
            "padding_bytes",
            "skipped_bytes",
            "cut_off_bytes",
            "foreign_aux_bytes",
            "overlap_bytes",
            "records",
            "counted",
            "guest_address",
            "no_physical_address",
            "lookup_failed",
            "not_memory",
            "filtered",
            "over_budget",
            "looked_up",
            "lookup_gone",
            "lookup_not_present",
            "lookup_hidden",
            "guest_accesses",
            "not_address_events",
            "late",
            "tid_unknown",
            "not_retired",
            "aux_missing_bytes",
            "aux_truncated",
            "aux_collision",
            "aux_partial",
            "lost",
            "lost_records",
            "lost_samples",
            "throttled",
            "saturated_counters",
            "recording_incomplete",
        ];
        // In memory an object's fields have the order of their names.
        names.sort_unstable();
        names
    });
    check_ledger(report);

    let folios = count(&report["folios"]);
    for name in ["touched_distribution", "hot_distribution"] {
        let rows = list(&report[name]);
        let edges = rows.iter().map(|row| (count(&row["from"]), count(&row["to"])));
        assert!(edges.eq((0..10).map(|row| (10 * row, 10 * row + 10))), "{name}");
        assert_eq!(rows.iter().map(|row| count(&row["folios"])).sum::<u64>(), folios, "{name}");
    }
    let verdicts = &report["verdicts"];
    let names = ["hot", "sparse", "undersampled", "filtered", "unsplittable"];
    assert_eq!(names.iter().map(|name| count(&verdicts[name])).sum::<u64>(), folios);
    for cpu in list(&report["coverage"]) {
        count(&cpu["cpu"]);
        count(&cpu["records"]);
        check_time(&cpu["first_ns"]);
        check_time(&cpu["last_ns"]);
        assert!(cpu["first_ns"].as_u64() <= cpu["last_ns"].as_u64());
    }
    let order = count(&report["order"]);
    let mut before = None;
    for folio in list(&report["top"]) {
        let pfn = number(folio["folio_pfn"].as_str().expect("PFNs are strings"));
        assert_eq!(pfn % 512, 0);
        let accesses = count(&folio["accesses"]);
        let parts = ["loads", "stores", "atomics", "unknown_op"].map(|part| count(&folio[part]));
        assert_eq!(parts.iter().sum::<u64>(), accesses);
        let key = (std::cmp::Reverse(accesses), pfn);
        assert!(before < Some(key), "by accesses, highest first, then by PFN");
        before = Some(key);
        let (hot, chunks) = (count(&folio["hot_chunks"]), count(&folio["chunks"]));
        assert_eq!(chunks, 512 >> order);
        assert!(1 <= hot && hot <= chunks);
        assert_eq!(count(&folio["hot_percent"]), hot * 100 / chunks);
        let touched = count(&folio["touched_pages"]);
        assert!((1..=512).contains(&touched) && touched <= accesses);
        assert!(count(&folio["peak"]) <= accesses);
        assert!(names.contains(&folio["verdict"].as_str().expect("a verdict")));
        let backings = ["thp", "hugetlb", "smaller", "unknown"];
        assert!(backings.contains(&folio["backing"].as_str().expect("a name")));
        let mapping = &folio["mapping_order_max"];
        assert!(mapping.is_null() || count(mapping) <= 9);
        if mapping.as_u64().is_some_and(|order| order < 9) {
            assert_eq!(folio["backing"], "smaller");
        }
        check_time(&folio["first_ns"]);
        check_time(&folio["last_ns"]);
    }
}

#[test]
fn the_shape_and_the_sums_are_the_contract_s() {
    for name in thinned("recordings", all(), 4) {
        for order in ["0", "2", "9"] {
            let report = report(&input(name), &["--top", "0", "--order", order]);
            check_shape(&report);
            assert_eq!(list(&report["top"]).len() as u64, count(&report["folios"]), "{name}");
            assert_eq!(report["order"].to_string(), order);
            assert_eq!(report["hot_threshold"], 30);
            assert_eq!(report["reason"], Value::Null);
            let all = list(&report["top"]).iter().map(|folio| count(&folio["accesses"]));
            assert_eq!(all.sum::<u64>(), count(&report["accesses"]), "{name}");
        }
    }
}

#[test]
fn the_pages_of_the_report_are_those_that_pages_lists() {
    for name in ["spe-file", "file-shm"] {
        let pages = counts(&folioscope(["pages"]).arg(input(name)).text());
        let report = report(&input(name), &["--top", "0"]);
        assert_eq!(count(&report["pages"]), pages.len() as u64);
        for folio in list(&report["top"]) {
            let pfn = number(folio["folio_pfn"].as_str().expect("a string"));
            let of_folio: Vec<u64> = pages.range(pfn..pfn + 512).map(|(_, count)| *count).collect();
            assert_eq!(count(&folio["touched_pages"]), of_folio.len() as u64);
            assert_eq!(count(&folio["accesses"]), of_folio.iter().sum::<u64>());
            let peak = of_folio.iter().copied().max().expect("a page was touched");
            assert_eq!(count(&folio["peak"]), peak);
            let least = (peak / 10).max(1);
            let hot = of_folio.iter().filter(|count| **count >= least).count() as u64;
            assert_eq!(count(&folio["hot_chunks"]), hot);
        }
    }
}

#[test]
fn the_example_of_a_recording() {
    let report = report(&input("file-bp"), &[]);
    assert_eq!(report["input"]["arch"], "x86_64");
    assert_eq!(report["input"]["sources"], json!(["sample"]));
    assert_eq!(report["input"]["time_base"], "ns");
    // Hits of the four breakpoints as the workload counts them.
    let mut hits: Vec<_> =
        list(&report["top"]).iter().map(|folio| count(&folio["accesses"])).collect();
    hits.sort_unstable();
    assert_eq!(hits.iter().sum::<u64>(), 2400 + 3600 + 600 + 5);
    // The second and the last were set on stores alone.
    let stores = crate::program::report(&input("file-bp"), &["--stores"]);
    assert_eq!(count(&stores["accesses"]), 3600 + 5);
    assert_eq!(
        report["verdicts"]["filtered"], report["folios"],
        "breakpoints are no sample of accesses"
    );
    let judged = crate::program::report(&input("file-bp"), &["--assume-complete"]);
    assert_eq!(judged["verdicts"]["filtered"], 0);
    assert!(judged["notes"].to_string().contains("complete on request"));
}

#[test]
fn only_as_many_as_asked_for() {
    for top in [1, 3] {
        let report = report(&input("spe-file"), &["--top", &top.to_string()]);
        check_shape(&report);
        assert_eq!(list(&report["top"]).len(), top);
    }
    assert_eq!(list(&report(&input("spe-file"), &[])["top"]).len(), 10);
}

#[test]
fn times_and_cpus() {
    let report = report(&input("spe-file"), &["--top", "0"]);
    let table = crate::program::Table::of("spe-file");
    let times: Vec<u64> = table.rows().map(|row| number(row["time_ns"])).collect();
    let (first, last) =
        (times.iter().min().expect("records"), times.iter().max().expect("records"));
    assert_eq!(count(&report["input"]["duration_ns"]), last - first);
    for cpu in list(&report["coverage"]) {
        let of_cpu = table.rows().filter(|row| number(row["cpu"]) == count(&cpu["cpu"]));
        let times: Vec<u64> = of_cpu.map(|row| number(row["time_ns"])).collect();
        assert_eq!(count(&cpu["records"]), times.len() as u64);
        assert_eq!(count(&cpu["first_ns"]), *times.iter().min().expect("records"));
        assert_eq!(count(&cpu["last_ns"]), *times.iter().max().expect("records"));
    }
    assert_eq!(list(&report["coverage"]).len(), 6);

    let timeless = crate::program::report(&input("spe-file-timeless"), &[]);
    assert_eq!(timeless["input"]["time_base"], "none");
    assert_eq!(timeless["input"]["duration_ns"], Value::Null);
    for folio in list(&timeless["top"]) {
        assert_eq!([&folio["first_ns"], &folio["last_ns"]], [&Value::Null; 2]);
    }
    // Timestamps whose conversion is not known.
    let folder = tests::inputs::testdata().join("written");
    let ticks = crate::program::report(&folder.join("two-threads.data"), &[]);
    assert_eq!(ticks["input"]["time_base"], "ticks");
    assert_eq!(ticks["input"]["duration_ns"], Value::Null);
}

#[test]
fn notes_say_how_it_was_sampled() {
    let notes = |name: &str| report(&input(name), &[])["notes"].to_string();
    let spe = notes("spe-file");
    assert!(spe.contains("1024 operations") && spe.contains("jitter"), "{spe}");
    assert!(!spe.contains("Add jitter=1"), "{spe}");
    let folder = tests::inputs::testdata().join("written");
    assert!(notes("file-period").contains("20000 times a second"));
    assert!(notes("spe-file-timeless").contains("ts_enable"));
    let ticks = crate::program::report(&folder.join("two-threads.data"), &[]);
    assert!(ticks["notes"].to_string().contains("--time"));
    // An event without jitter.
    let mut event = tests::made::spe_event();
    event.attr.config = 0b11;
    event.attr.sample_period = 4096;
    let mut made =
        tests::made::Made::of(tracegen::bytes::Endian::Little, false, vec![event], "6.12.0");
    made.info().clock().piece(0, 0, &tests::made::load(7, 1000));
    let scratch = scratch();
    let path = crate::program::write(scratch.path(), "perf.data", &made.finish());
    let notes = crate::program::report(&path, &[])["notes"].to_string();
    assert!(notes.contains("4096 operations") && notes.contains("Add jitter=1"), "{notes}");
}

#[test]
fn filters_of_the_recording_are_told_and_forbid_verdicts() {
    // load_filter, store_filter, min_latency, event_filter of drivers/perf/arm_spe_pmu.c.
    let cases = [
        (1 << 33, 0, 0, Some("stores were not recorded")),
        (1 << 34, 0, 0, Some("loads were not recorded")),
        (1 << 33 | 1 << 34, 0, 0, None),
        (0, 0, 100, Some("100 cycles")),
        (0, 1 << 3, 0, Some("certain events")),
    ];
    let scratch = scratch();
    for (config, config1, config2, reason) in cases {
        let mut event = tests::made::spe_event();
        event.attr.config |= config;
        event.attr.config1 = config1;
        event.attr.config2 = config2;
        let mut made =
            tests::made::Made::of(tracegen::bytes::Endian::Little, false, vec![event], "6.12.0");
        made.info().clock().piece(0, 0, &tests::made::load(7, 1000));
        let path = crate::program::write(scratch.path(), "perf.data", &made.finish());
        let report = crate::program::report(&path, &[]);
        let notes = report["notes"].to_string();
        assert!(reason.is_none_or(|reason| notes.contains(reason)), "{notes}");
        assert_eq!(count(&report["verdicts"]["filtered"]), u64::from(reason.is_some()), "{notes}");
    }
}

#[test]
fn nothing_counted_is_said_with_its_remedy() {
    let folder = tests::inputs::testdata().join("written");
    let cases = [("guest-cut", "physical address"), ("branches", "pa_enable=1")];
    for (name, words) in cases {
        let path = folder.join(format!("{name}.data"));
        let run = folioscope(["report", "--format", "json"]).arg(&path).run().succeeded();
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        let report = run.json();
        check_shape(&report);
        let reason = report["reason"].as_str().expect("a reason");
        assert!(reason.contains(words) || run.stderr.contains(words), "{reason}");
        assert!(run.stderr.contains(reason), "{}", run.stderr);
        assert_eq!(report["top"], json!([]));
        // The other outputs keep their formats.
        for command in ["pages", "decisions"] {
            let run = folioscope([command]).arg(&path).run().succeeded();
            assert_eq!((run.text().as_str(), run.stderr.lines().count()), ("", 1), "{command}");
            let quiet = folioscope([command, "-q"]).arg(&path).run().succeeded();
            assert_eq!((quiet.text(), quiet.stderr), (String::new(), String::new()));
        }
        let csv = folioscope(["pages", "--format", "csv"]).arg(&path).text();
        assert_eq!(csv, "pfn,count\n");
    }
}

#[test]
fn messages_as_json_are_one_object_a_line() {
    let run = folioscope(["pages", "--log-format", "json", "nowhere"]).run();
    assert_eq!(run.code(), 1);
    let message: Value = serde_json::from_str(&run.stderr).expect("one object");
    assert_eq!(message["level"], "error");
    assert!(message["message"].as_str().expect("a text").contains("nowhere"));
    let run = folioscope(["pages", "-v", "--log-format", "json"]).arg(input("pipe-one")).run();
    for line in run.succeeded().stderr.lines() {
        let message: Value = serde_json::from_str(line).expect("an object a line");
        assert!(message["message"].is_string());
    }
}

#[test]
fn text_is_at_most_80_columns_wide() {
    for name in thinned("recordings", all(), 4) {
        let text = folioscope(["report", "--top", "0"]).arg(input(name)).text();
        assert!(text.lines().count() > 10, "{name}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line:?}");
        }
        assert!(!text.contains('\u{1b}'), "{name}: no colour where no terminal is");
        let report = report(&input(name), &[]);
        let hottest = report["top"][0]["folio_pfn"].as_str().expect("a string");
        assert!(text.contains(hottest), "{name}: {hottest}");
        // Not a screen's width, but the same without a terminal.
        let narrow = folioscope(["report", "--top", "0"]).arg(input(name)).env("COLUMNS", "30");
        assert_eq!(narrow.text(), text, "{name}");
    }
}

#[test]
fn colours_only_where_asked_for() {
    let coloured = |arguments: &[&str], no_color: Option<&str>| {
        let mut start = folioscope(["report"]).args(arguments).arg(input("spe-file"));
        if let Some(value) = no_color {
            start = start.env("NO_COLOR", value);
        }
        start.text().contains('\u{1b}')
    };
    assert!(coloured(&["--color", "always"], None));
    assert!(
        coloured(&["--color", "always"], Some("1")),
        "an option is nearer than the environment"
    );
    assert!(!coloured(&["--color", "never"], None));
    assert!(!coloured(&["--color", "auto"], None), "a pipe is no terminal");
    assert!(!coloured(&[], Some("1")));
    // Colours change nothing else.
    let plain = folioscope(["report"]).arg(input("spe-file")).text();
    let colour = folioscope(["report", "--color", "always"]).arg(input("spe-file")).text();
    let mut stripped = String::new();
    let mut rest = colour.as_str();
    while let Some((before, escape)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = escape.split_once('m').expect("an escape ends").1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped.lines().count(), plain.lines().count());
}

#[test]
fn csv_has_the_rows_of_top() {
    for name in ["spe-file-timeless", "file-multi"] {
        let json = report(&input(name), &["--top", "7"]);
        let csv = folioscope(["report", "--format", "csv", "--top", "7"]).arg(input(name)).text();
        let mut lines = csv.lines();
        let header: Vec<_> = lines.next().expect("a header line").split(',').collect();
        let rows = list(&json["top"]);
        assert_eq!(lines.clone().count(), rows.len());
        for (line, row) in lines.zip(rows) {
            let cells: Vec<_> = line.split(',').collect();
            assert_eq!(cells.len(), header.len(), "{line}");
            for (name, cell) in header.iter().zip(cells) {
                let want = match &row[name] {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                assert_eq!(cell, want, "{name}");
            }
        }
        assert_eq!(header.len(), fields(&rows[0]).len());
    }
}

#[test]
fn results_go_to_a_file_on_request() {
    let folder = scratch();
    let out = folder.path().join("out");
    for format in ["text", "json", "csv"] {
        for command in ["report", "pages", "records", "decisions"] {
            let arguments = [command, "--format", format];
            let want = folioscope(arguments).arg(input("pipe-one")).text();
            let quiet = folioscope(arguments).arg("-o").arg(&out).arg(input("pipe-one")).text();
            assert_eq!(quiet, "", "{command} {format}");
            assert!(bytes(&out) == want.as_bytes(), "{command} {format}");
        }
    }
}

#[test]
fn parquet_is_a_file_that_names_its_schema_and_columns() {
    let folder = scratch();
    let out = folder.path().join("out.parquet");
    let cases: [(&str, &str, &[&str]); 4] = [
        (
            "report",
            "folioscope.report/1",
            &["folio_pfn", "accesses", "verdict", "backing", "last_ns"],
        ),
        ("pages", "folioscope.pages/1", &["pfn", "count"]),
        (
            "records",
            "folioscope.records/1",
            &["time_ns", "cpu", "op", "ip", "paddr", "source", "flags"],
        ),
        ("decisions", "folioscope.decisions/1", &["folio_pfn", "hot_bitmap", "unverified"]),
    ];
    for (command, schema, columns) in cases {
        for name in ["spe-file", "file-anon"] {
            let arguments = [command, "--format", "parquet", "-o"];
            folioscope(arguments).arg(&out).arg(input(name)).run().succeeded();
            let file = bytes(&out);
            assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"), "{command}");
            let at = file.len() - 8;
            let footer = u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
            let footer = &file[at - footer as usize..at];
            let has = |text: &str| footer.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(has(schema), "{command}: {schema}");
            columns.iter().for_each(|column| assert!(has(column), "{command}: {column}"));
        }
        let run = folioscope([command, "--format", "parquet"]).arg(input("spe-file")).run();
        assert_eq!((run.code(), run.text()), (2, String::new()), "{command}: wrong usage");
        assert!(run.stderr.contains("-o FILE"), "{command}: {}", run.stderr);
    }
}
