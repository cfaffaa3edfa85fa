//! Curves of runs and of event files: which there are, how they are told apart, and the charts of them.

use std::collections::BTreeSet;
use std::path::Path;

use syva::run::{read_config, read_metrics, read_run};
use syva::{Epoch, Error, Overfitting, Result};
use syva_plot::{COLORS, Chart, Dash, Line, Picture, Theme};
use syva_tensorboard::Log;

use crate::args::{MetricArg, PlotArgs};
use crate::output;

const SOLID: Dash = &[];
const DASHED: Dash = &[6.0, 5.0];
/// Validation and training of the runs that share the palette's colours: a pair for each time that it is used up.
const ROUNDS: [[Dash; 2]; 3] =
    [[SOLID, DASHED], [&[12.0, 3.0, 2.0, 3.0], &[2.0, 3.0]], [&[14.0, 3.0, 2.0, 3.0, 2.0, 3.0], &[2.0, 7.0]]];
/// Runs that all look different.
const MOST_RUNS: usize = COLORS * ROUNDS.len();

/// How curves are told apart, in all charts. Of one run: colour tells training from validation, and where loss and
/// accuracy share a chart, accuracy is dashed. Of several: colour tells the run, training is dashed, and when the
/// palette is used up, the next round of runs has dashes of its own.
pub fn look(run: usize, runs: usize, training: bool, accuracy_beside_loss: bool) -> (usize, Dash) {
    if runs == 1 {
        return (usize::from(!training), if accuracy_beside_loss { DASHED } else { SOLID });
    }
    (run % COLORS, ROUNDS[run / COLORS % ROUNDS.len()][usize::from(training)])
}

/// A curve, and what decides how it looks.
struct Curve {
    line: Line,
    /// What its points are counted in.
    x: &'static str,
    accuracy: bool,
    training: bool,
    /// Whether it is training's or validation's of a run of ours; all else is told apart by its place.
    known: bool,
}

/// The picture of one run's curves or of several runs'.
pub fn draw(args: &PlotArgs, theme: Theme) -> Result<Picture> {
    if args.runs.is_empty() {
        let remedy = "name the folder of a run, such as runs/mnist-001";
        return Err(Error::setting("RUN", "there is nothing to draw", remedy));
    }
    let names = names(&args.runs);
    let runs = args.runs.len();
    let metric = args.metric.or((runs > 1 && args.tag.is_none()).then_some(MetricArg::Loss));
    if runs > MOST_RUNS {
        output::note(format_args!("syva: of more than {MOST_RUNS} runs some look alike"));
    }
    let (mut curves, mut mark) = (Vec::new(), None);
    for (place, run) in args.runs.iter().enumerate() {
        let mut found = of_folder(run, metric, args.tag.as_deref(), &names[place])?;
        if runs == 1 && args.tag.is_none() {
            mark = Overfitting::of(&read_metrics(run)?).filter(|found| found.epochs_since > 0);
        }
        let alone = found.len() == 1;
        for (number, curve) in found.iter_mut().enumerate() {
            if runs > 1 {
                let name = if alone { names[place].clone() } else { format!("{} {}", names[place], curve.line.name) };
                curve.line.name = name;
                let (color, dash) = look(place, runs, curve.training, false);
                (curve.line.color, curve.line.dash) = (Some(color), dash);
            } else if !curve.known {
                curve.line.color = Some(number);
            }
        }
        curves.extend(found);
    }
    cut(&mut curves, args)?;
    let x = common_x(&curves);
    let zoomed = args.from.is_some() || args.to.is_some();
    let both = curves.iter().any(|curve| curve.accuracy) && curves.iter().any(|curve| !curve.accuracy);
    let smoothed = if args.smooth > 0.0 { format!(", smoothed {}", args.smooth) } else { String::new() };
    let title = |what: &str| format!("{}: {what}{smoothed}", heading(&names));
    let label = mark.map(|found| format!("val loss is lowest at epoch {} (dotted)", found.best_epoch));
    let mark = mark.map(|found| found.best_epoch as f64).zip(label.as_deref());
    let chart = |title: &str, y: &str, pick: &dyn Fn(&Curve) -> bool| {
        let picked: Vec<Line> = curves.iter().filter(|curve| pick(curve)).map(|curve| curve.line.clone()).collect();
        let lines = smooth(picked, args.smooth);
        Chart { title, x, y, lines: &lines, mark }.draw(theme)
    };
    if let Some(tag) = &args.tag {
        return Ok(chart(&title(&output::short(tag)), &output::short(tag), &|_| true));
    }
    if both && zoomed && metric.is_none() {
        // On one pair of axes, neither would fill the range that it has there.
        let loss = chart(&title("loss"), "loss", &|curve| !curve.accuracy);
        return Ok(loss.above(chart(&title("accuracy"), "accuracy", &|curve| curve.accuracy)));
    }
    if both {
        for curve in curves.iter_mut().filter(|curve| curve.known && runs == 1) {
            let (color, dash) = look(0, runs, curve.training, curve.accuracy);
            (curve.line.color, curve.line.dash) = (Some(color), dash);
        }
        let lines = smooth(curves.into_iter().map(|curve| curve.line).collect(), args.smooth);
        return Ok(
            Chart { title: &title("loss and accuracy"), x, y: "loss, accuracy", lines: &lines, mark }.draw(theme)
        );
    }
    let what = if curves.iter().any(|curve| curve.accuracy) { "accuracy" } else { "loss" };
    Ok(chart(&title(what), what, &|_| true))
}

