//! Two ways to describe a network: [`Mlp`], the short one, and [`Sequential`], a list of layers.

use crate::ops::{Activation, Nonlinearity};
use crate::spec::{Head, Input, Layer, Normalization, Spec};
use crate::{Error, Result};

/// The short way: the input's width, the hidden layers, and the kind of output.
///
/// ```
/// use syva_core::{Activation::{Relu, Sigmoid}, Mlp};
/// let classifier = Mlp::new(784).hidden(&[256, 128], Sigmoid).classes(10);
/// assert_eq!(classifier.widths(), "784-256-128-10");
/// let regressor = Mlp::new(2).hidden(&[3, 3], Relu).values(1);
/// assert_eq!(regressor.parameters(), 9 + 12 + 4);
/// ```
#[derive(Clone, Debug)]
pub struct Mlp {
    input: Input,
    layers: Vec<Layer>,
}

impl Mlp {
    /// A network that reads `features` values per sample.
    #[must_use]
    pub fn new(features: usize) -> Self {
        Self { input: Input::new(features), layers: Vec::new() }
    }

    /// A network that reads images of `height` by `width` pixels.
    #[must_use]
    pub fn image(height: usize, width: usize) -> Self {
        let mut mlp = Self::new(height * width);
        mlp.input.shape = vec![height, width];
        mlp
    }

    /// A network that reads RGB images of `height` by `width` pixels, laid out as [`ImageShape`](crate::ImageShape) says.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Mlp};
    /// assert_eq!(Mlp::rgb(32, 32).hidden(&[64], Relu).classes(10).widths(), "3072-64-10");
    /// ```
    #[must_use]
    pub fn rgb(height: usize, width: usize) -> Self {
        let mut mlp = Self::new(3 * height * width);
        mlp.input.shape = vec![3, height, width];
        mlp
    }

    /// Sets how the first layer normalises its inputs.
    #[must_use]
    pub fn normalized(mut self, normalization: Normalization) -> Self {
        self.input.normalization = normalization;
        self
    }

    /// Adds hidden layers of these widths D_k, all with the same activation. Call it again to add others.
    #[must_use]
    pub fn hidden(mut self, widths: &[usize], activation: impl Into<Nonlinearity>) -> Self {
        let activation = activation.into();
        self.layers.extend(widths.iter().map(|&units| Layer::new(units, activation)));
        self
    }

    /// Ends the network with one logit per class, trained with cross-entropy.
    #[must_use]
    pub fn classes(self, classes: usize) -> Spec {
        self.end(classes, Head::Logits)
    }

    /// Ends the network with one logit for the question "is it class 1?", trained with binary cross-entropy.
    #[must_use]
    pub fn binary(self) -> Spec {
        self.end(1, Head::Binary)
    }

    /// Ends the network with `outputs` real values, trained with mean squared error.
    #[must_use]
    pub fn values(self, outputs: usize) -> Spec {
        self.end(outputs, Head::Regression)
    }

    /// Ends the network with `outputs` rates of counts, trained with the Poisson likelihood.
    #[must_use]
    pub fn counts(self, outputs: usize) -> Spec {
        self.end(outputs, Head::Poisson)
    }

    /// Ends the network with the mean and variance of `targets` real values, trained with the Gaussian likelihood.
    #[must_use]
    pub fn gaussian(self, targets: usize) -> Spec {
        self.end(2 * targets, Head::Gaussian)
    }

    /// Ends the network with one logit for each of `labels` labels, trained with binary cross-entropy.
    #[must_use]
    pub fn labels(self, labels: usize) -> Spec {
        self.end(labels, Head::MultiLabel)
    }

    fn end(mut self, units: usize, head: Head) -> Spec {
        self.layers.push(Layer::new(units, Activation::Identity));
        Spec { input: self.input, layers: self.layers, head, schema: None, class_names: Vec::new() }
    }
}

