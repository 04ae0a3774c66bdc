//! Records that the perf tool writes, types from 64 on (`tools/lib/perf/include/perf/event.h`).

use super::attr::Event;
use super::record::write;
use crate::bytes::{Endian, align};

/// Record types.
pub mod kind {
    /// An event of a stream.
    pub const HEADER_ATTR: u32 = 64;
    /// A pass over all rings is complete.
    pub const FINISHED_ROUND: u32 = 68;
    /// Which id belongs to which CPU.
    pub const ID_INDEX: u32 = 69;
    /// What tracer wrote the AUX data.
    pub const AUXTRACE_INFO: u32 = 70;
    /// AUX data, which follows the record.
    pub const AUXTRACE: u32 = 71;
    /// Which CPUs were recorded.
    pub const CPU_MAP: u32 = 74;
    /// A name for an event.
    pub const EVENT_UPDATE: u32 = 78;
    /// Ticks to ns.
    pub const TIME_CONV: u32 = 79;
    /// A feature section of a stream.
    pub const HEADER_FEATURE: u32 = 80;
    /// zstd.
    pub const COMPRESSED: u32 = 81;
    /// The synthesized start-up records are complete.
    pub const FINISHED_INIT: u32 = 82;
    /// zstd, padded.
    pub const COMPRESSED2: u32 = 83;
}

/// TIME_CONV: how ticks of the generic timer become perf's ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeConv {
    /// Shift.
    pub shift: u64,
    /// Multiplier.
    pub mult: u64,
    /// ns at tick 0, modulo 2^64.
    pub zero: u64,
    /// Ticks when the parameters were taken.
    pub cycles: u64,
    /// Bits of the counter.
    pub mask: u64,
    /// `zero` is valid.
    pub cap_zero: bool,
    /// `cycles` and `mask` are valid.
    pub cap_short: bool,
}

impl Default for TimeConv {
    /// A timer of 25 MHz, 40 ns a tick, with a counter of 56 bits.
    fn default() -> Self {
        Self {
            shift: 10,
            mult: 40_960,
            zero: 5000,
            cycles: 0,
            mask: (1 << 56) - 1,
            cap_zero: true,
            cap_short: true,
        }
    }
}

impl TimeConv {
    /// The perf time of a tick, modulo 2^64.
    pub const fn ns(&self, ticks: u64) -> u64 {
        let ticks = if self.cap_short {
            self.cycles.wrapping_add(ticks.wrapping_sub(self.cycles) & self.mask)
        } else {
            ticks
        };
        let quotient = ticks >> self.shift;
        let rest = ticks & ((1 << self.shift) - 1);
        self.zero
            .wrapping_add(quotient.wrapping_mul(self.mult))
            .wrapping_add(rest.wrapping_mul(self.mult) >> self.shift)
    }

    /// Appends the record, 56 bytes.
    pub fn write(&self, out: &mut Vec<u8>, endian: Endian) {
        write(out, endian, kind::TIME_CONV, 0, |out| {
            for word in [self.shift, self.mult, self.zero, self.cycles, self.mask] {
                endian.u64(out, word);
            }
            out.extend_from_slice(&[
                u8::from(self.cap_zero),
                u8::from(self.cap_short),
                0,
                0,
                0,
                0,
                0,
                0,
            ]);
        });
    }
}

/// AUXTRACE_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuxtraceInfo {
    /// Intel PT.
    IntelPt {
        /// PMU type.
        pmu: u32,
    },
    /// Arm SPE, perf up to 6.12: the PMU type only.
    V1 {
        /// PMU type.
        pmu: u32,
    },
    /// Arm SPE, perf 6.13 and later: a block per CPU.
    V2 {
        /// PMU type.
        pmu: u32,
        /// CPUs 0 to `cpus` - 1.
        cpus: u32,
        /// MIDR_EL1 of every CPU.
        midr: u64,
    },
}

impl AuxtraceInfo {
    /// Tracer type: Intel PT.
    const INTEL_PT: u32 = 1;
    /// Tracer type: Arm SPE.
    const ARM_SPE: u32 = 4;
    /// First word of a CPU's block.
    const MAGIC: u64 = 0x1010_1010_1010_1010;

