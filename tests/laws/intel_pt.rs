//! Any bytes as the Intel PT data of one queue.

use decoder::intel_pt::{Decoder, ItemLen, NoPacket, PSB, Packet, Packets, Pebs, Queue, Record};
use decoder::perf::{QueueKey, SideBand};
use decoder::{AuxFormat, ByteAccount, Chunk, Continuity, Position, Sink, Timed};

use super::{Choices, pieces};

/// Decodes any bytes in any pieces, also behind a PSB. Every byte is in one field of the account,
/// and cutting a piece where nothing is missing changes nothing.
pub fn intel_pt(data: &[u8]) {
    packets(data);
    started(data);
    started(&[&PSB, data].concat());
}

fn started(data: &[u8]) {
    let mut choices = Choices::from_end(data);
    let whole = decode(&[(Continuity::Continued, data)]);
    let cut: Vec<_> =
        choices.cuts(data, 16).into_iter().map(|piece| (Continuity::Continued, piece)).collect();
    assert_eq!(decode(&cut), whole, "cut into {} pieces", cut.len());
    let bytes: Vec<_> = data.chunks(1).map(|byte| (Continuity::Continued, byte)).collect();
    assert_eq!(decode(&bytes), whole, "byte by byte");
    searched(data, &whole);

    let mut place = 0;
    let cut = choices.cuts(data, 16).into_iter().map(|piece| {
        let join = pieces::join(&mut choices, place);
        place += piece.len() as u64;
        (join, piece)
    });
    decode(&cut.collect::<Vec<_>>());
    let unit = AuxFormat::IntelPt(Pebs::default());
    pieces::queue(data, &mut choices, &unit, || {
        Queue::new(QueueKey { idx: 0, cpu: Some(1), tid: None })
    });
}

/// A packet is as long as it says, in a block and outside; less of it is no packet yet.
fn packets(data: &[u8]) {
    for block in [None, Some(ItemLen::Eight), Some(ItemLen::Four)] {
        let Ok(packet) = Packet::parse(data, block) else { continue };
        let len = usize::from(packet.len);
        assert!(len <= data.len() && (1..=PSB.len()).contains(&len));
        assert_eq!(Packet::parse(&data[..len], block), Ok(packet));
        for len in 0..len {
            assert_eq!(Packet::parse(&data[..len], block), Err(NoPacket::CutOff));
        }
    }
    let mut len = 0;
    for packet in Packets::new(data) {
        len += packet.map_or(0, |packet| usize::from(packet.len));
    }
    assert!(len <= data.len());
}

/// Nothing before the first PSB is believed, and all of it is skipped. It ends where what looks
/// like one does: no other follows it at once.
fn searched(data: &[u8], (records, account, _): &Decoded) {
    let first = data.windows(PSB.len()).position(|window| *window == PSB);
    let end = first.map_or(data.len(), |start| {
        let alternates = |at: &usize| data.get(*at) == Some(&[0x02, 0x82][(at - start) % 2]);
        let run = (start..).take_while(alternates).count();
        start + run - run % 2
    });
    let before = if first.is_some() { end - PSB.len() } else { end };
    assert!(account.skipped >= before as u64);
    assert!(records.iter().all(|(_, place)| *place > end as u64));
}

/// Records with the place behind each, and the account.
type Decoded = (Vec<(Record, u64)>, ByteAccount, u64);

fn decode(pieces: &[(Continuity, &[u8])]) -> Decoded {
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    let (mut place, mut position) = (0_u64, 0);
    for (join, bytes) in pieces {
        decoder.join(*join);
        place = place.wrapping_sub(pieces::trimmed(*join));
        let mut last = 0;
        decoder.feed(bytes, place, &mut |record, end| {
            assert!(last < end && end <= bytes.len(), "records end one behind another");
            last = end;
            records.push((*record, position + end as u64));
        });
        place = place.wrapping_add(bytes.len() as u64);
        position += bytes.len() as u64;
    }
    decoder.finish();
    let (account, total) = (decoder.bytes(), decoder.total());
    pieces::balanced(account, total, position);
    assert!(account.record >= 5 * records.len() as u64, "a record begins and ends");
    (records, account, total)
}

impl pieces::Queue for Queue {
    fn begin(&mut self, piece: Chunk) {
        self.begin(piece);
    }
    fn bytes(&mut self, bytes: &[u8], at: Position, sink: &mut dyn Sink) {
        self.bytes(bytes, at, &SideBand::default(), sink);
    }
    fn finish(self) -> (ByteAccount, u64, Timed) {
        self.finish()
    }
}
