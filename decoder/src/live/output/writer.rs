//! A recording on its way to a disk or a pipe, in the two forms that perf has
//! (`tools/perf/Documentation/perf.data-file-format.txt`).
//!
//! ```text
//! file:    header | ids, attributes | records ... | [ids, attributes of CPUs that came] | features
//! stream:  header | attributes and features as records | the same records ...
//! ```
//!
//! Until it is finished, a file's header says that its recorder died: what there is of it by then
//! can be read, its names apart.

use std::io::{self, Seek, SeekFrom, Write};

use super::synthesized;
use super::synthesized::{About, Bytes, EventAbout, feature};
use super::{RecordingWriter, filling};
use crate::ByteOrder;
use crate::live::ring::NATIVE;
use crate::perf::Auxtrace;
use crate::perf::header::STREAM_HEADER_LEN;

/// Length of a file's header.
const FILE_HEADER_LEN: usize = 104;
/// An entry of the attribute table ends in the place and length of its ids.
const SECTION_LEN: u64 = 16;
/// Length of an AUXTRACE record without its data.
const AUXTRACE_LEN: u64 = 48;

/// The bytes that a recording starts with.
fn magic() -> [u8; 8] {
    match NATIVE {
        ByteOrder::Little => *b"PERFILE2",
        ByteOrder::Big => *b"2ELIFREP",
    }
}

/// Writes a stream, as `perf record -o -` does.
#[derive(Debug)]
pub struct StreamWriter<W> {
    out: W,
}

impl<W: Write> StreamWriter<W> {
    /// Writes to `out`, after every pass over the rings as a whole.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> RecordingWriter for StreamWriter<W> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.out.write_all(&magic())?;
        self.out.write_all(&(STREAM_HEADER_LEN as u64).to_ne_bytes())?;
        self.out.write_all(&about.tables())?;
        self.out.write_all(&about.first_records())
    }

    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()> {
        self.out.write_all(&event.announcement())
    }

    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()> {
        self.out.write_all(&synthesized::scale(id, factor))
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        self.out.write_all(records)
    }

    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        write_aux(&mut self.out, chunk, bytes)
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.out.write_all(&synthesized::finished_round())?;
        self.out.flush()
    }
}

fn write_aux(out: &mut impl Write, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
    out.write_all(&synthesized::auxtrace(chunk))?;
    bytes.into_iter().chain([filling(chunk, bytes)]).try_for_each(|bytes| out.write_all(bytes))
}

/// Writes a file.
#[derive(Debug)]
pub struct FileWriter<W> {
    out: W,
    about: About,
    /// Where the next byte goes.
    at: u64,
    /// Where attributes and records start.
    attrs: u64,
    data: u64,
    /// Ids have come that the attribute table does not have yet.
    outdated: bool,
    /// Where the AUXTRACE records stand.
    aux_records: Vec<u64>,
}

impl<W: Write + Seek> FileWriter<W> {
    /// Writes to the start of `out`.
    pub fn new(out: W) -> Self {
        let (about, aux_records) = (About::default(), Vec::new());
        Self { out, about, at: 0, attrs: 0, data: 0, outdated: false, aux_records }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes all ids and the attribute table, where the next byte goes.
    fn attributes(&mut self) -> io::Result<()> {
        let mut bytes = Bytes::default();
        let mut table = Bytes::default();
        for event in &self.about.events {
            let place = self.at + bytes.0.len() as u64;
            event.ids.iter().for_each(|id| _ = bytes.u64(*id));
            table.bytes(&event.attr).u64(place).u64(8 * event.ids.len() as u64);
        }
        self.attrs = self.at + bytes.0.len() as u64;
        bytes.bytes(&table.0);
        self.put(&bytes.0)
    }

    /// The header. `data_len` is 0 until all records have been written.
    fn header(&self, data_len: u64, sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let attr_len = self.about.events.first().map_or(0, |event| event.attr.len() as u64);
        let entry = attr_len + SECTION_LEN;
        let mut features = [0u64; 4];
        for (bit, _) in sections {
            features[usize::from(bit / 64)] |= 1 << (bit % 64);
        }
        let mut header = Bytes::default();
        header.bytes(&magic()).u64(FILE_HEADER_LEN as u64).u64(entry);
        header.u64(self.attrs).u64(entry * self.about.events.len() as u64);
        header.u64(self.data).u64(data_len);
        header.u64(0).u64(0);
        features.into_iter().for_each(|word| _ = header.u64(word));
        header.0
    }

    /// The index of AUX data, by which perf finds it.
    fn aux_index(&self) -> Vec<u8> {
        let mut index = Bytes::default();
        index.u64(self.aux_records.len() as u64);
        self.aux_records.iter().for_each(|place| _ = index.u64(*place).u64(AUXTRACE_LEN));
        index.0
    }

    /// All records have come: writes what stands behind them, and the header once more.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<W> {
        let data_len = self.at - self.data;
        let mut sections = self.about.sections();
        if !self.aux_records.is_empty() {
            sections.push((feature::AUXTRACE, self.aux_index()));
            sections.sort_by_key(|(bit, _)| *bit);
        }
        let mut place = self.at + SECTION_LEN * sections.len() as u64;
        let mut table = Bytes::default();
        for (_, section) in &sections {
            table.u64(place).u64(section.len() as u64);
            place += section.len() as u64;
        }
        self.put(&table.0)?;
        for (_, section) in &sections {
            self.put(section)?;
        }
        if self.outdated {
            self.attributes()?;
        }
        let header = self.header(data_len, &sections);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write + Seek> RecordingWriter for FileWriter<W> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.about = about.clone();
        self.put(&[0; FILE_HEADER_LEN])?;
        self.attributes()?;
        self.data = self.at;
        let header = self.header(0, &[]);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.seek(SeekFrom::Start(self.data))?;
        self.put(&about.first_records())
    }

    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()> {
        let known = self.about.events.iter_mut().find(|known| known.attr == event.attr);
        if let Some(known) = known {
            known.ids.extend(&event.ids);
            self.outdated = true;
        }
        Ok(())
    }

    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()> {
        self.put(&synthesized::scale(id, factor))
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        self.put(records)
    }

    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        self.aux_records.push(self.at);
        write_aux(&mut self.out, chunk, bytes)?;
        self.at += AUXTRACE_LEN + chunk.size;
        Ok(())
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.put(&synthesized::finished_round())
    }
}
