//! `syva report`: runs side by side in one self-contained HTML file.
//!
//! Runs are read one after the other, and only what the page shows of each is kept: its figures, and the HTML of its
//! details. A browser treats the details as text until they are opened, so that a page of a hundred runs appears at
//! once.

mod detail;
mod groups;
mod tables;
mod themed;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use syva::data::{Split, Task};
use syva::effects::{Importances, importance};
use syva::files::{stay_inside, write_atomically};
use syva::ops::Judging;
use syva::run::{Reached, RunConfig, read_run};
use syva::{
    Activity, DeviceId, Diagnosis, Engine, EngineOptions, Epoch, Error, Evaluation, Head, Model, Overfitting,
    PredictedValues, Predictions, Result, ValueScores,
};

use self::groups::{Group, Spread, group};
use self::themed::Palette;
use crate::args::ReportFileArgs;
use crate::data::Talk;
use crate::eval::further::REPEATS;
use crate::folders::{names, natural, runs_in};
use crate::hyperparameters::{self, Setting};
use crate::{curves, eval, output};

const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// The most runs that get their verdict in a sentence each. With more, the table shows it.
const MOST_SENTENCES: usize = 4;
/// Without a terminal, a line reports the progress every time this many runs have been read.
const PROGRESS_EVERY: usize = 10;
/// The most epochs whose values are in the page. With more, only every second is, or every third, and so on.
const MOST_EPOCHS: usize = 1000;
/// The most rows that are predicted to find out how important columns are.
const MOST_SHUFFLED: usize = 2_000_000;

/// What the page shows of a run.
struct Run {
    name: String,
    config: RunConfig,
    settings: Vec<Setting>,
    epochs: Vec<Epoch>,
    overfitting: Overfitting,
    /// Whether it learned nothing, and what to try.
    diagnosis: Diagnosis,
    /// The weights that the details are of.
    weights: Weights,
    /// The weights' SHA-256.
    digest: String,
    /// The HTML of the details.
    detail: String,
    network: String,
}

impl Run {
    fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The verdict on the run, as HTML: that it learned nothing, or what its curves say.
    fn verdict(&self) -> String {
        let mut text = self.diagnosis.to_string();
        if !self.diagnosis.learned_nothing() {
            text = format!("{}\n{text}", self.overfitting);
        }
        escape(text.trim_end()).replace('\n', "; ")
    }

    fn last(&self) -> &Epoch {
        // A run without an epoch is not in the report.
        &self.epochs[self.epochs.len() - 1]
    }
}

/// A run's weights: those of its model, or of its last checkpoint if it is not finished.
struct Weights {
    /// The epoch after which they were saved. `None` for a checkpoint of an unfinished run.
    epoch: Option<u64>,
    /// The number of steps that led to them.
    steps: u64,
    /// What to know about a checkpoint of an unfinished run.
    note: Option<String>,
    /// How good they are, if that is known.
    val_loss: Option<f64>,
    val_acc: Option<f64>,
}

impl Weights {
    fn of(reached: &Reached, epochs: &[Epoch], judged: Option<&Judged>) -> Self {
        let last = epochs.last();
        // If only the model is missing, the run is finished all the same.
        let finished = reached.finished || reached.over;
        let epoch = match reached.seen {
            Some((epoch, 0)) => epochs.iter().find(|found| found.epoch == epoch),
            None if finished => last,
            _ => None,
        };
        let steps = reached.model.state.step;
        let found = judged.and_then(Judged::scores);
        let (val_loss, val_acc) = match epoch {
            Some(epoch) => (Some(epoch.val_loss), epoch.val_acc),
            None => (found.map(|(loss, _)| loss), found.and_then(|(_, acc)| acc)),
        };
        let note = (!finished).then(|| {
            let what = format!(
                "the run is not finished, and this is about its last checkpoint, after {}",
                output::count(steps, "step")
            );
            let last = last.map_or(0, |last| last.epoch);
            match reached.seen {
                _ if steps == 0 => format!("{what}: the untrained weights, from before the epochs of the curves"),
                Some((epochs, _)) if epochs < last => {
                    format!("{what}, from before the last epoch of the curves ({last})")
                }
                _ => what,
            }
        });
        let epoch = epoch.filter(|_| finished).map(|epoch| epoch.epoch);
        Self { epoch, steps, note, val_loss, val_acc }
    }
}

