//! Memory that several stores may use together.

#[cfg(all(test, loom))]
use loom::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(all(test, loom)))]
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// One store's part of a budget that others share. What is taken is given back when the part is
/// dropped.
#[derive(Debug)]
pub(crate) struct Share {
    limit: usize,
    /// Bytes that all shares have taken.
    all: Arc<AtomicUsize>,
    /// Bytes that this one has taken.
    used: usize,
}

impl Share {
    /// A budget of `limit` bytes, and the first share of it.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, all: Arc::new(AtomicUsize::new(0)), used: 0 }
    }

    /// Another share of the same budget.
    pub(crate) fn split(&self) -> Self {
        Self { limit: self.limit, all: Arc::clone(&self.all), used: 0 }
    }

    /// Takes `bytes` if the budget holds them.
    pub(crate) fn try_take(&mut self, bytes: usize) -> bool {
        let sum = |all: usize| all.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let fits = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok();
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Takes `bytes` if no more than a part of the budget is used then.
    pub(crate) fn try_take_within(&mut self, bytes: usize, part: usize) -> bool {
        let room = self.all.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit / part;
        room && self.try_take(bytes)
    }

    /// Takes `bytes`, also if the budget does not hold them.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.used += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back that were taken.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.used -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes over `bytes` that another share of the same budget has taken.
    pub(crate) fn take_over(&mut self, other: &mut Self, bytes: usize) {
        debug_assert!(Arc::ptr_eq(&self.all, &other.all), "they share a budget");
        other.used -= bytes;
        self.used += bytes;
    }

    /// By how much the budget is exceeded once `bytes` more are taken.
    pub(crate) fn over(&self, bytes: usize) -> usize {
        self.all.load(Ordering::Relaxed).saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Bytes that this share has taken.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

/// A copy takes as much again.
impl Clone for Share {
    fn clone(&self) -> Self {
        let mut share = self.split();
        share.take(self.used);
        share
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let mut first = Share::new(100);
        let mut second = first.split();
        assert!(first.try_take(60) && !second.try_take(41) && second.try_take(40));
        assert_eq!(first.over(5), 5);
        let copy = second.clone();
        assert_eq!((copy.used(), first.over(0)), (40, 40));
        drop(copy);
        first.take_over(&mut second, 30);
        assert_eq!((first.used(), second.used(), first.over(0)), (90, 10, 0));
        drop(second);
        assert!(first.try_take(10));
        first.give_back(100);
        assert_eq!((first.used(), first.over(100)), (0, 0));
    }

    #[test]
    fn two_shares_never_take_more_than_there_is() {
        let test = || {
            #[cfg(loom)]
            use loom::thread;
            #[cfg(not(loom))]
            use std::thread;
            let mut first = Share::new(100);
            let mut second = first.split();
            let other = thread::spawn(move || (second.try_take(60), second));
            let taken = first.try_take(60);
            let (other_taken, second) = other.join().unwrap();
            assert!(taken != other_taken, "one of them");
            drop(second);
            assert_eq!(first.over(100), if taken { 60 } else { 0 });
        };
        #[cfg(loom)]
        loom::model(test);
        #[cfg(not(loom))]
        test();
    }
}
