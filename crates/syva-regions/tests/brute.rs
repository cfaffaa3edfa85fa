//! The subdivision compared with brute force: every pattern of a network is tried, and the part of the box that has it is
//! found by cutting the box in rationals, without any of the subdivision's ideas.

use num_bigint::BigInt;
use num_traits::{One, Signed, Zero};
use syva_core::ops::Learned;
use syva_core::random::philox4x32;
use syva_core::{Activation, Layer, Matrix, Mlp, Model, Nonlinearity, Parameters, State};
use syva_regions::{Network, Slice, Subdivision};

/// A fraction in lowest terms is not needed: only signs are.
#[derive(Clone, Debug)]
struct Fraction(BigInt, BigInt);

impl Fraction {
    fn of(value: f64) -> Self {
        let (mut value, mut denominator) = (value, BigInt::one());
        while value.fract() != 0.0 {
            value *= 2.0;
            denominator *= 2;
        }
        Self(BigInt::from(value as i64), denominator).reduced()
    }

    fn reduced(self) -> Self {
        let common = num_integer::Integer::gcd(&self.0, &self.1);
        let common = if self.1.is_negative() { -common } else { common };
        Self(self.0 / &common, self.1 / common)
    }

    fn plus(&self, other: &Self) -> Self {
        Self(&self.0 * &other.1 + &other.0 * &self.1, &self.1 * &other.1).reduced()
    }

    fn times(&self, other: &Self) -> Self {
        Self(&self.0 * &other.0, &self.1 * &other.1).reduced()
    }

    fn minus(&self, other: &Self) -> Self {
        self.plus(&Self(-&other.0, other.1.clone()))
    }

    fn over(&self, other: &Self) -> Self {
        Self(&self.0 * &other.1, &self.1 * &other.0).reduced()
    }
}

/// `a · x + b · y + c`.
type Form = [Fraction; 3];

fn at(form: &Form, point: &[Fraction; 2]) -> Fraction {
    form[0].times(&point[0]).plus(&form[1].times(&point[1])).plus(&form[2])
}

/// The part of a convex polygon where a form is not negative (or not positive).
fn cut(polygon: &[[Fraction; 2]], form: &Form, above: bool) -> Vec<[Fraction; 2]> {
    let mut part = Vec::new();
    for (i, here) in polygon.iter().enumerate() {
        let there = &polygon[(i + 1) % polygon.len()];
        let (a, b) = (at(form, here), at(form, there));
        let inside = |value: &Fraction| if above { !value.0.is_negative() } else { !value.0.is_positive() };
        if inside(&a) {
            part.push(here.clone());
        }
        if a.0.is_negative() != b.0.is_negative() && !a.0.is_zero() && !b.0.is_zero() {
            let share = a.over(&a.minus(&b));
            part.push([0, 1].map(|k| here[k].plus(&share.times(&there[k].minus(&here[k])))));
        }
    }
    part
}

fn area(polygon: &[[Fraction; 2]]) -> Fraction {
    let zero = Fraction::of(0.0);
    (0..polygon.len()).fold(zero, |sum, i| {
        let (p, q) = (&polygon[i], &polygon[(i + 1) % polygon.len()]);
        sum.plus(&p[0].times(&q[1]).minus(&p[1].times(&q[0])))
    })
}

/// What a unit's activation is in pieces: where it bends, and the slope and intercept of each piece.
#[derive(Clone)]
struct Pieces {
    bends: Vec<f64>,
    lines: Vec<[Fraction; 2]>,
}

impl Pieces {
    fn new(bends: &[f64], lines: &[[f64; 2]]) -> Self {
        Self { bends: bends.to_vec(), lines: lines.iter().map(|line| line.map(Fraction::of)).collect() }
    }

    /// h = z + (f(z) - z) · p.
    fn blended(&self, p: f64) -> Self {
        let (p, one) = (Fraction::of(p), Fraction::of(1.0));
        let blend = |[slope, intercept]: &[Fraction; 2]| [one.plus(&slope.minus(&one).times(&p)), intercept.times(&p)];
        Self { bends: self.bends.clone(), lines: self.lines.iter().map(blend).collect() }
    }
}

