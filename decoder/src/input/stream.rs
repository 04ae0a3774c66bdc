//! Streams: a buffer that is filled from behind and taken from in front.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use crate::{Error, cost};

/// A buffered reader that shows what it holds.
pub(crate) struct Stream<'r> {
    /// Asked for a buffer at a time, so that it costs nothing that its type is not known.
    reader: &'r mut dyn Read,
    /// Shared with whoever still reads in it, who has it alone once it is exchanged.
    buffer: Arc<Vec<u8>>,
    start: usize,
    end: usize,
    /// Position in the input of the first byte that is held.
    offset: u64,
}

impl<'r> Stream<'r> {
    /// A stream that is read in buffers of `len` bytes, or more where a record is longer.
    pub(crate) fn new(reader: &'r mut dyn Read, len: usize) -> Self {
        Self { reader, buffer: Arc::new(vec![0; len]), start: 0, end: 0, offset: 0 }
    }

    /// What is held, and where it stands in the input.
    pub(crate) fn window(&self) -> (&[u8], u64) {
        (&self.buffer[self.start..self.end], self.offset)
    }

    /// The buffer, and where its first byte stands in the input.
    pub(crate) fn buffer(&self) -> (&Arc<Vec<u8>>, u64) {
        (&self.buffer, self.offset - self.start as u64)
    }

    /// Lets go of the first `len` bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Goes on in another buffer, to which it moves what it holds. Returns the old one.
    pub(crate) fn exchange(&mut self, mut fresh: Arc<Vec<u8>>) -> Arc<Vec<u8>> {
        let held = &self.buffer[self.start..self.end];
        let bytes = Arc::make_mut(&mut fresh);
        if bytes.len() < held.len() {
            bytes.resize(held.len(), 0);
        }
        bytes[..held.len()].copy_from_slice(held);
        (self.start, self.end) = (0, held.len());
        core::mem::replace(&mut self.buffer, fresh)
    }

    /// Reads more, once. False at the end of the input.
    pub(crate) fn fill(&mut self) -> Result<bool, Error> {
        let buffer = Arc::make_mut(&mut self.buffer);
        if self.start > 0 {
            cost::bytes(self.end - self.start);
            buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == buffer.len() {
            buffer.resize(2 * buffer.len() + 16, 0);
        }
        loop {
            match self.reader.read(&mut buffer[self.end..]) {
                Ok(len) => {
                    self.end += len;
                    return Ok(len > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { action: "cannot read", source }),
            }
        }
    }

    /// Reads until the buffer is full. False at the end of the input.
    pub(crate) fn fill_up(&mut self) -> Result<bool, Error> {
        while self.fill()? {
            if self.end == self.buffer.len() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads until at least `len` bytes are held, or the input ends.
    pub(crate) fn fill_to(&mut self, len: usize) -> Result<(), Error> {
        while self.end - self.start < len && self.fill()? {}
        Ok(())
    }
}
