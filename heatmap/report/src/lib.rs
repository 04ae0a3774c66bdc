//! What the program prints: one writer for each format, and pictures.
//!
//! Pure: a model goes in ([`heatmap::Report`], [`heatmap::Decision`]), bytes come out. Nothing here opens a file, knows a
//! terminal or computes a verdict.
//!
//! | what | text | JSON | CSV | Parquet |
//! | --- | --- | --- | --- | --- |
//! | [`heatmap::Report`] | [`text::report`] | [`json::report`] | [`csv::report`] | `parquet::report` |
//! | pages | [`pages::write`] | | | |
//! | records | [`RecordWriter`] | | | |
//! | decisions | [`DecisionWriter`] | | | |
//!
//! The lists are written as they come, in bounded memory, and buffer on their own: give
//! them the bare file or standard output.

#![forbid(unsafe_code)]

mod digits;
mod format;
mod hottest;
mod lines;
mod rows;
mod style;
mod write;

pub mod csv;
pub mod decisions;
pub mod heat_line;
pub mod json;
pub mod layout;
pub mod pages;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod picture;
pub mod records;
pub mod schema;
pub mod text;

pub use decisions::DecisionWriter;
pub use format::{Format, UnknownFormat};
pub use records::RecordWriter;
pub use rows::RecordRow;
pub use style::Style;
pub use write::{write, write_rows};

#[cfg(test)]
mod examples;
#[cfg(test)]
mod fields;
