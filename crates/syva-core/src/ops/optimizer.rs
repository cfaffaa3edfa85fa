//! Optimisers: each one's name, parameters, state, and rule for a single weight.
//!
//! An optimiser is a [`Rule`] and some scalars. The rule is arithmetic on one weight, its gradient, and what the optimiser
//! remembers of it (its slots). Everything that is the same for all weights of a step, such as the learning rate and the
//! corrections of bias, is in the scalars, which the host computes in f64 and rounds once.

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;
use crate::groups::Scale;
use crate::names::{forms, text};
use crate::ops::{Adjust, Muon};
use crate::{Error, Result};

/// How weights are updated from gradients. Definitions and defaults are PyTorch's. The learning rate comes with each step.
///
/// ```
/// use syva_core::Optimizer;
/// let adam: Optimizer = "adam:beta2=0.99".parse()?;
/// assert_eq!(adam, Optimizer::Adam { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.0 });
/// assert_eq!(adam.to_string(), "adam:beta2=0.99");
/// assert_eq!(adam.rule().slots(), ["exp_avg", "exp_avg_sq"]);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent, with momentum if it is above 0 (`torch.optim.SGD`).
    Sgd {
        /// The share of the last direction that stays.
        momentum: f64,
        /// The share of the gradient that does not join the direction.
        dampening: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
        /// Whether the step looks ahead along the new direction (Nesterov's momentum).
        nesterov: bool,
    },
    /// Adam (`torch.optim.Adam`; Kingma and Ba 2014).
    Adam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the root of the mean square.
        eps: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (`torch.optim.AdamW`; Loshchilov and Hutter 2017).
    AdamW {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the root of the mean square.
        eps: f64,
        /// Times the learning rate, the share of the weight that goes.
        weight_decay: f64,
    },
    /// Adam whose mean square never shrinks (`torch.optim.Adam(amsgrad=True)`; Reddi et al. 2018).
    AmsGrad {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the root of the mean square.
        eps: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
    },
    /// Adam with Nesterov's momentum (`torch.optim.NAdam`; Dozat 2016).
    NAdam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the root of the mean square.
        eps: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
        /// How fast the momentum rises to beta1.
        momentum_decay: f64,
    },
    /// Adam whose first steps are without the mean square while its variance is large (`torch.optim.RAdam`; Liu et al.
    /// 2019).
    RAdam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the root of the mean square.
        eps: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
    },
    /// The gradient divided by the root of its mean square (`torch.optim.RMSprop`; Hinton 2012).
    RmsProp {
        /// Decay of the mean square.
        alpha: f64,
        /// Added to the root of the mean square.
        eps: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
        /// The share of the last direction that stays.
        momentum: f64,
        /// Whether the mean gradient is taken off, which makes the mean square a variance.
        centered: bool,
    },
    /// The gradient divided by the root of the sum of its squares (`torch.optim.Adagrad`; Duchi et al. 2011).
    Adagrad {
        /// How fast the learning rate falls.
        lr_decay: f64,
        /// Added to the gradient, times the weight.
        weight_decay: f64,
        /// What the sums of squares begin with.
        initial: f64,
        /// Added to the root of the sum.
        eps: f64,
    },
    /// The sign of the momentum, with decoupled weight decay (Chen et al. 2023, algorithm 2).
    Lion {
        /// Decay of the mean gradient in the step.
        beta1: f64,
        /// Decay of the mean gradient that is kept.
        beta2: f64,
        /// Times the learning rate, the share of the weight that goes.
        weight_decay: f64,
    },
    /// Orthogonalised momentum for the weights of hidden layers, which are neither the first nor the last, and AdamW for
    /// all else (`torch.optim.Muon` with `torch.optim.AdamW`; Jordan et al. 2024). The iteration is in f32, where PyTorch
    /// rounds to bfloat16.
    Muon {
        /// The share of the momentum that stays.
        momentum: f64,
        /// Whether the step looks ahead along the new momentum.
        nesterov: bool,
        /// Steps of the Newton-Schulz iteration.
        steps: u32,
        /// By what the step is multiplied.
        adjust: Adjust,
        /// Times the learning rate, the share of the weight that goes.
        weight_decay: f64,
        /// AdamW's decay of the mean gradient.
        beta1: f64,
        /// AdamW's decay of the mean square.
        beta2: f64,
        /// AdamW's addition to the root of the mean square.
        eps: f64,
    },
}

