//! The feeder will turn decisions into what this host's kernel understands.
//!
//! It is not built yet: there is the [`plan`] of writes, the [`kernel`] that it is for, and how an [`entry`] of its
//! table is made to read as wanted. `folioscope decisions` prints what it will read.
#![forbid(unsafe_code)]

pub mod entry;
pub mod kernel;
pub mod plan;
