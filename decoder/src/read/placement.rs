//! Where the bytes of AUX data go, and what becomes of the account of those that arrived.

use super::queue_state::{CHUNK_ALIGN, MAX_QUEUES, QueueState};
use super::session::Session;
use crate::aux_data::any_queue::Account;
use crate::aux_data::byte_account::Timed;
use crate::aux_data::chunk::{AuxFormat, Chunk, Continuity};
use crate::intel_pt::{Core, Pebs, Sampled};
use crate::perf::{Auxtrace, Event, QueueKey, SpeInfo, Tracer};
use crate::spe::{Encoding, encoding};
use crate::{EventIndex, Ledger, Position, Sink, Source, TimeBase, TraceOffset, cost};

/// Where the bytes of the AUX data that comes next go.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Queue(usize),
    Foreign,
    Skipped,
}

/// Steps that making a queue takes.
const QUEUE_STEPS: usize = 16;

/// Where AUX data belongs.
#[derive(Debug)]
pub(crate) enum Placement {
    /// To the queue with this number.
    Queue(usize, Chunk),
    /// To a tracer that is not decoded.
    Foreign,
    /// To one queue too many.
    TooMany,
}

impl Session {
    /// Places AUX data that is about to come.
    pub(crate) fn place<S: Sink + ?Sized>(
        &mut self,
        aux: &Auxtrace,
        position: Position,
        sink: &mut S,
    ) -> Placement {
        cost::steps(1);
        self.refresh(sink);
        if !self.announcements.begin(Some(aux)) {
            self.problems.add(
                "AUX data that is longer than a ring, or further on than one is long",
                position.offset.0,
                "what it says to lie before it is not counted as missing",
            );
        }
        let source = match &self.tracer {
            Some(Tracer::ArmSpe(_)) => Source::ArmSpe,
            Some(Tracer::IntelPt) => Source::IntelPt,
            Some(Tracer::Other(number)) => {
                self.foreign_tracer = Some(format!("number {number}"));
                return Placement::Foreign;
            }
            // Without the record only an event of the unit says what the bytes are.
            None if !self.named_spe.is_empty() => Source::ArmSpe,
            None => {
                self.foreign_tracer = Some("unknown kind".to_owned());
                return Placement::Foreign;
            }
        };
        let next_index = self.queues.len();
        let key = (source, aux.queue);
        if next_index == MAX_QUEUES && !self.queue_index.contains_key(&key) {
            self.problems.add(
                "more AUX queues than can be",
                position.offset.0,
                "its data is skipped",
            );
            return Placement::TooMany;
        }
        self.arm_spe_data |= source == Source::ArmSpe;
        self.intel_pt_data |= source == Source::IntelPt;
        let index = *self.queue_index.entry(key).or_insert(next_index);
        if index == next_index {
            cost::steps(QUEUE_STEPS);
            let (event, format) = match source {
                Source::IntelPt => self.pebs_facts(),
                _ => self.spe_facts(aux.queue.cpu),
            };
            self.queues.push(QueueState {
                key: aux.queue,
                end: 0,
                covered: 0..0,
                tail_zeros: 0,
                filling: 0,
                started: false,
                clock: None,
                event,
                format,
            });
        }
        let announced = match (aux.queue.cpu, aux.queue.tid) {
            (Some(cpu), _) => self.announced_cpus.get_mut(&cpu),
            (None, Some(tid)) => self.announced_threads.get_mut(&tid),
            (None, None) => None,
        };
        let end = aux.offset.wrapping_add(aux.size);
        let (overwrites, breaks, filling) = match announced {
            None => (false, Vec::new(), 0),
            Some(announced) => {
                let mut passed = Vec::new();
                while let Some(place) = announced.breaks.first().filter(|place| **place <= end) {
                    passed.push(*place);
                    announced.breaks.pop_first();
                }
                cost::steps(passed.len());
                let filling = u8::try_from(end.wrapping_sub(announced.end)).unwrap_or(0);
                let is_filling = filling < CHUNK_ALIGN && u64::from(filling) < aux.size;
                (announced.overwrites, passed, if is_filling { filling } else { 0 })
            }
        };
        // With a clock of the user's choice, nanoseconds from ticks are of another one.
        let clock = self.clock.filter(|_| !self.events.use_other_clock());
        let queue = &mut self.queues[index];
        let (offset, reference) = (aux.offset, aux.reference);
        let (event, format) = (queue.event, queue.format.clone());
        queue.clock = clock;
        let chunk = |continuity, repeated, data_len| Chunk {
            offset,
            data_len,
            continuity,
            repeated,
            breaks,
            clock,
            reference,
            event,
            format,
        };
        if aux.size == 0 && queue.started && offset == queue.end {
            // It says nothing of what the last bytes were.
            return Placement::Queue(index, chunk(Continuity::Continued, 0, 0));
        }
        let kept = queue.take_filling(offset);
        let (continuity, repeated) = match queue.follow_on(offset, overwrites) {
            (Continuity::Continued, 0) if kept > 0 => (Continuity::Kept(kept), 0),
            follows => follows,
        };
        queue.started = true;
        queue.filling = filling;
        queue.end = aux.offset;
        if aux.offset < queue.covered.start || aux.offset > queue.covered.end {
            queue.covered = aux.offset..aux.offset;
        }
        queue.tail_zeros = 0;
        let data_len = aux.size - u64::from(filling);
        Placement::Queue(index, chunk(continuity, repeated, data_len))
    }

