//! The engine's session. A span of steps is recorded into a few command buffers, and its results are read back once.

use std::sync::Arc;

use syva_core::data::{Dataset, Inputs, Split};
use syva_core::ops::{Dropout, Judging, SCALARS};
use syva_core::reference::{check_prediction, loaded, no_gradient, read_outputs};
use syva_core::{
    Error, Evaluation, Groups, Matrix, Parameters, Part, Rates, Report, Result, Session, Span, Spec, State, Training,
    Weighting,
};

use crate::gpu::Gpu;
use crate::memory::{BLOCKS, Loaded, Samples, Weights, Workspace, check_widths, places};
use crate::shader::Flavour;
use crate::step::{Block, Goal, Plan, Planner, Varying};

/// Samples between two synchronisations, unless one batch has more.
const SAMPLES: usize = 1 << 20;

/// Multiply-adds that are submitted together. They are few enough that no driver takes the device for hung (Windows
/// waits two seconds).
pub(crate) const SUBMITTED: u64 = 1 << 35;

/// The most rows per block of an evaluation or a prediction.
const EVALUATED: usize = 2048;
/// The most bytes of such a block's widest matrix. This keeps an evaluation smaller than a training if memory is short.
const EVALUATED_BYTES: usize = 16 << 20;

pub(crate) struct WgpuSession {
    gpu: Arc<Gpu>,
    spec: Spec,
    flavour: Flavour,
    scale: wgpu::Buffer,
    shift: wgpu::Buffer,
    weights: Option<Weights>,
    train: Option<Loaded>,
    validation: Option<Loaded>,
    /// What is computed of the outputs.
    judging: Judging,
    training: Training,
    groups: Groups,
    /// Whether the gradients of a step are stored before the first weight changes.
    stores: bool,
    /// What the training data weighs.
    weighting: Weighting,
    work: Option<Workspace>,
}

