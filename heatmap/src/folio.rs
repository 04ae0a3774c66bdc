//! Everything that is kept of one block.

use decoder::{Access, Direction, Position, Source};

use crate::backing::Mapping;
use crate::counters::Counters;

/// Accesses by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// Accesses that read.
    pub loads: u64,
    /// Accesses that wrote.
    pub stores: u64,
    /// Accesses that did both at once.
    pub atomics: u64,
    /// Accesses of unknown direction.
    pub unknown: u64,
}

impl Directions {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.loads + self.stores + self.atomics + self.unknown
    }
}

/// The least and the greatest of some times, in ns of the trace clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times(Option<(u64, u64)>);

impl Times {
    /// Takes in a time.
    #[inline]
    pub fn add(&mut self, time: u64) {
        self.0 =
            Some(self.0.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
    }

    /// Takes in all of another range.
    pub fn merge(&mut self, other: &Self) {
        if let Some((first, last)) = other.0 {
            self.add(first);
            self.add(last);
        }
    }

    /// The least.
    pub fn first(&self) -> Option<u64> {
        self.0.map(|(first, _)| first)
    }

    /// The greatest.
    pub fn last(&self) -> Option<u64> {
        self.0.map(|(_, last)| last)
    }

    /// Their difference.
    pub fn span(&self) -> Option<u64> {
        self.0.map(|(first, last)| last - first)
    }
}

/// Who touched a block last, as far as the records tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    position: Position,
    /// Process.
    pub pid: Option<u32>,
    /// Start of the 2 MiB of virtual memory that the address lies in.
    pub vaddr: Option<u64>,
}

/// One block of 2 MiB of physical memory.
#[derive(Clone, Debug, Default)]
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
    /// The accesses by source, in the order of [`Source::ALL`].
    pub by_source: [u32; Source::ALL.len()],
}

impl Folio {
    /// Counts an access to one of its pages.
    #[inline]
    pub fn access(&mut self, page: usize, access: &Access) {
        self.counters.add(page, 1);
        *match access.operation.direction {
            Direction::Load => &mut self.directions.loads,
            Direction::Store => &mut self.directions.stores,
            Direction::Atomic => &mut self.directions.atomics,
            Direction::Unknown => &mut self.directions.unknown,
        } += 1;
        if let Some(time) = access.origin.time_ns {
            self.times.add(time);
        }
        if let (Some(vaddr), Some(paddr)) = (access.vaddr, access.paddr) {
            self.mapping.access(vaddr, paddr);
        }
        self.last_seen.merge(&LastSeen::of(access));
        let source = &mut self.by_source[access.origin.source as usize];
        *source = source.saturating_add(1);
    }

    /// Adds what another thread counted for the same block.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.directions.loads += other.directions.loads;
        self.directions.stores += other.directions.stores;
        self.directions.atomics += other.directions.atomics;
        self.directions.unknown += other.directions.unknown;
        self.times.merge(&other.times);
        self.mapping.merge(&other.mapping);
        self.last_seen.merge(&other.last_seen);
        for (count, other) in self.by_source.iter_mut().zip(other.by_source) {
            *count = count.saturating_add(other);
        }
    }
}

impl LastSeen {
    #[inline]
    fn of(access: &Access) -> Self {
        const FOLIO_MASK: u64 = (1 << decoder::FOLIO_SHIFT) - 1;
        let vaddr = access.vaddr.filter(|vaddr| !vaddr.is_kernel());
        Self {
            position: access.origin.position,
            pid: access.pid.filter(|_| vaddr.is_some()),
            vaddr: vaddr.map(|vaddr| vaddr.get() & !FOLIO_MASK),
        }
    }

    /// Keeps the later of the two that say most.
    #[inline]
    fn merge(&mut self, other: &Self) {
        let weight = |seen: &Self| (seen.vaddr.is_some(), seen.pid.is_some(), seen.position);
        if weight(other) >= weight(self) {
            *self = *other;
        }
    }
}
