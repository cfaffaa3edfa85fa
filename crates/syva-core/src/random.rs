//! Random numbers that depend on nothing but their position: Philox4x32-10.
//!
//! A counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11) maps a key and a
//! 128-bit counter to four 32-bit words. The key is (seed, stream), and the counter is (position, substream). So any
//! thread or device can draw the n-th number without drawing those before it, and always draws the same one.

use crate::arithmetic::Number;

/// The purpose of a number. Streams never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial weights. The substream is the layer's index.
    Init = 1,
    /// The order of the samples. The substream is the epoch, counted from 0.
    Shuffle = 2,
    /// Dropout masks. The substream is the step.
    Dropout = 3,
    /// Random changes to inputs. The substream is the epoch.
    Augmentation = 4,
    /// The drawn digits. The substream is the sample's index.
    Digits = 5,
    /// The split of a data set into two parts. The substream is the class.
    Split = 6,
    /// Noise on inputs. The substream is the step.
    Noise = 7,
    /// Cells of a column shuffled among the rows. The substream is 2³² times the column, plus the repetition.
    Importance = 16,
}

/// Philox4x32-10: four random words from a counter and a key.
///
/// ```
/// // From the Random123 distribution's known-answer file.
/// let words = syva_core::random::philox4x32([0; 4], [0; 2]);
/// assert_eq!(words, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
#[must_use]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(c0) * 0xD251_1F53;
        let p1 = u64::from(c2) * 0xCD9E_8D57;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The sequence of random numbers of one (seed, stream, substream), read from its start.
///
/// ```
/// use syva_core::random::{Random, Stream};
/// let mut a = Random::new(1, Stream::Init, 0);
/// let mut b = Random::new(1, Stream::Init, 0);
/// assert_eq!(a.next_u32(), b.next_u32());
/// assert!((0.0..1.0).contains(&a.unit()));
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    substream: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Random {
    /// Starts at position 0 of the sequence.
    #[must_use]
    pub fn new(seed: u32, stream: Stream, substream: u64) -> Self {
        Self { key: [seed, stream as u32], substream, block: 0, words: [0; 4], used: 4 }
    }

    /// The next 32 random bits: word `n % 4` of the block whose counter is `[n / 4, substream]`. Each of the two
    /// numbers is two words, the low one first.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let (block, sub) = (self.block, self.substream);
            let counter = [block as u32, (block >> 32) as u32, sub as u32, (sub >> 32) as u32];
            self.words = philox4x32(counter, self.key);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in [0, 1): the upper 24 bits of a word, times 2⁻²⁴ (exact).
    pub fn unit(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [low, high): `fma(unit, high − low, low)`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        self.unit().fma(high - low, low)
    }

    /// Uniform in 0..n: the upper half of the 128-bit product of n and 64 random bits (the first word is the high one).
    /// The bias is below n · 2⁻⁶⁴.
    pub fn below(&mut self, n: u64) -> u64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        ((u128::from(bits) * u128::from(n)) >> 64) as u64
    }
}

/// The order in which an epoch visits `samples` samples: a Fisher-Yates shuffle of 0..samples. It runs from the back,
/// and swaps element `i` with one of `0..=i`.
///
/// ```
/// let mut order = syva_core::random::permutation(1, 0, 5);
/// order.sort_unstable();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// ```
#[must_use]
pub fn permutation(seed: u32, epoch: u64, samples: usize) -> Vec<u32> {
    shuffled(&mut Random::new(seed, Stream::Shuffle, epoch), samples)
}

/// A Fisher-Yates shuffle of 0..count.
pub(crate) fn shuffled(random: &mut Random, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    for i in (1..count).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Random123 distribution's `kat_vectors` for philox4x32 with 10 rounds.
    #[test]
    fn philox_matches_the_published_vectors() {
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn permutation_differs_between_epochs_and_seeds_and_is_fair() {
        assert_ne!(permutation(1, 0, 100), permutation(1, 1, 100));
        assert_ne!(permutation(1, 0, 100), permutation(2, 0, 100));
        // Each of the 3! orders should come up 1/6 of the time. Over 6000 draws, the standard deviation is 29.
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..6000 {
            *counts.entry(permutation(7, epoch, 3)).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|&n| (850..1150).contains(&n)), "{counts:?}");
    }
}
