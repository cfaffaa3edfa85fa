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

/// The same, to write: the line is taken away from other cores. (The instruction is an empty one where it is not known.)
#[inline(always)]
pub(crate) fn to_write<T>(from: *const T, byte: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetching accesses nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) from.cast::<u8>().wrapping_add(byte), options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (from, byte);
}
