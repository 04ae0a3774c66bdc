//! Data source words of PEBS records: each of Intel's cores has a table of its own
//! (`arch/x86/events/intel/ds.c`). They are those of events that sample latencies of loads, and on
//! cores from Golden Cove on of stores.

use core::fmt;

use crate::perf::processor;
use crate::{AccessFlags, DataSource, Tlb};

/// A core, as far as its data source words are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Nehalem and Westmere.
    Nehalem,
    /// Sandy Bridge to Broadwell.
    SandyBridge,
    /// Skylake to Golden and Redwood Cove, of clients.
    Skylake,
    /// The same of servers, which may have persistent memory.
    SkylakeServer,
    /// Gracemont.
    Gracemont,
    /// Crestmont, Skymont and Darkmont.
    Crestmont,
    /// Lion Cove and Cougar Cove.
    LionCove,
    /// Panther Cove and Coyote Cove.
    PantherCove,
    /// Arctic Wolf.
    ArcticWolf,
}

/// What a data source word tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Where the data came from.
    pub source: Option<DataSource>,
    /// How the address was translated.
    pub tlb: Option<Tlb>,
    /// What else; what `tlb` says too is among them.
    pub flags: AccessFlags,
}

/// Where data came from, and flags of that.
type Origin = (Option<DataSource>, AccessFlags);

impl Core {
    /// Reads a word. What does not stand in the core's table stays visible as an unknown code.
    pub fn decode(self, word: u64) -> Told {
        let bit = |bit: u32| word >> bit & 1 == 1;
        // Places of the bits "missed the second TLB" and "locked".
        let (walked, locked) = match self {
            Self::Nehalem => (None, None),
            Self::SandyBridge | Self::Skylake | Self::SkylakeServer => (Some(4), Some(5)),
            Self::Gracemont => (Some(5), Some(4)),
            Self::Crestmont => (Some(6), Some(5)),
            Self::LionCove => (Some(10), Some(11)),
            Self::PantherCove | Self::ArcticWolf => (Some(11), Some(12)),
        };
        let (source, mut flags) = match self {
            Self::LionCove => lion_cove(low8(word)),
            Self::PantherCove | Self::ArcticWolf if bit(8) => off_module(word),
            Self::PantherCove => panther_cove(low8(word) & 0xf),
            Self::ArcticWolf => arctic_wolf(low8(word) & 0xf),
            _ => self.four_bits(low8(word) & 0xf),
        };
        flags.set(AccessFlags::LOCKED, locked.is_some_and(bit));
        let tlb = walked.map(|walked| match self {
            _ if bit(walked) => Tlb::Walk,
            Self::PantherCove if bit(9) || bit(10) => Tlb::L2,
            _ => Tlb::Hit,
        });
        Told { source, tlb, flags: flags | tlb.map_or(AccessFlags::empty(), Tlb::flags) }
    }

    /// Codes of four bits, a line each: those of all cores, but for the exceptions beside them. All
    /// 16 have a meaning.
    fn four_bits(self, code: u8) -> Origin {
        use AccessFlags as F;
        use DataSource as D;
        let plain = F::empty();
        let far = F::REMOTE;
        let (source, flags) = match (code, self) {
            // It missed the last cache; from where it came is not known.
            (0x0, _) => return (None, F::LLC_MISS),
            (0x1, _) => (D::L1, plain),
            (0x2, _) => (D::Lfb, plain),
            (0x3, _) => (D::L2, plain),
            (0x4 | 0x5, _) => (D::L3, plain),
            // Another core had the line, and may have modified it.
            (0x6, Self::Gracemont | Self::Nehalem) => (D::L3, F::HITM),
            (0x6, _) => (D::L3, plain),
            (0x7, Self::Crestmont) => (D::L3, plain),
            (0x7, _) => (D::L3, F::HITM),
            (0x8, Self::Gracemont) => (D::L3, plain),
            (0x8, Self::Crestmont) => (D::L3, F::HITM),
            (0x8, Self::Skylake) => (D::Slc, plain),
            (0x8, Self::SkylakeServer) => (D::Pmem, plain),
            (0x8, _) => (D::RemoteCache, far),
            (0x9, Self::Skylake) => (D::RemoteCache, far),
            (0x9, Self::SkylakeServer) => (D::Pmem, far),
            (0x9, _) => (D::RemoteCache, far | F::HITM),
            (0xa, _) => (D::Dram, plain),
            (0xb, _) => (D::RemoteDram, far),
            (0xc, Self::Skylake | Self::SkylakeServer) => (D::RemoteCache, far),
            (0xc, Self::Crestmont) => (D::RemoteDram, far),
            (0xc, _) => (D::Dram, plain),
            (0xd, Self::Skylake | Self::SkylakeServer) => (D::RemoteCache, far | F::HITM),
            (0xd, Self::Crestmont) => (D::RemoteDram, far | F::HITM),
            (0xd, _) => (D::RemoteDram, far),
            (0xe, _) => (D::Io, plain),
            (_, _) => (D::Uncached, plain),
        };
        (Some(source), flags)
    }
}

