//! Where plans go.

pub mod spe_feed;
