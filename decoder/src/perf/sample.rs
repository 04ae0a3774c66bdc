//! Sample records, and the trailers of other records (`perf_event.h`, PERF_RECORD_SAMPLE and
//! `struct sample_id`; the order of the fields is that of the kernel's `perf_output_sample`).

use super::attr::{Attr, ReadFormat, SampleType};
use super::auxtrace::known;
use crate::cursor::{ByteOrder, Cursor};

/// `branch_sample_type` bits that make a branch stack longer.
const BRANCH_HW_INDEX: u64 = 1 << 17;
const BRANCH_COUNTERS: u64 = 1 << 19;

/// The fields of a sample that matter here; `None` is a field that the event does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Instruction.
    pub ip: Option<u64>,
    /// Process and thread.
    pub pid_tid: Option<(u32, u32)>,
    /// Nanoseconds of perf's clock.
    pub time: Option<u64>,
    /// Data address; 0 where the event has none.
    pub addr: Option<u64>,
    /// CPU.
    pub cpu: Option<u32>,
    /// RAW, without its size: bytes whose meaning the event's unit knows.
    pub raw: Option<&'a [u8]>,
    /// WEIGHT, or the first part of WEIGHT_STRUCT: a latency in cycles.
    pub weight: Option<u64>,
    /// DATA_SRC, see [`super::DataSrc`].
    pub data_src: Option<u64>,
    /// Physical data address; 0 where the kernel found none.
    pub phys_addr: Option<u64>,
    /// Size of the data's page mapping; 0 where nothing was mapped.
    pub data_page_size: Option<u64>,
}

impl<'a> Sample<'a> {
    /// Reads the body of a sample record of an event with this attribute. `None` if its fields
    /// do not end exactly where the record does.
    pub fn parse(body: &'a [u8], attr: &Attr, order: ByteOrder) -> Option<Self> {
        let mut at = Cursor::new(body, order);
        let has = |field| attr.sample_type.contains(field);
        let mut sample = Self::default();

        if has(SampleType::IDENTIFIER) {
            at.u64()?;
        }
        if has(SampleType::IP) {
            sample.ip = Some(at.u64()?);
        }
        if has(SampleType::TID) {
            sample.pid_tid = Some((at.u32()?, at.u32()?));
        }
        if has(SampleType::TIME) {
            sample.time = Some(at.u64()?);
        }
        if has(SampleType::ADDR) {
            sample.addr = Some(at.u64()?);
        }
        if has(SampleType::ID) {
            at.u64()?;
        }
        if has(SampleType::STREAM_ID) {
            at.u64()?;
        }
        if has(SampleType::CPU) {
            sample.cpu = known(at.u32()?);
            at.u32()?;
        }
        if has(SampleType::PERIOD) {
            at.u64()?;
        }
        if has(SampleType::READ) {
            skip_read(&mut at, attr.read_format)?;
        }
        if has(SampleType::CALLCHAIN) {
            let entries = at.u64()?;
            at.skip_items(entries, 8)?;
        }
        if has(SampleType::RAW) {
            let size = at.u32()?;
            sample.raw = Some(at.take(u64::from(size))?);
        }
        if has(SampleType::BRANCH_STACK) {
            let entries = at.u64()?;
            if attr.branch_sample_type & BRANCH_HW_INDEX != 0 {
                at.u64()?;
            }
            at.skip_items(entries, 24)?;
            if attr.branch_sample_type & BRANCH_COUNTERS != 0 {
                at.skip_items(entries, 8)?;
            }
        }
        if has(SampleType::REGS_USER) {
            skip_registers(&mut at, attr.sample_regs_user)?;
        }
        if has(SampleType::STACK_USER) {
            let size = at.u64()?;
            if size != 0 {
                at.take(size)?;
                at.u64()?;
            }
        }
        if has(SampleType::WEIGHT_STRUCT) {
            // u32, u16, u16, mirrored as a whole by big-endian writers.
            sample.weight = Some(at.u64()? & u64::from(u32::MAX));
        } else if has(SampleType::WEIGHT) {
            sample.weight = Some(at.u64()?);
        }
        if has(SampleType::DATA_SRC) {
            sample.data_src = Some(at.u64()?);
        }
        if has(SampleType::TRANSACTION) {
            at.u64()?;
        }
        if has(SampleType::REGS_INTR) {
            skip_registers(&mut at, attr.sample_regs_intr)?;
        }
        if has(SampleType::PHYS_ADDR) {
            sample.phys_addr = Some(at.u64()?);
        }
        if has(SampleType::CGROUP) {
            at.u64()?;
        }
        if has(SampleType::DATA_PAGE_SIZE) {
            sample.data_page_size = Some(at.u64()?);
        }
        if has(SampleType::CODE_PAGE_SIZE) {
            at.u64()?;
        }
        // The AUX field is the last one, although its bit is not.
        if has(SampleType::AUX) {
            let size = at.u64()?;
            at.take(size)?;
        }
        let newer = attr.sample_type.bits() >> 25 != 0;
        (at.rest().is_empty() || newer).then_some(sample)
    }
}

