// The operations of tensor cores, in PTX: one product, and the rounding of its factors. Compiled with TF32 or BF16. The
// emulator has its own functions in their place (tests/emulator/tensor.hpp).
//
// Factors are words of 32 bits. A word is one tf32 number (10 bits of mantissa), or two bf16 numbers (7 bits) that are
// neighbours in k, the first in the lower half. Counted in words, both products have the same shape, and the same layout
// over the lanes of a warp (PTX ISA, "Matrix Fragments for mma.m16n8k8" and "…k16"), with g = lane / 4 and t = lane % 4:
//
//   A, 16 rows × 8 words:  a0 = A[g][t],  a1 = A[g + 8][t],  a2 = A[g][t + 4],  a3 = A[g + 8][t + 4]
//   B, 8 words × 8 columns:  b0 = B[t][g],  b1 = B[t + 4][g]
//   C, 16 rows × 8 columns:  c0, c1 = C[g][2t], C[g][2t + 1];  c2, c3 = C[g + 8][2t], C[g + 8][2t + 1]
#pragma once

#include "arithmetic.cuh"

#if defined(TF32)
const int PER_WORD = 1;
#elif defined(BF16)
const int PER_WORD = 2;
#endif

#ifdef __CUDACC__

/// A word of factors, each rounded to nearest. A tie goes away from 0 in tf32, and to even in bf16.
__device__ inline u32 word_of(float first, float second) {
    u32 word;
#if defined(TF32)
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(first));
#else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first)); // the upper half comes first
#endif
    return word;
}

/// C += A · B, computed by all lanes of a warp, with sums in f32.
__device__ inline void mma(float &c0, float &c1, float &c2, float &c3, const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(TF32)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
#endif
                 : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
