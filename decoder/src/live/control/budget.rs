//! Staying within a budget of time.
//!
//! What is captured is made less in two ways:
//!
//! - Periods get longer, and come back down to what was asked for. Samples stay evenly spread.
//! - Where that does not help, events rest until the budget has caught up. Tasks of a command or
//!   process keep the period that they started with: only those that start later get the new one.
//!
//! An account is kept in seconds of the budget: time adds to it, costs take from it. What was
//! spent in the first moments at full rate, or in a burst, is thereby saved afterwards, and the
//! average over the whole run stays below what may be spent:
//!
//! ```text
//! account   2 s   what was saved is kept up to here: a quiet hour pays for no loud minute
//!           1 s   kept for the next burst: periods are as the budget allows
//!           0 s   the beginning: half of the budget
//!         < 0 s   overspent: nearly nothing; and if costs stay above that, rest until 0.75 s
//! ```
//!
//! The cost that no period changes (waking, looking at all rings, being told of tasks) is learned
//! from calm moments. If that alone is above the budget, samples get a twentieth of it, and
//! whoever asks is told.

use std::time::Duration;

/// What the kernel does for one sample record: an interrupt, and looking the page up. Measured
/// values are between 1 and 3 microseconds.
const SAMPLE_COST: Duration = Duration::from_micros(2);
/// A record of what tasks do, most of them of a switch: 0.46 to 0.53 microseconds, by how much
/// longer `perf bench sched pipe` takes with them.
const SIDE_RECORD_COST: Duration = Duration::from_nanos(500);
/// A record of AUX data costs the sampled CPU about this: its unit writes it alone, and now and
/// then there is an interrupt for thousands of them.
const AUX_RECORD_COST: Duration = Duration::from_nanos(50);
/// Length of a record in AUX data.
pub(in crate::live) const AUX_RECORD_LEN: u64 = 64;

/// The part of the budget that is aimed at.
const AIM: f64 = 0.95;
/// The least part of the budget that samples get, whatever else costs.
const LEAST: f64 = 0.05;
/// Costs are looked at this often; earlier, but not before the second, if they take `EARLY`
/// seconds of the budget.
const EVERY: Duration = Duration::from_millis(100);
const SOONEST: Duration = Duration::from_millis(1);
const EARLY: f64 = 0.2;
/// A ring wakes us at the latest when its samples took so many seconds of its CPU's budget.
const WAKING: f64 = 0.1;
/// What the account holds at most, what is to be kept in it, and how fast it comes back to that:
/// all in seconds.
const MOST_KEPT: f64 = 2.0;
const KEPT: f64 = 1.0;
const BACK_IN: f64 = 2.0;
/// So many looks in a row at too high costs say that longer periods do not help.
const IN_VAIN: u32 = 3;
/// Events rest until the account holds this.
const RESTED: f64 = 0.75;
/// How long what was seen counts, in seconds: of what samples would cost at full rate, if that
/// falls, and of what the process itself costs.
const DEMAND_KEPT: f64 = 0.7;
const OWN_KEPT: f64 = 1.0;
/// In so many seconds the process itself may turn out to cost as much as the whole budget: while
/// there are samples, which cost it too, and while events rest.
const FIXED_RISE: (f64, f64) = (10.0, 1.0);
/// A period is not changed for less than this.
const SLACK: f64 = 1.25;
/// Periods become at most so many times longer.
const LONGEST: f64 = 1e4;

/// Samples, and records of AUX data, at which a ring is to wake us for costs to be seen in time.
pub(in crate::live) fn waking(most: f64) -> (f64, f64) {
    let time = most * WAKING;
    (time / SAMPLE_COST.as_secs_f64(), time / AUX_RECORD_COST.as_secs_f64())
}

