//! Groups of weights and biases that learn and decay in ways of their own ("parameter groups" in PyTorch).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::embedding::{Embedding, Learnt};
use crate::engine::Rates;
use crate::names::{either, find, offer};
use crate::ops::{Optimizer, Rule, SCALARS};
use crate::spec::{Spec, names};
use crate::training::Training;
use crate::{Error, Result};

/// Factors of a setting for some of the weights and biases. Those of the same weight or bias are multiplied: the biases of
/// the last layer have `biases` times `last`.
///
/// ```
/// use syva_core::Factors;
/// let factors: Factors = "biases=0.1,last=2".parse()?;
/// assert_eq!(factors, Factors { biases: 0.1, last: 2.0, ..Factors::default() });
/// assert_eq!(factors.to_string(), "biases=0.1,last=2");
/// assert_eq!(Factors::default().to_string(), "none");
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Factors {
    /// Of all biases.
    pub biases: f64,
    /// Of the gains of learned activations.
    pub gains: f64,
    /// Of the first layer.
    pub first: f64,
    /// Of the last layer.
    pub last: f64,
    /// That of embeddings of numbers.
    pub numbers: f64,
    /// That of the vectors of categories.
    pub categories: f64,
    /// That of the factors of an embedding's outputs.
    pub scales: f64,
}

impl Default for Factors {
    fn default() -> Self {
        Self { biases: 1.0, gains: 1.0, first: 1.0, last: 1.0, numbers: 1.0, categories: 1.0, scales: 1.0 }
    }
}

impl Factors {
    const NAMES: [&'static str; 7] = ["biases", "gains", "first", "last", "numbers", "categories", "scales"];
    /// More than any factor that makes sense.
    const MOST: f64 = 1e6;

    fn all(&self) -> [(&'static str, f64); 7] {
        let Self { biases, gains, first, last, numbers, categories, scales } = *self;
        let values = [biases, gains, first, last, numbers, categories, scales];
        std::array::from_fn(|place| (Self::NAMES[place], values[place]))
    }

    /// The factor of the weights or biases of a layer.
    #[must_use]
    pub fn of(&self, layer: usize, layers: usize, part: Part) -> f64 {
        let first = if layer == 0 { self.first } else { 1.0 };
        let last = if layer + 1 == layers { self.last } else { 1.0 };
        let own = match part {
            Part::Weights => 1.0,
            Part::Biases => self.biases,
            Part::Gains => self.gains,
        };
        first * last * own
    }

    /// The factor of a tensor of an embedding.
    #[must_use]
    pub fn of_embedding(&self, learnt: Learnt) -> f64 {
        match learnt {
            Learnt::Frequencies
            | Learnt::Phases
            | Learnt::Slopes
            | Learnt::Places
            | Learnt::Mixes
            | Learnt::Offsets => self.numbers,
            Learnt::Vectors => self.categories,
            Learnt::Scales => self.scales,
        }
    }

    /// Checks that every factor is 0 or more.
    pub fn validate(&self, setting: &str) -> Result<()> {
        for (name, value) in self.all() {
            if !(0.0..=Self::MOST).contains(&value) {
                let problem = format!("the factor {value} of {name} is out of range");
                return Err(Error::setting(setting, problem, "give a number from 0 to 1000000"));
            }
        }
        Ok(())
    }
}

impl FromStr for Factors {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |problem: String, remedy: &str| Err(Error::setting("factors", problem, remedy));
        let mut factors = Self::default();
        if text.eq_ignore_ascii_case("none") {
            return Ok(factors);
        }
        let mut given = [false; 7];
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                let problem = format!("'{part}' does not say whose factor it is");
                return refuse(problem, "write none, or a list such as biases=0.1,first=1,last=2");
            };
            let (name, value) = (name.trim(), value.trim());
            let places: Vec<(&str, usize)> = Self::NAMES.into_iter().zip(0..).collect();
            let Some(place) = find(&places, name) else {
                let problem = format!("there is no group '{name}'{}", offer(name, &Self::NAMES));
                return refuse(problem, &format!("use {}", either(&Self::NAMES)));
            };
            if std::mem::replace(&mut given[place], true) {
                return refuse(format!("{} is given twice", Self::NAMES[place]), "give it once");
            }
            let Ok(value) = value.parse::<f64>() else {
                let name = Self::NAMES[place];
                return refuse(
                    format!("'{value}' is not a number"),
                    &format!("write {name}=NUMBER, such as {name}=0.1"),
                );
            };
            let Self { biases, gains, first, last, numbers, categories, scales } = &mut factors;
            let all = [biases, gains, first, last, numbers, categories, scales];
            *all[place] = value;
        }
        factors.validate("factors")?;
        Ok(factors)
    }
}

