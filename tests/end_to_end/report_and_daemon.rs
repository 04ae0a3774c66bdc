//! What a report says of a block, a daemon that never cools says too at the end of the recording,
//! whatever the query.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tests::emulation::thinned;
use tests::inputs::input;

use crate::program::{report, scratch, write};
use crate::service::Daemon;

/// What both say of a block.
const FIELDS: [&str; 9] = [
    "accesses",
    "visits",
    "cold_visits",
    "cold_share",
    "proposable",
    "left_out",
    "hot_chunks",
    "hot_percent",
    "verdict",
];

/// Each block by its page frame.
type Blocks = BTreeMap<String, Vec<Value>>;

fn block(row: &Value) -> (String, Vec<Value>) {
    let pfn = row["folio_pfn"].as_str().expect("a page frame").to_owned();
    (pfn, FIELDS.map(|field| row[field].clone()).to_vec())
}

fn of_report(path: &Path, query: &[&str]) -> Blocks {
    let report = report(path, &[&["--top", "0", "-q"], query].concat());
    report["top"].as_array().expect("a list").iter().map(block).collect()
}

fn of_daemon(path: &Path, query: &[&str]) -> Blocks {
    let whole = ["--replay", "0", "--cooling-interval", "0s", "--ttl", "0s"];
    let path = path.to_str().expect("text");
    let daemon = Daemon::start(&[&whole, query, &[path]].concat());
    daemon.until("ended");
    let (mut blocks, mut token) = (Blocks::new(), String::new());
    loop {
        let asked = format!("page_size=1000&order_by=pfn&page_token={token}");
        let list = daemon.ask("ListFolios", &asked);
        for folio in list["folios"].as_array().expect("a list") {
            assert_eq!(folio["fraction"]["steady"], false, "nothing cools");
            blocks.extend([block(&folio["fraction"])]);
        }
        match list["next_page_token"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut token),
            _ => return blocks,
        }
    }
}

#[test]
fn a_daemon_says_of_a_block_what_a_report_says() {
    let folder = scratch();
    let config = tracegen::Config { records: 40_000, folios: 300, ..tracegen::Config::default() };
    let bytes = tracegen::to_bytes(&config).expect("a right configuration").0;
    let made = write(folder.path(), "made.data", &bytes);
    let queries: [&[&str]; 18] = [
        &[],
        &["--loads"],
        &["--stores"],
        &["--min-latency", "350"],
        &["--pid", "1-4000"],
        &["--cpu", "1"],
        &["--time", "2,6"],
        &["--time", "1,2", "--time", "7,"],
        &["--event", "arm_spe_0"],
        &["--source", "l1"],
        &["--pfn", "0x820db8a0-0x82100000"],
        &["--loads", "--cpu", "0-1"],
        &["--stores", "--min-latency", "100"],
        &["--pid", "1-4000", "--time", "2,6"],
        &["--source", "l1", "--event", "arm_spe_0"],
        &["--cpu", "0", "--time", ",5"],
        &["--loads", "--assume-complete"],
        &["--min-span", "3s"],
    ];
    let mut verdicts = BTreeMap::<String, usize>::new();
    for query in thinned("queries", queries, 6) {
        for path in [&made, &input("file-multi")] {
            let told = of_report(path, query);
            // Where nothing was counted, a daemon says why instead.
            if told.is_empty() {
                continue;
            }
            assert_eq!(of_daemon(path, query), told, "{query:?} {}", path.display());
            for fields in told.values() {
                *verdicts.entry(fields[8].to_string()).or_default() += 1;
            }
        }
    }
    assert!(verdicts.len() >= 3, "there is little to compare: {verdicts:?}");
}