/// The evaluation of a model on its validation data.
struct Judged {
    predictions: Option<Predictions>,
    evaluation: Option<Evaluation>,
    /// The scores of each target that is a number.
    values: Vec<(String, ValueScores)>,
    /// The predicted numbers.
    predicted: Option<PredictedValues>,
    /// How important the columns of a table are, if that does not take long.
    importances: Option<Importances>,
    task: Rc<Task>,
}

impl Judged {
    /// Loss (that of the training) and accuracy.
    fn scores(&self) -> Option<(f64, Option<f64>)> {
        match (&self.predictions, &self.evaluation) {
            (Some(found), evaluation) => {
                let loss = evaluation.as_ref().map_or_else(|| found.log_loss(), |evaluation| evaluation.loss);
                Some((loss, Some(found.confusion().accuracy())))
            }
            (None, Some(Evaluation { loss, confusion })) => {
                Some((*loss, (confusion.classes() > 0).then(|| confusion.accuracy())))
            }
            (None, None) => None,
        }
    }

    /// Whether the model learned anything. Its units are examined only if not, because that takes as long as everything
    /// else.
    fn diagnosis(&self, model: &Model, config: &RunConfig) -> Diagnosis {
        let data = &self.task.validation;
        let look = |activity: Option<&Activity>| {
            let training = Some(&config.training);
            match (&self.predictions, &self.evaluation) {
                (Some(found), None) => {
                    Diagnosis::new(&found.confusion(), found.log_loss(), activity, &model.spec, training)
                }
                (_, Some(evaluation)) => Diagnosis::of(data, evaluation, activity, &model.spec, training),
                (None, None) => Diagnosis::default(),
            }
        };
        let first = look(None);
        if first.learned_nothing() { look(Activity::of(model, data).as_ref()) } else { first }
    }
}

pub fn report(args: &ReportFileArgs) -> Result<()> {
    let out = args.out.clone().unwrap_or_else(|| match &args.runs[..] {
        [run] if run.join("config.toml").is_file() => run.join("report.html"),
        _ => PathBuf::from("report.html"),
    });
    if let (None, [run]) = (&args.out, &args.runs[..]) {
        stay_inside(run, &out)?;
    }
    output::check_out("out", &out)?;
    output::check_ending("out", &out, &["html", "htm"])?;
    let (page, shown) = read_all(args)?;
    write_atomically(&out, |file| file.write_all(page.as_bytes()))?;
    if shown.skipped > 0 {
        let text = format_args!("syva: {} of {} runs shown", shown.runs, shown.runs + shown.skipped);
        output::note(text);
    }
    output::line(out.display());
    Ok(())
}

/// The numbers of runs that the page shows, and of runs that it cannot show.
struct Shown {
    runs: usize,
    skipped: usize,
}

/// Reads the runs, and makes the page of those that can be shown.
fn read_all(args: &ReportFileArgs) -> Result<(String, Shown)> {
    // A folder that is named twice counts as one run.
    let (mut folders, mut known) = (Vec::new(), Vec::new());
    for run in &runs_in(&args.runs) {
        let whole = run.canonicalize().unwrap_or_else(|_| run.clone());
        if !known.contains(&whole) {
            known.push(whole);
            folders.push(run.clone());
        }
    }
    let mut paths: Vec<(String, &Path)> =
        names(&folders).into_iter().zip(folders.iter().map(PathBuf::as_path)).collect();
    paths.sort_by(|a, b| natural(&a.0, &b.0));
    let mut judge = Judge { data_dir: args.data_dir.clone(), tasks: Vec::new(), device: None };
    let mut palette = Palette::default();
    let progress = Progress::new(paths.len());
    let (mut runs, mut skipped) = (Vec::new(), Vec::new());
    for (name, path) in &paths {
        match read(path, name, &mut judge, &mut palette) {
            Ok(run) => runs.push(run),
            Err(error) if paths.len() == 1 => return Err(error),
            Err(error) => {
                progress.bar.suspend(|| output::note(format_args!("syva: left out of the report: {error}")));
                skipped.push((name.clone(), error.to_string()));
            }
        }
        progress.step();
    }
    progress.bar.finish_and_clear();
    if runs.is_empty() {
        let problem = format!("none of the {} folders holds a run that can be shown", paths.len());
        return Err(Error::mismatch(problem, "name folders of runs that have trained an epoch"));
    }
    let shown = Shown { runs: runs.len(), skipped: skipped.len() };
    Ok((page(&runs, &skipped, &mut palette), shown))
}

/// Reports how many runs are read: with a bar on a terminal, otherwise with a line now and then if there are many.
struct Progress {
    bar: ProgressBar,
    runs: usize,
}

