//! The vertices of a subdivision: where they are, and what the network's layers make of them.
//!
//! Of each vertex there are f64 values of the units of the layer that is being cut, with a bound of their error. A sign
//! that the bound leaves open is decided by exact integers. These are computed from the vertex's origin: two earlier
//! vertices, between which a unit bends.

use std::borrow::Cow;

use num_bigint::{BigInt, Sign};
use num_traits::Zero;

use crate::exact::quotient;
use crate::network::{Homogeneous, Layer, Network};

/// Above the rounding error of one operation, relative to its result, and of the rounding of a network's numbers to f64.
const EPSILON: f64 = f64::EPSILON;

/// Where a vertex comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// It was given, and its exact coordinates are known.
    Given,
    /// A unit bends there, between two vertices.
    Crossing { a: u32, b: u32, layer: u32, unit: u32, bend: u32 },
}

/// How certain the signs were that a subdivision rests on. All of them are right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// The smallest pre-activation whose sign was read from its f64 value, relative to the largest one of its layer at the
    /// same vertex. Its error is below it. Infinite if there was none.
    pub margin: f64,
    /// How many vertices needed exact integers, because an error bound left a sign open.
    pub exact: usize,
}

/// A point with a layer's pre-activations there.
#[derive(Clone, Debug)]
pub(crate) struct Point<'a> {
    place: [f64; 2],
    row: Cow<'a, [f64]>,
    /// The largest absolute value.
    largest: f64,
    /// A bound of the values' errors.
    error: f64,
}

/// All vertices so far, with the values of one layer's units.
#[derive(Clone, Debug)]
pub(crate) struct Points<'a> {
    network: &'a Network,
    layer: usize,
    pub places: Vec<[f64; 2]>,
    /// `[vertices, units]`: pre-activations of the layer.
    rows: Vec<f64>,
    /// Bounds of the rows' errors.
    errors: Vec<f64>,
    /// The largest absolute value of each row.
    largest: Vec<f64>,
    /// Rows whose values are exact integers, rounded: signs can be read from them.
    is_exact: Vec<bool>,
    origins: Vec<Origin>,
    exact: Vec<Option<Box<Homogeneous>>>,
    pub certificate: Certificate,
}

impl<'a> Points<'a> {
    pub fn new(network: &'a Network, corners: &[Vec<f64>]) -> Self {
        let mut points = Self {
            network,
            layer: 0,
            places: Vec::new(),
            rows: Vec::new(),
            errors: Vec::new(),
            largest: Vec::new(),
            is_exact: Vec::new(),
            origins: Vec::new(),
            exact: Vec::new(),
            certificate: Certificate { margin: f64::INFINITY, exact: 0 },
        };
        let layer = &network.layers[0];
        for corner in corners {
            let place = [corner[0], corner.get(1).copied().unwrap_or(0.0)];
            points.places.push(place);
            points.origins.push(Origin::Given);
            points.exact.push(Some(Box::new(Homogeneous::of(corner))));
            let mut row = layer.biases.clone();
            let (largest, error) = multiply(layer, corner, 0.0, &mut row);
            points.rows.extend(row);
            points.largest.push(largest);
            points.errors.push(error);
            points.is_exact.push(false);
        }
        points
    }

