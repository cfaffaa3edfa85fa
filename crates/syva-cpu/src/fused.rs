//! A variant of `f32` for code that is compiled for FMA.

use std::ops::{Add, Div, Mul, Neg, Sub};

use syva_core::arithmetic::{Number, Real};

/// An `f32` whose fused multiply-add is the processor's instruction, if the code that it is inlined into is compiled
/// for FMA. A plain `f32` cannot know what it is inlined into, so its own fused multiply-add does without the
/// instruction. In everything else this is an `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub(crate) struct Fused(f32);

impl From<f32> for Fused {
    #[inline(always)]
    fn from(value: f32) -> Self {
        Self(value)
    }
}

impl From<Fused> for f32 {
    #[inline(always)]
    fn from(value: Fused) -> Self {
        value.0
    }
}

impl Neg for Fused {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

macro_rules! operators {
    ($($operator:ident $name:ident),*) => { $(
        impl $operator for Fused {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                Self(self.0.$name(other.0))
            }
        }
    )* };
}
operators!(Add add, Sub sub, Mul mul, Div div);

/// The same numbers as `Fused`.
const fn each<const N: usize>(values: &[f32]) -> [Fused; N] {
    let mut each = [Fused(0.0); N];
    let mut i = 0;
    while i < N {
        each[i] = Fused(values[i]);
        i += 1;
    }
    each
}

impl Number for Fused {
    type Truth = bool;
    const ZERO: Self = Self(f32::ZERO);
    const ONE: Self = Self(f32::ONE);
    const TWO: Self = Self(f32::TWO);
    const INFINITY: Self = Self(f32::INFINITY);
    const NAN: Self = Self(f32::NAN);
    const LOG2_E: Self = Self(f32::LOG2_E);
    const LN_2_HIGH: Self = Self(f32::LN_2_HIGH);
    const LN_2_LOW: Self = Self(f32::LN_2_LOW);
    const ROUNDER: Self = Self(f32::ROUNDER);
    const EXP_RANGE: (Self, Self) = (Self(f32::EXP_RANGE.0), Self(f32::EXP_RANGE.1));
    const TANH_LIMIT: Self = Self(f32::TANH_LIMIT);
    const EXP_SERIES: &'static [Self] = &each::<{ f32::EXP_SERIES.len() }>(f32::EXP_SERIES);
    const LOG_SERIES: &'static [Self] = &each::<{ f32::LOG_SERIES.len() }>(f32::LOG_SERIES);
    const ERF_LIMIT: Self = Self(f32::ERF_LIMIT);
    const ERF_SERIES: &'static [Self] = &each::<{ f32::ERF_SERIES.len() }>(f32::ERF_SERIES);
    const ERF_REST: &'static [Self] = &each::<{ f32::ERF_REST.len() }>(f32::ERF_REST);
    const TURNS: Self = Self(f32::TURNS);
    const HALF_TURN: Self = Self(f32::HALF_TURN);
    const SIN_SERIES: &'static [Self] = &each::<{ f32::SIN_SERIES.len() }>(f32::SIN_SERIES);
    const COS_SERIES: &'static [Self] = &each::<{ f32::COS_SERIES.len() }>(f32::COS_SERIES);
    const SUBNORMAL: (Self, Self, Self) = (Self(f32::SUBNORMAL.0), Self(f32::SUBNORMAL.1), Self(f32::SUBNORMAL.2));

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        Self(value as f32)
    }
    #[inline(always)]
    fn fma(self, factor: Self, addend: Self) -> Self {
        #[expect(clippy::disallowed_methods, reason = "only kernels that are compiled for FMA use this type")]
        Self(self.0.mul_add(factor.0, addend.0))
    }
    #[inline(always)]
    fn square_root(self) -> Self {
        Self(self.0.square_root())
    }
    #[inline(always)]
    fn above(self, other: Self) -> bool {
        self.0.above(other.0)
    }
    #[inline(always)]
    fn equals(self, other: Self) -> bool {
        self.0.equals(other.0)
    }
    #[inline(always)]
    fn select(which: bool, yes: Self, no: Self) -> Self {
        Self(f32::select(which, yes.0, no.0))
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        Self(self.0.magnitude())
    }
    #[inline(always)]
    fn with_sign_of(self, sign: Self) -> Self {
        Self(self.0.with_sign_of(sign.0))
    }
    #[inline(always)]
    fn powers_of_two(rounded: Self) -> (Self, Self) {
        let (a, b) = f32::powers_of_two(rounded.0);
        (Self(a), Self(b))
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let (m, e) = self.0.split();
        (Self(m), Self(e))
    }
}

impl Real for Fused {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self.0)
    }
}
