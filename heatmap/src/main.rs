//! The program `folioscope`.
#![forbid(unsafe_code)]
fn main() {}
