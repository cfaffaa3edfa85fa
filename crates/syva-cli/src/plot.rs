//! `syva plot`: pictures of runs, models and networks.

pub mod values;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use syva::data::Dataset;
use syva::files::{stay_inside, write_atomically};
use syva::run::Reached;
use syva::text::grouped;
use syva::{
    Activation, EngineOptions, Error, Head, ImageShape, Mlp, Model, PredictedValues, Predictions, Result, Spec, State,
    Training, effects, memory,
};
use syva_plot::{Layer, Picture, Theme, Tile, Tone};

use crate::args::{PlotArgs, PlotWhat, ThemeArg};
use crate::data::Talk;
use crate::eval::further::REPEATS;
use crate::{curves, eval, output, pictures};

/// Each flag that only some plots read, whether it was given, and those plots.
type Flag = (&'static str, bool, &'static [PlotWhat]);

/// The memory in bytes that drawing a picture takes: the system's fonts, the pixels, and the file.
const DRAWING: u64 = 48 << 20;

/// The most tiles of first-layer weights. More would make a file of many megabytes.
const MAX_WEIGHTS: usize = 100;

pub fn plot(args: &PlotArgs) -> Result<()> {
    let what = if args.dependence.is_some() { PlotWhat::Dependence } else { args.what };
    check_flags(args, what)?;
    if let Some(smooth) = args.smooth.filter(|smooth| !(0.0..1.0).contains(smooth)) {
        let problem = format!("{smooth} is not a smoothing weight");
        return Err(Error::setting("smooth", problem, "give a number from 0 to just below 1, such as 0.6"));
    }
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Error::setting("to", format!("--to {to} is below --from {from}"), "make it at least --from"));
    }
    let out = out_path(args, what);
    check_picture(&out)?;
    let theme = theme(args.theme);
    ask_memory()?;
    let picture = match what {
        PlotWhat::Curves => curves::draw(args, theme)?,
        PlotWhat::Network => network(args, theme)?,
        what => of_model(args, what, theme)?,
    };
    if let Some(folder) = out.parent().filter(|_| args.out.is_none()) {
        if let [run] = &args.runs[..] {
            stay_inside(run, &out)?;
        }
        std::fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    }
    // A file in the current directory may be the user's own, unlike one in a run's folder.
    let in_current = out.parent().is_some_and(|folder| folder.as_os_str().is_empty());
    let replaces = args.out.is_none() && in_current && out.exists();
    write(&picture, &out)?;
    if replaces {
        output::note(format_args!("syva: replaced {} (--out writes to another file)", out.display()));
    }
    output::line(out.display());
    Ok(())
}

/// The colours that a flag names.
pub fn theme(arg: ThemeArg) -> Theme {
    match arg {
        ThemeArg::Light => Theme::Light,
        ThemeArg::Dark => Theme::Dark,
    }
}

/// Checks that there is memory to draw a picture.
pub fn ask_memory() -> Result<()> {
    memory::ask(DRAWING, "the fonts and pixels of a picture", "end other programs, or raise the limit")
}

/// Checks that a file's name is that of a picture. Returns whether it is SVG.
pub fn check_picture(out: &Path) -> Result<bool> {
    Ok(output::check_ending("out", out, &["png", "svg"])? == "svg")
}

/// Writes a picture in the format that its file's name tells.
pub fn write(picture: &Picture, out: &Path) -> Result<()> {
    let bytes = if check_picture(out)? {
        picture.to_svg().into_bytes()
    } else {
        picture
            .to_png()
            .map_err(|problem| Error::setting("out", problem, "draw less, or give a name that ends in .svg"))?
    };
    write_atomically(out, |file| file.write_all(&bytes))
}

