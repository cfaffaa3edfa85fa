// The products of a step: forward, input gradient, and the weight gradient with its update. Compiled once for each TILE; kernels are called forward_16, forward_64, …
#include "network.cuh"
#include "product.cuh"

/// a(z) and its derivative by a call: inlined for each of a thread's many outputs they would be most of the program.
__device__ __noinline__ float activate_one(u32 activation, float z) { return activate(activation, z); }
__device__ __noinline__ float derive_one(u32 activation, float h, float dx) { return derive(activation, h, dx); }

/// Inputs of the first layer, s[b,k] = x[b,k] · scale[k], from samples as they are stored.
///
/// along_k: rows of the tile are samples, k their features (forward); otherwise rows are features, k samples (update).
template <class Stored, bool along_k> struct Gathered {
    static const bool ALONG_K = along_k;
    const Stored *inputs;
    const float *scale;
    u32 stride;
    Samples samples;

    __device__ Gathered(const Data &data, const Samples &samples)
        : inputs(static_cast<const Stored *>(data.inputs)), scale(data.scale), stride(data.stride), samples(samples) {}

    __device__ float4 load(u32 b, u32 feature) const {
        // Features beyond the last are read from the next sample; the last sample of all has room behind it.
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

/// Rows of samples by columns of units: z = start + Σ_k a[b,k] · w[j,k] (+ 0 in the first layer), h = a(z).
template <class A> __device__ inline void forward_tile(const Step &step, const Layer &layer, const A &a, bool first) {
    __shared__ Shared shared;
    const u32 tiles = (layer.units + COLUMNS - 1) / COLUMNS;
    const u32 m0 = blockIdx.x / tiles * ROWS, n0 = blockIdx.x % tiles * COLUMNS;
    if (m0 >= step.rows) return;
    Sums sums;
#pragma unroll
    for (int j = 0; j < COLUMNS_EACH; ++j) {
        const float start = layer.start[n0 + column_of(j)];
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i) sums.of[i][j] = start;
    }
    const Plain<false> w{layer.weight, layer.stride};
    product(shared, sums, a, w, m0, n0, layer.fan_in, false);
#pragma unroll
    for (int i = 0; i < ROWS_EACH; ++i) {
        float *row = layer.h + size_t(m0 + row_of(i)) * layer.stride + n0;
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) {
            alignas(16) float h[COLUMN_RUN];
#pragma unroll
            for (int v = 0; v < COLUMN_RUN; ++v) {
                const float z = sums.of[i][j + v];
                h[v] = activate_one(layer.activation, first ? z + 0.0f : z);
            }
            write_run(row + column_of(j), h);
        }
    }
}

template <class Stored>
__device__ inline void forward_first(const Progress *progress, u32 i, const Layer &layer, const Data &data) {
    const Step step(progress, i);
    if (step.rows == 0) return;
    forward_tile(step, layer, Gathered<Stored, true>(data, Samples(progress, step, data)), true);
}

KERNEL(forward_first_u8)(const Progress *progress, u32 i, Layer layer, Data data) {
    forward_first<u8>(progress, i, layer, data);
}

KERNEL(forward_first_f32)(const Progress *progress, u32 i, Layer layer, Data data) {
    forward_first<float>(progress, i, layer, data);
}

KERNEL(forward)(const Progress *progress, u32 i, Layer layer) {
    const Step step(progress, i);
    if (step.rows == 0) return;
    forward_tile(step, layer, Plain<true>{layer.below, layer.below_stride}, false);
}

/// Rows of samples by columns of inputs: dx = Σ_j d[b,j] · w[j,k], d_below = a'(z) · dx.
KERNEL(input_gradient)(const Progress *progress, u32 i, Layer layer) {
    __shared__ Shared shared;
    const Step step(progress, i);
    const u32 tiles = (layer.fan_in + COLUMNS - 1) / COLUMNS;
    const u32 m0 = blockIdx.x / tiles * ROWS, n0 = blockIdx.x % tiles * COLUMNS;
    if (m0 >= step.rows) return;
    Sums sums = {};
    const Plain<true> d{layer.d, layer.stride};
    const Plain<true> w{layer.weight, layer.stride};
    product(shared, sums, d, w, m0, n0, layer.units, false);
#pragma unroll
    for (int r = 0; r < ROWS_EACH; ++r) {
        const size_t row = size_t(m0 + row_of(r)) * layer.below_stride + n0;
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) {
            alignas(16) float dx[COLUMN_RUN];
#pragma unroll
            for (int v = 0; v < COLUMN_RUN; ++v) {
                const float h = layer.below[row + column_of(j) + v];
                dx[v] = derive_one(layer.activation_below, h, sums.of[r][j + v]);
            }
            write_run(layer.d_below + row + column_of(j), dx);
        }
    }
}

/// Layers whose weights one launch renews; block b works on the layer with the largest first_tile ≤ b.
const int GROUP = 8;
struct Layers {
    Layer layer[GROUP];
    u32 first_tile[GROUP];
    u32 count;
};

