//! Scores of predicted numbers, in the units of the target. Everything is computed in f64.

use serde::Serialize;

use crate::data::{Dataset, Targets};
use crate::engine::Session;
use crate::schema::Target;
use crate::spec::{Head, Spec};
use crate::state::Matrix;
use crate::{Error, Result};

/// How far predicted numbers are from the true ones.
///
/// ```
/// use syva_core::ValueScores;
/// let scores = ValueScores::of(&[1.0, 2.0, 6.0], &[1.0, 3.0, 4.0])?;
/// assert_eq!((scores.mse, scores.mae, scores.median_absolute_error), (5.0 / 3.0, 1.0, 1.0));
/// assert_eq!(scores.r2, Some(1.0 - 5.0 / 14.0));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ValueScores {
    /// Mean squared error (`sklearn.metrics.mean_squared_error`).
    pub mse: f64,
    /// Its root (`root_mean_squared_error`).
    pub rmse: f64,
    /// Mean absolute error (`mean_absolute_error`).
    pub mae: f64,
    /// Median absolute error (`median_absolute_error`).
    pub median_absolute_error: f64,
    /// The share of the variance that is explained (`r2_score`). `None` if the true numbers are all the same.
    pub r2: Option<f64>,
}

impl ValueScores {
    /// The scores of predictions, one for each true number.
    pub fn of(truth: &[f64], predicted: &[f64]) -> Result<Self> {
        check_pairs(truth, predicted)?;
        let n = truth.len() as f64;
        let errors = || truth.iter().zip(predicted).map(|(t, p)| p - t);
        let squares = errors().map(|e| e * e).sum::<f64>();
        let mean = truth.iter().sum::<f64>() / n;
        let spread = truth.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>();
        let mut absolute: Vec<f64> = errors().map(f64::abs).collect();
        absolute.sort_unstable_by(f64::total_cmp);
        let differ = truth.iter().any(|t| *t != truth[0]);
        Ok(Self {
            mse: squares / n,
            rmse: (squares / n).sqrt(),
            mae: absolute.iter().sum::<f64>() / n,
            median_absolute_error: crate::schema::sorted_quantile(&absolute, 0.5),
            r2: differ.then(|| 1.0 - squares / spread),
        })
    }
}

/// How well predictions of a quantile fit.
///
/// ```
/// use syva_core::QuantileScores;
/// let scores = QuantileScores::of(0.75, &[1.0, 2.0, 3.0, 4.0], &[2.0, 2.0, 2.0, 6.0])?;
/// assert_eq!((scores.coverage, scores.pinball_loss), (0.75, (0.25 + 0.75 + 0.5) / 4.0));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QuantileScores {
    /// The quantile that was to be predicted, from 0 to 1.
    pub quantile: f64,
    /// The share of true numbers that are not above their prediction. It should be the quantile.
    pub coverage: f64,
    /// The mean of `max(q·e, (q − 1)·e)`, where e is the true number minus the predicted one
    /// (`sklearn.metrics.mean_pinball_loss`).
    pub pinball_loss: f64,
}

impl QuantileScores {
    /// The scores of predictions, one for each true number.
    ///
    /// # Errors
    /// If there are not as many of both, or none.
    pub fn of(quantile: f64, truth: &[f64], predicted: &[f64]) -> Result<Self> {
        check_pairs(truth, predicted)?;
        let n = truth.len() as f64;
        let errors = || truth.iter().zip(predicted).map(|(t, p)| t - p);
        Ok(Self {
            quantile,
            coverage: errors().filter(|e| *e <= 0.0).count() as f64 / n,
            pinball_loss: errors().map(|e| f64::max(quantile * e, (quantile - 1.0) * e)).sum::<f64>() / n,
        })
    }
}

fn check_pairs(truth: &[f64], predicted: &[f64]) -> Result<()> {
    if truth.is_empty() || truth.len() != predicted.len() {
        let problem = format!("{} predictions for {} numbers", predicted.len(), truth.len());
        return Err(Error::mismatch(problem, "give one for each, and at least one"));
    }
    Ok(())
}

