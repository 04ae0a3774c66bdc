//! The AUX queues of a file, decoded by as many threads as there are use for.
//!
//! What a queue's bytes mean depends on those before them, so each is decoded from its start to
//! its end. If that leaves threads idle, long queues are cut all the same:
//!
//! ```text
//! cut:     between chunks, so that parts have about the same length
//! decode:  each part, by any thread, from what is expected between two records there, into a
//!          sink of its own
//! settle:  in order, part by part, by whichever thread can (hand_over):
//!              if the part before has ended between two records, and all that it knows there
//!              is what was expected (spe/split):
//!                  take what was decoded
//!              else:
//!                  drop it, and decode the part again, going on where the part before ended
//! ```
//!
//! So it is the walk from start to end that defines the result, whatever was expected. A unit
//! writes whole records and perf takes what it has written, so that a chunk of a healthy trace
//! starts with a record. A chunk is at most a ring long: cutting within chunks gains nothing.

use core::num::NonZero;
use core::ops::Range;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::hand_over::HandOver;
use super::session::Session;
use crate::aux_data::any_queue::{Account, AnyQueue};
use crate::aux_data::chunk::{AuxFormat, Chunk, Continuity};
use crate::perf::{Clock, QueueKey, SideBand};
use crate::spe::{ResumeState, expected_before};
use crate::{EventIndex, Options, Position, Shard, Sink, cost};

/// Chunks that are remembered until their queues are decoded, of all queues of a recording; about 100
/// bytes each. What comes beyond them is skipped.
pub(crate) const MAX_CHUNKS: usize = 1 << 21;

/// A queue and where its chunks lie.
pub(crate) struct Collected<'a> {
    key: QueueKey,
    event: Option<EventIndex>,
    format: AuxFormat,
    chunks: Vec<Stored<'a>>,
    /// Of all chunks since an index, each.
    clocks: Vec<(usize, Option<Clock>)>,
    len: usize,
}

/// What is kept of each chunk; what all chunks of a queue share stands in [`Collected`].
struct Stored<'a> {
    bytes: &'a [u8],
    at: Position,
    offset: u64,
    data_len: u64,
    continuity: Continuity,
    repeated: u64,
    breaks: Box<[u64]>,
    reference: Option<NonZero<u64>>,
}

impl<'a> Stored<'a> {
    fn new(chunk: &Chunk, at: Position) -> Self {
        let Chunk { offset, data_len, continuity, repeated, ref breaks, reference, .. } = *chunk;
        let breaks = breaks.as_slice().into();
        let reference = reference.and_then(NonZero::new);
        Self { bytes: &[], at, offset, data_len, continuity, repeated, breaks, reference }
    }

    /// Joins another chunk to this one, if beginning one after the other is the same as beginning
    /// one alone: nothing but gaps lies between two chunks of which the first has no bytes.
    fn merge(&mut self, mut next: Self) -> Option<Self> {
        let merges = self.bytes.is_empty()
            && match (self.continuity, next.continuity) {
                (Continuity::Continued, _) if self.repeated == 0 && self.breaks.is_empty() => true,
                (Continuity::Gap, Continuity::Continued | Continuity::Gap)
                    if next.repeated == 0 =>
                {
                    next.continuity = Continuity::Gap;
                    true
                }
                // A snapshot forgets how the queue came there; known by their place, neither counts.
                (Continuity::Gap | Continuity::Continued, Continuity::Snapshot { .. }) => {
                    next.repeated == 0
                }
                (Continuity::Snapshot { .. }, Continuity::Snapshot { .. }) => {
                    next.repeated == 0 || self.repeated > 0
                }
                _ => false,
            };
        if !merges {
            return Some(next);
        }
        next.reference = next.reference.or(self.reference);
        *self = next;
        None
    }
}

