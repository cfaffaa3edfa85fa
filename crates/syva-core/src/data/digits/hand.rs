//! The writing hand: from a glyph to the path of a pen, different for every sample.
//!
//! A sample's hand has a style, a blend of the style's forms, and habits: slant, width, proportions, steadiness, pen.
//! The blended points wander, a spline joins them, a warp and a linear map bend the curve, and the result is scaled
//! into MNIST's 20x20 box with the pen's width already in pixels. Lengths before the map are in the glyphs' units,
//! about 60 by 100. The spreads were set by eye and by the widths, slants and amounts of ink that MNIST shows.

use super::glyphs::{self, Style};
use super::ink;
use crate::random::Random;

/// Curve pieces between two neighbouring points of a stroke.
const PIECES: usize = 4;
/// Nodes along a side of the warp's grid.
const NODES: usize = 3;

/// For each digit: mean and spread of its slant (across per down, rightwards), its usual width, and how far its
/// points stray (a curve without corners shows every tremor).
const HABITS: [(f32, f32, f32, f32); 10] = [
    (0.26, 0.22, 1.25, 0.6),
    (0.24, 0.27, 1.00, 0.5),
    (0.08, 0.26, 1.20, 1.0),
    (0.06, 0.24, 1.14, 1.0),
    (0.20, 0.28, 1.18, 1.0),
    (0.06, 0.27, 1.18, 1.0),
    (0.10, 0.20, 1.12, 0.9),
    (0.04, 0.22, 1.20, 0.8),
    (0.10, 0.22, 1.08, 0.9),
    (0.12, 0.22, 1.08, 0.9),
];

/// A place on the pen's path, in pixels of the 20x20 box once [`fit`] is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dot {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Half the line's width here, in pixels.
    pub(super) radius: f32,
    /// Whether a line joins this dot to the one before it.
    pub(super) joined: bool,
}

/// About normal with mean 0 and standard deviation 1: the sum of four uniforms, whose variance is 4/12, scaled by √3.
/// It never passes ±2√3, so nobody writes a digit beyond recognition by chance.
fn bell(random: &mut Random) -> f32 {
    let sum = random.unit() + random.unit() + random.unit() + random.unit();
    (sum - 2.0) * 1.732_050_8
}

/// Writes `label` once: picks a style and habits, and leaves the pen's path, fitted into the 20x20 box, in `path`.
pub(super) fn write(label: usize, random: &mut Random, path: &mut Vec<Dot>) {
    let style = pick(glyphs::DIGITS[label], random);
    let blend = blend(style.forms.len(), random);
    let hand = Hand::new(label, random);
    path.clear();
    for stroke in 0..style.forms[0].len() {
        let points = hand.stroke(style, stroke, &blend, random);
        curve(&points, path);
    }
    for dot in &mut *path {
        hand.bend(dot);
    }
    let radius = radius(random);
    press(radius, path, random);
    fit(path);
}

/// One of the styles, with the probability of its weight.
fn pick<'a>(styles: &'a [Style], random: &mut Random) -> &'a Style {
    let total: u64 = styles.iter().map(|style| u64::from(style.weight)).sum();
    let mut ticket = random.below(total);
    for style in styles {
        let weight = u64::from(style.weight);
        if ticket < weight {
            return style;
        }
        ticket -= weight;
    }
    unreachable!("a ticket is below the sum of the weights")
}

/// Shares of the forms, summing to 1. The fourth power lets one or two forms lead.
fn blend(forms: usize, random: &mut Random) -> Vec<f32> {
    let mut shares: Vec<f32> = (0..forms)
        .map(|_| {
            let u = random.unit();
            u * u * u * u + 1e-3
        })
        .collect();
    let total: f32 = shares.iter().sum();
    for share in &mut shares {
        *share /= total;
    }
    shares
}

