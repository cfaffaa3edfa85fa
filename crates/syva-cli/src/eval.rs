//! `syva eval`: how well a model does on a data set.

pub mod further;

use std::path::{Path, PathBuf};

use syva::data::source::Source;
use syva::data::{Split, Task, fashion_mnist};
use syva::files::write_atomically;
use syva::run::{Reached, RunConfig, no_run, read_config};
use syva::text::{grouped, number};
use syva::{
    Activity, Confusion, Diagnosis, Error, Head, Model, PredictedValues, Predictions, Result, Scores, Training,
    ValueScores,
};

use self::further::{Further, Judged};
use crate::args::{EvalArgs, SplitArg};
use crate::data::{self, Talk};
use crate::folders::runs_in;
use crate::tables::{self, DataArg};
use crate::{images, output};

/// The model in a file or in a run's folder, and the file that it comes from. Prints a note if the run is not finished.
pub fn load(path: &Path) -> Result<Reached> {
    // Folders without a configuration may still hold models.
    if !path.join("config.toml").is_file() {
        let file = model_path(path)?;
        let (model, sealed) = Model::load_sealed(&file)?;
        note_seal(&file, sealed);
        return Ok(Reached { model, file, seen: None, finished: true, over: true, sealed });
    }
    let config = read_config(path)?;
    model_path(path)?;
    let reached = Reached::of(path)?;
    note_seal(&reached.file, reached.sealed);
    if !reached.finished {
        let seen = match reached.seen {
            Some((0, 0)) => "untrained weights".into(),
            Some((epochs, 0)) => format!("the weights of epoch {epochs} of {}", config.training.epochs),
            Some((epochs, steps)) => {
                format!("the weights after {} and {}", output::count(epochs, "epoch"), output::count(steps, "step"))
            }
            None => format!("the weights of step {}", reached.model.state.step),
        };
        let run = path.display();
        output::note(if reached.over {
            // The training is done, and only the model is missing.
            format!(
                "syva: {run}/model.safetensors is missing, or not written yet: using {seen}, from the last checkpoint; \
                 `syva resume {run}` writes the model again"
            )
        } else {
            format!("syva: {run} is not finished: using {seen}, from the last checkpoint")
        });
    }
    Ok(reached)
}

/// Prints a note if nothing proves that a file is unchanged.
fn note_seal(file: &Path, sealed: bool) {
    if !sealed {
        let file = file.display();
        output::note(format_args!("syva: {file} has no SHA-256, so it cannot be checked for damage"));
    }
}

/// A model file as named, or the model of a folder: the final one or, if there is none yet, the last checkpoint.
fn model_path(path: &Path) -> Result<PathBuf> {
    let remedy = "name a model file, or the folder of a run such as runs/mnist-001";
    if !path.exists() {
        return Err(Error::file(path, "the model", "there is no such file or folder", remedy));
    }
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let mut places = ["model.safetensors", "checkpoint/last.safetensors"].map(|place| path.join(place)).into_iter();
    places.find(|place| place.exists()).ok_or_else(|| {
        if runs_in(&[path.to_path_buf()]) != [path] {
            return no_run(path);
        }
        let problem = "this folder has neither model.safetensors nor checkpoint/last.safetensors";
        Error::file(path, "the model", problem, remedy)
    })
}

/// The data for a model: what the user named, otherwise what its run was trained on.
pub fn task_for(
    model: &Path,
    data: Option<Source>,
    data_dir: Option<&Path>,
    threads: Option<usize>,
    talk: Talk,
) -> Result<Task> {
    match data {
        None if model.is_dir() => {
            let config = read_config(model)?.data;
            let task = data::open_of_run(model, &config, data_dir, threads, talk)?;
            check_data(&task, &config.digest).map(|()| task)
        }
        _ => data::open(data.unwrap_or(Source::Auto), data_dir, threads, talk),
    }
}

