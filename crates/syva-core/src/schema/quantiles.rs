//! Distributions by their quantiles, mapped to the normal distribution and back.

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;

/// The quantiles of some numbers, at equal distances of probability from 0 to 1
/// (`sklearn.preprocessing.QuantileTransformer`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles(Vec<f64>);

/// The most quantiles that are kept.
const MOST: usize = 1000;

impl Quantiles {
    /// The probability at which the normal quantile is cut, below and above.
    #[doc(hidden)]
    pub const EDGE: f64 = 1e-7;
    /// The coefficients of the normal quantile, for programs that are made of it.
    #[doc(hidden)]
    pub const NORMAL: [[f64; 8]; 4] = [A, B, C, D];

    /// The quantiles, ascending.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The quantiles of numbers, of which there is at least one and none is NaN. Sorts them.
    pub(crate) fn of(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len().clamp(2, MOST);
        Self((0..count).map(|k| sorted_quantile(values, k as f64 / (count - 1) as f64)).collect())
    }

    /// Whether they can be those of numbers.
    pub(crate) fn is_valid(&self) -> bool {
        self.0.len() >= 2 && self.0.iter().all(|q| q.is_finite()) && self.0.is_sorted()
    }

    /// The share of the distribution that is below a number: the mean of the share from below and from above, which differ
    /// where many numbers are the same.
    fn rank(&self, x: f64) -> f64 {
        let (q, last) = (&self.0, self.0.len() - 1);
        if x <= q[0] && x < q[last] {
            return 0.0;
        }
        if x >= q[last] && x > q[0] {
            return 1.0;
        }
        // The places of the first quantile that is not below x, and of the last that is not above it.
        let (low, high) = (q.partition_point(|&value| value < x), q.partition_point(|&value| value <= x));
        let place = if low < high {
            // x is itself a quantile, or several.
            0.5 * (low as f64 + (high - 1) as f64)
        } else {
            let (a, b) = (q[low - 1], q[low]);
            (low - 1) as f64 + (x - a) / (b - a)
        };
        place / last as f64
    }

    /// The normal quantile of a number's rank.
    #[must_use]
    pub fn to_normal(&self, x: f64) -> f64 {
        normal_quantile(self.rank(x).clamp(Self::EDGE, 1.0 - Self::EDGE))
    }

    /// The number whose rank has this normal quantile.
    #[must_use]
    pub fn from_normal(&self, z: f64) -> f64 {
        let last = self.0.len() - 1;
        let place = normal_probability(z) * last as f64;
        let below = (place as usize).min(last - 1);
        let (a, b) = (self.0[below], self.0[below + 1]);
        let share = (place - below as f64).clamp(0.0, 1.0);
        a + (b - a) * share
    }
}

/// The quantile of sorted numbers at a probability, interpolated as `numpy.quantile` does.
pub(crate) fn sorted_quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = probability * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (a, b) = (sorted[below], sorted[above]);
    a + (b - a) * (place - below as f64)
}

/// The probability that a standard normal number is below z.
fn normal_probability(z: f64) -> f64 {
    0.5 * (1.0 + Number::erf(z * std::f64::consts::FRAC_1_SQRT_2))
}

/// The coefficients of AS 241, each polynomial from its highest power on: numerator and denominator near the middle, and
/// farther out.
const A: [f64; 8] = [
    2.509_080_928_730_122_7e3,
    3.343_057_558_358_813e4,
    6.726_577_092_700_87e4,
    4.592_195_393_154_987e4,
    1.373_169_376_550_946e4,
    1.971_590_950_306_551_3e3,
    1.331_416_678_917_843_8e2,
    3.387_132_872_796_366_5,
];
const B: [f64; 8] = [
    5.226_495_278_852_854e3,
    2.872_908_573_572_194_3e4,
    3.930_789_580_009_271e4,
    2.121_379_430_158_659_7e4,
    5.394_196_021_424_751e3,
    6.871_870_074_920_579e2,
    4.231_333_070_160_091e1,
    1.0,
];
const C: [f64; 8] = [
    7.745_450_142_783_414e-4,
    2.272_384_498_926_918_4e-2,
    2.417_807_251_774_506e-1,
    1.270_458_252_452_368_4,
    3.647_848_324_763_204_5,
    5.769_497_221_460_691,
    4.630_337_846_156_546,
    1.423_437_110_749_683_5,
];
const D: [f64; 8] = [
    1.050_750_071_644_416_9e-9,
    5.475_938_084_995_345e-4,
    1.519_866_656_361_645_7e-2,
    1.481_039_764_274_800_8e-1,
    6.897_673_349_851e-1,
    1.676_384_830_183_803_8,
    2.053_191_626_637_759,
    1.0,
];

/// The number below which a standard normal number is with probability p, from [`Quantiles::EDGE`] to 1 − that: Wichura's
/// algorithm AS 241 (1988), to about 16 digits.
fn normal_quantile(p: f64) -> f64 {
    let polynomial = |coefficients: &[f64; 8], x: f64| coefficients.iter().fold(0.0, |sum: f64, c| sum * x + c);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&A, r) / polynomial(&B, r);
    }
    let r = (-Number::log(p.min(1.0 - p))).sqrt() - 1.6;
    let z = polynomial(&C, r) / polynomial(&D, r);
    if q < 0.0 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_are_those_of_tables() {
        // scipy.stats.norm.ppf
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.9, 1.281_551_565_544_600_4),
            (0.01, -2.326_347_874_040_841),
            (1e-7, -5.199_337_582_192_817),
            (1.0 - 1e-7, 5.199_337_582_187_471),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-9, "{p}: {}", normal_quantile(p));
            assert!((normal_probability(z) - p).abs() < 1e-13, "{z}: {}", normal_probability(z));
        }
    }

    #[test]
    fn ranks_are_those_of_scikit_learn() {
        // QuantileTransformer(n_quantiles=5, output_distribution="uniform").fit([[1], [1], [1], [2], [10]])
        let quantiles = Quantiles::of(&mut [10.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(quantiles, Quantiles(vec![1.0, 1.0, 1.0, 2.0, 10.0]));
        for (x, rank) in [(0.0, 0.0), (1.5, 0.625), (2.0, 0.75), (6.0, 0.875), (10.0, 1.0), (11.0, 1.0)] {
            assert_eq!(quantiles.rank(x), rank, "{x}");
        }
        for x in [1.25, 2.0, 7.0] {
            let back = quantiles.from_normal(quantiles.to_normal(x));
            assert!((back - x).abs() < 1e-9, "{x}: {back}");
        }
        assert_eq!(quantiles.from_normal(-100.0), 1.0);
        assert_eq!(quantiles.from_normal(100.0), 10.0);
    }

    #[test]
    fn quantiles_are_interpolated() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.25, 0.5, 0.9, 1])
        for (p, q) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((sorted_quantile(&[1.0, 2.0, 4.0, 8.0], p) - q).abs() < 1e-12);
        }
    }
}
