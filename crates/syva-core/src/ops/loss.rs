//! Losses: each one's name, formula, gradient and source.
//!
//! A [`Loss`] is what a user chooses. With the network's head it becomes a [`Judging`], which is what engines compute. Most
//! of them compare one output with one target at a time: these are [`Distance`]s.

use serde::{Deserialize, Serialize};

use crate::arithmetic::{Number, binary_cross_entropy};
use crate::names::{either, forms, text};
use crate::spec::Head;
use crate::{Error, Result};

/// What training minimises: a mean over the samples of a batch. Definitions and defaults are PyTorch's. A loss has to fit
/// the network's [`Head`].
///
/// ```
/// use syva_core::{Head, Loss};
/// let huber: Loss = "huber:delta=2".parse()?;
/// assert_eq!(huber, Loss::Huber { delta: 2.0 });
/// assert!(huber.judging(Head::Regression).is_ok());
/// let error = huber.judging(Head::Logits).unwrap_err().to_string();
/// assert_eq!(error, "loss: huber:delta=2 does not fit the head logits; use auto or cross-entropy, or another head");
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Loss {
    /// The head's own: mse, poisson, gaussian, binary-cross-entropy or cross-entropy.
    #[default]
    Auto,
    /// Mean squared error, e² with e = z − t (`torch.nn.MSELoss`).
    Mse,
    /// Mean absolute error, |e| (`torch.nn.L1Loss`).
    Mae,
    /// ½e² if |e| < delta, otherwise delta · (|e| − ½delta) (`torch.nn.HuberLoss`; Huber 1964).
    Huber {
        /// Where the square ends, above 0.
        delta: f64,
    },
    /// ½e²/beta if |e| < beta, otherwise |e| − ½beta (`torch.nn.SmoothL1Loss`; Girshick 2015).
    SmoothL1 {
        /// Where the square ends, above 0.
        beta: f64,
    },
    /// The pinball loss max(q · (t − z), (q − 1) · (t − z)), whose minimum is the q-quantile (Koenker and Bassett 1978;
    /// `sklearn.metrics.mean_pinball_loss`).
    Quantile {
        /// The quantile, between 0 and 1.
        q: f64,
    },
    /// e^z − t · z: the negative log-likelihood of a count t with the rate e^z, without its constant
    /// (`torch.nn.PoissonNLLLoss` with `log_input=True`, `full=False`).
    Poisson,
    /// ½ (ln v + (z − t)²/v): the negative log-likelihood of a normal distribution with mean z and variance v, without its
    /// constant (`torch.nn.GaussianNLLLoss`; Nix and Weigend 1994). See [`variance`].
    Gaussian,
    /// Binary cross-entropy of a logit and a label (`torch.nn.BCEWithLogitsLoss`).
    BinaryCrossEntropy {
        /// What a label 1 weighs against a label 0, above 0 (PyTorch's `pos_weight`, here one number for all labels).
        pos_weight: f64,
    },
    /// Cross-entropy of the softmax of the logits and a class (`torch.nn.CrossEntropyLoss`).
    CrossEntropy {
        /// The share of the target's probability that is spread evenly over all classes, from 0 to below 1 (PyTorch's
        /// `label_smoothing`; Szegedy et al. 2016).
        smoothing: f64,
    },
}

forms! { Loss,
    "auto" => Auto,
    "mse" => Mse,
    "mae" => Mae,
    "huber" => Huber { delta = 1.0 },
    "smooth-l1" => SmoothL1 { beta = 1.0 },
    "quantile" => Quantile { q = 0.5 },
    "poisson" => Poisson,
    "gaussian" => Gaussian,
    "binary-cross-entropy" => BinaryCrossEntropy { pos_weight = 1.0 },
    "cross-entropy" => CrossEntropy { smoothing = 0.0 },
}
text!(Loss, "loss");

