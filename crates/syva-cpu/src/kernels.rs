//! The kernels: matrix products with the epilogues of a training step, and element-wise passes.
//!
//! All three dense products of a step are the same loop, on a panel of 16 or 32 columns, as the instruction set wants it:
//!
//! ```text
//! for each tile of ROWS × (ACROSS · LANES) outputs, its accumulators in registers:
//!     c = init
//!     for p in 0..depth ascending:                      // the contract's chain, never split
//!         for each row i of the tile, column vector j:  c[i,j] = fma(a[i,p], b[p,j], c[i,j])
//!     c = each earlier block's sums + c                 // weight gradients of more than 128 samples (rule 3)
//!     finish(c)
//!
//! forward           a = x  [batch, fan_in]    b = Wᵀ [fan_in, units]   init = bias   finish = store
//! weight gradient   a = xᵀ [fan_in, batch]    b = d  [batch, units]    init = 0      finish = descend on Wᵀ
//! input gradient    a = d  [batch, units]     b = W  [units, fan_in]   init = 0      finish = store
//! ```
//!
//! `a` is read one value at a time, along rows or columns, so a transpose costs nothing. `b` is read a vector at a
//! time. If most of `a` is zero, as is often so for the first layer's inputs, a [`SparseProduct`] computes each row of
//! outputs from a list of non-zeros. The bodies are written once, generic over the trait `Vector`, and compiled for
//! each instruction set. [`Kernels`] holds the pointers to the kernels of one instruction set.

mod dense;
mod elementwise;
mod embed;
mod gather;
mod learned;
mod mixed;
mod regularise;
mod row;
mod sparse;

use std::hint::black_box;

use syva_core::{Activation, Head};

use crate::buffer::{HALF, Shared};
use crate::isa::Isa;
use crate::loss::{LossRows, judge_rows};
use crate::memory::Source;
use crate::sparse::{ListBy, Lists};
use crate::vector::{Portable, Vector};

pub use dense::{Factor, Product};
pub use elementwise::Applied;
pub use embed::{Embed, Number, NumberGradient, ROWS};
pub use gather::{Block, Scaling};
pub use learned::Learn;
pub use regularise::Regularise;
pub(crate) use row::{Row, RowProduct};
pub use sparse::{Init, Place, SparseProduct};

/// The epilogue of a product.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// `c = sum`
    Store,
    /// `c = sum + 0`: a negative zero becomes positive (rule 5).
    StorePositiveZero,
    /// `c` is the gradient of the first layer's weights, with what the shift adds. `start` is not used.
    Fold(Fold<'a>),
    /// `c = fma(−learning_rate, sum, c)`: SGD on weights, in place.
    Descend {
        /// The learning rate.
        learning_rate: f32,
        /// What the first layer's shift adds. `None` for other layers.
        fold: Option<Fold<'a>>,
    },
}

/// What the shift of the first layer's inputs adds (rule 5): the gradient is `fma(shift, bias_gradient, sum) + 0`.
#[derive(Clone, Copy)]
pub struct Fold<'a> {
    /// The shift of each row.
    pub shift: &'a [f32],
    /// The bias gradient of each column.
    pub bias_gradient: &'a [f32],
    /// The next step's initial sums of each column, which become `fma(shift, c, start)`, row after row.
    pub start: Option<Shared<'a, f32>>,
}

impl Finish<'_> {
    fn check(&self, rows: usize, columns: usize) {
        if let Finish::Descend { fold: Some(fold), .. } | Finish::Fold(fold) = self {
            let across = fold.start.map_or(columns, |start| start.len()).min(fold.bias_gradient.len());
            assert!(fold.shift.len() >= rows && across >= columns, "fold is large enough");
        }
    }
}

