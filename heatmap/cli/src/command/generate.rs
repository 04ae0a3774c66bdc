//! `folioscope completions` and `folioscope man`: made from the same definitions as `--help`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

use super::outcome::Outcome;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut program: Command) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "folioscope", &mut script);
        std::io::Write::write_all(&mut std::io::stdout(), &script)?;
        Ok(Outcome::Done)
    }
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder, which must exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(&self, program: Command) -> anyhow::Result<Outcome> {
        client::manual::write(program, &self.folder)
            .with_context(|| format!("{}: cannot write man pages", self.folder.display()))?;
        Ok(Outcome::Done)
    }
}
