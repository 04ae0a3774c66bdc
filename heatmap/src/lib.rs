//! Heat of physical memory: sampled accesses, counted per 4 KiB page of every 2 MiB block.
//!
//! ```text
//! accesses -> ingest -> store of counters -> filter, verdict -> summary -> report
//!             query     folio, counters      backing, facts               text json csv parquet
//! ```
//!
//! Only `facts.rs` and what it asks (`parts.rs`, `ibs_filters.rs`, `record_commands.rs`) know which
//! hardware made a recording, to say what that means for its reader; counting does not. No number leaves without the
//! account of what was lost: [`decoder::Ledger`].
#![forbid(unsafe_code)]

mod backing;
mod budget;
mod counters;
mod decision;
mod decode;
mod distribution;
pub mod facts;
mod filter;
mod folio;
mod ibs_filters;
mod in_turn;
pub mod incomplete;
mod index;
mod ingest;
mod judging;
mod latency;
mod left_out;
pub mod live;
mod marked_batch;
mod nothing_counted;
mod page_size;
mod parts;
mod perf_arguments;
pub mod query;
mod recent;
mod record_commands;
mod report;
mod slab;
mod store;
mod stripes;
mod summary;
mod verdict;
mod visits;

pub use backing::{Backing, Mapping};
pub use counters::Counters;
pub use decision::Decision;
pub use decode::{Countable, decode};
pub use distribution::{TenPercentBuckets, touched_percent};
pub use facts::Facts;
pub use filter::{
    ChunkOrder, HotBitmap, HotFraction, HotThreshold, InvalidOrder, InvalidThreshold, hot_fraction,
};
pub use folio::{Block, Directions, Folio, LastSeen, Times};
pub use ingest::{Counter, Coverage, Length};
pub use judging::{
    BlockEvidence, Conditions, Finding, InvalidColdShare, MaxColdShare, cold_share, proposable,
};
pub use latency::Latencies;
pub use marked_batch::MarkedBatch;
pub use nothing_counted::nothing_counted;
pub use page_size::{BadPageSize, PageSize};
pub use parts::CORE_UNITS;
pub use query::{BadValue, Duration, Filters, NumberList, PfnRange, Size, TimeRange};
pub use record_commands::{RECORD_AMD, RECORD_HYBRID, RECORD_INTEL, RECORD_SPE, precise_events};
pub use report::{
    CpuCoverage, Evidence, InputInfo, InputKind, LatencySummary, Report, RunLedger, TimeBase,
    TopFolio, VerdictCounts,
};
pub use store::Store;
pub use summary::{Summary, Wanted, lossy};
pub use verdict::{Judge, NOT_JUDGED, SIGNIFICANCE, Span, Verdict, p_value};
