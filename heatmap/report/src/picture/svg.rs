//! A scene as shapes.

use std::io;

use super::palette::Colour;
use super::scene::Scene;

/// Text as it stands in XML and HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn hex(colour: Colour) -> String {
    let [red, green, blue] = colour.rgb();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Writes a scene as SVG. `told` has what is told of each row.
pub(super) fn write(scene: &Scene, told: &[String], out: &mut dyn io::Write) -> io::Result<()> {
    let Scene { width, height, .. } = scene;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"monospace\" font-size=\"12\" shape-rendering=\"crispEdges\">"
    )?;
    writeln!(out, "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>", hex(Colour::Paper))?;
    let mut row = None;
    for shape in &scene.shapes {
        if shape.row != row {
            if row.is_some() {
                writeln!(out, "</g>")?;
            }
            row = shape.row;
            if let Some(text) = row.and_then(|row| told.get(row)) {
                writeln!(out, "<g><title>{}</title>", escaped(text))?;
            }
        }
        let super::scene::Shape { x, y, width, height, colour, .. } = shape;
        writeln!(
            out,
            "<path fill=\"{}\" d=\"M{x} {y}h{width}v{height}h-{width}z\"/>",
            hex(*colour)
        )?;
    }
    if row.is_some() {
        writeln!(out, "</g>")?;
    }
    for text in &scene.texts {
        let (x, y, fill) = (text.x, text.y + 10, hex(text.colour));
        writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"{fill}\">{}</text>", escaped(&text.text))?;
    }
    writeln!(out, "</svg>")
}