impl Progress {
    fn new(runs: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(runs as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos} of {len} runs read") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        if runs > 1 && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self { bar, runs }
    }

    fn step(&self) {
        self.bar.inc(1);
        let done = self.bar.position() as usize;
        if self.bar.is_hidden() && done.is_multiple_of(PROGRESS_EVERY) && done < self.runs {
            output::note(format_args!("syva: {done} of {} runs read", self.runs));
        }
    }
}

/// What identifies data: its digest, and the folder that it was read from.
type DataKey = (String, Option<PathBuf>);

/// Evaluates the models of all runs. Data and engine are opened only once.
struct Judge {
    data_dir: Option<PathBuf>,
    tasks: Vec<(DataKey, Rc<Task>)>,
    device: Option<(Box<dyn Engine>, DeviceId)>,
}

impl Judge {
    fn task(&mut self, path: &Path, config: &RunConfig) -> Result<Rc<Task>> {
        let key = (config.data.digest.clone(), config.data.dir.clone());
        if let Some((_, task)) = self.tasks.iter().find(|(known, _)| *known == key) {
            return Ok(Rc::clone(task));
        }
        let task = Rc::new(eval::task_for(path, None, self.data_dir.as_deref(), None, Talk::Notices)?);
        self.tasks.push((key, Rc::clone(&task)));
        Ok(task)
    }

    fn judge(&mut self, path: &Path, config: &RunConfig, model: &Model) -> Result<Judged> {
        let task = self.task(path, config)?;
        if self.device.is_none() {
            self.device = Some(syva::engine("auto", EngineOptions::default())?);
        }
        let Some((engine, device)) = &self.device else { return Err(Error::mismatch("no engine", "report this")) };
        let training = config.training.for_evaluation();
        let mut session = engine.open(device, &model.spec, &training)?;
        session.set_state(&model.state)?;
        let (mut predictions, mut evaluation) = (None, None);
        let classes = model.spec.classes() > 0;
        if classes {
            predictions = Some(Predictions::of(session.as_mut(), &model.spec, &task.validation)?);
        }
        // The loss of classes follows from their probabilities, unless it is another than the head's own.
        if !classes || training.check(&model.spec)? != Judging::own(model.spec.head) {
            session.load(Split::Validation, &task.validation)?;
            evaluation = Some(session.evaluate(Split::Validation)?);
        }
        let (mut values, mut predicted) = (Vec::new(), None);
        if !classes && model.spec.head != Head::MultiLabel {
            let found = PredictedValues::of(session.as_mut(), &model.spec, &task.validation)?;
            values = found.scores()?;
            predicted = Some(found);
        }
        let mut importances = None;
        if let Some(schema) = &model.spec.schema {
            let rows = task.validation.samples() * schema.features.len() * REPEATS;
            if rows <= MOST_SHUFFLED {
                // A score that is undefined leaves the page without this picture.
                importances = importance(session.as_mut(), &model.spec, &task.validation, REPEATS, 1).ok();
            }
        }
        Ok(Judged { predictions, evaluation, values, predicted, importances, task })
    }
}

fn read(path: &Path, name: &str, judge: &mut Judge, palette: &mut Palette) -> Result<Run> {
    let (config, epochs) = read_run(path)?;
    let Some(overfitting) = Overfitting::of(&epochs) else {
        let problem = "it has not finished an epoch, so there is nothing to report";
        return Err(Error::file(path, "metrics.jsonl", problem, output::unless_not_finite(path)));
    };
    let reached = eval::load(path)?;
    let judged = match judge.judge(path, &config, &reached.model) {
        Ok(judged) => Some(judged),
        Err(error) => {
            output::note(format_args!("syva: {}: reported without evaluation: {error}", path.display()));
            None
        }
    };
    let model = &reached.model;
    let can_judge = judged.as_ref().filter(|_| reached.has_seen_all());
    let diagnosis = can_judge.map_or_else(Diagnosis::default, |judged| judged.diagnosis(model, &config));
    let weights = Weights::of(&reached, &epochs, judged.as_ref());
    let settings = hyperparameters::of(&config);
    let digest = model.digest();
    let note = weights.note.as_deref();
    let detail = detail::detail(name, &settings, &digest, note, judged.as_ref(), palette);
    let network = detail::network(model, palette);
    Ok(Run {
        name: name.to_string(),
        settings,
        config,
        overfitting,
        diagnosis,
        weights,
        digest,
        detail,
        network,
        epochs,
    })
}

