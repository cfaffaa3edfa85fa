//! Brings a photo or scan of a handwritten digit into MNIST's framing: white ink on black, 20 pixels high or wide, its
//! centre of mass in the middle of 28 × 28 (as LeCun, Cortes and Burges describe how MNIST was made; the images
//! themselves say where that middle is).
//!
//! 1. `light`: each pixel is compared with the paper around it. Paper is what there is most of; shadows, uneven light
//!    and the grey that a camera makes of white are no ink.
//! 2. Ink is darker than paper or lighter, whichever there is more of.
//! 3. `pieces`: what comes in from the edge of the picture (a table, a rim, ruled lines) is not the digit unless nothing
//!    else is left; neither are frames around it, lines under it and specks. Where the digit hangs together with such
//!    things, they may be paler than it: the same is tried with darker ink alone.
//! 4. `strokes`: those of a fine or a broad pen are made as wide as MNIST's mostly are.
//! 5. `place`: what is left is scaled to the box with its proportions kept, and set down by its centre of mass.
//!
//! What speaks against the result is told: see [`Framed::doubts`].

mod light;
mod pieces;
mod place;
mod strokes;

use light::{Flat, flatten};
use pieces::{Digit, Piece, is_rectangular, pick, pieces, stands_on_line};
use place::{resize, set_down};
use strokes::usual;

use crate::{Error, Result};

/// Pixels on the longer side that are enough to find a digit; larger pictures are made smaller first.
pub const ENOUGH: usize = 800;
/// How far from the paper ink must be at least, in grey levels: less is no picture.
const CONTRAST: f32 = 25.5;
/// Shares of the full contrast from which on a pixel is ink. The first is the edge of a stroke; the others leave out lines
/// and shadows that are paler than the digit which hangs together with them.
const SHARES: [f32; 4] = [0.15, 0.3, 0.45, 0.6];

/// An image that was framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// `[height, width]`, white ink on black.
    pub pixels: Vec<u8>,
    /// What speaks against its being one digit, well seen; nothing, mostly.
    pub doubts: Vec<String>,
}

/// A grey picture `[height, width]` as an image of `size` = `[height, width]`, whose inner box is 20/28 of it.
///
/// ```
/// use syva_core::data::framing::frame;
/// let mut paper = vec![230u8; 100 * 100];
/// for y in 30..70 {
///     paper[y * 100 + 45..y * 100 + 52].fill(20); // a one, in ink
/// }
/// let image = frame(&paper, [100, 100], [28, 28])?;
/// assert_eq!((image.pixels[0], image.pixels[14 * 28 + 14]), (0, 255)); // black around, white ink in the middle
/// assert!(image.doubts.is_empty());
/// assert!(frame(&vec![230; 100 * 100], [100, 100], [28, 28]).is_err()); // an empty page
/// # Ok::<(), syva_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Mismatch`] where there is nothing to see.
pub fn frame(gray: &[u8], [height, width]: [usize; 2], size: [usize; 2]) -> Result<Framed> {
    check(gray, [height, width])?;
    let longest = height.max(width);
    let less = |side: usize| (side * ENOUGH / longest).max(1);
    if longest > ENOUGH {
        let small = [less(height), less(width)];
        return framed(&scale(gray, [height, width], small)?, small, size, true);
    }
    framed(gray, [height, width], size, true)
}

