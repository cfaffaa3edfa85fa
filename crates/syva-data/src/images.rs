//! Sets of images: a folder of pictures for each class, IDX files of any size, and CIFAR's binary files.
//!
//! [`read`] reads what a place holds, and [`task`] makes a task of it: with the place's own validation and test images, or
//! with a part of the training images. RGB images become features as [`ImageShape`] says, `[3, height, width]`.

mod cifar;
mod folder;
mod idx;
mod picture;

use std::path::{Path, PathBuf};

use syva_core::data::images::{Channels, ImageSize, ImagesConfig};
use syva_core::data::tabular::default_validation;
use syva_core::data::{Dataset, Inputs, Targets, Task, Validation};
use syva_core::{Error, ImageShape, Normalization, Result};

pub use folder::{is_picture, pictures};
pub use idx::read_idx;
pub use picture::{Picture, decode};

/// What a place holds.
#[derive(Clone, Debug)]
pub struct Set {
    /// What it is called, by its folder or its files.
    pub name: String,
    /// The training images.
    pub train: Option<Dataset>,
    /// Its own validation images.
    pub validation: Option<Dataset>,
    /// Its own test images.
    pub test: Option<Dataset>,
    /// `[height, width]` or `[3, height, width]`; empty if the samples are not images.
    pub shape: Vec<usize>,
    /// The names of the classes, empty if they are called by their numbers.
    pub class_names: Vec<String>,
    /// The configuration, with what was found out.
    pub config: ImagesConfig,
    /// Sentences about what was found out.
    pub notes: Vec<String>,
}

/// Images with their labels, as they are in a part of a set.
struct Part {
    inputs: Inputs,
    labels: Vec<u32>,
}

/// The three parts of a set.
#[derive(Default)]
struct Parts {
    train: Option<Part>,
    validation: Option<Part>,
    test: Option<Part>,
}

/// A part of a set, by its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Train,
    Validation,
    Test,
}

impl Parts {
    fn place(&mut self, role: Role) -> &mut Option<Part> {
        match role {
            Role::Train => &mut self.train,
            Role::Validation => &mut self.validation,
            Role::Test => &mut self.test,
        }
    }
}

/// Whether a path names a place that [`read`] reads: a folder, or an IDX file of images or labels by its name.
#[must_use]
pub fn is_place(path: &Path) -> bool {
    path.is_dir() || path.is_file() && idx::Name::of(path).is_some()
}

/// Reads the images of a place, on at most so many threads; the images do not depend on it.
///
/// ```
/// use syva_core::data::{idx, images::ImagesConfig};
/// let folder = tempfile::tempdir()?;
/// let images = idx::Images { count: 2, rows: 1, columns: 2, pixels: vec![0, 255, 9, 9] };
/// idx::write_images(folder.path().join("train-images-idx3-ubyte"), &images)?;
/// idx::write_labels(folder.path().join("train-labels-idx1-ubyte"), &[1, 0])?;
/// let config = ImagesConfig { path: folder.path().into(), ..ImagesConfig::default() };
/// let set = syva_data::images::read(&config, 1)?;
/// assert_eq!((set.train.unwrap().samples(), set.test.is_none(), set.shape), (2, true, vec![1, 2]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if a file cannot be read; [`Error::File`] if its content is not what it should be; [`Error::Setting`] if the
/// images do not fit what the configuration wants of them; [`Error::Resource`] if they do not fit into memory.
pub fn read(config: &ImagesConfig, threads: usize) -> Result<Set> {
    let path = &config.path;
    if !path.exists() {
        return Err(Error::setting(
            "data",
            format!("there is no folder or file {}", path.display()),
            "name one that is there",
        ));
    }
    if path.is_file() {
        return idx::read(config, path);
    }
    let inner = inside(path);
    if cifar::is_here(&inner) {
        return cifar::read(config, &inner);
    }
    if idx::is_here(&inner) {
        return idx::read(config, &inner);
    }
    folder::read(config, &inner, threads)
}

