//! Capturing without perf: rings of the kernel's, emptied into a sink or a file.
//!
//! ```text
//! event -> open -> lane -> outlet        decoding: walk -> session -> sink, as with a stream
//!          mapped  ring                  writer: a perf.data file, or a stream
//! ```
//!
//! `capture.rs` is the loop over all lanes; `rig.rs` opens them and tells their units what
//! `unit.rs` decides. `kernel.rs` is the kernel's side of the rings as a model, for tests.
//!
//! What comes out of the rings is a recording as `perf record -o -` writes one, byte by byte, of
//! which nothing is copied on its way to the decoder but a record that a ring's end cuts. It is
//! read by the same code as a file; here is only what brings it.
//!
//! `unsafe` is in `mapped.rs` (memory shared with the kernel) and `open.rs` (the system call and
//! its ioctls), and nowhere else.

mod budget;
mod capture;
mod command;
mod decoding;
mod error;
mod event;
mod event_choice;
mod host;
#[cfg(test)]
mod kernel;
mod lane;
mod mapped;
mod open;
mod options;
mod outlet;
mod pace;
mod progress;
#[cfg(test)]
mod proptests;
mod refusal;
mod rig;
mod ring;
mod stream;
mod turns;
mod unit;
mod waiting;
mod writer;

pub use capture::{capture, record, try_open};
pub use command::CommandEnd;
pub use decoding::{Decoding, decode};
pub use error::Error;
pub use event_choice::{Breakpoint, EventChoice, Side, UnknownEvent};
pub use host::Host;
pub use lane::{Lane, Passed};
pub use mapped::{MappedRing, TimeConversion};
pub use options::{Options, Target};
pub use outlet::Outlet;
pub use progress::Progress;
pub use refusal::{GRANT, Refusal, Scope, Step};
pub use ring::{AuxRing, Drained, MemoryRing, RecordRing, Ring};
pub use stream::{About, EventAbout, SpeCpuAbout, TaskAbout};
pub use writer::{FileWriter, StreamWriter};
