//! Decoding what is captured, where it lies: the walk over it is that of a stream.

use std::io;

use super::synthesized;
use super::synthesized::{About, EventAbout};
use super::{RecordingWriter, filling};
use crate::live::ring::NATIVE;
use crate::perf::Auxtrace;
use crate::read::Pieces;
use crate::{Recording, Shard};

/// Gives what is captured to a sink.
pub struct Decoding<'s, S> {
    chunks: Pieces<'s, S>,
}

/// Decodes what `run` captures into `sink`.
///
/// # Errors
/// What `run` says.
pub fn decode<S: Shard, T, E>(
    sink: &mut S,
    run: impl FnOnce(&mut Decoding<'_, S>) -> Result<T, E>,
) -> Result<(Recording, T), E> {
    crate::read::decode_pieces(NATIVE, sink, |chunks| {
        let mut decoding = Decoding { chunks };
        let done = run(&mut decoding);
        (decoding.chunks, done)
    })
}

impl<S: Shard> RecordingWriter for Decoding<'_, S> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.chunks.take(&about.tables());
        self.chunks.take(&about.first_records());
        Ok(())
    }

    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()> {
        self.chunks.take(&event.announcement());
        Ok(())
    }

    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()> {
        self.chunks.take(&synthesized::scale(id, factor));
        Ok(())
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        self.chunks.take(records);
        Ok(())
    }

    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        self.chunks.take(&synthesized::auxtrace(chunk));
        let filling = filling(chunk, bytes);
        bytes.into_iter().chain([filling]).for_each(|bytes| self.chunks.take(bytes));
        Ok(())
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.chunks.take(&synthesized::finished_round());
        Ok(())
    }

    fn unreadable(&mut self, bytes: u64) {
        self.chunks.problem(
            format!("{bytes} bytes of a ring that hold no record"),
            "what stood there is not counted",
        );
    }

    fn overrun(&mut self) {
        self.chunks.problem(
            "a ring's head that is further from its tail than the ring is long".to_owned(),
            "what it claims to hold is not counted",
        );
    }

    fn has_enough(&self) -> bool {
        self.chunks.has_enough()
    }
}
