//! The kernels: one matrix product with the epilogues of a training step, and the element-wise passes.
//!
//! All three products of a step are one shape of loop,
//!
//! ```text
//! for each tile of ROWS × (ACROSS · LANES) outputs, its accumulators in registers:
//!     c = init
//!     for p in 0..depth ascending:                      // the contract's chain, never split
//!         for each row i of the tile, column vector j:  c[i,j] = fma(a[i,p], b[p,j], c[i,j])
//!     finish(c)
//!
//! forward           a = x  [batch, fan_in]    b = Wᵀ [fan_in, units]   init = bias   finish = store
//! weight gradient   a = xᵀ [fan_in, batch]    b = d  [batch, units]    init = 0      finish = descend on Wᵀ
//! input gradient    a = d  [batch, units]     b = W  [units, fan_in]   init = 0      finish = store
//! ```
//!
//! where `a` is read one value at a time, by two strides (a transpose costs nothing), and `b` a vector at a time. Where
//! most of `a` is zero, as the first layer's inputs often are, a [`SparseProduct`] computes one row of outputs from the
//! list of what is not. The bodies are written once, generic over the trait `Vector`, and compiled for each instruction set; [`Kernels`] holds the
//! pointers to one of them.

use syva_core::Activation;
use syva_core::arithmetic::Real;
use syva_core::reference::{activate, derive};

use crate::buffer::{PAD, Shared};
use crate::isa::Isa;
use crate::sparse::Entry;
use crate::vector::{Portable, Vector};

/// A block of a matrix product; see the module's header.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// Outputs down.
    pub rows: usize,
    /// Outputs across, a multiple of 16.
    pub columns: usize,
    /// Terms of each sum.
    pub depth: usize,
    /// `a[i, p]` is at `i · a_row + p · a_depth`.
    pub a: &'a [f32],
    /// See `a`.
    pub a_row: usize,
    /// See `a`.
    pub a_depth: usize,
    /// `b[p, j]` is at `p · b_stride + j`.
    pub b: &'a [f32],
    /// See `b`.
    pub b_stride: usize,
    /// What each column's sums start at; zeros if none.
    pub init: Option<&'a [f32]>,
    /// `c[i, j]` is at `c_at + i · c_stride + j`.
    pub c: Shared<'a, f32>,
    /// See `c`.
    pub c_at: usize,
    /// See `c`.
    pub c_stride: usize,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

/// The epilogue of a [`Product`].
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// `c = sum`
    Store,
    /// `c = sum + 0`: a negative zero becomes positive (rule 5).
    StorePositiveZero,
    /// `c = fma(−learning_rate, sum, c)`: SGD on weights in place.
    Descend {
        /// The learning rate.
        learning_rate: f32,
        /// For the first layer: the shift of each row and the bias gradient of each column, with which the gradient is
        /// `fma(shift, bias_gradient, sum) + 0` (rule 5).
        fold: Option<(&'a [f32], &'a [f32])>,
    },
}

impl Product<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    fn check(&self) {
        assert!(self.columns.is_multiple_of(PAD), "columns are padded");
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let (last_row, last_depth) = (self.rows - 1, self.depth.saturating_sub(1));
        if self.depth > 0 {
            assert!(last_row * self.a_row + last_depth * self.a_depth < self.a.len(), "a is large enough");
            assert!(last_depth * self.b_stride + self.columns <= self.b.len(), "b is large enough");
        }
        assert!(self.c_at + last_row * self.c_stride + self.columns <= self.c.len(), "c is large enough");
        assert!(self.init.is_none_or(|init| init.len() >= self.columns), "one init a column");
        if let Finish::Descend { fold: Some((shift, bias_gradient)), .. } = self.finish {
            assert!(shift.len() >= self.rows && bias_gradient.len() >= self.columns, "fold is large enough");
        }
    }
}

