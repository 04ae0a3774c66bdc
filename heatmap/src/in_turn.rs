//! What the threads that count one recording know together: where its queues have come to.
//!
//! A ring of AUX data has one worker at a time, and its [`Trail`] goes with it from worker to
//! worker. Sample records of one CPU do not: any thread reads the next ones. So each holds the
//! samples of a part until all parts before have been decided, decides which of its own are visits,
//! which is quick, and then counts them while others go on.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use decoder::perf::QueueKey;
use decoder::{Access, Batch, Origin, PhysAddr, Source, Touch};

use crate::marked_batch::MarkedBatch;
use crate::store::touch_of;
use crate::visits::{MAX_QUEUES, QueueId, Trail, Trails};

/// Samples that are counted together.
const COUNTED: usize = 128;

/// The trails of queues that change hands.
#[derive(Debug, Default)]
pub(crate) struct InTurn {
    rings: Mutex<Rings>,
    samples: Mutex<Samples>,
    turned: Condvar,
}

/// The trails of rings.
#[derive(Debug, Default)]
struct Rings {
    /// Of those that nobody decodes at present.
    trails: HashMap<QueueKey, Trail>,
    /// How many there were so far.
    known: usize,
}

/// How far samples have been decided.
#[derive(Debug, Default)]
struct Samples {
    trails: Trails,
    /// All parts before this one have been decided.
    next: u64,
    /// Later parts that have been, since there was nothing to decide; few, in no order.
    done: Vec<u64>,
    /// A thread is gone: whoever waits for its part waits in vain.
    abandoned: bool,
}

/// A part of a stream of records that one thread takes.
#[derive(Debug)]
pub(crate) struct HeldPart {
    number: u64,
    held: Vec<HeldSample>,
    in_turn: Arc<InTurn>,
}

/// Room for a batch.
#[derive(Debug, Default)]
pub(crate) struct BatchRoom {
    addresses: Vec<PhysAddr>,
    touches: Vec<Touch>,
    repeats: Vec<bool>,
}

/// A sample that is held.
#[derive(Debug)]
pub(crate) struct HeldSample {
    queue: QueueId,
    paddr: PhysAddr,
    time_ns: Option<u64>,
    /// What is to be counted, if anything.
    counted: Option<(Source, u32, Touch)>,
    repeats: bool,
}

impl HeldSample {
    /// An access that has a place; `is_counted` if the query keeps it.
    pub(crate) fn new(access: &Access, paddr: PhysAddr, is_counted: bool) -> Self {
        let Origin { source, time_ns, position, .. } = access.origin;
        let counted = is_counted.then(|| (source, position.file, touch_of(access)));
        Self { queue: QueueId::of(access), paddr, time_ns, counted, repeats: false }
    }
}

/// Nothing that is done under these locks can leave them half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InTurn {
    /// Takes the trail of a ring that the caller is about to decode.
    pub(crate) fn take(&self, queue: QueueKey) -> Trail {
        let mut rings = lock(&self.rings);
        match rings.trails.remove(&queue) {
            Some(trail) => trail,
            None if rings.known >= MAX_QUEUES => Trail::beyond(),
            None => {
                rings.known += 1;
                Trail::default()
            }
        }
    }

    /// Puts back the trail of a ring.
    pub(crate) fn put(&self, queue: QueueKey, trail: Trail) {
        if !trail.is_beyond() {
            lock(&self.rings).trails.insert(queue, trail);
        }
    }
}

impl HeldPart {
    /// Begins part `number`. Parts are numbered from 0 on, and each is taken by one thread. `held` is
    /// room for its samples.
    pub(crate) fn new(number: u64, held: Vec<HeldSample>, in_turn: &Arc<InTurn>) -> Self {
        Self { number, held, in_turn: Arc::clone(in_turn) }
    }

    /// Holds a sample.
    pub(crate) fn hold(&mut self, sample: HeldSample) {
        self.held.push(sample);
    }

