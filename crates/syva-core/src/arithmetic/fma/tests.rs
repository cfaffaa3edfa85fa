//! Compares fused multiply-add with exact integer arithmetic.

use std::cmp::Ordering;

use super::{fma_each, fma64_in_integers, fma64_in_software};
use crate::arithmetic::{Number, Real};
use crate::conformance::triples::{Format, Nasty};
use crate::random::{Random, Stream};

/// Words of a sum in fixed point: enough for the largest `f64` squared, in units of the smallest squared.
const WORDS: usize = 68;

/// `a · b + c`, exact in fixed point and rounded once. Bit n of the sum is worth 2^n times the square of T's smallest
/// number.
fn exact<T: Format>(a: T, b: T, c: T) -> T {
    let negative = |x: T| T::ONE.with_sign_of(x) < T::ZERO;
    let zero = |x: T| x == T::ZERO;
    if ![a, b, c].into_iter().all(Real::finite) {
        let product = if zero(a) || zero(b) { T::NAN } else { a.with_sign_of(T::ONE) * b.with_sign_of(T::ONE) };
        let product = if a.finite() && b.finite() { T::ZERO } else { product };
        let product = if negative(a) == negative(b) { product } else { -product };
        return product + c;
    }
    // The mantissa and the place of its last bit.
    let smallest = 1 - T::BIAS - T::FRACTION as i32;
    let parts = |x: T| {
        let fraction = x.bits() & ((1 << T::FRACTION) - 1);
        match (x.bits() >> T::FRACTION) as i32 & (2 * T::BIAS + 1) {
            0 => (fraction, 0),
            exponent => (fraction | 1 << T::FRACTION, exponent - 1),
        }
    };
    let ((ma, ea), (mb, eb), (mc, ec)) = (parts(a), parts(b), parts(c));
    let product = placed(u128::from(ma) * u128::from(mb), (ea + eb) as usize);
    let addend = placed(u128::from(mc), (ec - smallest) as usize);
    let (sum, below_zero) = match (negative(a) != negative(b), negative(c)) {
        (p, c) if p == c => (combined(&product, &addend, u128::wrapping_add), p),
        (p, c) => match product.iter().rev().cmp(addend.iter().rev()) {
            Ordering::Greater => (combined(&product, &addend, u128::wrapping_sub), p),
            Ordering::Less => (combined(&addend, &product, u128::wrapping_sub), c),
            Ordering::Equal => return T::ZERO,
        },
    };
    let magnitude = rounded::<T>(&sum, -smallest as usize);
    if below_zero { -magnitude } else { magnitude }
}

/// A number whose last bit is at `place`.
fn placed(value: u128, place: usize) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    let (word, bit) = (place / 64, place % 64);
    words[word] = (value << bit) as u64;
    words[word + 1] = (value << bit >> 64) as u64;
    // The bits that a shift by `bit` pushes beyond 128.
    words[word + 2] = if bit == 0 { 0 } else { (value >> (128 - bit)) as u64 };
    words
}

/// The sum or difference. The carry or borrow passes from word to word.
fn combined(a: &[u64; WORDS], b: &[u64; WORDS], with: fn(u128, u128) -> u128) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    let mut carry = 0;
    for i in 0..WORDS {
        let word = with(with(u128::from(a[i]), u128::from(b[i])), carry);
        words[i] = word as u64;
        carry = word >> 64 & 1;
    }
    words
}

/// Rounds to nearest, ties to even. `least` is the place of T's smallest number.
fn rounded<T: Format>(sum: &[u64; WORDS], least: usize) -> T {
    let bit = |n: usize| sum[n / 64] >> (n % 64) & 1;
    let Some(word) = sum.iter().rposition(|&word| word != 0) else { return T::ZERO };
    let highest = 64 * word + 63 - sum[word].leading_zeros() as usize;
    let last = highest.saturating_sub(T::FRACTION as usize).max(least);
    let kept = (last..=highest.max(last)).rev().fold(0, |kept, n| kept << 1 | bit(n));
    let half = bit(last - 1) == 1;
    let beyond = (0..last - 1).any(|n| bit(n) == 1);
    let kept = kept + u64::from(half && (beyond || kept & 1 == 1));
    // The leading one adds 1 to the exponent. A subnormal number has none.
    let bits = (((last - least) as u64) << T::FRACTION) + kept;
    T::of(bits.min(T::INFINITY.bits()))
}

