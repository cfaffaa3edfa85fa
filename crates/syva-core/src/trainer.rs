//! The trainer: epochs of shuffled batches, span by span, and the events that it emits on the way.
//!
//! The trainer owns no terminal and no file. It drives a session and emits [`Event`]s. A listener prints, logs and saves,
//! and may ask it to stop. No listener, and no moment at which training stops, changes a bit of the result.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::{Split, Task};
pub use crate::engine::Flow;
use crate::engine::{DeviceId, Engine, Evaluation, Report, Session, Span};
use crate::metrics::{Confusion, Tally};
use crate::random::permutation;
use crate::schedule::{Plateau, Schedule};
use crate::spec::Spec;
use crate::state::{Parameters, State};
use crate::stopping::{Keep, Metric, Patience};
use crate::text::number;
use crate::training::Training;
use crate::{Error, Model, Result, memory};

/// The progress of a training, which a checkpoint stores together with the weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of whole epochs done.
    pub epoch: u64,
    /// Number of steps done in the next epoch.
    pub step_in_epoch: usize,
    /// Sum of the mean losses of these steps.
    pub loss_sum: f64,
    /// The hits and the support of each class in these steps.
    #[serde(alias = "confusion")]
    pub tally: Tally,
    /// The best epoch so far, and its value of the metric that the trainer judges by ([`Trainer::best_by`]).
    pub best: Option<(u64, f64)>,
    /// [`State::digest`] of the weights after that epoch, as of the last [`Event::Checkpoint`]. `None` in checkpoints
    /// from versions that did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_weights: Option<String>,
    /// Seconds spent in the steps of the unfinished epoch.
    pub train_seconds: f64,
    /// The results of the whole epochs, from the first one. Epochs that were trained before checkpoints stored results
    /// are missing.
    #[serde(skip)]
    pub history: Vec<Epoch>,
}

impl Progress {
    /// Makes the best epoch the one that is to be kept. Its weights are then known only if it is the same epoch.
    pub(crate) fn judge_by(&mut self, keep: Keep) {
        let (metric, best) = (keep.metric(), keep.best(&self.history));
        // Checkpoints of old versions have the best epoch by the validation loss, but not all epochs.
        let is_known = self.history.len() as u64 == self.epoch || metric != Metric::ValLoss;
        if is_known && best != self.best {
            if best.map(|(epoch, _)| epoch) != self.best.map(|(epoch, _)| epoch) {
                self.best_weights = None;
            }
            self.best = best;
        }
    }

    /// Whether it can belong to this network. False for a file with impossible content.
    pub(crate) fn is_consistent(&self, spec: &Spec) -> bool {
        let epochs = || self.history.iter().map(|epoch| epoch.epoch);
        self.tally.is_consistent(spec.tally().classes())
            && epochs().is_sorted_by(|a, b| a < b)
            && epochs().all(|epoch| (1..=self.epoch).contains(&epoch))
            && self.best.is_none_or(|(epoch, _)| epoch <= self.epoch)
    }
}

/// The results of an epoch. Losses and accuracies of the training data are collected during training, as in the
/// chapter's notebook: the loss is the mean over the batches, each before its update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean of the losses of the epoch's batches, each before its update; a short last batch counts as a whole one.
    pub train_loss: f64,
    /// Share of training samples that were classified correctly, or of labels that were right if a sample has several.
    /// Accuracies are `None` for other values.
    pub train_acc: Option<f64>,
    /// Mean validation loss after the epoch.
    pub val_loss: f64,
    /// The same share of the validation data.
    pub val_acc: Option<f64>,
    /// Mean over the classes of `train_acc`.
    pub train_balanced_acc: Option<f64>,
    /// Mean over the classes of `val_acc`.
    pub val_balanced_acc: Option<f64>,
    /// The learning rate of the last step.
    pub learning_rate: f32,
    /// Seconds spent training. A device that began this epoch while the last one was reported counts only from the end of
    /// that report.
    pub train_seconds: f64,
    /// Seconds spent evaluating.
    pub eval_seconds: f64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |acc: Option<f64>| acc.map_or(String::new(), |acc| format!(" acc {:6.2} %", 100.0 * acc));
        write!(
            f,
            "epoch {:>4}  train loss {}{}  val loss {}{}",
            self.epoch,
            number(self.train_loss),
            percent(self.train_acc),
            number(self.val_loss),
            percent(self.val_acc)
        )
    }
}

