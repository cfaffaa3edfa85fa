//! `syva report`: runs side by side in one HTML file that needs nothing besides.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use syva::files::write_atomically;
use syva::run::{Reached, RunConfig, read_config, read_metrics};
use syva::{EngineOptions, Epoch, Error, Evaluation, Model, Overfitting, Predictions, Result, Scores};
use syva_plot::{Picture, Theme};

use crate::args::ReportFileArgs;
use crate::data::Talk;
use crate::{curves, eval, output, plot};

const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// All that is known of a run.
struct Run {
    name: String,
    config: RunConfig,
    epochs: Vec<Epoch>,
    overfitting: Option<Overfitting>,
    model: Model,
    /// The epoch whose weights the model holds, and what is known of it.
    of_model: Epoch,
    /// Where its data is at hand.
    judged: Option<Judged>,
}

struct Judged {
    predictions: Option<Predictions>,
    evaluation: Evaluation,
    misread: Option<[Picture; 2]>,
}

pub fn report(args: &ReportFileArgs) -> Result<()> {
    let runs = args.runs.iter().map(|run| read(run, args.data_dir.as_deref())).collect::<Result<Vec<Run>>>()?;
    let out = args.out.clone().unwrap_or_else(|| match &args.runs[..] {
        [run] => run.join("report.html"),
        _ => PathBuf::from("report.html"),
    });
    output::check_out("out", &out)?;
    let page = page(&runs)?;
    write_atomically(&out, |file| file.write_all(page.as_bytes()))?;
    output::line(out.display());
    Ok(())
}

fn read(path: &Path, data_dir: Option<&Path>) -> Result<Run> {
    let config = read_config(path)?;
    let epochs = read_metrics(path)?;
    if epochs.is_empty() {
        let problem = "it has not finished an epoch, so there is nothing to report";
        return Err(Error::file(path, "metrics.jsonl", problem, "train first"));
    }
    let Reached { model, seen, .. } = eval::load(path)?;
    let last = epochs[epochs.len() - 1].clone();
    let of_model =
        seen.and_then(|(epoch, _)| epochs.iter().find(|found| found.epoch == epoch)).cloned().unwrap_or(last);
    let name = output::name_of(path);
    let judged = match judge(path, &name, &model, data_dir) {
        Ok(judged) => Some(judged),
        Err(error) => {
            output::note(format_args!("syva: {}: reported without evaluation: {error}", path.display()));
            None
        }
    };
    Ok(Run { name, overfitting: Overfitting::of(&epochs), config, epochs, model, of_model, judged })
}

fn judge(path: &Path, name: &str, model: &Model, data_dir: Option<&Path>) -> Result<Judged> {
    let task = eval::task_for(path, None, data_dir, None, Talk::Notices)?;
    let (engine, device) = syva::engine("auto", EngineOptions::default())?;
    let mut session = engine.open(&device, &model.spec)?;
    session.load(syva::data::Split::Validation, &task.validation)?;
    session.set_state(&model.state)?;
    let evaluation = session.evaluate(syva::data::Split::Validation)?;
    let classes = model.spec.classes() > 0;
    let predictions =
        if classes { Some(Predictions::of(session.as_mut(), &model.spec, &task.validation)?) } else { None };
    let misread = match (&predictions, &task.shape[..]) {
        (Some(predictions), &[height, width]) => {
            let draw = |theme| plot::misread(name, predictions, &task.validation, [height, width], 32, theme);
            Some([Theme::Light, Theme::Dark].map(draw))
        }
        _ => None,
    };
    Ok(Judged { predictions, evaluation, misread })
}

fn page(runs: &[Run]) -> Result<String> {
    let names: Vec<String> = runs.iter().map(|run| escape(&run.name)).collect();
    let mut body = format!("<h1>{}</h1>\n", names.join(", "));
    let best = best(runs);
    let versions: Vec<&str> = runs.iter().map(|run| run.config.syva.as_str()).collect();
    body += &format!("<p class=note>trained with syva {}</p>\n", escape(&distinct(&versions).join(", ")));
    for run in runs {
        if let Some(found) = run.overfitting {
            let lead = if runs.len() > 1 { format!("{}: ", escape(&run.name)) } else { String::new() };
            body += &format!("<p>{lead}{}</p>\n", escape(&found.to_string()).replace('\n', "; "));
        }
    }
    body += "<p class='note narrow'>Wide tables and pictures scroll sideways.</p>\n";
    body += "<h2>Curves</h2>\n<p class=note>Drag to zoom into a range of epochs; double-click to see all again.</p>\n";
    body += "<div class=charts>";
    for (metric, title) in [("loss", "loss"), ("acc", "accuracy")] {
        body += &format!("<div class=chart data-metric={metric}><div class=title>{title}</div></div>");
    }
    body += &format!("</div>\n<noscript>{}</noscript>\n", runs.iter().map(static_curves).collect::<String>());
    body += "<h2>Runs</h2>\n";
    body += &comparison(runs, best);
    for (place, run) in runs.iter().enumerate() {
        let heading = format!("<h2>{} in detail</h2>", escape(&run.name));
        // Of several runs only the best is laid open.
        let open = if best.is_none_or(|best| best == place) { " open" } else { "" };
        body += &format!("<details{open}><summary>{heading}</summary>\n{}</details>\n", details(run)?);
    }
    body += &networks(runs);
    // No tag, comment or script may begin in a script's data, whatever the names are.
    let data = serde_json::to_string(
        &runs.iter().enumerate().map(|(place, run)| series(place, runs.len(), run)).collect::<Vec<_>>(),
    )
    .unwrap_or_default()
    .replace('<', "\\u003c");
    Ok(format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n<body>\n{body}\
         <script type=application/json id=data>{data}</script>\n<script>\n{SCRIPT}</script>\n</html>\n",
        names.join(", ")
    ))
}

