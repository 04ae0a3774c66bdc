//! From what was asked for to open events: which events fit the host, the system call, what it refuses, and one of
//! each on every CPU.

mod about;
pub(in crate::live) mod event;
pub(in crate::live) mod event_choice;
mod followed_cpus;
pub(in crate::live) mod host;
pub(in crate::live) mod open;
pub(in crate::live) mod open_events;
pub(in crate::live) mod refusal;
