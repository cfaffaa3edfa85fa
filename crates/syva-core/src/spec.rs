//! The description of a network: input, linear layers with activations, head.
//!
//! A [`Spec`] is what predicting needs beside the weights, and nothing else: how the weights come about is
//! [`Training`](crate::Training)'s. It is plain data, stored as JSON in model files and as TOML in run folders.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;
use crate::builder::Mlp;
use crate::data::Dataset;
use crate::embedding::Embedding;
use crate::metrics::{Confusion, Tally};
use crate::ops::{Activation, Learned, Nonlinearity};
use crate::schema::{Schema, Target};
use crate::{Error, Result};

/// A deep fully connected network.
///
/// ```
/// use syva_core::{Activation::Sigmoid, Mlp};
/// let spec = Mlp::new(784).hidden(&[256, 128], Sigmoid).classes(10);
/// assert_eq!(spec.parameters(), 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10);
/// assert_eq!(spec.fan_in(2), 128);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The input.
    pub input: Input,
    /// The linear layers in order; the last one is the output layer.
    pub layers: Vec<Layer>,
    /// What the outputs mean.
    pub head: Head,
    /// What makes inputs and targets of a table's rows, for a network that was trained on a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Arc<Schema>>,
    /// The names of the classes, in the order of the outputs, if the data names them and no schema does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
}

/// The network's input: raw features as the data set stores them, and how the first layer normalises them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Values per sample.
    pub features: usize,
    /// `[height, width]` if the features are a grey image, `[3, height, width]` for RGB (see [`ImageShape`]), otherwise
    /// empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shape: Vec<usize>,
    /// Applied by the first layer to each feature.
    #[serde(default)]
    pub normalization: Normalization,
    /// What a network learns of its features before the first layer, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
}

impl Input {
    /// Of so many features, which are used as they are.
    #[must_use]
    pub fn new(features: usize) -> Self {
        Self { features, shape: Vec::new(), normalization: Normalization::None, embedding: None }
    }
}

/// How images are laid out as features: grey ones `[height, width]`, row by row; RGB ones `[3, height, width]`, first all
/// red values, then the green, then the blue ones, as `ToTensor` and `Flatten` lay them out in PyTorch.
///
/// ```
/// use syva_core::ImageShape;
/// let image = ImageShape::of(&[3, 32, 48]).unwrap();
/// assert_eq!((image.height, image.width, image.channels, image.features()), (32, 48, 3, 4608));
/// assert_eq!(image.to_string(), "32 × 48 RGB");
/// assert_eq!(ImageShape::of(&[28, 28]).unwrap().to_string(), "28 × 28");
/// assert_eq!(ImageShape::of(&[784]), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Pixel rows.
    pub height: usize,
    /// Pixel columns.
    pub width: usize,
    /// 1 for grey, 3 for RGB.
    pub channels: usize,
}

impl ImageShape {
    /// The layout that a shape means, `None` if it is not that of images.
    ///
    /// ```
    /// use syva_core::ImageShape;
    /// assert_eq!(ImageShape::of(&[3, 32, 32]), Some(ImageShape { height: 32, width: 32, channels: 3 }));
    /// assert_eq!(ImageShape::of(&[28, 28]), Some(ImageShape { height: 28, width: 28, channels: 1 }));
    /// for other in [&[][..], &[784], &[4, 32, 32], &[1, 3, 32, 32]] {
    ///     assert_eq!(ImageShape::of(other), None);
    /// }
    /// ```
    #[must_use]
    pub fn of(shape: &[usize]) -> Option<Self> {
        // Not `[3, height, width]`: rustc 1.95, once it has inlined this, reads the number that should be 3 before it knows
        // that there are three (its pass EarlyOtherwiseBranch, where length and number are compared with the same).
        let (channels, &[height, width]) = shape.split_last_chunk()?;
        let channels = match channels {
            [] => 1,
            [3] => 3,
            _ => return None,
        };
        Some(Self { height, width, channels })
    }

    /// The shape that means this layout.
    #[must_use]
    pub fn shape(self) -> Vec<usize> {
        match self.channels {
            1 => vec![self.height, self.width],
            channels => vec![channels, self.height, self.width],
        }
    }

    /// Values per image.
    #[must_use]
    pub fn features(self) -> usize {
        self.channels * self.height * self.width
    }

    /// The beginning of a network that reads such images.
    #[must_use]
    pub fn network(self) -> Mlp {
        match self.channels {
            1 => Mlp::image(self.height, self.width),
            _ => Mlp::rgb(self.height, self.width),
        }
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}{}", self.height, self.width, if self.channels == 3 { " RGB" } else { "" })
    }
}

