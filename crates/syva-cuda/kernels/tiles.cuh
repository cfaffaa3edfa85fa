// The work of a step, tile by tile: forward, input gradient, and the weight gradient with its update. A block of threads
// works on one tile. The calling kernels (layers.cu, span.cuh) choose which tile, and say where the weights are.
#pragma once

#if defined(TF32) || defined(BF16)
#include "product_mma.cuh"
#else
#include "product.cuh"
#endif

/// Writes a run of neighbours of a row.
__device__ inline void write_run(float *to, const float *from) {
    if (COLUMN_RUN == 4) {
        *reinterpret_cast<float4 *>(to) = *reinterpret_cast<const float4 *>(from);
    } else {
        *reinterpret_cast<float2 *>(to) = *reinterpret_cast<const float2 *>(from);
    }
}

/// The number of tiles along a side.
__device__ inline u32 tiles_along(u32 extent, u32 side) { return (extent + side - 1) / side; }

/// Inputs of the first layer, s[b,k] = x[b,k] · scale[k], from samples as they are stored.
///
/// With along_k, the tile's rows are samples and k runs over their features (forward). Otherwise its rows are features and
/// k runs over samples (update).
template <class Stored, bool along_k> struct Gathered {
    static const bool ALONG_K = along_k;
    const Stored *inputs;
    const float *scale;
    u32 stride;
    Samples samples;

    __device__ Gathered(const Data &data, const Samples &samples)
        : inputs(static_cast<const Stored *>(data.inputs)), scale(data.scale), stride(data.stride), samples(samples) {}

    __device__ float4 load(u32 b, u32 feature) const {
        // Features beyond the last are read from the next sample. There is room to read behind the very last sample.
        const Stored *from = inputs + size_t(samples.at(b)) * stride + feature;
        const float4 s = *reinterpret_cast<const float4 *>(scale + feature);
        if (sizeof(Stored) == 1) {
            const uchar4 x = *reinterpret_cast<const uchar4 *>(from);
            return make_float4(float(x.x) * s.x, float(x.y) * s.y, float(x.z) * s.z, float(x.w) * s.w);
        }
        const float4 x = *reinterpret_cast<const float4 *>(from);
        return make_float4(x.x * s.x, x.y * s.y, x.z * s.z, x.w * s.w);
    }
};

/// Applies `of` to each of a thread's sums, and writes the results to the tile whose corner is given. If a thread has many
/// sums, they are first written there as they are, then read back and finished run by run. Finishing all at once would
/// leave too few registers for the loop that computes the sums, and would make the program long.
template <class Of> __device__ inline void each_run(const Sums &sums, float *corner, u32 stride, Of of) {
    const bool MANY = ROWS_EACH * COLUMNS_EACH > 8;
    if (MANY) {
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN)
                write_run(corner + size_t(row_of(i)) * stride + column_of(j), &sums.of[i][j]);
    }
#pragma unroll(MANY ? 1 : ROWS_EACH)
    for (int i = 0; i < ROWS_EACH; ++i) {
#pragma unroll(MANY ? 1 : COLUMNS_EACH)
        for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) {
            const size_t at = size_t(row_of(i)) * stride + column_of(j);
            alignas(16) float run[COLUMN_RUN];
            read_run<COLUMN_RUN>(run, MANY ? corner + at : &sums.of[i][j]);
#pragma unroll
            for (int v = 0; v < COLUMN_RUN; ++v) run[v] = of(run[v], at + v);
            write_run(corner + at, run);
        }
    }
}

/// Rows are samples, columns are units: z = start + Σ_k a[b,k] · w[j,k] (+ 0 in the first layer), h = a(z).
template <class A, class Weights>
__device__ inline void forward_tile(Shared &shared, const Step &step, const Layer &layer, const A &a, const Weights &weights,
                                    u32 tile, bool first) {
    const u32 tiles = tiles_along(layer.units, COLUMNS);
    const u32 m0 = tile / tiles * ROWS, n0 = tile % tiles * COLUMNS;
    if (m0 >= step.rows) return;
    Sums sums;
#pragma unroll
    for (int j = 0; j < COLUMNS_EACH; ++j) {
        const float start = layer.start[n0 + column_of(j)];
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i) sums.of[i][j] = start;
    }
    product(shared, sums, a, Factor<false, Weights>{weights}, m0, n0, 0, layer.fan_in, false);
    const size_t corner = size_t(m0) * layer.stride + n0;
    each_run(sums, layer.h + corner, layer.stride, [&](float z, size_t at) {
        if (first) z = z + 0.0f;
        if (layer.z != nullptr) layer.z[corner + at] = z;
        return forward(layer.activation, layer.parameter, z);
    });
}

