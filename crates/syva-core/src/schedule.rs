//! Schedules: the learning rate of each step.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{forms, named_parameter, text};
use crate::spec::{Spec, names};
use crate::stopping::Metric;
use crate::trainer::Epoch;
use crate::{Error, Result};

/// How the learning rate changes from step to step. Lengths are in epochs, and need not be whole. `warmup` is the length
/// of a linear rise from 0 before, or 0 for none. `epochs` is the length of a schedule that has an end, from which on its
/// last rate stays; 0 stands for the length of the training.
///
/// ```
/// use syva_core::Schedule;
/// let schedule: Schedule = "step:every=2,gamma=0.5".parse()?;
/// let rates: Vec<f32> = (0..6).map(|epoch| schedule.rate(0.8, epoch, 1)).collect();
/// assert_eq!(rates, [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate in every step.
    Constant {
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// The rate is multiplied by `gamma` every so many epochs (`torch.optim.lr_scheduler.StepLR`).
    Step {
        /// Epochs between two changes.
        every: f64,
        /// The factor of a change.
        gamma: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// The rate is multiplied by `gamma` after each of these epochs (`MultiStepLR`), written as `at=30/60/80`.
    MultiStep {
        /// The epochs, in ascending order.
        at: Vec<f64>,
        /// The factor of a change.
        gamma: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// The rate is multiplied by `gamma` after every epoch (`ExponentialLR`).
    Exponential {
        /// The factor of an epoch.
        gamma: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// The rate falls to 0 as a power of what is left, step by step (`PolynomialLR`).
    Polynomial {
        /// The power; 1 is a straight line.
        power: f64,
        /// Its length.
        epochs: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// The rate falls along half a cosine, step by step (`CosineAnnealingLR`; Loshchilov and Hutter 2016).
    Cosine {
        /// The last rate.
        min: f64,
        /// Its length.
        epochs: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// Cosines one after the other, each `factor` times as long as the one before (`CosineAnnealingWarmRestarts`).
    CosineRestarts {
        /// The length of the first one.
        first: f64,
        /// How much longer the next one is.
        factor: f64,
        /// The rate at the end of each.
        min: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
    /// A rise to the highest rate, then a long fall (`OneCycleLR`; Smith and Topin 2017). No momentum is cycled.
    OneCycle {
        /// The highest rate; 0 stands for the learning rate.
        max: f64,
        /// The share of the steps that rise.
        pct_start: f64,
        /// The highest rate over the first one.
        div_factor: f64,
        /// The first rate over the last one.
        final_div_factor: f64,
        /// Along what it rises and falls.
        anneal: Anneal,
        /// Whether the fall ends at the first rate after as many steps as the rise took, and a third phase goes on from
        /// there to the last one.
        three_phase: bool,
        /// Its length.
        epochs: f64,
    },
    /// Four cosine waves, each twice as long as the one before, from 0 up to the rate and down to 0: at a share t of the
    /// steps, (1 − cos(2π·log₂(1 + 15t)))/2 of it (`coslog4` of RealMLP; Holzmüller et al. 2024).
    Coslog4 {
        /// Its length.
        epochs: f64,
    },
    /// The rate stays for the first half, then falls to 0 along half a cosine (`flat_cos` of RealMLP).
    FlatCos {
        /// Its length.
        epochs: f64,
        /// Epochs of linear rise, which are a part of the first half.
        warmup: f64,
    },
    /// The rate is multiplied by `factor` whenever a metric has had no gain for more than `patience` epochs
    /// (`ReduceLROnPlateau`).
    Plateau {
        /// What is to get better.
        metric: Metric,
        /// The factor of a change.
        factor: f64,
        /// The epochs without a gain that are still tolerated.
        patience: u64,
        /// The share of the best value by which an epoch must be better to be a gain.
        threshold: f64,
        /// Epochs after a change that do not count.
        cooldown: u64,
        /// The lowest rate.
        min: f64,
        /// Epochs of linear rise.
        warmup: f64,
    },
}

/// Along what a rate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anneal {
    /// Half a cosine.
    Cos,
    /// A straight line.
    Linear,
}

names!(Anneal, "anneal", Cos = "cos", Linear = "linear");
named_parameter!(Anneal);

forms! { Schedule,
    "constant" => Constant { warmup = 0.0 },
    "step" => Step { every = 30.0, gamma = 0.1, warmup = 0.0 },
    "multi-step" => MultiStep { at = 30, gamma = 0.1, warmup = 0.0 },
    "exponential" => Exponential { gamma = 0.95, warmup = 0.0 },
    "polynomial" => Polynomial { power = 1.0, epochs = 0.0, warmup = 0.0 },
    "cosine" => Cosine { min = 0.0, epochs = 0.0, warmup = 0.0 },
    "cosine-restarts" => CosineRestarts { first = 10.0, factor = 1.0, min = 0.0, warmup = 0.0 },
    "one-cycle" => OneCycle { max = 0.0, pct_start = 0.3, div_factor = 25.0, final_div_factor = 1e4, anneal = "cos",
                              three_phase = 0, epochs = 0.0 },
    "coslog4" => Coslog4 { epochs = 0.0 },
    "flat-cos" => FlatCos { epochs = 0.0, warmup = 0.0 },
    "plateau" => Plateau { metric = "val_loss", factor = 0.1, patience = 10, threshold = 1e-4, cooldown = 0, min = 0.0,
                           warmup = 0.0 },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::CONSTANT
    }
}

impl Schedule {
    /// The same rate in every step.
    pub const CONSTANT: Self = Self::Constant { warmup: 0.0 };

    /// The schedule of a training of so many epochs: a length that was left open becomes the training's. A training that
    /// is given more epochs later so keeps the rates of its first ones.
    #[must_use]
    pub fn over(mut self, training: u64) -> Self {
        if let Some(epochs) = self.length().filter(|epochs| **epochs == 0.0) {
            *epochs = training as f64;
        }
        self
    }

    /// The same schedule with an open length, if it is as long as this training.
    #[must_use]
    pub fn not_over(mut self, training: u64) -> Self {
        if let Some(epochs) = self.length().filter(|epochs| **epochs == training as f64) {
            *epochs = 0.0;
        }
        self
    }

    /// The highest rate, if it has one of its own that takes the place of the learning rate.
    #[must_use]
    pub fn highest(&self) -> Option<f32> {
        match *self {
            Self::OneCycle { max, .. } if max > 0.0 => Some(max as f32),
            _ => None,
        }
    }

    /// Its length, if it has an end.
    fn length(&mut self) -> Option<&mut f64> {
        match self {
            Self::Polynomial { epochs, .. }
            | Self::Cosine { epochs, .. }
            | Self::OneCycle { epochs, .. }
            | Self::Coslog4 { epochs }
            | Self::FlatCos { epochs, .. } => Some(epochs),
            _ => None,
        }
    }

    /// The learning rate of a step, which is counted from 0, given the rate that the training was told. Computed in f64
    /// from operations that give the same bits everywhere, and rounded once. For [`Schedule::Plateau`] it is the rate
    /// before the first change.
    #[must_use]
    pub fn rate(&self, told: f32, step: u64, steps_per_epoch: usize) -> f32 {
        self.rate_of(f64::from(told), step, steps_per_epoch)
    }

    /// The same in a training that has had these epochs. They matter to [`Schedule::Plateau`].
    #[must_use]
    pub fn rate_after(&self, epochs: &[Epoch], told: f32, step: u64, steps_per_epoch: usize) -> f32 {
        self.rate_of(Plateau::of(self, told, epochs).rate(), step, steps_per_epoch)
    }

    /// The same for a rate that [`Plateau`] may have changed.
    pub(crate) fn rate_of(&self, told: f64, step: u64, steps_per_epoch: usize) -> f32 {
        let per_epoch = steps_per_epoch.max(1) as f64;
        let done = step as f64;
        let rising = match *self {
            Self::Constant { warmup }
            | Self::Step { warmup, .. }
            | Self::MultiStep { warmup, .. }
            | Self::Exponential { warmup, .. }
            | Self::Polynomial { warmup, .. }
            | Self::Cosine { warmup, .. }
            | Self::CosineRestarts { warmup, .. }
            | Self::FlatCos { warmup, .. }
            | Self::Plateau { warmup, .. } => warmup * per_epoch,
            Self::OneCycle { .. } | Self::Coslog4 { .. } => 0.0,
        };
        if done < rising {
            return (told * ((done + 1.0) / rising).min(1.0)) as f32;
        }
        // What a schedule counts begins after the rise.
        let done = done - rising;
        let share = |epochs: f64| (done / (epochs * per_epoch - rising).max(1.0)).min(1.0);
        let rate = match *self {
            Self::Constant { .. } | Self::Plateau { .. } => told,
            Self::Step { every, gamma, .. } => told * power(gamma, (done / (every * per_epoch)).floor()),
            Self::MultiStep { ref at, gamma, .. } => {
                let changes = at.iter().filter(|&&epoch| done >= epoch * per_epoch).count();
                told * power(gamma, changes as f64)
            }
            Self::Exponential { gamma, .. } => told * power(gamma, (done / per_epoch).floor()),
            Self::Polynomial { power: exponent, epochs, .. } => {
                let left = 1.0 - share(epochs);
                if left <= 0.0 { 0.0 } else { told * exp(exponent * log(left)) }
            }
            Self::Cosine { min, epochs, .. } => between(told, min, share(epochs)),
            Self::CosineRestarts { first, factor, min, .. } => {
                let (mut length, mut begun) = (first * per_epoch, 0.0);
                while begun + length <= done {
                    begun += length;
                    length *= factor;
                }
                between(told, min, (done - begun) / length)
            }
            Self::OneCycle { max, pct_start, div_factor, final_div_factor, anneal, three_phase, epochs } => {
                let max = if max == 0.0 { told } else { max };
                let (first, steps) = (max / div_factor, epochs * per_epoch);
                let end = steps - 1.0;
                let top = pct_start * steps - 1.0;
                let down = if three_phase { 2.0 * pct_start * steps - 2.0 } else { end };
                let last = first / final_div_factor;
                let part = |from: f64, to: f64| if to > from { ((done - from) / (to - from)).min(1.0) } else { 1.0 };
                if done <= top {
                    anneal.between(first, max, part(0.0, top))
                } else if done <= down || !three_phase {
                    anneal.between(max, if three_phase { first } else { last }, part(top, down))
                } else {
                    anneal.between(first, last, part(down, end))
                }
            }
            Self::Coslog4 { epochs } => {
                let waves = log(1.0 + 15.0 * share(epochs)) / std::f64::consts::LN_2;
                // The cosine of a whole wave is that of its half, up and down.
                let half = 2.0 * (waves - waves.floor());
                told * (0.5 - 0.5 * cosine(if half > 1.0 { 2.0 - half } else { half }))
            }
            Self::FlatCos { epochs, .. } => {
                let share = (step as f64 / (epochs * per_epoch)).min(1.0);
                if share <= 0.5 { told } else { between(told, 0.0, 2.0 * share - 1.0) }
            }
        };
        rate as f32
    }

    /// Checks that every parameter is in its range.
    pub fn validate(&self) -> Result<()> {
        let (form, values) = self.form();
        for (&(name, default), value) in form.parameters.iter().zip(&values) {
            // A list has several numbers, and a name is none.
            for value in value.split('/').filter_map(|value| value.parse::<f64>().ok()) {
                let (fits, range) = match name {
                    "every" | "first" | "div_factor" | "final_div_factor" | "at" => (value > 0.0, "above 0"),
                    "factor" if form.name == "plateau" => (value > 0.0 && value < 1.0, "between 0 and 1"),
                    "factor" => (value >= 1.0, "of 1 or more"),
                    "pct_start" => (value > 0.0 && value < 1.0, "between 0 and 1"),
                    "threshold" => ((0.0..1.0).contains(&value), "from 0 to below 1"),
                    _ => (value >= 0.0, "of 0 or more"),
                };
                if !(fits && value.is_finite()) {
                    let problem = format!("{name} {value} of {} is out of range", form.name);
                    return Err(Error::setting(
                        "schedule",
                        problem,
                        format!("give a number {range}, such as {default}"),
                    ));
                }
            }
        }
        match self {
            Self::MultiStep { at, .. } if !at.is_sorted_by(|a, b| a < b) => {
                let problem = "the epochs of multi-step do not ascend";
                Err(Error::setting("schedule", problem, "write each once, the first one first, as in at=30/60/80"))
            }
            Self::OneCycle { pct_start, three_phase: true, .. } if *pct_start > 0.5 => {
                let problem = format!("pct_start {pct_start} leaves no third phase");
                Err(Error::setting("schedule", problem, "give a number below 0.5, such as 0.3"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that it can change a factor, which is at most 1. `setting` is the name of the setting.
    pub(crate) fn check_factor(&self, setting: &str) -> Result<()> {
        let refuse = |problem: &str, remedy| Err(Error::setting(setting, format!("{self} {problem}"), remedy));
        match *self {
            Self::Plateau { .. } => {
                refuse("is for the learning rate only", "use a schedule of steps, such as flat-cos")
            }
            Self::OneCycle { max, .. } if max > 1.0 => refuse("rises above 1", "leave max out: it is a factor here"),
            Self::Step { gamma, .. } | Self::MultiStep { gamma, .. } | Self::Exponential { gamma, .. }
                if gamma > 1.0 =>
            {
                refuse("rises above 1", "give a gamma of 1 at most: it is the schedule of a factor")
            }
            Self::Cosine { min, .. } | Self::CosineRestarts { min, .. } if min > 1.0 => {
                refuse("rises above 1", "give a min below 1: it is a factor here")
            }
            _ => self.validate(),
        }
    }

    /// Checks that it can change the rates of this network's training.
    pub(crate) fn check(&self, spec: &Spec) -> Result<()> {
        match self {
            Self::Plateau { metric, .. } => metric.check("schedule", spec),
            _ => Ok(()),
        }
    }
}

/// How far [`Schedule::Plateau`] has lowered the rate. It follows from the epochs alone, so a checkpoint, which has them,
/// needs no more.
#[derive(Clone, Debug)]
pub(crate) struct Plateau {
    schedule: Schedule,
    /// The rate as it was told, and as it is now.
    rate: f64,
    best: Option<f64>,
    bad: u64,
    cooldown: u64,
}

impl Plateau {
    pub(crate) fn of(schedule: &Schedule, told: f32, epochs: &[Epoch]) -> Self {
        let mut plateau = Self { schedule: schedule.clone(), rate: f64::from(told), best: None, bad: 0, cooldown: 0 };
        for epoch in epochs {
            plateau.add(epoch);
        }
        plateau
    }

    /// The rate that the training is now told.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether the rate of an epoch depends on the results of the one before.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.schedule, Schedule::Plateau { .. })
    }

    /// Takes an epoch into account, in the order of operations of PyTorch's `ReduceLROnPlateau`.
    pub(crate) fn add(&mut self, epoch: &Epoch) {
        let Schedule::Plateau { metric, factor, patience, threshold, cooldown, min, .. } = self.schedule else {
            return;
        };
        let Some(value) = metric.of(epoch) else { return };
        let bar = |best: f64| best * if metric.falls() { 1.0 - threshold } else { 1.0 + threshold };
        if self.best.is_none_or(|best| metric.is_better(value, bar(best))) {
            (self.best, self.bad) = (Some(value), 0);
        } else {
            self.bad += 1;
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad = 0;
        }
        if self.bad > patience {
            // PyTorch leaves a rate alone that would change by less than 1e-8.
            let lower = (self.rate * factor).max(min);
            if self.rate - lower > 1e-8 {
                self.rate = lower;
            }
            (self.cooldown, self.bad) = (cooldown, 0);
        }
    }
}

impl Anneal {
    /// From one rate to another.
    fn between(self, from: f64, to: f64, share: f64) -> f64 {
        match self {
            Self::Cos => between(from, to, share),
            Self::Linear => from + (to - from) * share,
        }
    }
}

/// From one rate to another along half a cosine.
fn between(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (0.5 + 0.5 * cosine(share))
}

/// cos(π·x) for x from 0 to 1: sin(π·(½ − x)) by its series, whose first missing term is below 2⁻⁶⁰.
fn cosine(x: f64) -> f64 {
    let angle = std::f64::consts::PI * (0.5 - x);
    let square = angle * angle;
    // 1 − s/(2·3) · (1 − s/(4·5) · (1 − …)).
    let series = (1..=11).rev().fold(1.0, |sum, k| 1.0 - square / f64::from(2 * k * (2 * k + 1)) * sum);
    angle * series
}

fn exp(x: f64) -> f64 {
    crate::arithmetic::Number::exp(x)
}

fn log(x: f64) -> f64 {
    crate::arithmetic::Number::log(x)
}

/// `base^exponent` for a whole exponent.
fn power(base: f64, exponent: f64) -> f64 {
    crate::ops::power(base, exponent as u64)
}

text!(Schedule, "schedule");

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str, told: f32, steps: u64, per_epoch: usize) -> Vec<f32> {
        let schedule = text.parse::<Schedule>().unwrap().over(steps / per_epoch as u64);
        (0..steps).map(|step| schedule.rate(told, step, per_epoch)).collect()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the target's function is near enough to judge errors by")]
    fn the_cosine_is_one() {
        for i in 0..=1000 {
            let x = f64::from(i) / 1000.0;
            assert!((cosine(x) - (std::f64::consts::PI * x).cos()).abs() < 1e-15, "{x}");
        }
    }

    #[test]
    fn a_rise_comes_before_and_ends_at_the_rate() {
        let rates = rates("cosine:warmup=0.5", 0.4, 20, 4);
        assert_eq!(rates[..3], [0.2, 0.4, 0.4]);
        assert!(rates[2..].is_sorted_by(|a, b| a > b) && rates[19] < 0.01);
    }

    #[test]
    fn the_last_rate_stays() {
        for text in ["cosine:min=0.01,epochs=5", "polynomial:epochs=5", "one-cycle:epochs=5"] {
            let rates = rates(text, 0.1, 40, 4);
            assert!(rates[20..].iter().all(|&rate| rate == rates[20]), "{text}: {rates:?}");
        }
    }

    #[test]
    fn every_schedule_is_written_as_it_is_read() {
        for text in [
            "multi-step:at=30/60.5/80,gamma=0.2",
            "one-cycle:anneal=linear,three_phase=1",
            "plateau:metric=val_acc,patience=3",
            "flat-cos:epochs=3,warmup=1",
            "coslog4",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the target's functions are near enough to judge errors by")]
    fn the_schedules_of_realmlp_are_its_formulas() {
        use std::f64::consts::PI;
        let (waves, flat) = (rates("coslog4", 0.04, 200, 20), rates("flat-cos", 0.04, 200, 20));
        for step in 0..200 {
            let t = step as f64 / 200.0;
            let wave = 0.04 * (1.0 - (2.0 * PI * (1.0 + 15.0 * t).log2()).cos()) / 2.0;
            let stays = 0.04 * if t <= 0.5 { 1.0 } else { f64::midpoint(1.0, (PI * (2.0 * t - 1.0)).cos()) };
            assert!((f64::from(waves[step]) - wave).abs() < 1e-8, "coslog4, step {step}: {} for {wave}", waves[step]);
            assert!((f64::from(flat[step]) - stays).abs() < 1e-8, "flat-cos, step {step}: {} for {stays}", flat[step]);
        }
        assert!(waves[0] < 1e-12);
    }

    #[test]
    fn a_parameter_out_of_range_is_refused() {
        let says = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        assert!(says("step:every=0").contains("every 0 of step is out of range; give a number above 0, such as 30"));
        assert!(says("one-cycle:pct_start=1").contains("between 0 and 1"));
        assert!(says("cosine:warmup=-1").contains("warmup -1 of cosine is out of range"));
        assert!(says("cosin").contains("did you mean 'cosine'?"));
        assert!(says("multi-step:at=30/20").contains("do not ascend"));
        assert!(says("multi-step:at=3/x").contains("'x' is not a finite number; write multi-step:at=NUMBER/NUMBER/…"));
        assert!(says("multi-step:at=0/5").contains("at 0 of multi-step is out of range"));
        assert!(
            says("plateau:factor=1").contains("factor 1 of plateau is out of range; give a number between 0 and 1")
        );
        assert!(says("one-cycle:anneal=cosine").contains("write one-cycle:anneal=cos or linear"));
        assert!(says("one-cycle:pct_start=0.6,three_phase=true").contains("leaves no third phase"));
    }
}
