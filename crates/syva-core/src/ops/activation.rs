//! Activations: each one's name, formula, derivative and source.

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;
use crate::names::{Form, text};
use crate::{Error, Result};

/// An element-wise function after a linear layer. Definitions and defaults are PyTorch's.
///
/// ```
/// use syva_core::Activation;
/// let leaky: Activation = "leaky-relu:slope=0.2".parse()?;
/// assert_eq!(leaky, Activation::LeakyRelu(0.2));
/// assert_eq!(leaky.forward(-1.0_f64), -0.2);
/// assert_eq!("LeakyReLU".parse::<Activation>()?.to_string(), "leaky-relu");
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Activation {
    /// z (`torch.nn.Identity`).
    Identity,
    /// max(z, 0) (`torch.nn.ReLU`).
    Relu,
    /// 1 / (1 + e^−z) (`torch.nn.Sigmoid`).
    Sigmoid,
    /// tanh z (`torch.nn.Tanh`).
    Tanh,
    /// z if z > 0, otherwise slope · z (`torch.nn.LeakyReLU`; Maas et al. 2013).
    LeakyRelu(f64),
    /// z if z > 0, otherwise alpha · (e^z − 1) (`torch.nn.ELU`; Clevert et al. 2015).
    Elu(f64),
    /// 1.0507 · ELU with alpha 1.6733 (`torch.nn.SELU`; Klambauer et al. 2017).
    Selu,
    /// z · Φ(z), Φ being the normal distribution (`torch.nn.GELU`; Hendrycks and Gimpel 2016).
    Gelu,
    /// GELU's approximation ½z · (1 + tanh(√(2/π) · (z + 0.044715 z³))) (`torch.nn.GELU(approximate="tanh")`).
    GeluTanh,
    /// z · sigmoid(z), also known as swish (`torch.nn.SiLU`; Elfwing et al. 2017).
    Silu,
    /// z · tanh(softplus(z)) (`torch.nn.Mish`; Misra 2019).
    Mish,
    /// ln(1 + e^(beta · z)) / beta (`torch.nn.Softplus`).
    Softplus(f64),
    /// z · min(max(z + 3, 0), 6) / 6 (`torch.nn.Hardswish`; Howard et al. 2019).
    HardSwish,
    /// min(max(z + 3, 0), 6) / 6 (`torch.nn.Hardsigmoid`).
    HardSigmoid,
}

/// What an activation's derivative is computed from. It is all that an engine has to keep of a layer for the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The activation h.
    H,
    /// The pre-activation z, which an engine otherwise overwrites with h.
    Z,
}

/// The one list of activations: name, parameter with its default, variant.
macro_rules! activations {
    ($($name:literal $(($parameter:literal = $default:literal))? => $variant:ident $(($value:ident))?),+ $(,)?) => {
        impl Activation {
            /// Every activation, with the parameter that it has by default.
            pub const ALL: &'static [Self] = &[$(activations!(@default $variant $($default)?)),+];

            pub(crate) const FORMS: &'static [Form<Self>] = &[$(Form {
                name: $name,
                parameters: &[$(($parameter, concat!($default)))?],
                make: |_texts| Ok(activations!(@make _texts $variant $($value)?)),
            }),+];

            /// Calls a loop with this activation, in code that the compiler makes for this activation alone.
            #[inline(always)]
            pub fn specialise<L: Specialised>(self, body: L) {
                match self {
                    $(Self::$variant $(($value))? => body.run(Self::$variant $(($value))?)),+
                }
            }

            /// Its form, and its parameter if it has one.
            fn form(self) -> (&'static Form<Self>, Vec<String>) {
                let form = &Self::FORMS[self.index()];
                (form, vec![self.parameter().to_string(); form.parameters.len()])
            }

            /// Its place in [`Activation::ALL`].
            #[must_use]
            pub fn index(self) -> usize {
                let same = |other: &&Self| std::mem::discriminant(*other) == std::mem::discriminant(&self);
                Self::ALL.iter().take_while(|other| !same(other)).count()
            }

            /// Its parameter; 0 if it has none. Inlined, because a call in a loop over values would keep it from becoming
            /// SIMD code.
            #[inline(always)]
            #[must_use]
            pub fn parameter(self) -> f64 {
                match self {
                    $(Self::$variant $(($value))? => activations!(@value $($value)?)),+
                }
            }
        }
    };
    (@default $variant:ident) => { Self::$variant };
    (@default $variant:ident $default:literal) => { Self::$variant($default) };
    (@make $texts:ident $variant:ident) => { Self::$variant };
    (@make $texts:ident $variant:ident $value:ident) => {
        Self::$variant(crate::names::read(&mut $texts.iter().copied().enumerate())?)
    };
    (@value) => { 0.0 };
    (@value $value:ident) => { $value };
}

