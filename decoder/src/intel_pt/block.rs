//! Blocks: a PEBS record comes as several runs of items, each of which begins with a BBP packet,
//! and one BEP packet at its end.
//!
//! ```text
//! BBP 04  BIP 0  BIP 1  BIP 2     basic: instruction, counters, time
//! BBP 05  BIP 0  BIP 1  BIP 2     memory: address, auxiliary information, latency
//! BEP                             that was one record
//! ```
//!
//! Source: the manual's section "PEBS via Intel PT", and `tools/perf/util/intel-pt-decoder`.

use super::data_source::Core;
use super::packet::{ItemLen, Kind, Packet};

/// Types of blocks.
mod block_type {
    pub(super) const REGISTERS: u8 = 0x01;
    pub(super) const BASIC: u8 = 0x04;
    pub(super) const MEMORY: u8 = 0x05;
}

/// One PEBS record: the items of its blocks that matter here, raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Instruction that caused it.
    pub instruction: Option<u64>,
    /// The register RIP.
    pub rip: Option<u64>,
    /// The counters that asked for it, a bit for each: "applicable counters".
    pub counters: Option<u64>,
    /// When, in ticks of the TSC: its own item, else the last TSC packet before its end.
    pub ticks: Option<u64>,
    /// Address of the data.
    pub address: Option<u64>,
    /// Auxiliary information of the access: where the data came from.
    pub auxiliary: Option<u64>,
    /// Latency of the access.
    pub latency: Option<u64>,
}

impl Record {
    /// Takes an item in. Of two that are the same the last one counts.
    fn take(&mut self, block: u8, item: u8, value: u64) {
        let field = match (block, item) {
            (block_type::REGISTERS, 1) => &mut self.rip,
            (block_type::BASIC, 0) => &mut self.instruction,
            (block_type::BASIC, 1) => &mut self.counters,
            (block_type::BASIC, 2) => &mut self.ticks,
            (block_type::MEMORY, 0) => &mut self.address,
            (block_type::MEMORY, 1) => &mut self.auxiliary,
            (block_type::MEMORY, 2) => &mut self.latency,
            // Other registers, branches, vectors, transactions, and what is new.
            _ => return,
        };
        *field = Some(value);
    }

    /// Cycles of the access, as the kernel tells them; 0 is none. Newer cores put those of the
    /// instruction into the low half of the item and those of the cache into bits 47:32. Gracemont
    /// and Crestmont are such cores; of others the item itself must say so.
    pub fn latency_cycles(&self, core: Core) -> Option<u32> {
        let latency = self.latency?;
        let (low, high) = (latency & u64::from(u32::MAX), latency >> 32);
        let cycles = match core {
            Core::Other if high == 0 => low,
            Core::Gracemont | Core::Crestmont | Core::Other => high & 0xffff,
        };
        u32::try_from(cycles).ok().filter(|cycles| *cycles != 0)
    }
}

/// What a packet is to the record whose blocks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Apart,
    /// A part of it.
    Part,
    /// Its end, with the bytes of its packets.
    Ended(Record, u64),
    /// Nothing, but it shows that so many bytes of packets before it will not be a whole record.
    Dropped(u64),
}

/// The record whose blocks come, if any do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocks {
    record: Record,
    /// Type and items of the block that is open.
    open: Option<(u8, ItemLen)>,
    /// Bytes of the packets so far.
    len: u64,
}

impl Blocks {
    /// The items of the block that the next packet stands in.
    pub fn items(&self) -> Option<ItemLen> {
        self.open.map(|(_, items)| items)
    }

    /// Bytes of the unfinished record.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Takes a packet in.
    pub fn take(&mut self, packet: &Packet) -> Step {
        let len = u64::from(packet.len);
        match (packet.kind, self.open) {
            // A block that is open ends where the next one begins.
            (Kind::Bbp, _) => self.open = Some((packet.block_type(), packet.item_len())),
            (Kind::Bip, Some((block, _))) => self.record.take(block, packet.index, packet.payload),
            (Kind::Bep, Some(_)) => {
                let ended = core::mem::take(self);
                return Step::Ended(ended.record, ended.len + len);
            }
            (kind, Some(_)) if kind.ends_block() => return Step::Dropped(self.drop()),
            _ => return Step::Apart,
        }
        self.len += len;
        Step::Part
    }

