//! The fast path: records whose layout has come before are recognised, not walked.
//!
//! A processor and its configuration write few different record layouts: the same packets, of
//! the same sizes, in the same order. Where one record has the same header bytes in the same
//! places as another, the plain walk would find the same packets in both, since it looks at
//! nothing else to find them. So the layout of a record that was walked is kept, and from then
//! on one masked compare stands for the walk, and a payload is one load:
//!
//! ```text
//! while 136 bytes are left:
//!     candidates = the layouts that may have the bytes that stand at up to four telling places
//!     layout     = the candidate with, for each of its headers, bytes[its place] == it
//!     if there is none:
//!         stop; the plain walk takes the next record, and if one of its shape has come before,
//!         its layout is learnt, in the place of the one least recently learnt or used
//!     give out the payloads at the layout's places; go on behind its last packet
//! ```
//!
//! Telling places are where two layouts first differ. Up to there both have the same packets, so
//! both have a header there, and one byte tells them apart: four loads, four lookups and an AND
//! choose among all layouts, without a branch that depends on which one it is.
//!
//! The plain walk ([`super::record`]) defines the result. Layouts are only learnt from records
//! that it gave out, only applied where it would stand between two records with nothing to
//! prove, and end in an End or Timestamp packet as every record does. `tests/laws/spe.rs` holds
//! both to the same records, offsets and account, and fuzzing runs it.
//!
//! Trying costs time where nothing is ever recognised, and input may be made to that end. So
//! tries are paid for: every recognised record earns credit, every walked one a little, and
//! without credit there is no try. What can be lost to an adversary is what walked records earn:
//! see [`EARNED_BY_WALKING`].

use super::packet::{Kind, Packets};
use super::record::{Fields, Record, SLOTS, Slot};
use super::vector::{self, BLOCK, Compare, Job, Pattern, Unit};

/// Longest layout, padding before and in the record included. Records of all processors known
/// are padded to 64 bytes or less; those with all optional packets take about 90.
const MAX_LEN: usize = 2 * BLOCK;
/// Bytes that must be there for a try: a payload of eight bytes may start at the last place.
const WINDOW: usize = MAX_LEN + 8;
/// Layouts that are known at a time: a bit of a word each.
const MAX_LAYOUTS: usize = u32::BITS as usize;
/// Places that tell layouts apart.
const MAX_TELLING: usize = 4;
/// Shapes of walked records that are remembered, so that one that comes again is seen.
const MAX_SHAPES: usize = 64;

// Credit, in units of about a nanosecond on a machine where walking a record takes 40.

/// A walked record: a tenth of what the walk costs is the most that trying can add to it.
const EARNED_BY_WALKING: u32 = 3;
/// A recognised record: less than it saved.
const EARNED_BY_RECOGNISING: u32 = 16;
/// A try in vain.
const TRY: u32 = 8;
/// A layout that was learnt.
const LEARN: u32 = 1000;
/// What is not earned beyond.
const MOST_CREDIT: u32 = 100_000;
/// Where there was none left, so much is saved before the next try: enough to learn.
const LEAST_CREDIT: u32 = 2 * LEARN;

/// The layout of one record.
#[derive(Clone, Debug)]
struct Layout {
    headers: [Pattern; MAX_LEN / BLOCK],
    len: usize, // in 1..=MAX_LEN
    /// Padding packets among the bytes.
    padding: usize,
    /// Whether the record is a memory operation, and whether that has a physical address.
    is_memory: bool,
    has_place: bool,
    has: Fields,
    /// Class of the operation packet.
    class: u8,
    /// Places of the payloads, by slot.
    at: [u8; SLOTS], // each below MAX_LEN
    /// Bits of the payloads, by slot; 0 for packets that the record does not have.
    mask: [u64; SLOTS],
    last_use: u64,
}

