//! Everything that is kept of one block.

use decoder::{Detail, Direction, PAGES_PER_FOLIO, Touch, TraceOffset};

use crate::backing::Mapping;
use crate::counters::Counters;
use crate::marked_batch::MarkedBatch;

/// What a [`Store`](crate::Store) keeps of a block: its counters, alone or with more.
pub trait Block: Clone + core::fmt::Debug + Default {
    /// What must be known of each access.
    const DETAIL: Detail;

    /// Counts access `at` of a batch so many times, at least once, where that takes no memory.
    /// Otherwise nothing happens, and the answer is false.
    fn hit(&mut self, batch: &MarkedBatch<'_>, at: usize, times: u8) -> bool;
    /// Reads where [`Block::hit`] writes, so that it is in the cache.
    fn peek(&self, page: usize) -> u8;
    /// Counts access `at` of a batch so many times.
    fn add(&mut self, batch: &MarkedBatch<'_>, at: usize, times: u32);
    /// An access to a page that was counted as a visit is none.
    fn take_back_visit(&mut self, _page: usize) {}
    /// Adds what another thread counted for the same block.
    fn merge(&mut self, other: Self);
    /// The pages with accesses, in ascending order, with how many.
    fn touched(&self) -> impl Iterator<Item = (usize, u32)>;
    /// How many counters have reached their greatest value.
    fn saturated(&self) -> usize;
    /// All accesses.
    fn total(&self) -> u64;
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    fn validate(&self);
}

/// The page in its block of access `at` of a batch.
#[inline]
fn page(batch: &MarkedBatch<'_>, at: usize) -> usize {
    batch.addresses[at].pfn().index_in_folio()
}

impl Block for Counters {
    const DETAIL: Detail = Detail::Addresses;

    #[inline]
    fn hit(&mut self, batch: &MarkedBatch<'_>, at: usize, times: u8) -> bool {
        self.hit(page(batch, at), times)
    }

    #[inline]
    fn peek(&self, page: usize) -> u8 {
        self.peek(page)
    }

    fn add(&mut self, batch: &MarkedBatch<'_>, at: usize, times: u32) {
        self.add(page(batch, at), times);
    }

    fn merge(&mut self, other: Self) {
        self.merge(other);
    }

    fn touched(&self) -> impl Iterator<Item = (usize, u32)> {
        self.touched()
    }

    fn saturated(&self) -> usize {
        self.saturated()
    }

    fn total(&self) -> u64 {
        self.total()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    fn validate(&self) {
        self.validate();
        assert!(self.total() > 0, "a block is kept once it is accessed");
    }
}

/// Accesses by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions([u64; DIRECTIONS]); // in the order of `Direction`

/// How many directions there are.
const DIRECTIONS: usize = 4;

impl Directions {
    fn get(&self, direction: Direction) -> u64 {
        self.0[direction as usize]
    }

    /// The same after so many halvings.
    #[must_use]
    pub fn halved(&self, times: u32) -> Self {
        Self(self.0.map(|count| count.checked_shr(times).unwrap_or(0)))
    }

    /// Accesses that read.
    pub fn loads(&self) -> u64 {
        self.get(Direction::Load)
    }

    /// Accesses that wrote.
    pub fn stores(&self) -> u64 {
        self.get(Direction::Store)
    }

    /// Accesses that did both at once.
    pub fn atomics(&self) -> u64 {
        self.get(Direction::Atomic)
    }

    /// Accesses of unknown direction.
    pub fn unknown(&self) -> u64 {
        self.get(Direction::Unknown)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The least and the greatest of some times, in ns of the trace clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    // Without any time the first is greater than the last.
    first: u64,
    last: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { first: u64::MAX, last: 0 }
    }
}

impl FromIterator<u64> for Times {
    fn from_iter<T: IntoIterator<Item = u64>>(iter: T) -> Self {
        let mut times = Self::default();
        iter.into_iter().for_each(|time| times.add(time));
        times
    }
}

impl Times {
    /// Takes in a time.
    #[inline]
    pub fn add(&mut self, time: u64) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }

    /// Takes in all of another range.
    pub fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// What of the range lies before `end`.
    pub fn before(self, end: u64) -> Self {
        Self { last: self.last.min(end.saturating_sub(1)), ..self }
    }

    fn range(&self) -> Option<(u64, u64)> {
        (self.first <= self.last).then_some((self.first, self.last))
    }

    /// The least.
    pub fn first(&self) -> Option<u64> {
        self.range().map(|(first, _)| first)
    }

    /// The greatest.
    pub fn last(&self) -> Option<u64> {
        self.range().map(|(_, last)| last)
    }

    /// Their difference.
    pub fn span(&self) -> Option<u64> {
        self.range().map(|(first, last)| last - first)
    }
}

/// Who touched a block last, as far as the records tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    offset: TraceOffset,
    file: u32,
    pid: u32,
    /// Start of the 2 MiB of virtual memory that the address lies in, above [`LastSeen::VADDR`]
    /// and [`LastSeen::PID`].
    vaddr: u64,
}

impl LastSeen {
    /// Set where there is a virtual address of a user.
    const VADDR: u64 = 1 << 1;
    /// Set where there is a process too.
    const PID: u64 = 1 << 0;
    const FOLIO_MASK: u64 = (1 << decoder::FOLIO_SHIFT) - 1;