/// The epilogue for rows of sums from row `i` and column `j` on, whose outputs are at `to(row, vector)`. The match is
/// outside the loops, so that sums stay in registers.
///
/// # Safety
/// As for [`product`], and the outputs are inside the block.
#[inline(always)]
unsafe fn finish<V: Vector, const ROWS: usize, const ACROSS: usize>(
    finish: &Finish<'_>,
    sums: [[V; ACROSS]; ROWS],
    (i, j): (usize, usize),
    to: impl Fn(usize, usize) -> *mut f32,
) {
    // SAFETY: row i and the columns from j on are inside the block, so by `check` they are inside `fold` and c.
    unsafe {
        match *finish {
            Finish::Store => each(sums, |sum, r, n| sum.store(to(r, n))),
            Finish::StorePositiveZero => each(sums, |sum, r, n| sum.add(V::splat(0.0)).store(to(r, n))),
            Finish::Fold(Fold { shift, bias_gradient, .. }) => {
                let zero = V::splat(0.0);
                let bias: [V; ACROSS] = std::array::from_fn(|n| V::load(bias_gradient.as_ptr().add(j + n * V::LANES)));
                each(sums, |sum, r, n| {
                    V::splat(*shift.as_ptr().add(i + r)).fma(bias[n], sum).add(zero).store(to(r, n));
                });
            }
            Finish::Descend { learning_rate, fold: None } => {
                let rate = V::splat(-learning_rate);
                each(sums, |sum, r, n| rate.fma(sum, V::load(to(r, n))).store(to(r, n)));
            }
            Finish::Descend { learning_rate, fold: Some(Fold { shift, bias_gradient, start }) } => {
                let (rate, zero) = (V::splat(-learning_rate), V::splat(0.0));
                let bias: [V; ACROSS] = std::array::from_fn(|n| V::load(bias_gradient.as_ptr().add(j + n * V::LANES)));
                let Some(start) = start.map(|start| start.as_mut_ptr().add(j)) else {
                    each(sums, |sum, r, n| {
                        let gradient = V::splat(*shift.as_ptr().add(i + r)).fma(bias[n], sum).add(zero);
                        rate.fma(gradient, V::load(to(r, n))).store(to(r, n));
                    });
                    return;
                };
                let mut next: [V; ACROSS] = std::array::from_fn(|n| V::load(start.add(n * V::LANES)));
                each(sums, |sum, r, n| {
                    let shift = V::splat(*shift.as_ptr().add(i + r));
                    let w = rate.fma(shift.fma(bias[n], sum).add(zero), V::load(to(r, n)));
                    w.store(to(r, n));
                    next[n] = shift.fma(w, next[n]);
                });
                for (n, next) in next.into_iter().enumerate() {
                    next.store(start.add(n * V::LANES));
                }
            }
        }
    }
}

