//! `syva predict`: reads images, or the rows of a table, with a network.

mod table;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use syva::data::Inputs;
use syva::data::framing::{self, Framed, is_framed};
use syva::data::idx::{Images, parse_images};
use syva::files::write_atomically;
use syva::run::Reached;
use syva::tables::{images, write_row};
use syva::{Error, Head, ImageShape, Matrix, Model, Result, Session, Training, first_largest, probabilities};

use crate::Code;
use crate::args::PredictArgs;
use crate::picture::{Picture, decode, is_standard_input, read_bytes};
use crate::{eval, output};

/// An image as the network reads it, and where it comes from.
struct Image {
    name: String,
    /// Its values, `[height, width]` or `[3, height, width]`. `None` if there is nothing to see.
    seen: Option<Vec<f32>>,
    /// Reasons to doubt the result.
    doubts: Vec<String>,
}

/// What is printed of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A line for people.
    Line,
    /// An object.
    Json,
    /// A row of a table.
    Csv,
}

/// How a picture becomes an image that the network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A digit is found in it, and framed as MNIST's are.
    Framed,
    /// It is a digit of MNIST's kind already.
    AsIs,
    /// It is stretched to the network's size.
    Stretched,
}

/// The images of a table that are predicted at once.
const BATCH: usize = 256;

/// Files that cannot be read are reported, and the others are still read. The exit code then signals the failure.
pub fn predict(args: &PredictArgs) -> Result<Code> {
    let Reached { file, model, .. } = eval::load(&args.model)?;
    if let Some(schema) = &model.spec.schema {
        return table::predict(args, &file, &model, schema);
    }
    for (setting, given) in [("threshold", args.threshold), ("temperature", args.temperature)] {
        if given.is_some() {
            return Err(Error::setting(
                setting,
                "it is for rows of a table, and this model reads images",
                "leave it out",
            ));
        }
    }
    let Some(shape) = ImageShape::of(&model.spec.input.shape) else {
        let problem = format!("it reads {} values per sample, not images", model.spec.input.features);
        return Err(Error::file(&file, "the model", problem, "use a model that was trained on images"));
    };
    if args.frame && shape.channels == 3 {
        let problem = "this model reads colours, and figures are found in grey images";
        return Err(Error::setting("frame", problem, "leave it out"));
    }
    if args.json && args.out.is_some() {
        let problem = "the file would have a table, which is no JSON";
        return Err(Error::setting("out", problem, "leave it out, and redirect the output"));
    }
    let (files, has_folder) = files(&args.files)?;
    let form = match (args.json, has_folder || args.out.is_some()) {
        (true, _) => Form::Json,
        (false, true) => Form::Csv,
        (false, false) => Form::Line,
    };
    if args.show && form != Form::Line {
        return Err(Error::setting("show", "a table has no pictures", "leave it out, or name single files"));
    }
    let (engine, device) = args.on.engine()?;
    let mut session = model.open(engine.as_ref(), &device, &Training::default())?;
    // Classes have names where the training took pictures as they are.
    let way = match shape.channels == 1 && (args.frame || model.spec.class_names.is_empty()) {
        true if args.as_is => Way::AsIs,
        true => Way::Framed,
        false => Way::Stretched,
    };
    let session = session.as_mut();
    let mut predicting = Predicting { args, file: &file, model: &model, shape, session, form, failed: false, rows: 0 };
    write_out(args.out.as_deref(), &["csv"], &mut |to| predicting.all(&files, way, to))?;
    if let Some(out) = &args.out {
        let images = output::count(predicting.rows as u64, "image");
        output::note(format_args!("syva: wrote the predictions of {images} to {}", out.display()));
    }
    Ok(u8::from(predicting.failed))
}

/// The files to read: those that are named, and the pictures in the folders that are. Whether there is a folder.
fn files(named: &[PathBuf]) -> Result<(Vec<PathBuf>, bool)> {
    let (mut files, mut has_folder) = (Vec::new(), false);
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        has_folder = true;
        let (found, others) = images::pictures(path)?;
        if found.is_empty() {
            let problem = "there are no pictures in it, by their names";
            return Err(Error::file(path, "the folder", problem, "name a folder with PNG, JPEG or other pictures"));
        }
        if let Some(first) = others.first() {
            let (count, first) = (output::count(others.len() as u64, "file"), first.display());
            output::note(format_args!("syva: passed over {count} that no picture has the name of, such as {first}"));
        }
        files.extend(found);
    }
    Ok((files, has_folder))
}