/// `sheets`: whether the paper may be a sheet that lies within the picture.
fn framed(gray: &[u8], [height, width]: [usize; 2], size: [usize; 2], sheets: bool) -> Result<Framed> {
    let flat = flatten(gray, [height, width]);
    let nothing = || {
        let remedy = "take a picture of one dark digit on light paper, or light on dark, that fills a good part of it";
        Err(Error::mismatch("no digit was found in the picture", remedy))
    };
    if flat.peak < CONTRAST || flat.threshold(0.0) > flat.peak {
        return nothing();
    }
    // Ink is dark or light, whichever makes more of a digit.
    let [dark, light] = [-1.0, 1.0].map(|sign| {
        let ink = Ink::of(&flat, sign, [height, width]);
        let found = ink.find();
        (found.weight(), ink, found)
    });
    let at_edge = f64::max(dark.2.digit.at_edge, light.2.digit.at_edge);
    let (_, ink, found) = if light.0 > dark.0 { light } else { dark };
    let (Some(whole), Some((number, largest))) = (found.digit.whole(), found.digit.largest()) else { return nothing() };
    let rectangular = is_rectangular(largest, |y, x| found.numbers[y * width + x] == number as u32);
    if sheets && rectangular && largest.fill() > 0.6 {
        // No digit but the sheet that it stands on: the surroundings are the most of the picture.
        let (crop, crop_size) = cut(gray, width, within(largest));
        if let Ok(inner) = framed(&crop, crop_size, size, false) {
            return Ok(inner);
        }
    }
    let mut doubts = doubts(&found.digit, whole, at_edge, [height, width]);
    if stands_on_line(largest, |y, x| found.numbers[y * width + x] == number as u32) {
        doubts
            .push("what was found is wide and stands on a line, or hangs from one: it may be part of the paper".into());
    }
    if rectangular && largest.fill() <= 0.6 {
        doubts.push("ink goes along all four sides of what was found: the digit touches a frame".into());
    }
    Ok(Framed { pixels: placed(&ink.strength(&found), [height, width], size), doubts })
}

/// The inner part of a sheet, whose edges are not sharp.
fn within(Piece { pixels, top, bottom, left, right }: Piece) -> Piece {
    let (down, across) = ((bottom - top) / 32 + 1, (right - left) / 32 + 1);
    let (top, left) = ((top + down).min(bottom), (left + across).min(right));
    Piece { pixels, top, bottom: (bottom - down).max(top), left, right: (right - across).max(left) }
}

/// What lies in a piece's box, and its size.
fn cut<T: Copy>(values: &[T], width: usize, piece: Piece) -> (Vec<T>, [usize; 2]) {
    let rows = (piece.top..=piece.bottom).flat_map(|y| &values[y * width + piece.left..=y * width + piece.right]);
    (rows.copied().collect(), [piece.height(), piece.width()])
}

/// Sets a digit down, given how strong its ink is.
fn placed(strength: &[f64], found: [usize; 2], size: [usize; 2]) -> Vec<u8> {
    let mut small = match usual(strength, found) {
        Some((changed, changed_size)) => set_down(&changed, changed_size, size),
        None => set_down(strength, found, size),
    };
    brighten(&mut small);
    small.iter().map(|v| (255.0 * v).round().clamp(0.0, 255.0) as u8).collect()
}

/// Thin strokes are pale when they are made small; in MNIST they are white.
fn brighten(small: &mut [f64]) {
    let mut ink: Vec<f64> = small.iter().copied().filter(|&v| v > 0.1).collect();
    if ink.is_empty() {
        return;
    }
    let at = ink.len() * 9 / 10;
    let bright = *ink.select_nth_unstable_by(at, f64::total_cmp).1;
    for v in small {
        *v = (*v / bright).min(1.0);
    }
}

/// How much each pixel is ink.
struct Ink {
    size: [usize; 2],
    /// Positive where it is ink.
    deviation: Vec<f32>,
    /// From which value on a pixel is ink, for each of [`SHARES`].
    thresholds: [f32; SHARES.len()],
}

/// The digit, with the number of its piece at each pixel of ink.
struct Found {
    digit: Digit,
    numbers: Vec<u32>,
}

impl Found {
    /// How many pixels the digit has. What hangs together with the edge of the picture may be a shadow as well.
    fn weight(&self) -> f64 {
        let pixels: usize = self.digit.pieces.iter().map(|(_, piece)| piece.pixels).sum();
        if self.digit.tangled { 0.3 * pixels as f64 } else { pixels as f64 }
    }

    /// Which pixels are the digit's.
    fn membership(&self) -> Vec<bool> {
        let most = self.digit.pieces.iter().map(|&(number, _)| number + 1).max().unwrap_or(0);
        let mut chosen = vec![false; most];
        self.digit.pieces.iter().for_each(|&(number, _)| chosen[number] = true);
        self.numbers.iter().map(|&number| chosen.get(number as usize).is_some_and(|&chosen| chosen)).collect()
    }
}

