//! What is best, and when to stop: the metrics of an epoch, which of them a run is judged by, and the rule that ends a
//! training before its last epoch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{forms, named_parameter, text};
use crate::spec::{Spec, names};
use crate::trainer::Epoch;
use crate::{Error, Result};

/// A number that each epoch has. Its name is that in `metrics.jsonl`.
///
/// ```
/// use syva_core::Metric;
/// let metric: Metric = "val_acc".parse()?;
/// assert!(metric.is_better(0.9, 0.8) && Metric::ValLoss.is_better(0.8, 0.9));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// [`Epoch::val_loss`]; lower is better.
    #[default]
    ValLoss,
    /// [`Epoch::val_acc`]; higher is better.
    ValAcc,
    /// [`Epoch::val_balanced_acc`]; higher is better.
    ValBalancedAcc,
    /// [`Epoch::train_loss`]; lower is better.
    TrainLoss,
    /// [`Epoch::train_acc`]; higher is better.
    TrainAcc,
    /// [`Epoch::train_balanced_acc`]; higher is better.
    TrainBalancedAcc,
}

names!(
    Metric,
    "metric",
    ValLoss = "val_loss",
    ValAcc = "val_acc",
    ValBalancedAcc = "val_balanced_acc",
    TrainLoss = "train_loss",
    TrainAcc = "train_acc",
    TrainBalancedAcc = "train_balanced_acc",
);
named_parameter!(Metric);

impl Metric {
    /// Its value in an epoch. `None` for an accuracy if the network predicts values.
    #[must_use]
    pub fn of(self, epoch: &Epoch) -> Option<f64> {
        match self {
            Self::ValLoss => Some(epoch.val_loss),
            Self::ValAcc => epoch.val_acc,
            Self::ValBalancedAcc => epoch.val_balanced_acc,
            Self::TrainLoss => Some(epoch.train_loss),
            Self::TrainAcc => epoch.train_acc,
            Self::TrainBalancedAcc => epoch.train_balanced_acc,
        }
    }

    /// Whether less of it is better.
    #[must_use]
    pub fn falls(self) -> bool {
        matches!(self, Self::ValLoss | Self::TrainLoss)
    }

    /// Whether the first value is better than the second. False if they are equal, or if one is NaN.
    #[must_use]
    pub fn is_better(self, value: f64, than: f64) -> bool {
        if self.falls() { value < than } else { value > than }
    }

    /// Its name for people, such as `val loss`.
    #[must_use]
    pub fn label(self) -> String {
        self.to_string().replace('_', " ")
    }

    /// Checks that the epochs of this network have it. `setting` is what asks for it.
    pub(crate) fn check(self, setting: &str, spec: &Spec) -> Result<()> {
        if spec.classes() > 0 || matches!(self, Self::ValLoss | Self::TrainLoss) {
            return Ok(());
        }
        let problem = format!("{self} needs classes, and this network predicts values");
        Err(Error::setting(setting, problem, "use val_loss or train_loss"))
    }
}

/// When a training ends before its last epoch.
///
/// ```
/// use syva_core::{Metric, Stop};
/// let stop: Stop = "patience:epochs=20,metric=val_acc".parse()?;
/// assert_eq!(stop, Stop::Patience { epochs: 20, gain: 0.0, metric: Metric::ValAcc });
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Stop {
    /// Never.
    #[default]
    Never,
    /// After so many epochs without a gain (early stopping; as `keras.callbacks.EarlyStopping`).
    Patience {
        /// The number of these epochs.
        epochs: u64,
        /// By how much, at least, an epoch must be better than the last one that was a gain.
        gain: f64,
        /// What is to get better.
        metric: Metric,
    },
}

forms! { Stop,
    "never" => Never,
    "patience" => Patience { epochs = 10, gain = 0.0, metric = "val_loss" },
}
text!(Stop, "stop");

