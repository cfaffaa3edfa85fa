//! The engine's memory: weights as the kernels want them, what a batch passes through, and where its inputs come from.

use syva_core::data::{Dataset, Inputs};
use syva_core::{Matrix, Parameters, Spec, State};

use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::sparse::{InputKernel, PIECES, SparseColumns, SparseRows};
use crate::team::Team;

/// The weights as the kernels want them.
pub(crate) struct Weights {
    /// Wᵀ of each layer, `[fan_in, units]`.
    pub(crate) transposed: Vec<Buffer>,
    /// W `[units, fan_in]` of each layer but the first (whose entry is empty), valid during backward only.
    pub(crate) plain: Vec<Buffer>,
    /// `[1, units]` each.
    pub(crate) bias: Vec<Buffer>,
    /// Of each feature.
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    pub(crate) step: u64,
}

impl Weights {
    pub(crate) fn new(spec: &Spec) -> Self {
        let layers = 0..spec.layers.len();
        let (scale, shift) = (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        Self {
            transposed: layers.clone().map(|l| Buffer::new(spec.fan_in(l), spec.layers[l].units)).collect(),
            plain: layers
                .clone()
                .map(|l| if l == 0 { Buffer::new(0, 0) } else { Buffer::new(spec.layers[l].units, spec.fan_in(l)) })
                .collect(),
            bias: layers.map(|l| Buffer::new(1, spec.layers[l].units)).collect(),
            scale,
            shift,
            step: 0,
        }
    }

    pub(crate) fn set(&mut self, state: &State) {
        self.step = state.step;
        for (l, parameters) in state.layers.iter().enumerate() {
            for (j, row) in (0..parameters.weight.rows()).map(|j| (j, parameters.weight.row(j))) {
                for (k, &w) in row.iter().enumerate() {
                    self.transposed[l].row_mut(k)[j] = w;
                }
            }
            self.bias[l].row_mut(0).copy_from_slice(&parameters.bias);
        }
    }

    pub(crate) fn get(&self, spec: &Spec) -> State {
        let layers = (0..self.transposed.len())
            .map(|l| {
                let mut weight = Matrix::zeros(spec.layers[l].units, spec.fan_in(l));
                for j in 0..weight.rows() {
                    for (k, w) in weight.row_mut(j).iter_mut().enumerate() {
                        *w = self.transposed[l].row(k)[j];
                    }
                }
                Parameters { weight, bias: self.bias[l].row(0).to_vec() }
            })
            .collect();
        State { step: self.step, layers }
    }
}

/// What a batch passes through, for up to `capacity` samples.
pub(crate) struct Workspace {
    pub(crate) capacity: usize,
    /// s, `[batch, features]`; or, where the data is sparse,
    pub(crate) scaled: Buffer,
    /// its non-zeros by feature, in [`PIECES`] ranges of features.
    pub(crate) columns: Vec<SparseColumns>,
    /// What the sums of the first layer start at, `[1, units]`.
    pub(crate) start: Buffer,
    /// Activations of each layer, `[batch, units]`; the last holds the outputs z.
    pub(crate) h: Vec<Buffer>,
    /// Gradients by z of each layer, likewise; empty where no training is done.
    pub(crate) d: Vec<Buffer>,
    /// Loss of each sample.
    pub(crate) losses: Vec<f32>,
    /// Predicted class of each sample.
    pub(crate) guesses: Vec<u32>,
}

impl Workspace {
    pub(crate) fn new(spec: &Spec, capacity: usize, training: bool) -> Self {
        let buffers = |rows| spec.layers.iter().map(|layer| Buffer::new(rows, layer.units)).collect();
        Self {
            capacity,
            scaled: Buffer::new(capacity, spec.input.features),
            columns: (0..PIECES).map(|_| SparseColumns::default()).collect(),
            start: Buffer::new(1, spec.layers[0].units),
            h: buffers(capacity),
            d: buffers(if training { capacity } else { 0 }),
            losses: vec![0.0; capacity],
            guesses: vec![0; capacity],
        }
    }

    /// The samples of the batch with what was predicted for them.
    pub(crate) fn predictions(&self, batch: Batch<'_>) -> impl Iterator<Item = (usize, usize)> {
        (0..batch.len()).map(move |b| (batch.sample(b), self.guesses[b] as usize))
    }

    /// Outputs z of a sample of the batch.
    pub(crate) fn outputs(&self, sample: usize) -> &[f32] {
        self.h[self.h.len() - 1].row(sample)
    }
}

/// A data set as the engine keeps it: shared, with the lists of its non-zeros where they pay.
pub(crate) struct Loaded {
    pub(crate) data: Dataset,
    sparse: Option<SparseRows>,
}

impl Loaded {
    pub(crate) fn new(data: &Dataset, spec: &Spec, team: &mut Team, kernel: InputKernel) -> Self {
        let scale: Vec<f32> = (0..data.features()).map(|k| spec.input.normalization.of(k).0).collect();
        Self { data: data.clone(), sparse: SparseRows::choose(data, &scale, kernel, team) }
    }
}

/// Raw inputs of a batch.
#[derive(Clone, Copy)]
pub(crate) enum Batch<'a> {
    /// Samples of a data set.
    Samples(&'a Loaded, &'a [u32]),
    /// Consecutive samples of a data set: first, count.
    Range(&'a Loaded, usize, usize),
    /// Rows of a matrix: first, count.
    Rows(&'a Matrix, usize, usize),
}

impl<'a> Batch<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Samples(_, samples) => samples.len(),
            Self::Range(_, _, count) | Self::Rows(_, _, count) => *count,
        }
    }

    /// Which sample of the data set is the b-th of the batch.
    pub(crate) fn sample(&self, b: usize) -> usize {
        match self {
            Self::Samples(_, samples) => samples[b] as usize,
            Self::Range(_, first, _) | Self::Rows(_, first, _) => first + b,
        }
    }

    /// The lists of the non-zeros of its data set, if there are any.
    pub(crate) fn sparse(&self) -> Option<&'a SparseRows> {
        match self {
            Self::Samples(loaded, _) | Self::Range(loaded, ..) => loaded.sparse.as_ref(),
            Self::Rows(..) => None,
        }
    }

    /// `s = scale · x` of the b-th sample.
    pub(crate) fn scaled(&self, kernels: &Kernels, b: usize, scale: &[f32], s: &mut [f32]) {
        let at = self.sample(b) * scale.len()..(self.sample(b) + 1) * scale.len();
        match self {
            Self::Samples(loaded, _) | Self::Range(loaded, ..) => match loaded.data.inputs() {
                Inputs::U8(x) => kernels.scale_bytes(&x[at], scale, s),
                Inputs::F32(x) => kernels.scale(&x[at], scale, s),
            },
            Self::Rows(matrix, ..) => kernels.scale(&matrix.values()[at], scale, s),
        }
    }
}
