//! Everything that is kept of one block.

use decoder::{Batch, Detail, Direction, Touch, TraceOffset};

use crate::backing::Mapping;
use crate::counters::Counters;

/// What a [`Store`](crate::Store) keeps of a block: its counters, alone or with more.
pub trait Block: Clone + core::fmt::Debug + Default {
    /// What must be known of each access.
    const DETAIL: Detail;

    /// Counts access `at` of a batch so many times, at least once, where that takes no memory.
    /// Otherwise nothing happens, and the answer is false.
    fn hit(&mut self, batch: &Batch<'_>, at: usize, times: u8) -> bool;
    /// Reads where [`Block::hit`] writes, so that it is in the cache.
    fn peek(&self, page: usize) -> u8;
    /// Counts access `at` of a batch so many times.
    fn add(&mut self, batch: &Batch<'_>, at: usize, times: u32);
    /// Adds what another thread counted for the same block.
    fn merge(&mut self, other: Self);
    /// Accesses to each page.
    fn counters(&self) -> &Counters;
    /// All accesses.
    fn total(&self) -> u64;
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
}

/// The page in its block of access `at` of a batch.
#[inline]
fn page(batch: &Batch<'_>, at: usize) -> usize {
    batch.addresses[at].pfn().index_in_folio()
}

impl Block for Counters {
    const DETAIL: Detail = Detail::Places;

    #[inline]
    fn hit(&mut self, batch: &Batch<'_>, at: usize, times: u8) -> bool {
        self.hit(page(batch, at), times)
    }

    #[inline]
    fn peek(&self, page: usize) -> u8 {
        self.peek(page)
    }

    fn add(&mut self, batch: &Batch<'_>, at: usize, times: u32) {
        self.add(page(batch, at), times);
    }

    fn merge(&mut self, other: Self) {
        self.merge(other);
    }

    fn counters(&self) -> &Counters {
        self
    }

    fn total(&self) -> u64 {
        self.total()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

/// Accesses by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// The lower halves, in the order of [`Direction`].
    low: [u32; 4],
    /// The upper halves, once one of them is not 0.
    high: Option<Box<[u32; 4]>>,
}

impl Directions {
    fn get(&self, direction: Direction) -> u64 {
        let at = direction as usize;
        let high = self.high.as_ref().map_or(0, |high| high[at]);
        u64::from(high) << 32 | u64::from(self.low[at])
    }

    fn add(&mut self, direction: Direction, count: u64) {
        let sum = self.get(direction) + count;
        #[expect(clippy::cast_possible_truncation, reason = "in two halves")]
        let (low, high) = (sum as u32, (sum >> 32) as u32);
        self.low[direction as usize] = low;
        if high > 0 {
            self.high.get_or_insert_default()[direction as usize] = high;
        }
    }

    const ALL: [Direction; 4] =
        [Direction::Load, Direction::Store, Direction::Atomic, Direction::Unknown];

    fn merge(&mut self, other: &Self) {
        for direction in Self::ALL {
            self.add(direction, other.get(direction));
        }
    }

    /// The same after so many halvings.
    #[must_use]
    pub fn halved(&self, times: u32) -> Self {
        let mut halved = Self::default();
        for direction in Self::ALL {
            halved.add(direction, self.get(direction).checked_shr(times).unwrap_or(0));
        }
        halved
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
        self.loads() + self.stores() + self.atomics() + self.unknown()
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
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Folio {
    /// Accesses to each of its pages.
    pub counters: Counters,
    /// The same by direction.
    pub directions: Directions,
    /// When it was accessed.
    pub times: Times,
    /// How it is mapped.
    pub mapping: Mapping,
    /// Who accessed it last.
    pub last_seen: LastSeen,
}

impl Folio {
    /// Halves all counts so many times, each by itself.
    pub fn halve(&mut self, times: u32) {
        if times > 0 {
            self.counters.halve(times);
            self.directions = self.directions.halved(times);
        }
    }

    /// Takes in what an access says beside its place.
    #[inline]
    fn seen(&mut self, batch: &Batch<'_>, at: usize) {
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
fn direction(batch: &Batch<'_>, at: usize) -> Direction {
    batch.touches.get(at).map_or(Direction::Unknown, |touch| touch.direction)
}

impl Block for Folio {
    const DETAIL: Detail = Detail::Touches;

    #[inline]
    fn hit(&mut self, batch: &Batch<'_>, at: usize, times: u8) -> bool {
        let direction = direction(batch, at);
        let low = &mut self.directions.low[direction as usize];
        let Some(sum) = low.checked_add(times.into()) else { return false };
        let hit = self.counters.hit(page(batch, at), times);
        if hit {
            *low = sum;
            self.seen(batch, at);
        }
        hit
    }

    #[inline]
    fn peek(&self, page: usize) -> u8 {
        let rest = self.directions.low[0] ^ self.last_seen.file;
        self.counters.peek(page) ^ rest.to_le_bytes()[0]
    }

    fn add(&mut self, batch: &Batch<'_>, at: usize, times: u32) {
        self.counters.add(page(batch, at), times);
        self.directions.add(direction(batch, at), times.into());
        self.seen(batch, at);
    }

    fn merge(&mut self, other: Self) {
        self.counters.merge(other.counters);
        self.directions.merge(&other.directions);
        self.times.merge(&other.times);
        self.mapping.merge(&other.mapping);
        self.last_seen.merge(&other.last_seen);
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn total(&self) -> u64 {
        self.directions.total()
    }

    fn heap_bytes(&self) -> usize {
        self.counters.heap_bytes() + self.directions.high.as_deref().map_or(0, size_of_val)
    }
}
