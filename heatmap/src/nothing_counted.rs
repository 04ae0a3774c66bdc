//! Why nothing was counted, and what to record instead.

use decoder::pebs::Format;
use decoder::perf::{SampleType, never_has_address};
use decoder::{Ledger, Raw, Recording, Source};

use crate::facts::{is_fault, spe_config};
use crate::incomplete::{self, Reason};
use crate::query::Filters;
use crate::record_commands::{RECORD_AMD, RECORD_INTEL, RECORD_SPE, for_machine_of};

/// Why nothing was counted, and what to do about it.
pub fn nothing_counted(recordings: &[Recording], ledger: &Ledger, filters: &Filters) -> String {
    let any = |test: fn(&Recording) -> bool| recordings.iter().any(test);
    let record = for_machine_of(recordings);
    let records = ledger.records;
    if ledger.over_budget > 0 {
        return "the memory budget held none of the accesses: raise --max-memory".to_owned();
    }
    if ledger.filtered > 0 {
        let names: Vec<_> = recordings
            .iter()
            .flat_map(|recording| &recording.events)
            .filter_map(|event| event.name.as_deref())
            .collect();
        if !filters.events.is_empty() && !names.iter().any(|name| filters.wants_event(name)) {
            return format!(
                "no event is called \"{}\": the events are {}",
                filters.events.join("\" or \""),
                names.join(", ")
            );
        }
        return format!(
            "{} of {records} records have a physical address, and the filters left out all of \
             them: loosen the filters",
            ledger.filtered
        );
    }
    match recordings.iter().find_map(|recording| recording.raw) {
        Some(Raw::Pebs(format, _)) => return nothing_in_buffer(format, ledger),
        Some(Raw::ArmSpe(_)) => return nothing_in_spe_buffer(ledger),
        None => {}
    }
    let captured = any(|recording| recording.captured);
    if ledger.guest_address > 0 && ledger.guest_address + ledger.not_memory == records {
        return format!(
            "{records} records, all {} memory operations of them of virtual machines, and for none \
             the recording shows that the hardware gave a physical address: record in the guests, or \
             with `{RECORD_AMD}` on AMD",
            ledger.guest_address
        );
    }
    if ledger.lookup_failed > 0 {
        let save = if captured { "record" } else { "save the page map while they run," };
        return format!(
            "{records} records, none with a physical address, and of {} that were looked up none \
             was found ({} of processes that had ended, {} not present, {} hidden without \
             CAP_SYS_ADMIN): {save} as root",
            ledger.lookup_failed,
            ledger.lookup_gone,
            ledger.lookup_not_present,
            ledger.lookup_hidden
        );
    }
    if let Some(cpu) = recordings.iter().find_map(|recording| recording.in_use) {
        return format!(
            "nothing was captured: the unit on CPU {cpu} was in use all the time; end what uses \
             it, or wait for longer"
        );
    }
    if captured && records + ledger.not_address_events + ledger.aux_bytes == 0 {
        let all =
            any(|recording| recording.events.iter().all(|event| event.attr.sample_period <= 1));
        let or = if all { "choose another --event" } else { "with a shorter --period" };
        return format!("nothing was sampled: record for longer, or {or}");
    }
    if captured && ledger.no_physical_address + ledger.not_address_events > 0 {
        return format!(
            "{} records, none with a physical address: the event has none, or the kernel \
             or a hypervisor withheld them; choose another --event, see `folioscope doctor`",
            records + ledger.not_address_events
        );
    }
    if ledger.no_physical_address > 0 {
        let asked = recordings.iter().any(|recording| {
            recording.arm_spe_events.iter().any(|index| {
                recording.events[usize::from(index.0)].attr.config & spe_config::PHYSICAL != 0
            })
        });
        let spe = any(|recording| recording.sources.contains(&Source::ArmSpe));
        let pt = any(|recording| recording.sources.contains(&Source::IntelPt));
        let with = match (spe, asked) {
            (false, _) if pt => format!(
                ": PEBS through Intel PT has virtual addresses only; record without aux-output, \
                 as root, with `{RECORD_INTEL}`"
            ),
            (true, true) => format!(
                ", although pa_enable=1 asked for them: the kernel or a hypervisor withheld them; \
                 record on the host as root with `{RECORD_SPE}`"
            ),
            (true, false) => format!(": record with pa_enable=1 as root: `{RECORD_SPE}`"),
            _ => match recordings.iter().map(|recording| recording.ibs.hidden).sum() {
                0_u64 => samples_without_addresses(recordings, &record),
                hidden => format!(
                    ", and the kernel hid those of {hidden} IBS samples: record as root with \
                     `{RECORD_AMD}`"
                ),
            },
        };
        return format!("{records} records, none with a physical address{with}");
    }
    if ledger.not_memory > 0 {
        return format!(
            "{records} records, none of a memory operation: record loads and stores with {record}"
        );
    }
    if any(|recording| recording.intel_pt) {
        return format!(
            "{} bytes of AUX data, of Intel PT, without a memory sample in them: no event wrote \
             its samples into the trace; record with `{RECORD_INTEL}`",
            ledger.aux_bytes
        );
    }
    if ledger.skipped_bytes + ledger.cut_off_bytes > 0 {
        return format!(
            "{} bytes of AUX data, and no whole record in them: the recording is damaged; record again with {record}",
            ledger.aux_bytes
        );
    }
    if let Some(reason) = nothing_there(recordings, ledger) {
        return reason;
    }
    if ledger.foreign_aux_bytes > 0 {
        return format!("its AUX data is of a tracer that is not decoded: record with {record}");
    }
    if any(|recording| !recording.arm_spe_events.is_empty()) {
        return "it has an Arm SPE event but no SPE data: nothing was sampled, or perf inject took \
                the data out; record for longer, or name the recording that was injected"
            .to_owned();
    }
    let without = without_addresses(recordings);
    if !without.is_empty() {
        return format!(
            "samples of {} have no data address: add -d --phys-data to its perf record, as root; all \
             loads and stores: {record}",
            without.join(", ")
        );
    }
    if ledger.not_address_events > 0 {
        let names = addressless(recordings);
        return format!(
            "{} records, none of memory: samples of {names} have no data address; record loads \
             and stores with {record}",
            ledger.not_address_events
        );
    }
    format!("it has no memory samples with addresses: record with {record}")
}

