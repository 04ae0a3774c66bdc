//! Starts the program as a user does, and looks at what it said.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::inputs::{bytes, input};

/// Longer than any test's run takes, also emulated: what takes longer never ends.
const LONGEST: Duration = Duration::from_secs(300);

/// A built program. Without an emulator it stands beside the test binary's folder.
fn executable(name: &str) -> PathBuf {
    let built = || {
        let test = std::env::current_exe().expect("a test knows its own file");
        let folder = test.parent().and_then(Path::parent);
        folder.expect("test binaries are in target/*/deps").to_owned()
    };
    let program = tests::emulation::programs().unwrap_or_else(built).join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo test --workspace`, which builds it",
        program.display()
    );
    program
}

/// The program as a user without any rights starts it, from a copy that such a user can read.
pub struct Nobody {
    folder: tempfile::TempDir,
}

impl Nobody {
    /// Says why not if nobody can be become here.
    pub fn new() -> Result<Self, String> {
        use std::os::unix::fs::PermissionsExt;
        let nobody = Self { folder: scratch() };
        let readable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(nobody.folder.path(), readable).expect("it is ours");
        std::fs::copy(&command_words()[0], nobody.program()).expect("there is room for a copy");
        match nobody.command(&["--version"]).output() {
            Ok(output) if output.status.success() => Ok(nobody),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("setpriv: {error}")),
        }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("folioscope")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        command.arg("--bounding-set=-all").arg(self.program()).args(arguments);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().expect("it started before")
    }
}

/// The command line of `folioscope` up to the program's name.
pub fn command_words() -> Vec<String> {
    words_of("folioscope")
}

/// The command line of a program up to its name.
pub fn words_of(program: &str) -> Vec<String> {
    let mut words = tests::emulation::emulator().unwrap_or_default();
    words.push(executable(program).to_str().expect("the path is text").to_owned());
    words
}

/// A table of values that perf printed: names of the columns, rows of texts, `-` for absent.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads `NAME.perf.tsv.zst`.
    pub fn of(name: &str) -> Self {
        Self::beside(name, "perf.tsv.zst")
    }

    /// Reads the table that has this extension beside an input.
    pub fn beside(name: &str, extension: &str) -> Self {
        let path = input(name).with_extension(extension);
        let text = zstd::decode_all(&bytes(path)[..]).expect("truth files are whole");
        Self::parse(&String::from_utf8(text).expect("truth files are text"))
    }

    /// Reads a table; its header line starts with `#`.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let header = lines.next().expect("a header line");
        let header = header.strip_prefix('#').expect("the header line starts with #").trim_start();
        let split = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        Self { columns: split(header), rows: lines.map(split).collect() }
    }

    /// The rows, each as a map by column, absent values left out.
    pub fn rows(&self) -> impl Iterator<Item = BTreeMap<&str, &str>> {
        self.rows.iter().map(|row| {
            let cells = self.columns.iter().map(String::as_str).zip(row.iter().map(String::as_str));
            cells.filter(|(_, value)| *value != "-").collect()
        })
    }
}

/// A number as truth files have it, decimal or with `0x`.
pub fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// A start of the program that is being put together.
pub struct Start {
    command: Command,
    text: String,
    input: Option<Vec<u8>>,
}

/// The program with arguments.
pub fn folioscope<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Start {
    let words = command_words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Start::new(command, "folioscope").args(arguments)
}

/// The program `folioscope-feeder` with arguments.
pub fn feeder<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Start {
    let words = words_of("folioscope-feeder");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Start::new(command, "folioscope-feeder").args(arguments)
}

/// A shell script, in which `"$0" "$@"` is the program with arguments.
pub fn in_shell<A: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = A>) -> Start {
    let mut command = Command::new("sh");
    command.args(["-c", script]).args(command_words());
    Start::new(command, script).args(arguments)
}

impl Start {
    fn new(mut command: Command, text: &str) -> Self {
        for name in ["NO_COLOR", "COLUMNS", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        Self { command, text: text.to_owned(), input: None }
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        for argument in arguments {
            self.text.push(' ');
            self.text.push_str(&argument.as_ref().to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    /// Adds an argument.
    pub fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the current folder.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// What comes through a pipe on standard input.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = Some(bytes.to_owned());
        self
    }

    /// Runs to the end.
    pub fn run(mut self) -> Run {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.text));
        let (stdin, input) = (child.stdin.take(), self.input.take());
        let mut stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let (status, stdout, stderr) = std::thread::scope(|scope| {
            scope.spawn(move || {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    // A program that has seen enough closes its end.
                    let _ = stdin.write_all(&input);
                }
            });
            let stdout = scope.spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).expect("a pipe can be read");
                bytes
            });
            let stderr = scope.spawn(move || {
                let mut bytes = Vec::new();
                stderr.read_to_end(&mut bytes).expect("a pipe can be read");
                String::from_utf8_lossy(&bytes).into_owned()
            });
            let begin = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().expect("a child can be waited for") {
                    break status;
                }
                if begin.elapsed() > LONGEST {
                    child.kill().expect("a child can be killed");
                    panic!("{}: does not end", self.text);
                }
                std::thread::sleep(Duration::from_micros(500));
            };
            let out = "a reader does not panic";
            (status, stdout.join().expect(out), stderr.join().expect(out))
        });
        Run { command: self.text, status, stdout, stderr }
    }

    /// What it prints when it succeeds.
    pub fn text(self) -> String {
        self.run().succeeded().text()
    }

    /// The object it prints when it succeeds.
    pub fn json(self) -> Value {
        self.run().succeeded().json()
    }

    /// The objects it prints, one a line, when it succeeds.
    pub fn json_lines(self) -> Vec<Value> {
        self.run().succeeded().json_lines()
    }
}