/// What capturing cost in one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::live) struct Cost {
    /// How long it was.
    pub(in crate::live) elapsed: Duration,
    /// CPUs that are recorded.
    pub(in crate::live) cpus: usize,
    /// CPU time that this process spent.
    pub(in crate::live) own: Duration,
    /// Sample records that the kernel made.
    pub(in crate::live) samples: u64,
    /// Records of what tasks do that the kernel made.
    pub(in crate::live) side_records: u64,
    /// Bytes of AUX data that came.
    pub(in crate::live) aux_bytes: u64,
}

impl Cost {
    /// The part of all CPUs' time that it took.
    pub(in crate::live) fn share(&self) -> f64 {
        let records = self.aux_bytes / AUX_RECORD_LEN;
        let kernel = SAMPLE_COST.as_secs_f64() * self.samples as f64
            + AUX_RECORD_COST.as_secs_f64() * records as f64;
        self.own_share() + self.part(kernel)
    }

    /// The part of it that this process took, and telling it what tasks do.
    fn own_share(&self) -> f64 {
        let tasks = SIDE_RECORD_COST.as_secs_f64() * self.side_records as f64;
        self.part(self.own.as_secs_f64() + tasks)
    }

    fn part(&self, seconds: f64) -> f64 {
        let all = self.elapsed.as_secs_f64() * self.cpus.max(1) as f64;
        if all > 0.0 { seconds / all } else { 0.0 }
    }
}

/// How much is to be captured from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::live) struct Pace {
    /// By how much the periods that were asked for are stretched.
    pub(in crate::live) factor: f64, // in [1, LONGEST]
    /// Events are off.
    pub(in crate::live) rests: bool,
}

/// Adapts the pace to a budget.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct Budget {
    /// The part of all CPUs' time that may be taken.
    most: f64,
    pace: Pace,
    /// Seconds of the budget that were not spent.
    account: f64, // at most MOST_KEPT
    /// The part of the time that samples would take at the periods that were asked for.
    demand: f64,
    /// The part that this process took lately, and what it takes without samples.
    own: f64,
    fixed: f64,
    /// Looks in a row at which samples cost more than they may.
    over: u32,
}

impl Budget {
    pub(in crate::live) fn new(most: f64) -> Self {
        let pace = Pace { factor: 1.0, rests: false };
        Self { most, pace, account: 0.0, demand: 0.0, own: 0.0, fixed: 0.0, over: 0 }
    }

    /// The part of the time that this process takes whatever it captures, as far as is known.
    pub(in crate::live) fn fixed(&self) -> f64 {
        self.fixed
    }

    /// Whether events are off.
    pub(in crate::live) fn rests(&self) -> bool {
        self.pace.rests
    }

    /// Whether a span is long enough, or dear enough, to look at.
    pub(in crate::live) fn is_due(&self, cost: &Cost) -> bool {
        let spent = cost.share() / self.most * cost.elapsed.as_secs_f64();
        cost.elapsed >= EVERY || cost.elapsed >= SOONEST && spent >= EARLY
    }

    /// The pace from now on, if it changes, after a span that cost this.
    pub(in crate::live) fn adapt(&mut self, cost: &Cost) -> Option<Pace> {
        let before = self.pace;
        let elapsed = cost.elapsed.as_secs_f64();
        self.learn_fixed(cost.own_share(), elapsed);
        let samples = (cost.share() - self.fixed).max(0.0);
        let aim = AIM * self.most;
        // Of what no period changes, no more is charged than leaves samples their least part.
        let fixed = self.fixed.min((1.0 - LEAST) * aim);
        self.account = (self.account + elapsed * (1.0 - (samples + fixed) / aim)).min(MOST_KEPT);
        let room = aim * (1.0 + (self.account - KEPT) / BACK_IN) - fixed;
        let room = room.max(LEAST * aim);
        if self.pace.rests {
            self.pace.rests = self.account < RESTED;
            // Afterwards one look is enough.
            self.over = IN_VAIN - 1;
        } else {
            self.stretch(samples, room, elapsed);
            self.pace.rests = self.over >= IN_VAIN && self.account < 0.0;
        }
        (self.pace != before).then_some(self.pace)
    }