forms! { Optimizer,
    "sgd" => Sgd { momentum = 0.0, dampening = 0.0, weight_decay = 0.0, nesterov = 0.0 },
    "adam" => Adam { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0 },
    "adamw" => AdamW { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01 },
    "amsgrad" => AmsGrad { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0 },
    "nadam" => NAdam { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0, momentum_decay = 4e-3 },
    "radam" => RAdam { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0 },
    "rmsprop" => RmsProp { alpha = 0.99, eps = 1e-8, weight_decay = 0.0, momentum = 0.0, centered = 0.0 },
    "adagrad" => Adagrad { lr_decay = 0.0, weight_decay = 0.0, initial = 0.0, eps = 1e-10 },
    "lion" => Lion { beta1 = 0.9, beta2 = 0.99, weight_decay = 0.0 },
    "muon" => Muon { momentum = 0.95, nesterov = 1, steps = 5, adjust = "match-rms-adamw", weight_decay = 0.1, beta1 = 0.9,
                     beta2 = 0.999, eps = 1e-8 },
}

/// The most slots of a rule.
pub const SLOTS: usize = 3;
/// The number of scalars.
pub const SCALARS: usize = 9;

/// What a step does to each weight. Engines are compiled for each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Plain gradient descent, w − rate · g.
    Descent,
    /// Gradient descent with weight decay.
    Decay,
    /// Gradient descent with momentum.
    Momentum,
    /// Adam, AdamW and RAdam, which differ in their scalars.
    Adam,
    /// Adam with the largest mean square so far.
    AmsGrad,
    /// Adam with Nesterov's momentum.
    NAdam,
    /// RMSprop.
    RmsProp,
    /// RMSprop with momentum.
    RmsPropMomentum,
    /// Centered RMSprop.
    RmsPropCentered,
    /// Centered RMSprop with momentum.
    RmsPropCenteredMomentum,
    /// Adagrad.
    Adagrad,
    /// Lion.
    Lion,
    /// AdamW, but for the weights of hidden layers, whose matrices are orthogonalised ([`Optimizer::muon`]).
    Muon,
}

/// A loop over weights that is compiled for each rule: see [`Rule::specialise`].
pub trait SpecialisedRule {
    /// The loop. Mark it `#[inline(always)]`.
    fn run(self, rule: Rule);
}

macro_rules! rules {
    ($($rule:ident $slots:expr),+ $(,)?) => {
        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// Its number in [`Rule::ALL`], by which GPU kernels know it.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// What the optimiser remembers of each weight, by PyTorch's names.
            #[must_use]
            pub const fn slots(self) -> &'static [&'static str] {
                match self {
                    $(Self::$rule => &$slots),+
                }
            }

            /// Calls a loop with this rule, in code that the compiler makes for this rule alone.
            #[inline(always)]
            pub fn specialise<L: SpecialisedRule>(self, body: L) {
                match self {
                    $(Self::$rule => body.run(Self::$rule)),+
                }
            }
        }
    };
}

rules! {
    Descent [],
    Decay [],
    Momentum ["momentum_buffer"],
    Adam ["exp_avg", "exp_avg_sq"],
    AmsGrad ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
    NAdam ["exp_avg", "exp_avg_sq"],
    RmsProp ["square_avg"],
    RmsPropMomentum ["square_avg", "momentum_buffer"],
    RmsPropCentered ["square_avg", "grad_avg"],
    RmsPropCenteredMomentum ["square_avg", "momentum_buffer", "grad_avg"],
    Adagrad ["sum"],
    Lion ["exp_avg"],
    Muon ["exp_avg", "exp_avg_sq"],
}

