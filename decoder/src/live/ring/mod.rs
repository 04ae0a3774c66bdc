//! Rings: memory that the kernel fills in front and we empty behind.
//!
//! ```text
//! place      0 ...... tail ............. head ......       running counts, never reduced
//! where      place modulo the ring's length, a power of two
//! held       [tail, head): written, not yet given back; in two parts where the ring wraps
//! ```
//!
//! Who fills writes bytes, then moves `head` on; who takes reads `head`, then bytes, then moves
//! `tail` on. So `head` is stored with Release and loaded with Acquire by the other side, and
//! `tail` likewise the other way (`include/uapi/linux/perf_event.h`, "User-space reading the
//! @data_head value should issue an smp_rmb()").

pub(in crate::live) mod aux_restart;
pub(in crate::live) mod cpu_rings;
pub(in crate::live) mod mapped;

use core::ops::Range;

use crate::ByteOrder;
use crate::perf::record;
use crate::perf::record::Next;

/// A record's size is a `u16`: no record is longer.
const LONGEST_RECORD: usize = u16::MAX as usize;

/// The byte order of the records in a ring: this machine's.
pub(crate) const NATIVE: ByteOrder =
    if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };

/// The side of a ring that takes.
pub trait Ring {
    /// Place of the byte behind the last one that was written: all bytes before it can be read.
    fn head(&self) -> u64;

    /// Place of the first byte that was not given back.
    fn tail(&self) -> u64;

    /// The bytes at these places, in their order; the second part is empty unless the ring wraps
    /// between them. Places that are not between tail and head are left out.
    fn held(&self, places: Range<u64>) -> [&[u8]; 2];

    /// Gives the bytes before this place back to who fills. Places that are not between tail and
    /// head change nothing.
    fn give_back(&mut self, to: u64);
}

/// What a pass over a ring came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Bytes that were taken: whole records, or AUX data.
    pub bytes: u64,
    /// Bytes that hold no record, where one should start: given back unread.
    pub unreadable: u64,
    /// The head was further from the tail than the ring is long, or behind it: nothing was taken,
    /// and what it claims was given back.
    pub overrun: bool,
}

fn len(held: [&[u8]; 2]) -> u64 {
    (held[0].len() + held[1].len()) as u64
}

/// Gives back what a head claims that is where none can be. The kernel stores no such head in a
/// ring that it may not overwrite. Whether there was one.
fn give_up_overrun(ring: &mut impl Ring) -> bool {
    let (tail, head) = (ring.tail(), ring.head());
    let overrun = len(ring.held(tail..head)) != head.wrapping_sub(tail);
    if overrun {
        ring.give_back(head);
    }
    overrun
}

/// Takes records out of a ring.
#[derive(Debug)]
pub struct RecordRing<R> {
    ring: R,
    /// Holds a record that the ring's end cuts in two.
    scratch: Vec<u8>,
}

impl<R: Ring> RecordRing<R> {
    /// Takes from this ring.
    pub fn new(ring: R) -> Self {
        Self { ring, scratch: Vec::with_capacity(LONGEST_RECORD) }
    }

    /// The ring.
    pub fn ring(&self) -> &R {
        &self.ring
    }

    /// The ring, for who fills it.
    pub fn ring_mut(&mut self) -> &mut R {
        &mut self.ring
    }

