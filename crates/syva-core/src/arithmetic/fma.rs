//! `a · b + c` with one rounding, on processors and targets that have no such instruction.
//!
//! Outside of code that is compiled for an FMA instruction, `mul_add` calls the target's `fmaf` or `fma`. Which one that
//! is depends on the linker, and not all are right: mingw's rounds twice, those of musl and of Rust's compiler-builtins
//! round subnormal results twice. So Syvä has its own, made of operations that are correctly rounded everywhere.

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!("Syvä needs SSE2 on 32-bit x86: without it, f32 and f64 are computed with more bits and rounded twice");

/// Whether all code of this program is compiled for a processor with fused multiply-add, so that `mul_add` is that
/// instruction.
const COMPILED_FOR: bool = cfg!(any(target_feature = "fma", all(target_arch = "aarch64", target_feature = "neon")));

/// Whether `mul_add` is the processor's instruction, or calls a function that is known to use it: on Linux with glibc, where
/// both candidates, compiler-builtins' and glibc's, ask the processor.
#[inline(always)]
fn in_hardware() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    return COMPILED_FOR || is_x86_feature_detected!("fma");
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
    return COMPILED_FOR;
}

#[cfg(test)]
mod tests;

/// `a · b + c`.
#[inline(always)]
#[allow(clippy::disallowed_methods, reason = "where it is known to be right")]
pub(crate) fn fma32(a: f32, b: f32, c: f32) -> f32 {
    if in_hardware() { a.mul_add(b, c) } else { fma_each([a], [b], [c])[0] }
}

/// `a · b + c`.
#[inline(always)]
#[allow(clippy::disallowed_methods, reason = "where it is known to be right")]
pub(crate) fn fma64(a: f64, b: f64, c: f64) -> f64 {
    if in_hardware() { a.mul_add(b, c) } else { fma64_in_software(a, b, c) }
}

/// `a · b + c` of `N` triples, without a call for each.
///
/// The product of two `f32` is exact in `f64`, so the sum there is rounded once to 53 bits, then to 24. To round twice is
/// wrong only where the first rounding ends just halfway between two `f32`, and where these are further apart than 24
/// bits, below the normal numbers. One test of all triples finds both.
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

/// Whether to round this sum to `f32` might be to round for the second time. In words of 32 bits, four of which are one
/// SSE2 register.
#[inline(always)]
fn rounds_twice(sum: f64) -> bool {
    const DROPPED: u32 = (1 << 29) - 1;
    const HALF: u32 = 1 << 28;
    const SMALLEST_NORMAL: u32 = (1023 - 126) << 20;
    let halfway = sum.to_bits() as u32 & DROPPED == HALF;
    // The upper word of 0, which is exact, is 0; that of 2⁻²⁹⁸, the smallest product, is not.
    let upper = (sum.to_bits() >> 32) as u32 & (u32::MAX >> 1);
    halfway | (upper.wrapping_sub(1) < SMALLEST_NORMAL - 1)
}

/// `a · b + c`. The sum is rounded to odd first: where it is inexact, its last bit is made 1, so that the second rounding
/// finds it on the right side of halfway (S. Boldo and G. Melquiond, Emulation of FMA and correctly rounded sums: proved
/// algorithms using rounding to odd, 2008).
#[inline(always)]
fn to_odd(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    // What was rounded away, exactly (D. Knuth's TwoSum); NaN where the sum is not finite.
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

/// `a · b + c` in `f64`: the exact sum of three numbers, the last two of which are added before they are added to the
/// first. Where the rounding of that might matter, or an exponent is far out, in integers.
fn fma64_in_software(a: f64, b: f64, c: f64) -> f64 {
    let (product, error) = exact_product(a, b);
    let sum = product + c;
    let rest = sum - product;
    let rest = error + ((product - (sum - rest)) + (c - rest));
    // At least twice what rounding may have taken from the rest.
    let doubt = rest.abs() * (1.0 / (1_u64 << 51) as f64);
    let (low, high) = (sum + (rest - doubt), sum + (rest + doubt));
    if moderate(a) && moderate(b) && c.abs() < 1e250 && low == high { low } else { fma64_in_integers(a, b, c) }
}

/// Whether a magnitude is from 10⁻¹⁰⁰ to 10¹⁰⁰, so that products, their errors and sums are normal numbers or 0.
fn moderate(x: f64) -> bool {
    (1e-100..1e100).contains(&x.abs())
}

/// A product and what its rounding took from it, both factors cut into halves whose products are exact (T. J. Dekker, A
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

/// `a · b + c` by integers: the product of two mantissas is exact in 106 bits, and what of the smaller of product and
/// addend is shifted out of 128 bits leaves a 1 in the last, which is enough to round by.
#[cold]
#[inline(never)]
fn fma64_in_integers(a: f64, b: f64, c: f64) -> f64 {
    // Bit 124 is the highest of the addend and of the largest products.
    const PRODUCT: i32 = 19;
    const ADDEND: i32 = 72;
    if !(a.is_finite() && b.is_finite()) || a == 0.0 || b == 0.0 {
        return a * b + c;
    }
    if !c.is_finite() {
        return c;
    }
    if c == 0.0 {
        // Not `a · b + c`, where a product that is rounded to 0 would lose its sign.
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

/// (m, e) with `|x| = m · 2^e` and bit 52 of m its highest, for x neither 0 nor infinite nor NaN.
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

/// `x · 2^−places`; the last bit is 1 where any bit that was lost is.
fn shifted_right(x: u128, places: i32) -> u128 {
    if places >= 128 {
        return u128::from(x != 0);
    }
    x >> places | u128::from(x & !(u128::MAX << places) != 0)
}

/// `x · 2^exponent` rounded, for x > 0.
fn rounded(x: u128, exponent: i32) -> f64 {
    // Places from the last bit of x to that of the result, which is 52 below its first, or at 2⁻¹⁰⁷⁴.
    let places = (75 - x.leading_zeros() as i32).max(-1074 - exponent);
    let mantissa = match places {
        ..=0 => (x << -places) as u64,
        1..128 => {
            let (kept, lost) = ((x >> places) as u64, x << (128 - places));
            let half = 1 << 127;
            kept + u64::from(lost > half || lost == half && kept & 1 == 1)
        }
        // Below half the smallest number.
        _ => 0,
    };
    // The mantissa's bit 52, where it has one, is the exponent's 1.
    let bits = mantissa + (((exponent + places + 1074) as u64) << 52);
    f64::from_bits(bits.min(f64::INFINITY.to_bits()))
}
