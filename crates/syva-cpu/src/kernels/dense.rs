//! The dense product. A tile of outputs stays in registers while its sums run.
//!
//! A tile of ROWS rows is as wide as a panel. Its terms are taken in blocks of [`Vector::DEPTH`], and a block is run for
//! all tiles before the next one begins, so that its part of the panel of `b` stays in the first-level cache. Between two
//! blocks the sums wait in memory. That changes no bit, because each chain goes on in the same order.

use std::mem::MaybeUninit;

use crate::buffer::{HALF, Shared, View};
use crate::kernels::{Finish, finish};
use crate::vector::Vector;

/// The product for some rows of one panel. See the header of `kernels.rs`.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// Rows of outputs.
    pub rows: usize,
    /// Columns of outputs: 16 or 32, and no more than a panel has.
    pub columns: usize,
    /// Terms per sum.
    pub depth: usize,
    /// The first factor.
    pub a: Factor<'a>,
    /// `b[p, j]` is at `width · p + j`.
    pub b: &'a [f32],
    /// The initial sum of each column. `None` for zeros.
    pub init: Option<&'a [f32]>,
    /// Sums of earlier blocks of the batch (rule 3), which are added to the outputs' sums one after the other: `[i, j]` of
    /// each is at `width · i + j`. One of them may be `c`.
    pub earlier: &'a [View<'a, f32>],
    /// `c[i, j]` is at `c_at + width · i + j`.
    pub c: Shared<'a, f32>,
    /// See `c`.
    pub c_at: usize,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

/// The first factor of a product, `a[i, p]`, in panels as wide as those of the second.
#[derive(Clone, Copy)]
pub enum Factor<'a> {
    /// The terms of a sum are in a row: `a[i, p]` is at `p / width · panel + width · i + p % width`.
    Rows {
        /// The values.
        values: View<'a, f32>,
        /// The distance between two panels.
        panel: usize,
    },
    /// The terms of a sum are in a column of a single panel: `a[i, p]` is at `width · p + i`. If there is only one term,
    /// the rows may go on in the next panels, which then lie behind each other.
    Columns(View<'a, f32>),
}

impl Product<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    pub(super) fn check(&self, width: usize) {
        assert!(self.columns == HALF || self.columns == width, "columns are half a panel or one");
        if self.rows == 0 {
            return;
        }
        if let Some(last) = self.depth.checked_sub(1) {
            match self.a {
                Factor::Rows { values, panel } => {
                    let at = |p: usize| p / width * panel + p % width + (self.rows - 1) * width;
                    // The farthest term is the last one, or the last one of the panel before it.
                    let farthest = at(last).max(at((last / width * width).saturating_sub(1)));
                    assert!(farthest < values.len(), "a is large enough");
                }
                Factor::Columns(values) => {
                    assert!(self.rows <= width || last == 0, "a is one panel");
                    assert!(last * width + self.rows <= values.len(), "a is large enough");
                }
            }
            assert!(last * width + self.columns <= self.b.len(), "b is large enough");
        }
        assert!(self.c_at + (self.rows - 1) * width + self.columns <= self.c.len(), "c is large enough");
        assert!(self.init.is_none_or(|init| init.len() >= self.columns), "one init per column");
        let end = (self.rows - 1) * width + self.columns;
        assert!(self.earlier.iter().all(|sums| sums.len() >= end), "one earlier sum per output");
        self.finish.check(self.rows, self.columns);
    }
}

/// The most rows of a block of tiles, whose sums wait together.
const ROWS: usize = 64;

