//! Records, one line each, as they come.

use std::io;

use super::format::Format;
use super::lines::{Lines, any_byte};
use super::rows::RecordRow;
use super::schema::RECORD_COLUMNS;
use super::{csv, digits, json};

/// Writes records in one format, in bounded memory. What is still gathered at the end is
/// written by [`RecordWriter::finish`] only.
pub struct RecordWriter<W: io::Write + Send>(Form<W>);

enum Form<W: io::Write + Send> {
    Text(Lines<W>),
    Json(Lines<W>),
    Csv(Lines<W>),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::Records<W>>),
}

impl<W: io::Write + Send> RecordWriter<W> {
    /// Starts a list in `format`.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::Unsupported`] for Parquet in a program built
    /// without it.
    pub fn new(format: Format, out: W) -> io::Result<Self> {
        Ok(Self(match format {
            Format::Text => {
                Form::Text(Lines::new(out, &format!("# {}\n", RECORD_COLUMNS.join("\t"))))
            }
            Format::Json => Form::Json(Lines::new(out, "")),
            Format::Csv => Form::Csv(Lines::new(out, &csv::header(&RECORD_COLUMNS))),
            #[cfg(feature = "parquet")]
            Format::Parquet => Form::Parquet(Box::new(super::parquet::Records::new(out)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(super::format::parquet_is_absent()),
        }))
    }

    /// Writes one record.
    ///
    /// # Errors
    /// Those of the output.
    #[inline]
    pub fn write(&mut self, row: &RecordRow<'_>) -> io::Result<()> {
        match &mut self.0 {
            Form::Text(lines) => lines.line(|line| text_line(line, row)),
            Form::Json(lines) => lines.line(|line| json_line(line, row)),
            Form::Csv(lines) => lines.line(|line| csv_line(line, row)),
            #[cfg(feature = "parquet")]
            Form::Parquet(records) => records.write(row),
        }
    }

    /// Writes what is still gathered, and the end of the file where the format has one.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Form::Text(lines) | Form::Json(lines) | Form::Csv(lines) => lines.finish(),
            #[cfg(feature = "parquet")]
            Form::Parquet(records) => records.finish(),
        }
    }
}

fn text_line(line: &mut Vec<u8>, row: &RecordRow<'_>) {
    text_number(line, row.time_ns);
    for number in [row.cpu, row.pid, row.tid] {
        line.push(b'\t');
        text_number(line, number.map(u64::from));
    }
    line.push(b'\t');
    text_name(line, row.event.unwrap_or_default());
    line.push(b'\t');
    text_name(line, row.op);
    for address in [row.ip, row.vaddr, row.paddr] {
        line.push(b'\t');
        match address {
            Some(address) => digits::hex(line, address),
            None => line.push(b'-'),
        }
    }
    line.push(b'\t');
    text_number(line, row.latency.map(u64::from));
    line.push(b'\t');
    text_name(line, row.source.unwrap_or_default());
    line.push(b'\t');
    text_name(line, row.flags);
    line.push(b'\t');
    text_name(line, row.queue);
    line.push(b'\t');
    text_name(line, row.tlb.unwrap_or_default());
    for number in row.costs() {
        line.push(b'\t');
        text_number(line, number);
    }
    line.push(b'\t');
    line.extend_from_slice(truth(row.guest));
    line.push(b'\n');
}

#[inline]
fn text_number(line: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => digits::decimal(line, value),
        None => line.push(b'-'),
    }
}

/// A name as one field of a line on a terminal: `-` if it is empty, control characters as
/// `\xNN`.
#[inline]
fn text_name(line: &mut Vec<u8>, name: &str) {
    // 0xc2 leads the control characters above ASCII, and a few others.
    if name.is_empty() {
        line.push(b'-');
    } else if any_byte(name, |byte| (byte < b' ') | (byte == 0x7f) | (byte == 0xc2)) {
        text_name_escaped(line, name);
    } else {
        line.extend_from_slice(name.as_bytes());
    }
}

