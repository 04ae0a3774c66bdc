//! Watchers: each follows the decisions at one order and threshold, as a policy does that acts on proposals.

use std::sync::mpsc;

use anyhow::{Context, bail, ensure};
use proto::v1;
use proto::v1::heatmap_service_client::HeatmapServiceClient;
use proto::v1::watch_decisions_response::Kind;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::cells::Question;
use crate::news::News;
use crate::queue::FIRST_FRAME;
use crate::visits::FIRST_EPOCH;

/// Pages of a block, as a power of two.
const PFN_SHIFT: u32 = 9;

/// What counts as a proposal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Rule {
    /// A decision that is proposable and steady: what a policy may act on.
    #[default]
    Steady,
    /// Any sparse verdict: what a policy acted on before there was anything else.
    Sparse,
}

/// What a watcher saw of each block: the epoch at whose end that was so for the first time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its verdict was sparse.
    pub sparse: Vec<Option<u64>>,
    /// It was proposed.
    pub proposed: Vec<Option<u64>>,
}

/// Asks for sparse decisions from now on.
///
/// # Errors
/// If the daemon refuses.
pub async fn ask(
    mut client: HeatmapServiceClient<Channel>,
    asked: Question,
) -> anyhow::Result<Streaming<v1::WatchDecisionsResponse>> {
    let request = v1::WatchDecisionsRequest {
        order: Some(asked.order),
        hot_threshold: Some(asked.threshold),
        verdicts: vec![v1::Verdict::Sparse.into()],
        include_counts: false,
    };
    Ok(client.watch_decisions(request).await?.into_inner())
}

/// Follows decisions until the input has ended, and tells how far it is.
pub async fn follow(
    mut decisions: Streaming<v1::WatchDecisionsResponse>,
    mut watcher: Watcher,
    tell: mpsc::Sender<News>,
) -> Observed {
    loop {
        let message = decisions.message().await.context("the daemon has cut the stream off");
        let message =
            message.and_then(|message| message.context("the daemon has ended the stream"));
        let news = match message.and_then(|message| watcher.take(&message)) {
            Ok(None) => continue,
            Ok(Some(news)) => news,
            Err(error) => News::Failed(error),
        };
        let goes_on = matches!(news, News::Seen { .. });
        // If nobody listens, somebody else has failed.
        if tell.send(news).is_err() || !goes_on {
            return watcher.observed;
        }
    }
}

/// What is known of a block now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    None,
    Sparse,
    Proposed,
}

/// The daemon's state as far as it was sent, and what was ever in it.
#[derive(Debug)]
pub struct Watcher {
    number: usize,
    rule: Rule,
    /// The last epoch that is looked at.
    last: u64,
    standing: Vec<Standing>,
    /// Blocks that a message of the open state has changed.
    changed: Vec<usize>,
    observed: Observed,
    sequence: u64,
    epoch: Option<u64>,
    /// The message before belongs to the same state as the next one.
    is_open: bool,
}

impl Watcher {
    /// A watcher of so many blocks, up to the epoch `last`.
    pub fn new(number: usize, rule: Rule, blocks: usize, last: u64) -> Self {
        Self {
            number,
            rule,
            last,
            standing: vec![Standing::None; blocks],
            changed: Vec::new(),
            observed: Observed { sparse: vec![None; blocks], proposed: vec![None; blocks] },
            sequence: 0,
            epoch: None,
            is_open: false,
        }
    }

    /// Takes a message in. Tells of it if it completes a state.
    ///
    /// # Errors
    /// If it does not follow the one before, or an epoch was passed over.
    pub fn take(&mut self, message: &v1::WatchDecisionsResponse) -> anyhow::Result<Option<News>> {
        ensure!(
            message.sequence == self.sequence + 1,
            "message {} follows message {}",
            message.sequence,
            self.sequence
        );
        self.sequence += 1;
        if self.epoch == Some(self.last) {
            // What comes now closes epochs that nobody looks at.
            return Ok(message.stale.then_some(News::Ended));
        }
        ensure!(!message.stale, "the daemon says that its input is stalled, has ended or failed");
        match message.kind() {
            Kind::Snapshot if !self.is_open => self.standing.fill(Standing::None),
            Kind::Snapshot | Kind::Changes | Kind::Heartbeat => {}
            Kind::Unspecified => bail!("a message is of no known kind"),
        }
        for pfn in &message.removed_folio_pfns {
            if let Some(block) = self.block(*pfn) {
                self.standing[block] = Standing::None;
            }
        }
        for decision in &message.decisions {
            if let Some(block) = self.block(decision.folio_pfn) {
                self.standing[block] = self.standing(decision);
                self.changed.push(block);
            }
        }
        self.is_open = message.more;
        if message.more {
            return Ok(None);
        }
        let next = self.epoch.map_or(FIRST_EPOCH, |epoch| epoch + 1);
        ensure!(
            message.epoch == next || Some(message.epoch) == self.epoch,
            "epoch {} came in the place of {next}",
            message.epoch
        );
        self.epoch = Some(message.epoch);
        self.observe(message.epoch);
        Ok(Some(News::Seen { watcher: self.number, epoch: message.epoch }))
    }

