// The product of product.cuh on tensor cores, for --precision tf32 and bf16. Factors are rounded on their way into shared
// memory, and sums stay f32. The bits are not the contract's, because a tensor core adds in an order of its own.
//
// 8 warps share a tile as 2 × 4. A warp's part consists of pieces of 16 × 8 outputs, and a thread owns those outputs of
// each piece that the layout in tensor.cuh gives it. So a thread owns ROWS_EACH × COLUMNS_EACH outputs here too, and
// everything before and after a product (tiles.cuh) is the same code for both.
#pragma once

#include "factor.cuh"
#include "tensor.cuh"

// WORDS: how many words of k come through shared memory at a time. One multiply takes 8 of them.
//
// BLOCKS: how many blocks a processor must have registers for. Large tiles with bf16 hold 64 sums and 32 values on their
// way per thread, so there it is only one.
#if TILE == 64
const int ROWS = 64, COLUMNS = 64, WORDS = 32, BLOCKS = 2;
#elif TILE == 128
const int ROWS = 128, COLUMNS = 128, WORDS = 16, BLOCKS = 2 / PER_WORD;
#endif

const int DEPTH = WORDS * PER_WORD, LANES = 32, WARP_ROWS = 2, WARP_COLUMNS = 4;
const int THREADS = WARP_ROWS * WARP_COLUMNS * LANES;
const int ROWS_EACH = ROWS / WARP_ROWS / 16 * 2, COLUMNS_EACH = COLUMNS / WARP_COLUMNS / 8 * 2;
const int COLUMN_RUN = 2;

// Rows are eight words longer than the tile, so that the four words t and eight places g of a fragment are in 32 banks.
struct Shared {
    alignas(16) u32 as[2][WORDS][ROWS + 8];
    alignas(16) u32 bs[2][WORDS][COLUMNS + 8];
};

/// A word's place in its row of shared memory. Each group of four words is moved by eight more places, so that lanes that
/// store different words of one m have no bank conflicts either.
__device__ inline int place_of(int word, int extent) { return extent ^ (word / 4 % 4 * 8); }

__device__ inline int warp_row() { return int(threadIdx.x) / LANES / WARP_COLUMNS * (ROWS / WARP_ROWS); }
__device__ inline int warp_column() { return int(threadIdx.x) / LANES % WARP_COLUMNS * (COLUMNS / WARP_COLUMNS); }
__device__ inline int group() { return int(threadIdx.x) % LANES / 4; }
__device__ inline int member() { return int(threadIdx.x) % 4; }

__device__ inline int row_of(int i) { return warp_row() + i / 2 * 16 + i % 2 * 8 + group(); }
__device__ inline int column_of(int j) { return warp_column() + j / 2 * 8 + member() * 2 + j % 2; }

__device__ inline float &component(float4 &of, int i) { return i == 0 ? of.x : i == 1 ? of.y : i == 2 ? of.z : of.w; }

/// The part of a factor that one thread fetches for its block, first from memory to registers, then, rounded, to shared
/// memory. It fetches four words at a time: of one m (or n) if the matrix's rows run along k, otherwise of one k.
template <class Source, int EXTENT> struct Fetched {
    static const bool ALONG_K = Source::ALONG_K;
    static const int COUNT = EXTENT * WORDS / 4 / THREADS;
    static_assert(COUNT * 4 * THREADS == EXTENT * WORDS, "every thread fetches alike");
    float4 held[COUNT][PER_WORD];

    __device__ void place(int i, int &extent, int &word) const {
        const int e = int(threadIdx.x) + i * THREADS;
        extent = ALONG_K ? e / 4 % EXTENT : e % (EXTENT / 4) * 4;
        word = ALONG_K ? (e % 4 + e / (4 * EXTENT) * 4) * 4 : e / (EXTENT / 4);
    }

    /// Values beyond the last k count as 0, because padding and rows beyond the batch may hold anything.
    __device__ void fetch(const Source &source, u32 first, u32 first_k, u32 depth) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int extent, word;
            place(i, extent, word);
            const u32 k = first_k + word * PER_WORD;
#pragma unroll
            for (int p = 0; p < PER_WORD; ++p) {
                held[i][p] = ALONG_K ? source.load(first + extent, k + 4 * p) : source.load(k + p, first + extent);
            }
        }
        if (first_k + DEPTH > depth) cut(first_k, depth);
    }

    __device__ void cut(u32 first_k, u32 depth) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int extent, word;
            place(i, extent, word);
            const u32 k = first_k + word * PER_WORD;
