//! What the records of an input have said so far, as a [`Recording`].

use super::placement::add_queue;
use super::session::Session;
use crate::aux_data::queue::Queue;
use crate::perf::Event;
use crate::{EventIndex, InputKind, Recording, cost};

/// What the records have said so far. `queues` are those that are not settled.
pub(crate) fn recording(
    session: &mut Session,
    queues: &[Queue],
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