    fn current(&self) -> &'a Layer {
        self.network.layer(self.layer)
    }

    /// A vertex's pre-activations.
    pub fn row(&self, vertex: u32) -> &[f64] {
        let units = self.current().units;
        &self.rows[vertex as usize * units..][..units]
    }

    /// On which side of a bend a unit is at a vertex: 1, -1, or 0 if it is just there.
    pub fn side(&mut self, vertex: u32, unit: usize, bend: usize) -> i8 {
        let layer = self.current();
        let at = layer.bends[bend].at;
        let v = vertex as usize;
        let z = self.rows[v * layer.units + unit];
        let value = z - at;
        if self.is_exact[v] {
            if value != 0.0 {
                return if value > 0.0 { 1 } else { -1 };
            }
            if at == 0.0 {
                return 0;
            }
        } else {
            // The subtraction rounds, too.
            let error = self.errors[v] + EPSILON * value.abs();
            if value > error || value < -error {
                self.certificate.margin = self.certificate.margin.min(value.abs() / self.largest[v].max(value.abs()));
                return if value > 0.0 { 1 } else { -1 };
            }
        }
        let z = self.make_exact(vertex);
        let point = self.exact[v].as_ref().expect("it was computed just now");
        match layer.exact_beyond(&z[unit], &point.w, bend).sign() {
            Sign::Plus => 1,
            Sign::Minus => -1,
            Sign::NoSign => 0,
        }
    }

    /// A vertex, with its values.
    pub fn at(&self, vertex: u32) -> Point<'_> {
        let v = vertex as usize;
        let (place, largest, error) = (self.places[v], self.largest[v], self.errors[v]);
        Point { place, row: Cow::Borrowed(self.row(vertex)), largest, error }
    }

    /// Where a unit bends between two points on either side of the bend.
    pub fn between(&self, p: &Point, q: &Point, (unit, bend): (usize, usize)) -> Point<'static> {
        let at = self.current().bends[bend].at;
        let (from, to) = (p.row[unit] - at, q.row[unit] - at);
        // Rounding may put it outside.
        let share = (from / (from - to)).clamp(0.0, 1.0);
        let (mut largest, mut apart) = (at.abs(), 0f64);
        let mut row = Vec::with_capacity(p.row.len());
        for (&from, &to) in p.row.iter().zip(&*q.row) {
            let value = (to - from) * share + from;
            largest = largest.max(value.abs());
            apart = apart.max((to - from).abs());
            row.push(value);
        }
        row[unit] = at;
        let ends = p.largest.max(q.largest);
        let error = p.error.max(q.error) + EPSILON * (ends + at.abs());
        // With values α and β of opposite signs, each off by δ at most, the share α / (α - β) is off by δ / |α - β|.
        let span = (from - to).abs() - 2.0 * error;
        let of_share = if span > 0.0 { (error / span).min(1.0) } else { 1.0 };
        Point {
            place: [0, 1].map(|k| (q.place[k] - p.place[k]) * share + p.place[k]),
            row: row.into(),
            largest,
            error: error + (of_share + 3.0 * EPSILON) * (apart + 2.0 * error) + 4.0 * EPSILON * (ends + apart),
        }
    }

    /// A new vertex where a unit bends, on the line through two vertices on either side of the bend.
    pub fn push(&mut self, (a, b): (u32, u32), (unit, bend): (usize, usize), point: &Point) -> u32 {
        self.places.push(point.place);
        self.rows.extend_from_slice(&point.row);
        self.errors.push(point.error);
        self.largest.push(point.largest);
        self.is_exact.push(false);
        let (layer, unit, bend) = (self.layer as u32, unit as u32, bend as u32);
        self.origins.push(Origin::Crossing { a, b, layer, unit, bend });
        self.exact.push(None);
        (self.places.len() - 1) as u32
    }

    /// Goes on to the next layer.
    pub fn advance(&mut self) {
        let (layer, next) = (self.current(), self.network.layer(self.layer + 1));
        let vertices = self.places.len();
        let mut rows = vec![0.0; vertices * next.units];
        let mut sizes = vec![(0.0, 0.0); vertices];
        let fill = |first: usize, rows: &mut [f64], sizes: &mut [(f64, f64)]| {
            let mut h = vec![0.0; layer.units];
            for (v, (row, sizes)) in (first..).zip(rows.chunks_mut(next.units.max(1)).zip(sizes)) {
                activate(layer, &self.rows[v * layer.units..][..layer.units], &mut h);
                // A slope times a value, and an intercept, are rounded.
                let rounding = 4.0 * EPSILON * (layer.steepest * self.largest[v] + layer.largest_intercept);
                row.copy_from_slice(&next.biases);
                *sizes = multiply(next, &h, layer.steepest * self.errors[v] + rounding, row);
            }
        };
        let operations = vertices * next.units * next.fan_in;
        let threads = if cfg!(feature = "threads") && operations > 1 << 22 {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            1
        };
        if threads == 1 {
            fill(0, &mut rows, &mut sizes);
        } else {
            let part = vertices.div_ceil(threads);
            std::thread::scope(|scope| {
                let parts = rows.chunks_mut(part * next.units).zip(sizes.chunks_mut(part));
                for (number, (rows, sizes)) in parts.enumerate() {
                    let fill = &fill;
                    scope.spawn(move || fill(number * part, rows, sizes));
                }
            });
        }
        self.rows = rows;
        (self.largest, self.errors) = sizes.into_iter().unzip();
        self.is_exact.fill(false);
        self.layer += 1;
    }

    /// A vertex's exact coordinates.
    pub fn exact(&mut self, vertex: u32) -> &Homogeneous {
        // Not by recursion: a vertex's origin can be thousands of vertices deep.
        let mut open = vec![vertex];
        while let Some(&last) = open.last() {
            if self.exact[last as usize].is_some() {
                open.pop();
                continue;
            }
            let Origin::Crossing { a, b, layer, unit, bend } = self.origins[last as usize] else {
                unreachable!("given vertices are exact")
            };
            if let (Some(p), Some(q)) = (&self.exact[a as usize], &self.exact[b as usize]) {
                let (layer_index, unit, bend) = (layer as usize, unit as usize, bend as usize);
                let layer = self.network.layer(layer_index);
                let value = |point: &Homogeneous| {
                    layer.exact_beyond(&pre_activations(self.network, layer_index, point)[unit], &point.w, bend)
                };
                let crossing = p.crossing(&value(p), q, &value(q));
                self.exact[last as usize] = Some(Box::new(crossing));
                open.pop();
            } else {
                open.extend([a, b].into_iter().filter(|&end| self.exact[end as usize].is_none()));
            }
        }
        self.exact[vertex as usize].as_ref().expect("it was computed just now")
    }

    /// Replaces a row by exact values, rounded, and returns these, times the layer's scale and the point's denominator.
    fn make_exact(&mut self, vertex: u32) -> Vec<BigInt> {
        let (network, layer) = (self.network, self.layer);
        let units = self.current().units;
        let point = self.exact(vertex);
        let z = pre_activations(network, layer, point);
        let denominator = &point.w * &network.layer(layer).exact.scale;
        let v = vertex as usize;
        let mut largest = 0f64;
        for (value, z) in self.rows[v * units..][..units].iter_mut().zip(&z) {
            *value = quotient(z, &denominator);
            largest = largest.max(value.abs());
        }
        self.certificate.exact += usize::from(!self.is_exact[v]);
        (self.largest[v], self.errors[v], self.is_exact[v]) = (largest, 2.0 * EPSILON * largest, true);
        z
    }
}

