//! One record of any layout, without a branch that depends on what its packets are.
//!
//! The plain walk ([`super::decoder`]) branches on each packet's kind; where kinds and sizes change
//! from record to record, most of its time goes into wrong predictions. Here a table gives for
//! the first byte of a header how long the packet is and where its payload goes:
//!
//! ```text
//! while at least 9 bytes are left:
//!     entry = table[first byte]
//!     payloads[entry.slot] = the next 8 bytes, as many as the packet has
//!     stop if the packet ends the record, or is anything but usual
//!     go on behind the packet, and behind all zeros if it is padding
//! ```
//!
//! Usual are packets that the manual's tables have, each once. Everything else is left to the
//! plain walk, from the record's start: an end of input, reserved packets, damage.

use super::packet::{Header, Kind, Packet};
use super::record::{Fields, MAX_RECORD_LEN, Record, SLOTS, Slot};

/// What a packet's first byte says.
#[derive(Clone, Copy)]
struct Entry {
    /// Bits of the payload.
    mask: u64,
    /// Bit of the packet's slot.
    field: Fields,
    /// Bytes of the packet; 0 for padding, whose zeros are counted.
    len: u8,
    slot: Slot,
    next: Next,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Next {
    Packet,
    Record,
    /// A header of two bytes, or a reserved packet.
    Unusual,
}

static ENTRIES: [Entry; 256] = {
    let unusual =
        Entry { mask: 0, field: Fields::empty(), len: 0, slot: Slot::Other, next: Next::Unusual };
    let mut entries = [unusual; 256];
    let mut byte = 0u8;
    loop {
        if let Some(header) = Header::short(byte) {
            let slot = Slot::of(header.kind, header.index);
            let next = match header.kind {
                Kind::End | Kind::Timestamp => Next::Record,
                Kind::Reserved => Next::Unusual,
                _ => Next::Packet,
            };
            let is_padding = matches!(header.kind, Kind::Padding);
            entries[byte as usize] = Entry {
                mask: header.payload_mask(),
                field: slot.field(),
                len: if is_padding { 0 } else { header.header_len + header.payload_len },
                slot,
                next,
            };
        }
        if byte == u8::MAX {
            break entries;
        }
        byte += 1;
    }
};

/// A record and what stands before it.
pub(super) struct Scanned {
    pub(super) record: Record,
    /// Bytes of it, with padding before and in it.
    pub(super) len: usize,
    /// Padding bytes among them.
    pub(super) padding: usize,
    /// A number that records of the same layout share, and others only by chance.
    pub(super) shape: u64,
}

/// Scans the record that starts at the start of `bytes`, which stand between two records. `None`
/// if it has to be walked.
#[inline(always)]
pub(super) fn scan(bytes: &[u8]) -> Option<Scanned> {
    let mut payloads = [0; SLOTS];
    let mut has = Fields::empty();
    let (mut class, mut at, mut padding, mut shape) = (0, 0, 0, 0);
    loop {
        let packet: &[u8; 9] = bytes.get(at..)?.first_chunk()?;
        let [first, payload @ ..] = *packet;
        let entry = &ENTRIES[usize::from(first)];
        payloads[entry.slot as usize] = u64::from_le_bytes(payload) & entry.mask;
        if entry.slot == Slot::Operation {
            class = first & 0b11;
        }
        let word = u64::from_le_bytes(payload) << 8 | u64::from(first);
        let zeros = word.trailing_zeros() as usize / 8;
        shape ^= u64::from(first).rotate_left(u32::try_from(at % 64).unwrap_or(0));
        if has.intersects(entry.field) || entry.next != Next::Packet {
            if has.intersects(entry.field) {
                return None;
            }
            if entry.next == Next::Record {
                has |= entry.field;
                at += usize::from(entry.len);
                break;
            }
            // A header of two bytes: rare.
            let Packet { header, payload } = Packet::parse(&bytes[at..]).ok()?;
            let slot = Slot::of(header.kind, header.index);
            if header.kind == Kind::Reserved || has.intersects(slot.field()) {
                return None;
            }
            payloads[slot as usize] = payload;
            has |= slot.field();
            at += header.packet_len();
            continue;
        }
        has |= entry.field;
        padding += zeros;
        at += usize::from(entry.len) + zeros;
    }
    if (at - padding) as u64 > MAX_RECORD_LEN {
        return None;
    }
    Some(Scanned { record: Record::new(has, class, payloads), len: at, padding, shape })
}
