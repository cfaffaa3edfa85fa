//! A piecewise linear network over a slice of its input space, in f64 and in exact integers.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};
use syva_core::ops::Learned;
use syva_core::{Activation, Error, Model, Nonlinearity, Result};

use crate::exact::{Dyadic, most_places, quotient};

/// Which inputs are looked at: all of a network that has one or two, or those on a line or plane through data points.
#[derive(Clone, Copy, Debug)]
pub enum Slice<'a> {
    /// The inputs themselves, of which there are one or two. Coordinates are raw inputs.
    Inputs,
    /// The line through two points: coordinate 0 is the first, 1 the second.
    Line([&'a [f32]; 2]),
    /// The plane through three points: the first has the coordinates (0, 0), the second (1, 0), the third (0, 1).
    Plane([&'a [f32]; 3]),
}

/// A network that is linear in pieces, as a function of one or two coordinates.
///
/// What it computes is meant exactly: the function of real numbers that the model's 32-bit weights define, with the
/// normalisation of its inputs. An engine rounds at each step.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) dimensions: usize,
    pub(crate) layers: Vec<Layer>,
    /// What follows the outputs to find the largest one: the differences of all pairs, or the only output itself. Each
    /// bends at 0.
    pub(crate) decision: Option<Layer>,
}

/// A linear layer and its piecewise linear activation.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub units: usize,
    pub fan_in: usize,
    /// `[fan_in, units]`: the weights of an input lie side by side.
    pub weights: Vec<f64>,
    pub biases: Vec<f64>,
    /// The largest sum of a unit's absolute weights, and the largest absolute bias.
    pub norm: f64,
    pub largest_bias: f64,
    /// The largest sum of absolute weights that leave an input.
    pub norm_back: f64,
    pub exact: Integers,
    /// Where the activation bends, in ascending order.
    pub bends: Vec<Bend>,
    /// The pieces between bends, of each unit. One entry if units do not differ.
    pub pieces: Vec<Vec<Piece>>,
    /// The largest absolute slope and intercept.
    pub steepest: f64,
    pub largest_intercept: f64,
}

/// A place at which an activation bends.
#[derive(Clone, Debug)]
pub(crate) struct Bend {
    pub at: f64,
    exact: Dyadic,
}

/// A piece of an activation: `slope · z + intercept`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub slope: f64,
    pub intercept: f64,
    /// Times the layer's [`Integers::over`].
    pub exact_slope: BigInt,
    pub exact_intercept: BigInt,
}

/// A layer's numbers as integers: weights and biases times `2^shift`, slopes and intercepts times `over`.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    /// `[units, fan_in]`.
    pub weights: Vec<BigInt>,
    pub biases: Vec<BigInt>,
    pub over: BigInt,
    /// What pre-activations are multiplied with, apart from a point's own denominator.
    pub scale: BigInt,
    /// What this layer's inputs are multiplied with.
    pub scale_before: BigInt,
}

impl Layer {
    /// The pieces of a unit's activation.
    pub fn pieces_of(&self, unit: usize) -> &[Piece] {
        &self.pieces[if self.pieces.len() == 1 { 0 } else { unit }]
    }

    /// Whether the activation is ReLU.
    pub fn is_relu(&self) -> bool {
        let is_relu = |piece: &[Piece]| matches!(piece, [below, above] if below.slope == 0.0 && above.slope == 1.0);
        self.pieces.iter().all(|pieces| is_relu(pieces))
    }

    /// Pre-activations of a point with exact inputs `h` and denominator `w`: `[units]`, times `scale · w`.
    pub fn exact_pre_activations(&self, h: &[BigInt], w: &BigInt) -> Vec<BigInt> {
        let exact = &self.exact;
        let one = w * &exact.scale_before;
        let dot = |(row, bias): (&[BigInt], &BigInt)| {
            let products = row.iter().zip(h).filter(|(_, h)| !h.is_zero()).map(|(weight, h)| weight * h);
            products.fold(bias * &one, |sum, product| sum + product)
        };
        exact.weights.chunks(self.fan_in.max(1)).zip(&exact.biases).map(dot).collect()
    }

    /// How an exact pre-activation, times `scale · w`, compares with a bend: its difference, with a positive factor.
    pub fn exact_beyond(&self, z: &BigInt, w: &BigInt, bend: usize) -> BigInt {
        let at = &self.bends[bend].exact;
        let places = at.places();
        (z << places) - at.scaled(places) * w * &self.exact.scale
    }

