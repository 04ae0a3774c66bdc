//! The heat of all blocks at the end of an epoch: what readers see.
//!
//! Blocks lie in regions of neighbours. Nothing of it changes once it is made: closing an epoch
//! makes new regions for those that were accessed and shares the others, so that readers keep
//! what they have, and the cost follows what was accessed.

use std::collections::BTreeMap;
use std::sync::Arc;

use decoder::{FolioPfn, PAGES_PER_FOLIO};

use crate::folio::{Block, Folio};

/// Blocks of a region: as a power of two.
const REGION_SHIFT: u32 = 6;
/// Regions of which expired blocks are taken out at the end of an epoch, as a part of all.
const SWEPT_PART: usize = 8;

/// A block with its heat at some time.
#[derive(Clone, Debug)]
pub(crate) struct Warm {
    number: u64,
    pub(crate) folio: Folio,
    /// The cooling interval up to whose start its counters have been halved.
    interval: u64,
    /// Accesses counted since it is known, halved or not.
    counted: u64,
}

impl Warm {
    fn bytes(&self) -> usize {
        // With its part of a region, and the counts of the `Arc`.
        size_of::<Self>() + 4 * size_of::<usize>() + self.folio.heap_bytes()
    }

    /// The number of its 2 MiB block.
    pub(crate) fn pfn(&self) -> FolioPfn {
        FolioPfn::from_number(self.number)
    }

    /// How often its counters are still to be halved at an interval.
    pub(crate) fn halvings(&self, interval: u64) -> u32 {
        u32::try_from(interval.saturating_sub(self.interval)).unwrap_or(u32::MAX)
    }

    /// Its counters at an interval.
    pub(crate) fn counts(&self, interval: u64) -> [u32; PAGES_PER_FOLIO] {
        let halvings = self.halvings(interval);
        if halvings >= u32::BITS {
            return [0; PAGES_PER_FOLIO];
        }
        let mut counts = self.folio.counters.to_array();
        counts.iter_mut().for_each(|count| *count >>= halvings);
        counts
    }

    fn has_expired(&self, forgotten_before: u64) -> bool {
        self.folio.times.last().is_some_and(|last| last < forgotten_before)
    }
}

/// Neighbouring blocks, by number.
type Region = Vec<Arc<Warm>>;

/// The blocks, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heat {
    regions: BTreeMap<u64, Arc<Region>>,
    /// How many blocks there are, expired ones included that were not taken out yet.
    blocks: usize,
    /// Bytes of all blocks.
    bytes: usize,
    /// Blocks that have been forgotten.
    pub(crate) forgotten: u64,
    /// Where the next sweep begins.
    sweep: u64,
}

/// When and how blocks are put in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The cooling interval in which they were accessed.
    pub(crate) interval: u64,
    /// Blocks that were accessed before this time are forgotten.
    pub(crate) forgotten_before: u64,
}

impl Heat {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A block by its number.
    pub(crate) fn get(&self, number: u64) -> Option<&Warm> {
        let region = self.regions.get(&(number >> REGION_SHIFT))?;
        let place = region.binary_search_by_key(&number, |warm| warm.number).ok()?;
        Some(&region[place])
    }

    /// The blocks from a number on, in ascending order.
    pub(crate) fn from(&self, first: u64) -> impl Iterator<Item = &Warm> {
        let regions = self.regions.range(first >> REGION_SHIFT..);
        let blocks = regions.flat_map(|(_, region)| region.iter().map(|warm| &**warm));
        blocks.skip_while(move |warm| warm.number < first)
    }

    /// Adds what was accessed: blocks by number, in ascending order, each once. Returns the bytes
    /// that only those keep now who still have the state before.
    pub(crate) fn add(&mut self, accessed: Vec<(u64, Folio)>, moment: Moment) -> usize {
        let mut replaced = 0;
        let mut accessed = accessed.into_iter().peekable();
        while let Some((number, _)) = accessed.peek() {
            let key = number >> REGION_SHIFT;
            let mut rest = self.take_region(key).into_iter().peekable();
            let mut region = Region::new();
            while let Some((number, folio)) =
                accessed.next_if(|(number, _)| number >> REGION_SHIFT == key)
            {
                while let Some(warm) = rest.next_if(|warm| warm.number < number) {
                    replaced += self.keep(&mut region, warm, moment);
                }
                let before = rest.next_if(|warm| warm.number == number);
                replaced += before.as_ref().map_or(0, |warm| warm.bytes());
                let before = before.filter(|warm| !warm.has_expired(moment.forgotten_before));
                self.put(&mut region, Arc::new(warmed(number, before.as_deref(), folio, moment)));
            }
            for warm in rest {
                replaced += self.keep(&mut region, warm, moment);
            }
            self.regions.insert(key, Arc::new(region));
        }
        replaced
    }

