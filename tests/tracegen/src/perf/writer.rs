//! A recording from its first byte to its last, written front to back.

use std::io::{self, Write};

use super::attr::Event;
use super::compress::{Compression, Compressor};
use super::feature::{Features, bit};
use super::tool::{Auxtrace, header_attr, header_feature};
use crate::bytes::Endian;
use crate::rng::Rng;

/// Bytes of the file header.
const HEADER: u64 = 104;
/// The most ring data in one COMPRESSED record.
const CHUNK: usize = 256 << 10;

/// What the whole recording has in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Byte order.
    pub endian: Endian,
    /// The stream form (`perf record -o -`), else a file.
    pub stream: bool,
    /// Compression of ring data.
    pub compression: Option<Compression>,
    /// Events.
    pub events: Vec<Event>,
}

/// Ring data on its way to a file: whole records in, plain or compressed chunks out.
///
/// Compressed chunks are cut anywhere, so that records go on from one to the next.
pub struct Ring {
    pending: Vec<u8>,
    compressor: Option<Compressor>,
    endian: Endian,
    rng: Rng,
}

impl Ring {
    /// An empty ring with a compression stream of its own.
    ///
    /// # Errors
    ///
    /// If zstd cannot start.
    pub fn new(compression: Option<Compression>, endian: Endian, seed: u64) -> io::Result<Self> {
        let compressor = compression.map(Compressor::new).transpose()?;
        Ok(Self { pending: Vec::new(), compressor, endian, rng: Rng::new(seed) })
    }

    /// Takes records.
    pub fn push(&mut self, records: &[u8]) {
        self.pending.extend_from_slice(records);
    }

    /// Writes what was taken; gives the number of bytes written.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn drain(&mut self, to: &mut impl Write) -> io::Result<u64> {
        let Some(compressor) = &mut self.compressor else {
            to.write_all(&self.pending)?;
            let written = self.pending.len() as u64;
            self.pending.clear();
            return Ok(written);
        };
        let mut out = Vec::new();
        let mut rest = &self.pending[..];
        while !rest.is_empty() {
            let most = rest.len().min(CHUNK);
            let cut = if most > 16 { self.rng.index(most - 1) + 1 } else { most };
            compressor.write(&rest[..cut], &mut out, self.endian)?;
            // The remainder of a small drain goes into one more chunk, not into many.
            let (next, last) = if rest.len() <= CHUNK { (rest.len(), true) } else { (cut, false) };
            if last && cut < next {
                compressor.write(&rest[cut..next], &mut out, self.endian)?;
            }
            rest = &rest[next..];
        }
        to.write_all(&out)?;
        self.pending.clear();
        Ok(out.len() as u64)
    }
}

/// What a finished recording leaves: for a file the header that belongs at its start.
#[derive(Debug)]
pub struct Finished<W> {
    /// The output.
    pub out: W,
    /// 104 bytes to put at offset 0; none for a stream.
    pub header: Option<Vec<u8>>,
}

/// Writes a recording.
pub struct Writer<W> {
    out: W,
    settings: Settings,
    position: u64,
    attrs: u64,
    data: u64,
    index: Vec<u64>,
    ring: Ring,
    scratch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Starts a recording: header, ids and attrs of a file (the header is preliminary, as that of a recorder that
    /// is killed), or the first records of a stream with `features`.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn new(out: W, settings: Settings, features: &Features, seed: u64) -> io::Result<Self> {
        let ring = Ring::new(settings.compression, settings.endian, seed)?;
        let mut writer = Self {
            out,
            settings,
            position: 0,
            attrs: 0,
            data: 0,
            index: Vec::new(),
            ring,
            scratch: Vec::new(),
        };
        if writer.settings.stream {
            writer.start_stream(features)?
        } else {
            writer.start_file()?
        }
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn magic(endian: Endian, out: &mut Vec<u8>) {
        endian.u64(out, u64::from_le_bytes(*b"PERFILE2"));
    }

    fn start_stream(&mut self, features: &Features) -> io::Result<()> {
        let endian = self.settings.endian;
        let mut out = Vec::new();
        Self::magic(endian, &mut out);
        endian.u64(&mut out, 16);
        for event in &self.settings.events {
            header_attr(&mut out, endian, event);
        }
        for (bit, section) in features.sections() {
            header_feature(&mut out, endian, *bit, section);
        }
        header_feature(&mut out, endian, bit::END_MARK, &[]);
        self.put(&out)
    }

    fn start_file(&mut self) -> io::Result<()> {
        let endian = self.settings.endian;
        let mut ids = Vec::new();
        let mut attrs = Vec::new();
        for event in &self.settings.events {
            let start = HEADER + ids.len() as u64;
            event.attr.write(endian, &mut attrs);
            endian.u64(&mut attrs, start);
            endian.u64(&mut attrs, event.ids.len() as u64 * 8);
            event.ids.iter().for_each(|&id| endian.u64(&mut ids, id));
        }
        self.attrs = HEADER + ids.len() as u64;
        self.data = self.attrs + attrs.len() as u64;
        let header = self.header(0, [0; 4]);
        self.put(&header)?;
        self.put(&ids)?;
        self.put(&attrs)
    }

    fn header(&self, data_size: u64, features: [u64; 4]) -> Vec<u8> {
        let endian = self.settings.endian;
        let entry = self.settings.events.first().map_or(0, |event| u64::from(event.attr.size) + 16);
        let mut out = Vec::new();
        Self::magic(endian, &mut out);
        for word in [HEADER, entry, self.attrs, self.data - self.attrs, self.data, data_size, 0, 0]
        {
            endian.u64(&mut out, word);
        }
        for word in features {
            endian.u64(&mut out, word);
        }
        out
    }

    /// The events.
    pub fn events(&self) -> &[Event] {
        &self.settings.events
    }

    /// Writes records of the perf tool, which are never compressed.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn tool(&mut self, records: &[u8]) -> io::Result<()> {
        self.put(records)
    }

