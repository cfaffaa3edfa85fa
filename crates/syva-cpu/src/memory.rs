//! The engine's memory: weights in the layout of the kernels, the workspace of a batch, and the source of its inputs.

use std::ops::Range;

use syva_core::data::{Dataset, Inputs, Mixed};
use syva_core::ops::Reads;
use syva_core::{AVERAGE, Layer, Matrix, Parameters, Slot, Spec, State, Training};

use crate::buffer::{HALF, Panels};
use crate::pages;
use crate::sparse::InputKernel;

/// The weights in the layout of the kernels. Only [`Weights::set`] and [`Weights::get`] know the state's layout.
pub(crate) struct Weights {
    /// Wᵀ of each layer, `[fan_in, units]`, rows rounded up to whole panels.
    pub(crate) transposed: Vec<Panels>,
    /// The biases of each layer, `[1, units]`.
    pub(crate) bias: Vec<Panels>,
    /// The gains of each layer, `[1, units]`; of none if its activation is not learned.
    pub(crate) gain: Vec<Panels>,
    /// The tensors of the embedding.
    pub(crate) embedding: Vec<Vec<f32>>,
    /// What the optimiser remembers of them.
    pub(crate) slots: Vec<Remembered>,
    /// Their moving average, if there is one.
    pub(crate) average: Option<Box<Weights>>,
    /// The first layer's initial sums, `[1, units]`: the bias plus `Σ_k shift_k·w[j,k]`.
    pub(crate) start: Panels,
    /// Whether the weights were set after `start` was computed.
    pub(crate) start_is_stale: bool,
    /// A number that changes with each change of the weights.
    pub(crate) version: u64,
    /// The scale of each feature.
    pub(crate) scale: Vec<f32>,
    /// The shift of each feature.
    pub(crate) shift: Vec<f32>,
    pub(crate) step: u64,
}

/// A number for each weight, bias and gain, which lie like these.
pub(crate) struct Remembered {
    pub(crate) transposed: Vec<Panels>,
    pub(crate) bias: Vec<Panels>,
    pub(crate) gain: Vec<Panels>,
    pub(crate) embedding: Vec<Vec<f32>>,
}

impl Remembered {
    fn new(spec: &Spec, width: usize) -> Self {
        let [transposed, bias, gain] = panels(spec, width);
        Self { transposed, bias, gain, embedding: Vec::new() }
    }
}

/// Room for a number for each weight, each bias and each gain, in panels of `width` columns.
fn panels(spec: &Spec, width: usize) -> [Vec<Panels>; 3] {
    let layers = || spec.layers.iter().enumerate();
    let weight = |(l, layer): (usize, &Layer)| Panels::new(spec.fan_in(l).next_multiple_of(width), layer.units, width);
    let bias = |(_, layer): (usize, &Layer)| Panels::new(1, layer.units, width);
    let gain = |(_, layer): (usize, &Layer)| Panels::new(1, layer.gains(), width);
    [layers().map(weight).collect(), layers().map(bias).collect(), layers().map(gain).collect()]
}

/// Copies layers in the state's layout.
fn set([transposed, bias, gain]: [&mut [Panels]; 3], layers: &[Parameters]) {
    for (l, parameters) in layers.iter().enumerate() {
        for j in 0..parameters.weight.rows() {
            let places = transposed[l].column_mut(j);
            places.zip(parameters.weight.row(j)).for_each(|(to, &w)| *to = w);
        }
        for (to, from) in [(&mut bias[l], &parameters.bias), (&mut gain[l], &parameters.gain)] {
            to.as_mut_slice()[..from.len()].copy_from_slice(from);
        }
    }
}

/// The layers in the state's layout.
fn get([transposed, bias, gain]: [&[Panels]; 3], spec: &Spec) -> Vec<Parameters> {
    let layer = |l: usize| {
        let mut weight = Matrix::zeros(spec.layers[l].units, spec.fan_in(l));
        for j in 0..weight.rows() {
            weight.row_mut(j).iter_mut().zip(transposed[l].column(j)).for_each(|(w, &from)| *w = from);
        }
        let row = |panels: &Panels, len: usize| panels.as_slice()[..len].to_vec();
        let Layer { units, .. } = spec.layers[l];
        Parameters { weight, bias: row(&bias[l], units), gain: row(&gain[l], spec.layers[l].gains()) }
    };
    (0..transposed.len()).map(layer).collect()
}

