// The end of the network: losses, their gradient, predictions. One warp works on one sample, because all sums along a row
// run in ascending order and a row is short.
#pragma once

#include "network.cuh"

const u32 WARP = 32;

/// What to compute from the outputs.
struct Judge {
    u32 head, outputs;
    u32 gradient; // whether to compute d
};

/// Loss, guess and d[·] of one sample, from its outputs z (rules 6 and 7). z and d are shared or global memory that the
/// whole warp reads and writes. d also holds e^(z − max) for a while, and is written even if no gradient is wanted.
__device__ inline void judge_row(const Judge &judge, const Data &data, u32 sample, u32 rows, const float *z, float *d,
                                 float &loss, u32 &guess) {
    const u32 lane = threadIdx.x % WARP, outputs = judge.outputs;
    guess = 0;
    if (judge.head == REGRESSION) {
        const float *t = data.values + size_t(sample) * outputs;
        const float mean = 2.0f / float(rows * outputs);
        float sum = 0.0f;
        for (u32 j = 0; j < outputs; ++j) {
            const float error = z[j] - t[j];
            sum = fmaf(error, error, sum);
        }
        for (u32 j = lane; j < outputs; j += WARP) d[j] = (z[j] - t[j]) * mean;
        loss = sum / float(outputs);
    } else if (judge.head == BINARY) {
        const float y = float(data.labels[sample]), x = z[0];
        loss = binary_loss(x, y);
        guess = x > 0.0f;
        if (lane == 0) d[0] = binary_gradient(x, y, 1.0f / float(rows));
    } else {
        const u32 label = data.labels[sample];
        const float mean = 1.0f / float(rows);
        float max = z[0];
        for (u32 j = 1; j < outputs; ++j) {
            const float x = z[j];
            if (x > max) {
                max = x;
                guess = j;
            }
        }
        for (u32 j = lane; j < outputs; j += WARP) d[j] = exponential(z[j] - max);
        __syncwarp();
        float sum = 0.0f;
        for (u32 j = 0; j < outputs; ++j) sum = sum + d[j];
        __syncwarp();
        loss = cross_entropy(sum, z[label], max);
        for (u32 j = lane; j < outputs; j += WARP) d[j] = softmax_gradient(d[j], sum, j == label ? 1.0f : 0.0f, mean);
    }
    __syncwarp();
}

/// Stores the loss and the guess of a sample. A loss that is not finite ends the training at this step.
__device__ inline void note(Progress *progress, const Step &step, const Outcome &outcome, u32 row, bool gradient,
                            float loss, u32 guess) {
    if (threadIdx.x % WARP != 0) return;
    const size_t place = size_t(step.number) * progress->batch + row;
    outcome.losses[place] = loss;
    outcome.guesses[place] = guess;
    if (gradient && !(magnitude(loss) < __int_as_float(0x7f800000))) atomicMin(&progress->halted, step.number);
}

// The last layer usually has few units. Then the warp that computes a sample's loss also computes the layer's products.
// Weights and activations come through shared memory, PANEL of the layer's inputs at a time. Rows of weights have an odd
// length there, so that the lanes of a warp, which read one row each, have no bank conflicts.
const u32 MOST_OUTPUTS = 32, PANEL = 128;

template <u32 WARPS> struct HeadShared {
    float weight[PANEL][MOST_OUTPUTS + 1];
    float below[WARPS][PANEL];
    float z[WARPS][MOST_OUTPUTS];
    float d[WARPS][MOST_OUTPUTS];
};

/// Reads the weights of the inputs from k0 on, with all threads of the block.
template <u32 WARPS, class Weights>
__device__ inline void read_panel(HeadShared<WARPS> &shared, const Layer &layer, const Weights &weights, u32 k0) {
    const u32 left = min(PANEL, layer.fan_in - k0);
    __syncthreads();
    for (u32 e = threadIdx.x; e < left * layer.units; e += WARPS * WARP) {
        shared.weight[e / layer.units][e % layer.units] = weights.at(k0 + e / layer.units, e % layer.units);
    }
    __syncthreads();
}

/// The last layer's forward product, losses, d, and the input gradient: all that a sample's row needs, forward and
/// backward. A block of WARPS warps takes as many rows, beginning with `first`. That row must exist.
template <u32 WARPS, class Weights>
__device__ inline void head_rows(HeadShared<WARPS> &shared, Progress *progress, const Step &step, const Layer &layer,
                                 const Weights &weights, const Data &data, const Outcome &outcome, const Judge &judge,
                                 u32 first) {
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const u32 row = first + warp;
    const bool mine = row < step.rows;
    const float *below = layer.below + size_t(row) * layer.below_stride;

    float z = lane < layer.units ? layer.start[lane] : 0.0f;
    for (u32 k0 = 0; k0 < layer.fan_in; k0 += PANEL) {
        read_panel(shared, layer, weights, k0);
        const u32 left = min(PANEL, layer.fan_in - k0);
        for (u32 k = lane; k < left; k += WARP) shared.below[warp][k] = below[k0 + k];
        __syncwarp();
        if (lane < layer.units) {
#pragma unroll 8
            for (u32 k = 0; k < left; ++k) z = fmaf(shared.below[warp][k], shared.weight[k][lane], z);
        }
    }
    if (lane < layer.units) shared.z[warp][lane] = z;
    __syncwarp();
    if (mine) {
        const u32 sample = Samples(progress, step, data).at(row);
        float loss;
        u32 guess;
        judge_row(judge, data, sample, step.rows, shared.z[warp], shared.d[warp], loss, guess);
        note(progress, step, outcome, row, judge.gradient, loss, guess);
    }
    if (!judge.gradient) return;
    if (mine && lane < layer.units) layer.d[size_t(row) * layer.stride + lane] = shared.d[warp][lane];

    for (u32 k0 = 0; k0 < layer.fan_in; k0 += PANEL) {
        // If there is only one panel, its weights are still there.
        if (layer.fan_in > PANEL) read_panel(shared, layer, weights, k0);
        const u32 left = min(PANEL, layer.fan_in - k0);
        for (u32 k = lane; mine && k < left; k += WARP) {
            float dx = 0.0f;
            for (u32 j = 0; j < layer.units; ++j) dx = fmaf(shared.d[warp][j], shared.weight[k][j], dx);
            const size_t at = size_t(row) * layer.below_stride + k0 + k;
            layer.d_below[at] = backward(layer.activation_below, layer.parameter_below, layer.read_below[at], dx);
        }
    }
}
