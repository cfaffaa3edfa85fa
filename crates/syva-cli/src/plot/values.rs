//! Pictures of predicted numbers, and of what the columns of a table do.

use syva::effects::{Dependence, DependencePoints, Importances};
use syva::text::grouped;
use syva::{PredictedValues, Spec};
use syva_plot::{Chart, Guide, Line, Mark, Picture, Row, Theme};

use crate::eval::further::sorted;
use crate::output;

/// The most points of a cloud.
const MOST_POINTS: usize = 4000;
/// The most bars or dots below each other.
const MOST_ROWS: usize = 40;
/// The most curves of a dependence.
const MOST_CURVES: usize = 6;

/// For each target, true against predicted numbers, or the differences between the two.
pub fn predicted(name: &str, values: &PredictedValues, residuals: bool, theme: Theme) -> Picture {
    predicted_of(name, values, residuals, MOST_POINTS, theme)
}

/// The same, of so many points at most.
pub fn predicted_of(name: &str, values: &PredictedValues, residuals: bool, most: usize, theme: Theme) -> Picture {
    let picture = |(target, truth, guess): &(String, Vec<f64>, Vec<f64>)| {
        let every = truth.len().div_ceil(most).max(1);
        let pairs = truth.iter().zip(guess).step_by(every);
        let points: Vec<(f64, f64)> =
            pairs.map(|(truth, guess)| (*guess, if residuals { truth - guess } else { *truth })).collect();
        let target = output::short(target);
        let samples = match points.len() {
            shown if shown == truth.len() => output::count(shown as u64, "sample"),
            shown => format!("{} of {} samples", grouped(shown as u64), grouped(truth.len() as u64)),
        };
        let (what, y, guide) = if residuals {
            ("residuals", format!("true − predicted {target}"), Guide::Zero)
        } else {
            ("true against predicted", format!("true {target}"), Guide::Diagonal)
        };
        let title = format!("{name}: {what} ({samples})");
        syva_plot::scatter(&title, [&format!("predicted {target}"), &y], &points, guide, theme)
    };
    let pictures = values.targets.iter().map(picture).reduce(Picture::above);
    pictures.unwrap_or_else(|| syva_plot::scatter(name, ["", ""], &[], Guide::Zero, theme))
}

/// How much the score drops without each column, as bars.
pub fn importance(name: &str, importances: &Importances, theme: Theme) -> Picture {
    let columns = sorted(importances);
    let rows: Vec<Row> = columns
        .iter()
        .take(MOST_ROWS)
        .map(|column| Row { name: output::short(&column.column), value: column.mean, interval: Some(column.interval) })
        .collect();
    let of = if rows.len() < columns.len() {
        format!(" ({} of {} columns)", rows.len(), columns.len())
    } else {
        String::new()
    };
    let title = format!("{name}: importance of columns{of}");
    let label = format!("drop in {} when the column is shuffled; whiskers hold 95 %", importances.score.name());
    syva_plot::rows(&title, &label, &rows, Mark::Bar, theme)
}

/// The mean prediction when a column is set to each of its values.
pub fn dependence(name: &str, spec: &Spec, found: &Dependence, theme: Theme) -> Picture {
    let column = output::short(&found.column);
    let title = format!("{name}: mean prediction by {column}");
    let is_share = spec.classes() > 0 || spec.head == syva::Head::MultiLabel;
    let shown = shown(spec, found);
    let names: Vec<String> = shown.iter().map(|&output| output::short(&found.outputs[output])).collect();
    let label = |name: &str| if is_share { format!("probability of {name}") } else { name.to_string() };
    match &found.points {
        DependencePoints::Numbers(points) => {
            let one = shown.len() == 1;
            let curve = |(place, &output): (usize, &usize)| {
                let points = points.iter().zip(&found.means).map(|(x, means)| (*x, means[output]));
                Line::new(if one { "" } else { &names[place] }, points)
            };
            let lines: Vec<Line> = shown.iter().enumerate().map(curve).collect();
            let y = match (one, is_share) {
                (true, _) => label(&names[0]),
                (false, true) => "probability".into(),
                (false, false) => "prediction".into(),
            };
            Chart { title: &title, x: &column, y: &y, lines: &lines, mark: None }.draw_over_numbers(theme)
        }
        DependencePoints::Categories(categories) => {
            let picture = |(place, &output): (usize, &usize)| {
                let rows: Vec<Row> = categories
                    .iter()
                    .zip(&found.means)
                    .take(MOST_ROWS)
                    .map(|(category, means)| Row {
                        name: output::short(category),
                        value: means[output],
                        interval: None,
                    })
                    .collect();
                let of = if rows.len() < categories.len() {
                    format!(" ({} of {} categories)", rows.len(), categories.len())
                } else {
                    String::new()
                };
                // Shares are compared with 0, numbers only with each other.
                let (what, mark) = if is_share {
                    (label(&names[place]), Mark::Bar)
                } else {
                    (format!("mean predicted {}", names[place]), Mark::Dot)
                };
                let title = format!("{name}: {what} by {column}{of}");
                syva_plot::rows(&title, &what, &rows, mark, theme)
            };
            let pictures = shown.iter().enumerate().map(picture).reduce(Picture::above);
            pictures.unwrap_or_else(|| syva_plot::rows(&title, "", &[], Mark::Dot, theme))
        }
    }
}

/// The outputs that are shown: of two classes the second, otherwise those that the column changes most.
fn shown(spec: &Spec, found: &Dependence) -> Vec<usize> {
    if spec.classes() == 2 {
        return vec![1];
    }
    let spread = |output: usize| {
        let values = found.means.iter().map(|means| means[output]);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        high - low
    };
    let mut outputs: Vec<usize> = (0..found.outputs.len()).collect();
    if outputs.len() > MOST_CURVES {
        outputs.sort_by(|&a, &b| spread(b).total_cmp(&spread(a)));
        outputs.truncate(MOST_CURVES);
        outputs.sort_unstable();
    }
    outputs
}
