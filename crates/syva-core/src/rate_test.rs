//! The test for a learning rate: train with a rate that rises from step to step, and look where the loss falls fastest and
//! where it explodes (Smith 2017, "Cyclical learning rates for training neural networks"; fastai's `lr_find`).

use crate::arithmetic::Number;
use crate::data::{Split, Task};
use crate::engine::{DeviceId, Engine, Span};
use crate::random::permutation;
use crate::spec::Spec;
use crate::state::State;
use crate::training::Training;
use crate::{Error, Result};

/// The range of rates that a [`RateTest`] tries, and in how many steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRange {
    /// The rate of the first step.
    pub from: f32,
    /// The rate of the last step, if the loss does not explode before.
    pub to: f32,
    /// The number of steps.
    pub steps: usize,
}

impl Default for RateRange {
    fn default() -> Self {
        Self { from: 1e-6, to: 100.0, steps: 500 }
    }
}

/// What a test for a learning rate found.
///
/// ```
/// use syva_core::data::{Dataset, Inputs, Targets, Task};
/// use syva_core::{Activation::Tanh, Mlp, RateRange, RateTest, Training, reference::Reference};
/// let inputs = Inputs::F32((0..40).map(|i| i as f32 / 20.0 - 1.0).collect::<Vec<_>>().into());
/// let labels: Vec<u32> = (0..40).map(|i| u32::from(i >= 20)).collect();
/// let data = Dataset::new(inputs, 1, Targets::Classes { labels: labels.into(), classes: 2 })?;
/// let task = Task::new("two sides", data.clone(), data);
/// let spec = Mlp::new(1).hidden(&[8], Tanh).classes(2);
/// let training = Training { batch_size: 20, ..Training::default() };
/// let range = RateRange::default();
/// let test = RateTest::run(&Reference, &"reference".parse()?, &spec, &task, &training, range)?;
/// assert!(test.rate().is_some_and(|rate| rate > 1e-3 && rate < 100.0));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RateTest {
    /// The rate of each step, ascending exponentially.
    pub rates: Vec<f32>,
    /// The loss of each step before its update.
    pub losses: Vec<f64>,
    /// The losses, each the mean of the nearest ones.
    pub smoothed: Vec<f64>,
    /// Whether the loss exploded, which ended the test.
    pub exploded: bool,
}

/// Weight of what came before in the mean that tells an explosion.
const INERTIA: f64 = 0.9;
/// How far above its lowest value that mean counts as an explosion, as in fastai.
const EXPLOSION: f64 = 4.0;
/// The number of steps on either side that a loss is smoothed over.
const NEAR: usize = 4;
/// The most steps that are taken at once, so that an explosion ends the test soon.
const SPAN: usize = 16;

impl RateTest {
    /// Runs the test: from the initial weights of the training's seed, in its order of the samples, with its optimiser and
    /// batch size. Its learning rate, schedule and epochs do not matter. Nothing is left of the trained weights.
    ///
    /// # Errors
    /// [`Error::Setting`] if the range is none, or the settings cannot be used together.
    pub fn run(
        engine: &dyn Engine,
        device: &DeviceId,
        spec: &Spec,
        task: &Task,
        training: &Training,
        range: RateRange,
    ) -> Result<Self> {
        let RateRange { from, to, steps } = range;
        if !(from > 0.0 && to.is_finite() && from < to) {
            let problem = format!("{from} to {to} is not a range of learning rates");
            return Err(Error::setting("from", problem, "give two positive numbers, the smaller one first"));
        }
        if steps < 20 {
            return Err(Error::setting("steps", format!("{steps} steps show too little"), "give 20 or more"));
        }
        training.validate()?;
        spec.validate()?;
        crate::trainer::reserve(spec, training, task.train.samples())?;
        let mut session = engine.open(device, spec, training)?;
        session.load(Split::Train, &task.train)?;
        session.set_state(&State::initial_on(spec, training, &task.train)?)?;
        let samples = task.train.samples();
        let per_epoch = training.updates_per_epoch(samples);
        let growth = Number::log(f64::from(to) / f64::from(from)) / (steps - 1) as f64;
        let rate = |step: usize| (f64::from(from) * Number::exp(growth * step as f64)) as f32;
        let mut test = Self { rates: Vec::new(), losses: Vec::new(), smoothed: Vec::new(), exploded: false };
        let (mut mean, mut lowest) = (0.0, f64::INFINITY);
        let mut order = Vec::new();
        while test.losses.len() < steps && !test.exploded {
            let done = test.losses.len();
            let (epoch, first) = (done / per_epoch, done % per_epoch);
            if first == 0 {
                order = permutation(training.seed, epoch as u64, samples);
            }
            let count = SPAN.min(per_epoch - first).min(steps - done);
            let rates: Vec<f32> = (done..done + count).map(rate).collect();
            let batch_size = training.samples_per_update();
            let begin = first * batch_size;
            let end = (begin + count * batch_size).min(samples);
            let span = Span {
                first_step: done as u64,
                order: &order[begin..end],
                batch_size,
                learning_rate: &rates,
                ..Span::default()
            };
            let report = session.train(&span)?;
            let taken = report.first_non_finite.unwrap_or(count);
            for (&rate, &loss) in rates[..taken].iter().zip(&report.losses) {
                test.rates.push(rate);
                test.losses.push(loss);
                mean = INERTIA * mean + (1.0 - INERTIA) * loss;
                let now = mean / (1.0 - crate::ops::power(INERTIA, test.losses.len() as u64));
                lowest = now.min(lowest);
                if now > EXPLOSION * lowest {
                    test.exploded = true;
                    break;
                }
            }
            test.exploded |= report.first_non_finite.is_some();
        }
        let near = |i: usize| &test.losses[i.saturating_sub(NEAR)..(i + NEAR + 1).min(test.losses.len())];
        test.smoothed = (0..test.losses.len()).map(|i| near(i).iter().sum::<f64>() / near(i).len() as f64).collect();
        Ok(test)
    }

    /// The step with the lowest loss. `None` if the loss did not fall by a twentieth, so that nothing can be told.
    fn lowest(&self) -> Option<usize> {
        let lowest = (0..self.smoothed.len()).min_by(|&a, &b| self.smoothed[a].total_cmp(&self.smoothed[b]))?;
        (self.smoothed[lowest] < 0.95 * self.smoothed[0]).then_some(lowest)
    }

    /// The rate at which the loss falls fastest, per factor on the rate. `None` if it does not fall.
    #[must_use]
    pub fn steepest(&self) -> Option<f32> {
        let fall = |&i: &usize| self.smoothed[i - 1] - self.smoothed[i + 1];
        let steepest = (1..self.lowest()?).max_by(|a, b| fall(a).total_cmp(&fall(b)))?;
        Some(self.rates[steepest])
    }

    /// A tenth of the rate with the lowest loss, which is a rate at which the training is still safe.
    #[must_use]
    pub fn tenth(&self) -> Option<f32> {
        Some(self.rates[self.lowest()?] / 10.0)
    }

    /// The rate to begin with: the smaller of the two.
    #[must_use]
    pub fn rate(&self) -> Option<f32> {
        Some(self.steepest()?.min(self.tenth()?))
    }
}
