//! Brings what was cut out into the network's size.

/// The side of the box within an image's side.
pub(super) fn box_of(side: usize) -> f64 {
    (side as f64 * 20.0 / 28.0).round().max(1.0)
}

/// Each new pixel is the mean of what it covers (or lies in).
pub(super) fn resize(values: &[f64], [height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> Vec<f64> {
    // The share of old pixel `old` in new pixel `new`.
    let overlap = |old: usize, new: usize, ratio: f64| {
        let (begin, end) = (new as f64 * ratio, (new + 1) as f64 * ratio);
        f64::max(0.0, end.min((old + 1) as f64) - begin.max(old as f64)) / ratio
    };
    let (down, across) = (height as f64 / new_height as f64, width as f64 / new_width as f64);
    let covered = |new: usize, ratio: f64, limit: usize| {
        (new as f64 * ratio) as usize..(((new + 1) as f64 * ratio).ceil() as usize).min(limit)
    };
    let mut out = Vec::with_capacity(new_height * new_width);
    for y in 0..new_height {
        for x in 0..new_width {
            let mut sum = 0.0;
            for row in covered(y, down, height) {
                for column in covered(x, across, width) {
                    sum += values[row * width + column] * overlap(row, y, down) * overlap(column, x, across);
                }
            }
            out.push(sum);
        }
    }
    out
}

/// Sets an image down with its centre of mass in the middle of a larger one; what would hang over is pushed in.
pub(super) fn centre(values: &[f64], [height, width]: [usize; 2], size: [usize; 2]) -> Vec<u8> {
    let mass: f64 = values.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let moment = |place: &dyn Fn(usize) -> usize| {
        values.iter().enumerate().map(|(i, v)| v * (place(i) as f64 + 0.5)).sum::<f64>() / mass
    };
    let offset = |middle: f64, length: usize, side: usize| {
        ((side as f64 / 2.0 - middle).round().max(0.0) as usize).min(side.saturating_sub(length))
    };
    let top = offset(moment(&|i| i / width), height, size[0]);
    let left = offset(moment(&|i| i % width), width, size[1]);
    let mut out = vec![0; size[0] * size[1]];
    for (i, value) in values.iter().enumerate() {
        out[(top + i / width) * size[1] + left + i % width] = (255.0 * value).round().clamp(0.0, 255.0) as u8;
    }
    out
}
