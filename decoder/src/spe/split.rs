//! Where a queue can be cut, so that several threads decode it.
//!
//! A record reads the same wherever the decoder has been before, if the decoder is between two
//! records there and holds back nothing. What is left of all that came before is little: a
//! [`Between`]. So a part of a queue can be decoded ahead of the part before it, from a
//! [`Between`] that is expected; when the part before has ended, it shows whether that was right.

use super::Decoder;

/// All that a decoder between two records knows of those before, and that decides how the bytes
/// behind read. (What it knows of snapshots' times and repeated bytes matters too: queues with
/// such are not cut.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Between {
    /// Which of the packets that every record should have were seen; the decoder's bits.
    pub(super) seen: u32,
    /// The next record must prove itself.
    pub(super) unproven: bool,
}

/// Bytes whose records are taken for those before: a few records of the longest kind.
const LOOKED_AT: usize = 8 << 10;

impl Between {
    /// What is expected before a piece that starts with these bytes: records like those in it,
    /// and no damage. `None` if there are none.
    pub(crate) fn expected(bytes: &[u8]) -> Option<Self> {
        let (mut decoder, mut records) = (Decoder::default(), 0);
        decoder.feed(&bytes[..bytes.len().min(LOOKED_AT)], 0, &mut |_, _| records += 1);
        (records > 0).then(|| Self { seen: decoder.seen(), unproven: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A branch, 18 bytes.
    const BRANCH: [u8; 18] = [
        0xb0, 0x40, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x4a, 0x01, 0x42, 0x42, 0x98, 0x05, 0x00, 0x00,
        0x01,
    ];

    #[test]
    fn in_healthy_data_what_is_expected_is_right() {
        // Padding behind the record before changes nothing.
        for padding in [0, 1, 46] {
            let before = [&BRANCH.repeat(3)[..], &vec![0; padding]].concat();
            let mut decoder = Decoder::default();
            decoder.feed(&before, 0, &mut |_, _| {});
            assert!(decoder.between().is_some());
            assert_eq!(decoder.between(), Between::expected(&BRANCH.repeat(1000)), "{padding}");
        }
    }

    #[test]
    fn inside_of_a_record_nothing_is_left_but_the_record() {
        for cut in 1..BRANCH.len() {
            let mut decoder = Decoder::default();
            decoder.feed(&BRANCH[..cut], 0, &mut |_, _| {});
            assert_eq!(decoder.between(), None, "at {cut}");
        }
        assert_eq!(Between::expected(&BRANCH[..17]), None, "no record");
        assert_eq!(Between::expected(&[0; 4096]), None);
    }
}
