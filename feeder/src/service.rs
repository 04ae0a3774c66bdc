//! Decisions of a daemon: its stream, followed for as long as we live.
//!
//! ```text
//! connect -> WatchDecisions -> state: snapshot, then changes -> inbox
//!    ^------ lost: told at once, tried again ------|
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use client::messages::with_causes;
use client::{self, Address};
use heatmap::{Backing, Verdict};
use proto::v1;
use proto::v1::watch_decisions_response::Kind;

use crate::decision::{Asked, Decision, Evidence};
use crate::decisions::chunks;
use crate::inbox::{Inbox, News};

/// Time between two tries to connect: it doubles from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long a stream may be silent. A daemon speaks every second, or every epoch.
const SILENCE: Duration = Duration::from_secs(120);
/// Decisions that are kept at most: a daemon's store holds no more blocks than that in a terabyte.
const MAX_DECISIONS: usize = 4 << 20;

/// Follows a daemon's decisions for ever.
pub async fn follow(address: Address, asked: Asked, inbox: Inbox) {
    let mut pause = PAUSES.0;
    loop {
        let begin = Instant::now();
        let error = match stream(&address, asked, &inbox).await {
            Ok(()) => anyhow::anyhow!("{address}: the daemon has ended the stream"),
            Err(error) => error,
        };
        inbox.put(News::Lost(with_causes(&error)));
        if begin.elapsed() > PAUSES.1 {
            pause = PAUSES.0;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Reads one stream to its end.
async fn stream(address: &Address, asked: Asked, inbox: &Inbox) -> anyhow::Result<()> {
    let mut client = client::heatmap(client::connect(address).await?);
    let request = v1::WatchDecisionsRequest {
        order: Some(u32::from(asked.order.get())),
        hot_threshold: Some(u32::from(asked.threshold.get())),
        verdicts: Vec::new(),
        include_counts: false,
    };
    let answer =
        client.watch_decisions(request).await.map_err(|status| refusal(address, &status))?;
    let mut stream = answer.into_inner();
    let mut state = State::new(asked);
    loop {
        let message = tokio::time::timeout(SILENCE, stream.message()).await;
        let message = message.with_context(|| {
            format!("{address}: the daemon says nothing for {} s", SILENCE.as_secs())
        })?;
        let Some(message) = message.map_err(|status| refusal(address, &status))? else {
            return Ok(());
        };
        if let Some(news) = state.take(message).with_context(|| address.to_string())? {
            inbox.put(news);
        }
    }
}

fn refusal(address: &Address, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{address}: {}", status.message())
}

/// The daemon's state as far as it was sent.
#[derive(Debug)]
struct State {
    asked: Asked,
    decisions: BTreeMap<u64, Decision>,
    /// Of the message before.
    sequence: u64,
    /// The message before belongs to the same state as the next one.
    is_open: bool,
    /// Since the last news that had decisions.
    has_changed: bool,
}

impl State {
    fn new(asked: Asked) -> Self {
        let decisions = BTreeMap::new();
        Self { asked, decisions, sequence: 0, is_open: false, has_changed: false }
    }

    /// Takes a message in; news, once a state is whole.
    fn take(&mut self, message: v1::WatchDecisionsResponse) -> anyhow::Result<Option<News>> {
        let wanted = self.sequence + 1;
        ensure!(
            message.sequence == wanted,
            "message {} of the stream came instead of {wanted}",
            message.sequence
        );
        self.sequence = message.sequence;
        match message.kind() {
            Kind::Snapshot => {
                if !self.is_open {
                    self.decisions.clear();
                }
                self.has_changed = true;
            }
            Kind::Changes => self.has_changed = true,
            Kind::Heartbeat => {}
            Kind::Unspecified => bail!("a message of the stream is of no known kind"),
        }
        for pfn in &message.removed_folio_pfns {
            self.decisions.remove(pfn);
        }
        for decision in &message.decisions {
            if let Some(decision) = self.read(decision)? {
                self.decisions.insert(decision.folio_pfn, decision);
            }
        }
        ensure!(
            self.decisions.len() <= MAX_DECISIONS,
            "more than {MAX_DECISIONS} decisions were sent"
        );
        self.is_open = message.more;
        if message.more {
            return Ok(None);
        }
        if message.stale {
            let why = "the daemon's input is stalled, has ended or failed: its decisions are old";
            // What comes when it goes on has to be taken as a whole.
            self.has_changed = true;
            return Ok(Some(News::Lost(why.to_owned())));
        }
        let expires = message.expires_at.and_then(|at| SystemTime::try_from(at).ok());
        let rest = expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        let (epoch, expires) = (message.epoch, rest.map(|rest| Instant::now() + rest));
        if !std::mem::take(&mut self.has_changed) {
            return Ok(Some(News::StillTrue { epoch, expires }));
        }
        let decisions = self.decisions.values().cloned().collect();
        Ok(Some(News::State { decisions, epoch, expires }))
    }

    /// One decision. None if the daemon does not judge: its base pages are not of 4 KiB.
    fn read(&self, decision: &v1::Decision) -> anyhow::Result<Option<Decision>> {
        let folio_pfn = decision.folio_pfn;
        ensure!(
            folio_pfn.is_multiple_of(512),
            "folio_pfn {folio_pfn:#x} is no multiple of 512: the kernel would not find it"
        );
        ensure!(
            decision.order == u32::from(self.asked.order.get())
                && decision.hot_threshold == u32::from(self.asked.threshold.get()),
            "folio {folio_pfn:#x} is judged at order {} and {} %, not as it was asked",
            decision.order,
            decision.hot_threshold
        );
        let Some(verdict) = decision.verdict().word().and_then(Verdict::from_name) else {
            return Ok(None);
        };
        let hot_chunks = chunks(&decision.hot_bitmap, self.asked.order)
            .with_context(|| format!("folio {folio_pfn:#x}"))?;
        let evidence = Evidence {
            backing: (decision.backing().word())
                .and_then(Backing::from_name)
                .unwrap_or(Backing::Unknown),
            cold: Some((decision.cold_visits, decision.visits)),
            steady: decision.steady,
            left_out: decision.left_out,
            // It answers what was asked.
            other_terms: false,
        };
        let (verdict, standing) = evidence.admit(verdict, self.asked.max_cold_share);
        let (pid, vaddr) = (decision.pid, decision.vaddr);
        Ok(Some(Decision {
            folio_pfn,
            verdict,
            standing,
            accesses: decision.accesses,
            hot_chunks,
            pid,
            vaddr,
        }))
    }
}

#[cfg(test)]
mod tests {
    use heatmap::ChunkOrder;

    use super::*;

    fn state() -> State {
        State::new(Asked::at(ChunkOrder::try_new(4).unwrap()))
    }

    fn message(sequence: u64, kind: Kind, pfns: &[u64], more: bool) -> v1::WatchDecisionsResponse {
        let decision = |pfn: &u64| v1::Decision {
            folio_pfn: *pfn,
            order: 4,
            hot_threshold: 30,
            verdict: v1::Verdict::Hot.into(),
            hot_bitmap: "00000003".to_owned(),
            accesses: 7,
            ..Default::default()
        };
        v1::WatchDecisionsResponse {
            kind: kind.into(),
            sequence,
            epoch: 1,
            decisions: pfns.iter().map(decision).collect(),
            more,
            ..Default::default()
        }
    }

    fn folios(news: Option<News>) -> Vec<u64> {
        match news {
            Some(News::State { decisions, .. }) => {
                decisions.iter().map(|decision| decision.folio_pfn).collect()
            }
            news => panic!("{news:?}"),
        }
    }

    #[test]
    fn states_are_put_together() {
        let mut state = state();
        assert!(state.take(message(1, Kind::Snapshot, &[0x200], true)).unwrap().is_none());
        let news = state.take(message(2, Kind::Snapshot, &[0x400], false)).unwrap();
        assert_eq!(folios(news), [0x200, 0x400]);
        let news = state.take(message(3, Kind::Heartbeat, &[], false)).unwrap();
        assert!(matches!(news, Some(News::StillTrue { .. })));
        let mut changes = message(4, Kind::Changes, &[0x600], false);
        changes.removed_folio_pfns = vec![0x200];
        assert_eq!(folios(state.take(changes).unwrap()), [0x400, 0x600]);
        let mut stale = message(5, Kind::Heartbeat, &[], false);
        stale.stale = true;
        assert!(matches!(state.take(stale).unwrap(), Some(News::Lost(_))));
        // After that all is told again, though nothing has changed.
        let news = state.take(message(6, Kind::Heartbeat, &[], false)).unwrap();
        assert_eq!(folios(news), [0x400, 0x600]);
        // A snapshot begins anew.
        let news = state.take(message(7, Kind::Snapshot, &[0x800], false)).unwrap();
        assert_eq!(folios(news), [0x800]);
    }

    #[test]
    fn a_sparse_folio_has_to_be_proposable_and_steady() {
        use crate::decision::{Refusal, Standing};
        let good = v1::Decision {
            verdict: v1::Verdict::Sparse.into(),
            backing: v1::Backing::Thp.into(),
            visits: 100,
            cold_visits: 20,
            steady: Some(true),
            ..message(1, Kind::Snapshot, &[0x200], false).decisions.remove(0)
        };
        let cases = [
            (good.clone(), Standing::AsTold),
            (v1::Decision { steady: None, ..good.clone() }, Standing::Unverified),
            (
                v1::Decision { steady: Some(false), ..good.clone() },
                Standing::Refused(Refusal::NotSteady),
            ),
            (
                v1::Decision { cold_visits: 21, ..good.clone() },
                Standing::Refused(Refusal::ColdShare),
            ),
            (v1::Decision { left_out: true, ..good.clone() }, Standing::Refused(Refusal::LeftOut)),
            (
                v1::Decision { backing: v1::Backing::Hugetlb.into(), ..good.clone() },
                Standing::Refused(Refusal::Backing),
            ),
            (
                v1::Decision { backing: v1::Backing::Smaller.into(), ..good },
                Standing::Refused(Refusal::Backing),
            ),
        ];
        for (decision, standing) in cases {
            let read = state().read(&decision).unwrap().unwrap();
            assert_eq!(read.standing, standing, "{decision:?}");
            let refused = matches!(standing, Standing::Refused(_));
            assert_eq!(read.verdict == Verdict::Sparse, !refused, "{decision:?}");
        }
    }

    #[test]
    fn what_is_wrong_ends_the_stream() {
        assert!(state().take(message(2, Kind::Snapshot, &[], false)).is_err(), "a gap");
        assert!(state().take(message(1, Kind::Unspecified, &[], false)).is_err());
        assert!(state().take(message(1, Kind::Snapshot, &[0x210], false)).is_err(), "misaligned");
        let mut other = message(1, Kind::Snapshot, &[0x200], false);
        other.decisions[0].order = 2;
        assert!(state().take(other).is_err());
        let mut other = message(1, Kind::Snapshot, &[0x200], false);
        other.decisions[0].hot_bitmap = "3".to_owned();
        assert!(state().take(other).is_err());
        let mut unjudged = message(1, Kind::Snapshot, &[0x200], false);
        unjudged.decisions[0].verdict = v1::Verdict::Unspecified.into();
        assert!(folios(state().take(unjudged).unwrap()).is_empty());
    }
}
