//! CIFAR-10 and CIFAR-100 in their binary form (Krizhevsky 2009, `cs.toronto.edu/~kriz/cifar.html`): images of 32 × 32
//! pixels, first all red values, then the green, then the blue ones.

use std::path::Path;

use syva_core::data::Inputs;
use syva_core::data::images::ImagesConfig;
use syva_core::files::read_limited;
use syva_core::{Error, Result, memory};

use super::{Part, Parts, Role, Set, check_shape, set};

// A record of CIFAR-10:   1 byte label, 3072 bytes [3, 32, 32]
// A record of CIFAR-100:  1 byte coarse label, 1 byte fine label, 3072 bytes [3, 32, 32]
const PIXELS: usize = 3 * 32 * 32;
const SHAPE: [usize; 3] = [3, 32, 32];

/// More bytes than any of the files has (CIFAR-100's training images: 154 MB).
const LIMIT: u64 = 1 << 30;

/// One of the two sets.
struct Kind {
    name: &'static str,
    /// The files of its parts, in order.
    files: &'static [(&'static str, Role)],
    /// Bytes before the pixels; the last of them is the label.
    labels: usize,
    classes: usize,
    names: &'static str,
}

const CIFAR_10: Kind = Kind {
    name: "cifar-10",
    files: &[
        ("data_batch_1.bin", Role::Train),
        ("data_batch_2.bin", Role::Train),
        ("data_batch_3.bin", Role::Train),
        ("data_batch_4.bin", Role::Train),
        ("data_batch_5.bin", Role::Train),
        ("test_batch.bin", Role::Test),
    ],
    labels: 1,
    classes: 10,
    names: "batches.meta.txt",
};

const CIFAR_100: Kind = Kind {
    name: "cifar-100",
    files: &[("train.bin", Role::Train), ("test.bin", Role::Test)],
    labels: 2,
    classes: 100,
    names: "fine_label_names.txt",
};

/// The set whose files a folder has.
fn kind(folder: &Path) -> Option<&'static Kind> {
    let has = |kind: &Kind| kind.files.iter().any(|(name, _)| folder.join(name).is_file());
    [&CIFAR_10, &CIFAR_100].into_iter().find(|kind| has(kind))
}

/// Whether a folder has such files, or those of the form that is not read.
pub(super) fn is_here(folder: &Path) -> bool {
    kind(folder).is_some() || is_pickled(folder)
}

/// Whether a folder has the form for Python.
fn is_pickled(folder: &Path) -> bool {
    folder.join("data_batch_1").is_file() || folder.join("train").is_file() && folder.join("meta").is_file()
}

pub(super) fn read(config: &ImagesConfig, folder: &Path) -> Result<Set> {
    let Some(kind) = kind(folder) else {
        let problem = "these are CIFAR's files for Python, pickles, and reading a pickle can run code";
        let remedy = "get the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz)";
        return Err(Error::file(folder, "the folder", problem, remedy));
    };
    check_shape(config, &SHAPE, PIXELS)?;
    let missing = |role: Role| {
        let of_role = kind.files.iter().filter(|(_, of)| *of == role);
        of_role.map(|(name, _)| *name).filter(|name| !folder.join(name).is_file()).collect::<Vec<_>>()
    };
    let (train, test) = (missing(Role::Train), missing(Role::Test));
    if !train.is_empty() {
        let problem = format!("{} is not complete there, missing: {}", kind.name, train.join(", "));
        return Err(Error::file(folder, "the folder", problem, "unpack the whole archive"));
    }
    let mut bytes = 0;
    for (name, _) in kind.files.iter().filter(|(name, _)| !test.contains(name)) {
        let path = folder.join(name);
        bytes += path.metadata().map_err(Error::io("read", &path))?.len();
    }
    memory::ask(2 * bytes, "the images of CIFAR", "end other programs, or raise the limit")?;
    let own = names(&folder.join(kind.names), kind.classes)?;
    let names = if config.classes.is_empty() { own.clone() } else { config.classes.clone() };
    if names.len() != kind.classes {
        let problem = format!("{} names for the {} classes of {}", names.len(), kind.classes, kind.name);
        return Err(Error::setting("classes", problem, "give one for each, in their order, or none"));
    }
    // Own names say the order of the classes, as far as they are the set's.
    let numbers: Vec<u32> = (0..kind.classes as u32)
        .map(|label| {
            let place = own.get(label as usize).and_then(|name| names.iter().position(|own| own == name));
            place.map_or(label, |place| place as u32)
        })
        .collect();
    let part = |role: Role| -> Result<Option<Part>> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (name, _) in kind.files.iter().filter(|(name, of)| *of == role && !test.contains(name)) {
            append(&folder.join(name), kind, &numbers, &mut pixels, &mut labels)?;
        }
        Ok((!labels.is_empty()).then(|| Part { inputs: Inputs::U8(pixels.into()), labels }))
    };
    let parts = Parts { train: part(Role::Train)?, validation: None, test: part(Role::Test)? };
    let config = ImagesConfig { classes: names.clone(), ..config.clone() };
    set(kind.name, parts, (SHAPE.to_vec(), PIXELS), kind.classes, names, config, Vec::new())
}

/// Adds the images of a file. `numbers` has the class of each label.
fn append(path: &Path, kind: &Kind, numbers: &[u32], pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    const AGAIN: &str = "the file is damaged: unpack or download it again";
    let content = read_limited(path, LIMIT)?;
    let record = kind.labels + PIXELS;
    if content.is_empty() || !content.len().is_multiple_of(record) {
        let problem = format!("its {} bytes are not whole images of {record} bytes", content.len());
        return Err(Error::file(path, "its size", problem, AGAIN));
    }
    pixels.reserve_exact(content.len() / record * PIXELS);
    for (i, image) in content.chunks_exact(record).enumerate() {
        let (before, of_image) = image.split_at(kind.labels);
        let label = usize::from(before[kind.labels - 1]);
        let Some(&number) = numbers.get(label) else {
            let place = format!("byte {}", i * record + kind.labels - 1);
            let problem = format!("image {i} has label {label}, beyond the {} classes", kind.classes);
            return Err(Error::file(path, place, problem, AGAIN));
        };
        labels.push(number);
        pixels.extend_from_slice(of_image);
    }
    Ok(())
}

/// The names of the classes, one per line.
fn names(path: &Path, classes: usize) -> Result<Vec<String>> {
    if !path.is_file() {
        return Ok((0..classes).map(|class| class.to_string()).collect());
    }
    let text = read_limited(path, 1 << 16)?;
    let text = String::from_utf8_lossy(&text);
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != classes {
        let problem = format!("it names {} classes, and there are {classes}", names.len());
        return Err(Error::file(path, "its lines", problem, "restore the file, or remove it"));
    }
    Ok(names)
}