/// A run's curves, and how they look; for the script.
fn series(place: usize, runs: usize, run: &Run) -> serde_json::Value {
    let values = |pick: &dyn Fn(&Epoch) -> Option<f64>| run.epochs.iter().filter_map(pick).collect::<Vec<f64>>();
    let look = |training| {
        let (color, dash) = curves::look(place, runs, training, false);
        serde_json::json!({ "color": color, "dash": dash })
    };
    serde_json::json!({
        "name": run.name, "train_look": look(true), "val_look": look(false),
        "epoch": run.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(),
        "train_loss": values(&|epoch| Some(epoch.train_loss)), "val_loss": values(&|epoch| Some(epoch.val_loss)),
        "train_acc": values(&|epoch| epoch.train_acc), "val_acc": values(&|epoch| epoch.val_acc),
    })
}

/// For readers that run no scripts.
fn static_curves(run: &Run) -> String {
    both(|theme| curves::of_report(&run.name, &run.epochs, theme))
}

/// Which of several runs has the best model: by its val accuracy, or where there are no classes by its val loss.
fn best(runs: &[Run]) -> Option<usize> {
    let score = |run: &Run| run.of_model.val_acc.unwrap_or(-run.of_model.val_loss);
    let comparable = runs.iter().all(|run| run.config.data.digest == runs[0].config.data.digest);
    let best = (0..runs.len()).max_by(|&a, &b| score(&runs[a]).total_cmp(&score(&runs[b])).then(b.cmp(&a)));
    best.filter(|_| runs.len() > 1 && comparable)
}

/// One column a run: how it was trained, what came of it, what it took.
fn comparison(runs: &[Run], best: Option<usize>) -> String {
    let mut table = String::from("<div class=wide><table>\n<tr><th></th>");
    for (place, run) in runs.iter().enumerate() {
        let mark = if best == Some(place) { "<br><span class=best>best of these</span>" } else { "" };
        table += &format!("<th>{}{mark}</th>", escape(&run.name));
    }
    table += "</tr>\n";
    let mut row = |name: &str, cell: &dyn Fn(&Run) -> String| {
        let cells: String = runs.iter().fold(String::new(), |cells, run| cells + "<td>" + &cell(run) + "</td>");
        table += &format!("<tr><td>{name}</td>{cells}</tr>\n");
    };
    let percent = |share: Option<f64>| share.map_or("–".into(), |share| format!("{:.2} %", 100.0 * share));
    let last = |run: &Run| run.epochs[run.epochs.len() - 1].clone();
    let seconds = |run: &Run, pick: fn(&Epoch) -> f64| run.epochs.iter().map(pick).sum::<f64>();
    row("data", &|run| escape(&run.config.data.source));
    row("network", &|run| run.config.network.widths());
    row("activation", &|run| run.config.network.layers[0].activation.to_string());
    row("parameters", &|run| run.config.network.parameters().to_string());
    row("epochs", &|run| format!("{} of {}", last(run).epoch, run.config.training.epochs));
    row("batch size", &|run| run.config.training.batch_size.to_string());
    row("learning rate", &|run| format!("{:?}", run.config.training.learning_rate));
    row("seed", &|run| run.config.training.seed.to_string());
    row("the model holds the weights of", &|run| format!("epoch {}", run.of_model.epoch));
    row("<b>its val accuracy</b>", &|run| format!("<b>{}</b>", percent(run.of_model.val_acc)));
    row("its val loss", &|run| format!("{:.4}", run.of_model.val_loss));
    row("last epoch: train loss", &|run| format!("{:.4}", last(run).train_loss));
    row("last epoch: val loss", &|run| format!("{:.4}", last(run).val_loss));
    row("last epoch: train accuracy", &|run| percent(last(run).train_acc));
    row("last epoch: val accuracy", &|run| percent(last(run).val_acc));
    row("lowest val loss", &|run| {
        run.overfitting.map_or(String::new(), |o| format!("{:.4} (epoch {})", o.best_val_loss, o.best_epoch))
    });
    row("device", &|run| escape(&run.config.device));
    row("training", &|run| format!("{:.1} s", seconds(run, |epoch| epoch.train_seconds)));
    row("an epoch", &|run| format!("{:.3} s", seconds(run, |epoch| epoch.train_seconds) / run.epochs.len() as f64));
    row("evaluation", &|run| format!("{:.1} s", seconds(run, |epoch| epoch.eval_seconds)));
    row("SHA-256 of the weights", &|run| format!("<code>{}</code>", run.model.state.digest()));
    row("SHA-256 of the data", &|run| format!("<code>{}</code>", escape(&run.config.data.digest)));
    table + "</table></div>\n"
}

