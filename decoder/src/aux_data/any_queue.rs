//! One AUX queue of whichever tracer.

use super::byte_account::{ByteAccount, Timed};
use super::chunk::{AuxFormat, Chunk};
use crate::perf::{QueueKey, SideBand};
use crate::spe::ResumeState;
use crate::{Position, Sink, Source, intel_pt, spe};

/// Decodes the chunks of one queue, in their order.
#[derive(Clone, Debug)]
pub(crate) enum AnyQueue {
    /// Arm SPE.
    ArmSpe(Box<spe::Queue>),
    /// Intel PT.
    IntelPt(Box<intel_pt::Queue>),
}

/// What became of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its tracer.
    pub(crate) source: Source,
    pub(crate) bytes: ByteAccount,
    /// All bytes that were fed, counted apart from `bytes`.
    pub(crate) total: u64,
    pub(crate) timed: Timed,
}

impl AnyQueue {
    /// A queue of this tracer before its first chunk.
    pub(crate) fn new(key: QueueKey, format: &AuxFormat) -> Self {
        match format {
            AuxFormat::ArmSpe(_) => Self::ArmSpe(Box::new(spe::Queue::new(key))),
            AuxFormat::IntelPt(_) => Self::IntelPt(Box::new(intel_pt::Queue::new(key))),
        }
    }

    /// Starts a chunk.
    pub(crate) fn begin(&mut self, chunk: Chunk) {
        match self {
            Self::ArmSpe(queue) => queue.begin(chunk),
            Self::IntelPt(queue) => queue.begin(chunk),
        }
    }

    /// Decodes the next bytes of the chunk, which stand at `at` in the input.
    pub(crate) fn bytes<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        at: Position,
        sideband: &SideBand,
        sink: &mut S,
    ) {
        match self {
            Self::ArmSpe(queue) => queue.bytes(bytes, at, sideband, sink),
            Self::IntelPt(queue) => queue.bytes(bytes, at, sideband, sink),
        }
    }

    /// The queue has ended.
    pub(crate) fn finish(self) -> Account {
        match self {
            Self::ArmSpe(queue) => Account::new(Source::ArmSpe, queue.finish()),
            Self::IntelPt(queue) => Account::new(Source::IntelPt, queue.finish()),
        }
    }

    /// Its account so far, without the unfinished record.
    pub(crate) fn so_far(&self) -> Account {
        match self {
            Self::ArmSpe(queue) => Account::new(Source::ArmSpe, queue.so_far()),
            Self::IntelPt(queue) => Account::new(Source::IntelPt, queue.so_far()),
        }
    }

    /// The queue's CPU, and the time of its last record: what follows was made later.
    pub(crate) fn passed(&self) -> Option<(u32, u64)> {
        match self {
            Self::ArmSpe(queue) => queue.passed(),
            Self::IntelPt(queue) => queue.passed(),
        }
    }

    /// What is left of the bytes so far, if that is all: see [`ResumeState`].
    pub(crate) fn resume_state(&self) -> Option<ResumeState> {
        match self {
            Self::ArmSpe(queue) => queue.resume_state(),
            Self::IntelPt(_) => None,
        }
    }

    /// A queue of Arm SPE that goes on there with a chunk.
    pub(crate) fn resumed(key: QueueKey, state: ResumeState) -> Self {
        Self::ArmSpe(Box::new(spe::Queue::resumed(key, state)))
    }
}

impl Account {
    fn new(source: Source, (bytes, total, timed): (ByteAccount, u64, Timed)) -> Self {
        Self { source, bytes, total, timed }
    }
}
