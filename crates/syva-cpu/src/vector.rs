//! The vectors that the kernels are written in: one trait, with one implementation per instruction set.

use syva_core::arithmetic::{Real, fma_each};

/// A register of f32 lanes, and the size of the largest tile whose accumulators fit the register file.
///
/// Every method is `unsafe`: the processor must have the instruction set, and the calling code must be compiled for it.
pub(crate) trait Vector: Copy {
    /// f32 values per register: 4, 8 or 16.
    const LANES: usize;
    /// Rows of the largest tile: 8 or 6.
    const ROWS: usize;
    /// Registers across a tile, which are as wide as a panel: 16 or 32 columns.
    const ACROSS: usize;
    /// Columns of a panel. Each access is to whole cache lines, and goes on where the one before ended.
    const PANEL: usize = Self::ACROSS * Self::LANES;
    /// The most terms that a dense product adds to all its tiles before it goes on to the next terms.
    const DEPTH: usize;
    /// Registers along a pair of rows in a sparse product: 4 or 8.
    const ALONG: usize;
    /// A single value, for loops that the compiler vectorises. Its fused multiply-add is that of the instruction set.
    type Value: Real + From<f32> + Into<f32>;

    /// Reads `LANES` values, at any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` values, at any alignment.
    unsafe fn store(self, to: *mut f32);
    /// The same value in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// `self · factor + addend`, fused.
    unsafe fn fma(self, factor: Self, addend: Self) -> Self;
    /// Reads `LANES` bytes, at any alignment.
    unsafe fn load_bytes(from: *const u8) -> Self;
    /// `self · other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// A mask with a bit set for each lane that is not zero.
    unsafe fn non_zero(self) -> u32;
    /// Writes the lanes whose bits are set, one after the other. It always writes `LANES` values; those behind the
    /// lanes are arbitrary.
    unsafe fn compress(self, lanes: u32, to: *mut f32);
    /// Writes `LANES` by `LANES` values transposed: `to[j · to_stride + i] = from[i · from_stride + j]`.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// Four lanes of plain Rust. On aarch64 the compiler turns them into NEON. On processors without a fused multiply-add,
/// a dozen operations replace it.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;
    const ROWS: usize = 6;
    const ACROSS: usize = 4;
    const DEPTH: usize = 256;
    const ALONG: usize = 8;
    type Value = f32;

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
        Self(fma_each(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller guarantees LANES readable bytes.
        Self(unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(f32::from))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn non_zero(self) -> u32 {
        (0..4).fold(0, |lanes, i| lanes | u32::from(self.0[i] != 0.0) << i)
    }
    #[inline(always)]
    unsafe fn compress(self, lanes: u32, to: *mut f32) {
        let mut filled = 0;
        for i in 0..4 {
            // SAFETY: filled ≤ i < LANES. A lane that is not kept is overwritten by the next, or left behind the kept
            // ones.
            unsafe { *to.add(filled) = self.0[i] };
            filled += (lanes >> i & 1) as usize;
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller guarantees LANES rows of LANES values at both places.
        unsafe {
            let rows: [Self; 4] = std::array::from_fn(|i| Self::load(from.add(i * from_stride)));
            for j in 0..4 {
                Self(std::array::from_fn(|i| rows[i].0[j])).store(to.add(j * to_stride));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _CMP_NEQ_UQ, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_ps, _mm256_cmp_ps,
        _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
        _mm256_movemask_ps, _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_permutevar8x32_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps,
        _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
        _mm512_maskz_compress_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4,
        _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
    };

    use super::Vector;
    use crate::fused::Fused;

    /// AVX2 with FMA. Its 16 registers hold 6 by 2 accumulators, 2 vectors of b, and 1 value of a.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    /// For each set of lanes, the lane that goes to each place, so that the lanes of the set come first.
    static COMPRESS: Orders = {
        let mut table = [[0; 8]; 256];
        let mut lanes = 0;
        while lanes < 256 {
            let (mut filled, mut lane) = (0, 0);
            while lane < 8 {
                if lanes >> lane & 1 == 1 {
                    table[lanes][filled] = lane as u32;
                    filled += 1;
                }
                lane += 1;
            }
            lanes += 1;
        }
        Orders(table)
    };

    #[repr(align(32))]
    struct Orders([[u32; 8]; 256]);

    impl Vector for Avx2 {
        const LANES: usize = 8;
        const ROWS: usize = 6;
        const ACROSS: usize = 2;
        const DEPTH: usize = 256;
        const ALONG: usize = 6;
        type Value = Fused;

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
        unsafe fn load_bytes(from: *const u8) -> Self {
            // SAFETY: the caller guarantees LANES readable bytes and AVX2.
            Self(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            // SAFETY: the caller guarantees AVX.
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller guarantees AVX.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn non_zero(self) -> u32 {
            // SAFETY: the caller guarantees AVX.
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(self.0, _mm256_setzero_ps())) as u32 }
        }
        #[inline(always)]
        unsafe fn compress(self, lanes: u32, to: *mut f32) {
            // SAFETY: the caller guarantees AVX2 and LANES writable values.
            unsafe {
                let order = _mm256_loadu_si256((&raw const COMPRESS.0[lanes as usize % 256]).cast());
                _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(self.0, order));
            }
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller guarantees AVX and LANES rows of LANES values at both places.
            unsafe {
                let row = |i: usize| _mm256_loadu_ps(from.add(i * from_stride));
                let mut pairs = [_mm256_setzero_ps(); 8];
                for i in 0..4 {
                    pairs[2 * i] = _mm256_unpacklo_ps(row(2 * i), row(2 * i + 1));
                    pairs[2 * i + 1] = _mm256_unpackhi_ps(row(2 * i), row(2 * i + 1));
                }
                // fours[4h + c] holds columns c and 4 + c of rows 4h … 4h + 3.
                let mut fours = [_mm256_setzero_ps(); 8];
                for h in 0..2 {
                    let [a, b, c, d] = [pairs[4 * h], pairs[4 * h + 1], pairs[4 * h + 2], pairs[4 * h + 3]];
                    fours[4 * h] = _mm256_shuffle_ps::<0x44>(a, c);
                    fours[4 * h + 1] = _mm256_shuffle_ps::<0xee>(a, c);
                    fours[4 * h + 2] = _mm256_shuffle_ps::<0x44>(b, d);
                    fours[4 * h + 3] = _mm256_shuffle_ps::<0xee>(b, d);
                }
                for c in 0..4 {
                    let low = _mm256_permute2f128_ps::<0x20>(fours[c], fours[4 + c]);
                    let high = _mm256_permute2f128_ps::<0x31>(fours[c], fours[4 + c]);
                    _mm256_storeu_ps(to.add(c * to_stride), low);
                    _mm256_storeu_ps(to.add((4 + c) * to_stride), high);
                }
            }
        }
    }

    /// AVX-512. Its 32 registers hold 8 by 2 accumulators, 2 vectors of b, and 1 value of a.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    impl Vector for Avx512 {
        const LANES: usize = 16;
        const ROWS: usize = 8;
        const ACROSS: usize = 2;
        const DEPTH: usize = 256;
        const ALONG: usize = 4;
        type Value = Fused;

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
        unsafe fn load_bytes(from: *const u8) -> Self {
            // SAFETY: the caller guarantees LANES readable bytes and AVX-512F.
            Self(unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            // SAFETY: the caller guarantees AVX-512F.
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller guarantees AVX-512F.
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn non_zero(self) -> u32 {
            // SAFETY: the caller guarantees AVX-512F.
            unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(self.0, _mm512_setzero_ps())) }
        }
        #[inline(always)]
        unsafe fn compress(self, lanes: u32, to: *mut f32) {
            // SAFETY: the caller guarantees AVX-512F and LANES writable values. (This compresses in a register and
            // stores all of it, because the compressing store is microcode on Zen 4 and takes some 140 cycles.)
            unsafe { _mm512_storeu_ps(to, _mm512_maskz_compress_ps(lanes as u16, self.0)) }
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller guarantees AVX-512F and LANES rows of LANES values at both places.
            unsafe {
                // fours[4q + c] holds columns c, 4 + c, 8 + c, 12 + c of rows 4q … 4q + 3, one per quarter register.
                let mut fours = [_mm512_setzero_ps(); 16];
                for q in 0..4 {
                    let row = |i: usize| _mm512_loadu_ps(from.add((4 * q + i) * from_stride));
                    let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                    let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                    fours[4 * q] = _mm512_shuffle_ps::<0x44>(ab, cd);
                    fours[4 * q + 1] = _mm512_shuffle_ps::<0xee>(ab, cd);
                    let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                    fours[4 * q + 2] = _mm512_shuffle_ps::<0x44>(ab, cd);
                    fours[4 * q + 3] = _mm512_shuffle_ps::<0xee>(ab, cd);
                }
                for c in 0..4 {
                    let [a, b, d, e] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
                    let (ab_even, de_even) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(d, e));
                    let (ab_odd, de_odd) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(d, e));
                    _mm512_storeu_ps(to.add(c * to_stride), _mm512_shuffle_f32x4::<0x88>(ab_even, de_even));
                    _mm512_storeu_ps(to.add((4 + c) * to_stride), _mm512_shuffle_f32x4::<0x88>(ab_odd, de_odd));
                    _mm512_storeu_ps(to.add((8 + c) * to_stride), _mm512_shuffle_f32x4::<0xdd>(ab_even, de_even));
                    _mm512_storeu_ps(to.add((12 + c) * to_stride), _mm512_shuffle_f32x4::<0xdd>(ab_odd, de_odd));
                }
            }
        }
    }
}
