//! The start of a recording: `tools/perf/util/header.h`, `perf_file_header`.

use zerocopy::byteorder::{BE, LE, U64};
use zerocopy::{ByteOrder as Order, FromBytes, Immutable, KnownLayout, Unaligned};

use crate::{ByteOrder, Error, TraceOffset};

/// Header of a stream: magic and its own size.
pub const STREAM_HEADER_LEN: usize = 16;
/// Header of a file without its feature bitmap, which very old writers did not have.
const FILE_HEADER_LEN_MIN: u64 = 72;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSection<O: Order> {
    offset: U64<O>,
    size: U64<O>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFileHeader<O: Order> {
    magic: [u8; 8],
    size: U64<O>,
    attr_size: U64<O>,
    attrs: RawSection<O>,
    data: RawSection<O>,
    event_types: RawSection<O>,
    features: [U64<O>; 4],
}

/// A range of a file, as the file claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl<O: Order> From<&RawSection<O>> for Section {
    fn from(raw: &RawSection<O>) -> Self {
        Self { offset: raw.offset.get(), size: raw.size.get() }
    }
}

impl Section {
    /// Where it ends.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// The part of the section that the file has, and whether that is all of it.
    pub fn of(self, file: &[u8]) -> (&[u8], bool) {
        let start = usize::try_from(self.offset).ok().filter(|start| *start <= file.len());
        let Some(start) = start else { return (&[], self.size == 0) };
        let rest = &file[start..];
        match usize::try_from(self.size).ok().and_then(|size| rest.get(..size)) {
            Some(bytes) => (bytes, true),
            None => (rest, false),
        }
    }
}

/// What a recording starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A stream: records follow at once.
    Stream,
    /// A file: sections, to be found by their offsets.
    File(FileHeader),
}

/// Header of the file form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Distance of one entry of the attribute table to the next.
    pub attr_size: u64,
    /// The attribute table.
    pub attrs: Section,
    /// The records; size 0 if the recorder died before it could say.
    pub data: Section,
    /// Which feature sections there are: bit n of word n / 64.
    pub features: [u64; 4],
}

/// Reads the header at the start of `bytes`, which must hold all of it if it is there.
///
/// # Errors
/// If these are not the first bytes of a recording.
pub fn parse(bytes: &[u8]) -> Result<(ByteOrder, Header), Error> {
    let too_short = || Error::TooShort { found: bytes.len() as u64 };
    let magic = bytes.first_chunk::<8>().ok_or_else(too_short)?;
    match magic {
        b"PERFILE2" => parse_in::<LE>(bytes, ByteOrder::Little),
        b"2ELIFREP" => parse_in::<BE>(bytes, ByteOrder::Big),
        b"PERFFILE" | b"ELIFFREP" => Err(Error::OldFormat),
        found => Err(Error::NotPerf { found: *found }),
    }
}

fn parse_in<O: Order>(bytes: &[u8], order: ByteOrder) -> Result<(ByteOrder, Header), Error> {
    let too_short = || Error::TooShort { found: bytes.len() as u64 };
    let (size, _) = bytes
        .get(8..)
        .and_then(|rest| U64::<O>::read_from_prefix(rest).ok())
        .ok_or_else(too_short)?;
    let size = size.get();
    if size == STREAM_HEADER_LEN as u64 {
        return Ok((order, Header::Stream));
    }
    if size < FILE_HEADER_LEN_MIN {
        return Err(Error::BadHeader {
            field: "header size",
            offset: TraceOffset(8),
            expected: "16 (a stream) or 104 (a file)",
            found: size,
        });
    }
    // A header without the bitmap, or a file that ends in it, has no feature sections.
    let mut padded = [0; size_of::<RawFileHeader<LE>>()];
    let here = bytes.len().min(padded.len()).min(usize::try_from(size).unwrap_or(usize::MAX));
    if (here as u64) < FILE_HEADER_LEN_MIN {
        return Err(too_short());
    }
    padded[..here].copy_from_slice(&bytes[..here]);
    let raw: RawFileHeader<O> = zerocopy::transmute!(padded);
    let header = FileHeader {
        attr_size: raw.attr_size.get(),
        attrs: Section::from(&raw.attrs),
        data: Section::from(&raw.data),
        features: features(raw.features.map(U64::get), order),
    };
    Ok((order, Header::File(header)))
}

/// Bit of the feature HOSTNAME, which every writer sets.
const HOSTNAME: u64 = 1 << 3;

/// The bitmap is written as `unsigned long`s: four words by 64-bit writers, eight half words by
/// 32-bit ones. They are told apart as perf does it, by a bit that is always set.
fn features(words: [u64; 4], order: ByteOrder) -> [u64; 4] {
    let halves = words.map(|word| word.rotate_left(32));
    let big = order == ByteOrder::Big;
    if big && words[0] & HOSTNAME == 0 && halves[0] & HOSTNAME != 0 { halves } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, attr_size: u64) -> Vec<u8> {
        let mut bytes = b"PERFILE2".to_vec();
        let words = [size, attr_size, 104, 144, 248, 1000, 0, 0, HOSTNAME | 1 << 6, 0, 0, 0];
        bytes.extend(words.iter().flat_map(|word: &u64| word.to_le_bytes()));
        bytes
    }

    #[test]
    fn both_byte_orders_and_forms() {
        let little = file(104, 144);
        let (order, header) = parse(&little).unwrap();
        let Header::File(want) = header else { panic!("{header:?}") };
        assert_eq!(order, ByteOrder::Little);
        assert_eq!(want.data, Section { offset: 248, size: 1000 });
        assert_eq!(want.features, [HOSTNAME | 1 << 6, 0, 0, 0]);

        let mut big = b"2ELIFREP".to_vec();
        for word in little[8..].chunks(8) {
            big.extend(word.iter().rev());
        }
        assert_eq!(parse(&big).unwrap(), (ByteOrder::Big, Header::File(want)));

        let stream = [&b"PERFILE2"[..], &16u64.to_le_bytes()].concat();
        assert_eq!(parse(&stream).unwrap(), (ByteOrder::Little, Header::Stream));
    }

    #[test]
    fn a_32_bit_big_endian_writer_swaps_the_halves_of_the_bitmap() {
        assert_eq!(features([HOSTNAME << 32, 0, 0, 0], ByteOrder::Big)[0], HOSTNAME);
        assert_eq!(features([HOSTNAME, 0, 0, 0], ByteOrder::Big)[0], HOSTNAME);
    }

    #[test]
    fn what_is_no_header_is_refused_with_its_reason() {
        let message = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert!(message(b"").starts_with("0 bytes"));
        assert!(message(b"PERFILE2\x10").starts_with("9 bytes"));
        assert!(message(&[0x7f; 16]).contains("\\x7f"));
        assert!(message(b"PERFFILEabcdefgh").contains("version 1"));
        assert!(message(&file(17, 144)).contains("header size at byte 8 is 17"));
        assert!(parse(&file(1 << 63, 144)).is_ok(), "only the least size is needed");
        assert!(parse(&file(104, 144)[..71]).is_err());
    }

    #[test]
    fn a_section_never_reaches_past_the_file() {
        let file = [0; 10];
        assert_eq!(Section { offset: 4, size: 6 }.of(&file), (&file[4..], true));
        assert_eq!(Section { offset: 4, size: 7 }.of(&file), (&file[4..], false));
        assert_eq!(Section { offset: u64::MAX, size: 1 }.of(&file), (&[][..], false));
        assert_eq!(Section { offset: 4, size: 1 << 63 }.of(&file), (&file[4..], false));
    }
}
