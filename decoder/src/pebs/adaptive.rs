//! Formats 4 to 6: each record says in its first word which groups of fields follow, and how
//! long it is.
//!
//! ```text
//! basic 20                        | memory 20                    | GPR 90 | XMM 100 | LBR 18n
//! 00 word 0  08 eventing IP       | 00 data address  08 source   |
//! 10 counters  18 TSC             | 10 latency  18 TSX tuning    |        ... format 6: counters
//! word 0: 5:0 groups, 31:24 LBR entries - 1, 63:48 bytes of the record
//! ```

use super::{Format, Memory, Record, Step, present, word};

const BASIC: usize = 0x20;

bitflags::bitflags! {
    /// Groups behind the first, in their order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Groups: u64 {
        const MEMORY = 1 << 0;
        const GPR = 1 << 1;
        const XMM = 1 << 2;
        const LBR = 1 << 3;
        const COUNTERS = 1 << 4;
        const METRICS = 1 << 5;
        const _ = !0;
    }
}

/// The record at the start of `bytes`. `two_parts` is whether a record before it had a latency of
/// two parts, which its core then gives all of them, and then whether this one had.
pub(super) fn step(format: Format, two_parts: &mut bool, bytes: &[u8]) -> Step {
    let Some(first) = word(bytes, 0) else { return Step::Unfinished };
    let Ok(size) = usize::try_from(first >> 48) else { return Step::Bad };
    match size {
        0 if first == 0 => return Step::End,
        _ if size < BASIC || size % 8 != 0 => return Step::Bad,
        _ => {}
    }
    let Some(bytes) = bytes.get(..size) else { return Step::Unfinished };
    if groups_len(format, first, bytes) != Some(size) {
        return Step::Bad;
    }
    *two_parts |= format.has_two_parts(latency(first, bytes));
    // From format 5 on all cores have latencies of two parts.
    let latency_format = if *two_parts { Format::Adaptive5 } else { format };
    Step::Record(record(latency_format, first, bytes), size)
}

/// The word of the latency; 0 if there is none.
fn latency(first: u64, bytes: &[u8]) -> u64 {
    let has_memory = Groups::from_bits_retain(first).contains(Groups::MEMORY);
    if has_memory { word(bytes, BASIC + 0x10).unwrap_or(0) } else { 0 }
}

/// Bytes of the groups that a record has. `None` if it is too short to tell.
fn groups_len(format: Format, first: u64, bytes: &[u8]) -> Option<usize> {
    let groups = Groups::from_bits_retain(first);
    let mut len = BASIC;
    let branches = usize::try_from(first >> 24 & 0xff).ok()? + 1;
    for (group, size) in [
        (Groups::MEMORY, 0x20),
        (Groups::GPR, 0x90),
        (Groups::XMM, 0x100),
        (Groups::LBR, 0x18 * branches),
    ] {
        if groups.contains(group) {
            len += size;
        }
    }
    if format == Format::Adaptive6 && groups.intersects(Groups::COUNTERS | Groups::METRICS) {
        len += counters_len(bytes, len)?;
    }
    Some(len)
}

/// Bytes of the group of counters that starts at `at`: masks of general and fixed counters and of
/// metrics, a word for each counter, and two if there are metrics.
fn counters_len(bytes: &[u8], at: usize) -> Option<usize> {
    const HEAD: usize = 0x10;
    const METRICS: u64 = 3;
    let (counters, metrics) = (word(bytes, at)?, word(bytes, at + 8)? & u64::from(u32::MAX));
    let words = counters.count_ones() as usize + if metrics == METRICS { 2 } else { 0 };
    Some(HEAD + 8 * words)
}

