//! Curves of runs and of event files: which ones there are, how they are told apart, and their charts.

use std::collections::BTreeSet;
use std::path::Path;

use syva::run::{read_config, read_metrics, read_run};
use syva::{Epoch, Error, Overfitting, Result};
use syva_plot::{COLORS, Chart, Dash, Line, Picture, Theme};
use syva_tensorboard::Log;

use crate::args::{MetricArg, PlotArgs};
use crate::folders::{names as names_of, runs_in};
use crate::output;

const SOLID: Dash = &[];
const DASHED: Dash = &[6.0, 5.0];
/// The dashes of validation and training for runs that share the palette's colours: one pair for each pass through it.
const ROUNDS: [[Dash; 2]; 3] =
    [[SOLID, DASHED], [&[12.0, 3.0, 2.0, 3.0], &[2.0, 3.0]], [&[14.0, 3.0, 2.0, 3.0, 2.0, 3.0], &[2.0, 7.0]]];
/// The most curves from one folder's event files. With more, neither the picture nor the legend is readable.
const MOST_CURVES: usize = 200;
/// The number of runs that can all look different.
const MOST_RUNS: usize = COLORS * ROUNDS.len();

/// How curves are told apart, in all charts. With one run, colour tells training from validation, and if loss and
/// accuracy share a chart, accuracy is dashed. With several runs, colour tells the runs apart and training is dashed.
/// When the palette is used up, the next runs get other dashes.
pub fn look(run: usize, runs: usize, training: bool, accuracy_beside_loss: bool) -> (usize, Dash) {
    if runs == 1 {
        return (usize::from(!training), if accuracy_beside_loss { DASHED } else { SOLID });
    }
    (run % COLORS, ROUNDS[run / COLORS % ROUNDS.len()][usize::from(training)])
}

/// A curve, and what determines its look.
struct Curve {
    line: Line,
    /// The unit of x.
    x: &'static str,
    accuracy: bool,
    training: bool,
    /// Whether it is a training or validation curve of a syva run. All other curves are told apart by their position.
    known: bool,
}

