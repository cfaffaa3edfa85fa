// A span of steps, run by one cluster of blocks. Its processors can read each other's shared memory (Hopper and later), and
// during the span the weights lie there, tile by tile: with 2^n blocks, tile t of the network is slot t / 2^n of block
// t % 2^n, which also updates it. Blocks meet at a barrier in hardware, which is much faster than a barrier through memory.
// But a cluster has only few blocks.
#include "span.cuh"

/// Floats per tile of weights.
const u32 SLOT = ROWS * COLUMNS;

/// Shared memory whose size is set at the launch. (The emulator defines this differently.)
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(name) extern __shared__ float4 name[]
#endif

/// One of the block's slots.
__device__ inline float *slot(u32 number) {
    DYNAMIC_SHARED(slots);
    return reinterpret_cast<float *>(slots) + size_t(number) * SLOT;
}

/// The weights of a layer, Wᵀ, spread over the shared memory of a cluster of 2^log_size blocks.
struct Spread {
    u32 log_size;
    u32 first, across; // the network's tile with which the layer begins; tiles per row of the layer's tiles

    __device__ float *find(u32 k, u32 j) const {
        const u32 tile = first + k / ROWS * across + j / COLUMNS;
        float *mine = slot(tile >> log_size) + k % ROWS * COLUMNS + j % COLUMNS;
        return static_cast<float *>(__cluster_map_shared_rank(mine, tile & ((1u << log_size) - 1)));
    }
    __device__ float at(u32 k, u32 j) const { return *find(k, j); }
    __device__ float newest(u32 k, u32 j) const { return *static_cast<volatile float *>(find(k, j)); }
    __device__ float4 load(u32 k, u32 j) const { return *reinterpret_cast<const float4 *>(find(k, j)); }
    /// One of the block's own tiles.
    __device__ Matrix tile(u32 tile, u32, u32) const { return {slot((first + tile) >> log_size), COLUMNS}; }
};

struct Cluster {
    u32 log_size;

    __device__ Spread weights(const Layers &layers, u32 l) const {
        return {log_size, layers.first_tile[l], tiles_along(layers.layer[l].units, COLUMNS)};
    }

    __device__ void meet() {
        __cluster_barrier_arrive();
        __cluster_barrier_wait();
    }
};

/// Calls `work` for each of the block's weights, with its place in memory and its place in shared memory.
template <class Work> __device__ inline void with_weights(const Layers &layers, u32 log_size, Work work) {
    const u32 tiles = tiles_of(layers);
    for (u32 tile = blockIdx.x; tile < tiles; tile += 1u << log_size) {
        const u32 l = layer_of(layers, tile);
        const Layer &layer = layers.layer[l];
        const u32 across = tiles_along(layer.units, COLUMNS), of_layer = tile - layers.first_tile[l];
        const u32 k0 = of_layer / across * ROWS, j0 = of_layer % across * COLUMNS;
        float *here = slot(tile >> log_size);
        for (u32 e = threadIdx.x; e < SLOT; e += THREADS) {
            work(layer.weight[size_t(k0 + e / COLUMNS) * layer.stride + j0 + e % COLUMNS], here[e]);
        }
    }
}

// Not inlined, because the program is the same for both sizes. The span is read from where the launch has put it.
__device__ __noinline__ void span_of_cluster(const Span &span, u32 log_size) {
    __shared__ SpanShared shared;
    Cluster cluster{log_size};
    with_weights(span.layers, log_size, [](float &in_memory, float &here) { here = in_memory; });
    cluster.meet();
    take_steps(shared, cluster, span);
    with_weights(span.layers, log_size, [](float &in_memory, float &here) { in_memory = here; });
    // No block may end while others still read its weights.
    cluster.meet();
}

extern "C" __global__ void __cluster_dims__(8, 1, 1) __launch_bounds__(THREADS, BLOCKS) cluster_8(const __grid_constant__ Span span) {
    span_of_cluster(span, 3);
}

extern "C" __global__ void __cluster_dims__(16, 1, 1) __launch_bounds__(THREADS, BLOCKS) cluster_16(const __grid_constant__ Span span) {
    span_of_cluster(span, 4);
}
