//! Threads that read what one thread walks over.
//!
//! One thread walks over the records, since each says where the next one starts. What takes
//! longer, it leaves to workers: it notes in a parcel what is to be done with which bytes, and
//! sends the parcel to those who have something to do in it. Of a mapped file that is its samples
//! alone: its AUX data waits for [`parallel`](super::parallel).
//!
//! ```text
//! walk:    window of bytes -> parcel: AUX bytes of queue 3 at ..., sample at ..., names are now ...
//! send:    to the workers of its queues and of its samples; to all if it tells who ran where
//! worker:  what concerns it, in order, into a sink of its own; then back with the parcel
//! finish:  sinks and accounts are merged, worker by worker
//! ```
//!
//! A queue has one worker, so that its bytes keep their order, and a worker gets its parcels in
//! theirs. So whatever a worker knows when it reads a byte (names, who ran where, the queue's
//! bytes before) is what the input had said by then, however far the walk has come.
//!
//! Bytes are not copied: a parcel refers to the mapping or shares the buffer that they were read
//! into. Only records that were compressed have no place to stay. Parcels and buffers are used
//! again: each worker gives back what it got, in that order, so that the walk knows whom to wait
//! for, and notices if that one is gone. All channels hold as many parcels as there can be:
//! sending never waits, in no direction.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::channel::{Receiver, Sender, channel};
use super::recording_facts::Facts;
use super::sample::{Guest, SampleRecord, Samples};
use super::session::Session;
use crate::aux_data::any_queue::AnyQueue;
use crate::aux_data::chunk::Chunk;
use crate::perf::{AuxOwner, Learned, QueueKey, SideBand};
use crate::{ByteOrder, EventIndex, Position, Shard, TraceOffset};

/// Most workers: a bit for each must fit a word.
const MOST_WORKERS: usize = 64;
/// Parcels beyond one for each worker: so many can wait while the walk goes on.
const WAITING: usize = 4;
/// A parcel is sent when it holds so many samples or other jobs, ...
const MOST_JOBS: usize = 1 << 12;
/// ... or so many bytes of records that were compressed.
const MOST_INFLATED: usize = 256 << 10;

/// Bytes that the jobs of a parcel refer to.
#[derive(Debug)]
pub(crate) enum Base<'a> {
    /// All of a mapped file's record stream.
    Mapped(&'a [u8]),
    /// What was read of a stream.
    Read(Arc<Vec<u8>>),
}

impl Base<'_> {
    fn share(&self) -> Self {
        match self {
            Self::Mapped(bytes) => Self::Mapped(bytes),
            Self::Read(bytes) => Self::Read(Arc::clone(bytes)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}

/// What is to be done with some bytes.
#[derive(Debug)]
struct Parcel<'a> {
    base: Base<'a>,
    /// Position in the input of the first byte of `base`.
    start: Position,
    /// Records that were compressed.
    inflated: Vec<u8>,
    samples: Vec<SampleJob>,
    jobs: Vec<Job>,
    /// What the jobs said last of the events.
    facts: Option<Arc<Facts>>,
    /// The workers that have something to do, a bit for each.
    wanted: u64,
    /// The worker that reads the samples.
    reader: usize,
}

/// A sample record.
#[derive(Debug)]
struct SampleJob {
    event: EventIndex,
    guest: Guest,
    offset: TraceOffset,
    record: u64,
    body: Range<usize>,
    inflated: bool,
}

/// One thing to be done, in the order of the input.
#[derive(Debug)]
enum Job {
    /// This is known of the events from here on.
    Facts(Arc<Facts>),
    /// Who ran where, for these workers.
    Learn(Learned, u64),
    /// A chunk of a queue comes.
    Begin(usize, QueueKey, Chunk),
    /// Its next bytes, with their number.
    Bytes(usize, Range<usize>, u64),
    /// The queue ends with bytes that had come before; with their number.
    Rest(usize, Position, u64),
    /// Some of the samples, with their number.
    Samples(Range<usize>, u64),
}

impl<'a> Parcel<'a> {
    fn new() -> Self {
        Self {
            base: Base::Mapped(&[]),
            start: Position::default(),
            inflated: Vec::new(),
            samples: Vec::new(),
            jobs: Vec::new(),
            facts: None,
            wanted: 0,
            reader: 0,
        }
    }

    /// Forgets its jobs, and returns what they referred to.
    fn clear(&mut self) -> Base<'a> {
        self.inflated.clear();
        self.samples.clear();
        self.jobs.clear();
        self.facts = None;
        self.wanted = 0;
        core::mem::replace(&mut self.base, Base::Mapped(&[]))
    }

    fn is_full(&self) -> bool {
        self.samples.len().max(self.jobs.len()) >= MOST_JOBS || self.inflated.len() >= MOST_INFLATED
    }

    /// Where bytes at a position of the input stand in `base`.
    fn place(&self, at: Position, len: usize) -> Range<usize> {
        let from = usize::try_from(at.offset.0.wrapping_sub(self.start.offset.0));
        let from = from.unwrap_or(usize::MAX).min(self.base.bytes().len());
        from..from.saturating_add(len).min(self.base.bytes().len())
    }
}

