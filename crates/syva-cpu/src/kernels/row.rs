//! The product of one sample with a layer's weights. The sums of many units stay in registers while the sample is read.
//!
//! With only one sample, each weight is used once, so the goal is to read the weights at the speed of their cache.
//! Eight chains run at once, which is enough to hide the latency of a multiply-add.

use crate::buffer::HALF;
use crate::sparse::Lists;
use crate::vector::Vector;

/// `c[j] = init[j] + Σ x[p] · b[p, j]` over p in ascending order.
pub(crate) struct RowProduct<'a> {
    /// The sample.
    pub(crate) x: Row<'a>,
    /// `b[p, j]` is at `j / width · b_panel + width · p + j % width`.
    pub(crate) b: &'a [f32],
    /// See `b`.
    pub(crate) b_panel: usize,
    /// The initial sums. `None` to continue with those in `c`.
    pub(crate) init: Option<&'a [f32]>,
    /// The sums. Their number is a multiple of 16.
    pub(crate) c: &'a mut [f32],
    /// Whether negative zeros become positive (rule 5).
    pub(crate) positive_zero: bool,
}

/// One sample, as a factor.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    /// Its non-zeros: the first row of these lists.
    Listed(&'a Lists),
    /// All of its values.
    Dense(&'a [f32]),
}

impl RowProduct<'_> {
    /// Panics unless every access is inside the slices. Kernels rely on it.
    pub(super) fn check(&self, width: usize) {
        let columns = self.c.len();
        assert!(columns.is_multiple_of(HALF) && columns > 0, "columns are padded");
        let depth = match self.x {
            Row::Listed(lists) => {
                assert!(lists.rows() > 0, "a row is listed");
                lists.bound()
            }
            Row::Dense(x) => x.len(),
        };
        if let Some(last) = depth.checked_sub(1) {
            let end = (columns - 1) / width * self.b_panel + last * width + width.min(columns);
            assert!(end <= self.b.len(), "b is large enough");
        }
        assert!(self.init.is_none_or(|init| init.len() >= columns), "one init per column");
    }
}

/// # Safety
/// The processor has V's instruction set and this is compiled for it; `product.check()` holds.
#[inline(always)]
pub(super) unsafe fn row_product<V: Vector>(product: &mut RowProduct<'_>) {
    let columns = product.c.len();
    let mut j = 0;
    while j < columns {
        // SAFETY: each strip has no more vectors than are left. Strips get shorter by halves. So a strip that is longer
        // than a panel starts at the start of a panel, and no other strip crosses from one panel to the next.
        unsafe {
            match (columns - j) / V::LANES {
                8.. => (strip::<V, 8>(product, j), j += 8 * V::LANES).0,
                4..=7 => (strip::<V, 4>(product, j), j += 4 * V::LANES).0,
                2..=3 => (strip::<V, 2>(product, j), j += 2 * V::LANES).0,
                _ => (strip::<V, 1>(product, j), j += V::LANES).0,
            }
        }
    }
}

/// Computes `ALONG` vectors of columns from `j` on.
///
/// # Safety
/// As for [`row_product`], and the columns are inside the block.
#[inline(always)]
unsafe fn strip<V: Vector, const ALONG: usize>(product: &mut RowProduct<'_>, j: usize) {
    let (width, panel) = (V::PANEL, product.b_panel);
    // SAFETY: (whole body) `check` has found b long enough for every row of x, and c and init for all columns.
    unsafe {
        let b = product.b.as_ptr().add(j / width * panel + j % width);
        let c = product.c.as_mut_ptr().add(j);
        let from = product.init.map_or(c.cast_const(), |init| init.as_ptr().add(j));
        let mut sums: [V; ALONG] = std::array::from_fn(|n| V::load(from.add(n * V::LANES)));
        match product.x {
            Row::Dense(x) => {
                for (p, &x) in x.iter().enumerate() {
                    add(&mut sums, x, b.add(p * width), panel);
                }
            }
            Row::Listed(lists) => {
                let ([values, _], rows) = lists.pair(0);
                for (&x, &p) in values.iter().zip(rows) {
                    add(&mut sums, x, b.add(p as usize * width), panel);
                }
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            let sum = if product.positive_zero { sum.add(V::splat(0.0)) } else { sum };
            sum.store(c.add(n * V::LANES));
        }
    }
}

/// Adds the product of a value and a row of b to the sums. `b` is the row's first vector, in panels `panel` values apart.
/// (A function, because a closure is not always inlined, and then it lacks V's instruction set.)
///
/// # Safety
/// As for V, and there are `ALONG` vectors to read.
#[inline(always)]
unsafe fn add<V: Vector, const ALONG: usize>(sums: &mut [V; ALONG], value: f32, b: *const f32, panel: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let value = V::splat(value);
        for (n, sum) in sums.iter_mut().enumerate() {
            let at = n * V::LANES / V::PANEL * panel + n * V::LANES % V::PANEL;
            *sum = value.fma(V::load(b.add(at)), *sum);
        }
    }
}
