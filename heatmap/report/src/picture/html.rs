//! A scene as a page that needs nothing else: the picture, what is told of each block, and a
//! table of the hottest.

use std::io;

use heatmap::{NOT_JUDGED, Verdict};
use heatmap::{Report, TopFolio};

use super::scene::Scene;
use super::svg::{self, escaped};
use crate::layout::thousands;

/// Blocks in the table.
const LISTED: usize = 50;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
h2 { font-size: 1.05rem; }
.wide { overflow-x: auto; }
svg { display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .12rem .9rem .12rem 0; text-align: left; font-weight: normal; white-space: nowrap; }
.n { text-align: right; }
.alarm { background: #fdeceb; color: #a3160f; font-weight: 600; padding: .5rem .7rem; border-radius: .3rem; }
";

pub(super) fn write(
    scene: &Scene,
    report: &Report,
    blocks: &[&TopFolio],
    told: &[String],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let path = escaped(&report.input.path);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Heat of {path}</title>\n\
         <style>{STYLE}</style>\n<h1>Heat of {path}</h1>"
    )?;
    let losses: Vec<_> = report
        .ledger
        .losses()
        .map(|(name, count)| format!("{name} {}", thousands(count)))
        .collect();
    if !losses.is_empty() {
        writeln!(
            out,
            "<p class=\"alarm\" role=\"alert\">Something was lost: {}</p>",
            losses.join(", ")
        )?;
    }
    if let Some(reason) = &report.reason {
        writeln!(
            out,
            "<p class=\"alarm\" role=\"alert\">Nothing was counted: {}</p>",
            escaped(reason)
        )?;
    }
    for note in &report.notes {
        writeln!(out, "<p>{}</p>", escaped(note))?;
    }
    writeln!(out, "<p>Point at a row to see what it is.</p>\n<div class=\"wide\">")?;
    svg::write(scene, told, out)?;
    writeln!(
        out,
        "</div>\n<h2>Hottest blocks</h2>\n<div class=\"wide\"><table>\n<tr><th>PFN</th><th class=\"n\">accesses</th>\
         <th class=\"n\">touched</th><th class=\"n\">hot</th><th>verdict</th><th>backing</th></tr>"
    )?;
    let mut hottest = blocks.to_vec();
    hottest.sort_by_key(|folio| (std::cmp::Reverse(folio.accesses), folio.folio_pfn));
    for folio in hottest.into_iter().take(LISTED) {
        writeln!(
            out,
            "<tr><td>{:#x}</td><td class=\"n\">{}</td><td class=\"n\">{}/512</td><td class=\"n\">{}/{} {} %</td>\
             <td>{}</td><td>{}</td></tr>",
            folio.folio_pfn.get(),
            thousands(folio.accesses),
            folio.touched_pages,
            folio.hot_chunks,
            folio.chunks,
            folio.hot_percent,
            folio.verdict.map_or(NOT_JUDGED, Verdict::words),
            folio.backing.name(),
        )?;
    }
    writeln!(out, "</table></div>\n</html>")
}