    /// Activations from exact pre-activations, times `scale · over · w`.
    pub fn exact_activations(&self, z: &[BigInt], w: &BigInt) -> Vec<BigInt> {
        let one = w * &self.exact.scale;
        let apply = |(unit, z): (usize, &BigInt)| {
            let piece = (0..self.bends.len()).take_while(|&bend| self.exact_beyond(z, w, bend).is_positive()).count();
            let piece = &self.pieces_of(unit)[piece];
            z * &piece.exact_slope + &one * &piece.exact_intercept
        };
        z.iter().enumerate().map(apply).collect()
    }
}

impl Network {
    /// A model's network over a slice. Its activations must be linear in pieces: identity, relu, leaky-relu, prelu,
    /// hard-sigmoid, and what is `parametric-` of them.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
    /// use syva_regions::{Network, Slice};
    /// let spec = Mlp::new(2).hidden(&[8, 8], Relu).values(1);
    /// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
    /// assert_eq!(Network::new(&model, Slice::Inputs)?.dimensions(), 2);
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn new(model: &Model, slice: Slice) -> Result<Self> {
        let (spec, state) = (&model.spec, &model.state);
        spec.validate()?;
        state.check(spec)?;
        if !model.members.is_empty() {
            let problem = format!("the model is a committee of {} networks", model.members.len() + 1);
            return Err(Error::mismatch(problem, "give a model of one network: train without --folds and --bag"));
        }
        if spec.input.embedding.is_some() {
            return Err(Error::mismatch(
                "the network embeds its inputs, and is not linear in pieces of them",
                "train one without an embedding (syva train --preset tabular-plain)",
            ));
        }
        let features = spec.input.features;
        let points: &[&[f32]] = match &slice {
            Slice::Inputs if features == 0 || features > 2 => {
                let problem = format!("the network has {features} inputs, and a line or a plane of them is needed");
                return Err(Error::mismatch(problem, "give two or three samples to lay one through"));
            }
            Slice::Inputs => &[],
            Slice::Line(points) => points,
            Slice::Plane(points) => points,
        };
        for (number, point) in points.iter().enumerate() {
            if point.len() != features {
                let problem =
                    format!("point {} has {} values, but the network {features} inputs", number + 1, point.len());
                return Err(Error::mismatch(problem, "give one value per input"));
            }
            syva_core::check_finite(point, features)?;
        }
        let dimensions = if points.is_empty() { features } else { points.len() - 1 };
        let mut layers: Vec<Layer> = Vec::with_capacity(spec.layers.len());
        for (k, (layer, parameters)) in spec.layers.iter().zip(&state.layers).enumerate() {
            let all = parameters.weight.values().iter().chain(&parameters.bias).chain(&parameters.gain);
            if all.copied().any(|value| !value.is_finite()) {
                return Err(Error::mismatch(
                    format!("layer {} has weights that are not finite", k + 1),
                    "train again, with a lower learning rate",
                ));
            }
            let of = |value: f32| Dyadic::of(f64::from(value));
            let rows = (0..layer.units).map(|unit| parameters.weight.row(unit));
            let biases = parameters.bias.iter().map(|&bias| of(bias));
            let (weights, biases): (Vec<Vec<Dyadic>>, Vec<Dyadic>) = if k == 0 {
                rows.zip(biases).map(|(row, bias)| over_slice(row, bias, &spec.input.normalization, points)).unzip()
            } else {
                (rows.map(|row| row.iter().map(|&weight| of(weight)).collect()).collect(), biases.collect())
            };
            let scale = layers.last().map_or_else(BigInt::one, |before| &before.exact.scale * &before.exact.over);
            layers.push(Layer::new(&weights, &biases, layer.nonlinearity(), &parameters.gain, scale)?);
        }
        let last = layers.last().ok_or_else(|| Error::mismatch("the network has no layers", "give one that has"))?;
        let scale = &last.exact.scale * &last.exact.over;
        let decision = (spec.outputs() <= Self::MAX_CLASSES).then(|| Layer::differences(spec.outputs(), scale));
        Ok(Self { dimensions, decision: decision.transpose()?, layers })
    }

    /// Boundaries are found between so many classes at most.
    pub const MAX_CLASSES: usize = 64;

    /// A layer, or what follows the last one.
    pub(crate) fn layer(&self, k: usize) -> &Layer {
        self.layers.get(k).or(self.decision.as_ref()).expect("only a network with a decision is asked for one")
    }

