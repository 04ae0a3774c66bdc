//! What the program says of itself: help, version, completions and man pages.

use std::process::{Command, Output};

fn folioscope(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_folioscope"));
    command.args(arguments).output().expect("the program starts")
}

/// What it prints when it succeeds.
fn said(arguments: &[&str]) -> String {
    let output = folioscope(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Of every command that reads recordings.
const COMMON: [&str; 21] = [
    "--format",
    "--output",
    "--threads",
    "--max-memory",
    "--loads",
    "--stores",
    "--min-latency",
    "--pid",
    "--tid",
    "--cpu",
    "--source",
    "--event",
    "--time",
    "--pfn",
    "--strict",
    "--color",
    "--log-format",
    "--verbose",
    "--quiet",
    "--help",
    "INPUT",
];
/// Of those that judge.
const JUDGING: [&str; 4] = ["--hot-threshold", "--min-span", "--assume-complete", "--page-size"];

#[test]
fn the_help_of_each_command_lists_its_options() {
    let overview = said(&["--help"]);
    let commands =
        ["report", "pages", "records", "decisions", "record", "doctor", "completions", "man"];
    for command in commands {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} is not in {overview}");
    }
    assert!(overview.contains("Examples:") && overview.contains("Exit status:"));
    for command in ["report", "pages", "records", "decisions"] {
        let help = said(&[command, "--help"]);
        let has =
            |option: &str| assert!(help.contains(option), "{command}: {option} is not in {help}");
        COMMON.iter().for_each(|option| has(option));
        if ["report", "decisions"].contains(&command) {
            JUDGING.iter().for_each(|option| has(option));
            ["--order", "--top"].iter().for_each(|option| has(option));
        }
        if command == "decisions" {
            has("--counts");
            has("[default: 2]");
        }
        assert_eq!(said(&["help", command]), help, "two ways to ask");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command}");
    }
}

#[test]
fn the_help_of_doctor() {
    let help = said(&["doctor", "--help"]);
    for word in ["--format", "--budget", "[default: 50MiB]", "Exit status:", "--color"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert!(!help.contains("--procfs"), "for tests: {help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn the_help_of_record_lists_its_options() {
    let help = said(&["record", "--help"]);
    for option in [
        "--output",
        "--event",
        "--period",
        "--pid",
        "--all-cpus",
        "--duration",
        "--max-overhead",
        "--yield",
        "--min-latency",
        "--loads",
        "--stores",
        "--format",
        "--strict",
        "COMMAND",
        "mem:ADDR/LEN:rw",
        "Examples:",
        "CAP_PERFMON",
    ] {
        assert!(help.contains(option), "{option} is not in {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn the_version_is_the_package_s() {
    let version = concat!("folioscope ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(said(&["--version"]), version);
    assert_eq!(said(&["-V"]), version);
}

#[test]
fn completions_of_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["folioscope", "decisions", "hot-threshold"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(folioscope(&["completions", "nonsense"]).status.code(), Some(2));
}

#[test]
fn man_pages() {
    let folder = std::env::temp_dir().join(format!("folioscope-man-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    said(&["man", folder.to_str().expect("a path of text")]);
    for page in ["folioscope.1", "folioscope-report.1", "folioscope-decisions.1"] {
        let page = std::fs::read_to_string(folder.join(page)).expect(page);
        assert!(page.contains(".TH"), "{page}");
    }
    std::fs::remove_dir_all(&folder).expect("it was made");
    let output = folioscope(&["man", folder.to_str().expect("a path of text")]);
    assert_eq!(output.status.code(), Some(1), "a folder that is not there");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}
