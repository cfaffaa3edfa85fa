//! Sets in IDX files: MNIST's names, and those of sets that follow it, such as EMNIST, KMNIST and QMNIST's images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use syva_core::data::idx::{Array, Elements, read_array};
use syva_core::data::images::ImagesConfig;
use syva_core::data::mnist::Source;
use syva_core::data::{Inputs, fashion_mnist};
use syva_core::{Error, Result};

use super::{Part, Parts, Role, Set, check_shape, folder_name, set};

/// The most classes. More different labels are hardly labels.
const MOST_CLASSES: usize = 10_000;

/// The letters and figures of EMNIST's classes (Cohen, Afshar, Tapson, van Schaik 2017, and the mapping files of its
/// archive).
const EMNIST: [(&str, &str); 6] = [
    ("byclass", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
    ("bymerge", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
    ("balanced", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
    ("letters", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("digits", ""),
    ("mnist", ""),
];

/// What the name of an IDX file says: `SET-ROLE-images-idx3-ubyte.gz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// What the set is called; empty for MNIST's own names.
    set: String,
    role: Role,
    is_images: bool,
}

impl Name {
    /// `None` if it is not such a name.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let what = ["images", "labels"].into_iter().find_map(|what| Some((what, name.rfind(what)?)));
        let (what, at) = what?;
        let (before, after) = (&name[..at], &name[at + what.len()..]);
        let is_idx = after.strip_prefix(['-', '.']).and_then(|rest| rest.strip_prefix("idx"));
        if !is_idx?.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let before = before.trim_end_matches(['-', '_', '.']);
        let words = [
            ("train", Role::Train),
            ("t10k", Role::Test),
            ("test", Role::Test),
            ("val", Role::Validation),
            ("validation", Role::Validation),
        ];
        let found = words.iter().find_map(|(word, role)| Some((before.strip_suffix(word)?, *role)));
        // A single pair of files trains.
        let (set, role) = found.unwrap_or((before, Role::Train));
        let set = set.trim_end_matches(['-', '_', '.']).to_string();
        Some(Self { set, role, is_images: what == "images" })
    }
}

/// Whether a folder has such files.
pub(super) fn is_here(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(|entry| Name::of(&entry.path()).is_some()))
}

/// The files of a set: images and labels of each role.
type Files = BTreeMap<&'static str, (Role, [Option<PathBuf>; 2])>;

/// The sets that a folder has. Of a file that is there plain and packed, the plain one counts.
fn sets(folder: &Path) -> Result<BTreeMap<String, Files>> {
    let mut sets: BTreeMap<String, Files> = BTreeMap::new();
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    // `….gz` comes after the name without it.
    paths.sort();
    for path in paths {
        let Some(Name { set, role, is_images }) = Name::of(&path) else { continue };
        let key = match role {
            Role::Train => "training",
            Role::Validation => "validation",
            Role::Test => "test",
        };
        let (_, files) = sets.entry(set).or_default().entry(key).or_insert((role, [None, None]));
        files[usize::from(!is_images)].get_or_insert(path);
    }
    Ok(sets)
}

/// The set in a folder, or the one that a file is of, with its name.
fn chosen(folder: &Path, place: &Path) -> Result<(String, Files)> {
    let mut sets = sets(folder)?;
    let found = if place.is_file() {
        Name::of(place).and_then(|name| sets.remove_entry(&name.set))
    } else if sets.len() > 1 {
        let name = |name: &String| if name.is_empty() { "(MNIST's names)".into() } else { name.clone() };
        let names: Vec<String> = sets.keys().map(name).collect();
        let problem = format!("it has {} sets: {}", names.len(), names.join(", "));
        let remedy = "name one of its files, such as …-train-images-idx3-ubyte.gz";
        return Err(Error::file(folder, "the folder", problem, remedy));
    } else {
        sets.pop_first()
    };
    found.ok_or_else(|| Error::file(place, "the name", "it is no IDX file of images or labels", "name the folder"))
}

/// Images and labels of a part, as their files have them.
struct Raw {
    role: Role,
    images: PathBuf,
    array: Array,
    labels: PathBuf,
    numbers: Vec<i64>,
}

/// Reads the two files of each part.
fn raw(files: Files) -> Result<Vec<Raw>> {
    let mut parts = Vec::new();
    for (what, (role, pair)) in files {
        let (images, labels) = match pair {
            [Some(images), Some(labels)] => (images, labels),
            [Some(there), None] | [None, Some(there)] => {
                let lacks = if Name::of(&there).is_some_and(|name| name.is_images) { "labels" } else { "images" };
                let problem = format!("the {lacks} of its {what} part are missing, which belong beside it");
                return Err(Error::file(there, "the file", problem, "put both into the same folder"));
            }
            [None, None] => continue,
        };
        let (array, numbers) = (read_array(&images)?, self::labels(&labels)?);
        let count = array.shape[0];
        if count != numbers.len() {
            let problem = format!("it has {count} images, and {} has {} labels", labels.display(), numbers.len());
            return Err(Error::file(images, "byte 4", problem, "use files that belong together"));
        }
        parts.push(Raw { role, images, array, labels, numbers });
    }
    Ok(parts)
}

/// Reads the set in a folder, or the one that a file is of.
pub(super) fn read(config: &ImagesConfig, place: &Path) -> Result<Set> {
    let folder = if place.is_file() { place.parent().unwrap_or(Path::new("")) } else { place };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (name, files) = chosen(folder, place)?;
    let raw = raw(files)?;
    let emnist = name.strip_prefix("emnist-");
    let from_one = emnist == Some("letters");
    let Some(first) = raw.first().map(|part| part.array.shape[1..].to_vec()) else {
        return Err(Error::file(folder, "the folder", "it has no images with labels", "name another folder"));
    };
    let known = if let Some(kind) = emnist {
        let letters = EMNIST.iter().find(|(name, _)| *name == kind).map_or("", |(_, letters)| letters);
        letters.chars().map(String::from).collect()
    } else if is_fashion(&raw[0].numbers) {
        fashion_mnist::CLASS_NAMES.map(String::from).to_vec()
    } else {
        Vec::new()
    };
    let labels: BTreeSet<i64> = raw.iter().flat_map(|part| part.numbers.iter().copied()).collect();
    let labelling = Labelling::of(&labels, &config.classes, known, from_one).map_err(|error| match error {
        Error::Mismatch { problem, remedy } => Error::file(&raw[0].labels, "the labels", problem, remedy),
        other => other,
    })?;
    let classes: BTreeMap<i64, Option<u32>> = labels.iter().map(|&label| (label, labelling.class(label))).collect();
    let (mut parts, mut shape) = (Parts::default(), Vec::new());
    for Raw { role, images, array, labels, numbers } in raw {
        if array.shape[1..] != first {
            let problem = format!("its images are {:?}, and those of another part {first:?}", &array.shape[1..]);
            return Err(Error::file(images, "header", problem, "use files that belong together"));
        }
        let inputs;
        (shape, inputs) = arranged(&images, &first, array.elements, emnist.is_some())?;
        let of_images = numbers.iter().enumerate().map(|(i, label)| classes[label].ok_or(i));
        let of_images = of_images.collect::<std::result::Result<Vec<u32>, usize>>().map_err(|i| {
            let problem =
                format!("label {} of image {i} is none of the classes {}", numbers[i], config.classes.join(", "));
            Error::file(labels, "the labels", problem, "give a name for every label with --classes")
        })?;
        *parts.place(role) = Some(Part { inputs, labels: of_images });
    }
    let features = first.iter().product();
    check_shape(config, &shape, features)?;
    let mut notes = Vec::new();
    if emnist.is_some() {
        notes.push("EMNIST's images are stored transposed: turned upright".into());
    }
    if from_one && config.classes.is_empty() {
        notes.push("labels 1 to 26 are the letters A to Z, each in both cases".into());
    }
    let Labelling { classes, names, .. } = labelling;
    let config = ImagesConfig { classes: names.clone(), ..config.clone() };
    let name = if name.is_empty() { folder_name(folder) } else { name };
    set(&name, parts, (shape, features), classes, names, config, notes)
}

/// Reads the images in an IDX file: their shape, `[height, width]` or `[3, height, width]`, and their values. A file whose
/// name is one of EMNIST's is turned upright. The shape is empty if the samples are not images.
///
/// # Errors
/// Those of [`read_array`], and [`Error::File`] if the samples are neither grey nor RGB images.
pub fn read_idx(path: &Path) -> Result<(Vec<usize>, Inputs)> {
    let Array { shape, elements } = read_array(path)?;
    let is_emnist = Name::of(path).is_some_and(|name| name.set.starts_with("emnist-"));
    arranged(path, &shape[1..], elements, is_emnist)
}

/// Whether these are labels of Fashion-MNIST, by the SHA-256 of the file that they would be.
fn is_fashion(labels: &[i64]) -> bool {
    let mut content = vec![0, 0, 8, 1];
    content.extend((labels.len() as u32).to_be_bytes());
    content.extend(labels.iter().map(|&label| label as u8));
    let digest: [u8; 32] = Sha256::digest(content).into();
    Source::of_labels(&digest.map(|byte| format!("{byte:02x}")).concat()).is_some_and(|set| set.name == "fashion-mnist")
}

/// A file of labels: whole numbers, one per image.
fn labels(path: &Path) -> Result<Vec<i64>> {
    let Array { shape, elements } = read_array(path)?;
    if shape.len() != 1 {
        let problem = format!("it has {} numbers for each image", shape[1..].iter().product::<usize>());
        return Err(Error::file(path, "header", problem, "give one label per image: an IDX file of one dimension"));
    }
    let whole = |values: Vec<f64>| {
        match values.iter().position(|value| value.fract() != 0.0 || value.abs() > 9e15) {
            // NaN has no fraction that is 0.
            Some(i) => {
                let problem = format!("label {i} is {}, which is no whole number", values[i]);
                Err(Error::file(path, "the labels", problem, "give whole numbers; tables can have other targets"))
            }
            None => Ok(values.into_iter().map(|value| value as i64).collect()),
        }
    };
    match elements {
        Elements::U8(values) => Ok(values.into_iter().map(i64::from).collect()),
        Elements::I8(values) => Ok(values.into_iter().map(i64::from).collect()),
        Elements::I16(values) => Ok(values.into_iter().map(i64::from).collect()),
        Elements::I32(values) => Ok(values.into_iter().map(i64::from).collect()),
        Elements::F32(values) => whole(values.into_iter().map(f64::from).collect()),
        Elements::F64(values) => whole(values),
    }
}

/// The shape of the samples, and their values as features.
fn arranged(path: &Path, dimensions: &[usize], elements: Elements, transposed: bool) -> Result<(Vec<usize>, Inputs)> {
    let features: usize = dimensions.iter().product();
    // Where each feature of a sample is stored, if it is not at its own place.
    let order = |place: &dyn Fn(usize) -> usize| Some((0..features).map(place).collect::<Vec<usize>>());
    let (shape, order) = match *dimensions {
        [] | [_] => (Vec::new(), None),
        // Stored `[width, height]`.
        [width, height] if transposed => (vec![height, width], order(&|at| at % width * height + at / width)),
        [_, _] | [3, _, _] => (dimensions.to_vec(), None),
        [height, width, 3] => {
            let pixels = height * width;
            (vec![3, height, width], order(&|at| at % pixels * 3 + at / pixels))
        }
        [height, width, 1] | [1, height, width] => (vec![height, width], None),
        _ => {
            let problem = format!("its samples are {dimensions:?}, which are neither grey nor RGB images");
            return Err(Error::file(path, "header", problem, "give [height, width] or [height, width, 3] for each"));
        }
    };
    let inputs = match elements {
        Elements::U8(values) => Inputs::U8(reordered(values, features, order).into()),
        other => {
            let values = other.into_f32();
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let problem = format!("a value of sample {} is not finite", at / features);
                return Err(Error::file(path, "data", problem, "give finite numbers"));
            }
            Inputs::F32(reordered(values, features, order).into())
        }
    };
    Ok((shape, inputs))
}