    /// Appends the record.
    pub fn write(&self, out: &mut Vec<u8>, endian: Endian) {
        write(out, endian, kind::AUXTRACE_INFO, 0, |out| {
            endian.u32(
                out,
                if let Self::IntelPt { .. } = self { Self::INTEL_PT } else { Self::ARM_SPE },
            );
            endian.u32(out, 0);
            match *self {
                Self::IntelPt { pmu } => {
                    // What a decoder of the program's path needs besides is left 0.
                    endian.u64(out, u64::from(pmu));
                    (0..16).for_each(|_| endian.u64(out, 0));
                }
                Self::V1 { pmu } => {
                    endian.u64(out, u64::from(pmu));
                    endian.u64(out, 1); // per-CPU mmaps
                }
                Self::V2 { pmu, cpus, midr } => {
                    for word in [2, 4, u64::from(pmu), u64::from(cpus)] {
                        endian.u64(out, word);
                    }
                    for cpu in 0..cpus {
                        // Parameters: MIDR, PMU type, caps/min_interval, caps/event_filter.
                        for word in
                            [Self::MAGIC, u64::from(cpu), 4, midr, u64::from(pmu), 1024, 0xfff]
                        {
                            endian.u64(out, word);
                        }
                    }
                }
            }
        });
    }
}

/// AUXTRACE: the header of a piece of AUX data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auxtrace {
    /// Bytes that follow the record.
    pub size: u64,
    /// Where the first byte stands in the ring's running count.
    pub offset: u64,
    /// Any number.
    pub reference: u64,
    /// Queue.
    pub idx: u32,
    /// Thread, or all ones.
    pub tid: u32,
    /// CPU, or all ones.
    pub cpu: u32,
}

impl Auxtrace {
    /// Bytes of the record itself.
    pub const SIZE: u64 = 48;

    /// Appends the record; the payload is the caller's.
    pub fn write(&self, out: &mut Vec<u8>, endian: Endian) {
        write(out, endian, kind::AUXTRACE, 0, |out| {
            for word in [self.size, self.offset, self.reference] {
                endian.u64(out, word);
            }
            for word in [self.idx, self.tid, self.cpu, 0] {
                endian.u32(out, word);
            }
        });
    }
}

/// Appends a record without a body.
pub fn mark(out: &mut Vec<u8>, endian: Endian, kind: u32) {
    write(out, endian, kind, 0, |_| ());
}

/// Appends HEADER_ATTR: an event of a stream with its ids.
pub fn header_attr(out: &mut Vec<u8>, endian: Endian, event: &Event) {
    write(out, endian, kind::HEADER_ATTR, 0, |out| {
        event.attr.write(endian, out);
        event.ids.iter().for_each(|&id| endian.u64(out, id));
    });
}

/// Appends HEADER_FEATURE: a feature section of a stream; an empty one marks the end.
pub fn header_feature(out: &mut Vec<u8>, endian: Endian, bit: u32, section: &[u8]) {
    write(out, endian, kind::HEADER_FEATURE, 0, |out| {
        endian.u64(out, u64::from(bit));
        out.extend_from_slice(section);
    });
}

/// Appends EVENT_UPDATE with the name of the event.
pub fn event_name(out: &mut Vec<u8>, endian: Endian, event: &Event) {
    write(out, endian, kind::EVENT_UPDATE, 0, |out| {
        endian.u64(out, 2);
        endian.u64(out, event.ids.first().copied().unwrap_or(0));
        out.extend_from_slice(event.name.as_bytes());
        out.push(0);
        align(out, 8);
    });
}

/// Appends EVENT_UPDATE with the scale of the event that has this id.
pub fn event_scale(out: &mut Vec<u8>, endian: Endian, id: u64, scale: f64) {
    write(out, endian, kind::EVENT_UPDATE, 0, |out| {
        [1, id, scale.to_bits()].into_iter().for_each(|word| endian.u64(out, word));
    });
}

/// CPUs, in one of the forms that perf has for them (`perf_record_cpu_map_data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuMap<'a> {
    /// One after the other.
    List(&'a [u16]),
    /// A bit for each, in words of 64 bits.
    Mask(&'a [u64]),
    /// From the first to the last.
    Range(u16, u16),
}

impl CpuMap<'_> {
    fn write(self, out: &mut Vec<u8>, endian: Endian) {
        let len = |len: usize| u16::try_from(len).expect("lists are short");
        match self {
            Self::List(cpus) => {
                [0, len(cpus.len())].iter().chain(cpus).for_each(|&word| endian.u16(out, word));
            }
            Self::Mask(words) => {
                [1, len(words.len()), 8, 0, 0].into_iter().for_each(|word| endian.u16(out, word));
                words.iter().for_each(|&word| endian.u64(out, word));
            }
            Self::Range(first, last) => {
                endian.u16(out, 2);
                out.extend_from_slice(&[0, 0]);
                endian.u16(out, first);
                endian.u16(out, last);
            }
        }
        align(out, 8);
    }
}

