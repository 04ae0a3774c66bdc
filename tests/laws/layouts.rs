//! Records of recurring layouts, whole and damaged: recognising them gives what walking gives.

use decoder::perf::{Clock, QueueKey, SideBand};
use decoder::spe::{Decoder, Encoding, Queue, Record};
use decoder::{
    Access, AuxFormat, Batch, ByteAccount, ByteOrder, Chunk, Continuity, Detail, Origin, PhysAddr,
    Position, Sink, Touch,
};

use super::Choices;

/// More than the decoder remembers, so that some are forgotten and come again.
const MOST_LAYOUTS: usize = 48;
const MOST_RECORDS: usize = 600;

/// Writes records of a few layouts with changing payloads, does some damage, and decodes them in
/// pieces: a decoder that recognises layouts gives the same records, in the same places, with the
/// same account as one that walks every packet, and as much of each as is asked for is the same.
pub fn layouts(data: &[u8]) {
    let mut choices = Choices::from_start(data);
    let trace = trace(&mut choices);
    let mut place = 0;
    let pieces: Vec<_> = choices
        .cuts(&trace, 6)
        .into_iter()
        .map(|bytes| {
            let join = match choices.byte() {
                0..192 => Continuity::Continued,
                192..224 => Continuity::Gap,
                back @ 224..240 => Continuity::Snapshot {
                    repeated_before: (place + u64::from(back - 224) * 8).saturating_sub(64),
                },
                zeros => Continuity::Trimmed(zeros % 8),
            };
            place += bytes.len() as u64;
            (join, bytes)
        })
        .collect();
    let plain = decode(Decoder::plain(), &pieces);
    assert_eq!(decode(Decoder::default(), &pieces), plain);
    asked_for_less(&pieces);
}

/// A header and how many bytes follow it.
type Packet = (Vec<u8>, usize);

fn trace(choices: &mut Choices<'_>) -> Vec<u8> {
    let count = 1 + choices.below(MOST_LAYOUTS);
    let layouts: Vec<_> = (0..count).map(|_| layout(choices)).collect();
    let mut payload = choices.u64() | 1;
    let mut trace = Vec::new();
    for number in 0..MOST_RECORDS {
        if choices.is_empty() && number > 64 {
            break;
        }
        // Where there are no choices left, all layouts in turn.
        let choice = if choices.is_empty() { number } else { usize::from(choices.byte()) };
        for (header, len) in &layouts[choice % count] {
            trace.extend_from_slice(header);
            for _ in 0..*len {
                payload ^= payload << 13;
                payload ^= payload >> 7;
                payload ^= payload << 17;
                trace.push(payload.to_le_bytes()[7]);
            }
        }
        if choice >= 240 {
            damage(choices, &mut trace);
        }
    }
    trace
}

/// Packets in any order: mostly those of the tables, with padding, and an end.
fn layout(choices: &mut Choices<'_>) -> Vec<Packet> {
    let count = choices.below(16);
    let mut packets: Vec<Packet> = (0..count)
        .map(|_| match choices.byte() {
            kind @ 0..96 => (vec![0xb0 + kind % 5], 8),
            kind @ 96..128 => (vec![0x98 + kind % 5], 2),
            kind @ 128..160 => (vec![0x48 + kind % 4], 1),
            kind @ 160..184 => (vec![0x42 + ((kind % 4) << 4)], 1 << (kind % 4)),
            kind @ 184..196 => (vec![0x43 + ((kind % 2) << 4)], 1 << (kind % 2)),
            kind @ 196..212 => (vec![0x64 + kind % 4], 4),
            kind @ 212..240 => (vec![0; usize::from(kind - 211)], 0),
            kind @ 240..248 => (vec![0x20 + kind % 3, 0xb0 + kind % 8], 8),
            kind @ 248..253 => (vec![0x20, 0x98 + kind % 5], 2),
            // Reserved; after it the next record must prove itself.
            kind => (vec![0xe0 + kind % 3], 4),
        })
        .collect();
    packets.push(if choices.flag() { (vec![0x71], 8) } else { (vec![0x01], 0) });
    packets
}

/// Changes a byte near the end, drops some, or adds some.
fn damage(choices: &mut Choices<'_>, trace: &mut Vec<u8>) {
    let back = choices.below(trace.len().min(100));
    let at = trace.len().saturating_sub(back + 1);
    match choices.byte() % 4 {
        0 => trace[at] ^= 1 << (choices.byte() % 8),
        1 => trace.truncate(at),
        2 => trace.resize(trace.len() + choices.below(20), 0),
        _ => (0..choices.below(12)).for_each(|_| trace.push(choices.byte())),
    }
}

/// Records with the place behind each, the account, and the number of all bytes.
type Decoded = (Vec<(Record, u64)>, ByteAccount, u64);

