//! Is a ring emptied as fast as a file is decoded? `cargo bench -p decoder`: the same SPE bytes
//! both ways, on one thread, into a sink that counts places.
//!
//! ```text
//! not timed   rings are filled, one after the other     the file is written, from start to end
//! timed       they are emptied, in the same order       it is decoded, from start to end
//! ```
//!
//! So every byte was touched as long ago in either: `cold` is more than caches hold, `warm` is not.

use std::hint::black_box;
use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decoder::live::{
    About, CpuRings, EventAbout, FileWriter, MemoryRing, RecordingWriter, Ring, SpeCpuAbout, decode,
};
use decoder::{Access, Batch, Detail, Options, Origin, Shard, Sink};
use rustix::time::{ClockId, clock_gettime};
use tracegen::Config;

/// Length of a record in this data.
const RECORD_LEN: usize = 64;
/// Runs of each, in turn.
const RUNS: usize = 31;
/// Part of the file's speed that the ring must have.
const WANTED: f64 = 0.9;

/// Rings, which are filled to the brim.
struct Case {
    name: &'static str,
    cpus: u32,
    ring_len: usize,
    /// Place of the first byte: the ring wraps where its length is reached.
    start: u64,
    /// How often all of it is done for one measurement.
    times: u32,
}

const MIB: usize = 1 << 20;
/// A place from which a full ring's end cuts a record in two.
const CUTS: u64 = 24;

const CASES: [Case; 4] = [
    Case { name: "cold", cpus: 16, ring_len: 16 * MIB, start: CUTS, times: 1 },
    Case { name: "cold, no wrap", cpus: 16, ring_len: 16 * MIB, start: 0, times: 1 },
    Case { name: "cold, short", cpus: 16, ring_len: 4 * MIB, start: CUTS, times: 1 },
    Case { name: "warm", cpus: 2, ring_len: 4 * MIB, start: CUTS, times: 8 },
];

#[derive(Default)]
struct Places(u64);

impl Sink for Places {
    fn detail(&self) -> Detail {
        Detail::Addresses
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        self.0 += batch.addresses.len() as u64;
    }

    fn access(&mut self, access: &Access) {
        self.0 += u64::from(access.paddr.is_some());
    }

    fn other(&mut self, _: &Origin) {}
}

impl Shard for Places {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }
}

