//! Counts the correct and wrong predictions of a classifier.

use serde::{Deserialize, Serialize};

use crate::data::Targets;

/// The scores of one class against all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// The share of the predictions of this class that are right.
    pub precision: f64,
    /// The share of the samples of this class that were found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Samples of this class.
    pub support: u64,
}

/// The scores of a classifier, class by class, as in `sklearn.metrics.classification_report`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassificationReport {
    /// Each class.
    pub classes: Vec<Scores>,
    /// Mean over the classes.
    pub macro_average: Scores,
    /// Mean over the classes, weighted by their support.
    pub weighted: Scores,
}

/// How many samples of each class there are, and how many of them were predicted right: what of a [`Confusion`] a training
/// needs, of a size that a thousand classes do not make large.
///
/// ```
/// use syva_core::{Tally, data::Targets};
/// let targets = Targets::Classes { labels: vec![0, 0, 0, 1].into(), classes: 2 };
/// let mut tally = Tally::new(2);
/// assert_eq!(tally.count(&targets, [(0, 0), (1, 0), (2, 1), (3, 1)].into_iter()), 3);
/// assert_eq!(tally.accuracy(), 0.75);
/// assert_eq!(tally.balanced_accuracy(), (2.0 / 3.0 + 1.0) / 2.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredTally")]
pub struct Tally {
    /// Samples of each class that were predicted right.
    hits: Vec<u64>,
    /// Samples of each class.
    support: Vec<u64>,
}

/// A tally as checkpoints hold it. Older ones have a confusion matrix.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredTally {
    Tally { hits: Vec<u64>, support: Vec<u64> },
    Confusion { classes: usize, counts: Vec<u64> },
}

impl From<StoredTally> for Tally {
    fn from(stored: StoredTally) -> Self {
        match stored {
            StoredTally::Tally { hits, support } => Self { hits, support },
            // Of a damaged one comes a tally that is consistent with nothing.
            StoredTally::Confusion { classes, counts } if classes.checked_mul(classes) != Some(counts.len()) => {
                Self { hits: Vec::new(), support: vec![0] }
            }
            StoredTally::Confusion { classes, counts } => {
                let rows = || counts.chunks(classes.max(1)).enumerate();
                Self {
                    hits: rows().map(|(class, row)| row.get(class).copied().unwrap_or(0)).collect(),
                    support: rows().map(|(_, row)| row.iter().fold(0, |sum: u64, n| sum.saturating_add(*n))).collect(),
                }
            }
        }
    }
}

impl Tally {
    /// An empty tally of `classes` classes. With 0 classes, as in regression, nothing is counted.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { hits: vec![0; classes], support: vec![0; classes] }
    }

    /// Counts pairs of a sample's index and its guess, as [`Confusion::tally`] does. Returns how many classes or labels are
    /// right. For engines.
    pub fn count(&mut self, targets: &Targets, predictions: impl Iterator<Item = (usize, usize)>) -> u32 {
        let Self { hits, support } = self;
        count(hits.len(), targets, predictions, |truth, guess, count| {
            support[truth] += count;
            hits[truth] += if truth == guess { count } else { 0 };
        })
    }

    /// Adds the counts of another tally of as many classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes(), other.classes(), "tallies of different size");
        let mine = self.hits.iter_mut().chain(&mut self.support);
        mine.zip(other.hits.iter().chain(&other.support)).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.hits.len()
    }

    /// The share of samples that were predicted right. NaN if nothing was counted.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.hits.iter().sum::<u64>() as f64 / self.support.iter().sum::<u64>() as f64
    }

    /// The mean recall of the classes that occur ([`Confusion::balanced_accuracy`]). NaN if nothing was counted.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        mean_recall(self.hits.iter().copied().zip(self.support.iter().copied()))
    }

    /// Whether it can be one of so many classes. False only for a tally from a damaged file.
    pub(crate) fn is_consistent(&self, classes: usize) -> bool {
        let fits = self.hits.iter().zip(&self.support).all(|(hits, support)| hits <= support);
        self.hits.len() == classes && self.support.len() == classes && fits
    }
}

