//! A picture before it has a form: rectangles and lines of text.

use decoder::PAGES_PER_FOLIO;
use heatmap::{Report, TopFolio, Verdict};

use super::palette::{Colour, heat};
use crate::layout::thousands;

/// Pages of a row.
pub(super) const PAGES: u32 = 512;
/// Dots of a page.
pub(super) const PAGE: u32 = 2;
/// Left of the rows: addresses.
pub(super) const LEFT: u32 = 104;
/// Right of the rows: verdicts.
const RIGHT: u32 = 40;
/// Between parts.
const GAP: u32 = 12;
/// Height of a line of text.
const LINE: u32 = 16;
/// Dots between addresses, at least.
const LABELS: u32 = 18;

/// A picture before it has a form.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) shapes: Vec<Shape>,
    pub(super) texts: Vec<Text>,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) colour: Colour,
    /// The row it belongs to, for what is told of it.
    pub(super) row: Option<usize>,
}

/// A line of text; `y` is its upper edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) text: String,
    pub(super) colour: Colour,
}

/// Dots of a row, by how many there are.
fn row_height(blocks: usize) -> u32 {
    match blocks {
        0..=100 => 8,
        101..=300 => 4,
        301..=1100 => 3,
        _ => 2,
    }
}

/// The letter of a verdict.
const fn letter(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Hot) => "H",
        Some(Verdict::Sparse) => "S",
        Some(Verdict::Undersampled) => "U",
        Some(Verdict::Filtered) => "F",
        Some(Verdict::Unsplittable) => "N",
        None => "-",
    }
}

/// The picture of a report's blocks.
pub(super) fn of(report: &Report, blocks: &[&TopFolio]) -> Scene {
    let counts = blocks.iter().filter_map(|folio| folio.counts.as_deref());
    let most = counts.flatten().copied().max().unwrap_or(0);
    let width = LEFT + PAGES * PAGE + RIGHT;
    let mut scene = Scene { width, ..Scene::default() };
    let mut y = GAP;
    for (text, colour) in head(report, blocks.len()) {
        scene.texts.push(Text { x: GAP, y, text, colour });
        y += LINE;
    }
    y += GAP / 2;
    y = legend(&mut scene, y, most);
    y = axis(&mut scene, y);
    rows(&mut scene, &mut y, blocks, most);
    scene.height = y + GAP;
    scene
}

/// The lines above the picture.
fn head(report: &Report, shown: usize) -> Vec<(String, Colour)> {
    let mut lines = vec![(
        format!(
            "{}: {} accesses to {} pages of {} blocks of 2 MiB",
            report.input.path,
            thousands(report.accesses),
            thousands(report.pages),
            thousands(report.folios)
        ),
        Colour::Ink,
    )];
    let which = if shown as u64 == report.folios {
        "Each row is a block, low addresses above; each column is one of its 512 pages of 4 KiB."
            .to_owned()
    } else {
        format!(
            "Each row is one of the {} hottest blocks, low addresses above; each column is one of its 512 pages.",
            thousands(shown as u64)
        )
    };
    lines.push((which, Colour::Quiet));
    let losses: Vec<_> = report
        .ledger
        .losses()
        .map(|(name, count)| format!("{name} {}", thousands(count)))
        .collect();
    if !losses.is_empty() {
        lines.push((format!("SOMETHING WAS LOST: {}", losses.join(", ")), Colour::Alarm));
    }
    for reason in &report.ledger.recording_incomplete {
        lines.push((format!("NOT COMPLETE: {reason}"), Colour::Alarm));
    }
    if let Some(reason) = &report.reason {
        lines.push((format!("Nothing was counted: {reason}"), Colour::Alarm));
    }
    lines
}

/// The colours and what they mean.
fn legend(scene: &mut Scene, y: u32, most: u32) -> u32 {
    const STEPS: u32 = 64;
    const STEP: u32 = 4;
    let mut shape = |x, width, colour| {
        scene.shapes.push(Shape { x, y, width, height: LINE - 4, colour, row: None });
    };
    shape(LEFT, 3 * STEP, Colour::Untouched);
    let start = LEFT + 130;
    for step in 0..STEPS {
        let exponent = f64::from(step) / f64::from(STEPS - 1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to `most`")]
        let count = f64::from(most.max(1)).powf(exponent).round() as u32;
        shape(start + step * STEP, STEP, heat(count, most));
    }
    let end = start + STEPS * STEP;
    let mut text = |x, text: String| {
        scene.texts.push(Text { x, y, text, colour: Colour::Quiet });
    };
    text(LEFT + 5 * STEP, "untouched".to_owned());
    text(start - 10, "1".to_owned());
    text(end + 6, format!("{} accesses of a page, by factors", thousands(u64::from(most))));
    let verdicts =
        "verdicts, on the right: H hot, S sparse, U undersampled, F not judged, N never split";
    let (y, text, colour) = (y + LINE, verdicts.to_owned(), Colour::Quiet);
    scene.texts.push(Text { x: LEFT, y, text, colour });
    y + LINE + GAP / 2
}

/// Numbers of pages above the rows.
fn axis(scene: &mut Scene, y: u32) -> u32 {
    for page in (0..PAGES).step_by(64) {
        let x = LEFT + page * PAGE;
        scene.texts.push(Text { x, y, text: format!("page {page}"), colour: Colour::Quiet });
        let (height, colour) = (3, Colour::Quiet);
        scene.shapes.push(Shape { x, y: y + LINE - 4, width: 1, height, colour, row: None });
    }
    y + LINE
}

fn rows(scene: &mut Scene, y: &mut u32, blocks: &[&TopFolio], most: u32) {
    let height = row_height(blocks.len());
    let mut labelled = None;
    let mut before = None;
    for (row, folio) in blocks.iter().enumerate() {
        let pfn = folio.folio_pfn.get();
        // A line where addresses are not next to each other, if there is room for it.
        if before.is_some_and(|before| before + u64::from(PAGES) != pfn) && height > 2 {
            *y += 1;
        }
        before = Some(pfn);
        if labelled.is_none_or(|last| *y >= last + LABELS) {
            labelled = Some(*y);
            scene.texts.push(Text {
                x: GAP,
                y: *y,
                text: format!("{pfn:#x}"),
                colour: Colour::Quiet,
            });
            let (x, text) = (LEFT + PAGES * PAGE + 16, letter(folio.verdict).to_owned());
            scene.texts.push(Text { x, y: *y, text, colour: Colour::Ink });
        }
        let counts = folio.counts.as_deref().copied().unwrap_or([0; PAGES_PER_FOLIO]);
        let colours = counts.map(|count| heat(count, most));
        let mut start = 0;
        for page in 1..=PAGES {
            // Neighbours of the same colour are one shape.
            let colour = colours[start as usize];
            if colours.get(page as usize) == Some(&colour) {
                continue;
            }
            scene.shapes.push(Shape {
                x: LEFT + start * PAGE,
                y: *y,
                width: (page - start) * PAGE,
                height,
                colour,
                row: Some(row),
            });
            start = page;
        }
        let x = LEFT + PAGES * PAGE + 4;
        let colour = Colour::of_verdict(folio.verdict);
        scene.shapes.push(Shape { x, y: *y, width: 8, height, colour, row: Some(row) });
        *y += height;
    }
}
