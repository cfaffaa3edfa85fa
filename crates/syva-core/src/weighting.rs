//! What samples and classes weigh in the mean loss of a batch.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arithmetic::Real;
use crate::data::{Dataset, Targets};
use crate::names::find;
use crate::ops::Judging;
use crate::reference::mean;
use crate::spec::Spec;
use crate::{Error, Result};

/// What the classes weigh in training. The mean loss of a batch is Σ w·loss / Σ w, where w is the weight of a sample's class,
/// times its own weight if the data has weights (`weight` of `torch.nn.CrossEntropyLoss`). An evaluation does not use
/// them, as in scikit-learn and Keras.
///
/// A weight multiplies the whole loss of a sample, smoothed or not. PyTorch instead weighs the smoothed part class by class,
/// so that the two agree only without label smoothing.
///
/// ```
/// use syva_core::ClassWeights;
/// let weights: ClassWeights = "1,2.5".parse()?;
/// assert_eq!(weights, ClassWeights::Given(vec![1.0, 2.5]));
/// assert_eq!("balanced".parse::<ClassWeights>()?.to_string(), "balanced");
/// assert!("1,-2".parse::<ClassWeights>().is_err());
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClassWeights {
    /// All classes weigh the same.
    #[default]
    None,
    /// Samples divided by classes and by the class's samples in the training data, so that all classes weigh the same
    /// together (`sklearn.utils.class_weight.compute_class_weight("balanced", …)`).
    Balanced,
    /// One weight per class.
    Given(Vec<f32>),
}

impl ClassWeights {
    const NAMES: &'static [(&'static str, u8)] = &[("none", 0), ("balanced", 1)];

    /// Checks that the weights are 0 or more, and not all 0.
    pub fn validate(&self) -> Result<()> {
        let refuse = |problem: String, remedy| Err(Error::setting("class-weights", problem, remedy));
        let Self::Given(weights) = self else { return Ok(()) };
        if let Some(class) = weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
            let problem = format!("the weight of class {class} is {}", weights[class]);
            return refuse(problem, "give finite numbers from 0 on");
        }
        if weights.iter().all(|&weight| weight == 0.0) {
            return refuse("all weights are 0".into(), "give at least one class more");
        }
        Ok(())
    }

    /// Checks that they fit the network's classes.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        let refuse = |problem: String, remedy| Err(Error::setting("class-weights", problem, remedy));
        match self {
            Self::Balanced | Self::Given(_) if spec.classes() == 0 => {
                refuse(format!("the head {} has no classes", spec.head), "leave them out, or give samples weights")
            }
            Self::Given(weights) if weights.len() != spec.classes() => {
                let problem = format!("{} weights for {} classes", weights.len(), spec.classes());
                refuse(problem, "give one per class, in the order of the labels")
            }
            Self::None | Self::Balanced | Self::Given(_) => Ok(()),
        }
    }

    /// The weights of the classes of training data. Empty if all weigh the same.
    fn of(&self, data: &Dataset) -> Vec<f32> {
        match (self, data.targets()) {
            (Self::Given(weights), _) => weights.clone(),
            (Self::Balanced, Targets::Classes { labels, classes }) => {
                let mut counts = vec![0_u64; *classes];
                labels.iter().for_each(|&label| counts[label as usize] += 1);
                let share = |&count: &u64| labels.len() as f64 / (*classes as f64 * count as f64);
                counts.iter().map(|count| if *count == 0 { 0.0 } else { share(count) as f32 }).collect()
            }
            (Self::None, _) | (Self::Balanced, Targets::Values { .. }) => Vec::new(),
        }
    }
}

