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
//!     candidates = the layouts that may have the bytes that stand at four telling places
//!     layout     = the candidate with, for each of its headers, bytes[its place] == it
//!     if there is none:
//!         stop; the next record is scanned or walked, and if one of its shape has come before,
//!         its layout is learnt, in the place of the oldest if there is no room
//!     give out the payloads at the layout's places; go on behind its last packet
//! ```
//!
//! Telling places are those where a byte tells most layouts apart: four loads, four lookups and
//! an AND choose among all layouts, without a branch that depends on which one it is. Where some
//! are left they are compared one by one.
//!
//! The plain walk ([`super::decoder`]) defines the result. Layouts are only learnt from whole
//! records of usual packets ([`super::scan`]), only applied where the walk would stand between
//! two records with nothing to prove, and end in an End or Timestamp packet as every record does.
//! `tests/laws/layouts.rs` holds both to the same records, places and account, and fuzzing runs
//! it.
//!
//! Trying costs time where nothing is ever recognised, and input may be made to that end. So
//! tries are paid for: every recognised record earns credit, every walked one a little, and
//! without credit there is no try. What can be lost to an adversary is what walked records earn:
//! see [`EARNED_BY_SCANNING`].

use super::gather::{BATCH, Filling, Totals};
use super::packet::{Kind, Packets};
use super::record::{Fields, Record, SLOTS, Slot};
use super::vector;
use super::vector::{BLOCK, Compare, Job, Pattern, Simd};
use crate::{PhysAddr, Sink};

/// Longest layout, padding before and in the record included. Records of all processors known
/// are padded to 64 bytes or less; those with all optional packets take about 90.
const MAX_LEN: usize = 2 * BLOCK;
/// Bytes that must be there for a try: a payload of eight bytes may start at the last place.
const WINDOW: usize = MAX_LEN + 8;
/// Bytes of one run at most: fewer than 2^32 records.
const MAX_RUN: usize = 1 << 31;
/// Layouts that are known at a time: a bit of a word each.
const MAX_LAYOUTS: usize = u64::BITS as usize;
/// Places that tell layouts apart. Each costs two loads a record: with 4, 6 and 8 of them, 256 MiB
/// of 9 layouts took 14.5, 17 and 18.5 ms, of 33 layouts 62, 58 and 55 ms (benchmark `ratios`,
/// case `decode`).
const MAX_TELLING: usize = 4;
/// Shapes of walked records that are remembered, so that one that comes again is seen.
const MAX_SHAPES: usize = 64;

// Credit, in units of about a nanosecond on a machine where scanning a record takes 40 or more
// (benchmark `decoding`, layout `mix`: 75 to 100 there).

/// A walked record: a tenth of what the walk costs is the most that trying can add to it.
const EARNED_BY_SCANNING: u32 = 3;
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
#[repr(align(64))] // A pattern in one cache line is one load.
struct Layout {
    headers: [Pattern; MAX_LEN / BLOCK],
    len: usize, // in 1..=MAX_LEN
    /// Padding packets among the bytes.
    padding: usize,
    /// Whether the record is a memory operation, and whether that has a physical address.
    tally: Tally,
    has_place: bool,
    has: Fields,
    /// Class of the operation packet.
    class: u8,
    /// Places of the payloads, by slot.
    at: [u8; SLOTS], // each below MAX_LEN
    /// Bits of the payloads, by slot; 0 for packets that the record does not have.
    mask: [u64; SLOTS],
}