/// A picture of the curves of one or several runs.
pub fn draw(args: &PlotArgs, theme: Theme) -> Result<Picture> {
    if args.runs.is_empty() {
        let remedy = "name the folder of a run, such as runs/mnist-001";
        return Err(Error::setting("RUN", "there is nothing to draw", remedy));
    }
    let folders = runs_in(&args.runs);
    let asked = folders.len();
    let metric = args.metric.or((asked > 1 && args.tag.is_none()).then_some(MetricArg::Loss));
    let (mut drawn, mut names) = (Vec::new(), Vec::new());
    for (run, name) in folders.iter().zip(names_of(&folders)) {
        match of_folder(run, metric, args.tag.as_deref(), &name) {
            Ok(found) => {
                drawn.push((run, found));
                names.push(name);
            }
            // If one of several cannot be drawn, the others still are.
            Err(error) if asked > 1 => output::note(format_args!("syva: left out of the plot: {error}")),
            Err(error) => return Err(error),
        }
    }
    let runs = drawn.len();
    if runs > MOST_RUNS {
        output::note(format_args!("syva: with more than {MOST_RUNS} runs, some curves look alike"));
    }
    let (mut curves, mut mark) = (Vec::new(), None);
    for (place, (run, mut found)) in drawn.into_iter().enumerate() {
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
    if curves.is_empty() {
        let problem = format!("none of the {asked} runs can be drawn");
        return Err(Error::mismatch(problem, "name runs that have finished an epoch"));
    }
    cut(&mut curves, args)?;
    let x = common_x(&curves);
    let zoomed = args.from.is_some() || args.to.is_some();
    let both = curves.iter().any(|curve| curve.accuracy) && curves.iter().any(|curve| !curve.accuracy);
    let smooth = args.smooth.unwrap_or(0.0);
    let smoothed = if smooth > 0.0 { format!(", smoothed {smooth}") } else { String::new() };
    let title = |what: &str| format!("{}: {what}{smoothed}", heading(&names));
    let label = mark.map(|found| format!("val loss is lowest at epoch {} (dotted)", found.best_epoch));
    let mark = mark.map(|found| found.best_epoch as f64).zip(label.as_deref());
    let chart = |title: &str, y: &str, pick: &dyn Fn(&Curve) -> bool| {
        let picked: Vec<Line> = curves.iter().filter(|curve| pick(curve)).map(|curve| curve.line.clone()).collect();
        let lines = smoothed_lines(picked, smooth);
        Chart { title, x, y, lines: &lines, mark }.draw(theme)
    };
    if let Some(tag) = &args.tag {
        return Ok(chart(&title(&output::short(tag)), &output::short(tag), &|_| true));
    }
    if both && zoomed && metric.is_none() {
        // On shared axes, neither loss nor accuracy would fill the chart.
        let loss = chart(&title("loss"), "loss", &|curve| !curve.accuracy);
        return Ok(loss.above(chart(&title("accuracy"), "accuracy", &|curve| curve.accuracy)));
    }
    if both {
        for curve in curves.iter_mut().filter(|curve| curve.known && runs == 1) {
            let (color, dash) = look(0, runs, curve.training, curve.accuracy);
            (curve.line.color, curve.line.dash) = (Some(color), dash);
        }
        let lines = smoothed_lines(curves.into_iter().map(|curve| curve.line).collect(), smooth);
        return Ok(
            Chart { title: &title("loss and accuracy"), x, y: "loss, accuracy", lines: &lines, mark }.draw(theme)
        );
    }
    let what = if curves.iter().any(|curve| curve.accuracy) { "accuracy" } else { "loss" };
    Ok(chart(&title(what), what, &|_| true))
}

/// The smoothed lines, with the original ones behind them.
fn smoothed_lines(lines: Vec<Line>, weight: f64) -> Vec<Line> {
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

/// Keeps the part of the curves that --from and --to select.
fn cut(curves: &mut [Curve], args: &PlotArgs) -> Result<()> {
    let ends = |curves: &[Curve]| {
        let steps = curves.iter().flat_map(|curve| &curve.line.points).filter(|point| point.1.is_finite());
        steps.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(point.0), high.max(point.0)))
    };
    let (first, last) = ends(curves);
    let run = args.runs[0].display();
    if first > last {
        let problem = format!("{run}: no value of these curves is finite");
        return Err(Error::mismatch(problem, "name another run or --tag"));
    }
    let from = args.from.map_or(f64::NEG_INFINITY, |from| from as f64);
    let to = args.to.map_or(f64::INFINITY, |to| to as f64);
    let was_empty: Vec<bool> = curves.iter().map(|curve| curve.line.points.is_empty()).collect();
    for curve in curves.iter_mut() {
        curve.line.points.retain(|point| (from..=to).contains(&point.0));
    }
    let (begin, end) = ends(curves);
    let emptied = curves.iter().zip(was_empty).filter(|(curve, was)| curve.line.points.is_empty() && !was);
    let emptied: Vec<&str> = emptied.map(|(curve, _)| curve.line.name.as_str()).collect();
    if begin <= end && !emptied.is_empty() {
        let names = emptied.join(", ");
        output::note(format_args!("syva: {names}: no values between --from and --to, so they are not drawn"));
    }
    if begin > end {
        let x = common_x(curves);
        let problem = format!("{run}: there are no points between --from and --to");
        return Err(Error::mismatch(problem, format!("give a range within {x} {first} to {last}")));
    }
    Ok(())
}

