//! The AUX queues of a file, decoded by as many threads as there are use for.
//!
//! What a queue's bytes mean depends on those before them, so each is decoded from its start to
//! its end. If that leaves threads idle, long queues are cut all the same:
//!
//! ```text
//! cut:     guess places between two records that make parts of about the same length
//! decode:  each part, by any thread, from the guess that it starts at, into a sink of its own
//! settle:  in order, part by part, by whichever thread can:
//!              if the part before has come to the guessed place between two records, and all
//!              that it knows there is what was guessed (spe/split):
//!                  take what was decoded
//!              else:
//!                  drop it, and decode the part again, going on where the part before ended
//! ```
//!
//! So it is the walk from start to end that defines the result, whatever was guessed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::perf::{QueueKey, SideBand};
use crate::piece::{Join, Piece, Unit};
use crate::queue::{Account, Queue};
use crate::session::Session;
use crate::spe::{Between, Encoding, guess};
use crate::{Options, Position, Shard, Sink, TraceOffset};

/// A queue and where its pieces lie.
pub(crate) struct Collected<'a> {
    key: QueueKey,
    pieces: Vec<(Piece, &'a [u8], Position)>,
    len: usize,
}

/// A place in a queue: a piece, and bytes of it.
type Place = (usize, usize);

impl<'a> Collected<'a> {
    pub(crate) fn new(key: QueueKey) -> Self {
        Self { key, pieces: Vec::new(), len: 0 }
    }

    /// Adds a piece.
    pub(crate) fn begin(&mut self, piece: Piece, position: Position) {
        // A piece without bytes that changes nothing need not be kept.
        self.pieces.pop_if(|(piece, bytes, _)| bytes.is_empty() && piece.changes_nothing());
        self.pieces.push((piece, &[], position));
    }

    /// The bytes of the last piece.
    pub(crate) fn bytes(&mut self, bytes: &'a [u8], position: Position) {
        self.len += bytes.len();
        if let Some((_, place, at)) = self.pieces.last_mut() {
            (*place, *at) = (bytes, position);
        }
    }

    /// The queue before its first piece.
    fn before(&self) -> Queue {
        let unit = self.pieces.first().map(|(piece, ..)| &piece.unit);
        Queue::new(self.key, unit.unwrap_or(&Unit::ArmSpe(Encoding::Unknown)))
    }

    /// Decodes the bytes from one place to another.
    fn decode(
        &self,
        queue: &mut Queue,
        (first, skipped): Place,
        (last, taken): Place,
        sideband: &SideBand,
        sink: &mut impl Sink,
    ) {
        for (number, (piece, bytes, at)) in self.pieces.iter().enumerate().skip(first) {
            if number > last {
                break;
            }
            let start = if number == first { skipped } else { 0 };
            let end = if number == last { taken } else { bytes.len() };
            if start == 0 {
                queue.begin(piece.clone());
            }
            let offset = TraceOffset(at.offset.0 + start as u64);
            queue.bytes(&bytes[start..end], Position { offset, ..*at }, sideband, sink);
        }
    }

    /// Cuts the queue into about as many parts.
    fn cut(&self, parts: usize) -> Vec<(Place, Between)> {
        let whole = |piece: &Piece| {
            piece.repeated > 0
                || matches!(piece.join, Join::Snapshot { .. })
                || !matches!(piece.unit, Unit::ArmSpe(_))
        };
        if parts <= 1 || self.pieces.iter().any(|(piece, ..)| whole(piece)) {
            return Vec::new();
        }
        let mut cuts: Vec<(Place, Between)> = Vec::new();
        let mut pieces = self.pieces.iter().enumerate();
        let (mut before, mut current) = (0, pieces.next());
        for part in 1..parts {
            let target = self.len / parts * part;
            // In the first piece from there on in which a guess can be made.
            while let Some((number, (piece, bytes, _))) = current {
                let data = usize::try_from(piece.data_len).unwrap_or(usize::MAX).min(bytes.len());
                let start = target.saturating_sub(before).min(data);
                if before + data > target
                    && let Some((behind, between)) = guess(&bytes[start..data])
                {
                    let place = (number, start + behind);
                    if cuts.last().is_none_or(|(last, _)| *last < place) {
                        cuts.push((place, between));
                    }
                    break;
                }
                before += bytes.len();
                current = pieces.next();
            }
        }
        cuts
    }
}

/// A queue in parts, and how far it has come.
struct Chain<'a, S> {
    queue: Collected<'a>,
    /// Where the parts behind the first one start.
    cuts: Vec<(Place, Between)>,
    progress: Mutex<Progress<S>>,
}

struct Progress<S> {
    /// Parts up to here are settled.
    settled: usize,
    /// The state behind them, unless a thread has it and goes on.
    state: Option<Queue>,
    /// Parts that were decoded from a guess: what they gave, and the state behind them.
    guessed: Vec<Option<(S, Queue)>>,
    accounts: Vec<Account>,
}

impl<'a, S: Shard> Chain<'a, S> {
    fn new(queue: Collected<'a>, parts: usize) -> Self {
        let cuts = queue.cut(parts);
        let progress = Mutex::new(Progress {
            settled: 0,
            state: Some(queue.before()),
            guessed: (0..=cuts.len()).map(|_| None).collect(),
            accounts: Vec::new(),
        });
        Self { queue, cuts, progress }
    }

