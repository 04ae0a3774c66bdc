//! Arm SPE packets and records, written from the tables of the manual (DDI 0487, chapter D18).

use crate::bytes::low8;
use crate::rng::Rng;

/// Indexes of Address packets (DDI 0487, D18.2.1 Address packet).
pub mod address {
    /// Virtual address of the sampled operation.
    pub const PC: u8 = 0;
    /// Target of the sampled branch.
    pub const BRANCH_TARGET: u8 = 1;
    /// Virtual address of the data.
    pub const DATA_VIRTUAL: u8 = 2;
    /// Physical address of the data.
    pub const DATA_PHYSICAL: u8 = 3;
    /// Target of the branch taken before the sampled operation.
    pub const PREVIOUS_TARGET: u8 = 4;

    /// NS, bit 63 of a code address and of a physical address.
    pub const NON_SECURE: u64 = 1 << 63;
    /// Bits 55:0, the address itself.
    pub const MASK: u64 = (1 << 56) - 1;

    /// The payload of a code address: EL in bits 62:61, NS in bit 63.
    pub const fn code(address: u64, level: u8) -> u64 {
        NON_SECURE | ((level as u64 & 3) << 61) | (address & MASK)
    }

    /// The payload of a data virtual address: the tag in bits 63:56.
    pub const fn data(address: u64, tag: u8) -> u64 {
        ((tag as u64) << 56) | (address & MASK)
    }

    /// The payload of a non-secure physical address; CH is bit 62, PAT is bits 59:56.
    pub const fn physical(address: u64, checked: bool, tag: u8) -> u64 {
        NON_SECURE | ((checked as u64) << 62) | ((tag as u64 & 15) << 56) | (address & MASK)
    }
}

/// Indexes of Counter packets (DDI 0487, D18.2.3 Counter packet).
pub mod counter {
    /// Cycles from dispatch to completion.
    pub const TOTAL: u8 = 0;
    /// Cycles from dispatch to issue.
    pub const ISSUE: u8 = 1;
    /// Cycles of address translation.
    pub const TRANSLATION: u8 = 2;
    /// Issue latency by another clock.
    pub const ALTERNATE_ISSUE: u8 = 4;
}

/// Bits of the Events packet (DDI 0487, D18.2.6 Events packet).
pub mod event {
    /// Bit 1: architecturally retired.
    pub const RETIRED: u64 = 1 << 1;
    /// Bit 2: level 1 data cache access.
    pub const L1D_ACCESS: u64 = 1 << 2;
    /// Bit 3: level 1 data cache refill.
    pub const L1D_REFILL: u64 = 1 << 3;
    /// Bit 4: TLB access.
    pub const TLB_ACCESS: u64 = 1 << 4;
    /// Bit 5: TLB walk.
    pub const TLB_WALK: u64 = 1 << 5;
    /// Bit 6: condition failed, branch not taken.
    pub const NOT_TAKEN: u64 = 1 << 6;
    /// Bit 7: mispredicted.
    pub const MISPREDICTED: u64 = 1 << 7;
    /// Bit 8: last-level cache access.
    pub const LLC_ACCESS: u64 = 1 << 8;
    /// Bit 9: last-level cache miss.
    pub const LLC_MISS: u64 = 1 << 9;
    /// Bit 10: access to another socket.
    pub const REMOTE: u64 = 1 << 10;
}

/// Classes and payloads of the Operation Type packet (DDI 0487, D18.2.7 Operation Type packet).
pub mod operation {
    /// Class 0: neither memory nor branch.
    pub const OTHER: u8 = 0;
    /// Class 1: load, store or atomic.
    pub const MEMORY: u8 = 1;
    /// Class 2: branch or exception return.
    pub const BRANCH: u8 = 2;

