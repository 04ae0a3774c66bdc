//! Everything that was found on a host, put together.

use decoder::live::{EventChoice, Scope};
use serde::Serialize;

use super::advice::{self, Advice, Command, Load, Shell};
use super::check::{Addresses, Check, Probe};
use super::host::Host;
use super::machine::Machine;
use super::rights::{self, Rights};
use super::units::{self, Unit};
use super::{damon, memory, virtual_machines};

/// Name of the diagnosis's schema, in its JSON.
pub const SCHEMA: &str = "folioscope.doctor/1";

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
        checks.extend(virtual_machines::checks(host, &machine, unit.as_ref()));
        checks.extend(memory::checks(host, &machine));
        checks.push(rights::lockdown(host, lockdown.as_deref()));
        checks.extend(damon::checks(host, &machine, lockdown.as_deref()));

        let all_cpus = sight.scope == Scope::AllCpus;
        let own_alone = !all_cpus && addresses != Addresses::No;
        let all_come = all_cpus && addresses == Addresses::Yes;
        let as_root = !(all_come || rights.perfmon_capable());
        let shell = Shell { as_root, own_alone, perf: has_perf };
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
