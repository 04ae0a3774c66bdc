//! AUXTRACE_INFO, AUXTRACE and AUX records: which tracer wrote AUX data, where its bytes
//! belong, and what was lost of them (`tools/perf/util/auxtrace.h`, `arm-spe.c`).

use zerocopy::byteorder::{BE, LE, U32, U64};
use zerocopy::{ByteOrder as Order, FromBytes, Immutable, KnownLayout, Unaligned};

use super::queue_key::QueueKey;
use crate::cursor::{ByteOrder, Cursor};
use crate::spe::{Midr, encoding};

/// `auxtrace_info.type` of Intel PT.
const TYPE_INTEL_PT: u32 = 1;
/// `auxtrace_info.type` of CoreSight ETM.
const TYPE_CORESIGHT: u32 = 3;
/// `auxtrace_info.type` of Arm SPE.
const TYPE_ARM_SPE: u32 = 4;

/// Which tracer a recording's AUX data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracer {
    /// Arm SPE.
    ArmSpe(SpeInfo),
    /// Intel PT.
    IntelPt,
    /// One that is not decoded, by its number.
    Other(u32),
}

/// What AUXTRACE_INFO says of Arm SPE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpeInfo {
    /// `attr.type` of the (first) SPE event.
    pub pmu_type: Option<u32>,
    /// What is known of each CPU, in version 2; by number.
    cpus: Vec<SpeCpu>,
    /// All of them encode data sources alike.
    alike: bool,
    /// `attr.type` of all SPE events, in ascending order.
    types: Vec<u32>,
}

/// One CPU's block of AUXTRACE_INFO version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeCpu {
    /// CPU number.
    pub cpu: u64,
    /// MIDR_EL1.
    pub midr: Midr,
    /// `attr.type` of the CPU's SPE event; `None` if it has no SPE.
    pub pmu_type: Option<u32>,
}

/// Bytes of `priv` in version 1, which has no version field.
const VERSION_1_LEN: usize = 16;
/// Starts each CPU block of version 2.
const CPU_MAGIC: u64 = 0x1010_1010_1010_1010;

impl Tracer {
    /// Reads the body of AUXTRACE_INFO; `None` if it is cut.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<Self> {
        let mut at = Cursor::new(body, order);
        let kind = at.u32()?;
        let _reserved = at.u32()?;
        Some(match kind {
            // What a later version adds may not be understood; that it is SPE is.
            TYPE_ARM_SPE => Self::ArmSpe(SpeInfo::parse(at.rest(), order).unwrap_or_default()),
            TYPE_INTEL_PT => Self::IntelPt,
            other => Self::Other(other),
        })
    }

    /// Whether the body of AUXTRACE_INFO says that the recording holds snapshots of rings that are
    /// overwritten: the word `INTEL_PT_SNAPSHOT_MODE` of `tools/perf/util/intel-pt.h`, or
    /// `CS_ETM_SNAPSHOT` of `cs-etm.h`. For other tracers only AUX records tell.
    pub(crate) fn holds_snapshots(body: &[u8], order: ByteOrder) -> bool {
        let mut at = Cursor::new(body, order);
        let word = match at.u32() {
            Some(TYPE_INTEL_PT) => 8,
            Some(TYPE_CORESIGHT) => 2,
            _ => return false,
        };
        let _reserved = at.u32();
        at.take(8 * word).and_then(|_| at.u64()).is_some_and(|mode| mode != 0)
    }
}

impl SpeInfo {
    fn parse(private: &[u8], order: ByteOrder) -> Option<Self> {
        let mut at = Cursor::new(private, order);
        if private.len() <= VERSION_1_LEN {
            return Some(Self::new(u32::try_from(at.u64()?).ok(), Vec::new()));
        }
        let (_version, header_words) = (at.u64()?, at.u64()?);
        let mut at = Cursor::new(private, order);
        let mut header = Cursor::new(at.take(header_words.checked_mul(8)?)?, order);
        header.take(16)?;
        let pmu_type = header.u64().and_then(|pmu| u32::try_from(pmu).ok());
        let mut cpus = Vec::new();
        while let Some(cpu) = Self::cpu(&mut at, order) {
            cpus.push(cpu);
        }
        Some(Self::new(pmu_type, cpus))
    }