impl Rule {
    /// The new weight and slots, from the step's scalars ([`Optimizer::scalars`]), the gradient, the weight and the slots.
    ///
    /// The first two scalars are the same for all rules: the factor of the weight that is added to the gradient (coupled
    /// decay), and the share of the weight that stays (decoupled decay).
    #[inline(always)]
    #[must_use]
    pub fn apply<N: Number>(self, s: [N; SCALARS], g: N, w: N, slots: [N; SLOTS]) -> (N, [N; SLOTS]) {
        let plain = w;
        let gradient = g;
        let g = s[0].fma(w, g);
        let w = s[1] * w;
        let [a, b, c] = slots;
        // The mean of squares, old and new.
        let square = |mean: N| (s[4] * g).fma(g, s[3] * mean);
        match self {
            Self::Descent => (s[2].fma(gradient, plain), slots),
            Self::Decay => (s[2].fma(g, w), slots),
            Self::Momentum => {
                let buffer = s[3].fma(a, s[4] * g);
                // The direction: the buffer, or Nesterov's look ahead.
                let direction = s[5].fma(buffer, s[6] * g);
                (s[2].fma(direction, w), [buffer, b, c])
            }
            Self::Adam | Self::Muon => {
                let (mean, square) = (s[5].fma(g - a, a), square(b));
                let root = square.square_root().fma(s[6], s[7]);
                (s[2].fma(mean / root, w), [mean, square, c])
            }
            Self::AmsGrad => {
                let (mean, square) = (s[5].fma(g - a, a), square(b));
                let largest = c.larger(square);
                let root = largest.square_root().fma(s[6], s[7]);
                (s[2].fma(mean / root, w), [mean, square, largest])
            }
            Self::NAdam => {
                let (mean, square) = (s[5].fma(g - a, a), square(b));
                let root = square.square_root().fma(s[6], s[7]);
                (w + s[2].fma(mean, s[8] * g) / root, [mean, square, c])
            }
            Self::RmsProp => {
                let square = square(a);
                (s[2].fma(g / (square.square_root() + s[7]), w), [square, b, c])
            }
            Self::RmsPropMomentum => {
                let square = square(a);
                let buffer = s[6].fma(b, g / (square.square_root() + s[7]));
                (s[2].fma(buffer, w), [square, buffer, c])
            }
            Self::RmsPropCentered => {
                let (square, mean) = (square(a), s[4].fma(g - b, b));
                let root = (-mean).fma(mean, square).square_root() + s[7];
                (s[2].fma(g / root, w), [square, mean, c])
            }
            Self::RmsPropCenteredMomentum => {
                let (square, mean) = (square(a), s[4].fma(g - c, c));
                let root = (-mean).fma(mean, square).square_root() + s[7];
                let buffer = s[6].fma(b, g / root);
                (s[2].fma(buffer, w), [square, buffer, mean])
            }
            Self::Adagrad => {
                let sum = g.fma(g, a);
                (s[2].fma(g / (sum.square_root() + s[7]), w), [sum, b, c])
            }
            Self::Lion => {
                let direction = s[5].fma(g - a, a);
                let sign = N::select(direction.equals(N::ZERO), N::ZERO, N::ONE.with_sign_of(direction));
                (s[2].fma(sign, w), [s[4].fma(g - a, a), b, c])
            }
        }
    }
}

impl Optimizer {
    /// Plain gradient descent (`torch.optim.SGD` with its defaults).
    pub const SGD: Self = Self::Sgd { momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false };

    /// What it does to each weight.
    #[must_use]
    pub fn rule(self) -> Rule {
        match self {
            Self::Sgd { momentum, .. } if momentum > 0.0 => Rule::Momentum,
            Self::Sgd { weight_decay, .. } if weight_decay > 0.0 => Rule::Decay,
            Self::Sgd { .. } => Rule::Descent,
            Self::Adam { .. } | Self::AdamW { .. } | Self::RAdam { .. } => Rule::Adam,
            Self::AmsGrad { .. } => Rule::AmsGrad,
            Self::NAdam { .. } => Rule::NAdam,
            Self::RmsProp { momentum, centered, .. } => match (centered, momentum > 0.0) {
                (false, false) => Rule::RmsProp,
                (false, true) => Rule::RmsPropMomentum,
                (true, false) => Rule::RmsPropCentered,
                (true, true) => Rule::RmsPropCenteredMomentum,
            },
            Self::Adagrad { .. } => Rule::Adagrad,
            Self::Lion { .. } => Rule::Lion,
            Self::Muon { .. } => Rule::Muon,
        }
    }

