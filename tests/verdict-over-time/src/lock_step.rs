//! Stream and watchers, one after the other.
//!
//! An epoch closes once the input has passed it by one, so:
//!
//! ```text
//! write epoch e -> the daemon closes e - 2 -> every watcher has seen e - 2 -> write epoch e + 1
//! ```
//!
//! Nothing is passed over then, however slow the machine is. While watchers are waited for, a sign of life now and then
//! keeps the daemon from going on by wall time.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::news::News;
use crate::visits::FIRST_EPOCH;
use crate::writer::Order;

/// Epochs by which the input is ahead of the one that closes.
const AHEAD: u64 = 2;
/// Longer than an epoch may take, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time after which a sign of life is sent. A daemon takes two epochs without input for silence.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// Lets stream and watchers go one after the other.
#[derive(Debug)]
pub struct LockStep<'a> {
    /// None once there is nothing more to write.
    orders: Option<Sender<Order>>,
    news: &'a Receiver<News>,
    /// The latest epoch that each watcher has seen.
    seen: Vec<Option<u64>>,
    ended: usize,
    /// Orders that the writer is not done with.
    unwritten: usize,
    progress: Option<(Instant, &'a str)>,
}

impl<'a> LockStep<'a> {
    /// Before the first epoch, with so many watchers. With `tells` it says on standard error how far it is.
    pub fn new(
        orders: Sender<Order>,
        news: &'a Receiver<News>,
        watchers: usize,
        name: &'a str,
        tells: bool,
    ) -> Self {
        let progress = tells.then(|| (Instant::now(), name));
        Self {
            orders: Some(orders),
            news,
            seen: vec![None; watchers],
            ended: 0,
            unwritten: 0,
            progress,
        }
    }

    fn order(&mut self, order: Order) {
        if let Some(orders) = &self.orders {
            self.unwritten += 1;
            // If nobody takes it, the writer tells why.
            let _ = orders.send(order);
        }
    }

    /// Goes on until every watcher has seen the epoch `last`.
    ///
    /// # Errors
    /// If somebody fails, or has no answer for too long.
    pub fn go_to(&mut self, last: u64) -> anyhow::Result<()> {
        for epoch in FIRST_EPOCH..=last + AHEAD {
            self.order(Order::Epoch);
            let closed = epoch - AHEAD;
            if closed >= FIRST_EPOCH {
                self.wait(|it| it.seen.iter().all(|seen| *seen >= Some(closed)))
                    .with_context(|| format!("epoch {}", closed - FIRST_EPOCH))?;
                self.tell(closed, last);
            }
        }
        Ok(())
    }

    /// Ends the input, and waits until every watcher knows.
    ///
    /// # Errors
    /// As [`LockStep::go_to`].
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.orders = None;
        self.wait(|it| it.ended == it.seen.len()).context("the end of the input")
    }

    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut alive = start;
        while !done(self) {
            match self.news.recv_timeout(KEEP_ALIVE) {
                Ok(News::Seen { watcher, epoch }) => self.seen[watcher] = Some(epoch),
                Ok(News::Ended) => self.ended += 1,
                Ok(News::Written) => self.unwritten -= 1,
                Ok(News::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Disconnected) => bail!("all watchers are gone"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "the daemon has no answer after {} s; watchers have seen the epochs {:?}",
                PATIENCE.as_secs(),
                self.seen
            );
            // While something is being written, the daemon has something to read.
            if self.unwritten == 0 && alive.elapsed() >= KEEP_ALIVE {
                self.order(Order::KeepAlive);
                alive = Instant::now();
            }
        }
        Ok(())
    }

    fn tell(&mut self, closed: u64, last: u64) {
        if let Some((told, name)) = &mut self.progress
            && (told.elapsed() > PROGRESS || closed == last)
        {
            eprintln!("{name}: epoch {} of {}", closed - FIRST_EPOCH + 1, last - FIRST_EPOCH + 1);
            *told = Instant::now();
        }
    }
}
