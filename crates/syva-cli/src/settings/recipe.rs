//! Named sets of settings, and those that suit a table.

use std::str::FromStr;

use syva::data::{Targets, Task};
use syva::names::{find, unknown};
use syva::ops::Learned;
use syva::run::Keep;
use syva::{
    Activation, BiasInit, Error, Factors, Head, Init, Metric, Nonlinearity, Optimizer, Parametrization, Result, Ties,
};

use super::{Hidden, Settings};

/// A named set of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// The defaults.
    Today,
    /// The chapter as it was taught in 2026: Xavier's uniform weights, and biases of 0.
    Chapter2026,
    /// For tables: RealMLP with its tuned defaults.
    Tabular,
    /// RealMLP's simple form, without embeddings.
    TabularSmall,
    /// A network without any embedding, for tables.
    TabularPlain,
}

impl Recipe {
    const NAMES: &[(&str, Self)] = &[
        ("today", Self::Today),
        ("chapter-2026", Self::Chapter2026),
        ("tabular", Self::Tabular),
        ("tabular-small", Self::TabularSmall),
        ("tabular-plain", Self::TabularPlain),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, recipe)| *recipe == self).map_or("", |(name, _)| name)
    }

    pub(super) fn settings(self) -> Settings {
        match self {
            // What is for tables depends on them.
            Self::Today | Self::Tabular | Self::TabularSmall | Self::TabularPlain => Settings::default(),
            Self::Chapter2026 => {
                Settings { init: Some(Init::XAVIER_UNIFORM), bias_init: Some(BiasInit::Zeros), ..Settings::default() }
            }
        }
    }
}

impl FromStr for Recipe {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
        find(Self::NAMES, name).ok_or_else(|| unknown("recipe", name, &names))
    }
}

impl Settings {
    /// These settings for this data. What is missing comes from the recipe for tables, if they are for one.
    pub fn suited_to(self, task: &Task) -> Result<Self> {
        let recipe = match (&task.schema, self.recipe) {
            (None, Some(recipe @ (Recipe::Tabular | Recipe::TabularSmall | Recipe::TabularPlain))) => {
                let problem = format!("{} is for tables, and --data names none", recipe.name());
                return Err(Error::setting("recipe", problem, "leave it out, or give the file of a table with --data"));
            }
            (None, _) => return Ok(self),
            (Some(_), recipe) => recipe.unwrap_or(Recipe::Tabular),
        };
        let mut rest = match recipe {
            Recipe::Tabular => Self::realmlp(task, false),
            Recipe::TabularSmall => Self::realmlp(task, true),
            Recipe::TabularPlain => Self::plain_tabular(task),
            Recipe::Today | Recipe::Chapter2026 => return Ok(self),
        };
        // A rate and factors suit an optimiser, a stopping rule says what is best, and what is learned of activations or of
        // inputs must be there to have factors.
        if self.optimizer.is_some() {
            (rest.lr, rest.decay_schedule, rest.decay_factors) = (None, None, None);
        }
        rest.keep = rest.keep.filter(|_| self.stop.is_none());
        if self.loss.is_some() || self.head.is_some_and(|head| !matches!(head, Head::Logits | Head::LogSoftmax)) {
            rest.loss = None;
        }
        if self.dropout == Some(0.0) {
            rest.dropout_schedule = None;
        }
        let hidden = self.hidden.as_ref().or(rest.hidden.as_ref()).is_some_and(|hidden| !hidden.0.is_empty());
        if !hidden {
            (rest.dropout, rest.dropout_schedule) = (None, None);
        }
        let activation = self.activation.or(rest.activation).filter(|_| hidden);
        let has_gains = activation.is_some_and(|activation| activation.learned.has_gains());
        for factors in [&mut rest.lr_factors, &mut rest.decay_factors].into_iter().flatten() {
            factors.gains = if has_gains { factors.gains } else { 1.0 };
        }
        Ok(self.or(rest))
    }

    /// RealMLP's settings for this task, with tuned defaults (TD) or their simple form (TD-S): arXiv 2407.04491.
    fn realmlp(task: &Task, small: bool) -> Self {
        let classes = matches!(task.train.targets(), Targets::Classes { .. });
        let rows = task.train.samples();
        // Where the paper's 256 samples per batch would take hours.
        let (batch_size, epochs) = match rows {
            0..=30_000 => (256, 256),
            30_001..=100_000 => (512, 128),
            _ => (1024, 64),
        };
        let factors = |biases: f64, scales: f64| {
            let numbers = if small { 1.0 } else { 0.1 };
            Factors { biases, gains: numbers, numbers, scales, ..Factors::default() }
        };
        let weight_decay = if small { 0.0 } else { 0.02 };
        let flat_cos = || "flat-cos".parse().ok().filter(|_| !small);
        let activation = if classes { Activation::Selu } else { Activation::Mish };
        let learned = if small { Learned::Nothing } else { Learned::Blend };
        let metric = if classes { Metric::ValAcc } else { Metric::ValLoss };
        Self {
            hidden: Some(Hidden(vec![256, 256, 256])),
            activation: Some(Nonlinearity { activation, learned }),
            init: if small { "lecun-normal".parse().ok() } else { Some(Init::Standardized) },
            bias_init: Some(if small { BiasInit::Normal { std: 1.0 } } else { BiasInit::Hyperplanes }),
            zero_last: Some(small),
            parametrization: Some(Parametrization::Ntk),
            optimizer: Some(Optimizer::AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay }),
            lr: Some(match (classes, small) {
                (true, _) => 0.04,
                (false, true) => 0.07,
                (false, false) => 0.2,
            }),
            schedule: "coslog4".parse().ok(),
            lr_factors: Some(factors(0.1, 6.0)),
            // What has another rate decays by the square of its factor, as there.
            decay_factors: (!small).then(|| factors(0.0, 6.0)),
            decay_schedule: flat_cos(),
            dropout: Some(if small { 0.0 } else { 0.15 }),
            dropout_schedule: flat_cos(),
            loss: if classes { "cross-entropy:smoothing=0.1".parse().ok() } else { None },
            batch_size: Some(batch_size.min(rows)),
            drop_last: Some(true),
            epochs: Some(epochs),
            keep: Some(Keep::Best { metric, ties: Ties::Last }),
            ..Self::default()
        }
    }

    /// Settings without embeddings, which every device can train: found on the tables of the tests, for lack of a theory.
    fn plain_tabular(task: &Task) -> Self {
        let rows = task.train.samples();
        let batch_size = match rows {
            0..=8192 => 128,
            8193..=30_000 => 256,
            30_001..=100_000 => 512,
            _ => 1024,
        };
        let epochs = match rows {
            0..=10_000 => 256,
            10_001..=100_000 => 100,
            _ => 30,
        };
        Self {
            hidden: Some(Hidden(vec![256, 256, 256])),
            activation: Some(Activation::Mish.into()),
            optimizer: Some(Optimizer::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 }),
            lr: Some(0.005),
            schedule: "one-cycle".parse().ok(),
            dropout: Some(0.1),
            batch_size: Some(batch_size),
            epochs: Some(epochs),
            keep: Some(Keep::best_by(Metric::ValLoss)),
            ..Self::default()
        }
    }
}
