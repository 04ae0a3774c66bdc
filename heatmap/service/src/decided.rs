//! The decisions of a snapshot, made once for all who ask the same, and what differs between two.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use decoder::Pfn;
use heatmap::live::{InputState, Latest};
use heatmap::{ChunkOrder, HotThreshold, Verdict};
use proto::v1;

use super::asked::Asked;
use super::convert;

/// What was asked. Those who ask the same share the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) order: ChunkOrder,
    pub(super) threshold: HotThreshold,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) counts: bool,
}

/// The decisions of one snapshot.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) sequence: u64,
    pub(super) epoch: u64,
    pub(super) stale: bool,
    /// By PFN.
    pub(super) decisions: Vec<v1::Decision>,
}

/// The latest answer to each question that somebody watches.
#[derive(Debug, Default)]
pub(super) struct DecidedByQuestion(Mutex<HashMap<Question, Arc<Decided>>>);

impl DecidedByQuestion {
    /// What the latest snapshot answers, made once for all who ask the same.
    pub(super) fn latest(&self, latest: &Latest, question: &Question) -> Arc<Decided> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = latest.load_full();
        if let Some(decided) = known.get(question)
            && decided.sequence == snapshot.sequence
        {
            return Arc::clone(decided);
        }
        // Nobody but the map has them: nobody watches.
        known.retain(|_, decided| Arc::strong_count(decided) > 1);
        let decided =
            Arc::new(decide(Asked::of(snapshot, question.order, question.threshold), question));
        known.insert(question.clone(), Arc::clone(&decided));
        decided
    }
}

fn decide(asked: Asked, question: &Question) -> Decided {
    let snapshot = &asked.snapshot;
    let wanted = |verdict| question.verdicts.is_empty() || question.verdicts.contains(&verdict);
    let decisions = snapshot.folios(Pfn::new_truncate(0).folio()).filter_map(|folio| {
        let fraction = folio.fraction(&asked.judge)?;
        fraction
            .found
            .verdict
            .is_some_and(wanted)
            .then(|| convert::decision(&asked, folio, &fraction, question.counts))
    });
    Decided {
        sequence: snapshot.sequence,
        epoch: snapshot.epoch.unwrap_or(0),
        stale: !matches!(snapshot.state, InputState::Running | InputState::Waiting),
        decisions: decisions.collect(),
    }
}

/// What differs between two states: decisions that are new or others, and folios without any.
pub(super) fn difference(before: &Decided, after: &Decided) -> (Vec<v1::Decision>, Vec<u64>) {
    let (mut changed, mut removed) = (Vec::new(), Vec::new());
    let mut old = before.decisions.iter().peekable();
    for decision in &after.decisions {
        while let Some(gone) = old.next_if(|old| old.folio_pfn < decision.folio_pfn) {
            removed.push(gone.folio_pfn);
        }
        let same = old.next_if(|old| old.folio_pfn == decision.folio_pfn);
        if same != Some(decision) {
            changed.push(decision.clone());
        }
    }
    removed.extend(old.map(|gone| gone.folio_pfn));
    (changed, removed)
}
