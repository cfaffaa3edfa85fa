//! The arithmetic contract's functions: `exp`, `log`, `sigmoid`, `tanh`, softmax and the losses.
//!
//! Every function is a fixed sequence of correctly rounded operations (+ − × ÷ √ fma, comparisons, bit moves), so it
//! gives the same bits on every machine; `docs/ARITHMETIC.md` states the sequences. They are written once for `f32`
//! (the contract) and `f64` (in which the reference's gradients are checked). None of them branches on data, so a loop
//! over a slice becomes SIMD code in any engine that compiles it for its instruction set.

mod fma;

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

pub use fma::fma_each;

/// What element-wise arithmetic is written in. Each operation rounds once.
///
/// A function over this trait is written once and runs everywhere: in `f32` it is the contract, in `f64` it is what
/// gradients are checked with, in the CPU engine's own types it becomes SIMD code, and over
/// [`Symbol`](crate::ops::Symbol) it becomes the text of a GPU's function. So it chooses with [`Number::select`] and never
/// branches on a value.
///
/// ```
/// use syva_core::arithmetic::Number;
/// assert_eq!(0.0_f32.sigmoid(), 0.5);
/// assert!((1.0_f64.exp() - std::f64::consts::E).abs() < 1e-15);
/// ```
pub trait Number:
    Copy + Neg<Output = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + 'static
{
    /// The result of a comparison.
    type Truth: Copy;

    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// 2.
    const TWO: Self;
    /// +∞.
    const INFINITY: Self;
    /// Not a number.
    const NAN: Self;
    /// log₂ e, rounded.
    const LOG2_E: Self;
    /// The leading bits of ln 2, few enough that a product with an exponent is exact.
    const LN_2_HIGH: Self;
    /// ln 2 − `LN_2_HIGH`, rounded.
    const LN_2_LOW: Self;
    /// 1.5 · 2^(mantissa bits): adding it rounds to an integer, ties to even, left in the low bits.
    const ROUNDER: Self;
    /// Arguments of `exp` are clamped to this range; beyond it the result is 0 or ∞ already.
    const EXP_RANGE: (Self, Self);
    /// Beyond this magnitude, `tanh` is ±1.
    const TANH_LIMIT: Self;
    /// 1/k! for k = N … 1: the series of `(e^r − 1)/r`, truncated below half an ulp for |r| ≤ ln(2)/2.
    const EXP_SERIES: &'static [Self];
    /// 2/(2k+1) for k = N … 1: the series of `2·atanh(s)/s − 2` in s², truncated likewise for |s| ≤ 3 − 2√2.
    const LOG_SERIES: &'static [Self];
    /// Beyond this magnitude, `erf` is ±1.
    const ERF_LIMIT: Self;
    /// erf(x)/x − 1 in x², for |x| ≤ 1.
    const ERF_SERIES: &'static [Self];
    /// −ln(1 − erf(x)), for x from 1 to the limit.
    const ERF_REST: &'static [Self];
    /// 1/(2π), rounded.
    const TURNS: Self;
    /// π, rounded.
    const HALF_TURN: Self;
    /// sin(φ)/φ in φ², for |φ| ≤ π/2.
    const SIN_SERIES: &'static [Self];
    /// cos φ in φ², for |φ| ≤ π/2.
    const COS_SERIES: &'static [Self];
    /// The smallest positive normal number, the power of two that makes subnormals normal, and its exponent.
    const SUBNORMAL: (Self, Self, Self);

    /// Rounds from `f64`.
    #[must_use]
    fn from_f64(value: f64) -> Self;
    /// `self · factor + addend` with one rounding, on every processor. (`f32::mul_add` rounds twice on some.)
    #[must_use]
    fn fma(self, factor: Self, addend: Self) -> Self;
    /// Correctly rounded square root.
    #[must_use]
    fn square_root(self) -> Self;
    /// Whether `self > other`; no for NaN.
    #[must_use]
    fn above(self, other: Self) -> Self::Truth;
    /// Whether the numbers are equal. Zeros of both signs are.
    #[must_use]
    fn equals(self, other: Self) -> Self::Truth;
    /// One of two values, which are both computed.
    #[must_use]
    fn select(which: Self::Truth, yes: Self, no: Self) -> Self;
    /// The magnitude (sign bit cleared).
    #[must_use]
    fn magnitude(self) -> Self;
    /// The magnitude of `self` with the sign bit of `sign`.
    #[must_use]
    fn with_sign_of(self, sign: Self) -> Self;
    /// For `rounded = x + ROUNDER`: (2^⌊n/2⌋, 2^(n − ⌊n/2⌋)), where n is the integer in its low bits.
    #[must_use]
    fn powers_of_two(rounded: Self) -> (Self, Self);
    /// For `rounded = x + ROUNDER`: the integer in its low bits, which is x rounded.
    #[inline(always)]
    #[must_use]
    fn whole(rounded: Self) -> Self {
        rounded - Self::ROUNDER
    }
    /// For a positive normal number: (m, e) with `self = m · 2^e` and m in [√½, √2).
    #[must_use]
    fn split(self) -> (Self, Self);

    /// The larger of two numbers; `other` if `self` is NaN.
    #[inline(always)]
    #[must_use]
    fn larger(self, other: Self) -> Self {
        Self::select(self.above(other), self, other)
    }

    /// `self` held within a range; NaN stays NaN.
    #[inline(always)]
    #[must_use]
    fn clamped(self, (low, high): (Self, Self)) -> Self {
        let x = Self::select(low.above(self), low, self);
        Self::select(x.above(high), high, x)
    }

    /// The larger of `self` and 0 (ReLU); 0 for NaN.
    #[inline(always)]
    #[must_use]
    fn relu(self) -> Self {
        self.larger(Self::ZERO)
    }

    /// e^self, within 1 ulp; subnormal results are rounded once.
    #[inline(always)]
    #[must_use]
    fn exp(self) -> Self {
        let (r, h, (two_a, two_b)) = reduce_exp(self.clamped(Self::EXP_RANGE));
        r.fma(h, Self::ONE) * two_a * two_b
    }

    /// e^self − 1 without cancellation near 0, for `self` below the overflow limit.
    #[inline(always)]
    #[must_use]
    fn exp_m1(self) -> Self {
        let (r, h, (two_a, two_b)) = reduce_exp(self.clamped(Self::EXP_RANGE));
        let scale = two_a * two_b;
        scale.fma(r * h, scale - Self::ONE)
    }

    /// Natural logarithm, within 2 ulp; −∞ at ±0, NaN below 0.
    #[inline(always)]
    #[must_use]
    fn log(self) -> Self {
        let (smallest_normal, factor, exponent_of_factor) = Self::SUBNORMAL;
        let subnormal = smallest_normal.above(self);
        let (m, e) = Self::select(subnormal, self * factor, self).split();
        let e = Self::select(subnormal, e - exponent_of_factor, e);
        // ln m = 2·atanh(s) with s = (m − 1)/(m + 1).
        let s = (m - Self::ONE) / (m + Self::ONE);
        let series = horner(Self::LOG_SERIES, s * s) * (s * s);
        let log_m = s.fma(series, s + s);
        let result = e.fma(Self::LN_2_HIGH, e.fma(Self::LN_2_LOW, log_m));
        let result = Self::select(self.equals(Self::INFINITY), self, result);
        let result = Self::select(self.above(Self::ZERO), result, Self::NAN);
        Self::select(self.equals(Self::ZERO), -Self::INFINITY, result)
    }

    /// ln(1 + self) for self ≥ 0, without loss near 0: the rounding error of `1 + self` is divided out
    /// (W. Kahan's method).
    #[inline(always)]
    #[must_use]
    fn log_1p(self) -> Self {
        let u = Self::ONE + self;
        let d = u - Self::ONE;
        let exact = d.equals(Self::ZERO);
        let corrected = u.log() * (self / Self::select(exact, Self::ONE, d));
        Self::select(exact, self, corrected)
    }

    /// Logistic sigmoid, `1 / (1 + e^−x)` (`torch.sigmoid`).
    #[inline(always)]
    #[must_use]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }

    /// The error function, within 2 ulp: x + x · P(x²) near 0, and beyond it 1 − e^(−Q(|x|)) with the sign of x (`torch.erf`).
    #[inline(always)]
    #[must_use]
    fn erf(self) -> Self {
        let a = self.magnitude();
        let near = self.fma(horner(Self::ERF_SERIES, self * self), self);
        let a = Self::select(a.above(Self::ERF_LIMIT), Self::ERF_LIMIT, a);
        let far = (Self::ONE - (-horner(Self::ERF_REST, a)).exp()).with_sign_of(self);
        Self::select(a.above(Self::ONE), far, near)
    }

    /// Cosine and sine of so many turns, cos 2πx and sin 2πx, within 10⁻⁶. From a number on that has no fraction, they mean
    /// nothing.
    #[inline(always)]
    #[must_use]
    fn of_turns(self) -> (Self, Self) {
        let phi = (self - Self::whole(self + Self::ROUNDER)) * Self::HALF_TURN;
        let square = phi * phi;
        let (s, c) = (phi * horner(Self::SIN_SERIES, square), horner(Self::COS_SERIES, square));
        // Of the double angle.
        ((-(s + s)).fma(s, Self::ONE), (s + s) * c)
    }

    /// Hyperbolic tangent, `u / (u + 2)` with `u = e^2|x| − 1`, with the sign of x (`torch.tanh`).
    #[inline(always)]
    #[must_use]
    fn tanh(self) -> Self {
        let a = self.magnitude();
        let a = Self::select(a.above(Self::TANH_LIMIT), Self::TANH_LIMIT, a);
        let u = (a + a).exp_m1();
        (u / (u + Self::TWO)).with_sign_of(self)
    }
}

