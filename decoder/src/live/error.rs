//! Why nothing can be captured, or no more.

use std::ffi::OsString;
use std::io;

use super::setup::refusal::Refusal;

/// Why nothing can be captured, or no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// The host cannot do what was asked.
    #[error("{0}")]
    Unusable(String),
    /// The command could not be started.
    #[error("{}: cannot start it: {source}", program.display())]
    Command {
        /// Its first word.
        program: OsString,
        /// The system's answer.
        source: io::Error,
    },
    /// What was captured could not be written.
    #[error("cannot write")]
    Output(#[source] io::Error),
}

impl Error {
    /// The host cannot do what was asked.
    pub(super) fn unusable(why: impl Into<String>) -> Self {
        Self::Unusable(why.into())
    }

    pub(super) fn output(source: io::Error) -> Self {
        Self::Output(source)
    }
}
