//! The counter store: a block for every 2 MiB of physical memory that was accessed, as many as
//! the memory budget holds.

mod evict;

use std::sync::{Mutex, MutexGuard, PoisonError};

use decoder::{Access, AccessFlags, Batch, FOLIO_SHIFT, FolioPfn, PhysAddr, Source, Touch};

use crate::budget::Share;
use crate::counters::Counters;
use crate::folio::{Block, Folio};
use crate::index::Index;
use crate::marked_batch::MarkedBatch;
use crate::slab::Slab;

/// Accesses that are looked up together before any is counted.
const GATHERED: usize = 128;
/// Memory in bytes from which on counters are read ahead of counting: what caches hold is
/// counted faster without.
const READ_AHEAD: usize = 4 << 20;
/// As long as no more than this part of the budget is used, others than blocks may have some.
const ASIDE_PART: usize = 8;
/// The number of a block that has gone.
const GONE: u64 = u64::MAX;

/// Blocks by number, within a memory budget that several stores may share.
///
/// When the budget is used up, blocks with less than the median of accesses go, least recently
/// used first, then those at the median, then the others. What they had counted is not lost: see
/// [`Store::evicted`].
#[derive(Clone, Debug)]
pub struct Store<B: Block = Folio> {
    index: Index,
    entries: Slab<Entry<B>>,
    share: Share,
    /// Grows with every access: orders blocks by their last use.
    clock: u32,
    evicted: [u64; Source::ALL.len()],
    /// Bytes from which on counters are read ahead of counting.
    read_ahead: usize,
    /// Where the blocks of the accesses are that are being counted.
    places: [u32; GATHERED],
}

/// A block. What every access looks at comes first, in half a cache line.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
struct Entry<B> {
    number: u64,
    last_use: u32,
    /// Where its accesses come from.
    source: Source,
    block: B,
    /// Accesses by source in the order of [`Source::ALL`], for all sources but that one, once
    /// there are any.
    others: Option<Box<[u64; Source::ALL.len()]>>,
}

impl<B: Block> Entry<B> {
    fn heap_bytes(&self) -> usize {
        self.block.heap_bytes() + self.others.as_deref().map_or(0, size_of_val)
    }

    /// Counts accesses of a source beside those of its first.
    fn add_source(&mut self, source: Source, count: u64) {
        if source != self.source && count > 0 {
            self.others.get_or_insert_default()[source as usize] += count;
        }
    }

    /// Accesses by source, in the order of [`Source::ALL`].
    fn by_source(&self) -> [u64; Source::ALL.len()] {
        let mut counts = self.others.as_deref().copied().unwrap_or_default();
        let others: u64 = counts.iter().sum();
        // Less only where a counter is saturated.
        counts[self.source as usize] = self.block.total().saturating_sub(others);
        counts
    }

    fn merge(&mut self, other: Self) {
        for (source, count) in Source::ALL.into_iter().zip(other.by_source()) {
            self.add_source(source, count);
        }
        self.block.merge(other.block);
    }
}

/// What remains of a store whose blocks are given to others.
struct Remains<B> {
    entries: Slab<Entry<B>>,
    share: Share,
}

impl<B: Block> Remains<B> {
    /// Gives a block to who takes it. The last one gets its place.
    fn give(&mut self, place: usize, take: impl FnOnce(Entry<B>)) {
        let pieces = self.entries.pieces();
        let entry = self.entries.swap_remove(place);
        self.share.give_back((pieces - self.entries.pieces()) * Store::<B>::PIECE_BYTES);
        let heap = entry.heap_bytes();
        take(entry);
        self.share.give_back(heap);
    }

    /// Gives the last block to who takes it, if there is one.
    fn give_last(&mut self, take: impl FnOnce(Entry<B>)) -> bool {
        let last = self.entries.len().checked_sub(1);
        last.map(|place| self.give(place, take)).is_some()
    }
}

/// Locks a store. A thread that panics while it counts ends the run: nobody then reads what it
/// left.
pub(crate) fn lock<B: Block>(store: &Mutex<Store<B>>) -> MutexGuard<'_, Store<B>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counting takes of an access.
pub(crate) fn touch_of(access: &Access) -> Touch {
    Touch {
        direction: access.operation.direction,
        latency_cycles: access.latency_cycles.unwrap_or(0),
        pid: access.pid,
        // A guest's says nothing of how the host maps the page, or where.
        vaddr: access.vaddr.filter(|_| !access.flags.contains(AccessFlags::GUEST)),
        time_ns: access.origin.time_ns,
        offset: access.origin.position.offset,
    }
}

