//! Counters that several threads share.
//!
//! A thread counts into a store of its own as long as that is small: nobody waits for anybody.
//! Large ones would hold the same blocks once for each thread, so what has grown large is put
//! together here: in stores of which each has a part of all blocks, behind a lock of its own, so
//! that threads seldom meet.
//!
//! This is for workers that read samples and streams. Parts of a file's AUX queues are counted
//! apart, since one that turns out to be wrong is dropped.

use std::sync::Mutex;

use decoder::{Batch, Direction, FOLIO_SHIFT, PhysAddr, Touch, TraceOffset};

use crate::folio::Block;
use crate::marked_batch::MarkedBatch;
use crate::store::{Store, lock};

/// Least and most stores.
const STRIPES: core::ops::RangeInclusive<usize> = 8..=256;
/// Accesses that are sorted by store at a time.
const SORTED: usize = 128;

/// Stores by block.
#[derive(Debug)]
pub(crate) struct Stripes<B: Block> {
    stores: Box<[Mutex<Store<B>>]>, // a power of two
}

/// Room for accesses that are sorted by store.
#[derive(Debug)]
pub(crate) struct Sorted {
    addresses: [PhysAddr; SORTED],
    touches: Vec<Touch>, // SORTED of them, or none until there are any
    repeats: [bool; SORTED],
}

impl<B: Block> Stripes<B> {
    /// Empty stores that share a store's budget: several for each thread that there can be.
    pub(crate) fn new(store: &Store<B>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let count = (4 * threads).clamp(*STRIPES.start(), *STRIPES.end()).next_power_of_two();
        Self { stores: (0..count).map(|_| Mutex::new(store.split_in(count))).collect() }
    }

    /// The store of a block. Neighbours are in different ones.
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
    fn which(&self, number: u64) -> usize {
        number as usize & (self.stores.len() - 1)
    }

    /// Adds all blocks of a store.
    pub(crate) fn put(&self, store: Store<B>) {
        store.spread(&self.stores, |number| self.which(number));
    }

    /// Counts the accesses of a batch.
    pub(crate) fn batch(&self, batch: &MarkedBatch<'_>, sorted: &mut Sorted) {
        let mut rest = *batch;
        while !rest.addresses.is_empty() {
            let now = rest.addresses.len().min(SORTED);
            self.count(&rest.part(0, now), sorted);
            rest = rest.rest(now);
        }
    }

    /// Counts at most as many accesses as can be sorted.
    fn count(&self, batch: &MarkedBatch<'_>, sorted: &mut Sorted) {
        let which = |address: &PhysAddr| self.which(address.get() >> FOLIO_SHIFT);
        // How many come before each store's first; then, behind each store's last.
        let mut ends = [0u8; *STRIPES.end() + 1];
        batch.addresses.iter().for_each(|address| ends[which(address) + 1] += 1);
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        if sorted.touches.len() < batch.touches.len() {
            sorted.make_room();
        }
        for (at, address) in batch.addresses.iter().enumerate() {
            let end = &mut ends[which(address)];
            sorted.addresses[usize::from(*end)] = *address;
            if let Some(touch) = batch.touches.get(at) {
                sorted.touches[usize::from(*end)] = *touch;
            }
            sorted.repeats[usize::from(*end)] = batch.repeats(at);
            *end += 1;
        }
        let mut start = 0;
        for (store, end) in self.stores.iter().zip(ends) {
            let range = start..usize::from(end);
            start = range.end;
            if range.is_empty() {
                continue;
            }
            let touches =
                if batch.touches.is_empty() { &[] } else { &sorted.touches[range.clone()] };
            let repeats =
                if batch.repeats.is_empty() { &[] } else { &sorted.repeats[range.clone()] };
            let batch = Batch { addresses: &sorted.addresses[range], touches, ..batch.batch };
            lock(store).batch(&MarkedBatch { batch, repeats });
        }
    }

    /// Moves everything into a store.
    pub(crate) fn empty_into(&self, store: &mut Store<B>) {
        for stripe in &self.stores {
            let empty = store.split_in(self.stores.len());
            let full = core::mem::replace(&mut *lock(stripe), empty);
            store.merge(full);
        }
    }
}

impl Sorted {
    pub(crate) const fn new() -> Self {
        let addresses = [PhysAddr::new_truncate(0); SORTED];
        Self { addresses, touches: Vec::new(), repeats: [false; SORTED] }
    }

    #[cold]
    fn make_room(&mut self) {
        let nothing = Touch {
            direction: Direction::Unknown,
            latency_cycles: 0,
            pid: None,
            vaddr: None,
            time_ns: None,
            offset: TraceOffset(0),
        };
        self.touches.resize(SORTED, nothing);
    }
}
