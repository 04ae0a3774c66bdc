//! Sinks that write what another program reads: plans as lines, damo's JSON, memtierd's folder.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{Figures, Sink, damo, lines, vab};
use crate::decision::Decision;
use crate::kernel::{MAX_ENTRIES, SpeFeed};
use crate::plan::{Terms, Unplaced};

/// What is written.
#[derive(Debug)]
pub enum Form {
    /// The plan for a kernel that holds what the plans before have left in it.
    Lines {
        /// For what plans hold.
        terms: Terms,
        /// Reasons are told.
        explain: bool,
        /// The kernel as it would be.
        held: SpeFeed,
    },
    /// JSON that the program damo takes.
    Damo(damo::Settings),
    /// memtierd's drop folder.
    Vab(vab::Folder),
}

/// A sink of that kind.
#[derive(Debug)]
pub struct Files {
    form: Form,
    /// Instead of standard output; for memtierd its folder.
    output: Option<PathBuf>,
    figures: Figures,
    events: Vec<String>,
}

impl Files {
    /// A sink that writes to a file, or to standard output.
    pub fn new(form: Form, output: Option<PathBuf>) -> Self {
        Self { form, output, figures: Figures::default(), events: Vec::new() }
    }
}

/// Writes all of a text: to standard output, or beside a file that it then takes the place of.
fn put(output: Option<&Path>, text: &[u8]) -> anyhow::Result<()> {
    let Some(path) = output else {
        let mut out = BufWriter::new(std::io::stdout().lock());
        return Ok(out.write_all(text).and_then(|()| out.flush())?);
    };
    let name = path.file_name().context("--output names no file")?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // It is not there, or nobody needs it.
        let _ = fs::remove_file(&beside);
        anyhow::Error::from(error).context(path.display().to_string())
    })
}

impl Sink for Files {
    fn propose(&mut self, decisions: Vec<Decision>, now: Duration) -> anyhow::Result<()> {
        match &mut self.form {
            Form::Lines { terms, explain, held } => {
                let room = MAX_ENTRIES.saturating_sub(held.totals().0);
                let plan = terms.plan(&decisions, held, &std::collections::BTreeSet::new(), room);
                for pfn in plan.steps.iter().flat_map(|step| &step.writes) {
                    held.feed(*pfn, now);
                    self.figures.proposals += 1;
                }
                let unplaced = plan.unplaced.iter().filter(|(_, why)| *why != Unplaced::Sparse);
                self.figures.unplaced = unplaced.count() as u64;
                self.figures.split_unproven = plan.split_unproven as u64;
                let mut text = Vec::new();
                lines::print(&plan, *explain, &mut text)?;
                put(self.output.as_deref(), &text)
            }
            Form::Damo(settings) => {
                let mut text = serde_json::to_vec_pretty(&damo::json(&decisions, settings)?)?;
                text.push(b'\n');
                put(self.output.as_deref(), &text)
            }
            Form::Vab(folder) => {
                let written = folder.write(&decisions)?;
                self.figures.unplaced = written.unplaced as u64;
                Ok(())
            }
        }
    }

    fn hold(&mut self) -> anyhow::Result<()> {
        if let Form::Vab(folder) = &mut self.form {
            folder.write(&[])?;
        }
        Ok(())
    }

    fn tend(&mut self, _: Duration) -> anyhow::Result<Option<Duration>> {
        Ok(None)
    }

    fn end(&mut self) -> anyhow::Result<String> {
        self.hold()?;
        Ok(match &self.form {
            Form::Vab(_) => "memtierd's folder has no file of ours any more".to_owned(),
            _ => "nothing was written into the kernel".to_owned(),
        })
    }

    fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn figures(&self) -> Figures {
        self.figures.clone()
    }
}