fn decode(mut decoder: Decoder, pieces: &[(Continuity, &[u8])]) -> Decoded {
    let (mut records, mut position) = (Vec::new(), 0);
    for (join, bytes) in pieces {
        let skipped = decoder.join(*join).min(bytes.len());
        decoder.fed_mut().fill(skipped);
        let start = position + skipped as u64;
        decoder.feed(&bytes[skipped..], start, &mut |record, end| {
            records.push((*record, start + end as u64));
        });
        position += bytes.len() as u64;
    }
    decoder.finish();
    (records, decoder.bytes(), decoder.total())
}

/// Keeps what it is given.
#[derive(Debug)]
struct Given {
    detail: Detail,
    accesses: Vec<Access>,
    addresses: Vec<PhysAddr>,
    touches: Vec<Touch>,
    /// Records, no memory operation, no physical address, not retired, no thread.
    counts: [u64; 5],
    times: Option<(u64, u64)>,
}

impl Given {
    fn new(detail: Detail) -> Self {
        let (accesses, addresses, touches) = (Vec::new(), Vec::new(), Vec::new());
        Self { detail, accesses, addresses, touches, counts: [0; 5], times: None }
    }

    fn origin(&mut self, origin: &Origin) {
        self.counts[0] += 1;
        self.counts[3] += u64::from(origin.not_retired);
        self.times(origin.time_ns.map(|time| (time, time)));
    }

    fn times(&mut self, times: Option<(u64, u64)>) {
        self.times = match (self.times, times) {
            (Some((a, b)), Some((first, last))) => Some((a.min(first), b.max(last))),
            (known, times) => known.or(times),
        };
    }
}

impl Sink for Given {
    fn detail(&self) -> Detail {
        self.detail
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        let rest = batch.not_memory + batch.no_physical_address;
        assert_eq!(batch.records, rest + batch.addresses.len() as u64);
        self.addresses.extend_from_slice(batch.addresses);
        self.touches.extend_from_slice(batch.touches);
        self.times(batch.times);
        for (sum, count) in self.counts.iter_mut().zip([
            batch.records,
            batch.not_memory,
            batch.no_physical_address,
            batch.not_retired,
            batch.tid_unknown,
        ]) {
            *sum += count;
        }
    }

    fn access(&mut self, access: &Access) {
        self.origin(&access.origin);
        self.counts[2] += u64::from(access.paddr.is_none());
        self.counts[4] += u64::from(access.tid.is_none());
        self.accesses.push(*access);
    }

    fn other(&mut self, origin: &Origin) {
        self.origin(origin);
        self.counts[1] += 1;
    }
}

/// A sink that asks for less is given the same, as far as it asks.
fn asked_for_less(pieces: &[(Continuity, &[u8])]) {
    // A tick is a nanosecond.
    let time_conv = [0u64, 1, 0].map(u64::to_le_bytes).concat();
    let clock = Clock::parse(&time_conv, ByteOrder::Little);
    assert!(clock.is_some());
    let run = |detail| {
        let mut queue = Queue::new(QueueKey { idx: 0, cpu: Some(1), tid: None });
        let mut given = Given::new(detail);
        let mut at = Position::default();
        for (join, bytes) in pieces {
            queue.begin(Chunk {
                offset: at.offset.0,
                data_len: bytes.len() as u64,
                continuity: *join,
                repeated: 0,
                breaks: Vec::new(),
                clock,
                reference: None,
                event: None,
                format: AuxFormat::ArmSpe(Encoding::Common),
            });
            queue.bytes(bytes, at, &SideBand::default(), &mut given);
            at.offset.0 += bytes.len() as u64;
        }
        (queue.finish(), given)
    };
    let (all, accesses) = run(Detail::Accesses);
    let (touched, touches) = run(Detail::Counts);
    let (placed, places) = run(Detail::Addresses);
    assert_eq!((&touched, &placed), (&all, &all), "account and times");
    let counted: Vec<_> =
        accesses.accesses.iter().filter(|access| access.paddr.is_some()).collect();
    let addresses: Vec<_> = counted.iter().filter_map(|access| access.paddr).collect();
    assert_eq!(touches.addresses, addresses);
    assert_eq!(places.addresses, addresses);
    let wanted: Vec<_> = counted
        .iter()
        .map(|access| Touch {
            direction: access.operation.direction,
            latency_cycles: access.latency_cycles.unwrap_or(0),
            pid: access.pid,
            vaddr: access.vaddr,
            time_ns: access.origin.time_ns,
            offset: access.origin.position.offset,
        })
        .collect();
    assert_eq!(touches.touches, wanted);
    assert!(places.touches.is_empty());
    assert_eq!(touches.counts, accesses.counts);
    assert_eq!((touches.times, places.times), (accesses.times, None));
    assert_eq!(places.counts[..3], accesses.counts[..3]);
}