impl Layout {
    /// The layout of `bytes`, which are one record and padding before it. `None` if they are
    /// too many, or not just that.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let mut layout = Self {
            headers: [const { Pattern::any() }; MAX_LEN / BLOCK],
            len: bytes.len(),
            padding: 0,
            is_memory: false,
            has_place: false,
            has: Fields::empty(),
            class: 0,
            at: [0; SLOTS],
            mask: [0; SLOTS],
            last_use: 0,
        };
        let mut at = 0;
        for packet in Packets::new(bytes) {
            let header = packet.ok()?.header;
            let start = at + usize::from(header.header_len);
            for place in at..start {
                layout.headers[place / BLOCK].require(place % BLOCK, bytes[place]);
            }
            match header.kind {
                Kind::Padding => layout.padding += 1,
                // The record that has one is taken, but the next must prove itself.
                Kind::Reserved => return None,
                kind => {
                    let slot = Slot::of(kind, header.index);
                    // Two records, the first of which has lost its end.
                    if layout.has.intersects(slot.field()) {
                        return None;
                    }
                    layout.has |= slot.field();
                    layout.at[slot as usize] =
                        u8::try_from(start).unwrap_or(u8::MAX) % MAX_LEN as u8;
                    layout.mask[slot as usize] = header.payload_mask();
                    if kind == Kind::Operation {
                        layout.class = header.index;
                    }
                }
            }
            at += header.packet_len();
        }
        let record = Record::new(layout.has, layout.class, [0; SLOTS]);
        layout.is_memory = record.is_memory();
        layout.has_place = record.is_memory() && record.data_pa().is_some();
        Some(layout)
    }

    /// The header byte that must stand at a place, if it is one of a header.
    fn header_at(&self, at: usize) -> Option<u8> {
        self.headers[at / BLOCK].required(at % BLOCK)
    }

    /// The first place at which two layouts differ.
    fn first_difference(&self, other: &Self) -> Option<usize> {
        (0..MAX_LEN).find(|at| self.header_at(*at) != other.header_at(*at))
    }

    #[inline(always)]
    fn fits<C: Compare>(&self, compare: C, window: &[u8; WINDOW]) -> bool {
        let (blocks, _) = window.as_chunks::<BLOCK>();
        compare.fits(&blocks[0], &self.headers[0])
            && (self.len <= BLOCK || compare.fits(&blocks[1], &self.headers[1]))
    }

    /// A payload of the record at the start of a window that fits.
    #[inline(always)]
    fn payload(&self, window: &[u8; WINDOW], slot: usize) -> u64 {
        let at = usize::from(self.at[slot]) % MAX_LEN;
        let word = window[at..at + 8].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(word) & self.mask[slot]
    }
}

/// A record that was recognised.
#[derive(Clone, Copy)]
pub(super) struct Recognised<'a> {
    layout: &'a Layout,
    window: &'a [u8; WINDOW],
}

impl Recognised<'_> {
    /// The record. What the caller does not look at is not loaded, once this is inlined.
    #[inline(always)]
    pub(super) fn record(self) -> Record {
        let Self { layout, window } = self;
        let payloads = core::array::from_fn(|slot| layout.payload(window, slot));
        Record::new(layout.has, layout.class, payloads)
    }

    /// Whether it is a memory operation.
    #[inline(always)]
    pub(super) fn is_memory(self) -> bool {
        self.layout.is_memory
    }

    /// Whether it is one with a physical address.
    #[inline(always)]
    pub(super) fn has_place(self) -> bool {
        self.layout.has_place
    }

    /// Whether it has a timestamp.
    #[inline(always)]
    pub(super) fn is_timed(self) -> bool {
        self.layout.has.contains(Fields::TIMESTAMP)
    }

    /// Payload of its data physical address packet; 0 if it has none.
    #[inline(always)]
    pub(super) fn data_pa(self) -> u64 {
        self.layout.payload(self.window, Slot::DataPa as usize)
    }
}

