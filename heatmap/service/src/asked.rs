//! A snapshot, and how it is to be judged: what answers are made from.

use std::sync::Arc;

use heatmap::live::{LiveJudge, Snapshot};
use heatmap::{ChunkOrder, HotThreshold};
use tonic::Code;

use super::refusal::Refusal;

/// The order and threshold of a question, which may leave them open.
pub(super) fn order_and_threshold(
    order: Option<u32>,
    default_order: ChunkOrder,
    threshold: Option<u32>,
    default_threshold: HotThreshold,
) -> Result<(ChunkOrder, HotThreshold), Refusal> {
    let order = order.map_or(Ok(default_order), |order| {
        ChunkOrder::try_from(order).map_err(|_| Refusal::wrong("order", "must be 0 to 9"))
    })?;
    let threshold = threshold.map_or(Ok(default_threshold), |threshold| {
        HotThreshold::try_from(threshold)
            .map_err(|_| Refusal::wrong("hot_threshold", "must be 0 to 100"))
    })?;
    Ok((order, threshold))
}

/// Refuses where blocks are not judged, or nothing has a physical address.
fn judged(snapshot: &Snapshot) -> Result<(), Refusal> {
    if let Some(known) = &snapshot.known
        && !known.page_size.is_4k()
    {
        let message = format!(
            "the kernel's base page is {}: a PMD block there is {} MiB, and blocks of 2 MiB are \
             not judged",
            known.page_size,
            known.page_size.pmd_block_bytes() >> 20
        );
        return Err(Refusal::new(Code::FailedPrecondition, "BASE_PAGE_SIZE", message));
    }
    let ledger = &snapshot.ledger;
    let without = ledger.guest_address + ledger.no_physical_address + ledger.lookup_failed;
    if ledger.counted == 0 && without > 0 {
        let message = snapshot.reason().unwrap_or_default();
        return Err(Refusal::new(Code::FailedPrecondition, "NO_PHYSICAL_ADDRESSES", message));
    }
    Ok(())
}

/// A snapshot that can answer, and how its blocks are to be judged.
pub(super) struct Asked {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) judge: LiveJudge,
    pub(super) order: ChunkOrder,
    pub(super) threshold: HotThreshold,
}

impl Asked {
    /// Judges a snapshot as it is asked for: at order 0 and the daemon's threshold, unless the question names others.
    ///
    /// # Errors
    /// If the question is wrong, or the snapshot cannot answer.
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        order: Option<u32>,
        threshold: Option<u32>,
        default_threshold: HotThreshold,
    ) -> Result<Self, Refusal> {
        let (order, threshold) =
            order_and_threshold(order, ChunkOrder::default(), threshold, default_threshold)?;
        if !snapshot.is_ready() {
            return Err(Refusal::new(Code::Unavailable, "NOT_READY", "no epoch has closed yet"));
        }
        judged(&snapshot)?;
        Ok(Self::of(snapshot, order, threshold))
    }

    /// Judges any snapshot.
    pub(super) fn of(snapshot: Arc<Snapshot>, order: ChunkOrder, threshold: HotThreshold) -> Self {
        let judge = snapshot.judge(order, threshold);
        Self { snapshot, judge, order, threshold }
    }
}
