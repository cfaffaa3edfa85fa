//! Grey pictures of weights and samples, pixel by pixel.

use syva::Matrix;
use syva::data::Dataset;

/// Grey values, row by row: 0 is black, 255 is white.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// The grey between tiles.
const PAPER: u8 = 255;
/// The most tiles in a picture. If there were more, they would be too small to see.
const MAX_TILES: usize = 64;

impl Picture {
    /// Tiles in rows of `columns`, each `[height, width]` and drawn `zoom` times as large.
    fn tiles(tiles: &[Vec<u8>], [height, width]: [usize; 2], columns: usize, zoom: usize) -> Self {
        let gap = zoom.max(2);
        let (cell_width, cell_height) = (width * zoom + gap, height * zoom + gap);
        let rows = tiles.len().div_ceil(columns).max(1);
        let (picture_width, picture_height) = (columns * cell_width + gap, rows * cell_height + gap);
        let mut pixels = vec![PAPER; picture_width * picture_height];
        for (place, tile) in tiles.iter().enumerate() {
            let (left, top) = (gap + place % columns * cell_width, gap + place / columns * cell_height);
            for y in 0..height * zoom {
                for x in 0..width * zoom {
                    pixels[(top + y) * picture_width + left + x] = tile[y / zoom * width + x / zoom];
                }
            }
        }
        Self { width: picture_width, height: picture_height, pixels }
    }
}

/// The weights of the first units of the first layer as images: grey is 0, and white and black are the largest
/// magnitude of each unit, positive and negative.
pub fn weight_tiles(weight: &Matrix, height: usize, width: usize) -> Picture {
    let tile = |unit: usize| {
        let row = weight.row(unit);
        let largest = row.iter().fold(f32::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
        row.iter().map(|w| (127.5 + 127.5 * w / largest).round() as u8).collect()
    };
    let tiles: Vec<Vec<u8>> = (0..weight.rows().min(MAX_TILES)).map(tile).collect();
    Picture::tiles(&tiles, [height, width], 8.min(tiles.len().max(1)), 1)
}

/// Samples as images, ten across.
pub fn sample_tiles(data: &Dataset, samples: &[usize], height: usize, width: usize) -> Picture {
    let tile = |&sample: &usize| {
        let features = sample * data.features()..(sample + 1) * data.features();
        features.map(|i| data.inputs().get(i).clamp(0.0, 255.0) as u8).collect()
    };
    let tiles: Vec<Vec<u8>> = samples.iter().map(tile).collect();
    Picture::tiles(&tiles, [height, width], 10.min(tiles.len().max(1)), 2)
}

/// Samples as images, one below the other without gaps, as PNG. `None` if there are none, or if they are too large.
pub fn column(data: &Dataset, samples: &[usize], height: usize, width: usize) -> Option<Vec<u8>> {
    let features = samples.iter().flat_map(|sample| sample * data.features()..(sample + 1) * data.features());
    let pixels: Vec<u8> = features.map(|i| data.inputs().get(i).clamp(0.0, 255.0) as u8).collect();
    let mut bytes = Vec::new();
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height * samples.len()).ok()?);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}
