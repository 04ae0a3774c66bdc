//! Staying within a budget of time: periods that get longer while capturing costs too much, and
//! come back down to what was asked for.

use std::time::Duration;

/// What the kernel does for one sample record: an interrupt, and looking the page up. Measured
/// values are between 1 and 3 microseconds.
const SAMPLE_COST: Duration = Duration::from_micros(2);
/// A record of AUX data costs the sampled CPU about this: its unit writes it alone, and now and
/// then there is an interrupt for thousands of them.
const AUX_RECORD_COST: Duration = Duration::from_nanos(50);
/// Length of a record in AUX data.
const AUX_RECORD_LEN: u64 = 64;
/// A period is not changed for less than this.
const SLACK: f64 = 1.25;
/// Periods become at most so many times longer in one step, and in all.
const STEP: f64 = 8.0;
const LONGEST: f64 = 1e6;

/// What capturing cost in one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// How long it was.
    pub(super) elapsed: Duration,
    /// CPUs that are recorded.
    pub(super) cpus: usize,
    /// CPU time that this process spent.
    pub(super) own: Duration,
    /// Sample records that the kernel made.
    pub(super) samples: u64,
    /// Bytes of AUX data that came.
    pub(super) aux_bytes: u64,
}

impl Cost {
    /// The part of all CPUs' time that it took.
    pub(super) fn share(&self) -> f64 {
        let all = self.elapsed.as_secs_f64() * self.cpus.max(1) as f64;
        let records = self.aux_bytes / AUX_RECORD_LEN;
        let cost = self.own.as_secs_f64()
            + SAMPLE_COST.as_secs_f64() * self.samples as f64
            + AUX_RECORD_COST.as_secs_f64() * records as f64;
        if all > 0.0 { cost / all } else { 0.0 }
    }
}

/// Adapts periods to a budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// The part of all CPUs' time that may be taken.
    most: f64,
    /// By how much the periods that were asked for are stretched.
    factor: f64, // in [1, LONGEST]
}

impl Budget {
    pub(super) fn new(most: f64) -> Self {
        Self { most, factor: 1.0 }
    }

    /// By how much periods are to be stretched from now on, if that changes.
    pub(super) fn adapt(&mut self, cost: &Cost) -> Option<f64> {
        let share = cost.share();
        // A part of the cost does not depend on the period; a step more corrects that.
        let wanted =
            (self.factor * (share / self.most).clamp(1.0 / STEP, STEP)).clamp(1.0, LONGEST);
        let change = wanted / self.factor;
        if (1.0 / SLACK..=SLACK).contains(&change) && !(share > self.most && change > 1.0) {
            return None;
        }
        self.factor = wanted;
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which a period of 1 gives so many samples a second.
    fn settle(per_second: f64, most: f64) -> (f64, f64) {
        let mut budget = Budget::new(most);
        let mut share = 0.0;
        for _ in 0..20 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let samples = (per_second / budget.factor) as u64;
            let second = Duration::from_secs(1);
            let own = Duration::from_micros(200) + Duration::from_nanos(300 * samples);
            let cost = Cost { elapsed: second, cpus: 2, own, samples, aux_bytes: 0 };
            share = cost.share();
            budget.adapt(&cost);
        }
        (budget.factor, share)
    }

    #[test]
    fn a_budget_is_kept_and_used() {
        let (factor, share) = settle(1e6, 0.01);
        assert!(factor > 50.0, "{factor}");
        assert!((0.005..=0.0101).contains(&share), "{share}");
        assert_eq!(settle(10.0, 0.01).0, 1.0, "nothing is stretched without need");
    }

    #[test]
    fn what_was_stretched_comes_back() {
        let mut budget = Budget::new(0.01);
        let second = Duration::from_secs(1);
        let busy = Cost { elapsed: second, cpus: 1, own: second, samples: 0, aux_bytes: 0 };
        assert_eq!(budget.adapt(&busy), Some(STEP));
        let idle = Cost { own: Duration::ZERO, ..busy };
        assert_eq!(budget.adapt(&idle), Some(1.0));
        assert_eq!(budget.adapt(&idle), None);
    }
}
