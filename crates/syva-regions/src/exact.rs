//! Exact numbers: integers without limit, and fractions whose denominators are powers of two, which is what floats are.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

/// `mantissa · 2^exponent`. Sums and products of floats are such numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dyadic {
    mantissa: BigInt,
    exponent: i32,
}

impl Dyadic {
    /// A finite float as it is.
    pub fn of(value: f64) -> Self {
        debug_assert!(value.is_finite());
        let bits = value.to_bits();
        let (field, fraction) = ((bits >> 52 & 0x7ff) as i32, (bits & ((1 << 52) - 1)) as i64);
        let (mantissa, exponent) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
        // Without the zeros at the end, so that numbers stay short.
        let zeros = if mantissa == 0 { 0 } else { mantissa.trailing_zeros() };
        let mantissa = if value.is_sign_negative() { -(mantissa >> zeros) } else { mantissa >> zeros };
        Self { mantissa: mantissa.into(), exponent: if mantissa == 0 { 0 } else { exponent + zeros as i32 } }
    }

    pub fn integer(value: i64) -> Self {
        Self { mantissa: value.into(), exponent: 0 }
    }

    pub fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { mantissa: self.above(exponent) + other.above(exponent), exponent }
    }

    pub fn subtract(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { mantissa: self.above(exponent) - other.above(exponent), exponent }
    }

    pub fn multiply(&self, other: &Self) -> Self {
        Self { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent }
    }

    /// The mantissa for another exponent, which is not above this number's.
    fn above(&self, exponent: i32) -> BigInt {
        &self.mantissa << (self.exponent - exponent)
    }

    /// How many binary digits it has after the point, at most.
    pub fn places(&self) -> u32 {
        if self.mantissa.is_zero() { 0 } else { (-self.exponent).max(0) as u32 }
    }

    /// The number times `2^places`, which is to be an integer.
    pub fn scaled(&self, places: u32) -> BigInt {
        if self.mantissa.is_zero() { BigInt::ZERO } else { &self.mantissa << (self.exponent + places as i32) }
    }

    /// The nearest f64, within two units of its last place.
    pub fn to_f64(&self) -> f64 {
        if self.exponent >= 0 {
            return (&self.mantissa << self.exponent).to_f64().unwrap_or(f64::NAN);
        }
        quotient(&self.mantissa, &(BigInt::from(1) << -self.exponent))
    }
}

/// `a / b` as f64, within two units of its last place. It is 0 only if `a` is 0, and has its sign, so that signs can be
/// read from it.
pub(crate) fn quotient(a: &BigInt, b: &BigInt) -> f64 {
    if a.is_zero() {
        return 0.0;
    }
    // So that the quotient of integers has 65 to 67 digits.
    let shift = 66 - (a.bits() as i64 - b.bits() as i64);
    let quotient = if shift >= 0 { (a << shift) / b } else { a / (b << -shift) };
    // In two steps, since 2^-shift alone may not be a float.
    let half = (-shift / 2) as i32;
    let value = quotient.to_f64().unwrap_or(f64::NAN) * 2f64.powi(half) * 2f64.powi((-shift) as i32 - half);
    if value == 0.0 {
        f64::from_bits(1).copysign(if a.is_negative() == b.is_negative() { 1.0 } else { -1.0 })
    } else {
        value
    }
}

/// How many binary digits numbers have after the point, at most: times two to that power, all are integers.
pub(crate) fn most_places(numbers: &[&Dyadic]) -> u32 {
    numbers.iter().map(|number| number.places()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_taken_as_they_are() {
        for value in
            [0.0, -0.0, 1.0, -2.5, 0.1, f64::MIN_POSITIVE, f64::from_bits(1), -1e300, f64::from(f32::from_bits(1))]
        {
            assert_eq!(Dyadic::of(value).to_f64(), value);
        }
    }

    #[test]
    fn sums_and_products_are_exact() {
        let (a, b) = (Dyadic::of(1e-30), Dyadic::of(-1e30));
        assert_eq!(
            a.add(&b).subtract(&b),
            Dyadic { exponent: a.add(&b).exponent, mantissa: a.scaled(a.add(&b).places()) }
        );
        assert_eq!(a.multiply(&b).to_f64(), -1.0);
        assert_eq!(Dyadic::of(0.5).multiply(&Dyadic::of(-6.0)).scaled(3), BigInt::from(-24));
    }

    #[test]
    fn quotients_have_the_sign_and_the_size() {
        let big = |value: i64, shift: u32| BigInt::from(value) << shift;
        assert_eq!(quotient(&BigInt::from(-1), &BigInt::from(3)), -1.0 / 3.0);
        assert_eq!(quotient(&big(7, 5000), &big(2, 5000)), 3.5);
        assert_eq!(quotient(&big(-7, 0), &big(2, 5000)), -f64::from_bits(1));
        assert_eq!(quotient(&big(7, 5000), &big(2, 0)), f64::INFINITY);
        assert_eq!(quotient(&BigInt::ZERO, &big(2, 0)), 0.0);
    }
}