/// Events whose samples would have data addresses, had they been asked for.
fn without_addresses(recordings: &[Recording]) -> Vec<&str> {
    let events = recordings
        .iter()
        .flat_map(|recording| recording.events.iter().zip(&recording.event_sources));
    let able = events.filter(|(event, source)| {
        let able = matches!(source, Source::Pebs | Source::IbsOp) || is_fault(event);
        able && !event.has_addresses(**source)
    });
    able.filter_map(|(event, _)| event.name.as_deref()).collect()
}

/// Why there is nothing in recordings that could have been counted, whatever their events are: then
/// other events are no remedy.
fn nothing_there(recordings: &[Recording], ledger: &Ledger) -> Option<String> {
    let missing = ledger.aux_missing_bytes;
    if missing > 0 && ledger.aux_bytes + ledger.foreign_aux_bytes == 0 {
        return Some(format!(
            "{missing} bytes of AUX data were announced, and none are in the recording: it is a \
             part of one, or its recorder was killed; record again"
        ));
    }
    let reasons = incomplete::reasons(recordings);
    let unfinished =
        reasons.iter().any(|reason| matches!(reason, Reason::Unfinished | Reason::CutShort));
    if unfinished {
        let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        return Some(format!(
            "{}, and what there is of it holds no memory samples: record again, and end perf with \
             Ctrl-C (SIGINT)",
            reasons.join("; ")
        ));
    }
    if ledger.aux_bytes > 0 {
        return Some(format!(
            "{} bytes of AUX data, all of them padding: nothing was sampled; record for longer, or \
             with a shorter period",
            ledger.aux_bytes
        ));
    }
    let empty = !recordings.iter().any(|recording| recording.has_samples);
    let inject = recordings.iter().any(|recording| !recording.arm_spe_events.is_empty());
    (empty && !inject).then(|| {
        "it is empty: no event was sampled; record for longer, or while the program to be looked at \
         runs"
            .to_owned()
    })
}