/// A list of layers, as in `torch.nn.Sequential`.
///
/// ```
/// use syva_core::{Head, Mlp, Activation, Sequential};
/// let spec = Sequential::new()
///     .flatten(&[28, 28])
///     .linear(784, 256).activation(Activation::Sigmoid)
///     .linear(256, 128).activation(Activation::Sigmoid)
///     .linear(128, 10)
///     .head(Head::LogSoftmax)?;
/// assert_eq!(spec.head, Head::LogSoftmax);
/// assert_eq!(spec.layers, Mlp::new(784).hidden(&[256, 128], Activation::Sigmoid).classes(10).layers);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sequential {
    shape: Vec<usize>,
    normalization: Normalization,
    linear: Vec<(usize, Layer)>,
    misplaced: Option<&'static str>,
}

impl Sequential {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Normalises the inputs. Must come before the first linear layer.
    #[must_use]
    pub fn normalize(mut self, normalization: Normalization) -> Self {
        self.note(!self.linear.is_empty(), "normalize after a linear layer");
        self.normalization = normalization;
        self
    }

    /// `Flatten`: reads an image (or any array) of this shape as a row of features. Must come before the first linear
    /// layer.
    #[must_use]
    pub fn flatten(mut self, shape: &[usize]) -> Self {
        self.note(!self.linear.is_empty(), "flatten after a linear layer");
        self.shape = shape.to_vec();
        self
    }

    /// `Linear(fan_in, fan_out)`.
    #[must_use]
    pub fn linear(mut self, fan_in: usize, fan_out: usize) -> Self {
        self.linear.push((fan_in, Layer::new(fan_out, Activation::Identity)));
        self
    }

    /// Sets the activation after the last linear layer.
    #[must_use]
    pub fn activation(mut self, activation: impl Into<Nonlinearity>) -> Self {
        match self.linear.last_mut() {
            Some((_, layer)) if layer.activation == Activation::Identity => {
                *layer = Layer::new(layer.units, activation);
            }
            Some(_) => self.misplaced = self.misplaced.or(Some("two activations after one linear layer")),
            None => self.misplaced = self.misplaced.or(Some("activation before the first linear layer")),
        }
        self
    }

    /// Ends the list. The layers must fit each other and the head, which says what the outputs mean: `Head::LogSoftmax` is
    /// `torch.nn.LogSoftmax` after the last layer.
    pub fn head(self, head: Head) -> Result<Spec> {
        if let Some(what) = self.misplaced {
            return Err(Error::setting("layers", what, "reorder the layer list"));
        }
        for pair in self.linear.windows(2) {
            if pair[0].1.units != pair[1].0 {
                let problem = format!("a layer of {} units feeds one that reads {}", pair[0].1.units, pair[1].0);
                return Err(Error::setting("layers", problem, "set fan_in to the units of the layer before it"));
            }
        }
        let features = self.linear.first().map_or(0, |&(fan_in, _)| fan_in);
        let spec = Spec {
            input: Input { shape: self.shape, normalization: self.normalization, ..Input::new(features) },
            layers: self.linear.into_iter().map(|(_, layer)| layer).collect(),
            head,
            schema: None,
            class_names: Vec::new(),
        };
        spec.validate()?;
        Ok(spec)
    }

    fn note(&mut self, wrong: bool, what: &'static str) {
        if wrong && self.misplaced.is_none() {
            self.misplaced = Some(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misplaced_layer_is_refused() {
        let message = |list: Sequential, head| list.head(head).unwrap_err().to_string();
        let linear = || Sequential::new().linear(4, 3);
        assert!(message(linear().flatten(&[2, 2]), Head::Logits).contains("flatten after"));
        assert!(message(linear().linear(4, 2), Head::Logits).contains("3 units feeds one that reads 4"));
        assert!(message(linear().activation(Activation::Relu), Head::Logits).contains("output layer"));
        assert!(message(linear(), Head::Binary).contains("1 logit"));
        assert!(message(linear(), Head::Gaussian).contains("2 outputs per target"));
        assert!(message(Sequential::new(), Head::Logits).contains("0 features"));
        assert!(message(Sequential::new().flatten(&[3, 2]).linear(4, 3), Head::Logits).contains("[3, 2]"));
    }
}
