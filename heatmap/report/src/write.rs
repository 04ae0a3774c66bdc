//! A report in any format.

use std::borrow::Borrow;
use std::io;

use heatmap::{Report, TopFolio};

use super::format::Format;
use super::style::Style;
use super::{csv, json, text};

/// Writes the report in any format. `style` is for text only.
///
/// # Errors
/// Those of `out`; [`io::ErrorKind::Unsupported`] for Parquet in a program built without it.
pub fn write<W: io::Write + Send>(
    format: Format,
    report: &Report,
    mut out: W,
    style: Style,
) -> io::Result<()> {
    match format {
        Format::Text => text::report(report, &mut out, style),
        Format::Json => json::report(report, &mut out),
        Format::Csv | Format::Parquet => write_rows(format, report, &report.top, out),
    }
}

/// Writes a report whose rows come one by one, instead of its [`Report::top`], in a format that
/// is a table: CSV, or else Parquet.
///
/// # Errors
/// Those of [`write()`].
pub fn write_rows<W: io::Write + Send, F: Borrow<TopFolio>>(
    format: Format,
    report: &Report,
    rows: impl IntoIterator<Item = F>,
    mut out: W,
) -> io::Result<()> {
    if format == Format::Csv {
        return csv::report(rows, &mut out);
    }
    #[cfg(feature = "parquet")]
    return super::parquet::report(report, rows, out);
    #[cfg(not(feature = "parquet"))]
    {
        let _ = report;
        Err(super::format::parquet_is_absent())
    }
}