    /// Takes ring data; it is written at the next [`Writer::drain`].
    pub fn ring(&mut self, records: &[u8]) {
        self.ring.push(records);
    }

    /// Writes the ring data taken so far.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn drain(&mut self) -> io::Result<()> {
        self.position += self.ring.drain(&mut self.out)?;
        Ok(())
    }

    /// Writes an AUXTRACE record and its payload.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn auxtrace(&mut self, record: &Auxtrace, payload: &[u8]) -> io::Result<()> {
        self.index.push(self.position);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        record.write(&mut scratch, self.settings.endian);
        self.put(&scratch)?;
        self.scratch = scratch;
        self.put(payload)
    }

    /// Ends as a recorder does that is killed: the ring is drained, the header stays preliminary.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn abandon(mut self) -> io::Result<W> {
        self.drain()?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Finishes the recording: drains the ring, and behind the data of a file writes its feature sections, with the
    /// AUXTRACE index if `indexed` and there is anything to index.
    ///
    /// # Errors
    ///
    /// Those of the output.
    pub fn finish(mut self, mut features: Features, indexed: bool) -> io::Result<Finished<W>> {
        self.drain()?;
        if self.settings.stream {
            self.out.flush()?;
            return Ok(Finished { out: self.out, header: None });
        }
        if indexed && !self.index.is_empty() {
            features.auxtrace_index(&self.index);
        }
        let endian = self.settings.endian;
        let data_size = self.position - self.data;
        let mut at = self.position + features.sections().len() as u64 * 16;
        let mut table = Vec::new();
        for (_, section) in features.sections() {
            endian.u64(&mut table, at);
            endian.u64(&mut table, section.len() as u64);
            at += section.len() as u64;
        }
        self.put(&table)?;
        for (_, section) in features.sections() {
            self.put(section)?;
        }
        self.out.flush()?;
        let header = self.header(data_size, features.bitmap());
        Ok(Finished { out: self.out, header: Some(header) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::attr::Attr;

    #[test]
    fn an_empty_file() {
        let attr = Attr { kind: 11, size: 112, ..Attr::default() };
        let events = vec![Event { attr, ids: vec![100], name: "arm_spe_0//".to_owned() }];
        let settings =
            Settings { endian: Endian::Little, stream: false, compression: None, events };
        let mut features = Features::new(Endian::Little);
        features.text(bit::ARCH, "aarch64");
        let writer = Writer::new(Vec::new(), settings, &features, 0).unwrap();
        let done = writer.finish(features, true).unwrap();
        let header = done.header.unwrap();
        assert_eq!(header.len(), 104);
        assert_eq!(&header[..8], b"PERFILE2");
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        // size, stride, attrs, data: ids at 104, attrs at 112, data at 112 + 128.
        assert_eq!(
            [word(8), word(16), word(24), word(32), word(40), word(48)],
            [104, 128, 112, 128, 240, 0]
        );
        assert_eq!(word(72), 1 << bit::ARCH);
        assert_eq!(done.out.len(), 240 + 16 + 68);
        assert_eq!(done.out[240..256], [0, 1, 0, 0, 0, 0, 0, 0, 68, 0, 0, 0, 0, 0, 0, 0]);
    }
}
