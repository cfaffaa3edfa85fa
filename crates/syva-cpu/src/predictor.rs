//! Predictions without a session: a network that any number of threads ask at once.
//!
//! A session is made for training: it holds data, has a team of threads, and works for one caller at a time. To answer
//! single questions that is much too much. A [`Predictor`] never changes, so it needs no lock, and a sample or a few are
//! computed where they are asked for, in scratch space of the asking thread, one layer after the other
//! ([`RowProduct`]). Many samples go through the kernels of a training step, in blocks shared out among threads.

use std::cell::Cell;

use syva_core::reference::check_prediction;
use syva_core::{Answer, ClassNames, Error, Matrix, Model, Result, Spec, check_finite, memory, threads};

use crate::buffer::{HALF, WIDTH};
use crate::isa::Isa;
use crate::kernels::{Block, Kernels, Row, RowProduct};
use crate::memory::{Batch, Samples, Source, Weights, Workspace};
use crate::profile::Stopwatch;
use crate::scratch::{Scratch, Space};
use crate::sparse::{COLUMNS, InputKernel, ListBy, Lists};
use crate::step::{part, predict};
use crate::update::start;

/// Samples from which on they go through the network together: a weight that is read is used for several then.
const TOGETHER: usize = 16;
/// Samples of a block at most.
const BLOCK: usize = 256;
/// Multiply-adds from which on threads are worth their start: about a millisecond.
const SHARED: usize = 1 << 25;
/// Values of a layer up to which a thread keeps its scratch space for the next call: 1 MiB.
const KEPT: usize = 1 << 18;

/// A trained network that answers: immutable, `Send` and `Sync`. Keep one, in an `Arc` where threads share it; no call
/// waits for another.
///
/// The bits are those of every exact device. A sample takes as long as its weights take to come from the cache: less than
/// a microsecond for a network of 4-16-16-3, some microseconds for one of 784-256-128-10.
///
/// ```
/// use syva_core::{Activation::Relu, Matrix, Mlp, Model, State};
/// use syva_cpu::Predictor;
/// let spec = Mlp::new(4).hidden(&[16, 16], Relu).classes(3);
/// let model = Model { state: State::initial(&spec, 1)?, spec };
/// let predictor = Predictor::new(&model)?.with_names(["setosa", "versicolor", "virginica"])?;
/// let answers = predictor.classify(&Matrix::new(1, 4, vec![5.1, 3.5, 1.4, 0.2])?)?;
/// println!("{}", answers[0]); // versicolor (41.7 %)
/// assert_eq!(answers[0].ranked().count(), 3);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub struct Predictor {
    spec: Spec,
    weights: Weights,
    kernels: Kernels,
    inputs: InputKernel,
    /// Stands still.
    stopwatch: Stopwatch,
    threads: usize,
    /// None for regression.
    names: Option<ClassNames>,
}

impl Predictor {
    /// Takes a copy of the model's weights in the order that the kernels read them in. An error where the weights are
    /// not the network's, or not finite.
    pub fn new(model: &Model) -> Result<Self> {
        let (spec, state) = (&model.spec, &model.state);
        spec.validate()?;
        state.check(spec)?;
        if !state.is_finite() {
            return Err(Error::mismatch("a weight of the model is not finite", "use an earlier checkpoint"));
        }
        let what = format!("{} parameters", spec.parameters());
        memory::ask(4 * spec.parameters() as u64, &what, "use a narrower network, or a machine with more memory")?;
        let kernels = Kernels::new(Isa::detect()?)?;
        let mut weights = Weights::new(spec);
        weights.set(state);
        let w = &weights.transposed[0];
        for panel in 0..w.count() {
            let (at, columns) = (panel * WIDTH, w.width(panel));
            let bias = &weights.bias[0].as_slice()[at..];
            let sums = &mut weights.start.as_mut_slice()[at..at + columns];
            start(&kernels, &weights.shift, &w.as_slice()[w.at(panel)..], bias, sums);
        }
        weights.start_is_stale = false;
        Ok(Self {
            spec: spec.clone(),
            weights,
            kernels,
            inputs: InputKernel::detect()?,
            stopwatch: Stopwatch::new(spec.layers.len()),
            threads: threads::cores(),
            names: ClassNames::numbers(spec).ok(),
        })
    }

    /// The names of the classes, in the order of their labels; `0`, `1`, … unless they are given.
    pub fn with_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Result<Self> {
        self.names = Some(ClassNames::new(&self.spec, names)?);
        Ok(self)
    }

