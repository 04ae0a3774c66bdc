//! What records of a queue are given out as.

use super::data_source::Core;
use super::{Decoder, Record};
use crate::aux_data::byte_account::FedBytes;
use crate::aux_data::chunk::{AuxFormat, Chunk};
use crate::aux_data::queue::{AuxDecoder, ChunkData, GiveTo, Given};
use crate::aux_data::threads::Threads;
use crate::perf::{AuxOwner, QueueKey, SideBand};
use crate::{EventIndex, Origin, Position, Sink, Source, TraceOffset, cost};

/// Decodes the chunks of one queue, in their order.
pub type Queue = crate::aux_data::queue::Queue<Decoder>;

impl AuxDecoder for Decoder {
    fn begin(&mut self, chunk: &Chunk) -> (u64, usize) {
        // With times, what came before is known by them. Without, it is passed over by its place;
        // but places of a ring that is overwritten are those in the ring, so that what follows
        // may be anything.
        let by_place = chunk.repeated > 0 && self.is_untimed();
        self.refer_to(chunk.reference);
        if by_place {
            self.gap();
            (chunk.repeated, 0)
        } else {
            self.join(chunk.continuity);
            (0, 0)
        }
    }

    fn decode<S: Sink + ?Sized>(&mut self, data: &ChunkData<'_>, into: GiveTo<'_, S>) -> Given {
        let &ChunkData { chunk, bytes, place, at } = data;
        let GiveTo { key, threads, sideband, sink } = into;
        self.feed(bytes, place, &mut |record, end| {
            let offset = TraceOffset((at.offset.0 + end as u64).saturating_sub(1));
            let position = Position { offset, ..at };
            give(record, chunk, (key, position), (threads, sideband), sink);
        });
        let (given, ticked) = self.take_given();
        Given { records: given > 0, ticked }
    }

    fn gap_at(&mut self, place: u64) {
        Self::gap_at(self, place);
    }

    fn finish(&mut self) {
        Self::finish(self);
    }

    fn fed_mut(&mut self) -> &mut FedBytes {
        Self::fed_mut(self)
    }

    fn fed(&self) -> FedBytes {
        FedBytes { account: self.bytes(), total: self.total() }
    }

    fn newest(&self) -> Option<u64> {
        Self::newest(self)
    }
}

