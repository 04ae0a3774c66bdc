//! What the feeder was told last: the newest decisions, and whether it is to end. Whoever tells
//! never waits, and nothing queues up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::decision::Decision;

/// What there is to know about decisions.
#[derive(Clone, Debug)]
pub enum News {
    /// All decisions of an epoch.
    State {
        /// They.
        decisions: Vec<Decision>,
        /// Its number.
        epoch: u64,
        /// From then on they are not to be acted on. None: they stay true.
        expires: Option<Instant>,
    },
    /// Those that came last are true until then.
    StillTrue {
        /// The number of the epoch.
        epoch: u64,
        /// From then on they are not to be acted on.
        expires: Option<Instant>,
    },
    /// They are not known to be true any more, for this reason.
    Lost(String),
}

#[derive(Debug, Default)]
struct Inside {
    news: Option<News>,
    ends: bool,
}

/// A place for one piece of news.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<(Mutex<Inside>, Condvar)>);

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts news in, in the place of what nobody took.
    pub fn put(&self, news: News) {
        let mut inside = self.lock();
        inside.news = Some(match (inside.news.take(), news) {
            // Nobody has seen the state yet: it is that which is still true.
            (Some(News::State { decisions, .. }), News::StillTrue { epoch, expires }) => {
                News::State { decisions, epoch, expires }
            }
            (_, news) => news,
        });
        self.0.1.notify_all();
    }

    /// Has whoever waits end.
    pub fn end(&self) {
        self.lock().ends = true;
        self.0.1.notify_all();
    }

    /// Waits for news, at most so long. `Err` if it is time to end.
    ///
    /// # Errors
    /// It is time to end.
    pub fn wait(&self, most: Duration) -> Result<Option<News>, Ended> {
        let mut inside = self.lock();
        if inside.news.is_none() && !inside.ends && !most.is_zero() {
            let waited = self
                .0
                .1
                .wait_timeout_while(inside, most, |inside| inside.news.is_none() && !inside.ends);
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if inside.ends { Err(Ended) } else { Ok(inside.news.take()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It is time to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;
