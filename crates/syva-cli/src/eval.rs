//! `syva eval`: what a model makes of a data set.

use std::path::{Path, PathBuf};

use syva::data::Split;
use syva::data::source::Source;
use syva::run::read_config;
use syva::{Error, Model, Result};

use crate::args::{EvalArgs, SplitArg};
use crate::data::{self, Talk};
use crate::output;

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Val => Self::Validation,
        }
    }
}

/// A model file as named, or the model of a run's folder: the one at the end, or while there is none the last checkpoint.
pub fn model_path(path: &Path) -> Result<PathBuf> {
    let remedy = "name a model file, or the folder of a run such as runs/mnist-001";
    if !path.exists() {
        return Err(Error::file(path, "the model", "there is no such file or folder", remedy));
    }
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let mut places = ["model.safetensors", "checkpoint/last.safetensors"].map(|place| path.join(place)).into_iter();
    places.find(|place| place.exists()).ok_or_else(|| {
        let problem = "this folder has neither model.safetensors nor checkpoint/last.safetensors";
        Error::file(path, "the model", problem, remedy)
    })
}

pub fn eval(args: &EvalArgs) -> Result<()> {
    let path = model_path(&args.model)?;
    let model = Model::load(&path)?;
    let (mut source, mut dir) = (Source::Auto, None);
    if args.model.is_dir() {
        let config = read_config(&args.model)?;
        source = data::source_of(&args.model, &config.data)?;
        dir = config.data.dir;
    }
    let source = args.data.unwrap_or(source);
    let dir = args.data_dir.clone().or(if args.data.is_none() { dir } else { None });
    let task = data::open(source, dir.as_deref(), if args.json { Talk::Notices } else { Talk::All })?;
    let (engine, device) = syva::engine(args.device.as_deref().unwrap_or("auto"), args.threads)?;
    let mut session = engine.open(&device, &model.spec)?;
    let split = Split::from(args.split);
    session.load(split, task.split(split)).map_err(|error| match error {
        Error::Mismatch { problem, remedy } => Error::file(&path, "metadata", problem, remedy),
        other => other,
    })?;
    session.set_state(&model.state)?;
    let evaluation = session.evaluate(split)?;
    let confusion = &evaluation.confusion;
    let classes = confusion.classes() > 0;
    let part = match args.split {
        SplitArg::Train => "training",
        SplitArg::Val => "validation",
    };
    let samples = task.split(split).samples();
    if args.json {
        output::line(serde_json::json!({
            "model": path.to_string_lossy(), "data": task.name, "split": part, "samples": samples, "loss": evaluation.loss,
            "accuracy": classes.then(|| confusion.accuracy()),
            "balanced_accuracy": classes.then(|| confusion.balanced_accuracy()),
            "steps": model.state.step, "sha256_of_weights": model.state.digest(),
        }));
        return Ok(());
    }
    output::line(format_args!(
        "{} {} after {} steps, on {samples} {part} samples of {}",
        path.display(),
        model.spec.widths(),
        model.state.step,
        task.name
    ));
    output::line(format_args!("loss               {:.4}", evaluation.loss));
    if classes {
        output::line(format_args!("accuracy           {:.2} %", 100.0 * confusion.accuracy()));
        output::line(format_args!("balanced accuracy  {:.2} %", 100.0 * confusion.balanced_accuracy()));
    }
    Ok(())
}
