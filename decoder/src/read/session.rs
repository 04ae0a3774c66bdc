//! What a recording's records say, taken in their order: events, threads, losses, samples, and
//! where each chunk of AUX data belongs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::recording_facts::{EventFacts, Facts};
use crate::aux_data::announced::Announcements;
use crate::aux_data::chunk::{AuxFormat, Chunk, Continuity};
use crate::aux_data::queue::Account;
use crate::cursor::{ByteOrder, Cursor};
use crate::intel_pt::{Core, Pebs, Sampled};
use crate::perf::attr::{Attr, AttrFlags};
use crate::perf::auxtrace::known;
use crate::perf::feature::number as feature;
use crate::perf::record::{MISC_COMM_EXEC, MISC_LOST_SAMPLES_BPF, MISC_SWITCH_OUT, Record, kind};
use crate::perf::{
    Aux, AuxFlags, AuxOwner, Auxtrace, Clock, CpuSet, DataSrc, Event, EventTable, Features,
    QueueKey, Sample, SideBand, Sign, SpeInfo, Task, Tracer, Trailer, never_has_address,
};
use crate::spe::{Encoding, encoding};
use crate::{
    Access, AccessFlags, Direction, EventIndex, Incomplete, Ledger, Operation, Origin, PhysAddr,
    Position, Problem, Sink, Source, TimeBase, Tlb, TraceOffset, VirtAddr, cost, ibs,
};

/// Queues that are decoded: one for each CPU or thread. More come only from damage.
const MAX_QUEUES: usize = 1 << 14;
/// Steps that making one of them takes.
const QUEUE_STEPS: usize = 16;
/// Places of losses that are kept for one CPU until their data comes.
const MAX_BREAKS: usize = 1 << 10;
/// Problems that are told in full; the rest are counted.
const MAX_PROBLEMS: usize = 64;
/// How often all events are looked at anew because something else is said of the machine. It is
/// said once, before the records.
const MAX_REFRESHES: u32 = 16;
/// A change of an event's pace is told at most once in so many records on average, or in as many as
/// there are events and rings, if these are more: what is told is a whole [`Recording`], for which
/// all of them are looked at.
const TELLING_EVERY: u64 = 64;
/// Records' worth of tellings that may come at once.
const TELLINGS_SAVED: u64 = 256 * TELLING_EVERY;
/// perf fills each chunk of AUX data up to a multiple of this with zeros.
const PIECE_ALIGN: u8 = 8;

/// The problems of a recording, or of a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    /// The first ones, each with the number of the record at which it was found.
    list: Vec<(u64, Problem)>,
    pub(crate) count: u64,
    /// Number of the record that is read.
    record: u64,
}

impl Problems {
    pub(crate) fn add(&mut self, what: impl Into<String>, at: u64, consequence: &'static str) {
        cost::steps(1);
        self.count += 1;
        if self.list.len() < MAX_PROBLEMS {
            let problem = Problem { what: what.into(), offset: TraceOffset(at), consequence };
            self.list.push((self.record, problem));
        }
    }

    /// Puts those of sample records, which others may have read, in their places: before all
    /// others that were found at the same record or behind it.
    fn merge(&mut self, samples: Self) {
        self.count += samples.count;
        self.list.splice(0..0, samples.list);
        self.list.sort_by_key(|(record, _)| *record);
        self.list.truncate(MAX_PROBLEMS);
    }

    /// The first problems, in their order.
    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list.into_iter().map(|(_, problem)| problem).collect()
    }
}

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

/// What the walk over the queues needs to know of one.
#[derive(Debug)]
struct QueueState {
    key: QueueKey,
    /// Place of the byte after the last one that came.
    end: u64,
    /// Places that have come without a gap between them: what lies in them has come before.
    covered: core::ops::Range<u64>,
    /// Zeros that the last chunk ended in, at most 7.
    tail_zeros: u8,
    /// Bytes behind the end that AUX records announced, at most 7: perf's filling.
    filling: u8,
    started: bool,
    clock: Option<Clock>,
    event: Option<EventIndex>,
    unit: AuxFormat,
}

/// What AUX records said of the data of one CPU or thread.
#[derive(Debug, Default)]
struct Announced {
    /// Place of the byte after the last one that was announced.
    end: u64,
    breaks: BTreeSet<u64>,
    overwrites: bool,
}