    /// The most threads that a call may use, at least 1; one a core unless set. Only calls with thousands of samples use
    /// more than the caller's.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// A narrower instruction set, for tests; the results do not depend on it.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        Ok(Self { kernels: Kernels::new(isa)?, ..self })
    }

    /// The network.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The model, put together again.
    #[must_use]
    pub fn model(&self) -> Model {
        Model { state: self.weights.get(&self.spec), spec: self.spec.clone() }
    }

    /// The outputs `[samples, outputs]` for raw inputs `[samples, features]`, which the network normalises: values,
    /// logits, or log-probabilities, as the head has them ([`Predictor::classify`] makes probabilities of them). Inputs
    /// that are not finite are refused.
    pub fn predict(&self, inputs: &Matrix) -> Result<Matrix> {
        let mut outputs = Matrix::zeros(inputs.rows(), self.spec.outputs());
        check_prediction(&self.spec, inputs, &outputs)?;
        self.run(inputs.values(), outputs.values_mut());
        Ok(outputs)
    }

    /// [`Predictor::predict`] from and into memory of the caller's, one sample or several, row after row. Allocates
    /// nothing for fewer than 16 samples, once the thread has made a call.
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
        self.run(inputs, outputs);
        Ok(())
    }

    /// What a classifier says of each sample: its class by name, with the probabilities of all.
    pub fn classify(&self, inputs: &Matrix) -> Result<Vec<Answer>> {
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

    /// The outputs for inputs that were checked.
    fn run(&self, inputs: &[f32], outputs: &mut [f32]) {
        let (features, each) = (self.spec.input.features, self.spec.outputs());
        let samples = inputs.len() / features;
        if samples < TOGETHER {
            with_space(|space| {
                let rows = inputs.chunks_exact(features).zip(outputs.chunks_exact_mut(each));
                rows.for_each(|(inputs, outputs)| self.row(inputs, outputs, space));
            });
            return;
        }
        let threads = if samples.saturating_mul(self.spec.parameters()) < SHARED { 1 } else { self.threads };
        let block = samples.div_ceil(4 * threads).clamp(TOGETHER, BLOCK);
        let blocks = inputs.chunks(block * features).zip(outputs.chunks_mut(block * each));
        threads::share(threads.min(blocks.len()), blocks, |(inputs, outputs)| self.block(inputs, outputs));
    }

    /// One sample.
    fn row(&self, x: &[f32], outputs: &mut [f32], space: &mut RowSpace) {
        let RowSpace { lists, here, there } = space;
        let (spec, weights, kernels) = (&self.spec, &self.weights, &self.kernels);
        let features = spec.input.features;
        let padded = |l: usize| spec.layers[l].units.next_multiple_of(HALF);
        let sums = here.of(padded(0));
        let pieces = features.div_ceil(COLUMNS);
        let size = features.div_ceil(pieces).next_multiple_of(WIDTH);
        for columns in (0..pieces).map(|piece| part(piece, size, features)) {
            let block = Block {
                features,
                first: columns.start,
                scale: &weights.scale[columns.clone()],
                samples: Samples::From { first: 0, count: 1 },
                next: None,
            };
            kernels.list(Source::Floats(x), &block, ListBy::Sample, lists);
            kernels.row_product(&mut RowProduct {
                x: Row::Listed(lists),
                b: &weights.transposed[0].as_slice()[columns.start * WIDTH..],
                b_panel: weights.transposed[0].at(1),
                init: (columns.start == 0).then(|| weights.start.as_slice()),
                c: sums,
                positive_zero: columns.end == features,
            });
        }
        kernels.activate(spec.layers[0].activation, sums);
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
            kernels.activate(spec.layers[l].activation, sums);
            std::mem::swap(here, there);
        }
        outputs.copy_from_slice(&here.of(outputs.len())[..]);
        kernels.read(spec.head, outputs, there.of(outputs.len()));
    }

    /// Some samples together.
    fn block(&self, inputs: &[f32], outputs: &mut [f32]) {
        let (features, each) = (self.spec.input.features, self.spec.outputs());
        let samples = inputs.len() / features;
        let mut work = Workspace::new(&self.spec, samples, false);
        let mut scratch = Scratch::new(&self.spec);
        let batch = Batch {
            source: Source::Floats(inputs),
            samples: Samples::From { first: 0, count: samples },
            next: None,
            by_sample: self.inputs.lists_row(&inputs[..features]),
            by_feature: false,
        };
        predict((&self.spec, &self.kernels, &self.stopwatch), &self.weights, &mut work, batch, &mut scratch);
        let space = scratch.outputs.of(each);
        for (sample, outputs) in outputs.chunks_exact_mut(each).enumerate() {
            work.copy_outputs(sample, outputs);
            self.kernels.read(self.spec.head, outputs, space);
        }
    }
}

/// What a thread computes a sample in.
#[derive(Default)]
struct RowSpace {
    /// The inputs that are not zero.
    lists: Lists,
    /// Activations of a layer, and of the next.
    here: Space,
    there: Space,
}

/// Works in the space of this thread.
fn with_space(work: impl FnOnce(&mut RowSpace)) {
    thread_local! {
        static SPACE: Cell<Option<Box<RowSpace>>> = const { Cell::new(None) };
    }
    // A thread that is ending has none any more.
    let mut space = SPACE.try_with(Cell::take).ok().flatten().unwrap_or_default();
    work(&mut space);
    if space.here.len().max(space.there.len()) <= KEPT {
        let _ = SPACE.try_with(|kept| kept.set(Some(space)));
    }
}
