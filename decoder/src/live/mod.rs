//! Capturing without perf: rings of the kernel's, emptied into a sink or a file.
//!
//! ```text
//! setup: event -> open events -> ring: the rings of a CPU -> output: decoding (record stream -> session -> sink),
//!                                                                    or writer (a perf.data file, or a stream)
//! ```
//!
//! `control/capture.rs` is the loop over the rings of all CPUs; `setup/open_events.rs` opens them and tells their units
//! what `ring/aux_restart.rs` decides. The kernel's side of the rings, as a model for tests, is in `tracegen::rings`.
//!
//! What comes out of the rings is a recording as `perf record -o -` writes one, byte by byte, of
//! which nothing is copied on its way to the decoder but a record that a ring's end cuts. It is
//! read by the same code as a file; here is only what brings it.
//!
//! `unsafe` is in `ring/mapped.rs` (memory shared with the kernel) and `setup/open.rs` (the system call and
//! its ioctls), and nowhere else.

mod control;
mod error;
mod options;
mod output;
mod progress;
#[cfg(test)]
mod proptests;
mod ring;
mod setup;

pub use control::capture::{capture, record, try_open};
pub use control::command::CommandEnd;
pub use error::Error;
pub use options::{Options, Target};
pub use output::RecordingWriter;
pub use output::decoding::{Decoding, decode};
pub use output::synthesized::{About, EventAbout, SpeCpuAbout, SpeMetadata, TaskAbout};
pub use output::writer::{FileWriter, StreamWriter};
pub use progress::Progress;
pub use ring::cpu_rings::{CpuRings, Passed};
pub use ring::mapped::{MappedRing, TimeConversion};
pub use ring::{AuxRing, Drained, MemoryRing, RecordRing, Ring};
pub use setup::event_choice::{Breakpoint, EventChoice, Side, UnknownEvent};
pub use setup::host::Host;
pub use setup::refusal::{Attempt, GRANT, Refusal, Scope};
