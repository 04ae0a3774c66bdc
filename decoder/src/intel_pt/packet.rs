//! Packets: one to sixteen bytes, the length of which the first ones tell.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, chapter "Intel
//! Processor Trace", section "Trace Packets and Data Types"; where it leaves a choice, Linux'
//! `tools/perf/util/intel-pt-decoder`. Payloads are little-endian.

/// Longest packet: a PSB.
pub const MAX_PACKET_LEN: usize = 16;

/// The packet at which decoding can start, PSB: it stands nowhere else in a trace.
pub const PSB: [u8; MAX_PACKET_LEN] =
    [2, 130, 2, 130, 2, 130, 2, 130, 2, 130, 2, 130, 2, 130, 2, 130];

/// Longest CYC packet: ten bytes hold more than 64 bits of cycles.
const MAX_CYC_LEN: usize = 10;

/// What a packet is, by the manual's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Pad,
    TntShort,
    TntLong,
    Tip,
    TipPge,
    TipPgd,
    Fup,
    Mode,
    Mtc,
    /// Sets the time.
    Tsc,
    Cyc,
    Psb,
    PsbEnd,
    /// Packets were lost.
    Ovf,
    TraceStop,
    Pip,
    Cbr,
    Tma,
    Vmcs,
    Mnt,
    PtWrite,
    Mwait,
    Pwre,
    ExStop,
    Pwrx,
    Cfe,
    Evd,
    /// Begins a block of items.
    Bbp,
    /// One item of a block.
    Bip,
    /// Ends all blocks of one record.
    Bep,
}

impl Kind {
    /// Whether the packet ends a block that it stands in. Those of time, power and FUP do not.
    pub const fn ends_block(self) -> bool {
        match self {
            Self::TntShort
            | Self::TntLong
            | Self::Tip
            | Self::TipPge
            | Self::TipPgd
            | Self::Mode
            | Self::Pip
            | Self::Ovf
            | Self::Vmcs
            | Self::TraceStop
            | Self::Psb
            | Self::PsbEnd
            | Self::PtWrite
            | Self::Mwait
            | Self::Bep
            | Self::Cfe
            | Self::Evd => true,
            Self::Pad
            | Self::Tsc
            | Self::Tma
            | Self::Mtc
            | Self::Cyc
            | Self::Cbr
            | Self::Fup
            | Self::Mnt
            | Self::ExStop
            | Self::Pwre
            | Self::Pwrx
            | Self::Bbp
            | Self::Bip => false,
        }
    }
}

/// How long the items of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemLen {
    /// Eight bytes (SZ 0).
    Eight,
    /// Four bytes (SZ 1).
    Four,
}

impl ItemLen {
    const fn bytes(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
        }
    }
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// Of a BIP the item's number, 0 to 31; of a BEP 1 if a FUP with the instruction's address
    /// follows; else 0.
    pub index: u8,
    /// Header and payload, in bytes; 1 to [`MAX_PACKET_LEN`].
    pub len: u8,
    /// The first eight bytes behind the header.
    pub payload: u64,
}

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPacket {
    /// The bytes end before it does.
    #[error("the packet is cut off")]
    CutOff,
    /// No packet starts like this: the place in the trace is lost.
    #[error("no packet starts like this")]
    Bad,
}

/// Kind, index, bytes of the header, bytes of the packet.
type Header = (Kind, u8, usize, usize);

impl Packet {
    /// Reads the packet at the start of `bytes`, given the items of the block that it stands in.
    ///
    /// # Errors
    /// [`NoPacket`]; what is cut off may turn out to be bad when more of it is there.
    pub fn parse(bytes: &[u8], block: Option<ItemLen>) -> Result<Self, NoPacket> {
        let (kind, index, header_len, len) = header(bytes, block)?;
        let rest = bytes.get(header_len..len).ok_or(NoPacket::CutOff)?;
        let mut payload = [0; 8];
        let taken = rest.len().min(8);
        payload[..taken].copy_from_slice(&rest[..taken]);
        let payload = u64::from_le_bytes(payload);
        // Packets have at most 16 bytes.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let len = len as u8;
        Ok(Self { kind, index, len, payload })
    }