/// Takes records: those that were walked, and those that were recognised. A closure takes both
/// alike.
pub(super) trait Take {
    /// A record that ends before the byte `end`.
    fn record(&mut self, record: &Record, end: usize);
    /// The same, if all that is wanted of it is known by its layout.
    #[inline(always)]
    fn recognised(&mut self, recognised: Recognised<'_>, end: usize) {
        self.record(&recognised.record(), end);
    }
}

impl<F: FnMut(&Record, usize)> Take for F {
    #[inline(always)]
    fn record(&mut self, record: &Record, end: usize) {
        self(record, end);
    }
}

/// The layouts that one queue's records have had.
#[derive(Clone, Debug)]
pub(super) struct Layouts {
    unit: Unit,
    known: Vec<Layout>, // at most MAX_LAYOUTS
    finder: Finder,
    /// Shapes of walked records, each in the place that its high bits give.
    shapes: [u32; MAX_SHAPES],
    credit: u32, // in 0..=MOST_CREDIT
    /// Credit is being saved up.
    saving: bool,
    /// Grows with every run and every layout that is learnt.
    clock: u64,
}

/// What a run over records came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes that it took, padding included.
    pub(super) len: usize,
    /// Padding bytes.
    pub(super) padding: usize,
    /// The last timestamp.
    pub(super) newest: Option<u64>,
}

impl Default for Layouts {
    fn default() -> Self {
        Self {
            unit: Unit::detect(),
            known: Vec::new(),
            finder: Finder::default(),
            shapes: [0; MAX_SHAPES],
            credit: MOST_CREDIT / 2,
            saving: false,
            clock: 0,
        }
    }
}

impl Layouts {
    /// Takes as many records as it recognises from the start of `bytes`, which stand between two
    /// records. Ends of records are told as places in `bytes`, plus `from`.
    #[inline(always)]
    pub(super) fn run(&mut self, bytes: &[u8], from: usize, taker: &mut impl Take) -> Run {
        if self.known.is_empty() || self.saving || bytes.len() < WINDOW {
            return Run::default();
        }
        let Self { known, finder, .. } = self;
        let (run, last, count) =
            vector::with(self.unit, Recognise { known, finder, bytes, from, taker });
        if let Some(last) = last {
            self.clock += 1;
            known[last].last_use = self.clock;
        }
        let earned = EARNED_BY_RECOGNISING.saturating_mul(count);
        self.credit = self.credit.saturating_add(earned).min(MOST_CREDIT).saturating_sub(TRY);
        self.saving = self.credit == 0;
        run
    }

    /// Takes note of a record that had to be walked: its bytes, with padding before it, how many
    /// bytes there were from its start on, and a number that records of the same shape share.
    pub(super) fn walked(&mut self, bytes: &[u8], available: usize, shape: u32) {
        self.credit = (self.credit + EARNED_BY_WALKING).min(MOST_CREDIT);
        if self.saving {
            self.saving = self.credit < LEAST_CREDIT;
            return;
        }
        // At the end of a piece it was not tried, and may be known.
        if available < WINDOW {
            return;
        }
        let seen = &mut self.shapes[(shape >> (u32::BITS - MAX_SHAPES.ilog2())) as usize];
        if *seen != shape {
            *seen = shape;
        } else if let Some(rest) = self.credit.checked_sub(LEARN) {
            self.credit = rest;
            self.learn(bytes);
        }
    }

    #[cold]
    fn learn(&mut self, bytes: &[u8]) {
        let Some(mut layout) = Layout::of(bytes) else { return };
        self.clock += 1;
        layout.last_use = self.clock;
        let oldest = (0..self.known.len()).min_by_key(|index| self.known[*index].last_use);
        let index = match oldest {
            Some(oldest) if self.known.len() == MAX_LAYOUTS => {
                self.known[oldest] = layout;
                oldest
            }
            _ => {
                self.known.push(layout);
                self.known.len() - 1
            }
        };
        self.finder.put(index, &self.known);
    }
}

