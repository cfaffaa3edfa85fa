//! How a network is trained: everything that makes the weights, beside the network and the data.

use serde::{Deserialize, Serialize};

use crate::engine::Rates;
use crate::groups::{Factors, Parametrization};
use crate::init::{BiasInit, Init};
use crate::ops::{Dropout, Judging, Loss, Noise, Optimizer, Perturbation};
use crate::schedule::Schedule;
use crate::spec::Spec;
use crate::stopping::Stop;
use crate::trainer::Progress;
use crate::weighting::ClassWeights;
use crate::{Error, Result};

/// The name of the slot that holds the moving average of the weights.
pub const AVERAGE: &str = "average";

/// How to train. The defaults are the chapter's.
///
/// ```
/// use syva_core::Training;
/// let training = Training { epochs: 20, ..Training::default() }.optimizer("adamw".parse()?);
/// assert_eq!((training.batch_size, training.learning_rate), (128, 0.01));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Passes over the training data.
    pub epochs: u64,
    /// Samples per step. The last batch of an epoch takes what is left.
    pub batch_size: usize,
    /// The learning rate.
    pub learning_rate: f32,
    /// Seed of the initial weights and of the order of the samples.
    pub seed: u32,
    /// How weights are initialised.
    pub init: Init,
    /// How biases are initialised.
    #[serde(default)]
    pub bias_init: BiasInit,
    /// How weights are updated.
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// What is minimised. It must fit the network's head.
    #[serde(default)]
    pub loss: Loss,
    /// What the classes weigh.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// The probability with which an activation of a hidden layer becomes 0 in a step ([`Dropout`](crate::ops::Dropout)). 0
    /// is off.
    #[serde(default)]
    pub dropout: f32,
    /// The probability with which a normalised input becomes 0 in a step. 0 is off.
    #[serde(default)]
    pub input_dropout: f32,
    /// The standard deviation of the noise that is added to normalised inputs in a step ([`Noise`](crate::ops::Noise)). 0 is
    /// off.
    #[serde(default)]
    pub input_noise: f32,
    /// The factor of |w| in the penalty that is added to the loss; its gradient is the factor times the sign of w. Biases
    /// have no penalty, and the loss is reported without it. 0 is off.
    #[serde(default)]
    pub l1: f32,
    /// The factor of w²/2 in the penalty, whose gradient is the factor times w (like [`Training::l1`]). 0 is off.
    #[serde(default)]
    pub l2: f32,
    /// The largest norm of the gradient of all weights and biases together (`torch.nn.utils.clip_grad_norm_`; Pascanu et al.
    /// 2013). A longer gradient is scaled down to it. 0 is off.
    #[serde(default)]
    pub clip_norm: f32,
    /// The largest magnitude of a single gradient (`torch.nn.utils.clip_grad_value_`). 0 is off.
    #[serde(default)]
    pub clip_value: f32,
    /// The largest norm of the weights that lead to a unit (`torch.renorm`; Srivastava et al. 2014). After a step, longer ones
    /// are scaled down to it. 0 is off.
    #[serde(default)]
    pub max_norm: f32,
    /// The share of the old average in an exponential moving average of the weights, which is evaluated and saved instead of
    /// them (`torch.optim.swa_utils.AveragedModel`; Polyak and Juditsky 1992). 0 is off.
    #[serde(default)]
    pub ema: f32,
    /// When training ends before its last epoch.
    #[serde(default)]
    pub stop: Stop,
    /// Batches per update (gradient accumulation). An update takes the mean gradient of so many batches, to the same bits as
    /// that of one batch of all their samples.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Factors of the learning rate for some weights and biases.
    #[serde(default)]
    pub lr_factors: Factors,
    /// Factors of the optimiser's weight decay for some weights and biases.
    #[serde(default)]
    pub decay_factors: Factors,
    /// In what measure weights are learned.
    #[serde(default)]
    pub parametrization: Parametrization,
    /// How the optimiser's weight decay changes: a schedule of a factor that is otherwise 1.
    #[serde(default)]
    pub decay_schedule: Schedule,
    /// How the probabilities of dropout change: a schedule of a factor that is otherwise 1.
    #[serde(default)]
    pub dropout_schedule: Schedule,
    /// The standard deviation of the initial frequencies of embedded numbers.
    #[serde(default = "frequency_spread")]
    pub frequency_spread: f32,
    /// Whether an epoch leaves out its last batch if that is smaller than the others (`drop_last` of PyTorch's
    /// `DataLoader`).
    #[serde(default)]
    pub drop_last: bool,
    /// Whether the output layer begins with weights and biases of 0.
    #[serde(default)]
    pub zero_last: bool,
}

