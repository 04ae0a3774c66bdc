//! Which AUX bytes were announced, and which of them came.
//!
//! Places are those of the kernel's running count of a ring (`perf_aux_output_end` in
//! `kernel/events/ring_buffer.c`). An AUX record announces the bytes from `aux_offset` on,
//! `aux_size` of them; an AUXTRACE record announces those behind it, and, by its offset, those
//! between it and the chunk of its queue before it. What is longer than any ring is no announcement
//! but damage: the kernel writes nothing over bytes that were not read. A ring that is overwritten
//! wraps, and most of its data is never copied: there only an AUXTRACE record's own size announces
//! data.

use core::iter;
use core::ops::Range;
use std::collections::HashMap;

use crate::perf::{AuxOwner, Auxtrace, QueueKey};

/// The most rings, and the most queues, that are remembered: as many queues as are decoded. More come
/// only from damage.
const MAX_RINGS: usize = 1 << 14;
/// Bytes that one record may announce: the longest ring with pages of 4 KiB. The kernel keeps the
/// list of a ring's pages in one allocation (`rb_alloc_aux`), of 4 MiB at most. Larger pages would
/// allow longer rings, of which nobody has as much memory for each CPU.
const MAX_RING: u64 = 1 << 31;
/// Ranges that are kept of one ring. Of a healthy one there is one alone.
const MAX_RANGES: usize = 16;

/// Places of a ring: ranges in ascending order that do not touch each other.
#[derive(Clone, Debug, Default)]
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds places.
    fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        // Those from `first` to before `last` touch the new one.
        let first = self.0.partition_point(|known| known.end < new.start);
        let last = self.0.partition_point(|known| known.start <= new.end);
        let touched = &self.0[first..last];
        let start = touched.first().map_or(new.start, |known| known.start.min(new.start));
        let end = touched.last().map_or(new.end, |known| known.end.max(new.end));
        self.0.splice(first..last, iter::once(start..end));
    }

    /// The places that are not in `others`.
    fn without(&self, others: &Self) -> Self {
        let mut left = Vec::new();
        self.without_into(others, &mut left);
        Self(left)
    }

    /// Puts the places that are not in `others` into `left`, in the place of what it held.
    fn without_into(&self, others: &Self, left: &mut Vec<Range<u64>>) {
        left.clear();
        let mut others = others.0.iter().peekable();
        for known in &self.0 {
            let mut start = known.start;
            while let Some(other) = others.peek().filter(|other| other.start < known.end) {
                if start < other.start {
                    left.push(start..other.start);
                }
                start = start.max(other.end);
                if other.end > known.end {
                    break;
                }
                others.next();
            }
            if start < known.end {
                left.push(start..known.end);
            }
        }
    }

    /// Forgets the places before this one.
    fn forget_before(&mut self, place: u64) {
        self.0.retain_mut(|known| {
            known.start = known.start.max(place);
            !known.is_empty()
        });
    }

    /// How many places there are before this one.
    fn before(&self, place: u64) -> u64 {
        let lens = self.0.iter().map(|known| known.end.min(place).saturating_sub(known.start));
        lens.fold(0, u64::saturating_add)
    }

    /// The place behind the last one.
    fn end(&self) -> u64 {
        self.0.last().map_or(0, |known| known.end)
    }
}

/// What is known of one ring.
#[derive(Clone, Debug, Default)]
struct Account {
    announced: Ranges,
    came: Ranges,
    /// Bytes that did not come, of places that are forgotten.
    settled: u64,
    /// Places before this one are forgotten.
    floor: u64,
    /// Bytes of chunks at whose ends the input ended.
    cut: u64,
    /// Holds nothing: its memory is used again.
    spare: Vec<Range<u64>>,
}

impl Account {
    fn announce(&mut self, places: Range<u64>) {
        self.announced.insert(places.start.max(self.floor)..places.end);
        self.tidy();
    }

    fn come(&mut self, places: Range<u64>) {
        self.came.insert(places.start.max(self.floor)..places.end);
        self.tidy();
    }

