//! Which cells are measured, and in which streams.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::cells::{Cell, Heat, IN_TIME, Pattern, Question};

/// Where the power cells are asked.
const POWER: Question = Question { order: 0, threshold: 30 };
/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Blocks of a cell.
    pub blocks: usize,
    /// Seconds of the trace in which they are looked at.
    pub epochs: u64,
    /// Blocks begin at random times of the first so many seconds. With a cooling interval its ends find them at every
    /// age; with 0 all begin as the first interval does.
    pub beginning: u64,
    /// Seed of all randomness.
    pub seed: u64,
    /// Visits in a second.
    pub rates: Vec<u32>,
    /// Chunk orders, in 0..=8.
    pub orders: Vec<u32>,
    /// Thresholds, in 1..=100.
    pub thresholds: Vec<u32>,
    /// What visits are.
    pub patterns: Vec<Pattern>,
    /// Hot pages and visits in a second of each power cell.
    pub power_cells: Vec<(u32, u32)>,
    /// Measure evenly hot chunks with one hot page too.
    pub one_page: bool,
}

/// Cells that one stream holds, and what is asked of all of them.
#[derive(Clone, Debug)]
pub struct Group {
    /// The cells, all of one kind of heat.
    pub cells: Vec<Cell>,
    /// The questions; of each, whether the cells were made for it.
    pub questions: Vec<(Question, bool)>,
    /// Epochs that are looked at.
    pub epochs: u64,
    /// Seed of the randomness of its blocks and visits.
    pub seed: u64,
}

impl Plan {
    /// The power cells that a proposal must not miss: hot pages and visits in a second.
    pub const POWER_CELLS: [(u32, u32); 13] = [
        (3, 3),
        (3, 10),
        (3, 30),
        (8, 3),
        (8, 10),
        (8, 30),
        (15, 3),
        (15, 10),
        (15, 30),
        (25, 10),
        (25, 30),
        (40, 10),
        (40, 30),
    ];

    /// All cells. Those of equal heat go into one stream, since the same questions may be asked of them: blocks that
    /// are rightly proposed at another order or threshold would only cost time.
    pub fn groups(&self) -> Vec<Group> {
        let questions = self.orders.iter().flat_map(|order| {
            self.thresholds
                .iter()
                .map(|threshold| Question { order: *order, threshold: *threshold })
        });
        let questions: BTreeSet<Question> = questions.collect();
        let mut heats: BTreeMap<Heat, BTreeSet<Question>> = BTreeMap::new();
        for asked in &questions {
            let mut made = Heat::for_question(*asked, false);
            // At order 0 a chunk is one page.
            if self.one_page && asked.order > 0 {
                made.append(&mut Heat::for_question(*asked, true));
            }
            for heat in made {
                heats.entry(heat).or_default().insert(*asked);
            }
        }
        let mut groups: Vec<_> = heats
            .into_iter()
            .map(|(heat, made_for)| {
                let asked = questions.iter().filter(|asked| heat.is_hot_for(**asked));
                Group {
                    cells: self.cells(heat),
                    questions: asked.map(|asked| (*asked, made_for.contains(asked))).collect(),
                    epochs: self.epochs,
                    seed: self.seed_of(heat),
                }
            })
            .collect();
        let power = |&(pages, rate): &(u32, u32)| Cell {
            heat: Heat::Few { pages },
            rate,
            pattern: Pattern::Single,
        };
        if !self.power_cells.is_empty() {
            groups.push(Group {
                cells: self.power_cells.iter().map(power).collect(),
                questions: vec![(POWER, true)],
                epochs: self.epochs.min(IN_TIME + self.beginning),
                seed: self.seed_of(Heat::Few { pages: 0 }),
            });
        }
        groups.retain(|group| !group.cells.is_empty());
        groups
    }

    /// What one heat comes to does not depend on what others there are.
    fn seed_of(&self, heat: Heat) -> u64 {
        let (kind, order, chunks) = match heat {
            Heat::Even { order, chunks } => (1, order, chunks),
            Heat::OnePage { order, chunks } => (2, order, chunks),
            Heat::Few { pages } => (3, 0, pages),
        };
        self.seed << 32 | kind << 24 | u64::from(order) << 16 | u64::from(chunks)
    }

    fn cells(&self, heat: Heat) -> Vec<Cell> {
        // Pages beside a chunk's only hot one would be hot too.
        let fits =
            |pattern: &&Pattern| **pattern != Pattern::Run || !matches!(heat, Heat::OnePage { .. });
        let cells = self.rates.iter().flat_map(|rate| {
            let patterns = self.patterns.iter().filter(fits);
            patterns.map(|pattern| Cell { heat, rate: *rate, pattern: *pattern })
        });
        cells.collect()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cells.first() {
            Some(cell) => cell.heat.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_cells_of_its_own() {
        let plan = Plan {
            blocks: 1,
            epochs: 1,
            beginning: 10,
            seed: 1,
            rates: vec![3, 10, 30],
            orders: vec![0, 2, 4],
            thresholds: vec![10, 30, 50],
            patterns: Pattern::ALL.to_vec(),
            power_cells: Vec::new(),
            one_page: false,
        };
        let groups = plan.groups();
        // Two for each question, and all pages.
        assert_eq!(groups.len(), 2 * 9 + 1);
        let made = groups.iter().map(|group| {
            group.cells.len() * group.questions.iter().filter(|(_, made)| *made).count()
        });
        assert_eq!(made.sum::<usize>(), 9 * 3 * 3 * 4);
    }
}