impl Loss {
    /// Checks the parameter's range.
    pub fn validate(self) -> Result<()> {
        let refuse = |problem: String, remedy| Err(Error::setting("loss", problem, remedy));
        let above_zero = |name: &str, value: f64| match value {
            // It must not become 0 or infinite in f32.
            _ if value > 0.0 && (value as f32).is_normal() => Ok(()),
            _ => refuse(format!("{name} {value} is not above 0"), "give more than 0, such as 1"),
        };
        match self {
            Self::Auto | Self::Mse | Self::Mae | Self::Poisson | Self::Gaussian => Ok(()),
            Self::Huber { delta } => above_zero("delta", delta),
            Self::SmoothL1 { beta: 0.0 } => refuse("beta 0 leaves no square".into(), "use mae, which is the same"),
            Self::SmoothL1 { beta } => above_zero("beta", beta),
            Self::BinaryCrossEntropy { pos_weight } => above_zero("pos_weight", pos_weight),
            Self::Quantile { q } if q > 0.0 && q < 1.0 => Ok(()),
            Self::Quantile { q } => refuse(
                format!("q {q} is not between 0 and 1"),
                "give the share of targets below the output, such as 0.9",
            ),
            Self::CrossEntropy { smoothing } if (0.0..1.0).contains(&smoothing) => Ok(()),
            Self::CrossEntropy { smoothing } => {
                refuse(format!("smoothing {smoothing} is not from 0 to below 1"), "give a share such as 0.1")
            }
        }
    }

    /// The names of the losses that fit a head.
    #[must_use]
    pub fn fitting(head: Head) -> &'static [&'static str] {
        match head {
            Head::Regression => &["auto", "mse", "mae", "huber", "smooth-l1", "quantile"],
            Head::Poisson => &["auto", "poisson"],
            Head::Gaussian => &["auto", "gaussian"],
            Head::Binary | Head::MultiLabel => &["auto", "binary-cross-entropy"],
            Head::Logits | Head::LogSoftmax => &["auto", "cross-entropy"],
        }
    }

    /// What an engine computes for a network with this head. Returns an error that names both if they do not fit.
    pub fn judging(self, head: Head) -> Result<Judging> {
        let each = |distance, parameter| Ok(Judging::Each(distance, parameter));
        match (head, self) {
            (_, Self::Auto) => Ok(Judging::own(head)),
            (Head::Regression, Self::Mse) => each(Distance::Squared, 0.0),
            (Head::Regression, Self::Mae) => each(Distance::Absolute, 0.0),
            (Head::Regression, Self::Huber { delta }) => each(Distance::Huber, delta),
            (Head::Regression, Self::SmoothL1 { beta }) => each(Distance::SmoothL1, beta),
            (Head::Regression, Self::Quantile { q }) => each(Distance::Quantile, q),
            (Head::Poisson, Self::Poisson) => each(Distance::Poisson, 0.0),
            (Head::Gaussian, Self::Gaussian) => Ok(Judging::Gaussian),
            (Head::Binary | Head::MultiLabel, Self::BinaryCrossEntropy { pos_weight }) => {
                each(Distance::Binary, pos_weight)
            }
            (Head::Logits | Head::LogSoftmax, Self::CrossEntropy { smoothing }) => Ok(Judging::Classes { smoothing }),
            (
                Head::Regression
                | Head::Poisson
                | Head::Gaussian
                | Head::Binary
                | Head::MultiLabel
                | Head::Logits
                | Head::LogSoftmax,
                _,
            ) => {
                let remedy = format!("use {}, or another head", either(Self::fitting(head)));
                Err(Error::setting("loss", format!("{self} does not fit the head {head}"), remedy))
            }
        }
    }
}

/// What an engine computes of the outputs z and the targets of a sample (rule 7 of the arithmetic contract).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judging {
    /// The sum of a distance over the outputs, divided by their number. Its parameter comes with it. The targets are
    /// values, or for the head binary a label, which is the target of the only output.
    Each(Distance, f64),
    /// Outputs in pairs: a mean and what becomes a variance, for one target value each.
    Gaussian,
    /// Cross-entropy of a class.
    Classes {
        /// The share of the target's probability that is spread over all classes.
        smoothing: f64,
    },
}

impl Judging {
    /// A head's own loss.
    #[must_use]
    pub fn own(head: Head) -> Self {
        match head {
            Head::Regression => Self::Each(Distance::Squared, 0.0),
            Head::Poisson => Self::Each(Distance::Poisson, 0.0),
            Head::Gaussian => Self::Gaussian,
            Head::Binary | Head::MultiLabel => Self::Each(Distance::Binary, 1.0),
            Head::Logits | Head::LogSoftmax => Self::Classes { smoothing: 0.0 },
        }
    }