    /// Keeps what is remembered small.
    fn tidy(&mut self) {
        if self.announced.0.len().max(self.came.0.len()) <= MAX_RANGES {
            return;
        }
        self.announced.without_into(&self.came, &mut self.spare);
        core::mem::swap(&mut self.announced.0, &mut self.spare);
        if self.came.0.len() > MAX_RANGES
            && let Some(last) = self.came.0.last()
        {
            // What has not come by now does not come any more.
            self.floor = last.start;
            self.settled = self.settled.saturating_add(self.announced.before(self.floor));
            self.announced.forget_before(self.floor);
            self.came.forget_before(self.floor);
        }
        // Bytes between two announced ones were written too.
        while self.announced.0.len() > MAX_RANGES {
            let first = self.announced.0.remove(0);
            match self.announced.0.first_mut() {
                Some(second) if believable(&(first.end..second.start)) => {
                    second.start = first.start;
                }
                _ => self.settled = self.settled.saturating_add(len(&first)),
            }
        }
    }

    /// Bytes that were announced and did not come. Before the end those behind the last byte that
    /// came may still come.
    fn missing(&self, ended: bool) -> u64 {
        let to = if ended { u64::MAX } else { self.came.end() };
        self.settled.saturating_add(self.announced.without(&self.came).before(to))
    }
}

/// What a recording announced of its AUX data, and what came.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    /// Rings belong to CPUs, or to threads where the recording has no CPUs. What AUX records
    /// announce is kept for both, since the queues tell which it is.
    rings: HashMap<AuxOwner, Account>,
    /// Where the last chunk of each queue is to end.
    ends: HashMap<QueueKey, u64>,
    /// The chunk that comes now: its ring, and its bytes that have not come.
    chunk: Option<(Option<AuxOwner>, Range<u64>)>,
    /// Bytes that AUX records announced which name neither CPU nor thread.
    of_no_ring: u64,
    /// Bytes that came.
    came: u64,
    /// Some of them, of queues that name neither CPU nor thread.
    came_of_no_ring: u64,
    /// Rings are overwritten: the recording holds snapshots of them.
    pub(crate) overwritten: bool,
}

impl Announcements {
    /// Takes what an AUX record says of the ring of this CPU or thread. False if it cannot be.
    pub(crate) fn announce(
        &mut self,
        cpu: Option<u32>,
        tid: Option<u32>,
        places: &Range<u64>,
    ) -> bool {
        if !believable(places) {
            return self.overwritten;
        }
        if cpu.is_none() && tid.is_none() {
            self.of_no_ring = self.of_no_ring.saturating_add(len(places));
        }
        for ring in [cpu.map(AuxOwner::Cpu), tid.map(AuxOwner::Thread)].into_iter().flatten() {
            if let Some(account) = self.account(ring) {
                account.announce(places.clone());
            }
        }
        true
    }

    fn account(&mut self, ring: AuxOwner) -> Option<&mut Account> {
        // Twice as many: AUX records name a CPU and a thread, of which one has the ring.
        if self.rings.len() >= 2 * MAX_RINGS && !self.rings.contains_key(&ring) {
            return None;
        }
        Some(self.rings.entry(ring).or_default())
    }

    /// A chunk of AUX data comes next; `None` if its record does not say where it belongs. False if
    /// it cannot be there, or not be so long.
    pub(crate) fn begin(&mut self, aux: Option<&Auxtrace>) -> bool {
        self.cut();
        let Some(aux) = aux else { return true };
        let places = aux.offset..aux.offset.saturating_add(aux.size);
        let ring = AuxOwner::of(aux.queue);
        let before = match self.ends.len() {
            MAX_RINGS.. => {
                self.ends.get_mut(&aux.queue).map(|end| core::mem::replace(end, places.end))
            }
            _ => self.ends.insert(aux.queue, places.end),
        };
        let between = before.unwrap_or(places.start).min(places.start)..places.start;
        let announced = [&between, &places].map(|range| believable(range).then(|| range.clone()));
        if let Some(account) = ring.and_then(|ring| self.account(ring)) {
            announced.iter().flatten().for_each(|range| account.announce(range.clone()));
        }
        // perf gives a snapshot of a ring that is not full yet a place before 0.
        let before_0 = places.start > u64::MAX - MAX_RING;
        let can_be = self.overwritten || before_0 || announced.iter().all(Option::is_some);
        self.chunk = Some((ring, places));
        can_be
    }

