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
mod scene;
mod svg;

use std::io;

use heatmap::{NOT_JUDGED, Report, TopFolio, Verdict};

use crate::layout::thousands;

/// Blocks in a picture at most: a row of two dots each.
pub const MAX_BLOCKS: usize = 4096;
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

/// Draws a report, whose blocks must have their counts.
///
/// # Errors
/// Those of `out`.
pub fn write(form: Form, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut blocks: Vec<&TopFolio> =
        report.top.iter().filter(|folio| folio.counts.is_some()).take(MAX_BLOCKS).collect();
    blocks.sort_by_key(|folio| folio.folio_pfn);
    let scene = scene::of(report, &blocks);
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

#[cfg(test)]
mod tests {
    use decoder::PAGES_PER_FOLIO;

    use super::palette::{Colour, heat};
    use super::scene::{LEFT, PAGE, Shape};
    use super::*;
    use crate::examples;

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
        let scene = scene::of(&report, &blocks);
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
