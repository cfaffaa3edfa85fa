// A span of steps, run by the whole card: as many blocks as it holds at once. They meet through the card's memory.
#include "span.cuh"

struct WholeCard {
    u32 *met;    // see Progress
    u32 awaited; // the count at which all blocks have arrived

    __device__ InMemory weights(const Layers &layers, u32 l) const { return InMemory(layers.layer[l]); }

    /// What a block has written before the meeting is visible to all blocks after it.
    __device__ void meet() {
        awaited += gridDim.x;
        __syncthreads();
        if (threadIdx.x == 0) {
            fence();
            atomicAdd(met, 1u);
            // Compared by difference, because the count may wrap around.
            while (int(*static_cast<volatile u32 *>(met) - awaited) < 0) __nanosleep(20);
            fence();
        }
        __syncthreads();
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) persistent(Span span) {
    __shared__ SpanShared shared;
    WholeCard card{&span.progress->met, 0};
    take_steps(shared, card, span);
}
