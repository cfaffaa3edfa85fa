//! The engine's matrices, stored in panels of 16 or 32 columns, and parts of them that threads share.

use std::marker::PhantomData;

use crate::pages;

/// Kernels compute this many columns at a time, or twice as many, so they need no masks. A panel is this wide or twice as
/// wide, as the instruction set wants it. Columns beyond a matrix's last are padding. Kernels may compute on it, but its
/// values never reach a real column.
pub const HALF: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; HALF]);

/// A matrix in panels, initially zero.
///
/// ```text
/// panel 0: columns 0 … width − 1             row 0, row 1, … row rows − 1, `width` values each, contiguous
/// panel 1: columns width … 2 · width − 1    the same, directly behind panel 0
/// ```
///
/// A kernel that goes down a panel reads memory in order, however large the matrix is. No two rows compete for a place
/// in the cache, as they would if they were a power of two apart, and every page is used completely.
pub(crate) struct Panels {
    lines: Vec<Line>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Columns per panel.
    width: usize,
}

impl Panels {
    pub(crate) fn new(rows: usize, columns: usize, width: usize) -> Self {
        let lines = rows * columns.div_ceil(width) * (width / HALF);
        Self { lines: pages::vector(Line([0.0; HALF]), lines), rows, columns, width }
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// The index at which a panel starts, which is the number of values in all panels before it.
    pub(crate) fn at(&self, panel: usize) -> usize {
        panel * self.width * self.rows
    }

    /// The number of columns of a panel that a kernel has to compute: 16 or 32.
    pub(crate) fn computed(&self, panel: usize) -> usize {
        computed(self.columns, panel, self.width)
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: Line is exactly HALF f32 without padding (64 bytes, align 64), and the lines are contiguous.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * HALF) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * HALF) }
    }

    /// A column, from top to bottom.
    pub(crate) fn column(&self, column: usize) -> impl Iterator<Item = &f32> {
        self.as_slice()[self.at(column / self.width) + column % self.width..].iter().step_by(self.width).take(self.rows)
    }

    /// The same, to be written to.
    pub(crate) fn column_mut(&mut self, column: usize) -> impl Iterator<Item = &mut f32> {
        let (from, width, rows) = (self.at(column / self.width) + column % self.width, self.width, self.rows);
        self.as_mut_slice()[from..].iter_mut().step_by(width).take(rows)
    }

    /// Copies the start of a row, across the panels.
    pub(crate) fn copy_row(&self, row: usize, to: &mut [f32]) {
        for (panel, to) in to.chunks_mut(self.width).enumerate() {
            to.copy_from_slice(&self.as_slice()[self.at(panel) + row * self.width..][..to.len()]);
        }
    }

    pub(crate) fn shared(&mut self) -> Shared<'_, f32> {
        Shared::new(self.as_mut_slice())
    }
}

/// The number of columns that a kernel has to compute of a panel, in a matrix of `columns` columns: 16 or 32.
pub(crate) fn computed(columns: usize, panel: usize, width: usize) -> usize {
    (columns - panel * width).next_multiple_of(HALF).min(width)
}

/// A slice that several threads write to, each at places of its own.
#[derive(Clone, Copy)]
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: Shared gives access only through `unsafe` methods, whose callers promise that no two threads access the same
// place.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above, and T itself may be sent to another thread.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares a slice for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The number of values in the slice.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the start of the slice. Writing through it requires the promise of [`Shared::part`].
    pub(crate) fn as_mut_ptr(&self) -> *mut T {
        self.start
    }

    /// The part of the slice from `at` on.
    pub(crate) fn from(&self, at: usize) -> Self {
        assert!(at <= self.len, "from {at} of {}", self.len);
        Self { start: self.start.wrapping_add(at), len: self.len - at, slice: PhantomData }
    }

    /// A view of the values from `from` on. It may be read only at places that no thread writes to in the meantime.
    pub fn view(&self, from: usize) -> View<'a, T> {
        assert!(from <= self.len, "from {from} of {}", self.len);
        View { start: self.start.wrapping_add(from), len: self.len - from, slice: PhantomData }
    }

    /// The `len` values from `from` on. Panics if they reach beyond the end.
    ///
    /// # Safety
    /// While the part is borrowed, no other thread may access it, and the caller must hold no other reference into it.
    pub(crate) unsafe fn part(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from <= self.len && len <= self.len - from, "{len} values from {from} of {}", self.len);
        // SAFETY: in bounds by the assertion, unaliased by the caller's promise, alive for 'a by the phantom borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

/// Values to be read. Other threads may write to places among them that are not read.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    start: *const T,
    len: usize,
    slice: PhantomData<&'a [T]>,
}

// SAFETY: a View is read only by `unsafe` kernels, whose callers promise that no thread writes to what they read.
unsafe impl<T: Sync> Sync for View<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for View<'_, T> {}

impl<'a, T> From<&'a [T]> for View<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Self { start: slice.as_ptr(), len: slice.len(), slice: PhantomData }
    }
}

impl<T> View<'_, T> {
    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the first value.
    pub(crate) fn as_ptr(&self) -> *const T {
        self.start
    }
}
