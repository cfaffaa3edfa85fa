//! The parts that charts share: axes with readable numbers, and legends.
//!
//! These are drawn here and not by kuva, because a chart has to stay readable whatever its numbers and names are.
//! kuva's axis labels are rotated, which its rasteriser draws roughly. Its ticks overlap if they are long, and its
//! legend's samples touch the names.

use kuva::render::color::Color;
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor};

use crate::{Dash, Theme, text};

/// Font sizes of the ticks' labels, and of the names in a legend.
const TICK: u32 = 11;
const NAME: u32 = 12;

/// The positions of numbers along an axis, and their labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ticks {
    pub values: Vec<f64>,
    pub labels: Vec<String>,
    /// A number to be added to each label, if the numbers are too long to be written in full.
    pub base: Option<f64>,
}

impl Ticks {
    /// About `wanted` round numbers from `low` to `high`, a `step` of at least `least` apart.
    pub fn new(low: f64, high: f64, wanted: f64, least: f64) -> Self {
        // Steps must not be finer than f64 can tell apart.
        let least = least.max(low.abs().max(high.abs()) * f64::EPSILON);
        let step = round_step(((high - low) / wanted).max(least));
        let first = (low / step - 1e-9).ceil();
        let values: Vec<f64> =
            (0..200).map(|i| (first + f64::from(i)) * step).take_while(|&value| value <= high + step * 1e-9).collect();
        let labels = numbers(&values, step);
        if labels.iter().all(|label| label.chars().count() <= LONGEST) {
            return Self { values, labels, base: None };
        }
        // The numbers differ only in their last digits. Their common part is shown once.
        let base = values[0];
        let labels = numbers(&values.iter().map(|value| value - base).collect::<Vec<f64>>(), step);
        Self { values, labels, base: Some(base) }
    }

    /// Ticks whose labels fit next to each other on an axis of this many pixels.
    pub fn along(low: f64, high: f64, pixels: f64, least: f64) -> Self {
        let mut wanted = 11.0;
        loop {
            let ticks = Self::new(low, high, wanted, least);
            let widest = ticks.labels.iter().map(|label| width(label, TICK)).fold(0.0, f64::max);
            let room = match ticks.values[..] {
                [first, second, ..] => pixels * (second - first) / (high - low),
                _ => f64::INFINITY,
            };
            if widest + 10.0 <= room || wanted < 2.0 {
                return ticks;
            }
            wanted -= 1.0;
        }
    }

    /// The label of the axis, which includes the part that its numbers leave out.
    pub fn axis_label(&self, label: &str) -> String {
        match self.base {
            Some(base) if base < 0.0 => format!("{label} + {:e}", -base),
            Some(base) => format!("{label} − {base:e}"),
            None => label.to_string(),
        }
    }
}

/// The most characters of a tick's label.
const LONGEST: usize = 9;

/// 1, 2 or 5 times a power of ten: the first that is not below `step`.
pub(crate) fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Numbers that are `step` apart, all with just enough digits to tell them apart.
fn numbers(values: &[f64], step: f64) -> Vec<String> {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let decimals = (-step.log10() - 1e-9).ceil().max(0.0);
    if largest < 1e6 && decimals <= 5.0 {
        // No tick is "-0.0".
        let clean = |value: f64| if value.abs() < step / 2.0 { 0.0 } else { value };
        return values.iter().map(|&value| format!("{:.*}", decimals as usize, clean(value))).collect();
    }
    let digits = (largest.log10().floor() - (step.log10() + 1e-9).floor()).clamp(0.0, 17.0) as usize;
    let number = |&value: &f64| {
        if value.abs() < step / 2.0 {
            return "0".to_string();
        }
        let text = format!("{value:.digits$e}");
        // 5.0e30 is 5e30.
        match text.split_once('e') {
            Some((mantissa, exponent)) if mantissa.contains('.') => {
                format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => text,
        }
    };
    values.iter().map(number).collect()
}

/// The approximate width of a text in pixels, from the widths of DejaVu Sans, in which PNGs are drawn.
pub(crate) fn width(text: &str, size: u32) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.32,
        'f' | 't' | 'r' | '(' | ')' | '-' | '/' => 0.41,
        'm' | 'M' | 'W' | '%' | '@' => 0.97,
        'w' | '−' | '+' | '→' | '·' => 0.83,
        'A'..='Z' => 0.71,
        c if (c as u32) < 0x1100 => 0.63,
        // Scripts whose letters fill a square.
        _ => 1.0,
    };
    text.chars().map(em).sum::<f64>() * f64::from(size)
}

/// A pair of axes: the ranges that they show, and their place in the picture.
pub(crate) struct Axes {
    pub x: (f64, f64),
    pub y: (f64, f64),
    /// Left, top, right and bottom, in pixels.
    pub area: [f64; 4],
}

