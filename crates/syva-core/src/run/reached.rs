//! What a run has reached, for readers that do not work in its folder. Its parts are compared with each other first, so
//! that an edited configuration, edited metrics or the model of another run cannot pass for this run's record.

use std::path::{Path, PathBuf};

use super::metrics::{self, read_metrics};
use super::{BEST, Keep, LAST, MODEL, RunConfig, is_locked, read_config};
use crate::files::exists;
use crate::model::{self, Checkpoint, Stored};
use crate::trainer::Epoch;
use crate::training::Training;
use crate::{Error, Model, Result};

/// The configuration and the epochs of the run in `path`.
///
/// # Errors
/// [`Error::File`] if they are not those that its last checkpoint holds, or if the checkpoint is damaged.
pub fn read_run(path: &Path) -> Result<(RunConfig, Vec<Epoch>)> {
    Parts::of(path).map(|parts| (parts.config, parts.epochs))
}

/// The parts of a run, compared with each other.
struct Parts {
    config: RunConfig,
    epochs: Vec<Epoch>,
    /// `None` before the first checkpoint, or in a folder from which someone removed it.
    last: Option<(Stored, Checkpoint)>,
}

impl Parts {
    fn of(path: &Path) -> Result<Self> {
        let config = read_config(path)?;
        let file = path.join(LAST);
        // Read before the metrics, because a training writes the metrics first.
        let last = if exists(&file)? { Some(read_checkpoint(&file, &config)?) } else { None };
        let epochs = read_metrics(path)?;
        if let Some((_, checkpoint)) = &last {
            metrics::compare(path, &epochs, &checkpoint.progress)?;
        }
        Ok(Self { config, epochs, last })
    }
}

/// The same error with another remedy.
fn with_remedy(error: Error, remedy: &str) -> Error {
    match error {
        Error::File { path, place, problem, .. } => Error::file(path, place, problem, remedy),
        other => other,
    }
}

/// Reads a run's checkpoint, and checks that it belongs to this run.
pub(super) fn read_checkpoint(path: &Path, config: &RunConfig) -> Result<(Stored, Checkpoint)> {
    let refuse = |problem: String, remedy: &str| Err(Error::file(path, "metadata", problem, remedy));
    let mut stored = model::load(path).map_err(|error| {
        let model = path.parent().and_then(Path::parent).map(|run| run.join(MODEL));
        match model.filter(|model| model::load(model).is_ok()) {
            Some(model) => with_remedy(
                error,
                &format!("restore an undamaged copy; the run's model is intact (`syva eval {}`)", model.display()),
            ),
            None => error,
        }
    })?;
    let Some(checkpoint) = stored.checkpoint.take() else {
        return refuse(
            "it is a model, not a checkpoint".into(),
            "restore the run's own checkpoint, or start a new run",
        );
    };
    let undo = "undo the change to config.toml, or restore the run's own checkpoint";
    check_network(path, &stored.model, config, undo)?;
    let trained = &checkpoint.training;
    // A run may end at another epoch than it was started with.
    let wanted = Training { epochs: trained.epochs, stop: trained.stop, ..config.training.clone() };
    if *trained != wanted {
        let (has, says) = difference(trained, &wanted);
        let problem = format!("it was trained with {has}, but config.toml says {says}");
        return refuse(problem, undo);
    }
    if let Some(data) = checkpoint.data.as_ref().filter(|data| **data != config.data.digest) {
        let problem =
            format!("it was trained on the data {data:.12}…, but config.toml says {:.12}…", config.data.digest);
        return refuse(problem, undo);
    }
    let begun = checkpoint.progress.epoch + u64::from(checkpoint.progress.step_in_epoch > 0);
    if begun > config.training.epochs {
        let problem =
            format!("it is from epoch {begun}, but config.toml ends the run at epoch {}", config.training.epochs);
        return refuse(problem, undo);
    }
    Ok((stored, checkpoint))
}

/// The settings in which two trainings differ, as each of them has it.
fn difference(a: &Training, b: &Training) -> (String, String) {
    // By way of their text, in which an f32 is as short as it was written.
    let settings = |training| {
        let text = serde_json::to_string(training).unwrap_or_default();
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap_or_default()
    };
    let (a, b) = (settings(a), settings(b));
    let text = |of: &serde_json::Map<String, serde_json::Value>,
                others: &serde_json::Map<String, serde_json::Value>| {
        let differ = of.iter().filter(|(name, value)| others.get(*name) != Some(value));
        let said = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        differ.map(|(name, value)| format!("{name} {}", said(value))).collect::<Vec<_>>().join(", ")
    };
    (text(&a, &b), text(&b, &a))
}