activations! {
    "identity" => Identity,
    "relu" => Relu,
    "sigmoid" => Sigmoid,
    "tanh" => Tanh,
    "leaky-relu" ("slope" = 0.01) => LeakyRelu(slope),
    "elu" ("alpha" = 1.0) => Elu(alpha),
    "selu" => Selu,
    "gelu" => Gelu,
    "gelu-tanh" => GeluTanh,
    "silu" => Silu,
    "mish" => Mish,
    "softplus" ("beta" = 1.0) => Softplus(beta),
    "hard-swish" => HardSwish,
    "hard-sigmoid" => HardSigmoid,
}

/// A loop over values that is compiled for each activation: see [`Activation::specialise`].
pub trait Specialised {
    /// The loop. Mark it `#[inline(always)]`.
    fn run(self, activation: Activation);
}

/// SELU's two constants, which make mean 0 and variance 1 a fixed point.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

impl Activation {
    /// What the derivative is computed from.
    #[must_use]
    pub const fn reads(self) -> Reads {
        match self {
            Self::Identity
            | Self::Relu
            | Self::Sigmoid
            | Self::Tanh
            | Self::LeakyRelu(_)
            | Self::Elu(_)
            | Self::Selu => Reads::H,
            Self::Gelu
            | Self::GeluTanh
            | Self::Silu
            | Self::Mish
            | Self::Softplus(_)
            | Self::HardSwish
            | Self::HardSigmoid => Reads::Z,
        }
    }

    /// Whether the derivative is continuous.
    #[must_use]
    pub fn is_smooth(self) -> bool {
        match self {
            Self::Relu | Self::LeakyRelu(_) | Self::Selu | Self::HardSwish | Self::HardSigmoid => false,
            Self::Elu(alpha) => alpha == 1.0,
            Self::Identity
            | Self::Sigmoid
            | Self::Tanh
            | Self::Softplus(_)
            | Self::Gelu
            | Self::GeluTanh
            | Self::Silu
            | Self::Mish => true,
        }
    }

    /// h = a(z).
    #[inline(always)]
    #[must_use]
    pub fn forward<N: Number>(self, z: N) -> N {
        self.forward_with(z, N::from_f64(self.parameter()))
    }

    /// a'(z) · dx, from what the derivative [reads](Activation::reads): h or z.
    #[inline(always)]
    #[must_use]
    pub fn backward<N: Number>(self, read: N, dx: N) -> N {
        self.backward_with(read, dx, N::from_f64(self.parameter()))
    }

    /// h = a(z), with the parameter `p`.
    #[inline(always)]
    #[must_use]
    pub fn forward_with<N: Number>(self, z: N, p: N) -> N {
        let of = N::from_f64;
        match self {
            Self::Identity => z,
            Self::Relu => z.relu(),
            Self::Sigmoid => z.sigmoid(),
            Self::Tanh => z.tanh(),
            Self::LeakyRelu(_) => N::select(z.above(N::ZERO), z, p * z),
            Self::Elu(_) => N::select(z.above(N::ZERO), z, p * z.exp_m1()),
            Self::Selu => N::select(z.above(N::ZERO), of(SELU_SCALE) * z, of(SELU_SCALE * SELU_ALPHA) * z.exp_m1()),
            Self::Gelu => z * normal(z),
            Self::GeluTanh => {
                let half = of(0.5) * z;
                half.fma(inner(z).tanh(), half)
            }
            Self::Silu => z * z.sigmoid(),
            Self::Mish => {
                let (_, n) = mish_terms(z);
                z * (n / (n + N::TWO))
            }
            Self::Softplus(_) => softplus(p * z) / p,
            Self::HardSwish => z * hard(z),
            Self::HardSigmoid => hard(z),
        }
    }

