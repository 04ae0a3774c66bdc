//! Healthy SPE data against a decoder of a few lines, written from the tables of DDI 0487, D18.1
//! and D18.2, that shares nothing with the one it judges: one walk over one slice.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use decoder::spe::{Decoder, Record};
use decoder::{ByteAccount, Grain, Ledger, Options, decode_bytes, decode_stream};
use tracegen::bytes::Endian;
use tracegen::perf::attr::{Attr, Event, flag, sample_type};
use tracegen::perf::feature::Features;
use tracegen::perf::{self, Auxtrace, AuxtraceInfo, Settings, Writer};
use tracegen::spe::{Packet, Width};

use super::Choices;
use super::probe::{ENOUGH, Probe, check, wanted};

/// The longest data of one queue.
const MOST_BYTES: usize = 1 << 12;
/// The type of the unit that the recording has.
const PMU: u32 = 11;

/// Writes healthy records as the input says and reads them twice. Records, account and pages
/// are the same, whatever the cuts, the form and the number of threads.
pub fn differential(data: &[u8]) {
    let mut choices = Choices::from_start(data);
    let whole_records = choices.flag();
    let queues = usize::from(choices.byte() % 4);
    let mut streams = vec![stream(&mut choices, whole_records)];
    streams.resize_with(queues + 1, || stream(&mut choices, whole_records));
    let mut cuts = Choices::from_end(data);
    for bytes in &streams {
        let want = naive(bytes);
        assert_eq!(decode(&[bytes]), want);
        assert_eq!(decode(&cuts.cuts(bytes, 8)), want);
    }
    recording(&streams, &mut cuts);
}

/// What is compared of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Plain {
    pc: Option<u64>,
    va: Option<u64>,
    pa: Option<u64>,
    operation: Option<(u8, u8)>,
    events: Option<u64>,
    latency: Option<u16>,
    context: [Option<u32>; 2],
    source: Option<u16>,
    timestamp: Option<u64>,
}

impl Plain {
    fn thread(&self) -> Option<u32> {
        self.context[1].or(self.context[0])
    }

    fn is_memory(&self) -> bool {
        match self.operation {
            Some((class, _)) => class == 1,
            None => self.va.is_some() || self.pa.is_some(),
        }
    }
}

impl From<&Record> for Plain {
    fn from(record: &Record) -> Self {
        Self {
            pc: record.pc(),
            va: record.data_va(),
            pa: record.data_pa(),
            operation: record.operation(),
            events: record.events(),
            latency: record.total_latency(),
            context: [None, record.context()],
            source: record.data_source(),
            timestamp: record.timestamp(),
        }
    }
}

/// Reads healthy data: the length of a packet is in its header, a record ends where it says.
fn naive(bytes: &[u8]) -> (Vec<Plain>, ByteAccount) {
    let (mut records, mut account) = (Vec::new(), ByteAccount::default());
    let (mut record, mut record_len, mut at) = (Plain::default(), 0, 0);
    while at < bytes.len() {
        let first = bytes[at];
        let extended = first & 0xe0 == 0x20;
        let last = if extended { bytes.get(at + 1).copied().unwrap_or(0xff) } else { first };
        let start = at + if extended { 2 } else { 1 };
        let end = start + if last < 0x40 { 0 } else { 1 << (last >> 4 & 3) };
        if end > bytes.len() {
            record_len += bytes.len() - at;
            break;
        }
        let value = bytes[start..end].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let [low, second, ..] = value.to_le_bytes();
        at = end;
        if first == 0 {
            account.padding += 1;
            continue;
        }
        record_len += end - start + if extended { 2 } else { 1 };
        // Extended headers are known for addresses and counters, with the high bits of the
        // index in the first byte: only those of index 0 to 7 mean anything here.
        if extended && first != 0x20 {
            continue;
        }
        match last {
            0xb0 => record.pc = Some(value),
            0xb2 => record.va = Some(value),
            0xb3 => record.pa = Some(value),
            0x98 => record.latency = Some(u16::from_le_bytes([low, second])),
            _ if extended => {}
            0x48..=0x4b => record.operation = Some((first & 3, low)),
            0x42 | 0x52 | 0x62 | 0x72 => record.events = Some(value),
            0x43 | 0x53 => record.source = Some(u16::from_le_bytes([low, second])),
            0x64 | 0x65 => record.context[usize::from(first & 1)] = u32::try_from(value).ok(),
            0x01 | 0x71 => {
                record.timestamp = (first == 0x71).then_some(value);
                record.context = [None, record.thread()];
                records.push(record);
                account.record += record_len as u64;
                (record, record_len) = (Plain::default(), 0);
            }
            _ => {}
        }
    }
    account.cut_off = record_len as u64;
    (records, account)
}

