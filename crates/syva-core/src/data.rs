//! Data sets: inputs and targets in memory, decoded once, shared without copying.

pub mod digits;
#[cfg(feature = "files")]
pub mod fashion_mnist;
pub mod framing;
#[cfg(feature = "files")]
pub mod idx;
pub mod images;
mod mixed;
#[cfg(feature = "files")]
pub mod mnist;
#[cfg(feature = "files")]
pub mod source;
pub mod tabular;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::builder::Mlp;
use crate::embedding::Embedding;
use crate::names::forms;
use crate::ops::Nonlinearity;
use crate::random::{Random, Stream};
use crate::schema::{Schema, Target};
use crate::spec::{Head, ImageShape, Input, Normalization, Spec};
use crate::state::{check_finite, hex};
use crate::{Error, Result};

pub use self::mixed::Mixed;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The data that the network learns from.
    Train,
    /// The data that it is evaluated on (the chapter's "val").
    Validation,
}

/// Inputs of all samples, row-major `[samples, features]`, in the form they are stored in.
///
/// The normalisation is not applied here: the network's first layer does it (see [`Normalization`]). Cloning shares the
/// memory. A `Vec` and a [`Mixed`] are converted by `.into()`, without a copy.
///
/// ```
/// use syva_core::data::Inputs;
/// let two_samples = Inputs::from(vec![0.5, -1.0, 2.0, 0.0]);
/// assert_eq!(two_samples.rows(1..2, 2)[..], [2.0, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub enum Inputs {
    /// Pixels or other small counts, 0 to 255.
    U8(Arc<Vec<u8>>),
    /// Numbers.
    F32(Arc<Vec<f32>>),
    /// Numbers, and categories by their codes.
    Mixed(Arc<Mixed>),
}

impl Inputs {
    /// The stored value at `index` as f32 (exact).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::U8(values) => f32::from(values[index]),
            Self::F32(values) => values[index],
            Self::Mixed(mixed) => mixed.get(index / mixed.features(), index % mixed.features()),
        }
    }

    /// The values of some samples of so many features each, as f32 (exact).
    #[must_use]
    pub fn rows(&self, samples: Range<usize>, features: usize) -> Cow<'_, [f32]> {
        let range = samples.start * features..samples.end * features;
        match self {
            Self::U8(values) => values[range].iter().map(|&value| f32::from(value)).collect(),
            Self::F32(values) => Cow::Borrowed(&values[range]),
            Self::Mixed(mixed) => {
                let mut values = vec![0.0; range.len()];
                samples.zip(values.chunks_exact_mut(features)).for_each(|(sample, to)| mixed.copy_row(sample, to));
                Cow::Owned(values)
            }
        }
    }

    /// Number of values: samples times features.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::Mixed(mixed) => mixed.samples() * mixed.features(),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that these are whole samples of so many features, and that all numbers are finite.
    pub(crate) fn check(&self, features: usize) -> Result<()> {
        match self {
            Self::Mixed(mixed) if mixed.features() != features => {
                let problem = format!("the inputs have {} features, not {features}", mixed.features());
                return Err(Error::mismatch(problem, "give the number of features that they have"));
            }
            _ if features == 0 || !self.len().is_multiple_of(features) => {
                let problem = format!("{} values do not make whole rows of {features} features", self.len());
                return Err(Error::mismatch(problem, "give as many values for each sample as there are features"));
            }
            _ => {}
        }
        match self {
            Self::U8(_) => Ok(()),
            Self::F32(values) => check_finite(values, features),
            Self::Mixed(mixed) => check_finite(mixed.numbers(), mixed.first()[0]),
        }
    }
}

impl From<Vec<u8>> for Inputs {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values.into())
    }
}

impl From<Vec<f32>> for Inputs {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values.into())
    }
}

impl From<Mixed> for Inputs {
    fn from(mixed: Mixed) -> Self {
        Self::Mixed(mixed.into())
    }
}

/// What the network should predict, one entry (or row) per sample.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Class indices, each below `classes`.
    Classes {
        /// One label per sample.
        labels: Arc<[u32]>,
        /// Number of classes.
        classes: usize,
    },
    /// Real values, row-major `[samples, outputs]`.
    Values {
        /// The values.
        values: Arc<[f32]>,
        /// Values per sample.
        outputs: usize,
    },
}

/// Samples in memory: inputs and targets. Cloning shares the memory.
///
/// ```
/// use syva_core::data::{Dataset, Inputs, Targets};
/// let inputs = Inputs::F32(vec![0.0, 1.0, 1.0, 0.0].into());
/// let targets = Targets::Classes { labels: vec![0, 1].into(), classes: 2 };
/// let data = Dataset::new(inputs, 2, targets)?;
/// assert_eq!(data.samples(), 2);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    inputs: Inputs,
    features: usize,
    targets: Targets,
    weights: Option<Arc<[f32]>>,
}