    /// Bit 0 of class 1: does not read memory.
    pub const STORE: u8 = 1;
    /// General-purpose registers.
    pub const GENERAL: u8 = 0x00;
    /// SIMD and floating-point registers.
    pub const SIMD: u8 = 0x04;
    /// Unspecified registers.
    pub const UNSPECIFIED: u8 = 0x10;
    /// Allocation tags.
    pub const TAG: u8 = 0x14;
    /// Atomic: extended (bit 1) with AT (bit 2).
    pub const ATOMIC: u8 = 0x06;
    /// Exclusive: extended with EXCL (bit 3).
    pub const EXCLUSIVE: u8 = 0x0a;
    /// Acquire or release: extended with AR (bit 4).
    pub const ACQUIRE_RELEASE: u8 = 0x12;
    /// SVE registers of 128 bits, predicated: EVL 2 in bits 6:4, bit 3, PRED in bit 2.
    pub const SVE_PREDICATED: u8 = 0x2c;
    /// SVE gather or scatter: bit 7.
    pub const SVE_GATHER: u8 = 0xa8;
    /// Memory copy.
    pub const COPY: u8 = 0x20;
    /// Memory set, always a store.
    pub const SET: u8 = 0x25;

    /// Bit 0 of class 2: conditional.
    pub const CONDITIONAL: u8 = 1;
    /// Bit 1 of class 2: indirect.
    pub const INDIRECT: u8 = 2;

    /// Whether a class 1 payload is an atomic operation: extended with AT set.
    pub const fn is_atomic(payload: u8) -> bool {
        payload & 0xe2 == 0x02 && payload & 0x04 != 0
    }
}

/// Values of the Data Source packet on Neoverse N1 (DDI 0487, D18.2.4 Data Source packet: implementation defined).
pub mod source {
    /// Level 1 data cache.
    pub const L1D: u16 = 0x0;
    /// Level 2 cache.
    pub const L2: u16 = 0x8;
    /// Another core of the cluster.
    pub const PEER_CORE: u16 = 0x9;
    /// The cluster's cache.
    pub const LOCAL_CLUSTER: u16 = 0xa;
    /// System cache.
    pub const SYSTEM_CACHE: u16 = 0xb;
    /// Another cluster.
    pub const PEER_CLUSTER: u16 = 0xc;
    /// Another socket.
    pub const REMOTE: u16 = 0xd;
    /// Memory.
    pub const DRAM: u16 = 0xe;
}

/// MIDR_EL1 of a Neoverse N1, revision r0p0.
pub const MIDR_NEOVERSE_N1: u64 = 0x410f_d0c0;

/// How many payload bytes a packet has whose header allows a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl Width {
    const fn size_field(self) -> u8 {
        match self {
            Self::One => 0b00,
            Self::Two => 0b01,
            Self::Four => 0b10,
            Self::Eight => 0b11,
        }
    }

    const fn bytes(self) -> usize {
        1 << self.size_field()
    }
}

/// One packet. Payloads are given as they stand in the trace, attribute bits included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `0000 0000` (DDI 0487, D18.1.3).
    Padding,
    /// `0000 0001`: the end of a record without a timestamp (D18.1.2).
    End,
    /// `0111 0001` and 8 bytes: time and end of a record (D18.2.9 Timestamp packet).
    Timestamp(u64),
    /// `01ss 0010` (D18.2.6 Events packet).
    Events {
        /// The events that happened, one bit each.
        bits: u64,
        /// Payload size; bits beyond it are not written.
        width: Width,
    },
    /// `01ss 0011`, one or two bytes (D18.2.4 Data Source packet).
    DataSource {
        /// Where the data came from.
        value: u16,
        /// [`Width::One`] or [`Width::Two`].
        width: Width,
    },
    /// `0110 01ii` and 4 bytes (D18.2.2 Context packet).
    Context {
        /// 0 for CONTEXTIDR_EL1, 1 for CONTEXTIDR_EL2.
        index: u8,
        /// The register's value, on Linux the thread id.
        value: u32,
    },
    /// `0100 10cc` and 1 byte (D18.2.7 Operation Type packet).
    Operation {
        /// Class, see [`operation`].
        class: u8,
        /// Subclass and flags.
        payload: u8,
    },
    /// `1011 0iii`, or `0010 00hh 1011 0lll` for indexes above 7, and 8 bytes (D18.2.1 Address packet).
    Address {
        /// Which address, see [`address`]; 0 to 31.
        index: u8,
        /// Address and attributes.
        payload: u64,
    },
    /// `1001 1iii`, or `0010 00hh 1001 1lll` for indexes above 7, and 2 bytes (D18.2.3 Counter packet).
    Counter {
        /// Which counter, see [`counter`]; 0 to 31.
        index: u8,
        /// Cycles.
        value: u16,
    },
    /// As [`Packet::Address`], always with the two-byte header, which is legal for indexes 0 to 7 too.
    ExtendedAddress {
        /// Which address; 0 to 31.
        index: u8,
        /// Address and attributes.
        payload: u64,
    },
    /// As [`Packet::Counter`], always with the two-byte header.
    ExtendedCounter {
        /// Which counter; 0 to 31.
        index: u8,
        /// Cycles.
        value: u16,
    },
    /// `0010 nnnn 0000 0000`: skip to an alignment, removed from the architecture with Armv8.5.
    Alignment(u8),
    /// A reserved header of one byte with its payload, whose size the header tells (D18.1.1): readers skip it.
    Reserved {
        /// The header byte, 0x40 or above.
        header: u8,
        /// Payload bytes; as many are written as the header says.
        payload: u64,
    },
}

