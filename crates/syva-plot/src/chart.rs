use kuva::render::color::Color;
use kuva::render::render::{Primitive, Scene, TextAnchor};

use crate::axes::{self, Axes, Entry, Sample, Ticks, legend, marker};
use crate::{Picture, Theme, hex, mix, text};

/// Lengths of strokes and gaps in pixels, in turn; a solid line if there are none.
pub type Dash = &'static [f64];

/// Points in the order of their x, and how they are drawn.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend. If it is empty, the line is not in the legend.
    pub name: String,
    /// x and y. Values that are not finite leave a gap.
    pub points: Vec<(f64, f64)>,
    /// The index of its colour in the palette. If it is `None`, that is the index of the line.
    pub color: Option<usize>,
    /// Its dashes.
    pub dash: Dash,
    /// Whether it is drawn pale, behind the others.
    pub pale: bool,
}

impl Line {
    /// A solid line.
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), color: None, dash: &[], pale: false }
    }

    /// Sets the colour, as an index in the palette, and the dashes.
    #[must_use]
    pub fn look(mut self, color: usize, dash: Dash) -> Self {
        self.color = Some(color);
        self.dash = dash;
        self
    }

    /// The pieces between its gaps.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        self.points.split(|(_, y)| !y.is_finite()).filter(|piece| !piece.is_empty())
    }

    /// Whether it has points, but no two of them are neighbours.
    pub(crate) fn is_dots(&self) -> bool {
        let mut longest = 0;
        self.pieces().for_each(|piece| longest = longest.max(piece.len()));
        longest == 1
    }

    /// Smoothed as by TensorBoard's slider: an exponential mean of weight `weight` (from 0, which changes nothing, to
    /// 1), corrected for its bias at the beginning (Kingma and Ba 2015).
    ///
    /// ```
    /// use syva_plot::Line;
    /// let line = Line::new("loss", [(1.0, 4.0), (2.0, 1.0)]).smoothed(0.5);
    /// assert_eq!(line.points, [(1.0, 4.0), (2.0, 2.0)]);
    /// ```
    #[must_use]
    pub fn smoothed(mut self, weight: f64) -> Self {
        let (mut mean, mut total) = (0.0, 0.0);
        for (_, y) in self.points.iter_mut().filter(|(_, y)| y.is_finite()) {
            mean = weight * mean + (1.0 - weight) * *y;
            total = weight * total + (1.0 - weight);
            *y = mean / total;
        }
        self
    }
}