impl Layout {
    /// The layout of `bytes`, which are one record that was scanned, and padding before it. `None`
    /// if they are too many.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let mut layout = Self {
            headers: [const { Pattern::any() }; MAX_LEN / BLOCK],
            len: bytes.len(),
            padding: 0,
            tally: Tally::default(),
            has_place: false,
            has: Fields::empty(),
            class: 0,
            at: [0; SLOTS],
            mask: [0; SLOTS],
        };
        let mut at = 0;
        for packet in Packets::new(bytes) {
            let header = packet.ok()?.header;
            let start = at + usize::from(header.header_len);
            for (place, byte) in (at..start).zip(&bytes[at..]) {
                layout.headers[place / BLOCK].require(place % BLOCK, *byte);
            }
            match header.kind {
                Kind::Padding => layout.padding += 1,
                kind => {
                    let slot = Slot::of(kind, header.index);
                    layout.has |= slot.field();
                    layout.at[slot as usize] = u8::try_from(start % MAX_LEN).unwrap_or(0);
                    layout.mask[slot as usize] = header.payload_mask();
                    if kind == Kind::Operation {
                        layout.class = header.index;
                    }
                }
            }
            at += header.packet_len();
        }
        let record = Record::new(layout.has, layout.class, [0; SLOTS]);
        layout.tally = Tally(1 << 32 | u64::from(!record.is_memory()));
        layout.has_place = record.is_memory() && record.data_pa().is_some();
        Some(layout)
    }

    fn is_timed(&self) -> bool {
        self.has.contains(Fields::TIMESTAMP)
    }

    /// The header byte that must stand at a place, if it is one of a header.
    fn header_at(&self, at: usize) -> Option<u8> {
        self.headers[at / BLOCK].required(at % BLOCK)
    }

    #[inline(always)]
    fn fits<C: Compare>(&self, compare: C, window: &Window) -> bool {
        let (blocks, _) = window.as_chunks::<BLOCK>();
        compare.fits(&blocks[0], &self.headers[0])
            && (self.len <= BLOCK || compare.fits(&blocks[1], &self.headers[1]))
    }

    /// Eight bytes from a payload on, of the record at the start of a window that fits.
    #[inline(always)]
    fn word(&self, window: &Window, slot: Slot) -> u64 {
        let at = usize::from(self.at[slot as usize]) % MAX_LEN;
        let word = window[at..at + 8].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(word)
    }

    /// A payload of the record at the start of a window that fits; 0 if it does not have it.
    #[inline(always)]
    fn payload(&self, window: &Window, slot: Slot) -> u64 {
        self.word(window, slot) & self.mask[slot as usize]
    }

    /// The record at the start of a window that fits. What the caller does not look at is not
    /// loaded, once this is inlined.
    #[inline(always)]
    fn record(&self, window: &Window) -> Record {
        let mut payloads = [0; SLOTS];
        for slot in Slot::ALL {
            payloads[slot as usize] = self.payload(window, slot);
        }
        Record::new(self.has, self.class, payloads)
    }
}

/// Takes records: those that were walked, and those that were recognised.
pub(super) trait Take: Sized {
    /// A record that ends before the byte `end`.
    fn record(&mut self, record: &Record, end: usize);
    /// As many records as are recognised from the start of `bytes`, which is the byte `from`.
    /// Those who want little of a record can ask for less here.
    #[inline(always)]
    fn run(&mut self, layouts: &mut Layouts, bytes: &[u8], from: usize) -> Run {
        layouts.records(bytes, from, self)
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
    unit: Simd,
    known: Vec<Layout>, // at most MAX_LAYOUTS
    /// The one that goes next when there is no room for another.
    oldest: usize, // in 0..MAX_LAYOUTS
    finder: Finder,
    /// Shapes of walked records, each in the place that its high bits give.
    shapes: [u64; MAX_SHAPES],
    credit: u32, // in 0..=MOST_CREDIT
    /// Credit is being saved up.
    saving: bool,
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
            unit: Simd::detect(),
            known: Vec::new(),
            oldest: 0,
            finder: Finder::default(),
            shapes: [0; MAX_SHAPES],
            credit: MOST_CREDIT / 2,
            saving: false,
        }
    }
}