impl Weights {
    /// Zeros, in panels of `width` columns, without slots.
    pub(crate) fn new(spec: &Spec, width: usize) -> Self {
        let (scale, shift) = (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        let [transposed, bias, gain] = panels(spec, width);
        Self {
            transposed,
            bias,
            gain,
            embedding: Vec::new(),
            slots: Vec::new(),
            average: None,
            start: Panels::new(1, spec.layers[0].units, width),
            start_is_stale: true,
            version: 0,
            scale,
            shift,
            step: 0,
        }
    }

    /// Takes the weights and biases of a state, and its slots, or fresh ones if it has none.
    pub(crate) fn set(&mut self, state: &State, spec: &Spec, training: &Training, width: usize) {
        self.step = state.step;
        self.start_is_stale = true;
        self.version += 1;
        set([&mut self.transposed, &mut self.bias, &mut self.gain], &state.layers);
        self.embedding.clone_from(&state.embedding);
        self.slots.resize_with(training.optimizer.rule().slots().len(), || Remembered::new(spec, width));
        for (n, to) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = state.slots.get(n) {
                set([&mut to.transposed, &mut to.bias, &mut to.gain], &slot.layers);
                to.embedding.clone_from(&slot.embedding);
            } else {
                let fresh = training.optimizer.initial_slot();
                let all = to.transposed.iter_mut().chain(&mut to.bias).chain(&mut to.gain);
                all.for_each(|panels| panels.as_mut_slice().fill(fresh));
                to.embedding = self.embedding.iter().map(|tensor| vec![fresh; tensor.len()]).collect();
            }
        }
        if training.ema > 0.0 {
            let average = self.average.get_or_insert_with(|| Box::new(Self::new(spec, width)));
            let layers = state.slots.get(self.slots.len()).map_or(&state.layers, |slot| &slot.layers);
            set([&mut average.transposed, &mut average.bias, &mut average.gain], layers);
            average.start_is_stale = true;
            average.version += 1;
        }
    }

    pub(crate) fn get(&self, spec: &Spec, training: &Training) -> State {
        let names = training.optimizer.rule().slots();
        let slots = self.slots.iter().zip(names).map(|(from, name)| Slot {
            name: (*name).into(),
            embedding: from.embedding.clone(),
            layers: get([&from.transposed, &from.bias, &from.gain], spec),
        });
        let average = self.average.iter().map(|average| Slot {
            name: AVERAGE.into(),
            embedding: Vec::new(),
            layers: average.layers(spec),
        });
        State {
            step: self.step,
            embedding: self.embedding.clone(),
            layers: self.layers(spec),
            slots: slots.chain(average).collect(),
        }
    }

    /// The weights that predict.
    pub(crate) fn for_prediction(&mut self) -> &mut Self {
        match self.average {
            Some(ref mut average) => average,
            None => self,
        }
    }

    /// The weights, biases and gains.
    pub(crate) fn layers(&self, spec: &Spec) -> Vec<Parameters> {
        get([&self.transposed, &self.bias, &self.gain], spec)
    }
}

/// The buffers that a batch of up to `capacity` samples passes through.
pub(crate) struct Workspace {
    pub(crate) capacity: usize,
    /// Rows per panel.
    pub(crate) height: usize,
    /// The activations of each layer, `[batch, units]`. The last entry holds the outputs z.
    pub(crate) h: Vec<Panels>,
    /// What each layer's derivative reads, if it is not in `h`: its pre-activations, or with dropout the activations before
    /// it, `[batch, units]`. Otherwise empty, as without training. A layer with gains always has its pre-activations here.
    pub(crate) z: Vec<Panels>,
    /// The terms of the gradients by the gains, `[batch, units]`. Empty without gains, and without training.
    pub(crate) terms: Vec<Panels>,
    /// The gradients by z of each layer, `[batch, units]`. Empty without training.
    pub(crate) d: Vec<Panels>,
    /// What the first layer reads if it does not read raw inputs, `[batch, fan_in]`: their embedding, or the normalised
    /// inputs of a step that changes them at random. Otherwise empty.
    pub(crate) inputs: Panels,
    /// The embedding before its factors, `[batch, fan_in]`. Empty without factors, and without training.
    pub(crate) embedded: Panels,
    /// The gradients by `inputs`, `[batch, fan_in]`. Empty without an embedding, and without training.
    pub(crate) by_inputs: Panels,
    /// The factors of dropout of each hidden layer, `[batch, units]`. Empty without dropout.
    pub(crate) factors: Vec<Panels>,
    /// The loss of each sample.
    pub(crate) losses: Vec<f32>,
    /// The predicted class of each sample.
    pub(crate) guesses: Vec<u32>,
    /// In training, the factor M of each sample, if they differ.
    pub(crate) means: Option<Vec<f32>>,
}

