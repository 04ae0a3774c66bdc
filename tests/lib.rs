//! Tests of the whole. In here: what must hold for every input, see [`laws`], and what the tests
//! beside it read and write.
//!
//! | folder | what |
//! | --- | --- |
//! | `in_process/` | tests that call the libraries, also run inside an emulator |
//! | `end_to_end/` | tests that start the programs, which may run in an emulator |
//! | `structure/` | tests of the sources: which crate and which file may know which |
//! | `allocations/` | a process whose allocations are counted |
//! | `service/`, `vm/` | tests by other programs, which `.ci/run` starts |
//! | `spefeed/`, `tracegen/` | a model of the kernel's interfaces; a maker of traces |
//! | `verdict-over-time/` | measures how often the daemon ever proposes blocks of known truth |
#![forbid(unsafe_code)]

pub mod container;
pub mod emulation;
pub mod hostile;
pub mod inputs;
pub mod laws;
pub mod made;
pub mod plain;
pub mod recompute;
