//! How a stream is counted.

use crate::judging::MaxColdShare;
use crate::page_size::PageSize;

/// How to count.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Length of an epoch in ns, at least 1.
    pub epoch_ns: u64,
    /// Time after which all counters are halved, in ns; 0: never.
    pub cooling_ns: u64,
    /// Time without accesses after which a block is forgotten, in ns; 0: never.
    pub ttl_ns: u64,
    /// Bytes that counters may use, what readers see included.
    pub memory: usize,
    /// Time that the accesses of a sparse block must span.
    pub min_span_ns: Option<u64>,
    /// Nothing is taken to be missing.
    pub assume_complete: bool,
    /// The greatest cold share of a block that is proposed.
    pub max_cold_share: MaxColdShare,
    /// The kernel's base page, if it was given.
    pub page_size: Option<PageSize>,
    /// The trace's time against wall time at which accesses are taken in; `None`: as they come.
    pub speed: Option<f64>,
    /// The input comes as it is recorded, so that silence means that time passes.
    pub live: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epoch_ns: 1_000_000_000,
            cooling_ns: 10_000_000_000,
            ttl_ns: 30_000_000_000,
            memory: usize::MAX,
            min_span_ns: None,
            assume_complete: false,
            max_cold_share: MaxColdShare::default(),
            page_size: None,
            speed: None,
            live: false,
        }
    }
}
