//! Compressed inputs: which compression it is, by the first bytes, and the bytes as they were.
//!
//! gzip is RFC 1952, Zstandard RFC 8878. What is compressed in another way is refused by the name
//! of the program that decompresses it.

use std::io::{BufReader, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::{Error, Problem, TraceOffset};

/// Largest window of Zstandard, as the power of two of its bytes: what `zstd` itself takes
/// unless it is told otherwise, 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// How many times longer than its compressed bytes an input may be: no recording shrinks that much,
/// only what was made to take long does.
const EXPANSION_MAX: u64 = 256;
/// Bytes up to which the expansion is not checked.
pub(super) const TRUSTED: u64 = 64 << 20;

/// How an input is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
    /// In a way that is not read: its name, and the command that writes it out decompressed.
    Other(&'static str, &'static str),
}

impl Packing {
    /// By the first bytes of an input. `None` if it is not compressed.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        Some(match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or one that decoders skip, with which some writers begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Other("xz", "xz -dc"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Self::Other("bzip2", "bzip2 -dc"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Other("lz4", "lz4 -dc"),
            [b'P', b'K', 3, 4, ..] => Self::Other("zip", "unzip -p"),
            _ => return None,
        })
    }

    /// The name of the format.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Other(name, _) => name,
        }
    }

    /// The command that writes a file out decompressed, without the file's name.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -dc",
            Self::Zstd => "zstd -dc",
            Self::Other(_, program) => program,
        }
    }

    /// That it is not read, and what does.
    pub(crate) fn refusal(self) -> Error {
        Error::Packed { format: self.name(), program: self.program() }
    }
}

/// The bytes of a compressed input. Where they cannot be decompressed they end, and
/// [`Unpacked::damage`] tells why.
pub(crate) struct Unpacked<R: Read> {
    packing: Packing,
    decoder: Decoder<R>,
    /// How many have been given.
    given: u64,
    /// How many are given whatever they expand from.
    trusted: u64,
    damage: Option<String>,
}

