//! AUX data of any tracer: chunks of rings, how they follow one another, and what became of their bytes.
//!
//! ```text
//! chunk (its place, how it follows the one before) -> queue (one ring) -> spe/ or intel_pt/ -> accesses
//!     announced: what records told of and did not come       threads: who ran where in it
//! ```

pub(crate) mod announced;
pub(crate) mod any_queue;
pub(crate) mod byte_account;
pub(crate) mod chunk;
pub(crate) mod queue;
pub(crate) mod queue_name;
pub(crate) mod threads;
