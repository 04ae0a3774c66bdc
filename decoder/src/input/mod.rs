//! Where the bytes of recordings come from: the only modules of this crate that do IO, beside `live`.

mod folder;
mod mapping;
mod stream;

pub(crate) use folder::data_files;
pub(crate) use mapping::Mapping;
pub(crate) use stream::Stream;
