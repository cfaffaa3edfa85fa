// Binary32 made of 32-bit integers, correctly rounded whatever the adapter's floats do. A number is represented by its bits.
//
// Everything is built from `fused`, `div` and `square_root`: a + b = fused(a, 1, b), and a · b = fused(a, b, −0), where −0 keeps the sign
// of a product that is zero. A significand has 24 bits. Wider integers are pairs (x high word, y low word).

alias num = u32;

const INFINITY_BITS = 0x7f800000u;
const NAN_BITS = 0x7fc00000u;

fn from_bits(bits: u32) -> num { return bits; }
fn to_bits(x: num) -> u32 { return x; }

/// Converts an integer of less than 24 bits.
fn of_int(i: i32) -> num {
    let m = u32(abs(i));
    let top = firstLeadingBit(m | 1u);
    let magnitude = ((127u + top) << 23u) | ((m << (23u - top)) & 0x7fffffu);
    return select(magnitude | (u32(i) & 0x80000000u), 0u, i == 0);
}

fn neg(a: num) -> num { return a ^ 0x80000000u; }
fn add(a: num, b: num) -> num { return fused(a, 0x3f800000u, b); }
fn sub(a: num, b: num) -> num { return fused(b, 0xbf800000u, a); }
fn mul(a: num, b: num) -> num { return fused(a, b, 0x80000000u); }

fn is_nan(a: num) -> bool { return (a & 0x7fffffffu) > INFINITY_BITS; }

/// Maps a number's bits to an integer. The integers have the order of the numbers, and both zeros map to the same one.
fn rank(a: num) -> i32 {
    let magnitude = i32(a & 0x7fffffffu);
    return select(magnitude, -magnitude, a > 0x7fffffffu);
}

fn above(a: num, b: num) -> bool { return rank(a) > rank(b) && !is_nan(a) && !is_nan(b); }

/// (significand with its top bit at 23, biased exponent) of a finite number. The exponent of a subnormal number is below
/// 1. Zero is (0, −4096), so far below all other numbers that it never counts.
fn unpack(a: num) -> vec2<i32> {
    let e = i32((a >> 23u) & 0xffu);
    let m = a & 0x7fffffu;
    if e == 0 {
        let shift = 23u - firstLeadingBit(m | 1u);
        return select(vec2(i32(m << shift), 1 - i32(shift)), vec2(0, -4096), m == 0u);
    }
    return vec2(i32(m | 0x800000u), e);
}

/// `value >> by`, with the lowest bit set if any bit was lost.
fn shift_and_stick(value: vec2<u32>, by: u32) -> vec2<u32> {
    let few = by & 31u;
    // A shift by 32 does nothing in WGSL, so bits move from word to word in two shifts.
    let short = vec2(value.x >> few, (value.y >> few) | ((value.x << 1u) << (31u - few)));
    let lost = ((value.y << 1u) << (31u - few)) != 0u;
    let lost_far = value.y != 0u || ((value.x << 1u) << (31u - few)) != 0u;
    let near = vec2(short.x, short.y | u32(lost));
    let far = vec2(0u, (value.x >> few) | u32(lost_far));
    let gone = vec2(0u, u32((value.x | value.y) != 0u));
    return select(select(far, gone, by > 63u), near, by < 32u);
}

/// Rounds to nearest, ties to even. `significand` has its top bit at 31, and its lowest bit is set if any lower bit was
/// lost. `e` is the biased exponent of the top bit.
fn rounded(sign: u32, e: i32, significand: u32) -> num {
    // A subnormal result has fewer bits. The others are dropped before the rounding, so that it is rounded only once.
    let narrow = u32(clamp(1 - e, 0, 31));
    let lost = ((significand << 1u) << (31u - narrow)) != 0u;
    let kept = (significand >> narrow) | u32(lost);
    let q = kept >> 8u;
    let rest = kept & 0xffu;
    let up = u32(rest > 0x80u || (rest == 0x80u && (q & 1u) == 1u));
    // The top bit of q adds one to the exponent, and a carry out of q one more.
    let magnitude = (u32(max(e, 1) - 1) << 23u) + q + up;
    return sign | select(magnitude, INFINITY_BITS, e > 254);
}

/// `a · b + c` if one of them is infinite or NaN.
fn fused_special(a: num, b: num, c: num) -> num {
    let sign = (a ^ b) & 0x80000000u;
    let magnitudes = vec2(a, b) & vec2(0x7fffffffu);
    let infinite = magnitudes.x == INFINITY_BITS || magnitudes.y == INFINITY_BITS;
    let no_product = infinite && (magnitudes.x == 0u || magnitudes.y == 0u);
    let opposed = infinite && c == ((sign ^ 0x80000000u) | INFINITY_BITS);
    if is_nan(a) || is_nan(b) || is_nan(c) || no_product || opposed { return NAN_BITS; }
    return select(c, sign | INFINITY_BITS, infinite);
}

