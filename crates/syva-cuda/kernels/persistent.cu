// A span of steps by the whole card: as many blocks as it holds at once, which meet in the card's memory.
#include "span.cuh"

struct WholeCard {
    u32 *met;    // see Progress
    u32 awaited; // how many have when all are there

    __device__ InMemory weights(const Layers &layers, u32 l) const { return InMemory(layers.layer[l]); }

    /// What any block has written before is read by all after.
    __device__ void meet() {
        awaited += gridDim.x;
        __syncthreads();
        if (threadIdx.x == 0) {
            fence();
            atomicAdd(met, 1u);
            // By difference, for the count may come round.
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
