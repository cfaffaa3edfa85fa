//! Prefetches cache lines that will soon be needed. Any address is allowed, because nothing but caches changes.

/// Prefetches for reading the cache line of the byte at offset `byte` from `from`.
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
