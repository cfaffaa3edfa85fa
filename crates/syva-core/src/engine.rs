//! The boundary between the trainer and the engines. It is coarse, so that an engine is free to fuse operations.
//!
//! An [`Engine`] opens a [`Session`] for a network. The session holds the data and the state on its device, and trains
//! a [`Span`] of steps per call. A call per operation would rule out the fusion that makes an engine fast, and would
//! drown a GPU in launches. Engines are compared with the reference, bit by bit, by spans of one step.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Inputs, Split};
use crate::metrics::{Confusion, Tally};
use crate::ops::Rule;
use crate::spec::{Spec, names};
use crate::state::{Matrix, Parameters, State};
use crate::training::Training;
use crate::{Error, Result};

/// Trains and runs networks on its devices. Threads may share an engine.
pub trait Engine: Send + Sync {
    /// The engine's name, which is the `engine` of its devices' [`DeviceId`]s.
    fn name(&self) -> &'static str;

    /// The devices this engine can use on this machine.
    fn devices(&self) -> Vec<DeviceInfo>;

    /// Why there are no devices, if the user can change that: no driver, an old driver, no card.
    fn absence(&self) -> Option<String> {
        None
    }

    /// Opens a session for one network on one device, to be trained in one way. An engine that cannot do that refuses it
    /// here, with [`Error::Unsupported`], and never later. Who only predicts opens it with the default training. The state
    /// is undefined until [`Session::set_state`].
    fn open(&self, device: &DeviceId, spec: &Spec, training: &Training) -> Result<Box<dyn Session>>;

    /// The device's peak speed in single-precision floating-point operations per second, measured now. A program's
    /// speed can be stated as a share of it. The measurement runs fused multiply-adds (two operations each) on
    /// registers alone, and takes some tenths of a second. `None` if the engine cannot measure it.
    fn peak(&self, _device: &DeviceId) -> Option<f64> {
        None
    }

    /// The bytes per second that the device reads from its memory, measured now, on data that fits into no cache. Takes
    /// some tenths of a second. `None` if the engine cannot measure it.
    fn bandwidth(&self, _device: &DeviceId) -> Option<f64> {
        None
    }
}

/// A network on a device, with its data and its state. Only one thread at a time can use a session, but it may move
/// between threads: put it into a `Mutex`, or hand it on.
pub trait Session: Send {
    /// Copies a data set to the device, where it stays.
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()>;

    /// Replaces the weights, the biases, the slots and the step count. A state without slots gets fresh ones.
    fn set_state(&mut self, state: &State) -> Result<()>;

    /// The current weights, biases and step count. Waits for the device.
    fn state(&mut self) -> Result<State>;

