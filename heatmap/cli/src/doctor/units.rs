//! Which sampling unit the processor has, as the kernel offers it: a folder of sysfs for each.

use std::path::Path;

use heatmap::CORE_UNITS;

use super::check::Check;
use super::event::Event;
use super::host::{Host, names};
use super::machine::{Machine, Maker};

/// Where the kernel lists what can be sampled
/// (`Documentation/ABI/testing/sysfs-bus-event_source-devices`).
const DEVICES: &str = "bus/event_source/devices";

/// A sampling unit that the kernel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What is recorded with it.
    pub event: Event,
    /// Its folders: an Arm machine has one for each kind of core.
    pub devices: Vec<String>,
    /// The fewest operations between two samples that all of them do, where the kernel says it.
    pub min_interval: Option<u64>,
    /// CPUs that have it, where the kernel says it.
    pub cpus: Option<u64>,
}

impl Unit {
    /// A unit of which nothing else is known.
    pub(super) fn of(event: Event, devices: Vec<String>) -> Self {
        Self { event, devices, min_interval: None, cpus: None }
    }
}

/// The unit of this host, and what there is to say about it.
pub(super) fn find(host: &Host, machine: &Machine) -> (Option<Unit>, Check) {
    let devices = host.sysfs.join(DEVICES);
    for find in [spe, pebs, ibs] {
        if let Some((unit, check)) = find(host, machine, &devices) {
            return (unit, check);
        }
    }
    (None, missing(host, machine))
}

type Found = Option<(Option<Unit>, Check)>;

/// `drivers/perf/arm_spe_pmu.c`.
fn spe(host: &Host, machine: &Machine, devices: &Path) -> Found {
    let name = Event::Spe.unit();
    let mut found = names(devices);
    found.retain(|device| device.starts_with("arm_spe_"));
    let first = devices.join(found.first()?);
    if !first.join("format/pa_enable").exists() {
        let finding = format!("{} has no pa_enable: it gives no physical addresses", found[0]);
        return Some((None, Check::fail(name, finding, "boot a kernel of 4.16 or later")));
    }
    let file = |device: &str, file: &str| format!("{DEVICES}/{device}/{file}");
    let intervals = found.iter().filter_map(|device| {
        host.sys_text(&file(device, "caps/min_interval"))?.parse::<u64>().ok()
    });
    let min_interval = intervals.max();
    let masks: Option<Vec<_>> =
        found.iter().map(|device| host.numbers(&file(device, "cpumask"))).collect();
    let covered: Option<u64> = masks.map(|masks| masks.iter().map(|mask| mask.count()).sum());
    let mut finding = found.join(", ");
    if let Some(interval) = min_interval {
        finding += &format!("; at least {interval} operations between samples");
    }
    let check = match covered {
        Some(covered) if covered < machine.cpus => {
            finding += &format!("; on {covered} of {} CPUs", machine.cpus);
            let remedy = "the other CPUs stay unseen, their memory is not cold: keep the \
                          workload on CPUs with the unit (its file cpumask) while recording";
            Check::warn(name, finding, remedy)
        }
        _ => Check::ok(name, finding),
    };
    Some((Some(Unit { min_interval, cpus: covered, ..Unit::of(Event::Spe, found) }), check))
}