    /// Forgets the unfinished record. Returns the bytes of its packets.
    pub fn drop(&mut self) -> u64 {
        core::mem::take(self).len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intel_pt::packet::Packets;

    /// The steps that are not [`Step::Apart`] or [`Step::Part`].
    fn steps(bytes: &[u8]) -> Vec<Step> {
        let mut blocks = Blocks::default();
        let steps = Packets::new(bytes).map(|packet| blocks.take(&packet.unwrap()));
        steps.filter(|step| !matches!(step, Step::Apart | Step::Part)).collect()
    }

    /// BIP with eight bytes.
    fn item(number: u8, value: u64) -> Vec<u8> {
        [&[number << 3 | 0b100][..], &value.to_le_bytes()].concat()
    }

    /// BIP with four bytes.
    fn short(number: u8, value: u32) -> Vec<u8> {
        [&[number << 3 | 0b100][..], &value.to_le_bytes()].concat()
    }

    fn ended(bytes: &[u8]) -> Record {
        match steps(bytes)[..] {
            [Step::Ended(record, len)] if len == bytes.len() as u64 => record,
            ref other => panic!("{other:?}"),
        }
    }

    const BEP: [u8; 2] = [0x02, 0x33];

    #[test]
    fn each_type_of_block_with_items_of_either_length() {
        let none = Record::default();
        let some = Some(0x1122_3344);
        // Type of block, number of item, what becomes of it.
        let cases = [
            (0x01, 0, none),
            (0x01, 1, Record { rip: some, ..none }),
            (0x01, 17, none),
            (0x04, 0, Record { instruction: some, ..none }),
            (0x04, 1, Record { counters: some, ..none }),
            (0x04, 2, Record { ticks: some, ..none }),
            (0x04, 3, none),
            (0x05, 0, Record { address: some, ..none }),
            (0x05, 1, Record { auxiliary: some, ..none }),
            (0x05, 2, Record { latency: some, ..none }),
            (0x05, 3, none),
            (0x08, 0, none),
            (0x09, 1, none),
            (0x0a, 2, none),
            (0x10, 0, none),
            (0x10, 31, none),
            (0x1f, 0, none),
        ];
        for (block, number, want) in cases {
            let long = [&[0x02, 0x63, block][..], &item(number, 0x1122_3344), &BEP].concat();
            assert_eq!(ended(&long), want, "block {block:#x}, item {number}");
            let short = [&[0x02, 0x63, block | 0x80][..], &short(number, 0x1122_3344), &BEP];
            assert_eq!(ended(&short.concat()), want, "block {block:#x}, item {number}, short");
        }
    }

    #[test]
    fn a_record_of_three_blocks() {
        let bytes = [
            &[0x02, 0x63, 0x04][..],
            &item(0, 0xffff_ffff_8100_0000),
            &item(1, 0b101),
            &item(2, 0x12_3456_789a),
            // Where a block is open, the next one ends it.
            &[0x02, 0x63, 0x81],
            &short(1, 0x40_1000),
            &[0x02, 0x63, 0x05],
            &item(0, 0x7fff_1234_5678),
            &item(1, 0x25),
            &item(2, 77),
            &item(3, 9),
            &BEP,
        ]
        .concat();
        let want = Record {
            instruction: Some(0xffff_ffff_8100_0000),
            rip: Some(0x40_1000),
            counters: Some(0b101),
            ticks: Some(0x12_3456_789a),
            address: Some(0x7fff_1234_5678),
            auxiliary: Some(0x25),
            latency: Some(77),
        };
        assert_eq!(ended(&bytes), want);
    }

    #[test]
    fn packets_of_time_and_power_may_stand_in_a_block() {
        let staying: [&[u8]; 11] = [
            &[0x00],
            &[0x19, 1, 2, 3, 4, 5, 6, 7],
            &[0x02, 0x73, 1, 2, 3, 4, 5],
            &[0x59, 1],
            &[0x07, 0x02],
            &[0x02, 0x03, 1, 0],
            &[0x3d, 1, 2],
            &[0x02, 0xc3, 0x88, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x02, 0x62],
            &[0x02, 0x22, 1, 2],
            &[0x02, 0xa2, 1, 2, 3, 4, 5],
        ];
        let begin = [&[0x02, 0x63, 0x05][..], &item(0, 42)].concat();
        let end = [&item(2, 43)[..], &BEP].concat();
        for packet in staying {
            let steps = steps(&[&begin, packet, &end].concat());
            let want = Record { address: Some(42), latency: Some(43), ..Record::default() };
            assert_eq!(steps, [Step::Ended(want, 3 + 9 + 9 + 2)], "{packet:02x?}");
        }
    }

    #[test]
    fn what_leaves_a_block_drops_the_record() {
        let leaving: [&[u8]; 16] = [
            &[0x06],
            &[0x02, 0xa3, 1, 2, 3, 4, 5, 6],
            &[0x2d, 1, 2],
            &[0x31, 1, 2],
            &[0x21, 1, 2],
            &[0x99, 1],
            &[0x02, 0x43, 1, 2, 3, 4, 5, 6],
            &[0x02, 0xf3],
            &[0x02, 0xc8, 1, 2, 3, 4, 5],
            &[0x02, 0x83],
            &super::super::packet::PSB,
            &[0x02, 0x23],
            &[0x02, 0x12, 1, 2, 3, 4],
            &[0x02, 0xc2, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x02, 0x13, 1, 2],
            &[0x02, 0x53, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        ];
        let begin = [&[0x02, 0x63, 0x05][..], &item(0, 42)].concat();
        for packet in leaving {
            // What looks like an item behind it is a TNT, and the end belongs to nothing.
            let all = [&begin[..], packet, &[0x0c], &BEP].concat();
            assert_eq!(steps(&all), [Step::Dropped(12)], "{packet:02x?}");
        }
    }

    #[test]
    fn an_end_with_an_address_behind_it_is_an_end() {
        let begin = [&[0x02, 0x63, 0x05][..], &item(0, 42)].concat();
        let want = Record { address: Some(42), ..Record::default() };
        let all = [&begin[..], &[0x02, 0xb3], &[0x3d, 1, 2]].concat();
        assert_eq!(steps(&all), [Step::Ended(want, 14)]);
    }

    #[test]
    fn the_last_of_two_items_counts_and_an_empty_record_is_one() {
        let twice = [&[0x02, 0x63, 0x05][..], &item(0, 1), &item(0, 2), &BEP].concat();
        assert_eq!(ended(&twice).address, Some(2));
        assert_eq!(ended(&[0x02, 0x63, 0x05, 0x02, 0x33]), Record::default());
        assert_eq!(steps(&BEP), []);
    }

    #[test]
    fn both_forms_of_the_latency() {
        // The item; cycles of a core that is not known, and of those whose item has two parts.
        let cases = [
            (None, None, None),
            (Some(0), None, None),
            (Some(77), Some(77), None),
            (Some(0x187), Some(0x187), None),
            (Some(0xffff_ffff), Some(u32::MAX), None),
            // The cache's, not the instruction's.
            (Some(0x0000_0019_0000_0040), Some(25), Some(25)),
            (Some(0xabcd_0019_0000_0040), Some(25), Some(25)),
            (Some(0xabcd_0000_0000_0040), None, None),
        ];
        for (latency, other, two_parts) in cases {
            let record = Record { latency, ..Record::default() };
            assert_eq!(record.latency_cycles(Core::Other), other, "{latency:x?}");
            for core in [Core::Gracemont, Core::Crestmont] {
                assert_eq!(record.latency_cycles(core), two_parts, "{latency:x?} {core:?}");
            }
        }
    }
}