/// Sums that wait for their next terms, row after row.
#[repr(align(64))]
struct Waiting(#[expect(dead_code, reason = "used through pointers")] [f32; ROWS * 2 * HALF]);

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds; `c` is unaliased.
#[inline(always)]
pub(super) unsafe fn product<V: Vector>(product: &Product<'_>) {
    // SAFETY: the caller's promise; ACROSS vectors are all columns.
    unsafe {
        match (product.columns / V::LANES, product.a) {
            (4.., Factor::Rows { .. }) => blocks::<V, 4, true>(product),
            (4.., Factor::Columns(_)) => blocks::<V, 4, false>(product),
            (2..=3, Factor::Rows { .. }) => blocks::<V, 2, true>(product),
            (2..=3, Factor::Columns(_)) => blocks::<V, 2, false>(product),
            (_, Factor::Rows { .. }) => blocks::<V, 1, true>(product),
            (_, Factor::Columns(_)) => blocks::<V, 1, false>(product),
        }
    }
}

/// Computes all rows, of `ACROSS` vectors each. `BY_ROWS` says how `a` lies.
///
/// # Safety
/// As for [`product`], and there are `ACROSS` vectors of columns.
#[inline(always)]
unsafe fn blocks<V: Vector, const ACROSS: usize, const BY_ROWS: bool>(product: &Product<'_>) {
    // As few blocks as possible, and about as long as each other.
    let count = product.depth.div_ceil(V::DEPTH).max(1);
    let depth = product.depth.div_ceil(count).next_multiple_of(V::PANEL);
    let mut waiting = MaybeUninit::<Waiting>::uninit();
    for first in (0..product.rows).step_by(ROWS) {
        let end = product.rows.min(first + ROWS);
        // As few tiles as possible, and about as high as each other: in a low one, too few sums run at once.
        let tiles = (end - first).div_ceil(V::ROWS);
        for block in 0..count {
            let terms = (block * depth, product.depth.min((block + 1) * depth));
            for n in 0..tiles {
                let (i, next) = (first + n * (end - first) / tiles, first + (n + 1) * (end - first) / tiles);
                let sums = waiting.as_mut_ptr().cast::<f32>().wrapping_add((i - first) * ACROSS * V::LANES);
                // SAFETY: the tiles are as high as V's highest at most, and `waiting` has room for all of the block's.
                unsafe {
                    match next - i {
                        8 if V::ROWS >= 8 => tile::<V, 8, ACROSS, BY_ROWS>(product, i, terms, sums),
                        7 if V::ROWS >= 7 => tile::<V, 7, ACROSS, BY_ROWS>(product, i, terms, sums),
                        6 => tile::<V, 6, ACROSS, BY_ROWS>(product, i, terms, sums),
                        5 => tile::<V, 5, ACROSS, BY_ROWS>(product, i, terms, sums),
                        4 => tile::<V, 4, ACROSS, BY_ROWS>(product, i, terms, sums),
                        3 => tile::<V, 3, ACROSS, BY_ROWS>(product, i, terms, sums),
                        2 => tile::<V, 2, ACROSS, BY_ROWS>(product, i, terms, sums),
                        _ => tile::<V, 1, ACROSS, BY_ROWS>(product, i, terms, sums),
                    }
                }
            }
        }
    }
}

/// Adds the terms from `terms.0` to `terms.1` to the sums of a tile, which has `ROWS` rows from `i` on. The sums of
/// terms before are at `waiting`, and unless these are the last ones, so are the sums afterwards.
///
/// # Safety
/// As for [`blocks`], the tile's rows are inside the product, the terms begin with a panel, and the tile's sums have room
/// at `waiting`.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const ACROSS: usize, const BY_ROWS: bool>(
    product: &Product<'_>,
    i: usize,
    terms: (usize, usize),
    waiting: *mut f32,
) {
    let at = |r: usize, n: usize| (r * ACROSS + n) * V::LANES;
    // SAFETY: (whole body) every offset is at most the one that `check` has found inside its slice, because
    // i + ROWS ≤ rows, ACROSS · LANES = columns, and indices of terms stay below depth.
    unsafe {
        let mut c = [[V::splat(0.0); ACROSS]; ROWS];
        if terms.0 > 0 {
            c = std::array::from_fn(|r| std::array::from_fn(|n| V::load(waiting.add(at(r, n)))));
        } else if let Some(init) = product.init {
            let start: [V; ACROSS] = std::array::from_fn(|n| V::load(init.as_ptr().add(n * V::LANES)));
            c = [start; ROWS];
        }
        // The distances from a row to the next, from a term to the next, and from a panel to the next.
        let (values, row, term, panel) = match product.a {
            Factor::Rows { values, panel } if BY_ROWS => (values, V::PANEL, 1, panel),
            Factor::Rows { values, .. } | Factor::Columns(values) => (values, 1, V::PANEL, V::PANEL * V::PANEL),
        };
        let mut start = values.as_ptr().wrapping_add(i * row + terms.0 / V::PANEL * panel);
        let mut b = product.b.as_ptr().wrapping_add(terms.0 * V::PANEL);
        let mut left = terms.1 - terms.0;
        while left >= V::PANEL {
            for p in (0..V::PANEL).step_by(4) {
                let (a, b) = (start.add(p * term), b.add(p * V::PANEL));
                add(&mut c, a, row, b);
                add(&mut c, a.add(term), row, b.add(V::PANEL));
                add(&mut c, a.add(2 * term), row, b.add(2 * V::PANEL));
                add(&mut c, a.add(3 * term), row, b.add(3 * V::PANEL));
            }
            b = b.wrapping_add(V::PANEL * V::PANEL);
            left -= V::PANEL;
            start = start.wrapping_add(panel);
        }
        for p in 0..left {
            add(&mut c, start.add(p * term), row, b.add(p * V::PANEL));
        }
        if terms.1 < product.depth {
            for (r, sums) in c.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    sum.store(waiting.add(at(r, n)));
                }
            }
            return;
        }
        for earlier in product.earlier {
            let from = earlier.as_ptr().add(i * V::PANEL);
            for (r, sums) in c.iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(from.add(r * V::PANEL + n * V::LANES)).add(*sum);
                }
            }
        }
        let to = product.c.as_mut_ptr().add(product.c_at + i * V::PANEL);
        finish(&product.finish, c, (i, 0), |r, n| to.add(r * V::PANEL + n * V::LANES));
    }
}

/// Adds a term to the sums of a tile: `a` has a value for each row, `row` values apart, and `b` one for each column.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it; all values can be read.
#[inline(always)]
unsafe fn add<V: Vector, const ROWS: usize, const ACROSS: usize>(
    sums: &mut [[V; ACROSS]; ROWS],
    a: *const f32,
    row: usize,
    b: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let across: [V; ACROSS] = std::array::from_fn(|n| V::load(b.add(n * V::LANES)));
        for (r, sums) in sums.iter_mut().enumerate() {
            let value = V::splat(*a.add(r * row));
            for n in 0..ACROSS {
                sums[n] = value.fma(across[n], sums[n]);
            }
        }
    }
}
