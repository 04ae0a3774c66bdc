//! Memory-access samples out of `perf.data`: what the hardware wrote, as accesses.
//!
//! ```text
//! bytes -> packets -> records -> accesses        + a ledger of every byte and record
//! input/   spe/packet  spe/record  access         ledger
//!          perf/record perf/sample
//! ```
//!
//! Inputs are files, folders and streams as `perf record` writes them, with AUX data of Arm's
//! Statistical Profiling Extension or with sample records that have addresses. They are decoded
//! where they lie: a file in its mapping, a stream in its buffer; and [`live`] takes them from the
//! kernel's rings as they are made. The modules in `input/` and `live/` are the only ones that do
//! IO; everything else takes slices. No input, however damaged, makes a panic,
//! an endless loop or unbounded memory: damage is counted in the [`Ledger`].
//!
//! The caller brings a [`Sink`] that takes the accesses:
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use decoder::{Access, Options, Origin, Shard, Sink};
//!
//! #[derive(Default)]
//! struct Count(u64);
//!
//! impl Sink for Count {
//!     fn access(&mut self, access: &Access) {
//!         self.0 += u64::from(access.paddr.is_some());
//!     }
//!     fn other(&mut self, _: &Origin) {}
//! }
//!
//! // Each thread counts on its own.
//! impl Shard for Count {
//!     fn split(&self) -> Self {
//!         Self::default()
//!     }
//!     fn merge(&mut self, other: Self) {
//!         self.0 += other.0;
//!     }
//! }
//!
//! let mut count = Count::default();
//! let stream = [&b"PERFILE2"[..], &16u64.to_le_bytes()].concat();
//! let options = Options::new(NonZeroUsize::MIN);
//! let recording = decoder::decode_stream(&stream[..], 0, &options, &mut count)?;
//! assert_eq!((count.0, recording.ledger.aux_bytes), (0, 0));
//! # Ok::<(), decoder::Error>(())
//! ```
//!
//! References: Arm Architecture Reference Manual DDI 0487 for SPE; Linux'
//! `include/uapi/linux/perf_event.h` and `tools/perf` for the container.
#![deny(unsafe_code)]

mod access;
mod addr;
mod channel;
mod crew;
mod cursor;
mod decode;
mod error;
mod input;
mod ledger;
pub mod live;
pub mod perf;
mod queues;
mod session;
pub mod spe;
mod walk;

pub use access::{
    Access, AccessFlags, Batch, DataSource, Detail, Direction, EventIndex, Operation, Origin,
    Shard, Sink, Source, Touch, UnknownDataSource,
};
pub use addr::{FOLIO_SHIFT, FolioPfn, PAGE_SHIFT, PAGES_PER_FOLIO, Pfn, PhysAddr, VirtAddr};
pub use cursor::ByteOrder;
pub use decode::{Grain, Input, InputKind, Options, Recording, decode_bytes, decode_stream};
pub use error::{Error, Position, Problem, TraceOffset};
pub use ledger::{Ledger, LedgerError};
pub use session::TimeBase;
