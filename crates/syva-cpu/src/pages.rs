//! Large arrays in huge pages. The processor remembers where some thousand pages are, and looks up all others in memory. An
//! epoch reads the samples in a random order, so that almost each one is on a page that has to be looked up.

/// A vector of `len` values that are 0, in huge pages where the system has them. (Linux has them, and gives them to those
/// who ask, or to all.)
pub(crate) fn zeros<T: Copy + Default>(len: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = values.as_ptr() as usize;
        let (first, end) = (start.next_multiple_of(PAGE), (start + len * size_of::<T>()) / PAGE * PAGE);
        if end > first {
            // SAFETY: these are whole pages of the vector's memory, and the advice changes no content. It may be refused,
            // which does no harm.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
        }
    }
    // Touched only now, which is when the system chooses the pages.
    values.resize(len, T::default());
    values
}
