//! Where plans go.

pub mod damos;
pub mod spe_feed;
