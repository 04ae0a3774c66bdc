//! Messages on standard error: one line each, as text or JSON.

use std::io::Write;

use clap::{ArgAction, Args, ValueEnum};
use tracing_subscriber::filter::Targets;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// What failed and its causes, on one line. Many an error repeats the one below it, which is said
/// once.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if said != cause && !said.ends_with(&format!(": {cause}")) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The options of messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub struct MessageOptions {
    /// How messages on standard error are written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Colours in text
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Say more on standard error
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing on standard error but why it failed
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

/// How the program looks, and where a command says what does not belong to its result.
#[derive(Debug)]
pub struct Messages {
    program: &'static str,
    /// When to use colours.
    pub color: Color,
    json: bool,
    verbose: bool,
    quiet: bool,
}

impl Messages {
    /// Messages of a program, which begin with its name.
    pub fn new(program: &'static str, options: &MessageOptions) -> Self {
        let MessageOptions { log_format, color, verbose, quiet } = options;
        let json = *log_format == LogFormat::Json;
        Self { program, color: *color, json, verbose: *verbose > 0, quiet: *quiet }
    }

    /// Why the program failed.
    pub fn error(&self, error: &anyhow::Error) {
        self.write("error", &with_causes(error));
    }

    /// What the user should know although it worked.
    pub fn warn(&self, message: &str) {
        if !self.quiet {
            self.write("warn", message);
        }
    }

    /// What the user may want to know.
    pub fn info(&self, message: &str) {
        if self.verbose {
            self.write("info", message);
        }
    }

    /// Has what a daemon tells of its life written to standard error, a line for each event; or to
    /// the journal, if that is where standard error goes.
    pub fn log(&self) {
        use tracing_subscriber::layer::SubscriberExt;
        use tracing_subscriber::util::SubscriberInitExt;
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (_, true) => "debug",
            _ => "info",
        };
        let asked = std::env::var("RUST_LOG").unwrap_or_default();
        let filter = targets(&asked).unwrap_or_else(|| level.parse().expect("the name of a level"));
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let color = match self.color {
            Color::Auto => terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        };
        if !self.json
            && to_journal()
            && let Ok(journal) = tracing_journald::layer()
        {
            tracing_subscriber::registry().with(filter).with(journal).init();
            return;
        }
        let log = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            // That a line was not written would be said in the same place.
            .log_internal_errors(false);
        let registry = tracing_subscriber::registry().with(filter);
        if self.json {
            registry.with(log.json().flatten_event(true)).init();
        } else {
            registry.with(log.with_ansi(color).with_target(false)).init();
        }
    }

    fn write(&self, level: &str, message: &str) {
        let line = if self.json {
            serde_json::json!({ "level": level, "message": message }).to_string()
        } else {
            let lines: Vec<_> = message.lines().collect();
            format!("{}: {}", self.program, without_controls(&lines.join(" ")))
        };
        // Where there is no room for it, there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// What `RUST_LOG` asks for: levels, and targets with theirs, `info,service=debug`. `None` where it
/// asks for nothing, or for what is not known here, such as spans and their fields.
fn targets(asked: &str) -> Option<Targets> {
    let parts: Vec<_> = asked.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let known = |part: &&str| !part.ends_with('=') && !part.contains(['[', '{', '*', ' ']);
    let all_known = !parts.is_empty() && parts.iter().all(known);
    if all_known { parts.join(",").parse().ok() } else { None }
}

/// A message as a terminal may show it: names in it may come from a recording.
fn without_controls(message: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().collect::<String>(),
        false => letter.to_string(),
    };
    message.chars().map(shown).collect()
}

/// Whether standard error is the journal's stream: systemd names its device and inode, see
/// `systemd.exec(5)`, `$JOURNAL_STREAM`.
fn to_journal() -> bool {
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = rustix::fs::fstat(std::io::stderr()) else { return false };
    named == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_read_and_nothing_else() {
        let shown = |asked: &str| targets(asked).map(|targets| targets.to_string());
        for (asked, want) in [
            ("debug", "debug"),
            (" info , ", "info"),
            ("service=debug,", "service=debug"),
            ("off", "off"),
            ("a=debug, b=info", "a=debug,b=info"),
        ] {
            let want: Targets = want.parse().unwrap();
            assert_eq!(shown(asked), Some(want.to_string()), "{asked:?}");
        }
        for asked in ["", ",", "service=", "service[span]=debug", "[span]", "*=info", "a=b=c"] {
            assert_eq!(shown(asked), None, "{asked:?}");
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(without_controls("a\u{1b}[31mb\tc\u{9b}ä"), "a\\u{1b}[31mb\\tc\\u{9b}ä");
    }

    /// An error that may repeat its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Layer {
        said: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let rows: [(&[&str], &str); 6] = [
            (&["cannot open"], "cannot open"),
            (&["cannot open", "gone"], "cannot open: gone"),
            (&["cannot open: gone", "gone"], "cannot open: gone"),
            (
                &["no answer", "transport error", "gone", "gone", "gone"],
                "no answer: transport error: gone",
            ),
            (&["gone", "gone"], "gone"),
            (&["a bygone", "gone"], "a bygone: gone"),
        ];
        for (layers, want) in rows {
            let chain = layers
                .iter()
                .rev()
                .fold(None, |source, said| Some(Box::new(Layer { said, source })));
            let error = anyhow::Error::from(*chain.expect("there is one"));
            assert_eq!(with_causes(&error), want, "{layers:?}");
        }
    }
}