/// Checks that data is what a run was trained on.
pub fn check_data(task: &Task, digest: &str) -> Result<()> {
    let found = task.digest();
    if found == digest {
        return Ok(());
    }
    let problem = format!("this data ({found:.12}…) is not the data of the run ({digest:.12}…)");
    Err(Error::mismatch(problem, "restore the old data, or give its folder with --data-dir"))
}

/// The data to judge a model by: what the user named, otherwise what its run was trained on. Checked first, so that no data
/// is fetched or drawn that does not fit the network.
fn opened(args: &EvalArgs, model: &Model, config: Option<&RunConfig>, talk: Talk) -> Result<Task> {
    let source = match (&args.data, &model.spec.schema) {
        (Some(DataArg::Table(names)), Some(schema)) => {
            let weight = config.and_then(|config| config.data.table.as_ref()?.columns.weight.as_deref());
            let data = tables::dataset(schema, names, &args.read, weight, &args.model)?;
            let name = tables::name_of(&syva::tables::files(&names.0)?);
            return Ok(Task { schema: model.spec.schema.clone(), ..Task::new(&name, data.clone(), data) });
        }
        (Some(DataArg::Images(path)), None) => {
            return images::task_for(model, path, args.split, args.on.threads);
        }
        (Some(DataArg::Table(_)), None) => {
            let problem = "this model was not trained on a table";
            return Err(Error::setting(
                "data",
                problem,
                "give a named set, such as mnist, or a folder of images, or leave it out",
            ));
        }
        (None, Some(_)) if config.is_some() => None,
        (_, Some(_)) => {
            let problem = "this model was trained on a table";
            return Err(Error::setting("data", problem, "give the file of a table with --data"));
        }
        (Some(DataArg::Named(source)), None) => Some(*source),
        (None, None) => None,
    };
    let has_own = config.is_some_and(|config| config.data.images.is_some() || config.data.table.is_some());
    let source = match source {
        // MNIST's classes have no names.
        None if config.is_none() && !model.spec.class_names.is_empty() => {
            if model.spec.class_names != fashion_mnist::CLASS_NAMES {
                let problem = format!(
                    "this model tells {}, and nothing says where such data is",
                    model.spec.class_names.join(", ")
                );
                return Err(Error::setting("data", problem, "give a folder of images with --data"));
            }
            Some(Source::FashionMnist)
        }
        other => other,
    };
    if source.is_some() || !has_own {
        source.unwrap_or(Source::Auto).check(&model.spec)?;
    }
    task_for(&args.model, source, args.data_dir.as_deref(), args.on.threads, talk)
}