impl Layouts {
    /// Takes as many records as it recognises from the start of `bytes`, which stand between two
    /// records. `taker` gets each, with `from` and the place in `bytes` that it ends before.
    #[inline(always)]
    pub(super) fn records(&mut self, bytes: &[u8], from: usize, taker: &mut impl Take) -> Run {
        let bytes = &bytes[..bytes.len().min(MAX_RUN)];
        self.run(bytes, |known, finder| Records { known, finder, bytes, from, taker })
    }

    /// The same where only physical addresses are wanted: they go into `batch`.
    #[inline(always)]
    pub(super) fn places<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        batch: &mut Filling<'_>,
        sink: &mut S,
    ) -> Run {
        let bytes = &bytes[..bytes.len().min(MAX_RUN)];
        self.run(bytes, |known, finder| Places { known, finder, bytes, batch, sink })
    }

    #[inline(always)]
    fn run<'a, J: Job<Output = Run>>(
        &'a mut self,
        bytes: &[u8],
        job: impl FnOnce(&'a [Layout], &'a Finder) -> J,
    ) -> Run {
        if self.known.is_empty() || self.saving || bytes.len() < WINDOW {
            return Run::default();
        }
        let run = vector::with(self.unit, job(&self.known, &self.finder));
        // Of any length, to keep a count out of the loop.
        let records = u32::try_from(run.len / MAX_LEN).unwrap_or(u32::MAX);
        let earned = EARNED_BY_RECOGNISING.saturating_mul(records);
        self.credit = self.credit.saturating_add(earned).min(MOST_CREDIT).saturating_sub(TRY);
        self.saving = self.credit == 0;
        run
    }

    /// Takes note of a record that had to be scanned: the bytes from its start on, with padding
    /// before it, how many it has, and a number that records of the same layout share.
    pub(super) fn scanned(&mut self, bytes: &[u8], len: usize, shape: u64) {
        self.credit = (self.credit + EARNED_BY_SCANNING).min(MOST_CREDIT);
        if self.saving {
            self.saving = self.credit < LEAST_CREDIT;
            return;
        }
        // At the end of a chunk it was not tried, and may be known.
        if bytes.len() < WINDOW {
            return;
        }
        let hash = shape.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = usize::try_from(hash >> (u64::BITS - MAX_SHAPES.ilog2())).unwrap_or(0);
        let seen = &mut self.shapes[place];
        if *seen != hash {
            *seen = hash;
        } else if let Some(rest) = self.credit.checked_sub(LEARN) {
            self.credit = rest;
            self.learn(&bytes[..len]);
        }
    }

    #[cold]
    fn learn(&mut self, bytes: &[u8]) {
        let Some(layout) = Layout::of(bytes) else { return };
        // A unit has its timestamps on or off: that all layouts agree makes the last record's
        // the last one.
        if self.known.iter().any(|known| known.is_timed() != layout.is_timed()) {
            return;
        }
        let index = if self.known.len() < MAX_LAYOUTS {
            self.known.push(layout);
            self.known.len() - 1
        } else {
            self.known[self.oldest] = layout;
            let next = (self.oldest + 1) % MAX_LAYOUTS;
            core::mem::replace(&mut self.oldest, next)
        };
        self.finder.put(index, &self.known);
    }
}

/// Chooses the layouts that a record may have.
#[derive(Clone, Debug)]
struct Finder {
    /// Places that tell layouts apart.
    places: [u8; MAX_TELLING], // each below MAX_LEN
    /// How many layouts there were when the places were chosen.
    chosen_among: usize, // in 0..=MAX_LAYOUTS
    /// By place and byte: the layouts that may have this byte there, a bit each.
    layouts: Box<[[u64; 256]; MAX_TELLING]>,
}

impl Default for Finder {
    fn default() -> Self {
        let layouts = Box::new([[0; 256]; MAX_TELLING]);
        Self { places: [0; MAX_TELLING], chosen_among: 0, layouts }
    }
}

