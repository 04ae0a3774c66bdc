//! Feature sections of the header (`tools/perf/util/header.c`).

use super::attr::Event;
use crate::bytes::{Endian, align};

/// Feature bits.
pub mod bit {
    /// Name of the machine.
    pub const HOSTNAME: u32 = 3;
    /// Kernel release.
    pub const OSRELEASE: u32 = 4;
    /// perf's version.
    pub const VERSION: u32 = 5;
    /// Machine, as uname says.
    pub const ARCH: u32 = 6;
    /// Count of CPUs.
    pub const NRCPUS: u32 = 7;
    /// Processor.
    pub const CPUDESC: u32 = 8;
    /// Processor, as a number.
    pub const CPUID: u32 = 9;
    /// Memory in kB.
    pub const TOTAL_MEM: u32 = 10;
    /// perf's arguments.
    pub const CMDLINE: u32 = 11;
    /// Events and their names.
    pub const EVENT_DESC: u32 = 12;
    /// PMU types and their names.
    pub const PMU_MAPPINGS: u32 = 16;
    /// Where the AUXTRACE records are.
    pub const AUXTRACE: u32 = 18;
    /// First and last time.
    pub const SAMPLE_TIME: u32 = 21;
    /// A folder.
    pub const DIR_FORMAT: u32 = 24;
    /// zstd.
    pub const COMPRESSED: u32 = 27;
    /// Kinds of cores.
    pub const HYBRID_TOPOLOGY: u32 = 30;
    /// What the end marker of perf 6.1's streams carries: the count of features it knows.
    pub const END_MARK: u32 = 32;
}

/// Feature sections in ascending order of their bits.
#[derive(Clone, Debug, Default)]
pub struct Features {
    endian: Endian,
    sections: Vec<(u32, Vec<u8>)>,
}

fn string(out: &mut Vec<u8>, endian: Endian, text: &str) {
    let mut padded = text.as_bytes().to_vec();
    padded.push(0);
    align(&mut padded, 64);
    endian.u32(out, u32::try_from(padded.len()).expect("texts are short"));
    out.extend_from_slice(&padded);
}

fn count(out: &mut Vec<u8>, endian: Endian, len: usize) {
    endian.u32(out, u32::try_from(len).expect("lists are short"));
}

impl Features {
    /// No section yet.
    pub const fn new(endian: Endian) -> Self {
        Self { endian, sections: Vec::new() }
    }

    /// The sections by bit.
    pub fn sections(&self) -> &[(u32, Vec<u8>)] {
        &self.sections
    }

    fn add(&mut self, bit: u32, content: impl FnOnce(&mut Vec<u8>, Endian)) -> &mut Self {
        let mut section = Vec::new();
        content(&mut section, self.endian);
        let at = self.sections.partition_point(|(other, _)| *other < bit);
        self.sections.insert(at, (bit, section));
        self
    }

    /// A section that is one text.
    pub fn text(&mut self, bit: u32, text: &str) -> &mut Self {
        self.add(bit, |out, endian| string(out, endian, text))
    }

    /// NRCPUS, all online.
    pub fn cpus(&mut self, cpus: u32) -> &mut Self {
        self.add(bit::NRCPUS, |out, endian| {
            endian.u32(out, cpus);
            endian.u32(out, cpus);
        })
    }

    /// A section of 64-bit numbers.
    pub fn words(&mut self, bit: u32, words: &[u64]) -> &mut Self {
        self.add(bit, |out, endian| words.iter().for_each(|&word| endian.u64(out, word)))
    }

    /// CMDLINE.
    pub fn command(&mut self, arguments: &[&str]) -> &mut Self {
        self.add(bit::CMDLINE, |out, endian| {
            count(out, endian, arguments.len());
            arguments.iter().for_each(|argument| string(out, endian, argument));
        })
    }

    /// EVENT_DESC.
    pub fn events(&mut self, events: &[Event]) -> &mut Self {
        self.add(bit::EVENT_DESC, |out, endian| {
            count(out, endian, events.len());
            endian.u32(out, events.first().map_or(0, |event| event.attr.size));
            for event in events {
                event.attr.write(endian, out);
                count(out, endian, event.ids.len());
                string(out, endian, &event.name);
                event.ids.iter().for_each(|&id| endian.u64(out, id));
            }
        })
    }

    /// PMU_MAPPINGS.
    pub fn pmus(&mut self, pmus: &[(u32, &str)]) -> &mut Self {
        self.add(bit::PMU_MAPPINGS, |out, endian| {
            count(out, endian, pmus.len());
            for (kind, name) in pmus {
                endian.u32(out, *kind);
                string(out, endian, name);
            }
        })
    }

    /// HYBRID_TOPOLOGY: the unit of each kind of cores, and its CPUs as the kernel lists them.
    pub fn hybrid_topology(&mut self, kinds: &[(&str, &str)]) -> &mut Self {
        self.add(bit::HYBRID_TOPOLOGY, |out, endian| {
            count(out, endian, kinds.len());
            for (unit, cpus) in kinds {
                string(out, endian, unit);
                string(out, endian, cpus);
            }
        })
    }

    /// AUXTRACE: positions of the AUXTRACE records in the file.
    pub fn auxtrace_index(&mut self, positions: &[u64]) -> &mut Self {
        self.add(bit::AUXTRACE, |out, endian| {
            endian.u64(out, positions.len() as u64);
            for &position in positions {
                endian.u64(out, position);
                endian.u64(out, super::tool::Auxtrace::SIZE);
            }
        })
    }

    /// COMPRESSED: zstd, its level, and how many bytes one record expands to at most.
    pub fn compressed(&mut self, level: u32, longest: u32) -> &mut Self {
        self.add(bit::COMPRESSED, |out, endian| {
            for word in [0, 1, level, 1, longest] {
                endian.u32(out, word);
            }
        })
    }

    /// The 256-bit bitmap of the file header, as four words.
    pub fn bitmap(&self) -> [u64; 4] {
        let mut bitmap = [0; 4];
        for (bit, _) in &self.sections {
            bitmap[*bit as usize / 64] |= 1 << (bit % 64);
        }
        bitmap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_sorted_by_bit() {
        let mut features = Features::new(Endian::Little);
        features.text(bit::CPUID, "x").text(bit::HOSTNAME, "host").words(bit::DIR_FORMAT, &[1]);
        let bits: Vec<u32> = features.sections().iter().map(|(bit, _)| *bit).collect();
        assert_eq!(bits, [3, 9, 24]);
        assert_eq!(features.bitmap(), [1 << 3 | 1 << 9 | 1 << 24, 0, 0, 0]);
        let host = &features.sections()[0].1;
        assert_eq!(host.len(), 4 + 64);
        assert_eq!(host[..9], [64, 0, 0, 0, b'h', b'o', b's', b't', 0]);
    }
}