/// Checks that the network of a file is the run's.
pub(super) fn check_network(path: &Path, model: &Model, config: &RunConfig, remedy: &str) -> Result<()> {
    if model.spec == config.network {
        return Ok(());
    }
    let (has, wants) = (model.spec.widths(), config.network.widths());
    let (found, wanted) = (&model.spec, &config.network);
    let differ: Vec<&str> = [
        ("the widths", has != wants),
        ("the input", found.input != wanted.input),
        ("the activations", has == wants && found.layers != wanted.layers),
        ("the head", found.head != wanted.head),
    ]
    .into_iter()
    .filter_map(|(part, differs)| differs.then_some(part))
    .collect();
    let problem =
        format!("its network {has} is not that of config.toml, {wants}: they differ in {}", differ.join(" and "));
    Err(Error::file(path, "metadata", problem, remedy))
}

/// The weights that a run has reached.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The file that they come from.
    pub file: PathBuf,
    /// The network with them.
    pub model: Model,
    /// The number of whole epochs, and of steps in the next one, after which the weights were saved. `None` if no
    /// checkpoint tells how many steps an epoch has.
    pub seen: Option<(u64, u64)>,
    /// Whether these are the run's final weights. If not, the run is still training, or it was stopped before its end.
    pub finished: bool,
    /// Whether the training is over, so that only the model may be missing.
    pub over: bool,
    /// Whether a SHA-256 in the file proves that it is unchanged. False for files of older versions.
    pub sealed: bool,
}

impl Reached {
    /// Whether training has shown each sample to these weights. Before that, it is too early to say what was learned.
    #[must_use]
    pub fn has_seen_all(&self) -> bool {
        self.seen.map_or(self.model.state.step > 0, |(epochs, _)| epochs > 0)
    }

    /// The weights of the run in `path`: those of the final model, or those of the last checkpoint if the run goes on
    /// (even if it had finished before).
    ///
    /// # Errors
    /// [`Error::File`] if the parts of the run do not belong together.
    pub fn of(path: &Path) -> Result<Self> {
        let Parts { config, last, .. } = Parts::of(path)?;
        let file = path.join(MODEL);
        let again = format!("`syva resume {}` writes the model again", path.display());
        // Without a checkpoint, nothing can be repaired.
        let mendable = |error: Error| if last.is_some() { with_remedy(error, &again) } else { error };
        let end = if exists(&file)? { Some(model::load(&file).map_err(mendable)?) } else { None };
        if let Some(end) = &end {
            check_network(&file, &end.model, &config, &again)?;
        }
        let Some((mut stored, Checkpoint { mut progress, .. })) = last else {
            let Some(Stored { model, sealed, .. }) = end else {
                let problem = "it is missing, and so is the run's model";
                return Err(Error::file(path.join(LAST), "the checkpoint", problem, "restore it, or start a new run"));
            };
            return Ok(Self { file, model, seen: None, finished: true, over: true, sealed });
        };
        // The weights that predict, as a model holds them.
        stored.model.state = stored.model.state.for_prediction();
        progress.judge_by(config.keep);
        let last_step = stored.model.state.step;
        let seen = |step: u64| seen(step, last_step, progress.epoch, progress.step_in_epoch);
        // A training that has finished the last epoch may still be about to write its model.
        let over = config.training.is_over(&progress);
        let Some(Stored { model, sealed, .. }) = end.filter(|_| over && !is_locked(path)) else {
            let Stored { model, sealed, .. } = stored;
            let seen = seen(model.state.step);
            return Ok(Self { file: path.join(LAST), seen, model, finished: false, over, sealed });
        };
        let wanted = match (config.keep, &progress.best_weights) {
            (Keep::Last, _) => Some(stored.model.state.digest()),
            (Keep::Best { .. }, Some(best)) => Some(best.clone()),
            // A checkpoint from a version that did not store the digest.
            (Keep::Best { .. }, None) => Model::load(path.join(BEST)).ok().map(|best| best.state.digest()),
        };
        let digest = model.state.digest();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
            let problem = format!("its weights, {digest:.12}…, are not the final weights of the run, {wanted:.12}…");
            return Err(Error::file(file, "the model", problem, again));
        }
        let seen = seen(model.state.step);
        if let (Keep::Best { metric, .. }, Some((best, _)), Some(seen)) = (config.keep, progress.best, seen)
            && seen != (best, 0)
        {
            let problem = format!("its weights are not those of epoch {best}, the best by {}", metric.label());
            return Err(Error::file(file, "the model", problem, again));
        }
        Ok(Self { file, model, seen, finished: true, over, sealed })
    }
}

/// The number of whole epochs, and of steps in the next one, after `step` steps, for a run that is at step `last`.
fn seen(step: u64, last: u64, epochs: u64, step_in_epoch: usize) -> Option<(u64, u64)> {
    let steps_per_epoch = last.saturating_sub(step_in_epoch as u64).checked_div(epochs).unwrap_or(0);
    match (epochs, steps_per_epoch) {
        (0, _) => Some((0, step)),
        (_, 0) => None,
        (_, steps) => Some((step / steps, step % steps)),
    }
}
