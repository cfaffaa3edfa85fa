//! The engine's session: data and weights in memory, spans of steps run one after another.

use syva_core::data::{Dataset, Split};
use syva_core::reference::{check_prediction, loaded, mean, read_outputs};
use syva_core::{Confusion, Error, Evaluation, Matrix, Report, Result, Session, Span, Spec, State};

use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::memory::{Batch, Loaded, Weights, Workspace};
use crate::sparse::InputKernel;
use crate::step::Runner;
use crate::team::Team;

/// Samples that pass through the network together where nothing is trained.
const EVALUATION_BATCH: usize = 512;

pub(crate) struct CpuSession {
    runner: Runner,
    inputs: InputKernel,
    weights: Option<Weights>,
    train: Option<Loaded>,
    validation: Option<Loaded>,
    /// For training, as large as the largest batch so far.
    work: Option<Workspace>,
    /// For evaluation and prediction.
    evaluation: Workspace,
}

impl CpuSession {
    pub(crate) fn new(spec: &Spec, isa: Isa, threads: usize, inputs: InputKernel) -> Result<Self> {
        spec.validate()?;
        Ok(Self {
            runner: Runner { spec: spec.clone(), kernels: Kernels::new(isa)?, team: Team::new(threads)? },
            inputs,
            weights: None,
            train: None,
            validation: None,
            work: None,
            evaluation: Workspace::new(spec, 1, false),
        })
    }

    fn no_weights() -> Error {
        Error::mismatch("the session has no weights", "call set_state first")
    }
}

impl Session for CpuSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.runner.spec)?;
        let data = Some(Loaded::new(data, &self.runner.spec, &mut self.runner.team, self.inputs));
        match split {
            Split::Train => self.train = data,
            Split::Validation => self.validation = data,
        }
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        state.check(&self.runner.spec)?;
        self.weights.get_or_insert_with(|| Weights::new(&self.runner.spec)).set(state);
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        Ok(self.weights.as_ref().ok_or_else(Self::no_weights)?.get(&self.runner.spec))
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        let Self { runner, weights, train, work, .. } = self;
        let data = loaded(train.as_ref())?;
        let weights = weights.as_mut().ok_or_else(Self::no_weights)?;
        span.check(data.data.samples(), weights.step)?;
        let capacity = span.batch_size.min(span.order.len());
        let work = match work {
            Some(work) if work.capacity >= capacity => work,
            _ => work.insert(Workspace::new(&runner.spec, capacity, true)),
        };
        let mut report = Report { confusion: Confusion::new(runner.spec.classes()), ..Report::default() };
        for (step, (samples, learning_rate)) in span.batches().enumerate() {
            let batch = Batch::Samples(data, samples);
            runner.forward(weights, work, batch, true);
            runner.judge(weights, work, batch, data.data.targets(), true);
            let loss = mean(&work.losses[..samples.len()]);
            if !loss.is_finite() {
                report.first_non_finite = Some(step);
                break;
            }
            runner.backward(weights, work, batch, learning_rate);
            report.losses.push(loss);
            if runner.spec.classes() > 0 {
                let hits = report.confusion.tally(data.data.targets(), work.predictions(batch));
                report.hits.push(hits);
            }
        }
        Ok(report)
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        let Self { runner, weights, train, validation, evaluation: work, .. } = self;
        let data = match split {
            Split::Train => loaded(train.as_ref())?,
            Split::Validation => loaded(validation.as_ref())?,
        };
        let weights = weights.as_mut().ok_or_else(Self::no_weights)?;
        let samples = data.data.samples();
        if work.capacity < EVALUATION_BATCH.min(samples) {
            *work = Workspace::new(&runner.spec, EVALUATION_BATCH.min(samples), false);
        }
        let mut confusion = Confusion::new(runner.spec.classes());
        let mut sum = 0.0;
        for first in (0..samples).step_by(work.capacity) {
            let batch = Batch::Range(data, first, work.capacity.min(samples - first));
            runner.forward(weights, work, batch, false);
            runner.judge(weights, work, batch, data.data.targets(), false);
            sum = work.losses[..batch.len()].iter().fold(sum, |sum, &loss| sum + f64::from(loss));
            confusion.tally(data.data.targets(), work.predictions(batch));
        }
        Ok(Evaluation { loss: sum / samples as f64, confusion })
    }

    fn predict(&mut self, inputs: &Matrix, outputs: &mut Matrix) -> Result<()> {
        let Self { runner, weights, evaluation: work, .. } = self;
        check_prediction(&runner.spec, inputs, outputs)?;
        let weights = weights.as_ref().ok_or_else(Self::no_weights)?;
        let rows = inputs.rows();
        if work.capacity < EVALUATION_BATCH.min(rows) {
            *work = Workspace::new(&runner.spec, EVALUATION_BATCH.min(rows), false);
        }
        for first in (0..rows).step_by(work.capacity) {
            let batch = Batch::Rows(inputs, first, work.capacity.min(rows - first));
            runner.forward(weights, work, batch, false);
            for b in 0..batch.len() {
                let to = outputs.row_mut(first + b);
                to.copy_from_slice(work.outputs(b));
                read_outputs(runner.spec.head, to);
            }
        }
        Ok(())
    }
}
