//! COMPRESSED records: pieces of one zstd frame that never ends.

use std::io;

use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

use super::record::write;
use super::tool::kind;
use crate::bytes::{Endian, align};

/// Which record carries the compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// COMPRESSED (81): of any length.
    Zstd81,
    /// COMPRESSED2 (83), perf 6.16 and later: with the length of its data, padded to 8.
    Zstd83,
}

/// The level that perf takes by default.
pub const LEVEL: u32 = 1;
/// The most one record expands to here: what perf announces for its default ring.
pub const LONGEST: u32 = 528_384;
/// Room for zstd bytes in a record of 16-bit size, header, length word and padding taken off.
const ROOM: usize = 65_535 - 8 - 8 - 15;

/// One zstd frame, from the first record of a data file to the last.
pub(crate) struct Compressor {
    encoder: Encoder<'static>,
    compression: Compression,
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> io::Result<Self> {
        let level = i32::try_from(LEVEL).expect("a small number");
        Ok(Self { encoder: Encoder::new(level)?, compression })
    }

    /// Appends `bytes` as one record, or as several if one cannot hold them; all of it is flushed.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        endian: Endian,
    ) -> io::Result<()> {
        let mut buffer = vec![0; ROOM];
        let mut input = InBuffer::around(bytes);
        let mut used = 0;
        loop {
            let mut output = OutBuffer::around_pos(&mut buffer[..], used);
            let done = if input.pos() < bytes.len() {
                self.encoder.run(&mut input, &mut output)?;
                false
            } else {
                self.encoder.flush(&mut output)? == 0
            };
            used = output.pos();
            if done || used == ROOM {
                if used > 0 {
                    self.record(&buffer[..used], out, endian);
                }
                used = 0;
            }
            if done {
                return Ok(());
            }
        }
    }

    fn record(&self, zstd: &[u8], out: &mut Vec<u8>, endian: Endian) {
        match self.compression {
            Compression::Zstd81 => {
                write(out, endian, kind::COMPRESSED, 0, |out| out.extend_from_slice(zstd))
            }
            Compression::Zstd83 => write(out, endian, kind::COMPRESSED2, 0, |out| {
                endian.u64(out, zstd.len() as u64);
                let mut padded = zstd.to_vec();
                align(&mut padded, 8);
                out.extend_from_slice(&padded);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_over_all_records() {
        for compression in [Compression::Zstd81, Compression::Zstd83] {
            let mut compressor = Compressor::new(compression).unwrap();
            let mut rng = crate::rng::Rng::new(1);
            let noise: Vec<u8> = (0..200_000).map(|_| crate::bytes::low8(rng.next_u64())).collect();
            let (mut out, mut frame, mut records) = (Vec::new(), Vec::new(), 0);
            compressor.write(b"first", &mut out, Endian::Little).unwrap();
            compressor.write(&noise, &mut out, Endian::Little).unwrap();
            let mut rest = &out[..];
            while !rest.is_empty() {
                let size = usize::from(u16::from_le_bytes([rest[6], rest[7]]));
                let body = match compression {
                    Compression::Zstd81 => &rest[8..size],
                    Compression::Zstd83 => {
                        assert_eq!(size % 8, 0);
                        let len = u64::from_le_bytes(rest[8..16].try_into().unwrap());
                        &rest[16..16 + usize::try_from(len).unwrap()]
                    }
                };
                frame.extend_from_slice(body);
                rest = &rest[size..];
                records += 1;
            }
            assert!(records >= 4, "noise does not fit one record");
            let mut plain = vec![0; 200_005];
            let mut decoder = zstd::stream::raw::Decoder::new().unwrap();
            let (mut input, mut output) =
                (InBuffer::around(&frame), OutBuffer::around(&mut plain[..]));
            while output.pos() < 200_005 {
                assert!(decoder.run(&mut input, &mut output).unwrap() > 0, "the frame ends");
            }
            assert_eq!(&plain[..5], b"first");
            assert_eq!(plain[5..], noise);
        }
    }
}
