//! Small recordings written record by record.

use tracegen::bytes::Endian;
use tracegen::perf::attr::{flag, sample_type as st};
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::record::Trailer;
use tracegen::perf::tool::mark;
use tracegen::perf::{
    Attr, Auxtrace, AuxtraceInfo, Event, Record, Sample, Settings, TimeConv, Writer,
};
use tracegen::spe::{MIDR_NEOVERSE_N1, Packet, Width, address, counter, event, operation};

/// The type of the unit `arm_spe_0` in these recordings.
pub const PMU: u32 = 11;
/// The types of AMD's units for sampling.
pub const IBS_FETCH: u32 = 9;
/// The one that samples ops.
pub const IBS_OP: u32 = 10;
/// Ids of the first event's CPUs count from here, those of the others from multiples of it.
pub const FIRST_ID: u64 = 100;
const FINISHED_ROUND: u32 = 68;

/// `arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/`.
pub fn spe_event() -> Event {
    let attr = Attr {
        kind: PMU,
        size: 128,
        config: 1 | 1 << 1 | 1 << 16,
        sample_period: 1024,
        sample_type: st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU,
        flags: flag::SAMPLE_ID_ALL,
        ..Attr::default()
    };
    Event {
        attr,
        ids: (FIRST_ID..FIRST_ID + 8).collect(),
        name: "arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/".to_owned(),
    }
}

/// An event of the processor's own unit with these fields in its samples.
pub fn sample_event(name: &str, number: u64, sample_type: u64) -> Event {
    let attr = Attr {
        kind: 1,
        size: 128,
        config: number,
        sample_period: 1,
        sample_type,
        flags: flag::SAMPLE_ID_ALL,
        ..Attr::default()
    };
    Event { attr, ids: vec![FIRST_ID * (number + 1)], name: name.to_owned() }
}

/// Says of a trailer what the tests do not ask about.
pub fn trailer(cpu: u32, time: u64) -> Trailer {
    Trailer { pid: 4242, tid: 4242, time, id: FIRST_ID + u64::from(cpu), cpu }
}

/// A recording on its way.
pub struct Made {
    writer: Writer<Vec<u8>>,
    features: Features,
    first: Event,
    endian: Endian,
}

impl Made {
    /// A recording of these events by this kernel release.
    pub fn of(endian: Endian, stream: bool, events: Vec<Event>, release: &str) -> Self {
        let mut features = Features::new(endian);
        features
            .text(bit::OSRELEASE, release)
            .text(bit::ARCH, "aarch64")
            .text(bit::CPUID, &format!("{MIDR_NEOVERSE_N1:#018x}"))
            .pmus(&[(1, "software"), (PMU, "arm_spe_0")])
            .events(&events);
        Self::with(endian, stream, events, features)
    }

    /// A file of samples of these events, whose machine is one of AMD's, a Zen 4.
    pub fn amd(events: Vec<Event>) -> Self {
        Self::amd_of(Some("AuthenticAMD,25,17,1"), events)
    }

    /// The same on a processor that is called so, or not at all.
    pub fn amd_of(cpuid: Option<&str>, events: Vec<Event>) -> Self {
        let mut features = Features::new(Endian::Little);
        features
            .text(bit::OSRELEASE, "6.12.0")
            .text(bit::ARCH, "x86_64")
            .pmus(&[(1, "software"), (4, "cpu"), (IBS_FETCH, "ibs_fetch"), (IBS_OP, "ibs_op")])
            .events(&events);
        if let Some(cpuid) = cpuid {
            features.text(bit::CPUID, cpuid);
        }
        Self::with(Endian::Little, false, events, features)
    }

    /// A recording of these events on a machine of these features.
    pub fn with(endian: Endian, stream: bool, events: Vec<Event>, features: Features) -> Self {
        let first = events[0].clone();
        let settings = Settings { endian, stream, compression: None, events };
        let writer = Writer::new(Vec::new(), settings, &features, 1).expect("memory takes all");
        Self { writer, features, first, endian }
    }

    /// A file of Arm SPE data, with AUXTRACE_INFO and TIME_CONV.
    pub fn spe() -> Self {
        let mut made = Self::of(Endian::Little, false, vec![spe_event()], "6.12.0");
        made.info();
        made.clock();
        made
    }

