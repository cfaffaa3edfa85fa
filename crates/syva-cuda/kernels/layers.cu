// The products of a step: one launch per product, one block of threads per tile. Compiled once for each TILE, and again
// with TF32 and BF16. The kernels are called forward_16, forward_64, forward_tf32_64, …
#include "tiles.cuh"

template <class Stored>
__device__ inline void forward_first(const Progress *progress, u32 i, const Layer &layer, const Data &data) {
    __shared__ Shared shared;
    const Step step(progress, i);
    if (step.rows == 0) return;
    const Gathered<Stored, true> s(data, Samples(progress, step, data));
    forward_tile(shared, step, layer, s, InMemory(layer), blockIdx.x, true);
}

KERNEL(forward_first_u8)(const Progress *progress, u32 i, Layer layer, Data data) {
    forward_first<u8>(progress, i, layer, data);
}

KERNEL(forward_first_f32)(const Progress *progress, u32 i, Layer layer, Data data) {
    forward_first<float>(progress, i, layer, data);
}

KERNEL(forward)(const Progress *progress, u32 i, Layer layer) {
    __shared__ Shared shared;
    const Step step(progress, i);
    if (step.rows == 0) return;
    const Factor<true> h{{layer.below, layer.below_stride}};
    forward_tile(shared, step, layer, h, InMemory(layer), blockIdx.x, false);
}

KERNEL(input_gradient)(const Progress *progress, u32 i, Layer layer) {
    __shared__ Shared shared;
    const Step step(progress, i);
    if (step.rows == 0) return;
    input_gradient_tile(shared, step, layer, InMemory(layer), blockIdx.x);
}

/// Updates all layers of a group.
template <class Stored>
__device__ inline void update(const Progress *progress, u32 i, const Layers &layers, const Data &data,
                              const float *learning_rates, u32 *tickets) {
    __shared__ UpdateShared shared;
    const Step step(progress, i);
    if (step.rows == 0) return;
    const u32 l = layer_of(layers, blockIdx.x);
    const Layer &layer = layers.layer[l];
    update_tile<Stored>(shared, progress, step, layer, InMemory(layer), data, blockIdx.x - layers.first_tile[l],
                        learning_rates[step.number], tickets);
}

KERNEL(update_u8)(const Progress *progress, u32 i, Layers layers, Data data, const float *learning_rates, u32 *tickets) {
    update<u8>(progress, i, layers, data, learning_rates, tickets);
}

KERNEL(update_f32)(const Progress *progress, u32 i, Layers layers, Data data, const float *learning_rates, u32 *tickets) {
    update<float>(progress, i, layers, data, learning_rates, tickets);
}

/// Computes the first layer's gradients. Its weights and biases are the places for them.
template <class Stored>
__device__ inline void gradient_first(const Progress *progress, u32 i, const Layer &layer, const Data &data) {
    __shared__ UpdateShared shared;
    const Step step(progress, i);
    if (step.rows == 0) return;
    const Gathered<Stored, false> s(data, Samples(progress, step, data));
    gradient_tile(shared, step, layer, s, blockIdx.x, data.shift);
}

KERNEL(gradient_first_u8)(const Progress *progress, u32 i, Layer layer, Data data) {
    gradient_first<u8>(progress, i, layer, data);
}

KERNEL(gradient_first_f32)(const Progress *progress, u32 i, Layer layer, Data data) {
    gradient_first<float>(progress, i, layer, data);
}

/// Computes the gradients of a group of other layers.
KERNEL(gradient)(const Progress *progress, u32 i, Layers layers) {
    __shared__ UpdateShared shared;
    const Step step(progress, i);
    if (step.rows == 0) return;
    const u32 l = layer_of(layers, blockIdx.x);
    const Layer &layer = layers.layer[l];
    const Factor<false> h{{layer.below, layer.below_stride}};
    gradient_tile(shared, step, layer, h, blockIdx.x - layers.first_tile[l], nullptr);
}

/// Computes the first layer's initial sums, before the first step. One block per column of tiles.
KERNEL(start)(Layer layer, Data data) {
    __shared__ Shared shared;
    sum_starts(shared, layer, InMemory(layer), data.shift, blockIdx.x * COLUMNS);
}