/// The state of a recording.
#[derive(Debug)]
pub(crate) struct Session {
    order: ByteOrder,
    pub(crate) features: Features,
    pub(crate) events: EventTable,
    pub(crate) sideband: SideBand,
    pub(crate) ledger: Ledger,
    pub(crate) problems: Problems,
    /// AUX bytes that queues were given and that are in no account yet.
    pub(crate) unsettled: u64,
    /// Best times of the records in AUX data.
    pub(crate) aux_time_base: Option<TimeBase>,
    /// There was AUX data of Arm SPE.
    arm_spe_data: bool,
    /// There was AUX data of Intel PT.
    pub(crate) intel_pt_data: bool,
    /// There were PEBS records in it.
    intel_pt_records: bool,
    /// What sample records came to.
    samples: Samples,
    /// A task that shows that virtual machines ran.
    pub(crate) hypervisor: Option<String>,
    /// A tracer that wrote AUX data which is not decoded.
    pub(crate) foreign_tracer: Option<String>,
    /// CPUs that were recorded, as CPU_MAP says.
    pub(crate) cpu_map: Option<CpuSet>,
    tracer: Option<Tracer>,
    clock: Option<Clock>,
    queue_index: HashMap<(Source, QueueKey), usize>,
    queues: Vec<QueueState>,
    announced_cpus: HashMap<u32, Announced>,
    announced_threads: HashMap<u32, Announced>,
    pub(crate) announcements: Announcements,
    /// Its recorder did not finish the file.
    pub(crate) unfinished: bool,
    /// The input ends before its last record does, or before that record's data.
    pub(crate) cut_short: bool,
    /// It has been read to its end.
    ended: bool,
    /// There were sample records, with addresses or without.
    pub(crate) has_samples: bool,
    facts: Arc<Facts>,
    /// EventTable of an Arm SPE unit, by its name or their own.
    named_spe: BTreeSet<EventIndex>,
    /// What is known of the machine or the tracer is not what the facts were made of.
    outdated: bool,
    refreshes: u32,
    /// What PEBS records in AUX data belong to, for so many events and refreshes.
    pebs: Option<(usize, u32, Pebs)>,
    /// An event's pace is another one than the sink was told.
    repaced: bool,
    /// The record at which it is told, if all before were told one by one: see [`TELLING_EVERY`].
    pace_untold: u64,
}

/// Whether a record is of a virtual machine that ran on the machine that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// It is not.
    No,
    /// The host's unit sampled it while it ran: what hardware says of physical addresses is true of
    /// the host, and all else that names addresses is the guest's.
    Sampled,
    /// It was recorded inside of it, and put among the host's by `perf inject --guest-data`: all
    /// addresses, and the numbers of its processes, are the guest's.
    Inside,
}

/// A sample record with addresses, and what reading it takes beside the facts of its event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampleRecord<'a> {
    pub(crate) event: EventIndex,
    pub(crate) guest: Guest,
    pub(crate) body: &'a [u8],
    pub(crate) position: Position,
    /// The number of the record, which orders problems.
    pub(crate) record: u64,
}

/// What sample records came to, all of them or those that one thread has read.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    problems: Problems,
    time_base: Option<TimeBase>,
    sources: Vec<Source>,
    ibs: ibs::Tally,
    /// Records of events that never have an address.
    not_address_events: u64,
}

impl Samples {
    /// Reads one.
    pub(crate) fn take<S: Sink + ?Sized>(
        &mut self,
        record: SampleRecord<'_>,
        facts: &Facts,
        order: ByteOrder,
        sink: &mut S,
    ) {
        let SampleRecord { event, guest, body, position, record } = record;
        let Some(known) = facts.get(event) else { return };
        let EventFacts { attr, source, no_address, fetches, direction, .. } = known;
        let Some(sample) = Sample::parse(body, attr, order) else {
            self.problems.record = record;
            self.problems.add(
                "sample record whose fields do not end where it ends",
                position.offset.0,
                "it is not counted",
            );
            return;
        };
        // Should a kernel write one there all the same, the record is one of memory.
        if *no_address && present(sample.addr).or_else(|| present(sample.phys_addr)).is_none() {
            self.not_address_events += 1;
            return;
        }
        if !self.sources.contains(source) {
            self.sources.push(*source);
        }
        let base = if sample.time.is_some() { TimeBase::Ns } else { TimeBase::None };
        self.time_base = self.time_base.max(Some(base));
        let origin = Origin {
            source: *source,
            event: Some(event),
            cpu: sample.cpu,
            time_ns: sample.time,
            not_retired: false,
            position,
        };
        let op = match source {
            Source::IbsOp => self.op(&sample, facts.ibs_model, guest, record, position),
            _ => None,
        };
        match access(&sample, op.as_ref(), origin, *direction, guest).filter(|_| !fetches) {
            Some(access) => {
                if *source == Source::IbsOp {
                    self.ibs.count(&access);
                }
                sink.access(&access);
            }
            None => sink.other(&origin),
        }
    }