#pragma unroll
            for (int p = 0; p < PER_WORD; ++p)
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    if (k + (ALONG_K ? 4 * p + c : p) >= depth) component(held[i][p], c) = 0.0f;
        }
    }

    /// Word c of four. Its factors are neighbours in k.
    __device__ u32 rounded(int i, int c) {
        const int first = c * PER_WORD, last = first + PER_WORD - 1;
        return ALONG_K ? word_of(component(held[i][first / 4], first % 4), component(held[i][last / 4], last % 4))
                       : word_of(component(held[i][0], c), component(held[i][PER_WORD - 1], c));
    }

    __device__ void store(u32 (*to)[EXTENT + 8]) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            int extent, word;
            place(i, extent, word);
            if (ALONG_K) {
#pragma unroll
                for (int c = 0; c < 4; ++c) to[word + c][place_of(word, extent)] = rounded(i, c);
            } else {
                const uint4 words = {rounded(i, 0), rounded(i, 1), rounded(i, 2), rounded(i, 3)};
                *reinterpret_cast<uint4 *>(&to[word][place_of(word, extent)]) = words;
            }
        }
    }
};

/// The sums of a thread's outputs and, if wanted, of the columns of B.
struct Sums {
    alignas(16) float of[ROWS_EACH][COLUMNS_EACH];
    float column; // thread t < COLUMNS: Σ_k B[k,t], of values that are not rounded
};

/// Multiplies eight more words of k into all outputs of the warp.
__device__ inline void multiply(Sums &sums, const u32 (*as)[ROWS + 8], const u32 (*bs)[COLUMNS + 8], int word) {
    u32 a[ROWS_EACH / 2][4], b[COLUMNS_EACH / 2][2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int w = word + half * 4 + member();
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i) a[i / 2][half * 2 + i % 2] = as[w][place_of(w, row_of(i))];
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH / 2; ++j) b[j][half] = bs[w][place_of(w, warp_column() + j * 8 + group())];
    }
#pragma unroll
    for (int i = 0; i < ROWS_EACH / 2; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH / 2; ++j) {
            float(&upper)[COLUMNS_EACH] = sums.of[2 * i], (&lower)[COLUMNS_EACH] = sums.of[2 * i + 1];
            mma(upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1], a[i], b[j]);
        }
}

/// Adds the products of k = first_k … end_k − 1 to the tile at (m0, n0). With add_columns, also sums the columns of B: not
/// rounded, as they are in memory, and in the contract's order.
template <class A, class B>
__device__ inline void product(Shared &shared, Sums &sums, const A &a, const B &b, u32 m0, u32 n0, u32 first_k,
                               u32 end_k, bool add_columns) {
    Fetched<A, ROWS> from_a;
    Fetched<B, COLUMNS> from_b;
    from_a.fetch(a, m0, first_k, end_k);
    from_b.fetch(b, n0, first_k, end_k);
    from_a.store(shared.as[0]);
    from_b.store(shared.bs[0]);
    __syncthreads();
    int buffer = 0;
    for (u32 k0 = first_k; k0 < end_k; k0 += DEPTH, buffer ^= 1) {
        const bool more = k0 + DEPTH < end_k;
        if (more) {
            from_a.fetch(a, m0, k0 + DEPTH, end_k);
            from_b.fetch(b, n0, k0 + DEPTH, end_k);
        }
#pragma unroll 1 // there are no registers for the fragments of more than eight words
        for (int word = 0; word < WORDS; word += 8) multiply(sums, shared.as[buffer], shared.bs[buffer], word);
        if (add_columns && threadIdx.x < COLUMNS) {
            const u32 end = min(k0 + DEPTH, end_k), n = n0 + threadIdx.x;
            for (u32 k = k0; k < end; ++k) sums.column = sums.column + (B::ALONG_K ? b.matrix.at(n, k) : b.matrix.at(k, n));
        }
        if (more) {
            from_a.store(shared.as[buffer ^ 1]);
            from_b.store(shared.bs[buffer ^ 1]);
            __syncthreads();
        }
    }
}
