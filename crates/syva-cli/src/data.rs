//! `syva data`: shows, exports and downloads data. Also opens data for the other commands.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use syva::data::source::{Notice, Source};
use syva::data::{Dataset, Inputs, Targets, Task, fashion_mnist, idx, mnist};
use syva::files::write_atomically;
use syva::run::DataConfig;
use syva::text::grouped;
use syva::{Error, ImageShape, Result, memory};

use crate::args::{DataCommand, ReportArgs, SourceArgs};
use crate::tables::{self, DataArg};
use crate::{images, output, pictures};

pub fn data(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Info(args) => {
            if let DataArg::Table(names) = &args.source.data {
                args.source.images.refuse()?;
                let target = args.target.clone().unwrap_or_default();
                return tables::info(names, target, &args.read, args.json);
            }
            if args.json {
                let problem = "it is for tables, and --data names none";
                return Err(Error::setting("json", problem, "leave it out, or give the file of a table"));
            }
            output::print(&info(&open_source(&args.source)?));
            Ok(())
        }
        DataCommand::Grid { source, out, split, rows } => {
            output::check_ending("out", out, &["png"])?;
            let task = open_source(source)?;
            grid(split.of(&task), &task.shape, *rows, out)?;
            output::line(format_args!("wrote {}", out.display()));
            Ok(())
        }
        DataCommand::Export { source, out } => {
            let task = open_source(source)?;
            export(&task, out)
        }
        DataCommand::Download { source, out } => download(*source, out.as_deref()),
    }
}

/// Opens the samples that flags name.
fn open_source(args: &SourceArgs) -> Result<Task> {
    match &args.data {
        DataArg::Named(source) => {
            args.images.refuse()?;
            open(*source, args.data_dir.as_deref(), None, Talk::All)
        }
        DataArg::Images(path) => {
            if args.data_dir.is_some() {
                let problem = "it is the folder of MNIST, and --data names another folder";
                return Err(Error::setting("data-dir", problem, "leave it out"));
            }
            Ok(images::open(&args.images.config(path)?, None, None, Talk::All)?.task)
        }
        DataArg::Table(_) => {
            let problem = "this is for images, and --data names a table";
            Err(Error::setting("data", problem, "give a named set, such as mnist, or a folder of images"))
        }
    }
}

/// Downloads the files of a set, into its cache folder if no other is named.
fn download(source: Source, out: Option<&Path>) -> Result<()> {
    let is_fashion = match source {
        Source::Auto | Source::Mnist => false,
        Source::FashionMnist => true,
        Source::Digits => {
            let problem = "syva draws them, so there is nothing to download";
            return Err(Error::setting("NAME", problem, "use --data digits as it is"));
        }
    };
    let cache = if is_fashion { fashion_mnist::cache_dir() } else { mnist::cache_dir() };
    let folder = out.map(Path::to_path_buf).or(cache);
    let folder =
        folder.ok_or_else(|| Error::setting("out", "this system has no cache folder", "name a folder with --out"))?;
    let mut listener = listen(Talk::All);
    let mut progress = |progress: mnist::Progress<'_>| listener(&Notice::Download(&progress));
    let title = if is_fashion {
        fashion_mnist::download(&folder, fashion_mnist::MIRRORS, &mut progress)?;
        "Fashion-MNIST"
    } else {
        mnist::download(&folder, mnist::MIRRORS, &mut progress)?;
        "MNIST"
    };
    output::line(format_args!("{title} is complete in {}", folder.display()));
    Ok(())
}

/// What is written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// Only errors.
    Nothing,
    /// Errors, and notices that the user should see.
    Notices,
    /// Errors, notices and progress bars.
    All,
}

impl From<ReportArgs> for Talk {
    fn from(args: ReportArgs) -> Self {
        match args {
            ReportArgs { quiet: true, .. } => Self::Nothing,
            ReportArgs { json: true, .. } => Self::Notices,
            _ => Self::All,
        }
    }
}

