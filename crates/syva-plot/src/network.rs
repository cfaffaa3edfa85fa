use kuva::render::color::Color;
use kuva::render::render::{Primitive, Scene, TextAnchor};

use crate::{Picture, Theme, mix, text};

/// A layer of units, and its weights.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The number of units.
    pub units: usize,
    /// The text below the column, such as the activation.
    pub note: String,
    /// Weights `[units, fan_in]` and biases `[units]`. If there are few lines, the numbers are written on them.
    /// Otherwise a line's colour shows the sign of its weight, and its strength the magnitude relative to the largest
    /// one that is shown.
    pub parameters: Option<(Vec<f32>, Vec<f32>)>,
}

/// The most units in a column. If there are more, only the first and the last are shown.
const SHOWN: usize = 9;
/// The lines of biases.
const DASHES: &str = "3 3";
/// The most lines between two columns for which the weights are readable.
const READABLE: usize = 9;
const RADIUS: f64 = 15.0;
const ROW: f64 = 46.0;

/// A place in a column: a unit, or the dots that stand for the rest.
#[derive(Clone, Copy)]
enum Place {
    Unit(usize),
    Dots,
}

fn places(units: usize) -> Vec<Place> {
    if units <= SHOWN {
        return (0..units).map(Place::Unit).collect();
    }
    let ends = SHOWN / 2;
    let tail = (units - ends..units).map(Place::Unit);
    (0..ends).map(Place::Unit).chain([Place::Dots]).chain(tail).collect()
}