fn frequency_spread() -> f32 {
    0.1
}

fn one() -> usize {
    1
}

impl Default for Training {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 128,
            learning_rate: 0.01,
            seed: 1,
            init: Init::Pytorch,
            bias_init: BiasInit::Auto,
            optimizer: Optimizer::SGD,
            schedule: Schedule::CONSTANT,
            stop: Stop::Never,
            loss: Loss::Auto,
            class_weights: ClassWeights::None,
            dropout: 0.0,
            input_dropout: 0.0,
            input_noise: 0.0,
            l1: 0.0,
            l2: 0.0,
            clip_norm: 0.0,
            clip_value: 0.0,
            max_norm: 0.0,
            ema: 0.0,
            accumulate: 1,
            lr_factors: Factors::default(),
            decay_factors: Factors::default(),
            parametrization: Parametrization::Standard,
            decay_schedule: Schedule::CONSTANT,
            dropout_schedule: Schedule::CONSTANT,
            frequency_spread: frequency_spread(),
            drop_last: false,
            zero_last: false,
        }
    }
}

impl Training {
    /// The same training with another seed.
    #[must_use]
    pub fn seed(self, seed: u32) -> Self {
        Self { seed, ..self }
    }

    /// The same training with other initial weights.
    #[must_use]
    pub fn init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    /// The same training with another optimiser.
    #[must_use]
    pub fn optimizer(self, optimizer: Optimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// The same training with another loss.
    #[must_use]
    pub fn loss(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// The same training with other weights of the classes.
    #[must_use]
    pub fn class_weights(self, class_weights: ClassWeights) -> Self {
        Self { class_weights, ..self }
    }

    /// Checks that the network can be trained with these settings. Returns what an engine computes of its outputs. Engines
    /// call it in `open`.
    pub fn check(&self, spec: &Spec) -> Result<Judging> {
        self.loss.validate()?;
        self.class_weights.validate()?;
        self.class_weights.check(spec)?;
        self.check_embedding(spec)?;
        self.loss.judging(spec.head)
    }

    /// Whether the initial weights depend on the training data.
    #[must_use]
    pub fn begins_with_data(&self) -> bool {
        self.init == Init::Standardized || self.bias_init == BiasInit::Hyperplanes
    }

    /// Checks that nothing is wanted that does not go with embedded inputs.
    fn check_embedding(&self, spec: &Spec) -> Result<()> {
        if spec.input.embedding.is_none() {
            return Ok(());
        }
        for (name, wanted) in [
            ("input-dropout", self.input_dropout > 0.0),
            ("input-noise", self.input_noise > 0.0),
            ("l1", self.l1 > 0.0),
            ("l2", self.l2 > 0.0),
            ("clip-norm", self.clip_norm > 0.0),
            ("clip-value", self.clip_value > 0.0),
            ("max-norm", self.max_norm > 0.0),
            ("ema", self.ema > 0.0),
            ("optimizer", self.optimizer.muon().is_some()),
        ] {
            if wanted {
                let problem = "this does not go with inputs that are embedded";
                return Err(Error::setting(name, problem, "leave it out, or do not embed inputs (--embedding none)"));
            }
        }
        Ok(())
    }

    /// Checks that no setting is without effect, for those that people choose: a schedule of what is off, factors of a group
    /// that this network does not have.
    pub fn check_effects(&self, spec: &Spec) -> Result<()> {
        let hidden = spec.layers.len() - 1;
        let plain = Factors::default();
        let no_decay = self.optimizer.weight_decay() == 0.0;
        let no_gains = spec.layers.iter().all(|layer| layer.gains() == 0);
        let decay = "give the optimizer a weight decay, such as adamw:weight_decay=0.01, or leave it out";
        let gains = "use an activation that is learned, such as prelu, or leave gains out";
        for (idle, setting, problem, remedy) in [
            (
                self.decay_schedule != Schedule::CONSTANT && no_decay,
                "decay-schedule",
                "there is no weight decay",
                decay,
            ),
            (self.decay_factors != plain && no_decay, "decay-factors", "there is no weight decay", decay),
            (self.lr_factors.gains != 1.0 && no_gains, "lr-factors", "there are no gains", gains),
            (self.decay_factors.gains != 1.0 && no_gains, "decay-factors", "there are no gains", gains),
            (
                self.dropout_schedule != Schedule::CONSTANT && self.dropout == 0.0 && self.input_dropout == 0.0,
                "dropout-schedule",
                "there is no dropout",
                "give --dropout or --input-dropout too, or leave it out",
            ),
            (
                self.dropout > 0.0 && hidden == 0,
                "dropout",
                "there is no hidden layer",
                "use --input-dropout, or give hidden layers",
            ),
            (
                self.optimizer.muon().is_some() && hidden < 2,
                "optimizer",
                "muon is for weights between hidden layers, and there are none",
                "give two hidden layers or more, or use adamw",
            ),
        ] {
            if idle {
                return Err(Error::setting(setting, problem, remedy));
            }
        }
        Ok(())
    }

    /// What an evaluation needs to know of this training, which is the loss. The rest has its defaults, so that any engine
    /// can do it.
    #[must_use]
    pub fn for_evaluation(&self) -> Self {
        Self::default().loss(self.loss)
    }

    /// What a training remembers of every weight and bias beside itself, by PyTorch's names: the optimiser's slots, and
    /// [`AVERAGE`] if there is one.
    #[must_use]
    pub fn slots(&self) -> Vec<&'static str> {
        let average = (self.ema > 0.0).then_some(AVERAGE);
        self.optimizer.rule().slots().iter().copied().chain(average).collect()
    }

    /// Whether more happens to a gradient than the optimiser's rule, so that all gradients of a step must be known before
    /// the first weight changes, or to the weights afterwards.
    #[must_use]
    pub fn stores_gradients(&self) -> bool {
        let held = [self.l1, self.l2, self.clip_norm, self.clip_value, self.max_norm, self.ema];
        self.optimizer.muon().is_some() || held.iter().any(|&value| value > 0.0)
    }

    /// The same training with schedules whose open lengths are its own ([`Schedule::over`]).
    #[must_use]
    pub fn with_lengths(self) -> Self {
        let epochs = self.epochs;
        self.map_schedules(|schedule| schedule.over(epochs))
    }

    /// The same training with schedules whose lengths are open, if they are as long as itself ([`Schedule::not_over`]).
    #[must_use]
    pub fn without_lengths(self) -> Self {
        let epochs = self.epochs;
        self.map_schedules(|schedule| schedule.not_over(epochs))
    }

    fn map_schedules(mut self, change: impl Fn(Schedule) -> Schedule) -> Self {
        for schedule in [&mut self.schedule, &mut self.decay_schedule, &mut self.dropout_schedule] {
            *schedule = change(std::mem::take(schedule));
        }
        self
    }

    /// Samples of an update: those of all its batches.
    #[must_use]
    pub fn samples_per_update(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// Updates per epoch of so many samples. The last one takes what is left, unless that is left out.
    #[must_use]
    pub fn updates_per_epoch(&self, samples: usize) -> usize {
        self.samples_per_epoch(samples).div_ceil(self.samples_per_update())
    }

    /// The samples of an epoch, of so many.
    #[must_use]
    pub fn samples_per_epoch(&self, samples: usize) -> usize {
        let each = self.samples_per_update();
        if self.drop_last && samples >= each { samples / each * each } else { samples }
    }

    /// What is random in a step, which is counted from 0.
    #[must_use]
    pub fn perturbation_in(&self, step: u64, rates: &Rates) -> Perturbation {
        // A factor of 0 makes a probability of 0, so that all steps of a training do the same.
        let dropout =
            |probability: f32| (probability > 0.0).then(|| Dropout::new(probability * rates.dropout, self.seed, step));
        let noise = (self.input_noise > 0.0).then(|| Noise::new(self.input_noise, self.seed, step));
        Perturbation { hidden: dropout(self.dropout), inputs: dropout(self.input_dropout), noise }
    }

    /// Whether training steps change their inputs at random.
    #[must_use]
    pub fn perturbs_inputs(&self) -> bool {
        self.input_dropout > 0.0 || self.input_noise > 0.0
    }

    /// The share of the distance to the weights by which their average moves in a step, which is counted from 0. It begins
    /// as the weights after the first step.
    #[must_use]
    pub fn average_share(&self, step: u64) -> f32 {
        if step == 0 { 1.0 } else { (1.0 - f64::from(self.ema)) as f32 }
    }

    /// Whether a training that has come so far is over: all epochs are done, or [`Training::stop`] ends it.
    #[must_use]
    pub fn is_over(&self, progress: &Progress) -> bool {
        progress.epoch >= self.epochs || self.stop.ends(&progress.history)
    }

    /// Checks that training can begin with these settings.
    pub fn validate(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::setting("batch-size", "a batch cannot have 0 samples", "give 1 or more"));
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            let problem = format!("{} is not a learning rate", self.learning_rate);
            return Err(Error::setting("lr", problem, "give a positive number, such as 0.01"));
        }
        self.init.validate()?;
        self.bias_init.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.stop.validate()?;
        self.loss.validate()?;
        self.class_weights.validate()?;
        for (name, value, below) in [
            ("dropout", self.dropout, 1.0),
            ("input-dropout", self.input_dropout, 1.0),
            ("input-noise", self.input_noise, f32::INFINITY),
            ("ema", self.ema, 1.0),
            ("l1", self.l1, f32::INFINITY),
            ("l2", self.l2, f32::INFINITY),
            ("clip-norm", self.clip_norm, f32::INFINITY),
            ("clip-value", self.clip_value, f32::INFINITY),
            ("max-norm", self.max_norm, f32::INFINITY),
            ("frequency-spread", self.frequency_spread, f32::INFINITY),
        ] {
            if !(0.0..below).contains(&value) {
                let problem = format!("{value} is out of range");
                let range = if below == 1.0 { "from 0 (off) to below 1" } else { "of 0 (off) or more" };
                return Err(Error::setting(name, problem, format!("give a number {range}")));
            }
        }
        if self.accumulate == 0 {
            return Err(Error::setting("accumulate", "an update cannot take 0 batches", "give 1 or more"));
        }
        self.lr_factors.validate("lr-factors")?;
        self.decay_factors.validate("decay-factors")?;
        self.decay_schedule.check_factor("decay-schedule")?;
        self.dropout_schedule.check_factor("dropout-schedule")?;
        if matches!(self.optimizer, Optimizer::Adagrad { initial, .. } if initial > 0.0)
            && self.parametrization != Parametrization::Standard
        {
            let problem = format!("{} begins with sums that are not of this measure", self.optimizer);
            return Err(Error::setting("parametrization", problem, "leave initial or --parametrization out"));
        }
        if self.clip_norm > 0.0 && self.clip_value > 0.0 {
            let problem = "gradients are clipped by norm or by value, not by both";
            return Err(Error::setting("clip-norm and clip-value", problem, "leave one of them out"));
        }
        if self.epochs == 0 {
            return Err(Error::setting("epochs", "0 would train nothing", "give 1 or more"));
        }
        Ok(())
    }
}