    /// What happens to the gradients of hidden layers' weights, if it is not the rule.
    #[must_use]
    pub fn muon(self) -> Option<(Muon, Adjust)> {
        match self {
            Self::Muon { momentum, nesterov, steps, adjust, .. } => {
                Some((Muon { momentum: momentum as f32, nesterov, steps }, adjust))
            }
            _ => None,
        }
    }

    /// Its weight decay, coupled or decoupled.
    #[must_use]
    pub fn weight_decay(self) -> f64 {
        match self {
            Self::Sgd { weight_decay, .. }
            | Self::Lion { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::AdamW { weight_decay, .. }
            | Self::AmsGrad { weight_decay, .. }
            | Self::NAdam { weight_decay, .. }
            | Self::RAdam { weight_decay, .. }
            | Self::RmsProp { weight_decay, .. }
            | Self::Adagrad { weight_decay, .. }
            | Self::Muon { weight_decay, .. } => weight_decay,
        }
    }

    /// The learning rate that suits it where none is given: PyTorch's default; the chapter's for plain gradient descent;
    /// a tenth of Adam's for Lion, whose steps are larger.
    #[must_use]
    pub fn default_rate(self) -> f32 {
        match self {
            Self::Sgd { .. } | Self::RmsProp { .. } | Self::Adagrad { .. } => 0.01,
            Self::Adam { .. } | Self::AdamW { .. } | Self::AmsGrad { .. } | Self::RAdam { .. } | Self::Muon { .. } => {
                0.001
            }
            Self::NAdam { .. } => 0.002,
            Self::Lion { .. } => 0.0001,
        }
    }

    /// What every slot begins with.
    #[must_use]
    pub fn initial_slot(self) -> f32 {
        if let Self::Adagrad { initial, .. } = self { initial as f32 } else { 0.0 }
    }

    /// The scalars of a step, which is counted from 0, at this learning rate. All are computed in f64, by operations that
    /// give the same bits everywhere, and rounded once.
    ///
    /// ```
    /// use syva_core::Optimizer;
    /// let adam: Optimizer = "adam".parse()?;
    /// // In the first step, the correction of the mean's bias takes the factor 1 − beta1 back.
    /// assert!((adam.scalars(0, 0.001)[2] + 0.01).abs() < 1e-8);
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    #[must_use]
    pub fn scalars(self, step: u64, rate: f32) -> [f32; SCALARS] {
        self.scalars_of(step, rate, Scale::default())
    }

    /// The same for a group of weights whose settings differ from the optimiser's own.
    pub(crate) fn scalars_of(self, step: u64, rate: f32, scale: Scale) -> [f32; SCALARS] {
        let (rate, t) = (f64::from(rate) * scale.rate, step + 1);
        // By place: coupled decay, what stays of the weight, the step, then the rule's own.
        let mut s = [0.0, 1.0, -rate, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let moments = |s: &mut [f64; SCALARS], beta1: f64, beta2: f64, eps: f64| {
            [s[3], s[4], s[5]] = [beta2, 1.0 - beta2, 1.0 - beta1];
            [s[6], s[7]] = [1.0 / (1.0 - power(beta2, t)).sqrt(), eps];
        };
        match self.scaled(scale) {
            Self::Sgd { momentum, dampening, weight_decay, nesterov } => {
                s[0] = weight_decay;
                // The first step takes the gradient as it is.
                [s[3], s[4]] = [momentum, if t == 1 { 1.0 } else { 1.0 - dampening }];
                [s[5], s[6]] = if nesterov { [momentum, 1.0] } else { [1.0, 0.0] };
            }
            Self::Adam { beta1, beta2, eps, weight_decay } | Self::AmsGrad { beta1, beta2, eps, weight_decay } => {
                moments(&mut s, beta1, beta2, eps);
                [s[0], s[2]] = [weight_decay, -rate / (1.0 - power(beta1, t))];
            }
            Self::AdamW { beta1, beta2, eps, weight_decay } | Self::Muon { beta1, beta2, eps, weight_decay, .. } => {
                moments(&mut s, beta1, beta2, eps);
                [s[1], s[2]] = [1.0 - rate * weight_decay, -rate / (1.0 - power(beta1, t))];
            }
            Self::NAdam { beta1, beta2, eps, weight_decay, momentum_decay } => {
                moments(&mut s, beta1, beta2, eps);
                s[0] = weight_decay;
                let momentum =
                    |t: u64| beta1 * (1.0 - 0.5 * Number::exp(t as f64 * momentum_decay * <f64 as Number>::log(0.96)));
                // Below 2⁻⁶⁰ the product no longer matters.
                let product = (1..=t)
                    .try_fold(1.0, |product, t| Some(product * momentum(t)).filter(|&p| p > 8e-19))
                    .unwrap_or(0.0);
                let (now, next) = (momentum(t), momentum(t + 1));
                [s[2], s[8]] = [-rate * next / (1.0 - product * next), -rate * (1.0 - now) / (1.0 - product)];
            }
            Self::RAdam { beta1, beta2, eps, weight_decay } => {
                moments(&mut s, beta1, beta2, eps);
                s[0] = weight_decay;
                let (left, square_left) = (1.0 - power(beta1, t), 1.0 - power(beta2, t));
                let most = 2.0 / (1.0 - beta2) - 1.0;
                let length = most - 2.0 * t as f64 * power(beta2, t) / square_left;
                if length > 5.0 {
                    let over = (length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length);
                    [s[2], s[6]] = [-rate * over.sqrt() * square_left.sqrt() / left, 1.0];
                } else {
                    // The root becomes 1, or what the gradient's scale makes of it.
                    [s[2], s[6], s[7]] = [-rate / left, 0.0, scale.eps];
                }
            }
            Self::RmsProp { alpha, eps, weight_decay, momentum, .. } => {
                [s[0], s[3], s[4]] = [weight_decay, alpha, 1.0 - alpha];
                [s[6], s[7]] = [momentum, eps];
            }
            Self::Adagrad { lr_decay, weight_decay, eps, .. } => {
                [s[0], s[2], s[7]] = [weight_decay, -rate / (1.0 + step as f64 * lr_decay), eps];
            }
            Self::Lion { beta1, beta2, weight_decay } => {
                [s[1], s[4], s[5]] = [1.0 - rate * weight_decay, 1.0 - beta2, 1.0 - beta1];
            }
        }
        s.map(|value| value as f32)
    }

    /// The same optimiser with another weight decay and eps.
    fn scaled(mut self, scale: Scale) -> Self {
        let (decay, eps) = match &mut self {
            Self::Sgd { weight_decay, .. } | Self::Lion { weight_decay, .. } => (weight_decay, None),
            Self::Adam { weight_decay, eps, .. }
            | Self::AdamW { weight_decay, eps, .. }
            | Self::AmsGrad { weight_decay, eps, .. }
            | Self::NAdam { weight_decay, eps, .. }
            | Self::RAdam { weight_decay, eps, .. }
            | Self::RmsProp { weight_decay, eps, .. }
            | Self::Adagrad { weight_decay, eps, .. }
            | Self::Muon { weight_decay, eps, .. } => (weight_decay, Some(eps)),
        };
        *decay *= scale.decay;
        if let Some(eps) = eps {
            *eps *= scale.eps;
        }
        self
    }

    /// The scale of weights w = W/√n that are to move as W does ([`Parametrization::Ntk`](crate::Parametrization)).
    ///
    /// The gradient of W is that of w over √n. So plain gradient descent moves w by 1/n of its own step. Where the step does
    /// not depend on the gradient's scale, it moves w by 1/√n of it, and eps is to the gradient of w what it was to that of
    /// W. What decay adds to the gradient is n times as much of w; what it takes off directly must not follow the rate.
    pub(crate) fn ntk_scale(self, fan_in: usize) -> Scale {
        let n = fan_in as f64;
        let root = n.sqrt();
        match self {
            Self::Sgd { .. } => Scale { rate: 1.0 / n, decay: n, eps: 1.0 },
            Self::Adam { .. }
            | Self::AmsGrad { .. }
            | Self::NAdam { .. }
            | Self::RAdam { .. }
            | Self::RmsProp { .. }
            | Self::Adagrad { .. } => Scale { rate: 1.0 / root, decay: n, eps: root },
            Self::AdamW { .. } | Self::Lion { .. } | Self::Muon { .. } => {
                Scale { rate: 1.0 / root, decay: root, eps: root }
            }
        }
    }

    /// Checks that every parameter is in its range.
    pub fn validate(self) -> Result<()> {
        let (form, values) = self.form();
        let refuse = |problem: String, remedy: &str| Err(Error::setting("optimizer", problem, remedy));
        for (&(name, default), value) in form.parameters.iter().zip(&values) {
            // A name is none of the numbers.
            let Ok(value) = value.parse::<f64>() else { continue };
            let below_1 = name.starts_with("beta") || name == "alpha" || name == "momentum" || name == "dampening";
            // Dampening is the only one of these that may be 1: then nothing joins.
            let fits = value >= 0.0 && (!below_1 || value < 1.0 || name == "dampening" && value == 1.0);
            if !(fits && value.is_finite()) {
                let range = if below_1 { "from 0 to below 1" } else { "of 0 or more" };
                let problem = format!("{name} {value} of {} is out of range", form.name);
                return refuse(problem, &format!("give a number {range}, such as {default}"));
            }
        }
        match self {
            Self::Muon { steps, .. } if !(1..=100).contains(&steps) => {
                refuse(format!("{steps} steps of muon are out of range"), "give 1 to 100, such as 5")
            }
            Self::Sgd { momentum, dampening, nesterov: true, .. } if momentum == 0.0 || dampening != 0.0 => refuse(
                "Nesterov's step needs a momentum, and no dampening".into(),
                "write sgd:momentum=0.9,nesterov=true",
            ),
            _ => Ok(()),
        }
    }
}

/// `base^exponent` by squaring, in a fixed order of operations.
pub(crate) fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

text!(Optimizer, "optimizer");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters_are_read_and_written() {
        for form in Optimizer::FORMS {
            let optimizer: Optimizer = form.name.parse().unwrap();
            assert_eq!(optimizer.to_string(), form.name);
            assert!(optimizer.rule().slots().len() <= SLOTS);
        }
        let nesterov: Optimizer = "SGD:momentum=0.9,nesterov=true".parse().unwrap();
        assert_eq!(nesterov.to_string(), "sgd:momentum=0.9,nesterov=1");
        assert_eq!(nesterov.to_string().parse::<Optimizer>().unwrap(), nesterov);
        assert_eq!("adamw:weight-decay=0.05".parse::<Optimizer>().unwrap().to_string(), "adamw:weight_decay=0.05");
        let says = |text: &str| text.parse::<Optimizer>().unwrap_err().to_string();
        assert!(
            says("adam:beta3=0.1").contains("no parameter 'beta3' (did you mean 'beta1'?)"),
            "{}",
            says("adam:beta3=0.1")
        );
        assert!(says("adam:beta1=1").contains("beta1 1 of adam is out of range; give a number from 0 to below 1"));
        assert!(says("sgd:nesterov=true").contains("Nesterov's step needs a momentum"));
        assert!(says("adma").contains("did you mean 'adam'?"));
    }

    #[test]
    fn powers_are_those_of_repeated_products() {
        for base in [0.0, 0.5, 0.9, 0.999] {
            let mut product = 1.0;
            for exponent in 0..300 {
                assert!((power(base, exponent) - product).abs() <= 1e-14 * product, "{base}^{exponent}");
                product *= base;
            }
        }
    }
}