    /// Learns what the process costs without samples: what it costs in calm moments.
    fn learn_fixed(&mut self, own: f64, elapsed: f64) {
        self.own += (own - self.own) * (1.0 - (-elapsed / OWN_KEPT).exp());
        let rise = if self.pace.rests { FIXED_RISE.1 } else { FIXED_RISE.0 };
        self.fixed = self.own.min(self.fixed + self.most * elapsed / rise);
    }

    /// Sets periods by what samples cost and may cost.
    fn stretch(&mut self, samples: f64, room: f64, elapsed: f64) {
        self.over = if samples > 2.0 * room { self.over + 1 } else { 0 };
        let demand = samples * self.pace.factor;
        // It falls slowly: who paused may go on at once.
        let part = if demand > self.demand { 1.0 } else { 1.0 - (-elapsed / DEMAND_KEPT).exp() };
        self.demand += (demand - self.demand) * part;
        let wanted = (self.demand / room).clamp(1.0, LONGEST);
        let change = wanted / self.pace.factor;
        if !(1.0 / SLACK..=SLACK).contains(&change) || wanted <= 1.0 {
            self.pace.factor = wanted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of two CPUs, on which samples come as its load says.
    struct Machine {
        /// Samples a second at the periods that were asked for, at a time in seconds.
        load: fn(f64) -> f64,
        /// Part of each second that the process takes without samples.
        fixed: f64,
        /// What it takes for each sample.
        own_sample: f64,
        /// Tasks that keep their periods.
        stubborn: bool,
    }

    /// How a run went.
    #[derive(Debug)]
    struct Went {
        /// The greatest average, of any run of 5 s or more.
        greatest: f64,
        /// The average of the whole run.
        average: f64,
        rested: f64,
        samples: f64,
        factor: f64,
        fixed: f64,
    }

    const CPUS: usize = 2;
    /// A ring is full enough to wake us at so many samples, budget or not.
    const FILLED: f64 = 1800.0;
    const STEP: f64 = 0.0001;

    impl Machine {
        /// So many seconds with this budget.
        fn run(&self, most: f64, seconds: f64) -> Went {
            let mut budget = Budget::new(most);
            let mut pace = budget.pace;
            let (mut time, mut spent, mut all_samples) = (0.0, 0.0, 0.0);
            let mut went = Went {
                greatest: 0.0,
                average: 0.0,
                rested: 0.0,
                samples: 0.0,
                factor: 1.0,
                fixed: 0.0,
            };
            // Since the last pass, and since the last look.
            let (mut waiting, mut passed) = (0.0, 0.0);
            let (mut span, mut own, mut samples) = (0.0, 0.0, 0.0);
            // All rings may be nearly full.
            let mark = CPUS as f64 * FILLED.min(waking(most).0);
            let cost_of_one = SAMPLE_COST.as_secs_f64() + self.own_sample;
            while time < seconds {
                time += STEP;
                span += STEP;
                passed += STEP;
                let factor = if self.stubborn { 1.0 } else { pace.factor };
                // No machine makes more samples than it has time for.
                let most_samples = CPUS as f64 * STEP / cost_of_one;
                let new = ((self.load)(time) * STEP / factor).min(most_samples);
                let new = if pace.rests { 0.0 } else { new };
                went.rested += if pace.rests { STEP } else { 0.0 };
                waiting += new;
                own += self.fixed * STEP + self.own_sample * new;
                spent += self.fixed * STEP + cost_of_one * new;
                if passed >= 0.1 || waiting >= mark {
                    samples += waiting;
                    all_samples += waiting;
                    (waiting, passed) = (0.0, 0.0);
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    let count = samples as u64;
                    let (elapsed, used) =
                        (Duration::from_secs_f64(span), Duration::from_secs_f64(own));
                    let cost =
                        Cost { elapsed, cpus: CPUS, own: used, samples: count, ..Cost::default() };
                    if budget.is_due(&cost) {
                        pace = budget.adapt(&cost).unwrap_or(pace);
                        (span, own, samples) = (0.0, 0.0, samples - count as f64);
                    }
                }
                went.average = spent / (time * CPUS as f64);
                if time >= 5.0 {
                    went.greatest = went.greatest.max(went.average);
                }
            }
            (went.samples, went.factor, went.fixed) = (all_samples, pace.factor, budget.fixed());
            went
        }
    }

    /// A light process on a machine with this load.
    fn machine(load: fn(f64) -> f64) -> Machine {
        Machine { load, fixed: 2e-4, own_sample: 3e-7, stubborn: false }
    }

    const BUDGETS: [f64; 4] = [0.001, 0.005, 0.01, 0.05];

    #[test]
    fn a_steady_load_is_kept_within_the_budget_and_uses_it() {
        for most in BUDGETS {
            for load in [|_| 2e4, |_| 2e5, |_| 1e6, |_| 1e7] as [fn(f64) -> f64; 4] {
                let went = machine(load).run(most, 30.0);
                assert!(went.greatest <= most, "{most}: {went:?}");
                let needed = 2.3e-6 * load(0.0) / CPUS as f64;
                assert!(went.average >= 0.8 * needed.min(most), "{most}: {went:?}");
            }
        }
    }

    #[test]
    fn bursts_are_paid_back() {
        // On and off every second; a tenth of a second in each; one that comes late.
        let loads: [fn(f64) -> f64; 4] = [
            |time| if time % 2.0 < 1.0 { 1e6 } else { 0.0 },
            |time| if time % 1.0 < 0.1 { 1e6 } else { 100.0 },
            |time| if time > 4.0 { 1e6 } else { 1e4 },
            |time| if (time * 7.0).sin() > 0.9 { 5e5 } else { 5e3 },
        ];
        for most in BUDGETS {
            for (number, load) in loads.iter().enumerate() {
                let went = machine(*load).run(most, 30.0);
                assert!(went.greatest <= most, "{most}, load {number}: {went:?}");
                assert!(went.average >= most / 4.0, "{most}, load {number}: {went:?}");
            }
        }
    }

    #[test]
    fn nothing_changes_without_need() {
        for load in [|_| 0.0, |_| 10.0, |_| 1000.0] as [fn(f64) -> f64; 3] {
            let went = machine(load).run(0.01, 20.0);
            assert_eq!((went.factor, went.rested), (1.0, 0.0), "{went:?}");
        }
    }

    #[test]
    fn what_was_stretched_comes_back() {
        let went = machine(|time| if time < 5.0 { 1e6 } else { 10.0 }).run(0.01, 30.0);
        assert_eq!(went.factor, 1.0, "{went:?}");
        let went = machine(|time| if time < 5.0 { 1e6 } else { 10.0 }).run(0.01, 5.0);
        assert!(went.factor > 20.0, "{went:?}");
    }

    #[test]
    fn tasks_that_keep_their_periods_rest() {
        for most in BUDGETS {
            for load in [|_| 1e5, |_| 1e6] as [fn(f64) -> f64; 2] {
                let went = Machine { stubborn: true, ..machine(load) }.run(most, 30.0);
                assert!(went.greatest <= most, "{most}: {went:?}");
                assert!(went.rested > 10.0 && went.samples > 0.0, "{most}: {went:?}");
            }
        }
    }

    #[test]
    fn what_no_period_changes_leaves_samples_a_little() {
        let machine = Machine { fixed: 0.04, ..machine(|_| 1e6) };
        let went = machine.run(0.01, 60.0);
        assert!((0.018..0.0215).contains(&went.fixed), "{went:?}");
        assert!(went.average < 0.0215, "{went:?}");
        assert!(went.samples > 500.0, "{went:?}");
        let enough = machine.run(0.03, 60.0);
        assert!(enough.greatest <= 0.03 && enough.average > 0.024, "{enough:?}");
    }
}
