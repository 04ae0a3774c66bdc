//! Which part of its machine a recording is of. What other CPUs accessed is missing from it, so
//! that a block may look sparse that is not.

use decoder::perf::{CpuSet, Event, never_has_address};
use decoder::{Recording, Source};

use crate::perf_arguments::arguments;

/// Units of the kinds of cores of processors that have several (`arch/x86/events/intel/core.c`).
pub const CORE_UNITS: [&str; 3] = ["cpu_core", "cpu_atom", "cpu_lowpower"];

/// The events whose samples are counted, with what these come from.
pub(crate) fn counted_events(recording: &Recording) -> impl Iterator<Item = (&Event, Source)> {
    let spe = |index: usize| recording.arm_spe_events.iter().any(|spe| usize::from(spe.0) == index);
    let events = recording.events.iter().zip(&recording.event_sources).enumerate();
    events.filter_map(move |(index, (event, source))| match spe(index) {
        true => recording.sources.contains(&Source::ArmSpe).then_some((event, Source::ArmSpe)),
        false => {
            let never = never_has_address(&event.attr, *source, &recording.features)
                && !event.is_synthesized(recording.synthesized);
            (recording.sources.contains(source) && event.has_addresses(*source) && !never)
                .then_some((event, *source))
        }
    })
}

/// What of the machine was not recorded, each with where that comes from.
pub(crate) fn left_out(recording: &Recording) -> Vec<(String, String)> {
    let events: Vec<_> = counted_events(recording).map(|(event, _)| event).collect();
    if events.is_empty() {
        return Vec::new();
    }
    let mut reasons: Vec<_> = [core_kinds(recording, &events), spe_units(recording, &events)]
        .into_iter()
        .flatten()
        .collect();
    // Where a kind of cores is missing, its CPUs are missing too, which need not be said again.
    let by_command = by_command(recording);
    reasons.extend(match (by_command, reasons.is_empty()) {
        (None, true) => by_records(recording, &events),
        (by_command, _) => by_command,
    });
    if recording.unfollowed_cpus > 0 {
        let reason = "CPUs that came online while it was captured were not recorded";
        reasons.push((reason.to_owned(), recording.unfollowed_cpus.to_string()));
    }
    reasons
}

/// The kinds of cores that no event was opened for.
fn core_kinds(recording: &Recording, events: &[&Event]) -> Option<(String, String)> {
    let features = &recording.features;
    let units: Vec<_> = events.iter().filter_map(|event| event.unit(features)).collect();
    let recorded = |unit: &str| units.contains(&unit);
    if !CORE_UNITS.into_iter().any(recorded) {
        return None;
    }
    let mut kinds: Vec<_> = features.core_kinds().collect();
    if kinds.is_empty() {
        // The recording does not list their CPUs, but has the numbers of their units.
        let known = |unit: &&str| features.pmus.values().any(|pmu| pmu == unit);
        kinds.extend(CORE_UNITS.into_iter().filter(known).map(|unit| (unit, CpuSet::default())));
    }
    let (there, missing): (Vec<_>, Vec<_>) = kinds.iter().partition(|(unit, _)| recorded(unit));
    let named = |(unit, cpus): &(&str, CpuSet)| match cpus.is_empty() {
        true => (*unit).to_owned(),
        false => format!("{unit}, {}", numbered(cpus)),
    };
    if missing.is_empty() {
        return None;
    }
    let missing: Vec<_> = missing.into_iter().map(named).collect();
    let there: Vec<_> = there.into_iter().map(|(unit, _)| *unit).collect();
    Some((
        format!("one kind of cores was not recorded: {}", missing.join("; ")),
        format!(
            "the events are of {}",
            if there.is_empty() { "others".to_owned() } else { there.join(", ") }
        ),
    ))
}

/// The units of Arm SPE that no event was opened for: each kind of cores has its own.
fn spe_units(recording: &Recording, events: &[&Event]) -> Option<(String, String)> {
    let is_spe = |unit: &&str| unit.starts_with("arm_spe");
    let features = &recording.features;
    let recorded: Vec<_> =
        events.iter().filter_map(|event| event.unit(features)).filter(is_spe).collect();
    let all = features.pmus.values().map(String::as_str).filter(is_spe);
    let missing: Vec<_> = all.filter(|unit| !recorded.contains(unit)).collect();
    (!recorded.is_empty() && !missing.is_empty()).then(|| {
        let reason = format!("one kind of cores was not recorded: {}", missing.join(", "));
        (reason, format!("the events are of {}", recorded.join(", ")))
    })
}

/// What the recorder's arguments leave out.
fn by_command(recording: &Recording) -> Option<(String, String)> {
    let written = arguments(&recording.features.command_line).cpus?;
    let origin = format!("perf record -C {written}");
    match CpuSet::parse(written) {
        Some(cpus) => some_of(&cpus, recording, true).map(|reason| (reason, origin)),
        None => Some(("only some CPUs were recorded".to_owned(), origin)),
    }
}

/// What records say of the CPUs that events were opened on, or have their unit.
fn by_records(recording: &Recording, events: &[&Event]) -> Option<(String, String)> {
    let opened = || {
        let mut all = CpuSet::default();
        for event in events {
            // Tasks are followed to all CPUs.
            if event.opened.for_tasks || event.opened.cpus.is_empty() {
                return None;
            }
            all.extend(&event.opened.cpus);
        }
        Some(all)
    };
    let with_unit = || {
        let mut all = CpuSet::default();
        for event in events {
            all.extend(event.cpus.as_ref()?);
        }
        Some(all)
    };
    let spe = recording.sources.contains(&Source::ArmSpe);
    let told = [
        (opened(), "ID_INDEX"),
        (recording.cpu_map.clone(), "CPU_MAP"),
        (with_unit(), "the others are without the unit"),
        (recording.spe_cpus.clone().filter(|_| spe), "AUXTRACE_INFO"),
    ];
    told.into_iter().find_map(|(cpus, origin)| {
        let reason = some_of(&cpus?, recording, false)?;
        Some((reason, origin.to_owned()))
    })
}

/// Says that these CPUs were recorded, if they are not all. `sure`: somebody chose them, so that
/// they are not all where the recording does not say how many there are.
fn some_of(cpus: &CpuSet, recording: &Recording, sure: bool) -> Option<String> {
    let mut listed = CpuSet::default();
    recording.features.core_kinds().for_each(|(_, cpus)| listed.extend(&cpus));
    let listed = Some(listed.len()).filter(|count| *count > 0);
    match recording.features.cpus_online.or(listed) {
        Some(online) if cpus.len() < online => {
            Some(format!("only {} of {online} was recorded", numbered(cpus)))
        }
        None if sure => Some(format!("only {} was recorded", numbered(cpus))),
        _ => None,
    }
    .map(
        |said| if cpus.len() == 1 { said } else { said.replace(" was recorded", " were recorded") },
    )
}

/// `CPU 1`, `CPUs 0-3,8`; cut where the list is long.
fn numbered(cpus: &CpuSet) -> String {
    const LONGEST: usize = 60;
    let list = cpus.to_string();
    match (cpus.len(), list.get(..LONGEST)) {
        (0, _) => "no CPU".to_owned(),
        (1, _) => format!("CPU {list}"),
        (_, Some(_)) if list.len() > LONGEST => format!("{} CPUs", cpus.len()),
        _ => format!("CPUs {list}"),
    }
}
