//! Where decisions go.

use std::time::Duration;

use crate::decision::Decision;

pub mod act;
pub mod damo;
pub mod damos;
pub mod files;
pub mod lines;
pub mod spe_feed;
pub mod vab;

pub use spe_feed::Figures;

/// A place for decisions. Times are those of one clock that does not go back.
pub trait Sink {
    /// New decisions, all of them: they take the place of the ones before.
    ///
    /// # Errors
    /// The sink is gone, or does not take any.
    fn propose(&mut self, decisions: Vec<Decision>, now: Duration) -> anyhow::Result<()>;

    /// Decisions are not known to be true any more: nothing new is to come of them.
    ///
    /// # Errors
    /// The sink is gone.
    fn hold(&mut self) -> anyhow::Result<()>;

    /// Does what is due, and tells when it wants to be called again; never, if nothing is left.
    ///
    /// # Errors
    /// The sink is gone.
    fn tend(&mut self, now: Duration) -> anyhow::Result<Option<Duration>>;

    /// Leaves the sink in the state that is documented for when we are gone, and says what that is.
    ///
    /// # Errors
    /// It could not be left so.
    fn end(&mut self) -> anyhow::Result<String>;

    /// What the reader of a log should know, since it was asked last.
    fn events(&mut self) -> Vec<String>;

    /// What was done, and how things are.
    fn figures(&self) -> Figures;
}