/// What the trainer reports while it works.
#[derive(Debug)]
pub enum Event<'a> {
    /// Some steps were taken (a tenth of a second's worth).
    Steps {
        /// How far the training is.
        progress: &'a Progress,
        /// Steps per epoch.
        steps_per_epoch: usize,
        /// The mean loss of each of these steps, before its update.
        losses: &'a [f64],
    },
    /// An epoch is done and evaluated.
    Epoch(&'a Epoch),
    /// A moment to look into the network: after the first epoch, after every n-th ([`Trainer::inspect_every`]), and
    /// after the last.
    Inspection {
        /// Number of whole epochs done.
        epoch: u64,
        /// The weights now.
        state: &'a State,
        /// The gradient of the mean loss over the epoch's first batch, by weights and biases, at these weights.
        gradient: &'a [Parameters],
    },
    /// A good moment to save: these weights and this progress continue to the same bits.
    Checkpoint {
        /// The weights now.
        state: &'a State,
        /// The progress of the training.
        progress: &'a Progress,
        /// The weights after the best epoch so far, whose digest is [`Progress::best_weights`]. `None` if the training was
        /// resumed without them ([`Trainer::with_best`]) and no epoch has been better since.
        best: Option<&'a State>,
    },
}

/// Trains a network on a task.
///
/// ```
/// use syva_core::data::{Dataset, Inputs, Targets, Task};
/// use syva_core::{Activation::Tanh, Mlp, Trainer, Training, reference::Reference};
/// // The exclusive or.
/// let inputs = Inputs::F32(vec![0., 0., 0., 1., 1., 0., 1., 1.].into());
/// let data = Dataset::new(inputs, 2, Targets::Classes { labels: vec![0, 1, 1, 0].into(), classes: 2 })?;
/// let task = Task::new("xor", data.clone(), data);
/// let spec = Mlp::new(2).hidden(&[8], Tanh).classes(2);
/// let training = Training { epochs: 400, batch_size: 4, learning_rate: 0.5, ..Training::default() };
/// let mut trainer = Trainer::new(&Reference, &"reference".parse()?, &spec, &task, &training)?;
/// let last = trainer.fit(|epoch| println!("{epoch}"))?;
/// assert_eq!(last.val_acc, Some(1.0));
/// # Ok::<(), syva_core::Error>(())
/// ```
pub struct Trainer {
    session: Box<dyn Session>,
    course: Course,
    checkpoint_every: Duration,
    inspect_every: u64,
}

/// Receives a training's events and decides whether it goes on. After a stop comes a last [`Event::Checkpoint`].
type Listener<'a> = dyn FnMut(&Event<'_>) -> Result<Flow> + 'a;

/// The trainer's own part of a training, apart from the session, which may be busy at the same time.
struct Course {
    spec: Spec,
    task: Task,
    training: Training,
    progress: Progress,
    /// The weights after the best epoch, if they are known.
    best_state: Option<State>,
    /// Whether they are newer than the last checkpoint.
    best_is_new: bool,
    /// Orders of the samples, by epoch: the last, the current, and the next one if it was drawn ahead.
    orders: BTreeMap<u64, Arc<Vec<u32>>>,
    /// What the best epoch is the best in.
    keep: Keep,
    /// Whether it is time to end.
    patience: Patience,
    /// The learning rate that the results so far have left.
    plateau: Plateau,
    /// Steps that the next span should have, and the most that it may have.
    span_steps: usize,
    most_steps: usize,
}

/// The time that a span of steps should take: short enough to react to Ctrl-C, long enough to cost nothing.
const SPAN_SECONDS: f64 = 0.1;

/// The most steps of a span. Without a clock (the feature `files`), nothing else bounds one.
const MOST_STEPS: usize = if cfg!(feature = "files") { usize::MAX } else { 32 };