    /// Of a BBP: what the block holds, 0 to 31.
    pub const fn block_type(&self) -> u8 {
        (self.payload & 0x1f) as u8
    }

    /// Of a BBP: how long its items are.
    pub const fn item_len(&self) -> ItemLen {
        if self.payload & 0x80 == 0 { ItemLen::Eight } else { ItemLen::Four }
    }
}

/// The order of these tests matters: inside a block a BIP looks like a short TNT.
fn header(bytes: &[u8], block: Option<ItemLen>) -> Result<Header, NoPacket> {
    let first = *bytes.first().ok_or(NoPacket::CutOff)?;
    match block {
        Some(items) if first & 0b111 == 0b100 => {
            return Ok((Kind::Bip, first >> 3, 1, 1 + items.bytes()));
        }
        _ => {}
    }
    match first {
        0x00 => Ok((Kind::Pad, 0, 1, 1)),
        0x02 => extended_header(bytes),
        _ if first & 0b1 == 0 => Ok((Kind::TntShort, 0, 1, 1)),
        _ if first & 0b11 == 0b11 => cyc(bytes),
        0x19 => Ok((Kind::Tsc, 0, 1, 8)),
        0x59 => Ok((Kind::Mtc, 0, 1, 2)),
        0x99 => mode(bytes),
        _ => match first & 0x1f {
            0x0d => with_ip(Kind::Tip, first),
            0x11 => with_ip(Kind::TipPge, first),
            0x01 => with_ip(Kind::TipPgd, first),
            0x1d => with_ip(Kind::Fup, first),
            _ => Err(NoPacket::Bad),
        },
    }
}

/// Those that start with 02.
fn extended_header(bytes: &[u8]) -> Result<Header, NoPacket> {
    let second = *bytes.get(1).ok_or(NoPacket::CutOff)?;
    let (kind, len) = match second {
        0xa3 => (Kind::TntLong, 8),
        0x82 => return psb(bytes),
        0x23 => (Kind::PsbEnd, 2),
        0xf3 => (Kind::Ovf, 2),
        0x83 => (Kind::TraceStop, 2),
        0x43 => (Kind::Pip, 8),
        0x03 => (Kind::Cbr, 4),
        0x22 => (Kind::Pwre, 4),
        0x73 => (Kind::Tma, 7),
        0xc8 => (Kind::Vmcs, 7),
        0xa2 => (Kind::Pwrx, 7),
        0xc3 => return mnt(bytes),
        0x62 | 0xe2 => (Kind::ExStop, 2),
        0xc2 => (Kind::Mwait, 10),
        // Bits 6:5 are the length of the payload, bit 7 says that a FUP follows.
        0x12 | 0x92 => (Kind::PtWrite, 6),
        0x32 | 0xb2 => (Kind::PtWrite, 10),
        0x13 => (Kind::Cfe, 4),
        0x53 => (Kind::Evd, 11),
        0x63 => (Kind::Bbp, 3),
        0x33 => (Kind::Bep, 2),
        0xb3 => return Ok((Kind::Bep, 1, 2, 2)),
        _ => return Err(NoPacket::Bad),
    };
    Ok((kind, 0, 2, len))
}

/// A packet with an instruction's address, whose upper bits may be left out.
fn with_ip(kind: Kind, first: u8) -> Result<Header, NoPacket> {
    let payload_len = match first >> 5 {
        0 => 0,
        1 => 2,
        2 => 4,
        3 | 4 => 6,
        6 => 8,
        _ => return Err(NoPacket::Bad),
    };
    Ok((kind, 0, 1, 1 + payload_len))
}

/// Bit 2 of the first byte, and bit 0 of the others, say that one more follows.
fn cyc(bytes: &[u8]) -> Result<Header, NoPacket> {
    let mut more = bytes[0] & 0b100 != 0;
    let mut len = 1;
    while more {
        if len == MAX_CYC_LEN {
            return Err(NoPacket::Bad);
        }
        more = bytes.get(len).ok_or(NoPacket::CutOff)? & 1 != 0;
        len += 1;
    }
    Ok((Kind::Cyc, 0, 1, len))
}

