use kuva::plot::legend::{LegendEntry, LegendShape};
use kuva::prelude::{Layout, LegendPosition, LinePlot, Plot, ReferenceLine, ScatterPlot, TextAnnotation, TickFormat};
use kuva::render::render::render_multiple;

use crate::{Picture, Theme, hex, mix};

/// Lengths of strokes and gaps in pixels, in turn; a solid line if there are none.
pub type Dash = &'static [f64];

/// Points in the order of their x, and how they are drawn.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it; nothing, if it is empty.
    pub name: String,
    /// x and y; what is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Which colour of the palette; the place of the line if none.
    pub color: Option<usize>,
    /// How it is dashed.
    pub dash: Dash,
    /// Whether it stands back behind the others.
    pub pale: bool,
}

impl Line {
    /// A solid line.
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), color: None, dash: &[], pale: false }
    }

    /// In this colour of the palette, with these dashes.
    #[must_use]
    pub fn look(mut self, color: usize, dash: Dash) -> Self {
        self.color = Some(color);
        self.dash = dash;
        self
    }

    /// Smoothed as TensorBoard's slider does it: an exponential mean of weight `weight` (0: as it is … 1), freed of its
    /// bias to the beginning (Kingma and Ba 2015).
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
    /// Stands above.
    pub title: &'a str,
    /// What x is: whole numbers.
    pub x: &'a str,
    /// What y is.
    pub y: &'a str,
    /// The lines.
    pub lines: &'a [Line],
    /// An x to mark, and what to say of it.
    pub mark: Option<(f64, &'a str)>,
}

impl Chart<'_> {
    /// Draws it.
    #[must_use]
    pub fn draw(&self, theme: Theme) -> Picture {
        let ends = |value: fn(&(f64, f64)) -> f64| {
            let values = self.lines.iter().flat_map(|line| &line.points).filter(|point| point.1.is_finite()).map(value);
            window(values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v))))
        };
        let ((left, right), (low, high)) = (ends(|point| point.0), ends(|point| point.1));
        let step = tick_step(high - low);
        let (bottom, top) = ((low / step).floor() * step, (high / step).ceil() * step);
        let scale = (PLOT.0 / (right - left), PLOT.1 / (top - bottom));
        let legend: Vec<LegendEntry> =
            self.lines.iter().enumerate().filter_map(|(place, line)| entry(place, line, theme)).collect();
        // All of the legend is to be seen, however many lines there are.
        let height = f64::max(HEIGHT, 70.0 + 18.5 * legend.len() as f64);
        let plots: Vec<Plot> =
            self.lines.iter().enumerate().flat_map(|(place, line)| plots(place, line, scale, theme)).collect();
        let mut layout = Layout::auto_from_plots(&plots)
            .with_title(self.title)
            .with_x_label(self.x)
            .with_y_label(self.y)
            .with_width(WIDTH)
            .with_height(height)
            .with_title_size(15)
            .with_subtitle_size(12)
            .with_label_size(13)
            .with_tick_size(11)
            .with_body_size(12)
            .with_legend_position(LegendPosition::OutsideRightTop)
            .with_legend_box(false)
            .with_x_axis_min(left)
            .with_x_axis_max(right)
            .with_y_axis_min(bottom)
            .with_y_axis_max(top)
            .with_x_tick_step(x_step(left, right))
            .with_y_tick_step(step)
            .with_y_tick_format(decimals(step))
            .with_theme(theme.colors());
        if !legend.is_empty() {
            layout = layout.with_legend_entries(legend);
        }
        if let Some((x, label)) = self.mark.filter(|(x, _)| (left..=right).contains(x)) {
            let line = ReferenceLine::vertical(x).with_color(theme.pale()).with_dasharray("2 3");
            layout = layout.with_reference_line(line).with_subtitle(label);
        }
        Picture(render_multiple(plots, layout))
    }
}