/// The true and the predicted numbers of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedValues {
    /// For each target: its name, and for each sample the true number and the predicted one.
    pub targets: Vec<(String, Vec<f64>, Vec<f64>)>,
}

impl PredictedValues {
    /// The predictions of a session's network for a data set, in the units of its schema, if it has one. A network that
    /// predicts distributions predicts their means here.
    ///
    /// # Errors
    /// If the data set has classes or labels.
    pub fn of(session: &mut dyn Session, spec: &Spec, data: &Dataset) -> Result<Self> {
        data.check(spec)?;
        let (Targets::Values { values, outputs }, true) = (data.targets(), spec.head != Head::MultiLabel) else {
            return Err(Error::mismatch("these targets are classes", "use a data set with values"));
        };
        let decode = Decoder::of(spec);
        let mut targets: Vec<(String, Vec<f64>, Vec<f64>)> =
            (0..*outputs).map(|k| (decode.name(k), Vec::new(), Vec::new())).collect();
        let mut found = Matrix::zeros(data.samples(), spec.outputs());
        session.predict(data.inputs(), &mut found)?;
        for (row, values) in values.chunks_exact(*outputs).enumerate() {
            let predicted = decode.values(found.row(row));
            for (k, (_, truth, guess)) in targets.iter_mut().enumerate() {
                truth.push(decode.value(k, f64::from(values[k])));
                guess.push(predicted[k]);
            }
        }
        Ok(Self { targets })
    }

    /// The scores of each target, with its name.
    pub fn scores(&self) -> Result<Vec<(String, ValueScores)>> {
        let scores =
            |(name, truth, guess): &(String, Vec<f64>, Vec<f64>)| Ok((name.clone(), ValueScores::of(truth, guess)?));
        self.targets.iter().map(scores).collect()
    }
}

/// What a network's outputs mean, in the units of its targets.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'a> {
    spec: &'a Spec,
}

impl<'a> Decoder<'a> {
    /// For a network that predicts numbers.
    #[must_use]
    pub fn of(spec: &'a Spec) -> Self {
        Self { spec }
    }

    /// The name of a target: its column, or its number.
    #[must_use]
    pub fn name(&self, target: usize) -> String {
        match self.spec.schema.as_deref().map(|schema| &schema.target) {
            Some(Target::Values { columns }) => columns[target].column.clone(),
            Some(Target::Labels { columns }) => columns[target].clone(),
            Some(Target::Classes { .. }) | None => format!("target_{}", target + 1),
        }
    }

    /// The number that a value means that the network learned.
    #[must_use]
    pub fn value(&self, target: usize, learned: f64) -> f64 {
        match self.spec.schema.as_deref().map(|schema| &schema.target) {
            Some(Target::Values { columns }) => columns[target].decode(learned),
            _ => learned,
        }
    }

    /// The number that an output predicts: what it means, held to the range that the schema may have.
    fn prediction(self, target: usize, output: f64) -> f64 {
        match self.spec.schema.as_deref().map(|schema| &schema.target) {
            Some(Target::Values { columns }) => columns[target].predict(output),
            _ => output,
        }
    }

    /// The predicted numbers of a sample, from its outputs as [`Session::predict`] leaves them; of distributions, the means.
    #[must_use]
    pub fn values(&self, outputs: &[f32]) -> Vec<f64> {
        let each = if self.spec.head == Head::Gaussian { 2 } else { 1 };
        let of = |(target, output): (usize, &f32)| self.prediction(target, f64::from(*output));
        outputs.iter().step_by(each).enumerate().map(of).collect()
    }

    /// The standard deviations that a network predicts with its means, if it does: in the units of the target, if that was
    /// only standardised.
    #[must_use]
    pub fn deviations(&self, outputs: &[f32]) -> Option<Vec<f64>> {
        if self.spec.head != Head::Gaussian {
            return None;
        }
        let scale = |target: usize| match self.spec.schema.as_deref().map(|schema| &schema.target) {
            Some(Target::Values { columns }) => columns[target].std,
            _ => 1.0,
        };
        let variances = outputs.iter().skip(1).step_by(2).enumerate();
        Some(variances.map(|(target, &variance)| f64::from(variance).sqrt() * scale(target)).collect())
    }
}
