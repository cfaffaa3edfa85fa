//! Passes over gradients, weights and activations that hold them back (rule 9), element by element.

use syva_core::arithmetic::Real;
use syva_core::ops::{Dropout, Muon, Noise, averaged, clipped, dropped, penalised};

/// A pass over some values, element by element. Columns are those of a panel.
pub enum Regularise<'a> {
    /// Adds the penalties to gradients.
    Penalise {
        /// The gradients.
        gradient: &'a mut [f32],
        /// The weights.
        weight: &'a [f32],
        /// The factor of the weight's sign.
        l1: f32,
        /// The factor of the weight.
        l2: f32,
    },
    /// Holds values to [−bound, bound].
    Clip(&'a mut [f32], f32),
    /// Multiplies values.
    Scale(&'a mut [f32], f32),
    /// Multiplies the values of each column by a factor of its own.
    ScaleColumns(&'a mut [f32], &'a [f32]),
    /// Adds the squares of each column to its sum, one row after the other.
    Squares(&'a [f32], &'a mut [f32]),
    /// Moves averages towards the values by a share of the distance.
    Average(&'a mut [f32], &'a [f32], f32),
    /// Renews Muon's momentum, and makes its directions of gradients.
    Direct {
        /// The momentum's share, and whether it looks ahead.
        muon: Muon,
        /// The gradients.
        gradient: &'a mut [f32],
        /// The momentum.
        buffer: &'a mut [f32],
    },
    /// Makes bA + cA² of A² and A.
    Combine(&'a mut [f32], &'a [f32]),
    /// Makes the next Y of Y(bA + cA²) and Y.
    Advance(&'a mut [f32], &'a [f32]),
    /// Multiplies values by the factors of dropout.
    Drop(&'a mut [f32], &'a [f32]),
    /// Shifts the scaled inputs of some features, and adds noise to them.
    Disturb {
        /// The inputs of some rows of a panel.
        inputs: &'a mut [f32],
        /// The shifts of the panel's features.
        shift: &'a [f32],
        /// The noise, if there is any.
        noise: Option<Noise>,
        /// The first row of the batch.
        row: usize,
        /// The first feature: a multiple of 4.
        feature: usize,
        /// Columns per row: a multiple of 4.
        width: usize,
    },
    /// The factors of dropout.
    Factors {
        /// The step's dropout.
        dropout: Dropout,
        /// The layer.
        layer: usize,
        /// The first row of the batch.
        row: usize,
        /// The first unit.
        unit: usize,
        /// Columns per row: a multiple of 4.
        width: usize,
        /// The factors of some rows.
        factors: &'a mut [f32],
    },
}

#[inline(always)]
pub(super) fn regularise<T: Real + From<f32> + Into<f32>>(pass: Regularise<'_>) {
    match pass {
        Regularise::Penalise { gradient, weight, l1, l2 } => {
            let (l1, l2) = (T::from(l1), T::from(l2));
            for (g, &w) in gradient.iter_mut().zip(weight) {
                *g = penalised(T::from(*g), T::from(w), l1, l2).into();
            }
        }
        Regularise::Clip(values, bound) => {
            let bound = T::from(bound);
            for value in values {
                *value = clipped(T::from(*value), bound).into();
            }
        }
        Regularise::Scale(values, factor) => {
            for value in values {
                *value *= factor;
            }
        }
        Regularise::ScaleColumns(values, factors) => {
            for row in values.chunks_exact_mut(factors.len()) {
                for (value, factor) in row.iter_mut().zip(factors) {
                    *value *= factor;
                }
            }
        }
        Regularise::Squares(values, sums) => {
            for row in values.chunks_exact(sums.len()) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    let value = T::from(value);
                    *sum = value.fma(value, T::from(*sum)).into();
                }
            }
        }
        Regularise::Average(averages, values, share) => {
            let share = T::from(share);
            for (average, &value) in averages.iter_mut().zip(values) {
                *average = averaged(T::from(*average), T::from(value), share).into();
            }
        }
        Regularise::Direct { muon, gradient, buffer } => {
            let momentum = T::from(muon.momentum);
            for (g, buffer) in gradient.iter_mut().zip(buffer) {
                let (new, direction) = Muon::direct(muon.nesterov, momentum, T::from(*g), T::from(*buffer));
                (*buffer, *g) = (new.into(), direction.into());
            }
        }
        Regularise::Combine(squares, a) => {
            for (square, &a) in squares.iter_mut().zip(a) {
                *square = Muon::combine(T::from(a), T::from(*square)).into();
            }
        }
        Regularise::Advance(products, y) => {
            for (product, &y) in products.iter_mut().zip(y) {
                *product = Muon::advance(T::from(y), T::from(*product)).into();
            }
        }
        Regularise::Drop(values, factors) => {
            for (value, &factor) in values.iter_mut().zip(factors) {
                *value = dropped(T::from(*value), T::from(factor)).into();
            }
        }
        Regularise::Disturb { inputs, shift, noise, row, feature, width } => {
            for (row, inputs) in (row..).zip(inputs.chunks_exact_mut(width)) {
                for (value, shift) in inputs.iter_mut().zip(shift) {
                    *value += shift;
                }
                let Some(noise) = noise else { continue };
                // Beyond the last feature there are only columns of zeros, which no product reads.
                for (block, values) in (feature / 4..).zip(inputs[..shift.len()].chunks_mut(4)) {
                    let noise = noise.block(row, block);
                    values.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
                }
            }
        }
        Regularise::Factors { dropout, layer, row, unit, width, factors } => {
            fill(dropout, layer, (row, unit), width, factors);
        }
    }
}

/// The factors of dropout for some rows of a panel. Philox runs on as many counters at a time as a register has room for.
///
/// Each of a counter's words is the lower half of 64 bits. So the upper half of a product is one shift away, and what is
/// left in the upper halves of other words changes nothing.
#[inline(always)]
fn fill(dropout: Dropout, layer: usize, (row, unit): (usize, usize), width: usize, factors: &mut [f32]) {
    const LOWER: u64 = u32::MAX as u64;
    assert!(width.is_power_of_two() && width >= 4, "panels are 16 or 32 columns wide");
    let (key, start) = dropout.start(layer, row);
    let (first, per_row) = (unit as u64 / 4, (width / 4).trailing_zeros());
    let [_, start_row, c2, c3] = start.map(u64::from);
    for (block, factors) in (0..).zip(factors.as_chunks_mut::<4>().0) {
        let row: u64 = block >> per_row;
        let (mut c0, mut c1, mut c2, mut c3) = (first + (block - (row << per_row)), start_row + row, c2, c3);
        let [mut k0, mut k1] = key;
        for _ in 0..10 {
            let (p0, p1) = ((c0 & LOWER) * 0xD251_1F53, (c2 & LOWER) * 0xCD9E_8D57);
            (c0, c1, c2, c3) = (p1 >> 32 ^ c1 ^ u64::from(k0), p1, p0 >> 32 ^ c3 ^ u64::from(k1), p0);
            k0 = k0.wrapping_add(0x9E37_79B9);
            k1 = k1.wrapping_add(0xBB67_AE85);
        }
        *factors = [c0, c1, c2, c3].map(|word| if (word as u32) < dropout.threshold { 0.0 } else { dropout.scale });
    }
}