/// Lion Cove's code of eight bits.
fn lion_cove(code: u8) -> Origin {
    use AccessFlags as F;
    use DataSource as D;
    let (source, flags) = match code {
        0x00 => return (None, F::LLC_MISS),
        0x01 | 0x02 => (D::L1, F::empty()),
        // The buffers of misses of the first and the second level.
        0x03 | 0x06 => (D::Lfb, F::empty()),
        0x05 => (D::L2, F::empty()),
        0x08 | 0x0c => (D::L3, F::empty()),
        0x0d => (D::L3, F::HITM),
        0x0f => return (None, F::LLC_MISS | F::HITM),
        0x10 => (D::Slc, F::empty()),
        0x11 => (D::Dram, F::empty()),
        _ => return unknown(code),
    };
    (Some(source), flags)
}

/// Panther Cove's code of what its module had.
fn panther_cove(code: u8) -> Origin {
    use DataSource as D;
    let source = match code {
        0x0 => return (None, AccessFlags::empty()),
        // L0 and L1.
        0x1 | 0x2 => D::L1,
        0x3 => D::Lfb,
        0x8 => return (Some(D::L2), AccessFlags::HITM),
        // Clean, snooped, and two kinds of promoted prefetches.
        0x4 | 0x7 | 0x9 | 0xa => D::L2,
        0xf => D::Uncached,
        _ => return unknown(code),
    };
    (Some(source), AccessFlags::empty())
}

/// Arctic Wolf's code of what its module had.
fn arctic_wolf(code: u8) -> Origin {
    use DataSource as D;
    let source = match code {
        0x0 => return (None, AccessFlags::empty()),
        0x1 => D::L1,
        // The write-combining buffer.
        0x2 => D::Lfb,
        0x5 => return (Some(D::L2), AccessFlags::HITM),
        0x3 | 0x4 => D::L2,
        0x6 => D::Uncached,
        _ => return unknown(code),
    };
    (Some(source), AccessFlags::empty())
}

/// What answered an access that left the module of Panther Cove or Arctic Wolf: bits 3:0, with
/// "remote" in bit 4 and "modified" in bit 5.
fn off_module(word: u64) -> Origin {
    use AccessFlags as F;
    use DataSource as D;
    let remote = word >> 4 & 1 == 1;
    let mut flags = F::L2_MISS;
    flags.set(F::REMOTE, remote);
    let region = low8(word) & 0xf;
    let source = match region {
        // Invalid and reserved.
        0 | 1 => return (None, F::L2_MISS),
        // Caches: shared or not, of this caching agent or of another.
        2 | 3 | 5 | 6 => {
            flags.set(F::HITM, word >> 5 & 1 == 1);
            if remote { D::RemoteCache } else { D::L3 }
        }
        // An I/O agent, and devices.
        4 | 7 => D::Io,
        _ => {
            flags |= F::of_memory_region(region - 8);
            if remote { D::RemoteDram } else { D::Dram }
        }
    };
    (Some(source), flags)
}

