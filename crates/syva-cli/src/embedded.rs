//! Trainings for a program that embeds this one, such as the Python package: settings by their names, tables that are already
//! in memory, and a listener of the caller's in place of the terminal. The settings mean what the flags of `syva train` mean,
//! so the same settings and data give the same weights.

use std::path::{Path, PathBuf};

use syva::data::Split;
use syva::data::tabular::{self, Tables};
use syva::random::permutation;
use syva::run::{RunConfig, RunFolder};
use syva::table::Table;
use syva::trainer::{Event, Flow, Progress};
use syva::{
    Decoder, DeviceId, Engine, Error, Head, Keep, Model, Predictions, Result, Schedule, Span, Spec, State, Trainer,
    Training, ValueScores,
};

use crate::data::Talk;
use crate::eval::{judge, judge_labels, judge_values};
pub use crate::settings::Settings;
use crate::tensorboard::TensorBoard;
use crate::train::{self, SetUp};

/// What to train, on what, and what to leave behind.
#[derive(Default)]
pub struct Request {
    /// The settings. Those that are missing have the defaults of `syva train`.
    pub settings: Settings,
    /// Tables in memory, in place of the data that the settings name.
    pub tables: Option<Tables>,
    /// A model whose weights the training begins with.
    pub start: Option<Model>,
    /// The run folder, if there is to be one: the one that the settings name, or the next free one.
    pub folder: Option<Folder>,
    /// Whether each epoch is followed by an [`Event::Inspection`] with its weights, which takes about as long as five steps.
    pub inspected: bool,
}

/// What is wanted of a run folder.
#[derive(Clone, Copy, Debug)]
pub struct Folder {
    /// Whether a folder that is already there is replaced.
    pub force: bool,
    /// Whether it gets TensorBoard's files.
    pub tensorboard: bool,
}

/// A training that is set up and has not begun.
pub struct Job {
    set_up: SetUp,
    request: Request,
}

/// What a training came to.
pub struct Outcome {
    /// The network with the weights that are kept: the last, or the best so far.
    pub model: Model,
    /// How it was trained.
    pub config: RunConfig,
    /// What its epochs came to.
    pub progress: Progress,
    /// Sentences about what was found out of a table.
    pub notes: Vec<String>,
    /// The run folder.
    pub folder: Option<PathBuf>,
    /// Whether the listener stopped it before its end.
    pub interrupted: bool,
}

impl Job {
    /// Resolves the settings, and opens data and engine.
    pub fn new(mut request: Request) -> Result<Self> {
        let tables = request.tables.take();
        let set_up = SetUp::on(tables, &request.settings, None, None, Talk::Nothing)?;
        Ok(Self { set_up, request })
    }

    /// How it will be trained.
    pub fn config(&self) -> &RunConfig {
        &self.set_up.config
    }

    /// Sentences about what was found out of a table.
    pub fn notes(&self) -> &[String] {
        &self.set_up.notes
    }

    /// Training and validation samples.
    pub fn samples(&self) -> [usize; 2] {
        [self.set_up.task.train.samples(), self.set_up.task.validation.samples()]
    }

    /// A network that learns from one table after another, instead of in epochs. If there is a model to begin with, the network
    /// is its, and so is what makes its inputs.
    ///
    /// # Errors
    /// [`Error::Setting`] if a schedule needs to know how long the training is.
    pub fn learner(self) -> Result<Learner> {
        let SetUp { config, task, engine, device, .. } = self.set_up;
        let start = self.request.start;
        let (spec, training) = (config.network, config.training);
        for (setting, schedule) in [
            ("schedule", &training.schedule),
            ("decay_schedule", &training.decay_schedule),
            ("dropout_schedule", &training.dropout_schedule),
        ] {
            if *schedule != Schedule::CONSTANT {
                let problem = format!("{schedule} needs the number of steps, which is not known here");
                return Err(Error::setting(setting, problem, "use constant"));
            }
        }
        let (spec, state) = if let Some(model) = start {
            let state = model.beginning(&model.spec, &training)?;
            (model.spec, state)
        } else {
            let state = State::initial_on(&spec, &training, &task.train)?;
            (spec, state)
        };
        let weight = config.data.table.and_then(|table| table.columns.weight);
        Ok(Learner { engine, device, spec, training, state, weight, calls: 0 })
    }

