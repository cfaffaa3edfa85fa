//! Element-wise passes, and the transpose of a block.

use std::marker::PhantomData;

use syva_core::arithmetic::{Real, SoftmaxRow};
use syva_core::ops::Specialised;
use syva_core::{Activation, Head};

use crate::vector::Vector;

/// z = a(z).
struct Forward<'a, T>(&'a mut [f32], PhantomData<T>);

impl<T: Real + From<f32> + Into<f32>> Specialised for Forward<'_, T> {
    #[inline(always)]
    fn run(self, activation: Activation) {
        for z in self.0 {
            *z = activation.forward(T::from(*z)).into();
        }
    }
}

/// gradient = a'(z) · gradient, from what the derivative reads.
struct Backward<'a, T>(&'a [f32], &'a mut [f32], PhantomData<T>);

impl<T: Real + From<f32> + Into<f32>> Specialised for Backward<'_, T> {
    #[inline(always)]
    fn run(self, activation: Activation) {
        for (&read, gradient) in self.0.iter().zip(self.1) {
            *gradient = activation.backward(T::from(read), T::from(*gradient)).into();
        }
    }
}

#[inline(always)]
pub(super) fn forward<T: Real + From<f32> + Into<f32>>(activation: Activation, z: &mut [f32]) {
    if activation != Activation::Identity {
        activation.specialise(Forward(z, PhantomData::<T>));
    }
}

#[inline(always)]
pub(super) fn backward<T: Real + From<f32> + Into<f32>>(activation: Activation, read: &[f32], gradient: &mut [f32]) {
    if activation != Activation::Identity {
        activation.specialise(Backward(read, gradient, PhantomData::<T>));
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