/// One row of a product whose `a` is a list of its non-zeros: `c[j] = finish(init[j] + Σ entry.value · b[entry.index, j])`,
/// summed in the order of the list.
#[derive(Clone, Copy)]
pub struct SparseProduct<'a> {
    /// Outputs across, a multiple of 16.
    pub columns: usize,
    /// The non-zeros.
    pub a: &'a [Entry],
    /// `b[p, j]` is at `p · b_stride + j`.
    pub b: &'a [f32],
    /// See `b`.
    pub b_stride: usize,
    /// What each column's sum starts at; zeros if none.
    pub init: Option<&'a [f32]>,
    /// `c[j]` is at `c_at + j`.
    pub c: Shared<'a, f32>,
    /// See `c`.
    pub c_at: usize,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

impl SparseProduct<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    fn check(&self) {
        assert!(self.columns.is_multiple_of(PAD) && self.columns <= self.b.len(), "columns are padded");
        let rows = (self.b.len() - self.columns) / self.b_stride + 1;
        assert!(self.a.iter().all(|entry| (entry.index as usize) < rows), "b is large enough");
        assert!(self.c_at + self.columns <= self.c.len(), "c is large enough");
        assert!(self.init.is_none_or(|init| init.len() >= self.columns), "one init a column");
        if let Finish::Descend { fold: Some((shift, bias_gradient)), .. } = self.finish {
            assert!(!shift.is_empty() && bias_gradient.len() >= self.columns, "fold is large enough");
        }
    }
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels {
    product: unsafe fn(&Product<'_>),
    sparse_product: unsafe fn(&SparseProduct<'_>),
    activate: unsafe fn(Activation, &mut [f32]),
    derive: unsafe fn(Activation, &[f32], &mut [f32]),
    scale_bytes: unsafe fn(&[u8], &[f32], &mut [f32]),
    scale: unsafe fn(&[f32], &[f32], &mut [f32]),
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

    /// Computes the block.
    ///
    /// # Safety
    /// No other thread may touch the block of `c` meanwhile, and `c` may overlap none of the other slices.
    pub unsafe fn product(&self, product: &Product<'_>) {
        product.check();
        // SAFETY: `new` found the instruction set; `check` found the bounds; aliasing is the caller's promise.
        unsafe { (self.product)(product) }
    }

    /// Computes the row.
    ///
    /// # Safety
    /// No other thread may touch the row of `c` meanwhile, and `c` may overlap none of the other slices.
    pub unsafe fn sparse_product(&self, product: &SparseProduct<'_>) {
        product.check();
        // SAFETY: `new` found the instruction set; `check` found the bounds; aliasing is the caller's promise.
        unsafe { (self.sparse_product)(product) }
    }

    /// `z = a(z)`, element by element.
    pub fn activate(&self, activation: Activation, z: &mut [f32]) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.activate)(activation, z) }
    }

    /// `gradient = a'(z) · gradient` from h = a(z), element by element.
    pub fn derive(&self, activation: Activation, h: &[f32], gradient: &mut [f32]) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.derive)(activation, h, gradient) }
    }

    /// `s = x · scale`, element by element, from bytes.
    pub fn scale_bytes(&self, x: &[u8], scale: &[f32], s: &mut [f32]) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.scale_bytes)(x, scale, s) }
    }

    /// `s = x · scale`, element by element.
    pub fn scale(&self, x: &[f32], scale: &[f32], s: &mut [f32]) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.scale)(x, scale, s) }
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds; `c` is unaliased.
#[inline(always)]
unsafe fn product<V: Vector>(product: &Product<'_>) {
    let mut j = 0;
    while j < product.columns {
        let left = (product.columns - j) / V::LANES;
        // SAFETY: `left` vectors from j on are inside the block.
        unsafe {
            match left.min(V::ACROSS) {
                3.. => strip::<V, 3>(product, j),
                2 => strip::<V, 2>(product, j),
                _ => strip::<V, 1>(product, j),
            }
        }
        j += left.min(V::ACROSS) * V::LANES;
    }
}

