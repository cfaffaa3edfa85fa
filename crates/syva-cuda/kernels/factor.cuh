// What product.cuh and product_mma.cuh share: names of kernels, matrices as factors of a product, and reads of neighbours.
#pragma once

#include "network.cuh"

// The name of a kernel contains the size of its tiles, and the precision to which its factors are rounded.
#if defined(TF32)
#define WITH_TILE(name, tile) name##_tf32_##tile
#elif defined(BF16)
#define WITH_TILE(name, tile) name##_bf16_##tile
#else
#define WITH_TILE(name, tile) name##_##tile
#endif
#define NAMED(name, tile) WITH_TILE(name, tile)
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAMED(name, TILE)

/// A matrix as a factor of a product.
///
/// With along_k, a row of the matrix holds the values of one m (or n) for all k. Otherwise a row holds the values of one k
/// for all m (or n).
template <bool along_k, class M = Matrix> struct Factor {
    static const bool ALONG_K = along_k;
    M matrix;
    __device__ float4 load(u32 row, u32 column) const { return matrix.load(row, column); }
};

/// Reads COUNT neighbours of a row, from any kind of memory.
template <int COUNT> __device__ inline void read_run(float *to, const float *from) {
    if (COUNT == 4) {
        *reinterpret_cast<float4 *>(to) = *reinterpret_cast<const float4 *>(from);
    } else if (COUNT == 2) {
        *reinterpret_cast<float2 *>(to) = *reinterpret_cast<const float2 *>(from);
    } else {
        for (int i = 0; i < COUNT; ++i) to[i] = from[i];
    }
}
