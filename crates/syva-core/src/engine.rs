//! The boundary between the trainer and whatever computes: coarse, so that an engine is free to fuse.
//!
//! An [`Engine`] opens a [`Session`] for a network; the session holds the data and the state on its device and trains
//! a [`Span`] of steps per call. A call per operation would forbid the fusion that speed lives on and drown a GPU in
//! launches. A span of one step is where an engine is compared with the reference, bit by bit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Split};
use crate::metrics::Confusion;
use crate::spec::{Spec, names};
use crate::state::{Matrix, Parameters, State};
use crate::{Error, Result};

/// Something that can train and run networks on its devices. Threads may share one.
pub trait Engine: Send + Sync {
    /// What its devices are called: the `engine` of their [`DeviceId`].
    fn name(&self) -> &'static str;

    /// The devices this engine can use on this machine.
    fn devices(&self) -> Vec<DeviceInfo>;

    /// Why there are none, where that could be mended: no driver, an old one, no card.
    fn absence(&self) -> Option<String> {
        None
    }

    /// A session for one network on one of them. An engine that cannot run the network says so here, with
    /// [`Error::Unsupported`], never later. The state is undefined until [`Session::set_state`].
    fn open(&self, device: &DeviceId, spec: &Spec) -> Result<Box<dyn Session>>;

    /// The most single-precision floating-point operations a second that the device was seen to do just now, by fused
    /// multiply-adds (two operations each) on registers alone; what a program's speed is a share of. Takes some tenths
    /// of a second. `None` where the engine cannot tell.
    fn peak(&self, _device: &DeviceId) -> Option<f64> {
        None
    }
}

/// A network on a device: its data, its state, and what can be done with them. One thread at a time works with it, each
/// time another if you like: put it into a `Mutex`, or hand it on.
pub trait Session: Send {
    /// Puts a data set on the device, where it stays.
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()>;

    /// Replaces weights, biases and step count.
    fn set_state(&mut self, state: &State) -> Result<()>;

    /// The present weights, biases and step count. Waits for the device.
    fn state(&mut self) -> Result<State>;

    /// Takes the steps of `span` on the training data, one synchronisation in all. Stops before the update of the
    /// first step whose loss is not finite; the report names it.
    fn train(&mut self, span: &Span<'_>) -> Result<Report>;

    /// [`Session::train`] with a stopwatch on each part of the steps. Slower by a few per cent; the bits are the same.
    fn profile(&mut self, span: &Span<'_>) -> Result<(Report, Breakdown)> {
        Ok((self.train(span)?, Breakdown::default()))
    }

    /// The gradient of the mean loss over some training samples, by the weights and biases of each layer; the state
    /// stays as it is. To look at, not to train with: values are right to 2⁻²³ of themselves and 2⁻⁴³ of their weight.
    ///
    /// No engine need keep gradients for this: it is what one step takes away from the weights, a step so large (2²⁰)
    /// that the weights themselves hardly count in the difference.
    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        const LEARNING_RATE: f32 = 1_048_576.0;
        let before = self.state()?;
        let step = Span {
            first_step: before.step,
            order: samples,
            batch_size: samples.len(),
            learning_rate: &[LEARNING_RATE],
        };
        let taken = self.train(&step);
        let after = self.state();
        self.set_state(&before)?;
        if taken?.first_non_finite.is_some() {
            return Err(Error::mismatch("the loss is not finite, so it has no gradient", "use an earlier state"));
        }
        let mut gradient = before.layers;
        for (before, after) in gradient.iter_mut().zip(&after?.layers) {
            let difference = |before: &mut f32, after: &f32| *before = (*before - after) / LEARNING_RATE;
            let weights = before.weight.values_mut().iter_mut().zip(after.weight.values());
            weights.for_each(|(before, after)| difference(before, after));
            before.bias.iter_mut().zip(&after.bias).for_each(|(before, after)| difference(before, after));
        }
        Ok(gradient)
    }

    /// Runs the network over a whole data set without changing anything.
    fn evaluate(&mut self, split: Split) -> Result<Evaluation>;

    /// Judges a data set with the weights as they are, tells `judged`, then trains `span`: [`Session::evaluate`] and
    /// [`Session::train`] in one, with the same results to the bit. `judged` can fetch the state that was judged. Where
    /// it says [`Flow::Stop`] or fails, the span is not taken: the state stays the one that was judged, and `None` or
    /// the error comes back.
    ///
    /// One call, so that a device need not stand idle between epochs: what `judged` does (logs, files, the next order)
    /// can take as long as an epoch does on a GPU. An engine may begin the span at once, on a device that works beside
    /// the host, and take it back where it turns out not to be wanted; `judged` cannot tell. The default, one thing after
    /// the other, is right where host and device are the same processor.
    fn evaluate_then_train(
        &mut self,
        split: Split,
        span: &Span<'_>,
        judged: &mut Judged<'_>,
    ) -> Result<Option<Report>> {
        one_after_the_other(self, split, span, judged)
    }

    /// Runs the network over raw inputs `[samples, features]` (pixels as 0 … 255: the network normalises) and leaves
    /// the head's outputs in `outputs` `[samples, outputs]`: values, logits, or log-probabilities. Inputs that are not
    /// finite are refused. [`probabilities`](crate::probabilities) makes probabilities of a classifier's outputs, and
    /// [`ClassNames::answer`](crate::ClassNames::answer) names the classes too.
    fn predict(&mut self, inputs: &Matrix, outputs: &mut Matrix) -> Result<()>;
}