impl Dataset {
    /// Combines inputs `[samples, features]` with their targets. The counts must agree, labels must be below the number
    /// of classes, and values must be finite.
    pub fn new(inputs: Inputs, features: usize, targets: Targets) -> Result<Self> {
        let refuse = |problem: String, remedy: &str| Err(Error::mismatch(problem, remedy));
        inputs.check(features)?;
        let samples = inputs.len() / features;
        if samples == 0 {
            return refuse("there are 0 samples".into(), "give at least one");
        }
        if u32::try_from(samples).is_err() {
            return refuse(format!("{samples} samples are more than 2^32"), "split the data");
        }
        match &targets {
            Targets::Classes { labels, classes } => {
                if labels.len() != samples {
                    return refuse(format!("{} labels for {samples} samples", labels.len()), "give one per sample");
                }
                if let Some(i) = labels.iter().position(|&label| label as usize >= *classes) {
                    let problem = format!("sample {i} has label {}, beyond the {classes} classes", labels[i]);
                    return refuse(problem, "correct the label or raise the number of classes");
                }
            }
            Targets::Values { values, outputs } => {
                if *outputs == 0 || values.len() != samples * outputs {
                    let problem = format!("{} target values for {samples} samples of {outputs}", values.len());
                    return refuse(problem, "give one row per sample");
                }
                if let Some(i) = values.iter().position(|value| !value.is_finite()) {
                    let problem = format!("the target of sample {} is not finite", i / outputs);
                    return refuse(problem, "remove or fill in such values");
                }
            }
        }
        Ok(Self { inputs, features, targets, weights: None })
    }

    /// The same samples, each with a weight: how much it counts in the mean loss, in training and in evaluation
    /// (scikit-learn's `sample_weight`). Weights are 0 or more, and not all 0. Only their ratios matter. Confusion matrices
    /// and accuracies count samples, whatever they weigh.
    ///
    /// ```
    /// use syva_core::data::{Dataset, Inputs, Targets};
    /// let inputs = Inputs::F32(vec![0.0, 1.0].into());
    /// let data = Dataset::new(inputs, 1, Targets::Classes { labels: vec![0, 1].into(), classes: 2 })?;
    /// assert_eq!(data.clone().with_weights([1.0, 3.0])?.weights(), Some(&[1.0, 3.0][..]));
    /// let error = data.with_weights([1.0, -3.0]).unwrap_err().to_string();
    /// assert_eq!(error, "the weight of sample 1 is -3; give finite numbers from 0 on");
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn with_weights(self, weights: impl Into<Arc<[f32]>>) -> Result<Self> {
        let weights = weights.into();
        if weights.len() != self.samples() {
            let problem = format!("{} weights for {} samples", weights.len(), self.samples());
            return Err(Error::mismatch(problem, "give one per sample"));
        }
        if let Some(i) = weights.iter().position(|&weight| !(weight >= 0.0 && weight.is_finite())) {
            let problem = format!("the weight of sample {i} is {}", weights[i]);
            return Err(Error::mismatch(problem, "give finite numbers from 0 on"));
        }
        if weights.iter().all(|&weight| weight == 0.0) {
            return Err(Error::mismatch("the weights of all samples are 0", "give at least one of them more"));
        }
        Ok(Self { weights: Some(weights), ..self })
    }