/// READ: one counter, or those of a group.
fn skip_read(at: &mut Cursor<'_>, format: ReadFormat) -> Option<()> {
    let counters = if format.contains(ReadFormat::GROUP) { at.u64()? } else { 1 };
    let per_read = format.contains(ReadFormat::TOTAL_TIME_ENABLED) as u64
        + format.contains(ReadFormat::TOTAL_TIME_RUNNING) as u64;
    let per_counter =
        1 + format.contains(ReadFormat::ID) as u64 + format.contains(ReadFormat::LOST) as u64;
    at.skip_items(per_read, 8)?;
    at.skip_items(counters, 8 * per_counter)
}

/// Registers: an ABI, and unless that is "none" one word for each bit of the mask.
fn skip_registers(at: &mut Cursor<'_>, mask: u64) -> Option<()> {
    match at.u64()? {
        0 => Some(()),
        _ => at.skip_items(u64::from(mask.count_ones()), 8),
    }
}

/// What a record other than a sample says at its end, if its event asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// Process and thread.
    pub pid_tid: Option<(u32, u32)>,
    /// Nanoseconds of perf's clock; 0 in records that perf made up at its start.
    pub time: Option<u64>,
    /// CPU.
    pub cpu: Option<u32>,
}

/// Fields that a trailer can have.
const TRAILER: SampleType = SampleType::TID
    .union(SampleType::TIME)
    .union(SampleType::ID)
    .union(SampleType::STREAM_ID)
    .union(SampleType::CPU)
    .union(SampleType::IDENTIFIER);

impl Trailer {
    /// Reads the end of a record's body.
    pub fn parse(body: &[u8], sample_type: SampleType, order: ByteOrder) -> Option<Self> {
        let fields = sample_type.intersection(TRAILER);
        let len = 8 * fields.bits().count_ones() as usize;
        let start = body.len().checked_sub(len)?;
        let mut at = Cursor::new(&body[start..], order);
        let mut trailer = Self::default();
        if fields.contains(SampleType::TID) {
            trailer.pid_tid = Some((at.u32()?, at.u32()?));
        }
        if fields.contains(SampleType::TIME) {
            trailer.time = Some(at.u64()?);
        }
        if fields.contains(SampleType::ID) {
            at.u64()?;
        }
        if fields.contains(SampleType::STREAM_ID) {
            at.u64()?;
        }
        if fields.contains(SampleType::CPU) {
            trailer.cpu = known(at.u32()?);
        }
        Some(trailer)
    }
}

