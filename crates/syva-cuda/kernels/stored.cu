// What a training may have beside plain gradient descent: dropout, noise on inputs, learned activations, and the update by
// stored gradients. All of it is element by element, or along a unit's weights or terms. The optimisers' rules and the other functions are generated.
// Nothing here is part of the products, whose kernels remain as small as plain gradient descent needs them.
#include "network.cuh"

/// What the host computes for each step of a span.
struct Varying {
    u32 threshold; // dropout of hidden layers: random words below it mean 0
    float scale;   // and what other activations are multiplied by
    u32 input_threshold; // the same for dropout of inputs
    float input_scale;
    u32 step[2]; // the number of the step, lower word first
    float share; // of the distance by which the average moves
};

// ---- Randomness ------------------------------------------------------------------------------------------------------

/// The inputs of steps that change them at random.
struct Perturbed {
    float *to; // normalised inputs with noise and dropout [batch, stride]
    const Varying *varying;
    u32 seed;
    u32 features, stride;
    float deviation; // of the noise; 0 if there is none
    u32 drops;       // whether there is dropout
};

/// A hidden layer with dropout. The activations are kept as they are in `from` if the derivative reads them.
struct Dropped {
    const float *from;   // h without dropout [batch, stride]; may be `to`
    float *to;           // h with dropout [batch, stride]
    const float *read;   // what the derivative reads [batch, stride]
    float *d;            // the sums of rule 4, which become the gradient by z [batch, stride]
    const Varying *varying;
    u32 seed;
    u32 layer, units, stride;
    u32 activation; // number of generated.cuh
    float parameter;
};

/// Philox4x32-10 (syva-core's `random.rs`): four random words from a counter and a key.
__device__ inline void philox(u32 (&counter)[4], u32 key0, u32 key1) {
#pragma unroll 1
    for (int round = 0; round < 10; ++round) {
        const u64 p0 = u64(counter[0]) * 0xd2511f53u, p1 = u64(counter[2]) * 0xcd9e8d57u;
        counter[0] = u32(p1 >> 32) ^ counter[1] ^ key0;
        counter[1] = u32(p1);
        counter[2] = u32(p0 >> 32) ^ counter[3] ^ key1;
        counter[3] = u32(p0);
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
}

/// The number of four standard normal ones that a counter's words give.
__device__ inline float normal(const u32 (&words)[4], int c) {
    const u32 first = words[c & 2], second = words[(c & 2) + 1];
    const float last = __int_as_float(0x33800000); // 2^−24
    const Pair pair = normal_pair(float((first >> 8) + 1) * last, float(second >> 8) * last);
    const float value = c & 1 ? pair.b : pair.a;
    return second >> (c & 1) & 1 ? -value : value;
}

/// The inputs of the step's rows. A thread has four neighbours of a row.
template <class Stored>
__device__ inline void perturb(const Progress *progress, u32 i, const Perturbed &of, const Data &data) {
    const Step step(progress, i);
    const u32 quads = (of.features + 3) / 4, thread = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 row = thread / quads, quad = thread % quads;
    if (row >= step.rows) return;
    const Varying &varying = of.varying[step.number];
    u32 noise[4] = {quad, row, varying.step[0], varying.step[1]};
    u32 drops[4] = {quad, row, varying.step[0], varying.step[1] | INPUTS << 16};
    if (of.deviation > 0.0f) philox(noise, of.seed, NOISE);
    if (of.drops) philox(drops, of.seed, DROPOUT);
    const u32 sample = Samples(progress, step, data).at(row), first = 4 * quad;
    const Stored *from = static_cast<const Stored *>(data.inputs) + size_t(sample) * data.stride;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        const u32 k = first + c;
        if (k >= of.features) break;
        float value = float(from[k]) * data.scale[k] + data.shift[k];
        if (of.deviation > 0.0f) value = value + normal(noise, c) * of.deviation;
        if (of.drops) value = dropped(value, drops[c] < varying.input_threshold ? 0.0f : varying.input_scale);
        of.to[size_t(row) * of.stride + k] = value;
    }
}

