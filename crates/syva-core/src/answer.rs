//! A classifier's answer for a sample, for people: the classes by name, with their probabilities.

use std::fmt;
use std::sync::Arc;

use crate::predictions::{first_largest, probabilities};
use crate::spec::Spec;
use crate::{Error, Result};

/// The names of a network's classes. Cloning shares them.
///
/// ```
/// use syva_core::{Activation::Relu, ClassNames, Mlp};
/// let spec = Mlp::new(4).hidden(&[16], Relu).classes(3);
/// assert_eq!(ClassNames::numbers(&spec)?.name(2), "2");
/// assert_eq!(ClassNames::new(&spec, ["setosa", "versicolor", "virginica"])?.name(2), "virginica");
/// assert!(ClassNames::new(&spec, ["setosa", "versicolor"]).is_err());
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassNames(Arc<[String]>);

impl ClassNames {
    /// Takes a name for each class of the network, in the order of their labels. Returns an error for regression, which
    /// has no classes.
    pub fn new<N: Into<String>>(spec: &Spec, names: impl IntoIterator<Item = N>) -> Result<Self> {
        let names: Arc<[String]> = names.into_iter().map(Into::into).collect();
        match spec.classes() {
            0 => Err(Error::mismatch("this network predicts values, not classes", "use its outputs as they are")),
            classes if classes != names.len() => {
                let problem = format!("{} names for {classes} classes", names.len());
                Err(Error::mismatch(problem, "give one per class, in the order of the labels"))
            }
            _ => Ok(Self(names)),
        }
    }

    /// Names the classes by their labels: `0`, `1`, …
    pub fn numbers(spec: &Spec) -> Result<Self> {
        Self::new(spec, (0..spec.classes()).map(|class| class.to_string()))
    }

    /// The names that the network itself has for its classes, or else their labels.
    pub fn of(spec: &Spec) -> Result<Self> {
        spec.named_classes().map_or_else(|| Self::numbers(spec), |names| Self::new(spec, names))
    }

    /// The name of a class.
    #[must_use]
    pub fn name(&self, class: usize) -> &str {
        &self.0[class]
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.0.len()
    }

    /// The answer for a sample, from its outputs as [`Session::predict`](crate::Session::predict) returns them. Returns
    /// an error if there are no probabilities because an output is NaN or infinite.
    pub fn answer(&self, spec: &Spec, outputs: &[f32]) -> Result<Answer> {
        // The log-probability of an impossible class can be −∞, as long as that of another class is not.
        let impossible = outputs.iter().all(|&z| z == f32::NEG_INFINITY);
        if let Some(j) = outputs.iter().position(|&z| z.is_nan() || z == f32::INFINITY || impossible) {
            let problem = format!("output {j} is {}, so there are no probabilities", outputs[j]);
            return Err(Error::mismatch(problem, "use a model whose training did not diverge, or smaller inputs"));
        }
        Ok(Answer { names: self.clone(), probabilities: probabilities(spec.head, outputs) })
    }
}

/// The probabilities of the classes for one sample. `Display` writes the likeliest class: `7 (93.1 %)`.
///
/// ```
/// use syva_core::{Activation::Relu, ClassNames, Mlp};
/// let spec = Mlp::new(4).hidden(&[16], Relu).classes(3);
/// let names = ClassNames::new(&spec, ["setosa", "versicolor", "virginica"])?;
/// let answer = names.answer(&spec, &[-1.0, 2.0, 0.5])?;
/// assert_eq!(answer.to_string(), "versicolor (78.6 %)");
/// assert_eq!((answer.class(), answer.name()), (1, "versicolor"));
/// assert_eq!(answer.ranked().map(|(name, _)| name).collect::<Vec<_>>(), ["versicolor", "virginica", "setosa"]);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    names: ClassNames,
    probabilities: Vec<f64>,
}

impl Answer {
    /// The class with the highest probability; the first one if several are equal.
    #[must_use]
    pub fn class(&self) -> usize {
        first_largest(&self.probabilities)
    }

    /// The name of that class.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.name(self.class())
    }

    /// The probability of that class.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.probabilities[self.class()]
    }

    /// The probability of each class, in the order of the labels. They add up to 1.
    #[must_use]
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The names and probabilities of the classes, the likeliest first. Classes with equal probabilities are in the
    /// order of their labels.
    pub fn ranked(&self) -> impl Iterator<Item = (&str, f64)> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]));
        order.into_iter().map(|class| (self.names.name(class), self.probabilities[class]))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:.1} %)", self.name(), 100.0 * self.probability())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Mlp};

    #[test]
    fn the_binary_head_has_two_classes_and_regression_none() {
        let binary = Mlp::new(2).hidden(&[3], Activation::Relu).binary();
        let answer = ClassNames::new(&binary, ["no", "yes"]).unwrap().answer(&binary, &[1.0]).unwrap();
        assert_eq!(answer.to_string(), "yes (73.1 %)");
        assert_eq!(answer.probabilities().iter().sum::<f64>(), 1.0);
        let error = ClassNames::numbers(&Mlp::new(2).values(3)).unwrap_err().to_string();
        assert!(error.contains("values, not classes"), "{error}");
    }

    #[test]
    fn outputs_that_are_not_finite_are_no_answer() {
        let spec = Mlp::new(2).classes(3);
        let names = ClassNames::numbers(&spec).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let error = names.answer(&spec, &[0.0, bad, 1.0]).unwrap_err().to_string();
            assert!(error.contains("output 1 is"), "{error}");
        }
        assert_eq!(names.answer(&spec, &[0.0, f32::NEG_INFINITY, 0.0]).unwrap().probabilities(), [0.5, 0.0, 0.5]);
        assert!(names.answer(&spec, &[f32::NEG_INFINITY; 3]).is_err());
    }
}
