//! A run folder: everything a training leaves, and everything it needs to go on.
//!
//! ```text
//! runs/<name>/config.toml                  what was asked, everything resolved
//!             metrics.jsonl                a line an epoch
//!             checkpoint/last.safetensors  weights and progress: where `resume` goes on
//!             checkpoint/best.safetensors  the model after the epoch with the lowest validation loss
//!             model.safetensors            the model at the end
//! ```
//!
//! A process that works in the folder holds a lock on `.lock`, so that two never write to one run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::write_atomically;
use crate::model;
use crate::spec::Spec;
use crate::state::State;
use crate::trainer::{Epoch, Progress, Training};
use crate::{Error, Model, Result};

/// What a run is, everything resolved: `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The version of syva that began the run.
    pub syva: String,
    /// The device it began on.
    pub device: String,
    /// How it is trained.
    pub training: Training,
    /// What it is trained on.
    pub data: DataConfig,
    /// The network.
    pub network: Spec,
}

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

/// What a run may leave in its folder; `--force` removes these and nothing else.
const ENTRIES: [&str; 6] = ["config.toml", "metrics.jsonl", "checkpoint", "model.safetensors", "tensorboard", "plots"];

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
                Ok(()) => return Self::fill(path, config),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create folder", path)(error)),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// Makes the folder `path`. One that exists is refused unless it is empty, or a run and `force` is given: then
    /// what the old run left is removed.
    pub fn create(path: &Path, force: bool, config: &RunConfig) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io("create folder", path))?;
        let mut entries = fs::read_dir(path).map_err(Error::io("read folder", path))?;
        if entries.next().is_some() {
            let refuse = |problem: &str, remedy: &str| Err(Error::file(path, "the run folder", problem, remedy));
            if !path.join("config.toml").is_file() {
                return refuse("it exists and holds something that is no run", "give another name");
            }
            if !force {
                let remedy = "give another name, or --force to replace it, or use `syva resume`";
                return refuse("a run is there already", remedy);
            }
            let _lock = lock(path)?;
            for entry in ENTRIES.map(|entry| path.join(entry)) {
                let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
                match removed {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("remove", entry)(error)),
                    _ => {}
                }
            }
        }
        Self::fill(path.to_path_buf(), config)
    }

    fn fill(path: PathBuf, config: &RunConfig) -> Result<Self> {
        let lock = lock(&path)?;
        let checkpoint = path.join("checkpoint");
        fs::create_dir_all(&checkpoint).map_err(Error::io("create folder", checkpoint))?;
        let text = toml::to_string(config)
            .map_err(|error| Error::mismatch(format!("the configuration cannot be written: {error}"), "report this"))?;
        write_atomically(&path.join("config.toml"), |file| file.write_all(text.as_bytes()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Opens a run that was begun earlier.
    pub fn open(path: &Path) -> Result<(Self, RunConfig)> {
        let config = read_config(path)?;
        Ok((Self { path: path.to_path_buf(), _lock: lock(path)? }, config))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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
        let kept: Vec<String> = read_metrics(&self.path)?
            .iter()
            .filter(|metrics| metrics.epoch <= epoch)
            .filter_map(|metrics| serde_json::to_string(metrics).ok())
            .map(|line| line + "\n")
            .collect();
        write_atomically(&path, |file| file.write_all(kept.concat().as_bytes()))
    }

    /// Writes the last checkpoint, and the best model where there is a new one.
    pub fn save_checkpoint(&self, spec: &Spec, state: &State, progress: &Progress, best: Option<&State>) -> Result<()> {
        let folder = self.path.join("checkpoint");
        if let Some(best) = best {
            Model { spec: spec.clone(), state: best.clone() }.save(folder.join("best.safetensors"))?;
        }
        let bytes = model::encode(&Model { spec: spec.clone(), state: state.clone() }, Some(progress))?;
        write_atomically(&folder.join("last.safetensors"), |file| file.write_all(&bytes))
    }

    /// The last checkpoint.
    pub fn load_checkpoint(&self, config: &RunConfig) -> Result<(State, Progress)> {
        let path = self.path.join("checkpoint/last.safetensors");
        let (model, progress) = model::load(&path)?;
        let Some(progress) = progress else {
            let problem = "it is a model without progress";
            return Err(Error::file(path, "metadata", problem, "resume needs the run's own checkpoint"));
        };
        if model.spec != config.network {
            let problem = format!("the network {} is not the one in config.toml", model.spec.widths());
            let remedy = "undo the change of config.toml, or start a new run";
            return Err(Error::file(path, "metadata", problem, remedy));
        }
        Ok((model.state, progress))
    }

    /// Changes `config.toml` (more epochs, say).
    pub fn save_config(&self, config: &RunConfig) -> Result<()> {
        let text = toml::to_string(config)
            .map_err(|error| Error::mismatch(format!("the configuration cannot be written: {error}"), "report this"))?;
        write_atomically(&self.path.join("config.toml"), |file| file.write_all(text.as_bytes()))
    }

    /// Writes the model at the end.
    pub fn save_model(&self, model: &Model) -> Result<PathBuf> {
        let path = self.path.join("model.safetensors");
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
    let bytes = crate::files::read_limited(&file, 1 << 24)?;
    let text = String::from_utf8_lossy(&bytes);
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let remedy = "undo the change, or start a new run";
        Error::file(&file, format!("line {line}"), error.message(), remedy)
    })
}

/// The epochs of the run in `path`; none if it has none yet. A torn last line, left by a kill, is passed over.
pub fn read_metrics(path: &Path) -> Result<Vec<Epoch>> {
    let path = path.join("metrics.jsonl");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut epochs = Vec::new();
    let lines: Vec<_> =
        BufReader::new(file).lines().collect::<std::io::Result<_>>().map_err(Error::io("read", &path))?;
    for (i, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(epoch) => epochs.push(epoch),
            Err(_) if i + 1 == lines.len() => {}
            Err(error) => {
                let remedy = "remove the line";
                return Err(Error::file(path, format!("line {}", i + 1), error.to_string(), remedy));
            }
        }
    }
    Ok(epochs)
}

/// Locks a run folder for this process.
fn lock(path: &Path) -> Result<File> {
    let file_path = path.join(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&file_path);
    let file = file.map_err(Error::io("write", &file_path))?;
    match file.try_lock() {
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