/// The patterns whose part of the box has an inside, each with the network's affine map there. `pieces` are those of the
/// hidden units.
fn patterns(model: &Model, pieces: &[Pieces], bounds: [[f64; 2]; 2]) -> Vec<(Vec<u8>, Vec<Form>)> {
    let fraction = |value: f32| Fraction::of(f64::from(value));
    let hidden = model.spec.layers.len() - 1;
    let [x, y] = bounds.map(|range| range.map(Fraction::of));
    let corner = |i: usize, j: usize| [x[i].clone(), y[j].clone()];
    let count: usize = pieces.iter().map(|unit| unit.lines.len()).product();
    let mut found = Vec::new();
    'patterns: for number in 0..count {
        let mut rest = number;
        let digit = |unit: &Pieces| {
            let digit = rest % unit.lines.len();
            rest /= unit.lines.len();
            digit as u8
        };
        let pattern: Vec<u8> = pieces.iter().map(digit).collect();
        let mut polygon = vec![corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1)];
        let (one, zero) = (Fraction::of(1.0), Fraction::of(0.0));
        let mut h: Vec<Form> =
            vec![[one.clone(), zero.clone(), zero.clone()], [zero.clone(), one.clone(), zero.clone()]];
        let mut first = 0;
        for (k, parameters) in model.state.layers.iter().enumerate() {
            let z: Vec<Form> = (0..parameters.bias.len())
                .map(|unit| {
                    let start = [zero.clone(), zero.clone(), fraction(parameters.bias[unit])];
                    h.iter()
                        .zip(parameters.weight.row(unit))
                        .fold(start, |sum, (h, &weight)| [0, 1, 2].map(|i| sum[i].plus(&h[i].times(&fraction(weight)))))
                })
                .collect();
            if k == hidden {
                h = z;
                break;
            }
            h.clear();
            for (form, unit) in z.iter().zip(first..) {
                let (pieces, piece) = (&pieces[unit], usize::from(pattern[unit]));
                let beyond = |bend: f64| [form[0].clone(), form[1].clone(), form[2].minus(&Fraction::of(bend))];
                if let Some(below) = piece.checked_sub(1) {
                    let form = beyond(pieces.bends[below]);
                    polygon = cut(&polygon, &form, true);
                    // What is just at the bend in all of a region counts as below.
                    if polygon.iter().all(|point| at(&form, point).0.is_zero()) {
                        continue 'patterns;
                    }
                }
                if let Some(&bend) = pieces.bends.get(piece) {
                    polygon = cut(&polygon, &beyond(bend), false);
                }
                if polygon.len() < 3 {
                    continue 'patterns;
                }
                let [slope, intercept] = &pieces.lines[piece];
                h.push([form[0].times(slope), form[1].times(slope), form[2].times(slope).plus(intercept)]);
            }
            first += parameters.bias.len();
        }
        if !area(&polygon).0.is_zero() {
            found.push((pattern, h));
        }
    }
    found
}

/// Numbers from a seed.
struct Draw(u64, u32);

impl Draw {
    fn next(&mut self) -> u32 {
        self.1 += 1;
        philox4x32([self.1, 0, 0, 0], [self.0 as u32, (self.0 >> 32) as u32])[0]
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }
}

