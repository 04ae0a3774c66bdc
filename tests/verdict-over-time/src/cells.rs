//! The cells of the table: made-up memory of which the truth is known, and what is asked of it.

use core::fmt;
use std::collections::BTreeSet;

/// Pages of a block.
pub const PAGES: u32 = 512;
/// Percentage of the visits of a power cell that fall anywhere in the block.
pub const NOISE: u64 = 2;
/// Seconds in which a block of a power cell is to be proposed.
pub const IN_TIME: u64 = 30;

/// What a watcher asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// Chunk order.
    pub order: u32, // in 0..=9
    /// Percent of hot chunks from which a block is hot.
    pub threshold: u32, // in 0..=100
}

impl Question {
    /// Chunks of a block.
    pub const fn chunks(self) -> u32 {
        PAGES >> self.order
    }

    /// The least number of hot chunks that reaches the threshold.
    pub const fn least_hot(self) -> u32 {
        (self.threshold * self.chunks()).div_ceil(100)
    }
}

/// Where the visits of a block fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heat {
    /// Evenly on all pages of so many chunks.
    Even {
        /// Order of the chunks.
        order: u32,
        /// How many.
        chunks: u32,
    },
    /// Evenly on one page of each of so many chunks.
    OnePage {
        /// Order of the chunks.
        order: u32,
        /// How many.
        chunks: u32,
    },
    /// Evenly on so many pages, but for [`NOISE`] percent, which fall anywhere.
    Few {
        /// How many.
        pages: u32,
    },
}

impl Heat {
    /// Whether as many chunks are evenly hot as reach the threshold, so that it must not be proposed.
    pub fn is_hot_for(self, asked: Question) -> bool {
        match self {
            Self::Even { chunks, order } if chunks << order == PAGES => true,
            // What is even over whole chunks is even over the smaller ones in them. Over larger ones it need not be.
            Self::Even { chunks, order } if asked.order <= order => {
                chunks << (order - asked.order) >= asked.least_hot()
            }
            Self::OnePage { chunks, order } => asked.order == order && chunks >= asked.least_hot(),
            Self::Even { .. } | Self::Few { .. } => false,
        }
    }

    /// Pages and chunks by which it is asked about: the least number of chunks that must not be proposed, all, and
    /// one between. All pages of all chunks are the same at any order.
    pub fn for_question(asked: Question, one_page: bool) -> BTreeSet<Self> {
        let (least, all) = (asked.least_hot(), asked.chunks());
        let heat = |chunks| match one_page {
            true => Self::OnePage { order: asked.order, chunks },
            false if chunks == all => Self::Even { order: 0, chunks: PAGES },
            false => Self::Even { order: asked.order, chunks },
        };
        [least, u32::midpoint(least, all), all].map(heat).into()
    }

    /// How many chunks of a question's order are hot.
    pub fn hot_chunks(self, asked: Question) -> u32 {
        match self {
            Self::Even { chunks, order } if chunks << order == PAGES => asked.chunks(),
            Self::Even { chunks, order } => chunks << order.saturating_sub(asked.order),
            Self::OnePage { chunks, .. } => chunks,
            Self::Few { pages } => pages,
        }
    }

    /// Its name in the table.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Even { .. } => "even",
            Self::OnePage { .. } => "one page",
            Self::Few { .. } => "power",
        }
    }
}

impl fmt::Display for Heat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even { order, chunks } | Self::OnePage { order, chunks } => {
                write!(f, "{}, {chunks} hot chunks of order {order}", self.kind())
            }
            Self::Few { .. } => write!(f, "{}", self.kind()),
        }
    }
}

/// What a visit leaves in the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Pattern {
    /// One access.
    Single,
    /// Two accesses to one page.
    Pair,
    /// One access to each of 8 adjacent pages.
    Run,
    /// One access; every tenth time 50, to one page or to it and those beside it.
    Burst,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Single, Self::Pair, Self::Run, Self::Burst];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Pair => "pair",
            Self::Run => "run",
            Self::Burst => "burst",
        }
    }
}

/// Blocks that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// Where their visits fall.
    pub heat: Heat,
    /// Visits to each of them in a second, on average.
    pub rate: u32,
    /// What a visit is.
    pub pattern: Pattern,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_number_of_hot_chunks_reaches_the_threshold() {
        for (order, threshold, least) in
            [(0, 10, 52), (0, 30, 154), (0, 50, 256), (2, 10, 13), (4, 10, 4), (4, 30, 10)]
        {
            assert_eq!(Question { order, threshold }.least_hot(), least, "{order} {threshold}");
        }
    }

    #[test]
    fn what_is_even_over_chunks_is_even_over_smaller_ones() {
        let at = |order, threshold| Question { order, threshold };
        let heat = Heat::Even { order: 2, chunks: 39 };
        assert!(heat.is_hot_for(at(2, 30)) && heat.is_hot_for(at(0, 30)));
        assert!(!heat.is_hot_for(at(2, 50)) && !heat.is_hot_for(at(4, 10)));
        assert!(Heat::Even { order: 0, chunks: PAGES }.is_hot_for(at(4, 50)));
        let one_page = Heat::OnePage { order: 2, chunks: 39 };
        assert!(one_page.is_hot_for(at(2, 30)) && !one_page.is_hot_for(at(0, 10)));
    }
}