/// Calls `work` with each sum, its row and its vector.
#[inline(always)]
fn each<V: Vector, const ROWS: usize, const ACROSS: usize>(
    sums: [[V; ACROSS]; ROWS],
    mut work: impl FnMut(V, usize, usize),
) {
    for (r, row) in sums.into_iter().enumerate() {
        for (n, sum) in row.into_iter().enumerate() {
            work(sum, r, n);
        }
    }
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels {
    /// Columns per panel.
    width: usize,
    product: unsafe fn(&Product<'_>),
    sparse_product: unsafe fn(&SparseProduct<'_>),
    row_product: unsafe fn(&mut RowProduct<'_>),
    list: unsafe fn(Source<'_>, &Block<'_>, ListBy, &mut Lists),
    transpose: unsafe fn(&[f32], &mut [f32]),
    forward: unsafe fn(Activation, &mut [f32]),
    backward: unsafe fn(Activation, &[f32], &mut [f32]),
    apply: unsafe fn(&mut Applied<'_>),
    regularise: unsafe fn(Regularise<'_>),
    learn: unsafe fn(Learn<'_>),
    embed: unsafe fn(Embed<'_>),
    judge: unsafe fn(&mut LossRows<'_>),
    read: unsafe fn(Head, &mut [f32], &mut [f32]),
    scale: unsafe fn(Source<'_>, &mut Scaling<'_>),
    multiply_add: unsafe fn(u64) -> u64,
}

impl Kernels {
    /// The kernels of an instruction set, if this processor has it.
    pub fn new(isa: Isa) -> syva_core::Result<Self> {
        Ok(match isa.available()? {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::KERNELS,
            _ => portable::KERNELS,
        })
    }

    /// The number of columns of a panel, in all matrices that the kernels work on: 16 or 32.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Computes the outputs.
    ///
    /// # Safety
    /// During the call, no other thread may access these outputs in `c`, or write to what is read of `a`. The outputs
    /// must not overlap any of the other slices, but for earlier sums of the same outputs.
    pub unsafe fn product(&self, product: &Product<'_>) {
        product.check(self.width);
        // SAFETY: `new` found the instruction set; `check` found the bounds; aliasing is the caller's promise.
        unsafe { (self.product)(product) }
    }

    /// Computes the outputs.
    ///
    /// # Safety
    /// During the call, no other thread may access these outputs in `c`, or their initial and earlier sums. The outputs
    /// must not overlap any of the other slices, but for earlier sums of the same outputs.
    pub unsafe fn sparse_product(&self, product: &SparseProduct<'_>) {
        product.check(self.width);
        // SAFETY: `new` found the instruction set; `check` found the bounds; aliasing is the caller's promise.
        unsafe { (self.sparse_product)(product) }
    }

    /// Computes the sums.
    pub(crate) fn row_product(&self, product: &mut RowProduct<'_>) {
        product.check(self.width);
        // SAFETY: `new` found the instruction set; `check` found the bounds.
        unsafe { (self.row_product)(product) }
    }

    /// Lists the non-zeros of a block of scaled inputs. The listed matrix has at most
    /// [`COLUMNS`](crate::sparse::COLUMNS) columns.
    pub fn list(&self, inputs: Source<'_>, block: &Block<'_>, by: ListBy, lists: &mut Lists) {
        block.check(inputs.len());
        // SAFETY: `new` found the instruction set; `check` found the bounds; the lists make their own room.
        unsafe { (self.list)(inputs, block, by, lists) }
    }

    /// Transposes a square as wide as a panel.
    pub fn transpose(&self, from: &[f32], to: &mut [f32]) {
        assert!(from.len().min(to.len()) >= self.width * self.width, "a square is as wide as a panel");
        // SAFETY: `new` found the instruction set; both slices are long enough.
        unsafe { (self.transpose)(from, to) }
    }

    /// `z = a(z)`, element by element.
    pub fn forward(&self, activation: Activation, z: &mut [f32]) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.forward)(activation, z) }
    }

    /// `gradient = a'(z) · gradient`, element by element, from what the derivative [reads](Activation::reads).
    pub fn backward(&self, activation: Activation, read: &[f32], gradient: &mut [f32]) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.backward)(activation, read, gradient) }
    }

    /// Applies an optimiser's rule to some weights, element by element.
    pub fn apply(&self, applied: &mut Applied<'_>) {
        applied.check();
        // SAFETY: `new` found the instruction set.
        unsafe { (self.apply)(applied) }
    }

    /// Passes over values to hold them back.
    pub fn regularise(&self, pass: Regularise<'_>) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.regularise)(pass) }
    }

    /// Passes over activations that have gains.
    pub fn learn(&self, pass: Learn<'_>) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.learn)(pass) }
    }

    /// Passes over embedded inputs.
    pub fn embed(&self, pass: Embed<'_>) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.embed)(pass) }
    }

    /// Losses, predictions and gradients of some samples.
    pub(crate) fn judge(&self, rows: &mut LossRows<'_>) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.judge)(rows) }
    }

    /// Turns a sample's outputs into what the network returns, in place. `space` must have room for as many values.
    pub(crate) fn read(&self, head: Head, outputs: &mut [f32], space: &mut [f32]) {
        assert!(space.len() >= outputs.len(), "there is room");
        // SAFETY: `new` found the instruction set.
        unsafe { (self.read)(head, outputs, space) }
    }

    /// Runs `rounds` rounds of multiply-adds on registers alone, to measure the processor's peak. Returns the number of
    /// multiply-adds.
    pub(crate) fn multiply_add(&self, rounds: u64) -> u64 {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.multiply_add)(rounds) }
    }

    /// `s = x · scale` for a block of inputs.
    pub fn scale(&self, inputs: Source<'_>, scaling: &mut Scaling<'_>) {
        scaling.check(inputs.len(), self.width);
        // SAFETY: `new` found the instruction set; `check` found the bounds.
        unsafe { (self.scale)(inputs, scaling) }
    }
}

/// Runs twelve chains of multiply-adds. That is more than any processor needs to keep its multipliers busy, and fewer
/// than the registers of any processor.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it.
#[inline(always)]
unsafe fn multiply_add<V: Vector>(rounds: u64) -> u64 {
    // SAFETY: the caller's promise; the result is stored where there is room.
    unsafe {
        let mut sums: [V; 12] = std::array::from_fn(|i| V::splat(i as f32));
        let (factor, addend) = (V::splat(black_box(0.5)), V::splat(black_box(1.0)));
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.fma(factor, addend);
            }
        }
        let mut result = [0.0; 12 * HALF];
        for (i, sum) in sums.into_iter().enumerate() {
            sum.store(result.as_mut_ptr().add(i * HALF));
        }
        black_box(result);
    }
    rounds * 12 * V::LANES as u64
}

