//! Tests of the whole: what must hold for every input, see [`laws`], and the tests of the
//! programs in `end_to_end/`.
#![forbid(unsafe_code)]

pub mod laws;