/// Refuses flags that this plot does not read.
fn check_flags(args: &PlotArgs, what: PlotWhat) -> Result<()> {
    use PlotWhat::{
        Confusion, Curves, Dependence, Importance, Misread, Network, Predicted, Reliability, Residuals, Weights,
    };
    let flags: [Flag; 10] = [
        ("metric", args.metric.is_some(), &[Curves]),
        ("tag", args.tag.is_some(), &[Curves]),
        ("from", args.from.is_some(), &[Curves]),
        ("to", args.to.is_some(), &[Curves]),
        ("smooth", args.smooth.is_some(), &[Curves]),
        ("count", args.count.is_some(), &[Misread, Weights]),
        (
            "data-dir",
            args.data_dir.is_some(),
            &[Confusion, Dependence, Importance, Misread, Predicted, Reliability, Residuals],
        ),
        ("hidden", args.hidden.is_some(), &[Network]),
        ("inputs", args.inputs.is_some(), &[Network]),
        ("outputs", args.outputs.is_some(), &[Network]),
    ];
    match flags.iter().find(|(_, given, plots)| *given && !plots.contains(&what)) {
        Some((flag, ..)) => {
            let what = match what.to_possible_value() {
                Some(value) => format!("--what {}", value.get_name()),
                None => "--dependence".into(),
            };
            Err(Error::setting(*flag, format!("it has no effect on {what}"), "leave it out"))
        }
        None => Ok(()),
    }
}

fn out_path(args: &PlotArgs, what: PlotWhat) -> PathBuf {
    if let Some(out) = &args.out {
        return out.clone();
    }
    let by_column;
    let name = match what {
        PlotWhat::Curves => "curves.png",
        PlotWhat::Confusion => "confusion.png",
        PlotWhat::Weights => "weights.png",
        PlotWhat::Misread => "misread.png",
        PlotWhat::Reliability => "reliability.png",
        PlotWhat::Network => "network.png",
        PlotWhat::Predicted => "predicted.png",
        PlotWhat::Residuals => "residuals.png",
        PlotWhat::Importance => "importance.png",
        PlotWhat::Dependence => {
            let fits = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
            let column: String = args.dependence.iter().flat_map(|name| name.chars()).map(fits).take(60).collect();
            by_column = format!("dependence-{column}.png");
            &by_column
        }
    };
    match &args.runs[..] {
        [run] if run.join("config.toml").is_file() => run.join("plots").join(name),
        _ => name.into(),
    }
}

/// The run or model to draw, if there is exactly one.
fn single(args: &PlotArgs) -> Result<&Path> {
    match &args.runs[..] {
        [run] => Ok(run),
        [] => Err(Error::setting("RUN", "there is nothing to draw", "name a run's folder or a model file")),
        _ => Err(Error::setting("RUN", "this plot is of a single model", "name one run or model file")),
    }
}

/// A network's diagram, for a model or for the widths given by the flags.
fn network(args: &PlotArgs, theme: Theme) -> Result<Picture> {
    let (spec, state): (Spec, Option<State>) = if args.runs.is_empty() {
        let hidden = args.hidden.clone().map_or(vec![256, 128], |hidden| hidden.0);
        let mlp = Mlp::new(args.inputs.unwrap_or(784)).hidden(&hidden, Activation::Sigmoid);
        let outputs = args.outputs.unwrap_or(10);
        let spec = if outputs == 1 { mlp.values(1) } else { mlp.classes(outputs) };
        spec.validate()?;
        (spec, None)
    } else {
        let model = eval::load(single(args)?)?.model;
        (model.spec, Some(model.state))
    };
    // Without a run, the activation is unknown.
    Ok(diagram(&spec, state.as_ref(), state.is_some(), theme))
}

/// A network's diagram, with its weights if they are known, and its activations if `activations` is set.
pub fn diagram(spec: &Spec, state: Option<&State>, activations: bool, theme: Theme) -> Picture {
    let layer = |l: usize| {
        let note = match spec.layers[l].activation {
            Activation::Identity => String::new(),
            _ if activations => spec.layers[l].nonlinearity().to_string(),
            _ => String::new(),
        };
        let parameters = state.map(|state| {
            let layer = &state.layers[l];
            (layer.weight.values().to_vec(), layer.bias.clone())
        });
        Layer { units: spec.layers[l].units, note, parameters }
    };
    let layers: Vec<Layer> = (0..spec.layers.len()).map(layer).collect();
    let classes = matches!(spec.head, Head::Logits | Head::LogSoftmax);
    syva_plot::network(&spec.widths(), spec.input.features, &layers, classes, theme)
}

