// A libcuda.so without a card: the part of the driver's interface that the engine uses. The CPU runs the kernels.
//
// It is stricter than a card where that finds mistakes. Work is delayed until its stream is synchronised, so work that
// nothing waits for has not happened. Memory begins as NaN, ends before a page that must not be touched, and is poisoned
// when it is freed. Threads, warps and blocks run in an order that can be changed: a missing barrier gives other bits in
// some order. Blocks that meet run together, in turns, each with its own shared memory.
//
// Environment variables set how it behaves:
//   EMULATED_ORDER       the order of threads, warps and blocks: forward, reverse, or a seed to shuffle them
//   EMULATED_AHEAD       1: when one stream is synchronised, all others have finished their work. So values that were to be
//                        fetched before another stream changes them are gone
//   EMULATED_MEMORY      bytes of memory of a card
//   EMULATED_FAIL        the number of the launch at which the card is lost
//   EMULATED_DRIVER      the version of the driver
//   EMULATED_PROCESSORS  the number of processors of a card
//   EMULATED_CARDS       the number of cards
//   EMULATED_CAPABILITY, EMULATED_CAPABILITY_MINOR  the compute capability
//   EMULATED_CLUSTER     the largest size of a cluster
//   EMULATED_REFUSE      launches of blocks that meet are refused
//   EMULATED_LOG         a file to which the names of the kernels that run are written
#include "card.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

Dim threadIdx, blockIdx, blockDim, gridDim;