impl Stop {
    /// Checks that every parameter is in its range.
    pub fn validate(self) -> Result<()> {
        let refuse = |problem: String, remedy| Err(Error::setting("stop", problem, remedy));
        match self {
            Self::Patience { epochs: 0, .. } => {
                refuse("a patience of 0 epochs would end every training".into(), "give 1 or more, such as 10")
            }
            Self::Patience { gain, .. } if !(gain >= 0.0 && gain.is_finite()) => {
                refuse(format!("gain {gain} of patience is out of range"), "give a number of 0 or more, such as 0.0001")
            }
            _ => Ok(()),
        }
    }

    /// The metric that decides.
    #[must_use]
    pub fn metric(self) -> Option<Metric> {
        match self {
            Self::Never => None,
            Self::Patience { metric, .. } => Some(metric),
        }
    }

    /// Whether a training ends after the last of these epochs, which are all that it has had.
    #[must_use]
    pub fn ends(self, epochs: &[Epoch]) -> bool {
        Patience::of(self, epochs).is_over()
    }

    /// Why a training ended: `no gain in val loss for 20 epochs`. Empty for one that is never stopped.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::Never => String::new(),
            Self::Patience { epochs, gain, metric } => {
                let gain = if gain > 0.0 { format!(" of {gain}") } else { String::new() };
                let epochs = if epochs == 1 { "an epoch".into() } else { format!("{epochs} epochs") };
                format!("no gain{gain} in {} for {epochs}", metric.label())
            }
        }
    }
}

/// How long a training has had no gain. It follows from the epochs alone, so a checkpoint, which has them, needs no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    stop: Stop,
    /// The value of the last epoch that was a gain.
    best: Option<f64>,
    since: u64,
}

impl Patience {
    pub(crate) fn of(stop: Stop, epochs: &[Epoch]) -> Self {
        let mut patience = Self { stop, best: None, since: 0 };
        for epoch in epochs {
            patience.add(epoch);
        }
        patience
    }

    pub(crate) fn add(&mut self, epoch: &Epoch) {
        let Stop::Patience { gain, metric, .. } = self.stop else { return };
        let Some(value) = metric.of(epoch) else { return };
        let gains = |best: f64| metric.is_better(value, best) && (value - best).abs() >= gain;
        if self.best.is_none_or(gains) {
            (self.best, self.since) = (Some(value), 0);
        } else {
            self.since += 1;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stop, Stop::Patience { epochs, .. } if self.since >= epochs)
    }
}

/// Which weights become a run's model.
///
/// ```
/// use syva_core::{Keep, Metric};
/// assert_eq!("best".parse::<Keep>()?, Keep::best_by(Metric::ValLoss));
/// assert_eq!("best:metric=val_acc".parse::<Keep>()?, Keep::best_by(Metric::ValAcc));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Keep {
    /// The weights at the end of the training.
    #[default]
    Last,
    /// The weights of the best epoch.
    Best {
        /// What it is the best in.
        metric: Metric,
        /// Which one, if several are equally good.
        ties: Ties,
    },
}

/// Which of several equally good epochs is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

names!(Ties, "ties", First = "first", Last = "last");
named_parameter!(Ties);

forms! { Keep,
    "last" => Last,
    "best" => Best { metric = "val_loss", ties = "first" },
}
text!(Keep, "keep");

impl Keep {
    /// The best by this metric; of several, the first.
    #[must_use]
    pub fn best_by(metric: Metric) -> Self {
        Self::Best { metric, ties: Ties::First }
    }

    /// The metric by which a run tells its best epoch. A run that keeps the last weights also remembers the best ones by
    /// the validation loss, so that it can keep those later.
    #[must_use]
    pub fn metric(self) -> Metric {
        match self {
            Self::Last => Metric::ValLoss,
            Self::Best { metric, .. } => metric,
        }
    }

    /// Whether a value of the metric is better than that of an earlier epoch.
    #[must_use]
    pub fn is_better(self, value: f64, than: f64) -> bool {
        let ties = matches!(self, Self::Best { ties: Ties::Last, .. });
        self.metric().is_better(value, than) || ties && value == than
    }

