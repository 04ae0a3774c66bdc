//! The forms of a recording: file, folder, stream, and AUX data alone.

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use crate::config::{Config, Form, Source};
use crate::generate::{Generator, Sink};
use crate::header::{features, in_parts};
use crate::perf::feature::{Features, bit};
use crate::perf::{Auxtrace, Event, Ring, Settings, Writer};
use crate::truth::Truth;

impl<W: Write> Sink for Writer<W> {
    fn tool(&mut self, records: &[u8]) -> io::Result<()> {
        Self::tool(self, records)
    }

    fn ring(&mut self, _: u32, records: &[u8]) {
        Self::ring(self, records);
    }

    fn drain(&mut self, _: u32) -> io::Result<()> {
        Self::drain(self)
    }

    fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        Self::auxtrace(self, record, payload)
    }
}

/// A folder whose rings go to `data.N`, one of each CPU.
struct Folder<W> {
    data: Writer<W>,
    parts: Vec<(Ring, W)>,
}

impl<W: Write> Sink for Folder<W> {
    fn tool(&mut self, records: &[u8]) -> io::Result<()> {
        self.data.tool(records)
    }

    fn ring(&mut self, cpu: u32, records: &[u8]) {
        self.parts[cpu as usize].0.push(records);
    }

    fn drain(&mut self, cpu: u32) -> io::Result<()> {
        let (ring, out) = &mut self.parts[cpu as usize];
        ring.drain(out).map(drop)
    }

    fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        self.data.auxtrace(record, payload)
    }
}

/// AUX data alone.
struct AuxOnly(Vec<u8>);

