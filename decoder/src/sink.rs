//! Who takes the accesses of an input, and how: one by one, or in batches.

use crate::perf::QueueKey;
use crate::{
    Access, Direction, EventIndex, Origin, PhysAddr, Recording, Source, TraceOffset, VirtAddr,
};

/// How much of each access a sink looks at. Less is faster: what nobody asks for is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Physical addresses alone: [`Batch::touches`] may be empty.
    Addresses,
    /// What counting takes: a [`Touch`] for each physical address.
    Counts,
    /// All of it, one by one, through [`Sink::access`] and [`Sink::other`].
    Accesses,
}

/// What counting takes of an access beside its physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Its direction.
    pub direction: Direction,
    /// Cycles; 0 if they are not known.
    pub latency_cycles: u32,
    /// Process.
    pub pid: Option<u32>,
    /// Virtual address of the data.
    pub vaddr: Option<VirtAddr>,
    /// When, on the trace's clock in nanoseconds.
    pub time_ns: Option<u64>,
    /// Where the record's last byte stands in its file.
    pub offset: TraceOffset,
}

/// Records of one CPU, in their order, no more of each than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The unit that made the records.
    pub source: Source,
    /// CPU they were taken on.
    pub cpu: Option<u32>,
    /// The ring of AUX data that they stood in. `None`: sample records, see [`Access::queue`].
    pub aux_queue: Option<QueueKey>,
    /// Number of the file that they stand in, see [`Position::file`](crate::Position::file).
    pub file: u32,
    /// All of them: `not_memory`, `no_physical_address` and the length of `addresses` together.
    pub records: u64,
    /// Those that are no memory operations.
    pub not_memory: u64,
    /// Memory operations without a physical address.
    pub no_physical_address: u64,
    /// Records that say that their operation did not retire. 0 if only addresses are asked for.
    pub not_retired: u64,
    /// Memory operations whose thread is not known. 0 if only addresses are asked for.
    pub tid_unknown: u64,
    /// The least and the greatest time of all records that have one, in nanoseconds. `None` if
    /// only addresses are asked for.
    pub times: Option<(u64, u64)>,
    /// Physical addresses of the other memory operations.
    pub addresses: &'a [PhysAddr],
    /// More of each of these, in the same order; empty if only addresses are asked for.
    pub touches: &'a [Touch],
}

impl<'a> Batch<'a> {
    /// Memory operations of which nothing but their addresses is known.
    pub const fn of_addresses(source: Source, addresses: &'a [PhysAddr]) -> Self {
        Self {
            source,
            cpu: None,
            aux_queue: None,
            file: 0,
            records: addresses.len() as u64,
            not_memory: 0,
            no_physical_address: 0,
            not_retired: 0,
            tid_unknown: 0,
            times: None,
            addresses,
            touches: &[],
        }
    }
}

/// Takes the records of an input, one by one or in batches.
pub trait Sink {
    /// How much of each access is looked at. Asked before each chunk of AUX data; records that are
    /// samples, or stand in Intel PT data, are always given out in full. Where several threads
    /// decode a stream, its side-band records are read for them only if more than places is asked
    /// for at the start.
    fn detail(&self) -> Detail {
        Detail::Accesses
    }
    /// Records of Arm SPE data, if less than [`Detail::Accesses`] is asked for.
    fn batch(&mut self, _batch: &Batch<'_>) {}
    /// The name of one of the input's events, before its first record and again when it is renamed.
    fn event_name(&mut self, _event: EventIndex, _name: &str) {}
    /// A record that is a memory operation.
    fn access(&mut self, access: &Access);
    /// A record of any other operation.
    fn other(&mut self, origin: &Origin);
    /// A process begins, or runs another program, from now on: what was known of its number says
    /// nothing any more. Told where records of tasks are read, which is not always the thread that
    /// is given the accesses.
    fn exec(&mut self, _pid: u32) {}
    /// Whether [`Sink::recording_so_far`] is wanted now. Asked after every record and chunk of AUX
    /// data where they are decoded in their order, else after every read of a stream.
    fn wants_recording(&self) -> bool {
        false
    }
    /// What the input says besides its accesses is worth another look: an event was recorded less
    /// evenly than before.
    fn recording_changed(&mut self) {}
    /// What the input has said so far besides its accesses. Where several threads decode, AUX
    /// data is not in its ledger before its end.
    fn recording_so_far(&mut self, _recording: &Recording) {}
    /// The input has ended. What comes next has a clock of its own.
    fn recording_ended(&mut self) {}
    /// Whether nothing more is wanted: a stream is then not read on. Several threads that decode
    /// one ask only at the start.
    fn has_enough(&self) -> bool {
        false
    }
}

/// A sink whose work several threads can share.
pub trait Shard: Sink + Send + Sized {
    /// An empty sink for another thread. It may go without being merged, and then leaves no
    /// trace.
    fn split(&self) -> Self;
    /// An empty sink for a thread all of whose records will be merged, and none without it: such
    /// sinks may put together what they take before that.
    fn join_in(&self) -> Self {
        self.split()
    }
    /// What comes next is part `number` of a stream that several threads decode. Parts are numbered
    /// from 0 on, in the order of the stream; each goes to one sink, and each sink gets its own in
    /// that order. A sink for which the order matters may wait in its methods for the parts before
    /// to end: they need nothing that this thread still has to do.
    fn part_begins(&mut self, _number: u64) {}
    /// The part is complete.
    fn part_ended(&mut self) {}
    /// What comes next of this ring of AUX data follows on what was taken of it last, by this sink
    /// or another one. Said before each part of a ring that is decoded in its order, in files.
    fn queue_goes_on(&mut self, _queue: QueueKey) {}
    /// That part is complete: another sink may take the next one.
    fn queue_pauses(&mut self, _queue: QueueKey) {}
    /// What comes next of this ring is a part that is decoded before the parts before it are. Said
    /// to an empty sink that takes nothing else.
    fn queue_is_ahead(&mut self, _queue: QueueKey) {}
    /// Adds what another sink took of a part that was decoded ahead, now that the parts before it
    /// have been taken, and goes on behind it. If the answer is false nothing was added, and the
    /// part is decoded again: what it means depends on the parts before.
    fn merge_ahead(&mut self, ahead: Self, _queue: QueueKey) -> bool {
        self.merge(ahead);
        true
    }
    /// Adds what another thread's sink took. The result must not depend on which records
    /// went to which sink; only records of one position always go to one, in their order.
    fn merge(&mut self, other: Self);
}