/// Rows are samples, columns are inputs: dx = Σ_j d[b,j] · w[j,k], d_below = a'(z) · dx.
template <class Weights>
__device__ inline void input_gradient_tile(Shared &shared, const Step &step, const Layer &layer, const Weights &weights,
                                           u32 tile) {
    const u32 tiles = tiles_along(layer.fan_in, COLUMNS);
    const u32 m0 = tile / tiles * ROWS, n0 = tile % tiles * COLUMNS;
    if (m0 >= step.rows) return;
    Sums sums = {};
    const Factor<true> d{{layer.d, layer.stride}};
    product(shared, sums, d, Factor<true, Weights>{weights}, m0, n0, 0, layer.units, false);
    const size_t corner = size_t(m0) * layer.below_stride + n0;
    each_run(sums, layer.d_below + corner, layer.below_stride, [&](float dx, size_t at) {
        return backward(layer.activation_below, layer.parameter_below, layer.read_below[corner + at], dx);
    });
}

/// Computes the first layer's initial sums for the next step: start[j] = bias[j], then fma(shift[k], w[j,k], start) over
/// all k, for the columns from n0 on. The threads t < COLUMNS run one chain each. Weights come through shared memory, in
/// panels of as many rows as fit. While one panel is summed, the next is already in registers.
template <class Weights>
__device__ inline void sum_starts(Shared &shared, const Layer &layer, const Weights &weights, const float *shift, u32 n0) {
    const int EACH = TILE <= 32 ? 32 : 8, PANEL = EACH * THREADS / COLUMNS; // rows per panel
    static_assert(sizeof(Shared) >= PANEL * COLUMNS * sizeof(float), "a panel fits");
    float *panel = reinterpret_cast<float *>(&shared);
    const u32 column = n0 + threadIdx.x % COLUMNS, row = threadIdx.x / COLUMNS;
    float held[EACH];
    float sum = threadIdx.x < COLUMNS ? __ldcg(layer.bias + n0 + threadIdx.x) : 0.0f;
#pragma unroll
    for (int e = 0; e < EACH; ++e) {
        const u32 k = min(row + e * (THREADS / COLUMNS), layer.fan_in - 1);
        held[e] = weights.newest(k, column);
    }
    for (u32 k0 = 0; k0 < layer.fan_in; k0 += PANEL) {
        __syncthreads(); // the panel before this one has been read
#pragma unroll
        for (int e = 0; e < EACH; ++e) panel[threadIdx.x + e * THREADS] = held[e];
        __syncthreads();
        if (k0 + PANEL < layer.fan_in) {
            const u32 next = k0 + PANEL + row;
#pragma unroll
            for (int e = 0; e < EACH; ++e) {
                const u32 k = min(next + e * (THREADS / COLUMNS), layer.fan_in - 1);
                held[e] = weights.newest(k, column);
            }
        }
        if (threadIdx.x < COLUMNS) {
            const int left = min(int(layer.fan_in - k0), PANEL);
#pragma unroll 8
            for (int k = 0; k < left; ++k) sum = fmaf(shift[k0 + k], panel[k * COLUMNS + threadIdx.x], sum);
        }
    }
    if (threadIdx.x < COLUMNS) layer.start[n0 + threadIdx.x] = sum;
}

/// The shared memory of a block that updates weights.
struct UpdateShared {
    Shared product;
    float d_sums[COLUMNS];
    bool last;
};

// A sum over the batch runs in blocks of BLOCK samples. Each block is one chain, and their sums are added in a binary tree
// (rule 3). MOST is how many sums wait at most: one per bit of a block's number.
const u32 BLOCK = 128, MOST = 25;

/// Runs the sums of a weight gradient's tile over the whole batch. Before block i, as many sums wait as i has bits that are
/// 1, in as many matrices. A thread adds the newest of them to its own sums, as many as i has trailing bits that are 1, or
/// all of them after the last block. Then its sums wait in their place. Nothing waits if there is one block only.
template <class A, class B>
__device__ inline void sum_over_batch(Shared &shared, Sums &sums, const A &a, const B &b, const Layer &layer, u32 m0, u32 n0,
                                      u32 rows, bool add_columns) {
    float columns[MOST];
    for (u32 first = 0;; first += BLOCK) {
        const u32 end = min(rows, first + BLOCK);
        product(shared, sums, a, b, m0, n0, first, end, add_columns);
        if (rows <= BLOCK) return;

        const u32 block = first / BLOCK;
        u32 waiting = __popc(block);
        const u32 left = end == rows ? 0 : __popc(block + 1) - 1;
        const size_t matrix = size_t(layer.below_stride) * layer.stride;
        float *corner = layer.waiting + size_t(m0) * layer.stride + n0;
        while (waiting > left) {
            const float *of = corner + --waiting * matrix;
#pragma unroll
            for (int i = 0; i < ROWS_EACH; ++i)
#pragma unroll
                for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) {
                    alignas(16) float earlier[COLUMN_RUN];
                    read_run<COLUMN_RUN>(earlier, of + size_t(row_of(i)) * layer.stride + column_of(j));
#pragma unroll
                    for (int v = 0; v < COLUMN_RUN; ++v) sums.of[i][j + v] = earlier[v] + sums.of[i][j + v];
                }
            sums.column = columns[waiting] + sums.column;
        }
        if (end == rows) return;
        float *to = corner + waiting * matrix;
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN)
                write_run(to + size_t(row_of(i)) * layer.stride + column_of(j), &sums.of[i][j]);
        columns[waiting] = sums.column;
        sums = {};
        __syncthreads(); // the last values in shared memory have been read
    }
}