    /// The best epoch and its value, if an epoch has one.
    #[must_use]
    pub fn best(self, epochs: &[Epoch]) -> Option<(u64, f64)> {
        let values = epochs.iter().filter_map(|epoch| Some((epoch.epoch, self.metric().of(epoch)?)));
        values.reduce(|best, next| if self.is_better(next.1, best.1) { next } else { best })
    }

    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "every type with forms has it")]
    fn validate(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(losses: &[f64]) -> Vec<Epoch> {
        let epoch = |(i, &val_loss): (usize, &f64)| Epoch {
            epoch: i as u64 + 1,
            train_loss: 1.0,
            train_acc: None,
            val_loss,
            val_acc: Some(1.0 - val_loss),
            train_balanced_acc: None,
            val_balanced_acc: None,
            learning_rate: 0.1,
            train_seconds: 0.0,
            eval_seconds: 0.0,
        };
        losses.iter().enumerate().map(epoch).collect()
    }

    /// The first number of epochs after which the rule ends a training.
    fn ends(stop: &str, losses: &[f64]) -> Option<usize> {
        let (stop, epochs) = (stop.parse::<Stop>().unwrap(), epochs(losses));
        (1..=epochs.len()).find(|&count| stop.ends(&epochs[..count]))
    }

    #[test]
    fn a_training_ends_after_so_many_epochs_without_a_gain() {
        let losses = [0.9, 0.8, 0.8, 0.85, 0.7, 0.69, 0.68, 0.71, 0.72];
        assert_eq!(ends("patience:2", &losses), Some(4));
        assert_eq!(ends("patience:2,metric=val_acc", &losses), Some(4));
        assert_eq!(ends("patience:3", &losses), None);
        // 0.7 is a gain on 0.8, and what follows is not far enough below it.
        assert_eq!(ends("patience:epochs=3,gain=0.05", &losses), Some(8));
        assert_eq!(ends("never", &losses), None);
        // Small gains add up.
        assert_eq!(ends("patience:epochs=2,gain=0.015", &[0.7, 0.69, 0.68, 0.67, 0.66]), None);
    }

    #[test]
    fn the_best_is_the_first_or_last_of_equals_by_the_direction_of_its_metric() {
        let epochs = epochs(&[0.5, 0.25, 0.25, 0.5]);
        let best = |text: &str| text.parse::<Keep>().unwrap().best(&epochs);
        assert_eq!(best("best"), Some((2, 0.25)));
        assert_eq!(best("best:metric=val_acc"), Some((2, 0.75)));
        assert_eq!(best("best:metric=val_acc,ties=last"), Some((3, 0.75)));
        assert_eq!(best("best:ties=last"), Some((3, 0.25)));
        assert_eq!(best("best:metric=train_acc"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_and_what_is_meant_is_offered() {
        let says = |text: &str| text.parse::<Stop>().unwrap_err().to_string();
        assert!(says("patience:0").contains("a patience of 0 epochs"), "{}", says("patience:0"));
        assert!(says("patience:1.5").contains("'1.5' is not a whole number; write patience:epochs=NUMBER"));
        assert!(says("patience:gain=-1").contains("gain -1 of patience is out of range"));
        let metric = says("patience:metric=val_los");
        assert!(
            metric.contains("unknown name 'val_los' (did you mean 'val_loss'?); write patience:metric=val_loss, val")
        );
        assert!(says("patience:min_gain=1").contains("no parameter 'min_gain'"));
        assert_eq!("patience:5,metric=ValAcc".parse::<Stop>().unwrap().to_string(), "patience:epochs=5,metric=val_acc");
        let keep = "best:metric=accuracy".parse::<Keep>().unwrap_err().to_string();
        assert!(keep.contains("write best:metric=val_loss, val_acc"), "{keep}");
    }
}
