//! Has workers decode a stream as it comes.

use super::placement::Target;
use super::record_stream::Visitor;
use super::session::Session;
use super::workers::Workers;
use crate::perf::Auxtrace;
use crate::perf::record::Record;
use crate::{Position, Shard, TraceOffset};

/// Has workers decode AUX data and samples of a stream.
pub(crate) struct Dispatch<'s, 'scope, 'env, S> {
    pub(crate) session: &'s mut Session,
    pub(crate) sink: &'s mut S,
    pub(crate) crew: Workers<'scope, 'env, 'static, S>,
    /// The workers ask who ran where.
    pub(crate) asks: bool,
    pub(crate) target: Target,
}

impl<'scope, S: Shard + 'scope> Dispatch<'_, 'scope, '_, S> {
    fn take(&mut self, record: &Record<'_>, position: Position, inflated: bool) {
        if let Some(sample) = self.session.record_but_sample(record, position, self.sink) {
            self.crew.sample(&sample, inflated, self.session.facts(), self.sink);
        }
        let told = self.session.sideband.told.iter_mut().flat_map(|told| told.drain(..));
        for learned in told.filter(|_| self.asks) {
            self.crew.learn(learned, self.sink);
        }
    }
}

impl<'a, 'scope, S: Shard + 'scope> Visitor<'a> for Dispatch<'_, 'scope, '_, S> {
    fn record(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, false);
    }

    fn inflated(&mut self, record: &Record<'_>, position: Position) {
        self.take(record, position, true);
    }

    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position) {
        self.target = match self.session.target(aux, position, self.sink) {
            Ok((index, key, chunk)) => {
                self.crew.begin(index, key, chunk, self.session.facts());
                Target::Queue(index)
            }
            Err(elsewhere) => elsewhere,
        };
    }

    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position) {
        match self.target {
            Target::Queue(index) => {
                self.session.arrived(index, bytes);
                self.crew.bytes(index, bytes, position, self.session.facts(), self.sink);
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