    /// The factor of a gradient that its function leaves out: 2 for squares, otherwise 1.
    #[must_use]
    pub fn scale(self) -> f64 {
        match self {
            Self::Each(Distance::Squared, _) => 2.0,
            Self::Each(..) | Self::Gaussian | Self::Classes { .. } => 1.0,
        }
    }

    /// The distances that the loss of a sample with so many outputs is the mean of.
    #[must_use]
    pub fn terms(self, outputs: usize) -> usize {
        match self {
            Self::Each(..) => outputs,
            Self::Gaussian => outputs / 2,
            Self::Classes { .. } => 1,
        }
    }

    /// The factor M that makes the gradient of a batch's mean loss from what the functions give, if all of its `batch`
    /// samples weigh the same.
    #[inline(always)]
    #[must_use]
    pub fn factor<N: Number>(self, batch: usize, outputs: usize) -> N {
        N::from_f64(self.scale()) / N::from_f64((batch * self.terms(outputs)) as f64)
    }

    /// The numbers that kernels need beside the outputs: a distance's parameter and 0, or how probable a smoothed target
    /// makes its class beyond all classes, and each of `outputs` classes.
    #[must_use]
    pub fn parameters(self, outputs: usize) -> [f64; 2] {
        match self {
            Self::Each(_, parameter) => [parameter, 0.0],
            Self::Gaussian => [0.0; 2],
            Self::Classes { smoothing } => [1.0 - smoothing, smoothing / outputs as f64],
        }
    }
}

