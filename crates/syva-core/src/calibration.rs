//! What is chosen after training, on validation data: the probability from which a sample counts as the second of two
//! classes, and the temperature that makes probabilities honest.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::arithmetic::Number;
use crate::predictions::Predictions;
use crate::{Error, Result};

/// How a threshold between two classes is chosen. A sample is taken for the second class, the positive one, if its
/// probability is at least the threshold.
///
/// ```
/// use syva_core::{Criterion, Predictions};
/// let positive = [0.1, 0.4, 0.35, 0.8];
/// let predictions = Predictions::new(2, positive.iter().flat_map(|p| [1.0 - p, *p]).collect(), vec![0, 0, 1, 1])?;
/// assert_eq!(Criterion::F1.threshold(&predictions)?, 0.35);
/// assert_eq!("cost:fp=3,fn=1".parse::<Criterion>()?.threshold(&predictions)?, 0.8);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Criterion {
    /// The highest F1 of the positive class.
    F1,
    /// The highest Youden's J: the true positive rate minus the false positive rate.
    Youden,
    /// The lowest cost.
    Cost {
        /// What a false positive costs.
        false_positive: f64,
        /// What a false negative costs.
        false_negative: f64,
    },
    /// This threshold.
    Fixed(f64),
}

impl FromStr for Criterion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |problem: String| {
            Err(Error::setting("threshold", problem, "give f1, youden, cost:fp=1,fn=5, or a probability such as 0.3"))
        };
        match text.trim() {
            "f1" => return Ok(Self::F1),
            "youden" => return Ok(Self::Youden),
            _ => {}
        }
        if let Some(costs) = text.trim().strip_prefix("cost:") {
            let (mut false_positive, mut false_negative) = (None, None);
            for part in costs.split(',') {
                let Some((name, cost)) = part.split_once('=') else { return refuse(format!("'{text}' is no cost")) };
                let place = match name.trim() {
                    "fp" => &mut false_positive,
                    "fn" => &mut false_negative,
                    _ => return refuse(format!("'{text}' has the cost of neither fp nor fn")),
                };
                match cost.trim().parse() {
                    Ok(cost) if f64::is_finite(cost) && cost >= 0.0 => *place = Some(cost),
                    _ => return refuse(format!("'{text}' has a cost that is not a number from 0 on")),
                }
            }
            return match (false_positive, false_negative) {
                (Some(fp), Some(fn_)) if fp + fn_ > 0.0 => Ok(Self::Cost { false_positive: fp, false_negative: fn_ }),
                _ => refuse(format!("'{text}' needs the costs of both fp and fn, not both 0")),
            };
        }
        match text.trim().parse() {
            Ok(threshold) if (0.0..=1.0).contains(&threshold) => Ok(Self::Fixed(threshold)),
            _ => refuse(format!("'{text}' is no way to choose a threshold")),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F1 => write!(f, "f1"),
            Self::Youden => write!(f, "youden"),
            Self::Cost { false_positive, false_negative } => write!(f, "cost:fp={false_positive},fn={false_negative}"),
            Self::Fixed(threshold) => write!(f, "{threshold}"),
        }
    }
}

impl Criterion {
    /// The threshold for some predictions: one of the positive class's probabilities, or a number just above all of them. Of
    /// equally good ones it is the one nearest to 1/2.
    ///
    /// # Errors
    /// If there are not two classes, or only one of them occurs.
    pub fn threshold(self, predictions: &Predictions) -> Result<f64> {
        let mut ranked = positives(predictions)?;
        if let Self::Fixed(threshold) = self {
            return Ok(threshold);
        }
        // From the highest probability on, more and more samples are positive.
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let all = ranked.iter().filter(|(_, truth)| *truth).count() as f64;
        let others = ranked.len() as f64 - all;
        if all == 0.0 || others == 0.0 {
            let problem = "the samples that the threshold is chosen on are all of one class";
            return Err(Error::mismatch(problem, "validate with more samples, or give the threshold as a number"));
        }
        let quality = |hits: f64, false_alarms: f64| match self {
            Self::F1 => 2.0 * hits / (hits + false_alarms + all),
            Self::Youden => hits / all - false_alarms / others,
            Self::Cost { false_positive, false_negative } => {
                -(false_positive * false_alarms + false_negative * (all - hits))
            }
            Self::Fixed(_) => 0.0,
        };
        let (mut hits, mut false_alarms) = (0.0, 0.0);
        let mut best = (quality(0.0, 0.0), ranked[0].0.next_up());
        for equal in ranked.chunk_by(|a, b| a.0 == b.0) {
            let found = equal.iter().filter(|(_, truth)| *truth).count() as f64;
            hits += found;
            false_alarms += equal.len() as f64 - found;
            let (score, threshold) = (quality(hits, false_alarms), equal[0].0);
            if score > best.0 || score == best.0 && (threshold - 0.5).abs() < (best.1 - 0.5).abs() {
                best = (score, threshold);
            }
        }
        Ok(best.1)
    }
}

/// For each sample, the probability of the second of two classes, and whether it is of that class.
fn positives(predictions: &Predictions) -> Result<Vec<(f64, bool)>> {
    if predictions.classes() != 2 {
        let problem = format!("a threshold is for two classes, and these are {}", predictions.classes());
        return Err(Error::mismatch(problem, "leave the threshold out"));
    }
    Ok((0..predictions.samples()).map(|s| (predictions.probabilities(s)[1], predictions.label(s) == 1)).collect())
}