/// Opens the source that --data names, on this many threads. Notices and progress go to standard error.
pub fn open(source: Source, dir: Option<&Path>, threads: Option<usize>, talk: Talk) -> Result<Task> {
    open_any(source, dir, threads, talk).map_err(|error| match error {
        Error::Network { what, problem, remedy } => {
            Error::Network { what, problem, remedy: format!("{remedy}, or use --data digits") }
        }
        other => other,
    })
}

/// The same for a source that no flag can change.
fn open_any(source: Source, dir: Option<&Path>, threads: Option<usize>, talk: Talk) -> Result<Task> {
    let cores = syva::threads::cores();
    if let Some(threads) = threads.filter(|&threads| threads > cores && talk != Talk::Nothing) {
        let cores = output::count(cores as u64, "core");
        output::note(format_args!("syva: {threads} threads are more than {cores} can use; using one thread per core"));
    }
    syva::data::source::open_on(threads.unwrap_or(cores).min(cores), source, dir, &mut listen(talk))
}

/// Opens the data of a run: from `dir` if it is given, otherwise from the folder in the run's configuration.
pub fn open_of_run(
    run: &Path,
    config: &DataConfig,
    dir: Option<&Path>,
    threads: Option<usize>,
    talk: Talk,
) -> Result<Task> {
    if let Some(table) = &config.table {
        return tables::open_of_run(run, table, config.validation);
    }
    if let Some(found) = &config.images {
        return images::open_of_run(run, found, config.validation, dir, threads);
    }
    let source = source_of(run, config)?;
    let dir = dir.map_or_else(|| place(run, config, talk), |dir| Ok(Some(dir.to_path_buf())))?;
    open_any(source, dir.as_deref(), threads, talk)?.validated_by(config.validation)
}

/// The data folder in a run's configuration. If that is gone, another folder that has the data: data is identified by
/// its digest, not by its place.
pub fn place(run: &Path, config: &DataConfig, talk: Talk) -> Result<Option<PathBuf>> {
    let Some(dir) = &config.dir else { return Ok(None) };
    let source = source_of(run, config)?;
    let Err(Error::Setting { problem, .. }) = source.find(Some(dir)) else { return Ok(Some(dir.clone())) };
    let (config, dir) = (run.join("config.toml"), dir.display());
    let Ok(Some(found)) = source.find(None) else {
        let remedy = "give the new folder with --data-dir";
        return Err(Error::file(config, "data.dir", format!("it names {dir}: {problem}"), remedy));
    };
    if talk != Talk::Nothing {
        let (config, found) = (config.display(), found.display());
        output::note(format_args!("syva: {config} names {dir}: {problem}; using {found} instead"));
    }
    Ok(Some(found))
}

/// The source that a run's configuration names.
pub fn source_of(run: &Path, config: &DataConfig) -> Result<Source> {
    config.source.parse().map_err(|error: Error| {
        let remedy = "undo the change, or start a new run";
        Error::file(run.join("config.toml"), "data.source", error.to_string(), remedy)
    })
}

/// Shows downloads as a bar and a fallback as a notice.
fn listen(talk: Talk) -> impl FnMut(&Notice<'_>) {
    let mut bars: Vec<(String, ProgressBar)> = Vec::new();
    move |notice| match notice {
        Notice::Download(progress) => {
            if talk != Talk::All || !std::io::stderr().is_terminal() {
                return;
            }
            if bars.last().is_none_or(|(file, _)| *file != progress.file) {
                let bar = ProgressBar::with_draw_target(progress.total, ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {bytes}/{total_bytes} {wide_msg}") {
                    bar.set_style(style.progress_chars("━╸─"));
                }
                bar.set_prefix(progress.file.to_string());
                bar.set_message(progress.mirror.to_string());
                bars.push((progress.file.to_string(), bar));
            }
            if let Some((_, bar)) = bars.last() {
                bar.set_position(progress.done);
            }
        }
        Notice::Fallback(reason) if talk != Talk::Nothing => {
            output::note(format_args!("syva: {reason}"));
            output::note("syva: using `digits` instead, 70,000 handwritten-looking digits that syva draws itself");
        }
        Notice::Fallback(_) => {}
    }
}

