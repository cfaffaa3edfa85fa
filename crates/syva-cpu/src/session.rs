//! The engine's session. It holds data and weights in memory, and runs the steps of a span one after the other.

use std::time::Instant;

use syva_core::data::{Dataset, Inputs, Split};
use syva_core::ops::Perturbation;
use syva_core::reference::{check_prediction, loaded, no_gradient, read_outputs};
use syva_core::{
    Breakdown, Error, Evaluation, Matrix, Parameters, Report, Result, Session, Span, Spec, State, Training, Weighting,
};

use crate::isa::Isa;
use crate::memory::{Batch, Loaded, Samples, Source, Weights, Workspace};
use crate::sparse::InputKernel;
use crate::step::{Goal, Runner, Step};

/// Samples per batch of an evaluation or a prediction.
const EVALUATION_BATCH: usize = 512;

pub(crate) struct CpuSession {
    runner: Runner,
    inputs: InputKernel,
    weights: Option<Weights>,
    train: Option<Loaded>,
    validation: Option<Loaded>,
    /// What the training data weighs.
    weighting: Weighting,
    /// The gradients of a step, if they are stored.
    gradient: Option<Weights>,
    /// The workspace of training, as large as the largest batch so far.
    work: Option<Workspace>,
    /// The workspace of evaluation and prediction.
    evaluation: Workspace,
}

impl CpuSession {
    pub(crate) fn new(spec: &Spec, training: &Training, isa: Isa, threads: usize, inputs: InputKernel) -> Result<Self> {
        spec.validate()?;
        training.validate()?;
        let runner = Runner::new(spec, training, isa, threads)?;
        Ok(Self {
            inputs,
            weights: None,
            gradient: None,
            train: None,
            validation: None,
            weighting: Weighting::default(),
            work: None,
            evaluation: Workspace::new(spec, 1, None, runner.kernels.width()),
            runner,
        })
    }

    fn no_weights() -> Error {
        Error::mismatch("the session has no weights", "call set_state first")
    }
}

/// The workspace of training, with room for so many samples.
fn room<'a>(work: &'a mut Option<Workspace>, runner: &Runner, capacity: usize) -> &'a mut Workspace {
    if work.as_ref().is_none_or(|work| work.capacity < capacity) {
        *work = None;
    }
    work.get_or_insert_with(|| Workspace::new(&runner.spec, capacity, Some(&runner.training), runner.kernels.width()))
}