    /// The info of these CPUs; of two with one number the first one counts.
    pub(crate) fn new(pmu_type: Option<u32>, mut cpus: Vec<SpeCpu>) -> Self {
        cpus.sort_by_key(|block| block.cpu);
        cpus.dedup_by_key(|block| block.cpu);
        let mut types: Vec<_> =
            pmu_type.into_iter().chain(cpus.iter().filter_map(|block| block.pmu_type)).collect();
        types.sort_unstable();
        types.dedup();
        let first = cpus.first().map(|block| encoding(block.midr));
        let alike = cpus.iter().all(|block| Some(encoding(block.midr)) == first);
        Self { pmu_type, cpus, alike, types }
    }

    /// Reads one block; a block that does not start with the magic ends the list.
    fn cpu(at: &mut Cursor<'_>, order: ByteOrder) -> Option<SpeCpu> {
        if at.u64()? != CPU_MAGIC {
            return None;
        }
        let (cpu, parameters) = (at.u64()?, at.u64()?);
        let mut block = Cursor::new(at.take(parameters.checked_mul(8)?)?, order);
        let midr = Midr::new(block.u64()?);
        // All ones, and anything else that is no u32: no SPE on this CPU.
        let pmu_type = u32::try_from(block.u64()?).ok().filter(|pmu| *pmu != u32::MAX);
        Some(SpeCpu { cpu, midr, pmu_type })
    }

    /// The block of one CPU.
    pub fn of_cpu(&self, cpu: u32) -> Option<&SpeCpu> {
        let at = self.cpus.binary_search_by_key(&u64::from(cpu), |block| block.cpu).ok()?;
        self.cpus.get(at)
    }

    /// What is known of each CPU, by number.
    pub fn cpus(&self) -> &[SpeCpu] {
        &self.cpus
    }

    /// MIDR_EL1 of one of the CPUs, if all encode data sources as it does.
    pub fn alike(&self) -> Option<Midr> {
        self.cpus.first().filter(|_| self.alike).map(|block| block.midr)
    }

    /// Whether an event with this `attr.type` is one of the recorded units.
    pub fn has_type(&self, type_: u32) -> bool {
        self.types.binary_search(&type_).is_ok()
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAuxtrace<O: Order> {
    size: U64<O>,
    offset: U64<O>,
    reference: U64<O>,
    idx: U32<O>,
    tid: U32<O>,
    cpu: U32<O>,
    reserved: U32<O>,
}

/// The body of an AUXTRACE record: the payload behind it belongs to this queue, at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auxtrace {
    /// Bytes of payload that the record claims; they stand behind the record.
    pub size: u64,
    /// Place of the first byte in the queue's running count.
    pub offset: u64,
    /// What the tracer's part of perf makes of it, never 0: of Intel PT the TSC at reading.
    pub reference: Option<u64>,
    /// The queue.
    pub queue: QueueKey,
}

/// -1 where the kernel has a number.
pub(crate) fn known(number: u32) -> Option<u32> {
    (number != u32::MAX).then_some(number)
}

impl Auxtrace {
    /// Reads a record's body; `None` if it is cut.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<Self> {
        match order {
            ByteOrder::Little => Self::read::<LE>(body),
            ByteOrder::Big => Self::read::<BE>(body),
        }
    }

    fn read<O: Order>(body: &[u8]) -> Option<Self> {
        let (raw, _) = RawAuxtrace::<O>::ref_from_prefix(body).ok()?;
        Some(Self {
            size: raw.size.get(),
            offset: raw.offset.get(),
            reference: Some(raw.reference.get()).filter(|reference| *reference != 0),
            queue: QueueKey {
                idx: raw.idx.get(),
                cpu: known(raw.cpu.get()),
                tid: known(raw.tid.get()),
            },
        })
    }
}