    /// The number of a block, if it is one of a cell.
    fn block(&self, folio_pfn: u64) -> Option<usize> {
        let number = (folio_pfn >> PFN_SHIFT).checked_sub(FIRST_FRAME)?;
        usize::try_from(number).ok().filter(|number| *number < self.standing.len())
    }

    fn standing(&self, decision: &v1::Decision) -> Standing {
        let proposed = match self.rule {
            Rule::Steady => decision.proposable && decision.steady == Some(true),
            Rule::Sparse => true,
        };
        match (decision.verdict(), proposed) {
            (v1::Verdict::Sparse, true) => Standing::Proposed,
            (v1::Verdict::Sparse, false) => Standing::Sparse,
            _ => Standing::None,
        }
    }

    fn observe(&mut self, epoch: u64) {
        for block in self.changed.drain(..) {
            if self.standing[block] != Standing::None {
                self.observed.sparse[block].get_or_insert(epoch);
            }
            if self.standing[block] == Standing::Proposed {
                self.observed.proposed[block].get_or_insert(epoch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u64 = FIRST_EPOCH + 2;

    fn message(sequence: u64, kind: Kind, epoch: u64) -> v1::WatchDecisionsResponse {
        v1::WatchDecisionsResponse { kind: kind.into(), sequence, epoch, ..Default::default() }
    }

    fn decision(block: u64, steady: Option<bool>) -> v1::Decision {
        v1::Decision {
            folio_pfn: (FIRST_FRAME + block) << PFN_SHIFT,
            verdict: v1::Verdict::Sparse.into(),
            proposable: true,
            steady,
            ..Default::default()
        }
    }

    #[test]
    fn it_remembers_when_blocks_were_sparse_and_proposed_first() {
        let mut watcher = Watcher::new(3, Rule::Steady, 3, LAST);
        let mut first = message(1, Kind::Snapshot, FIRST_EPOCH);
        first.decisions =
            vec![decision(0, Some(false)), decision(1, Some(true)), decision(9, None)];
        assert!(matches!(watcher.take(&first).unwrap(), Some(News::Seen { watcher: 3, .. })));
        // A state in two messages, in which a block comes and goes.
        let mut changes = message(2, Kind::Changes, FIRST_EPOCH + 1);
        (changes.decisions, changes.more) =
            (vec![decision(0, Some(true)), decision(2, None)], true);
        assert!(watcher.take(&changes).unwrap().is_none());
        let mut changes = message(3, Kind::Changes, FIRST_EPOCH + 1);
        changes.removed_folio_pfns = vec![decision(2, None).folio_pfn];
        assert!(watcher.take(&changes).unwrap().is_some());
        let (one, two) = (Some(FIRST_EPOCH), Some(FIRST_EPOCH + 1));
        assert_eq!(watcher.observed.sparse, [one, one, None]);
        assert_eq!(watcher.observed.proposed, [two, one, None]);
        // By the other rule every sparse block was proposed.
        let mut watcher = Watcher::new(0, Rule::Sparse, 3, LAST);
        watcher.take(&first).unwrap();
        assert_eq!(watcher.observed.proposed, [one, one, None]);
    }

    #[test]
    fn what_was_passed_over_is_an_error() {
        let start = || {
            let mut watcher = Watcher::new(0, Rule::Steady, 1, LAST);
            watcher.take(&message(1, Kind::Snapshot, FIRST_EPOCH)).unwrap();
            watcher
        };
        assert!(start().take(&message(2, Kind::Heartbeat, FIRST_EPOCH)).is_ok());
        assert!(start().take(&message(2, Kind::Changes, FIRST_EPOCH + 2)).is_err(), "an epoch");
        assert!(start().take(&message(3, Kind::Changes, FIRST_EPOCH + 1)).is_err(), "a message");
        assert!(start().take(&message(2, Kind::Unspecified, FIRST_EPOCH + 1)).is_err());
        let mut stale = message(2, Kind::Heartbeat, FIRST_EPOCH);
        stale.stale = true;
        assert!(start().take(&stale).is_err());
        // Only behind the last epoch that is looked at.
        let mut watcher = start();
        for (sequence, epoch) in [(2, LAST - 1), (3, LAST)] {
            watcher.take(&message(sequence, Kind::Changes, epoch)).unwrap();
        }
        assert!(watcher.take(&message(4, Kind::Changes, LAST + 2)).unwrap().is_none());
        (stale.sequence, stale.epoch) = (5, LAST + 2);
        assert!(matches!(watcher.take(&stale).unwrap(), Some(News::Ended)));
    }
}
