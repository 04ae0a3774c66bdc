//! The report as one JSON object, and the pieces of JSON lines written by hand.

use std::io;

use heatmap::Report;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::lines::any_byte;
use super::{digits, schema};

/// Writes the report as one object: fields and rows of lists each on a line of their own,
/// so that it can be read, searched and compared line by line.
///
/// # Errors
/// Those of `out`.
pub fn report(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        schema: &'static str,
        #[serde(flatten)]
        report: &'a Report,
    }
    let mut out = io::BufWriter::new(out);
    let document = Document { schema: schema::REPORT, report };
    document.serialize(&mut Serializer::with_formatter(&mut out, Shallow::default()))?;
    io::Write::write_all(&mut out, b"\n")?;
    io::Write::flush(&mut out)
}

/// Breaks lines down to the second level and no deeper.
#[derive(Default)]
struct Shallow {
    /// Objects and arrays that are open.
    depth: usize,
    /// Whether the innermost one has an element; an empty one stays on its line.
    filled: bool,
}

impl Shallow {
    fn open<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled && self.depth < 2 {
            self.new_line(out)?;
        }
        self.filled = true;
        out.write_all(bracket)
    }

    fn separate<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        if self.depth <= 2 {
            self.new_line(out)
        } else if !first {
            out.write_all(b" ")
        } else {
            Ok(())
        }
    }

    fn new_line<W: ?Sized + io::Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(b"  "))
    }
}

impl Formatter for Shallow {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(out, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

/// Appends a number, or `null`.
#[inline]
pub(super) fn number(line: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => digits::decimal(line, value),
        None => line.extend_from_slice(b"null"),
    }
}

/// Appends an address as `"0x..."`, or `null`.
#[inline]
pub(super) fn address(line: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => {
            line.push(b'"');
            digits::hex(line, value);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
}

/// Appends a string with its quotes, or `null`.
#[inline]
pub(super) fn string(line: &mut Vec<u8>, value: Option<&str>) {
    let Some(value) = value else {
        return line.extend_from_slice(b"null");
    };
    line.push(b'"');
    if any_byte(value, |byte| (byte < b' ') | (byte == b'"') | (byte == b'\\')) {
        escaped(line, value);
    } else {
        line.extend_from_slice(value.as_bytes());
    }
    line.push(b'"');
}

#[cold]
fn escaped(line: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..b' ' => {
                let hex = b"0123456789abcdef";
                line.extend_from_slice(b"\\u00");
                line.extend([hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
                continue;
            }
            _ => {
                line.push(byte);
                continue;
            }
        };
        line.extend([b'\\', short]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::examples;
    use super::*;

    #[test]
    fn the_object_is_the_contract_s() {
        let mut out = Vec::new();
        report(&examples::small(), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, include_str!("examples/small.json"));
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["top"][0]["accesses"], u64::MAX, "exact to 64 bits");
    }

    #[test]
    fn more_than_one_source_splits_the_ledger() {
        let mut model = examples::small();
        let json = |model: &Report| {
            let mut out = Vec::new();
            report(model, &mut out).unwrap();
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        assert!(json(&model).get("records_by_source").is_none());
        let mut second = *model.ledger;
        second.records = 77;
        model.records_by_source =
            vec![("arm_spe".to_owned(), *model.ledger), ("sample".to_owned(), second)];
        let value = json(&model);
        assert_eq!(value["records_by_source"]["sample"]["records"], 77);
        let mut whole = value["ledger"].clone();
        let list = whole.as_object_mut().unwrap().remove("recording_incomplete");
        assert_eq!(list, Some(serde_json::json!([])));
        assert_eq!(value["records_by_source"]["arm_spe"], whole);
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does_it() {
        let every_byte: String = (0..=0x7f).map(char::from).collect();
        for value in ["", "l1", "a\"b\\c", "\u{1f525} \u{7f}\u{9b}\u{2028}", &every_byte] {
            let mut line = Vec::new();
            string(&mut line, Some(value));
            assert_eq!(line, serde_json::to_vec(value).unwrap(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_string_is_escaped_as_serde_json_does_it(value in any::<String>()) {
            let mut line = Vec::new();
            string(&mut line, Some(&value));
            prop_assert_eq!(line, serde_json::to_vec(&value).unwrap());
        }
    }
}
