//! Any bytes as the AUX data of one queue.

use decoder::perf::{QueueKey, SideBand};
use decoder::spe::{Decoder, Encoding, Packets, Queue, Record};
use decoder::{Access, ByteAccount, Join, Origin, Piece, Position, Sink, Unit};

use super::Choices;

/// Decodes any bytes in any pieces. Every byte is in one field of the account, and cutting a
/// piece where nothing is missing changes nothing.
pub fn spe(data: &[u8]) {
    packets(data);
    let mut choices = Choices::from_end(data);
    let whole = decode(&[(Join::Continued, data)]);
    let cut: Vec<_> =
        choices.cuts(data, 16).into_iter().map(|piece| (Join::Continued, piece)).collect();
    assert_eq!(decode(&cut), whole, "cut into {} pieces", cut.len());
    let bytes: Vec<_> = data.chunks(1).map(|byte| (Join::Continued, byte)).collect();
    assert_eq!(decode(&bytes), whole, "byte by byte");

    let mut place = 0;
    let pieces: Vec<_> = choices
        .cuts(data, 16)
        .into_iter()
        .map(|piece| {
            let join = join(&mut choices, place);
            place += piece.len() as u64;
            (join, piece)
        })
        .collect();
    decode(&pieces);
    queue(data, &mut choices);
}

/// The packets of any bytes are as long as the bytes, and only the last one can be cut off.
fn packets(data: &[u8]) {
    let mut at = 0;
    let mut packets = Packets::new(data);
    for packet in packets.by_ref() {
        let Ok(packet) = packet else {
            assert!(data.len() - at < decoder::spe::MAX_PACKET_LEN);
            at = data.len();
            continue;
        };
        at += packet.header.packet_len();
        assert!(
            packet.header.payload_len == 8
                || packet.payload >> (8 * packet.header.payload_len) == 0
        );
    }
    assert_eq!(at, data.len());
    assert_eq!(packets.next(), None);
}

/// How a piece that starts at `place` may follow.
fn join(choices: &mut Choices<'_>, place: u64) -> Join {
    match choices.byte() {
        0..64 => Join::Continued,
        64..96 => Join::Gap,
        repeated @ 96..128 => {
            Join::Snapshot { repeated_before: place.saturating_add(u64::from(repeated - 96)) }
        }
        zeros => Join::Trimmed(zeros % 8),
    }
}

/// Records with the place behind each, and the account.
type Decoded = (Vec<(Record, u64)>, ByteAccount, u64);

fn decode(pieces: &[(Join, &[u8])]) -> Decoded {
    let decoded = decode_by(Decoder::default(), pieces);
    assert_eq!(decode_by(Decoder::plain(), pieces), decoded, "walked, packet by packet");
    decoded
}

fn decode_by(mut decoder: Decoder, pieces: &[(Join, &[u8])]) -> Decoded {
    let mut records = Vec::new();
    let (mut position, mut fed) = (0, 0);
    for (join, bytes) in pieces {
        let skipped = decoder.join(*join).min(bytes.len());
        decoder.fill(skipped);
        let (start, mut last) = (position + skipped as u64, 0);
        decoder.feed(&bytes[skipped..], start, &mut |record, end| {
            assert!(last < end && end <= bytes.len() - skipped, "records end one behind another");
            last = end;
            records.push((*record, start + end as u64));
        });
        position += bytes.len() as u64;
        fed += bytes.len() as u64;
    }
    decoder.finish();
    let (account, total) = (decoder.bytes(), decoder.total());
    balanced(account, total, fed);
    assert!(account.record >= records.len() as u64, "a record has its end at least");
    (records, account, total)
}

fn balanced(account: ByteAccount, total: u64, fed: u64) {
    let sum = account.record + account.padding + account.skipped + account.cut_off;
    assert_eq!(sum, total, "{account:?}");
    assert_eq!(total + account.overlap, fed, "{account:?}");
}

/// Remembers accesses and other records.
#[derive(Debug, Default, PartialEq)]
struct Given(Vec<Access>, Vec<Origin>);

impl Sink for Given {
    fn access(&mut self, access: &Access) {
        self.0.push(*access);
    }
    fn other(&mut self, origin: &Origin) {
        self.1.push(*origin);
    }
}

/// Pieces with places, losses and repeats: the account adds up, and it does not matter in how
/// many steps the bytes of a piece come.
fn queue(data: &[u8], choices: &mut Choices<'_>) {
    let origin = if choices.flag() { u64::MAX - u64::from(choices.byte()) } else { 0 };
    let mut place = origin;
    let pieces: Vec<_> = choices
        .cuts(data, 8)
        .into_iter()
        .map(|bytes| {
            let mut breaks = Vec::new();
            // As of AUX records: none in a piece whose places start again at 0.
            if place.checked_add(bytes.len() as u64).is_some() {
                let count = choices.below(4);
                breaks.resize_with(count, || place + choices.below(bytes.len() + 1) as u64);
            }
            breaks.sort_unstable();
            let piece = Piece {
                offset: place,
                // perf's filling is less than eight bytes.
                data_len: (bytes.len() as u64).saturating_sub(u64::from(choices.byte() % 8)),
                join: join(choices, place),
                repeated: choices.below(3) as u64 * 5,
                breaks,
                clock: None,
                event: None,
                unit: Unit::ArmSpe(Encoding::Common),
            };
            place = place.wrapping_add(bytes.len() as u64);
            (piece, bytes)
        })
        .collect();
    let run = |steps: &mut dyn FnMut(usize) -> usize| {
        let mut queue = Queue::new(QueueKey { idx: 0, cpu: Some(1), tid: None });
        let mut given = Given::default();
        let side_band = SideBand::default();
        let mut at = Position::default();
        for (piece, bytes) in &pieces {
            queue.begin(piece.clone());
            let mut rest = *bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(steps(rest.len()));
                queue.bytes(now, at, &side_band, &mut given);
                at.offset.0 += now.len() as u64;
                rest = later;
            }
        }
        let (account, total, timed) = queue.finish();
        balanced(account, total, data.len() as u64);
        (given, account, total, timed)
    };
    let at_once = run(&mut |len| len);
    let in_steps = run(&mut |len| choices.below(len) + 1);
    assert_eq!(in_steps, at_once);
}
