// The kernels, compiled for the emulator: for each tile (and each precision), for the head, for stored gradients, and for spans as one kernel.
#include "card.hpp"
#if defined(TF32) || defined(BF16)
#include "tensor.hpp"
#endif

// Each tile's functions have the same names, so they must stay in this file.
namespace {

#if defined(WHOLE_CARD)
#include "../../kernels/persistent.cu"
REGISTER(persistent)
#elif defined(ONE_CLUSTER)
#include "../../kernels/cluster.cu"
REGISTER(cluster_8)
REGISTER(cluster_16)
#elif defined(TILE)
#include "../../kernels/layers.cu"
#define REGISTER_NAMED(name) REGISTER(name)
#define REGISTER_TILE(kernel, tile) REGISTER_NAMED(NAMED(kernel, tile))
REGISTER_TILE(forward_first_u8, TILE)
REGISTER_TILE(forward_first_f32, TILE)
REGISTER_TILE(forward, TILE)
REGISTER_TILE(input_gradient, TILE)
REGISTER_TILE(update_u8, TILE)
REGISTER_TILE(update_f32, TILE)
REGISTER_TILE(gradient_first_u8, TILE)
REGISTER_TILE(gradient_first_f32, TILE)
REGISTER_TILE(gradient, TILE)
REGISTER_TILE(start, TILE)
#elif defined(STORED)
#include "../../kernels/stored.cu"
REGISTER(perturb_u8)
REGISTER(perturb_f32)
REGISTER(drop)
REGISTER(drop_gradient)
REGISTER(learn)
REGISTER(learn_gradient)
REGISTER(sum_gains)
REGISTER(gradient_squares)
REGISTER(gradient_norm)
REGISTER(apply)
REGISTER(renorm)
#else
#include "../../kernels/head.cu"
REGISTER(judge)
REGISTER(head)
REGISTER(advance)
REGISTER(multiply_add)
#endif

} // namespace