/// One thread's work.
struct Worker<S> {
    number: usize,
    of: usize,
    order: ByteOrder,
    shard: S,
    facts: Arc<Facts>,
    sideband: SideBand,
    queues: BTreeMap<usize, AnyQueue>,
    samples: Samples,
}

impl<S: Shard> Worker<S> {
    fn new(number: usize, of: usize, order: ByteOrder, shard: S) -> Self {
        Self {
            number,
            of,
            order,
            shard,
            facts: Arc::default(),
            sideband: SideBand::of_stream(),
            queues: BTreeMap::new(),
            samples: Samples::default(),
        }
    }

    fn work(&mut self, parcel: &Parcel<'_>) {
        for job in &parcel.jobs {
            match job {
                Job::Facts(facts) => {
                    if !Arc::ptr_eq(&self.facts, facts) {
                        facts.tell_names(&self.facts, &mut self.shard);
                        self.facts = Arc::clone(facts);
                    }
                }
                Job::Learn(_, workers) if self.of > 1 && workers >> self.number & 1 == 0 => {}
                Job::Learn(learned, _) => self.sideband.learn(*learned),
                Job::Begin(index, ..) | Job::Bytes(index, ..) | Job::Rest(index, ..)
                    if index % self.of != self.number => {}
                Job::Begin(index, key, chunk) => {
                    let queue = self
                        .queues
                        .entry(*index)
                        .or_insert_with(|| AnyQueue::new(*key, &chunk.format));
                    queue.begin(chunk.clone());
                }
                Job::Bytes(index, place, number) => {
                    self.shard.part_begins(*number);
                    if let Some(queue) = self.queues.get_mut(index) {
                        let offset = TraceOffset(parcel.start.offset.0 + place.start as u64);
                        let at = Position { offset, ..parcel.start };
                        let bytes = &parcel.base.bytes()[place.clone()];
                        queue.bytes(bytes, at, &self.sideband, &mut self.shard);
                        if let Some((cpu, time)) = queue.passed() {
                            self.sideband.forget_before(cpu, time);
                        }
                    }
                    self.shard.part_ended();
                }
                Job::Rest(index, at, number) => {
                    self.shard.part_begins(*number);
                    if let Some(queue) = self.queues.get_mut(index) {
                        queue.bytes(&[], *at, &self.sideband, &mut self.shard);
                    }
                    self.shard.part_ended();
                }
                Job::Samples(which, number) if parcel.reader == self.number => {
                    self.shard.part_begins(*number);
                    self.read_samples(parcel, which.clone());
                    self.shard.part_ended();
                }
                Job::Samples(..) => {}
            }
        }
    }

    fn read_samples(&mut self, parcel: &Parcel<'_>, which: Range<usize>) {
        for sample in &parcel.samples[which] {
            let bytes = if sample.inflated { &parcel.inflated } else { parcel.base.bytes() };
            let body = &bytes[sample.body.clone()];
            let position = Position { offset: sample.offset, ..parcel.start };
            let SampleJob { event, guest, record, .. } = *sample;
            let sample = SampleRecord { event, guest, body, position, record };
            self.samples.take(sample, &self.facts, self.order, &mut self.shard);
        }
    }

    /// Adds all that it found.
    fn settle(self, session: &mut Session, sink: &mut S) {
        sink.merge(self.shard);
        session.add_samples(self.samples);
        session.sideband.noticed(&self.sideband);
        self.queues.into_values().for_each(|queue| session.settle(queue.finish()));
    }
}