    /// The registers of an IBS op, if the sample has any.
    fn op(
        &mut self,
        sample: &Sample<'_>,
        model: ibs::Model,
        guest: Guest,
        record: u64,
        position: Position,
    ) -> Option<ibs::Op> {
        // An event without raw data has RAW all the same: four zeros.
        let raw = sample.raw.filter(|raw| raw.iter().any(|byte| *byte != 0))?;
        let op = ibs::Op::parse(raw, model);
        if let Some(op) = &op {
            // What the kernel says of a guest's physical address is no second opinion.
            if guest == Guest::No {
                self.ibs.take(op, present(sample.phys_addr));
            }
        } else {
            self.problems.record = record;
            self.problems.add(
                "sample record whose raw data holds no IBS op",
                position.offset.0,
                "its registers are ignored",
            );
        }
        op
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.problems.merge(other.problems);
        self.time_base = self.time_base.max(other.time_base);
        self.sources.extend(other.sources);
        self.ibs += other.ibs;
        self.not_address_events += other.not_address_events;
    }
}

impl Session {
    pub(crate) fn new(order: ByteOrder) -> Self {
        Self {
            order,
            features: Features::default(),
            events: EventTable::default(),
            sideband: SideBand::default(),
            ledger: Ledger::default(),
            problems: Problems::default(),
            unsettled: 0,
            aux_time_base: None,
            arm_spe_data: false,
            intel_pt_data: false,
            intel_pt_records: false,
            samples: Samples::default(),
            hypervisor: None,
            foreign_tracer: None,
            cpu_map: None,
            tracer: None,
            clock: None,
            queue_index: HashMap::new(),
            queues: Vec::new(),
            announced_cpus: HashMap::new(),
            announced_threads: HashMap::new(),
            announcements: Announcements::default(),
            unfinished: false,
            cut_short: false,
            ended: false,
            has_samples: false,
            facts: Arc::default(),
            named_spe: BTreeSet::new(),
            outdated: false,
            refreshes: 0,
            pebs: None,
            repaced: false,
            pace_untold: 0,
        }
    }

    /// The state of a stream, of whose threads not all is remembered for ever.
    pub(crate) fn of_stream(order: ByteOrder) -> Self {
        Self { sideband: SideBand::of_stream(), ..Self::new(order) }
    }

    pub(crate) fn order(&self) -> ByteOrder {
        self.order
    }

    /// Takes one attribute with its ids, from a table or a record.
    pub(crate) fn attribute(&mut self, attr: Attr, ids: &[u8], at: u64) {
        let order = self.order;
        let ids = ids.chunks_exact(8).filter_map(|id| Cursor::new(id, order).u64());
        if !self.events.add(attr, ids) {
            self.problems.add(
                "more events or ids than are remembered",
                at,
                "some samples have no event",
            );
        }
    }

    /// Takes one feature section.
    pub(crate) fn feature(&mut self, number: u64, bytes: &[u8], at: u64) {
        cost::bytes(bytes.len());
        if let Err(name) = self.features.take(number, bytes, self.order) {
            self.problems.add(
                format!("feature section {name} that does not hold together"),
                at,
                "it is ignored",
            );
            return;
        }
        match number {
            feature::EVENT_DESC => self.events.describe(&self.features.events),
            feature::ARCH | feature::CPUID | feature::PMU_MAPPINGS => self.outdated = true,
            _ => {}
        }
    }

    /// Brings the facts up to date, and tells the sink new names.
    #[inline]
    fn refresh<S: Sink + ?Sized>(&mut self, sink: &mut S) {
        if self.outdated || self.events.have_changed() {
            self.refresh_changed(sink);
        }
    }

    fn refresh_changed<S: Sink + ?Sized>(&mut self, sink: &mut S) {
        let changed = self.events.take_changed();
        let replaced = self.made_by_inject();
        changed.iter().for_each(|index| self.refresh_unit(*index));
        // What other events' samples are depends on whether they stand in the place of SPE data.
        let outdated = core::mem::take(&mut self.outdated) || self.made_by_inject() != replaced;
        let all = outdated && self.refreshes < MAX_REFRESHES;
        let mut facts = Facts::clone(&self.facts);
        if all {
            self.refreshes += u32::from(facts.get(EventIndex(0)).is_some());
            facts.ibs_model =
                self.features.cpuid.as_deref().map(ibs::Model::of).unwrap_or_default();
            let count = self.events.list().len();
            let indexes = || (0..=u16::MAX).map(EventIndex).take(count);
            indexes().for_each(|index| self.refresh_unit(index));
            indexes().for_each(|index| self.refresh_event(index, &mut facts));
        } else {
            changed.into_iter().for_each(|index| self.refresh_event(index, &mut facts));
        }
        facts.tell_names(&self.facts, sink);
        self.facts = Arc::new(facts);
    }

    /// Steps that it takes to make a [`Recording`].
    pub(crate) fn steps_to_tell(&self) -> usize {
        self.events.list().len() + self.announcements.rings()
    }

    /// Records within which one telling is allowed.
    fn telling_takes(&self) -> u64 {
        TELLING_EVERY.max(self.steps_to_tell() as u64)
    }

