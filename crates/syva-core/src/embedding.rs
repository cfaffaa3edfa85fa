//! What a network learns of its inputs before its first layer: embeddings of numbers and of categories, and a factor for each
//! of their outputs (rule 11).
//!
//! Numbers of a table say little to a linear layer: whether an age is near 40 is no linear function of it. An embedding gives
//! the layer periodic or piecewise linear functions of each number, and a learned vector for each category (Gorishniy et al. 2022, "On Embeddings
//! for Numerical Features in Tabular Deep Learning"; the form here is PBLD of RealMLP, arXiv 2407.04491).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::arithmetic::{Number, Real};
use crate::names::{forms, text};
use crate::random::{Random, Stream};
use crate::reference::sum_over_batch;
use crate::spec::Normalization;
use crate::{Error, Result};

/// What becomes of a sample's features before the first layer.
///
/// ```
/// use syva_core::{Block, Embedding};
/// let blocks = vec![
///     Block::Periodic { features: 2, frequencies: 16, outputs: 4 },
///     Block::Plain { features: 1 },
///     Block::Category { features: 30, size: 8 },
/// ];
/// let embedding = Embedding { blocks, scaled: true };
/// assert_eq!((embedding.features(), embedding.outputs()), (33, 2 * 4 + 1 + 8));
/// assert_eq!(embedding.parameters(), 2 * (16 + 16 + 16 * 3 + 3) + 30 * 8 + 17);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// What becomes of the features, some after the others.
    pub blocks: Vec<Block>,
    /// Whether each output is multiplied by a factor of its own, which is learned.
    #[serde(default)]
    pub scaled: bool,
}

/// What becomes of some features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Block {
    /// They stay what they are.
    Plain {
        /// Their number.
        features: usize,
    },
    /// Each number x becomes `W·cos(2π·w·x + b) + c`, and x itself.
    Periodic {
        /// The number of numbers.
        features: usize,
        /// The number of frequencies w of each.
        frequencies: usize,
        /// The number of outputs of each, x included: at least 2.
        outputs: usize,
    },
    /// Each number x becomes `W·ramp(w·x + b) + c`, and x itself. A ramp is 0 below 0, 1 above 1, and straight between, so that
    /// each bin of the number's quantiles has a slope of its own.
    Piecewise {
        /// The number of numbers.
        features: usize,
        /// The number of bins of each.
        bins: usize,
        /// The number of outputs of each, x included: at least 2.
        outputs: usize,
    },
    /// They are the categories of a column, of which a sample has one at most. It becomes the category's vector, or zeros.
    Category {
        /// The number of categories.
        features: usize,
        /// The length of the vectors.
        size: usize,
    },
}

/// A function that numbers are embedded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// cos(2π·w·x + b).
    Cosine,
    /// w·x + b, held to [0, 1].
    Ramp,
}

impl Wave {
    /// The function of a number, and its derivative by the angle 2π·w·x + b or w·x + b.
    #[inline(always)]
    #[must_use]
    pub fn of<T: Number>(self, x: T, w: T, b: T) -> (T, T) {
        match self {
            Self::Cosine => {
                let (cos, sin) = b.fma(T::TURNS, x * w).of_turns();
                (cos, -sin)
            }
            Self::Ramp => {
                let t = x.fma(w, b);
                let of = |below: T, between: T, above: T| {
                    T::select(t.above(T::ZERO), T::select(T::ONE.above(t), between, above), below)
                };
                (of(T::ZERO, t, T::ONE), of(T::ZERO, T::ONE, T::ZERO))
            }
        }
    }

    /// The derivative of the angle by w.
    #[inline(always)]
    #[must_use]
    pub fn by_w<T: Real>(self, x: T) -> T {
        match self {
            Self::Cosine => x * (T::HALF_TURN + T::HALF_TURN),
            Self::Ramp => x,
        }
    }
}

/// How a block embeds numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The function.
    pub wave: Wave,
    /// How many of it each number has.
    pub functions: usize,
    /// The number of outputs of each number, itself included.
    pub outputs: usize,
}

impl Block {
    /// The number of features.
    #[must_use]
    pub fn features(&self) -> usize {
        match *self {
            Self::Plain { features }
            | Self::Periodic { features, .. }
            | Self::Piecewise { features, .. }
            | Self::Category { features, .. } => features,
        }
    }

