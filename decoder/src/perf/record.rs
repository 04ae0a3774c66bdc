//! The record stream: a header of eight bytes, a body, and for two kinds of record a payload
//! behind what the header calls the size (`include/uapi/linux/perf_event.h`,
//! `tools/lib/perf/include/perf/event.h`).

use crate::cursor::{ByteOrder, Cursor};

/// Numbers of the records that are read. Those from 64 on are written by perf itself.
pub mod kind {
    #![allow(missing_docs)]
    pub const MMAP: u32 = 1;
    pub const LOST: u32 = 2;
    pub const COMM: u32 = 3;
    pub const EXIT: u32 = 4;
    pub const THROTTLE: u32 = 5;
    pub const FORK: u32 = 7;
    pub const SAMPLE: u32 = 9;
    pub const MMAP2: u32 = 10;
    pub const AUX: u32 = 11;
    pub const ITRACE_START: u32 = 12;
    pub const LOST_SAMPLES: u32 = 13;
    pub const SWITCH: u32 = 14;
    pub const SWITCH_CPU_WIDE: u32 = 15;
    pub const AUX_OUTPUT_HW_ID: u32 = 21;
    pub const FIRST_OF_TOOL: u32 = 64;
    pub const HEADER_ATTR: u32 = 64;
    pub const TRACING_DATA: u32 = 66;
    pub const ID_INDEX: u32 = 69;
    pub const AUXTRACE_INFO: u32 = 70;
    pub const AUXTRACE: u32 = 71;
    pub const CPU_MAP: u32 = 74;
    pub const EVENT_UPDATE: u32 = 78;
    pub const TIME_CONV: u32 = 79;
    pub const HEADER_FEATURE: u32 = 80;
    pub const COMPRESSED: u32 = 81;
    pub const COMPRESSED2: u32 = 83;
}