    /// Takes all records that the ring holds now, as runs of whole ones: in place, but for one
    /// that the ring's end cuts. They are given back afterwards, in the ring and as a whole.
    ///
    /// # Errors
    /// What `take` says. Then nothing is given back.
    pub fn drain<E>(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Drained, E> {
        if give_up_overrun(&mut self.ring) {
            return Ok(Drained { overrun: true, ..Drained::default() });
        }
        let (tail, head) = (self.ring.tail(), self.ring.head());
        let [first, second] = self.ring.held(tail..head);
        let mut taken = whole_records(first);
        if taken > 0 {
            take(&first[..taken])?;
        }
        let cut = &first[taken..];
        let mut rest = second;
        if !cut.is_empty()
            && let Some((record, behind)) = put_together(cut, second, &mut self.scratch)
        {
            take(record)?;
            taken += record.len();
            rest = behind;
        }
        if cut.is_empty() || rest.len() < second.len() {
            let whole = whole_records(rest);
            if whole > 0 {
                take(&rest[..whole])?;
            }
            taken += whole;
        }
        let (bytes, held) = (taken as u64, len([first, second]));
        self.ring.give_back(head);
        Ok(Drained { bytes, unreadable: held - bytes, overrun: false })
    }
}

/// Bytes of the whole records at the start.
fn whole_records(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Next::Record(record) = record::next(&bytes[at..], NATIVE) {
        at += record.size();
    }
    at
}

/// The record that starts with all of `cut` and ends in `second`, and what follows it there.
fn put_together<'a>(
    cut: &[u8],
    second: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Option<(&'a [u8], &'a [u8])> {
    scratch.clear();
    scratch.extend_from_slice(cut);
    let room = LONGEST_RECORD.saturating_sub(cut.len()).min(second.len());
    scratch.extend_from_slice(&second[..room]);
    let Next::Record(record) = record::next(scratch, NATIVE) else { return None };
    let size = record.size();
    let behind = second.get(size.checked_sub(cut.len())?..)?;
    Some((&scratch[..size], behind))
}

/// Takes AUX data out of a ring.
#[derive(Debug)]
pub struct AuxRing<R> {
    ring: R,
}

impl<R: Ring> AuxRing<R> {
    /// Takes from this ring.
    pub fn new(ring: R) -> Self {
        Self { ring }
    }

    /// The ring.
    pub fn ring(&self) -> &R {
        &self.ring
    }

    /// The ring, for who fills it.
    pub fn ring_mut(&mut self) -> &mut R {
        &mut self.ring
    }

    /// How far it is filled. Records that tell of the bytes up to here were written before it was.
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// Takes the bytes up to a place where they lie, and gives them back once that is done. `take`
    /// gets the place of the first one too; without any it is not called.
    ///
    /// # Errors
    /// What `take` says. Then nothing is given back.
    pub fn drain<E>(
        &mut self,
        to: u64,
        take: impl FnOnce(u64, [&[u8]; 2]) -> Result<(), E>,
    ) -> Result<Drained, E> {
        if give_up_overrun(&mut self.ring) {
            return Ok(Drained { overrun: true, ..Drained::default() });
        }
        let tail = self.ring.tail();
        let held = self.ring.held(tail..to);
        let bytes = len(held);
        if bytes > 0 {
            take(tail, held)?;
            self.ring.give_back(tail.wrapping_add(bytes));
        }
        Ok(Drained { bytes, ..Drained::default() })
    }
}

/// Where places of a ring lie in its `len` bytes: two ranges, the second empty unless it wraps.
/// Both are empty if the places are not between tail and head, which are at most `len` apart.
pub(super) fn ranges(places: Range<u64>, tail: u64, head: u64, len: usize) -> [Range<usize>; 2] {
    const NONE: [Range<usize>; 2] = [0..0, 0..0];
    let size = len as u64;
    let (from, to) = (places.start.wrapping_sub(tail), places.end.wrapping_sub(tail));
    let held = head.wrapping_sub(tail);
    if from > to || to > held || held > size || size == 0 {
        return NONE;
    }
    // A power of two divides 2^64, so that counts may wrap too.
    let (Ok(start), Ok(count)) = (usize::try_from(places.start % size), usize::try_from(to - from))
    else {
        return NONE;
    };
    let first = count.min(len - start);
    [start..start + first, 0..count - first]
}

/// A ring in memory, which is filled as the kernel fills one: for tests and benchmarks.
#[derive(Clone, Debug)]
pub struct MemoryRing {
    bytes: Box<[u8]>,
    head: u64,
    tail: u64,
}

impl MemoryRing {
    /// An empty ring of a power of two of bytes, at least `len`, whose first place is `start`.
    pub fn new(len: usize, start: u64) -> Self {
        let bytes = vec![0; len.next_power_of_two()].into();
        Self { bytes, head: start, tail: start }
    }

