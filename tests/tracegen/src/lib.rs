//! Recordings of memory accesses whose content is known by construction.
//!
//! A test of a decoder needs inputs of which somebody knows what they hold without asking a decoder. This crate writes
//! such inputs: Arm SPE packets (Arm Architecture Reference Manual, DDI 0487, chapter D18), PEBS records in packets of
//! Intel PT, and `PERF_RECORD_SAMPLE` records in the containers of Linux perf, and beside them the truth; and single
//! records of PEBS and IBS. It depends on no crate that reads them, so a mistake in a table cannot cancel out.
//!
//! ```
//! let config = tracegen::Config { records: 1000, ..tracegen::Config::default() };
//! let (bytes, truth) = tracegen::to_bytes(&config)?;
//! assert_eq!(&bytes[..8], b"PERFILE2");
//! assert_eq!(truth.ledger.records, 1000);
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod access;
pub mod bytes;
pub mod config;
pub mod damage;
mod generate;
mod header;
pub mod ibs;
pub mod intel_pt;
mod output;
pub mod pebs;
pub mod perf;
pub mod rings;
pub mod rng;
pub mod scenario;
pub mod spe;
pub mod truth;

pub use config::{Config, Form, Source};
pub use damage::Damage;
pub use generate::mean_record_bytes;
pub use output::{aux_bytes, begin_stream, to_bytes, write_file, write_folder, write_stream};
pub use scenario::Kind;
pub use spe::Layout;
pub use truth::{Ledger, Truth};