/// What stays the same while one digit is written.
struct Hand {
    /// Standard deviation of the points' wandering.
    wander: f32,
    /// The linear map of the whole digit, row-major: aspect, then slant, then turn.
    map: [f32; 4],
    /// Proportions: how far the middle sits low, how much the foot is wider than the top, how much the right side is
    /// taller than the left, and how far the spine bows to the right.
    build: [f32; 4],
    /// Displacements (x, y) at the nodes of a grid over the digit, row-major.
    warp: [[f32; 2]; NODES * NODES],
}

impl Hand {
    fn new(label: usize, random: &mut Random) -> Self {
        let (lean, spread, width, stray) = HABITS[label];
        let wander = stray * (0.9 + 2.6 * random.unit());
        let slant = lean + spread * bell(random);
        // 1 + a and its inverse, so that wide and narrow are alike common.
        let a = 0.21 * bell(random);
        let aspect = width * if a > 0.0 { 1.0 + a } else { 1.0 / (1.0 - a) };
        // A turn by 2 atan(t), rational in t: no sine, so no libm.
        let t = 0.065 * bell(random);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        // y points down: leaning right moves the top (negative y) to the right.
        let map = [cos * aspect, -cos * slant - sin, sin * aspect, cos - sin * slant];
        let build = [0.12, 0.28, 0.08, 0.12].map(|spread| stray * spread * bell(random));
        let size = stray * 6.5 * random.unit();
        let mut warp = [[0.0; 2]; NODES * NODES];
        for node in &mut warp {
            *node = [size * bell(random), size * bell(random)];
        }
        Self { wander, map, build, warp }
    }

    /// The points of one stroke: the blend of its forms, wandering a little, its ends drawn out or cut short.
    fn stroke(&self, style: &Style, stroke: usize, blend: &[f32], random: &mut Random) -> Vec<[f32; 2]> {
        let points = style.forms[0][stroke].len();
        let mut drift = [self.wander * bell(random), self.wander * bell(random)];
        let mut written: Vec<[f32; 2]> = Vec::with_capacity(points);
        for i in 0..points {
            let corner = i > 0 && style.forms[0][stroke][i] == style.forms[0][stroke][i - 1];
            if corner {
                written.push(written[i - 1]);
                continue;
            }
            let mut point = [0.0, 0.0];
            for (form, share) in style.forms.iter().zip(blend) {
                let (x, y) = form[stroke][i];
                point[0] += share * f32::from(x);
                point[1] += share * f32::from(y);
            }
            // Neighbours wander together: correlation 0.6, and 0.8 keeps the variance.
            for axis in 0..2 {
                drift[axis] = 0.6 * drift[axis] + 0.8 * self.wander * bell(random);
                point[axis] += drift[axis];
            }
            written.push(point);
        }
        for (end, before) in [(0, 1), (points - 1, points - 2)] {
            let reach = 0.27 * bell(random);
            let before = written[before];
            for (place, before) in written[end].iter_mut().zip(before) {
                *place += reach * (*place - before);
            }
        }
        written
    }

    /// Warps a dot smoothly, then maps it.
    fn bend(&self, dot: &mut Dot) {
        let (column, u) = cell(dot.x * (1.0 / 60.0));
        let (row, v) = cell(dot.y * (1.0 / 100.0));
        let node = row * NODES + column;
        let (across, down) = (dot.x - 30.0, dot.y * (1.0 / 50.0) - 1.0);
        let bow = 1.0 - down * down;
        let [low, foot, right, spine] = self.build;
        let mut moved = [
            across * (1.0 + foot * down) + 50.0 * spine * bow,
            50.0 * (down * (1.0 + right * across * (1.0 / 30.0)) + low * bow),
        ];
        for (axis, place) in moved.iter_mut().enumerate() {
            let top = (1.0 - u) * self.warp[node][axis] + u * self.warp[node + 1][axis];
            let bottom = (1.0 - u) * self.warp[node + NODES][axis] + u * self.warp[node + NODES + 1][axis];
            *place += (1.0 - v) * top + v * bottom;
        }
        dot.x = self.map[0] * moved[0] + self.map[1] * moved[1];
        dot.y = self.map[2] * moved[0] + self.map[3] * moved[1];
    }
}

