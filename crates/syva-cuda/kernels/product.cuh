// The product that all of training is made of: C[m,n] = begin, then fma(A[m,k], B[k,n], C[m,n]) for k ascending.
//
// A block of threads owns a tile of ROWS × COLUMNS outputs, and a thread owns ROWS_EACH × COLUMNS_EACH of them. Each output
// is one chain of fused multiply-adds from its first k to its last, and a chain is never split. A and B come through shared
// memory, DEPTH values of k at a time, in two buffers that take turns: while one is multiplied, the values of the next are
// already on their way to registers.
//
//          n →                                     as[buffer][k][m], bs[buffer][k][n]
//        ┌───────┬───┐ B
//     k ↓│ DEPTH │   │
//        ├───────┼───┤         m and n are never checked against the matrix: every matrix on the card is padded to whole
//   A    │ tile  │   │         tiles, and results in the padding are never used. k must stop at its end, because even
//  ┌───┐ │       │   │         adding 0 · x can change the sign of a zero.
#pragma once

#include "factor.cuh"

// TILE is the side of a tile: 16 for small products, so that there are blocks for all processors of the card, and 128 for
// large ones, where each value from shared memory is used eight times.
//
// DEPTH: multiplying one buffer should take as long as the next values take to arrive, some 700 cycles. Two warps alone on
// a processor, with four products per thread and k, need many k for that. Eight warps with 64 products need few.
//
// BLOCKS: how many blocks a processor must have registers for, so that one multiplies while another waits. The cluster
// (cluster.cu) has one block per processor, and tiles of 32, which divide evenly among its few processors.
#if TILE == 16
const int ROWS = 16, COLUMNS = 16, DEPTH = 128, ROWS_EACH = 2, COLUMNS_EACH = 2, BLOCKS = 4;
#elif TILE == 32
const int ROWS = 32, COLUMNS = 32, DEPTH = 64, ROWS_EACH = 2, COLUMNS_EACH = 4, BLOCKS = 1;
#elif TILE == 64
const int ROWS = 64, COLUMNS = 64, DEPTH = 32, ROWS_EACH = 4, COLUMNS_EACH = 4, BLOCKS = 2;
#elif TILE == 128
const int ROWS = 128, COLUMNS = 128, DEPTH = 8, ROWS_EACH = 8, COLUMNS_EACH = 8, BLOCKS = 2;
#endif

const int ROW_THREADS = ROWS / ROWS_EACH, COLUMN_THREADS = COLUMNS / COLUMNS_EACH;
const int THREADS = ROW_THREADS * COLUMN_THREADS;

// A thread's outputs lie in runs of neighbours, whose factors are read from shared memory at once.
const int ROW_RUN = ROWS_EACH < 4 ? ROWS_EACH : 4, COLUMN_RUN = COLUMNS_EACH < 4 ? COLUMNS_EACH : 4;

// Rows are four floats longer than the tile, so that the column of a transposed store is not all in one memory bank.
struct Shared {
    alignas(16) float as[2][DEPTH][ROWS + 4];
    alignas(16) float bs[2][DEPTH][COLUMNS + 4];
};

__device__ inline int row_of(int i) {
    const int ty = int(threadIdx.x) / COLUMN_THREADS;
    return (i / ROW_RUN) * (ROW_THREADS * ROW_RUN) + ty * ROW_RUN + i % ROW_RUN;
}

__device__ inline int column_of(int j) {
    const int tx = int(threadIdx.x) % COLUMN_THREADS;
    return (j / COLUMN_RUN) * (COLUMN_THREADS * COLUMN_RUN) + tx * COLUMN_RUN + j % COLUMN_RUN;
}

