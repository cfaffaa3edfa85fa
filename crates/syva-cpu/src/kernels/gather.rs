//! Inputs scaled into panels, or listed where they are not zero; meanwhile the next batch's are asked for from memory.

use crate::buffer::{HALF, WIDTH};
use crate::memory::Samples;
use crate::prefetch;
use crate::sparse::{Listing, Lists, Writer};
use crate::vector::Vector;

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

/// A kind of stored input.
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

/// In squares of LANES by LANES: by samples from the rows as they are, by features from the transposed square.
///
/// # Safety
/// The processor has V's instruction set and this is compiled for it; `block.check()` holds.
#[inline(always)]
pub(super) unsafe fn list<V: Vector, T: Input>(
    x: &[T],
    block: &Listing<'_>,
    rows: &mut Lists,
    columns: Option<&mut Lists>,
) {
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

/// Row by row, a panel's whole width at once where the panel is full.
#[inline(always)]
pub(super) fn scale_all<T: Input>(x: &[T], scaling: &mut Scaling<'_>) {
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