/// The grid cell of a coordinate in 0..1, and the smoothed position within it, 3t² − 2t³.
fn cell(place: f32) -> (usize, f32) {
    let place = place.clamp(0.0, 1.0) * (NODES - 1) as f32;
    let index = (place as usize).min(NODES - 2);
    let t = place - index as f32;
    (index, t * t * (3.0 - 2.0 * t))
}

/// A Catmull-Rom spline through the points, from corner to corner.
fn curve(points: &[[f32; 2]], path: &mut Vec<Dot>) {
    let dot = |p: [f32; 2], joined| Dot { x: p[0], y: p[1], radius: 0.0, joined };
    path.push(dot(points[0], false));
    for i in 0..points.len() - 1 {
        let (from, to) = (points[i], points[i + 1]);
        if from == to {
            continue;
        }
        // An end is its own neighbour, and so is a corner, being two points in one: the curve leaves it straight.
        let before = if i > 0 { points[i - 1] } else { from };
        let after = if i + 2 < points.len() { points[i + 2] } else { to };
        for piece in 1..=PIECES {
            let t = piece as f32 * (1.0 / PIECES as f32);
            let mut place = [0.0; 2];
            for (axis, value) in place.iter_mut().enumerate() {
                let (a, b, c, d) = (before[axis], from[axis], to[axis], after[axis]);
                let cubic = 3.0 * (b - c) + d - a;
                let square = 2.0 * a - 5.0 * b + 4.0 * c - d;
                *value = b + 0.5 * t * ((c - a) + t * (square + t * cubic));
            }
            path.push(dot(place, true));
        }
    }
}

/// Half the line's width in pixels, skewed like a drawer of real pens: many middling, some thin, a few felt-tips.
fn radius(random: &mut Random) -> f32 {
    let e = bell(random);
    (1.22 + 0.36 * e + 0.06 * e * e).max(0.6)
}

/// Sets the radii: the base, with a pressure that swells and fades smoothly along the path.
fn press(radius: f32, path: &mut [Dot], random: &mut Random) {
    let mut pressure = 0.0;
    for dot in path {
        pressure = 0.9 * pressure + 0.08 * bell(random);
        dot.radius = radius * (1.0 + pressure).max(0.5);
    }
}

/// Scales and moves the path so that the ink just fills the 20x20 box on its longer side and is centred on the other.
fn fit(path: &mut [Dot]) {
    let target = ink::BOX as f32 - ink::OVERHANG;
    let bare = bounds(path, 1.0, 0.0);
    let extent = (bare[0].1 - bare[0].0).max(bare[1].1 - bare[1].0);
    // The ink's extent is a convex, piecewise linear function of the scale, nowhere steeper than `extent`: steps of
    // that slope near the target from below and cannot pass it.
    let mut scale = 0.0;
    for _ in 0..4 {
        let [across, down] = bounds(path, scale, 1.0);
        scale += (target - (across.1 - across.0).max(down.1 - down.0)) / extent;
    }
    let [across, down] = bounds(path, scale, 1.0);
    let centre = ink::BOX as f32 * 0.5;
    for dot in path {
        dot.x = dot.x * scale + centre - 0.5 * (across.0 + across.1);
        dot.y = dot.y * scale + centre - 0.5 * (down.0 + down.1);
    }
}

/// Lowest and highest x, then y, that the scaled path reaches with `pen` times its radii.
fn bounds(path: &[Dot], scale: f32, pen: f32) -> [(f32, f32); 2] {
    let mut bounds = [(f32::MAX, f32::MIN); 2];
    for dot in path {
        for (bound, place) in bounds.iter_mut().zip([dot.x, dot.y]) {
            bound.0 = bound.0.min(place * scale - pen * dot.radius);
            bound.1 = bound.1.max(place * scale + pen * dot.radius);
        }
    }
    bounds
}
