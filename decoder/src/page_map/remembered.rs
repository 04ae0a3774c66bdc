//! A memory that is bounded in number and in age.

use core::hash::Hash;
use core::mem::swap;
use core::time::Duration;
use std::collections::HashMap;

/// Values by key, for a while. Of the latest, at least half as many as fit are kept.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    // A key is in one of the two. `new` has less than half of `most`, `old` at most half.
    new: HashMap<K, (V, Duration)>,
    old: HashMap<K, (V, Duration)>,
    most: usize, // at least 2
    age: Duration,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// Remembers at most `most` values (2 if that is less), each for less than `age`.
    pub(super) fn new(most: usize, age: Duration) -> Self {
        Self { new: HashMap::new(), old: HashMap::new(), most: most.max(2), age }
    }

    /// The value of a key, unless it is too old by now.
    pub(super) fn get(&self, key: &K, now: Duration) -> Option<&V> {
        let (value, since) = self.new.get(key).or_else(|| self.old.get(key))?;
        (now.saturating_sub(*since) < self.age).then_some(value)
    }

    /// Remembers a value from now on.
    pub(super) fn put(&mut self, key: K, value: V, now: Duration) {
        self.old.remove(&key);
        self.new.insert(key, (value, now));
        if self.new.len() >= self.most / 2 {
            swap(&mut self.new, &mut self.old);
            self.new.clear();
        }
    }

    /// Forgets a key.
    pub(super) fn forget(&mut self, key: &K) {
        self.new.remove(key);
        self.old.remove(key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(1);

    #[test]
    fn the_bound_holds_and_the_latest_half_stays() {
        for most in [2, 3, 8, 9] {
            let mut memory = Remembered::new(most, AGE);
            for key in 0..100_usize {
                memory.put(key, key, Duration::ZERO);
                assert!(memory.len() <= most, "{} of {most}", memory.len());
                let latest = (key + 1).saturating_sub(most / 2)..=key;
                for key in latest {
                    assert_eq!(memory.get(&key, Duration::ZERO), Some(&key), "of {most}");
                }
            }
            assert_eq!(memory.get(&0, Duration::ZERO), None, "of {most}");
        }
    }

    #[test]
    fn values_go_by_age_and_are_replaced() {
        let mut memory = Remembered::new(8, AGE);
        memory.put('a', 1, Duration::ZERO);
        assert_eq!(memory.get(&'a', AGE - Duration::from_nanos(1)), Some(&1));
        assert_eq!(memory.get(&'a', AGE), None);
        memory.put('a', 2, AGE);
        assert_eq!((memory.get(&'a', AGE), memory.len()), (Some(&2), 1));
        // A clock that goes back makes nothing older.
        assert_eq!(memory.get(&'a', Duration::ZERO), Some(&2));
        memory.forget(&'a');
        assert_eq!((memory.get(&'a', AGE), memory.len()), (None, 0));
    }
}
