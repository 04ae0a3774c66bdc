//! Where decisions go.

pub mod vab;
