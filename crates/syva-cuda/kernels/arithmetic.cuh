// Arithmetic on the card. The contract's functions, activations, losses and optimisers' rules are generated from syva-core's `ops`
// (generated.cuh, written by `cargo xtask kernels`). The operations on bits that they are written with are here.
//
// Compiled with --fmad=false --ftz=false --prec-div=true --prec-sqrt=true: a product and a sum are not contracted, a
// division and a root are rounded correctly, and subnormals are kept. `fmaf` is the fused multiply-add, rounded once.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

enum Judging : u32 { VALUES, LABELS, BINARY, CLASSES, PAIRS };

__device__ inline float magnitude(float x) { return __int_as_float(__float_as_int(x) & 0x7fffffff); }

__device__ inline float with_sign_of(float x, float sign) {
    return __int_as_float((__float_as_int(x) & 0x7fffffff) | (__float_as_int(sign) & int(0x80000000)));
}

/// The integer n in the low bits of n + 1.5 · 2^23.
__device__ inline int integer_of(float rounded) { return int(u32(__float_as_int(rounded)) - 0x4b400000u); }

__device__ inline float whole(float rounded) { return rounded - 12582912.0f; }

/// 2^i for i from −126 to 127.
__device__ inline float power_of_two(int i) { return __int_as_float((i + 127) << 23); }

/// 2^n in two factors.
__device__ inline float power_low(float rounded) { return power_of_two(integer_of(rounded) >> 1); }
__device__ inline float power_high(float rounded) {
    return power_of_two(integer_of(rounded) - (integer_of(rounded) >> 1));
}

/// The exponent that makes x's mantissa at least √½ and below √2. x is positive and normal.
__device__ inline int exponent(float x) { return int(u32(__float_as_int(x)) - 0x3f3504f3u) >> 23; }
__device__ inline float mantissa_of(float x) {
    return __int_as_float(int(u32(__float_as_int(x)) - (u32(exponent(x)) << 23)));
}
__device__ inline float exponent_of(float x) { return float(exponent(x)); }

#include "generated.cuh"