impl Trainer {
    /// Opens a session, puts the data on its device, and begins with the initial weights of the seed.
    pub fn new(engine: &dyn Engine, device: &DeviceId, spec: &Spec, task: &Task, training: &Training) -> Result<Self> {
        training.validate()?;
        spec.validate()?;
        // Checked before the weights are drawn, because running out of memory there ends the process.
        reserve(spec, training, task.train.samples())?;
        let state = State::initial_on(spec, training, &task.train)?;
        let progress = Progress { tally: spec.tally(), ..Progress::default() };
        Self::resume(engine, device, spec, task, training, &state, progress)
    }

    /// Like [`Trainer::new`], but begins with the weights of a model ([`Model::beginning`]).
    pub fn from_model(
        engine: &dyn Engine,
        device: &DeviceId,
        spec: &Spec,
        task: &Task,
        training: &Training,
        model: &Model,
    ) -> Result<Self> {
        training.validate()?;
        let state = model.beginning(spec, training)?;
        let progress = Progress { tally: spec.tally(), ..Progress::default() };
        Self::resume(engine, device, spec, task, training, &state, progress)
    }

    /// Like [`Trainer::new`], but goes on from a checkpoint, to the same bits as if training had never stopped.
    pub fn resume(
        engine: &dyn Engine,
        device: &DeviceId,
        spec: &Spec,
        task: &Task,
        training: &Training,
        state: &State,
        progress: Progress,
    ) -> Result<Self> {
        training.validate()?;
        spec.validate()?;
        check_progress(training, task, state, &progress)?;
        if let Some(metric) = training.stop.metric() {
            metric.check("stop", spec)?;
        }
        training.schedule.check(spec)?;
        reserve(spec, training, task.train.samples())?;
        let mut session = engine.open(device, spec, training)?;
        session.load(Split::Train, &task.train)?;
        session.load(Split::Validation, &task.validation)?;
        session.set_state(state)?;
        let training = training.clone().with_lengths();
        let course = Course {
            keep: Keep::Last,
            patience: Patience::of(training.stop, &progress.history),
            plateau: Plateau::of(&training.schedule, training.learning_rate, &progress.history),
            spec: spec.clone(),
            task: task.clone(),
            training,
            progress,
            best_state: None,
            best_is_new: false,
            orders: BTreeMap::new(),
            span_steps: 1,
            most_steps: MOST_STEPS,
        };
        Ok(Self { session, course, checkpoint_every: Duration::from_secs(10), inspect_every: 0 })
    }

    /// Sets the minimum time between two checkpoint events during the training. The default is 10 s.
    #[must_use]
    pub fn checkpoint_every(mut self, time: Duration) -> Self {
        self.checkpoint_every = time;
        self
    }

    /// Reports an [`Event::Inspection`] every `epochs` epochs. The default, 0, means never. An inspection takes about
    /// as long as five steps, and changes no bit.
    #[must_use]
    pub fn inspect_every(mut self, epochs: u64) -> Self {
        self.inspect_every = epochs;
        self
    }

    /// Sets the most steps that are taken between two [`Event::Steps`]. Spans are a tenth of a second long, which needs a
    /// clock. Without one (no feature `files`), as in a web page, they have at most 32 steps unless this is called. It
    /// changes no bit.
    #[must_use]
    pub fn span_steps(mut self, most: usize) -> Self {
        self.course.most_steps = most.max(1);
        self
    }

    /// Sets what the best epoch is the best in. The default is the lowest validation loss. The weights after the best
    /// epoch come with every [`Event::Checkpoint`]. In a training that goes on from a checkpoint, the best epoch so far is
    /// that of all its epochs by this metric.
    ///
    /// # Errors
    /// [`Error::Setting`] if the metric is an accuracy and the network has no classes.
    pub fn best_by(mut self, keep: Keep) -> Result<Self> {
        keep.metric().check("keep", &self.course.spec)?;
        let before = self.course.progress.best;
        self.course.progress.judge_by(keep);
        if self.course.progress.best != before {
            self.course.best_state = None;
        }
        self.course.keep = keep;
        Ok(self)
    }

