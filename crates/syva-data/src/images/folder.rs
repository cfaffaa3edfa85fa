//! A folder with a folder of pictures for each class, perhaps below `train` and `test` or `val`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use syva_core::data::Inputs;
use syva_core::data::images::{Channels, ImageSize, ImagesConfig};
use syva_core::files::read_limited;
use syva_core::text::grouped;
use syva_core::{Error, ImageShape, Result, memory, threads};

use super::picture::{self, Header};
use super::{Part, Parts, Role, Set, folder_name, set};

/// The largest file that is read as a picture, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// How deep folders of a class may lie.
const MAX_DEPTH: usize = 16;
/// The endings of pictures.
const ENDINGS: [&str; 14] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "tif", "tiff", "bmp", "pbm", "pgm", "ppm", "pnm"];

const LAYOUT: &str = "give a folder with a folder of pictures for each class (perhaps below train and test), with IDX files such \
                      as train-images-idx3-ubyte.gz, or with CIFAR's binary files";

/// Whether a file's name has the ending of a picture.
#[must_use]
pub fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
}

/// The pictures in a folder and in those below it, by their endings, in the order of their names, and the other files. What
/// is hidden is passed over.
///
/// # Errors
/// [`Error::Io`] if a folder cannot be read, [`Error::File`] if folders are nested too deeply.
pub fn pictures(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    collect(folder, MAX_DEPTH, &mut found, &mut others)?;
    Ok((found, others))
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, others: &mut Vec<PathBuf>) -> Result<()> {
    if depth == 0 {
        let problem = format!("folders are nested more than {MAX_DEPTH} deep");
        return Err(Error::file(folder, "the folder", problem, "remove links that lead in a circle"));
    }
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, depth - 1, found, others)?;
        } else if is_picture(&path) {
            found.push(path);
        } else {
            others.push(path);
        }
    }
    Ok(())
}

/// What is in a folder, sorted by name, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !matches!(&*name, "__MACOSX" | "Thumbs.db" | "desktop.ini") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The role of a folder, by its name. It has folders of classes: pictures in a folder `train` can also be of trains.
fn role(folder: &Path) -> Option<Role> {
    let name = folder.file_name()?.to_str()?.to_ascii_lowercase();
    if !entries(folder).ok()?.iter().any(|path| path.is_dir()) {
        return None;
    }
    match name.as_str() {
        "train" | "training" => Some(Role::Train),
        "val" | "valid" | "validation" => Some(Role::Validation),
        "test" | "testing" => Some(Role::Test),
        _ => None,
    }
}

/// A picture that is to be read, and the class that it is of.
struct File {
    path: PathBuf,
    class: u32,
}

/// The folders of classes in a folder, with the pictures in each.
struct Classes(Vec<(String, Vec<PathBuf>)>);

impl Classes {
    fn in_folder(folder: &Path, others: &mut Vec<PathBuf>) -> Result<Self> {
        let mut classes = Vec::new();
        for path in entries(folder)? {
            if path.is_dir() {
                let (files, left) = pictures(&path)?;
                others.extend(left);
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                    let problem = "its name is not Unicode, and it would be the name of a class";
                    return Err(Error::file(path, "the folder", problem, "rename it"));
                };
                classes.push((name.to_string(), files));
            } else {
                others.push(path);
            }
        }
        Ok(Self(classes))
    }
}

pub(super) fn read(config: &ImagesConfig, folder: &Path, threads: usize) -> Result<Set> {
    let (mut notes, mut others) = (Vec::new(), Vec::new());
    let all = entries(folder)?;
    let mut found: Vec<(Role, Classes)> = Vec::new();
    for (role, path) in all.iter().filter_map(|path| Some((role(path)?, path))) {
        if found.iter().any(|(other, _)| *other == role) {
            return Err(Error::file(
                path,
                "the folder",
                "there is another folder for the same part",
                "keep one of them",
            ));
        }
        found.push((role, Classes::in_folder(path, &mut others)?));
    }
    if found.is_empty() {
        found.push((Role::Train, Classes::in_folder(folder, &mut others)?));
    } else {
        others.extend(all.iter().filter(|path| role(path).is_none()).cloned());
    }
    let own = names(&found);
    if own.is_empty() {
        return Err(Error::file(folder, "the folder", "there are no pictures in folders of it", LAYOUT));
    }
    let classes = if config.classes.is_empty() { own } else { config.classes.clone() };
    let mut parts: Vec<(Role, Vec<File>)> = Vec::new();
    for (role, Classes(of_part)) in found {
        let mut files = Vec::new();
        for (name, paths) in of_part {
            // A folder without pictures is no class.
            let Some(class) = classes.iter().position(|class| *class == name) else {
                let Some(path) = paths.first() else { continue };
                let problem = format!("its folder '{name}' is none of the classes {}", classes.join(", "));
                return Err(Error::file(path, "the folder", problem, "name all classes, or move the folder away"));
            };
            files.extend(paths.into_iter().map(|path| File { path, class: class as u32 }));
        }
        if !files.is_empty() {
            parts.push((role, files));
        }
    }
    // The training images say what is not said.
    parts.sort_by_key(|(role, _)| *role != Role::Train);
    if let Some(first) = others.first() {
        let (count, first) = (grouped(others.len() as u64), first.display());
        notes.push(match others.len() {
            1 => format!("{first} is no picture by its name: passed over"),
            _ => format!("{count} files and folders, such as {first}, are no pictures by their names: passed over"),
        });
    }
    let shape = shape(config, &parts, threads, &mut notes)?;
    let mut images = Vec::new();
    for (role, files) in &parts {
        images.push((*role, decoded(files, shape, threads)?));
    }
    let mut shape = shape;
    // A picture that is stored in RGB can still be grey.
    if shape.channels == 3 && config.channels.is_none() && images.iter().all(|(_, pixels)| is_grey(pixels, shape)) {
        notes.push("all pictures are grey: read as grey (--channels rgb keeps the three channels)".into());
        let features = shape.height * shape.width;
        for (_, pixels) in &mut images {
            *pixels = pixels.chunks_exact(3 * features).flat_map(|image| &image[..features]).copied().collect();
        }
        shape.channels = 1;
    }
    let mut read = Parts::default();
    for ((role, pixels), (_, files)) in images.into_iter().zip(&parts) {
        let labels = files.iter().map(|file| file.class).collect();
        *read.place(role) = Some(Part { inputs: Inputs::U8(pixels.into()), labels });
    }
    let config = ImagesConfig {
        classes: classes.clone(),
        size: Some(ImageSize { height: shape.height, width: shape.width }),
        channels: Some(if shape.channels == 3 { Channels::Rgb } else { Channels::Grey }),
        ..config.clone()
    };
    let form = (shape.shape(), shape.features());
    set(&folder_name(folder), read, form, classes.len(), classes, config, notes)
}