/// Chooses the layouts that a record may have.
#[derive(Clone, Debug)]
struct Finder {
    /// Places that tell layouts apart.
    places: [u8; MAX_TELLING], // each below MAX_LEN
    used: usize, // in 0..=MAX_TELLING
    /// By place and byte: the layouts that may have this byte there, a bit each.
    layouts: Box<[[u32; 256]; MAX_TELLING]>,
}

impl Default for Finder {
    fn default() -> Self {
        Self { places: [0; MAX_TELLING], used: 0, layouts: Box::new([[0; 256]; MAX_TELLING]) }
    }
}

impl Finder {
    /// The layouts that a record may have, a bit each.
    #[inline(always)]
    fn candidates(&self, window: &[u8; WINDOW]) -> u32 {
        let mut candidates = u32::MAX;
        for (place, layouts) in self.places.iter().zip(self.layouts.iter()) {
            candidates &= layouts[usize::from(window[usize::from(*place) % MAX_LEN])];
        }
        candidates
    }

    /// Takes in a layout that is new at its index.
    fn put(&mut self, index: usize, known: &[Layout]) {
        let layout = &known[index];
        let tells = |place: u8, a: &Layout, b: &Layout| {
            let (a, b) = (a.header_at(place.into()), b.header_at(place.into()));
            a.is_some() && b.is_some() && a != b
        };
        let mut changed = 0..0;
        for other in known {
            let told = self.places[..self.used].iter().any(|place| tells(*place, layout, other));
            if told || self.used == MAX_TELLING {
                continue;
            }
            if let Some(place) = layout.first_difference(other) {
                self.places[self.used] = u8::try_from(place).unwrap_or(0);
                changed = self.used.min(changed.start)..self.used + 1;
                self.used += 1;
            }
        }
        for (number, place) in self.places.into_iter().enumerate() {
            let table = &mut self.layouts[number];
            if number >= self.used - changed.len() && number < self.used {
                // A new place: all layouts.
                table.fill(0);
                known
                    .iter()
                    .enumerate()
                    .for_each(|(index, layout)| allow(table, index, layout, place));
            } else {
                table.iter_mut().for_each(|layouts| *layouts &= !(1 << index));
                allow(table, index, layout, place);
            }
        }
    }
}

/// Sets the bit of a layout for the bytes that it may have at a place.
fn allow(table: &mut [u32; 256], index: usize, layout: &Layout, place: u8) {
    match layout.header_at(place.into()) {
        Some(byte) => table[usize::from(byte)] |= 1 << index,
        None => table.iter_mut().for_each(|layouts| *layouts |= 1 << index),
    }
}

/// The loop of [`Layouts::run`].
struct Recognise<'a, T> {
    known: &'a [Layout],
    finder: &'a Finder,
    bytes: &'a [u8],
    from: usize,
    taker: &'a mut T,
}

impl<T: Take> Job for Recognise<'_, T> {
    /// The run, the layout that came last, and how many records there were.
    type Output = (Run, Option<usize>, u32);

    #[inline(always)]
    fn run<C: Compare>(self, compare: C) -> Self::Output {
        let Self { known, finder, bytes, from, taker } = self;
        let mut run = Run::default();
        let (mut last, mut count) = (None, 0u32);
        while let Some(window) = bytes.get(run.len..).and_then(<[u8]>::first_chunk) {
            let mut candidates = finder.candidates(window);
            let (index, layout) = loop {
                let index = candidates.trailing_zeros() as usize;
                let Some(layout) = known.get(index) else {
                    return (run, last, count);
                };
                if layout.fits(compare, window) {
                    break (index, layout);
                }
                candidates &= candidates - 1;
            };
            run.len += layout.len;
            run.padding += layout.padding;
            count = count.saturating_add(1);
            last = Some(index);
            let recognised = Recognised { layout, window };
            if recognised.is_timed() {
                run.newest = Some(layout.payload(window, Slot::Timestamp as usize));
            }
            taker.recognised(recognised, from + run.len);
        }
        (run, last, count)
    }
}