/// Writes to a file, whole or not at all, or to standard output, whose reader may stop reading at any time.
fn write_out(
    out: Option<&Path>,
    endings: &[&'static str],
    all: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let Some(out) = out else {
        return match all(&mut io::stdout().lock()) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        };
    };
    output::check_out("out", out)?;
    output::check_ending("out", out, endings)?;
    let mut problem = None;
    let written = write_atomically(out, |file| {
        all(file).map_err(|error| {
            let said = error.to_string();
            problem = Some(error);
            io::Error::other(said)
        })
    });
    problem.map_or(written, Err)
}

/// What reading images needs.
struct Predicting<'a> {
    args: &'a PredictArgs,
    /// The model's file.
    file: &'a Path,
    model: &'a Model,
    shape: ImageShape,
    session: &'a mut dyn Session,
    form: Form,
    /// Whether a file could not be read.
    failed: bool,
    rows: usize,
}

impl Predicting<'_> {
    fn all(&mut self, files: &[PathBuf], way: Way, to: &mut dyn Write) -> Result<()> {
        if self.form == Form::Csv {
            let mut header = Vec::new();
            write_row(&mut header, self.columns().iter().map(String::as_str));
            self.write(to, &header)?;
        }
        let mut waiting = Vec::new();
        for file in files {
            match read(file, self.shape, way) {
                Ok(images) => waiting.extend(images),
                Err(error) => {
                    output::note(format_args!("syva: {error}"));
                    self.failed = true;
                }
            }
            if self.form != Form::Csv || waiting.len() >= BATCH {
                self.some(&std::mem::take(&mut waiting), to)?;
            }
        }
        self.some(&waiting, to)?;
        if self.args.out.is_some() && self.rows == 0 {
            return Err(Error::mismatch("no image could be read, so nothing is written", "name other files"));
        }
        Ok(())
    }

    fn write(&self, to: &mut dyn Write, bytes: &[u8]) -> Result<()> {
        let out = self.args.out.as_deref().unwrap_or(Path::new("-"));
        to.write_all(bytes).map_err(Error::io("write", out))
    }

    /// Predicts images.
    fn some(&mut self, images: &[Image], to: &mut dyn Write) -> Result<()> {
        for Image { name, .. } in images.iter().filter(|image| image.seen.is_none()) {
            output::note(format_args!("syva: {name}: it is blank: all pixels are the same grey"));
            self.failed = true;
        }
        let seen: Vec<(&Image, &[f32])> =
            images.iter().filter_map(|image| Some((image, image.seen.as_deref()?))).collect();
        if seen.is_empty() {
            return Ok(());
        }
        let values: Vec<f32> = seen.iter().flat_map(|(_, values)| values.iter().copied()).collect();
        let mut outputs = Matrix::zeros(seen.len(), self.model.spec.outputs());
        self.session.predict(&values.into(), &mut outputs)?;
        for (row, &(image, values)) in seen.iter().enumerate() {
            for doubt in &image.doubts {
                let hint =
                    if self.args.show || self.form == Form::Csv { "" } else { " (--show shows what the network sees)" };
                output::note(format_args!("syva: {}: {doubt}{hint}", image.name));
            }
            let outputs = outputs.row(row);
            if outputs.iter().any(|value| !value.is_finite()) {
                let problem = "its outputs are not finite, because its weights are too large";
                return Err(Error::file(
                    self.file,
                    "the model",
                    problem,
                    "train it again with a smaller learning rate",
                ));
            }
            if self.args.show {
                self.write(to, shown(values, self.shape).as_bytes())?;
            }
            self.write(to, &self.found(image, outputs))?;
            self.rows += 1;
        }
        Ok(())
    }

    /// The name of a class or label.
    fn name(&self, class: usize) -> String {
        self.model.spec.named_classes().map_or_else(|| class.to_string(), |names| names[class].clone())
    }

    /// The columns of a table of predictions.
    fn columns(&self) -> Vec<String> {
        let spec = &self.model.spec;
        let each = |what: &str, count: usize| match count {
            1 => vec![what.to_string()],
            _ => (0..count).map(|i| format!("{what}:{i}")).collect(),
        };
        let found = match spec.head {
            Head::Regression | Head::Poisson | Head::Gaussian => each("prediction", spec.outputs()),
            Head::MultiLabel => each("probability", spec.outputs()),
            Head::Binary | Head::Logits | Head::LogSoftmax => {
                let names = (0..spec.classes()).map(|class| format!("probability:{}", self.name(class)));
                ["prediction".to_string()].into_iter().chain(names).collect()
            }
        };
        ["file".to_string()].into_iter().chain(found).collect()
    }

    /// What is said of an image with these outputs.
    fn found(&self, image: &Image, outputs: &[f32]) -> Vec<u8> {
        let head = self.model.spec.head;
        let cells = match (self.form, head) {
            (Form::Csv, Head::Regression | Head::Poisson | Head::Gaussian) => {
                outputs.iter().map(ToString::to_string).collect()
            }
            (Form::Csv, _) => {
                let probabilities = probabilities(head, outputs);
                let class = first_largest(&probabilities);
                let first = if head == Head::MultiLabel { None } else { Some(self.name(class)) };
                // They come from f32 and need no more digits.
                first.into_iter().chain(probabilities.iter().map(|&p| (p as f32).to_string())).collect::<Vec<String>>()
            }
            (_, Head::Regression | Head::Poisson | Head::Gaussian) => {
                return values_line(self.form, image, outputs).into();
            }
            (_, Head::MultiLabel) => return labels_line(self.form, image, &probabilities(head, outputs)).into(),
            (_, Head::Binary | Head::Logits | Head::LogSoftmax) => {
                return self.classes_line(image, &probabilities(head, outputs)).into();
            }
        };
        let mut row = Vec::new();
        write_row(&mut row, [image.name.as_str()].into_iter().chain(cells.iter().map(String::as_str)));
        row
    }

    fn classes_line(&self, Image { name, doubts, .. }: &Image, probabilities: &[f64]) -> String {
        let class = first_largest(probabilities);
        if self.form == Form::Json {
            let mut object =
                serde_json::json!({ "image": name, "class": class, "probabilities": probabilities, "doubts": doubts });
            if let (Some(names), Some(object)) = (self.model.spec.named_classes(), object.as_object_mut()) {
                object.insert("name".into(), names[class].as_str().into());
            }
            return format!("{object}\n");
        }
        let mut ranked: Vec<usize> = (0..probabilities.len()).filter(|&other| other != class).collect();
        ranked.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let percent =
            |class: usize| format!("{} {:.1} %", output::short(&self.name(class)), 100.0 * probabilities[class]);
        let others: Vec<String> = ranked.iter().take(2).map(|&class| percent(class)).collect();
        format!("{}: {}  (then {})\n", output::shown(name), percent(class), others.join(", "))
    }
}

