//! Which activation regions are parts of the same linear region, and what the network is there.

use num_bigint::BigInt;
use num_traits::Zero;

use crate::network::{Layer, Network};
use crate::subdivision::{Region, Subdivision};

/// The linear regions of a subdivision: the largest connected sets of inputs on which the network is one affine map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearRegions {
    /// How many there are.
    pub count: usize,
    /// The linear region, counted from 0, that each activation region is a part of.
    pub of: Vec<u32>,
}

/// What a network is in a region: `output = gradient · coordinates + constant`.
#[derive(Clone, Debug, PartialEq)]
pub struct AffineMap {
    /// `[outputs, coordinates]`.
    pub gradient: Vec<Vec<f64>>,
    /// `[outputs]`.
    pub constant: Vec<f64>,
}

impl Subdivision<'_> {
    /// Joins activation regions that touch along an edge (or at a vertex, with one coordinate), and in which the network
    /// is the same affine map. Equality is decided exactly.
    #[must_use]
    pub fn linear_regions(&self) -> LinearRegions {
        let mut neighbours: Vec<(u32, u32)> = if self.network().dimensions() == 1 {
            (1..self.regions().len() as u32).map(|region| (region - 1, region)).collect()
        } else {
            let inner = self.edges().into_iter().filter(|edge| edge.is_inner);
            inner.map(|edge| (edge.regions[0].min(edge.regions[1]), edge.regions[0].max(edge.regions[1]))).collect()
        };
        neighbours.sort_unstable();
        let mut sets = Sets((0..self.regions().len() as u32).collect());
        for pairs in neighbours.chunk_by(|a, b| a.0 == b.0) {
            let mut one = Side::new(self.network(), &self.regions()[pairs[0].0 as usize]);
            for &(first, second) in pairs {
                if sets.root(first) != sets.root(second) && one.is_same(&self.regions()[second as usize]) {
                    sets.join(first, second);
                }
            }
        }
        let mut names = vec![u32::MAX; self.regions().len()];
        let mut count = 0;
        let of = (0..self.regions().len() as u32).map(|region| {
            let name = &mut names[sets.root(region) as usize];
            if *name == u32::MAX {
                *name = count;
                count += 1;
            }
            *name
        });
        let of: Vec<u32> = of.collect();
        LinearRegions { count: count as usize, of }
    }

    /// What the network is in a region.
    #[must_use]
    pub fn map(&self, region: &Region) -> AffineMap {
        let (network, dimensions) = (self.network(), self.network().dimensions());
        // One column per coordinate, and one for the constant.
        let mut h: Vec<Vec<f64>> =
            (0..dimensions).map(|i| (0..=dimensions).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        for (layer, pattern) in network.layers.iter().zip(parts(network, region)) {
            let row = |(unit, &piece): (usize, &u8)| {
                let piece = &layer.pieces_of(unit)[usize::from(piece)];
                let column = |column: usize| {
                    let products =
                        h.iter().zip(layer.weights.chunks(layer.units)).map(|(h, row)| h[column] * row[unit]);
                    let is_constant = column == dimensions;
                    let z =
                        products.fold(if is_constant { layer.biases[unit] } else { 0.0 }, |sum, product| sum + product);
                    piece.slope * z + if is_constant { piece.intercept } else { 0.0 }
                };
                (0..=dimensions).map(column).collect()
            };
            h = pattern.iter().enumerate().map(row).collect();
        }
        AffineMap {
            constant: h.iter().map(|row| row[dimensions]).collect(),
            gradient: h
                .into_iter()
                .map(|mut row| {
                    row.truncate(dimensions);
                    row
                })
                .collect(),
        }
    }
}

/// The parts of a region's pattern, layer by layer.
fn parts<'a>(network: &'a Network, region: &'a Region) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    let offsets = network.offsets();
    (0..network.layers.len()).map(move |k| &region.pattern[offsets[k]..offsets[k + 1]])
}

/// Sets of regions that are joined.
struct Sets(Vec<u32>);

impl Sets {
    fn root(&mut self, mut one: u32) -> u32 {
        while self.0[one as usize] != one {
            let above = self.0[self.0[one as usize] as usize];
            self.0[one as usize] = above;
            one = above;
        }
        one
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}

/// A region that is compared with its neighbours. What the outputs' derivatives by each unit's activation are there, is
/// computed when it is first needed.
struct Side<'a> {
    network: &'a Network,
    region: &'a Region,
    offsets: Vec<usize>,
    floats: Vec<Derivatives>,
    exact: Option<Vec<Vec<Vec<BigInt>>>>,
    map: Option<Vec<BigInt>>,
}

/// An output's derivatives by the activations of a layer, a bound of their error, and which of them have a path of weights
/// and slopes that are not 0.
struct Derivatives {
    layers: Vec<(Vec<f64>, f64, Vec<bool>)>,
}

impl<'a> Side<'a> {
    fn new(network: &'a Network, region: &'a Region) -> Self {
        Self { network, region, offsets: network.offsets(), floats: Vec::new(), exact: None, map: None }
    }