/// A module with the bodies above compiled for one instruction set.
macro_rules! compile {
    ($module:ident, $vector:ty $(, $features:literal)?) => {
        mod $module {
            use super::*;

            pub(super) const KERNELS: Kernels = Kernels {
                width: <$vector as Vector>::PANEL,
                product, sparse_product, row_product, list, transpose, forward, backward, apply, regularise, learn, embed, judge, read, scale,
                multiply_add,
            };

            $(#[target_feature(enable = $features)])?
            unsafe fn product(product: &Product<'_>) {
                // SAFETY: compiled for V's instruction set by the attribute; the rest is the caller's promise.
                unsafe { dense::product::<$vector>(product) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn sparse_product(product: &SparseProduct<'_>) {
                // SAFETY: as above.
                unsafe { sparse::sparse_product::<$vector>(product) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn row_product(product: &mut RowProduct<'_>) {
                // SAFETY: as above.
                unsafe { row::row_product::<$vector>(product) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn list(inputs: Source<'_>, block: &Block<'_>, by: ListBy, lists: &mut Lists) {
                // SAFETY: as above.
                unsafe {
                    match (by, inputs) {
                        (ListBy::Sample, Source::Bytes(x)) => gather::list_samples::<$vector, u8>(x, block, lists),
                        (ListBy::Sample, Source::Floats(x)) => gather::list_samples::<$vector, f32>(x, block, lists),
                        (ListBy::Sample, Source::Mixed(x)) => mixed::list_samples(x, block, lists),
                        (ListBy::Feature, Source::Bytes(x)) => gather::list_features::<$vector, u8>(x, block, lists),
                        (ListBy::Feature, Source::Floats(x)) => gather::list_features::<$vector, f32>(x, block, lists),
                        (ListBy::Feature, Source::Mixed(x)) => mixed::list_features(x, block, lists),
                    }
                }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(from: &[f32], to: &mut [f32]) {
                // SAFETY: as above.
                unsafe { elementwise::transpose::<$vector>(from, to) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn forward(activation: Activation, z: &mut [f32]) {
                elementwise::forward::<<$vector as Vector>::Value>(activation, z);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn backward(activation: Activation, read: &[f32], gradient: &mut [f32]) {
                elementwise::backward::<<$vector as Vector>::Value>(activation, read, gradient);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn apply(applied: &mut Applied<'_>) {
                elementwise::apply::<<$vector as Vector>::Value>(applied);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn regularise(pass: Regularise<'_>) {
                regularise::regularise::<<$vector as Vector>::Value>(pass);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn learn(pass: Learn<'_>) {
                learned::learn::<<$vector as Vector>::Value>(pass);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn embed(pass: Embed<'_>) {
                embed::embed::<<$vector as Vector>::Value>(pass);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn judge(rows: &mut LossRows<'_>) {
                judge_rows::<<$vector as Vector>::Value>(rows);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn read(head: Head, outputs: &mut [f32], space: &mut [f32]) {
                elementwise::read::<<$vector as Vector>::Value>(head, outputs, space);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn multiply_add(rounds: u64) -> u64 {
                // SAFETY: as above.
                unsafe { super::multiply_add::<$vector>(rounds) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn scale(inputs: Source<'_>, scaling: &mut Scaling<'_>) {
                // SAFETY: as above.
                unsafe {
                    match inputs {
                        Source::Bytes(x) => gather::scale::<$vector, u8>(x, scaling),
                        Source::Floats(x) => gather::scale::<$vector, f32>(x, scaling),
                        Source::Mixed(x) => mixed::scale(x, scaling, <$vector as Vector>::PANEL),
                    }
                }
            }
        }
    };
}

compile!(portable, Portable);
#[cfg(target_arch = "x86_64")]
compile!(avx2, crate::vector::x86::Avx2, "avx2,fma,popcnt");
#[cfg(target_arch = "x86_64")]
compile!(avx512, crate::vector::x86::Avx512, "avx512f,avx512dq,avx2,fma,popcnt");