    #[inline]
    fn of(touch: &Touch, file: u32) -> Self {
        let Some(vaddr) = touch.vaddr.filter(|vaddr| !vaddr.is_kernel()) else {
            return Self { offset: touch.offset, file, pid: 0, vaddr: 0 };
        };
        let base = vaddr.get() & !Self::FOLIO_MASK | Self::VADDR;
        let (pid, vaddr) = touch.pid.map_or((0, base), |pid| (pid, base | Self::PID));
        Self { offset: touch.offset, file, pid, vaddr }
    }

    /// Process.
    pub fn pid(&self) -> Option<u32> {
        (self.vaddr & Self::PID != 0).then_some(self.pid)
    }

    /// Start of the 2 MiB of virtual memory that the address lies in.
    pub fn vaddr(&self) -> Option<u64> {
        (self.vaddr & Self::VADDR != 0).then_some(self.vaddr & !Self::FOLIO_MASK)
    }

    /// Keeps the later of the two that say most.
    #[inline]
    fn merge(&mut self, other: &Self) {
        let weight = |seen: &Self| (seen.vaddr & Self::FOLIO_MASK, seen.file, seen.offset);
        if weight(other) >= weight(self) {
            *self = *other;
        }
    }
}

/// One block of 2 MiB of physical memory.
///
/// Accesses to a page are its visits and the surplus over them: most accesses of most blocks are
/// visits, so that most blocks have no surplus and pay nothing for it.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Folio {
    /// Visits to each of its pages.
    visits: Counters,
    /// Accesses by direction: the lower halves, in the order of [`Direction`].
    low: [u32; DIRECTIONS],
    /// What few blocks need.
    more: Option<Box<More>>,
    /// When it was accessed.
    pub times: Times,
    /// How it is mapped.
    pub mapping: Mapping,
    /// Who accessed it last.
    pub last_seen: LastSeen,
}

/// What few blocks need.
#[derive(Clone, Debug, Default)]
struct More {
    /// Accesses to each page that are no visits.
    surplus: Counters,
    /// The upper halves of accesses by direction.
    high: [u32; DIRECTIONS],
}

impl Folio {
    /// Accesses to each page.
    pub fn accesses(&self) -> [u32; PAGES_PER_FOLIO] {
        let mut counts = self.visits.to_array();
        if let Some(more) = &self.more {
            for (page, surplus) in more.surplus.touched() {
                counts[page] = counts[page].saturating_add(surplus);
            }
        }
        counts
    }

    /// Visits to each page.
    pub fn visits(&self) -> [u32; PAGES_PER_FOLIO] {
        self.visits.to_array()
    }

