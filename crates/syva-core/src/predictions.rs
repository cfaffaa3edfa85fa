//! Evaluates a classifier by the probabilities that it gives: scores, calibration, ranking. Everything is computed in
//! f64, so that a score is a property of the predictions and not of the engine that made them.

use serde::Serialize;

use crate::arithmetic::{Number, SoftmaxRow};
use crate::data::{Dataset, Targets};
use crate::engine::Session;
use crate::metrics::Confusion;
use crate::regression::Decoder;
use crate::spec::{Head, Spec};
use crate::state::Matrix;
use crate::{Error, Result};

/// The probabilities that a classifier gave to samples, and the samples' true classes.
///
/// ```
/// use syva_core::Predictions;
/// let predictions = Predictions::new(2, vec![0.9, 0.1, 0.4, 0.6, 0.8, 0.2], vec![0, 1, 1])?;
/// assert_eq!(predictions.confusion().accuracy(), 2.0 / 3.0);
/// assert_eq!(predictions.auroc(1), Some(1.0)); // both ones have more probability than the zero
/// assert_eq!(predictions.worst(1), [2]);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    classes: usize,
    /// `[samples, classes]`.
    probabilities: Vec<f64>,
    labels: Vec<u32>,
}

/// Samples whose highest probability lies in the same interval of 0 … 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// The number of samples.
    pub samples: usize,
    /// The mean of their highest probabilities; 0 if there are no samples.
    pub confidence: f64,
    /// The share of correct predictions; 0 if there are no samples.
    pub accuracy: f64,
}

impl Predictions {
    /// Takes probabilities `[samples, classes]` and one label per sample.
    pub fn new(classes: usize, probabilities: Vec<f64>, labels: Vec<u32>) -> Result<Self> {
        if classes < 2 || probabilities.len() != labels.len().saturating_mul(classes) {
            let problem =
                format!("{} probabilities for {} samples of {classes} classes", probabilities.len(), labels.len());
            return Err(Error::mismatch(problem, "give one for each sample and class"));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            return Err(Error::mismatch(format!("label {label} of {classes} classes"), "count labels from 0"));
        }
        Ok(Self { classes, probabilities, labels })
    }

    /// The predictions of a session's network for a data set.
    pub fn of(session: &mut dyn Session, spec: &Spec, data: &Dataset) -> Result<Self> {
        data.check(spec)?;
        let Targets::Classes { labels, classes } = data.targets() else {
            return Err(Error::mismatch("these targets are values", "use a data set with classes"));
        };
        let mut outputs = Matrix::zeros(data.samples(), spec.outputs());
        session.predict(data.inputs(), &mut outputs)?;
        let of_row = |row| probabilities(spec.head, outputs.row(row));
        Self::new(*classes, (0..data.samples()).flat_map(of_row).collect(), labels.to_vec())
    }

    /// The predictions of a session's network with the head multi-label: for each label its name, and whether it is 1 or 0 as
    /// two classes.
    ///
    /// # Errors
    /// If the network has another head.
    pub fn of_labels(session: &mut dyn Session, spec: &Spec, data: &Dataset) -> Result<Vec<(String, Self)>> {
        data.check(spec)?;
        let (Targets::Values { values, outputs }, Head::MultiLabel) = (data.targets(), spec.head) else {
            return Err(Error::mismatch("these targets are no labels", "use a network with the head multi-label"));
        };
        let mut found = Matrix::zeros(data.samples(), *outputs);
        session.predict(data.inputs(), &mut found)?;
        let found: Vec<Vec<f64>> = (0..data.samples()).map(|row| probabilities(spec.head, found.row(row))).collect();
        let of_label = |label: usize| {
            let both = found.iter().flat_map(|row| [1.0 - row[label], row[label]]).collect();
            let truth = values.iter().skip(label).step_by(*outputs).map(|&value| u32::from(value > 0.0)).collect();
            Ok((Decoder::of(spec).name(label), Self::new(2, both, truth)?))
        };
        (0..*outputs).map(of_label).collect()
    }

