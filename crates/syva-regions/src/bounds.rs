//! How many linear regions networks of a shape can have.
//!
//! Sources: T. Zaslavsky, Facing up to arrangements (1975); G. Montúfar, R. Pascanu, K. Cho, Y. Bengio, On the number of
//! linear regions of deep neural networks (2014); G. Montúfar, Notes on the number of linear regions of deep neural
//! networks (2017); T. Serra, C. Tjandraatmadja, S. Ramalingam, Bounding and counting linear regions of deep neural
//! networks (2018).

use num_bigint::BigUint;
use num_traits::{One, Zero};

use crate::network::{Layer, Network};

/// What is known of the largest number of linear regions that ReLU networks of a shape have, over all weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// There are weights with so many regions.
    pub lower: BigUint,
    /// No weights give more.
    pub upper: BigUint,
}

impl Bounds {
    /// Of networks with so many inputs, hidden layers of such widths of ReLU units, and one output or more. Without hidden
    /// layers, there is one region.
    ///
    /// ```
    /// let bounds = syva_regions::Bounds::relu(2, &[10, 10, 10]);
    /// assert_eq!((bounds.lower, bounds.upper), (72_576u32.into(), 175_616u32.into()));
    /// let deep = syva_regions::Bounds::relu(1, &[10; 5]);
    /// assert_eq!((&deep.lower, &deep.upper), (&161_051u32.into(), &161_051u32.into())); // exact
    /// ```
    #[must_use]
    pub fn relu(inputs: usize, hidden: &[usize]) -> Self {
        let upper = serra(inputs, hidden).min(montufar(inputs, hidden));
        let lower = match hidden {
            [] => BigUint::one(),
            &[units] => zaslavsky(inputs, units),
            // Serra et al. show for one input that the product is attained.
            _ if inputs == 1 => hidden.iter().map(|&units| BigUint::from(units + 1)).product(),
            &[ref before @ .., last] => folded(inputs, before, last),
        };
        Self { lower: lower.min(upper.clone()), upper }
    }
}

impl Network {
    /// What is known of the largest number of regions that a network with these widths and activations has on such a slice.
    /// A lower bound is known for ReLU alone; for others, it is 1.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let hidden: Vec<usize> = self.hidden().collect();
        let layers = &self.layers[..hidden.len()];
        let is_relu = layers.iter().all(Layer::is_relu);
        if is_relu && self.layers.last().is_none_or(|last| last.bends.is_empty()) {
            return Bounds::relu(self.dimensions, &hidden);
        }
        let mut narrowest = self.dimensions;
        let layer = |layer: &Layer| {
            narrowest = narrowest.min(layer.units);
            zaslavsky(narrowest, layer.units * layer.bends.len())
        };
        Bounds { lower: BigUint::one(), upper: self.layers.iter().map(layer).product() }
    }
}

/// The regions into which so many hyperplanes in general position cut a space of so many dimensions: exactly what one
/// hidden layer of ReLU units has at most. `Σ C(units, j)` over `j ≤ inputs` (Zaslavsky).
///
/// ```
/// assert_eq!(syva_regions::zaslavsky(2, 3), 7u32.into());
/// assert_eq!(syva_regions::zaslavsky(10, 8), 256u32.into());
/// ```
#[must_use]
pub fn zaslavsky(inputs: usize, units: usize) -> BigUint {
    binomials(units, inputs).into_iter().sum()
}

/// `C(n, 0), …, C(n, most)`, as far as they are not 0.
fn binomials(n: usize, most: usize) -> Vec<BigUint> {
    let mut all = vec![BigUint::one()];
    for j in 1..=most.min(n) {
        all.push(&all[j - 1] * (n - j + 1) / j);
    }
    all
}

/// The upper bound of Montúfar (2017): a layer cuts a space of as many dimensions as the narrowest layer before it has.
fn montufar(inputs: usize, hidden: &[usize]) -> BigUint {
    let mut narrowest = inputs;
    let layer = |&units: &usize| {
        narrowest = narrowest.min(units);
        zaslavsky(narrowest, units)
    };
    hidden.iter().map(layer).product()
}

/// The upper bound of Serra et al. (2018): where `j` of a layer's units are active, no more than `j` dimensions go on.
fn serra(inputs: usize, hidden: &[usize]) -> BigUint {
    // Of what is left of the layers: the regions within a space of each dimension up to the number of inputs.
    let mut within = vec![BigUint::one(); inputs + 1];
    for &units in hidden.iter().rev() {
        within = (0..=inputs)
            .map(|rank| {
                let of = |(j, choices): (usize, BigUint)| choices * &within[rank.min(units - j)];
                binomials(units, rank.min(units)).into_iter().enumerate().map(of).fold(BigUint::zero(), |a, b| a + b)
            })
            .collect();
    }
    within.swap_remove(inputs)
}

/// The lower bounds: networks whose layers fold the space onto itself.
fn folded(inputs: usize, before: &[usize], last: usize) -> BigUint {
    let narrowest = before.iter().copied().min().unwrap_or(0).min(last);
    let power = |folds: usize| BigUint::from(folds).pow(u32::try_from(inputs).unwrap_or(u32::MAX));
    if narrowest >= 3 * inputs {
        // Serra et al. (2018).
        before.iter().map(|&units| power(units / inputs + 1)).product::<BigUint>() * zaslavsky(inputs, last)
    } else if narrowest >= inputs {
        // Montúfar et al. (2014).
        before.iter().map(|&units| power(units / inputs)).product::<BigUint>() * zaslavsky(inputs, last)
    } else {
        BigUint::one()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        assert_eq!(zaslavsky(10, 50), 13_432_735_556u64.into());
        assert!(zaslavsky(100, 500).to_string().starts_with("2716") && zaslavsky(100, 500).to_string().len() == 108);
        // Understanding Deep Learning, figure 4.7b, and its problem on 286 parameters.
        let deep = Bounds::relu(10, &[50; 5]);
        assert!(deep.lower.to_string().starts_with("1795") && deep.lower.to_string().len() == 42);
        assert!(deep.upper.to_string().starts_with("437") && deep.upper.to_string().len() == 51);
        assert_eq!(Bounds::relu(1, &[95]).upper, 96u32.into());
        assert_eq!(Bounds::relu(1, &[5; 10]).lower, 60_466_176u32.into());
        assert_eq!(Bounds::relu(3, &[]), Bounds { lower: 1u32.into(), upper: 1u32.into() });
    }

    #[test]
    fn bounds_are_in_order() {
        for inputs in 1..5 {
            for first in 0..6 {
                for second in 0..6 {
                    let bounds = Bounds::relu(inputs, &[first, second]);
                    assert!(bounds.lower <= bounds.upper, "{inputs}, {first}, {second}");
                }
            }
        }
    }
}
