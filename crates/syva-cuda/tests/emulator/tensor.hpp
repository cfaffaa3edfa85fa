// Tensor cores on a CPU, in place of the PTX in kernels/tensor.cuh. This is written from the tables of the PTX ISA alone,
// and in their terms, so that it shares no index arithmetic with the kernels. The values of each lane are put into whole
// matrices, at the places that the table of the fragment gives. Each lane then takes its part of the product, as the table
// of accumulators gives it.
#pragma once

#include <cmath>

#include "card.hpp"

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

namespace emulator {

inline float of_bits(uint32_t bits) { return __int_as_float(int(bits)); }
inline uint32_t bits_of(float value) { return uint32_t(__float_as_int(value)); }

/// cvt.rna.tf32.f32: 10 bits of mantissa, to nearest, ties away from zero.
inline uint32_t to_tf32(float value) {
    if (!std::isfinite(value)) return bits_of(value) & 0xffffe000u;
    return (bits_of(value) + 0x1000u) & 0xffffe000u;
}

/// cvt.rn.bf16.f32: 7 bits of mantissa, to nearest, ties to even.
inline uint32_t to_bf16(float value) {
    const uint32_t bits = bits_of(value);
    if (std::isnan(value)) return 0x7fff;
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

#if defined(TF32)
const int K = 8;
#elif defined(BF16)
const int K = 16;
#endif

/// The matrices that the lanes of a warp put together.
struct Matrices {
    float a[16][K], b[K][8];
};

/// Puts the fragments of one lane into the matrices.
inline void scatter(Matrices &to, unsigned laneid, const uint32_t *a, const uint32_t *b) {
    const unsigned groupID = laneid >> 2, threadID_in_group = laneid % 4;
#if defined(TF32)
    // "Matrix Fragments for mma.m16n8k8", .tf32
    for (int i = 0; i < 4; ++i) {
        const unsigned row = i == 0 || i == 2 ? groupID : groupID + 8;
        const unsigned col = i == 0 || i == 1 ? threadID_in_group : threadID_in_group + 4;
        to.a[row][col] = of_bits(a[i] & 0xffffe000u); // the lower 13 bits are ignored
    }
    for (int i = 0; i < 2; ++i) {
        const unsigned row = i == 0 ? threadID_in_group : threadID_in_group + 4, col = groupID;
        to.b[row][col] = of_bits(b[i] & 0xffffe000u);
    }
#elif defined(BF16)
    // "Matrix Fragments for mma.m16n8k16 with floating point type", .bf16: two elements per register, low to high
    const auto element = [](const uint32_t *registers, int i) {
        return of_bits(i % 2 == 0 ? registers[i / 2] << 16 : registers[i / 2] & 0xffff0000u);
    };
    for (int i = 0; i < 8; ++i) {
        const unsigned row = (0 <= i && i < 2) || (4 <= i && i < 6) ? groupID : groupID + 8;
        const unsigned col = i < 4 ? threadID_in_group * 2 + (i & 0x1) : threadID_in_group * 2 + (i & 0x1) + 8;
        to.a[row][col] = element(a, i);
    }
    for (int i = 0; i < 4; ++i) {
        const unsigned row = i < 2 ? threadID_in_group * 2 + (i & 0x1) : threadID_in_group * 2 + (i & 0x1) + 8;
        to.b[row][groupID] = element(b, i);
    }
#endif
}

} // namespace emulator

#if defined(TF32)
inline uint32_t word_of(float first, float) { return emulator::to_tf32(first); }
#elif defined(BF16)
inline uint32_t word_of(float first, float second) {
    return emulator::to_bf16(first) | emulator::to_bf16(second) << 16;
}
#endif

/// Products are exact and their sum is rounded once, which is more accurate than a card has to be.
inline void mma(float &c0, float &c1, float &c2, float &c3, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    static emulator::Matrices warps[1024 / 32];
    emulator::Matrices &matrices = warps[threadIdx.x / 32];
    const unsigned laneid = threadIdx.x % 32;
    emulator::scatter(matrices, laneid, a, b);
    __syncwarp();
    float *c[4] = {&c0, &c1, &c2, &c3};
    const unsigned groupID = laneid >> 2, threadID_in_group = laneid % 4;
    for (int i = 0; i < 4; ++i) {
        const unsigned row = i < 2 ? groupID : groupID + 8, col = threadID_in_group * 2 + (i & 0x1);
        double sum = double(*c[i]);
        for (int k = 0; k < emulator::K; ++k) sum += double(matrices.a[row][k]) * double(matrices.b[k][col]);
        *c[i] = float(sum);
    }
    // No lane may write its next fragments until all lanes have read what they need of these.
    __syncwarp();
}
