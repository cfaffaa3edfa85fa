//! Networks of different shapes for the same budget: the same number of neurons, or of parameters.
//!
//! The two budgets differ. Neurons grow with depth times width, but parameters (and with them memory and time) grow
//! with depth times width squared. A thousand neurons in two layers of 500 cost far more memory than in five layers of
//! 200.

use crate::{Error, Result};

/// More hidden layers than anyone will train. The limit keeps a typing error from filling the memory.
const MAX_DEPTH: usize = 10_000;

/// The limit of a network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// The total number of hidden units.
    Neurons(usize),
    /// The total number of weights and biases, output layer included.
    Parameters(usize),
}

/// The widths of `depth` hidden layers, all equal and as wide as the budget allows.
///
/// ```
/// use syva_core::budget::{uniform, Budget};
/// assert_eq!(uniform(784, 10, 2, Budget::Neurons(1000))?, [500, 500]);
/// assert_eq!(uniform(784, 10, 5, Budget::Neurons(1000))?, [200; 5]);
/// assert_eq!(uniform(784, 10, 2, Budget::Parameters(235_146))?, [229, 229]);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn uniform(features: usize, outputs: usize, depth: usize, budget: Budget) -> Result<Vec<usize>> {
    widest(features, outputs, depth, budget, |unit| vec![unit; depth])
}

/// The widths of `depth` hidden layers that narrow in equal steps, as wide as the budget allows. The widths D_k are in
/// proportion K, K − 1, … 1.
///
/// ```
/// use syva_core::budget::{funnel, Budget};
/// assert_eq!(funnel(784, 10, 4, Budget::Neurons(1000))?, [400, 300, 200, 100]);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn funnel(features: usize, outputs: usize, depth: usize, budget: Budget) -> Result<Vec<usize>> {
    widest(features, outputs, depth, budget, |unit| (1..=depth).rev().map(|part| part.saturating_mul(unit)).collect())
}

/// The hidden widths of the largest `unit` whose network stays within the budget.
fn widest(
    features: usize,
    outputs: usize,
    depth: usize,
    budget: Budget,
    widths: impl Fn(usize) -> Vec<usize>,
) -> Result<Vec<usize>> {
    let (limit, what) = match budget {
        Budget::Neurons(limit) => (limit, "neurons"),
        Budget::Parameters(limit) => (limit, "parameters"),
    };
    let cost = |unit: usize| -> u128 {
        let widths = widths(unit);
        match budget {
            Budget::Neurons(_) => widths.iter().map(|&width| width as u128).sum(),
            Budget::Parameters(_) => {
                let fan_in = std::iter::once(features).chain(widths.iter().copied());
                let fan_out = widths.iter().copied().chain(std::iter::once(outputs));
                fan_in.zip(fan_out).map(|(i, o)| (i as u128 + 1) * o as u128).sum()
            }
        }
    };
    if depth == 0 {
        return Err(Error::setting("depth", "0 hidden layers have no width", "ask for at least 1"));
    }
    if depth > MAX_DEPTH {
        let problem = format!("{depth} hidden layers are more than {MAX_DEPTH}");
        return Err(Error::setting("depth", problem, "ask for fewer"));
    }
    if cost(1) > limit as u128 {
        let problem = format!("{limit} {what} are too few for {depth} layers, even in the narrowest shape");
        return Err(Error::setting("budget", problem, format!("allow at least {}", cost(1))));
    }
    // The cost grows with `unit` and is at least `unit`, so the answer lies in [1, limit].
    let (mut low, mut high) = (1, limit.min(1 << 31));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if cost(middle) <= limit as u128 { low = middle } else { high = middle - 1 }
    }
    Ok(widths(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Mlp};

    #[test]
    fn the_widest_shape_within_a_parameter_budget_is_found() {
        for (depth, limit) in [(1, 5000), (3, 100_000), (7, 99_999)] {
            let hidden = uniform(784, 10, depth, Budget::Parameters(limit)).unwrap();
            let count = |width| Mlp::new(784).hidden(&vec![width; depth], Activation::Relu).classes(10).parameters();
            assert!(count(hidden[0]) <= limit && count(hidden[0] + 1) > limit);
        }
        assert!(uniform(784, 10, 2, Budget::Parameters(700)).is_err());
        assert!(funnel(784, 10, 0, Budget::Neurons(10)).is_err());
        assert!(uniform(784, 10, usize::MAX, Budget::Neurons(usize::MAX)).is_err());
    }
}