    /// The number of coordinates: 1 or 2.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.units)
    }

    /// The number of units of each hidden layer.
    pub fn hidden(&self) -> impl Iterator<Item = usize> {
        self.layers.iter().take(self.layers.len().saturating_sub(1)).map(|layer| layer.units)
    }

    /// The first of each layer's units when all are counted through, and their number.
    pub(crate) fn offsets(&self) -> Vec<usize> {
        let mut sum = 0;
        let ends = self.layers.iter().map(|layer| {
            sum += layer.units;
            sum
        });
        std::iter::once(0).chain(ends).collect()
    }
}

/// A unit of the first layer as a function of the slice's coordinates: the factor of each, and what is added. The input
/// x of a feature is normalised to `scale · x + shift`.
fn over_slice(
    row: &[f32],
    bias: Dyadic,
    normalization: &syva_core::Normalization,
    points: &[&[f32]],
) -> (Vec<Dyadic>, Dyadic) {
    let of = |value: f32| Dyadic::of(f64::from(value));
    let dimensions = if points.is_empty() { row.len() } else { points.len() - 1 };
    let (mut factors, mut constant) = (vec![Dyadic::integer(0); dimensions], bias);
    for (feature, &weight) in row.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
        let (scale, shift) = normalization.of(feature);
        constant = constant.add(&of(weight).multiply(&of(shift)));
        let slope = of(weight).multiply(&of(scale));
        if let [first, others @ ..] = points {
            let first = of(first[feature]);
            constant = constant.add(&slope.multiply(&first));
            for (factor, point) in factors.iter_mut().zip(others) {
                *factor = factor.add(&slope.multiply(&of(point[feature]).subtract(&first)));
            }
        } else {
            factors[feature] = slope;
        }
    }
    (factors, constant)
}

/// An activation that is linear in pieces: where it bends, and slope and intercept of each piece, times the divisor.
struct PiecewiseLinear {
    bends: Vec<i64>,
    pieces: Vec<(Dyadic, Dyadic)>,
    divisor: i64,
}

impl PiecewiseLinear {
    fn of(activation: Activation) -> Option<Self> {
        let new = |bends: &[i64], pieces: &[(f64, i64)], divisor| {
            let pieces = pieces.iter().map(|&(slope, intercept)| (Dyadic::of(slope), Dyadic::integer(intercept)));
            Self { bends: bends.to_vec(), pieces: pieces.collect(), divisor }
        };
        Some(match activation {
            Activation::Identity => new(&[], &[(1.0, 0)], 1),
            Activation::Relu => new(&[0], &[(0.0, 0), (1.0, 0)], 1),
            Activation::LeakyRelu(slope) => new(&[0], &[(f64::from(slope as f32), 0), (1.0, 0)], 1),
            Activation::HardSigmoid => new(&[-3, 3], &[(0.0, 0), (1.0, 3), (0.0, 6)], 6),
            _ => return None,
        })
    }
}

