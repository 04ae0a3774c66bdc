//! Records inside COMPRESSED and COMPRESSED2 records: one zstd frame that never ends, cut into
//! pieces anywhere. What it holds is a piece of the record stream, cut anywhere too.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::record;
use super::record::{Next, Record, kind};
use crate::cost;
use crate::cursor::{ByteOrder, Cursor};

/// Largest window that a frame may ask for: what the highest compression level uses, 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// How much is decompressed at a time. More than the longest record, so that there is always
/// room for one.
const OUTPUT_LEN: usize = 256 << 10;

/// What one record may grow to. perf compresses at most one ring at a time; what grows far
/// beyond that was made to.
const RECORD_OUTPUT_MAX: u64 = 256 << 20;
/// What all data may grow to, for each of its bytes. Samples become a tenth; stacks that repeat
/// become less.
const MAX_GROWTH: u64 = 512;
/// The same beside that, whatever its size.
const FREE_GROWTH: u64 = 1 << 20;
/// Records that data may hold beside one for each of its bytes.
const FREE_RECORDS: u64 = 1 << 12;
/// Bytes that are decompressed in about one step.
const BYTES_PER_STEP: usize = 1 << 10;

/// Decompresses the records of one data file or stream.
pub struct Decompressor {
    decoder: Decoder<'static>,
    output: Vec<u8>,
    /// Bytes in `output` that are the start of a record.
    filled: usize,
    /// Bytes and records that the data so far may still grow to.
    growth_left: u64,
    records_left: u64,
}

/// Why a compressed stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// zstd itself failed.
    #[error("compressed data that zstd cannot read")]
    Zstd,
    /// The decompressed bytes are no records.
    #[error("compressed data that holds no record stream")]
    NoRecords,
    /// A record of a kind that is never compressed.
    #[error("a compressed record that holds another one or AUX data")]
    Nested,
    /// A record that grows beyond all measure.
    #[error(
        "compressed data that grows to over 256 MiB a record, or 512 times its size, or to more records than it has bytes"
    )]
    TooLarge,
    /// A COMPRESSED2 record whose size fields do not hold together.
    #[error("a compressed record with impossible sizes")]
    Size,
}

impl Decompressor {
    /// A decompressor at the start of a frame. `None` if there is no memory for it.
    pub fn new() -> Option<Self> {
        let mut decoder = Decoder::new().ok()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).ok()?;
        Some(Self {
            decoder,
            output: vec![0; OUTPUT_LEN],
            filled: 0,
            growth_left: FREE_GROWTH,
            records_left: FREE_RECORDS,
        })
    }

    /// Decompresses one record's data and gives every record that ends in it to `each`.
    ///
    /// # Errors
    /// If nothing behind can be read either.
    pub fn run(
        &mut self,
        data: &[u8],
        order: ByteOrder,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), Broken> {
        let grown = |bytes: u64| (data.len() as u64).saturating_mul(bytes);
        self.growth_left = self.growth_left.saturating_add(grown(MAX_GROWTH));
        self.records_left = self.records_left.saturating_add(grown(1));
        let mut input = InBuffer::around(data);
        let mut total = 0;
        loop {
            let mut output = OutBuffer::around_pos(&mut self.output[..], self.filled);
            self.decoder.run(&mut input, &mut output).map_err(|_| Broken::Zstd)?;
            let filled = output.pos();
            let produced = filled - self.filled;
            let full = filled == OUTPUT_LEN;
            total += produced as u64;
            if total > RECORD_OUTPUT_MAX {
                return Err(Broken::TooLarge);
            }
            self.growth_left =
                self.growth_left.checked_sub(produced as u64).ok_or(Broken::TooLarge)?;
            cost::steps(produced / BYTES_PER_STEP);
            let consumed = self.records(filled, order, each)?;
            if consumed > 0 {
                cost::bytes(filled - consumed);
                self.output.copy_within(consumed..filled, 0);
            }
            self.filled = filled - consumed;
            // A full output may hide more; otherwise all input is in it.
            if input.pos() == data.len() && !full {
                return Ok(());
            }
            if produced == 0 && input.pos() == data.len() {
                return Ok(());
            }
        }
    }

    /// Gives out the whole records at the start of the output. Returns their length.
    fn records(
        &mut self,
        filled: usize,
        order: ByteOrder,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, Broken> {
        let mut at = 0;
        loop {
            match record::next(&self.output[at..filled], order) {
                Next::Record(Record {
                    kind: kind::COMPRESSED | kind::COMPRESSED2 | kind::AUXTRACE,
                    ..
                }) => return Err(Broken::Nested),
                // What belongs to it could not be told from the next record.
                Next::Record(record) if record.payload_len > 0 => return Err(Broken::Nested),
                Next::Record(record) => {
                    let left = self.records_left.checked_sub(1).ok_or(Broken::TooLarge)?;
                    self.records_left = left;
                    at += record.size();
                    each(record);
                }
                Next::Partial { .. } => return Ok(at),
                Next::Corrupt { .. } => return Err(Broken::NoRecords),
            }
        }
    }

    /// Bytes of a record whose end has not come.
    pub fn unfinished(&self) -> usize {
        self.filled
    }
}