impl Packet {
    /// Appends the packet's bytes.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Padding => out.push(0b0000_0000),
            Self::End => out.push(0b0000_0001),
            Self::Timestamp(ticks) => {
                out.push(0b0111_0001);
                out.extend_from_slice(&ticks.to_le_bytes());
            }
            Self::Events { bits, width } => {
                out.push(0b0100_0010 | (width.size_field() << 4));
                out.extend_from_slice(&bits.to_le_bytes()[..width.bytes()]);
            }
            Self::DataSource { value, width } => {
                out.push(0b0100_0011 | (width.size_field() << 4));
                out.extend_from_slice(&u64::from(value).to_le_bytes()[..width.bytes()]);
            }
            Self::Context { index, value } => {
                out.push(0b0110_0100 | (index & 0b11));
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Operation { class, payload } => {
                out.extend_from_slice(&[0b0100_1000 | (class & 0b11), payload]);
            }
            Self::Address { index, payload } if index < 8 => {
                out.push(0b1011_0000 | index);
                out.extend_from_slice(&payload.to_le_bytes());
            }
            Self::Counter { index, value } if index < 8 => {
                out.push(0b1001_1000 | index);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Address { index, payload } | Self::ExtendedAddress { index, payload } => {
                out.extend_from_slice(&[0b0010_0000 | (index >> 3), 0b1011_0000 | (index & 0b111)]);
                out.extend_from_slice(&payload.to_le_bytes());
            }
            Self::Counter { index, value } | Self::ExtendedCounter { index, value } => {
                out.extend_from_slice(&[0b0010_0000 | (index >> 3), 0b1001_1000 | (index & 0b111)]);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Alignment(n) => out.extend_from_slice(&[0b0010_0000 | (n & 0b1111), 0]),
            Self::Reserved { header, payload } => {
                out.push(header);
                let size = 1usize << ((header >> 4) & 0b11);
                out.extend_from_slice(&payload.to_le_bytes()[..size]);
            }
        }
    }
}

/// In which order a processor writes the packets of a record, and how it fills the gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 64-byte slots, as on Neoverse N1: absent packets leave zeros.
    N1,
    /// Packed, 44 bytes for a memory record without a timestamp.
    Hw,
    /// The physical address before the translation counter, one-byte events, as Arm's model writes.
    Model,
    /// Four-byte events and the EL2 context, 64 bytes.
    Hi,
    /// Packets in any order, short and extended headers, padding anywhere.
    Mix,
    /// Operation and physical address alone: 12 bytes without a timestamp, for long streams of many accesses.
    Short,
}

impl Layout {
    /// All layouts with their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("n1", Self::N1),
        ("hw", Self::Hw),
        ("model", Self::Model),
        ("hi", Self::Hi),
        ("mix", Self::Mix),
        ("short", Self::Short),
    ];

    /// Whether records of this layout carry a Context packet.
    pub const fn has_context(self) -> bool {
        !matches!(self, Self::Hw | Self::Model | Self::Short)
    }

    /// Whether records of this layout carry a Data Source packet.
    pub const fn has_source(self) -> bool {
        !matches!(self, Self::Model | Self::Short)
    }
}

