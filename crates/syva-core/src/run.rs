//! A run folder: everything a training leaves, and everything it needs to go on.
//!
//! ```text
//! runs/<name>/config.toml                  what was asked, everything resolved
//!             metrics.jsonl                a line an epoch
//!             checkpoint/last.safetensors  weights and progress: where `resume` goes on
//!             checkpoint/best.safetensors  the model after the epoch with the lowest validation loss
//!             model.safetensors            the model at the end
//!             tensorboard/, plots/, report.html   what `syva train`, `plot` and `report` show of it
//! ```
//!
//! A process that works in the folder holds a lock on `.lock`, so that two never write to one run.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clearing::clear;
use crate::files::{is_scratch, read_limited, write_atomically};
use crate::model;
use crate::spec::{Spec, names};
use crate::state::State;
use crate::trainer::{Epoch, Progress, Training};
use crate::{Error, Model, Precision, Result};

/// What a run is, everything resolved: `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The version of syva that began the run.
    pub syva: String,
    /// The device it was last trained on.
    pub device: String,
    /// Whether that was made exact where its own arithmetic is not.
    #[serde(default)]
    pub exact: bool,
    /// What factors of products were rounded to there.
    #[serde(default)]
    pub precision: Precision,
    /// Which weights become the model.
    #[serde(default)]
    pub keep: Keep,
    /// How it is trained.
    pub training: Training,
    /// What it is trained on.
    pub data: DataConfig,
    /// The network.
    pub network: Spec,
}

/// Which weights become a run's model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Those at the end.
    #[default]
    Last,
    /// Those of the epoch with the lowest validation loss.
    Best,
}

names!(Keep, "keep", Last = "last", Best = "best");

/// Which data a run uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `mnist`, `digits`, …
    pub source: String,
    /// The folder it was read from, if it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// SHA-256 of the data.
    pub digest: String,
}

/// The model at the end, and the checkpoints.
const MODEL: &str = "model.safetensors";
const LAST: &str = "checkpoint/last.safetensors";
const BEST: &str = "checkpoint/best.safetensors";

/// The file that the lock is on.
const LOCK: &str = ".lock";

