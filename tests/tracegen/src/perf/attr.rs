//! `perf_event_attr`: how an event was asked for.

use crate::bytes::Endian;

/// Bits of `sample_type` (`enum perf_event_sample_format`).
pub mod sample_type {
    /// Instruction pointer.
    pub const IP: u64 = 1 << 0;
    /// Process and thread.
    pub const TID: u64 = 1 << 1;
    /// Time in ns.
    pub const TIME: u64 = 1 << 2;
    /// Data virtual address.
    pub const ADDR: u64 = 1 << 3;
    /// Counter values.
    pub const READ: u64 = 1 << 4;
    /// Call chain.
    pub const CALLCHAIN: u64 = 1 << 5;
    /// Event id.
    pub const ID: u64 = 1 << 6;
    /// CPU.
    pub const CPU: u64 = 1 << 7;
    /// Period.
    pub const PERIOD: u64 = 1 << 8;
    /// Stream id.
    pub const STREAM_ID: u64 = 1 << 9;
    /// Raw bytes of the event.
    pub const RAW: u64 = 1 << 10;
    /// Branch records.
    pub const BRANCH_STACK: u64 = 1 << 11;
    /// Registers of user space.
    pub const REGS_USER: u64 = 1 << 12;
    /// Bytes of the user stack.
    pub const STACK_USER: u64 = 1 << 13;
    /// Weight, 64 bits.
    pub const WEIGHT: u64 = 1 << 14;
    /// Where the data came from.
    pub const DATA_SRC: u64 = 1 << 15;
    /// Event id at a fixed place.
    pub const IDENTIFIER: u64 = 1 << 16;
    /// Transaction flags.
    pub const TRANSACTION: u64 = 1 << 17;
    /// Registers at the interrupt.
    pub const REGS_INTR: u64 = 1 << 18;
    /// Data physical address.
    pub const PHYS_ADDR: u64 = 1 << 19;
    /// Bytes of an AUX area.
    pub const AUX: u64 = 1 << 20;
    /// Control group.
    pub const CGROUP: u64 = 1 << 21;
    /// Size of the page of the data.
    pub const DATA_PAGE_SIZE: u64 = 1 << 22;
    /// Size of the page of the code.
    pub const CODE_PAGE_SIZE: u64 = 1 << 23;
    /// Weight in three parts.
    pub const WEIGHT_STRUCT: u64 = 1 << 24;
}

/// Bits of the flags word at offset 40, counted as a little-endian machine does.
pub mod flag {
    /// Children too.
    pub const INHERIT: u64 = 1 << 1;
    /// MMAP records.
    pub const MMAP: u64 = 1 << 8;
    /// COMM records.
    pub const COMM: u64 = 1 << 9;
    /// FORK and EXIT records.
    pub const TASK: u64 = 1 << 13;
    /// Precision 1 of `precise_ip`, a field of the bits 16:15.
    pub const PRECISE_1: u64 = 1 << 15;
    /// Trailers on records other than samples.
    pub const SAMPLE_ID_ALL: u64 = 1 << 18;
    /// MMAP2 records.
    pub const MMAP2: u64 = 1 << 23;
    /// SWITCH records.
    pub const CONTEXT_SWITCH: u64 = 1 << 26;
    /// The ring is overwritten.
    pub const WRITE_BACKWARD: u64 = 1 << 27;
    /// Samples are packets in the AUX data of the group's leader.
    pub const AUX_OUTPUT: u64 = 1 << 31;
}

/// The part of `struct perf_event_attr` that recordings of memory accesses use; all else is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// PMU type.
    pub kind: u32,
    /// Bytes of the structure: 64 to 144 in the released kernels.
    pub size: u32,
    /// Event of the PMU.
    pub config: u64,
    /// Events between two samples.
    pub sample_period: u64,
    /// Fields of a sample, see [`sample_type`].
    pub sample_type: u64,
    /// Layout of counter values.
    pub read_format: u64,
    /// Flags, see [`flag`].
    pub flags: u64,
    /// Offset 56.
    pub config1: u64,
    /// Offset 52.
    pub bp_type: u32,
    /// Offset 64.
    pub config2: u64,
    /// Offset 80.
    pub sample_regs_user: u64,
    /// Offset 88.
    pub sample_stack_user: u32,
    /// Offset 96.
    pub sample_regs_intr: u64,
    /// Offset 104.
    pub aux_watermark: u32,
    /// Offset 128.
    pub config3: u64,
    /// Offset 136.
    pub config4: u64,
}

/// The flags word as a machine of this byte order lays out its bit-fields: on a big-endian one the first flag is
/// the most significant bit, and `precise_ip` keeps its two bits in order.
fn flags_word(flags: u64, endian: Endian) -> u64 {
    match endian {
        Endian::Little => flags,
        Endian::Big => {
            let precise = (flags >> 15) & 3;
            (flags & !(3 << 15)).reverse_bits() | (precise << (64 - 17))
        }
    }
}

impl Attr {
    /// Appends `size` bytes: the structure, cut or filled with zeros.
    pub fn write(&self, endian: Endian, out: &mut Vec<u8>) {
        let start = out.len();
        endian.u32(out, self.kind);
        endian.u32(out, self.size);
        endian.u64(out, self.config);
        endian.u64(out, self.sample_period);
        endian.u64(out, self.sample_type);
        endian.u64(out, self.read_format);
        endian.u64(out, flags_word(self.flags, endian));
        endian.u32(out, 0); // wakeup
        endian.u32(out, self.bp_type);
        endian.u64(out, self.config1);
        endian.u64(out, self.config2);
        endian.u64(out, 0); // branch_sample_type
        endian.u64(out, self.sample_regs_user);
        endian.u32(out, self.sample_stack_user);
        endian.u32(out, 0); // clockid
        endian.u64(out, self.sample_regs_intr);
        endian.u32(out, self.aux_watermark);
        endian.u32(out, 0); // sample_max_stack
        endian.u64(out, 0); // aux_sample_size, aux_action
        endian.u64(out, 0); // sig_data
        endian.u64(out, self.config3);
        endian.u64(out, self.config4);
        out.resize(start + self.size as usize, 0);
    }
}

/// An event: what was asked for, the ids the kernel gave it (one per CPU), its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What was asked for.
    pub attr: Attr,
    /// Ids, one per CPU.
    pub ids: Vec<u64>,
    /// As on perf's command line.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_mirrored_on_big_endian_machines() {
        let flags = flag::INHERIT | flag::SAMPLE_ID_ALL;
        assert_eq!(flags_word(flags, Endian::Little), 0x4_0002);
        assert_eq!(flags_word(flags, Endian::Big), 0x4000_2000_0000_0000);
        assert_eq!(flags_word(flag::PRECISE_1, Endian::Big), 1 << 47);
    }

    #[test]
    fn every_size_is_cut_or_filled() {
        for size in (64..=160).step_by(8) {
            let mut out = Vec::new();
            Attr { kind: 11, size, config4: 7, ..Attr::default() }.write(Endian::Little, &mut out);
            assert_eq!(out.len(), size as usize);
            assert_eq!(out[..8], [11, 0, 0, 0, size.to_le_bytes()[0], 0, 0, 0]);
            assert_eq!(out.get(136), (size >= 144).then_some(&7));
        }
    }
}
