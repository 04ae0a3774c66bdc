//! AUX data of one CPU: accesses as records of Arm SPE, the shortest that say where and when.

use tracegen::perf::TimeConv;
use tracegen::spe::{Packet, address, operation};

/// Number of the first block's frame of 2 MiB.
pub const FIRST_FRAME: u64 = 0x1000;
/// Bytes of a block, as a power of two.
const BLOCK_SHIFT: u32 = 21;
/// Bytes of a page, as a power of two.
const PAGE_SHIFT: u32 = 12;
/// Where the process has the first block. It is congruent to the frame, as huge pages are.
const FIRST_ADDRESS: u64 = 0x7f00_0000_0000;
/// Time between two accesses, in ns: 50 of them are far less than 10 ms.
const STEP_NS: u64 = 200;

/// The accesses of an epoch.
#[derive(Debug)]
pub struct Queue {
    /// The records.
    pub bytes: Vec<u8>,
    /// When the next access may be sampled, in ns.
    pub time_ns: u64,
    /// How many accesses there are.
    pub accesses: u64,
}

impl Queue {
    /// An empty one that begins at a time, with room for so many bytes.
    pub fn new(time_ns: u64, room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), time_ns, accesses: 0 }
    }

    /// Adds an access to a byte of a page of a block.
    pub fn access(&mut self, block: usize, page: u16, byte: u64, clock: &TimeConv) {
        let place = (block as u64) << BLOCK_SHIFT | u64::from(page) << PAGE_SHIFT | byte;
        let virtual_address = address::data(FIRST_ADDRESS + place, 0);
        let physical_address = address::physical((FIRST_FRAME << BLOCK_SHIFT) + place, false, 0);
        for packet in [
            Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
            Packet::Address { index: address::DATA_VIRTUAL, payload: virtual_address },
            Packet::Address { index: address::DATA_PHYSICAL, payload: physical_address },
            Packet::Timestamp(ticks(clock, self.time_ns)),
        ] {
            packet.write(&mut self.bytes);
        }
        self.time_ns += STEP_NS;
        self.accesses += 1;
    }
}

/// The first tick at this time or after it.
fn ticks(clock: &TimeConv, time_ns: u64) -> u64 {
    (time_ns - clock.zero).div_ceil(clock.mult >> clock.shift)
}

/// Accesses as (block, page, time in ns), read where they were written.
#[cfg(test)]
pub fn read(bytes: &[u8]) -> Vec<(usize, u16, u64)> {
    let word = |at: &[u8]| u64::from_le_bytes(at.try_into().unwrap());
    let record = |record: &[u8]| {
        let place = (word(&record[12..20]) & address::MASK) - (FIRST_FRAME << BLOCK_SHIFT);
        let block = usize::try_from(place >> BLOCK_SHIFT).unwrap();
        let page = u16::try_from(place >> PAGE_SHIFT & 511).unwrap();
        (block, page, TimeConv::default().ns(word(&record[21..29])))
    };
    bytes.chunks(29).map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_where_and_when() {
        let mut queue = Queue::new(2_000_005_000, 0);
        queue.access(3, 7, 0x128, &TimeConv::default());
        queue.access(0, 511, 0, &TimeConv::default());
        #[rustfmt::skip]
        let want = [
            0x49, 0x00,
            0xb2, 0x28, 0x71, 0x60, 0x00, 0x00, 0x7f, 0x00, 0x00,
            0xb3, 0x28, 0x71, 0x60, 0x00, 0x02, 0x00, 0x00, 0x80,
            0x71, 0x80, 0xf0, 0xfa, 0x02, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(queue.bytes[..29], want);
        assert_eq!(read(&queue.bytes), [(3, 7, 2_000_005_000), (0, 511, 2_000_005_200)]);
        assert_eq!(queue.accesses, 2);
    }
}