    /// So many bytes of the chunk have come.
    pub(crate) fn come(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.came = self.came.saturating_add(bytes);
        let Some((ring, left)) = &mut self.chunk else { return };
        let middle = left.start.saturating_add(bytes).min(left.end);
        let came = left.start..middle;
        left.start = middle;
        match *ring {
            Some(ring) => {
                if let Some(account) = self.account(ring) {
                    account.come(came);
                }
            }
            None => self.came_of_no_ring = self.came_of_no_ring.saturating_add(bytes),
        }
    }

    /// Takes note of what the chunk was to have and did not get.
    fn cut(&mut self) {
        if let Some((Some(ring), left)) = self.chunk.take()
            && !left.is_empty()
            && believable(&left)
            && let Some(account) = self.account(ring)
        {
            account.cut = account.cut.saturating_add(len(&left));
        }
    }

    /// Nothing comes any more.
    pub(crate) fn end(&mut self) {
        self.cut();
    }

    /// Rings of which anything is remembered.
    pub(crate) fn rings(&self) -> usize {
        self.rings.len()
    }

    /// Bytes that were announced and are not in the recording. Before its end only those before
    /// others that came.
    pub(crate) fn missing(&self, ended: bool) -> u64 {
        let of = |wanted: fn(&AuxOwner) -> bool, value: &dyn Fn(&Account) -> u64| {
            let rings = self.rings.iter().filter(|(ring, _)| wanted(ring));
            rings.map(|(_, account)| value(account)).fold(0, u64::saturating_add)
        };
        let cpus: fn(&AuxOwner) -> bool = |ring| matches!(ring, AuxOwner::Cpu(_));
        let threads: fn(&AuxOwner) -> bool = |ring| matches!(ring, AuxOwner::Thread(_));
        if self.overwritten {
            return of(|_| true, &|account| account.cut);
        }
        let came = |rings| of(rings, &|account| account.came.end()) > 0;
        let missing = |rings| of(rings, &|account| account.missing(ended));
        let of_rings = match (came(cpus), came(threads)) {
            (true, _) => missing(cpus),
            (false, true) => missing(threads),
            // Of the wrong kind of rings several share a count, so that less seems to be announced.
            (false, false) => missing(cpus).max(missing(threads)),
        };
        let of_no_ring = if ended { self.of_no_ring.saturating_sub(self.came) } else { 0 };
        of_rings.saturating_sub(self.came_of_no_ring).max(of_no_ring)
    }
}

/// Whether so many bytes can be announced at once.
fn believable(places: &Range<u64>) -> bool {
    len(places) <= MAX_RING
}

