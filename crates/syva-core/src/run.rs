//! A run folder: everything that a training leaves behind, and everything that it needs to go on.
//!
//! ```text
//! runs/<name>/config.toml                  all settings, with defaults filled in
//!             metrics.jsonl                one line per epoch
//!             checkpoint/last.safetensors  weights and progress, from which `resume` goes on
//!             checkpoint/best.safetensors  the model after the best epoch, by default by the validation loss
//!             model.safetensors            the final model
//!             tensorboard/, plots/, report.html   the output of `syva train`, `plot` and `report`
//! ```
//!
//! A process that works in the folder holds a lock on `.lock`, so that two processes never write to one run. Nothing is
//! written through a link that leads out of the folder. [`read_run`] and [`Reached`] compare the parts of the folder
//! with each other when they read them.

mod lock;
mod metrics;
mod reached;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::lock::{LOCK, Lock};
use self::metrics::METRICS;
use crate::clearing::clear;
use crate::compat::{self, FORMAT, Spec1, Training1, Version};
use crate::data::images::ImagesConfig;
use crate::data::tabular::TableConfig;
use crate::data::{Task, Validation};
use crate::engine::{DeviceId, Engine};
use crate::files::{exists, is_scratch, read_limited, stay_inside, write_atomically};
use crate::model::{self, Checkpoint};
use crate::reference::BLOCK;
use crate::spec::Spec;
use crate::state::State;
use crate::trainer::{Epoch, Event, Progress, Trainer};
use crate::training::Training;
use crate::{Error, Model, Precision, Result};

pub use self::lock::is_locked;
pub use self::metrics::read_metrics;
pub use self::reached::{Reached, read_run};
pub use crate::stopping::Keep;

/// The configuration of a run, with defaults filled in: `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The version of syva that started the run.
    pub syva: String,
    /// The version of the arithmetic contract that the run is trained by ([`CONTRACT`]).
    pub contract: u32,
    /// The device it was last trained on.
    pub device: String,
    /// Whether the device was made exact, if its own arithmetic is not.
    #[serde(default)]
    pub exact: bool,
    /// The precision to which that device rounded the factors of products.
    #[serde(default)]
    pub precision: Precision,
    /// Which weights become the model.
    #[serde(default)]
    pub keep: Keep,
    /// The model whose weights it began with, if they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<InitFrom>,
    /// How it is trained.
    pub training: Training,
    /// The data that it is trained on.
    pub data: DataConfig,
    /// The network.
    pub network: Spec,
}

/// The model whose weights a run began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitFrom {
    /// Its file, by an absolute path.
    pub file: PathBuf,
    /// [`State::digest`] of its weights.
    pub digest: String,
}

impl InitFrom {
    /// The model.
    ///
    /// # Errors
    /// [`Error::File`] if the file is missing, or has other weights by now.
    pub fn load(&self) -> Result<Model> {
        let mut model = Model::load(&self.file)?;
        model.state = model.state.for_prediction();
        let digest = model.state.digest();
        if digest != self.digest {
            let problem =
                format!("its weights, {digest:.12}…, are not those that the run began with, {:.12}…", self.digest);
            return Err(Error::file(&self.file, "the model", problem, "restore the file, or start a new run"));
        }
        Ok(model)
    }
}

/// The configuration of format 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunConfig1 {
    syva: String,
    device: String,
    #[serde(default)]
    exact: bool,
    #[serde(default)]
    precision: Precision,
    #[serde(default)]
    keep: Keep,
    training: Training1,
    data: DataConfig,
    network: Spec1,
}

impl From<RunConfig1> for RunConfig {
    fn from(old: RunConfig1) -> Self {
        let RunConfig1 { syva, device, exact, precision, keep, training, data, network } = old;
        let (network, training) = network.split(training);
        Self { syva, contract: 1, device, exact, precision, keep, init_from: None, training, data, network }
    }
}

/// The version of the arithmetic contract (docs/ARITHMETIC.md) by which runs are trained.
pub const CONTRACT: u32 = 2;

/// Which data a run uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// `mnist`, `digits`, …
    pub source: String,
    /// The folder that it was read from, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Which of it validates.
    #[serde(default)]
    pub validation: Validation,
    /// The table that it is, and its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableConfig>,
    /// The images that it is, and their files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImagesConfig>,
    /// SHA-256 of the data, which tells how it is divided, too.
    pub digest: String,
}

/// The final model, and the checkpoints.
const MODEL: &str = "model.safetensors";
const LAST: &str = "checkpoint/last.safetensors";
const BEST: &str = "checkpoint/best.safetensors";

