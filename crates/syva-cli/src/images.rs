//! Sets of images in folders and IDX files: what flags say of them, and how they are opened.

use std::path::{Path, PathBuf};

use syva::data::images::{Channels, ImageSize, ImagesConfig};
use syva::data::{Task, Validation};
use syva::tables::images::{self, Opened, Set};
use syva::{Error, Model, Result};

use crate::args::SplitArg;
use crate::data::{Talk, absolute};
use crate::output;
use crate::tables::Names;

/// How images are read, as far as flags say it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ImageArgs {
    /// Names of the classes, in the order of the outputs [default: as the folders or files have them]
    #[arg(long, value_name = "NAMES", value_parser = crate::values::flag::<Names>)]
    pub classes: Option<Names>,
    /// Size that pictures are brought to, such as 32x32 [default: the size that most of them have]
    #[arg(long, value_name = "HxW", value_parser = crate::values::flag::<ImageSize>)]
    pub image_size: Option<ImageSize>,
    /// Colours that pictures are read in: grey or rgb [default: rgb if any has colours]
    #[arg(long, value_name = "NAME", value_parser = crate::values::flag::<Channels>)]
    pub channels: Option<Channels>,
}

impl ImageArgs {
    /// The configuration of the images in this place.
    pub fn config(&self, path: &Path) -> Result<ImagesConfig> {
        let path = absolute(Some(path.to_path_buf()))?.unwrap_or_default();
        let classes = self.classes.clone().unwrap_or_default().0;
        if let Some(twice) = classes.iter().enumerate().find(|(i, name)| classes[..*i].contains(name)) {
            let problem = format!("'{}' is there twice", twice.1);
            return Err(Error::setting("classes", problem, "name every class once"));
        }
        Ok(ImagesConfig { path, classes, size: self.image_size, channels: self.channels, test: None })
    }

    /// Refuses these flags for other data.
    pub fn refuse(&self) -> Result<()> {
        let given = [
            ("classes", self.classes.is_some()),
            ("image-size", self.image_size.is_some()),
            ("channels", self.channels.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((setting, _)) => {
                let problem = "this is for images, and --data names no folder of them";
                Err(Error::setting(setting, problem, "leave it out, or give a folder with --data"))
            }
            None => Ok(()),
        }
    }
}

/// The number of threads to read with.
fn threads(threads: Option<usize>) -> usize {
    let cores = syva::threads::cores();
    threads.unwrap_or(cores).min(cores)
}

/// Opens the images, and says what was found out.
pub fn open(config: &ImagesConfig, validation: Option<Validation>, on: Option<usize>, talk: Talk) -> Result<Opened> {
    let opened = images::task(config, validation, threads(on))?;
    if talk != Talk::Nothing {
        for note in &opened.notes {
            output::note(format_args!("syva: {note}"));
        }
    }
    Ok(opened)
}

/// Opens the images of a run again, from `dir` if they have moved there.
pub fn open_of_run(
    run: &Path,
    config: &ImagesConfig,
    validation: Validation,
    dir: Option<&Path>,
    on: Option<usize>,
) -> Result<Task> {
    let path = dir.unwrap_or(&config.path);
    if dir.is_none() && !path.exists() {
        let problem = format!("it names {}, where nothing is", path.display());
        let remedy = "give the new place with --data-dir";
        return Err(Error::file(run.join("config.toml"), "data.images", problem, remedy));
    }
    let config = ImagesConfig { path: path.to_path_buf(), ..config.clone() };
    Ok(open(&config, Some(validation), on, Talk::Nothing)?.task)
}

/// The images in a place as samples for a model: its part `split`, and otherwise the test images, the validation images, or
/// all that there are.
pub fn task_for(model: &Model, path: &Path, split: Option<SplitArg>, on: Option<usize>) -> Result<Task> {
    let place = |path: &Path| -> Result<PathBuf> { Ok(absolute(Some(path.to_path_buf()))?.unwrap_or_default()) };
    let config = ImagesConfig::of(&model.spec, place(path)?)?;
    let Set { name, train, validation, test, shape, class_names, .. } = images::read(&config, threads(on))?;
    let is_test = test.is_some() && matches!(split, None | Some(SplitArg::Test));
    let (what, part) = match split {
        None => ("", test.or(validation).or(train)),
        Some(SplitArg::Train) => ("training ", train),
        Some(SplitArg::Val) => ("validation ", validation),
        Some(SplitArg::Test) => ("test ", test),
    };
    let Some(part) = part else {
        let problem = format!("{} has no {what}images", path.display());
        return Err(Error::setting("split", problem, "leave it out"));
    };
    let test = is_test.then(|| part.clone());
    Ok(Task { test, shape, class_names, ..Task::new(&name, part.clone(), part) })
}
