//! Measures how close an engine is to the reference, if it does not claim to be equal to it.

use super::Case;
use crate::data::Split;
use crate::engine::{DeviceId, Engine, Evaluation, Precision, Span};
use crate::random::permutation;
use crate::reference::Reference;
use crate::state::State;
use crate::{Error, Result};

/// The distance of an engine from the reference, if it is not exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// The largest difference of a weight or bias, in last places of the largest number in its matrix or vector. (A
    /// number near 0 is the difference of larger numbers, and has no smaller error than they have.)
    pub ulp: f64,
    /// The largest difference of a weight or bias, as a share of the largest change that training made in its matrix or
    /// vector.
    pub share: f64,
    /// The number of steps that were taken.
    pub steps: usize,
}

/// The largest [`Deviation::ulp`] that rounding can explain: 2⁻¹² of the largest number. More is a defect.
pub const CLOSE: f64 = 4096.0;

/// The largest [`Deviation::share`] that rounding can explain, for an engine that rounds factors to a [`Precision`]:
/// eight times the precision's roundoff (tf32: 2⁻⁸, bf16: 2⁻⁵). Rounding changes a gradient by a share of the gradient,
/// and so it changes what training does by a share of that, whatever the weights are.
#[must_use]
pub fn close_share(precision: Precision) -> f64 {
    8.0 * precision.roundoff()
}

/// The bound in place of [`CLOSE`] for cases that are not [`smooth`]: 2⁻⁵ of the largest number.
const CLOSE_WITH_KINKS: f64 = 524_288.0;

/// The bound in place of [`close_share`] for cases that are not [`smooth`]: the distance of a network that is not
/// trained.
const CLOSE_SHARE_WITH_KINKS: f64 = 1.0;

/// Whether a case's gradient is continuous. With ReLU it is not: whether a sum comes out just above or just below 0
/// decides whether a sample contributes to the gradient. So two engines that are both right may differ by much more
/// than rounding. The same is true of every activation whose slope jumps.
#[must_use]
pub fn smooth(case: &Case) -> bool {
    case.spec.layers.iter().all(|layer| layer.activation.is_smooth())
}

/// The number of passes over a case's training data in [`measure`].
const ROUNDS: u64 = 4;

/// Runs a case on a device that only claims to be close, and on the reference: about a dozen steps, then an evaluation.
/// The device rounds factors to `precision`.
///
/// `Err` names the weight, bias or loss that is not close, either because it is not finite or because it is too far
/// off. In f32 the bound is [`CLOSE`], or 2⁻⁵ of the largest number if the case is not [`smooth`]. In another precision
/// the bound is [`close_share`], or, if the case is not smooth, the distance of a network that was not trained.
pub fn measure(
    engine: &dyn Engine,
    device: &DeviceId,
    case: &Case,
    precision: Precision,
) -> std::result::Result<Deviation, String> {
    let fail = |error: Error| format!("{}: {error}", case.name);
    let initial = State::initial(&case.spec, &case.training).map_err(fail)?;
    let train = |engine: &dyn Engine| -> Result<(State, Evaluation)> {
        let mut session = engine.open(device, &case.spec, &case.training)?;
        session.load(Split::Train, &case.train)?;
        session.load(Split::Validation, &case.validation)?;
        session.set_state(&initial)?;
        let mut first_step = 0;
        for round in 0..ROUNDS {
            let order = permutation(case.training.seed, round, case.train.samples());
            let learning_rate = vec![0.05; order.len().div_ceil(case.training.batch_size)];
            let span = Span {
                first_step,
                order: &order,
                batch_size: case.training.batch_size,
                learning_rate: &learning_rate,
                ..Span::default()
            };
            session.train(&span)?;
            first_step += span.steps() as u64;
        }
        Ok((session.state()?, session.evaluate(Split::Validation)?))
    };
    let (wanted, wanted_evaluation) = train(&Reference).map_err(fail)?;
    let (found, found_evaluation) = train(engine).map_err(fail)?;
    if wanted.step != found.step {
        return Err(format!("{}: at step {} instead of {}", case.name, found.step, wanted.step));
    }
    let mut deviation = Deviation { ulp: 0.0, share: 0.0, steps: wanted.step as usize };
    for (l, ((w, f), i)) in wanted.layers.iter().zip(&found.layers).zip(&initial.layers).enumerate() {
        let weights = (w.weight.values(), f.weight.values(), i.weight.values());
        for (what, (wanted, found, initial)) in [("weight", weights), ("bias", (&w.bias, &f.bias, &i.bias))] {
            let this = apart(wanted, found, initial);
            let close = match precision {
                Precision::F32 => this.ulp <= if smooth(case) { CLOSE } else { CLOSE_WITH_KINKS },
                _ if smooth(case) => this.share <= close_share(precision),
                _ => this.share < CLOSE_SHARE_WITH_KINKS,
            };
            if !close {
                let (ulp, share) = (this.ulp, 100.0 * this.share);
                return Err(format!(
                    "{}: layer {l} {what} is {ulp:.0} last places away, {share:.3} % of what training changed",
                    case.name
                ));
            }
            (deviation.ulp, deviation.share) = (deviation.ulp.max(this.ulp), deviation.share.max(this.share));
        }
    }
    let (w, f) = (wanted_evaluation.loss, found_evaluation.loss);
    let (apart, allowed) = ((w - f).abs(), f64::max(1e-3, 4.0 * precision.roundoff()));
    if apart.is_nan() || apart > allowed * (1.0 + w.abs()) {
        return Err(format!("{}: the validation loss is {f} instead of {w}", case.name));
    }
    Ok(deviation)
}

/// The distance of a matrix's numbers from the expected ones, after a training that began with `initial`. NaN if any of
/// the numbers is NaN.
pub(super) fn apart(wanted: &[f32], found: &[f32], initial: &[f32]) -> Deviation {
    let difference = largest_difference(wanted, found);
    let largest = wanted.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let place = f64::from(largest.next_up()) - f64::from(largest);
    let share = if difference == 0.0 { 0.0 } else { difference / largest_difference(wanted, initial) };
    Deviation { ulp: difference / place, share, steps: 0 }
}

/// The largest difference of two numbers at the same place. NaN if any of the numbers is NaN.
fn largest_difference(wanted: &[f32], found: &[f32]) -> f64 {
    let pairs = wanted.iter().zip(found).map(|(w, f)| (f64::from(*w) - f64::from(*f)).abs());
    if wanted.len() == found.len() {
        pairs.fold(0.0, |worst, this| if worst.is_nan() || this <= worst { worst } else { this })
    } else {
        f64::NAN
    }
}
