//! Arm Statistical Profiling Extension: bytes -> packets -> records -> accesses.

mod data_source;
mod decoder;
mod event;
mod gather;
mod layout;
mod operation;
mod packet;
mod queue;
mod record;
mod resume;
mod scan;
mod split;
mod vector;

pub use data_source::{Encoding, Midr, encoding};
pub use decoder::Decoder;
pub use event::Events;
pub use operation::{Subclass, direction, operation, subclass};
pub use packet::{CutOff, Header, Kind, MAX_PACKET_LEN, Packet, Packets};
pub use queue::Queue;
pub use record::Record;
pub(crate) use resume::ResumeState;
pub(crate) use split::expected_before;

use crate::{Access, AccessFlags, Direction, Operation, Origin, PhysAddr, VirtAddr};

/// The canonical form of an instruction address: bits 55:0, and the upper half if the
/// Non-secure state ran at EL1 or EL2 (bit 63 NS, bits 62:61 EL; DDI 0487, D18.2.1).
pub const fn instruction_address(payload: u64) -> VirtAddr {
    let address = payload & ADDRESS_MASK;
    let non_secure = payload >> 63 == 1;
    let level = payload >> 61 & 0b11;
    if non_secure && (level == 1 || level == 2) {
        VirtAddr::new(address | !ADDRESS_MASK)
    } else {
        VirtAddr::new(address)
    }
}

/// The canonical form of a data address: the tag in bits 63:56 goes, and a kernel address gets
/// its upper bits back. Bits 55:52 of every kernel address are set, also of 52-bit ones.
pub const fn data_address(payload: u64) -> VirtAddr {
    let address = payload & ADDRESS_MASK;
    if address >> 52 == 0xf {
        VirtAddr::new(address | !ADDRESS_MASK)
    } else {
        VirtAddr::new(address)
    }
}

const ADDRESS_MASK: u64 = (1 << 56) - 1;

impl Record {
    /// Its direction as a memory access.
    #[inline(always)]
    pub fn direction(&self) -> Direction {
        self.operation().map_or(Direction::Unknown, |(_, payload)| direction(payload))
    }

    /// The memory access that the record tells of, if it is one. What the record does not know
    /// (CPU, nanoseconds, thread without a context packet) comes from `origin` and `thread`; the
    /// queue is for the caller to fill in.
    pub fn access(
        &self,
        origin: Origin,
        thread: (Option<u32>, Option<u32>),
        encoding: Encoding,
    ) -> Option<Access> {
        if !self.is_memory() {
            return None;
        }
        let (operation, order) = match self.operation() {
            Some((_, payload)) => operation(payload),
            None => (Operation::plain(Direction::Unknown), AccessFlags::empty()),
        };
        let events = self.events().map(Events::from_bits_retain);
        let (data_source, source_flags) =
            encoding.of_access(self.data_source(), events, operation.direction);
        let (pid, tid) = thread;
        Some(Access {
            origin,
            operation,
            paddr: self.data_pa().map(PhysAddr::new_truncate),
            vaddr: self.data_va().map(data_address),
            ip: self.pc().map(instruction_address),
            pid,
            tid,
            latency_cycles: self.total_latency().filter(|cycles| *cycles > 0).map(u32::from),
            data_source,
            issue_latency_cycles: self.issue_latency().map(u32::from),
            translation_latency_cycles: self.translation_latency().map(u32::from),
            tlb: events.and_then(Events::tlb),
            page_size: None,
            aux_queue: None,
            flags: order | source_flags | events.map_or(AccessFlags::empty(), Events::flags),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_canonical() {
        // NS, EL0: stays low.
        assert_eq!(instruction_address(0x8000_0000_0040_1000).get(), 0x40_1000);
        // NS, EL1 and EL2: the kernel's half.
        let kernel = 0xffff_8000_1000_0000;
        assert_eq!(instruction_address(0xa0ff_8000_1000_0000).get(), kernel);
        assert_eq!(instruction_address(0xc0ff_8000_1000_0000).get(), kernel);
        // Secure EL1 and EL3 are no Linux kernel.
        assert_eq!(instruction_address(0x20ff_8000_1000_0000).get(), 0xff_8000_1000_0000);
        assert_eq!(instruction_address(0xe0ff_8000_1000_0000).get(), 0xff_8000_1000_0000);

        assert_eq!(data_address(0x00ff_0e37_0309_6b28).get(), 0xffff_0e37_0309_6b28);
        assert_eq!(data_address(0xffff_0e37_0309_6b28).get(), 0xffff_0e37_0309_6b28);
        assert_eq!(data_address(0xb400_7f12_3456_7890).get(), 0x7f12_3456_7890, "tagged");
    }
}
