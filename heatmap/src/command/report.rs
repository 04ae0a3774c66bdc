//! `folioscope report`.

use clap::Args;

use super::Outcome;
use super::messages::Messages;
use super::options::{FilterOptions, InputOptions, JudgeOptions, OutputOptions, RawSpeOptions};
use crate::filter::ChunkOrder;
use crate::folio::Folio;
use crate::report::Format;

#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    /// Chunk order, 0 to 9: a chunk is 2^N pages
    #[arg(long, value_name = "N", default_value = "0")]
    order: ChunkOrder,
    /// Blocks that are listed, hottest first; 0: all
    #[arg(long, value_name = "N", default_value = "10")]
    top: usize,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    raw: RawSpeOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

impl Report {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check(self.input.files())?;
        let counted = self.input.count::<Folio>(self.raw.raw(), self.filters.filters())?;
        let wanted = self.judge.wanted(self.order, self.top);
        let summary = counted.summary(wanted, messages)?;
        let out = self.output.open()?;
        let report = summary.report(self.output.format == Format::Text);
        self.output.named(crate::report::write(
            self.output.format,
            &report,
            out,
            self.output.style(messages.color),
        ))?;
        Ok(self.input.outcome(summary.ledger(), summary.problem_count()))
    }
}
