//! Losses, predictions, and the gradient of the batch's mean loss by the outputs (rules 6 and 7), for some samples at a
//! time.

use std::marker::PhantomData;

use syva_core::Head;
use syva_core::arithmetic::Real;
use syva_core::ops::{
    Distance, Judging, SpecialisedDistance, add_gaussian, gaussian_mean_slope, gaussian_variance_slope, labels_guess,
};

use crate::buffer::HALF;

/// Samples whose losses are computed together, and which pass through the caches together.
pub(crate) const JUDGED: usize = 64;

/// The samples whose losses are computed.
pub(crate) struct LossRows<'a> {
    pub(crate) judging: Judging,
    pub(crate) head: Head,
    /// Outputs per sample.
    pub(crate) outputs: usize,
    pub(crate) factors: Factors<'a>,
    /// The outputs, `[samples, stride]`, where stride is `outputs` rounded up to 16. They are replaced by d.
    pub(crate) z: &'a mut [f32],
    /// The targets of each sample.
    pub(crate) targets: RowTargets<'a>,
    /// Receives the loss of each sample.
    pub(crate) losses: &'a mut [f32],
    /// Receives the guess of each sample. Not used if the head has none.
    pub(crate) guesses: &'a mut [u32],
}

/// The factor M of rule 7, which makes the gradient that of the mean loss.
#[derive(Clone, Copy)]
pub(crate) enum Factors<'a> {
    /// The same for all samples.
    Even(f32),
    /// One per sample.
    Each(&'a [f32]),
}

