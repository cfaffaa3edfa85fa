//! The kernels: matrix products with the epilogues of a training step, and the element-wise passes.
//!
//! All three dense products of a step are one shape of loop on a panel of up to 32 columns,
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
//! where `a` is read one value at a time, by strides (a transpose costs nothing), and `b` a vector at a time. Where
//! most of `a` is zero, as the first layer's inputs often are, a [`SparseProduct`] computes each row of outputs from a
//! list of what is not. The bodies are written once, generic over the trait `Vector`, and compiled for each instruction
//! set; [`Kernels`] holds the pointers to one of them.

use std::hint::black_box;

use syva_core::Activation;
use syva_core::arithmetic::Real;
use syva_core::reference::{activate, derive};

use crate::buffer::{HALF, Shared, View, WIDTH};
use crate::isa::Isa;
use crate::loss::{LossRows, judge_rows};
use crate::memory::{Samples, Source};
use crate::prefetch;
use crate::sparse::{Listing, Lists, Writer};
use crate::vector::{Portable, Vector};

/// Rows of one panel of a matrix product; see the module's header.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// Outputs down.
    pub rows: usize,
    /// Outputs across: 16 or 32.
    pub columns: usize,
    /// Terms of each sum.
    pub depth: usize,
    /// `a[i, p]` is at `p / 32 · a_panel + p % 32 · a_depth + i · a_row`.
    pub a: View<'a, f32>,
    /// See `a`.
    pub a_row: usize,
    /// See `a`.
    pub a_depth: usize,
    /// See `a`.
    pub a_panel: usize,
    /// `b[p, j]` is at `32 · p + j`.
    pub b: &'a [f32],
    /// What each column's sums start at; zeros if none.
    pub init: Option<&'a [f32]>,
    /// `c[i, j]` is at `c_at + 32 · i + j`.
    pub c: Shared<'a, f32>,
    /// See `c`.
    pub c_at: usize,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

/// The epilogue of a product.
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

impl Finish<'_> {
    fn check(&self, rows: usize, columns: usize) {
        if let Finish::Descend { fold: Some((shift, bias_gradient)), .. } = self {
            assert!(shift.len() >= rows && bias_gradient.len() >= columns, "fold is large enough");
        }
    }
}

impl Product<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    fn check(&self) {
        assert!(self.columns == HALF || self.columns == WIDTH, "columns are half a panel or one");
        if self.rows == 0 {
            return;
        }
        if let Some(last) = self.depth.checked_sub(1) {
            let a = |p: usize| p / WIDTH * self.a_panel + p % WIDTH * self.a_depth + (self.rows - 1) * self.a_row;
            // The farthest is the last term, or the last of the panel before.
            let farthest = a(last).max(a((last / WIDTH * WIDTH).saturating_sub(1)));
            assert!(farthest < self.a.len(), "a is large enough");
            assert!(last * WIDTH + self.columns <= self.b.len(), "b is large enough");
        }
        assert!(self.c_at + (self.rows - 1) * WIDTH + self.columns <= self.c.len(), "c is large enough");
        assert!(self.init.is_none_or(|init| init.len() >= self.columns), "one init a column");
        self.finish.check(self.rows, self.columns);
    }
}

/// A product whose `a` is given by lists of its non-zeros, on one or several panels:
/// `c[i,j] = finish(init[i,j] + Σ a[i,p] · b[p,j])`, summed over the listed p in ascending order.
#[derive(Clone, Copy)]
pub struct SparseProduct<'a> {
    /// The non-zeros of each row of `a`.
    pub a: &'a Lists,
    /// Its first row and the number of rows; the outputs' rows are counted from the first one.
    pub rows: (usize, usize),
    /// Outputs across, a multiple of 16.
    pub columns: usize,
    /// `b[p, j]` is at `j / 32 · b_panel + 32 · p + j % 32`.
    pub b: &'a [f32],
    /// See `b`.
    pub b_panel: usize,
    /// What the sums start at.
    pub init: Init<'a>,
    /// `c[i, j]`.
    pub c: Place<'a>,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

/// Some panels of a matrix inside a larger one: `[i, j]` is at `at + j / 32 · panel + 32 · i + j % 32`.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The larger matrix.
    pub values: Shared<'a, f32>,
    /// See above.
    pub at: usize,
    /// See above.
    pub panel: usize,
}

impl Place<'_> {
    fn check(&self, rows: usize, columns: usize) {
        let last = (columns - 1) / WIDTH * self.panel + (rows - 1) * WIDTH + WIDTH.min(columns) - 1;
        assert!(last < self.values.len() && self.at < self.values.len() - last, "a place is large enough");
    }
}

