use kuva::render::color::Color;
use kuva::render::render::{Primitive, TextAnchor};

use crate::{Picture, Theme, mix, text};

/// A confusion matrix as a heat map: rows are the true classes, columns the predicted ones. The diagonal holds the
/// correct predictions. The other cells are shaded relative to the largest of them, because relative to the diagonal
/// all of them would be white.
///
/// Classes are called by their names, or by their numbers if there are none. Names too long for a column stand beside the
/// numbers of the rows.
#[must_use]
pub fn confusion(title: &str, counts: &[Vec<u64>], names: Option<&[String]>, theme: Theme) -> Picture {
    const CELL: f64 = 44.0;
    const TOP: f64 = 84.0;
    const KEY: f64 = 56.0;
    /// The longest name that fits above a column, and the width of a character.
    const SHORT: usize = 5;
    const CHARACTER: f64 = 7.0;
    let classes = counts.len();
    let short = names.is_some_and(|names| names.iter().all(|name| name.chars().count() <= SHORT));
    let number = |class: usize| match names {
        Some(names) if short => names[class].clone(),
        _ => class.to_string(),
    };
    let row_name = |class: usize| match names {
        Some(names) if !short => format!("{}  {class}", names[class]),
        _ => number(class),
    };
    let longest = (0..classes).map(|class| row_name(class).chars().count()).max().unwrap_or(0);
    let left = 63.0 + CHARACTER * longest.max(3) as f64;
    let side = classes as f64 * CELL;
    let mut scene = theme.scene((left + side + 24.0).max(left + 456.0), TOP + side + 20.0 + KEY);
    let off = |truth: usize, guess: usize| truth != guess;
    let cells = || (0..classes * classes).map(|i| (i / classes, i % classes));
    let most = cells().filter(|&(t, g)| off(t, g)).map(|(t, g)| counts[t][g]).max().unwrap_or(0).max(1);
    let [right, wrong, ..] = theme.palette();
    scene.add(text((left + side / 2.0, 24.0), title, 15, TextAnchor::Middle, theme.ink()));
    scene.add(text((left + side / 2.0, 52.0), "predicted", 12, TextAnchor::Middle, theme.pale()));
    scene.add(text((14.0, TOP + side / 2.0), "true", 12, TextAnchor::Start, theme.pale()));
    for class in 0..classes {
        let along = (class as f64 + 0.5) * CELL;
        scene.add(text((left + along, TOP - 10.0), number(class), 12, TextAnchor::Middle, theme.ink()));
        scene.add(text((left - 10.0, TOP + along + 4.0), row_name(class), 12, TextAnchor::End, theme.ink()));
    }
    for (truth, guess) in cells() {
        let (count, row) = (counts[truth][guess], counts[truth].iter().sum::<u64>().max(1));
        let (color, share) = if off(truth, guess) {
            (wrong, 0.9 * (count as f64 / most as f64).sqrt())
        } else {
            (right, 0.15 + 0.6 * count as f64 / row as f64)
        };
        let (x, y) = (left + guess as f64 * CELL, TOP + truth as f64 * CELL);
        let fill = if count == 0 { mix(theme.paper(), theme.grid(), 0.5) } else { mix(theme.paper(), color, share) };
        scene.add(square((x + 1.0, y + 1.0), CELL - 2.0, fill));
        if count > 0 {
            let full = if off(truth, guess) { share > 0.8 } else { share > 0.5 };
            let ink = if full { theme.paper() } else { theme.ink() };
            scene.add(text((x + CELL / 2.0, y + CELL / 2.0 + 4.0), count.to_string(), 12, TextAnchor::Middle, ink));
        }
    }
    let right_says = "diagonal: correct, as a share of the row".to_string();
    let wrong_says = format!("elsewhere: misread, relative to the largest such count ({most})");
    for (row, (color, says)) in [(right, right_says), (wrong, wrong_says)].into_iter().enumerate() {
        let y = TOP + side + 24.0 + 20.0 * row as f64;
        for (step, share) in [0.2, 0.45, 0.7].into_iter().enumerate() {
            let x = left + 14.0 * step as f64;
            scene.add(square((x, y - 10.0), 12.0, mix(theme.paper(), color, share)));
        }
        scene.add(text((left + 50.0, y), says, 12, TextAnchor::Start, theme.pale()));
    }
    Picture(scene)
}

fn square((x, y): (f64, f64), side: f64, fill: Color) -> Primitive {
    Primitive::Rect { x, y, width: side, height: side, fill, stroke: None, stroke_width: None, opacity: None }
}