    /// The samples' weights, if they have any.
    #[must_use]
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.inputs.len() / self.features
    }

    /// Input values per sample.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The inputs.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Divides the data into a part to learn from and a part for evaluation. `share` of the samples, drawn at random,
    /// become the second part. Each class contributes its share of them, as nearly as whole samples allow (as
    /// `sklearn.model_selection.train_test_split` does with `stratify`). Both parts keep the order of the samples. The
    /// same data, share and seed give the same parts.
    ///
    /// ```
    /// use syva_core::data::{Dataset, Inputs, Targets};
    /// let inputs = Inputs::F32((0..10).map(|i| i as f32).collect::<Vec<_>>().into());
    /// let labels = vec![0, 0, 0, 0, 0, 1, 1, 1, 1, 1].into();
    /// let data = Dataset::new(inputs, 1, Targets::Classes { labels, classes: 2 })?;
    /// let (train, validation) = data.split(0.4, 1)?;
    /// assert_eq!((train.samples(), validation.samples()), (6, 4)); // three and two of each class
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn split(&self, share: f64, seed: u32) -> Result<(Self, Self)> {
        let samples = self.samples();
        let count = share_of(share, samples);
        if !(share > 0.0 && share < 1.0) || count == 0 || count == samples {
            let problem = format!("a share of {share} of {samples} samples leaves a part empty");
            return Err(Error::setting("split", problem, "give a share between 0 and 1, such as 0.2"));
        }
        let is_second = match &self.targets {
            Targets::Classes { labels, classes } => draw(samples, Some((labels, *classes)), share, seed),
            Targets::Values { .. } => draw(samples, None, share, seed),
        };
        self.divided(&is_second)
    }

    /// Divides the data into so many parts of about the same size, to which each class contributes its share, and returns
    /// all others and the one with this number, counted from 1. The same data, number of parts and seed give the same parts.
    ///
    /// # Errors
    /// If a part would be empty.
    pub fn fold(&self, number: usize, of: usize, seed: u32) -> Result<(Self, Self)> {
        let samples = self.samples();
        if of > samples {
            let problem = format!("{of} folds of {samples} training samples leave some empty");
            return Err(Error::setting("folds", problem, "use fewer folds"));
        }
        let classes = match &self.targets {
            Targets::Classes { labels, classes } => Some((&labels[..], *classes)),
            Targets::Values { .. } => None,
        };
        let in_fold: Vec<bool> = folds(samples, classes, of, seed).iter().map(|&fold| fold + 1 == number).collect();
        self.divided(&in_fold)
    }

    /// The samples that are not in the second part, and those that are.
    fn divided(&self, is_second: &[bool]) -> Result<(Self, Self)> {
        let part = |second: bool| {
            let part: Vec<usize> = (0..is_second.len()).filter(|&sample| is_second[sample] == second).collect();
            self.select(&part)
        };
        Ok((part(false)?, part(true)?))
    }

    /// The samples with these indices, in this order.
    fn select(&self, samples: &[usize]) -> Result<Self> {
        fn rows<T: Copy>(values: &[T], columns: usize, samples: &[usize]) -> Vec<T> {
            samples.iter().flat_map(|sample| &values[sample * columns..(sample + 1) * columns]).copied().collect()
        }
        let inputs = match &self.inputs {
            Inputs::U8(values) => Inputs::U8(rows(values, self.features, samples).into()),
            Inputs::F32(values) => Inputs::F32(rows(values, self.features, samples).into()),
            Inputs::Mixed(mixed) => Inputs::Mixed(mixed.select(samples).into()),
        };
        let targets = match &self.targets {
            Targets::Classes { labels, classes } => {
                Targets::Classes { labels: rows(labels, 1, samples).into(), classes: *classes }
            }
            Targets::Values { values, outputs } => {
                Targets::Values { values: rows(values, *outputs, samples).into(), outputs: *outputs }
            }
        };
        let selected = Self::new(inputs, self.features, targets)?;
        match &self.weights {
            Some(weights) => selected.with_weights(rows(weights, 1, samples)),
            None => Ok(selected),
        }
    }

    /// Checks that a network can be trained or evaluated on this data. Engines call it in `load`.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        if self.features != spec.input.features {
            let problem = format!("the data has {} features, the network reads {}", self.features, spec.input.features);
            return Err(Error::mismatch(problem, "use the data this network is for"));
        }
        let fits = match (&self.targets, spec.head) {
            (Targets::Values { outputs, .. }, Head::Regression | Head::Poisson | Head::Gaussian | Head::MultiLabel) => {
                *outputs == spec.targets()
            }
            (Targets::Classes { classes, .. }, Head::Binary | Head::Logits | Head::LogSoftmax) => {
                *classes == spec.classes()
            }
            (Targets::Values { .. }, Head::Binary | Head::Logits | Head::LogSoftmax)
            | (Targets::Classes { .. }, Head::Regression | Head::Poisson | Head::Gaussian | Head::MultiLabel) => false,
        };
        if fits {
            return self.check_values(spec);
        }
        let has = match &self.targets {
            Targets::Values { outputs, .. } => format!("{outputs} target values"),
            Targets::Classes { classes, .. } => format!("{classes} classes"),
        };
        let problem = format!("the data has {has}, the network {} outputs with head {}", spec.outputs(), spec.head);
        Err(Error::mismatch(problem, "use the data this network is for"))
    }

    /// Checks that the target values are ones that the network's head can have.
    fn check_values(&self, spec: &Spec) -> Result<()> {
        let Targets::Values { values, outputs } = &self.targets else { return Ok(()) };
        let (bad, remedy) = match spec.head {
            Head::Poisson => (values.iter().position(|&t| t < 0.0), "give counts, 0 or more"),
            Head::MultiLabel => (values.iter().position(|&t| t != 0.0 && t != 1.0), "give 0 or 1 for each label"),
            Head::Regression | Head::Gaussian | Head::Binary | Head::Logits | Head::LogSoftmax => (None, ""),
        };
        match bad {
            Some(i) => {
                let (sample, target) = (i / outputs, i % outputs);
                let head = spec.head;
                let problem = format!("target {target} of sample {sample} is {}, which {head} cannot have", values[i]);
                Err(Error::mismatch(problem, remedy))
            }
            None => Ok(()),
        }
    }

    /// SHA-256 over features, inputs, targets and weights. It identifies the data to the bit.
    #[must_use]
    pub fn digest(&self) -> String {
        fn update(hash: &mut Sha256, mut words: impl Iterator<Item = [u8; 4]>) {
            // In pieces, so that the bytes are not all in memory at the same time as the numbers.
            loop {
                let bytes: Vec<u8> = words.by_ref().take(1 << 14).flatten().collect();
                if bytes.is_empty() {
                    return;
                }
                hash.update(bytes);
            }
        }
        let mut hash = Sha256::new();
        hash.update((self.features as u64).to_le_bytes());
        match &self.inputs {
            Inputs::U8(values) => hash.update(values.as_slice()),
            Inputs::F32(values) => update(&mut hash, values.iter().map(|v| v.to_le_bytes())),
            Inputs::Mixed(mixed) => {
                hash.update(b"mixed");
                update(&mut hash, mixed.first().iter().map(|&first| (first as u32).to_le_bytes()));
                update(&mut hash, mixed.numbers().iter().map(|v| v.to_le_bytes()));
                update(&mut hash, mixed.codes().iter().map(|v| v.to_le_bytes()));
            }
        }
        match &self.targets {
            Targets::Classes { labels, classes } => {
                hash.update((*classes as u64).to_le_bytes());
                update(&mut hash, labels.iter().map(|v| v.to_le_bytes()));
            }
            Targets::Values { values, outputs } => {
                hash.update((*outputs as u64).to_le_bytes());
                update(&mut hash, values.iter().map(|v| v.to_le_bytes()));
            }
        }
        if let Some(weights) = &self.weights {
            hash.update(b"weights");
            update(&mut hash, weights.iter().map(|v| v.to_le_bytes()));
        }
        hex(&hash.finalize())
    }
}

