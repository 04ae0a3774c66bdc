//! All that a report says can be computed from the records.

use proptest::prelude::*;
use tests::emulation::thinned;
use tests::inputs::{all, bytes, input};
use tests::laws::{Keep, summary, summed_up};
use tracegen::{Config, Form, Kind, Layout, Source};

/// No query, and one with each filter.
fn queries() -> Vec<Keep> {
    let none = Keep::default;
    vec![
        none(),
        Keep { loads: true, ..none() },
        Keep { stores: true, ..none() },
        Keep { min_latency: Some(1), ..none() },
        Keep { min_latency: Some(350), ..none() },
        Keep { cpus: Some((1, 2)), ..none() },
        Keep { tids: Some((1, 4242)), ..none() },
        Keep { pfns: Some((0, 1 << 20)), ..none() },
        Keep { source: Some(decoder::DataSource::L1), min_latency: Some(5), ..none() },
    ]
}

#[test]
fn of_recordings_and_made_traces() {
    let mut counted = 0;
    let names = all().enumerate();
    for (number, name) in thinned("recordings", names, 5) {
        let path = input(name);
        if path.is_dir() {
            continue;
        }
        // Each query meets many recordings, and each recording some queries.
        let here = |at: &usize| *at == 0 || at % 3 == number % 3;
        for (at, keep) in queries().iter().enumerate().filter(|(at, _)| here(at)) {
            let order = u8::try_from(at).expect("few queries");
            counted += summed_up(&bytes(&path), keep, order).expect("a recording");
        }
    }
    assert!(counted > 0);
}

#[test]
fn of_written_and_hostile_files() {
    let written = tests::plain::recordings().into_iter().map(|plain| plain.bytes);
    let hostile = tests::hostile::inputs().into_iter().map(|(_, bytes)| bytes);
    for bytes in written.chain(hostile) {
        // What is none is refused, which other tests look at.
        let _ = summed_up(&bytes, &Keep::default(), 4);
    }
}

#[test]
fn of_generated_traces() {
    let spe = Config {
        records: 3000,
        folios: 40,
        scenario: Kind::Dense,
        piece_size: 8192,
        ..Config::default()
    };
    let configs = [
        spe.clone(),
        Config { layouts: vec![Layout::Mix, Layout::Hi], seed: 2, ..spe.clone() },
        Config { timeless: true, form: Form::Stream, ..spe.clone() },
        Config { source: Source::Samples, form: Form::Stream, ..spe },
    ];
    for config in configs {
        let (recording, truth) = tracegen::to_bytes(&config).expect("a right configuration");
        for (at, keep) in thinned("queries", queries().iter().enumerate(), 4) {
            let order = u8::try_from(at).expect("few queries");
            let counted = summed_up(&recording, keep, order).expect("a recording");
            assert!(at > 0 || counted as u64 == truth.ledger.counted, "{config:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn of_random_traces(data in prop::collection::vec(any::<u8>(), 0..3000)) {
        summary(&data);
    }
}