impl<'a> Collected<'a> {
    /// A queue that begins with this chunk.
    pub(crate) fn new(key: QueueKey, first: &Chunk) -> Self {
        let (event, format) = (first.event, first.format.clone());
        Self { key, event, format, chunks: Vec::new(), clocks: Vec::new(), len: 0 }
    }

    /// Adds a chunk. Returns whether that is one more than there were.
    pub(crate) fn begin(&mut self, chunk: &Chunk, position: Position) -> bool {
        cost::steps(1);
        let mut next = Some(Stored::new(chunk, position));
        let same_clock = self.clocks.last().is_some_and(|(_, clock)| *clock == chunk.clock);
        if let Some(last) = self.chunks.last_mut().filter(|_| same_clock) {
            next = next.and_then(|next| last.merge(next));
        }
        if !same_clock {
            self.clocks.push((self.chunks.len(), chunk.clock));
        }
        let one_more = next.is_some();
        self.chunks.extend(next);
        one_more
    }

    /// The bytes of the last chunk.
    pub(crate) fn bytes(&mut self, bytes: &'a [u8], position: Position) {
        self.len += bytes.len();
        if let Some(last) = self.chunks.last_mut() {
            (last.bytes, last.at) = (bytes, position);
        }
    }

    /// Decodes some of the chunks.
    fn decode(
        &self,
        queue: &mut AnyQueue,
        chunks: Range<usize>,
        sideband: &SideBand,
        sink: &mut impl Sink,
    ) {
        let mut clocks = self.clocks.partition_point(|(since, _)| *since <= chunks.start);
        for number in chunks {
            let stored = &self.chunks[number];
            clocks +=
                usize::from(self.clocks.get(clocks).is_some_and(|(since, _)| *since <= number));
            queue.begin(Chunk {
                offset: stored.offset,
                data_len: stored.data_len,
                continuity: stored.continuity,
                repeated: stored.repeated,
                breaks: stored.breaks.to_vec(),
                clock: clocks.checked_sub(1).and_then(|last| self.clocks[last].1),
                reference: stored.reference.map(NonZero::get),
                event: self.event,
                format: self.format.clone(),
            });
            queue.bytes(stored.bytes, stored.at, sideband, sink);
        }
    }

    /// Cuts the queue into about as many parts. Returns the first chunk of each but the first,
    /// and what is expected before it.
    fn cut(&self, parts: usize) -> Vec<(usize, ResumeState)> {
        let whole = |chunk: &Stored<'_>| {
            chunk.repeated > 0 || matches!(chunk.continuity, Continuity::Snapshot { .. })
        };
        let cuttable =
            matches!(self.format, AuxFormat::ArmSpe(_)) && !self.chunks.iter().any(whole);
        if parts <= 1 || !cuttable {
            return Vec::new();
        }
        let (mut cuts, mut before) = (Vec::new(), 0);
        for (number, chunk) in self.chunks.iter().enumerate() {
            let due = self.len / parts * (cuts.len() + 1);
            if number > 0
                && cuts.len() + 1 < parts
                && before >= due
                && chunk.continuity == Continuity::Continued
                // Zeros before it that were taken for filling are no matter.
                && chunk.data_len > 0
                && let Some(state) = expected_before(chunk.bytes)
            {
                cuts.push((number, state));
            }
            before += chunk.bytes.len();
        }
        cuts
    }
}

/// A queue in parts, and how far it has come.
struct Chain<'a, S> {
    queue: Collected<'a>,
    /// Where the parts behind the first one start.
    cuts: Vec<(usize, ResumeState)>,
    /// The state between parts, none before the first and behind the last one; and parts that were
    /// decoded ahead: what they gave, and the state behind them.
    hand_over: HandOver<Option<AnyQueue>, (S, AnyQueue)>,
    /// Those of parts whose end is not where the next one went on.
    accounts: Mutex<Vec<Account>>,
}

impl<'a, S: Shard> Chain<'a, S> {
    fn new(queue: Collected<'a>, parts: usize) -> Self {
        let cuts = queue.cut(parts);
        Self::with_cuts(queue, cuts)
    }

