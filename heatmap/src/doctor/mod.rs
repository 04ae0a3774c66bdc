//! What this host can do: which unit samples, whether physical addresses come, what there is to
//! split and by which way, and the commands that fit.
//!
//! ```text
//! files of the host -> checks: units, rights, memory, damon, machines -> diagnosis -> text, JSON
//!                              unit -> advice: period, commands
//! ```
//!
//! Everything is read below folders that are given, so that tests bring hosts of their own. Whether
//! an event opens is found out by whoever asks: see [`Probe`].

mod advice;
mod damon;
mod host;
mod machines;
mod memory;
mod rights;
mod text;
mod units;

#[cfg(test)]
mod tests;

use decoder::live::{self, EventChoice, Scope};
use serde::{Serialize, Serializer};

pub use advice::{Advice, Command};
pub use host::{Host, Machine, Maker};
pub use text::write as write_text;
pub use units::Unit;

use advice::{Load, Shell};
use rights::Rights;

/// Name of the diagnosis's schema, in its JSON.
pub const SCHEMA: &str = "folioscope.doctor/1";

/// What can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Arm SPE.
    Spe,
    /// Intel's PEBS.
    Pebs,
    /// AMD's IBS.
    Ibs,
    /// Minor page faults, which every kernel has: no sample of accesses.
    Faults,
}

impl Event {
    /// Its name on the command line of `folioscope record`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spe => "spe",
            Self::Pebs => "pebs",
            Self::Ibs => "ibs",
            Self::Faults => "faults",
        }
    }

    /// The same for a capture.
    pub const fn choice(self) -> EventChoice {
        match self {
            Self::Spe => EventChoice::ArmSpe,
            Self::Pebs => EventChoice::Pebs,
            Self::Ibs => EventChoice::IbsOp,
            Self::Faults => EventChoice::Faults,
        }
    }

    /// Its unit's name, as in a report's `sources`.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Spe => "arm_spe",
            Self::Pebs => "pebs",
            Self::Ibs => "ibs_op",
            Self::Faults => "sample",
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Opens an event with physical addresses on one CPU, of all that runs there or of this process
/// alone, and closes it again: how that went, or none if it was not tried.
pub type Probe<'a> = dyn Fn(Event, Scope) -> Option<Result<(), live::Error>> + 'a;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing stands in the way.
    Ok,
    /// Something is missing, or must be known.
    Warn,
    /// Samples of accesses with physical addresses do not come until this is mended.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, as a word that stays the same.
    pub name: &'static str,
    /// How well it is.
    pub status: Status,
    /// What was found.
    pub finding: String,
    /// What to do about it; none where nothing needs to be done.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, finding: finding.into(), remedy: None }
    }

    fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (finding, remedy) = (finding.into(), Some(remedy.into()));
        Self { name, status: Status::Warn, finding, remedy }
    }

    fn fail(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (finding, remedy) = (finding.into(), Some(remedy.into()));
        Self { name, status: Status::Fail, finding, remedy }
    }
}

/// Whether physical addresses come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// They do.
    Yes,
    /// Only trying tells.
    Perhaps,
    /// They do not.
    No,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The kernel's release.
    pub release: Option<String>,
    /// CPUs that are online.
    pub cpus: u64,
    /// The sampling unit, as in a report's `sources`; none if there is none that can be used.
    pub unit: Option<&'static str>,
    /// Whether this process gets physical addresses, of its user's processes at least: of samples,
    /// or without a unit of faults.
    pub physical_addresses: Addresses,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// How often to sample; none without a unit.
    pub advice: Option<Advice>,
    /// Commands that are ready for this host.
    pub commands: Vec<Command>,
}

/// What a recording may grow in a second unless somebody says otherwise.
pub const BUDGET_BYTES_PER_SECOND: u64 = 50 << 20;

/// The period that is advised for an event of a host, within [`BUDGET_BYTES_PER_SECOND`]; `None` if
/// it is no event of its sampling unit.
pub fn advised_period(host: &Host, event: &EventChoice) -> Option<u64> {
    let machine = Machine::of(host);
    let unit = units::find(host, &machine).0?;
    let is_its = *event == EventChoice::Best || *event == unit.event.choice();
    is_its.then(|| advice(host, &machine, &unit, BUDGET_BYTES_PER_SECOND).period)
}

fn advice(host: &Host, machine: &Machine, unit: &Unit, budget_bytes_per_second: u64) -> Advice {
    let load = Load {
        // A mask also has CPUs that are offline.
        cpus: unit.cpus.map_or(machine.cpus, |cpus| cpus.clamp(1, machine.cpus)),
        budget_bytes_per_second,
        max_sample_rate: host.proc_number("sys/kernel/perf_event_max_sample_rate"),
    };
    Advice::of(unit, load)
}

impl Diagnosis {
    /// Looks at a host.
    ///
    /// `budget_bytes_per_second`: what a recording may grow in a second.
    pub fn of(host: &Host, budget_bytes_per_second: u64, probe: &Probe<'_>) -> Self {
        let machine = Machine::of(host);
        let rights = Rights::of(host);
        let (unit, unit_check) = units::find(host, &machine);
        let advice =
            unit.as_ref().map(|unit| advice(host, &machine, unit, budget_bytes_per_second));
        let sight = rights::physical_addresses(&rights, unit.as_ref(), probe);
        let addresses = sight.addresses;
        let lockdown = rights::lockdown_mode(host);
        let (has_perf, perf_check) = rights::perf(host);

        let mut checks = vec![unit_check, sight.check];
        checks.extend(rights::paranoid(&rights));
        checks.extend(rights::system_calls(&rights));
        checks.push(rights::ring_memory(&rights, &machine, advice.as_ref()));
        checks.push(perf_check);
        checks.extend(machines::checks(host, &machine, unit.as_ref()));
        checks.extend(memory::checks(host, &machine));
        checks.push(rights::lockdown(host, lockdown.as_deref()));
        checks.extend(damon::checks(host, &machine, lockdown.as_deref()));

        let all_cpus = sight.scope == Scope::AllCpus;
        let own_alone = !all_cpus && addresses != Addresses::No;
        let all_come = all_cpus && addresses == Addresses::Yes;
        let as_root = !(all_come || rights.perfmon_capable());
        let shell = Shell { as_root, own_alone, perf: has_perf, serve: cfg!(feature = "service") };
        Self {
            release: machine.release,
            cpus: machine.cpus,
            unit: unit.as_ref().map(|unit| unit.event.unit()),
            physical_addresses: addresses,
            checks,
            commands: advice::commands(unit.as_ref(), advice.as_ref(), shell),
            advice,
        }
    }

    /// Whether anything at all can be recorded here by this process.
    pub fn can_work(&self) -> bool {
        self.physical_addresses != Addresses::No
    }

    /// The diagnosis as one JSON object, with a line end.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct WithSchema<'a> {
            schema: &'static str,
            can_work: bool,
            #[serde(flatten)]
            diagnosis: &'a Diagnosis,
        }
        let object = WithSchema { schema: SCHEMA, can_work: self.can_work(), diagnosis: self };
        let mut text = serde_json::to_string_pretty(&object).unwrap_or_default();
        text.push('\n');
        text
    }
}
