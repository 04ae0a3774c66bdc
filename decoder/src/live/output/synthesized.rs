//! What stands around the kernel's records in a recording, as bytes: attributes, features, and
//! the records that the recorder itself writes (`tools/perf/util/header.c`,
//! `tools/lib/perf/include/perf/event.h`).

use crate::live::ring::mapped::TimeConversion;
use crate::perf::Auxtrace;
use crate::perf::record::{HEADER_LEN, kind};

/// `PERF_RECORD_FINISHED_ROUND`.
const FINISHED_ROUND: u32 = 68;
/// What EVENT_UPDATE tells: a scale, a name, or CPUs.
const UPDATE_SCALE: u64 = 1;
const UPDATE_NAME: u64 = 2;
const UPDATE_CPUS: u64 = 3;
/// Numbers of the feature sections that are written.
pub(in crate::live) mod feature {
    pub(crate) const HOSTNAME: u8 = 3;
    pub(crate) const OSRELEASE: u8 = 4;
    pub(crate) const VERSION: u8 = 5;
    pub(crate) const ARCH: u8 = 6;
    pub(crate) const NRCPUS: u8 = 7;
    pub(crate) const CPUID: u8 = 9;
    pub(crate) const CMDLINE: u8 = 11;
    pub(crate) const EVENT_DESC: u8 = 12;
    pub(crate) const PMU_MAPPINGS: u8 = 16;
    pub(crate) const AUXTRACE: u8 = 18;
}
/// `auxtrace_info.type` of Arm SPE.
const TYPE_ARM_SPE: u32 = 4;
/// Starts each CPU's block in AUXTRACE_INFO version 2.
const CPU_MAGIC: u64 = 0x1010_1010_1010_1010;
/// perf rounds the room of strings up to this.
const STRING_ALIGN: usize = 64;

/// An event of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventAbout {
    /// `perf_event_attr`, of the size that it says.
    pub attr: Vec<u8>,
    /// Ids of it on each CPU and thread.
    pub ids: Vec<u64>,
    /// Its name.
    pub name: String,
    /// CPUs that have its unit; `None`: all.
    pub cpus: Option<Vec<u32>>,
}

/// One CPU's part of what is told of Arm SPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeCpuAbout {
    /// CPU number.
    pub cpu: u32,
    /// MIDR_EL1, which tells how data sources are encoded.
    pub midr: u64,
    /// `attr.type` of its unit.
    pub pmu_type: u32,
    /// Least sampling period of its unit.
    pub min_interval: u64,
    /// The events that its unit can filter by (`caps/event_filter`), a bit each; 0 if it does not say.
    pub event_filter: u64,
}

/// The form of AUXTRACE_INFO, which says what is known of Arm SPE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpeMetadata {
    /// One unit for all CPUs, which every perf reads; perf since 6.13 calls it old. Where the CPUs differ, version 2 is
    /// written all the same.
    #[default]
    Version1,
    /// MIDR_EL1, unit, least period and event filter of each CPU. perf before 6.13 does not read it.
    Version2,
}

/// A thread that there was before the recording began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskAbout {
    /// Its process.
    pub pid: u32,
    /// Itself.
    pub tid: u32,
    /// Its name, of which 15 bytes are told.
    pub name: String,
}

/// What stands around the records of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its events.
    pub events: Vec<EventAbout>,
    /// Feature sections by their numbers, in ascending order; EVENT_DESC is made of the events.
    pub features: Vec<(u8, Vec<u8>)>,
    /// The kernel's clock, where AUX data has times of another one.
    pub time: Option<TimeConversion>,
    /// The CPUs with Arm SPE, if their AUX data is captured.
    pub spe: Vec<SpeCpuAbout>,
    /// How these are told.
    pub spe_metadata: SpeMetadata,
    /// Threads that there are already, where records name threads alone.
    pub tasks: Vec<TaskAbout>,
}

/// Bytes in this machine's order.
#[derive(Clone, Debug, Default)]
pub(in crate::live) struct Bytes(pub(in crate::live) Vec<u8>);

