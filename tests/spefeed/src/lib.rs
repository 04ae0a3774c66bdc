//! Stands in for a kernel with `spe_feed` (DAMON RFC v1) in tests: a file system that holds
//! `damon/spe_feed` and `damon/spe_stats`, and obeys the kernel's rules.
//!
//! ```text
//! a program -> write(2) -> Mounted -> Kernel: one value or nothing -> counters
//! a test    -> Mounted::kernel() -> what a scheme would read; time; faults
//! ```
//!
//! It is a second, naive writing of these rules, and knows no other crate of the workspace, so that
//! a mistake made there is not made here too.
#![forbid(unsafe_code)]

mod kernel;
mod mounted;

pub use kernel::{Faults, Kernel, MAX_ENTRIES, Refusal};
pub use mounted::{Mounted, available};
