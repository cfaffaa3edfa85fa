// A span of steps as one kernel, without launches between its parts. Every block takes tiles in turn, and all blocks meet
// at a barrier before one reads what others have written. For that, all blocks must be on the card at once.
//
// A Place says where blocks meet and where the weights are: the whole card (persistent.cu) or one cluster (cluster.cu).
#pragma once

#include "head.cuh"
#include "tiles.cuh"

/// What the steps work on.
struct Span {
    Progress *progress;
    Layers layers;
    Data data;
    Outcome outcome;
    Judge judge;
    const float *learning_rates;
    u32 *tickets; // see update_tile
    u32 steps; // how many of the next steps to take
    u32 bytes; // whether inputs are u8; otherwise they are float
};

const u32 HEAD_WARPS = THREADS / WARP;

/// Shared memory, used for one thing at a time.
union SpanShared {
    UpdateShared update;
    HeadShared<HEAD_WARPS> head;
};

/// The number of tiles of all layers' weights.
__device__ inline u32 tiles_of(const Layers &layers) {
    const Layer &top = layers.layer[layers.count - 1];
    return layers.first_tile[layers.count - 1] + tiles_along(top.fan_in, ROWS) * tiles_along(top.units, COLUMNS);
}

/// Shares out the tiles of a part among all blocks. The barrier frees shared memory before a block's next tile.
template <class Work> __device__ inline void share_out(u32 tiles, Work work) {
    for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        __syncthreads();
        work(tile);
    }
}

template <class Stored, class Place>
__device__ inline void take_step(SpanShared &shared, Place &place, const Span &span, const Step &step) {
    const u32 last = span.layers.count - 1;
    Shared &products = shared.update.product;
    const Samples samples(span.progress, step, span.data);
    for (u32 l = 0; l < last; ++l) {
        const Layer &layer = span.layers.layer[l];
        const auto weights = place.weights(span.layers, l);
        share_out(tiles_along(step.rows, ROWS) * tiles_along(layer.units, COLUMNS), [&](u32 tile) {
            if (l == 0) {
                forward_tile(products, step, layer, Gathered<Stored, true>(span.data, samples), weights, tile, true);
            } else {
                const Factor<true> h{{layer.below, layer.below_stride}};
                forward_tile(products, step, layer, h, weights, tile, false);
            }
        });
        place.meet();
    }
    share_out(tiles_along(step.rows, HEAD_WARPS), [&](u32 tile) {
        head_rows(shared.head, span.progress, step, span.layers.layer[last], place.weights(span.layers, last), span.data,
                  span.outcome, span.judge, tile * HEAD_WARPS);
    });
    place.meet();
    // A loss was not finite. All blocks see this now, and leave the weights as they are.
    if (span.progress->halted <= step.number) return;
    for (u32 l = last - 1; l > 0; --l) {
        const Layer &layer = span.layers.layer[l];
        share_out(tiles_along(step.rows, ROWS) * tiles_along(layer.fan_in, COLUMNS), [&](u32 tile) {
            input_gradient_tile(products, step, layer, place.weights(span.layers, l), tile);
        });
        place.meet();
    }
    share_out(tiles_of(span.layers), [&](u32 tile) {
        const u32 l = layer_of(span.layers, tile);
        update_tile<Stored>(shared.update, span.progress, step, span.layers.layer[l], place.weights(span.layers, l), span.data,
                            tile - span.layers.first_tile[l], span.learning_rates[step.number], span.tickets);
    });
    place.meet();
}

/// Takes the steps of a span; every block of the launch calls it.
template <class Place> __device__ inline void take_steps(SpanShared &shared, Place &place, const Span &span) {
    for (u32 i = 0; i < span.steps; ++i) {
        const Step step(span.progress, i);
        if (step.rows == 0) return;
        if (span.bytes) {
            take_step<u8>(shared, place, span, step);
        } else {
            take_step<float>(shared, place, span, step);
        }
    }
}