    /// What is to be added to queues whose end was taken for perf's filling, but was announced
    /// as data behind it: chunks of no bytes, which end the queues.
    pub(crate) fn rests(&mut self) -> Vec<(usize, QueueKey, Chunk)> {
        let mut rests = Vec::new();
        for (index, queue) in self.queues.iter_mut().enumerate() {
            let announced = match (queue.key.cpu, queue.key.tid) {
                (Some(cpu), _) => self.announced_cpus.get(&cpu),
                (None, Some(tid)) => self.announced_threads.get(&tid),
                (None, None) => None,
            };
            let Some(announced) = announced else { continue };
            let offset = announced.end.min(queue.end);
            let kept = queue.take_filling(offset);
            if kept > 0 {
                let chunk = Chunk {
                    offset,
                    data_len: 0,
                    continuity: Continuity::Kept(kept),
                    repeated: 0,
                    breaks: Vec::new(),
                    clock: queue.clock,
                    reference: None,
                    event: queue.event,
                    format: queue.format.clone(),
                };
                rests.push((index, queue.key, chunk));
            }
        }
        rests
    }

    /// Takes note of which records a queue that has ended had.
    pub(crate) fn settled_records(&mut self, account: &Account) {
        self.intel_pt_records |= account.source == Source::IntelPt && account.timed.records;
    }

    pub(super) fn is_arm_spe(&self, index: EventIndex) -> bool {
        let of_unit = |event: &Event| match &self.tracer {
            Some(Tracer::ArmSpe(info)) => info.has_type(event.attr.type_),
            _ => false,
        };
        self.events.is_arm_spe(index, &self.features) || self.events.get(index).is_some_and(of_unit)
    }

    /// The event and the data source encoding of a CPU's queue of Arm SPE.
    pub(super) fn spe_facts(&self, cpu: Option<u32>) -> (Option<EventIndex>, AuxFormat) {
        let nothing = SpeInfo::default();
        let info = if let Some(Tracer::ArmSpe(info)) = &self.tracer { info } else { &nothing };
        let block = cpu.and_then(|cpu| info.of_cpu(cpu));
        let pmu_type = block.and_then(|block| block.pmu_type).or(info.pmu_type);
        let midr = match (block, cpu) {
            (Some(block), _) => Some(block.midr),
            // A thread may run anywhere: only if all CPUs are alike is its CPU known.
            (None, None) if !info.cpus().is_empty() => info.alike(),
            _ => self.features.midr().map(crate::spe::Midr::new),
        };
        let encoding = midr.map_or(Encoding::Unknown, encoding);
        let of_type = pmu_type.and_then(|type_| self.events.of_type(type_));
        (of_type.or(self.named_spe.first().copied()), AuxFormat::ArmSpe(encoding))
    }

