//! Parts of a chain that threads do in any order and that count in the order of the chain.
//!
//! A part is done from the state behind the part before it, if that state is there. If it is not,
//! the part is done ahead, from a guess, and waits. The state belongs to one thread at a time: who
//! has it settles part after part, as long as the next one waits, and puts it back otherwise.
//!
//! ```text
//! begin:   the state, if all parts before this one are settled; else nothing: do it ahead
//! waits:   a part that was done ahead. Gives the state and the next part if nobody has the state
//!          and that part waits
//! settled: the state behind one more part. Gives it back with the next part if that waits
//! ```
//!
//! A thread is given the state only together with a part to settle. So the thread that begins the
//! next part finds the state, and a waiting part is settled by the thread that adds it, or by the
//! one that has the state at that time.

#[cfg(all(test, loom))]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, loom)))]
use std::sync::{Mutex, MutexGuard};

/// How far a chain has come.
#[derive(Debug)]
pub(crate) struct HandOver<State, Part>(Mutex<Progress<State, Part>>);

#[derive(Debug)]
struct Progress<State, Part> {
    /// Parts before this one are settled.
    settled: usize,
    /// The state behind them, unless a thread has it and goes on.
    state: Option<State>,
    /// Parts that were done ahead, each in its place.
    waiting: Vec<Option<Part>>,
}

impl<State, Part> Progress<State, Part> {
    /// The number of the next part, the state before it and the part, if both are there.
    fn next(&mut self) -> Option<(usize, State, Part)> {
        let next = self.settled;
        let waits = self.waiting.get_mut(next).filter(|part| part.is_some())?;
        let state = self.state.take()?;
        waits.take().map(|part| (next, state, part))
    }
}

impl<State, Part> HandOver<State, Part> {
    /// A chain of so many parts, and the state before the first one.
    pub(crate) fn new(parts: usize, state: State) -> Self {
        let waiting = (0..parts).map(|_| None).collect();
        Self(Mutex::new(Progress { settled: 0, state: Some(state), waiting }))
    }

    /// Nothing that is done under the lock can leave it half done.
    fn lock(&self) -> MutexGuard<'_, Progress<State, Part>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Begins a part. Returns the state before it, if it is there. Each part is begun once.
    pub(crate) fn begin(&self, part: usize) -> Option<State> {
        let mut progress = self.lock();
        if progress.settled == part { progress.state.take() } else { None }
    }

    /// A part was done ahead. Returns what to settle now, if anything.
    pub(crate) fn waits(&self, part: usize, done: Part) -> Option<(usize, State, Part)> {
        let mut progress = self.lock();
        if let Some(place) = progress.waiting.get_mut(part) {
            *place = Some(done);
        }
        progress.next()
    }

    /// One more part is settled, and this is the state behind it. Returns what to settle next, if
    /// anything.
    pub(crate) fn settled(&self, state: State) -> Option<(usize, State, Part)> {
        let mut progress = self.lock();
        progress.settled += 1;
        progress.state = Some(state);
        progress.next()
    }

    /// The state behind the last part, if all are settled.
    #[cfg(test)]
    pub(crate) fn into_last(self) -> Option<State> {
        let mut progress = self.lock();
        let all = progress.settled == progress.waiting.len();
        progress.state.take().filter(|_| all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(loom)]
    use loom::{
        sync::Arc,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };
    #[cfg(not(loom))]
    use std::{
        sync::Arc,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    /// Runs a test in all orders in which its threads may take their turns, or once. `turns`: in
    /// those alone in which so many turns are taken from a thread that could go on.
    fn every_order(turns: Option<usize>, test: impl Fn() + Send + Sync + 'static) {
        #[cfg(loom)]
        {
            let mut orders = loom::model::Builder::new();
            orders.preemption_bound = turns;
            orders.check(test);
        }
        #[cfg(not(loom))]
        {
            let _ = turns;
            test();
        }
    }

    /// A thread takes parts of a chain, as `decode_queues` has it do.
    fn work(chain: &HandOver<Vec<usize>, usize>, next: &AtomicUsize, parts: usize) {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return;
            }
            let mut going_on = match chain.begin(part) {
                Some(mut state) => {
                    state.push(part);
                    chain.settled(state)
                }
                None => {
                    assert!(part > 0, "before the first part nothing is guessed");
                    chain.waits(part, part)
                }
            };
            while let Some((number, mut state, part)) = going_on {
                assert_eq!((number, part), (state.len(), number));
                state.push(part);
                going_on = chain.settled(state);
            }
        }
    }

    fn all_parts_are_settled_in_order(threads: usize, parts: usize, turns: Option<usize>) {
        every_order(turns, move || {
            let chain = Arc::new(HandOver::<Vec<usize>, usize>::new(parts, Vec::new()));
            let next = Arc::new(AtomicUsize::new(0));
            let others: Vec<_> = (1..threads)
                .map(|_| {
                    let (chain, next) = (Arc::clone(&chain), Arc::clone(&next));
                    thread::spawn(move || work(&chain, &next, parts))
                })
                .collect();
            work(&chain, &next, parts);
            others.into_iter().for_each(|thread| thread.join().unwrap());
            let chain = Arc::try_unwrap(chain).unwrap();
            assert_eq!(chain.into_last(), Some((0..parts).collect()));
        });
    }

    #[test]
    fn two_threads_settle_all_parts_in_order() {
        all_parts_are_settled_in_order(2, 4, None);
    }

    #[test]
    fn three_threads_settle_all_parts_in_order() {
        all_parts_are_settled_in_order(3, 4, Some(2));
    }

    #[test]
    fn a_chain_that_is_not_settled_has_no_last_state() {
        every_order(None, || {
            let chain = HandOver::<u8, u8>::new(2, 7);
            assert_eq!(chain.waits(1, 1), None, "the part before it is not begun");
            assert_eq!(chain.begin(0), Some(7));
            assert_eq!(chain.into_last(), None);
        });
    }
}
