//! Letters of 3 by 5 dots, for pictures made of dots. There are capitals only.

/// Dots of a letter with the space behind it, each drawn twice as large.
pub(super) const WIDTH: u32 = 8;
/// How large a dot is drawn.
const SCALE: u32 = 2;

/// The rows of a letter from above, each with its leftmost dot in bit 2.
#[rustfmt::skip]
const fn rows(letter: u8) -> [u8; 5] {
    match letter.to_ascii_uppercase() {
        b'0' => [7, 5, 5, 5, 7], b'1' => [2, 6, 2, 2, 7], b'2' => [7, 1, 7, 4, 7], b'3' => [7, 1, 7, 1, 7],
        b'4' => [5, 5, 7, 1, 1], b'5' => [7, 4, 7, 1, 7], b'6' => [7, 4, 7, 5, 7], b'7' => [7, 1, 2, 2, 2],
        b'8' => [7, 5, 7, 5, 7], b'9' => [7, 5, 7, 1, 7],
        b'A' => [2, 5, 7, 5, 5], b'B' => [6, 5, 6, 5, 6], b'C' => [3, 4, 4, 4, 3], b'D' => [6, 5, 5, 5, 6],
        b'E' => [7, 4, 6, 4, 7], b'F' => [7, 4, 6, 4, 4], b'G' => [3, 4, 5, 5, 3], b'H' => [5, 5, 7, 5, 5],
        b'I' => [7, 2, 2, 2, 7], b'J' => [1, 1, 1, 5, 2], b'K' => [5, 5, 6, 5, 5], b'L' => [4, 4, 4, 4, 7],
        b'M' => [5, 7, 7, 5, 5], b'N' => [6, 5, 5, 5, 5], b'O' => [2, 5, 5, 5, 2], b'P' => [6, 5, 6, 4, 4],
        b'Q' => [2, 5, 5, 6, 3], b'R' => [6, 5, 6, 5, 5], b'S' => [3, 4, 2, 1, 6], b'T' => [7, 2, 2, 2, 2],
        b'U' => [5, 5, 5, 5, 7], b'V' => [5, 5, 5, 5, 2], b'W' => [5, 5, 7, 7, 5], b'X' => [5, 5, 2, 5, 5],
        b'Y' => [5, 5, 2, 2, 2], b'Z' => [7, 1, 2, 4, 7],
        b' ' => [0, 0, 0, 0, 0], b'.' => [0, 0, 0, 0, 2], b',' => [0, 0, 0, 2, 4], b':' => [0, 2, 0, 2, 0],
        b';' => [0, 2, 0, 2, 4], b'-' => [0, 0, 7, 0, 0], b'_' => [0, 0, 0, 0, 7], b'/' => [1, 1, 2, 4, 4],
        b'%' => [5, 1, 2, 4, 5], b'(' => [1, 2, 2, 2, 1], b')' => [4, 2, 2, 2, 4], b'=' => [0, 7, 0, 7, 0],
        b'+' => [0, 2, 7, 2, 0], b'<' => [1, 2, 4, 2, 1], b'>' => [4, 2, 1, 2, 4], b'\'' | b'`' => [2, 2, 0, 0, 0],
        b'"' => [5, 5, 0, 0, 0],
        // A box stands for what there is no letter of.
        _ => [7, 5, 5, 5, 7],
    }
}

/// The dots of a text that starts at a place.
pub(super) fn dots(text: &str, x: u32, y: u32) -> impl Iterator<Item = (u32, u32)> {
    let starts = (0..).map(move |at: u32| x + at * WIDTH);
    let letters = text.chars().map(|letter| u8::try_from(letter).unwrap_or(0)).zip(starts);
    letters.flat_map(move |(letter, x)| {
        rows(letter).into_iter().zip(0..).flat_map(move |(row, down)| {
            let set = (0..3).filter(move |right| row >> (2 - right) & 1 == 1);
            set.flat_map(move |right| {
                let (x, y) = (x + right * SCALE, y + down * SCALE);
                (0..SCALE * SCALE).map(move |dot| (x + dot % SCALE, y + dot / SCALE))
            })
        })
    })
}
