//! The built-in data set `digits`: handwritten-looking 28x28 grey digits that the program draws itself.
//!
//! A machine without a network runs the main job on them. A sample is written as a person writes: one of several styles
//! of its digit, set down by hand as strokes (`glyphs`), goes through a hand with habits and tremors of its own
//! (`hand`) and becomes grey pixels, framed as MNIST frames its digits (`ink`): the ink fills a 20x20 box, whose place
//! in the picture puts the centre of mass at the centre. No pixel of MNIST is in it, yet the amounts of ink agree, so
//! the same normalisation fits, and a network that saw these digits alone reads most of MNIST.
//!
//! Sample `i` depends on the seed and `i` alone, so any part can be drawn on any number of threads. Only correctly
//! rounded operations are used (+ − × ÷ √, comparisons, casts; no libm), so every machine draws the same bytes.

mod glyphs;
mod hand;
mod ink;

use crate::random::{Random, Stream};
use crate::{Result, memory, threads};

/// The seed of the data set `digits`.
pub const SEED: u32 = 1;
/// Samples in the training set: indices 0 to 59,999.
pub const TRAIN: usize = 60_000;
/// Samples in the test set: indices 60,000 to 69,999.
pub const TEST: usize = 10_000;
/// Height and width of a picture in pixels.
pub const SIDE: usize = 28;

/// Pixels of a picture.
const PIXELS: usize = SIDE * SIDE;
/// Samples that a thread draws at a stretch, about 2 ms of work.
const BATCH: usize = 64;

/// Draws `count` samples starting at index `first`: pixels row-major `[count, 784]`, 0 for paper to 255 for ink, and
/// labels `[count]`, 0 to 9, each digit equally likely.
///
/// ```
/// use syva_core::data::digits;
///
/// let (pixels, labels) = digits::draw(digits::SEED, 0, 3);
/// assert_eq!(pixels.len(), 3 * digits::SIDE * digits::SIDE);
/// assert!(labels.iter().all(|&label| label < 10));
/// // A sample is the same whatever is drawn beside it.
/// assert_eq!(digits::draw(digits::SEED, 2, 1).0, pixels[2 * 784..]);
/// ```
#[must_use]
pub fn draw(seed: u32, first: u64, count: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut pixels, mut labels) = (vec![0; count * PIXELS], vec![0; count]);
    draw_into(threads::cores(), seed, first, &mut pixels, &mut labels);
    (pixels, labels)
}

/// Like [`draw`], on at most so many threads, and with an error where there is not enough memory.
pub fn draw_on(threads: usize, seed: u32, first: u64, count: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let bytes = count as u64 * (PIXELS as u64 + 1);
    memory::ask(bytes, &format!("{count} drawn digits"), "end other programs, or raise the limit")?;
    let (mut pixels, mut labels) = (vec![0; count * PIXELS], vec![0; count]);
    draw_into(threads, seed, first, &mut pixels, &mut labels);
    Ok((pixels, labels))
}

/// Draws as many samples as there are labels; pixels must be 0 before.
fn draw_into(threads: usize, seed: u32, first: u64, pixels: &mut [u8], labels: &mut [u8]) {
    let batches = pixels.chunks_mut(BATCH * PIXELS).zip(labels.chunks_mut(BATCH)).enumerate();
    threads::share(threads.min(batches.len()), batches, |(batch, (pixels, labels))| {
        let mut path = Vec::new();
        for (i, (pixels, label)) in pixels.chunks_exact_mut(PIXELS).zip(labels).enumerate() {
            let index = first.wrapping_add((batch * BATCH + i) as u64);
            *label = sample(seed, index, &mut path, pixels);
        }
    });
}