    /// Trains to the end, or until the listener stops it. What was trained until then is kept, in memory as in the folder.
    pub fn train(self, listener: &mut dyn FnMut(&Event<'_>) -> Result<Flow>) -> Result<Outcome> {
        let Self { set_up, request } = self;
        let SetUp { settings, config, task, engine, device, start, notes } = set_up;
        let (spec, training) = (&config.network, &config.training);
        let engine = engine.as_ref();
        let mut trainer = match request.start.as_ref().or(start.as_ref()) {
            Some(model) => Trainer::from_model(engine, &device, spec, &task, training, model)?,
            None => Trainer::new(engine, &device, spec, &task, training)?,
        }
        .best_by(config.keep)?
        .inspect_every(u64::from(request.inspected));
        let mut folder = match (&settings.out, request.folder) {
            (_, None) => None,
            (Some(out), Some(Folder { force, .. })) => Some(RunFolder::create(out, force, &config)?),
            (None, Some(_)) => Some(RunFolder::create_numbered(Path::new("runs"), &task.name, &config)?),
        };
        let mut tensorboard = match &folder {
            Some(folder) if request.folder.is_some_and(|folder| folder.tensorboard) => {
                TensorBoard::begin(folder.path(), &config, &train::name(engine, &device), &task, (0, 0))
            }
            _ => TensorBoard::off(),
        };
        let flow = trainer.run(&mut |event| {
            if let Some(folder) = &mut folder {
                folder.record(&config, event)?;
            }
            tensorboard.event(event);
            listener(event)
        });
        if !matches!(flow, Ok(Flow::Stop)) {
            tensorboard.end(flow.is_ok());
        }
        let interrupted = flow? == Flow::Stop;
        let model = match &mut folder {
            Some(folder) if !interrupted => folder.finish(&config, &mut trainer)?,
            _ => match trainer.best_model().filter(|_| config.keep != Keep::Last) {
                Some(best) => best,
                None => trainer.model()?,
            },
        };
        let (progress, folder) = (trainer.progress().clone(), folder.map(|folder| folder.path().to_path_buf()));
        Ok(Outcome { model, config, progress, notes, folder, interrupted })
    }
}

/// The scores of `syva eval --json` for what a network predicts, a row for each sample, and what is true: classes by their
/// places, labels as 0 or 1, or numbers.
///
/// # Errors
/// If the rows are not as many, or there are none.
pub fn scores(spec: &Spec, predicted: &Matrix<'_>, truth: &Matrix<'_>) -> Result<serde_json::Value> {
    let name = |k: usize| Decoder::of(spec).name(k);
    let column = |of: &Matrix<'_>, k: usize| of.1.iter().skip(k).step_by(of.0).copied().collect::<Vec<f64>>();
    let class = |&place: &f64| place as u32;
    let scores = if spec.head == Head::MultiLabel {
        let label = |k: usize| {
            let both = column(predicted, k).into_iter().flat_map(|p| [1.0 - p, p]).collect();
            Ok((name(k), Predictions::new(2, both, column(truth, k).iter().map(class).collect())?))
        };
        judge_labels(&(0..predicted.0).map(label).collect::<Result<Vec<_>>>()?)
    } else if spec.classes() > 0 {
        judge(&Predictions::new(spec.classes(), predicted.1.to_vec(), truth.1.iter().map(class).collect())?)
    } else {
        let target = |k: usize| Ok((name(k), ValueScores::of(&column(truth, k), &column(predicted, k))?));
        judge_values(&(0..predicted.0).map(target).collect::<Result<Vec<_>>>()?)
    };
    Ok(scores.into())
}

/// The columns of a matrix, and its values row after row.
pub type Matrix<'a> = (usize, &'a [f64]);

/// A network that learns from one table after another, each once, with what its optimiser remembers of those before.
pub struct Learner {
    engine: Box<dyn Engine>,
    device: DeviceId,
    spec: Spec,
    training: Training,
    state: State,
    /// The column of what the rows weigh.
    weight: Option<String>,
    /// The tables so far.
    calls: u64,
}

impl Learner {
    /// Takes the rows of a table once, in batches and in an order that the seed gives. Returns the mean loss of the batches.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if a loss is not finite; the network is then as it was before the call.
    pub fn learn(&mut self, table: &Table) -> Result<f64> {
        let Some(schema) = self.spec.schema.clone() else {
            return Err(Error::mismatch("the network has no columns", "train it on a table"));
        };
        let data = tabular::dataset(&schema, table, self.weight.as_deref())?;
        let mut session = self.engine.open(&self.device, &self.spec, &self.training)?;
        session.load(Split::Train, &data)?;
        session.set_state(&self.state)?;
        let order = permutation(self.training.seed, self.calls, data.samples());
        let batch_size = self.training.samples_per_update();
        let rates = vec![self.training.learning_rate; order.len().div_ceil(batch_size)];
        let span = Span {
            first_step: self.state.step,
            order: &order,
            batch_size,
            learning_rate: &rates,
            decay: &[],
            dropout: &[],
        };
        let report = session.train(&span)?;
        if let Some(step) = report.first_non_finite {
            let rate = self.training.learning_rate;
            return Err(Error::non_finite("the loss", self.calls + 1, step as u64 + 1, rate));
        }
        self.state = session.state()?;
        self.calls += 1;
        Ok(report.losses.iter().sum::<f64>() / report.losses.len().max(1) as f64)
    }

    /// The network with its weights as they are now.
    pub fn model(&self) -> Model {
        Model::new(self.spec.clone(), self.state.clone().for_prediction())
    }
}