bitflags::bitflags! {
    /// Flags of an AUX record.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AuxFlags: u64 {
        /// Data was lost behind the record's end.
        const TRUNCATED = 1 << 0;
        /// The ring overwrites its oldest data.
        const OVERWRITE = 1 << 1;
        /// There may be gaps: the last record may be incomplete.
        const PARTIAL = 1 << 2;
        /// At least one sample was dropped.
        const COLLISION = 1 << 3;
        const _ = !0;
    }
}

/// The body of an AUX record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aux {
    /// Place of the first byte that it announces, in the queue's running count.
    pub start: u64,
    /// End of the data that it announces, in the queue's running count.
    pub end: u64,
    /// What happened to that data.
    pub flags: AuxFlags,
}

impl Aux {
    /// Reads a record's body; `None` if it is cut.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<Self> {
        let mut at = Cursor::new(body, order);
        let (offset, size, flags) = (at.u64()?, at.u64()?, at.u64()?);
        let flags = AuxFlags::from_bits_retain(flags);
        Some(Self { start: offset, end: offset.wrapping_add(size), flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn both_versions_of_the_info() {
        let parse = |body: &[u64]| Tracer::parse(&words(body), ByteOrder::Little);
        // A PMU type of 2 does not make it version 2: its length does.
        let Some(Tracer::ArmSpe(info)) = parse(&[4, 2, 1]) else { panic!() };
        assert_eq!(info, SpeInfo::new(Some(2), vec![]));
        assert!(info.has_type(2) && !info.has_type(1));

        let four = [CPU_MAGIC, 7, 4, 0x410f_d0c0, 11, 1024, 0x4e];
        let three = [CPU_MAGIC, 9, 3, 0x410f_d490, u64::MAX, 1024];
        let body = [&[4, 2, 5, 11, 2, 99][..], &four, &three].concat();
        let Some(Tracer::ArmSpe(info)) = parse(&body) else { panic!() };
        assert_eq!(info.pmu_type, Some(11));
        assert_eq!(info.cpus().len(), 2);
        assert_eq!(info.of_cpu(7).unwrap().pmu_type, Some(11));
        assert_eq!(info.of_cpu(9).unwrap().pmu_type, None);
        assert_eq!(info.of_cpu(9).unwrap().midr, Midr::new(0x410f_d490));

        assert_eq!(parse(&[1, 0]), Some(Tracer::IntelPt));
        assert_eq!(parse(&[3, 0]), Some(Tracer::Other(3)));
        let unknown = Some(Tracer::ArmSpe(SpeInfo::default()));
        assert_eq!(parse(&[4, 2, u64::MAX, 11, 1]), unknown, "a header longer than the record");
    }

    #[test]
    fn an_auxtrace_record_of_either_byte_order() {
        let mut body = words(&[0x100, 0x2000, 7]);
        body.extend([5u32, u32::MAX, 3, 0].iter().flat_map(|word| word.to_le_bytes()));
        let want = Auxtrace {
            size: 0x100,
            offset: 0x2000,
            reference: Some(7),
            queue: QueueKey { idx: 5, cpu: Some(3), tid: None },
        };
        assert_eq!(Auxtrace::parse(&body, ByteOrder::Little), Some(want));
        let mut big: Vec<u8> = Vec::new();
        for word in body[..24].chunks(8).chain(body[24..].chunks(4)) {
            big.extend(word.iter().rev());
        }
        assert_eq!(Auxtrace::parse(&big, ByteOrder::Big), Some(want));
        assert_eq!(Auxtrace::parse(&body[..39], ByteOrder::Little), None);
        body[16] = 0;
        let without = Auxtrace { reference: None, ..want };
        assert_eq!(Auxtrace::parse(&body, ByteOrder::Little), Some(without));
    }
}
