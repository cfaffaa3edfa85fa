//! Passes over values one by one, and the transpose of a block.

use syva_core::arithmetic::{Real, SoftmaxRow};
use syva_core::reference::{activate, derive};
use syva_core::{Activation, Head};

use crate::buffer::WIDTH;
use crate::vector::Vector;

/// The match stands outside the loops, so that each loop is one function and becomes SIMD code.
#[inline(always)]
pub(super) fn activate_all(activation: Activation, z: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => z.iter_mut().for_each(|z| *z = activate(Activation::Relu, *z)),
        Activation::Sigmoid => z.iter_mut().for_each(|z| *z = Real::sigmoid(*z)),
        Activation::Tanh => z.iter_mut().for_each(|z| *z = Real::tanh(*z)),
    }
}

#[inline(always)]
pub(super) fn derive_all(activation: Activation, h: &[f32], gradient: &mut [f32]) {
    let pairs = gradient.iter_mut().zip(h);
    match activation {
        Activation::Identity => {}
        Activation::Relu => pairs.for_each(|(g, &h)| *g = derive(Activation::Relu, h, *g)),
        Activation::Sigmoid => pairs.for_each(|(g, &h)| *g = derive(Activation::Sigmoid, h, *g)),
        Activation::Tanh => pairs.for_each(|(g, &h)| *g = derive(Activation::Tanh, h, *g)),
    }
}

/// What `syva_core::reference::read_outputs` does, without an allocation.
#[inline(always)]
pub(super) fn read(head: Head, outputs: &mut [f32], space: &mut [f32]) {
    if head == Head::LogSoftmax {
        let row = SoftmaxRow::new(outputs, &mut space[..outputs.len()]);
        outputs.iter_mut().for_each(|z| *z = row.log_probability(*z));
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; both slices hold 32 by 32 values.
#[inline(always)]
pub(super) unsafe fn transpose<V: Vector>(from: &[f32], to: &mut [f32]) {
    for i in (0..WIDTH).step_by(V::LANES) {
        for j in (0..WIDTH).step_by(V::LANES) {
            // SAFETY: the square from (i, j), and the one to (j, i), are inside.
            unsafe {
                let from = from.as_ptr().add(i * WIDTH + j);
                V::transpose(from, WIDTH, to.as_mut_ptr().add(j * WIDTH + i), WIDTH);
            }
        }
    }
}
