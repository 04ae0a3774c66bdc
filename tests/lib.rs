//! End-to-end tests of the programs: see `end_to_end/`.
#![forbid(unsafe_code)]
