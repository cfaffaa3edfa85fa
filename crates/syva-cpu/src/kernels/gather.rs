//! Scales inputs into panels, or lists those that are not zero. At the same time it prefetches the next batch's inputs.

use crate::buffer::HALF;
use crate::memory::Samples;
use crate::prefetch;
use crate::sparse::Lists;
use crate::vector::Vector;

/// A block of raw inputs.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// Features per sample.
    pub features: usize,
    /// The block's first feature.
    pub first: usize,
    /// The scales of the block's features, as many as the block has.
    pub scale: &'a [f32],
    /// The block's samples.
    pub samples: Samples<'a>,
    /// The samples of the next batch, whose inputs are prefetched.
    pub next: Option<Samples<'a>>,
}

/// A block of inputs to be scaled into panels.
pub struct Scaling<'a> {
    /// The inputs.
    pub block: Block<'a>,
    /// `s[b, k]` is at `k / width · panel + width · b + k % width`. k is rounded up to whole panels.
    pub s: &'a mut [f32],
    /// See `s`.
    pub panel: usize,
}

impl Block<'_> {
    /// Panics unless the block is inside inputs of `len` values. Kernels rely on it.
    pub(super) fn check(&self, len: usize) {
        let last = (0..self.samples.len()).map(|b| self.samples.get(b)).max().unwrap_or(0);
        assert!(last * self.features + self.first + self.scale.len() <= len, "samples of the data");
    }
}

impl Scaling<'_> {
    /// Panics unless the block is inside inputs of `len` values and `s` has room for it. Kernels rely on it.
    pub(super) fn check(&self, len: usize, width: usize) {
        self.block.check(len);
        let panels = self.block.scale.len().div_ceil(width);
        assert!(panels.saturating_sub(1) * self.panel + self.block.samples.len() * width <= self.s.len(), "s has room");
    }
}

/// A type of stored inputs.
pub(super) trait Input: Copy + Into<f32> {
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

impl Block<'_> {
    /// The index in x at which the block's part of a sample starts.
    #[inline(always)]
    fn at(&self, sample: usize) -> usize {
        self.samples.get(sample) * self.features + self.first
    }

    /// LANES scaled values of a sample, from a column of the block on. Beyond the block's width they are zeros.
    ///
    /// # Safety
    /// As for V; `check` holds for x; `at` was returned by [`Block::at`], and the column is one of the block's.
    #[inline(always)]
    unsafe fn load<V: Vector, T: Input>(&self, x: &[T], at: usize, column: usize) -> V {
        // SAFETY: `check` has found the block inside x, and `rest` returns LANES values or more.
        unsafe {
            if column + V::LANES <= self.scale.len() {
                T::load::<V>(x.as_ptr().add(at + column)).mul(V::load(self.scale.as_ptr().add(column)))
            } else {
                V::load(rest(&x[at + column..], &self.scale[column..]).as_ptr())
            }
        }
    }

    /// Prefetches the next batch's part of this block.
    #[inline(always)]
    fn prefetch<T>(&self, x: &[T], sample: usize) {
        if let Some(next) = self.next.filter(|next| sample < next.len()) {
            let next = x.as_ptr().wrapping_add(next.get(sample) * self.features + self.first);
            (0..self.scale.len() * size_of::<T>()).step_by(64).for_each(|byte| prefetch::to_read(next, byte));
        }
    }
}

/// Scaled values that do not fill a register, and zeros behind them. Rarely needed, so kept out of the loops.
#[cold]
#[inline(never)]
fn rest<T: Input>(x: &[T], scale: &[f32]) -> [f32; HALF] {
    let mut rest = [0.0; HALF];
    for (rest, (&x, scale)) in rest.iter_mut().zip(x.iter().zip(scale)) {
        *rest = x.into() * scale;
    }
    rest
}

/// Lists the non-zeros by sample, two samples at a time.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it; `block.check()` holds.
#[inline(always)]
pub(super) unsafe fn list_samples<V: Vector, T: Input>(x: &[T], block: &Block<'_>, lists: &mut Lists) {
    let (height, width) = (block.samples.len(), block.scale.len());
    lists.clear(height, width);
    let writer = lists.writer();
    for row in (0..height).step_by(2) {
        let (even, odd) = (block.at(row), block.at((row + 1).min(height - 1)));
        block.prefetch(x, row);
        block.prefetch(x, row + 1);
        let mut len = 0;
        // SAFETY: rows and columns are inside the block, for which the lists have been cleared.
        unsafe {
            for column in (0..width).step_by(V::LANES) {
                let first = block.load::<V, T>(x, even, column);
                let second = if row + 1 < height { block.load::<V, T>(x, odd, column) } else { V::splat(0.0) };
                len = writer.append(row / 2, len, [first, second], column);
            }
            writer.end(row / 2, len);
        }
    }
}

/// Lists the non-zeros by feature. It works in squares of LANES by LANES values, which it transposes.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it; `block.check()` holds.
#[inline(always)]
pub(super) unsafe fn list_features<V: Vector, T: Input>(x: &[T], block: &Block<'_>, lists: &mut Lists) {
    let (height, width) = (block.samples.len(), block.scale.len());
    lists.clear(width, height);
    let writer = lists.writer();
    let (mut square, mut transposed) = ([0.0; HALF * HALF], [0.0; HALF * HALF]);
    for column in (0..width).step_by(V::LANES) {
        let mut lens = [0; HALF / 2];
        let pairs = V::LANES.min(width - column).div_ceil(2);
        for row in (0..height).step_by(V::LANES) {
            let mut any = 0;
            // SAFETY: rows and columns are inside the block, for which the lists have been cleared; a square is LANES
            // by LANES or larger.
            unsafe {
                for i in 0..V::LANES {
                    let inside = row + i < height;
                    let values = if inside { block.load::<V, T>(x, block.at(row + i), column) } else { V::splat(0.0) };
                    any |= values.non_zero();
                    values.store(square.as_mut_ptr().add(i * V::LANES));
                }
                if any == 0 {
                    continue;
                }
                V::transpose(square.as_ptr(), V::LANES, transposed.as_mut_ptr(), V::LANES);
                for (pair, len) in lens.iter_mut().enumerate().take(pairs) {
                    let load = |i: usize| V::load(transposed.as_ptr().add(i * V::LANES));
                    *len = writer.append(column / 2 + pair, *len, [load(2 * pair), load(2 * pair + 1)], row);
                }
            }
        }
        for (pair, len) in lens.into_iter().enumerate().take(pairs) {
            // SAFETY: as above.
            unsafe { writer.end(column / 2 + pair, len) };
        }
    }
}

/// Scales the inputs, sample by sample.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it; `scaling.check()` holds.
#[inline(always)]
pub(super) unsafe fn scale<V: Vector, T: Input>(x: &[T], scaling: &mut Scaling<'_>) {
    let (panel, block) = (scaling.panel, &scaling.block);
    let to = scaling.s.as_mut_ptr();
    for row in 0..block.samples.len() {
        let at = block.at(row);
        block.prefetch(x, row);
        for column in (0..block.scale.len()).step_by(V::LANES) {
            // SAFETY: row and column are inside the block, and `check` has found room for whole panels.
            unsafe {
                let s = block.load::<V, T>(x, at, column);
                s.store(to.add(column / V::PANEL * panel + row * V::PANEL + column % V::PANEL));
            }
        }
    }
}