/// The folder of a run, locked.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: Lock,
    /// The length of `metrics.jsonl` as this process left it.
    metrics: u64,
    /// The digest of the weights in `checkpoint/best.safetensors`, if it is known.
    best: Option<String>,
}

impl RunFolder {
    /// Creates the first of `runs/<name>-001`, `-002`, … under `parent` that does not exist yet.
    pub fn create_numbered(parent: &Path, name: &str, config: &RunConfig) -> Result<Self> {
        fs::create_dir_all(parent).map_err(Error::io("create folder", parent))?;
        for number in 1.. {
            let path = parent.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self::fill(Lock::take(&path)?, path, config),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create folder", path)(error)),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// Creates the folder `path`. A folder that exists is refused, unless it is empty, or it is a run and `force` is
    /// given. In the latter case the old run's files are removed.
    pub fn create(path: &Path, force: bool, config: &RunConfig) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::setting("out", "the folder's name is empty", "name the run's folder, or leave it out"));
        }
        if path.exists() {
            check_free(path, force)?;
        }
        fs::create_dir_all(path).map_err(Error::io("create folder", path))?;
        let lock = Lock::take(path)?;
        // Checked again, because another process may have created a run there before the lock was taken.
        check_free(path, force)?;
        clear(path)?;
        Self::fill(lock, path.to_path_buf(), config)
    }

    fn fill(lock: Lock, path: PathBuf, config: &RunConfig) -> Result<Self> {
        remove_scratch(&path);
        let mut folder = Self { path, lock, metrics: 0, best: None };
        folder.make_checkpoint_folder()?;
        folder.save_config(config)?;
        Ok(folder)
    }

    /// Opens a run that was started earlier, to train it further. A run that another version of the arithmetic contract would
    /// take to other bits is refused.
    pub fn open(path: &Path) -> Result<(Self, RunConfig)> {
        let mut config = read_config(path)?;
        let batch_size = config.training.samples_per_update();
        if config.contract > CONTRACT || config.contract < CONTRACT && batch_size > BLOCK {
            let problem = format!(
                "it was trained by version {} of the arithmetic contract, which sums over {batch_size} samples in another order \
                 than version {CONTRACT}, so it would not go on to the same bits",
                config.contract
            );
            let remedy = format!("train it anew with `syva train --like {}`", path.display());
            return Err(Error::file(path, "the run folder", problem, remedy));
        }
        // Up to a block of samples, the versions do not differ.
        config.contract = CONTRACT;
        let lock = Lock::take(path)?;
        remove_scratch(path);
        Ok((Self { path: path.to_path_buf(), lock, metrics: metrics::length(path), best: None }, config))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the final model, whether it exists or not.
    #[must_use]
    pub fn model_path(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Adds an epoch to `metrics.jsonl`.
    pub fn append_metrics(&mut self, epoch: &Epoch) -> Result<()> {
        let path = self.own(METRICS)?;
        let line = metrics::text(std::slice::from_ref(epoch))?;
        let open = OpenOptions::new().create(true).append(true).open(&path);
        open.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::io("write", path))?;
        self.metrics += line.len() as u64;
        Ok(())
    }

    /// Makes `metrics.jsonl` agree with the checkpoint. Removes later epochs, which a resumed run trains again, and a
    /// torn last line. If lines are missing, duplicated or changed, writes them again and returns a sentence that says
    /// so.
    pub fn restore_metrics(&mut self, progress: &Progress) -> Result<Option<String>> {
        let damage = metrics::damage(&self.path, progress)?;
        let wanted = metrics::text(&progress.history)?;
        let path = self.path.join(METRICS);
        if !fs::read(&path).is_ok_and(|there| there == wanted.as_bytes()) && (path.exists() || !wanted.is_empty()) {
            self.write(METRICS, wanted.as_bytes())?;
        }
        self.metrics = wanted.len() as u64;
        let lost = progress.epoch - progress.history.len() as u64;
        Ok(match (damage, lost) {
            (None, 0) => None,
            (Some(damage), 0) => Some(format!("{damage}; it was written again from the checkpoint")),
            (_, lost) => Some(format!(
                "{} lacks {lost} of {} epochs, which are in no checkpoint",
                path.display(),
                progress.epoch
            )),
        })
    }

    /// Writes the last checkpoint, and the best model if there is a new one. If something was removed or changed in the
    /// meantime and had to be written again, returns a sentence that says so.
    pub fn save_checkpoint(
        &mut self,
        config: &RunConfig,
        state: &State,
        progress: &Progress,
        best: Option<&State>,
    ) -> Result<Option<String>> {
        self.lock.check()?;
        let mut made_again = Vec::new();
        if self.make_checkpoint_folder()? {
            made_again.push("checkpoint/");
        }
        if !self.path.join("config.toml").exists() {
            self.save_config(config)?;
            made_again.push("config.toml");
        }
        // The epochs before this checkpoint will not be trained again, so their lines must be as durable as the
        // checkpoint.
        if metrics::length(&self.path) != self.metrics {
            let whole = metrics::text(&progress.history)?;
            self.write(METRICS, whole.as_bytes())?;
            self.metrics = whole.len() as u64;
            made_again.push(METRICS);
        } else if self.metrics > 0 {
            let metrics = self.own(METRICS)?;
            let synced = OpenOptions::new().append(true).open(&metrics).and_then(|file| file.sync_all());
            synced.map_err(Error::io("write", metrics))?;
        }
        if let Some(best) = best
            && (self.best != progress.best_weights || !self.path.join(BEST).exists())
        {
            self.write(BEST, &model::encode(&config.network, best, &[], None)?)?;
            self.best.clone_from(&progress.best_weights);
        }
        let bytes =
            model::encode(&config.network, state, &[], Some((&config.training, progress, &config.data.digest)))?;
        self.write(LAST, &bytes)?;
        Ok((!made_again.is_empty()).then(|| {
            let (was, it) = if made_again.len() == 1 { ("was", "it was") } else { ("were", "they were") };
            let what = made_again.join(" and ");
            format!("{what} {was} changed or removed while this run trained; {it} written again")
        }))
    }

    /// The last checkpoint. `None` if the run ended before there was one, so that it has to start from the beginning.
    /// Epochs that a checkpoint of an older version does not hold are taken from `metrics.jsonl`.
    pub fn load_checkpoint(&self, config: &RunConfig) -> Result<Option<(State, Progress)>> {
        let path = self.path.join(LAST);
        if !exists(&path)? {
            if metrics::length(&self.path) == 0 && !self.model_path().exists() {
                return Ok(None);
            }
            let problem = "it is missing, though the run has trained";
            return Err(Error::file(path, "the checkpoint", problem, "restore it, or start a new run"));
        }
        let (stored, Checkpoint { mut progress, .. }) = reached::read_checkpoint(&path, config)?;
        progress.history = metrics::history(&self.path, &progress)?;
        Ok(Some((stored.model.state, progress)))
    }

    /// Replaces `config.toml`, for example by one with more epochs.
    pub fn save_config(&mut self, config: &RunConfig) -> Result<()> {
        let text = toml::to_string(config)
            .map_err(|error| Error::mismatch(format!("the configuration cannot be written: {error}"), "report this"))?;
        self.write("config.toml", format!("format = {FORMAT}\n{text}").as_bytes())
    }

    /// The weights of the best epoch by the metric that the run keeps, for a run that is at `state` and `progress`. `None`
    /// if there is no such epoch yet. Also `None` if the process ended after saving a new best model and before saving the
    /// checkpoint, because the run will then reach that epoch again.
    pub fn load_best(&mut self, config: &RunConfig, state: &State, progress: &Progress) -> Result<Option<Model>> {
        let kept = progress.best_weights.as_ref();
        let mut progress = progress.clone();
        progress.judge_by(config.keep);
        let Some((epoch, _)) = progress.best else { return Ok(None) };
        let path = self.path.join(BEST);
        let refuse = |place: &str, problem: String| {
            let remedy = "restore the run's own file, or keep the last weights with `syva resume RUN --keep last`";
            Err(Error::file(&path, place, problem, remedy))
        };
        if !exists(&path)? {
            return refuse("the best model", "it is missing, though the run keeps the best".into());
        }
        let model = Model::load(&path)?;
        if model.spec != config.network {
            let (has, wants) = (model.spec.widths(), config.network.widths());
            return refuse("metadata", format!("its network {has} is not that of config.toml, {wants}"));
        }
        let steps_per_epoch =
            (state.step.saturating_sub(progress.step_in_epoch as u64)).checked_div(progress.epoch).unwrap_or(0);
        let digest = model.state.digest();
        let is_best = match &progress.best_weights {
            Some(wanted) => *wanted == digest,
            None => model.state.step == epoch.saturating_mul(steps_per_epoch),
        };
        if is_best {
            self.best = Some(digest);
            return Ok(Some(model));
        }
        // This includes the case that all steps of that epoch are taken, but it is not evaluated yet.
        let of_epoch = model.state.step.checked_div(steps_per_epoch).unwrap_or(0);
        if of_epoch > progress.epoch && of_epoch <= config.training.epochs {
            return Ok(None);
        }
        let metric = config.keep.metric().label();
        if kept == Some(&digest) && progress.best_weights.is_none() {
            let remedy = "keep what the run kept so far, or the last weights with `syva resume RUN --keep last`";
            let problem = format!(
                "its weights are those of epoch {of_epoch}; those of epoch {epoch}, the best by {metric}, were not kept"
            );
            return Err(Error::file(&path, "the best model", problem, remedy));
        }
        refuse(
            "the best model",
            format!("its weights, {digest:.12}…, are not those of the best epoch by {metric}, {epoch}"),
        )
    }

    /// The trainer of the run: at this checkpoint ([`RunFolder::load_checkpoint`]), or at its beginning if there is none, with
    /// the weights of [`RunConfig::init_from`] if it names a model.
    ///
    /// # Errors
    /// [`Error::File`] if the run keeps the best weights and they are not there, and the errors of [`Trainer::resume`].
    pub fn trainer(
        &mut self,
        config: &RunConfig,
        checkpoint: Option<(State, Progress)>,
        engine: &dyn Engine,
        device: &DeviceId,
        task: &Task,
    ) -> Result<Trainer> {
        let (network, training, keep) = (&config.network, &config.training, config.keep);
        let Some((state, progress)) = checkpoint else {
            let trainer = match &config.init_from {
                Some(from) => Trainer::from_model(engine, device, network, task, training, &from.load()?),
                None => Trainer::new(engine, device, network, task, training),
            };
            return trainer?.best_by(keep);
        };
        // A run that keeps the last weights can do without the best ones.
        let best = match self.load_best(config, &state, &progress) {
            Err(error) if config.keep != Keep::Last => return Err(error),
            best => best.ok().flatten(),
        };
        let trainer = Trainer::resume(engine, device, network, task, training, &state, progress)?.best_by(keep)?;
        Ok(match best {
            Some(best) => trainer.with_best(best.state),
            None => trainer,
        })
    }

    /// Writes what an event of the run's trainer leaves in the folder: an epoch's metrics, or a checkpoint. If something was
    /// removed or changed in the meantime and had to be written again, returns a sentence that says so.
    ///
    /// ```
    /// use syva_core::data::{Dataset, Inputs, Targets, Task};
    /// use syva_core::run::{CONTRACT, DataConfig, RunConfig, RunFolder, read_metrics};
    /// use syva_core::{Activation::Tanh, Keep, Metric, Mlp, Training, reference::Reference, trainer::Flow};
    /// let inputs = Inputs::F32(vec![0., 0., 0., 1., 1., 0., 1., 1.].into());
    /// let data = Dataset::new(inputs, 2, Targets::Classes { labels: vec![0, 1, 1, 0].into(), classes: 2 })?;
    /// let task = Task::new("xor", data.clone(), data);
    /// let config = RunConfig {
    ///     syva: "my own program".into(),
    ///     contract: CONTRACT,
    ///     device: "reference".into(),
    ///     exact: false,
    ///     precision: Default::default(),
    ///     keep: Keep::best_by(Metric::ValAcc),
    ///     init_from: None,
    ///     training: Training { epochs: 3, ..Training::default() },
    ///     data: DataConfig { source: "xor".into(), dir: None, validation: Default::default(), table: None, images: None, digest: task.digest() },
    ///     network: Mlp::new(2).hidden(&[8], Tanh).classes(2),
    /// };
    /// # let place = tempfile::tempdir().unwrap();
    /// # let path = &place.path().join("run");
    /// let mut folder = RunFolder::create(path, false, &config)?;
    /// let mut trainer = folder.trainer(&config, None, &Reference, &"reference".parse()?, &task)?;
    /// trainer.run(&mut |event| folder.record(&config, event).map(|_| Flow::Continue))?;
    /// let model = folder.finish(&config, &mut trainer)?;
    /// assert_eq!(read_metrics(path)?.len(), 3);
    /// assert!(folder.holds(&model));
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn record(&mut self, config: &RunConfig, event: &Event<'_>) -> Result<Option<String>> {
        match event {
            Event::Epoch(epoch) => self.append_metrics(epoch).map(|()| None),
            Event::Checkpoint { state, progress, best } => self.save_checkpoint(config, state, progress, *best),
            Event::Steps { .. } | Event::Inspection { .. } => Ok(None),
        }
    }

    /// Writes and returns the final model of a training that is over: the last or the best weights, as the run keeps them.
    pub fn finish(&mut self, config: &RunConfig, trainer: &mut Trainer) -> Result<Model> {
        let model = self.final_model(config, trainer)?;
        self.save_model(&model)?;
        Ok(model)
    }

    /// The final model of a training that is over.
    pub fn final_model(&mut self, config: &RunConfig, trainer: &mut Trainer) -> Result<Model> {
        let last = trainer.model()?;
        if config.keep == Keep::Last {
            return Ok(last);
        }
        if let Some(best) = trainer.best_model() {
            return Ok(best);
        }
        self.load_best(config, &last.state, trainer.progress())?.ok_or_else(|| {
            let remedy = "keep the last weights with `syva resume RUN --keep last`";
            Error::mismatch("the run's folder no longer has the weights of the best epoch", remedy)
        })
    }

    /// Whether the final model exists, and is this one.
    #[must_use]
    pub fn holds(&self, model: &Model) -> bool {
        Model::load_sealed(self.model_path()).is_ok_and(|(there, sealed)| sealed && there == *model)
    }

    /// Whether the run can go on from what is in the folder: from a checkpoint, or from the beginning if it never
    /// reached one.
    #[must_use]
    pub fn can_resume(&self) -> bool {
        let has_begun = metrics::length(&self.path) > 0 || self.model_path().exists();
        self.path.join("config.toml").is_file() && (self.has_checkpoint() || !has_begun)
    }

    /// Whether a checkpoint was saved.
    #[must_use]
    pub fn has_checkpoint(&self) -> bool {
        self.path.join(LAST).is_file()
    }

    /// Writes the final model.
    pub fn save_model(&mut self, model: &Model) -> Result<PathBuf> {
        self.write(MODEL, &model.to_bytes()?)?;
        Ok(self.model_path())
    }

    /// Creates the folder of the checkpoints. Returns true if it did not exist.
    fn make_checkpoint_folder(&mut self) -> Result<bool> {
        let folder = self.own("checkpoint")?;
        if folder.is_dir() {
            return Ok(false);
        }
        fs::create_dir_all(&folder).map_err(Error::io("create folder", folder))?;
        Ok(true)
    }

    /// Writes one of the run's files.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.own(name)?;
        write_atomically(&path, |file| file.write_all(bytes))
    }

    /// The path of one of the run's files, if it may be written: the folder still belongs to this process, and no link
    /// leads out of it.
    fn own(&mut self, name: &str) -> Result<PathBuf> {
        self.lock.check()?;
        let path = self.path.join(name);
        stay_inside(&self.path, &path)?;
        Ok(path)
    }
}

