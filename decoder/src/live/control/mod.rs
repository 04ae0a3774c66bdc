//! The loop over all rings, and what it keeps within limits: its cost, its turns with others, the command it runs.

pub(in crate::live) mod budget;
pub(in crate::live) mod capture;
pub(in crate::live) mod command;
pub(in crate::live) mod rate_updates;
pub(in crate::live) mod turns;
pub(in crate::live) mod waiting;
