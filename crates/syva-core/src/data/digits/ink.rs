//! From the pen's path to pixels, framed as MNIST frames its digits.

use super::SIDE;
use super::hand::Dot;

/// Side of the box that the ink fits into.
pub(super) const BOX: usize = 20;
/// Width of the grey edge in pixels.
const EDGE: f32 = 1.45;
/// How far the grey edges reach, both sides together, past the pixels that the line's own width would fill.
pub(super) const OVERHANG: f32 = EDGE - 1.0;

/// Draws the path into `pixels` (`[SIDE, SIDE]`, all 0 before), its centre of mass moved to the picture's centre.
pub(super) fn render(path: &[Dot], pixels: &mut [u8]) {
    // Distance of each pixel's centre to the ink's edge, negative inside.
    let mut edge = [f32::MAX; BOX * BOX];
    for i in 0..path.len() {
        if path[i].joined {
            line(path[i - 1], path[i], &mut edge);
        }
    }
    let mut ink = [0; BOX * BOX];
    for (ink, edge) in ink.iter_mut().zip(&edge) {
        let t = (0.5 - edge * (1.0 / EDGE)).clamp(0.0, 1.0);
        *ink = (t * t * (3.0 - 2.0 * t) * 255.0 + 0.5) as u8;
    }
    let (left, top) = offsets(&ink);
    for (y, row) in ink.chunks_exact(BOX).enumerate() {
        let start = (top + y) * SIDE + left;
        pixels[start..start + BOX].copy_from_slice(row);
    }
}

/// Lowers `edge` to the distances from a line whose radius goes from one dot's to the other's.
fn line(from: Dot, to: Dot, edge: &mut [f32; BOX * BOX]) {
    let reach = from.radius.max(to.radius) + EDGE;
    let pixel = |place: f32| place.clamp(0.0, BOX as f32) as usize;
    let (left, right) = (pixel(from.x.min(to.x) - reach), pixel(from.x.max(to.x) + reach + 1.0));
    let (top, bottom) = (pixel(from.y.min(to.y) - reach), pixel(from.y.max(to.y) + reach + 1.0));
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let inverse = 1.0 / (dx * dx + dy * dy).max(1e-12);
    let growth = to.radius - from.radius;
    for y in top..bottom {
        let py = y as f32 + 0.5 - from.y;
        for x in left..right {
            let px = x as f32 + 0.5 - from.x;
            // Share of the way along the line to the foot of the perpendicular.
            let along = ((px * dx + py * dy) * inverse).clamp(0.0, 1.0);
            let (ox, oy) = (px - along * dx, py - along * dy);
            let distance = (ox * ox + oy * oy).sqrt() - (from.radius + along * growth);
            let nearest = &mut edge[y * BOX + x];
            *nearest = nearest.min(distance);
        }
    }
}

/// Where the box's corner goes so that the ink's centre of mass is nearest to the picture's centre.
fn offsets(ink: &[u8; BOX * BOX]) -> (usize, usize) {
    let (mut mass, mut across, mut down) = (0, 0, 0);
    for y in 0..BOX {
        for x in 0..BOX {
            let value = u32::from(ink[y * BOX + x]);
            mass += value;
            across += value * x as u32;
            down += value * y as u32;
        }
    }
    let offset = |moment: u32| {
        let offset = (SIDE / 2) as f32 - moment as f32 / mass as f32;
        (offset + 0.5).clamp(0.0, (SIDE - BOX) as f32) as usize
    };
    (offset(across), offset(down))
}
