//! Where plans go.

pub mod damo;
pub mod damos;
pub mod spe_feed;
pub mod vab;
