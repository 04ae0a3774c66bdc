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
use crate::session::Session;
use crate::spe::{Between, ByteAccount, Join, Piece, Queue, Timed, guess};
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
        let again =
            |piece: &Piece| piece.repeated > 0 || matches!(piece.join, Join::Snapshot { .. });
        if parts <= 1 || self.pieces.iter().any(|(piece, ..)| again(piece)) {
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
    accounts: Vec<(ByteAccount, u64, Timed)>,
}

impl<'a, S: Shard> Chain<'a, S> {
    fn new(queue: Collected<'a>, parts: usize) -> Self {
        let cuts = queue.cut(parts);
        let progress = Mutex::new(Progress {
            settled: 0,
            state: Some(Queue::new(queue.key)),
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
    let wanted = (share / 2).max(least).max(1);
    lens.iter().map(|len| (len / wanted).max(1)).collect()
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
