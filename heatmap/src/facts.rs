//! What a recording says about itself: how it was sampled, what it left out, and what follows
//! for its reader.

use decoder::ibs::Tally;
use decoder::perf::{Attr, AttrFlags, Event, SamplingRate};
use decoder::{Ledger, Raw, Recording, Source, TimeBase};

use crate::ibs_filters::{self, unknown_bits};
use crate::incomplete::{self, Reason};
use crate::page_size::PageSize;
use crate::parts::{self, CORE_UNITS, counted_events};
use crate::query::Filters;

/// Why nothing is judged that everybody knows who recorded it.
const NO_SAMPLE: &str = "faults, breakpoints and the like are no sample of accesses";

/// The facts of all inputs of a run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Why hot pages may be missing, each with where that comes from.
    left_out: Vec<(String, Vec<String>)>,
    /// Why the recordings do not hold all that happened while they were made.
    pub incomplete: Vec<Reason>,
    /// Everything else that a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// `perf_event_attr.config` bits of Arm SPE events (`drivers/perf/arm_spe_pmu.c`).
pub(crate) mod spe_config {
    pub(super) const TIMESTAMPS: u64 = 1 << 0;
    pub(crate) const PHYSICAL: u64 = 1 << 1;
    pub(super) const JITTER: u64 = 1 << 16;
    pub(super) const BRANCHES: u64 = 1 << 32;
    pub(super) const LOADS: u64 = 1 << 33;
    pub(super) const STORES: u64 = 1 << 34;
    pub(super) const DISCARD: u64 = 1 << 35;
    /// `branch_filter_mask` to `store_filter_mask`: all wanted kinds at once.
    pub(super) const ALL_OF: u64 = 0b111 << 36;
    pub(super) const SIMD: u64 = 1 << 39;
    pub(super) const FLOAT: u64 = 1 << 41;
    pub(super) const SIMD_FLOAT_ALL_OF: u64 = 1 << 40 | 1 << 42;
    /// Bits of config2 that hold the least latency.
    pub(super) const MIN_LATENCY: u64 = 0xfff;
    /// All bits of config that are known here; the others are settings of later drivers.
    pub(super) const KNOWN: u64 = 0b111 | JITTER | 0x7ff << 32;
    /// Event filter bit of retired operations: it leaves out speculation, not accesses.
    pub(super) const RETIRED: u64 = 1 << 1;
}

impl Facts {
    /// The facts of recordings that are read together, with this query.
    pub fn of(recordings: &[Recording], filters: &Filters) -> Self {
        let mut facts = Self { incomplete: incomplete::reasons(recordings), ..Self::default() };
        let mut lost = Ledger::default();
        recordings.iter().for_each(|recording| lost += recording.ledger);
        let whole = facts.incomplete.is_empty() && lost.losses().next().is_none();
        recordings.iter().for_each(|recording| facts.add(recording, filters, whole));
        facts
    }

    /// Adds the facts of a recording that came after the others.
    pub fn join(&mut self, recording: &Recording, filters: &Filters) {
        let recordings = core::slice::from_ref(recording);
        for reason in incomplete::reasons(recordings) {
            if !self.incomplete.contains(&reason) {
                self.incomplete.push(reason);
            }
        }
        let whole = self.incomplete.is_empty() && recording.ledger.losses().next().is_none();
        self.add(recording, filters, whole);
    }

