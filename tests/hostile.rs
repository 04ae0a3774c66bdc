//! Inputs that claim what is not so: sizes, places and counts beyond what there is, records cut short.
//! Each is as small as it can be. They are made after the layout in perf's documentation
//! (`tools/perf/Documentation/perf.data-file-format.txt`).

use tracegen::bytes::Endian;

use crate::container::record;
use crate::made::{FIRST_ID, Made, load, spe_event};

const ENDIAN: Endian = Endian::Little;
/// Kinds of records: those of the kernel, and those of perf's.
const LOST: u32 = 2;
const SAMPLE: u32 = 9;
const AUX: u32 = 11;
const HEADER_ATTR: u32 = 64;
const HEADER_EVENT_TYPE: u32 = 65;
const TRACING_DATA: u32 = 66;
const BUILD_ID: u32 = 67;
const ID_INDEX: u32 = 69;
const AUXTRACE_INFO: u32 = 70;
const AUXTRACE: u32 = 71;
const AUXTRACE_ERROR: u32 = 72;
const THREAD_MAP: u32 = 73;
const CPU_MAP: u32 = 74;
const EVENT_UPDATE: u32 = 78;
const TIME_CONV: u32 = 79;
const HEADER_FEATURE: u32 = 80;
const COMPRESSED: u32 = 81;
const COMPRESSED2: u32 = 83;

/// The header of a file: its size, the size of an attribute with the place of its ids, then place and
/// size of the attributes, of the records and of something old, and four words of features.
fn header(words: [u64; 12]) -> Vec<u8> {
    let mut out = b"PERFILE2".to_vec();
    words.iter().for_each(|word| out.extend(word.to_le_bytes()));
    out
}

/// A file with one attribute, records and the table behind them.
fn file(attr: &[u8], features: u64, records: &[u8], table: &[u8]) -> Vec<u8> {
    let (attrs, size) = (104, attr.len() as u64);
    let data = attrs + size;
    let words = [104, size, attrs, size, data, records.len() as u64, 0, 0, features, 0, 0, 0];
    [&header(words)[..], attr, records, table].concat()
}

/// An attribute of 128 bytes that says it is of this length, with the place and the size of its ids.
fn attr(len: u32, ids: [u64; 2]) -> Vec<u8> {
    let mut out = vec![0; 128];
    out[4..8].copy_from_slice(&len.to_le_bytes());
    out[24] = 1 << 3;
    ids.iter().for_each(|word| out.extend(word.to_le_bytes()));
    out
}

