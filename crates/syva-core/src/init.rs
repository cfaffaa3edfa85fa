//! The initial weights: the distributions that they are drawn from.

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;
use crate::data::Dataset;
use crate::names::{Parameter, forms, text};
use crate::ops::Activation;
use crate::random::{Random, Stream};
use crate::spec::Spec;
use crate::state::State;
use crate::training::Training;
use crate::{Error, Result};

/// How weights are initialised. Each number is drawn at its own position in the Philox stream `Init`. `gain` is the factor
/// on the standard deviation that makes up for what an activation takes from it.
///
/// ```
/// use syva_core::{Gain, Init};
/// assert_eq!("he-normal".parse::<Init>()?, Init::HE_NORMAL);
/// assert_eq!("orthogonal:gain=auto".parse::<Init>()?, Init::Orthogonal { gain: Gain::Auto });
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Init {
    /// Weights and biases from U(±1/√fan_in), as `torch.nn.Linear` does.
    Pytorch,
    /// From U(±gain·√(6/(fan_in + fan_out))) (Glorot and Bengio 2010; `xavier_uniform_`).
    XavierUniform {
        /// 1 unless it is given.
        gain: Gain,
    },
    /// From N(0, gain²·2/(fan_in + fan_out)) (`xavier_normal_`).
    XavierNormal {
        /// 1 unless it is given.
        gain: Gain,
    },
    /// From U(±gain·√(3/fan_in)) (He et al. 2015; `kaiming_uniform_`).
    HeUniform {
        /// √2, that of ReLU, unless it is given.
        gain: Gain,
    },
    /// From N(0, gain²/fan_in) (`kaiming_normal_`).
    HeNormal {
        /// √2, that of ReLU, unless it is given.
        gain: Gain,
    },
    /// From U(±gain·√(3/fan_in)) (LeCun et al. 1998).
    LecunUniform {
        /// 1 unless it is given.
        gain: Gain,
    },
    /// From N(0, gain²/fan_in).
    LecunNormal {
        /// 1 unless it is given.
        gain: Gain,
    },
    /// From N(0, std²), drawn again beyond ±cut·std (`trunc_normal_`).
    TruncatedNormal {
        /// The standard deviation before the cut.
        std: f64,
        /// The largest magnitude, in standard deviations.
        cut: f64,
    },
    /// A random orthogonal matrix times the gain: its rows, or its columns if there are more rows, are orthonormal (Saxe et
    /// al. 2013; `orthogonal_`). Takes time as the cube of the width: about a minute for a layer of 4096 by 4096.
    Orthogonal {
        /// 1 unless it is given.
        gain: Gain,
    },
    /// From N(0, std²), and of each input's weights this share is 0 (Martens 2010; `sparse_`).
    Sparse {
        /// The share, rounded up to whole weights.
        sparsity: f64,
        /// The standard deviation of the others.
        std: f64,
    },
    /// From N(0, 1), and then divided, unit by unit, by the standard deviation of Σ w·x over the training data. So all
    /// pre-activations have variance 1, layer after layer, before their biases (`std` of RealMLP).
    Standardized,
    /// All 0. (All units of a layer then stay equal: an example for teaching, not a method.)
    Zeros,
    /// All weights have this value.
    Constant {
        /// The value.
        value: f64,
    },
}

forms! { Init,
    "pytorch" => Pytorch,
    "xavier-uniform" => XavierUniform { gain = 1 },
    "xavier-normal" => XavierNormal { gain = 1 },
    "he-uniform" => HeUniform { gain = "relu" },
    "he-normal" => HeNormal { gain = "relu" },
    "lecun-uniform" => LecunUniform { gain = 1 },
    "lecun-normal" => LecunNormal { gain = 1 },
    "truncated-normal" => TruncatedNormal { std = 0.02, cut = 2.0 },
    "orthogonal" => Orthogonal { gain = 1 },
    "sparse" => Sparse { sparsity = 0.9, std = 0.01 },
    "standardized" => Standardized,
    "zeros" => Zeros,
    "constant" => Constant { value = 0.0 },
}
text!(Init, "init");