    /// Whether accesses and visits differ.
    pub fn has_surplus(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.surplus.touched_pages() > 0)
    }

    /// Pages with accesses, in 0..=512.
    pub fn touched_pages(&self) -> u32 {
        let surplus = self.more.as_ref().map(|more| &more.surplus);
        self.visits.touched_pages_with(surplus)
    }

    /// Accesses by direction.
    pub fn directions(&self) -> Directions {
        let high = self.more.as_ref().map_or([0; DIRECTIONS], |more| more.high);
        let whole = |at: usize| u64::from(high[at]) << 32 | u64::from(self.low[at]);
        Directions(core::array::from_fn(whole))
    }

    fn add_directions(&mut self, added: Directions) {
        let sums = self.directions();
        for (at, added) in added.0.into_iter().enumerate() {
            let sum = sums.0[at] + added;
            #[expect(clippy::cast_possible_truncation, reason = "in two halves")]
            let (low, high) = (sum as u32, (sum >> 32) as u32);
            self.low[at] = low;
            if high > 0 || self.more.is_some() {
                self.more.get_or_insert_default().high[at] = high;
            }
        }
    }

    /// Halves accesses and visits so many times, each count by itself.
    pub fn halve(&mut self, times: u32) {
        if times == 0 {
            return;
        }
        let directions = self.directions().halved(times);
        let before = core::mem::take(self);
        let mut surplus = Counters::default();
        for (page, accesses) in before.touched() {
            let accesses = accesses.checked_shr(times).unwrap_or(0);
            let visits = before.visits.get(page).checked_shr(times).unwrap_or(0);
            self.visits.add(page, visits);
            surplus.add(page, accesses - visits);
        }
        if surplus.touched_pages() > 0 {
            self.more = Some(Box::new(More { surplus, high: [0; DIRECTIONS] }));
        }
        self.add_directions(directions);
        (self.times, self.mapping, self.last_seen) =
            (before.times, before.mapping, before.last_seen);
    }

    /// None of its accesses is evidence any more: what is counted stays counted.
    pub(crate) fn forget_visits(&mut self) {
        if self.visits.touched_pages() > 0 {
            let visits = core::mem::take(&mut self.visits);
            self.more.get_or_insert_default().surplus.merge(visits);
        }
    }

    /// Takes in what an access says beside its place.
    #[inline(always)]
    fn seen(&mut self, batch: &MarkedBatch<'_>, at: usize) {
        let Some(touch) = batch.touches.get(at) else { return };
        if let Some(time) = touch.time_ns {
            self.times.add(time);
        }
        if let Some(vaddr) = touch.vaddr {
            self.mapping.access(vaddr, batch.addresses[at]);
        }
        self.last_seen.merge(&LastSeen::of(touch, batch.file));
    }
}

/// The direction of access `at` of a batch.
#[inline]
fn direction(batch: &MarkedBatch<'_>, at: usize) -> Direction {
    batch.touches.get(at).map_or(Direction::Unknown, |touch| touch.direction)
}

impl Block for Folio {
    const DETAIL: Detail = Detail::Counts;

    #[inline(always)]
    fn hit(&mut self, batch: &MarkedBatch<'_>, at: usize, times: u8) -> bool {
        let direction = direction(batch, at);
        let Some(sum) = self.low[direction as usize].checked_add(times.into()) else {
            return false;
        };
        let hit = if batch.repeats(at) {
            self.more.as_mut().is_some_and(|more| more.surplus.hit(page(batch, at), times))
        } else {
            self.visits.hit(page(batch, at), times)
        };
        if hit {
            self.low[direction as usize] = sum;
            self.seen(batch, at);
        }
        hit
    }

    #[inline]
    fn peek(&self, page: usize) -> u8 {
        let rest = self.low[0] ^ self.last_seen.file;
        self.visits.peek(page) ^ rest.to_le_bytes()[0]
    }

    fn add(&mut self, batch: &MarkedBatch<'_>, at: usize, times: u32) {
        let counters = if batch.repeats(at) {
            &mut self.more.get_or_insert_default().surplus
        } else {
            &mut self.visits
        };
        counters.add(page(batch, at), times);
        let mut added = Directions::default();
        added.0[direction(batch, at) as usize] = times.into();
        self.add_directions(added);
        self.seen(batch, at);
    }

    fn take_back_visit(&mut self, page: usize) {
        if self.visits.take_one(page) {
            self.more.get_or_insert_default().surplus.add(page, 1);
        }
    }

    fn merge(&mut self, other: Self) {
        self.add_directions(other.directions());
        self.visits.merge(other.visits);
        if let Some(more) = other.more
            && more.surplus.touched_pages() > 0
        {
            self.more.get_or_insert_default().surplus.merge(more.surplus);
        }
        self.times.merge(&other.times);
        self.mapping.merge(&other.mapping);
        self.last_seen.merge(&other.last_seen);
    }

