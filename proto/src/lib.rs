//! The gRPC interface `folioscope.v1`: messages, client and server, made from
//! `folioscope/v1/heatmap.proto`.
//!
//! What is made is committed, so that building needs no code generator. After a change of the
//! `.proto` file, `UPDATE_GEN=1 cargo test -p proto` makes it anew.
#![forbid(unsafe_code)]

/// Version 1 of the interface.
#[allow(missing_docs, reason = "modules that the generator makes have no comments")]
#[allow(clippy::all, clippy::pedantic, reason = "generated")]
#[rustfmt::skip]
#[path = "gen/folioscope.v1.rs"]
pub mod v1;

mod words;

/// The interface's description, a `FileDescriptorSet`, as server reflection gives it out.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/folioscope.v1.bin");