#[cold]
fn text_name_escaped(line: &mut Vec<u8>, name: &str) {
    for character in name.chars() {
        if character.is_control() {
            line.extend_from_slice(format!("\\x{:02x}", u32::from(character)).as_bytes());
        } else {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn json_line(line: &mut Vec<u8>, row: &RecordRow<'_>) {
    line.extend_from_slice(b"{\"time_ns\":");
    json::number(line, row.time_ns);
    line.extend_from_slice(b",\"cpu\":");
    json::number(line, row.cpu.map(u64::from));
    line.extend_from_slice(b",\"pid\":");
    json::number(line, row.pid.map(u64::from));
    line.extend_from_slice(b",\"tid\":");
    json::number(line, row.tid.map(u64::from));
    line.extend_from_slice(b",\"event\":");
    json::string(line, row.event);
    line.extend_from_slice(b",\"op\":");
    json::string(line, Some(row.op));
    line.extend_from_slice(b",\"ip\":");
    json::address(line, row.ip);
    line.extend_from_slice(b",\"vaddr\":");
    json::address(line, row.vaddr);
    line.extend_from_slice(b",\"paddr\":");
    json::address(line, row.paddr);
    line.extend_from_slice(b",\"latency\":");
    json::number(line, row.latency.map(u64::from));
    line.extend_from_slice(b",\"source\":");
    json::string(line, row.source);
    line.extend_from_slice(b",\"flags\":");
    json::string(line, row.flags_or_absent());
    line.extend_from_slice(b",\"queue\":");
    json::string(line, Some(row.queue));
    line.extend_from_slice(b",\"tlb\":");
    json::string(line, row.tlb);
    line.extend_from_slice(b",\"page_size\":");
    json::number(line, row.page_size);
    line.extend_from_slice(b",\"issue_latency\":");
    json::number(line, row.issue_latency.map(u64::from));
    line.extend_from_slice(b",\"translation_latency\":");
    json::number(line, row.translation_latency.map(u64::from));
    line.extend_from_slice(b",\"guest\":");
    line.extend_from_slice(truth(row.guest));
    line.extend_from_slice(b"}\n");
}

fn csv_line(line: &mut Vec<u8>, row: &RecordRow<'_>) {
    csv::number(line, row.time_ns);
    for number in [row.cpu, row.pid, row.tid] {
        line.push(b',');
        csv::number(line, number.map(u64::from));
    }
    line.push(b',');
    csv::field(line, row.event.unwrap_or_default());
    line.push(b',');
    csv::field(line, row.op);
    for address in [row.ip, row.vaddr, row.paddr] {
        line.push(b',');
        csv::address(line, address);
    }
    line.push(b',');
    csv::number(line, row.latency.map(u64::from));
    line.push(b',');
    csv::field(line, row.source.unwrap_or_default());
    line.push(b',');
    csv::field(line, row.flags);
    line.push(b',');
    csv::field(line, row.queue);
    line.push(b',');
    csv::field(line, row.tlb.unwrap_or_default());
    for number in row.costs() {
        line.push(b',');
        csv::number(line, number);
    }
    line.push(b',');
    line.extend_from_slice(truth(row.guest));
    line.push(b'\n');
}

const fn truth(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    fn written(format: Format, rows: &[RecordRow<'_>]) -> String {
        let mut out = Vec::new();
        let mut writer = RecordWriter::new(format, &mut out).unwrap();
        rows.iter().for_each(|row| writer.write(row).unwrap());
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_tab_separated_under_a_header() {
        assert_eq!(
            written(Format::Text, &examples::records()),
            "# time_ns\tcpu\tpid\ttid\tevent\top\tip\tvaddr\tpaddr\tlatency\tsource\tflags\tqueue\t\
             tlb\tpage_size\tissue_latency\ttranslation_latency\tguest\n\
             1000000001\t3\t41\t42\tarm_spe_0/ts_enable=1,pa_enable=1/\tload/simd\t\
             0xffff800080012340\t0xffff9abcde00\t0x820db8abc\t37\tl1\tl1-hit,tlb-access\t\
             spe1/cpu3\tl2\t2097152\t4\t18\ttrue\n\
             -\t-\t-\t-\t-\taccess\t-\t-\t-\t-\t-\t-\tsamples\t-\t-\t-\t-\tfalse\n\
             18446744073709551615\t4294967295\t0\t0\t\"odd\"\\x09\\x9bname\\x0a\tstore\t0x0\t\
             0x0\t0xffffffffffffff\t0\tunknown(0x2f)\tpartial\tpt0/cpu4294967295/tid0\twalk\t\
             18446744073709551615\t0\t4294967295\tfalse\n"
        );
    }

    #[test]
    fn json_lines_are_what_serde_json_would_write() {
        #[derive(serde::Serialize)]
        struct Line<'a> {
            time_ns: Option<u64>,
            cpu: Option<u32>,
            pid: Option<u32>,
            tid: Option<u32>,
            event: Option<&'a str>,
            op: &'a str,
            ip: Option<String>,
            vaddr: Option<String>,
            paddr: Option<String>,
            latency: Option<u32>,
            source: Option<&'a str>,
            flags: Option<&'a str>,
            queue: &'a str,
            tlb: Option<&'a str>,
            page_size: Option<u64>,
            issue_latency: Option<u32>,
            translation_latency: Option<u32>,
            guest: bool,
        }
        let hex = |address: Option<u64>| address.map(|address| format!("{address:#x}"));
        let want: String = examples::records()
            .iter()
            .map(|row| {
                let line = Line {
                    time_ns: row.time_ns,
                    cpu: row.cpu,
                    pid: row.pid,
                    tid: row.tid,
                    event: row.event,
                    op: row.op,
                    ip: hex(row.ip),
                    vaddr: hex(row.vaddr),
                    paddr: hex(row.paddr),
                    latency: row.latency,
                    source: row.source,
                    flags: Some(row.flags).filter(|flags| !flags.is_empty()),
                    queue: row.queue,
                    tlb: row.tlb,
                    page_size: row.page_size,
                    issue_latency: row.issue_latency,
                    translation_latency: row.translation_latency,
                    guest: row.guest,
                };
                serde_json::to_string(&line).unwrap() + "\n"
            })
            .collect();
        assert_eq!(written(Format::Json, &examples::records()), want);
    }

    #[test]
    fn csv_quotes_and_leaves_absent_fields_empty() {
        assert_eq!(
            written(Format::Csv, &examples::records()),
            "time_ns,cpu,pid,tid,event,op,ip,vaddr,paddr,latency,source,flags,queue,tlb,page_size,\
             issue_latency,translation_latency,guest\n\
             1000000001,3,41,42,\"arm_spe_0/ts_enable=1,pa_enable=1/\",load/simd,\
             0xffff800080012340,0xffff9abcde00,0x820db8abc,37,l1,\"l1-hit,tlb-access\",\
             spe1/cpu3,l2,2097152,4,18,true\n\
             ,,,,,access,,,,,,,samples,,,,,false\n\
             18446744073709551615,4294967295,0,0,\"\"\"odd\"\"\t\u{9b}name\n\",store,0x0,0x0,\
             0xffffffffffffff,0,unknown(0x2f),partial,pt0/cpu4294967295/tid0,walk,\
             18446744073709551615,0,4294967295,false\n"
        );
    }

    #[test]
    fn no_records_leave_the_header() {
        assert_eq!(written(Format::Text, &[]).lines().count(), 1);
        assert_eq!(written(Format::Csv, &[]).lines().count(), 1);
        assert_eq!(written(Format::Json, &[]), "");
    }
}
