use kuva::render::color::Color;
use kuva::render::render::{Primitive, TextAnchor};

use crate::{Picture, Theme, mix, text};

/// A layer of units, and the weights that lead to them.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Units.
    pub units: usize,
    /// What stands below the column, such as the activation.
    pub note: String,
    /// Weights `[units, fan_in]` and biases `[units]`, to be written at the arrows where these are few.
    pub parameters: Option<(Vec<f32>, Vec<f32>)>,
}

/// Units that a column shows at most; of more, the first and the last.
const SHOWN: usize = 9;
/// Arrows between two columns whose weights can still be read.
const READABLE: usize = 9;
const RADIUS: f64 = 15.0;
const ROW: f64 = 46.0;

/// A unit's place: which, or the dots that stand for the rest.
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

/// The network's diagram: inputs x, hidden units h (the layer above, the unit below), outputs y in columns, every unit
/// tied to all of the column before, biases as a unit that is always 1. Outputs that stand for `classes` bear their
/// numbers, from 0.
#[must_use]
pub fn network(title: &str, inputs: usize, layers: &[Layer], classes: bool, theme: Theme) -> Picture {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 106.0;
    let widths: Vec<usize> = [inputs].into_iter().chain(layers.iter().map(|layer| layer.units)).collect();
    // Numbers want room; many columns want to fit a page.
    let numbered = |l: usize| layers[l].parameters.is_some() && widths[l] * widths[l + 1] <= READABLE;
    let column =
        if (0..layers.len()).any(numbered) { 190.0 } else { f64::max(110.0, 180.0 - 8.0 * layers.len() as f64) };
    let tallest = widths.iter().map(|&units| places(units).len()).max().unwrap_or(1);
    let height = (tallest + 1) as f64 * ROW;
    let width = f64::max(LEFT * 2.0 + (widths.len() - 1) as f64 * column, title.chars().count() as f64 * 9.0 + 40.0);
    let margin = (width - (widths.len() - 1) as f64 * column) / 2.0;
    let noted = layers.iter().any(|layer| !layer.note.is_empty());
    let bottom = TOP + tallest as f64 * ROW + RADIUS;
    let mut scene = theme.scene(width, bottom + if noted { 40.0 } else { 24.0 });
    scene.add(text((width / 2.0, 28.0), title, 15, TextAnchor::Middle, theme.ink()));
    let x = |l: usize| margin + l as f64 * column;
    // The bias stands above its column; units hang centred below.
    let y = |l: usize, place: usize| {
        TOP + ROW + height / 2.0 + (place as f64 - places(widths[l]).len() as f64 / 2.0) * ROW - ROW / 2.0
    };
    let bias_y = |l: usize| y(l, 0) - ROW * 1.05;
    let palette = theme.palette();
    let (edge, bias_edge) = (mix(theme.paper(), theme.ink(), 0.3), mix(theme.paper(), palette[1], 0.45));

    for l in 0..layers.len() {
        let (from, to) = (places(widths[l]), places(widths[l + 1]));
        for (j, unit) in to.iter().enumerate() {
            let Place::Unit(unit) = unit else { continue };
            let end = (x(l + 1), y(l + 1, j));
            for (k, input) in from.iter().enumerate() {
                let Place::Unit(input) = input else { continue };
                let begin = (x(l), y(l, k));
                scene.add(line(begin, end, edge.clone(), None));
                if let (true, Some((weights, _))) = (numbered(l), &layers[l].parameters) {
                    // Side by side along the arrows, so that numbers of crossing arrows keep apart.
                    let share = 0.3 + 0.4 * k as f64 / from.len() as f64;
                    scene.add(number(begin, end, share, weights[unit * widths[l] + input], theme.ink()));
                }
            }
            let begin = (x(l), bias_y(l));
            scene.add(line(begin, end, bias_edge.clone(), Some("3 3")));
            if let (true, Some((_, biases))) = (numbered(l), &layers[l].parameters) {
                scene.add(number(begin, end, 0.2 + 0.12 * j as f64, biases[*unit], palette[1]));
            }
        }
    }
    for (l, &units) in widths.iter().enumerate() {
        let last = l == layers.len();
        let fill = mix(
            theme.paper(),
            palette[if l == 0 {
                4
            } else if last {
                2
            } else {
                0
            }],
            0.25,
        );
        for (place, unit) in places(units).into_iter().enumerate() {
            let at = (x(l), y(l, place));
            match unit {
                Place::Dots => (-1..=1).for_each(|i| {
                    scene.add(circle((at.0, at.1 + 9.0 * f64::from(i)), 2.0, Color::from(theme.pale()), theme));
                }),
                Place::Unit(unit) => {
                    scene.add(circle(at, RADIUS, fill.clone(), theme));
                    let number = subscript(unit + 1);
                    let label = match l {
                        0 => format!("x{number}"),
                        _ if last && classes => unit.to_string(),
                        _ if last => format!("y{number}"),
                        // One hidden layer needs no number.
                        1 if layers.len() == 2 => format!("h{number}"),
                        _ => format!("h{}{number}", superscript(l)),
                    };
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
    Picture(scene)
}

fn line(from: (f64, f64), to: (f64, f64), stroke: Color, dash: Option<&str>) -> Primitive {
    let stroke_dasharray = dash.map(Into::into);
    Primitive::Line { x1: from.0, y1: from.1, x2: to.0, y2: to.1, stroke, stroke_width: 1.0, stroke_dasharray }
}

fn circle((cx, cy): (f64, f64), r: f64, fill: Color, theme: Theme) -> Primitive {
    let stroke = Some(Color::from(theme.pale()));
    Primitive::Circle { cx, cy, r, fill, fill_opacity: None, stroke, stroke_width: Some(1.2) }
}

/// A weight, on its arrow at `share` of the way.
fn number(from: (f64, f64), to: (f64, f64), share: f64, value: f32, color: &str) -> Primitive {
    let at = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1) - 3.0);
    text(at, format!("{value:.2}"), 10, TextAnchor::Middle, color)
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