extern "C" __global__ void __launch_bounds__(128)
    perturb_u8(const Progress *progress, u32 i, Perturbed of, Data data) {
    perturb<u8>(progress, i, of, data);
}

extern "C" __global__ void __launch_bounds__(128)
    perturb_f32(const Progress *progress, u32 i, Perturbed of, Data data) {
    perturb<float>(progress, i, of, data);
}

/// Calls `with` for the thread's four neighbours of a row: the place of each, and its factor.
template <class With> __device__ inline void each_dropped(const Progress *progress, u32 i, const Dropped &of, With with) {
    const Step step(progress, i);
    const u32 quads = (of.units + 3) / 4, thread = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 row = thread / quads, quad = thread % quads;
    if (row >= step.rows) return;
    const Varying &varying = of.varying[step.number];
    u32 words[4] = {quad, row, varying.step[0], varying.step[1] | of.layer << 16};
    philox(words, of.seed, DROPOUT);
    const size_t first = size_t(row) * of.stride + 4 * quad;
#pragma unroll
    for (int c = 0; c < 4; ++c) with(first + c, words[c] < varying.threshold ? 0.0f : varying.scale);
}

/// The activations, on their way into the next layer.
extern "C" __global__ void __launch_bounds__(128) drop(const Progress *progress, u32 i, Dropped of) {
    each_dropped(progress, i, of, [&](size_t at, float factor) { of.to[at] = dropped(of.from[at], factor); });
}

/// The gradient by z, from the sums of rule 4.
extern "C" __global__ void __launch_bounds__(128) drop_gradient(const Progress *progress, u32 i, Dropped of) {
    each_dropped(progress, i, of, [&](size_t at, float factor) {
        of.d[at] = backward(of.activation, of.parameter, of.read[at], dropped(of.d[at], factor));
    });
}

// ---- Learned activations -------------------------------------------------------------------------------------------------

/// A hidden layer whose activation is learned. Its product leaves z as it is.
struct LearnedLayer {
    const float *z;     // pre-activations [batch, stride]; `h` if there is no way back
    float *h;           // activations [batch, stride]
    float *d;           // the gradient by h, which becomes the gradient by z [batch, stride]
    const float *gains; // [stride]
    float *gradient;    // of the gains [stride]
    float *sums;        // of the terms, over each block of the batch [blocks, stride]; `gradient` if there is one block only
    u32 units, stride;
    u32 activation, learned; // numbers of generated.cuh
    float parameter;         // of the activation
    u32 reads_z;             // whether the activation's derivative reads z, not h
};

/// The activations, from z. A thread has four neighbours of a row.
extern "C" __global__ void __launch_bounds__(128) learn(const Progress *progress, u32 i, LearnedLayer of) {
    const Step step(progress, i);
    const u32 quads = (of.units + 3) / 4, thread = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 row = thread / quads, j = thread % quads * 4;
    if (row >= step.rows) return;
    const size_t first = size_t(row) * of.stride + j;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        const float z = of.z[first + c];
        of.h[first + c] = learned_forward(of.learned, z, forward(of.activation, of.parameter, z), of.gains[j + c]);
    }
}

// The terms of the gains' gradients are summed like biases' (tiles.cuh): one chain per block of BLOCK samples, and the blocks
// as a tree. Terms are computed by all threads of a block, and summed by the first WIDE of them.
const u32 BLOCK = 128, WIDE = 32, LINES = 8;

/// The gradient by z, and the sum of the gains' terms over a block of the batch, for WIDE units.
extern "C" __global__ void __launch_bounds__(WIDE *LINES)
    learn_gradient(const Progress *progress, u32 i, LearnedLayer of) {
    __shared__ float terms[BLOCK][WIDE];
    const Step step(progress, i);
    const u32 across = (of.units + WIDE - 1) / WIDE, block = blockIdx.x / across, first = block * BLOCK;
    if (first >= step.rows) return;
    const u32 column = threadIdx.x % WIDE, j = blockIdx.x % across * WIDE + column, rows = min(BLOCK, step.rows - first);
    const float gain = of.gains[j];
#pragma unroll 1
    for (u32 row = threadIdx.x / WIDE; row < rows; row += LINES) {
        const size_t at = size_t(first + row) * of.stride + j;
        const float z = of.z[at], dh = of.d[at], f = forward(of.activation, of.parameter, z);
        const float df = backward(of.activation, of.parameter, of.reads_z ? z : f, dh);
        const Pair by = learned_backward(of.learned, z, f, dh, df, gain);
        of.d[at] = by.a;
        terms[row][column] = by.b;
    }
    __syncthreads();
    if (threadIdx.x >= WIDE) return;
    float sum = 0.0f;
#pragma unroll 8
    for (u32 row = 0; row < rows; ++row) sum = sum + terms[row][column];
    of.sums[size_t(block) * of.stride + j] = sum;
}