pub fn eval(args: &EvalArgs) -> Result<()> {
    let reached = load(&args.model)?;
    let can_judge = reached.has_seen_all();
    let Reached { file: path, model, .. } = reached;
    let talk = if args.json { Talk::Notices } else { Talk::All };
    let config = if args.model.is_dir() { read_config(&args.model).ok() } else { None };
    // Checked first, so that no data is fetched or drawn that does not fit the network.
    let named = |error| match error {
        Error::Mismatch { problem, remedy } => Error::file(&path, "metadata", problem, remedy),
        other => other,
    };
    let task = opened(args, &model, config.as_ref(), talk).map_err(named)?;
    let (engine, device) = args.on.engine()?;
    // The loss is that of the training, so that the two can be compared.
    let judged_as = config.as_ref().map_or_else(Training::default, |config| config.training.for_evaluation());
    let mut session = model.open(engine.as_ref(), &device, &judged_as)?;
    let part = args.split.unwrap_or(if task.test.is_some() { SplitArg::Test } else { SplitArg::Val });
    let split = if matches!(part, SplitArg::Train) { Split::Train } else { Split::Validation };
    let data = part.of(&task);
    session.load(split, data).map_err(named)?;
    let evaluation = session.evaluate(split)?;
    if !evaluation.loss.is_finite() {
        let problem = "its outputs are not finite, because its weights are too large";
        return Err(Error::file(&path, "the model", problem, "train it again with a smaller learning rate"));
    }
    let classifier = model.spec.classes() > 0;
    let predictions = if classifier { Some(Predictions::of(session.as_mut(), &model.spec, data)?) } else { None };
    let is_values = !classifier && model.spec.head != Head::MultiLabel;
    let predicted = if is_values { Some(PredictedValues::of(session.as_mut(), &model.spec, data)?) } else { None };
    let values = predicted.as_ref().map(PredictedValues::scores).transpose()?;
    let of_labels = if model.spec.head == Head::MultiLabel {
        Some(Predictions::of_labels(session.as_mut(), &model.spec, data)?)
    } else {
        None
    };
    let judged = Judged {
        args,
        model: &model,
        loss: judged_as.loss,
        task: &task,
        part,
        data,
        predictions: predictions.as_ref(),
        values: predicted.as_ref(),
    };
    let further = Further::of(&judged, session.as_mut())?;
    let training = config.as_ref().map(|config| &config.training);
    let found = if can_judge {
        Diagnosis::of(data, &evaluation, Activity::of(&model, data).as_ref(), &model.spec, training)
    } else {
        Diagnosis::default()
    };
    if let Some(out) = &args.predictions {
        write_predictions(out, predictions.as_ref())?;
    }
    let samples = data.samples();
    if args.json {
        let mut report = serde_json::json!({
            "model": path.to_string_lossy(), "data": task.name, "split": part.name(), "samples": samples, "loss": evaluation.loss,
            "steps": model.state.step, "sha256_of_weights": model.digest(),
        });
        if let Some(report) = report.as_object_mut() {
            report.extend(predictions.as_ref().map(judge).unwrap_or_default());
            report.extend(of_labels.as_deref().map(judge_labels).unwrap_or_default());
            report.extend(values.as_deref().map(judge_values).unwrap_or_default());
            if let Some(classes) = model.spec.named_classes() {
                report.insert("classes".into(), serde_json::json!(classes));
            }
            report.extend(further.json());
            report.extend(output::warnings(&found));
        }
        output::json(report);
        return Ok(());
    }
    let mut text = format!(
        "{} {} after {}, on {} {part} samples of {}\n",
        path.display(),
        model.spec.widths(),
        output::count(model.state.step, "step"),
        grouped(samples as u64),
        task.name,
        part = part_in_words(part),
    );
    text += &format!("loss                {} (as in training)\n", number(evaluation.loss));
    if let Some(predictions) = &predictions {
        text += &describe(predictions, model.spec.named_classes());
    }
    for (name, value) in of_labels.as_deref().map(labels).into_iter().flatten() {
        text += &format!("{name:<19} {:.2} %\n", 100.0 * value);
    }
    text += &of_labels.as_deref().map(describe_labels).unwrap_or_default();
    text += &values.as_deref().map(describe_values).unwrap_or_default();
    text += &further.text();
    output::print(&text);
    output::warn(&found);
    Ok(())
}

fn part_in_words(part: SplitArg) -> &'static str {
    match part {
        SplitArg::Train => "training",
        SplitArg::Val => "validation",
        SplitArg::Test => "test",
    }
}

/// The scores of predicted numbers, in the units of the targets.
fn describe_values(values: &[(String, ValueScores)]) -> String {
    let width = values.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(6);
    let mut text = format!(
        "\n{:>width$} {:>12} {:>12} {:>12} {:>12} {:>8}\n",
        "target", "RMSE", "MAE", "median error", "MSE", "R²"
    );
    for (name, ValueScores { mse, rmse, mae, median_absolute_error, r2 }) in values {
        let [rmse, mae, median, mse] = [rmse, mae, median_absolute_error, mse].map(|&score| number(score));
        let r2 = r2.map_or("-".into(), |r2| format!("{r2:.4}"));
        text += &format!("{name:>width$} {rmse:>12} {mae:>12} {median:>12} {mse:>12} {r2:>8}\n");
    }
    text
}

