//! What AUX and AUX_OUTPUT_HW_ID records say of AUX data: what was lost, and which event a counter counts.

use super::queue_state::MAX_QUEUES;
use super::session::Session;
use crate::cursor::Cursor;
use crate::perf::auxtrace::known;
use crate::perf::{Aux, AuxFlags, AuxOwner};

/// Places of losses that are kept for one CPU until their data comes.
const MAX_BREAKS: usize = 1 << 10;
impl Session {
    /// ID_INDEX: a count, four words for each id (itself, index, CPU, thread), and if there were
    /// guests two more for each (machine, virtual CPU), behind all others
    /// (`tools/lib/perf/include/perf/event.h`, `struct perf_record_id_index`).
    pub(super) fn id_index(&mut self, mut words: Cursor<'_>) -> Option<()> {
        let count = words.u64()?;
        let bytes = words.rest();
        let entries = usize::try_from(count.checked_mul(32)?).ok()?;
        let (entries, machines) = bytes.split_at_checked(entries)?;
        // A number that does not fit is -1, all ones.
        let number = |word: u64| u32::try_from(word).ok().and_then(known);
        let mut machines = machines.chunks_exact(16);
        for entry in entries.chunks_exact(32) {
            let mut entry = Cursor::new(entry, self.order);
            let (id, _index) = (entry.u64()?, entry.u64()?);
            let (cpu, thread) = (entry.u64()?, entry.u64()?);
            let machine = machines.next().map(|machine| Cursor::new(machine, self.order).u64());
            if machine.flatten().is_some_and(|machine| machine != 0) {
                self.events.inside_guest(id);
            } else {
                self.events.opened(id, number(cpu), number(thread));
            }
        }
        Some(())
    }

    /// Learns which event a counter counts from the time of a record on.
    pub(super) fn counter(&mut self, body: &[u8], number: u64) {
        let event = self.events.of_trailer(body, self.order);
        let event = event.filter(|event| self.events.is_aux_output(*event));
        let (Some(event), Some(trailer)) = (event, self.trailer(body)) else { return };
        let Some(number) = u8::try_from(number).ok().filter(|number| *number < 64) else { return };
        // The ring belongs to a CPU, or to a thread where the recording has no CPUs.
        let thread = trailer.pid_tid.and_then(|(_, tid)| known(tid));
        let rings = [trailer.cpu.map(AuxOwner::Cpu), thread.map(AuxOwner::Thread)];
        for ring in rings.into_iter().flatten() {
            self.sideband.counter(ring, number, trailer.time.unwrap_or(0), event);
        }
    }

    /// An AUX record: flags of data that has come or will come.
    pub(super) fn aux(&mut self, body: &[u8], at: u64) -> Option<()> {
        let aux = Aux::parse(body, self.order)?;
        for (flag, count) in [
            (AuxFlags::TRUNCATED, &mut self.ledger.aux_truncated),
            (AuxFlags::PARTIAL, &mut self.ledger.aux_partial),
            (AuxFlags::COLLISION, &mut self.ledger.aux_collision),
        ] {
            *count += u64::from(aux.flags.contains(flag));
        }
        let broken = aux.flags.intersects(AuxFlags::TRUNCATED | AuxFlags::PARTIAL);
        let trailer = self.trailer(body);
        self.announcements.overwritten |= aux.flags.contains(AuxFlags::OVERWRITE);
        let can_be = self.announcements.announce(
            trailer.and_then(|trailer| known(trailer.cpu?)),
            trailer.and_then(|trailer| known(trailer.pid_tid?.1)),
            &(aux.start..aux.end),
        );
        if !can_be {
            self.problems.add(
                "AUX record of more bytes than a ring has",
                at,
                "they are not counted as missing",
            );
        }
        // Rings belong to a CPU, or to a thread where the recording has no CPUs.
        let Some(trailer) = trailer else { return Some(()) };
        let tid = trailer.pid_tid.map(|(_, tid)| tid);
        for (by_number, number) in
            [(&mut self.announced_cpus, trailer.cpu), (&mut self.announced_threads, tid)]
        {
            let Some(number) = number else { continue };
            if by_number.len() >= MAX_QUEUES && !by_number.contains_key(&number) {
                continue;
            }
            let announced = by_number.entry(number).or_default();
            announced.end = aux.end;
            announced.overwrites |= aux.flags.contains(AuxFlags::OVERWRITE);
            if broken {
                announced.breaks.insert(aux.end);
                if announced.breaks.len() > MAX_BREAKS {
                    announced.breaks.pop_first();
                }
            }
        }
        Some(())
    }
}
