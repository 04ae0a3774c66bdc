//! The events of a recording: which one a record belongs to, and what kind of unit it is.

use std::collections::{BTreeSet, HashSet};

use hashbrown::HashMap;

use super::attr::{
    Attr, AttrFlags, BP_EXECUTE, BP_READ, BP_WRITE, SampleType, TYPE_BREAKPOINT, TYPE_HARDWARE,
    TYPE_HW_CACHE, TYPE_SOFTWARE, TYPE_TRACEPOINT,
};
use super::cpus::CpuSet;
use super::feature::{EventDescription, Features};
use super::record::{Record, kind};
use super::sample::id_in_sample;
use crate::cost;
use crate::cursor::{ByteOrder, Cursor};
use crate::{Direction, EventIndex, Source};

/// Events that are remembered. A recording has a handful; a damaged one may claim any number.
const MAX_EVENTS: usize = 1 << 10;
/// Ids that are read: one for each event and CPU or thread.
const MAX_IDS: usize = 1 << 22;

/// How much of an event was left out while it was recorded, as EVENT_UPDATE records of kind SCALE
/// say: the factor by which its period is stretched from there on, 0 while nothing is recorded.
///
/// perf itself writes there what one count is in the event's unit, such as Joules. Events that
/// sample addresses have none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingRate {
    /// The greatest factor by which its period was stretched, 1 at least.
    pub stretched: f64,
    /// How often nothing was recorded for a while.
    pub rests: u64,
    resting: bool,
}

impl Default for SamplingRate {
    fn default() -> Self {
        Self { stretched: 1.0, rests: 0, resting: false }
    }
}

impl SamplingRate {
    /// Takes a scale that was told. Whether the pace is another one since.
    fn take(&mut self, scale: f64) -> bool {
        let (before, rests) = (*self, scale == 0.0);
        self.rests += u64::from(rests && !before.resting);
        self.resting = rests;
        self.stretched = before.stretched.max(scale);
        (self.stretched, self.rests) != (before.stretched, before.rests)
    }

    /// Whether all that the period lets through was recorded.
    pub fn is_even(&self) -> bool {
        self.stretched <= 1.0 && self.rests == 0
    }
}

/// On which CPUs an event was opened, as far as ID_INDEX records tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// CPUs on which it counts for all tasks.
    pub cpus: CpuSet,
    /// It was opened for single tasks.
    pub for_tasks: bool,
}

/// One event of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// How it was set up.
    pub attr: Attr,
    /// Its name, as the user gave it or as near to it as the recording tells.
    pub name: Option<String>,
    /// How evenly it was recorded.
    pub pace: SamplingRate,
    /// CPUs that have its unit, if not all have (EVENT_UPDATE).
    pub cpus: Option<CpuSet>,
    /// Where it was opened.
    pub opened: Opened,
}

impl Event {
    /// An event of which nothing else is known.
    pub fn new(attr: Attr) -> Self {
        let (pace, opened) = (SamplingRate::default(), Opened::default());
        Self { attr, name: None, pace, cpus: None, opened }
    }

    /// Name of the unit that it belongs to, as sysfs has it.
    ///
    /// On processors of several kinds of cores, `attr.config` of hardware and cache events has the
    /// unit's number in its upper half (`PERF_PMU_TYPE_SHIFT` in `perf_event.h`).
    pub fn unit<'f>(&'f self, features: &'f Features) -> Option<&'f str> {
        let extended = match self.attr.type_ {
            TYPE_HARDWARE | TYPE_HW_CACHE => u32::try_from(self.attr.config >> 32).ok(),
            _ => None,
        };
        let number = extended.filter(|number| *number > 0).unwrap_or(self.attr.type_);
        let in_name = || self.name.as_deref()?.split_once('/').map(|(unit, _)| unit);
        features.pmu(number).or_else(in_name)
    }

    /// Whether its samples can only have been made by `perf inject`: counters of the processor have
    /// addresses where they are precise, and sample at some period
    /// (`arm_spe_synth_events` in `tools/perf/util/arm-spe.c`). Where a trace was replaced for
    /// certain, one with a period is of that kind too.
    pub fn is_synthesized(&self, replaced: bool) -> bool {
        let attr = &self.attr;
        let samples = attr.sample_period > 0 || attr.flags.contains(AttrFlags::FREQ);
        attr.type_ == TYPE_HARDWARE
            && attr.flags.precise_ip() == 0
            && self.has_addresses(Source::Sample)
            && (replaced || !samples)
    }

