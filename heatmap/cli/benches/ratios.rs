//! Measures decoding and counting in one process against what the machine can do at best, for the script `compare`:
//! `ratios QUESTION LAYOUTS FOLIOS MIB RUNS` prints one line per run with the nanoseconds of each side, taken in turn.
//!
//! | question | columns |
//! | --- | --- |
//! | `decode` | sum of the bytes as 64-bit words, plain walk of the packets, decoder |
//! | `count` | sum of the bytes as 64-bit words, bare increments of as many counters, decoder with counters |

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

use decoder::spe::{Kind, Packets};
use decoder::{Access, Batch, Detail, Options, Origin, PhysAddr, Sink};
use heatmap::{Counter, Counters, Filters};
use tracegen::{Config, Layout};

/// A recording of one CPU in memory, and where its AUX data lies.
struct Trace {
    bytes: Vec<u8>,
    pieces: Vec<core::ops::Range<usize>>,
}

impl Trace {
    fn new(config: &Config) -> std::io::Result<Self> {
        const AUXTRACE: u64 = 71;
        let (bytes, _) = tracegen::to_bytes(config)?;
        let number = |at: usize, len: usize| {
            bytes[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let length = |at, len| usize::try_from(number(at, len)).expect("it lies in memory");
        let mut pieces = Vec::new();
        let mut at = 16;
        while at < bytes.len() {
            let size = length(at + 6, 2);
            let payload = if number(at, 4) == AUXTRACE { length(at + 8, 8) } else { 0 };
            at += size + payload;
            pieces.push(at - payload..at);
        }
        Ok(Self { bytes, pieces })
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &self.bytes[piece.clone()])
    }

    /// Sums the AUX data as 64-bit words: as fast as memory can be read.
    fn sum(&self) -> u64 {
        let words = |piece: &[u8]| {
            let (words, _) = piece.as_chunks();
            words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
        };
        self.pieces().map(words).fold(0, u64::wrapping_add)
    }

    /// What a decoder does that knows nothing of layouts: takes packet after packet.
    fn walk(&self) -> Places {
        let mut places = Places::default();
        for piece in self.pieces() {
            let (mut paddr, mut memory) = (None, None);
            for packet in Packets::new(piece).map_while(Result::ok) {
                match (packet.header.kind, packet.header.index) {
                    (Kind::Address, 3) => paddr = Some(PhysAddr::new_truncate(packet.payload)),
                    (Kind::Operation, class) => memory = Some(class == 1),
                    (Kind::End | Kind::Timestamp, _) => {
                        let counts = memory.take().unwrap_or(true);
                        let paddr = paddr.take().filter(|_| counts);
                        paddr.into_iter().for_each(|paddr| places.add(paddr));
                    }
                    _ => {}
                }
            }
        }
        places
    }

    fn decode(&self, sink: &mut impl decoder::Shard) {
        let options = Options::new(NonZeroUsize::MIN);
        decoder::decode_bytes(&[&self.bytes], 0, &options, sink).expect("tracegen wrote it");
    }

    fn places(&self) -> Places {
        let mut places = Places::default();
        self.decode(&mut places);
        places
    }

    fn count(&self) -> Counter<Counters> {
        let mut counter = Counter::new(Filters::default(), usize::MAX);
        self.decode(&mut counter);
        counter
    }

    /// The touched pages by number, in the order in which they are touched.
    fn touched(&self) -> Vec<u32> {
        let mut list = List::default();
        self.decode(&mut list);
        let mut pages = list.0.clone();
        pages.sort_unstable();
        pages.dedup();
        let number = |pfn: &u64| u32::try_from(pages.partition_point(|other| other < pfn));
        list.0.iter().map(|pfn| number(pfn).expect("fewer than 2^32 pages")).collect()
    }
}

/// The cheapest use of physical addresses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    count: u64,
    sum: u64,
}

impl Places {
    fn add(&mut self, paddr: PhysAddr) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(paddr.get());
    }
}

impl Sink for Places {
    fn detail(&self) -> Detail {
        Detail::Addresses
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        batch.addresses.iter().for_each(|paddr| self.add(*paddr));
    }

    fn access(&mut self, access: &Access) {
        access.paddr.into_iter().for_each(|paddr| self.add(paddr));
    }

    fn other(&mut self, _: &Origin) {}
}

/// The page of every access.
#[derive(Default)]
struct List(Vec<u64>);

impl Sink for List {
    fn access(&mut self, access: &Access) {
        self.0.extend(access.paddr.map(|paddr| paddr.pfn().get()));
    }

    fn other(&mut self, _: &Origin) {}
}

// One thread decodes: these are never split.
impl decoder::Shard for Places {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl decoder::Shard for List {
    fn split(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

/// Nanoseconds that something takes, and what it gives. What it gives is dropped outside.
fn timed<T>(measure: impl FnOnce() -> T) -> (u128, T) {
    let start = Instant::now();
    let result = black_box(measure());
    (start.elapsed().as_nanos(), result)
}

fn decode(trace: &Trace, runs: usize) {
    for run in 0..=runs {
        let (sum, _) = timed(|| trace.sum());
        let (walk, wanted) = timed(|| trace.walk());
        let (decode, found) = timed(|| trace.places());
        assert_eq!(found, wanted, "both must find the same addresses");
        // The first run warms up.
        if run > 0 {
            println!("{sum} {walk} {decode}");
        }
    }
}

fn count(trace: &Trace, runs: usize) {
    let touched = trace.touched();
    let pages = touched.iter().max().map_or(0, |last| *last as usize + 1);
    for run in 0..=runs {
        let mut counters = vec![1u32; pages];
        let (sum, _) = timed(|| trace.sum());
        let (increments, ()) =
            timed(|| touched.iter().for_each(|page| counters[*page as usize] += 1));
        let (count, counter) = timed(|| trace.count());
        let counted: u64 = counter.ledgers().map(|(_, ledger)| ledger.counted).sum();
        assert_eq!(counted, touched.len() as u64, "both must count the same accesses");
        if run > 0 {
            println!("{sum} {increments} {count}");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [question, layouts, folios, mib, runs] = &arguments[..] else {
        return Err("usage: ratios decode|count LAYOUTS FOLIOS MIB RUNS".into());
    };
    let layouts: Vec<Layout> = layouts
        .split(',')
        .filter_map(|wanted| Layout::ALL.iter().find(|(name, _)| *name == wanted))
        .map(|(_, layout)| *layout)
        .collect();
    let form = tracegen::Form::Stream;
    let mut config =
        Config { layouts, folios: folios.parse()?, cpus: 1, form, ..Config::default() };
    config.check()?;
    config.records = (mib.parse::<u64>()? << 20) / tracegen::mean_record_bytes(&config);
    let trace = Trace::new(&config)?;
    match question.as_str() {
        "decode" => decode(&trace, runs.parse()?),
        "count" => count(&trace, runs.parse()?),
        _ => return Err(format!("no question is called {question}").into()),
    }
    Ok(())
}
