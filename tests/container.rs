//! Takes a perf.data file apart and puts it together in another form, without the decoder.

use tracegen::bytes::Endian;

const HEADER_ATTR: u32 = 64;
const HEADER_TRACING_DATA: u32 = 66;
const HEADER_FEATURE: u32 = 80;
/// Feature sections that a stream has in other ways: tracepoint formats have a record of their own, build ids too, an
/// index of AUX data would hold places in a file.
const TRACING_DATA: u32 = 1;
const BUILD_ID: u32 = 2;
const AUXTRACE: u32 = 18;
/// A feature of no section marks the end of a stream's features.
const END_MARK: u64 = 32;

/// The number in 1, 2, 4 or 8 bytes.
pub fn number(endian: Endian, bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    match endian {
        Endian::Little => bytes.iter().rev().fold(0, fold),
        Endian::Big => bytes.iter().fold(0, fold),
    }
}

/// The byte order that a recording's first bytes tell.
pub fn endian(recording: &[u8]) -> Endian {
    match &recording[..8] {
        b"PERFILE2" => Endian::Little,
        b"2ELIFREP" => Endian::Big,
        other => panic!("no perf.data: {other:?}"),
    }
}

/// A number as an index of something in memory.
pub fn index(number: u64) -> usize {
    usize::try_from(number).expect("an index of something in memory")
}

/// A perf.data file's parts.
pub struct Parts {
    /// Byte order.
    pub endian: Endian,
    /// Each attribute with its ids.
    pub attrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Feature sections by bit.
    pub features: Vec<(u32, Vec<u8>)>,
    /// The records.
    pub records: Vec<u8>,
}

impl Parts {
    /// Takes a file apart.
    pub fn of(file: &[u8]) -> Self {
        let endian = endian(file);
        let word = |at: usize| index(number(endian, &file[at..at + 8]));
        let section = |at: usize| &file[word(at)..word(at) + word(at + 8)];
        assert_eq!(word(8), 104, "a file, not a stream");
        let stride = word(16);
        let attrs = (word(24)..word(24) + word(32)).step_by(stride).map(|entry| {
            let ids = entry + stride - 16;
            (file[entry..ids].to_vec(), section(ids).to_vec())
        });
        // A recorder that was killed has not written how much data there is, nor anything behind it.
        if word(48) == 0 {
            let (attrs, records) = (attrs.collect(), file[word(40)..].to_vec());
            return Self { endian, attrs, features: Vec::new(), records };
        }
        let table = word(40) + word(48);
        let bits = (0..256_u32).filter(|bit| {
            let byte = 72 + index(u64::from(bit / 64 * 8));
            number(endian, &file[byte..byte + 8]) >> (bit % 64) & 1 == 1
        });
        let features = bits.enumerate().map(|(i, bit)| (bit, section(table + 16 * i).to_vec()));
        Self {
            endian,
            attrs: attrs.collect(),
            features: features.collect(),
            records: section(40).to_vec(),
        }
    }

    /// What `perf record -o -` would have written of it.
    pub fn stream(&self) -> Vec<u8> {
        let endian = self.endian;
        let mut out = Vec::new();
        endian.u64(&mut out, u64::from_le_bytes(*b"PERFILE2"));
        endian.u64(&mut out, 16);
        for (attr, ids) in &self.attrs {
            record(&mut out, endian, HEADER_ATTR, &[attr, ids]);
        }
        let mut bit_bytes = Vec::new();
        for (bit, section) in &self.features {
            match *bit {
                TRACING_DATA => {
                    let mut size = Vec::new();
                    endian.u32(&mut size, u32::try_from(section.len()).expect("a small section"));
                    record(&mut out, endian, HEADER_TRACING_DATA, &[&size]);
                    out.extend_from_slice(section);
                    out.resize(out.len() + section.len().next_multiple_of(8) - section.len(), 0);
                }
                BUILD_ID | AUXTRACE => {}
                bit => {
                    bit_bytes.clear();
                    endian.u64(&mut bit_bytes, u64::from(bit));
                    record(&mut out, endian, HEADER_FEATURE, &[&bit_bytes, section]);
                }
            }
        }
        bit_bytes.clear();
        endian.u64(&mut bit_bytes, END_MARK);
        record(&mut out, endian, HEADER_FEATURE, &[&bit_bytes]);
        out.extend_from_slice(&self.records);
        out
    }
}

/// Appends a record.
pub fn record(out: &mut Vec<u8>, endian: Endian, kind: u32, body: &[&[u8]]) {
    let size = 8 + body.iter().map(|part| part.len()).sum::<usize>();
    endian.u32(out, kind);
    endian.u16(out, 0);
    endian.u16(out, u16::try_from(size).expect("a record is shorter than 64 KiB"));
    body.iter().for_each(|part| out.extend_from_slice(part));
}

/// Places and kinds of the records in a section of records.
pub fn walk(endian: Endian, records: &[u8]) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= records.len() {
        let kind = u32::try_from(number(endian, &records[at..at + 4])).expect("four bytes");
        found.push((at, kind));
        let behind = match kind {
            71 => number(endian, &records[at + 8..at + 16]),
            HEADER_TRACING_DATA => number(endian, &records[at + 8..at + 12]).next_multiple_of(8),
            _ => 0,
        };
        at += index(number(endian, &records[at + 6..at + 8]) + behind);
    }
    found
}