/// `a · b + c`, rounded once.
///
/// The product (48 bits) is shifted to [2^60, 2^62), and the addend to [2^60, 2^61). Each is a pair of words, and both have
/// the same scale if their exponents are equal. The smaller one is shifted down to the other's scale. Only shifts beyond 14
/// places lose bits, and then the difference of the two keeps its top bit at 58 or above. So the lost bits, which are kept
/// as one sticky bit, lie far below the 24 bits that remain.
fn fused(a: num, b: num, c: num) -> num {
    let special = max(max(a & INFINITY_BITS, b & INFINITY_BITS), c & INFINITY_BITS) == INFINITY_BITS;
    if special { return fused_special(a, b, c); }
    let ua = unpack(a);
    let ub = unpack(b);
    let uc = unpack(c);

    // The product is computed from halves of 12 bits. No sum exceeds 26 bits.
    let a_low = u32(ua.x) & 0xfffu;
    let a_high = u32(ua.x) >> 12u;
    let b_low = u32(ub.x) & 0xfffu;
    let b_high = u32(ub.x) >> 12u;
    let low = a_low * b_low;
    let middle = a_low * b_high + a_high * b_low + (low >> 12u);
    let upper = a_high * b_high + (middle >> 12u);
    let lower = ((middle & 0xfffu) << 12u) | (low & 0xfffu);
    var product = vec2((upper << 6u) | (lower >> 18u), lower << 14u);
    var addend = vec2(u32(uc.x) << 5u, 0u);

    let e_product = ua.y + ub.y - 127;
    let e = max(e_product, uc.y);
    product = shift_and_stick(product, u32(min(e - e_product, 64)));
    addend = shift_and_stick(addend, u32(min(e - uc.y, 64)));

    let sign = (a ^ b) & 0x80000000u;
    let subtract = ((sign ^ c) & 0x80000000u) != 0u;
    let other = select(addend, ~addend, subtract);
    // Two's complement: the sign bit is set if the difference is negative, because both are below 2^63.
    let y = product.y + other.y + u32(subtract);
    let carry = u32(y < product.y || (subtract && other.y == 0xffffffffu));
    let x = product.x + other.x + carry;
    let negative = subtract && x > 0x7fffffffu;
    let magnitude = select(vec2(x, y), vec2(~x + u32(y == 0u), ~y + 1u), negative);

    // An exact zero is positive unless both were negative.
    if (magnitude.x | magnitude.y) == 0u { return select(sign, 0u, subtract); }
    let in_low = magnitude.x == 0u;
    let word = select(magnitude.x, magnitude.y, in_low);
    let zeros = 31u - firstLeadingBit(word);
    let rest = select(magnitude.y, 0u, in_low);
    let top = (word << zeros) | ((rest >> 1u) >> (31u - zeros));
    let sticky = u32((rest << zeros) != 0u);
    let leading = zeros + select(0u, 32u, in_low);
    return rounded(sign ^ select(0u, 0x80000000u, negative), e + 3 - i32(leading), top | sticky);
}

/// `a / b`, rounded once. Long division gives 26 bits of the quotient, and whether there is a remainder.
fn div(a: num, b: num) -> num {
    let sign = (a ^ b) & 0x80000000u;
    let ma = a & 0x7fffffffu;
    let mb = b & 0x7fffffffu;
    if ma > INFINITY_BITS || mb > INFINITY_BITS || (ma == mb && (ma == 0u || ma == INFINITY_BITS)) { return NAN_BITS; }
    if ma == INFINITY_BITS || mb == 0u { return sign | INFINITY_BITS; }
    if mb == INFINITY_BITS || ma == 0u { return sign; }
    let ua = unpack(a);
    let ub = unpack(b);
    let divisor = u32(ub.x);
    let less = u32(ua.x) < divisor;
    var rest = u32(ua.x) << u32(less);
    var quotient = 0u;
    for (var i = 0u; i < 26u; i++) {
        let fits = rest >= divisor;
        rest = select(rest, rest - divisor, fits) << 1u;
        quotient = (quotient << 1u) | u32(fits);
    }
    let e = ua.y - ub.y + 127 - i32(less);
    return rounded(sign, e, (quotient << 6u) | u32(rest != 0u));
}

/// The square root, rounded once. Digit by digit, two of the number for each of 26 of the root, and whether there is a
/// remainder.
fn square_root(a: num) -> num {
    let zero = (a & 0x7fffffffu) == 0u;
    if is_nan(a) || (a > 0x7fffffffu && !zero) { return NAN_BITS; }
    if zero || a == INFINITY_BITS { return a; }
    let ua = unpack(a);
    // The number is m · 2^e with an even e, and m in [1, 4) is in the top digits of `digits`.
    let odd = (ua.y - 127) & 1;
    var digits = u32(ua.x) << u32(7 + odd);
    var rest = 0u;
    var root = 0u;
    for (var i = 0u; i < 26u; i++) {
        rest = (rest << 2u) | (digits >> 30u);
        digits = digits << 2u;
        let next = (root << 2u) | 1u;
        let fits = rest >= next;
        rest = select(rest, rest - next, fits);
        root = (root << 1u) | u32(fits);
    }
    return rounded(0u, ((ua.y - 127 - odd) >> 1u) + 127, (root << 6u) | u32(rest != 0u));
}
