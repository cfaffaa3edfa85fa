//! What `syva eval` says beyond the scores, where a flag asks for it or the loss suggests it: a threshold, a temperature, how
//! important the columns are, and how well quantiles fit.

use serde_json::{Map, Value, json};
use syva::data::{Dataset, Task};
use syva::effects::{Importance, Importances, importance};
use syva::text::{grouped, number};
use syva::{
    Criterion, Error, Loss, Model, PredictedValues, Predictions, QuantileScores, Result, Session, ThresholdScores,
};

use super::{BINS, task_for};
use crate::args::{EvalArgs, SplitArg};
use crate::data::Talk;
use crate::output;

/// How often a column is shuffled.
pub const REPEATS: usize = 10;

/// What was judged, and how.
pub struct Judged<'a> {
    pub args: &'a EvalArgs,
    pub model: &'a Model,
    pub loss: Loss,
    pub task: &'a Task,
    pub part: SplitArg,
    pub data: &'a Dataset,
    pub predictions: Option<&'a Predictions>,
    pub values: Option<&'a PredictedValues>,
}

/// What was found.
pub struct Further {
    threshold: Option<Threshold>,
    temperature: Option<Temperature>,
    importances: Option<Importances>,
    quantiles: Vec<(String, QuantileScores)>,
}

struct Threshold {
    criterion: Criterion,
    /// The name of the positive class.
    positive: String,
    /// How many samples it was chosen on, if it was chosen.
    chosen_on: Option<usize>,
    scores: ThresholdScores,
}

struct Temperature {
    value: f64,
    fitted_on: usize,
    log_loss: [f64; 2],
    calibration_error: [f64; 2],
}

impl Further {
    pub fn of(judged: &Judged<'_>, session: &mut dyn Session) -> Result<Self> {
        let Judged { args, model, .. } = judged;
        let chosen = args.threshold.filter(|criterion| !matches!(criterion, Criterion::Fixed(_)));
        let needs_validation = chosen.is_some() || args.temperature;
        let validation = if needs_validation { Some(validation(judged, session)?) } else { None };
        let threshold = match args.threshold {
            Some(criterion) => Some(threshold(criterion, judged, validation.as_ref())?),
            None => None,
        };
        let temperature = match (judged.predictions, &validation) {
            (Some(predictions), Some(validation)) if args.temperature => {
                let temperature = validation.temperature();
                let both = [predictions, &predictions.at_temperature(temperature)];
                Some(Temperature {
                    value: temperature,
                    fitted_on: validation.samples(),
                    log_loss: both.map(Predictions::log_loss),
                    calibration_error: both.map(|predictions| predictions.calibration_error(BINS)),
                })
            }
            _ => None,
        };
        let importances = if args.importance {
            let (repeats, seed) = (args.repeats.unwrap_or(REPEATS), args.seed.unwrap_or(1));
            Some(importance(session, &model.spec, judged.data, repeats, seed)?)
        } else {
            None
        };
        let mut quantiles = Vec::new();
        if let (Loss::Quantile { q }, Some(values)) = (judged.loss, judged.values) {
            for (name, truth, predicted) in &values.targets {
                quantiles.push((name.clone(), QuantileScores::of(q, truth, predicted)?));
            }
        }
        Ok(Self { threshold, temperature, importances, quantiles })
    }

    pub fn json(&self) -> Map<String, Value> {
        let mut report = Map::new();
        if let Some(Threshold { criterion, positive, chosen_on, scores }) = &self.threshold {
            let mut found = json!(scores);
            found["chosen_by"] = criterion.to_string().into();
            found["chosen_on"] = (*chosen_on).into();
            found["positive_class"] = positive.as_str().into();
            report.insert("threshold".into(), found);
        }
        if let Some(Temperature { value, fitted_on, log_loss, calibration_error }) = &self.temperature {
            let ([loss_before, loss], [error_before, error]) = (log_loss, calibration_error);
            let found = json!({
                "temperature": value, "fitted_on": fitted_on, "log_loss_before": loss_before, "log_loss": loss,
                "calibration_error_before": error_before, "calibration_error": error,
            });
            report.insert("temperature".into(), found);
        }
        if let Some(importances) = &self.importances {
            report.insert("importance".into(), json!(importances));
        }
        if !self.quantiles.is_empty() {
            let found: Map<String, Value> =
                self.quantiles.iter().map(|(name, scores)| (name.clone(), json!(scores))).collect();
            report.insert("quantiles".into(), found.into());
        }
        report
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(found) = &self.threshold {
            text += &found.text();
        }
        if let Some(Temperature { value, fitted_on, log_loss, calibration_error }) = &self.temperature {
            text += &format!(
                "\ntemperature         {value:.4}, fitted to {}\n",
                output::count(*fitted_on as u64, "validation sample")
            );
            for (name, [before, after]) in [("log-loss", log_loss), ("calibration error", calibration_error)] {
                text += &format!("  {name:<17} {before:.4} without, {after:.4} with it\n");
            }
        }
        for (name, QuantileScores { quantile, coverage, pinball_loss }) in &self.quantiles {
            text += &format!(
                "\nquantile {quantile} of {}: {:.2} % of the true numbers are not above it; pinball loss {}\n",
                output::short(name),
                100.0 * coverage,
                number(*pinball_loss)
            );
        }
        text + &self.importances.as_ref().map(describe).unwrap_or_default()
    }
}

