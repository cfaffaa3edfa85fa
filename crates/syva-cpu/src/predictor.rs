//! Predictions without a session, for any number of threads at once.
//!
//! A session is made for training: it holds data, has a team of threads, and works for one caller at a time. That is
//! far too much for single predictions. A [`Predictor`] never changes, so it needs no lock. One or a few samples are
//! computed on the calling thread, in scratch memory of that thread, one layer after the other ([`RowProduct`]). Many
//! samples go through the kernels of a training step, in blocks that are divided among threads.

use std::cell::Cell;

use syva_core::data::Inputs;
use syva_core::reference::check_prediction;
use syva_core::{
    Answer, ClassNames, Error, Layer, Matrix, Model, Result, Spec, State, Training, averaged_outputs, check_finite,
    memory, threads,
};

use crate::buffer::HALF;
use crate::embedding::embed_rows;
use crate::isa::Isa;
use crate::kernels::{Block, Kernels, Learn, Row, RowProduct};
use crate::memory::{Batch, Samples, Source, Weights, Workspace};
use crate::profile::Stopwatch;
use crate::scratch::{Scratch, Space};
use crate::sparse::{COLUMNS, InputKernel, ListBy, Lists};
use crate::step::{part, predict};
use crate::update::start;

/// From this many samples on, they pass through the network together, so that a weight that is read serves several.
const TOGETHER: usize = 16;
/// The most samples per block.
const BLOCK: usize = 256;
/// From this many multiply-adds on, which take about a millisecond, starting threads is worthwhile.
const SHARED: usize = 1 << 25;
/// The largest scratch space, in values of a layer, that a thread keeps for the next call: 1 MiB.
const KEPT: usize = 1 << 18;

/// A trained network for predictions. It is immutable, `Send` and `Sync`. Keep one, and share it between threads in an
/// `Arc`; no call waits for another.
///
/// The bits are those of every exact device. A sample takes the time in which the weights come from the cache: less
/// than a microsecond for a 4-16-16-3 network, some microseconds for a 784-256-128-10 network.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
/// use syva_cpu::Predictor;
/// let spec = Mlp::new(4).hidden(&[16, 16], Relu).classes(3);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// let predictor = Predictor::new(&model)?.with_names(["setosa", "versicolor", "virginica"])?;
/// let answers = predictor.classify(&vec![5.1, 3.5, 1.4, 0.2].into())?;
/// println!("{}", answers[0]); // versicolor (41.7 %)
/// assert_eq!(answers[0].ranked().count(), 3);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub struct Predictor {
    spec: Spec,
    weights: Weights,
    /// The weights of further networks, whose predictions are averaged with the first's.
    members: Vec<Weights>,
    kernels: Kernels,
    inputs: InputKernel,
    /// Never started; the kernels of a training step need one.
    stopwatch: Stopwatch,
    threads: usize,
    /// `None` for regression.
    names: Option<ClassNames>,
}

impl Predictor {
    /// Copies the model's weights into the layout of the kernels. An error if the weights do not fit the network, or
    /// are not finite.
    pub fn new(model: &Model) -> Result<Self> {
        Self::for_isa(model, Isa::detect()?)
    }

    fn for_isa(model: &Model, isa: Isa) -> Result<Self> {
        let spec = &model.spec;
        spec.validate()?;
        for state in [&model.state].into_iter().chain(&model.members) {
            state.check(spec)?;
            if !state.is_finite() {
                return Err(Error::mismatch("a weight of the model is not finite", "use an earlier checkpoint"));
            }
        }
        let what = format!("{} parameters", spec.parameters());
        memory::ask(
            4 * (spec.parameters() * (1 + model.members.len())) as u64,
            &what,
            "use a narrower network, or a machine with more memory",
        )?;
        let kernels = Kernels::new(isa)?;
        let laid_out = |state: &State| {
            let mut weights = Weights::new(spec, kernels.width());
            weights.set(state, spec, &Training::default(), kernels.width());
            let w = &weights.transposed[0];
            let raw = if spec.input.embedding.is_some() { 0 } else { w.count() };
            for panel in 0..raw {
                let (at, columns) = (panel * kernels.width(), w.computed(panel));
                let bias = &weights.bias[0].as_slice()[at..];
                let sums = &mut weights.start.as_mut_slice()[at..at + columns];
                start(&kernels, &weights.shift, &w.as_slice()[w.at(panel)..], bias, sums);
            }
            weights.start_is_stale = false;
            weights
        };
        let weights = laid_out(&model.state);
        Ok(Self {
            members: model.members.iter().map(laid_out).collect(),
            spec: spec.clone(),
            weights,
            kernels,
            inputs: InputKernel::detect()?,
            stopwatch: Stopwatch::new(spec.layers.len()),
            threads: threads::cores(),
            names: ClassNames::of(spec).ok(),
        })
    }

