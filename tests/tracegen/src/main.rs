//! Writes recordings whose content is known by construction.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, Parser, ValueEnum};
use tracegen::bytes::Endian;
use tracegen::perf::Compression;
use tracegen::truth::RECORDS_HEADER;
use tracegen::{Config, Damage, Form, Kind, Layout, Source, Truth, mean_record_bytes};

const EXAMPLES: &str = "\
Examples:
  tracegen -o t5.data --truth t5 --size 256MiB
      The RFC's table in 64-byte Neoverse N1 records, with t5.pfncounts.txt and t5.ledger.json beside it.
  tracegen -o small.data --truth small --truth-records --records 2000 --layouts n1,hw,model,hi,mix --cut-anywhere
      A hard little file: all layouts, AUX data cut inside packets, a table of every record.
  tracegen -o - --form stream --size 4GiB | folioscope report -
      A long stream in bounded memory.
  tracegen -o - --form stream --scenario every-page --folios 524288 --records 268435456 --layouts short --timeless \
      --not-memory 0 --no-pa 0 --piece-size 64k | folioscope report -
      Every page of 1 TiB, once, in 3 GiB of records.
  tracegen -o be.data --big-endian --timeless --records 5000 --scenario sparse --folios 40
  tracegen -o z.data --zstd 83 --attr-size 144 --info-version 2 --records 5000
  tracegen -o samples.data --source samples --form folder --zstd 81 --records 50000
  tracegen -o hurt.data --truth hurt --records 50000 --damage drop:2,shorten:2,partial:1,collision:3,lost:1

Damage: KIND:NUMBER, separated by commas.
  flip          inverted bits of AUX data
  drop          announced chunks of AUX data that were never copied
  shorten       pieces whose end is missing, cut inside a record
  truncated     AUX records with TRUNCATED, records whole
  partial       AUX records with TRUNCATED and PARTIAL, the last record of the piece incomplete
  collision     AUX records with COLLISION
  lost          LOST records; lost-samples: LOST_SAMPLES records
  cut           only so many bytes of the output are kept
  killed        a file that was never finished: size 0 in the header, no features";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormName {
    File,
    Folder,
    Stream,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceName {
    Spe,
    Samples,
}

/// Writes recordings of memory accesses whose content is known by construction: Arm SPE packets or sample records in
/// the containers of Linux perf. The data is made up; it proves nothing about hardware.
#[derive(Debug, Parser)]
#[command(name = "tracegen", version, after_help = EXAMPLES)]
struct Arguments {
    /// File or folder to write; `-` is standard output (stream form only)
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Write the truth to PREFIX.pfncounts.txt and PREFIX.ledger.json
    #[arg(long, value_name = "PREFIX")]
    truth: Option<PathBuf>,
    /// Also write every record, memory or not, in input order to PREFIX.records.tsv
    #[arg(long, requires = "truth")]
    truth_records: bool,
    /// About so many bytes of records (suffixes k, M, G, KiB, MiB, GiB: all powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "records")]
    size: Option<u64>,
    /// Exactly so many records [default: 100000]
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Layouts of SPE records, mixed at random
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "n1",
          value_parser = PossibleValuesParser::new(Layout::ALL.map(|(name, _)| name)))]
    layouts: Vec<String>,
    /// Number of CPUs
    #[arg(long, value_name = "N", default_value_t = 4)]
    cpus: u32,
    /// Container; standard output is always a stream
    #[arg(long, value_enum, default_value = "file")]
    form: FormName,
    /// Byte order of the container (SPE packets are always little-endian)
    #[arg(long)]
    big_endian: bool,
    /// No timestamps, no times
    #[arg(long)]
    timeless: bool,
    /// Compress ring data into records of this type
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(["81", "83"]))]
    zstd: Option<String>,
    /// SPE packets in AUX data, or sample records of ibs_op
    #[arg(long, value_enum, default_value = "spe")]
    source: SourceName,
    /// How many 2 MiB folios are touched, if there are enough accesses
    #[arg(long, value_name = "N", default_value_t = 2005)]
    folios: usize,
    /// How heat lies on the folios
    #[arg(long, default_value = "t5", value_parser = PossibleValuesParser::new(Kind::ALL.map(|(name, _)| name)))]
    scenario: String,
    /// What goes wrong, see below
    #[arg(long, value_name = "SPEC", default_value = "", hide_default_value = true)]
    damage: Damage,
    /// Seed: the same arguments give the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Bytes of perf_event_attr: 64 to 144, or more
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    attr_size: u32,
    /// AUXTRACE_INFO version: 1 up to perf 6.12, 2 later
    #[arg(long, value_name = "N", default_value_t = 1)]
    info_version: u32,
    /// The most bytes of one AUXTRACE, or of samples of one drain; a multiple of 8
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1MiB")]
    piece_size: u64,
    /// Cut AUX data at any multiple of 8, also inside packets
    #[arg(long)]
    cut_anywhere: bool,
    /// How long the recording lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Percentage of records that are no memory operation
    #[arg(long, value_name = "PERCENT", default_value_t = 15)]
    not_memory: u64,
    /// Percentage of records that are memory operations without a physical address
    #[arg(long, value_name = "PERCENT", default_value_t = 5)]
    no_pa: u64,
    /// Percentage of samples taken while a guest ran (--source samples)
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    guests: u64,
    /// One thread after the other, of two processes in turn, has the same number
    #[arg(long)]
    reused_threads: bool,
}

