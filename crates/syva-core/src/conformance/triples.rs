//! Factors and addends for which a multiply-add gives other bits if it rounds twice, or not as IEEE 754 requires.

use crate::arithmetic::Real;
use crate::random::Random;

/// A floating-point type and its bits.
pub(crate) trait Format: Real {
    /// The number of bits behind the leading one.
    const FRACTION: u32;
    /// The bias of the exponent.
    const BIAS: i32;
    /// The number with these bits.
    fn of(bits: u64) -> Self;
    /// The bits of the number.
    fn bits(self) -> u64;
}

impl Format for f32 {
    const FRACTION: u32 = 23;
    const BIAS: i32 = 127;
    fn of(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Format for f64 {
    const FRACTION: u32 = 52;
    const BIAS: i32 = 1023;
    fn of(bits: u64) -> Self {
        Self::from_bits(bits)
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// What makes a triple (a, b, c) difficult for `a · b + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nasty {
    /// Nothing: random bits.
    Any,
    /// Nothing: numbers of the size that training has.
    Trained,
    /// The product is about an odd number of halves of the smallest number, and the sum is subnormal or nearly so.
    Subnormal,
    /// The sum cancels some or all of the product's leading digits.
    Cancelling,
    /// The sum is halfway between two numbers, except for a last digit very far behind.
    Halfway,
    /// The sum is about the largest number.
    Overflowing,
    /// Zeros of both signs, the smallest and the largest numbers, ones.
    Edges,
    /// The same, and also infinities and NaN.
    NotFinite,
}

impl Nasty {
    pub(crate) const ALL: [Self; 8] = [
        Self::Any,
        Self::Trained,
        Self::Subnormal,
        Self::Cancelling,
        Self::Halfway,
        Self::Overflowing,
        Self::Edges,
        Self::NotFinite,
    ];

    /// Draws a triple.
    pub(crate) fn triple<T: Format>(self, random: &mut Random) -> [T; 3] {
        let mut draw = Draw(random);
        match self {
            Self::Any => [(); 3].map(|()| T::of(draw.word())),
            Self::Trained => [(); 3].map(|()| draw.trained()),
            Self::Subnormal => draw.subnormal(),
            Self::Cancelling => {
                let (a, b): (T, T) = (draw.trained(), draw.trained());
                let off = draw.below(4) as u64;
                [a, b, T::of((-(a * b)).bits() ^ off)]
            }
            Self::Halfway => draw.halfway(),
            Self::Overflowing => {
                let half = draw.below(3) as i32 + T::BIAS / 2;
                let rest = draw.below(2) as i32 + T::BIAS - 1 - half;
                let addend = T::BIAS - [0, 0, 1, T::FRACTION as i32][draw.below(4)];
                [half, rest, addend].map(|exponent| draw.scaled(exponent))
            }
            Self::Edges => [(); 3].map(|()| draw.edge(9)),
            Self::NotFinite => [(); 3].map(|()| draw.edge(11)),
        }
    }
}

struct Draw<'a>(&'a mut Random);

impl Draw<'_> {
    fn word(&mut self) -> u64 {
        u64::from(self.0.next_u32()) << 32 | u64::from(self.0.next_u32())
    }

    fn below(&mut self, n: u64) -> usize {
        self.0.below(n) as usize
    }

    fn signed<T: Real>(&mut self, value: T) -> T {
        if self.below(2) == 0 { value } else { -value }
    }

    /// A number of either sign, whose magnitude is between 2^exponent and twice that.
    fn scaled<T: Format>(&mut self, exponent: i32) -> T {
        let fraction = self.word() & ((1 << T::FRACTION) - 1);
        let value = T::of(power::<T>(exponent).bits() | fraction);
        self.signed(value)
    }

    fn trained<T: Format>(&mut self) -> T {
        let exponent = -(self.below(12) as i32);
        self.scaled(exponent)
    }

    fn subnormal<T: Format>(&mut self) -> [T; 3] {
        // An odd number of halves of the smallest number.
        let kept = 1 + self.below(u64::from(T::FRACTION) + 1) as u32;
        let halves = T::from_f64(((self.word() >> (64 - kept)) | 1) as f64);
        let exponent = -T::BIAS - T::FRACTION as i32;
        let b = if self.below(4) == 0 { T::ONE } else { self.scaled(0) };
        let a = halves / b * power(exponent / 2);
        let c = T::of(self.word() & ((1 << (T::FRACTION + [0, 0, 0, 1][self.below(4)])) - 1));
        [self.signed(a), b * power(exponent - exponent / 2), self.signed(c)]
    }

    fn halfway<T: Format>(&mut self) -> [T; 3] {
        let exponent = self.below(120) as i32 - 60;
        let last = power::<T>(-(T::FRACTION as i32));
        // The product is half a last place of c, times 1 − i² last²; or 1 + i² last² + 2i · last; or 1.
        let i = T::from_f64(self.below(9) as f64) * last;
        let a = T::ONE + i;
        let b = if self.below(4) == 0 { T::ONE + i } else { T::ONE - i };
        let half = power(exponent - T::FRACTION as i32 - 1);
        [self.signed(a), b * half, self.scaled(exponent)]
    }

    /// One of the first `kinds` of the numbers below, of either sign.
    fn edge<T: Format>(&mut self, kinds: u64) -> T {
        let (normal, _, _) = T::SUBNORMAL;
        let infinity = T::INFINITY.bits();
        let value = match self.below(kinds) {
            0 | 1 => T::ZERO,
            2 => T::of(1),
            3 => T::of(normal.bits() - 1),
            4 => normal,
            5 => T::of(infinity - 1),
            6 => T::ONE,
            7 => T::of(T::ONE.bits() + 1),
            8 => T::TWO,
            9 => T::INFINITY,
            _ => T::NAN,
        };
        self.signed(value)
    }
}

/// 2^exponent, which must be a normal number.
fn power<T: Format>(exponent: i32) -> T {
    T::of(((exponent + T::BIAS) as u64) << T::FRACTION)
}