fn page(runs: &[Run], skipped: &[(String, String)], palette: &mut Palette) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let all = names.join(", ");
    let title = if names.len() == 1 || all.chars().count() <= 60 { all } else { format!("{} runs", names.len()) };
    let differing = tables::differing(runs);
    let groups = group(runs, &differing);
    let best = best(runs);
    let mut body = format!("<h1>{}</h1>\n", isolated(&title));
    body += &left_out(skipped);
    if runs.len() <= MOST_SENTENCES {
        for run in runs {
            let lead = if runs.len() > 1 { format!("{}: ", isolated(&run.name)) } else { String::new() };
            body += &format!("<p>{lead}{}</p>\n", run.verdict());
        }
    }
    body += "<p class='note narrow'>Wide tables and pictures scroll sideways.</p>\n";
    body += "<h2>Curves</h2>\n<p class=note>Drag to zoom into a range of epochs; double-click to reset the zoom. Click a \
             name in the legend to highlight it.</p>\n";
    let banded = groups.iter().any(|group| group.seeds().len() > 1);
    if banded {
        body += "<p class=note>Lines are means over the seeds, with bands of one standard deviation. <label>\
                 <input type=checkbox id=each> show each run instead</label></p>\n";
    }
    body += "<div class=charts>";
    for (metric, title) in [("loss", "loss"), ("acc", "accuracy")] {
        body += &format!("<div class=chart data-metric={metric}><div class=title>{title}</div></div>");
    }
    body += &format!("</div>\n<noscript>{}</noscript>\n", static_curves(runs, &groups, palette));
    if banded {
        body += "<h2>Means over seeds</h2>\n<p class=note>Runs that differ only in their seeds share a row: mean ± standard \
                 deviation.</p>\n";
        body += &tables::groups(&groups, &differing);
    }
    body += if runs.len() > 1 { "<h2>Runs</h2>\n" } else { "<h2>Results</h2>\n" };
    body += &tables::runs(runs, &differing, best);
    for (place, run) in runs.iter().enumerate() {
        // If there are only a few runs, the best one is open.
        let open = if runs.len() == 1 || runs.len() <= 6 && best == Some(place) { " open" } else { "" };
        let mark = if best == Some(place) { " <span class=best>best of these</span>" } else { "" };
        let heading = format!("<h2>{} in detail</h2>{mark}", isolated(&run.name));
        let verdict = format!("<p>{}</p>\n", run.verdict());
        let verdict = if runs.len() > MOST_SENTENCES { verdict.as_str() } else { "" };
        body += &opens(&heading, open, &[verdict, &run.detail].concat());
    }
    body += &networks(runs);
    let series: Vec<_> = groups.iter().enumerate().map(|(place, group)| series(place, groups.len(), group)).collect();
    // No tag, comment or script may begin in a script's data, whatever the names are.
    let data = serde_json::to_string(&series).unwrap_or_default().replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
         <title>{}</title>\n<style>\n{STYLE}{}</style>\n<body>\n{body}\
         <script type=application/json id=data>{data}</script>\n<script>\n{SCRIPT}</script>\n</html>\n",
        escape(&title),
        palette.css()
    )
}

/// The runs that are not shown, and the reasons.
fn left_out(skipped: &[(String, String)]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    let lines: String = skipped.iter().fold(String::new(), |lines, (name, why)| {
        lines + &format!("<li>{}: {}</li>", isolated(name), escape(&output::shown(why)))
    });
    let open = if skipped.len() <= MOST_SENTENCES { " open" } else { "" };
    let runs = output::count(skipped.len() as u64, "run");
    format!("<details class=note{open}><summary>{runs} left out</summary><ul>{lines}</ul></details>\n")
}

/// A section that opens on a click. A browser that runs scripts treats it as text until then; others lay it out at
/// once.
fn opens(heading: &str, open: &str, content: &str) -> String {
    format!("<details{open}><summary>{heading}</summary>\n<noscript>{content}</noscript></details>\n")
}