    /// The event of PEBS records in Intel PT, if there is one alone, and what else they belong to.
    pub(super) fn pebs_facts(&mut self) -> (Option<EventIndex>, AuxFormat) {
        let of = (self.events.list().len(), self.refreshes);
        let pebs = match self.pebs.take() {
            Some((events, refreshes, pebs)) if (events, refreshes) == of => pebs,
            _ => {
                cost::steps(of.0);
                let core = self.features.cpuid.as_deref().map(Core::of).unwrap_or_default();
                let events = self.events.aux_output();
                let events = events.map(|(index, event)| (index, Sampled::of(&event.attr)));
                Pebs { core, events: events.collect() }
            }
        };
        let event = pebs.only_event();
        self.pebs = Some((of.0, of.1, pebs.clone()));
        (event, AuxFormat::IntelPt(pebs))
    }

    /// Tells that bytes of a queue's chunk have come.
    pub(crate) fn arrived(&mut self, queue: usize, bytes: &[u8]) {
        self.announcements.come(bytes.len());
        self.unsettled = self.unsettled.wrapping_add(bytes.len() as u64);
        let queue = &mut self.queues[queue];
        queue.end = queue.end.wrapping_add(bytes.len() as u64);
        queue.covered.end = queue.covered.end.max(queue.end);
        let most = usize::from(CHUNK_ALIGN) - 1;
        let zeros = bytes.iter().rev().take(most).take_while(|byte| **byte == 0).count();
        let before = if zeros == bytes.len() { usize::from(queue.tail_zeros) } else { 0 };
        queue.tail_zeros = u8::try_from((before + zeros).min(most)).unwrap_or(0);
    }
}

impl Session {
    /// The queue that AUX data belongs to, and its place there; or where it goes instead.
    pub(crate) fn target<S: Sink>(
        &mut self,
        aux: Option<&Auxtrace>,
        position: Position,
        sink: &mut S,
    ) -> Result<(usize, QueueKey, Chunk), Target> {
        let Some(aux) = aux else {
            self.announcements.begin(None);
            return Err(Target::Skipped);
        };
        match self.place(aux, position, sink) {
            Placement::Queue(index, chunk) => Ok((index, aux.queue, chunk)),
            Placement::Foreign => Err(Target::Foreign),
            Placement::TooMany => Err(Target::Skipped),
        }
    }

    /// Takes a finished queue's account.
    pub(crate) fn settle(&mut self, account: Account) {
        self.settled_records(&account);
        let bytes = account.total.wrapping_add(account.bytes.overlap);
        self.unsettled = self.unsettled.wrapping_sub(bytes);
        add_queue(&mut self.ledger, &mut self.aux_time_base, account);
    }

    /// Counts AUX bytes that no queue takes.
    pub(crate) fn pass_over(&mut self, target: Target, len: usize) {
        self.announcements.come(len);
        match target {
            Target::Foreign => self.ledger.foreign_aux_bytes += len as u64,
            Target::Queue(_) | Target::Skipped => {
                self.ledger.aux_bytes += len as u64;
                self.ledger.skipped_bytes += len as u64;
            }
        }
    }
}

/// Adds a queue's account to that of all, and its times to the best.
pub(crate) fn add_queue(ledger: &mut Ledger, best: &mut Option<TimeBase>, account: Account) {
    let Account { bytes, total, timed, .. } = account;
    ledger.aux_bytes += total;
    ledger.record_bytes += bytes.record;
    ledger.padding_bytes += bytes.padding;
    ledger.skipped_bytes += bytes.skipped;
    ledger.cut_off_bytes += bytes.cut_off;
    ledger.overlap_bytes += bytes.overlap;
    let base = match timed {
        Timed { ns: true, .. } => Some(TimeBase::Ns),
        Timed { ticks: true, .. } => Some(TimeBase::Ticks),
        Timed { records: true, .. } => Some(TimeBase::None),
        _ => None,
    };
    *best = (*best).max(base);
}

/// A position of its own for the rest of each queue, behind all others.
pub(crate) fn behind(end: Position, queue: usize) -> Position {
    /// A rest is shorter.
    const LEN: u64 = 8;
    let offset = end.offset.0.saturating_add(LEN.saturating_mul(queue as u64 + 1));
    Position { offset: TraceOffset(offset), ..end }
}