    /// Bytes that fit.
    pub fn room(&self) -> usize {
        self.bytes.len() - usize::try_from(self.head.wrapping_sub(self.tail)).unwrap_or(0)
    }

    /// Writes bytes if they all fit; if not, it writes none and says so.
    #[must_use]
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.room() {
            return false;
        }
        let head = self.head.wrapping_add(bytes.len() as u64);
        let [first, second] = ranges(self.head..head, self.tail, head, self.bytes.len());
        let (front, back) = bytes.split_at(first.len());
        self.bytes[first].copy_from_slice(front);
        self.bytes[second].copy_from_slice(back);
        self.head = head;
        true
    }
}

impl Ring for MemoryRing {
    fn head(&self) -> u64 {
        self.head
    }

    fn tail(&self) -> u64 {
        self.tail
    }

    fn held(&self, places: Range<u64>) -> [&[u8]; 2] {
        ranges(places, self.tail, self.head, self.bytes.len()).map(|range| &self.bytes[range])
    }

    fn give_back(&mut self, to: u64) {
        if to.wrapping_sub(self.tail) <= self.head.wrapping_sub(self.tail) {
            self.tail = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use proptest::prelude::*;

    /// A record of this size, whose body tells it from others.
    fn record(size: u16, mark: u8) -> Vec<u8> {
        let mut record = vec![mark; usize::from(size)];
        record[..4].copy_from_slice(&68u32.to_ne_bytes());
        record[4..6].copy_from_slice(&[0, 0]);
        record[6..8].copy_from_slice(&size.to_ne_bytes());
        record
    }

    /// Empties the ring. What came, and how many runs of it did not lie in the ring.
    fn drain(ring: &mut RecordRing<MemoryRing>) -> (Vec<u8>, usize, Drained) {
        let memory = ring.ring().bytes.as_ptr_range();
        let (mut came, mut copied) = (Vec::new(), 0);
        let drained = ring.drain(|run| {
            copied += usize::from(!memory.contains(&run.as_ptr()));
            came.extend(run);
            Ok::<_, Infallible>(())
        });
        (came, copied, drained.unwrap())
    }

    proptest! {
        #[test]
        fn records_come_whole_in_their_order_and_in_place(
            start in prop_oneof![Just(0u64), any::<u64>().prop_map(|start| start / 8 * 8)],
            sizes in proptest::collection::vec((1u16..40, any::<u8>(), any::<bool>()), 0..200),
        ) {
            let mut ring = RecordRing::new(MemoryRing::new(1024, start));
            let (mut written, mut came) = (Vec::new(), Vec::new());
            for (words, mark, empty) in sizes {
                let record = record(8 * words, mark);
                if ring.ring_mut().write(&record) {
                    written.extend(record);
                }
                if empty {
                    let (bytes, copied, drained) = drain(&mut ring);
                    prop_assert!(copied <= 1, "only what the end cuts is copied");
                    prop_assert_eq!((drained.bytes, drained.unreadable), (bytes.len() as u64, 0));
                    prop_assert_eq!(ring.ring().room(), 1024, "all is given back");
                    came.extend(bytes);
                }
            }
            came.extend(drain(&mut ring).0);
            prop_assert_eq!(came, written);
        }

        #[test]
        fn any_bytes_are_given_back(
            start in any::<u64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..1024),
        ) {
            let mut ring = RecordRing::new(MemoryRing::new(1024, start));
            prop_assert!(ring.ring_mut().write(&bytes));
            let (came, _, drained) = drain(&mut ring);
            prop_assert_eq!(drained.bytes + drained.unreadable, bytes.len() as u64);
            prop_assert_eq!(&bytes[..came.len()], came);
            prop_assert_eq!(ring.ring().room(), 1024);
        }

        #[test]
        fn aux_data_lies_where_it_was_written(
            start in any::<u64>(),
            lens in proptest::collection::vec((0usize..300, 0u64..300), 0..50),
        ) {
            let mut ring = AuxRing::new(MemoryRing::new(256, start));
            let (mut written, mut came) = (Vec::new(), Vec::new());
            for (len, less) in lens {
                let marks = (0..=250u8).cycle().skip(written.len() % 251);
                let bytes: Vec<u8> = marks.take(len).collect();
                if ring.ring_mut().write(&bytes) {
                    written.extend(bytes);
                }
                let memory = ring.ring().bytes.as_ptr_range();
                let to = ring.head().wrapping_sub(less);
                let before = came.len() as u64;
                let taken = ring.drain(to, |place, chunks| {
                    assert_eq!(place, start.wrapping_add(before));
                    for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()) {
                        assert!(memory.contains(&chunk.as_ptr()), "in place");
                        came.extend(chunk);
                    }
                    Ok::<_, Infallible>(())
                });
                let bytes = came.len() as u64 - before;
                prop_assert_eq!(taken, Ok(Drained { bytes, ..Drained::default() }));
            }
            prop_assert_eq!(&written[..came.len()], came);
        }
    }

