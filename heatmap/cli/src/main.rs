//! The program `folioscope`.
//!
//! ```text
//! command (options in, exit status out) -> heatmap (counts, judges) -> report (writes)
//!                                       -> service (the daemon), client (asks one)
//!                                       -> doctor (what this host can do)
//! ```
#![forbid(unsafe_code)]

mod command;
mod doctor;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