    /// Whether the event belongs to a unit of Arm SPE.
    fn refresh_unit(&mut self, index: EventIndex) {
        cost::steps(1);
        if self.events.is_arm_spe(index, &self.features) {
            self.named_spe.insert(index);
        } else {
            self.named_spe.remove(&index);
        }
    }

    fn refresh_event(&self, index: EventIndex, facts: &mut Facts) {
        cost::steps(1);
        let Some(event) = self.events.get(index) else { return };
        let source = self.events.source(index, &self.features);
        let event = EventFacts {
            name: self.event_name(index).into(),
            attr: event.attr,
            source,
            has_addresses: event.has_addresses(source),
            no_address: never_has_address(&event.attr, source, &self.features)
                && !self.made_by_inject().is_some_and(|replaced| event.is_synthesized(replaced)),
            fetches: self.events.fetches(index, &self.features),
            direction: event.direction(),
        };
        facts.set(index, event);
    }

    /// What is known of the events. Does not change while it is held.
    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// A name for an event.
    pub(crate) fn event_name(&self, index: EventIndex) -> String {
        self.events.name_of(index, &self.features, self.is_arm_spe(index))
    }

    /// Takes one record. What belongs to it behind its size comes apart.
    pub(crate) fn record<S: Sink + ?Sized>(
        &mut self,
        record: &Record<'_>,
        position: Position,
        sink: &mut S,
    ) {
        self.begin_record(record);
        if record.kind == kind::SAMPLE {
            if let Some(sample) = self.sample(record, position, sink) {
                self.samples.take(sample, &self.facts, self.order, sink);
            }
        } else if self.other_record(record, position.offset.0).is_none() {
            self.problems.add(
                format!("record of kind {} too short for it", record.kind),
                position.offset.0,
                "it is ignored",
            );
        } else if let Some(pid) = begins(record, self.order) {
            if self.guest(record) == Guest::No {
                sink.exec(pid);
            }
        } else if self.repaced && self.pace_untold <= self.problems.record + TELLINGS_SAVED {
            self.repaced = false;
            self.pace_untold = self.pace_untold.max(self.problems.record) + self.telling_takes();
            sink.recording_changed();
        }
    }

    fn begin_record(&mut self, record: &Record<'_>) {
        cost::steps(1);
        cost::bytes(record.body.len());
        self.problems.record += 1;
    }

    /// Takes a record that is no sample. `None` if it is too short for its kind.
    fn other_record(&mut self, record: &Record<'_>, at: u64) -> Option<()> {
        let body = record.body;
        let mut words = Cursor::new(body, self.order);
        if record.kind < kind::FIRST_OF_TOOL {
            self.tasks(record)?;
        }
        match record.kind {
            kind::HEADER_ATTR => {
                let (attr, size) = Attr::parse(body, self.order)?;
                self.attribute(attr, &body[size..], at);
            }
            kind::HEADER_FEATURE => {
                let number = words.u64()?;
                self.feature(number, words.rest(), at);
            }
            kind::EVENT_UPDATE => self.event_update(words, at)?,
            kind::CPU_MAP => self.cpu_map = CpuSet::of_map(body, self.order),
            kind::ID_INDEX => self.id_index(words)?,
            kind::TIME_CONV => self.clock = Clock::parse(body, self.order).or(self.clock),
            kind::AUXTRACE_INFO => {
                cost::bytes(body.len());
                self.tracer = Some(Tracer::parse(body, self.order)?);
                self.announcements.overwritten |= Tracer::holds_snapshots(body, self.order);
                self.outdated = true;
            }
            kind::AUX => self.aux(body, at)?,
            kind::AUX_OUTPUT_HW_ID => self.counter(body, words.u64()?),
            kind::LOST => {
                let (_id, lost) = (words.u64()?, words.u64()?);
                self.ledger.lost_records = self.ledger.lost_records.saturating_add(lost);
            }
            kind::LOST_SAMPLES if record.misc & MISC_LOST_SAMPLES_BPF == 0 => {
                self.ledger.lost_samples = self.ledger.lost_samples.saturating_add(words.u64()?);
            }
            kind::THROTTLE => self.ledger.throttled += 1,
            kind::COMM => self.comm(words)?,
            _ => {}
        }
        Some(())
    }