impl Init {
    /// `xavier-uniform`.
    pub const XAVIER_UNIFORM: Self = Self::XavierUniform { gain: Gain::Number(1.0) };
    /// `xavier-normal`.
    pub const XAVIER_NORMAL: Self = Self::XavierNormal { gain: Gain::Number(1.0) };
    /// `he-uniform`.
    pub const HE_UNIFORM: Self = Self::HeUniform { gain: Gain::Of(Activation::Relu) };
    /// `he-normal`.
    pub const HE_NORMAL: Self = Self::HeNormal { gain: Gain::Of(Activation::Relu) };

    /// Checks that every parameter is in its range.
    pub fn validate(self) -> Result<()> {
        let (form, values) = self.form();
        for (&(name, default), text) in form.parameters.iter().zip(&values) {
            let Ok(value) = text.parse::<f64>() else { continue };
            let (fits, range) = match name {
                "value" => (true, "that is finite"),
                "sparsity" => ((0.0..1.0).contains(&value), "from 0 to below 1"),
                // Fewer draws than a third would be kept.
                "cut" => (value >= 0.5, "of 0.5 or more"),
                _ => (value > 0.0, "above 0"),
            };
            if !(fits && value.is_finite() && (value as f32).is_finite()) {
                let problem = format!("{name} {text} of {} is out of range", form.name);
                return Err(Error::setting("init", problem, format!("give a number {range}, such as {default}")));
            }
        }
        match self.gain() {
            Some(Gain::Of(activation)) => gain_of(activation).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Checks that the weights of this network can be drawn.
    pub(crate) fn check(self, spec: &Spec) -> Result<()> {
        self.validate()?;
        match self.gain() {
            Some(Gain::Auto) => spec.layers.iter().try_for_each(|layer| gain_of(layer.activation).map(|_| ())),
            _ => Ok(()),
        }
    }

    fn gain(self) -> Option<Gain> {
        match self {
            Self::XavierUniform { gain }
            | Self::XavierNormal { gain }
            | Self::HeUniform { gain }
            | Self::HeNormal { gain }
            | Self::LecunUniform { gain }
            | Self::LecunNormal { gain }
            | Self::Orthogonal { gain } => Some(gain),
            _ => None,
        }
    }

    /// Draws the weights `[units, fan_in]` of a layer, row after row.
    pub(crate) fn weights(self, units: usize, fan_in: usize, activation: Activation, random: &mut Random) -> Vec<f32> {
        let count = units * fan_in;
        let (inputs, outputs) = (fan_in as f64, units as f64);
        let square = self.gain().map_or(1.0, |gain| gain.square(activation));
        // The variance is a quotient; its bits are those of one division.
        let uniform = |over: f64, under: f64, random: &mut Random| {
            let bound = (3.0 * over / under).sqrt() as f32;
            (0..count).map(|_| random.uniform(-bound, bound)).collect()
        };
        let normal = |std: f64, random: &mut Random| {
            let mut normal = Normal::new(random);
            (0..count).map(|_| (normal.next() * std) as f32).collect()
        };
        match self {
            Self::Pytorch => {
                let bound = pytorch_bound(fan_in);
                (0..count).map(|_| random.uniform(-bound, bound)).collect()
            }
            Self::XavierUniform { .. } => uniform(2.0 * square, inputs + outputs, random),
            Self::XavierNormal { .. } => normal((2.0 * square / (inputs + outputs)).sqrt(), random),
            Self::HeUniform { .. } | Self::LecunUniform { .. } => uniform(square, inputs, random),
            Self::HeNormal { .. } | Self::LecunNormal { .. } => normal((square / inputs).sqrt(), random),
            Self::TruncatedNormal { std, cut } => {
                let mut normal = Normal::new(random);
                let mut inside = || loop {
                    let value = normal.next();
                    if value.abs() <= cut {
                        return (value * std) as f32;
                    }
                };
                (0..count).map(|_| inside()).collect()
            }
            Self::Orthogonal { .. } => orthogonal(units, fan_in, square.sqrt(), random),
            Self::Sparse { sparsity, std } => {
                let mut weights: Vec<f32> = normal(std, random);
                let zeros = (sparsity * outputs).ceil() as usize;
                for input in 0..fan_in {
                    // The first steps of a Fisher-Yates shuffle.
                    let mut rows: Vec<usize> = (0..units).collect();
                    for place in 0..zeros.min(units) {
                        rows.swap(place, place + random.below((units - place) as u64) as usize);
                        weights[rows[place] * fan_in + input] = 0.0;
                    }
                }
                weights
            }
            // Divided afterwards.
            Self::Standardized => normal(1.0, random),
            Self::Zeros => vec![0.0; count],
            Self::Constant { value } => vec![value as f32; count],
        }
    }
}

/// The factor on the standard deviation of initial weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gain {
    /// That of the layer's own activation.
    Auto,
    /// That of an activation, as `torch.nn.init.calculate_gain` has it.
    Of(Activation),
    /// This one.
    Number(f64),
}

impl Gain {
    /// Its square, for a layer with this activation. The squares of PyTorch's gains are rational, and so exact to the bit.
    fn square(self, activation: Activation) -> f64 {
        match self {
            Self::Auto => gain_of(activation).unwrap_or(1.0),
            Self::Of(activation) => gain_of(activation).unwrap_or(1.0),
            Self::Number(gain) => gain * gain,
        }
    }
}

impl Parameter for Gain {
    fn read(text: &str) -> std::result::Result<Self, (String, String)> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let instead = || "auto, NUMBER or the name of an activation".to_string();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Self::Number(number)),
            Ok(_) => Err((format!("'{text}' is not finite"), instead())),
            Err(_) => text.parse().map(Self::Of).map_err(|_| (format!("'{text}' is no gain"), instead())),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Auto => "auto".into(),
            Self::Of(activation) => activation.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The square of the gain of an activation (`torch.nn.init.calculate_gain`).
fn gain_of(activation: Activation) -> Result<f64> {
    match activation {
        Activation::Identity | Activation::Sigmoid => Ok(1.0),
        Activation::Tanh => Ok(25.0 / 9.0),
        Activation::Relu => Ok(2.0),
        Activation::LeakyRelu(slope) => Ok(2.0 / (1.0 + slope * slope)),
        Activation::Selu => Ok(9.0 / 16.0),
        _ => {
            let problem = format!("no gain is known for {activation}");
            Err(Error::setting("init", problem, "give a number or another activation, as in gain=1.4 or gain=relu"))
        }
    }
}

/// How biases are initialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum BiasInit {
    /// As the initialisation of the weights has it: from U(±1/√fan_in) for [`Init::Pytorch`], otherwise 0.
    #[default]
    Auto,
    /// All 0.
    Zeros,
    /// From U(±1/√fan_in), as `torch.nn.Linear` does.
    Pytorch,
    /// From N(0, std²).
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Each unit's hyperplane Σ w·x + b = 0 passes through the training data: through a random mean of five of its samples
    /// (`he+5` of RealMLP).
    Hyperplanes,
    /// All have this value.
    Constant {
        /// The value.
        value: f64,
    },
}

