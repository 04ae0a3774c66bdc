//! Where a command's result goes.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use client::messages::Color;
use report::{Format, Style};

use super::options::OutputOptions;

/// A command line that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(std::borrow::Cow<'static, str>);

impl Usage {
    /// A command line that cannot be meant, and what is wrong with it.
    pub(super) const fn new(why: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(why))
    }

    /// Settings that cannot be meant.
    pub(super) fn from_error(error: &anyhow::Error) -> Self {
        Self(client::messages::with_causes(error).into())
    }
}

/// An open output, named in its errors.
pub(super) enum Output {
    Standard(io::Stdout),
    File(File),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

impl OutputOptions {
    /// Tests what can be tested before anything is read.
    pub(super) fn check<'a>(
        &self,
        mut inputs: impl Iterator<Item = &'a Path>,
    ) -> anyhow::Result<()> {
        self.format.available()?;
        if self.format == Format::Parquet && self.output.is_none() {
            return Err(Usage("--format parquet writes a file: add -o FILE".into()).into());
        }
        let file = |path: &Path| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        let output = self.output.as_deref().and_then(file);
        let is_output = |input: &std::fs::Metadata| {
            output
                .as_ref()
                .is_some_and(|output| (output.dev(), output.ino()) == (input.dev(), input.ino()))
        };
        if inputs.any(|input| file(input).is_some_and(|input| is_output(&input))) {
            return Err(
                Usage("-o names an input, which would be lost: name another file".into()).into()
            );
        }
        Ok(())
    }

    /// Opens the output.
    pub(super) fn open(&self) -> anyhow::Result<Output> {
        match &self.output {
            None => Ok(Output::Standard(io::stdout())),
            Some(path) => {
                let file = File::create(path)
                    .with_context(|| format!("{}: cannot write", path.display()))?;
                Ok(Output::File(file))
            }
        }
    }

    /// Names the output in an error.
    pub(super) fn named<T>(&self, result: io::Result<T>) -> anyhow::Result<T> {
        let path = self.output.clone().unwrap_or_else(|| PathBuf::from("standard output"));
        result.with_context(|| format!("{}: cannot write", path.display()))
    }

    /// How text looks there.
    pub(super) fn style(&self, color: Color) -> Style {
        style(self.output.is_none(), color)
    }
}

/// How text looks on standard output, or in a file.
pub(super) fn style(standard: bool, color: Color) -> Style {
    let terminal = standard && io::stdout().is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = match color {
        Color::Auto => terminal && !no_color,
        Color::Always => true,
        Color::Never => false,
    };
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    Style { color, width: columns.filter(|_| terminal).unwrap_or(Style::default().width) }
}

/// Whether the reader of the output has gone.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    })
}
