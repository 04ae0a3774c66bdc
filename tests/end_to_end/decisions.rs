//! `decisions` against a naive computation from the counted pages.

use serde_json::Value;
use tests::inputs::input;

use crate::program::{counts, folioscope, number};

const FIELDS: [&str; 13] = [
    "folio_pfn",
    "order",
    "hot_threshold",
    "hot_percent",
    "hot_chunks",
    "chunks",
    "accesses",
    "verdict",
    "backing",
    "unverified",
    "hot_bitmap",
    "pid",
    "vaddr",
];

fn decisions(name: &str, arguments: &[&str]) -> Vec<Value> {
    folioscope(["decisions"]).args(arguments).arg(input(name)).json_lines()
}

/// The contract's filter, word for word: hot chunks of 512 counters at an order.
fn hot_chunks(counters: &[u64; 512], order: u32) -> Vec<bool> {
    let chunk = 1_usize << order;
    let sums: Vec<u64> = counters.chunks(chunk).map(|pages| pages.iter().sum()).collect();
    let peak = *sums.iter().max().expect("at least one chunk");
    let least = (peak / 10).max(1);
    sums.iter().map(|sum| *sum >= least).collect()
}

/// Hexadecimal digits, most significant first, bit 0 is chunk 0.
fn bitmap(hot: &[bool]) -> String {
    let digits = (hot.len() / 4).max(1);
    let digit = |at: usize| {
        let bits = (0..4).filter(|bit| hot.get(4 * at + bit) == Some(&true));
        bits.map(|bit| 1_u32 << bit).sum::<u32>()
    };
    (0..digits).rev().map(|at| char::from_digit(digit(at), 16).expect("four bits")).collect()
}

#[test]
fn bitmaps_and_percents_of_every_order() {
    for name in ["spe-file", "file-shm", "pipe-one"] {
        let pages = counts(&folioscope(["pages"]).arg(input(name)).text());
        for order in 0..=9_u32 {
            let decisions = decisions(name, &["--order", &order.to_string(), "--counts"]);
            let mut seen = 0;
            let mut before = None;
            for decision in &decisions {
                let pfn = number(decision["folio_pfn"].as_str().expect("a string"));
                let mut counters = [0_u64; 512];
                for (page, count) in pages.range(pfn..pfn + 512) {
                    counters[usize::try_from(page - pfn).expect("below 512")] = *count;
                }
                let hot = hot_chunks(&counters, order);
                let n = hot.iter().filter(|hot| **hot).count();
                assert_eq!(decision["hot_bitmap"], bitmap(&hot), "{name} {pfn:#x} order {order}");
                assert_eq!(decision["hot_chunks"], n);
                assert_eq!(decision["chunks"], hot.len());
                assert_eq!(decision["hot_percent"], n * 100 / hot.len());
                assert_eq!(decision["order"], order);
                assert_eq!(decision["hot_threshold"], 30);
                let accesses: u64 = counters.iter().sum();
                assert_eq!(decision["accesses"], accesses);
                let want: Vec<Value> = (0..)
                    .zip(counters)
                    .filter(|(_, count)| *count > 0)
                    .map(|(page, count): (u64, u64)| serde_json::json!([page, count]))
                    .collect();
                assert_eq!(decision["counts"], Value::Array(want));
                let key = (std::cmp::Reverse(accesses), pfn);
                assert!(before < Some(key), "hottest first");
                before = Some(key);
                seen += accesses;
            }
            assert_eq!(seen, pages.values().sum::<u64>(), "{name}: every block is there");
        }
    }
}

#[test]
fn the_fields_are_the_contract_s() {
    for decision in decisions("spe-file", &[]) {
        let object = decision.as_object().expect("an object");
        FIELDS.iter().for_each(|field| assert!(object.contains_key(*field), "no {field}"));
        assert!(!object.contains_key("counts"), "only where asked for");
        assert_eq!(decision["order"], 2, "the default");
        assert!(decision["unverified"].is_boolean());
        let pid = &decision["pid"];
        assert!(pid.is_null() || pid.is_u64());
        let vaddr = &decision["vaddr"];
        assert!(vaddr.is_null() || vaddr.as_str().is_some_and(|text| number(text) > 0));
        if decision["backing"] == "unknown" {
            assert_eq!(decision["unverified"], true);
        }
    }
    let text = folioscope(["decisions"]).arg(input("spe-file")).text();
    let json = folioscope(["decisions", "--format", "json"]).arg(input("spe-file")).text();
    assert_eq!(text, json, "JSON lines in either format");
}

#[test]
fn they_say_what_the_report_says() {
    for name in ["spe-file-zstd81", "spe-stream"] {
        for order in ["0", "2", "4", "7"] {
            let arguments = ["--order", order, "--top", "0", "--hot-threshold", "50"];
            let report = crate::program::report(&input(name), &arguments);
            let decisions = decisions(name, &arguments);
            let top = report["top"].as_array().expect("a list");
            assert_eq!(top.len(), decisions.len());
            for (folio, decision) in top.iter().zip(&decisions) {
                for field in [
                    "folio_pfn",
                    "accesses",
                    "verdict",
                    "backing",
                    "hot_percent",
                    "hot_chunks",
                    "chunks",
                ] {
                    assert_eq!(folio[field], decision[field], "{name} {field}");
                }
                assert_eq!(decision["hot_threshold"], 50);
                if decision["verdict"] == "sparse" {
                    assert!(decision["hot_percent"].as_u64() < Some(50));
                }
                if decision["verdict"] == "hot" {
                    assert!(decision["hot_percent"].as_u64() >= Some(50));
                }
            }
        }
    }
    // At order 7 a chunk alone is 25 of 100: below that threshold nothing is ever split.
    for decision in decisions("spe-file", &["--order", "7", "--hot-threshold", "25"]) {
        assert_eq!(decision["verdict"], "unsplittable");
    }
    for decision in decisions("spe-file", &["--order", "0", "--hot-threshold", "0"]) {
        assert_eq!(decision["verdict"], "unsplittable");
    }
}

#[test]
fn faults_and_breakpoints_judge_nothing_unless_asked() {
    for name in ["file-bp", "file-anon", "pipe-multi-z", "dir-threads"] {
        for decision in decisions(name, &[]) {
            assert_eq!(decision["verdict"], "filtered", "{name}");
        }
        for decision in decisions(name, &["--assume-complete"]) {
            assert_ne!(decision["verdict"], "filtered", "{name}");
        }
    }
}

#[test]
fn a_uniformly_hot_block_is_not_called_sparse() {
    // A few samples of a block that is hot throughout prove nothing.
    let folder = crate::program::scratch();
    let config = tracegen::Config {
        records: 3000,
        folios: 60,
        scenario: tracegen::Kind::Uniform,
        ..tracegen::Config::default()
    };
    let (bytes, _) = tracegen::to_bytes(&config).expect("a right configuration");
    let path = crate::program::write(folder.path(), "perf.data", &bytes);
    let decisions = folioscope(["decisions", "--order", "0"]).arg(&path).json_lines();
    assert_eq!(decisions.len(), 60);
    let sparse = decisions.iter().filter(|decision| decision["verdict"] == "sparse").count();
    assert!(sparse <= 8, "{sparse} of 60 at 5 percent each");
    assert!(decisions.iter().all(|decision| decision["hot_percent"].as_u64() < Some(30)));
}

#[test]
fn as_many_as_asked_for() {
    let all = decisions("spe-file", &[]);
    assert!(all.len() > 5);
    assert_eq!(decisions("spe-file", &["--top", "5"]), all[..5]);
}