namespace {

[[noreturn]] void die(const char *what) {
    std::fprintf(stderr, "emulated card: %s (block %u, thread %u)\n", what, blockIdx.x, threadIdx.x);
    std::abort();
}

long setting(const char *name, long otherwise) {
    const char *text = std::getenv(name);
    return text ? std::atol(text) : otherwise;
}

// ---- Fibers ----------------------------------------------------------------------------------------------------------

#if !defined(__x86_64__)
#error "the emulator switches stacks in x86-64 assembly"
#endif

// Saves the registers that a called function must preserve, and continues on another stack.
extern "C" void emulator_switch(void **save, void *to);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch,@function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

enum class At { RUNNING, WARP, BLOCK, CLUSTER, PAUSE, END };

struct Fiber {
    void *stack = nullptr; // where it continues
    char *memory = nullptr;
    At at = At::END;
};

const size_t STACK = 64 << 10;
std::vector<Fiber> fibers;
void *scheduler;
Fiber *now;
std::function<void()> body;

void enter() {
    body();
    now->at = At::END;
    emulator_switch(&now->stack, scheduler);
    die("a thread went on after its end");
}

void prepare(Fiber &fiber) {
    if (!fiber.memory) fiber.memory = static_cast<char *>(std::malloc(STACK));
    auto top = reinterpret_cast<uintptr_t>(fiber.memory + STACK) & ~uintptr_t(15);
    void **at = reinterpret_cast<void **>(top);
    *--at = nullptr; // aligns the stack as after a call
    *--at = reinterpret_cast<void *>(&enter);
    for (int i = 0; i < 6; ++i) *--at = nullptr;
    fiber.stack = at;
    fiber.at = At::RUNNING;
}

/// An order of n things: forward, reverse, or shuffled.
std::vector<unsigned> order_of(unsigned n) {
    static const char *how = std::getenv("EMULATED_ORDER");
    static uint64_t random = how ? std::strtoull(how, nullptr, 10) * 2 + 1 : 1;
    std::vector<unsigned> order(n);
    for (unsigned i = 0; i < n; ++i) order[i] = i;
    if (!how || std::string(how) == "forward") return order;
    if (std::string(how) == "reverse") {
        std::reverse(order.begin(), order.end());
        return order;
    }
    for (unsigned i = n; i > 1; --i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        std::swap(order[i - 1], order[(random >> 33) % i]);
    }
    return order;
}

/// Runs the lanes of a warp until all of them have ended or wait for threads of other warps. `block` are the block's fibers.
void run_warp(Fiber *block, unsigned first, unsigned count) {
    for (;;) {
        for (unsigned lane : order_of(count)) {
            Fiber &fiber = block[first + lane];
            if (fiber.at != At::RUNNING) continue;
            now = &fiber;
            threadIdx = {first + lane, 0, 0};
            emulator_switch(&scheduler, fiber.stack);
        }
        unsigned waiting = 0, others = 0;
        for (unsigned lane = 0; lane < count; ++lane) {
            waiting += block[first + lane].at == At::WARP;
            others += block[first + lane].at != At::WARP;
        }
        if (waiting == 0) return;
        if (others != 0) die("lanes of a warp part at __syncwarp");
        for (unsigned lane = 0; lane < count; ++lane) block[first + lane].at = At::RUNNING;
    }
}

unsigned count_at(At at, const Fiber *fibers, unsigned threads) {
    unsigned count = 0;
    for (unsigned t = 0; t < threads; ++t) count += fibers[t].at == at;
    return count;
}

void release(Fiber *fibers, unsigned threads, At from) {
    for (unsigned t = 0; t < threads; ++t) {
        if (fibers[t].at == from) fibers[t].at = At::RUNNING;
    }
}

unsigned long passed = 0; // barriers of blocks

/// Runs a block until it has ended or waits for other blocks.
void run_block(Fiber *block, unsigned threads) {
    const unsigned warps = (threads + 31) / 32;
    for (;;) {
        for (unsigned warp : order_of(warps)) run_warp(block, warp * 32, std::min(32u, threads - warp * 32));
        const unsigned ended = count_at(At::END, block, threads), waiting = count_at(At::BLOCK, block, threads);
        if (ended != 0 && waiting != 0) die("some threads of a block have ended, others wait at __syncthreads");
        if (waiting != threads) return;
        release(block, threads, At::BLOCK);
        ++passed;
    }
}

// If blocks run together, each has its own shared memory. It is copied to the kernels' place while the block runs.
extern "C" char __start_shared_together[], __stop_shared_together[];

struct Block {
    std::vector<char> shared;  // what the kernel declares
    std::vector<float> dynamic; // what the launch asks for
};
std::vector<Block> together;

/// Runs blocks that meet each other: all of them at once, in turns.
void run_together(unsigned blocks, unsigned threads, size_t dynamic) {
    const size_t size = size_t(__stop_shared_together - __start_shared_together);
    const float nan = std::nanf("");
    together.assign(blocks, Block{std::vector<char>(size, char(0xff)), std::vector<float>(dynamic / 4, nan)});
    const unsigned all = blocks * threads;
    unsigned ended = 0, idle = 0;
    while (ended < all) {
        const unsigned long before = passed;
        for (unsigned b : order_of(blocks)) {
            blockIdx = {b, 0, 0};
            std::memcpy(__start_shared_together, together[b].shared.data(), size);
            emulator::dynamic_shared = together[b].dynamic.data();
            run_block(&fibers[b * threads], threads);
            std::memcpy(together[b].shared.data(), __start_shared_together, size);
        }
        ended = count_at(At::END, fibers.data(), all);
        const unsigned met = count_at(At::CLUSTER, fibers.data(), all);
        if (ended != 0 && met != 0) die("some threads of a cluster have ended, others wait at its barrier");
        // A block that pauses waits for others, which arrive within a few turns.
        idle = passed == before && met != all ? idle + 1 : 0;
        if (idle > 1000) die("blocks wait for each other for ever");
        if (met == all) release(fibers.data(), all, At::CLUSTER);
        release(fibers.data(), all, At::PAUSE);
    }
}

std::map<std::string, emulator::Bind> &kernels() {
    static std::map<std::string, emulator::Bind> all;
    return all;
}

} // namespace

void emulator::add(const char *name, Bind bind) { kernels()[name] = bind; }

void emulator::wait(Barrier barrier) {
    const At at[] = {At::WARP, At::BLOCK, At::CLUSTER, At::PAUSE};
    now->at = at[int(barrier)];
    Fiber *self = now;
    const Dim thread = threadIdx, block = blockIdx;
    emulator_switch(&now->stack, scheduler);
    if (now != self || threadIdx.x != thread.x || blockIdx.x != block.x) die("the wrong thread goes on");
}

void *emulator::dynamic_shared;

