//! How a network is trained: everything that makes the weights, beside the network and the data.

use serde::{Deserialize, Serialize};

use crate::init::Init;
use crate::ops::{Judging, Loss, Optimizer};
use crate::schedule::Schedule;
use crate::spec::Spec;
use crate::weighting::ClassWeights;
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
}

impl Default for Training {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 128,
            learning_rate: 0.01,
            seed: 1,
            init: Init::Pytorch,
            optimizer: Optimizer::SGD,
            schedule: Schedule::CONSTANT,
            loss: Loss::Auto,
            class_weights: ClassWeights::None,
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
        self.loss.judging(spec.head)
    }

    /// What an evaluation needs to know of this training, which is the loss. The rest has its defaults, so that any engine
    /// can do it.
    #[must_use]
    pub fn for_evaluation(&self) -> Self {
        Self::default().loss(self.loss)
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
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.loss.validate()?;
        self.class_weights.validate()?;
        if self.epochs == 0 {
            return Err(Error::setting("epochs", "0 would train nothing", "give 1 or more"));
        }
        Ok(())
    }
}