/// Why sample records that are none of IBS have no physical address, and what to do about it.
fn samples_without_addresses(recordings: &[Recording], record: &str) -> String {
    let events: Vec<_> = recordings
        .iter()
        .flat_map(|recording| {
            let events = recording.events.iter().zip(&recording.event_sources);
            events.filter(|(event, source)| {
                event.has_addresses(**source)
                    && !never_has_address(&event.attr, **source, &recording.features)
            })
        })
        .map(|(event, _)| event)
        .collect();
    if events.iter().all(|event| event.attr.sample_type.contains(SampleType::PHYS_ADDR)) {
        return format!(
            ", although --phys-data asked for them: the events have none, or the kernel or a \
             hypervisor withheld them; record loads and stores as root with {record}"
        );
    }
    ": record with --phys-data as root".to_owned()
}

/// The names of the events that never have a data address.
fn addressless(recordings: &[Recording]) -> String {
    let mut names = Vec::new();
    for recording in recordings {
        for (event, source) in recording.events.iter().zip(&recording.event_sources) {
            let name = event.name.as_deref().unwrap_or("an event");
            let never = never_has_address(&event.attr, *source, &recording.features);
            let none = never || !event.has_addresses(*source);
            if none && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.join(", ")
}

/// Why nothing was counted of a raw PEBS buffer.
fn nothing_in_buffer(format: Format, ledger: &Ledger) -> String {
    let Ledger { records, aux_bytes, .. } = ledger;
    let lost = ledger.skipped_bytes + ledger.cut_off_bytes;
    let reason = if ledger.no_physical_address > 0 {
        "none with a physical address: a raw PEBS buffer holds virtual ones only, so list them \
         with `folioscope records --raw-pebs`, or have the kernel translate: `perf record \
         --phys-data` as root"
            .to_owned()
    } else if ledger.not_memory > 0 {
        format!("none with a data address: sample an event that has one in format {format}")
    } else if lost > 0 {
        return format!("no record in {aux_bytes} bytes: see whether format {format} is right");
    } else {
        "nothing was sampled: take the bytes from the buffer's base to its index".to_owned()
    };
    if lost == 0 {
        return format!("{records} records, {reason}");
    }
    format!("{records} records, {reason}; {lost} of {aux_bytes} bytes could not be read")
}

/// Why nothing was counted of a raw buffer of Arm SPE.
fn nothing_in_spe_buffer(ledger: &Ledger) -> String {
    let Ledger { records, aux_bytes, .. } = ledger;
    let lost = ledger.skipped_bytes + ledger.cut_off_bytes;
    let reason = if ledger.no_physical_address > 0 {
        "none with a physical address: let the unit collect them (PMSCR_EL1.PA, pa_enable=1 of \
         perf), or list the virtual ones with `folioscope records --raw-spe`"
    } else if ledger.not_memory > 0 {
        "none of a memory operation: sample loads and stores"
    } else if lost > 0 {
        return format!("no record in {aux_bytes} bytes: see whether they are a buffer of Arm SPE");
    } else {
        "nothing was sampled: take the bytes from the buffer's base to its write pointer"
    };
    if lost == 0 {
        return format!("{records} records, {reason}");
    }
    format!("{records} records, {reason}; {lost} of {aux_bytes} bytes could not be read")
}
