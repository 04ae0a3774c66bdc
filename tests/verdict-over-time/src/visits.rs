//! Visits to blocks as they come by time, and the sampled accesses that they leave in the queues of the CPUs.
//!
//! All blocks together are one Poisson process: the time to the next visit is exponential, and whose visit it is depends
//! on the rates alone. The accesses of a visit stand side by side in the queue of a random CPU.

use anyhow::ensure;
use tracegen::bytes::{index, low16};
use tracegen::perf::TimeConv;
use tracegen::rng::Rng;

use crate::blocks::Block;
use crate::cells::{Cell, Heat, NOISE, PAGES, Pattern};
use crate::queue::Queue;

/// Queues, one for each CPU. On both the same process runs.
pub const QUEUES: usize = 2;
/// The first epoch: a time at which a cooling interval begins.
pub const FIRST_EPOCH: u64 = 1000;
/// Nanoseconds of an epoch.
pub const EPOCH_NS: u64 = 1_000_000_000;
/// No visit begins in the last so many ns of an epoch, so that none goes on in the next one.
const MARGIN_NS: u64 = 100_000;
/// Blocks between the last one of a cell and the memory of nobody's.
const BEHIND: usize = 64;
/// Accesses of a long burst.
const BURST: usize = 50;
/// Percentage of bursts that are long.
const LONG: u64 = 10;
/// Pages of a run.
const RUN: usize = 8;

/// What was sampled in an epoch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its number.
    pub epoch: u64,
    /// AUX data of each queue.
    pub aux: [Vec<u8>; QUEUES],
    /// How many accesses there are.
    pub accesses: u64,
}

/// Makes visits, epoch by epoch.
#[derive(Debug)]
pub struct Visits {
    rng: Rng,
    clock: TimeConv,
    cells: Vec<Cell>,
    blocks: Vec<Block>,
    blocks_per_cell: u64,
    /// Each cell as often as its blocks are visited in a second.
    wheel: Vec<usize>,
    /// Mean time between two visits, in ns.
    pause_ns: f64,
    /// When the next visit comes.
    next_ns: u64,
    epoch: u64,
    /// Bytes of a queue in the epoch before, and some more: an epoch has about as many as the one before.
    room: usize,
}

impl Visits {
    /// Blocks of these cells, which begin at random times of the first `beginning` epochs, from [`FIRST_EPOCH`] on.
    pub fn new(cells: &[Cell], blocks_per_cell: usize, beginning: u64, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let start_ns = FIRST_EPOCH * EPOCH_NS;
        let mut blocks = Vec::with_capacity(cells.len() * blocks_per_cell);
        for (at, cell) in cells.iter().enumerate() {
            for number in 0..blocks_per_cell {
                let begins_ns = start_ns + rng.below(beginning * EPOCH_NS);
                blocks.push(Block::new(at, cell, number, begins_ns, &mut rng));
            }
        }
        let times = |(at, cell): (usize, &Cell)| core::iter::repeat_n(at, cell.rate as usize);
        let wheel: Vec<_> = cells.iter().enumerate().flat_map(times).collect();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let visits = (wheel.len() * blocks_per_cell) as f64;
        Self {
            rng,
            clock: TimeConv::default(),
            cells: cells.to_vec(),
            blocks,
            blocks_per_cell: blocks_per_cell as u64,
            wheel,
            pause_ns: 1e9 / visits,
            next_ns: start_ns,
            epoch: FIRST_EPOCH,
            room: 0,
        }
    }

    /// The blocks, in the order of their frames.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The next epoch.
    ///
    /// # Errors
    /// If its accesses have no room in it.
    pub fn next_epoch(&mut self) -> anyhow::Result<Batch> {
        let (start_ns, end_ns) = (self.epoch * EPOCH_NS, (self.epoch + 1) * EPOCH_NS);
        let mut queues: [Queue; QUEUES] = core::array::from_fn(|_| Queue::new(start_ns, self.room));
        loop {
            self.next_ns += self.pause();
            if self.next_ns >= end_ns - MARGIN_NS {
                break;
            }
            let cell = self.wheel[self.rng.index(self.wheel.len())];
            let number =
                cell * index(self.blocks_per_cell) + index(self.rng.below(self.blocks_per_cell));
            let block = &self.blocks[number];
            if block.begins_ns <= self.next_ns {
                let queue = &mut queues[self.rng.index(QUEUES)];
                queue.time_ns = queue.time_ns.max(self.next_ns);
                let visit = Visit { rng: &mut self.rng, block, number, clock: &self.clock, queue };
                visit.write(&self.cells[cell]);
            }
        }
        // Without memory: what would have come in the margin does not come later.
        self.next_ns = end_ns;
        ensure!(
            queues.iter().all(|queue| queue.time_ns < end_ns),
            "epoch {} has more accesses than fit into it: use fewer blocks",
            self.epoch
        );
        let accesses = queues.iter().map(|queue| queue.accesses).sum();
        let aux = queues.map(|queue| queue.bytes);
        self.room = aux.iter().map(|aux| aux.len() + aux.len() / 8).max().unwrap_or(0);
        self.epoch += 1;
        Ok(Batch { epoch: self.epoch - 1, aux, accesses })
    }

