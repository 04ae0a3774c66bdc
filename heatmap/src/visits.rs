//! Visits: which accesses are evidence of their own.
//!
//! Samples come in bursts: a loop over one page, a copy from one page to the next. Two samples of one
//! burst say no more about a block than one does. So an access is a visit, unless
//!
//! ```text
//! one of the previous 16 accesses of its queue
//!     lies on the same page or on one beside it
//!     and in the same slot: of 10 ms of the trace's clock;
//!                           where it has no time, of 1,024 accesses of the queue
//! ```
//!
//! A queue is a ring of AUX data, or the samples of one CPU. "Accesses" are all its memory
//! operations with a physical address, those included that a query leaves out: what a query asks
//! for does not change what a burst is.
//!
//! Who takes a queue's accesses remembers the last 16, a [`Trail`]. Nothing is kept for each block,
//! and `folioscope records` has all that is needed to decide the same again.

use decoder::perf::QueueKey;
use decoder::{Access, Batch, PAGE_SHIFT, PhysAddr};
use hashbrown::HashMap;

/// Accesses that are looked back at.
const LOOK_BACK: usize = 16;
/// Length of a slot in ns.
const SLOT_NS: u64 = 10_000_000;
/// Accesses in a slot where there are no times.
const SLOT_ACCESSES: u64 = 1024;
/// Queues that are told apart, some 400 bytes each. A machine has as many as CPUs, a recording by
/// threads as many as threads. Accesses of those beyond it are counted, and prove nothing.
pub(crate) const MAX_QUEUES: usize = 1 << 16;
/// Accesses that are decided together: a multiple of [`LANES`].
const RUN: usize = 128;
/// Accesses that are compared with those before them at once.
const LANES: usize = 16;
/// A page that no access has.
const NO_PAGE: u64 = u64::MAX / 2;

/// A queue: a ring of AUX data, or the sample records of one CPU, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QueueId {
    Aux(QueueKey),
    Samples(Option<u32>),
}

impl QueueId {
    /// The queue of an access.
    pub(crate) fn of(access: &Access) -> Self {
        access.aux_queue.map_or(Self::Samples(access.origin.cpu), Self::Aux)
    }

    /// The queue of a batch.
    pub(crate) fn of_batch(batch: &Batch<'_>) -> Self {
        batch.aux_queue.map_or(Self::Samples(batch.cpu), Self::Aux)
    }
}

/// A slot of time, or of a number of accesses where there are no times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    /// Set in slots of accesses without a time. Times in 10 ms never reach it.
    const OF_NUMBERS: u64 = 1 << 63;

    /// The slot of a queue's access that has so many before it.
    #[inline]
    fn of(time_ns: Option<u64>, number: u64) -> Self {
        let of_number = || (number / SLOT_ACCESSES) | Self::OF_NUMBERS;
        Self(time_ns.map_or_else(of_number, |time| time / SLOT_NS))
    }

    fn is_of_numbers(self) -> bool {
        self.0 & Self::OF_NUMBERS != 0
    }
}

/// What can be said of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// It is a visit.
    Yes,
    /// It belongs to a burst.
    No,
    /// That depends on what came before a part that is decoded ahead, see [`Trail::ahead`].
    Open,
}

/// The latest accesses of one queue.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    pages: [u64; LOOK_BACK],
    slots: [Slot; LOOK_BACK],
    /// Where the next access goes: the place of the oldest.
    next: usize, // below LOOK_BACK
    /// Accesses so far.
    count: u64,
    /// The accesses before are not known.
    ahead: Option<Box<Ahead>>,
    /// It is of a queue beyond the [`MAX_QUEUES`] that are told apart: nothing is a visit.
    is_beyond: bool,
}

/// What is not decided of a part that is decoded ahead of the parts before it.
#[derive(Clone, Debug, Default)]
struct Ahead {
    /// Its first accesses, at most [`LOOK_BACK`]: pages and slots.
    first: Vec<(u64, Slot)>,
    /// Which of these may be visits, and were counted as such.
    open: Vec<(usize, PhysAddr)>,
    /// An access has no time, so that its slot depends on how many came before.
    depends_on_number: bool,
}

/// What is compared of a page's number first. Pages that are near each other agree in it; of others
/// three in 65,536 do too.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
const fn low_bits(page: u64) -> u16 {
    page as u16
}

