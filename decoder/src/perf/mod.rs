//! The container that perf writes: headers, attributes, records.

pub(crate) mod attr;
pub(crate) mod auxtrace;
pub(crate) mod clock;
pub(crate) mod compressed;
mod cpus;
mod data_src;
pub(crate) mod event;
pub(crate) mod feature;
pub(crate) mod header;
mod owners;
mod queue_key;
pub(crate) mod record;
pub(crate) mod sample;
pub(crate) mod sideband;
mod task;

pub use attr::{Attr, AttrFlags, ReadFormat, SampleType};
pub use auxtrace::{Aux, AuxFlags, Auxtrace, SpeCpu, SpeInfo, Tracer};
pub use clock::Clock;
pub use compressed::{Broken, Decompressor};
pub use cpus::CpuSet;
pub use data_src::DataSrc;
pub use event::{Event, EventTable, Opened, SamplingRate, never_has_address};
pub(crate) use feature::processor;
pub use feature::{EventDescription, Features};
pub use header::{FileHeader, Header, Section};
pub use owners::Sign;
pub use queue_key::QueueKey;
pub use record::{Next, Record};
pub use sample::{Sample, Trailer};
pub use sideband::{AuxOwner, Learned, SideBand};
pub use task::Task;
