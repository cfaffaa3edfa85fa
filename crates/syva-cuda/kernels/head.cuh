// The end of the network: losses, their gradient, predictions. One warp works on one sample, because all sums along a row
// run in ascending order and a row is short.
#pragma once

#include "network.cuh"

const u32 WARP = 32;

/// What to compute from the outputs.
struct Judge {
    const float *factors; // the factor M of each sample of the span in turn (rule 7); null if all samples weigh the same
    u32 judging;          // values, labels 0 and 1 as values, a label as the only value, a class, or pairs of outputs
    u32 distance;         // what is computed per output: a number of generated.cuh
    u32 outputs;
    u32 terms;    // distances that a sample's loss is the mean of
    u32 gradient; // whether to compute d
    float scale;  // of the factor
    float p, q;   // parameters of the loss
};

/// The factor M of the sample in a row of the step's batch.
__device__ inline float factor(const Judge &judge, const Progress *progress, const Step &step, u32 row) {
    if (judge.factors) return judge.factors[size_t(step.number) * progress->batch + row];
    return judge.scale / float(step.rows * judge.terms);
}

/// Loss and d of one sample whose outputs are pairs. A call, so that the common losses need no more registers.
__device__ __noinline__ static float judge_pairs(u32 terms, const float *t, float mean, const float *z, float *d) {
    float sum = 0.0f;
    for (u32 j = 0; j < terms; ++j) sum = add_gaussian(sum, z[2 * j], z[2 * j + 1], t[j]);
    for (u32 j = threadIdx.x % WARP; j < terms; j += WARP) {
        d[2 * j] = gaussian_mean_slope(z[2 * j], z[2 * j + 1], t[j]) * mean;
        d[2 * j + 1] = gaussian_variance_slope(z[2 * j], z[2 * j + 1], t[j]) * mean;
    }
    return sum / float(terms);
}

/// The loss of one sample whose class is smoothed.
__device__ __noinline__ static float judge_smoothed(const Judge &judge, float sum, u32 label, float max, const float *z) {
    float rest = 0.0f;
    for (u32 j = 0; j < judge.outputs; ++j) rest = rest + (z[j] - max);
    return smoothed_cross_entropy(sum, z[label], max, rest, judge.p, judge.q);
}

/// Loss, guess and d[·] of one sample, from its outputs z and its factor (rules 6 and 7). z and d are shared or global memory
/// that the whole warp reads and writes. d also holds e^(z − max) for a while, and is written even if no gradient is wanted.
__device__ inline void judge_row(const Judge &judge, const Data &data, u32 sample, float mean, const float *z, float *d,
                                 float &loss, u32 &guess) {
    const u32 lane = threadIdx.x % WARP, outputs = judge.outputs;
    guess = 0;
    if (judge.judging == CLASSES) {
        const u32 label = data.labels[sample];
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
        loss = judge.q == 0.0f ? cross_entropy(sum, z[label], max) : judge_smoothed(judge, sum, label, max, z);
        const float on = judge.p + judge.q, off = judge.q;
        for (u32 j = lane; j < outputs; j += WARP) d[j] = softmax_gradient(d[j], sum, j == label ? on : off, mean);
    } else if (judge.judging == BINARY) {
        const float y = float(data.labels[sample]), x = z[0];
        loss = add_loss(judge.distance, judge.p, 0.0f, x, y);
        guess = x > 0.0f;
        if (lane == 0) d[0] = loss_slope(judge.distance, judge.p, x, y) * mean;
    } else if (judge.judging == PAIRS) {
        loss = judge_pairs(judge.terms, data.values + size_t(sample) * judge.terms, mean, z, d);
    } else {
        const float *t = data.values + size_t(sample) * outputs;
        float sum = 0.0f;
        for (u32 j = 0; j < outputs; ++j) sum = add_loss(judge.distance, judge.p, sum, z[j], t[j]);
        loss = sum / float(outputs);
        if (judge.judging == LABELS) {
            // Right ones below, wrong ones above: labels_guess in syva-core.
            for (u32 j = 0; j < outputs; ++j) guess += z[j] > 0.0f ? (t[j] > 0.0f ? 1 : 1 << 16) : 0;
        }
        for (u32 j = lane; j < outputs; j += WARP) d[j] = loss_slope(judge.distance, judge.p, z[j], t[j]) * mean;
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
        const float mean = factor(judge, progress, step, row);
        judge_row(judge, data, sample, mean, shared.z[warp], shared.d[warp], loss, guess);
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
