//! The program `folioscope`: see `command/`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    heatmap::command::main()
}