/// Rows are inputs, columns are units: g = Σ_b a[k,b] · d[b,j] (first layer: then fma(shift[k], D[j], g) + 0), and
/// immediately w = fma(−lr, g, w). Blocks of the first rows also update the biases, from D[j] = Σ_b d[b,j]. With STORE, the
/// gradients take the places of weights and biases instead.
template <bool STORE, class A>
__device__ inline void renew_tile(UpdateShared &shared, const Step &step, const Layer &layer, const A &a,
                                  const Matrix &weights, u32 m0, u32 n0, float learning_rate, const float *shift) {
    const bool first = shift != nullptr;
    Sums sums = {};
    // If a thread has few weights, it fetches them now, so that they arrive while the products run.
    const bool EARLY = !STORE && ROWS_EACH * COLUMNS_EACH <= 4;
    alignas(16) float early[ROWS_EACH][COLUMNS_EACH];
    if (EARLY) {
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN)
                read_run<COLUMN_RUN>(&early[i][j], &weights.at(row_of(i), column_of(j)));
    }
    const Factor<false> d{{layer.d, layer.stride}};
    sum_over_batch(shared.product, sums, a, d, layer, m0, n0, step.rows, first || m0 == 0);
    if (first || m0 == 0) {
        if (threadIdx.x < COLUMNS) {
            shared.d_sums[threadIdx.x] = sums.column;
            if (m0 == 0) {
                float *bias = layer.bias + n0 + threadIdx.x;
                *bias = STORE ? sums.column : fmaf(-learning_rate, sums.column, *bias);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < ROWS_EACH; ++i) {
        const u32 k = m0 + row_of(i);
        float *row = &weights.at(row_of(i), 0);
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) {
            alignas(16) float w[COLUMN_RUN];
            if (!STORE) read_run<COLUMN_RUN>(w, EARLY ? &early[i][j] : row + column_of(j));
#pragma unroll
            for (int v = 0; v < COLUMN_RUN; ++v) {
                float g = sums.of[i][j + v];
                if (first) g = fmaf(shift[k], shared.d_sums[column_of(j) + v], g) + 0.0f;
                w[v] = STORE ? g : fmaf(-learning_rate, g, w[v]);
            }
            write_run(row + column_of(j), w);
        }
    }
}

/// Leaves the gradients of a tile of a layer, whose inputs are `a`, in the places of its weights and biases.
template <class A>
__device__ inline void gradient_tile(UpdateShared &shared, const Step &step, const Layer &layer, const A &a, u32 tile,
                                     const float *shift) {
    const u32 columns = tiles_along(layer.units, COLUMNS);
    const u32 m0 = tile / columns * ROWS, n0 = tile % columns * COLUMNS;
    renew_tile<true>(shared, step, layer, a, InMemory(layer).tile(tile, m0, n0), m0, n0, 0.0f, shift);
}

/// Updates a tile of a layer. In the first layer, the last block to finish a column of tiles also computes the layer's
/// initial sums for the next step. `tickets` counts the finished blocks, one counter per column; all are 0 at the end.
template <class Stored, class Weights>
__device__ inline void update_tile(UpdateShared &shared, const Progress *progress, const Step &step, const Layer &layer,
                                   const Weights &weights, const Data &data, u32 tile, float learning_rate, u32 *tickets) {
    const u32 columns = tiles_along(layer.units, COLUMNS), rows = tiles_along(layer.fan_in, ROWS);
    const u32 column = tile % columns, m0 = tile / columns * ROWS, n0 = column * COLUMNS;
    const Matrix renewed = weights.tile(tile, m0, n0);
    if (layer.below != nullptr) {
        const Factor<false> h{{layer.below, layer.below_stride}};
        renew_tile<false>(shared, step, layer, h, renewed, m0, n0, learning_rate, nullptr);
        return;
    }
    const Gathered<Stored, false> s(data, Samples(progress, step, data));
    renew_tile<false>(shared, step, layer, s, renewed, m0, n0, learning_rate, data.shift);

    __syncthreads();
    if (threadIdx.x == 0) {
        fence();
        shared.last = atomicAdd(tickets + column, 1u) + 1 == rows;
        if (shared.last) tickets[column] = 0;
        fence();
    }
    __syncthreads();
    if (shared.last) sum_starts(shared.product, layer, weights, data.shift, n0);
}

/// The layer that a tile of the group belongs to.
__device__ inline u32 layer_of(const Layers &layers, u32 tile) {
    u32 l = 0;
    while (l + 1 < layers.count && tile >= layers.first_tile[l + 1]) ++l;
    return l;
}
