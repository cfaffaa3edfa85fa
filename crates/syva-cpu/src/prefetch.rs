//! Asking for cache lines that will soon be wanted. Whatever the address, nothing but caches changes.

/// The line of the byte so far behind `from`, to read.
#[inline(always)]
pub(crate) fn to_read<T>(from: *const T, byte: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching accesses nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast::<i8>().wrapping_add(byte));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, byte);
}
