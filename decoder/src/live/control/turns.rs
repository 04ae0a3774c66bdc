//! Whose turn it is: whether somebody else uses our unit too, and when they are to have it alone.
//!
//! Two users of a unit with one counter have it by turns, for which the kernel sees (it calls that
//! multiplexing). Of each event it tells how long it was enabled, and for how much of that the unit
//! worked for it (`PERF_FORMAT_TOTAL_TIME_*` in `man 2 perf_event_open`). Once a second:
//!
//! ```text
//! enabled 1 s, running 1.00 s    the unit is ours alone: go on
//! enabled 1 s, running 0.52 s    it is shared: give way, which is to have all events off
//! after 10 s                     come back, and look again a second later
//! ```
//!
//! What this cannot see:
//! - Who was refused. Arm SPE is never shared: whoever wants it while we have it gets EBUSY, for a
//!   CPU or for a task, and we are told nothing of it (`PERF_PMU_CAP_EXCLUSIVE`; see
//!   `exclusive_event_installable` in `kernel/events/core.c`).
//! - Sharing in captures of a process: its events are enabled and not running for other reasons.
//! - That another one gives way too. Two of us who share a unit have it for seconds at a time, and
//!   may both leave it at once.

use std::collections::BTreeMap;
use std::time::Duration;

/// Less than this part of an event's time, and somebody else has the rest. What the kernel itself
/// takes, as when it moves events about, is far less.
const SHARED: f64 = 0.95;
/// An event that was enabled for less in a second says nothing.
const LEAST_ENABLED: Duration = Duration::from_millis(100);
/// How long the unit is left to others, until we look whether they still want it.
const PAUSE: Duration = Duration::from_secs(10);

/// How long an event was enabled, and for how much of that its unit worked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::live) struct Times {
    pub(in crate::live) enabled: Duration,
    pub(in crate::live) running: Duration,
}

impl Times {
    /// What came since `before`; all of it if they are those of a new event.
    fn since(self, before: Self) -> Self {
        let enabled = self.enabled.checked_sub(before.enabled);
        let running = self.running.checked_sub(before.running);
        match (enabled, running) {
            (Some(enabled), Some(running)) => Self { enabled, running },
            _ => self,
        }
    }

    /// The part of its time that the unit worked for it; `None` if it was hardly enabled.
    fn share(self) -> Option<f64> {
        (self.enabled >= LEAST_ENABLED)
            .then(|| (self.running.as_secs_f64() / self.enabled.as_secs_f64()).min(1.0))
    }
}

/// An event that is open: its CPU, and which of those that are open there.
pub(in crate::live) type Place = (u32, usize);

/// Looks at what the kernel tells of all events, and decides.
#[derive(Clone, Debug)]
pub(in crate::live) struct Turns {
    gives_way: bool,
    seen: BTreeMap<Place, Times>,
    /// It was shared in some second.
    shared: bool,
    /// Since when events are off for somebody else.
    away: Option<Duration>,
    /// How long they were, before that.
    gave_way: Duration,
}

impl Turns {
    /// `gives_way` says that others go first; else sharing is only told of.
    pub(in crate::live) fn new(gives_way: bool) -> Self {
        let seen = BTreeMap::new();
        Self { gives_way, seen, shared: false, away: None, gave_way: Duration::ZERO }
    }

    /// Takes what the kernel tells of all events at `now`, once a second. Whether it is somebody
    /// else's turn: events are to be off.
    ///
    /// All of them give way, also if the unit is shared on one CPU only.
    pub(in crate::live) fn look(&mut self, now: Duration, events: &[(Place, Times)]) -> bool {
        let mut least = 1.0f64;
        for (place, times) in events {
            let before = self.seen.insert(*place, *times).unwrap_or_default();
            least = times.since(before).share().map_or(least, |share| least.min(share));
        }
        if let Some(since) = self.away {
            if now.saturating_sub(since) >= PAUSE {
                self.gave_way = self.gave_way(now);
                self.away = None;
            }
        } else if least < SHARED {
            self.shared = true;
            self.away = self.gives_way.then_some(now);
        }
        self.is_away()
    }