    /// How it embeds numbers, if it does.
    #[must_use]
    pub fn numbers(&self) -> Option<Numbers> {
        match *self {
            Self::Periodic { frequencies, outputs, .. } => {
                Some(Numbers { wave: Wave::Cosine, functions: frequencies, outputs })
            }
            Self::Piecewise { bins, outputs, .. } => Some(Numbers { wave: Wave::Ramp, functions: bins, outputs }),
            Self::Plain { .. } | Self::Category { .. } => None,
        }
    }

    /// The number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match *self {
            Self::Plain { features } => features,
            Self::Periodic { features, outputs, .. } | Self::Piecewise { features, outputs, .. } => {
                features.saturating_mul(outputs)
            }
            Self::Category { size, .. } => size,
        }
    }
}

/// What a learned tensor of an embedding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// The frequencies w of numbers, `[features, frequencies]`.
    Frequencies,
    /// The phases b of numbers, `[features, frequencies]`.
    Phases,
    /// The slopes w of numbers, `[features, bins]`.
    Slopes,
    /// The places b of numbers, `[features, bins]`.
    Places,
    /// The weights W of numbers, `[features, frequencies or bins, outputs − 1]`.
    Mixes,
    /// The biases c of numbers, `[features, outputs − 1]`.
    Offsets,
    /// The vectors of categories, `[features, size]`.
    Vectors,
    /// The factors of all outputs, `[outputs]`.
    Scales,
}

/// A learned tensor of an embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// What it is.
    pub learnt: Learnt,
    /// The block that it belongs to.
    pub block: usize,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// The number of its values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its name in files.
    #[must_use]
    pub fn name(&self) -> String {
        let block = self.block + 1;
        match self.learnt {
            Learnt::Frequencies => format!("embed{block}.frequency"),
            Learnt::Phases => format!("embed{block}.phase"),
            Learnt::Slopes => format!("embed{block}.slope"),
            Learnt::Places => format!("embed{block}.place"),
            Learnt::Mixes => format!("embed{block}.weight"),
            Learnt::Offsets => format!("embed{block}.bias"),
            Learnt::Vectors => format!("embed{block}.vector"),
            Learnt::Scales => "factors.weight".into(),
        }
    }
}

/// A block with the places of its features, its outputs and its tensors.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The block.
    pub block: Block,
    /// Its features.
    pub features: Range<usize>,
    /// Its outputs.
    pub outputs: Range<usize>,
    /// Its first tensor.
    pub tensor: usize,
}

impl Embedding {
    /// Features of a sample.
    #[must_use]
    pub fn features(&self) -> usize {
        self.blocks.iter().map(Block::features).sum()
    }

