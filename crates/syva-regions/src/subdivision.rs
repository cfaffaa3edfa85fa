//! The regions of a box on which a network is affine, as polygons (or segments) that share their vertices.
//!
//! The box is cut layer by layer. Inside a region, the pre-activations of the next layer are affine, so a unit bends along a
//! line, and the signs of its values at the region's vertices say whether the line passes through. Two regions that share an
//! edge have the same values at its ends, so they cut it at the same vertex.

use std::cmp::Ordering;
use std::collections::HashMap;

use syva_core::{Error, Result};

use crate::network::Network;
use crate::points::{Certificate, Points};

/// A region: a convex polygon, or a segment if there is one coordinate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its corners, as numbers of vertices, in order around it. If the box is `x0 < x1` and `y0 < y1`, counterclockwise.
    pub corners: Vec<u32>,
    /// Of each unit of each layer, the number of bends of its activation that its pre-activation is above. For ReLU, that
    /// is 1 for active units, otherwise 0. A pre-activation that is 0 in all of a region is not above 0.
    pub pattern: Vec<u8>,
}

/// An edge between two vertices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its ends, as numbers of vertices.
    pub ends: [u32; 2],
    /// The regions on both sides: first the one around which the way counterclockwise goes from the first end to the
    /// second. On the box's rim, both are the same.
    pub regions: [u32; 2],
    /// Whether it is not on the rim.
    pub is_inner: bool,
}

/// How many parts a subdivision has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Activation regions: connected sets of inputs with the same pattern.
    pub regions: usize,
    /// Edges, with those of the rim. With one coordinate, these are the regions.
    pub edges: usize,
    /// Vertices, with those of the rim.
    pub vertices: usize,
}

/// All regions of a network in a box.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
/// use syva_regions::{Network, Slice, Subdivision};
/// let spec = Mlp::new(2).hidden(&[10], Relu).values(1);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// let network = Network::new(&model, Slice::Inputs)?;
/// let regions = Subdivision::new(&network, &[[-10.0, 10.0], [-10.0, 10.0]])?;
/// let counts = regions.counts();
/// assert_eq!(counts.vertices + counts.regions, counts.edges + 1); // Euler
/// assert!(counts.regions <= 56); // Zaslavsky: 1 + 10 + 45
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subdivision<'a> {
    network: &'a Network,
    points: Points<'a>,
    regions: Vec<Region>,
    by_layer: Vec<Counts>,
}

/// A unit and the number of one of its bends.
type Cut = (usize, usize);

/// A part of a region that is being cut.
struct Part {
    corners: Vec<u32>,
    /// The line that the edge from each corner to the next one lies on. A segment has one.
    lines: Vec<Line>,
    pattern: Vec<u8>,
    /// The first of the layer's cuts that was not yet looked at.
    next: usize,
}

/// A line inside a region or on its rim. New vertices are computed from the region's own corners, so that rounding errors do
/// not grow from cut to cut.
#[derive(Clone, Copy)]
enum Line {
    /// The region's edge from this corner to the next.
    Edge(usize),
    /// Where a unit bends.
    Chord(Cut),
}

impl Part {
    fn whole(region: Region) -> Self {
        let edges = if region.corners.len() == 2 { 1 } else { region.corners.len() };
        Self { lines: (0..edges).map(Line::Edge).collect(), corners: region.corners, pattern: region.pattern, next: 0 }
    }
}

impl<'a> Subdivision<'a> {
    /// The most regions of a subdivision. More would take several gigabytes.
    pub const MAX_REGIONS: usize = 4_000_000;

