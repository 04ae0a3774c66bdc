//! How fast are bytes decoded, and a whole file counted? Throughput is in bytes of input.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decoder::spe::Packets;
use decoder::{Access, Batch, Detail, Options, Origin, Shard, Sink};
use heatmap::{Counter, Counters, Filters, Summary, Wanted};
use tracegen::{Config, Layout, Source};

/// Records of each recording: several times what caches hold.
const RECORDS: u64 = 500_000;
const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Takes physical addresses and makes next to nothing of them.
#[derive(Default)]
struct Places(u64);

impl Sink for Places {
    fn detail(&self) -> Detail {
        Detail::Addresses
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        self.0 += batch.addresses.iter().map(|paddr| paddr.get()).fold(0, u64::wrapping_add);
    }

    fn access(&mut self, access: &Access) {
        self.0 = self.0.wrapping_add(access.paddr.map_or(0, |paddr| paddr.get()));
    }

    fn other(&mut self, _: &Origin) {}
}

impl Shard for Places {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

fn file(config: &Config) -> Vec<u8> {
    tracegen::to_bytes(config).expect("the configuration is right").0
}

fn decode(file: &[u8], threads: NonZeroUsize, sink: &mut impl Shard) -> decoder::Recording {
    let options = Options::new(threads);
    decoder::decode_bytes(&[file], 0, &options, sink).expect("tracegen wrote it")
}

fn packets(c: &mut Criterion) {
    let config = Config { records: RECORDS, ..Config::default() };
    let (bytes, _) = tracegen::aux_bytes(&config).expect("the configuration is right");
    let mut group = c.benchmark_group("packets");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("n1", |b| b.iter(|| Packets::new(black_box(&bytes)).count()));
}

fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("records");
    let all = [Layout::N1, Layout::Hw, Layout::Model, Layout::Hi, Layout::Mix];
    let cases = all.map(|layout| (format!("{layout:?}").to_lowercase(), vec![layout]));
    for (name, layouts) in cases.into_iter().chain([("mixed".to_owned(), all.to_vec())]) {
        let file = file(&Config { records: RECORDS, layouts, cpus: 1, ..Config::default() });
        group.throughput(Throughput::Bytes(file.len() as u64));
        group.bench_function(&name, |b| b.iter(|| decode(&file, ONE, &mut Places::default())));
    }
}

fn samples(c: &mut Criterion) {
    let file =
        file(&Config { records: RECORDS, source: Source::Samples, cpus: 1, ..Config::default() });
    let mut group = c.benchmark_group("samples");
    group.throughput(Throughput::Bytes(file.len() as u64));
    group.bench_function("ibs_op", |b| b.iter(|| decode(&file, ONE, &mut Places::default())));
}

fn pages(c: &mut Criterion) {
    let file = file(&Config { records: RECORDS, ..Config::default() });
    let mut group = c.benchmark_group("pages");
    group.throughput(Throughput::Bytes(file.len() as u64));
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).expect("it is not 0");
        group.bench_function(format!("threads: {threads}"), |b| {
            b.iter(|| {
                let mut counter = Counter::<Counters>::new(Filters::default(), usize::MAX);
                let recordings = [decode(&file, threads, &mut counter)];
                let wanted = Wanted::default();
                Summary::new(String::new(), &recordings, &counter, wanted).pages().count()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    targets = packets, records, samples, pages
}
criterion_main!(benches);
