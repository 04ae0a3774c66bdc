//! Options that several commands share. Their values are parsed before anything is read.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use decoder::{DataSource, Raw, pebs};
use heatmap::MaxColdShare;
use heatmap::PageSize;
use heatmap::Wanted;
use heatmap::query::{Duration, Filters, MidrEl1, NumberList, PfnRange, Size, TimeRange};
use heatmap::{ChunkOrder, HotThreshold};
use report::Format;

#[derive(Debug, Args)]
pub(super) struct InputOptions {
    /// perf.data files or folders, or files compressed with gzip or zstd; `-` is standard input.
    /// Several add up
    #[arg(value_name = "INPUT", default_value = "perf.data")]
    pub(super) inputs: Vec<PathBuf>,
    /// Decoding threads [default: the cores this process may use]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,
    /// Budget of the counters, for example 512MiB [default: half of the memory this process may
    /// use]
    #[arg(long, value_name = "SIZE")]
    pub(super) max_memory: Option<Size>,
    /// Look up accesses that have a virtual address only in a page map saved while they were
    /// recorded: lines PID VADDR PFN [COUNT], the addresses and frames in hexadecimal
    #[arg(long, value_name = "FILE")]
    pub(super) page_map: Option<PathBuf>,
    /// Bytes that may be saved, below TMPDIR, of a perf.data file that comes through a pipe or is
    /// compressed
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub(super) max_spool: Size,
    /// Exit with status 3 if anything was lost, or nothing was counted
    #[arg(long)]
    pub(super) strict: bool,
}

/// Of commands that count.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RawSpeOptions {
    /// INPUT is no recording but the bytes of one buffer of Arm SPE. They tell neither CPU nor
    /// process, and times in ticks
    #[arg(long, conflicts_with = "page_map")]
    raw_spe: bool,
    /// Of --raw-spe: MIDR_EL1 of the CPU, which tells what its data sources mean
    #[arg(long, value_name = "0x...", requires = "raw_spe")]
    midr: Option<MidrEl1>,
}

impl RawSpeOptions {
    /// What INPUT is, if it has no container.
    pub(super) fn raw(self) -> Option<Raw> {
        self.raw_spe.then_some(Raw::ArmSpe(self.midr.map(|MidrEl1(midr)| midr)))
    }
}

/// Of commands that list.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RawOptions {
    #[command(flatten)]
    spe: RawSpeOptions,
    /// INPUT is no recording but the bytes of a PEBS buffer, from its base to its index; its
    /// format is 0 to 6, or arch, which is 15. Such buffers have virtual addresses only
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["page_map", "raw_spe"])]
    raw_pebs: Option<pebs::Format>,
    /// The processor that wrote the PEBS buffer, FAMILY,MODEL in decimal, such as 6,143; with /core
    /// or /atom behind where it has both: its table says where the data of loads came from
    #[arg(long, value_name = "MODEL", requires = "raw_pebs")]
    cpu_model: Option<pebs::Core>,
}

impl RawOptions {
    /// What INPUT is, if it has no container.
    pub(super) fn raw(self) -> Option<Raw> {
        let pebs = self.raw_pebs.map(|format| Raw::Pebs(format, self.cpu_model));
        pebs.or_else(|| self.spe.raw())
    }
}

#[derive(Debug, Args)]
pub(super) struct OutputOptions {
    /// Format of the output; JSON of lists is one object a line
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
    /// Write to a file instead of standard output; needed for parquet
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    next_help_heading = "Filters (repeated values are alternatives, different filters must all hold)"
)]
pub(super) struct FilterOptions {
    /// Keep loads and atomics; with --stores either
    #[arg(long)]
    loads: bool,
    /// Keep stores and atomics; with --loads either
    #[arg(long)]
    stores: bool,
    /// Keep accesses of at least N cycles
    #[arg(long, value_name = "N")]
    min_latency: Option<u32>,
    /// Keep these processes: 1,4-7
    #[arg(long, value_name = "LIST")]
    pid: Vec<NumberList>,
    /// Keep these threads
    #[arg(long, value_name = "LIST")]
    tid: Vec<NumberList>,
    /// Keep these CPUs
    #[arg(long, value_name = "LIST")]
    cpu: Vec<NumberList>,
    /// Keep accesses whose data came from there: l1 lfb l2 l3 peer-core cluster peer-cluster slc
    /// remote-cache dram remote-dram cxl pmem io uncached, or unknown(0xNN)
    #[arg(long, value_name = "NAME")]
    source: Vec<DataSource>,
    /// Keep only this event's samples or AUX data
    #[arg(long, value_name = "NAME")]
    event: Vec<String>,
    /// Keep A <= t < B, in seconds of the trace clock as perf prints them; either may be missing
    #[arg(long, value_name = "A,B")]
    time: Vec<TimeRange>,
    /// Keep these page frames, 0x... or decimal
    #[arg(long, value_name = "A-B")]
    pfn: Vec<PfnRange>,
}

impl FilterOptions {
    pub(super) fn filters(&self) -> Filters {
        let union =
            |lists: &[NumberList]| (!lists.is_empty()).then(|| lists.iter().cloned().collect());
        Filters {
            loads: self.loads,
            stores: self.stores,
            min_latency_cycles: self.min_latency,
            pids: union(&self.pid),
            tids: union(&self.tid),
            cpus: union(&self.cpu),
            sources: self.source.clone(),
            events: self.event.clone(),
            times: self.time.clone(),
            pfns: self.pfn.clone(),
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Judging")]
pub(super) struct JudgeOptions {
    /// Percent of hot chunks below which a block is a candidate for splitting, 0 to 100
    #[arg(long, value_name = "PCT", default_value = "30")]
    hot_threshold: HotThreshold,
    /// Time that the accesses of a sparse block must span, for example 500ms [default: 1s or a
    /// tenth of the recording, the lesser]
    #[arg(long, value_name = "DURATION")]
    min_span: Option<Duration>,
    /// Judge as if nothing had been left out by filters of recording or query
    #[arg(long)]
    assume_complete: bool,
    /// Greatest cold share of a block that is proposed: percent of its visits that lie outside of its
    /// hot chunks, 0 to 100
    #[arg(long, value_name = "PCT", default_value = "20")]
    max_cold_share: MaxColdShare,
    /// The kernel's base page: 4KiB, 16KiB or 64KiB [default: as the recorded kernel release
    /// says, else 4KiB]
    #[arg(long, value_name = "SIZE")]
    page_size: Option<PageSize>,
}

impl JudgeOptions {
    /// `top` 0 stands for all.
    pub(super) fn wanted(&self, order: ChunkOrder, top: usize) -> Wanted {
        Wanted {
            order,
            threshold: self.hot_threshold,
            top: (top > 0).then_some(top),
            min_span_ns: self.min_span.map(|span| span.ns),
            assume_complete: self.assume_complete,
            max_cold_share: self.max_cold_share,
            page_size: self.page_size,
        }
    }
}