impl Finder {
    /// Takes in a layout that is new at its index.
    fn put(&mut self, index: usize, known: &[Layout]) {
        // Choosing takes long: it waits until there are an eighth more of them.
        if known.len() > self.chosen_among + self.chosen_among / 8 {
            self.chosen_among = known.len();
            self.places = telling(known);
            self.layouts.as_flattened_mut().fill(0);
            (0..known.len()).for_each(|index| self.allow(index, &known[index]));
        } else {
            let forget = |layouts: &mut u64| *layouts &= !(1 << index);
            self.layouts.as_flattened_mut().iter_mut().for_each(forget);
            self.allow(index, &known[index]);
        }
    }

    /// Sets the bit of a layout for the bytes that it may have.
    fn allow(&mut self, index: usize, layout: &Layout) {
        for (place, table) in self.places.iter().zip(&mut *self.layouts) {
            match layout.header_at(usize::from(*place)) {
                Some(byte) => table[usize::from(byte)] |= 1 << index,
                None => table.iter_mut().for_each(|layouts| *layouts |= 1 << index),
            }
        }
    }
}

/// The places that tell layouts apart, the best first: each tells most of those apart that those
/// before it do not. What comes often is learnt early, tried before what was learnt later, and
/// weighs more.
fn telling(known: &[Layout]) -> [u8; MAX_TELLING] {
    let told: Vec<_> = (0..MAX_LEN).map(|place| told_at(place, known)).collect();
    // By layout: those that are tried before it and that its records are not yet told from.
    let mut alike: [u64; MAX_LAYOUTS] = core::array::from_fn(|index| (1 << index) - 1);
    let weights: [u32; MAX_LAYOUTS] = core::array::from_fn(|index| {
        let weight = (MAX_LAYOUTS << 4).pow(2) / (index + 1).pow(2);
        u32::try_from(weight).expect("2^20 and less")
    });
    core::array::from_fn(|_| {
        let gain = |place: &usize| -> u32 {
            let told = alike.iter().zip(&told[*place]).map(|(alike, told)| alike & told);
            told.zip(weights).map(|(told, weight)| told.count_ones() * weight).sum()
        };
        let place = (0..MAX_LEN).rev().max_by_key(gain).unwrap_or(0);
        alike.iter_mut().zip(&told[place]).for_each(|(alike, told)| *alike &= !told);
        u8::try_from(place).unwrap_or(0)
    })
}

/// By layout: those that its records are told from by the byte at a place. They are if it is a
/// header in the other that these do not have there, but for padding, which looks like many a
/// payload.
fn told_at(place: usize, known: &[Layout]) -> [u64; MAX_LAYOUTS] {
    let mut by_byte = [0u64; 256];
    for (index, layout) in known.iter().enumerate() {
        if let Some(byte) = layout.header_at(place) {
            by_byte[usize::from(byte)] |= 1 << index;
        }
    }
    let headers = by_byte.iter().fold(0, |all, layouts| all | layouts);
    let mut told = [0; MAX_LAYOUTS];
    for (layout, told) in known.iter().zip(&mut told) {
        *told = match layout.header_at(place) {
            Some(byte) => headers & !by_byte[usize::from(byte)],
            None => headers & !by_byte[0],
        };
    }
    told
}

/// Goes from record to record, as long as they are recognised.
struct Steps<'a, C> {
    known: &'a [Layout],
    places: [usize; MAX_TELLING],
    layouts: &'a [[u64; 256]; MAX_TELLING],
    compare: C,
    bytes: &'a [u8],
    /// Where the next record starts.
    at: usize,
    /// Length of the last record.
    stride: usize,
    padding: usize,
    /// The last record.
    last: Option<&'a Layout>,
}

type Window = [u8; WINDOW];

impl<'a, C: Compare> Steps<'a, C> {
    #[inline(always)]
    fn new(known: &'a [Layout], finder: &'a Finder, bytes: &'a [u8], compare: C) -> Self {
        let places = finder.places.map(|place| usize::from(place) % MAX_LEN);
        Self {
            known,
            places,
            layouts: &finder.layouts,
            compare,
            bytes,
            at: 0,
            stride: 0,
            padding: 0,
            last: None,
        }
    }

