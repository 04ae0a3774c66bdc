//! Every block is judged by one function, whoever asks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::crate_files::rust_files;

/// The sources of programs and libraries, without their tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf();
    let crates = ["heatmap", "heatmap/report", "heatmap/service", "heatmap/cli", "feeder"];
    let files = crates.iter().flat_map(|folder| rust_files(&root.join(folder).join("src")));
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("text");
        // Tests stand at the end, or in a file of their own.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (path.strip_prefix(&root).expect("below it").display().to_string(), text)
    };
    files.filter(|path| !path.ends_with("tests.rs")).map(source).collect()
}

/// The files in which one of these words stands.
fn users(words: &[&str]) -> BTreeSet<String> {
    let has = |text: &str| words.iter().any(|word| text.contains(word));
    sources().into_iter().filter(|(_, text)| has(text)).map(|(name, _)| name).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn report_decisions_pictures_daemon_and_feeder_ask_one_judge() {
    // Reports, decisions and pictures are made of a summary; all that a daemon answers of a snapshot.
    let whole = |file: &str| {
        sources().iter().any(|(name, text)| name == file && text.lines().count() > 300)
    };
    assert!(whole("heatmap/service/src/http.rs"), "a file is looked at to its end");
    let judges = users(&["judge.find(", ".find(&BlockEvidence::"]);
    assert_eq!(judges, names(&["heatmap/src/live/snapshot.rs", "heatmap/src/summary.rs"]));
    // Nobody else compares with the tables.
    let deciding = users(&[".verdict(&hot", "Verdict::Sparse\n        } else"]);
    assert_eq!(deciding, names(&["heatmap/src/judging.rs", "heatmap/src/verdict.rs"]));
    let proving = users(&[".proves("]);
    assert_eq!(proving, names(&["heatmap/src/live/ends.rs", "heatmap/src/verdict.rs"]));
    // What may be acted on is asked where it is told, and where it is acted on.
    let proposing = users(&["proposable("]);
    let wanted = [
        "feeder/src/decision.rs",
        "heatmap/service/src/answers.rs",
        "heatmap/service/src/convert.rs",
        "heatmap/src/judging.rs",
        "heatmap/src/live/snapshot.rs",
        "heatmap/src/summary.rs",
    ];
    assert_eq!(proposing, names(&wanted));
    // Sparse folios come into the feeder through one door.
    let admitting = users(&[".admit("]);
    assert_eq!(admitting, names(&["feeder/src/decisions.rs", "feeder/src/service.rs"]));
}
