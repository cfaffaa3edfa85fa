//! Passes over embedded inputs (rule 11): periodic or piecewise linear functions of numbers, and the sums over a batch that their gradients are.

use syva_core::Wave;
use syva_core::arithmetic::Real;

/// Samples that a pass takes at a time, at most.
pub const ROWS: usize = 64;
/// Functions that are summed at a time.
const LANES: usize = 16;

/// How a number is embedded, and what is learned of it: m frequencies w and phases b, or slopes w and places b, weights `[m, p]` and biases `[p]` of p outputs.
#[derive(Clone, Copy)]
pub struct Number<'a> {
    /// The function.
    pub wave: Wave,
    /// The frequencies or slopes.
    pub w: &'a [f32],
    /// The phases or places.
    pub b: &'a [f32],
    /// The weights.
    pub mix: &'a [f32],
    /// The biases.
    pub offset: &'a [f32],
}

/// The same values of the gradient.
pub struct NumberGradient<'a> {
    /// By the frequencies or slopes.
    pub w: &'a mut [f32],
    /// By the phases or places.
    pub b: &'a mut [f32],
    /// By the weights, `[p, m]`.
    pub mix: &'a mut [f32],
    /// By the biases.
    pub offset: &'a mut [f32],
}

/// A pass over some samples.
pub enum Embed<'a> {
    /// The outputs of a number.
    Forward {
        /// What is learned of it.
        number: Number<'a>,
        /// The normalised number of each sample, at most [`ROWS`].
        x: &'a [f32],
        /// The outputs, `[p, samples]`.
        to: &'a mut [f32],
    },
    /// Adds the samples' terms to the gradients, one sample after the other.
    Backward {
        /// What is learned of it.
        number: Number<'a>,
        /// The normalised number of each sample.
        x: &'a [f32],
        /// The gradients by the outputs, `[samples, p]`.
        d: &'a [f32],
        /// The sums.
        to: NumberGradient<'a>,
    },
    /// Adds `a · b` to each column's sum, one row after the other.
    Products {
        /// Values `[rows, columns]`.
        a: &'a [f32],
        /// Values `[rows, columns]`.
        b: &'a [f32],
        /// The sums.
        to: &'a mut [f32],
    },
}

#[inline(always)]
pub(super) fn embed<T: Real + From<f32> + Into<f32>>(pass: Embed<'_>) {
    match pass {
        // A loop for each function.
        Embed::Forward { number, x, to } => match number.wave {
            Wave::Cosine => forward::<T>(Wave::Cosine, number, x, to),
            Wave::Ramp => forward::<T>(Wave::Ramp, number, x, to),
        },
        Embed::Backward { number, x, d, to } => match number.wave {
            Wave::Cosine => backward::<T>(Wave::Cosine, number, x, d, to),
            Wave::Ramp => backward::<T>(Wave::Ramp, number, x, d, to),
        },
        Embed::Products { a, b, to } => {
            let columns = to.len();
            for (a, b) in a.chunks_exact(columns).zip(b.chunks_exact(columns)) {
                for ((sum, &a), &b) in to.iter_mut().zip(a).zip(b) {
                    *sum = T::from(a).fma(T::from(b), T::from(*sum)).into();
                }
            }
        }
    }
}

#[inline(always)]
fn forward<T: Real + From<f32> + Into<f32>>(wave: Wave, number: Number<'_>, x: &[f32], to: &mut [f32]) {
    let (rows, outputs) = (x.len(), number.offset.len());
    assert!(rows <= ROWS && to.len() == rows * outputs, "there is room");
    for (to, &offset) in to.chunks_exact_mut(rows).zip(number.offset) {
        to.fill(offset);
    }
    let mut found = [0.0; ROWS];
    for (i, (&w, &b)) in number.w.iter().zip(number.b).enumerate() {
        for (found, &x) in found.iter_mut().zip(x) {
            *found = wave.of(T::from(x), T::from(w), T::from(b)).0.into();
        }
        for (to, &mix) in to.chunks_exact_mut(rows).zip(&number.mix[i * outputs..][..outputs]) {
            for (sum, &found) in to.iter_mut().zip(&found) {
                *sum = T::from(found).fma(T::from(mix), T::from(*sum)).into();
            }
        }
    }
}

#[inline(always)]
fn backward<T: Real + From<f32> + Into<f32>>(
    wave: Wave,
    number: Number<'_>,
    x: &[f32],
    d: &[f32],
    to: NumberGradient<'_>,
) {
    let (functions, outputs) = (number.w.len(), number.offset.len());
    let NumberGradient { w: by_w, b: by_b, mix: by_mix, offset: by_offset } = to;
    for first in (0..functions).step_by(LANES) {
        let count = LANES.min(functions - first);
        let (mut w, mut b) = ([0.0; LANES], [0.0; LANES]);
        w[..count].copy_from_slice(&number.w[first..first + count]);
        b[..count].copy_from_slice(&number.b[first..first + count]);
        let (mut sums_w, mut sums_b) = ([0.0; LANES], [0.0; LANES]);
        sums_w[..count].copy_from_slice(&by_w[first..first + count]);
        sums_b[..count].copy_from_slice(&by_b[first..first + count]);
        // The weights of each output.
        let mut mix = vec![[0.0; LANES]; outputs];
        let mut sums_mix = vec![[0.0; LANES]; outputs];
        for o in 0..outputs {
            for (i, mix) in mix[o][..count].iter_mut().enumerate() {
                *mix = number.mix[(first + i) * outputs + o];
            }
            sums_mix[o][..count].copy_from_slice(&by_mix[o * functions + first..][..count]);
        }
        for (&x, d) in x.iter().zip(d.chunks_exact(outputs)) {
            let x = T::from(x);
            let by_w = wave.by_w(x);
            let (mut found, mut slope, mut by_found) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for i in 0..LANES {
                let (value, derivative) = wave.of(x, T::from(w[i]), T::from(b[i]));
                (found[i], slope[i]) = (value.into(), derivative.into());
            }
            for ((mix, sums), &d) in mix.iter().zip(&mut sums_mix).zip(d) {
                for i in 0..LANES {
                    by_found[i] = T::from(mix[i]).fma(T::from(d), T::from(by_found[i])).into();
                    sums[i] = T::from(found[i]).fma(T::from(d), T::from(sums[i])).into();
                }
            }
            for i in 0..LANES {
                let by_angle = T::from(slope[i]) * T::from(by_found[i]);
                sums_w[i] = by_angle.fma(by_w, T::from(sums_w[i])).into();
                sums_b[i] = (T::from(sums_b[i]) + by_angle).into();
            }
        }
        by_w[first..first + count].copy_from_slice(&sums_w[..count]);
        by_b[first..first + count].copy_from_slice(&sums_b[..count]);
        for (o, sums) in sums_mix.iter().enumerate() {
            by_mix[o * functions + first..][..count].copy_from_slice(&sums[..count]);
        }
    }
    for d in d.chunks_exact(outputs) {
        for (sum, &d) in by_offset.iter_mut().zip(d) {
            *sum += d;
        }
    }
}
