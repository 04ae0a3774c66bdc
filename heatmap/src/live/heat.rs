//! The heat of all blocks at the end of an epoch: what readers see.
//!
//! Blocks lie in regions of neighbours. Nothing of it changes once it is made: closing an epoch
//! makes new regions for those that were accessed and shares the others, so that readers keep
//! what they have, and the cost follows what was accessed.

use std::collections::BTreeMap;
use std::sync::Arc;

use decoder::FolioPfn;

use super::ends::Ends;
use super::hands::Hands;
use crate::filter::ChunkOrder;
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
    /// What it was like at ends of cooling intervals.
    pub(crate) ends: Ends,
    /// Whose it is.
    hands: Hands,
    /// The greatest count of a page when something was last left out of the block, halved as its
    /// counters are: once it is 0, nothing of what was counted by then is left.
    left_out: u32,
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

    /// Whether something that was left out may still be missing in an interval.
    pub(crate) fn is_left_out(&self, interval: u64) -> bool {
        self.left_out.checked_shr(self.halvings(interval)).unwrap_or(0) > 0
    }

    /// Whether anything was ever counted in it.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted > 0
    }

    /// It had no accesses for too long; or nothing was counted in it, and what was left out is of
    /// no matter any more.
    fn has_expired(&self, moment: Moment) -> bool {
        let old = self.folio.times.last().is_some_and(|last| last < moment.forgotten_before);
        old || !self.is_counted() && !self.is_left_out(moment.interval)
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
    /// Counters are halved at the end of intervals.
    pub(crate) cools: bool,
    /// Blocks that were accessed before this time are forgotten.
    pub(crate) forgotten_before: u64,
}

impl Heat {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Blocks with accesses of which something may be missing in an interval. Looks at all blocks.
    pub(crate) fn left_out(&self, interval: u64) -> u64 {
        self.from(0).filter(|warm| warm.is_counted() && warm.is_left_out(interval)).count() as u64
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

    /// Adds what was accessed: blocks by number, in ascending order, each once; of each what was
    /// counted, if anything, and whether something was left out. Returns the bytes that only those
    /// keep now who still have the state before.
    pub(crate) fn add(&mut self, accessed: Vec<Accessed>, moment: Moment) -> usize {
        let mut replaced = 0;
        let mut accessed = accessed.into_iter().peekable();
        while let Some(Accessed { number, .. }) = accessed.peek() {
            let key = number >> REGION_SHIFT;
            let mut rest = self.take_region(key).into_iter().peekable();
            let mut region = Region::new();
            while let Some(block) = accessed.next_if(|it| it.number >> REGION_SHIFT == key) {
                while let Some(warm) = rest.next_if(|warm| warm.number < block.number) {
                    replaced += self.keep(&mut region, warm, moment);
                }
                let before = rest.next_if(|warm| warm.number == block.number);
                replaced += before.as_ref().map_or(0, |warm| warm.bytes());
                let before = before.filter(|warm| !warm.has_expired(moment));
                self.put(&mut region, Arc::new(warmed(before.as_deref(), block, moment)));
            }
            for warm in rest {
                replaced += self.keep(&mut region, warm, moment);
            }
            self.regions.insert(key, Arc::new(region));
        }
        replaced
    }

    /// Takes expired blocks out of some regions; of all of them if it is called often.
    pub(crate) fn sweep(&mut self, moment: Moment) {
        let wanted = self.regions.len().div_ceil(SWEPT_PART);
        let behind = self.regions.range(self.sweep..);
        let before = self.regions.range(..self.sweep);
        let keys: Vec<_> = behind.chain(before).map(|(key, _)| *key).take(wanted + 1).collect();
        self.sweep = keys.get(wanted).or(keys.first()).copied().unwrap_or(0);
        for key in keys.into_iter().take(wanted) {
            let expired = |region: &Arc<Region>| region.iter().any(|warm| warm.has_expired(moment));
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
        let mut totals: Vec<u64> = self.from(0).map(|warm| warm.folio.total()).collect();
        if totals.is_empty() {
            return 0;
        }
        let middle = totals.len() / 2;
        let median = *totals.select_nth_unstable(middle).1;
        let mut order: Vec<_> = self
            .from(0)
            .map(|warm| {
                let class = warm.folio.total().cmp(&median);
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
        if warm.has_expired(moment) {
            self.forgotten += u64::from(warm.is_counted());
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

/// What happened to a block in an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Accessed {
    pub(crate) number: u64,
    /// What was counted; nothing if all was left out.
    pub(crate) folio: Option<Folio>,
    /// The query left something out.
    pub(crate) left_out: bool,
}

/// A block as it is after it was accessed.
fn warmed(before: Option<&Warm>, accessed: Accessed, moment: Moment) -> Warm {
    let Accessed { number, folio: added, left_out: loses } = accessed;
    // Where the kernel maps small pages, a block has many hands at a time.
    let whole = |folio: &&Folio| folio.mapping.order_max() == Some(ChunkOrder::MAX.get());
    let seen = added.as_ref().filter(whole).map(|folio| folio.last_seen).unwrap_or_default();
    let added_count = added.as_ref().map_or(0, Block::total);
    let counted = added_count + before.map_or(0, |warm| warm.counted);
    let mut hands = before.map(|warm| warm.hands).unwrap_or_default();
    let stays = hands.pass_to(seen, moment.interval);
    let halvings = before.map_or(0, |warm| warm.halvings(moment.interval));
    let mut ends = before.map(|warm| warm.ends).unwrap_or_default();
    if let Some(warm) = before {
        ends.pass(&warm.folio, halvings);
    }
    let mut folio = before.map(|warm| warm.folio.clone()).unwrap_or_default();
    folio.halve(halvings);
    if let Some(added) = added {
        folio.merge(added);
    }
    if !stays && moment.cools {
        // In other hands it is another block. Some of this epoch's visits may be the old owner's:
        // evidence begins with the next epoch. (Of an epoch only the last hand is known: of the
        // first one that a block has, nobody can tell whether there were two.)
        folio.forget_visits();
        ends = Ends::default();
    }
    let mut left_out = before.map_or(0, |warm| warm.left_out.checked_shr(halvings).unwrap_or(0));
    if loses {
        let peak = folio.accesses().into_iter().max().unwrap_or(0);
        left_out = left_out.max(peak).max(1);
    }
    Warm { number, folio, interval: moment.interval, counted, ends, hands, left_out }
}