/// What one sampled operation left: each field is a packet, if present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Payload of the PC packet.
    pub pc: Option<u64>,
    /// Payload of the branch target packet.
    pub target: Option<u64>,
    /// Payload of the previous branch target packet.
    pub previous_target: Option<u64>,
    /// Payload of the data virtual address packet.
    pub va: Option<u64>,
    /// Payload of the data physical address packet.
    pub pa: Option<u64>,
    /// Class and payload of the operation type packet.
    pub operation: Option<(u8, u8)>,
    /// Events.
    pub events: Option<u64>,
    /// Total latency.
    pub total: Option<u16>,
    /// Issue latency.
    pub issue: Option<u16>,
    /// Translation latency.
    pub translation: Option<u16>,
    /// Data source.
    pub source: Option<u16>,
    /// Index and value of the context packet.
    pub context: Option<(u8, u32)>,
    /// The timestamp; without one the record finishes with an End packet.
    pub timestamp: Option<u64>,
}

/// How many bytes a record took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of packets other than padding.
    pub packets: u64,
    /// Padding packets, inside the record and behind it.
    pub padding: u64,
    /// The part of `padding` that stands behind the record's last packet.
    pub tail: u64,
}

struct Cursor<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    padding: usize,
    tail: usize,
}

impl Cursor<'_> {
    fn put(&mut self, packet: Packet) {
        self.tail = 0;
        packet.write(self.out);
    }

    fn pad(&mut self, count: usize) {
        self.padding += count;
        self.tail += count;
        self.out.resize(self.out.len() + count, 0);
    }

    /// The packet, or zeros in its place.
    fn slot(&mut self, packet: Option<Packet>, size: usize) {
        match packet {
            Some(packet) => self.put(packet),
            None => self.pad(size),
        }
    }

    fn optional(&mut self, packet: Option<Packet>) {
        if let Some(packet) = packet {
            self.put(packet);
        }
    }

    fn written(&self) -> usize {
        self.out.len() - self.start
    }

    fn done(self) -> Encoded {
        let packets = (self.out.len() - self.start - self.padding) as u64;
        Encoded { packets, padding: self.padding as u64, tail: self.tail as u64 }
    }
}

fn address(index: u8, payload: Option<u64>) -> Option<Packet> {
    payload.map(|payload| Packet::Address { index, payload })
}

fn counter(index: u8, value: Option<u16>) -> Option<Packet> {
    value.map(|value| Packet::Counter { index, value })
}

impl Record {
    fn events(&self, width: Width) -> Option<Packet> {
        self.events.map(|bits| Packet::Events { bits, width })
    }

    fn operation(&self) -> Option<Packet> {
        self.operation.map(|(class, payload)| Packet::Operation { class, payload })
    }

    fn context(&self) -> Option<Packet> {
        self.context.map(|(index, value)| Packet::Context { index, value })
    }

    /// The data source packet, two bytes wide only where the value needs it.
    fn source(&self) -> Option<Packet> {
        let width = |value| if value > 0xff { Width::Two } else { Width::One };
        self.source.map(|value| Packet::DataSource { value, width: width(value) })
    }

    fn last(&self) -> Packet {
        self.timestamp.map_or(Packet::End, Packet::Timestamp)
    }

    /// Appends the record. `rng` decides the order and the padding of [`Layout::Mix`] and nothing else.
    pub fn write(&self, layout: Layout, rng: &mut Rng, out: &mut Vec<u8>) -> Encoded {
        let start = out.len();
        let mut cursor = Cursor { out, start, padding: 0, tail: 0 };
        match layout {
            Layout::N1 => self.write_n1(&mut cursor),
            Layout::Hw => self.write_hw(&mut cursor),
            Layout::Model => self.write_model(&mut cursor),
            Layout::Hi => self.write_hi(&mut cursor),
            Layout::Mix => self.write_mix(&mut cursor, rng),
            Layout::Short => self.write_short(&mut cursor),
        }
        cursor.done()
    }

