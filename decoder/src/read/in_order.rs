//! Decodes everything where it stands, in the order of the input.

use super::placement::{Target, behind};
use super::record_stream::Visitor;
use super::session::Session;
use super::so_far::recording;
use crate::aux_data::any_queue::AnyQueue;
use crate::perf::Auxtrace;
use crate::perf::record::Record;
use crate::{InputKind, Position, Sink, TraceOffset};

/// Decodes AUX data where it stands.
pub(crate) struct Immediate<'s, S> {
    pub(crate) session: &'s mut Session,
    pub(crate) sink: &'s mut S,
    pub(crate) queues: Vec<AnyQueue>,
    pub(crate) target: Target,
    pub(crate) skip_aux: bool,
    pub(crate) kind: InputKind,
    pub(crate) files: u32,
}

impl<'s, S: Sink> Immediate<'s, S> {
    /// Nothing has come yet.
    pub(crate) fn new(
        session: &'s mut Session,
        sink: &'s mut S,
        kind: InputKind,
        files: u32,
    ) -> Self {
        let (queues, target) = (Vec::new(), Target::Skipped);
        Self { session, sink, queues, target, skip_aux: false, kind, files }
    }

    /// Tells the sink what the input has said so far, if it wants to know.
    #[inline]
    fn tell(&mut self) {
        if self.sink.wants_recording() {
            let so_far = recording(self.session, &self.queues, self.kind, self.files);
            self.sink.recording_so_far(&so_far);
        }
    }

    /// The input has ended before the byte `end`.
    pub(crate) fn finish(mut self, end: Position) {
        for (index, _, chunk) in self.session.rests() {
            if let Some(queue) = self.queues.get_mut(index) {
                queue.begin(chunk);
                queue.bytes(&[], behind(end, index), &self.session.sideband, self.sink);
            }
        }
        for queue in self.queues {
            self.session.settle(queue.finish());
        }
    }
}

impl<'a, S: Sink> Visitor<'a> for Immediate<'_, S> {
    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.session.record(record, position, self.sink);
        self.tell();
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, chunk)) => {
                if index == self.queues.len() {
                    self.queues.push(AnyQueue::new(key, &chunk.format));
                }
                self.queues[index].begin(chunk);
                Target::Queue(index)
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        if self.skip_aux {
            return;
        }
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                let queue = &mut self.queues[index];
                queue.bytes(bytes, position, &self.session.sideband, self.sink);
                if let Some((cpu, time)) = queue.passed() {
                    self.session.sideband.forget_before(cpu, time);
                }
                self.tell();
            }
            target => self.session.pass_over(target, bytes.len()),
        }
    }

    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str) {
        self.session.problems.add(what, at.0, consequence);
    }

    fn cut_short(&mut self) {
        self.session.cut_short = true;
    }
}
