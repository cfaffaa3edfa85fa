// The kernels of the end of the network, and some small ones.
#include "head.cuh"

const u32 WARPS = 4;

/// The losses and d, from outputs z in the last layer's h.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    judge(Progress *progress, u32 i, Layer layer, Data data, Outcome outcome, Judge judge) {
    const Step step(progress, i);
    const u32 row = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= step.rows) return;
    const u32 sample = Samples(progress, step, data).at(row);
    const size_t at = size_t(row) * layer.stride;
    float loss;
    u32 guess;
    judge_row(judge, data, sample, factor(judge, progress, step, row), layer.h + at, layer.d + at, loss, guess);
    note(progress, step, outcome, row, judge.gradient, loss, guess);
}

/// The last layer's forward product, the losses, and the last layer's input gradient.
extern "C" __global__ void __launch_bounds__(WARPS *WARP)
    head(Progress *progress, u32 i, Layer layer, Data data, Outcome outcome, Judge judge) {
    __shared__ HeadShared<WARPS> shared;
    const Step step(progress, i);
    const u32 first = blockIdx.x * WARPS;
    if (first < step.rows) head_rows(shared, progress, step, layer, InMemory(layer), data, outcome, judge, first);
}

/// Moves the progress on past the steps that were taken.
extern "C" __global__ void advance(Progress *progress, u32 steps) {
    progress->first += steps;
    progress->met = 0;
}

/// Measures the card's peak: eight chains of fused multiply-adds per thread, on registers alone.
extern "C" __global__ void __launch_bounds__(256) multiply_add(float *out, u32 rounds) {
    float sums[8];
    for (int c = 0; c < 8; ++c) sums[c] = float(threadIdx.x + c);
    const float x = 1.0f - 1.0f / 1024.0f, y = 1.0f / 1024.0f;
    for (u32 round = 0; round < rounds; ++round)
#pragma unroll
        for (int c = 0; c < 8; ++c) sums[c] = fmaf(sums[c], x, y);
    float sum = 0.0f;
    for (int c = 0; c < 8; ++c) sum = sum + sums[c];
    out[blockIdx.x * 256 + threadIdx.x] = sum;
}