    /// a'(z) · dx, with the parameter `p`.
    #[inline(always)]
    #[must_use]
    pub fn backward_with<N: Number>(self, read: N, dx: N, p: N) -> N {
        let of = N::from_f64;
        // By `reads`, only one of them is what was read.
        let (h, z) = (read, read);
        match self {
            Self::Identity => dx,
            Self::Relu => N::select(h.above(N::ZERO), dx, N::ZERO),
            Self::Sigmoid => dx * (h * (N::ONE - h)),
            Self::Tanh => dx * (-h).fma(h, N::ONE),
            Self::LeakyRelu(_) => N::select(h.above(N::ZERO), dx, p * dx),
            Self::Elu(_) => N::select(h.above(N::ZERO), dx, dx * (h + p)),
            Self::Selu => dx * N::select(h.above(N::ZERO), of(SELU_SCALE), h + of(SELU_SCALE * SELU_ALPHA)),
            Self::Gelu => {
                // Φ + z · φ, where φ = e^(−z²/2) / √(2π).
                let density = (of(-0.5) * (z * z)).exp() * of(0.398_942_280_401_432_7);
                dx * z.fma(density, normal(z))
            }
            Self::GeluTanh => {
                let t = inner(z).tanh();
                let slope = (z * z).fma(of(3.0 * CUBE * ROOT_2_BY_PI), of(ROOT_2_BY_PI));
                let half = of(0.5);
                // ½(1 + t) + ½z · (1 − t²) · slope.
                dx * (half * z * (-t).fma(t, N::ONE)).fma(slope, half.fma(t, half))
            }
            Self::Silu => {
                let s = z.sigmoid();
                dx * (s * z.fma(N::ONE - s, N::ONE))
            }
            Self::Mish => {
                let (e, n) = mish_terms(z);
                let rest = n + N::TWO;
                let slope = of(4.0) * (e * (e + N::ONE)) / (rest * rest);
                dx * z.fma(slope, n / rest)
            }
            Self::Softplus(_) => dx * (p * z).sigmoid(),
            Self::HardSwish => {
                let middle = z.fma(of(1.0 / 3.0), of(0.5));
                let inside = N::select(z.above(of(-3.0)), middle, N::ZERO);
                dx * N::select(z.above(of(3.0)), N::ONE, inside)
            }
            Self::HardSigmoid => {
                let inside = N::select(of(3.0).above(z), of(1.0 / 6.0), N::ZERO);
                dx * N::select(z.above(of(-3.0)), inside, N::ZERO)
            }
        }
    }

    /// Checks that the parameter is one that the derivative can live with.
    pub fn validate(self) -> Result<()> {
        let refuse = |problem: String, remedy| Err(Error::setting("activation", problem, remedy));
        let p = self.parameter();
        if !(p as f32).is_finite() {
            return refuse(format!("the parameter {p} is not a finite 32-bit number"), "give a smaller number");
        }
        match self {
            // Below 0, h would not say on which side z is.
            Self::LeakyRelu(_) if p < 0.0 => refuse(format!("slope {p} is below 0"), "give 0 or more, such as 0.01"),
            Self::Elu(_) if p <= 0.0 => refuse(format!("alpha {p} is not above 0"), "give more than 0, such as 1"),
            Self::Softplus(_) if p <= 0.0 => refuse(format!("beta {p} is not above 0"), "give more than 0, such as 1"),
            _ => Ok(()),
        }
    }
}

