//! The commands that record what this program wants: all loads and stores, without a floor of
//! latency, with physical addresses, on all CPUs.

use decoder::Recording;

use crate::parts::CORE_UNITS;

/// With Arm SPE.
pub const RECORD_SPE: &str =
    "perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ -a -- sleep 10";
/// With Intel's PEBS.
pub const RECORD_INTEL: &str = "perf record -e \
    mem_inst_retired.all_loads:P,mem_inst_retired.all_stores:P -d --phys-data -a -- sleep 10";
/// The same on processors with two kinds of cores: perf opens an event on those that it names, and
/// one without a unit in its name only on the performance cores.
pub const RECORD_HYBRID: &str = "perf record \
    -e cpu_core/mem_inst_retired.all_loads/P -e cpu_core/mem_inst_retired.all_stores/P \
    -e cpu_atom/mem_uops_retired.all_loads/P -e cpu_atom/mem_uops_retired.all_stores/P \
    -d --phys-data -a -- sleep 10";
/// With AMD's IBS.
pub const RECORD_AMD: &str = "perf record -e ibs_op// -d --phys-data -R -a -- sleep 10";

/// All loads and all stores of a kind of cores, by the name of its unit: perf's names for the events
/// of performance cores differ from those of the others (`pmu-events/arch/x86/*/memory.json`).
pub fn precise_events(unit: &str) -> [String; 2] {
    let counted = match unit {
        "cpu" | "cpu_core" => "mem_inst_retired",
        _ => "mem_uops_retired",
    };
    ["loads", "stores"].map(|kind| format!("-e {unit}/{counted}.all_{kind}/P"))
}

/// The command for the machine that recordings were made on, in backquotes; several if they do not
/// tell which it was.
pub(crate) fn for_machine_of(recordings: &[Recording]) -> String {
    let any = |test: &dyn Fn(&Recording) -> bool| recordings.iter().any(test);
    let arch = |names: &[&str]| {
        any(&|recording| recording.features.arch().is_some_and(|arch| names.contains(&arch)))
    };
    if any(&|recording| !recording.arm_spe_events.is_empty()) || arch(&["aarch64"]) {
        return format!("`{RECORD_SPE}`");
    }
    let made_by = |makers: &[&str]| {
        any(&|recording| {
            let cpuid = recording.features.cpuid.as_deref().unwrap_or_default();
            makers.iter().any(|maker| cpuid.starts_with(maker))
        })
    };
    if made_by(&["AuthenticAMD", "HygonGenuine"]) {
        return format!("`{RECORD_AMD}`");
    }
    if made_by(&["GenuineIntel"]) {
        let hybrid = any(&has_core_kinds);
        return format!("`{}`", if hybrid { RECORD_HYBRID } else { RECORD_INTEL });
    }
    let x86 = format!("`{RECORD_INTEL}` on Intel, `{RECORD_AMD}` on AMD");
    if arch(&["x86_64", "i686", "i386"]) {
        return x86;
    }
    format!("`{RECORD_SPE}` on Arm, {x86}")
}

/// Whether the machine has cores of several kinds, each with a unit of its own.
fn has_core_kinds(recording: &Recording) -> bool {
    let features = &recording.features;
    let units = features.pmus.values().filter(|unit| CORE_UNITS.contains(&unit.as_str()));
    features.core_kinds.len().max(units.count()) > 1
}
