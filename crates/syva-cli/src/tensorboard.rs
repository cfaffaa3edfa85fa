//! What a run logs for TensorBoard: curves, histograms, pictures, hyperparameters, the network's graph.
//!
//! The run itself counts steps. Curves over epochs are separate runs, as with PyTorch's `add_scalars`. If the log
//! cannot be written, there is one warning, and the training goes on.

use std::path::Path;

use syva::data::Task;
use syva::files::stay_inside;
use syva::run::RunConfig;
use syva::trainer::Event;
use syva::{Activation, Epoch, ImageShape, Parameters, Predictions, Spec, State};
use syva_tensorboard::{Domain, Experiment, HParam, HParamValue, Image, Metric, Node, PrCurve, Status, Writer};

use crate::hyperparameters::{self, Setting};
use crate::{output, pictures};

/// The steps between two points of the loss of single batches.
const BATCH_LOSS_EVERY: u64 = 50;

/// The metrics by which runs are compared: tag, heading, and whether it is measured on training or on validation data.
const METRICS: [(&str, &str, Option<bool>); 5] = [
    ("hparam/final_train_acc", "train accuracy", Some(true)),
    ("hparam/final_val_acc", "val accuracy", Some(false)),
    ("hparam/final_train_loss", "train loss", Some(true)),
    ("hparam/final_val_loss", "val loss", Some(false)),
    // Not a hyperparameter, because a run that is resumed may be given more of them.
    ("hparam/epochs", "epochs", None),
];

/// A run's event files.
pub struct TensorBoard {
    writer: Option<Writer>,
    warned: bool,
    steps_per_epoch: u64,
    /// The shape of the inputs if they are images.
    shape: Vec<usize>,
    last: Option<Epoch>,
}

impl TensorBoard {
    /// Logs nothing.
    pub fn off() -> Self {
        Self { writer: None, warned: false, steps_per_epoch: 0, shape: Vec::new(), last: None }
    }

    /// Starts to log in the run's folder, or goes on after `(epoch, step in epoch)`.
    pub fn begin(run: &Path, config: &RunConfig, device: &str, task: &Task, at: (u64, usize)) -> Self {
        let steps_per_epoch = config.training.updates_per_epoch(task.train.samples()) as u64;
        let step = at.0 * steps_per_epoch + at.1 as u64;
        let folder = run.join("tensorboard");
        let fresh = step == 0;
        let shape = task.shape.clone();
        let mut log = Self { writer: None, warned: false, steps_per_epoch, shape, last: None };
        // Curves over epochs are logged to folders below.
        let below = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        if let Some(error) = [folder.clone()].into_iter().chain(below).find_map(|path| stay_inside(run, &path).err()) {
            log.warn(&error);
            return log;
        }
        let opened = if fresh { Writer::create(folder) } else { Writer::resume(folder, step + 1, at.0 + 1) };
        match opened {
            Ok(writer) => log.writer = Some(writer),
            Err(error) => log.warn(&error),
        }
        log.write(|writer| {
            if fresh {
                writer
                    .graph(&graph(&config.network, config.training.samples_per_update().min(task.train.samples())))?;
            }
            describe(writer, step, config, device, task)
        });
        log
    }

