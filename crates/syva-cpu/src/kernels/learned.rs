//! Passes over activations with a learned gain per unit, element by element.

use syva_core::arithmetic::Real;
use syva_core::ops::Learned;

/// A pass over some rows of a panel, as wide as there are gains.
pub enum Learn<'a> {
    /// Makes the activations.
    Forward {
        /// What is learned.
        learned: Learned,
        /// The gains of the columns.
        gains: &'a [f32],
        /// The pre-activations.
        z: &'a [f32],
        /// f(z), which become the activations.
        h: &'a mut [f32],
    },
    /// Makes the gradients by z, and the terms of those by the gains.
    Backward {
        /// What is learned.
        learned: Learned,
        /// The gains of the columns.
        gains: &'a [f32],
        /// The pre-activations.
        z: &'a [f32],
        /// f(z), which become the terms.
        terms: &'a mut [f32],
        /// f'(z) times the gradients by the activations.
        df: &'a [f32],
        /// The gradients by the activations, which become those by z.
        gradient: &'a mut [f32],
    },
}

#[inline(always)]
pub(super) fn learn<T: Real + From<f32> + Into<f32>>(pass: Learn<'_>) {
    match pass {
        Learn::Forward { learned: Learned::Slope, gains, z, h } => forward::<T>(Learned::Slope, gains, z, h),
        Learn::Forward { learned, gains, z, h } => forward::<T>(learned, gains, z, h),
        Learn::Backward { learned: Learned::Slope, gains, z, terms, df, gradient } => {
            backward::<T>(Learned::Slope, gains, (z, terms), (df, gradient));
        }
        Learn::Backward { learned, gains, z, terms, df, gradient } => {
            backward::<T>(learned, gains, (z, terms), (df, gradient));
        }
    }
}

#[inline(always)]
fn forward<T: Real + From<f32> + Into<f32>>(learned: Learned, gains: &[f32], z: &[f32], h: &mut [f32]) {
    let width = gains.len();
    for (z, h) in z.chunks_exact(width).zip(h.chunks_exact_mut(width)) {
        for ((&z, h), &gain) in z.iter().zip(h).zip(gains) {
            *h = learned.forward(T::from(z), T::from(*h), T::from(gain)).into();
        }
    }
}

#[inline(always)]
fn backward<T: Real + From<f32> + Into<f32>>(
    learned: Learned,
    gains: &[f32],
    (z, terms): (&[f32], &mut [f32]),
    (df, gradient): (&[f32], &mut [f32]),
) {
    let width = gains.len();
    let rows = z.chunks_exact(width).zip(terms.chunks_exact_mut(width));
    for ((z, terms), (df, gradient)) in rows.zip(df.chunks_exact(width).zip(gradient.chunks_exact_mut(width))) {
        for (j, &gain) in gains.iter().enumerate() {
            let (f, dh) = (T::from(terms[j]), T::from(gradient[j]));
            let (by_z, by_gain) = learned.backward((T::from(z[j]), f), (dh, T::from(df[j])), T::from(gain));
            (gradient[j], terms[j]) = (by_z.into(), by_gain.into());
        }
    }
}
