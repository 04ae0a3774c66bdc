//! One block as a line of 64 cells.
//!
//! A cell shows the hottest of its 8 pages, not their mean: one hot page in a cold block is
//! what people look for. Heat is told against the hottest page of the same block, in the
//! filter's own arithmetic, so that the upper four levels are exactly the pages that are
//! hot at order 0.

use decoder::PAGES_PER_FOLIO;

/// Cells of a line.
pub const CELLS: usize = 64;

/// Pages of a cell.
pub const PAGES_PER_CELL: usize = PAGES_PER_FOLIO / CELLS;

/// Levels of heat, without the level 0 of untouched cells.
pub const LEVELS: usize = 9;

/// The least part of the hottest page that each level from the highest down still needs:
/// one in so many. What is less has level 1.
pub const ONE_IN: [u32; LEVELS - 1] = [2, 3, 5, 10, 30, 100, 300, 1000];

/// The character of each level in plain text; ASCII.
pub const CHARACTERS: [char; LEVELS + 1] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// The terminal colour of levels 1 to 9, out of the 6 x 6 x 6 cube: from dark blue over
/// magenta and orange to near white, each brighter than the one before. Levels 6 to 9, the
/// hot ones, are the orange and yellow ones.
pub const COLOURS: [u8; LEVELS] = [18, 54, 90, 126, 161, 202, 208, 220, 230];

/// The level of `count` beside the block's hottest page: 0 for no access, 1 to 9 for more.
pub fn level(count: u32, peak: u32) -> usize {
    if count == 0 {
        return 0;
    }
    let below = ONE_IN.iter().take_while(|&&parts| count < (peak / parts).max(1)).count();
    LEVELS - below
}

/// The level of each cell, low addresses first.
pub fn levels(counts: &[u32; PAGES_PER_FOLIO]) -> [usize; CELLS] {
    let peak = counts.iter().copied().max().unwrap_or(0);
    let mut levels = [0; CELLS];
    for (cell, pages) in levels.iter_mut().zip(counts.chunks_exact(PAGES_PER_CELL)) {
        *cell = level(pages.iter().copied().max().unwrap_or(0), peak);
    }
    levels
}

/// The line in ASCII, [`CELLS`] characters.
pub fn plain(counts: &[u32; PAGES_PER_FOLIO]) -> String {
    levels(counts).into_iter().map(|level| CHARACTERS[level]).collect()
}

/// The line as coloured backgrounds; untouched cells keep the terminal's own background and
/// have a faint dot.
pub fn coloured(counts: &[u32; PAGES_PER_FOLIO]) -> String {
    use std::fmt::Write;
    let levels = levels(counts);
    let mut line = String::new();
    for cells in levels.chunk_by(|a, b| a == b) {
        // Writing to a string cannot fail.
        let _ = match cells[0] {
            0 => write!(line, "\x1b[38;5;240m{}\x1b[0m", "\u{b7}".repeat(cells.len())),
            level => {
                let colour = COLOURS[level - 1];
                write!(line, "\x1b[48;5;{colour}m{:1$}\x1b[0m", "", cells.len())
            }
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(touched: &[(usize, u32)]) -> [u32; PAGES_PER_FOLIO] {
        let mut counts = [0; PAGES_PER_FOLIO];
        touched.iter().for_each(|&(page, count)| counts[page] = count);
        counts
    }

    #[test]
    fn a_cell_shows_its_hottest_page() {
        let mut cold = [1; PAGES_PER_FOLIO];
        cold[0..8].fill(0);
        cold[300] = 10_000;
        cold[511] = 1_000;
        let mut want = [1; CELLS];
        want[0] = 0;
        want[300 / 8] = 9;
        want[63] = 6;
        assert_eq!(levels(&cold), want);
        let line = plain(&cold);
        assert_eq!(line.len(), CELLS);
        assert_eq!(&line[..3], " ..");
        assert_eq!(&line[36..39], ".@.");
        assert_eq!(&line[62..], ".*");
    }

    #[test]
    fn level_steps_stand_where_the_legend_says() {
        let cases = [
            (0, 0),
            (1, 1),
            (29, 1),
            (30, 2),
            (99, 2),
            (100, 3),
            (299, 3),
            (300, 4),
            (999, 4),
            (1000, 5),
            (2999, 5),
            (3000, 6),
            (5999, 6),
            (6000, 7),
            (9999, 7),
            (10_000, 8),
            (14_999, 8),
            (15_000, 9),
            (30_000, 9),
        ];
        for (count, want) in cases {
            assert_eq!(level(count, 30_000), want, "{count} of 30,000");
        }
        assert_eq!(level(u32::MAX, u32::MAX), 9);
        assert_eq!(level(1, u32::MAX), 1);
        assert_eq!(level(1, 1), 9, "one access is the hottest page there is");
    }

    #[test]
    fn untouched_and_touched_cells_differ_in_colour_too() {
        let line = coloured(&counts(&[(8, 1), (9, 100), (511, 9)]));
        let dot = |cells| format!("\x1b[38;5;240m{}\x1b[0m", "\u{b7}".repeat(cells));
        assert_eq!(line, dot(1) + "\x1b[48;5;230m \x1b[0m" + &dot(61) + "\x1b[48;5;161m \x1b[0m");
    }

    #[test]
    fn colours_grow_brighter_from_level_to_level() {
        let brightness = |colour: u8| {
            let steps = [0.0_f64, 95.0, 135.0, 175.0, 215.0, 255.0];
            let index = usize::from(colour - 16);
            let linear = |step: usize| (steps[step] / 255.0).powf(2.2);
            0.2126 * linear(index / 36)
                + 0.7152 * linear(index / 6 % 6)
                + 0.0722 * linear(index % 6)
        };
        assert!(COLOURS.is_sorted_by(|&a, &b| brightness(a) < brightness(b)));
    }

    proptest! {
        /// The filter of the kernel at order 0: hot is at least max(peak / 10, 1).
        #[test]
        fn the_upper_levels_are_the_hot_pages(count in 1..=u32::MAX, more in any::<u32>()) {
            let peak = count.saturating_add(more);
            prop_assert_eq!(level(count, peak) >= 6, count >= (peak / 10).max(1));
        }

        #[test]
        fn more_is_never_less_hot(peak in 1..=u32::MAX, a in any::<u32>(), b in any::<u32>()) {
            let (a, b) = (a % peak, b % peak);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(level(low, peak) <= level(high, peak));
        }
    }
}
