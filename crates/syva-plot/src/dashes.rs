//! Dashes for the rasteriser. It starts the pattern again at each point of a line, so a line of hundreds of points
//! would have no dashes.

use kuva::render::render::Primitive;

/// The most dashes of a line. More would not make it easier to read.
const MAX_DASHES: f64 = 1e4;

/// The element itself or, for a dashed line, its dashes.
pub(crate) fn cut(element: &Primitive) -> Vec<Primitive> {
    let Primitive::PolyLine { points, stroke, stroke_width, stroke_dasharray: Some(dash) } = element else {
        return vec![element.clone()];
    };
    let pattern: Vec<f64> = dash.split(' ').filter_map(|length| length.parse().ok()).collect();
    let piece = |points| Primitive::PolyLine {
        points,
        stroke: stroke.clone(),
        stroke_width: *stroke_width,
        stroke_dasharray: None,
    };
    dashes(points, &pattern).into_iter().map(piece).collect()
}

/// A line cut into dashes: strokes and gaps of these lengths, in turn.
fn dashes(points: &[(f64, f64)], pattern: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let length = |from: (f64, f64), to: (f64, f64)| (to.0 - from.0).hypot(to.1 - from.1);
    let whole: f64 = points.windows(2).map(|pair| length(pair[0], pair[1])).sum();
    let period: f64 = pattern.iter().sum();
    let count = whole / period * pattern.len() as f64 / 2.0;
    if points.len() < 2 || !count.is_finite() || count > MAX_DASHES {
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

#[cfg(test)]
mod tests {
    use super::dashes;

    #[test]
    fn dashes_cover_six_parts_of_eleven() {
        let points: Vec<(f64, f64)> = (0..=1000).map(|i| (1.1 * f64::from(i), 0.0)).collect();
        let pieces = dashes(&points, &[6.0, 5.0]);
        assert_eq!(pieces.len(), 100);
        let covered: f64 = pieces.iter().map(|piece| piece[piece.len() - 1].0 - piece[0].0).sum();
        assert!((covered - 600.0).abs() < 1e-6, "{covered}");
        assert_eq!(dashes(&[(0.0, 0.0), (1e9, 0.0)], &[6.0, 5.0]).len(), 1, "too many to be of use");
    }
}