/// A data folder in the form that a run's configuration can hold: an absolute path, and Unicode.
pub fn absolute(path: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let Some(path) = path else { return Ok(None) };
    let path = std::path::absolute(&path).map_err(Error::io("find", path))?;
    if path.to_str().is_none() {
        let problem = format!("{} is not Unicode, so config.toml cannot record it", path.display());
        return Err(Error::setting("data-dir", problem, "rename the folder, or reach it through a link"));
    }
    Ok(Some(path))
}

/// Counts, moments and digests, as text.
fn info(task: &Task) -> String {
    let mut text = format!("{}  {} features", task.name, task.train.features());
    if let Some(image) = ImageShape::of(&task.shape) {
        text += &format!(" ({image})");
    }
    if !task.class_names.is_empty() {
        let names: Vec<String> = task.class_names.iter().map(|name| output::short(name)).collect();
        text += &format!("\n{} classes: {}", names.len(), names.join(", "));
    }
    text += &format!("\nsha256 of the data  {}\n", task.digest());
    text +=
        &format!("{:<12} {:>8} {:>8} {:>8} {:>9}  samples of each class\n", "", "samples", "mean", "std", "non-zero");
    for (name, data) in [("training", &task.train), ("validation", &task.validation)] {
        let (mean, std, non_zero) = moments(data);
        let samples = grouped(data.samples() as u64);
        text += &format!("{name:<12} {samples:>8} {mean:>8.4} {std:>8.4} {:>7.1} %  ", 100.0 * non_zero);
        if let Targets::Classes { labels, classes } = data.targets() {
            let mut counts = vec![0u32; *classes];
            for &label in labels.iter() {
                counts[label as usize] += 1;
            }
            text += &counts.iter().map(|&count| grouped(count.into())).collect::<Vec<_>>().join(" ");
        }
        text.push('\n');
    }
    if let Inputs::U8(_) = task.train.inputs() {
        text += "mean and standard deviation are those of the pixels divided by 255\n";
    }
    text
}

/// Mean and standard deviation of the inputs (pixels as shares of 255), and the share of inputs that are not 0.
fn moments(data: &Dataset) -> (f64, f64, f64) {
    let inputs = data.inputs();
    let unit = if matches!(inputs, Inputs::U8(_)) { 255.0 } else { 1.0 };
    let count = inputs.len() as f64;
    let (mut sum, mut non_zero) = (0.0, 0.0);
    for value in (0..inputs.len()).map(|i| f64::from(inputs.get(i))) {
        sum += value / unit;
        non_zero += f64::from(u8::from(value != 0.0));
    }
    let mean = sum / count;
    let squares: f64 = (0..inputs.len()).map(|i| (f64::from(inputs.get(i)) / unit - mean).powi(2)).sum();
    (mean, (squares / count).sqrt(), non_zero / count)
}

/// Writes four IDX files with MNIST's names. Refuses to replace existing files.
fn export(task: &Task, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).map_err(Error::io("create folder", out))?;
    let paths =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
            .map(|name| out.join(name));
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Err(Error::file(path, "the file", "it already exists", "name another folder"));
    }
    let [height, width] = task.shape[..] else {
        return Err(Error::mismatch("these samples are not grey images", "export a data set of grey images"));
    };
    for (i, data) in [&task.train, &task.validation].into_iter().enumerate() {
        let (Inputs::U8(pixels), Targets::Classes { labels, .. }) = (data.inputs(), data.targets()) else {
            return Err(Error::mismatch("these samples are not images with classes", "export a data set of images"));
        };
        let labels: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
        let images = idx::Images { count: data.samples(), rows: height, columns: width, pixels: pixels.to_vec() };
        idx::write_images(&paths[2 * i], &images)?;
        idx::write_labels(&paths[2 * i + 1], &labels)?;
    }
    output::line(format_args!("wrote four IDX files to {}", out.display()));
    Ok(())
}

