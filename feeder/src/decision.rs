//! What is known of one folio: what everything here turns into words for a kernel.

use heatmap::Verdict;

/// What is known of one folio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its first page frame, a multiple of 512.
    pub folio_pfn: u64,
    /// What its accesses prove.
    pub verdict: Verdict,
    /// Its accesses.
    pub accesses: u64,
    /// Its hot chunks at the plan's order, ascending.
    pub hot_chunks: Vec<usize>,
    /// The process of its last access that tells one.
    pub pid: Option<u32>,
    /// The start of the 2 MiB of virtual memory of its last access that tells one: where that
    /// process had it then. It may lie elsewhere now.
    pub vaddr: Option<u64>,
}
