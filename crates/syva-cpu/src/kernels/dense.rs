//! The dense product. A tile of outputs stays in registers while its sums run.

use crate::buffer::{HALF, Shared, View, WIDTH};
use crate::kernels::{Finish, finish};
use crate::vector::Vector;

/// The product for some rows of one panel. See the header of `kernels.rs`.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// Rows of outputs.
    pub rows: usize,
    /// Columns of outputs: 16 or 32.
    pub columns: usize,
    /// Terms per sum.
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
    /// The initial sum of each column. `None` for zeros.
    pub init: Option<&'a [f32]>,
    /// `c[i, j]` is at `c_at + 32 · i + j`.
    pub c: Shared<'a, f32>,
    /// See `c`.
    pub c_at: usize,
    /// What is done with the sums.
    pub finish: Finish<'a>,
}

impl Product<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    pub(super) fn check(&self) {
        assert!(self.columns == HALF || self.columns == WIDTH, "columns are half a panel or one");
        if self.rows == 0 {
            return;
        }
        if let Some(last) = self.depth.checked_sub(1) {
            let a = |p: usize| p / WIDTH * self.a_panel + p % WIDTH * self.a_depth + (self.rows - 1) * self.a_row;
            // The farthest term is the last one, or the last one of the panel before it.
            let farthest = a(last).max(a((last / WIDTH * WIDTH).saturating_sub(1)));
            assert!(farthest < self.a.len(), "a is large enough");
            assert!(last * WIDTH + self.columns <= self.b.len(), "b is large enough");
        }
        assert!(self.c_at + (self.rows - 1) * WIDTH + self.columns <= self.c.len(), "c is large enough");
        assert!(self.init.is_none_or(|init| init.len() >= self.columns), "one init per column");
        self.finish.check(self.rows, self.columns);
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds; `c` is unaliased.
#[inline(always)]
pub(super) unsafe fn product<V: Vector>(product: &Product<'_>) {
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

/// Computes all rows of `ACROSS` vectors of columns from `j` on.
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

/// Computes a tile: `ROWS` rows from `i` on, `ACROSS` vectors from column `j` on.
///
/// # Safety
/// As for [`product`], and the tile is inside the panel.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const ACROSS: usize>(product: &Product<'_>, i: usize, j: usize) {
    // SAFETY: (whole body) every offset is at most the one that `check` has found inside its slice, because
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
        let to = product.c.as_mut_ptr().add(product.c_at + i * WIDTH + j);
        finish(&product.finish, c, (i, j), |r, n| to.add(r * WIDTH + n * V::LANES));
    }
}