/// GELU's Φ(z) = ½ (1 + erf(z/√2)).
#[inline(always)]
fn normal<N: Number>(z: N) -> N {
    let half = N::from_f64(0.5);
    half.fma((z * N::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf(), half)
}

/// √(2/π), and the factor of the cube in GELU's approximation.
const ROOT_2_BY_PI: f64 = 0.797_884_560_802_865_4;
const CUBE: f64 = 0.044_715;

/// √(2/π) · (z + 0.044715 z³).
#[inline(always)]
fn inner<N: Number>(z: N) -> N {
    z * (z * z).fma(N::from_f64(CUBE * ROOT_2_BY_PI), N::from_f64(ROOT_2_BY_PI))
}

/// e^z and e^z·(e^z + 2), of which tanh(softplus(z)) is n / (n + 2). From 20 on that is 1.
#[inline(always)]
fn mish_terms<N: Number>(z: N) -> (N, N) {
    let limit = N::from_f64(20.0);
    let e = N::select(z.above(limit), limit, z).exp();
    (e, e * (e + N::TWO))
}

/// ln(1 + e^z), written so that nothing overflows.
#[inline(always)]
fn softplus<N: Number>(z: N) -> N {
    z.relu() + (-z.magnitude()).exp().log_1p()
}

/// min(max(z + 3, 0), 6) / 6.
#[inline(always)]
fn hard<N: Number>(z: N) -> N {
    let six = N::from_f64(6.0);
    let above = (z + N::from_f64(3.0)).relu();
    N::select(above.above(six), six, above) / six
}

text!(Activation, "activation");

#[cfg(test)]
mod tests {
    use super::*;

    fn read<N: Number>(activation: Activation, z: N) -> N {
        match activation.reads() {
            Reads::H => activation.forward(z),
            Reads::Z => z,
        }
    }

    fn all() -> Vec<Activation> {
        let others = ["leaky-relu:0.3", "leaky-relu:slope=0", "elu:alpha=2.5", "softplus:beta=3"];
        Activation::ALL.iter().copied().chain(others.map(|text| text.parse().unwrap())).collect()
    }

    #[test]
    fn derivatives_are_those_of_central_differences() {
        for activation in all() {
            for i in -800..=800 {
                // No kink is hit: they are at multiples of 1.
                let (z, step) = (f64::from(i) * 0.01 + 0.003, 1e-5);
                let slope = (activation.forward(z + step) - activation.forward(z - step)) / (2.0 * step);
                let found = activation.backward(read(activation, z), 2.0);
                assert!((found - 2.0 * slope).abs() < 1e-8, "{activation} at {z}: {found} instead of {}", 2.0 * slope);
            }
        }
    }

    #[test]
    fn f32_is_close_to_f64_and_finite_far_out() {
        for activation in all() {
            for i in -4000..=4000 {
                let z = i as f32 * 0.02;
                let (found, wanted) = (activation.forward(z), activation.forward(f64::from(z)));
                assert!(
                    (f64::from(found) - wanted).abs() <= 3e-7 * (1.0 + wanted.abs()),
                    "{activation}({z}) is {found}"
                );
                let (found, wanted) = (
                    activation.backward(read(activation, z), 1.0_f32),
                    activation.backward(read(activation, f64::from(z)), 1.0),
                );
                assert!(
                    (f64::from(found) - wanted).abs() <= 2e-6 * (1.0 + wanted.abs()),
                    "{activation}'({z}) is {found}, not {wanted}"
                );
            }
            for z in [1e4_f32, -1e4, 1e9, -1e9] {
                assert!(activation.forward(z).is_finite(), "{activation}({z})");
                assert!(activation.backward(read(activation, z), 1.0).is_finite(), "{activation}'({z})");
            }
        }
    }

    #[test]
    fn names_and_parameters_are_read_and_written() {
        for activation in all() {
            assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
            assert_eq!(Activation::ALL[activation.index()].index(), activation.index());
        }
        let says = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
        assert_eq!("LeakyReLU:Slope=0.5".parse::<Activation>().unwrap().to_string(), "leaky-relu:slope=0.5");
        assert!(says("leaky-relu:slop=1").contains("no parameter 'slop' (did you mean 'slope'?)"));
        assert!(says("leaky-relu:slope=1,slope=2").contains("slope is given twice"));
        assert!(says("leaky-relu:-1").contains("slope -1 is below 0"));
        assert!(says("elu:alpha=inf").contains("'inf' is not a finite number; write elu:alpha=NUMBER"));
        assert!(says("tanh:2").contains("tanh has no parameters"));
        assert!(says("silo").contains("did you mean 'silu'?"));
    }
}