    /// The next record's layout and the bytes that it starts at; goes on behind it.
    #[inline(always)]
    fn next(&mut self) -> Option<(&'a Layout, &'a Window)> {
        let window: &Window = self.bytes.get(self.at..)?.first_chunk()?;
        let mut candidates = u64::MAX;
        for (place, layouts) in self.places.iter().zip(self.layouts) {
            candidates &= layouts[usize::from(window[*place])];
        }
        let layout = loop {
            let layout = self.known.get(candidates.trailing_zeros() as usize)?;
            if layout.fits(self.compare, window) {
                break layout;
            }
            candidates &= candidates - 1;
        };
        // While lengths do not change, the processor starts on the next record before it knows
        // which layout this one has: if the compiler makes this a branch, which is predicted, and
        // not a choice, which has to be waited for.
        if layout.len != self.stride {
            self.stride = core::hint::black_box(layout.len);
        }
        self.at += self.stride;
        self.padding += layout.padding;
        self.last = Some(layout);
        Some((layout, window))
    }

    #[inline(always)]
    fn ended(self) -> Run {
        let newest = self.last.filter(|layout| layout.is_timed()).and_then(|layout| {
            let window = self.bytes.get(self.at - layout.len..)?.first_chunk()?;
            Some(layout.payload(window, Slot::Timestamp))
        });
        Run { len: self.at, padding: self.padding, newest }
    }
}

/// The loop of [`Layouts::records`].
struct Records<'a, T> {
    known: &'a [Layout],
    finder: &'a Finder,
    bytes: &'a [u8],
    from: usize,
    taker: &'a mut T,
}

impl<T: Take> Job for Records<'_, T> {
    type Output = Run;

    #[inline(always)]
    fn run<C: Compare>(self, compare: C) -> Run {
        let mut steps = Steps::new(self.known, self.finder, self.bytes, compare);
        while let Some((layout, window)) = steps.next() {
            self.taker.record(&layout.record(window), self.from + steps.at);
        }
        steps.ended()
    }
}

/// The loop of [`Layouts::places`]. What a record is, its layout says: no branch depends on it.
struct Places<'a, 'b, S: ?Sized> {
    known: &'a [Layout],
    finder: &'a Finder,
    bytes: &'a [u8],
    batch: &'a mut Filling<'b>,
    sink: &'a mut S,
}

impl<S: Sink + ?Sized> Job for Places<'_, '_, S> {
    type Output = Run;

    #[inline(always)]
    fn run<C: Compare>(self, compare: C) -> Run {
        let Self { known, finder, bytes, batch, sink } = self;
        let mut steps = Steps::new(known, finder, bytes, compare);
        let (batch, addresses) = batch.parts();
        let (mut records, mut len) = (Tally::default(), batch.len);
        loop {
            while len < BATCH {
                let Some((layout, window)) = steps.next() else {
                    records.move_to(batch);
                    batch.len = len;
                    return steps.ended();
                };
                records.0 += layout.tally.0;
                // Where there is none the next one takes its room.
                addresses[len] = PhysAddr::new_truncate(layout.word(window, Slot::DataPa));
                len += usize::from(layout.has_place);
            }
            records.move_to(batch);
            batch.len = len;
            batch.give_to(addresses, &[], sink);
            len = 0;
        }
    }
}

/// Two counts that are added to at once: records in the upper half, those of them that are no
/// memory operations in the lower. A run ends before either can pass 2^32: see [`MAX_RUN`].
#[derive(Clone, Copy, Debug, Default)]
struct Tally(u64);

impl Tally {
    fn move_to(&mut self, batch: &mut Totals) {
        batch.records += self.0 >> 32;
        batch.not_memory += self.0 & u64::from(u32::MAX);
        self.0 = 0;
    }
}