/// Lines over one pair of axes.
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a> {
    /// The title above the chart.
    pub title: &'a str,
    /// The label of x, which counts in whole numbers.
    pub x: &'a str,
    /// The label of y.
    pub y: &'a str,
    /// The lines.
    pub lines: &'a [Line],
    /// An x to mark, and the text for it.
    pub mark: Option<(f64, &'a str)>,
}

impl Chart<'_> {
    /// Draws the chart.
    #[must_use]
    pub fn draw(&self, theme: Theme) -> Picture {
        self.draw_with(1.0, theme)
    }

    /// Draws the chart. Its x is not counted in whole numbers.
    #[must_use]
    pub fn draw_over_numbers(&self, theme: Theme) -> Picture {
        self.draw_with(0.0, theme)
    }

    /// Draws the chart, with numbers along x that are at least `step_of_x` apart.
    fn draw_with(&self, step_of_x: f64, theme: Theme) -> Picture {
        let ends = |value: fn(&(f64, f64)) -> f64| {
            let values = self.lines.iter().flat_map(|line| &line.points).filter(|point| point.1.is_finite()).map(value);
            window(values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v))))
        };
        let (x, (low, high)) = (ends(|point| point.0), ends(|point| point.1));
        // Markers of single points need room that lines do not need.
        let pad = if self.lines.iter().any(Line::is_dots) { 0.05 * (high - low) } else { 0.0 };
        let (low, high) = (if low >= 0.0 { (low - pad).max(0.0) } else { low - pad }, high + pad);
        let step = axes::round_step((high - low) / 10.0);
        let y = ((low / step).floor() * step, (high / step).ceil() * step);
        let (x_ticks, y_ticks) =
            (Ticks::along(x.0, x.1, PLOT.0, step_of_x), Ticks::new(y.0, y.1, ((y.1 - y.0) / step).round(), 0.0));
        let entries: Vec<Entry> = (0..self.lines.len()).filter_map(|place| self.entry(place, theme)).collect();
        let subtitle = self.mark.filter(|(at, _)| (x.0..=x.1).contains(at));
        let frame = Frame::new(&y_ticks, &entries, self.title, subtitle.map_or("", |(_, says)| says), theme);
        let axes = Axes { x, y, area: frame.area };
        let mut scene = frame.scene;
        axes.draw(&mut scene, [&x_ticks, &y_ticks], [self.x, self.y], theme);
        if let Some((at, _)) = subtitle {
            scene.add(poly_line(vec![axes.at((at, y.0)), axes.at((at, y.1))], theme.pale(), 1.0, &[2.0, 3.0]));
        }
        for place in 0..self.lines.len() {
            self.draw_line(&mut scene, place, &axes, theme);
        }
        legend(&mut scene, frame.legend, &entries, theme);
        Picture(scene)
    }

    fn color(&self, place: usize, theme: Theme) -> String {
        let (palette, line) = (theme.palette(), &self.lines[place]);
        let color = palette[line.color.unwrap_or(place) % palette.len()];
        if line.pale { hex(&mix(theme.paper(), color, 0.35)) } else { color.to_string() }
    }

    /// The marker of a line that consists of single points: the index of the line among those of its kind, pale or not.
    fn shape(&self, place: usize) -> usize {
        self.lines[..place].iter().filter(|line| line.pale == self.lines[place].pale).count()
    }

    /// A line's entry in the legend.
    fn entry(&self, place: usize, theme: Theme) -> Option<Entry> {
        let line = &self.lines[place];
        let sample = if line.is_dots() { Sample::Marker(self.shape(place)) } else { Sample::Line(line.dash) };
        (!line.name.is_empty()).then(|| Entry { name: line.name.clone(), color: self.color(place, theme), sample })
    }

    /// Draws a line in pieces, with its gaps between them.
    fn draw_line(&self, scene: &mut Scene, place: usize, axes: &Axes, theme: Theme) {
        let (line, color) = (&self.lines[place], self.color(place, theme));
        let dots = line.is_dots();
        for piece in line.pieces() {
            if let &[point] = piece {
                // A line of one point would be invisible.
                if dots {
                    scene.add(marker(axes.at(point), self.shape(place), &color));
                } else {
                    let ((cx, cy), fill) = (axes.at(point), Color::from(color.as_str()));
                    let (r, stroke) = (3.0, None);
                    scene.add(Primitive::Circle { cx, cy, r, fill, fill_opacity: None, stroke, stroke_width: None });
                }
                continue;
            }
            let points = piece.iter().map(|&point| axes.at(point)).collect();
            scene.add(poly_line(points, &color, if line.pale { 1.2 } else { 2.0 }, line.dash));
        }
    }
}

/// The parts around the axes of a chart.
pub(crate) struct Frame {
    pub scene: Scene,
    pub area: [f64; 4],
    /// The upper left corner of the legend.
    pub legend: (f64, f64),
}

impl Frame {
    fn new(y_ticks: &Ticks, entries: &[Entry], title: &str, subtitle: &str, theme: Theme) -> Self {
        Self::sized(PLOT.1, y_ticks, entries, title, subtitle, theme)
    }