impl Ink {
    /// Dark ink (`sign` −1) or light.
    fn of(flat: &Flat, sign: f32, size: [usize; 2]) -> Self {
        let thresholds = SHARES.map(|share| flat.threshold(share));
        Self { size, deviation: flat.deviation.iter().map(|d| sign * d).collect(), thresholds }
    }

    /// The digit at the first threshold at which it stands alone; at the first where it never does.
    fn find(&self) -> Found {
        let at = |threshold: f32| {
            let ink: Vec<bool> = self.deviation.iter().map(|&d| d > threshold).collect();
            let (numbers, pieces) = pieces(&ink, self.size);
            let mut digit = pick(&pieces, self.size);
            let width = self.size[1];
            digit.tangled |= digit.largest().is_some_and(|(number, piece)| {
                piece.fill() < 0.6 && is_rectangular(piece, |y, x| numbers[y * width + x] == number as u32)
            });
            Found { digit, numbers }
        };
        let first = at(self.thresholds[0]);
        if !first.digit.tangled {
            return first;
        }
        let alone = |found: &Found| !found.digit.tangled && !found.digit.pieces.is_empty();
        let Some(mut found) = self.thresholds[1..].iter().map(|&threshold| at(threshold)).find(alone) else {
            return first;
        };
        self.grow(&mut found);
        found
    }

    /// Gives strokes that were found at a high threshold their edges back.
    fn grow(&self, found: &mut Found) {
        let Some(whole) = found.digit.whole() else { return };
        let [height, width] = self.size;
        let numbers: Vec<usize> = found.digit.pieces.iter().map(|&(number, _)| number).collect();
        for _ in 0..(whole.height().max(whole.width()) / 40).max(1) {
            let before = found.numbers.clone();
            for i in 0..before.len() {
                if before[i] != u32::MAX || self.deviation[i] <= self.thresholds[0] {
                    continue;
                }
                let (y, x) = (i / width, i % width);
                let beside = [
                    (y > 0, i.wrapping_sub(width)),
                    (x > 0, i.wrapping_sub(1)),
                    (y + 1 < height, i + width),
                    (x + 1 < width, i + 1),
                ];
                let of_digit = |&(there, j): &(bool, usize)| there && numbers.contains(&(before[j] as usize));
                let Some((_, j)) = beside.into_iter().find(of_digit) else { continue };
                found.numbers[i] = before[j];
                let grown = Piece { pixels: 1, top: y, bottom: y, left: x, right: x };
                if let Some((_, piece)) = found.digit.pieces.iter_mut().find(|(number, _)| *number as u32 == before[j])
                {
                    *piece = piece.and(grown);
                }
            }
        }
    }

    /// How strong the ink of the digit is, 0 … 1, and 0 all around.
    fn strength(&self, found: &Found) -> Vec<f64> {
        let of_digit = found.membership();
        let both = || self.deviation.iter().zip(&of_digit);
        // The strongest tenth decides what is full, so that a reflection in the stroke does not.
        let mut strongest: Vec<f32> = both().filter(|(_, is_digit)| **is_digit).map(|(&d, _)| d).collect();
        let tenth = strongest.len() * 9 / 10;
        let full = strongest
            .get_mut(..)
            .filter(|all| !all.is_empty())
            .map_or(1.0, |all| f64::from(*all.select_nth_unstable_by(tenth, f32::total_cmp).1).max(f64::MIN_POSITIVE));
        both().map(|(&d, &is_digit)| if is_digit { (f64::from(d) / full).min(1.0) } else { 0.0 }).collect()
    }
}

/// Whether an image is in MNIST's framing already: its upper and lower edges black or nearly so, its ink lighter.
pub fn is_framed(gray: &[u8], [height, width]: [usize; 2]) -> bool {
    if check(gray, [height, width]).is_err() {
        return false;
    }
    let edges = gray[..width].iter().chain(&gray[gray.len() - width..]);
    let darkest_ink = 64 + CONTRAST as u8;
    edges.copied().all(|value| value < 64) && gray.iter().any(|&value| value >= darkest_ink)
}

