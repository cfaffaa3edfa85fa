// The arithmetic contract's functions for the card, with the same operations as in syva-core's arithmetic.rs.
//
// Compiled with --fmad=false --ftz=false --prec-div=true --prec-sqrt=true: a product and a sum are not contracted, a
// division is rounded correctly, and subnormals are kept. `fmaf` is the fused multiply-add, rounded once.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;

enum Activation : u32 { IDENTITY, RELU, SIGMOID, TANH };
enum Head : u32 { REGRESSION, BINARY, CLASSES };

__device__ inline float relu(float x) { return x > 0.0f ? x : 0.0f; }

__device__ inline float magnitude(float x) { return __int_as_float(__float_as_int(x) & 0x7fffffff); }

__device__ inline float with_sign_of(float x, float sign) {
    return __int_as_float((__float_as_int(x) & 0x7fffffff) | (__float_as_int(sign) & int(0x80000000)));
}

/// e^x = (1 + r·h) · 2^a · 2^c.
struct Reduced {
    float r, h, two_a, two_c;
};

__device__ inline float power_of_two(int exponent) { return __int_as_float((exponent + 127) << 23); }

__device__ inline Reduced reduce_exp(float x) {
    const float LOG2_E = 1.44269504088896340735992468100189214f, ROUNDER = 12582912.0f; // 1.5 · 2^23
    const float LN_2_HIGH = 355.0f / 512.0f, LN_2_LOW = -2.1219444e-4f;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float rounded = fmaf(x, LOG2_E, ROUNDER);
    const float n = rounded - ROUNDER;
    const float r = fmaf(n, -LN_2_LOW, fmaf(n, -LN_2_HIGH, x));
    float h = 1.0f / 5040.0f;
    h = fmaf(h, r, 1.0f / 720.0f);
    h = fmaf(h, r, 1.0f / 120.0f);
    h = fmaf(h, r, 1.0f / 24.0f);
    h = fmaf(h, r, 1.0f / 6.0f);
    h = fmaf(h, r, 1.0f / 2.0f);
    h = fmaf(h, r, 1.0f);
    const int i = int(u32(__float_as_int(rounded)) - u32(__float_as_int(ROUNDER)));
    const int half = i >> 1;
    return {r, h, power_of_two(half), power_of_two(i - half)};
}

__device__ inline float exponential(float x) {
    const Reduced e = reduce_exp(x);
    return fmaf(e.r, e.h, 1.0f) * e.two_a * e.two_c;
}

__device__ inline float exponential_m1(float x) {
    const Reduced e = reduce_exp(x);
    const float scale = e.two_a * e.two_c;
    return fmaf(scale, e.r * e.h, scale - 1.0f);
}

__device__ inline float logarithm(float x) {
    const float LN_2_HIGH = 355.0f / 512.0f, LN_2_LOW = -2.1219444e-4f;
    const float INFINITE = __int_as_float(0x7f800000), NOT_A_NUMBER = __int_as_float(0x7fc00000);
    const bool subnormal = x < __int_as_float(0x00800000);
    const int bits = __float_as_int(subnormal ? x * 8388608.0f : x);
    const int exponent = int(u32(bits) - 0x3f3504f3u) >> 23; // minus the bits of √½
    const float m = __int_as_float(int(u32(bits) - (u32(exponent) << 23)));
    float e = float(exponent);
    e = subnormal ? e - 23.0f : e;
    const float s = (m - 1.0f) / (m + 1.0f);
    const float q = s * s;
    float p = 2.0f / 11.0f;
    p = fmaf(p, q, 2.0f / 9.0f);
    p = fmaf(p, q, 2.0f / 7.0f);
    p = fmaf(p, q, 2.0f / 5.0f);
    p = fmaf(p, q, 2.0f / 3.0f);
    p = p * q;
    float result = fmaf(e, LN_2_HIGH, fmaf(e, LN_2_LOW, fmaf(s, p, s + s)));
    result = x == INFINITE ? x : result;
    result = x == 0.0f ? -INFINITE : result;
    return x >= 0.0f ? result : NOT_A_NUMBER;
}

__device__ inline float logarithm_1p(float x) {
    const float u = 1.0f + x;
    const float d = u - 1.0f;
    const bool exact = d == 0.0f;
    const float corrected = logarithm(u) * (x / (exact ? 1.0f : d));
    return exact ? x : corrected;
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

__device__ inline float hyperbolic_tangent(float x) {
    float a = magnitude(x);
    a = a > 10.0f ? 10.0f : a;
    const float u = exponential_m1(a + a);
    return with_sign_of(u / (u + 2.0f), x);
}

/// a(z).
__device__ inline float activate(u32 activation, float z) {
    switch (activation) {
    case RELU: return relu(z);
    case SIGMOID: return sigmoid(z);
    case TANH: return hyperbolic_tangent(z);
    default: return z;
    }
}

/// a'(z) · gradient, from h = a(z).
__device__ inline float derive(u32 activation, float h, float gradient) {
    switch (activation) {
    case RELU: return h > 0.0f ? gradient : 0.0f;
    case SIGMOID: return gradient * (h * (1.0f - h));
    case TANH: return gradient * fmaf(-h, h, 1.0f);
    default: return gradient;
    }
}
