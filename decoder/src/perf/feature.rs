//! Feature sections: what the recorder knew of its machine (`tools/perf/util/header.c`).
//!
//! They come as sections of a file or as records of a stream, with the same content.

use std::collections::BTreeMap;

use super::attr::Attr;
use super::cpus::CpuSet;
use crate::ByteOrder;
use crate::cursor::Cursor;

/// Numbers of the features that are read; their bits in the header's bitmap.
pub(crate) mod number {
    pub(crate) const OSRELEASE: u64 = 4;
    pub(crate) const ARCH: u64 = 6;
    pub(crate) const NRCPUS: u64 = 7;
    pub(crate) const CPUID: u64 = 9;
    pub(crate) const CMDLINE: u64 = 11;
    pub(crate) const EVENT_DESC: u64 = 12;
    pub(crate) const PMU_MAPPINGS: u64 = 16;
    pub(crate) const HYBRID_TOPOLOGY: u64 = 30;
    pub(crate) const CPU_DOMAIN_INFO: u64 = 32;
    pub(crate) const E_MACHINE: u64 = 33;
    pub(crate) const CLN_SIZE: u64 = 34;
}

/// An event as EVENT_DESC has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDescription {
    /// Its attribute.
    pub attr: Attr,
    /// What the user called it.
    pub name: String,
    /// Its ids.
    pub ids: Vec<u64>,
}

/// What is known of the machine that was recorded. Every part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Kernel release, as `uname -r` prints it.
    pub os_release: Option<String>,
    /// Architecture, as `uname -m` prints it, see [`Features::arch`].
    pub arch: Option<String>,
    /// Machine and flags of the recorder's ELF header: `e_machine`, `e_flags`.
    pub e_machine: Option<(u32, u32)>,
    /// Bytes of a cache line.
    pub cache_line_bytes: Option<u32>,
    /// Version of the kernel's `/proc/schedstat`, which tells how its CPUs share caches.
    pub schedstat_version: Option<u32>,
    /// Arm: MIDR_EL1 of one CPU. x86: vendor, family, model, stepping.
    pub cpuid: Option<String>,
    /// The recorder's command line.
    pub command_line: Vec<String>,
    /// CPUs that were online, 1 at least.
    pub cpus_online: Option<u32>,
    /// Kinds of cores, where there are several: the name of each one's unit (`cpu_core`), and its
    /// CPUs as the kernel lists them, `0-3,8`.
    pub core_kinds: Vec<(String, String)>,
    /// Events with their names.
    pub events: Vec<EventDescription>,
    /// `attr.type` of every performance monitoring unit, with its name.
    pub pmus: BTreeMap<u32, String>,
}

impl Features {
    /// Takes one section in. An empty one holds no information: streams end their features
    /// with one, whose number means nothing.
    ///
    /// # Errors
    /// The section's name if its content does not hold together; nothing is taken then.
    pub fn take(
        &mut self,
        number: u64,
        bytes: &[u8],
        order: ByteOrder,
    ) -> Result<(), &'static str> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut section = Section(Cursor::new(bytes, order));
        // What follows the last field is for newer readers.
        match number {
            number::OSRELEASE => self.os_release = Some(section.string().ok_or("OSRELEASE")?),
            number::ARCH => self.arch = Some(section.string().ok_or("ARCH")?),
            number::E_MACHINE => self.e_machine = Some(section.pair().ok_or("E_MACHINE")?),
            number::CLN_SIZE => self.cache_line_bytes = Some(section.0.u32().ok_or("CLN_SIZE")?),
            // What it says of each CPU's domains is of no use here.
            number::CPU_DOMAIN_INFO => {
                self.schedstat_version = Some(section.0.u32().ok_or("CPU_DOMAIN_INFO")?);
            }
            number::CPUID => self.cpuid = Some(section.string().ok_or("CPUID")?),
            // Available and online, in an order that differs: fewer are online.
            number::NRCPUS => {
                let (first, second) = section.pair().ok_or("NRCPUS")?;
                self.cpus_online = Some(first.min(second)).filter(|online| *online > 0);
            }
            number::HYBRID_TOPOLOGY => {
                let kind = |section: &mut Section<'_>| Some((section.string()?, section.string()?));
                self.core_kinds = section.list(kind).ok_or("HYBRID_TOPOLOGY")?;
            }
            number::CMDLINE => {
                self.command_line = section.list(Section::string).ok_or("CMDLINE")?;
            }
            number::PMU_MAPPINGS => {
                let pmu = |section: &mut Section<'_>| Some((section.0.u32()?, section.string()?));
                let pmus = section.list(pmu).ok_or("PMU_MAPPINGS")?;
                self.pmus = pmus.into_iter().collect();
            }
            number::EVENT_DESC => self.events = section.events(order).ok_or("EVENT_DESC")?,
            _ => {}
        }
        Ok(())
    }

    /// Architecture, as `uname -m` prints it; where the recording has no name for it, that of the
    /// machine in the recorder's ELF header.
    pub fn arch(&self) -> Option<&str> {
        let by_machine = || match self.e_machine?.0 {
            62 => Some("x86_64"),
            183 => Some("aarch64"),
            _ => None,
        };
        self.arch.as_deref().or_else(by_machine)
    }

    /// MIDR_EL1 of an Arm recording.
    pub fn midr(&self) -> Option<u64> {
        let digits = self.cpuid.as_deref()?.trim().strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    }

    /// The CPUs of each kind of cores; without any where the list is damaged.
    pub fn core_kinds(&self) -> impl Iterator<Item = (&str, CpuSet)> {
        let kinds = self.core_kinds.iter();
        kinds.map(|(unit, cpus)| (unit.as_str(), CpuSet::parse(cpus).unwrap_or_default()))
    }

    /// Name of the unit with this `attr.type`.
    pub fn pmu(&self, type_: u32) -> Option<&str> {
        self.pmus.get(&type_).map(String::as_str)
    }
}

