//! The feeder will turn decisions into what this host's kernel understands.
//!
//! It is not built yet: this crate keeps its place in the workspace and holds no code.
//! `folioscope decisions` prints what it will read.
#![forbid(unsafe_code)]