/// A network, and the pieces of its hidden units.
fn random_model(draw: &mut Draw) -> (Model, Vec<Pieces>) {
    // Small integers make lines that coincide, units that are dead, and three lines through a point.
    let kind = draw.below(3);
    let value = |draw: &mut Draw| match kind {
        0 => draw.below(5) as f32 - 2.0,
        1 => (draw.below(17) as f32 - 8.0) / 4.0,
        _ => (f64::from(draw.next()) / f64::from(u32::MAX) * 2.0 - 1.0) as f32,
    };
    let mut layers = Vec::new();
    let (mut pieces, mut patterns) = (Vec::new(), 1);
    for _ in 0..=draw.below(3) {
        let name = [
            "relu",
            "relu",
            "leaky-relu:slope=0.25",
            "prelu",
            "hard-sigmoid",
            "parametric-relu",
            "parametric-hard-sigmoid",
        ][draw.below(7) as usize];
        let layer = Layer::new(1 + draw.below(4) as usize, name.parse::<Nonlinearity>().unwrap());
        let each = if name.contains("sigmoid") { 3 } else { 2 };
        // So many that brute force can try all.
        let units = (1..=layer.units).rev().find(|&units| patterns * usize::pow(each, units as u32) <= 200);
        let Some(units) = units else { break };
        patterns *= usize::pow(each, units as u32);
        layers.push(Layer { units, ..layer });
    }
    let outputs = 1 + draw.below(2) as usize;
    let mut spec = Mlp::new(2).values(outputs);
    spec.layers.splice(0..0, layers);
    let mut fan_in = 2;
    let mut state = State { step: 0, embedding: Vec::new(), layers: Vec::new(), slots: Vec::new() };
    for layer in &spec.layers {
        let weights = (0..layer.units * fan_in).map(|_| value(draw)).collect();
        let weight = Matrix::new(layer.units, fan_in, weights).unwrap();
        let bias = (0..layer.units).map(|_| value(draw)).collect();
        let gain: Vec<f32> = (0..layer.gains()).map(|_| value(draw)).collect();
        for unit in 0..layer.units {
            let gain = gain.get(unit).map(|&gain| f64::from(gain));
            let base = match layer.activation {
                Activation::Relu => Pieces::new(&[0.0], &[[0.0, 0.0], [1.0, 0.0]]),
                Activation::LeakyRelu(slope) => {
                    let below = if layer.learned == Learned::Slope { gain.unwrap() } else { slope };
                    Pieces::new(&[0.0], &[[below, 0.0], [1.0, 0.0]])
                }
                Activation::HardSigmoid => {
                    let sixth = Fraction(1.into(), 6.into());
                    let mut pieces = Pieces::new(&[-3.0, 3.0], &[[0.0, 0.0], [0.0, 0.5], [0.0, 1.0]]);
                    pieces.lines[1][0] = sixth;
                    pieces
                }
                _ => continue,
            };
            pieces.push(if layer.learned == Learned::Blend { base.blended(gain.unwrap()) } else { base });
        }
        fan_in = layer.units;
        state.layers.push(Parameters { gain, ..Parameters::new(weight, bias) });
    }
    (Model::new(spec, state), pieces)
}

#[test]
fn random_networks_have_the_regions_that_brute_force_finds() {
    let networks: u64 = std::env::var("SYVA_NETWORKS").ok().map_or(300, |text| text.parse().unwrap());
    let mut exact = 0;
    for seed in 0..networks {
        let mut draw = Draw(seed, 0);
        let (model, pieces) = random_model(&mut draw);
        let bounds = [[-3.0, 2.0], [-1.5, 4.0]];
        let network = Network::new(&model, Slice::Inputs).unwrap();
        let regions = Subdivision::new(&network, &bounds).unwrap();
        exact += regions.certificate().exact;

        let truth = patterns(&model, &pieces, bounds);
        let hidden: usize = network.hidden().sum();
        let mut found: Vec<Vec<u8>> =
            regions.regions().iter().map(|region| region.pattern[..hidden].to_vec()).collect();
        found.sort();
        let mut wanted: Vec<Vec<u8>> = truth.iter().map(|(pattern, _)| pattern.clone()).collect();
        wanted.sort();
        assert_eq!(found, wanted, "seed {seed}: patterns");

        // Euler's formula, by counting.
        let edges = regions.edges();
        let counts = regions.counts();
        assert_eq!(edges.len(), counts.edges, "seed {seed}: edges");
        let mut used: Vec<u32> = regions.regions().iter().flat_map(|region| region.corners.iter().copied()).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), counts.vertices, "seed {seed}: vertices");

        // Neighbours are in the same linear region if their maps are the same fractions.
        let linear = regions.linear_regions();
        let map = |region: u32| {
            let pattern = &regions.regions()[region as usize].pattern[..hidden];
            let (_, forms) = truth.iter().find(|(other, _)| other == pattern).unwrap();
            forms.iter().flatten().map(|number| (number.0.clone(), number.1.clone())).collect::<Vec<_>>()
        };
        let mut sets: Vec<u32> = (0..counts.regions as u32).collect();
        for edge in edges.iter().filter(|edge| edge.is_inner) {
            let [a, b] = edge.regions;
            if map(a) == map(b) {
                let (from, to) = (sets[a as usize], sets[b as usize]);
                sets.iter_mut().filter(|set| **set == from).for_each(|set| *set = to);
            }
        }
        for a in 0..counts.regions {
            for b in 0..a {
                assert_eq!(linear.of[a] == linear.of[b], sets[a] == sets[b], "seed {seed}: regions {a} and {b}");
            }
        }
        let mut distinct = sets.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(linear.count, distinct.len(), "seed {seed}");
    }
    println!("{networks} networks, seeds from 0; {exact} vertices by integers");
    assert!(exact > 0, "no network was degenerate");
}
