//! `PERF_RECORD_SAMPLE`, with every field that a `sample_type` can ask for.

use super::attr::sample_type as st;
use super::record::{kind, write};
use crate::bytes::{Endian, align, low32};

/// Fields of `data_src` (`union perf_mem_data_src`).
pub mod data_src {
    /// Neither load nor store.
    pub const OP_NA: u64 = 1;
    /// Load.
    pub const OP_LOAD: u64 = 2;
    /// Store.
    pub const OP_STORE: u64 = 4;
    /// The level is not known.
    pub const LEVEL_NA: u64 = 1 << 5 | 0xf << 33;
    /// Level 1 hit.
    pub const LEVEL_L1: u64 = (0x2 | 0x8) << 5 | 1 << 33;
    /// Level 2 hit.
    pub const LEVEL_L2: u64 = (0x2 | 0x20) << 5 | 2 << 33;
    /// Level 3 hit.
    pub const LEVEL_L3: u64 = (0x2 | 0x40) << 5 | 3 << 33;
    /// Local memory.
    pub const LEVEL_RAM: u64 = (0x2 | 0x80) << 5 | 0xd << 33;
    /// Nothing is known about snooping.
    pub const SNOOP_NA: u64 = 1 << 19;
    /// No snoop.
    pub const SNOOP_NONE: u64 = 2 << 19;
    /// Nothing is known about locks.
    pub const LOCK_NA: u64 = 1 << 24;
    /// Nothing is known about the TLB.
    pub const TLB_NA: u64 = 1 << 26;
    /// Hit in the first TLB.
    pub const TLB_L1_HIT: u64 = (2 | 8) << 26;
}

/// A sample. Only the fields that `sample_type` has are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Cpumode, bits 2:0 of misc: kernel 1, user 2. Bit 14: the ip is exact.
    pub misc: u16,
    /// Id of the event (IDENTIFIER, ID).
    pub id: u64,
    /// Stream id.
    pub stream_id: u64,
    /// Instruction pointer.
    pub ip: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Time in ns.
    pub time: u64,
    /// Data virtual address, 0 for none.
    pub addr: u64,
    /// CPU.
    pub cpu: u32,
    /// Period.
    pub period: u64,
    /// The words of READ, as the event's `read_format` orders them.
    pub read: Vec<u64>,
    /// Call chain.
    pub callchain: Vec<u64>,
    /// Raw bytes; filled with zeros so that their count plus 4 is a multiple of 8.
    pub raw: Vec<u8>,
    /// Branches: from, to, flags.
    pub branches: Vec<[u64; 3]>,
    /// Registers of user space: one word per bit of the attr's mask; empty for none.
    pub regs_user: Vec<u64>,
    /// Bytes of the user stack; empty for none.
    pub stack_user: Vec<u8>,
    /// Weight: the whole, or var1 (32 bits), var2 and var3 (16 bits each) from the low end.
    pub weight: u64,
    /// Where the data came from, see [`data_src`].
    pub data_src: u64,
    /// Transaction flags.
    pub transaction: u64,
    /// Registers at the interrupt; empty for none.
    pub regs_intr: Vec<u64>,
    /// Data physical address, 0 for none.
    pub phys_addr: u64,
    /// Control group.
    pub cgroup: u64,
    /// Size of the page of the data in bytes.
    pub data_page_size: u64,
    /// Size of the page of the code in bytes.
    pub code_page_size: u64,
    /// Bytes of an AUX area.
    pub aux: Vec<u8>,
}

fn word(out: &mut Vec<u8>, endian: Endian, present: bool, value: u64) {
    if present {
        endian.u64(out, value);
    }
}

fn words(out: &mut Vec<u8>, endian: Endian, words: &[u64]) {
    words.iter().for_each(|&word| endian.u64(out, word));
}

fn registers(out: &mut Vec<u8>, endian: Endian, registers: &[u64]) {
    endian.u64(out, if registers.is_empty() { 0 } else { 2 }); // abi: none, 64 bits
    words(out, endian, registers);
}

impl Sample {
    /// Appends the record, fields in the kernel's order (which is not the order of the bits).
    pub fn write(&self, out: &mut Vec<u8>, endian: Endian, sample_type: u64) {
        let has = |bit| sample_type & bit != 0;
        write(out, endian, kind::SAMPLE, self.misc, |out| {
            word(out, endian, has(st::IDENTIFIER), self.id);
            word(out, endian, has(st::IP), self.ip);
            if has(st::TID) {
                endian.u32(out, self.pid);
                endian.u32(out, self.tid);
            }
            word(out, endian, has(st::TIME), self.time);
            word(out, endian, has(st::ADDR), self.addr);
            word(out, endian, has(st::ID), self.id);
            word(out, endian, has(st::STREAM_ID), self.stream_id);
            if has(st::CPU) {
                endian.u32(out, self.cpu);
                endian.u32(out, 0);
            }
            word(out, endian, has(st::PERIOD), self.period);
            self.middle(out, endian, &has);
            if has(st::WEIGHT) {
                endian.u64(out, self.weight);
            } else if has(st::WEIGHT_STRUCT) {
                self.weight_struct(out, endian);
            }
            word(out, endian, has(st::DATA_SRC), self.data_src);
            word(out, endian, has(st::TRANSACTION), self.transaction);
            if has(st::REGS_INTR) {
                registers(out, endian, &self.regs_intr);
            }
            word(out, endian, has(st::PHYS_ADDR), self.phys_addr);
            word(out, endian, has(st::CGROUP), self.cgroup);
            word(out, endian, has(st::DATA_PAGE_SIZE), self.data_page_size);
            word(out, endian, has(st::CODE_PAGE_SIZE), self.code_page_size);
            if has(st::AUX) {
                endian.u64(out, self.aux.len() as u64);
                out.extend_from_slice(&self.aux);
            }
        });
    }