    /// Whether its sample records tell of memory, given the unit that they come from: they have
    /// an address, or IBS registers that may hold one.
    pub fn has_addresses(&self, source: Source) -> bool {
        let fields = match source {
            Source::IbsOp => SampleType::ADDR | SampleType::PHYS_ADDR | SampleType::RAW,
            _ => SampleType::ADDR | SampleType::PHYS_ADDR,
        };
        self.attr.sample_type.intersects(fields)
    }

    /// What its samples did, as far as its set-up tells: a breakpoint may watch one kind alone.
    pub fn direction(&self) -> Direction {
        match (self.attr.type_, self.attr.bp_type) {
            (TYPE_BREAKPOINT, BP_READ) => Direction::Load,
            (TYPE_BREAKPOINT, BP_WRITE) => Direction::Store,
            _ => Direction::Unknown,
        }
    }

    fn is_arm_spe(&self, features: &Features) -> bool {
        let named = |name: &str| name.starts_with("arm_spe");
        features.pmu(self.attr.type_).is_some_and(named) || self.name.as_deref().is_some_and(named)
    }
}

/// All events of a recording.
#[derive(Clone, Debug, Default)]
pub struct EventTable {
    events: Vec<Event>,
    /// Asked for each sample.
    by_id: HashMap<u64, EventIndex>,
    /// Ids of those that were recorded inside of a guest.
    inside_guests: HashSet<u64>,
    ids_read: usize,
    /// The first event of each `attr.type`.
    by_type: HashMap<u32, EventIndex>,
    /// Some events differ in the fields of their records.
    differ: bool,
    other_clock: bool,
    described: Described,
    /// Events that were added or renamed since somebody asked.
    changed: BTreeSet<EventIndex>,
}

/// What the last EVENT_DESC said. Its names go before those of EVENT_UPDATE.
#[derive(Clone, Debug, Default)]
struct Described {
    /// How many sections there were.
    sections: u64,
    /// For each event the number of the last one that named it, or 0.
    named: Vec<u64>,
    /// Names whose event has not come yet, each for one event: by place, and which of them an event
    /// with one of these ids gets.
    by_place: HashMap<EventIndex, String>,
    waiting: Vec<Option<String>>,
    by_id: HashMap<u64, usize>,
}

impl EventTable {
    /// The events, in the order of [`EventIndex`].
    pub fn list(&self) -> &[Event] {
        &self.events
    }

    /// Adds an event with its ids. Of two events with one id the last one has it.
    /// False if there are too many.
    pub fn add(&mut self, attr: Attr, ids: impl Iterator<Item = u64>) -> bool {
        let Some(index) =
            u16::try_from(self.events.len()).ok().filter(|_| self.events.len() < MAX_EVENTS)
        else {
            return false;
        };
        let index = EventIndex(index);
        self.differ |= self.events.first().is_some_and(|first| {
            first.attr.sample_type != attr.sample_type || first.attr.read_format != attr.read_format
        });
        self.other_clock |= attr.flags.contains(AttrFlags::USE_CLOCKID);
        self.events.push(Event::new(attr));
        self.described.named.push(0);
        self.by_type.entry(attr.type_).or_insert(index);
        self.changed.insert(index);
        let mut name = self.described.by_place.remove(&index);
        let mut whole = true;
        for id in ids {
            if self.ids_read == MAX_IDS {
                whole = false;
                break;
            }
            cost::steps(1);
            self.ids_read += 1;
            self.by_id.insert(id, index);
            let described = self.described.by_id.get(&id);
            name = described.and_then(|which| self.described.waiting[*which].take()).or(name);
        }
        if let Some(name) = name {
            self.name_as_described(index, &name);
        }
        whole
    }

    /// The event.
    pub fn get(&self, index: EventIndex) -> Option<&Event> {
        self.events.get(usize::from(index.0))
    }

