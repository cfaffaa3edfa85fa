// What the host tells the kernels: layers, data, and how far the span has come. The same structures stand in
// src/memory.rs, field by field.
#pragma once

#include "arithmetic.cuh"

/// One linear layer. Matrices are padded: rows and columns to multiples of 128, `stride` being the padded columns.
struct Layer {
    float *below;       // h of the layer below [batch, below_stride]; none for the first layer
    float *weight;      // Wᵀ [fan_in, stride]
    float *bias;        // [stride]
    float *start;       // what z begins at [stride]: the bias, or for the first layer bias + Σ shift·w
    float *h;           // activations [batch, stride]
    float *d;           // gradient of the mean loss by z [batch, stride]
    float *d_below;     // the same of the layer below [batch, below_stride]; none for the first layer
    u32 fan_in, units;
    u32 below_stride, stride;
    u32 activation, activation_below;
};

/// Layers whose weights one launch renews; tiles are numbered through all of them, those of a layer from its first_tile.
const int GROUP = 8;
struct Layers {
    Layer layer[GROUP];
    u32 first_tile[GROUP];
    u32 count;
};

/// Samples as they are stored.
struct Data {
    const void *inputs;   // u8 or float, rows of `stride` values
    const u32 *order;     // indices of samples, batch after batch; none where they are taken as they lie
    const float *scale;   // [features], padded with zeros
    const float *shift;   // [features], padded with zeros
    const u32 *labels;    // class of each sample, or
    const float *values;  // its target values [samples, outputs]
    u32 stride;
};

/// How far a span of steps has come. A kernel is told a step relative to `first`, so that a recorded graph of steps can
/// be replayed.
struct Progress {
    u32 first;
    u32 steps;
    u32 batch;   // samples a step
    u32 samples; // of the span, in all
    u32 halted;  // the first step whose loss was not finite; all that comes after is passed over
    u32 window;  // the step whose samples lie first in `Data`, where there is no order
    u32 met;     // blocks that have come to any meeting of a launch (persistent.cu), 0 at its beginning
};

/// What a span leaves behind, for each of its samples in turn.
struct Outcome {
    float *losses;
    u32 *guesses; // predicted classes
};

/// The step a kernel works on, and how many samples it has; 0 where there is nothing to do.
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

/// The sample in row b of the step's batch. Rows beyond the batch repeat its last one; nobody reads what comes of them.
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

/// A matrix that lies row after row, each `stride` long.
struct Matrix {
    float *values;
    u32 stride;
    __device__ float &at(u32 row, u32 column) const { return values[size_t(row) * stride + column]; }
    /// Four neighbours of a row.
    __device__ float4 load(u32 row, u32 column) const { return *reinterpret_cast<const float4 *>(&at(row, column)); }
};

#ifdef __CUDACC__
/// What a thread, and those it has met at a barrier, wrote before, all threads of the card read that see what it writes
/// after. (CUDA's __threadfence promises more, and takes longer.)
__device__ inline void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
#endif

/// Wᵀ in the card's memory, rows of inputs by columns of units. (A cluster has them elsewhere: cluster.cu.)
struct InMemory : Matrix {
    __device__ explicit InMemory(const Layer &layer) : Matrix{layer.weight, layer.stride} {}
    /// As another block may have left it in this very launch.
    __device__ float newest(u32 k, u32 j) const { return __ldcg(&at(k, j)); }
    /// A tile to work on.
    __device__ Matrix tile(u32, u32 k, u32 j) const { return {&at(k, j), stride}; }
};
