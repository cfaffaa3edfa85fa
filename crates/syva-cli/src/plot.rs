//! `syva plot`: pictures of runs, models and networks.

use std::path::{Path, PathBuf};

use syva::data::Dataset;
use syva::files::write_atomically;
use syva::run::read_metrics;
use syva::{Activation, Epoch, Error, Mlp, Overfitting, Predictions, Result, Spec, State};
use syva_plot::{Chart, Layer, Line, Picture, Theme, Tile, Tone};
use syva_tensorboard::Log;

use crate::args::{MetricArg, PlotArgs, PlotWhat, ThemeArg};
use crate::data::Talk;
use crate::{eval, output};

/// The most tiles of first-layer weights: more would be a file of many megabytes.
const MAX_WEIGHTS: usize = 100;

pub fn plot(args: &PlotArgs) -> Result<()> {
    if !(0.0..1.0).contains(&args.smooth) {
        let problem = format!("{} is no weight of the past", args.smooth);
        return Err(Error::setting("smooth", problem, "give 0 to less than 1, such as 0.6"));
    }
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(Error::setting("to", format!("{from} to {to} is no range"), "let --to be greater than --from"));
    }
    let out = out_path(args);
    let svg = match out.extension().and_then(|extension| extension.to_str()) {
        Some("png") => false,
        Some("svg") => true,
        _ => {
            let problem = format!("'{}' tells no format", out.display());
            return Err(Error::setting("out", problem, "give a name that ends in .png or .svg"));
        }
    };
    let theme = match args.theme {
        ThemeArg::Light => Theme::Light,
        ThemeArg::Dark => Theme::Dark,
    };
    let picture = match args.what {
        PlotWhat::Curves => curves(args, theme)?,
        PlotWhat::Network => network(args, theme)?,
        what => of_model(args, what, theme)?,
    };
    let bytes = if svg {
        picture.to_svg().into_bytes()
    } else {
        picture.to_png().map_err(|problem| Error::setting("out", problem, "draw less, or write .svg"))?
    };
    if let Some(folder) = out.parent().filter(|_| args.out.is_none()) {
        std::fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    }
    write_atomically(&out, |file| file.write_all(&bytes))?;
    output::line(out.display());
    Ok(())
}

fn out_path(args: &PlotArgs) -> PathBuf {
    if let Some(out) = &args.out {
        return out.clone();
    }
    let name = match args.what {
        PlotWhat::Curves => "curves.png",
        PlotWhat::Confusion => "confusion.png",
        PlotWhat::Weights => "weights.png",
        PlotWhat::Misread => "misread.png",
        PlotWhat::Reliability => "reliability.png",
        PlotWhat::Network => "network.png",
    };
    match &args.runs[..] {
        [run] if run.join("config.toml").is_file() => run.join("plots").join(name),
        _ => name.into(),
    }
}

/// The one run or model that a picture of a model is of.
fn single(args: &PlotArgs) -> Result<&Path> {
    match &args.runs[..] {
        [run] => Ok(run),
        [] => Err(Error::setting("RUN", "there is nothing to draw", "name a run's folder or a model file")),
        _ => Err(Error::setting("RUN", "this picture is of one model", "name one run or model file")),
    }
}

/// Curves of one run or several.
fn curves(args: &PlotArgs, theme: Theme) -> Result<Picture> {
    if args.runs.is_empty() {
        return Err(Error::setting(
            "RUN",
            "there is nothing to draw",
            "name the folder of a run, such as runs/mnist-001",
        ));
    }
    let several = args.runs.len() > 1;
    let metric = args.metric.or((several && args.tag.is_none()).then_some(MetricArg::Loss));
    let (mut lines, mut mark, mut title) = (Vec::new(), None, "training and validation".to_string());
    for (place, run) in args.runs.iter().enumerate() {
        let name = run.file_name().map_or(run.display().to_string(), |name| name.to_string_lossy().into_owned());
        let epochs = if args.tag.is_none() { read_metrics(run)? } else { Vec::new() };
        let found = if epochs.is_empty() { events(run, metric, args.tag.as_deref())? } else { of_run(&epochs, metric) };
        if !several {
            title.clone_from(&name);
            mark = Overfitting::of(&epochs).filter(|found| found.epochs_since > 0);
        }
        for line in found {
            let mut line = line.smoothed(args.smooth);
            if several {
                line.name = format!("{name} {}", line.name);
                line.color = Some(place);
            }
            let range = args.from.unwrap_or(0) as f64..=args.to.unwrap_or(u64::MAX) as f64;
            line.points.retain(|(x, _)| range.contains(x));
            lines.push(line);
        }
    }
    if lines.iter().all(|line| line.points.is_empty()) {
        let last = lines.is_empty();
        let problem = if last { "there are no such curves in it" } else { "there is no epoch in this range" };
        return Err(Error::mismatch(
            format!("{}: {problem}", args.runs[0].display()),
            "widen --from and --to, or name another --tag",
        ));
    }
    let what = match (metric, &args.tag) {
        (_, Some(tag)) => tag.as_str(),
        (Some(MetricArg::Loss), _) => "loss",
        (Some(MetricArg::Acc), _) => "accuracy",
        (None, None) => "loss and accuracy",
    };
    let x = if args.tag.is_some() { "step" } else { "epoch" };
    let title = format!("{title}: {what}");
    let label =
        mark.map(|found| format!("val loss is lowest at epoch {} (dotted)", found.best_epoch)).unwrap_or_default();
    let mark = mark.map(|found| (found.best_epoch as f64, label.as_str()));
    Ok(Chart { title: &title, x, lines: &lines, mark }.draw(theme))
}