/// `x' = scale · x + shift`, feature by feature, done inside the first layer (rule 5 of the arithmetic contract).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Inputs are used as they are.
    #[default]
    None,
    /// One scale and shift for all features (pixels).
    Uniform {
        /// Factor.
        scale: f32,
        /// Addend.
        shift: f32,
    },
    /// A scale and shift for each feature.
    PerFeature {
        /// Factors, one per feature.
        scale: Vec<f32>,
        /// Addends, one per feature.
        shift: Vec<f32>,
    },
}

impl Normalization {
    /// For pixels 0 … 255: `(p / 255 − mean) / std`, which is what `ToTensor` and `Normalize((mean,), (std,))` do in
    /// torchvision. Scale and shift are computed in f64 and rounded once.
    ///
    /// ```
    /// let mnist = syva_core::Normalization::pixels(0.1307, 0.3081);
    /// assert!((mnist.apply(0, 255.0) - (1.0 - 0.1307) / 0.3081).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn pixels(mean: f64, std: f64) -> Self {
        Self::Uniform { scale: (1.0 / (255.0 * std)) as f32, shift: (-mean / std) as f32 }
    }

    /// Fitted to data, usually the training data: each feature minus its mean, divided by its standard deviation (as
    /// `sklearn.preprocessing.StandardScaler` does). Everything is computed in f64 and rounded once. A feature that is
    /// the same in all samples carries no information, and becomes 0.
    ///
    /// ```
    /// use syva_core::{Normalization, data::{Dataset, Inputs, Targets}};
    /// let inputs = Inputs::F32(vec![1.0, 7.0, 3.0, 7.0].into()); // two samples of two features
    /// let data = Dataset::new(inputs, 2, Targets::Classes { labels: vec![0, 1].into(), classes: 2 })?;
    /// let normalization = Normalization::fit(&data);
    /// assert_eq!([normalization.apply(0, 1.0), normalization.apply(0, 3.0)], [-1.0, 1.0]);
    /// assert_eq!(normalization.apply(1, 7.0), 0.0);
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    #[must_use]
    pub fn fit(data: &Dataset) -> Self {
        let (samples, features) = (data.samples(), data.features());
        let of_feature = |k: usize| {
            let values = || (0..samples).map(|b| f64::from(data.inputs().get(b * features + k)));
            let mean = values().sum::<f64>() / samples as f64;
            let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / samples as f64;
            let std = variance.sqrt();
            let (scale, shift) = ((1.0 / std) as f32, (-mean / std) as f32);
            // If all values are equal, rounding can still make their mean differ from them.
            let is_constant = values().all(|x| x == f64::from(data.inputs().get(k)));
            // f32 cannot divide by a spread below 10⁻³⁸.
            if is_constant || !scale.is_finite() || !shift.is_finite() { (0.0, 0.0) } else { (scale, shift) }
        };
        let (scale, shift) = (0..features).map(of_feature).unzip();
        Self::PerFeature { scale, shift }
    }

    /// Scale and shift of a feature.
    #[must_use]
    pub fn of(&self, feature: usize) -> (f32, f32) {
        match self {
            Self::None => (1.0, 0.0),
            Self::Uniform { scale, shift } => (*scale, *shift),
            Self::PerFeature { scale, shift } => (scale[feature], shift[feature]),
        }
    }

    /// The normalised value of a feature. For people and plots: engines fold this into the first layer instead.
    #[must_use]
    pub fn apply(&self, feature: usize, value: f32) -> f32 {
        let (scale, shift) = self.of(feature);
        value.fma(scale, shift)
    }
}

/// A linear layer, `z = W·x + b`, and the activation that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Units D_k: the layer's outputs (`fan_out`).
    pub units: usize,
    /// The activation a(z).
    pub activation: Activation,
    /// What of the activation is learned.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub learned: Learned,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_nothing(learned: &Learned) -> bool {
    !learned.has_gains()
}

impl Layer {
    /// A layer of so many units.
    pub fn new(units: usize, activation: impl Into<Nonlinearity>) -> Self {
        let Nonlinearity { activation, learned } = activation.into();
        Self { units, activation, learned }
    }

    /// The activation, with what of it is learned.
    #[must_use]
    pub fn nonlinearity(&self) -> Nonlinearity {
        Nonlinearity { activation: self.activation, learned: self.learned }
    }

    /// The number of gains.
    #[must_use]
    pub fn gains(&self) -> usize {
        if self.learned.has_gains() { self.units } else { 0 }
    }
}

