//! Tells ink from paper: how far each pixel is from the paper around it, whatever the light.

/// Levels that the histograms of [`medians`] tell apart.
const LEVELS: usize = 64;
/// How many times noise is smoothed away at most.
const SMOOTHINGS: usize = 4;

/// A picture with its light taken out.
pub(super) struct Flat {
    /// `[height, width]`: how much lighter (positive) or darker (negative) than the paper around it a pixel is, in grey
    /// levels of the picture's middle brightness.
    pub deviation: Vec<f32>,
    /// How far ink is from paper: nearly the largest deviation there is.
    pub peak: f32,
    /// The standard deviation of paper.
    pub noise: f32,
}

impl Flat {
    /// What is further from the paper than this is ink: clear of the noise, and more than the edge of a stroke.
    pub fn threshold(&self, share: f32) -> f32 {
        f32::max(share * self.peak, 4.0 * self.noise)
    }
}

/// Compares each pixel with the paper around it, the median of a wide window. A median has the edges that shadows and
/// tables have, and is blind to whatever covers less than half of the window, as strokes do. Light multiplies, so a
/// difference counts by the paper's brightness there.
pub(super) fn flatten(gray: &[u8], [height, width]: [usize; 2]) -> Flat {
    let paper = medians(gray, [height, width], reach([height, width]));
    let mut sorted = paper.clone();
    sorted.sort_unstable();
    // Near black, where light tells nothing any more, a difference is a difference.
    let light = |level: u8| f32::from(level) + 16.0;
    let middle = light(sorted[sorted.len() / 2]);
    let compare = |(&value, &paper): (&u8, &u8)| {
        (f32::from(value) - f32::from(paper)) * middle / f32::max(light(paper), middle / 4.0)
    };
    let mut deviation: Vec<f32> = gray.iter().zip(&paper).map(compare).collect();
    let (mut peak, mut noise) = spread(&deviation);
    for _ in 0..SMOOTHINGS {
        if 12.0 * noise < peak || height.min(width) < 100 {
            break;
        }
        deviation = smooth(&deviation, [height, width]);
        (peak, noise) = spread(&deviation);
    }
    Flat { deviation, peak, noise }
}

/// Wider than any stroke, so that a digit covers less than half of the window: all of a small picture, two thirds of a
/// large one, in which shadows have edges.
fn reach([height, width]: [usize; 2]) -> usize {
    (height.min(width) / 3).max(28)
}

/// The deviation of full ink, which covers one pixel in 2,000 at least, and the standard deviation of paper, which covers
/// the most (1.4826 times the median: as for a normal distribution).
fn spread(deviation: &[f32]) -> (f32, f32) {
    let mut sizes: Vec<f32> = deviation.iter().map(|d| d.abs()).collect();
    let ink = sizes.len() - 1 - sizes.len() / 2000;
    let peak = *sizes.select_nth_unstable_by(ink, f32::total_cmp).1;
    let middle = sizes.len() / 2;
    (peak, 1.4826 * *sizes.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// The median of the window of `2 · reach + 1` pixels a side around each pixel, cut off at the picture's edge, to a
/// 64th of the range. A histogram a column moves down, their sum moves right (Perreault and Hébert 2007), so that the
/// size of the window costs nothing.
fn medians(gray: &[u8], [height, width]: [usize; 2], reach: usize) -> Vec<u8> {
    let (low, high) = (gray.iter().min().copied().unwrap_or(0), gray.iter().max().copied().unwrap_or(0));
    let step = (f32::from(high - low) / LEVELS as f32).max(1.0);
    let level = |value: u8| ((f32::from(value - low) / step) as usize).min(LEVELS - 1);
    let levels: Vec<u8> = gray.iter().map(|&value| level(value) as u8).collect();
    let mut columns = vec![[0u32; LEVELS]; width];
    let add = |columns: &mut Vec<[u32; LEVELS]>, y: usize, sign: u32| {
        for (column, &level) in columns.iter_mut().zip(&levels[y * width..]) {
            column[usize::from(level)] = column[usize::from(level)].wrapping_add(sign);
        }
    };
    (0..reach.min(height)).for_each(|y| add(&mut columns, y, 1));
    let mut out = Vec::with_capacity(gray.len());
    for y in 0..height {
        if y + reach < height {
            add(&mut columns, y + reach, 1);
        }
        if y > reach {
            add(&mut columns, y - reach - 1, u32::MAX);
        }
        let rows = (y + reach + 1).min(height) - y.saturating_sub(reach);
        let mut window = [0u32; LEVELS];
        let sum = |window: &mut [u32; LEVELS], column: &[u32; LEVELS]| {
            window.iter_mut().zip(column).for_each(|(sum, count)| *sum += count);
        };
        columns.iter().take(reach).for_each(|column| sum(&mut window, column));
        for x in 0..width {
            if let Some(column) = columns.get(x + reach) {
                sum(&mut window, column);
            }
            if x > reach {
                window.iter_mut().zip(&columns[x - reach - 1]).for_each(|(sum, count)| *sum -= count);
            }
            let half = (rows * ((x + reach + 1).min(width) - x.saturating_sub(reach))).div_ceil(2) as u32;
            let mut below = 0;
            let median = window.iter().position(|count| {
                below += count;
                below >= half
            });
            out.push((f32::from(low) + (median.unwrap_or(0) as f32 + 0.5) * step).min(f32::from(high)) as u8);
        }
    }
    out
}

/// The mean of the nine pixels around each (at the edge: of those that are there).
fn smooth(values: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let mut across = Vec::with_capacity(values.len());
    for row in values.chunks_exact(width) {
        for x in 0..width {
            let near = &row[x.saturating_sub(1)..(x + 2).min(width)];
            across.push(near.iter().sum::<f32>() / near.len() as f32);
        }
    }
    let mut out = Vec::with_capacity(values.len());
    for y in 0..height {
        let rows = y.saturating_sub(1)..(y + 2).min(height);
        for x in 0..width {
            out.push(rows.clone().map(|y| across[y * width + x]).sum::<f32>() / rows.len() as f32);
        }
    }
    out
}