/// The network's diagram: columns of inputs x, hidden units h (the superscript is the layer, the subscript the unit)
/// and outputs y. Every unit is connected to all of the column before. The biases are a unit that is always 1. Outputs
/// for `classes` are labelled by their numbers, from 0. In a trained network, the lines show the weights.
#[must_use]
pub fn network(title: &str, inputs: usize, layers: &[Layer], classes: bool, theme: Theme) -> Picture {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 106.0;
    let widths: Vec<usize> = [inputs].into_iter().chain(layers.iter().map(|layer| layer.units)).collect();
    // Numbers need room, and many columns have to fit on a page.
    let numbered = |l: usize| layers[l].parameters.is_some() && widths[l] * widths[l + 1] <= READABLE;
    let column =
        if (0..layers.len()).any(numbered) { 190.0 } else { f64::max(110.0, 180.0 - 8.0 * layers.len() as f64) };
    let tallest = widths.iter().map(|&units| places(units).len()).max().unwrap_or(1);
    let height = (tallest + 1) as f64 * ROW;
    let width = f64::max(LEFT * 2.0 + (widths.len() - 1) as f64 * column, title.chars().count() as f64 * 9.0 + 40.0);
    let noted = layers.iter().any(|layer| !layer.note.is_empty());
    let weighted = layers.iter().any(|layer| layer.parameters.is_some());
    let bottom = TOP + tallest as f64 * ROW + RADIUS;
    let key = bottom + if noted { 40.0 } else { 24.0 };
    let palette = theme.palette();
    let (edge, bias_edge) = (mix(theme.paper(), theme.ink(), 0.3), mix(theme.paper(), palette[1], 0.45));
    let lines = if weighted {
        explained(theme)
    } else {
        vec![(Some(edge.clone()), None, "weight"), (Some(bias_edge.clone()), Some(DASHES), "bias")]
    };
    let key_width = lines.iter().map(key_width).sum::<f64>() - 22.0;
    let width = width.max(key_width + 40.0);
    let margin = (width - (widths.len() - 1) as f64 * column) / 2.0;
    let mut scene = theme.scene(width, key + 22.0);
    scene.add(text((width / 2.0, 28.0), title, 15, TextAnchor::Middle, theme.ink()));
    let x = |l: usize| margin + l as f64 * column;
    // The bias is above its column. The units are below it, centred.
    let y = |l: usize, place: usize| {
        TOP + ROW + height / 2.0 + (place as f64 - places(widths[l]).len() as f64 / 2.0) * ROW - ROW / 2.0
    };
    let bias_y = |l: usize| y(l, 0) - ROW * 1.05;

    for l in 0..layers.len() {
        let (from, to) = (places(widths[l]), places(widths[l + 1]));
        let largest = layers[l].parameters.as_ref().map(|(weights, biases)| largest(weights, biases, &from, &to));
        let strength = |value: f32, plain: &Color| match largest {
            Some(largest) => signed(value / largest, theme),
            None => plain.clone(),
        };
        for (j, unit) in to.iter().enumerate() {
            let Place::Unit(unit) = unit else { continue };
            let end = (x(l + 1), y(l + 1, j));
            for (k, input) in from.iter().enumerate() {
                let Place::Unit(input) = input else { continue };
                let begin = (x(l), y(l, k));
                let weight = layers[l].parameters.as_ref().map(|(weights, _)| weights[unit * widths[l] + input]);
                scene.add(line(begin, end, strength(weight.unwrap_or(0.0), &edge), None));
                if let (true, Some(weight)) = (numbered(l), weight) {
                    // Numbers are at different positions along the lines, so that those of crossing lines stay apart.
                    let share = 0.3 + 0.4 * k as f64 / from.len() as f64;
                    scene.add(number(begin, end, share, weight, theme.ink()));
                }
            }
            let begin = (x(l), bias_y(l));
            let bias = layers[l].parameters.as_ref().map(|(_, biases)| biases[*unit]);
            scene.add(line(begin, end, strength(bias.unwrap_or(0.0), &bias_edge), Some(DASHES)));
            if let (true, Some(bias)) = (numbered(l), bias) {
                scene.add(number(begin, end, 0.2 + 0.12 * j as f64, bias, theme.ink()));
            }
        }
    }
    for (l, &units) in widths.iter().enumerate() {
        let last = l == layers.len();
        let color = match l {
            0 => palette[4],
            _ if last => palette[2],
            _ => palette[0],
        };
        let fill = mix(theme.paper(), color, 0.25);
        for (place, unit) in places(units).into_iter().enumerate() {
            let at = (x(l), y(l, place));
            match unit {
                Place::Dots => (-1..=1).for_each(|i| {
                    scene.add(circle((at.0, at.1 + 9.0 * f64::from(i)), 2.0, Color::from(theme.pale()), theme));
                }),
                Place::Unit(unit) => {
                    scene.add(circle(at, RADIUS, fill.clone(), theme));
                    let label = label(l, unit, layers.len(), classes);
                    let size = if unit >= 99 { 9 } else { 11 };
                    scene.add(text((at.0, at.1 + 4.0), label, size, TextAnchor::Middle, theme.ink()));
                }
            }
        }
        if !last {
            let at = (x(l), bias_y(l));
            scene.add(circle(at, 11.0, mix(theme.paper(), palette[1], 0.2), theme));
            scene.add(text((at.0, at.1 + 4.0), "1", 11, TextAnchor::Middle, theme.ink()));
        }
        let (head, size) = match l {
            0 => ("input".to_string(), format!("{units}")),
            _ if last => ("output".to_string(), format!("{units}")),
            _ => (format!("hidden {l}"), format!("D{} = {units}", subscript(l))),
        };
        scene.add(text((x(l), 58.0), head, 12, TextAnchor::Middle, theme.pale()));
        scene.add(text((x(l), 76.0), size, 13, TextAnchor::Middle, theme.ink()));
        if l > 0 {
            scene.add(text((x(l), bottom + 24.0), layers[l - 1].note.clone(), 12, TextAnchor::Middle, theme.pale()));
        }
    }
    add_key(&mut scene, ((width - key_width) / 2.0, key), &lines, theme);
    Picture(scene)
}

/// The name of a unit in a column, for a network with this many layers.
fn label(column: usize, unit: usize, layers: usize, classes: bool) -> String {
    let number = subscript(unit + 1);
    match column {
        0 => format!("x{number}"),
        _ if column == layers && classes => unit.to_string(),
        _ if column == layers => format!("y{number}"),
        // A single hidden layer needs no number.
        1 if layers == 2 => format!("h{number}"),
        _ => format!("h{}{number}", superscript(column)),
    }
}