/// The targets of the samples.
pub(crate) enum RowTargets<'a> {
    Labels(&'a [u32]),
    /// `[samples, targets]`
    Values(&'a [f32]),
}

/// The distance from one sample's outputs to the next sample's, in values.
pub(crate) fn stride(outputs: usize) -> usize {
    outputs.next_multiple_of(HALF)
}

#[inline(always)]
pub(crate) fn judge_rows<T: Real + From<f32> + Into<f32>>(rows: &mut LossRows<'_>) {
    guess_rows(rows);
    match rows.factors {
        Factors::Even(factor) => judge_with::<T>(rows, |_| factor),
        Factors::Each(factors) => judge_with::<T>(rows, |i| factors[i]),
    }
}

/// The guesses of heads with labels. Those of classes are found on the way.
#[inline(always)]
fn guess_rows(rows: &mut LossRows<'_>) {
    let (outputs, stride) = (rows.outputs, stride(rows.outputs));
    match (rows.head, &rows.targets) {
        (Head::Binary, _) => {
            for (z, guess) in rows.z.chunks_exact(stride).zip(rows.guesses.iter_mut()) {
                *guess = u32::from(z[0] > 0.0);
            }
        }
        (Head::MultiLabel, RowTargets::Values(targets)) => {
            let samples = rows.z.chunks_exact(stride).zip(targets.chunks_exact(outputs));
            for ((z, t), guess) in samples.zip(rows.guesses.iter_mut()) {
                let count = |label: f32| z.iter().zip(t).filter(|&(&z, &t)| z > 0.0 && t == label).count() as u32;
                *guess = labels_guess(count(1.0), count(0.0));
            }
        }
        (Head::MultiLabel | Head::Regression | Head::Poisson | Head::Gaussian | Head::Logits | Head::LogSoftmax, _) => {
        }
    }
}

/// Losses and gradients, with the factor of each row.
#[inline(always)]
fn judge_with<T: Real + From<f32> + Into<f32>>(rows: &mut LossRows<'_>, factor: impl Fn(usize) -> f32) {
    match rows.judging {
        Judging::Each(distance, p) => {
            distance.specialise(EachRows::<T, _> { rows, p: p as f32, factor, real: PhantomData });
        }
        Judging::Gaussian => gaussian_rows::<T>(rows, factor),
        Judging::Classes { smoothing: 0.0 } => class_rows::<T>(rows, factor),
        Judging::Classes { .. } => {
            let [on, off] = rows.judging.parameters(rows.outputs).map(|parameter| parameter as f32);
            smoothed_rows::<T>(rows, (on, off), factor);
        }
    }
}

/// The loop over outputs, each with a target: a value, or the label of a sample with one output.
struct EachRows<'a, 'b, T, F> {
    rows: &'a mut LossRows<'b>,
    p: f32,
    factor: F,
    real: PhantomData<T>,
}

impl<T: Real + From<f32> + Into<f32>, F: Fn(usize) -> f32> SpecialisedDistance for EachRows<'_, '_, T, F> {
    #[inline(always)]
    fn run(self, distance: Distance) {
        let Self { rows, p, factor, .. } = self;
        let (p, outputs) = (T::from(p), rows.outputs);
        let one = |z: &mut f32, t: f32, sum: &mut f32, factor: f32| {
            let (value, t) = (T::from(*z), T::from(t));
            *sum = distance.add(T::from(*sum), value, t, p).into();
            let slope: f32 = distance.slope(value, t, p).into();
            *z = slope * factor;
        };
        let samples = rows.z.chunks_exact_mut(stride(outputs)).zip(rows.losses.iter_mut()).enumerate();
        match rows.targets {
            RowTargets::Values(targets) => {
                for ((i, (z, loss)), t) in samples.zip(targets.chunks_exact(outputs)) {
                    let (mut sum, factor) = (0.0, factor(i));
                    z.iter_mut().zip(t).for_each(|(z, &t)| one(z, t, &mut sum, factor));
                    *loss = sum / outputs as f32;
                }
            }
            RowTargets::Labels(labels) => {
                for ((i, (z, loss)), &label) in samples.zip(labels) {
                    *loss = 0.0;
                    one(&mut z[0], label as f32, loss, factor(i));
                }
            }
        }
    }
}

/// The likelihood of each target by the normal distribution of a pair of outputs.
#[inline(always)]
fn gaussian_rows<T: Real + From<f32> + Into<f32>>(rows: &mut LossRows<'_>, factor: impl Fn(usize) -> f32) {
    let RowTargets::Values(targets) = rows.targets else { return };
    let (outputs, of) = (rows.outputs, T::from);
    let samples = rows.z.chunks_exact_mut(stride(outputs)).zip(targets.chunks_exact(outputs / 2));
    for (i, ((z, t), loss)) in samples.zip(rows.losses.iter_mut()).enumerate() {
        let (mut sum, factor) = (0.0_f32, factor(i));
        for (pair, &t) in z.as_chunks_mut::<2>().0.iter_mut().zip(t) {
            let [m, z] = pair.map(of);
            sum = add_gaussian(of(sum), m, z, of(t)).into();
            let slopes: [f32; 2] =
                [gaussian_mean_slope(m, z, of(t)), gaussian_variance_slope(m, z, of(t))].map(T::into);
            *pair = slopes.map(|slope| slope * factor);
        }
        *loss = sum / (outputs / 2) as f32;
    }
}

/// Cross-entropy of a class.
#[inline(always)]
fn class_rows<T: Real + From<f32> + Into<f32>>(rows: &mut LossRows<'_>, factor: impl Fn(usize) -> f32) {
    let RowTargets::Labels(labels) = rows.targets else { return };
    let (outputs, stride) = (rows.outputs, stride(rows.outputs));
    // These keep what the losses still need, so that one loop can compute all logarithms.
    let mut sums = [0.0_f32; JUDGED];
    let mut rests = [0.0_f32; JUDGED];
    for (i, z) in rows.z.chunks_exact_mut(stride).enumerate() {
        let (label, mean) = (labels[i] as usize, factor(i));
        let (max, argmax) = largest(&z[..outputs]);
        rests[i] = z[label] - max;
        let sum = exponentials::<T>(z, max, outputs);
        let at_label = (z[label] / sum - 1.0) * mean;
        for chunk in z.as_chunks_mut::<HALF>().0 {
            for z in chunk {
                *z = *z / sum * mean;
            }
        }
        z[label] = at_label;
        sums[i] = sum;
        rows.guesses[i] = argmax as u32;
    }
    class_losses::<T>(rows.losses, &sums, &rests);
}

/// Cross-entropy of a smoothed class.
#[inline(always)]
fn smoothed_rows<T: Real + From<f32> + Into<f32>>(
    rows: &mut LossRows<'_>,
    (on, off): (f32, f32),
    factor: impl Fn(usize) -> f32,
) {
    let RowTargets::Labels(labels) = rows.targets else { return };
    let (outputs, stride, of) = (rows.outputs, stride(rows.outputs), T::from);
    let mut sums = [0.0_f32; JUDGED];
    let mut rests = [0.0_f32; JUDGED];
    for (i, z) in rows.z.chunks_exact_mut(stride).enumerate() {
        let (label, mean) = (labels[i] as usize, factor(i));
        let (max, argmax) = largest(&z[..outputs]);
        let rest = z[..outputs].iter().fold(0.0_f32, |rest, &z| rest + (z - max));
        rests[i] = of(on).fma(of(z[label] - max), of(off * rest)).into();
        let sum = exponentials::<T>(z, max, outputs);
        let at_label = (z[label] / sum - (on + off)) * mean;
        for chunk in z.as_chunks_mut::<HALF>().0 {
            for z in chunk {
                *z = (*z / sum - off) * mean;
            }
        }
        z[label] = at_label;
        sums[i] = sum;
        rows.guesses[i] = argmax as u32;
    }
    class_losses::<T>(rows.losses, &sums, &rests);
}

/// The first largest value and its place.
#[inline(always)]
fn largest(z: &[f32]) -> (f32, usize) {
    let (mut max, mut argmax) = (z[0], 0);
    for (j, &z) in z.iter().enumerate().skip(1) {
        if z > max {
            (max, argmax) = (z, j);
        }
    }
    (max, argmax)
}

/// Replaces each z by e^(z − max), and returns the sum over the outputs.
#[inline(always)]
fn exponentials<T: Real + From<f32> + Into<f32>>(z: &mut [f32], max: f32, outputs: usize) -> f32 {
    // Sixteen at a time. The values in the padding do not matter.
    for chunk in z.as_chunks_mut::<HALF>().0 {
        for z in chunk {
            *z = T::from(*z - max).exp().into();
        }
    }
    let mut sum = 0.0;
    for &e in &z[..outputs] {
        sum += e;
    }
    sum
}

/// ln(sum) − rest of each sample.
#[inline(always)]
fn class_losses<T: Real + From<f32> + Into<f32>>(losses: &mut [f32], sums: &[f32], rests: &[f32]) {
    for (loss, (&sum, &rest)) in losses.iter_mut().zip(sums.iter().zip(rests)) {
        let log: f32 = T::from(sum).log().into();
        *loss = log - rest;
    }
}