fn decode(pieces: &[&[u8]]) -> (Vec<Plain>, ByteAccount) {
    let mut decoder = Decoder::default();
    let (mut records, mut position) = (Vec::new(), 0);
    for piece in pieces {
        decoder.feed(piece, position, &mut |record, _| records.push(Plain::from(record)));
        position += piece.len() as u64;
    }
    decoder.finish();
    assert_eq!(decoder.total(), position);
    (records, decoder.bytes())
}

/// Writes records until the choices say enough. Either all have what the architecture gives
/// every record, and may have packets that are not known yet, or none has such packets.
fn stream(choices: &mut Choices<'_>, whole_records: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let most = MOST_BYTES.min(usize::from(choices.u16()));
    while !choices.is_empty() && bytes.len() < most {
        record(choices, whole_records, &mut bytes);
    }
    if choices.flag() {
        bytes.truncate(choices.below(bytes.len() + 1));
    }
    bytes
}

/// One record: each packet at most once, in any order, with padding anywhere.
fn record(choices: &mut Choices<'_>, whole: bool, out: &mut Vec<u8>) {
    let mask = choices.u32();
    let has = |bit: u32| mask >> bit & 1 == 1;
    let mut packets = Vec::new();
    for index in 0..5 {
        if has(u32::from(index)) || whole && index == 0 {
            packets.push(address(choices, index));
        }
    }
    for (bit, index) in [(5, 0), (6, 1), (7, 2), (8, 4)] {
        if has(bit) {
            packets.push(counter(choices, index));
        }
    }
    if has(9) || whole {
        packets.push(Packet::Operation { class: choices.byte() & 3, payload: choices.byte() });
    }
    if has(10) || whole {
        packets.push(Packet::Events { bits: choices.u64(), width: width(choices) });
    }
    if has(11) {
        let width = if choices.flag() { Width::Two } else { Width::One };
        packets.push(Packet::DataSource { value: choices.u16(), width });
    }
    for index in 0..4 {
        if has(12 + u32::from(index)) {
            packets.push(Packet::Context { index, value: choices.u32() });
        }
    }
    if has(16) {
        let index = 5 + choices.byte() % 27;
        packets.push(address(choices, index));
    }
    if has(17) {
        let index = [3, 5, 6, 7, 8, 31][choices.below(6)];
        packets.push(counter(choices, index));
    }
    if has(18) && has(19) {
        packets.push(Packet::Alignment(choices.byte()));
    }
    if whole && has(20) {
        for _ in 0..=choices.below(3) {
            let header = [0x44, 0x50, 0x63, 0x73, 0x80, 0x90, 0xa8, 0xb8, 0xc1, 0xff];
            let header = header[choices.below(header.len())];
            packets.push(Packet::Reserved { header, payload: choices.u64() });
        }
    }
    let padded = has(21);
    while !packets.is_empty() {
        if padded {
            (0..choices.byte() & 7).for_each(|_| Packet::Padding.write(out));
        }
        let next = if has(22) { choices.below(packets.len()) } else { 0 };
        packets.remove(next).write(out);
    }
    if has(23) { Packet::Timestamp(choices.u64()) } else { Packet::End }.write(out);
}

fn width(choices: &mut Choices<'_>) -> Width {
    [Width::One, Width::Two, Width::Four, Width::Eight][choices.below(4)]
}

fn address(choices: &mut Choices<'_>, index: u8) -> Packet {
    let extended = choices.byte() == 0;
    let payload = choices.u64();
    if extended {
        Packet::ExtendedAddress { index, payload }
    } else {
        Packet::Address { index, payload }
    }
}

fn counter(choices: &mut Choices<'_>, index: u8) -> Packet {
    let extended = choices.byte() == 0;
    let value = choices.u16();
    if extended {
        Packet::ExtendedCounter { index, value }
    } else {
        Packet::Counter { index, value }
    }
}

/// What a run over several queues must come to, with `filling` bytes that perf added.
fn expected(streams: &[Vec<u8>], filling: u64) -> (Ledger, Vec<(u64, u32)>) {
    let mut ledger = Ledger { aux_bytes: filling, padding_bytes: filling, ..Ledger::default() };
    let mut pages = BTreeMap::new();
    for bytes in streams {
        let (records, account) = naive(bytes);
        ledger.aux_bytes += bytes.len() as u64;
        ledger.record_bytes += account.record;
        ledger.padding_bytes += account.padding;
        ledger.cut_off_bytes += account.cut_off;
        for record in records {
            ledger.records += 1;
            ledger.not_retired += u64::from(record.events.is_some_and(|events| events & 2 == 0));
            if !record.is_memory() {
                ledger.not_memory += 1;
                continue;
            }
            ledger.tid_unknown += u64::from(record.thread().is_none());
            if let Some(pa) = record.pa {
                ledger.counted += 1;
                *pages.entry(pa << 8 >> 20).or_default() += 1;
            } else {
                ledger.no_physical_address += 1;
            }
        }
    }
    (ledger, pages.into_iter().collect())
}

