//! Element-wise passes, and the transpose of a block.

use syva_core::arithmetic::{Real, SoftmaxRow};
use syva_core::reference::{activate, derive};
use syva_core::{Activation, Head};

use crate::vector::Vector;

/// The match is outside the loops, so that each loop has one function and becomes SIMD code.
#[inline(always)]
pub(super) fn activate_all<T: Real + From<f32> + Into<f32>>(activation: Activation, z: &mut [f32]) {
    let each = |z: &mut f32, activation| *z = activate(activation, T::from(*z)).into();
    match activation {
        Activation::Identity => {}
        Activation::Relu => z.iter_mut().for_each(|z| each(z, Activation::Relu)),
        Activation::Sigmoid => z.iter_mut().for_each(|z| each(z, Activation::Sigmoid)),
        Activation::Tanh => z.iter_mut().for_each(|z| each(z, Activation::Tanh)),
    }
}

#[inline(always)]
pub(super) fn derive_all<T: Real + From<f32> + Into<f32>>(activation: Activation, h: &[f32], gradient: &mut [f32]) {
    let pairs = gradient.iter_mut().zip(h);
    let each = |(g, &h): (&mut f32, &f32), activation| *g = derive(activation, T::from(h), T::from(*g)).into();
    match activation {
        Activation::Identity => {}
        Activation::Relu => pairs.for_each(|pair| each(pair, Activation::Relu)),
        Activation::Sigmoid => pairs.for_each(|pair| each(pair, Activation::Sigmoid)),
        Activation::Tanh => pairs.for_each(|pair| each(pair, Activation::Tanh)),
    }
}

/// Does the same as `syva_core::reference::read_outputs`, but without an allocation.
#[inline(always)]
pub(super) fn read<T: Real + From<f32> + Into<f32>>(head: Head, outputs: &mut [f32], space: &mut [f32])
where
    f32: From<T>,
{
    if head == Head::LogSoftmax {
        let row = SoftmaxRow::<T>::new(outputs, &mut space[..outputs.len()]);
        for z in outputs.iter_mut() {
            *z = row.log_probability(T::from(*z)).into();
        }
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; both slices hold a square of a panel's width.
#[inline(always)]
pub(super) unsafe fn transpose<V: Vector>(from: &[f32], to: &mut [f32]) {
    let width = V::PANEL;
    for i in (0..width).step_by(V::LANES) {
        for j in (0..width).step_by(V::LANES) {
            // SAFETY: the square from (i, j), and the one to (j, i), are inside.
            unsafe {
                let from = from.as_ptr().add(i * width + j);
                V::transpose(from, width, to.as_mut_ptr().add(j * width + i), width);
            }
        }
    }
}