/// So many of the samples are a share of them.
fn share_of(share: f64, samples: usize) -> usize {
    (share * samples as f64).round() as usize
}

/// Draws a share of the samples at random: which of them are drawn. Each class contributes its share, as nearly as whole
/// samples allow.
fn draw(samples: usize, classes: Option<(&[u32], usize)>, share: f64, seed: u32) -> Vec<bool> {
    let mut groups = classes_of(samples, classes);
    let mut is_drawn = vec![false; samples];
    let (mut before, mut drawn) = (0, 0);
    for (class, group) in groups.iter_mut().enumerate() {
        before += group.len();
        // Computed from the total so far, so that rounding errors do not add up.
        let wanted = share_of(share, before) - drawn;
        let mut random = Random::new(seed, Stream::Split, class as u64);
        // The first steps of a Fisher-Yates shuffle.
        for place in 0..wanted.min(group.len()) {
            let other = place + random.below((group.len() - place) as u64) as usize;
            group.swap(place, other);
            is_drawn[group[place]] = true;
        }
        drawn += wanted;
    }
    is_drawn
}

/// Deals samples to so many folds: the fold of each. Each class is dealt by itself, and each fold has about as many samples.
fn folds(samples: usize, classes: Option<(&[u32], usize)>, of: usize, seed: u32) -> Vec<usize> {
    let mut fold = vec![0; samples];
    let mut dealt = 0;
    for (class, mut group) in classes_of(samples, classes).into_iter().enumerate() {
        let mut random = Random::new(seed, Stream::Split, class as u64);
        for place in 0..group.len() {
            let other = place + random.below((group.len() - place) as u64) as usize;
            group.swap(place, other);
            fold[group[place]] = dealt % of;
            dealt += 1;
        }
    }
    fold
}

/// The samples of each class; all of them if there are none.
fn classes_of(samples: usize, classes: Option<(&[u32], usize)>) -> Vec<Vec<usize>> {
    match classes {
        Some((labels, classes)) => {
            let mut groups = vec![Vec::new(); classes];
            labels.iter().enumerate().for_each(|(sample, &label)| groups[label as usize].push(sample));
            groups
        }
        None => vec![(0..samples).collect()],
    }
}

