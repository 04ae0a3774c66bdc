//! The rows of a report as CSV, and the pieces of CSV lines: RFC 4180 quoting, lines that end
//! in a line feed, empty is absent.

use std::borrow::Borrow;
use std::io;

use heatmap::{Evidence, TopFolio, Verdict};

use super::digits;
use super::lines::{Lines, any_byte};

/// Columns of the report's CSV and Parquet: the names of the JSON rows.
pub const TOP_COLUMNS: [&str; 22] = [
    "folio_pfn",
    "accesses",
    "loads",
    "stores",
    "atomics",
    "unknown_op",
    "touched_pages",
    "peak",
    "hot_chunks",
    "chunks",
    "hot_percent",
    "verdict",
    "mapping_order_max",
    "backing",
    "first_ns",
    "last_ns",
    "visits",
    "cold_visits",
    "cold_share",
    "proposable",
    "steady",
    "left_out",
];

/// Writes the rows of a report; PFNs as in JSON, `0x...`.
///
/// # Errors
/// Those of `out`.
pub fn report<F: Borrow<TopFolio>>(
    rows: impl IntoIterator<Item = F>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut lines = Lines::new(out, &header(&TOP_COLUMNS));
    for row in rows {
        let folio = row.borrow();
        lines.line(|line| {
            digits::hex(line, folio.folio_pfn.get());
            for value in [
                folio.accesses,
                folio.loads,
                folio.stores,
                folio.atomics,
                folio.unknown_op,
                folio.touched_pages.into(),
                folio.peak,
                folio.hot_chunks.into(),
                folio.chunks.into(),
                folio.hot_percent.into(),
            ] {
                line.push(b',');
                digits::decimal(line, value);
            }
            line.push(b',');
            field(line, folio.verdict.map_or("", Verdict::as_str));
            line.push(b',');
            number(line, folio.mapping_order_max.map(u64::from));
            line.push(b',');
            field(line, folio.backing.name());
            line.push(b',');
            number(line, folio.first_ns);
            line.push(b',');
            number(line, folio.last_ns);
            evidence(line, &folio.evidence);
            line.push(b'\n');
        })?;
    }
    lines.finish()
}

/// Appends the columns of what a verdict rests on, each behind a comma.
pub(super) fn evidence(line: &mut Vec<u8>, evidence: &Evidence) {
    let Evidence { visits, cold_visits, cold_share, proposable, steady, left_out } = *evidence;
    for value in [Some(visits), Some(cold_visits), cold_share.map(u64::from)] {
        line.push(b',');
        number(line, value);
    }
    for value in [Some(proposable), steady, Some(left_out)] {
        let name = value.map_or("", |value| if value { ",true" } else { ",false" });
        line.extend_from_slice(if name.is_empty() { b"," } else { name.as_bytes() });
    }
}

/// The header line.
pub(super) fn header(columns: &[&str]) -> String {
    columns.join(",") + "\n"
}

/// Appends a number, or nothing.
#[inline]
pub(super) fn number(line: &mut Vec<u8>, value: Option<u64>) {
    if let Some(value) = value {
        digits::decimal(line, value);
    }
}

/// Appends an address as `0x...`, or nothing.
#[inline]
pub(super) fn address(line: &mut Vec<u8>, value: Option<u64>) {
    if let Some(value) = value {
        digits::hex(line, value);
    }
}

/// Appends a string, in quotes where it needs them.
#[inline]
pub(super) fn field(line: &mut Vec<u8>, value: &str) {
    if !any_byte(value, |byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return line.extend_from_slice(value.as_bytes());
    }
    line.push(b'"');
    for byte in value.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    #[test]
    fn rows_of_the_top_and_empty_for_absent() {
        let mut out = Vec::new();
        report(&examples::small().top, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "folio_pfn,accesses,loads,stores,atomics,unknown_op,touched_pages,peak,hot_chunks,\
             chunks,hot_percent,verdict,mapping_order_max,backing,first_ns,last_ns,visits,\
             cold_visits,cold_share,proposable,steady,left_out\n\
             0x820db800,18446744073709551615,18446744073709551605,5,3,2,3,20000,3,512,0,sparse,\
             9,thp,1000000000,2500000000,18000000000000000000,1,0,true,,false\n\
             0x0,7,7,0,0,0,4,3,4,512,0,undersampled,,unknown,,,5,4,80,false,,false\n"
        );
    }

    #[test]
    fn columns_are_the_keys_of_the_json_rows() {
        let folio = examples::small().top.remove(0);
        // serde_json's own map sorts its keys; the text keeps their order.
        let text = serde_json::to_string(&folio).unwrap();
        let keys: Vec<_> = text.split('"').filter(|part| TOP_COLUMNS.contains(part)).collect();
        assert_eq!(keys, TOP_COLUMNS);
        let map: serde_json::Map<_, _> = serde_json::from_str(&text).unwrap();
        assert_eq!(map.len(), TOP_COLUMNS.len());
    }

    #[test]
    fn quotes_only_where_rfc_4180_asks_for_them() {
        let cases = [
            ("", ""),
            ("l1", "l1"),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("cr\r", "\"cr\r\""),
        ];
        for (value, want) in cases {
            let mut line = Vec::new();
            field(&mut line, value);
            assert_eq!(String::from_utf8(line).unwrap(), want);
        }
    }
}
