//! Where the bytes of recordings come from: with `live`, the only modules that do IO.

mod folder;
mod incoming;
mod mapping;
mod packed;
mod spool;
mod stream;

pub(crate) use folder::{check_file, data_files};
pub(crate) use incoming::Incoming;
pub(crate) use mapping::Mapping;
pub(crate) use packed::Packing;
pub(crate) use stream::Stream;