    fn event_update(&mut self, mut words: Cursor<'_>, at: u64) -> Option<()> {
        const SCALE: u64 = 1;
        const NAME: u64 = 2;
        const CPUS: u64 = 3;
        let (what, id) = (words.u64()?, words.u64()?);
        match what {
            SCALE => {
                let scale = f64::from_bits(words.u64()?);
                if scale.is_finite() && scale >= 0.0 {
                    self.repaced |= self.events.scale(id, scale);
                } else {
                    let what = format!("scale of an event that is {scale}");
                    self.problems.add(what, at, "it is ignored");
                }
            }
            NAME => {
                let name = words.rest().split(|byte| *byte == 0).next().unwrap_or_default();
                self.events.rename(id, &String::from_utf8_lossy(name));
            }
            CPUS => {
                if let Some(cpus) = CpuSet::of_map(words.rest(), self.order) {
                    self.events.belongs_to(id, cpus);
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Learns what a record of the kernel's says of threads. Each names the one that ran when it was
    /// written; some name others, or say what the thread begins or ends. `None` if it is too short.
    fn tasks(&mut self, record: &Record<'_>) -> Option<()> {
        // Numbers inside of a guest are not those of the host.
        if self.guest(record) != Guest::No {
            return Some(());
        }
        let body = record.body;
        let mut words = Cursor::new(body, self.order);
        let trailer = self.trailer(body).unwrap_or_default();
        let own = trailer.pid_tid.and_then(|(pid, tid)| self::task(pid, tid));
        let time = trailer.time.unwrap_or(0);
        self.thread(own, time, Sign::Seen);
        match record.kind {
            kind::COMM | kind::MMAP | kind::MMAP2 => {
                let execed = record.kind == kind::COMM && record.misc & MISC_COMM_EXEC != 0;
                let sign = if execed { Sign::Execed } else { Sign::Seen };
                self.thread(task(words.u32()?, words.u32()?), time, sign);
            }
            kind::FORK | kind::EXIT => {
                let (pid, _parent, tid) = (words.u32()?, words.u32()?, words.u32()?);
                let _parents_thread = words.u32();
                let time = words.u64().unwrap_or(time);
                // perf writes such records for threads that were there before it.
                let sign = match record.kind {
                    kind::EXIT => Sign::Ended,
                    _ if time == 0 => Sign::Seen,
                    _ => Sign::Born,
                };
                self.thread(task(pid, tid), time, sign);
            }
            kind::ITRACE_START => {
                let task = task(words.u32()?, words.u32()?);
                self.thread(task, time, Sign::Seen);
                self.switch(trailer, task);
            }
            // Going out to a task that the record does not name, or coming in.
            kind::SWITCH => {
                let out = record.misc & MISC_SWITCH_OUT != 0;
                self.switch(trailer, own.filter(|_| !out));
            }
            // Going out to the named task, or coming in after it.
            kind::SWITCH_CPU_WIDE => {
                let out = record.misc & MISC_SWITCH_OUT != 0;
                let other = task(words.u32()?, words.u32()?);
                self.thread(other, time, Sign::Seen);
                self.switch(trailer, if out { other } else { own });
            }
            _ => {}
        }
        Some(())
    }

    fn thread(&mut self, task: Option<Task>, time: u64, sign: Sign) {
        if let Some(task) = task {
            self.sideband.thread(task, time, sign);
        }
    }

    /// Learns which task a CPU runs from the time of a record on.
    fn switch(&mut self, trailer: Trailer, task: Option<Task>) {
        if let Trailer { time: Some(time), cpu: Some(cpu), .. } = trailer {
            self.sideband.switch(cpu, time, task);
        }
    }

    /// Whether a record of the kernel's is of a guest: by the mode of the processor, or by its
    /// event, if that was recorded inside of one.
    fn guest(&self, record: &Record<'_>) -> Guest {
        if self.events.is_inside_guest(record, self.order) {
            Guest::Inside
        } else if record.is_of_guest() {
            Guest::Sampled
        } else {
            Guest::No
        }
    }

    /// ID_INDEX: a count, four words for each id (itself, index, CPU, thread), and if there were
    /// guests two more for each (machine, virtual CPU), behind all others
    /// (`tools/lib/perf/include/perf/event.h`, `struct perf_record_id_index`).
    fn id_index(&mut self, mut words: Cursor<'_>) -> Option<()> {
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

    fn comm(&mut self, mut words: Cursor<'_>) -> Option<()> {
        let (_pid, _tid) = (words.u32()?, words.u32()?);
        let name = words.rest().split(|byte| *byte == 0).next().unwrap_or_default();
        if self.hypervisor.is_none() && runs_guests(name) {
            self.hypervisor = Some(String::from_utf8_lossy(name).into_owned());
        }
        Some(())
    }

    fn trailer(&self, body: &[u8]) -> Option<Trailer> {
        let index = self.events.of_trailer(body, self.order).unwrap_or(EventIndex(0));
        let attr = self.events.get(index)?.attr;
        if !attr.flags.contains(AttrFlags::SAMPLE_ID_ALL) {
            return None;
        }
        Trailer::parse(body, attr.sample_type, self.order)
    }

    /// Learns which event a counter counts from the time of a record on.
    fn counter(&mut self, body: &[u8], number: u64) {
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
    fn aux(&mut self, body: &[u8], at: u64) -> Option<()> {
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
            let (event, unit) = match source {
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
                unit,
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
                let is_filling = filling < PIECE_ALIGN && u64::from(filling) < aux.size;
                (announced.overwrites, passed, if is_filling { filling } else { 0 })
            }
        };
        // With a clock of the user's choice, nanoseconds from ticks are of another one.
        let clock = self.clock.filter(|_| !self.events.use_other_clock());
        let queue = &mut self.queues[index];
        let (offset, reference) = (aux.offset, aux.reference);
        let (event, unit) = (queue.event, queue.unit.clone());
        queue.clock = clock;
        if aux.size == 0 && queue.started && offset == queue.end {
            // It says nothing of what the last bytes were.
            let join = Continuity::Continued;
            let (data_len, repeated) = (0, 0);
            let chunk =
                Chunk { offset, data_len, join, repeated, breaks, clock, reference, event, unit };
            return Placement::Queue(index, chunk);
        }
        let kept = queue.take_filling(offset);
        let (join, repeated) = match queue.join(offset, overwrites) {
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
        let chunk =
            Chunk { offset, data_len, join, repeated, breaks, clock, reference, event, unit };
        Placement::Queue(index, chunk)
    }

    /// The input has been read to its end, and all queues are settled: what they were given is what
    /// their accounts must add up to, so that the ledger tells of bytes that are in none.
    pub(crate) fn end(&mut self) {
        self.announcements.end();
        self.ended = true;
        let aux_bytes = &mut self.ledger.aux_bytes;
        *aux_bytes = aux_bytes.wrapping_add(core::mem::take(&mut self.unsettled));
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
                    join: Continuity::Kept(kept),
                    repeated: 0,
                    breaks: Vec::new(),
                    clock: queue.clock,
                    reference: None,
                    event: queue.event,
                    unit: queue.unit.clone(),
                };
                rests.push((index, queue.key, chunk));
            }
        }
        rests
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

    /// Takes note of which records a queue that has ended had.
    pub(crate) fn settled_records(&mut self, account: &Account) {
        self.intel_pt_records |= account.source == Source::IntelPt && account.timed.records;
    }

    /// Records of events that never have an address.
    pub(crate) fn not_address_events(&self) -> u64 {
        self.samples.not_address_events
    }

    /// What IBS registers said of physical addresses.
    pub(crate) fn ibs(&self) -> ibs::Tally {
        self.samples.ibs
    }

    /// Adds what another thread has read.
    pub(crate) fn add_samples(&mut self, samples: Samples) {
        self.samples.merge(samples);
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
    fn made_by_inject(&self) -> Option<bool> {
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

    fn is_arm_spe(&self, index: EventIndex) -> bool {
        let of_unit = |event: &Event| match &self.tracer {
            Some(Tracer::ArmSpe(info)) => info.has_type(event.attr.type_),
            _ => false,
        };
        self.events.is_arm_spe(index, &self.features) || self.events.get(index).is_some_and(of_unit)
    }

    /// The event and the data source encoding of a CPU's queue of Arm SPE.
    fn spe_facts(&self, cpu: Option<u32>) -> (Option<EventIndex>, AuxFormat) {
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
    fn pebs_facts(&mut self) -> (Option<EventIndex>, AuxFormat) {
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
        let most = usize::from(PIECE_ALIGN) - 1;
        let zeros = bytes.iter().rev().take(most).take_while(|byte| **byte == 0).count();
        let before = if zeros == bytes.len() { usize::from(queue.tail_zeros) } else { 0 };
        queue.tail_zeros = u8::try_from((before + zeros).min(most)).unwrap_or(0);
    }

    /// Finds the event of a sample record, whose facts are up to date then. `None` if it has no
    /// addresses or no event.
    fn sample<'b, S: Sink + ?Sized>(
        &mut self,
        record: &Record<'b>,
        position: Position,
        sink: &mut S,
    ) -> Option<SampleRecord<'b>> {
        let body = record.body;
        self.has_samples = true;
        let Some(event) = self.events.of_sample(body, self.order) else {
            self.problems.add("sample of no known event", position.offset.0, "it is not counted");
            return None;
        };
        // Of a unit that is not known yet RAW may turn out to hold addresses.
        let may = self.events.get(event)?.has_addresses(Source::IbsOp);
        if may {
            self.refresh(sink);
        }
        let known = self.facts.get(event);
        if !may || !known?.has_addresses {
            self.samples.not_address_events += 1;
            return None;
        }
        let guest = self.guest(record);
        Some(SampleRecord { event, guest, body, position, record: self.problems.record })
    }

    /// As [`Session::record`], but gives a sample record back, to be read elsewhere.
    pub(crate) fn record_but_sample<'b, S: Sink + ?Sized>(
        &mut self,
        record: &Record<'b>,
        position: Position,
        sink: &mut S,
    ) -> Option<SampleRecord<'b>> {
        if record.kind != kind::SAMPLE {
            self.record(record, position, sink);
            return None;
        }
        self.begin_record(record);
        self.sample(record, position, sink)
    }
}

impl QueueState {
    /// Takes perf's filling at the end of the last chunk back: it was counted as such, and the
    /// queue goes on where the announced data ended. If it goes on behind that, what was announced
    /// is not all that came: so many zeros are data after all.
    fn take_filling(&mut self, goes_on: u64) -> u8 {
        let filling = core::mem::take(&mut self.filling);
        if filling > self.tail_zeros {
            return 0;
        }
        let announced = self.end.wrapping_sub(u64::from(filling));
        let kept = u8::try_from(goes_on.wrapping_sub(announced)).unwrap_or(0);
        let kept = if kept <= filling { kept } else { 0 };
        let end = announced.wrapping_add(u64::from(kept));
        if self.covered.end == self.end {
            self.covered.end = end;
        }
        self.end = end;
        self.tail_zeros -= filling - kept;
        kept
    }

    /// How a chunk at `offset` follows, and how many of its bytes came before.
    fn join(&self, offset: u64, overwrites: bool) -> (Continuity, u64) {
        if !self.started {
            let join = if overwrites {
                Continuity::Snapshot { repeated_before: 0 }
            } else if offset == 0 {
                Continuity::Continued
            } else {
                Continuity::Gap
            };
            return (join, 0);
        }
        let repeated = if self.covered.contains(&offset) { self.covered.end - offset } else { 0 };
        if offset == self.end {
            return (Continuity::Continued, repeated);
        }
        let before = self.end.wrapping_sub(offset);
        if let Ok(before) = u8::try_from(before)
            && before < PIECE_ALIGN
            && before <= self.tail_zeros
        {
            return (Continuity::Trimmed(before), 0);
        }
        if overwrites || offset < self.end || repeated > 0 {
            return (Continuity::Snapshot { repeated_before: offset + repeated }, repeated);
        }
        (Continuity::Gap, 0)
    }
}

/// What a sample has. The kernel writes 0 where it found no address, and no latency.
fn present(value: Option<u64>) -> Option<u64> {
    value.filter(|value| *value != 0)
}

/// The access that a sample tells of. What the kernel says comes first; what it leaves open, the
/// registers of an IBS op may tell, or else its event.
fn access(
    sample: &Sample<'_>,
    op: Option<&ibs::Op>,
    origin: Origin,
    of_event: Direction,
    guest: Guest,
) -> Option<Access> {
    const NONE: u32 = u32::MAX;
    let known_paddr = || match op?.phys_addr()? {
        ibs::Address::Known(address) => Some(address),
        ibs::Address::Hidden => None,
    };
    let given = present(sample.phys_addr).map(PhysAddr::new_truncate);
    let paddr = match guest {
        Guest::No => given.or_else(known_paddr),
        // The kernel looks up what hardware did not give, in the page table of the process that
        // runs the guest: that is none of the guest's pages.
        Guest::Sampled => known_paddr().filter(|known| given.is_none_or(|given| given == *known)),
        Guest::Inside => None,
    };
    let vaddr = present(sample.addr).or_else(|| op?.lin_addr());
    let data_src = sample.data_src.map(DataSrc).map(|data_src| match origin.source {
        Source::IbsOp => data_src.of_ibs(),
        _ => data_src,
    });
    let told = data_src.is_some_and(|data_src| data_src.0 & 0b11110 != 0);
    // Kernels before 6.1 leave DATA_SRC of IBS ops open.
    let teller = op.filter(|op| !told && op.direction().is_some());
    // Most ops that IBS samples touch no memory; they say so by saying nothing.
    let no_address = given.or(paddr).is_none() && vaddr.is_none();
    let says_nothing = !told && teller.is_none() && no_address;
    if origin.source == Source::IbsOp && says_nothing {
        return None;
    }
    let operation = match (data_src, teller.and_then(ibs::Op::direction)) {
        (_, Some(direction)) => Operation::plain(direction),
        (Some(data_src), None) if told => data_src.operation(),
        _ => Operation::plain(of_event),
    };
    let weight = present(sample.weight).map(|weight| u32::try_from(weight).unwrap_or(u32::MAX));
    let (pid, tid) = sample.pid_tid.unwrap_or((NONE, NONE));
    Some(Access {
        origin,
        operation,
        paddr,
        vaddr: vaddr.map(VirtAddr::new),
        ip: sample.ip.map(VirtAddr::new),
        pid: known(pid),
        tid: known(tid),
        latency_cycles: weight.or_else(|| op?.latency_cycles().filter(|cycles| *cycles > 0)),
        data_source: data_src.and_then(DataSrc::source).or_else(|| teller?.data_source()),
        issue_latency_cycles: None,
        translation_latency_cycles: op.and_then(ibs::Op::refill_latency_cycles),
        tlb: tlb(data_src, op),
        // Of a guest's page the kernel looks it up where it looks up the address.
        page_size: op
            .and_then(ibs::Op::page_size)
            .or(present(sample.data_page_size).filter(|_| guest == Guest::No)),
        aux_queue: None,
        flags: flags(data_src, op, told) | of_guest(guest),
    })
}

/// How an access was translated. Where there are registers of a memory operation the kernel's
/// word, which older ones made of them without asking whether they were valid, is not needed.
fn tlb(data_src: Option<DataSrc>, op: Option<&ibs::Op>) -> Option<Tlb> {
    match op.filter(|op| op.direction().is_some()) {
        Some(op) => op.tlb(),
        None => data_src.and_then(DataSrc::tlb),
    }
}

/// What else is told of an access. DATA_SRC has no place for much of what registers tell; whether
/// the data came from afar, or was modified there, is said by whoever says where it came from.
fn flags(data_src: Option<DataSrc>, op: Option<&ibs::Op>, told: bool) -> AccessFlags {
    let of_kernel = data_src.map(DataSrc::flags).unwrap_or_default();
    let mut of_op = op.map(ibs::Op::flags).unwrap_or_default();
    if told {
        of_op.remove(AccessFlags::REMOTE | AccessFlags::HITM);
        // That it is another socket is more than the kernel says of another node.
        of_op.set(
            AccessFlags::REMOTE_SOCKET,
            of_op.contains(AccessFlags::REMOTE_SOCKET) && of_kernel.contains(AccessFlags::REMOTE),
        );
    }
    let of_tlb = AccessFlags::TLB_ACCESS | AccessFlags::TLB_WALK;
    ((of_kernel | of_op) - of_tlb) | tlb(data_src, op).map_or(AccessFlags::empty(), Tlb::flags)
}

fn of_guest(guest: Guest) -> AccessFlags {
    if guest == Guest::No { AccessFlags::empty() } else { AccessFlags::GUEST }
}

/// The process that begins with a record, or runs another program from there on.
fn begins(record: &Record<'_>, order: ByteOrder) -> Option<u32> {
    let mut words = Cursor::new(record.body, order);
    let pid = words.u32().and_then(known);
    match record.kind {
        kind::COMM if record.misc & MISC_COMM_EXEC != 0 => pid,
        // Else a thread begins.
        kind::FORK => pid.filter(|pid| words.u32() != Some(*pid)),
        _ => None,
    }
}

/// A task, unless the kernel says -1: it is gone, or was never one.
fn task(pid: u32, tid: u32) -> Option<Task> {
    Some(Task { pid: known(pid)?, tid: known(tid)? })
}

/// Whether a task's name, of at most 15 bytes as the kernel keeps it, is one of a program that
/// runs virtual machines.
pub fn runs_guests(comm: &[u8]) -> bool {
    const NAMES: [&[u8]; 2] = [b"qemu", b"kvm"];
    // QEMU is also called as the distribution or libvirt ("qemu:NAME") wants. Its emulators of
    // single programs ("qemu-aarch64") and its tools ("qemu-img") run no guest.
    const BEGINNINGS: [&[u8]; 10] = [
        b"qemu-system",
        b"qemu-kvm",
        b"qemu-dm",
        b"qemu-lite",
        b"qemu:",
        b"vhost-",
        b"firecracker",
        b"cloud-hyperviso",
        b"crosvm",
        b"kvm-",
    ];
    // QEMU names the threads of its virtual CPUs "CPU 0/KVM".
    comm.ends_with(b"/KVM")
        || NAMES.contains(&comm)
        || BEGINNINGS.iter().any(|beginning| comm.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_run_guests_are_told_from_those_that_emulate_one_program() {
        for comm in [
            "qemu",
            "qemu-system-x86",
            "qemu-system-aar",
            "qemu-kvm",
            "qemu-dm",
            "qemu-lite-syste",
            "qemu:my-guest",
            "CPU 0/KVM",
            "CPU 12/KVM",
            "vhost-4711",
            "kvm",
            "kvm-nx-lpage-re",
            "firecracker",
            "cloud-hyperviso",
            "crosvm",
        ] {
            assert!(runs_guests(comm.as_bytes()), "{comm}");
        }
        for comm in [
            "qemu-aarch64",
            "qemu-aarch64-st",
            "qemu-x86_64",
            "qemu-arm",
            "qemu-s390x-stat",
            "qemu-img",
            "qemu-nbd",
            "qemu-ga",
            "my-qemu-notes",
            "kvmtop",
            "bash",
            "",
        ] {
            assert!(!runs_guests(comm.as_bytes()), "{comm}");
        }
    }
}
