//! `a · b + c` with one rounding, on processors and targets that have no such instruction.
//!
//! In code that is not compiled for an FMA instruction, `mul_add` calls the target's `fmaf` or `fma`. Which
//! implementation that is depends on the linker, and not all are correct: mingw's rounds twice, and those of musl and
//! of Rust's compiler-builtins round subnormal results twice. So Syvä has its own, built from operations that are
//! correctly rounded everywhere.

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!("Syvä needs SSE2 on 32-bit x86: without it, f32 and f64 are computed with more bits and rounded twice");

/// Whether all code of this program is compiled for a processor with fused multiply-add, so that `mul_add` is that
/// instruction.
const COMPILED_FOR: bool = cfg!(any(target_feature = "fma", all(target_arch = "aarch64", target_feature = "neon")));

/// Whether `mul_add` is the processor's instruction, or calls a function that is known to use it. The latter is the
/// case on Linux with glibc, where both candidates, compiler-builtins' and glibc's, check the processor.
#[inline(always)]
fn in_hardware() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    return COMPILED_FOR || is_x86_feature_detected!("fma");
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
    return COMPILED_FOR;
}

#[cfg(test)]
mod tests;

/// `a · b + c` with one rounding.
#[inline(always)]
#[allow(clippy::disallowed_methods, reason = "where it is known to be right")]
pub(crate) fn fma32(a: f32, b: f32, c: f32) -> f32 {
    if in_hardware() { a.mul_add(b, c) } else { fma_each([a], [b], [c])[0] }
}

/// `a · b + c` with one rounding.
#[inline(always)]
#[allow(clippy::disallowed_methods, reason = "where it is known to be right")]
pub(crate) fn fma64(a: f64, b: f64, c: f64) -> f64 {
    if in_hardware() { a.mul_add(b, c) } else { fma64_in_software(a, b, c) }
}

/// `a · b + c` for `N` triples, without a call for each.
///
/// The product of two `f32` is exact in `f64`, so the sum there is rounded once to 53 bits, and then to 24. Rounding
/// twice can be wrong in only two cases: if the first rounding ends exactly halfway between two `f32`, or if the result
/// is subnormal, because an `f32` then has fewer than 24 bits. One test of all triples detects both cases.
#[inline(always)]
pub fn fma_each<const N: usize>(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
    if COMPILED_FOR {
        #[allow(clippy::disallowed_methods, reason = "it is the instruction here")]
        return std::array::from_fn(|i| a[i].mul_add(b[i], c[i]));
    }
    let sums: [f64; N] = std::array::from_fn(|i| f64::from(a[i]) * f64::from(b[i]) + f64::from(c[i]));
    if sums.iter().fold(false, |any, &sum| any | rounds_twice(sum)) {
        return each_to_odd(a, b, c);
    }
    sums.map(|sum| sum as f32)
}

/// Whether rounding this sum to `f32` might be a second rounding that gives a wrong result. Computed in 32-bit words,
/// four of which fit into an SSE2 register.
#[inline(always)]
fn rounds_twice(sum: f64) -> bool {
    const DROPPED: u32 = (1 << 29) - 1;
    const HALF: u32 = 1 << 28;
    const SMALLEST_NORMAL: u32 = (1023 - 126) << 20;
    let halfway = sum.to_bits() as u32 & DROPPED == HALF;
    // The upper word of 0, which is exact, is 0. That of 2⁻²⁹⁸, the smallest product, is not.
    let upper = (sum.to_bits() >> 32) as u32 & (u32::MAX >> 1);
    halfway | (upper.wrapping_sub(1) < SMALLEST_NORMAL - 1)
}

/// `a · b + c`. The sum is rounded to odd first: if it is inexact, its last bit is made 1, so that the second rounding
/// sees it on the right side of halfway (S. Boldo and G. Melquiond, Emulation of FMA and correctly rounded sums: proved
/// algorithms using rounding to odd, 2008).
#[inline(always)]
fn to_odd(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    // The exact rounding error of the sum (D. Knuth's TwoSum). It is NaN if the sum is not finite.
    let rest = sum - product;
    let error = (product - (sum - rest)) + (c - rest);
    let bits = sum.to_bits();
    let odd = if error == 0.0 || error.is_nan() || bits & 1 == 1 {
        bits
    } else if (error > 0.0) == (sum > 0.0) {
        bits + 1
    } else {
        bits - 1
    };
    f64::from_bits(odd) as f32
}

#[cold]
#[inline(never)]
fn each_to_odd<const N: usize>(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| to_odd(a[i], b[i], c[i]))
}