    fn write_n1(&self, to: &mut Cursor<'_>) {
        to.slot(address(address::PC, self.pc), 9);
        to.pad(5);
        to.slot(self.context(), 5);
        to.slot(self.operation(), 2);
        to.slot(self.events(Width::Two), 3);
        to.slot(counter(counter::ISSUE, self.issue), 3);
        to.slot(counter(counter::TOTAL, self.total), 3);
        let data = address(address::DATA_VIRTUAL, self.va);
        to.slot(data.or(address(address::BRANCH_TARGET, self.target)), 9);
        to.slot(counter(counter::TRANSLATION, self.translation), 3);
        to.slot(address(address::DATA_PHYSICAL, self.pa), 9);
        to.slot(self.source(), 2);
        to.pad(2);
        to.put(self.last());
        to.pad(64 - to.written());
    }

    fn write_hw(&self, to: &mut Cursor<'_>) {
        to.optional(address(address::PC, self.pc));
        to.optional(counter(counter::ISSUE, self.issue));
        to.optional(counter(counter::TOTAL, self.total));
        to.optional(self.events(Width::Two));
        to.optional(self.operation());
        to.optional(address(address::BRANCH_TARGET, self.target));
        to.optional(address(address::DATA_VIRTUAL, self.va));
        to.optional(counter(counter::TRANSLATION, self.translation));
        to.optional(address(address::DATA_PHYSICAL, self.pa));
        to.slot(self.source(), 2);
        to.put(self.last());
    }

    fn write_model(&self, to: &mut Cursor<'_>) {
        to.optional(self.operation());
        to.optional(address(address::DATA_VIRTUAL, self.va));
        to.optional(address(address::DATA_PHYSICAL, self.pa));
        to.optional(counter(counter::TRANSLATION, self.translation));
        to.optional(self.events(Width::One));
        to.optional(address(address::PC, self.pc));
        to.optional(address(address::BRANCH_TARGET, self.target));
        to.optional(counter(counter::TOTAL, self.total));
        to.put(self.last());
    }

    fn write_hi(&self, to: &mut Cursor<'_>) {
        to.optional(address(address::PC, self.pc));
        to.optional(self.context());
        to.optional(self.events(Width::Four));
        to.optional(self.operation());
        to.optional(counter(counter::ISSUE, self.issue));
        to.optional(counter(counter::TOTAL, self.total));
        to.optional(address(address::BRANCH_TARGET, self.target));
        to.optional(address(address::DATA_VIRTUAL, self.va));
        to.optional(counter(counter::TRANSLATION, self.translation));
        to.optional(address(address::DATA_PHYSICAL, self.pa));
        to.optional(self.source());
        let last = if self.timestamp.is_some() { 9 } else { 1 };
        to.pad((64 - last) - to.written().min(64 - last));
        to.put(self.last());
    }

    fn write_short(&self, to: &mut Cursor<'_>) {
        to.optional(self.operation());
        to.optional(address(address::DATA_PHYSICAL, self.pa));
        to.put(self.last());
    }

