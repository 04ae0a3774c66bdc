//! `folioscope pages`.

use clap::Args;
use client::messages::Messages;
use heatmap::Counters;
use heatmap::Wanted;

use super::options::{FilterOptions, InputOptions, OutputOptions, RawOptions};
use super::outcome::Outcome;

#[derive(Debug, Args)]
pub(super) struct Pages {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    raw: RawOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

impl Pages {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check(self.input.files())?;
        let counted = self.input.count::<Counters>(self.raw.raw(), self.filters.filters())?;
        let summary = counted.summary(Wanted::default(), messages)?;
        counted.warn_of_losses(&self.input, summary.ledger(), messages);
        let out = self.output.open()?;
        self.output.named(report::pages::write(self.output.format, summary.pages(), out))?;
        Ok(self.input.outcome(summary.is_lossy()))
    }
}