/// The one list of distances: number and name.
macro_rules! distances {
    ($($(#[$attribute:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// How far one output z is from its target t, with a parameter p. Let e = z − t.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Distance {
            $($(#[$attribute])* $variant),+
        }

        impl Distance {
            /// Every distance.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in kernels.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            /// Its place in [`Distance::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Calls a loop with this distance, in code that the compiler makes for this distance alone.
            #[inline(always)]
            pub fn specialise<L: SpecialisedDistance>(self, body: L) {
                match self {
                    $(Self::$variant => body.run(Self::$variant)),+
                }
            }
        }
    };
}

distances! {
    /// e².
    Squared = "squared",
    /// Binary cross-entropy, times p where t is 1.
    Binary = "binary",
    /// |e|.
    Absolute = "absolute",
    /// ½e² up to p, then a line.
    Huber = "huber",
    /// ½e²/p up to p, then a line.
    SmoothL1 = "smooth_l1",
    /// The pinball loss of the p-quantile.
    Quantile = "quantile",
    /// e^z − t · z.
    Poisson = "poisson",
}

/// A loop over outputs that is compiled for each distance: see [`Distance::specialise`].
pub trait SpecialisedDistance {
    /// The loop. Mark it `#[inline(always)]`.
    fn run(self, distance: Distance);
}

impl Distance {
    /// A sum of distances, and one more.
    #[inline(always)]
    #[must_use]
    pub fn add<N: Number>(self, sum: N, z: N, t: N, p: N) -> N {
        let (error, half) = (z - t, N::from_f64(0.5));
        let far = error.magnitude();
        match self {
            Self::Squared => error.fma(error, sum),
            Self::Absolute => sum + far,
            Self::Huber => {
                let line = p * (far - half * p);
                sum + N::select(p.above(far), half * (error * error), line)
            }
            Self::SmoothL1 => {
                let line = far - half * p;
                sum + N::select(p.above(far), half * (error * error) / p, line)
            }
            Self::Quantile => sum + ((p - N::ONE) * -error).larger(p * -error),
            Self::Poisson => sum + (-t).fma(z, z.exp()),
            Self::Binary => sum + positive(t, p) * binary_cross_entropy(z, t),
        }
    }

    /// The derivative by z; half of it for squares. Where there is none, 0.
    #[inline(always)]
    #[must_use]
    pub fn slope<N: Number>(self, z: N, t: N, p: N) -> N {
        let error = z - t;
        let sign = || N::select(error.equals(N::ZERO), N::ZERO, N::ONE.with_sign_of(error));
        match self {
            Self::Squared => error,
            Self::Absolute => sign(),
            Self::Huber => error.clamped((-p, p)),
            Self::SmoothL1 => N::select(p.above(error.magnitude()), error / p, sign()),
            Self::Quantile => {
                let below = N::select(N::ZERO.above(error), -p, N::ZERO);
                N::select(error.above(N::ZERO), N::ONE - p, below)
            }
            Self::Poisson => z.exp() - t,
            Self::Binary => positive(t, p) * (z.sigmoid() - t),
        }
    }
}

/// What a label weighs: p for 1, otherwise 1.
#[inline(always)]
fn positive<N: Number>(t: N, p: N) -> N {
    N::select(t.above(N::ZERO), p, N::ONE)
}

/// The variance that a network with the head gaussian gives: ln(1 + e^z) + 10⁻⁶, so that it is never 0
/// (`torch.nn.functional.softplus`, and the `eps` of `torch.nn.GaussianNLLLoss`).
#[inline(always)]
#[must_use]
pub fn variance<N: Number>(z: N) -> N {
    z.relu() + (-z.magnitude()).exp().log_1p() + N::from_f64(1e-6)
}

/// A sum of losses, and that of one more target t with the mean m and the [`variance`] of z: ½ (ln v + (m − t)²/v).
#[inline(always)]
#[must_use]
pub fn add_gaussian<N: Number>(sum: N, m: N, z: N, t: N) -> N {
    let (error, v) = (m - t, variance(z));
    sum + N::from_f64(0.5) * (v.log() + error * error / v)
}

/// The derivative of [`add_gaussian`] by the mean m: (m − t)/v.
#[inline(always)]
#[must_use]
pub fn gaussian_mean_slope<N: Number>(m: N, z: N, t: N) -> N {
    (m - t) / variance(z)
}

/// The derivative of [`add_gaussian`] by z: ½ (1 − (m − t)²/v)/v · sigmoid(z).
#[inline(always)]
#[must_use]
pub fn gaussian_variance_slope<N: Number>(m: N, z: N, t: N) -> N {
    let (error, v) = (m - t, variance(z));
    N::from_f64(0.5) * ((N::ONE - error * error / v) / v) * z.sigmoid()
}

/// Cross-entropy with a smoothed target: ln(sum) − (on · (z − max) + off · rest), where `rest` is the sum of z − max over
/// all classes, `on` and `off` are [`Judging::parameters`], and z is the logit of the class.
#[inline(always)]
#[must_use]
pub fn smoothed_cross_entropy<N: Number>(sum: N, z: N, max: N, rest: N, on: N, off: N) -> N {
    sum.log() - on.fma(z - max, off * rest)
}

/// How many labels of a sample a network got right where they are 1, and wrong where they are 0, as one number: the guess
/// of the head multi-label. At most 65535 labels fit.
#[must_use]
pub const fn labels_guess(right: u32, wrong: u32) -> u32 {
    right | wrong << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters that each distance is tested with.
    fn parameters(distance: Distance) -> &'static [f64] {
        match distance {
            Distance::Squared | Distance::Absolute | Distance::Poisson => &[0.0],
            Distance::Huber | Distance::SmoothL1 => &[0.3, 1.0, 2.5],
            Distance::Quantile => &[0.1, 0.5, 0.97],
            Distance::Binary => &[0.25, 1.0, 4.0],
        }
    }

    fn targets(distance: Distance) -> &'static [f64] {
        match distance {
            Distance::Binary => &[0.0, 1.0],
            Distance::Poisson => &[0.0, 1.0, 7.0],
            _ => &[-1.0, 0.0, 2.0],
        }
    }

    fn each(mut check: impl FnMut(Distance, f64, f64, f64)) {
        for &distance in Distance::ALL {
            for (&p, &t) in parameters(distance).iter().flat_map(|p| targets(distance).iter().map(move |t| (p, t))) {
                // No kink is hit.
                (-400..=400).for_each(|i| check(distance, f64::from(i) * 0.01 + 0.003, t, p));
            }
        }
    }

    #[test]
    fn slopes_are_those_of_central_differences() {
        each(|distance, z, t, p| {
            let step = 1e-5;
            let slope = (distance.add(0.0, z + step, t, p) - distance.add(0.0, z - step, t, p)) / (2.0 * step);
            let found = Judging::Each(distance, p).scale() * distance.slope(z, t, p);
            assert!(
                (found - slope).abs() < 1e-7 * (1.0 + slope.abs()),
                "{distance:?} {p} at {z}, {t}: {found}, {slope}"
            );
        });
        for (m, z, t) in [(0.5, -3.0, 1.0), (-1.0, 0.3, 0.2), (2.0, 4.0, -1.0), (0.1, -8.0, 0.1)] {
            let by = |m: f64, z: f64| add_gaussian(0.0, m, z, t);
            let step = 1e-6;
            let slopes = [
                ((by(m + step, z) - by(m - step, z)) / (2.0 * step), gaussian_mean_slope(m, z, t)),
                ((by(m, z + step) - by(m, z - step)) / (2.0 * step), gaussian_variance_slope(m, z, t)),
            ];
            for (slope, found) in slopes {
                assert!((found - slope).abs() < 1e-6 * (1.0 + slope.abs()), "{m}, {z}, {t}: {found}, {slope}");
            }
        }
    }

    #[test]
    fn f32_is_close_to_f64() {
        each(|distance, z, t, p| {
            let narrow = |x: f64| x as f32;
            let (z, t) = (narrow(z), narrow(t));
            let wide = (f64::from(z), f64::from(t), f64::from(narrow(p)));
            for (found, wanted) in [
                (distance.add(0.0, z, t, narrow(p)), distance.add(0.0, wide.0, wide.1, wide.2)),
                (distance.slope(z, t, narrow(p)), distance.slope(wide.0, wide.1, wide.2)),
            ] {
                let close = (f64::from(found) - wanted).abs() <= 2e-6 * (1.0 + wanted.abs());
                assert!(close, "{distance:?} {p} at {z}, {t}: {found}, not {wanted}");
            }
        });
    }

    #[test]
    fn there_is_no_slope_where_there_is_none() {
        for distance in [Distance::Absolute, Distance::Quantile, Distance::Huber, Distance::SmoothL1] {
            assert_eq!(distance.slope(1.5_f32, 1.5, 0.7), 0.0, "{distance:?}");
        }
        assert_eq!(Distance::ALL.iter().map(|distance| distance.index()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn names_ranges_and_heads() {
        for text in ["huber:delta=0.3", "quantile:q=0.9", "cross-entropy:smoothing=0.1", "mae", "auto"] {
            assert_eq!(text.parse::<Loss>().unwrap().to_string(), text);
        }
        assert_eq!("SmoothL1".parse::<Loss>().unwrap(), Loss::SmoothL1 { beta: 1.0 });
        let says = |text: &str| text.parse::<Loss>().unwrap_err().to_string();
        assert!(says("cross-entropy:smoothing=1").contains("smoothing 1 is not from 0 to below 1"));
        assert!(says("cross-entropy:-0.1").contains("smoothing -0.1 is not"));
        assert!(says("binary-cross-entropy:pos_weight=-2").contains("pos_weight -2 is not above 0"));
        assert!(says("quantile:1").contains("q 1 is not between 0 and 1"));
        assert!(says("smooth-l1:beta=0").contains("use mae"));
        assert!(says("huber:delta=1e-60").contains("is not above 0"));
        assert!(says("mea").contains("did you mean 'mae'?"));
        assert!(says("mae:1").contains("mae has no parameters"));
        for &(name, head) in Head::NAMES {
            let fitting = Loss::names().filter(|loss| loss.parse::<Loss>().unwrap().judging(head).is_ok());
            assert_eq!(fitting.collect::<Vec<_>>(), Loss::fitting(head), "{name}");
            for loss in Loss::names().filter(|loss| !Loss::fitting(head).contains(loss)) {
                let said = loss.parse::<Loss>().unwrap().judging(head).unwrap_err().to_string();
                assert!(said.contains(&format!("{loss} does not fit the head {name}")), "{said}");
            }
        }
    }
}