/// The lines smoothed, and behind them as they are.
fn smooth(lines: Vec<Line>, weight: f64) -> Vec<Line> {
    if weight == 0.0 {
        return lines;
    }
    let lines: Vec<Line> = lines
        .into_iter()
        .enumerate()
        .map(|(place, line)| Line { color: Some(line.color.unwrap_or(place)), ..line })
        .collect();
    let behind = lines.iter().map(|line| Line { name: String::new(), dash: SOLID, pale: true, ..line.clone() });
    behind.chain(lines.iter().map(|line| line.clone().smoothed(weight))).collect()
}

/// Leaves of the curves what --from and --to ask for.
fn cut(curves: &mut [Curve], args: &PlotArgs) -> Result<()> {
    let ends = |curves: &[Curve]| {
        let steps = curves.iter().flat_map(|curve| &curve.line.points).filter(|point| point.1.is_finite());
        steps.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(point.0), high.max(point.0)))
    };
    let (first, last) = ends(curves);
    let run = args.runs[0].display();
    if first > last {
        let problem = format!("{run}: no value of these curves is finite");
        return Err(Error::mismatch(problem, "there is nothing to draw: name another run or --tag"));
    }
    let from = args.from.map_or(f64::NEG_INFINITY, |from| from as f64);
    let to = args.to.map_or(f64::INFINITY, |to| to as f64);
    for curve in curves.iter_mut() {
        curve.line.points.retain(|point| (from..=to).contains(&point.0));
    }
    let (begin, end) = ends(curves);
    if begin > end {
        let x = common_x(curves);
        let problem = format!("{run}: nothing lies between --from and --to; there is {x} {first} to {last}");
        return Err(Error::mismatch(problem, "widen --from and --to"));
    }
    Ok(())
}

/// What x is in all curves, or that it is not the same.
fn common_x(curves: &[Curve]) -> &'static str {
    let kinds: BTreeSet<&str> = curves.iter().map(|curve| curve.x).collect();
    if kinds.len() > 1 {
        output::note("syva: some of these curves count epochs and others steps, yet they share an axis");
        return "epoch or step";
    }
    curves.first().map_or("step", |curve| curve.x)
}

/// What the runs are called: by their folders' names, or where these are the same, by their paths.
fn names(runs: &[std::path::PathBuf]) -> Vec<String> {
    let names: Vec<String> = runs.iter().map(|run| output::name_of(run)).collect();
    let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if distinct { names } else { runs.iter().map(|run| output::short(&run.display().to_string())).collect() }
}

/// The runs, as a title names them.
fn heading(names: &[String]) -> String {
    let all = names.join(", ");
    if names.len() > 1 && all.chars().count() > 44 { format!("{} runs", names.len()) } else { all }
}

/// The curves in a folder: those of a run's metrics, or of event files.
fn of_folder(run: &Path, metric: Option<MetricArg>, tag: Option<&str>, name: &str) -> Result<Vec<Curve>> {
    let remedy = "name a run's folder, or one with event files (tfevents)";
    if run.is_file() {
        let remedy = format!("{remedy}; for a model file ask for something else with --what");
        return Err(Error::file(run, "the run", "it is a file, and curves are of folders", remedy));
    }
    if !run.is_dir() {
        return Err(Error::file(run, "the run", "there is no such folder", remedy));
    }
    // Other programs' logs have no configuration.
    let epochs = if run.join("config.toml").is_file() { read_run(run)?.1 } else { read_metrics(run)? };
    if tag.is_none() && !epochs.is_empty() {
        return Ok(of_run(&epochs, metric));
    }
    let mut log = Log::new(run);
    let problems = log.refresh().map_err(|error| Error::file(run, "event files", error.to_string(), remedy))?;
    for problem in problems {
        output::note(format_args!("syva: {problem}"));
    }
    if log.files() == 0 && !epochs.is_empty() {
        let problem = "there are no event files in it, so no curves by tags";
        return Err(Error::file(run, "the run", problem, "leave --tag out, or train without --no-tensorboard"));
    }
    if log.files() == 0 {
        return Err(Error::file(run, "the run", "there are no metrics and no event files in it", remedy));
    }
    let curves = of_events(run, &log, metric, tag, name);
    if curves.is_empty() {
        let known: BTreeSet<&str> =
            log.runs().values().flat_map(|run| run.scalars.keys().map(String::as_str)).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let there =
            if known.is_empty() { "there are none at all".into() } else { format!("there are: {}", known.join(", ")) };
        return Err(Error::file(run, "event files", format!("no curve of that name; {there}"), "name one with --tag"));
    }
    Ok(curves)
}

