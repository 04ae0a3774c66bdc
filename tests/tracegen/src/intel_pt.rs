//! Intel Processor Trace with PEBS records in it, byte for byte as the manual's tables have the packets
//! (Software Developer's Manual, volume 3, "Intel Processor Trace"): so much of it as a trace of samples holds.

/// Types of blocks.
pub mod block {
    /// Registers.
    pub const REGISTERS: u8 = 0x01;
    /// Instruction, counters, time.
    pub const BASIC: u8 = 0x04;
    /// Address, auxiliary information, latency.
    pub const MEMORY: u8 = 0x05;
    /// Vector registers.
    pub const VECTORS: u8 = 0x10;
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// PAD.
    Pad,
    /// PSB: a decoder can start here.
    Psb,
    /// PSBEND: the state that follows a PSB is complete.
    PsbEnd,
    /// TSC: 56 bits of it.
    Tsc(u64),
    /// CBR: the core's clock as a multiple of the bus'.
    Cbr(u8),
    /// MTC: a part of the always running timer.
    Mtc(u8),
    /// CYC with one byte: up to 31 cycles.
    Cyc(u8),
    /// TNT with six branches, all of them taken.
    Taken,
    /// MODE.Exec of 64-bit code.
    Mode,
    /// TIP.PGE: tracing starts at this address.
    Start(u64),
    /// TIP.PGD: tracing ends.
    Stop,
    /// FUP with a whole address.
    Fup(u64),
    /// OVF: packets were lost.
    Overflow,
    /// BBP: a block of this type begins. Its items have four bytes, or else eight.
    BlockBegin(u8, bool),
    /// BIP with eight bytes.
    Item(u8, u64),
    /// BIP with four bytes.
    ShortItem(u8, u32),
    /// BEP: the record ends. Whether a FUP follows.
    BlockEnd(bool),
}

impl Packet {
    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Pad => out.push(0x00),
            Self::Psb => (0..8).for_each(|_| out.extend([0x02, 0x82])),
            Self::PsbEnd => out.extend([0x02, 0x23]),
            Self::Tsc(ticks) => {
                out.push(0x19);
                out.extend(&ticks.to_le_bytes()[..7]);
            }
            Self::Cbr(ratio) => out.extend([0x02, 0x03, ratio, 0x00]),
            Self::Mtc(time) => out.extend([0x59, time]),
            Self::Cyc(cycles) => out.push(cycles << 3 | 0x03),
            Self::Taken => out.push(0b1111_1110),
            Self::Mode => out.extend([0x99, 0x01]),
            Self::Start(address) => {
                // Compression 6: all eight bytes follow.
                out.push(6 << 5 | 0x11);
                out.extend(address.to_le_bytes());
            }
            Self::Stop => out.push(0x01),
            Self::Fup(address) => {
                out.push(6 << 5 | 0x1d);
                out.extend(address.to_le_bytes());
            }
            Self::Overflow => out.extend([0x02, 0xf3]),
            Self::BlockBegin(kind, short) => {
                out.extend([0x02, 0x63, kind | u8::from(short) << 7]);
            }
            Self::Item(number, value) => {
                out.push(number << 3 | 0x04);
                out.extend(value.to_le_bytes());
            }
            Self::ShortItem(number, value) => {
                out.push(number << 3 | 0x04);
                out.extend(value.to_le_bytes());
            }
            Self::BlockEnd(address) => out.extend([0x02, u8::from(address) << 7 | 0x33]),
        }
    }
}

/// Appends packets.
pub fn write(out: &mut Vec<u8>, packets: &[Packet]) {
    packets.iter().for_each(|packet| packet.write(out));
}

/// A PSB and the state behind it, without an address.
pub fn sync(ticks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write(
        &mut out,
        &[
            Packet::Psb,
            Packet::Pad,
            Packet::Tsc(ticks),
            Packet::Cbr(24),
            Packet::Mode,
            Packet::PsbEnd,
        ],
    );
    out
}

/// A PEBS record. What it does not have is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pebs {
    /// Address of the instruction.
    pub ip: Option<u64>,
    /// A bit for each counter that asked for it.
    pub counters: Option<u64>,
    /// TSC.
    pub ticks: Option<u64>,
    /// Address of the data.
    pub address: Option<u64>,
    /// Auxiliary information.
    pub auxiliary: Option<u64>,
    /// Latency.
    pub latency: Option<u64>,
    /// With a block of registers, in items of four bytes, of which item 1 is this one.
    pub rip: Option<u32>,
}

impl Pebs {
    /// Appends its packets.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(rip) = self.rip {
            Packet::BlockBegin(block::REGISTERS, true).write(out);
            Packet::ShortItem(0, 0x246).write(out);
            Packet::ShortItem(1, rip).write(out);
            Packet::ShortItem(17, 0xffff_ffff).write(out);
        }
        Packet::BlockBegin(block::BASIC, false).write(out);
        for (number, value) in [(0, self.ip), (1, self.counters), (2, self.ticks)] {
            value.iter().for_each(|value| Packet::Item(number, *value).write(out));
        }
        Packet::BlockBegin(block::MEMORY, false).write(out);
        for (number, value) in [(0, self.address), (1, self.auxiliary), (2, self.latency)] {
            value.iter().for_each(|value| Packet::Item(number, *value).write(out));
        }
        Packet::BlockEnd(false).write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_by_hand() {
        let mut out = Vec::new();
        let record = Pebs {
            ip: Some(0x40_1000),
            counters: Some(1),
            address: Some(0x7f01_0203_0405),
            latency: Some(0x20),
            ..Pebs::default()
        };
        record.write(&mut out);
        #[rustfmt::skip]
        let want = [
            0x02, 0x63, 0x04,
            0x04, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0,
            0x0c, 1, 0, 0, 0, 0, 0, 0, 0,
            0x02, 0x63, 0x05,
            0x04, 0x05, 0x04, 0x03, 0x02, 0x01, 0x7f, 0, 0,
            0x14, 0x20, 0, 0, 0, 0, 0, 0, 0,
            0x02, 0x33,
        ];
        assert_eq!(out, want);
    }

    #[test]
    fn packets_by_hand() {
        let mut out = Vec::new();
        write(
            &mut out,
            &[
                Packet::Tsc(0x07_0605_0403_0201),
                Packet::Cyc(31),
                Packet::BlockBegin(block::VECTORS, true),
                Packet::ShortItem(31, 0x0403_0201),
                Packet::BlockEnd(true),
                Packet::Fup(0x0102),
                Packet::Start(0x0304),
                Packet::Stop,
            ],
        );
        #[rustfmt::skip]
        let want = [
            0x19, 1, 2, 3, 4, 5, 6, 7,
            0xfb,
            0x02, 0x63, 0x90,
            0xfc, 1, 2, 3, 4,
            0x02, 0xb3,
            0xdd, 2, 1, 0, 0, 0, 0, 0, 0,
            0xd1, 4, 3, 0, 0, 0, 0, 0, 0,
            0x01,
        ];
        assert_eq!(out, want);
        assert_eq!(sync(1).len(), 16 + 1 + 8 + 4 + 2 + 2);
    }
}
