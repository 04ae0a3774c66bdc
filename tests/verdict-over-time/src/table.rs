//! The table: a row for each cell and question, and whether it is as it should be.

use core::fmt;
use std::time::Duration;

use crate::blocks::Block;
use crate::cells::{Cell, Heat, IN_TIME, Question};
use crate::visits::EPOCH_NS;

/// Percent of evenly hot blocks that may ever be proposed.
const MOST_WRONG: usize = 1;
/// Percent of blocks with few hot pages that are to be proposed in time.
const LEAST_RIGHT: usize = 95;

/// What became of the blocks of a cell at one order and threshold.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// What was asked.
    pub question: Question,
    /// The cell was made for this question. Others are asked of it because they may be.
    pub made_for: bool,
    /// How many blocks there are.
    pub blocks: usize,
    /// Those whose verdict was sparse at one look or more.
    pub one_look: usize,
    /// Those that were proposed: ever, or in a power cell in time.
    pub proposed: usize,
    /// Time from the beginning of a block to its first proposal that half of them do not exceed, if half of them were
    /// proposed.
    pub median: Option<Duration>,
}

impl Row {
    /// Counts blocks: each with the epochs of its first sparse verdict and of its first proposal.
    pub fn new<'a>(
        cell: Cell,
        question: Question,
        made_for: bool,
        seen: impl Iterator<Item = (&'a Block, Option<u64>, Option<u64>)>,
    ) -> Self {
        let (mut blocks, mut one_look, mut times) = (0, 0, Vec::new());
        for (block, sparse, proposed) in seen {
            blocks += 1;
            one_look += usize::from(sparse.is_some());
            let time = |epoch: u64| ((epoch + 1) * EPOCH_NS).saturating_sub(block.begins_ns);
            times.extend(proposed.map(|epoch| Duration::from_nanos(time(epoch))));
        }
        times.sort_unstable();
        let in_time = times.partition_point(|time| *time <= Duration::from_secs(IN_TIME));
        let proposed = if matches!(cell.heat, Heat::Few { .. }) { in_time } else { times.len() };
        let median = times.get(usize::midpoint(blocks, 1) - 1).copied();
        Self { cell, question, made_for, blocks, one_look, proposed, median }
    }

    /// A bound, and whether it is one from above.
    fn wanted(&self) -> (usize, bool) {
        match self.cell.heat {
            Heat::Few { .. } => ((self.blocks * LEAST_RIGHT).div_ceil(100), false),
            Heat::Even { .. } | Heat::OnePage { .. } => (self.blocks * MOST_WRONG / 100, true),
        }
    }

    /// Whether the bound is kept.
    pub fn is_ok(&self) -> bool {
        match self.wanted() {
            (most, true) => self.proposed <= most,
            (least, false) => self.proposed >= least,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cell, question, blocks, one_look, proposed, .. } = self;
        let (bound, from_above) = self.wanted();
        let wanted = format!("{} {bound}", if from_above { "<=" } else { ">=" });
        let median = match self.median {
            Some(median) if !from_above => format!("{:.1}", median.as_secs_f64()),
            _ => "-".to_owned(),
        };
        write!(
            f,
            "{:<8} {:>5} {:>9} {:>4} {:>8} {:<7} {blocks:>6} {one_look:>8} {proposed:>8} {wanted:>7} {median:>8} {:>4}",
            cell.heat.kind(),
            question.order,
            question.threshold,
            cell.heat.hot_chunks(*question),
            cell.rate,
            cell.pattern.name(),
            if self.is_ok() { "ok" } else { "MISS" },
        )
    }
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The rows, group by group.
    pub rows: Vec<Row>,
    /// Accesses that they rest on.
    pub accesses: u64,
}

impl Table {
    /// Adds another one's rows.
    pub fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.accesses += other.accesses;
    }

    /// Rows whose bound is missed.
    pub fn missed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_ok())
    }

    /// Rows by question, those first that the cells were made for; of the others those that miss their bound.
    fn shown(&self) -> Vec<&Row> {
        let mut shown: Vec<_> =
            self.rows.iter().filter(|row| row.made_for || !row.is_ok()).collect();
        let order = |row: &Row| {
            let Cell { heat, rate, pattern } = row.cell;
            (heat.kind(), row.question, !row.made_for, heat.hot_chunks(row.question), rate, pattern)
        };
        shown.sort_by_key(|row| order(row));
        shown
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kind     order threshold  hot visits/s pattern blocks one look proposed  wanted median s"
        )?;
        for row in self.shown() {
            writeln!(f, "{row}")?;
        }
        let others = || self.rows.iter().filter(|row| !row.made_for);
        writeln!(
            f,
            "The same blocks at other orders and thresholds: {} rows, {} miss their bound, at most {} proposed.",
            others().count(),
            others().filter(|row| !row.is_ok()).count(),
            others().map(|row| row.proposed).max().unwrap_or(0),
        )?;
        write!(f, "{} of {} rows miss their bound.", self.missed().count(), self.rows.len())
    }
}
