//! `folioscope report`.

use std::io;

use clap::Args;
use client::messages::Messages;
use heatmap::ChunkOrder;
use heatmap::Folio;
use heatmap::Summary;
use report::{Format, Style};

use super::options::{FilterOptions, InputOptions, JudgeOptions, OutputOptions, RawSpeOptions};
use super::outcome::Outcome;

#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    /// Chunk order, 0 to 9: a chunk is 2^N pages
    #[arg(long, value_name = "N", default_value = "0")]
    order: ChunkOrder,
    /// Blocks that are listed, hottest first; 0: all [default: 10; with --format csv or parquet:
    /// all]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    raw: RawSpeOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

/// How many blocks a report lists, 0 for all: what is read by people or as one object is short
/// unless asked otherwise, tables are whole.
pub(super) fn listed(top: Option<usize>, format: Format) -> usize {
    top.unwrap_or(match format {
        Format::Text | Format::Json => 10,
        Format::Csv | Format::Parquet => 0,
    })
}

/// Writes a report.
pub(super) fn print<W: io::Write + Send>(
    summary: &Summary<'_>,
    format: Format,
    out: W,
    style: Style,
) -> io::Result<()> {
    match format {
        Format::Text | Format::Json => {
            let report = summary.report(format == Format::Text);
            report::write(format, &report, out, style)
        }
        Format::Csv | Format::Parquet => {
            report::write_rows(format, &summary.head(), summary.rows(), out)
        }
    }
}

impl Report {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check(self.input.files())?;
        let counted = self.input.count::<Folio>(self.raw.raw(), self.filters.filters())?;
        let wanted = self.judge.wanted(self.order, listed(self.top, self.output.format));
        let summary = counted.summary(wanted, messages)?;
        let out = self.output.open()?;
        let style = self.output.style(messages.color);
        self.output.named(print(&summary, self.output.format, out, style))?;
        Ok(self.input.outcome(summary.is_lossy()))
    }
}
