use kuva::prelude::{Layout, LegendPosition, LinePlot, LineStyle, Plot, ReferenceLine, ScatterPlot};
use kuva::render::render::render_multiple;

use crate::{Picture, Theme};

/// Points in the order of their x, and how they are drawn.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// x and y; what is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Which colour of the palette; the place of the line if none.
    pub color: Option<usize>,
    /// Whether it is dashed.
    pub dashed: bool,
}

impl Line {
    /// A line that is not dashed.
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), color: None, dashed: false }
    }

    /// In this colour of the palette.
    #[must_use]
    pub fn color(mut self, color: usize) -> Self {
        self.color = Some(color);
        self
    }

    /// Dashed.
    #[must_use]
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
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
    /// What x is.
    pub x: &'a str,
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
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let ((left, right), (low, high)) = (ends(|point| point.0), ends(|point| point.1));
        let range = left < right && low < high;
        let step = if range { tick_step(high - low) } else { 1.0 };
        let (bottom, top) = ((low / step).floor() * step, (high / step).ceil() * step);
        let scale = if range { (PLOT.0 / (right - left), PLOT.1 / (top - bottom)) } else { (1.0, 1.0) };

        let palette = theme.palette();
        let mut plots: Vec<Plot> = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let color = palette[line.color.unwrap_or(place) % palette.len()];
            let mut name = Some(line.name.as_str());
            for piece in line.points.split(|(_, y)| !y.is_finite()).filter(|piece| !piece.is_empty()) {
                if let &[point] = piece {
                    // A line of one point would not be seen.
                    let dot = ScatterPlot::new().with_data([point]).with_color(color).with_size(3.0);
                    plots.push(name.take().map_or(dot.clone(), |name| dot.with_legend(name)).into());
                    continue;
                }
                let pieces = if line.dashed { dashes(piece, scale) } else { vec![piece.to_vec()] };
                for piece in pieces {
                    let plot = LinePlot::new().with_data(piece).with_color(color).with_stroke_width(2.0);
                    let named = |name: &str| {
                        let plot = plot.clone().with_legend(name);
                        // Shows in the legend; a dash is too short to be dashed itself.
                        if line.dashed { plot.with_line_style(LineStyle::Custom("6 4".into())) } else { plot }
                    };
                    plots.push(name.take().map_or_else(|| plot.clone(), named).into());
                }
            }
        }
        let mut layout = Layout::auto_from_plots(&plots)
            .with_title(self.title)
            .with_x_label(self.x)
            .with_width(WIDTH)
            .with_height(HEIGHT)
            .with_title_size(15)
            .with_subtitle_size(12)
            .with_label_size(13)
            .with_tick_size(11)
            .with_body_size(12)
            .with_legend_position(LegendPosition::OutsideRightTop)
            .with_legend_box(false)
            .with_theme(theme.colors());
        if range {
            layout = layout
                .with_x_axis_min(left)
                .with_x_axis_max(right)
                .with_y_axis_min(bottom)
                .with_y_axis_max(top)
                .with_y_tick_step(step);
        }
        if let Some((x, label)) = self.mark.filter(|(x, _)| (left..=right).contains(x)) {
            let line = ReferenceLine::vertical(x).with_color(theme.pale()).with_dasharray("2 3");
            layout = layout.with_reference_line(line).with_subtitle(label);
        }
        Picture(render_multiple(plots, layout))
    }
}

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 420.0;
/// About what of it is between the axes.
const PLOT: (f64, f64) = (510.0, 330.0);

/// A line cut into dashes: the rasteriser begins its dashes anew at each point, which for hundreds of points leaves none.
/// `scale` is pixels to a unit of x and y.
fn dashes(points: &[(f64, f64)], scale: (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    const ON: f64 = 6.0;
    const OFF: f64 = 5.0;
    let mut pieces = vec![vec![points[0]]];
    let (mut on, mut left) = (true, ON);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = ((to.0 - from.0) * scale.0).hypot((to.1 - from.1) * scale.1);
            if length <= left || !length.is_finite() {
                left -= length;
                if let (true, Some(piece)) = (on, pieces.last_mut()) {
                    piece.push(to);
                }
                break;
            }
            let share = left / length;
            from = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            match pieces.last_mut() {
                Some(piece) if on => piece.push(from),
                _ => pieces.push(vec![from]),
            }
            on = !on;
            left = if on { ON } else { OFF };
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

/// The reliability diagram: accuracy over confidence, against the diagonal of those who know how sure they are.
/// `bins` are (mean confidence, accuracy, samples); empty ones are passed over.
#[must_use]
pub fn reliability(title: &str, bins: &[(f64, f64, usize)], theme: Theme) -> Picture {
    let found = bins.iter().filter(|bin| bin.2 > 0).map(|&(confidence, accuracy, _)| (confidence, accuracy));
    let palette = theme.palette();
    let points: Vec<_> = found.collect();
    let plots: Vec<Plot> = vec![
        LinePlot::new()
            .with_data([(0.0, 0.0), (1.0, 1.0)])
            .with_color(theme.pale())
            .with_line_style(LineStyle::Custom("6 4".into()))
            .with_legend("as sure as right")
            .into(),
        LinePlot::new()
            .with_data(points.clone())
            .with_color(palette[0])
            .with_stroke_width(2.0)
            .with_legend("model")
            .into(),
        ScatterPlot::new().with_data(points).with_color(palette[0]).with_size(4.0).into(),
    ];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("confidence")
        .with_width(560.0)
        .with_height(420.0)
        .with_title_size(15)
        .with_label_size(13)
        .with_tick_size(11)
        .with_body_size(12)
        .with_x_axis_min(0.0)
        .with_x_axis_max(1.02)
        .with_y_axis_min(0.0)
        .with_y_axis_max(1.02)
        .with_legend_box(false)
        .with_theme(theme.colors());
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
        let pieces = dashes(&points, (1.1, 1.0));
        assert_eq!(pieces.len(), 100);
        let covered: f64 = pieces.iter().map(|piece| piece[piece.len() - 1].0 - piece[0].0).sum();
        assert!((covered * 1.1 - 600.0).abs() < 1e-6, "{covered}");
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        for points in [vec![], vec![(1.0, 2.0)], vec![(1.0, f64::NAN), (2.0, 1.0)], vec![(1.0, 3.0), (2.0, 3.0)]] {
            let chart = Chart { title: "", x: "x", lines: &[Line::new("a", points)], mark: Some((1.0, "m")) };
            assert!(chart.draw(Theme::Dark).to_png().is_ok());
        }
    }
}