/// Vendor, family and model of an x86 processor that a recording calls
/// `vendor,family,model,stepping`, in decimal.
pub(crate) fn processor(cpuid: &str) -> Option<(&str, u32, u32)> {
    let mut parts = cpuid.split(',').map(str::trim);
    let vendor = parts.next()?;
    let mut number = || parts.next()?.parse().ok();
    Some((vendor, number()?, number()?))
}

/// Items of one list that are read. Real lists are shorter; a damaged count may say anything.
const MAX_ITEMS: u32 = 1 << 14;

/// A section that is read from its start. All is `None` where it ends too early.
struct Section<'a>(Cursor<'a>);

impl Section<'_> {
    /// Two numbers.
    fn pair(&mut self) -> Option<(u32, u32)> {
        Some((self.0.u32()?, self.0.u32()?))
    }

    /// A length, and that many bytes that hold a NUL-terminated string.
    fn string(&mut self) -> Option<String> {
        let len = self.0.u32()?;
        let field = self.0.take(len.into())?;
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// A number of items that a section can hold.
    fn count(&mut self) -> Option<u32> {
        self.0.u32().filter(|count| *count <= MAX_ITEMS)
    }

    /// A count, and that many items.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.count()?).map(|_| item(self)).collect()
    }

    /// A count, the size of an attribute, and that many events.
    fn events(&mut self, order: ByteOrder) -> Option<Vec<EventDescription>> {
        let (count, attr_size) = (self.count()?, self.0.u32()?);
        let event = |_| {
            let (attr, _) = Attr::parse(self.0.take(attr_size.into())?, order)?;
            let id_count = self.0.u32()?;
            let name = self.string()?;
            let ids = (0..id_count).map(|_| self.0.u64()).collect::<Option<_>>()?;
            Some(EventDescription { attr, name, ids })
        };
        (0..count).map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str, len: u32) -> Vec<u8> {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        bytes.resize(4 + len as usize, 0);
        bytes
    }

    #[test]
    fn each_section_reads_as_it_is_written() {
        let mut features = Features::default();
        let mut take = |number, bytes: &[u8]| {
            features.take(number, bytes, ByteOrder::Little).unwrap();
        };
        take(4, &string("6.8.0-64k", 64));
        take(6, &string("aarch64", 64));
        take(9, &string("0x00000000410fd0c0", 64));
        take(11, &[&2u32.to_le_bytes()[..], &string("perf", 64), &string("record", 7)].concat());
        take(
            16,
            &[&1u32.to_le_bytes()[..], &11u32.to_le_bytes(), &string("arm_spe_0", 64)].concat(),
        );
        let mut attr = vec![0; 64];
        attr[0] = 11;
        attr[4] = 64;
        let event = [
            &1u32.to_le_bytes()[..],
            &64u32.to_le_bytes(),
            &attr,
            &2u32.to_le_bytes(),
            &string("arm_spe_0/pa_enable=1/", 64),
            &100u64.to_le_bytes(),
            &101u64.to_le_bytes(),
        ]
        .concat();
        take(12, &event);
        take(7, &[8u32.to_le_bytes(), 6u32.to_le_bytes()].concat());
        take(
            30,
            &[
                &2u32.to_le_bytes()[..],
                &string("cpu_core", 64),
                &string("0-3", 64),
                &string("cpu_atom", 64),
                &string("4-7", 64),
            ]
            .concat(),
        );
        take(32, &[]);
        take(32, &[17u32, 8, 0, 0].map(u32::to_le_bytes).concat());
        take(33, &[183u32, 5].map(u32::to_le_bytes).concat());
        take(34, &128u32.to_le_bytes());
        assert_eq!(features.schedstat_version, Some(17));
        assert_eq!(features.e_machine, Some((183, 5)));
        assert_eq!(features.cache_line_bytes, Some(128));
        assert_eq!(features.os_release.as_deref(), Some("6.8.0-64k"));
        assert_eq!(features.arch.as_deref(), Some("aarch64"));
        assert_eq!(features.midr(), Some(0x410f_d0c0));
        assert_eq!(features.command_line, ["perf", "record"]);
        assert_eq!(features.pmu(11), Some("arm_spe_0"));
        assert_eq!(features.cpus_online, Some(6));
        let kinds: Vec<_> =
            features.core_kinds().map(|(unit, cpus)| format!("{unit} {cpus}")).collect();
        assert_eq!(kinds, ["cpu_core 0-3", "cpu_atom 4-7"]);
        assert_eq!(features.events[0].name, "arm_spe_0/pa_enable=1/");
        assert_eq!(features.events[0].ids, [100, 101]);

        for len in 1..event.len() {
            let cut = Features::default().take(12, &event[..len], ByteOrder::Little);
            assert_eq!(cut, Err("EVENT_DESC"), "cut at {len}");
        }
    }

    #[test]
    fn the_architecture_has_a_name_or_a_machine_of_elf() {
        let arch = |sections: &[(u64, &[u8])], order| {
            let mut features = Features::default();
            for (number, bytes) in sections {
                features.take(*number, bytes, order).unwrap();
            }
            features.arch().map(str::to_owned)
        };
        let little = |machine: u32| [machine, 0].map(u32::to_le_bytes).concat();
        // The numbers of elf.h: EM_X86_64, EM_AARCH64, EM_S390.
        for (machine, want) in [(62, Some("x86_64")), (183, Some("aarch64")), (22, None)] {
            let of = arch(&[(33, &little(machine))], ByteOrder::Little);
            assert_eq!(of.as_deref(), want, "{machine}");
        }
        let big = [183u32, 0].map(u32::to_be_bytes).concat();
        assert_eq!(arch(&[(33, &big)], ByteOrder::Big).as_deref(), Some("aarch64"));
        // A name comes first, wherever it stands.
        let name = string("s390x", 8);
        for sections in [[(6, &name[..]), (33, &little(62)[..])], [(33, &little(62)), (6, &name)]] {
            assert_eq!(arch(&sections, ByteOrder::Little).as_deref(), Some("s390x"));
        }
        assert_eq!(arch(&[], ByteOrder::Little), None);
        let cut = Features::default().take(33, &[183, 0, 0, 0, 5], ByteOrder::Little);
        assert_eq!(cut, Err("E_MACHINE"));
    }

    #[test]
    fn counts_that_the_section_cannot_hold_are_refused_without_memory_for_them() {
        let huge = [&u32::MAX.to_le_bytes()[..], &[0; 16]].concat();
        for number in [11, 16, 30] {
            assert!(Features::default().take(number, &huge, ByteOrder::Little).is_err());
        }
        let ids = [
            &1u32.to_le_bytes()[..],
            &64u32.to_le_bytes(),
            &[0; 64],
            &u32::MAX.to_le_bytes(),
            &string("x", 8),
        ]
        .concat();
        assert_eq!(Features::default().take(12, &ids, ByteOrder::Little), Err("EVENT_DESC"));
    }
}