    /// Whether [`Training::stop`] has ended the training before its last epoch.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.course.progress.epoch < self.course.training.epochs && self.course.patience.is_over()
    }

    /// Sets the weights after the best epoch, for a training that goes on from a checkpoint, so that every
    /// [`Event::Checkpoint`] has them.
    #[must_use]
    pub fn with_best(mut self, best: State) -> Self {
        self.course.best_state = Some(best);
        self
    }

    /// The network with the weights after the best epoch, if they are known.
    #[must_use]
    pub fn best_model(&self) -> Option<Model> {
        let Course { spec, best_state, .. } = &self.course;
        best_state.as_ref().map(|state| Model::new(spec.clone(), state.clone()))
    }

    /// The progress of the training.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.course.progress
    }

    /// Steps per epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.course.steps_per_epoch()
    }

    /// The session, to predict with.
    pub fn session(&mut self) -> &mut dyn Session {
        self.session.as_mut()
    }

    /// The network with its current weights.
    pub fn model(&mut self) -> Result<Model> {
        Ok(Model::new(self.course.spec.clone(), self.session.state()?.for_prediction()))
    }

    /// Trains to the end, and calls `each_epoch` after every epoch. Returns the last epoch.
    pub fn fit(&mut self, mut each_epoch: impl FnMut(&Epoch)) -> Result<Epoch> {
        let mut last = None;
        self.run(&mut |event| {
            if let Event::Epoch(epoch) = event {
                each_epoch(epoch);
                last = Some(Epoch::clone(epoch));
            }
            Ok(Flow::Continue)
        })?;
        last.ok_or_else(|| Error::setting("epochs", "the training is already complete", "ask for more epochs"))
    }

    /// Trains until all epochs are done or the listener stops it, and returns which of the two.
    ///
    /// Stops with [`Error::NonFinite`] at the first loss that is not finite. The last checkpoint is then the last good
    /// state.
    pub fn run(&mut self, listener: &mut dyn FnMut(&Event<'_>) -> Result<Flow>) -> Result<Flow> {
        let mut since_checkpoint = Clock::start();
        if self.course.progress.epoch == 0 && self.course.progress.step_in_epoch == 0 {
            self.checkpoint(listener)?;
        }
        while !self.course.is_done() {
            let flow = if self.course.progress.step_in_epoch < self.steps_per_epoch() {
                self.take_steps(listener)?
            } else if self.is_watched(self.course.progress.epoch + 1) {
                self.judge(listener)?
            } else {
                self.judge_and_go_on(listener)?
            };
            // If the listener asks to stop after the last epoch, the training is already done.
            if flow == Flow::Stop && !self.course.is_done() {
                self.checkpoint(listener)?;
                return Ok(Flow::Stop);
            }
            // Checkpoints fall within epochs, because the next epoch may begin before the last one is reported.
            let in_epoch = self.course.progress.step_in_epoch > 0;
            if in_epoch && since_checkpoint.seconds() >= self.checkpoint_every.as_secs_f64() {
                self.checkpoint(listener)?;
                since_checkpoint = Clock::start();
            }
        }
        self.checkpoint(listener)?;
        Ok(Flow::Continue)
    }

    /// Whether the next epoch cannot begin before this one has been reported: the state after it is needed, or its results
    /// may change the learning rate.
    fn is_watched(&self, epoch: u64) -> bool {
        epoch == self.course.training.epochs || self.is_inspected(epoch) || self.course.plateau.is_on()
    }

    fn is_inspected(&self, epoch: u64) -> bool {
        let every = self.inspect_every;
        every > 0 && (epoch == 1 || epoch == self.course.training.epochs || epoch.is_multiple_of(every))
    }

    /// Whether the epoch that was just reported turned out to be the last one, and is inspected as such.
    fn ends_early(&self) -> bool {
        self.inspect_every > 0 && self.is_stopped() && !self.is_inspected(self.course.progress.epoch)
    }

    /// Takes a span of the epoch's steps.
    fn take_steps(&mut self, listener: &mut Listener<'_>) -> Result<Flow> {
        let Self { session, course, .. } = self;
        let steps = course.steps_from(course.progress.epoch, course.progress.step_in_epoch);
        let clock = Clock::start();
        let report = session.train(&steps.span())?;
        course.add(&report, &clock, listener)
    }

    /// Evaluates the epoch, and inspects the network if that is due.
    fn judge(&mut self, listener: &mut Listener<'_>) -> Result<Flow> {
        let Self { session, course, .. } = self;
        let clock = Clock::start();
        let evaluation = session.evaluate(Split::Validation)?;
        let epoch = course.finish_epoch(&evaluation, &mut || session.state(), &clock)?;
        let flow = listener(&Event::Epoch(&epoch))?;
        if self.is_inspected(epoch.epoch) || self.ends_early() {
            self.inspect(listener)?;
        }
        Ok(flow)
    }

    /// Evaluates the epoch and takes the first span of the next one. The device may work on that span while the host
    /// reports the epoch, so the time that counts as training is what the host then still has to wait.
    fn judge_and_go_on(&mut self, listener: &mut Listener<'_>) -> Result<Flow> {
        let Self { session, course, .. } = self;
        let steps = course.steps_from(course.progress.epoch + 1, 0);
        let mut clock = Clock::start();
        let report = session.evaluate_then_train(Split::Validation, &steps.span(), &mut |evaluation, state| {
            let epoch = course.finish_epoch(&evaluation, state, &clock)?;
            let flow = listener(&Event::Epoch(&epoch))?;
            let next = course.progress.epoch + 1;
            if flow == Flow::Continue && next < course.training.epochs {
                course.order(next);
            }
            clock = Clock::start();
            Ok(if course.is_done() { Flow::Stop } else { flow })
        })?;
        if let Some(report) = report {
            return course.add(&report, &clock, listener);
        }
        if self.ends_early() {
            self.inspect(listener)?;
        }
        Ok(Flow::Stop)
    }

    /// Reports an inspection.
    fn inspect(&mut self, listener: &mut Listener<'_>) -> Result<()> {
        let Self { session, course, .. } = self;
        let (epoch, state) = (course.progress.epoch, session.state()?);
        // There is no gradient if weights are not finite. The next step reports that.
        if state.is_finite() {
            let order = course.order(epoch - 1);
            let gradient = session.gradient(&order[..course.training.samples_per_update().min(order.len())])?;
            listener(&Event::Inspection { epoch, state: &state, gradient: &gradient })?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, listener: &mut Listener<'_>) -> Result<()> {
        let course = &mut self.course;
        let state = course.finite(self.session.state()?)?;
        if std::mem::take(&mut course.best_is_new) {
            course.progress.best_weights = course.best_state.as_ref().map(State::digest);
        }
        let (progress, best) = (&course.progress, course.best_state.as_ref());
        listener(&Event::Checkpoint { state: &state, progress, best })?;
        Ok(())
    }
}

impl Course {
    fn steps_per_epoch(&self) -> usize {
        self.training.updates_per_epoch(self.task.train.samples())
    }

    fn is_done(&self) -> bool {
        self.progress.epoch >= self.training.epochs || self.progress.step_in_epoch == 0 && self.patience.is_over()
    }

    /// The order of the samples in an epoch, drawn once.
    fn order(&mut self, epoch: u64) -> Arc<Vec<u32>> {
        self.orders.retain(|&drawn, _| drawn + 1 >= epoch);
        let (seed, samples) = (self.training.seed, self.task.train.samples());
        let count = self.training.samples_per_epoch(samples);
        let draw = || {
            let mut order = permutation(seed, epoch, samples);
            order.truncate(count);
            Arc::new(order)
        };
        self.orders.entry(epoch).or_insert_with(draw).clone()
    }

    /// An epoch's steps from one of them on, as many as a span should have.
    fn steps_from(&mut self, epoch: u64, first: usize) -> Steps {
        let steps = self.span_steps.min(self.most_steps).min(self.steps_per_epoch() - first);
        let batch_size = self.training.samples_per_update();
        let first_step = epoch * self.steps_per_epoch() as u64 + first as u64;
        let all = first_step..first_step + steps as u64;
        Steps {
            first_step,
            order: self.order(epoch),
            begin: first * batch_size,
            batch_size,
            learning_rate: all.clone().map(|step| self.rate(step)).collect(),
            decay: self.factors(&self.training.decay_schedule, all.clone()),
            dropout: self.factors(&self.training.dropout_schedule, all),
        }
    }

    /// The factors that a schedule gives to some steps. None if they are all 1.
    fn factors(&self, schedule: &Schedule, steps: Range<u64>) -> Vec<f32> {
        if *schedule == Schedule::CONSTANT {
            return Vec::new();
        }
        steps.map(|step| schedule.rate(1.0, step, self.steps_per_epoch())).collect()
    }

    /// The learning rate of a step.
    fn rate(&self, step: u64) -> f32 {
        self.training.schedule.rate_of(self.plateau.rate(), step, self.steps_per_epoch())
    }

    /// Adds the results of a span to the progress, and reports them.
    fn add(&mut self, report: &Report, clock: &Clock, listener: &mut Listener<'_>) -> Result<Flow> {
        let progress = &mut self.progress;
        if let Some(step) = report.first_non_finite {
            let (epoch, step) = (progress.epoch + 1, progress.step_in_epoch + step + 1);
            return Err(self.non_finite("the loss", epoch, step));
        }
        // Added one by one, so that the end of a span cannot change the sum's bits.
        progress.loss_sum = report.losses.iter().fold(progress.loss_sum, |sum, loss| sum + loss);
        progress.tally.merge(&report.tally);
        progress.step_in_epoch += report.losses.len();
        let seconds = clock.seconds();
        progress.train_seconds += seconds;
        let steps_per_epoch = self.steps_per_epoch();
        self.span_steps = next_span(self.span_steps, seconds).min(steps_per_epoch);
        listener(&Event::Steps { progress: &self.progress, steps_per_epoch, losses: &report.losses })
    }

    /// Moves on to the next epoch, once this one is evaluated. `state` fetches the evaluated weights.
    fn finish_epoch(
        &mut self,
        evaluation: &Evaluation,
        state: &mut dyn FnMut() -> Result<State>,
        clock: &Clock,
    ) -> Result<Epoch> {
        if !evaluation.loss.is_finite() {
            return Err(self.non_finite("the loss", self.progress.epoch + 1, self.steps_per_epoch()));
        }
        let accuracy = |confusion: &Confusion| (confusion.classes() > 0).then(|| confusion.accuracy());
        let balanced = |confusion: &Confusion| (confusion.classes() > 0).then(|| confusion.balanced_accuracy());
        let rate = self.rate((self.progress.epoch + 1) * self.steps_per_epoch() as u64 - 1);
        let progress = &self.progress;
        let epoch = Epoch {
            epoch: progress.epoch + 1,
            train_loss: progress.loss_sum / progress.step_in_epoch as f64,
            train_acc: (progress.tally.classes() > 0).then(|| progress.tally.accuracy()),
            val_loss: evaluation.loss,
            val_acc: accuracy(&evaluation.confusion),
            train_balanced_acc: (progress.tally.classes() > 0).then(|| progress.tally.balanced_accuracy()),
            val_balanced_acc: balanced(&evaluation.confusion),
            learning_rate: rate,
            train_seconds: progress.train_seconds,
            eval_seconds: clock.seconds(),
        };
        self.patience.add(&epoch);
        self.plateau.add(&epoch);
        let found = self.keep.metric().of(&epoch).map(|value| (epoch.epoch, value));
        let best = match (progress.best, found) {
            (Some(best), Some(found)) if !self.keep.is_better(found.1, best.1) => Some(best),
            (best, found) => found.or(best),
        };
        if best != progress.best {
            self.best_state = Some(self.finite(state()?)?.for_prediction());
            self.best_is_new = true;
        }
        let progress = &mut self.progress;
        let mut history = std::mem::take(&mut progress.history);
        history.push(epoch.clone());
        *progress = Progress {
            epoch: epoch.epoch,
            tally: self.spec.tally(),
            best,
            best_weights: progress.best_weights.take(),
            history,
            ..Progress::default()
        };
        Ok(epoch)
    }

    /// The weights, if all are finite. If a step makes weights infinite or NaN, only the loss of the next step shows
    /// it. A checkpoint between the two would replace the last good one with one that cannot be loaded.
    fn finite(&self, state: State) -> Result<State> {
        if state.is_finite() {
            return Ok(state);
        }
        let (epoch, step) = match self.progress.step_in_epoch {
            0 => (self.progress.epoch, self.steps_per_epoch()),
            step => (self.progress.epoch + 1, step),
        };
        Err(self.non_finite("a weight", epoch, step))
    }

    fn non_finite(&self, what: &'static str, epoch: u64, step: usize) -> Error {
        // Before the first step, there is no epoch yet.
        let steps = epoch.saturating_sub(1) * self.steps_per_epoch() as u64 + step as u64;
        let learning_rate = self.rate(steps.saturating_sub(1));
        Error::non_finite(what, epoch, step as u64, learning_rate)
    }
}

/// The steps of a span.
struct Steps {
    first_step: u64,
    /// The order of the whole epoch.
    order: Arc<Vec<u32>>,
    /// The span's first sample in that order.
    begin: usize,
    batch_size: usize,
    /// One per step.
    learning_rate: Vec<f32>,
    /// One per step, or none.
    decay: Vec<f32>,
    dropout: Vec<f32>,
}

impl Steps {
    fn span(&self) -> Span<'_> {
        let end = self.begin.saturating_add(self.learning_rate.len().saturating_mul(self.batch_size));
        Span {
            first_step: self.first_step,
            order: &self.order[self.begin..end.min(self.order.len())],
            batch_size: self.batch_size,
            learning_rate: &self.learning_rate,
            decay: &self.decay,
            dropout: &self.dropout,
        }
    }
}

