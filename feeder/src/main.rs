//! `folioscope-feeder`: see `lib.rs`, and `cli.rs` for its options.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