    /// Names the event that has this id, unless it has been described.
    pub fn rename(&mut self, id: u64, name: &str) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        if self.described.named[usize::from(index.0)] != self.described.sections
            || self.described.sections == 0
        {
            self.name(index, name);
        }
    }

    fn name(&mut self, index: EventIndex, name: &str) {
        cost::bytes(name.len());
        let event = &mut self.events[usize::from(index.0)];
        if event.name.as_deref() != Some(name) {
            event.name = Some(name.to_owned());
            self.changed.insert(index);
        }
    }

    fn name_as_described(&mut self, index: EventIndex, name: &str) {
        self.described.named[usize::from(index.0)] = self.described.sections;
        self.name(index, name);
    }

    /// The events that were added or renamed since this was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<EventIndex> {
        core::mem::take(&mut self.changed)
    }

    /// Whether there are such.
    pub fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes the scale, finite and not negative, of the event that has this id. Whether its pace is
    /// another one since: a scale between 0 and 1 stretches nothing.
    pub fn scale(&mut self, id: u64, scale: f64) -> bool {
        let event = self.by_id.get(&id).and_then(|index| self.events.get_mut(usize::from(index.0)));
        let paces = scale == 0.0 || scale >= 1.0;
        event.filter(|_| paces).is_some_and(|event| event.pace.take(scale))
    }

    /// Takes the CPUs of the unit of the event that has this id.
    pub fn belongs_to(&mut self, id: u64, cpus: CpuSet) {
        if let Some(index) = self.by_id.get(&id) {
            self.events[usize::from(index.0)].cpus = Some(cpus);
        }
    }

    /// Takes one row of ID_INDEX: on which CPU and for which thread the event that has this id was
    /// opened.
    pub fn opened(&mut self, id: u64, cpu: Option<u32>, thread: Option<u32>) {
        let Some(index) = self.by_id.get(&id) else { return };
        let opened = &mut self.events[usize::from(index.0)].opened;
        match (cpu, thread) {
            (Some(cpu), None) => opened.cpus.insert(cpu),
            _ => opened.for_tasks = true,
        }
    }

    /// Takes the names of an EVENT_DESC, in the place of an earlier one: by id, or by position where
    /// there is none. A name whose event has not come waits for it.
    pub fn describe(&mut self, descriptions: &[EventDescription]) {
        let described = &mut self.described;
        described.sections += 1;
        described.by_place = HashMap::new();
        described.waiting = Vec::new();
        described.by_id = HashMap::new();
        for (position, EventDescription { name, ids, .. }) in descriptions.iter().enumerate() {
            cost::steps(1 + ids.len());
            let by_id = ids.iter().find_map(|id| self.by_id.get(id)).copied();
            let place = u16::try_from(position).ok().map(EventIndex).filter(|_| ids.is_empty());
            match by_id.or(place) {
                Some(index) if usize::from(index.0) < self.events.len() => {
                    self.name_as_described(index, name);
                }
                Some(index) if usize::from(index.0) < MAX_EVENTS => {
                    self.described.by_place.insert(index, name.clone());
                }
                _ => {
                    let which = self.described.waiting.len();
                    self.described.waiting.push(Some(name.clone()));
                    let room = MAX_IDS.saturating_sub(self.described.by_id.len());
                    self.described.by_id.extend(ids.iter().take(room).map(|id| (*id, which)));
                }
            }
        }
    }

    /// Whether the recorder was told to use another clock than the kernel's own (`perf record
    /// -k`), to which ticks of the tracer cannot be converted.
    pub fn use_other_clock(&self) -> bool {
        self.other_clock
    }

    /// The event of a sample record.
    pub fn of_sample(&self, body: &[u8], order: ByteOrder) -> Option<EventIndex> {
        self.pick(|sample_type| id_of_sample(sample_type, body, order))
    }

    /// The event of any other record of the kernel's.
    pub fn of_trailer(&self, body: &[u8], order: ByteOrder) -> Option<EventIndex> {
        self.pick(|sample_type| id_of_trailer(sample_type, body, order))
    }

    /// Learns that the event with this id was recorded inside of a guest, and its records put
    /// among those of the host.
    pub fn inside_guest(&mut self, id: u64) {
        if self.inside_guests.len() < MAX_IDS {
            self.inside_guests.insert(id);
        }
    }

    /// Whether a record of the kernel's was written inside of a guest.
    pub fn is_inside_guest(&self, record: &Record<'_>, order: ByteOrder) -> bool {
        if self.inside_guests.is_empty() {
            return false;
        }
        let Some(first) = self.events.first() else { return false };
        let id_of = if record.kind == kind::SAMPLE { id_of_sample } else { id_of_trailer };
        let id = id_of(first.attr.sample_type, record.body, order);
        id.is_some_and(|id| self.inside_guests.contains(&id))
    }

    /// The event whose id `id_at` finds. Only events of one shape can do without ids.
    fn pick(&self, id_at: impl Fn(SampleType) -> Option<u64>) -> Option<EventIndex> {
        let first = self.events.first()?;
        if self.events.len() == 1 {
            return Some(EventIndex(0));
        }
        let found = id_at(first.attr.sample_type).and_then(|id| self.by_id.get(&id)).copied();
        found.or((!self.differ).then_some(EventIndex(0)))
    }

    /// The first event with this `attr.type`.
    pub fn of_type(&self, type_: u32) -> Option<EventIndex> {
        self.by_type.get(&type_).copied()
    }

    /// The events whose samples are packets in another event's AUX data.
    pub fn aux_output(&self) -> impl Iterator<Item = (EventIndex, &Event)> {
        let events = (0..=u16::MAX).map(EventIndex).zip(&self.events);
        events.filter(|(_, event)| event.attr.flags.contains(AttrFlags::AUX_OUTPUT))
    }

    /// Whether an event is one of those.
    pub fn is_aux_output(&self, index: EventIndex) -> bool {
        self.get(index).is_some_and(|event| event.attr.flags.contains(AttrFlags::AUX_OUTPUT))
    }

    /// Whether an event is one of an Arm SPE unit, by the unit's name or its own.
    pub fn is_arm_spe(&self, index: EventIndex, features: &Features) -> bool {
        self.get(index).is_some_and(|event| event.is_arm_spe(features))
    }

    /// Which unit an event's records come from.
    pub fn source(&self, index: EventIndex, features: &Features) -> Source {
        let Some(event) = self.get(index) else { return Source::Sample };
        if event.attr.flags.contains(AttrFlags::AUX_OUTPUT) {
            return Source::IntelPt;
        }
        let vendor = features.cpuid.as_deref().and_then(|cpuid| cpuid.split(',').next());
        let has_ibs = matches!(vendor, Some("AuthenticAMD" | "HygonGenuine"));
        let x86 = features.arch().is_none_or(|arch| arch == "x86_64" || arch.ends_with("86"));
        match event.attr.type_ {
            TYPE_SOFTWARE | TYPE_TRACEPOINT | TYPE_BREAKPOINT => return Source::Sample,
            _ => {}
        }
        let unit = features.pmu(event.attr.type_);
        match unit {
            Some("ibs_op") => Source::IbsOp,
            // Numbers 0, 3 and 4 are the processor's own counters whatever they are called.
            _ if !matches!(event.attr.type_, 0 | 3 | 4)
                && !unit.is_some_and(|name| name.starts_with("cpu")) =>
            {
                Source::Sample
            }
            _ if event.attr.flags.precise_ip() == 0 => Source::Sample,
            _ if has_ibs => Source::IbsOp,
            _ if x86 => Source::Pebs,
            _ => Source::Sample,
        }
    }

    /// Whether an event samples the fetching of instructions, which is no access to data.
    pub fn fetches(&self, index: EventIndex, features: &Features) -> bool {
        let Some(Event { attr, .. }) = self.get(index) else { return false };
        let executed = attr.type_ == TYPE_BREAKPOINT && attr.bp_type == BP_EXECUTE;
        executed || features.pmu(attr.type_) == Some("ibs_fetch")
    }

    /// A name for an event, also if the recording has none for it. `is_spe`: it is known to be of
    /// an Arm SPE unit.
    pub fn name_of(&self, index: EventIndex, features: &Features, is_spe: bool) -> String {
        let Some(Event { attr, name, .. }) = self.get(index) else { return String::new() };
        match (name, features.pmu(attr.type_)) {
            (Some(name), _) => name.clone(),
            (None, None) if is_spe => "arm_spe".to_owned(),
            (None, _) => Self::fallback_name(attr, features),
        }
    }

    /// A name for an event that the recording does not name.
    fn fallback_name(attr: &Attr, features: &Features) -> String {
        const SOFTWARE: [&str; 12] = [
            "cpu-clock",
            "task-clock",
            "page-faults",
            "context-switches",
            "cpu-migrations",
            "minor-faults",
            "major-faults",
            "alignment-faults",
            "emulation-faults",
            "dummy",
            "bpf-output",
            "cgroup-switches",
        ];
        let software = usize::try_from(attr.config).ok().and_then(|config| SOFTWARE.get(config));
        match (attr.type_, software, features.pmu(attr.type_)) {
            (TYPE_SOFTWARE, Some(name), _) => (*name).to_owned(),
            (TYPE_BREAKPOINT, _, _) => format!("mem:{:#x}", attr.config1),
            (_, _, Some(unit)) => unit.to_owned(),
            (type_, _, None) => format!("type-{type_}:{:#x}", attr.config),
        }
    }
}