    /// The facts of one recording, added to those of others. `whole`: nothing is known to be
    /// missing from any.
    fn add(&mut self, recording: &Recording, filters: &Filters, whole: bool) {
        let spe = || {
            recording
                .arm_spe_events
                .iter()
                .filter_map(|index| recording.events.get(usize::from(index.0)))
        };
        if recording.sources.contains(&Source::ArmSpe) {
            for event in spe() {
                for reason in spe_left_out(&event.attr) {
                    self.leave_out(&reason, "Arm SPE");
                }
                self.note(spe_sampling(&event.attr));
                if let Some(note) = unevenly(event, event.name.as_deref().unwrap_or("Arm SPE")) {
                    self.note(note);
                }
                if event.attr.config & spe_config::JITTER == 0 {
                    self.note(
                        "Recorded without jitter: a loop in step with the sampling period \
                               is seen on the same pages again and again, and the verdicts' \
                               independence does not hold. Add jitter=1.",
                    );
                }
                if event.attr.config & spe_config::TIMESTAMPS == 0 {
                    self.note(
                        "Recorded without timestamps (ts_enable=1): one span of time, of \
                               unknown length.",
                    );
                }
            }
        }
        if let Some(Raw::ArmSpe(_)) = recording.raw {
            let reason = "a buffer without a recording does not tell which CPUs were sampled, nor \
                          what filters left out";
            self.leave_out(reason, "--raw-spe");
        }
        for (event, source) in counted_events(recording) {
            if source != Source::ArmSpe {
                let name = event.name.as_deref().unwrap_or("an event");
                // Faults and the like that the query drops are in nobody's way.
                let dropped = !filters.events.is_empty()
                    && source == Source::Sample
                    && !filters.wants_event(name);
                for reason in sample_left_out(event, source, recording) {
                    if !(dropped && reason == NO_SAMPLE) {
                        self.leave_out(&reason, name);
                    }
                }
                if !(source == Source::Sample && event.is_synthesized(recording.synthesized))
                    && let Some(note) = sample_sampling(event, name, whole)
                {
                    self.note(note);
                }
            }
        }
        for (reason, origin) in parts::left_out(recording) {
            self.leave_out(&reason, &origin);
        }
        for doubt in doubts(recording) {
            self.note(doubt);
        }
        if let Some(note) = injected(recording) {
            self.note(note);
        }
        if let Some(tracer) = &recording.foreign_tracer {
            self.note(format!(
                "AUX data of a tracer that is not decoded ({tracer}) was passed over."
            ));
        }
        if recording.sideband_full {
            self.note(
                "More threads or context switches than are remembered: some accesses have \
                       no thread.",
            );
        }
        if recording.late_switches > 0 {
            let switches = match recording.late_switches {
                1 => "1 context switch".to_owned(),
                number => format!("{number} context switches"),
            };
            self.note(format!(
                "{switches} came in the stream behind the data they tell of: some accesses have \
                 the thread and process that ran before, or none. As a file the same recording \
                 has the right ones."
            ));
        }
        if recording.time_base == TimeBase::Ticks {
            self.note(
                "The recording does not say how its timestamps relate to time: no \
                       durations, no --time.",
            );
        }
        let release = recording.features.os_release.as_deref().unwrap_or_default();
        let by_release = ["xen", "-pve", "hypervisor"].iter().find(|word| release.contains(*word));
        let host = match (&recording.hypervisor, by_release) {
            (Some(task), _) => Some(format!("task \"{task}\"")),
            (None, Some(_)) => Some(format!("kernel release {release}")),
            _ => None,
        };
        if let Some(evidence) = host {
            let sees = recording.sources.contains(&Source::IbsOp);
            self.note(if sees {
                format!(
                    "This machine runs virtual machines ({evidence}): IBS samples them too, and \
                     their accesses are marked (guest)."
                )
            } else {
                format!(
                    "This machine runs virtual machines ({evidence}): what guests access is \
                     invisible here, so memory of guests is never shown to be sparse."
                )
            });
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds a reason why hot pages may be missing.
    pub fn leave_out(&mut self, reason: &str, origin: &str) {
        let known = self.left_out.iter_mut().find(|(known, _)| known == reason);
        match known {
            Some((_, origins)) if origins.iter().any(|known| known == origin) => {}
            Some((_, origins)) => origins.push(origin.to_owned()),
            None => self.left_out.push((reason.to_owned(), vec![origin.to_owned()])),
        }
    }

    /// Adds what the account of the records says of hot pages that may be missing.
    pub fn account(&mut self, ledger: &Ledger) {
        if guests_are_missing(ledger) {
            self.leave_out("most accesses of virtual machines have no known frame", "guests");
        }
    }

    /// Whether hot pages may be missing.
    pub fn leaves_out(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// What a reader should know: the notes, what is missing, and the kernel's base page, which
    /// may only be assumed.
    pub fn sentences(
        &self,
        assume_complete: bool,
        (page_size, assumed): (PageSize, bool),
    ) -> Vec<String> {
        let incomplete = self.incomplete.iter().map(|reason| format!("Not complete: {reason}."));
        let mut notes: Vec<_> = incomplete.chain(self.notes.iter().cloned()).collect();
        if assume_complete && self.leaves_out() {
            notes.push(format!("Taken as complete on request, although {}.", self.left_out()));
        }
        notes.extend(self.not_judged(assume_complete));
        if !page_size.is_4k() {
            notes.push(format!(
                "The kernel's base page is {page_size}: a PMD block there is {} MiB, so blocks \
                 of 2 MiB are counted but not judged.",
                page_size.pmd_block_bytes() >> 20
            ));
        } else if assumed {
            notes.push(
                "The recording does not tell the kernel's page size: 4 KiB assumed (--page-size)."
                    .to_owned(),
            );
        }
        notes
    }

    /// Why no block is judged, in a sentence or two, if none is.
    pub fn not_judged(&self, assume_complete: bool) -> Option<String> {
        (self.leaves_out() && !assume_complete).then(|| {
            format!(
                "Hot pages may be missing, so no block is judged: {}. --assume-complete judges all \
                 the same.",
                self.left_out()
            )
        })
    }

    /// Whether there is a reason why no block is judged that nobody asked for.
    pub fn surprises(&self) -> bool {
        self.left_out.iter().any(|(reason, _)| reason != NO_SAMPLE)
    }

    /// Why, in one sentence without its full stop.
    pub fn left_out(&self) -> String {
        let reasons = self.left_out.iter();
        let reasons: Vec<_> =
            reasons.map(|(reason, origins)| format!("{reason} ({})", origins.join(", "))).collect();
        reasons.join("; ")
    }
}

/// What is to be known of a recording in which `perf inject --itrace` has put samples in the place of
/// SPE data (`tools/perf/util/arm-spe.c`): it makes one for each kind of event of a hardware record,
/// and one that is called `memory` for each record of a memory operation.
pub fn injected(recording: &Recording) -> Option<String> {
    if !recording.synthesized {
        return None;
    }
    let made = recording.events.iter().filter(|event| event.is_synthesized(true));
    let names: Vec<_> = made.filter_map(|event| event.name.as_deref()).collect();
    let replaced = "perf inject has put samples in the place of the SPE data";
    let original = "count the original recording to have blocks judged";
    Some(if names.contains(&"memory") {
        format!(
            "{replaced}, and one hardware record stands in several of them: counts are too high. \
             `--event memory` counts each memory operation once; {original}."
        )
    } else if let [name] = names[..] {
        format!(
            "{replaced}, all of them called {name}: some operations may be missing; {original}."
        )
    } else {
        format!(
            "{replaced}, and one hardware record may stand in several of them: counts may be too \
             high; {original}."
        )
    })
}

/// What is to be doubted of the physical addresses of IBS samples, a sentence or two each.
pub fn doubts(recording: &Recording) -> Vec<String> {
    let mut doubts = Vec::new();
    let Tally { hidden, differ, beyond } = recording.ibs;
    if hidden > 0 {
        doubts.push(format!(
            "The kernel hid the physical addresses of {hidden} IBS samples, which are not \
             counted: record as root."
        ));
    }
    if differ > 0 {
        doubts.push(format!(
            "{differ} IBS samples have another physical address in their registers than in \
             PHYS_ADDR, which is the one that counts."
        ));
    }
    if beyond > 0 {
        doubts.push(format!(
            "{beyond} IBS samples have physical addresses of 128 TiB or more, where no machine has \
             memory: they are of devices, or bit 47 or 51 is the mark of encrypted memory (SME), \
             and the true page frames are those without it; boot with mem_encrypt=off to be sure."
        ));
    }
    doubts
}

/// Whether an event is a page fault, minor, major or both.
pub(crate) fn is_fault(event: &Event) -> bool {
    const FAULTS: [u64; 3] = [2, 5, 6];
    /// `attr.type` of the kernel's own events.
    const SOFTWARE: u32 = 1;
    event.attr.type_ == SOFTWARE && FAULTS.contains(&event.attr.config)
}

/// Whether most accesses of virtual machines have no frame, so that hot pages may be missing.
fn guests_are_missing(ledger: &Ledger) -> bool {
    ledger.guest_address > ledger.guest_accesses / 2
}

/// What became of the accesses of virtual machines, if there were any.
pub fn guests(ledger: &Ledger) -> Option<String> {
    let Ledger { guest_accesses: all, guest_address: dropped, .. } = *ledger;
    let known = all.saturating_sub(dropped);
    let are = |number: u64, verb: &str| match number {
        1 => format!("1 access of virtual machines is {verb}"),
        _ => format!("{number} accesses of virtual machines are {verb}"),
    };
    let kept = format!(
        "{} by the physical address that the hardware gave, as far as filters keep them",
        are(known, "counted")
    );
    let left_out = format!(
        "{} (guest_address): the recording does not show that the hardware gave their physical \
         addresses (`perf record -R` of IBS does), and what the kernel looks up for a guest's \
         address is none of the guest's pages",
        are(dropped, "left out")
    );
    match (known, dropped) {
        (0, 0) => None,
        (_, 0) => Some(format!("{kept}.")),
        (0, _) => Some(format!("{left_out}.")),
        _ => Some(format!("{kept}. {left_out}.")),
    }
}

/// What the configuration of an SPE event leaves out of its loads and stores.
fn spe_left_out(attr: &Attr) -> Vec<String> {
    let has = |bits: u64| attr.config & bits != 0;
    let mut reasons = Vec::new();
    let mut add = |condition: bool, reason: &str| {
        if condition {
            reasons.push(reason.to_owned());
        }
    };
    let (loads, stores) = (has(spe_config::LOADS), has(spe_config::STORES));
    let by_kind =
        loads || stores || has(spe_config::BRANCHES | spe_config::SIMD | spe_config::FLOAT);
    if has(spe_config::ALL_OF | spe_config::SIMD_FLOAT_ALL_OF) {
        add(by_kind, "only operations of several kinds at once were recorded");
    } else {
        add(by_kind && !stores, "stores were not recorded");
        add(by_kind && !loads, "loads were not recorded");
    }
    add(has(spe_config::DISCARD), "all data was discarded");
    add(
        attr.config1 & !spe_config::RETIRED != 0,
        "only operations with certain events were recorded",
    );
    add(attr.config3 != 0, "operations with certain events were not recorded");
    add(attr.config4 != 0, "some data sources were not recorded");
    add(attr.flags.contains(AttrFlags::EXCLUDE_USER), "user space was not recorded");
    add(attr.flags.contains(AttrFlags::EXCLUDE_KERNEL), "the kernel's accesses were not recorded");
    reasons.extend(unknown_bits("config", attr.config & !spe_config::KNOWN));
    reasons.extend(unknown_bits("config2", attr.config2 & !spe_config::MIN_LATENCY));
    let least = attr.config2 & spe_config::MIN_LATENCY;
    if least > 0 {
        reasons.push(format!("operations of under {least} cycles were not recorded"));
    }
    reasons
}

/// How an SPE event sampled. The hardware's interval has no low eight bits.
fn spe_sampling(attr: &Attr) -> String {
    let period = attr.sample_period & !0xff;
    let jitter = if attr.config & spe_config::JITTER == 0 { "" } else { " with jitter" };
    if period == 0 {
        return format!(
            "Sampled at the processor's least interval{jitter}; a count is a number of samples, not of accesses."
        );
    }
    format!(
        "Sampled every {period} operations{jitter}; a count is a number of samples, not of \
         accesses."
    )
}

/// Whether the PEBS events of a recording see loads as well as stores, whatever their latency, on
/// the kind of cores that an event belongs to.
fn pebs_is_complete(recording: &Recording, event: &Event) -> bool {
    // Only these differ by the kind of cores.
    let kind = |event: &Event| {
        let unit = event.unit(&recording.features);
        CORE_UNITS.into_iter().find(|kind| unit == Some(kind))
    };
    let wanted = kind(event);
    let pebs = recording.events.iter().zip(&recording.event_sources);
    let pebs = pebs.filter(|(other, _)| kind(other) == wanted);
    let (mut loads, mut stores) = (false, false);
    let is_pebs = |source: &Source| matches!(source, Source::Pebs | Source::IntelPt);
    for (event, _) in pebs.filter(|(_, source)| is_pebs(source)) {
        let (code, mask) = (event.attr.config & 0xff, event.attr.config >> 8 & 0xff);
        // A threshold or another condition.
        if event.attr.config >> 16 != 0 || event.attr.config1 != 0 {
            continue;
        }
        // MEM_INST_RETIRED: all loads, all stores, any; MEM_TRANS_RETIRED: loads by latency,
        // store samples.
        match (code, mask) {
            (0xd0, 0x81) => loads = true,
            (0xd0, 0x82) | (0xcd, 0x02) => stores = true,
            (0xd0, 0x83) => (loads, stores) = (true, true),
            _ => {}
        }
    }
    loads && stores
}

/// What an event with sample records leaves out.
fn sample_left_out(event: &Event, source: Source, recording: &Recording) -> Vec<String> {
    let attr = &event.attr;
    let mut reasons = Vec::new();
    match source {
        Source::Sample if event.is_synthesized(recording.synthesized) => {
            reasons.push("perf inject made the samples of other data".to_owned());
        }
        Source::Sample => {
            reasons.push(NO_SAMPLE.to_owned());
        }
        Source::Pebs | Source::IntelPt if !pebs_is_complete(recording, event) => {
            reasons.push("only some loads or stores are sampled".to_owned());
        }
        Source::IbsOp => reasons.extend(ibs_filters::left_out(event, &recording.features)),
        _ => {}
    }
    if source != Source::Sample {
        if attr.flags.contains(AttrFlags::EXCLUDE_USER) {
            reasons.push("user space was not recorded".to_owned());
        }
        if attr.flags.contains(AttrFlags::EXCLUDE_KERNEL) {
            reasons.push("the kernel's accesses were not recorded".to_owned());
        }
    }
    reasons
}

/// How an event with sample records sampled.
fn sample_sampling(event: &Event, name: &str, whole: bool) -> Option<String> {
    let number = event.attr.sample_period;
    if number == 0 {
        return None;
    }
    if let Some(note) = unevenly(event, name) {
        return Some(note);
    }
    Some(if event.attr.flags.contains(AttrFlags::FREQ) {
        format!(
            "{name}: sampled {number} times a second at most; counts are samples, not weighted by \
             period."
        )
    } else if number == 1 && whole {
        format!("{name}: every event was recorded.")
    } else if number == 1 {
        format!("{name}: every event was to be recorded; some are missing.")
    } else {
        format!("{name}: one sample every {number} events; counts are samples.")
    })
}

/// How an event was not recorded evenly, if its recorder kept to a budget or gave way.
fn unevenly(event: &Event, name: &str) -> Option<String> {
    // What can be stretched is a period, and no frequency.
    if event.pace.is_even() || event.attr.flags.contains(AttrFlags::FREQ) {
        return None;
    }
    let SamplingRate { stretched, rests, .. } = event.pace;
    let period = event.attr.sample_period;
    let mut said = format!("{name}: period {period}");
    if stretched > 1.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        #[expect(clippy::cast_precision_loss, reason = "it is told, not counted with")]
        let longest = (period as f64 * stretched).round() as u64;
        said.push_str(&format!(
            ", stretched up to {longest} while it was recorded (--max-overhead)"
        ));
    }
    match rests {
        0 => {}
        1 => said.push_str(", and once nothing was recorded for a while"),
        times => said.push_str(&format!(", and {times} times nothing was recorded for a while")),
    }
    said.push_str(": counts are samples, and not comparable over time.");
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(change: impl FnOnce(&mut Attr)) -> String {
        let mut attr = Attr { config: 0x1_0003, sample_period: 1024, ..Attr::default() };
        change(&mut attr);
        spe_left_out(&attr).join("; ")
    }

    #[test]
    fn each_filter_of_an_spe_event() {
        assert_eq!(reasons(|_| {}), "");
        assert_eq!(reasons(|attr| attr.config |= spe_config::LOADS), "stores were not recorded");
        assert_eq!(reasons(|attr| attr.config |= spe_config::LOADS | spe_config::STORES), "");
        assert_eq!(
            reasons(|attr| attr.config |= spe_config::BRANCHES),
            "stores were not recorded; loads were not recorded"
        );
        assert_eq!(reasons(|attr| attr.config1 = spe_config::RETIRED), "", "speculation aside");
        assert!(reasons(|attr| attr.config1 = 1 << 3).contains("certain events"));
        assert_eq!(
            reasons(|attr| attr.config2 = 100),
            "operations of under 100 cycles were not recorded"
        );
        assert!(reasons(|attr| attr.config3 = 1).contains("certain events"));
        assert!(reasons(|attr| attr.config4 = 1).contains("data sources"));
        assert!(reasons(|attr| attr.flags = AttrFlags::EXCLUDE_KERNEL).contains("kernel"));
    }

    #[test]
    fn the_period_is_the_one_the_hardware_used() {
        let attr = Attr { sample_period: 1100, config: spe_config::JITTER, ..Attr::default() };
        assert!(spe_sampling(&attr).starts_with("Sampled every 1024 operations with jitter;"));
    }
}
