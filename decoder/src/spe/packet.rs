//! Packets: one or two header bytes and 0 to 8 bytes of payload.
//!
//! Source: Arm Architecture Reference Manual DDI 0487 (the issue in which the Statistical
//! Profiling Extension's records are chapter D18), D18.1 for headers, D18.2 for payloads.
//! Payloads are little-endian, always.

/// What a packet's header says, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Class of the packet.
    pub kind: Kind,
    /// Address, counter and context packets: which one, 0 to 31. Operation packets: the class.
    pub index: u8,
    /// 1, or 2 for an extended header.
    pub header_len: u8,
    /// 0, 1, 2, 4 or 8.
    pub payload_len: u8,
}

/// Class of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Fills space, between packets as well as between records.
    Padding,
    /// Ends a record that has no timestamp.
    End,
    /// Ends a record and says when it was made.
    Timestamp,
    /// What happened to the operation.
    Events,
    /// Where a load's data came from.
    DataSource,
    /// CONTEXTIDR: the thread, if Linux was built to write it there.
    Context,
    /// What kind of operation it was.
    Operation,
    /// Instruction, data or branch address.
    Address,
    /// A latency.
    Counter,
    /// `2n 00`: gone from the architecture since Armv8.5. What it announces is padding.
    Alignment,
    /// No packet of today. Skipped by the length that its header gives (D18.1.3).
    Reserved,
}

impl Kind {
    /// All kinds, each at its own number.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Padding,
        Self::End,
        Self::Timestamp,
        Self::Events,
        Self::DataSource,
        Self::Context,
        Self::Operation,
        Self::Address,
        Self::Counter,
        Self::Alignment,
        Self::Reserved,
    ];
    /// How many there are.
    pub(super) const COUNT: usize = 11;
}

/// Payload bytes by the first header byte (D18.1.1), for headers that are not extended.
const fn payload_len(header: u8) -> u8 {
    if header < 0x40 { 0 } else { 1 << (header >> 4 & 3) }
}

/// Reads a header of one byte: the table of D18.1.4.1, a line a packet. `None` for the first
/// byte of a header of two.
const fn short_header(byte: u8) -> Option<Header> {
    let (kind, index) = match byte {
        0b0000_0000 => (Kind::Padding, 0),
        0b0000_0001 => (Kind::End, 0),
        0b0111_0001 => (Kind::Timestamp, 0),
        // 01ss 0010: 1, 2, 4 or 8 bytes.
        0b0100_0010 | 0b0101_0010 | 0b0110_0010 | 0b0111_0010 => (Kind::Events, 0),
        // 01ss 0011: 1 or 2 bytes; 4 and 8 are not defined.
        0b0100_0011 | 0b0101_0011 => (Kind::DataSource, 0),
        0b0110_0100..=0b0110_0111 => (Kind::Context, byte & 0b11),
        // 0100 10cc; class 3 is reserved as a class, not as a packet.
        0b0100_1000..=0b0100_1011 => (Kind::Operation, byte & 0b11),
        0b1011_0000..=0b1011_0111 => (Kind::Address, byte & 0b111),
        0b1001_1000..=0b1001_1111 => (Kind::Counter, byte & 0b111),
        0b0010_0000..=0b0011_1111 => return None,
        _ => (Kind::Reserved, 0),
    };
    Some(Header { kind, index, header_len: 1, payload_len: payload_len(byte) })
}

/// Reads a header of two bytes: the table of D18.1.4.2. The second byte gives the length.
const fn extended_header(first: u8, second: u8) -> Header {
    let index = (first & 0b11) << 3 | second & 0b111;
    let (kind, index) = match (first, second) {
        (0b0010_0000..=0b0010_0011, 0b1011_0000..=0b1011_0111) => (Kind::Address, index),
        (0b0010_0000..=0b0010_0011, 0b1001_1000..=0b1001_1111) => (Kind::Counter, index),
        (0b0010_0000..=0b0010_1111, 0) => (Kind::Alignment, 0),
        _ => (Kind::Reserved, 0),
    };
    Header { kind, index, header_len: 2, payload_len: payload_len(second) }
}