/// The number that 16 bits mean: a sign, 5 bits of exponent, 10 of the fraction (IEEE 754, binary16).
///
/// ```
/// assert_eq!(syva_core::arithmetic::half(0x3555), 0.333_251_953_125);
/// ```
#[must_use]
pub fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

/// A floating-point type that a program can compute with: `f32` or `f64`, or one of the same numbers.
pub trait Real: Number<Truth = bool> + PartialEq + PartialOrd + Debug + Default + Send + Sync {
    /// Widens to `f64` (exact).
    #[must_use]
    fn to_f64(self) -> f64;

    /// Whether the number is neither infinite nor NaN.
    #[must_use]
    fn finite(self) -> bool {
        self.magnitude() < Self::INFINITY
    }
}

/// (r, h, 2ⁿ in two factors) with `e^x = (1 + r·h) · 2ⁿ` and |r| ≤ ln(2)/2, for x within `EXP_RANGE` (or NaN).
#[inline(always)]
fn reduce_exp<T: Number>(x: T) -> (T, T, (T, T)) {
    let rounded = x.fma(T::LOG2_E, T::ROUNDER);
    let n = T::whole(rounded);
    let r = n.fma(-T::LN_2_LOW, n.fma(-T::LN_2_HIGH, x));
    (r, horner(T::EXP_SERIES, r), T::powers_of_two(rounded))
}

