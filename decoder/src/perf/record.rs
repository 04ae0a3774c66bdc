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
}

impl Record<'_> {
    /// Header and body, in bytes.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Bytes behind the record that belong to it. They are a claim, to be compared with what
    /// is there.
    pub fn payload_len(&self, order: ByteOrder) -> u64 {
        let mut at = Cursor::new(self.body, order);
        match self.kind {
            kind::AUXTRACE => at.u64().unwrap_or(0),
            // Padded to 8 in the stream.
            kind::TRACING_DATA => at.u32().map_or(0, |size| u64::from(size).next_multiple_of(8)),
            _ => 0,
        }
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
pub fn next(bytes: &[u8], order: ByteOrder) -> Next<'_> {
    let mut at = Cursor::new(bytes, order);
    let header = (|| Some((at.u32()?, at.u16()?, at.u16()?)))();
    let Some((kind, misc, size)) = header else { return Next::Partial { needed: HEADER_LEN } };
    let Some(body_len) = usize::from(size).checked_sub(HEADER_LEN) else {
        return Next::Corrupt { size };
    };
    match at.take(body_len as u64) {
        Some(body) => Next::Record(Record { kind, misc, body }),
        None => Next::Partial { needed: usize::from(size) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_or_partial_or_corrupt() {
        let bytes = [68, 0, 0, 0, 2, 1, 12, 0, 0xaa, 0xbb, 0xcc, 0xdd];
        let record = Record { kind: 68, misc: 0x102, body: &bytes[8..] };
        assert_eq!(next(&bytes, ByteOrder::Little), Next::Record(record));
        assert_eq!(next(&bytes[..11], ByteOrder::Little), Next::Partial { needed: 12 });
        assert_eq!(next(&bytes[..7], ByteOrder::Little), Next::Partial { needed: 8 });
        let big = [0, 0, 0, 68, 1, 2, 0, 12, 0xaa, 0xbb, 0xcc, 0xdd];
        assert_eq!(next(&big, ByteOrder::Big), Next::Record(record));
        let zero = [68, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(next(&zero, ByteOrder::Little), Next::Corrupt { size: 0 });
    }

    #[test]
    fn two_kinds_have_a_payload_behind_them() {
        let body = [9, 0, 0, 0, 0, 0, 0, 0];
        let len = |kind| Record { kind, misc: 0, body: &body }.payload_len(ByteOrder::Little);
        assert_eq!(len(kind::AUXTRACE), 9);
        assert_eq!(len(kind::TRACING_DATA), 16);
        assert_eq!(len(kind::SAMPLE), 0);
    }
}
