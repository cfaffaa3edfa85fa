//! Activations with a learned number per unit, the unit's gain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Activation;
use crate::arithmetic::Number;
use crate::names::Form;
use crate::{Error, Result};

/// What of a layer's activation f is learned, as a gain p of each unit. Weight decay, clipping and the average take gains
/// like biases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learned {
    /// Nothing: h = f(z).
    #[default]
    Nothing,
    /// The slope of leaky ReLU below 0: h = z if z > 0, otherwise p · z (`torch.nn.PReLU(num_parameters=units)`; He et al.
    /// 2015). Gains begin at the activation's slope.
    Slope,
    /// How far f bends the line: h = z + (f(z) − z) · p (the parametric activation of RealMLP; Holzmüller et al. 2024).
    /// Gains begin at 1.
    Blend,
}

impl Learned {
    /// What has gains. CUDA knows each by its number as an enum.
    pub const WITH_GAINS: [Self; 2] = [Self::Slope, Self::Blend];

    /// Whether there are gains.
    #[must_use]
    pub fn has_gains(self) -> bool {
        match self {
            Self::Nothing => false,
            // Those of `WITH_GAINS`.
            Self::Slope | Self::Blend => true,
        }
    }

    /// What the gains of units with this activation begin with.
    #[must_use]
    pub fn initial(self, activation: Activation) -> f32 {
        match self {
            Self::Nothing | Self::Blend => 1.0,
            Self::Slope => activation.parameter() as f32,
        }
    }

    /// h, from the pre-activation z, f(z) and the gain.
    #[inline(always)]
    #[must_use]
    pub fn forward<N: Number>(self, z: N, f: N, p: N) -> N {
        match self {
            Self::Nothing => f,
            Self::Slope => N::select(z.above(N::ZERO), z, p * z),
            Self::Blend => p.fma(f - z, z),
        }
    }

    /// The gradients by z and by the gain, from z, f(z), the gradient `dh` by h, `df` = f'(z) · dh, and the gain.
    #[inline(always)]
    #[must_use]
    pub fn backward<N: Number>(self, (z, f): (N, N), (dh, df): (N, N), p: N) -> (N, N) {
        match self {
            Self::Nothing => (df, N::ZERO),
            Self::Slope => {
                let above = z.above(N::ZERO);
                (N::select(above, dh, p * dh), N::select(above, N::ZERO, dh * z))
            }
            Self::Blend => (p.fma(df - dh, dh), dh * (f - z)),
        }
    }
}

/// An activation as people write it, with what of it is learned: `silu`, `prelu`, `parametric-silu`.
///
/// ```
/// use syva_core::{Activation, Nonlinearity, ops::Learned};
/// let prelu: Nonlinearity = "prelu:init=0.1".parse()?;
/// assert_eq!((prelu.activation, prelu.learned), (Activation::LeakyRelu(0.1), Learned::Slope));
/// let blend: Nonlinearity = "parametric-mish".parse()?;
/// assert_eq!((blend.activation, blend.learned), (Activation::Mish, Learned::Blend));
/// assert_eq!(blend.to_string(), "parametric-mish");
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonlinearity {
    /// The function f.
    pub activation: Activation,
    /// What of it is learned.
    pub learned: Learned,
}

impl From<Activation> for Nonlinearity {
    fn from(activation: Activation) -> Self {
        Self { activation, learned: Learned::Nothing }
    }
}

/// What precedes the name of an activation that is blended.
const PARAMETRIC: &str = "parametric";

impl Nonlinearity {
    const PRELU: Form<f64> = Form {
        name: "prelu",
        parameters: &[("init", "0.25")],
        make: |texts| crate::names::read(&mut texts.iter().copied().enumerate()),
    };

    /// The names that flags and files use. Each but `prelu` may follow `parametric-`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Activation::names().chain([Self::PRELU.name])
    }

    /// Checks that the activation can be learned in this way.
    pub fn validate(self) -> Result<()> {
        let refuse = |problem: String, remedy| Err(Error::setting("activation", problem, remedy));
        match (self.learned, self.activation) {
            (Learned::Slope, Activation::LeakyRelu(slope)) if (slope as f32).is_finite() => Ok(()),
            (Learned::Slope, Activation::LeakyRelu(slope)) => {
                refuse(format!("the first slope {slope} is not a finite 32-bit number"), "give a smaller number")
            }
            (Learned::Slope, other) => refuse(format!("{other} has no slope to be learned"), "use leaky-relu"),
            (Learned::Blend, Activation::Identity) => {
                refuse("a blend of identity with itself learns nothing".into(), "use another activation")
            }
            (Learned::Nothing | Learned::Blend, activation) => activation.validate(),
        }
    }
}

