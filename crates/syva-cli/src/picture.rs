//! Reads picture files: turns their bytes into one upright grey picture, large enough to find a digit in.

use std::io::Read;
use std::path::Path;

use image::{DynamicImage, GrayImage, RgbaImage};
use syva::data::framing::ENOUGH;
use syva::tables::images;
use syva::{Error, Result};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// A grey picture, upright.
pub struct Picture {
    /// `[height, width]`, row-major.
    pub pixels: Vec<u8>,
    pub size: [usize; 2],
    /// The parts of the file that were ignored.
    pub doubts: Vec<String>,
}

/// The bytes of a file, a pipe, or (`-`) of standard input.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let refuse = |problem: &str, remedy: &str| Err(Error::file(path, "the image", problem, remedy));
    let mut bytes = Vec::new();
    let mut take = |reader: &mut dyn Read| reader.take(MAX_FILE + 1).read_to_end(&mut bytes);
    if is_standard_input(path) {
        take(&mut std::io::stdin().lock()).map_err(Error::io("read", path))?;
    } else {
        let metadata = path.metadata().map_err(Error::io("read", path))?;
        if metadata.is_dir() {
            return refuse("it is a folder", "name the images in it");
        }
        if !metadata.is_file() && !is_pipe(&metadata) {
            return refuse("it is neither a file nor a pipe", "write the image to a file first");
        }
        take(&mut std::fs::File::open(path).map_err(Error::io("read", path))?).map_err(Error::io("read", path))?;
    }
    if bytes.is_empty() {
        return refuse("it is empty", "copy it again, or give another picture");
    }
    if bytes.len() as u64 > MAX_FILE {
        let problem = format!("it is larger than {} MiB", MAX_FILE >> 20);
        return refuse(&problem, "give a smaller picture");
    }
    Ok(bytes)
}

/// Whether this path means standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-" || path.as_os_str() == "/dev/stdin"
}

#[cfg(unix)]
fn is_pipe(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::Metadata) -> bool {
    false
}

/// Decodes a picture. `path` is for messages. A picture that is larger than needed is made smaller, unless its size
/// `[height, width]` is `wanted`.
pub fn decode(path: &Path, bytes: &[u8], wanted: [usize; 2]) -> Result<Picture> {
    let images::Picture { mut image, doubts } = images::decode(path, bytes)?;
    let enough = ENOUGH as u32;
    let size = |image: &DynamicImage| [image.height() as usize, image.width() as usize];
    if image.width().max(image.height()) > enough && size(&image) != wanted {
        image = image.thumbnail(enough, enough);
    }
    Ok(Picture { pixels: gray(&image), size: size(&image), doubts })
}

/// The grey values of a picture: its brightness, or the colour channel that shows more.
fn gray(picture: &DynamicImage) -> Vec<u8> {
    let color = picture.color();
    if !color.has_color() && !color.has_alpha() {
        return picture.to_luma8().into_raw();
    }
    let pixels = picture.to_rgba8();
    let luma = picture.to_luma8();
    if color.has_alpha() && pixels.pixels().any(|pixel| pixel.0[3] < 255) {
        return on_a_page(&pixels, &luma);
    }
    let channel = |index: usize| -> Vec<u8> { pixels.pixels().map(|pixel| pixel.0[index]).collect() };
    // Yellow can be as bright as the white behind it, and red as bright as the grey behind it.
    let seen = spread(luma.as_raw());
    let best = (0..3).map(channel).max_by_key(|channel| spread(channel));
    best.filter(|channel| spread(channel) > 2 * seen).unwrap_or_else(|| luma.into_raw())
}

/// A transparent picture shows the page below. If only the transparency varies, it is the ink, whatever its colour. A
/// light and mostly transparent picture is put on black, any other on white.
fn on_a_page(pixels: &RgbaImage, luma: &GrayImage) -> Vec<u8> {
    let both = || pixels.pixels().map(|pixel| u32::from(pixel.0[3])).zip(luma.as_raw());
    let solid: Vec<u8> = both().filter(|(alpha, _)| *alpha > 127).map(|(_, &luma)| luma).collect();
    let opacity: u64 = both().map(|(alpha, _)| u64::from(alpha)).sum();
    let brightness: u64 = both().map(|(alpha, &luma)| u64::from(alpha) * u64::from(luma)).sum();
    if spread(&solid) < 26 && both().any(|(alpha, _)| alpha < 128) {
        return both().map(|(alpha, _)| (255 - alpha) as u8).collect();
    }
    let mostly_clear = opacity < 255 * both().count() as u64 / 2;
    let page = if mostly_clear && brightness > 192 * opacity { 0 } else { 255 };
    both().map(|(alpha, &luma)| ((u32::from(luma) * alpha + page * (255 - alpha) + 127) / 255) as u8).collect()
}

/// The range of brightness, without the darkest and the lightest hundredth.
fn spread(values: &[u8]) -> u16 {
    let mut counts = [0usize; 256];
    for &value in values {
        counts[usize::from(value)] += 1;
    }
    let below = |share: usize| {
        let mut sum = 0;
        let level = counts.iter().position(|count| {
            sum += count;
            sum * 100 > values.len() * share
        });
        level.unwrap_or(0)
    };
    (below(99) - below(1)) as u16
}
