//! What comes through a pipe, or out of a compressed file: known by its first bytes, decompressed
//! on the way, and saved where it has to be read in any order.

use std::fs::File;
use std::io::{ErrorKind, Read};

use super::packed::{Packing, TRUSTED, Unpacked};
use super::spool;
use crate::{Error, Recording};

/// First bytes that are looked at: all that tell what an input is.
const HEAD: usize = 16;

/// A reader whose first bytes have been looked at. They are read all the same.
struct Peeked<R> {
    head: [u8; HEAD],
    len: usize,
    /// How many of them have been read.
    at: usize,
    reader: R,
}

impl<R: Read> Peeked<R> {
    fn new(mut reader: R) -> Result<Self, Error> {
        let (mut head, mut len) = ([0; HEAD], 0);
        while len < HEAD {
            match reader.read(&mut head[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { action: "cannot read", source }),
            }
        }
        Ok(Self { head, len, at: 0, reader })
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.len]
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let held = &self.head[self.at..self.len];
        if held.is_empty() {
            return self.reader.read(bytes);
        }
        let len = held.len().min(bytes.len());
        bytes[..len].copy_from_slice(&held[..len]);
        self.at += len;
        Ok(len)
    }
}

enum Bytes<'r> {
    Plain(Peeked<&'r mut dyn Read>),
    Packed(Box<Peeked<Unpacked<Peeked<&'r mut dyn Read>>>>),
}

/// The bytes of an input that come one after the other, decompressed.
pub(crate) struct Incoming<'r>(Bytes<'r>);

impl<'r> Incoming<'r> {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// If reading fails, or they are compressed in a way that is not read, or twice, or so badly
    /// damaged that there are not even first bytes.
    pub(crate) fn new(reader: &'r mut dyn Read) -> Result<Self, Error> {
        let plain = Peeked::new(reader)?;
        let Some(packing) = Packing::of(plain.head()) else { return Ok(Self(Bytes::Plain(plain))) };
        let unpacked = Peeked::new(Unpacked::new(plain, packing, TRUSTED)?)?;
        unpacked.reader.check(HEAD)?;
        match Packing::of(unpacked.head()) {
            Some(again) => Err(again.refusal()),
            None => Ok(Self(Bytes::Packed(Box::new(unpacked)))),
        }
    }

    /// The first bytes, 16 unless there are fewer.
    pub(crate) fn head(&self) -> &[u8] {
        match &self.0 {
            Bytes::Plain(bytes) => bytes.head(),
            Bytes::Packed(bytes) => bytes.head(),
        }
    }

    /// Saves all of it in a file without a name.
    ///
    /// # Errors
    /// As [`spool::spool`].
    pub(crate) fn spool(&mut self, most: u64) -> Result<File, Error> {
        spool::spool(self, most)
    }

    /// Adds to what was decoded of it that it could not be decompressed to its end.
    pub(crate) fn tell(&self, recording: &mut Recording) {
        if let Bytes::Packed(bytes) = &self.0
            && let Some(damage) = bytes.reader.damage()
        {
            recording.problem_count += 1;
            recording.problems.push(damage);
        }
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.0 {
            Bytes::Plain(reader) => reader.read(bytes),
            Bytes::Packed(reader) => reader.read(bytes),
        }
    }
}
