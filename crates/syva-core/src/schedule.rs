//! Schedules: the learning rate of each step.

use serde::{Deserialize, Serialize};

use crate::names::{forms, text};
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// A rise to the highest rate, then a long fall, both along cosines (`OneCycleLR`; Smith and Topin 2017).
    OneCycle {
        /// The highest rate; 0 stands for the learning rate.
        max: f64,
        /// The share of the steps that rise.
        pct_start: f64,
        /// The highest rate over the first one.
        div_factor: f64,
        /// The first rate over the last one.
        final_div_factor: f64,
        /// Its length.
        epochs: f64,
    },
}

forms! { Schedule,
    "constant" => Constant { warmup = 0.0 },
    "step" => Step { every = 30.0, gamma = 0.1, warmup = 0.0 },
    "exponential" => Exponential { gamma = 0.95, warmup = 0.0 },
    "polynomial" => Polynomial { power = 1.0, epochs = 0.0, warmup = 0.0 },
    "cosine" => Cosine { min = 0.0, epochs = 0.0, warmup = 0.0 },
    "cosine-restarts" => CosineRestarts { first = 10.0, factor = 1.0, min = 0.0, warmup = 0.0 },
    "one-cycle" => OneCycle { max = 0.0, pct_start = 0.3, div_factor = 25.0, final_div_factor = 1e4, epochs = 0.0 },
}

impl Schedule {
    /// The same rate in every step.
    pub const CONSTANT: Self = Self::Constant { warmup: 0.0 };

    /// The schedule of a training of so many epochs: a length that was left open becomes the training's. A training that
    /// is given more epochs later so keeps the rates of its first ones.
    #[must_use]
    pub fn over(mut self, training: u64) -> Self {
        if let Self::Polynomial { epochs, .. } | Self::Cosine { epochs, .. } | Self::OneCycle { epochs, .. } = &mut self
            && *epochs == 0.0
        {
            *epochs = training as f64;
        }
        self
    }

    /// The same schedule with an open length, if it is as long as this training.
    #[must_use]
    pub fn not_over(mut self, training: u64) -> Self {
        if let Self::Polynomial { epochs, .. } | Self::Cosine { epochs, .. } | Self::OneCycle { epochs, .. } = &mut self
            && *epochs == training as f64
        {
            *epochs = 0.0;
        }
        self
    }

    /// The learning rate of a step, which is counted from 0, given the rate that the training was told. Computed in f64
    /// from operations that give the same bits everywhere, and rounded once.
    #[must_use]
    pub fn rate(self, told: f32, step: u64, steps_per_epoch: usize) -> f32 {
        let (told, per_epoch) = (f64::from(told), steps_per_epoch.max(1) as f64);
        let done = step as f64;
        let rising = match self {
            Self::Constant { warmup }
            | Self::Step { warmup, .. }
            | Self::Exponential { warmup, .. }
            | Self::Polynomial { warmup, .. }
            | Self::Cosine { warmup, .. }
            | Self::CosineRestarts { warmup, .. } => warmup * per_epoch,
            Self::OneCycle { .. } => 0.0,
        };
        if done < rising {
            return (told * ((done + 1.0) / rising).min(1.0)) as f32;
        }
        // What a schedule counts begins after the rise.
        let done = done - rising;
        let share = |epochs: f64| (done / (epochs * per_epoch - rising).max(1.0)).min(1.0);
        let rate = match self {
            Self::Constant { .. } => told,
            Self::Step { every, gamma, .. } => told * power(gamma, (done / (every * per_epoch)).floor()),
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
            Self::OneCycle { max, pct_start, div_factor, final_div_factor, epochs } => {
                let max = if max == 0.0 { told } else { max };
                let (first, steps) = (max / div_factor, epochs * per_epoch);
                let (top, last) = (pct_start * steps - 1.0, steps - 1.0);
                if done <= top {
                    between(first, max, if top > 0.0 { done / top } else { 1.0 })
                } else {
                    between(max, first / final_div_factor, ((done - top) / (last - top)).min(1.0))
                }
            }
        };
        rate as f32
    }

    /// Checks that every parameter is in its range.
    pub fn validate(self) -> Result<()> {
        let (form, values) = self.form();
        for (&(name, default), &value) in form.parameters.iter().zip(&values) {
            let (fits, range) = match name {
                "every" | "first" | "div_factor" | "final_div_factor" => (value > 0.0, "above 0"),
                "factor" => (value >= 1.0, "of 1 or more"),
                "pct_start" => (value > 0.0 && value < 1.0, "between 0 and 1"),
                _ => (value >= 0.0, "of 0 or more"),
            };
            if !(fits && value.is_finite()) {
                let problem = format!("{name} {value} of {} is out of range", form.name);
                return Err(Error::setting("schedule", problem, format!("give a number {range}, such as {default}")));
            }
        }
        Ok(())
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
    fn a_parameter_out_of_range_is_refused() {
        let says = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        assert!(says("step:every=0").contains("every 0 of step is out of range; give a number above 0, such as 30"));
        assert!(says("one-cycle:pct_start=1").contains("between 0 and 1"));
        assert!(says("cosine:warmup=-1").contains("warmup -1 of cosine is out of range"));
        assert!(says("cosin").contains("did you mean 'cosine'?"));
    }
}
