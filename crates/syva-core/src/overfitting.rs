//! Overfitting in plain words: when validation stopped improving while training went on.

use std::fmt;

use serde::Serialize;

use crate::text::number;
use crate::trainer::Epoch;

/// What the curves of a run say about overfitting.
///
/// ```
/// # use syva_core::{Epoch, Overfitting};
/// # let epoch = |epoch, train_loss, val_loss| Epoch { epoch, train_loss, train_acc: None, val_loss, val_acc: None,
/// #     train_balanced_acc: None, val_balanced_acc: None, learning_rate: 0.1, train_seconds: 0.0, eval_seconds: 0.0 };
/// let epochs: Vec<Epoch> = vec![epoch(1, 1.0, 1.0), epoch(2, 0.5, 0.6), epoch(3, 0.2, 0.7)];
/// let found = Overfitting::of(&epochs).unwrap();
/// assert_eq!((found.best_epoch, found.epochs_since), (2, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overfitting {
    /// The epoch with the lowest validation loss; the first one if several are equal.
    pub best_epoch: u64,
    /// Its validation loss.
    pub best_val_loss: f64,
    /// The number of epochs after it. None of them has a lower validation loss.
    pub epochs_since: u64,
    /// Validation loss minus training loss in the last epoch. They are measured differently: see [`Epoch::train_loss`].
    pub loss_gap: f64,
    /// Training accuracy minus validation accuracy in the last epoch; `None` for regression.
    pub acc_gap: Option<f64>,
    /// The validation loss of the last epoch.
    pub last_val_loss: f64,
}

impl Overfitting {
    /// Examines a run's epochs. `None` if there are none.
    #[must_use]
    pub fn of(epochs: &[Epoch]) -> Option<Self> {
        let last = epochs.last()?;
        let best = epochs.iter().min_by(|a, b| a.val_loss.total_cmp(&b.val_loss))?;
        Some(Self {
            best_epoch: best.epoch,
            best_val_loss: best.val_loss,
            // Epochs that were put out of order by hand must not cause an overflow.
            epochs_since: last.epoch.saturating_sub(best.epoch),
            loss_gap: last.val_loss - last.train_loss,
            acc_gap: last.train_acc.zip(last.val_acc).map(|(train, val)| train - val),
            last_val_loss: last.val_loss,
        })
    }
}

impl fmt::Display for Overfitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { best_epoch, best_val_loss, last_val_loss, .. } = *self;
        if self.epochs_since == 0 {
            write!(f, "val loss was lowest in the last epoch ({best_epoch}): {}", number(best_val_loss))?;
        } else {
            let since = if self.epochs_since == 1 { "1 epoch".into() } else { format!("{} epochs", self.epochs_since) };
            let rose = 100.0 * (last_val_loss / best_val_loss - 1.0);
            // A rise of more than tenfold is shown as a factor.
            let rose =
                if rose < 1000.0 { format!("{rose:+.1} %") } else { format!("× {}", number(rose / 100.0 + 1.0)) };
            write!(
                f,
                "val loss was lowest at epoch {best_epoch}: {}; no improvement in {since} since ({} at the end, {rose})",
                number(best_val_loss),
                number(last_val_loss)
            )?;
        }
        let gap = self.acc_gap.map_or(String::new(), |gap| format!(", {:.2} points of accuracy", 100.0 * gap));
        write!(f, "\ngap between train and val at the end: {} in loss{gap}", number(self.loss_gap))?;
        if self.loss_gap < 0.0 {
            // Without this explanation, a negative gap looks like an error.
            write!(f, " (train loss is the mean over the epoch, val loss is taken after it)")?;
        }
        Ok(())
    }
}