    /// A file of samples of these events.
    pub fn samples(events: Vec<Event>) -> Self {
        Self::of(Endian::Little, false, events, "6.12.0")
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.writer.tool(bytes).expect("memory takes all");
        self
    }

    /// AUXTRACE_INFO, version 1.
    pub fn info(&mut self) -> &mut Self {
        let mut out = Vec::new();
        AuxtraceInfo::V1 { pmu: PMU }.write(&mut out, self.endian);
        self.raw(&out)
    }

    /// TIME_CONV.
    pub fn clock(&mut self) -> &mut Self {
        let mut out = Vec::new();
        TimeConv::default().write(&mut out, self.endian);
        self.raw(&out)
    }

    /// FINISHED_ROUND.
    pub fn round(&mut self) -> &mut Self {
        let mut out = Vec::new();
        mark(&mut out, self.endian, FINISHED_ROUND);
        self.raw(&out)
    }

    /// A record of the kernel, on a CPU at a time.
    pub fn record(&mut self, record: Record<'_>, cpu: u32, time: u64) -> &mut Self {
        self.record_of(record, &trailer(cpu, time))
    }

    /// A record of the kernel with this trailer.
    pub fn record_of(&mut self, record: Record<'_>, trailer: &Trailer) -> &mut Self {
        let mut out = Vec::new();
        record.write(&mut out, self.endian, self.first.attr.sample_type, trailer);
        self.raw(&out)
    }

    /// An AUX record.
    pub fn aux(&mut self, cpu: u32, offset: u64, size: u64, flags: u64) -> &mut Self {
        self.record(Record::Aux { offset, size, flags }, cpu, 1000)
    }

    /// AUXTRACE and its payload.
    pub fn piece(&mut self, cpu: u32, offset: u64, payload: &[u8]) -> &mut Self {
        self.piece_of((cpu, u32::MAX), offset, payload)
    }

    /// AUXTRACE of a CPU or thread, of which the other one is all ones, and its payload.
    pub fn piece_of(&mut self, ring: (u32, u32), offset: u64, payload: &[u8]) -> &mut Self {
        self.piece_near(1, ring, offset, payload)
    }

    /// The same with a reference.
    pub fn piece_near(
        &mut self,
        reference: u64,
        (cpu, tid): (u32, u32),
        offset: u64,
        payload: &[u8],
    ) -> &mut Self {
        let size = payload.len() as u64;
        let record = Auxtrace { size, offset, reference, idx: cpu.min(tid), tid, cpu };
        self.writer.auxtrace(&record, payload).expect("memory takes all");
        self
    }

    /// A sample.
    pub fn sample(&mut self, sample: &Sample, sample_type: u64) -> &mut Self {
        let mut out = Vec::new();
        sample.write(&mut out, self.endian, sample_type);
        self.raw(&out)
    }

    /// The whole recording.
    pub fn finish(self) -> Vec<u8> {
        let finished = self.writer.finish(self.features, true).expect("memory takes all");
        let mut out = finished.out;
        if let Some(header) = finished.header {
            out[..header.len()].copy_from_slice(&header);
        }
        out
    }
}

/// The packets of a load from a page frame, ended by a timestamp; 48 bytes.
pub fn load(pfn: u64, ticks: u64) -> Vec<u8> {
    access(operation::GENERAL, pfn, 0x7f00_0000_0000 + (pfn << 12), ticks)
}

/// The packets of a memory operation.
pub fn access(payload: u8, pfn: u64, vaddr: u64, ticks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in [
        Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
        Packet::Counter { index: counter::TOTAL, value: 20 },
        Packet::Events { bits: event::RETIRED | event::L1D_ACCESS, width: Width::One },
        Packet::Operation { class: operation::MEMORY, payload },
        Packet::Address { index: address::DATA_VIRTUAL, payload: address::data(vaddr, 0) },
        Packet::Address {
            index: address::DATA_PHYSICAL,
            payload: address::physical(pfn << 12, false, 0),
        },
        Packet::Context { index: 0, value: 4242 },
        Packet::Timestamp(ticks),
    ] {
        packet.write(&mut out);
    }
    out
}
