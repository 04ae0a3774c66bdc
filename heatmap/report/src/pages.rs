//! Every counted page: its PFN and its count.

use std::io;

use decoder::Pfn;

use super::format::Format;
use super::lines::Lines;
use super::schema::PAGE_COLUMNS;
use super::{csv, digits};

/// Writes the pages in the order given. Text: `0xPFN COUNT`, lower-case hexadecimal, one
/// space.
///
/// # Errors
/// Those of `out`; [`io::ErrorKind::Unsupported`] for Parquet in a program built without it.
pub fn write<W: io::Write + Send>(
    format: Format,
    pages: impl IntoIterator<Item = (Pfn, u32)>,
    out: W,
) -> io::Result<()> {
    match format {
        Format::Text => write_lines(Lines::new(out, ""), pages, |line, pfn, count| {
            digits::hex(line, pfn);
            line.push(b' ');
            digits::decimal(line, count);
            line.push(b'\n');
        }),
        Format::Json => write_lines(Lines::new(out, ""), pages, |line, pfn, count| {
            line.extend_from_slice(b"{\"pfn\":\"");
            digits::hex(line, pfn);
            line.extend_from_slice(b"\",\"count\":");
            digits::decimal(line, count);
            line.extend_from_slice(b"}\n");
        }),
        Format::Csv => {
            write_lines(Lines::new(out, &csv::header(&PAGE_COLUMNS)), pages, |line, pfn, count| {
                digits::hex(line, pfn);
                line.push(b',');
                digits::decimal(line, count);
                line.push(b'\n');
            })
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::pages(pages, out),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Err(super::format::parquet_is_absent()),
    }
}

fn write_lines<W: io::Write>(
    mut lines: Lines<W>,
    pages: impl IntoIterator<Item = (Pfn, u32)>,
    append: impl Fn(&mut Vec<u8>, u64, u64),
) -> io::Result<()> {
    for (pfn, count) in pages {
        lines.line(|line| append(line, pfn.get(), count.into()))?;
    }
    lines.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, pages: &[(u64, u32)]) -> String {
        let pages = pages.iter().map(|&(pfn, count)| (Pfn::new_truncate(pfn), count));
        let mut out = Vec::new();
        write(format, pages, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_has_its_line() {
        let pages = [(0, 1), (0x8_20db_8abc, u32::MAX)];
        let cases = [
            (Format::Text, "0x0 1\n0x820db8abc 4294967295\n"),
            (
                Format::Json,
                "{\"pfn\":\"0x0\",\"count\":1}\n{\"pfn\":\"0x820db8abc\",\"count\":4294967295}\n",
            ),
            (Format::Csv, "pfn,count\n0x0,1\n0x820db8abc,4294967295\n"),
        ];
        for (format, want) in cases {
            assert_eq!(written(format, &pages), want, "{format}");
        }
    }

    #[test]
    fn no_pages_keep_the_format() {
        assert_eq!(written(Format::Text, &[]), "");
        assert_eq!(written(Format::Json, &[]), "");
        assert_eq!(written(Format::Csv, &[]), "pfn,count\n");
    }
}