/// Pictures of what a model has learned, and of its mistakes.
fn of_model(args: &PlotArgs, what: PlotWhat, theme: Theme) -> Result<Picture> {
    let run = single(args)?;
    let Reached { file: path, model, .. } = eval::load(run)?;
    let name = output::name_of(run);
    let no_images = |problem: &str| Err(Error::file(&path, "the model", problem, "choose another plot with --what"));
    if what == PlotWhat::Weights {
        let Some(image) = ImageShape::of(&model.spec.input.shape) else {
            return no_images("its inputs are not images, so its weights cannot be shown as images");
        };
        return Ok(weights(&name, &model, image, args.count.unwrap_or(50), theme));
    }
    let task = eval::task_for(run, None, args.data_dir.as_deref(), None, Talk::Notices)?;
    let data = &task.validation;
    let (engine, device) = syva::engine("auto", EngineOptions::default())?;
    let mut session = model.open(engine.as_ref(), &device, &Training::default())?;
    let session = session.as_mut();
    match what {
        PlotWhat::Predicted | PlotWhat::Residuals => {
            if model.spec.classes() > 0 || model.spec.head == Head::MultiLabel {
                return no_images("it does not predict numbers");
            }
            let found = PredictedValues::of(session, &model.spec, data)?;
            return Ok(values::predicted(&name, &found, what == PlotWhat::Residuals, theme));
        }
        PlotWhat::Importance => {
            let found = effects::importance(session, &model.spec, data, REPEATS, 1)?;
            return Ok(values::importance(&name, &found, theme));
        }
        PlotWhat::Dependence => {
            let column = args.dependence.as_deref().unwrap_or_default();
            let found = effects::dependence(session, &model.spec, data, column)?;
            return Ok(values::dependence(&name, &model.spec, &found, theme));
        }
        _ => {}
    }
    let predictions = Predictions::of(session, &model.spec, data)?;
    Ok(match what {
        PlotWhat::Confusion => {
            let names = class_names(model.spec.named_classes());
            syva_plot::confusion(&format!("{name}: confusion matrix"), &counts(&predictions), names.as_deref(), theme)
        }
        PlotWhat::Reliability => reliability(&name, &predictions, theme),
        _ => {
            let Some(image) = ImageShape::of(&task.shape) else { return no_images("its inputs are not images") };
            let names = class_names(model.spec.named_classes());
            misread(&name, &predictions, data, image, names.as_deref(), args.count.unwrap_or(48), theme)
        }
    })
}

/// The weights of the first layer's units as images, those of RGB channel by channel. Without hidden layers these units
/// are the outputs.
fn weights(name: &str, model: &Model, image: ImageShape, count: usize, theme: Theme) -> Picture {
    let (spec, weight) = (&model.spec, &model.state.layers[0].weight);
    let outputs = spec.layers.len() == 1;
    let classes = outputs && matches!(spec.head, Head::Logits | Head::LogSoftmax);
    let tile = |unit: usize| {
        let largest = weight.row(unit).iter().fold(f32::MIN_POSITIVE, |largest, w| largest.max(w.abs()));
        let pixels = weight.row(unit).iter().map(|w| f64::from(w / largest)).collect();
        // Numbered as in the network's diagram.
        let caption = match model.spec.named_classes() {
            Some(names) if classes => middle(&names[unit], CAPTION),
            _ if classes => format!("class {unit}"),
            _ => (unit + 1).to_string(),
        };
        Tile { pixels, caption }
    };
    let tiles: Vec<Tile> = (0..weight.rows().min(count).min(MAX_WEIGHTS)).map(tile).collect();
    let channels = if image.channels == 3 { "; red, green and blue from top to bottom" } else { "" };
    let of = match (tiles.len(), weight.rows()) {
        (shown, all) if shown == all => format!("all {all}{channels}"),
        (shown, all) => format!("{shown} of {all}{channels}"),
    };
    let title = match (classes, outputs) {
        (true, _) => format!("{name}: weights for and against each class ({of})"),
        (false, true) => format!("{name}: weights of the outputs ({of})"),
        _ => format!("{name}: weights of units of the first layer ({of})"),
    };
    // The channels lie one below the other.
    let shape = [image.channels * image.height, image.width];
    syva_plot::tiles(&title, &tiles, shape, 10, Tone::Signed, theme)
}