/// Appends CPU_MAP.
pub fn cpu_map(out: &mut Vec<u8>, endian: Endian, map: CpuMap<'_>) {
    write(out, endian, kind::CPU_MAP, 0, |out| map.write(out, endian));
}

/// Appends EVENT_UPDATE with the CPUs of the unit of the event that has this id.
pub fn event_cpus(out: &mut Vec<u8>, endian: Endian, id: u64, map: CpuMap<'_>) {
    write(out, endian, kind::EVENT_UPDATE, 0, |out| {
        [3, id].into_iter().for_each(|word| endian.u64(out, word));
        map.write(out, endian);
    });
}

/// Appends ID_INDEX with these ids, each with its CPU and its thread, all ones for none.
pub fn id_index_of(out: &mut Vec<u8>, endian: Endian, rows: &[(u64, u64, u64)]) {
    write(out, endian, kind::ID_INDEX, 0, |out| {
        endian.u64(out, rows.len() as u64);
        for (queue, &(id, cpu, thread)) in rows.iter().enumerate() {
            [id, queue as u64, cpu, thread].into_iter().for_each(|word| endian.u64(out, word));
        }
    });
}

/// Appends ID_INDEX as `perf inject --guest-data` writes it: ids with their machines, 0 for the host's.
pub fn id_index_of_machines(out: &mut Vec<u8>, endian: Endian, ids: &[(u64, u64)]) {
    write(out, endian, kind::ID_INDEX, 0, |out| {
        endian.u64(out, ids.len() as u64);
        for (id, _) in ids {
            // Index, CPU, thread.
            [*id, 0, 0, u64::MAX].into_iter().for_each(|word| endian.u64(out, word));
        }
        for (_, machine) in ids {
            // Virtual CPU.
            [*machine, 0].into_iter().for_each(|word| endian.u64(out, word));
        }
    });
}

/// Appends ID_INDEX: the id of every event on every CPU, the queue it writes to, no thread.
pub fn id_index(out: &mut Vec<u8>, endian: Endian, events: &[Event]) {
    write(out, endian, kind::ID_INDEX, 0, |out| {
        endian.u64(out, events.iter().map(|event| event.ids.len() as u64).sum());
        for event in events {
            for (cpu, &id) in event.ids.iter().enumerate() {
                for word in [id, cpu as u64, cpu as u64, u64::MAX] {
                    endian.u64(out, word);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auxtrace_layout() {
        let record = Auxtrace {
            size: 0x1000,
            offset: 0x40,
            reference: 0x1234,
            idx: 2,
            tid: u32::MAX,
            cpu: 7,
        };
        let mut out = Vec::new();
        record.write(&mut out, Endian::Little);
        #[rustfmt::skip]
        let want = [
            0x47, 0, 0, 0, 0, 0, 0x30, 0,
            0x00, 0x10, 0, 0, 0, 0, 0, 0,
            0x40, 0, 0, 0, 0, 0, 0, 0,
            0x34, 0x12, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
            7, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(out, want);
        assert_eq!(out.len() as u64, Auxtrace::SIZE);
    }

    #[test]
    fn auxtrace_info_versions() {
        let mut out = Vec::new();
        AuxtraceInfo::V1 { pmu: 11 }.write(&mut out, Endian::Little);
        assert_eq!(out.len(), 32);
        assert_eq!(out[16..], [11, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        out.clear();
        AuxtraceInfo::V2 { pmu: 11, cpus: 2, midr: 0x410f_d0c0 }.write(&mut out, Endian::Little);
        assert_eq!(out.len(), 16 + 4 * 8 + 2 * 7 * 8);
        assert_eq!(
            out[48..64],
            [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn ticks_to_ns() {
        let conv = TimeConv { mult: 10_240, ..TimeConv::default() };
        assert_eq!(conv.ns(1000), 15_000);
        assert_eq!(TimeConv::default().ns(25_000_000), 1_000_005_000);
        let mut out = Vec::new();
        conv.write(&mut out, Endian::Little);
        assert_eq!(out.len(), 56);
        assert_eq!(out[..16], [79, 0, 0, 0, 0, 0, 56, 0, 10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            out[40..],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1, 1, 0, 0, 0, 0, 0, 0]
        );
    }
}