    /// Whether the network is the same map in a neighbour. On what both share, it is the same anyway, since a network is
    /// continuous.
    fn is_same(&mut self, other: &Region) -> bool {
        let differing = self.region.pattern.iter().zip(&other.pattern).enumerate().filter(|(_, (a, b))| a != b);
        let mut differing = differing.map(|(unit, (&a, &b))| (unit, a, b));
        let Some((place, a, b)) = differing.next() else { return true };
        if differing.next().is_some() {
            let map = exact_map(self.network, other);
            return *self.map.get_or_insert_with(|| exact_map(self.network, self.region)) == map;
        }
        let k = self.offsets.partition_point(|&offset| offset <= place) - 1;
        let unit = place - self.offsets[k];
        let pieces = self.network.layers[k].pieces_of(unit);
        let same_slope = pieces[usize::from(a)].exact_slope == pieces[usize::from(b)].exact_slope;
        same_slope || !self.reaches(k, unit)
    }

    /// Whether an output depends on a unit's activation, all later units keeping to their pieces.
    fn reaches(&mut self, k: usize, unit: usize) -> bool {
        let (network, region) = (self.network, self.region);
        let outputs = network.outputs();
        let mut has_path = false;
        for output in 0..outputs {
            // One output is mostly enough.
            if self.floats.len() == output {
                self.floats.push(derivatives(network, region, output));
            }
            let (values, error, paths) = &self.floats[output].layers[k];
            if values[unit].abs() > *error {
                return true;
            }
            has_path |= paths[unit];
        }
        if !has_path {
            return false;
        }
        let exact = self
            .exact
            .get_or_insert_with(|| (0..outputs).map(|output| exact_derivatives(network, region, output)).collect());
        exact.iter().any(|output| !output[k][unit].is_zero())
    }
}

/// The slope of each unit of a layer in a region.
fn slopes<'a, T: 'a>(
    layer: &'a Layer,
    pattern: &'a [u8],
    of: impl Fn(&'a crate::network::Piece) -> T + 'a,
) -> impl Iterator<Item = T> + 'a {
    pattern.iter().enumerate().map(move |(unit, &piece)| of(&layer.pieces_of(unit)[usize::from(piece)]))
}

/// An output's derivatives by each layer's activations in a region.
fn derivatives(network: &Network, region: &Region, output: usize) -> Derivatives {
    let patterns: Vec<&[u8]> = parts(network, region).collect();
    let units = network.outputs();
    let mut values: Vec<f64> = (0..units).map(|unit| f64::from(u8::from(unit == output))).collect();
    let mut has_path: Vec<bool> = (0..units).map(|unit| unit == output).collect();
    let mut error = 0.0;
    let mut layers = vec![(values.clone(), error, has_path.clone())];
    for (layer, pattern) in network.layers.iter().zip(&patterns).skip(1).rev() {
        let through: Vec<f64> = slopes(layer, pattern, |piece| piece.slope).zip(&values).map(|(s, v)| s * v).collect();
        let open: Vec<bool> =
            slopes(layer, pattern, |piece| !piece.exact_slope.is_zero()).zip(&has_path).map(|(s, p)| s && *p).collect();
        let largest = through.iter().fold(0f64, |largest, value| largest.max(value.abs()));
        let rows = layer.weights.chunks(layer.units);
        values = rows.clone().map(|row| row.iter().zip(&through).map(|(weight, value)| weight * value).sum()).collect();
        has_path = rows.map(|row| row.iter().zip(&open).any(|(&weight, &open)| open && weight != 0.0)).collect();
        let rounding = (layer.units as f64 + 6.0) * f64::EPSILON * layer.norm_back * largest;
        error = (1.0 + 8.0 * f64::EPSILON) * layer.norm_back * layer.steepest * error + rounding;
        layers.push((values.clone(), error, has_path.clone()));
    }
    layers.reverse();
    Derivatives { layers }
}

/// The same in integers, each layer's times a factor of its own.
fn exact_derivatives(network: &Network, region: &Region, output: usize) -> Vec<Vec<BigInt>> {
    let patterns: Vec<&[u8]> = parts(network, region).collect();
    let mut values: Vec<BigInt> = (0..network.outputs()).map(|unit| BigInt::from(u8::from(unit == output))).collect();
    let mut layers = vec![values.clone()];
    for (layer, pattern) in network.layers.iter().zip(&patterns).skip(1).rev() {
        let mut sums = vec![BigInt::ZERO; layer.fan_in];
        let slopes = slopes(layer, pattern, |piece| &piece.exact_slope);
        for ((slope, value), weights) in slopes.zip(&values).zip(layer.exact.weights.chunks(layer.fan_in)) {
            let through = slope * value;
            if !through.is_zero() {
                sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight * &through);
            }
        }
        values = sums;
        layers.push(values.clone());
    }
    layers.reverse();
    layers
}

/// A region's affine map in integers, which has the same factor for all regions: of each output the factor of each
/// coordinate, and the constant.
fn exact_map(network: &Network, region: &Region) -> Vec<BigInt> {
    let one = BigInt::from(1);
    let of_column = |column: usize| -> Vec<BigInt> {
        // The map at a point of weight 0, a direction, is its linear part; at the origin, the constant.
        let is_constant = column == network.dimensions;
        let w = if is_constant { one.clone() } else { BigInt::ZERO };
        let mut h: Vec<BigInt> = (0..network.dimensions).map(|i| BigInt::from(u8::from(i == column))).collect();
        for (layer, pattern) in network.layers.iter().zip(parts(network, region)) {
            let z = layer.exact_pre_activations(&h, &w);
            let unit = &w * &layer.exact.scale;
            let pieces = slopes(layer, pattern, |piece| piece);
            h = z
                .iter()
                .zip(pieces)
                .map(|(z, piece)| z * &piece.exact_slope + &unit * &piece.exact_intercept)
                .collect();
        }
        h
    };
    (0..=network.dimensions).flat_map(of_column).collect()
}