impl FromStr for ClassWeights {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let weights = match find(Self::NAMES, text) {
            Some(0) => Self::None,
            Some(_) => Self::Balanced,
            None => {
                let number = |part: &str| {
                    part.trim().parse::<f32>().map_err(|_| {
                        let problem = format!("'{}' is not a number", part.trim());
                        Error::setting("class-weights", problem, "write balanced, none, or one number per class: 1,2.5")
                    })
                };
                Self::Given(text.split(',').map(number).collect::<Result<_>>()?)
            }
        };
        weights.validate()?;
        Ok(weights)
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Balanced => f.pad("balanced"),
            Self::Given(weights) => f.pad(&weights.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl TryFrom<String> for ClassWeights {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ClassWeights> for String {
    fn from(weights: ClassWeights) -> Self {
        weights.to_string()
    }
}

/// What each sample of a data set weighs in a mean loss. For engines.
#[derive(Clone, Debug, Default)]
pub struct Weighting(Option<Arc<[f64]>>);

impl Weighting {
    /// In training: the sample's weight times that of its class. The product of two f32 is exact in f64.
    #[must_use]
    pub fn of_training(class_weights: &ClassWeights, data: &Dataset) -> Self {
        let of_class = class_weights.of(data);
        let Targets::Classes { labels, .. } = data.targets() else { return Self::of_evaluation(data) };
        if of_class.is_empty() {
            return Self::of_evaluation(data);
        }
        let weight = |(sample, &label): (usize, &u32)| {
            let own = data.weights().map_or(1.0, |weights| weights[sample]);
            f64::from(own) * f64::from(of_class.get(label as usize).copied().unwrap_or(0.0))
        };
        Self(Some(labels.iter().enumerate().map(weight).collect()))
    }

    /// In an evaluation: the sample's weight.
    #[must_use]
    pub fn of_evaluation(data: &Dataset) -> Self {
        Self(data.weights().map(|weights| weights.iter().map(|&weight| f64::from(weight)).collect()))
    }

    /// Whether all samples weigh the same.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.0.is_none()
    }

    /// The mean loss of a batch: Σ w·loss / Σ w, both summed in f64 in the order of the samples (rule 7). It is 0 if all
    /// weights are 0, as long as the losses are finite.
    #[must_use]
    pub fn mean<T: Real>(&self, losses: &[T], samples: &[u32]) -> f64 {
        let Some(weights) = &self.0 else { return mean(losses) };
        let (mut sum, mut total) = (0.0, 0.0);
        for (loss, &sample) in losses.iter().zip(samples) {
            let weight = weights[sample as usize];
            // 0 times a loss that is not finite is NaN, as it should be.
            sum += weight * loss.to_f64();
            total += weight;
        }
        if total == 0.0 { sum } else { sum / total }
    }

    /// Adds w·loss of consecutive samples, from `first` on, to a sum.
    #[must_use]
    pub fn add<T: Real>(&self, sum: f64, losses: &[T], first: usize) -> f64 {
        match &self.0 {
            None => losses.iter().fold(sum, |sum, loss| sum + loss.to_f64()),
            Some(weights) => {
                losses.iter().zip(&weights[first..]).fold(sum, |sum, (loss, weight)| sum + weight * loss.to_f64())
            }
        }
    }

    /// Σ w over a data set of so many samples, in their order.
    #[must_use]
    pub fn total(&self, samples: usize) -> f64 {
        self.0.as_ref().map_or(samples as f64, |weights| weights.iter().sum())
    }

    /// The factor M of each sample of a batch (rule 7): scale · w / (terms · Σ w), computed in f64 and rounded once; 0 if all
    /// weights are 0. `None` if all samples weigh the same, so that the factor is [`Judging::factor`].
    #[must_use]
    pub fn factors<T: Real>(&self, judging: Judging, outputs: usize, samples: &[u32]) -> Option<Vec<T>> {
        let weights = self.0.as_ref()?;
        let of = |sample: &u32| weights[*sample as usize];
        let total: f64 = judging.terms(outputs) as f64 * samples.iter().map(of).sum::<f64>();
        let factor = |sample: &u32| if total == 0.0 { 0.0 } else { judging.scale() * of(sample) / total };
        Some(samples.iter().map(|sample| T::from_f64(factor(sample))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Inputs;
    use crate::spec::Head;
    use crate::{Activation, Mlp};

    fn data(labels: Vec<u32>, classes: usize) -> Dataset {
        let inputs = Inputs::F32((0..labels.len()).map(|i| i as f32).collect::<Vec<_>>().into());
        Dataset::new(inputs, 1, Targets::Classes { labels: labels.into(), classes }).unwrap()
    }

    /// `compute_class_weight("balanced", classes=np.arange(3), y=[0, 0, 0, 1])` gives 0.444, 1.333 and infinity.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        assert_eq!(ClassWeights::Balanced.of(&data(vec![0, 0, 0, 1], 3)), [4.0 / 9.0, 4.0 / 3.0, 0.0]);
        let weighting = Weighting::of_training(&ClassWeights::Balanced, &data(vec![0, 0, 0, 1], 2));
        // Each class has half of the mean.
        assert!((weighting.mean(&[1.0_f32, 1.0, 1.0, 5.0], &[0, 1, 2, 3]) - 3.0).abs() < 1e-6);
    }

    #[test]
    fn weights_that_cannot_be_are_refused() {
        let says = |text: &str| text.parse::<ClassWeights>().unwrap_err().to_string();
        assert!(says("1,-2").contains("the weight of class 1 is -2"));
        assert!(says("0,0").contains("all weights are 0"));
        assert!(says("1,NaN").contains("the weight of class 1 is NaN"));
        assert!(says("balance").contains("'balance' is not a number; write balanced, none, or"));
        let mlp = || Mlp::new(1).hidden(&[2], Activation::Relu);
        let said = |text: &str, spec: Spec| {
            text.parse::<ClassWeights>().unwrap().check(&spec).map_err(|error| error.to_string())
        };
        assert!(said("1,2", mlp().classes(3)).unwrap_err().contains("2 weights for 3 classes"));
        assert!(said("balanced", mlp().values(3)).unwrap_err().contains("the head regression has no classes"));
        assert!(said("balanced", mlp().labels(3)).unwrap_err().contains("the head multi-label has no classes"));
        assert_eq!(said("1,2", mlp().binary()), Ok(()));
        let samples =
            |weights: &[f32]| data(vec![0, 1], 2).with_weights(weights).map(|_| ()).map_err(|e| e.to_string());
        assert!(samples(&[1.0]).unwrap_err().contains("1 weights for 2 samples"));
        assert!(samples(&[f32::NAN, 1.0]).unwrap_err().contains("the weight of sample 0 is NaN"));
        assert!(samples(&[0.0, 0.0]).unwrap_err().contains("the weights of all samples are 0"));
        assert!(samples(&[0.0, f32::INFINITY]).is_err());
    }

    #[test]
    fn targets_that_a_head_cannot_have_are_refused() {
        let of = |values: Vec<f32>, outputs: usize| {
            let inputs = Inputs::F32(vec![0.0; values.len() / outputs].into());
            Dataset::new(inputs, 1, Targets::Values { values: values.into(), outputs }).unwrap()
        };
        let mlp = || Mlp::new(1).hidden(&[2], Activation::Relu);
        let says = |data: Dataset, spec: &Spec| data.check(spec).unwrap_err().to_string();
        let labels = mlp().labels(2);
        assert!(
            says(of(vec![0.0, 1.0, 0.0, 0.5], 2), &labels).contains("target 1 of sample 1 is 0.5, which multi-label")
        );
        assert!(of(vec![0.0, 1.0, 0.0, -0.0], 2).check(&labels).is_ok());
        assert!(says(of(vec![3.0, -1.0], 1), &mlp().counts(1)).contains("target 0 of sample 1 is -1, which poisson"));
        assert!(says(of(vec![3.0, -1.0], 1), &mlp().gaussian(2)).contains("4 outputs with head gaussian"));
        assert!(of(vec![3.0, -1.0], 1).check(&mlp().gaussian(1)).is_ok());
        assert!(
            says(data(vec![0, 1, 2], 3), &mlp().binary()).contains("3 classes, the network 1 outputs with head binary")
        );
        assert!(data(vec![0, 1, 1], 2).check(&mlp().binary()).is_ok());
        let odd = Spec { head: Head::Gaussian, ..mlp().values(3) };
        assert!(odd.validate().unwrap_err().to_string().contains("a mean and a variance per target, got 3"));
    }

    #[test]
    fn a_split_and_the_digest_know_the_weights() {
        let plain = data(vec![0, 1, 0, 1], 2);
        let weighted = plain.clone().with_weights([1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_ne!(plain.digest(), weighted.digest());
        let (first, second) = weighted.split(0.5, 3).unwrap();
        for part in [first, second] {
            for sample in 0..part.samples() {
                assert_eq!(part.weights().unwrap()[sample], part.inputs().get(sample) + 1.0);
            }
        }
    }
}
