//! One group of cells, from its first epoch to its last: a daemon, a stream into it, and a watcher for each question.

use std::sync::mpsc::{channel, sync_channel};

use anyhow::{Context, ensure};
use proto::v1;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::daemon::Daemon;
use crate::lock_step::LockStep;
use crate::plan::{Group, Plan};
use crate::table::{Row, Table};
use crate::visits::{FIRST_EPOCH, Visits};
use crate::watcher::{Observed, Rule, Watcher, ask, follow};
use crate::writer::{make, write};

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
        let (orders, taken) = channel();
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
