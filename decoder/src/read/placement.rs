//! Where the bytes of AUX data go, and what becomes of the account of those that arrived.

use super::session::{Placement, Session};
use crate::aux_data::byte_account::Timed;
use crate::aux_data::chunk::Chunk;
use crate::aux_data::queue::Account;
use crate::perf::{Auxtrace, QueueKey};
use crate::{Ledger, Position, Sink, TimeBase, TraceOffset};

/// Where the bytes of the AUX data that comes next go.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Queue(usize),
    Foreign,
    Skipped,
}

impl Session {
    /// The queue that AUX data belongs to, and its place there; or where it goes instead.
    pub(crate) fn target<S: Sink>(
        &mut self,
        aux: Option<&Auxtrace>,
        position: Position,
        sink: &mut S,
    ) -> Result<(usize, QueueKey, Chunk), Target> {
        let Some(aux) = aux else {
            self.announcements.begin(None);
            return Err(Target::Skipped);
        };
        match self.place(aux, position, sink) {
            Placement::Queue(index, chunk) => Ok((index, aux.queue, chunk)),
            Placement::Foreign => Err(Target::Foreign),
            Placement::TooMany => Err(Target::Skipped),
        }
    }

    /// Takes a finished queue's account.
    pub(crate) fn settle(&mut self, account: Account) {
        self.settled_records(&account);
        let bytes = account.total.wrapping_add(account.bytes.overlap);
        self.unsettled = self.unsettled.wrapping_sub(bytes);
        add_queue(&mut self.ledger, &mut self.aux_time_base, account);
    }

    /// Counts AUX bytes that no queue takes.
    pub(crate) fn pass_over(&mut self, target: Target, len: usize) {
        self.announcements.come(len);
        match target {
            Target::Foreign => self.ledger.foreign_aux_bytes += len as u64,
            Target::Queue(_) | Target::Skipped => {
                self.ledger.aux_bytes += len as u64;
                self.ledger.skipped_bytes += len as u64;
            }
        }
    }
}

/// Adds a queue's account to that of all, and its times to the best.
pub(crate) fn add_queue(ledger: &mut Ledger, best: &mut Option<TimeBase>, account: Account) {
    let Account { bytes, total, timed, .. } = account;
    ledger.aux_bytes += total;
    ledger.record_bytes += bytes.record;
    ledger.padding_bytes += bytes.padding;
    ledger.skipped_bytes += bytes.skipped;
    ledger.cut_off_bytes += bytes.cut_off;
    ledger.overlap_bytes += bytes.overlap;
    let base = match timed {
        Timed { ns: true, .. } => Some(TimeBase::Ns),
        Timed { ticks: true, .. } => Some(TimeBase::Ticks),
        Timed { records: true, .. } => Some(TimeBase::None),
        _ => None,
    };
    *best = (*best).max(base);
}

/// A position of its own for the rest of each queue, behind all others.
pub(crate) fn behind(end: Position, queue: usize) -> Position {
    /// A rest is shorter.
    const LEN: u64 = 8;
    let offset = end.offset.0.saturating_add(LEN.saturating_mul(queue as u64 + 1));
    Position { offset: TraceOffset(offset), ..end }
}