    /// Sets the names of the classes, in the order of their labels. By default they are `0`, `1`, …
    pub fn with_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Result<Self> {
        self.names = Some(ClassNames::new(&self.spec, names)?);
        Ok(self)
    }

    /// Sets the most threads that a call may use, at least 1. The default is one per core. Only calls with thousands of
    /// samples use more threads than the caller's.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Sets a narrower instruction set, for tests. The results do not depend on it.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        // Each instruction set has a layout of its own.
        let Self { weights, members, kernels, .. } = Self::for_isa(&self.model(), isa)?;
        Ok(Self { weights, members, kernels, ..self })
    }

    /// The network.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The model, reassembled from the kernels' layout.
    #[must_use]
    pub fn model(&self) -> Model {
        let state = |weights: &Weights| weights.get(&self.spec, &Training::default());
        let members = self.members.iter().map(state).collect();
        Model { members, ..Model::new(self.spec.clone(), state(&self.weights)) }
    }

    /// The outputs `[samples, outputs]` for raw inputs, which the network normalises. Depending
    /// on the head, these are values, rates, pairs of mean and variance, logits or log-probabilities. [`Predictor::classify`] returns probabilities.
    /// Inputs that are not finite are refused.
    pub fn predict(&self, inputs: &Inputs) -> Result<Matrix> {
        let mut outputs = Matrix::zeros(inputs.len() / self.spec.input.features, self.spec.outputs());
        check_prediction(&self.spec, inputs, &outputs)?;
        self.run(Source::of(inputs), outputs.values_mut());
        Ok(outputs)
    }

    /// Like [`Predictor::predict`], but reads from and writes to memory of the caller. The memory holds one or several
    /// samples, row after row. For fewer than 16 samples, only the first call of a thread allocates memory.
    pub fn predict_into(&self, inputs: &[f32], outputs: &mut [f32]) -> Result<()> {
        let (features, each) = (self.spec.input.features, self.spec.outputs());
        let samples = inputs.len() / features;
        if !inputs.len().is_multiple_of(features) || outputs.len() != samples * each {
            let problem = format!(
                "{} inputs and {} outputs for a network that makes {each} of {features}",
                inputs.len(),
                outputs.len()
            );
            return Err(Error::mismatch(problem, "give whole rows, and room for the outputs of each"));
        }
        check_finite(inputs, features)?;
        self.run(Source::Floats(inputs), outputs);
        Ok(())
    }

    /// A classifier's answer for each sample: the name of its class, and the probabilities of all classes.
    pub fn classify(&self, inputs: &Inputs) -> Result<Vec<Answer>> {
        let Some(names) = &self.names else {
            return Err(Error::mismatch("this network gives values, not classes", "use `predict`"));
        };
        let outputs = self.predict(inputs)?;
        let answer = |sample: usize| {
            names.answer(&self.spec, outputs.row(sample)).map_err(|error| match error {
                Error::Mismatch { problem, remedy } => Error::mismatch(format!("sample {sample}: {problem}"), remedy),
                other => other,
            })
        };
        (0..outputs.rows()).map(answer).collect()
    }

    /// Computes the outputs for inputs that have been checked.
    fn run(&self, inputs: Source<'_>, outputs: &mut [f32]) {
        self.run_with(&self.weights, inputs, outputs);
        if self.members.is_empty() {
            return;
        }
        let of_member = |weights: &Weights| {
            let mut found = vec![0.0; outputs.len()];
            self.run_with(weights, inputs, &mut found);
            found
        };
        let found: Vec<Vec<f32>> = self.members.iter().map(of_member).collect();
        let all: Vec<&[f32]> = [&*outputs].into_iter().chain(found.iter().map(Vec::as_slice)).collect();
        let averaged = averaged_outputs(self.spec.head, &all, self.spec.outputs());
        outputs.copy_from_slice(&averaged);
    }

    /// Computes the outputs of one network.
    fn run_with(&self, weights: &Weights, inputs: Source<'_>, outputs: &mut [f32]) {
        let each = self.spec.outputs();
        let samples = outputs.len() / each;
        if samples < TOGETHER {
            with_space(|space| {
                let rows = outputs.chunks_exact_mut(each).enumerate();
                rows.for_each(|(sample, outputs)| self.row(weights, (inputs, sample), outputs, space));
            });
            return;
        }
        let threads = if samples.saturating_mul(self.spec.parameters()) < SHARED { 1 } else { self.threads };
        let block = samples.div_ceil(4 * threads).clamp(TOGETHER, BLOCK);
        let by_sample = self.inputs.lists(inputs, self.spec.input.features);
        let blocks = outputs.chunks_mut(block * each).enumerate();
        threads::share(threads.min(blocks.len()), blocks, |(n, outputs)| {
            let samples = Samples::From { first: n * block, count: outputs.len() / each };
            let batch = Batch { source: inputs, samples, next: None, by_sample, by_feature: false };
            self.block(weights, batch, outputs);
        });
    }

    /// Computes the outputs of one sample.
    fn row(&self, weights: &Weights, (x, sample): (Source<'_>, usize), outputs: &mut [f32], space: &mut RowSpace) {
        let samples = Samples::From { first: sample, count: 1 };
        let RowSpace { lists, here, there } = space;
        let (spec, kernels) = (&self.spec, &self.kernels);
        let features = spec.input.features;
        let padded = |l: usize| spec.layers[l].units.next_multiple_of(HALF);
        let sums = here.of(padded(0));
        if let Some(embedding) = &spec.input.embedding {
            let mut embedded = vec![0.0; spec.fan_in(0)];
            let batch = Batch { source: x, samples, next: None, by_sample: false, by_feature: false };
            embed_rows((embedding, kernels), weights, &batch, 0..1, |output, values, factor| {
                embedded[output] = factor.map_or(values[0], |factor| values[0] * factor);
            });
            kernels.row_product(&mut RowProduct {
                x: Row::Dense(&embedded),
                b: weights.transposed[0].as_slice(),
                b_panel: weights.transposed[0].at(1),
                init: Some(weights.bias[0].as_slice()),
                c: sums,
                positive_zero: false,
            });
        }
        // Without an embedding, the first layer reads raw inputs.
        let features = if spec.input.embedding.is_some() { 0 } else { features };
        let pieces = features.div_ceil(COLUMNS);
        let size = features.div_ceil(pieces.max(1)).next_multiple_of(HALF);
        for columns in (0..pieces).map(|piece| part(piece, size, features)) {
            let block =
                Block { features, first: columns.start, scale: &weights.scale[columns.clone()], samples, next: None };
            kernels.list(x, &block, ListBy::Sample, lists);
            kernels.row_product(&mut RowProduct {
                x: Row::Listed(lists),
                b: &weights.transposed[0].as_slice()[columns.start * kernels.width()..],
                b_panel: weights.transposed[0].at(1),
                init: (columns.start == 0).then(|| weights.start.as_slice()),
                c: sums,
                positive_zero: columns.end == features,
            });
        }
        self.activate(weights, 0, sums, there);
        for l in 1..spec.layers.len() {
            let h = &here.of(padded(l - 1))[..spec.fan_in(l)];
            let sums = there.of(padded(l));
            kernels.row_product(&mut RowProduct {
                x: Row::Dense(h),
                b: weights.transposed[l].as_slice(),
                b_panel: weights.transposed[l].at(1),
                init: Some(weights.bias[l].as_slice()),
                c: sums,
                positive_zero: false,
            });
            self.activate(weights, l, sums, here);
            std::mem::swap(here, there);
        }
        outputs.copy_from_slice(&here.of(outputs.len())[..]);
        kernels.read(spec.head, outputs, there.of(outputs.len()));
    }

    /// Turns the pre-activations of a sample into activations, with the help of some space.
    fn activate(&self, weights: &Weights, l: usize, h: &mut [f32], space: &mut Space) {
        let Layer { activation, learned, .. } = self.spec.layers[l];
        if !learned.has_gains() {
            self.kernels.forward(activation, h);
            return;
        }
        let z = space.of(h.len());
        z.copy_from_slice(h);
        self.kernels.forward(activation, h);
        let gains = &weights.gain[l].as_slice()[..h.len()];
        self.kernels.learn(Learn::Forward { learned, gains, z, h });
    }

    /// Computes the outputs of some samples together.
    fn block(&self, weights: &Weights, batch: Batch<'_>, outputs: &mut [f32]) {
        let each = self.spec.outputs();
        let mut work = Workspace::new(&self.spec, batch.samples.len(), None, self.kernels.width());
        let mut scratch = Scratch::new(&self.spec, self.kernels.width());
        predict((&self.spec, &self.kernels, &self.stopwatch), weights, &mut work, batch, &mut scratch);
        let space = scratch.outputs.of(each);
        for (sample, outputs) in outputs.chunks_exact_mut(each).enumerate() {
            work.copy_outputs(sample, outputs);
            self.kernels.read(self.spec.head, outputs, space);
        }
    }
}

/// The scratch memory in which a thread computes a sample.
#[derive(Default)]
struct RowSpace {
    /// The non-zeros of the inputs.
    lists: Lists,
    /// The activations of a layer.
    here: Space,
    /// The activations of the next layer.
    there: Space,
}

/// Runs `work` with the scratch memory of this thread.
fn with_space(work: impl FnOnce(&mut RowSpace)) {
    thread_local! {
        static SPACE: Cell<Option<Box<RowSpace>>> = const { Cell::new(None) };
    }
    // A thread that is ending no longer has one, and gets a new one for this call.
    let mut space = SPACE.try_with(Cell::take).ok().flatten().unwrap_or_default();
    work(&mut space);
    if space.here.len().max(space.there.len()) <= KEPT {
        let _ = SPACE.try_with(|kept| kept.set(Some(space)));
    }
}