/// The names of classes, to be shown.
pub fn class_names(names: Option<&[String]>) -> Option<Vec<String>> {
    names.map(|names| names.iter().map(|name| output::short(name)).collect())
}

/// The confusion matrix, row by row.
pub fn counts(predictions: &Predictions) -> Vec<Vec<u64>> {
    let confusion = predictions.confusion();
    let classes = 0..predictions.classes();
    classes.clone().map(|truth| classes.clone().map(|guess| confusion.count(truth, guess)).collect()).collect()
}

/// Accuracy against confidence, and how far apart the two are.
pub fn reliability(name: &str, predictions: &Predictions, theme: Theme) -> Picture {
    let bins = predictions.reliability(eval::BINS);
    let bins: Vec<_> = bins.iter().map(|bin| (bin.confidence, bin.accuracy, bin.samples)).collect();
    let title = format!("{name}: calibration error {:.4}", predictions.calibration_error(eval::BINS));
    syva_plot::reliability(&title, &bins, theme)
}

/// The misread images, those with the most certain predictions first.
pub fn misread(
    name: &str,
    predictions: &Predictions,
    data: &Dataset,
    image: ImageShape,
    names: Option<&[String]>,
    count: usize,
    theme: Theme,
) -> Picture {
    let (samples, all) = surest_misread(predictions, count.min(500));
    let lightness = pictures::lightness(data);
    let tile = |&sample: &usize| {
        let pixels = sample * data.features()..(sample + 1) * data.features();
        let pixels = pixels.map(|i| lightness(data.inputs().get(i))).collect();
        let (truth, guess, probability) = misreading(predictions, sample, names);
        let caption = match names {
            // Names are too long for one line.
            Some(_) => {
                let guess = middle(&guess, CAPTION - probability.len() - 2);
                format!("{}\n→ {guess}, {probability}", middle(&truth, CAPTION))
            }
            None => format!("{truth} → {guess}, {probability}"),
        };
        Tile { pixels, caption }
    };
    let tiles: Vec<Tile> = samples.iter().map(tile).collect();
    let samples = grouped(predictions.samples() as u64);
    let title =
        format!("{name}: {} of {all} misread images ({samples} in total): true → predicted, probability", tiles.len());
    let tone = if image.channels == 3 { Tone::Rgb } else { Tone::Gray };
    syva_plot::tiles(&title, &tiles, [image.height, image.width], 8, tone, theme)
}

/// The misread samples, `count` at most, those with the most certain predictions first; and the number of all of them.
pub fn surest_misread(predictions: &Predictions, count: usize) -> (Vec<usize>, usize) {
    let confidence = |sample: usize| predictions.probabilities(sample)[predictions.guess(sample)];
    let wrong = |&sample: &usize| predictions.guess(sample) != predictions.label(sample);
    let mut samples: Vec<usize> = (0..predictions.samples()).filter(wrong).collect();
    let all = samples.len();
    samples.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
    samples.truncate(count);
    (samples, all)
}

/// What a misread image is, what is predicted, and with which probability.
pub fn misreading(predictions: &Predictions, sample: usize, names: Option<&[String]>) -> (String, String, String) {
    let (truth, guess) = (predictions.label(sample), predictions.guess(sample));
    let name = |class: usize| names.map_or_else(|| class.to_string(), |names| names[class].clone());
    (name(truth), name(guess), format!("{:.0} %", 100.0 * predictions.probabilities(sample)[guess]))
}

/// The most characters of a caption's line.
const CAPTION: usize = 14;

/// The beginning and the end of a name that is longer than `most`.
fn middle(name: &str, most: usize) -> String {
    let name: Vec<char> = output::shown(name).chars().collect();
    if name.len() <= most {
        return name.into_iter().collect();
    }
    let end = most / 2;
    name[..most - end - 1].iter().chain(['…'].iter()).chain(&name[name.len() - end..]).collect()
}