forms! { BiasInit,
    "auto" => Auto,
    "zeros" => Zeros,
    "pytorch" => Pytorch,
    "normal" => Normal { std = 1.0 },
    "hyperplanes" => Hyperplanes,
    "constant" => Constant { value = 0.0 },
}
text!(BiasInit, "bias-init");

impl BiasInit {
    /// Checks that a constant is a number.
    pub fn validate(self) -> Result<()> {
        match self {
            Self::Constant { value } if !(value as f32).is_finite() => {
                Err(Error::setting("bias-init", format!("{value} is not finite"), "give a finite constant"))
            }
            Self::Normal { std } if !(std > 0.0 && (std as f32).is_finite()) => Err(Error::setting(
                "bias-init",
                format!("std {std} is out of range"),
                "give a number above 0, such as 1",
            )),
            _ => Ok(()),
        }
    }

    /// Draws the biases of a layer, after its weights.
    pub(crate) fn biases(self, init: Init, units: usize, fan_in: usize, random: &mut Random) -> Vec<f32> {
        match self {
            Self::Pytorch => {
                let bound = pytorch_bound(fan_in);
                (0..units).map(|_| random.uniform(-bound, bound)).collect()
            }
            Self::Auto if init == Init::Pytorch => Self::Pytorch.biases(init, units, fan_in, random),
            Self::Normal { std } => (0..units).map(|_| (normal(random) * std) as f32).collect(),
            // Computed afterwards.
            Self::Auto | Self::Zeros | Self::Hyperplanes => vec![0.0; units],
            Self::Constant { value } => vec![value as f32; units],
        }
    }
}