    /// Time to the next visit, in ns.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few seconds at most"
    )]
    fn pause(&mut self) -> u64 {
        (-(1.0 - self.rng.unit()).ln() * self.pause_ns) as u64
    }
}

/// A visit that is being written.
struct Visit<'a> {
    rng: &'a mut Rng,
    block: &'a Block,
    number: usize,
    clock: &'a TimeConv,
    queue: &'a mut Queue,
}

impl Visit<'_> {
    fn write(mut self, cell: &Cell) {
        let pages = &self.block.pages;
        let at = self.rng.index(pages.len());
        let page = match cell.heat {
            Heat::Few { .. } if self.rng.percent(NOISE) => low16(self.rng.below(PAGES.into())),
            _ => pages[at],
        };
        match cell.pattern {
            Pattern::Single => self.access(page),
            Pattern::Pair => (0..2).for_each(|_| self.access(page)),
            Pattern::Run => self.run(at),
            Pattern::Burst if self.rng.percent(LONG) => self.burst(at),
            Pattern::Burst => self.access(page),
        }
    }

    /// Goes over the adjacent pages of an aligned group: upwards from one of them, then downwards from there. So each
    /// page is next to one before, and all are as hot as each other.
    fn run(&mut self, at: usize) {
        let pages = &self.block.pages;
        let group = at / RUN * RUN;
        let end = (group + RUN).min(pages.len());
        pages[at..end].iter().for_each(|page| self.access(*page));
        pages[group..at].iter().rev().for_each(|page| self.access(*page));
    }

    /// To one page, or, every other time, to that page and those beside it, as far as they are hot.
    fn burst(&mut self, at: usize) {
        let pages = &self.block.pages;
        let page = pages[at];
        let around = self.rng.percent(50);
        for _ in 0..BURST {
            let other = match self.rng.below(3) {
                0 if around => at.checked_sub(1).map(|at| pages[at]),
                1 if around => pages.get(at + 1).copied(),
                _ => None,
            };
            self.access(other.filter(|other| other.abs_diff(page) == 1).unwrap_or(page));
        }
    }

    fn access(&mut self, page: u16) {
        let byte = self.rng.below(512) << 3;
        self.queue.access(self.number, page, byte, self.clock);
    }
}

/// An access at the end of an epoch, to memory of nobody's: it keeps an input alive and changes no block.
pub fn sign_of_life(epoch: u64, blocks: usize) -> Vec<u8> {
    let mut queue = Queue::new((epoch + 1) * EPOCH_NS - MARGIN_NS / 2, 0);
    queue.access(blocks + BEHIND, 0, 0, &TimeConv::default());
    queue.bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::read;

    fn cell(heat: Heat, rate: u32, pattern: Pattern) -> Cell {
        Cell { heat, rate, pattern }
    }

    #[test]
    fn visits_come_by_time_and_keep_to_their_epoch() {
        let cells = [Pattern::Single, Pattern::Pair, Pattern::Run, Pattern::Burst]
            .map(|pattern| cell(Heat::Even { order: 0, chunks: 154 }, 10, pattern));
        let mut visits = Visits::new(&cells, 50, 10, 1);
        let mut accesses = [0_u32; 4];
        for epoch in FIRST_EPOCH..FIRST_EPOCH + 20 {
            let batch = visits.next_epoch().unwrap();
            assert_eq!(batch.epoch, epoch);
            let queues = batch.aux.map(|aux| read(&aux));
            assert_eq!(queues.iter().map(Vec::len).sum::<usize>() as u64, batch.accesses);
            for queue in &queues {
                assert!(queue.is_sorted_by_key(|(_, _, time)| *time));
                assert!(queue.iter().all(|(_, _, time)| time / EPOCH_NS == epoch));
                for (block, page, _) in queue {
                    let block = &visits.blocks()[*block];
                    assert!(block.pages.contains(page));
                    accesses[block.cell] += 1;
                }
            }
        }
        // 50 blocks, 15 s on average, 10 visits a second; runs are cut short in the last group.
        for (accesses, each) in accesses.into_iter().zip([1.0, 2.0, 7.85, 5.9]) {
            let share = f64::from(accesses) / (50.0 * 15.0 * 10.0 * each);
            assert!((0.85..1.15).contains(&share), "{share}");
        }
    }

    #[test]
    fn runs_touch_adjacent_pages() {
        let cells = [cell(Heat::Even { order: 0, chunks: 16 }, 10, Pattern::Run)];
        let mut visits = Visits::new(&cells, 1, 10, 1);
        for _ in 0..20 {
            for queue in visits.next_epoch().unwrap().aux.map(|aux| read(&aux)) {
                for run in queue.chunks(RUN) {
                    let near = |at: usize| run[..at].iter().any(|it| it.1.abs_diff(run[at].1) == 1);
                    assert!((1..RUN).all(near), "{run:?}");
                    assert!(run[7].2 - run[0].2 < 10_000, "{run:?}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same() {
        let cells = [cell(Heat::Few { pages: 3 }, 30, Pattern::Single)];
        let aux = |seed| Visits::new(&cells, 20, 0, seed).next_epoch().unwrap().aux;
        assert_eq!(aux(3), aux(3));
        assert_ne!(aux(3), aux(4));
    }
}