impl Axes {
    /// The position of a point in the picture.
    pub fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, top, right, bottom] = self.area;
        let share = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low);
        (left + share(x, self.x) * (right - left), bottom - share(y, self.y) * (bottom - top))
    }

    /// Draws the grid, the axes, their numbers and labels. The label of y is above its axis, so it need not be rotated.
    pub fn draw(&self, scene: &mut Scene, ticks: [&Ticks; 2], labels: [&str; 2], theme: Theme) {
        let [left, top, right, bottom] = self.area;
        let [x_ticks, y_ticks] = ticks;
        let mut rule = |from: (f64, f64), to: (f64, f64), color: &str| {
            let (stroke, stroke_width) = (Color::from(color), 1.0);
            scene.add(Primitive::Line {
                x1: from.0,
                y1: from.1,
                x2: to.0,
                y2: to.1,
                stroke,
                stroke_width,
                stroke_dasharray: None,
            });
        };
        let xs: Vec<f64> = x_ticks.values.iter().map(|&x| self.at((x, self.y.0)).0).collect();
        let ys: Vec<f64> = y_ticks.values.iter().map(|&y| self.at((self.x.0, y)).1).collect();
        for &x in &xs {
            rule((x, top), (x, bottom), theme.grid());
        }
        for &y in &ys {
            rule((left, y), (right, y), theme.grid());
            rule((left - 5.0, y), (left, y), theme.pale());
        }
        // Above the other lines of the grid.
        for &x in &xs {
            rule((x, bottom), (x, bottom + 5.0), theme.pale());
        }
        rule((left, bottom), (right, bottom), theme.pale());
        rule((left, top), (left, bottom), theme.pale());
        for (x, label) in xs.iter().zip(&x_ticks.labels) {
            scene.add(text((*x, bottom + 19.0), label.as_str(), TICK, TextAnchor::Middle, theme.ink()));
        }
        for (y, label) in ys.iter().zip(&y_ticks.labels) {
            scene.add(text((left - 9.0, y + 4.0), label.as_str(), TICK, TextAnchor::End, theme.ink()));
        }
        let middle = f64::midpoint(left, right);
        let [x_label, y_label] = [x_ticks.axis_label(labels[0]), y_ticks.axis_label(labels[1])];
        scene.add(text((middle, bottom + 42.0), x_label, 13, TextAnchor::Middle, theme.ink()));
        scene.add(text((12.0, top - 12.0), y_label, 13, TextAnchor::Start, theme.ink()));
    }
}

/// The width that the numbers of y need to the left of the axis.
pub(crate) fn room_of(ticks: &Ticks) -> f64 {
    20.0 + ticks.labels.iter().map(|label| width(label, TICK)).fold(0.0, f64::max)
}

/// The sample that a legend shows next to a name.
#[derive(Clone, Debug)]
pub(crate) enum Sample {
    Line(Dash),
    /// One of [`MARKERS`].
    Marker(usize),
    Dot,
    /// The entry continues the line above.
    Nothing,
}

/// One line of a legend.
pub(crate) struct Entry {
    pub name: String,
    pub color: String,
    pub sample: Sample,
}

const SAMPLE: f64 = 32.0;
const LINE: f64 = 18.5;
/// The most lines in a column of a legend.
const COLUMN: usize = 22;
/// The most columns of a legend. With more, it would take more room than the curves.
const COLUMNS: usize = 3;

/// The number of lines in a legend with this many entries, and of columns.
pub(crate) fn lines_and_columns(entries: usize) -> (usize, usize) {
    let columns = entries.div_ceil(COLUMN).clamp(1, COLUMNS);
    (entries.div_ceil(columns), columns)
}

/// The height of a legend with this many entries.
pub(crate) fn legend_height(entries: usize) -> f64 {
    LINE * lines_and_columns(entries).0 as f64
}

fn column_width(entries: &[Entry]) -> f64 {
    let widest = entries.iter().map(|entry| width(&entry.name, NAME)).fold(0.0, f64::max);
    if widest == 0.0 { 0.0 } else { SAMPLE + 8.0 + widest + 14.0 }
}

/// The width of a legend.
pub(crate) fn legend_width(entries: &[Entry]) -> f64 {
    lines_and_columns(entries.len()).1 as f64 * column_width(entries)
}

/// Draws a legend. Its upper left corner is the given point.
pub(crate) fn legend(scene: &mut Scene, (left, top): (f64, f64), entries: &[Entry], theme: Theme) {
    let (lines, _) = lines_and_columns(entries.len());
    let column = column_width(entries);
    for (place, entry) in entries.iter().enumerate() {
        let (x, y) = (left + (place / lines) as f64 * column, top + (place % lines) as f64 * LINE);
        let color = || Color::from(entry.color.as_str());
        match entry.sample {
            Sample::Line(dash) => {
                let dash: Vec<String> = dash.iter().map(ToString::to_string).collect();
                scene.add(Primitive::PolyLine {
                    points: vec![(x, y), (x + SAMPLE, y)],
                    stroke: color(),
                    stroke_width: 2.0,
                    stroke_dasharray: (!dash.is_empty()).then(|| dash.join(" ")),
                });
            }
            Sample::Marker(shape) => scene.add(marker((x + SAMPLE / 2.0, y), shape, &entry.color)),
            Sample::Dot => scene.add(marker((x + SAMPLE / 2.0, y), 0, &entry.color)),
            Sample::Nothing => {}
        }
        let at = (x + SAMPLE + 8.0, y + 4.0);
        scene.add(text(at, entry.name.as_str(), NAME, TextAnchor::Start, theme.ink()));
    }
}