/// Bits 7:5 of the second byte are the leaf: 0 for the size of code, 1 for transactions. Each has two
/// bits below, of which 3 means nothing.
fn mode(bytes: &[u8]) -> Result<Header, NoPacket> {
    let second = *bytes.get(1).ok_or(NoPacket::CutOff)?;
    if second >> 5 > 1 || second & 0b11 == 0b11 {
        return Err(NoPacket::Bad);
    }
    Ok((Kind::Mode, 0, 1, 2))
}

fn psb(bytes: &[u8]) -> Result<Header, NoPacket> {
    let there = &bytes[..bytes.len().min(PSB.len())];
    if !PSB.starts_with(there) {
        return Err(NoPacket::Bad);
    }
    Ok((Kind::Psb, 0, PSB.len(), PSB.len()))
}

fn mnt(bytes: &[u8]) -> Result<Header, NoPacket> {
    match bytes.get(2) {
        None => Err(NoPacket::CutOff),
        Some(0x88) => Ok((Kind::Mnt, 0, 3, 11)),
        Some(_) => Err(NoPacket::Bad),
    }
}

/// The packets of bytes that start with one, up to the first that is none.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    block: Option<ItemLen>,
}

impl<'a> Packets<'a> {
    /// Of bytes that start outside a block.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, block: None }
    }
}