/// A group's curves and their look, for the script.
fn series(place: usize, groups: usize, group: &Group<'_>) -> serde_json::Value {
    let look = |training| {
        let (color, dash) = curves::look(place, groups, training, false);
        serde_json::json!({ "color": color, "dash": dash })
    };
    let seeds = group.seeds();
    let epochs = group.epochs();
    let every = epochs.len().div_ceil(MOST_EPOCHS).max(1);
    let kept = |place: usize| place.is_multiple_of(every) || place + 1 == epochs.len();
    let epochs: Vec<&Vec<&Epoch>> =
        epochs.iter().enumerate().filter(|(place, _)| kept(*place)).map(|(_, epochs)| epochs).collect();
    let mut series = serde_json::json!({
        "name": group.name, "n": seeds.len(), "train_look": look(true), "val_look": look(false),
        "epoch": epochs.iter().map(|epochs| epochs[0].epoch).collect::<Vec<_>>(),
        "settings": hyperparameters::json(&group.runs[0].config),
        "runs": seeds.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(),
    });
    for (metric, pick) in METRICS {
        let values: Option<Vec<Vec<f64>>> =
            epochs.iter().map(|epochs| epochs.iter().map(|epoch| pick(epoch)).collect()).collect();
        let Some(values) = values else { continue };
        let spreads: Vec<Spread> = values.iter().filter_map(|values| Spread::of(values)).collect();
        series[metric] = spreads.iter().map(|spread| rounded(spread.mean)).collect();
        if seeds.len() > 1 {
            let deviations = spreads.iter().filter_map(|spread| spread.deviation);
            series[format!("{metric}_sd")] = deviations.map(rounded).collect();
            let of_run = |run: usize| values.iter().map(|values| rounded(values[run])).collect::<Vec<_>>();
            series[format!("{metric}_each")] = (0..seeds.len()).map(of_run).collect();
        }
    }
    series
}

/// Picks a curve's value from an epoch.
type Pick = fn(&Epoch) -> Option<f64>;

const METRICS: [(&str, Pick); 4] = [
    ("train_loss", |epoch| Some(epoch.train_loss)),
    ("val_loss", |epoch| Some(epoch.val_loss)),
    ("train_acc", |epoch| epoch.train_acc),
    ("val_acc", |epoch| epoch.val_acc),
];

/// As many digits as a chart can show.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// The curves for readers without scripts.
fn static_curves(runs: &[Run], groups: &[Group<'_>], palette: &mut Palette) -> String {
    if let [run] = runs {
        return palette.svg("curves", |theme| curves::of_report(&run.name, &run.epochs, theme));
    }
    let means = |pick: Pick| -> Vec<(String, Vec<(f64, f64)>)> {
        let mean = |epochs: &Vec<&Epoch>| {
            let values: Option<Vec<f64>> = epochs.iter().map(|epoch| pick(epoch)).collect();
            Some((epochs[0].epoch as f64, Spread::of(&values?)?.mean))
        };
        groups.iter().map(|group| (group.name.clone(), group.epochs().iter().filter_map(mean).collect())).collect()
    };
    let [loss, acc] = [METRICS[1].1, METRICS[3].1].map(means);
    palette.svg("curves", |theme| curves::of_reports(&loss, &acc, theme))
}

/// The run with the best model, if there are several: by val accuracy, or by val loss if there are no classes.
fn best(runs: &[Run]) -> Option<usize> {
    let score = |run: &Run| {
        let Weights { val_acc, val_loss, .. } = run.weights;
        val_acc.or(val_loss.map(|loss| -loss)).unwrap_or(f64::NEG_INFINITY)
    };
    let comparable = runs.iter().all(|run| run.config.data.digest == runs[0].config.data.digest);
    let best = (0..runs.len()).max_by(|&a, &b| score(&runs[a]).total_cmp(&score(&runs[b])).then(b.cmp(&a)));
    best.filter(|_| runs.len() > 1 && comparable)
}

/// The diagrams of the networks. If those of several runs look the same, they are shown once.
fn networks(runs: &[Run]) -> String {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for run in runs {
        match found.iter_mut().find(|(known, _)| *known == run.network) {
            Some((_, names)) => names.push(&run.name),
            None => found.push((&run.network, vec![&run.name])),
        }
    }
    let alone = found.len() == 1;
    let part = |(picture, names): &(&str, Vec<&str>)| {
        let few: Vec<String> = names.iter().take(MOST_SENTENCES).map(|name| isolated(name)).collect();
        let of = match names.len() {
            _ if runs.len() == 1 => String::new(),
            n if n > few.len() && alone => " of all runs".into(),
            n if n > few.len() => format!(" of {} and {} more", few.join(", "), n - few.len()),
            _ => format!(" of {}", few.join(", ")),
        };
        let open = if alone { " open" } else { "" };
        opens(&format!("<h2>Network{of}</h2>"), open, &format!("<div class=pictures>{picture}</div>"))
    };
    found.iter().map(part).collect()
}

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A name for HTML. Whatever its script is, it does not affect the direction of the text around it.
fn isolated(name: &str) -> String {
    format!("<bdi>{}</bdi>", escape(name))
}