/// The id in a sample record.
fn id_of_sample(sample_type: SampleType, body: &[u8], order: ByteOrder) -> Option<u64> {
    let at = id_in_sample(sample_type)?;
    Cursor::new(body.get(at..)?, order).u64()
}

/// The id at the end of any other record of the kernel's.
fn id_of_trailer(sample_type: SampleType, body: &[u8], order: ByteOrder) -> Option<u64> {
    if !sample_type.intersects(SampleType::IDENTIFIER | SampleType::ID) {
        return None;
    }
    // IDENTIFIER is the last word; ID has at most two words behind it.
    let behind = if sample_type.contains(SampleType::IDENTIFIER) {
        0
    } else {
        (sample_type & (SampleType::STREAM_ID | SampleType::CPU)).bits().count_ones()
    };
    let at = body.len().checked_sub(8 * (1 + behind as usize))?;
    Cursor::new(&body[at..], order).u64()
}

/// Whether an event's samples never have a data address, although they may have room for one: it
/// happens to a task or a CPU. `source` is what its records come from.
///
/// The kernel writes 0 there (`perf_sample_data_init` with address 0): in `kernel/events/core.c` for
/// clocks, switches, migrations and output of BPF programs, in `kernel/trace/trace_event_perf.c` for
/// tracepoints and probes, in the interrupt handlers of the processors' counters for events that are
/// not precise. Only those of PowerPC tell the address of the data there
/// (`arch/powerpc/perf/core-book3s.c`, SDAR).
pub fn never_has_address(attr: &Attr, source: Source, features: &Features) -> bool {
    /// `perf_sw_ids` but for faults (2, 5 to 8): clocks (0, 1), context switches, migrations,
    /// dummies, output of BPF programs, switches of cgroups.
    const OF_NO_ADDRESS: [u64; 7] = [0, 1, 3, 4, 9, 10, 11];
    let unit = features.pmu(attr.type_);
    match attr.type_ {
        TYPE_SOFTWARE => OF_NO_ADDRESS.contains(&attr.config),
        TYPE_TRACEPOINT => true,
        TYPE_BREAKPOINT => false,
        _ if matches!(unit, Some("kprobe" | "uprobe")) => true,
        // Numbers 0, 3 and 4 are the processor's own counters whatever they are called.
        0 | 3 | 4 => source == Source::Sample && is_counter_without_address(attr, features),
        _ => false,
    }
}

