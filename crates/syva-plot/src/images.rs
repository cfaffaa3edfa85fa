use kuva::render::color::Color;
use kuva::render::render::{Primitive, Scene, TextAnchor};

use crate::{Picture, Theme, mix, text};

/// The meaning of the numbers in a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// From 0, black, to 1, white.
    Gray,
    /// Weights: −1 is orange, 0 the colour of the paper, 1 blue.
    Signed,
}

/// An image with a line of text below.
#[derive(Clone, Debug)]
pub struct Tile {
    /// `[height, width]`, row by row; see [`Tone`].
    pub pixels: Vec<f64>,
    /// The text below the image. It may be empty.
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
    let caption = if tiles.iter().all(|tile| tile.caption.is_empty()) { 0.0 } else { 18.0 };
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
            let tones: Vec<i32> =
                (0..width).map(|column| (tile.pixels[row * width + column] * TONES).round() as i32).collect();
            let mut column = 0;
            for run in tones.chunk_by(|a, b| a == b) {
                x.push(left + column as f64 * pixel);
                y.push(top + row as f64 * pixel);
                w.push(run.len() as f64 * pixel);
                h.push(pixel);
                fills.push(color(f64::from(run[0]) / TONES, tone, theme));
                column += run.len();
            }
        }
        let below = (left + width as f64 * pixel / 2.0, top + height as f64 * pixel + 14.0);
        scene.add(text(below, tile.caption.clone(), 11, TextAnchor::Middle, theme.ink()));
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
            fills: vec![color(value, Tone::Signed, theme)],
        });
        scene.add(text((left + 18.0, y), says, 12, TextAnchor::Start, theme.pale()));
    }
    let says = "full colour: the unit's largest weight";
    scene.add(text((x, y), says, 12, TextAnchor::Start, theme.pale()));
}

fn color(value: f64, tone: Tone, theme: Theme) -> Color {
    let [blue, orange, ..] = theme.palette();
    match tone {
        Tone::Gray => mix("#000000", "#ffffff", value.clamp(0.0, 1.0)),
        Tone::Signed => mix(theme.paper(), if value < 0.0 { orange } else { blue }, value.abs().min(1.0)),
    }
}