    /// The same samples with other probabilities.
    pub(crate) fn with(&self, probabilities: Vec<f64>) -> Self {
        Self { classes: self.classes, probabilities, labels: self.labels.clone() }
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// The true class of a sample.
    #[must_use]
    pub fn label(&self, sample: usize) -> usize {
        self.labels[sample] as usize
    }

    /// A sample's probabilities, one per class.
    #[must_use]
    pub fn probabilities(&self, sample: usize) -> &[f64] {
        &self.probabilities[sample * self.classes..(sample + 1) * self.classes]
    }

    /// The predicted class, which has the highest probability; the first one if several are equal.
    #[must_use]
    pub fn guess(&self, sample: usize) -> usize {
        first_largest(self.probabilities(sample))
    }

    /// The confusion matrix.
    #[must_use]
    pub fn confusion(&self) -> Confusion {
        let mut confusion = Confusion::new(self.classes);
        (0..self.samples()).for_each(|sample| confusion.add(self.label(sample), self.guess(sample)));
        confusion
    }

    /// Share of samples whose class is among the `k` most probable. Ties are resolved as in
    /// `sklearn.metrics.top_k_accuracy_score`: of classes with equal probabilities the last count as more probable, but
    /// if there are only two classes, the first does. (So the most probable class can differ from
    /// [`Predictions::guess`], which is the first of equals.)
    ///
    /// ```
    /// use syva_core::Predictions;
    /// let equal = Predictions::new(4, vec![0.25; 16], vec![0, 1, 2, 3])?;
    /// assert_eq!(equal.top_k_accuracy(2), 0.5); // samples 2 and 3
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    #[must_use]
    pub fn top_k_accuracy(&self, k: usize) -> f64 {
        let hit = |sample: usize| {
            let (row, label) = (self.probabilities(sample), self.label(sample));
            let first = |j: usize| if self.classes == 2 { j < label } else { j > label };
            let before = row.iter().enumerate().filter(|&(j, &p)| p > row[label] || p == row[label] && first(j));
            before.count() < k
        };
        (0..self.samples()).filter(|&sample| hit(sample)).count() as f64 / self.samples() as f64
    }

    /// Mean of −ln of the true class's probability, which is taken to be at least 2⁻⁵² (`sklearn.metrics.log_loss`).
    #[must_use]
    pub fn log_loss(&self) -> f64 {
        let loss = |sample| -Number::log(f64::max(self.probabilities(sample)[self.label(sample)], f64::EPSILON));
        (0..self.samples()).map(loss).sum::<f64>() / self.samples() as f64
    }

    /// Mean squared difference between probability and truth, summed over the classes: 0 … 2 (Brier 1950). For two
    /// classes it is half of that, as in `sklearn.metrics.brier_score_loss`.
    #[must_use]
    pub fn brier_score(&self) -> f64 {
        let square = |sample: usize, j: usize, p: f64| {
            let error = p - f64::from(u8::from(self.label(sample) == j));
            error * error
        };
        let score = |sample| {
            let row = self.probabilities(sample).iter().enumerate();
            row.map(|(j, &p)| square(sample, j, p)).sum::<f64>()
        };
        let sum: f64 = (0..self.samples()).map(score).sum();
        sum / self.samples() as f64 / if self.classes == 2 { 2.0 } else { 1.0 }
    }

    /// The reliability diagram: samples grouped by their highest probability, in `bins` intervals of equal width.
    #[must_use]
    pub fn reliability(&self, bins: usize) -> Vec<ReliabilityBin> {
        let mut sums = vec![ReliabilityBin::default(); bins];
        for sample in 0..self.samples() {
            let guess = self.guess(sample);
            let confidence = self.probabilities(sample)[guess];
            let bin = &mut sums[((confidence * bins as f64) as usize).min(bins - 1)];
            bin.samples += 1;
            bin.confidence += confidence;
            bin.accuracy += f64::from(u8::from(guess == self.label(sample)));
        }
        for bin in sums.iter_mut().filter(|bin| bin.samples > 0) {
            bin.confidence /= bin.samples as f64;
            bin.accuracy /= bin.samples as f64;
        }
        sums
    }

    /// Expected calibration error: the distance between confidence and accuracy in the bins of
    /// [`Predictions::reliability`], averaged over the samples (Naeini et al. 2015; torchmetrics'
    /// `MulticlassCalibrationError` with `norm="l1"`).
    #[must_use]
    pub fn calibration_error(&self, bins: usize) -> f64 {
        let gap = |bin: &ReliabilityBin| bin.samples as f64 * (bin.confidence - bin.accuracy).abs();
        self.reliability(bins).iter().map(gap).sum::<f64>() / self.samples() as f64
    }

    /// Area under the receiver operating characteristic of a class against all others: the probability that a sample of
    /// the class has a higher probability for it than a sample of another class, where ties count half
    /// (`sklearn.metrics.roc_auc_score`). `None` if only one of the two kinds occurs.
    #[must_use]
    pub fn auroc(&self, class: usize) -> Option<f64> {
        let ranked = self.ranked(class);
        let (mut wins, mut above) = (0.0, 0.0);
        for equal in ranked.chunk_by(|a, b| a.0 == b.0) {
            let yes = equal.iter().filter(|(_, truth)| *truth).count() as f64;
            let no = equal.len() as f64 - yes;
            wins += no * (above + yes / 2.0);
            above += yes;
        }
        let no = ranked.len() as f64 - above;
        (above > 0.0 && no > 0.0).then(|| wins / (above * no))
    }

    /// Area under the precision-recall curve of a class against all others, without interpolation: the mean of the
    /// precisions at the probabilities of the class's samples (`sklearn.metrics.average_precision_score`). For a class with
    /// few samples, it says more than [`Predictions::auroc`]. `None` if the class does not occur.
    #[must_use]
    pub fn average_precision(&self, class: usize) -> Option<f64> {
        let (mut sum, mut yes, mut taken) = (0.0, 0.0, 0.0);
        for equal in self.ranked(class).chunk_by(|a, b| a.0 == b.0) {
            let more = equal.iter().filter(|(_, truth)| *truth).count() as f64;
            yes += more;
            taken += equal.len() as f64;
            sum += more * (yes / taken);
        }
        (yes > 0.0).then(|| sum / yes)
    }

    /// The probability of a class for each sample, the highest first, and whether the sample is of the class.
    fn ranked(&self, class: usize) -> Vec<(f64, bool)> {
        let mut ranked: Vec<(f64, bool)> =
            (0..self.samples()).map(|s| (self.probabilities(s)[class], self.label(s) == class)).collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        ranked
    }

    /// The `count` samples whose true class got the lowest probability, the worst first.
    #[must_use]
    pub fn worst(&self, count: usize) -> Vec<usize> {
        let truth = |&sample: &usize| self.probabilities(sample)[self.label(sample)];
        let mut samples: Vec<usize> = (0..self.samples()).collect();
        samples.sort_by(|a, b| truth(a).total_cmp(&truth(b)));
        samples.truncate(count);
        samples
    }
}

/// The probabilities of the classes, from a sample's outputs as [`Session::predict`] leaves them, or for the head
/// multi-label the probability of each label. Not for heads of values.
///
/// ```
/// use syva_core::{Head, probabilities};
/// assert_eq!(probabilities(Head::Logits, &[0.0, 0.0]), [0.5, 0.5]);
/// assert_eq!(probabilities(Head::Binary, &[0.0]), [0.5, 0.5]);
/// assert_eq!(probabilities(Head::MultiLabel, &[0.0, 0.0, 0.0]), [0.5, 0.5, 0.5]);
/// ```
#[must_use]
pub fn probabilities(head: Head, outputs: &[f32]) -> Vec<f64> {
    let mut z: Vec<f64> = outputs.iter().map(|&z| f64::from(z)).collect();
    match head {
        Head::MultiLabel => return z.into_iter().map(Number::sigmoid).collect(),
        // The logit of class 1 against 0 for class 0.
        Head::Binary => z.insert(0, 0.0),
        Head::Regression | Head::Poisson | Head::Gaussian | Head::Logits | Head::LogSoftmax => {}
    }
    // Log-probabilities can be used as logits.
    let mut probabilities = vec![0.0; z.len()];
    let sum = SoftmaxRow::<f64>::new(&z, &mut probabilities).sum;
    for p in &mut probabilities {
        *p /= sum;
    }
    probabilities
}

/// The index of the first largest value.
#[must_use]
pub fn first_largest(values: &[f64]) -> usize {
    values.iter().enumerate().fold(0, |best, (j, value)| if *value > values[best] { j } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example worked by hand, from the definitions of scikit-learn and Naeini.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a target's logarithm is near enough")]
    fn scores_of_four_samples() {
        let rows = [[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.4, 0.3], [0.05, 0.05, 0.9]];
        let predictions = Predictions::new(3, rows.concat(), vec![0, 2, 1, 2]).unwrap();
        assert_eq!(predictions.confusion().accuracy(), 0.75);
        assert_eq!(predictions.top_k_accuracy(2), 1.0);
        let log_loss = -(0.7f64.ln() + 0.4f64.ln() + 0.4f64.ln() + 0.9f64.ln()) / 4.0;
        assert!((predictions.log_loss() - log_loss).abs() < 1e-15);
        let brier: f64 = [0.09 + 0.04 + 0.01, 0.01 + 0.25 + 0.36, 0.09 + 0.36 + 0.09, 0.0025 * 2.0 + 0.01].iter().sum();
        assert!((predictions.brier_score() - brier / 4.0).abs() < 1e-15);
        // Bins of width 0.2: one with 0.4 and 0.5 (one of the two is right), one with 0.7, and one with 0.9.
        let gaps: f64 = 2.0 * f64::abs(0.45 - 0.5) + 0.3 + 0.1;
        assert!((predictions.calibration_error(5) - gaps / 4.0).abs() < 1e-15);
        // Class 2: 0.4 and 0.9 against 0.1 and 0.3.
        assert_eq!(predictions.auroc(2), Some(1.0));
        // The sample of class 1 is behind one of class 2.
        assert_eq!(predictions.average_precision(1), Some(0.5));
        assert_eq!(predictions.worst(2), [1, 2]);
    }

    /// The results of scikit-learn 1.9 for the same input:
    ///
    /// ```python
    /// p = [[.25, .25, .25, .25], [.4, .2, .2, .2], [.1, .4, .4, .1], [.3, .3, .1, .3], [.2, .2, .3, .3]]
    /// [top_k_accuracy_score([0, 1, 0, 1, 0], p, k=k, labels=range(4)) for k in (1, 2, 3)]  # 0, 0.2, 0.2
    /// [top_k_accuracy_score([3, 3, 1, 3, 3], p, k=k, labels=range(4)) for k in (1, 2, 3)]  # 0.6, 1, 1
    /// [top_k_accuracy_score([0, 1, 1], [.5, .5, .7], k=k) for k in (1, 2)]  # 2/3, 1
    /// ```
    #[test]
    fn equal_probabilities_are_among_the_top_as_in_scikit_learn() {
        let rows = [[0.25; 4], [0.4, 0.2, 0.2, 0.2], [0.1, 0.4, 0.4, 0.1], [0.3, 0.3, 0.1, 0.3], [0.2, 0.2, 0.3, 0.3]];
        let top = |labels: [u32; 5]| {
            let predictions = Predictions::new(4, rows.concat(), labels.to_vec()).unwrap();
            [1, 2, 3].map(|k| predictions.top_k_accuracy(k))
        };
        assert_eq!(top([0, 1, 0, 1, 0]), [0.0, 0.2, 0.2]);
        assert_eq!(top([3, 3, 1, 3, 3]), [0.6, 1.0, 1.0]);
        let two = Predictions::new(2, vec![0.5, 0.5, 0.5, 0.5, 0.3, 0.7], vec![0, 1, 1]).unwrap();
        assert_eq!([1, 2].map(|k| two.top_k_accuracy(k)), [2.0 / 3.0, 1.0]);
    }

    #[test]
    fn equal_probabilities_win_half() {
        let predictions = Predictions::new(2, [0.5; 8].to_vec(), vec![0, 1, 1, 0]).unwrap();
        assert_eq!(predictions.auroc(1), Some(0.5));
        let single = Predictions::new(2, vec![0.5, 0.5], vec![0]).unwrap();
        assert_eq!(single.auroc(1), None);
        assert_eq!((predictions.average_precision(1), single.average_precision(1)), (Some(0.5), None));
        assert_eq!(single.average_precision(0), Some(1.0));
    }
}
