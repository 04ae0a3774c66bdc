//! `folioscope decisions`.

use anyhow::bail;
use clap::Args;
use client::messages::Messages;
use heatmap::ChunkOrder;
use heatmap::Folio;
use report::DecisionWriter;

use super::options::{FilterOptions, InputOptions, JudgeOptions, OutputOptions, RawSpeOptions};
use super::outcome::Outcome;

#[derive(Debug, Args)]
pub(super) struct Decisions {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    /// Chunk order, 0 to 9: a chunk is 2^N pages
    #[arg(long, value_name = "N", default_value = "2")]
    order: ChunkOrder,
    /// Blocks that are listed, hottest first; 0: all
    #[arg(long, value_name = "N", default_value = "0")]
    top: usize,
    /// Add the counts of the touched pages
    #[arg(long)]
    counts: bool,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    raw: RawSpeOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

impl Decisions {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        self.output.check(self.input.files())?;
        let counted = self.input.count::<Folio>(self.raw.raw(), self.filters.filters())?;
        let wanted = self.judge.wanted(self.order, self.top);
        let summary = counted.summary(wanted, messages)?;
        let page_size = summary.page_size();
        if !page_size.is_4k() {
            bail!(
                "the kernel's base page is {page_size}, so that a PMD block is {} MiB: decisions \
                 are made for blocks of 2 MiB only; see `folioscope pages`, or say --page-size",
                page_size.pmd_block_bytes() >> 20
            );
        }
        counted.warn_of_losses(&self.input, summary.ledger(), messages);
        if let Some(why) = summary.not_judged().filter(|_| summary.ledger().counted > 0) {
            messages.warn(&format!("{}: {why}", self.input.path()));
        }
        let out = self.output.open()?;
        self.output.named((|| {
            let mut writer = DecisionWriter::new(self.output.format, out, self.counts)?;
            for decision in summary.decisions(self.counts) {
                writer.write(&decision)?;
            }
            writer.finish()
        })())?;
        Ok(self.input.outcome(summary.is_lossy()))
    }
}