/// The number of pixels that one pixel of a sample takes in the picture, and the space around a sample.
const ZOOM: usize = 3;
const GAP: usize = 8;
/// Height of the row of labels above the examples.
const HEADING: usize = 34;
/// Background, frame of the samples, text.
const PAPER: u8 = 255;
const INK: u8 = 40;

/// Each figure as 5 by 7 dots. Each number is a row; the highest of its five bits is the leftmost dot.
const FIGURES: [[u8; 7]; 10] = [
    [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
    [0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110],
    [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
];

/// Draws the first `rows` samples of each class, one column per class under its label.
fn grid(data: &Dataset, shape: &[usize], rows: usize, out: &Path) -> Result<()> {
    let (Some(image), Targets::Classes { labels, classes }) = (ImageShape::of(shape), data.targets()) else {
        return Err(Error::mismatch("these samples are not images with classes", "draw a data set of images"));
    };
    let ImageShape { height, width, channels } = image;
    if rows == 0 || rows > 200 {
        return Err(Error::setting("rows", format!("{rows} rows are not possible"), "give 1 to 200"));
    }
    let (cell_width, cell_height) = (width * ZOOM + GAP, height * ZOOM + GAP);
    let (picture_width, picture_height) = (classes * cell_width + GAP, HEADING + rows * cell_height + GAP);
    let bytes = (channels as u64).saturating_mul(picture_width as u64).saturating_mul(picture_height as u64);
    memory::ask(bytes, "the picture", "draw fewer rows")?;
    let mut picture = vec![PAPER; channels * picture_width * picture_height];
    let lightness = pictures::lightness(data);
    for class in 0..*classes {
        let left = GAP + class * cell_width;
        draw_number(&mut picture, picture_width, channels, left + width * ZOOM / 2, class);
        let samples = (0..data.samples()).filter(|&sample| labels[sample] as usize == class).take(rows);
        for (row, sample) in samples.enumerate() {
            let top = HEADING + row * cell_height;
            for y in 0..height * ZOOM {
                for x in 0..width * ZOOM {
                    for channel in 0..channels {
                        let feature = (channel * height + y / ZOOM) * width + x / ZOOM;
                        let value = lightness(data.inputs().get(sample * data.features() + feature));
                        let at = ((top + y) * picture_width + left + x) * channels + channel;
                        picture[at] = (255.0 * value).round() as u8;
                    }
                }
            }
        }
    }
    write_atomically(out, |file| {
        let mut encoder = png::Encoder::new(file, picture_width as u32, picture_height as u32);
        encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&picture)?;
        Ok(writer.finish()?)
    })
}

/// Draws a number in the heading, centred at `centre`.
fn draw_number(picture: &mut [u8], picture_width: usize, channels: usize, centre: usize, number: usize) {
    const DOT: usize = 3;
    let figures: Vec<usize> = number.to_string().bytes().map(|byte| usize::from(byte - b'0')).collect();
    let left = centre.saturating_sub((figures.len() * 6 - 1) * DOT / 2);
    for (place, &figure) in figures.iter().enumerate() {
        for (y, bits) in FIGURES[figure].iter().enumerate() {
            for x in (0..5).filter(|x| bits >> (4 - x) & 1 == 1) {
                for dot in 0..DOT * DOT {
                    let (row, column) = (6 + y * DOT + dot / DOT, left + (place * 6 + x) * DOT + dot % DOT);
                    let at = (row * picture_width + column) * channels;
                    picture[at..at + channels].fill(INK);
                }
            }
        }
    }
}
