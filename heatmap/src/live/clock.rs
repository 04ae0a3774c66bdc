//! The trace's own clock, cut into epochs.
//!
//! ```text
//! a record of epoch e, while epoch `open` and the one behind it are open:
//!     e <  open:         it is late, and counts in `open`
//!     e <= open + 1:     it counts in e
//!     else:              everything before e - 1 closes, and it counts in e
//! ```
//!
//! So an epoch closes when the input has passed it by one epoch. That depends on the input's
//! content alone, not on when it is read or in what pieces, and replaying gives the same.

/// Epochs that one access may leap over. More are taken for a damaged time until others say the
/// same.
const MAX_LEAP: u64 = 64;
/// Accesses in a row that a leap over more takes.
const WITNESSES: u32 = 32;

/// Where an access belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The epoch in which it counts.
    pub(crate) epoch: u64,
    /// That is not its own, which has closed.
    pub(crate) late: bool,
}

/// Says to which epoch accesses belong and which epochs have closed.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Length of an epoch in ns.
    length: u64, // not 0
    /// The first epoch that has not closed.
    open: Option<u64>,
    /// Accesses in a row that would leap far.
    leaping: u32, // in 0..WITNESSES
}

impl Clock {
    /// A clock of epochs of so many nanoseconds, at least one.
    pub(crate) fn new(length: u64) -> Self {
        Self { length: length.max(1), open: None, leaping: 0 }
    }

    /// The first epoch that has not closed, once there was an access with a time.
    pub(crate) fn open(&self) -> Option<u64> {
        self.open
    }

    /// Where an epoch ends, in ns of the trace's clock.
    pub(crate) fn end(&self, epoch: u64) -> u64 {
        epoch.saturating_add(1).saturating_mul(self.length)
    }

    /// Where an access of this time belongs. Epochs before [`Clock::open`] have closed then.
    #[inline]
    pub(crate) fn place(&mut self, time_ns: u64) -> Placed {
        let epoch = time_ns / self.length;
        let open = *self.open.get_or_insert(epoch);
        if epoch.wrapping_sub(open) <= 1 {
            self.leaping = 0;
            return Placed { epoch, late: false };
        }
        self.place_elsewhere(epoch, open)
    }

    #[cold]
    fn place_elsewhere(&mut self, epoch: u64, open: u64) -> Placed {
        if epoch < open {
            self.leaping = 0;
            return Placed { epoch: open, late: true };
        }
        if epoch - open > MAX_LEAP {
            self.leaping += 1;
            if self.leaping < WITNESSES {
                return Placed { epoch: open, late: true };
            }
        }
        self.leaping = 0;
        self.open = Some(epoch - 1);
        Placed { epoch, late: false }
    }

    /// Closes all epochs before this one.
    pub(crate) fn advance(&mut self, open: u64) {
        self.open = self.open.max(Some(open));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: bool = true;

    fn placed(times: &[u64]) -> Vec<(u64, bool, u64)> {
        let mut clock = Clock::new(10);
        let place = |time: &u64| {
            let Placed { epoch, late } = clock.place(*time);
            (epoch, late, clock.open().unwrap())
        };
        times.iter().map(place).collect()
    }

    #[test]
    fn an_epoch_closes_once_the_input_has_passed_it_by_one() {
        assert_eq!(
            placed(&[25, 39, 24, 40, 29, 30, 49, 99, 70]),
            [
                (2, !LATE, 2),
                (3, !LATE, 2),
                (2, !LATE, 2),
                (4, !LATE, 3),
                (3, LATE, 3),
                (3, !LATE, 3),
                (4, !LATE, 3),
                (9, !LATE, 8),
                (8, LATE, 8),
            ]
        );
    }

    #[test]
    fn one_damaged_time_closes_nothing() {
        let far = u64::MAX;
        assert_eq!(placed(&[25, far, 26])[1..], [(2, LATE, 2), (2, !LATE, 2)]);
        // Others that say so are believed, in a row only.
        let mut times = vec![25];
        times.extend([far; WITNESSES as usize - 1]);
        times.push(26);
        times.extend([5000; WITNESSES as usize]);
        let last = placed(&times).pop();
        assert_eq!(last, Some((500, !LATE, 499)));
        assert_eq!(placed(&times)[times.len() - 2], (2, LATE, 2));
    }
}
