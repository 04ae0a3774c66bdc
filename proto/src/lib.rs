//! The gRPC interface `folioscope.v1` and its generated code.
//!
//! It is not built yet: this crate keeps its place in the workspace and holds no code.
#![forbid(unsafe_code)]
