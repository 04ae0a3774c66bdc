//! Recordings of an event whose samples have no data addresses, in each form that perf writes: what
//! a recorder leaves when nobody asked for memory.

use tracegen::bytes::Endian;
use tracegen::perf::attr::{flag, sample_type as st};
use tracegen::perf::feature::{Features, bit};
use tracegen::perf::record::Trailer;
use tracegen::perf::{Attr, Compression, Event, Record, Sample, Settings, Writer};

use crate::container::{Parts, record};

const ENDIAN: Endian = Endian::Little;
const SAMPLE_TYPE: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::PERIOD;
const ID: u64 = 700;
/// `PERF_RECORD_HEADER_FEATURE` (`tools/lib/perf/include/perf/event.h`).
const HEADER_FEATURE: u32 = 80;

/// Such a recording, and what it holds.
pub struct Plain {
    /// What it stands for.
    pub name: &'static str,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its form.
    pub stream: bool,
    /// Samples that records say were lost.
    pub lost_samples: u64,
    /// Something in it is no record.
    pub damaged: bool,
}

fn event() -> Event {
    let attr = Attr {
        size: 128,
        sample_period: 1000,
        sample_type: SAMPLE_TYPE,
        flags: flag::SAMPLE_ID_ALL,
        ..Attr::default()
    };
    Event { attr, ids: vec![ID], name: "cycles:u".to_owned() }
}

fn trailer(time: u64) -> Trailer {
    Trailer { pid: 4300, tid: 4301, time, id: ID, cpu: 1 }
}

/// A task that is named, maps its program, runs for seven samples and ends. `among` stands in between.
fn records(lost: u64, among: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let add = |out: &mut Vec<u8>, record: Record<'_>, time| {
        record.write(out, ENDIAN, SAMPLE_TYPE, &trailer(time));
    };
    let (pid, tid) = (4300, 4301);
    add(&mut out, Record::Comm { pid, tid, comm: "sleeper", exec: true }, 1000);
    let (addr, len, name) = (0x5500_0000_0000, 0x1000, "/usr/bin/sleeper");
    add(&mut out, Record::Mmap2 { pid, tid, addr, len, pgoff: 0, prot: 5, name }, 1001);
    for number in 0..7 {
        if number == 3 {
            (0..lost).for_each(|_| {
                add(&mut out, Record::LostSamples { lost: 1, bpf: false }, 1500);
            });
            out.extend_from_slice(among);
        }
        let sample = Sample {
            misc: 2,
            id: ID,
            ip: 0x5500_0000_0100 + number,
            pid,
            tid,
            time: 2000 + number,
            cpu: 1,
            period: 1000,
            ..Sample::default()
        };
        sample.write(&mut out, ENDIAN, SAMPLE_TYPE);
    }
    let (ppid, ptid, time) = (1, 1, 3000);
    add(&mut out, Record::Exit { pid, ppid, tid, ptid, time }, 3000);
    out
}

fn recording(stream: bool, compression: Option<Compression>, records: &[u8]) -> Vec<u8> {
    let mut features = Features::new(ENDIAN);
    features.text(bit::OSRELEASE, "6.18.0").text(bit::ARCH, "x86_64").events(&[event()]);
    if compression.is_some() {
        features.compressed(1, 528_384);
    }
    let settings = Settings { endian: ENDIAN, stream, compression, events: vec![event()] };
    let mut writer = Writer::new(Vec::new(), settings, &features, 1).expect("memory takes all");
    writer.ring(records);
    let finished = writer.finish(features, true).expect("memory takes all");
    let mut out = finished.out;
    if let Some(header) = finished.header {
        out[..header.len()].copy_from_slice(&header);
    }
    out
}

/// A stream whose feature sections have zeros behind them, up to multiples of 8, as perf 6.12 and
/// later write them.
fn aligned() -> Vec<u8> {
    let mut parts = Parts::of(&recording(false, None, &records(0, &[])));
    for (_, section) in &mut parts.features {
        section.resize(section.len().next_multiple_of(8) + 8, 0);
    }
    parts.stream()
}

/// All of them.
pub fn recordings() -> Vec<Plain> {
    let plain = |name, stream, compression| Plain {
        name,
        bytes: recording(stream, compression, &records(0, &[])),
        stream,
        lost_samples: 0,
        damaged: false,
    };
    let (zstd81, zstd83) = (Some(Compression::Zstd81), Some(Compression::Zstd83));
    let lost = recording(false, None, &records(2, &[]));
    // A sample record of size 0: nothing tells where the next one is.
    let mut of_no_size = Vec::new();
    record(&mut of_no_size, ENDIAN, 9, &[]);
    of_no_size[6] = 0;
    let no_size = recording(true, None, &records(0, &of_no_size));
    // perf says this on its standard error, which was the same file.
    let mut with_text = recording(true, zstd83, &records(0, &[]));
    with_text.extend_from_slice(b"[ perf record: Woken up 1 times to write data ]\n");
    let mut unknown = Vec::new();
    record(&mut unknown, ENDIAN, HEADER_FEATURE, &[&200_u64.to_le_bytes(), b"later.  "]);
    let unknown = recording(true, None, &records(0, &unknown));
    let known = |name, bytes| Plain { name, bytes, stream: true, lost_samples: 0, damaged: false };
    vec![
        plain("plain-file", false, None),
        plain("plain-stream", true, None),
        plain("plain-file-81", false, zstd81),
        plain("plain-stream-81", true, zstd81),
        plain("plain-file-83", false, zstd83),
        plain("plain-stream-83", true, zstd83),
        Plain { stream: false, lost_samples: 2, ..known("plain-lost", lost) },
        Plain { damaged: true, ..known("plain-record-of-no-size", no_size) },
        Plain { damaged: true, ..known("plain-text-behind", with_text) },
        known("plain-features-aligned", aligned()),
        known("plain-unknown-feature", unknown),
    ]
}