/// Whether a processor's counter that is not precise tells no address on this machine.
fn is_counter_without_address(attr: &Attr, features: &Features) -> bool {
    let arch = features.arch.as_deref();
    attr.flags.precise_ip() == 0 && arch.is_some_and(|arch| !arch.starts_with("ppc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(sample_type: SampleType) -> Attr {
        Attr { sample_type, ..Attr::default() }
    }

    #[test]
    fn a_sample_finds_its_event_by_identifier_or_id() {
        let mut events = EventTable::default();
        events.add(attr(SampleType::IDENTIFIER | SampleType::IP), [5].into_iter());
        events.add(attr(SampleType::IDENTIFIER | SampleType::ADDR), [6, 7].into_iter());
        let body = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        let of_sample = |words: &[u64]| events.of_sample(&body(words), ByteOrder::Little);
        assert_eq!(of_sample(&[7, 1]), Some(EventIndex(1)));
        assert_eq!(of_sample(&[5, 1]), Some(EventIndex(0)));
        assert_eq!(of_sample(&[9, 1]), None, "unknown, and the events differ");
        assert_eq!(events.of_trailer(&body(&[1, 6]), ByteOrder::Little), Some(EventIndex(1)));

        let mut alike = EventTable::default();
        let shape = SampleType::IP | SampleType::ID | SampleType::CPU;
        alike.add(attr(shape), [5].into_iter());
        alike.add(attr(shape), [6].into_iter());
        let of_sample = |words: &[u64]| alike.of_sample(&body(words), ByteOrder::Little);
        assert_eq!(of_sample(&[0x401000, 6, 0]), Some(EventIndex(1)));
        assert_eq!(of_sample(&[0x401000, 0, 0]), Some(EventIndex(0)), "id 0 is no error");
        assert_eq!(alike.of_trailer(&body(&[6, 0]), ByteOrder::Little), Some(EventIndex(1)));
    }

    #[test]
    fn a_breakpoint_tells_what_it_watches() {
        use Direction::{Load, Store, Unknown};
        let rows = [
            (TYPE_BREAKPOINT, 1, Load, false),
            (TYPE_BREAKPOINT, 2, Store, false),
            (TYPE_BREAKPOINT, 3, Unknown, false),
            (TYPE_BREAKPOINT, 4, Unknown, true),
            (TYPE_BREAKPOINT, 0, Unknown, false),
            // Another event has no bp_type.
            (TYPE_SOFTWARE, 2, Unknown, false),
            (TYPE_SOFTWARE, 4, Unknown, false),
        ];
        for (type_, bp_type, direction, fetches) in rows {
            let mut events = EventTable::default();
            events.add(Attr { type_, bp_type, ..Attr::default() }, [].into_iter());
            let told = events.list()[0].direction();
            let is_fetch = events.fetches(EventIndex(0), &Features::default());
            assert_eq!((told, is_fetch), (direction, fetches), "{type_} {bp_type}");
        }
    }

    #[test]
    fn the_greatest_stretch_and_every_rest_are_kept() {
        // The factor, then how often it rested, after each scale; and whether that is news.
        let told = [
            (1.0, 1.0, 0, false),
            (2.5, 2.5, 0, true),
            (2.0, 2.5, 0, false),
            (0.0, 2.5, 1, true),
            (0.0, 2.5, 1, false),
            (0.25, 2.5, 1, false),
            (-0.0, 2.5, 1, false),
            (37.0, 37.0, 1, true),
            (-0.0, 37.0, 2, true),
            (1.0, 37.0, 2, false),
            (f64::MAX, f64::MAX, 2, true),
        ];
        let mut events = EventTable::default();
        events.add(attr(SampleType::ADDR), [5, 6].into_iter());
        events.add(attr(SampleType::ADDR), [7].into_iter());
        assert!(events.list()[0].pace.is_even() && !events.scale(4, 9.0));
        for (scale, stretched, rests, news) in told {
            assert_eq!(events.scale(5, scale), news, "{scale}");
            let pace = events.list()[0].pace;
            assert_eq!((pace.stretched, pace.rests), (stretched, rests), "{scale}");
            assert_eq!(pace.is_even(), stretched <= 1.0 && rests == 0, "{scale}");
        }
        assert!(events.list()[1].pace.is_even(), "of another event nothing was told");
    }

    #[test]
    fn raw_data_tells_of_memory_if_it_is_that_of_ibs() {
        let event = |sample_type| Event::new(attr(sample_type));
        let raw = event(SampleType::IP | SampleType::RAW);
        let has = Source::ALL.map(|source| raw.has_addresses(source));
        assert_eq!(has, Source::ALL.map(|source| source == Source::IbsOp));
        let virt = event(SampleType::ADDR);
        assert!(Source::ALL.into_iter().all(|source| virt.has_addresses(source)));
        assert!(!event(SampleType::IP).has_addresses(Source::IbsOp));
    }

    #[test]
    fn units_by_type_number_and_name() {
        let mut features = Features {
            pmus: [(8, "cpu".into()), (9, "ibs_op".into()), (10, "ibs_fetch".into())].into(),
            ..Features::default()
        };
        let mut events = EventTable::default();
        let precise = AttrFlags::from_bits_retain(2 << 15);
        for (type_, flags) in [
            (1, precise),
            (4, precise),
            (8, precise),
            (9, Default::default()),
            (4, Default::default()),
            (10, Default::default()),
        ] {
            events.add(Attr { type_, flags, ..Attr::default() }, [].into_iter());
        }
        let sources = |features: &Features| -> Vec<_> {
            (0..5).map(|index| events.source(EventIndex(index), features)).collect()
        };
        let want = [Source::Sample, Source::Pebs, Source::Pebs, Source::IbsOp, Source::Sample];
        assert_eq!(sources(&features), want);
        features.cpuid = Some("AuthenticAMD,25,17,1".into());
        assert_eq!(sources(&features)[1..4], [Source::IbsOp; 3]);
        let fetches = |index| events.fetches(EventIndex(index), &features);
        assert_eq!([3, 5, 6].map(fetches), [false, true, false]);
        assert_eq!(events.source(EventIndex(5), &features), Source::Sample);
        features.cpuid = None;
        features.arch = Some("ppc64le".into());
        assert_eq!(sources(&features)[1], Source::Sample);
    }
}