/// The mode that the processor was in, in records of the kernel's: `PERF_RECORD_MISC_CPUMODE_MASK`.
const MISC_MODE: u16 = 0b111;
/// `PERF_RECORD_MISC_GUEST_KERNEL` and `PERF_RECORD_MISC_GUEST_USER`.
const GUEST_MODES: [u16; 2] = [4, 5];
/// `PERF_RECORD_MISC_COMM_EXEC`: the name is that of a program that was started.
pub const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_SWITCH_OUT`.
pub const MISC_SWITCH_OUT: u16 = 1 << 13;
/// `PERF_RECORD_MISC_LOST_SAMPLES_BPF`: a filter dropped the samples because it was asked to.
pub const MISC_LOST_SAMPLES_BPF: u16 = 1 << 15;

/// Size of a record's header.
pub const HEADER_LEN: usize = 8;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its kind: `PERF_RECORD_*`, or a number from 64 on that perf itself writes.
    pub kind: u32,
    /// Bits that depend on the kind.
    pub misc: u16,
    /// What follows the header.
    pub body: &'a [u8],
    /// Bytes behind the record that belong to it: AUX data, or what is passed over. They are a
    /// claim, to be compared with what is there.
    pub payload_len: u64,
}

impl Record<'_> {
    /// Header and body, in bytes.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Whether the processor ran a guest, in a record of the kernel's.
    pub fn is_of_guest(&self) -> bool {
        GUEST_MODES.contains(&(self.misc & MISC_MODE))
    }
}

/// Kinds from here on are simpleperf's own, whose headers have 16 more bits of the size where
/// perf's have `misc` (`simpleperf_record_header` in AOSP, `simpleperf/record.h`).
const SIMPLEPERF: u32 = 1 << 15;
/// Longest body of perf's TRACING_DATA: the payload's size, and in newer versions 4 more bytes.
const TRACING_DATA_LEN: usize = 8;

/// Bytes that belong to a record and stand behind its header's size.
fn payload_len(kind: u32, body: &[u8], order: ByteOrder) -> u64 {
    let mut at = Cursor::new(body, order);
    match kind {
        kind::AUXTRACE => at.u64().unwrap_or(0),
        kind::TRACING_DATA => match at.u32().map(u64::from) {
            // simpleperf writes the payload into the record itself.
            Some(size) if body.len() > TRACING_DATA_LEN && size <= at.rest().len() as u64 => 0,
            // perf writes it behind the record, padded to 8.
            Some(size) => size.next_multiple_of(8),
            None => 0,
        },
        _ => 0,
    }
}

/// What stands at the start of some bytes of the record stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// The start of one, of which so many bytes are needed.
    Partial {
        /// Header and body; 8 while the header itself is cut.
        needed: usize,
    },
    /// A header that cannot be one, with the size that it claims: nothing behind it can be
    /// found.
    Corrupt {
        /// 0 to 7.
        size: u16,
    },
}

/// Reads the record at the start of `bytes`.
#[inline]
pub fn next(bytes: &[u8], order: ByteOrder) -> Next<'_> {
    let mut at = Cursor::new(bytes, order);
    let header = (|| Some((at.u32()?, at.u16()?, at.u16()?)))();
    let Some((kind, misc, size)) = header else { return Next::Partial { needed: HEADER_LEN } };
    if kind >= SIMPLEPERF && misc > 0 {
        // Nobody reads such records, so none has to be held as a whole.
        let size = u64::from(misc) << 16 | u64::from(size);
        let payload_len = size - HEADER_LEN as u64;
        return Next::Record(Record { kind, misc: 0, body: &[], payload_len });
    }
    let Some(body_len) = usize::from(size).checked_sub(HEADER_LEN) else {
        return Next::Corrupt { size };
    };
    match at.take(body_len as u64) {
        Some(body) => {
            let payload_len = payload_len(kind, body, order);
            Next::Record(Record { kind, misc, body, payload_len })
        }
        None => Next::Partial { needed: usize::from(size) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_or_partial_or_corrupt() {
        let bytes = [68, 0, 0, 0, 2, 1, 12, 0, 0xaa, 0xbb, 0xcc, 0xdd];
        let record = Record { kind: 68, misc: 0x102, body: &bytes[8..], payload_len: 0 };
        assert_eq!(next(&bytes, ByteOrder::Little), Next::Record(record));
        assert_eq!(next(&bytes[..11], ByteOrder::Little), Next::Partial { needed: 12 });
        assert_eq!(next(&bytes[..7], ByteOrder::Little), Next::Partial { needed: 8 });
        let big = [0, 0, 0, 68, 1, 2, 0, 12, 0xaa, 0xbb, 0xcc, 0xdd];
        assert_eq!(next(&big, ByteOrder::Big), Next::Record(record));
        let zero = [68, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(next(&zero, ByteOrder::Little), Next::Corrupt { size: 0 });
    }

    /// The record at the start of these bytes.
    fn only(kind: u32, misc: u16, size: u16, body: &[u8]) -> (usize, u64) {
        let head = [&kind.to_le_bytes()[..], &misc.to_le_bytes(), &size.to_le_bytes()].concat();
        match next(&[&head, body].concat(), ByteOrder::Little) {
            Next::Record(record) => (record.size(), record.payload_len),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_guest_is_told_by_the_mode_alone() {
        let of_guest = |misc| Record { kind: 9, misc, body: &[], payload_len: 0 }.is_of_guest();
        for mode in 0..8 {
            let wanted = mode == 4 || mode == 5;
            assert_eq!([mode, mode | 1 << 14, mode | 1 << 3].map(of_guest), [wanted; 3], "{mode}");
        }
    }

    #[test]
    fn two_kinds_have_a_payload_behind_them() {
        let body = [9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(only(kind::AUXTRACE, 0, 16, &body), (16, 9));
        assert_eq!(only(kind::TRACING_DATA, 0, 12, &body), (12, 16));
        assert_eq!(only(kind::TRACING_DATA, 0, 16, &body), (16, 16), "as newer versions have it");
        assert_eq!(only(kind::SAMPLE, 0, 16, &body), (16, 0));
    }

    /// AOSP, `simpleperf/record.cpp`: `TracingDataRecord` holds its data, aligned to 8.
    #[test]
    fn tracing_data_may_stand_in_its_record() {
        let mut body = 9_u32.to_le_bytes().to_vec();
        body.resize(4 + 12, 7);
        assert_eq!(only(kind::TRACING_DATA, 0, 24, &body), (24, 0));
        body[0] = 13;
        assert_eq!(only(kind::TRACING_DATA, 0, 24, &body), (24, 16), "no room for 13 bytes");
    }

    /// AOSP, `simpleperf/record.h`: `simpleperf_record_header`.
    #[test]
    fn records_of_simpleperf_may_be_longer_than_16_bits_tell() {
        const KERNEL_SYMBOL: u32 = 32769;
        assert_eq!(only(KERNEL_SYMBOL, 0, 16, &[0; 8]), (16, 0));
        assert_eq!(only(KERNEL_SYMBOL, 2, 4, &[0; 8]), (8, 0x2_0004 - 8));
        assert_eq!(only(KERNEL_SYMBOL, u16::MAX, u16::MAX, &[]), (8, u64::from(u32::MAX) - 8));
        // Of perf's kinds it is `misc`.
        assert_eq!(only(kind::SAMPLE, 2, 16, &[0; 8]), (16, 0));
    }
}