/// What the outputs z of the last layer mean. Each head has a loss of its own, which training minimises unless
/// [`Training::loss`](crate::Training::loss) is another that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Real values; mean squared error (`torch.nn.MSELoss`).
    Regression,
    /// The logarithms of the rates of counts; predictions are the rates e^z (`torch.nn.PoissonNLLLoss`).
    Poisson,
    /// Pairs of outputs, one pair per target: the mean and the variance of a normal distribution. Predictions are both,
    /// the variance as [`variance`](crate::ops::variance) gives it (`torch.nn.GaussianNLLLoss`).
    Gaussian,
    /// One logit for classes 0 and 1; binary cross-entropy (`torch.nn.BCEWithLogitsLoss`).
    Binary,
    /// One logit for each label, of which any number can be 1; binary cross-entropy over all labels
    /// (`torch.nn.BCEWithLogitsLoss`). The targets are values 0 and 1.
    MultiLabel,
    /// One logit per class; cross-entropy (`torch.nn.CrossEntropyLoss`).
    Logits,
    /// One log-probability per class, the log-softmax of the logits; negative log-likelihood (`torch.nn.LogSoftmax` +
    /// `torch.nn.NLLLoss`). Trains to the same bits as [`Head::Logits`].
    LogSoftmax,
}

/// The most labels of a sample: see [`labels_guess`](crate::ops::labels_guess).
const MAX_LABELS: usize = 0xffff;

/// The most parameters that a network may have, so that sample and weight indices fit 32 bits on every device.
const MAX_PARAMETERS: u128 = 1 << 31;

impl Spec {
    /// Inputs of layer `k` (0 is the first): the units of the layer before it, or the outputs of the embedding.
    #[must_use]
    pub fn fan_in(&self, k: usize) -> usize {
        match (k, &self.input.embedding) {
            (0, None) => self.input.features,
            (0, Some(embedding)) => embedding.outputs(),
            _ => self.layers[k - 1].units,
        }
    }