/// What the first layer's sums start at in the next step: start[j] = bias[j], then fma(shift[k], w[j,k], start) over all
/// k. By the threads t < COLUMNS, one chain each, for the columns from n0; weights come through shared memory, in panels
/// of as many rows as fit, the next panel already in registers while one is summed up.
__device__ inline void sum_starts(Shared &shared, const Layer &layer, const float *shift, u32 n0) {
    const int EACH = TILE == 16 ? 32 : 8, PANEL = EACH * THREADS / COLUMNS; // rows of a panel
    static_assert(sizeof(Shared) >= PANEL * COLUMNS * sizeof(float), "a panel fits");
    float *panel = &shared.as[0][0][0];
    const float *w = layer.weight + n0 + threadIdx.x % COLUMNS;
    const u32 row = threadIdx.x / COLUMNS;
    float held[EACH];
    float sum = threadIdx.x < COLUMNS ? __ldcg(layer.bias + n0 + threadIdx.x) : 0.0f;
#pragma unroll
    for (int e = 0; e < EACH; ++e) {
        const u32 k = min(row + e * (THREADS / COLUMNS), layer.fan_in - 1);
        held[e] = __ldcg(w + size_t(k) * layer.stride);
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
                held[e] = __ldcg(w + size_t(k) * layer.stride);
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

/// Rows of inputs by columns of units: g = Σ_b a[k,b] · d[b,j] (first layer: then fma(shift[k], D[j], g) + 0), and
/// w = fma(−lr, g, w) at once. Blocks of the first rows renew the biases, from D[j] = Σ_b d[b,j].
template <class A>
__device__ inline void update_tile(Shared &shared, const Step &step, const Layer &layer, const A &a, u32 tile,
                                   float learning_rate, const float *shift) {
    __shared__ float d_sums[COLUMNS];
    const u32 tiles = (layer.units + COLUMNS - 1) / COLUMNS;
    const u32 m0 = tile / tiles * ROWS, n0 = tile % tiles * COLUMNS;
    const bool first = shift != nullptr;
    Sums sums = {};
    float *const weights = layer.weight + size_t(m0) * layer.stride + n0;
    // Where a thread has few weights they are fetched now, to come in while the products run.
    const bool EARLY = ROWS_EACH * COLUMNS_EACH <= 4;
    alignas(16) float early[ROWS_EACH][COLUMNS_EACH];
    if (EARLY) {
#pragma unroll
        for (int i = 0; i < ROWS_EACH; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN)
                read_run<COLUMN_RUN>(&early[i][j], weights + size_t(row_of(i)) * layer.stride + column_of(j));
    }
    const Plain<false> d{layer.d, layer.stride};
    product(shared, sums, a, d, m0, n0, step.rows, first || m0 == 0);
    if (first || m0 == 0) {
        if (threadIdx.x < COLUMNS) {
            d_sums[threadIdx.x] = sums.column;
            if (m0 == 0) {
                float *bias = layer.bias + n0 + threadIdx.x;
                *bias = fmaf(-learning_rate, sums.column, *bias);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < ROWS_EACH; ++i) {
        const u32 k = m0 + row_of(i);
        float *row = weights + size_t(row_of(i)) * layer.stride;
#pragma unroll
        for (int j = 0; j < COLUMNS_EACH; j += COLUMN_RUN) {
            alignas(16) float w[COLUMN_RUN];
            read_run<COLUMN_RUN>(w, EARLY ? &early[i][j] : row + column_of(j));
#pragma unroll
            for (int v = 0; v < COLUMN_RUN; ++v) {
                float g = sums.of[i][j + v];
                if (first) g = fmaf(shift[k], d_sums[column_of(j) + v], g) + 0.0f;
                w[v] = fmaf(-learning_rate, g, w[v]);
            }
            write_run(row + column_of(j), w);
        }
    }
}

/// Renews the layers of the group. The last block to finish a column of tiles in the first layer sums up what that
/// layer starts at in the next step; `tickets` counts the blocks that have finished, a number a column, all 0 again
/// at the end.
template <class Stored>
__device__ inline void update(const Progress *progress, u32 i, const Layers &layers, const Data &data,
                              const float *learning_rates, u32 *tickets) {
    __shared__ Shared shared;
    __shared__ bool last;
    const Step step(progress, i);
    if (step.rows == 0) return;
    u32 l = 0;
    while (l + 1 < layers.count && blockIdx.x >= layers.first_tile[l + 1]) ++l;
    const Layer &layer = layers.layer[l];
    const u32 tile = blockIdx.x - layers.first_tile[l];
    const float learning_rate = learning_rates[step.number];
    if (layer.below != nullptr) {
        const Plain<false> h{layer.below, layer.below_stride};
        update_tile(shared, step, layer, h, tile, learning_rate, nullptr);
        return;
    }
    const Gathered<Stored, false> s(data, Samples(progress, step, data));
    update_tile(shared, step, layer, s, tile, learning_rate, data.shift);

    const u32 columns = (layer.units + COLUMNS - 1) / COLUMNS, rows = (layer.fan_in + ROWS - 1) / ROWS;
    const u32 column = tile % columns;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(tickets + column, 1u) + 1 == rows;
        if (last) tickets[column] = 0;
        __threadfence();
    }
    __syncthreads();
    if (last) sum_starts(shared, layer, data.shift, column * COLUMNS);
}

KERNEL(update_u8)(const Progress *progress, u32 i, Layers layers, Data data, const float *learning_rates, u32 *tickets) {
    update<u8>(progress, i, layers, data, learning_rates, tickets);
}

KERNEL(update_f32)(const Progress *progress, u32 i, Layers layers, Data data, const float *learning_rates, u32 *tickets) {
    update<float>(progress, i, layers, data, learning_rates, tickets);
}

/// What the first layer's sums start at, before the first step. A block a column of tiles.
KERNEL(start)(Layer layer, Data data) {
    __shared__ Shared shared;
    sum_starts(shared, layer, data.shift, blockIdx.x * COLUMNS);
}
