//! A scene as dots.

use std::io;

use super::font;
use super::palette::Colour;
use super::scene::Scene;

/// Writes a scene as PNG, a byte a dot.
pub(super) fn write(scene: &Scene, out: &mut dyn io::Write) -> io::Result<()> {
    let (width, height) = (scene.width as usize, scene.height as usize);
    let mut dots = vec![Colour::Paper.index(); width * height];
    for shape in &scene.shapes {
        let from = shape.x as usize;
        let to = (from + shape.width as usize).min(width);
        for row in dots.chunks_exact_mut(width).skip(shape.y as usize).take(shape.height as usize) {
            row[from.min(to)..to].fill(shape.colour.index());
        }
    }
    for text in &scene.texts {
        for (x, y) in font::dots(&text.text, text.x, text.y) {
            if x < scene.width && y < scene.height {
                dots[(y * scene.width + x) as usize] = text.colour.index();
            }
        }
    }
    let mut encoder = png::Encoder::new(out, scene.width, scene.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(Colour::all().flat_map(Colour::rgb).collect::<Vec<_>>());
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&dots)?;
    writer.finish()?;
    Ok(())
}