    /// Takes expired blocks out of some regions; of all of them if it is called often.
    pub(crate) fn sweep(&mut self, forgotten_before: u64) {
        let wanted = self.regions.len().div_ceil(SWEPT_PART);
        let behind = self.regions.range(self.sweep..);
        let before = self.regions.range(..self.sweep);
        let keys: Vec<_> = behind.chain(before).map(|(key, _)| *key).take(wanted + 1).collect();
        self.sweep = keys.get(wanted).or(keys.first()).copied().unwrap_or(0);
        let moment = Moment { interval: 0, forgotten_before };
        for key in keys.into_iter().take(wanted) {
            let expired =
                |region: &Arc<Region>| region.iter().any(|warm| warm.has_expired(forgotten_before));
            if self.regions.get(&key).is_some_and(expired) {
                let mut region = Region::new();
                for warm in self.take_region(key) {
                    self.keep(&mut region, warm, moment);
                }
                if !region.is_empty() {
                    self.regions.insert(key, Arc::new(region));
                }
            }
        }
    }

    /// Gives up blocks until so many bytes are freed: those below the median of accesses first,
    /// least recently accessed first. Returns the accesses that were counted in them.
    pub(crate) fn evict(&mut self, bytes: usize) -> u64 {
        let mut totals: Vec<u64> = self.from(0).map(|warm| warm.folio.counters.total()).collect();
        if totals.is_empty() {
            return 0;
        }
        let middle = totals.len() / 2;
        let median = *totals.select_nth_unstable(middle).1;
        let mut order: Vec<_> = self
            .from(0)
            .map(|warm| {
                let class = warm.folio.counters.total().cmp(&median);
                (class, warm.folio.times.last(), warm.number)
            })
            .collect();
        order.sort_unstable();
        let (mut freed, mut counted) = (0, 0);
        for (_, _, number) in order {
            if freed >= bytes {
                break;
            }
            let key = number >> REGION_SHIFT;
            let mut region = self.take_region(key);
            if let Ok(place) = region.binary_search_by_key(&number, |warm| warm.number) {
                let warm = region.remove(place);
                freed += warm.bytes();
                counted += warm.counted;
            }
            for warm in &region {
                self.blocks += 1;
                self.bytes += warm.bytes();
            }
            if !region.is_empty() {
                self.regions.insert(key, Arc::new(region));
            }
        }
        counted
    }

    /// Takes a region out, with its blocks.
    fn take_region(&mut self, key: u64) -> Region {
        let region = self.regions.remove(&key).map(Arc::unwrap_or_clone).unwrap_or_default();
        self.blocks -= region.len();
        self.bytes -= region.iter().map(|warm| warm.bytes()).sum::<usize>();
        region
    }

    fn put(&mut self, region: &mut Region, warm: Arc<Warm>) {
        self.blocks += 1;
        self.bytes += warm.bytes();
        region.push(warm);
    }

    /// Puts a block back that was not accessed, unless it has expired. Returns the bytes that
    /// are not in it any more.
    fn keep(&mut self, region: &mut Region, warm: Arc<Warm>, moment: Moment) -> usize {
        if warm.has_expired(moment.forgotten_before) {
            self.forgotten += 1;
            return warm.bytes();
        }
        self.put(region, warm);
        0
    }

    /// Tests what holds between calls.
    ///
    /// # Panics
    /// If it does not.
    #[cfg(test)]
    pub(crate) fn validate(&self) {
        assert!(self.from(0).map(|warm| warm.number).is_sorted_by(|a, b| a < b));
        assert_eq!(self.from(0).count(), self.blocks);
        assert_eq!(self.from(0).map(Warm::bytes).sum::<usize>(), self.bytes);
        for (key, region) in &self.regions {
            assert!(!region.is_empty());
            assert!(region.iter().all(|warm| warm.number >> REGION_SHIFT == *key));
        }
    }
}

/// A block as it is after it was accessed.
fn warmed(number: u64, before: Option<&Warm>, accessed: Folio, moment: Moment) -> Warm {
    let counted = accessed.total() + before.map_or(0, |warm| warm.counted);
    let folio = match before {
        None => accessed,
        Some(warm) => {
            let mut folio = warm.folio.clone();
            folio.halve(warm.halvings(moment.interval));
            folio.merge(accessed);
            folio
        }
    };
    Warm { number, folio, interval: moment.interval, counted }
}