/// A line's colour, its dashes, and what it means. Without a colour, a remark on all of them.
type Explained = (Option<Color>, Option<&'static str>, &'static str);

/// The lines of a trained network.
fn explained(theme: Theme) -> Vec<Explained> {
    vec![
        (Some(signed(1.0, theme)), None, "positive weight"),
        (Some(signed(-1.0, theme)), None, "negative weight"),
        (Some(Color::from(theme.pale())), Some(DASHES), "bias"),
        (None, None, "full colour: the largest in its column"),
    ]
}

/// Explains the lines. It begins at the given point.
fn add_key(scene: &mut Scene, (left, y): (f64, f64), lines: &[Explained], theme: Theme) {
    let mut x = left;
    for explained in lines {
        let (color, dash, says) = explained;
        if let Some(color) = color {
            scene.add(line((x, y), (x + 26.0, y), color.clone(), *dash));
        }
        scene.add(text((x + sample_width(explained), y + 4.0), *says, 11, TextAnchor::Start, theme.pale()));
        x += key_width(explained);
    }
}

/// The width of a line's sample.
fn sample_width((color, ..): &Explained) -> f64 {
    if color.is_some() { 33.0 } else { 0.0 }
}

/// The width of a line's explanation.
fn key_width(explained: &Explained) -> f64 {
    sample_width(explained) + explained.2.chars().count() as f64 * 6.2 + 22.0
}

/// The largest magnitude of a weight or bias among the lines that are shown.
fn largest(weights: &[f32], biases: &[f32], from: &[Place], to: &[Place]) -> f32 {
    let fan_in = weights.len() / biases.len().max(1);
    let units = |places: &[Place]| -> Vec<usize> {
        places.iter().filter_map(|place| if let Place::Unit(unit) = place { Some(*unit) } else { None }).collect()
    };
    let inputs = units(from);
    let of_unit = |&unit: &usize| {
        let lines = inputs.iter().map(|input| weights[unit * fan_in + input]).chain([biases[unit]]);
        lines.fold(0.0, |largest: f32, value| largest.max(value.abs()))
    };
    units(to).iter().map(of_unit).fold(f32::MIN_POSITIVE, f32::max)
}

/// A weight's colour: −1 is orange, 0 hardly visible, 1 blue.
fn signed(value: f32, theme: Theme) -> Color {
    let [blue, orange, ..] = theme.palette();
    let color = if value < 0.0 { orange } else { blue };
    mix(theme.paper(), color, 0.08 + 0.92 * f64::from(value.abs().min(1.0)))
}

fn line(from: (f64, f64), to: (f64, f64), stroke: Color, dash: Option<&str>) -> Primitive {
    let stroke_dasharray = dash.map(Into::into);
    Primitive::Line { x1: from.0, y1: from.1, x2: to.0, y2: to.1, stroke, stroke_width: 1.0, stroke_dasharray }
}

fn circle((cx, cy): (f64, f64), r: f64, fill: Color, theme: Theme) -> Primitive {
    let stroke = Some(Color::from(theme.pale()));
    Primitive::Circle { cx, cy, r, fill, fill_opacity: None, stroke, stroke_width: Some(1.2) }
}

/// A weight, on its line at `share` of the way.
fn number(from: (f64, f64), to: (f64, f64), share: f64, value: f32, color: &str) -> Primitive {
    let at = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1) - 3.0);
    let says = if value.abs() < 1000.0 { format!("{value:.2}") } else { format!("{value:.1e}") };
    text(at, says, 10, TextAnchor::Middle, color)
}

/// `12` as `¹²`.
fn superscript(number: usize) -> String {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().map(|digit| digits[usize::from(digit - b'0')]).collect()
}

/// `12` as `₁₂`.
fn subscript(number: usize) -> String {
    let digit = |digit: char| digit.to_digit(10).and_then(|digit| char::from_u32(0x2080 + digit));
    number.to_string().chars().filter_map(digit).collect()
}