/// The part of a factor that one thread fetches for its block, first from memory to registers, then to shared memory.
template <class Source, int EXTENT> struct Fetched {
    static const int COUNT = EXTENT * DEPTH / 4 / THREADS;
    static_assert(COUNT * 4 * THREADS == EXTENT * DEPTH, "every thread fetches alike");
    float4 held[COUNT];

    __device__ void place(int i, int &extent, int &k) const {
        const int e = int(threadIdx.x) + i * THREADS;
        extent = Source::ALONG_K ? e / (DEPTH / 4) : e % (EXTENT / 4) * 4;
        k = Source::ALONG_K ? e % (DEPTH / 4) * 4 : e / (EXTENT / 4);
    }

    __device__ void fetch(const Source &source, u32 first, u32 first_k) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int extent, k;
            place(i, extent, k);
            held[i] = Source::ALONG_K ? source.load(first + extent, first_k + k) : source.load(first_k + k, first + extent);
        }
    }

    __device__ void store(float (*to)[EXTENT + 4]) const {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int extent, k;
            place(i, extent, k);
            if (Source::ALONG_K) {
                to[k][extent] = held[i].x;
                to[k + 1][extent] = held[i].y;
                to[k + 2][extent] = held[i].z;
                to[k + 3][extent] = held[i].w;
            } else {
                *reinterpret_cast<float4 *>(&to[k][extent]) = held[i];
            }
        }
    }
};

/// The sums of a thread's outputs and, if wanted, of the columns of B.
struct Sums {
    alignas(16) float of[ROWS_EACH][COLUMNS_EACH];
    float column; // thread t < COLUMNS: Σ_k B[k,t]
};

/// Multiplies one more k into all outputs of the thread.
__device__ inline void multiply(Sums &sums, const float *a, const float *b) {
    alignas(16) float x[ROWS_EACH], y[COLUMNS_EACH];
#pragma unroll
    for (int i = 0; i < ROWS_EACH; i += ROW_RUN) read_run<ROW_RUN>(x + i, a + row_of(i));
#pragma unroll
    for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) read_run<COLUMN_RUN>(y + j, b + column_of(j));
#pragma unroll
    for (int i = 0; i < ROWS_EACH; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; ++j) sums.of[i][j] = fmaf(x[i], y[j], sums.of[i][j]);
}

/// Runs the chains of the tile at (m0, n0) over k = first_k … end_k − 1. With add_columns, also sums the columns of B.
template <class A, class B>
__device__ inline void product(Shared &shared, Sums &sums, const A &a, const B &b, u32 m0, u32 n0, u32 first_k,
                               u32 end_k, bool add_columns) {
    Fetched<A, ROWS> from_a;
    Fetched<B, COLUMNS> from_b;
    from_a.fetch(a, m0, first_k);
    from_b.fetch(b, n0, first_k);
    from_a.store(shared.as[0]);
    from_b.store(shared.bs[0]);
    __syncthreads();
    int buffer = 0;
    u32 k0 = first_k;
    for (; k0 + DEPTH <= end_k; k0 += DEPTH, buffer ^= 1) {
        const bool more = k0 + DEPTH < end_k;
        if (more) {
            from_a.fetch(a, m0, k0 + DEPTH);
            from_b.fetch(b, n0, k0 + DEPTH);
        }
#pragma unroll 8
        for (int k = 0; k < DEPTH; ++k) multiply(sums, shared.as[buffer][k], shared.bs[buffer][k]);
        if (add_columns && threadIdx.x < COLUMNS) {
            for (int k = 0; k < DEPTH; ++k) sums.column = sums.column + shared.bs[buffer][k][threadIdx.x];
        }
        if (more) {
            from_a.store(shared.as[buffer ^ 1]);
            from_b.store(shared.bs[buffer ^ 1]);
            __syncthreads();
        }
    }
    const int left = int(end_k - k0);
#pragma unroll 1
    for (int k = 0; k < left; ++k) multiply(sums, shared.as[buffer][k], shared.bs[buffer][k]);
    if (add_columns && threadIdx.x < COLUMNS) {
        for (int k = 0; k < left; ++k) sums.column = sums.column + shared.bs[buffer][k][threadIdx.x];
    }
}
