//! Tests of the sources: who may know whom.
//!
//! | module | question |
//! | --- | --- |
//! | `layers` | which crate depends on which? |
//! | `circles` | do two files of a crate depend on each other? |
//! | `public_api` | what can other crates name of a library? |
//! | `passed_over` | do all tests and all examples in comments run? |
//! | `one_judge` | is every block judged by one function? |
#![forbid(unsafe_code)]

mod circles;
mod crate_files;
mod layers;
mod one_judge;
mod passed_over;
mod public_api;