    /// Units of the output layer.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.units)
    }

    /// Number of classes; 0 if the targets are values.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self.head {
            Head::Regression | Head::Poisson | Head::Gaussian | Head::MultiLabel => 0,
            Head::Binary => 2,
            Head::Logits | Head::LogSoftmax => self.outputs(),
        }
    }

    /// The names of the classes, if they have any: those of the schema, or [`Spec::class_names`].
    #[must_use]
    pub fn named_classes(&self) -> Option<&[String]> {
        let of_schema = self.schema.as_deref().and_then(Schema::classes);
        of_schema.or((!self.class_names.is_empty()).then_some(&self.class_names))
    }

    /// Target values of a sample; for classes, 1.
    #[must_use]
    pub fn targets(&self) -> usize {
        match self.head {
            Head::Regression | Head::Poisson | Head::MultiLabel => self.outputs(),
            Head::Gaussian => self.outputs() / 2,
            Head::Binary | Head::Logits | Head::LogSoftmax => 1,
        }
    }

    /// An empty confusion matrix for this network: one of its classes, for multi-label one of 0 and 1 that counts labels,
    /// and for other values one of size 0.
    #[must_use]
    pub fn confusion(&self) -> Confusion {
        Confusion::new(if self.head == Head::MultiLabel { 2 } else { self.classes() })
    }

    /// An empty tally for this network, of the classes of [`Spec::confusion`].
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::new(if self.head == Head::MultiLabel { 2 } else { self.classes() })
    }

    /// Number of weights, biases and gains, and of what an embedding learns.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let embedding = self.input.embedding.as_ref().map_or(0, Embedding::parameters);
        let layer = |k: usize| (self.fan_in(k) + 1) * self.layers[k].units + self.layers[k].gains();
        embedding + (0..self.layers.len()).map(layer).sum::<usize>()
    }

    /// The same network with this normalisation of its input.
    #[must_use]
    pub fn normalized(mut self, normalization: Normalization) -> Self {
        self.input.normalization = normalization;
        self
    }

    /// The widths as people write them: `784-256-128-10`.
    #[must_use]
    pub fn widths(&self) -> String {
        self.layers.iter().fold(self.input.features.to_string(), |text, layer| format!("{text}-{}", layer.units))
    }

    /// Checks that the network is valid: every width is at least 1, the head fits, the normalisation is finite, and the
    /// size can be indexed. Engines call it in `open`.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: &str, problem: String, remedy: &str| Err(Error::setting(what, problem, remedy));
        if self.input.features == 0 {
            return refuse("input", "0 features".into(), "give at least 1");
        }
        // A file may contain any numbers, so products and sums of them must not overflow.
        let pixels = self.input.shape.iter().try_fold(1, |product: usize, &side| product.checked_mul(side));
        if !self.input.shape.is_empty() && pixels != Some(self.input.features) {
            let problem = format!("shape {:?} does not hold {} features", self.input.shape, self.input.features);
            return refuse("input", problem, "make them agree");
        }
        if let Some(embedding) = &self.input.embedding {
            embedding.validate(self.input.features, &self.input.normalization)?;
        }
        if self.layers.is_empty() {
            return refuse("layers", "a network needs an output layer".into(), "add a Linear layer");
        }
        if let Some(k) = self.layers.iter().position(|layer| layer.units == 0) {
            return refuse("hidden", format!("layer {} has 0 units", k + 1), "give each layer at least 1");
        }
        let size = (0..self.layers.len())
            .map(|k| {
                (self.fan_in(k) as u128 + 1)
                    .saturating_mul(self.layers[k].units as u128)
                    .saturating_add(self.layers[k].gains() as u128)
            })
            .fold(0, u128::saturating_add);
        if size > MAX_PARAMETERS {
            return refuse("hidden", format!("{size} parameters are more than 2^31"), "use fewer or narrower layers");
        }
        for layer in &self.layers {
            layer.nonlinearity().validate()?;
        }
        if self.layers[self.layers.len() - 1].activation != Activation::Identity {
            return refuse("layers", "the output layer has an activation".into(), "end with a plain Linear layer");
        }
        let outputs = self.outputs();
        match self.head {
            Head::Binary if outputs != 1 => {
                return refuse("head", format!("binary needs 1 logit, got {outputs}"), "use 1 output or classes");
            }
            Head::Logits | Head::LogSoftmax if outputs < 2 => {
                let problem = "a classifier needs at least 2 classes".into();
                return refuse("head", problem, "use 2 or more, or the binary head");
            }
            Head::Gaussian if !outputs.is_multiple_of(2) => {
                let problem = format!("gaussian needs a mean and a variance per target, got {outputs} outputs");
                return refuse("head", problem, "use 2 outputs per target");
            }
            Head::MultiLabel if outputs > MAX_LABELS => {
                return refuse("head", format!("{outputs} labels are more than {MAX_LABELS}"), "use fewer labels");
            }
            Head::Regression
            | Head::Poisson
            | Head::Gaussian
            | Head::Binary
            | Head::MultiLabel
            | Head::Logits
            | Head::LogSoftmax => {}
        }
        if !self.class_names.is_empty() && self.class_names.len() != self.classes() {
            let problem = format!("{} names for {} classes", self.class_names.len(), self.classes());
            return refuse("class_names", problem, "give one per class, in the order of the outputs, or none");
        }
        self.validate_normalization()?;
        self.schema.as_deref().map_or(Ok(()), |schema| self.validate_schema(schema))
    }

    /// Checks that the schema makes the inputs that the network reads, and names what its outputs mean.
    fn validate_schema(&self, schema: &Schema) -> Result<()> {
        schema.validate()?;
        let refuse = |problem: String| Err(Error::setting("schema", problem, "use the schema that the network is for"));
        if schema.inputs() != self.input.features {
            return refuse(format!("it makes {} inputs, the network reads {}", schema.inputs(), self.input.features));
        }
        let (made, has, what) = match &schema.target {
            Target::Classes { classes, .. } => (classes.len(), self.classes(), "classes"),
            Target::Values { columns } if self.classes() == 0 => (columns.len(), self.targets(), "values"),
            Target::Labels { columns } if self.head == Head::MultiLabel => (columns.len(), self.targets(), "labels"),
            Target::Values { .. } | Target::Labels { .. } => {
                return refuse(format!("its target is not for {}", self.head));
            }
        };
        if made != has {
            return refuse(format!("it names {made} {what}, the network has {has}"));
        }
        Ok(())
    }

    fn validate_normalization(&self) -> Result<()> {
        if let Normalization::PerFeature { scale, shift } = &self.input.normalization
            && (scale.len() != self.input.features || shift.len() != self.input.features)
        {
            let problem =
                format!("{} scales and {} shifts for {} features", scale.len(), shift.len(), self.input.features);
            return Err(Error::setting("normalization", problem, "give one of each per feature"));
        }
        let finite = |k| {
            let (scale, shift) = self.input.normalization.of(k);
            scale.is_finite() && shift.is_finite()
        };
        if let Some(k) = (0..self.input.features).find(|&k| !finite(k)) {
            let problem = format!("scale or shift of feature {k} is not finite");
            return Err(Error::setting("normalization", problem, "give finite numbers, also for constant columns"));
        }
        Ok(())
    }
}

/// Implements `Display` and `FromStr` over the names that flags and files use.
macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// Every value, with the name it has in flags and files.
            pub const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$variant)),+];
        }
        impl FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                crate::names::find(Self::NAMES, name).ok_or_else(|| crate::names::unknown($what, name, &Self::NAMES.iter().map(|(n, _)| *n).collect::<Vec<_>>()))
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(Self::NAMES.iter().find(|(_, value)| value == self).map_or($what, |(name, _)| name))
            }
        }
    };
}
pub(crate) use names;

names!(
    Head,
    "head",
    Regression = "regression",
    Poisson = "poisson",
    Gaussian = "gaussian",
    Binary = "binary",
    MultiLabel = "multi-label",
    Logits = "logits",
    LogSoftmax = "log-softmax",
);