impl fmt::Display for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        let given: Vec<_> = all.iter().filter(|(_, v)| *v != 1.0).map(|(name, v)| format!("{name}={v}")).collect();
        f.pad(&if given.is_empty() { "none".into() } else { given.join(",") })
    }
}

impl TryFrom<String> for Factors {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Factors> for String {
    fn from(factors: Factors) -> Self {
        factors.to_string()
    }
}

/// What is learned of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The weights.
    Weights,
    /// The biases.
    Biases,
    /// The gains of its activation.
    Gains,
}

impl Part {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 3] = [Self::Weights, Self::Biases, Self::Gains];
}

/// In what measure weights are learned.
///
/// ```
/// use syva_core::Parametrization;
/// assert_eq!("NTK".parse::<Parametrization>()?, Parametrization::Ntk);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrization {
    /// As they are.
    #[default]
    Standard,
    /// Times √fan_in, so that a layer is x·Wᵀ/√fan_in + b with weights W of variance 1 (the parametrisation of the neural
    /// tangent kernel; Jacot et al. 2018, used by RealMLP).
    ///
    /// The network is not another one: it has the weights W/√fan_in, as always. Steps of W become steps of these by
    /// factors of the learning rate, the weight decay and eps. Penalties, clipping and the largest norm are those of the
    /// network's weights.
    Ntk,
}

names!(Parametrization, "parametrization", Standard = "standard", Ntk = "ntk");

/// By what the settings of a group differ from the optimiser's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Factor of the learning rate.
    pub rate: f64,
    /// Factor of the weight decay.
    pub decay: f64,
    /// Factor of what is added to the root of a mean square.
    pub eps: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { rate: 1.0, decay: 1.0, eps: 1.0 }
    }
}

/// The groups of a training: which scalars of the optimiser's rule belong to which weights and biases. For engines.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    optimizer: Optimizer,
    /// The groups that differ.
    scales: Vec<Scale>,
    /// The group of each layer's weights, biases and gains.
    of: Vec<[usize; 3]>,
    /// The group of each tensor of the embedding.
    embedding: Vec<usize>,
    /// The factor of the step of each layer's weights, if they are a matrix that Muon orthogonalises.
    orthogonal: Vec<Option<f64>>,
}

/// The scalars of one step, by group.
#[derive(Clone, Debug)]
pub struct StepScalars<'a> {
    groups: &'a Groups,
    /// The learning rate.
    rate: f64,
    scalars: Vec<[f32; SCALARS]>,
}

impl Groups {
    /// The groups of this network's training.
    #[must_use]
    pub fn new(spec: &Spec, training: &Training) -> Self {
        let layers = spec.layers.len();
        let mut scales: Vec<Scale> = Vec::new();
        let mut place = |scale: Scale| {
            scales.iter().position(|&known| known == scale).unwrap_or_else(|| {
                scales.push(scale);
                scales.len() - 1
            })
        };
        let mut group = |layer: usize, part: Part| {
            let mut scale = match (training.parametrization, part) {
                (Parametrization::Ntk, Part::Weights) => training.optimizer.ntk_scale(spec.fan_in(layer)),
                (Parametrization::Ntk, Part::Biases | Part::Gains) | (Parametrization::Standard, _) => Scale::default(),
            };
            scale.rate *= training.lr_factors.of(layer, layers, part);
            scale.decay *= training.decay_factors.of(layer, layers, part);
            place(scale)
        };
        let of = (0..layers).map(|layer| Part::ALL.map(|part| group(layer, part))).collect();
        let tensors = spec.input.embedding.iter().flat_map(Embedding::tensors);
        let tensors = tensors.map(|tensor| {
            let of = |factors: &Factors| factors.of_embedding(tensor.learnt);
            place(Scale { rate: of(&training.lr_factors), decay: of(&training.decay_factors), ..Scale::default() })
        });
        let embedding = tensors.collect();
        let is_hidden = |layer: usize| 0 < layer && layer + 1 < layers;
        let orthogonal = (0..layers).map(|layer| {
            let (_, adjust) = training.optimizer.muon()?;
            is_hidden(layer).then(|| adjust.factor(spec.layers[layer].units, spec.fan_in(layer)))
        });
        Self { optimizer: training.optimizer, scales, of, embedding, orthogonal: orthogonal.collect() }
    }