fn about(cpus: u32) -> About {
    let mut attr = vec![0; 128];
    for (at, value) in [(0, 11u64 | 128 << 32), (24, 1 << 16 | 1 << 19)] {
        attr[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    let ids = (1..=u64::from(cpus)).collect();
    let event = EventAbout { attr, ids, name: "arm_spe_0//".to_owned(), cpus: None };
    let spe = |cpu| SpeCpuAbout {
        cpu,
        midr: 0x410f_d0c0,
        pmu_type: 11,
        min_interval: 1024,
        event_filter: 0,
    };
    About { events: vec![event], spe: (0..cpus).map(spe).collect(), ..About::default() }
}

/// CPU time of this thread: what else runs on the machine takes its turns meanwhile.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.expect("it counts from 0"), nanos.expect("less than a second"))
}

/// The rings of a case, and what fills them.
struct Bench {
    case: &'static Case,
    about: About,
    /// What each CPU's unit writes.
    data: Vec<u8>,
    cpu_rings: Vec<CpuRings<MemoryRing>>,
    /// Where the file is written, each time anew, as the rings are.
    file: Vec<u8>,
}

impl Bench {
    fn new(case: &'static Case) -> Self {
        let records = (case.ring_len / RECORD_LEN + 1) as u64;
        let config = Config { records, ..Config::default() };
        let (mut data, _) = tracegen::aux_bytes(&config).expect("the configuration is right");
        data.truncate(case.ring_len);
        assert_eq!(data.len(), case.ring_len);
        let rings = |cpu| {
            let records = MemoryRing::new(4096, 0);
            CpuRings::new(cpu, Some(cpu), records, Some(MemoryRing::new(case.ring_len, case.start)))
        };
        let cpu_rings = (0..case.cpus).map(rings).collect();
        let mut bench = Self { case, about: about(case.cpus), data, cpu_rings, file: Vec::new() };
        assert_eq!(bench.through_rings().0, bench.as_file().0, "the same accesses");
        bench
    }

    fn bytes(&self) -> u64 {
        self.data.len() as u64 * u64::from(self.case.cpus)
    }

    fn fill(&mut self) {
        for rings in &mut self.cpu_rings {
            assert!(rings.aux.as_mut().is_some_and(|aux| aux.ring_mut().write(&self.data)));
        }
    }

    fn empty(&mut self, writer: &mut impl RecordingWriter) -> io::Result<()> {
        for rings in &mut self.cpu_rings {
            rings.drain(false, writer)?;
        }
        writer.pass_ended()
    }

    /// Fills the rings, and decodes what they hold.
    fn through_rings(&mut self) -> (u64, Duration) {
        self.fill();
        let mut places = Places::default();
        let about = core::mem::take(&mut self.about);
        let start = own_time();
        let done = decode(&mut places, |decoding| {
            decoding.begin(&about)?;
            self.empty(decoding)
        });
        let spent = own_time() - start;
        done.expect("memory takes everything");
        self.about = about;
        let empty = |rings: &CpuRings<MemoryRing>| {
            rings.aux.as_ref().is_some_and(|aux| aux.ring().head() == aux.ring().tail())
        };
        assert!(self.cpu_rings.iter().all(empty));
        (places.0, spent)
    }

    /// Writes what the rings hold into a file, and decodes that.
    fn as_file(&mut self) -> (u64, Duration) {
        self.fill();
        let about = core::mem::take(&mut self.about);
        let mut writer = FileWriter::new(Cursor::new(core::mem::take(&mut self.file)));
        let written = writer.begin(&about).and_then(|()| self.empty(&mut writer));
        let written = written.and_then(|()| writer.finish());
        self.file = written.expect("memory takes everything").into_inner();
        self.about = about;
        let mut places = Places::default();
        let options = Options::new(NonZeroUsize::MIN);
        let start = own_time();
        decoder::decode_bytes(&[&self.file], 0, &options, &mut places).expect("it is a file");
        (places.0, own_time() - start)
    }

    /// One way, as often as the case says.
    fn measure(&mut self, way: impl Fn(&mut Self) -> (u64, Duration)) -> Duration {
        (0..self.case.times).map(|_| black_box(way(self)).1).sum()
    }

    /// Prints how fast the rings are against the file.
    fn compare(&mut self) {
        // In turns: other load on the machine meets both.
        let mut runs: Vec<_> = (0..RUNS)
            .map(|_| (self.measure(Self::through_rings), self.measure(Self::as_file)))
            .collect();
        let ratio = |(ring, file): &(Duration, Duration)| file.as_secs_f64() / ring.as_secs_f64();
        runs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
        let bytes = (self.bytes() * u64::from(self.case.times)) as f64;
        let rate = |time: Duration| bytes / time.as_secs_f64() / 1e9;
        let (ring, file) = runs[RUNS / 2];
        println!(
            "{:13} {:2} rings of {} MiB: {:5.2} GB/s, file {:5.2} GB/s, part of its speed  {:.2} \
             ({:.2}..{:.2})  >= {WANTED}",
            self.case.name,
            self.case.cpus,
            self.case.ring_len / MIB,
            rate(ring),
            rate(file),
            ratio(&runs[RUNS / 2]),
            ratio(&runs[0]),
            ratio(&runs[RUNS - 1])
        );
    }
}

fn ring(c: &mut Criterion) {
    for case in &CASES {
        let mut bench = Bench::new(case);
        bench.compare();
        let mut group = c.benchmark_group(format!("live/{}", case.name));
        group.throughput(Throughput::Bytes(bench.bytes() * u64::from(case.times)));
        group.bench_function("ring", |b| {
            b.iter_custom(|times| (0..times).map(|_| bench.measure(Bench::through_rings)).sum());
        });
        group.bench_function("file", |b| {
            b.iter_custom(|times| (0..times).map(|_| bench.measure(Bench::as_file)).sum());
        });
        group.finish();
    }
}

criterion_group!(benches, ring);
criterion_main!(benches);