/// The error for a path where a run was expected, but is none. It says what is there instead.
#[must_use]
pub fn no_run(path: &Path) -> Error {
    let such_as = "name a folder that `syva train` made, such as runs/mnist-001";
    let refuse = |problem: &str, remedy: &str| Error::file(path, "the run folder", problem, remedy);
    if !path.exists() {
        return refuse("there is no such folder", such_as);
    }
    if !path.is_dir() {
        return refuse("this is a file, not a run's folder", such_as);
    }
    let inside = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    match inside.filter(|inner| inner.join("config.toml").is_file()).min() {
        Some(run) => refuse("this is a folder of runs", &format!("name one of them, such as {}", run.display())),
        None => refuse("there is no config.toml", such_as),
    }
}

/// The configuration of the run in `path`.
pub fn read_config(path: &Path) -> Result<RunConfig> {
    let file = path.join("config.toml");
    if !exists(&file)? || !file.is_file() {
        return Err(no_run(path));
    }
    let bytes = read_limited(&file, 1 << 24)?;
    let text = String::from_utf8_lossy(&bytes);
    let remedy = "undo the change, or start a new run";
    let refuse = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Error::file(&file, format!("line {line}"), error.message(), remedy)
    };
    let Version { format } = toml::from_str(&text).map_err(refuse)?;
    let from = toml::Deserializer::parse(&text).map_err(refuse)?;
    let config = match format {
        // Read in the same way as what is written now, so that most of it is compiled once.
        1 => compat::read::<RunConfig1, _>(from).0.map_err(refuse)?.into(),
        FORMAT => {
            let (config, unknown) = compat::read::<RunConfig, _>(from);
            if let Some(place) = unknown.into_iter().find(|place| place != "format") {
                let name = place.rsplit('.').next().unwrap_or_default();
                let is_named = |line: &str| line.trim_start().starts_with(name);
                let line = text.lines().position(is_named).map_or(1, |line| line + 1);
                return Err(Error::file(&file, format!("line {line}"), format!("unknown setting '{place}'"), remedy));
            }
            config.map_err(refuse)?
        }
        _ => {
            let problem = format!("it is {format} (this syva reads 1 to {FORMAT})");
            return Err(Error::file(
                &file,
                "its format",
                problem,
                "use the version of syva that made the run, or a newer one",
            ));
        }
    };
    let place = |error: Error| match error {
        Error::Setting { setting, problem, .. } => Error::file(&file, setting, problem, remedy),
        other => other,
    };
    config.training.validate().map_err(place)?;
    config.network.validate().map_err(place)?;
    Ok(config)
}