    /// Takes the steps of `span` on the training data, with as few synchronisations as the device allows. Stops before
    /// the update of the first step whose loss is not finite, and names that step in the report.
    fn train(&mut self, span: &Span<'_>) -> Result<Report>;

    /// [`Session::train`], but measures the time of each part of the steps. It is slower by a few per cent, and the
    /// bits are the same.
    fn profile(&mut self, span: &Span<'_>) -> Result<(Report, Breakdown)> {
        Ok((self.train(span)?, Breakdown::default()))
    }

    /// The gradient of the mean loss over some training samples, by all that is learned of each layer, without dropout,
    /// penalties or clipping. The state stays as it is.
    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>>;

    /// Runs the network over a whole data set, and changes nothing.
    fn evaluate(&mut self, split: Split) -> Result<Evaluation>;

    /// Evaluates a data set, reports the result to `judged`, then trains `span`. This is [`Session::evaluate`] and
    /// [`Session::train`] in one call, with the same results to the bit. `judged` can fetch the state that was
    /// evaluated. If it returns [`Flow::Stop`] or an error, the span is not trained: the state remains the one that was
    /// evaluated, and the call returns `None` or the error.
    ///
    /// It is one call so that a device need not be idle between epochs: on a GPU, the work of `judged` (logs, files,
    /// the next order) can take as long as an epoch. An engine whose device works beside the host may begin the span at
    /// once, and undo it if it turns out not to be wanted; `judged` cannot see the difference. The default does one
    /// thing after the other, which is right if host and device are the same processor.
    fn evaluate_then_train(
        &mut self,
        split: Split,
        span: &Span<'_>,
        judged: &mut Judged<'_>,
    ) -> Result<Option<Report>> {
        one_after_the_other(self, split, span, judged)
    }

    /// Runs the network over raw inputs (pixels as 0 … 255: the network normalises) and leaves
    /// the head's outputs in `outputs` `[samples, outputs]`: values, rates, pairs of mean and variance, logits, or
    /// log-probabilities. Inputs that are not finite are refused. [`probabilities`](crate::probabilities) makes probabilities of a classifier's outputs, and
    /// [`ClassNames::answer`](crate::ClassNames::answer) names the classes too.
    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()>;
}

/// The callback of [`Session::evaluate_then_train`]. It receives the evaluation and a way to fetch the state that was
/// evaluated, and returns whether to go on.
pub type Judged<'a> = dyn FnMut(Evaluation, &mut dyn FnMut() -> Result<State>) -> Result<Flow> + 'a;

/// [`Session::evaluate_then_train`] by its definition: one thing after the other. Engines use it when they cannot do
/// better at the moment.
pub fn one_after_the_other<S: Session + ?Sized>(
    session: &mut S,
    split: Split,
    span: &Span<'_>,
    judged: &mut Judged<'_>,
) -> Result<Option<Report>> {
    let evaluation = session.evaluate(split)?;
    match judged(evaluation, &mut || session.state())? {
        Flow::Continue => session.train(span).map(Some),
        Flow::Stop => Ok(None),
    }
}

/// Refuses optimisers whose steps take the weights of a layer together, for engines that apply rules weight by weight.
pub fn check_each_weight(device: &DeviceId, training: &Training) -> Result<()> {
    match training.optimizer.rule() {
        Rule::Descent
        | Rule::Decay
        | Rule::Momentum
        | Rule::Adam
        | Rule::AmsGrad
        | Rule::NAdam
        | Rule::Adagrad
        | Rule::Lion
        | Rule::RmsProp
        | Rule::RmsPropMomentum
        | Rule::RmsPropCentered
        | Rule::RmsPropCenteredMomentum => Ok(()),
        Rule::Muon => {
            let what = format!("the optimizer {} on {device}", training.optimizer);
            Err(Error::Unsupported { what, remedy: "use --device cpu, or another optimizer, such as adamw".into() })
        }
    }
}

/// Refuses networks that embed their inputs, for engines whose first layer reads raw ones.
pub fn check_raw_inputs(device: &DeviceId, spec: &Spec) -> Result<()> {
    if spec.input.embedding.is_none() {
        return Ok(());
    }
    let what = format!("a network with embedded inputs on {device}");
    Err(Error::Unsupported { what, remedy: "use --device cpu, or --recipe tabular-plain".into() })
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop here.
    Stop,
}

/// The name of a device: `cpu`, `reference`, `cuda:0`, …
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// The engine's name.
    pub engine: String,
    /// The number of the device among the engine's, from 0.
    pub index: usize,
}

impl FromStr for DeviceId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (engine, index) = text.split_once(':').unwrap_or((text, "0"));
        match index.parse() {
            Ok(index) if !engine.is_empty() => Ok(Self { engine: engine.to_lowercase(), index }),
            _ => Err(Error::setting("device", format!("'{text}' is not a device"), "write ENGINE or ENGINE:NUMBER")),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.index == 0 { f.pad(&self.engine) } else { f.pad(&format!("{}:{}", self.engine, self.index)) }
    }
}

/// A device's entry in a list for people.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// Its name for `--device`.
    pub id: DeviceId,
    /// The processor's or card's own name.
    pub name: String,
    /// How the device will be used: instruction set, threads.
    pub detail: String,
    /// Whether its results are bit-equal to the reference.
    pub exact: bool,
}

/// The precision to which an engine may round the factors of its products before it multiplies them, if it is asked to.
/// Sums, weights and activations are always f32.
///
/// ```
/// use syva_core::Precision;
/// assert_eq!("bf16".parse::<Precision>()?, Precision::Bf16);
/// let error = "fp16".parse::<Precision>().unwrap_err();
/// assert_eq!(error.to_string(), "precision: unknown name 'fp16'; use f32, tf32 or bf16");
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Factors are not rounded. This is the arithmetic contract.
    #[default]
    F32,
    /// TensorFloat-32: f32 with a mantissa of 10 bits.
    Tf32,
    /// bfloat16: f32 with a mantissa of 7 bits.
    Bf16,
}

names!(Precision, "precision", F32 = "f32", Tf32 = "tf32", Bf16 = "bf16");

impl Precision {
    /// Stored bits of the mantissa.
    #[must_use]
    pub fn mantissa_bits(self) -> i32 {
        match self {
            Self::F32 => 23,
            Self::Tf32 => 10,
            Self::Bf16 => 7,
        }
    }

    /// The greatest relative change of a number when it is rounded to nearest.
    #[must_use]
    pub fn roundoff(self) -> f64 {
        0.5 / f64::from(1 << self.mantissa_bits())
    }
}