    fn with_cuts(queue: Collected<'a>, cuts: Vec<(usize, ResumeState)>) -> Self {
        let hand_over = HandOver::new(cuts.len() + 1, None);
        Self { queue, cuts, hand_over, accounts: Mutex::default() }
    }

    /// Decodes a part: from the true state if it is known, else ahead.
    fn decode(&self, part: usize, sideband: &SideBand, sink: &mut S) {
        let mut going_on = if let Some(state) = self.hand_over.begin(part) {
            let mut state =
                state.unwrap_or_else(|| AnyQueue::new(self.queue.key, &self.queue.format));
            self.run_in_order(part, &mut state, sideband, sink);
            self.settled(part, state)
        } else {
            let Some(state) = self.expected(part) else { return };
            let mut ahead = sink.split();
            ahead.queue_is_ahead(self.queue.key);
            let mut queue = AnyQueue::resumed(self.queue.key, state);
            self.run(part, &mut queue, sideband, &mut ahead);
            self.hand_over.waits(part, (ahead, queue))
        };
        while let Some((part, Some(mut state), (ahead, queue))) = going_on {
            let as_expected =
                state.resume_state().is_some() && state.resume_state() == self.expected(part);
            if as_expected && sink.merge_ahead(ahead, self.queue.key) {
                let before = core::mem::replace(&mut state, queue);
                self.account(before.finish());
            } else {
                self.run_in_order(part, &mut state, sideband, sink);
            }
            going_on = self.settled(part, state);
        }
    }

    /// One more part is settled. Returns what to settle next, if anything.
    fn settled(
        &self,
        part: usize,
        state: AnyQueue,
    ) -> Option<(usize, Option<AnyQueue>, (S, AnyQueue))> {
        if part == self.cuts.len() {
            self.account(state.finish());
            return self.hand_over.settled(None);
        }
        self.hand_over.settled(Some(state))
    }

    /// What is expected before a part; nothing before the first one.
    fn expected(&self, part: usize) -> Option<ResumeState> {
        self.cuts.get(part.checked_sub(1)?).map(|(_, state)| *state)
    }

    /// Decodes a part whose parts before have been settled.
    fn run_in_order(&self, part: usize, queue: &mut AnyQueue, sideband: &SideBand, sink: &mut S) {
        sink.queue_goes_on(self.queue.key);
        self.run(part, queue, sideband, sink);
        sink.queue_pauses(self.queue.key);
    }

    fn run(&self, part: usize, queue: &mut AnyQueue, sideband: &SideBand, sink: &mut S) {
        let place = |cut: Option<usize>| self.cuts.get(cut?).map(|(chunk, _)| *chunk);
        let from = place(part.checked_sub(1)).unwrap_or(0);
        let to = place(Some(part)).unwrap_or(self.queue.chunks.len());
        self.queue.decode(queue, from..to, sideband, sink);
    }