void *emulator::in_block(void *mine, unsigned block) {
    const size_t offset = size_t(static_cast<char *>(mine) - static_cast<char *>(dynamic_shared)), size = together[block].dynamic.size() * 4;
    if (offset >= size) die("beyond the shared memory of a block");
    return reinterpret_cast<char *>(together[block].dynamic.data()) + offset;
}

// ---- The driver's interface ------------------------------------------------------------------------------------------

namespace {

typedef int Result;
const Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_FOUND = 500, TOO_LARGE = 720, ILLEGAL_ADDRESS = 700;

typedef uint64_t Address;
struct Event;
typedef std::function<void()> Work;

struct Stream {
    std::deque<Work> work;
    bool capturing = false;
    std::vector<Work> captured;
};
struct Event {
    Stream *stream = nullptr; // where it was recorded last
    uint64_t recorded = 0, reached = 0;
    long launches = 0; // when it was reached
};
struct Graph {
    std::vector<Work> nodes;
};
struct Allocation {
    char *pages;
    size_t mapped, bytes;
};

std::recursive_mutex lock;
typedef std::lock_guard<std::recursive_mutex> Guard;
Stream default_stream;
std::vector<Stream *> streams;
std::map<Address, Allocation> allocations;
size_t used = 0;
bool lost = false;
long launches = 0;

size_t capacity() { return size_t(setting("EMULATED_MEMORY", 4l << 30)); }

/// Each thread has its own current context, and none at first. Calls that need one fail then, as on a card.
thread_local void *current;

Stream &at(void *stream) { return stream ? *static_cast<Stream *>(stream) : default_stream; }

void drain(Stream &stream) {
    while (!stream.work.empty()) {
        Work work = std::move(stream.work.front());
        stream.work.pop_front();
        work();
    }
}

void drain_until(Event &event, uint64_t record) {
    while (event.reached < record && event.stream && !event.stream->work.empty()) {
        Work work = std::move(event.stream->work.front());
        event.stream->work.pop_front();
        work();
    }
}

Result put(void *to, Work work) {
    if (!current) return INVALID_CONTEXT;
    if (lost) return ILLEGAL_ADDRESS;
    Stream &stream = at(to);
    if (stream.capturing) stream.captured.push_back(std::move(work));
    else stream.work.push_back(std::move(work));
    return SUCCESS;
}

Result map_memory(Address *address, size_t bytes) {
    if (!current) return INVALID_CONTEXT;
    if (lost) return ILLEGAL_ADDRESS;
    if (bytes == 0) return INVALID_VALUE;
    if (used + bytes > capacity()) return OUT_OF_MEMORY;
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), rounded = (bytes + 15) / 16 * 16;
    const size_t mapped = (rounded + page - 1) / page * page + page;
    char *pages = static_cast<char *>(mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (pages == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(pages + mapped - page, page, PROT_NONE);
    char *begin = pages + mapped - page - rounded;
    std::memset(begin, 0xff, rounded);
    *address = Address(reinterpret_cast<uintptr_t>(begin));
    allocations[*address] = {pages, mapped, bytes};
    used += bytes;
    return SUCCESS;
}

Result unmap_memory(Address address) {
    const auto found = allocations.find(address);
    if (found == allocations.end()) return INVALID_VALUE;
    used -= found->second.bytes;
    munmap(found->second.pages, found->second.mapped);
    allocations.erase(found);
    return SUCCESS;
}

/// Whether all of a range lies in one allocation.
bool valid(Address address, size_t bytes) {
    auto found = allocations.upper_bound(address);
    if (found == allocations.begin()) return false;
    --found;
    return address + bytes <= found->first + found->second.bytes;
}

char *pointer(Address address) { return reinterpret_cast<char *>(uintptr_t(address)); }

/// Runs blocks one after the other, or together.
void run(std::function<void()> thread, unsigned blocks, unsigned threads, bool meet, size_t dynamic) {
    if (lost) return;
    if (launches++ == setting("EMULATED_FAIL", -1)) {
        lost = true;
        return;
    }
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    const unsigned at_once = meet ? blocks * threads : threads;
    if (fibers.size() < at_once) fibers.resize(at_once);
    body = std::move(thread);
    if (meet) {
        for (unsigned t = 0; t < at_once; ++t) prepare(fibers[t]);
        run_together(blocks, threads, dynamic);
        return;
    }
    for (unsigned b : order_of(blocks)) {
        blockIdx = {b, 0, 0};
        for (unsigned t = 0; t < threads; ++t) prepare(fibers[t]);
        run_block(fibers.data(), threads);
        if (count_at(At::END, fibers.data(), threads) != threads) die("a block waits for others, which do not run");
    }
}

} // namespace

#define API extern "C" __attribute__((visibility("default"))) Result

API cuInit(unsigned) { return SUCCESS; }
API cuDriverGetVersion(int *version) {
    *version = int(setting("EMULATED_DRIVER", 12040));
    return SUCCESS;
}
API cuDeviceGetCount(int *count) {
    *count = int(setting("EMULATED_CARDS", 1));
    return SUCCESS;
}
API cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal < setting("EMULATED_CARDS", 1) ? SUCCESS : 101;
}
API cuDeviceGetName(char *name, int length, int) {
    std::snprintf(name, size_t(length), "emulated card");
    return SUCCESS;
}
API cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = capacity();
    return SUCCESS;
}
API cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 16: *value = int(setting("EMULATED_PROCESSORS", 4)); break;
    case 75: *value = int(setting("EMULATED_CAPABILITY", 9)); break;
    case 76: *value = int(setting("EMULATED_CAPABILITY_MINOR", 0)); break;
    case 115: *value = 1; break; // memory pools
    case 95: *value = int(setting("EMULATED_COOPERATIVE", 1)); break;
    case 97: *value = 232448; break; // bytes of shared memory
    case 120: *value = setting("EMULATED_CLUSTER", 16) > 0; break;
    case 13: *value = 1000000; break; // kHz
    default: *value = 0;
    }
    return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = reinterpret_cast<void *>(uintptr_t(device + 1));
    return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API cuCtxGetCurrent(void **context) {
    *context = current;
    return SUCCESS;
}
API cuCtxSetCurrent(void *context) {
    current = context;
    return SUCCESS;
}
API cuCtxSynchronize() {
    if (!current) return INVALID_CONTEXT;
    Guard guard(lock);
    drain(default_stream);
    for (Stream *stream : streams) drain(*stream);
    return lost ? ILLEGAL_ADDRESS : SUCCESS;
}
API cuGetErrorName(int error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR";
    return SUCCESS;
}
API cuGetErrorString(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "out of memory" : error == ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "an error";
    return SUCCESS;
}