/// What a run left.
pub struct Run {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// The exit status; panics if a signal ended it, or if it panicked.
    pub fn code(&self) -> i32 {
        let Self { command, status, stderr, .. } = self;
        assert!(!stderr.contains("panicked"), "{command}: {stderr}");
        assert!(!stderr.contains("is a bug"), "{command}: {stderr}");
        assert_eq!(status.signal(), None, "{command}: {stderr}");
        status.code().expect("no signal, so a status")
    }

    /// Panics unless it succeeded.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code(), 0, "{}: {}", self.command, self.stderr);
        self
    }

    /// Panics unless it failed as a run does that can say why: one line on standard error with these words, and an
    /// empty standard output.
    pub fn failed(self, words: &[&str]) -> Self {
        let Self { command, stderr, stdout, .. } = &self;
        assert_eq!(self.code(), 1, "{command}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{command}: {stderr}");
        assert!(stderr.ends_with('\n'), "{command}: {stderr:?}");
        for word in words {
            assert!(stderr.contains(word), "{command}: {word:?} is not in {stderr}");
        }
        let out = String::from_utf8_lossy(stdout);
        assert_eq!(out, "", "{command}");
        self
    }

    /// Panics unless it succeeded, or failed with one line.
    pub fn ended_well(self) -> Self {
        if self.code() == 0 { self } else { self.failed(&[]) }
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        let text = String::from_utf8(self.stdout.clone());
        text.unwrap_or_else(|error| panic!("{}: {error}", self.command))
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        let value = serde_json::from_slice(&self.stdout);
        value.unwrap_or_else(|error| panic!("{}: {error}", self.command))
    }

    /// Standard output as JSON lines.
    pub fn json_lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| {
            let value = serde_json::from_str(line);
            value.unwrap_or_else(|error| panic!("{}: {line}: {error}", self.command))
        });
        lines.collect()
    }
}

/// The report on an input as JSON, with more arguments.
pub fn report(path: &Path, more: &[&str]) -> Value {
    folioscope(["report", "--format", "json"]).args(more).arg(path).json()
}

/// A field of a ledger.
pub fn of_ledger(report: &Value, field: &str) -> u64 {
    report["ledger"][field].as_u64().unwrap_or_else(|| panic!("ledger.{field} is no number"))
}

/// Panics unless both sums of a report's ledger hold.
pub fn check_ledger(report: &Value) {
    let sum = |fields: &[&str]| fields.iter().map(|field| of_ledger(report, field)).sum::<u64>();
    assert_eq!(
        sum(&["record_bytes", "padding_bytes", "skipped_bytes", "cut_off_bytes"]),
        of_ledger(report, "aux_bytes"),
        "{}",
        report["ledger"]
    );
    assert_eq!(
        sum(&[
            "counted",
            "guest_address",
            "no_physical_address",
            "lookup_failed",
            "not_memory",
            "filtered",
            "over_budget"
        ]),
        of_ledger(report, "records"),
        "{}",
        report["ledger"]
    );
    let reasons = sum(&["lookup_gone", "lookup_not_present", "lookup_hidden"]);
    assert!(reasons <= of_ledger(report, "lookup_failed"), "{}", report["ledger"]);
    assert_eq!(report["accesses"], report["ledger"]["counted"]);
    let (lost_records, lost_samples) =
        (of_ledger(report, "lost_records"), of_ledger(report, "lost_samples"));
    assert_eq!(of_ledger(report, "lost"), lost_records.max(lost_samples));
}

/// Counts as `pages` prints them.
pub fn counts(text: &str) -> BTreeMap<u64, u64> {
    let line = |line: &str| {
        let (pfn, count) = line.split_once(' ').unwrap_or_else(|| panic!("no line: {line:?}"));
        (number(pfn), number(count))
    };
    text.lines().map(line).collect()
}

/// Writes a file for the program into a folder.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// A folder of one test's own.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}
