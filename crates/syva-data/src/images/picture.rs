//! Pictures in files: decoded, upright, and brought to a network's size and colours.

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::imageops::{FilterType, resize};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Rgb, RgbImage};
use syva_core::recognise::{Family, recognise};
use syva_core::{Error, ImageShape, Result, memory};

use crate::panics::caught;

/// The largest picture that is decoded, in pixels: more than cameras have, but too few to fill the memory.
const MAX_PIXELS: u64 = 120_000_000;
/// The largest decoded picture, in bytes: [`MAX_PIXELS`] of four bytes.
const MAX_BYTES: u64 = 4 * MAX_PIXELS;

/// A decoded picture, upright.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The picture.
    pub image: DynamicImage,
    /// The parts of the file that were ignored, such as the further pictures of an animation.
    pub doubts: Vec<String>,
}

/// What the header of a picture says.
pub(super) struct Header {
    /// Pixel rows and columns of the upright picture.
    pub height: usize,
    pub width: usize,
    pub has_color: bool,
}

/// Opens a picture, whose size is checked before anything is decoded.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(impl ImageDecoder + 'a, Option<ImageFormat>)> {
    if is_cut_jpeg(bytes) {
        return Err(Error::file(path, "the image", "the picture is truncated", "copy the file again"));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Error::io("read", path))?;
    let format = reader.format();
    let decoder = reader.into_decoder().map_err(|error| refusal(path, bytes, &error))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_BYTES {
        let problem =
            format!("{width} × {height} pixels are more than {MAX_PIXELS}, or need more than {} MiB", MAX_BYTES >> 20);
        return Err(Error::file(path, "the image", problem, "make it smaller"));
    }
    Ok((decoder, format))
}

/// Calls a decoder, whose panics become errors of the file.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(call).unwrap_or_else(|| {
        let problem = "the decoder gave up on its content";
        Err(Error::file(path, "the image", problem, "copy it again, or save it as a new PNG"))
    })
}

/// Reads the header of a picture.
pub(super) fn header(path: &Path, bytes: &[u8]) -> Result<Header> {
    guarded(path, || read_header(path, bytes))
}

fn read_header(path: &Path, bytes: &[u8]) -> Result<Header> {
    let (mut decoder, _) = open(path, bytes)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().map_err(|error| refusal(path, bytes, &error))?;
    let mut sides = [height as usize, width as usize];
    // Of an orientation as Exif numbers them, those from 5 on lie on their side.
    if orientation.to_exif() >= 5 {
        sides.reverse();
    }
    Ok(Header { height: sides[0], width: sides[1], has_color: decoder.color_type().has_color() })
}

/// Decodes the content of a PNG, JPEG, WebP, GIF, TIFF, BMP or PNM file. `path` is for messages.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("red.png");
/// image::RgbImage::from_pixel(2, 1, image::Rgb([255, 0, 0])).save(&path)?;
/// let picture = syva_data::images::decode(&path, &std::fs::read(&path)?)?;
/// let grey = syva_core::ImageShape { height: 1, width: 1, channels: 1 };
/// assert_eq!(picture.fit(grey), [54]); // 0.2126 of 255
/// let error = syva_data::images::decode(&path, b"no picture").unwrap_err().to_string();
/// assert!(error.contains("red.png (the image): it is a text file; give a PNG, JPEG"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::File`] if it is no such picture, is damaged, or has more than 120 million pixels; [`Error::Resource`] if there is
/// not enough memory.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Picture> {
    guarded(path, || decoded(path, bytes))
}

fn decoded(path: &Path, bytes: &[u8]) -> Result<Picture> {
    let refuse = |error: ImageError| refusal(path, bytes, &error);
    let (mut decoder, format) = open(path, bytes)?;
    let (width, height) = decoder.dimensions();
    // A decoder can hold the picture a second time.
    let what = format!("{}: {width} × {height} pixels", path.display());
    memory::ask(2 * decoder.total_bytes() + bytes.len() as u64, &what, "make the picture smaller")?;
    let orientation = decoder.orientation().map_err(refuse)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    image.apply_orientation(orientation);
    let doubts = format.and_then(|format| passed_over(format, bytes)).into_iter().collect();
    Ok(Picture { image, doubts })
}

impl Picture {
    /// The picture as a network reads it, `[height, width]` or `[3, height, width]`: in grey or RGB, stretched to the size
    /// (bilinear, over all pixels that a smaller picture leaves out), and on white where it is transparent.
    #[must_use]
    pub fn fit(&self, shape: ImageShape) -> Vec<u8> {
        let size = (shape.width as u32, shape.height as u32);
        if shape.channels == 1 {
            let grey = self.opaque().map_or_else(|| self.image.to_luma8(), |image| image.to_luma8());
            let fits = grey.dimensions() == size;
            return if fits { grey } else { resize(&grey, size.0, size.1, FilterType::Triangle) }.into_raw();
        }
        let rgb = self.opaque().map_or_else(|| self.image.to_rgb8(), |image| image.to_rgb8());
        let rgb = if rgb.dimensions() == size { rgb } else { resize(&rgb, size.0, size.1, FilterType::Triangle) };
        (0..3).flat_map(|channel| rgb.pixels().map(move |pixel| pixel.0[channel])).collect()
    }

    /// The picture on white, if it is transparent anywhere.
    fn opaque(&self) -> Option<DynamicImage> {
        if !self.image.color().has_alpha() {
            return None;
        }
        let pixels = self.image.to_rgba8();
        if pixels.pixels().all(|pixel| pixel.0[3] == 255) {
            return None;
        }
        let mut page = RgbImage::new(pixels.width(), pixels.height());
        for (on, pixel) in page.pixels_mut().zip(pixels.pixels()) {
            let [red, green, blue, alpha] = pixel.0.map(u32::from);
            *on = Rgb([red, green, blue].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
        }
        Some(page.into())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// No file that makes a decoder panic is known.
    #[test]
    fn a_panic_of_a_decoder_is_an_error_of_the_file() {
        let found: Result<()> = guarded(Path::new("odd.gif"), || panic!("index out of bounds"));
        let said = found.unwrap_err().to_string();
        assert!(said.contains("odd.gif (the image): the decoder gave up on its content"), "{said}");
    }
}