    #[test]
    fn a_ring_that_is_not_one_gives_nothing() {
        assert_eq!(ranges(5..9, 0, 20, 16), [0..0, 0..0], "more than it holds");
        assert_eq!(ranges(5..9, 6, 20, 16), [0..0, 0..0], "before the tail");
        assert_eq!(ranges(5..21, 5, 20, 16), [0..0, 0..0], "behind the head");
        assert_eq!(ranges(14..20, 14, 20, 16), [14..16, 0..4]);
        let (tail, head) = (u64::MAX - 1, 3);
        assert_eq!(ranges(tail..head, tail, head, 16), [14..16, 0..3], "counts wrap too");
    }

    #[test]
    fn records_before_one_that_cannot_be_are_taken_and_the_ring_goes_on() {
        let sized = |size: u16| {
            let mut record = record(16, 9);
            record[6..8].copy_from_slice(&size.to_ne_bytes());
            record
        };
        // Its size, and how many bytes of it and a record of 16 behind it are taken.
        let cases = [(0, 0), (1, 0), (7, 0), (40, 0), (300, 0), (u16::MAX, 0), (8, 8), (12, 12)];
        for start in 0..32 {
            for (size, taken) in cases {
                let mut ring = RecordRing::new(MemoryRing::new(256, 8 * start));
                let mut bytes = [record(24, 1), record(200, 2)].concat();
                bytes.truncate(24);
                bytes.extend(sized(size));
                bytes.extend(record(16, 3));
                assert!(ring.ring_mut().write(&bytes));
                let (came, _, drained) = drain(&mut ring);
                assert!(came.len() >= 24 + taken && came == bytes[..came.len()], "{size}");
                assert!(taken > 0 || came.len() == 24, "{size}");
                assert_eq!(drained.bytes, came.len() as u64);
                assert_eq!(drained.bytes + drained.unreadable, bytes.len() as u64, "{size}");
                assert_eq!(ring.ring().room(), 256);
                assert!(ring.ring_mut().write(&record(32, 4)));
                assert_eq!(drain(&mut ring).0, record(32, 4), "{size}");
            }
        }
    }

    #[test]
    fn nothing_is_given_back_if_it_was_not_taken() {
        let mut ring = RecordRing::new(MemoryRing::new(64, 0));
        assert!(ring.ring_mut().write(&record(16, 1)));
        assert_eq!(ring.drain(|_| Err("full")), Err("full"));
        assert_eq!(drain(&mut ring).0, record(16, 1));
    }
}