impl Bytes {
    pub(in crate::live) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(in crate::live) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(in crate::live) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    /// A string as feature sections have them: its room, then itself, zeros behind it.
    pub(in crate::live) fn string(&mut self, text: &str) -> &mut Self {
        let room = (text.len() + 1).next_multiple_of(STRING_ALIGN);
        self.u32(u32::try_from(room).unwrap_or(0)).bytes(text.as_bytes());
        self.0.resize(self.0.len() + room - text.len(), 0);
        self
    }
}

/// A record; `None` if its body is too long for one.
fn record(kind: u32, body: &[u8]) -> Option<Vec<u8>> {
    let size = u16::try_from(HEADER_LEN + body.len()).ok()?;
    let mut record = Bytes::default();
    record.u32(kind);
    record.0.extend(0u16.to_ne_bytes());
    record.0.extend(size.to_ne_bytes());
    record.bytes(body);
    Some(record.0)
}

impl EventAbout {
    /// HEADER_ATTR: one, or several if there are more ids than a record holds. Whoever reads them
    /// takes those behind the first for other events, which have the same name.
    fn header_attrs(&self) -> Vec<u8> {
        let first = self.ids.len().min(self.room());
        let mut records = self.header_attr(&self.ids[..first]);
        for ids in self.ids[first..].chunks(self.room().max(1)) {
            records.extend(self.header_attr(ids));
            records.extend(self.named(ids));
        }
        records
    }

    /// The ids that HEADER_ATTR has room for.
    fn room(&self) -> usize {
        (usize::from(u16::MAX) - HEADER_LEN).saturating_sub(self.attr.len()) / 8
    }

    /// The first id of each of these records: whoever reads them knows the event by all of them.
    pub(in crate::live) fn first_ids(&self) -> impl Iterator<Item = u64> {
        self.ids.chunks(self.room().max(1)).filter_map(|ids| ids.first()).copied()
    }

    fn header_attr(&self, ids: &[u64]) -> Vec<u8> {
        let mut body = Bytes(self.attr.clone());
        ids.iter().for_each(|id| _ = body.u64(*id));
        record(kind::HEADER_ATTR, &body.0).unwrap_or_default()
    }

    /// EVENT_UPDATE: the name of the event that has these ids.
    fn named(&self, ids: &[u64]) -> Vec<u8> {
        let mut body = Bytes::default();
        body.u64(UPDATE_NAME).u64(ids.first().copied().unwrap_or(0));
        body.bytes(self.name.as_bytes()).bytes(&[0]);
        body.0.resize(body.0.len().next_multiple_of(8), 0);
        record(kind::EVENT_UPDATE, &body.0).unwrap_or_default()
    }

    /// EVENT_UPDATE: the CPUs that have its unit, if not all have.
    fn places(&self) -> Vec<u8> {
        const LIST: u16 = 0;
        let Some(cpus) = &self.cpus else { return Vec::new() };
        let cpus: Vec<_> = cpus.iter().filter_map(|cpu| u16::try_from(*cpu).ok()).collect();
        let mut records = Vec::new();
        for id in self.first_ids() {
            let mut body = Bytes::default();
            body.u64(UPDATE_CPUS).u64(id);
            let count = u16::try_from(cpus.len()).unwrap_or(0);
            [LIST, count]
                .iter()
                .chain(&cpus)
                .for_each(|number| _ = body.bytes(&number.to_ne_bytes()));
            body.0.resize(body.0.len().next_multiple_of(8), 0);
            records.extend(record(kind::EVENT_UPDATE, &body.0).unwrap_or_default());
        }
        records
    }

    /// The records that tell a stream of more ids.
    pub(in crate::live) fn announcement(&self) -> Vec<u8> {
        let mut records = self.header_attrs();
        records.extend(self.named(&self.ids));
        records.extend(self.places());
        records
    }
}

