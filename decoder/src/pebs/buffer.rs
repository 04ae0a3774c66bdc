//! A buffer from its first to its last byte: records, and an account of everything else.
//!
//! Nothing in a buffer marks where a record starts. Behind a size that cannot be, the rest is
//! therefore `skipped`, and never searched.

use super::{Format, Record, Step, adaptive, arch, fixed};
use crate::Ledger;

/// What is to be made of the bytes that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Records.
    Reading,
    /// The last record has come. Zeros behind it were never written.
    Ended,
    /// Nothing: where a record starts is not known any more.
    Lost,
}

/// Reads one buffer, in pieces of any size.
#[derive(Clone, Debug)]
pub struct Decoder {
    format: Format,
    state: State,
    /// The record whose next fragment is to come.
    open: Option<Record>,
    /// Bytes of its fragments so far.
    open_len: u64,
    /// Latencies have two parts, as records of format 4 have shown.
    two_parts: bool,
    account: Ledger,
    has_ticks: bool,
}

impl Decoder {
    /// Before the first byte of a buffer.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            state: State::Reading,
            open: None,
            open_len: 0,
            two_parts: false,
            account: Ledger::default(),
            has_ticks: false,
        }
    }

    /// The records in the next bytes. What they leave, [`Records::taken`] bytes on, must stand
    /// in front of the bytes that come after.
    pub fn records<'d, 'b>(&'d mut self, bytes: &'b [u8]) -> Records<'d, 'b> {
        Records { decoder: self, bytes, taken: 0 }
    }

    /// The buffer has ended, and left these bytes, which are no whole record.
    pub fn finish(&mut self, rest: &[u8]) {
        let len = rest.len() as u64;
        let never_written = self.open.is_none() && rest.iter().all(|byte| *byte == 0);
        match self.state {
            State::Lost => self.account.skipped_bytes += len,
            _ if never_written => self.account.padding_bytes += len,
            _ => self.account.cut_off_bytes += len,
        }
        self.account.cut_off_bytes += core::mem::take(&mut self.open_len);
        self.open = None;
    }

    /// The account of the bytes that were taken: record, padding, skipped and cut-off bytes.
    /// Their sum is not in it.
    pub fn account(&self) -> Ledger {
        self.account
    }

    /// Whether records had times, in ticks.
    pub fn has_ticks(&self) -> bool {
        self.has_ticks
    }

    fn step(&mut self, bytes: &[u8]) -> Step {
        match self.format {
            Format::Fixed0 | Format::Fixed1 | Format::Fixed2 | Format::Fixed3 => {
                fixed::step(self.format, bytes)
            }
            Format::Adaptive4 | Format::Adaptive5 | Format::Adaptive6 => {
                adaptive::step(self.format, &mut self.two_parts, bytes)
            }
            Format::Architectural => arch::step(&mut self.open, bytes),
        }
    }

    /// Takes what stands at the start of `bytes`. Returns how long it is, and the record that
    /// ends there; `None` if more bytes are needed.
    fn take(&mut self, bytes: &[u8]) -> Option<(usize, Option<Record>)> {
        match self.state {
            State::Reading => {}
            State::Ended => return Some((self.behind_the_end(bytes)?, None)),
            State::Lost => return Some((self.skip(bytes)?, None)),
        }
        match self.step(bytes) {
            Step::Record(record, len) => {
                let open_len = core::mem::take(&mut self.open_len);
                self.account.record_bytes += open_len + len as u64;
                self.has_ticks |= record.tsc.is_some();
                return Some((len, Some(record)));
            }
            Step::Part(len) => {
                self.open_len += len as u64;
                return Some((len, None));
            }
            Step::Skipped(len) => {
                self.account.skipped_bytes += len as u64;
                return Some((len, None));
            }
            Step::Padding(len) => {
                self.account.padding_bytes += len as u64;
                return Some((len, None));
            }
            Step::Dropped => self.account.skipped_bytes += core::mem::take(&mut self.open_len),
            Step::Unfinished => return None,
            Step::End => {
                self.account.cut_off_bytes += core::mem::take(&mut self.open_len);
                self.state = State::Ended;
            }
            Step::Bad => {
                self.account.skipped_bytes += core::mem::take(&mut self.open_len);
                self.state = State::Lost;
            }
        }
        self.open = None;
        Some((0, None))
    }

    /// Passes over zeros; what is none is not known.
    fn behind_the_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.account.padding_bytes += zeros as u64;
        if zeros < bytes.len() {
            self.state = State::Lost;
            return Some(zeros);
        }
        (zeros > 0).then_some(zeros)
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<usize> {
        self.account.skipped_bytes += bytes.len() as u64;
        (!bytes.is_empty()).then_some(bytes.len())
    }
}

