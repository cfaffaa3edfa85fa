//! Brings strokes to the width that MNIST's have: ballpoints and felt pens write the same digits.

use super::place::set_down;

/// MNIST's side. Widths are in its pixels, whatever size the network has.
const SIDE: usize = 28;
/// Half of MNIST's digits have strokes of a width between these two, as [`width`] measures it; a quarter each is thinner
/// and thicker. What lies between stays as it is.
const THIN: f64 = 2.0;
const THICK: f64 = 2.8;
/// How much strokes gain or lose on each side at most: a blot does not become a digit.
const MOST: f64 = 1.0;
/// Parts of a pixel in which strokes are changed.
const FINE: usize = 8;

/// The ink of a digit with strokes of a usual width, and its size; nothing where they have it already.
pub(super) fn usual(strength: &[f64], size: [usize; 2]) -> Option<(Vec<f64>, [usize; 2])> {
    let width = width(&set_down(strength, size, [SIDE, SIDE]), SIDE);
    let missing = (width.clamp(THIN, THICK) - width) / 2.0;
    let radius = (missing.abs().min(MOST) * FINE as f64).round() as isize;
    if radius == 0 {
        return None;
    }
    let side = SIDE * FINE;
    let fine = set_down(strength, size, [side, side]);
    let changed = spread(&fine, side, radius, if missing > 0.0 { f64::max } else { f64::min });
    changed.iter().any(|&value| value > 0.5).then_some((changed, [side, side]))
}

/// The mean width of the strokes: a long stroke has two edges, and the steps of the ink across an edge add up to its
/// length, be it sharp or soft.
fn width(values: &[f64], side: usize) -> f64 {
    let mut edges = 0.0;
    for (i, value) in values.iter().enumerate() {
        let right = if i % side + 1 < side { values[i + 1] - value } else { 0.0 };
        let down = if i + side < values.len() { values[i + side] - value } else { 0.0 };
        edges += (right * right + down * down).sqrt();
    }
    2.0 * values.iter().sum::<f64>() / edges.max(f64::MIN_POSITIVE)
}

/// Each pixel becomes the most or the least (`of`) of the disk around it.
fn spread(values: &[f64], side: usize, radius: isize, of: fn(f64, f64) -> f64) -> Vec<f64> {
    let mut out = values.to_vec();
    let disk = (-radius..=radius).flat_map(|down| (-radius..=radius).map(move |right| (down, right)));
    for (down, right) in disk.filter(|(down, right)| down * down + right * right <= radius * radius) {
        let (to, from) = ((-right).max(0) as usize, right.max(0) as usize);
        for y in 0..side {
            let Some(other) = y.checked_add_signed(down).filter(|&other| other < side) else { continue };
            let out = &mut out[y * side + to..(y + 1) * side - from];
            let values = &values[other * side + from..(other + 1) * side - to];
            out.iter_mut().zip(values).for_each(|(out, &value)| *out = of(*out, value));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bar of `wide` · 20 pixels.
    fn bar(wide: usize) -> Vec<f64> {
        let at = |i: usize| (4..24).contains(&(i / SIDE)) && (10..10 + wide).contains(&(i % SIDE));
        (0..SIDE * SIDE).map(|i| if at(i) { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn widths_are_measured() {
        // 2 · area / circumference, where a corner counts for its diagonal.
        for (wide, wanted) in [(1, 1.0), (2, 1.8), (3, 2.6), (4, 3.4)] {
            let found = width(&bar(wide), SIDE);
            assert!((found - wanted).abs() < 0.1, "{wide}: {found}");
        }
        // A soft edge is no wider stroke.
        let soft: Vec<f64> = bar(3).iter().map(|v| 0.5 * v).collect();
        assert_eq!(width(&soft, SIDE), width(&bar(3), SIDE));
        assert_eq!(width(&[0.0; 4], 2), 0.0);
    }

    #[test]
    fn thin_and_thick_strokes_become_usual_and_others_stay() {
        let size = [SIDE, SIDE];
        assert!(usual(&bar(3), size).is_none());
        for wide in [1, 4, 5, 6] {
            let (changed, [side, _]) = usual(&bar(wide), size).unwrap();
            let off = |width: f64| (width - f64::midpoint(THIN, THICK)).abs();
            let (before, after) = (width(&bar(wide), SIDE), width(&set_down(&changed, [side, side], size), SIDE));
            // Not all the way, since the bar grows longer and shorter too and is scaled to the box again.
            assert!(off(after) < 0.75 * off(before), "{wide}: {before}, {after}");
        }
        // A blot stays one.
        let (blot, [side, _]) = usual(&bar(16), size).unwrap();
        assert!(width(&set_down(&blot, [side, side], size), SIDE) > 2.0 * THICK);
    }

    #[test]
    fn disks_spread_to_all_sides_and_stop_at_the_edge() {
        let mut dot = vec![0.0; 49];
        dot[3 * 7 + 3] = 1.0;
        let wide = spread(&dot, 7, 2, f64::max);
        let rows = [0, 1, 3, 5, 3, 1, 0];
        assert!(wide.chunks(7).zip(rows).all(|(row, wanted)| row.iter().sum::<f64>() == f64::from(wanted)), "{wide:?}");
        assert_eq!(spread(&wide, 7, 2, f64::min), dot);
        assert_eq!(spread(&[1.0; 9], 3, 2, f64::min), [1.0; 9]);
    }
}