    /// Whether it is somebody else's turn.
    pub(in crate::live) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// How long events were off for somebody else.
    pub(in crate::live) fn gave_way(&self, now: Duration) -> Duration {
        self.gave_way + self.away.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// If the unit was shared: the part of the time in which events were on that it worked for
    /// us, on the CPU where that was least.
    pub(in crate::live) fn shared(&self) -> Option<f64> {
        let shares = self.seen.values().filter_map(|times| times.share());
        self.shared.then(|| shares.fold(1.0, f64::min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: bool = false;
    const THEIRS: bool = true;

    /// Looks once a second at one event, of which each second's enabled and running milliseconds
    /// are given.
    fn decisions(turns: &mut Turns, seconds: &[(u64, u64)]) -> Vec<bool> {
        let mut total = Times::default();
        let seconds = (1..).zip(seconds).map(|(second, (enabled, running))| {
            total.enabled += Duration::from_millis(*enabled);
            total.running += Duration::from_millis(*running);
            turns.look(Duration::from_secs(second), &[((0, 0), total)])
        });
        seconds.collect()
    }

    #[test]
    fn a_unit_of_our_own_is_kept() {
        let mut turns = Turns::new(true);
        let seconds = [(1000, 1000), (1000, 996), (1000, 950), (40, 0), (0, 0)];
        assert_eq!(decisions(&mut turns, &seconds), [OURS; 5]);
        assert_eq!(
            (turns.shared(), turns.gave_way(Duration::from_secs(9))),
            (None, Duration::ZERO)
        );
    }

    #[test]
    fn a_shared_unit_is_left_and_tried_again() {
        let mut turns = Turns::new(true);
        let mut seconds = vec![(1000, 1000), (1000, 520)];
        // Off for ten seconds; on again, still shared; and so on until the other one is gone.
        seconds.extend([(0, 0); 10]);
        seconds.push((1000, 500));
        seconds.extend([(0, 0); 10]);
        seconds.extend([(1000, 1000); 3]);
        let mut want = vec![OURS];
        want.extend([THEIRS; 10]);
        want.push(OURS);
        want.extend([THEIRS; 10]);
        want.extend([OURS; 4]);
        assert_eq!(decisions(&mut turns, &seconds), want);
        assert!(!turns.is_away());
        assert_eq!(turns.gave_way(Duration::from_secs(30)), Duration::from_secs(20));
        let ours = turns.shared().unwrap();
        assert!((ours - 5.02 / 6.0).abs() < 1e-9, "{ours}: of the time in which events were on");
    }

    #[test]
    fn what_is_given_up_counts_until_now() {
        let mut turns = Turns::new(true);
        assert_eq!(decisions(&mut turns, &[(1000, 0)]), [THEIRS]);
        assert!(turns.is_away());
        assert_eq!(turns.gave_way(Duration::from_millis(4500)), Duration::from_millis(3500));
        assert_eq!(turns.shared(), Some(0.0));
    }

    #[test]
    fn who_does_not_give_way_is_told() {
        let mut turns = Turns::new(false);
        assert_eq!(decisions(&mut turns, &[(1000, 400), (1000, 600)]), [OURS; 2]);
        assert_eq!((turns.shared(), turns.is_away()), (Some(0.5), false));
    }

    #[test]
    fn one_cpu_of_many_is_enough() {
        let second = Duration::from_secs(1);
        let times = |running| Times { enabled: second, running: Duration::from_millis(running) };
        let events =
            |running| (0..64).map(|cpu| ((cpu, 0), times(1000))).chain([((64, 1), running)]);
        let mut turns = Turns::new(true);
        assert_eq!(turns.look(second, &events(times(950)).collect::<Vec<_>>()), OURS);
        let mut turns = Turns::new(true);
        assert_eq!(turns.look(second, &events(times(940)).collect::<Vec<_>>()), THEIRS);
    }

    /// A CPU went and came back: its event is a new one, whose times start at 0.
    #[test]
    fn the_times_of_a_new_event_are_its_own() {
        let at = |enabled, running| {
            let (enabled, running) = (Duration::from_secs(enabled), Duration::from_secs(running));
            [((3, 0), Times { enabled, running })]
        };
        let mut turns = Turns::new(true);
        assert_eq!(turns.look(Duration::from_secs(9), &at(9, 9)), OURS);
        assert_eq!(turns.look(Duration::from_secs(10), &at(1, 1)), OURS);
        assert_eq!(turns.look(Duration::from_secs(12), &at(3, 2)), THEIRS);
    }
}
