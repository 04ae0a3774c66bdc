//! Where a queue can be cut, so that several threads decode it.
//!
//! A record reads the same wherever the decoder has been before, if the decoder is between two
//! records there and holds back nothing. What is left of all that came before is little: a
//! [`Between`]. So a part of a queue can be decoded ahead of the part before it, from a place
//! and a [`Between`] that are guessed; when the part before has come to that place, it shows
//! whether the guess was right.

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

/// Records that must come in a row for a guess.
const IN_A_ROW: u32 = 4;
/// Bytes that are looked through for them.
const LOOKED_THROUGH: usize = 64 << 10;
/// Bytes that are looked at in one step: less than a record.
const STEP: usize = 8;

/// Guesses a place between two records, counted in bytes, and what is known there. `None` if
/// there are no records in a row near the start of `bytes`.
pub(crate) fn guess(bytes: &[u8]) -> Option<(usize, Between)> {
    let mut decoder = Decoder::default();
    decoder.gap();
    let (mut in_a_row, mut skipped, mut at) = (0, 0, 0);
    for step in bytes[..bytes.len().min(LOOKED_THROUGH)].chunks(STEP) {
        let mut end = None;
        decoder.feed(step, at as u64, &mut |_, behind| {
            in_a_row += 1;
            end = Some(at + behind);
        });
        if decoder.bytes().skipped > skipped {
            (in_a_row, skipped) = (0, decoder.bytes().skipped);
        }
        if let Some(end) = end.filter(|_| in_a_row >= IN_A_ROW) {
            let mut decoder = Decoder::default();
            decoder.gap();
            decoder.feed(&bytes[..end], 0, &mut |_, _| {});
            return Some((end, decoder.between()?));
        }
        at += step.len();
    }
    None
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
    fn in_healthy_data_every_guess_is_right() {
        let trace = BRANCH.repeat(12);
        for start in 0..60 {
            let (end, between) = guess(&trace[start..]).unwrap();
            assert_eq!((start + end) % BRANCH.len(), 0, "from {start}");
            let mut decoder = Decoder::default();
            decoder.feed(&trace[..start + end], 0, &mut |_, _| {});
            assert_eq!(decoder.between(), Some(between), "from {start}");
        }
    }

    #[test]
    fn inside_of_a_record_nothing_is_left_but_the_record() {
        for cut in 1..BRANCH.len() {
            let mut decoder = Decoder::default();
            decoder.feed(&BRANCH[..cut], 0, &mut |_, _| {});
            assert_eq!(decoder.between(), None, "at {cut}");
        }
        assert_eq!(guess(&BRANCH), None, "one record is no row");
        assert_eq!(guess(&[0; 4096]), None);
    }
}
