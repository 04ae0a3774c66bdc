//! AMD instruction-based sampling of ops: registers -> what an access is not told by the kernel.
//!
//! The kernel copies the registers of an op into the RAW field of its sample. They hold what the
//! other fields hold, and more: a physical address that the hardware took at the access, also
//! where nobody asked for PHYS_ADDR (`perf record -R -e ibs_op//`).

mod data_source;
mod op;
mod tally;
mod told;

pub use data_source::data_source;
pub use op::{Address, Caps, Control, Data2, Data3, Model, Op};
pub use tally::Tally;