impl Threshold {
    fn text(&self) -> String {
        let Self { criterion, positive, chosen_on, scores } = self;
        let by = match criterion {
            Criterion::F1 => "the highest F1".to_string(),
            Criterion::Youden => "the highest true positive rate minus false positive rate".into(),
            Criterion::Cost { false_positive, false_negative } => {
                format!("the lowest cost (false positive {false_positive}, false negative {false_negative})")
            }
            Criterion::Fixed(_) => String::new(),
        };
        let by = chosen_on.map_or(String::new(), |samples| {
            format!(", {by} on {}", output::count(samples as u64, "validation sample"))
        });
        let ThresholdScores { threshold, true_positives, false_positives, false_negatives, true_negatives, .. } =
            scores;
        let mut text = format!("\nthreshold           {threshold:.4} for '{positive}'{by}\n");
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        for (name, value) in [
            ("accuracy", percent(scores.accuracy)),
            ("precision", format!("{:.4}", scores.precision)),
            ("recall", format!("{:.4}", scores.recall)),
            ("specificity", format!("{:.4}", scores.specificity)),
            ("F1", format!("{:.4}", scores.f1)),
        ] {
            text += &format!("  {name:<17} {value}\n");
        }
        text + &format!(
            "  {:<17} true {}, false {}\n  {:<17} true {}, false {}\n",
            "positives",
            grouped(*true_positives),
            grouped(*false_positives),
            "negatives",
            grouped(*true_negatives),
            grouped(*false_negatives),
        )
    }
}

/// The importances, the largest first.
pub fn sorted(importances: &Importances) -> Vec<&Importance> {
    let mut columns: Vec<&Importance> = importances.columns.iter().collect();
    columns.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    columns
}

fn describe(importances: &Importances) -> String {
    let columns = sorted(importances);
    let repeats = columns.first().map_or(0, |column| column.drops.len());
    let mut text = format!(
        "\nimportance: how much the {} of {:.4} drops when a column is shuffled among the rows ({})\n",
        importances.score.name(),
        importances.value,
        output::count(repeats as u64, "time")
    );
    let names: Vec<String> = columns.iter().map(|column| output::short(&column.column)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    text += &format!("{:>width$} {:>9} {:>10}   {}\n", "column", "mean", "deviation", "95 % of the drops");
    for (name, Importance { mean, deviation, interval: [low, high], .. }) in names.iter().zip(columns) {
        text += &format!("{name:>width$} {mean:>9.4} {deviation:>10.4}   {low:.4} … {high:.4}\n");
    }
    text
}

/// The predictions for the samples that validated the training.
fn validation(judged: &Judged<'_>, session: &mut dyn Session) -> Result<Predictions> {
    let Judged { args, model, task, part, predictions, .. } = judged;
    let Some(predictions) = predictions else {
        let setting = if args.temperature { "temperature" } else { "threshold" };
        return Err(Error::setting(setting, "this network does not predict one of several classes", "leave it out"));
    };
    let own;
    let task = if args.data.is_some() && model.spec.schema.is_some() {
        if !args.model.is_dir() {
            let setting = if args.temperature { "temperature" } else { "threshold" };
            let problem = "a model file does not know the samples that validated its training";
            return Err(Error::setting(setting, problem, "name the run's folder instead"));
        }
        own = task_for(&args.model, None, args.data_dir.as_deref(), args.on.threads, Talk::Nothing)?;
        &own
    } else if matches!(part, SplitArg::Val) {
        return Ok((*predictions).clone());
    } else {
        *task
    };
    Predictions::of(session, &model.spec, &task.validation)
}

fn threshold(criterion: Criterion, judged: &Judged<'_>, validation: Option<&Predictions>) -> Result<Threshold> {
    let named = |error| match error {
        Error::Mismatch { problem, remedy } => Error::setting("threshold", problem, remedy),
        other => other,
    };
    let Some(predictions) = judged.predictions else {
        return Err(Error::setting("threshold", "this network does not predict one of two classes", "leave it out"));
    };
    let threshold = criterion.threshold(validation.unwrap_or(predictions)).map_err(named)?;
    let chosen_on = validation.filter(|_| !matches!(criterion, Criterion::Fixed(_))).map(Predictions::samples);
    let positive = judged.model.spec.named_classes().map_or_else(|| "1".into(), |names| output::short(&names[1]));
    let scores = ThresholdScores::at(threshold, predictions).map_err(named)?;
    Ok(Threshold { criterion, positive, chosen_on, scores })
}
