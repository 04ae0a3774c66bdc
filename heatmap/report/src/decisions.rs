//! Decisions: what policy does with each block, one line each.

use std::io;

use heatmap::Decision;

use super::format::Format;
use super::lines::Lines;
use super::schema::DECISION_COLUMNS;
use super::{csv, digits};

/// Writes decisions in one format, in bounded memory. What is still gathered at the end is
/// written by [`DecisionWriter::finish`] only.
pub struct DecisionWriter<W: io::Write + Send>(Form<W>);

enum Form<W: io::Write + Send> {
    Json(Lines<W>),
    Csv {
        lines: Lines<W>,
        counts: bool,
    },
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::Decisions<W>>),
}

impl<W: io::Write + Send> DecisionWriter<W> {
    /// Starts a list in `format`; text is JSON lines, too. `counts`: whether CSV and Parquet
    /// have that column.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::Unsupported`] for Parquet in a program built
    /// without it.
    pub fn new(format: Format, out: W, counts: bool) -> io::Result<Self> {
        Ok(Self(match format {
            Format::Text | Format::Json => Form::Json(Lines::new(out, "")),
            Format::Csv => {
                let columns = &DECISION_COLUMNS[..DECISION_COLUMNS.len() - usize::from(!counts)];
                Form::Csv { lines: Lines::new(out, &csv::header(columns)), counts }
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                Form::Parquet(Box::new(super::parquet::Decisions::new(out, counts)?))
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(super::format::parquet_is_absent()),
        }))
    }

    /// Writes one decision.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, decision: &Decision) -> io::Result<()> {
        match &mut self.0 {
            Form::Json(lines) => {
                let mut encoded = Ok(());
                lines.line(|line| {
                    encoded = serde_json::to_writer(&mut *line, decision);
                    line.push(b'\n');
                })?;
                encoded.map_err(io::Error::from)
            }
            Form::Csv { lines, counts } => {
                let counts = *counts;
                lines.line(|line| csv_line(line, decision, counts))
            }
            #[cfg(feature = "parquet")]
            Form::Parquet(decisions) => decisions.write(decision),
        }
    }

    /// Writes what is still gathered, and the end of the file where the format has one.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Form::Json(lines) | Form::Csv { lines, .. } => lines.finish(),
            #[cfg(feature = "parquet")]
            Form::Parquet(decisions) => decisions.finish(),
        }
    }
}

fn csv_line(line: &mut Vec<u8>, decision: &Decision, counts: bool) {
    digits::hex(line, decision.folio_pfn.get());
    for value in [
        decision.order.into(),
        decision.hot_threshold.into(),
        decision.hot_percent.into(),
        decision.hot_chunks.into(),
        decision.chunks.into(),
        decision.accesses,
    ] {
        line.push(b',');
        digits::decimal(line, value);
    }
    let unverified = if decision.unverified { "true" } else { "false" };
    for name in
        [decision.verdict.as_str(), decision.backing.name(), unverified, &decision.hot_bitmap]
    {
        line.push(b',');
        csv::field(line, name);
    }
    line.push(b',');
    csv::number(line, decision.pid.map(u64::from));
    line.push(b',');
    csv::address(line, decision.vaddr);
    csv::evidence(line, &decision.evidence);
    if counts {
        line.push(b',');
        if let Some(counts) = &decision.counts {
            csv::field(line, &counts_as_json(counts));
        }
    }
    line.push(b'\n');
}

/// `[[page,count],...]`, as in JSON.
fn counts_as_json(counts: &[(u16, u32)]) -> String {
    let pairs: Vec<_> = counts.iter().map(|(page, count)| format!("[{page},{count}]")).collect();
    format!("[{}]", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    fn written(format: Format, counts: bool) -> String {
        let mut out = Vec::new();
        let mut writer = DecisionWriter::new(format, &mut out, counts).unwrap();
        for mut decision in examples::decisions() {
            decision.counts = decision.counts.filter(|_| counts);
            writer.write(&decision).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_and_json_are_the_contract_s_lines() {
        let first = "{\"folio_pfn\":\"0x820db800\",\"order\":6,\"hot_threshold\":30,\
                     \"hot_percent\":12,\"hot_chunks\":1,\"chunks\":8,\"accesses\":39794,\
                     \"verdict\":\"sparse\",\"backing\":\"unknown\",\"unverified\":true,\
                     \"hot_bitmap\":\"04\",\"pid\":41,\"vaddr\":\"0xffff9aa00000\",\
                     \"visits\":30000,\"cold_visits\":1,\"cold_share\":0,\"proposable\":true,\
                     \"steady\":false,\"left_out\":false";
        let second = "{\"folio_pfn\":\"0x0\",\"order\":9,\"hot_threshold\":30,\
                      \"hot_percent\":100,\"hot_chunks\":1,\"chunks\":1,\"accesses\":1,\
                      \"verdict\":\"unsplittable\",\"backing\":\"thp\",\"unverified\":false,\
                      \"hot_bitmap\":\"1\",\"pid\":null,\"vaddr\":null,\"visits\":0,\
                      \"cold_visits\":0,\"cold_share\":null,\"proposable\":false,\
                      \"steady\":null,\"left_out\":true";
        let plain = format!("{first}}}\n{second}}}\n");
        assert_eq!(written(Format::Text, false), plain);
        assert_eq!(written(Format::Json, false), plain);
        let counts = "\"counts\":[[128,39793],[191,1]]";
        assert_eq!(
            written(Format::Json, true),
            format!("{first},{counts}}}\n{second},\"counts\":[]}}\n")
        );
    }

    #[test]
    fn csv_has_counts_as_json_where_asked_for() {
        assert_eq!(
            written(Format::Csv, false),
            "folio_pfn,order,hot_threshold,hot_percent,hot_chunks,chunks,accesses,verdict,\
             backing,unverified,hot_bitmap,pid,vaddr,visits,cold_visits,cold_share,proposable,\
             steady,left_out\n\
             0x820db800,6,30,12,1,8,39794,sparse,unknown,true,04,41,0xffff9aa00000,30000,1,0,\
             true,false,false\n\
             0x0,9,30,100,1,1,1,unsplittable,thp,false,1,,,0,0,,false,,true\n"
        );
        let with = written(Format::Csv, true);
        let rows: Vec<_> = with.lines().collect();
        assert!(rows[0].ends_with(",left_out,counts"), "{}", rows[0]);
        assert!(rows[1].ends_with(",true,false,false,\"[[128,39793],[191,1]]\""), "{}", rows[1]);
        assert!(rows[2].ends_with(",,true,[]"), "{}", rows[2]);
    }
}