/// Which samples a training is judged by while it trains: its validation data.
///
/// ```
/// use syva_core::data::Validation;
/// assert_eq!("0.1".parse::<Validation>()?, Validation::Part { size: 0.1, seed: 1 });
/// assert_eq!("5000:seed=3".parse::<Validation>()?, Validation::Part { size: 5000.0, seed: 3 });
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Validation {
    /// The data's own test part. Nothing is then left that no choice was made by.
    #[default]
    Test,
    /// A part of the training data, drawn as [`Dataset::split`] does. The test part is left alone.
    Part {
        /// The share of the samples if it is below 1, otherwise their number.
        size: f64,
        /// The seed of the draw. It is not the training's, so that runs of several seeds are judged by the same samples.
        seed: u32,
    },
    /// One of several parts of the training data of about the same size, to which each class contributes its share. The
    /// networks of all parts together are judged by all samples (cross-validation).
    Fold {
        /// Which one, counted from 1.
        number: usize,
        /// The number of parts.
        of: usize,
        /// The seed of the draw.
        seed: u32,
    },
}

forms! { Validation,
    "test" => Test,
    "part" => Part { size = 0.1, seed = 1 },
    "fold" => Fold { number = 1, of = 5, seed = 1 },
}

impl FromStr for Validation {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let begins = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
        // The size alone says what is meant.
        let part = text.trim().starts_with(begins).then(|| format!("part:{}", text.trim().replacen(':', ",", 1)));
        let found = crate::names::parse("validation", Self::FORMS, part.as_deref().unwrap_or(text))?;
        match found {
            Self::Part { size, .. } if size <= 0.0 || size >= 1.0 && size.fract() != 0.0 => {
                let remedy = "give a share below 1, such as 0.1, or a number of samples, such as 5000";
                Err(Error::setting("validation", format!("{size} is neither a share nor a number of samples"), remedy))
            }
            Self::Fold { number, of, .. } if of < 2 || number == 0 || number > of => {
                let problem = format!("there is no fold {number} of {of}");
                Err(Error::setting(
                    "validation",
                    problem,
                    "give a number from 1 on and 2 folds or more, as in fold:1,of=5",
                ))
            }
            _ => Ok(found),
        }
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, values) = self.form();
        match &values[..] {
            [_, _, _] => f.pad(&crate::names::write(form, &values)),
            [size, seed] if seed == form.parameters[1].1 => f.pad(size),
            [size, seed] => f.pad(&format!("{size}:seed={seed}")),
            _ => f.pad(form.name),
        }
    }
}

impl TryFrom<String> for Validation {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Validation> for String {
    fn from(value: Validation) -> Self {
        value.to_string()
    }
}

/// A task: training and validation data, and what is needed to describe a network for it.
#[derive(Clone, Debug)]
pub struct Task {
    /// `mnist`, `digits`, …
    pub name: String,
    /// The data that the network learns from.
    pub train: Dataset,
    /// The data that it is evaluated on while it trains.
    pub validation: Dataset,
    /// The data's own test part, if the validation data is another ([`Task::validated_by`]).
    pub test: Option<Dataset>,
    /// `[height, width]` if the inputs are grey images, `[3, height, width]` for RGB (see [`ImageShape`]), otherwise empty.
    pub shape: Vec<usize>,
    /// The names of the classes, in the order of their labels. Empty if they are called by their numbers, or if the schema
    /// names them.
    pub class_names: Vec<String>,
    /// How inputs are normalised, fitted on the training data.
    pub normalization: Normalization,
    /// The value of [`Task::digest`], if the source already knows it.
    pub known_digest: Option<String>,
    /// What made the samples of a table's rows.
    pub schema: Option<Arc<Schema>>,
    /// What a network is to learn of the inputs before its first layer.
    pub embedding: Option<Embedding>,
}

impl Task {
    /// A task whose inputs are not images, and are used as they are.
    #[must_use]
    pub fn new(name: &str, train: Dataset, validation: Dataset) -> Self {
        Self {
            name: name.into(),
            train,
            validation,
            test: None,
            shape: Vec::new(),
            class_names: Vec::new(),
            normalization: Normalization::None,
            known_digest: None,
            schema: None,
            embedding: None,
        }
    }

