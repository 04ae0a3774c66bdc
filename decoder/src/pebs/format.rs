//! The formats, by the number that IA32_PERF_CAPABILITIES has for them in bits 11:8.

use core::fmt;

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// How the records of a buffer are laid out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Format {
            $($(#[$doc])* $variant,)*
        }

        impl Format {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

// Names and values come from one list, so that printing and parsing cannot disagree.
formats! {
    /// 144 bytes: Core 2, first Atoms. Without a data address.
    Fixed0 = "0",
    /// 176 bytes: Nehalem to Ivy Bridge.
    Fixed1 = "1",
    /// 192 bytes: Haswell, Broadwell.
    Fixed2 = "2",
    /// 200 bytes: Skylake and its kin.
    Fixed3 = "3",
    /// Groups as each record says: Ice Lake to Golden Cove.
    /// Golden Cove splits latencies in two parts: until a record shows that, they are taken whole.
    Adaptive4 = "4",
    /// The same, as newer cores number it.
    Adaptive5 = "5",
    /// The same with counter values: Lion Cove.
    Adaptive6 = "6",
    /// Architectural PEBS: records of fragments. Its number is 15.
    Architectural = "arch",
}

impl Format {
    /// Whether a latency word shows that the core splits it in two.
    pub(super) fn has_two_parts(self, word: u64) -> bool {
        self == Self::Adaptive4 && cache_part(word) != 0
    }

    /// Cycles by the word that a record has for them. 0 is none.
    pub(super) fn latency_cycles(self, word: u64) -> Option<u32> {
        let cache = cache_part(word);
        let cycles = match self {
            Self::Fixed0 | Self::Fixed1 | Self::Fixed2 | Self::Fixed3 => whole(word),
            // Cores before Golden Cove count in bits 31:0 and leave those above 0.
            Self::Adaptive4 if cache == 0 => whole(word & u64::from(u32::MAX)),
            // Bits 47:32 are of the cache, bits 15:0 of the whole instruction.
            _ => cache,
        };
        Some(cycles).filter(|cycles| *cycles != 0)
    }
}

/// What IA32_PERF_CAPABILITIES has for architectural PEBS (`intel_pebs_init`).
const ARCHITECTURAL_NUMBER: &str = "15";

/// Bits 47:32.
fn cache_part(word: u64) -> u32 {
    let [.., low, high, _, _] = word.to_le_bytes();
    u32::from(u16::from_le_bytes([low, high]))
}

/// A number of cycles that stops at what 32 bits hold.
fn whole(cycles: u64) -> u32 {
    u32::try_from(cycles).unwrap_or(u32::MAX)
}

/// Its name.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no PEBS format is called \"{0}\": it is one of {names}",
    names = Format::ALL.map(Format::as_str).join(" ")
)]
pub struct UnknownFormat(String);

impl core::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == ARCHITECTURAL_NUMBER {
            return Ok(Self::Architectural);
        }
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_prints_what_it_parses() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("15".parse(), Ok(Format::Architectural));
        assert_eq!("15".parse::<Format>().unwrap().to_string(), "arch");
        let error = "7".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "no PEBS format is called \"7\": it is one of 0 1 2 3 4 5 6 arch");
    }

    #[test]
    fn the_latency_of_each_format() {
        use Format as F;
        // Bits 47:32 hold 0x21, bits 15:0 hold 0x187.
        let parts = 0x5555_0021_0000_0187;
        let cases = [
            (F::Fixed1, 90, Some(90)),
            (F::Fixed3, u64::from(u32::MAX) + 1, Some(u32::MAX)),
            (F::Fixed3, 0, None),
            (F::Adaptive4, 0x1_0187, Some(0x1_0187)),
            (F::Adaptive4, parts, Some(0x21)),
            (F::Adaptive4, 0, None),
            (F::Adaptive5, parts, Some(0x21)),
            (F::Adaptive6, parts, Some(0x21)),
            (F::Architectural, parts, Some(0x21)),
            (F::Architectural, 0x187, None),
        ];
        for (format, word, want) in cases {
            assert_eq!(format.latency_cycles(word), want, "{format} {word:#x}");
        }
    }
}