    /// A frame around axes of this height.
    pub fn sized(height: f64, y_ticks: &Ticks, entries: &[Entry], title: &str, subtitle: &str, theme: Theme) -> Self {
        let top = if subtitle.is_empty() { 78.0 } else { 92.0 };
        // The whole legend must be visible, however many lines it has.
        let bottom = top + f64::max(height, axes::legend_height(entries.len()));
        let left = axes::room_of(y_ticks).max(52.0);
        let right = left + PLOT.0;
        let title_width = axes::width(title, 15);
        let middle = f64::midpoint(left, right).max(title_width / 2.0 + 12.0);
        let width = (right + 24.0 + axes::legend_width(entries)).max(middle + title_width / 2.0 + 12.0).max(WIDTH);
        let mut scene = theme.scene(width, bottom + 56.0);
        scene.add(text((middle, 28.0), title, 15, TextAnchor::Middle, theme.ink()));
        if !subtitle.is_empty() {
            scene.add(text((middle, 48.0), subtitle, 12, TextAnchor::Middle, theme.pale()));
        }
        Self { scene, area: [left, top, right, bottom], legend: (right + 24.0, top + 6.0) }
    }
}

pub(crate) fn poly_line(points: Vec<(f64, f64)>, color: &str, stroke_width: f64, dash: Dash) -> Primitive {
    let dash: Vec<String> = dash.iter().map(ToString::to_string).collect();
    let stroke_dasharray = (!dash.is_empty()).then(|| dash.join(" "));
    Primitive::PolyLine { points, stroke: Color::from(color), stroke_width, stroke_dasharray }
}

/// The range to draw: that of the values or, if they hardly differ, a range around them, so that steps and scales are
/// finite.
pub(crate) fn window((low, high): (f64, f64)) -> (f64, f64) {
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let largest = low.abs().max(high.abs());
    if high - low > 1e-9 * largest {
        return (low, high);
    }
    let around = if largest == 0.0 { 1.0 } else { 0.1 * largest };
    (low - around, high + around)
}

const WIDTH: f64 = 680.0;
/// The size of the part between the axes.
pub(crate) const PLOT: (f64, f64) = (510.0, 330.0);

