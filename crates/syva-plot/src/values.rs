use kuva::render::color::Color;
use kuva::render::render::Primitive;

use crate::axes::{Axes, Ticks};
use crate::chart::{Frame, PLOT, poly_line, window};
use crate::{Picture, Theme};

/// The line that a cloud of points is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guide {
    /// y = x. Both axes then show the same range.
    Diagonal,
    /// y = 0.
    Zero,
}

/// A cloud of points, with a line to compare it with. Points that are not finite are left out.
#[must_use]
pub fn scatter(title: &str, [x, y]: [&str; 2], points: &[(f64, f64)], guide: Guide, theme: Theme) -> Picture {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = window(values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v))));
        let around = 0.03 * (high - low);
        (low - around, high + around)
    };
    let xs = || points.iter().map(|point| point.0);
    let ys = || points.iter().map(|point| point.1);
    let (x_range, y_range) = match guide {
        Guide::Diagonal => {
            let both = range(&mut xs().chain(ys()));
            (both, both)
        }
        Guide::Zero => (range(&mut xs()), range(&mut ys().chain([0.0]))),
    };
    let x_ticks = Ticks::along(x_range.0, x_range.1, PLOT.0, 0.0);
    let y_ticks = Ticks::new(y_range.0, y_range.1, 8.0, 0.0);
    let frame = Frame::sized(PLOT.1 + 60.0, &y_ticks, &[], title, "", theme);
    let axes = Axes { x: x_range, y: y_range, area: frame.area };
    let mut scene = frame.scene;
    axes.draw(&mut scene, [&x_ticks, &y_ticks], [x, y], theme);
    let line = match guide {
        Guide::Diagonal => vec![axes.at((x_range.0, x_range.0)), axes.at((x_range.1, x_range.1))],
        Guide::Zero => vec![axes.at((x_range.0, 0.0)), axes.at((x_range.1, 0.0))],
    };
    // Many points are small and pale, so that it shows where they are dense.
    let r = if points.len() > 500 { 2.0 } else { 3.0 };
    let opacity = if points.len() > 500 { 0.35 } else { 0.6 };
    for point in &points {
        let ((cx, cy), fill) = (axes.at(*point), Color::from(theme.palette()[0]));
        let (fill_opacity, stroke) = (Some(opacity), None);
        scene.add(Primitive::Circle { cx, cy, r, fill, fill_opacity, stroke, stroke_width: None });
    }
    scene.add(poly_line(line, theme.palette()[1], 1.5, &[6.0, 4.0]));
    Picture(scene)
}

/// A row of a chart of [`rows`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// The ends of a whisker.
    pub interval: Option<[f64; 2]>,
}

/// How the values of [`rows`] are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As bars that begin at 0.
    Bar,
    /// As dots. The axis need not contain 0.
    Dot,
}

/// Named values one below the other, the first on top.
#[must_use]
pub fn rows(title: &str, label: &str, rows: &[Row], mark: Mark, theme: Theme) -> Picture {
    const ROW: f64 = 24.0;
    const BAR: f64 = 14.0;
    let ends = rows.iter().flat_map(|row| [row.value].into_iter().chain(row.interval.into_iter().flatten()));
    let ends = ends.chain((mark == Mark::Bar).then_some(0.0)).filter(|end| end.is_finite());
    let (low, high) = window(ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v))));
    let around = 0.04 * (high - low);
    // Bars touch their axis.
    let x = (if mark == Mark::Bar && low >= 0.0 { 0.0 } else { low - around }, high + around);
    let middle = |place: usize| place as f64 + 0.5;
    let names = Ticks {
        values: (0..rows.len()).map(middle).collect(),
        labels: rows.iter().map(|row| row.name.clone()).collect(),
        base: None,
    };
    let x_ticks = Ticks::along(x.0, x.1, PLOT.0, 0.0);
    let frame = Frame::sized(ROW * rows.len().max(1) as f64, &names, &[], title, "", theme);
    let axes = Axes { x, y: (rows.len().max(1) as f64, 0.0), area: frame.area };
    let mut scene = frame.scene;
    axes.draw(&mut scene, [&x_ticks, &names], [label, ""], theme);
    let color = theme.palette()[0];
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| row.value.is_finite()) {
        let (at, y) = axes.at((row.value, middle(place)));
        let fill = Color::from(color);
        if mark == Mark::Bar {
            let zero = axes.at((0.0, 0.0)).0;
            let (x, width) = (zero.min(at), (at - zero).abs());
            let (y, height, opacity) = (y - BAR / 2.0, BAR, Some(0.75));
            scene.add(Primitive::Rect { x, y, width, height, fill, stroke: None, stroke_width: None, opacity });
        } else {
            let (cx, cy, r) = (at, y, 4.5);
            scene.add(Primitive::Circle { cx, cy, r, fill, fill_opacity: None, stroke: None, stroke_width: None });
        }
        if let Some([low, high]) = row.interval {
            let [from, to] = [low, high].map(|end| axes.at((end, middle(place))).0);
            scene.add(poly_line(vec![(from, y), (to, y)], theme.ink(), 1.2, &[]));
            for end in [from, to] {
                scene.add(poly_line(vec![(end, y - 4.0), (end, y + 4.0)], theme.ink(), 1.2, &[]));
            }
        }
    }
    Picture(scene)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_can_be_drawn() {
        for points in [vec![], vec![(1.0, 2.0)], vec![(1.0, f64::NAN), (2.0, 1.0)], vec![(3.0, 3.0), (3.0, 3.0)]] {
            for guide in [Guide::Diagonal, Guide::Zero] {
                assert!(scatter("", ["x", "y"], &points, guide, Theme::Dark).to_png().is_ok());
            }
        }
        let row = |value, interval| Row { name: "a".into(), value, interval };
        for found in [vec![], vec![row(f64::NAN, None)], vec![row(0.0, Some([0.0, 0.0]))], vec![row(-2.0, None)]] {
            for mark in [Mark::Bar, Mark::Dot] {
                assert!(rows("", "x", &found, mark, Theme::Light).to_png().is_ok());
            }
        }
    }

    /// What is below 0 goes to the left, and a whisker is not cut off.
    #[test]
    fn bars_begin_at_zero() {
        let row = |value, interval| Row { name: "a".into(), value, interval };
        let svg = rows("", "x", &[row(2.0, Some([1.0, 4.0])), row(-1.0, None)], Mark::Bar, Theme::Light).to_svg();
        let number = |text: &str, name: &str| -> f64 {
            text.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap()
        };
        let bars: Vec<(f64, f64)> = svg
            .split("<rect")
            .filter(|rect| rect.contains("#0072b2"))
            .map(|rect| (number(rect, "x"), number(rect, "width")))
            .collect();
        let [(first, long), (second, short)] = bars[..] else { panic!("{svg}") };
        assert!((second + short - first).abs() < 0.02 && (long - 2.0 * short).abs() < 0.02, "{bars:?}");
    }
}