    /// Whether anything is logged.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Logs an event of the trainer.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Steps { progress, losses, .. } => {
                let end = progress.epoch * self.steps_per_epoch + progress.step_in_epoch as u64;
                let steps = end - losses.len() as u64..end;
                for (step, loss) in steps.zip(*losses).filter(|(step, _)| step % BATCH_LOSS_EVERY == 0) {
                    self.write(|writer| writer.scalar("Loss/train_batch", step, *loss));
                }
            }
            Event::Epoch(epoch) => {
                let steps = self.steps_per_epoch;
                self.write(|writer| epoch_curves(writer, epoch, steps));
                self.last = Some(Epoch::clone(epoch));
            }
            Event::Inspection { epoch, state, gradient } => {
                let step = epoch * self.steps_per_epoch;
                let shape = self.shape.clone();
                self.write(|writer| inspection(writer, step, state, gradient, &shape));
            }
            // Then a resumed run finds its curves complete up to here.
            Event::Checkpoint { .. } => self.write(Writer::flush),
        }
    }

    /// Logs the validation images with the worst predictions: a picture, and a line about each.
    pub fn worst_read(&mut self, predictions: &Predictions, task: &Task) {
        let Some(shape) = ImageShape::of(&task.shape) else { return };
        let worst = predictions.worst(50);
        let names = task.named_classes();
        let name = |class: usize| {
            names.map_or_else(|| class.to_string(), |names| output::short(&names[class]).replace('|', "\\|"))
        };
        let picture = pictures::sample_tiles(&task.validation, &worst, shape);
        let mut text = String::from("| row, column | sample | truth | guess | confidence |\n|---|---|---|---|---|\n");
        for (place, &sample) in worst.iter().enumerate() {
            let (truth, guess) = (predictions.label(sample), predictions.guess(sample));
            let confidence = 100.0 * predictions.probabilities(sample)[guess];
            let (row, column) = (place / 10 + 1, place % 10 + 1);
            let (truth, guess) = (name(truth), name(guess));
            text += &format!("| {row}, {column} | {sample} | {truth} | {guess} | {confidence:.1} % |\n");
        }
        let step = self.last.as_ref().map_or(0, |epoch| epoch.epoch * self.steps_per_epoch);
        self.write(|writer| {
            writer.image("worst_read/images", step, &image(picture))?;
            writer.text("worst_read/list", step, &text)?;
            let class = |class: usize| {
                let guesses = (0..predictions.samples())
                    .map(move |sample| (predictions.probabilities(sample)[class], predictions.label(sample) == class));
                PrCurve::new(guesses, 201)
            };
            let shown = predictions.classes().min(20);
            (0..shown).try_for_each(|k| writer.pr_curve(&format!("precision_recall/class_{k}"), step, &class(k)))
        });
    }

    /// Logs how the run ended.
    pub fn end(&mut self, success: bool) {
        let (last, steps) = (self.last.clone(), self.steps_per_epoch);
        self.write(|writer| {
            if let Some(epoch) = last {
                let step = epoch.epoch * steps;
                let epochs = Some(epoch.epoch as f64);
                let values = [epoch.train_acc, epoch.val_acc, Some(epoch.train_loss), Some(epoch.val_loss), epochs];
                for ((tag, ..), value) in METRICS.iter().zip(values) {
                    if let Some(value) = value {
                        writer.scalar(tag, step, value)?;
                    }
                }
            }
            writer.session_end(if success { Status::Success } else { Status::Failure })?;
            writer.flush()
        });
    }

    fn write(&mut self, log: impl FnOnce(&mut Writer) -> syva_tensorboard::Result<()>) {
        if let Some(writer) = &mut self.writer
            && let Err(error) = log(writer)
        {
            self.warn(&error);
        }
    }

    fn warn(&mut self, error: &dyn std::fmt::Display) {
        if !self.warned {
            output::note(format_args!("syva: TensorBoard's log is incomplete ({error}); the training continues"));
            self.warned = true;
        }
    }
}

fn epoch_curves(writer: &mut Writer, epoch: &Epoch, steps_per_epoch: u64) -> syva_tensorboard::Result<()> {
    writer.scalars("Loss/train_vs_val", epoch.epoch, &[("train", epoch.train_loss), ("val", epoch.val_loss)])?;
    if let (Some(train), Some(val)) = (epoch.train_acc, epoch.val_acc) {
        writer.scalars("Accuracy/train_vs_val", epoch.epoch, &[("train", train), ("val", val)])?;
    }
    let step = epoch.epoch * steps_per_epoch;
    writer.scalar("training/learning_rate", step, f64::from(epoch.learning_rate))?;
    writer.scalar("training/step_milliseconds", step, 1e3 * epoch.train_seconds / steps_per_epoch as f64)
}

fn inspection(
    writer: &mut Writer,
    step: u64,
    state: &State,
    gradient: &[Parameters],
    shape: &[usize],
) -> syva_tensorboard::Result<()> {
    for (kind, layers) in [("weights", &state.layers[..]), ("gradients", gradient)] {
        for (l, layer) in layers.iter().enumerate() {
            writer.histogram(&format!("{kind}/fc{}.weight", l + 1), step, layer.weight.values())?;
            writer.histogram(&format!("{kind}/fc{}.bias", l + 1), step, &layer.bias)?;
            if !layer.gain.is_empty() {
                writer.histogram(&format!("{kind}/act{}.weight", l + 1), step, &layer.gain)?;
            }
        }
    }
    if let Some(shape) = ImageShape::of(shape) {
        writer.image("weights/fc1", step, &image(pictures::weight_tiles(&state.layers[0].weight, shape)))?;
    }
    Ok(())
}