impl Layer {
    /// The differences of all pairs of outputs, or the only output.
    fn differences(outputs: usize, scale_before: BigInt) -> Result<Self> {
        let row = |plus: usize, minus: Option<usize>| {
            let at = |i: usize| i64::from(i == plus) - i64::from(Some(i) == minus);
            (0..outputs).map(|i| Dyadic::integer(at(i))).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<Dyadic>> = if outputs == 1 {
            vec![row(0, None)]
        } else {
            (0..outputs).flat_map(|i| (i + 1..outputs).map(move |j| (i, j))).map(|(i, j)| row(i, Some(j))).collect()
        };
        let biases = vec![Dyadic::integer(0); rows.len()];
        Self::new(&rows, &biases, Activation::Relu.into(), &[], scale_before)
    }

    fn new(
        weights: &[Vec<Dyadic>],
        biases: &[Dyadic],
        nonlinearity: Nonlinearity,
        gains: &[f32],
        scale_before: BigInt,
    ) -> Result<Self> {
        let Some(PiecewiseLinear { bends, pieces: base, divisor }) = PiecewiseLinear::of(nonlinearity.activation)
        else {
            let problem = format!("{nonlinearity} is curved, so the network has no linear regions");
            return Err(Error::mismatch(problem, "use relu, leaky-relu, prelu, hard-sigmoid or identity"));
        };
        let gains = gains.iter().map(|&gain| Dyadic::of(f64::from(gain)));
        let pieces: Vec<Vec<(Dyadic, Dyadic)>> = match nonlinearity.learned {
            Learned::Nothing => vec![base],
            Learned::Slope => gains.map(|gain| vec![(gain, Dyadic::integer(0)), base[1].clone()]).collect(),
            // z + (f(z) - z) · p, times the divisor.
            Learned::Blend => {
                let whole = Dyadic::integer(divisor);
                let blend = |gain: &Dyadic, (slope, intercept): &(Dyadic, Dyadic)| {
                    (whole.add(&slope.subtract(&whole).multiply(gain)), intercept.multiply(gain))
                };
                gains.map(|gain| base.iter().map(|piece| blend(&gain, piece)).collect()).collect()
            }
        };
        let places =
            most_places(&pieces.iter().flatten().flat_map(|(slope, intercept)| [slope, intercept]).collect::<Vec<_>>());
        let over = BigInt::from(divisor) << places;
        let piece = |(slope, intercept): &(Dyadic, Dyadic)| {
            let (slope, intercept) = (slope.scaled(places), intercept.scaled(places));
            Piece {
                slope: quotient(&slope, &over),
                intercept: quotient(&intercept, &over),
                exact_slope: slope,
                exact_intercept: intercept,
            }
        };
        let pieces: Vec<Vec<Piece>> = pieces.iter().map(|pieces| pieces.iter().map(piece).collect()).collect();

        let (units, fan_in) = (biases.len(), weights.first().map_or(0, Vec::len));
        let shift = most_places(&weights.iter().flatten().chain(biases).collect::<Vec<_>>());
        let exact = Integers {
            weights: weights.iter().flatten().map(|weight| weight.scaled(shift)).collect(),
            biases: biases.iter().map(|bias| bias.scaled(shift)).collect(),
            over,
            scale: &scale_before << shift,
            scale_before,
        };
        let floats: Vec<f64> = weights.iter().flatten().map(Dyadic::to_f64).collect();
        let biases: Vec<f64> = biases.iter().map(Dyadic::to_f64).collect();
        let absolute = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).sum::<f64>();
        let by_unit = (0..units).map(|unit| absolute(&mut floats[unit * fan_in..][..fan_in].iter().copied()));
        let by_input = (0..fan_in).map(|input| absolute(&mut (0..units).map(|unit| floats[unit * fan_in + input])));
        Ok(Self {
            units,
            fan_in,
            norm: by_unit.fold(0.0, f64::max),
            norm_back: by_input.fold(0.0, f64::max),
            largest_bias: biases.iter().copied().map(f64::abs).fold(0.0, f64::max),
            weights: (0..fan_in).flat_map(|i| (0..units).map(move |u| u * fan_in + i)).map(|at| floats[at]).collect(),
            biases,
            exact,
            bends: bends.into_iter().map(|at| Bend { at: at as f64, exact: Dyadic::integer(at) }).collect(),
            steepest: pieces.iter().flatten().map(|piece| piece.slope.abs()).fold(0.0, f64::max),
            largest_intercept: pieces.iter().flatten().map(|piece| piece.intercept.abs()).fold(0.0, f64::max),
            pieces,
        })
    }
}

/// A point with exact coordinates: each is an integer divided by `w`, which is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Homogeneous {
    pub coordinates: Vec<BigInt>,
    pub w: BigInt,
}

impl Homogeneous {
    /// A point with finite coordinates.
    pub fn of(coordinates: &[f64]) -> Self {
        let numbers: Vec<Dyadic> = coordinates.iter().map(|&value| Dyadic::of(value)).collect();
        let places = most_places(&numbers.iter().collect::<Vec<_>>());
        Self { coordinates: numbers.iter().map(|number| number.scaled(places)).collect(), w: BigInt::one() << places }
    }

    /// Where a form that is `a` here and `b` there, each times its point's denominator, is 0. Their signs differ.
    pub fn crossing(&self, a: &BigInt, other: &Self, b: &BigInt) -> Self {
        let between = |here: &BigInt, there: &BigInt| a * there - b * here;
        let mut coordinates: Vec<BigInt> =
            self.coordinates.iter().zip(&other.coordinates).map(|(here, there)| between(here, there)).collect();
        let mut w = between(&self.w, &other.w);
        let mut common = coordinates.iter().fold(w.clone(), |common, coordinate| common.gcd(coordinate));
        if w.is_negative() {
            common = -common;
        }
        w /= &common;
        for coordinate in &mut coordinates {
            *coordinate /= &common;
        }
        Self { coordinates, w }
    }
}
