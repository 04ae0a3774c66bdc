//! One thing that was looked at, and how well it is.

use decoder::live::{self, Scope};
use serde::Serialize;

use super::event::Event;

/// Opens an event with physical addresses on one CPU, of all that runs there or of this process
/// alone, and closes it again: how that went, or none if it was not tried.
pub type Probe<'a> = dyn Fn(Event, Scope) -> Option<Result<(), live::Error>> + 'a;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing stands in the way.
    Ok,
    /// Something is missing, or must be known.
    Warn,
    /// Samples of accesses with physical addresses do not come until this is mended.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, as a word that stays the same.
    pub name: &'static str,
    /// How well it is.
    pub status: Status,
    /// What was found.
    pub finding: String,
    /// What to do about it; none where nothing needs to be done.
    pub remedy: Option<String>,
}

impl Check {
    /// Nothing stands in the way.
    pub(super) fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, finding: finding.into(), remedy: None }
    }

    /// Something is missing, or must be known.
    pub(super) fn warn(
        name: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (finding, remedy) = (finding.into(), Some(remedy.into()));
        Self { name, status: Status::Warn, finding, remedy }
    }

    /// Recording does not work until this is mended.
    pub(super) fn fail(
        name: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (finding, remedy) = (finding.into(), Some(remedy.into()));
        Self { name, status: Status::Fail, finding, remedy }
    }
}

/// Whether physical addresses come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// They do.
    Yes,
    /// Only trying tells.
    Perhaps,
    /// They do not.
    No,
}