/// The folder itself, or the one in it that archives and torchvision put all into.
fn inside(path: &Path) -> PathBuf {
    let inner = ["raw", "cifar-10-batches-bin", "cifar-100-binary"].map(|name| path.join(name));
    let has_sets = |folder: &Path| cifar::is_here(folder) || idx::is_here(folder);
    if has_sets(path) {
        return path.to_path_buf();
    }
    inner.into_iter().find(|folder| has_sets(folder)).unwrap_or_else(|| path.to_path_buf())
}

/// A task with what makes it again.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The task.
    pub task: Task,
    /// The configuration, with what was found out.
    pub config: ImagesConfig,
    /// What of it validates.
    pub validation: Validation,
    /// Sentences about what was found out.
    pub notes: Vec<String>,
}

/// Makes a task of the images of a place.
///
/// `validation` says which images validate: [`Validation::Test`] those that the place has for it (its validation images, or
/// else its test images), or a part of the training images. If it is `None`, the first if there are such images, and
/// otherwise the [`default_validation`] of the training images. [`ImagesConfig::test`] sets a part of the training images aside for testing.
///
/// # Errors
/// Those of [`read`], and [`Error::Setting`] if a part would be empty.
pub fn task(config: &ImagesConfig, validation: Option<Validation>, threads: usize) -> Result<Opened> {
    let Set { name, train, validation: own, test, shape, class_names, config, mut notes } = read(config, threads)?;
    let Some(mut train) = train else {
        let problem = format!("{} has no training images", config.path.display());
        return Err(Error::setting("data", problem, "name a folder that has them, in a folder train"));
    };
    let mut test = test;
    if let Some(part) = config.test {
        let Validation::Part { size, seed } = part else {
            return Err(Error::setting(
                "test",
                "'test' names no part",
                "give a share, such as 0.1, or a number of images",
            ));
        };
        if test.is_some() {
            let problem = "the data has test images of its own";
            return Err(Error::setting("test", problem, "leave it out, or take a part for --validation"));
        }
        let (rest, part) = split(&train, size, seed, "test")?;
        (train, test) = (rest, Some(part));
    }
    let has_own = own.is_some() || test.is_some() && config.test.is_none();
    let validation =
        validation.unwrap_or_else(|| if has_own { Validation::Test } else { default_validation(train.samples()) });
    // The networks of all folds normalise alike, so that they can be one model.
    let mut whole = None;
    let (train, validating, test) = match validation {
        Validation::Test => match (own, test) {
            (Some(own), test) => (train, own, test),
            (None, Some(test)) => (train, test, None),
            (None, None) => {
                let problem = "the data has no test images";
                return Err(Error::setting("validation", problem, "give a share of the training images, such as 0.2"));
            }
        },
        Validation::Part { size, seed } => {
            let (train, part) = split(&train, size, seed, "validation")?;
            if !has_own {
                notes.push(format!("{} of the {} images validate", part.samples(), train.samples() + part.samples()));
            }
            (train, part, test.or(own))
        }
        Validation::Fold { number, of, seed } => {
            whole = Some(train.clone());
            let (train, part) = train.fold(number, of, seed)?;
            (train, part, test.or(own))
        }
    };
    let normalization = normalization(whole.as_ref().unwrap_or(&train), &shape)?;
    let task = Task { test, shape, class_names, normalization, ..Task::new(&name, train, validating) };
    Ok(Opened { task, config, validation, notes })
}

fn split(data: &Dataset, size: f64, seed: u32, setting: &str) -> Result<(Dataset, Dataset)> {
    let share = if size < 1.0 { size } else { size / data.samples() as f64 };
    data.split(share, seed).map_err(|_| {
        let problem = format!("{size} of {} training images leaves a part empty", data.samples());
        Error::setting(setting, problem, "give a share such as 0.1, or a smaller number of images")
    })
}

