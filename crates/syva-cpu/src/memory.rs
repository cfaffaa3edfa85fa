//! The engine's memory: weights as the kernels want them, what a batch passes through, and where its inputs come from.

use std::ops::Range;

use syva_core::data::{Dataset, Inputs};
use syva_core::{Matrix, Parameters, Spec, State};

use crate::buffer::{HALF, Panels, WIDTH};
use crate::sparse::InputKernel;

/// The weights as the kernels want them. Only [`Weights::set`] and [`Weights::get`] know the state's layout.
pub(crate) struct Weights {
    /// Wᵀ of each layer, `[fan_in, units]`, rows rounded up to whole panels.
    pub(crate) transposed: Vec<Panels>,
    /// `[1, units]` each.
    pub(crate) bias: Vec<Panels>,
    /// What the sums of the first layer start at, `[1, units]`: the bias plus `Σ_k shift_k·w[j,k]`,
    pub(crate) start: Panels,
    /// unless they were set since.
    pub(crate) start_is_stale: bool,
    /// Another one after each change.
    pub(crate) version: u64,
    /// Of each feature.
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    pub(crate) step: u64,
}

impl Weights {
    pub(crate) fn new(spec: &Spec) -> Self {
        let shapes = || spec.layers.iter().enumerate().map(|(l, layer)| (spec.fan_in(l), layer.units));
        let (scale, shift) = (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        Self {
            transposed: shapes().map(|(fan_in, units)| Panels::new(fan_in.next_multiple_of(WIDTH), units)).collect(),
            bias: shapes().map(|(_, units)| Panels::new(1, units)).collect(),
            start: Panels::new(1, spec.layers[0].units),
            start_is_stale: true,
            version: 0,
            scale,
            shift,
            step: 0,
        }
    }

    pub(crate) fn set(&mut self, state: &State) {
        self.step = state.step;
        self.start_is_stale = true;
        self.version += 1;
        for (l, parameters) in state.layers.iter().enumerate() {
            let to = &mut self.transposed[l];
            for j in 0..parameters.weight.rows() {
                let from = to.at(j / WIDTH) + j % WIDTH;
                let places = to.as_mut_slice()[from..].iter_mut().step_by(WIDTH);
                places.zip(parameters.weight.row(j)).for_each(|(to, &w)| *to = w);
            }
            self.bias[l].as_mut_slice()[..parameters.bias.len()].copy_from_slice(&parameters.bias);
        }
    }

    pub(crate) fn get(&self, spec: &Spec) -> State {
        let layers = (0..self.transposed.len())
            .map(|l| {
                let mut weight = Matrix::zeros(spec.layers[l].units, spec.fan_in(l));
                let from = &self.transposed[l];
                for j in 0..weight.rows() {
                    let places = from.as_slice()[from.at(j / WIDTH) + j % WIDTH..].iter().step_by(WIDTH);
                    weight.row_mut(j).iter_mut().zip(places).for_each(|(w, &from)| *w = from);
                }
                Parameters { weight, bias: self.bias[l].as_slice()[..spec.layers[l].units].to_vec() }
            })
            .collect();
        State { step: self.step, layers }
    }
}

/// What a batch passes through, for up to `capacity` samples.
pub(crate) struct Workspace {
    pub(crate) capacity: usize,
    /// Rows that its panels have.
    pub(crate) height: usize,
    /// Activations of each layer, `[batch, units]`; the last holds the outputs z.
    pub(crate) h: Vec<Panels>,
    /// Gradients by z of each layer, likewise; empty where no training is done.
    pub(crate) d: Vec<Panels>,
    /// Loss of each sample.
    pub(crate) losses: Vec<f32>,
    /// Predicted class of each sample.
    pub(crate) guesses: Vec<u32>,
}

impl Workspace {
    pub(crate) fn new(spec: &Spec, capacity: usize, training: bool) -> Self {
        // A tile of rows goes through all panels: were these a power of two apart, its lines would compete for a few
        // places in the cache.
        let rows = capacity.next_multiple_of(2 * HALF) + HALF;
        let panels = |rows| spec.layers.iter().map(|layer| Panels::new(rows, layer.units)).collect();
        Self {
            capacity,
            height: rows,
            h: panels(rows),
            d: panels(if training { rows } else { 0 }),
            losses: vec![0.0; capacity],
            guesses: vec![0; capacity],
        }
    }

