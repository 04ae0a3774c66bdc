//! The container: perf.data as a file, a folder or a stream
//! (`tools/perf/Documentation/perf.data-file-format.txt` and `include/uapi/linux/perf_event.h` of Linux).

pub mod attr;
pub mod compress;
pub mod feature;
pub mod record;
pub mod sample;
pub mod tool;
pub mod writer;

pub use attr::{Attr, Event};
pub use compress::Compression;
pub use record::{Record, Trailer};
pub use sample::Sample;
pub use tool::{Auxtrace, AuxtraceInfo, TimeConv};
pub use writer::{Finished, Ring, Settings, Writer};
