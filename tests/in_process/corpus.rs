//! Replays what the fuzz targets have found worth keeping, and the small files of the test data,
//! through the laws that the fuzz targets test.

use std::fs;
use std::path::{Path, PathBuf};

use tests::emulation::thinned;
use tests::laws;

/// Larger files have tests of their own.
const MOST_BYTES: u64 = 20 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files under a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("the folder is read").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Says which file broke a law.
struct Replayed<'a>(&'a Path);

impl Drop for Replayed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

fn replay(name: &str) {
    let (_, law) = *laws::ALL.iter().find(|(law, _)| *law == name).expect("a law of this name");
    let corpus = files(&root().join("fuzz/corpus").join(name));
    assert!(!corpus.is_empty(), "the corpus of {name} is there");
    let small = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() <= MOST_BYTES);
    let mut inputs = corpus;
    for folder in ["testdata/written", "testdata/recorded"] {
        inputs.extend(files(&root().join(folder)).into_iter().filter(small));
    }
    for path in &inputs {
        let replayed = Replayed(path);
        law(&fs::read(replayed.0).expect("the input is read"));
    }
    let plain = tests::plain::recordings().into_iter().map(|plain| (plain.name, plain.bytes));
    for (name, bytes) in tests::hostile::inputs().into_iter().chain(plain) {
        let _replayed = Replayed(Path::new(name));
        law(&bytes);
    }
}

/// What a program that was killed leaves behind: every beginning of the shortest recordings.
#[test]
fn every_cut_of_the_shortest_recordings() {
    let mut cuts = 0;
    for path in files(&root().join("testdata/written")) {
        let whole = fs::read(&path).expect("the input is read");
        if path.extension().is_none_or(|end| end != "data") || whole.len() > 820 {
            continue;
        }
        let _replayed = Replayed(&path);
        for cut in thinned("cuts", 0..whole.len(), 23) {
            laws::container(&whole[..cut]);
        }
        cuts += whole.len();
    }
    assert!(cuts > 800, "{cuts} cuts were tried");
}

#[test]
fn container() {
    replay("container");
}

#[test]
fn cost() {
    replay("cost");
}

#[test]
fn differential() {
    replay("differential");
}

#[test]
fn ibs() {
    replay("ibs");
}

#[test]
fn intel_pt() {
    replay("intel_pt");
}

#[test]
fn layouts() {
    replay("layouts");
}

#[test]
fn pebs() {
    replay("pebs");
}

#[test]
fn samples() {
    replay("samples");
}

#[test]
fn spe() {
    replay("spe");
}

#[test]
fn summary() {
    replay("summary");
}

#[test]
fn who() {
    replay("who");
}