/// The mean share of hits, from the hits and the support of each class.
fn mean_recall(classes: impl Iterator<Item = (u64, u64)>) -> f64 {
    let (mut sum, mut present) = (0.0, 0u32);
    for (hits, support) in classes.filter(|&(_, support)| support > 0) {
        sum += hits as f64 / support as f64;
        present += 1;
    }
    sum / f64::from(present)
}

/// Passes on how often each truth met each guess: of classes or, if there are two and the targets are values, of labels.
/// Returns how many are right.
fn count(
    classes: usize,
    targets: &Targets,
    predictions: impl Iterator<Item = (usize, usize)>,
    mut add: impl FnMut(usize, usize, u64),
) -> u32 {
    let labels = match targets {
        Targets::Classes { labels, .. } => labels,
        Targets::Values { values, outputs } if classes == 2 => {
            let one = |(sample, guess): (usize, usize)| {
                let labels = &values[sample * outputs..][..*outputs];
                let ones = labels.iter().filter(|&&label| label > 0.0).count();
                // What a damaged device says must not end in a panic.
                let found = (guess & 0xffff).min(ones);
                let wrong = (guess >> 16).min(labels.len() - ones);
                let right = labels.len() - ones - wrong;
                for (place, count) in [right, wrong, ones - found, found].into_iter().enumerate() {
                    add(place / 2, place % 2, count as u64);
                }
                (found + right) as u32
            };
            return predictions.map(one).sum();
        }
        Targets::Values { .. } => return 0,
    };
    let mut hits = 0;
    for (sample, guess) in predictions {
        let truth = labels[sample] as usize;
        add(truth, guess, 1);
        hits += u32::from(truth == guess);
    }
    hits
}