/// `arch/x86/events/intel/`: the kernel shows these files only where PEBS works.
fn pebs(host: &Host, machine: &Machine, devices: &Path) -> Found {
    let precise = |device: &str| {
        let most: Option<u32> = host
            .sys_text(&format!("{DEVICES}/{device}/caps/max_precise"))
            .and_then(|most| most.parse().ok());
        let loads = devices.join(device).join("events/mem-loads").exists();
        machine.maker == Maker::Intel && most.map_or(loads, |most| most > 0)
    };
    let kinds = core::iter::once("cpu").chain(CORE_UNITS);
    let mut found: Vec<_> = kinds.map(str::to_owned).collect();
    found.retain(|device| precise(device));
    if found.is_empty() {
        return None;
    }
    let name = Event::Pebs.unit();
    let all = found.join(", ");
    // The kernel has these for processors that it knows.
    found.retain(|device| {
        let events = devices.join(device).join("events");
        events.join("mem-loads").exists() || events.join("mem-stores").exists()
    });
    if found.is_empty() {
        let finding = format!("{all} can, but the kernel names no events mem-loads, mem-stores");
        let remedy = "boot a newer kernel, which knows this processor's events";
        return Some((None, Check::fail(name, finding, remedy)));
    }
    let mut finding = format!(
        "{}; the kernel looks physical addresses up when it takes the samples over",
        found.join(", ")
    );
    let unseen: Vec<_> = CORE_UNITS
        .into_iter()
        .filter(|kind| devices.join(kind).exists() && !found.iter().any(|unit| unit == kind))
        .collect();
    let check = if unseen.is_empty() {
        Check::ok(name, finding)
    } else {
        finding += &format!("; the cores of {} have no such events", unseen.join(", "));
        let remedy = "these cores stay unseen, so nothing is judged: keep the workload on the \
                      others (their file cpus) while recording, and say --assume-complete";
        Check::warn(name, finding, remedy)
    };
    Some((Some(Unit::of(Event::Pebs, found)), check))
}

/// `arch/x86/events/amd/ibs.c`.
fn ibs(_: &Host, _: &Machine, devices: &Path) -> Found {
    let name = Event::Ibs.unit();
    if !devices.join(name).exists() {
        return None;
    }
    let unit = Unit::of(Event::Ibs, vec![name.to_owned()]);
    Some((Some(unit), Check::ok(name, "there; it records physical addresses itself")))
}

/// Why there is none.
fn missing(host: &Host, machine: &Machine) -> Check {
    let devices = host.sysfs.join(DEVICES);
    let none = |unit: &str| format!("no {unit} in {}", devices.display());
    let guest = machine.hypervisor.is_some();
    match machine.maker {
        Maker::Arm => missing_spe(host, none("arm_spe_*"), guest),
        Maker::Intel if guest => Check::fail(
            Event::Pebs.unit(),
            none("PEBS") + ": this is a virtual machine, and its hypervisor does not pass it on",
            "record on the host, or have the hypervisor pass on a PMU with PEBS",
        ),
        Maker::Intel => Check::fail(
            Event::Pebs.unit(),
            none("PEBS"),
            "see `dmesg | grep -i pebs`: the kernel turns it off with old microcode",
        ),
        Maker::Amd if guest => Check::fail(
            Event::Ibs.unit(),
            none("ibs_op") + ": this is a virtual machine, and its hypervisor does not pass it on",
            "record on the host, or on a machine without a hypervisor",
        ),
        Maker::Amd => Check::fail(
            Event::Ibs.unit(),
            none("ibs_op"),
            "turn on IBS (instruction based sampling) in the firmware's setup",
        ),
        Maker::Other => Check::fail(
            "sampling_unit",
            "none is known for this kind of processor",
            "record on Arm with SPE, on Intel or on AMD",
        ),
    }
}

/// Each reason that can be seen has a remedy of its own.
fn missing_spe(host: &Host, none: String, guest: bool) -> Check {
    let name = Event::Spe.unit();
    let meltdown = host.sys_text("devices/system/cpu/vulnerabilities/meltdown");
    if guest {
        let finding = none + ": this is a virtual machine, and KVM gives guests no SPE";
        return Check::fail(name, finding, "record on the host");
    }
    if meltdown.is_some_and(|text| text.contains("PTI")) {
        let finding = none
            + ": the kernel unmaps itself from user space (KPTI), and the driver \
                              refuses, since the unit's buffer must stay mapped";
        let remedy = "boot with kpti=off, which gives up the mitigation of Meltdown; processors \
                      that do not need it (Armv8.5 and later) are not affected";
        return Check::fail(name, finding, remedy);
    }
    if !host.sysfs.join("module/arm_spe_pmu").exists() {
        let finding = none + ": the driver is not loaded";
        let remedy = "`modprobe arm_spe_pmu`; if there is none, a kernel with CONFIG_ARM_SPE_PMU";
        return Check::fail(name, finding, remedy);
    }
    let finding = none + ": the driver is loaded and has found no unit";
    let remedy = "see `dmesg | grep arm_spe`; if it is silent, the processor has no SPE, or the \
                  firmware does not describe its interrupt: update the firmware";
    Check::fail(name, finding, remedy)
}