impl Workspace {
    /// Zeros, in panels of `width` columns.
    pub(crate) fn new(spec: &Spec, capacity: usize, training: Option<&Training>, width: usize) -> Self {
        // A tile of rows passes through all panels. If these were a power of two apart, the tile's cache lines would
        // compete for a few places in the cache.
        let rows = capacity.next_multiple_of(2 * HALF) + HALF;
        let panels = |rows: &dyn Fn(&Layer) -> usize| {
            spec.layers.iter().map(|layer| Panels::new(rows(layer), layer.units, width)).collect()
        };
        let trained = if training.is_some() { rows } else { 0 };
        let (embeds, scaled) = match &spec.input.embedding {
            Some(embedding) => (true, embedding.scaled),
            None => (false, false),
        };
        let formed = |rows: usize| Panels::new(rows, spec.fan_in(0), width);
        let drops = training.is_some_and(|training| training.dropout > 0.0);
        Self {
            capacity,
            height: rows,
            h: panels(&|_| rows),
            z: panels(&|layer| match (layer.gains(), layer.activation.reads()) {
                (1.., _) => rows,
                (0, Reads::H) if !drops => 0,
                (0, _) => trained,
            }),
            terms: panels(&|layer| if layer.gains() > 0 { trained } else { 0 }),
            d: panels(&|_| trained),
            inputs: formed(if embeds || training.is_some_and(Training::perturbs_inputs) { rows } else { 0 }),
            embedded: formed(if scaled { trained } else { 0 }),
            by_inputs: formed(if embeds { trained } else { 0 }),
            factors: panels(&|_| if drops { rows } else { 0 }),
            losses: vec![0.0; capacity],
            guesses: vec![0; capacity],
            means: None,
        }
    }

    /// The samples of the batch, each with its predicted class.
    pub(crate) fn predictions(&self, batch: Batch<'_>) -> impl Iterator<Item = (usize, usize)> {
        (0..batch.samples.len()).map(move |b| (batch.samples.get(b), self.guesses[b] as usize))
    }

    /// Copies the outputs z of a sample of the batch.
    pub(crate) fn copy_outputs(&self, sample: usize, to: &mut [f32]) {
        self.h[self.h.len() - 1].copy_row(sample, to);
    }
}

/// The smallest batch that is listed by feature. For fewer samples, lists cost more time than they save.
const LISTED: usize = 4;

/// A data set in the engine. It is shared, never copied.
pub(crate) struct Loaded {
    pub(crate) data: Dataset,
    sparse: bool,
    /// The smallest batch that is listed by feature.
    listed: usize,
}

impl Loaded {
    pub(crate) fn new(data: &Dataset, kernel: InputKernel) -> Self {
        pages::gather(data);
        let listed = if kernel == InputKernel::Auto { LISTED } else { 0 };
        Self { data: data.clone(), sparse: kernel.lists(Source::of(data.inputs()), data.features()), listed }
    }

    /// A batch of some of its samples. `next` are the samples of the batch after it.
    pub(crate) fn batch<'a>(&'a self, samples: Samples<'a>, next: Option<Samples<'a>>) -> Batch<'a> {
        let by_feature = self.sparse && samples.len() >= self.listed;
        Batch { source: Source::of(self.data.inputs()), samples, next, by_sample: self.sparse, by_feature }
    }
}

/// The raw inputs of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) samples: Samples<'a>,
    /// The samples of the batch after this one, if there is one.
    pub(crate) next: Option<Samples<'a>>,
    /// Whether the first layer's forward product works on lists of non-zeros.
    pub(crate) by_sample: bool,
    /// Whether the first layer's update works on lists of non-zeros.
    pub(crate) by_feature: bool,
}

/// Raw inputs, `[samples, features]`.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Bytes, such as pixels.
    Bytes(&'a [u8]),
    /// Numbers.
    Floats(&'a [f32]),
    /// Numbers and the codes of categories.
    Mixed(&'a Mixed),
}

/// A selection of samples.
#[derive(Clone, Copy)]
pub enum Samples<'a> {
    /// The samples with these indices.
    These(&'a [u32]),
    /// Consecutive samples.
    From {
        /// The index of the first one.
        first: usize,
        /// Their number.
        count: usize,
    },
}

impl<'a> Source<'a> {
    /// The inputs, borrowed.
    pub(crate) fn of(inputs: &'a Inputs) -> Self {
        match inputs {
            Inputs::U8(x) => Self::Bytes(x),
            Inputs::F32(x) => Self::Floats(x),
            Inputs::Mixed(x) => Self::Mixed(x),
        }
    }

    /// The number of values of all samples.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(x) => x.len(),
            Self::Floats(x) => x.len(),
            Self::Mixed(x) => x.samples() * x.features(),
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

    /// The index of the b-th sample.
    #[inline(always)]
    pub(crate) fn get(&self, b: usize) -> usize {
        match self {
            Self::These(samples) => samples[b] as usize,
            Self::From { first, .. } => first + b,
        }
    }

    /// The samples from the `at`-th on.
    pub(crate) fn from(&self, at: usize) -> Self {
        self.part(&(at.min(self.len())..self.len()))
    }

    /// A range of the samples.
    pub(crate) fn part(&self, range: &Range<usize>) -> Self {
        match *self {
            Self::These(samples) => Self::These(&samples[range.clone()]),
            Self::From { first, .. } => Self::From { first: first + range.start, count: range.len() },
        }
    }
}