impl Session for CpuSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.runner.spec)?;
        let loaded = Some(Loaded::new(data, self.inputs));
        match split {
            Split::Train => {
                self.weighting = Weighting::of_training(&self.runner.training.class_weights, data);
                self.train = loaded;
            }
            Split::Validation => self.validation = loaded,
        }
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let Runner { spec, training, kernels, .. } = &self.runner;
        state.check(spec)?;
        state.check_slots(training)?;
        let width = kernels.width();
        self.weights.get_or_insert_with(|| Weights::new(spec, width)).set(state, spec, training, width);
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        Ok(self.weights.as_ref().ok_or_else(Self::no_weights)?.get(&self.runner.spec, &self.runner.training))
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        let Self { runner, weights, gradient, train, weighting, work, .. } = self;
        let data = loaded(train.as_ref())?;
        let weights = weights.as_mut().ok_or_else(Self::no_weights)?;
        span.check(data.data.samples(), weights.step)?;
        let work = room(work, runner, span.batch_size.min(span.order.len()));
        let mut report = Report { tally: runner.spec.tally(), ..Report::default() };
        let mut batches = span.batches().enumerate().peekable();
        while let Some((step, (samples, rates))) = batches.next() {
            let next = batches.peek().map(|(_, (samples, _))| Samples::These(samples));
            let batch = data.batch(Samples::These(samples), next);
            work.means = weighting.factors(runner.judging, runner.spec.outputs(), samples);
            let random = runner.training.perturbation_in(weights.step, &rates);
            runner.pass(weights, work, batch, Goal::Train(data.data.targets(), random));
            let loss = weighting.mean(&work.losses[..samples.len()], samples);
            if !loss.is_finite() {
                report.first_non_finite = Some(step);
                break;
            }
            runner.update_embedding(weights, work, &batch, &rates);
            if runner.training.stores_gradients() {
                let gradient = runner.gradient(gradient, weights, work, batch, random);
                runner.update_stored(weights, gradient, &rates);
            } else {
                runner.update(weights, work, batch, random, Step::Train(&rates));
            }
            report.losses.push(loss);
            if report.tally.classes() > 0 {
                let hits = report.tally.count(data.data.targets(), work.predictions(batch));
                report.hits.push(hits);
            }
        }
        Ok(report)
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        let Self { runner, weights, train, weighting, work, .. } = self;
        let data = loaded(train.as_ref())?;
        let weights = weights.as_mut().ok_or_else(Self::no_weights)?;
        let span = Span {
            first_step: weights.step,
            order: samples,
            batch_size: samples.len(),
            learning_rate: &[1.0],
            ..Span::default()
        };
        span.check(data.data.samples(), weights.step)?;
        let work = room(work, runner, samples.len());
        let batch = data.batch(Samples::These(samples), None);
        work.means = weighting.factors(runner.judging, runner.spec.outputs(), samples);
        runner.pass(weights, work, batch, Goal::Train(data.data.targets(), Perturbation::default()));
        if !weighting.mean(&work.losses[..samples.len()], samples).is_finite() {
            return Err(no_gradient());
        }
        Ok(runner.gradient(&mut None, weights, work, batch, Perturbation::default()).layers(&runner.spec))
    }

    fn profile(&mut self, span: &Span<'_>) -> Result<(Report, Breakdown)> {
        self.runner.stopwatch.start();
        let start = Instant::now();
        let report = self.train(span);
        let seconds = start.elapsed().as_secs_f64();
        let parts = self.runner.stopwatch.stop();
        Ok((report?, Breakdown { parts, threads: self.runner.team.threads(), seconds }))
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        let Self { runner, weights, train, validation, evaluation: work, .. } = self;
        let data = match split {
            Split::Train => loaded(train.as_ref())?,
            Split::Validation => loaded(validation.as_ref())?,
        };
        let weights = weights.as_mut().ok_or_else(Self::no_weights)?.for_prediction();
        let samples = data.data.samples();
        if work.capacity < EVALUATION_BATCH.min(samples) {
            *work = Workspace::new(&runner.spec, EVALUATION_BATCH.min(samples), None, runner.kernels.width());
        }
        let weighting = Weighting::of_evaluation(&data.data);
        let mut confusion = runner.spec.confusion();
        let mut sum = 0.0;
        for first in (0..samples).step_by(work.capacity) {
            let count = work.capacity.min(samples - first);
            let batch = data.batch(Samples::From { first, count }, None);
            runner.pass(weights, work, batch, Goal::Judge(data.data.targets()));
            sum = weighting.add(sum, &work.losses[..count], first);
            confusion.tally(data.data.targets(), work.predictions(batch));
        }
        Ok(Evaluation { loss: sum / weighting.total(samples), confusion })
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        let Self { runner, weights, inputs: kernel, evaluation: work, .. } = self;
        check_prediction(&runner.spec, inputs, outputs)?;
        let weights = weights.as_mut().ok_or_else(Self::no_weights)?.for_prediction();
        let rows = outputs.rows();
        if work.capacity < EVALUATION_BATCH.min(rows) {
            *work = Workspace::new(&runner.spec, EVALUATION_BATCH.min(rows), None, runner.kernels.width());
        }
        let source = Source::of(inputs);
        let by_sample = kernel.lists(source, runner.spec.input.features);
        for first in (0..rows).step_by(work.capacity) {
            let count = work.capacity.min(rows - first);
            let batch =
                Batch { source, samples: Samples::From { first, count }, next: None, by_sample, by_feature: false };
            runner.pass(weights, work, batch, Goal::Predict);
            for b in 0..count {
                let to = outputs.row_mut(first + b);
                work.copy_outputs(b, to);
                read_outputs(runner.spec.head, to);
            }
        }
        Ok(())
    }
}
