//! The list of hottest blocks, as people read it.

use heatmap::{NOT_JUDGED, Report, TopFolio, Verdict};

use super::heat_line;
use super::layout::{Line, Paint, counted, hanging, thousands};
use super::style::Style;

/// The head of the list of hottest blocks, and how to read a heat line.
pub(super) fn top_legend(report: &Report, style: Style) -> Vec<Line> {
    if report.top.is_empty() {
        return Vec::new();
    }
    let listed = report.top.len() as u64;
    let title = if listed == report.folios {
        format!("All {}, hottest first", counted(listed, "block", "blocks"))
    } else {
        format!("Hottest {} of {} blocks", thousands(listed), thousands(report.folios))
    };
    let untouched = if style.color { "dots are untouched" } else { "blanks are untouched" };
    let text = format!(
        "Heat lines: one block, low addresses first, 64 cells of 8 pages. A cell shows which \
         part of the accesses of the block's hottest page its own hottest page has at least; a \
         part is rounded down, and at least 1 access; {untouched}; from 1/10 up a page is hot at \
         order 0:"
    );
    let mut lines = vec![Line::new(style).paint(Paint::Title, &title)];
    lines.extend(hanging(Line::new(style), Some(Paint::Faint), &text));
    let mut scale = Line::new(style);
    for level in (1..=heat_line::LEVELS).rev() {
        scale = if style.color {
            let colour = heat_line::COLOURS[level - 1];
            scale.push(" ").raw(&format!("\x1b[48;5;{colour}m  \x1b[0m"), 2)
        } else {
            scale.push("  ").push(&heat_line::CHARACTERS[level].to_string())
        };
        scale = match heat_line::ONE_IN.get(heat_line::LEVELS - level) {
            Some(parts) => scale.push(&format!(" 1/{parts}")),
            None => scale.push(" less"),
        };
    }
    lines.push(scale);
    lines
}

/// Columns of the table of hottest blocks.
const COLUMNS: usize = 10;
/// Those that a narrow terminal does without, in that order.
const SPARED: [usize; 2] = [VISITS, COLD];
const VISITS: usize = 6;
const COLD: usize = 7;
const VERDICT: usize = 8;

/// The table of hottest blocks: columns as wide as their widest text.
pub(super) struct TopColumns {
    style: Style,
    widths: [usize; COLUMNS],
    /// Which columns are shown.
    shown: [bool; COLUMNS],
    /// Whether the columns fit; otherwise each row is a sentence.
    fits: bool,
}

impl TopColumns {
    const HEAD: [&str; COLUMNS] =
        ["", "PFN", "accesses", "pages", "hot chunks", "", "visits", "cold", "verdict", "backing"];

    pub(super) fn new(top: &[TopFolio], style: Style) -> Self {
        let mut widths = Self::HEAD.map(str::len);
        for (index, folio) in top.iter().enumerate() {
            for (width, text) in widths.iter_mut().zip(Self::texts(index + 1, folio)) {
                *width = text.len().max(*width);
            }
        }
        let mut shown = [true; COLUMNS];
        let sum = |shown: &[bool; COLUMNS]| -> usize {
            let widths = widths.iter().zip(shown).filter(|(_, shown)| **shown);
            widths.map(|(width, _)| width + 2).sum()
        };
        let fits = |shown: &[bool; COLUMNS]| sum(shown) - 2 <= style.width();
        for column in SPARED {
            if !fits(&shown) {
                shown[column] = false;
            }
        }
        Self { style, widths, shown, fits: fits(&shown) }
    }

    fn texts(rank: usize, folio: &TopFolio) -> [String; COLUMNS] {
        [
            rank.to_string(),
            folio.folio_pfn.to_string(),
            thousands(folio.accesses),
            format!("{}/512", folio.touched_pages),
            format!("{}/{}", folio.hot_chunks, folio.chunks),
            format!("{} %", folio.hot_percent),
            thousands(folio.evidence.visits),
            folio.evidence.cold_share.map_or_else(|| "-".to_owned(), |share| format!("{share} %")),
            folio.verdict.map_or(NOT_JUDGED, Verdict::words).to_owned(),
            folio.backing.name().to_owned(),
        ]
    }

    pub(super) fn head(&self) -> Vec<Line> {
        if !self.fits {
            return Vec::new();
        }
        vec![
            self.line(Self::HEAD.map(str::to_owned), |line, _, text| {
                line.paint(Paint::Faint, text)
            }),
        ]
    }

    /// The block's line and its heat line.
    pub(super) fn rows(&self, rank: usize, folio: &TopFolio) -> Vec<Line> {
        let texts = Self::texts(rank, folio);
        let mut lines = if self.fits {
            let verdict = folio.verdict;
            vec![self.line(texts, |line, column, text| match (column, verdict) {
                (1, _) => line.paint(Paint::Title, text),
                (VERDICT, Some(Verdict::Hot)) => line.paint(Paint::Heat, text),
                (VERDICT, Some(Verdict::Sparse)) => line.paint(Paint::Note, text),
                (VERDICT, _) => line.paint(Paint::Faint, text),
                _ => line.push(text),
            })]
        } else {
            let [rank, pfn, accesses, touched, hot, percent, visits, cold, verdict, backing] =
                texts;
            let text = format!(
                "PFN {pfn}, {accesses} accesses, {visits} visits, {touched} pages, {hot} chunks hot \
                 ({percent}), cold share {cold}, {verdict}, backing {backing}"
            );
            hanging(Line::new(self.style).push(&rank).push("  "), None, &text)
        };
        let Some(counts) = &folio.counts else { return lines };
        let heat =
            if self.style.color { heat_line::coloured(counts) } else { heat_line::plain(counts) };
        let indent = self.widths[0] + 1;
        let line = Line::new(self.style).to(indent).push("|").raw(&heat, heat_line::CELLS);
        lines.push(line.push("|"));
        lines
    }

    /// Words to the left, numbers to the right of their columns.
    fn line(&self, texts: [String; COLUMNS], push: impl Fn(Line, usize, &str) -> Line) -> Line {
        let mut line = Line::new(self.style);
        let mut start = 0;
        for (column, (text, width)) in texts.iter().zip(self.widths).enumerate() {
            if !self.shown[column] {
                continue;
            }
            let blanks = if matches!(column, 0 | 2..=COLD) { width - text.len() } else { 0 };
            line = push(line.to(start + blanks), column, text);
            start += width + 2;
        }
        line
    }
}