/// The classes of all parts, in the order of their names; numbers in the order of numbers.
fn names(found: &[(Role, Classes)]) -> Vec<String> {
    let with_pictures = |(_, Classes(classes)): &(Role, Classes)| {
        classes.iter().filter(|(_, files)| !files.is_empty()).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let mut names: Vec<String> = found.iter().flat_map(with_pictures).collect();
    names.sort();
    names.dedup();
    let numbers: Option<Vec<u64>> = names.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        names.sort_by_key(|name| name.parse::<u64>().unwrap_or_default());
    }
    names
}

/// The size and the colours that all pictures are brought to: what is wanted, or what most of them have.
fn shape(
    config: &ImagesConfig,
    parts: &[(Role, Vec<File>)],
    threads: usize,
    notes: &mut Vec<String>,
) -> Result<ImageShape> {
    let shape = |size: ImageSize, channels: Channels| ImageShape {
        height: size.height,
        width: size.width,
        channels: if channels == Channels::Rgb { 3 } else { 1 },
    };
    if let (Some(size), Some(channels)) = (config.size, config.channels) {
        return Ok(shape(size, channels));
    }
    let files: Vec<&File> = parts.iter().flat_map(|(_, files)| files).collect();
    let mut headers: Vec<Option<Header>> = Vec::new();
    headers.resize_with(files.len(), || None);
    each(threads, files.iter().zip(&mut headers), |(file, header)| {
        *header = Some(picture::header(&file.path, &read_limited(&file.path, MAX_FILE)?)?);
        Ok(())
    })?;
    let has_color = headers.iter().flatten().any(|header| header.has_color);
    let channels = config.channels.unwrap_or(if has_color { Channels::Rgb } else { Channels::Grey });
    if let Some(size) = config.size {
        return Ok(shape(size, channels));
    }
    let mut counts = std::collections::BTreeMap::<(usize, usize), usize>::new();
    for header in headers.iter().flatten() {
        *counts.entry((header.height, header.width)).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(size, count)| (*size, *count));
    let ((height, width), count) = most.unwrap_or(((1, 1), 0));
    if 2 * count <= files.len() {
        let problem = format!("the pictures have {} different sizes, such as {height}x{width}", counts.len());
        return Err(Error::setting("image-size", problem, "say to which they are brought, such as --image-size 32x32"));
    }
    let different = files.len() - count;
    if different > 0 {
        let (different, all) = (grouped(different as u64), grouped(files.len() as u64));
        notes.push(format!("{different} of {all} pictures have another size than {height}x{width}: stretched to it"));
    }
    // As if it were asked for.
    let size: ImageSize = format!("{height}x{width}").parse().map_err(|_| {
        let problem = format!("pictures of {height}x{width} are larger than a network can read");
        Error::setting("image-size", problem, "say to which they are brought, such as --image-size 32x32")
    })?;
    Ok(shape(size, channels))
}

/// The pixels of the pictures, one after the other.
fn decoded(files: &[File], shape: ImageShape, threads: usize) -> Result<Vec<u8>> {
    let features = shape.features();
    let bytes = (files.len() as u64).saturating_mul(features as u64);
    let what = format!("{} pictures of {shape}", grouped(files.len() as u64));
    memory::ask(bytes, &what, "read them smaller with --image-size")?;
    let mut pixels = vec![0; files.len() * features];
    each(threads, files.iter().zip(pixels.chunks_exact_mut(features)), |(file, pixels)| {
        let picture = picture::decode(&file.path, &read_limited(&file.path, MAX_FILE)?)?;
        pixels.copy_from_slice(&picture.fit(shape));
        Ok(())
    })?;
    Ok(pixels)
}

/// Whether the three channels of all pictures are the same.
fn is_grey(pixels: &[u8], shape: ImageShape) -> bool {
    let features = shape.height * shape.width;
    pixels.chunks_exact(3 * features).all(|image| {
        let (red, rest) = image.split_at(features);
        let (green, blue) = rest.split_at(features);
        red == green && red == blue
    })
}

/// Does the work for each item. Of several errors the one of the first item is returned.
fn each<T: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let (failed, first) = (AtomicBool::new(false), Mutex::new(None::<(usize, Error)>));
    threads::share(threads, items.enumerate(), |(i, item)| {
        // The threads take the items in order, so none before the first failure is left out.
        if failed.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = work(item) {
            failed.store(true, Ordering::Relaxed);
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            if first.as_ref().is_none_or(|(before, _)| i < *before) {
                *first = Some((i, error));
            }
        }
    });
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
