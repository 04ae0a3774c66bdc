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
const COMMON: [&str; 24] = [
    "--format",
    "--output",
    "--threads",
    "--max-memory",
    "--max-spool",
    "--raw-spe",
    "--midr",
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

/// The lines of examples in a help.
fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| line.starts_with("  ")).collect()
}

#[test]
fn examples_can_be_copied() {
    let overview = said(&["--help"]);
    let commands = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands = commands.filter(|name| !name.is_empty());
    let commands: Vec<_> = commands.take_while(|name| *name != "help").collect();
    assert!(commands.contains(&"record") && commands.contains(&"man"), "{commands:?}");
    let mut with_examples = 0;
    for command in commands.iter().map(|name| vec![*name, "--help"]).chain([vec!["--help"]]) {
        let help = said(&command);
        let lines = examples(&help);
        with_examples += usize::from(!lines.is_empty());
        assert_eq!(help.contains("Examples:"), !lines.is_empty(), "{help}");
        let mut goes_on = false;
        for line in lines {
            assert!(line.chars().count() <= 78, "{command:?}: {line}");
            assert_eq!(line.starts_with("      "), goes_on, "{command:?}: {line}");
            goes_on = line.ends_with(" \\");
        }
        assert!(!goes_on, "{command:?}");
        let narrow = Command::new(env!("CARGO_BIN_EXE_folioscope"))
            .args(&command)
            .env("COLUMNS", "80")
            .output()
            .expect("the program starts");
        let narrow = String::from_utf8(narrow.stdout).expect("it prints text");
        assert_eq!(examples(&narrow), examples(&help), "{command:?}");
    }
    assert!(with_examples >= 2, "{with_examples}");
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
    let page = std::fs::read_to_string(folder.join("folioscope-record.1")).expect("it is there");
    assert!(page.contains("[\\-\\- \\fICOMMAND\\fR...]"), "{page}");
    assert!(page.contains("Examples:\n.nf\n  folioscope record"), "{page}");
    assert!(page.contains(".fi\n\nWith"), "{page}");
    std::fs::remove_dir_all(&folder).expect("it was made");
    let output = folioscope(&["man", folder.to_str().expect("a path of text")]);
    assert_eq!(output.status.code(), Some(1), "a folder that is not there");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}