fn len(places: &Range<u64>) -> u64 {
    places.end.saturating_sub(places.start)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn key(idx: u32, cpu: Option<u32>, tid: Option<u32>) -> QueueKey {
        QueueKey { idx, cpu, tid }
    }

    fn aux(queue: QueueKey, places: Range<u64>) -> Auxtrace {
        Auxtrace { size: len(&places), offset: places.start, reference: None, queue }
    }

    /// A chunk of which all has come.
    fn chunk(announcements: &mut Announcements, queue: QueueKey, places: Range<u64>) {
        announcements.begin(Some(&aux(queue, places.clone())));
        announcements.come(usize::try_from(len(&places)).unwrap());
    }

    fn ended(mut announcements: Announcements) -> u64 {
        announcements.end();
        announcements.missing(true)
    }

    const CPU: QueueKey = QueueKey { idx: 0, cpu: Some(3), tid: None };

    #[test]
    fn holes_in_the_middle_at_the_end_and_of_whole_rings() {
        let mut said = Announcements::default();
        for start in [0, 100, 200, 300] {
            said.announce(Some(3), Some(7), &(start..start + 100));
        }
        // Filled up to a multiple of 8, as perf does.
        chunk(&mut said, CPU, 0..104);
        assert_eq!(said.missing(false), 0, "it may come yet");
        chunk(&mut said, CPU, 200..304);
        assert_eq!(said.missing(false), 96, "the filling is not known to be one");
        said.announce(Some(4), Some(7), &(50..60));
        assert_eq!(said.missing(false), 96);
        assert_eq!(ended(said), 96 + 96 + 10);
    }

    #[test]
    fn data_before_its_announcement_is_not_missing() {
        let mut said = Announcements::default();
        chunk(&mut said, CPU, 0..100);
        said.announce(Some(3), None, &(0..100));
        // It was lost behind what came: nothing is announced.
        said.announce(Some(3), None, &(100..100));
        // In the second of two files that perf switched between, counts go on.
        chunk(&mut said, key(1, Some(8), None), 5000..6000);
        said.announce(Some(8), None, &(5000..6000));
        assert_eq!(ended(said), 0);
    }

    #[test]
    fn offsets_and_sizes_of_pieces_announce_too() {
        let mut said = Announcements::default();
        chunk(&mut said, CPU, 0..100);
        chunk(&mut said, CPU, 150..200);
        // The count of another queue is another one.
        chunk(&mut said, key(1, Some(4), None), 900..1000);
        said.begin(Some(&aux(CPU, 200..300)));
        said.come(70);
        assert_eq!(said.missing(false), 50);
        assert_eq!(ended(said), 50 + 30);
    }

    #[test]
    fn rings_of_threads_are_those_of_their_threads() {
        // Two threads take turns on one CPU, and one of them moves to another.
        let mut said = Announcements::default();
        for (cpu, tid, places) in [(0, 7, 0..100), (0, 8, 0..50), (1, 7, 100..200)] {
            said.announce(Some(cpu), Some(tid), &places);
        }
        assert_eq!(said.missing(true), 250, "of those without data too");
        chunk(&mut said, key(0, None, Some(7)), 0..200);
        assert_eq!(said.missing(true), 50);
        chunk(&mut said, key(1, None, Some(8)), 0..50);
        assert_eq!(ended(said), 0);
    }

    #[test]
    fn rings_that_are_overwritten_announce_no_places() {
        let mut said = Announcements { overwritten: true, ..Announcements::default() };
        said.announce(Some(3), None, &(0x8000..0x1_8000));
        chunk(&mut said, CPU, 0x4000..0x1_4000);
        chunk(&mut said, CPU, 0x5_0000..0x6_0000);
        said.begin(Some(&aux(CPU, 0x7_0000..0x8_0000)));
        said.come(0xff00);
        assert_eq!(ended(said), 0x100, "but what a chunk says of itself counts");
    }

    #[test]
    fn of_records_without_a_ring_only_sums_are_known() {
        let mut said = Announcements::default();
        for at in 0..4 {
            said.announce(None, None, &(at * 100..at * 100 + 100));
        }
        chunk(&mut said, CPU, 0..300);
        assert_eq!(said.missing(true), 100);
        let mut said = Announcements::default();
        said.announce(Some(3), None, &(0..400));
        chunk(&mut said, key(0, None, None), 0..300);
        assert_eq!(ended(said), 100);
    }

    #[test]
    fn any_number_of_holes_is_counted_in_little_memory() {
        let mut said = Announcements::default();
        for start in (0..100_000).step_by(10) {
            said.announce(Some(3), None, &(start..start + 10));
            chunk(&mut said, CPU, start..start + 7);
        }
        assert_eq!(ended(said), 30_000);
    }

    #[test]
    fn claims_longer_than_any_ring_announce_nothing() {
        let mut said = Announcements::default();
        for places in [0..u64::MAX, 1..u64::MAX, 7..MAX_RING + 8] {
            assert!(!said.announce(Some(3), Some(7), &places), "{places:?}");
            assert!(!said.announce(None, None, &places), "{places:?}");
        }
        assert!(said.announce(Some(2), None, &Range { start: 10, end: 5 }));
        assert_eq!(said.missing(true), 0);
        chunk(&mut said, CPU, 0..100);
        // A place far behind all others, and back again.
        let far = u64::MAX >> 12;
        assert!(!said.begin(Some(&aux(CPU, far..far + 8))));
        said.come(8);
        assert!(said.begin(Some(&aux(CPU, 100..200))));
        said.come(100);
        assert!(said.begin(Some(&aux(CPU, 250..300))));
        said.come(50);
        assert!(!said.begin(Some(&aux(CPU, 300..u64::MAX))));
        said.come(10);
        assert_eq!(ended(said), 50);
        // The longest that can be.
        let mut said = Announcements::default();
        assert!(said.announce(Some(3), None, &(0..MAX_RING)));
        chunk(&mut said, CPU, 2 * MAX_RING..2 * MAX_RING + 8);
        assert!(said.begin(Some(&aux(CPU, 3 * MAX_RING + 8..3 * MAX_RING + 16))));
        assert_eq!(ended(said), 2 * MAX_RING + 8);
    }

    #[test]
    fn snapshots_may_lie_before_the_first_place() {
        let mut said = Announcements::default();
        chunk(&mut said, CPU, 0..100);
        assert!(said.begin(Some(&aux(CPU, u64::MAX - 0xffff..u64::MAX))));
        let mut said = Announcements { overwritten: true, ..Announcements::default() };
        chunk(&mut said, CPU, 0..100);
        assert!(said.begin(Some(&aux(CPU, 1 << 50..(1 << 50) + 8))));
        said.come(8);
        assert_eq!(ended(said), 0);
    }

    #[test]
    fn ranges_too_far_from_each_other_are_not_put_together() {
        let mut said = Announcements::default();
        for number in 0..3 * MAX_RANGES as u64 {
            said.announce(Some(3), None, &(number << 40..(number << 40) + 10));
        }
        assert_eq!(said.rings[&AuxOwner::Cpu(3)].missing(true), 30 * MAX_RANGES as u64);
    }

    proptest! {
        /// Against sets of single places, in a universe too small for places to be forgotten.
        #[test]
        fn what_is_missing_is_what_was_announced_and_did_not_come(
            steps in prop::collection::vec((0..2u32, any::<bool>(), 0..24u64, 0..12u64, 0..12u64), 0..40),
        ) {
            let mut said = Announcements::default();
            let (mut announced, mut came) = (BTreeSet::new(), BTreeSet::new());
            let mut ends = BTreeMap::new();
            for (cpu, is_record, start, size, cut) in steps {
                let places = start..start + size;
                announced.extend(places.clone().map(|place| (cpu, place)));
                if is_record {
                    said.announce(Some(cpu), Some(9), &places);
                    continue;
                }
                let got = size.min(cut);
                let before = ends.insert(cpu, places.end).unwrap_or(start);
                announced.extend((before..start).map(|place| (cpu, place)));
                came.extend((start..start + got).map(|place| (cpu, place)));
                said.begin(Some(&aux(key(cpu, Some(cpu), None), places)));
                (0..got).for_each(|_| said.come(1));
            }
            // Without any data all is missing, by thread or by CPU.
            if !came.is_empty() {
                let missing = announced.difference(&came).count() as u64;
                prop_assert_eq!(ended(said), missing);
            }
        }

        #[test]
        fn whatever_comes_little_is_kept(
            steps in prop::collection::vec((any::<bool>(), any::<u64>(), 0..1u64 << 40), 0..500),
        ) {
            let mut account = Account::default();
            for (announce, start, size) in steps {
                let places = start..start.saturating_add(size);
                if announce { account.announce(places) } else { account.come(places) }
                prop_assert!(account.announced.0.len() <= MAX_RANGES);
                prop_assert!(account.came.0.len() <= MAX_RANGES);
                prop_assert!(account.announced.0.is_sorted_by_key(|range| range.start));
            }
        }
    }
}
