//! Pictures of weights and samples, pixel by pixel.

use syva::data::{Dataset, Inputs};
use syva::{ImageShape, Matrix};

/// Values from 0 to 255, row by row and pixel by pixel: one of a grey picture, three of an RGB one.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// The grey between tiles.
const PAPER: u8 = 255;
/// The most tiles in a picture. If there were more, they would be too small to see.
const MAX_TILES: usize = 64;

impl Picture {
    /// Tiles in rows of `columns`, each laid out as features are, and drawn `zoom` times as large.
    fn tiles(tiles: &[Vec<u8>], image: ImageShape, columns: usize, zoom: usize) -> Self {
        let ImageShape { height, width, channels } = image;
        let gap = zoom.max(2);
        let (cell_width, cell_height) = (width * zoom + gap, height * zoom + gap);
        let rows = tiles.len().div_ceil(columns).max(1);
        let (picture_width, picture_height) = (columns * cell_width + gap, rows * cell_height + gap);
        let mut pixels = vec![PAPER; picture_width * picture_height * channels];
        for (place, tile) in tiles.iter().enumerate() {
            let (left, top) = (gap + place % columns * cell_width, gap + place / columns * cell_height);
            for y in 0..height * zoom {
                for x in 0..width * zoom {
                    for channel in 0..channels {
                        let at = (channel * height + y / zoom) * width + x / zoom;
                        pixels[((top + y) * picture_width + left + x) * channels + channel] = tile[at];
                    }
                }
            }
        }
        Self { width: picture_width, height: picture_height, channels, pixels }
    }
}

/// The weights of the first units of the first layer as images: grey is 0, and white and black are the largest
/// magnitude of each unit, positive and negative. The weights of RGB are the picture's red, green and blue.
pub fn weight_tiles(weight: &Matrix, image: ImageShape) -> Picture {
    let tile = |unit: usize| {
        let row = weight.row(unit);
        let largest = row.iter().fold(f32::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
        row.iter().map(|w| (127.5 + 127.5 * w / largest).round() as u8).collect()
    };
    let tiles: Vec<Vec<u8>> = (0..weight.rows().min(MAX_TILES)).map(tile).collect();
    Picture::tiles(&tiles, image, 8.min(tiles.len().max(1)), 1)
}

/// How light the inputs of images are, from 0 to 1: pixels as shares of 255, other numbers by their range in the data.
pub fn lightness(data: &Dataset) -> impl Fn(f32) -> f64 {
    let (low, high) = if let Inputs::F32(values) = data.inputs() {
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
    } else {
        (0.0, 255.0)
    };
    let (low, range) = (f64::from(low), (f64::from(high) - f64::from(low)).max(f64::MIN_POSITIVE));
    move |value| ((f64::from(value) - low) / range).clamp(0.0, 1.0)
}

/// Samples as images, ten across.
pub fn sample_tiles(data: &Dataset, samples: &[usize], image: ImageShape) -> Picture {
    let lightness = lightness(data);
    let tile = |&sample: &usize| {
        let features = sample * data.features()..(sample + 1) * data.features();
        features.map(|i| (255.0 * lightness(data.inputs().get(i))).round() as u8).collect()
    };
    let tiles: Vec<Vec<u8>> = samples.iter().map(tile).collect();
    Picture::tiles(&tiles, image, 10.min(tiles.len().max(1)), 2)
}

/// Samples as images, one below the other without gaps, as PNG. `None` if there are none, or if they are too large.
pub fn column(data: &Dataset, samples: &[usize], image: ImageShape) -> Option<Vec<u8>> {
    let ImageShape { height, width, channels } = image;
    let lightness = lightness(data);
    let mut pixels = Vec::with_capacity(samples.len() * image.features());
    for sample in samples {
        for at in 0..height * width {
            let of = |channel: usize| data.inputs().get(sample * image.features() + channel * height * width + at);
            pixels.extend((0..channels).map(|channel| (255.0 * lightness(of(channel))).round() as u8));
        }
    }
    let mut bytes = Vec::new();
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height * samples.len()).ok()?);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(bytes)
}