/// A confusion matrix: how often samples of each class were predicted as each class. For a network with several labels per
/// sample it counts labels instead, 0 and 1, all of them together, so the accuracy is the share of labels that are right.
///
/// ```
/// use syva_core::Confusion;
/// let mut confusion = Confusion::new(2);
/// for (truth, guess) in [(0, 0), (0, 0), (0, 1), (1, 1)] {
///     confusion.add(truth, guess);
/// }
/// assert_eq!(confusion.accuracy(), 0.75);
/// assert_eq!(confusion.balanced_accuracy(), (2.0 / 3.0 + 1.0) / 2.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix for `classes` classes. With 0 classes, as in regression, nothing is counted.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one sample.
    pub fn add(&mut self, truth: usize, guess: usize) {
        self.counts[truth * self.classes + guess] += 1;
    }

    /// Counts pairs of a sample's index and its guess: the predicted class or, if the matrix has two classes and the targets
    /// are labels 0 and 1 as values, [`labels_guess`](crate::ops::labels_guess). Returns how many classes or labels are
    /// right. If the targets are other values, nothing is counted. For engines.
    pub fn tally(&mut self, targets: &Targets, predictions: impl Iterator<Item = (usize, usize)>) -> u32 {
        let classes = self.classes;
        count(classes, targets, predictions, |truth, guess, count| self.counts[truth * classes + guess] += count)
    }

    /// Adds the counts of another matrix with the same number of classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "confusion matrices of different size");
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of samples of class `truth` that were predicted as class `guess`.
    #[must_use]
    pub fn count(&self, truth: usize, guess: usize) -> u64 {
        self.counts[truth * self.classes + guess]
    }

    /// The number of samples counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The number of samples on the diagonal, whose predictions are right.
    #[must_use]
    pub fn hits(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// The share of samples on the diagonal. NaN if nothing was counted.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.hits() as f64 / self.total() as f64
    }

    /// The mean recall of the classes that occur, which is the share of their samples on the diagonal. This is
    /// `sklearn.metrics.balanced_accuracy_score` and torchmetrics' macro accuracy. NaN if nothing was counted.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        let support = |truth: usize| (0..self.classes).map(|guess| self.count(truth, guess)).sum();
        mean_recall((0..self.classes).map(|truth| (self.count(truth, truth), support(truth))))
    }

    /// Precision, recall and F1 of each class, and their averages. A share of nothing is 0.
    ///
    /// ```
    /// use syva_core::Confusion;
    /// let mut confusion = Confusion::new(2);
    /// for (truth, guess) in [(0, 0), (0, 0), (0, 1), (1, 1)] {
    ///     confusion.add(truth, guess);
    /// }
    /// let report = confusion.report();
    /// assert_eq!((report.classes[1].precision, report.classes[1].recall), (0.5, 1.0));
    /// assert_eq!(report.weighted.support, 4);
    /// ```
    #[must_use]
    pub fn report(&self) -> ClassificationReport {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let classes: Vec<Scores> = (0..self.classes)
            .map(|class| {
                let support: u64 = (0..self.classes).map(|guess| self.count(class, guess)).sum();
                let guessed: u64 = (0..self.classes).map(|truth| self.count(truth, class)).sum();
                let hits = self.count(class, class);
                Scores {
                    precision: share(hits, guessed),
                    recall: share(hits, support),
                    f1: share(2 * hits, guessed + support),
                    support,
                }
            })
            .collect();
        // As in scikit-learn, a class that neither occurs nor is predicted does not count in the averages.
        let present = |class: &usize| {
            let scores = &classes[*class];
            scores.support > 0 || (0..self.classes).any(|truth| self.count(truth, *class) > 0)
        };
        let present: Vec<Scores> = (0..self.classes).filter(present).map(|class| classes[class]).collect();
        let total = self.total();
        let average = |weight: &dyn Fn(&Scores) -> f64| {
            let sum: f64 = present.iter().map(weight).sum();
            let mean = |value: &dyn Fn(&Scores) -> f64| {
                let weighted: f64 = present.iter().map(|scores| weight(scores) * value(scores)).sum();
                if sum == 0.0 { 0.0 } else { weighted / sum }
            };
            Scores {
                precision: mean(&|s| s.precision),
                recall: mean(&|s| s.recall),
                f1: mean(&|s| s.f1),
                support: total,
            }
        };
        ClassificationReport { macro_average: average(&|_| 1.0), weighted: average(&|s| s.support as f64), classes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_also_read_from_a_confusion_matrix() {
        let wanted = Tally { hits: vec![3, 2], support: vec![4, 2] };
        let read = |text: &str| serde_json::from_str::<Tally>(text).unwrap();
        assert_eq!(read(r#"{"classes":2,"counts":[3,1,0,2]}"#), wanted);
        assert_eq!(read(&serde_json::to_string(&wanted).unwrap()), wanted);
        assert_eq!(read(r#"{"classes":0,"counts":[]}"#), Tally::new(0));
        // Damaged ones are none of two classes.
        for damaged in [r#"{"classes":3,"counts":[3,1,0,2]}"#, r#"{"hits":[3],"support":[4,5]}"#] {
            assert!(!read(damaged).is_consistent(2) && !read(damaged).is_consistent(3), "{damaged}");
        }
    }

    #[test]
    fn labels_are_tallied_as_in_the_matrix() {
        let targets = Targets::Values { values: vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0].into(), outputs: 3 };
        let guesses = || [(0, crate::ops::labels_guess(1, 1) as usize), (1, crate::ops::labels_guess(1, 1) as usize)];
        let (mut tally, mut matrix) = (Tally::new(2), Confusion::new(2));
        assert_eq!(tally.count(&targets, guesses().into_iter()), matrix.tally(&targets, guesses().into_iter()));
        assert_eq!((tally.accuracy(), tally.balanced_accuracy()), (matrix.accuracy(), matrix.balanced_accuracy()));
    }
}