/// A run's folder, locked.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes the first free of `runs/<name>-001`, `-002`, … under `parent`.
    pub fn create_numbered(parent: &Path, name: &str, config: &RunConfig) -> Result<Self> {
        fs::create_dir_all(parent).map_err(Error::io("create folder", parent))?;
        for number in 1.. {
            let path = parent.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self::fill(lock(&path)?, path, config),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create folder", path)(error)),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// Makes the folder `path`. One that exists is refused unless it is empty, or a run and `force` is given: then
    /// what the old run left is removed.
    pub fn create(path: &Path, force: bool, config: &RunConfig) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::setting("out", "an empty name is no folder", "name the run's folder, or leave it out"));
        }
        if path.exists() {
            check_free(path, force)?;
        }
        fs::create_dir_all(path).map_err(Error::io("create folder", path))?;
        let lock = lock(path)?;
        // Once more, since another process may have made a run there before it was locked.
        check_free(path, force)?;
        clear(path)?;
        Self::fill(lock, path.to_path_buf(), config)
    }

    fn fill(lock: File, path: PathBuf, config: &RunConfig) -> Result<Self> {
        remove_scratch(&path);
        let checkpoint = path.join("checkpoint");
        fs::create_dir_all(&checkpoint).map_err(Error::io("create folder", checkpoint))?;
        let folder = Self { path, _lock: lock };
        folder.save_config(config)?;
        Ok(folder)
    }

    /// Opens a run that was begun earlier.
    pub fn open(path: &Path) -> Result<(Self, RunConfig)> {
        let config = read_config(path)?;
        let lock = lock(path)?;
        remove_scratch(path);
        Ok((Self { path: path.to_path_buf(), _lock: lock }, config))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model at the end, whether it is there or not.
    #[must_use]
    pub fn model_path(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Adds an epoch to `metrics.jsonl`.
    pub fn append_metrics(&self, epoch: &Epoch) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let mut line = serde_json::to_string(epoch)
            .map_err(|error| Error::mismatch(format!("the metrics cannot be written: {error}"), "report this"))?;
        line.push('\n');
        let open = OpenOptions::new().create(true).append(true).open(&path);
        open.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::io("write", path))
    }

    /// Takes back the epochs after `epoch`, which a resumed run goes through again, and a torn last line.
    pub fn truncate_metrics(&self, epoch: u64) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let epochs = read_metrics(&self.path)?;
        let kept: Vec<String> = epochs
            .iter()
            .filter(|metrics| metrics.epoch <= epoch)
            .filter_map(|metrics| serde_json::to_string(metrics).ok())
            .map(|line| line + "\n")
            .collect();
        let kept = kept.concat();
        if fs::read(&path).is_ok_and(|there| there == kept.as_bytes()) {
            return Ok(());
        }
        write_atomically(&path, |file| file.write_all(kept.as_bytes()))
    }

    /// Writes the last checkpoint, and the best model where there is a new one.
    pub fn save_checkpoint(
        &self,
        config: &RunConfig,
        state: &State,
        progress: &Progress,
        best: Option<&State>,
    ) -> Result<()> {
        // The epochs before this point will not be gone through again, so their lines must be as safe as it is.
        let metrics = self.path.join("metrics.jsonl");
        match OpenOptions::new().append(true).open(&metrics).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("write", metrics)(error)),
            _ => {}
        }
        let folder = self.path.join("checkpoint");
        if let Some(best) = best {
            let bytes = model::encode(&config.network, best, None)?;
            write_atomically(&folder.join("best.safetensors"), |file| file.write_all(&bytes))?;
        }
        let bytes = model::encode(&config.network, state, Some((&config.training, progress)))?;
        write_atomically(&folder.join("last.safetensors"), |file| file.write_all(&bytes))
    }

    /// The last checkpoint; none where the run ended before there was one, so that it has to begin at the beginning.
    pub fn load_checkpoint(&self, config: &RunConfig) -> Result<Option<(State, Progress)>> {
        let path = self.path.join(LAST);
        let refuse = |place: &str, problem: String, remedy: &str| Err(Error::file(&path, place, problem, remedy));
        if !path.exists() {
            if read_metrics(&self.path)?.is_empty() && !self.model_path().exists() {
                return Ok(None);
            }
            let problem = "it is missing, though the run has trained".into();
            return refuse("the checkpoint", problem, "put it back, or start a new run");
        }
        let (model, checkpoint) = model::load(&path)?;
        let Some((training, progress)) = checkpoint else {
            return refuse(
                "metadata",
                "it is a model without progress".into(),
                "resume needs the run's own checkpoint",
            );
        };
        let undo = "undo the change of config.toml, or start a new run";
        if model.spec != config.network {
            let (has, wants) = (model.spec.widths(), config.network.widths());
            let differ = if has == wants { "in more than the widths" } else { "in its widths" };
            let problem = format!("its network {has} is not that of config.toml, {wants}: they differ {differ}");
            return refuse("metadata", problem, undo);
        }
        let wanted = Training { epochs: training.epochs, ..config.training };
        if training != wanted {
            let text = |t: Training| {
                format!("batch_size {}, learning_rate {:?}, seed {}", t.batch_size, t.learning_rate, t.seed)
            };
            let problem = format!("it was trained with {}, but config.toml says {}", text(training), text(wanted));
            return refuse("metadata", problem, undo);
        }
        Ok(Some((model.state, progress)))
    }

    /// Changes `config.toml` (more epochs, say).
    pub fn save_config(&self, config: &RunConfig) -> Result<()> {
        let text = toml::to_string(config)
            .map_err(|error| Error::mismatch(format!("the configuration cannot be written: {error}"), "report this"))?;
        write_atomically(&self.path.join("config.toml"), |file| file.write_all(text.as_bytes()))
    }

    /// The model of the epoch with the lowest validation loss.
    pub fn best_model(&self, config: &RunConfig) -> Result<Model> {
        let path = self.path.join(BEST);
        let refuse = |place: &str, problem: String| {
            let remedy = "put the run's own file back, or keep the last weights with `syva resume RUN --keep last`";
            Err(Error::file(&path, place, problem, remedy))
        };
        if !path.exists() {
            return refuse("the best model", "it is missing, though the run keeps the best".into());
        }
        let model = Model::load(&path)?;
        if model.spec != config.network {
            let (has, wants) = (model.spec.widths(), config.network.widths());
            return refuse("metadata", format!("its network {has} is not that of config.toml, {wants}"));
        }
        Ok(model)
    }

    /// Whether the model at the end is there, and is this one.
    #[must_use]
    pub fn holds(&self, model: &Model) -> bool {
        Model::load(self.model_path()).is_ok_and(|there| there == *model)
    }

    /// Writes the model at the end.
    pub fn save_model(&self, model: &Model) -> Result<PathBuf> {
        let path = self.model_path();
        model.save(&path)?;
        Ok(path)
    }
}

/// The configuration of the run in `path`.
pub fn read_config(path: &Path) -> Result<RunConfig> {
    let file = path.join("config.toml");
    if !file.is_file() {
        let remedy = "name a folder that `syva train` made, such as runs/mnist-001";
        return Err(Error::file(path, "the run folder", "there is no config.toml", remedy));
    }
    let bytes = read_limited(&file, 1 << 24)?;
    let text = String::from_utf8_lossy(&bytes);
    let remedy = "undo the change, or start a new run";
    let config: RunConfig = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Error::file(&file, format!("line {line}"), error.message(), remedy)
    })?;
    let place = |error: Error| match error {
        Error::Setting { setting, problem, .. } => Error::file(&file, setting, problem, remedy),
        other => other,
    };
    config.training.validate().map_err(place)?;
    config.network.validate().map_err(place)?;
    Ok(config)
}

