//! Muon: the update of a hidden layer's weights is an orthogonalised momentum.

use std::fmt;
use std::str::FromStr;

use crate::arithmetic::Number;
use crate::names::named_parameter;
use crate::spec::names;
use crate::{Error, Result};

/// By what Muon's step is multiplied, so that matrices of all shapes learn alike (`adjust_lr_fn` of `torch.optim.Muon`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// √max(1, units/fan_in) (Jordan et al. 2024).
    Original,
    /// 0.2 · √max(units, fan_in), which makes steps as long as AdamW's, so that one learning rate suits both (Liu et al. 2025,
    /// "Muon is scalable for LLM training").
    MatchRmsAdamW,
}

names!(Adjust, "adjust", Original = "original", MatchRmsAdamW = "match-rms-adamw");
named_parameter!(Adjust);

impl Adjust {
    /// The factor for the weights `[units, fan_in]`.
    #[must_use]
    pub fn factor(self, units: usize, fan_in: usize) -> f64 {
        let (units, fan_in) = (units as f64, fan_in as f64);
        match self {
            Self::Original => (units / fan_in).max(1.0).sqrt(),
            Self::MatchRmsAdamW => 0.2 * units.max(fan_in).sqrt(),
        }
    }
}

/// What Muon does to the gradient of a hidden layer's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// The share of the momentum that stays.
    pub momentum: f32,
    /// Whether the step looks ahead along the new momentum.
    pub nesterov: bool,
    /// Steps of the Newton-Schulz iteration.
    pub steps: u32,
}

impl Muon {
    /// The coefficients of an iteration, Y ← aY + Y(bA + cA²) with A = YᵀY.
    pub const COEFFICIENTS: [f32; 3] = [3.4445, -4.775, 2.0315];
    /// The least norm that a matrix is divided by.
    pub const LEAST_NORM: f32 = 1e-7;

    /// The new momentum of a weight and what its matrix's step is made of, from the gradient and the momentum.
    #[inline(always)]
    #[must_use]
    pub fn direct<N: Number>(nesterov: bool, momentum: N, g: N, buffer: N) -> (N, N) {
        let buffer = (N::ONE - momentum).fma(g - buffer, buffer);
        (buffer, if nesterov { momentum.fma(buffer - g, g) } else { buffer })
    }

    /// An element of bA + cA², from those of A and of A².
    #[inline(always)]
    #[must_use]
    pub fn combine<N: Number>(a: N, square: N) -> N {
        let [_, linear, quadratic] = Self::COEFFICIENTS.map(|value| N::from_f64(f64::from(value)));
        linear.fma(a, quadratic * square)
    }

    /// An element of the next Y, from those of Y and of Y(bA + cA²).
    #[inline(always)]
    #[must_use]
    pub fn advance<N: Number>(y: N, product: N) -> N {
        N::from_f64(f64::from(Self::COEFFICIENTS[0])).fma(y, product)
    }
}