/// Where an event's id stands in the body of a sample, in bytes from its start.
pub fn id_in_sample(sample_type: SampleType) -> Option<usize> {
    if sample_type.contains(SampleType::IDENTIFIER) {
        return Some(0);
    }
    let before = SampleType::IP | SampleType::TID | SampleType::TIME | SampleType::ADDR;
    sample_type
        .contains(SampleType::ID)
        .then(|| 8 * sample_type.intersection(before).bits().count_ones() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_type(fields: &[SampleType]) -> SampleType {
        fields.iter().copied().collect()
    }

    /// What RAW holds: bytes as they stand in memory, behind a size of 12.
    const RAW: [u8; 12] = [0xad, 0xde, 0, 0, 0xef, 0xbe, 0, 0, 0, 0, 0, 0];

    /// Every field, in the kernel's order, with its bytes.
    fn fields() -> Vec<(SampleType, Vec<u64>)> {
        vec![
            (SampleType::IDENTIFIER, vec![77]),
            (SampleType::IP, vec![0x401000]),
            (SampleType::TID, vec![u64::from(12u32) | 34 << 32]),
            (SampleType::TIME, vec![5_000]),
            (SampleType::ADDR, vec![0x7f00_1000]),
            (SampleType::ID, vec![77]),
            (SampleType::STREAM_ID, vec![78]),
            (SampleType::CPU, vec![3]),
            (SampleType::PERIOD, vec![1000]),
            // A group of two: nr, enabled, running, (value, id, lost) twice.
            (SampleType::READ, vec![2, 9, 9, 1, 2, 3, 4, 5, 6]),
            (SampleType::CALLCHAIN, vec![2, 0xa, 0xb]),
            (SampleType::RAW, vec![12 | 0xdead << 32, 0xbeef]),
            // nr, hw_idx, two entries, two counters.
            (SampleType::BRANCH_STACK, vec![2, 1, 1, 2, 3, 4, 5, 6, 7, 8]),
            (SampleType::REGS_USER, vec![2, 1, 2, 3]),
            (SampleType::STACK_USER, vec![16, 1, 2, 16]),
            (SampleType::WEIGHT_STRUCT, vec![123 | 45 << 32 | 6 << 48]),
            (SampleType::DATA_SRC, vec![0x1e05080021]),
            (SampleType::TRANSACTION, vec![0]),
            (SampleType::REGS_INTR, vec![0]),
            (SampleType::PHYS_ADDR, vec![0x1234_5678]),
            (SampleType::CGROUP, vec![1]),
            (SampleType::DATA_PAGE_SIZE, vec![1 << 21]),
            (SampleType::CODE_PAGE_SIZE, vec![1 << 12]),
            (SampleType::AUX, vec![8, 0]),
        ]
    }

    fn attr(sample_type: SampleType) -> Attr {
        Attr {
            sample_type,
            read_format: ReadFormat::from_bits_retain(0b11111),
            branch_sample_type: BRANCH_HW_INDEX | BRANCH_COUNTERS,
            sample_regs_user: 0b1011,
            sample_regs_intr: 0b1,
            ..Attr::default()
        }
    }

    fn body(fields: &[(SampleType, Vec<u64>)]) -> Vec<u8> {
        fields.iter().flat_map(|(_, words)| words).flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn all_fields_at_once_and_without_each_one() {
        for without in 0..=fields().len() {
            let mut fields = fields();
            let gone = (without < fields.len()).then(|| fields.remove(without).0);
            let attr = attr(fields.iter().map(|(field, _)| *field).collect());
            let body = body(&fields);
            let got = Sample::parse(&body, &attr, ByteOrder::Little).unwrap();
            let unless = |field, value| (gone != Some(field)).then_some(value);
            let want = Sample {
                ip: unless(SampleType::IP, 0x401000),
                pid_tid: (gone != Some(SampleType::TID)).then_some((12, 34)),
                time: unless(SampleType::TIME, 5_000),
                addr: unless(SampleType::ADDR, 0x7f00_1000),
                cpu: (gone != Some(SampleType::CPU)).then_some(3),
                raw: (gone != Some(SampleType::RAW)).then_some(&RAW),
                weight: unless(SampleType::WEIGHT_STRUCT, 123),
                data_src: unless(SampleType::DATA_SRC, 0x1e05080021),
                phys_addr: unless(SampleType::PHYS_ADDR, 0x1234_5678),
                data_page_size: unless(SampleType::DATA_PAGE_SIZE, 1 << 21),
            };
            assert_eq!(got, want, "without {gone:?}");
        }
    }

    #[test]
    fn a_record_that_is_cut_or_too_long_is_no_sample() {
        let fields = fields();
        let attr = attr(fields.iter().map(|(field, _)| *field).collect());
        let body = body(&fields);
        for len in 0..body.len() {
            assert_eq!(Sample::parse(&body[..len], &attr, ByteOrder::Little), None, "{len}");
        }
        let longer = [&body[..], &[0; 8]].concat();
        assert_eq!(Sample::parse(&longer, &attr, ByteOrder::Little), None);
    }

    #[test]
    fn counts_beyond_the_record_are_refused() {
        for field in [
            SampleType::CALLCHAIN,
            SampleType::BRANCH_STACK,
            SampleType::STACK_USER,
            SampleType::AUX,
            SampleType::READ,
        ] {
            let body = [u64::MAX, 0, 0].map(u64::to_le_bytes).concat();
            assert_eq!(Sample::parse(&body, &attr(field), ByteOrder::Little), None, "{field:?}");
        }
    }

    #[test]
    fn a_single_counter_has_no_count_in_front() {
        let attr = Attr {
            sample_type: SampleType::READ | SampleType::PHYS_ADDR,
            read_format: ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::ID | ReadFormat::LOST,
            ..Attr::default()
        };
        let body = [100u64, 9, 77, 0, 0x5000].map(u64::to_le_bytes).concat();
        let sample = Sample::parse(&body, &attr, ByteOrder::Little).unwrap();
        assert_eq!(sample.phys_addr, Some(0x5000));
    }

    #[test]
    fn the_weight_of_a_big_endian_writer() {
        let attr = attr(SampleType::WEIGHT_STRUCT);
        // var3, var2, var1 in memory.
        let body = [0, 6, 0, 45, 0, 0, 0, 123];
        assert_eq!(Sample::parse(&body, &attr, ByteOrder::Big).unwrap().weight, Some(123));
    }

    #[test]
    fn a_trailer_is_read_from_the_end() {
        let fields = sample_type(&[
            SampleType::IP,
            SampleType::TID,
            SampleType::TIME,
            SampleType::CPU,
            SampleType::IDENTIFIER,
            SampleType::PHYS_ADDR,
        ]);
        let body = [0xffff, 12 | 34 << 32, 5_000, 3, 77].map(u64::to_le_bytes).concat();
        let want = Trailer { pid_tid: Some((12, 34)), time: Some(5_000), cpu: Some(3) };
        assert_eq!(Trailer::parse(&body, fields, ByteOrder::Little), Some(want));
        assert_eq!(Trailer::parse(&body[..31], fields, ByteOrder::Little), None);
    }

    #[test]
    fn where_the_id_stands() {
        assert_eq!(id_in_sample(SampleType::IDENTIFIER | SampleType::IP), Some(0));
        let fields = sample_type(&[SampleType::IP, SampleType::TIME, SampleType::ID]);
        assert_eq!(id_in_sample(fields), Some(16));
        assert_eq!(id_in_sample(SampleType::IP), None);
    }
}