    fn write_mix(&self, to: &mut Cursor<'_>, rng: &mut Rng) {
        let width = match self.events {
            Some(bits) if bits > 0xffff => rng.choose(&[Width::Four, Width::Eight]),
            Some(bits) if bits > 0xff => rng.choose(&[Width::Two, Width::Four, Width::Eight]),
            _ => rng.choose(&[Width::One, Width::Two, Width::Four, Width::Eight]),
        };
        let mut packets = [Packet::Padding; 13];
        let mut count = 0;
        let all = [
            address(address::PC, self.pc),
            address(address::BRANCH_TARGET, self.target),
            address(address::PREVIOUS_TARGET, self.previous_target),
            address(address::DATA_VIRTUAL, self.va),
            address(address::DATA_PHYSICAL, self.pa),
            counter(counter::TOTAL, self.total),
            counter(counter::ISSUE, self.issue),
            counter(counter::TRANSLATION, self.translation),
            self.events(width),
            self.operation(),
            self.context(),
            self.source(),
        ];
        for packet in all.into_iter().flatten() {
            packets[count] = packet;
            count += 1;
        }
        rng.shuffle(&mut packets[..count]);
        for packet in &packets[..count] {
            if rng.percent(10) {
                to.pad(usize::from(low8(rng.between(1, 9))));
            }
            to.put(match *packet {
                Packet::Address { index, payload } if rng.percent(10) => {
                    Packet::ExtendedAddress { index, payload }
                }
                Packet::Counter { index, value } if rng.percent(10) => {
                    Packet::ExtendedCounter { index, value }
                }
                Packet::DataSource { value, .. } if rng.percent(20) => {
                    Packet::DataSource { value, width: Width::Two }
                }
                packet => packet,
            });
        }
        to.put(self.last());
        if rng.percent(20) {
            to.pad(usize::from(low8(rng.between(1, 40))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(packets: &[Packet]) -> Vec<u8> {
        let mut out = Vec::new();
        packets.iter().for_each(|packet| packet.write(&mut out));
        out
    }

    #[test]
    fn every_header() {
        let cases: &[(&str, Packet, &[u8])] = &[
            ("padding", Packet::Padding, &[0x00]),
            ("end", Packet::End, &[0x01]),
            ("timestamp", Packet::Timestamp(42), &[0x71, 0x2a, 0, 0, 0, 0, 0, 0, 0]),
            ("events 1", Packet::Events { bits: 0x16, width: Width::One }, &[0x42, 0x16]),
            ("events 2", Packet::Events { bits: 0x116, width: Width::Two }, &[0x52, 0x16, 0x01]),
            ("events 4", Packet::Events { bits: 1 << 24, width: Width::Four }, &[0x62, 0, 0, 0, 1]),
            (
                "events 8",
                Packet::Events { bits: 1 << 63, width: Width::Eight },
                &[0x72, 0, 0, 0, 0, 0, 0, 0, 0x80],
            ),
            ("source 1", Packet::DataSource { value: 0xe, width: Width::One }, &[0x43, 0x0e]),
            (
                "source 2",
                Packet::DataSource { value: 0x10e, width: Width::Two },
                &[0x53, 0x0e, 0x01],
            ),
            ("context EL1", Packet::Context { index: 0, value: 4242 }, &[0x64, 0x92, 0x10, 0, 0]),
            ("context EL2", Packet::Context { index: 1, value: 777 }, &[0x65, 0x09, 0x03, 0, 0]),
            ("other", Packet::Operation { class: 0, payload: 1 }, &[0x48, 0x01]),
            ("atomic", Packet::Operation { class: 1, payload: operation::ATOMIC }, &[0x49, 0x06]),
            ("branch", Packet::Operation { class: 2, payload: 3 }, &[0x4a, 0x03]),
            (
                "pc",
                Packet::Address { index: 0, payload: 1 << 63 },
                &[0xb0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            ),
            (
                "pa",
                Packet::Address { index: 3, payload: 0x1000 },
                &[0xb3, 0, 0x10, 0, 0, 0, 0, 0, 0],
            ),
            (
                "address 17",
                Packet::Address { index: 17, payload: 5 },
                &[0x22, 0xb1, 5, 0, 0, 0, 0, 0, 0, 0],
            ),
            (
                "address 31",
                Packet::Address { index: 31, payload: 5 },
                &[0x23, 0xb7, 5, 0, 0, 0, 0, 0, 0, 0],
            ),
            (
                "pc, extended",
                Packet::ExtendedAddress { index: 0, payload: 5 },
                &[0x20, 0xb0, 5, 0, 0, 0, 0, 0, 0, 0],
            ),
            ("counter 0", Packet::Counter { index: 0, value: 20 }, &[0x98, 20, 0]),
            ("counter 2", Packet::Counter { index: 2, value: 0xfff }, &[0x9a, 0xff, 0x0f]),
            ("counter 16", Packet::Counter { index: 16, value: 1 }, &[0x22, 0x98, 1, 0]),
            (
                "counter 1, extended",
                Packet::ExtendedCounter { index: 1, value: 1 },
                &[0x20, 0x99, 1, 0],
            ),
            ("alignment", Packet::Alignment(3), &[0x23, 0x00]),
            ("reserved, 1 byte", Packet::Reserved { header: 0x44, payload: 9 }, &[0x44, 9]),
            (
                "reserved, 8 bytes",
                Packet::Reserved { header: 0xf1, payload: 9 },
                &[0xf1, 9, 0, 0, 0, 0, 0, 0, 0],
            ),
        ];
        for (name, packet, want) in cases {
            assert_eq!(bytes(&[*packet]), *want, "{name}");
        }
    }

    /// A load as a Neoverse core writes it, with zeros in the slots of absent packets: 64 bytes.
    #[test]
    fn the_example_record() {
        let mut packets = vec![
            Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
            Packet::Context { index: 0, value: 4242 },
            Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
            Packet::Events {
                bits: event::RETIRED | event::L1D_ACCESS | event::TLB_ACCESS,
                width: Width::Two,
            },
            Packet::Counter { index: counter::ISSUE, value: 4 },
            Packet::Counter { index: counter::TOTAL, value: 20 },
            Packet::Address {
                index: address::DATA_VIRTUAL,
                payload: address::data(0xffff_0e37_0309_6b28, 0),
            },
            Packet::Counter { index: counter::TRANSLATION, value: 1 },
            Packet::Address {
                index: address::DATA_PHYSICAL,
                payload: address::physical(0x12_3456_7000, false, 0),
            },
            Packet::DataSource { value: source::L1D, width: Width::One },
        ];
        packets.extend([Packet::Padding; 7]);
        packets.push(Packet::Timestamp(1000));
        #[rustfmt::skip]
        let want = [
            0xb0, 0x00, 0x10, 0x40, 0x00, 0x00, 0x00, 0x00, 0x80,
            0x64, 0x92, 0x10, 0x00, 0x00,
            0x49, 0x00,
            0x52, 0x16, 0x00,
            0x99, 0x04, 0x00,
            0x98, 0x14, 0x00,
            0xb2, 0x28, 0x6b, 0x09, 0x03, 0x37, 0x0e, 0xff, 0x00,
            0x9a, 0x01, 0x00,
            0xb3, 0x00, 0x70, 0x56, 0x34, 0x12, 0x00, 0x00, 0x80,
            0x43, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
            0x71, 0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(want.len(), 64);
        assert_eq!(bytes(&packets), want);
    }

    fn load(timestamp: Option<u64>) -> Record {
        Record {
            pc: Some(address::code(0x40_1000, 0)),
            operation: Some((operation::MEMORY, operation::GENERAL)),
            events: Some(0x16),
            issue: Some(4),
            total: Some(20),
            translation: Some(1),
            va: Some(0x7f00_0000_0028),
            pa: Some(address::physical(0x12_3456_7028, false, 0)),
            source: Some(0),
            context: Some((0, 4242)),
            timestamp,
            ..Record::default()
        }
    }

    #[test]
    fn sizes_of_the_layouts() {
        let cases = [
            (Layout::N1, Some(1), 57, 7, 0),
            (Layout::N1, None, 49, 15, 8),
            (Layout::Hw, Some(1), 52, 0, 0),
            (Layout::Hw, None, 44, 0, 0),
            (Layout::Model, Some(1), 46, 0, 0),
            (Layout::Model, None, 38, 0, 0),
            (Layout::Hi, Some(1), 59, 5, 0),
            (Layout::Hi, None, 51, 13, 0),
            (Layout::Short, Some(1), 20, 0, 0),
            (Layout::Short, None, 12, 0, 0),
        ];
        for (layout, timestamp, packets, padding, tail) in cases {
            let mut out = Vec::new();
            let encoded = load(timestamp).write(layout, &mut Rng::new(1), &mut out);
            assert_eq!(encoded, Encoded { packets, padding, tail }, "{layout:?} {timestamp:?}");
            assert_eq!(out.len() as u64, packets + padding);
        }
    }

    #[test]
    fn mix_keeps_every_byte_accounted() {
        let mut rng = Rng::new(3);
        for _ in 0..200 {
            let mut out = Vec::new();
            let encoded = load(Some(7)).write(Layout::Mix, &mut rng, &mut out);
            assert_eq!(out.len() as u64, encoded.packets + encoded.padding);
            assert!(encoded.packets >= 56);
        }
    }
}
