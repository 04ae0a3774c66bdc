//! Where decisions go.

pub mod damo;
pub mod vab;
