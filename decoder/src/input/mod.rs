//! Where the bytes of recordings come from: with `live`, the only modules that do IO.

mod folder;
mod mapping;
mod stream;

pub(crate) use folder::data_files;
pub(crate) use mapping::Mapping;
pub(crate) use stream::Stream;
