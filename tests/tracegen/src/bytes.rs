//! Integers in the byte order of the machine that made the recording.

/// The byte order of a recording. SPE packets are little-endian in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first: what nearly all recordings are.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// Appends two bytes.
    pub fn u16(self, out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }

    /// Appends four bytes.
    pub fn u32(self, out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }

    /// Appends eight bytes.
    pub fn u64(self, out: &mut Vec<u8>, value: u64) {
        out.extend_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }
}

/// The low 8 bits.
pub const fn low8(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// The low 16 bits.
pub const fn low16(value: u64) -> u16 {
    let b = value.to_le_bytes();
    u16::from_le_bytes([b[0], b[1]])
}

/// The low 32 bits.
pub const fn low32(value: u64) -> u32 {
    let b = value.to_le_bytes();
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

/// A length that is known to fit: everything that is indexed was in memory.
pub fn index(value: u64) -> usize {
    usize::try_from(value).expect("an index of something in memory")
}

/// Appends zeros until the length is a multiple of `to`.
pub fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}
