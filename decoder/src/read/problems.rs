//! The problems of a recording.

use crate::{Problem, TraceOffset, cost};

/// Problems that are told in full; the rest are counted.
const MAX_PROBLEMS: usize = 64;
/// The problems of a recording, or of a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    /// The first ones, each with the number of the record at which it was found.
    pub(super) list: Vec<(u64, Problem)>,
    pub(crate) count: u64,
    /// Number of the record that is read.
    pub(super) record: u64,
}

impl Problems {
    pub(crate) fn add(&mut self, what: impl Into<String>, at: u64, consequence: &'static str) {
        cost::steps(1);
        self.count += 1;
        if self.list.len() < MAX_PROBLEMS {
            let problem = Problem { what: what.into(), offset: TraceOffset(at), consequence };
            self.list.push((self.record, problem));
        }
    }

    /// Puts those of sample records, which others may have read, in their places: before all
    /// others that were found at the same record or behind it.
    pub(super) fn merge(&mut self, samples: Self) {
        self.count += samples.count;
        self.list.splice(0..0, samples.list);
        self.list.sort_by_key(|(record, _)| *record);
        self.list.truncate(MAX_PROBLEMS);
    }

    /// The first problems, in their order.
    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list.into_iter().map(|(_, problem)| problem).collect()
    }
}