    /// Outputs for a sample, which the first layer reads.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.blocks.iter().map(Block::outputs).sum()
    }

    /// The number of learned values.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(Tensor::len).sum()
    }

    /// The blocks with their places.
    pub fn placed(&self) -> impl Iterator<Item = Placed> {
        let (mut feature, mut output, mut tensor) = (0, 0, 0);
        self.blocks.iter().map(move |&block| {
            let placed = Placed {
                block,
                features: feature..feature + block.features(),
                outputs: output..output + block.outputs(),
                tensor,
            };
            (feature, output) = (placed.features.end, placed.outputs.end);
            tensor += match block {
                Block::Plain { .. } => 0,
                Block::Periodic { .. } | Block::Piecewise { .. } => 4,
                Block::Category { .. } => 1,
            };
            placed
        })
    }

    /// What is learned, in the order of files and digests.
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        for (place, &block) in self.blocks.iter().enumerate() {
            let mut add =
                |learnt, shape: &[usize]| tensors.push(Tensor { learnt, block: place, shape: shape.to_vec() });
            match block {
                Block::Plain { .. } => {}
                Block::Periodic { features, frequencies: functions, outputs }
                | Block::Piecewise { features, bins: functions, outputs } => {
                    let (w, b) = match block {
                        Block::Periodic { .. } => (Learnt::Frequencies, Learnt::Phases),
                        _ => (Learnt::Slopes, Learnt::Places),
                    };
                    add(w, &[features, functions]);
                    add(b, &[features, functions]);
                    add(Learnt::Mixes, &[features, functions, outputs - 1]);
                    add(Learnt::Offsets, &[features, outputs - 1]);
                }
                Block::Category { features, size } => add(Learnt::Vectors, &[features, size]),
            }
        }
        if self.scaled {
            tensors.push(Tensor { learnt: Learnt::Scales, block: self.blocks.len(), shape: vec![self.outputs()] });
        }
        tensors
    }

    /// The place of the factors among the tensors.
    #[must_use]
    pub fn scales(&self) -> Option<usize> {
        self.scaled.then(|| self.tensors().len() - 1)
    }

    /// Initial values, as RealMLP draws them: frequencies from N(0, sigma²), phases from U(−π, π), weights and biases from
    /// U(±1/√frequencies), vectors from N(0, 1), factors 1. Bins are of equal width between −1.5 and 1.5, until they are fitted
    /// to data.
    #[must_use]
    pub(crate) fn initial(&self, sigma: f64, seed: u32) -> Vec<Vec<f32>> {
        let draw = |(place, tensor): (usize, Tensor)| -> Vec<f32> {
            // Layers have the substreams from 0 on.
            let mut random = Random::new(seed, Stream::Init, 1 << 32 | place as u64);
            let uniform = |bound: f64, random: &mut Random| random.uniform(-bound as f32, bound as f32);
            let functions =
                self.blocks.get(tensor.block).and_then(Block::numbers).map_or(1, |numbers| numbers.functions);
            let value = |n: usize| match tensor.learnt {
                Learnt::Frequencies => (sigma * crate::init::normal(&mut random)) as f32,
                Learnt::Phases => uniform(std::f64::consts::PI, &mut random),
                Learnt::Slopes => functions as f32 / 3.0,
                Learnt::Places => functions as f32 / 2.0 - (n % functions) as f32,
                Learnt::Mixes | Learnt::Offsets => uniform(1.0 / (functions as f64).sqrt(), &mut random),
                Learnt::Vectors => crate::init::normal(&mut random) as f32,
                Learnt::Scales => 1.0,
            };
            (0..tensor.len()).map(value).collect()
        };
        self.tensors().into_iter().enumerate().map(draw).collect()
    }

    /// Whether it begins with quantiles of the training data.
    #[must_use]
    pub fn begins_with_data(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Piecewise { .. }))
    }

    /// Sets the slopes and places of numbers so that their bins are those between quantiles of the data. `column` has the
    /// raw values of a feature, which `normalization` applies to. Where quantiles are the same, there is no bin: a ramp that
    /// is always 0.
    pub(crate) fn fit_to_data(
        &self,
        tensors: &mut [Vec<f32>],
        normalization: &Normalization,
        column: impl Fn(usize) -> Vec<f32>,
    ) {
        for placed in self.placed() {
            let Block::Piecewise { bins, .. } = placed.block else { continue };
            for (f, k) in placed.features.enumerate() {
                let (scale, shift) = normalization.of(k);
                let mut values: Vec<f32> = column(k).into_iter().map(|x| x * scale + shift).collect();
                values.sort_by(f32::total_cmp);
                let edge = |n: usize| {
                    let at = n as f64 / bins as f64 * (values.len() - 1) as f64;
                    let (low, share) = (at.floor() as usize, at - at.floor());
                    let high = (low + 1).min(values.len() - 1);
                    f64::from(values[low]) * (1.0 - share) + f64::from(values[high]) * share
                };
                for bin in 0..bins {
                    let (from, to) = (edge(bin), edge(bin + 1));
                    let slope = if to > from { 1.0 / (to - from) } else { 0.0 };
                    let is_finite = (slope as f32).is_finite();
                    tensors[placed.tensor][f * bins + bin] = if is_finite { slope as f32 } else { 0.0 };
                    tensors[placed.tensor + 1][f * bins + bin] = if is_finite { (-from * slope) as f32 } else { 0.0 };
                }
            }
        }
    }

    /// Checks that it embeds so many features, and that every block is valid.
    pub(crate) fn validate(&self, features: usize, normalization: &Normalization) -> Result<()> {
        let refuse = |problem: String, remedy: &str| Err(Error::setting("embedding", problem, remedy));
        for block in &self.blocks {
            let valid = match *block {
                Block::Plain { features } => features > 0,
                Block::Periodic { features, frequencies: functions, outputs }
                | Block::Piecewise { features, bins: functions, outputs } => {
                    features > 0 && (1..=MOST).contains(&functions) && (2..=MOST).contains(&outputs)
                }
                Block::Category { features, size } => features > 0 && (1..=MOST).contains(&size),
            };
            if !valid {
                return refuse(format!("{block:?} is not valid"), "give sizes from 1 to 1024, and 2 outputs or more");
            }
        }
        let found = self.blocks.iter().fold(0usize, |sum, block| sum.saturating_add(block.features()));
        if found != features {
            return refuse(format!("it embeds {found} features, and there are {features}"), "make them agree");
        }
        for placed in self.placed().filter(|placed| matches!(placed.block, Block::Category { .. })) {
            if placed.features.clone().any(|k| normalization.of(k) != (1.0, 0.0)) {
                return refuse(
                    format!("features {:?} are categories, and are normalised", placed.features),
                    "leave their normalisation out",
                );
            }
        }
        Ok(())
    }

    /// The outputs before their factors, `[batch, outputs]`, of raw inputs `x`, `[batch, features]`. `scale` and `shift`
    /// normalise those that are no categories.
    pub(crate) fn forward<T: Real>(&self, tensors: &[Vec<T>], x: &[T], (scale, shift): (&[T], &[T])) -> Vec<T> {
        let mut embedded = Vec::with_capacity(x.len() / scale.len() * self.outputs());
        for x in x.chunks(scale.len()) {
            for Placed { block, features, tensor, .. } in self.placed() {
                let numbers = block.numbers();
                match block {
                    Block::Plain { .. } => embedded.extend(features.map(|k| x[k] * scale[k] + shift[k])),
                    Block::Periodic { .. } | Block::Piecewise { .. } => {
                        let Some(Numbers { wave, functions, outputs }) = numbers else { continue };
                        let [w, b, mix, offset] = [0, 1, 2, 3].map(|n| &tensors[tensor + n]);
                        for (f, k) in features.enumerate() {
                            let value = x[k] * scale[k] + shift[k];
                            for o in 0..outputs - 1 {
                                let mut sum = offset[f * (outputs - 1) + o];
                                for i in 0..functions {
                                    let at = f * functions + i;
                                    let (found, _) = wave.of(value, w[at], b[at]);
                                    sum = found.fma(mix[at * (outputs - 1) + o], sum);
                                }
                                embedded.push(sum);
                            }
                            embedded.push(value);
                        }
                    }
                    Block::Category { size, .. } => {
                        for i in 0..size {
                            let mut sum = T::ZERO;
                            for (f, k) in features.clone().enumerate() {
                                if x[k] != T::ZERO {
                                    sum = x[k].fma(tensors[tensor][f * size + i], sum);
                                }
                            }
                            embedded.push(sum + T::ZERO);
                        }
                    }
                }
            }
        }
        embedded
    }

    /// What the first layer reads, `[batch, outputs]`: the outputs with their factors; and the outputs before these.
    pub(crate) fn inputs<T: Real>(&self, tensors: &[Vec<T>], x: &[T], normalization: (&[T], &[T])) -> (Vec<T>, Vec<T>) {
        let embedded = self.forward(tensors, x, normalization);
        let inputs = match self.scales() {
            Some(place) => {
                let factors = &tensors[place];
                embedded.iter().enumerate().map(|(i, &e)| e * factors[i % factors.len()]).collect()
            }
            None => embedded.clone(),
        };
        (inputs, embedded)
    }

    /// The gradients of all tensors, from the outputs before their factors, and the gradient `d` by those after them,
    /// `[batch, outputs]`.
    pub(crate) fn backward<T: Real>(
        &self,
        tensors: &[Vec<T>],
        x: &[T],
        (scale, shift): (&[T], &[T]),
        embedded: &[T],
        d: &[T],
    ) -> Vec<Vec<T>> {
        let (count, width) = (scale.len(), self.outputs());
        let batch = x.len() / count;
        let factor = |o: usize| self.scales().map_or(T::ONE, |place| tensors[place][o]);
        let value = |b: usize, k: usize| x[b * count + k] * scale[k] + shift[k];
        // The gradient by an output before its factor.
        let de = |b: usize, o: usize| if self.scaled { d[b * width + o] * factor(o) } else { d[b * width + o] };
        let mut gradients = Vec::new();
        for Placed { block, features, outputs: out, tensor } in self.placed() {
            match block {
                Block::Plain { .. } => {}
                Block::Periodic { .. } | Block::Piecewise { .. } => {
                    let Some(Numbers { wave, functions, outputs }) = block.numbers() else { continue };
                    let [w, phase, mix] = [0, 1, 2].map(|n| &tensors[tensor + n]);
                    let [mut by_w, mut by_phase, mut by_mix, mut by_offset] = [const { Vec::new() }; 4];
                    for (f, k) in features.enumerate() {
                        let first = out.start + f * outputs;
                        for i in 0..functions {
                            let at = f * functions + i;
                            let both = |b: usize| wave.of(value(b, k), w[at], phase[at]);
                            // The gradient by the angle.
                            let angle = |b: usize| {
                                let of = |sum: T, o: usize| mix[at * (outputs - 1) + o].fma(de(b, first + o), sum);
                                both(b).1 * (0..outputs - 1).fold(T::ZERO, of)
                            };
                            by_w.push(sum_over_batch(0..batch, &|sum, b| angle(b).fma(wave.by_w(value(b, k)), sum)));
                            by_phase.push(sum_over_batch(0..batch, &|sum, b| sum + angle(b)));
                            for o in 0..outputs - 1 {
                                let add = |sum, b| both(b).0.fma(de(b, first + o), sum);
                                by_mix.push(sum_over_batch(0..batch, &add));
                            }
                        }
                        let by_output = |o: usize| sum_over_batch(0..batch, &|sum: T, b| sum + de(b, o));
                        by_offset.extend((first..first + outputs - 1).map(by_output));
                    }
                    gradients.extend([by_w, by_phase, by_mix, by_offset]);
                }
                Block::Category { size, .. } => {
                    let mut by_vector = Vec::new();
                    for k in features {
                        for i in 0..size {
                            let add = |sum: T, b: usize| match x[b * count + k] {
                                x if x == T::ZERO => sum,
                                x => x.fma(de(b, out.start + i), sum),
                            };
                            by_vector.push(sum_over_batch(0..batch, &add));
                        }
                    }
                    gradients.push(by_vector);
                }
            }
        }
        if self.scaled {
            let by_factor =
                |o: usize| sum_over_batch(0..batch, &|sum: T, b| d[b * width + o].fma(embedded[b * width + o], sum));
            gradients.push((0..width).map(by_factor).collect());
        }
        gradients
    }
}