/// The unit of x in all curves. If they have different units, the label says so, and a note is printed.
fn common_x(curves: &[Curve]) -> &'static str {
    let kinds: BTreeSet<&str> = curves.iter().map(|curve| curve.x).collect();
    if kinds.len() > 1 {
        output::note("syva: some of these curves are in epochs and others in steps, on the same axis");
        return "epoch or step";
    }
    curves.first().map_or("step", |curve| curve.x)
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
        let remedy = format!("{remedy}; for a model file, choose another plot with --what");
        return Err(Error::file(run, "the run", "it is a file, but curves are drawn from folders", remedy));
    }
    if !run.is_dir() {
        return Err(Error::file(run, "the run", "there is no such folder", remedy));
    }
    // Other programs' logs have no configuration.
    let config = run.join("config.toml");
    let is_ours = config.try_exists().map_err(Error::io("read", config))?;
    let epochs = if is_ours { read_run(run)?.1 } else { read_metrics(run)? };
    if is_ours && epochs.is_empty() && tag.is_none() {
        let problem = "it has not finished an epoch, so there is nothing to draw";
        let remedy = output::unless_not_finite(run);
        return Err(Error::file(run, "metrics.jsonl", problem, remedy));
    }
    if tag.is_none() && !epochs.is_empty() {
        return Ok(of_run(&epochs, metric));
    }
    let mut log = Log::new(run);
    let problems = log.refresh().map_err(|error| Error::file(run, "event files", error.to_string(), remedy))?;
    for problem in problems {
        output::note(format_args!("syva: {problem}"));
    }
    if log.files() == 0 && !epochs.is_empty() {
        let problem = "it has no event files, so there are no tags";
        return Err(Error::file(run, "the run", problem, "leave --tag out, or train without --no-tensorboard"));
    }
    if log.files() == 0 {
        return Err(Error::file(run, "the run", "there are no metrics and no event files in it", remedy));
    }
    let curves = of_events(run, &log, metric, tag, name);
    if curves.len() > MOST_CURVES {
        let problem = format!("{} curves are more than a picture can show ({MOST_CURVES})", curves.len());
        return Err(Error::file(run, "event files", problem, "choose one with --tag, or name a subfolder"));
    }
    if curves.is_empty() {
        let known: BTreeSet<&str> =
            log.runs().values().flat_map(|run| run.scalars.keys().map(String::as_str)).collect();
        let problem = format!("no curve matches; {}", there_are(&known, tag));
        return Err(Error::file(run, "event files", problem, "choose one with --tag"));
    }
    Ok(curves)
}

/// Lists the tags: all of them if they are few, otherwise some, and among them the one most similar to `wanted`.
fn there_are(known: &BTreeSet<&str>, wanted: Option<&str>) -> String {
    const FEW: usize = 10;
    if known.is_empty() {
        return "there are none at all".into();
    }
    let mut shown: Vec<&str> = known.iter().copied().take(FEW).collect();
    let nearest = wanted.filter(|_| known.len() > FEW).and_then(|wanted| {
        let scores = known.iter().map(|tag| (likeness(tag, wanted), *tag));
        scores.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.5).map(|(_, tag)| tag)
    });
    // The nearest one comes first.
    if let Some(nearest) = nearest {
        shown.retain(|tag| *tag != nearest);
        shown.insert(0, nearest);
        shown.truncate(FEW);
    }
    let list: Vec<String> = shown.iter().map(|tag| output::short(tag)).collect();
    let more = known.len() - shown.len();
    let more = if more > 0 { format!(" … and {more} more") } else { String::new() };
    let lead = if nearest.is_some() { "the most similar first: " } else { "there are: " };
    format!("{lead}{}{more}", list.join(", "))
}

