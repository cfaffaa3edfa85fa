//! Brings a photo or scan of a handwritten digit into MNIST's framing: white ink on black, 20 pixels high or wide, its
//! centre of mass in the middle of 28 × 28 (as LeCun, Cortes and Burges describe how MNIST was made).
//!
//! 1. Ink is what is darker than its surroundings (or lighter, on dark paper), by the mean of a window around each pixel:
//!    shadows and uneven light are no ink (Bradley and Roth 2007).
//! 2. Lines of ruled paper go, where the digit does not touch them, and specks: pieces of ink far smaller than the largest.
//! 3. What is left is cut out, scaled to the box with its proportions kept, and set down by its centre of mass.

use crate::{Error, Result};

/// How much darker than its surroundings ink must be, as a share of the picture's range.
const CONTRAST: f64 = 0.15;
/// Pieces of ink smaller than this share of the largest are specks.
const SPECK: f64 = 0.04;

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
    let dark = darkness(gray, [height, width]);
    let mut ink = ink(&dark, [height, width]);
    let pieces = keep_digit(&mut ink, [height, width]);
    let Some(whole) = pieces.iter().copied().reduce(Piece::and) else {
        let remedy = "take a picture of one dark digit on light paper, or light on dark, that fills a good part of it";
        return Err(Error::mismatch("there is no ink to be seen in the picture", remedy));
    };
    // How dark full ink is: the darkest tenth decides, so that a reflection in the stroke does not.
    let mut darkest: Vec<f64> = (0..height * width).filter(|&i| ink[i]).map(|i| dark[i]).collect();
    darkest.sort_unstable_by(f64::total_cmp);
    let full = darkest[darkest.len() * 9 / 10].max(f64::MIN_POSITIVE);
    let (crop_height, crop_width) = (whole.height(), whole.width());
    let crop: Vec<f64> = (0..crop_height * crop_width)
        .map(|i| (whole.top + i / crop_width) * width + whole.left + i % crop_width)
        .map(|i| if ink[i] { (dark[i] / full).min(1.0) } else { 0.0 })
        .collect();
    let scale = f64::min(box_of(size[0]) / crop_height as f64, box_of(size[1]) / crop_width as f64);
    let scaled = |length: usize| ((length as f64 * scale).round() as usize).max(1);
    let small_size = [scaled(crop_height), scaled(crop_width)];
    let small = resize(&crop, [crop_height, crop_width], small_size);
    Ok(Framed { pixels: centre(&small, small_size, size), doubts: doubts(&pieces, whole, [height, width]) })
}

/// What speaks against one digit, well seen.
fn doubts(pieces: &[Piece], whole: Piece, [height, width]: [usize; 2]) -> Vec<String> {
    let mut doubts = Vec::new();
    let largest = pieces.iter().max_by_key(|piece| piece.pixels).copied().unwrap_or(whole);
    // Parts of one digit, such as the stroke above a five, stand above one another.
    let beside = |piece: &&Piece| piece.right < largest.left || piece.left > largest.right;
    let digits = pieces.iter().filter(beside).filter(|piece| 4 * piece.pixels >= largest.pixels).count() + 1;
    if digits > 1 {
        doubts.push(format!("{digits} separate pieces of ink stand side by side, as if there were several digits"));
    }
    let across = whole.left == 0 && whole.right == width - 1;
    let down = whole.top == 0 && whole.bottom == height - 1;
    if across || down {
        doubts.push("ink reaches from edge to edge of the picture: lines of the paper, or too narrow a cut".into());
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

/// The side of the box within an image's side.
fn box_of(side: usize) -> f64 {
    (side as f64 * 20.0 / 28.0).round().max(1.0)
}

/// How much darker than white each pixel is, 0 … 1; or lighter than black, where the edge of the picture is dark.
fn darkness(gray: &[u8], [height, width]: [usize; 2]) -> Vec<f64> {
    let edge =
        |i: &usize| i / width == 0 || i / width == height - 1 || i.is_multiple_of(width) || i % width == width - 1;
    let mut border: Vec<u8> = (0..gray.len()).filter(edge).map(|i| gray[i]).collect();
    border.sort_unstable();
    let light_paper = border[border.len() / 2] > 127;
    gray.iter().map(|&v| f64::from(if light_paper { 255 - v } else { v }) / 255.0).collect()
}

/// Which pixels are ink: clearly darker than the mean of the window around them.
fn ink(dark: &[f64], [height, width]: [usize; 2]) -> Vec<bool> {
    // Sums over all above and to the left, so that a window's sum is four of them.
    let mut sums = vec![0.0; (height + 1) * (width + 1)];
    for y in 0..height {
        let mut row = 0.0;
        for x in 0..width {
            row += dark[y * width + x];
            sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
        }
    }
    let (low, high) = dark.iter().fold((1.0, 0.0), |(low, high), &v| (f64::min(low, v), f64::max(high, v)));
    let wanted = CONTRAST * (high - low);
    // Wider than a stroke, narrower than a shadow.
    let reach = (height.max(width) / 4).max(8);
    let pixel = |i: usize| {
        let (y, x) = (i / width, i % width);
        let (top, bottom) = (y.saturating_sub(reach), (y + reach + 1).min(height));
        let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(width));
        let at = |y: usize, x: usize| sums[y * (width + 1) + x];
        let sum = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left);
        let mean = sum / ((bottom - top) * (right - left)) as f64;
        // Paper has noise: a picture without contrast has no ink.
        high - low > 0.1 && dark[i] > mean + wanted
    };
    (0..height * width).map(pixel).collect()
}

