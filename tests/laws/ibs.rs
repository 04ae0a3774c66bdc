//! Any bytes as the RAW field of an IBS op, and in a recording.

use decoder::ibs::{Address, Model, Op};
use decoder::{AccessFlags, DataSource, Direction};
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::{Attr, Event, Sample, Settings, Writer};

use super::Choices;
use super::probe::{ENOUGH, Given, Probe, check, wanted};

/// Registers of any values: what is read of them is what a second reading by their places says,
/// also of what is refused. A recording with them in its samples is counted by the same rules.
pub fn ibs(data: &[u8]) {
    compare(data);
    let mut choices = Choices::from_start(data);
    let mut raw = choices.u32().to_le_bytes().to_vec();
    // Mostly an op that was valid.
    let control = choices.u64() | if choices.byte() < 240 { 3 << 17 } else { 0 };
    raw.extend(control.to_le_bytes());
    raw.extend((0..6).flat_map(|_| choices.u64().to_le_bytes()));
    raw.extend(choices.rest().iter().take(64));
    compare(&raw);
    for len in 0..raw.len().min(61) {
        compare(&raw[..len]);
    }
    recording(&raw, &mut choices);
}

/// A register by its index.
fn register(raw: &[u8], index: usize) -> Option<u64> {
    let bytes = raw.get(4 + 8 * index..12 + 8 * index)?;
    Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// What counts: direction and physical address, if the registers are those of an op.
fn naive(raw: &[u8]) -> Option<(Option<Direction>, Option<Address>)> {
    let (control, data3, physical) = (register(raw, 0)?, register(raw, 4)?, register(raw, 6)?);
    let bit = |number: u32| data3 & 1 << number != 0;
    if control & 0x6_0000 != 0x6_0000 {
        return None;
    }
    let direction = match (bit(0), bit(1)) {
        (true, _) => Direction::Load,
        (_, true) => Direction::Store,
        _ => return Some((None, None)),
    };
    let address = match physical % (1 << 52) {
        _ if !bit(18) => None,
        0 => Some(Address::Hidden),
        address => Some(Address::Known(decoder::PhysAddr::new_truncate(address))),
    };
    Some((Some(direction), address))
}

/// The processor has no say in addresses.
fn compare(raw: &[u8]) {
    for model in [Model::Unknown, Model::Zen3Server, Model::Zen3, Model::Other] {
        compare_on(raw, model);
    }
}

fn compare_on(raw: &[u8], model: Model) {
    let op = Op::parse(raw, model);
    assert_eq!(op.map(|op| (op.direction(), op.phys_addr())), naive(raw), "{raw:02x?}");
    let Some((op, data3)) = op.zip(register(raw, 4)) else { return };
    let bit = |number: u32| data3 & 1 << number != 0;
    let none = op.direction().is_none();
    assert_eq!(op.lin_addr().is_some(), !none && bit(17) && register(raw, 5) != Some(0));
    assert!(!none || op.data_source().is_none() && op.flags().is_empty());
    assert!(op.latency_cycles().is_none() || bit(0) && bit(7) && !bit(14));
    let data2 = register(raw, 3).expect("it has more");
    let behind_l2 = bit(0) && bit(7) && bit(20) && !bit(14);
    assert!(!op.flags().contains(AccessFlags::HITM) || behind_l2 && data2 & 1 << 5 == 0);
    if bit(14) && !none {
        let five_bits = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) & 1 << 11 != 0;
        let code = data2 & if five_bits { 0xc7 } else { 0x7 };
        let erratum = match model {
            Model::Unknown => !five_bits,
            model => model == Model::Zen3Server,
        };
        let io = bit(0) && code == 7 && !(erratum && (bit(16) || bit(21)));
        let want = if io { DataSource::Io } else { DataSource::Uncached };
        assert_eq!(op.data_source(), Some(want));
    }
}

/// A recording of one event of `ibs_op`.
fn recording(raw: &[u8], choices: &mut Choices<'_>) {
    let mut sample_type = st::IDENTIFIER | st::IP | st::TID | st::RAW;
    for field in [st::ADDR, st::PHYS_ADDR, st::DATA_SRC, st::WEIGHT] {
        sample_type |= if choices.flag() { field } else { 0 };
    }
    let sample = Sample {
        id: 1,
        raw: raw.to_vec(),
        addr: choices.u64(),
        phys_addr: choices.u64(),
        data_src: choices.u64(),
        weight: choices.u64(),
        ..Sample::default()
    };
    let bytes = write(&sample, sample_type);
    let mut probe = Probe::new(ENOUGH);
    let options = decoder::Options::new(core::num::NonZeroUsize::MIN);
    let decoded = decoder::decode_bytes(&[&bytes], 0, &options, &mut probe);
    let recording = decoded.expect("tracegen wrote it");
    assert_eq!(probe.seen, 1);
    let given = sample.phys_addr % (1 << 56);
    let given = Some(given).filter(|_| sample.phys_addr != 0 && sample_type & st::PHYS_ADDR != 0);
    let of_op = match naive(raw) {
        Some((_, Some(Address::Known(address)))) => Some(address.get()),
        _ => None,
    };
    let paddr = match &probe.given[0] {
        Given::Access(access) => access.paddr.map(decoder::PhysAddr::get),
        Given::Other(_) => None,
    };
    assert_eq!(paddr, given.or(of_op), "{sample:x?} {sample_type:#x}");
    assert!(recording.ibs.hidden + recording.ibs.differ <= 1);
    check(recording, &probe, bytes.len(), wanted(0, 30, false));
}

fn write(sample: &Sample, sample_type: u64) -> Vec<u8> {
    let endian = tracegen::bytes::Endian::Little;
    let attr = Attr { kind: 9, size: 128, sample_period: 1, sample_type, ..Attr::default() };
    let events = vec![Event { attr, ids: vec![1], name: "ibs_op//".to_owned() }];
    let mut features = Features::new(endian);
    features.text(bit::CPUID, "AuthenticAMD,25,17,1").pmus(&[(9, "ibs_op")]).events(&events);
    let settings = Settings { endian, stream: false, compression: None, events };
    let mut record = Vec::new();
    sample.write(&mut record, endian, sample_type);
    let all = "memory takes all";
    let mut writer = Writer::new(Vec::new(), settings, &features, 1).expect(all);
    writer.tool(&record).expect(all);
    let finished = writer.finish(features, true).expect(all);
    let mut out = finished.out;
    if let Some(header) = finished.header {
        out[..header.len()].copy_from_slice(&header);
    }
    out
}