/// The queues in one recording, their pieces one after another in turn.
fn recording(streams: &[Vec<u8>], choices: &mut Choices<'_>) {
    let form = choices.byte();
    let form = Form { stream: form & 1 == 1, big: form & 2 == 2, filled: form & 4 == 4 };
    let (bytes, filling) = container(streams, &form, choices);
    let want = expected(streams, filling);
    let mut runs = Vec::new();
    let grain = Grain { part: 1 + choices.below(512), buffer: 1 + choices.below(2048) };
    for (threads, ordered) in [(1, false), (2, false), (3, false), (4, false), (1, true)] {
        let threads = NonZeroUsize::new(threads).expect("1 to 4");
        let options = Options { ordered, grain, ..Options::new(threads) };
        let mut probe = Probe::new(ENOUGH);
        let recording = decode_bytes(&[&bytes], 0, &options, &mut probe);
        runs.push((recording.expect("a recording"), probe));
        if form.stream {
            let mut probe = Probe::new(ENOUGH);
            let recording = decode_stream(&bytes[..], 0, &options, &mut probe);
            runs.push((recording.expect("a stream"), probe));
        }
    }
    let records = runs[0].1.in_order();
    for (recording, probe) in &runs {
        let mut ledger = recording.ledger;
        probe.counter.ledgers().for_each(|(_, part)| ledger += part);
        assert_eq!((ledger, probe.pages()), want);
        assert!(recording.problems.is_empty(), "{:?}", recording.problems);
        assert_eq!(probe.in_order(), records);
        probe.counter.store().validate();
    }
    let (recording, probe) = runs.swap_remove(0);
    check(recording, &probe, bytes.len(), wanted(3, 49, true));
}

/// How the container is written.
struct Form {
    stream: bool,
    big: bool,
    /// As perf does it: AUX records announce each piece, and zeros fill it up to eight bytes.
    filled: bool,
}

/// A recording of these queues, and how many bytes of filling it has.
fn container(streams: &[Vec<u8>], form: &Form, choices: &mut Choices<'_>) -> (Vec<u8>, u64) {
    let endian = if form.big { Endian::Big } else { Endian::Little };
    let attr = Attr {
        kind: PMU,
        size: 128,
        sample_type: sample_type::IP | sample_type::TID | sample_type::CPU,
        flags: flag::SAMPLE_ID_ALL,
        ..Attr::default()
    };
    let events = vec![Event { attr, ids: vec![7], name: "arm_spe_0//".to_owned() }];
    let settings = Settings { endian, stream: form.stream, compression: None, events };
    let features = Features::new(endian);
    let in_memory = "memory takes all";
    let mut writer = Writer::new(Vec::new(), settings, &features, 0).expect(in_memory);
    let mut info = Vec::new();
    AuxtraceInfo::V1 { pmu: PMU }.write(&mut info, endian);
    writer.tool(&info).expect(in_memory);
    let mut queues: Vec<_> =
        streams.iter().map(|bytes| (0, choices.cuts(bytes, 4).into_iter())).collect();
    let (mut left, mut filling) = (true, 0);
    while left {
        left = false;
        for (cpu, (offset, pieces)) in (0..).zip(&mut queues) {
            let Some(piece) = pieces.next() else { continue };
            left = true;
            let size = piece.len() as u64;
            let mut piece = piece.to_vec();
            if form.filled {
                let announced = perf::Record::Aux { offset: *offset, size, flags: 0 };
                let trailer = perf::Trailer { cpu, ..perf::Trailer::default() };
                let mut record = Vec::new();
                announced.write(&mut record, endian, attr.sample_type, &trailer);
                writer.tool(&record).expect(in_memory);
                piece.resize(piece.len().next_multiple_of(8), 0);
            }
            let filled = piece.len() as u64;
            filling += filled - size;
            let tid = u32::MAX;
            let record =
                Auxtrace { size: filled, offset: *offset, reference: 0, idx: cpu, tid, cpu };
            writer.auxtrace(&record, &piece).expect(in_memory);
            *offset += size;
        }
    }
    let done = writer.finish(features, false).expect(in_memory);
    let mut bytes = done.out;
    if let Some(header) = done.header {
        bytes[..header.len()].copy_from_slice(&header);
    }
    (bytes, filling)
}
