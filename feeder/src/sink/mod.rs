//! Where decisions go.

pub mod damos;