impl FromStr for Nonlinearity {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let name = text.split(':').next().unwrap_or_default();
        let value = if crate::names::find(&[(Self::PRELU.name, ())], name).is_some() {
            let slope = crate::names::parse("activation", &[Self::PRELU], text)?;
            Self { activation: Activation::LeakyRelu(slope), learned: Learned::Slope }
        } else if let Some(rest) = text.to_lowercase().strip_prefix(PARAMETRIC) {
            let rest = rest.trim_start_matches(['-', '_', ' ']);
            if crate::names::find(&[(Self::PRELU.name, ())], rest.split(':').next().unwrap_or_default()).is_some() {
                let problem = "the slope of prelu is already learned";
                return Err(Error::setting("activation", problem, "use prelu, or parametric-leaky-relu"));
            }
            let activation = rest.parse()?;
            Self { activation, learned: Learned::Blend }
        } else {
            let names: Vec<_> = Self::names().map(|name| (name, name)).collect();
            if crate::names::find(&names, name).is_none() {
                return Err(crate::names::unknown("activation", name, &Self::names().collect::<Vec<_>>()));
            }
            text.parse::<Activation>()?.into()
        };
        value.validate()?;
        Ok(value)
    }
}

impl fmt::Display for Nonlinearity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.learned {
            Learned::Nothing => self.activation.fmt(f),
            Learned::Slope => f.pad(&crate::names::write(&Self::PRELU, &[self.activation.parameter().to_string()])),
            Learned::Blend => f.pad(&format!("{PARAMETRIC}-{}", self.activation)),
        }
    }
}

impl TryFrom<String> for Nonlinearity {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Nonlinearity> for String {
    fn from(value: Nonlinearity) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_written_and_refused() {
        for text in ["relu", "prelu", "prelu:init=-0.5", "parametric-silu", "parametric-leaky-relu:slope=0.2"] {
            assert_eq!(text.parse::<Nonlinearity>().unwrap().to_string(), text);
        }
        assert_eq!("PReLU".parse::<Nonlinearity>().unwrap().to_string(), "prelu");
        assert_eq!("ParametricMish".parse::<Nonlinearity>().unwrap().to_string(), "parametric-mish");
        let says = |text: &str| text.parse::<Nonlinearity>().unwrap_err().to_string();
        assert!(says("prelu:slope=1").contains("no parameter 'slope'; use init"), "{}", says("prelu:slope=1"));
        assert!(says("parametric-mesh").contains("did you mean 'mish'?"), "{}", says("parametric-mesh"));
        assert!(says("parametric-prelu").contains("already learned; use prelu"));
        assert!(says("prelu:init=1e39").contains("not a finite 32-bit number"));
        assert!(says("leaky-relu:slope=1e39").contains("not a finite 32-bit number"));
        assert!(says("parametric-identity").contains("learns nothing"));
        assert!(says("prelo").contains("did you mean 'prelu'?"), "{}", says("prelo"));
        assert!(says("leaky-relu:slope=-1").contains("below 0"));
    }

    #[test]
    fn derivatives_are_those_of_central_differences() {
        let functions = Activation::ALL.iter().map(|&activation| (activation, Learned::Blend));
        let slope = [(Activation::LeakyRelu(0.25), Learned::Slope)];
        for (activation, learned) in functions.chain(slope) {
            let h = |z: f64, p: f64| learned.forward(z, activation.forward(z), p);
            for (i, p) in (-40..40).flat_map(|i| [(i, -0.5), (i, 0.0), (i, 1.0), (i, 1.7)]) {
                let (z, step) = (f64::from(i) * 0.1 + 0.03, 1e-5);
                let f = activation.forward(z);
                let read = if activation.reads() == super::super::Reads::H { f } else { z };
                let found = learned.backward((z, f), (2.0, activation.backward(read, 2.0)), p);
                let by_z = (h(z + step, p) - h(z - step, p)) / step;
                let by_p = (h(z, p + step) - h(z, p - step)) / step;
                assert!((found.0 - by_z).abs() < 1e-8 && (found.1 - by_p).abs() < 1e-8, "{activation} {learned:?} {z}");
            }
        }
    }
}
