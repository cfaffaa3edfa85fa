//! `syva train --folds N`: cross-validation. The data is divided into N parts, and each of N networks is judged by another part
//! and trained on the rest. With `--bag` they become one model, whose predictions are the means of theirs.

use std::path::{Path, PathBuf};

use syva::data::Validation;
use syva::run::{Keep, read_config, read_metrics};
use syva::{Epoch, Error, Metric, Model, Result};

use crate::Code;
use crate::args::TrainArgs;
use crate::settings::Settings;
use crate::tables::{DataArg, PartArg, files, name_of};
use crate::{eval, output, signals, train};

/// Trains a network for each fold, one after the other, in folders of their own.
pub fn train(args: &TrainArgs, of: usize) -> Result<Code> {
    let given = args.settings.clone().or_from_file(args.config.as_deref())?;
    let seed = match &given.validation {
        None => 1,
        Some(PartArg::Part(Validation::Fold { seed, .. } | Validation::Part { seed, .. })) => *seed,
        Some(_) => {
            let problem = "with folds, each part of the training data validates in its turn";
            return Err(Error::setting("validation", problem, "leave it out; --test sets rows aside"));
        }
    };
    let base = folder(&given)?;
    if args.bag && base.join(MODEL).exists() && !args.force {
        let problem = format!("{} already has a model", base.display());
        return Err(Error::setting("out", problem, "give another folder, or --force to replace it"));
    }
    let mut found = Vec::new();
    for number in 1..=of {
        let out = base.join(format!("fold-{number}"));
        if out.exists() && !args.force {
            // A cross-validation that was interrupted goes on.
            let unfinished = || {
                let (run, base) = (out.display(), base.display());
                Error::setting(
                    "out",
                    format!("{run} is not finished"),
                    format!(
                        "finish it with `syva resume {run}`, then \
                    repeat this command with --out {base}; or start again with --force"
                    ),
                )
            };
            let config = read_config(&out)?;
            if config.data.validation != (Validation::Fold { number, of, seed }) {
                let problem = format!("{} is not fold {number} of {of}", out.display());
                return Err(Error::setting("out", problem, "give another folder, or --force to replace it"));
            }
            found.push(Fold::read(&out)?.filter(|fold| fold.is_finished).ok_or_else(unfinished)?);
            output::note(format_args!("syva: fold {number} of {of} is already trained"));
            continue;
        }
        output::note(format_args!("syva: fold {number} of {of}"));
        let validation = Some(PartArg::Part(Validation::Fold { number, of, seed }));
        let settings = Settings { validation, out: Some(out.clone()), ..args.settings.clone() };
        let code = train::train(&TrainArgs { settings, folds: None, bag: false, ..args.clone() })?;
        if code != 0 || signals::received() {
            return Ok(code);
        }
        match Fold::read(&out)? {
            Some(fold) if fold.is_finished => found.push(fold),
            // The time of --for is over.
            _ => return Ok(code),
        }
    }
    output::print(&table(&found));
    if args.bag {
        let path = base.join(MODEL);
        Model::of_several(found.into_iter().map(|fold| fold.model))?.save(&path)?;
        output::print(&format!("model  {} ({of} networks, whose predictions are averaged)\n", path.display()));
    }
    Ok(0)
}

/// The file of the model of all folds.
const MODEL: &str = "model.safetensors";

/// The folder of all folds.
fn folder(given: &Settings) -> Result<PathBuf> {
    if let Some(out) = &given.out {
        return Ok(out.clone());
    }
    let name = match &given.data {
        Some(DataArg::Table(names)) => name_of(&files(names)?),
        _ => "data".into(),
    };
    let free = |number: usize| Path::new("runs").join(format!("{name}-folds-{number:03}"));
    (1..10_000).map(free).find(|path| !path.exists()).ok_or_else(|| {
        let problem = format!("runs has 9999 folders called {name}-folds-…");
        Error::setting("out", problem, "give a folder with --out")
    })
}

/// What a fold came to.
struct Fold {
    model: Model,
    keep: Keep,
    /// The epoch whose weights are kept.
    epoch: Epoch,
    is_finished: bool,
}

impl Fold {
    fn read(run: &Path) -> Result<Option<Self>> {
        let (config, epochs) = (read_config(run)?, read_metrics(run)?);
        let kept = match config.keep {
            Keep::Last => epochs.last(),
            keep @ Keep::Best { .. } => {
                keep.best(&epochs).and_then(|(best, _)| epochs.iter().find(|epoch| epoch.epoch == best))
            }
        };
        let Some(epoch) = kept.cloned() else { return Ok(None) };
        let reached = eval::load(run)?;
        Ok(Some(Self { model: reached.model, keep: config.keep, epoch, is_finished: reached.finished }))
    }
}

/// The results of all folds, with their mean and standard deviation.
fn table(folds: &[Fold]) -> String {
    let metrics: Vec<Metric> = [Metric::ValLoss, Metric::ValAcc, Metric::ValBalancedAcc]
        .into_iter()
        .filter(|metric| folds.iter().all(|fold| metric.of(&fold.epoch).is_some()))
        .collect();
    let number = |metric: Metric, value: f64| match metric {
        Metric::ValLoss => format!("{value:>14.4}"),
        _ => format!("{:>12.2} %", 100.0 * value),
    };
    let mut text = format!("\n{:<8} {:>6}", "fold", "epoch");
    for metric in &metrics {
        text += &format!(" {:>14}", metric.label());
    }
    text.push('\n');
    for (place, fold) in folds.iter().enumerate() {
        text += &format!("{:<8} {:>6}", place + 1, fold.epoch.epoch);
        for &metric in &metrics {
            text += &format!(" {}", number(metric, metric.of(&fold.epoch).unwrap_or(f64::NAN)));
        }
        text.push('\n');
    }
    let (mut mean, mut deviation) = (format!("{:<15}", "mean"), format!("{:<15}", "deviation"));
    for &metric in &metrics {
        let values: Vec<f64> = folds.iter().filter_map(|fold| metric.of(&fold.epoch)).collect();
        let count = values.len() as f64;
        let middle = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - middle) * (value - middle)).sum::<f64>();
        mean += &format!(" {}", number(metric, middle));
        deviation += &format!(" {}", number(metric, (squares / (count - 1.0).max(1.0)).sqrt()));
    }
    let kept = match folds.first().map(|fold| fold.keep) {
        Some(Keep::Best { metric, .. }) => {
            format!("each by the epoch that is best for it by {}, so the mean flatters a little\n", metric.label())
        }
        _ => String::new(),
    };
    format!("{text}{mean}\n{deviation}\n{kept}")
}