    /// The scalars of a step, which is counted from 0.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Groups, Mlp, Part, Training};
    /// let spec = Mlp::new(4).hidden(&[8], Relu).classes(3);
    /// let training = Training { lr_factors: "biases=2".parse()?, ..Training::default() };
    /// let groups = Groups::new(&spec, &training);
    /// let scalars = groups.scalars(0, &0.5.into());
    /// assert_eq!((scalars.of(0, Part::Weights)[2], scalars.of(0, Part::Biases)[2]), (-0.5, -1.0));
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    #[must_use]
    pub fn scalars(&self, step: u64, rates: &Rates) -> StepScalars<'_> {
        let decay = f64::from(rates.decay);
        let of = |scale: &Scale| {
            self.optimizer.scalars_of(step, rates.learning_rate, Scale { decay: scale.decay * decay, ..*scale })
        };
        let rate = f64::from(rates.learning_rate);
        StepScalars { groups: self, rate, scalars: self.scales.iter().map(of).collect() }
    }

    /// Whether a step is w − rate · g for all weights and biases, at one rate, which is the scalars' third number downwards.
    #[must_use]
    pub fn are_plain_descent(&self) -> bool {
        self.is_one() && self.optimizer.rule() == Rule::Descent
    }

    /// Whether all weights and biases are one group.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.scales.len() == 1
    }
}

impl StepScalars<'_> {
    /// The scalars for a tensor of the embedding.
    #[must_use]
    pub fn of_embedding(&self, tensor: usize) -> &[f32; SCALARS] {
        &self.scalars[self.groups.embedding[tensor]]
    }

    /// The scalars for the weights or biases of a layer.
    #[must_use]
    pub fn of(&self, layer: usize, part: Part) -> &[f32; SCALARS] {
        &self.scalars[self.groups.of[layer][part as usize]]
    }

    /// The scalars of [`Rule::Decay`](crate::ops::Rule) for the weights of a layer, if its steps are orthogonalised: their
    /// gradient is then the orthogonalised matrix.
    #[must_use]
    pub fn orthogonal(&self, layer: usize) -> Option<[f32; SCALARS]> {
        let factor = self.groups.orthogonal[layer]?;
        let group = self.groups.of[layer][Part::Weights as usize];
        let step = -(self.rate * self.groups.scales[group].rate * factor) as f32;
        let mut scalars = [0.0; SCALARS];
        [scalars[1], scalars[2]] = [self.scalars[group][1], step];
        Some(scalars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Mlp};

    #[test]
    fn factors_are_read_written_and_refused() {
        for text in ["none", "biases=0.1", "first=2,last=0.5", "biases=0,gains=0.1,first=2,last=3"] {
            assert_eq!(text.parse::<Factors>().unwrap().to_string(), text);
        }
        let says = |text: &str| text.parse::<Factors>().unwrap_err().to_string();
        assert!(says("0.5").contains("does not say whose factor"), "{}", says("0.5"));
        assert!(says("bias=1").contains("no group 'bias' (did you mean 'biases'?)"), "{}", says("bias=1"));
        assert!(says("last=-1").contains("out of range") && says("last=1e39").contains("out of range"));
        assert!(says("first=nan").contains("out of range") && says("none,last=1").contains("'none' does not say"));
        assert!(says("last=1,last=2").contains("given twice"));
        assert!(says("last=x").contains("'x' is not a number; write last=NUMBER"));
    }

    #[test]
    fn equal_groups_are_one_and_others_have_scalars_of_their_own() {
        let spec = Mlp::new(9).hidden(&[8, 7], Activation::Relu).classes(3);
        let training = |factors: &str| Training {
            lr_factors: factors.parse().unwrap(),
            decay_factors: "biases=0".parse().unwrap(),
            ..Training::default().optimizer("adamw:weight_decay=0.5".parse().unwrap())
        };
        assert!(Groups::new(&spec, &Training::default()).is_one());
        let groups = Groups::new(&spec, &training("first=2,last=3,biases=0.5"));
        assert!(!groups.is_one());
        let rates = Rates { learning_rate: 0.25, decay: 0.5, dropout: 1.0 };
        let scalars = groups.scalars(4, &rates);
        for (layer, part, rate, stays) in [
            (0, Part::Weights, 2.0, 0.875),
            (0, Part::Biases, 1.0, 1.0),
            (1, Part::Weights, 1.0, 0.9375),
            (1, Part::Biases, 0.5, 1.0),
            (2, Part::Weights, 3.0, 0.8125),
            (2, Part::Biases, 1.5, 1.0),
        ] {
            let (found, own) = (scalars.of(layer, part), training("none").optimizer.scalars(4, 0.25 * rate));
            assert_eq!((found[1], found[2]), (stays, own[2]), "layer {layer}, {part:?}");
        }
    }
}