/// Mean 0 and standard deviation 1 over all inputs of images; feature by feature for other samples. Of pixels the sums are
/// exact, so that they are the same everywhere.
fn normalization(data: &Dataset, shape: &[usize]) -> Result<Normalization> {
    if shape.is_empty() {
        return Ok(Normalization::fit(data));
    }
    let count = data.inputs().len() as f64;
    let (mean, std) = if let Inputs::U8(pixels) = data.inputs() {
        let (sum, squares) = pixels.iter().fold((0u64, 0u64), |(sum, squares), &pixel| {
            (sum + u64::from(pixel), squares + u64::from(pixel) * u64::from(pixel))
        });
        let mean = sum as f64 / count;
        (mean, (squares as f64 / count - mean * mean).max(0.0).sqrt())
    } else {
        let values = || (0..data.inputs().len()).map(|i| f64::from(data.inputs().get(i)));
        let mean = values().sum::<f64>() / count;
        (mean, (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
    };
    let (scale, shift) = ((1.0 / std) as f32, (-mean / std) as f32);
    if scale.is_finite() && shift.is_finite() && std > 0.0 {
        return Ok(Normalization::Uniform { scale, shift });
    }
    Err(Error::mismatch("all training images are of one and the same colour", "give images that show something"))
}

/// A set of parts whose samples have this shape.
fn set(
    name: &str,
    parts: Parts,
    (shape, features): (Vec<usize>, usize),
    classes: usize,
    class_names: Vec<String>,
    config: ImagesConfig,
    notes: Vec<String>,
) -> Result<Set> {
    if classes < 2 {
        let problem = format!("{} has images of {classes} class", config.path.display());
        return Err(Error::setting("data", problem, "give images of at least two classes"));
    }
    let dataset = |part: Option<Part>| {
        let make = |Part { inputs, labels }| {
            Dataset::new(inputs, features, Targets::Classes { labels: labels.into(), classes })
        };
        part.map(make).transpose()
    };
    Ok(Set {
        name: plain(name),
        train: dataset(parts.train)?,
        validation: dataset(parts.validation)?,
        test: dataset(parts.test)?,
        shape,
        class_names,
        config,
        notes,
    })
}

/// Checks that images of this shape, which cannot be brought to another, are what the configuration wants.
fn check_shape(config: &ImagesConfig, shape: &[usize], features: usize) -> Result<()> {
    if config.size.is_none() && config.channels.is_none() {
        return Ok(());
    }
    let found = ImageShape::of(shape);
    let fits = found.is_some_and(|image| {
        config.size.is_none_or(|size| size == ImageSize { height: image.height, width: image.width })
            && config.channels.is_none_or(|channels| (channels == Channels::Rgb) == (image.channels == 3))
    });
    if fits {
        return Ok(());
    }
    let is = found.map_or_else(|| format!("samples of {features} values"), |image| format!("images of {image}"));
    let size = config.size.map_or(String::new(), |size| format!(" of {} × {}", size.height, size.width));
    let channels = config.channels.map_or(String::new(), |channels| format!(" in {channels}"));
    let problem = format!("{} has {is}, and images{size}{channels} are wanted", config.path.display());
    let remedy = "use images that fit; only folders of pictures are brought to another size or to other colours";
    Err(Error::mismatch(problem, remedy))
}

/// A name that a folder can have.
fn plain(name: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let plain: String = name.chars().map(fits).collect();
    if plain.trim_matches(['-', '.']).is_empty() { "images".into() } else { plain }
}

/// What a folder is called. Names that many have are passed over for that of the folder around it.
fn folder_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let names = absolute.ancestors().filter_map(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let common = ["raw", "data", "images", "gzip"];
    let mut names = names.filter(|name| !common.contains(&name.to_lowercase().as_str()));
    names.next().unwrap_or_else(|| "images".into())
}