fn pytorch_bound(fan_in: usize) -> f32 {
    (1.0 / fan_in as f64).sqrt() as f32
}

/// Standard normal numbers, drawn in pairs.
struct Normal<'a> {
    random: &'a mut Random,
    spare: Option<f64>,
}

impl<'a> Normal<'a> {
    fn new(random: &'a mut Random) -> Self {
        Self { random, spare: None }
    }

    fn next(&mut self) -> f64 {
        self.spare.take().unwrap_or_else(|| {
            let (first, second) = normal_pair(self.random);
            self.spare = Some(second);
            first
        })
    }
}

/// Draws a standard normal number.
pub(crate) fn normal(random: &mut Random) -> f64 {
    normal_pair(random).0
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

/// Samples that weights are fitted to, at most.
const FITTED: usize = 2048;

/// Fits drawn weights and biases to the training data, layer after layer, in f64 and in an order of operations that gives
/// the same bits everywhere.
pub(crate) fn fit_to_data(spec: &Spec, training: &Training, data: &Dataset, state: &mut State) {
    let rows = data.samples().min(FITTED);
    let features = spec.input.features;
    let mut x = Vec::with_capacity(rows * features);
    for row in 0..rows {
        // Spread over all of the data.
        let sample = (row as u64 * data.samples() as u64 / rows as u64) as usize;
        x.extend(data.inputs().rows(sample..sample + 1, features).iter().map(|&x| f64::from(x)));
    }
    let (scale, shift): (Vec<f64>, Vec<f64>) = (0..features)
        .map(|k| spec.input.normalization.of(k))
        .map(|(scale, shift)| (f64::from(scale), f64::from(shift)))
        .unzip();
    let mut h = match &spec.input.embedding {
        Some(embedding) => {
            let wide = |tensor: &Vec<f32>| tensor.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
            let tensors: Vec<Vec<f64>> = state.embedding.iter().map(wide).collect();
            embedding.forward(&tensors, &x, (&scale, &shift))
        }
        None => x.iter().enumerate().map(|(i, x)| x * scale[i % features] + shift[i % features]).collect(),
    };
    for (k, layer) in spec.layers.iter().enumerate() {
        let (units, fan_in) = (layer.units, spec.fan_in(k));
        let parameters = &mut state.layers[k];
        let is_zero = training.zero_last && k + 1 == spec.layers.len();
        let mut z = vec![0.0; rows * units];
        // [fan_in, units], so that the inner loop runs along units.
        let w: Vec<f64> = (0..fan_in * units).map(|i| f64::from(parameters.weight.row(i % units)[i / units])).collect();
        for (h, z) in h.chunks_exact(fan_in).zip(z.chunks_exact_mut(units)) {
            for (&h, w) in h.iter().zip(w.chunks_exact(units)) {
                z.iter_mut().zip(w).for_each(|(z, w)| *z += h * w);
            }
        }
        if training.init == Init::Standardized && !is_zero {
            for j in 0..units {
                let column = || z.iter().skip(j).step_by(units);
                let mean = column().sum::<f64>() / rows as f64;
                let std = (column().map(|z| (z - mean) * (z - mean)).sum::<f64>() / rows as f64).sqrt();
                // The same input everywhere, such as that of one sample: as large as if its inputs had variance 1.
                let std = if std > 0.0 && std.is_finite() { std } else { (fan_in as f64).sqrt() };
                parameters.weight.row_mut(j).iter_mut().for_each(|w| *w = (f64::from(*w) / std) as f32);
                z.iter_mut().skip(j).step_by(units).for_each(|z| *z /= std);
            }
        }
        if training.bias_init == BiasInit::Hyperplanes && !is_zero {
            let mut random = Random::new(training.seed, Stream::Init, 2 << 32 | k as u64);
            for (j, bias) in parameters.bias.iter_mut().enumerate() {
                let (mut sum, mut total) = (0.0, 0.0);
                for _ in 0..5 {
                    let row = random.below(rows as u64) as usize;
                    // From the exponential distribution, so that the shares are spread evenly over the simplex.
                    let share = -Number::log(1.0 - f64::from(random.unit()));
                    (sum, total) = (sum + share * z[row * units + j], total + share);
                }
                *bias = if total > 0.0 { (-sum / total) as f32 } else { 0.0 };
            }
        }
        for (j, &bias) in parameters.bias.iter().enumerate() {
            let gain = parameters.gain.get(j).map_or(1.0, |&gain| f64::from(gain));
            for z in z.iter_mut().skip(j).step_by(units) {
                *z += f64::from(bias);
                let f = layer.activation.forward(*z);
                *z = if layer.learned.has_gains() { layer.learned.forward(*z, f, gain) } else { f };
            }
        }
        h = z;
    }
}

/// `gain` times the orthogonal factor of a matrix of normal numbers, in the one form in which the other factor has a
/// positive diagonal, which is what `orthogonal_` returns. By Gram and Schmidt's method, twice for each vector ("twice is
/// enough": Giraud et al. 2005), in f64 and in an order of operations that gives the same bits everywhere.
fn orthogonal(rows: usize, columns: usize, gain: f64, random: &mut Random) -> Vec<f32> {
    let mut normal = Normal::new(random);
    let drawn: Vec<f64> = (0..rows * columns).map(|_| normal.next()).collect();
    // The vectors to make orthonormal: the rows, or the columns if there are fewer of them.
    let is_tall = rows > columns;
    let (count, length) = if is_tall { (columns, rows) } else { (rows, columns) };
    let place = |vector: usize, i: usize| if is_tall { i * columns + vector } else { vector * columns + i };
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    for vector in 0..count {
        let mut next: Vec<f64> = (0..length).map(|i| drawn[place(vector, i)]).collect();
        for _ in 0..2 {
            for other in &vectors {
                let along = dot(other, &next);
                next.iter_mut().zip(other).for_each(|(value, unit)| *value -= along * unit);
            }
        }
        let norm = dot(&next, &next).sqrt();
        for value in &mut next {
            *value /= norm;
        }
        vectors.push(next);
    }
    let mut weights = vec![0.0; rows * columns];
    for (vector, values) in vectors.iter().enumerate() {
        for (i, value) in values.iter().enumerate() {
            weights[place(vector, i)] = (gain * value) as f32;
        }
    }
    weights
}

/// The scalar product, as eight sums that SIMD units add at once, joined in a fixed order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_parts, b_parts) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_parts.remainder().iter().zip(b_parts.remainder()).fold(0.0, |sum, (a, b)| sum + a * b);
    for (a, b) in a_parts.zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7)) + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn drawn(text: &str, units: usize, fan_in: usize) -> Vec<f64> {
        let init: Init = text.parse().unwrap();
        let weights = init.weights(units, fan_in, Activation::Tanh, &mut Random::new(7, Stream::Init, 0));
        weights.into_iter().map(f64::from).collect()
    }

    #[test]
    fn orthogonal_vectors_are_orthonormal_times_the_gain() {
        for (rows, columns) in [(5, 3), (3, 5), (16, 16), (40, 17), (1, 4), (4, 1)] {
            let weights = drawn("orthogonal:gain=2", rows, columns);
            let count = rows.min(columns);
            let vector = |v: usize| -> Vec<f64> {
                if rows > columns {
                    (0..rows).map(|i| weights[i * columns + v]).collect()
                } else {
                    weights[v * columns..][..columns].to_vec()
                }
            };
            for a in 0..count {
                for b in 0..count {
                    let wanted = if a == b { 4.0 } else { 0.0 };
                    let found = dot(&vector(a), &vector(b));
                    assert!((found - wanted).abs() < 1e-5, "{rows} by {columns}, {a} and {b}: {found}");
                }
            }
        }
    }

    /// The other factor of the drawn matrix is triangular with a positive diagonal. Only one orthogonal factor is like that,
    /// so PyTorch would return the same one.
    #[test]
    fn the_orthogonal_factor_is_that_of_pytorch() {
        let (rows, columns) = (9, 6);
        let mut random = Random::new(7, Stream::Init, 0);
        let mut normal = Normal::new(&mut random);
        let matrix: Vec<f64> = (0..rows * columns).map(|_| normal.next()).collect();
        let weights = drawn("orthogonal", rows, columns);
        for i in 0..columns {
            for j in 0..columns {
                let r: f64 = (0..rows).map(|k| weights[k * columns + i] * matrix[k * columns + j]).sum();
                assert!(if i == j { r > 0.1 } else { i < j || r.abs() < 1e-6 }, "R[{i},{j}] = {r}");
            }
        }
    }

    #[test]
    fn a_sparse_matrix_has_so_many_zeros_for_each_input() {
        let weights = drawn("sparse:sparsity=0.25,std=0.5", 10, 300);
        for input in 0..300 {
            assert_eq!((0..10).filter(|row| weights[row * 300 + input] == 0.0).count(), 3, "input {input}");
        }
        for row in 0..10 {
            let zeros = weights[row * 300..][..300].iter().filter(|&&weight| weight == 0.0).count();
            // 300 draws of 3 in 10: the standard deviation is 8.
            assert!((50..130).contains(&zeros), "row {row}: {zeros}");
        }
        let square = weights.iter().map(|weight| weight * weight).sum::<f64>() / 2100.0;
        assert!((square - 0.25).abs() < 0.03, "{square}");
    }

    #[test]
    fn a_normal_is_cut() {
        let weights = drawn("truncated-normal:std=0.1,cut=1", 100, 200);
        assert!(weights.iter().all(|weight| weight.abs() <= 0.1 + 1e-9));
        let square = weights.iter().map(|weight| weight * weight).sum::<f64>() / 2e4;
        // The variance of a standard normal number between -1 and 1 is 1 − 2·φ(1)/(2·Φ(1) − 1).
        assert!((square - 0.01 * 0.2911).abs() < 1e-4, "{square}");
    }

    #[test]
    fn gains_are_those_of_pytorch() {
        let square = |gain: &str| {
            let Init::LecunNormal { gain } = format!("lecun-normal:gain={gain}").parse().unwrap() else { panic!() };
            gain.square(Activation::Tanh)
        };
        assert_eq!((square("auto"), square("tanh")), (25.0 / 9.0, 25.0 / 9.0));
        assert_eq!((square("relu"), square("selu"), square("1.5")), (2.0, 0.5625, 2.25));
        assert_eq!(square("leaky-relu:slope=0.5"), 1.6);
        // With ReLU's gain, LeCun's initialisation is He's.
        assert_eq!(drawn("lecun-normal:gain=relu", 8, 9), drawn("he-normal", 8, 9));
        assert_eq!(drawn("he-uniform:gain=1", 8, 9), drawn("lecun-uniform", 8, 9));
        let spec = crate::Mlp::new(3).hidden(&[4], Activation::Gelu).classes(2);
        let error = "xavier-normal:gain=auto".parse::<Init>().unwrap().check(&spec).unwrap_err().to_string();
        assert!(error.contains("no gain is known for gelu"), "{error}");
    }

    #[test]
    fn names_are_read_and_written() {
        for text in [
            "pytorch",
            "he-normal",
            "he-normal:gain=leaky-relu:slope=0.2",
            "orthogonal:gain=auto",
            "truncated-normal:cut=3",
            "constant:value=0.5",
        ] {
            assert_eq!(text.parse::<Init>().unwrap().to_string(), text);
        }
        assert_eq!("constant:0.5".parse::<Init>().unwrap(), Init::Constant { value: 0.5 });
        let says = |text: &str| text.parse::<Init>().unwrap_err().to_string();
        assert!(says("sparse:1").contains("sparsity 1 of sparse is out of range; give a number from 0 to below 1"));
        assert!(says("truncated-normal:std=0").contains("std 0 of truncated-normal is out of range"));
        assert!(
            says("he-normal:gain=rleu").contains("'rleu' is no gain; write he-normal:gain=auto, NUMBER or the name")
        );
        assert!(says("he-normal:gain=-1").contains("gain -1 of he-normal is out of range"));
        assert!(says("xavier-normal:gain=gelu").contains("no gain is known for gelu"));
    }
}