/// What schedules make of one step.
///
/// ```
/// use syva_core::Rates;
/// assert_eq!(Rates::from(0.1), Rates { learning_rate: 0.1, decay: 1.0, dropout: 1.0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The learning rate.
    pub learning_rate: f32,
    /// The factor of the optimiser's weight decay.
    pub decay: f32,
    /// The factor of the probabilities of dropout.
    pub dropout: f32,
}

impl From<f32> for Rates {
    /// This learning rate, and the rest as the training says it.
    fn from(learning_rate: f32) -> Self {
        Self { learning_rate, decay: 1.0, dropout: 1.0 }
    }
}

/// A run of training steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span<'a> {
    /// The number of the first step, counted from 0 at the initial weights. It must equal the state's step.
    pub first_step: u64,
    /// Indices of training samples, batch after batch.
    pub order: &'a [u32],
    /// Samples per batch. The last batch of the span may be smaller.
    pub batch_size: usize,
    /// One learning rate per step.
    pub learning_rate: &'a [f32],
    /// The factor of the weight decay in each step. Empty if it is 1.
    pub decay: &'a [f32],
    /// The factor of the probabilities of dropout in each step. Empty if it is 1.
    pub dropout: &'a [f32],
}

impl<'a> Span<'a> {
    /// Steps in the span.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    /// The batches: the sample indices and the rates of each step.
    pub fn batches(&self) -> impl Iterator<Item = (&'a [u32], Rates)> {
        let Self { learning_rate, decay, dropout, .. } = *self;
        let of = |factors: &[f32], step: usize| factors.get(step).copied().unwrap_or(1.0);
        let rates = move |(step, &learning_rate): (usize, &f32)| Rates {
            learning_rate,
            decay: of(decay, step),
            dropout: of(dropout, step),
        };
        self.order.chunks(self.batch_size).zip(learning_rate.iter().enumerate().map(rates))
    }

    /// Checks that the span fits the data and the state. Engines call it first.
    pub fn check(&self, samples: usize, step: u64) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::setting("batch-size", "a batch cannot have 0 samples", "give 1 or more"));
        }
        if self.learning_rate.len() != self.steps() {
            let problem = format!("{} learning rates for {} steps", self.learning_rate.len(), self.steps());
            return Err(Error::mismatch(problem, "give one per step"));
        }
        for (name, factors) in [("decay", self.decay), ("dropout", self.dropout)] {
            if !factors.is_empty() && factors.len() != self.steps() {
                let problem = format!("{} factors of {name} for {} steps", factors.len(), self.steps());
                return Err(Error::mismatch(problem, "give one per step, or none"));
            }
        }
        if self.first_step != step {
            let problem = format!("a span from step {} on a state at step {step}", self.first_step);
            return Err(Error::mismatch(problem, "continue at the step of the state"));
        }
        if let Some(index) = self.order.iter().find(|&&index| index as usize >= samples) {
            return Err(Error::mismatch(format!("sample {index} of {samples}"), "use indices below the sample count"));
        }
        Ok(())
    }
}

/// The results of a span of training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The mean loss over the batch of each step taken, before its update. Summed in f64, each loss times its sample's
    /// weight.
    pub losses: Vec<f64>,
    /// The number of correctly predicted samples, or of right labels, in each step (empty for other values).
    pub hits: Vec<u32>,
    /// The hits and the support of each class over all steps ([`Spec::tally`]; of size 0 for values).
    pub tally: Tally,
    /// The first step of the span, from 0, whose loss was not finite. That step and all later ones were not taken.
    pub first_non_finite: Option<usize>,
}

/// Where the time of a span of training went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// The parts of a step, in the order in which they run. Empty if the engine does not measure them.
    pub parts: Vec<StepPart>,
    /// The number of threads.
    pub threads: usize,
    /// Seconds from the span's start to its end. This times the threads, less the seconds of the parts, is waiting.
    pub seconds: f64,
}

impl Breakdown {
    /// Multiply-adds that the products took. There are fewer than in a dense network if zeros were skipped.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        self.parts.iter().map(|part| part.multiply_adds).sum()
    }
}

/// A part of the steps of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepPart {
    /// What it is, such as `forward 1`.
    pub name: String,
    /// Seconds, summed over all threads and steps.
    pub seconds: f64,
    /// Multiply-adds of its products.
    pub multiply_adds: u64,
}

/// The loss and the predictions of a network on a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The mean loss over the samples, summed in f64 in the order of the samples, each times its weight.
    pub loss: f64,
    /// The confusion matrix ([`Spec::confusion`]; of size 0 for values).
    pub confusion: Confusion,
}