fn values_line(form: Form, Image { name, doubts, .. }: &Image, values: &[f32]) -> String {
    if form == Form::Json {
        return format!("{}\n", serde_json::json!({ "image": name, "values": values, "doubts": doubts }));
    }
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("{}: {}\n", output::shown(name), values.join(", "))
}

/// The labels that are likelier than not.
fn labels_line(form: Form, Image { name, doubts, .. }: &Image, probabilities: &[f64]) -> String {
    let labels: Vec<usize> = (0..probabilities.len()).filter(|&label| probabilities[label] > 0.5).collect();
    if form == Form::Json {
        let object =
            serde_json::json!({ "image": name, "labels": labels, "probabilities": probabilities, "doubts": doubts });
        return format!("{object}\n");
    }
    let percent = |label: &usize| format!("{label} ({:.1} %)", 100.0 * probabilities[*label]);
    let said: Vec<String> = labels.iter().map(percent).collect();
    format!("{}: {}\n", output::shown(name), if said.is_empty() { "no label".into() } else { said.join(", ") })
}

/// The content of a file.
enum Content {
    /// An IDX file's images, which are already framed.
    Idx(Vec<usize>, Inputs),
    /// A grey picture of a digit.
    Figure(Picture),
    /// A picture to be used as it is.
    Whole(images::Picture),
}

