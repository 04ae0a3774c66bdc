//! PEBS records in the AUX data of Intel Processor Trace: bytes -> packets -> blocks -> records ->
//! accesses.
//!
//! On some of Intel's E cores an event can write its samples into the trace (`aux_output`, `perf
//! record -e '{intel_pt/branch=0/,mem-loads/aux-output/pp}'`). What else the trace holds, the path
//! of the program, is walked over. The records have virtual addresses only.

mod block;
mod data_source;
mod decoder;
mod packet;
mod pebs;
mod queue;

pub use block::Record;
pub use data_source::{Core, Sampled};
pub use decoder::Decoder;
pub use packet::{ItemLen, Kind, MAX_PACKET_LEN, NoPacket, PSB, Packet, Packets};
pub use pebs::Pebs;
pub use queue::Queue;

use crate::pebs::Told;
use crate::{Access, Direction, Operation, Origin, VirtAddr};

impl Record {
    /// The memory access that the record tells of. Address 0 is none: events without a data address
    /// have it where the setup asks for memory blocks. What the record does not know (CPU,
    /// nanoseconds, thread, event) comes from `origin` and the thread's numbers; the queue is for the
    /// caller to fill in.
    pub fn access(
        &self,
        origin: Origin,
        (pid, tid): (Option<u32>, Option<u32>),
        core: Core,
        sampled: Sampled,
    ) -> Option<Access> {
        let address = self.address.filter(|address| *address != 0)?;
        let told = match self.auxiliary {
            Some(auxiliary) if sampled.has_source => core.decode(auxiliary),
            _ => Told::default(),
        };
        Some(Access {
            origin,
            operation: Operation::plain(sampled.direction.unwrap_or(Direction::Unknown)),
            paddr: None,
            vaddr: Some(VirtAddr::new(address)),
            ip: self.instruction.or(self.rip).map(VirtAddr::new),
            pid,
            tid,
            latency_cycles: self.latency_cycles(core),
            data_source: told.source,
            issue_latency_cycles: None,
            translation_latency_cycles: None,
            tlb: told.tlb,
            page_size: None,
            aux_queue: None,
            flags: told.flags,
        })
    }
}
