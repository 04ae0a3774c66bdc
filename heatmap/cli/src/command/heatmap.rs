//! `folioscope heatmap`.

use std::io::BufWriter;
use std::path::PathBuf;

use clap::Args;
use client::messages::Messages;
use heatmap::ChunkOrder;
use heatmap::Folio;
use report::Format;
use report::picture::{self, Form, MAX_BLOCKS};

use super::options::{FilterOptions, InputOptions, JudgeOptions, OutputOptions, RawSpeOptions};
use super::outcome::Outcome;
use super::output::Usage;

#[derive(Debug, Args)]
pub(super) struct Heatmap {
    #[command(flatten)]
    input: InputOptions,
    /// The picture: FILE.png, FILE.svg, or FILE.html, a page that needs nothing else
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Chunk order, 0 to 9: a chunk is 2^N pages
    #[arg(long, value_name = "N", default_value = "0")]
    order: ChunkOrder,
    /// Blocks that are drawn, the hottest; 0: as many as a picture holds
    #[arg(long, value_name = "N", default_value = "512")]
    top: usize,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    raw: RawSpeOptions,
    #[command(flatten)]
    filters: FilterOptions,
}

impl Heatmap {
    pub(super) fn run(&self, messages: &Messages) -> anyhow::Result<Outcome> {
        let form = Form::of(&self.output).ok_or_else(|| {
            Usage::new("-o names no picture: FILE.png, FILE.svg or FILE.html is one")
        })?;
        let output = OutputOptions { format: Format::Text, output: Some(self.output.clone()) };
        output.check(self.input.files())?;
        let counted = self.input.count::<Folio>(self.raw.raw(), self.filters.filters())?;
        let top = if self.top == 0 { MAX_BLOCKS } else { self.top.min(MAX_BLOCKS) };
        let summary = counted.summary(self.judge.wanted(self.order, top), messages)?;
        let mut out = BufWriter::new(output.open()?);
        output.named(
            picture::write(form, &summary.report(true), &mut out)
                .and_then(|()| std::io::Write::flush(&mut out)),
        )?;
        Ok(self.input.outcome(summary.is_lossy()))
    }
}
