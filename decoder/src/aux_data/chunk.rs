//! Chunks of an AUX queue: how they follow one another, and what became of their bytes. The same
//! for every tracer.

use crate::intel_pt::Pebs;
use crate::perf::Clock;
use crate::spe::Encoding;
use crate::{EventIndex, Position, TraceOffset, cost};

/// What is known of a queue's next bytes before they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Place of the first byte in the queue's running count.
    pub offset: u64,
    /// Bytes of data in it; zeros behind them are perf's filling.
    pub data_len: u64,
    /// How it follows the chunk before.
    pub continuity: Continuity,
    /// First bytes that the chunk before had too, by their place in the running count.
    pub repeated: u64,
    /// Places at which data was lost, in ascending order.
    pub breaks: Vec<u64>,
    /// Conversion of its timestamps.
    pub clock: Option<Clock>,
    /// perf's reference: of Intel PT the TSC when perf read the ring.
    pub reference: Option<u64>,
    /// The event it belongs to. `None` also if it holds records of several.
    pub event: Option<EventIndex>,
    /// The unit that wrote it.
    pub format: AuxFormat,
}

/// Which unit wrote AUX data, and what reading it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuxFormat {
    /// Arm SPE, and how its CPU encodes data sources.
    ArmSpe(Encoding),
    /// Intel PT, and what PEBS records in it belong to.
    IntelPt(Pebs),
}

/// How a chunk of a queue follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It goes on where the last one ended, or starts the queue at its first byte.
    Continued,
    /// As `Continued`, but the last one's final `n` bytes (1 to 7) are zeros that perf added
    /// to fill its last eight.
    Trimmed(u8),
    /// It goes on where the last one ended, whose final `n` bytes (1 to 7) are zeros that were
    /// taken for perf's filling, since nothing had announced them yet: they are data.
    Kept(u8),
    /// Bytes are missing in between, or are not known to be there.
    Gap,
    /// A snapshot of a ring, which may repeat what the last one held.
    Snapshot {
        /// Place in the queue before which its bytes came before, as far as places tell.
        repeated_before: u64,
    },
}

impl Chunk {
    /// Whether the chunk only goes on where the one before it ended.
    pub fn changes_nothing(&self) -> bool {
        self.continuity == Continuity::Continued && self.repeated == 0 && self.breaks.is_empty()
    }
}

/// What a queue does with the bytes of its chunks.
pub(crate) trait ChunkHandler {
    /// Bytes that came before.
    fn overlap(&mut self, len: u64);
    /// Zeros that perf filled a chunk up with, or the bytes in whose place it did.
    fn fill(&mut self, len: usize);
    /// Zeros that were given to `fill` are data, which comes next.
    fn unfill(&mut self, len: usize);
    /// Bytes may be missing before this place of the queue.
    fn gap_at(&mut self, place: u64);
    /// Bytes to decode, without a break in them: at `place` of the queue, `at` of the input.
    fn data(&mut self, chunk: &Chunk, bytes: &[u8], place: u64, at: Position);
}

/// Breaks that move up in about one step.
const BREAKS_PER_STEP: usize = 64;

/// The way through a queue's chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkReader {
    chunk: Option<Chunk>,
    /// Place of the next byte in the running count.
    next: u64,
    /// Bytes of the chunk that are passed over as repeated.
    repeated: u64,
    /// Bytes of the chunk that belong to a packet that is finished already.
    finished: usize,
    /// Zeros before the next byte that were passed over as perf's filling.
    filled: usize, // in [0, MOST_FILLING]
    /// So many of them are data, to be decoded before the next bytes.
    kept: usize, // in [0, filled]
}

/// perf fills a chunk up to a multiple of 8 bytes.
const MOST_FILLING: usize = 7;

impl ChunkReader {
    /// Starts a chunk, whose first bytes are repeated, or belong to a finished packet.
    pub(crate) fn begin(&mut self, mut chunk: Chunk, repeated: u64, finished: usize) {
        let before = self.open_breaks();
        // Places of a chunk at whose end the count starts again at 0 have no order.
        if !before.is_empty() && chunk.offset.checked_add(chunk.data_len).is_some() {
            cost::steps((before.len() + chunk.breaks.len()).div_ceil(BREAKS_PER_STEP));
            chunk.breaks.splice(0..0, before.iter().copied());
            chunk.breaks.sort_unstable();
            chunk.breaks.dedup();
        }
        let (filled, kept) = match chunk.continuity {
            Continuity::Kept(zeros) => (self.filled, usize::from(zeros).min(self.filled)),
            Continuity::Continued => (self.filled, self.kept),
            Continuity::Trimmed(_) | Continuity::Gap | Continuity::Snapshot { .. } => (0, 0),
        };
        let next = chunk.offset.wrapping_sub(kept as u64);
        *self = Self { next, chunk: Some(chunk), repeated, finished, filled, kept };
    }

