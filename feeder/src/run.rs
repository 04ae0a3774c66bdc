//! The feeder's life: news in, a sink tended, until it is told to end.

use std::time::{Duration, Instant, SystemTime};

use anyhow::bail;
use sd_notify::NotifyState;

use crate::decision::{Decision, Tally};
use crate::host::{Host, SplitScheme, settle};
use crate::http::Shared;
use crate::inbox::{Ended, Inbox, News};
use crate::plan::Terms;
use crate::sink::{Figures, Sink};

/// How often schemes of others are looked at.
const SCHEMES: Duration = Duration::from_secs(10);
/// The longest wait between two looks at everything, signs of life to the service manager included.
const LONGEST: Duration = Duration::from_secs(1);

/// What a run is about.
#[derive(Debug, Default)]
pub struct Run {
    /// The host, to look for schemes of others; none if the sink does not care.
    schemes_of: Option<(Host, Terms)>,
    /// The schemes that ran when it was looked last.
    schemes: Vec<SplitScheme>,
    /// One pass over the first decisions that come.
    once: bool,
    /// What others may see.
    shared: Shared,
    /// The decisions that came last.
    decisions: Option<Vec<Decision>>,
    /// The sink has not been told of them.
    is_news: bool,
    /// From then on they are not to be acted on.
    expiry: Option<Instant>,
    /// Why they are not.
    lost: Option<String>,
    /// Why there can be no plan for the schemes that run.
    conflict: Option<String>,
}

impl Run {
    /// A run of one pass, or without end.
    pub fn new(once: bool, shared: Shared) -> Self {
        Self { once, shared, ..Self::default() }
    }

    /// With an eye on the schemes of a host, of which these run now: a plan has to hold for all.
    #[must_use]
    pub fn beside(mut self, host: Host, terms: Terms, schemes: Vec<SplitScheme>) -> Self {
        self.shared.lock().foreign_split = !schemes.is_empty();
        (self.schemes_of, self.schemes) = (Some((host, terms)), schemes);
        self
    }

    /// Tends a sink until it is time to end.
    ///
    /// # Errors
    /// The sink fails; with one pass, also if decisions cannot be had, or writes are not proven.
    pub fn run(mut self, sink: &mut dyn Sink, inbox: &Inbox) -> anyhow::Result<Figures> {
        let result = self.tend(sink, inbox);
        notify(&[NotifyState::Stopping]);
        if self.once {
            result?;
            return finished(sink.figures());
        }
        // Whatever happened, what can be left safe is left safe.
        let end = sink.end();
        tell(sink);
        result?;
        tracing::info!("ending: {}", end?);
        Ok(sink.figures())
    }

    fn tend(&mut self, sink: &mut dyn Sink, inbox: &Inbox) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut next = Some(Duration::ZERO);
        let (mut next_schemes, mut told_ready) = (SCHEMES, false);
        loop {
            let wait = next.map_or(LONGEST, |next| next.saturating_sub(start.elapsed()));
            let news = match inbox.wait(wait.min(LONGEST)) {
                Ok(news) => news,
                Err(Ended) => return Ok(()),
            };
            match news {
                Some(News::Lost(why)) if self.once => bail!(why),
                Some(news) => self.hear(news),
                None => {}
            }
            if self.expiry.is_some_and(|expiry| Instant::now() >= expiry) {
                let why = "the decisions have expired, and no others came";
                self.hear(News::Lost(why.to_owned()));
            }
            let now = start.elapsed();
            if now >= next_schemes && !self.once {
                next_schemes = now + SCHEMES;
                self.look_at_schemes()?;
            }
            self.pass_on(sink, now)?;
            next = sink.tend(start.elapsed())?;
            tell(sink);
            self.shared.lock().figures = sink.figures();
            let has_proposed = self.decisions.is_some() && !self.is_news;
            if has_proposed && !told_ready {
                told_ready = true;
                notify(&[NotifyState::Ready]);
            }
            if told_ready {
                notify(&[NotifyState::Watchdog]);
            }
            if self.once && has_proposed && next.is_none() {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, news: News) {
        let (true_at, until) = match news {
            News::State { decisions, epoch, expires } => {
                let tally = Tally::of(&decisions);
                if std::mem::replace(&mut self.shared.lock().tally, tally) != tally {
                    tracing::info!("{tally}");
                }
                self.decisions = Some(decisions);
                self.is_news = true;
                (epoch, expires)
            }
            News::StillTrue { epoch, expires } => (epoch, expires),
            News::Lost(why) => {
                self.expiry = None;
                self.shared.lock().losses += u64::from(self.lost.is_none());
                self.lost = Some(why);
                return;
            }
        };
        self.expiry = until;
        self.lost = None;
        let mut status = self.shared.lock();
        status.epoch = true_at;
        status.last_true = Some(SystemTime::now());
    }

    /// Has the sink act on decisions that are true, and on no others.
    fn pass_on(&mut self, sink: &mut dyn Sink, now: Duration) -> anyhow::Result<()> {
        let why = self.conflict.as_ref().or(self.lost.as_ref()).cloned();
        let before = std::mem::replace(&mut self.shared.lock().holding, why.clone());
        match (before, why) {
            (None, Some(why)) => {
                tracing::warn!("nothing new is proposed: {why}");
                sink.hold()?;
                // What comes after that is to be told again, changed or not.
                self.is_news = true;
            }
            (Some(_), None) => tracing::info!("there are decisions again"),
            _ => {}
        }
        let is_held = self.shared.lock().holding.is_some();
        if self.is_news
            && !is_held
            && let Some(decisions) = &self.decisions
        {
            self.is_news = false;
            sink.propose(decisions.clone(), now)?;
        }
        Ok(())
    }

    /// Somebody may have turned a scheme on, or changed one.
    fn look_at_schemes(&mut self) -> anyhow::Result<()> {
        let Some((host, terms)) = &self.schemes_of else { return Ok(()) };
        let found = host.split_schemes()?;
        let settled = settle(&found, Some(terms.order), Some(terms.threshold));
        self.conflict = settled.err().map(|error| format!("{error:#}"));
        if found != self.schemes {
            tracing::warn!("{} schemes run that split folios", found.len());
            self.schemes = found;
        }
        self.shared.lock().foreign_split = !self.schemes.is_empty();
        Ok(())
    }
}

fn tell(sink: &mut dyn Sink) {
    for event in sink.events() {
        tracing::warn!("{event}");
    }
}

/// What one pass has come to.
fn finished(figures: Figures) -> anyhow::Result<Figures> {
    let unproven = figures.lost + figures.unconfirmed;
    if unproven > 0 {
        let all = figures.proposals;
        bail!("{unproven} of {all} writes are not proven to have arrived");
    }
    Ok(figures)
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