/// What speaks against one digit, well seen.
fn doubts(digit: &Digit, whole: Piece, at_edge: f64, [height, width]: [usize; 2]) -> Vec<String> {
    let mut doubts = Vec::new();
    let largest = digit.largest().map_or(whole, |(_, piece)| piece);
    // Parts of one digit, such as the stroke above a five, stand above one another.
    let beside = |piece: &Piece| piece.right < largest.left || piece.left > largest.right;
    let others = digit.pieces.iter().filter(|(_, piece)| beside(piece) && 4 * piece.pixels >= largest.pixels);
    let digits = others.count() + 1;
    if digits > 1 {
        doubts.push(format!("{digits} separate pieces of ink stand side by side, as if there were several digits"));
    }
    let across = whole.left == 0 && whole.right == width - 1;
    let down = whole.top == 0 && whole.bottom == height - 1;
    if across || down {
        doubts.push(
            "ink reaches from edge to edge of the picture: lines of the paper, or a picture cropped too tightly".into(),
        );
    }
    if at_edge > 0.05 {
        let share = 100.0 * at_edge;
        doubts.push(format!("{share:.0} % of the picture was left out, since it comes in from the edge"));
    }
    if whole.height() < 10 || 4 * whole.height() < whole.width() {
        let (height, width) = (whole.height(), whole.width());
        doubts.push(format!("what was found is {width} pixels wide and {height} high, hardly a digit"));
    }
    doubts
}

/// A grey picture `[height, width]` in another size, nothing else changed.
///
/// # Errors
/// [`Error::Mismatch`] where the pixels do not fill the picture.
pub fn scale(gray: &[u8], [height, width]: [usize; 2], size: [usize; 2]) -> Result<Vec<u8>> {
    check(gray, [height, width])?;
    let values: Vec<f64> = gray.iter().map(|&v| f64::from(v)).collect();
    Ok(resize(&values, [height, width], size).iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect())
}