/// A point's exact pre-activations in a layer, times its scale and the point's denominator.
pub(crate) fn pre_activations(network: &Network, layer: usize, point: &Homogeneous) -> Vec<BigInt> {
    let mut h = point.coordinates.clone();
    for before in &network.layers[..layer] {
        let z = before.exact_pre_activations(&h, &point.w);
        h = before.exact_activations(&z, &point.w);
    }
    network.layer(layer).exact_pre_activations(&h, &point.w)
}

/// Adds a layer's products with `h`, each off by `error` at most, to biases. Returns the largest absolute sum, and a bound
/// of the sums' errors.
fn multiply(layer: &Layer, h: &[f64], error: f64, sums: &mut [f64]) -> (f64, f64) {
    let mut most = 0f64;
    for (&h, weights) in h.iter().zip(layer.weights.chunks(layer.units.max(1))) {
        if h.is_zero() {
            continue;
        }
        most = most.max(h.abs());
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += weight * h;
        }
    }
    let largest = sums.iter().fold(0f64, |largest, sum| largest.max(sum.abs()));
    let rounding = (layer.fan_in as f64 + 4.0) * EPSILON * (layer.norm * most + layer.largest_bias);
    (largest, (1.0 + 4.0 * EPSILON) * (layer.norm * error) + rounding)
}

/// Activations from pre-activations.
fn activate(layer: &Layer, z: &[f64], h: &mut [f64]) {
    for (unit, (&z, h)) in z.iter().zip(h).enumerate() {
        let piece = layer.bends.iter().take_while(|bend| z > bend.at).count();
        let piece = &layer.pieces_of(unit)[piece];
        *h = piece.slope * z + piece.intercept;
    }
}