    /// The same task with other validation data: with a part of its training data, which then no longer trains. Its
    /// validation data so far becomes its test part. The digest tells the two tasks apart.
    ///
    /// # Errors
    /// [`Error::Setting`] if no sample would be left for a part.
    pub fn validated_by(self, validation: Validation) -> Result<Self> {
        let samples = self.train.samples();
        if let Validation::Fold { number, of, seed } = validation {
            let (train, part) = self.train.fold(number, of, seed)?;
            let digest = hex(&Sha256::digest(format!("{} validation {validation}", self.digest())));
            return Ok(Self {
                train,
                test: Some(self.validation),
                validation: part,
                known_digest: Some(digest),
                ..self
            });
        }
        let Validation::Part { size, seed } = validation else { return Ok(self) };
        let share = if size < 1.0 { size } else { size / samples as f64 };
        let (train, part) = self.train.split(share, seed).map_err(|_| {
            let problem = format!("{size} of {samples} training samples leaves a part empty");
            Error::setting("validation", problem, "give a share such as 0.1, or a smaller number of samples")
        })?;
        let digest = hex(&Sha256::digest(format!("{} validation {validation}", self.digest())));
        Ok(Self { train, test: Some(self.validation), validation: part, known_digest: Some(digest), ..self })
    }

    /// A network for this task with these hidden layers. Its input, normalisation, and classes or values are the
    /// task's.
    ///
    /// ```
    /// # use syva_core::data::{Dataset, Inputs, Targets, Task};
    /// use syva_core::Activation::Relu;
    /// # let inputs = Inputs::F32(vec![0.0, 1.0].into());
    /// # let data = Dataset::new(inputs, 1, Targets::Classes { labels: vec![0, 1].into(), classes: 2 })?;
    /// let task = Task::new("two points", data.clone(), data);
    /// assert_eq!(task.network(&[5], Relu).widths(), "1-5-2");
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    #[must_use]
    pub fn network(&self, hidden: &[usize], activation: impl Into<Nonlinearity>) -> Spec {
        let mut mlp = Mlp::new(self.train.features());
        if let Some(image) = ImageShape::of(&self.shape) {
            mlp = image.network();
        }
        let mlp = mlp.normalized(self.normalization.clone()).hidden(hidden, activation);
        let spec = match (self.train.targets(), self.schema.as_deref().map(|schema| &schema.target)) {
            (Targets::Classes { classes, .. }, _) => mlp.classes(*classes),
            (Targets::Values { outputs, .. }, Some(Target::Labels { .. })) => {
                Spec { head: Head::MultiLabel, ..mlp.values(*outputs) }
            }
            (Targets::Values { outputs, .. }, _) => mlp.values(*outputs),
        };
        let input = Input { embedding: self.embedding.clone(), ..spec.input };
        Spec { input, schema: self.schema.clone(), class_names: self.class_names.clone(), ..spec }
    }

    /// The same with another head, and as many outputs as it needs. Returns an error if the head does not fit the task's
    /// targets, such as binary for more than two classes.
    pub fn network_with_head(&self, hidden: &[usize], activation: impl Into<Nonlinearity>, head: Head) -> Result<Spec> {
        let mut spec = Spec { head, ..self.network(hidden, activation) };
        let outputs = spec.outputs();
        if let Some(last) = spec.layers.last_mut() {
            last.units = match head {
                Head::Binary => 1,
                Head::Gaussian if matches!(self.train.targets(), Targets::Values { .. }) => 2 * outputs,
                Head::Regression
                | Head::Poisson
                | Head::Gaussian
                | Head::MultiLabel
                | Head::Logits
                | Head::LogSoftmax => outputs,
            };
        }
        let refuse = |problem: String, remedy: &str| Err(Error::setting("head", problem, remedy));
        let remedy = match self.train.targets() {
            Targets::Classes { classes: 2, .. } => "use binary, logits or log-softmax for two classes",
            Targets::Classes { .. } => "use logits or log-softmax for classes",
            Targets::Values { .. } => "use regression, poisson, gaussian or multi-label for values",
        };
        match (self.train.targets(), head) {
            (Targets::Classes { classes, .. }, Head::Binary) if *classes != 2 => {
                return refuse(format!("the data has {classes} classes, and binary is for 2"), remedy);
            }
            (
                Targets::Classes { classes, .. },
                Head::Regression | Head::Poisson | Head::Gaussian | Head::MultiLabel,
            ) => {
                return refuse(format!("the data has {classes} classes, and {head} is for values"), remedy);
            }
            (Targets::Values { outputs, .. }, Head::Binary | Head::Logits | Head::LogSoftmax) => {
                return refuse(format!("the data has {outputs} values per sample, and {head} is for classes"), remedy);
            }
            (Targets::Classes { .. }, Head::Binary | Head::Logits | Head::LogSoftmax)
            | (Targets::Values { .. }, Head::Regression | Head::Poisson | Head::Gaussian | Head::MultiLabel) => {}
        }
        spec.validate()?;
        // What is left is a value that the head cannot have.
        self.train.check(&spec).and_then(|()| self.validation.check(&spec)).map_err(|error| match error {
            Error::Mismatch { problem, remedy } => Error::Setting { setting: "head".into(), problem, remedy },
            other => other,
        })?;
        Ok(spec)
    }