impl WgpuSession {
    pub(crate) fn new(gpu: Arc<Gpu>, spec: &Spec, training: &Training, flavour: Flavour) -> Result<Self> {
        spec.validate()?;
        training.validate()?;
        let judging = training.check(spec)?;
        check_widths(&gpu, spec, training)?;
        let groups = Groups::new(spec, training);
        let learns = spec.layers.iter().any(|layer| layer.gains() > 0);
        let (scale, shift): (Vec<f32>, Vec<f32>) =
            (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        let (scale, shift) = (gpu.filled(bytemuck::cast_slice(&scale)), gpu.filled(bytemuck::cast_slice(&shift)));
        Ok(Self {
            spec: spec.clone(),
            flavour,
            scale,
            shift,
            weights: None,
            train: None,
            validation: None,
            judging,
            // The kernels that update weights as soon as they know the gradient know no gains.
            stores: training.stores_gradients() || !groups.are_plain_descent() || learns,
            training: training.clone(),
            groups,
            weighting: Weighting::default(),
            work: None,
            gpu,
        })
    }

    /// The memory that the session needs, for the error message when there is not enough.
    fn need(&self) -> String {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let tensors = 1 + self.training.slots().len() + usize::from(self.stores);
        let weights = 4 * (tensors * self.spec.parameters()) as u64;
        let bytes = |data: &Option<Loaded>| {
            data.as_ref().map_or(0, |data| data.parts.iter().map(|part| part.inputs.size() + part.targets.size()).sum())
        };
        let data: u64 = bytes(&self.train) + bytes(&self.validation);
        let work = self.work.as_ref().map_or(0, |work| {
            let more = work.z.iter().chain(&work.whole).chain(&work.dropout).chain([&work.s]);
            work.h.iter().chain(&work.d).chain(more).map(wgpu::Buffer::size).sum()
        });
        let (all, weights, data, work) =
            (megabytes(weights + data + work), megabytes(weights), megabytes(data), megabytes(work));
        format!("{all} are needed: {weights} for the weights, {data} for data, {work} for batches")
    }

    /// Makes room for batches of `rows` samples, and for `samples` samples between two synchronisations. For gradients, also
    /// for the sums over a batch that is not one chain.
    fn prepare(&mut self, rows: usize, samples: usize, goal: Goal) -> Result<()> {
        let Self { gpu, spec, work, weights, .. } = self;
        let weights = weights.as_mut().ok_or_else(no_weights)?;
        if work.as_ref().is_none_or(|work| work.wanted.0 < rows || work.wanted.1 < samples) {
            // The old workspace is freed first. Both sizes only ever grow.
            let (old_rows, old_samples) = work.take().map_or((0, 0), |work| work.wanted);
            let most = SUBMITTED / (3 * spec.parameters() as u64 * self.flavour.cost());
            let size = (rows.max(old_rows), samples.max(old_samples));
            let with = (!self.weighting.is_even(), self.training.dropout > 0.0);
            *work = Some(Workspace::new(gpu, spec, size, with, most as usize));
        }
        let places = work.as_ref().map_or(0, |work| places(rows, work.rows));
        let cut = goal.goes_back() && weights.with_sums(gpu, spec, places)?;
        if goal == Goal::Gradient {
            weights.with_gradients(gpu, spec);
        }
        self.gpu.check(|| self.need()).inspect_err(|_| {
            // The buffers that could not be allocated must not be used.
            self.work = None;
            match &mut self.weights {
                Some(weights) if !cut => weights.without_sums(&self.gpu, &self.spec),
                weights => *weights = None,
            }
        })
    }

    /// Rows per block of an evaluation or a prediction.
    fn evaluated(&self, samples: usize) -> usize {
        let widest = self.spec.layers.iter().map(|layer| layer.units).chain([self.spec.input.features]).max();
        samples.min(EVALUATED).min(EVALUATED_BYTES / 4 / widest.unwrap_or(1)).max(1)
    }

    fn planner<'a>(
        &'a self,
        weights: &'a Weights,
        work: &'a Workspace,
        scalars: Option<&'a wgpu::Buffer>,
    ) -> Planner<'a> {
        let Self { gpu, spec, judging, weighting, flavour, scale, shift, training, .. } = self;
        let (judging, weighted, flavour) = (*judging, !weighting.is_even(), *flavour);
        Planner { gpu, spec, judging, weighted, flavour, scale, shift, weights, work, training, scalars }
    }

    /// What differs from step to step, and the scalars of the optimiser's rule for each step, layer, and its weights, biases
    /// and gains.
    fn varying(&self, span: &Span<'_>) -> (Vec<Varying>, Vec<f32>) {
        let mut scalars = Vec::new();
        let varying = |(number, (_, rates)): (usize, (&[u32], Rates))| {
            let step = span.first_step + number as u64;
            let of = self.groups.scalars(step, &rates);
            for l in (0..self.spec.layers.len()).filter(|_| self.stores) {
                scalars.extend(Part::ALL.into_iter().flat_map(|part| of.of(l, part)));
            }
            let random = self.training.perturbation_in(step, &rates);
            // Dropout with probability 0 multiplies by 1.
            let dropout = |of: Option<Dropout>| of.map_or((0, 1.0), |dropout| (dropout.threshold, dropout.scale));
            Varying {
                number,
                // The third scalar is the step, downwards.
                learning_rate: -of.of(0, Part::Weights)[2],
                hidden: dropout(random.hidden),
                inputs: dropout(random.inputs),
                step: [step as u32, (step >> 32) as u32],
                seed: self.training.seed,
                share: self.training.average_share(step),
            }
        };
        (span.batches().enumerate().map(varying).collect(), scalars)
    }

    /// Records and submits blocks. Does not wait for them.
    fn submit(&self, plan: &Plan, work: &Workspace, blocks: impl Iterator<Item = Block>) {
        let mut blocks = blocks.peekable();
        while blocks.peek().is_some() {
            let mut words = Vec::new();
            let mut done = 0;
            let mut encoder = self.gpu.encoder();
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            while let Some(block) = blocks.next_if(|_| words.len() < BLOCKS * work.stride / 4 && done < SUBMITTED) {
                plan.record(&self.gpu, &mut pass, 4 * words.len() as u32, block);
                words.extend(block.words());
                words.resize(words.len().next_multiple_of(work.stride / 4), 0);
                done += plan.work * block.rows as u64;
            }
            drop(pass);
            self.gpu.queue.write_buffer(&work.steps, 0, bytemuck::cast_slice(&words));
            self.gpu.submit(encoder);
        }
    }

    /// Runs steps of a span up to one synchronisation. Returns the losses and guesses of their samples.
    fn run(&mut self, span: &Span<'_>, goal: Goal) -> Result<(Vec<f32>, Vec<u32>)> {
        self.prepare(span.batch_size.min(span.order.len()), span.order.len(), goal)?;
        let weights = self.weights.as_ref().ok_or_else(no_weights)?;
        let work = self.work.as_ref().ok_or_else(no_weights)?;
        let data = loaded(self.train.as_ref())?;
        self.gpu.queue.write_buffer(&work.order, 0, bytemuck::cast_slice(span.order));
        self.gpu.queue.write_buffer(&work.stopped, 0, &[0; 4]);
        if !self.weighting.is_even() {
            let of = |(samples, _)| self.weighting.factors::<f32>(self.judging, self.spec.outputs(), samples);
            let factors: Vec<f32> = span.batches().filter_map(of).flatten().collect();
            self.gpu.queue.write_buffer(&work.factors, 0, bytemuck::cast_slice(&factors));
        }
        let (varying, scalars) = self.varying(span);
        let scalars = self.stores.then(|| self.gpu.filled(bytemuck::cast_slice(&scalars)));
        let plan = self.planner(weights, work, scalars.as_ref()).of_data(data, goal);
        let blocks = span.batches().zip(&varying).enumerate().flat_map(|(step, ((samples, _), &varying))| {
            let (at, mean) = (step * span.batch_size, self.judging.factor(samples.len(), self.spec.outputs()));
            blocks(samples.len(), work.rows).map(move |(from, rows)| {
                let last = from + rows == samples.len();
                Block { rows, at: at + from, sample: None, before: from, last, mean, varying }
            })
        });
        self.submit(&plan, work, blocks);
        let mut read = self.gpu.read(&[(&work.losses, span.order.len()), (&work.guesses, span.order.len())])?;
        let guesses = read.pop().unwrap_or_default();
        Ok((read.swap_remove(0).into_iter().map(f32::from_bits).collect(), guesses))
    }

    /// Trains steps of a span up to one synchronisation. Returns whether all their losses were finite.
    fn train_some(&mut self, span: &Span<'_>, report: &mut Report) -> Result<bool> {
        let (losses, guesses) = self.run(span, Goal::Train)?;
        let data = loaded(self.train.as_ref())?;
        let mut steps = 0;
        let mut finite = true;
        for (step, (samples, _)) in span.batches().enumerate() {
            let these = step * span.batch_size..step * span.batch_size + samples.len();
            let loss = self.weighting.mean(&losses[these.clone()], samples);
            if !loss.is_finite() {
                report.first_non_finite = Some(report.losses.len());
                finite = false;
                break;
            }
            steps += 1;
            report.losses.push(loss);
            if report.tally.classes() > 0 {
                let guesses =
                    samples.iter().zip(&guesses[these]).map(|(sample, guess)| (*sample as usize, *guess as usize));
                report.hits.push(report.tally.count(data.data.targets(), guesses));
            }
        }
        self.weights.as_mut().ok_or_else(no_weights)?.step += steps;
        Ok(finite)
    }

    /// Checks that a span can be trained now.
    fn check(&self, span: &Span<'_>) -> Result<()> {
        let samples = loaded(self.train.as_ref())?.data.samples();
        span.check(samples, self.weights.as_ref().ok_or_else(no_weights)?.step)?;
        let batch = span.batch_size.min(span.order.len());
        if batch > self.gpu.largest as usize / 4 {
            let what = format!("a batch of {batch} samples on {}", self.gpu.name);
            return Err(Error::Unsupported { what, remedy: "lower --batch-size, or use --device cpu".into() });
        }
        Ok(())
    }

    /// The most steps between two synchronisations.
    fn steps_at_once(&self, batch_size: usize) -> usize {
        let words = self.gpu.largest as usize / 4;
        let scalars = if self.stores { Part::ALL.len() * self.spec.layers.len() * SCALARS } else { 1 };
        (SAMPLES.min(words) / batch_size).min(words / scalars).max(1)
    }
}