enum Decoder<R: Read> {
    // Boxed: it holds its tables.
    Gzip(Box<MultiGzDecoder<Packed<R>>>),
    Zstd(ZstdDecoder<'static, BufReader<Packed<R>>>),
}

/// Compressed bytes on their way to a decoder.
struct Packed<R> {
    reader: R,
    taken: u64,
    /// What ends the reading is the system's answer, not the decoder's.
    failed: bool,
}

impl<R: Read> Unpacked<R> {
    /// The bytes behind `reader`, of which `trusted` are given whatever they expand from.
    ///
    /// # Errors
    /// If it is compressed in a way that is not read, or there is no memory for a decoder.
    pub(crate) fn new(reader: R, packing: Packing, trusted: u64) -> Result<Self, Error> {
        let packed = Packed { reader, taken: 0, failed: false };
        let io = |source| Error::Io { action: "cannot decompress", source };
        // Both go on behind the end of a member or frame while there is more.
        let decoder = match packing {
            Packing::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(packed))),
            Packing::Zstd => {
                let mut decoder = ZstdDecoder::new(packed).map_err(io)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(io)?;
                Decoder::Zstd(decoder)
            }
            Packing::Other(..) => return Err(packing.refusal()),
        };
        Ok(Self { packing, decoder, given: 0, trusted, damage: None })
    }

    fn packed(&self) -> &Packed<R> {
        match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Why the bytes ended where the compressed ones did not, or these before their time.
    pub(crate) fn damage(&self) -> Option<Problem> {
        Some(Problem {
            what: self.damage.clone()?,
            offset: TraceOffset(self.given),
            consequence: "what stands before it is read",
        })
    }

    /// The damage as an error, if there are fewer than `least` bytes before it.
    pub(crate) fn check(&self, least: usize) -> Result<(), Error> {
        match &self.damage {
            Some(what) if self.given < least as u64 => {
                Err(Error::Unpacking { what: what.clone(), given: self.given })
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, what: String) -> usize {
        self.damage = Some(what);
        0
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        if self.damage.is_some() {
            return Ok(0);
        }
        let name = self.packing.name();
        let taken = self.packed().taken;
        if self.given > self.trusted && self.given / EXPANSION_MAX > taken {
            return Ok(self.end(format!("{name} data that expands more than {EXPANSION_MAX}-fold")));
        }
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(bytes),
            Decoder::Zstd(decoder) => decoder.read(bytes),
        };
        match read {
            Ok(len) => {
                self.given += len as u64;
                Ok(len)
            }
            Err(error) if self.packed().failed => Err(error),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Ok(self.end(format!("{name} data that ends before its end")))
            }
            // Zstandard's ZSTD_error_frameParameter_windowTooLarge, of which there is only the text.
            Err(error) if error.to_string().contains("too much memory") => Ok(self.end(format!(
                "{name} data with a window of more than {} MiB (zstd -dc --long=31 decompresses it)",
                1_u64 << (WINDOW_LOG_MAX - 20)
            ))),
            Err(error) => Ok(self.end(format!("{name} data that is damaged ({error})"))),
        }
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.reader.read(bytes) {
                Ok(len) => {
                    self.taken += len as u64;
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    /// Bytes that compress badly, and so come in many pieces.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..len).map(byte).collect()
    }

    fn unpack(packed: &[u8], trusted: u64) -> (Vec<u8>, Option<String>) {
        let packing = Packing::of(packed).expect("it is compressed");
        let mut unpacked = Unpacked::new(packed, packing, trusted).unwrap();
        let mut bytes = Vec::new();
        unpacked.read_to_end(&mut bytes).unwrap();
        let damage = unpacked.damage();
        assert!(damage.iter().all(|damage| damage.offset.0 == bytes.len() as u64));
        (bytes, damage.map(|damage| damage.what))
    }

    #[test]
    fn first_bytes_tell_how_it_is_compressed() {
        let name = |head: &[u8]| Packing::of(head).map(Packing::name);
        assert_eq!(name(&gzip(b"")), Some("gzip"));
        assert_eq!(name(&zstd(b"")), Some("zstd"));
        assert_eq!(name(&[0x5a, 0x2a, 0x4d, 0x18, 0]), Some("zstd"));
        assert_eq!(name(b"\xfd7zXZ\0\0\x04"), Some("xz"));
        assert_eq!(name(b"BZh91AY&SY"), Some("bzip2"));
        assert_eq!(name(b"\x04\x22\x4d\x18"), Some("lz4"));
        assert_eq!(name(b"PK\x03\x04"), Some("zip"));
        for head in [&b"PERFILE2"[..], b"2ELIFREP", b"", b"\x1f\x8b", b"\x1f\x8b\x00", b"BZh"] {
            assert_eq!(name(head), None, "{head:?}");
        }
    }

    #[test]
    fn members_and_frames_one_behind_the_other_are_one_input() {
        let (a, b) = (noise(100_000), noise(70_000));
        for pack in [gzip, zstd] {
            let packed = [pack(&a), pack(b""), pack(&b)].concat();
            assert!(unpack(&packed, 0) == ([&a[..], &b].concat(), None));
        }
    }

    #[test]
    fn what_stands_before_an_end_or_damage_is_given() {
        let bytes = noise(300_000);
        for pack in [gzip, zstd] {
            let packed = pack(&bytes);
            for cut in [packed.len() - 1, packed.len() - 5, packed.len() / 2] {
                let (given, damage) = unpack(&packed[..cut], 0);
                assert!(bytes.starts_with(&given), "{cut}");
                assert!(given.len() + 150_000 > bytes.len() * cut / packed.len(), "{cut}");
                assert!(damage.expect("it is told").ends_with("ends before its end"), "{cut}");
            }
            let mut packed = [packed, pack(&bytes)].concat();
            packed.truncate(packed.len() / 2 + 40);
            packed.extend([0xff; 1000]);
            let (given, damage) = unpack(&packed, 0);
            assert!(given.starts_with(&bytes));
            assert!(damage.expect("it is told").contains("data that"));
        }
    }

    #[test]
    fn nothing_before_damage_is_an_error() {
        for packed in [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\xff\xff\xff"] {
            let packing = Packing::of(packed).unwrap();
            let mut unpacked = Unpacked::new(packed, packing, 0).unwrap();
            assert_eq!(unpacked.read(&mut [0; 8]).unwrap(), 0);
            let error = unpacked.check(1).unwrap_err().to_string();
            assert!(error.contains(packing.name()), "{error}");
        }
    }

    #[test]
    fn what_expands_beyond_measure_ends() {
        let zeros = vec![0; 16 << 20];
        for pack in [gzip, zstd] {
            let packed = pack(&zeros);
            let (given, damage) = unpack(&packed, 1 << 20);
            assert!((1 << 20..12 << 20).contains(&given.len()), "{}", given.len());
            assert!(damage.expect("it is told").contains("256-fold"));
            // As much as may be spooled is given all the same.
            assert!(unpack(&packed, 16 << 20) == (zeros.clone(), None));
        }
    }

    #[test]
    fn a_disk_that_fails_is_no_damage() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
                let whole = gzip(&noise(10_000));
                let len = bytes.len().min(1000).min(5000 - self.0);
                if len == 0 {
                    return Err(std::io::Error::other("the disk is gone"));
                }
                bytes[..len].copy_from_slice(&whole[self.0..self.0 + len]);
                self.0 += len;
                Ok(len)
            }
        }
        let mut unpacked = Unpacked::new(Failing(0), Packing::Gzip, 0).unwrap();
        let error = unpacked.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("the disk is gone"));
        assert!(unpacked.damage().is_none());
    }
}