    /// The chunk, once there is one.
    pub(crate) fn chunk(&self) -> Option<&Chunk> {
        self.chunk.as_ref()
    }

    /// Whether all of the next bytes are data, without a break that stands before them.
    pub(crate) fn passes_nothing_over(&self) -> bool {
        self.repeated == 0 && self.finished == 0 && self.kept == 0 && self.open_breaks().is_empty()
    }

    /// Breaks among zeros that were passed over as filling. What comes in their places is not
    /// known yet: the zeros, if they are data after all, or else what follows.
    fn open_breaks(&self) -> &[u64] {
        let breaks = self.chunk.as_ref().map_or(&[][..], |chunk| &chunk.breaks);
        &breaks[..breaks.partition_point(|place| *place <= self.next)]
    }

    /// The last of the breaks at or before the next byte, which are done with. Zeros that were
    /// passed over as filling may be the next bytes.
    pub(crate) fn passed_break(&mut self) -> Option<u64> {
        let next = self.next.saturating_sub(self.filled as u64);
        let chunk = self.chunk.as_mut()?;
        let passed = chunk.breaks.partition_point(|place| *place <= next);
        // Those behind move up.
        cost::steps(if passed > 0 { chunk.breaks.len().div_ceil(BREAKS_PER_STEP) } else { 0 });
        chunk.breaks.drain(..passed).next_back()
    }

    /// Takes the next bytes of the chunk, which stand at `at` in the input.
    ///
    /// A chunk of no bytes, which nothing follows, has none but those that it says are kept.
    pub(crate) fn bytes(&mut self, bytes: &[u8], mut at: Position, steps: &mut impl ChunkHandler) {
        let ends = || self.chunk.as_ref().is_some_and(|chunk| chunk.data_len == 0);
        if self.kept > 0 && (!bytes.is_empty() || ends()) {
            let kept = core::mem::take(&mut self.kept);
            self.keep(kept, at, steps);
        }
        let mut rest = bytes;
        let repeated = self.take(&mut rest, &mut at, self.repeated);
        self.repeated -= repeated as u64;
        steps.overlap(repeated as u64);
        let finished = self.take(&mut rest, &mut at, self.finished as u64);
        self.finished -= finished;
        steps.fill(finished);
        self.pass_breaks(steps);

        while let Some(chunk) = self.chunk.as_mut().filter(|_| !rest.is_empty()) {
            let taken = self.next.wrapping_sub(chunk.offset);
            let data_left = chunk.data_len.saturating_sub(taken);
            if data_left == 0 {
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                if zeros < rest.len() {
                    chunk.data_len = u64::MAX;
                }
                steps.fill(zeros);
                self.take(&mut rest, &mut at, zeros as u64);
                self.filled = self.filled.saturating_add(zeros).min(MOST_FILLING);
                if !rest.is_empty() {
                    // What looked like filling is not: it is data after all.
                    self.next = self.next.wrapping_sub(self.filled as u64);
                    self.keep(self.filled, at, steps);
                }
                self.pass_breaks(steps);
                continue;
            }
            self.filled = 0;
            self.pass_breaks(steps);
            self.data(&mut rest, &mut at, data_left, steps);
        }
    }

    /// Decodes zeros before `at` that were passed over as filling, from the next place on.
    fn keep(&mut self, len: usize, at: Position, steps: &mut impl ChunkHandler) {
        const ZEROS: [u8; MOST_FILLING] = [0; MOST_FILLING];
        let offset = TraceOffset(at.offset.0.saturating_sub(len as u64));
        let (mut zeros, mut at) = (&ZEROS[..len], Position { offset, ..at });
        self.filled = 0;
        steps.unfill(len);
        self.pass_breaks(steps);
        while !zeros.is_empty() {
            self.data(&mut zeros, &mut at, u64::MAX, steps);
        }
    }

    /// Decodes at most `most` bytes, up to the next break.
    fn data(
        &mut self,
        rest: &mut &[u8],
        at: &mut Position,
        most: u64,
        steps: &mut impl ChunkHandler,
    ) {
        let next_break = self.chunk.as_ref().and_then(|chunk| chunk.breaks.first());
        let next_break = next_break.and_then(|place| place.checked_sub(self.next));
        let (data, from, place) = (*rest, *at, self.next);
        let len = self.take(rest, at, next_break.unwrap_or(u64::MAX).min(most));
        if let Some(chunk) = &self.chunk {
            steps.data(chunk, &data[..len], place, from);
        }
        self.pass_breaks(steps);
    }

    fn pass_breaks(&mut self, steps: &mut impl ChunkHandler) {
        if let Some(place) = self.passed_break() {
            steps.gap_at(place);
        }
    }