/// The images in a file, as the network reads them.
fn read(path: &Path, shape: ImageShape, way: Way) -> Result<Vec<Image>> {
    let name = if is_standard_input(path) { "standard input".to_string() } else { path.display().to_string() };
    match content(path, shape, way)? {
        Content::Idx(found, inputs) => idx_images(path, &name, &found, &inputs, shape),
        Content::Figure(picture) => {
            let framed =
                framed(&picture, [shape.height, shape.width], way == Way::AsIs).map_err(|error| match error {
                    Error::Mismatch { problem, remedy } => Error::file(path, "the image", problem, remedy),
                    other => other,
                })?;
            let doubts = picture.doubts.into_iter().chain(framed.doubts).collect();
            Ok(vec![Image { name, seen: Some(floats(&framed.pixels)), doubts }])
        }
        Content::Whole(picture) => {
            let seen = Some(floats(&picture.fit(shape)));
            Ok(vec![Image { name, seen, doubts: picture.doubts }])
        }
    }
}

fn floats(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().map(|&pixel| f32::from(pixel)).collect()
}

/// Whether a file begins like an IDX file, of any element type, or like gzip, in which they are distributed.
fn is_idx(begin: &[u8]) -> bool {
    matches!(begin, [0, 0, 0x08..=0x0e, ..] | [0x1f, 0x8b, ..])
}

fn content(path: &Path, shape: ImageShape, way: Way) -> Result<Content> {
    // An IDX file may be larger than any picture, so it has its own reader. A pipe can be read only once.
    if path.metadata().is_ok_and(|metadata| metadata.is_file()) && !is_standard_input(path) {
        let mut begin = [0; 3];
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let length = file.take(3).read(&mut begin).map_err(Error::io("read", path))?;
        if is_idx(&begin[..length]) {
            let (found, inputs) = images::read_idx(path)?;
            return Ok(Content::Idx(found, inputs));
        }
    }
    let bytes = read_bytes(path)?;
    if is_idx(&bytes) {
        let Images { rows, columns, pixels, .. } = parse_images(path, bytes)?;
        return Ok(Content::Idx(vec![rows, columns], Inputs::U8(pixels.into())));
    }
    Ok(match way {
        Way::Framed | Way::AsIs => Content::Figure(decode(path, &bytes, [shape.height, shape.width])?),
        Way::Stretched => Content::Whole(images::decode(path, &bytes)?),
    })
}

fn idx_images(path: &Path, name: &str, found: &[usize], inputs: &Inputs, shape: ImageShape) -> Result<Vec<Image>> {
    if ImageShape::of(found) != Some(shape) {
        let is = ImageShape::of(found).map_or_else(|| "no images".to_string(), |found| found.to_string());
        let problem = format!("the images are {is}, but the network reads {shape}");
        return Err(Error::file(path, "header", problem, "use images of the network's size"));
    }
    let one = |i: usize| {
        let values: Vec<f32> = (i * shape.features()..(i + 1) * shape.features()).map(|at| inputs.get(at)).collect();
        let is_blank = values.iter().all(|&value| value == values[0]);
        Image { name: format!("{name}#{i}"), seen: (!is_blank).then_some(values), doubts: Vec::new() }
    };
    Ok((0..inputs.len() / shape.features()).map(one).collect())
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

/// An image in five shades, with two characters per pixel because characters are twice as high as wide. Of RGB, the mean.
fn shown(values: &[f32], shape: ImageShape) -> String {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let (width, features) = (shape.width, shape.width * shape.height);
    let mean = |at: usize| (0..shape.channels).map(|channel| values[channel * features + at]).sum::<f32>();
    let pixels: Vec<u8> = (0..features).map(|at| (mean(at) / shape.channels as f32) as u8).collect();
    let edge = "─".repeat(2 * width);
    let row = |row: &[u8]| row.iter().map(|&v| SHADES[usize::from(v) * 5 / 256]).collect::<String>();
    let rows: Vec<String> = pixels.chunks(width).map(|pixels| format!("│{}│", row(pixels))).collect();
    format!("┌{edge}┐\n{}\n└{edge}┘\n", rows.join("\n"))
}