/// Checks that this training, on this data, can have reached the given state and progress.
fn check_progress(training: &Training, task: &Task, state: &State, progress: &Progress) -> Result<()> {
    let steps = training.updates_per_epoch(task.train.samples());
    let taken = progress.epoch.checked_mul(steps as u64).and_then(|sum| sum.checked_add(progress.step_in_epoch as u64));
    if progress.step_in_epoch > steps || taken != Some(state.step) {
        let problem = format!(
            "weights after {} steps are not those of epoch {}, step {}, with {steps} steps per epoch",
            state.step,
            progress.epoch.saturating_add(1),
            progress.step_in_epoch
        );
        return Err(Error::mismatch(problem, "continue with the batch size and the data that the training began with"));
    }
    let begun = progress.epoch + u64::from(progress.step_in_epoch > 0);
    if training.epochs < begun {
        let problem = format!("the training has already reached epoch {begun}, beyond {}", training.epochs);
        return Err(Error::setting("epochs", problem, format!("ask for {begun} or more")));
    }
    Ok(())
}

/// Asks for the memory that a training needs at its peak, so that too little memory is an error now and does not end
/// the process later.
pub(crate) fn reserve(spec: &Spec, training: &Training, samples: usize) -> Result<()> {
    let batch = training.samples_per_update().min(samples);
    // The weights in the engine, in a checkpoint, after the best epoch, and twice as the bytes of a file. What the
    // optimiser remembers of them is not in the best model.
    let copies = 5 + 4 * training.slots().len() as u64;
    let parameters = spec.parameters() as u64;
    // Activations and their gradients.
    let values =
        spec.layers.iter().fold(spec.input.features as u64, |sum, layer| sum.saturating_add(layer.units as u64));
    let work = values.saturating_mul(batch as u64).saturating_mul(2);
    let bytes = parameters.saturating_mul(copies).saturating_add(work).saturating_mul(4);
    let what = format!("{parameters} parameters in batches of {batch}");
    memory::ask(bytes, &what, "use fewer or narrower layers, or a smaller batch")
}

/// The number of steps of the next span, given how long this one took.
fn next_span(steps: usize, seconds: f64) -> usize {
    if seconds < SPAN_SECONDS / 2.0 {
        steps * 2
    } else if seconds > SPAN_SECONDS * 2.0 {
        (steps / 2).max(1)
    } else {
        steps
    }
}

/// Seconds that have passed; always 0 if there is no clock (wasm without files).
struct Clock {
    #[cfg(feature = "files")]
    start: std::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self {
            #[cfg(feature = "files")]
            start: std::time::Instant::now(),
        }
    }

    #[cfg(feature = "files")]
    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    #[cfg(not(feature = "files"))]
    #[allow(clippy::unused_self, reason = "the same call with and without a clock")]
    fn seconds(&self) -> f64 {
        0.0
    }
}