fn details(run: &Run) -> Result<String> {
    let mut html = String::new();
    if let Some(judged) = &run.judged {
        if let Some(predictions) = &judged.predictions {
            html += "<h3>Class by class</h3>\n";
            html += &classes(predictions);
            let title = format!("{}: confusion matrix", run.name);
            html += "<div class=pictures>";
            html += &both(|theme| syva_plot::confusion(&title, &plot::counts(predictions), theme));
            html += &both(|theme| plot::reliability(&run.name, predictions, theme));
            html += "</div>\n";
        } else {
            html += &format!("<p>validation loss {:.4}</p>\n", judged.evaluation.loss);
        }
        if let Some([light, dark]) = &judged.misread {
            html += "<h3>Misread</h3>\n<div class='pictures misread'>";
            for (picture, theme) in [(light, "light"), (dark, "dark")] {
                let png = picture.to_png().map_err(|problem| Error::mismatch(problem, "report this"))?;
                html += &image("png", &png, theme);
            }
            html += "</div>\n";
        }
    }
    Ok(html)
}

/// The diagrams of the networks; those of several runs that look the same, once.
fn networks(runs: &[Run]) -> String {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for run in runs {
        let picture = both(|theme| plot::diagram(&run.model.spec, Some(&run.model.state), theme));
        match found.iter_mut().find(|(known, _)| *known == picture) {
            Some((_, names)) => names.push(escape(&run.name)),
            None => found.push((picture, vec![escape(&run.name)])),
        }
    }
    let part = |(picture, names): &(String, Vec<String>)| {
        let of = if runs.len() > 1 { format!(" of {}", names.join(", ")) } else { String::new() };
        format!("<h2>Network{of}</h2>\n<div class=pictures>{picture}</div>\n")
    };
    found.iter().map(part).collect()
}

/// Scores of each class and of all.
fn classes(predictions: &Predictions) -> String {
    let confusion = predictions.confusion();
    let mut html = format!(
        "<p>accuracy {:.2} %, class-balanced {:.2} %, among the top two {:.2} %; log-loss {:.4}, Brier score {:.4}, \
         expected calibration error {:.4}</p>\n",
        100.0 * confusion.accuracy(),
        100.0 * confusion.balanced_accuracy(),
        100.0 * predictions.top_k_accuracy(2),
        predictions.log_loss(),
        predictions.brier_score(),
        predictions.calibration_error(eval::BINS)
    );
    html += "<div class=wide><table>\n<tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>AUROC</th><th>support</th></tr>\n";
    let report = confusion.report();
    let line = |name: &str, scores: &Scores, auroc: Option<f64>| {
        let auroc = auroc.map_or(String::new(), |auroc| format!("{auroc:.4}"));
        let Scores { precision, recall, f1, support } = scores;
        format!(
            "<tr><td>{name}</td><td>{precision:.4}</td><td>{recall:.4}</td><td>{f1:.4}</td><td>{auroc}</td><td>{support}</td></tr>\n"
        )
    };
    let rows =
        report.classes.iter().enumerate().map(|(class, scores)| (class.to_string(), scores, predictions.auroc(class)));
    html += &rows.map(|(name, scores, auroc)| line(&name, scores, auroc)).collect::<String>();
    html += &format!(
        "<tr><td>accuracy</td><td></td><td></td><td>{:.4}</td><td></td><td>{}</td></tr>\n",
        confusion.accuracy(),
        confusion.total()
    );
    html += &line("macro average", &report.macro_average, eval::macro_auroc(predictions));
    html += &line("weighted average", &report.weighted, None);
    html + "</table></div>\n"
}

/// A picture for light and for dark pages.
fn both(draw: impl Fn(Theme) -> Picture) -> String {
    let one = |(theme, name)| image("svg+xml", draw(theme).to_svg().as_bytes(), name);
    [(Theme::Light, "light"), (Theme::Dark, "dark")].map(one).concat()
}

fn image(kind: &str, bytes: &[u8], class: &str) -> String {
    format!("<img class={class} alt=\"\" src=\"data:image/{kind};base64,{}\">", BASE64_STANDARD.encode(bytes))
}

fn distinct<'a>(values: &[&'a str]) -> Vec<&'a str> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