/// Horner's scheme, highest coefficient first, one fma a step.
#[inline(always)]
pub(crate) fn horner<T: Number>(coefficients: &[T], x: T) -> T {
    let mut sum = coefficients[0];
    for &coefficient in &coefficients[1..] {
        sum = sum.fma(x, coefficient);
    }
    sum
}

macro_rules! real {
    ($t:ident, $bits:ident, $int:ident, mantissa: $mantissa:expr, bias: $bias:expr, $($constants:tt)*) => {
        impl Number for $t {
            type Truth = bool;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const TWO: Self = 2.0;
            const INFINITY: Self = Self::INFINITY;
            const NAN: Self = Self::NAN;
            const SUBNORMAL: (Self, Self, Self) =
                (Self::MIN_POSITIVE, (1u64 << $mantissa) as $t, $mantissa as $t);
            const LOG2_E: Self = std::$t::consts::LOG2_E;
            const ROUNDER: Self = 1.5 * (1u64 << $mantissa) as $t;
            $($constants)*

            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn with_sign_of(self, sign: Self) -> Self {
                self.copysign(sign)
            }
            #[inline(always)]
            fn powers_of_two(rounded: Self) -> (Self, Self) {
                let n = rounded.to_bits().wrapping_sub(Self::ROUNDER.to_bits()) as $int;
                let half = n >> 1;
                let power = |i: $int| Self::from_bits((i.wrapping_add($bias) as $bits) << $mantissa);
                (power(half), power(n.wrapping_sub(half)))
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                let root_half = std::$t::consts::FRAC_1_SQRT_2.to_bits();
                let e = (self.to_bits().wrapping_sub(root_half) as $int) >> $mantissa;
                let m = self.to_bits().wrapping_sub((e as $bits) << $mantissa);
                (Self::from_bits(m), e as $t)
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn square_root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn above(self, other: Self) -> bool {
                self > other
            }
            #[inline(always)]
            fn equals(self, other: Self) -> bool {
                self == other
            }
            #[inline(always)]
            fn select(which: bool, yes: Self, no: Self) -> Self {
                if which { yes } else { no }
            }
        }

        impl Real for $t {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    };
}

real! { f32, u32, i32, mantissa: 23, bias: 127,
    // 9 and 24 bits (Cody and Waite's split of ln 2, as in Cephes expf).
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const EXP_RANGE: (f32, f32) = (-104.0, 89.0);
    const TANH_LIMIT: f32 = 10.0;
    const EXP_SERIES: &'static [f32] =
        &[1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0, 1.0];
    // Fitted at Chebyshev nodes with 60 digits: `python3 crates/syva-core/src/arithmetic/erf.py`.
    const ERF_LIMIT: f32 = 4.0;
    const ERF_SERIES: &'static [f32] = &[
        7.875_875e-5, -8.016_864_3e-4, 5.189_087_2e-3, -2.685_421_1e-2, 1.128_359_4e-1, -3.761_262_6e-1,
        1.283_791_7e-1,
    ];
    const ERF_REST: &'static [f32] = &[
        -1.637_151_4e-6, 4.605_804e-5, -5.968_056_5e-4, 4.759_596e-3, -2.642_113_5e-2, 1.100_800_86e-1,
        6.318_260_4e-1, 1.130_233_4, -3.201_380_6e-4,
    ];
    const TURNS: f32 = std::f32::consts::FRAC_1_PI / 2.0;
    const HALF_TURN: f32 = std::f32::consts::PI;
    const SIN_SERIES: &'static [f32] = &[
        1.0 / 6_227_020_800.0, -1.0 / 39_916_800.0, 1.0 / 362_880.0, -1.0 / 5_040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0,
    ];
    const COS_SERIES: &'static [f32] = &[
        -1.0 / 87_178_291_200.0, 1.0 / 479_001_600.0, -1.0 / 3_628_800.0, 1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0,
        -1.0 / 2.0, 1.0,
    ];
    const LOG_SERIES: &'static [f32] = &[2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0];

    #[inline(always)]
    fn fma(self, factor: f32, addend: f32) -> f32 {
        fma::fma32(self, factor, addend)
    }
}