    /// Finds the regions in a box, which has a smallest and a largest value of each coordinate.
    pub fn new(network: &'a Network, bounds: &[[f64; 2]]) -> Result<Self> {
        if bounds.len() != network.dimensions() {
            let problem = format!("the box has {} coordinates, the network {}", bounds.len(), network.dimensions());
            return Err(Error::setting("box", problem, "give a smallest and a largest value of each coordinate"));
        }
        for &[low, high] in bounds {
            let fits = low.abs() <= 1e30 && high.abs() <= 1e30 && low < high;
            if !fits {
                let problem = format!("{low} to {high} is no range");
                return Err(Error::setting("box", problem, "give a smaller and a larger number, up to 1e30"));
            }
        }
        let corners: Vec<Vec<f64>> = match *bounds {
            [[x0, x1], [y0, y1]] => vec![vec![x0, y0], vec![x1, y0], vec![x1, y1], vec![x0, y1]],
            _ => bounds[0].iter().map(|&x| vec![x]).collect(),
        };
        let region = Region { corners: (0..corners.len() as u32).collect(), pattern: Vec::new() };
        let mut all =
            Self { network, points: Points::new(network, &corners), regions: vec![region], by_layer: Vec::new() };
        for (k, layer) in network.layers.iter().enumerate() {
            if k > 0 {
                all.points.advance();
            }
            let cuts: Vec<Cut> =
                (0..layer.units).flat_map(|unit| (0..layer.bends.len()).map(move |bend| (unit, bend))).collect();
            let offset: usize = network.layers[..k].iter().map(|layer| layer.units).sum();
            for region in &mut all.regions {
                region.pattern.resize(offset + layer.units, 0);
            }
            all.cut(&cuts, offset)?;
            all.by_layer.push(all.counts());
        }
        Ok(all)
    }

    /// Cuts all regions where units of the current layer bend, and sets the units' entries of the patterns.
    fn cut(&mut self, cuts: &[Cut], offset: usize) -> Result<()> {
        if cuts.is_empty() {
            return Ok(());
        }
        let mut done = Vec::with_capacity(self.regions.len());
        // Each edge is cut once at most, since its halves have other ends.
        let mut middles: HashMap<(u32, u32), u32> = HashMap::new();
        let mut sides: Vec<i8> = Vec::new();
        for region in std::mem::take(&mut self.regions) {
            let whole = region.corners.clone();
            let mut open = vec![Part::whole(region)];
            while let Some(mut part) = open.pop() {
                let split = (part.next..cuts.len()).find(|&number| {
                    let (unit, bend) = cuts[number];
                    sides.clear();
                    sides.extend(part.corners.iter().map(|&corner| self.points.side(corner, unit, bend)));
                    let (above, below) = (sides.contains(&1), sides.contains(&-1));
                    if above && !below {
                        part.pattern[offset + unit] = bend as u8 + 1;
                    }
                    above && below
                });
                let Some(number) = split else {
                    done.push(Region { corners: part.corners, pattern: part.pattern });
                    continue;
                };
                if done.len() + open.len() >= Self::MAX_REGIONS {
                    let problem = format!("there are more than {} regions", Self::MAX_REGIONS);
                    return Err(Error::resource("regions", problem, "give a smaller box"));
                }
                let (unit, bend) = cuts[number];
                part.next = number + 1;
                let mut halves = self.halves(&whole, &part, &sides, (unit, bend), &mut middles);
                halves[0].pattern[offset + unit] = bend as u8 + 1;
                // The part with the first corner is taken first, so that segments stay in order.
                if sides[0] < 0 || sides[0] == 0 && sides[1] < 0 {
                    halves.swap(0, 1);
                }
                let [first, second] = halves;
                open.extend([second, first]);
            }
        }
        self.regions = done;
        Ok(())
    }

    /// What of a part of a region is above a bend, and what is below.
    fn halves(
        &mut self,
        whole: &[u32],
        part: &Part,
        sides: &[i8],
        cut: Cut,
        middles: &mut HashMap<(u32, u32), u32>,
    ) -> [Part; 2] {
        let mut halves =
            [1, -1].map(|_| Part { corners: vec![], lines: vec![], pattern: part.pattern.clone(), next: part.next });
        let mut push = |half: usize, corner: u32, line: Option<Line>| {
            halves[half].corners.push(corner);
            halves[half].lines.extend(line);
        };
        for (i, &corner) in part.corners.iter().enumerate() {
            let j = (i + 1) % part.corners.len();
            // A segment has no edge from its second corner to the first.
            let line = part.lines.get(i).copied();
            for (half, sign) in [(0, 1), (1, -1)] {
                let (here, there) = (sign * sides[i], sign * sides[j]);
                if here >= 0 {
                    push(half, corner, line.map(|line| if here == 0 && there < 0 { Line::Chord(cut) } else { line }));
                }
            }
            if let Some(line) = line.filter(|_| sides[i] * sides[j] < 0) {
                let ends = (corner.min(part.corners[j]), corner.max(part.corners[j]));
                let middle = match middles.get(&ends) {
                    Some(&middle) => middle,
                    None => self.middle(whole, line, ends, cut),
                };
                middles.insert(ends, middle);
                let (leaving, entering) = if sides[i] > 0 { (0, 1) } else { (1, 0) };
                let chord = (part.corners.len() > 2).then_some(Line::Chord(cut));
                push(leaving, middle, chord);
                push(entering, middle, (part.corners.len() > 2).then_some(line));
            }
        }
        if part.corners.len() == 2 {
            // The one edge of each half is on the same line.
            for half in &mut halves {
                half.lines.clone_from(&part.lines);
            }
        }
        halves
    }