/// What hears of an evaluation before a span is trained ([`Session::evaluate_then_train`]): it is handed a way to fetch
/// the state that was judged, and says whether to go on.
pub type Judged<'a> = dyn FnMut(Evaluation, &mut dyn FnMut() -> Result<State>) -> Result<Flow> + 'a;

/// [`Session::evaluate_then_train`] by its definition. For engines that can do better, but not now.
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

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// No: stop here.
    Stop,
}

/// Which device: `cpu`, `reference`, `cuda:0`, …
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// The engine's name.
    pub engine: String,
    /// Which of its devices, from 0.
    pub index: usize,
}

impl FromStr for DeviceId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (engine, index) = text.split_once(':').unwrap_or((text, "0"));
        match index.parse() {
            Ok(index) if !engine.is_empty() => Ok(Self { engine: engine.to_lowercase(), index }),
            _ => Err(Error::setting("device", format!("'{text}' is no device"), "write ENGINE or ENGINE:NUMBER")),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.index == 0 { f.pad(&self.engine) } else { f.pad(&format!("{}:{}", self.engine, self.index)) }
    }
}

/// A device as people want to see it listed.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// Its name for `--device`.
    pub id: DeviceId,
    /// What it is: the processor's or card's own name.
    pub name: String,
    /// How it will be used: instruction set, threads.
    pub detail: String,
    /// Whether its results are bit-equal to the reference.
    pub exact: bool,
}

/// What an engine may round the factors of its products to before it multiplies them, where it is asked to. Sums, weights
/// and activations are f32 always.
///
/// ```
/// use syva_core::Precision;
/// assert_eq!("bf16".parse::<Precision>()?, Precision::Bf16);
/// let error = "fp16".parse::<Precision>().unwrap_err();
/// assert_eq!(error.to_string(), "precision: unknown name 'fp16'; use one of f32, tf32, bf16");
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// To nothing: the arithmetic contract.
    #[default]
    F32,
    /// To TensorFloat-32, f32 with a mantissa of 10 bits.
    Tf32,
    /// To bfloat16, f32 with a mantissa of 7 bits.
    Bf16,
}

names!(Precision, "precision", F32 = "f32", Tf32 = "tf32", Bf16 = "bf16");

impl Precision {
    /// Bits of the mantissa that are stored.
    #[must_use]
    pub fn mantissa_bits(self) -> i32 {
        match self {
            Self::F32 => 23,
            Self::Tf32 => 10,
            Self::Bf16 => 7,
        }
    }

    /// By how much rounding to nearest changes a number at most, relative to it.
    #[must_use]
    pub fn roundoff(self) -> f64 {
        0.5 / f64::from(1 << self.mantissa_bits())
    }
}

/// A run of training steps.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The number of the first step since the initial weights, from 0. Equal to the state's step.
    pub first_step: u64,
    /// Indices of training samples, batch after batch.
    pub order: &'a [u32],
    /// Samples a batch; the last batch of the span takes what is left.
    pub batch_size: usize,
    /// One learning rate a step.
    pub learning_rate: &'a [f32],
}

impl<'a> Span<'a> {
    /// Steps in the span.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.order.len().div_ceil(self.batch_size)
    }

    /// The batches: sample indices and learning rate of each step.
    pub fn batches(&self) -> impl Iterator<Item = (&'a [u32], f32)> {
        self.order.chunks(self.batch_size).zip(self.learning_rate.iter().copied())
    }

    /// Checks the span against the data and the state it will be run on. Engines call it first.
    pub fn check(&self, samples: usize, step: u64) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::setting("batch-size", "0 samples make no batch", "give 1 or more"));
        }
        if self.learning_rate.len() != self.steps() {
            let problem = format!("{} learning rates for {} steps", self.learning_rate.len(), self.steps());
            return Err(Error::mismatch(problem, "give one a step"));
        }
        if self.first_step != step {
            let problem = format!("a span from step {} on a state at step {step}", self.first_step);
            return Err(Error::mismatch(problem, "continue where the state is"));
        }
        if let Some(index) = self.order.iter().find(|&&index| index as usize >= samples) {
            return Err(Error::mismatch(format!("sample {index} of {samples}"), "use indices below the sample count"));
        }
        Ok(())
    }
}

/// What a span of training did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Mean loss over the batch of each step taken, before its update; summed in f64.
    pub losses: Vec<f64>,
    /// Samples whose class was predicted rightly, a step (empty for regression).
    pub hits: Vec<u32>,
    /// Truth against prediction over all steps (of size 0 for regression).
    pub confusion: Confusion,
    /// The step of the span, from 0, whose loss was not finite; it and all later steps were not taken.
    pub first_non_finite: Option<usize>,
}

/// Where the time of a span of training went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// Parts of the steps in the order in which a step comes to them: name, and seconds summed over all threads. Empty
    /// where the engine does not tell.
    pub parts: Vec<(String, f64)>,
    /// Threads that worked on them.
    pub threads: usize,
    /// Seconds from the span's start to its end. What the threads' seconds exceed the parts' is waiting.
    pub seconds: f64,
    /// Multiply-adds that the products took: fewer than the network has where zeros were passed over.
    pub multiply_adds: u64,
}

/// What a network makes of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Mean loss over the samples; summed in f64 in the order of the samples.
    pub loss: f64,
    /// Truth against prediction (of size 0 for regression).
    pub confusion: Confusion,
}