    /// The names of the classes, if they have any.
    #[must_use]
    pub fn named_classes(&self) -> Option<&[String]> {
        let of_schema = self.schema.as_deref().and_then(Schema::classes);
        of_schema.or((!self.class_names.is_empty()).then_some(&self.class_names))
    }

    /// One part of the data.
    #[must_use]
    pub fn split(&self, split: Split) -> &Dataset {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }

    /// Identifies all of the data to the bit: SHA-256 over the digests of both parts, or the digest that the source
    /// gives instead (for MNIST, the published digests of its files, against which their content was checked).
    #[must_use]
    pub fn digest(&self) -> String {
        if let Some(digest) = &self.known_digest {
            return digest.clone();
        }
        hex(&Sha256::digest(format!("{}{}", self.train.digest(), self.validation.digest())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples whose only input is their number.
    fn numbered(labels: Vec<u32>, classes: usize) -> Dataset {
        let inputs = Inputs::F32((0..labels.len()).map(|i| i as f32).collect::<Vec<_>>().into());
        Dataset::new(inputs, 1, Targets::Classes { labels: labels.into(), classes }).unwrap()
    }

    #[test]
    fn a_split_is_of_all_samples_and_fair_to_each_class() {
        for seed in 0..50 {
            let mut random = Random::new(seed, Stream::Augmentation, 0);
            let (samples, classes) = (20 + random.below(300) as usize, 1 + random.below(12) as usize);
            let share = 0.1 + 0.8 * f64::from(random.unit());
            let labels: Vec<u32> = (0..samples).map(|_| random.below(classes as u64) as u32).collect();
            let data = numbered(labels.clone(), classes);
            let (first, second) = data.split(share, seed).unwrap();
            let numbers =
                |data: &Dataset| (0..data.samples()).map(|i| data.inputs().get(i) as usize).collect::<Vec<_>>();
            let (first, second) = (numbers(&first), numbers(&second));
            assert!(first.is_sorted() && second.is_sorted(), "seed {seed}");
            let mut all = [first, second.clone()].concat();
            all.sort_unstable();
            assert_eq!(all, (0..samples).collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(second.len(), (share * samples as f64).round() as usize, "seed {seed}");
            for class in 0..classes as u32 {
                let of_class = |sample: &&usize| labels[**sample] == class;
                let (there, all) = (second.iter().filter(of_class).count(), all.iter().filter(of_class).count());
                let wanted = share * all as f64;
                assert!(
                    (there as f64 - wanted).abs() <= 1.0,
                    "seed {seed}: {there} of {all} of class {class} at {share}"
                );
            }
            let (_, again) = data.split(share, seed).unwrap();
            assert_eq!(numbers(&again), second, "seed {seed}");
        }
        let data = numbered(vec![0; 100], 1);
        let second = |seed| data.split(0.5, seed).unwrap().1.digest();
        assert_ne!(second(1), second(2));
    }

    #[test]
    fn targets_and_bytes_go_with_their_samples() {
        let values = (0..20).map(|i| i as f32).collect();
        let inputs = Inputs::U8((0..30).collect::<Vec<u8>>().into());
        let data = Dataset::new(inputs, 3, Targets::Values { values, outputs: 2 }).unwrap();
        let (_, part) = data.split(0.3, 7).unwrap();
        let Targets::Values { values, outputs: 2 } = part.targets() else { panic!("values of two") };
        for sample in 0..part.samples() {
            let number = part.inputs().get(3 * sample) / 3.0;
            assert_eq!(values[2 * sample..][..2], [2.0 * number, 2.0 * number + 1.0]);
        }
    }

    #[test]
    fn a_head_has_the_outputs_that_it_needs_or_is_refused() {
        let of = |data: Dataset| Task::new("some", data.clone(), data);
        let (two, three) = (of(numbered(vec![0, 1, 1], 2)), of(numbered(vec![0, 1, 2], 3)));
        let values = |values: Vec<f32>| {
            let inputs = Inputs::F32(vec![0.0; 2].into());
            of(Dataset::new(inputs, 1, Targets::Values { values: values.into(), outputs: 2 }).unwrap())
        };
        let network = |task: &Task, head| {
            task.network_with_head(&[4], crate::Activation::Relu, head)
                .map(|spec| spec.widths())
                .map_err(|e| e.to_string())
        };
        assert_eq!(network(&two, Head::Binary).unwrap(), "1-4-1");
        assert_eq!(network(&two, Head::LogSoftmax).unwrap(), "1-4-2");
        let said = network(&three, Head::Binary).unwrap_err();
        assert_eq!(said, "head: the data has 3 classes, and binary is for 2; use logits or log-softmax for classes");
        let said = network(&two, Head::Poisson).unwrap_err();
        assert!(said.contains("2 classes, and poisson is for values; use binary, logits or log-softmax"), "{said}");
        let counts = values(vec![0.0, 1.0, 1.0, 0.0]);
        assert_eq!(network(&counts, Head::Gaussian).unwrap(), "1-4-4");
        assert_eq!(network(&counts, Head::MultiLabel).unwrap(), "1-4-2");
        assert_eq!(network(&counts, Head::Poisson).unwrap(), "1-4-2");
        let reals = values(vec![0.0, 1.0, 1.5, -1.0]);
        assert!(network(&reals, Head::MultiLabel).unwrap_err().contains("target 0 of sample 1 is 1.5"));
        assert!(network(&reals, Head::Poisson).unwrap_err().contains("target 1 of sample 1 is -1"));
        assert!(network(&reals, Head::Logits).unwrap_err().contains("2 values per sample, and logits is for classes"));
    }

    #[test]
    fn a_part_of_the_training_data_can_validate_and_the_test_part_stays() {
        let task =
            || Task::new("numbers", numbered((0..100).map(|i| i % 4).collect(), 4), numbered(vec![0, 1, 2, 3], 4));
        let with = |text: &str| task().validated_by(text.parse().unwrap()).unwrap();
        let share = with("0.2");
        assert_eq!((share.train.samples(), share.validation.samples()), (80, 20));
        assert_eq!(share.test.unwrap().digest(), task().validation.digest());
        let Targets::Classes { labels, .. } = share.validation.targets() else { panic!("classes") };
        assert_eq!(
            (0..4).map(|class| labels.iter().filter(|&&label| label == class).count()).collect::<Vec<_>>(),
            [5; 4]
        );
        // A number draws the same samples as the share that it is.
        let count = with("20");
        assert_eq!(count.validation.digest(), share.validation.digest());
        let digests: std::collections::BTreeSet<_> =
            ["test", "0.2", "0.2:seed=2", "0.3"].map(|text| with(text).digest()).into();
        assert_eq!(digests.len(), 4, "each is a task of its own");
        assert_eq!(with("test").digest(), task().digest());
        for size in ["100", "0.001", "0.999"] {
            let error = task().validated_by(size.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains("of 100 training samples leaves a part empty"), "{error}");
        }
        let says = |text: &str| text.parse::<Validation>().unwrap_err().to_string();
        assert!(says("1.5").contains("1.5 is neither a share nor a number of samples"));
        assert!(says("-1").contains("-1 is neither"));
        assert!(says("10%").contains("'10%' is not a finite number"));
        assert!(says("tset").contains("did you mean 'test'?"));
    }

    #[test]
    fn folds_share_all_samples_and_each_class_evenly() {
        let data = numbered((0..103).map(|i| u32::from(i % 5 == 0)).collect(), 2);
        let task = || Task::new("numbers", data.clone(), data.clone());
        let mut seen = Vec::new();
        for number in 1..=4 {
            let fold = task().validated_by(format!("fold:{number},of=4").parse().unwrap()).unwrap();
            let numbers: Vec<usize> =
                (0..fold.validation.samples()).map(|i| fold.validation.inputs().get(i) as usize).collect();
            assert!((25..=26).contains(&numbers.len()), "{numbers:?}");
            assert!((5..=6).contains(&numbers.iter().filter(|&&i| i % 5 == 0).count()), "{numbers:?}");
            assert_eq!(fold.train.samples() + numbers.len(), 103);
            seen.extend(numbers);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..103).collect::<Vec<_>>());
        for text in ["fold:0,of=4", "fold:5,of=4", "fold:1,of=1"] {
            assert!(text.parse::<Validation>().unwrap_err().to_string().contains("there is no fold"), "{text}");
        }
        let text = "fold:2,of=4,seed=7".parse::<Validation>().unwrap().to_string();
        assert_eq!(text.parse::<Validation>().unwrap(), Validation::Fold { number: 2, of: 4, seed: 7 });
        assert!(
            task().validated_by("fold:1,of=104".parse().unwrap()).unwrap_err().to_string().contains("leave some empty")
        );
    }

    #[test]
    fn a_share_that_leaves_a_part_empty_is_refused() {
        let data = numbered(vec![0, 1, 0, 1], 2);
        for share in [0.0, 1.0, -0.5, 2.0, f64::NAN, 0.01, 0.99] {
            assert!(data.split(share, 1).is_err(), "{share}");
        }
    }
}
