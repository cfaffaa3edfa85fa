// What the host tells the kernels: layers, data, and the progress of the span. The same structures are in src/kernels.rs,
// field by field. Progress is written by src/memory.rs.
#pragma once

#include "arithmetic.cuh"

/// One linear layer. Matrices are padded: rows and columns to multiples of 128, `stride` being the padded columns.
struct Layer {
    float *below;       // h of the layer below [batch, below_stride]; null for the first layer
    float *weight;      // Wᵀ [fan_in, stride]
    float *bias;        // [stride]
    float *start;       // initial sums of z [stride]: the bias, or for the first layer bias + Σ shift·w
    float *h;           // activations [batch, stride]
    float *z;           // pre-activations [batch, stride], if the derivative reads them; otherwise null
    float *read_below;  // what the derivative of the layer below reads: its h or z [batch, below_stride]
    float *d;           // gradient of the mean loss by z [batch, stride]
    float *d_below;     // the same for the layer below [batch, below_stride]; null for the first layer
    float *waiting;     // sums over some of the batch (tiles.cuh), several matrices [below_stride, stride]; null if not needed
    u32 fan_in, units;
    u32 below_stride, stride;
    u32 activation, activation_below; // numbers of generated.cuh
    float parameter, parameter_below; // of the activations
};

/// The layers that one launch updates. Tiles are numbered in sequence through all layers; a layer's begin at its first_tile.
const int GROUP = 8;
struct Layers {
    Layer layer[GROUP];
    u32 first_tile[GROUP];
    u32 count;
};

/// Samples as they are stored.
struct Data {
    const void *inputs;   // u8 or float, rows of `stride` values
    const u32 *order;     // indices of samples, batch after batch; null to take them in the order they are stored in
    const float *scale;   // [features], padded with zeros
    const float *shift;   // [features], padded with zeros
    const u32 *labels;    // class of each sample; null if there are target values
    const float *values;  // target values [samples, outputs]; null if there are labels
    u32 stride;
};

/// The progress of a span of steps. A kernel's step is given relative to `first`, so that a recorded graph of steps can be
/// replayed.
struct Progress {
    u32 first;
    u32 steps;
    u32 batch;   // samples per step
    u32 samples; // samples of the whole span
    u32 halted;  // the first step with a loss that was not finite; everything after it is skipped
    u32 window;  // the step whose samples are the first in `Data`, used if there is no order
    u32 met;     // arrivals of blocks at barriers, counted over a launch (persistent.cu); 0 at its beginning
};

/// The results of a span, for each of its samples in turn.
struct Outcome {
    float *losses;
    u32 *guesses; // predicted classes
};

/// The step that a kernel works on, and its number of samples. The number is 0 if there is nothing to do.
struct Step {
    u32 number, rows;
    __device__ Step(const Progress *progress, u32 i) {
        number = progress->first + i;
        rows = 0;
        if (number < progress->steps && number < progress->halted) {
            const u32 begin = number * progress->batch;
            rows = min(progress->batch, progress->samples - begin);
        }
    }
};

/// The sample in row b of the step's batch. Rows beyond the batch repeat its last sample; their results are never read.
struct Samples {
    const u32 *order;
    u32 first, rows;
    __device__ Samples(const Progress *progress, const Step &step, const Data &data) {
        order = data.order;
        first = (order ? step.number : step.number - progress->window) * progress->batch;
        rows = step.rows;
    }
    __device__ u32 at(u32 b) const {
        const u32 place = first + min(b, rows - 1);
        return order ? order[place] : place;
    }
};

/// A matrix stored row after row, each `stride` long.
struct Matrix {
    float *values;
    u32 stride;
    __device__ float &at(u32 row, u32 column) const { return values[size_t(row) * stride + column]; }
    /// Four neighbours of a row.
    __device__ float4 load(u32 row, u32 column) const { return *reinterpret_cast<const float4 *>(&at(row, column)); }
};

#ifdef __CUDACC__
/// A fence for all threads of the card. It orders the writes that the thread made before it, and those of the threads
/// that it has met at a barrier: a thread that sees a write from after the fence sees all writes from before it. (CUDA's
/// __threadfence promises more, and takes longer.)
__device__ inline void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
#endif

/// Wᵀ in the card's memory: a row per input, a column per unit. (A cluster keeps the weights elsewhere: cluster.cu.)
struct InMemory : Matrix {
    __device__ explicit InMemory(const Layer &layer) : Matrix{layer.weight, layer.stride} {}
    /// The newest value, which another block may have written in the same launch.
    __device__ float newest(u32 k, u32 j) const { return __ldcg(&at(k, j)); }
    /// A tile to work on.
    __device__ Matrix tile(u32, u32 k, u32 j) const { return {&at(k, j), stride}; }
};