API cuStreamCreate(void **stream, unsigned) {
    if (!current) return INVALID_CONTEXT;
    Guard guard(lock);
    Stream *made = new Stream;
    streams.push_back(made);
    *stream = made;
    return SUCCESS;
}
API cuStreamDestroy_v2(void *stream) {
    Guard guard(lock);
    drain(at(stream));
    streams.erase(std::remove(streams.begin(), streams.end(), static_cast<Stream *>(stream)), streams.end());
    delete static_cast<Stream *>(stream);
    return SUCCESS;
}
API cuStreamSynchronize(void *stream) {
    if (!current) return INVALID_CONTEXT;
    Guard guard(lock);
    if (setting("EMULATED_AHEAD", 0))
        for (Stream *other : streams)
            if (other != stream) drain(*other);
    drain(at(stream));
    return lost ? ILLEGAL_ADDRESS : SUCCESS;
}
API cuEventCreate(void **event, unsigned) {
    if (!current) return INVALID_CONTEXT;
    *event = new Event;
    return SUCCESS;
}
API cuEventDestroy_v2(void *) { return SUCCESS; } // streams may still wait for it
API cuEventRecord(void *event, void *stream) {
    Guard guard(lock);
    Event *recorded = static_cast<Event *>(event);
    recorded->stream = &at(stream);
    const uint64_t number = ++recorded->recorded;
    return put(stream, [=] {
        recorded->reached = number;
        recorded->launches = launches;
    });
}
// A launch takes a microsecond.
API cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    *milliseconds = float(static_cast<Event *>(end)->launches - static_cast<Event *>(start)->launches) / 1000.0f;
    return SUCCESS;
}
API cuEventSynchronize(void *event) {
    if (!current) return INVALID_CONTEXT;
    Guard guard(lock);
    Event *waited = static_cast<Event *>(event);
    drain_until(*waited, waited->recorded);
    return lost ? ILLEGAL_ADDRESS : SUCCESS;
}
API cuStreamWaitEvent(void *stream, void *event, unsigned) {
    Guard guard(lock);
    Event *waited = static_cast<Event *>(event);
    const uint64_t number = waited->recorded;
    return put(stream, [=] { drain_until(*waited, number); });
}