/// What the sums of a [`SparseProduct`] start at.
#[derive(Clone, Copy)]
pub enum Init<'a> {
    /// 0.
    Zero,
    /// A value a column.
    Row(&'a [f32]),
    /// A value an output, which may be `c` itself.
    Sums(Place<'a>),
}

impl SparseProduct<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    fn check(&self) {
        assert!(self.columns.is_multiple_of(HALF) && self.columns > 0, "columns are padded");
        let (first, rows) = self.rows;
        assert!(
            first.is_multiple_of(2) && first <= self.a.rows() && rows <= self.a.rows() - first,
            "rows that are listed"
        );
        if rows == 0 {
            return;
        }
        if let Some(last) = self.a.bound().checked_sub(1) {
            let end = (self.columns - 1) / WIDTH * self.b_panel + last * WIDTH + WIDTH.min(self.columns);
            assert!(end <= self.b.len(), "b is large enough");
        }
        match self.init {
            Init::Zero => {}
            Init::Row(init) => assert!(init.len() >= self.columns, "one init a column"),
            Init::Sums(sums) => sums.check(rows, self.columns),
        }
        self.c.check(rows, self.columns);
        self.finish.check(rows, self.columns);
    }
}

/// One panel of scaled inputs, to be filled.
pub struct Scaling<'a> {
    /// Features of a sample.
    pub features: usize,
    /// The panel's first feature,
    pub first: usize,
    /// and the scales of its features, at most 32.
    pub scale: &'a [f32],
    /// Which samples.
    pub samples: Samples<'a>,
    /// The samples of the next batch, whose inputs are asked for from memory meanwhile.
    pub next: Option<Samples<'a>>,
    /// The panel's rows, one a sample.
    pub s: &'a mut [f32],
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels {
    product: unsafe fn(&Product<'_>),
    sparse_product: unsafe fn(&SparseProduct<'_>),
    list: unsafe fn(Source<'_>, &Listing<'_>, &mut Lists, Option<&mut Lists>),
    transpose: unsafe fn(&[f32], &mut [f32]),
    activate: unsafe fn(Activation, &mut [f32]),
    derive: unsafe fn(Activation, &[f32], &mut [f32]),
    judge: unsafe fn(&mut LossRows<'_>),
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

    /// Computes the outputs.
    ///
    /// # Safety
    /// No other thread may touch these outputs in `c`, nor write what is read of `a`, meanwhile, and the outputs may
    /// overlap none of the other slices.
    pub unsafe fn product(&self, product: &Product<'_>) {
        product.check();
        // SAFETY: `new` found the instruction set; `check` found the bounds; aliasing is the caller's promise.
        unsafe { (self.product)(product) }
    }

    /// Computes the outputs.
    ///
    /// # Safety
    /// No other thread may touch these outputs in `c`, nor the sums that they start at, meanwhile, and they may overlap
    /// none of the other slices.
    pub unsafe fn sparse_product(&self, product: &SparseProduct<'_>) {
        product.check();
        // SAFETY: `new` found the instruction set; `check` found the bounds; aliasing is the caller's promise.
        unsafe { (self.sparse_product)(product) }
    }

    /// Lists the non-zeros of a block of scaled inputs by samples, and by features if asked.
    pub fn list(&self, inputs: Source<'_>, block: &Listing<'_>, rows: &mut Lists, columns: Option<&mut Lists>) {
        block.check(inputs.len());
        // SAFETY: `new` found the instruction set; `check` found the bounds; the lists make room for themselves.
        unsafe { (self.list)(inputs, block, rows, columns) }
    }

    /// Transposes a block of 32 by 32 values.
    pub fn transpose(&self, from: &[f32], to: &mut [f32]) {
        assert!(from.len() >= WIDTH * WIDTH && to.len() >= WIDTH * WIDTH, "a block is 32 by 32");
        // SAFETY: `new` found the instruction set; both slices are long enough.
        unsafe { (self.transpose)(from, to) }
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

    /// Losses, predictions and gradients of some samples.
    pub(crate) fn judge(&self, rows: &mut LossRows<'_>) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.judge)(rows) }
    }

    /// Multiplies and adds on registers alone, `rounds` times as often as is worth a loop; how often in all. What the
    /// processor can do.
    pub(crate) fn multiply_add(&self, rounds: u64) -> u64 {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.multiply_add)(rounds) }
    }

    /// `s = x · scale` for one panel of features.
    pub fn scale(&self, inputs: Source<'_>, scaling: &mut Scaling<'_>) {
        // SAFETY: `new` found the instruction set.
        unsafe { (self.scale)(inputs, scaling) }
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds; `c` is unaliased.
#[inline(always)]
unsafe fn product<V: Vector>(product: &Product<'_>) {
    let mut j = 0;
    while j < product.columns {
        let left = ((product.columns - j) / V::LANES).min(V::ACROSS);
        // SAFETY: `left` vectors from j on are inside the panel.
        unsafe {
            match left {
                4.. => strip::<V, 4>(product, j),
                2..=3 => strip::<V, 2>(product, j),
                _ => strip::<V, 1>(product, j),
            }
        }
        j += left * V::LANES;
    }
}

/// All rows of `ACROSS` vectors of columns from `j` on.
///
/// # Safety
/// As for [`product`], and the columns are inside the panel.
#[inline(always)]
unsafe fn strip<V: Vector, const ACROSS: usize>(product: &Product<'_>, j: usize) {
    let mut i = 0;
    while i < product.rows {
        // SAFETY: each tile has no more rows than are left.
        unsafe {
            match (product.rows - i).min(V::ROWS) {
                8.. => (tile::<V, 8, ACROSS>(product, i, j), i += 8).0,
                6..=7 => (tile::<V, 6, ACROSS>(product, i, j), i += 6).0,
                4..=5 => (tile::<V, 4, ACROSS>(product, i, j), i += 4).0,
                2..=3 => (tile::<V, 2, ACROSS>(product, i, j), i += 2).0,
                _ => (tile::<V, 1, ACROSS>(product, i, j), i += 1).0,
            }
        }
    }
}

/// `ROWS` rows from `i`, `ACROSS` vectors from column `j`.
///
/// # Safety
/// As for [`product`], and the tile is inside the panel.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const ACROSS: usize>(product: &Product<'_>, i: usize, j: usize) {
    // SAFETY: (whole body) every offset is at most the one that `check` has found inside its slice, since
    // i + ROWS ≤ rows, j + ACROSS · LANES ≤ columns, and depth indices stay below depth.
    unsafe {
        let mut c = [[V::splat(0.0); ACROSS]; ROWS];
        if let Some(init) = product.init {
            let start: [V; ACROSS] = std::array::from_fn(|n| V::load(init.as_ptr().add(j + n * V::LANES)));
            c = [start; ROWS];
        }
        let mut panel = product.a.as_ptr().wrapping_add(i * product.a_row);
        let mut b = product.b.as_ptr().wrapping_add(j);
        let mut left = product.depth;
        while left > 0 {
            let mut a = panel;
            for _ in 0..left.min(WIDTH) {
                let across: [V; ACROSS] = std::array::from_fn(|n| V::load(b.add(n * V::LANES)));
                for (r, row) in c.iter_mut().enumerate() {
                    let value = V::splat(*a.add(r * product.a_row));
                    for n in 0..ACROSS {
                        row[n] = value.fma(across[n], row[n]);
                    }
                }
                a = a.wrapping_add(product.a_depth);
                b = b.wrapping_add(WIDTH);
            }
            left -= left.min(WIDTH);
            panel = panel.wrapping_add(product.a_panel);
        }
        for (r, row) in c.into_iter().enumerate() {
            for (n, sum) in row.into_iter().enumerate() {
                let j = j + n * V::LANES;
                let to = product.c.as_mut_ptr().add(product.c_at + (i + r) * WIDTH + j);
                finish(&product.finish, sum, i + r, j, to);
            }
        }
    }
}

/// The epilogue for a vector of sums in row `i` from column `j`, whose outputs are at `to`.
///
/// # Safety
/// As for [`product`], and the outputs are inside the panel.
#[inline(always)]
unsafe fn finish<V: Vector>(finish: &Finish<'_>, sum: V, i: usize, j: usize, to: *mut f32) {
    // SAFETY: row i and columns from j on are inside the block, so inside `fold` and c by `check`.
    unsafe {
        match *finish {
            Finish::Store => sum.store(to),
            Finish::StorePositiveZero => sum.add(V::splat(0.0)).store(to),
            Finish::Descend { learning_rate, fold } => {
                let gradient = match fold {
                    None => sum,
                    Some((shift, bias_gradient)) => V::splat(*shift.as_ptr().add(i))
                        .fma(V::load(bias_gradient.as_ptr().add(j)), sum)
                        .add(V::splat(0.0)),
                };
                V::splat(-learning_rate).fma(gradient, V::load(to)).store(to);
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
        // SAFETY: each strip has no more vectors than are left. Strips get shorter by halves, so one that is longer
        // than a panel starts at a panel's start, and no other crosses from panel to panel.
        unsafe {
            match left {
                8.. => (sparse_strip::<V, 8>(product, j), j += 8 * V::LANES).0,
                4..=7 => (sparse_strip::<V, 4>(product, j), j += 4 * V::LANES).0,
                2..=3 => (sparse_strip::<V, 2>(product, j), j += 2 * V::LANES).0,
                _ => (sparse_strip::<V, 1>(product, j), j += V::LANES).0,
            }
        }
    }
}

/// `ALONG` vectors of columns from `j` on, all rows, two by two.
///
/// # Safety
/// As for [`sparse_product`], and the columns are inside the block.
#[inline(always)]
unsafe fn sparse_strip<V: Vector, const ALONG: usize>(product: &SparseProduct<'_>, j: usize) {
    // Of vector n, from the first one on, in a matrix whose panels are this far apart.
    let offset = |n: usize, panel: usize| n * V::LANES / WIDTH * panel + n * V::LANES % WIDTH;
    let start = |panel: usize| j / WIDTH * panel + j % WIDTH;
    let (c_panel, b_panel) = (product.c.panel, product.b_panel);
    let (first, rows) = product.rows;
    // SAFETY: (whole body) `check` has found b long enough for every column of the lists, and init and c for all rows.
    unsafe {
        let b = product.b.as_ptr().add(start(b_panel));
        let c = product.c.values.as_mut_ptr().add(product.c.at + start(c_panel));
        let begin = |i: usize| -> [V; ALONG] {
            match product.init {
                Init::Row(init) => std::array::from_fn(|n| V::load(init.as_ptr().add(j + n * V::LANES))),
                Init::Sums(Place { values, at, panel }) if i < rows => {
                    let from = values.as_mut_ptr().add(at + start(panel) + i * WIDTH);
                    std::array::from_fn(|n| V::load(from.add(offset(n, panel))))
                }
                Init::Zero | Init::Sums(_) => [V::splat(0.0); ALONG],
            }
        };
        for i in (0..rows).step_by(2) {
            let (mut even, mut odd) = (begin(i), begin(i + 1));
            let (values, columns) = product.a.pair(first / 2 + i / 2);
            for ((&x, &y), &column) in values[0].iter().zip(values[1]).zip(columns) {
                let (x, y) = (V::splat(x), V::splat(y));
                let b = b.add(column as usize * WIDTH);
                for n in 0..ALONG {
                    let value = V::load(b.add(offset(n, b_panel)));
                    even[n] = x.fma(value, even[n]);
                    odd[n] = y.fma(value, odd[n]);
                }
            }
            for n in 0..ALONG {
                let (j, to) = (j + n * V::LANES, c.add(i * WIDTH + offset(n, c_panel)));
                finish(&product.finish, even[n], i, j, to);
                if i + 1 < rows {
                    finish(&product.finish, odd[n], i + 1, j, to.add(WIDTH));
                }
            }
        }
    }
}

/// A kind of stored input.
trait Input: Copy + Into<f32> {
    /// # Safety
    /// As for V, and there are LANES values to read.
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Input for u8 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_bytes(from) }
    }
}

impl Input for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }
}

/// In squares of LANES by LANES: by samples from the rows as they are, by features from the transposed square.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it; `block.check()` holds.
#[inline(always)]
unsafe fn list<V: Vector, T: Input>(x: &[T], block: &Listing<'_>, rows: &mut Lists, columns: Option<&mut Lists>) {
    let (height, width) = (block.samples.len(), block.scale.len());
    rows.clear(height, width);
    let rows = rows.writer();
    let columns = columns.map(|columns| {
        columns.clear(width, height);
        columns.writer()
    });
    let (mut square, mut transposed) = ([0.0; HALF * HALF], [0.0; HALF * HALF]);
    let mut starts = [0; HALF];
    for row in (0..height).step_by(V::LANES) {
        let inside = V::LANES.min(height - row);
        for (i, start) in starts.iter_mut().enumerate().take(inside) {
            *start = block.samples.get(row + i) * block.features + block.first;
            if let Some(next) = block.next.filter(|next| row + i < next.len()) {
                let next = x.as_ptr().wrapping_add(next.get(row + i) * block.features + block.first);
                (0..width * size_of::<T>()).step_by(64).for_each(|byte| prefetch::to_read(next, byte));
            }
        }
        for column in (0..width).step_by(V::LANES) {
            // SAFETY: `check` has found the samples inside x and the block no larger than the lists have been cleared
            // for; a square is LANES by LANES or larger.
            unsafe {
                if inside == V::LANES && column + V::LANES <= width {
                    let scale = V::load(block.scale.as_ptr().add(column));
                    for (i, start) in starts.iter().enumerate().take(V::LANES) {
                        let s = T::load::<V>(x.as_ptr().add(start + column)).mul(scale);
                        s.store(square.as_mut_ptr().add(i * V::LANES));
                    }
                } else {
                    square.fill(0.0);
                    for (i, start) in starts.iter().enumerate().take(inside) {
                        for k in 0..V::LANES.min(width - column) {
                            square[i * V::LANES + k] = x[start + column + k].into() * block.scale[column + k];
                        }
                    }
                }
                let any = append_rows::<V>(&square, rows, row / 2, inside, column);
                if let Some(columns) = columns.filter(|_| any != 0) {
                    V::transpose(square.as_ptr(), V::LANES, transposed.as_mut_ptr(), V::LANES);
                    append_rows::<V>(&transposed, columns, column / 2, V::LANES.min(width - column), row);
                }
            }
        }
    }
}

/// Appends what is not zero in `rows` rows of a square to the lists from `pair` on, in columns from `column` on.
/// Bits are set in the result for columns that are not all zero.
///
/// # Safety
/// As for [`Writer::append`]; the square is LANES by LANES or larger, and the rows below `rows` are zero.
#[inline(always)]
unsafe fn append_rows<V: Vector>(
    square: &[f32; HALF * HALF],
    to: Writer,
    pair: usize,
    rows: usize,
    column: usize,
) -> u32 {
    let mut any = 0;
    for i in (0..rows).step_by(2) {
        // SAFETY: the caller's promise.
        unsafe {
            let load = |i: usize| V::load(square.as_ptr().add(i * V::LANES));
            let values = [load(i), load(i + 1)];
            let lanes = values[0].non_zero() | values[1].non_zero();
            any |= lanes;
            to.append(pair + i / 2, values, lanes, column);
        }
    }
    any
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; both slices hold 32 by 32 values.
#[inline(always)]
unsafe fn transpose<V: Vector>(from: &[f32], to: &mut [f32]) {
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

/// Twelve chains, more than any processor needs to keep its multipliers busy, and fewer than any has registers.
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

/// Row by row, a panel's whole width at once where the panel is full.
#[inline(always)]
fn scale_all<T: Input>(x: &[T], scaling: &mut Scaling<'_>) {
    let (scale, first, samples) = (scaling.scale, scaling.first, scaling.samples);
    for (b, s) in scaling.s.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate().take(samples.len()) {
        if let Some(next) = scaling.next.filter(|next| b < next.len()) {
            prefetch::to_read(x.as_ptr().wrapping_add(next.get(b) * scaling.features + first), 0);
        }
        let at = samples.get(b) * scaling.features + first;
        let x = &x[at..at + scale.len()];
        match (x.first_chunk::<WIDTH>(), scale.first_chunk::<WIDTH>()) {
            (Some(x), Some(scale)) => (0..WIDTH).for_each(|k| s[k] = x[k].into() * scale[k]),
            _ => s.iter_mut().zip(x).zip(scale).for_each(|((s, &x), &scale)| *s = x.into() * scale),
        }
    }
}

/// A module with the bodies above compiled for one instruction set.
macro_rules! compile {
    ($module:ident, $vector:ty $(, $features:literal)?) => {
        mod $module {
            use super::*;

            pub(super) const KERNELS: Kernels = Kernels {
                product, sparse_product, list, transpose, activate, derive, judge, scale,
                multiply_add,
            };

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
            unsafe fn list(inputs: Source<'_>, block: &Listing<'_>, rows: &mut Lists, columns: Option<&mut Lists>) {
                // SAFETY: as above.
                unsafe {
                    match inputs {
                        Source::Bytes(x) => super::list::<$vector, u8>(x, block, rows, columns),
                        Source::Floats(x) => super::list::<$vector, f32>(x, block, rows, columns),
                    }
                }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(from: &[f32], to: &mut [f32]) {
                // SAFETY: as above.
                unsafe { super::transpose::<$vector>(from, to) }
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
            unsafe fn judge(rows: &mut LossRows<'_>) {
                judge_rows(rows);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn multiply_add(rounds: u64) -> u64 {
                // SAFETY: as above.
                unsafe { super::multiply_add::<$vector>(rounds) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn scale(inputs: Source<'_>, scaling: &mut Scaling<'_>) {
                match inputs {
                    Source::Bytes(x) => scale_all(x, scaling),
                    Source::Floats(x) => scale_all(x, scaling),
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
