//! The details of a run in a report: scores, pictures, settings.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use syva::data::Dataset;
use syva::text::{grouped, number};
use syva::{ImageShape, Model, Predictions, Scores, ValueScores};

use super::themed::Palette;
use super::{Judged, escape};
use crate::hyperparameters::Setting;
use crate::output::shown;
use crate::{eval, pictures, plot};

/// The most misread images that are shown of a run.
const MISREAD: usize = 32;
/// Their longer side on the page, in pixels.
const SIDE: usize = 84;
/// The most points of a picture of predicted numbers.
const MOST_POINTS: usize = 500;
/// The most classes for which there is a confusion matrix. A larger one would be an unreadable picture of many
/// megabytes.
const MOST_CLASSES: usize = 40;

pub fn detail(
    name: &str,
    settings: &[Setting],
    digest: &str,
    note: Option<&str>,
    judged: Option<&Judged>,
    palette: &mut Palette,
) -> String {
    let mut html = note.map_or(String::new(), |note| format!("<p class=nothing>{}</p>\n", escape(note)));
    if let Some(Judged { predictions, evaluation, values, predicted, importances, task }) = judged {
        let names = plot::class_names(task.named_classes());
        if let Some(evaluation) = evaluation {
            html += &format!("<p>validation loss {}</p>\n", number(evaluation.loss));
        }
        if !values.is_empty() {
            html += &targets(values);
        }
        if let Some(predicted) = predicted {
            html += "<div class=pictures>";
            for (what, residuals) in [("true against predicted numbers", false), ("residuals", true)] {
                html += &palette
                    .svg(what, |theme| plot::values::predicted_of(name, predicted, residuals, MOST_POINTS, theme));
            }
            html += "</div>\n";
        }
        if let Some(importances) = importances {
            html += "<div class=pictures>";
            html += &palette.svg("importance of columns", |theme| plot::values::importance(name, importances, theme));
            html += "</div>\n";
        }
        if let Some(predictions) = predictions {
            html += "<h3>Class by class</h3>\n";
            html += &classes(predictions, names.as_deref());
            html += "<div class=pictures>";
            if predictions.classes() <= MOST_CLASSES {
                let title = format!("{name}: confusion matrix");
                html += &palette.svg(&title, |theme| {
                    syva_plot::confusion(&title, &plot::counts(predictions), names.as_deref(), theme)
                });
            }
            html += &palette.svg("reliability", |theme| plot::reliability(name, predictions, theme));
            html += "</div>\n";
            if let Some(image) = ImageShape::of(&task.shape) {
                html += &misread(predictions, &task.validation, image, names.as_deref());
            }
        }
    }
    html += "<h3>Settings</h3>\n<div class=wide><table>\n";
    for setting in settings {
        let (label, text) = (escape(&setting.label()), escape(&shown(&setting.text())));
        let text = if setting.name == "data_sha256" { format!("<code>{text}</code>") } else { text };
        html += &format!("<tr><td>{label}</td><td>{text}</td></tr>\n");
    }
    html + &format!("<tr><td>SHA-256 of the weights</td><td><code>{digest}</code></td></tr>\n</table></div>\n")
}

/// The diagram of a network, without weights. With weights every run's would differ, and a page would have a hundred.
pub fn network(model: &Model, palette: &mut Palette) -> String {
    palette.svg("network", |theme| plot::diagram(&model.spec, None, true, theme))
}

