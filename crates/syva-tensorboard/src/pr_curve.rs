use prost::Message;

use crate::proto::{DataType, PrCurvePluginData, TensorProto};
use crate::summary::tensor;

/// Precision and recall of a binary prediction, at thresholds from 0 to 1.
///
/// ```
/// use syva_tensorboard::PrCurve;
/// let curve = PrCurve::new([(0.9, true), (0.8, false), (0.3, true)], 11);
/// assert_eq!(curve.precision()[5], 0.5); // at 0.5 there are two positive predictions, one of them right
/// assert_eq!(curve.recall()[5], 0.5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PrCurve {
    true_positives: Vec<f64>,
    false_positives: Vec<f64>,
    positives: f64,
    negatives: f64,
}

impl PrCurve {
    /// Makes a curve from pairs of a probability (0 … 1) and the truth. A prediction is positive if its probability is
    /// at least the threshold. The thresholds are `i / (thresholds - 1)`, and there are at least two. TensorBoard
    /// itself uses 201.
    #[must_use]
    pub fn new(guesses: impl IntoIterator<Item = (f64, bool)>, thresholds: usize) -> Self {
        let thresholds = thresholds.max(2);
        let (mut yes, mut no) = (vec![0.0; thresholds], vec![0.0; thresholds]);
        for (probability, truth) in guesses {
            // The highest threshold that the probability reaches.
            let reached = (probability.clamp(0.0, 1.0) * (thresholds - 1) as f64) as usize;
            if truth { yes[reached] += 1.0 } else { no[reached] += 1.0 }
        }
        // A probability that reaches a threshold reaches all lower ones, too.
        for counts in [&mut yes, &mut no] {
            for i in (0..thresholds - 1).rev() {
                counts[i] += counts[i + 1];
            }
        }
        Self { positives: yes[0], negatives: no[0], true_positives: yes, false_positives: no }
    }

    /// The share of the positive predictions that are right, at each threshold. It is 0 if there are none, as in
    /// TensorBoard.
    #[must_use]
    pub fn precision(&self) -> Vec<f64> {
        let pairs = self.true_positives.iter().zip(&self.false_positives);
        pairs.map(|(tp, fp)| if tp + fp == 0.0 { 0.0 } else { tp / (tp + fp) }).collect()
    }

    /// The share of the positives that are found, at each threshold.
    #[must_use]
    pub fn recall(&self) -> Vec<f64> {
        let share = |tp: &f64| if self.positives == 0.0 { 0.0 } else { tp / self.positives };
        self.true_positives.iter().map(share).collect()
    }

    /// Rows: true and false positives, true and false negatives, precision, recall.
    pub(crate) fn encode(&self) -> (Vec<u8>, TensorProto) {
        let thresholds = self.true_positives.len();
        let rest = |all: f64, counts: &[f64]| counts.iter().map(|count| all - count).collect();
        let rows: [Vec<f64>; 6] = [
            self.true_positives.clone(),
            self.false_positives.clone(),
            rest(self.negatives, &self.false_positives),
            rest(self.positives, &self.true_positives),
            self.precision(),
            self.recall(),
        ];
        let content = rows.iter().flatten().flat_map(|&value| (value as f32).to_le_bytes()).collect();
        let plugin = PrCurvePluginData { version: 0, num_thresholds: thresholds as u32 };
        (plugin.encode_to_vec(), tensor(DataType::DtFloat, &[6, thresholds], content))
    }
}
