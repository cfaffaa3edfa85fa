//! Element-wise passes, and the transpose of a block.

use std::marker::PhantomData;

use syva_core::arithmetic::{Real, SoftmaxRow};
use syva_core::ops::{Rule, SCALARS, SLOTS, Specialised, SpecialisedRule, variance};
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

/// Weights that an optimiser's rule is applied to.
pub struct Applied<'a> {
    /// The rule.
    pub rule: Rule,
    /// The step's scalars.
    pub scalars: &'a [f32; SCALARS],
    /// The gradient of each weight.
    pub gradient: &'a [f32],
    /// The weights.
    pub weight: &'a mut [f32],
    /// What the optimiser remembers of each weight. Slots that the rule does not have are empty.
    pub slots: [&'a mut [f32]; SLOTS],
}

impl Applied<'_> {
    /// Panics unless there is a gradient and a number in each of the rule's slots for every weight.
    pub(super) fn check(&self) {
        let slots = self.slots[..self.rule.slots().len()].iter().map(|slot| slot.len());
        assert!(
            std::iter::once(self.gradient.len()).chain(slots).all(|len| len == self.weight.len()),
            "one per weight"
        );
    }
}

/// The loop over weights.
struct Apply<'a, 'b, T>(&'a mut Applied<'b>, PhantomData<T>);

impl<T: Real + From<f32> + Into<f32>> SpecialisedRule for Apply<'_, '_, T> {
    #[inline(always)]
    fn run(self, rule: Rule) {
        let Applied { scalars, gradient, weight, slots: [a, b, c], .. } = self.0;
        let s = scalars.map(T::from);
        let pairs = weight.iter_mut().zip(*gradient);
        let none = T::ZERO;
        match rule.slots().len() {
            0 => {
                for (w, &g) in pairs {
                    *w = rule.apply(s, T::from(g), T::from(*w), [none; SLOTS]).0.into();
                }
            }
            1 => {
                for ((w, &g), a) in pairs.zip(a.iter_mut()) {
                    let (next, slots) = rule.apply(s, T::from(g), T::from(*w), [T::from(*a), none, none]);
                    (*w, *a) = (next.into(), slots[0].into());
                }
            }
            2 => {
                for (((w, &g), a), b) in pairs.zip(a.iter_mut()).zip(b.iter_mut()) {
                    let (next, slots) = rule.apply(s, T::from(g), T::from(*w), [T::from(*a), T::from(*b), none]);
                    (*w, *a, *b) = (next.into(), slots[0].into(), slots[1].into());
                }
            }
            _ => {
                for ((((w, &g), a), b), c) in pairs.zip(a.iter_mut()).zip(b.iter_mut()).zip(c.iter_mut()) {
                    let remembered = [T::from(*a), T::from(*b), T::from(*c)];
                    let (next, slots) = rule.apply(s, T::from(g), T::from(*w), remembered);
                    (*w, *a, *b, *c) = (next.into(), slots[0].into(), slots[1].into(), slots[2].into());
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn apply<T: Real + From<f32> + Into<f32>>(applied: &mut Applied<'_>) {
    applied.rule.specialise(Apply(applied, PhantomData::<T>));
}

/// Does the same as `syva_core::reference::read_outputs`, but without an allocation.
#[inline(always)]
pub(super) fn read<T: Real + From<f32> + Into<f32>>(head: Head, outputs: &mut [f32], space: &mut [f32])
where
    f32: From<T>,
{
    match head {
        Head::LogSoftmax => {
            let row = SoftmaxRow::<T>::new(outputs, &mut space[..outputs.len()]);
            for z in outputs.iter_mut() {
                *z = row.log_probability(T::from(*z)).into();
            }
        }
        Head::Poisson => outputs.iter_mut().for_each(|z| *z = T::from(*z).exp().into()),
        Head::Gaussian => outputs.iter_mut().skip(1).step_by(2).for_each(|z| *z = variance(T::from(*z)).into()),
        Head::Regression | Head::Binary | Head::MultiLabel | Head::Logits => {}
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