    /// Moves on by at most `len` bytes, and returns by how many.
    fn take(&mut self, rest: &mut &[u8], at: &mut Position, len: u64) -> usize {
        let len = rest.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        *rest = &rest[len..];
        at.offset.0 += len as u64;
        self.next = self.next.wrapping_add(len as u64);
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a queue is told: its bytes by their places, and gaps.
    #[derive(Debug, Default, PartialEq)]
    struct Told {
        bytes: Vec<(u64, u8)>,
        /// With how many bytes there were before.
        gaps: Vec<(u64, usize)>,
        filling: usize,
    }

    impl ChunkHandler for Told {
        fn overlap(&mut self, _: u64) {}
        fn fill(&mut self, len: usize) {
            self.filling += len;
        }
        fn unfill(&mut self, len: usize) {
            self.filling -= len;
        }
        fn gap_at(&mut self, place: u64) {
            self.gaps.push((place, self.bytes.len()));
        }
        fn data(&mut self, _: &Chunk, bytes: &[u8], place: u64, _: Position) {
            self.bytes.extend((place..).zip(bytes.iter().copied()));
        }
    }

    fn chunk(offset: u64, data_len: u64, continuity: Continuity, breaks: &[u64]) -> Chunk {
        Chunk {
            offset,
            data_len,
            continuity,
            repeated: 0,
            breaks: breaks.to_vec(),
            clock: None,
            reference: None,
            event: None,
            format: AuxFormat::ArmSpe(Encoding::Unknown),
        }
    }

    /// Which must be the same however the bytes of each chunk come.
    fn told(chunks: &[(Chunk, &[u8])]) -> Told {
        let run = |step: usize| {
            let (mut course, mut told) = (ChunkReader::default(), Told::default());
            for (chunk, bytes) in chunks {
                course.begin(chunk.clone(), 0, 0);
                course.pass_breaks(&mut told);
                if bytes.is_empty() {
                    course.bytes(bytes, Position::default(), &mut told);
                }
                for bytes in bytes.chunks(step) {
                    course.bytes(bytes, Position::default(), &mut told);
                }
            }
            told
        };
        let at_once = run(usize::MAX);
        (1..=16).for_each(|step| assert_eq!(run(step), at_once, "{step} at a time"));
        at_once
    }

    fn places(bytes: &[(u64, u8)]) -> Vec<u64> {
        bytes.iter().map(|(place, _)| *place).collect()
    }

    const FILLED: [u8; 8] = [1, 2, 3, 0, 0, 0, 0, 0];

    #[test]
    fn a_loss_among_zeros_that_turn_out_to_be_data_stands_among_them() {
        // By what follows in the chunk, by the next chunk, by one of no bytes, and in part.
        let first = |data_len| chunk(0, data_len, Continuity::Continued, &[5]);
        let told_by_bytes = told(&[(first(3), &[1, 2, 3, 0, 0, 0, 0, 9])]);
        assert_eq!(places(&told_by_bytes.bytes), Vec::from_iter(0..8));
        assert_eq!((told_by_bytes.gaps, told_by_bytes.filling), (vec![(5, 5)], 0));
        let kept = [(first(3), &FILLED[..]), (chunk(8, 1, Continuity::Kept(5), &[]), &[9])];
        let told_by_piece = told(&kept);
        assert_eq!(places(&told_by_piece.bytes), Vec::from_iter(0..9));
        assert_eq!((told_by_piece.gaps, told_by_piece.filling), (vec![(5, 5)], 0));
        let told_at_end =
            told(&[(first(3), &FILLED), (chunk(8, 0, Continuity::Kept(5), &[]), &[])]);
        assert_eq!(places(&told_at_end.bytes), Vec::from_iter(0..8));
        assert_eq!((told_at_end.gaps, told_at_end.filling), (vec![(5, 5)], 0));
        let in_part =
            told(&[(first(3), &FILLED), (chunk(4, 4, Continuity::Kept(1), &[]), &[6; 4])]);
        assert_eq!(places(&in_part.bytes), Vec::from_iter(0..8));
        assert_eq!((in_part.gaps, in_part.filling), (vec![(5, 5)], 4));
    }

    #[test]
    fn a_loss_in_the_place_of_filling_stands_among_what_follows() {
        let chunks = [
            (chunk(0, 3, Continuity::Continued, &[3, 5]), &FILLED[..]),
            (chunk(3, 4, Continuity::Continued, &[6]), &[6; 4]),
        ];
        let told = told(&chunks);
        assert_eq!(places(&told.bytes), Vec::from_iter(0..7));
        assert_eq!((told.gaps, told.filling), (vec![(3, 3), (5, 5), (6, 6)], 5));
    }

    #[test]
    fn a_loss_is_not_forgotten_between_pieces_that_are_cut_apart() {
        let mut course = ChunkReader::default();
        course.begin(chunk(0, 3, Continuity::Continued, &[5]), 0, 0);
        course.bytes(&FILLED, Position::default(), &mut Told::default());
        assert!(!course.passes_nothing_over());
        course.begin(chunk(8, 8, Continuity::Continued, &[]), 0, 0);
        course.bytes(&[1; 8], Position::default(), &mut Told::default());
        assert!(course.passes_nothing_over());
    }
}