/// A worker on a thread of its own.
struct Hand<'scope, 'a, S> {
    to: Sender<Arc<Parcel<'a>>>,
    back: Receiver<Arc<Parcel<'a>>>,
    thread: ScopedJoinHandle<'scope, Worker<S>>,
}

/// The workers, and the parcel that is being filled.
pub(crate) struct Workers<'scope, 'env, 'a, S> {
    scope: &'scope Scope<'scope, 'env>,
    order: ByteOrder,
    workers: usize,
    /// Empty before the first parcel, if the system has no threads for us, and if one is gone.
    hands: Vec<Hand<'scope, 'a, S>>,
    /// Does it all if there are no others.
    alone: Option<Worker<S>>,
    open: Parcel<'a>,
    /// The workers of the queues of each CPU that has some, a bit for each.
    workers_of: HashMap<u32, u64>,
    /// The number of the next part.
    next_part: u64,
    /// The samples of the open parcel that no job has yet start here.
    samples_noted: usize,
    /// Who has the parcels that are on their way, oldest first.
    on_the_way: VecDeque<u64>,
    /// Used in turn, so that all grow while the recording is new, and none later.
    free: VecDeque<Arc<Parcel<'a>>>,
    buffers: VecDeque<Arc<Vec<u8>>>,
    /// The buffers have been made.
    has_buffers: bool,
    /// The worker that reads the samples of the last parcel that had some, and the position of
    /// the last one.
    turn: usize,
    last_position: Position,
}

