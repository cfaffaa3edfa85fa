//! Sets in IDX files: MNIST's names, and those of sets that follow it, such as EMNIST, KMNIST and QMNIST's images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use syva_core::data::idx::{Array, Elements, read_array};
use syva_core::data::images::ImagesConfig;
use syva_core::data::mnist::Source;
use syva_core::data::{Inputs, fashion_mnist};
use syva_core::{Error, ImageShape, Result};

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

/// Reads the set in a folder, or the one that a file is of.
pub(super) fn read(config: &ImagesConfig, place: &Path) -> Result<Set> {
    let named = if place.is_file() { Name::of(place).map(|name| name.set) } else { None };
    let folder = if place.is_file() { place.parent().unwrap_or(Path::new("")) } else { place };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut sets = sets(folder)?;
    let (name, files) = match named {
        Some(name) => sets.remove_entry(&name),
        None if sets.len() > 1 => {
            let names: Vec<String> =
                sets.keys().map(|name| if name.is_empty() { "(MNIST's names)".into() } else { name.clone() }).collect();
            let problem = format!("it has {} sets: {}", names.len(), names.join(", "));
            return Err(Error::file(
                folder,
                "the folder",
                problem,
                "name one of its files, such as …-train-images-idx3-ubyte.gz",
            ));
        }
        None => sets.pop_first(),
    }
    .ok_or_else(|| Error::file(place, "the name", "it is no IDX file of images or labels", "name the folder"))?;
    let emnist = name.strip_prefix("emnist-");
    let mut notes = Vec::new();
    let mut read = Vec::new();
    for (what, (role, [images, labels])) in files {
        let (Some(images), Some(labels)) = (&images, &labels) else {
            let there = images.or(labels).unwrap_or_default();
            let lacks = if Name::of(&there).is_some_and(|name| name.is_images) { "labels" } else { "images" };
            let problem = format!("the {lacks} of its {what} part are missing, which belong beside it");
            return Err(Error::file(there, "the file", problem, "put both into the same folder"));
        };
        let (pixels, found) = (read_array(images)?, self::labels(labels)?);
        if pixels.shape[0] != found.len() {
            let problem =
                format!("it has {} images, and {} has {} labels", pixels.shape[0], labels.display(), found.len());
            return Err(Error::file(images, "byte 4", problem, "use files that belong together"));
        }
        read.push((role, images.clone(), pixels, labels.clone(), found));
    }
    let first = read[0].2.shape[1..].to_vec();
    let all_labels: BTreeSet<i64> = read.iter().flat_map(|(.., labels)| labels.iter().copied()).collect();
    let known = match emnist {
        Some(kind) => {
            EMNIST.iter().find(|(name, _)| *name == kind).map(|(_, names)| names.chars().map(String::from).collect())
        }
        None => {
            let bytes: Vec<u8> = read[0].4.iter().map(|&label| label as u8).collect();
            is_fashion(&bytes).then(|| fashion_mnist::CLASS_NAMES.map(String::from).to_vec())
        }
    };
    let labelling = Labelling::of(&all_labels, &config.classes, known.unwrap_or_default(), emnist == Some("letters"))
        .map_err(|error| match error {
        Error::Mismatch { problem, remedy } => Error::file(&read[0].3, "the labels", problem, remedy),
        other => other,
    })?;
    let classes: BTreeMap<i64, Option<u32>> = all_labels.iter().map(|&label| (label, labelling.class(label))).collect();
    let mut parts = Parts::default();
    let mut shape = Vec::new();
    for (role, images, Array { shape: dimensions, elements }, labels, found) in read {
        if dimensions[1..] != first {
            let problem = format!("its images are {:?}, and those of another part {first:?}", &dimensions[1..]);
            return Err(Error::file(images, "header", problem, "use files that belong together"));
        }
        let (own, inputs) = arranged(&images, &first, elements, emnist.is_some())?;
        shape = own;
        let numbers = found.iter().enumerate().map(|(i, label)| classes[label].ok_or(i));
        let numbers = numbers.collect::<std::result::Result<Vec<u32>, usize>>().map_err(|i| {
            let classes = config.classes.join(", ");
            let problem = format!("label {} of image {i} is none of the classes {classes}", found[i]);
            Error::file(labels, "the labels", problem, "give a name for every label with --classes")
        })?;
        *parts.place(role) = Some(Part { inputs, labels: numbers });
    }
    if emnist.is_some() {
        notes.push("EMNIST's images are stored transposed: turned upright".into());
    }
    if emnist == Some("letters") && config.classes.is_empty() {
        notes.push("labels 1 to 26 are the letters A to Z, each in both cases".into());
    }
    let features = first.iter().product();
    check_shape(config, &shape, features)?;
    let Labelling { classes, names, .. } = labelling;
    let config = ImagesConfig { classes: names.clone(), ..config.clone() };
    let name = if name.is_empty() { folder_name(folder) } else { name };
    set(name, parts, (shape, features), classes, names, config, notes)
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

/// Whether these are labels of Fashion-MNIST.
fn is_fashion(labels: &[u8]) -> bool {
    let mut content = vec![0, 0, 8, 1];
    content.extend((labels.len() as u32).to_be_bytes());
    content.extend(labels);
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
    // Where a feature of a sample comes from.
    let (shape, order): (Vec<usize>, Option<Box<dyn Fn(usize) -> usize>>) = match *dimensions {
        [] | [_] => (Vec::new(), None),
        [rows, columns] if transposed => {
            // Stored [columns, rows].
            let order = move |at: usize| at % rows * columns + at / rows;
            (vec![columns, rows], Some(Box::new(order)))
        }
        [_, _] | [3, _, _] => (dimensions.to_vec(), None),
        [height, width, 3] => {
            let order = move |at: usize| at % (height * width) * 3 + at / (height * width);
            (vec![3, height, width], Some(Box::new(order)))
        }
        [height, width, 1] | [1, height, width] => (vec![height, width], None),
        _ => {
            let problem = format!("its samples are {dimensions:?}, which are neither grey nor RGB images");
            return Err(Error::file(path, "header", problem, "give [height, width] or [height, width, 3] for each"));
        }
    };
    let features: usize = dimensions.iter().product();
    let inputs = match elements {
        Elements::U8(values) => Inputs::U8(reordered(values, features, order.as_deref()).into()),
        other => {
            let values = other.into_f32();
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let problem = format!("a value of sample {} is not finite", at / features);
                return Err(Error::file(path, "data", problem, "give finite numbers"));
            }
            Inputs::F32(reordered(values, features, order.as_deref()).into())
        }
    };
    debug_assert!(shape.is_empty() || ImageShape::of(&shape).is_some_and(|image| image.features() == features));
    Ok((shape, inputs))
}

fn reordered<T: Copy>(values: Vec<T>, features: usize, order: Option<&dyn Fn(usize) -> usize>) -> Vec<T> {
    let Some(order) = order else { return values };
    let order: Vec<usize> = (0..features).map(order).collect();
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