/// The curves of a run's metrics: colours tell train from val, dashes accuracy from loss.
pub fn of_run(epochs: &[Epoch], metric: Option<MetricArg>) -> Vec<Line> {
    let line = |name: &str, value: &dyn Fn(&Epoch) -> Option<f64>| {
        Line::new(name, epochs.iter().filter_map(|epoch| Some((epoch.epoch as f64, value(epoch)?))))
    };
    let mut lines = Vec::new();
    if metric != Some(MetricArg::Acc) {
        lines.push(line("train_loss", &|epoch| Some(epoch.train_loss)).color(0));
        lines.push(line("val_loss", &|epoch| Some(epoch.val_loss)).color(1));
    }
    if metric != Some(MetricArg::Loss) {
        lines.push(line("train_acc", &|epoch| epoch.train_acc).color(0));
        lines.push(line("val_acc", &|epoch| epoch.val_acc).color(1));
    }
    for line in &mut lines {
        // Dashes tell what colours cannot: accuracy from loss where both are shown, else train from val.
        line.dashed = if metric.is_none() { line.name.ends_with("acc") } else { line.name.starts_with("train") };
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}

/// The curves in event files: those of a tag, or those whose tags speak of loss or accuracy.
fn events(folder: &Path, metric: Option<MetricArg>, tag: Option<&str>) -> Result<Vec<Line>> {
    let remedy = "name a run's folder, or one with event files (tfevents)";
    if !folder.is_dir() {
        return Err(Error::file(folder, "the run", "there is no such folder", remedy));
    }
    let mut log = Log::new(folder);
    let problems = log.refresh().map_err(|error| Error::file(folder, "event files", error.to_string(), remedy))?;
    for problem in problems {
        output::note(format_args!("syva: {problem}"));
    }
    if log.files() == 0 {
        return Err(Error::file(folder, "the run", "there are no metrics and no event files in it", remedy));
    }
    let wanted = |name: &str| match (tag, metric) {
        (Some(tag), _) => name == tag,
        (None, Some(MetricArg::Loss)) => name.to_lowercase().contains("loss"),
        (None, Some(MetricArg::Acc)) => name.to_lowercase().contains("acc"),
        (None, None) => ["loss", "acc"].iter().any(|word| name.to_lowercase().contains(word)),
    };
    let mut lines = Vec::new();
    // What stands alone, such as final values or losses of single batches, has other steps than what comes in groups.
    let grouped = |run: &str, tag: &str| run.contains(&tag.replace('/', "_"));
    let any_group = log.runs().iter().any(|(run, r)| r.scalars.keys().any(|tag| wanted(tag) && grouped(run, tag)));
    for (run, scalars) in log.runs() {
        for (name, points) in scalars.scalars.iter().filter(|(name, _)| wanted(name)) {
            if tag.is_none() && any_group && !grouped(run, name) {
                continue;
            }
            let label = if run.is_empty() { name.clone() } else { run.rsplit('/').next().unwrap_or(run).to_string() };
            let mut line = Line::new(&label, points.iter().map(|point| (point.step as f64, point.value)));
            line.dashed = label.contains("train");
            lines.push(line);
        }
    }
    let known: Vec<&str> = log.runs().values().flat_map(|run| run.scalars.keys().map(String::as_str)).collect();
    if lines.is_empty() {
        let there =
            if known.is_empty() { "there are none at all".into() } else { format!("there are: {}", known.join(", ")) };
        let problem = format!("no curve of that name; {there}");
        return Err(Error::file(folder, "event files", problem, "name one with --tag"));
    }
    Ok(lines)
}

/// The network's diagram, of a model or of the widths that the flags say.
fn network(args: &PlotArgs, theme: Theme) -> Result<Picture> {
    let (spec, state): (Spec, Option<State>) = if args.runs.is_empty() {
        let hidden = args.hidden.clone().map_or(vec![256, 128], |hidden| hidden.0);
        let mlp = Mlp::new(args.inputs).hidden(&hidden, Activation::Sigmoid);
        let spec = if args.outputs == 1 { mlp.values(1) } else { mlp.classes(args.outputs) };
        spec.validate()?;
        (spec, None)
    } else {
        let (_, model) = eval::load(single(args)?)?;
        (model.spec, Some(model.state))
    };
    Ok(diagram(&spec, state.as_ref(), theme))
}

/// The diagram of a network, with its weights where they are known and few.
pub fn diagram(spec: &Spec, state: Option<&State>, theme: Theme) -> Picture {
    let layer = |l: usize| {
        let note = match spec.layers[l].activation {
            Activation::Identity => String::new(),
            // Without a run nobody said which.
            activation => {
                if state.is_some() {
                    activation.to_string()
                } else {
                    String::new()
                }
            }
        };
        let parameters = state.map(|state| {
            let layer = &state.layers[l];
            (layer.weight.values().to_vec(), layer.bias.clone())
        });
        Layer { units: spec.layers[l].units, note, parameters }
    };
    let layers: Vec<Layer> = (0..spec.layers.len()).map(layer).collect();
    syva_plot::network(&spec.widths(), spec.input.features, &layers, theme)
}

/// Pictures of what a model has learned and gets wrong.
fn of_model(args: &PlotArgs, what: PlotWhat, theme: Theme) -> Result<Picture> {
    let run = single(args)?;
    let (path, model) = eval::load(run)?;
    let name = format!("{} ({})", run.display(), model.spec.widths());
    let no_images = |problem: &str| Err(Error::file(&path, "the model", problem, "draw something else with --what"));
    if what == PlotWhat::Weights {
        let &[height, width] = &model.spec.input.shape[..] else {
            return no_images("its inputs are no images, so its weights are none");
        };
        let weight = &model.state.layers[0].weight;
        let tile = |unit: usize| {
            let largest = weight.row(unit).iter().fold(f32::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
            let pixels = weight.row(unit).iter().map(|w| f64::from(w / largest)).collect();
            Tile { pixels, caption: String::new() }
        };
        let tiles: Vec<Tile> = (0..weight.rows().min(args.count).min(MAX_WEIGHTS)).map(tile).collect();
        let title = format!("what the first {} units look for: {}", tiles.len(), model.spec.widths());
        return Ok(syva_plot::tiles(&title, &tiles, [height, width], 10, Tone::Signed, theme));
    }
    let task = eval::task_for(run, None, args.data_dir.as_deref(), Talk::Notices)?;
    let data = &task.validation;
    let (engine, device) = syva::engine("auto", None)?;
    let mut session = engine.open(&device, &model.spec)?;
    session.set_state(&model.state)?;
    let predictions = Predictions::of(session.as_mut(), &model.spec, data)?;
    Ok(match what {
        PlotWhat::Confusion => syva_plot::confusion(&name, &counts(&predictions), theme),
        PlotWhat::Reliability => reliability(&predictions, theme),
        _ => {
            let &[height, width] = &task.shape[..] else { return no_images("its inputs are no images") };
            misread(&predictions, data, [height, width], args.count, theme)
        }
    })
}

/// The confusion matrix, row by row.
pub fn counts(predictions: &Predictions) -> Vec<Vec<u64>> {
    let confusion = predictions.confusion();
    let classes = 0..predictions.classes();
    classes.clone().map(|truth| classes.clone().map(|guess| confusion.count(truth, guess)).collect()).collect()
}

/// Accuracy over confidence.
pub fn reliability(predictions: &Predictions, theme: Theme) -> Picture {
    let bins = predictions.reliability(eval::BINS);
    let bins: Vec<_> = bins.iter().map(|bin| (bin.confidence, bin.accuracy, bin.samples)).collect();
    let title = format!("accuracy over confidence: off by {:.4}", predictions.calibration_error(eval::BINS));
    syva_plot::reliability(&title, &bins, theme)
}

/// The images that were misread, those of which the network was surest first.
pub fn misread(predictions: &Predictions, data: &Dataset, shape: [usize; 2], count: usize, theme: Theme) -> Picture {
    let confidence = |sample: usize| predictions.probabilities(sample)[predictions.guess(sample)];
    let wrong = |&sample: &usize| predictions.guess(sample) != predictions.label(sample);
    let mut samples: Vec<usize> = (0..predictions.samples()).filter(wrong).collect();
    let all = samples.len();
    samples.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
    samples.truncate(count.min(500));
    let tile = |&sample: &usize| {
        let pixels = sample * data.features()..(sample + 1) * data.features();
        let pixels = pixels.map(|i| f64::from(data.inputs().get(i)) / 255.0).collect();
        let (truth, guess) = (predictions.label(sample), predictions.guess(sample));
        Tile { pixels, caption: format!("{truth} → {guess}  {:.0} %", 100.0 * confidence(sample)) }
    };
    let tiles: Vec<Tile> = samples.iter().map(tile).collect();
    let title = format!("truth → guess: the surest {} of {all} misread, of {}", tiles.len(), predictions.samples());
    syva_plot::tiles(&title, &tiles, shape, 8, Tone::Gray, theme)
}