/// Draws one sample into `pixels` (`[SIDE, SIDE]`, all 0 before) and returns its label. `path` is scratch space.
fn sample(seed: u32, index: u64, path: &mut Vec<hand::Dot>, pixels: &mut [u8]) -> u8 {
    let mut random = Random::new(seed, Stream::Digits, index);
    let label = random.below(10) as u8;
    hand::write(usize::from(label), &mut random, path);
    ink::render(path, pixels);
    label
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// If this fails on one machine only, some operation there is not correctly rounded; if it fails everywhere, the
    /// data set has changed, and with it every figure that was measured on it.
    #[test]
    fn every_machine_draws_the_same_bytes() {
        let (pixels, labels) = draw(SEED, 0, 100);
        let digest = Sha256::new().chain_update(&pixels).chain_update(&labels).finalize();
        let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(hex, "03ffc91ff2e22a15bb4fd6f85d1454d7dfa612636c4b455642a02b31619a1130");
    }

    #[test]
    fn a_sample_depends_on_seed_and_index_alone() {
        // More than a batch, so that threads share the work.
        let (pixels, labels) = draw(SEED, 0, 2 * BATCH + 10);
        for index in [0, 5, BATCH - 1, BATCH, 2 * BATCH + 9] {
            let (alone, label) = draw(SEED, index as u64, 1);
            assert_eq!(alone, pixels[index * PIXELS..(index + 1) * PIXELS], "sample {index}");
            assert_eq!(label[0], labels[index], "sample {index}");
        }
        assert_eq!(draw_on(1, SEED, 0, 2 * BATCH + 10).unwrap(), (pixels.clone(), labels), "one thread");
        assert_ne!(draw(SEED + 1, 0, 10).0, pixels[..10 * PIXELS]);
        assert_ne!(pixels[..PIXELS], pixels[PIXELS..2 * PIXELS]);
    }

    #[test]
    fn ink_fills_a_box_of_20_and_its_centre_of_mass_is_central() {
        let (pixels, _) = draw(SEED, 0, 2000);
        for (index, picture) in pixels.chunks_exact(PIXELS).enumerate() {
            let (mut mass, mut across, mut down) = (0.0, 0.0, 0.0);
            let (mut low, mut high) = ([SIDE; 2], [0; 2]);
            for (i, &ink) in picture.iter().enumerate().filter(|&(_, &ink)| ink > 0) {
                let place = [i % SIDE, i / SIDE];
                mass += f64::from(ink);
                across += f64::from(ink) * place[0] as f64;
                down += f64::from(ink) * place[1] as f64;
                low = [low[0].min(place[0]), low[1].min(place[1])];
                high = [high[0].max(place[0]), high[1].max(place[1])];
            }
            let longer = (high[0] - low[0]).max(high[1] - low[1]) + 1;
            assert!((19..=20).contains(&longer), "sample {index}: {longer} pixels long");
            for (axis, moment) in [across, down].into_iter().enumerate() {
                // As in MNIST within half a pixel of index 14, unless that would push the ink off the picture.
                let off = (moment / mass - 14.0).abs();
                let at_border = low[axis] == 0 || high[axis] == SIDE - 1;
                assert!(off < 0.501 || at_border && off < 2.5, "sample {index}: {off} pixels off along axis {axis}");
            }
        }
    }

    /// MNIST's training set has mean 0.1307, standard deviation 0.3081 and 19.1 % of its pixels above 0.
    #[test]
    fn amounts_of_ink_are_those_of_mnist() {
        let (pixels, _) = draw(SEED, 0, 5000);
        let count = pixels.len() as f64;
        let mean = pixels.iter().map(|&p| f64::from(p) / 255.0).sum::<f64>() / count;
        let square = pixels.iter().map(|&p| f64::from(p) / 255.0).map(|p| p * p).sum::<f64>() / count;
        let sd = (square - mean * mean).sqrt();
        let inked = pixels.iter().filter(|&&p| p > 0).count() as f64 / count;
        assert!((mean - 0.1307).abs() < 0.003, "mean {mean}");
        assert!((sd - 0.3081).abs() < 0.003, "standard deviation {sd}");
        assert!((inked - 0.195).abs() < 0.01, "inked {inked}");
    }

    #[test]
    fn all_digits_are_equally_likely() {
        let (_, labels) = draw(SEED, TRAIN as u64, TEST);
        let mut counts = [0_u32; 10];
        for &label in &labels {
            counts[usize::from(label)] += 1;
        }
        // Standard deviation 30.
        assert!(counts.iter().all(|count| (880..1120).contains(count)), "{counts:?}");
    }

    #[test]
    fn forms_of_a_style_can_be_blended() {
        let shape = |form: &[glyphs::Stroke]| -> Vec<Vec<bool>> {
            let corners = |stroke: &glyphs::Stroke| stroke.windows(2).map(|pair| pair[0] == pair[1]).collect();
            form.iter().map(corners).collect()
        };
        for (digit, styles) in glyphs::DIGITS.iter().enumerate() {
            for (number, style) in styles.iter().enumerate() {
                for form in style.forms {
                    assert_eq!(shape(form), shape(style.forms[0]), "digit {digit}, style {number}: {form:?}");
                    assert!(form.iter().all(|stroke| stroke.len() >= 2), "digit {digit}, style {number}");
                }
            }
        }
    }
}