/// How the numbers of a table are embedded.
///
/// ```
/// use syva_core::NumberEmbedding;
/// let periodic: NumberEmbedding = "periodic:frequencies=8".parse()?;
/// assert_eq!(periodic, NumberEmbedding::Periodic { frequencies: 8, outputs: 4 });
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum NumberEmbedding {
    /// Not at all.
    #[default]
    None,
    /// By periodic functions of each ([`Block::Periodic`]).
    Periodic {
        /// Frequencies of each number.
        frequencies: usize,
        /// Outputs for each number, itself included.
        outputs: usize,
    },
    /// By straight pieces between quantiles of each ([`Block::Piecewise`]).
    Piecewise {
        /// Bins of each number.
        bins: usize,
        /// Outputs for each number, itself included.
        outputs: usize,
    },
}

forms! { NumberEmbedding,
    "none" => None,
    "periodic" => Periodic { frequencies = 16, outputs = 4 },
    "piecewise" => Piecewise { bins = 16, outputs = 4 },
}
text!(NumberEmbedding, "embedding");

impl NumberEmbedding {
    fn validate(self) -> Result<()> {
        match self {
            Self::Periodic { frequencies, outputs }
                if !(1..=MOST).contains(&frequencies) || !(2..=MOST).contains(&outputs) =>
            {
                let problem = format!("{frequencies} frequencies and {outputs} outputs are out of range");
                Err(Error::setting("embedding", problem, "give 1 to 1024 frequencies, and 2 to 1024 outputs"))
            }
            Self::Piecewise { bins, outputs } if !(1..=MOST).contains(&bins) || !(2..=MOST).contains(&outputs) => {
                let problem = format!("{bins} bins and {outputs} outputs are out of range");
                Err(Error::setting("embedding", problem, "give 1 to 1024 bins, and 2 to 1024 outputs"))
            }
            _ => Ok(()),
        }
    }
}

/// The largest size of a block.
const MOST: usize = 1024;
