//! `syva predict`: what a network reads in images.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use image::{DynamicImage, ImageDecoder, ImageError};
use syva::data::framing::{self, Framed};
use syva::data::idx::read_images;
use syva::run::Reached;
use syva::{Error, Matrix, Result, first_largest, probabilities};

use crate::args::PredictArgs;
use crate::{eval, output};

/// A grey image `[height, width]` of the network's size, and where it comes from.
struct Image {
    name: String,
    pixels: Vec<u8>,
    /// Why it may not be what it seems.
    doubts: Vec<String>,
}

/// A file that cannot be read is told of, the others are read all the same; the exit code says that one was not.
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let Reached { file: path, model, .. } = eval::load(&args.model)?;
    let &[height, width] = &model.spec.input.shape[..] else {
        let problem = format!("it reads {} values a sample, no images", model.spec.input.features);
        return Err(Error::file(&path, "the model", problem, "use a model that was trained on images"));
    };
    let (engine, device) = args.on.engine()?;
    let mut session = engine.open(&device, &model.spec)?;
    session.set_state(&model.state)?;
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        let images = match read(file, [height, width], args.as_is) {
            Ok(images) => images,
            Err(error) => {
                output::note(format_args!("syva: {error}"));
                code = ExitCode::from(1);
                continue;
            }
        };
        let values = images.iter().flat_map(|image| image.pixels.iter().map(|&v| f32::from(v))).collect();
        let mut outputs = Matrix::zeros(images.len(), model.spec.outputs());
        session.predict(&Matrix::new(images.len(), height * width, values)?, &mut outputs)?;
        for (row, image) in images.iter().enumerate() {
            for doubt in &image.doubts {
                let hint = if args.show { "" } else { " (--show shows what the network sees)" };
                output::note(format_args!("syva: {}: {doubt}{hint}", image.name));
            }
            if args.show {
                show(&image.pixels, width);
            }
            let outputs = outputs.row(row);
            if outputs.iter().any(|value| !value.is_finite()) {
                let remedy = "its weights are too large; train it with a smaller learning rate";
                return Err(Error::file(&path, "the model", "its outputs are beyond the finite numbers", remedy));
            }
            if model.spec.classes() == 0 {
                values_line(args.json, image, outputs);
            } else {
                classes_line(args.json, image, &probabilities(model.spec.head, outputs));
            }
        }
    }
    Ok(code)
}

fn values_line(json: bool, Image { name, doubts, .. }: &Image, values: &[f32]) {
    if json {
        output::json(serde_json::json!({ "image": name, "values": values, "doubts": doubts }));
    } else {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        output::line(format_args!("{name}: {}", values.join(", ")));
    }
}

fn classes_line(json: bool, Image { name, doubts, .. }: &Image, probabilities: &[f64]) {
    let class = first_largest(probabilities);
    if json {
        output::json(
            serde_json::json!({ "image": name, "class": class, "probabilities": probabilities, "doubts": doubts }),
        );
        return;
    }
    let mut ranked: Vec<usize> = (0..probabilities.len()).filter(|&other| other != class).collect();
    ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let percent = |class: usize| format!("{class} {:.1} %", 100.0 * probabilities[class]);
    let others: Vec<String> = ranked.iter().take(2).map(|&class| percent(class)).collect();
    output::line(format_args!("{name}: {}  (then {})", percent(class), others.join(", ")));
}

/// The images of a file, in the network's size.
fn read(path: &Path, size: [usize; 2], as_is: bool) -> Result<Vec<Image>> {
    let refuse = |problem: &str, remedy: &str| Err(Error::file(path, "the image", problem, remedy));
    let metadata = path.metadata().map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return refuse("it is a folder", "name the images in it");
    }
    if !metadata.is_file() {
        return refuse("it is no regular file", "write the image to a file first");
    }
    let mut begin = [0; 3];
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let length = file.take(3).read(&mut begin).map_err(Error::io("read", path))?;
    let name = path.display().to_string();
    // IDX, gzipped or not; its images are framed already.
    if length == 3 && (begin == [0, 0, 8] || begin[..2] == [0x1f, 0x8b]) {
        let images = read_images(path)?;
        if [images.rows, images.columns] != size {
            let problem =
                format!("images of {} × {}, the network reads {} × {}", images.rows, images.columns, size[0], size[1]);
            return Err(Error::file(path, "header", problem, "use images of the network's size"));
        }
        let one = |(i, pixels): (usize, &[u8])| Image {
            name: format!("{name}#{i}"),
            pixels: pixels.to_vec(),
            doubts: Vec::new(),
        };
        return Ok(images.pixels.chunks(size[0] * size[1]).enumerate().map(one).collect());
    }
    let picture = decode(path)?;
    // What is transparent shows the page that it lies on: white.
    let gray: Vec<u8> = picture
        .to_luma_alpha8()
        .pixels()
        .map(|pixel| {
            let [luma, alpha] = pixel.0.map(u32::from);
            ((luma * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        })
        .collect();
    let found = [picture.height() as usize, picture.width() as usize];
    let dark_edge = found == size && gray[..size[1]].iter().chain(&gray[gray.len() - size[1]..]).all(|&v| v < 64);
    let framed = if found == size && (as_is || dark_edge) {
        // An image out of MNIST, or of its like.
        Framed { pixels: gray, doubts: Vec::new() }
    } else if as_is {
        Framed { pixels: framing::scale(&gray, found, size)?, doubts: Vec::new() }
    } else {
        framing::frame(&gray, found, size).map_err(|error| match error {
            Error::Mismatch { problem, remedy } => Error::file(path, "the image", problem, remedy),
            other => other,
        })?
    };
    Ok(vec![Image { name, pixels: framed.pixels, doubts: framed.doubts }])
}

/// Pixels of a picture at most: more than cameras have, less than fill the memory.
const MAX_PIXELS: u64 = 120_000_000;
/// A side that is enough to find a digit; what is larger is made smaller first.
const ENOUGH: u32 = 2000;

/// Decodes a picture, upright as its camera was held.
fn decode(path: &Path) -> Result<DynamicImage> {
    let remedy = "give a PNG, JPEG or BMP image, or an IDX file";
    let refuse = |error: ImageError| Error::file(path, "the image", error.to_string(), remedy);
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if is_cut_jpeg(&bytes) {
        return Err(Error::file(path, "the image", "it is cut off before its end", "copy it again"));
    }
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
    let mut decoder = reader.map_err(Error::io("read", path))?.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let problem = format!("{width} x {height} pixels are more than {MAX_PIXELS}");
        return Err(Error::file(path, "the image", problem, "make it smaller"));
    }
    let orientation = decoder.orientation().map_err(refuse)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    if width.max(height) > ENOUGH {
        picture = picture.thumbnail(ENOUGH, ENOUGH);
    }
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Whether these are the bytes of a JPEG without its end, of which the decoder would make a picture all the same.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xda;
    let mut at = 2;
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    // Segments: ff, a marker, a length that counts itself. A picture within one of them has an end of its own.
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == SCAN {
            return !bytes.get(at..).unwrap_or_default().windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
    }
    true
}

/// Prints an image with five shades, two characters a pixel, since characters are twice as high as wide.
fn show(pixels: &[u8], width: usize) {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let edge = "─".repeat(2 * width);
    let row = |row: &[u8]| row.iter().map(|&v| SHADES[usize::from(v) * 5 / 256]).collect::<String>();
    let rows: Vec<String> = pixels.chunks(width).map(|pixels| format!("│{}│", row(pixels))).collect();
    output::line(format_args!("┌{edge}┐\n{}\n└{edge}┘", rows.join("\n")));
}