    /// The part is complete: decides which samples are visits, in turn, and has them counted. Returns
    /// room for the samples of another part.
    pub(crate) fn end(
        mut self,
        room: &mut BatchRoom,
        mut count: impl FnMut(MarkedBatch<'_>),
    ) -> Vec<HeldSample> {
        let mut held = core::mem::take(&mut self.held);
        let in_turn = Arc::clone(&self.in_turn);
        let mut samples = lock(&in_turn.samples);
        if !held.is_empty() {
            let waits = |samples: &mut Samples| samples.next != self.number && !samples.abandoned;
            let waited = in_turn.turned.wait_while(samples, waits);
            samples = waited.unwrap_or_else(PoisonError::into_inner);
            decide(&mut held, &mut samples.trails, room);
        }
        samples.is_done(self.number);
        drop(samples);
        in_turn.turned.notify_all();
        count_held(&held, room, &mut count);
        held.clear();
        held
    }
}

impl Samples {
    /// A part has been decided.
    fn is_done(&mut self, number: u64) {
        self.done.push(number);
        while let Some(at) = self.done.iter().position(|done| *done == self.next) {
            self.done.swap_remove(at);
            self.next += 1;
        }
    }
}

/// Decides of samples, in their order, which are visits.
pub(crate) fn decide(held: &mut [HeldSample], trails: &mut Trails, room: &mut BatchRoom) {
    for run in held.chunk_by_mut(|one, other| one.queue == other.queue) {
        let Some(first) = run.first() else { continue };
        let trail = trails.of(first.queue);
        room.addresses.clear();
        room.addresses.extend(run.iter().map(|sample| sample.paddr));
        room.repeats.clear();
        trail.run(&room.addresses, |at| run[at].time_ns, &mut room.repeats);
        for (sample, repeats) in run.iter_mut().zip(&room.repeats) {
            sample.repeats = *repeats;
        }
    }
}

/// Has the samples counted that are to be, in batches of what they have in common.
pub(crate) fn count_held(
    held: &[HeldSample],
    room: &mut BatchRoom,
    count: &mut impl FnMut(MarkedBatch<'_>),
) {
    let BatchRoom { addresses, touches, repeats } = room;
    let same = |one: &HeldSample, other: &HeldSample| {
        let of = |it: &HeldSample| it.counted.map(|(source, file, _)| (source, file));
        of(one) == of(other)
    };
    for run in held.chunk_by(same).flat_map(|run| run.chunks(COUNTED)) {
        let Some((source, file, _)) = run[0].counted else { continue };
        addresses.clear();
        touches.clear();
        repeats.clear();
        for sample in run {
            addresses.push(sample.paddr);
            repeats.push(sample.repeats);
            touches.extend(sample.counted.map(|(.., touch)| touch));
        }
        let places = Batch::of_addresses(source, addresses);
        count(MarkedBatch { batch: Batch { file, touches, ..places }, repeats });
    }
}

impl Drop for HeldPart {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.in_turn.samples).abandoned = true;
            self.in_turn.turned.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample that is not counted.
    fn held(cpu: u32, paddr: PhysAddr) -> HeldSample {
        let queue = QueueId::Samples(Some(cpu));
        HeldSample { queue, paddr, time_ns: Some(5), counted: None, repeats: false }
    }

    /// A sample of one page and time that is counted.
    fn counted(cpu: u32) -> HeldSample {
        let near = PhysAddr::new_truncate(0x7000);
        HeldSample { counted: Some((Source::Pebs, 0, touch())), ..held(cpu, near) }
    }

    #[test]
    fn parts_are_decided_in_their_order_whichever_thread_has_them() {
        let in_turn = Arc::new(InTurn::default());
        let decided = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            // The first part comes last; parts without samples wait for nobody.
            for parts in [&[4, 5, 6, 9][..], &[1, 2, 7], &[3, 8], &[0]] {
                let (in_turn, decided) = (&in_turn, &decided);
                scope.spawn(move || {
                    for number in parts {
                        let mut part = HeldPart::new(*number, Vec::new(), in_turn);
                        if number % 2 == 0 {
                            part.hold(counted(1));
                        }
                        if *number == 0 {
                            std::thread::sleep(std::time::Duration::from_millis(50));
                        }
                        part.end(&mut BatchRoom::default(), |batch| {
                            lock(decided).push((*number, batch.repeats[0]));
                        });
                    }
                });
            }
        });
        let mut decided = decided.into_inner().unwrap();
        decided.sort_unstable();
        let wanted = [(0, false), (2, true), (4, true), (6, true), (8, true)];
        assert_eq!(decided, wanted, "the first in order is the visit");
        let samples = lock(&in_turn.samples);
        assert!(samples.done.is_empty() && samples.next == 10);
    }

    #[test]
    fn samples_are_decided_across_parts() {
        let in_turn = Arc::new(InTurn::default());
        let mut seen = Vec::new();
        for number in 0..3 {
            let mut part = HeldPart::new(number, Vec::new(), &in_turn);
            for (cpu, page) in [(1, 7), (2, 7 + 100 * number)] {
                part.hold(HeldSample { paddr: PhysAddr::new_truncate(page << 12), ..counted(cpu) });
            }
            part.end(&mut BatchRoom::default(), |batch| seen.extend_from_slice(batch.repeats));
        }
        assert_eq!(seen, [false, false, true, false, true, false]);
    }

    fn touch() -> Touch {
        Touch {
            direction: decoder::Direction::Load,
            latency_cycles: 0,
            pid: None,
            vaddr: None,
            time_ns: Some(5),
            offset: decoder::TraceOffset(0),
        }
    }

    #[test]
    fn rings_beyond_the_limit_are_not_remembered() {
        let in_turn = InTurn::default();
        let limit = u32::try_from(MAX_QUEUES).expect("it is small");
        for cpu in (0..limit + 2).chain(limit - 1..limit + 1) {
            let ring = QueueKey { idx: 0, cpu: Some(cpu), tid: None };
            let trail = in_turn.take(ring);
            assert_eq!(trail.is_beyond(), cpu >= limit, "{cpu}");
            in_turn.put(ring, trail);
        }
        assert_eq!(lock(&in_turn.rings).trails.len(), MAX_QUEUES);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let in_turn = Arc::new(InTurn::default());
        let part = HeldPart::new(0, Vec::new(), &in_turn);
        let panic = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
            let _part = part;
            panic!("while it decodes");
        }));
        assert!(panic.is_err());
        let mut next = HeldPart::new(1, Vec::new(), &in_turn);
        next.hold(held(1, PhysAddr::new_truncate(0)));
        next.end(&mut BatchRoom::default(), |_| {});
    }
}