fn unknown(code: u8) -> Origin {
    (Some(DataSource::Unknown(code.into())), AccessFlags::empty())
}

fn low8(word: u64) -> u8 {
    let [low, ..] = word.to_le_bytes();
    low
}

/// The cores of a processor: those that are made for speed, those that are made for economy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cores {
    core: Option<Core>,
    atom: Option<Core>,
}

impl Cores {
    /// By family and model (`arch/x86/include/asm/intel-family.h`, `intel_pmu_init`).
    fn of(family: u32, model: u32) -> Option<Self> {
        let core = |core| Some(Self { core: Some(core), atom: None });
        let atom = |atom| Some(Self { core: None, atom: Some(atom) });
        let both = |core, atom| Some(Self { core: Some(core), atom: Some(atom) });
        match (family, model) {
            (6, 26 | 30 | 31 | 37 | 44 | 46 | 47) => core(Core::Nehalem),
            // Sandy and Ivy Bridge, Haswell, Broadwell.
            (6, 42 | 45 | 58 | 62 | 60 | 63 | 69 | 70 | 61 | 71 | 79 | 86) => {
                core(Core::SandyBridge)
            }
            // Skylake, Kaby and Comet Lake, Ice, Tiger and Rocket Lake.
            (6, 78 | 94 | 142 | 158 | 165 | 166 | 125 | 126 | 140 | 141 | 167) => {
                core(Core::Skylake)
            }
            // Skylake, Ice Lake, Sapphire, Emerald and Granite Rapids.
            (6, 85 | 106 | 108 | 143 | 207 | 173 | 174) => core(Core::SkylakeServer),
            (6, 190) => atom(Core::Gracemont),
            // Sierra and Clearwater Forest, Grand Ridge.
            (6, 175 | 182 | 221) => atom(Core::Crestmont),
            // Alder and Raptor Lake.
            (6, 151 | 154 | 183 | 186 | 191) => both(Core::Skylake, Core::Gracemont),
            // Meteor Lake, Arrow Lake U.
            (6, 170 | 172 | 181) => both(Core::Skylake, Core::Crestmont),
            // Lunar, Arrow, Panther and Wildcat Lake.
            (6, 189 | 197 | 198 | 204 | 213) => both(Core::LionCove, Core::Crestmont),
            // Diamond Rapids; Nova Lake.
            (19, 1) => core(Core::PantherCove),
            (18, 1 | 3) => both(Core::PantherCove, Core::ArcticWolf),
            _ => None,
        }
    }
}

/// Text that names no core.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCore {
    /// It is no family and model.
    #[error(
        "\"{0}\" is no processor: it is FAMILY,MODEL in decimal, as in the CPUID of a recording or \
         in /proc/cpuinfo, such as 6,143; of one with two kinds of cores with /core or /atom behind"
    )]
    Malformed(String),
    /// There is no table for the processor.
    #[error(
        "no table of data sources is known for Intel's family {family} model {model}: leave it out, \
         and the words stay as they are"
    )]
    NoTable {
        /// Its family.
        family: u32,
        /// Its model.
        model: u32,
    },
    /// The processor has both kinds of cores.
    #[error(
        "family {family} model {model} has two kinds of cores, whose words differ: say \
         {family},{model}/core or {family},{model}/atom"
    )]
    TwoKinds {
        /// Its family.
        family: u32,
        /// Its model.
        model: u32,
    },
    /// The processor has not this kind of cores.
    #[error("family {family} model {model} has no cores of the kind \"{kind}\": leave /{kind} out")]
    NoSuchKind {
        /// Its family.
        family: u32,
        /// Its model.
        model: u32,
        /// What was asked for.
        kind: String,
    },
}