/// All rows of `ACROSS` vectors of columns from `j` on.
///
/// # Safety
/// As for [`product`], and the columns are inside the block.
#[inline(always)]
unsafe fn strip<V: Vector, const ACROSS: usize>(product: &Product<'_>, j: usize) {
    let mut i = 0;
    while i < product.rows {
        // SAFETY: each tile has no more rows than are left.
        unsafe {
            match (product.rows - i).min(V::ROWS) {
                8.. => (tile::<V, 8, ACROSS>(product, i, j), i += 8).0,
                4..=7 => (tile::<V, 4, ACROSS>(product, i, j), i += 4).0,
                2..=3 => (tile::<V, 2, ACROSS>(product, i, j), i += 2).0,
                _ => (tile::<V, 1, ACROSS>(product, i, j), i += 1).0,
            }
        }
    }
}

/// `ROWS` rows from `i`, `ACROSS` vectors from column `j`.
///
/// # Safety
/// As for [`product`], and the tile is inside the block.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const ACROSS: usize>(product: &Product<'_>, i: usize, j: usize) {
    // SAFETY: (whole body) every offset is at most the one that `check` has found inside its slice, since
    // i + ROWS ≤ rows, j + ACROSS · LANES ≤ columns, and depth indices stay below depth.
    unsafe {
        let mut c = [[V::splat(0.0); ACROSS]; ROWS];
        if let Some(init) = product.init {
            for (n, start) in std::array::from_fn::<V, ACROSS, _>(|n| V::load(init.as_ptr().add(j + n * V::LANES)))
                .into_iter()
                .enumerate()
            {
                for row in &mut c {
                    row[n] = start;
                }
            }
        }
        let mut a = product.a.as_ptr().wrapping_add(i * product.a_row);
        let mut b = product.b.as_ptr().wrapping_add(j);
        for _ in 0..product.depth {
            let across: [V; ACROSS] = std::array::from_fn(|n| V::load(b.add(n * V::LANES)));
            for (r, row) in c.iter_mut().enumerate() {
                let value = V::splat(*a.add(r * product.a_row));
                for n in 0..ACROSS {
                    row[n] = value.fma(across[n], row[n]);
                }
            }
            a = a.wrapping_add(product.a_depth);
            b = b.wrapping_add(product.b_stride);
        }
        for (r, row) in c.into_iter().enumerate() {
            let to = product.c.as_mut_ptr().add(product.c_at + (i + r) * product.c_stride + j);
            finish(&product.finish, row, i + r, j, to);
        }
    }
}