/// [`short_header`] of every byte: looking up is faster than deciding.
static SHORT_HEADERS: [Option<Header>; 256] = {
    let mut table = [None; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = short_header(byte);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

impl Header {
    /// Reads the header at the start of `bytes`; `None` if it is cut off.
    #[inline(always)]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, rest @ ..] = bytes else { return None };
        match (SHORT_HEADERS[usize::from(*first)], rest) {
            (Some(header), _) => Some(header),
            (None, [second, ..]) => Some(extended_header(*first, *second)),
            (None, []) => None,
        }
    }

    /// The header of one byte that `byte` is; `None` for the first byte of a header of two.
    pub(super) const fn short(byte: u8) -> Option<Self> {
        short_header(byte)
    }

    /// The bits of a word that the payload has.
    pub(super) const fn payload_mask(self) -> u64 {
        PAYLOAD_MASK[self.payload_len as usize]
    }

    /// Header and payload, in bytes: 1 to 10.
    #[inline]
    pub const fn packet_len(self) -> usize {
        self.header_len as usize + self.payload_len as usize
    }
}

/// The bits of a word that a payload has, by its length in bytes.
const PAYLOAD_MASK: [u64; 9] = [0, 0xff, 0xffff, 0xff_ffff, 0xffff_ffff, 0, 0, 0, u64::MAX];

/// Longest packet: an extended header and 8 bytes.
pub const MAX_PACKET_LEN: usize = 10;

/// A packet with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the header says.
    pub header: Header,
    /// The payload, zero-extended; 0 for packets without one.
    pub payload: u64,
}

impl Packet {
    /// Reads the packet at the start of `bytes`.
    ///
    /// # Errors
    /// [`CutOff`] if `bytes` ends before the packet does.
    #[inline(always)]
    pub fn parse(bytes: &[u8]) -> Result<Self, CutOff> {
        let header = Header::parse(bytes).ok_or(CutOff)?;
        let start = usize::from(header.header_len);
        // Eight bytes are there but at the end of a chunk: one load, whatever the length.
        if let Some(word) = bytes.get(start..).and_then(<[u8]>::first_chunk) {
            let payload = u64::from_le_bytes(*word) & PAYLOAD_MASK[usize::from(header.payload_len)];
            return Ok(Self { header, payload });
        }
        let payload = bytes.get(start..header.packet_len()).ok_or(CutOff)?;
        let payload = payload.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Ok(Self { header, payload })
    }
}

/// The bytes end in the middle of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cut off in the middle of a packet")]
pub struct CutOff;

/// The packets of a slice, padding included. After [`CutOff`] it has ended.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    bytes: &'a [u8],
}

impl<'a> Packets<'a> {
    /// Walks `bytes`, which start with a packet.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl Iterator for Packets<'_> {
    type Item = Result<Packet, CutOff>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let packet = Packet::parse(self.bytes);
        let len = packet.map_or(self.bytes.len(), |packet| packet.header.packet_len());
        self.bytes = &self.bytes[len..];
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn packet(
        kind: Kind,
        index: u8,
        header_len: u8,
        payload_len: u8,
        payload: u64,
    ) -> Packet {
        Packet { header: Header { kind, index, header_len, payload_len }, payload }
    }

    /// Every row of the packet tables: name, bytes, meaning.
    fn cases() -> Vec<(&'static str, Vec<u8>, Packet)> {
        use Kind::{
            Address, Alignment, Context, Counter, DataSource, End, Events, Operation, Padding,
            Reserved, Timestamp,
        };
        let mut cases = vec![
            ("padding", vec![0x00], packet(Padding, 0, 1, 0, 0)),
            ("end", vec![0x01], packet(End, 0, 1, 0, 0)),
            (
                "timestamp",
                vec![0x71, 0xe8, 0x03, 0, 0, 0, 0, 0, 0x80],
                packet(Timestamp, 0, 1, 8, 0x8000_0000_0000_03e8),
            ),
            ("events, 1 byte", vec![0x42, 0x16], packet(Events, 0, 1, 1, 0x16)),
            ("events, 2 bytes", vec![0x52, 0x16, 0x04], packet(Events, 0, 1, 2, 0x0416)),
            ("events, 4 bytes", vec![0x62, 1, 2, 3, 4], packet(Events, 0, 1, 4, 0x0403_0201)),
            (
                "events, 8 bytes",
                vec![0x72, 1, 2, 3, 4, 5, 6, 7, 8],
                packet(Events, 0, 1, 8, 0x0807_0605_0403_0201),
            ),
            ("data source, 1 byte", vec![0x43, 0x0e], packet(DataSource, 0, 1, 1, 0x0e)),
            ("data source, 2 bytes", vec![0x53, 0x0e, 0x01], packet(DataSource, 0, 1, 2, 0x010e)),
            ("data source of 4 bytes is not defined", vec![0x63, 1, 2, 3, 4], {
                packet(Reserved, 0, 1, 4, 0x0403_0201)
            }),
            ("alignment", vec![0x23, 0x00], packet(Alignment, 0, 2, 0, 0)),
            ("alignment, n = 15", vec![0x2f, 0x00], packet(Alignment, 0, 2, 0, 0)),
            ("extended, second byte short", vec![0x24, 0x01], packet(Reserved, 0, 2, 0, 0)),
            ("extended, second byte extended", vec![0x20, 0x3f], packet(Reserved, 0, 2, 0, 0)),
            ("extended, unknown first byte", vec![0x24, 0xb0, 1, 0, 0, 0, 0, 0, 0, 0], {
                packet(Reserved, 0, 2, 8, 1)
            }),
            ("extended, unknown, 2 bytes", vec![0x21, 0x90, 7, 0], packet(Reserved, 0, 2, 2, 7)),
            ("reserved, no payload", vec![0x1f], packet(Reserved, 0, 1, 0, 0)),
            ("reserved, 1 byte", vec![0x44, 9], packet(Reserved, 0, 1, 1, 9)),
            ("reserved, 2 bytes", vec![0x90, 9, 1], packet(Reserved, 0, 1, 2, 0x0109)),
            ("reserved, 4 bytes", vec![0xe0, 9, 0, 0, 0], packet(Reserved, 0, 1, 4, 9)),
            ("reserved, 8 bytes", vec![0xff, 9, 0, 0, 0, 0, 0, 0, 0], {
                packet(Reserved, 0, 1, 8, 9)
            }),
        ];
        for index in 0..4 {
            cases.push(("context", vec![0x64 + index, 0x92, 0x10, 0, 0], {
                packet(Context, index, 1, 4, 0x1092)
            }));
            cases.push(("operation", vec![0x48 + index, 0xa5], {
                packet(Operation, index, 1, 1, 0xa5)
            }));
        }
        for index in 0..32 {
            let (high, low) = (0x20 + (index >> 3), index & 7);
            let address = [0x28, 0x6b, 0x09, 0x03, 0x37, 0x0e, 0xff, 0x80];
            let mut extended = vec![high, 0xb0 + low];
            extended.extend(address);
            cases.push(("address, extended", extended, {
                packet(Address, index, 2, 8, 0x80ff_0e37_0309_6b28)
            }));
            cases.push(("counter, extended", vec![high, 0x98 + low, 0x34, 0x12], {
                packet(Counter, index, 2, 2, 0x1234)
            }));
            if index < 8 {
                let mut short = vec![0xb0 + index];
                short.extend(address);
                cases.push(("address", short, {
                    packet(Address, index, 1, 8, 0x80ff_0e37_0309_6b28)
                }));
                cases.push(("counter", vec![0x98 + index, 0x34, 0x12], {
                    packet(Counter, index, 1, 2, 0x1234)
                }));
            }
        }
        cases
    }

