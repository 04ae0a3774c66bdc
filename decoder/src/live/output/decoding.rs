//! Decoding what is captured, where it lies: the walk over it is that of a stream.

use std::io;

use super::synthesized;
use super::synthesized::{About, EventAbout};
use super::{RecordingWriter, filling};
use crate::live::ring::NATIVE;
use crate::perf::Auxtrace;
use crate::read::PushedStream;
use crate::{Recording, Shard};

/// Gives what is captured to a sink.
pub struct Decoding<'s, S> {
    stream: PushedStream<'s, S>,
}

/// Decodes what `run` captures into `sink`.
///
/// # Errors
/// What `run` says.
pub fn decode<S: Shard, T, E>(
    sink: &mut S,
    run: impl FnOnce(&mut Decoding<'_, S>) -> Result<T, E>,
) -> Result<(Recording, T), E> {
    crate::read::decode_pushed(NATIVE, sink, |stream| {
        let mut decoding = Decoding { stream };
        let done = run(&mut decoding);
        (decoding.stream, done)
    })
}

impl<S: Shard> RecordingWriter for Decoding<'_, S> {
    fn begin(&mut self, about: &About) -> io::Result<()> {
        self.stream.take(&about.tables());
        self.stream.take(&about.first_records());
        Ok(())
    }

    fn more_ids(&mut self, event: &EventAbout) -> io::Result<()> {
        self.stream.take(&event.announcement());
        Ok(())
    }

    fn scale(&mut self, id: u64, factor: f64) -> io::Result<()> {
        self.stream.take(&synthesized::scale(id, factor));
        Ok(())
    }

    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        self.stream.take(records);
        Ok(())
    }

    fn aux(&mut self, chunk: &Auxtrace, bytes: [&[u8]; 2]) -> io::Result<()> {
        self.stream.take(&synthesized::auxtrace(chunk));
        let filling = filling(chunk, bytes);
        bytes.into_iter().chain([filling]).for_each(|bytes| self.stream.take(bytes));
        Ok(())
    }

    fn pass_ended(&mut self) -> io::Result<()> {
        self.stream.take(&synthesized::finished_round());
        Ok(())
    }

    fn unreadable(&mut self, bytes: u64) {
        self.stream.problem(
            format!("{bytes} bytes of a ring that hold no record"),
            "what stood there is not counted",
        );
    }

    fn overrun(&mut self) {
        self.stream.problem(
            "a ring's head that is further from its tail than the ring is long".to_owned(),
            "what it claims to hold is not counted",
        );
    }

    fn has_enough(&self) -> bool {
        self.stream.has_enough()
    }
}