real! { f64, u64, i64, mantissa: 52, bias: 1023,
    // 33 and 53 bits (as in fdlibm e_exp.c).
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const EXP_RANGE: (f64, f64) = (-746.0, 710.0);
    const TANH_LIMIT: f64 = 20.0;
    const EXP_SERIES: &'static [f64] = &[
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0, 1.0,
    ];
    const ERF_LIMIT: f64 = 6.0;
    const ERF_SERIES: &'static [f64] = &[
        -4.230_945_824_295_338e-12, 8.709_045_129_053_106e-11, -1.216_456_005_728_345e-9,
        1.479_240_120_940_481_3e-8, -1.636_464_215_816_761_6e-7, 1.646_204_544_146_841_8e-6,
        -1.492_564_756_751_933_2e-5, 0.000_120_553_329_028_887_36, -0.000_854_832_702_193_483,
        0.005_223_977_625_423_298_5, -0.026_866_170_645_129_84, 0.112_837_916_709_551_2,
        -0.376_126_389_031_837_54, 0.128_379_167_095_512_6,
    ];
    const ERF_REST: &'static [f64] = &[
        -6.264_438_940_942_782e-16, 4.578_795_595_541_209_4e-14, -1.566_967_163_591_863_8e-12,
        3.330_721_309_694_670_5e-11, -4.914_333_956_897_232e-10, 5.319_672_808_966_318e-9,
        -4.340_360_531_811_916_4e-8, 2.682_015_112_121_963_7e-7, -1.222_295_228_571_198_8e-6,
        3.668_123_833_654_284_7e-6, -3.073_155_708_638_941e-6, -3.887_825_890_425_097_3e-5,
        0.000_272_204_263_924_688_27, -0.001_018_821_506_441_272_6, 0.002_265_823_775_984_732,
        -0.000_791_133_761_871_425_6, -0.018_677_217_264_131_414, 0.102_515_283_245_686_55,
        0.636_721_583_845_068_7, 1.128_354_211_068_900_2, 2.852_194_260_871_575_2e-6,
    ];
    const TURNS: f64 = std::f64::consts::FRAC_1_PI / 2.0;
    const HALF_TURN: f64 = std::f64::consts::PI;
    const SIN_SERIES: &'static [f64] = &[
        1.0 / 15_511_210_043_330_985_984_000_000.0, -1.0 / 25_852_016_738_884_976_640_000.0,
        1.0 / 51_090_942_171_709_440_000.0, -1.0 / 121_645_100_408_832_000.0, 1.0 / 355_687_428_096_000.0,
        -1.0 / 1_307_674_368_000.0, 1.0 / 6_227_020_800.0, -1.0 / 39_916_800.0, 1.0 / 362_880.0, -1.0 / 5_040.0,
        1.0 / 120.0, -1.0 / 6.0, 1.0,
    ];
    const COS_SERIES: &'static [f64] = &[
        -1.0 / 403_291_461_126_605_635_584_000_000.0, 1.0 / 620_448_401_733_239_439_360_000.0,
        -1.0 / 1_124_000_727_777_607_680_000.0, 1.0 / 2_432_902_008_176_640_000.0, -1.0 / 6_402_373_705_728_000.0,
        1.0 / 20_922_789_888_000.0, -1.0 / 87_178_291_200.0, 1.0 / 479_001_600.0, -1.0 / 3_628_800.0, 1.0 / 40_320.0,
        -1.0 / 720.0, 1.0 / 24.0, -1.0 / 2.0, 1.0,
    ];
    const LOG_SERIES: &'static [f64] = &[
        2.0 / 23.0, 2.0 / 21.0, 2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0,
        2.0 / 5.0, 2.0 / 3.0,
    ];

    #[inline(always)]
    fn fma(self, factor: f64, addend: f64) -> f64 {
        fma::fma64(self, factor, addend)
    }
}