fn record(format: Format, first: u64, bytes: &[u8]) -> Record {
    let has_memory = Groups::from_bits_retain(first).contains(Groups::MEMORY);
    let memory = || Memory::read(format, bytes, [BASIC, BASIC + 0x8, BASIC + 0x10]);
    Record {
        ip: word(bytes, 0x8).and_then(present),
        tsc: word(bytes, 0x18).and_then(present),
        memory: has_memory.then(memory).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record at the start of a buffer.
    fn step(format: Format, bytes: &[u8]) -> Step {
        super::step(format, &mut false, bytes)
    }

    const FORMATS: [Format; 3] = [Format::Adaptive4, Format::Adaptive5, Format::Adaptive6];
    const MEMORY: Memory =
        Memory { address: 0x7f12_3456_7890, data_source: 0x51, latency_cycles: Some(0x21) };

    /// A basic group with this first word, and what follows it.
    fn bytes(first: u64, more: &[u64]) -> Vec<u8> {
        let basic = [first, 0x40_1000, 0x1, 0x1122_3344_5566];
        basic.iter().chain(more).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Words of the group of memory.
    const WORDS: [u64; 4] = [0x7f12_3456_7890, 0x51, 0x0021_0000_0187, 0];

    fn want(memory: Option<Memory>) -> Record {
        Record { ip: Some(0x40_1000), tsc: Some(0x1122_3344_5566), memory }
    }

    #[test]
    fn every_group_takes_its_bytes() {
        let filled = |words: usize| vec![0xabab_abab_abab_abab; words];
        let memory = || WORDS.to_vec();
        let cases = [
            ("basic", 0x0020_0000_0000_0000, vec![], None),
            ("memory", 0x0040_0000_0000_0001, memory(), Some(MEMORY)),
            ("GPR", 0x00b0_0000_0000_0002, filled(18), None),
            ("XMM", 0x0120_0000_0000_0004, filled(32), None),
            ("one branch", 0x0038_0000_0000_0008, filled(3), None),
            ("32 branches", 0x0320_0000_1f00_0008, filled(96), None),
            ("branches of another group", 0x0020_0000_1f00_0000, vec![], None),
            ("retire latency", 0x0020_1234_0000_0000, vec![], None),
            (
                "all of them",
                0x04d0_0000_1f00_000f,
                [memory(), filled(18), filled(32), filled(96)].concat(),
                Some(MEMORY),
            ),
        ];
        for (name, first, more, memory) in cases {
            let record = bytes(first, &more);
            let behind = [&record[..], &[0xff; 64]].concat();
            for format in FORMATS {
                let record = Step::Record(want(memory), record.len());
                assert_eq!(step(format, &behind), record, "{name}, format {format}");
            }
            for len in 0..record.len() {
                assert_eq!(step(FORMATS[0], &record[..len]), Step::Unfinished, "{name} {len}");
            }
        }
    }

    #[test]
    fn counters_of_format_6() {
        let head = |general: u64, fixed: u64, metrics: u64| [general | fixed << 32, metrics];
        let cases: [(&str, u64, Vec<u64>); 5] = [
            ("none", 0x10, head(0, 0, 0).to_vec()),
            ("two and one", 0x10, [&head(0b101, 0b10, 0)[..], &[1, 2, 3]].concat()),
            ("metrics", 0x30, [&head(0b1, 0b1000, 3)[..], &[1, 2, 8, 9]].concat()),
            ("metrics alone", 0x20, [&head(0, 0, 3)[..], &[8, 9]].concat()),
            ("other metrics", 0x20, head(0, 0, 1).to_vec()),
        ];
        for (name, group, words) in cases {
            for memory in [false, true] {
                let before = if memory { WORDS.to_vec() } else { vec![] };
                let more = [before, words.clone()].concat();
                let size = 0x20 + 8 * more.len();
                let first = (size as u64) << 48 | group | u64::from(memory);
                let record = bytes(first, &more);
                let got = step(Format::Adaptive6, &record);
                assert_eq!(got, Step::Record(want(memory.then_some(MEMORY)), size), "{name}");
                assert_eq!(step(Format::Adaptive5, &record), Step::Bad, "{name}: not before");
            }
        }
        let mut claims = bytes(0x0030_0000_0000_0010, &[u64::MAX, 0]);
        assert_eq!(step(Format::Adaptive6, &claims), Step::Bad, "more counters than bytes");
        claims = bytes(0x0028_0000_0000_0010, &[0]);
        assert_eq!(step(Format::Adaptive6, &claims), Step::Bad, "half a head");
    }

    #[test]
    fn a_size_that_cannot_be_is_bad() {
        let memory = &WORDS[..];
        let cases = [
            ("shorter than the basic group", 0x0018_0000_0000_0000),
            ("one byte", 0x0001_0000_0000_0000),
            ("no multiple of 8", 0x0044_0000_0000_0001),
            ("a group too few", 0x0040_0000_0000_0000),
            ("a group too many", 0x0020_0000_0000_0001),
            ("a word too many", 0x0038_0000_0000_0001),
            ("0, but with groups", 0x0000_0000_0000_0001),
        ];
        for (name, first) in cases {
            for format in FORMATS {
                assert_eq!(step(format, &bytes(first, memory)), Step::Bad, "{name}");
            }
        }
        let longest = bytes(0xfff8_0000_0000_0001, memory);
        assert_eq!(step(FORMATS[0], &longest), Step::Unfinished, "longer than the buffer");
        assert_eq!(step(FORMATS[0], &[0; 8]), Step::End);
    }
}