    fn progress(&self) -> MutexGuard<'_, Progress<S>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes a part: from the true state if it is known, else from the guess.
    fn decode(&self, part: usize, sideband: &SideBand, sink: &mut S) {
        let known = {
            let mut progress = self.progress();
            if progress.settled == part { progress.state.take() } else { None }
        };
        if let Some(state) = known {
            self.settle(part, state, sideband, sink, true);
        } else if let Some(((piece, taken), between)) = self.cuts.get(part.wrapping_sub(1))
            && let Some((begun, ..)) = self.queue.pieces.get(*piece)
        {
            let (key, mut shard) = (self.queue.key, sink.split());
            let mut queue = Queue::resumed(key, begun.clone(), *taken as u64, *between);
            self.run(part, &mut queue, sideband, &mut shard);
            let (settled, state) = {
                let mut progress = self.progress();
                progress.guessed[part] = Some((shard, queue));
                (progress.settled, progress.state.take())
            };
            if let Some(state) = state {
                self.settle(settled, state, sideband, sink, false);
            }
        }
    }

    fn run(&self, part: usize, queue: &mut Queue, sideband: &SideBand, sink: &mut S) {
        let place = |cut: Option<&(Place, Between)>| cut.map(|(place, _)| *place);
        let from = place(self.cuts.get(part.wrapping_sub(1))).unwrap_or_default();
        let to = place(self.cuts.get(part)).unwrap_or((usize::MAX, 0));
        self.queue.decode(queue, from, to, sideband, sink);
    }

    /// Goes on from the state before `part`, over all parts that are decoded, or `decode` it now.
    fn settle(
        &self,
        mut part: usize,
        mut state: Queue,
        sideband: &SideBand,
        sink: &mut S,
        mut decode: bool,
    ) {
        while part <= self.cuts.len() {
            let guessed = {
                let mut progress = self.progress();
                let guessed = progress.guessed[part].take();
                if guessed.is_none() && !decode {
                    (progress.settled, progress.state) = (part, Some(state));
                    return;
                }
                guessed
            };
            let known = self.cuts.get(part.wrapping_sub(1)).map(|(_, between)| *between);
            match guessed {
                Some((shard, queue)) if state.between().is_some() && state.between() == known => {
                    sink.merge(shard);
                    let before = core::mem::replace(&mut state, queue);
                    self.progress().accounts.push(before.finish());
                }
                _ => self.run(part, &mut state, sideband, sink),
            }
            (part, decode) = (part + 1, false);
        }
        self.progress().accounts.push(state.finish());
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
        let progress = chain.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        progress.accounts.into_iter().for_each(|account| session.settle(account));
    }
    session.sideband = sideband;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Origin};

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

    fn collected(bytes: &[u8]) -> Collected<'_> {
        let mut queue = Collected::new(QueueKey { idx: 0, cpu: None, tid: None });
        for (number, bytes) in bytes.chunks(100).enumerate() {
            let offset = number as u64 * 100;
            let piece = Piece {
                offset,
                data_len: bytes.len() as u64,
                join: Join::Continued,
                repeated: 0,
                breaks: Vec::new(),
                clock: None,
                reference: None,
                event: None,
                unit: Unit::ArmSpe(Encoding::Unknown),
            };
            let position = Position { file: 0, offset: TraceOffset(offset) };
            queue.begin(piece, position);
            queue.bytes(bytes, position);
        }
        queue
    }

    /// Decodes the parts in this order. Returns the ends of records, their bytes and all bytes.
    fn run(bytes: &[u8], cuts: &[(Place, Between)], order: &[usize]) -> (Ends, u64, u64) {
        let chain = Chain { cuts: cuts.to_vec(), ..Chain::<Ends>::new(collected(bytes), 1) };
        chain.progress().guessed = (0..=cuts.len()).map(|_| None).collect();
        let (mut ends, sideband) = (Ends::default(), SideBand::default());
        order.iter().for_each(|part| chain.decode(*part, &sideband, &mut ends));
        ends.0.sort_unstable();
        let progress = chain.progress.into_inner().unwrap();
        let sum = |of: fn(&Account) -> u64| progress.accounts.iter().map(of).sum();
        (ends, sum(|account| account.bytes.record), sum(|account| account.total))
    }

    #[test]
    fn no_guess_and_no_order_changes_the_result() {
        let mut trace = BRANCH.repeat(30);
        trace[100] = 0xff;
        trace.drain(301..309);
        let (_, between) = guess(&trace[400..]).unwrap();
        let whole = run(&trace, &[], &[0]);
        assert!(whole.0.0.len() > 20);
        for first in 1..trace.len() - 1 {
            let second = (first + 1 + first * 7 % 200).min(trace.len() - 1);
            // Places are within a piece, never at its start.
            let cuts: Vec<_> = [first, second]
                .into_iter()
                .filter(|place| place % 100 > 0)
                .map(|place| ((place / 100, place % 100), between))
                .collect();
            let orders: &[&[usize]] = match cuts.len() {
                2 if first < second => {
                    &[&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]]
                }
                1 => &[&[0, 1], &[1, 0]],
                _ => continue,
            };
            for order in orders {
                assert_eq!(run(&trace, &cuts, order), whole, "{first} {second} {order:?}");
            }
        }
    }

    #[test]
    fn right_guesses_are_taken() {
        let trace = BRANCH.repeat(50);
        let mut queue = collected(&trace[..100]);
        queue.pieces[0].0.data_len = 900;
        queue.bytes(&trace, Position::default());
        queue.len = 900;
        let chain = Chain::<Ends>::new(queue, 4);
        assert_eq!(chain.cuts.len(), 3);
        let sideband = SideBand::default();
        for part in [3, 1, 2] {
            chain.decode(part, &sideband, &mut Ends::default());
        }
        let mut first = Ends::default();
        chain.decode(0, &sideband, &mut first);
        assert_eq!(first.0.len(), 50, "with what was decoded before");
        let progress = chain.progress.into_inner().unwrap();
        assert_eq!(progress.accounts.len(), 4, "each part has its own");
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
