//! The feeder turns decisions into what this host's kernel understands.
//!
//! ```text
//! decisions (JSON lines) -> plan: which folios, in which order -> entry: which pages -> writes
//!                                     kernel: what it holds of what was written before
//! ```
//!
//! So far it prints the writes: nothing is written into the kernel yet.
#![forbid(unsafe_code)]

pub mod decision;
pub mod decisions;
pub mod device;
pub mod entry;
pub mod held;
pub mod host;
pub mod kernel;
pub mod plan;
pub mod receipt;
pub mod sink;
pub mod supervisor;
