//! How a network is trained: everything that makes the weights, beside the network and the data.

use serde::{Deserialize, Serialize};

use crate::init::{BiasInit, Init};
use crate::ops::Optimizer;
use crate::schedule::Schedule;
use crate::stopping::Stop;
use crate::trainer::Progress;
use crate::{Error, Result};

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
    /// When training ends before its last epoch.
    #[serde(default)]
    pub stop: Stop,
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
        if self.epochs == 0 {
            return Err(Error::setting("epochs", "0 would train nothing", "give 1 or more"));
        }
        Ok(())
    }
}