    #[test]
    fn every_row_of_the_tables() {
        for (name, bytes, want) in cases() {
            let got: Vec<_> = Packets::new(&bytes).collect();
            assert_eq!(got, [Ok(want)], "{name}: {bytes:02x?}");
        }
    }

    #[test]
    fn every_proper_prefix_is_cut_off() {
        for (name, bytes, _) in cases() {
            for len in 1..bytes.len() {
                let got: Vec<_> = Packets::new(&bytes[..len]).collect();
                assert_eq!(got, [Err(CutOff)], "{name}: {:02x?}", &bytes[..len]);
            }
            assert_eq!(Packets::new(&[]).next(), None);
        }
    }

    #[test]
    fn all_256_first_bytes_are_classified() {
        // The table once more, by mask and value, in the order of its rows.
        let by_mask: [(u8, u8, Kind); 9] = [
            (0xff, 0x00, Kind::Padding),
            (0xff, 0x01, Kind::End),
            (0xff, 0x71, Kind::Timestamp),
            (0xcf, 0x42, Kind::Events),
            (0xef, 0x43, Kind::DataSource),
            (0xfc, 0x64, Kind::Context),
            (0xfc, 0x48, Kind::Operation),
            (0xf8, 0xb0, Kind::Address),
            (0xf8, 0x98, Kind::Counter),
        ];
        let mut reserved = 0;
        for byte in 0..=u8::MAX {
            let rows: Vec<_> =
                by_mask.iter().filter(|(mask, value, _)| byte & mask == *value).collect();
            assert!(rows.len() <= 1, "{byte:#04x} is in two rows");
            // A payload of zeros: the second byte of an extended header is then 0.
            let bytes = [byte, 0, 0, 0, 0, 0, 0, 0, 0];
            let header = Header::parse(&bytes).expect("nine bytes hold any packet but one");
            let want = match rows.first() {
                Some((_, _, kind)) => *kind,
                None if (0x20..0x30).contains(&byte) => Kind::Alignment,
                None => Kind::Reserved,
            };
            assert_eq!(header.kind, want, "{byte:#04x}");
            reserved += u32::from(want == Kind::Reserved);
            let payload = match byte >> 4 {
                0x0..=0x3 => 0,
                0x4 | 0x8 | 0xc => 1,
                0x5 | 0x9 | 0xd => 2,
                0x6 | 0xa | 0xe => 4,
                _ => 8,
            };
            assert_eq!(header.payload_len, payload, "{byte:#04x}");
        }
        assert_eq!(reserved, 256 - 16 - (3 + 4 + 2 + 4 + 4 + 8 + 8));
    }
}
