//! Measures, on the daemon itself, how often it ever proposes blocks of which the truth is known.
//!
//! A block is judged anew every second, and a policy acts on the first proposal. So a verdict that is rarely wrong at
//! one look may be wrong for nearly every block over ten minutes. This program makes memory up, streams its accesses to
//! `folioscope serve -`, and follows the decisions as a policy does:
//!
//! ```text
//! cells -> blocks -> visits -> stream -> folioscope serve -> watchers -> table
//! truth    pages     accesses  Arm SPE      WatchDecisions   ever proposed?
//! ```
//!
//! | kind | truth | wanted |
//! | --- | --- | --- |
//! | `even` | as many chunks are evenly hot as reach the threshold, or more | at most 1 % ever proposed |
//! | `one page` | the same, with one hot page in each hot chunk | the same |
//! | `power` | a few hot pages, and 2 % of the visits anywhere | 95 % proposed within 30 s |
//!
//! Stream and watchers go in lock step, an epoch at a time, so that every watcher sees every epoch: see [`lock_step`].
#![forbid(unsafe_code)]

pub mod blocks;
pub mod cells;
pub mod daemon;
pub mod lock_step;
pub mod news;
pub mod plan;
pub mod queue;
pub mod run;
pub mod stream;
pub mod table;
pub mod visits;
pub mod watcher;
pub mod writer;

use anyhow::Context;

pub use cells::{Pattern, Question};
pub use plan::Plan;
pub use run::Setup;
pub use table::Table;

/// Measures all cells of a plan.
///
/// # Errors
/// If the daemon fails, or answers otherwise than it should.
pub fn measure(plan: &Plan, setup: &Setup) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let groups = plan.groups();
    for (number, group) in groups.iter().enumerate() {
        let name = format!("{}/{} {group}", number + 1, groups.len());
        table.append(run::run(group, plan, setup, &name).with_context(|| name.clone())?);
    }
    Ok(table)
}

/// The short form, for tests: a few cells at order 0 and 30 %, for two minutes of the trace.
///
/// # Errors
/// As [`measure`].
pub fn measure_short(program: &[String]) -> anyhow::Result<Table> {
    let plan = Plan {
        blocks: 60,
        epochs: 120,
        beginning: 10,
        seed: 1,
        rates: vec![10],
        orders: vec![0],
        thresholds: vec![30],
        patterns: vec![Pattern::Single, Pattern::Run, Pattern::Burst],
        power_cells: vec![(8, 10)],
        one_page: false,
    };
    measure(&plan, &Setup::new(program))
}