API cuMemAlloc_v2(Address *address, size_t bytes) {
    Guard guard(lock);
    return map_memory(address, bytes);
}
API cuMemFree_v2(Address address) {
    Guard guard(lock);
    cuCtxSynchronize();
    return unmap_memory(address);
}
API cuMemAllocAsync(Address *address, size_t bytes, void *) {
    Guard guard(lock);
    return map_memory(address, bytes);
}
API cuMemFreeAsync(Address address, void *stream) {
    Guard guard(lock);
    if (lost) return unmap_memory(address);
    return put(stream, [=] { unmap_memory(address); });
}
API cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    if (!current) return INVALID_CONTEXT;
    Guard guard(lock);
    *total = capacity();
    *free_bytes = *total - used;
    return SUCCESS;
}
API cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
    if (!current) return INVALID_CONTEXT;
    *memory = std::malloc(bytes);
    return SUCCESS;
}
API cuMemFreeHost(void *memory) {
    std::free(memory);
    return SUCCESS;
}
// If memory is not page-locked, a card's driver copies it before it returns.
API cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
    Guard guard(lock);
    if (!valid(to, bytes)) return INVALID_VALUE;
    auto copy = std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
    return put(stream, [=] { std::memcpy(pointer(to), copy->data(), bytes); });
}
API cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
    Guard guard(lock);
    if (!valid(from, bytes)) return INVALID_VALUE;
    return put(stream, [=] { std::memcpy(to, pointer(from), bytes); });
}
API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream) {
    Guard guard(lock);
    if (!valid(from, bytes) || !valid(to, bytes)) return INVALID_VALUE;
    return put(stream, [=] { std::memmove(pointer(to), pointer(from), bytes); });
}
API cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void *stream) {
    Guard guard(lock);
    if (!valid(to, bytes)) return INVALID_VALUE;
    return put(stream, [=] { std::memset(pointer(to), value, bytes); });
}

API cuModuleLoadData(void **module, const void *image) {
    if (!current) return INVALID_CONTEXT;
    const char *text = static_cast<const char *>(image);
    if (!std::strstr(text, ".version") || !std::strstr(text, ".entry")) return INVALID_IMAGE;
    *module = new std::string(text);
    return SUCCESS;
}
API cuModuleUnload(void *module) {
    delete static_cast<std::string *>(module);
    return SUCCESS;
}
/// The attributes that were set for a function.
struct Function {
    int dynamic = 0; // bytes of dynamic shared memory that were allowed
    bool beyond_portable = false;
};
static std::map<void *, Function> &functions() {
    static std::map<void *, Function> all;
    return all;
}
static std::string name_of(void *function) {
    for (const auto &[name, bind] : kernels()) {
        if (&bind == function) return name;
    }
    return {};
}
/// Blocks per cluster of a kernel, or 0 if it has none.
static unsigned cluster_of(void *function) {
    const std::string name = name_of(function), prefix = "cluster_";
    return name.compare(0, prefix.size(), prefix) == 0 ? unsigned(std::stoi(name.substr(prefix.size()))) : 0;
}
// A kernel must be both in the module's PTX and in the emulator.
API cuModuleGetFunction(void **function, void *module, const char *name) {
    if (!current) return INVALID_CONTEXT;
    const auto found = kernels().find(name);
    const std::string entry = std::string(".entry ") + name + "(";
    if (found == kernels().end() || static_cast<std::string *>(module)->find(entry) == std::string::npos) return NOT_FOUND;
    *function = reinterpret_cast<void *>(&found->second);
    return SUCCESS;
}