/// A row of logits prepared for softmax: its maximum and `Σ e^(z − max)`, summed in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxRow<T> {
    /// The first largest logit.
    pub max: T,
    /// The index of that logit, which is the predicted class.
    pub argmax: usize,
    /// `Σ_j e^(z_j − max)`.
    pub sum: T,
}

impl<T: Real> SoftmaxRow<T> {
    /// Reads a row of logits and writes `e^(z − max)` to `exponentials`, which has the same length. Both can be stored
    /// in another type `S` for the same numbers.
    ///
    /// ```
    /// use syva_core::arithmetic::SoftmaxRow;
    /// let mut exponentials = [0.0; 3];
    /// let row = SoftmaxRow::<f32>::new(&[1.0, 3.0, 2.0], &mut exponentials);
    /// assert_eq!(row.argmax, 1);
    /// assert_eq!(exponentials[1] / row.sum, 1.0 / row.sum); // the winner's probability
    /// ```
    #[inline(always)]
    pub fn new<S: Copy + From<T>>(logits: &[S], exponentials: &mut [S]) -> Self
    where
        T: From<S>,
    {
        let (mut max, mut argmax) = (T::from(logits[0]), 0);
        for (j, &z) in logits.iter().enumerate().skip(1) {
            if T::from(z) > max {
                (max, argmax) = (z.into(), j);
            }
        }
        for (e, &z) in exponentials.iter_mut().zip(logits) {
            *e = (T::from(z) - max).exp().into();
        }
        let mut sum = T::ZERO;
        for &e in exponentials.iter() {
            sum = sum + e.into();
        }
        Self { max, argmax, sum }
    }

