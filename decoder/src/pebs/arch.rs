//! Architectural PEBS: records of one or more fragments, each with a header of its own.
//!
//! ```text
//! header 10                | basic 30       | aux 40              | GPR a0 | vectors | LBR ...
//! 00 format word           | 00 IP          | 00 data address     |
//! 08 reserved              | 08 counters    | 28 data source      |
//!                          | 10 TSC  18 ... | 30 latency  38 TSX  |
//! format word: 15:0 bytes, 31 a fragment follows, from 35 on the groups
//! ```
//!
//! Linux commit d21954c8a0ff. Vector groups other than XMM are not published in full: they stand
//! behind what is read here, and are passed over with their fragment.

use super::{Format, Memory, Record, Step, present, word};

const HEADER: usize = 0x10;
const BASIC: usize = 0x30;
const AUX: usize = 0x40;
const GPR: usize = 0xa0;
const XMM: usize = 0x110;
const LBR: usize = 0x30;
const LBR_ENTRY: usize = 0x18;
const COUNTERS: usize = 0x10;

/// The first word of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header(u64);

impl Header {
    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    const fn size(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    const fn has_basic(self) -> bool {
        self.bit(63)
    }

    const fn has_aux(self) -> bool {
        self.bit(62)
    }

    /// Holds nothing, and is followed by another.
    const fn is_null(self) -> bool {
        self.0 >> 16 == 0
    }

    const fn continues(self) -> bool {
        self.bit(31) || self.is_null()
    }

    /// The least bytes that a fragment of these groups has: those whose size is not known, or
    /// stands in them, count as they are without.
    fn least_len(self) -> usize {
        let lbr = match self.0 >> 40 & 0b11 {
            0 => 0,
            n @ (1 | 2) => LBR + LBR_ENTRY * 8 * if n == 1 { 1 } else { 2 },
            _ => LBR,
        };
        let counters = if self.0 >> 35 & 0b1_1111 != 0 { COUNTERS } else { 0 };
        let groups = [(63, BASIC), (62, AUX), (61, GPR), (49, XMM)];
        let known = groups.into_iter().filter(|(bit, _)| self.bit(*bit));
        HEADER + known.map(|(_, len)| len).sum::<usize>() + lbr + counters
    }
}

/// The fragment at the start of `bytes`. `open` is the record that the fragment before it left
/// unfinished, if it did, and then the one that this leaves.
pub(super) fn step(open: &mut Option<Record>, bytes: &[u8]) -> Step {
    let Some(header) = word(bytes, 0).map(Header) else { return Step::Unfinished };
    let size = header.size();
    match size {
        0 => return Step::End,
        _ if size % 8 != 0 || size < header.least_len() => return Step::Bad,
        _ => {}
    }
    let Some(bytes) = bytes.get(..size) else { return Step::Unfinished };
    let so_far = match open.take() {
        // A basic group starts a record: the rest of the one before it is missing.
        Some(_) if header.has_basic() => return Step::Dropped,
        Some(record) => record,
        None if header.has_basic() => Record::default(),
        None if header.is_null() && holds_nothing(bytes) => return Step::Padding(size),
        None => return Step::Skipped(size),
    };
    let record = add(so_far, header, bytes);
    *open = header.continues().then_some(record);
    if header.continues() { Step::Part(size) } else { Step::Record(record, size) }
}

/// Whether all that stands behind a fragment's header is 0.
fn holds_nothing(fragment: &[u8]) -> bool {
    fragment.iter().skip(HEADER).all(|byte| *byte == 0)
}

/// The record with what one more fragment tells. What comes again counts as it comes last.
fn add(so_far: Record, header: Header, bytes: &[u8]) -> Record {
    let mut record = so_far;
    let mut at = HEADER;
    if header.has_basic() {
        record.ip = word(bytes, at).and_then(present);
        record.tsc = word(bytes, at + 0x10).and_then(present);
        at += BASIC;
    }
    if header.has_aux() {
        let places = [at, at + 0x28, at + 0x30];
        record.memory = Memory::read(Format::Architectural, bytes, places);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC_BIT: u64 = 1 << 63;
    const AUX_BIT: u64 = 1 << 62;
    const CONTINUED: u64 = 1 << 31;

    const BASIC_WORDS: [u64; 6] = [0x40_1000, 0x1, 0x1122_3344_5566, 0x1_0005, 0, 0];
    const AUX_WORDS: [u64; 8] = [0x7f12_3456_7890, 1, 2, 3, 4, 0x1051, 0x0021_0000_0187, 6];
    const MEMORY: Memory =
        Memory { address: 0x7f12_3456_7890, data_source: 0x1051, latency_cycles: Some(0x21) };

    /// A fragment of these groups that is as long as its words.
    fn fragment(groups: u64, words: &[u64]) -> Vec<u8> {
        let size = 16 + 8 * words.len() as u64;
        let header = [groups | 1 << 30 | size, 0xdddd_dddd_dddd_dddd];
        header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    fn null(size: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        bytes[..8].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    fn record(memory: Option<Memory>) -> Record {
        Record { ip: Some(0x40_1000), tsc: Some(0x1122_3344_5566), memory }
    }

    fn steps(bytes: &[u8]) -> Vec<Step> {
        let (mut open, mut at, mut steps) = (None, 0, Vec::new());
        loop {
            let step = step(&mut open, &bytes[at..]);
            steps.push(step);
            at += match step {
                Step::Record(_, len) | Step::Part(len) | Step::Skipped(len) => len,
                Step::Padding(len) => len,
                Step::Dropped => 0,
                Step::Unfinished | Step::End | Step::Bad => return steps,
            };
        }
    }

    #[test]
    fn the_address_stands_behind_the_basic_group() {
        let both = fragment(BASIC_BIT | AUX_BIT, &[&BASIC_WORDS[..], &AUX_WORDS].concat());
        assert_eq!(both[0x40..0x48], 0x7f12_3456_7890_u64.to_le_bytes());
        assert_eq!(steps(&both), [Step::Record(record(Some(MEMORY)), 128), Step::Unfinished]);
        let basic = fragment(BASIC_BIT, &BASIC_WORDS);
        assert_eq!(steps(&basic), [Step::Record(record(None), 64), Step::Unfinished]);
        for len in 0..both.len() {
            assert_eq!(steps(&both[..len]), [Step::Unfinished], "{len}");
        }
    }

    #[test]
    fn groups_behind_are_passed_over_by_the_size() {
        let words = |more: usize| [&BASIC_WORDS[..], &AUX_WORDS, &vec![0xee; more]].concat();
        let cases = [
            ("GPR", 1 << 61, 20),
            ("XMM", 1 << 49, 34),
            ("vectors of no known size", 0b110_1010 << 50, 131),
            ("8 branches", 1 << 40, 6 + 24),
            ("16 branches", 2 << 40, 6 + 48),
            ("as many branches as it says", 3 << 40, 6 + 3 * 5),
            ("counters", 1 << 35, 2 + 7),
            ("reserved", 1 << 57, 3),
        ];
        for (name, groups, more) in cases {
            let bytes = fragment(BASIC_BIT | AUX_BIT | groups, &words(more));
            let want = Step::Record(record(Some(MEMORY)), 128 + 8 * more);
            assert_eq!(steps(&bytes)[0], want, "{name}");
        }
    }

    #[test]
    fn a_record_of_several_fragments() {
        let first = fragment(BASIC_BIT | CONTINUED, &BASIC_WORDS);
        let aux = fragment(AUX_BIT, &AUX_WORDS);
        let want = Step::Record(record(Some(MEMORY)), 80);
        let two = [&first[..], &aux].concat();
        assert_eq!(steps(&two)[..2], [Step::Part(64), want]);
        let with_null = [&first[..], &null(16), &null(32), &aux].concat();
        let got = steps(&with_null);
        assert_eq!(got[..4], [Step::Part(64), Step::Part(16), Step::Part(32), want]);
        let gpr = fragment(1 << 61 | CONTINUED, &[0xee; 20]);
        let three = [&first[..], &gpr, &aux, &first, &aux].concat();
        assert_eq!(steps(&three)[2], want);
        assert_eq!(steps(&three)[4], want);
        assert_eq!(steps(&first), [Step::Part(64), Step::Unfinished]);
    }

    #[test]
    fn a_fragment_that_starts_no_record_is_passed_over() {
        let aux = fragment(AUX_BIT, &AUX_WORDS);
        let both = fragment(BASIC_BIT | AUX_BIT, &[&BASIC_WORDS[..], &AUX_WORDS].concat());
        let bytes = [&aux[..], &null(16), &both].concat();
        let whole = Step::Record(record(Some(MEMORY)), 128);
        let want = [Step::Skipped(80), Step::Padding(16), whole, Step::Unfinished];
        assert_eq!(steps(&bytes), want);
    }

    #[test]
    fn a_basic_group_in_an_open_record_starts_another() {
        let both = [&BASIC_WORDS[..], &AUX_WORDS].concat();
        let open = fragment(BASIC_BIT | AUX_BIT | CONTINUED, &both);
        let basic = fragment(BASIC_BIT, &BASIC_WORDS);
        // The second record has not the first one's address.
        let bytes = [&open[..], &basic].concat();
        let want = [Step::Part(128), Step::Dropped, Step::Record(record(None), 64)];
        assert_eq!(steps(&bytes)[..3], want);
        // Also if it goes on itself, and behind a null fragment.
        let bytes = [&open[..], &null(16), &open, &fragment(AUX_BIT, &AUX_WORDS)].concat();
        let whole = Step::Record(record(Some(MEMORY)), 80);
        let want = [Step::Part(128), Step::Part(16), Step::Dropped, Step::Part(128), whole];
        assert_eq!(steps(&bytes)[..5], want);
        // Not before it is there as a whole.
        let cut = [&open[..], &basic[..63]].concat();
        assert_eq!(steps(&cut), [Step::Part(128), Step::Unfinished]);
    }

    #[test]
    fn a_null_fragment_that_holds_something_is_no_padding() {
        assert_eq!(steps(&null(48))[0], Step::Padding(48));
        let mut reserved = null(48);
        reserved[15] = 1;
        assert_eq!(steps(&reserved)[0], Step::Padding(48), "the header's second word");
        for at in [16, 47] {
            let mut bytes = null(48);
            bytes[at] = 1;
            assert_eq!(steps(&bytes)[0], Step::Skipped(48), "{at}");
        }
    }

    #[test]
    fn a_size_of_zero_ends_and_one_that_cannot_be_is_bad() {
        assert_eq!(steps(&[0; 16]), [Step::End]);
        assert_eq!(steps(&(BASIC_BIT | AUX_BIT).to_le_bytes()), [Step::End]);
        let size = |groups: u64, size: u64| {
            let mut bytes = vec![0; 0x1_0000];
            bytes[..8].copy_from_slice(&(groups | size).to_le_bytes());
            steps(&bytes)[0]
        };
        for (groups, least) in [
            (0, 16),
            (BASIC_BIT, 64),
            (BASIC_BIT | AUX_BIT, 128),
            (BASIC_BIT | 1 << 61, 224),
            (BASIC_BIT | 1 << 49, 336),
            (BASIC_BIT | 1 << 40, 64 + 48 + 192),
            (BASIC_BIT | 2 << 40, 64 + 48 + 384),
            (BASIC_BIT | 3 << 40, 64 + 48),
            (BASIC_BIT | 1 << 39, 64 + 16),
        ] {
            assert_ne!(size(groups, least), Step::Bad, "{groups:#x}");
            assert_eq!(size(groups, least - 8), Step::Bad, "{groups:#x}");
            assert_eq!(size(groups, least + 4), Step::Bad, "no multiple of 8");
        }
        assert!(matches!(size(BASIC_BIT, 0xfff8), Step::Record(..)));
    }
}
