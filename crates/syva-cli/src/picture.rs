//! Reads picture files: turns their bytes into one upright grey picture, large enough to find a digit in.

use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbaImage};
use syva::data::framing::ENOUGH;
use syva::recognise::{Family, recognise};
use syva::{Error, Result, memory};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The largest picture that is decoded, in pixels: more than cameras have, but too few to fill the memory.
const MAX_PIXELS: u64 = 120_000_000;
/// The largest decoded picture, in bytes: [`MAX_PIXELS`] of four bytes.
const MAX_BYTES: u64 = 4 * MAX_PIXELS;

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
    if is_cut_jpeg(bytes) {
        return Err(Error::file(path, "the image", "the picture is truncated", "copy the file again"));
    }
    let refuse = |error: ImageError| refusal(path, bytes, &error);
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Error::io("read", path))?;
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_BYTES {
        let problem =
            format!("{width} × {height} pixels are more than {MAX_PIXELS}, or need more than {} MiB", MAX_BYTES >> 20);
        return Err(Error::file(path, "the image", problem, "make it smaller"));
    }
    // A decoder can hold the picture a second time.
    let what = format!("{}: {width} × {height} pixels", path.display());
    memory::ask(2 * decoder.total_bytes() + bytes.len() as u64, &what, "make the picture smaller")?;
    let orientation = decoder.orientation().map_err(refuse)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    let enough = ENOUGH as u32;
    if width.max(height) > enough && [height, width].map(|side| side as usize) != wanted {
        picture = picture.thumbnail(enough, enough);
    }
    picture.apply_orientation(orientation);
    let size = [picture.height() as usize, picture.width() as usize];
    let doubts = format.and_then(|format| passed_over(format, bytes)).into_iter().collect();
    Ok(Picture { pixels: gray(&picture), size, doubts })
}

/// The error for a file that cannot be read: what it is, and what to do.
fn refusal(path: &Path, bytes: &[u8], error: &ImageError) -> Error {
    const READ: &str = "give a PNG, JPEG, WebP, GIF, TIFF, BMP or PNM picture, or an IDX file of images";
    let Some(found) = recognise(bytes) else {
        return Error::file(path, "the image", "its format is not known", READ);
    };
    let name = found.name;
    let remedy = match found.family {
        // A format that is supported, or a file that begins like one.
        Family::Picture if !matches!(error, ImageError::Unsupported(_)) => {
            if matches!(error, ImageError::IoError(cause) if cause.kind() == ErrorKind::UnexpectedEof) {
                let problem = format!("it begins like {name}, but it is truncated");
                return Error::file(path, "the image", problem, "copy the file again");
            }
            let problem = format!("it begins like {name}, but cannot be read: {error}");
            return Error::file(path, "the image", problem, "copy it again, or save it as a new PNG");
        }
        Family::Picture if name.contains("HEIC") => {
            "save it as JPEG or PNG (a phone saves JPEG if its camera is set to the most compatible format)"
        }
        Family::Picture => "save it as PNG or JPEG",
        Family::Document => "save it, or the page, as a PNG picture",
        Family::Film => "save one frame of it as PNG or JPEG",
        Family::Network => "name the model first, then the images: syva predict MODEL FILE...",
        Family::Packed => "unpack it and name the pictures in it",
        Family::StandIn => "fetch the file itself",
        _ => READ,
    };
    Error::file(path, "the image", format!("it is {name}"), remedy)
}

/// The part of the file that is ignored, if any.
fn passed_over(format: ImageFormat, bytes: &[u8]) -> Option<String> {
    let animated = match format {
        ImageFormat::Gif => gif_frames(bytes) > 1,
        ImageFormat::WebP => WebPDecoder::new(Cursor::new(bytes)).is_ok_and(|decoder| decoder.has_animation()),
        ImageFormat::Png => PngDecoder::new(Cursor::new(bytes)).and_then(|decoder| decoder.is_apng()).unwrap_or(false),
        ImageFormat::Tiff if tiff_has_pages(bytes) => {
            return Some("it has several pages; only the first was read".into());
        }
        _ => false,
    };
    animated.then(|| "it is animated; only its first picture was read".into())
}

/// The number of pictures in a GIF, but at most two. The header and colour table are followed by blocks: 21 is an
/// extension, 2c a picture. Both end in pieces of a length and as many bytes. The last piece has length 0.
fn gif_frames(bytes: &[u8]) -> usize {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 6 << (flags & 7) };
    let (mut at, mut frames) = (13 + bytes.get(10).map_or(0, |&flags| table(flags)), 0);
    while frames < 2 {
        at += match bytes.get(at) {
            Some(0x21) => 2,
            Some(0x2c) => {
                frames += 1;
                // Its position, size and flags, its colour table, and a byte of the compression.
                11 + bytes.get(at + 9).map_or(0, |&flags| table(flags))
            }
            _ => break,
        };
        while let Some(&length @ 1..) = bytes.get(at) {
            at += 1 + usize::from(length);
        }
        at += 1;
    }
    frames
}

/// Whether a TIFF has a second picture. The entries of the first directory are followed by the offset of the next one.
fn tiff_has_pages(bytes: &[u8]) -> bool {
    let big = bytes.starts_with(b"MM");
    let number = |at: usize, length: usize| {
        let found = bytes.get(at..at.checked_add(length)?)?;
        let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        Some(if big { found.iter().fold(0, add) } else { found.iter().rev().fold(0, add) })
    };
    let next = || {
        let directory = number(4, 4)?;
        number(directory + 2 + 12 * number(directory, 2)?, 4)
    };
    number(2, 2) == Some(42) && next().is_some_and(|next| next != 0)
}

/// Whether these are the bytes of a truncated JPEG, which the decoder would accept.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xda;
    let mut at = 2;
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    // Segments: ff, a marker, and a length that includes itself. A picture within a segment has its own end marker.
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == SCAN {
            return !bytes.get(at..).unwrap_or_default().windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
    }
    true
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