impl About {
    /// The feature EVENT_DESC.
    pub(in crate::live) fn event_desc(&self) -> Vec<u8> {
        let attr_len = self.events.first().map_or(0, |event| event.attr.len());
        let mut section = Bytes::default();
        section.u32(u32::try_from(self.events.len()).unwrap_or(0));
        section.u32(u32::try_from(attr_len).unwrap_or(0));
        for event in &self.events {
            section.bytes(&event.attr).u32(u32::try_from(event.ids.len()).unwrap_or(0));
            section.string(&event.name);
            event.ids.iter().for_each(|id| _ = section.u64(*id));
        }
        section.0
    }

    /// All feature sections, in ascending order.
    pub(in crate::live) fn sections(&self) -> Vec<(u8, Vec<u8>)> {
        let mut sections = self.features.clone();
        sections.push((feature::EVENT_DESC, self.event_desc()));
        sections.sort_by_key(|(bit, _)| *bit);
        sections
    }

    /// The records that a stream has in the place of a file's tables. Without the mark that perf
    /// puts behind its last feature: each version has another number there, of which the next one
    /// may make a feature, and `perf report` refuses any but its own.
    pub(in crate::live) fn tables(&self) -> Vec<u8> {
        let mut records: Vec<u8> = self.events.iter().flat_map(EventAbout::header_attrs).collect();
        let sections = self.sections().into_iter().map(|(bit, bytes)| (u64::from(bit), bytes));
        for (bit, bytes) in sections {
            let mut body = Bytes::default();
            body.u64(bit).bytes(&bytes);
            // One that is too long for a record is left out, as perf does.
            records.extend(record(kind::HEADER_FEATURE, &body.0).unwrap_or_default());
        }
        records
    }

    /// The records that come before all others in a file too: the clock, which perf wants first,
    /// the tracer, where events count, and tasks.
    pub(in crate::live) fn first_records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(time) = &self.time {
            records.extend(time_conv(time));
        }
        if let Some(first) = self.spe.first() {
            records.extend(self.auxtrace_info(first));
        }
        self.events.iter().for_each(|event| records.extend(event.places()));
        self.tasks.iter().for_each(|task| records.extend(task.comm()));
        records
    }

    /// AUXTRACE_INFO: `arm_spe_info_fill` in `tools/perf/arch/arm64/util/arm-spe.c`.
    fn auxtrace_info(&self, first: &SpeCpuAbout) -> Vec<u8> {
        let mut body = Bytes::default();
        body.u32(TYPE_ARM_SPE).u32(0);
        let alike = |cpu: &SpeCpuAbout| (cpu.midr, cpu.pmu_type) == (first.midr, first.pmu_type);
        if self.spe_metadata == SpeMetadata::Version1 && self.spe.iter().all(alike) {
            const PER_CPU: u64 = 1;
            body.u64(u64::from(first.pmu_type)).u64(PER_CPU);
        } else {
            body.u64(2).u64(4).u64(u64::from(first.pmu_type)).u64(self.spe.len() as u64);
            for cpu in &self.spe {
                const PARAMETERS: u64 = 4;
                body.u64(CPU_MAGIC).u64(u64::from(cpu.cpu)).u64(PARAMETERS).u64(cpu.midr);
                body.u64(u64::from(cpu.pmu_type)).u64(cpu.min_interval).u64(cpu.event_filter);
            }
        }
        record(kind::AUXTRACE_INFO, &body.0).unwrap_or_default()
    }
}

impl TaskAbout {
    /// COMM, as perf writes it for tasks that it finds: nothing in its trailer is known.
    fn comm(&self) -> Vec<u8> {
        const ROOM: usize = 16;
        let mut body = Bytes::default();
        let name = &self.name.as_bytes()[..self.name.len().min(ROOM - 1)];
        body.u32(self.pid).u32(self.tid).bytes(name);
        // The name, and the trailer: TID, TIME, CPU, IDENTIFIER.
        body.0.resize(8 + ROOM + 4 * 8, 0);
        record(kind::COMM, &body.0).unwrap_or_default()
    }
}

fn time_conv(time: &TimeConversion) -> Vec<u8> {
    let (cycles, mask) = time.short.unwrap_or((0, u64::MAX));
    let mut body = Bytes::default();
    body.u64(u64::from(time.shift)).u64(u64::from(time.mult)).u64(time.zero);
    body.u64(cycles).u64(mask).bytes(&[1, u8::from(time.short.is_some()), 0, 0, 0, 0, 0, 0]);
    record(kind::TIME_CONV, &body.0).unwrap_or_default()
}