/// The gradients of the gains of batches of several blocks, from the blocks' sums. The tree is that of `gradient_norm`.
extern "C" __global__ void __launch_bounds__(128) sum_gains(const Progress *progress, u32 i, LearnedLayer of) {
    const Step step(progress, i);
    const u32 j = blockIdx.x * blockDim.x + threadIdx.x, blocks = (step.rows + BLOCK - 1) / BLOCK;
    if (step.rows == 0 || j >= of.units) return;
    float *sums = of.sums + j;
    for (u32 apart = 1; apart < blocks; apart *= 2) {
        for (u32 b = 0; b + apart < blocks; b += 2 * apart) {
            sums[size_t(b) * of.stride] = sums[size_t(b) * of.stride] + sums[size_t(b + apart) * of.stride];
        }
    }
    of.gradient[j] = *sums;
}

// ---- The update ------------------------------------------------------------------------------------------------------

/// What is learned of a layer: its weights, Wᵀ [rows, stride] with a row per input, its biases, or its gains, one row each.
/// Each layer has all three in turn. Without gains, they have 0 units.
struct Tensor {
    float *values;
    const float *gradient;
    float *slots[SLOTS];
    float *average; // null if there is none
    u32 rows, units, stride;
    u32 block; // its first block in launches of one block per part of ROWS × COLUMNS values
    u32 wide;  // the layer's first block in launches of one block per COLUMNS columns of weights
    u32 unit;  // units of all layers before
};

/// The update of a step. What is 0 is off.
struct Update {
    const Tensor *tensors;
    const float *scalars; // [steps, tensors, SCALARS]
    const Varying *varying;
    float *sums;   // of the squares of each unit's gradients [units]
    float *factor; // of all gradients
    u32 count, units; // tensors, units of all layers
    u32 rule, slots;  // the number of the rule, and how many slots it has
    float l1, l2, clip_value, clip_norm, max_norm;
};

const u32 PARTS = 3, ROWS = 8, COLUMNS = 128, SUMMERS = 256;

/// A gradient with the penalties, clipped by value.
__device__ inline float held_back(const Update &update, float g, float w, bool weights) {
    if (weights && (update.l1 > 0.0f || update.l2 > 0.0f)) g = penalised(g, w, update.l1, update.l2);
    return update.clip_value > 0.0f ? clipped(g, update.clip_value) : g;
}

/// The weights of a block's layer, in launches of one block per COLUMNS columns of weights.
__device__ inline u32 wide_layer(const Update &update) {
    u32 t = 0;
    while (t + PARTS < update.count && blockIdx.x >= update.tensors[t + PARTS].wide) t += PARTS;
    return t;
}

/// The sum of the squares of each unit's gradients, one chain per thread.
extern "C" __global__ void __launch_bounds__(COLUMNS) gradient_squares(const Progress *progress, u32 i, Update update) {
    const Step step(progress, i);
    if (step.rows == 0) return;
    const u32 t = wide_layer(update);
    const Tensor &of = update.tensors[t], &biases = update.tensors[t + 1], &gains = update.tensors[t + 2];
    const u32 j = (blockIdx.x - of.wide) * COLUMNS + threadIdx.x;
    if (j >= of.units) return;
    float sum = 0.0f;
#pragma unroll 8
    for (u32 k = 0; k < of.rows; ++k) {
        const size_t at = size_t(k) * of.stride + j;
        const float g = held_back(update, of.gradient[at], of.values[at], true);
        sum = fmaf(g, g, sum);
    }
    const float g = held_back(update, biases.gradient[j], 0.0f, false);
    sum = fmaf(g, g, sum);
    if (gains.units > 0) {
        const float of_gain = held_back(update, gains.gradient[j], 0.0f, false);
        sum = fmaf(of_gain, of_gain, sum);
    }
    update.sums[of.unit + j] = sum;
}