    /// A new vertex where a line is cut between two vertices. `whole` are the corners of the region.
    fn middle(&mut self, whole: &[u32], line: Line, ends: (u32, u32), cut: Cut) -> u32 {
        match line {
            Line::Edge(corner) => {
                // Both regions at the edge take its ends in the same order.
                let (a, b) = (whole[corner], whole[(corner + 1) % whole.len()]);
                let (a, b) = (a.min(b), a.max(b));
                let point = self.points.between(&self.points.at(a), &self.points.at(b), cut);
                self.points.push((a, b), cut, &point)
            }
            Line::Chord(chord) => {
                let sides: Vec<i8> = whole.iter().map(|&corner| self.points.side(corner, chord.0, chord.1)).collect();
                let at = |i: usize| self.points.at(whole[i % whole.len()]);
                let on_rim = |i: usize| match (sides[i], sides[(i + 1) % whole.len()]) {
                    (0, _) => Some(at(i)),
                    (here, there) if here * there < 0 => Some(self.points.between(&at(i), &at(i + 1), chord)),
                    _ => None,
                };
                let mut rim = (0..whole.len()).filter_map(on_rim);
                let (Some(p), Some(q)) = (rim.next(), rim.next()) else { unreachable!("a chord has two ends") };
                let point = self.points.between(&p, &q, cut);
                self.points.push(ends, cut, &point)
            }
        }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// The activation regions, in an order that depends on nothing but the network and the box. Segments are in ascending
    /// order.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The coordinates of the vertices. The second is 0 if there is but one.
    #[must_use]
    pub fn vertices(&self) -> &[[f64; 2]] {
        &self.points.places
    }

    /// A vertex's coordinates as fractions, exactly: numerators, and the denominator, in decimal digits.
    pub fn exact_vertex(&mut self, vertex: u32) -> (Vec<String>, String) {
        let point = self.points.exact(vertex);
        (point.coordinates.iter().map(ToString::to_string).collect(), point.w.to_string())
    }

    /// How certain all signs were.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.points.certificate
    }

    /// The counts after each layer.
    #[must_use]
    pub fn by_layer(&self) -> &[Counts] {
        &self.by_layer
    }

