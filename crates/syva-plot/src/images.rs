use kuva::render::color::Color;
use kuva::render::render::{Primitive, Scene, TextAnchor};

use crate::{Picture, Theme, mix, text};

/// The meaning of the numbers in a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// From 0, black, to 1, white.
    Gray,
    /// Red, green and blue, each from 0 to 1.
    Rgb,
    /// Weights: −1 is orange, 0 the colour of the paper, 1 blue.
    Signed,
}

/// An image with a line of text below.
#[derive(Clone, Debug)]
pub struct Tile {
    /// `[height, width]`, row by row; see [`Tone`]. Of RGB all of one colour, then of the next: `[3, height, width]`.
    pub pixels: Vec<f64>,
    /// The lines of text below the image. It may be empty.
    pub caption: String,
}

/// The number of tones. Neighbouring pixels of the same tone become one rectangle.
const TONES: f64 = 32.0;

/// Images in rows of `columns`. Each has `shape` = `[height, width]` pixels.
#[must_use]
pub fn tiles(title: &str, tiles: &[Tile], shape: [usize; 2], columns: usize, tone: Tone, theme: Theme) -> Picture {
    const GAP: f64 = 10.0;
    // Signed tones need a key.
    let top_margin = if tone == Tone::Signed { 70.0 } else { 48.0 };
    let [height, width] = shape;
    let pixel = (84.0 / width.max(height) as f64).max(1.0);
    let lines = tiles.iter().map(|tile| tile.caption.lines().count()).max().unwrap_or(0);
    let caption = if lines == 0 { 0.0 } else { 4.0 + 14.0 * lines as f64 };
    let (cell_width, cell_height) = (width as f64 * pixel + GAP, height as f64 * pixel + GAP + caption);
    let columns = columns.clamp(1, tiles.len().max(1));
    let rows = tiles.len().div_ceil(columns);
    let total = (columns as f64 * cell_width + GAP).max(title.chars().count() as f64 * 9.0 + 2.0 * GAP);
    let mut scene = theme.scene(total, top_margin + rows as f64 * cell_height + GAP);
    scene.add(text((total / 2.0, 28.0), title, 15, TextAnchor::Middle, theme.ink()));
    if tone == Tone::Signed {
        key(&mut scene, total / 2.0, 52.0, theme);
    }
    let margin = f64::midpoint(total - columns as f64 * cell_width, GAP);
    let (mut x, mut y, mut w, mut h, mut fills) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, tile) in tiles.iter().enumerate() {
        let left = margin + (place % columns) as f64 * cell_width;
        let top = top_margin + (place / columns) as f64 * cell_height;
        for row in 0..height {
            let tones: Vec<[i32; 3]> = (0..width)
                .map(|column| {
                    let of = |channel: usize| {
                        let at = (channel * height + row) * width + column;
                        (tile.pixels[at] * TONES).round() as i32
                    };
                    if tone == Tone::Rgb { [of(0), of(1), of(2)] } else { [of(0); 3] }
                })
                .collect();
            let mut column = 0;
            for run in tones.chunk_by(|a, b| a == b) {
                x.push(left + column as f64 * pixel);
                y.push(top + row as f64 * pixel);
                w.push(run.len() as f64 * pixel);
                h.push(pixel);
                fills.push(color(run[0].map(|level| f64::from(level) / TONES), tone, theme));
                column += run.len();
            }
        }
        for (line, caption) in tile.caption.lines().enumerate() {
            let y = top + height as f64 * pixel + 14.0 * (line + 1) as f64;
            let below = (left + width as f64 * pixel / 2.0, y);
            scene.add(text(below, caption, 11, TextAnchor::Middle, theme.ink()));
        }
    }
    scene.add(Primitive::RectBatch { x, y, w, h, fills });
    Picture(scene)
}

/// Explains the colours of signed tones, around `x`.
fn key(scene: &mut Scene, x: f64, y: f64, theme: Theme) {
    for (left, value, says) in [(x - 190.0, 1.0, "positive"), (x - 95.0, -1.0, "negative")] {
        scene.add(Primitive::RectBatch {
            x: vec![left],
            y: vec![y - 10.0],
            w: vec![12.0],
            h: vec![12.0],
            fills: vec![color([value; 3], Tone::Signed, theme)],
        });
        scene.add(text((left + 18.0, y), says, 12, TextAnchor::Start, theme.pale()));
    }
    let says = "full colour: the unit's largest weight";
    scene.add(text((x, y), says, 12, TextAnchor::Start, theme.pale()));
}

fn color(levels: [f64; 3], tone: Tone, theme: Theme) -> Color {
    let [blue, orange, ..] = theme.palette();
    let value = levels[0];
    match tone {
        Tone::Gray => mix("#000000", "#ffffff", value.clamp(0.0, 1.0)),
        Tone::Rgb => {
            let [r, g, b] = levels.map(|level| (255.0 * level.clamp(0.0, 1.0)).round() as u8);
            Color::Rgb(r, g, b)
        }
        Tone::Signed => mix(theme.paper(), if value < 0.0 { orange } else { blue }, value.abs().min(1.0)),
    }
}
