//! The vectors that the kernels are written in: one trait, one implementation an instruction set.

/// A register of f32 lanes, and the largest tile whose accumulators fit the register file.
///
/// Every method is `unsafe`: the caller must run on a processor that has the instruction set, from code compiled for it.
pub(crate) trait Vector: Copy {
    /// f32 values in a register.
    const LANES: usize;
    /// Rows of the largest tile: 8 or 4.
    const ROWS: usize;
    /// Registers across the largest tile: 3 or 2.
    const ACROSS: usize;
    /// Registers along the longest row of a sparse product: 16 or 8.
    const ALONG: usize;

    /// Reads `LANES` values, any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` values, any alignment.
    unsafe fn store(self, to: *mut f32);
    /// The same value in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// `self · factor + addend`, fused.
    unsafe fn fma(self, factor: Self, addend: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
}

/// Four lanes of plain Rust, which the compiler turns into NEON on aarch64 and into SIMD128 on wasm.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;
    const ROWS: usize = 4;
    const ACROSS: usize = 3;
    const ALONG: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees LANES readable values.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees LANES writable values.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], addend.0[i])))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
        _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    use super::Vector;

    /// AVX2 with FMA: 16 registers hold 4 by 3 accumulators, 3 vectors of b, 1 value of a.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    impl Vector for Avx2 {
        const LANES: usize = 8;
        const ROWS: usize = 4;
        const ACROSS: usize = 3;
        const ALONG: usize = 8;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller guarantees LANES readable values and AVX.
            Self(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller guarantees LANES writable values and AVX.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller guarantees AVX.
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn fma(self, factor: Self, addend: Self) -> Self {
            // SAFETY: the caller guarantees FMA.
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller guarantees AVX.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }
    }

    /// AVX-512: 32 registers hold 8 by 3 accumulators, 3 vectors of b, 1 value of a.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    impl Vector for Avx512 {
        const LANES: usize = 16;
        const ROWS: usize = 8;
        const ACROSS: usize = 2;
        const ALONG: usize = 16;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller guarantees LANES readable values and AVX-512F.
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller guarantees LANES writable values and AVX-512F.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller guarantees AVX-512F.
            Self(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn fma(self, factor: Self, addend: Self) -> Self {
            // SAFETY: the caller guarantees AVX-512F.
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller guarantees AVX-512F.
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }
    }
}