impl<'scope, 'a: 'scope, S: Shard + 'scope> Workers<'scope, '_, 'a, S> {
    /// Gathers as many workers as `threads`. They start with the first parcel.
    pub(crate) fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        threads: NonZeroUsize,
        order: ByteOrder,
    ) -> Workers<'scope, 'env, 'a, S> {
        Workers {
            scope,
            order,
            workers: threads.get().min(MOST_WORKERS),
            hands: Vec::new(),
            alone: None,
            open: Parcel::new(),
            workers_of: HashMap::new(),
            next_part: 0,
            samples_noted: 0,
            on_the_way: VecDeque::new(),
            free: VecDeque::new(),
            buffers: VecDeque::new(),
            has_buffers: false,
            turn: 0,
            last_position: Position::default(),
        }
    }

    /// What is noted from now on refers to these bytes, the first of which stands at `start`.
    pub(crate) fn refer_to(&mut self, base: Base<'a>, start: Position, sink: &S) {
        self.send(sink);
        (self.open.base, self.open.start) = (base, start);
    }

    /// Notes a sample record: one that was compressed, or one that stands where it says.
    pub(crate) fn sample(
        &mut self,
        sample: &SampleRecord<'_>,
        inflated: bool,
        facts: &Arc<Facts>,
        sink: &S,
    ) {
        self.facts(facts);
        let SampleRecord { event, guest, body, position, record } = *sample;
        let offset = position.offset;
        if self.open.samples.is_empty() {
            // Records of one position have their order from their reader alone.
            if self.last_position != position {
                self.turn = (self.turn + 1) % self.workers;
            }
            self.open.reader = self.turn;
        }
        self.last_position = position;
        let body = if inflated {
            let start = self.open.inflated.len();
            self.open.inflated.extend_from_slice(body);
            start..self.open.inflated.len()
        } else {
            let first = TraceOffset((offset.0 + 1).saturating_sub(body.len() as u64));
            self.open.place(Position { offset: first, ..position }, body.len())
        };
        self.open.samples.push(SampleJob { event, guest, offset, record, body, inflated });
        self.open.wanted |= 1 << self.open.reader;
        self.send_if_full(sink);
    }

    /// Notes who ran where.
    pub(crate) fn learn(&mut self, learned: Learned, sink: &S) {
        let all = u64::MAX >> (MOST_WORKERS - self.workers);
        let workers = match learned {
            // Nobody else has records of a CPU that has a queue.
            Learned::Switch(cpu, ..) => self.workers_of.get(&cpu).copied().unwrap_or(all),
            Learned::Counter(AuxOwner::Cpu(cpu), ..) => {
                self.workers_of.get(&cpu).copied().unwrap_or(all)
            }
            Learned::Thread(..) | Learned::Counter(..) => all,
        };
        self.open.wanted |= workers;
        self.open.jobs.push(Job::Learn(learned, workers));
        self.send_if_full(sink);
    }

    /// Notes that a chunk of a queue comes.
    pub(crate) fn begin(&mut self, queue: usize, key: QueueKey, chunk: Chunk, facts: &Arc<Facts>) {
        self.facts(facts);
        let worker = 1 << (queue % self.workers);
        if let Some(cpu) = key.cpu {
            *self.workers_of.entry(cpu).or_default() |= worker;
        }
        self.open.wanted |= worker;
        self.open.jobs.push(Job::Begin(queue, key, chunk));
    }

    /// Notes its next bytes.
    pub(crate) fn bytes(
        &mut self,
        queue: usize,
        bytes: &[u8],
        at: Position,
        facts: &Arc<Facts>,
        sink: &S,
    ) {
        self.facts(facts);
        self.open.wanted |= 1 << (queue % self.workers);
        self.note_samples();
        let number = self.number_part();
        self.open.jobs.push(Job::Bytes(queue, self.open.place(at, bytes.len()), number));
        self.send_if_full(sink);
    }

    /// Notes a chunk without bytes that ends a queue.
    pub(crate) fn rest(
        &mut self,
        queue: usize,
        key: QueueKey,
        chunk: Chunk,
        at: Position,
        facts: &Arc<Facts>,
    ) {
        self.begin(queue, key, chunk, facts);
        self.note_samples();
        let number = self.number_part();
        self.open.jobs.push(Job::Rest(queue, at, number));
    }

    /// Makes a job of the samples that have none yet.
    fn note_samples(&mut self) {
        let samples = self.samples_noted..self.open.samples.len();
        self.samples_noted = samples.end;
        if !samples.is_empty() {
            let number = self.number_part();
            self.open.jobs.push(Job::Samples(samples, number));
        }
    }

    fn number_part(&mut self) -> u64 {
        self.next_part += 1;
        self.next_part - 1
    }

    /// Each parcel says what is known of the events: not every worker gets every one.
    fn facts(&mut self, facts: &Arc<Facts>) {
        if !self.open.facts.as_ref().is_some_and(|known| Arc::ptr_eq(known, facts)) {
            self.note_samples();
            self.open.facts = Some(Arc::clone(facts));
            self.open.jobs.push(Job::Facts(Arc::clone(facts)));
        }
    }

    fn send_if_full(&mut self, sink: &S) {
        if self.open.is_full() {
            let (base, start) = (self.open.base.share(), self.open.start);
            self.send(sink);
            (self.open.base, self.open.start) = (base, start);
        }
    }

    /// Sends what has been noted.
    pub(crate) fn send(&mut self, sink: &S) {
        self.note_samples();
        self.samples_noted = 0;
        let wanted = self.open.wanted;
        if wanted != 0 && self.hands.is_empty() && self.alone.is_none() {
            self.hire(sink);
        }
        if let Some(worker) = self.alone.as_mut().filter(|_| wanted != 0) {
            worker.work(&self.open);
        } else if wanted != 0
            && let Some(mut parcel) = self.parcel()
            && let Some(empty) = Arc::get_mut(&mut parcel)
        {
            core::mem::swap(empty, &mut self.open);
            let hands = self.hands.iter().enumerate();
            for (_, hand) in hands.filter(|(number, _)| wanted >> number & 1 == 1) {
                // One that is gone is noticed when its parcel does not come back.
                let _ = hand.to.send(Arc::clone(&parcel));
            }
            self.on_the_way.push_back(wanted);
        }
        self.open.clear();
    }

    /// Starts the workers. If the system has no threads for all of them, one does it here.
    fn hire(&mut self, sink: &S) {
        let (workers, order) = (self.workers, self.order);
        self.free.extend((0..workers + WAITING).map(|_| Arc::new(Parcel::new())));
        for number in 0..workers {
            let mut worker = Worker::new(number, workers, order, sink.join_in());
            let (to, parcels) = channel::<Arc<Parcel<'a>>>(workers + WAITING);
            let (give_back, back) = channel(workers + WAITING);
            let work = move || {
                for parcel in parcels {
                    worker.work(&parcel);
                    // At the end nobody takes it back.
                    let _ = give_back.send(parcel);
                }
                worker
            };
            match Builder::new().spawn_scoped(self.scope, work) {
                Ok(thread) => self.hands.push(Hand { to, back, thread }),
                Err(_) => {
                    self.hands.clear();
                    self.workers_of.clear();
                    (self.workers, self.turn, self.open.reader) = (1, 0, 0);
                    self.alone = Some(Worker::new(0, 1, order, sink.join_in()));
                    return;
                }
            }
        }
    }

    /// An empty parcel. `None` if a worker is gone.
    fn parcel(&mut self) -> Option<Arc<Parcel<'a>>> {
        if self.free.is_empty() {
            self.take_back()?;
        }
        self.free.pop_front()
    }

    /// Waits for the oldest parcel that is on its way. `None` if a worker is gone.
    fn take_back(&mut self) -> Option<()> {
        let wanted = self.on_the_way.pop_front()?;
        let mut last = None;
        for (number, hand) in self.hands.iter().enumerate() {
            if wanted >> number & 1 == 1 {
                // The one before is dropped: the last one is the only one left.
                last = Some(hand.back.receive().ok()?);
            }
        }
        let mut parcel = last?;
        if let Base::Read(buffer) = Arc::get_mut(&mut parcel)?.clear() {
            self.give_back(buffer);
        }
        self.free.push_back(parcel);
        Some(())
    }

    /// A buffer to read into: one that nobody uses any more, or a new one of this length while
    /// there are few. `None` if a worker is gone.
    pub(crate) fn buffer(&mut self, len: usize) -> Option<Arc<Vec<u8>>> {
        if !self.has_buffers {
            self.has_buffers = true;
            // One for each parcel on its way, one for the open one, one for what is walked over.
            let buffers = self.workers + WAITING + 2;
            self.buffers.extend((0..buffers).map(|_| Arc::new(vec![0; len])));
        }
        while self.buffers.is_empty() && self.on_the_way.len() >= self.workers + WAITING {
            self.take_back()?;
        }
        Some(self.buffers.pop_front().unwrap_or_else(|| Arc::new(vec![0; len])))
    }

    /// Takes a buffer, unless it is still in use: then its last user brings it.
    pub(crate) fn give_back(&mut self, mut buffer: Arc<Vec<u8>>) {
        if Arc::get_mut(&mut buffer).is_some() {
            self.buffers.push_back(buffer);
        }
    }

    /// Sends what is left, waits for all workers and adds what they found.
    ///
    /// # Panics
    /// As a worker did.
    pub(crate) fn finish(mut self, session: &mut Session, sink: &mut S) {
        self.send(sink);
        if let Some(worker) = self.alone {
            worker.settle(session, sink);
        }
        let threads: Vec<_> = self.hands.into_iter().map(|hand| hand.thread).collect();
        for thread in threads {
            let worker = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            worker.settle(session, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Origin, Sink};

    /// Panics at the first record.
    struct Fuse;

    impl Sink for Fuse {
        fn access(&mut self, _: &Access) {
            panic!("a record");
        }
        fn other(&mut self, _: &Origin) {
            panic!("a record");
        }
    }

    impl Shard for Fuse {
        fn split(&self) -> Self {
            Self
        }
        fn merge(&mut self, _: Self) {}
    }

    #[test]
    fn a_worker_that_panics_ends_the_walk_with_its_panic() {
        let order = ByteOrder::Little;
        let threads = NonZeroUsize::new(3).unwrap();
        let walk = || {
            let mut parcels = 0;
            std::thread::scope(|scope| {
                let mut crew = Workers::<Fuse>::new(scope, threads, order);
                // A record of one End packet, for one of two queues.
                while parcels < 1000
                    && let Some(buffer) = crew.buffer(16)
                {
                    let mut buffer = buffer;
                    Arc::make_mut(&mut buffer)[0] = 1;
                    parcels += 1;
                    crew.refer_to(Base::Read(buffer), Position::default(), &Fuse);
                    let queue = parcels % 2;
                    let key = QueueKey { idx: 0, cpu: None, tid: None };
                    let chunk = Chunk {
                        offset: 0,
                        data_len: 1,
                        continuity: crate::Continuity::Continued,
                        repeated: 0,
                        breaks: Vec::new(),
                        clock: None,
                        reference: None,
                        event: None,
                        format: crate::AuxFormat::ArmSpe(crate::spe::Encoding::Unknown),
                    };
                    crew.begin(queue, key, chunk, &Arc::default());
                    crew.bytes(queue, &[1], Position::default(), &Arc::default(), &Fuse);
                    crew.send(&Fuse);
                }
                crew.finish(&mut Session::new(order), &mut Fuse);
            });
        };
        let panic = std::panic::catch_unwind(walk).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a record"));
    }
}