impl Sink for AuxOnly {
    fn tool(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn ring(&mut self, _: u32, _: &[u8]) {}

    fn drain(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn auxtrace(&mut self, _: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(payload);
        Ok(())
    }
}

/// Passes on the first bytes and swallows the rest.
struct Limited<W> {
    out: W,
    left: Option<u64>,
    cut: bool,
}

impl<W> Limited<W> {
    const fn new(out: W, limit: Option<u64>) -> Self {
        Self { out, left: limit, cut: false }
    }
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = &mut self.left else { return self.out.write(bytes) };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        self.cut |= most < bytes.len();
        self.out.write_all(&bytes[..most])?;
        *left -= most as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn settings(config: &Config, events: &[Event]) -> Settings {
    Settings {
        endian: config.endian,
        stream: config.form == Form::Stream,
        compression: config.compression,
        events: events.to_vec(),
    }
}

/// Finishes a recording with the features that are known at its end; gives the header.
fn finish<W: Write>(
    writer: Writer<W>,
    config: &Config,
    mut features: Features,
    truth: &Truth,
) -> io::Result<(W, Option<Vec<u8>>)> {
    if config.damage.killed {
        return Ok((writer.abandon()?, None));
    }
    if let Some((first, last)) = truth.times {
        features.words(bit::SAMPLE_TIME, &[first, last]);
    }
    let finished = writer.finish(features, !in_parts(config))?;
    Ok((finished.out, finished.header))
}

/// Writes a recording in the file form to `out`, which stands at its start, and gives the truth. `rows` takes a line
/// per record, see [`crate::truth::Sampled::write_row`].
///
/// # Errors
///
/// Those of the outputs, and of a wrong configuration.
pub fn write_file(
    config: &Config,
    out: &mut (impl Write + Seek),
    rows: Option<&mut dyn Write>,
) -> io::Result<Truth> {
    let config = &Config { form: Form::File, ..config.clone() };
    let mut generator = Generator::new(config, rows)?;
    let features = features(config, &generator.events);
    let limited = Limited::new(&mut *out, config.damage.cut);
    let mut writer =
        Writer::new(limited, settings(config, &generator.events), &features, config.seed)?;
    generator.run(&mut writer)?;
    let mut truth = generator.truth;
    let (limited, header) = finish(writer, config, features, &truth)?;
    truth.ledger.cut = limited.cut;
    if let Some(header) = header {
        out.seek(SeekFrom::Start(0))?;
        Limited::new(&mut *out, config.damage.cut).write_all(&header)?;
        out.flush()?;
    }
    Ok(truth)
}

/// Writes a recording in the stream form; memory does not grow with its length but for the truth. See
/// [`write_file`].
///
/// # Errors
///
/// Those of the outputs, and of a wrong configuration.
pub fn write_stream(
    config: &Config,
    out: &mut impl Write,
    rows: Option<&mut dyn Write>,
) -> io::Result<Truth> {
    let config = &Config { form: Form::Stream, ..config.clone() };
    let mut generator = Generator::new(config, rows)?;
    let features = features(config, &generator.events);
    let limited = Limited::new(out, config.damage.cut);
    let mut writer =
        Writer::new(limited, settings(config, &generator.events), &features, config.seed)?;
    generator.run(&mut writer)?;
    let mut truth = generator.truth;
    let (limited, _) = finish(writer, config, features, &truth)?;
    truth.ledger.cut = limited.cut;
    Ok(truth)
}

/// Starts a stream and leaves what is sampled to the caller: writes all that perf writes before the first piece of AUX
/// data, of a configuration's events and CPUs. On CPU 0 and CPU 1 the same process runs, from 1 s of perf's clock on.
///
/// # Errors
///
/// Those of the output, and of a wrong configuration.
pub fn begin_stream<W: Write>(config: &Config, out: W) -> io::Result<Writer<W>> {
    let config = &Config { form: Form::Stream, ..config.clone() };
    let mut generator = Generator::new(config, None)?;
    let features = features(config, &generator.events);
    let mut writer = Writer::new(out, settings(config, &generator.events), &features, config.seed)?;
    generator.begin(&mut writer)?;
    Ok(writer)
}

/// Writes a recording in the folder form: SPE data stays in `data`, samples go to `data.N`. A limit on the output
/// holds for `data`. See [`write_file`].
///
/// # Errors
///
/// Those of the outputs, and of a wrong configuration.
pub fn write_folder(
    config: &Config,
    folder: &Path,
    rows: Option<&mut dyn Write>,
) -> io::Result<Truth> {
    let config = &Config { form: Form::Folder, ..config.clone() };
    fs::create_dir_all(folder)?;
    let create = |name: &str| -> io::Result<_> {
        Ok(Limited::new(
            BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?),
            config.damage.cut,
        ))
    };
    let mut generator = Generator::new(config, rows)?;
    let features = features(config, &generator.events);
    let data =
        Writer::new(create("data")?, settings(config, &generator.events), &features, config.seed)?;
    let mut cut = false;
    let data = match config.source {
        Source::Spe => {
            let mut data = data;
            fs::create_dir_all(folder.join("kcore_dir"))?;
            generator.run(&mut data)?;
            data
        }
        Source::Samples => {
            let mut parts = Vec::new();
            for cpu in 0..config.cpus {
                let ring =
                    Ring::new(config.compression, config.endian, config.seed + u64::from(cpu))?;
                parts.push((ring, create(&format!("data.{cpu}"))?));
            }
            let mut sink = Folder { data, parts };
            generator.run(&mut sink)?;
            for (_, out) in &mut sink.parts {
                out.flush()?;
                cut |= out.cut;
            }
            sink.data
        }
    };
    let mut truth = generator.truth;
    let (limited, header) = finish(data, config, features, &truth)?;
    truth.ledger.cut = cut || limited.cut;
    if let Some(header) = header {
        let mut out = limited.out;
        out.seek(SeekFrom::Start(0))?;
        Limited::new(&mut out, config.damage.cut).write_all(&header)?;
        out.flush()?;
    }
    Ok(truth)
}

/// A recording in the file or stream form, in memory.
///
/// # Errors
///
/// Those of a wrong configuration; the folder form is one.
pub fn to_bytes(config: &Config) -> io::Result<(Vec<u8>, Truth)> {
    match config.form {
        Form::File => {
            let mut out = Cursor::new(Vec::new());
            let truth = write_file(config, &mut out, None)?;
            Ok((out.into_inner(), truth))
        }
        Form::Stream => {
            let mut out = Vec::new();
            let truth = write_stream(config, &mut out, None)?;
            Ok((out, truth))
        }
        Form::Folder => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a folder is not one run of bytes"))
        }
    }
}

/// SPE data of one CPU without a container.
///
/// # Errors
///
/// Those of a wrong configuration.
pub fn aux_bytes(config: &Config) -> io::Result<(Vec<u8>, Truth)> {
    let config = &Config { cpus: 1, source: Source::Spe, ..config.clone() };
    let mut generator = Generator::new(config, None)?;
    let mut sink = AuxOnly(Vec::new());
    generator.run(&mut sink)?;
    Ok((sink.0, generator.truth))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bytes::Endian;
    use crate::perf::Compression;
    use crate::perf::tool::kind;
    use crate::scenario::{Kind, SPARSE_PAGES, T5_ACCESSES, T5_FOLIO, T5_FOLIOS, T5_SPARSE};
    use crate::spe::Layout;

    const MIXED: [Layout; 5] = [Layout::N1, Layout::Hw, Layout::Model, Layout::Hi, Layout::Mix];

    fn number(endian: Endian, bytes: &[u8]) -> u64 {
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match endian {
            Endian::Little => bytes.iter().rev().fold(0, fold),
            Endian::Big => bytes.iter().fold(0, fold),
        }
    }

    /// Walks records: type, the record, the payload behind an AUXTRACE.
    fn walk(endian: Endian, mut bytes: &[u8], mut each: impl FnMut(u32, &[u8], &[u8])) {
        while !bytes.is_empty() {
            let kind = u32::try_from(number(endian, &bytes[..4])).unwrap();
            let size = usize::try_from(number(endian, &bytes[6..8])).unwrap();
            let (record, rest) = bytes.split_at(size);
            let more = if kind == kind::AUXTRACE { number(endian, &record[8..16]) } else { 0 };
            let (payload, rest) = rest.split_at(usize::try_from(more).unwrap());
            each(kind, record, payload);
            bytes = rest;
        }
    }

    /// The data section of a file.
    fn data(endian: Endian, file: &[u8]) -> &[u8] {
        let word = |at: usize| usize::try_from(number(endian, &file[at..at + 8])).unwrap();
        &file[word(40)..word(40) + word(48)]
    }

    #[test]
    fn t5_in_the_truth_and_in_the_bytes() {
        let config = Config { records: 200_000, ..Config::default() };
        let (bytes, truth) = aux_bytes(&config).unwrap();
        assert_eq!(bytes.len(), 200_000 * 64);
        let mut folios: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (pfn, count) in truth.sorted() {
            let folio = folios.entry(pfn & !511).or_default();
            folio.0 += 1;
            folio.1 += count;
        }
        assert_eq!(folios.len(), T5_FOLIOS);
        assert_eq!(folios[&T5_FOLIO], (3, T5_ACCESSES));
        let sparse = folios.values().filter(|(pages, _)| *pages <= u64::from(SPARSE_PAGES)).count();
        assert_eq!(sparse, T5_SPARSE);

        // The slots of the layout are fixed, so the counts can be read without knowing anything about packets.
        let mut counts = BTreeMap::new();
        for slot in bytes.chunks(64).filter(|slot| slot[42] == 0xb3) {
            let address = number(Endian::Little, &slot[43..50]);
            *counts.entry(address >> 12).or_default() += 1;
        }
        assert_eq!(counts.into_iter().collect::<Vec<(u64, u64)>>(), truth.sorted());
    }

    #[test]
    fn every_form_walks_and_keeps_its_account() {
        for endian in [Endian::Little, Endian::Big] {
            for form in [Form::File, Form::Stream] {
                for compression in [None, Some(Compression::Zstd81), Some(Compression::Zstd83)] {
                    for (attr_size, info_version, cut_anywhere) in [(64, 1, false), (144, 2, true)]
                    {
                        let config = Config {
                            records: 2000,
                            layouts: MIXED.to_vec(),
                            form,
                            endian,
                            compression,
                            attr_size,
                            info_version,
                            cut_anywhere,
                            piece_size: 4096,
                            ..Config::default()
                        };
                        let (bytes, truth) = to_bytes(&config).unwrap();
                        let records =
                            if form == Form::File { data(endian, &bytes) } else { &bytes[16..] };
                        let (mut next, mut aux) = ([0; 4], 0);
                        walk(endian, records, |kind, record, payload| {
                            if kind == kind::AUXTRACE {
                                let cpu = usize::try_from(number(endian, &record[40..44])).unwrap();
                                assert_eq!(
                                    number(endian, &record[16..24]),
                                    next[cpu],
                                    "offsets are contiguous"
                                );
                                assert_eq!(payload.len() % 8, 0);
                                next[cpu] += payload.len() as u64;
                                aux += payload.len() as u64;
                            }
                        });
                        let ledger = &truth.ledger;
                        assert_eq!(ledger.aux_bytes, aux);
                        assert_eq!(ledger.aux_bytes, ledger.record_bytes + ledger.padding_bytes);
                        assert_eq!((ledger.records, ledger.counted), (2000, 1600));
                        assert!(ledger.exact());
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_that_is_begun_has_the_start_of_a_whole_one() {
        let config = Config { records: 100, form: Form::Stream, ..Config::default() };
        let (whole, _) = to_bytes(&config).unwrap();
        let begun = begin_stream(&config, Vec::new()).unwrap().abandon().unwrap();
        let (mut len, mut init, mut behind) = (16, 0, Vec::new());
        walk(Endian::Little, &begun[16..], |kind, record, _| {
            len += record.len();
            match kind {
                kind::FINISHED_INIT => init = len,
                _ if init > 0 => behind.push(kind),
                _ => {}
            }
        });
        assert!(init > 0 && whole[..init] == begun[..init]);
        // Who runs on each of four CPUs, and a task that is forked on the first.
        use crate::perf::record::kind::{COMM, FORK, ITRACE_START};
        assert_eq!(behind, [ITRACE_START, FORK, COMM, ITRACE_START, ITRACE_START, ITRACE_START]);
    }

    #[test]
    fn the_index_points_at_auxtrace_records() {
        let (bytes, truth) = to_bytes(&Config { records: 3000, ..Config::default() }).unwrap();
        let word = |at: usize| number(Endian::Little, &bytes[at..at + 8]);
        let table = usize::try_from(word(40) + word(48)).unwrap();
        let before = (word(72) & ((1 << bit::AUXTRACE) - 1)).count_ones() as usize;
        let section = usize::try_from(word(table + 16 * before)).unwrap();
        assert_eq!(word(section), truth.ledger.pieces);
        for i in 0..usize::try_from(truth.ledger.pieces).unwrap() {
            let at = usize::try_from(word(section + 8 + 16 * i)).unwrap();
            assert_eq!(bytes[at..at + 8], [71, 0, 0, 0, 0, 0, 48, 0]);
        }
    }

    #[test]
    fn damaged_bytes_are_accounted() {
        for damage in
            ["drop:3", "shorten:4", "partial:4", "truncated:3,collision:2,lost:1", "flip:9"]
        {
            for cut_anywhere in [false, true] {
                for timeless in [false, true] {
                    let config = Config {
                        records: 10_000,
                        layouts: MIXED.to_vec(),
                        damage: damage.parse().unwrap(),
                        piece_size: 16_384,
                        cut_anywhere,
                        timeless,
                        ..Config::default()
                    };
                    let ledger = to_bytes(&config).unwrap().1.ledger;
                    let sum = ledger.record_bytes + ledger.padding_bytes + ledger.unfinished_bytes;
                    assert_eq!(ledger.aux_bytes, sum, "{damage}");
                    assert_eq!(
                        ledger.records,
                        ledger.counted + ledger.not_memory + ledger.no_physical_address,
                        "{damage}"
                    );
                    assert_eq!(ledger.exact(), damage.starts_with("truncated"), "{damage}");
                }
            }
        }
    }

    #[test]
    fn a_cut_and_an_unfinished_file() {
        let damage = "cut:5000".parse().unwrap();
        let (bytes, truth) =
            to_bytes(&Config { records: 1000, damage, ..Config::default() }).unwrap();
        assert_eq!(bytes.len(), 5000);
        assert_eq!(truth.ledger.counted_bounds(), (0, Some(800)));
        let damage = "killed".parse().unwrap();
        let (bytes, truth) =
            to_bytes(&Config { records: 1000, damage, ..Config::default() }).unwrap();
        assert_eq!(number(Endian::Little, &bytes[48..56]), 0);
        assert!(truth.ledger.exact());
    }

    #[test]
    fn samples_hold_their_addresses() {
        let config = Config {
            source: Source::Samples,
            records: 3000,
            scenario: Kind::Sparse,
            folios: 20,
            ..Config::default()
        };
        let (bytes, truth) = to_bytes(&config).unwrap();
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        let mut samples = 0;
        walk(Endian::Little, data(Endian::Little, &bytes), |kind, record, _| {
            if kind == 9 {
                samples += 1;
                // id, ip, pid and tid, time, addr, cpu, period, weight, data_src, phys_addr, data_page_size
                let physical = number(Endian::Little, &record[80..88]);
                if physical != 0 {
                    *counts.entry(physical >> 12).or_default() += 1;
                }
            }
        });
        assert_eq!(samples, 3000);
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), truth.sorted());
    }

    #[test]
    fn folders() {
        for source in [Source::Spe, Source::Samples] {
            let folder = tempfile::tempdir().unwrap();
            let config = Config { source, records: 1000, cpus: 2, ..Config::default() };
            let truth = write_folder(&config, folder.path(), None).unwrap();
            assert_eq!(truth.ledger.counted, 800);
            let data = fs::read(folder.path().join("data")).unwrap();
            assert_eq!(&data[..8], b"PERFILE2");
            assert_eq!(folder.path().join("data.1").exists(), source == Source::Samples);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let config = Config { records: 500, layouts: MIXED.to_vec(), ..Config::default() };
        assert_eq!(to_bytes(&config).unwrap().0, to_bytes(&config).unwrap().0);
        let other = Config { seed: 2, ..config.clone() };
        assert_ne!(to_bytes(&config).unwrap().0, to_bytes(&other).unwrap().0);
    }
}
