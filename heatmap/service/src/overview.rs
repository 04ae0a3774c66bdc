//! All blocks at a glance: a few numbers of each, in no more cells than a picture has room for.
//!
//! A cell is a run of blocks: one block, or 2, 4, 8... where there are too many. It tells of the
//! block in it that has the hottest page, so that a hot page is never lost among cold ones.

use decoder::{FolioPfn, Pfn};
use serde::Serialize;

use super::asked::Asked;

/// Most cells.
pub(super) const MOST_CELLS: usize = 65_536;

/// Which blocks are wanted, and in how many cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapPart {
    /// The first block.
    pub(super) first: FolioPfn,
    /// The last page frame, inclusive.
    pub(super) last: u64,
    /// Most cells, at least 1.
    pub(super) cells: usize,
}

impl Default for MapPart {
    fn default() -> Self {
        Self { first: Pfn::new_truncate(0).folio(), last: u64::MAX, cells: MOST_CELLS }
    }
}

/// Cells in the order of addresses, as columns: the same place in each column is one cell.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    sequence: u64,
    epoch: Option<u64>,
    order: u8,
    hot_threshold: u8,
    /// Blocks in a cell, with and without accesses; a power of two. Cell n begins at block
    /// n * this.
    blocks_per_cell: u64,
    /// Blocks with accesses.
    folios: u64,
    /// Accesses of the hottest page of all.
    peak: u32,
    /// The block that its cell tells of.
    folio_pfn: Vec<String>,
    /// Blocks with accesses in the cell.
    blocks: Vec<u64>,
    /// Accesses of the block.
    accesses: Vec<u64>,
    /// Accesses of its hottest page.
    page_peak: Vec<u32>,
    /// Its pages with accesses.
    touched_pages: Vec<u32>,
    hot_percent: Vec<u32>,
    verdict: Vec<Option<&'static str>>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    pfn: FolioPfn,
    blocks: u64,
    accesses: u64,
    page_peak: u32,
    touched_pages: u32,
    hot_percent: u32,
    verdict: Option<&'static str>,
}

impl Cell {
    /// Takes in the next cell. Of equally hot ones the first stays.
    fn join(&mut self, next: Self) {
        let blocks = self.blocks + next.blocks;
        if next.page_peak > self.page_peak {
            *self = next;
        }
        self.blocks = blocks;
    }
}

/// Cells that come in ascending order.
#[derive(Debug)]
struct Cells {
    list: Vec<Cell>,
    blocks_per_cell: u64,
    most: usize,
}

impl Cells {
    fn push(&mut self, cell: Cell) {
        let place = |cell: &Cell| cell.pfn.number() / self.blocks_per_cell;
        match self.list.last_mut() {
            Some(last) if place(last) == place(&cell) => last.join(cell),
            _ => self.list.push(cell),
        }
        while self.list.len() > self.most {
            self.blocks_per_cell *= 2;
            let blocks_per_cell = self.blocks_per_cell;
            self.list.dedup_by(|next, cell| {
                let same =
                    next.pfn.number() / blocks_per_cell == cell.pfn.number() / blocks_per_cell;
                if same {
                    cell.join(*next);
                }
                same
            });
        }
    }
}

/// The overview of a part of memory.
pub(super) fn overview(asked: &Asked, part: MapPart) -> Overview {
    let mut cells = Cells { list: Vec::new(), blocks_per_cell: 1, most: part.cells.max(1) };
    let mut folios = 0;
    let blocks = asked.snapshot.folios(part.first);
    for folio in blocks.take_while(|folio| folio.pfn().get() <= part.last) {
        let Some(fraction) = folio.fraction(&asked.judge) else { continue };
        folios += 1;
        // A chunk of order 0 is a page.
        let page_peak = match asked.order.get() {
            0 => u32::try_from(fraction.found.hot.peak).unwrap_or(u32::MAX),
            _ => folio.counts().into_iter().max().unwrap_or(0),
        };
        cells.push(Cell {
            pfn: folio.pfn(),
            blocks: 1,
            accesses: fraction.accesses,
            page_peak,
            touched_pages: fraction.touched_pages,
            hot_percent: fraction.found.hot.percent(),
            verdict: fraction.found.verdict.map(|verdict| verdict.as_str()),
        });
    }
    let list = &cells.list;
    Overview {
        sequence: asked.snapshot.sequence,
        epoch: asked.snapshot.epoch,
        order: asked.order.get(),
        hot_threshold: asked.threshold.get(),
        blocks_per_cell: cells.blocks_per_cell,
        folios,
        peak: list.iter().map(|cell| cell.page_peak).max().unwrap_or(0),
        folio_pfn: list.iter().map(|cell| format!("{:#x}", cell.pfn.get())).collect(),
        blocks: list.iter().map(|cell| cell.blocks).collect(),
        accesses: list.iter().map(|cell| cell.accesses).collect(),
        page_peak: list.iter().map(|cell| cell.page_peak).collect(),
        touched_pages: list.iter().map(|cell| cell.touched_pages).collect(),
        hot_percent: list.iter().map(|cell| cell.hot_percent).collect(),
        verdict: list.iter().map(|cell| cell.verdict).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(most: usize, blocks: &[(u64, u32)]) -> Vec<(u64, u64, u32)> {
        let mut cells = Cells { list: Vec::new(), blocks_per_cell: 1, most };
        for (number, page_peak) in blocks {
            cells.push(Cell {
                pfn: FolioPfn::from_number(*number),
                blocks: 1,
                accesses: 0,
                page_peak: *page_peak,
                touched_pages: 0,
                hot_percent: 0,
                verdict: None,
            });
        }
        cells.list.iter().map(|cell| (cell.pfn.number(), cell.blocks, cell.page_peak)).collect()
    }

    #[test]
    fn neighbours_share_a_cell_only_where_there_is_no_room() {
        let blocks = [(0, 1), (1, 9), (2, 1), (3, 1), (8, 2), (9, 2), (20, 1)];
        assert_eq!(cells(7, &blocks).len(), 7);
        assert_eq!(cells(6, &blocks), [(1, 2, 9), (2, 2, 1), (8, 2, 2), (20, 1, 1)]);
        assert_eq!(cells(3, &blocks), [(1, 4, 9), (8, 2, 2), (20, 1, 1)]);
        assert_eq!(cells(1, &blocks), [(1, 7, 9)]);
    }

    #[test]
    fn far_apart_and_equally_hot_blocks_share_the_first_ones_cell() {
        let blocks: Vec<_> = (0..10).map(|at| (at << 30, 1)).collect();
        assert_eq!(cells(1, &blocks), [(0, 10, 1)]);
    }
}