    fn touched(&self) -> impl Iterator<Item = (usize, u32)> {
        let surplus = self.more.as_ref().map(|more| &more.surplus);
        self.visits.touched_with(surplus).map(move |page| {
            let surplus = surplus.map_or(0, |surplus| surplus.get(page));
            (page, self.visits.get(page).saturating_add(surplus))
        })
    }

    fn saturated(&self) -> usize {
        if self.more.is_none() {
            return self.visits.saturated();
        }
        self.touched().filter(|(_, count)| *count == u32::MAX).count()
    }

    fn total(&self) -> u64 {
        self.directions().total()
    }

    fn heap_bytes(&self) -> usize {
        self.visits.heap_bytes()
            + self.more.as_deref().map_or(0, |more| size_of::<More>() + more.surplus.heap_bytes())
    }

    fn validate(&self) {
        self.visits.validate();
        if let Some(more) = &self.more {
            more.surplus.validate();
        }
        let counted: u64 = self.touched().map(|(_, count)| u64::from(count)).sum();
        assert!(counted > 0, "a block is kept once it is accessed");
        assert!(counted <= self.total(), "less only where one is saturated");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decoder::{Batch, PhysAddr, Source};
    use proptest::prelude::*;

    /// Counts an access to a page.
    fn count(folio: &mut Folio, page: usize, repeats: bool, times: u32) {
        let address = [PhysAddr::new_truncate((page as u64) << 12)];
        let batch = MarkedBatch {
            repeats: &[repeats],
            ..Batch::of_addresses(Source::Pebs, &address).into()
        };
        let few = u8::try_from(times).ok().filter(|times| *times > 0);
        if few.is_none_or(|times| !folio.hit(&batch, 0, times)) {
            folio.add(&batch, 0, times);
        }
    }

    /// Visits and accesses of each page.
    type Naive = ([u32; PAGES_PER_FOLIO], [u32; PAGES_PER_FOLIO]);

    fn check(folio: &Folio, (visits, accesses): &Naive) {
        assert_eq!((&folio.visits(), &folio.accesses()), (visits, accesses));
        let touched = accesses.iter().copied().enumerate().filter(|(_, count)| *count > 0);
        assert!(folio.touched().eq(touched.clone()));
        assert_eq!(folio.touched_pages() as usize, touched.count());
        let saturated = accesses.iter().filter(|count| **count == u32::MAX).count();
        assert_eq!(folio.saturated(), saturated);
    }

    proptest! {
        #[test]
        fn visits_and_accesses_are_counted_merged_and_cooled_exactly(
            counted in prop::collection::vec(
                (0..2_usize, 0..80_usize, any::<bool>(), prop_oneof![4 => 1..4_u32, 1 => 250..1000_u32]),
                1..400,
            ),
            halvings in 1..5_u32,
            back in prop::collection::vec(0..80_usize, 0..10),
        ) {
            let mut folios = [Folio::default(), Folio::default()];
            let (mut visits, mut accesses) = ([0_u32; PAGES_PER_FOLIO], [0_u32; PAGES_PER_FOLIO]);
            for (which, page, repeats, times) in counted {
                count(&mut folios[which], page, repeats, times);
                accesses[page] += times;
                visits[page] += if repeats { 0 } else { times };
            }
            let [mut folio, other] = folios;
            folio.merge(other);
            folio.validate();
            check(&folio, &(visits, accesses));
            for page in back {
                folio.take_back_visit(page);
                visits[page] = visits[page].saturating_sub(1);
            }
            check(&folio, &(visits, accesses));
            folio.halve(halvings);
            let halved = |counts: [u32; PAGES_PER_FOLIO]| counts.map(|count| count >> halvings);
            check(&folio, &(halved(visits), halved(accesses)));
        }
    }

    #[test]
    fn a_block_without_surplus_takes_what_it_always_took() {
        assert_eq!(size_of::<Folio>(), 200);
    }

    #[test]
    fn directions_are_exact_beyond_32_bits() {
        let mut folio = Folio::default();
        (0..5).for_each(|_| count(&mut folio, 3, false, u32::MAX));
        assert_eq!(folio.directions().unknown(), 5 * u64::from(u32::MAX));
        assert_eq!((folio.accesses()[3], folio.saturated()), (u32::MAX, 1));
        folio.halve(1);
        assert_eq!(folio.directions().total(), 5 * u64::from(u32::MAX) / 2);
    }
}