    fn account(&self, account: Account) {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).push(account);
    }

    /// What became of all parts that were settled.
    fn into_accounts(self) -> Vec<Account> {
        self.accounts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Into how many parts each queue is cut, given their lengths: 1 unless threads would be idle.
fn parts(lens: &[usize], threads: usize, least: usize) -> Vec<usize> {
    let share = lens.iter().sum::<usize>().div_ceil(threads);
    // Each goes to the thread that has least to do, the longest first.
    let mut loads: BinaryHeap<_> = vec![Reverse(0); threads.min(lens.len())].into();
    let mut longest = 0;
    for len in lens {
        let load = loads.pop().map_or(0, |Reverse(load)| load) + len;
        longest = longest.max(load);
        loads.push(Reverse(load));
    }
    if longest <= share + share / 8 {
        return vec![1; lens.len()];
    }
    // Two for each thread: they need not be equally fast.
    let (wanted, least) = ((share / 2).max(1), least.max(1));
    lens.iter().map(|len| len.div_ceil(wanted).min(len / least).max(1)).collect()
}

/// Decodes all queues. What each thread finds adds up, whichever finds it.
pub(crate) fn decode_queues<S: Shard>(
    mut queues: Vec<Collected<'_>>,
    session: &mut Session,
    options: &Options,
    sink: &mut S,
) {
    // The longest first: the threads end together.
    queues.sort_by_key(|queue| Reverse(queue.len));
    let threads = options.threads.get();
    let lens: Vec<_> = queues.iter().map(|queue| queue.len).collect();
    let parts = parts(&lens, threads, options.grain.part);
    let chains: Vec<_> =
        queues.into_iter().zip(parts).map(|(queue, parts)| Chain::new(queue, parts)).collect();
    let tasks: Vec<_> = chains
        .iter()
        .flat_map(|chain| (0..=chain.cuts.len()).map(move |part| (chain, part)))
        .collect();
    let sideband = core::mem::take(&mut session.sideband);
    let next = AtomicUsize::new(0);
    let work = |sink: &mut S| {
        while let Some((chain, part)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            chain.decode(*part, &sideband, sink);
        }
    };
    let helpers = threads.min(tasks.len()).saturating_sub(1);
    std::thread::scope(|scope| {
        // A thread that the system refuses is one less; this one works too.
        let spawn = |mut shard: S| {
            let work = &work;
            let run = move || {
                work(&mut shard);
                shard
            };
            std::thread::Builder::new().spawn_scoped(scope, run).ok()
        };
        let workers: Vec<_> = (0..helpers).map_while(|_| spawn(sink.split())).collect();
        work(sink);
        for worker in workers {
            sink.merge(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    drop(tasks);
    for chain in chains {
        chain.into_accounts().into_iter().for_each(|account| session.settle(account));
    }
    session.sideband = sideband;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spe::Encoding;
    use crate::{Access, Origin, TraceOffset};

    /// Where records end.
    #[derive(Debug, Default, PartialEq)]
    struct Ends(Vec<u64>);

    impl Sink for Ends {
        fn access(&mut self, access: &Access) {
            self.other(&access.origin);
        }
        fn other(&mut self, origin: &Origin) {
            self.0.push(origin.position.offset.0);
        }
    }

    impl Shard for Ends {
        fn split(&self) -> Self {
            Self::default()
        }
        fn merge(&mut self, other: Self) {
            self.0.extend(other.0);
        }
    }

    /// A branch, 18 bytes.
    const BRANCH: [u8; 18] = [
        0xb0, 0x40, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x4a, 0x01, 0x42, 0x42, 0x98, 0x05, 0x00, 0x00,
        0x01,
    ];

    /// Bytes of a chunk: five branches.
    const PIECE: usize = 5 * BRANCH.len();

    fn chunk(offset: u64, bytes: &[u8], continuity: Continuity) -> Chunk {
        Chunk {
            offset,
            data_len: bytes.len() as u64,
            continuity,
            repeated: 0,
            breaks: Vec::new(),
            clock: None,
            reference: None,
            event: None,
            format: AuxFormat::ArmSpe(Encoding::Unknown),
        }
    }

    fn collected(bytes: &[u8]) -> Collected<'_> {
        let mut queue = Collected::new(KEY, &chunk(0, &[], Continuity::Continued));
        for (number, bytes) in bytes.chunks(PIECE).enumerate() {
            let offset = (number * PIECE) as u64;
            let position = Position { file: 0, offset: TraceOffset(offset) };
            queue.begin(&chunk(offset, bytes, Continuity::Continued), position);
            queue.bytes(bytes, position);
        }
        queue
    }

    const KEY: QueueKey = QueueKey { idx: 0, cpu: None, tid: None };

    /// Decodes the parts in this order. Returns the ends of records, their bytes and all bytes.
    fn run(bytes: &[u8], cuts: &[(usize, ResumeState)], order: &[usize]) -> (Ends, u64, u64) {
        let chain = Chain::<Ends>::with_cuts(collected(bytes), cuts.to_vec());
        let (mut ends, sideband) = (Ends::default(), SideBand::default());
        order.iter().for_each(|part| chain.decode(*part, &sideband, &mut ends));
        ends.0.sort_unstable();
        let accounts = chain.into_accounts();
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum();
        (ends, sum(|account| account.bytes.record), sum(|account| account.total))
    }

    #[test]
    fn no_cut_and_no_order_changes_the_result() {
        let mut trace = BRANCH.repeat(60);
        trace[100] = 0xff;
        trace.drain(301..309);
        trace.splice(700..700, [0; 8]);
        let whole = run(&trace, &[], &[0]);
        assert!(whole.0.0.len() > 50);
        assert_eq!(whole.2, trace.len() as u64);
        let mut behind_a_gap = AnyQueue::new(KEY, &AuxFormat::ArmSpe(Encoding::Unknown));
        behind_a_gap.begin(chunk(9, &[], Continuity::Gap));
        let expected = [expected_before(&BRANCH), behind_a_gap.resume_state()].map(Option::unwrap);
        let chunks = trace.len().div_ceil(PIECE);
        for (first, second) in (1..chunks).flat_map(|first| (1..chunks).map(move |it| (first, it)))
        {
            let orders: &[&[usize]] = match first.cmp(&second) {
                core::cmp::Ordering::Less => {
                    &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]]
                }
                core::cmp::Ordering::Equal => &[&[0, 1], &[1, 0]],
                core::cmp::Ordering::Greater => continue,
            };
            for state in expected {
                let mut cuts = vec![(first, state), (second, state)];
                cuts.dedup();
                for order in orders {
                    assert_eq!(run(&trace, &cuts, order), whole, "{first} {second} {order:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_decoded_ahead_is_taken() {
        let trace = BRANCH.repeat(50);
        let chain = Chain::<Ends>::new(collected(&trace), 4);
        assert_eq!(chain.cuts.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>(), [3, 5, 8]);
        let sideband = SideBand::default();
        for part in [3, 1, 2] {
            chain.decode(part, &sideband, &mut Ends::default());
        }
        let mut first = Ends::default();
        chain.decode(0, &sideband, &mut first);
        assert_eq!(first.0.len(), 50, "with what was decoded before");
        assert_eq!(chain.into_accounts().len(), 4, "each part has its own");
    }

    #[test]
    fn the_ledger_tells_of_a_part_that_nobody_decoded() {
        let trace = BRANCH.repeat(50);
        for (parts, balances) in [(&[1, 0, 2, 3][..], true), (&[1, 2, 3], false), (&[0, 3], false)]
        {
            let mut session = Session::new(crate::ByteOrder::Little);
            session.unsettled = trace.len() as u64;
            let chain = Chain::<Ends>::new(collected(&trace), 4);
            let sideband = SideBand::default();
            parts.iter().for_each(|part| chain.decode(*part, &sideband, &mut Ends::default()));
            chain.into_accounts().into_iter().for_each(|account| session.settle(account));
            session.end();
            assert_eq!(session.ledger.check().is_ok(), balances, "{parts:?}");
        }
    }

    #[test]
    fn queues_are_cut_only_if_threads_would_wait() {
        assert_eq!(parts(&[100; 8], 4, 1), [1; 8]);
        assert_eq!(parts(&[100], 1, 1), [1]);
        assert_eq!(parts(&[], 4, 1), []);
        assert_eq!(parts(&[1000], 2, 1), [4]);
        assert_eq!(parts(&[1000], 2, 400), [2], "no part is shorter than is allowed");
        assert_eq!(parts(&[1000, 10, 10], 2, 1), [4, 1, 1], "badly unequal");
        assert_eq!(parts(&[100, 100, 100], 2, 1), [2, 2, 2]);
    }
}