impl Iterator for Packets<'_> {
    type Item = Result<Packet, NoPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = Packet::parse(self.rest, self.block);
        match packet {
            Ok(packet) => {
                self.rest = &self.rest[usize::from(packet.len)..];
                if packet.kind == Kind::Bbp {
                    self.block = Some(packet.item_len());
                } else if packet.kind.ends_block() {
                    self.block = None;
                }
            }
            Err(_) => self.rest = &[],
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of the table: name, bytes, what they are outside a block.
    fn rows() -> Vec<(&'static str, Vec<u8>, Kind)> {
        let filled = |head: &[u8], len: usize| {
            let mut bytes = head.to_vec();
            bytes.extend((0xa0..).take(len - bytes.len()));
            bytes
        };
        vec![
            ("PAD", vec![0x00], Kind::Pad),
            ("TNT of one branch", vec![0x06], Kind::TntShort),
            ("TNT of six branches", vec![0xfe], Kind::TntShort),
            ("TNT that looks like a BIP", vec![0x0c], Kind::TntShort),
            ("long TNT", filled(&[0x02, 0xa3], 8), Kind::TntLong),
            ("TIP without address", vec![0x0d], Kind::Tip),
            ("TIP, 2 bytes", filled(&[0x2d], 3), Kind::Tip),
            ("TIP, 4 bytes", filled(&[0x4d], 5), Kind::Tip),
            ("TIP, 6 bytes, sign-extended", filled(&[0x6d], 7), Kind::Tip),
            ("TIP, 6 bytes", filled(&[0x8d], 7), Kind::Tip),
            ("TIP, 8 bytes", filled(&[0xcd], 9), Kind::Tip),
            ("TIP.PGE", filled(&[0x71], 7), Kind::TipPge),
            ("TIP.PGE without address", vec![0x11], Kind::TipPge),
            ("TIP.PGD", filled(&[0x21], 3), Kind::TipPgd),
            ("TIP.PGD without address", vec![0x01], Kind::TipPgd),
            ("FUP", filled(&[0xdd], 9), Kind::Fup),
            ("FUP without address", vec![0x1d], Kind::Fup),
            ("MODE of 16-bit code", vec![0x99, 0x00], Kind::Mode),
            ("MODE of 64-bit code", vec![0x99, 0x01], Kind::Mode),
            ("MODE of 32-bit code, and interrupts", vec![0x99, 0x06], Kind::Mode),
            ("MODE of no transaction", vec![0x99, 0x20], Kind::Mode),
            ("MODE of an aborted one", vec![0x99, 0x22], Kind::Mode),
            ("MTC", vec![0x59, 0x7f], Kind::Mtc),
            ("TSC", filled(&[0x19], 8), Kind::Tsc),
            ("CYC, 1 byte", vec![0xfb], Kind::Cyc),
            ("CYC, 2 bytes", vec![0x07, 0xfe], Kind::Cyc),
            ("CYC, 3 bytes", vec![0x07, 0x01, 0x02], Kind::Cyc),
            ("CYC, 10 bytes", [&[0xff; 9][..], &[0xfe]].concat(), Kind::Cyc),
            ("PSB", [0x02, 0x82].repeat(8), Kind::Psb),
            ("PSBEND", vec![0x02, 0x23], Kind::PsbEnd),
            ("OVF", vec![0x02, 0xf3], Kind::Ovf),
            ("TraceStop", vec![0x02, 0x83], Kind::TraceStop),
            ("PIP", filled(&[0x02, 0x43], 8), Kind::Pip),
            ("CBR", filled(&[0x02, 0x03], 4), Kind::Cbr),
            ("PWRE", filled(&[0x02, 0x22], 4), Kind::Pwre),
            ("TMA", filled(&[0x02, 0x73], 7), Kind::Tma),
            ("VMCS", filled(&[0x02, 0xc8], 7), Kind::Vmcs),
            ("PWRX", filled(&[0x02, 0xa2], 7), Kind::Pwrx),
            ("MNT", filled(&[0x02, 0xc3, 0x88], 11), Kind::Mnt),
            ("EXSTOP", vec![0x02, 0x62], Kind::ExStop),
            ("EXSTOP with FUP", vec![0x02, 0xe2], Kind::ExStop),
            ("MWAIT", filled(&[0x02, 0xc2], 10), Kind::Mwait),
            ("PTWRITE, 4 bytes", filled(&[0x02, 0x12], 6), Kind::PtWrite),
            ("PTWRITE, 4 bytes, with FUP", filled(&[0x02, 0x92], 6), Kind::PtWrite),
            ("PTWRITE, 8 bytes", filled(&[0x02, 0x32], 10), Kind::PtWrite),
            ("PTWRITE, 8 bytes, with FUP", filled(&[0x02, 0xb2], 10), Kind::PtWrite),
            ("CFE", filled(&[0x02, 0x13], 4), Kind::Cfe),
            ("EVD", filled(&[0x02, 0x53], 11), Kind::Evd),
            ("BBP", vec![0x02, 0x63, 0x05], Kind::Bbp),
            ("BBP of short items", vec![0x02, 0x63, 0x84], Kind::Bbp),
            ("BEP", vec![0x02, 0x33], Kind::Bep),
            ("BEP with FUP", vec![0x02, 0xb3], Kind::Bep),
        ]
    }

    #[test]
    fn every_row_of_the_table() {
        for (name, bytes, kind) in rows() {
            let behind = [&bytes[..], &[0x55; 16]].concat();
            let packet =
                Packet::parse(&behind, None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((packet.kind, usize::from(packet.len)), (kind, bytes.len()), "{name}");
            for len in 0..bytes.len() {
                assert_eq!(
                    Packet::parse(&bytes[..len], None),
                    Err(NoPacket::CutOff),
                    "{name}: {len}"
                );
            }
        }
    }

    #[test]
    fn one_after_the_other() {
        // The last two begin and end a block.
        let rows = rows();
        let bytes: Vec<u8> = rows.iter().flat_map(|(_, bytes, _)| bytes.clone()).collect();
        let kinds: Vec<_> = Packets::new(&bytes).map(|packet| packet.unwrap().kind).collect();
        assert_eq!(kinds, rows.iter().map(|(.., kind)| *kind).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_packet() {
        let cases: [(&str, &[u8]); 18] = [
            ("address of length 5", &[0xad]),
            ("address of length 7", &[0xed]),
            ("FUP of length 7", &[0xfd]),
            ("1 of 8 that are odd", &[0x05]),
            ("neither TSC, MTC nor MODE", &[0x39]),
            ("TRIG, the length of which is in doubt", &[0xd9]),
            ("MODE of code of size 3", &[0x99, 0x03]),
            ("the same, and interrupts", &[0x99, 0x07]),
            ("MODE of a transaction that is in two states", &[0x99, 0x23]),
            ("MODE of leaf 2", &[0x99, 0x40]),
            ("MODE of leaf 7", &[0x99, 0xff]),
            ("the same", &[0xf9]),
            ("PTWRITE of length 2", &[0x02, 0x52]),
            ("PTWRITE of length 3 with FUP", &[0x02, 0xf2]),
            ("no extended packet", &[0x02, 0x00]),
            ("MNT without its third byte", &[0x02, 0xc3, 0x87]),
            ("a PSB that changes its mind", &[0x02, 0x82, 0x02, 0x82, 0x03]),
            ("CYC of 11 bytes", &[0xff; 10]),
        ];
        for (name, bytes) in cases {
            let behind = [bytes, &[0x82; 16]].concat();
            for bytes in [bytes, &behind[..]] {
                assert_eq!(Packet::parse(bytes, None), Err(NoPacket::Bad), "{name}");
            }
        }
    }

    #[test]
    fn every_first_byte_is_one_kind_or_none() {
        let mut bad = 0;
        for first in 0..=255u8 {
            // Zeros end a CYC, and are no extended packet.
            let bytes = [&[first][..], &[0; 15]].concat();
            let outside = Packet::parse(&bytes, None).map(|packet| packet.kind);
            let want = match first {
                0x00 => Ok(Kind::Pad),
                0x02 => Err(NoPacket::Bad),
                _ if first % 2 == 0 => Ok(Kind::TntShort),
                _ if first % 4 == 3 => Ok(Kind::Cyc),
                0x0d | 0x2d | 0x4d | 0x6d | 0x8d | 0xcd => Ok(Kind::Tip),
                0x11 | 0x31 | 0x51 | 0x71 | 0x91 | 0xd1 => Ok(Kind::TipPge),
                0x01 | 0x21 | 0x41 | 0x61 | 0x81 | 0xc1 => Ok(Kind::TipPgd),
                0x1d | 0x3d | 0x5d | 0x7d | 0x9d | 0xdd => Ok(Kind::Fup),
                0x19 => Ok(Kind::Tsc),
                0x59 => Ok(Kind::Mtc),
                0x99 => Ok(Kind::Mode),
                _ => Err(NoPacket::Bad),
            };
            assert_eq!(outside, want, "{first:#04x}");
            bad += u32::from(want.is_err());
            for (items, len) in [(ItemLen::Eight, 9), (ItemLen::Four, 5)] {
                let inside = Packet::parse(&bytes, Some(items));
                if first % 8 == 4 {
                    let want = Packet { kind: Kind::Bip, index: first / 8, len, payload: 0 };
                    assert_eq!(inside, Ok(want), "{first:#04x}");
                } else {
                    assert_eq!(inside.map(|packet| packet.kind), want, "{first:#04x}");
                }
            }
        }
        assert_eq!(bad, 1 + 64 - 4 * 6 - 3, "of the 64 that end in 01, 24 have an address");
    }

    #[test]
    fn which_packets_end_a_block() {
        let staying = [
            "PAD", "TSC", "TMA", "MTC", "CYC", "CBR", "FUP", "MNT", "EXSTOP", "PWRE", "PWRX", "BBP",
        ];
        for (name, _, kind) in rows() {
            let stays = staying.iter().any(|row| name.split([' ', ',']).next() == Some(*row));
            assert_eq!(kind.ends_block(), !stays, "{name}");
        }
    }

    #[test]
    fn payloads() {
        let tsc = Packet::parse(&[0x19, 1, 2, 3, 4, 5, 6, 7], None).unwrap();
        assert_eq!(tsc.payload, 0x07_0605_0403_0201);
        let item = Packet::parse(&[0x1c, 1, 2, 3, 4, 5, 6, 7, 8], Some(ItemLen::Eight)).unwrap();
        assert_eq!((item.index, item.payload), (3, 0x0807_0605_0403_0201));
        let short = Packet::parse(&[0xfc, 1, 2, 3, 0x84, 5], Some(ItemLen::Four)).unwrap();
        assert_eq!((short.index, short.payload, short.len), (31, 0x8403_0201, 5));
        let begin = Packet::parse(&[0x02, 0x63, 0x90], None).unwrap();
        assert_eq!((begin.block_type(), begin.item_len()), (0x10, ItemLen::Four));
        let begin = Packet::parse(&[0x02, 0x63, 0x65], None).unwrap();
        assert_eq!(
            (begin.block_type(), begin.item_len()),
            (5, ItemLen::Eight),
            "bits 6:5 say nothing"
        );
        let end = |second| Packet::parse(&[0x02, second], None).unwrap().index;
        assert_eq!((end(0x33), end(0xb3)), (0, 1));
    }
}
