//! `folioscope pages`.

use clap::Args;

use super::Outcome;
use super::messages::Messages;
use super::options::{FilterOptions, InputOptions, JudgeOptions, OutputOptions};
use crate::filter::ChunkOrder;

#[derive(Debug, Args)]
pub(super) struct Pages {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    filters: FilterOptions,
    // A list of pages judges nothing; accepted so that one set of options serves all commands.
    #[command(flatten)]
    judge: JudgeOptions,
}

impl Pages {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check()?;
        let counted = self.input.count(self.filters.filters())?;
        let wanted = self.judge.wanted(ChunkOrder::default(), 0);
        let summary = counted.summary(&self.judge, wanted, messages)?;
        let out = self.output.open()?;
        self.output.named(crate::report::pages::write(self.output.format, summary.pages(), out))?;
        Ok(self.input.outcome(summary.ledger(), summary.problem_count()))
    }
}