/// The epilogue for `ACROSS` vectors of sums in row `i` of the block, from column `j`, whose outputs are at `to`.
///
/// # Safety
/// As for [`product`], and the outputs are inside the block.
#[inline(always)]
unsafe fn finish<V: Vector, const ACROSS: usize>(
    finish: &Finish<'_>,
    sums: [V; ACROSS],
    i: usize,
    j: usize,
    to: *mut f32,
) {
    for (n, sum) in sums.into_iter().enumerate() {
        // SAFETY: row i and columns j + n · LANES … are inside the block, so inside `fold` and c by `check`.
        unsafe {
            let to = to.add(n * V::LANES);
            match *finish {
                Finish::Store => sum.store(to),
                Finish::StorePositiveZero => sum.add(V::splat(0.0)).store(to),
                Finish::Descend { learning_rate, fold } => {
                    let gradient = match fold {
                        None => sum,
                        Some((shift, bias_gradient)) => V::splat(shift[i])
                            .fma(V::load(bias_gradient.as_ptr().add(j + n * V::LANES)), sum)
                            .add(V::splat(0.0)),
                    };
                    V::splat(-learning_rate).fma(gradient, V::load(to)).store(to);
                }
            }
        }
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds; `c` is unaliased.
#[inline(always)]
unsafe fn sparse_product<V: Vector>(product: &SparseProduct<'_>) {
    let mut j = 0;
    while j < product.columns {
        let left = ((product.columns - j) / V::LANES).min(V::ALONG);
        // SAFETY: each strip has no more vectors than are left.
        unsafe {
            match left {
                16.. => (sparse_strip::<V, 16>(product, j), j += 16 * V::LANES).0,
                8..=15 => (sparse_strip::<V, 8>(product, j), j += 8 * V::LANES).0,
                4..=7 => (sparse_strip::<V, 4>(product, j), j += 4 * V::LANES).0,
                2..=3 => (sparse_strip::<V, 2>(product, j), j += 2 * V::LANES).0,
                _ => (sparse_strip::<V, 1>(product, j), j += V::LANES).0,
            }
        }
    }
}

/// `ALONG` vectors of columns from `j` on.
///
/// # Safety
/// As for [`sparse_product`], and the columns are inside the row.
#[inline(always)]
unsafe fn sparse_strip<V: Vector, const ALONG: usize>(product: &SparseProduct<'_>, j: usize) {
    // SAFETY: (whole body) `check` has found every entry's row of b, the init and c long enough for all columns.
    unsafe {
        let mut c = [V::splat(0.0); ALONG];
        if let Some(init) = product.init {
            c = std::array::from_fn(|n| V::load(init.as_ptr().add(j + n * V::LANES)));
        }
        let b = product.b.as_ptr().wrapping_add(j);
        for entry in product.a {
            let value = V::splat(entry.value);
            let b = b.add(entry.index as usize * product.b_stride);
            for (n, sum) in c.iter_mut().enumerate() {
                *sum = value.fma(V::load(b.add(n * V::LANES)), *sum);
            }
        }
        finish(&product.finish, c, 0, j, product.c.as_mut_ptr().add(product.c_at + j));
    }
}

/// The match stands outside the loops, so that each loop is one function and becomes SIMD code.
#[inline(always)]
fn activate_all(activation: Activation, z: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => z.iter_mut().for_each(|z| *z = activate(Activation::Relu, *z)),
        Activation::Sigmoid => z.iter_mut().for_each(|z| *z = Real::sigmoid(*z)),
        Activation::Tanh => z.iter_mut().for_each(|z| *z = Real::tanh(*z)),
    }
}

#[inline(always)]
fn derive_all(activation: Activation, h: &[f32], gradient: &mut [f32]) {
    let pairs = gradient.iter_mut().zip(h);
    match activation {
        Activation::Identity => {}
        Activation::Relu => pairs.for_each(|(g, &h)| *g = derive(Activation::Relu, h, *g)),
        Activation::Sigmoid => pairs.for_each(|(g, &h)| *g = derive(Activation::Sigmoid, h, *g)),
        Activation::Tanh => pairs.for_each(|(g, &h)| *g = derive(Activation::Tanh, h, *g)),
    }
}

#[inline(always)]
fn scale_all<T: Copy + Into<f32>>(x: &[T], scale: &[f32], s: &mut [f32]) {
    for ((s, &x), &scale) in s.iter_mut().zip(x).zip(scale) {
        *s = x.into() * scale;
    }
}

/// A module with the bodies above compiled for one instruction set.
macro_rules! compile {
    ($module:ident, $vector:ty $(, $features:literal)?) => {
        mod $module {
            use super::*;

            pub(super) const KERNELS: Kernels = Kernels { product, sparse_product, activate, derive, scale_bytes, scale };

            $(#[target_feature(enable = $features)])?
            unsafe fn product(product: &Product<'_>) {
                // SAFETY: compiled for V's instruction set by the attribute; the rest is the caller's promise.
                unsafe { super::product::<$vector>(product) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn sparse_product(product: &SparseProduct<'_>) {
                // SAFETY: as above.
                unsafe { super::sparse_product::<$vector>(product) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn activate(activation: Activation, z: &mut [f32]) {
                activate_all(activation, z);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn derive(activation: Activation, h: &[f32], gradient: &mut [f32]) {
                derive_all(activation, h, gradient);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn scale_bytes(x: &[u8], scale: &[f32], s: &mut [f32]) {
                scale_all(x, scale, s);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn scale(x: &[f32], scale: &[f32], s: &mut [f32]) {
                scale_all(x, scale, s);
            }
        }
    };
}

compile!(portable, Portable);
#[cfg(target_arch = "x86_64")]
compile!(avx2, crate::vector::x86::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
compile!(avx512, crate::vector::x86::Avx512, "avx512f,avx512dq,avx2,fma");
