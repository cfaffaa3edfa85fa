//! Brings what was cut out into the network's size.

/// How strong ink must be to count for the digit's size, which is that of strokes with sharp edges.
const SHARP: f64 = 0.35;
/// Where MNIST's digits have their centre of mass, as a share of the side: not at 14 of 28, but half a pixel further down
/// and right. It was laid on the pixel of number 14, to whole pixels: it lies between 14 and 15, evenly (measured in all
/// 70,000 images; one or two miss it by a hair).
const CENTRE: f64 = 14.5 / 28.0;

/// The side of the box within an image's side.
fn box_of(side: usize) -> f64 {
    (side as f64 * 20.0 / 28.0).round().max(1.0)
}

/// Part of a picture or more than all of it, edges between pixels included.
struct Window {
    top: f64,
    left: f64,
    height: f64,
    width: f64,
}

/// Each new pixel is the mean of what it covers (or lies in).
pub(super) fn resize(values: &[f64], [height, width]: [usize; 2], new_size: [usize; 2]) -> Vec<f64> {
    let all = Window { top: 0.0, left: 0.0, height: height as f64, width: width as f64 };
    look(values, [height, width], &all, new_size)
}

/// The same of what is seen through a window; beyond the picture there is nothing.
fn look(values: &[f64], [height, width]: [usize; 2], window: &Window, [new_height, new_width]: [usize; 2]) -> Vec<f64> {
    let (down, across) = (window.height / new_height as f64, window.width / new_width as f64);
    let ends = |new: usize, from: f64, ratio: f64| (from + new as f64 * ratio, from + (new + 1) as f64 * ratio);
    // The share of old pixel `old` in new pixel `new`.
    let overlap = |old: usize, new: usize, from: f64, ratio: f64| {
        let (begin, end) = ends(new, from, ratio);
        f64::max(0.0, end.min((old + 1) as f64) - begin.max(old as f64)) / ratio
    };
    let covered = |new: usize, from: f64, ratio: f64, limit: usize| {
        let (begin, end) = ends(new, from, ratio);
        begin as usize..(end.ceil() as usize).min(limit)
    };
    let mut out = Vec::with_capacity(new_height * new_width);
    for y in 0..new_height {
        for x in 0..new_width {
            let mut sum = 0.0;
            for row in covered(y, window.top, down, height) {
                let share = overlap(row, y, window.top, down);
                for column in covered(x, window.left, across, width) {
                    sum += values[row * width + column] * share * overlap(column, x, window.left, across);
                }
            }
            out.push(sum);
        }
    }
    out
}

/// Sets the ink of a digit down in an image of `size`, in MNIST's framing: its proportions are kept, its longer side
/// fills the box, its centre of mass lies at [`CENTRE`], to parts of a pixel. What would hang over is pushed in.
pub(super) fn set_down(strength: &[f64], [height, width]: [usize; 2], size: [usize; 2]) -> Vec<f64> {
    let mut rows = vec![0.0; height];
    let mut columns = vec![0.0; width];
    let (mut top, mut bottom, mut left, mut right) = (height, 0, width, 0);
    for (i, &value) in strength.iter().enumerate() {
        let (y, x) = (i / width, i % width);
        rows[y] += value;
        columns[x] += value;
        if value > SHARP {
            (top, bottom, left, right) = (top.min(y), bottom.max(y + 1), left.min(x), right.max(x + 1));
        }
    }
    if top >= bottom {
        (top, bottom, left, right) = (0, height, 0, width);
    }
    let scale = f64::min(box_of(size[0]) / (bottom - top) as f64, box_of(size[1]) / (right - left) as f64);
    let begin = |sums: &[f64], first: usize, last: usize, side: f64| {
        let mass: f64 = sums.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let middle = sums.iter().enumerate().map(|(i, sum)| sum * (i as f64 + 0.5)).sum::<f64>() / mass;
        (middle - CENTRE * side).max(last as f64 - side).min(first as f64)
    };
    let (high, wide) = (size[0] as f64 / scale, size[1] as f64 / scale);
    let (top, left) = (begin(&rows, top, bottom, high), begin(&columns, left, right, wide));
    look(strength, [height, width], &Window { top, left, height: high, width: wide }, size)
}