/// The zstd bytes of a compressed record. COMPRESSED2 has their number in front and padding
/// behind; perf 6.16 wrote wrong numbers at times, so they are compared with the record.
pub fn data<'a>(record: &Record<'a>, order: ByteOrder) -> Result<&'a [u8], Broken> {
    if record.kind == kind::COMPRESSED {
        return Ok(record.body);
    }
    let mut at = Cursor::new(record.body, order);
    at.u64().and_then(|size| at.take(size)).ok_or(Broken::Size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zstd::stream::raw::Encoder;

    /// Compresses each chunk and flushes, as perf does, in one frame.
    fn compress(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(1).unwrap();
        let mut compressed = Vec::new();
        for chunk in chunks {
            let mut bytes = vec![0; chunk.len() + 1024];
            let mut output = OutBuffer::around(&mut bytes[..]);
            let mut input = InBuffer::around(chunk);
            while input.pos() < chunk.len() {
                encoder.run(&mut input, &mut output).unwrap();
            }
            assert_eq!(encoder.flush(&mut output).unwrap(), 0);
            let len = output.pos();
            bytes.truncate(len);
            compressed.push(bytes);
        }
        compressed
    }

    fn numbered(number: u32) -> Vec<u8> {
        let mut record = vec![0; 16];
        record[0] = 68;
        record[6] = 16;
        record[8..12].copy_from_slice(&number.to_le_bytes());
        record
    }

    fn run(decompressor: &mut Decompressor, data: &[u8]) -> Result<Vec<u32>, Broken> {
        let mut numbers = Vec::new();
        decompressor.run(data, ByteOrder::Little, &mut |record| {
            numbers.push(u32::from_le_bytes(*record.body.first_chunk().unwrap()));
        })?;
        Ok(numbers)
    }

    #[test]
    fn a_record_cut_between_two_pieces_of_the_frame() {
        let stream: Vec<u8> = (0..3).flat_map(numbered).collect();
        for cut in 0..stream.len() {
            let compressed = compress(&[&stream[..cut], &stream[cut..]]);
            let mut decompressor = Decompressor::new().unwrap();
            let mut got = run(&mut decompressor, &compressed[0]).unwrap();
            assert_eq!(got.len(), cut / 16, "as soon as it is whole");
            got.extend(run(&mut decompressor, &compressed[1]).unwrap());
            assert_eq!((got, decompressor.unfinished()), (vec![0, 1, 2], 0));
        }
    }

    #[test]
    fn a_piece_that_grows_beyond_the_output_buffer() {
        let stream: Vec<u8> = (0..100_000).flat_map(numbered).collect();
        let compressed = compress(&[&stream]);
        let mut decompressor = Decompressor::new().unwrap();
        let got = run(&mut decompressor, &compressed[0]).unwrap();
        assert_eq!(got, (0..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_broken_is_told_apart() {
        let mut decompressor = Decompressor::new().unwrap();
        assert_eq!(run(&mut decompressor, b"no frame at all"), Err(Broken::Zstd));
        let mut nested = numbered(0);
        nested[0] = 81;
        for (bytes, want) in [(nested, Broken::Nested), (vec![0; 16], Broken::NoRecords)] {
            let compressed = compress(&[&bytes]);
            assert_eq!(run(&mut Decompressor::new().unwrap(), &compressed[0]), Err(want));
        }
        let mut body = 9u64.to_le_bytes().to_vec();
        body.extend([1; 8]);
        let record = Record { kind: kind::COMPRESSED2, misc: 0, body: &body, payload_len: 0 };
        assert_eq!(data(&record, ByteOrder::Little), Err(Broken::Size));
        body[0] = 5;
        let record = Record { kind: kind::COMPRESSED2, misc: 0, body: &body, payload_len: 0 };
        assert_eq!(data(&record, ByteOrder::Little), Ok(&[1; 5][..]));
    }
}