/// Refuses a path where a new run would do damage: a file, a folder that holds anything but a run, and, unless `force`
/// is given, a run. A folder in which a process was killed before it had created a run counts as empty.
fn check_free(path: &Path, force: bool) -> Result<()> {
    let refuse = |problem: &str, remedy: &str| Err(Error::file(path, "the run folder", problem, remedy));
    if !path.is_dir() {
        return refuse("this is a file, not a folder", "choose another folder");
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
    // Other programs have a config.toml, too.
    match read_config(path) {
        Err(_) => refuse("it exists and is not a run", "choose another folder"),
        Ok(_) if !force => {
            refuse("it already has a run", "choose another folder, replace the run with --force, or use `syva resume`")
        }
        Ok(_) => Ok(()),
    }
}

/// Removes scratch files that killed processes left. Only for the holder of the lock.
fn remove_scratch(path: &Path) {
    for folder in [path.to_path_buf(), path.join("checkpoint")] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| is_scratch(&entry.file_name())) {
            // A file that stays does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Metric, Mlp};

    fn config(network: Spec) -> RunConfig {
        RunConfig {
            syva: "0".into(),
            contract: CONTRACT,
            device: "cpu".into(),
            exact: false,
            precision: Precision::F32,
            keep: Keep::best_by(Metric::ValLoss),
            init_from: None,
            training: Training { epochs: 3, ..Training::default() },
            data: DataConfig {
                source: "digits".into(),
                dir: None,
                validation: Validation::Test,
                table: None,
                images: None,
                digest: "00".into(),
            },
            network,
        }
    }

    /// Epochs of ten steps; the process was killed after a new best was saved and before the checkpoint that records it.
    #[test]
    fn a_best_that_is_ahead_of_its_checkpoint_will_come_again_and_any_other_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let network = Mlp::new(2).hidden(&[3], Activation::Tanh).classes(2);
        let mut config = config(network.clone());
        let mut folder = RunFolder::create(&place.path().join("run"), false, &config).unwrap();
        let state = |seed, step| State { step, ..State::initial(&network, &Training::default().seed(seed)).unwrap() };
        let first = state(1, 10);
        let best_weights = Some(first.digest());
        let at = |step_in_epoch| Progress {
            epoch: 1,
            step_in_epoch,
            tally: crate::Tally::new(2),
            best: Some((1, 0.5)),
            best_weights: best_weights.clone(),
            ..Progress::default()
        };
        let save = |best: &State| {
            let bytes = model::encode(&network, best, &[], None).unwrap();
            fs::write(place.path().join("run").join(BEST), bytes).unwrap();
        };
        // In the middle of the second epoch, and at its last step, before it is evaluated.
        for step_in_epoch in [4, 10] {
            let (last, progress) = (state(2, 10 + step_in_epoch as u64), at(step_in_epoch));
            save(&first);
            let best = folder.load_best(&config, &last, &progress).unwrap();
            assert_eq!(best.map(|best| best.state), Some(first.clone()));
            save(&state(3, 20));
            assert_eq!(folder.load_best(&config, &last, &progress).unwrap(), None, "step {step_in_epoch}");
            save(&state(3, 10));
            let error = folder.load_best(&config, &last, &progress).unwrap_err().to_string();
            assert!(error.contains("are not those of the best epoch by val loss, 1"), "{error}");
            // An epoch that the run will not reach.
            config.training.epochs = 1;
            save(&state(3, 20));
            assert!(folder.load_best(&config, &last, &progress).is_err());
            config.training.epochs = 3;
        }
    }
}
