//! The daemon: takes a stream in and answers questions about it. The only code that knows gRPC
//! and HTTP.
//!
//! ```text
//! source (a thread that reads) -> live (counts) -> snapshot -> grpc, http, watch, metrics
//! ```
//!
//! `state.rs` is what all listeners share. `run.rs` is the daemon's life from start to end.
#![forbid(unsafe_code)]

mod answers;
mod asked;
mod config;
mod convert;
mod decided;
mod grpc;
mod http;
mod json;
mod listen;
mod metrics;
mod overview;
mod place;
mod refusal;
mod request_counts;
mod run;
mod source;
mod state;
mod status;
mod tls;
mod watch;

pub use config::{Config, Flags, Given, HostDefaults};
pub use run::run;