/// Whether all bits are equal, or both numbers are NaN.
fn same<T: Format>(wanted: T, found: T) -> bool {
    let nan = |x: T| x.partial_cmp(&x).is_none();
    wanted.bits() == found.bits() || nan(wanted) && nan(found)
}

type Fma<T> = fn(T, T, T) -> T;

/// Compares each of our implementations with the exact sums of triples of all kinds. Returns how many sums of each kind
/// are wrong if they are rounded twice.
fn compare<T: Format>(seed: u32, triples: u32, ours: &[(&str, Fma<T>)], twice: Fma<T>) -> [u32; 8] {
    println!("seed {seed}, {triples} triples");
    let mut random = Random::new(seed, Stream::Augmentation, 0);
    let mut wrong = [0; 8];
    for i in 0..triples as usize {
        let nasty = Nasty::ALL[i % 8];
        let [a, b, c] = nasty.triple::<T>(&mut random);
        let wanted = exact(a, b, c);
        for (way, ours) in ours {
            let found = ours(a, b, c);
            let bits = [a, b, c, wanted, found].map(Format::bits);
            let sum = format_args!("{a:?} · {b:?} + {c:?}");
            assert!(
                same(wanted, found),
                "{way}, {nasty:?}, seed {seed}: {sum} is {wanted:?}, not {found:?}: {bits:#x?}"
            );
        }
        wrong[i % 8] += u32::from(!same(wanted, twice(a, b, c)));
    }
    println!("rounded twice, {wrong:?} are wrong");
    wrong
}

fn compare_both(seed: u32, triples: u32) {
    let each: Fma<f32> = |a, b, c| fma_each([a, 1.0], [b, 1.0], [c, 1.0])[0];
    let ours = [("fma", Number::fma as Fma<f32>), ("without a call", each)];
    let wrong = compare(seed, triples, &ours, |a, b, c| (f64::from(a) * f64::from(b) + f64::from(c)) as f32);
    // The triples are useful only if a simpler implementation gets some of them wrong.
    assert!(wrong[Nasty::Subnormal as usize] > 0 && wrong[Nasty::Halfway as usize] > triples / 100, "{wrong:?}");
    let ours = [
        ("fma", Number::fma as Fma<f64>),
        ("in software", fma64_in_software),
        // Tested separately, because `fma64_in_software` rarely falls back to integers.
        ("in integers", fma64_in_integers),
    ];
    let wrong = compare(seed, triples, &ours, |a, b, c| a * b + c);
    let each = |nasty: Nasty| wrong[nasty as usize] > triples / 1000;
    assert!([Nasty::Trained, Nasty::Subnormal, Nasty::Cancelling, Nasty::Halfway].into_iter().all(each), "{wrong:?}");
}

#[test]
fn fused_multiply_add_is_rounded_once() {
    compare_both(1, 200_000);
}

#[test]
#[ignore = "ten million triples take a minute; `cargo test -p syva-core --release -- --ignored ten_million`"]
fn ten_million_fused_multiply_adds_are_rounded_once() {
    compare_both(2, 10_000_000);
}

/// The triple on which compiler-builtins' `fmaf` (its issue 1262) and musl's round a subnormal result twice.
#[test]
fn a_subnormal_sum_is_rounded_once() {
    let [x, w, bias] = [0x9a80_0010, 0x197f_ffe0, 0x003c_37fb].map(f32::from_bits);
    for sum in [Number::fma(x, w, bias), exact(x, w, bias), fma_each([x], [w], [bias])[0]] {
        assert_eq!(sum.to_bits(), 0x003c_37fb);
    }
}
