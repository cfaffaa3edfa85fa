//! The initial weights: the distributions that they are drawn from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;
use crate::random::Random;
use crate::{Error, Result};

/// How weights and biases are initialised. Each number is drawn at its own position in the Philox stream `Init`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Init {
    /// Weights and biases from U(±1/√fan_in), as `torch.nn.Linear` does.
    Pytorch,
    /// Weights from U(±√(6/(fan_in + fan_out))), biases 0 (Glorot and Bengio 2010; `xavier_uniform_`).
    XavierUniform,
    /// Weights from N(0, 2/(fan_in + fan_out)), biases 0 (`xavier_normal_`).
    XavierNormal,
    /// Weights from U(±√(6/fan_in)), biases 0 (He et al. 2015; `kaiming_uniform_` for ReLU).
    HeUniform,
    /// Weights from N(0, 2/fan_in), biases 0 (`kaiming_normal_` for ReLU).
    HeNormal,
    /// All 0. (All units of a layer then stay equal: an example for teaching, not a method.)
    Zeros,
    /// All weights have this value, biases are 0.
    Constant(f32),
}

impl Init {
    /// Checks that a constant is a number.
    pub fn validate(self) -> Result<()> {
        match self {
            Self::Constant(value) if !value.is_finite() => {
                Err(Error::setting("init", format!("{value} is not finite"), "give a finite constant"))
            }
            _ => Ok(()),
        }
    }

    const NAMES: &'static [(&'static str, Self)] = &[
        ("pytorch", Self::Pytorch),
        ("xavier-uniform", Self::XavierUniform),
        ("xavier-normal", Self::XavierNormal),
        ("he-uniform", Self::HeUniform),
        ("he-normal", Self::HeNormal),
        ("zeros", Self::Zeros),
    ];
}

impl FromStr for Init {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        if let Some(init) = crate::names::find(Self::NAMES, name) {
            return Ok(init);
        }
        let constant = name.split_once(':').filter(|(kind, _)| kind.eq_ignore_ascii_case("constant"));
        match constant.map(|(_, value)| value.parse::<f32>()) {
            Some(Ok(value)) if value.is_finite() => Ok(Self::Constant(value)),
            Some(_) => {
                let problem = format!("'{name}' does not give a finite number");
                Err(Error::setting("init", problem, "write a finite number after the colon, such as constant:0.1"))
            }
            None => {
                let names: Vec<_> = Self::NAMES.iter().map(|(n, _)| *n).chain(["constant:VALUE"]).collect();
                Err(crate::names::unknown("init", name, &names))
            }
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "constant:{value}"),
            _ => f.pad(Self::NAMES.iter().find(|(_, init)| init == self).map_or("init", |(name, _)| name)),
        }
    }
}

impl TryFrom<String> for Init {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Init> for String {
    fn from(init: Init) -> Self {
        init.to_string()
    }
}

/// Draws the weights and biases of one layer.
pub(crate) enum Draw {
    /// U(±bound). With `bias`, biases are drawn as well.
    Uniform { bound: f32, bias: bool },
    /// N(0, std²). `spare` is the second number of a drawn pair.
    Normal { std: f64, spare: Option<f64> },
    /// One value.
    Constant(f32),
}

impl Draw {
    pub(crate) fn new(init: Init, fan_in: usize, fan_out: usize) -> Self {
        let (fan_in, fan_out) = (fan_in as f64, fan_out as f64);
        let uniform = |variance_times_3: f64, bias| Self::Uniform { bound: variance_times_3.sqrt() as f32, bias };
        let normal = |variance: f64| Self::Normal { std: variance.sqrt(), spare: None };
        match init {
            Init::Pytorch => uniform(1.0 / fan_in, true),
            Init::XavierUniform => uniform(6.0 / (fan_in + fan_out), false),
            Init::XavierNormal => normal(2.0 / (fan_in + fan_out)),
            Init::HeUniform => uniform(6.0 / fan_in, false),
            Init::HeNormal => normal(2.0 / fan_in),
            Init::Zeros => Self::Constant(0.0),
            Init::Constant(value) => Self::Constant(value),
        }
    }

    pub(crate) fn weight(&mut self, random: &mut Random) -> f32 {
        match self {
            Self::Uniform { bound, .. } => random.uniform(-*bound, *bound),
            Self::Constant(value) => *value,
            Self::Normal { std, spare } => {
                let normal = spare.take().unwrap_or_else(|| {
                    let (first, second) = normal_pair(random);
                    *spare = Some(second);
                    first
                });
                (normal * *std) as f32
            }
        }
    }

    pub(crate) fn bias(&self, random: &mut Random) -> f32 {
        match self {
            Self::Uniform { bound, bias: true } => random.uniform(-*bound, *bound),
            _ => 0.0,
        }
    }
}

/// Draws two independent standard normal numbers by G. Marsaglia's polar method, in f64 with the contract's logarithm.
fn normal_pair(random: &mut Random) -> (f64, f64) {
    loop {
        let mut side = || f64::from(random.next_u32()) * (1.0 / 2_147_483_648.0) - 1.0;
        let (x, y) = (side(), side());
        let s = x * x + y * y;
        if s < 1.0 && s > 0.0 {
            let factor = f64::sqrt(-2.0 * Number::log(s) / s);
            return (x * factor, y * factor);
        }
    }
}
