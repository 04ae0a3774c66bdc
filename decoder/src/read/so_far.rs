//! What the records of an input have said so far, as a [`Recording`].

use super::placement::add_queue;
use super::problems::Problems;
use super::session::Session;
use crate::InputKind;
use crate::Recording;
use crate::aux_data::any_queue::AnyQueue;
use crate::perf::attr::AttrFlags;
use crate::perf::{CpuSet, Event, Tracer};
use crate::{EventIndex, Incomplete, Source, TimeBase, cost, ibs};

/// What the records have said so far. `queues` are those that are not settled.
pub(crate) fn recording(
    session: &mut Session,
    queues: &[AnyQueue],
    kind: InputKind,
    files: u32,
) -> Recording {
    cost::steps(session.steps_to_tell() + queues.len());
    let (mut ledger, mut aux_time_base) = (session.ledger, session.aux_time_base);
    for queue in queues {
        add_queue(&mut ledger, &mut aux_time_base, queue.so_far());
    }
    ledger.aux_missing_bytes = session.aux_missing_bytes();
    ledger.not_address_events = session.not_address_events();
    ledger.sum_up_losses();
    let indexes = || (0..=u16::MAX).take(session.events.list().len()).map(EventIndex);
    let names = indexes().map(|index| session.event_name(index));
    let named = |(event, name): (&Event, _)| Event { name: Some(name), ..event.clone() };
    let events: Vec<_> = session.events.list().iter().zip(names).map(named).collect();
    let problems = session.problems();
    Recording {
        kind,
        files,
        sources: session.sources(),
        time_base: session.time_base(aux_time_base),
        sideband_full: session.sideband.is_full(),
        late_switches: session.sideband.late_switches(),
        arm_spe_events: session.arm_spe_events().collect(),
        event_sources: indexes()
            .map(|index| session.events.source(index, &session.features))
            .collect(),
        events,
        features: session.features.clone(),
        problem_count: problems.count,
        problems: problems.into_list(),
        hypervisor: session.hypervisor.clone(),
        synthesized: session.synthesized(),
        intel_pt: session.intel_pt_data,
        foreign_tracer: session.foreign_tracer.clone(),
        cpu_map: session.cpu_map.clone(),
        spe_cpus: session.spe_cpus(),
        raw: None,
        incomplete: session.incomplete(),
        has_samples: session.has_samples || ledger.aux_bytes + ledger.foreign_aux_bytes > 0,
        ledger,
        captured: false,
        unfollowed_cpus: 0,
        in_use: None,
        ibs: session.ibs(),
    }
}

impl Session {
    /// Steps that it takes to make a [`Recording`].
    pub(crate) fn steps_to_tell(&self) -> usize {
        self.events.list().len() + self.announcements.rings()
    }

    /// Bytes of AUX data that were announced and are not in the recording, as far as it has been
    /// read.
    pub(crate) fn aux_missing_bytes(&self) -> u64 {
        self.announcements.missing(self.ended)
    }

    /// Why the recording does not hold all that happened while it was made.
    pub(crate) fn incomplete(&self) -> Vec<Incomplete> {
        let backward = |event: &Event| event.attr.flags.contains(AttrFlags::WRITE_BACKWARD);
        [
            (self.unfinished, Incomplete::Unfinished),
            // Of a file that was not finished that is to be expected.
            (self.cut_short && !self.unfinished, Incomplete::CutShort),
            (self.events.list().iter().any(backward), Incomplete::Overwritten),
            (self.announcements.overwritten, Incomplete::Snapshots),
        ]
        .into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, reason)| reason)
        .collect()
    }

    /// Which times the records had. Where samples and AUX data differ, the lesser counts.
    pub(crate) fn time_base(&self, aux_time_base: Option<TimeBase>) -> TimeBase {
        let bases = [aux_time_base, self.samples.time_base];
        bases.into_iter().flatten().min().unwrap_or_default()
    }

    /// Sources that records came from, in the order in which they are listed.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let mut sources = self.samples.sources.clone();
        sources.extend(self.arm_spe_data.then_some(Source::ArmSpe));
        // A trace of a program's path is no source of accesses.
        let asked = self.intel_pt_data && self.events.aux_output().next().is_some();
        sources.extend((asked || self.intel_pt_records).then_some(Source::IntelPt));
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Records of events that never have an address.
    pub(crate) fn not_address_events(&self) -> u64 {
        self.samples.not_address_events
    }

    /// What IBS registers said of physical addresses.
    pub(crate) fn ibs(&self) -> ibs::Tally {
        self.samples.ibs
    }

    /// The problems so far.
    pub(crate) fn problems(&self) -> Problems {
        let mut problems = self.problems.clone();
        problems.merge(self.samples.problems.clone());
        problems
    }

    /// Whether `perf inject` has put samples in the place of SPE data: it takes out the records of
    /// AUX data, and adds events of its own. It leaves the SPE event, or with `--strip` takes it out
    /// too.
    pub(crate) fn synthesized(&self) -> bool {
        let Some(replaced) = self.made_by_inject() else { return false };
        !self.samples.sources.is_empty()
            && self.events.list().iter().any(|event| event.is_synthesized(replaced))
    }

    /// Whether `perf inject` may have put samples in the place of SPE data, since nothing says that
    /// AUX data follows; and if so, whether the event of Arm SPE is there still.
    pub(super) fn made_by_inject(&self) -> Option<bool> {
        // Without a tracer units are known by name alone.
        let replaced = !self.named_spe.is_empty();
        let told = self.features.command_line.get(1).is_some_and(|command| command == "inject");
        (self.tracer.is_none() && (replaced || told)).then_some(replaced)
    }

    /// CPUs that have a unit of Arm SPE, where AUXTRACE_INFO lists them (version 2).
    pub(crate) fn spe_cpus(&self) -> Option<CpuSet> {
        let Some(Tracer::ArmSpe(info)) = &self.tracer else { return None };
        let units = info.cpus().iter().filter(|cpu| cpu.pmu_type.is_some());
        let cpus = units.filter_map(|cpu| u32::try_from(cpu.cpu).ok());
        (!info.cpus().is_empty()).then(|| cpus.collect())
    }

    /// The Arm SPE events: those of its units' types or names.
    pub(crate) fn arm_spe_events(&self) -> impl Iterator<Item = EventIndex> {
        let indexes = (0..=u16::MAX).map(EventIndex).take(self.events.list().len());
        indexes.filter(|index| self.is_arm_spe(*index))
    }
}