fn image(picture: pictures::Picture) -> Image {
    let (width, height) = (picture.width as u32, picture.height as u32);
    if picture.channels == 3 {
        Image::rgb(width, height, picture.pixels)
    } else {
        Image::gray(width, height, picture.pixels)
    }
}

/// Logs how the run is trained from this step on. A run that is resumed may change its device, for example.
fn describe(
    writer: &mut Writer,
    step: u64,
    config: &RunConfig,
    device: &str,
    task: &Task,
) -> syva_tensorboard::Result<()> {
    let settings = hyperparameters::of(config);
    writer.text("config/device", step, device)?;
    let samples = format!("{} training, {} validation", task.train.samples(), task.validation.samples());
    let rows = settings.iter().map(|setting| (setting.name, setting.text())).chain([("samples", samples)]);
    let table: String = rows
        .fold(String::new(), |table, (name, value)| table + "| " + name + " | " + &value.replace('|', "\\|") + " |\n");
    writer.text("config/hyperparameters", step, &format!("| | |\n|---|---|\n{table}"))?;
    let hparams: Vec<(&str, HParamValue)> =
        compared(&settings).map(|setting| (setting.name, value_of(setting))).collect();
    writer.session(&experiment(&settings), &hparams, "")
}

/// The settings by which runs are compared: without duplicates, and without the epochs, which are a metric.
fn compared(settings: &[Setting]) -> impl Iterator<Item = &Setting> {
    settings.iter().filter(|setting| !["epochs", "network", "data_sha256"].contains(&setting.name))
}

fn value_of(setting: &Setting) -> HParamValue {
    match &setting.value {
        serde_json::Value::Bool(value) => (*value).into(),
        value => value.as_f64().map_or_else(|| setting.text().as_str().into(), Into::into),
    }
}

fn experiment(settings: &[Setting]) -> Experiment {
    let activations = ["none", "identity", "relu", "sigmoid", "tanh"];
    let hparam = |setting: &Setting| {
        let (domain, description) = match setting.name {
            "learning_rate" => (Some(Domain::Interval(0.0, 10.0)), "size of an update"),
            "batch_size" => (Some(Domain::Interval(1.0, 65536.0)), "samples per update"),
            "activation" if activations.contains(&setting.text().as_str()) => {
                (Some(Domain::Discrete(activations.map(Into::into).into())), "of the hidden layers")
            }
            "hidden" => (None, "widths of the hidden layers"),
            "seed" => (None, "of the initial weights and the order of the samples"),
            "data" => (None, "the data set"),
            "keep" => (None, "which weights are the model: the last epoch's or the best epoch's"),
            _ => (None, ""),
        };
        HParam { name: setting.name.into(), domain, description: description.into() }
    };
    let metrics = METRICS.map(|(tag, name, training)| Metric { tag: tag.into(), display_name: name.into(), training });
    Experiment { hparams: compared(settings).map(hparam).collect(), metrics: metrics.into() }
}

/// The network as a graph: a group for each layer, in the order in which the data runs.
fn graph(network: &Spec, batch: usize) -> Vec<Node> {
    let mut nodes = vec![
        Node::new("input", "Input").shape(&[batch, network.input.features]),
        Node::new("normalize", "Normalize").input("input").shape(&[batch, network.input.features]),
    ];
    let mut from = "normalize".to_string();
    for (l, layer) in network.layers.iter().enumerate() {
        let group = format!("fc{}", l + 1);
        let (units, fan_in) = (layer.units, network.fan_in(l));
        let linear = format!("{group}/linear");
        nodes.push(Node::new(&format!("{group}/weight"), "Parameter").shape(&[units, fan_in]));
        nodes.push(Node::new(&format!("{group}/bias"), "Parameter").shape(&[units]));
        let product = Node::new(&linear, "Linear").input(&from).input(&format!("{group}/weight"));
        nodes.push(product.input(&format!("{group}/bias")).shape(&[batch, units]));
        from = linear;
        if layer.activation != Activation::Identity {
            let activation = layer.nonlinearity().to_string();
            let name = format!("{group}/{activation}");
            nodes.push(Node::new(&name, &activation).input(&from).shape(&[batch, units]));
            from = name;
        }
    }
    nodes.push(Node::new("output", &network.head.to_string()).input(&from).shape(&[batch, network.outputs()]));
    nodes.push(Node::new("target", "Input").shape(&[batch]));
    nodes.push(Node::new("loss", "Loss").input("output").input("target").shape(&[]));
    nodes
}
