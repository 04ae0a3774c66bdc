//! Streams: a buffer that is filled from behind and taken from in front.

use std::io::{ErrorKind, Read};

use crate::Error;

/// More than the longest record, so that one always fits; what AUX data is read in.
const BUFFER_LEN: usize = 1 << 20;

/// A buffered reader that shows what it holds.
pub(crate) struct Stream<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Position in the input of the first byte that is held.
    offset: u64,
}

impl<R: Read> Stream<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER_LEN], start: 0, end: 0, offset: 0 }
    }

    /// What is held, and where it stands in the input.
    pub(crate) fn window(&self) -> (&[u8], u64) {
        (&self.buffer[self.start..self.end], self.offset)
    }

    /// Lets go of the first `len` bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Reads more. False at the end of the input. The held bytes must be less than a buffer.
    pub(crate) fn fill(&mut self) -> Result<bool, Error> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(len) => {
                    self.end += len;
                    return Ok(len > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { action: "cannot read", source }),
            }
        }
    }

    /// Reads until at least `len` bytes are held, or the input ends.
    pub(crate) fn fill_to(&mut self, len: usize) -> Result<(), Error> {
        while self.end - self.start < len && self.fill()? {}
        Ok(())
    }
}