/// Gives out a record: once for each counter that asked for it and is known, since each is a sample
/// of its own event. If there is one event alone, or no counter is known, it is one sample.
fn give<S: Sink + ?Sized>(
    record: &Record,
    chunk: &Chunk,
    (key, position): (QueueKey, Position),
    (threads, sideband): (&mut Threads, &SideBand),
    sink: &mut S,
) {
    let time_ns = chunk.clock.zip(record.ticks).map(|(clock, ticks)| clock.nanoseconds(ticks));
    let thread = threads.of(key, None, time_ns, sideband);
    let pebs = if let AuxFormat::IntelPt(pebs) = &chunk.format { Some(pebs) } else { None };
    let core = pebs.map_or(Core::Other, |pebs| pebs.core);
    let mut sample = |event: Option<EventIndex>| {
        cost::steps(1);
        let origin = Origin {
            source: Source::IntelPt,
            event,
            cpu: key.cpu,
            time_ns,
            not_retired: false,
            position,
        };
        let sampled = pebs.map(|pebs| pebs.sampled(event)).unwrap_or_default();
        match record.access(origin, thread, core, sampled) {
            Some(mut access) => {
                access.aux_queue = Some(key);
                sink.access(&access);
            }
            None => sink.other(&origin),
        }
    };
    let counters = if chunk.event.is_some() { 0 } else { record.counters.unwrap_or(0) };
    let mut known = false;
    for counter in (0..64u8).filter(|counter| counters >> counter & 1 == 1) {
        let event = AuxOwner::of(key).and_then(|ring| sideband.event_of(ring, counter, time_ns));
        if event.is_some() {
            sample(event);
            known = true;
        }
    }
    if !known {
        sample(chunk.event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intel_pt::PSB;
    use crate::intel_pt::pebs::Pebs;
    use crate::{Access, ByteAccount, Continuity};

    const CPU: u32 = 3;

    /// Event and address of each access, and of what is none 0.
    #[derive(Default)]
    struct Told(Vec<(Option<u16>, u64)>);

    impl Sink for Told {
        fn access(&mut self, access: &Access) {
            let vaddr = access.vaddr.expect("an access has one");
            self.0.push((access.origin.event.map(|event| event.0), vaddr.get()));
        }
        fn other(&mut self, origin: &Origin) {
            self.0.push((origin.event.map(|event| event.0), 0));
        }
    }

    /// PSB, a TSC packet if there is a time, PSBEND.
    fn start(ticks: Option<u64>) -> Vec<u8> {
        let time = ticks.map(|ticks| [&[0x19], &ticks.to_le_bytes()[..7]].concat());
        [&PSB[..], &time.unwrap_or_default(), &[0x02, 0x23]].concat()
    }

    /// A record of an address without a time: counters, address.
    fn record(counters: u64, address: u64) -> Vec<u8> {
        let (counters, address) = (counters.to_le_bytes(), address.to_le_bytes());
        let basic = [&[0x02, 0x63, 0x04, 0x0c][..], &counters].concat();
        [&basic[..], &[0x02, 0x63, 0x05, 0x04], &address, &[0x02, 0x33]].concat()
    }

    fn chunk(offset: u64, bytes: &[u8], continuity: Continuity, repeated: u64) -> Chunk {
        Chunk {
            offset,
            data_len: bytes.len() as u64,
            continuity,
            repeated,
            breaks: Vec::new(),
            clock: None,
            reference: None,
            event: None,
            format: AuxFormat::IntelPt(Pebs::default()),
        }
    }

    fn run(chunks: &[(Chunk, &[u8])], sideband: &SideBand) -> (Told, ByteAccount) {
        let mut queue = Queue::new(QueueKey { idx: 0, cpu: Some(CPU), tid: None });
        let (mut told, mut fed) = (Told::default(), 0);
        for (chunk, bytes) in chunks {
            queue.begin(chunk.clone());
            queue.bytes(bytes, Position::default(), sideband, &mut told);
            fed += bytes.len() as u64;
        }
        let (account, total, _) = queue.finish();
        assert_eq!((account.sum(), account.sum() + account.overlap), (total, fed));
        (told, account)
    }

    /// The addresses in two snapshots, of which the second starts 16 bytes further in the ring.
    fn snapshots(first: &[u8], second: &[u8]) -> (Vec<u64>, ByteAccount) {
        let repeated = first.len() as u64 - 16;
        let snapshot = |repeated_before| Continuity::Snapshot { repeated_before };
        let chunks = [
            (chunk(0x1000, first, snapshot(0), 0), first),
            (chunk(0x1010, second, snapshot(0x1010 + repeated), repeated), second),
        ];
        let (told, account) = run(&chunks, &SideBand::default());
        (told.0.into_iter().map(|(_, address)| address).collect(), account)
    }

    #[test]
    fn places_in_a_ring_that_is_overwritten_hide_nothing_that_has_a_time() {
        // No record has come before, but a time: the ring has gone round since.
        let first = [start(Some(10)), vec![0x06; 100]].concat();
        let second = [start(Some(20)), record(0, 0x5000), start(Some(30))].concat();
        let (addresses, account) = snapshots(&first, &second);
        assert_eq!(addresses, [0x5000]);
        assert_eq!(account.overlap, 16, "the PSB before the first time");
        // The same bytes again are known by the time.
        let (addresses, account) = snapshots(&first, &[&first[..], &second].concat());
        assert_eq!(addresses, [0x5000]);
        assert_eq!(account.overlap, first.len() as u64 + 16);
    }

    #[test]
    fn where_nothing_was_decoded_nothing_is_repeated() {
        let second = [start(None), record(0, 0x5000)].concat();
        assert_eq!(snapshots(&[0x06; 100], &second).0, [0x5000]);
    }

    #[test]
    fn without_times_bytes_are_repeated_by_their_place_and_a_psb_is_searched_behind_them() {
        let first = [start(None), record(0, 0x5000), vec![0x02, 0x63, 0x05]].concat();
        // Behind those is something else than what was open before them.
        let rest = [0x04, 1, 2, 3, 4, 5, 6, 7, 8, 0x02, 0x33];
        let later = [start(None), record(0, 0x6000)].concat();
        let second = [&first[16..], &rest, &later].concat();
        let (addresses, account) = snapshots(&first, &second);
        assert_eq!(addresses, [0x5000, 0x6000]);
        assert_eq!((account.overlap, account.cut_off), (first.len() as u64 - 16, 3));
        assert_eq!(account.skipped, rest.len() as u64);
    }

    #[test]
    fn address_0_is_no_access() {
        let bytes = [start(Some(1)), record(0, 0), record(0, 0x5000)].concat();
        let (told, account) =
            run(&[(chunk(0, &bytes, Continuity::Continued, 0), &bytes)], &SideBand::default());
        assert_eq!(told.0, [(None, 0), (None, 0x5000)]);
        assert_eq!(account.record, bytes.len() as u64);
    }

    #[test]
    fn a_record_is_a_sample_of_each_known_counter_s_event_or_one_of_none() {
        let mut sideband = SideBand::default();
        sideband.counter(AuxOwner::Cpu(CPU), 0, 0, EventIndex(1));
        sideband.counter(AuxOwner::Cpu(CPU), 3, 0, EventIndex(2));
        sideband.counter(AuxOwner::Cpu(CPU + 1), 5, 0, EventIndex(3));
        let one = |event| vec![(event, 0x5000)];
        let cases = [
            ("no counter", 0, one(None)),
            ("a known one", 1, one(Some(1))),
            ("both", 0b1001, vec![(Some(1), 0x5000), (Some(2), 0x5000)]),
            ("one that nobody named", 0b10, one(None)),
            ("several of those", 1 << 63 | 0b11_0110, one(None)),
            ("one that is known on another CPU", 1 << 5, one(None)),
            ("one beside others", 0b1110, one(Some(2))),
            ("all", u64::MAX, vec![(Some(1), 0x5000), (Some(2), 0x5000)]),
        ];
        for (name, counters, want) in cases {
            let bytes = [start(Some(1)), record(counters, 0x5000)].concat();
            let several = chunk(0, &bytes, Continuity::Continued, 0);
            let alone = Chunk { event: Some(EventIndex(7)), ..several.clone() };
            assert_eq!(run(&[(several, &bytes)], &sideband).0.0, want, "{name}");
            assert_eq!(run(&[(alone, &bytes)], &sideband).0.0, one(Some(7)), "{name}");
        }
    }
}
