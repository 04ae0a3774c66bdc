//! What a recording's records say, taken in their order: events, threads, losses, samples, and
//! where each chunk of AUX data belongs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::problems::Problems;
use super::queue_state::{Announced, QueueState};
use super::recording_facts::{EventFacts, Facts};
use super::sample::{Guest, SampleRecord, Samples};
use crate::aux_data::announced::Announcements;
use crate::cursor::{ByteOrder, Cursor};
use crate::intel_pt::Pebs;
use crate::perf::attr::{Attr, AttrFlags};
use crate::perf::feature::number as feature;
use crate::perf::record::{MISC_LOST_SAMPLES_BPF, Record, kind};
use crate::perf::{
    Clock, CpuSet, EventTable, Features, QueueKey, SideBand, Tracer, Trailer, never_has_address,
};
use crate::{EventIndex, Ledger, Position, Sink, Source, TimeBase, cost, ibs};

/// How often all events are looked at anew because something else is said of the machine. It is
/// said once, before the records.
const MAX_REFRESHES: u32 = 16;
/// A change of an event's pace is told at most once in so many records on average, or in as many as
/// there are events and rings, if these are more: what is told is a whole [`Recording`], for which
/// all of them are looked at.
const TELLING_EVERY: u64 = 64;
/// Records' worth of tellings that may come at once.
const TELLINGS_SAVED: u64 = 256 * TELLING_EVERY;

/// The state of a recording.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) order: ByteOrder,
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
    pub(super) arm_spe_data: bool,
    /// There was AUX data of Intel PT.
    pub(crate) intel_pt_data: bool,
    /// There were PEBS records in it.
    pub(super) intel_pt_records: bool,
    /// What sample records came to.
    pub(super) samples: Samples,
    /// A task that shows that virtual machines ran.
    pub(crate) hypervisor: Option<String>,
    /// A tracer that wrote AUX data which is not decoded.
    pub(crate) foreign_tracer: Option<String>,
    /// CPUs that were recorded, as CPU_MAP says.
    pub(crate) cpu_map: Option<CpuSet>,
    pub(super) tracer: Option<Tracer>,
    pub(super) clock: Option<Clock>,
    pub(super) queue_index: HashMap<(Source, QueueKey), usize>,
    pub(super) queues: Vec<QueueState>,
    pub(super) announced_cpus: HashMap<u32, Announced>,
    pub(super) announced_threads: HashMap<u32, Announced>,
    pub(crate) announcements: Announcements,
    /// Its recorder did not finish the file.
    pub(crate) unfinished: bool,
    /// The input ends before its last record does, or before that record's data.
    pub(crate) cut_short: bool,
    /// It has been read to its end.
    pub(super) ended: bool,
    /// There were sample records, with addresses or without.
    pub(crate) has_samples: bool,
    pub(super) facts: Arc<Facts>,
    /// Events of an Arm SPE unit, by its name or their own.
    pub(super) named_spe: BTreeSet<EventIndex>,
    /// What is known of the machine or the tracer is not what the facts were made of.
    pub(super) outdated: bool,
    pub(super) refreshes: u32,
    /// What PEBS records in AUX data belong to, for so many events and refreshes.
    pub(super) pebs: Option<(usize, u32, Pebs)>,
    /// An event's pace is another one than the sink was told.
    pub(super) repaced: bool,
    /// The record at which it is told, if all before were told one by one: see [`TELLING_EVERY`].
    pub(super) pace_untold: u64,
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
    pub(super) fn refresh<S: Sink + ?Sized>(&mut self, sink: &mut S) {
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
        } else if let Some(pid) = self.begins(record) {
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

    pub(super) fn trailer(&self, body: &[u8]) -> Option<Trailer> {
        let index = self.events.of_trailer(body, self.order).unwrap_or(EventIndex(0));
        let attr = self.events.get(index)?.attr;
        if !attr.flags.contains(AttrFlags::SAMPLE_ID_ALL) {
            return None;
        }
        Trailer::parse(body, attr.sample_type, self.order)
    }

    /// The input has been read to its end, and all queues are settled: what they were given is what
    /// their accounts must add up to, so that the ledger tells of bytes that are in none.
    pub(crate) fn end(&mut self) {
        self.announcements.end();
        self.ended = true;
        let aux_bytes = &mut self.ledger.aux_bytes;
        *aux_bytes = aux_bytes.wrapping_add(core::mem::take(&mut self.unsettled));
    }

    /// Adds what another thread has read.
    pub(crate) fn add_samples(&mut self, samples: Samples) {
        self.samples.merge(samples);
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