/// Records of a buffer, each with the number of bytes up to its end.
#[derive(Debug)]
pub struct Records<'d, 'b> {
    decoder: &'d mut Decoder,
    bytes: &'b [u8],
    taken: usize,
}

impl Records<'_, '_> {
    /// How many bytes have been taken.
    pub fn taken(&self) -> usize {
        self.taken
    }
}

impl Iterator for Records<'_, '_> {
    type Item = (Record, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (len, record) = self.decoder.take(&self.bytes[self.taken..])?;
            self.taken += len;
            if let Some(record) = record {
                return Some((record, self.taken));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ends and addresses of the records, and the account.
    type Read = (Vec<(usize, Option<u64>)>, Ledger);

    /// Reads a buffer that comes in pieces of `step` bytes.
    fn read(format: Format, bytes: &[u8], step: usize) -> Read {
        let mut decoder = Decoder::new(format);
        let (mut found, mut from) = (Vec::new(), 0);
        for to in (0..=bytes.len()).step_by(step).chain([bytes.len()]) {
            let mut records = decoder.records(&bytes[from..to.max(from)]);
            for (record, end) in records.by_ref() {
                found.push((from + end, record.memory.map(|memory| memory.address)));
            }
            from += records.taken();
        }
        decoder.finish(&bytes[from..]);
        let mut account = decoder.account();
        account.aux_bytes = bytes.len() as u64;
        (found, account)
    }

    fn account(record: u64, padding: u64, skipped: u64, cut_off: u64) -> Ledger {
        Ledger {
            aux_bytes: record + padding + skipped + cut_off,
            record_bytes: record,
            padding_bytes: padding,
            skipped_bytes: skipped,
            cut_off_bytes: cut_off,
            ..Ledger::default()
        }
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// An adaptive record of the groups basic and memory; 64 bytes.
    fn adaptive(address: u64) -> Vec<u8> {
        words(&[0x0040_0000_0000_0001, 0x40_1000, 1, 9, address, 0x51, 90, 0])
    }

    /// A fragment of architectural PEBS with a basic group; 64 bytes.
    fn arch_basic(continued: bool) -> Vec<u8> {
        let header = 1 << 63 | u64::from(continued) << 31 | 64;
        words(&[header, 0, 0x40_1000, 1, 9, 0, 0, 0])
    }

    /// One with the address; 80 bytes.
    fn arch_aux(address: u64) -> Vec<u8> {
        words(&[1 << 62 | 80, 0, address, 0, 0, 0, 0, 0x51, 0, 0])
    }

    #[test]
    fn every_byte_is_accounted_for() {
        use Format::{Adaptive4, Architectural, Fixed1};
        let (a, b) = (adaptive(0xa000), adaptive(0xb000));
        let bad = words(&[0x0011_0000_0000_0001]);
        let (first, aux) = (arch_basic(true), arch_aux(0xc000));
        let whole = arch_basic(false);
        let (null, filled) = (words(&[32, 0, 0, 0]), words(&[32, 0, 0, 1]));
        let fixed = words(&[&[0x246; 19][..], &[0xd000, 0x51, 90]].concat());
        let at = |list: &[(usize, u64)]| -> Vec<_> {
            list.iter().map(|(end, address)| (*end, Some(*address))).collect()
        };
        let cases: Vec<(&str, Format, Vec<&[u8]>, Read)> = vec![
            ("nothing", Adaptive4, vec![], (vec![], account(0, 0, 0, 0))),
            (
                "two records",
                Adaptive4,
                vec![&a, &b],
                (at(&[(64, 0xa000), (128, 0xb000)]), account(128, 0, 0, 0)),
            ),
            (
                "zeros behind the last one",
                Adaptive4,
                vec![&a, &[0; 100]],
                (at(&[(64, 0xa000)]), account(64, 100, 0, 0)),
            ),
            (
                "something behind the zeros",
                Adaptive4,
                vec![&a, &[0; 100], &b],
                (at(&[(64, 0xa000)]), account(64, 100, 64, 0)),
            ),
            (
                "a bad size loses the rest",
                Adaptive4,
                vec![&a, &bad, &b],
                (at(&[(64, 0xa000)]), account(64, 0, 72, 0)),
            ),
            (
                "cut off",
                Adaptive4,
                vec![&a, &b[..40]],
                (at(&[(64, 0xa000)]), account(64, 0, 0, 40)),
            ),
            (
                "fixed records with one of zeros and half of one",
                Fixed1,
                vec![&fixed, &[0; 176], &fixed, &fixed[..100]],
                (at(&[(176, 0xd000), (528, 0xd000)]), account(352, 176, 0, 100)),
            ),
            (
                "fixed records and too few zeros",
                Fixed1,
                vec![&fixed, &[0; 100]],
                (at(&[(176, 0xd000)]), account(176, 100, 0, 0)),
            ),
            (
                "fragments",
                Architectural,
                vec![&first, &aux, &aux, &first, &aux],
                (at(&[(144, 0xc000), (368, 0xc000)]), account(288, 0, 80, 0)),
            ),
            (
                "fragments are missing before the next record",
                Architectural,
                vec![&first, &first, &aux, &first, &whole],
                (vec![(208, Some(0xc000)), (336, None)], account(208, 0, 128, 0)),
            ),
            (
                "a null fragment that holds something",
                Architectural,
                vec![&null, &filled, &first, &aux],
                (at(&[(208, 0xc000)]), account(144, 32, 32, 0)),
            ),
            (
                "a fragment is missing at the end",
                Architectural,
                vec![&first, &aux, &first],
                (at(&[(144, 0xc000)]), account(144, 0, 0, 64)),
            ),
            (
                "a size of zero where a fragment should be",
                Architectural,
                vec![&first, &[0; 16]],
                (vec![], account(0, 16, 0, 64)),
            ),
            (
                "a bad size where a fragment should be",
                Architectural,
                vec![&first, &[12, 0, 0, 0, 0, 0, 0, 0], &first],
                (vec![], account(0, 0, 136, 0)),
            ),
        ];
        for (name, format, parts, want) in cases {
            let bytes = parts.concat();
            assert_eq!(want.1.check(), Ok(()), "{name}");
            for step in [bytes.len().max(1), 1, 7, 64] {
                assert_eq!(read(format, &bytes, step), want, "{name}, {step} at a time");
            }
        }
    }

    #[test]
    fn a_record_of_endless_fragments_takes_no_memory_and_no_record() {
        let bytes = arch_basic(true).repeat(10_000);
        let want = account(0, 0, 639_936, 64);
        assert_eq!(read(Format::Architectural, &bytes, 4096), (vec![], want));
        let bytes = [arch_basic(true), words(&[1 << 61 | 1 << 31 | 176]).repeat(22).repeat(10_000)];
        let bytes = bytes.concat();
        let want = account(0, 0, 0, bytes.len() as u64);
        assert_eq!(read(Format::Architectural, &bytes, 4096), (vec![], want));
    }

    #[test]
    fn a_latency_of_two_parts_is_one_for_the_rest_of_the_buffer() {
        let record =
            |latency| words(&[0x0040_0000_0000_0001, 0x40_1000, 1, 9, 5, 0x51, latency, 0]);
        let latencies = |format: Format, words: &[u64]| -> Vec<_> {
            let bytes: Vec<u8> = words.iter().flat_map(|word| record(*word)).collect();
            let mut decoder = Decoder::new(format);
            let records = decoder.records(&bytes);
            records
                .map(|(record, _)| record.memory.and_then(|memory| memory.latency_cycles))
                .collect()
        };
        let words = [0x187, 0, 0x21_0000_0187, 0x187, 0x1_0000_0000];
        let want = [Some(0x187), None, Some(0x21), None, Some(1)];
        assert_eq!(latencies(Format::Adaptive4, &words), want);
        let want = [None, None, Some(0x21), None, Some(1)];
        assert_eq!(latencies(Format::Adaptive5, &words), want);
        // Bits above are not the cache's.
        assert_eq!(latencies(Format::Adaptive4, &[1 << 48 | 5, 7]), [Some(5), Some(7)]);
    }

    #[test]
    fn ticks_are_told() {
        let mut decoder = Decoder::new(Format::Adaptive4);
        assert_eq!((decoder.records(&adaptive(1)).count(), decoder.has_ticks()), (1, true));
        let mut decoder = Decoder::new(Format::Fixed1);
        let bytes = [1; 176];
        assert_eq!((decoder.records(&bytes).count(), decoder.has_ticks()), (1, false));
    }

    /// Bytes that often are records of some format.
    fn buffers() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            2 => any::<u64>().prop_map(adaptive),
            2 => any::<bool>().prop_map(arch_basic),
            2 => any::<u64>().prop_map(arch_aux),
            1 => (0..2_u64).prop_map(|size| words(&[size * 16, 0])),
            1 => prop::collection::vec(any::<u8>(), 0..200),
            1 => (0..300_usize).prop_map(|len| vec![0; len]),
        ];
        prop::collection::vec(part, 0..20).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_accounted_for_in_any_pieces(bytes in buffers(), step in 1..300_usize) {
            for format in Format::ALL {
                let whole = read(format, &bytes, bytes.len().max(1));
                prop_assert_eq!(whole.1.check(), Ok(()));
                prop_assert!(whole.0.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert_eq!(read(format, &bytes, step), whole);
            }
        }
    }
}
