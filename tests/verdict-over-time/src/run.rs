//! One group of cells, from its first epoch to its last: a daemon, a stream into it, and a watcher for each question.
//!
//! They go in lock step. An epoch closes once the input has passed it by one, so:
//!
//! ```text
//! write epoch e -> the daemon closes e - 2 -> every watcher has seen e - 2 -> write epoch e + 1
//! ```
//!
//! Nothing is passed over then, however slow the machine is. While watchers are waited for, a sign of life now and then
//! keeps the daemon from going on by wall time.

use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use proto::v1;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::daemon::Daemon;
use crate::plan::{Group, Plan};
use crate::stream::Stream;
use crate::table::{Row, Table};
use crate::visits::{Batch, FIRST_EPOCH, Visits};
use crate::watcher::{News, Observed, Rule, Watcher, ask, follow};

/// Epochs by which the input is ahead of the one that closes.
const AHEAD: u64 = 2;
/// Longer than an epoch may take, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time after which a sign of life is sent. A daemon takes two epochs without input for silence.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// How to measure.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program, with what stands before its own arguments.
    pub program: Vec<String>,
    /// What counts as a proposal.
    pub rule: Rule,
    /// Tell on standard error how far it is.
    pub progress: bool,
}

impl Setup {
    /// The rule of today, without a word.
    pub fn new(program: &[String]) -> Self {
        Self { program: program.to_vec(), rule: Rule::default(), progress: false }
    }
}

/// What the thread that writes is told to do.
enum Order {
    /// Write the next epoch.
    Epoch,
    /// Write a sign of life.
    KeepAlive,
}

/// Measures a group.
///
/// # Errors
/// If the daemon fails, or answers otherwise than it should.
pub fn run(group: &Group, plan: &Plan, setup: &Setup, name: &str) -> anyhow::Result<Table> {
    let visits = Visits::new(&group.cells, plan.blocks, plan.beginning, group.seed);
    let blocks = visits.blocks().to_vec();
    let last = FIRST_EPOCH + group.epochs - 1;
    // One thread is enough for all watchers, and has no other task.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut daemon, stdin) = Daemon::start(&setup.program)?;
    let (tell, news) = channel();
    let mut watchers = Vec::new();
    for (number, (question, _)) in group.questions.iter().enumerate() {
        let decisions =
            runtime.block_on(async { ask(daemon.connect().await?, *question).await })?;
        let watcher = Watcher::new(number, setup.rule, blocks.len(), last);
        watchers.push(runtime.spawn(follow(decisions, watcher, tell.clone())));
    }
    let observed = std::thread::scope(|scope| {
        let (orders, taken) = sync_channel(1);
        let (made, batches) = sync_channel(1);
        scope.spawn(|| make(visits, made));
        let writer = scope.spawn(|| write(taken, batches, tell, blocks.len(), stdin));
        let mut steps = LockStep::new(orders, &news, watchers.len(), name, setup.progress);
        let done = steps.go_to(last).and_then(|()| steps.end());
        // The writer ends when nobody can tell it to go on.
        drop(steps);
        if done.is_err() {
            // Else the writer may be stuck in a full pipe.
            daemon.kill();
        }
        let written = writer.join().expect("the thread does not panic");
        done.and_then(|()| check(&runtime, &daemon, written))?;
        anyhow::Ok((collect(&runtime, watchers)?, written))
    });
    let (observed, accesses) =
        observed.with_context(|| format!("the daemon said: {}", daemon.said()))?;
    let rows =
        group.questions.iter().zip(&observed).flat_map(|((question, made_for), observed)| {
            group.cells.iter().enumerate().map(|(number, cell)| {
                let of_cell =
                    blocks.iter().enumerate().filter(move |(_, block)| block.cell == number);
                let seen =
                    of_cell.map(|(at, block)| (block, observed.sparse[at], observed.proposed[at]));
                Row::new(*cell, *question, *made_for, seen)
            })
        });
    Ok(Table { rows: rows.collect(), accesses })
}

/// Makes epochs, one ahead of the one that is written.
fn make(mut visits: Visits, made: SyncSender<anyhow::Result<Batch>>) {
    while made.send(visits.next_epoch()).is_ok() {}
}