    /// The number of activation regions, edges and vertices.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (regions, vertices) = (self.regions.len(), self.points.places.len());
        // Euler's formula, for a box without its outside.
        let edges = if self.network.dimensions() == 1 { regions } else { vertices + regions - 1 };
        Counts { regions, edges, vertices }
    }

    /// All edges, in ascending order of their ends. With one coordinate, there are none: regions touch at vertices.
    #[must_use]
    pub fn edges(&self) -> Vec<Edge> {
        if self.network.dimensions() == 1 {
            return Vec::new();
        }
        let mut sides: Vec<([u32; 2], bool, u32)> = Vec::with_capacity(2 * self.points.places.len());
        for (number, region) in self.regions.iter().enumerate() {
            let next = region.corners.iter().cycle().skip(1);
            sides.extend(region.corners.iter().zip(next).map(|(&a, &b)| ([a.min(b), a.max(b)], a > b, number as u32)));
        }
        sides.sort_unstable();
        let edge = |sides: &[([u32; 2], bool, u32)]| {
            let (first, last) = (sides[0], sides[sides.len() - 1]);
            Edge { ends: first.0, regions: [first.2, last.2], is_inner: sides.len() == 2 }
        };
        sides.chunk_by(|a, b| a.0 == b.0).map(edge).collect()
    }

    /// Cuts the regions further, so that each has one class: that of the largest output, or, if there is one output, 1
    /// where it is above 0. Classes that are equal in all of a region count as the first of them.
    pub fn into_decision(mut self) -> Result<Decision<'a>> {
        if self.network.decision.is_none() {
            let problem = format!("boundaries between {} classes are not looked for", self.network.outputs());
            return Err(Error::mismatch(problem, format!("give a network with {} at most", Network::MAX_CLASSES)));
        }
        self.points.advance();
        let outputs = self.network.outputs();
        let (mut done, mut classes) = (Vec::with_capacity(self.regions.len()), Vec::new());
        let mut middles = HashMap::new();
        for region in std::mem::take(&mut self.regions) {
            let whole = region.corners.clone();
            let mut open = vec![Part::whole(region)];
            while let Some(part) = open.pop() {
                let corners = &part.corners;
                let cut = if outputs == 1 { self.sign_changes(corners) } else { self.class_changes(corners, outputs) };
                match cut {
                    Ok(class) => {
                        done.push(Region { corners: part.corners, pattern: part.pattern });
                        classes.push(class);
                    }
                    Err(unit) => {
                        let sides: Vec<i8> = corners.iter().map(|&corner| self.points.side(corner, unit, 0)).collect();
                        open.extend(self.halves(&whole, &part, &sides, (unit, 0), &mut middles));
                    }
                }
            }
        }
        self.regions = done;
        Ok(Decision { subdivision: self, classes })
    }

    /// The class of a region, or the unit at which it must be cut, with one output.
    fn sign_changes(&mut self, corners: &[u32]) -> std::result::Result<u32, usize> {
        let sides = corners.iter().map(|&corner| self.points.side(corner, 0, 0));
        let (above, below) = sides.fold((false, false), |(above, below), side| (above || side > 0, below || side < 0));
        if above && below { Err(0) } else { Ok(u32::from(above)) }
    }

    /// The same with several outputs: units are the differences of two.
    fn class_changes(&mut self, corners: &[u32], outputs: usize) -> std::result::Result<u32, usize> {
        let mut class = self.largest(corners[0], outputs);
        // Each turn, the class is replaced by one that is nowhere in the region smaller, and somewhere larger.
        'next: loop {
            for &corner in corners {
                let other = self.largest(corner, outputs);
                if self.above(corner, other, class, outputs) <= 0 {
                    continue;
                }
                if corners.iter().any(|&corner| self.above(corner, class, other, outputs) > 0) {
                    return Err(pair(class.min(other), class.max(other), outputs));
                }
                class = other;
                continue 'next;
            }
            return Ok(class as u32);
        }
    }

    /// The first of the largest outputs at a vertex.
    fn largest(&mut self, vertex: u32, outputs: usize) -> usize {
        (1..outputs).fold(0, |class, other| if self.above(vertex, other, class, outputs) > 0 { other } else { class })
    }

    /// Whether one output is above another at a vertex (1), below (-1), or the same.
    fn above(&mut self, vertex: u32, one: usize, other: usize, outputs: usize) -> i8 {
        match one.cmp(&other) {
            Ordering::Equal => 0,
            Ordering::Less => self.points.side(vertex, pair(one, other, outputs), 0),
            Ordering::Greater => -self.points.side(vertex, pair(other, one, outputs), 0),
        }
    }
}

/// The place of a pair among all pairs of outputs `(0, 1), (0, 2), …, (1, 2), …`.
fn pair(first: usize, second: usize, outputs: usize) -> usize {
    first * (2 * outputs - first - 1) / 2 + second - first - 1
}

/// Where a network decides for which class.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    subdivision: Subdivision<'a>,
    classes: Vec<u32>,
}

impl<'a> Decision<'a> {
    /// The regions, cut so that each has one class.
    #[must_use]
    pub fn subdivision(&self) -> &Subdivision<'a> {
        &self.subdivision
    }

    /// The class of each region.
    #[must_use]
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The edges between regions of different classes: the decision boundary. Empty if there is one coordinate.
    #[must_use]
    pub fn boundary(&self) -> Vec<Edge> {
        let differ = |edge: &Edge| self.classes[edge.regions[0] as usize] != self.classes[edge.regions[1] as usize];
        self.subdivision.edges().into_iter().filter(|edge| edge.is_inner && differ(edge)).collect()
    }
}