impl<B: Block> Store<B> {
    /// What a piece of the list of blocks takes. Eviction sorts a word for each block.
    const PIECE_BYTES: usize =
        Slab::<Entry<B>>::PIECE_BYTES + Slab::<Entry<B>>::PIECE * size_of::<u64>();
    /// More than what one access or one merge allocates beside pieces and index.
    const MAX_GROWTH: usize = 2 * Counters::MAX_GROWTH + 512;

    /// An empty store that uses at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self::with(Share::new(limit), READ_AHEAD)
    }

    fn with(mut share: Share, read_ahead: usize) -> Self {
        let index = Index::new();
        share.take(index.heap_bytes());
        Self {
            index,
            entries: Slab::new(),
            share,
            clock: 0,
            evicted: [0; Source::ALL.len()],
            read_ahead,
            places: [0; GATHERED],
        }
    }

    /// An empty store that shares this one's budget.
    pub fn split(&self) -> Self {
        Self::with(self.share.split(), READ_AHEAD)
    }

    /// An empty store that shares this one's budget, one of `parts` that are used together.
    pub(crate) fn split_in(&self, parts: usize) -> Self {
        Self::with(self.share.split(), READ_AHEAD / parts.max(1))
    }

    /// Another share of its budget.
    pub(crate) fn share(&self) -> Share {
        self.share.split()
    }

    /// Bytes that it has taken of the budget.
    pub(crate) fn used(&self) -> usize {
        self.share.used()
    }

    /// Counts an access, as a visit.
    pub fn access(&mut self, paddr: PhysAddr, access: &Access) {
        Self::of_one(paddr, access, |batch| self.batch(&(*batch).into()));
    }

    /// Has a batch counted that is one access.
    pub(crate) fn of_one(paddr: PhysAddr, access: &Access, count: impl FnOnce(&Batch<'_>)) {
        count(&Batch {
            cpu: access.origin.cpu,
            aux_queue: access.aux_queue,
            file: access.origin.position.file,
            touches: &[touch_of(access)],
            ..Batch::of_addresses(access.origin.source, &[paddr])
        });
    }

    /// An access to a page that was counted as a visit is none, if its block is still there.
    pub(crate) fn take_back_visit(&mut self, paddr: PhysAddr) {
        let number = paddr.get() >> FOLIO_SHIFT;
        if self.index.find(number).is_some() {
            self.take_for_change(number);
            let place = self.kept(number);
            self.change(place, |entry| entry.block.take_back_visit(paddr.pfn().index_in_folio()));
        }
    }

    /// Counts so many accesses to a page, of which no more is known.
    pub(crate) fn add(&mut self, paddr: PhysAddr, times: u32, source: Source) {
        let addresses = [paddr];
        let batch = MarkedBatch::from(Batch::of_addresses(source, &addresses));
        self.make_time();
        self.find(&batch);
        self.clock += 1;
        let place = self.places[0] as usize;
        let entry = self.entries.at_mut(place);
        entry.last_use = self.clock;
        let few = u8::try_from(times).ok().filter(|_| entry.source == source);
        if few.is_none_or(|times| !entry.block.hit(&batch, 0, times)) {
            self.count_growing(place, &batch, 0, times);
        }
    }

    /// Takes memory of the budget for something else than blocks, early on.
    pub(crate) fn try_take_aside(&mut self, bytes: usize) -> bool {
        self.share.try_take_within(bytes, ASIDE_PART)
    }

    /// Gives back what was taken for something else.
    pub(crate) fn give_back_aside(&mut self, bytes: usize) {
        self.share.give_back(bytes);
    }

    /// Counts the accesses of a batch.
    pub fn batch(&mut self, batch: &MarkedBatch<'_>) {
        let mut rest = *batch;
        while !rest.addresses.is_empty() {
            rest = rest.rest(self.count(&rest));
        }
    }

    /// Counts the first accesses of a batch, at least one, and says how many.
    fn count(&mut self, batch: &MarkedBatch<'_>) -> usize {
        self.make_time();
        let found = self.find(batch);
        if self.share.used() > self.read_ahead {
            self.read_ahead(batch, found);
        }
        for at in 0..found {
            let place = self.places[at] as usize;
            self.clock += 1;
            let entry = self.entries.at_mut(place);
            entry.last_use = self.clock;
            if entry.source == batch.source && entry.block.hit(batch, at, 1) {
                continue;
            }
            if self.count_growing(place, batch, at, 1) {
                // The places are those from before the eviction.
                return at + 1;
            }
        }
        found
    }

    /// Reads what counting is about to change. No read waits for another, as it would where
    /// branches depend on them; so the processor does many at once.
    fn read_ahead(&self, batch: &MarkedBatch<'_>, found: usize) {
        let places = || self.places[..found].iter().map(|place| *place as usize);
        let uses = places().fold(0, |sum, place| sum ^ self.entries.at(place).last_use);
        let counts = places().zip(batch.addresses).fold(0, |sum, (place, paddr)| {
            sum ^ self.entries.at(place).block.peek(paddr.pfn().index_in_folio())
        });
        core::hint::black_box((uses, counts));
    }

    /// Finds or makes the blocks of the first accesses of a batch, at least of one. Says of how
    /// many.
    fn find(&mut self, batch: &MarkedBatch<'_>) -> usize {
        let wanted = batch.addresses.len().min(GATHERED);
        if self.share.used() > self.read_ahead {
            let numbers = batch.addresses[..wanted].iter().map(|paddr| paddr.get() >> FOLIO_SHIFT);
            core::hint::black_box(numbers.fold(0, |sum, number| sum ^ self.index.peek(number)));
        }
        for (at, paddr) in batch.addresses[..wanted].iter().enumerate() {
            let number = paddr.get() >> FOLIO_SHIFT;
            let place = match self.index.find(number) {
                Some(place) => place,
                None => {
                    let (last_use, source) = (self.clock, batch.source);
                    let entry =
                        Entry { number, last_use, source, others: None, block: B::default() };
                    if at == 0 {
                        self.take_for_entry();
                    } else if !self.try_take_for_entry() {
                        // Eviction would change the places that are found already.
                        return at;
                    }
                    self.insert(entry)
                }
            };
            #[expect(clippy::cast_possible_truncation, reason = "places have 29 bits")]
            let place = place as u32;
            self.places[at] = place;
        }
        wanted
    }

    /// Counts access `at` of a batch so many times. It may need memory, or come from another source than the
    /// block's first. Whether others had to go for it.
    #[cold]
    fn count_growing(
        &mut self,
        place: usize,
        batch: &MarkedBatch<'_>,
        at: usize,
        times: u32,
    ) -> bool {
        let number = self.entries.at(place).number;
        let evicted = self.take_for_change(number);
        let place = if evicted { self.kept(number) } else { place };
        self.change(place, |entry| {
            entry.block.add(batch, at, times);
            entry.add_source(batch.source, times.into());
        });
        evicted
    }

    /// Takes what any change of a block may need; for [`Store::change`]. Whether other blocks had
    /// to go for it.
    fn take_for_change(&mut self, number: u64) -> bool {
        let evicted = !self.share.try_take(Self::MAX_GROWTH);
        if evicted {
            self.evict(Self::MAX_GROWTH, number);
            self.share.take(Self::MAX_GROWTH);
        }
        evicted
    }

    /// Changes a block, and gives back what was not needed.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut Entry<B>)) {
        let entry = self.entries.at_mut(place);
        let before = entry.heap_bytes();
        change(entry);
        let after = entry.heap_bytes();
        self.share.give_back(before + Self::MAX_GROWTH - after);
    }

    /// The place of a block that is known to be there.
    fn kept(&self, number: u64) -> usize {
        self.index.find(number).expect("it was kept")
    }

    /// Takes what one more entry needs, if the budget holds it.
    fn try_take_for_entry(&mut self) -> bool {
        let piece = if self.entries.is_full() { Self::PIECE_BYTES } else { 0 };
        self.entries.len() < Index::PLACES && self.share.try_take(piece + self.index.growth())
    }

    /// Takes what one more entry needs. Others may have to go for it.
    fn take_for_entry(&mut self) {
        while !self.try_take_for_entry() {
            if self.entries.len() == 0 {
                self.share.take(Self::PIECE_BYTES + self.index.growth());
                break;
            }
            self.evict(Self::PIECE_BYTES, GONE);
        }
    }

    /// Adds an entry, for which memory has been taken, and says where.
    fn insert(&mut self, entry: Entry<B>) -> usize {
        let place = self.entries.len();
        let before = self.index.heap_bytes();
        self.index.insert(entry.number, place);
        if self.index.heap_bytes() > before {
            self.share.give_back(before);
        }
        self.entries.push(entry);
        place
    }

    /// Keeps the clock from reaching its end: uses far apart stay in order.
    fn make_time(&mut self) {
        if self.clock > u32::MAX / 2 + u32::MAX / 4 {
            self.clock >>= 1;
            (0..self.entries.len()).for_each(|place| self.entries.at_mut(place).last_use >>= 1);
        }
    }

    /// Adds another store of the same budget.
    pub fn merge(&mut self, mut other: Self) {
        if self.len() < other.len() {
            core::mem::swap(self, &mut other);
        }
        for (sum, other) in self.evicted.iter_mut().zip(other.evicted) {
            *sum += other;
        }
        let mut other = other.into_remains();
        let mut place = 0;
        while place < other.entries.len() {
            if self.index.find(other.entries.at(place).number).is_some() {
                other.give(place, |entry| self.take_entry(entry));
            } else {
                place += 1;
            }
        }
        // The rest is new here, and changes hands by the piece where ours are full.
        while other.entries.len() > 0 {
            let blocks = other.entries.len();
            if !self.entries.is_full() {
                other.give_last(|entry| self.take_entry(entry));
            } else if self.try_take_for_index(blocks) {
                self.take_piece(&mut other);
            } else {
                self.evict(self.index.growth_by(blocks), GONE);
            }
        }
    }

    /// Adds all of it to stores of the same budget: each block to the one that `which` says, by
    /// its number. What was evicted before goes to the first.
    pub(crate) fn spread(self, stores: &[Mutex<Self>], which: impl Fn(u64) -> usize) {
        if let Some(first) = stores.first() {
            for (sum, evicted) in lock(first).evicted.iter_mut().zip(self.evicted) {
                *sum += evicted;
            }
        }
        let mut blocks = self.into_remains();
        while blocks.give_last(|entry| lock(&stores[which(entry.number)]).take_entry(entry)) {}
    }

    /// Its blocks by number, in ascending order. What was evicted must have been asked before.
    pub(crate) fn into_blocks(self) -> Vec<(u64, B)> {
        let mut blocks = Vec::with_capacity(self.len());
        let mut remains = self.into_remains();
        while remains.give_last(|entry| blocks.push((entry.number, entry.block))) {}
        blocks.sort_unstable_by_key(|(number, _)| *number);
        blocks
    }

    /// Gives up all but its blocks.
    fn into_remains(self) -> Remains<B> {
        let Self { index, entries, mut share, .. } = self;
        share.give_back(index.heap_bytes());
        Remains { entries, share }
    }

    /// Makes room in the index for so many more blocks, if the budget holds it. Where there is
    /// nothing that could go for it, it has to.
    fn try_take_for_index(&mut self, blocks: usize) -> bool {
        let (before, growth) = (self.index.heap_bytes(), self.index.growth_by(blocks));
        let empty = self.entries.len() == 0;
        let fits = self.entries.len() + blocks <= Index::PLACES
            && (growth == 0 || self.share.try_take(growth));
        if empty && !fits {
            self.share.take(growth);
        }
        if growth > 0 && (empty || fits) {
            self.index.make_room(blocks);
            self.share.give_back(before);
        }
        empty || fits
    }

    /// Takes over a piece of what remains of another store. None of its blocks is known, the index
    /// has room for them, and the pieces here are full.
    fn take_piece(&mut self, other: &mut Remains<B>) {
        let Some(mut piece) = other.entries.take_piece() else { return };
        self.make_time();
        let mut bytes = Self::PIECE_BYTES;
        for (place, entry) in (self.entries.len()..).zip(&mut piece) {
            self.clock += 1;
            entry.last_use = self.clock;
            self.index.insert(entry.number, place);
            bytes += entry.heap_bytes();
        }
        self.share.take_over(&mut other.share, bytes);
        self.entries.push_piece(piece);
    }

    /// Adds a block of another store.
    fn take_entry(&mut self, mut entry: Entry<B>) {
        self.make_time();
        self.clock += 1;
        entry.last_use = self.clock;
        let (number, heap) = (entry.number, entry.heap_bytes());
        if self.index.find(number).is_none() {
            self.take_for_entry();
            self.insert(entry);
            self.share.take(heap);
        } else {
            self.take_for_change(number);
            let place = self.kept(number);
            self.entries.at_mut(place).last_use = self.clock;
            self.change(place, |known| known.merge(entry));
        }
    }

    /// Accesses that were counted in blocks that had to go, by source in the order of
    /// [`Source::ALL`].
    pub fn evicted(&self) -> [u64; Source::ALL.len()] {
        self.evicted
    }

    /// The accesses in it by source, in the order of [`Source::ALL`].
    #[cfg(test)]
    pub(crate) fn by_source(&self) -> [u64; Source::ALL.len()] {
        self.entries.iter().map(Entry::by_source).fold([0; Source::ALL.len()], |sums, counts| {
            core::array::from_fn(|at| sums[at] + counts[at])
        })
    }

    /// The blocks, by number, in no order.
    pub fn folios(&self) -> impl Iterator<Item = (FolioPfn, &B)> {
        self.entries.iter().map(|entry| (FolioPfn::from_number(entry.number), &entry.block))
    }

    /// The blocks, by number, in ascending order.
    pub fn in_order(&self) -> impl Iterator<Item = (FolioPfn, &B)> {
        let mut places: Vec<u64> = self.index.entries().collect();
        places.sort_unstable();
        places.into_iter().map(|entry| {
            let entry = self.entries.at(Index::place(entry));
            (FolioPfn::from_number(entry.number), &entry.block)
        })
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn validate(&self) {
        self.index.validate();
        let mut used = self.index.heap_bytes() + self.entries.pieces() * Self::PIECE_BYTES;
        for (place, entry) in self.entries.iter().enumerate() {
            assert_eq!(self.index.find(entry.number), Some(place));
            entry.block.validate();
            used += entry.heap_bytes();
        }
        assert_eq!(used, self.share.used(), "the memory that is accounted for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decoder::{AccessFlags, Direction, Operation, Origin, Position};

    fn access(paddr: u64) -> Access {
        Access {
            origin: Origin {
                source: Source::Sample,
                event: None,
                cpu: None,
                time_ns: None,
                not_retired: false,
                position: Position::default(),
            },
            operation: Operation::plain(Direction::Load),
            paddr: Some(PhysAddr::new_truncate(paddr)),
            vaddr: None,
            ip: None,
            pid: None,
            tid: None,
            latency_cycles: None,
            data_source: None,
            issue_latency_cycles: None,
            translation_latency_cycles: None,
            tlb: None,
            page_size: None,
            aux_queue: None,
            flags: AccessFlags::empty(),
        }
    }

    fn count(store: &mut Store, paddr: u64, times: u64) {
        for _ in 0..times {
            store.access(PhysAddr::new_truncate(paddr), &access(paddr));
        }
    }

    #[test]
    fn splitting_the_work_changes_nothing() {
        let mut whole: Store = Store::new(usize::MAX);
        let mut parts = [whole.split(), whole.split()];
        for number in 0..1000u64 {
            let paddr = (number * 7919 % 613) << 18;
            count(&mut whole, paddr, 1);
            count(&mut parts[usize::from(number % 3 == 0)], paddr, 1);
        }
        let [mut merged, other] = parts;
        merged.merge(other);
        merged.validate();
        whole.validate();
        assert_eq!(merged.len(), whole.len());
        for (pfn, folio) in whole.folios() {
            let same = merged.folios().find(|(other, _)| *other == pfn).unwrap().1;
            assert_eq!(same.accesses(), folio.accesses());
            assert_eq!(same.directions(), folio.directions());
        }
    }

    /// What is known of each block, in order.
    fn known(store: &Store) -> Vec<(u64, [u64; Source::ALL.len()], Folio)> {
        store.validate();
        let places = store.folios().enumerate().map(|(place, (pfn, _))| (pfn, place));
        let mut places: Vec<_> = places.collect();
        places.sort_unstable();
        let entries = places.into_iter().map(|(_, place)| store.entries.at(place));
        entries.map(|entry| (entry.number, entry.by_source(), entry.block.clone())).collect()
    }

    #[test]
    fn stores_put_together_hold_what_one_would() {
        const PIECE: u64 = Slab::<Entry<Folio>>::PIECE as u64;
        let ends = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 3];
        let ranges = |start| ends.map(|end| start..start + end);
        // Blocks that are in one of them alone, in both, or some of them in both.
        let pairs = ranges(0).into_iter().flat_map(|first| {
            let others = [ranges(1000), ranges(0), ranges(PIECE / 2)].into_iter().flatten();
            others.map(move |second| (first.clone(), second))
        });
        for (first, second) in pairs {
            const LIMIT: usize = 1 << 40;
            let mut whole: Store = Store::new(LIMIT);
            let mut parts = [whole.split(), whole.split()];
            for (part, blocks) in parts.iter_mut().zip([first, second]) {
                for number in blocks {
                    // Some blocks have memory of their own, some a second source.
                    let pages = if number % 5 == 0 { 70 } else { 1 };
                    for page in 0..pages {
                        let paddr = number << 21 | page << 12;
                        count(part, paddr, 1);
                        count(&mut whole, paddr, 1);
                    }
                    if number % 3 == 0 {
                        let mut access = access(number << 21);
                        access.origin.source = Source::ArmSpe;
                        let paddr = PhysAddr::new_truncate(number << 21);
                        part.access(paddr, &access);
                        whole.access(paddr, &access);
                    }
                }
            }
            let [mut merged, other] = parts;
            let together = merged.len() + other.len();
            merged.merge(other);
            assert!(merged.len() <= together);
            assert_eq!(merged.share.over(LIMIT), whole.share.used() + merged.share.used());
            let (merged, whole) = (known(&merged), known(&whole));
            assert_eq!(merged.len(), whole.len());
            for ((number, sources, folio), same) in merged.iter().zip(&whole) {
                assert_eq!((number, sources), (&same.0, &same.1));
                assert_eq!(folio.accesses(), same.2.accesses());
                assert_eq!(folio.directions(), same.2.directions());
            }
        }
    }

    #[test]
    fn putting_together_keeps_the_budget() {
        // What two stores hold fills the budget, so that a larger index pushes blocks out.
        for pieces in 4..40 {
            let limit = pieces * Store::<Folio>::PIECE_BYTES;
            let mut first: Store = Store::new(limit);
            let mut second = first.split();
            for number in 0..2000 {
                count(if number % 3 == 0 { &mut second } else { &mut first }, number << 21, 2);
            }
            first.merge(second);
            first.validate();
            assert_eq!(first.share.over(0), 0, "{pieces} pieces");
            let kept: u64 = first.folios().map(|(_, folio)| folio.directions().total()).sum();
            assert_eq!(kept + first.evicted().iter().sum::<u64>(), 4000);
            assert!(!first.is_empty());
        }
    }

    #[test]
    fn the_budget_holds_and_what_goes_is_told() {
        let limit = 10 * Store::<Folio>::PIECE_BYTES;
        let mut store: Store = Store::new(limit);
        // One hot block, then many that are touched once.
        count(&mut store, 0, 1000);
        for number in 1..10_000u64 {
            count(&mut store, number << 21, 1);
            assert!(store.share.used() <= limit);
        }
        store.validate();
        let kept: u64 = store.folios().map(|(_, folio)| folio.directions().total()).sum();
        assert_eq!(kept + store.evicted()[Source::Sample as usize], 1000 + 9_999);
        assert!(store.folios().any(|(pfn, _)| pfn.get() == 0), "the hot block stays");
        assert!(store.folios().any(|(pfn, _)| pfn.number() == 9_999), "so does the latest");
    }

    #[test]
    fn a_budget_too_small_for_anything_still_ends() {
        let mut store: Store = Store::new(1);
        for number in 0..100u64 {
            count(&mut store, number << 21, 2);
        }
        store.validate();
        assert_eq!(store.len(), 1);
        assert_eq!(store.evicted().iter().sum::<u64>(), 198);
    }
}
