use kuva::render::render::{Primitive, TextAnchor};

use crate::{Picture, Theme, mix, text};

/// A confusion matrix as a heat map: rows are the truth, columns the guess. The diagonal is what was read rightly; cells
/// beside it are shaded by how many they are of the most that was misread in one cell, since next to the diagonal all
/// would be white.
#[must_use]
pub fn confusion(title: &str, counts: &[Vec<u64>], theme: Theme) -> Picture {
    const CELL: f64 = 44.0;
    const LEFT: f64 = 84.0;
    const TOP: f64 = 84.0;
    let classes = counts.len();
    let side = classes as f64 * CELL;
    let mut scene = theme.scene(LEFT + side + 24.0, TOP + side + 24.0);
    let off = |truth: usize, guess: usize| truth != guess;
    let cells = || (0..classes * classes).map(|i| (i / classes, i % classes));
    let most = cells().filter(|&(t, g)| off(t, g)).map(|(t, g)| counts[t][g]).max().unwrap_or(0).max(1);
    let [right, wrong, ..] = theme.palette();
    scene.add(text((LEFT + side / 2.0, 24.0), title, 15, TextAnchor::Middle, theme.ink()));
    scene.add(text((LEFT + side / 2.0, 52.0), "guess", 12, TextAnchor::Middle, theme.pale()));
    scene.add(text((14.0, TOP + side / 2.0), "truth", 12, TextAnchor::Start, theme.pale()));
    for class in 0..classes {
        let along = (class as f64 + 0.5) * CELL;
        scene.add(text((LEFT + along, TOP - 10.0), class.to_string(), 12, TextAnchor::Middle, theme.ink()));
        scene.add(text((LEFT - 10.0, TOP + along + 4.0), class.to_string(), 12, TextAnchor::End, theme.ink()));
    }
    for (truth, guess) in cells() {
        let (count, row) = (counts[truth][guess], counts[truth].iter().sum::<u64>().max(1));
        let (color, share) = if off(truth, guess) {
            (wrong, 0.9 * (count as f64 / most as f64).sqrt())
        } else {
            (right, 0.15 + 0.6 * count as f64 / row as f64)
        };
        let (x, y) = (LEFT + guess as f64 * CELL, TOP + truth as f64 * CELL);
        let fill = if count == 0 { mix(theme.paper(), theme.grid(), 0.5) } else { mix(theme.paper(), color, share) };
        scene.add(Primitive::Rect {
            x: x + 1.0,
            y: y + 1.0,
            width: CELL - 2.0,
            height: CELL - 2.0,
            fill,
            stroke: None,
            stroke_width: None,
            opacity: None,
        });
        if count > 0 {
            let full = if off(truth, guess) { share > 0.8 } else { share > 0.5 };
            let ink = if full { theme.paper() } else { theme.ink() };
            scene.add(text((x + CELL / 2.0, y + CELL / 2.0 + 4.0), count.to_string(), 12, TextAnchor::Middle, ink));
        }
    }
    Picture(scene)
}