/// The curves of a run's metrics.
fn of_run(epochs: &[Epoch], metric: Option<MetricArg>) -> Vec<Curve> {
    let mut curves = Vec::new();
    let mut add = |name: &str, accuracy: bool, training: bool, value: &dyn Fn(&Epoch) -> Option<f64>| {
        let points = epochs.iter().filter_map(|epoch| Some((epoch.epoch as f64, value(epoch)?)));
        let (color, dash) = look(0, 1, training, false);
        let line = Line::new(name, points).look(color, dash);
        if !line.points.is_empty() {
            curves.push(Curve { line, x: "epoch", accuracy, training, known: true });
        }
    };
    if metric != Some(MetricArg::Acc) {
        add("train_loss", false, true, &|epoch| Some(epoch.train_loss));
        add("val_loss", false, false, &|epoch| Some(epoch.val_loss));
    }
    if metric != Some(MetricArg::Loss) {
        add("train_acc", true, true, &|epoch| epoch.train_acc);
        add("val_acc", true, false, &|epoch| epoch.val_acc);
    }
    curves
}

/// The curves in event files: those of a tag, or those whose tags speak of loss or accuracy. All solid, told apart by
/// their colours.
fn of_events(folder: &Path, log: &Log, metric: Option<MetricArg>, tag: Option<&str>, name: &str) -> Vec<Curve> {
    let speaks_of = |tag: &str, word: &str| tag.to_lowercase().contains(word);
    let wanted = |name: &str| match (tag, metric) {
        (Some(tag), _) => name == tag,
        (None, Some(MetricArg::Loss)) => speaks_of(name, "loss"),
        (None, Some(MetricArg::Acc)) => speaks_of(name, "acc"),
        (None, None) => speaks_of(name, "loss") || speaks_of(name, "acc"),
    };
    // What stands alone, such as final values or losses of single batches, has other steps than what comes in groups.
    let group = |tag: &str| tag.replace('/', "_");
    let grouped = |run: &str, tag: &str| run.contains(&group(tag));
    let any_group = log.runs().iter().any(|(run, r)| r.scalars.keys().any(|tag| wanted(tag) && grouped(run, tag)));
    // Ours count epochs in groups; what others count, they know.
    let ours = [Some(folder), folder.parent()].into_iter().flatten().any(|folder| read_config(folder).is_ok());
    let mut curves = Vec::new();
    for (run, scalars) in log.runs() {
        for (found, points) in scalars.scalars.iter().filter(|(name, _)| wanted(name)) {
            if tag.is_none() && any_group && !grouped(run, found) {
                continue;
            }
            let last = run.rsplit('/').next().unwrap_or(run);
            let label = match tag {
                // All have this tag; what differs is the series, or nothing.
                Some(tag) => match last.strip_prefix(&(group(tag) + "_")) {
                    Some(series) => series.to_string(),
                    None if last.is_empty() || last == "tensorboard" => name.to_string(),
                    None => last.to_string(),
                },
                None if run.is_empty() => found.clone(),
                None => last.to_string(),
            };
            let x = if ours && grouped(run, found) { "epoch" } else { "step" };
            let line = Line::new(&output::short(&label), points.iter().map(|point| (point.step as f64, point.value)));
            let (accuracy, training) = (speaks_of(found, "acc"), speaks_of(&label, "train"));
            curves.push(Curve { line, x, accuracy, training, known: false });
        }
    }
    curves
}

/// For readers of a report that run no scripts.
pub fn of_report(name: &str, epochs: &[Epoch], theme: Theme) -> Picture {
    let chart = |metric, y| {
        let lines: Vec<Line> = of_run(epochs, Some(metric)).into_iter().map(|curve| curve.line).collect();
        Chart { title: &format!("{name}: {y}"), x: "epoch", y, lines: &lines, mark: None }.draw(theme)
    };
    let loss = chart(MetricArg::Loss, "loss");
    if epochs.iter().any(|epoch| epoch.val_acc.is_some()) {
        loss.above(chart(MetricArg::Acc, "accuracy"))
    } else {
        loss
    }
}