/// A range to draw: that of the values, or around them where they hardly differ, so that steps and scales are numbers.
fn window((low, high): (f64, f64)) -> (f64, f64) {
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

fn color_of(place: usize, line: &Line, theme: Theme) -> String {
    let palette = theme.palette();
    let color = palette[line.color.unwrap_or(place) % palette.len()];
    if line.pale { hex(&mix(theme.paper(), color, 0.35)) } else { color.to_string() }
}

/// What the legend says of a line.
fn entry(place: usize, line: &Line, theme: Theme) -> Option<LegendEntry> {
    if line.name.is_empty() {
        return None;
    }
    let dash: Vec<String> = line.dash.iter().map(ToString::to_string).collect();
    let dasharray = (!dash.is_empty()).then(|| dash.join(" "));
    let color = color_of(place, line, theme);
    Some(LegendEntry { label: line.name.clone(), color, shape: LegendShape::Line, dasharray })
}

/// A line in pieces: what lies between gaps, and its dashes. `scale` is pixels to a unit of x and y.
fn plots(place: usize, line: &Line, scale: (f64, f64), theme: Theme) -> Vec<Plot> {
    let color = color_of(place, line, theme);
    let mut plots = Vec::new();
    for piece in line.points.split(|(_, y)| !y.is_finite()).filter(|piece| !piece.is_empty()) {
        if let &[point] = piece {
            // A line of one point would not be seen.
            plots.push(ScatterPlot::new().with_data([point]).with_color(color.clone()).with_size(3.0).into());
            continue;
        }
        let pieces = if line.dash.is_empty() { vec![piece.to_vec()] } else { dashes(piece, line.dash, scale) };
        let width = if line.pale { 1.2 } else { 2.0 };
        let draw = |piece: Vec<(f64, f64)>| {
            LinePlot::new().with_data(piece).with_color(color.clone()).with_stroke_width(width).into()
        };
        plots.extend(pieces.into_iter().map(draw));
    }
    plots
}

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 420.0;
/// About what of it is between the axes.
const PLOT: (f64, f64) = (510.0, 330.0);
/// The most dashes of a line: one that goes up and down a million times is no easier to read for its dashes.
const MAX_DASHES: f64 = 1e4;

/// A line cut into dashes: the rasteriser begins its dashes anew at each point, which for hundreds of points leaves none.
/// `scale` is pixels to a unit of x and y.
fn dashes(points: &[(f64, f64)], pattern: &[f64], scale: (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let length = |from: (f64, f64), to: (f64, f64)| ((to.0 - from.0) * scale.0).hypot((to.1 - from.1) * scale.1);
    let whole: f64 = points.windows(2).map(|pair| length(pair[0], pair[1])).sum();
    let period: f64 = pattern.iter().sum();
    let count = whole / period * pattern.len() as f64 / 2.0;
    if !count.is_finite() || count > MAX_DASHES {
        return vec![points.to_vec()];
    }
    let mut pieces = vec![vec![points[0]]];
    let (mut part, mut left) = (0, pattern[0]);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (whole, mut gone) = (length(from, to), 0.0);
        while gone + left < whole {
            gone += left;
            let share = gone / whole;
            let at = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            match pieces.last_mut() {
                Some(piece) if part % 2 == 0 => piece.push(at),
                _ => pieces.push(vec![at]),
            }
            part = (part + 1) % pattern.len();
            left = pattern[part];
        }
        left -= whole - gone;
        if let (0, Some(piece)) = (part % 2, pieces.last_mut()) {
            piece.push(to);
        }
    }
    pieces.retain(|piece| piece.len() > 1);
    pieces
}

/// 1, 2 or 5 times a power of ten, five to ten of them to the range.
fn tick_step(range: f64) -> f64 {
    let power = 10f64.powf((range / 5.0).log10().floor());
    let factor = [5.0, 2.0, 1.0].into_iter().find(|factor| factor * power * 5.0 <= range);
    factor.unwrap_or(1.0) * power
}

/// Between two whole numbers; wider where these are long.
fn x_step(left: f64, right: f64) -> f64 {
    let range = if right.abs() >= 1e5 { 2.0 } else { 1.0 } * (right - left);
    tick_step(range).max(1.0)
}

/// As many decimals as tell ticks of this step apart.
fn decimals(step: f64) -> TickFormat {
    let digits = (-step.log10() - 1e-9).ceil();
    if (0.0..=9.0).contains(&digits) { TickFormat::Fixed(digits as usize) } else { TickFormat::Auto }
}

/// The reliability diagram: accuracy over confidence, against the diagonal of those who know how sure they are.
/// `bins` are (mean confidence, accuracy, samples); empty ones are passed over. A bin's area tells its samples, and so
/// does the number beside it.
#[must_use]
pub fn reliability(title: &str, bins: &[(f64, f64, usize)], theme: Theme) -> Picture {
    let found: Vec<_> = bins.iter().filter(|bin| bin.2 > 0).collect();
    let most = found.iter().map(|bin| bin.2).max().unwrap_or(1) as f64;
    let color = theme.palette()[0];
    let points = || found.iter().map(|&&(confidence, accuracy, _)| (confidence, accuracy));
    let radius = |samples: usize| 2.5 + 9.5 * (samples as f64 / most).sqrt();
    let diagonal = dashes(&[(0.0, 0.0), (1.0, 1.0)], &[6.0, 4.0], PLOT);
    let diagonal = diagonal.into_iter().map(|dash| LinePlot::new().with_data(dash).with_color(theme.pale()).into());
    let mut plots: Vec<Plot> = diagonal.collect();
    plots.extend([
        LinePlot::new().with_data(points()).with_color(color).with_stroke_width(1.2).into(),
        ScatterPlot::new()
            .with_data(points())
            .with_color(color)
            .with_sizes(found.iter().map(|bin| radius(bin.2)))
            .into(),
    ]);
    let entry = |label: &str, color: &str, shape, dash: Option<&str>| LegendEntry {
        label: label.into(),
        color: color.into(),
        shape,
        dasharray: dash.map(Into::into),
    };
    let legend = vec![
        entry("perfectly calibrated", theme.pale(), LegendShape::Line, Some("6 4")),
        entry("the model, with the samples", color, LegendShape::Circle, None),
        entry("of each bin of confidence", theme.paper(), LegendShape::Circle, None),
    ];
    let mut layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("confidence")
        .with_y_label("accuracy")
        .with_width(680.0)
        .with_height(420.0)
        .with_title_size(15)
        .with_label_size(13)
        .with_tick_size(11)
        .with_body_size(12)
        .with_x_axis_min(0.0)
        .with_x_axis_max(1.05)
        .with_y_axis_min(0.0)
        .with_y_axis_max(1.05)
        .with_legend_position(LegendPosition::OutsideRightTop)
        .with_legend_box(false)
        .with_legend_entries(legend)
        .with_theme(theme.colors());
    for &&(confidence, accuracy, samples) in &found {
        // Above, or where that would be outside, below.
        let away = 0.025 + radius(samples) / 330.0;
        let beside = if accuracy + away < 1.0 { accuracy + away } else { accuracy - away - 0.03 };
        let number = TextAnnotation::new(samples.to_string(), confidence, beside);
        layout = layout.with_annotation(number.with_color(theme.ink()).with_font_size(9));
    }
    Picture(render_multiple(plots, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_neither_few_nor_many() {
        for range in [0.013, 0.1, 0.5, 1.0, 2.2, 7.0, 99.0, 12_345.0] {
            let ticks = range / tick_step(range);
            assert!((5.0..=12.6).contains(&ticks), "{range}: {ticks}");
        }
    }

    #[test]
    fn dashes_cover_six_parts_of_eleven() {
        let points: Vec<(f64, f64)> = (0..=1000).map(|i| (f64::from(i), 0.0)).collect();
        let pieces = dashes(&points, &[6.0, 5.0], (1.1, 1.0));
        assert_eq!(pieces.len(), 100);
        let covered: f64 = pieces.iter().map(|piece| piece[piece.len() - 1].0 - piece[0].0).sum();
        assert!((covered * 1.1 - 600.0).abs() < 1e-6, "{covered}");
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        for points in [vec![], vec![(1.0, 2.0)], vec![(1.0, f64::NAN), (2.0, 1.0)], vec![(1.0, 3.0), (2.0, 3.0)]] {
            let lines = [Line::new("a", points).look(0, &[6.0, 5.0])];
            let chart = Chart { title: "", x: "x", y: "y", lines: &lines, mark: Some((1.0, "m")) };
            assert!(chart.draw(Theme::Dark).to_png().is_ok());
        }
    }

    /// Values a bit apart, and steps so large that a dash is less than the distance of two floats, once took for ever.
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
}