/// `FAMILY,MODEL`, or the CPUID of a recording: `GenuineIntel,FAMILY,MODEL,STEPPING`; of processors
/// with two kinds of cores with `/core` or `/atom` behind.
impl core::str::FromStr for Core {
    type Err = UnknownCore;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || UnknownCore::Malformed(text.to_owned());
        let (cpuid, kind) = match text.split_once('/') {
            Some((cpuid, kind)) => (cpuid, Some(kind)),
            None => (text, None),
        };
        let with_vendor = format!("GenuineIntel,{cpuid}");
        let parsed = processor(cpuid).filter(|(vendor, ..)| *vendor == "GenuineIntel");
        let short = || processor(&with_vendor).filter(|_| cpuid.split(',').count() == 2);
        let (_, family, model) = parsed.or_else(short).ok_or_else(malformed)?;
        let cores = Cores::of(family, model).ok_or(UnknownCore::NoTable { family, model })?;
        let no_such = |kind: &str| UnknownCore::NoSuchKind { family, model, kind: kind.to_owned() };
        match (kind, cores) {
            (Some("core"), Cores { core, .. }) => core.ok_or_else(|| no_such("core")),
            (Some("atom"), Cores { atom, .. }) => atom.ok_or_else(|| no_such("atom")),
            (Some(_), _) => Err(malformed()),
            (None, Cores { core: Some(core), atom: None }) => Ok(core),
            (None, Cores { core: None, atom: Some(atom) }) => Ok(atom),
            (None, _) => Err(UnknownCore::TwoKinds { family, model }),
        }
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nehalem => "Nehalem",
            Self::SandyBridge => "Sandy Bridge",
            Self::Skylake => "Skylake",
            Self::SkylakeServer => "Skylake of servers",
            Self::Gracemont => "Gracemont",
            Self::Crestmont => "Crestmont",
            Self::LionCove => "Lion Cove",
            Self::PantherCove => "Panther Cove",
            Self::ArcticWolf => "Arctic Wolf",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source and flags of a word.
    fn told(core: Core, word: u64) -> String {
        let told = core.decode(word);
        let source = told.source.map_or("-".to_owned(), |source| source.to_string());
        let of_tlb = AccessFlags::TLB_ACCESS | AccessFlags::TLB_WALK;
        let flags: Vec<_> = (told.flags - of_tlb).names().collect();
        [source]
            .into_iter()
            .chain(flags.into_iter().map(str::to_owned))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The tables of `ds.c`, a row a core, a word a code. `*` is what the first row has there.
    #[test]
    fn every_code_of_four_bits() {
        let base = [
            "- llc-miss",
            "l1",
            "lfb",
            "l2",
            "l3",
            "l3",
            "l3",
            "l3 hitm",
            "remote-cache remote",
            "remote-cache remote hitm",
            "dram",
            "remote-dram remote",
            "dram",
            "remote-dram remote",
            "io",
            "uncached",
        ];
        let exceptions: [(Core, &[(usize, &str)]); 6] = [
            (Core::SandyBridge, &[]),
            (Core::Nehalem, &[(6, "l3 hitm")]),
            (
                Core::Skylake,
                &[
                    (8, "slc"),
                    (9, "remote-cache remote"),
                    (0xc, "remote-cache remote"),
                    (0xd, "remote-cache remote hitm"),
                ],
            ),
            (
                Core::SkylakeServer,
                &[
                    (8, "pmem"),
                    (9, "pmem remote"),
                    (0xc, "remote-cache remote"),
                    (0xd, "remote-cache remote hitm"),
                ],
            ),
            (Core::Gracemont, &[(6, "l3 hitm"), (8, "l3")]),
            (
                Core::Crestmont,
                &[
                    (7, "l3"),
                    (8, "l3 hitm"),
                    (0xc, "remote-dram remote"),
                    (0xd, "remote-dram remote hitm"),
                ],
            ),
        ];
        for (core, rows) in exceptions {
            let mut want = base;
            rows.iter().for_each(|(code, text)| want[*code] = text);
            for (code, want) in (0..).zip(want) {
                assert_eq!(told(core, code), want, "{core} {code:#x}");
                // Bits above the flags are others' business.
                assert_eq!(told(core, code | 0xffff << 16), want, "{core} {code:#x}");
            }
        }
    }

    #[test]
    fn every_code_of_the_newer_cores() {
        type Rows = &'static [(u64, &'static str)];
        let tables: [(Core, u64, Rows); 3] = [
            (
                Core::LionCove,
                0x100,
                &[
                    (0x00, "- llc-miss"),
                    (0x01, "l1"),
                    (0x02, "l1"),
                    (0x03, "lfb"),
                    (0x05, "l2"),
                    (0x06, "lfb"),
                    (0x08, "l3"),
                    (0x0c, "l3"),
                    (0x0d, "l3 hitm"),
                    (0x0f, "- llc-miss hitm"),
                    (0x10, "slc"),
                    (0x11, "dram"),
                ],
            ),
            (
                Core::PantherCove,
                0x10,
                &[
                    (0x0, "-"),
                    (0x1, "l1"),
                    (0x2, "l1"),
                    (0x3, "lfb"),
                    (0x4, "l2"),
                    (0x7, "l2"),
                    (0x8, "l2 hitm"),
                    (0x9, "l2"),
                    (0xa, "l2"),
                    (0xf, "uncached"),
                ],
            ),
            (
                Core::ArcticWolf,
                0x10,
                &[
                    (0x0, "-"),
                    (0x1, "l1"),
                    (0x2, "lfb"),
                    (0x3, "l2"),
                    (0x4, "l2"),
                    (0x5, "l2 hitm"),
                    (0x6, "uncached"),
                ],
            ),
        ];
        for (core, codes, rows) in tables {
            for code in 0..codes {
                let row = rows.iter().find(|row| row.0 == code);
                let want = row.map_or(format!("unknown({code:#04x})"), |row| row.1.to_owned());
                assert_eq!(told(core, code), want, "{core} {code:#x}");
            }
        }
    }

    #[test]
    fn every_answer_from_beyond_the_module() {
        let (beyond, remote, modified) = (1 << 8, 1 << 4, 1 << 5);
        for core in [Core::PantherCove, Core::ArcticWolf] {
            let of = |word: u64| told(core, beyond | word);
            for source in [0, 1] {
                assert_eq!(of(source | remote | modified), "- l2-miss", "{core} {source}");
            }
            for source in [2, 3, 5, 6] {
                assert_eq!(of(source), "l3 l2-miss");
                assert_eq!(of(source | modified), "l3 l2-miss hitm");
                // Snooped and promoted change nothing here.
                assert_eq!(of(source | 0b11 << 6), "l3 l2-miss");
                assert_eq!(of(source | remote), "remote-cache l2-miss remote");
                let far = of(source | remote | modified);
                assert_eq!(far, "remote-cache l2-miss remote hitm");
            }
            for source in [4, 7] {
                assert_eq!(of(source), "io l2-miss", "{core} {source}");
            }
            for number in 0..8 {
                assert_eq!(of(8 + number), format!("dram l2-miss region-{number}"));
                let far = format!("remote-dram l2-miss remote region-{number}");
                assert_eq!(of((8 + number) | remote), far);
            }
        }
    }

    #[test]
    fn bits_beside_the_code() {
        let (hit, l2, walk) = (Some(Tlb::Hit), Some(Tlb::L2), Some(Tlb::Walk));
        // A code with which every core says "first cache", and the places of walk and lock.
        let cases = [
            (Core::SandyBridge, 4, 5),
            (Core::Skylake, 4, 5),
            (Core::SkylakeServer, 4, 5),
            (Core::Gracemont, 5, 4),
            (Core::Crestmont, 6, 5),
            (Core::LionCove, 10, 11),
            (Core::PantherCove, 11, 12),
            (Core::ArcticWolf, 11, 12),
        ];
        for (core, walked, locked) in cases {
            let of = |word: u64| {
                let told = core.decode(1 | word);
                assert_eq!(told.source, Some(DataSource::L1), "{core}");
                (told.tlb, told.flags.contains(AccessFlags::LOCKED))
            };
            assert_eq!(of(0), (hit, false), "{core}");
            assert_eq!(of(1 << walked), (walk, false), "{core}");
            assert_eq!(of(1 << locked), (hit, true), "{core}");
            assert_eq!(of(1 << walked | 1 << locked), (walk, true), "{core}");
            assert_eq!(of(0xffff << 16), (hit, false), "{core}");
        }
        assert_eq!(Core::Nehalem.decode(0x31).tlb, None);
        assert_eq!(Core::Nehalem.decode(0x31).flags, AccessFlags::empty());
        for clean_or_any in [1 << 9, 1 << 10, 3 << 9] {
            assert_eq!(Core::PantherCove.decode(1 | clean_or_any).tlb, l2);
            assert_eq!(Core::PantherCove.decode(1 | clean_or_any | 1 << 11).tlb, walk);
            // There these are promotion and reissue.
            assert_eq!(Core::ArcticWolf.decode(1 | clean_or_any).tlb, hit);
        }
    }

    #[test]
    fn cores_by_family_and_model() {
        // Models as the kernel's list has them, in hexadecimal.
        let alone: [(u32, &[u32], Core); 7] = [
            (6, &[0x1a, 0x1e, 0x1f, 0x25, 0x2c, 0x2e, 0x2f], Core::Nehalem),
            (
                6,
                &[0x2a, 0x2d, 0x3a, 0x3e, 0x3c, 0x3f, 0x45, 0x46, 0x3d, 0x47, 0x4f, 0x56],
                Core::SandyBridge,
            ),
            (6, &[0x4e, 0x5e, 0x8e, 0x9e, 0xa5, 0xa6, 0x7d, 0x7e, 0x8c, 0x8d, 0xa7], Core::Skylake),
            (6, &[0x55, 0x6a, 0x6c, 0x8f, 0xcf, 0xad, 0xae], Core::SkylakeServer),
            (6, &[0xbe], Core::Gracemont),
            (6, &[0xaf, 0xb6, 0xdd], Core::Crestmont),
            (19, &[1], Core::PantherCove),
        ];
        for (family, models, core) in alone {
            for model in models {
                assert_eq!(format!("{family},{model}").parse(), Ok(core), "{model:#x}");
            }
        }
        let two: [(u32, &[u32], Core, Core); 4] = [
            (6, &[0x97, 0x9a, 0xb7, 0xba, 0xbf], Core::Skylake, Core::Gracemont),
            (6, &[0xac, 0xaa, 0xb5], Core::Skylake, Core::Crestmont),
            (6, &[0xbd, 0xc6, 0xc5, 0xcc, 0xd5], Core::LionCove, Core::Crestmont),
            (18, &[1, 3], Core::PantherCove, Core::ArcticWolf),
        ];
        for (family, models, core, atom) in two {
            for &model in models {
                let text = format!("{family},{model}");
                assert_eq!(format!("{text}/core").parse(), Ok(core), "{text}");
                assert_eq!(format!("{text}/atom").parse(), Ok(atom), "{text}");
                let error = UnknownCore::TwoKinds { family, model };
                assert_eq!(text.parse::<Core>(), Err(error), "{text}");
            }
        }
    }

    #[test]
    fn what_names_no_core_says_why() {
        assert_eq!("GenuineIntel,6,143,8".parse(), Ok(Core::SkylakeServer));
        assert_eq!("GenuineIntel,6,151,2/atom".parse(), Ok(Core::Gracemont));
        for text in ["", "6", "6,", "x,143", "6,143,8", "AuthenticAMD,25,1,1", "6,151/big"] {
            let error = text.parse::<Core>().unwrap_err();
            assert_eq!(error, UnknownCore::Malformed(text.to_owned()), "{text}");
        }
        let error = "6,1".parse::<Core>().unwrap_err();
        assert_eq!(error, UnknownCore::NoTable { family: 6, model: 1 });
        let error = "6,143/atom".parse::<Core>().unwrap_err().to_string();
        assert!(error.contains("leave /atom out"), "{error}");
    }
}