    /// The fields of variable length between PERIOD and WEIGHT.
    fn middle(&self, out: &mut Vec<u8>, endian: Endian, has: &impl Fn(u64) -> bool) {
        if has(st::READ) {
            words(out, endian, &self.read);
        }
        if has(st::CALLCHAIN) {
            endian.u64(out, self.callchain.len() as u64);
            words(out, endian, &self.callchain);
        }
        if has(st::RAW) {
            let size = (self.raw.len() + 4).next_multiple_of(8) - 4;
            endian.u32(out, u32::try_from(size).expect("a sample is shorter than 64 KiB"));
            out.extend_from_slice(&self.raw);
            out.resize(out.len() + size - self.raw.len(), 0);
        }
        if has(st::BRANCH_STACK) {
            endian.u64(out, self.branches.len() as u64);
            self.branches.iter().for_each(|branch| words(out, endian, branch));
        }
        if has(st::REGS_USER) {
            registers(out, endian, &self.regs_user);
        }
        if has(st::STACK_USER) {
            let mut stack = self.stack_user.clone();
            align(&mut stack, 8);
            endian.u64(out, stack.len() as u64);
            out.extend_from_slice(&stack);
            if !stack.is_empty() {
                endian.u64(out, self.stack_user.len() as u64);
            }
        }
    }

    /// `struct { u32 var1; u16 var2, var3; }`, on a big-endian machine the other way round, so that the 64 bits
    /// mean the same on both.
    fn weight_struct(&self, out: &mut Vec<u8>, endian: Endian) {
        let (var1, high) = (low32(self.weight), low32(self.weight >> 32).to_be_bytes());
        let var3 = u16::from_be_bytes([high[0], high[1]]);
        let var2 = u16::from_be_bytes([high[2], high[3]]);
        match endian {
            Endian::Little => {
                endian.u32(out, var1);
                endian.u16(out, var2);
                endian.u16(out, var3);
            }
            Endian::Big => {
                endian.u16(out, var3);
                endian.u16(out, var2);
                endian.u32(out, var1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_order() {
        let sample = Sample {
            misc: 2,
            id: 1,
            ip: 2,
            pid: 3,
            tid: 4,
            time: 5,
            addr: 6,
            stream_id: 7,
            cpu: 8,
            period: 9,
            read: vec![10],
            callchain: vec![11],
            raw: vec![12],
            branches: vec![[13, 14, 15]],
            regs_user: vec![16],
            stack_user: vec![17],
            weight: 18,
            data_src: 19,
            transaction: 20,
            regs_intr: vec![21],
            phys_addr: 22,
            cgroup: 23,
            data_page_size: 24,
            code_page_size: 25,
            aux: vec![26; 8],
        };
        let mut out = Vec::new();
        sample.write(&mut out, Endian::Little, (1 << 25) - 1);
        let words: Vec<u64> = out
            .chunks(8)
            .map(|b| u64::from_le_bytes(b.try_into().expect("multiples of 8")))
            .collect();
        let size = (out.len() as u64) << 48;
        #[rustfmt::skip]
        let want = [
            size | 2 << 32 | 9, 1, 2, 4 << 32 | 3, 5, 6, 1, 7, 8, 9, 10, 1, 11, 12 << 32 | 4, 1, 13, 14, 15, 2, 16,
            8, 17, 1, 18, 19, 20, 2, 21, 22, 23, 24, 25, 8, 0x1a1a_1a1a_1a1a_1a1a,
        ];
        assert_eq!(words, want);
    }

    #[test]
    fn weight_struct_is_one_number_on_both() {
        let sample = Sample { weight: 0x0003_0002_0000_0001, ..Sample::default() };
        let mut out = Vec::new();
        sample.write(&mut out, Endian::Big, st::WEIGHT_STRUCT);
        assert_eq!(out[8..], [0, 3, 0, 2, 0, 0, 0, 1]);
        out.clear();
        sample.write(&mut out, Endian::Little, st::WEIGHT_STRUCT);
        assert_eq!(out[8..], [1, 0, 0, 0, 2, 0, 3, 0]);
    }
}
