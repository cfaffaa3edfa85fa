//! `syva predict`: reads images, or the rows of a table, with a network.

mod table;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use syva::data::framing::{self, Framed, is_framed};
use syva::data::idx::{Images, parse_images, read_images};
use syva::run::Reached;
use syva::{Error, Head, Matrix, Result, Training, first_largest, probabilities};

use crate::args::PredictArgs;
use crate::picture::{Picture, decode, is_standard_input, read_bytes};
use crate::{eval, output};

/// A grey image `[height, width]` of the network's size, and where it comes from.
struct Image {
    name: String,
    /// Its pixels. `None` if there is nothing to see.
    seen: Option<Vec<u8>>,
    /// Reasons to doubt the result.
    doubts: Vec<String>,
}

/// Files that cannot be read are reported, and the others are still read. The exit code then signals the failure.
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let Reached { file: path, model, .. } = eval::load(&args.model)?;
    if let Some(schema) = &model.spec.schema {
        return table::predict(args, &path, &model, schema);
    }
    if let Some(out) = &args.out {
        let problem = format!("{} would have what is printed here for images", out.display());
        return Err(Error::setting("out", problem, "leave it out, or redirect the output"));
    }
    let &[height, width] = &model.spec.input.shape[..] else {
        let problem = format!("it reads {} values per sample, not images", model.spec.input.features);
        return Err(Error::file(&path, "the model", problem, "use a model that was trained on images"));
    };
    let (engine, device) = args.on.engine()?;
    let mut session = model.open(engine.as_ref(), &device, &Training::default())?;
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
        let seen: Vec<(&Image, &[u8])> =
            images.iter().filter_map(|image| Some((image, image.seen.as_deref()?))).collect();
        for Image { name, .. } in images.iter().filter(|image| image.seen.is_none()) {
            output::note(format_args!("syva: {name}: it is blank: all pixels are the same grey"));
            code = ExitCode::from(1);
        }
        if seen.is_empty() {
            continue;
        }
        let values = seen.iter().flat_map(|(_, pixels)| pixels.iter().map(|&v| f32::from(v))).collect();
        let mut outputs = Matrix::zeros(seen.len(), model.spec.outputs());
        session.predict(&Matrix::new(seen.len(), height * width, values)?, &mut outputs)?;
        for (row, &(image, pixels)) in seen.iter().enumerate() {
            for doubt in &image.doubts {
                let hint = if args.show { "" } else { " (--show shows what the network sees)" };
                output::note(format_args!("syva: {}: {doubt}{hint}", image.name));
            }
            if args.show {
                show(pixels, width);
            }
            let outputs = outputs.row(row);
            if outputs.iter().any(|value| !value.is_finite()) {
                let problem = "its outputs are not finite, because its weights are too large";
                return Err(Error::file(&path, "the model", problem, "train it again with a smaller learning rate"));
            }
            match model.spec.head {
                Head::Regression | Head::Poisson | Head::Gaussian => values_line(args.json, image, outputs),
                Head::MultiLabel => labels_line(args.json, image, &probabilities(model.spec.head, outputs)),
                Head::Binary | Head::Logits | Head::LogSoftmax => {
                    classes_line(args.json, image, &probabilities(model.spec.head, outputs));
                }
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

/// The labels that are likelier than not.
fn labels_line(json: bool, Image { name, doubts, .. }: &Image, probabilities: &[f64]) {
    let labels: Vec<usize> = (0..probabilities.len()).filter(|&label| probabilities[label] > 0.5).collect();
    if json {
        output::json(
            serde_json::json!({ "image": name, "labels": labels, "probabilities": probabilities, "doubts": doubts }),
        );
        return;
    }
    let percent = |label: &usize| format!("{label} ({:.1} %)", 100.0 * probabilities[*label]);
    let said: Vec<String> = labels.iter().map(percent).collect();
    output::line(format_args!("{name}: {}", if said.is_empty() { "no label".into() } else { said.join(", ") }));
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

/// The content of a file.
enum Content {
    /// An IDX file's images, which are already framed.
    Idx(Images),
    Picture(Picture),
}

/// The images in a file, in the network's size.
fn read(path: &Path, size: [usize; 2], as_is: bool) -> Result<Vec<Image>> {
    let name = if is_standard_input(path) { "standard input".to_string() } else { path.display().to_string() };
    match content(path, size)? {
        Content::Idx(images) => idx_images(path, &name, &images, size),
        Content::Picture(picture) => {
            let framed = framed(&picture, size, as_is).map_err(|error| match error {
                Error::Mismatch { problem, remedy } => Error::file(path, "the image", problem, remedy),
                other => other,
            })?;
            let doubts = picture.doubts.into_iter().chain(framed.doubts).collect();
            Ok(vec![Image { name, seen: Some(framed.pixels), doubts }])
        }
    }
}

/// Whether a file begins like an IDX file, of any element type, or like gzip, in which they are distributed.
fn is_idx(begin: &[u8]) -> bool {
    matches!(begin, [0, 0, 0x08..=0x0e, ..] | [0x1f, 0x8b, ..])
}

fn content(path: &Path, size: [usize; 2]) -> Result<Content> {
    // An IDX file may be larger than any picture, so it has its own reader. A pipe can be read only once.
    if path.metadata().is_ok_and(|metadata| metadata.is_file()) && !is_standard_input(path) {
        let mut begin = [0; 3];
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let length = file.take(3).read(&mut begin).map_err(Error::io("read", path))?;
        if is_idx(&begin[..length]) {
            return Ok(Content::Idx(read_images(path)?));
        }
    }
    let bytes = read_bytes(path)?;
    if is_idx(&bytes) {
        return Ok(Content::Idx(parse_images(path, bytes)?));
    }
    Ok(Content::Picture(decode(path, &bytes, size)?))
}

fn idx_images(path: &Path, name: &str, images: &Images, size: [usize; 2]) -> Result<Vec<Image>> {
    if [images.rows, images.columns] != size {
        let problem = format!(
            "the images are {} × {}, but the network reads {} × {}",
            images.rows, images.columns, size[0], size[1]
        );
        return Err(Error::file(path, "header", problem, "use images of the network's size"));
    }
    let one = |(i, pixels): (usize, &[u8])| Image {
        name: format!("{name}#{i}"),
        seen: (!is_blank(pixels)).then(|| pixels.to_vec()),
        doubts: Vec::new(),
    };
    Ok(images.pixels.chunks(size[0] * size[1]).enumerate().map(one).collect())
}

/// Whether all pixels have the same grey, so that nothing can be seen.
fn is_blank(pixels: &[u8]) -> bool {
    pixels.iter().all(|&value| value == pixels[0])
}

fn framed(picture: &Picture, size: [usize; 2], as_is: bool) -> Result<Framed> {
    let Picture { pixels, size: found, .. } = picture;
    if !as_is && (*found != size || !is_framed(pixels, size)) {
        return framing::frame(pixels, *found, size);
    }
    if is_blank(pixels) {
        return Err(Error::mismatch("it is blank: all pixels are the same grey", "give another picture"));
    }
    // An image from MNIST, or from a similar data set.
    let pixels = if *found == size { pixels.clone() } else { framing::scale(pixels, *found, size)? };
    Ok(Framed { pixels, doubts: Vec::new() })
}

/// Prints an image in five shades, with two characters per pixel because characters are twice as high as wide.
fn show(pixels: &[u8], width: usize) {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let edge = "─".repeat(2 * width);
    let row = |row: &[u8]| row.iter().map(|&v| SHADES[usize::from(v) * 5 / 256]).collect::<String>();
    let rows: Vec<String> = pixels.chunks(width).map(|pixels| format!("│{}│", row(pixels))).collect();
    output::line(format_args!("┌{edge}┐\n{}\n└{edge}┘", rows.join("\n")));
}