/// Which of the accesses behind the first [`LOOK_BACK`] may lie near one of the [`LOOK_BACK`] before
/// it: not 0 where it may. There is no branch, so that the compiler compares several at once.
#[inline]
fn near_one_before(lows: &[u16]) -> [u16; LANES] {
    let (lows, _) = lows.split_first_chunk::<{ LOOK_BACK + LANES }>().expect("RUN is a multiple");
    let mut near = [0; LANES];
    for back in 1..=LOOK_BACK {
        for (lane, near) in near.iter_mut().enumerate() {
            let at = LOOK_BACK + lane;
            let is_near = lows[at].wrapping_sub(lows[at - back]).wrapping_add(1) <= 2;
            *near |= u16::from(is_near);
        }
    }
    near
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            pages: [NO_PAGE; LOOK_BACK],
            slots: [Slot::default(); LOOK_BACK],
            next: 0,
            count: 0,
            ahead: None,
            is_beyond: false,
        }
    }
}

impl Trail {
    /// A trail of which the accesses before are not known yet.
    pub(crate) fn ahead() -> Self {
        Self { ahead: Some(Box::default()), ..Self::default() }
    }

    /// The trail of a queue beyond those that are told apart.
    pub(crate) fn beyond() -> Self {
        Self { is_beyond: true, ..Self::default() }
    }

    /// Whether it is one of a queue beyond those that are told apart.
    pub(crate) fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    /// Takes in the queue's next access. The answer is whether it is a visit.
    pub(crate) fn visit(&mut self, paddr: PhysAddr, time_ns: Option<u64>) -> Visit {
        if self.is_beyond {
            return Visit::No;
        }
        let page = paddr.get() >> PAGE_SHIFT;
        let slot = Slot::of(time_ns, self.count);
        let repeats = self.repeats(page, slot);
        let visit = match &mut self.ahead {
            None if repeats => Visit::No,
            None => Visit::Yes,
            Some(ahead) => ahead.visit(page, slot, repeats),
        };
        self.push(page, slot);
        visit
    }

    /// Takes in accesses that follow one another, and adds for each whether it repeats one before. Of a part
    /// that is decoded ahead the first ones must have been taken in one by one, see
    /// [`Trail::is_open`].
    pub(crate) fn run(
        &mut self,
        addresses: &[PhysAddr],
        time_ns: impl Fn(usize) -> Option<u64>,
        repeats: &mut Vec<bool>,
    ) {
        if self.is_beyond {
            repeats.resize(repeats.len() + addresses.len(), true);
            return;
        }
        for (number, part) in addresses.chunks(RUN).enumerate() {
            self.short_run(part, |at| time_ns(number * RUN + at), repeats);
        }
    }

    /// The same of at most so many as [`RUN`].
    fn short_run(
        &mut self,
        addresses: &[PhysAddr],
        time_ns: impl Fn(usize) -> Option<u64>,
        repeats: &mut Vec<bool>,
    ) {
        let (pages, slots, next, count) = (self.pages, self.slots, self.next, self.count);
        let page = |at: usize| addresses[at].get() >> PAGE_SHIFT;
        let slot = |at: usize| Slot::of(time_ns(at), count + at as u64);
        // The latest accesses, oldest first, and behind them the new ones.
        let mut lows = [0; LOOK_BACK + RUN];
        for (at, low) in lows[..LOOK_BACK].iter_mut().enumerate() {
            *low = low_bits(pages[(next + at) % LOOK_BACK]);
        }
        for (low, paddr) in lows[LOOK_BACK..].iter_mut().zip(addresses) {
            *low = low_bits(paddr.get() >> PAGE_SHIFT);
        }
        let before = |at: usize| match at.checked_sub(LOOK_BACK) {
            Some(at) => (page(at), slot(at)),
            None => (pages[(next + at) % LOOK_BACK], slots[(next + at) % LOOK_BACK]),
        };
        let len = addresses.len();
        for at in (0..len).step_by(LANES) {
            let lanes = LANES.min(len - at);
            let near = near_one_before(&lows[at..]);
            // Most accesses lie nowhere near another.
            if near.iter().fold(0, |any, it| any | it) == 0 {
                repeats.resize(repeats.len() + lanes, false);
                continue;
            }
            repeats.extend(near[..lanes].iter().zip(at..).map(|(near, at)| {
                *near != 0 && {
                    let (page, slot) = (page(at), slot(at));
                    (at..at + LOOK_BACK).any(|other| {
                        let (its_page, its_slot) = before(other);
                        its_page.abs_diff(page) <= 1 && its_slot == slot
                    })
                }
            }));
        }
        if let Some(ahead) = &mut self.ahead {
            let has_no_time = |at: usize| time_ns(at).is_none();
            ahead.depends_on_number |= (0..len).any(has_no_time);
        }
        let rest = len.saturating_sub(LOOK_BACK);
        self.count += rest as u64;
        (rest..len).for_each(|at| self.push(page(at), slot(at)));
    }

