// The contract's functions (docs/ARITHMETIC.md, rule 6): fixed sequences of the flavour's operations.

const ZERO = 0u;
const ONE = 0x3f800000u;
const TWO = 0x40000000u;
const INFINITY = 0x7f800000u;

fn finite(x: num) -> bool { return (to_bits(x) & INFINITY) != INFINITY; }
fn magnitude(x: num) -> num { return from_bits(to_bits(x) & 0x7fffffffu); }
/// z + 0: a zero becomes positive. (A compiler might remove a plain `+ 0`.)
fn plus_zero(z: num) -> num { return from_bits(select(to_bits(z), 0u, to_bits(z) == 0x80000000u)); }
fn relu(z: num) -> num { if above(z, from_bits(ZERO)) { return z; } return from_bits(ZERO); }

/// The parts of e^x = (1 + r·h) · 2^a · 2^c.
struct Exponential { r: num, h: num, a: num, c: num }

fn power_of_two(i: i32) -> num { return from_bits(u32(i + 127) << 23u); }

fn reduce(argument: num) -> Exponential {
    let low = from_bits(0xc2d00000u); // −104
    let high = from_bits(0x42b20000u); // 89
    var x = argument;
    if above(low, x) { x = low; }
    if above(x, high) { x = high; }
    let rounder = from_bits(0x4b400000u); // 1.5 · 2^23
    let t = fused(x, from_bits(0x3fb8aa3bu), rounder); // log2 e
    let i = bitcast<i32>(to_bits(t) - 0x4b400000u);
    let n = of_int(i); // t − R
    let r = fused(n, from_bits(0x395e8083u), fused(n, from_bits(0xbf318000u), x)); // −L2, −L1
    var h = from_bits(0x39500d01u); // 1/7!
    h = fused(h, r, from_bits(0x3ab60b61u)); // 1/6!
    h = fused(h, r, from_bits(0x3c088889u)); // 1/5!
    h = fused(h, r, from_bits(0x3d2aaaabu)); // 1/4!
    h = fused(h, r, from_bits(0x3e2aaaabu)); // 1/3!
    h = fused(h, r, from_bits(0x3f000000u)); // 1/2!
    h = fused(h, r, from_bits(ONE));
    let a = i >> 1u;
    return Exponential(r, h, power_of_two(a), power_of_two(i - a));
}

fn exponential(x: num) -> num {
    let e = reduce(x);
    return mul(mul(fused(e.r, e.h, from_bits(ONE)), e.a), e.c);
}

fn exponential_minus_1(x: num) -> num {
    let e = reduce(x);
    let scale = mul(e.a, e.c);
    return fused(scale, mul(e.r, e.h), sub(scale, from_bits(ONE)));
}

fn logarithm(x: num) -> num {
    var normal = x;
    var shift = 0;
    if above(from_bits(0x00800000u), x) { // below 2^−126
        normal = mul(x, from_bits(0x4b000000u)); // 2^23
        shift = 23;
    }
    let i = bitcast<i32>(to_bits(normal) - 0x3f3504f3u) >> 23u; // bits of √½
    let m = from_bits(to_bits(normal) - (u32(i) << 23u));
    let e = of_int(i - shift);
    let s = div(sub(m, from_bits(ONE)), add(m, from_bits(ONE)));
    let q = mul(s, s);
    var p = from_bits(0x3e3a2e8cu); // 2/11
    p = fused(p, q, from_bits(0x3e638e39u)); // 2/9
    p = fused(p, q, from_bits(0x3e924925u)); // 2/7
    p = fused(p, q, from_bits(0x3ecccccdu)); // 2/5
    p = fused(p, q, from_bits(0x3f2aaaabu)); // 2/3
    p = mul(p, q);
    let result = fused(e, from_bits(0x3f318000u), fused(e, from_bits(0xb95e8083u), fused(s, p, add(s, s)))); // L1, L2
    let b = to_bits(x);
    if b == INFINITY { return x; }
    if (b & 0x7fffffffu) == 0u { return from_bits(0xff800000u); }
    if b > INFINITY { return from_bits(0x7fc00000u); }
    return result;
}

fn logarithm_of_1_plus(x: num) -> num {
    let u = add(from_bits(ONE), x);
    let d = sub(u, from_bits(ONE));
    if (to_bits(d) & 0x7fffffffu) == 0u { return x; }
    return mul(logarithm(u), div(x, d));
}

fn sigmoid(x: num) -> num { return div(from_bits(ONE), add(from_bits(ONE), exponential(neg(x)))); }

fn hyperbolic_tangent(x: num) -> num {
    let limit = from_bits(0x41200000u); // 10
    var a = magnitude(x);
    if above(a, limit) { a = limit; }
    let u = exponential_minus_1(add(a, a));
    return from_bits(to_bits(div(u, add(u, from_bits(TWO)))) | (to_bits(x) & 0x80000000u));
}
