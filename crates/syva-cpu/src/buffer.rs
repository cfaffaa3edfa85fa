//! Memory of the engine: row-major matrices whose rows begin on cache lines, and tiles of them shared among threads.

use std::marker::PhantomData;

/// Row lengths are rounded up to this many f32 (one cache line, one AVX-512 register), so kernels need no masks.
pub(crate) const PAD: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; PAD]);

/// A row-major matrix, zero at first. Columns beyond `columns` up to `stride` are padding, which kernels may
/// compute on but whose values never reach a real column.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// f32 from one row to the next: `columns` rounded up to [`PAD`].
    pub(crate) stride: usize,
}

impl Buffer {
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let stride = columns.next_multiple_of(PAD);
        Self { lines: vec![Line([0.0; PAD]); rows * stride / PAD], rows, columns, stride }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: Line is exactly PAD f32 without padding (64 bytes, align 64), and the lines are contiguous.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * PAD) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * PAD) }
    }

    /// A row without its padding.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.stride..][..self.columns]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let (stride, columns) = (self.stride, self.columns);
        &mut self.as_mut_slice()[row * stride..][..columns]
    }

    pub(crate) fn shared(&mut self) -> Shared<'_, f32> {
        Shared::new(self.as_mut_slice())
    }
}

/// A slice that several threads write to, each in places of its own.
#[derive(Clone, Copy)]
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: Shared gives access only through `unsafe` methods whose callers promise that no two threads touch one place.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above; T itself may go to another thread.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares a slice for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Values in the slice.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the slice starts. Writing there is subject to the promise of [`Shared::part`].
    pub(crate) fn as_mut_ptr(&self) -> *mut T {
        self.start
    }

    /// `len` values from `from`. Panics beyond the end.
    ///
    /// # Safety
    /// No other thread may touch this part, and the caller must hold no other reference into it, while it is borrowed.
    pub(crate) unsafe fn part(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from <= self.len && len <= self.len - from, "{len} values from {from} of {}", self.len);
        // SAFETY: in bounds by the assertion; unaliased by the caller's promise; alive for 'a by the phantom borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}