/// `a · b + c` in `f64`. The result is the exact sum of three numbers: the rounded sum, its rounding error, and the
/// rounding error of the product. The two errors are added first. If the rounding of that addition might matter, or if
/// an exponent is extreme, the result is computed in integers instead.
fn fma64_in_software(a: f64, b: f64, c: f64) -> f64 {
    let (product, error) = exact_product(a, b);
    let sum = product + c;
    let rest = sum - product;
    let rest = error + ((product - (sum - rest)) + (c - rest));
    // At least twice the largest error that rounding can have caused in `rest`.
    let doubt = rest.abs() * (1.0 / (1_u64 << 51) as f64);
    let (low, high) = (sum + (rest - doubt), sum + (rest + doubt));
    if moderate(a) && moderate(b) && c.abs() < 1e250 && low == high { low } else { fma64_in_integers(a, b, c) }
}

/// Whether a magnitude is from 10⁻¹⁰⁰ to 10¹⁰⁰, so that products, their errors and sums are normal numbers or 0.
fn moderate(x: f64) -> bool {
    (1e-100..1e100).contains(&x.abs())
}

/// A product and its rounding error. Both factors are split into halves whose products are exact (T. J. Dekker, A
/// floating-point technique for extending the available precision, 1971).
fn exact_product(a: f64, b: f64) -> (f64, f64) {
    let halves = |x: f64| {
        let scaled = x * ((1 << 27) + 1) as f64;
        let high = scaled - (scaled - x);
        (high, x - high)
    };
    let (product, (ah, al), (bh, bl)) = (a * b, halves(a), halves(b));
    (product, al * bl - (((product - ah * bh) - al * bh) - ah * bl))
}

/// `a · b + c` in integers. The product of two mantissas is exact in 106 bits. The smaller of product and addend is
/// shifted right within 128 bits. If nonzero bits are shifted out, the last bit is set to 1, which is all that rounding
/// needs to know.
#[cold]
#[inline(never)]
fn fma64_in_integers(a: f64, b: f64, c: f64) -> f64 {
    // The highest bit of the addend, and of the largest products, is bit 124.
    const PRODUCT: i32 = 19;
    const ADDEND: i32 = 72;
    if !(a.is_finite() && b.is_finite()) || a == 0.0 || b == 0.0 {
        return a * b + c;
    }
    if !c.is_finite() {
        return c;
    }
    if c == 0.0 {
        // `a * b + c` would lose the sign of a product that is rounded to 0.
        return a * b;
    }
    let ((ma, ea), (mb, eb), (mc, ec)) = (parts(a), parts(b), parts(c));
    let product = (u128::from(ma) * u128::from(mb)) << PRODUCT;
    let addend = u128::from(mc) << ADDEND;
    let (of_product, of_addend) = (ea + eb - PRODUCT, ec - ADDEND);
    let exponent = of_product.max(of_addend);
    let product = shifted_right(product, exponent - of_product);
    let addend = shifted_right(addend, exponent - of_addend);
    let negative = a.is_sign_negative() != b.is_sign_negative();
    let (sum, negative) = if negative == c.is_sign_negative() {
        (product + addend, negative)
    } else if product == addend {
        return 0.0;
    } else {
        (product.abs_diff(addend), negative == (product > addend))
    };
    let magnitude = rounded(sum, exponent);
    if negative { -magnitude } else { magnitude }
}

/// (m, e) with `|x| = m · 2^e`, where bit 52 is the highest bit of m. x must not be 0, infinite or NaN.
fn parts(x: f64) -> (u64, i32) {
    let fraction = x.to_bits() & ((1 << 52) - 1);
    match (x.to_bits() >> 52 & 0x7ff) as i32 {
        0 => {
            let up = fraction.leading_zeros() - 11;
            (fraction << up, -1074 - up as i32)
        }
        exponent => (fraction | 1 << 52, exponent - 1075),
    }
}

/// `x · 2^−places`. The last bit is 1 if any of the bits shifted out is.
fn shifted_right(x: u128, places: i32) -> u128 {
    if places >= 128 {
        return u128::from(x != 0);
    }
    x >> places | u128::from(x & !(u128::MAX << places) != 0)
}

/// `x · 2^exponent` rounded, for x > 0.
fn rounded(x: u128, exponent: i32) -> f64 {
    // The number of places from the last bit of x to that of the result, which is 52 below x's first bit, or at 2⁻¹⁰⁷⁴.
    let places = (75 - x.leading_zeros() as i32).max(-1074 - exponent);
    let mantissa = match places {
        ..=0 => (x << -places) as u64,
        1..128 => {
            let (kept, lost) = ((x >> places) as u64, x << (128 - places));
            let half = 1 << 127;
            kept + u64::from(lost > half || lost == half && kept & 1 == 1)
        }
        // Less than half the smallest number.
        _ => 0,
    };
    // Bit 52 of the mantissa, if it is set, adds 1 to the exponent.
    let bits = mantissa + (((exponent + places + 1074) as u64) << 52);
    f64::from_bits(bits.min(f64::INFINITY.to_bits()))
}
