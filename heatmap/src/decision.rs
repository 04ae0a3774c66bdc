//! What a policy is told of one block.

use decoder::FolioPfn;
use serde::{Serialize, Serializer};

use crate::backing::Backing;
use crate::report::Evidence;
use crate::verdict::Verdict;

/// What was decided about one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// First page frame of the block.
    #[serde(serialize_with = "crate::report::hex")]
    pub folio_pfn: FolioPfn,
    /// Chunk order: a chunk is 2^order pages; in 0..=9.
    pub order: u32,
    /// Percent of hot chunks from which a block is hot; in 0..=100.
    pub hot_threshold: u32,
    /// Hot chunks in percent of all chunks, rounded down.
    pub hot_percent: u32,
    /// Chunks with at least max(peak / 10, 1) accesses, rounded down, where the hottest one has
    /// `peak`.
    pub hot_chunks: u32,
    /// Chunks of the block: 512 >> order.
    pub chunks: u32,
    /// Accesses to the block.
    pub accesses: u64,
    /// What can be said of the block.
    pub verdict: Verdict,
    /// What is known about the mapping behind it.
    pub backing: Backing,
    /// Whether a split is proposed without evidence of the backing.
    pub unverified: bool,
    /// Hot chunks: lower-case hexadecimal without `0x`, max(1, chunks / 4) digits, most
    /// significant first, bit 0 is chunk 0.
    pub hot_bitmap: String,
    /// Process of the last access that carries one.
    pub pid: Option<u32>,
    /// Virtual address of the block as last seen.
    #[serde(serialize_with = "address")]
    pub vaddr: Option<u64>,
    /// What the verdict rests on.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// Index and count of each page whose count is not 0, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<(u16, u32)>>,
}

fn address<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(&format_args!("{value:#x}")),
        None => serializer.serialize_none(),
    }
}