/// The scores of a network with several labels per sample: how many of all labels are right, and of those that are 1 or
/// predicted as 1 (`average="micro"` in scikit-learn).
fn labels(labels: &[(String, Predictions)]) -> [(&'static str, f64); 4] {
    let mut all = Confusion::new(2);
    for (_, label) in labels {
        all.merge(&label.confusion());
    }
    let ones = all.report().classes[1];
    [("label accuracy", all.accuracy()), ("precision", ones.precision), ("recall", ones.recall), ("f1", ones.f1)]
}

/// All scores of a classifier, for JSON.
pub fn judge(predictions: &Predictions) -> serde_json::Map<String, serde_json::Value> {
    let confusion = predictions.confusion();
    let classes = predictions.classes();
    let matrix: Vec<Vec<u64>> =
        (0..classes).map(|truth| (0..classes).map(|guess| confusion.count(truth, guess)).collect()).collect();
    let (auroc, average_precision) = (auroc(predictions), average_precision(predictions));
    let report = serde_json::json!({
        "accuracy": confusion.accuracy(), "balanced_accuracy": confusion.balanced_accuracy(),
        "top_2_accuracy": predictions.top_k_accuracy(2), "log_loss": predictions.log_loss(),
        "brier_score": predictions.brier_score(), "calibration_error": predictions.calibration_error(BINS),
        "auroc_macro": mean(&auroc), "auroc": auroc, "average_precision_macro": mean(&average_precision),
        "average_precision": average_precision, "report": confusion.report(), "confusion": matrix,
        "reliability": predictions.reliability(BINS),
    });
    report.as_object().cloned().unwrap_or_default()
}

/// The scores of predicted numbers, for JSON.
pub fn judge_values(values: &[(String, ValueScores)]) -> serde_json::Map<String, serde_json::Value> {
    let targets: serde_json::Map<String, serde_json::Value> =
        values.iter().map(|(name, scores)| (name.clone(), serde_json::json!(scores))).collect();
    [("targets".into(), targets.into())].into_iter().collect()
}

/// The number of intervals of 0 … 1 for the calibration error, as in torchmetrics.
pub const BINS: usize = 15;

/// The AUROC of each class.
pub fn auroc(predictions: &Predictions) -> Vec<Option<f64>> {
    (0..predictions.classes()).map(|class| predictions.auroc(class)).collect()
}

/// The average precision of each class.
pub fn average_precision(predictions: &Predictions) -> Vec<Option<f64>> {
    (0..predictions.classes()).map(|class| predictions.average_precision(class)).collect()
}

/// The mean of the values. `None` if any is missing.
pub fn mean(values: &[Option<f64>]) -> Option<f64> {
    let values: Option<Vec<f64>> = values.iter().copied().collect();
    values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
}

/// The scores, the report and the confusion matrix, in the layout that is known from scikit-learn.
fn describe(predictions: &Predictions, names: Option<&[String]>) -> String {
    let confusion = predictions.confusion();
    let classes = predictions.classes();
    let mut text = String::new();
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let (auroc, average_precision) = (auroc(predictions), average_precision(predictions));
    for (name, value) in [
        ("accuracy", percent(confusion.accuracy())),
        ("balanced accuracy", percent(confusion.balanced_accuracy())),
        ("top-2 accuracy", percent(predictions.top_k_accuracy(2))),
        ("log-loss", format!("{:.4} (as in scikit-learn)", predictions.log_loss())),
        ("Brier score", format!("{:.4}", predictions.brier_score())),
        ("calibration error", format!("{:.4} (expected, {BINS} bins)", predictions.calibration_error(BINS))),
        ("AUROC", over_classes(&auroc)),
        ("average precision", over_classes(&average_precision)),
    ] {
        text += &format!("{name:<19} {value}\n");
    }
    let report = confusion.report();
    let name = |class: usize| names.map_or_else(|| class.to_string(), |names| output::short(&names[class]));
    text += &format!("\n{}", report_head(12));
    for (class, scores) in report.classes.iter().enumerate() {
        text += &report_row(12, &name(class), scores, [auroc[class], average_precision[class]]);
    }
    text += &format!(
        "\n{:>12} {:>9} {:>9} {:>9.4} {:>9} {:>9} {:>9}\n",
        "accuracy",
        "",
        "",
        confusion.accuracy(),
        "",
        "",
        confusion.total()
    );
    text += &report_row(12, "macro avg", &report.macro_average, [mean(&auroc), mean(&average_precision)]);
    text += &report_row(12, "weighted avg", &report.weighted, [None, None]);

    let largest = (0..classes * classes).map(|i| confusion.count(i / classes, i % classes)).max().unwrap_or(0);
    let width = largest.to_string().len().max(classes.to_string().len()) + 1;
    text += "\nconfusion matrix: rows are the true classes, columns the predicted ones\n     ";
    (0..classes).for_each(|guess| text += &format!("{guess:>width$}"));
    for truth in 0..classes {
        text += &format!("\n{truth:>4} ");
        (0..classes).for_each(|guess| text += &format!("{:>width$}", confusion.count(truth, guess)));
        text += &names.map(|names| format!("  {}", output::short(&names[truth]))).unwrap_or_default();
    }
    text + "\n"
}

/// The mean of a score of each class or label, in words.
fn over_classes(scores: &[Option<f64>]) -> String {
    mean(scores).map_or("undefined: a class has no samples".into(), |mean| format!("{mean:.4} (mean over classes)"))
}

/// The names of the columns of a report. AP is the average precision.
fn report_head(width: usize) -> String {
    format!(
        "{:>width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "", "precision", "recall", "f1-score", "AUROC", "AP", "support"
    )
}

/// A line of a report, with AUROC and average precision.
fn report_row(width: usize, name: &str, scores: &Scores, ranking: [Option<f64>; 2]) -> String {
    let [auroc, ap] = ranking.map(|score| score.map_or("-".into(), |score| format!("{score:.4}")));
    let Scores { precision, recall, f1, support } = scores;
    format!("{name:>width$} {precision:>9.4} {recall:>9.4} {f1:>9.4} {auroc:>9} {ap:>9} {support:>9}\n")
}

/// The scores of each label by itself.
fn describe_labels(labels: &[(String, Predictions)]) -> String {
    let width = labels.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(12);
    let of = |(name, label): &(String, Predictions)| {
        let ranking = [label.auroc(1), label.average_precision(1)];
        report_row(width, name, &label.confusion().report().classes[1], ranking)
    };
    format!("\n{}{}", report_head(width), labels.iter().map(of).collect::<String>())
}

/// The same for JSON.
pub fn judge_labels(labels: &[(String, Predictions)]) -> serde_json::Map<String, serde_json::Value> {
    let of = |score: fn(&Predictions, usize) -> Option<f64>| -> Vec<Option<f64>> {
        labels.iter().map(|(_, label)| score(label, 1)).collect()
    };
    let (auroc, average_precision) = (of(Predictions::auroc), of(Predictions::average_precision));
    let names: Vec<&str> = labels.iter().map(|(name, _)| &name[..]).collect();
    let report = serde_json::json!({
        "labels": names, "auroc_macro": mean(&auroc), "auroc": auroc,
        "average_precision_macro": mean(&average_precision), "average_precision": average_precision,
    });
    let scores = self::labels(labels).into_iter().map(|(name, value)| (name.replace(' ', "_"), value.into()));
    report.as_object().cloned().unwrap_or_default().into_iter().chain(scores).collect()
}

/// Writes one line per sample: its number, class, prediction, and the probability of each class.
fn write_predictions(path: &Path, predictions: Option<&Predictions>) -> Result<()> {
    let Some(predictions) = predictions else {
        let problem = "this network predicts values, not classes";
        return Err(Error::setting("predictions", problem, "leave it out"));
    };
    output::check_out("predictions", path)?;
    write_atomically(path, |file| {
        let names: String =
            (0..predictions.classes()).fold(String::new(), |names, class| names + &format!(",p{class}"));
        writeln!(file, "sample,label,guess{names}")?;
        for sample in 0..predictions.samples() {
            write!(file, "{sample},{},{}", predictions.label(sample), predictions.guess(sample))?;
            for probability in predictions.probabilities(sample) {
                write!(file, ",{probability:e}")?;
            }
            writeln!(file)?;
        }
        Ok(())
    })
}
