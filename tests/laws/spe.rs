//! Any bytes as the AUX data of one queue.

use decoder::perf::{QueueKey, SideBand};
use decoder::spe::{Decoder, Encoding, Packets, Queue, Record};
use decoder::{
    AuxFormat, ByteAccount, Chunk, Continuity, Error, Position, Raw, Sink, Timed, decode_raw,
};

use super::probe::{ENOUGH, Probe, check, wanted};
use super::{Choices, pieces};

/// Decodes any bytes in any pieces. Every byte is in one field of the account, and cutting a
/// piece where nothing is missing changes nothing.
pub fn spe(data: &[u8]) {
    packets(data);
    let mut choices = Choices::from_end(data);
    let whole = decode(&[(Continuity::Continued, data)]);
    let cut: Vec<_> =
        choices.cuts(data, 16).into_iter().map(|piece| (Continuity::Continued, piece)).collect();
    assert_eq!(decode(&cut), whole, "cut into {} pieces", cut.len());
    let bytes: Vec<_> = data.chunks(1).map(|byte| (Continuity::Continued, byte)).collect();
    assert_eq!(decode(&bytes), whole, "byte by byte");
    raw(data, &whole);

    let mut place = 0;
    let cut: Vec<_> = choices
        .cuts(data, 16)
        .into_iter()
        .map(|piece| {
            let join = pieces::join(&mut choices, place);
            place += piece.len() as u64;
            (join, piece)
        })
        .collect();
    decode(&cut);
    pieces::queue(data, &mut choices, &AuxFormat::ArmSpe(Encoding::Common), || {
        Queue::new(QueueKey { idx: 0, cpu: Some(1), tid: None })
    });
}

/// Read as a buffer without a container they give the same records and account.
fn raw(data: &[u8], (records, account, _): &Decoded) {
    let mut probe = Probe::new(ENOUGH);
    match decode_raw(data, Raw::ArmSpe(None), 0, &mut probe) {
        Ok(recording) => {
            assert_eq!(probe.given.len(), records.len());
            let ledger = recording.ledger;
            assert_eq!(
                (ledger.aux_bytes, ledger.record_bytes),
                (data.len() as u64, account.record)
            );
            check(recording, &probe, data.len(), wanted(0, 30, false));
        }
        Err(error) => {
            assert!(matches!(error, Error::NotRaw { .. }), "{error}");
            assert!(data.starts_with(b"PERF") || data.starts_with(b"2ELIFREP"));
        }
    }
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

/// Records with the place behind each, and the account.
type Decoded = (Vec<(Record, u64)>, ByteAccount, u64);

fn decode(pieces: &[(Continuity, &[u8])]) -> Decoded {
    let decoded = decode_by(Decoder::default(), pieces);
    assert_eq!(decode_by(Decoder::plain(), pieces), decoded, "walked, packet by packet");
    decoded
}

fn decode_by(mut decoder: Decoder, pieces: &[(Continuity, &[u8])]) -> Decoded {
    let mut records = Vec::new();
    let (mut position, mut fed) = (0, 0);
    for (join, bytes) in pieces {
        let skipped = decoder.join(*join).min(bytes.len());
        decoder.fed_mut().fill(skipped);
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
    pieces::balanced(account, total, fed);
    assert!(account.record >= records.len() as u64, "a record has its end at least");
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
