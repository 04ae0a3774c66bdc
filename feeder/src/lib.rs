//! The feeder turns decisions into what this host's kernel understands.
//!
//! ```text
//! decisions (JSON lines) | service (gRPC) -> inbox: the newest -> run -> a sink
//!   sink/spe_feed: plan -> entry: which pages -> held: what the kernel holds -> device
//!                  kernel: its rules             receipt: its totals
//!   sink/act:      sink/damos: ranges -> filters -> a scheme of our own   supervisor: turns it off
//!   sink/files:    lines, sink/damo, sink/vab
//! ```
//!
//! The planner does no IO: `plan`, `entry`, `kernel` and `held` read and write nothing. `host` says
//! what this host's kernel is before anything is written into it, `privileges` gives up what is not
//! needed for it.
#![forbid(unsafe_code)]

pub mod decision;
pub mod decisions;
pub mod device;
pub mod entry;
pub mod held;
pub mod host;
pub mod http;
pub mod inbox;
pub mod kernel;
pub mod plan;
pub mod privileges;
pub mod receipt;
pub mod run;
pub mod service;
pub mod sink;
pub mod supervisor;
