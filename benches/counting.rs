//! How fast is counting, by the number of 2 MiB blocks, and where memory is short? Throughput is in accesses.
//!
//! The accesses come in the shortest records that there are, so that decoding is a small part.

use std::num::NonZeroUsize;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use decoder::Options;
use heatmap::{Counter, Counters, Filters};
use tracegen::{Config, Kind, Layout};

fn file(folios: usize, records: u64) -> Vec<u8> {
    let config = Config {
        records,
        folios,
        scenario: Kind::Sparse,
        layouts: vec![Layout::Short],
        timeless: true,
        cpus: 1,
        not_memory: 0,
        no_physical_address: 0,
        without_pages: true,
        ..Config::default()
    };
    tracegen::to_bytes(&config).expect("the configuration is right").0
}

fn count(file: &[u8], counter: &mut Counter<Counters>) {
    let options = Options::new(NonZeroUsize::MIN);
    decoder::decode_bytes(&[file], 0, &options, counter).expect("tracegen wrote it");
}

/// Counting in blocks that are all known already.
fn folios(c: &mut Criterion) {
    const RECORDS: u64 = 2_000_000;
    let mut group = c.benchmark_group("count");
    group.throughput(Throughput::Elements(RECORDS));
    for folios in [1, 2005, 100_000, 524_288] {
        let file = file(folios, RECORDS);
        let mut counter = Counter::<Counters>::new(Filters::default(), usize::MAX);
        count(&file, &mut counter);
        group
            .bench_function(format!("folios: {folios}"), |b| b.iter(|| count(&file, &mut counter)));
    }
}

/// Counting where only half of the counters' memory is allowed, from the first access on.
fn eviction(c: &mut Criterion) {
    const RECORDS: u64 = 500_000;
    let file = file(20_000, RECORDS);
    let with = |budget| Counter::<Counters>::new(Filters::default(), budget);
    let fits = |budget: &usize| {
        let mut counter = with(*budget);
        count(&file, &mut counter);
        counter.store().evicted().iter().sum::<u64>() == 0
    };
    // To a sixteenth of a power of two.
    let enough = (20..).map(|shift| 1usize << shift).find(fits).expect("some budget is enough");
    let needed = (9..=16).map(|part| enough / 16 * part).find(fits).expect("the last is enough");
    let mut group = c.benchmark_group("evict");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("folios: 20000, room for half", |b| {
        b.iter_batched_ref(
            || with(needed / 2),
            |counter| count(&file, counter),
            BatchSize::PerIteration,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    targets = folios, eviction
}
criterion_main!(benches);