/// A stream with an Arm SPE event and this behind it.
fn stream(records: &[u8]) -> Vec<u8> {
    let mut made = Made::of(ENDIAN, true, vec![spe_event()], "6.12.0");
    made.info().clock().piece(0, 0, &load(7, 1000)).raw(records);
    made.finish()
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A record of this kind with a body of words.
fn of(kind: u32, body: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    record(&mut out, ENDIAN, kind, &[&words(body)]);
    out
}

/// A record that says it is of this size.
fn sized(kind: u32, size: u16, body: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend([0; 2]);
    out.extend(size.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// All of them by what they claim.
pub fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    const MOST: u64 = u64::MAX;
    const FAR: u64 = 1 << 62;
    let whole = attr(128, [0; 2]);
    let cut = |name, mut bytes: Vec<u8>, len| {
        bytes.truncate(len);
        (name, bytes)
    };
    let files = vec![
        ("an old magic", b"PERFFILE\x68\0\0\0\0\0\0\0".to_vec()),
        cut("a header that ends in its size", header([104; 12]), 12),
        cut("a header that ends behind its size", header([104; 12]), 24),
        cut("a header that ends in its features", header([104; 12]), 80),
        ("all words are the greatest", header([MOST; 12])),
        ("a header of no size", header([0; 12])),
        ("a stream with a file's words", header([16; 12])),
        ("a header longer than the file", header([FAR; 12])),
        ("attributes of no size", header([104, 0, 104, 144, 104, 8, 0, 0, 0, 0, 0, 0])),
        ("attributes of one byte", header([104, 1, 0, MOST, 104, 8, 0, 0, 0, 0, 0, 0])),
        ("attributes at the end of all", header([104, 144, MOST, 144, 104, 8, 0, 0, 0, 0, 0, 0])),
        ("records at the end of all", header([104, 144, 104, 0, MOST, MOST, 0, 0, 0, 0, 0, 0])),
        ("sections that are the header", header([104, 144, 0, 104, 0, 104, 0, 104, 1, 0, 0, 0])),
        ("an attribute of 4 GiB", file(&attr(u32::MAX, [0; 2]), 0, &of(SAMPLE, &[1]), &[])),
        ("an attribute of no length", file(&attr(0, [0; 2]), 0, &of(SAMPLE, &[1]), &[])),
        ("ids of 2^62 bytes", file(&attr(128, [104, FAR]), 0, &of(SAMPLE, &[1]), &[])),
        ("ids that wrap around", file(&attr(128, [MOST - 7, 64]), 0, &of(SAMPLE, &[1]), &[])),
        ("ids of three bytes", file(&attr(128, [104, 3]), 0, &of(SAMPLE, &[1]), &[])),
        ("all features and no table", file(&whole, MOST, &of(SAMPLE, &[1]), &[])),
        ("features that wrap around", file(&whole, MOST, &[], &words(&[MOST - 3; 128]))),
        ("features of 2^62 bytes", file(&whole, MOST, &[], &words(&[104, FAR].repeat(64)))),
        ("features that are the header", file(&whole, MOST, &[], &words(&[0, 104].repeat(64)))),
        (
            "strings and counts of 4 GiB in all features",
            file(&whole, 1 << 9, &[], &[words(&[280, 8]), vec![0xff; 8]].concat()),
        ),
    ];
    let ends = [
        ("a record of no size", sized(SAMPLE, 0, &[])),
        ("a record of one byte", sized(SAMPLE, 1, &[])),
        ("a record of seven bytes", sized(LOST, 7, &[0; 8])),
        ("a record that the end cuts", sized(SAMPLE, u16::MAX, &[0; 40])),
        ("a kind that nobody has", sized(u32::MAX, 16, &[0xff; 8])),
        ("a header of a record that the end cuts", vec![9, 0, 0, 0, 0]),
        ("samples of no bytes", of(SAMPLE, &[])),
        ("an AUX record that is cut", of(AUX, &[MOST])),
        ("an AUX record of all bytes", of(AUX, &[MOST, MOST, MOST, FIRST_ID])),
        ("an attribute that is cut", of(HEADER_ATTR, &[0])),
        ("an attribute longer than its record", of(HEADER_ATTR, &[u64::from(u32::MAX) << 32; 9])),
        ("an event type", of(HEADER_EVENT_TYPE, &[MOST; 4])),
        ("tracing data of 4 GiB", of(TRACING_DATA, &[u64::from(u32::MAX)])),
        ("tracing data of no size", of(TRACING_DATA, &[])),
        ("a build id without a name", of(BUILD_ID, &[MOST])),
        ("an index of 2^62 ids", of(ID_INDEX, &[FAR, 1, 2, 3])),
        ("tracers that are cut", of(AUXTRACE_INFO, &[4])),
        ("a tracer of 2^62 CPUs", of(AUXTRACE_INFO, &[4, 2, 3, MOST, FAR, MOST, MOST])),
        ("AUX data of all bytes", of(AUXTRACE, &[MOST, 0, 0, 0, 0])),
        ("AUX data behind all places", of(AUXTRACE, &[8, MOST - 3, 0, 0, 0, 0])),
        ("AUX data without a place", of(AUXTRACE, &[8])),
        ("an error of a tracer that is cut", of(AUXTRACE_ERROR, &[MOST])),
        ("2^62 threads", of(THREAD_MAP, &[FAR, 1])),
        ("CPUs that are cut", of(CPU_MAP, &[MOST])),
        ("an update of no event", of(EVENT_UPDATE, &[MOST, MOST, MOST])),
        ("a clock that is cut", of(TIME_CONV, &[MOST])),
        ("a clock of all ones", of(TIME_CONV, &[MOST; 6])),
        ("a feature without a section", of(HEADER_FEATURE, &[12])),
        ("a feature that nobody has", of(HEADER_FEATURE, &[MOST, MOST])),
        ("events of 4 GiB", of(HEADER_FEATURE, &[12, MOST, MOST])),
        ("compressed bytes that are none", of(COMPRESSED, &[MOST; 4])),
        ("no compressed bytes", of(COMPRESSED, &[])),
        ("compressed bytes beyond their record", of(COMPRESSED2, &[MOST, MOST])),
        ("compressed bytes without a size", of(COMPRESSED2, &[])),
    ];
    files.into_iter().chain(ends.map(|(name, records)| (name, stream(&records)))).collect()
}
