//! The product with lists of non-zeros. A pair of rows of outputs stays in registers while the pair's list is read.

use crate::buffer::{HALF, Shared};
use crate::kernels::{Finish, finish};
use crate::sparse::Lists;
use crate::vector::Vector;

/// A product whose `a` is given by lists of its non-zeros, on one or several panels:
/// `c[i,j] = finish(init[i,j] + Σ a[i,p] · b[p,j])`, summed over the listed p in ascending order.
#[derive(Clone, Copy)]
pub struct SparseProduct<'a> {
    /// The non-zeros of each row of `a`.
    pub a: &'a Lists,
    /// The first row of `a`, and the number of rows. The rows of `c` are counted from the first one.
    pub rows: (usize, usize),
    /// Columns of outputs, a multiple of 16.
    pub columns: usize,
    /// `b[p, j]` is at `j / width · b_panel + width · p + j % width`.
    pub b: &'a [f32],
    /// See `b`.
    pub b_panel: usize,
    /// The initial sums.
    pub init: Init<'a>,
    /// Sums of earlier blocks of the batch (rule 3), which are added to the outputs' sums one after the other. One of them
    /// may be `c`.
    pub earlier: &'a [Place<'a>],
    /// Where `c[i, j]` is.
    pub c: Place<'a>,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

/// Some panels of a matrix inside a larger one: `[i, j]` is at `at + j / width · panel + width · i + j % width`.
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
    fn check(&self, rows: usize, columns: usize, width: usize) {
        let last = (columns - 1) / width * self.panel + (rows - 1) * width + width.min(columns) - 1;
        assert!(last < self.values.len() && self.at < self.values.len() - last, "a place is large enough");
    }
}

/// The initial sums of a [`SparseProduct`].
#[derive(Clone, Copy)]
pub enum Init<'a> {
    /// All sums start at 0.
    Zero,
    /// One value per column.
    Row(&'a [f32]),
    /// One value per output. It may be `c` itself.
    Sums(Place<'a>),
}

impl SparseProduct<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    pub(super) fn check(&self, width: usize) {
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
            let end = (self.columns - 1) / width * self.b_panel + last * width + width.min(self.columns);
            assert!(end <= self.b.len(), "b is large enough");
        }
        match self.init {
            Init::Zero => {}
            Init::Row(init) => assert!(init.len() >= self.columns, "one init per column"),
            Init::Sums(sums) => sums.check(rows, self.columns, width),
        }
        self.earlier.iter().for_each(|sums| sums.check(rows, self.columns, width));
        self.c.check(rows, self.columns, width);
        self.finish.check(rows, self.columns);
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds; `c` is unaliased.
#[inline(always)]
pub(super) unsafe fn sparse_product<V: Vector>(product: &SparseProduct<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        if product.earlier.is_empty() {
            sparse_strips::<V, false>(product);
        } else {
            sparse_strips::<V, true>(product);
        }
    }
}

/// Computes all columns. `EARLIER` says whether there are earlier sums, so that without them there is no loop for them.
///
/// # Safety
/// As for [`sparse_product`].
#[inline(always)]
unsafe fn sparse_strips<V: Vector, const EARLIER: bool>(product: &SparseProduct<'_>) {
    let mut j = 0;
    while j < product.columns {
        let left = ((product.columns - j) / V::LANES).min(V::ALONG);
        // SAFETY: each strip has no more vectors than are left. A strip of several panels begins at the start of a panel,
        // because all strips before it were whole panels. No other strip crosses from one panel to the next.
        unsafe {
            match left {
                8.. => (sparse_strip::<V, 8, EARLIER>(product, j), j += 8 * V::LANES).0,
                6..=7 if V::ALONG == 6 => (sparse_strip::<V, 6, EARLIER>(product, j), j += 6 * V::LANES).0,
                4..=7 => (sparse_strip::<V, 4, EARLIER>(product, j), j += 4 * V::LANES).0,
                2..=3 => (sparse_strip::<V, 2, EARLIER>(product, j), j += 2 * V::LANES).0,
                _ => (sparse_strip::<V, 1, EARLIER>(product, j), j += V::LANES).0,
            }
        }
    }
}

/// The initial sums of row `i`, from column `j` on. (A closure would not always be inlined, and would then lack the
/// instruction set.)
///
/// # Safety
/// As for [`sparse_strip`].
#[inline(always)]
unsafe fn begin<V: Vector, const ALONG: usize>(product: &SparseProduct<'_>, i: usize, j: usize) -> [V; ALONG] {
    let width = V::PANEL;
    // SAFETY: the instruction set is the caller's promise, and `check` has found the initial sums long enough for all
    // columns, and for all rows of the product.
    unsafe {
        let mut sums = [V::splat(0.0); ALONG];
        match product.init {
            Init::Row(init) => {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(init.as_ptr().add(j + n * V::LANES));
                }
            }
            Init::Sums(Place { values, at, panel }) if i < product.rows.1 => {
                let from = values.as_mut_ptr().add(at + j / width * panel + j % width + i * width);
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(from.add(n * V::LANES / width * panel + n * V::LANES % width));
                }
            }
            Init::Zero | Init::Sums(_) => {}
        }
        sums
    }
}

/// Computes all rows of `ALONG` vectors of columns from `j` on, two rows at a time.
///
/// # Safety
/// As for [`sparse_product`], and the columns are inside the block.
#[inline(always)]
unsafe fn sparse_strip<V: Vector, const ALONG: usize, const EARLIER: bool>(product: &SparseProduct<'_>, j: usize) {
    // The offset of vector n from the first one, in a matrix whose panels are `panel` values apart.
    let width = V::PANEL;
    let offset = |n: usize, panel: usize| n * V::LANES / width * panel + n * V::LANES % width;
    let start = |panel: usize| j / width * panel + j % width;
    let (c_panel, b_panel) = (product.c.panel, product.b_panel);
    let (first, rows) = product.rows;
    // SAFETY: (whole body) `check` has found b long enough for every column of the lists, and init, earlier
    // sums and c for all rows.
    unsafe {
        let b = product.b.as_ptr().add(start(b_panel));
        let c = product.c.values.as_mut_ptr().add(product.c.at + start(c_panel));
        for i in (0..rows).step_by(2) {
            let (mut even, mut odd) = (begin::<V, ALONG>(product, i, j), begin::<V, ALONG>(product, i + 1, j));
            let (values, columns) = product.a.pair(first / 2 + i / 2);
            for ((&x, &y), &column) in values[0].iter().zip(values[1]).zip(columns) {
                let (x, y) = (V::splat(x), V::splat(y));
                let b = b.add(column as usize * width);
                for n in 0..ALONG {
                    let value = V::load(b.add(offset(n, b_panel)));
                    even[n] = x.fma(value, even[n]);
                    odd[n] = y.fma(value, odd[n]);
                }
            }
            if EARLIER {
                for earlier in product.earlier {
                    let from = earlier.values.as_mut_ptr().add(earlier.at + start(earlier.panel) + i * width);
                    for n in 0..ALONG {
                        let from = from.add(offset(n, earlier.panel));
                        even[n] = V::load(from).add(even[n]);
                        if i + 1 < rows {
                            odd[n] = V::load(from.add(width)).add(odd[n]);
                        }
                    }
                }
            }
            let to = |r: usize, n: usize| c.add((i + r) * width + offset(n, c_panel));
            if i + 1 < rows {
                finish(&product.finish, [even, odd], (i, j), to);
            } else {
                finish(&product.finish, [even], (i, j), to);
            }
        }
    }
}