fn check(gray: &[u8], [height, width]: [usize; 2]) -> Result<()> {
    if height == 0 || width == 0 || gray.len() != height * width {
        let problem = format!("{} pixels are no picture of {height} × {width}", gray.len());
        return Err(Error::mismatch(problem, "give a value for each pixel"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::philox4x32;

    /// A page of `side`² with a slanting stroke, in light that fades from left to right.
    fn page(side: usize, inverted: bool) -> Vec<u8> {
        let mut page = Vec::new();
        for y in 0..side {
            for x in 0..side {
                let stroke = y > side / 4 && y < side * 3 / 4 && x.abs_diff(side / 2 + y / 8) < side / 24 + 1;
                let paper = 235.0 - 90.0 * x as f64 / side as f64;
                let value = if stroke { paper - 90.0 } else { paper };
                page.push(if inverted { 255 - value as u8 } else { value as u8 });
            }
        }
        page
    }

    #[test]
    fn size_light_and_inversion_do_not_matter() {
        let image = frame(&page(200, false), [200, 200], [28, 28]).unwrap().pixels;
        let rows = image.chunks(28).filter(|row| row.iter().any(|&v| v > 60)).count();
        assert!((19..=21).contains(&rows), "{rows} rows of ink");
        for (side, inverted) in [(200, true), (600, false), (90, false)] {
            let other = frame(&page(side, inverted), [side, side], [28, 28]).unwrap().pixels;
            let far = image.iter().zip(&other).filter(|(a, b)| a.abs_diff(**b) > 100).count();
            assert!(far < 12, "{side} {inverted}: {far} pixels differ");
        }
    }

    /// A digit of strokes, `paper` and `ink` in a square of `side`: a ring above a stem, as in a nine.
    fn nine(side: usize, paper: u8, ink: u8) -> Vec<u8> {
        let at = |i: usize| {
            let (y, x) = ((i / side) as f64 / side as f64, (i % side) as f64 / side as f64);
            let (down, right) = (y - 0.42, x - 0.5);
            let ring = (down * down + right * right).sqrt();
            let stem = (x - 0.6).abs() < 0.03 && (0.42..0.75).contains(&y);
            if (0.08..0.14).contains(&ring) || stem { ink } else { paper }
        };
        (0..side * side).map(at).collect()
    }

    fn see(page: &[u8], side: usize) -> Framed {
        frame(page, [side, side], [28, 28]).unwrap()
    }

    /// How many pixels differ clearly.
    fn far(a: &Framed, b: &Framed) -> usize {
        a.pixels.iter().zip(&b.pixels).filter(|(a, b)| a.abs_diff(**b) > 100).count()
    }

    /// What a camera makes of paper and boards may be any grey, and 127 is none of them in particular.
    #[test]
    fn paper_is_what_there_is_most_of() {
        let wanted = see(&nine(200, 245, 30), 200);
        for (paper, ink) in [(128, 20), (127, 20), (105, 30), (60, 5), (130, 235), (140, 250), (100, 240), (0, 255)] {
            let seen = see(&nine(200, paper, ink), 200);
            assert_eq!((far(&seen, &wanted), seen.doubts.len()), (0, 0), "paper {paper}, ink {ink}");
        }
        assert!(see(&nine(28, 60, 5), 28).doubts.is_empty());
        assert!(!is_framed(&nine(28, 60, 5), [28, 28]) && is_framed(&nine(28, 0, 255), [28, 28]));
        assert!(!is_framed(&[0; 784], [28, 28]) && !is_framed(&[60; 784], [28, 28]) && !is_framed(&[], [0, 0]));
    }

    /// Rims, tables and sheets: the digit is found, and a doubt says so where they hold much of the picture.
    #[test]
    fn what_comes_in_from_the_edge_is_not_the_digit() {
        for (paper, ink, rim) in [(245, 30, 40), (50, 235, 220)] {
            let clean = nine(400, paper, ink);
            let wanted = see(&clean, 400);
            for wide in [1, 2, 4, 8, 16, 30, 40] {
                for sides in [1, 5, 6, 14, 15] {
                    let mut page = clean.clone();
                    for (i, value) in page.iter_mut().enumerate() {
                        let (y, x) = (i / 400, i % 400);
                        let at = [y < wide, x < wide, y >= 400 - wide, x >= 400 - wide];
                        if (0..4).any(|side| sides >> side & 1 == 1 && at[side]) {
                            *value = rim;
                        }
                    }
                    let seen = see(&page, 400);
                    assert!(far(&seen, &wanted) <= 8, "{wide} on {sides:b}: {}", far(&seen, &wanted));
                    let much = page.iter().zip(&clean).filter(|(a, b)| a != b).count() > 10_000;
                    assert!(!much || seen.doubts[0].contains("comes in from the edge"), "{wide}: {:?}", seen.doubts);
                }
            }
        }
    }

    /// A sheet on a table that is most of the picture.
    #[test]
    fn a_sheet_is_looked_into() {
        let mut table = vec![60; 600 * 600];
        for (y, row) in nine(250, 240, 40).chunks(250).enumerate() {
            table[(y + 200) * 600 + 100..][..250].copy_from_slice(row);
        }
        assert!(far(&see(&table, 600), &see(&nine(250, 240, 40), 250)) <= 8);
    }

    #[test]
    fn frames_and_lines_are_told_from_digits() {
        let clean = nine(400, 245, 30);
        let wanted = see(&clean, 400);
        let with = |is_line: &dyn Fn(usize, usize) -> bool| {
            let at = |i: usize| if is_line(i / 400, i % 400) { 40 } else { clean[i] };
            see(&(0..clean.len()).map(at).collect::<Vec<u8>>(), 400)
        };
        let edge = |v: usize, wide: usize| (40..40 + wide).contains(&v) || (360 - wide..360).contains(&v);
        for wide in [2, 4, 10] {
            let inside = |v: usize| (40..360).contains(&v);
            let boxed = with(&|y, x| (edge(y, wide) && inside(x)) || (edge(x, wide) && inside(y)));
            assert_eq!((far(&boxed, &wanted), boxed.doubts.len()), (0, 0), "box of {wide}");
            let cell = with(&|y, x| edge(y, wide) || edge(x, wide));
            assert_eq!(far(&cell, &wanted), 0, "cell of {wide}");
            let lines: [&dyn Fn(usize, usize) -> bool; 3] = [
                &|y, x| (320..320 + wide).contains(&y) && (60..340).contains(&x),
                &|y, x| (330 + x / 40..330 + x / 40 + wide).contains(&y) && (60..340).contains(&x),
                &|y, x| (60..60 + wide).contains(&x) && (20..380).contains(&y),
            ];
            for (i, line) in lines.into_iter().enumerate() {
                let lined = with(line);
                assert_eq!((far(&lined, &wanted), lined.doubts.len()), (0, 0), "line {i} of {wide}");
            }
            // Where they touch it, there is doubt at least.
            let touching = with(&|y, x| (298..298 + wide).contains(&y) && (60..340).contains(&x));
            assert!(touching.doubts[0].contains("stands on a line"), "{:?}", touching.doubts);
        }
        // Squared paper that is paler than the digit which it crosses.
        let squared = |i: usize| if i / 400 % 40 < 2 || i % 400 % 40 < 2 { clean[i].min(180) } else { clean[i] };
        let squared = see(&(0..clean.len()).map(squared).collect::<Vec<u8>>(), 400);
        assert!(
            far(&squared, &wanted) <= 20 && squared.doubts.is_empty(),
            "{} {:?}",
            far(&squared, &wanted),
            squared.doubts
        );
    }

    #[test]
    fn shadows_are_no_ink() {
        let clean = nine(400, 245, 30);
        let wanted = see(&clean, 400);
        let light: [&dyn Fn(f64, f64) -> f64; 4] = [
            &|_, x| if x < 0.5 { 0.45 } else { 1.0 },
            &|y, _| if y > 0.45 { 0.45 } else { 1.0 },
            &|y, x| 1.0 - (x - 0.5) * (x - 0.5) - (y - 0.5) * (y - 0.5),
            &|y, _| 0.3 + 0.7 * y,
        ];
        for (i, light) in light.into_iter().enumerate() {
            let lit = |i: usize| f64::from(clean[i]) * light((i / 400) as f64 / 400.0, (i % 400) as f64 / 400.0);
            let seen = see(&(0..clean.len()).map(|i| lit(i) as u8).collect::<Vec<u8>>(), 400);
            assert!(far(&seen, &wanted) <= 8, "light {i}: {}", far(&seen, &wanted));
        }
    }

    /// Parts of a digit are no frames and no lines: the stroke above a five, a ring with a dot in it.
    #[test]
    fn parts_of_digits_stay() {
        let clean = nine(400, 245, 30);
        let mut five = clean.clone();
        (70..90).for_each(|y| five[y * 400 + 150..y * 400 + 260].fill(30));
        assert!(far(&see(&five, 400), &see(&clean, 400)) > 40, "the stroke is gone");
        let mut dotted = clean.clone();
        (150..186).for_each(|y| dotted[y * 400 + 182..y * 400 + 218].fill(30));
        assert_eq!(see(&dotted, 400).doubts, Vec::<String>::new());
        assert!(far(&see(&dotted, 400), &see(&clean, 400)) < 20, "the ring is gone");
    }

    /// MNIST's centres of mass lie between 14 and 15 of 28, evenly: 14.5 at the mean, down and across.
    #[test]
    fn the_centre_of_mass_is_where_mnist_has_it() {
        for (side, at) in [(400, 0), (400, 30), (133, 7), (90, 3)] {
            let clean = nine(side, 245, 30);
            // Anywhere in the picture, also between the pixels of the network.
            let moved = |i: usize| if i < at * (side + 1) { 245 } else { clean[i - at * (side + 1)] };
            let seen = see(&(0..clean.len()).map(moved).collect::<Vec<u8>>(), side);
            let centre = |place: &dyn Fn(usize) -> usize| {
                let moment = |(i, &v): (usize, &u8)| f64::from(v) * (place(i) as f64 + 0.5);
                let mass: f64 = seen.pixels.iter().map(|&v| f64::from(v)).sum();
                seen.pixels.iter().enumerate().map(moment).sum::<f64>() / mass
            };
            let (down, across) = (centre(&|i| i / 28), centre(&|i| i % 28));
            assert!((down - 14.5).abs() < 0.1 && (across - 14.5).abs() < 0.1, "{side} {at}: {down} {across}");
        }
    }

    /// Ballpoints and felt pens: the same digit is seen.
    #[test]
    fn the_pen_does_not_matter() {
        let written = |half: f64| {
            let at = |i: usize| {
                let (y, x) = ((i / 400) as f64 / 400.0, (i % 400) as f64 / 400.0);
                let ring = ((y - 0.4).powi(2) + (x - 0.5).powi(2)).sqrt();
                let stem = (x - 0.62).abs() < half && (0.4..0.75 + half).contains(&y);
                if (ring - 0.12).abs() < half || stem { 30 } else { 245 }
            };
            see(&(0..400 * 400).map(at).collect::<Vec<u8>>(), 400)
        };
        let wanted = written(0.027);
        for (half, most) in [(0.012, 8), (0.018, 8), (0.055, 40), (0.065, 40)] {
            let seen = written(half);
            assert!(far(&seen, &wanted) <= most && seen.doubts.is_empty(), "{half}: {}", far(&seen, &wanted));
        }
    }

    /// Noise alone is nothing, and a digit in it is seen.
    #[test]
    fn noise_is_not_ink() {
        let noisy = |page: &[u8]| -> Vec<u8> {
            let noise = |i: usize| (philox4x32([i as u32, 0, 0, 0], [5, 0])[0] % 71) as i32 - 35;
            page.iter().enumerate().map(|(i, &value)| (i32::from(value) + noise(i)).clamp(0, 255) as u8).collect()
        };
        assert!(frame(&noisy(&vec![130; 160_000]), [400, 400], [28, 28]).is_err());
        let seen = see(&noisy(&nine(400, 130, 40)), 400);
        assert!(far(&seen, &see(&nine(400, 130, 40), 400)) <= 12 && seen.doubts.is_empty(), "{:?}", seen.doubts);
    }

    #[test]
    fn specks_are_not_framed() {
        let clean = see(&page(200, false), 200);
        let mut dirty = page(200, false);
        for (y, x) in [(5, 190), (180, 12), (181, 12)] {
            dirty[y * 200 + x] = 0;
        }
        assert_eq!(far(&see(&dirty, 200), &clean), 0);
    }

    /// Lines that touch no digit go; of those that do, and of digits side by side, there is doubt.
    #[test]
    fn ruled_paper_and_several_digits() {
        let clean = page(200, false);
        let wanted = frame(&clean, [200, 200], [28, 28]).unwrap();
        assert_eq!(wanted.doubts, Vec::<String>::new());
        let ruled = |rows: &[usize]| {
            let mut page = clean.clone();
            for row in rows {
                page[row * 200..row * 200 + 400].fill(60);
            }
            frame(&page, [200, 200], [28, 28]).unwrap()
        };
        assert_eq!(ruled(&[20, 180]).doubts, Vec::<String>::new());
        let crossed = ruled(&[20, 100, 180]);
        assert!(crossed.doubts[0].contains("from edge to edge"), "{:?}", crossed.doubts);
        // The same stroke once more, further right.
        let further = |i: usize| if i % 200 < 50 { 255 } else { clean[i - 50] };
        let twice: Vec<u8> = (0..clean.len()).map(|i| clean[i].min(further(i))).collect();
        let two = frame(&twice, [200, 200], [28, 28]).unwrap();
        assert!(two.doubts[0].contains("2 separate pieces"), "{:?}", two.doubts);
    }

    #[test]
    fn odd_pictures_are_framed_or_refused_but_never_a_panic() {
        assert!(frame(&[], [0, 0], [28, 28]).is_err());
        assert!(frame(&[1, 2], [2, 2], [28, 28]).is_err());
        assert!(frame(&[255; 9], [3, 3], [28, 28]).is_err());
        let mut line = vec![255; 3000];
        line[1000..1600].fill(0);
        let _ = frame(&line, [1, 3000], [28, 28]);
        let _ = frame(&line, [3000, 1], [1, 1]);
        let _ = frame(&[0, 255, 0, 255], [2, 2], [28, 28]);
    }
}
