//! Formats 0 to 3: records of one size, each format with more fields behind those before.
//!
//! ```text
//! 00 RFLAGS  08 RIP  10 registers  | 90 status  98 data address  a0 data source  a8 latency
//! format 0                         | format 1
//! b0 eventing IP  b8 TSX tuning    | c0 TSC
//! format 2                         | format 3
//! ```

use super::{Format, Memory, Record, Step, present, word};

/// Bytes of a record.
const fn size(format: Format) -> usize {
    match format {
        Format::Fixed0 => 0x90,
        Format::Fixed1 => 0xb0,
        Format::Fixed2 => 0xc0,
        _ => 0xc8,
    }
}

/// The record at the start of `bytes`.
pub(super) fn step(format: Format, bytes: &[u8]) -> Step {
    let size = size(format);
    let Some(bytes) = bytes.get(..size) else { return Step::Unfinished };
    // Bit 1 of RFLAGS is always set: such a record was never written.
    if bytes.iter().all(|byte| *byte == 0) {
        return Step::Padding(size);
    }
    Step::Record(record(format, bytes), size)
}

fn record(format: Format, bytes: &[u8]) -> Record {
    // Fields that the format does not have lie beyond its bytes.
    Record {
        ip: word(bytes, 0xb0).and_then(present),
        tsc: word(bytes, 0xc0).and_then(present),
        memory: Memory::read(format, bytes, [0x98, 0xa0, 0xa8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of format 3, whose words are as the manual's table has them.
    #[rustfmt::skip]
    const WORDS: [u64; 25] = [
        0x0246, 0x40_1007, // RFLAGS, RIP
        0xa0, 0xb0, 0xc0, 0xd0, 0x50, 0xd1, 0xb9, 0x59, // RAX RBX RCX RDX RSI RDI RBP RSP
        0x08, 0x09, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, // R8 to R15
        0x1, 0x7f12_3456_7890, 0x51, 0x5a, // status, address, source, latency
        0x40_1000, 0x9, // eventing IP, TSX
        0x1122_3344_5566, // TSC
    ];

    fn bytes() -> Vec<u8> {
        WORDS.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn each_format_has_the_fields_of_those_before_it() {
        let memory = Some(Memory {
            address: 0x7f12_3456_7890,
            data_source: 0x51,
            latency_cycles: Some(0x5a),
        });
        let (ip, tsc) = (Some(0x40_1000), Some(0x1122_3344_5566));
        let cases = [
            (Format::Fixed0, 144, Record { ip: None, tsc: None, memory: None }),
            (Format::Fixed1, 176, Record { ip: None, tsc: None, memory }),
            (Format::Fixed2, 192, Record { ip, tsc: None, memory }),
            (Format::Fixed3, 200, Record { ip, tsc, memory }),
        ];
        let bytes = [bytes(), vec![0xff; 300]].concat();
        for (format, size, want) in cases {
            for len in 0..size {
                assert_eq!(step(format, &bytes[..len]), Step::Unfinished, "{format} {len}");
            }
            assert_eq!(step(format, &bytes), Step::Record(want, size), "{format}");
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(step(Format::Fixed1, &[0; 300]), Step::Padding(176));
        let mut almost = [0; 300];
        almost[175] = 1;
        assert!(matches!(step(Format::Fixed1, &almost), Step::Record(_, 176)));
    }
}