const unsigned PER_PROCESSOR = 2;

static Result launch(void *function, unsigned blocks, unsigned threads, bool meet, size_t dynamic, void *stream,
                     void **arguments) {
    if (blocks == 0 || threads == 0 || threads > 1024) return INVALID_VALUE;
    if (meet && setting("EMULATED_REFUSE", 0)) return TOO_LARGE;
    std::function<void()> thread = (*static_cast<emulator::Bind *>(function))(arguments);
    const std::string name = name_of(function);
    return put(stream, [=] {
        if (const char *file = std::getenv("EMULATED_LOG")) {
            if (std::FILE *log = std::fopen(file, "a")) {
                std::fprintf(log, "%s\n", name.c_str());
                std::fclose(log);
            }
        }
        run(thread, blocks, threads, meet, dynamic);
    });
}

API cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned dynamic, void *stream, void **arguments, void **) {
    Guard guard(lock);
    if (gy != 1 || gz != 1 || by != 1 || bz != 1) return INVALID_VALUE;
    const unsigned cluster = cluster_of(function);
    if (cluster != 0 && (gx != cluster || (cluster > 8 && !functions()[function].beyond_portable))) return INVALID_VALUE;
    if (size_t(functions()[function].dynamic) < dynamic) return INVALID_VALUE;
    return launch(function, gx, bx, cluster != 0, dynamic, stream, arguments);
}
API cuLaunchCooperativeKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned dynamic, void *stream, void **arguments) {
    Guard guard(lock);
    if (gy != 1 || gz != 1 || by != 1 || bz != 1) return INVALID_VALUE;
    if (gx > unsigned(setting("EMULATED_PROCESSORS", 4)) * PER_PROCESSOR) return TOO_LARGE;
    return launch(function, gx, bx, true, dynamic, stream, arguments);
}
API cuFuncSetAttribute(void *function, int attribute, int value) {
    Guard guard(lock);
    if (attribute == 8) functions()[function].dynamic = value;
    if (attribute == 14) functions()[function].beyond_portable = value != 0;
    return SUCCESS;
}
API cuFuncGetAttribute(int *value, int attribute, void *) {
    *value = attribute == 1 ? 40000 : 0; // static shared memory
    return SUCCESS;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, void *, int, size_t, unsigned) {
    *blocks = int(PER_PROCESSOR);
    return SUCCESS;
}
API cuOccupancyMaxActiveClusters(int *clusters, void *function, const void *) {
    *clusters = int(cluster_of(function)) <= setting("EMULATED_CLUSTER", 16);
    return SUCCESS;
}

API cuStreamBeginCapture_v2(void *stream, int) {
    if (!current) return INVALID_CONTEXT;
    {
        Guard guard(lock);
        at(stream).capturing = true;
        at(stream).captured.clear();
    }
    usleep(1000); // work that other threads put there now would be captured, too
    return SUCCESS;
}
API cuStreamEndCapture(void *stream, void **graph) {
    if (!current) return INVALID_CONTEXT;
    Guard guard(lock);
    at(stream).capturing = false;
    *graph = new Graph{std::move(at(stream).captured)};
    return SUCCESS;
}
API cuStreamIsCapturing(void *stream, int *status) {
    *status = at(stream).capturing;
    return SUCCESS;
}
API cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
    if (!current) return INVALID_CONTEXT;
    *executable = new Graph(*static_cast<Graph *>(graph));
    return SUCCESS;
}
API cuGraphDestroy(void *graph) {
    if (!current) return INVALID_CONTEXT;
    delete static_cast<Graph *>(graph);
    return SUCCESS;
}
API cuGraphExecDestroy(void *graph) {
    if (!current) return INVALID_CONTEXT;
    delete static_cast<Graph *>(graph);
    return SUCCESS;
}
API cuGraphUpload(void *, void *) { return SUCCESS; }
API cuGraphLaunch(void *graph, void *stream) {
    Guard guard(lock);
    for (const Work &work : static_cast<Graph *>(graph)->nodes) {
        if (const Result result = put(stream, work)) return result;
    }
    return SUCCESS;
}
