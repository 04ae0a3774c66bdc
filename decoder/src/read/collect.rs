//! Reads the samples of a mapped input, and remembers where its AUX data lies.

use super::parallel::{Collected, MAX_CHUNKS};
use super::placement::Target;
use super::record_stream::Visitor;
use super::session::Session;
use super::workers::{Base, Workers};
use crate::perf::Auxtrace;
use crate::perf::record::Record;
use crate::{Position, Shard, TraceOffset};

/// Takes sample records, or has workers read them, and remembers where AUX data lies.
pub(crate) struct Collect<'c, 's, 'scope, 'env, 'a, S> {
    pub(crate) session: &'s mut Session,
    pub(crate) sink: &'s mut S,
    pub(crate) crew: Option<&'c mut Workers<'scope, 'env, 'a, S>>,
    pub(crate) queues: Vec<Collected<'a>>,
    /// All that they have.
    pub(crate) chunks: usize,
    pub(crate) target: Target,
}

impl<'a: 'scope, 'scope, S: Shard + 'scope> Collect<'_, '_, 'scope, '_, 'a, S> {
    fn take(&mut self, record: &Record<'_>, position: Position, inflated: bool) {
        let Some(crew) = &mut self.crew else {
            return self.session.record(record, position, self.sink);
        };
        if let Some(sample) = self.session.record_but_sample(record, position, self.sink) {
            crew.sample(&sample, inflated, self.session.facts(), self.sink);
        }
    }
}

impl<'a: 'scope, 'scope, S: Shard + 'scope> Visitor<'a> for Collect<'_, '_, 'scope, '_, 'a, S> {
    fn part(&mut self, bytes: &'a [u8], start: Position) {
        if let Some(crew) = &mut self.crew {
            crew.refer_to(Base::Mapped(bytes), start, self.sink);
        }
    }

    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, false);
    }

    fn inflated(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, true);
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, chunk)) => {
                if index == self.queues.len() {
                    self.queues.push(Collected::new(key, &chunk));
                }
                if self.chunks < MAX_CHUNKS {
                    self.chunks += usize::from(self.queues[index].begin(&chunk, position));
                    Target::Queue(index)
                } else {
                    let what = "more chunks of AUX data than are remembered";
                    self.session.problems.add(what, position.offset.0, "its data is skipped");
                    Target::Skipped
                }
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                self.queues[index].bytes(bytes, position);
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