/// The similarity of two names, 0 … 1: the share of pairs of neighbouring letters that they have in common (Dice 1945).
fn likeness(a: &str, b: &str) -> f64 {
    let pairs = |text: &str| -> Vec<(char, char)> {
        // The first letters suffice, even if a name has thousands.
        let letters: Vec<char> = text.chars().take(64).flat_map(char::to_lowercase).collect();
        letters.windows(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let (a, mut b) = (pairs(a), pairs(b));
    let all = (a.len() + b.len()).max(1);
    let common = a.iter().filter(|pair| b.iter().position(|other| other == *pair).map(|i| b.swap_remove(i)).is_some());
    2.0 * common.count() as f64 / all as f64
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

/// The curves in event files: those of a tag, or those whose tags mention loss or accuracy. All are solid, and are told
/// apart by their colours.
fn of_events(folder: &Path, log: &Log, metric: Option<MetricArg>, tag: Option<&str>, name: &str) -> Vec<Curve> {
    let speaks_of = |tag: &str, word: &str| tag.to_lowercase().contains(word);
    let wanted = |name: &str| match (tag, metric) {
        (Some(tag), _) => name == tag,
        (None, Some(MetricArg::Loss)) => speaks_of(name, "loss"),
        (None, Some(MetricArg::Acc)) => speaks_of(name, "acc"),
        (None, None) => speaks_of(name, "loss") || speaks_of(name, "acc"),
    };
    // Ungrouped scalars, such as final values or losses of single batches, have other steps than grouped ones.
    let group = |tag: &str| tag.replace('/', "_");
    let grouped = |run: &str, tag: &str| run.contains(&group(tag));
    let any_group = log.runs().iter().any(|(run, r)| r.scalars.keys().any(|tag| wanted(tag) && grouped(run, tag)));
    // Groups of a syva run count epochs. What other programs count is not known here.
    let ours = [Some(folder), folder.parent()].into_iter().flatten().any(|folder| read_config(folder).is_ok());
    let mut curves = Vec::new();
    let mut found: Vec<(&str, &str)> = Vec::new();
    for (run, scalars) in log.runs() {
        for (tag_found, points) in scalars.scalars.iter().filter(|(name, _)| wanted(name)) {
            if tag.is_none() && any_group && !grouped(run, tag_found) {
                continue;
            }
            found.push((run, tag_found));
            let x = if ours && grouped(run, tag_found) { "epoch" } else { "step" };
            let line = Line::new("", points.iter().map(|point| (point.step as f64, point.value)));
            let accuracy = speaks_of(tag_found, "acc");
            let training = speaks_of(run, "train") || speaks_of(tag_found, "train");
            curves.push(Curve { line, x, accuracy, training, known: false });
        }
    }
    let labels = event_labels(&found, tag.is_some(), name);
    for (curve, label) in curves.iter_mut().zip(labels) {
        curve.line.name = label;
    }
    curves
}

/// The labels of curves from event files, given their folders and tags. A curve is named by its folder, or by folder
/// and tag if the folder has several tags, with the whole path if folders of the same name are in different places. If
/// all have the same tag (`tagged`), it is named by its series. The log's own folder is called `name`.
fn event_labels(found: &[(&str, &str)], tagged: bool, name: &str) -> Vec<String> {
    let last = |run: &str| run.rsplit('/').next().unwrap_or(run).to_string();
    let one_run = found.iter().all(|(run, _)| *run == found[0].0);
    let several = |run: &str| found.iter().filter(|(other, _)| *other == run).count() > 1;
    let label = |run: &str, folder: String, tag: &str| {
        if tagged {
            // All curves have this tag. They differ in the series, or not at all.
            return match last(run).strip_prefix(&(tag.replace('/', "_") + "_")) {
                Some(series) if folder == last(run) => series.to_string(),
                _ if run.is_empty() || last(run) == "tensorboard" => name.to_string(),
                _ => folder,
            };
        }
        match (run.is_empty() || one_run && several(run), several(run)) {
            (true, _) => tag.to_string(),
            (false, true) => format!("{folder} {tag}"),
            (false, false) => folder,
        }
    };
    let short: Vec<String> = found.iter().map(|(run, tag)| output::short(&label(run, last(run), tag))).collect();
    let same = |labels: &[String], place: usize| labels.iter().filter(|other| **other == labels[place]).count() > 1;
    let mut labels: Vec<String> = found
        .iter()
        .enumerate()
        .map(|(place, (run, tag))| {
            if same(&short, place) { output::short(&label(run, (*run).to_string(), tag)) } else { short[place].clone() }
        })
        .collect();
    // Labels that are still equal are numbered.
    for place in 0..labels.len() {
        if same(&labels, place) {
            labels[place] += &format!(" ({})", place + 1);
        }
    }
    labels
}

/// A curve's name and its points.
type Series = (String, Vec<(f64, f64)>);

/// The curves in a report of several runs, for readers without scripts: validation losses above accuracies.
pub fn of_reports(loss: &[Series], acc: &[Series], theme: Theme) -> Picture {
    let chart = |series: &[Series], y| {
        let line = |(place, (name, points)): (usize, &Series)| {
            let (color, dash) = look(place, series.len().max(2), false, false);
            Line::new(name, points.iter().copied()).look(color, dash)
        };
        let lines: Vec<Line> = series.iter().enumerate().map(line).collect();
        Chart { title: &format!("validation {y}"), x: "epoch", y, lines: &lines, mark: None }.draw(theme)
    };
    let above = chart(loss, "loss");
    if acc.iter().any(|(_, points)| !points.is_empty()) { above.above(chart(acc, "accuracy")) } else { above }
}

/// The curves in a report of one run, for readers without scripts.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(found: &[(&str, &str)]) -> Vec<String> {
        event_labels(found, false, "logs")
    }

    #[test]
    fn curves_of_event_files_are_told_apart() {
        // Lightning: one folder, several tags.
        let lightning = [("version_0", "train_loss"), ("version_0", "val_loss")];
        assert_eq!(labels(&lightning), ["train_loss", "val_loss"]);
        // Keras: several folders, several tags.
        let keras = [("train", "epoch_loss"), ("train", "epoch_accuracy"), ("validation", "epoch_loss")];
        assert_eq!(labels(&keras), ["train epoch_loss", "train epoch_accuracy", "validation"]);
        // The same folder name in two places.
        let places = [("a/version_0", "loss"), ("b/version_0", "loss"), ("c", "loss")];
        assert_eq!(labels(&places), ["a/version_0", "b/version_0", "c"]);
        let both = [("a/v", "x"), ("a/v", "y"), ("b/v", "x"), ("b/v", "y")];
        assert_eq!(labels(&both), ["a/v x", "a/v y", "b/v x", "b/v y"]);
        assert_eq!(event_labels(&places, true, "logs"), ["a/version_0", "b/version_0", "c"]);
        let series = [("Loss_x_train", "Loss/x"), ("Loss_x_val", "Loss/x"), ("", "Loss/x")];
        assert_eq!(event_labels(&series, true, "logs"), ["train", "val", "logs"]);
        assert_eq!(event_labels(&[("r/L_train", "L"), ("s/L_train", "L")], true, "logs"), ["r/L_train", "s/L_train"]);
        // Names that are equal once they are shortened.
        let long = [format!("{}1{}", "a".repeat(50), "b".repeat(50)), format!("{}2{}", "a".repeat(50), "b".repeat(50))];
        let long = labels(&[(&long[0], "x"), (&long[1], "x")]);
        assert_ne!(long[0], long[1]);
    }

    #[test]
    fn of_many_tags_an_error_names_a_few_and_the_nearest() {
        let tags: Vec<String> = (0..100_000).map(|i| format!("metric/{i:05}")).chain(["Loss/train".into()]).collect();
        let known: BTreeSet<&str> = tags.iter().map(String::as_str).collect();
        let text = there_are(&known, Some("loss/trian"));
        assert!(text.starts_with("the most similar first: Loss/train, metric/00000"), "{text}");
        assert!(text.ends_with("… and 99991 more") && text.len() < 250, "{text}");
        assert!(there_are(&known, Some("zzz")).starts_with("there are: Loss/train, metric/00000"));
        assert_eq!(there_are(&BTreeSet::from(["a", "b"]), Some("c")), "there are: a, b");
    }
}