/// A number of bytes with an optional suffix.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return Err(format!("unknown suffix {suffix:?}")),
    };
    let number: u64 = number.parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

impl Arguments {
    fn config(&self) -> Result<Config, Box<dyn Error>> {
        let layout = |name: &String| {
            Layout::ALL.iter().find(|(other, _)| other == name).map(|(_, layout)| *layout)
        };
        let mut config = Config {
            seed: self.seed,
            records: self.records.unwrap_or(100_000),
            layouts: self.layouts.iter().filter_map(layout).collect(),
            cpus: self.cpus,
            seconds: self.seconds,
            form: match self.form {
                _ if self.to_stdout() => Form::Stream,
                FormName::File => Form::File,
                FormName::Folder => Form::Folder,
                FormName::Stream => Form::Stream,
            },
            endian: if self.big_endian { Endian::Big } else { Endian::Little },
            timeless: self.timeless,
            compression: match self.zstd.as_deref() {
                None => None,
                Some("81") => Some(Compression::Zstd81),
                Some(_) => Some(Compression::Zstd83),
            },
            source: match self.source {
                SourceName::Spe => Source::Spe,
                SourceName::Samples => Source::Samples,
            },
            folios: self.folios,
            scenario: Kind::ALL
                .iter()
                .find(|(name, _)| *name == self.scenario)
                .map_or_else(Kind::default, |kind| kind.1),
            damage: self.damage,
            attr_size: self.attr_size,
            info_version: self.info_version,
            piece_size: usize::try_from(self.piece_size)?,
            cut_anywhere: self.cut_anywhere,
            not_memory: self.not_memory,
            no_physical_address: self.no_pa,
            guests: self.guests,
            reused_threads: self.reused_threads,
            without_pages: self.truth.is_none(),
        };
        config.check()?;
        if let Some(size) = self.size {
            config.records = size / mean_record_bytes(&config);
        }
        Ok(config)
    }

    fn to_stdout(&self) -> bool {
        self.output == Path::new("-")
    }
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    let file = File::create(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

/// `PREFIX` with something behind it; prefixes may have dots.
fn beside(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn run(arguments: &Arguments) -> Result<Truth, Box<dyn Error>> {
    let config = arguments.config()?;
    let mut rows = match &arguments.truth {
        Some(prefix) if arguments.truth_records => Some(create(&beside(prefix, ".records.tsv"))?),
        _ => None,
    };
    if let Some(rows) = &mut rows {
        writeln!(rows, "{RECORDS_HEADER}")?;
    }
    let lines = rows.as_mut().map(|rows| rows as &mut dyn Write);
    let truth = match config.form {
        Form::File => tracegen::write_file(&config, &mut create(&arguments.output)?, lines)?,
        Form::Folder => tracegen::write_folder(&config, &arguments.output, lines)?,
        Form::Stream if arguments.to_stdout() => tracegen::write_stream(
            &config,
            &mut BufWriter::with_capacity(1 << 20, io::stdout().lock()),
            lines,
        )?,
        Form::Stream => tracegen::write_stream(&config, &mut create(&arguments.output)?, lines)?,
    };
    if let Some(rows) = &mut rows {
        rows.flush()?;
    }
    if let Some(prefix) = &arguments.truth {
        let mut counts = create(&beside(prefix, ".pfncounts.txt"))?;
        truth.write_counts(&mut counts)?;
        counts.flush()?;
        let mut ledger = create(&beside(prefix, ".ledger.json"))?;
        truth.write_ledger(&mut ledger)?;
        ledger.flush()?;
    }
    Ok(truth)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(truth) => {
            let ledger = &truth.ledger;
            let pages = match truth.without_pages {
                true => String::new(),
                false => format!(" on {} pages of {} folios", truth.counts.len(), truth.folios()),
            };
            eprintln!(
                "{} records, {} counted{pages}, {} bytes of AUX data",
                ledger.records, ledger.counted, ledger.aux_bytes,
            );
            ExitCode::SUCCESS
        }
        // The reader has seen enough.
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::InvalidInput) =>
        {
            Arguments::command().error(clap::error::ErrorKind::ValueValidation, error).exit()
        }
        Err(error) => {
            eprintln!("tracegen: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", 0),
            ("7", 7),
            ("64k", 65_536),
            ("256MiB", 256 << 20),
            ("4GiB", 4 << 30),
            ("1G", 1 << 30),
        ];
        for (text, want) in cases {
            assert_eq!(size(text), Ok(want), "{text}");
        }
        assert!(size("x").is_err());
        assert!(size("5 apples").is_err());
        assert!(size("99999999999T").is_err());
    }
}
