// The parts of CUDA's language that our kernels need, for an ordinary C++ compiler. They run the kernels on a CPU, thread by
// thread, to the same bits.
//
// Each thread of a block is a fiber, and a barrier switches to the next one. So the same sources that become PTX are run,
// with their index arithmetic, their barriers and their shared memory. This cannot show speed, or what the driver's compiler
// does with the PTX.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

struct uchar4 {
    unsigned char x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct Dim {
    unsigned x, y, z;
};
extern Dim threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __cluster_dims__(...)
// One block runs at a time. If all blocks run together, this memory is exchanged when the block changes.
#ifdef TOGETHER
#define __shared__ static __attribute__((section("shared_together")))
#else
#define __shared__ static
#endif
#define DYNAMIC_SHARED(name) float4 *name = static_cast<float4 *>(emulator::dynamic_shared)

namespace emulator {
enum class Barrier { WARP, BLOCK, CLUSTER, PAUSE };
/// Switches to other threads until all threads of the warp, block or cluster have come to the barrier, or for a while.
void wait(Barrier barrier);
/// The dynamic shared memory of the current block, with the size that the launch gave.
extern void *dynamic_shared;
/// The same place in the shared memory of another block.
void *in_block(void *mine, unsigned block);
} // namespace emulator

inline void __syncthreads() { emulator::wait(emulator::Barrier::BLOCK); }
inline void __syncwarp() { emulator::wait(emulator::Barrier::WARP); }
inline void fence() {}
inline void __nanosleep(unsigned) { emulator::wait(emulator::Barrier::PAUSE); }
inline void __cluster_barrier_arrive() {}
inline void __cluster_barrier_wait() { emulator::wait(emulator::Barrier::CLUSTER); }
inline void *__cluster_map_shared_rank(void *mine, unsigned rank) { return emulator::in_block(mine, rank); }

inline int __float_as_int(float value) {
    int bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline float __ldcg(const float *from) { return *from; }
inline unsigned atomicAdd(unsigned *at, unsigned value) {
    const unsigned before = *at;
    *at += value;
    return before;
}
inline unsigned atomicMin(unsigned *at, unsigned value) {
    const unsigned before = *at;
    if (value < before) *at = value;
    return before;
}
template <class T> T min(T a, T b) { return b < a ? b : a; }

namespace emulator {
/// Copies a kernel's arguments, as a launch does, and returns the work of one thread.
typedef std::function<void()> (*Bind)(void **arguments);
/// Registers a kernel by its name.
void add(const char *name, Bind bind);

template <class T> struct Kernel;
template <class... A> struct Kernel<void (*)(A...)> {
    template <size_t... I> static std::tuple<A...> copy(void **arguments, std::index_sequence<I...>) {
        return std::tuple<A...>(*static_cast<A *>(arguments[I])...);
    }
    template <void (*kernel)(A...)> static std::function<void()> bind(void **arguments) {
        return [copied = copy(arguments, std::index_sequence_for<A...>())] { std::apply(kernel, copied); };
    }
};
} // namespace emulator

#define REGISTER(kernel)                                                                                               \
    static const bool registered_##kernel =                                                                            \
        (emulator::add(#kernel, &emulator::Kernel<decltype(&kernel)>::bind<&kernel>), true);
