//! Placeholder while the drawing is made.
/// Seed.
pub const SEED: u32 = 1;
/// Train.
pub const TRAIN: usize = 60_000;
/// Test.
pub const TEST: usize = 10_000;
/// Draws.
#[must_use]
pub fn draw(_seed: u32, _first: u64, count: usize) -> (Vec<u8>, Vec<u8>) {
    (vec![0; count * 784], (0..count).map(|i| (i % 10) as u8).collect())
}