/// The number of shapes by which single points are told apart.
const MARKERS: usize = 6;

/// A point: circle, square, triangles, diamond, cross.
pub(crate) fn marker((x, y): (f64, f64), shape: usize, color: &str) -> Primitive {
    const R: f64 = 5.0;
    let corners: &[(f64, f64)] = match shape % MARKERS {
        0 => {
            let fill = Color::from(color);
            return Primitive::Circle {
                cx: x,
                cy: y,
                r: R,
                fill,
                fill_opacity: None,
                stroke: None,
                stroke_width: None,
            };
        }
        1 => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2 => &[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
        3 => &[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)],
        4 => &[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
        _ => &[
            (-1.2, -0.8),
            (-0.8, -1.2),
            (0.0, -0.4),
            (0.8, -1.2),
            (1.2, -0.8),
            (0.4, 0.0),
            (1.2, 0.8),
            (0.8, 1.2),
            (0.0, 0.4),
            (-0.8, 1.2),
            (-1.2, 0.8),
            (-0.4, 0.0),
        ],
    };
    let corner = |(i, (dx, dy)): (usize, &(f64, f64))| {
        format!("{}{:.2} {:.2} ", if i == 0 { 'M' } else { 'L' }, x + R * dx, y + R * dy)
    };
    let d = corners.iter().enumerate().map(corner).collect::<String>() + "Z";
    let color = Color::from(color);
    Primitive::Path(Box::new(PathData {
        d,
        fill: Some(color.clone()),
        stroke: color,
        stroke_width: 0.5,
        opacity: None,
        stroke_dasharray: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of any size are short and distinct, and have the right values.
    #[test]
    fn labels_are_short_distinct_and_true() {
        let ranges = [
            (0.0, 1.0),
            (0.0, 2.4),
            (1.0, 500.0),
            (0.3, 0.300_000_001),
            (0.0, 1.2e31),
            (-3e38, 3e38),
            (0.0, 3e-9),
            (1.763e18, 1.763e18 + 30_000.0),
            (-1_000_000.0, 2_500_000.0),
            (123_456_000.0, 123_456_789.0),
            (9_007_199_254_740_992.0, 9_007_199_254_740_994.0),
        ];
        for (low, high) in ranges {
            let ticks = Ticks::new(low, high, 8.0, 0.0);
            assert!((2..=17).contains(&ticks.values.len()), "{low} {high}: {ticks:?}");
            for (place, label) in ticks.labels.iter().enumerate() {
                assert!(label.chars().count() <= LONGEST, "{low} {high}: {label}");
                assert!(!ticks.labels[..place].contains(label), "{low} {high}: {label} twice");
                let said = label.parse::<f64>().unwrap() + ticks.base.unwrap_or(0.0);
                let off = (said - ticks.values[place]).abs();
                assert!(off <= 1e-6 * (high - low), "{low} {high}: {label} is {}", ticks.values[place]);
            }
        }
        assert_eq!(Ticks::new(0.0, 1.2e31, 6.0, 0.0).labels[1], "2e30");
        assert_eq!(Ticks::new(-1.0, 1.0, 5.0, 0.0).labels, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        let far = Ticks::new(1.763e18, 1.763e18 + 30_000.0, 6.0, 0.0);
        assert_eq!(far.axis_label("step"), "step − 1.763e18");
    }

    #[test]
    fn labels_have_room_beside_one_another() {
        for (low, high) in [(1.0, 500.0), (0.0, 1e30), (0.0, 9_999_999.0), (1e5, 1.1e5), (1.0, 3.0), (0.9, 1.1)] {
            let ticks = Ticks::along(low, high, 500.0, 1.0);
            let pixel = |value: f64| 500.0 * (value - low) / (high - low);
            for pair in 0..ticks.values.len().saturating_sub(1) {
                let room = pixel(ticks.values[pair + 1]) - pixel(ticks.values[pair]);
                let wide = f64::midpoint(width(&ticks.labels[pair], TICK), width(&ticks.labels[pair + 1], TICK));
                assert!(wide + 5.0 < room, "{low} {high}: {ticks:?}");
            }
            assert!(!ticks.values.is_empty(), "{low} {high}");
        }
    }

    #[test]
    fn steps_are_round() {
        for (step, round) in [(0.013, 0.02), (0.1, 0.1), (0.3, 0.5), (6.0, 10.0), (1e30, 1e30), (1.1e-9, 2e-9)] {
            let found = round_step(step);
            assert!((found / round - 1.0).abs() < 1e-9, "{step}: {found}");
        }
    }
}