/// The factor that clips all gradients by their norm. One block adds the units' sums in a binary tree, level by level: what
/// is added to an even one is its neighbour, and the last one of an odd number waits for the next level.
extern "C" __global__ void __launch_bounds__(SUMMERS) gradient_norm(const Progress *progress, u32 i, Update update) {
    const Step step(progress, i);
    if (step.rows == 0) return;
    for (u32 apart = 1; apart < update.units; apart *= 2) {
        for (u32 j = threadIdx.x * 2 * apart; j + apart < update.units; j += SUMMERS * 2 * apart) {
            update.sums[j] = update.sums[j] + update.sums[j + apart];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) *update.factor = norm_factor(sqrtf(update.sums[0]), update.clip_norm);
}

/// Applies the rule to all weights, biases and gains. Also moves the averages, except those of weights that `renorm` still changes.
extern "C" __global__ void __launch_bounds__(COLUMNS) apply(const Progress *progress, u32 i, Update update) {
    const Step step(progress, i);
    if (step.rows == 0) return;
    u32 t = 0;
    while (t + 1 < update.count && blockIdx.x >= update.tensors[t + 1].block) ++t;
    const Tensor &of = update.tensors[t];
    const bool weights = t % PARTS == 0;
    const u32 part = blockIdx.x - of.block, across = (of.units + COLUMNS - 1) / COLUMNS;
    const u32 j = part % across * COLUMNS + threadIdx.x, first = part / across * ROWS;
    if (j >= of.units) return;
    float s[SCALARS];
#pragma unroll
    for (int n = 0; n < SCALARS; ++n) s[n] = update.scalars[(size_t(step.number) * update.count + t) * SCALARS + n];
    const float factor = update.clip_norm > 0.0f ? *update.factor : 1.0f, share = update.varying[step.number].share;
    for (u32 k = first; k < min(first + ROWS, of.rows); ++k) {
        const size_t at = size_t(k) * of.stride + j;
        const float w = of.values[at];
        float g = held_back(update, of.gradient[at], w, weights);
        if (update.clip_norm > 0.0f) g = g * factor;
        float slots[SLOTS];
#pragma unroll
        for (u32 n = 0; n < SLOTS; ++n) slots[n] = n < update.slots ? of.slots[n][at] : 0.0f;
        const Updated updated = apply_rule(update.rule, s, g, w, slots);
        of.values[at] = updated.w;
#pragma unroll
        for (u32 n = 0; n < SLOTS; ++n)
            if (n < update.slots) of.slots[n][at] = updated.slots[n];
        if (of.average != nullptr && !(weights && update.max_norm > 0.0f)) {
            of.average[at] = averaged(of.average[at], updated.w, share);
        }
    }
}

/// Scales the weights that lead to a unit down to the largest norm, and moves their averages. One unit per thread.
extern "C" __global__ void __launch_bounds__(COLUMNS) renorm(const Progress *progress, u32 i, Update update) {
    const Step step(progress, i);
    if (step.rows == 0) return;
    const Tensor &of = update.tensors[wide_layer(update)];
    const u32 j = (blockIdx.x - of.wide) * COLUMNS + threadIdx.x;
    if (j >= of.units) return;
    float sum = 0.0f;
#pragma unroll 8
    for (u32 k = 0; k < of.rows; ++k) {
        const float w = of.values[size_t(k) * of.stride + j];
        sum = fmaf(w, w, sum);
    }
    const float factor = renorm_factor(sqrtf(sum), update.max_norm), share = update.varying[step.number].share;
#pragma unroll 4
    for (u32 k = 0; k < of.rows; ++k) {
        const size_t at = size_t(k) * of.stride + j;
        const float w = of.values[at] * factor;
        of.values[at] = w;
        if (of.average != nullptr) of.average[at] = averaged(of.average[at], w, share);
    }
}