fn reordered<T: Copy>(values: Vec<T>, features: usize, order: Option<Vec<usize>>) -> Vec<T> {
    let Some(order) = order else { return values };
    values.chunks_exact(features).flat_map(|sample| order.iter().map(|&at| sample[at])).collect()
}

/// Which class a label is.
struct Labelling {
    classes: usize,
    /// Their names, empty if they are called by their numbers.
    names: Vec<String>,
    /// The label of the first class, if the names do not say otherwise.
    first: i64,
}

impl Labelling {
    /// For labels that occur, by the names that are wanted, or else those that are known of the set.
    fn of(labels: &BTreeSet<i64>, wanted: &[String], known: Vec<String>, from_one: bool) -> Result<Self> {
        let first = i64::from(from_one);
        let names = if wanted.is_empty() { known } else { wanted.to_vec() };
        if !names.is_empty() {
            return Ok(Self { classes: names.len(), names, first });
        }
        if labels.len() > MOST_CLASSES {
            let problem = format!("there are {} different labels", labels.len());
            return Err(Error::mismatch(problem, "give labels of classes; tables can have other targets"));
        }
        let gapless = labels.iter().copied().eq(0..labels.len() as i64);
        let names = if gapless { Vec::new() } else { labels.iter().map(ToString::to_string).collect() };
        Ok(Self { classes: labels.len(), names, first })
    }

    fn class(&self, label: i64) -> Option<u32> {
        let text = label.to_string();
        if let Some(place) = self.names.iter().position(|name| *name == text) {
            return Some(place as u32);
        }
        let number = u32::try_from(label - self.first).ok()?;
        // Where labels are the names, others have none.
        let labels_are_names = self.names.iter().all(|name| name.parse::<i64>().is_ok()) && !self.names.is_empty();
        (!labels_are_names && (number as usize) < self.classes).then_some(number)
    }
}