/// The epochs of the run in `path`; none if it has none yet. A torn last line, left by a kill, is passed over.
pub fn read_metrics(path: &Path) -> Result<Vec<Epoch>> {
    let path = path.join("metrics.jsonl");
    if path.exists() && !path.is_file() {
        // A pipe would be waited for.
        return Err(Error::file(path, "the metrics", "this is no regular file", "remove it, or name another run"));
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut epochs = Vec::new();
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    let mut lines = lines.filter(|(_, line)| !line.is_empty()).peekable();
    while let Some((i, line)) = lines.next() {
        match serde_json::from_slice(line) {
            Ok(epoch) => epochs.push(epoch),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => {
                let remedy = "remove the line";
                return Err(Error::file(path, format!("line {}", i + 1), error.to_string(), remedy));
            }
        }
    }
    Ok(epochs)
}

/// The weights that a run has come to.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The file that they are from.
    pub file: PathBuf,
    /// The network with them.
    pub model: Model,
    /// The whole epochs, and steps of the next, that they have seen; none where no checkpoint tells how many steps make
    /// an epoch.
    pub seen: Option<(u64, u64)>,
    /// Whether they are what the run is to leave. If not, it is still training, or stopped before its end.
    pub finished: bool,
}

impl Reached {
    /// Of the run in `path`: the model at the end, or where the run goes on (also beyond an end that it had once) the
    /// last checkpoint.
    pub fn of(path: &Path) -> Result<Self> {
        let config = read_config(path)?;
        let [file, last, best] = [MODEL, LAST, BEST].map(|name| path.join(name));
        let end = if file.exists() { Some(Model::load(&file)?) } else { None };
        let (state, progress) = match (model::load(&last), end.clone()) {
            (Ok((model, Some((_, progress)))), _) => (model, progress),
            // A folder that somebody thinned out.
            (_, Some(model)) => return Ok(Self { file, model, seen: None, finished: true }),
            (Ok(_), None) => {
                return Err(Error::file(last, "metadata", "it is a model without progress", "start a new run"));
            }
            (Err(error), None) => return Err(error),
        };
        let steps_per_epoch =
            state.state.step.saturating_sub(progress.step_in_epoch as u64).checked_div(progress.epoch).unwrap_or(0);
        let seen = |step: u64| match (progress.epoch, steps_per_epoch) {
            (0, _) => Some((0, step)),
            (_, 0) => None,
            (_, steps) => Some((step / steps, step % steps)),
        };
        let wanted = match config.keep {
            Keep::Last => Some(state.state.step),
            Keep::Best => Model::load(best).ok().map(|best| best.state.step),
        };
        let done = progress.epoch >= config.training.epochs;
        Ok(match end {
            Some(model) if done && wanted.is_none_or(|step| step == model.state.step) => {
                Self { file, seen: seen(model.state.step), model, finished: true }
            }
            _ => Self { file: last, seen: seen(state.state.step), model: state, finished: false },
        })
    }
}

/// Whether a process works in the run folder `path` at this moment, and so trains; false where that cannot be told.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    let file = File::open(path.join(LOCK));
    // A shared lock is not to be had beside the exclusive one of a training, and keeps no one out for long.
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Refuses a path that a new run would harm: a file, a folder that holds anything but a run, and unless `force` is given
/// a run. What a process leaves that was killed before it had made a run is nothing.
fn check_free(path: &Path, force: bool) -> Result<()> {
    let refuse = |problem: &str, remedy: &str| Err(Error::file(path, "the run folder", problem, remedy));
    if !path.is_dir() {
        return refuse("there is a file of this name", "give another name");
    }
    let mut entries = 0;
    for entry in fs::read_dir(path).map_err(Error::io("read folder", path))? {
        let name = entry.map_err(Error::io("read folder", path))?.file_name();
        let empty =
            name == "checkpoint" && fs::read_dir(path.join(&name)).is_ok_and(|mut inner| inner.next().is_none());
        entries += u32::from(!(empty || name == LOCK || is_scratch(&name)));
    }
    if entries == 0 {
        return Ok(());
    }
    // Other programs have a config.toml too.
    match read_config(path) {
        Err(_) => refuse("it exists and holds something that is no run", "give another name"),
        Ok(_) if !force => {
            refuse("a run is there already", "give another name, or --force to replace it, or use `syva resume`")
        }
        Ok(_) => Ok(()),
    }
}

/// Removes what killed processes left of files that they were writing. Only for who holds the lock.
fn remove_scratch(path: &Path) {
    for folder in [path.to_path_buf(), path.join("checkpoint")] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| is_scratch(&entry.file_name())) {
            // One that stays does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Locks a run folder for this process.
fn lock(path: &Path) -> Result<File> {
    let file_path = path.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&file_path);
    let file = file.map_err(Error::io("write", &file_path))?;
    // Who asks whether a run is alive ([`is_locked`]) has its lock for a moment.
    let mut tries = 5;
    let locked = loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries > 0 => tries -= 1,
            locked => break locked,
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let problem = "another syva is working in it";
            Err(Error::file(path, "the run folder", problem, "wait for it, or give another name"))
        }
        // A file system without locks: better to work than to refuse.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", file_path)(error)),
    }
}
