//! Pictures of a report: physical memory by its hottest blocks, a row of 512 pages each.
//!
//! ```text
//! report -> scene: rectangles and texts -> png, svg, html
//! ```
//!
//! A row is a block, in the order of addresses; a column is a page. That shows what a curve
//! through the whole of memory does not: whether the hot pages of many blocks lie in the same
//! places, and that a block is hot in a few pages only. Where a picture is smaller than that, a
//! dot has the colour of its hottest page, so that no hot page gets lost.

mod font;
mod html;
mod palette;
mod png;
mod svg;

use std::io;

use decoder::PAGES_PER_FOLIO;

use crate::report::{Report, TopFolio, thousands};
use crate::verdict::{NOT_JUDGED, Verdict};
use palette::{Colour, heat};

/// Blocks in a picture at most: a row of two dots each.
pub const MAX_BLOCKS: usize = 4096;
/// Pages of a row.
const PAGES: u32 = 512;
/// Dots of a page.
const PAGE: u32 = 2;
/// Left of the rows: addresses.
const LEFT: u32 = 104;
/// Right of the rows: verdicts.
const RIGHT: u32 = 40;
/// Between parts.
const GAP: u32 = 12;
/// Height of a line of text.
const LINE: u32 = 16;
/// Dots between addresses, at least.
const LABELS: u32 = 18;

/// A form of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Dots.
    Png,
    /// Shapes.
    Svg,
    /// A page that needs nothing else.
    Html,
}

impl Form {
    /// The form that a file's name asks for.
    pub fn of(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "svg" => Some(Self::Svg),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

/// A picture before it has a form.
#[derive(Debug, Default)]
struct Scene {
    width: u32,
    height: u32,
    shapes: Vec<Shape>,
    texts: Vec<Text>,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    colour: Colour,
    /// The row it belongs to, for what is told of it.
    row: Option<usize>,
}

/// A line of text; `y` is its upper edge.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    x: u32,
    y: u32,
    text: String,
    colour: Colour,
}

/// Draws a report, whose blocks must have their counts.
///
/// # Errors
/// Those of `out`.
pub fn write(form: Form, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut blocks: Vec<&TopFolio> =
        report.top.iter().filter(|folio| folio.counts.is_some()).take(MAX_BLOCKS).collect();
    blocks.sort_by_key(|folio| folio.folio_pfn);
    let scene = scene(report, &blocks);
    match form {
        Form::Png => png::write(&scene, out),
        Form::Svg => svg::write(&scene, &told(&blocks), out),
        Form::Html => html::write(&scene, report, &blocks, &told(&blocks), out),
    }
}

/// What is told of each block.
fn told(blocks: &[&TopFolio]) -> Vec<String> {
    let tell = |folio: &&TopFolio| {
        format!(
            "PFN {:#x}: {} accesses to {} of 512 pages, {} of {} chunks hot ({} %), {}",
            folio.folio_pfn.get(),
            thousands(folio.accesses),
            folio.touched_pages,
            folio.hot_chunks,
            folio.chunks,
            folio.hot_percent,
            folio.verdict.map_or(NOT_JUDGED, Verdict::words),
        )
    };
    blocks.iter().map(tell).collect()
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

fn scene(report: &Report, blocks: &[&TopFolio]) -> Scene {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    /// One cold block with a single hot page.
    fn report() -> Report {
        let mut report = examples::small();
        let mut counts = [0; PAGES_PER_FOLIO];
        counts[300] = 5000;
        counts[7] = 1;
        report.top.truncate(1);
        report.top[0].counts = Some(Box::new(counts));
        report
    }

    fn png_of(report: &Report) -> (::png::OutputInfo, Vec<u8>, Vec<u8>) {
        let mut bytes = Vec::new();
        write(Form::Png, report, &mut bytes).unwrap();
        let mut reader = ::png::Decoder::new(io::Cursor::new(bytes)).read_info().unwrap();
        let mut dots = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut dots).unwrap();
        let palette = reader.info().palette.clone().unwrap().into_owned();
        (info, dots, palette)
    }

    #[test]
    fn one_hot_page_in_a_cold_block_has_the_brightest_colour() {
        let report = report();
        let blocks: Vec<_> = report.top.iter().collect();
        let scene = scene(&report, &blocks);
        let row: Vec<_> = scene.shapes.iter().filter(|shape| shape.row == Some(0)).collect();
        let at = |page: u32| {
            let x = LEFT + page * PAGE;
            row.iter().find(|shape| shape.x <= x && x < shape.x + shape.width).unwrap()
        };
        assert_eq!(at(300).colour, heat(5000, 5000));
        assert_eq!(at(7).colour, heat(1, 5000));
        assert_eq!(at(8).colour, Colour::Untouched);
        let (info, dots, palette) = png_of(&report);
        let dot = |shape: &Shape| usize::from(dots[(shape.y * info.width + shape.x) as usize]);
        let rgb = |index: usize| &palette[3 * index..3 * index + 3];
        assert_eq!(rgb(dot(at(300))), heat(5000, 5000).rgb());
        assert_eq!(rgb(dot(at(8))), Colour::Untouched.rgb());
        assert_ne!(heat(5000, 5000), heat(1, 5000));
    }

    #[test]
    fn a_picture_says_what_was_lost_and_needs_nothing_else() {
        let mut report = report();
        report.ledger.lost = 1234;
        report.input.path = "<b>&.data".to_owned();
        for form in [Form::Svg, Form::Html] {
            let mut bytes = Vec::new();
            write(form, &report, &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains("lost 1,234"), "{form:?}");
            assert!(text.contains("&lt;b&gt;&amp;.data") && !text.contains("<b>&"), "{form:?}");
            let links = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!links.contains("http") && !links.contains("src="), "{form:?}");
        }
    }

    #[test]
    fn a_report_without_blocks_is_a_picture_too() {
        let mut report = report();
        report.top.clear();
        report.reason = Some("there is nothing".to_owned());
        let (info, ..) = png_of(&report);
        assert!(info.width > 1000 && info.height > 50);
    }
}
