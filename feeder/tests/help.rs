//! What the program says of itself: help, version, completions and man pages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, which is built for these tests. Not by cargo's variable: its name has a `-`, and a
/// compiler that is started by a shell does not get it.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let folder = test.parent().and_then(Path::parent).expect("test binaries are in target/*/deps");
    folder.join("folioscope-feeder")
}

fn feeder(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().expect("the program starts")
}

/// What it prints when it succeeds.
fn said(arguments: &[&str]) -> String {
    let output = feeder(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn the_help_lists_the_options_and_no_secret_commands() {
    let help = said(&["--help"]);
    for option in [
        "--service",
        "--decisions",
        "--sink",
        "--debugfs",
        "--sysfs",
        "--procfs",
        "--output",
        "--order",
        "--hot-threshold",
        "--plan",
        "--writes-per-second",
        "--accept-split-on-death",
        "--explain",
        "--once",
        "--strict",
        "--http",
        "--log-format",
    ] {
        assert!(help.contains(option), "{option} is not in {help}");
    }
    for sink in ["lines", "spe-feed", "damos", "damo", "vab"] {
        assert!(help.contains(&format!("- {sink}:")), "{sink} is not in {help}");
    }
    assert!(help.contains("Examples:") && help.contains("Exit status:"));
    let examples = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let examples: Vec<_> = examples.take_while(|line| line.starts_with("  ")).collect();
    assert!(examples.len() > 3 && examples.iter().all(|line| line.len() <= 78), "{help}");
    assert!(!help.contains("supervise"), "it is not for people");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let version = concat!("folioscope-feeder ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(said(&["--version"]), version);
    for wrong in [&["--sink", "nonsense"][..], &["--order", "10"], &["completions", "nonsense"]] {
        assert_eq!(feeder(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for word in ["folioscope-feeder", "accept-split-on-death"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    said(&["man", folder.path().to_str().expect("a path of text")]);
    let page = std::fs::read_to_string(folder.path().join("folioscope-feeder.1"));
    let page = page.expect("it is there");
    assert!(page.contains(".TH") && page.contains("Examples:\n.nf\n  folioscope"), "{page}");
}