    /// Of a part that is decoded ahead: whether what came before it matters to its next access.
    pub(crate) fn is_open(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.first.len() < LOOK_BACK)
    }

    #[inline]
    fn push(&mut self, page: u64, slot: Slot) {
        let at = self.next % LOOK_BACK;
        (self.pages[at], self.slots[at]) = (page, slot);
        self.next = (at + 1) % LOOK_BACK;
        self.count += 1;
    }

    /// Whether one of the latest accesses is near in place and time.
    fn repeats(&self, page: u64, slot: Slot) -> bool {
        let mut latest = self.pages.iter().zip(self.slots);
        latest.any(|(it, its_slot)| it.abs_diff(page) <= 1 && its_slot == slot)
    }

    /// An access of which [`Trail::visit`] said [`Visit::Open`] was counted as a visit.
    pub(crate) fn counted_as_visit(&mut self, paddr: PhysAddr) {
        if let Some(ahead) = &mut self.ahead {
            ahead.open.push((ahead.first.len() - 1, paddr));
        }
    }

    /// Whether a part that was decoded ahead, with this trail, can be used at all.
    pub(crate) fn is_usable(&self) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| !ahead.depends_on_number)
    }

    /// Goes on behind a part that was decoded ahead, with `part` as its trail. Returns the accesses
    /// that were counted as visits there and are none.
    pub(crate) fn follow(&mut self, part: Self) -> Vec<PhysAddr> {
        let Self { pages, slots, next, count, ahead, .. } = part;
        let Ahead { first, open, .. } = ahead.map(|ahead| *ahead).unwrap_or_default();
        // What this trail knows shrinks with each of the part's first accesses. Those are not put
        // in: what they say was decided in the part.
        let mut before = self.clone();
        let mut wrong = Vec::new();
        let mut open = open.into_iter().peekable();
        for (at, (page, slot)) in first.into_iter().enumerate() {
            let repeats = before.repeats(page, slot);
            if let Some((_, paddr)) = open.next_if(|(place, _)| *place == at)
                && repeats
            {
                wrong.push(paddr);
            }
            before.push(NO_PAGE, slot);
        }
        let known = usize::try_from(count).unwrap_or(LOOK_BACK).min(LOOK_BACK);
        for back in (1..=known).rev() {
            let at = (next + LOOK_BACK - back) % LOOK_BACK;
            self.push(pages[at], slots[at]);
        }
        self.count += count - known as u64;
        wrong
    }
}

impl Ahead {
    fn visit(&mut self, page: u64, slot: Slot, repeats: bool) -> Visit {
        self.depends_on_number |= slot.is_of_numbers();
        let is_early = self.first.len() < LOOK_BACK;
        if is_early {
            self.first.push((page, slot));
        }
        match (repeats, is_early) {
            (true, _) => Visit::No,
            (false, true) => Visit::Open,
            (false, false) => Visit::Yes,
        }
    }
}

/// The trails of all queues of a recording.
#[derive(Clone, Debug)]
pub(crate) struct Trails {
    /// The first is that of all queues beyond the limit.
    trails: Vec<Trail>,
    /// Places of trails that were taken out.
    free: Vec<usize>,
    /// Where the trail of a queue is.
    known: HashMap<QueueId, usize>,
    /// The queue that was asked for last, and where its trail is: the next one is often the same.
    last: Option<(QueueId, usize)>,
}

/// The place of the trail of queues beyond the limit.
const BEYOND: usize = 0;

impl Default for Trails {
    fn default() -> Self {
        let (known, last) = (HashMap::new(), None);
        Self { trails: vec![Trail::beyond()], free: Vec::new(), known, last }
    }
}

impl Trails {
    /// The trail of a queue.
    #[inline]
    pub(crate) fn of(&mut self, queue: QueueId) -> &mut Trail {
        let place = match self.last {
            Some((last, place)) if last == queue => place,
            _ => self.find(queue),
        };
        &mut self.trails[place]
    }

    /// Where the trail of a queue is.
    fn find(&mut self, queue: QueueId) -> usize {
        let place = match self.known.get(&queue) {
            Some(place) => *place,
            None if self.known.len() >= MAX_QUEUES => BEYOND,
            None => {
                let place = self.free.pop().unwrap_or_else(|| {
                    self.trails.push(Trail::default());
                    self.trails.len() - 1
                });
                self.known.insert(queue, place);
                place
            }
        };
        self.last = Some((queue, place));
        place
    }