/// Writes epochs as it is told to. Returns how many accesses were written.
fn write(
    orders: Receiver<Order>,
    batches: Receiver<anyhow::Result<Batch>>,
    tell: Sender<News>,
    blocks: usize,
    stdin: ChildStdin,
) -> u64 {
    let written = || {
        let mut stream = Stream::begin(stdin)?;
        let mut epoch = None;
        for order in orders {
            match (order, epoch) {
                (Order::Epoch, _) => {
                    let batch = batches.recv()??;
                    epoch = Some(batch.epoch);
                    stream.epoch(batch)?;
                }
                (Order::KeepAlive, Some(epoch)) => stream.keep_alive(epoch, blocks)?,
                (Order::KeepAlive, None) => {}
            }
        }
        anyhow::Ok(stream.accesses)
    };
    written().context("the stream").unwrap_or_else(|error| {
        // If nobody listens, somebody else has failed.
        let _ = tell.send(News::Failed(error));
        0
    })
}

/// Lets stream and watchers go one after the other.
struct LockStep<'a> {
    /// None once there is nothing more to write.
    orders: Option<SyncSender<Order>>,
    news: &'a Receiver<News>,
    /// The latest epoch that each watcher has seen.
    seen: Vec<Option<u64>>,
    ended: usize,
    progress: Option<(Instant, &'a str)>,
}

impl<'a> LockStep<'a> {
    fn new(
        orders: SyncSender<Order>,
        news: &'a Receiver<News>,
        watchers: usize,
        name: &'a str,
        tells: bool,
    ) -> Self {
        let progress = tells.then(|| (Instant::now(), name));
        Self { orders: Some(orders), news, seen: vec![None; watchers], ended: 0, progress }
    }

    /// Goes on until every watcher has seen the epoch `last`.
    fn go_to(&mut self, last: u64) -> anyhow::Result<()> {
        for epoch in FIRST_EPOCH..=last + AHEAD {
            if let Some(orders) = &self.orders {
                // If nobody takes it, the writer tells why.
                let _ = orders.send(Order::Epoch);
            }
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
    fn end(&mut self) -> anyhow::Result<()> {
        self.orders = None;
        self.wait(|it| it.ended == it.seen.len()).context("the end of the input")
    }

    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !done(self) {
            match self.news.recv_timeout(KEEP_ALIVE) {
                Ok(News::Seen { watcher, epoch }) => self.seen[watcher] = Some(epoch),
                Ok(News::Ended) => self.ended += 1,
                Ok(News::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Disconnected) => bail!("all watchers are gone"),
                Err(RecvTimeoutError::Timeout) => {
                    let most = self.seen.iter().max();
                    let behind = self.seen.iter().filter(|seen| Some(*seen) < most).count();
                    ensure!(
                        start.elapsed() < PATIENCE,
                        "after {} s there is no answer; {behind} watchers are behind others",
                        PATIENCE.as_secs()
                    );
                    if let Some(orders) = &self.orders {
                        // If the writer is busy, the daemon has something to read.
                        let _ = orders.try_send(Order::KeepAlive);
                    }
                }
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

/// What was written was counted, all of it and in its epoch: else the table says nothing.
fn check(runtime: &Runtime, daemon: &Daemon, written: u64) -> anyhow::Result<()> {
    let answer = runtime.block_on(async {
        anyhow::Ok(daemon.connect().await?.get_status(v1::GetStatusRequest {}).await?)
    })?;
    let ledger = answer.into_inner().ledger.context("the daemon's ledger")?;
    ensure!(
        ledger.counted == written && ledger.records == written && ledger.late == 0,
        "{written} accesses were written; {} records came, {} were counted, {} late",
        ledger.records,
        ledger.counted,
        ledger.late
    );
    Ok(())
}

fn collect(
    runtime: &Runtime,
    watchers: Vec<JoinHandle<Observed>>,
) -> anyhow::Result<Vec<Observed>> {
    watchers.into_iter().map(|watcher| Ok(runtime.block_on(watcher)?)).collect()
}
