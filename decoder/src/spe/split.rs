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
/// Bytes that are looked at in one step: fewer than two records.
const STEP: usize = 64;

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
