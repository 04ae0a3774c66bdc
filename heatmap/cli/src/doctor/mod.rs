//! What this host can do: which unit samples, whether physical addresses come, what there is to
//! split and by which way, and the commands that fit.
//!
//! ```text
//! files of the host -> checks: units, rights, memory, damon, virtual machines -> diagnosis -> text, JSON
//!                              unit -> advice: period, commands
//! ```
//!
//! Everything is read below folders that are given, so that tests bring hosts of their own. Whether
//! an event opens is found out by whoever asks: see [`check::Probe`].

mod advice;
mod check;
mod damon;
mod diagnosis;
mod event;
mod host;
mod machine;
mod memory;
mod rights;
mod text;
mod units;
mod virtual_machines;

#[cfg(test)]
mod tests;

pub use diagnosis::{Diagnosis, advised_period};
pub use event::Event;
pub use host::Host;
pub use text::write as write_text;
