// The operations on bits that the contract's functions are written with. The functions themselves come from
// syva-core's `ops`.

const ZERO = 0u;
const ONE = 0x3f800000u;
const INFINITY = 0x7f800000u;

fn finite(x: num) -> bool { return (to_bits(x) & INFINITY) != INFINITY; }
fn equals(a: num, b: num) -> bool {
    return !above(a, b) && !above(b, a) && (to_bits(a) & 0x7fffffffu) <= INFINITY && (to_bits(b) & 0x7fffffffu) <= INFINITY;
}
fn magnitude(x: num) -> num { return from_bits(to_bits(x) & 0x7fffffffu); }
fn with_sign_of(x: num, sign: num) -> num {
    return from_bits((to_bits(x) & 0x7fffffffu) | (to_bits(sign) & 0x80000000u));
}
/// z + 0: a zero becomes positive. (A compiler might remove a plain `+ 0`.)
fn plus_zero(z: num) -> num { return from_bits(select(to_bits(z), 0u, to_bits(z) == 0x80000000u)); }

/// The integer n in the low bits of n + 1.5 · 2^23.
fn integer_of(rounded: num) -> i32 { return bitcast<i32>(to_bits(rounded) - 0x4b400000u); }
fn whole(rounded: num) -> num { return of_int(integer_of(rounded)); }
fn power_of_two(i: i32) -> num { return from_bits(u32(i + 127) << 23u); }
fn power_low(rounded: num) -> num { return power_of_two(integer_of(rounded) >> 1u); }
fn power_high(rounded: num) -> num { return power_of_two(integer_of(rounded) - (integer_of(rounded) >> 1u)); }
/// The exponent that makes x's mantissa at least √½ and below √2.
fn exponent(x: num) -> i32 { return bitcast<i32>(to_bits(x) - 0x3f3504f3u) >> 23u; }
fn mantissa_of(x: num) -> num { return from_bits(to_bits(x) - (u32(exponent(x)) << 23u)); }
fn exponent_of(x: num) -> num { return of_int(exponent(x)); }
