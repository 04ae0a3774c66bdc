//! Accesses on their way into counters.

use core::ops::Deref;

use decoder::Batch;

/// A batch, and which of its accesses are no visits (`visits.rs`).
#[derive(Clone, Copy, Debug)]
pub struct MarkedBatch<'a> {
    /// The accesses.
    pub batch: Batch<'a>,
    /// For each access whether it is none, in the same order; empty if all are visits, or nobody
    /// asks.
    pub repeats: &'a [bool],
}

impl<'a> MarkedBatch<'a> {
    /// The accesses from one on, and as many as are wanted.
    pub(crate) fn part(&self, from: usize, len: usize) -> Self {
        let to = from + len;
        let batch = Batch {
            addresses: &self.batch.addresses[from..to],
            touches: self.batch.touches.get(from..to).unwrap_or_default(),
            ..self.batch
        };
        Self { batch, repeats: self.repeats.get(from..to).unwrap_or_default() }
    }

    /// The accesses from one on.
    pub(crate) fn rest(&self, from: usize) -> Self {
        self.part(from, self.batch.addresses.len() - from)
    }

    /// Whether access `at` is no visit.
    #[inline]
    pub(crate) fn repeats(&self, at: usize) -> bool {
        self.repeats.get(at).copied().unwrap_or(false)
    }
}

impl<'a> From<Batch<'a>> for MarkedBatch<'a> {
    fn from(batch: Batch<'a>) -> Self {
        Self { batch, repeats: &[] }
    }
}

impl<'a> Deref for MarkedBatch<'a> {
    type Target = Batch<'a>;

    fn deref(&self) -> &Batch<'a> {
        &self.batch
    }
}
