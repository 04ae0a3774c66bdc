//! Memory-access samples out of `perf.data`: what the hardware wrote, as accesses.
//!
//! ```text
//! bytes -> packets -> records -> accesses        + a ledger of every byte and record
//! input/   spe/packet  spe/record  access         ledger
//!          intel_pt/packet  intel_pt/block
//!          perf/record perf/sample
//!                      pebs/
//! ```
//!
//! Inputs are files, folders and streams as `perf record` writes them, with AUX data of Arm's
//! Statistical Profiling Extension or Intel Processor Trace, or with sample records that have
//! addresses, or registers of AMD's IBS ([`ibs`]); or raw buffers of Intel's PEBS ([`pebs`]).
//! Recordings are decoded where they lie: a file in its mapping, a stream in its buffer; and
//! [`live`] takes them from the kernel's rings as they are made. Only the modules in `input/` and
//! `live/` do IO, and [`page_map`], which finds physical addresses for accesses that lack them if
//! the caller asks for it; everything else takes slices. No input, however damaged, makes a panic,
//! an endless loop or unbounded memory: damage is counted in the [`Ledger`].
//!
//! The short way in is [`for_each_access`]:
//!
//! ```no_run
//! let mut stores = 0;
//! decoder::for_each_access("perf.data", |access| {
//!     stores += u64::from(access.operation.direction == decoder::Direction::Store);
//! })?;
//! # Ok::<(), decoder::Error>(())
//! ```
//!
//! Bytes of Arm SPE as they lie in a buffer, without any container, are packets and records:
//!
//! ```
//! use decoder::spe::{Decoder, Packets};
//!
//! // A PC of 0x401000 at EL0 and an End packet.
//! let bytes = [0xb0, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x01];
//! assert_eq!(Packets::new(&bytes).count(), 2);
//! let mut decoder = Decoder::default();
//! decoder.feed(&bytes, 0, &mut |record, end| {
//!     assert_eq!((record.pc(), end), (Some(0x80 << 56 | 0x40_1000), bytes.len()));
//! });
//! ```
//!
//! Who wants several threads, or less of each access and faster, brings a [`Sink`]:
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
//! `include/uapi/linux/perf_event.h` and `tools/perf` for the container, and its
//! `arch/x86/events` with the makers' manuals for IBS and PEBS.
#![deny(unsafe_code)]

mod access;
mod addr;
mod aux_data;
mod cost;
mod cursor;
mod error;
pub mod ibs;
mod input;
pub mod intel_pt;
mod ledger;
pub mod live;
mod options;
pub mod page_map;
pub mod pebs;
pub mod perf;
mod raw;
mod read;
mod recording;
mod sink;
pub mod spe;

pub use access::{
    Access, AccessFlags, DataSource, Direction, EventIndex, Operation, Origin, Source, Tlb,
    UnknownDataSource,
};
pub use addr::{FOLIO_SHIFT, FolioPfn, PAGE_SHIFT, PAGES_PER_FOLIO, Pfn, PhysAddr, VirtAddr};
pub use aux_data::byte_account::{ByteAccount, FedBytes, Timed};
pub use aux_data::chunk::{AuxFormat, Chunk, Continuity};
pub use aux_data::queue_name::QueueName;
pub use cost::steps_taken;
pub use cursor::ByteOrder;
pub use error::{Error, Position, Problem, TraceOffset};
pub use ledger::{Ledger, LedgerError};
pub use options::{Grain, MAX_SPOOL, Options};
pub use raw::Raw;
pub use read::each::for_each_access;
pub use read::open::{Input, is_packed};
pub use read::raw_buffers::decode_raw;
pub use read::tasks::runs_guests;
pub use read::{decode_bytes, decode_stream};
pub use recording::{Incomplete, InputKind, Recording, TimeBase};
pub use sink::{Batch, Detail, Shard, Sink, Touch};
