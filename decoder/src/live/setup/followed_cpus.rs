//! Follows CPUs as they come and go: their events are opened, and given back.

use std::time::Duration;

use super::event::Role;
use super::host::asleep;
use super::open_events::{OpenCpu, OpenEvents};
use super::refusal::Scope;
use crate::live::control::turns::{Place, Times};
use crate::live::options::Target;
use crate::live::output::synthesized::EventAbout;

/// The clocks of a machine that did not sleep differ by less.
const LEAST_SLEEP: Duration = Duration::from_millis(50);

impl OpenEvents {
    /// CPUs that have lost the events that are not of a task, stopped, for their rings to be
    /// emptied: those that are offline, that were so since the last look, and after a sleep of the
    /// machine all. `times` are those of all events, of now.
    ///
    /// Events of tasks go wherever their tasks do, and wait for a CPU that is offline.
    pub(in crate::live) fn leave(&mut self, times: &[(Place, Times)]) -> Vec<OpenCpu> {
        if self.scope != Scope::AllCpus {
            return Vec::new();
        }
        let Some(online) = self.host.online() else { return Vec::new() };
        let slept = self.has_slept();
        let stopped = self.stopped(times);
        let stays = |open_cpu: &OpenCpu| {
            !slept && online.contains(&open_cpu.cpu) && !stopped.contains(&open_cpu.cpu)
        };
        let open_cpus = core::mem::take(&mut self.open_cpus);
        let (kept, gone): (_, Vec<_>) = open_cpus.into_iter().partition(stays);
        self.open_cpus = kept;
        gone.iter().for_each(OpenCpu::disable);
        gone
    }

    /// Whether the machine has slept since it was last asked. Nothing else tells so.
    fn has_slept(&mut self) -> bool {
        let asleep = asleep();
        asleep.abs_diff(core::mem::replace(&mut self.slept, asleep)) > LEAST_SLEEP
    }

    /// CPUs whose events are on and were not enabled for any time since the last look: they have
    /// been offline in between.
    fn stopped(&mut self, times: &[(Place, Times)]) -> Vec<u32> {
        if self.resting {
            return Vec::new();
        }
        let before = core::mem::take(&mut self.enabled);
        self.enabled = times.iter().map(|(place, times)| (*place, times.enabled)).collect();
        let cpus = self.open_cpus.iter().map(|open_cpu| open_cpu.cpu);
        cpus.filter(|cpu| {
            let mut now = self.enabled.range((*cpu, 0)..=(*cpu, usize::MAX)).peekable();
            let stood = |(place, enabled)| before.get(place) == Some(enabled);
            now.peek().is_some() && now.all(stood)
        })
        .collect()
    }

    /// Opens the events of CPUs that are online and have none. What is to be told of them is
    /// returned.
    pub(in crate::live) fn join(&mut self) -> Vec<EventAbout> {
        let Some(online) = self.host.online() else { return Vec::new() };
        let known = self.open_cpus.len();
        let new: Vec<_> = online
            .iter()
            .filter(|cpu| !self.open_cpus.iter().any(|open_cpu| open_cpu.cpu == **cpu))
            .copied()
            .collect();
        if !new.is_empty() {
            self.tids = self.threads();
        }
        let mut unfollowed = Vec::new();
        for cpu in new {
            // A CPU that cannot be followed is told of; the others go on. Of a command there is only
            // what has started already.
            let command = matches!(self.target, Target::Command(_));
            let followed = !command && self.add(cpu).is_ok();
            if !followed || self.is_too_late() {
                unfollowed.push(cpu);
            }
        }
        let fresh = &self.open_cpus[known..];
        for open_cpu in fresh {
            let rests = self.resting;
            let enabled = self.enable_on(open_cpu, |role| !rests || role == Role::SideBand);
            if enabled.is_err() {
                unfollowed.push(open_cpu.cpu);
            }
        }
        let told = (0..self.setups.len()).filter_map(|number| {
            self.event_about(number, fresh).ok().filter(|about| !about.ids.is_empty())
        });
        let told = if fresh.is_empty() { Vec::new() } else { told.collect() };
        // Of tasks it stays so: what runs already has no part of events that are opened now.
        let tasks = self.scope == Scope::Process;
        self.unfollowed.retain(|cpu| tasks || online.contains(cpu) && unfollowed.contains(cpu));
        unfollowed.retain(|cpu| !self.unfollowed.contains(cpu));
        self.unfollowed.extend(unfollowed);
        told
    }

    /// Whether something runs that would have no part of events that are opened now: what a
    /// command, or an observed process, has started.
    fn is_too_late(&self) -> bool {
        match &self.target {
            Target::AllCpus => false,
            Target::Pid(pid) => self.host.has_children(*pid),
            Target::Command(_) => true,
        }
    }
}