fn no_weights() -> Error {
    Error::mismatch("the session has no weights", "call set_state first")
}

/// (first row, number of rows) of each block, when `rows` rows are cut into blocks of `size`.
fn blocks(rows: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(size).map(move |from| (from, size.min(rows - from)))
}

impl Session for WgpuSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.spec)?;
        let loaded = Some(Loaded::new(&self.gpu, data));
        match split {
            Split::Train => {
                self.train = loaded;
                self.weighting = Weighting::of_training(&self.training.class_weights, data);
                // It may have no room for factors.
                self.work = None;
            }
            Split::Validation => self.validation = loaded,
        }
        self.gpu.flush(|| self.need()).inspect_err(|_| match split {
            Split::Train => self.train = None,
            Split::Validation => self.validation = None,
        })
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        state.check(&self.spec)?;
        state.check_slots(&self.training)?;
        let Self { gpu, spec, training, stores, weights, .. } = self;
        let weights = weights.get_or_insert_with(|| Weights::new(gpu, spec, training, *stores));
        weights.set(gpu, &state.clone().with_slots(training));
        self.gpu.check(|| self.need()).inspect_err(|_| self.weights = None)
    }

    fn state(&mut self) -> Result<State> {
        self.weights.as_ref().ok_or_else(no_weights)?.get(&self.gpu, &self.spec)
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        self.check(span)?;
        let mut report = Report { tally: self.spec.tally(), ..Report::default() };
        let steps = self.steps_at_once(span.batch_size);
        for first in (0..span.steps()).step_by(steps) {
            let these = first..span.steps().min(first + steps);
            let of = |factors: &'_ [f32]| if factors.is_empty() { 0..0 } else { these.clone() };
            let samples = first * span.batch_size..span.order.len().min(these.end * span.batch_size);
            let some = Span {
                first_step: span.first_step + first as u64,
                order: &span.order[samples],
                batch_size: span.batch_size,
                learning_rate: &span.learning_rate[these.clone()],
                decay: &span.decay[of(span.decay)],
                dropout: &span.dropout[of(span.dropout)],
            };
            if !self.train_some(&some, &mut report)? {
                break;
            }
        }
        Ok(report)
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        let first_step = self.weights.as_ref().ok_or_else(no_weights)?.step;
        let span =
            Span { first_step, order: samples, batch_size: samples.len(), learning_rate: &[0.0], ..Span::default() };
        self.check(&span)?;
        let (losses, _) = self.run(&span, Goal::Gradient)?;
        if !self.weighting.mean(&losses, samples).is_finite() {
            return Err(no_gradient());
        }
        self.weights.as_ref().ok_or_else(no_weights)?.gradients(&self.gpu, &self.spec)
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        let data = |session: &Self| match split {
            Split::Train => loaded(session.train.as_ref()).map(|data| data.data.clone()),
            Split::Validation => loaded(session.validation.as_ref()).map(|data| data.data.clone()),
        };
        let samples = data(self)?.samples();
        self.prepare(self.evaluated(samples), samples.min(SAMPLES), Goal::Judge)?;
        let weights = self.weights.as_ref().ok_or_else(no_weights)?;
        let work = self.work.as_ref().ok_or_else(no_weights)?;
        let data = loaded(if split == Split::Train { self.train.as_ref() } else { self.validation.as_ref() })?;
        let plan = self.planner(weights, work, None).of_data(data, Goal::Judge);
        let weighting = Weighting::of_evaluation(&data.data);
        let mut confusion = self.spec.confusion();
        let mut sum = 0.0;
        for (first, count) in blocks(samples, work.samples) {
            let blocks = blocks(count, work.rows).map(|(at, rows)| Block {
                rows,
                at,
                sample: Some(first + at),
                before: at,
                last: false,
                mean: 0.0,
                varying: Varying::default(),
            });
            self.submit(&plan, work, blocks);
            let read = self.gpu.read(&[(&work.losses, count), (&work.guesses, count)])?;
            let losses: Vec<f32> = read[0].iter().map(|bits| f32::from_bits(*bits)).collect();
            sum = weighting.add(sum, &losses, first);
            let guesses = read[1].iter().enumerate().map(|(row, guess)| (first + row, *guess as usize));
            confusion.tally(data.data.targets(), guesses);
        }
        Ok(Evaluation { loss: sum / weighting.total(samples), confusion })
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        check_prediction(&self.spec, inputs, outputs)?;
        let rows = outputs.rows();
        self.prepare(self.evaluated(rows), 1, Goal::Predict)?;
        let weights = self.weights.as_ref().ok_or_else(no_weights)?;
        let work = self.work.as_ref().ok_or_else(no_weights)?;
        let (features, width) = (self.spec.input.features, self.spec.outputs());
        let last = &work.h[work.h.len() - 1];
        for (first, rows) in blocks(rows, work.rows) {
            let values = inputs.rows(first..first + rows, features);
            let samples = Samples {
                inputs: self.gpu.filled(bytemuck::cast_slice(&values)),
                targets: self.gpu.storage(0),
                part: self.gpu.uniform(&[0, rows as u32, features as u32, 0]),
            };
            let plan = self.planner(weights, work, None).of_samples(&samples, Goal::Predict);
            let (mean, varying) = (0.0, Varying::default());
            let block = Block { rows, at: 0, sample: Some(0), before: 0, last: false, mean, varying };
            self.submit(&plan, work, std::iter::once(block));
            let read = self.gpu.read(&[(last, rows * width)])?;
            for (row, bits) in read[0].chunks_exact(width).enumerate() {
                let to = outputs.row_mut(first + row);
                to.iter_mut().zip(bits).for_each(|(to, bits)| *to = f32::from_bits(*bits));
                read_outputs(self.spec.head, to);
            }
        }
        Ok(())
    }
}