    /// Cross-entropy of the class with logit `z`: `ln(sum) − (z − max)` (`torch.nn.CrossEntropyLoss`).
    #[inline(always)]
    pub fn cross_entropy(&self, z: T) -> T {
        crate::ops::cross_entropy(self.sum, z, self.max)
    }

    /// Log-probability of the class with logit `z`: `(z − max) − ln(sum)` (`torch.nn.LogSoftmax`).
    /// Its negative is [`cross_entropy`](Self::cross_entropy) to the bit.
    #[inline(always)]
    pub fn log_probability(&self, z: T) -> T {
        crate::ops::log_probability(self.sum, z, self.max)
    }
}

/// Binary cross-entropy of a logit `z` against a label 0 or 1: `(max(z, 0) − z·y) + log1p(e^−|z|)`
/// (`torch.nn.BCEWithLogitsLoss`).
#[inline(always)]
pub fn binary_cross_entropy<T: Number>(z: T, y: T) -> T {
    (z.relu() - z * y) + (-z.magnitude()).exp().log_1p()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the target's functions are near enough to judge errors by")]
mod tests {
    use super::*;

    /// The largest error of `ours` (in ulp of f32) over all exponents, compared with `truth` in f64.
    fn worst_ulp(low: f32, high: f32, ours: fn(f32) -> f32, truth: fn(f64) -> f64) -> f64 {
        let (a, b) = (low.to_bits(), high.to_bits());
        let mut worst: f64 = 0.0;
        for bits in (a..=b).step_by(997) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let (y, t) = (f64::from(ours(x)), truth(f64::from(x)));
                let ulp = f64::from((t as f32).abs().next_up() - (t as f32).abs());
                if ulp.is_finite() && ulp > 0.0 && !t.is_nan() {
                    worst = worst.max((y - t).abs() / ulp);
                }
            }
        }
        worst
    }

    #[test]
    fn functions_are_accurate_over_their_whole_range() {
        assert!(worst_ulp(1e-30, 88.0, Number::exp, f64::exp) <= 1.0);
        assert!(worst_ulp(1e-45, 3e38, Number::log, f64::ln) <= 2.0);
        assert!(worst_ulp(1e-30, 80.0, Number::sigmoid, |x| 1.0 / (1.0 + f64::exp(-x))) <= 2.5);
        assert!(worst_ulp(1e-30, 1e30, Number::tanh, f64::tanh) <= 3.0);
        assert!(worst_ulp(1e-30, 80.0, Number::exp_m1, f64::exp_m1) <= 2.5);
        assert!(worst_ulp(1e-30, 1e6, |x| Number::log_1p(x.abs()), |x| x.abs().ln_1p()) <= 4.0);
        for i in -20_000..20_000 {
            let x = i as f32 * 0.000_317;
            let (cos, sin) = x.of_turns();
            let angle = 2.0 * std::f64::consts::PI * f64::from(x);
            assert!((f64::from(cos) - angle.cos()).abs() < 1e-6 && (f64::from(sin) - angle.sin()).abs() < 1e-6, "{x}");
            let (cos, sin) = f64::from(x).of_turns();
            assert!((cos - angle.cos()).abs() < 2e-14 && (sin - angle.sin()).abs() < 2e-14, "{x}: {cos} {sin}");
        }
        for i in -2000..2000 {
            let x = f64::from(i) * 0.0173;
            for (ours, truth) in [
                (Number::exp(x), x.exp()),
                (Number::tanh(x), x.tanh()),
                (Number::log(x.abs() + 1e-9), (x.abs() + 1e-9).ln()),
                (Number::log_1p(x.abs() * 1e-3), (x.abs() * 1e-3).ln_1p()),
            ] {
                assert!((ours - truth).abs() <= 2e-15 * (truth.abs() + 1e-300), "{x}: {ours} {truth}");
            }
        }
    }

    #[test]
    fn edges_are_exact() {
        let max = f32::MAX.ln();
        assert_eq!(Number::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Number::exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(Number::exp(max + 0.01), f32::INFINITY);
        assert!(Number::exp(f32::NAN).is_nan());
        assert_eq!(Number::exp(-103.0_f32), (-103.0_f64).exp() as f32, "a subnormal is rounded once");
        assert_eq!(Number::exp(0.0_f32), 1.0);
        assert_eq!(Number::log(1.0_f32), 0.0);
        assert_eq!(Number::log(0.0_f32), f32::NEG_INFINITY);
        assert_eq!(Number::log(f32::INFINITY), f32::INFINITY);
        assert!(Number::log(-1.0_f32).is_nan() && Number::log(f32::NAN).is_nan());
        assert_eq!(Number::sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(Number::sigmoid(f32::INFINITY), 1.0);
        assert_eq!(Number::tanh(-0.0_f32).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(Number::tanh(f32::INFINITY), 1.0);
        assert!(Number::tanh(f32::NAN).is_nan() && Number::sigmoid(f32::NAN).is_nan());
        assert_eq!(binary_cross_entropy(200.0_f32, 1.0), 0.0);
        assert_eq!(binary_cross_entropy(-200.0_f32, 1.0), 200.0);
    }

    /// Compares the bits themselves, so that a change of compiler or machine does not go unnoticed.
    #[test]
    fn bits_are_pinned() {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for bits in (0..u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            for y in [Number::exp(x), Number::log(x), Number::sigmoid(x), Number::tanh(x), binary_cross_entropy(x, 1.0)]
            {
                hash.update(if y.is_nan() { f32::NAN } else { y }.to_bits().to_le_bytes());
            }
        }
        assert_eq!(&crate::state::hex(&hash.finalize())[..16], "0a809016f80e3346");
    }

    #[test]
    fn log_probability_is_minus_cross_entropy() {
        let mut e = [0.0; 4];
        for logits in [[0.1_f32, -3.0, 7.5, 7.49], [0.0; 4], [-1e4, 1e4, 3.0, 2.0]] {
            let row = SoftmaxRow::<f32>::new(&logits, &mut e);
            for z in logits {
                assert_eq!((-row.log_probability(z)).to_bits() << 1, row.cross_entropy(z).to_bits() << 1);
            }
        }
    }
}
