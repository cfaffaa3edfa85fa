// The kernels, compiled for the emulator: once for each tile (and each precision), and once without for the head.
#include "card.hpp"
#if defined(TF32) || defined(BF16)
#include "tensor.hpp"
#endif

// Each tile's functions have the same names, so they must stay in this file.
namespace {

#ifdef TILE
#include "../../kernels/layers.cu"
#define REGISTER_NAMED(name) REGISTER(name)
#define REGISTER_TILE(kernel, tile) REGISTER_NAMED(NAMED(kernel, tile))
REGISTER_TILE(forward_first_u8, TILE)
REGISTER_TILE(forward_first_f32, TILE)
REGISTER_TILE(forward, TILE)
REGISTER_TILE(input_gradient, TILE)
REGISTER_TILE(update_u8, TILE)
REGISTER_TILE(update_f32, TILE)
REGISTER_TILE(start, TILE)
#else
#include "../../kernels/head.cu"
REGISTER(judge)
REGISTER(head)
REGISTER(advance)
REGISTER(multiply_add)
#endif

} // namespace
