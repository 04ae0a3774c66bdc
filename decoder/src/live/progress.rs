//! How a capture goes, or went.

use std::time::Duration;

use super::control::command::CommandEnd;
use super::ring::cpu_rings::Passed;

/// How a capture goes, or went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Since it began.
    pub elapsed: Duration,
    /// Passes over all rings.
    pub passes: u64,
    /// What came out of them.
    pub total: Passed,
    /// CPU time that this process has spent since it began.
    pub own: Duration,
    /// The part of all recorded CPUs' time that capturing took in the last second: our own, and an
    /// estimate of what the kernel does for each sample.
    pub overhead: f64,
    /// The period of the first event as it was asked for.
    pub period: u64,
    /// As `overhead`, on average since it began.
    pub average_overhead: f64,
    /// The part of that which no period changes, as far as it is known: what this process does
    /// whatever it captures. Only learned where there is a budget.
    pub fixed_overhead: f64,
    /// How long events rested, since longer periods alone did not keep the budget.
    pub rested: Duration,
    /// By how much periods are stretched now to stay within the budget.
    pub stretched: f64,
    /// CPUs that are recorded.
    pub cpus: usize,
    /// Those among them of which AUX data has not come since they were last told to publish it.
    pub quiet_cpus: usize,
    /// CPUs that came and could not be recorded.
    pub unfollowed_cpus: usize,
    /// A CPU whose unit somebody else has: it is waited for, or was until the end. Nothing was
    /// captured then.
    pub waiting_for: Option<u32>,
    /// How long the unit was waited for.
    pub waited: Duration,
    /// If somebody else used the unit too: the part of the time that it worked for us, on the CPU
    /// where that was least. `None` also where it cannot be known: captures of a process.
    pub shared: Option<f64>,
    /// How long the unit was left to others.
    pub gave_way: Duration,
    /// What became of the observed command.
    pub command: Option<CommandEnd>,
}

impl Progress {
    /// The period of the first event as it is now.
    pub fn period_now(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        #[expect(clippy::cast_precision_loss, reason = "it is told, not counted with")]
        let now = (self.period as f64 * self.stretched) as u64;
        now
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            passes: 0,
            total: Passed::default(),
            own: Duration::ZERO,
            overhead: 0.0,
            average_overhead: 0.0,
            fixed_overhead: 0.0,
            rested: Duration::ZERO,
            period: 1,
            stretched: 1.0,
            cpus: 0,
            quiet_cpus: 0,
            unfollowed_cpus: 0,
            waiting_for: None,
            waited: Duration::ZERO,
            shared: None,
            gave_way: Duration::ZERO,
            command: None,
        }
    }
}