/// The scores of a classifier of two classes at a threshold, as scikit-learn defines them; 0 where nothing is divided by
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ThresholdScores {
    /// The probability of the positive class from which a sample counts as positive.
    pub threshold: f64,
    /// Positive samples that were taken for positive.
    pub true_positives: u64,
    /// Negative samples that were taken for positive.
    pub false_positives: u64,
    /// Positive samples that were taken for negative.
    pub false_negatives: u64,
    /// Negative samples that were taken for negative.
    pub true_negatives: u64,
    /// The share of right predictions.
    pub accuracy: f64,
    /// The share of the positive predictions that are right.
    pub precision: f64,
    /// The share of the positive samples that were found.
    pub recall: f64,
    /// The share of the negative samples that were taken for negative.
    pub specificity: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
}

impl ThresholdScores {
    /// The scores of predictions at a threshold.
    ///
    /// # Errors
    /// If there are not two classes.
    pub fn at(threshold: f64, predictions: &Predictions) -> Result<Self> {
        let mut counts = [[0u64; 2]; 2];
        for (p, truth) in positives(predictions)? {
            counts[usize::from(truth)][usize::from(p >= threshold)] += 1;
        }
        let [[true_negatives, false_positives], [false_negatives, true_positives]] = counts;
        let share = |part: u64, rest: u64| if part == 0 { 0.0 } else { part as f64 / (part + rest) as f64 };
        Ok(Self {
            threshold,
            true_positives,
            false_positives,
            false_negatives,
            true_negatives,
            accuracy: share(true_positives + true_negatives, false_positives + false_negatives),
            precision: share(true_positives, false_positives),
            recall: share(true_positives, false_negatives),
            specificity: share(true_negatives, false_positives),
            f1: share(2 * true_positives, false_positives + false_negatives),
        })
    }
}

/// The range in which a temperature is looked for.
const TEMPERATURES: [f64; 2] = [1.0 / 64.0, 64.0];

impl Predictions {
    /// The temperature T that minimises the log-loss of `softmax(logits / T)` (Guo et al. 2017), within 1/64 and 64. It is
    /// above 1 for a classifier that is too sure of itself.
    ///
    /// ```
    /// use syva_core::Predictions;
    /// // Always 90 % sure, and right in three of four cases: 75 % would be honest.
    /// let predictions = Predictions::new(2, [0.1, 0.9].repeat(4), vec![1, 1, 1, 0])?;
    /// let honest = predictions.at_temperature(predictions.temperature());
    /// assert!((honest.probabilities(0)[1] - 0.75).abs() < 1e-12);
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    #[must_use]
    pub fn temperature(&self) -> f64 {
        let logits = self.logits();
        let classes = self.classes();
        // The slope of the log-loss by β = 1/T. It grows with β, because the log-loss is convex in β.
        let slope = |beta: f64| -> f64 {
            let of = |(sample, z): (usize, &[f64])| {
                let most = z.iter().fold(f64::NEG_INFINITY, |most, z| most.max(*z));
                let (mut sum, mut mean) = (0.0, 0.0);
                for z in z {
                    let p = Number::exp(beta * (z - most));
                    sum += p;
                    mean += p * z;
                }
                mean / sum - z[self.label(sample)]
            };
            logits.chunks_exact(classes).enumerate().map(of).sum()
        };
        let [coldest, hottest] = TEMPERATURES;
        let (mut low, mut high) = (1.0 / hottest, 1.0 / coldest);
        if slope(low) >= 0.0 {
            return hottest;
        }
        if slope(high) <= 0.0 {
            return coldest;
        }
        // Each step halves the interval, until there is no number in between.
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            *(if slope(middle) < 0.0 { &mut low } else { &mut high }) = middle;
        }
        1.0 / f64::midpoint(low, high)
    }

    /// The predictions with all logits divided by a temperature. The order of the classes stays.
    #[must_use]
    pub fn at_temperature(&self, temperature: f64) -> Self {
        let mut probabilities: Vec<f64> = (0..self.samples()).flat_map(|s| self.probabilities(s)).copied().collect();
        probabilities.chunks_exact_mut(self.classes()).for_each(|row| at_temperature(row, temperature));
        self.with(probabilities)
    }

    /// Logits `[samples, classes]`.
    fn logits(&self) -> Vec<f64> {
        let rows = (0..self.samples()).flat_map(|sample| self.probabilities(sample));
        rows.copied().map(logit).collect()
    }
}

/// Changes the probabilities of a sample's classes to those with all logits divided by a temperature.
///
/// ```
/// let mut probabilities = [0.8, 0.2];
/// syva_core::at_temperature(&mut probabilities, 2.0);
/// assert!((probabilities[0] - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn at_temperature(probabilities: &mut [f64], temperature: f64) {
    let most = probabilities.iter().fold(0.0_f64, |most, p| most.max(*p));
    for p in &mut *probabilities {
        *p = Number::exp((logit(*p) - logit(most)) / temperature);
    }
    let sum: f64 = probabilities.iter().sum();
    for p in probabilities {
        *p /= sum;
    }
}

/// A logit: the logarithm of a probability, which does not count as less than the least normal number.
fn logit(probability: f64) -> f64 {
    Number::log(probability.max(f64::MIN_POSITIVE))
}