    /// The samples of the batch with what was predicted for them.
    pub(crate) fn predictions(&self, batch: Batch<'_>) -> impl Iterator<Item = (usize, usize)> {
        (0..batch.samples.len()).map(move |b| (batch.samples.get(b), self.guesses[b] as usize))
    }

    /// Copies the outputs z of a sample of the batch.
    pub(crate) fn copy_outputs(&self, sample: usize, to: &mut [f32]) {
        self.h[self.h.len() - 1].copy_row(sample, to);
    }
}

/// Samples of a batch from which on they are listed by feature: lists of fewer cost more time than they save.
const LISTED: usize = 4;

/// A data set as the engine keeps it: shared, never copied.
pub(crate) struct Loaded {
    pub(crate) data: Dataset,
    sparse: bool,
    /// The smallest batch that is listed by feature.
    listed: usize,
}

impl Loaded {
    pub(crate) fn new(data: &Dataset, kernel: InputKernel) -> Self {
        let listed = if kernel == InputKernel::Auto { LISTED } else { 0 };
        Self { data: data.clone(), sparse: kernel.lists(data.inputs(), data.features()), listed }
    }

    /// Some of its samples; `next` will be the next ones.
    pub(crate) fn batch<'a>(&'a self, samples: Samples<'a>, next: Option<Samples<'a>>) -> Batch<'a> {
        let source = match self.data.inputs() {
            Inputs::U8(x) => Source::Bytes(x),
            Inputs::F32(x) => Source::Floats(x),
        };
        let by_feature = self.sparse && samples.len() >= self.listed;
        Batch { source, samples, next, by_sample: self.sparse, by_feature }
    }
}

/// Raw inputs of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) samples: Samples<'a>,
    /// The batch after this one, where there is one.
    pub(crate) next: Option<Samples<'a>>,
    /// Whether the first layer works on lists of non-zeros: forward,
    pub(crate) by_sample: bool,
    /// and in its update.
    pub(crate) by_feature: bool,
}

/// Raw inputs, `[samples, features]`.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Such as pixels.
    Bytes(&'a [u8]),
    /// As they are.
    Floats(&'a [f32]),
}

/// Which samples.
#[derive(Clone, Copy)]
pub enum Samples<'a> {
    /// By their indices.
    These(&'a [u32]),
    /// Consecutive ones.
    From {
        /// The first one's index.
        first: usize,
        /// How many.
        count: usize,
    },
}

impl Source<'_> {
    /// Values of all samples.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(x) => x.len(),
            Self::Floats(x) => x.len(),
        }
    }
}

impl Samples<'_> {
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::These(samples) => samples.len(),
            Self::From { count, .. } => *count,
        }
    }

    /// Which sample is the b-th.
    #[inline(always)]
    pub(crate) fn get(&self, b: usize) -> usize {
        match self {
            Self::These(samples) => samples[b] as usize,
            Self::From { first, .. } => first + b,
        }
    }

    /// Those from `at` on.
    pub(crate) fn from(&self, at: usize) -> Self {
        self.part(&(at.min(self.len())..self.len()))
    }

    /// Some of them.
    pub(crate) fn part(&self, range: &Range<usize>) -> Self {
        match *self {
            Self::These(samples) => Self::These(&samples[range.clone()]),
            Self::From { first, .. } => Self::From { first: first + range.start, count: range.len() },
        }
    }
}