    /// Puts in the trail of a queue, if the queue is told apart.
    pub(crate) fn put(&mut self, queue: QueueKey, trail: Trail) {
        let known = self.of(QueueId::Aux(queue));
        if !known.is_beyond {
            *known = trail;
        }
    }

    /// Takes out the trail of a queue, if it is known.
    pub(crate) fn take(&mut self, queue: QueueKey) -> Option<Trail> {
        let place = self.known.remove(&QueueId::Aux(queue))?;
        self.free.push(place);
        self.last = None;
        Some(core::mem::take(&mut self.trails[place]))
    }

    /// Says for each access of a batch whether it repeats one before. Nothing is filled in if only
    /// places were asked for.
    pub(crate) fn mark(&mut self, batch: &Batch<'_>, repeats: &mut Vec<bool>) {
        repeats.clear();
        let trail = self.of(QueueId::of_batch(batch));
        let len = batch.addresses.len().min(batch.touches.len());
        let mut at = 0;
        while at < len && trail.is_open() {
            let paddr = batch.addresses[at];
            let visit = trail.visit(paddr, batch.touches[at].time_ns);
            if visit == Visit::Open {
                trail.counted_as_visit(paddr);
            }
            repeats.push(visit == Visit::No);
            at += 1;
        }
        trail.run(&batch.addresses[at..len], |it| batch.touches[at + it].time_ns, repeats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paddr(page: u64) -> PhysAddr {
        PhysAddr::new_truncate(page << PAGE_SHIFT | page & 0xfff)
    }

    fn decided(trail: &mut Trail, accesses: &[(u64, Option<u64>)]) -> Vec<Visit> {
        accesses.iter().map(|(page, time)| trail.visit(paddr(*page), *time)).collect()
    }

    /// The rule, as it is written in the module's documentation, over the whole queue.
    fn naive(accesses: &[(u64, Option<u64>)]) -> Vec<Visit> {
        let slot = |at: usize| match accesses[at].1 {
            Some(time) => (true, time / 10_000_000),
            None => (false, at as u64 / 1024),
        };
        let repeats = |at: usize| {
            (at.saturating_sub(16)..at).any(|before| {
                accesses[before].0.abs_diff(accesses[at].0) <= 1 && slot(before) == slot(at)
            })
        };
        let visit = |at| if repeats(at) { Visit::No } else { Visit::Yes };
        (0..accesses.len()).map(visit).collect()
    }

    #[test]
    fn a_burst_is_one_visit() {
        use Visit::{No, Yes};
        let at = |page, ms: u64| (page, Some(ms * 1_000_000));
        let mut trail = Trail::default();
        let accesses =
            [at(7, 1), at(7, 2), at(8, 3), at(10, 3), at(9, 4), at(7, 11), at(6, 12), at(4, 12)];
        assert_eq!(decided(&mut trail, &accesses), [Yes, No, No, Yes, No, Yes, No, Yes]);
        // The page with the number 2^32 more is another one.
        assert_eq!(decided(&mut trail, &[at(4 + (1 << 32), 12)]), [Yes]);
    }

    #[test]
    fn sixteen_accesses_are_looked_back_at() {
        let others: Vec<_> = (0..16).map(|number| (1000 + 10 * number, Some(5))).collect();
        for (between, visit) in [(15, Visit::No), (16, Visit::Yes)] {
            let mut trail = Trail::default();
            assert_eq!(trail.visit(paddr(7), Some(5)), Visit::Yes);
            decided(&mut trail, &others[..between]);
            assert_eq!(trail.visit(paddr(7), Some(5)), visit, "{between}");
        }
    }

    #[test]
    fn without_times_a_slot_is_a_number_of_accesses() {
        let mut trail = Trail::default();
        let visits = decided(&mut trail, &[(7, None); 2050]);
        let number = |(at, visit): (usize, &Visit)| (*visit == Visit::Yes).then_some(at);
        let visits: Vec<_> = visits.iter().enumerate().filter_map(number).collect();
        assert_eq!(visits, [0, 1024, 2048]);
        // An access with a time is in no slot of those without.
        assert_eq!(trail.visit(paddr(7), Some(0)), Visit::Yes);
    }

    #[test]
    fn accesses_of_queues_beyond_the_limit_prove_nothing() {
        let mut trails = Trails::default();
        let limit = u32::try_from(MAX_QUEUES).unwrap();
        for cpu in 0..limit + 2 {
            let visit = trails.of(QueueId::Samples(Some(cpu))).visit(paddr(7), Some(5));
            assert_eq!(visit == Visit::Yes, cpu < limit, "{cpu}");
        }
        // Also if such a queue changes hands.
        let ring = QueueKey { idx: 0, cpu: Some(9), tid: None };
        trails.put(ring, Trail::default());
        let mut repeats = Vec::new();
        trails.of(QueueId::Aux(ring)).run(&[paddr(7), paddr(70)], |_| Some(5), &mut repeats);
        assert_eq!(repeats, [true, true]);
        // The first one still has its own.
        assert_eq!(trails.of(QueueId::Samples(Some(0))).visit(paddr(70), Some(5)), Visit::Yes);
        assert!(trails.take(ring).is_none());
    }

    #[test]
    fn a_trail_that_is_taken_out_makes_room() {
        let mut trails = Trails::default();
        for cpu in 0..2 * u32::try_from(MAX_QUEUES).unwrap() {
            let ring = QueueKey { idx: 0, cpu: Some(cpu), tid: None };
            assert_eq!(trails.of(QueueId::Aux(ring)).visit(paddr(7), Some(5)), Visit::Yes);
            let mut trail = trails.take(ring).expect("it is known");
            assert_eq!(trail.visit(paddr(7), Some(5)), Visit::No, "it is that of the ring");
        }
        assert_eq!(trails.trails.len(), 2);
    }

    /// Accesses to few pages, mostly one slot after another, with times or without.
    fn accesses() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
        let page = prop_oneof![0..12_u64, 0..200_u64, (1 << 32)..(1 << 32) + 5_u64];
        let step = prop_oneof![3 => Just(0_i64), 3 => 0..4_000_000_i64, 1 => -6_000_000..0_i64];
        (prop::collection::vec((page, step), 0..300), 0..5_u8).prop_map(|(accesses, timed)| {
            let mut now = 50_000_000_i64;
            let access = accesses.into_iter().map(|(page, step)| {
                now += step;
                // Mostly all have times; sometimes none, sometimes some.
                let has_time = timed < 3 || timed == 3 && page % 3 > 0;
                (page, has_time.then_some(now.max(0).unsigned_abs()))
            });
            access.collect()
        })
    }

    proptest! {
        #[test]
        fn visits_are_those_of_the_rule(accesses in accesses()) {
            prop_assert_eq!(decided(&mut Trail::default(), &accesses), naive(&accesses));
        }

        #[test]
        fn runs_are_decided_as_single_accesses_are(
            accesses in accesses(),
            len in 1..200_usize,
        ) {
            let (mut trail, mut found) = (Trail::default(), Vec::new());
            for part in accesses.chunks(len) {
                let addresses: Vec<_> = part.iter().map(|(page, _)| paddr(*page)).collect();
                trail.run(&addresses, |at| part[at].1, &mut found);
            }
            let want: Vec<_> = naive(&accesses).iter().map(|visit| *visit == Visit::No).collect();
            prop_assert_eq!(found, want);
        }

        #[test]
        fn parts_that_are_decoded_ahead_give_the_same(
            accesses in accesses(),
            cuts in prop::collection::vec(0..300_usize, 0..5),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(accesses.len())).collect();
            cuts.sort_unstable();
            cuts.push(accesses.len());
            let want = naive(&accesses);
            let (mut trail, mut start) = (Trail::default(), 0);
            for end in cuts {
                let part = &accesses[start..end];
                let mut ahead = Trail::ahead();
                let mut visits: Vec<Visit> = Vec::new();
                // A place says which access it was.
                for (at, (page, time)) in part.iter().enumerate() {
                    let visit = ahead.visit(paddr(*page), *time);
                    if visit == Visit::Open {
                        ahead.counted_as_visit(PhysAddr::new_truncate(at as u64));
                    }
                    visits.push(visit);
                }
                if ahead.is_usable() {
                    for wrong in trail.follow(ahead) {
                        visits[usize::try_from(wrong.get()).unwrap()] = Visit::No;
                    }
                    visits.iter_mut().filter(|it| **it == Visit::Open).for_each(|it| *it = Visit::Yes);
                } else {
                    prop_assert!(part.iter().any(|(_, time)| time.is_none()));
                    visits = decided(&mut trail, part);
                }
                prop_assert_eq!(&visits, &want[start..end]);
                start = end;
            }
        }
    }
}