/// A connected piece of ink, and the box around it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    pixels: usize,
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Piece {
    fn height(self) -> usize {
        self.bottom - self.top + 1
    }

    fn width(self) -> usize {
        self.right - self.left + 1
    }

    /// Both.
    fn and(self, other: Self) -> Self {
        Self {
            pixels: self.pixels + other.pixels,
            top: self.top.min(other.top),
            bottom: self.bottom.max(other.bottom),
            left: self.left.min(other.left),
            right: self.right.max(other.right),
        }
    }

    /// Whether it runs through the whole picture and is thin, as lines of the paper are and digits are not.
    fn is_ruled_line(self, [height, width]: [usize; 2]) -> bool {
        let thin = |across: usize, side: usize| 12 * across <= side;
        self.left == 0 && self.right == width - 1 && thin(self.height(), height)
            || self.top == 0 && self.bottom == height - 1 && thin(self.width(), width)
    }
}

/// Takes away the lines of ruled paper that touch no digit, then the pieces of ink that are far smaller than the largest;
/// returns what is left. Where all are lines, they stay.
fn keep_digit(ink: &mut [bool], size: [usize; 2]) -> Vec<Piece> {
    let (numbers, pieces) = pieces(ink, size);
    let lined = pieces.iter().all(|piece| piece.is_ruled_line(size));
    let candidate = |piece: &Piece| lined || !piece.is_ruled_line(size);
    let largest = pieces.iter().filter(|piece| candidate(piece)).map(|piece| piece.pixels).max().unwrap_or(0);
    let stays = |piece: &Piece| candidate(piece) && piece.pixels as f64 >= SPECK * largest as f64;
    for (ink, &number) in ink.iter_mut().zip(&numbers) {
        *ink = *ink && stays(&pieces[number]);
    }
    pieces.into_iter().filter(stays).collect()
}

/// The connected pieces of ink, and for each pixel of ink the number of its piece.
fn pieces(ink: &[bool], [height, width]: [usize; 2]) -> (Vec<usize>, Vec<Piece>) {
    let mut numbers = vec![usize::MAX; ink.len()];
    let mut pieces: Vec<Piece> = Vec::new();
    for start in 0..ink.len() {
        if !ink[start] || numbers[start] != usize::MAX {
            continue;
        }
        let at = |i: usize| (i / width, i % width);
        let ((top, left), mut open) = (at(start), vec![start]);
        let mut piece = Piece { pixels: 0, top, bottom: top, left, right: left };
        numbers[start] = pieces.len();
        while let Some(i) = open.pop() {
            let (y, x) = at(i);
            piece = piece.and(Piece { pixels: 1, top: y, bottom: y, left: x, right: x });
            for (dy, dx) in (0..9).map(|n| (n / 3, n % 3)) {
                let (Some(ny), Some(nx)) = ((y + dy).checked_sub(1), (x + dx).checked_sub(1)) else { continue };
                let next = ny * width + nx;
                if ny < height && nx < width && ink[next] && numbers[next] == usize::MAX {
                    numbers[next] = pieces.len();
                    open.push(next);
                }
            }
        }
        pieces.push(piece);
    }
    (numbers, pieces)
}

/// Each new pixel is the mean of what it covers (or lies in).
fn resize(values: &[f64], [height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> Vec<f64> {
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
fn centre(values: &[f64], [height, width]: [usize; 2], size: [usize; 2]) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn specks_are_not_framed() {
        let clean = frame(&page(200, false), [200, 200], [28, 28]).unwrap().pixels;
        let mut dirty = page(200, false);
        for (y, x) in [(5, 190), (180, 12), (181, 12)] {
            dirty[y * 200 + x] = 0;
        }
        assert_eq!(frame(&dirty, [200, 200], [28, 28]).unwrap().pixels, clean);
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
        assert!(frame(&line, [1, 3000], [28, 28]).is_ok());
        assert!(frame(&line, [3000, 1], [1, 1]).is_ok());
    }
}