/// The misread images, those with the most certain predictions first: one picture that both themes share, cut into tiles
/// by the page's style.
fn misread(predictions: &Predictions, data: &Dataset, image: ImageShape, names: Option<&[String]>) -> String {
    let (samples, all) = plot::surest_misread(predictions, MISREAD);
    let Some(png) = pictures::column(data, &samples, image) else { return String::new() };
    let scale = SIDE as f64 / image.height.max(image.width) as f64;
    let (w, h) = (scale * image.width as f64, scale * image.height as f64);
    let mut html = format!(
        "<h3>Misread</h3>\n<p class=note>{} of {all} misread images ({} in total): true → predicted, probability</p>\n\
         <div class=tiles style=\"--w:{w:.0}px;--h:{h:.0}px;--sheet:url(data:image/png;base64,{})\">",
        samples.len(),
        grouped(predictions.samples() as u64),
        BASE64_STANDARD.encode(png)
    );
    for (place, &sample) in samples.iter().enumerate() {
        let (truth, guess, probability) = plot::misreading(predictions, sample, names);
        html += &format!(
            "<figure><i style=\"--i:{place}\"></i><figcaption>{} → {}, {probability}</figcaption></figure>",
            escape(&truth),
            escape(&guess)
        );
    }
    html + "</div>\n"
}

/// The scores of each class, and over all classes.
/// The scores of predicted numbers, in their own units.
fn targets(values: &[(String, ValueScores)]) -> String {
    let mut html = "<h3>Target by target</h3>\n<div class=wide><table>\n<tr><th>target</th><th>RMSE</th><th>MAE</th>\
                    <th>median error</th><th>R²</th></tr>\n"
        .to_string();
    for (name, ValueScores { rmse, mae, median_absolute_error, r2, .. }) in values {
        let [rmse, mae, median] = [rmse, mae, median_absolute_error].map(|&score| number(score));
        let (name, r2) = (escape(&shown(name)), r2.map_or(String::new(), |r2| format!("{r2:.4}")));
        html += &format!("<tr><td>{name}</td><td>{rmse}</td><td>{mae}</td><td>{median}</td><td>{r2}</td></tr>\n");
    }
    html + "</table></div>\n"
}

fn classes(predictions: &Predictions, names: Option<&[String]>) -> String {
    let confusion = predictions.confusion();
    let mut html = format!(
        "<p>accuracy {:.2} %, class-balanced {:.2} %, top-2 {:.2} %; log-loss {}, Brier score {:.4}, \
         expected calibration error {:.4}</p>\n",
        100.0 * confusion.accuracy(),
        100.0 * confusion.balanced_accuracy(),
        100.0 * predictions.top_k_accuracy(2),
        number(predictions.log_loss()),
        predictions.brier_score(),
        predictions.calibration_error(eval::BINS)
    );
    html += "<div class=wide><table>\n<tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>AUROC</th><th>average precision</th><th>support</th></tr>\n";
    let report = confusion.report();
    let name = |class: usize| names.map_or_else(|| class.to_string(), |names| escape(&names[class]));
    let (auroc, average_precision) = (eval::auroc(predictions), eval::average_precision(predictions));
    let line = |name: &str, scores: &Scores, ranking: [Option<f64>; 2]| {
        let [auroc, ap] = ranking.map(|score| score.map_or(String::new(), |score| format!("{score:.4}")));
        let Scores { precision, recall, f1, support } = scores;
        format!(
            "<tr><td>{name}</td><td>{precision:.4}</td><td>{recall:.4}</td><td>{f1:.4}</td><td>{auroc}</td><td>{ap}</td><td>{support}</td></tr>\n"
        )
    };
    let rows = report
        .classes
        .iter()
        .enumerate()
        .map(|(class, scores)| (name(class), scores, [auroc[class], average_precision[class]]));
    html += &rows.map(|(name, scores, ranking)| line(&name, scores, ranking)).collect::<String>();
    html += &format!(
        "<tr><td>accuracy</td><td></td><td></td><td>{:.4}</td><td></td><td></td><td>{}</td></tr>\n",
        confusion.accuracy(),
        confusion.total()
    );
    html += &line("macro average", &report.macro_average, [eval::mean(&auroc), eval::mean(&average_precision)]);
    html += &line("weighted average", &report.weighted, [None, None]);
    html + "</table></div>\n"
}
