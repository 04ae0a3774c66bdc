//! Tests of the sources: who may know whom.
//!
//! | module | question |
//! | --- | --- |
//! | `layers` | which crate depends on which? |
//! | `circles` | do two files of a crate depend on each other? |
//! | `public_api` | what can other crates name of a library? |
//! | `doc_tests` | do all examples in comments run? |
//! | `one_judge` | is every block judged by one function? |
#![forbid(unsafe_code)]

mod circles;
mod crate_files;
mod doc_tests;
mod layers;
mod one_judge;
mod public_api;