/// The reliability diagram: accuracy against confidence, with the diagonal of perfect calibration. `bins` are (mean
/// confidence, accuracy, samples) for intervals of 0 … 1 of equal width; empty ones are left out. The area of a dot
/// shows the number of samples in its bin, and so does the number above it.
#[must_use]
pub fn reliability(title: &str, bins: &[(f64, f64, usize)], theme: Theme) -> Picture {
    const ROW: f64 = 1.105;
    let found: Vec<_> = bins.iter().filter(|bin| bin.2 > 0).collect();
    let most = found.iter().map(|bin| bin.2).max().unwrap_or(1) as f64;
    let color = theme.palette()[0];
    let radius = |samples: usize| 2.5 + 9.5 * (samples as f64 / most).sqrt();
    let ticks = Ticks::new(0.0, 1.0, 5.0, 0.0);
    let entry = |name: &str, color: &str, sample| Entry { name: name.into(), color: color.into(), sample };
    let entries = [
        entry("perfectly calibrated", theme.pale(), Sample::Line(&[6.0, 4.0])),
        entry("the model (larger dots", color, Sample::Dot),
        entry("stand for more samples)", theme.paper(), Sample::Nothing),
        entry("top row: samples per bin", theme.paper(), Sample::Nothing),
        entry("of confidence", theme.paper(), Sample::Nothing),
    ];
    let frame = Frame::new(&ticks, &entries, title, "", theme);
    let axes = Axes { x: (0.0, 1.05), y: (0.0, 1.15), area: frame.area };
    let mut scene = frame.scene;
    axes.draw(&mut scene, [&ticks, &ticks], ["confidence", "accuracy"], theme);
    scene.add(poly_line(vec![axes.at((0.0, 0.0)), axes.at((1.0, 1.0))], theme.pale(), 2.0, &[6.0, 4.0]));
    let points: Vec<(f64, f64)> = found.iter().map(|bin| axes.at((bin.0, bin.1))).collect();
    scene.add(poly_line(points.clone(), color, 1.2, &[]));
    for (&(cx, cy), bin) in points.iter().zip(&found) {
        let (r, fill) = (radius(bin.2), Color::from(color));
        scene.add(Primitive::Circle { cx, cy, r, fill, fill_opacity: None, stroke: None, stroke_width: None });
    }
    // The numbers have a row of their own, where there are no lines.
    let room = axes.at((1.0 / bins.len() as f64, 0.0)).0 - axes.at((0.0, 0.0)).0;
    for (place, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.2 > 0) {
        let number = bin.2.to_string();
        if axes::width(&number, 9) < room {
            let (x, y) = axes.at(((place as f64 + 0.5) / bins.len() as f64, ROW));
            scene.add(text((x, y + 3.0), number, 9, TextAnchor::Middle, theme.ink()));
        }
    }
    legend(&mut scene, frame.legend, &entries, theme);
    Picture(scene)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_can_be_drawn() {
        for points in [vec![], vec![(1.0, 2.0)], vec![(1.0, f64::NAN), (2.0, 1.0)], vec![(1.0, 3.0), (2.0, 3.0)]] {
            let lines = [Line::new("a", points).look(0, &[6.0, 5.0])];
            let chart = Chart { title: "", x: "x", y: "y", lines: &lines, mark: Some((1.0, "m")) };
            assert!(chart.draw(Theme::Dark).to_png().is_ok());
        }
    }

    /// Two cases that once took forever: values that hardly differ, and steps so large that a dash is shorter than the
    /// distance between two floats.
    #[test]
    fn what_hardly_differs_is_drawn_flat() {
        let up = f64::midpoint(0.3, 0.3 + 2.0 * f64::EPSILON);
        let first = 9_007_199_254_740_992.0;
        let tiny = vec![(1.0, 0.3), (2.0, up), (3.0, 0.3)];
        let large = vec![(first, 1.0), (first + 2.0, 2.0)];
        let foreign = (0..100).map(|i| (1.763e18 + 300.0 * f64::from(i), f64::from(i % 7))).collect();
        for points in [tiny, large, foreign] {
            let lines = [Line::new("a", points).look(0, &[6.0, 5.0])];
            let chart = Chart { title: "", x: "x", y: "y", lines: &lines, mark: None };
            assert!(chart.draw(Theme::Light).to_png().is_ok());
        }
    }

    /// Curves of one epoch are dots. They are told apart by their shapes, in the legend too, and are not cut off by the
    /// frame.
    #[test]
    fn single_points_are_told_apart_and_whole() {
        let lines = [2.31, 2.30, 0.11, 0.12].map(|y| Line::new("a", [(1.0, y)]));
        let svg = Chart { title: "", x: "epoch", y: "y", lines: &lines, mark: None }.draw(Theme::Light).to_svg();
        assert_eq!(svg.matches("<circle").count(), 2, "the first line's, and the legend's: {svg}");
        let shapes: Vec<usize> = svg
            .split("<path d=\"")
            .skip(1)
            .filter_map(|path| Some(path.split('Z').next()?.matches('L').count()))
            .collect();
        assert_eq!(shapes, [3, 2, 3, 3, 2, 3], "a square, a triangle and a diamond, twice: {svg}");
        let frame = 78.0;
        let top: f64 = svg.split("cy=\"").nth(1).and_then(|cy| cy.split('"').next()).unwrap().parse().unwrap();
        assert!(top > frame + 5.0, "{top}");
    }

    #[test]
    fn numbers_of_the_reliability_diagram_stand_clear() {
        let bins: Vec<(f64, f64, usize)> = (0..15).map(|i| (f64::from(i) / 15.0 + 0.05, 1.0, 9_662)).collect();
        let svg = reliability("", &bins, Theme::Light).to_svg();
        let y =
            |from: &str| from.split("y=\"").nth(1).and_then(|y| y.split('"').next()).unwrap().parse::<f64>().unwrap();
        let numbers: Vec<f64> = svg.split("<text").filter(|text| text.contains(">9662<")).map(y).collect();
        let dots: Vec<f64> = svg.split("<circle").skip(1).map(y).collect();
        assert_eq!((numbers.len(), dots.len()), (15, 16));
        let lowest = numbers.iter().fold(0.0, |low: f64, &y| low.max(y));
        assert!(dots[..15].iter().all(|dot| lowest + 1.0 < dot - 12.0), "{numbers:?} {dots:?}");
    }
}