/// The record in front of AUX data.
pub(in crate::live) fn auxtrace(chunk: &Auxtrace) -> Vec<u8> {
    let number = |number: Option<u32>| number.unwrap_or(u32::MAX);
    let mut body = Bytes::default();
    body.u64(chunk.size).u64(chunk.offset).u64(chunk.reference.unwrap_or(0));
    body.u32(chunk.queue.idx).u32(number(chunk.queue.tid)).u32(number(chunk.queue.cpu)).u32(0);
    record(kind::AUXTRACE, &body.0).unwrap_or_default()
}

/// EVENT_UPDATE: by how much the period of the event that has this id is stretched.
pub(in crate::live) fn scale(id: u64, factor: f64) -> Vec<u8> {
    let mut body = Bytes::default();
    body.u64(UPDATE_SCALE).u64(id).u64(factor.to_bits());
    record(kind::EVENT_UPDATE, &body.0).unwrap_or_default()
}

/// The record that ends a pass over all rings.
pub(in crate::live) fn finished_round() -> Vec<u8> {
    record(FINISHED_ROUND, &[]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteOrder;
    use crate::live::ring::NATIVE;
    use crate::perf::attr::Attr;
    use crate::perf::record::{Next, next};
    use crate::perf::{Clock, SpeInfo, Tracer};

    fn about() -> About {
        let mut attr = vec![0; 128];
        attr[..4].copy_from_slice(&11u32.to_ne_bytes());
        attr[4..8].copy_from_slice(&128u32.to_ne_bytes());
        let name = "arm_spe_0/pa_enable=1/".to_owned();
        let event = EventAbout { attr, ids: vec![7, 9], name, cpus: None };
        let time = TimeConversion { shift: 10, mult: 10_240, zero: 5000, short: None };
        let spe = |cpu, midr| SpeCpuAbout {
            cpu,
            midr,
            pmu_type: 11,
            min_interval: 1024,
            event_filter: 0xf2,
        };
        About {
            events: vec![event],
            features: vec![(feature::ARCH, Bytes::default().string("aarch64").0.clone())],
            time: Some(time),
            spe: vec![spe(0, 0x410f_d0c0), spe(1, 0x410f_d0c0)],
            spe_metadata: SpeMetadata::Version1,
            tasks: vec![TaskAbout { pid: 40, tid: 41, name: "a name of many letters".into() }],
        }
    }

    fn records(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut records = Vec::new();
        while let Next::Record(record) = next(bytes, NATIVE) {
            records.push((record.kind, record.body.to_vec()));
            bytes = &bytes[record.size()..];
        }
        assert!(bytes.is_empty(), "{bytes:?}");
        records
    }

    #[test]
    fn a_stream_has_records_in_the_place_of_tables() {
        let records = records(&about().tables());
        let kinds: Vec<_> = records.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [64, 80, 80], "an event; arch, events");
        let (attr, size) = Attr::parse(&records[0].1, NATIVE).unwrap();
        assert_eq!((attr.type_, size), (11, 128));
        assert_eq!(records[0].1[128..], [7u64.to_ne_bytes(), 9u64.to_ne_bytes()].concat());
    }

    #[test]
    fn the_clock_comes_before_the_tracer() {
        let first = records(&about().first_records());
        assert_eq!(first[0].0, 79);
        let clock = Clock::parse(&first[0].1, NATIVE).unwrap();
        assert_eq!(clock.nanoseconds(1000), 15_000);
        assert_eq!((first[1].0, first[1].1.len()), (70, 24), "CPUs that are alike: version 1");
        assert_eq!((first[2].0, &first[2].1[..8]), (3, &[40, 0, 0, 0, 41, 0, 0, 0][..]), "a task");
        assert_eq!(&first[2].1[8..24], b"a name of many \0");
        let info = |body: &[u8]| match Tracer::parse(body, NATIVE) {
            Some(Tracer::ArmSpe(info)) => info,
            other => panic!("{other:?}"),
        };
        assert_eq!(info(&first[1].1), SpeInfo::new(Some(11), vec![]));

        let mut asked = about();
        asked.spe_metadata = SpeMetadata::Version2;
        let body = &records(&asked.first_records())[1].1;
        // perf's words: version, length of the header, unit, CPUs; of each CPU the magic, its number, how many parameters,
        // and these.
        let cpu = |number| [0x1010_1010_1010_1010, number, 4, 0x410f_d0c0, 11, 1024, 0xf2];
        let words = [&[2, 4, 11, 2][..], &cpu(0), &cpu(1)].concat();
        let words: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        assert_eq!(
            (body[..8].to_vec(), &body[8..]),
            ([4u32, 0].map(u32::to_ne_bytes).concat(), &words[..])
        );
        assert_eq!(info(body).cpus().len(), 2);

        let mut about = about();
        about.spe[1].midr = 0x410f_d490;
        let info = info(&records(&about.first_records())[1].1);
        let midr = |cpu| info.of_cpu(cpu).map(|cpu| cpu.midr);
        assert_eq!(midr(1), Some(crate::spe::Midr::new(0x410f_d490)));
        assert_eq!(midr(0), Some(crate::spe::Midr::new(0x410f_d0c0)));
    }

    #[test]
    fn more_ids_than_a_record_holds_are_told_in_several() {
        let mut about = about();
        about.events[0].ids = (1000..21_000).collect();
        let attr_len = about.events[0].attr.len();
        let records = records(&about.events[0].header_attrs());
        let (attrs, names): (Vec<_>, Vec<_>) =
            records.iter().partition(|(kind, _)| *kind == kind::HEADER_ATTR);
        let words = |bytes: &[u8]| -> Vec<u64> {
            let words = bytes.chunks_exact(8).map(|word| word.try_into().unwrap());
            words.map(u64::from_ne_bytes).collect()
        };
        let ids: Vec<_> = attrs.iter().map(|(_, body)| words(&body[attr_len..])).collect();
        assert_eq!(ids.concat(), about.events[0].ids);
        // The first one has its name from elsewhere.
        let named: Vec<_> = names.iter().map(|(_, body)| words(&body[8..16])[0]).collect();
        assert_eq!(named, [ids[1][0], ids[2][0]]);
        let first: Vec<_> = about.events[0].first_ids().collect();
        assert_eq!(first, [ids[0][0], ids[1][0], ids[2][0]]);
        about.events[0].ids.clear();
        assert_eq!(about.events[0].first_ids().next(), None);
    }

    #[test]
    fn the_cpus_of_a_unit_are_an_update_of_its_event() {
        let mut about = about();
        about.events[0].cpus = Some(vec![4, 5, 300]);
        // perf_record_event_update: its kind, the event's id, a list of three.
        let list = [0u16, 3, 4, 5, 300, 0, 0, 0].map(u16::to_ne_bytes).concat();
        let body = [[3u64, 7].map(u64::to_ne_bytes).concat(), list].concat();
        let first = records(&about.first_records());
        assert!(first.contains(&(78, body.clone())), "{first:?}");
        assert!(records(&about.events[0].announcement()).contains(&(78, body)));
    }

    #[test]
    fn a_scale_is_an_update_of_its_event() {
        // perf_record_event_update: its kind, the event's id, a double.
        let body = [1u64, 77, 0x4042_8000_0000_0000].map(u64::to_ne_bytes).concat();
        assert_eq!(records(&scale(77, 37.0)), [(78, body)]);
    }

    #[test]
    fn a_short_clock_keeps_its_mask() {
        let time =
            TimeConversion { shift: 0, mult: 1, zero: 0, short: Some((0x1_0000_0010, 0xff)) };
        let records = records(&time_conv(&time));
        let clock = Clock::parse(&records[0].1, ByteOrder::Little).unwrap();
        assert_eq!(clock.nanoseconds(0x12), 0x1_0000_0012);
    }
}
