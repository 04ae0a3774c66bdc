//! Where a queue can be cut, so that several threads decode it.
//!
//! A record reads the same wherever the decoder has been before, if the decoder is between two
//! records there and holds back nothing. What is left of all that came before is little: a
//! [`ResumeState`]. So a part of a queue can be decoded ahead of the part before it, from a
//! [`ResumeState`] that is expected; when the part before has ended, it shows whether that was right.

use super::decoder::Decoder;
use super::resume::ResumeState;

/// Bytes whose records are taken for those before: a few records of the longest kind.
const LOOKED_AT: usize = 8 << 10;

/// What is expected before a chunk that starts with these bytes: records like those in it, and no
/// damage. `None` if there are none.
pub(crate) fn expected_before(bytes: &[u8]) -> Option<ResumeState> {
    let (mut decoder, mut records) = (Decoder::default(), 0);
    decoder.feed(&bytes[..bytes.len().min(LOOKED_AT)], 0, &mut |_, _| records += 1);
    (records > 0).then(|| ResumeState { seen: decoder.seen(), unproven: false })
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
            assert!(decoder.resume_state().is_some());
            assert_eq!(decoder.resume_state(), expected_before(&BRANCH.repeat(1000)), "{padding}");
        }
    }

    #[test]
    fn inside_of_a_record_nothing_is_left_but_the_record() {
        for cut in 1..BRANCH.len() {
            let mut decoder = Decoder::default();
            decoder.feed(&BRANCH[..cut], 0, &mut |_, _| {});
            assert_eq!(decoder.resume_state(), None, "at {cut}");
        }
        assert_eq!(expected_before(&BRANCH[..17]), None, "no record");
        assert_eq!(expected_before(&[0; 4096]), None);
    }
}
